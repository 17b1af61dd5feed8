//! Real worker processes: started, served from, killed, drained, buried.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::sidecar::{Process, processes, signal};
use crate::support::{Client, ID, Setup, Sidecar, eventually, get, post};

const BINARY: &str = env!("CARGO_BIN_EXE_warmfront");

/// The sidecar with demo workers.
fn demo() -> Setup {
    Setup::run([BINARY, "demo-worker"])
}

/// The pid in the demo worker's answer.
fn pid_in(text: &str) -> u32 {
    let pid = text.split("(pid ").nth(1).and_then(|rest| rest.split(')').next());
    pid.and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("no pid in {text:?}"))
}

fn group(leader: u32) -> Vec<Process> {
    processes().into_iter().filter(|it| it.group == leader && it.state != 'Z').collect()
}

/// The private socket directories below `dir`.
fn socket_dirs(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).expect("readable").flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("warmfront-")).collect()
}

#[test]
fn without_a_command_the_demo_workers_answer_and_the_start_lines_say_how_to_go_on() {
    let sidecar = Setup::new().start_cold();
    sidecar.stderr.wait_for("2 workers are warm after");
    sidecar.stderr.wait_for(&format!("curl localhost:{}", sidecar.port));
    sidecar.stderr.wait_for("warmfront run -- node server.js");
    let response = sidecar.client().ask(get("/"));
    assert!(response.text().starts_with("Hello from warm worker "), "{}", response.text());
    assert!(response.text().contains("start: warm\n"));
    assert!(response.text().contains(&format!("request id: {ID}\n")));
}

#[test]
fn fc01_the_port_accepts_before_any_worker_is_ready_and_the_request_is_served() {
    let sidecar = Setup::run(["sh", "-c", "sleep 0.5; exec \"$0\" demo-worker", BINARY])
        .flag("--workers", "1")
        .start_cold();
    let response = sidecar.client().ask(get("/"));
    assert_eq!(response.status(), 200);
    let line = sidecar.stdout.wait_for(ID);
    assert!(line.contains("start=cold"), "{line}");
}

#[test]
fn fc01_the_port_accepts_within_100_ms_of_its_start() {
    let mut took: Vec<Duration> = (0..5)
        .map(|_| {
            let began = Instant::now();
            let sidecar = Setup::new().start_cold();
            drop(sidecar.client());
            began.elapsed()
        })
        .collect();
    // The median: one start may meet a busy machine.
    took.sort();
    assert!(took[2] < Duration::from_millis(100), "{took:?}");
}

#[test]
fn term_is_heard_from_the_moment_the_port_accepts() {
    const TERM: u64 = 1 << (15 - 1);
    for _ in 0..10 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut sidecar = demo().port(port).launch();
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the port never accepted");
            thread::yield_now();
        }
        // Sooner than a signal could be sent: which ones it has taken over.
        let status = fs::read_to_string(format!("/proc/{}/status", sidecar.pid())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:\t")).unwrap();
        assert!(u64::from_str_radix(caught, 16).unwrap() & TERM != 0, "TERM would kill it: {caught}");
        sidecar.signal("TERM");
        assert_eq!(sidecar.wait_exit(), 0);
    }
}

#[test]
fn fc06_a_node_server_that_reads_the_platforms_port_runs_unchanged() {
    // What the platform's documentation shows, without a framework.
    let server = "const http = require('http');\n\
                  const port = process.env.FC_SERVER_PORT || 9000;\n\
                  http.createServer((request, response) => {\n\
                    let body = '';\n\
                    request.on('data', part => body += part);\n\
                    request.on('end', () => {\n\
                      response.setHeader('X-Served-By', String(process.pid));\n\
                      response.end(`${request.method} ${request.url} ${request.headers['x-fc-request-id']} ${body}`);\n\
                    });\n\
                  }).listen(port, () => console.log('listening on', port));\n";
    let sidecar = Setup::run(["node", "server.js"]).file("server.js", server).start();
    let mut client = sidecar.client();
    for number in 0..20 {
        let response = client.ask(post(&format!("/a%20b?{number}"), "body"));
        assert_eq!(response.text(), format!("POST /a%20b?{number} {ID} body"));
        assert_eq!((response.field("keep-alive"), response.field("connection")), (None, None));
    }
    // What workers print is passed on, and names the worker.
    let line = sidecar.stdout.wait_for("listening on 9000");
    assert!(line.contains("[w1] ") || line.contains("[w2] "), "{line}");
}

