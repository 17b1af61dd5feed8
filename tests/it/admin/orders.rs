//! What is changed through the admin: a worker started again, a pause, a drain.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::admin::Admin;
use crate::support::{Setup, Worker, eventually, get, ok};

const TOKEN: &str = "a-token-of-20-bytes.";

fn worker_in(admin: &Admin, state: &str) -> Value {
    eventually(state, || {
        let worker = admin.json("/workers")["workers"][0].clone();
        (worker["state"] == state).then_some(worker)
    })
}

#[test]
fn a_restart_costs_no_request_and_makes_another_process() {
    let sidecar = Setup::new().flag("--workers", "1").flag("--concurrency", "4").with_admin().start_ready();
    let admin = sidecar.admin();
    let before = worker_in(&admin, "ready");
    let mut slow = sidecar.client();
    slow.send(get("/slow?ms=700"));
    admin.scrape_when("warmfront_requests_in_flight", 1.0);
    let answer = admin.ask("POST", "/workers/1/restart");
    assert_eq!(answer.status(), 202, "{}", answer.text());
    worker_in(&admin, "retiring");
    // Who comes now waits for the next life; who is in finishes in this one.
    let mut next = sidecar.client();
    next.send(get("/next"));
    admin.scrape_when("warmfront_queue_depth", 1.0);
    let old = slow.response();
    assert_eq!(old.status(), 200);
    assert!(old.text().contains(&format!("pid {}", before["pid"])), "{}", old.text());
    let new = next.response();
    assert_eq!(new.status(), 200);
    let after = worker_in(&admin, "ready");
    assert_ne!(after["pid"], before["pid"]);
    assert!(new.text().contains(&format!("pid {}", after["pid"])), "{}", new.text());
    assert_eq!(
        (&after["restarts"], &after["exits"], &after["last_exit"]),
        (&json!(1), &json!(0), &Value::Null)
    );
    sidecar.stderr.wait_for("admin: worker 1 is to be started again");
    sidecar.stderr.wait_for("stopped");
}

#[test]
fn a_restart_that_had_begun_is_finished_though_the_instance_is_about_to_end() {
    let sidecar = Setup::new().flag("--workers", "1").flag("--concurrency", "4").with_admin().start_ready();
    let admin = sidecar.admin();
    let mut slow = sidecar.client();
    slow.send(get("/slow?ms=300"));
    admin.scrape_when("warmfront_requests_in_flight", 1.0);
    assert_eq!(admin.ask("POST", "/workers/1/restart").status(), 202);
    let mut next = sidecar.client();
    next.send(get("/next"));
    admin.scrape_when("warmfront_queue_depth", 1.0);
    let mut platform = sidecar.client();
    platform.send(get("/pre-stop"));
    sidecar.stderr.wait_for("/pre-stop: 1 in flight, 1 waiting");
    assert_eq!(admin.ask("POST", "/workers/1/restart").status(), 409, "and no other begins");
    assert_eq!(slow.response().status(), 200);
    assert_eq!(next.response().status(), 200);
    assert_eq!(platform.response().status(), 200);
    // From now on the rule holds for it again.
    assert_eq!(next.ask(get("/exit?code=0")).status(), 502);
    sidecar.stderr.wait_for("exited with code 0");
    assert_eq!(worker_in(&admin, "backoff")["restarts"], 1);
}

#[test]
fn restarts_under_load_lose_nothing() {
    let sidecar = Setup::new().flag("--workers", "2").flag("--concurrency", "2").with_admin().start_ready();
    let admin = sidecar.admin();
    admin.scrape_when("warmfront_slots", 4.0);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = sidecar.client();
                    (0..300).filter(|_| client.ask(get("/slow?ms=2")).status() != 200).count()
                })
            })
            .collect();
        for (number, restarts) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
            assert_eq!(admin.ask("POST", &format!("/workers/{number}/restart")).status(), 202);
            admin.scrape_when(
                &format!("warmfront_worker_restarts_total{{worker=\"{number}\"}}"),
                f64::from(restarts),
            );
            admin.scrape_when(&format!("warmfront_worker_state{{worker=\"{number}\",state=\"ready\"}}"), 1.0);
        }
        let failed: usize = clients.into_iter().map(|client| client.join().expect("no panic")).sum();
        assert_eq!(failed, 0);
    });
    let scrape = admin.scrape();
    assert_eq!(scrape.get("warmfront_worker_exits_total{worker=\"1\"}"), 0.0);
    assert_eq!(scrape.get("warmfront_failed_requests_total{reason=\"worker_closed\"}"), 0.0);
}

