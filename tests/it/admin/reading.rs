//! What is read as JSON: whether the instance is ready, its workers, its requests, its configuration.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::sidecar::signal;
use crate::support::wire::status_of;
use crate::support::{ID, Setup, Worker, eventually, get, ok};

#[test]
fn ready_says_no_until_workers_are_and_why() {
    let setup = Setup::new().with_admin();
    let path = setup.dir().join("late.sock");
    let sidecar = setup.set("workers.sockets", path.to_str().unwrap()).start_cold();
    let admin = sidecar.admin();
    let answer = admin.ask("GET", "/ready");
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("workers are starting"), "{}", answer.text());
    assert_eq!(admin.ask("GET", "/live").status(), 200, "it lives all the same");
    let _worker = Worker::listen_at(&path);
    eventually("ready", || (admin.ask("GET", "/ready").status() == 200).then_some(()));
    assert_eq!(admin.json("/ready"), json!({ "version": 1, "ready": true, "reasons": [] }));
}

#[test]
fn ready_says_no_before_anybody_is_refused() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).with_admin().set("queue.depth", "5").start();
    let admin = sidecar.admin();
    let mut clients = Vec::new();
    let mut send = |target: &str| {
        let mut client = sidecar.client();
        client.send(get(target));
        clients.push(client);
    };
    send("/served");
    let mut connection = worker.accept();
    for _ in 0..3 {
        send("/waits");
    }
    admin.scrape_when("warmfront_queue_depth", 3.0);
    assert_eq!(admin.ask("GET", "/ready").status(), 200);
    send("/waits");
    admin.scrape_when("warmfront_queue_depth", 4.0);
    let answer = admin.ask("GET", "/ready");
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("4 requests wait, of queue.depth=5"), "{}", answer.text());
    assert_eq!(admin.scrape().get("warmfront_shed_requests_total{reason=\"queue_depth\"}"), 0.0);
    for client in &mut clients {
        connection.request();
        connection.send(ok("fine"));
        assert_eq!(client.response().text(), "fine");
    }
    eventually("ready again", || (admin.ask("GET", "/ready").status() == 200).then_some(()));
}

#[test]
fn ready_says_no_while_the_instance_ends() {
    let worker = Worker::listen();
    let mut sidecar = Setup::forward(&[worker.path()]).with_admin().start();
    let admin = sidecar.admin();
    let mut client = sidecar.client();
    client.send(get("/last"));
    let mut connection = worker.accept();
    sidecar.signal("TERM");
    admin.scrape_when("warmfront_phase{phase=\"draining\"}", 1.0);
    let answer = admin.ask("GET", "/ready");
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("the instance is stopping"), "{}", answer.text());
    connection.request();
    connection.send(ok("fine"));
    assert_eq!(client.response().text(), "fine");
    assert_eq!(sidecar.wait_exit(), 0);
}

#[test]
fn requests_in_flight_are_listed_with_their_phase_and_worker() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).with_admin().start();
    let admin = sidecar.admin();
    let with_id = |id: &str| get("/").replace(ID, id);
    let seen = |count: usize, phase: &str| {
        eventually(phase, || {
            let requests = admin.json("/requests");
            let list = requests["requests"].as_array().expect("a list").clone();
            (requests["count"] == count && list.iter().any(|request| request["phase"] == phase))
                .then_some(list)
        })
    };
    let mut first = sidecar.client();
    first.send(with_id("1-first"));
    let mut connection = worker.accept();
    let list = seen(1, "sent");
    assert_eq!((&list[0]["id"], &list[0]["worker"]), (&json!("1-first"), &json!(1)));
    let mut second = sidecar.client();
    second.send(with_id("1-second"));
    let list = seen(2, "queued");
    assert_eq!((&list[1]["id"], &list[1]["worker"]), (&json!("1-second"), &Value::Null));
    assert!(list[0]["age_ms"].as_u64() >= list[1]["age_ms"].as_u64(), "the oldest comes first");
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfi");
    let list = seen(2, "answering");
    assert_eq!(list[0]["id"], "1-first");
    connection.send("ne");
    assert_eq!(first.response().text(), "fine");
    connection.request();
    connection.send(ok("fine"));
    assert_eq!(second.response().text(), "fine");
    eventually("nobody", || (admin.json("/requests")["count"] == 0).then_some(()));
}