#[test]
fn a_python_server_on_its_socket_is_served_from() {
    let server = "import os, socketserver\n\
                  from http.server import BaseHTTPRequestHandler\n\
                  class Handler(BaseHTTPRequestHandler):\n\
                  \x20   protocol_version = 'HTTP/1.1'\n\
                  \x20   def address_string(self): return 'unix'\n\
                  \x20   def do_POST(self):\n\
                  \x20       body = self.rfile.read(int(self.headers['Content-Length']))\n\
                  \x20       self.send_response(200)\n\
                  \x20       self.send_header('Content-Length', str(len(body)))\n\
                  \x20       self.end_headers()\n\
                  \x20       self.wfile.write(body[::-1])\n\
                  class Server(socketserver.UnixStreamServer):\n\
                  \x20   request_queue_size = 16\n\
                  Server(os.environ['PORT'], Handler).serve_forever()\n";
    let sidecar =
        Setup::run(["python3", "server.py"]).file("server.py", server).flag("--transport", "socket").start();
    let mut clients = [sidecar.client(), sidecar.client(), sidecar.client()];
    for _ in 0..10 {
        for client in &mut clients {
            assert_eq!(client.ask(post("/", "stressed")).text(), "desserts");
        }
    }
}

#[test]
fn fc06_a_server_that_can_only_do_tcp_gets_a_loopback_port_of_its_own() {
    let sidecar = Setup::run(["python3", "-m", "http.server", "{port}", "--bind", "127.0.0.1"])
        .flag("--transport", "tcp")
        .file("hello.txt", "hello over tcp")
        .start();
    let mut client = sidecar.client();
    for _ in 0..10 {
        let response = client.ask(get("/hello.txt"));
        assert_eq!((response.status(), response.text()), (200, "hello over tcp"));
    }
}

#[test]
fn worker_output_is_passed_on_line_by_line_with_the_workers_number() {
    let script = "for n in 1 2 3; do echo \"out $n\"; echo \"err $n\" >&2; done; exec \"$0\" demo-worker";
    let sidecar = Setup::run(["sh", "-c", script, BINARY]).flag("--workers", "2").start();
    for worker in 1..=2 {
        for (pipe, kind) in [(&sidecar.stdout, "out"), (&sidecar.stderr, "err")] {
            for number in 1..=3 {
                let text = format!("{kind} {number}");
                eventually(&text, || {
                    let mut all = sidecar.stdout.all();
                    all.extend(pipe.all());
                    let tag = worker.to_string();
                    let named = |line: &&String| line.ends_with(&text) && line.contains(&tag);
                    all.iter().any(|line| named(&line)).then_some(())
                });
            }
        }
    }
}

#[test]
fn fc26_a_killed_worker_costs_only_its_requests_in_flight() {
    let sidecar = demo().flag("--workers", "2").flag("--concurrency", "4").start();
    // Six requests that both workers hold, three each, when one of them is killed.
    let mut held: Vec<Client> = (0..6).map(|_| sidecar.client()).collect();
    for client in &mut held {
        client.send(get("/slow?ms=1500"));
    }
    sidecar.fence(1);
    let victim = pid_in(sidecar.client().ask(get("/")).text());
    let failed_meanwhile = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let (mut client, began) = (sidecar.client(), Instant::now());
            let mut statuses = Vec::new();
            while began.elapsed() < Duration::from_millis(800) {
                statuses.push(client.ask(get("/")).status());
            }
            statuses.into_iter().filter(|&status| status != 200).count()
        });
        signal(victim, "KILL");
        load.join().expect("no panic")
    });
    let statuses: Vec<u16> = held.iter_mut().map(|client| client.response().status()).collect();
    let failed = statuses.iter().filter(|&&status| status != 200).count();
    assert!(failed <= 3, "more than the victim held: {statuses:?}");
    assert!(statuses.iter().all(|status| [200, 502].contains(status)), "{statuses:?}");
    // One more may have been in flight on the victim when it was killed.
    assert!(failed_meanwhile <= 1, "{failed_meanwhile} requests failed that the victim did not hold");
    sidecar.stderr.wait_for(&format!("(pid {victim}) was ended by signal 9 (KILL)"));
    sidecar.stderr.wait_for_count("is ready after", 3);
    let mut client = sidecar.client();
    eventually("the new worker answers", || {
        let pid = pid_in(client.ask(get("/")).text());
        assert_ne!(pid, victim);
        Some(())
    });
}

