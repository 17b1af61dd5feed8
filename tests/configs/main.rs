//! What lies in `configs/`, held against those who read such files: each is judged by a validator that nobody here wrote.

mod function_compute;
mod kubernetes;
mod schema;
mod systemd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

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

/// Says that `validator` accepts the file `name` of `configs/`, and refuses it with any of `slips` in it: one that
/// accepts everything proves nothing.
fn holds_against(validator: impl Fn() -> Command, name: &str, slips: &[(&str, &str)]) {
    let path = root().join("configs").join(name);
    let text = std::fs::read_to_string(&path).expect(name);
    let dir = tempfile::tempdir().expect("a directory");
    let broken: Vec<PathBuf> = (0..)
        .zip(slips)
        .map(|(number, (right, wrong))| {
            assert!(text.contains(right), "{name} has no {right:?} to be wrong");
            let ending = path.extension().expect("an ending").to_string_lossy();
            let broken = dir.path().join(format!("{number}.{ending}"));
            std::fs::write(&broken, text.replacen(right, wrong, 1)).expect("written");
            broken
        })
        .collect();
    assert_eq!(judged(validator(), &[path])[0].1, "fits", "{name}");
    for ((_, verdict), slip) in judged(validator(), &broken).iter().zip(slips) {
        assert_ne!(verdict, "fits", "{name}: {slip:?} went unnoticed");
    }
}

/// Every document of a YAML file.
fn documents(path: &Path) -> Vec<Value> {
    let mut python = Command::new(root().join("tests/validators/kubernetes/venv/bin/python"));
    python.arg(root().join("tests/validators/kubernetes/to_json.py")).arg(path);
    let output = python.output().expect("the environment is there: scripts/setup-tests makes it");
    serde_json::from_str(&stdout(&output)).expect("JSON")
}

/// What `warmfront config` says of these words and variables: the keys with their values as TOML.
fn resolved(words: &[String], variables: &[(String, String)]) -> BTreeMap<String, String> {
    let mut command = Command::new(PROGRAM);
    command.arg("config").args(words).env_clear().envs(variables.iter().cloned());
    let said = stdout(&command.output().expect("the binary starts"));
    let entry = |line: &str| {
        let (key, rest) = line.split_once(" = ")?;
        Some((key.to_owned(), rest.split("  # ").next()?.trim().trim_matches('"').to_owned()))
    };
    said.lines().filter_map(entry).collect()
}

/// Seconds of a period, as `config` writes it.
fn seconds(config: &BTreeMap<String, String>, key: &str) -> u64 {
    warmfront::config::units::period(&config[key]).expect("a period").as_secs()
}

/// Requests that the workers hold at once.
fn slots(config: &BTreeMap<String, String>) -> u64 {
    let number = |key: &str| config[key].parse::<u64>().expect("a number");
    number("workers.count") * number("workers.concurrency")
}

/// The texts of a JSON list.
fn texts(list: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    list.as_array().expect("a list").iter().map(text).collect()
}
