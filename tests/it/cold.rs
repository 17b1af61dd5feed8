//! `warmfront-bench cold`, `compare` and `freeze` from end to end, with counts too small to measure anything.
//!
//! The apps are those of loadtest/apps, as people write them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::sidecar::signal;
use crate::support::with_engine;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// An entry of loadtest/apps/apps.json.
struct App {
    command: Vec<String>,
    socket_command: Option<String>,
    via: String,
}

fn app(name: &str) -> App {
    let all = std::fs::read(Path::new(ROOT).join("loadtest/apps/apps.json")).expect("the list of apps");
    let all: Vec<Value> = serde_json::from_slice(&all).expect("JSON");
    let app = all.into_iter().find(|app| app["name"] == name).expect("an app of that name");
    let text = |key: &str| app[key].as_str().map(str::to_owned);
    let words = text("command").expect("a command");
    App {
        command: words.split_ascii_whitespace().map(str::to_owned).collect(),
        socket_command: text("socket_command"),
        via: text("via").expect("ways"),
    }
}

/// `warmfront-bench` with the words of `line`, an app, and `bench.json` in `dir` as its report.
fn bench(dir: &Path, line: &str, app: &App) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmfront-bench"));
    with_engine(&mut command).current_dir(ROOT).env("TMPDIR", dir).args(line.split_ascii_whitespace());
    command.arg("--json").arg(dir.join("bench.json"));
    if let Some(socket) = &app.socket_command {
        command.args(["--socket-command", socket]);
    }
    command.arg("--").args(&app.command);
    command
}

fn report(dir: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dir.join("bench.json")).expect("a report")).expect("JSON")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Answers before and behind a short freeze, in every way in which the app can be reached.
fn answers_in_every_way(name: &str, request: &str) {
    let (dir, app) = (tempfile::tempdir().expect("a directory"), app(name));
    let via = app.via.replace(",nginx,haproxy", "");
    let line =
        format!("freeze --runs 1 --asked thawed --frozen-ms 50 --before 1 --after 2 --via {via} {request}");
    let output = bench(dir.path(), &line, &app).output().expect("it starts");
    assert!(output.status.success(), "{}", said(&output));
    let report = report(dir.path());
    let thaws = report["thaws"].as_array().expect("a list");
    assert_eq!(thaws.len(), via.split(',').count(), "{}", said(&output));
    for request in thaws.iter().flat_map(|thaw| thaw["requests"].as_array().expect("a list")) {
        assert_eq!(request["failure"], Value::Null, "{report}");
    }
}

#[test]
fn express_answers_in_every_way() {
    answers_in_every_way("express", "--path /json");
}

#[test]
fn fastify_answers_in_every_way() {
    answers_in_every_way("fastify", "--path /upload --body-bytes 100000");
}

#[test]
fn flask_behind_gunicorn_answers_in_every_way() {
    answers_in_every_way("flask-gunicorn", "--path /json");
}

#[test]
fn fastapi_behind_uvicorn_answers_in_every_way() {
    answers_in_every_way("fastapi-uvicorn", "--path /upload --body-bytes 100000");
}

#[test]
fn tornado_answers_in_every_way() {
    answers_in_every_way("tornado", "--path /download?bytes=100000");
}

#[test]
fn the_jdks_server_answers_in_every_way() {
    answers_in_every_way("java", "--path /upload --body-bytes 100000");
}

#[test]
fn go_answers_in_every_way() {
    answers_in_every_way("go", "--path /download?bytes=100000");
}

#[test]
fn phps_own_server_answers_in_every_way() {
    answers_in_every_way("php", "--path /json");
}

#[test]
fn a_start_has_its_phases_in_order_however_many_start_at_once() {
    let (dir, app) = (tempfile::tempdir().unwrap(), app("express"));
    let line = "cold --runs 2 --at-once 1,3 --settle-requests 100";
    let output = bench(dir.path(), line, &app).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let report = report(dir.path());
    let starts = report["starts"].as_array().unwrap();
    assert_eq!(starts.len(), 2 * (1 + 3));
    for start in starts {
        let at = |phase: &str| start["phases"][phase].as_f64().unwrap_or_else(|| panic!("{phase}: {start}"));
        let order = ["forked", "executed", "listening", "accepted", "first_byte"].map(at);
        assert!(order.is_sorted() && order[0] > 0.0, "{start}");
        assert!(start["warm_us"].as_f64() > Some(0.0) && !start["early"].as_array().unwrap().is_empty());
        assert_eq!((&start["bad_answers"], &start["failure"]), (&Value::from(0), &Value::Null));
    }
}

