//! `warmfront-bench noslate` from end to end, with counts too small to measure anything.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::app;

/// Runs `warmfront-bench` in `dir`; the packages of what it starts are there.
fn bench(dir: &std::path::Path, args: &str) -> (Output, String) {
    app("noslate");
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmfront-bench"));
    command.current_dir(dir).env("TMPDIR", dir).args(args.split_ascii_whitespace());
    let output = command.output().expect("the binary starts");
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    (output, said)
}

const RUN: &str = "noslate --layout shared --rounds 1 --requests 100 --connections 4";

#[test]
fn both_front_doors_of_noslate_are_measured_and_held_against_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let (output, said) = bench(dir.path(), &format!("{RUN} --json a.json"));
    assert!(output.status.success(), "{said}");
    let report: Value =
        serde_json::from_str(&fs::read_to_string(dir.path().join("a.json")).unwrap()).unwrap();
    for cell in ["invoke100", "invoke64k"] {
        let front = &report["summary"][cell]["warmfront"];
        let ratio = &front["median_ratio_to"]["server.js"];
        assert!(ratio.as_f64().is_some_and(|ratio| ratio > 0.0), "{cell}: {ratio}");
        assert_eq!(
            (&front["failed"], &report["summary"][cell]["server.js"]["failed"]),
            (&0.into(), &0.into())
        );
    }
    for told in ["CPU / server.js", "p99 / server.js", "every 500 invocations"] {
        assert!(said.contains(told), "{said}");
    }
    assert!(!said.contains("CPU / nginx"), "goals of other measurements: {said}");

    let (output, said) = bench(dir.path(), "report a.json --against server.js --compare a.json");
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_front_door_that_cannot_invoke_is_not_measured_and_fails_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let warmfront = env!("CARGO_BIN_EXE_warmfront");
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmfront-bench"));
    app("noslate");
    command.current_dir(dir.path()).env("TMPDIR", dir.path()).args(RUN.split_ascii_whitespace());
    // The path names no function to it.
    command.args(["--warmfront", &format!("{warmfront} WARMFRONT_NOSLATE_DISPATCH=header:x-function")]);
    let output = command.output().expect("the binary starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("NOT MEASURED") && said.contains("of its requests failed"), "{said}");
}
