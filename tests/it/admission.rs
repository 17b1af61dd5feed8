//! Slots, the line in front of them, and what is said to those who cannot wait.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::worker::Served;
use crate::support::{Client, Connection, ID, Response, Setup, Worker, eventually, get, ok};

/// A worker that notes how many requests it holds at once.
struct Counted {
    served: Served,
    most: Arc<AtomicUsize>,
}

/// Holds each request for `hold`.
fn counting(hold: Duration) -> Counted {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let served = Worker::listen().serve(move |connection| {
        while let Some(request) = connection.next_request() {
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(hold);
            now.fetch_sub(1, Ordering::SeqCst);
            connection.send(ok(request.target()));
        }
    });
    Counted { served, most }
}

/// `clients` connections, each asking `rounds` times; every answer must be the right one.
fn crowd(port: u16, clients: usize, rounds: usize) {
    thread::scope(|scope| {
        for name in 0..clients {
            scope.spawn(move || {
                let mut client = Client::connect(port);
                for round in 0..rounds {
                    let target = format!("/{name}/{round}");
                    let response = client.ask(get(&target));
                    assert_eq!((response.status(), response.text()), (200, target.as_str()));
                }
            });
        }
    });
}

#[test]
fn a_worker_never_holds_more_requests_than_it_has_slots() {
    let worker = counting(Duration::from_millis(2));
    let sidecar = Setup::forward(&[worker.served.path()]).flag("--concurrency", "3").start();
    crowd(sidecar.port, 16, 20);
    assert_eq!(worker.most.load(Ordering::SeqCst), 3);
    assert!(worker.served.connections() <= 3, "{}", worker.served.connections());
}

#[test]
fn one_slot_is_shared_fairly_between_two_threads() {
    let worker = counting(Duration::from_millis(1));
    let sidecar = Setup::forward(&[worker.served.path()]).flag("--threads", "2").start();
    crowd(sidecar.port, 24, 15);
    assert_eq!(worker.most.load(Ordering::SeqCst), 1, "two threads used one slot at once");
}

#[test]
fn a_line_shared_by_two_threads_is_one_line() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()])
        .flag("--threads", "2")
        .set("queue.newest_first_after", "30s")
        .start();
    let mut first = sidecar.client();
    first.send(get("/first"));
    let mut connection = worker.accept();
    connection.request();
    let clients: Vec<Client> = (0..16)
        .map(|number| {
            let mut client = sidecar.client();
            client.send(get(&format!("/{number}")));
            sidecar.fence(2);
            client
        })
        .collect();
    connection.send(ok(""));
    first.response();
    // Each thread would have its own idle connection, if it could; with one slot there is one at a time.
    let mut order = Vec::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        let request = match connection.next_request() {
            Some(request) => request,
            None => {
                connection = worker.accept();
                connection.request()
            }
        };
        order.push(request.target().to_owned());
        connection.send(ok(request.target()));
        assert_eq!(client.response().text(), format!("/{number}"), "{order:?}");
    }
}

#[test]
fn a_single_threaded_keep_alive_worker_is_not_starved_by_idle_connections() {
    // Serves one connection until it ends, and only then accepts the next: so do many simple servers.
    let worker = Worker::listen();
    let path = worker.path().to_owned();
    let serving = thread::spawn(move || {
        loop {
            let mut connection = worker.accept();
            while let Some(request) = connection.next_request() {
                connection.send(ok(request.target()));
                if request.target() == "/stop" {
                    return;
                }
            }
        }
    });
    let sidecar = Setup::forward(&[&path]).flag("--threads", "2").start();
    let mut clients: Vec<Client> = (0..12).map(|_| sidecar.client()).collect();
    for round in 0..10 {
        for client in &mut clients {
            let began = Instant::now();
            assert_eq!(client.ask(get("/x")).text(), "/x", "round {round}");
            assert!(
                began.elapsed() < Duration::from_secs(1),
                "round {round}: starved for {:?}",
                began.elapsed()
            );
        }
    }
    clients[0].ask(get("/stop"));
    serving.join().expect("no panic");
}

