//! Requests of one session return to the worker that holds it in memory, for as long as that lives.

use std::collections::HashSet;

use crate::support::sidecar::signal;
use crate::support::{Client, ID, Response, Setup, Sidecar, Worker, get, ok};

/// An application that keeps its sessions in memory, as those do that know no better: per session a count of
/// the requests it has seen. Says in each answer who it is.
const APP: &str = r#"
const http = require('http'), crypto = require('crypto');
const sessions = new Map(), held = [];
http.createServer((request, response) => {
  const cookie = /(?:^|; )sid=([^;]*)/.exec(request.headers.cookie || '');
  let id = request.headers['x-session-id'] || request.headers['mcp-session-id'] || (cookie && cookie[1]);
  if (request.url === '/mcp' && !id) {
    id = crypto.randomUUID();
    response.setHeader('mcp-session-id', id);
  }
  if (request.url === '/login') {
    id = crypto.randomUUID();
    response.setHeader('Set-Cookie', ['theme=dark', `sid=${id}; Path=/; HttpOnly`]);
  }
  const seen = id ? (sessions.get(id) || 0) + 1 : 0;
  if (id) sessions.set(id, seen);
  response.end(`${process.pid} ${seen}`);
}).listen(process.env.PORT);
"#;

/// Three workers of that application.
fn apps(by: &str) -> Sidecar {
    Setup::run(["node", "app.js"]).file("app.js", APP).flag("--workers", "3").set("affinity.by", by).start()
}

/// A request with one more field.
fn with(target: &str, field: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n{field}x-fc-request-id: {ID}\r\n\r\n")
}

/// Who answered, and how many requests of the session it has seen.
fn seen(response: &Response) -> (u32, u32) {
    let (pid, count) = response.text().split_once(' ').expect("two words");
    (pid.parse().expect("a pid"), count.parse().expect("a count"))
}

/// Asks ten times with `field`, between requests without it that others answer too.
fn ten_times(client: &mut Client, field: &str, first: u32) -> u32 {
    let mut workers = HashSet::new();
    for count in first..first + 10 {
        let (worker, counted) = seen(&client.ask(with("/", field)));
        assert_eq!(counted, count, "of {field}");
        workers.insert(worker);
        client.ask(get("/"));
    }
    assert_eq!(workers.len(), 1, "{field}");
    workers.into_iter().next().expect("one")
}

#[test]
fn a_session_cookie_stays_with_its_worker() {
    let sidecar = apps("cookie:sid");
    let mut client = sidecar.client();
    let mut workers = HashSet::new();
    // Made up by the client, or by somebody between: bound to whoever is asked first.
    for name in 0..6 {
        workers.insert(ten_times(&mut client, &format!("Cookie: a=1; sid={name}; b=2\r\n"), 1));
    }
    assert!(workers.len() > 1, "sessions are spread");
    // Made by a worker: bound to that one.
    for _ in 0..6 {
        let response = client.ask(get("/login"));
        let cookie = response.head.split("sid=").nth(1).and_then(|rest| rest.split(';').next());
        let cookie = cookie.unwrap_or_else(|| panic!("{}", response.head)).to_owned();
        let worker = ten_times(&mut client, &format!("Cookie: sid={cookie}\r\n"), 2);
        assert_eq!(seen(&response).0, worker);
    }
}

#[test]
fn a_session_header_stays_with_its_worker() {
    let sidecar = apps("header:X-Session-Id");
    let (mut client, mut workers) = (sidecar.client(), HashSet::new());
    for name in 0..6 {
        workers.insert(ten_times(&mut client, &format!("x-SESSION-id:  {name}\r\n"), 1));
    }
    assert!(workers.len() > 1, "sessions are spread");
}

