//! What every app goes through: start, load, a killed and a restarted worker under load, TERM.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::table::{App, Connections};
use crate::php;
use crate::support::admin::Admin;
use crate::support::sidecar::signal;
use crate::support::wire::field;
use crate::support::{Client, End, Response, Setup, Sidecar, app, get, post};

/// Requests in flight at once.
const CLIENTS: usize = 16;
/// Requests of the first trial.
const REQUESTS: usize = 1_000;
/// Requests that must be answered before a worker dies, between its death and the restart, and behind it.
const BETWEEN: usize = 100;
/// Virtual machines and Next.js are slow while others compile.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the app with two workers and holds it to what its row promises.
pub(super) fn play(row: &App) {
    let mut sidecar = start(row);
    let admin = sidecar.admin();
    workers_when(&admin, "two ready workers", are_ready);
    let ways: Vec<Value> = workers(&admin).iter().map(|worker| worker["transport"].clone()).collect();
    assert_eq!(ways, [row.rung; 2], "the way in, of each worker");

    answers_each_request(row, &sidecar);
    keeps_connections_or_not(row, &admin);
    survives_a_kill_and_a_restart(row, &sidecar, &admin);

    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0, "the exit code behind TERM");
}

fn start(row: &App) -> Sidecar {
    let cwd = app(row.dir);
    let root = app("");
    let bin = |path: &str| root.join(path).display().to_string();
    let path = [&bin("python/venv/bin"), &bin("typescript/node_modules/.bin"), "/usr/bin", "/bin"].join(":");
    // Its name has a version in it, which the page of apps leaves out.
    let fpm = php::program().display().to_string();
    let words = row.command.split(' ').map(|word| if word == "php-fpm" { &fpm } else { word });
    let setup = row.keys.iter().fold(Setup::run(words), |setup, (key, value)| setup.set(key, value));
    setup
        .set("workers.cwd", cwd.to_str().expect("UTF-8"))
        .variable("PATH", &path)
        // The platform's, where warmfront itself does not listen while others are tested, too.
        .flag("--app-port", "9000")
        .flag("--workers", "2")
        .with_admin()
        .start_cold()
}

/// GET and POST in turn, over connections that stay.
fn answers_each_request(row: &App, sidecar: &Sidecar) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = sidecar.client().patient(PATIENCE);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= REQUESTS {
                        break;
                    }
                    if row.posts && number % 2 == 1 {
                        let body = format!("body {number} ").repeat(1 + number % 50);
                        let answer = client.ask(post("/echo", &body));
                        assert_eq!((answer.status(), answer.text()), (200, body.as_str()), "{}", answer.head);
                    } else {
                        let answer = client.ask(get(row.targets[number % row.targets.len()]));
                        assert_eq!(answer.status(), 200, "{}\n{}", answer.head, answer.text());
                        assert!(!answer.body.is_empty(), "{}", answer.head);
                    }
                }
            });
        }
    });
}

fn keeps_connections_or_not(row: &App, admin: &Admin) {
    assert!(
        workers(admin).iter().all(|worker| worker["served"].as_u64() > Some(0)),
        "each worker served: {:?}",
        workers(admin)
    );
    let scrape = admin.scrape();
    let reused = scrape.get("warmfront_worker_connections_reused_total");
    let ratio = reused / REQUESTS as f64;
    let opened = scrape.get("warmfront_connections_opened_total{side=\"worker\"}");
    match row.connections {
        Connections::Kept => assert!(ratio > 0.8, "{reused} requests on used connections, {opened} opened"),
        Connections::Closed => {
            assert!(ratio < 0.05, "{reused} requests on used connections, {opened} opened")
        }
    }
}

/// GETs all the while. One worker is killed, then the other restarted by the admin.
fn survives_a_kill_and_a_restart(row: &App, sidecar: &Sidecar, admin: &Admin) {
    let (answered, failures, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicBool::new(false));
    let fail = |how: String| failures.lock().expect("not poisoned").push(how);
    let more = || {
        let until = answered.load(Ordering::SeqCst) + BETWEEN;
        wait("answers", || (answered.load(Ordering::SeqCst) >= until).then_some(()));
    };
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = sidecar.client().patient(PATIENCE);
                let mut targets = row.targets.iter().cycle();
                while !done.load(Ordering::SeqCst) {
                    match ask(&mut client, &get(targets.next().expect("it has no end"))) {
                        Ok(answer) if answer.status() == 200 => {
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(answer) => fail(format!("{}{}", answer.head, answer.text())),
                        // An answer that had begun ends with its connection.
                        Err(end) => {
                            client = sidecar.client().patient(PATIENCE);
                            fail(format!("{end:?}"));
                        }
                    }
                }
            });
        }
        // Whatever fails in between, the clients end.
        let _done = Done(&done);
        more();
        // A worker that had to find its way in has ended before.
        let before = workers(admin);
        let is_one_more = |workers: &[Value], at: usize, count: &str| {
            workers[at][count].as_u64() == before[at][count].as_u64().map(|count| count + 1)
        };
        let pid = before[0]["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("a pid");
        signal(pid, "KILL");
        workers_when(admin, "its successor", |workers| {
            is_ready(&workers[0]) && is_one_more(workers, 0, "exits")
        });
        more();
        let answer = admin.ask("POST", "/workers/2/restart");
        assert!(matches!(answer.status(), 200..=299), "{}\n{}", answer.head, answer.text());
        workers_when(admin, "the restart", |workers| {
            are_ready(workers) && is_one_more(workers, 1, "restarts")
        });
        more();
    });
    let failures = failures.into_inner().expect("not poisoned");
    // A killed worker takes with it what it held, but for what provably did nothing there.
    assert!(
        failures.len() <= CLIENTS,
        "{} GETs failed, {} were answered:\n{}",
        failures.len(),
        answered.load(Ordering::SeqCst),
        failures.join("\n")
    );
}

/// An answer of whatever framing; or how the connection ended before it was whole.
fn ask(client: &mut Client, request: &str) -> Result<Response, End> {
    client.send(request);
    while !is_whole(client.received()) {
        client.fill()?;
    }
    Ok(client.response())
}

fn is_whole(received: &[u8]) -> bool {
    let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
    let (head, body) = received.split_at(end + 4);
    match field(&String::from_utf8_lossy(head), "content-length") {
        Some(length) => body.len() >= length.parse().expect("a length"),
        None => body.ends_with(b"0\r\n\r\n"),
    }
}

/// Tells the clients to stop when it goes, by a panic, too.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn workers(admin: &Admin) -> Vec<Value> {
    let answer = admin.json("/workers");
    answer["workers"].as_array().unwrap_or_else(|| panic!("no workers in {answer}")).clone()
}

/// Before they are started the list is empty.
fn are_ready(workers: &[Value]) -> bool {
    workers.len() == 2 && workers.iter().all(is_ready)
}

fn is_ready(worker: &Value) -> bool {
    worker["state"] == "ready"
}

/// Looks at the workers until they are as they should be.
fn workers_when(admin: &Admin, what: &str, are: impl Fn(&[Value]) -> bool) {
    wait(what, || {
        let workers = workers(admin);
        are(&workers).then_some(())
    });
}

/// Looks until `look` finds something, for as long as slow starts take.
fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "not seen in time: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