#[test]
fn no_request_waits_behind_a_busy_worker_while_another_is_idle() {
    let (busy, idle) = (Worker::listen(), Worker::listen().echo_targets());
    let sidecar = Setup::forward(&[busy.path(), idle.path()]).start();
    // Of two requests one lands on each worker, or the second finds the other one done.
    let mut clients = [sidecar.client(), sidecar.client()];
    for client in &mut clients {
        client.send(get("/held"));
    }
    let mut held = busy.accept();
    held.request();
    let mut other = sidecar.client();
    for number in 0..30 {
        let target = format!("/{number}");
        assert_eq!(other.ask(get(&target)).text(), target);
    }
    held.send(ok("/held"));
    for client in &mut clients {
        assert_eq!(client.response().text(), "/held");
    }
}

/// One worker with one slot, taken.
fn taken(setup: impl FnOnce(Setup) -> Setup) -> (crate::support::Sidecar, Worker, Client, Connection) {
    let worker = Worker::listen();
    let sidecar = setup(Setup::forward(&[worker.path()])).start();
    let mut holder = sidecar.client();
    holder.send(get("/holder"));
    let mut held = worker.accept();
    held.request();
    (sidecar, worker, holder, held)
}

fn assert_refused(response: &Response, reason: &str) {
    assert_eq!(response.status(), 503, "{response:?}");
    assert_eq!(response.field("x-warmfront-reason"), Some(reason));
    assert_eq!(response.field("x-fc-request-id"), Some(ID));
    assert_eq!(response.field("connection"), None);
    let seconds: u64 = response.field("retry-after").and_then(|it| it.parse().ok()).expect("Retry-After");
    assert!((1..=60).contains(&seconds), "{seconds}");
    assert!(response.text().contains(ID), "the answer names the request: {}", response.text());
}

#[test]
fn fc09_a_full_line_refuses_at_once_and_the_connection_stays_usable() {
    let (sidecar, _worker, mut holder, mut held) = taken(|setup| setup.set("queue.depth", "1"));
    let (mut waiter, mut refused) = (sidecar.client(), sidecar.client());
    waiter.send(get("/waiter"));
    // Which of the two waits is known as soon as the other is refused.
    refused.send(get("/refused"));
    let (mut waiter, mut refused) = match first_to_hear(&mut waiter, &mut refused) {
        true => (refused, waiter),
        false => (waiter, refused),
    };
    assert_refused(&refused.response(), "queue.depth=1");
    // A body is read and thrown away, so that the next request is found.
    refused.send(format!(
        "POST / HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nContent-Length: 100000\r\n\r\n"
    ));
    refused.send(vec![b'x'; 100_000]);
    assert_refused(&refused.response(), "queue.depth=1");
    held.send(ok("held"));
    assert_eq!(holder.response().text(), "held");
    held.request();
    held.send(ok("waited"));
    assert_eq!(waiter.response().text(), "waited");
    refused.send(get("/now"));
    assert_eq!(held.request().target(), "/now");
    held.send(ok("now"));
    assert_eq!(refused.response().text(), "now");
}

/// Whether `one` hears something before `two` does.
fn first_to_hear(one: &mut Client, two: &mut Client) -> bool {
    let hears = |client: &Client| {
        client.stream.set_nonblocking(true).expect("set");
        let heard = client.stream.peek(&mut [0]).is_ok();
        client.stream.set_nonblocking(false).expect("set");
        heard
    };
    eventually("somebody hears something", || match (hears(one), hears(two)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    })
}

#[test]
fn a_depth_of_zero_refuses_what_cannot_be_served_at_once() {
    let (sidecar, _worker, mut holder, mut held) = taken(|setup| setup.set("queue.depth", "0"));
    let mut client = sidecar.client();
    for _ in 0..3 {
        assert_refused(&client.ask(get("/")), "queue.depth=0");
    }
    held.send(ok(""));
    holder.response();
    client.send(get("/"));
    held.request();
    held.send(ok("served"));
    assert_eq!(client.response().text(), "served");
}

