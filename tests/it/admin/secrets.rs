//! What is told nobody, whoever asks for what and however.

use serde_json::Value;

use crate::support::admin::Admin;
use crate::support::wire::field;
use crate::support::{Setup, eventually, get};

const TOKEN: &str = "admin-token-of-the-owner";

/// What the platform hands to functions with each request, and what must be told nobody.
const CREDENTIALS: [(&str, &str); 3] = [
    ("x-fc-access-key-id", "LTAI-an-access-key-id"),
    ("x-fc-access-key-secret", "an-access-key-secret"),
    ("X-Fc-Security-Token", "CAIS-a-security-token"),
];

/// `request` as the platform sends it, with the credentials of the function's role.
fn with_credentials(request: &str) -> String {
    let lines: String = CREDENTIALS.iter().map(|(name, value)| format!("\r\n{name}: {value}")).collect();
    request.replacen("\r\n\r\n", &format!("{lines}\r\n\r\n"), 1)
}

#[track_caller]
fn is_clean(what: &str, text: &str) {
    for secret in CREDENTIALS.map(|(_, value)| value).into_iter().chain([TOKEN]) {
        assert!(!text.contains(secret), "{what} tells {secret}: {text}");
    }
}

/// All that is said to a request with these lines in its head.
fn said(admin: &Admin, method: &str, path: &str, lines: &str) -> String {
    let mut wire = admin.connect();
    wire.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"));
    let head = wire.head();
    if method == "HEAD" {
        return head;
    }
    // What never ends says everything in its first event.
    let body = match field(&head, "content-type") {
        Some("text/event-stream") => wire.chunk(),
        _ => wire.body_of(&head).0,
    };
    format!("{head}{}", String::from_utf8(body).expect("text"))
}

#[test]
fn credentials_of_the_platform_and_the_token_are_in_no_answer_and_no_line() {
    let mut sidecar = Setup::new()
        .with_admin_port()
        .flag("--workers", "1")
        .flag("--concurrency", "1")
        .flag("--access-log", "json")
        .set("admin.token", TOKEN)
        .set("queue.depth", "1")
        .start_ready();
    let admin = sidecar.admin();
    // One of each kind: served, refused by its head, asked of the platform, one in flight, one in line, one shed.
    let served = sidecar.client().ask(with_credentials(&get("/headers")));
    assert!(CREDENTIALS.iter().all(|(_, value)| served.text().contains(value)), "the worker gets them");
    assert_eq!(sidecar.client().ask(with_credentials("GET / HTTP/1.1\r\n\r\n")).status(), 400);
    let initialize = with_credentials(&get("/initialize")).replacen("GET", "POST", 1);
    assert_eq!(sidecar.client().ask(initialize).status(), 200);
    let mut held = sidecar.client();
    held.send(with_credentials(&get("/slow?ms=60000")));
    admin.scrape_when("warmfront_requests_in_flight", 1.0);
    let mut waiting = sidecar.client();
    waiting.send(with_credentials(&get("/waits")));
    admin.scrape_when("warmfront_queue_depth", 1.0);
    assert_eq!(sidecar.client().ask(with_credentials(&get("/shed"))).status(), 503);

    let lost = admin.ask("GET", "/nowhere");
    let lost: Value = serde_json::from_slice(&lost.body).expect("JSON");
    let paths = lost["paths"].as_array().expect("a list").iter().map(|path| path.as_str().expect("text"));
    // The end comes at the end.
    let paths: Vec<&str> = paths.filter(|&path| path != "/drain").chain(["/nowhere"]).collect();
    assert!(
        ["/metrics", "/requests", "/workers", "/config", "/now", "/events"]
            .iter()
            .all(|path| paths.contains(path))
    );
    let bears = format!("Authorization: Bearer {TOKEN}\r\n");
    let nearly = format!("Authorization: Bearer {TOKEN}!\r\n");
    let wrongly = format!("Authorization: Basic {TOKEN}\r\nCookie: token={TOKEN}\r\n");
    for path in paths {
        let path = path.replace("{id}", "9");
        for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS"] {
            for lines in ["", bears.as_str(), nearly.as_str(), wrongly.as_str()] {
                is_clean(&format!("{method} {path}"), &said(&admin, method, &path, lines));
            }
        }
    }
    // A head that is none is answered by another package.
    let broken = admin.raw(&format!("GET /config HTTP/1.1\r\nHost: localhost\r\nBad Name: {TOKEN}\r\n\r\n"));
    assert_eq!(broken.status(), 400);
    is_clean("a broken head", &format!("{}{}", broken.head, broken.text()));
    drop((held, waiting));
    eventually("nobody", || (admin.json("/requests")["count"] == 0).then_some(()));
    assert_eq!(admin.ask_with("POST", "/drain", &bears).status(), 202);
    assert_eq!(sidecar.wait_exit(), 0);
    for line in sidecar.stderr.all().iter().chain(&sidecar.stdout.all()) {
        is_clean("the log", line);
    }
}
