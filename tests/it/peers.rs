//! `warmfront-bench peers` from end to end, with counts too small to measure anything.
//!
//! What the figures mean is tested where they are made; here, that a whole run
//! yields every kind of report, and that a worse one is told by the exit code.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::with_engine;

/// Runs `warmfront-bench` in `dir`.
fn bench(dir: &Path, args: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmfront-bench"));
    with_engine(&mut command).current_dir(dir).env("TMPDIR", dir).args(args.split_ascii_whitespace());
    command.output().expect("the binary starts")
}

fn read(dir: &Path, name: &str) -> String {
    fs::read_to_string(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

const RUN: &str = "peers --layout shared --peers relay --cells 1k,post4k,r5000 --rounds 2 --requests 100 \
                   --connections 4";

#[test]
fn a_run_yields_every_report_and_a_worse_one_fails_the_comparison() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let output = bench(dir, &format!("{RUN} --json a.json --markdown a.md --html a.html"));
    assert!(output.status.success(), "{}", said(&output));
    let mut report: Value = serde_json::from_str(&read(dir, "a.json")).unwrap();
    for cell in ["1k", "post4k", "r5000"] {
        let ratio = &report["summary"][cell]["warmfront"]["median_ratio_to"]["relay"];
        assert!(ratio.as_f64().is_some_and(|ratio| ratio > 0.0), "{cell}: {ratio}");
        assert_eq!(report["summary"][cell]["relay"]["failed"], 0, "{cell}");
    }
    assert!(read(dir, "a.md").contains("## CPU per request against relay\n"));
    let page = read(dir, "a.html");
    assert!(
        page.contains("<svg ") && page.contains("Latency at a fixed rate") && page.ends_with("</html>\n")
    );

    // Against itself nothing is worse; against one in which everything of ours cost a tenth, all is.
    let output = bench(dir, "report a.json --compare a.json");
    assert!(output.status.success(), "{}", said(&output));
    for cell in report["cells"].as_array_mut().unwrap() {
        for run in cell["runs"]["warmfront"].as_array_mut().unwrap() {
            run["cpu_us"] = (run["cpu_us"].as_f64().unwrap() / 10.0).into();
        }
    }
    fs::write(dir.join("cheaper.json"), report.to_string()).unwrap();
    let output = bench(dir, "report a.json --compare cheaper.json --threshold 8%");
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("WORSE"), "{}", said(&output));
}

#[test]
fn who_is_missing_is_named_and_fails_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let line = "peers --layout shared --warmfront /nowhere/warmfront --peers relay --cells 1k --rounds 1 \
                --requests 100 --connections 2";
    let output = bench(dir.path(), line);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("/nowhere/warmfront does not exist"), "{}", said(&output));
}
