//! What those see who watch: one moment, and one each second.

use serde_json::{Value, json};

use crate::support::admin::{Admin, Stream};
use crate::support::wire::{Wire, field, status_of};
use crate::support::{Setup, Worker, eventually, get, ok};

/// Somebody who watches.
struct Watcher(Wire<Box<dyn Stream>>);

impl Watcher {
    fn begin(admin: &Admin, query: &str) -> Self {
        let mut wire = admin.connect();
        wire.send(format!("GET /events{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let head = wire.head();
        assert_eq!(status_of(&head), 200, "{head}");
        assert_eq!(field(&head, "content-type"), Some("text/event-stream"));
        assert_eq!(field(&head, "cache-control"), Some("no-store"));
        Self(wire)
    }

    /// The next event.
    fn next(&mut self) -> Value {
        let event = String::from_utf8(self.0.chunk()).expect("text");
        let lines: Vec<&str> = event.split('\n').collect();
        let [id, data, "", ""] = lines[..] else { panic!("{event}") };
        let object: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!(id, format!("id: {}", object["at_ms"]));
        object
    }

    /// The first event of which this holds.
    fn when(&mut self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || Some(self.next()).filter(&holds))
    }
}

#[test]
fn one_moment_tells_what_a_scrape_tells() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).with_admin().set("queue.depth", "1").start();
    let (mut client, admin) = (sidecar.client(), sidecar.admin());
    client.send(get("/served"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("fine"));
    assert_eq!(client.response().status(), 200);
    assert_eq!(sidecar.client().ask("GET / HTTP/1.1\r\n\r\n").status(), 400);
    client.send(get("/held"));
    connection.request();
    admin.scrape_when("warmfront_requests_in_flight", 1.0);
    let mut waiting = sidecar.client();
    waiting.send(get("/waits"));
    admin.scrape_when("warmfront_queue_depth", 1.0);
    assert_eq!(sidecar.client().ask(get("/shed")).status(), 503);
    admin.scrape_when("warmfront_requests_total{start=\"warm\",outcome=\"local\",status=\"5xx\"}", 1.0);

    let now = admin.json("/now");
    assert_eq!(now["pool"], json!({ "workers": 1, "ready": 1, "slots": 1, "in_flight": 1 }));
    assert_eq!((&now["queue"]["waiting"], &now["queue"]["limit"]), (&json!(1), &json!(1)));
    assert!(now["queue"]["oldest_ms"].is_u64(), "{}", now["queue"]);
    assert_eq!((&now["ready"], &now["paused"]), (&json!(false), &json!(false)));
    assert_eq!(now["reasons"], json!(["1 requests wait, of queue.depth=1"]));
    let warm = &now["counters"]["requests"]["warm"];
    assert_eq!((&warm["served"]["2xx"], &warm["local"]["5xx"]), (&json!(1), &json!(1)));
    assert_eq!(now["counters"]["shed"]["queue_depth"], 1);
    assert_eq!(now["counters"]["refused_heads"]["host"], 1);
    assert_eq!(now["requests"]["count"], 2);
    assert_eq!(now["requests"]["oldest"][0]["phase"], "sent");
    assert_eq!(now["workers"].as_array().map(Vec::len), Some(1));
    let bounds = now["latency"]["bounds_us"].as_array().expect("a list").len();
    for times in [&now["latency"]["whole"]["warm"], &now["latency"]["first_byte"]["warm"]] {
        let counts: Vec<u64> = serde_json::from_value(times["counts"].clone()).expect("numbers");
        assert_eq!((counts.len(), counts.iter().sum::<u64>()), (bounds + 1, 1));
        assert!(times["sum_us"].as_u64() > Some(0));
    }
    connection.send(ok("fine"));
    assert_eq!(client.response().text(), "fine");
    connection.request();
    connection.send(ok("fine"));
    assert_eq!(waiting.response().text(), "fine");
}

#[test]
fn events_come_while_every_slot_is_taken_and_through_a_drain_to_the_end() {
    let worker = Worker::listen();
    let mut sidecar = Setup::forward(&[worker.path()]).with_admin().start();
    let mut watcher = Watcher::begin(&sidecar.admin(), "?period=250ms");
    let first = watcher.next();
    assert_eq!((&first["version"], &first["pool"]["in_flight"]), (&json!(1), &json!(0)));
    let mut client = sidecar.client();
    client.send(get("/last"));
    let mut connection = worker.accept();
    let busy = watcher.when("a busy pool", |now| now["pool"]["in_flight"] == 1);
    assert_eq!(busy["pool"]["slots"], 1);
    assert!(busy["at_ms"].as_u64() > first["at_ms"].as_u64());
    sidecar.signal("TERM");
    let draining = watcher.when("a drain", |now| now["phase"] == "draining");
    assert_eq!(draining["reasons"], json!(["the instance is stopping"]));
    connection.request();
    connection.send(ok("fine"));
    assert_eq!(client.response().text(), "fine");
    assert_eq!(sidecar.wait_exit(), 0);
    watcher.0.rest();
}

#[test]
fn watchers_leave_room_for_probes_and_for_each_other() {
    let sidecar = Setup::new().with_admin().start_ready();
    let admin = sidecar.admin();
    let mut watchers: Vec<Watcher> = (0..16).map(|_| Watcher::begin(&admin, "")).collect();
    let refused = admin.ask("GET", "/events");
    assert_eq!(refused.status(), 503);
    assert!(refused.text().contains("16 clients watch already"), "{}", refused.text());
    assert_eq!(admin.ask("GET", "/live").status(), 200);
    assert!(admin.json("/now")["uptime_ms"].is_u64());
    for watcher in &mut watchers {
        watcher.next();
    }
    watchers.pop();
    eventually("a place", || {
        let mut wire = admin.connect();
        wire.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
        (status_of(&wire.head()) == 200).then_some(())
    });
}

#[test]
fn what_nobody_offers_is_refused_and_so_is_a_page_of_another_origin() {
    let sidecar = Setup::new().with_admin_port().start_ready();
    let admin = sidecar.admin();
    for query in ["period=100ms", "period=5m", "period=1", "every=1s"] {
        let refused = admin.ask("GET", &format!("/events?{query}"));
        assert_eq!(refused.status(), 400, "{query}");
        assert!(refused.text().contains("/events?period=500ms"), "{}", refused.text());
    }
    let foreign = admin.ask_with("GET", "/events", "Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(foreign.status(), 403);
    let mut wire = admin.connect();
    wire.send("GET /events HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\n\r\n");
    assert_eq!(status_of(&wire.head()), 200);
}

#[test]
fn a_page_of_another_origin_changes_nothing_where_a_socket_is_forwarded() {
    let sidecar = Setup::new().with_admin().start_ready();
    let admin = sidecar.admin();
    for path in ["/pause", "/resume", "/drain", "/workers/1/restart"] {
        for site in ["cross-site", "same-site"] {
            let refused = admin.ask_with("POST", path, &format!("Sec-Fetch-Site: {site}\r\n"));
            assert_eq!(refused.status(), 403, "{path}");
            assert!(refused.text().contains("Pages of other origins"), "{}", refused.text());
        }
    }
    assert_eq!(admin.json("/now")["paused"], false);
    assert_eq!(admin.ask_with("POST", "/resume", "Sec-Fetch-Site: same-origin\r\n").status(), 202);
}
