//! What is scraped: what Prometheus makes of it, what it counts, and what it costs.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use warmfront::admin::families;

use crate::support::freeze::{Freezer, sit_out};
use crate::support::sidecar::signal;
use crate::support::{Setup, Worker, eventually, get, ok, post};

#[test]
fn promtool_has_nothing_to_say_about_a_scrape() {
    let sidecar = Setup::new().with_admin().start_ready();
    assert_eq!(sidecar.client().ask(get("/")).status(), 200);
    let text = sidecar.admin().ask("GET", "/metrics");
    assert_eq!(text.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: scripts/setup-tests installs it");
    promtool.stdin.take().expect("piped").write_all(&text.body).expect("it reads");
    let said = promtool.wait_with_output().expect("it ends");
    let words = [said.stdout, said.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(said.status.success() && words.is_empty(), "{words}\n{}", text.text());
}

#[test]
fn every_metric_of_the_table_is_scraped_and_no_other() {
    let sidecar = Setup::new().with_admin().start_ready();
    let text = sidecar.admin().ask("GET", "/metrics");
    let described: Vec<_> = text.text().lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let expected: Vec<_> =
        families::ALL.iter().map(|family| format!("{} {}", family.name, family.kind.word())).collect();
    assert_eq!(
        described.iter().collect::<BTreeSet<_>>().len(),
        described.len(),
        "a family is described twice: {described:?}"
    );
    assert_eq!(
        described.iter().map(|it| (*it).to_owned()).collect::<BTreeSet<_>>(),
        expected.into_iter().collect()
    );
    // Those have samples in front of Noslate only (`noslate::control`).
    let is_of_noslate =
        |name: &str| name.starts_with("warmfront_function_") || name == "warmfront_plane_ready";
    for family in families::ALL.iter().filter(|family| !is_of_noslate(family.name)) {
        let has_samples = text.text().lines().any(|line| {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            name.strip_prefix(family.name).is_some_and(|rest| matches!(rest, "" | "_bucket"))
        });
        assert!(has_samples, "{} has no sample", family.name);
    }
}

#[test]
fn requests_are_counted_by_their_start_outcome_and_status_and_timed_if_a_worker_answered() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).with_admin().start();
    let (mut client, admin) = (sidecar.client(), sidecar.admin());
    client.send(post("/created", "0123456789"));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nfine");
    assert_eq!(client.response().status(), 201);
    client.send(get("/broken"));
    connection.request();
    connection.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.response().status(), 503);
    // One whose worker hangs up is answered by us.
    client.send(post("/lost", "body"));
    connection.request();
    drop(connection);
    assert_eq!(client.response().status(), 502);
    // One that its client gives up.
    client.send(get("/left"));
    let mut connection = worker.accept();
    connection.request();
    drop(client);
    let requests = |outcome, status| {
        format!("warmfront_requests_total{{start=\"warm\",outcome=\"{outcome}\",status=\"{status}\"}}")
    };
    let scrape = admin.scrape_when(&requests("client_gone", "none"), 1.0);
    for (outcome, status) in [("served", "2xx"), ("served", "5xx"), ("local", "5xx")] {
        assert_eq!(scrape.get(&requests(outcome, status)), 1.0, "{outcome} {status}");
    }
    let all: f64 =
        scrape.0.iter().filter(|(name, _)| name.starts_with("warmfront_requests_total")).map(|it| it.1).sum();
    assert_eq!(all, 4.0);
    for family in ["warmfront_request_duration_seconds", "warmfront_request_first_byte_seconds"] {
        assert_eq!(scrape.get(&format!("{family}_count{{start=\"warm\"}}")), 2.0);
        assert_eq!(scrape.get(&format!("{family}_bucket{{start=\"warm\",le=\"+Inf\"}}")), 2.0);
        let sum = scrape.get(&format!("{family}_sum{{start=\"warm\"}}"));
        assert!(sum > 0.0 && sum < 10.0, "{family} {sum}");
    }
    assert_eq!(scrape.get("warmfront_failed_requests_total{reason=\"worker_closed\"}"), 1.0);
    assert!(scrape.get("warmfront_received_bytes_total") > 200.0);
    assert!(scrape.get("warmfront_sent_bytes_total") > 100.0);
    assert_eq!(scrape.get("warmfront_connections_opened_total{side=\"client\"}"), 1.0);
    assert_eq!(scrape.get("warmfront_connections_opened_total{side=\"worker\"}"), 2.0);
    assert_eq!(scrape.get("warmfront_worker_connections_reused_total"), 2.0);
    assert_eq!(scrape.get("warmfront_worker_connect_seconds_count"), 2.0);
    assert_eq!(scrape.get("warmfront_worker_requests_total{worker=\"1\"}"), 4.0);
    admin.scrape_when("warmfront_connections{side=\"client\"}", 0.0);
}

