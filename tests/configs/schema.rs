//! The schema of configuration files: it knows what `warmfront check` knows of single values, no more and no less.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use warmfront::config::keys::{KEYS, Key, Kind, Zero};
use warmfront::config::units::size_text;

use super::{files, judged, root, stdout, warmfront};

#[test]
fn the_command_prints_the_schema_and_the_full_file_that_lie_in_configs() {
    for (flag, file) in [("--schema", "warmfront.schema.json"), ("--full", "full.toml")] {
        let lies = std::fs::read_to_string(root().join("configs").join(file)).expect(file);
        assert_eq!(stdout(&warmfront(&["config", flag])), lies, "{file}");
    }
}

#[test]
fn every_ready_configuration_names_the_schema_and_fits_it() {
    let paths = files("configs", ".toml");
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("a file");
        assert!(text.starts_with("#:schema ./warmfront.schema.json\n"), "{}", path.display());
    }
    for (path, verdict) in verdicts(&paths) {
        assert_eq!(verdict, "fits", "{}", path.display());
    }
}

#[test]
fn the_full_file_means_what_no_file_means() {
    let values = |words: &[&str]| -> Vec<String> {
        let said = stdout(&warmfront(words));
        let value = |line: &str| line.split("  # ").next().unwrap_or_default().trim().to_owned();
        said.lines().filter(|line| !line.starts_with("# file")).map(value).collect()
    };
    // Any command: a demo is told more than others by default.
    let with = |file| values(&["config", "--config", file, "--", "/bin/true"]);
    assert_eq!(with("configs/full.toml"), with("/dev/null"));
}

/// Each kind of value at each of its keys: what `warmfront check` refuses there by itself, the schema refuses, and what
/// it accepts, the schema accepts.
#[test]
fn a_wrong_value_of_any_kind_is_refused_by_check_and_by_the_schema_alike() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut cases = BTreeMap::new();
    let mut add = |text: String, is_right: bool, kind: &'static str| {
        let path = dir.path().join(format!("{:04}.toml", cases.len()));
        std::fs::write(&path, &text).expect("written");
        cases.insert(path, Case { text, is_right, kind });
    };
    for key in KEYS {
        for (value, is_right) in values(key.kind) {
            add(format!("{} = {value}\n", key.path), is_right, name(key.kind));
        }
        let Kind::Tables(fields) = key.kind else { continue };
        for field in fields {
            for (value, is_right) in values(field.kind) {
                add(table(key, field, &value), is_right, name(field.kind));
            }
        }
        let head = format!("workers.sockets = [\"/a\"]\n[[{}]]\n", key.path);
        add(format!("{head}name = \"a\"\n"), false, "missing");
        add(format!("{head}command = [\"true\"]\n"), false, "missing");
        add(format!("{head}name = \"a\"\ncommand = [\"true\"]\nnam = 1\n"), false, "unknown");
        add(format!("{head}name = \"a\"\ncommand = [\"true\"]\n"), true, "table");
    }
    for unknown in ["listen.prot = 1", "worker.count = 1", "port = 1", "listen = 1", "workers = [1]"] {
        add(format!("{unknown}\n"), false, "unknown");
    }
    let paths: Vec<PathBuf> = cases.keys().cloned().collect();
    let (mut accepted, mut refused) = (BTreeMap::<_, usize>::new(), BTreeMap::<_, usize>::new());
    let mut complaints = String::new();
    for (path, verdict) in verdicts(&paths) {
        let case = &cases[&path];
        let output = warmfront(&["check", "--config", &path.to_string_lossy()]);
        let (checks, fits) = (output.status.success(), verdict == "fits");
        // A right value can be at odds with others, which no schema sees.
        let is_sound = if case.is_right { fits } else { !checks && !fits };
        if !is_sound {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let _ = writeln!(complaints, "{}check: {checks} {said}schema: {verdict}\n", case.text);
        }
        *accepted.entry(case.kind).or_default() += usize::from(checks && fits);
        *refused.entry(case.kind).or_default() += usize::from(!checks && !fits);
    }
    assert!(complaints.is_empty(), "{complaints}");
    println!("{} values; accepted by both: {accepted:?}; refused by both: {refused:?}", paths.len());
    for (kind, count) in &accepted {
        let has_no_right_ones = matches!(*kind, "missing" | "unknown");
        assert!(
            *count > 0 || has_no_right_ones,
            "nothing of kind {kind} was accepted: the cases prove nothing"
        );
    }
    assert!(paths.len() > 500, "only {} values", paths.len());
}

struct Case {
    text: String,
    is_right: bool,
    kind: &'static str,
}

/// A process with this field, valid but for its value.
fn table(key: &Key, field: &Key, value: &str) -> String {
    let mut text = format!("workers.sockets = [\"/a\"]\n[[{}]]\n", key.path);
    for (name, given) in [("name", "\"a\""), ("command", "[\"true\"]")] {
        if name != field.path {
            let _ = writeln!(text, "{name} = {given}");
        }
    }
    let _ = writeln!(text, "{} = {value}", field.path);
    text
}

