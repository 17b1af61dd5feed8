//! What is sent again, judged by workers that count what they executed.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::run_node;
use crate::support::sidecar::signal;
use crate::support::{ID, Setup, Sidecar, Worker, get, ok};

fn request(method: &str, fields: &str) -> String {
    format!("{method} /x HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\n{fields}Content-Length: 2\r\n\r\nhi")
}

/// A worker that has answered once, closes with the next request `unread` or read, and then serves whoever comes.
/// Returns the status that the client of that next request saw.
fn after_a_close(setup: impl FnOnce(Setup) -> Setup, request: &str, unread: bool) -> u16 {
    let worker = Worker::listen();
    let sidecar = setup(Setup::forward(&[worker.path()])).start();
    let mut client = sidecar.client();
    client.send(get("/first"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok(""));
    client.response();
    client.send(request);
    if unread {
        // The kernel has it; nobody has read a byte.
        connection.wait_readable();
    } else {
        connection.request();
    }
    connection.close();
    let serving = worker.echo_targets();
    let status = client.response().status();
    drop(serving);
    status
}

#[test]
fn fc19_what_a_worker_has_read_is_sent_again_only_if_twice_is_as_good_as_once() {
    let plain = |setup: Setup| setup;
    assert_eq!(after_a_close(plain, &request("POST", ""), false), 502);
    assert_eq!(after_a_close(plain, &request("PUT", ""), false), 502);
    assert_eq!(after_a_close(plain, &get("/x"), false), 200);
    assert_eq!(after_a_close(plain, &request("POST", "Idempotency-Key: 7\r\n"), false), 200);
    assert_eq!(after_a_close(plain, &request("POST", "x-idempotency-key: 7\r\n"), false), 200);
    assert_eq!(after_a_close(plain, &request("POST", "Idempotency-Key:\r\n"), false), 502);
    let keyless = |setup: Setup| setup.set("replay.idempotency_key", "false");
    assert_eq!(after_a_close(keyless, &request("POST", "Idempotency-Key: 7\r\n"), false), 502);
    let idempotent = |setup: Setup| setup.set("replay.methods", "idempotent");
    assert_eq!(after_a_close(idempotent, &request("PUT", ""), false), 200);
    assert_eq!(after_a_close(idempotent, &request("DELETE", ""), false), 200);
    assert_eq!(after_a_close(idempotent, &request("PATCH", ""), false), 502);
    let none = |setup: Setup| setup.set("replay.budget", "0");
    assert_eq!(after_a_close(none, &get("/x"), false), 502);
}

#[test]
fn fc19_what_a_worker_has_not_read_is_sent_again_by_switch() {
    let plain = |setup: Setup| setup;
    assert_eq!(after_a_close(plain, &request("POST", ""), true), 502);
    let unread = |setup: Setup| setup.set("replay.unread", "true");
    assert_eq!(after_a_close(unread, &request("POST", ""), true), 200);
    assert_eq!(after_a_close(unread, &request("POST", ""), false), 502, "that one was read");
    let large = format!(
        "POST /x HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nContent-Length: 5000\r\n\r\n{}",
        "x".repeat(5000)
    );
    assert_eq!(
        after_a_close(unread, &large, true),
        502,
        "of more than one block something may have been read"
    );
}

#[test]
fn fc19_what_never_reached_a_worker_is_sent_again_whatever_it_is_and_costs_no_budget() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).set("replay.budget", "0").start();
    let mut client = sidecar.client();
    for _ in 0..30 {
        client.send(request("POST", ""));
        let mut connection = worker.accept();
        connection.request();
        connection.send(ok(""));
        assert_eq!(client.response().status(), 200);
        // Gone before the next one.
        drop(connection);
    }
}

#[test]
fn fc19_replays_are_counted_by_reason_and_named_in_the_access_line() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/first"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok(""));
    client.response();
    client.send(get("/again"));
    connection.request();
    connection.close();
    let mut next = worker.accept();
    next.request();
    next.send(ok(""));
    client.response();
    let line = sidecar.stdout.wait_for("GET /again");
    assert!(line.contains(" replays=1 ") && line.contains("outcome=served"), "{line}");
    sidecar.signal("USR1");
    assert!(sidecar.stderr.wait_for("counted so far").contains("replays_reused=1"));
}