#[test]
fn a_line_full_of_bytes_refuses_and_names_the_limit() {
    let (sidecar, _worker, _holder, _held) = taken(|setup| setup.set("queue.bytes", "4KiB"));
    let mut client = sidecar.client();
    let big = get("/").replacen("Host: a\r\n", &format!("Host: a\r\nA: {}\r\n", "x".repeat(5000)), 1);
    assert_refused(&client.ask(big), "queue.bytes=4096");
}

#[test]
fn a_wait_that_is_too_long_is_refused_and_names_the_limit() {
    let (sidecar, _worker, _holder, mut held) = taken(|setup| setup.set("queue.timeout", "150ms"));
    let mut client = sidecar.client();
    let began = Instant::now();
    assert_refused(&client.ask(get("/")), "queue.timeout=150ms");
    assert!(began.elapsed() >= Duration::from_millis(150));
    held.send(ok(""));
    client.send(get("/"));
    held.request();
    held.send(ok("served"));
    assert_eq!(client.response().text(), "served");
}

#[test]
fn a_waiter_that_leaves_is_dropped_and_no_worker_sees_its_request() {
    let (sidecar, worker, mut holder, mut held) = taken(|setup| setup);
    for _ in 0..5 {
        let mut leaver = sidecar.client();
        leaver.send(get("/leaver"));
        drop(leaver);
    }
    sidecar.stdout.wait_for_count("outcome=client_gone", 5);
    let mut stayer = sidecar.client();
    stayer.send(get("/stayer"));
    held.send(ok("held"));
    assert_eq!(holder.response().text(), "held");
    assert_eq!(held.request().target(), "/stayer");
    held.send(ok("stayed"));
    assert_eq!(stayer.response().text(), "stayed");
    assert!(worker.is_untouched());
}

#[test]
fn a_waiter_that_leaves_in_the_middle_of_its_body_is_dropped() {
    let (sidecar, worker, mut holder, mut held) = taken(|setup| setup);
    let mut leaver = sidecar.client();
    leaver.send("POST /leaver HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nfirst");
    sidecar.fence(1);
    leaver.send("second");
    drop(leaver);
    sidecar.stdout.wait_for("outcome=client_gone");
    held.send(ok(""));
    holder.response();
    assert!(worker.is_untouched());
}

#[test]
fn a_waiter_whose_body_arrives_meanwhile_is_served_whole() {
    let (sidecar, _worker, mut holder, mut held) = taken(|setup| setup);
    let mut waiter = sidecar.client();
    waiter.send(format!(
        "POST /waiter HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nContent-Length: 300000\r\n\r\n"
    ));
    sidecar.fence(1);
    waiter.send(vec![b'b'; 300_000]);
    waiter.send(get("/pipelined"));
    held.send(ok(""));
    holder.response();
    let request = held.request();
    assert!(request.body == [b'b'; 300_000], "{} bytes", request.body.len());
    held.send(ok("whole"));
    assert_eq!(waiter.response().text(), "whole");
    assert_eq!(held.request().target(), "/pipelined");
    held.send(ok("too"));
    assert_eq!(waiter.response().text(), "too");
}

#[test]
fn a_full_buffer_outlives_a_worker_that_went_after_the_head_had_grown() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("w.sock");
    let worker = Worker::listen_at(&path);
    let sidecar = Setup::forward(&[&path])
        .flag("--access-log", "off")
        .set("limits.buffer_bytes", "4KiB")
        .set("limits.head_bytes", "4KiB")
        .set("limits.target_bytes", "1KiB")
        .start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok(""));
    client.response();
    std::fs::remove_file(&path).expect("removed");
    // No ids: each head grows on its way. Stopped, so that one read finds more than a buffer holds.
    sidecar.signal("STOP");
    let requests: String =
        (0..500).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(&requests);
    sidecar.signal("CONT");
    assert!(connection.head().starts_with("GET /0 "));
    // Not answered: a GET on a connection that was used before may be sent again, but nobody accepts now.
    drop(connection);
    sidecar.stderr.wait_for("is gone");
    Worker::listen_at(&path).echo_targets();
    for number in 0..500 {
        assert_eq!(client.response().text(), format!("/{number}"));
    }
}

