//! `/initialize`, `/pre-freeze` and `/pre-stop`: who answers, when, and with what.

use std::time::{Duration, Instant};

use super::{hook, is_waiting, run_node, under};
use crate::support::{ID, Setup, Worker, eventually, get, ok};

/// How long a hook may take while every slot is taken.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Asserts that `ask` is answered with 200 at once; the best of three, since the machine may be busy.
fn assert_at_once(what: &str, mut ask: impl FnMut() -> u16) {
    let best = (0..3).map(|_| {
        let began = Instant::now();
        assert_eq!(ask(), 200, "{what}");
        began.elapsed()
    });
    let best = best.min().expect("three");
    assert!(best < AT_ONCE, "{what} took {best:?}");
}

#[test]
fn fc13_hooks_are_answered_here_and_an_applications_route_of_that_name_is_not() {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    for path in ["/initialize", "/pre-freeze", "/pre-stop"] {
        assert_eq!(
            client.ask(hook(path)).field("x-warmfront-reason").map(|it| it.starts_with("hook-")),
            Some(true)
        );
        // The platform says that it is the application's.
        assert_eq!(client.ask(under("/http-invoke", "POST", path, "")).text(), path);
        // Without the platform's id it is anybody's.
        assert_eq!(client.ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).text(), path);
    }
    // The control path decides, whatever the method and the path are.
    let answer = client.ask(under("/initialize", "GET", "/x", ""));
    assert_eq!(answer.field("x-warmfront-reason"), Some("hook-initialize"));
    assert_eq!(client.ask(under("/http-invoke", "POST", "/invoke", "")).text(), "/invoke");
}

#[test]
fn fc14_initialize_waits_for_every_worker_and_then_says_200() {
    let (dir, one) = (tempfile::tempdir().expect("a directory"), Worker::listen().echo_targets());
    let late = dir.path().join("late.sock");
    let sidecar = Setup::forward(&[one.path(), &late]).start_cold();
    sidecar.stderr.wait_for("worker 1");
    let mut client = sidecar.client();
    client.send(hook("/initialize"));
    sidecar.fence(1);
    assert!(is_waiting(&client), "one of two is not all");
    let _late = Worker::listen_at(&late).echo_targets();
    let answer = client.response();
    assert_eq!((answer.status(), answer.field("x-fc-request-id")), (200, Some(ID)));
    // The platform may ask again; the connection is as good as before.
    assert_eq!(client.ask(hook("/initialize")).status(), 200);
    assert_eq!(client.ask(get("/x")).text(), "/x");
}

#[test]
fn fc14_initialize_waits_for_the_first_worker_only_if_told_so() {
    let (dir, one) = (tempfile::tempdir().expect("a directory"), Worker::listen().echo_targets());
    let never = dir.path().join("never.sock");
    let sidecar = Setup::forward(&[one.path(), &never]).set("start.ready", "first").start_cold();
    assert_eq!(sidecar.client().ask(hook("/initialize")).status(), 200);
}

#[test]
fn fc14_initialize_fails_with_404_when_the_workers_are_not_warm_in_time() {
    let never = tempfile::tempdir().expect("a directory").path().join("never.sock");
    let sidecar = Setup::forward(&[&never]).set("start.deadline", "300ms").start_cold();
    let answer = sidecar.client().ask(hook("/initialize"));
    assert_eq!((answer.status(), answer.field("x-fc-status")), (404, Some("404")));
    assert!(
        answer.text().contains("0 of 1 workers are ready, and start.deadline is over"),
        "{}",
        answer.text()
    );
}

#[test]
fn fc14_initialize_fails_with_404_and_the_last_words_when_a_worker_dies_again_and_again() {
    let words = "console.error('no module named app'); process.exit(1);\nconst server = http.createServer();";
    let sidecar = run_node(words).set("workers.backoff_max", "100ms").start_cold();
    let answer = sidecar.client().ask(hook("/initialize"));
    assert_eq!(answer.status(), 404);
    assert!(answer.text().contains("no module named app"), "{}", answer.text());
}