#[test]
fn a_client_whose_worker_dies_in_the_middle_of_an_answer_sees_it_cut_off() {
    let sidecar = demo().flag("--workers", "1").start();
    let victim = pid_in(sidecar.client().ask(get("/")).text());
    let mut client = sidecar.client();
    client.send(get("/chunked?n=1000000000"));
    client.head();
    client.take(100_000);
    signal(victim, "KILL");
    let (rest, _) = client.rest();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "cut off, and made to look whole");
    sidecar.stderr.wait_for("was ended by signal 9");
    assert_eq!(sidecar.client().ask(get("/")).status(), 200, "held until the worker was back");
}

#[test]
fn a_worker_that_exits_by_itself_comes_back() {
    let sidecar = demo().flag("--workers", "1").start();
    let mut client = sidecar.client();
    let first = pid_in(client.ask(get("/")).text());
    assert_eq!(client.ask(post("/exit?code=3", "")).status(), 502, "a POST is not sent twice");
    sidecar.stderr.wait_for("exited with code 3");
    let second = pid_in(client.ask(get("/")).text());
    assert_ne!(first, second);
}

#[test]
fn term_drains_what_is_in_flight_and_leaves_nothing_behind() {
    let mut sidecar = demo().flag("--workers", "2").start();
    let workers: Vec<u32> = sidecar.children().into_iter().map(|(pid, _)| pid).collect();
    assert_eq!(workers.len(), 2);
    assert_eq!(socket_dirs(sidecar.dir()).len(), 1);
    let (mut slow, mut idle) = (sidecar.client(), sidecar.client());
    idle.ask(get("/"));
    slow.send(get("/slow?ms=700"));
    sidecar.fence(1);
    sidecar.signal("TERM");
    sidecar.stderr.wait_for("draining: 1 in flight");
    idle.end();
    let response = slow.response();
    assert_eq!((response.status(), response.field("connection")), (200, Some("close")));
    assert_eq!(sidecar.wait_exit(), 0);
    sidecar.stderr.wait_for("good bye");
    assert_eq!(socket_dirs(sidecar.dir()), Vec::<String>::new());
    for pid in workers {
        assert!(group(pid).is_empty(), "somebody of group {pid} is left");
    }
}

#[test]
fn a_drain_does_not_wait_for_idle_connections_and_serves_what_was_accepted() {
    let mut sidecar = demo().start();
    let mut idle: Vec<Client> = (0..20).map(|_| sidecar.client()).collect();
    for client in &mut idle[..10] {
        client.ask(get("/"));
    }
    let began = Instant::now();
    sidecar.signal("INT");
    assert_eq!(sidecar.wait_exit(), 0);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    idle.iter_mut().for_each(|client| drop(client.rest()));
}

#[test]
fn requests_that_wait_when_the_drain_begins_are_served() {
    let mut sidecar = demo().flag("--workers", "1").flag("--concurrency", "1").flag("--threads", "2").start();
    let mut clients: Vec<Client> = (0..4).map(|_| sidecar.client()).collect();
    for client in &mut clients {
        client.send(get("/slow?ms=100"));
    }
    sidecar.fence(2);
    sidecar.signal("TERM");
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
    }
    assert_eq!(sidecar.wait_exit(), 0);
}

#[test]
fn workers_that_ignore_term_are_killed_after_their_grace() {
    let script = "trap '' TERM; \"$0\" demo-worker & while :; do sleep 0.05; done";
    let mut sidecar = Setup::run(["sh", "-c", script, BINARY]).set("workers.grace", "200ms").start();
    let workers: Vec<u32> = sidecar.children().into_iter().map(|(pid, _)| pid).collect();
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    sidecar.stderr.wait_for("did not stop within its grace and was killed");
    for pid in workers {
        assert!(group(pid).is_empty(), "somebody of group {pid} is left");
    }
}

