//! Clients and applications that nobody here wrote, on both sides of the sidecar: `fun local`'s own
//! code, Go's `net/http` and curl ask; Tornado and Node answer.
//!
//! Where a client can go without the sidecar it does so first, for comparison. Names begin with the
//! requirement they check (38: independent clients; 25: a client that leaves).

#![expect(clippy::print_stdout, reason = "what it costs is worth a number")]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bare, Peer, Setup, Sidecar, app, eventually, get};

/// How soon a worker must learn that its client left. Its own clock tells, in milliseconds.
const CANCEL_MAX: Duration = Duration::from_millis(100);

fn tornado() -> [PathBuf; 2] {
    [app("tornado/venv/bin/python"), app("tornado/server.py")]
}

fn node() -> [PathBuf; 2] {
    [PathBuf::from("node"), app("keepalive/server.js")]
}

/// One Node worker with room for `requests` at once.
fn one_node(requests: u32) -> Sidecar {
    Setup::run(node()).flag("--workers", "1").flag("--concurrency", &requests.to_string()).start()
}

fn number(seen: &Value, name: &str) -> u64 {
    seen[name].as_u64().unwrap_or_else(|| panic!("no number {name}: {seen}"))
}

/// What the Node worker remembers, from a connection of its own.
fn remembered(port: u16, what: &str) -> Value {
    let answer = crate::support::Client::connect(port).ask(get(what));
    serde_json::from_str(answer.text()).expect("JSON")
}

// === fun local ===