#[test]
fn a_worker_that_nobody_knows_and_one_that_is_not_ours_are_not_restarted() {
    let sidecar = Setup::new().with_admin().start_ready();
    assert_eq!(sidecar.admin().ask("POST", "/workers/9/restart").status(), 404);
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).with_admin().start();
    let answer = sidecar.admin().ask("POST", "/workers/1/restart");
    assert_eq!(answer.status(), 409);
    assert!(answer.text().contains("Somebody else runs the workers"), "{}", answer.text());
}

#[test]
fn a_pause_holds_requests_within_the_bounds_of_the_line_and_lets_them_go() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()])
        .with_admin()
        .flag("--concurrency", "2")
        .set("queue.depth", "2")
        .start();
    let admin = sidecar.admin();
    let mut inside = sidecar.client();
    inside.send(get("/inside"));
    let mut connection = worker.accept();
    assert_eq!(admin.ask("POST", "/pause").status(), 202);
    assert_eq!(admin.scrape().get("warmfront_paused"), 1.0);
    assert!(admin.ask("GET", "/ready").text().contains("paused by the admin"));
    let mut held = [sidecar.client(), sidecar.client()];
    for client in &mut held {
        client.send(get("/held"));
    }
    admin.scrape_when("warmfront_queue_depth", 2.0);
    assert_eq!(sidecar.client().ask(get("/too-many")).status(), 503);
    // Who was in stays in, and its slot goes to nobody.
    connection.request();
    connection.send(ok("inside"));
    assert_eq!(inside.response().text(), "inside");
    let scrape = admin.scrape_when("warmfront_requests_in_flight", 0.0);
    assert_eq!(scrape.get("warmfront_queue_depth"), 2.0);
    assert_eq!(admin.ask("POST", "/resume").status(), 202);
    let mut second = worker.accept();
    for connection in [&mut connection, &mut second] {
        connection.request();
        connection.send(ok("held"));
    }
    assert!(held.iter_mut().all(|client| client.response().text() == "held"));
    assert_eq!(admin.ask("GET", "/ready").status(), 200);
}

#[test]
fn a_paused_instance_that_is_told_to_end_serves_who_waits_first() {
    let worker = Worker::listen();
    let mut sidecar = Setup::forward(&[worker.path()]).with_admin().start();
    let admin = sidecar.admin();
    assert_eq!(admin.ask("POST", "/pause").status(), 202);
    let mut client = sidecar.client();
    client.send(get("/held"));
    admin.scrape_when("warmfront_queue_depth", 1.0);
    assert_eq!(admin.ask("POST", "/drain").status(), 202);
    let mut connection = worker.accept();
    connection.request();
    assert_eq!(admin.ask("POST", "/pause").status(), 409, "nobody can stop it any more");
    connection.send(ok("held"));
    assert_eq!(client.response().text(), "held");
    assert_eq!(sidecar.wait_exit(), 0);
    sidecar.stderr.wait_for("admin: the instance is to drain and end");
    sidecar.stderr.wait_for("drained; good bye");
}

#[test]
fn over_loopback_a_change_needs_the_token_and_is_refused_without_one() {
    let bare = Setup::new().with_admin_port().start_ready();
    let answer = bare.admin().ask("POST", "/pause");
    assert_eq!(answer.status(), 403);
    assert!(answer.text().contains("admin.token"), "{}", answer.text());
    let sidecar = Setup::new().with_admin_port().set("admin.token", TOKEN).start_ready();
    let admin = sidecar.admin();
    let answer = admin.ask("POST", "/pause");
    assert_eq!((answer.status(), answer.field("www-authenticate")), (401, Some("Bearer")));
    let wrong = format!("Authorization: Bearer {}\r\n", TOKEN.replace('a', "b"));
    assert_eq!(admin.ask_with("POST", "/pause", &wrong).status(), 401);
    assert_eq!(admin.scrape().get("warmfront_paused"), 0.0);
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(admin.ask_with("POST", "/pause", &right).status(), 202);
    assert_eq!(admin.scrape().get("warmfront_paused"), 1.0);
    assert_eq!(admin.ask_with("POST", "/resume", &right).status(), 202);
    assert_eq!(sidecar.client().ask(get("/")).status(), 200);
    for line in sidecar.stderr.all().iter().chain(&sidecar.stdout.all()) {
        assert!(!line.contains(TOKEN), "{line}");
    }
}

#[test]
fn a_pause_does_not_outlast_the_patience_of_who_waits() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).with_admin().set("queue.timeout", "200ms").start();
    let admin = sidecar.admin();
    assert_eq!(admin.ask("POST", "/pause").status(), 202);
    let began = std::time::Instant::now();
    let answer = sidecar.client().ask(get("/held"));
    assert_eq!((answer.status(), answer.field("x-warmfront-reason")), (503, Some("queue.timeout=200ms")));
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert!(worker.is_untouched());
}
