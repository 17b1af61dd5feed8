//! The files of function and service profiles, on the built binary: judged before anything starts.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::planes::{Planes, setup};

const FUNCTIONS: &str = include_str!("files/functions.json");
const SERVICES: &str = include_str!("files/services.json");

/// Three things that cannot be, and one that is odd.
const BAD: &str = r#"[
  { "name": "a", "runtime": "nodejs", "url": "file:///a", "signature": "1",
    "handlr": "index.handler" },
  { "name": "a", "runtime": "nodejs", "url": "file:///a", "signature": "1",
    "handler": "index.js.handler" }
]
"#;

const CONFIGURATION: &str = "upstream = \"noslate\"\n[noslate]\nworkdir = \"/tmp/noslate\"\n\
                             profiles = \"functions.json\"\nservices = \"services.json\"\n";

/// Runs the binary in `dir`, in which these are the files.
fn warmfront(dir: &Path, files: &[(&str, &str)], words: &[&str]) -> Output {
    for (name, text) in files {
        fs::write(dir.join(name), text).expect("written");
    }
    Command::new(env!("CARGO_BIN_EXE_warmfront"))
        .args(words)
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .output()
        .expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn good_files_are_counted_by_check() {
    let dir = tempfile::tempdir().expect("a directory");
    let files =
        [("warmfront.toml", CONFIGURATION), ("functions.json", FUNCTIONS), ("services.json", SERVICES)];
    let output = warmfront(dir.path(), &files, &["check"]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    let said = text(&output.stdout);
    assert!(said.ends_with("port 9000, 2 functions, 2 services)\n"), "{said}");
}

#[test]
fn bad_files_are_told_whole_and_end_check_and_run_as_a_bad_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let services = "[\n  { \"name\": \"s\" }\n]\n";
    let files = [("warmfront.toml", CONFIGURATION), ("functions.json", BAD), ("services.json", services)];
    for words in [["check"].as_slice(), &["run"]] {
        let output = warmfront(dir.path(), &files, words);
        assert_eq!(output.status.code(), Some(78));
        assert!(output.stdout.is_empty());
        let said = text(&output.stderr);
        for told in [
            "warmfront: functions.json:2: `/0/handler` is missing.",
            "warmfront: functions.json:3: `/0/handlr` is no field that Noslate has.",
            "  Did you mean `handler`?",
            "warmfront: functions.json:4: `/1/name = \"a\"` is the name of `/0` too.",
            "warmfront: functions.json:5: `/1/handler = \"index.js.handler\"` is not FILE.FUNCTION.",
            "warmfront: services.json:2: `/0/selector` is missing.",
        ] {
            assert!(said.contains(told), "{told}: {said}");
        }
        assert!(said.ends_with("5 problems.\n"), "{said}");
    }
}

#[test]
fn a_bad_file_is_told_beside_what_is_wrong_with_the_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let configuration = format!("{CONFIGURATION}url = \"sideways\"\n");
    let files = [("warmfront.toml", configuration.as_str()), ("functions.json", BAD)];
    let output = warmfront(dir.path(), &files, &["check"]);
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output.stderr);
    let places = [
        "warmfront.toml:6: `noslate.url",
        "functions.json:2: ",
        "`services.json`, which `noslate.services` names",
    ];
    for told in places {
        assert!(said.contains(told), "{told}: {said}");
    }
}

#[test]
fn a_file_that_is_not_there_is_a_problem_of_the_configuration() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = warmfront(dir.path(), &[("warmfront.toml", CONFIGURATION)], &["run"]);
    assert_eq!(output.status.code(), Some(78));
    let said = text(&output.stderr);
    assert!(
        said.contains("The file `functions.json`, which `noslate.profiles` names, cannot be read."),
        "{said}"
    );
    assert!(said.ends_with("2 problems.\n"), "{said}");
}

#[test]
fn a_warning_is_told_by_check_and_stops_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let odd = FUNCTIONS.replacen("\"replicaCountLimit\": 4", "\"replicaCountLimt\": 4", 1);
    let files = [("warmfront.toml", CONFIGURATION), ("functions.json", &odd), ("services.json", SERVICES)];
    let output = warmfront(dir.path(), &files, &["check"]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stderr);
    let told =
        "warmfront: warning: functions.json:12: `/0/worker/replicaCountLimt` is no field that Noslate has.";
    assert!(said.contains(told) && said.ends_with("1 warning.\n"), "{said}");
}

#[test]
fn a_warning_is_logged_by_a_run_which_then_serves() {
    let odd = SERVICES.replacen("\"type\": \"default\"", "\"kind\": \"default\"", 1);
    let setup = setup().file("services.json", &odd);
    let path = setup.dir().join("services.json").to_str().expect("UTF-8").to_owned();
    let _planes = Planes::data(&setup, &[]);
    let sidecar = setup.set("noslate.services", &path).start_ready();
    let line = sidecar.stderr.wait_for("`/0/kind` is no field that Noslate has.");
    assert!(line.contains("[WARN]") && line.contains("services.json:2: "), "{line}");
    sidecar.stderr.wait_for("for Noslate's planes: 2 services");
}
