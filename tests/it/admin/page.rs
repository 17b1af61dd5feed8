//! The page for people, in a browser: what it shows, whom it asks, and who can use it.
//!
//! Pictures of it are left in `target/tmp/page-*.png`, to be looked at.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::{Value, json};

use crate::support::freeze::Freezer;
use crate::support::sidecar::signal;
use crate::support::{ID, Peer, Setup, Sidecar, eventually, get};

const TOKEN: &str = "a-token-of-20-bytes.";
/// What would do harm if it became markup; printable, so that an id may be it.
const MARKUP: &str = "<script>alert(1)</script><img/src=x/onerror=alert(2)>";

/// A Node server that has last words, keeps some requests for ever, and answers others soon.
const SERVER: &str = r"
console.error('<script>alert(1)</script><img/src=x/onerror=alert(2)>');
require('http').createServer((request, response) => {
  if (request.url === '/held') return;
  response.statusCode = request.url === '/bad' ? 500 : 200;
  setTimeout(() => response.end('done'), Math.random() ** 3 * 40);
}).listen(process.env.PORT);
";

/// A window of the only browser at a time: several would leave the machine to no other test.
struct Browser {
    peer: Peer,
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    fn start() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        Self { peer: Peer::browser(), _turn: turn }
    }

    /// Does what `deed` says (see `tests/clients/browser/browser.js`).
    #[track_caller]
    fn does(&mut self, deed: &Value) -> Value {
        let said = self.peer.ask(&deed.to_string());
        assert_eq!(said["failed"], Value::Null, "{said:#}");
        said
    }

    /// Opens the page of the admin at `place` in a new window; `more` tells what kind of window.
    #[track_caller]
    fn opens(&mut self, place: &str, more: Value) -> Value {
        let Value::Object(mut deed) = more else { panic!("{more}") };
        deed.insert("do".to_owned(), "open".into());
        deed.insert("url".to_owned(), format!("http://{place}/").into());
        let answer = self.does(&Value::Object(deed));
        assert_eq!(answer["status"], 200);
        answer
    }

    /// Waits until something at `at` has this text; all of it.
    #[track_caller]
    fn sees(&mut self, at: &str, text: &str) -> String {
        let said = self.does(&json!({ "do": "see", "at": at, "text": text }));
        said["text"].as_str().expect("a text").to_owned()
    }

    #[track_caller]
    fn presses(&mut self, key: &str) -> Value {
        self.does(&json!({ "do": "press", "key": key }))
    }

    #[track_caller]
    fn style(&mut self, of: &str, property: &str) -> Value {
        self.does(&json!({ "do": "style", "of": of, "property": property }))["value"].clone()
    }

    /// That the console said nothing, and nobody was asked but the admin for its events.
    #[track_caller]
    fn found_no_fault(&mut self) {
        let faults = self.does(&json!({ "do": "faults" }));
        assert_eq!((&faults["said"], &faults["foreign"]), (&json!([]), &json!([])), "{faults:#}");
        assert_eq!(faults["asked"], json!(["/", "/events"]));
    }

    #[track_caller]
    fn hears_no_complaint(&mut self) {
        assert_eq!(self.does(&json!({ "do": "audit" })), json!({ "complaints": [] }));
    }

    fn takes_a_picture(&mut self, name: &str) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("page-{name}.png"));
        self.does(&json!({ "do": "shot", "path": path }));
    }
}

/// Two workers with an admin that a browser can ask; where it is.
fn served() -> (Sidecar, String) {
    let sidecar = Setup::run(["node", "server.js"])
        .file("server.js", SERVER)
        .flag("--workers", "2")
        .flag("--concurrency", "4")
        .with_admin_port()
        .start();
    let place = place_of(&sidecar);
    (sidecar, place)
}

fn place_of(sidecar: &Sidecar) -> String {
    sidecar.stderr.wait_for("the admin listens on ").rsplit(' ').next().expect("a place").to_owned()
}