#[test]
fn a_cold_request_is_counted_as_one() {
    let setup = Setup::new().with_admin();
    let path = setup.dir().join("late.sock");
    let sidecar = setup.set("workers.sockets", path.to_str().unwrap()).start_cold();
    let mut client = sidecar.client();
    client.send(get("/first"));
    let admin = sidecar.admin();
    admin.scrape_when("warmfront_queue_depth", 1.0);
    let worker = Worker::listen_at(&path);
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("late"));
    assert_eq!(client.response().text(), "late");
    let scrape =
        admin.scrape_when("warmfront_requests_total{start=\"cold\",outcome=\"served\",status=\"2xx\"}", 1.0);
    assert_eq!(scrape.get("warmfront_queue_wait_seconds_count"), 1.0);
    assert_eq!(scrape.get("warmfront_queue_depth"), 0.0);
}

#[test]
fn a_scrape_works_while_every_slot_is_taken_and_the_line_is_full() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).with_admin().set("queue.depth", "1").start();
    let admin = sidecar.admin();
    let mut served = sidecar.client();
    served.send(get("/served"));
    let mut connection = worker.accept();
    let mut waits = sidecar.client();
    waits.send(get("/waits"));
    admin.scrape_when("warmfront_queue_depth", 1.0);
    assert_eq!(sidecar.client().ask(get("/shed")).status(), 503);
    let scrape = admin.scrape_when("warmfront_shed_requests_total{reason=\"queue_depth\"}", 1.0);
    assert_eq!(scrape.get("warmfront_requests_in_flight"), 1.0);
    assert_eq!(scrape.get("warmfront_worker_requests_in_flight{worker=\"1\"}"), 1.0);
    assert_eq!(scrape.get("warmfront_slots"), 1.0);
    assert_eq!(scrape.get("warmfront_queue_limit"), 1.0);
    assert!(scrape.get("warmfront_queue_bytes") > 0.0);
    assert_eq!(scrape.get("warmfront_ready"), 0.0);
    for client in [&mut served, &mut waits] {
        connection.request();
        connection.send(ok("fine"));
        assert_eq!(client.response().text(), "fine");
    }
    let scrape = admin.scrape_when("warmfront_requests_in_flight", 0.0);
    assert_eq!(scrape.get("warmfront_queue_wait_seconds_count"), 2.0, "the refused one has waited no time");
}

#[test]
fn a_scrape_works_during_a_drain() {
    let worker = Worker::listen();
    let mut sidecar = Setup::forward(&[worker.path()]).with_admin().start();
    let admin = sidecar.admin();
    let mut client = sidecar.client();
    client.send(get("/last"));
    let mut connection = worker.accept();
    sidecar.signal("TERM");
    let scrape = admin.scrape_when("warmfront_phase{phase=\"draining\"}", 1.0);
    assert_eq!(scrape.get("warmfront_requests_in_flight"), 1.0);
    assert_eq!(scrape.get("warmfront_ready"), 0.0);
    connection.request();
    connection.send(ok("fine"));
    assert_eq!(client.response().text(), "fine");
    assert_eq!(sidecar.wait_exit(), 0);
}