#[test]
fn a_worker_is_told_of_with_what_it_uses_and_how_it_last_ended() {
    let sidecar = Setup::new().flag("--workers", "1").with_admin().start_ready();
    let admin = sidecar.admin();
    assert_eq!(sidecar.client().ask(get("/")).status(), 200);
    let first = eventually("served", || {
        let worker = admin.json("/workers")["workers"][0].clone();
        (worker["served"] == 1).then_some(worker)
    });
    assert_eq!((&first["id"], &first["state"], &first["restarts"]), (&json!(1), &json!("ready"), &json!(0)));
    assert_eq!(first["last_exit"], Value::Null);
    assert!(first["usage"]["resident_bytes"].as_u64() > Some(1 << 20), "{first:#}");
    assert!(first["address"].as_str().unwrap_or_default().starts_with("unix:"), "{first:#}");
    signal(u32::try_from(first["pid"].as_u64().unwrap()).unwrap(), "KILL");
    let second = eventually("another life", || {
        let worker = admin.json("/workers")["workers"][0].clone();
        (worker["state"] == "ready" && worker["exits"] == 1).then_some(worker)
    });
    assert_ne!(second["pid"], first["pid"]);
    assert_eq!((&second["restarts"], &second["served"]), (&json!(1), &json!(1)));
    let summary = second["last_exit"]["summary"].as_str().unwrap_or_default();
    assert!(summary.contains("KILL"), "{second:#}");
}

/// A Node server that says nothing until it is told to.
const QUIET: &str = r"
require('http').createServer((request, response) => {
  if (request.url === '/speak') require('fs').writeSync(1, 'spoken\n');
  response.end('done');
}).listen(process.env.PORT);
";

#[test]
fn a_start_is_told_until_the_worker_wrote_accepted_and_answered() {
    let sidecar = Setup::run(["node", "server.js"])
        .file("server.js", QUIET)
        .flag("--workers", "1")
        .with_admin()
        .start();
    let admin = sidecar.admin();
    let start = || admin.json("/workers")["workers"][0]["start"].clone();
    let told = |what: &str| eventually(what, || Some(start()).filter(|start| start[what].is_u64()));
    let accepted = told("ready_ms");
    assert_eq!((&accepted["first_output_ms"], &accepted["first_answer_ms"]), (&Value::Null, &Value::Null));
    let mut client = sidecar.client();
    assert_eq!(client.ask(get("/")).status(), 200);
    let answered = told("first_answer_ms");
    assert!(answered["first_answer_ms"].as_u64() >= answered["ready_ms"].as_u64(), "{answered:#}");
    assert_eq!(answered["first_output_ms"], Value::Null);
    assert_eq!(client.ask(get("/speak")).status(), 200);
    let spoken = told("first_output_ms");
    assert!(spoken["first_output_ms"].as_u64() >= spoken["first_answer_ms"].as_u64(), "{spoken:#}");
    // What was first stays first.
    assert_eq!(client.ask(get("/speak")).status(), 200);
    assert_eq!(start(), spoken);
}

#[test]
fn the_configuration_is_told_with_its_sources_and_without_its_secrets() {
    let sidecar = Setup::new()
        .file("warmfront.toml", "queue.depth = 7\nworkers.env.DB_PASSWORD = \"hush-hush\"\n")
        .set("admin.token", "hush-hush-hush-hush")
        .with_admin()
        .start_ready();
    let answer = sidecar.admin().ask("GET", "/config");
    assert!(!answer.text().contains("hush"), "{}", answer.text());
    let config: Value = serde_json::from_slice(&answer.body).unwrap();
    let key = |name: &str| {
        let keys = config["keys"].as_array().expect("a list");
        keys.iter().find(|key| key["key"] == name).unwrap_or_else(|| panic!("no {name}")).clone()
    };
    assert_eq!(key("queue.depth"), json!({ "key": "queue.depth", "value": 7, "from": "warmfront.toml:1" }));
    assert_eq!(key("admin.token")["value"], "***");
    assert_eq!(key("workers.env.DB_PASSWORD")["value"], "***");
    assert_eq!(key("queue.timeout")["value"], "30s");
}

