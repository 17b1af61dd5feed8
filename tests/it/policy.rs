//! What of a request workers do not get: nothing by default, and exactly what `[headers]` names.

use http::HeaderValue;

use crate::support::h2::{Http2, request};
use crate::support::{ID, Setup, Sidecar, Worker, ok};

const CREDENTIALS: &str =
    "X-Fc-Access-Key-Id: id\r\nX-Fc-Access-Key-Secret: secret\r\nX-Fc-Security-Token: token\r\n";

/// A sidecar that has been told `keys`, and its worker.
fn told(keys: &[&str]) -> (Sidecar, Worker) {
    let worker = Worker::listen();
    let setup = keys.iter().fold(Setup::forward(&[worker.path()]), |setup, key| setup.set(key, "true"));
    (setup.start(), worker)
}

/// What the worker gets of each of `requests`, one after the other on one connection.
fn arrives(keys: &[&str], requests: &[String]) -> Vec<String> {
    let (sidecar, worker) = told(keys);
    let (mut client, mut connection) = (sidecar.client(), None);
    let pass = |request: &String| {
        client.send(request);
        let connection = connection.get_or_insert_with(|| worker.accept());
        let received = connection.request();
        connection.send(ok("fine"));
        assert_eq!(client.response().text(), "fine");
        received.head + std::str::from_utf8(&received.body).expect("text")
    };
    requests.iter().map(pass).collect()
}

fn with(target: &str, fields: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\n{fields}x-fc-request-id: {ID}\r\nContent-Length: 4\r\n\r\nbody"
    )
}

#[test]
fn fc33_credentials_do_not_reach_workers_when_told_so() {
    let before = format!(
        "{CREDENTIALS}A: b\r\nconnection: x-own\r\nx-fc-security-TOKEN:\r\nX-Own: c\r\nX-FC-ACCESS-KEY-ID: again\r\n\
         X-Forwarded-Proto: http,http\r\nX-Fc-Account-Id: 1\r\n"
    );
    let after = "A: b\r\nX-Forwarded-Proto: http,http\r\nX-Fc-Account-Id: 1\r\n";
    let target = "/2016-08-15/proxy/svc/fn/rest";
    let received = arrives(&["headers.strip_credentials"], &[with(target, &before), with("/", "")]);
    assert_eq!(received, [with(target, after), with("/", "")]);
}

#[test]
fn fc33_the_first_forwarded_proto_is_kept_when_told_so() {
    let requests = ["http,http", "https , http", "https", ""].map(|value| {
        with(
            "/",
            &format!("{CREDENTIALS}X-Forwarded-Proto: {value}\r\nA: b,c\r\nx-forwarded-proto:{value}\r\n"),
        )
    });
    let expected = ["http", "https", "https", ""].map(|value| {
        with(
            "/",
            &format!("{CREDENTIALS}X-Forwarded-Proto: {value}\r\nA: b,c\r\nx-forwarded-proto:{value}\r\n"),
        )
    });
    assert_eq!(arrives(&["headers.first_forwarded_proto"], &requests), expected);
}

#[test]
fn fc33_the_legacy_proxy_prefix_goes_when_told_so() {
    let (before, after): (Vec<String>, Vec<String>) = [
        ("/2016-08-15/proxy/svc/fn", "/"),
        ("/2016-08-15/proxy/svc/fn/", "/"),
        ("/2016-08-15/proxy/svc/fn?q", "/?q"),
        ("/2016-08-15/proxy/svc.LATEST/fn/a%2Fb/c?q=/d", "/a%2Fb/c?q=/d"),
        ("http://a/2016-08-15/proxy/svc/fn/rest", "/rest"),
        ("/2016-08-15/proxy/svc", "/2016-08-15/proxy/svc"),
        ("/2016-08-15/proxy//fn/rest", "/2016-08-15/proxy//fn/rest"),
        ("/rest/2016-08-15/proxy/svc/fn", "/rest/2016-08-15/proxy/svc/fn"),
    ]
    .map(|(before, after)| (with(before, CREDENTIALS), with(after, CREDENTIALS)))
    .into_iter()
    .unzip();
    assert_eq!(arrives(&["headers.strip_proxy_prefix"], &before), after);
}

#[test]
fn fc33_by_default_every_header_passes_unchanged() {
    let fields =
        format!("{CREDENTIALS}X-Forwarded-Proto: http,http\r\nX-Fc-Base-Path: /2016-08-15/proxy/svc/fn\r\n");
    let request = with("/2016-08-15/proxy/svc/fn/rest", &fields);
    assert_eq!(arrives(&[], std::slice::from_ref(&request)), [request]);
}

#[test]
fn fc33_what_workers_do_not_get_they_do_not_get_from_http2_clients_either() {
    let (sidecar, worker) =
        told(&["headers.strip_credentials", "headers.first_forwarded_proto", "headers.strip_proxy_prefix"]);
    let mut client = Http2::connect(sidecar.port);
    let mut head = request("GET", "/2016-08-15/proxy/svc/fn?q");
    for (name, value) in [("x-fc-security-token", "t"), ("x-forwarded-proto", "https,http"), ("a", "b")] {
        head.headers_mut().append(name, HeaderValue::from_static(value));
    }
    let mut stream = client.open(head, true);
    let mut connection = worker.accept();
    assert_eq!(
        connection.request().head,
        format!(
            "GET /?q HTTP/1.1\r\nhost: a\r\nx-fc-request-id: {ID}\r\nx-forwarded-proto: https\r\na: b\r\n\r\n"
        )
    );
    connection.send(ok("fine"));
    assert_eq!(client.answer(&mut stream).text(), "fine");
}
