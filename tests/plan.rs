//! `warmfront plan`, on the built binary: from flags, and from an instance that has served real requests.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_warmfront");

fn warmfront(words: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(words).env_clear().current_dir("/").stdin(Stdio::null());
    command.output().expect("the binary starts")
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_plan_from_flags_names_the_limit_that_decides() {
    let words =
        ["plan", "--rate", "40", "--service", "120ms", "--worker-memory", "180MiB", "--memory", "512MiB"];
    let said = stdout(&warmfront(&words));
    assert!(said.contains("memory holds 2 workers in each"), "{said}");
    let cpu = [&words[..5], &["--cpu", "100ms", "--concurrency", "10"]].concat();
    let said = stdout(&warmfront(&cpu));
    assert!(said.starts_with("plan     5 instances × 1 worker × 10 requests at once"), "{said}");
    assert!(said.contains("80 % is the limit"), "{said}");
}

#[test]
fn what_cannot_be_is_69_and_says_what_to_change() {
    let words = ["plan", "--rate", "4", "--service", "1s", "--worker-memory", "2GiB", "--memory", "1GiB"];
    for (words, fix) in [(&words[..], "--memory"), (&["plan"], "--rate"), (&words[..3], "--service")] {
        let output = warmfront(words);
        assert_eq!(output.status.code(), Some(69), "{words:?}");
        assert!(stderr(&output).contains(fix), "{}", stderr(&output));
    }
    assert_eq!(warmfront(&["plan", "--service", "120"]).status.code(), Some(64));
}

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_plan_from_an_instance_knows_what_it_has_served() {
    let dir = tempfile::tempdir().expect("a directory");
    let admin = dir.path().join("admin.sock").to_string_lossy().into_owned();
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--port", "0", "--workers", "2", "--concurrency", "3", "--admin", &admin]);
    command.env_clear().current_dir("/").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().expect("the binary starts"));
    let mut lines = BufReader::new(running.0.stderr.take().expect("piped")).lines().map_while(Result::ok);
    let port = lines
        .find_map(|line| line.split("listens on 0.0.0.0:").nth(1)?.split(';').next()?.parse::<u16>().ok());
    let port = port.expect("the port");
    assert!(lines.any(|line| line.contains("workers are warm")));
    let before = warmfront(&["plan", "--from", &admin]);
    assert!(stderr(&before).contains("has answered no request yet"), "{}", stderr(&before));
    for _ in 0..20 {
        let mut client = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
        let request = "GET /slow?ms=30 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        client.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // What is counted is told behind the last byte of an answer.
    let plan = loop {
        let said = stdout(&warmfront(&["plan", "--json", "--from", &admin, "--rate", "500"]));
        let plan: Value = serde_json::from_str(&said).expect("JSON");
        if plan["measured_from"]["requests"] == 20 {
            break plan;
        }
    };
    let fact = |name: &str| (plan["facts"][name]["value"].as_f64(), plan["facts"][name]["origin"].clone());
    let (service, origin) = fact("service_ms");
    assert!(service >= Some(30.0) && service < Some(3000.0) && origin == "measured", "{plan}");
    assert_eq!(fact("concurrency"), (Some(3.0), "measured".into()));
    assert_eq!(fact("rate"), (Some(500.0), "given".into()));
    assert!(fact("worker_bytes").0 > Some(500_000.0), "{plan}");
    // 500 a second × 30 ms are 15 at once.
    let slots =
        ["workers", "instances", "concurrency"].map(|name| plan["plan"][name].as_u64().expect("a number"));
    assert!(slots.iter().product::<u64>() > 15, "{plan}");
    let text = stdout(&warmfront(&["plan", "--from", &admin]));
    assert!(text.contains("measured") && text.contains("20 requests in"), "{text}");
}

#[test]
fn every_example_of_the_page_is_what_it_prints() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scaling.md");
    let page = std::fs::read_to_string(page).expect("docs/scaling.md");
    let mut examples = 0;
    for block in page.split("```console\n$ warmfront ").skip(1) {
        let (line, rest) = block.split_once('\n').expect("a command");
        let (shown, _) = rest.split_once("```").expect("an end");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(stdout(&warmfront(&words)), shown, "{line}");
        examples += 1;
    }
    assert_eq!(examples, 5);
}
