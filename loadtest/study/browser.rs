//! Pages of made studies in a real browser: wide and narrow, light and dark.
//!
//! Pictures of them are left in `target/tmp/study-*.png`, to be looked at.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::goals::Goals;
use crate::report::tests::report;
use crate::report::{html, sections};
use crate::study::made::made;
use crate::study::output::tests::{KINDS, said};

/// What a page that needs nothing may be held to.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// How many plots a page of each kind has.
const PLOTS: [usize; 4] = [8, 3, 3, 2];

/// Chromium, driven by `tests/clients/browser/browser.js`; ended on drop. It gives up by itself on what takes too long.
struct Browser {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Browser {
    fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let setup = Command::new(root.join("scripts/setup-tests")).output().expect("bash runs");
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
        let mut node = Command::new("node");
        node.arg(root.join("tests/clients/browser/browser.js"));
        let mut child = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node starts");
        let (stdin, stdout) =
            (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        let mut browser = Self { child, stdin, stdout };
        assert!(browser.hear()["browser"].is_string());
        browser
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it speaks");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"))
    }

    #[track_caller]
    fn does(&mut self, deed: &Value) -> Value {
        writeln!(self.stdin, "{deed}").expect("it listens");
        let said = self.hear();
        assert_eq!(said["failed"], Value::Null, "{said:#}");
        said
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves one page to whoever asks, for as long as the test runs; where it is.
fn served(page: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            // Who leaves early asks again.
            let _ = answer(stream.expect("a connection"), &page);
        }
    });
    url
}

fn answer(mut stream: TcpStream, page: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte)? > 0 {
        head.push(byte[0]);
    }
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Security-Policy: {POLICY}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    )
}

/// Where pictures are left.
fn pictures() -> PathBuf {
    let own = std::env::current_exe().expect("its own path");
    let dir = own.ancestors().nth(3).expect("target/debug/deps").join("tmp");
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

/// The page of the other kind of report, which has the same style.
fn of_peers() -> String {
    let mut all = report(&[
        ("1k", &[("wf", &[5.0, 6.0, 7.0]), ("nginx", &[10.0, 10.0, 11.0]), ("relay", &[4.0, 4.1, 4.2])]),
        ("post4k", &[("wf", &[9.0, 9.5, 9.9]), ("nginx", &[14.0, 15.0, 15.0])]),
        ("n1", &[("wf", &[8.0]), ("nginx", &[11.0])]),
        ("n2000", &[("wf", &[6.0]), ("nginx", &[12.0])]),
    ]);
    for (place, connections) in [(2, 1), (3, 2000)] {
        all.cells[place].curve = Some(("1 thread".into(), connections));
    }
    let goals = Goals::ours().expect("the goals can be read");
    html::page(&all, &sections::tables(&all, &goals, None), &goals.judge(&all))
}

#[test]
fn every_page_can_be_read_at_every_width_in_every_scheme_and_asks_nobody() {
    let mut browser = Browser::start();
    let mut complaints = Vec::new();
    let mut pages: Vec<(&str, usize, String)> = Vec::new();
    for (kind, plots) in KINDS.iter().zip(PLOTS) {
        let [_, _, page] = said(&made(kind));
        std::fs::write(pictures().join(format!("study-{kind}.json")), made(kind).to_json()).expect("written");
        pages.push((kind, plots, page));
    }
    pages.push(("peers", 5, of_peers()));
    for (kind, plots, page) in pages {
        std::fs::write(pictures().join(format!("study-{kind}.html")), &page).expect("written");
        let url = served(page);
        for (width, scheme) in [(390, "light"), (390, "dark"), (1200, "light"), (1200, "dark")] {
            let window = json!({ "do": "open", "url": url, "width": width, "height": 900, "scheme": scheme });
            assert_eq!(browser.does(&window)["status"], 200);
            let path = pictures().join(format!("study-{kind}-{width}-{scheme}.png"));
            browser.does(&json!({ "do": "shot", "path": path }));
            let audit =
                browser.does(&json!({ "do": "audit", "roles": ["table", "image", "region", "heading"] }));
            let drawings = browser.does(&json!({ "do": "drawings" }));
            assert_eq!(drawings["count"], plots, "{kind} at {width}");
            for complaint in
                [audit, drawings].iter().flat_map(|said| said["complaints"].as_array().expect("a list"))
            {
                complaints.push(format!("{kind} at {width}, {scheme}: {complaint}"));
            }
            let faults = browser.does(&json!({ "do": "faults" }));
            assert_eq!((&faults["said"], &faults["asked"]), (&json!([]), &json!(["/"])), "{faults:#}");
        }
        // By keys alone: each table moves in its frame, each configuration opens.
        let stops = browser.does(&json!({ "do": "walk" }))["stops"].as_array().expect("a list").clone();
        let names: Vec<&str> = stops.iter().filter_map(|stop| stop["name"].as_str()).collect();
        for wanted in ["NOT MEASURED", "Machine", "direct"].iter().filter(|_| kind != "peers") {
            assert!(names.contains(wanted), "{kind}: no way to {wanted} among {names:?}");
        }
        assert!(stops.iter().all(|stop| stop["isShown"] == true), "{kind}: {stops:?}");
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
