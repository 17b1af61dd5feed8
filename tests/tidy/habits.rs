//! Habits of every file, and files that somebody copies.

use std::process::Command;

use crate::source::{Complaints, files_below, root, sources};

/// A longer file usually hides a second noun.
const LINES_MAX: usize = 600;

#[test]
fn every_file_says_why_it_exists() {
    let mut complaints = Complaints::default();
    for file in sources("src").into_iter().chain(sources("loadtest")).chain(sources("shim")) {
        if !file.text.starts_with("//! ") && !file.path.ends_with("/tests.rs") {
            complaints.add(&file, 1, "begin with `//!`: what this file is for, in one sentence");
        }
    }
    complaints.none();
}

#[test]
fn no_file_holds_two_nouns() {
    let mut complaints = Complaints::default();
    for file in ["src", "shim", "tests", "loadtest", "benches"].into_iter().flat_map(sources) {
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            complaints.add(
                &file,
                lines,
                &format!("{lines} lines, over {LINES_MAX}: two nouns? Give the second its own file"),
            );
        }
    }
    complaints.none();
}

#[test]
fn nothing_unwraps_outside_tests() {
    let mut complaints = Complaints::default();
    for file in sources("src").into_iter().chain(sources("loadtest")) {
        for line in file.mentions(".unwrap()") {
            complaints.add(
                &file,
                line,
                "answer the error, or `expect(\"invariant: …\")` with why it cannot happen",
            );
        }
    }
    complaints.none();
}

#[test]
fn every_ready_configuration_passes_check() {
    check_configurations_below("configs", &[]);
}

/// Their programs are not here, so each is checked with another in its place.
#[test]
fn every_example_passes_check() {
    check_configurations_below("examples", &["--", "/bin/true"]);
}

fn check_configurations_below(directory: &str, command: &[&str]) {
    let mut checked = 0;
    for path in files_below(&root().join(directory)) {
        if path.extension().is_some_and(|extension| extension == "toml") {
            let output = Command::new(env!("CARGO_BIN_EXE_warmfront"))
                .args(["check", "--config"])
                .arg(&path)
                .args(command)
                .env_clear()
                .output()
                .expect("the binary starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            checked += 1;
        }
    }
    assert!(checked > 0, "no *.toml in {directory}");
}