#[test]
fn a_grace_of_seconds_is_no_freeze_and_comes_to_its_end() {
    let script = "trap '' TERM; \"$0\" demo-worker & while :; do sleep 0.05; done";
    let setup = Setup::run(["sh", "-c", script, BINARY]).flag("--workers", "1").set("workers.grace", "3s");
    let mut sidecar = setup.start();
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    sidecar.stderr.wait_for("did not stop within its grace and was killed");
    assert!(!sidecar.stderr.all().iter().any(|line| line.contains("thawed")));
}

#[test]
fn fc29_a_second_term_leaves_at_once() {
    let mut sidecar = demo().start();
    let workers: Vec<u32> = sidecar.children().into_iter().map(|(pid, _)| pid).collect();
    let mut slow = sidecar.client();
    slow.send(get("/slow?ms=60000"));
    sidecar.fence(1);
    sidecar.signal("TERM");
    sidecar.stderr.wait_for("draining");
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 143);
    slow.rest();
    for pid in workers {
        eventually("no worker outlives its sidecar", || group(pid).is_empty().then_some(()));
    }
    assert_eq!(socket_dirs(sidecar.dir()), Vec::<String>::new());
}

#[test]
fn requests_that_outlast_the_drain_deadline_are_cut_off_and_said() {
    let mut sidecar = demo().set("drain.deadline", "200ms").start();
    let mut slow = sidecar.client();
    slow.send(get("/slow?ms=60000"));
    sidecar.fence(1);
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 75);
    sidecar.stderr.wait_for("drain.deadline is over: 1 in flight and 0 waiting were cut off");
    slow.rest();
}

#[test]
fn requests_that_still_wait_at_the_drain_deadline_are_told_that_the_instance_stops() {
    let setup = Setup::new().flag("--workers", "1").flag("--concurrency", "1").set("drain.deadline", "300ms");
    let mut sidecar = setup.with_admin().start_ready();
    let (mut slow, mut waiting) = (sidecar.client(), sidecar.client());
    let admin = sidecar.admin();
    slow.send(get("/slow?ms=60000"));
    admin.scrape_when("warmfront_requests_in_flight", 1.0);
    waiting.send(get("/waits"));
    admin.scrape_when("warmfront_queue_depth", 1.0);
    sidecar.signal("TERM");
    let answer = waiting.response();
    assert_eq!((answer.status(), answer.field("x-warmfront-reason")), (503, Some("stopping")));
    assert_eq!(sidecar.wait_exit(), 75);
    sidecar.stderr.wait_for("drain.deadline is over: 1 in flight and 1 waiting were cut off");
    slow.rest();
}

#[test]
fn a_killed_sidecar_takes_its_workers_with_it() {
    let mut sidecar = demo().start();
    let workers: Vec<u32> = sidecar.children().into_iter().map(|(pid, _)| pid).collect();
    sidecar.signal("KILL");
    assert_eq!(sidecar.wait_exit(), 137);
    for pid in workers {
        eventually("no worker outlives its sidecar", || group(pid).is_empty().then_some(()));
    }
}

/// Starts, waits for the end and returns the code and everything said on stderr.
fn failed_start(setup: Setup) -> (i32, String) {
    let mut sidecar = setup.launch();
    let code = sidecar.wait_exit();
    (code, sidecar.stderr.until_closed().join("\n"))
}

#[test]
fn fc04_a_missing_program_is_explained_before_anything_starts() {
    let (code, said) = failed_start(Setup::run(["no-such-program", "x"]));
    assert_eq!(code, 78, "{said}");
    for part in ["no-such-program", "is not there", "Looked for", "Install it"] {
        assert!(said.contains(part), "{part:?}: {said}");
    }
}

#[test]
fn fc04_a_program_that_cannot_be_executed_is_explained_and_ends_the_start() {
    for (content, parts) in [
        ("#!/bin/sh\r\nexit 0\r\n", ["CR LF", "app"]),
        ("echo no shebang\n", ["#!", "app"]),
        ("#!/no/such/interpreter\n", ["/no/such/interpreter", "app"]),
    ] {
        let setup = Setup::run(["./app"]).file("app", content);
        let file = setup.dir().join("app");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("executable");
        let (code, said) = failed_start(setup);
        assert!([69, 71, 78].contains(&code), "{code}: {said}");
        for part in parts {
            assert!(said.contains(part), "{part:?}: {said}");
        }
    }
}

