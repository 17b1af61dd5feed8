//! `Server-Timing`: nothing unless it is asked for, and then beside whatever the worker says.

use crate::support::h2::{Http2, request};
use crate::support::{Setup, Sidecar, Worker, get, ok};

fn told() -> (Sidecar, Worker) {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).set("headers.server_timing", "true").start();
    (sidecar, worker)
}

/// The metrics of one field, in milliseconds, and the words behind them.
fn metrics(value: &str) -> (Vec<(String, f64)>, Vec<String>) {
    let (timed, words): (Vec<_>, Vec<_>) = value.split(", ").partition(|metric| metric.contains(';'));
    let timed = timed.into_iter().map(|metric| {
        let (name, period) = metric.split_once(";dur=").unwrap_or_else(|| panic!("{metric}"));
        (name.to_owned(), period.parse().unwrap_or_else(|_| panic!("{metric}")))
    });
    (timed.collect(), words.into_iter().map(str::to_owned).collect())
}

/// The values of all fields of that name.
fn fields(head: &str) -> Vec<&str> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.filter(|(name, _)| name.eq_ignore_ascii_case("server-timing")).map(|(_, value)| value).collect()
}

#[test]
fn an_answer_tells_how_long_queue_connect_and_application_took() {
    let (sidecar, worker) = told();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    let began = std::time::Instant::now();
    connection.send("HTTP/1.1 200 OK\r\nServer-Timing: db;dur=53\r\nContent-Length: 4\r\n\r\nfine");
    let answer = client.response();
    let took = began.elapsed().as_secs_f64() * 1e3;
    assert_eq!(answer.text(), "fine");
    let fields = fields(&answer.head);
    assert_eq!((fields.len(), fields[0]), (2, "db;dur=53"), "{}", answer.head);
    let (timed, words) = metrics(fields[1]);
    assert_eq!(timed.iter().map(|it| it.0.as_str()).collect::<Vec<_>>(), ["queue", "connect", "app"]);
    assert!(timed.iter().all(|it| (0.0..10_000.0 + took).contains(&it.1)), "{timed:?}");
    assert_eq!(words, [""; 0]);
}

#[test]
fn without_being_asked_an_answer_tells_nothing() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).start();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("fine"));
    assert_eq!(client.response().head, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
}

#[test]
fn a_cold_start_is_told_and_its_wait_is_in_the_queue() {
    let setup = Setup::new().set("headers.server_timing", "true").with_admin();
    let path = setup.dir().join("late.sock");
    let sidecar = setup.set("workers.sockets", path.to_str().unwrap()).start_cold();
    let mut client = sidecar.client();
    let began = std::time::Instant::now();
    client.send(get("/"));
    sidecar.admin().scrape_when("warmfront_queue_depth", 1.0);
    let waited = std::time::Instant::now();
    let worker = Worker::listen_at(&path);
    let mut connection = worker.accept();
    connection.request();
    connection.send(ok("late"));
    let head = client.response().head;
    let (timed, words) = metrics(fields(&head)[0]);
    assert_eq!(words, ["cold"]);
    let most = began.elapsed().as_secs_f64() * 1e3;
    assert!(timed[0].1 > 0.0 && timed[0].1 <= most, "{timed:?}, {:?}", waited - began);
    // The next one finds a worker, and a connection.
    client.send(get("/"));
    connection.request();
    connection.send(ok("warm"));
    assert_eq!(metrics(fields(&client.response().head)[0]).1, [""; 0]);
}

#[test]
fn bodies_of_every_framing_pass_behind_it_and_interim_answers_before_it() {
    let (sidecar, worker) = told();
    let mut client = sidecar.client();
    client.send(get("/"));
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n");
    assert_eq!(client.head(), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    let answer = client.response();
    assert_eq!((answer.text(), fields(&answer.head).len()), ("fine", 1));
    // One that only its close ends becomes chunks, with both lines added.
    client.send(get("/"));
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nServer-Timing: a\r\nConnection: close\r\n\r\nuntil the end");
    drop(connection);
    let answer = client.response();
    assert_eq!((answer.text(), fields(&answer.head).len()), ("until the end", 2));
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    // For an old client they become what only a close ends.
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n");
    let (bytes, _) = client.rest();
    let text = String::from_utf8(bytes).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert_eq!((body, fields(head).len()), ("fine", 1), "{head}");
}

#[test]
fn an_answer_of_our_own_tells_nothing_and_an_upgrade_neither() {
    let (sidecar, worker) = told();
    let mut client = sidecar.client();
    assert_eq!(fields(&client.ask(get("/_warmfront/health")).head).len(), 0);
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n");
    assert_eq!(fields(&client.head()).len(), 0);
}

#[test]
fn http2_clients_get_it_beside_the_workers_own() {
    let (sidecar, worker) = told();
    let mut client = Http2::connect(sidecar.port);
    let mut stream = client.open(request("GET", "/"), true);
    let mut connection = worker.accept();
    connection.request();
    connection.send("HTTP/1.1 200 OK\r\nServer-Timing: db;dur=53\r\nContent-Length: 4\r\n\r\nfine");
    let answer = client.answer(&mut stream);
    let values: Vec<_> =
        answer.fields.get_all("server-timing").iter().map(|it| it.to_str().unwrap()).collect();
    assert_eq!((answer.text(), values.len(), values[0]), ("fine", 2, "db;dur=53"));
    assert_eq!(metrics(values[1]).0.len(), 3);
}

#[test]
fn a_head_that_the_platform_would_refuse_with_it_goes_without() {
    let (sidecar, worker) = told();
    let mut client = sidecar.client();
    let mut connection = None;
    let mut length_of = |room: usize| {
        let plain = "HTTP/1.1 200 OK\r\nX-Long: \r\nContent-Length: 4\r\n\r\n";
        let answer = plain.replace(": \r", &format!(": {}\r", "x".repeat(room - plain.len())));
        assert_eq!(answer.len(), room);
        client.send(get("/"));
        let connection = connection.get_or_insert_with(|| worker.accept());
        connection.request();
        connection.send(answer + "fine");
        let answer = client.response();
        assert_eq!(answer.text(), "fine");
        (answer.head.len(), fields(&answer.head).len())
    };
    let (small, has) = length_of(8 << 10 >> 1);
    assert!(has == 1 && small > 4 << 10);
    assert!(length_of((8 << 10) - 200) > ((8 << 10) - 200, 0));
    for room in [(8 << 10) - 20, 8 << 10, (8 << 10) + 1, 70 << 10] {
        assert_eq!(length_of(room), (room, 0), "as it came");
    }
}
