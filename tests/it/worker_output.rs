//! What workers write to stdout and stderr, as it leaves the sidecar.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::{Client, Setup, Sidecar, eventually};

/// A Node server that does with each request what its path says.
const NODE: &str = r#"
const http = require('http');
const fs = require('fs');
// Before anybody can ask. Not by console.log: that makes the pipe non-blocking.
fs.writeSync(1, 'nobody asked\n');
const held = [];
http.createServer((request, response) => {
  const id = request.headers['x-fc-request-id'];
  const url = new URL(request.url, 'http://a');
  const [, what] = url.pathname.split('/');
  if (what === 'log') {
    console.log(`out of ${id}`);
    console.error(`err of ${id}`);
  } else if (what === 'hold') {
    console.log(`holds ${id}`);
    held.push(response);
    return;
  } else if (what === 'release') {
    console.log(`releases ${held.length}`);
    held.splice(0).forEach(response => response.end());
  } else if (what === 'stack') {
    console.error(new TypeError('boom').stack);
  } else if (what === 'long') {
    console.log('x'.repeat(1 << 20) + 'end of it');
  } else if (what === 'flood') {
    const line = 'y'.repeat(999) + '\n';
    // Blocks until the pipe has taken it; process.stdout may keep it for later.
    for (let n = 0; n < 50; n++) fs.writeSync(1, line.repeat(1000));
  }
  response.end('done');
}).listen(process.env.PORT);
"#;

fn node() -> Setup {
    Setup::run(["node", "server.js"])
        .file("server.js", NODE)
        .flag("--workers", "1")
        .flag("--access-log", "off")
}

fn request(what: &str, id: &str) -> String {
    format!("GET /{what} HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {id}\r\n\r\n")
}

fn ask(client: &mut Client, what: &str, id: &str) {
    assert_eq!(client.ask(request(what, id)).status(), 200);
}

/// A line without its date.
fn undated(line: &str) -> &str {
    let (date, rest) = line.split_once(' ').unwrap_or_else(|| panic!("no date: {line:?}"));
    assert!(is_date(date), "{line:?}");
    rest
}

fn is_date(word: &str) -> bool {
    let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000Z"
}

/// The entries of a log: what the platform makes of its lines.
fn entries(lines: &[String]) -> Vec<String> {
    let mut entries: Vec<String> = Vec::new();
    for line in lines {
        match entries.last_mut() {
            Some(entry) if !line.split(' ').next().is_some_and(is_date) => {
                entry.push('\n');
                entry.push_str(line);
            }
            _ => entries.push(line.clone()),
        }
    }
    entries
}

#[test]
fn fc36_a_workers_line_carries_the_id_of_the_only_request_in_flight() {
    let sidecar = node().start();
    let mut client = sidecar.client();
    ask(&mut client, "log", "1-one");
    assert_eq!(undated(&sidecar.stdout.wait_for("out of")), "1-one [w1] out of 1-one");
    assert_eq!(undated(&sidecar.stderr.wait_for("err of")), "1-one [w1] err of 1-one");
    assert_eq!(undated(&sidecar.stdout.wait_for("nobody asked")), "[w1] nobody asked");
}

#[test]
fn fc36_with_two_requests_in_flight_both_are_named_and_none_is_guessed() {
    let sidecar = node().flag("--concurrency", "10").start();
    let mut clients: Vec<Client> = (0..6).map(|_| sidecar.client()).collect();
    let mut names = String::new();
    for (number, client) in (1..).zip(&mut clients[..5]) {
        client.send(request("hold", &format!("1-{number}")));
        names += &format!("{}1-{number}", if number == 1 { "" } else { "|" });
        let line = sidecar.stdout.wait_for(&format!("holds 1-{number}"));
        let shown = if number <= 4 { names.clone() } else { "1-1|1-2|1-3|1-4|+1".to_owned() };
        assert_eq!(undated(&line), format!("{shown} [w1] holds 1-{number}"));
    }
    ask(&mut clients[5], "release", "1-6");
    let line = sidecar.stdout.wait_for("releases 5");
    assert_eq!(undated(&line), "1-1|1-2|1-3|1-4|+2 [w1] releases 5");
    clients[..5].iter_mut().for_each(|client| drop(client.response()));
}

#[test]
fn fc36_back_to_back_requests_each_get_exactly_their_own_lines() {
    let sidecar = node().start();
    let mut client = sidecar.client();
    // Sent at once: each begins the moment the one before has ended.
    let ids: Vec<String> = (0..200).map(|number| format!("1-{number:03}.")).collect();
    client.send(ids.iter().map(|id| request("log", id)).collect::<String>());
    for _ in &ids {
        assert_eq!(client.response().status(), 200);
    }
    for (lines, what) in [(&sidecar.stdout, "out"), (&sidecar.stderr, "err")] {
        let lines = lines.wait_for_count(&format!(" {what} of "), ids.len());
        for (line, id) in lines.iter().zip(&ids) {
            assert_eq!(undated(line), format!("{id} [w1] {what} of {id}"));
        }
    }
}

#[test]
fn without_stamps_a_line_has_its_date_and_its_worker_only() {
    let sidecar = node().set("log.stamp", "false").start();
    ask(&mut sidecar.client(), "log", "1-one");
    assert_eq!(undated(&sidecar.stdout.wait_for("out of")), "[w1] out of 1-one");
}

/// What a script writes to stderr, as entries; the last one holds `last`.
fn script(program: &str, text: &str, last: &str) -> Vec<String> {
    let sidecar = Setup::run([program, "script"]).file("script", text).flag("--workers", "1").start_cold();
    // As an entry of its own: what we say of an exit quotes the last words, and may be earlier.
    sidecar.stderr.wait_for(&format!("[w1] {last}"));
    let entries = entries(&sidecar.stderr.all());
    entries.into_iter().filter(|entry| undated(entry).starts_with("[w1] ")).collect()
}

