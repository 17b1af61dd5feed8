//! `warmfront status` and `warmfront top`: an instance watched from another terminal.

use std::io::{Read, Write as _};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Setup, Sidecar, Worker, eventually, get, ok};

const PROGRAM: &str = env!("CARGO_BIN_EXE_warmfront");
const TOKEN: &str = "a-token-of-20-bytes.";

/// Runs `warmfront` with these words to its end.
fn warmfront(words: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.env_clear().args(words).current_dir("/").stdin(Stdio::null());
    command.output().expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// Where the admin of `sidecar` is, as `--admin` takes it.
fn place(sidecar: &Sidecar) -> String {
    let line = sidecar.stderr.wait_for("the admin listens on ");
    line.split("listens on ").nth(1).expect("a place").trim_start_matches("unix:").to_owned()
}

#[test]
fn status_tells_in_text_and_in_json_how_an_instance_stands() {
    let sidecar = Setup::new().flag("--workers", "2").flag("--concurrency", "4").with_admin().start_ready();
    let place = place(&sidecar);
    assert_eq!(sidecar.client().ask(get("/a")).status(), 200);
    let mut slow = sidecar.client();
    slow.send("GET /slow?ms=60000 HTTP/1.1\r\nHost: a\r\nx-fc-request-id: 1-slow\r\n\r\n");
    let shown = eventually("the slow request and the ended one", || {
        let output = warmfront(&["status", "--admin", &place]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        Some(stdout(&output)).filter(|text| text.contains("1-slow") && text.contains("1 ended: 1 2xx"))
    });
    for words in [
        &format!("at {place}: ready, up ") as &str,
        "pool     2 of 2 workers ready, 1 of 8 slots taken\n",
        "queue    0 of 1,024 wait\n",
        "requests 1 ended: 1 2xx; 1 in flight\n",
        "first byte p50 ",
        "worker   1 ready, pid ",
        "flying   1-slow for ",
    ] {
        assert!(shown.contains(words), "{words:?} in\n{shown}");
    }
    let output = warmfront(&["status", "--json", "--admin", &place]);
    let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&value["ready"], &value["pool"]["slots"]), (&true.into(), &8.into()));
}

#[test]
fn status_of_one_that_is_not_ready_ends_with_69_and_says_why() {
    let sidecar = Setup::new().with_admin().start_ready();
    let place = place(&sidecar);
    assert_eq!(sidecar.admin().ask("POST", "/pause").status(), 202);
    let output = warmfront(&["status", "--admin", &place]);
    let shown = stdout(&output);
    assert_eq!(output.status.code(), Some(69), "{shown}");
    assert!(shown.contains("NOT READY (ready)") && shown.contains("because paused by the admin"), "{shown}");
}

#[test]
fn whoever_asks_from_elsewhere_needs_neither_the_workers_program_nor_their_directory() {
    let sidecar = Setup::new().with_admin().start_ready();
    let place = place(&sidecar);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("warmfront.toml");
    let text = format!(
        "[workers]\ncommand = [\"/app/not-here\"]\ncwd = \"/app/not-here\"\n[admin]\nlisten = \"{place}\"\n"
    );
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("text");
    let output = warmfront(&["status", "--config", file]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    // What is wrong with the file itself is said: something else in it may have been meant to be the place.
    std::fs::write(file, format!("[admin]\nlisten = \"{place}\"\ntokn = \"a\"\n")).expect("written");
    let output = warmfront(&["status", "--config", file]);
    assert_eq!(output.status.code(), Some(78));
    assert!(
        stderr(&output).contains("warmfront.toml:3: There is no key `admin.tokn`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn nobody_there_and_nobody_named_are_told_apart_with_what_to_do() {
    let output = warmfront(&["status", "--admin", "/no/such.sock"]);
    assert_eq!(output.status.code(), Some(71));
    let said = stderr(&output);
    assert!(said.contains("Nobody answers at /no/such.sock") && said.contains("--admin"), "{said}");
    let output = warmfront(&["status"]);
    assert_eq!(output.status.code(), Some(71));
    assert!(stderr(&output).contains("Nothing says where the admin is"), "{}", stderr(&output));
    let output = warmfront(&["status", "--admin", "example.com:80"]);
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = silent.local_addr().expect("an address").to_string();
    let output = warmfront(&["status", "--admin", &place]);
    assert!(stderr(&output).contains("has not answered for 2 s"), "{}", stderr(&output));
    // What answers is a server, and no admin.
    let worker = Worker::listen();
    let other = Setup::forward(&[worker.path()]).start();
    let place = format!("127.0.0.1:{}", other.port);
    let answering = std::thread::spawn(move || {
        let mut connection = worker.accept();
        connection.request();
        connection.send(ok("hello"));
    });
    let output = warmfront(&["status", "--admin", &place]);
    answering.join().expect("answered");
    assert!(stderr(&output).contains("is no admin of this version: it is no JSON"), "{}", stderr(&output));
}

#[test]
fn a_token_is_borne_where_the_instance_asks_for_it_and_never_shown() {
    let setup = Setup::new().with_admin_port().set("admin.token", TOKEN);
    let sidecar = setup.start_ready();
    let place = place(&sidecar);
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("WARMFRONT_ADMIN_TOKEN", TOKEN).args(["status", "--admin", &place]);
    let output = command.current_dir("/").output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(!stdout(&output).contains(TOKEN) && !stderr(&output).contains(TOKEN));
}

#[test]
fn top_shows_an_instance_in_a_real_terminal_until_q() {
    let sidecar = Setup::new().flag("--workers", "2").with_admin().start_ready();
    let place = place(&sidecar);
    let mut slow = sidecar.client();
    slow.send("GET /slow?ms=60000 HTTP/1.1\r\nHost: a\r\nx-fc-request-id: 1-slow\r\n\r\n");
    let line = format!("stty rows 40 cols 120; exec {PROGRAM} top -n 100ms --admin {place}");
    let mut terminal = Command::new("timeout")
        .args([
            "60",
            "python3",
            "-c",
            "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)",
            "sh",
            "-c",
            &line,
        ])
        .env("TERM", "xterm-256color")
        .env_remove("WARMFRONT_TEST_ENGINE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python and its pty module");
    let mut out = terminal.stdout.take().expect("piped");
    // Only cells that change are drawn: single words are whole, where nothing was before.
    let mut until = {
        let mut seen = String::new();
        move |word: &str| {
            let mut buffer = [0; 4096];
            while !seen.contains(word) {
                let length = out.read(&mut buffer).expect("the terminal");
                assert_ne!(length, 0, "no {word:?} in {:?}", &seen[..seen.len().min(9000)]);
                seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        }
    };
    for word in ["warmfront", "taken", "queue:", "thawed", "1-slow", "quit"] {
        until(word);
    }
    let mut keys = terminal.stdin.take().expect("piped");
    keys.write_all(b" ").expect("a key");
    until("HELD");
    keys.write_all(b"q").expect("a key");
    assert_eq!(terminal.wait().expect("it ends").code(), Some(0));
}

#[test]
fn top_without_a_terminal_says_what_to_use_instead() {
    let sidecar = Setup::new().with_admin().start_ready();
    let output = warmfront(&["top", "--admin", &place(&sidecar)]);
    assert_eq!(output.status.code(), Some(71));
    assert!(stderr(&output).contains("needs a terminal") && stderr(&output).contains("warmfront status"));
}
