//! The product under its own emulator: what fails without it works with it.

use std::time::Duration;

use super::{INVOKE, Plan, id_of, post};
use crate::support::freeze::sit_out;

/// A worker with Node's own idle timer shortened: what [`super::freeze`] shows to lose requests.
const WORKER: &str = "
const http = require('http');
const text = (q) => new Promise((done) => { let b = ''; q.on('data', (d) => b += d); q.on('end', () => done(b)); });
const server = http.createServer(async (q, s) => {
  const body = await text(q);
  if (q.url === '/slow') { console.log('slow'); return setTimeout(() => s.end('done'), 500); }
  s.end('got ' + body);
});
server.keepAliveTimeout = 1000;
server.listen(process.env.WARMFRONT_SOCKET);
";

fn plan() -> Plan {
    Plan::new(&[
        env!("CARGO_BIN_EXE_warmfront"),
        "run",
        "--workers",
        "1",
        "--concurrency",
        "4",
        "--",
        "node",
        "worker.js",
    ])
    .file("worker.js", WORKER)
}

#[test]
fn a_post_behind_a_freeze_longer_than_the_workers_idle_timer_is_answered() {
    for way in ["signal", "auto"] {
        let emulation = plan().flags(&["--freeze", way, "--initializer"]).start();
        assert_eq!(emulation.post("/", "first").text(), "got first");
        sit_out(Duration::from_millis(3_000));
        let answer = emulation.post("/", "second");
        assert_eq!((answer.status(), answer.text()), (200, "got second"), "{way}");
        assert_eq!(emulation.post(INVOKE, "event").text(), "got event");
        assert_eq!(emulation.instances().len(), 1);
    }
}

#[test]
fn its_initializer_answers_when_a_worker_is_warm_and_its_lines_carry_the_platforms_id() {
    let emulation = plan().flags(&["--initializer"]).start();
    let lines = emulation.log.all();
    let end = lines.iter().find(|line| line.contains("FC Initialize End RequestId: ")).expect("said");
    assert!(!end.contains("Error"), "{end}");
    let answer = emulation.post("/", "x");
    emulation.log.wait_for(&format!("{} [INFO] POST / status=200", id_of(&answer)));
}

#[test]
fn its_pre_stop_drains_what_is_in_flight() {
    let mut emulation = plan().flags(&["--pre-stop=5s", "--initializer"]).start();
    let mut client = emulation.client();
    client.send(post("/slow", ""));
    emulation.log.wait_for("slow");
    emulation.signal("TERM");
    assert_eq!(client.response().text(), "done");
    assert_eq!(emulation.wait_exit(), 0);
    let said = emulation.log.until_closed().join("\n");
    assert!(
        said.contains("FC PreStop End RequestId: ") && !said.contains("PreStop End RequestId: ,"),
        "{said}"
    );
}
