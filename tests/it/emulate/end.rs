//! The end of an instance: told before, and nothing is left.

use super::Plan;
use crate::support::eventually;

/// Leaves a process behind that has left group and session.
const WITH_ORPHAN: &str = "
require('child_process').spawn('sh', ['-c', 'setsid sleep 600 & exit'], { stdio: 'ignore' });
serve((q, s) => {
  if (q.url !== '/pre-stop') return s.end('ok');
  console.log('told by', q.method, q.headers['x-fc-control-path']);
  if (!process.env.HANGS) s.end();
});";

#[test]
fn an_instance_is_told_of_its_end_and_nothing_of_it_is_left() {
    for signal in ["INT", "TERM", "HUP"] {
        let mut emulation = Plan::node(WITH_ORPHAN).flags(&["--pre-stop"]).start();
        eventually("an orphan beside the server", || (emulation.processes().len() == 2).then_some(()));
        emulation.signal(signal);
        assert_eq!(emulation.wait_exit(), 0);
        assert_eq!(emulation.processes(), [], "{signal}");
        let lines = emulation.log.until_closed();
        let at = |part: &str| {
            lines.iter().position(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {lines:?}"))
        };
        assert!(at("FC PreStop Start RequestId: ") < at("out| told by GET /pre-stop"));
        assert!(at("out| told by GET /pre-stop") < at("FC PreStop End RequestId: "));
        assert!(at("FC PreStop End RequestId: ") < at("emulate: instance destroyed: "));
    }
}

#[test]
fn a_pre_stop_callback_is_waited_for_as_long_as_it_may_take() {
    let mut emulation = Plan::node(WITH_ORPHAN).flags(&["--pre-stop=300ms", "--env", "HANGS=1"]).start();
    emulation.signal("TERM");
    assert_eq!(emulation.wait_exit(), 0);
    let said = emulation.log.until_closed().join("\n");
    assert!(said.contains("FC PreStop End RequestId: "), "{said}");
    assert!(said.contains(", Error: no answer within 0.3 seconds"), "{said}");
}

#[test]
fn the_second_signal_ends_everything_at_once() {
    let mut emulation = Plan::node(WITH_ORPHAN).flags(&["--pre-stop=90s", "--env", "HANGS=1"]).start();
    emulation.signal("INT");
    emulation.log.wait_for("out| told by GET");
    emulation.signal("INT");
    assert_eq!(emulation.wait_exit(), 130);
    assert_eq!(emulation.processes(), []);
}

#[test]
fn an_instance_without_requests_is_destroyed_and_the_next_one_is_new() {
    let emulation = Plan::node(WITH_ORPHAN).flags(&["--idle", "300ms", "--pre-stop"]).start();
    emulation.log.wait_for("(no request for 300ms)");
    emulation.log.wait_for("FC PreStop End RequestId: ");
    eventually("nothing is left", || emulation.processes().is_empty().then_some(()));
    assert_eq!(emulation.get("/").text(), "ok");
    emulation.log.wait_for(" GET / 200 cold ");
}

#[test]
fn what_a_killed_emulator_left_frozen_is_ended_by_the_next_one() {
    let mut killed = Plan::node(WITH_ORPHAN).start();
    if !killed.log.all()[0].contains("cgroup") {
        eprintln!("no control group may be made here: nothing can be left frozen");
        return;
    }
    killed.signal("KILL");
    assert_eq!(killed.wait_exit(), 137);
    assert!(!killed.processes().is_empty(), "frozen, so it cannot even die");
    let next = Plan::node(WITH_ORPHAN).start();
    next.stderr.wait_for("had left frozen");
    eventually("nothing is left", || killed.processes().is_empty().then_some(()));
}
