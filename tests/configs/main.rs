//! What lies in `configs/`, held against those who read such files: each is judged by a validator that nobody here wrote.

mod schema;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!("CARGO_BIN_EXE_warmfront");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs `warmfront` with these words to its end, as on a machine that says nothing else.
fn warmfront(words: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(words).current_dir(root()).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command.output().expect("the binary starts")
}

/// What a program that must end well has written.
fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("text")
}

/// The files of `folder` that end in `ending`.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).expect("a folder").filter_map(Result::ok);
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.retain(|path| path.to_string_lossy().ends_with(ending));
    found.sort();
    assert!(!found.is_empty(), "no {ending} in {folder}");
    found
}

/// What a validator says of each of `paths`: it is given them as its last arguments, and writes `FILE: VERDICT` lines.
fn judged(mut validator: Command, paths: &[PathBuf]) -> Vec<(PathBuf, String)> {
    let output = validator.args(paths).current_dir(root()).output();
    let said = stdout(&output.expect("the validator starts: scripts/setup-tests installs it"));
    let verdict = |line: &str| {
        let (path, verdict) = line.split_once(": ").expect("a verdict");
        (PathBuf::from(path), verdict.to_owned())
    };
    let verdicts: Vec<_> = said.lines().map(verdict).collect();
    assert_eq!(verdicts.len(), paths.len(), "{said}");
    verdicts
}
