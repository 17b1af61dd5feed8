//! Between requests the instance stands still, and the next one finds what a freeze leaves.

use std::time::Duration;

use super::{Plan, post};
use crate::support::eventually;
use crate::support::freeze::sit_out;

/// A server whose idle timer is shorter than the freeze, as by default in Node.
const IMPATIENT: &str = "serve((q, s) => s.end('ok')).keepAliveTimeout = 1000;";
/// How often a freeze is tried that chance may spoil.
const ROUNDS: usize = 5;
/// Node adds a second of its own to the timer.
const LONGER: Duration = Duration::from_millis(3_000);

#[test]
fn an_instance_stands_still_from_its_start_on_and_behind_every_answer() {
    let emulation = Plan::node("serve((q, s) => s.end('ok'));").flags(&["--freeze", "signal"]).start();
    let all_stopped = || {
        let found = emulation.processes();
        !found.is_empty() && found.iter().all(|(_, state)| *state == 'T')
    };
    assert!(all_stopped(), "before the first request");
    for answered in 1..=3 {
        assert_eq!(emulation.get("/").text(), "ok");
        emulation.log.wait_for_count("emulate: instance frozen", answered + 1);
        assert!(all_stopped(), "behind answer {answered}");
    }
}

#[test]
fn never_frozen_means_that_it_goes_on_between_requests() {
    let emulation =
        Plan::node("serve((q, s) => { s.end('ok'); setTimeout(() => console.log('behind it'), 50); });")
            .flags(&["--freeze", "never"])
            .start();
    emulation.get("/");
    emulation.log.wait_for("out| behind it");
    emulation.log.wait_for(" GET / 200 warm ");
}

#[test]
fn a_post_behind_a_freeze_longer_than_the_idle_timer_is_lost_and_a_get_is_sent_again() {
    for way in ["signal", "auto"] {
        let emulation = Plan::node(IMPATIENT).flags(&["--freeze", way]).start();
        // One that was frozen before it could even set its timer, on a busy machine, closes nothing.
        let lost = (0..ROUNDS).find_map(|_| {
            emulation.post("/", "first");
            sit_out(LONGER);
            Some(emulation.post("/lost", "second")).filter(|answer| answer.status() != 200)
        });
        let lost = lost.expect("a lost POST");
        assert_eq!((lost.status(), lost.field("X-Fc-Error-Type")), (502, Some("UnhandledInvocationError")));
        assert!(lost.text().contains("Process exited unexpectedly"), "{}", lost.text());
        assert_eq!(emulation.instances().len(), 1, "nothing has exited");
        let is_repeated = (0..ROUNDS).any(|_| {
            emulation.post("/", "third");
            sit_out(LONGER);
            assert_eq!(emulation.get("/repeated").text(), "ok", "{way}");
            emulation.log.all().iter().any(|line| line.contains("is sent again, as the platform does"))
        });
        assert!(is_repeated, "{way}");
    }
}

#[test]
fn an_instance_is_told_before_it_is_frozen_if_it_wants_to_know() {
    let emulation = Plan::node(
        "serve((q, s) => { console.log('got', q.method, q.url, q.headers['x-fc-control-path']); s.end(); });",
    )
    .flags(&["--pre-freeze"])
    .start();
    emulation.log.wait_for("emulate: instance frozen");
    emulation.ask(post("/work", "x"));
    emulation.log.wait_for_count("emulate: instance frozen", 2);
    let lines = emulation.log.all();
    let behind = |part: &str, from: usize| {
        from + lines[from..]
            .iter()
            .position(|line| line.contains(part))
            .unwrap_or_else(|| panic!("{part}: {lines:?}"))
    };
    let work = behind("FC Invoke End", 0);
    let start = behind("FC PreFreeze Start RequestId: ", work);
    let end = behind("FC PreFreeze End RequestId: ", start);
    assert!(behind("emulate: instance frozen", work) > end, "{lines:?}");
    emulation.log.wait_for_count("out| got GET /pre-freeze /pre-freeze", 2);
}

#[test]
fn a_pre_freeze_callback_that_answers_500_restarts_the_instance() {
    let emulation =
        Plan::node("serve((q, s) => { s.statusCode = q.url === '/pre-freeze' ? 500 : 200; s.end('ok'); });")
            .flags(&["--pre-freeze"])
            .start();
    emulation.log.wait_for("its pre-freeze callback answered 500");
    assert_eq!(emulation.get("/").text(), "ok");
    emulation.log.wait_for(" GET / 200 cold ");
}

#[test]
fn everything_that_an_instance_has_started_stands_still_with_it() {
    let emulation = Plan::node(
        "require('child_process').spawn('setsid', ['sh', '-c', 'sleep 600 & sleep 600'], { detached: true, stdio: 'ignore' }).unref();
serve((q, s) => s.end('ok'));",
    )
    .flags(&["--freeze", "signal"])
    .start();
    emulation.get("/");
    emulation.log.wait_for_count("emulate: instance frozen", 2);
    eventually("a server, a shell and two that sleep, all of them stopped", || {
        let found = emulation.processes();
        if found.len() < 4 {
            // Its children may not have come far before the first freeze.
            emulation.get("/");
        }
        (found.len() == 4 && found.iter().all(|(_, state)| *state == 'T')).then_some(())
    });
}