#[test]
fn fc03_requests_that_come_before_the_worker_are_held_and_served_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("late.sock");
    let sidecar = Setup::forward(&[&path]).start_cold();
    let mut clients: Vec<Client> = (0..20).map(|_| sidecar.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/{number}")));
        sidecar.fence(1);
    }
    let worker = Worker::listen_at(&path);
    let mut connection = worker.accept();
    for (number, client) in clients.iter_mut().enumerate() {
        let request = connection.request();
        assert_eq!(request.target(), format!("/{number}"));
        connection.send(ok(request.target()));
        let response = client.response();
        assert_eq!((response.status(), response.text()), (200, request.target()));
    }
    let cold = sidecar.stdout.wait_for_count("start=cold", 20);
    assert!(cold.iter().all(|line| line.contains("status=200")), "{cold:?}");
}

#[test]
fn fc03_the_start_deadline_answers_those_who_wait_and_those_who_come_later() {
    let dir = tempfile::tempdir().expect("a directory");
    let sidecar =
        Setup::forward(&[&dir.path().join("never.sock")]).set("start.deadline", "300ms").start_cold();
    let mut client = sidecar.client();
    for _ in 0..2 {
        assert_refused(&client.ask(get("/")), "workers-not-started");
    }
}

#[test]
fn a_worker_that_comes_after_the_start_deadline_is_used() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("late.sock");
    let sidecar = Setup::forward(&[&path]).set("start.deadline", "100ms").start_cold();
    let mut client = sidecar.client();
    assert_refused(&client.ask(get("/")), "workers-not-started");
    let worker = Worker::listen_at(&path).echo_targets();
    sidecar.stderr.wait_for("is ready");
    eventually("an answer", || (client.ask(get("/late")).status() == 200).then_some(()));
    assert_eq!(worker.connections(), 1);
}

#[test]
fn a_worker_that_goes_and_comes_back_is_used_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("w.sock");
    let worker = Worker::listen_at(&path);
    let sidecar = Setup::forward(&[&path]).start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok(""));
    client.response();
    std::fs::remove_file(&path).expect("removed");
    drop(connection);
    client.send(get("/held"));
    sidecar.stderr.wait_for("is gone");
    let worker = Worker::listen_at(&path);
    let mut connection = worker.accept();
    assert_eq!(connection.request().target(), "/held", "held until the worker was back, not refused");
    connection.send(ok("back"));
    assert_eq!(client.response().text(), "back");
    sidecar.stderr.wait_for("is back");
}

#[test]
fn least_in_flight_spreads_requests_over_all_workers() {
    let workers: Vec<Worker> = (0..3).map(|_| Worker::listen()).collect();
    let paths: Vec<_> = workers.iter().map(Worker::path).collect();
    let sidecar = Setup::forward(&paths).flag("--concurrency", "2").start();
    let mut clients: Vec<Client> = (0..6).map(|_| sidecar.client()).collect();
    for client in &mut clients {
        client.send(get("/"));
    }
    let mut held: Vec<Connection> = Vec::new();
    for worker in &workers {
        for _ in 0..2 {
            let mut connection = worker.accept();
            connection.request();
            held.push(connection);
        }
    }
    assert_eq!(held.len(), clients.len());
    held.iter_mut().for_each(|connection| connection.send(ok("x")));
    let texts: HashSet<String> =
        clients.iter_mut().map(|client| client.response().text().to_owned()).collect();
    assert_eq!(texts.len(), 1);
}