#[test]
fn fc14_a_forwarded_initialize_reaches_one_worker_with_all_its_headers() {
    let (one, two) = (Worker::listen(), Worker::listen());
    let sidecar = Setup::forward(&[one.path(), two.path()]).set("hooks.initialize", "forward").start();
    let mut client = sidecar.client();
    client.send(
        "POST /initialize HTTP/1.1\r\nHost: a\r\nx-fc-request-id: 1-ab\r\nX-Fc-Region: cn-x\r\nx-fc-empty:\r\nConnection: \
         keep-alive, x-own\r\nX-Own: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    let mut connection = one.accept();
    let asked = connection.request();
    assert_eq!(
        asked.head,
        "POST /initialize HTTP/1.1\r\nHost: a\r\nx-fc-request-id: 1-ab\r\nX-Fc-Region: cn-x\r\nx-fc-empty:\r\nContent-Length: 0\r\n\r\n"
    );
    connection.send(ok("ready"));
    assert_eq!(client.response().status(), 200);
    assert!(two.is_untouched());
}

#[test]
fn fc14_a_fanned_out_initialize_succeeds_only_if_every_worker_agrees() {
    let workers = [Worker::listen(), Worker::listen(), Worker::listen()];
    let paths = workers.each_ref().map(Worker::path);
    let sidecar = Setup::forward(&paths)
        .set("hooks.initialize", "fanout")
        .set("hooks.initialize_deadline", "300ms")
        .start();
    let mut client = sidecar.client();
    let mut ask = |answers: [Option<&str>; 3]| {
        client.send(hook("/initialize"));
        let mut connections = workers.each_ref().map(Worker::accept);
        for (connection, answer) in connections.iter_mut().zip(answers) {
            assert_eq!(connection.request().target(), "/initialize");
            if let Some(answer) = answer {
                connection.send(answer);
            }
        }
        let answer = client.response();
        (answer.status(), answer.text().to_owned())
    };
    let (good, created) = (ok("x"), "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(ask([Some(&good), Some(created), Some(&good)]).0, 200);
    let broken = "HTTP/1.1 500 No\r\nContent-Length: 4\r\n\r\nboom";
    let (status, text) = ask([Some(&good), Some(broken), Some(&good)]);
    assert_eq!(status, 404, "a 500 would restart the instance");
    assert!(text.contains("Worker 2 answered /initialize with 500"), "{text}");
    let (status, text) = ask([Some(&good), Some(&good), None]);
    assert_eq!(status, 404);
    assert!(
        text.contains("Worker 3 did not answer /initialize within hooks.initialize_deadline=300ms"),
        "{text}"
    );
    let (status, text) = ask([Some("what?"), Some(&good), Some(&good)]);
    assert_eq!(status, 404);
    assert!(text.contains("Worker 1 could not be asked"), "{text}");
}

#[test]
fn fc14_a_worker_that_is_started_again_is_initialised_like_the_others_before_its_first_request() {
    let setup = run_node(
        "let initialised = false;\n\
         const server = http.createServer((q, s) => {\n\
           if (q.url === '/die') process.exit(0);\n\
           if (q.url === '/initialize') { setTimeout(() => { initialised = true; s.end(); }, 200); return; }\n\
           s.end(String(initialised));\n\
         });",
    );
    let sidecar = setup.set("hooks.initialize", "fanout").start_ready();
    let mut client = sidecar.client();
    assert_eq!(client.ask(get("/")).text(), "false");
    assert_eq!(client.ask(hook("/initialize")).status(), 200);
    for _ in 0..2 {
        client.ask(get("/die"));
    }
    sidecar.stderr.wait_for_count("exited with code 0", 2);
    for _ in 0..20 {
        // Held until one has been initialised: nobody is served by one that was not.
        assert_eq!(client.ask(get("/")).text(), "true");
    }
}

#[test]
fn fc14_a_restart_of_the_instance_is_for_those_who_ask_for_it() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()])
        .set("hooks.pre_stop", "forward")
        .set("hooks.restart", "true")
        .start();
    let mut client = sidecar.client();
    client.send(hook("/pre-stop"));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status(), 500);
}

#[test]
fn fc14_hooks_that_are_off_are_requests_like_any_other() {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()])
        .set("hooks.initialize", "off")
        .set("hooks.pre_freeze", "off")
        .set("hooks.pre_stop", "off")
        .start();
    let mut client = sidecar.client();
    for path in ["/initialize", "/pre-freeze", "/pre-stop"] {
        assert_eq!(client.ask(hook(path)).text(), path);
    }
}

#[test]
fn fc15_pre_stop_answers_when_nothing_is_in_flight_any_more_and_serves_what_still_comes() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).flag("--concurrency", "2").start();
    let (mut running, mut platform, mut late) = (sidecar.client(), sidecar.client(), sidecar.client());
    running.send(get("/running"));
    let mut first = worker.accept();
    first.request();
    platform.send(hook("/pre-stop"));
    sidecar.stderr.wait_for("/pre-stop: 1 in flight");
    late.send(get("/late"));
    let mut second = worker.accept();
    second.request();
    first.send(ok("one"));
    assert_eq!(running.response().text(), "one");
    sidecar.fence(1);
    assert!(is_waiting(&platform), "the late one still runs");
    second.send(ok("two"));
    assert_eq!(late.response().text(), "two");
    let answer = platform.response();
    assert_eq!(answer.status(), 200);
    assert!(answer.text().contains("No request is in flight any more"), "{}", answer.text());
}

#[test]
fn fc15_pre_stop_waits_no_longer_than_the_drain_may() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).set("drain.deadline", "200ms").start();
    let mut running = sidecar.client();
    running.send(get("/running"));
    let mut connection = worker.accept();
    connection.request();
    let began = Instant::now();
    let answer = sidecar.client().ask(hook("/pre-stop"));
    assert_eq!(answer.status(), 200);
    assert!(answer.text().contains("drain.deadline=200ms is over"), "{}", answer.text());
    assert!(began.elapsed() >= Duration::from_millis(200));
    // It was not cut: whether the instance ends now is the platform's affair.
    connection.send(ok("done"));
    assert_eq!(running.response().text(), "done");
}

