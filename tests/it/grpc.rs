//! A gRPC server behind the sidecar, asked by a gRPC client: neither knows of it.
//!
//! Both are grpc-js, on Node's HTTP/2: no code in common with ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;

use serde_json::{Value, json};

use crate::support::sidecar::signal;
use crate::support::{Setup, Sidecar};

fn app() -> PathBuf {
    static PACKAGES: Once = Once::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // `./test` has done this already; a plain `cargo test` has not.
    PACKAGES.call_once(|| {
        let setup = Command::new(root.join("scripts/setup-tests")).output().expect("bash runs");
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    });
    root.join("tests/apps/grpc")
}

fn server(protocol: &str) -> Sidecar {
    let server = app().join("server.js").display().to_string();
    Setup::run(["node", &server])
        .set("workers.protocol", protocol)
        .set("workers.count", "1")
        .flag("--concurrency", "100")
        .start()
}

/// What the client saw of one call.
fn call(sidecar: &Sidecar, name: &str) -> Value {
    let output = Command::new("node")
        .arg(app().join("client.js"))
        .args([&sidecar.port.to_string(), name])
        .output()
        .expect("node is installed");
    let said = String::from_utf8(output.stdout).expect("text");
    serde_json::from_str(&said)
        .unwrap_or_else(|_| panic!("{name}: {said:?} {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_grpc_server_answers_every_kind_of_call() {
    let sidecar = server("h2");
    every_kind_of_call(&sidecar);
    assert!(!sidecar.stderr.all().iter().any(|line| line.contains("speaks HTTP/2")));
}

#[test]
fn a_grpc_server_needs_no_configuration() {
    let sidecar = server("auto");
    every_kind_of_call(&sidecar);
    assert_eq!(sidecar.stderr.wait_for_count("worker 1 speaks HTTP/2", 1).len(), 1);
    // A later life is asked again.
    let (pid, _) = sidecar.children()[0];
    signal(pid, "KILL");
    sidecar.stderr.wait_for("was ended by signal 9");
    assert_eq!(call(&sidecar, "unary")["code"], 0);
    sidecar.stderr.wait_for_count("worker 1 speaks HTTP/2", 2);
}

fn every_kind_of_call(sidecar: &Sidecar) {
    let unary = call(sidecar, "unary");
    assert_eq!((&unary["body"], &unary["code"]), (&json!("hello"), &json!(0)), "{unary}");
    // gRPC joins what is said twice.
    assert_eq!(unary["plain"], json!(["one, two"]), "{unary}");
    assert_eq!(unary["given"], json!([[0, 200, 13, 10]]), "{unary}");
    assert_eq!(unary["binary"], json!([[0, 1, 255, 10, 13]]), "{unary}");
    assert_eq!(unary["authority"], json!([format!("127.0.0.1:{}", sidecar.port)]), "{unary}");
    assert!(unary["id"][0].as_str().expect("an id").starts_with("1-"), "{unary}");

    assert_eq!(call(sidecar, "large"), json!({ "error": null, "same": true }));
    assert_eq!(call(sidecar, "serverStreaming"), json!({ "messages": 1000, "bytes": 5_000_000, "code": 0 }));
    assert_eq!(
        call(sidecar, "clientStreaming"),
        json!({ "error": null, "messages": 1000, "bytes": 999 * 500 })
    );
    assert_eq!(
        call(sidecar, "bidirectional"),
        json!({ "seen": ["re: one", "re: two", "re: three"], "code": 0 })
    );
    assert_eq!(call(sidecar, "failing"), json!({ "code": 16, "details": "no: é, %, ✓" }));
    assert_eq!(call(sidecar, "unknown")["code"], 12);
    assert_eq!(call(sidecar, "concurrent"), json!({ "same": true }));
    assert_eq!(call(sidecar, "deadline")["code"], 4);
    sidecar.stdout.wait_for("hang was cancelled: deadline");
    assert_eq!(call(sidecar, "cancel")["code"], 1);
    sidecar.stdout.wait_for("drip was cancelled: cancel");
}

#[test]
fn a_grpc_server_that_dies_fails_the_calls_it_holds_and_is_back() {
    let sidecar = server("h2");
    let mut client = Command::new("node");
    client.arg(app().join("client.js")).args([&sidecar.port.to_string(), "hang"]);
    let client = client.stdout(Stdio::piped()).spawn().unwrap();
    sidecar.stdout.wait_for("hanging: for ever");
    let (pid, _) = sidecar.children()[0];
    signal(pid, "KILL");
    let said = client.wait_with_output().unwrap().stdout;
    let failed: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!(failed["code"], 14, "UNAVAILABLE, which gRPC makes of 502: {failed}");
    sidecar.stderr.wait_for("was ended by signal 9");
    assert_eq!(call(&sidecar, "large")["same"], true);
}

#[test]
fn configured_as_http1_a_grpc_server_fails_with_the_reason() {
    let sidecar = server("http1");
    let failed = call(&sidecar, "large");
    assert_eq!(failed["error"]["code"], 14, "UNAVAILABLE, which gRPC makes of 502: {failed}");
    sidecar.stdout.wait_for("reason=\"worker-protocol\"");
}