#[test]
fn a_worker_does_not_inherit_the_token() {
    let code = "import os, sys; print('token:', os.environ.get('WARMFRONT_ADMIN_TOKEN')); sys.stdout.flush()";
    let sidecar = Setup::run(["python3", "-c", code]).set("admin.token", "hush-hush-hush-hush").start_cold();
    assert!(sidecar.stdout.wait_for("token:").ends_with("token: None"));
}

#[test]
fn head_answers_like_get_and_whoever_is_lost_is_shown_the_way() {
    let sidecar = Setup::new().with_admin().start_ready();
    let admin = sidecar.admin();
    let mut wire = admin.connect();
    wire.send("HEAD /live HTTP/1.1\r\nHost: localhost\r\n\r\nGET /live HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, whole) = (wire.head(), wire.response());
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert_eq!(whole.status(), 200);
    let lost = admin.ask("GET", "/nowhere");
    assert_eq!(lost.status(), 404);
    let paths: Value = serde_json::from_slice(&lost.body).unwrap();
    for path in paths["paths"].as_array().expect("a list") {
        let path = path.as_str().unwrap().replace("{id}", "1");
        // Not to its end: one of them has none.
        let mut wire = admin.connect();
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert_ne!(status_of(&wire.head()), 404, "{path}");
    }
    let wrong = admin.ask("PUT", "/metrics");
    assert_eq!((wrong.status(), wrong.field("allow")), (405, Some("GET, HEAD")));
    assert_eq!(wrong.field("access-control-allow-origin"), None);
}

/// Holds answers against the schema, in which nothing may be that it does not name.
const VALIDATE: &str = "
import json, sys, jsonschema
schema, answers = json.load(open(sys.argv[1])), json.load(sys.stdin)
def close(part):
    if isinstance(part, dict):
        if 'properties' in part:
            part['additionalProperties'] = False
            part['required'] = list(part['properties'])
        for inner in part.values():
            close(inner)
    elif isinstance(part, list):
        for inner in part:
            close(inner)
jsonschema.Draft202012Validator.check_schema(schema)
close(schema)
for name, answer in answers.items():
    wanted = dict(schema, **{'$ref': '#/$defs/' + name})
    jsonschema.Draft202012Validator(wanted).validate(answer)
    print('fits', name)
";

#[test]
fn every_answer_fits_the_schema_and_leaves_nothing_out() {
    let sidecar = Setup::new().flag("--workers", "2").with_admin().start_ready();
    let admin = sidecar.admin();
    let pid = admin.json("/workers")["workers"][0]["pid"].as_u64().expect("a process");
    signal(u32::try_from(pid).unwrap(), "KILL");
    eventually("an exit", || (admin.json("/workers")["workers"][0]["exits"] == 1).then_some(()));
    let mut client = sidecar.client();
    client.send(get("/slow?ms=60000"));
    eventually("a request", || (admin.json("/requests")["count"] == 1).then_some(()));
    let mut answers = serde_json::Map::new();
    for name in ["live", "ready", "workers", "processes", "requests", "config", "now"] {
        answers.insert(name.to_owned(), admin.json(&format!("/{name}")));
    }
    let lost = admin.ask("GET", "/nowhere");
    answers.insert("lost".to_owned(), serde_json::from_slice(&lost.body).unwrap());
    let refused = admin.ask("PUT", "/live");
    answers.insert("error".to_owned(), serde_json::from_slice(&refused.body).unwrap());
    let accepted = admin.ask("POST", "/resume");
    answers.insert("accepted".to_owned(), serde_json::from_slice(&accepted.body).unwrap());
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/admin.schema.json");
    let mut python = Command::new("python3")
        .args(["-c", VALIDATE])
        .arg(schema)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is there: scripts/setup-tests installs it");
    let count = answers.len();
    let text = Value::from(answers).to_string();
    python.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let said = python.wait_with_output().expect("it ends");
    assert!(said.status.success(), "{}\n{text}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(String::from_utf8_lossy(&said.stdout).lines().count(), count);
}
