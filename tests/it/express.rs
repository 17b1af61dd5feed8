//! The Express sample of the platform's documentation, unchanged, behind the sidecar.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::support::sidecar::signal;
use crate::support::{ID, Setup, Sidecar, app, get, post};

const CLIENTS: usize = 16;

fn express() -> Sidecar {
    Setup::run([Path::new("node"), &app("express/server.js")]).with_admin().start()
}

#[test]
fn the_express_sample_runs_unchanged_on_a_unix_socket() {
    let sidecar = express();
    let mut client = sidecar.client();
    assert_eq!(client.ask(get("/")).text(), "Hello from Express\n");
    let seen: serde_json::Value = serde_json::from_str(client.ask(get("/headers")).text()).unwrap();
    assert_eq!(seen["method"], "GET");
    assert!(seen["rawHeaders"].as_array().unwrap().contains(&ID.into()), "{seen}");
    let body = "x".repeat(300_000);
    assert_eq!(client.ask(post("/echo", &body)).text(), body);
    assert_eq!(client.ask(get("/chunked/100000")).text().len(), 100_000);
    // It believes what the platform told it.
    sidecar.stdout.wait_for("listening on 9000");
    let workers = sidecar.admin().json("/workers");
    assert!(workers["workers"][0]["address"].as_str().unwrap().starts_with("unix:"), "{workers}");
}

#[test]
fn fc26_an_express_worker_killed_under_load_costs_at_most_its_requests_in_flight() {
    let sidecar = express();
    let victim: u32 = sidecar.client().ask(get("/pid")).text().trim().parse().unwrap();
    let (answered, failed, dead) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = sidecar.client();
                let mut after = 0;
                // POST: never repeated, so every loss shows. Some more once the worker is gone.
                while after < 20 {
                    let response = client.ask(post("/echo", "body"));
                    match response.status() {
                        200 => answered.fetch_add(1, Ordering::SeqCst),
                        502 => failed.fetch_add(1, Ordering::SeqCst),
                        status => panic!("{status}: {}", response.text()),
                    };
                    after += usize::from(dead.load(Ordering::SeqCst));
                }
            });
        }
        while answered.load(Ordering::SeqCst) < 200 {
            thread::yield_now();
        }
        signal(victim, "KILL");
        sidecar.stderr.wait_for(&format!("(pid {victim}) was ended by signal 9"));
        dead.store(true, Ordering::SeqCst);
    });
    // Each client has one request at a time; the victim held at most all of them.
    let line = sidecar.stderr.wait_for(&format!("(pid {victim}) was ended"));
    let failed = failed.load(Ordering::SeqCst);
    assert!(failed <= CLIENTS, "{failed} failed: {line}");
    assert!(answered.load(Ordering::SeqCst) >= 200 + CLIENTS * 10);
}