#[test]
fn heads_that_are_refused_are_counted_by_the_rule_they_broke() {
    let sidecar = Setup::new().with_admin().start_ready();
    let broken = [
        ("syntax", "no request\r\n\r\n"),
        ("host", "GET / HTTP/1.1\r\n\r\n"),
        ("version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
        ("connect", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
        (
            "length_and_coding",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("unknown_coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ];
    for (rule, request) in broken {
        assert!(sidecar.client().ask(request).status() >= 400, "{rule}");
    }
    let scrape = sidecar.admin().scrape();
    for (name, value) in scrape.0.iter().filter(|(name, _)| name.starts_with("warmfront_refused_heads_total"))
    {
        let expected = broken.iter().any(|(rule, _)| name.contains(&format!("\"{rule}\"")));
        assert_eq!(*value, f64::from(u8::from(expected)), "{name}");
    }
}

#[test]
fn a_worker_that_dies_is_counted_and_comes_back() {
    let sidecar = Setup::new().flag("--workers", "2").with_admin().start_ready();
    let admin = sidecar.admin();
    admin.scrape_when("warmfront_worker_state{worker=\"1\",state=\"ready\"}", 1.0);
    let before = admin.scrape_when("warmfront_worker_state{worker=\"2\",state=\"ready\"}", 1.0);
    assert_eq!(before.get("warmfront_worker_restarts_total{worker=\"1\"}"), 0.0);
    assert!(before.get("warmfront_worker_resident_memory_bytes{worker=\"1\"}") > 1e6);
    assert!(before.get("warmfront_worker_proportional_memory_bytes{worker=\"1\"}") > 1e5);
    assert!(before.get("warmfront_worker_open_fds{worker=\"1\"}") > 3.0);
    assert_eq!(before.get("warmfront_worker_processes{worker=\"1\"}"), 1.0);
    let workers = admin.json("/workers");
    let pid = workers["workers"][0]["pid"].as_u64().expect("a process");
    signal(u32::try_from(pid).expect("a pid"), "KILL");
    let after = admin.scrape_when("warmfront_worker_exits_total{worker=\"1\"}", 1.0);
    assert_eq!(after.get("warmfront_worker_exits_total{worker=\"2\"}"), 0.0);
    let after = admin.scrape_when("warmfront_worker_state{worker=\"1\",state=\"ready\"}", 1.0);
    assert_eq!(after.get("warmfront_worker_restarts_total{worker=\"1\"}"), 1.0);
    assert!(after.get("warmfront_worker_start_seconds{worker=\"1\"}") > 0.0);
}

#[test]
fn a_freeze_is_counted_with_its_length() {
    let sidecar = Setup::new().with_admin().start_ready();
    let admin = sidecar.admin();
    assert_eq!(admin.scrape().get("warmfront_freezes_total"), 0.0);
    let freezer = Freezer::signals(&[sidecar.pid()]);
    freezer.freeze();
    sit_out(Duration::from_millis(1600));
    freezer.thaw();
    let scrape = admin.scrape_when("warmfront_freezes_total", 1.0);
    let (last, all) =
        (scrape.get("warmfront_last_freeze_seconds"), scrape.get("warmfront_frozen_seconds_total"));
    assert!(last == all && (1.3..10.0).contains(&last), "{last} {all}");
}

#[test]
fn scraping_sixteen_workers_takes_milliseconds() {
    let sidecar = Setup::new().flag("--workers", "16").with_admin().start_ready();
    let admin = sidecar.admin();
    admin.scrape_when("warmfront_slots", 1600.0);
    let (scrapes, before, mut quickest) = (20, sidecar.cpu(), Duration::MAX);
    for _ in 0..scrapes {
        let began = Instant::now();
        admin.scrape();
        quickest = quickest.min(began.elapsed());
    }
    let ticks = sidecar.cpu() - before;
    println!("scrape of 16 workers: quickest {quickest:?}, {scrapes} took {ticks} ticks of processor time");
    // The promise is 6 ms on a quiet machine. Here others run beside it: the clock tells of the quickest, and processor
    // time, in ticks of 10 ms, of the rest.
    assert!(quickest < Duration::from_millis(50), "{quickest:?}");
    assert!(ticks < 3 * scrapes, "{scrapes} took {ticks} ticks");
}

#[test]
fn nothing_that_a_request_says_becomes_a_label() {
    let sidecar = Setup::new().with_admin().start_ready();
    let admin = sidecar.admin();
    let names = || admin.scrape().0.into_keys().collect::<BTreeSet<_>>();
    let before = names();
    for number in 0..50 {
        let request = format!(
            "M{number} /secret-{number} HTTP/1.1\r\nHost: h{number}\r\nx-fc-request-id: id-{number}\r\n\r\n"
        );
        sidecar.client().ask(request);
    }
    eventually("the same series", || (names() == before).then_some(()));
}