/// A life as `fun local` plays it: initialize, events, requests of the application's own.
fn fun_invokes(port: u16) {
    let mut fun = Peer::fun(port, 5);
    let seen = fun.ask(r#"{"do":"initialize"}"#);
    assert_eq!(seen["status"], 200, "{seen}");
    for event in ["one", "two", ""] {
        let seen = fun.ask(&json!({ "do": "invoke", "event": event }).to_string());
        assert_eq!(seen["body"], format!("Hello from Tornado: {event}"), "{seen}");
    }
    let asked = json!({ "do": "http", "method": "PUT", "path": "/a%20b?c=d", "body": "for the app" });
    let seen = fun.ask(&asked.to_string());
    let arrived: Value = serde_json::from_str(seen["body"].as_str().expect("a body")).expect("JSON");
    assert_eq!(arrived["method"], "PUT");
    assert_eq!(arrived["uri"], "/a%20b?c=d");
    assert_eq!(arrived["body"], "for the app");
    assert!(arrived["fields"].as_array().expect("fields").contains(&json!(["X-Fc-Request-Id", seen["id"]])));
    // What its retries would hide: five requests, one connection, and nothing went wrong.
    assert_eq!([&seen["written"], &seen["dials"], &seen["failures"]], [&json!(5), &json!(1), &json!([])]);
}

#[test]
fn fc38_fun_invokes_the_tornado_sample_without_a_sidecar() {
    fun_invokes(Bare::start(tornado(), &[]).port);
}

#[test]
fn fc38_fun_invokes_the_tornado_sample_through_the_sidecar() {
    fun_invokes(Setup::run(tornado()).start().port);
}

// === curl, as Alibaba's local mock calls it ===

/// Sends `POST path` with this body as `function-compute-mock.sh` does; status and body.
fn mock_asks(port: u16, path: &str, event: Option<&str>) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args(["-s", "-X", "POST", "-w", "\n%{http_code}", "--max-time", "10"]);
    for field in [
        "Content-Type: application/octet-stream",
        "Expect:",
        "x-fc-request-id: 5f0f7a1e-0000-4000-8000-000000000001",
        "x-fc-function-name: sample",
        "x-fc-function-memory: 512",
        "x-fc-function-timeout: 60",
        "x-fc-initialization-timeout: 30",
        "x-fc-function-initializer: index.initialize",
        "x-fc-function-handler: index.handler",
        "x-fc-account-id: 1",
        "x-fc-region: cn-hangzhou",
        "x-fc-service-name: service",
        // curl drops what has no value, as it does for the mock.
        "x-fc-service-logproject:",
        "x-fc-service-logstore:",
        "x-fc-access-key-id: id",
        "x-fc-access-key-secret: secret",
        "x-fc-security-token: token",
    ] {
        curl.args(["-H", field]);
    }
    if let Some(event) = event {
        // The mock's `echo` ends the event with a line end.
        curl.args(["--data-binary", &format!("{event}\n")]);
    }
    let output = curl.arg(format!("http://localhost:{port}{path}")).output().expect("curl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).expect("text");
    let (body, status) = said.rsplit_once('\n').expect("a status");
    (status.to_owned(), body.to_owned())
}

fn mock_invokes(port: u16) {
    assert_eq!(mock_asks(port, "/initialize", None).0, "200");
    for event in ["{}", "two", "x"] {
        let (status, body) = mock_asks(port, "/invoke", Some(event));
        assert_eq!((&*status, body), ("200", format!("Hello from Tornado: {event}\n")));
    }
}

#[test]
fn fc38_curl_invokes_as_the_local_mock_does_without_a_sidecar() {
    mock_invokes(Bare::start(tornado(), &[]).port);
}

#[test]
fn fc38_curl_invokes_as_the_local_mock_does_through_the_sidecar() {
    mock_invokes(Setup::run(tornado()).start().port);
}

// === Tornado ===

#[test]
fn fc38_the_tornado_sample_runs_unchanged_on_a_unix_socket() {
    let sidecar = Setup::run(tornado()).with_admin().start();
    // It believes what the platform told it.
    sidecar.stdout.wait_for("listening on 9000");
    let workers = sidecar.admin().json("/workers");
    assert!(workers["workers"][0]["address"].as_str().unwrap().starts_with("unix:"), "{workers}");
    let mut client = sidecar.client();
    let fc = |method: &str, path: &str, kind: &str, body: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: 21.0.3.7\r\nX-Fc-Request-Id: 1-67a9a112-154ff5fe-a091711f4653\r\n\
             X-Fc-Control-Path: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    assert_eq!(client.ask(fc("POST", "/initialize", "/initialize", "")).status(), 200);
    let answer = client.ask(fc("POST", "/invoke", "/invoke", "event"));
    assert_eq!(answer.text(), "Hello from Tornado: event");
    assert_eq!(answer.field("x-fc-status"), Some("200"), "what the application reports passes");
    // The application's own path, whatever else it is called.
    let answer = client.ask(fc("POST", "/invoke", "/http-invoke", "mine"));
    assert_eq!(answer.text(), "Hello from Tornado: mine");
    let answer = client.ask(fc("DELETE", "/things/7?really", "/http-invoke", ""));
    let arrived: Value = serde_json::from_str(answer.text()).expect("JSON");
    assert_eq!([&arrived["method"], &arrived["uri"]], ["DELETE", "/things/7?really"]);
    sidecar.stdout.wait_for("FC Invoke Start RequestId: 1-67a9a112-154ff5fe-a091711f4653");
    assert_eq!(client.ask(fc("GET", "/pre-freeze", "/pre-freeze", "")).status(), 200);
    let answer = client.ask(fc("POST", "/invoke", "/invoke", "thawed"));
    assert_eq!(answer.text(), "Hello from Tornado: thawed");
    assert_eq!(client.ask(fc("GET", "/pre-stop", "/pre-stop", "")).status(), 200);
}

// === Go ===

fn go_reuses(port: u16) -> Value {
    let seen = Peer::go(port, &["-mode", "reuse", "-n", "1000", "-c", "4"]).hear();
    assert_eq!(seen["statuses"], json!({ "200": 1000 }), "{seen}");
    assert_eq!(seen["failures"], json!({}), "{seen}");
    assert_eq!(number(&seen, "dials"), 4, "one connection for each that asks: {seen}");
    seen
}

#[test]
fn fc38_go_keeps_its_connections_for_a_thousand_requests() {
    let bare = Bare::start(node(), &[]);
    let sidecar = one_node(100);
    let (without, with) = (go_reuses(bare.port), go_reuses(sidecar.port));
    println!("1,000 requests over 4 connections: {} ms without, {} ms with", without["ms"], with["ms"]);
}

#[test]
fn fc38_two_hundred_at_once_from_go_are_all_answered_by_four_workers() {
    let flags = ["-mode", "concurrent", "-n", "200", "-path", "/slow?ms=5"];
    let bare = Bare::start(node(), &[]);
    let without = Peer::go(bare.port, &flags).hear();
    let sidecar = Setup::run(node()).flag("--workers", "4").flag("--concurrency", "1").start();
    sidecar.stderr.wait_for("4 workers are warm");
    let with = Peer::go(sidecar.port, &flags).hear();
    println!(
        "200 at once, 5 ms each: {} ms with one server of any number, {} ms with 4 workers of one each",
        without["ms"], with["ms"]
    );
    assert_eq!(without["statuses"], json!({ "200": 200 }), "{without}");
    assert_eq!(with["statuses"], json!({ "200": 200 }), "{with}");
    assert_eq!(with["failures"], json!({}), "{with}");
}

/// Asks a worker that hangs up on what it has begun to run: what Go saw, and how often it ran.
fn go_is_hung_up_on(port: u16, id: &str, flags: &[&str]) -> (Value, u64) {
    let mut arguments = vec!["-mode", "idle-post", "-c", "1", "-path", "/hangup", "-id", id];
    arguments.extend(flags);
    let mut go = Peer::go(port, &arguments);
    assert_eq!(go.hear()["event"], "warm");
    go.tell("");
    let seen = loop {
        let seen = go.hear();
        if seen["event"] == "done" {
            break seen;
        }
    };
    let ran = number(&remembered(port, "/executions"), &format!("{id}-0-0"));
    (seen, ran)
}

#[test]
fn fc38_go_repeats_what_the_platform_repeats_and_the_sidecar_repeats_no_post() {
    let bare = Bare::start(node(), &[]);
    let sidecar = one_node(100);
    // Whoever is hung up on asks again if the method promises that it does no harm.
    let (seen, ran) = go_is_hung_up_on(bare.port, "get", &["-method", "GET"]);
    assert_eq!((&seen["statuses"], ran), (&json!({}), 2), "{seen}");
    let (seen, ran) = go_is_hung_up_on(bare.port, "key", &["-idempotency-key"]);
    assert_eq!((&seen["statuses"], ran), (&json!({}), 2), "{seen}");
    let (seen, ran) = go_is_hung_up_on(bare.port, "post", &[]);
    assert_eq!((&seen["statuses"], ran), (&json!({}), 1), "{seen}");
    println!("a POST whose worker hangs up: {} without a sidecar", seen["failures"]);
    // With the sidecar between, the connection stays and the answer says what happened.
    let (seen, ran) = go_is_hung_up_on(sidecar.port, "post", &[]);
    assert_eq!((&seen["statuses"], ran), (&json!({ "502": 1 }), 1), "{seen}");
    assert_eq!(number(&seen, "dials"), 1, "{seen}");
}

// === Go leaves ===

/// How long after Go left did the worker see it, for each of some rounds, shortest first.
fn go_leaves(port: u16, after: &str, path: &str) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..5)
        .map(|round| {
            let id = format!("leave-{after}-{round}");
            let mut go = Peer::go(port, &["-mode", "cancel", "-after", after, "-path", path, "-id", &id]);
            if after == "sent" {
                assert_eq!(go.hear()["event"], "sent");
                eventually("the request at the worker", || remembered(port, "/executions").get(&id).cloned());
                go.tell("leave");
            }
            let seen = go.hear();
            assert_eq!(
                seen["error"].as_str().map(|text| text.contains("context canceled")),
                Some(true),
                "{seen}"
            );
            let noticed =
                eventually("the worker's notice", || remembered(port, "/aborted").get(&id)?.as_u64());
            Duration::from_millis(noticed.saturating_sub(number(&seen, "left")))
        })
        .collect();
    times.sort();
    times
}

fn fc25_go_leaves(after: &str, path: &str) {
    let bare = Bare::start(node(), &[]);
    // Room for the request that is left and for the one that looks: each round needs the slot
    // of the round before.
    let sidecar = one_node(2);
    let (without, with) = (go_leaves(bare.port, after, path), go_leaves(sidecar.port, after, path));
    println!("Go leaves ({after}): the worker sees it after {without:?} without, {with:?} with");
    assert!(with[2] < CANCEL_MAX, "{with:?}");
}

#[test]
fn fc25_a_worker_sees_go_leave_a_request_that_was_sent() {
    fc25_go_leaves("sent", "/hang");
}

#[test]
fn fc25_a_worker_sees_go_leave_an_answer_after_its_first_byte() {
    fc25_go_leaves("first-byte", "/drip");
}