#[test]
fn an_app_that_closes_behind_each_answer_is_measured_and_its_bad_answers_count_once_each() {
    let dir = tempfile::tempdir().unwrap();
    let script = "let asked = 0; require('http').createServer((q, s) => { \
                  s.writeHead(++asked > 2 ? 200 : 503, { connection: 'close' }); s.end('x'); }).listen(process.env.PORT)";
    let words = ["node", "-e", script].map(str::to_owned);
    let app = App { command: words.into(), socket_command: None, via: String::new() };
    let output = bench(dir.path(), "cold --runs 1 --settle-requests 60", &app).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let start = &report(dir.path())["starts"][0];
    assert_eq!((&start["bad_answers"], &start["failure"]), (&2.into(), &Value::Null), "{start}");
    assert!(start["warm_us"].as_f64() > Some(0.0), "{start}");
}

#[test]
fn one_app_is_compared_cold_and_behind_a_crash_in_every_way() {
    let (dir, app) = (tempfile::tempdir().unwrap(), app("go"));
    let ways = ["direct", "socket", "spare", "tcp", "nginx", "haproxy"];
    let line = format!("compare --runs 1 --warm-runs 1 --settle-requests 60 --via {}", ways.join(","));
    let output = bench(dir.path(), &line, &app).output().unwrap();
    let report = report(dir.path());
    assert_eq!(report["not_measured"], Value::Array(Vec::new()), "{}", said(&output));
    let entry = |list: &str, way: &str| {
        let all = report[list].as_array().unwrap().iter();
        let found: Vec<&Value> = all.filter(|entry| entry["subject"] == way).collect();
        assert_eq!(found.len(), 1, "{list} of {way}: {}", said(&output));
        found[0].clone()
    };
    for way in ways {
        assert!(entry("starts", way)["phases"]["first_byte"].as_f64() > Some(0.0));
    }
    // What stands in front of the app decides what its death costs.
    for way in ["socket", "spare"] {
        let crash = entry("crashes", way);
        assert_eq!((&crash["failed"], &crash["is_started_again"]), (&0.into(), &false.into()), "{crash}");
    }
    assert_eq!(entry("crashes", "direct")["is_started_again"], true);
    let nginx = entry("crashes", "nginx");
    assert_eq!((&nginx["back_ms"], &nginx["first_failure"]), (&Value::Null, &"status 502".into()), "{nginx}");
}

#[test]
fn an_app_that_ends_at_its_start_says_why_and_fails_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["sh", "-c", "echo the database is away >&2; exit 3"].map(str::to_owned);
    let app = App { command: words.into(), socket_command: None, via: String::new() };
    let output = bench(dir.path(), "cold --runs 1", &app).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let reason = &report(dir.path())["not_measured"][0]["reason"];
    assert_eq!(reason, "ended with exit status: 3: the database is away");
}

#[test]
fn an_interrupted_run_reports_what_it_has_and_leaves_nothing_behind() {
    let (dir, app) = (tempfile::tempdir().unwrap(), app("express"));
    let mut command = bench(dir.path(), "cold --runs 1000 --settle-requests 0", &app);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    // Not every step is told.
    let round = |line: &str| line.split_once("round ")?.1.split_once(':')?.0.parse::<u32>().ok();
    while round(&line).is_none_or(|round| round < 3) {
        line.clear();
        assert!(progress.read_line(&mut line).unwrap() > 0, "it ended by itself");
    }
    signal(child.id(), "INT");
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let report = report(dir.path());
    assert_eq!(report["ended_early"], "a signal asked for the end");
    assert!(report["rounds"][1].as_u64() >= Some(2) && !report["starts"].as_array().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the report alone");
}