#[test]
fn the_page_is_for_everybody_and_says_what_a_browser_may_do_with_it() {
    let sidecar = Setup::new().with_admin_port().start_ready();
    let page = sidecar.admin().ask("GET", "/");
    assert_eq!((page.status(), page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.field("content-security-policy").expect("a policy");
    for rule in [
        "default-src 'none'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.split("; ").any(|found| found == rule), "{rule}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    assert_eq!(page.field("x-frame-options"), Some("DENY"));
    assert_eq!(page.field("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.field("x-content-type-options"), Some("nosniff"));
}

#[test]
fn a_browser_shows_a_worker_die_and_come_back_and_who_is_in_flight() {
    let (sidecar, place) = served();
    let admin = sidecar.admin();
    let mut browser = Browser::start();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // However this ends, the load does too.
        let _over = Over(&over);
        for target in ["/", "/", "/", "/bad"] {
            scope.spawn(|| {
                let mut client = sidecar.client();
                while !over.load(Ordering::Relaxed) {
                    // Those of a killed worker fail, as they should.
                    let status = client.ask(get(target)).status();
                    assert!(matches!(status, 200 | 500 | 502), "{status}");
                }
            });
        }
        browser.opens(&place, json!({}));
        browser.sees("#standing", "Ready");
        browser.sees("#link", "live");
        browser.sees("#reasons-of tr", "a worker answered 5xx");
        browser.sees("#members tr:nth-child(2)", "ready");

        let mut held = sidecar.client();
        held.send(get("/held").replace(ID, MARKUP));
        assert_eq!(browser.sees("#flights th", "<script>"), MARKUP);

        let pid = admin.json("/workers")["workers"][0]["pid"].as_u64().expect("a process");
        signal(u32::try_from(pid).expect("a process"), "KILL");
        let died = browser.sees("#log li", "Worker 1 died");
        assert!(died.contains("signal 9") && died.contains(MARKUP), "{died}");
        let after = eventually("another process", || {
            let worker = admin.json("/workers")["workers"][0].clone();
            (worker["state"] == "ready" && worker["pid"] != pid).then(|| worker["pid"].clone())
        });
        browser.sees("#log li", &format!("Worker 1 is ready, process {after}"));
        let row = browser.sees("#members tr", &format!("{after}"));
        assert!(row.contains("ready") && row.contains("signal 9") && row.contains(MARKUP), "{row}");
        browser.found_no_fault();

        for (name, window) in [
            ("light", json!({})),
            ("dark", json!({ "scheme": "dark" })),
            ("narrow", json!({ "width": 390, "height": 844 })),
        ] {
            browser.opens(&place, window);
            // Until a line of six seconds is drawn.
            browser.does(&json!({ "do": "many", "at": "#rate-spark .stroke[d^='M54 ']", "count": 1 }));
            browser.sees("#members tr:first-child", "ready");
            browser.hears_no_complaint();
            browser.takes_a_picture(name);
            browser.found_no_fault();
        }
    });
}

/// Says that it is over when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn the_page_can_be_used_without_a_mouse_in_the_dark_and_by_ear() {
    let (sidecar, place) = served();
    let mut browser = Browser::start();
    browser.opens(&place, json!({ "scheme": "dark" }));
    browser.sees("#members tr:nth-child(2)", "ready");
    let night = browser.style("body", "backgroundColor");
    browser.hears_no_complaint();

    let walk = browser.does(&json!({ "do": "walk" }));
    let stops = walk["stops"].as_array().expect("a list");
    let hidden: Vec<_> = stops.iter().filter(|stop| stop["isShown"] != true || stop["name"] == "").collect();
    assert!(hidden.is_empty(), "focus that nobody sees, or without a name: {hidden:#?}");
    let names: Vec<&str> = stops.iter().filter_map(|stop| stop["name"].as_str()).collect();
    let expected =
        ["Skip to the workers", "Hold", "Theme: system", "All", "End of answer", "Workers", "What happened"];
    let mut rest = names.iter();
    assert!(expected.iter().all(|name| rest.any(|found| found == name)), "{names:?}");

    // From the top: the link, the two buttons, the choice of starts.
    for _ in 0..2 {
        browser.presses("Tab");
    }
    browser.presses("Space");
    browser.sees("#hold[aria-pressed=true]", "Hold");
    browser.presses("Space");
    browser.sees("#hold[aria-pressed=false]", "Hold");
    browser.presses("Tab");
    browser.presses("Enter");
    browser.sees("#theme", "Theme: light");
    assert_ne!(browser.style("body", "backgroundColor"), night);
    browser.hears_no_complaint();
    browser.presses("Tab");
    assert_eq!(browser.presses("ArrowRight")["name"], "Warm");
    assert_eq!(browser.presses("ArrowRight")["name"], "Cold");
    browser.sees("#starts input:checked + span", "Cold");
    // What the chart shows is there in words.
    browser.does(&json!({ "do": "many", "at": "#heat canvas[aria-label*='cold: ']", "count": 1 }));
    drop(sidecar);
}

#[test]
fn the_page_asks_for_the_token_where_one_is_needed() {
    let (_sidecar, place) = served();
    let mut browser = Browser::start();
    browser.opens(&place, json!({ "token": TOKEN }));
    browser.sees("dialog", "admin.token");
    for (given, then) in [("wrong", "That was not"), (TOKEN, "")] {
        browser.does(&json!({ "do": "type", "text": given }));
        browser.presses("Enter");
        if !then.is_empty() {
            browser.sees("dialog", then);
        }
    }
    browser.sees("#link", "live");
    browser.does(&json!({ "do": "miss", "at": "dialog", "text": "" }));
    let faults = browser.does(&json!({ "do": "faults" }));
    assert_eq!(
        (&faults["asked"], &faults["foreign"]),
        (&json!(["/", "/events", "/events", "/events"]), &json!([]))
    );
}

#[test]
fn the_page_says_when_it_hears_nothing_shows_a_freeze_and_finds_back() {
    let (mut sidecar, place) = served();
    let mut browser = Browser::start();
    browser.opens(&place, json!({}));
    browser.sees("#link", "live");
    let freezer = Freezer::signals(&[sidecar.pid()]);
    freezer.freeze();
    browser.sees("#link", "no news for");
    freezer.thaw();
    browser.sees("#log li", "Frozen for");
    browser.sees("#link", "live");
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    browser.sees("#link", "not connected");
    browser.sees("#log li", "The connection was lost");
    let _next = Setup::new().set("admin.listen", &place).start_ready();
    browser.sees("#log li", "Connected again");
    browser.sees("#log li", "The instance was started anew");
    browser.sees("#link", "live");
}