#[test]
fn fc19_after_pre_stop_nothing_uncertain_is_sent_again() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/first"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok(""));
    client.response();
    client.ask(super::hook("/pre-stop"));
    client.send(get("/x"));
    connection.request();
    connection.close();
    assert_eq!(client.response().status(), 502);
}

/// A dying process closes its connections one by one and its listener at some point between them, so that a
/// request can meet it twice: on the connection that was kept, and in the backlog.
#[test]
fn fc19_a_get_that_meets_a_dying_worker_twice_is_answered_by_the_next() {
    for attempt in 1..=3 {
        let setup = Setup::run([env!("CARGO_BIN_EXE_warmfront"), "demo-worker"]).flag("--workers", "1");
        let sidecar = setup.set("workers.backoff_max", "100ms").start_ready();
        let mut client = sidecar.client();
        // Each costs up to two replays of the ten that so few requests may have.
        for round in 1..=5 {
            assert_eq!(client.ask(get("/")).status(), 200);
            let victims = sidecar.children();
            let victim = victims.iter().find(|(_, state)| *state != 'Z').expect("a worker").0;
            signal(victim, "KILL");
            // Not waited for: the request comes while the process ends.
            assert_eq!(client.ask(get("/")).status(), 200, "round {round} of attempt {attempt}");
        }
    }
}

/// Executions by id that the workers noted in `dir`.
fn executions(dir: &Path) -> Vec<String> {
    let files = fs::read_dir(dir).expect("readable").flatten();
    let notes = files.filter(|file| file.file_name().to_string_lossy().starts_with("executed-"));
    notes
        .flat_map(|file| {
            let text = fs::read_to_string(file.path()).expect("a text");
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// POSTs from eight clients while every worker is killed again and again. Counts answers and failures.
fn storm(sidecar: &Sidecar, rounds: usize) -> (usize, usize) {
    let (answered, failed, over) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|name| {
                let (answered, failed, over) = (&answered, &failed, &over);
                scope.spawn(move || {
                    let mut client = sidecar.client();
                    let mut number = 0;
                    while !over.load(Ordering::SeqCst) {
                        let id = format!("{name}-{number}");
                        number += 1;
                        let request = format!(
                            "POST / HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {id}\r\nContent-Length: 2\r\n\r\nhi"
                        );
                        match client.ask(request).status() {
                            200 => answered.fetch_add(1, Ordering::SeqCst),
                            502 => failed.fetch_add(1, Ordering::SeqCst),
                            status => panic!("{status}"),
                        };
                    }
                })
            })
            .collect();
        for round in 1..=rounds {
            let before = answered.load(Ordering::SeqCst);
            while answered.load(Ordering::SeqCst) < before + 100 {
                thread::yield_now();
            }
            let victims = sidecar.children();
            let victim = victims.iter().find(|(_, state)| *state != 'Z').expect("a worker").0;
            signal(victim, "KILL");
            sidecar.stderr.wait_for_count("was ended by signal 9", round);
            sidecar.stderr.wait_for_count("is ready after", 2 + round);
        }
        over.store(true, Ordering::SeqCst);
        clients.into_iter().for_each(|client| client.join().expect("no panic"));
    });
    (answered.load(Ordering::SeqCst), failed.load(Ordering::SeqCst))
}

#[test]
fn fc19_no_post_is_executed_twice_while_workers_are_killed_under_it() {
    // Noted before the answer, by a synchronous write: what was executed is in the file, whenever the process dies.
    let setup = run_node(
        "const fs = require('fs'); const note = fs.openSync('executed-' + process.pid, 'a');\n\
         const server = http.createServer(async (q, s) => { await body(q); fs.writeSync(note, \
         q.headers['x-fc-request-id'] + '\\n'); s.end('done'); });",
    )
    .set("replay.unread", "true");
    let sidecar = setup.start_ready();
    let (answered, failed) = storm(&sidecar, 6);
    let mut executed = executions(sidecar.dir());
    let count = executed.len();
    executed.sort();
    executed.dedup();
    assert_eq!(executed.len(), count, "a POST ran twice");
    assert!(count >= answered && failed <= 6 * 8, "{answered} answered, {failed} failed, {count} executed");
}
