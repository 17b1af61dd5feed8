//! The integrity soak with the built programs, five seconds of it.
//!
//! `warmfront-bench soak` is the real length; that its judge also fails runs is shown beside it.

use std::process::Command;

use crate::support::with_engine;

#[test]
fn five_seconds_of_storm_and_dying_workers_break_no_promise() {
    let dir = tempfile::tempdir().expect("a directory");
    let json = dir.path().join("soak.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmfront-bench"));
    let output = with_engine(&mut command)
        .args(["soak", "--seconds", "5", "--mean-life-ms", "1000", "--warmfront"])
        .arg(env!("CARGO_BIN_EXE_warmfront"))
        .arg("--json")
        .arg(&json)
        .env("TMPDIR", dir.path())
        .output()
        .expect("the soak starts");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: serde_json::Value =
        serde_json::from_slice(&std::fs::read(json).expect("a report")).expect("JSON");
    // However slow the machine: there was a storm.
    for (figure, least) in [("requests", 100), ("faults_injected", 5), ("worker_deaths", 1)] {
        assert!(report[figure].as_u64() >= Some(least), "{figure}: {said}");
    }
}