/// Values as TOML, and whether they are right by themselves.
fn values(kind: Kind) -> Vec<(String, bool)> {
    let (right, wrong): (Vec<String>, Vec<String>) = match kind {
        Kind::Address => (
            own(&["\"127.0.0.1\"", "\"::1\""]),
            own(&["7", "\"localhost\"", "\"1.2.3\"", "\"256.1.1.1\"", "true"]),
        ),
        Kind::Number(min, max) => {
            let wrong = own(&["-1", "1.5", "true", "[]", "\"5\"", "\"many\""]);
            (vec![min.to_string(), max.to_string()], with(wrong, (max + 1).to_string()))
        }
        Kind::AutoOr(min, max) => {
            let wrong = own(&["-1", "1.5", "true", "\"many\"", "\"3\"", "\"\""]);
            (own(&["\"auto\"", &min.to_string(), &max.to_string()]), with(wrong, (max + 1).to_string()))
        }
        Kind::Switch => (own(&["true", "false"]), own(&["1", "\"true\"", "\"yes\"", "[true]"])),
        Kind::Choice(words) => (
            words.iter().map(|word| format!("\"{word}\"")).collect(),
            own(&["\"nope\"", "1", "true", "\"\""]),
        ),
        Kind::Period(zero) => {
            let mut right =
                own(&["\"1500ms\"", "\"1h 30m\"", "\"1m30s\"", "\"0.5s\"", "\"24h\"", "\" 2 min \""]);
            let mut wrong =
                own(&["30", "\"30\"", "1.5", "\"30 parsecs\"", "\"-1s\"", "\"s\"", "\"\"", "true"]);
            if zero == Zero::Allowed { &mut right } else { &mut wrong }.push("\"0s\"".to_owned());
            (right, wrong)
        }
        Kind::Size(min, max) => {
            let right = vec![min.to_string(), format!("\"{}\"", size_text(max)), max.to_string()];
            let wrong =
                own(&["\"64\"", "\"12 parsecs\"", "-1", "1.5", "\"-5KiB\"", "true", "\"\"", "\"KiB\""]);
            (right, with(wrong, (max + 1).to_string()))
        }
        Kind::Path => (own(&["\"/a\""]), own(&["1", "\"\"", "\"a\\u0000b\"", "[\"/a\"]"])),
        Kind::Target => {
            let long = format!("\"/{}\"", "a".repeat(Kind::TARGET_MAX_BYTES));
            (
                own(&["\"/healthz\"", "\"\""]),
                with(own(&["\"a\"", "\"/a b\"", "\"/a?b\"", "\"/a#b\"", "\"/ä\"", "1"]), long),
            )
        }
        Kind::Place => (
            own(&[
                "\"127.0.0.1:9901\"",
                "\"[::1]:9901\"",
                "\"localhost:1\"",
                "\"/run/a\"",
                "\"unix:/run/a\"",
                "\"\"",
            ]),
            own(&[
                "\"9901\"",
                "\"example.com:80\"",
                "\"127.0.0.1:99999\"",
                "\"127.0.0.1\"",
                "9901",
                "\"unix:a\"",
            ]),
        ),
        Kind::Collector => (
            own(&["\"http://127.0.0.1:4318\"", "\"\""]),
            own(&["\"127.0.0.1:4318\"", "\"https://a\"", "\"ftp://a\"", "1", "\"http://\""]),
        ),
        Kind::Text => {
            let long = format!("\"{}\"", "a".repeat(Kind::TEXT_MAX_BYTES + 1));
            (
                own(&["\"a\"", "\"service:b\""]),
                with(own(&["\" a\"", "\"a \"", "\"a\\u0007b\"", "1", "[\"a\"]"]), long),
            )
        }
        Kind::Secret => {
            (own(&["\"0123456789abcdef\""]), own(&["\"short\"", "\"a blank in the midst\"", "1", "\"\""]))
        }
        Kind::Words => (own(&["[\"a\"]", "[\"a\", \"b c\"]"]), own(&["\"a b\"", "[1]", "3", "[[\"a\"]]"])),
        Kind::Paths => {
            (own(&["[\"/a\", \"/b\"]"]), own(&["\"/a\"", "[]", "[\"\"]", "[1]", "[\"/a\", \"\"]"]))
        }
        Kind::Variables => (
            own(&["{}", "{ A = \"b\" }"]),
            own(&["1", "\"A=b\"", "{ A = 1 }", "{ \"A=B\" = \"c\" }", "{ A = \"a\\u0000\" }", "[]"]),
        ),
        Kind::Tables(_) => (Vec::new(), own(&["1", "\"a\"", "{}", "[1]"])),
    };
    let judged = |values: Vec<String>, is_right: bool| values.into_iter().map(move |value| (value, is_right));
    judged(right, true).chain(judged(wrong, false)).collect()
}

fn own(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn with(mut values: Vec<String>, last: String) -> Vec<String> {
    values.push(last);
    values
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Address => "address",
        Kind::Number(..) => "number",
        Kind::AutoOr(..) => "auto or number",
        Kind::Switch => "switch",
        Kind::Choice(_) => "choice",
        Kind::Period(_) => "period",
        Kind::Size(..) => "size",
        Kind::Path => "path",
        Kind::Target => "target",
        Kind::Place => "place",
        Kind::Collector => "collector",
        Kind::Text => "text",
        Kind::Secret => "secret",
        Kind::Words => "words",
        Kind::Paths => "paths",
        Kind::Variables => "variables",
        Kind::Tables(_) => "unknown",
    }
}

/// What Python's jsonschema says of each file.
fn verdicts(paths: &[PathBuf]) -> Vec<(PathBuf, String)> {
    let mut python = Command::new("python3");
    python.arg(root().join("tests/validators/schema.py")).arg(root().join("configs/warmfront.schema.json"));
    judged(python, paths)
}
