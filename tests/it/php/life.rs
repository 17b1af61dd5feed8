//! php-fpm as a process: how it is started, what happens when something of it dies, how it ends.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{fpm, fpm_with, program};
use crate::support::sidecar::{processes, signal};
use crate::support::{Setup, eventually, get, post};

const CLIENTS: usize = 16;

#[test]
fn a_thousand_requests_of_sixteen_clients_use_as_many_connections_as_children() {
    let mut sidecar = fpm().start();
    let children = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = sidecar.client();
                    let ask = |_| {
                        let answer = client.ask(get("/pid"));
                        assert_eq!(answer.status(), 200);
                        answer.text().to_owned()
                    };
                    (0..1000 / CLIENTS + 1).map(ask).collect::<BTreeSet<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<BTreeSet<_>>()
    });
    assert!((1..=4).contains(&children.len()), "{children:?}");
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    let counted = sidecar.stderr.wait_for("counted:");
    let opened =
        counted.split(" worker_connections=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(opened.parse::<u32>().unwrap() <= 4, "{counted}");
}

#[test]
fn the_default_is_one_master_whose_children_are_the_slots() {
    let sidecar = fpm().start();
    let line = sidecar.stderr.wait_for("starting 1 worker");
    assert!(line.contains("4 children") && line.contains("up to 4 requests at a time"), "{line}");
    let masters = sidecar.children();
    assert_eq!(masters.len(), 1);
    eventually("its children", || {
        let count = processes().iter().filter(|it| it.parent == masters[0].0).count();
        (count == 4).then_some(())
    });
}

#[test]
fn a_child_that_dies_costs_its_own_request_and_no_other() {
    let sidecar = fpm().start();
    let mut client = sidecar.client();
    client.ask(get("/length"));
    let answer = client.ask(post("/die", "x"));
    assert_eq!((answer.status(), answer.field("x-warmfront-reason")), (502, Some("worker-closed")));
    for _ in 0..8 {
        assert_eq!(client.ask(post("/echo", "body")).text(), "body");
    }
    sidecar.stderr.wait_for("exited on signal 9");
}

#[test]
fn a_master_that_is_killed_under_load_costs_at_most_the_requests_in_flight() {
    let sidecar = fpm().start();
    let (answered, failed, dead) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let master = sidecar.children()[0].0;
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = sidecar.client();
                let mut after = 0;
                // POST: never repeated, so every loss shows.
                while after < 10 {
                    match client.ask(post("/echo", "body")).status() {
                        200 => answered.fetch_add(1, Ordering::SeqCst),
                        502 => failed.fetch_add(1, Ordering::SeqCst),
                        status => panic!("{status}"),
                    };
                    after += usize::from(dead.load(Ordering::SeqCst));
                }
            });
        }
        eventually("load", || (answered.load(Ordering::SeqCst) >= 200).then_some(()));
        signal(master, "KILL");
        sidecar.stderr.wait_for(&format!("(pid {master}) was ended by signal 9"));
        dead.store(true, Ordering::SeqCst);
    });
    let failed = failed.load(Ordering::SeqCst);
    assert!(failed <= CLIENTS, "{failed} failed");
}

#[test]
fn a_restart_under_load_costs_no_request() {
    let sidecar = fpm().with_admin().start();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = sidecar.client();
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(client.ask(post("/echo", "body")).status(), 200);
                }
            });
        }
        let answer = sidecar.admin().ask("POST", "/workers/1/restart");
        assert!(answer.status() < 300, "{}", answer.text());
        sidecar.stderr.wait_for_count("worker 1 (pid ", 3);
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn a_request_in_flight_is_finished_before_the_end() {
    let mut sidecar = fpm().start();
    let sign = sidecar.dir().join("sign");
    let mut client = sidecar.client();
    client.send(get(&format!("/flush?sign={}", sign.display())));
    client.head();
    sidecar.signal("TERM");
    sidecar.stderr.wait_for("draining: 1 in flight");
    std::fs::write(sign, "").unwrap();
    assert_eq!(client.chunks().0, b"firstsecond");
    assert_eq!(sidecar.wait_exit(), 0);
    let stopped = sidecar.stderr.wait_for("stopped");
    assert!(!stopped.contains("kill"), "{stopped}");
}

#[test]
fn a_php_fpm_with_a_configuration_of_its_own_keeps_it() {
    let own = "[global]\nerror_log = /proc/self/fd/2\n[own]\nuser = root\nlisten = ${WARMFRONT_SOCKET}\npm = static\n\
               pm.max_children = 1\nenv[WHOSE] = own\n";
    let program = program();
    let argv = [program.to_str().unwrap(), "-R", "-y", "own.conf"];
    let setup = Setup::run(argv).set("php.root", crate::support::app("php").to_str().unwrap());
    let sidecar = setup.file("own.conf", own).start();
    let line = sidecar.stderr.wait_for("starting 1 worker");
    assert!(line.contains("1 request at a time"), "{line}");
    assert!(sidecar.client().ask(get("/server")).text().contains("\"WHOSE\":\"own\""));
}

#[test]
fn a_php_fpm_that_somebody_else_runs_is_asked_at_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("fpm.sock");
    let own = format!(
        "[global]\nerror_log = /proc/self/fd/2\ndaemonize = no\n[own]\nuser = root\nlisten = {}\npm = static\npm.max_children = 2\n",
        socket.display()
    );
    let conf = dir.path().join("own.conf");
    std::fs::write(&conf, own).unwrap();
    let mut fpm = std::process::Command::new(program())
        .args(["-R", "-y"])
        .arg(&conf)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let sidecar = Setup::forward(&[&socket])
        .set("workers.protocol", "fastcgi")
        .set("workers.concurrency", "2")
        .set("php.root", crate::support::app("php").to_str().unwrap())
        .start();
    assert_eq!(sidecar.client().ask(get("/length")).text(), "hello");
    drop(sidecar);
    fpm.kill().unwrap();
    fpm.wait().unwrap();
}

#[test]
fn keys_about_php_mean_nothing_to_workers_that_speak_http() {
    let mut sidecar = Setup::run(["node", "x.js"]).set("php.front", "/app.php").launch();
    assert_eq!(sidecar.wait_exit(), 78);
    assert!(
        sidecar
            .stderr
            .until_closed()
            .join("\n")
            .contains("`php.front` means nothing to workers that speak HTTP")
    );
    let mut sidecar = fpm_with(&[]).set("php.root", "no/such/place").launch();
    assert_eq!(sidecar.wait_exit(), 78);
    assert!(sidecar.stderr.until_closed().join("\n").contains("The directory of PHP's scripts is not there"));
}