#[test]
fn a_python_traceback_is_one_entry() {
    let text = "import sys, time\n\
                def inner():\n    raise KeyError('inner')\n\
                def outer():\n    try:\n        inner()\n    except KeyError as error:\n        \
                raise ValueError('outer') from error\n\
                print('before', file=sys.stderr)\n\
                try:\n    outer()\n\
                except ValueError:\n    import traceback; traceback.print_exc()\n\
                print('after', file=sys.stderr, flush=True)\ntime.sleep(600)\n";
    let entries = script("python3", text, "after");
    assert_eq!(entries.len(), 3, "{entries:#?}");
    assert!(undated(&entries[1]).starts_with("[w1] Traceback (most recent call last):\n"));
    assert_eq!(entries[1].matches("Traceback").count(), 2, "the cause and what it caused");
    assert!(entries[1].ends_with("\n ValueError: outer"), "{}", entries[1]);
}

#[test]
fn a_node_stack_is_one_entry() {
    let sidecar = node().start();
    let mut client = sidecar.client();
    ask(&mut client, "stack", "1-one");
    ask(&mut client, "log", "1-two");
    sidecar.stderr.wait_for("err of 1-two");
    let entries = entries(&sidecar.stderr.all());
    let stack = entries.iter().find(|entry| entry.contains("boom")).expect("the stack");
    assert!(undated(stack).starts_with("1-one [w1] TypeError: boom\n    at "), "{stack}");
    assert!(stack.lines().count() > 3, "{stack}");
    assert!(!stack.contains("err of"), "{stack}");
}

#[test]
fn an_error_that_ends_node_loses_no_line() {
    let text = "console.error('before');\nfunction fail() {\n  throw Object.assign(new Error('boom'), { code: 7 });\n}\nfail();\n";
    let entries = script("node", text, "Node.js v");
    let thrown = entries.iter().find(|entry| entry.contains("boom"));
    let thrown = thrown.unwrap_or_else(|| panic!("no error in {entries:#?}"));
    for part in ["[w1] /", "  throw Object.assign", "  ^", "Error: boom", "    at fail (", "  code: 7", "}"] {
        assert!(thrown.contains(part), "{part:?}: {thrown}");
    }
}

#[test]
fn a_java_trace_with_its_causes_is_one_entry() {
    let text = "cat >&2 <<'END'\nException in thread \"main\" java.lang.IllegalStateException: outer\n\tat \
                A.main(A.java:2)\nCaused by: java.io.IOException: inner\n\tat A.b(A.java:3)\n\t... 1 more\nafter\nEND\n\
                exec sleep 600\n";
    let entries = script("sh", text, "after");
    assert_eq!(entries.len(), 2, "{entries:#?}");
    assert!(
        entries[0].ends_with("\n Caused by: java.io.IOException: inner\n\tat A.b(A.java:3)\n\t... 1 more")
    );
}

#[test]
fn a_line_of_a_megabyte_arrives_whole_in_marked_pieces() {
    let sidecar = node().start();
    ask(&mut sidecar.client(), "long", "1-one");
    sidecar.stdout.wait_for("end of it");
    let lines = sidecar.stdout.all();
    let mut whole = String::new();
    for line in &lines {
        assert!(line.len() < 32 << 10, "{} bytes", line.len());
        let Some(text) = undated(line).strip_prefix("1-one [w1] ") else { continue };
        whole.push_str(text.trim_matches('…'));
    }
    assert_eq!(whole, "x".repeat(1 << 20) + "end of it");
}

#[test]
fn fc36_a_worker_answers_promptly_while_nobody_reads_what_it_writes() {
    // The sidecar, in the shell's place, writes into a pipe that nobody reads until told to.
    let script = "mkfifo go out; { read line <go; cat; } <out & exec \"$@\" >out";
    let sidecar = Setup::wrapped(&["sh", "-c", script, "sh"])
        .worker(["node", "server.js"])
        .file("server.js", NODE)
        .flag("--workers", "1")
        .flag("--access-log", "off")
        .start();
    let mut client = sidecar.client();
    let began = Instant::now();
    ask(&mut client, "flood", "1-flood");
    for number in 0..20 {
        ask(&mut client, "log", &format!("1-{number}"));
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    assert_eq!(sidecar.stdout.all(), [""; 0], "nobody reads");
    std::fs::write(sidecar.dir().join("go"), "go\n").expect("told");
    sidecar.stdout.wait_for("out of 1-19");
    let lines = sidecar.stdout.all();
    let lost = |line: &String| {
        let (_, rest) = line.split_once(" (")?;
        rest.strip_suffix(" lines were lost: nobody read our output)")?.parse::<usize>().ok()
    };
    let mut count = BTreeMap::from([("lost", 0), ("whole", 0)]);
    for line in &lines {
        match lost(line) {
            Some(lines) => *count.entry("lost").or_default() += lines,
            None if line.ends_with(&"y".repeat(999)) => *count.entry("whole").or_default() += 1,
            None => assert!(line.contains("out of 1-") || line.ends_with("nobody asked"), "{line}"),
        }
        undated(line);
    }
    assert!(count["lost"] > 40_000, "{count:?}");
    assert_eq!(count["lost"] + count["whole"], 50_000, "every line was passed on or counted");
}

#[test]
fn what_a_worker_said_last_is_there_when_the_process_has_ended() {
    let mut sidecar: Sidecar = node().start();
    ask(&mut sidecar.client(), "log", "1-one");
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    let lines = sidecar.stdout.until_closed();
    eventually("its line", || lines.iter().any(|line| line.ends_with("out of 1-one")).then_some(()));
}
