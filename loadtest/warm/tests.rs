use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use clap::Parser as _;

use super::*;
use crate::study::Curve;

const MS: Duration = Duration::from_millis(1);
const BOUNDS: Bounds = Bounds { connections: 64, timeout: Duration::from_secs(10) };

/// A server on a port of its own, for the rest of the test process; `serve` gets each connection, on a thread of its
/// own.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Answers each request of a connection; `before` is called for each.
fn answer_all(mut stream: TcpStream, before: impl Fn()) {
    let mut request = [0; 4096];
    while let Ok(1..) = stream.read(&mut request) {
        before();
        if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_err() {
            return;
        }
    }
}

async fn run(address: SocketAddr, bounds: Bounds, rate: f64, seconds: u64) -> Finished {
    let scenario = Scenario::of_path("/");
    let plan = Plan::new(&scenario, rate, Duration::from_secs(seconds)).unwrap();
    let sender = Sender::new(&scenario, &Target::Tcp(address), bounds);
    sender.run(&plan, Instant::now(), false, || false).await.unwrap()
}

/// What a share stayed within, in milliseconds.
fn ms_within(curve: &Curve, share: f64) -> f64 {
    curve.points.iter().find(|(point, _)| *point >= share).unwrap().1 / 1e3
}

#[tokio::test]
async fn a_stall_is_seen_by_everybody_who_was_due_in_it() {
    let asked = AtomicU32::new(0);
    let stall = Arc::new(Mutex::new(asked));
    let address = server(move |stream| {
        let stall = Arc::clone(&stall);
        answer_all(stream, move || {
            // Whoever comes meanwhile waits for the lock.
            let asked = stall.lock().unwrap();
            if asked.fetch_add(1, Ordering::Relaxed) == 60 {
                std::thread::sleep(300 * MS);
            }
        });
    });
    // One connection: what is due in the stall is not even sent, as in a closed loop.
    let Finished { load, is_whole, .. } = run(address, Bounds { connections: 1, ..BOUNDS }, 200.0, 1).await;
    assert_eq!((load.ok, load.failed, is_whole), (200, 0, true), "{:?}", load.errors);
    let (latency, service) = (&load.latency["get"], &load.service["get"]);
    assert!(ms_within(service, 1.0) >= 300.0, "{service:?}");
    // Of 200 requests, those due in the first 200 ms of the stall waited 100 ms at least.
    assert!(ms_within(latency, 0.9) >= 100.0, "{latency:?}");
    assert!(ms_within(service, 0.9) < 100.0, "counted from the sending, one request was slow: {service:?}");
    assert!(load.generator.waited.count >= 50, "{:?}", load.generator);
    assert_eq!(load.generator.connections, 1);
}

#[tokio::test]
async fn as_many_connections_as_are_needed_are_opened_and_no_more() {
    let address = server(|stream| answer_all(stream, || std::thread::sleep(200 * MS)));
    let Finished { load, .. } = run(address, Bounds { connections: 8, ..BOUNDS }, 10.0, 1).await;
    assert_eq!((load.ok, load.failed), (10, 0));
    assert!((2..=8).contains(&load.generator.connections), "{:?}", load.generator);
    let Finished { load, .. } = run(address, Bounds { connections: 2, ..BOUNDS }, 40.0, 1).await;
    assert_eq!((load.ok, load.failed, load.generator.connections), (40, 0, 2));
    assert!(load.generator.waited.count > 20, "{:?}", load.generator);
}

#[tokio::test]
async fn a_request_that_nobody_gets_to_fails_when_its_time_is_up() {
    let address = server(|stream| answer_all(stream, || std::thread::sleep(Duration::from_secs(60))));
    let Finished { load, .. } = run(address, Bounds { connections: 2, timeout: 100 * MS }, 20.0, 1).await;
    assert_eq!((load.ok, load.failed, load.errors["timeout"].0), (0, 20, 20), "{:?}", load.errors);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_it_rested_is_replaced() {
    let address = server(|mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        // Closed without a word, as by a timer.
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let Finished { load, .. } = run(address, BOUNDS, 10.0, 1).await;
    assert_eq!((load.ok, load.failed), (10, 0), "{:?}", load.errors);
}

#[tokio::test]
async fn requests_wait_for_a_program_that_does_not_listen_yet_if_that_is_what_is_measured() {
    let scenario = Scenario::of_path("/");
    let plan = Plan::new(&scenario, 50.0, 500 * MS).unwrap();
    for is_patient in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let socket: PathBuf = dir.path().join("s");
        let sender = Sender::new(&scenario, &Target::Unix(socket.clone()), BOUNDS);
        let start = Instant::now();
        let is_up = AtomicBool::new(false);
        // Looked at while it runs: it begins to listen in the middle.
        let late = || {
            if start.elapsed() > 250 * MS && !is_up.swap(true, Ordering::Relaxed) {
                crate::serve::tests::serve_in_background(socket.clone());
            }
            false
        };
        let load = sender.run(&plan, start, is_patient, late).await.unwrap().load;
        if is_patient {
            assert_eq!((load.ok, load.failed), (25, 0), "{:?}", load.errors);
            assert!(ms_within(&load.latency["get"], 1.0) >= 250.0, "the first was due at once");
        } else {
            assert_eq!(load.ok + load.failed, 25);
            assert!(load.errors["connect"].0 >= 10, "{:?}", load.errors);
        }
    }
}

#[tokio::test]
async fn a_run_that_is_told_to_stop_has_what_came_until_then() {
    let address = server(|stream| answer_all(stream, || {}));
    let scenario = Scenario::of_path("/");
    let plan = Plan::new(&scenario, 100.0, Duration::from_secs(600)).unwrap();
    let sender = Sender::new(&scenario, &Target::Tcp(address), BOUNDS);
    let start = Instant::now();
    let Finished { load, is_whole, .. } =
        sender.run(&plan, start, false, || start.elapsed() > 300 * MS).await.unwrap();
    assert!(!is_whole && load.ok > 0 && load.failed == 0, "{:?}", load.errors);
    assert!((0.3..60.0).contains(&load.seconds), "{}", load.seconds);
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: WarmArgs,
}

fn parse(line: &str) -> Result<WarmArgs, String> {
    Line::try_parse_from(line.split(' ')).map(|line| line.args).map_err(|error| error.to_string())
}

#[test]
fn flags_that_make_no_sense_together_are_refused() {
    for line in [
        "warm",
        "warm --target 10.0.0.1:80",
        "warm --target 127.0.0.1:80 -- node app.js",
        "warm --target 127.0.0.1:80 --class cold",
        "warm --target 127.0.0.1:80 --limit p99<1ms",
        "warm --target 127.0.0.1:80 --rate 0",
        "warm --target 127.0.0.1:80 --rate 5 --search",
        "warm --class lukewarm -- node app.js",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
    assert!(parse("warm --target 127.0.0.1:80 --rate 5,6").is_ok());
    assert!(parse("warm --class cold,thawed -- node app.js").is_ok());
    let unknown = parse("warm --target 127.0.0.1:80 --scenario nonesuch").unwrap().scenario().unwrap_err();
    assert!(unknown.contains("small-json") && unknown.contains("nonesuch"), "{unknown}");
}