#[test]
fn fc04_a_busy_port_is_explained_in_one_message() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("bound").port();
    let (code, said) = failed_start(demo().port(port));
    assert_eq!(code, 71, "{said}");
    for part in [&format!("127.0.0.1:{port}"), "Another process holds the port", "--port"] {
        assert!(said.contains(part), "{part:?}: {said}");
    }
}

#[test]
fn an_unwritable_socket_directory_is_explained() {
    let (code, said) = failed_start(demo().set("workers.socket_dir", "/proc/self"));
    assert_eq!(code, 71, "{said}");
    assert!(said.contains("/proc/self") && said.contains("workers.socket_dir"), "{said}");
}

#[test]
fn a_crash_loop_from_the_start_answers_who_waits_and_ends_with_the_last_words() {
    let script = "echo 'cannot import app' >&2; exit 3";
    let mut sidecar = Setup::run(["sh", "-c", script])
        .set("workers.backoff_min", "20ms")
        .set("workers.backoff_max", "50ms")
        .start_cold();
    let mut client = sidecar.client();
    let response = client.ask(get("/"));
    assert_eq!((response.status(), response.field("x-warmfront-reason")), (503, Some("workers-not-started")));
    assert_eq!(sidecar.wait_exit(), 69);
    let said = sidecar.stderr.until_closed().join("\n");
    assert!(said.contains("exited with code 3: cannot import app"), "{said}");
    assert!(said.contains("No worker ever became ready"), "{said}");
}

#[test]
fn a_crash_loop_after_a_good_start_does_not_end_the_process() {
    let marker = "test -e started && { echo broken >&2; exit 4; }; touch started; exec \"$0\" demo-worker";
    let sidecar = Setup::run(["sh", "-c", marker, BINARY])
        .flag("--workers", "1")
        .set("workers.backoff_min", "10ms")
        .set("workers.backoff_max", "20ms")
        .start();
    let mut client = sidecar.client();
    assert_eq!(client.ask(post("/exit", "")).status(), 502);
    sidecar.stderr.wait_for("crash loop");
    std::fs::remove_file(sidecar.dir().join("started")).expect("removed");
    assert_eq!(client.ask(get("/")).status(), 200, "held until the worker was back");
}

#[test]
fn fc29_orphans_of_workers_are_reaped() {
    // A double fork: the orphan becomes the sidecar's child, ends, and must not stay a zombie.
    let script = "(sh -c 'sleep 0.3; echo orphan ends' &) ; exec \"$0\" demo-worker";
    let sidecar = Setup::run(["sh", "-c", script, BINARY]).flag("--workers", "1").start();
    let adopted = |sidecar: &Sidecar| sidecar.children().len() > 1;
    eventually("the orphan is adopted", || {
        (adopted(&sidecar) || sidecar.stdout.all().iter().any(|line| line.contains("orphan ends")))
            .then_some(())
    });
    eventually("no zombie, only the worker", || {
        let children = sidecar.children();
        (children.len() == 1 && children.iter().all(|(_, state)| *state != 'Z')).then_some(())
    });
    assert_eq!(sidecar.client().ask(get("/")).status(), 200);
}

#[test]
fn fc29_as_the_first_process_of_a_container_it_reaps_and_drains() {
    // As root, or else as the root of a user namespace.
    let ways: [&[&str]; 2] = [&["unshare"], &["unshare", "--user", "--map-root-user"]];
    let may = |way: &&&[&str]| {
        let tried = Command::new(way[0]).args(&way[1..]).args(["--pid", "--fork", "true"]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let Some(way) = ways.iter().find(may) else {
        assert!(std::env::var_os("CI").is_none(), "CI must be able to make a PID namespace (unshare --pid)");
        eprintln!("not tested: this machine permits no PID namespace");
        return;
    };
    let mut sidecar = Setup::wrapped(&[*way, &["--pid", "--fork", "--kill-child"]].concat())
        .worker(["sh", "-c", "(sleep 0.1 &) ; exec \"$0\" demo-worker", BINARY])
        .start();
    assert_eq!(sidecar.client().ask(get("/")).status(), 200);
    let inner = sidecar.children()[0].0;
    signal(inner, "TERM");
    assert_eq!(sidecar.wait_exit(), 0);
}
