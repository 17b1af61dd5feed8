//! Credentials go to workers and nowhere else.

use super::{hook, run_node, under};
use crate::support::{get, post};

const SECRETS: [&str; 5] = ["AKID-7f3a", "AKSECRET-91bc", "STSTOKEN-55de", "COOKIE-0d1e", "BEARER-a77c"];

/// A request with the platform's credentials and a caller's.
fn with_secrets(request: &str) -> String {
    let fields = format!(
        "X-Fc-Access-Key-Id: {}\r\nX-Fc-Access-Key-Secret: {}\r\nX-Fc-Security-Token: {}\r\nCookie: s={}\r\nAuthorization: \
         Bearer {}\r\n",
        SECRETS[0], SECRETS[1], SECRETS[2], SECRETS[3], SECRETS[4]
    );
    request.replacen("\r\n", &format!("\r\n{fields}"), 1)
}

#[test]
fn credentials_never_appear_in_anything_that_the_process_wrote_or_answered_itself() {
    let mut sidecar = run_node(
        "const server = http.createServer((q, s) => {\n\
           if (q.url === '/die') process.exit(7);\n\
           if (q.url === '/bad') { s.socket.write('nonsense\\r\\n\\r\\n'); return; }\n\
           if (q.url === '/large') { s.setHeader('x-large', 'l'.repeat(9000)); }\n\
           s.end(String(q.headers['x-fc-access-key-secret']));\n\
         });",
    )
    .variable("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ENVSECRET-3c3c")
    .set("log.markers", "on")
    .set("hooks.initialize", "fanout")
    .set("limits.head_bytes", "16KiB")
    .start_ready();
    let mut client = sidecar.client();
    // A worker needs them.
    assert_eq!(client.ask(with_secrets(&get("/served"))).text(), SECRETS[1]);
    let mut answers = Vec::new();
    for request in [
        get("/die"),
        get("/bad"),
        hook("/initialize"),
        hook("/pre-freeze"),
        under("/invoke", "POST", "/die", "event"),
        get("/_warmfront/health"),
        get("/large"),
        "TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n".to_owned(),
        post("/x", "body").replace("Content-Length", "Content-Length: 3\r\nContent-Length"),
    ] {
        let answer = sidecar.client().ask(with_secrets(&request));
        answers.push(answer.head);
        // What /large answers is the worker's own word.
        if !request.contains("/large") {
            answers.push(String::from_utf8_lossy(&answer.body).into_owned());
        }
    }
    let long = with_secrets(&format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(17_000)));
    answers.push(sidecar.client().ask(long).head);
    sidecar.signal("USR1");
    sidecar.stderr.wait_for("counted so far");
    sidecar.signal("TERM");
    sidecar.wait_exit();
    let said = [sidecar.stdout.until_closed(), sidecar.stderr.until_closed(), answers].concat().join("\n");
    for secret in SECRETS.iter().chain(["ENVSECRET-3c3c"].iter()) {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}