#[test]
fn an_mcp_session_returns_to_the_worker_that_issued_its_id() {
    let sidecar = apps("cookie:sid mcp");
    let mut client = sidecar.client();
    for _ in 0..6 {
        let response = client.ask(get("/mcp"));
        let id = response.field("mcp-session-id").expect("an id").to_owned();
        let worker = ten_times(&mut client, &format!("Mcp-Session-Id: {id}\r\n"), 2);
        assert_eq!(seen(&response).0, worker);
    }
}

#[test]
fn a_session_of_a_dead_worker_goes_to_another_and_stays_there() {
    let sidecar = apps("header:x-session-id");
    let mut client = sidecar.client();
    let field = "x-session-id: s\r\n";
    let before = ten_times(&mut client, field, 1);
    signal(before, "KILL");
    sidecar.stderr.wait_for(&format!("(pid {before}) was ended by signal 9"));
    let after = ten_times(&mut client, field, 1);
    assert_ne!(after, before);
    // Its old place has a new life by now, which is another worker.
    sidecar.stderr.wait_for_count("is ready after", 4);
    assert_eq!(ten_times(&mut client, field, 11), after);
}

#[test]
fn a_session_waits_for_its_own_worker_and_nobody_else_does() {
    let mut workers = vec![Worker::listen(), Worker::listen()];
    let sidecar = Setup::forward(&[workers[0].path(), workers[1].path()])
        .set("affinity.by", "header:x-session-id")
        .start();
    let field = "x-session-id: s\r\n";
    let [mut first, mut second, mut third, mut other] = [(); 4].map(|()| sidecar.client());
    // Two at once take both workers.
    first.send(with("/first", field));
    other.send(get("/other"));
    let mut connections: Vec<_> = workers.iter().map(|worker| worker.accept()).collect();
    let targets: Vec<_> = connections.iter_mut().map(|it| it.request().target().to_owned()).collect();
    let bound = targets.iter().position(|target| target == "/first").expect("it is on one of them");
    let (worker, mut held) = (workers.swap_remove(bound), connections.swap_remove(bound));
    let mut idle = connections.remove(0);
    idle.send(ok("other"));
    assert_eq!(other.response().text(), "other");
    // The session waits, although another worker is idle.
    for client in [&mut second, &mut third] {
        client.send(with("/second", field));
        sidecar.fence(1);
    }
    // Nobody else waits, neither for the worker nor behind the session.
    for number in 0..5 {
        let target = format!("/{number}");
        other.send(get(&target));
        assert_eq!(idle.request().target(), target);
        idle.send(ok(&target));
        assert_eq!(other.response().text(), target);
    }
    drop(third);
    sidecar.stdout.wait_for("outcome=client_gone");
    held.send(ok("first"));
    assert_eq!(first.response().text(), "first");
    assert_eq!(held.request().target(), "/second");
    held.send(ok("second"));
    assert_eq!(second.response().text(), "second");
    // Its worker is gone: another one gets the next request, and that alone.
    drop((worker, held));
    second.send(with("/fourth", field));
    assert_eq!(idle.request().target(), "/fourth");
    idle.send(ok("fourth"));
    assert_eq!(second.response().text(), "fourth");
    assert!(idle.is_silent());
}

#[test]
fn of_many_first_requests_of_a_session_at_once_all_meet_in_one_worker() {
    // Held until the first worker is ready: when they came none of them could know where the others would go.
    let sidecar = Setup::run(["sh", "-c", "sleep 0.3; exec node app.js"])
        .file("app.js", APP)
        .flag("--workers", "3")
        .flag("--concurrency", "1")
        .set("affinity.by", "cookie:sid")
        .start_cold();
    let mut clients: Vec<Client> = (0..20).map(|_| sidecar.client()).collect();
    for client in &mut clients {
        client.send(with("/", "Cookie: sid=s\r\n"));
    }
    let answers: Vec<_> = clients.iter_mut().map(|client| seen(&client.response())).collect();
    let mut counts: Vec<_> = answers.iter().map(|(_, count)| *count).collect();
    counts.sort();
    assert_eq!(counts, (1..=20).collect::<Vec<_>>(), "{answers:?}");
}