#[test]
fn fc15_after_pre_stop_a_worker_that_exits_stays_away() {
    let sidecar = run_node(
        "const server = http.createServer((q, s) => q.url === '/die' ? process.exit(0) : s.end(String(process.pid)));",
    )
    .start();
    let mut client = sidecar.client();
    assert_eq!(client.ask(hook("/pre-stop")).status(), 200);
    assert_eq!(client.ask(get("/die")).status(), 502);
    sidecar.stderr.wait_for("exited with code 0");
    // The other one still answers.
    assert_eq!(client.ask(get("/")).status(), 200);
    assert_eq!(sidecar.children().len(), 1, "{:?}", sidecar.stderr.all());
    sidecar.signal("TERM");
    sidecar.stderr.wait_for("drained; good bye");
}

#[test]
fn fc15_a_forwarded_pre_stop_comes_behind_the_last_request() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).set("hooks.pre_stop", "forward").start();
    let (mut running, mut platform) = (sidecar.client(), sidecar.client());
    running.send(get("/running"));
    let mut first = worker.accept();
    first.request();
    platform.send(hook("/pre-stop"));
    sidecar.stderr.wait_for("/pre-stop: 1 in flight");
    assert!(worker.is_untouched());
    first.send(ok(""));
    running.response();
    let mut errand = worker.accept();
    assert_eq!(errand.request().target(), "/pre-stop");
    errand.send(ok(""));
    assert_eq!(platform.response().status(), 200);
}

#[test]
fn fc15_pre_freeze_answers_at_once_and_lets_idle_worker_connections_go() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok(""));
    client.response();
    assert_at_once("/pre-freeze", || client.ask(hook("/pre-freeze")).status());
    assert_eq!(connection.next_request(), None, "closed by us, between requests");
}

#[test]
fn fc15_what_workers_wrote_before_pre_freeze_is_on_stdout_before_its_answer() {
    let sidecar = run_node(
        "const server = http.createServer((q, s) => { for (let i = 0; i < 300; i++) log('line ' + i); s.end('x'); });",
    )
    .flag("--workers", "1")
    .start();
    let mut client = sidecar.client();
    for round in 1..=10 {
        client.ask(get("/"));
        client.ask(hook("/pre-freeze"));
        // Frozen right here: whatever was not written by now is not written.
        sidecar.signal("STOP");
        sidecar.stdout.wait_for_count("line 299", round);
        sidecar.signal("CONT");
    }
    assert_eq!(sidecar.stdout.wait_for_count("line ", 3000).len(), 3000);
}

#[test]
fn fc17_hooks_and_health_checks_take_no_slot_and_answer_while_every_slot_is_taken() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).set("queue.depth", "1").start();
    let (mut running, mut waiting) = (sidecar.client(), sidecar.client());
    running.send(get("/running"));
    let mut connection = worker.accept();
    connection.request();
    waiting.send(get("/waiting"));
    sidecar.fence(1);
    let mut platform = sidecar.client();
    for request in [hook("/initialize"), hook("/pre-freeze"), get("/_warmfront/health")] {
        assert_at_once(&request, || platform.ask(&request).status());
    }
    connection.send(ok("one"));
    assert_eq!(running.response().text(), "one");
    assert_eq!(connection.request().target(), "/waiting");
    connection.send(ok("two"));
    assert_eq!(waiting.response().text(), "two");
}

#[test]
fn fc17_two_hundred_at_once_on_four_single_threaded_workers_are_all_served() {
    let sidecar = run_node(
        "const server = http.createServer((q, s) => { const end = Date.now() + 2; while (Date.now() < end); s.end(q.url); });",
    )
    .flag("--workers", "4")
    .flag("--concurrency", "1")
    .start_ready();
    let mut clients: Vec<_> = (0..200).map(|_| sidecar.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/{number}")));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let answer = client.response();
        assert_eq!((answer.status(), answer.text()), (200, format!("/{number}").as_str()));
    }
}

#[test]
fn a_hook_whose_platform_has_left_ends_with_it() {
    let never = tempfile::tempdir().expect("a directory").path().join("never.sock");
    let sidecar = Setup::forward(&[&never]).start_cold();
    let fds = {
        sidecar.fence(1);
        sidecar.fds()
    };
    let mut client = sidecar.client();
    client.send(hook("/initialize"));
    sidecar.fence(1);
    drop(client);
    let line = sidecar.stdout.wait_for("POST /initialize");
    assert!(line.contains("outcome=client_gone"), "{line}");
    eventually("its descriptor is closed", || (sidecar.fds() <= fds).then_some(()));
}

#[test]
fn an_initialize_that_waits_when_the_process_ends_is_answered() {
    let never = tempfile::tempdir().expect("a directory").path().join("never.sock");
    let mut sidecar = Setup::forward(&[&never]).start_cold();
    let mut client = sidecar.client();
    client.send(hook("/initialize"));
    sidecar.fence(1);
    sidecar.signal("TERM");
    let answer = client.response();
    assert_eq!(answer.status(), 404);
    assert!(answer.text().contains("The instance is stopping"), "{}", answer.text());
    assert_eq!(sidecar.wait_exit(), 0);
}
