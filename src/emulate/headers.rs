//! Headers on their way through the gateway: what is left out, what is added (FC contract §2.2, §3.1). Pure.

// An address is a value; nobody is dialled here.
use core::net::IpAddr;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

use super::function_env::{ACCOUNT_ID, HANDLER, KEY_ID, KEY_SECRET, QUALIFIER, SECURITY_TOKEN};
use super::options::Options;

/// The platform's own load balancer, which is last in `X-Forwarded-For` (§2.2, from a real dump).
const BALANCER: &str = "100.117.33.1";
/// The prefix of the platform's headers.
const PLATFORM: &str = "x-fc-";
/// What a caller may hand down to the function all the same (§8).
const TRACING: &str = "x-fc-tracing-opentracing-span-context";

/// Never passed to the instance beside `x-fc-*`: the platform's own list, and what belongs to one connection.
/// `Expect` is answered at the gateway.
const NOT_IN: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::UPGRADE,
    header::EXPECT,
];
/// Never passed to the client beside `x-fc-*`; lengths and framing are made again.
const NOT_OUT: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::DATE,
    HeaderName::from_static("keep-alive"),
    header::SERVER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// What the platform knows about a request when it hands it on.
pub(super) struct Facts<'a> {
    /// Its id.
    pub(super) id: &'a str,
    /// What it is: `/invoke`, `/http-invoke`, or the path of a callback.
    pub(super) control_path: &'a str,
    /// Who asked; `None` for callbacks.
    pub(super) client: Option<IpAddr>,
    /// The path under which the function is reached.
    pub(super) base_path: &'a str,
    /// What a caller handed down.
    pub(super) tracing: Option<HeaderValue>,
}

/// The platform's headers, every one of them: those without a value are there too.
fn platform(options: &Options, facts: &Facts<'_>) -> Vec<(&'static str, String)> {
    let function = &options.function;
    let seconds = |period: Option<Duration>| period.map_or(String::new(), |p| p.as_secs().to_string());
    let handler = |is_there: bool| if is_there { HANDLER.to_owned() } else { String::new() };
    let client = facts.client.map_or(String::new(), |ip| ip.to_string());
    vec![
        ("x-fc-request-id", facts.id.to_owned()),
        ("x-fc-access-key-id", KEY_ID.to_owned()),
        ("x-fc-access-key-secret", KEY_SECRET.to_owned()),
        ("x-fc-security-token", SECURITY_TOKEN.to_owned()),
        ("x-fc-function-name", function.name.clone()),
        ("x-fc-function-handler", HANDLER.to_owned()),
        ("x-fc-function-memory", function.memory_mb.to_string()),
        ("x-fc-region", function.region.clone()),
        ("x-fc-account-id", ACCOUNT_ID.to_owned()),
        ("x-fc-qualifier", QUALIFIER.to_owned()),
        ("x-fc-version-id", String::new()),
        ("x-fc-service-logproject", String::new()),
        ("x-fc-service-logstore", String::new()),
        ("x-fc-control-path", facts.control_path.to_owned()),
        ("x-fc-service-name", String::new()),
        ("x-fc-function-initializer", handler(options.initializer.is_some())),
        ("x-fc-initialization-timeout", seconds(options.initializer)),
        ("x-fc-instance-lifecycle-pre-stop-handler", handler(options.pre_stop.is_some())),
        ("x-fc-instance-lifecycle-pre-freeze-handler", handler(options.pre_freeze.is_some())),
        ("x-fc-function-timeout", options.timeout.as_secs().to_string()),
        ("x-fc-retry-count", "0".to_owned()),
        ("x-fc-base-path", facts.base_path.to_owned()),
        ("x-fc-client-ip", client),
        ("x-fc-api-server-ip", String::new()),
        ("x-fc-eagleeye-traceid", String::new()),
        ("x-fc-eagleeye-rpcid", String::new()),
        ("x-fc-eagleeye-userdata", String::new()),
        ("x-fc-tracing-opentracing-span-baggages", String::new()),
        ("x-fc-tracing-jaeger-endpoint", String::new()),
    ]
}

/// What the instance gets of an HTTP request. `is_upgrade`: the client wants another protocol.
pub(super) fn of_http(
    client: &HeaderMap,
    options: &Options,
    facts: &Facts<'_>,
    is_upgrade: bool,
) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(client.len() + 40);
    for (name, value) in client {
        if !name.as_str().starts_with(PLATFORM) && !NOT_IN.contains(name) {
            fields.append(name, value.clone());
        }
    }
    if let (true, Some(protocol)) = (is_upgrade, client.get(header::UPGRADE)) {
        fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        fields.insert(header::UPGRADE, protocol.clone());
    }
    add_platform(&mut fields, options, facts);
    if let Some(ip) = facts.client {
        let before = client.get("x-forwarded-for").and_then(|value| value.to_str().ok());
        let chain = before.into_iter().map(str::to_owned).chain([ip.to_string(), BALANCER.to_owned()]);
        put(&mut fields, "x-forwarded-for", &chain.collect::<Vec<_>>().join(", "));
    }
    // A list, as from two hops: whoever takes it for one word notices here.
    put(&mut fields, "x-forwarded-proto", "http,http");
    fields
}

/// What the instance gets with an event or a callback. `host` is the address that is dialled.
pub(super) fn of_call(options: &Options, facts: &Facts<'_>, host: &str) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(40);
    put(&mut fields, "host", host);
    if facts.control_path == "/invoke" {
        put(&mut fields, "content-type", "application/octet-stream");
    }
    add_platform(&mut fields, options, facts);
    fields
}

fn add_platform(fields: &mut HeaderMap, options: &Options, facts: &Facts<'_>) {
    for (name, value) in platform(options, facts) {
        put(fields, name, &value);
    }
    let tracing = facts.tracing.clone().unwrap_or_else(|| HeaderValue::from_static(""));
    fields.insert(HeaderName::from_static(TRACING), tracing);
}

/// Says that there is no body, where Go's client says so: it leaves out a length of zero for other methods.
pub(super) fn say_no_body(fields: &mut HeaderMap, method: &str) {
    if matches!(method, "POST" | "PUT" | "PATCH") {
        put(fields, "content-length", "0");
    }
}

/// What a caller hands down for tracing.
pub(super) fn tracing_of(client: &HeaderMap) -> Option<HeaderValue> {
    client.get(TRACING).cloned()
}

/// Whether the client wants to speak another protocol on this connection.
pub(super) fn is_upgrade(client: &HeaderMap) -> bool {
    let options = client.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let mut options = options.flat_map(|value| value.split(','));
    client.contains_key(header::UPGRADE) && options.any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
}

/// What the client gets of an HTTP answer; `origin` is what the request said.
pub(super) fn of_answer(
    instance: &HeaderMap,
    id: &str,
    origin: Option<&HeaderValue>,
    is_custom_domain: bool,
) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(instance.len() + 4);
    for (name, value) in instance {
        if !name.as_str().starts_with(PLATFORM) && !NOT_OUT.contains(name) {
            fields.append(name, value.clone());
        }
    }
    if !is_custom_domain {
        fields.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    if let Some(origin) = origin.filter(|_| !fields.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)) {
        fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        fields.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    put(&mut fields, "x-fc-request-id", id);
    fields
}

/// Sets one field to what is known to be fit for it.
pub(super) fn put(fields: &mut HeaderMap, name: &'static str, value: &str) {
    // Names of functions, numbers and addresses always are; the path of a request was one a moment ago.
    let value = HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""));
    fields.insert(HeaderName::from_static(name), value);
}

#[cfg(test)]
mod tests {
    use super::super::options::{Wish, judge, tests::wish};
    use super::*;

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in pairs {
            fields.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        fields
    }

    fn facts(control_path: &'static str) -> Facts<'static> {
        Facts {
            id: "1-a",
            control_path,
            client: Some(IpAddr::from([10, 0, 0, 9])),
            base_path: "/p",
            tracing: None,
        }
    }

    fn text<'a>(fields: &'a HeaderMap, name: &str) -> Option<&'a str> {
        fields.get(name).map(|value| value.to_str().unwrap())
    }

    #[test]
    fn an_instance_gets_the_clients_headers_without_the_platforms_and_the_connections() {
        let client = fields(&[
            ("host", "a.example"),
            ("x-fc-request-id", "forged"),
            ("x-fc-custom", "forged"),
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
            ("cookie", "a"),
            ("cookie", "b"),
            ("x-forwarded-for", "9.9.9.9"),
        ]);
        let got = of_http(&client, &judge(wish()).unwrap(), &facts("/http-invoke"), false);
        assert_eq!(text(&got, "host"), Some("a.example"));
        assert_eq!(text(&got, "te"), Some("trailers"));
        assert_eq!(got.get_all("cookie").iter().count(), 2);
        assert_eq!(text(&got, "x-fc-request-id"), Some("1-a"));
        for gone in ["x-fc-custom", "connection", "keep-alive", "content-length", "expect", "upgrade"] {
            assert_eq!(text(&got, gone), None, "{gone}");
        }
        assert_eq!(text(&got, "x-forwarded-for"), Some("9.9.9.9, 10.0.0.9, 100.117.33.1"));
        assert_eq!(text(&got, "x-forwarded-proto"), Some("http,http"));
        assert_eq!(text(&got, "x-fc-client-ip"), Some("10.0.0.9"));
        assert_eq!(text(&got, "x-fc-base-path"), Some("/p"));
    }

    #[test]
    fn the_platforms_headers_are_there_even_without_a_value() {
        let options = judge(wish()).unwrap();
        for fields in [
            of_http(&HeaderMap::new(), &options, &facts("/http-invoke"), false),
            of_call(&options, &facts("/invoke"), "127.0.0.2:9000"),
        ] {
            assert_eq!(text(&fields, "x-fc-service-name"), Some(""));
            assert_eq!(text(&fields, "x-fc-function-memory"), Some("512"));
            assert_eq!(text(&fields, "x-fc-function-timeout"), Some("60"));
            assert_eq!(text(&fields, TRACING), Some(""));
            assert_eq!(fields.keys().filter(|name| name.as_str().starts_with(PLATFORM)).count(), 30);
        }
    }

    #[test]
    fn an_event_comes_as_octets_and_a_callback_without_a_type() {
        let options = judge(Wish { pre_stop: Some("3s".into()), ..wish() }).unwrap();
        let event = of_call(&options, &facts("/invoke"), "h");
        assert_eq!(text(&event, "content-type"), Some("application/octet-stream"));
        let callback = of_call(&options, &facts("/pre-stop"), "h");
        assert_eq!((text(&callback, "content-type"), text(&callback, "host")), (None, Some("h")));
        assert_eq!(text(&callback, "x-fc-instance-lifecycle-pre-stop-handler"), Some(HANDLER));
    }

    #[test]
    fn a_request_without_a_body_says_so_where_one_could_be() {
        for (method, length) in [("POST", Some("0")), ("PATCH", Some("0")), ("GET", None), ("DELETE", None)] {
            let mut fields = HeaderMap::new();
            say_no_body(&mut fields, method);
            assert_eq!(text(&fields, "content-length"), length, "{method}");
        }
    }

    #[test]
    fn an_upgrade_passes_with_its_connection_option_and_a_trace_as_it_came() {
        let client = fields(&[
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "k"),
            (TRACING, "a:b:0:1"),
        ]);
        assert!(is_upgrade(&client));
        assert!(!is_upgrade(&fields(&[("upgrade", "websocket")])));
        let facts = Facts { tracing: tracing_of(&client), ..facts("/http-invoke") };
        let got = of_http(&client, &judge(wish()).unwrap(), &facts, true);
        assert_eq!((text(&got, "connection"), text(&got, "upgrade")), (Some("Upgrade"), Some("websocket")));
        assert_eq!(text(&got, TRACING), Some("a:b:0:1"));
    }

    #[test]
    fn an_answer_loses_what_is_reserved_and_becomes_a_download_on_the_default_domain() {
        let instance = fields(&[
            ("content-type", "text/html"),
            ("x-fc-status", "404"),
            ("connection", "keep-alive"),
            ("content-length", "2"),
            ("date", "then"),
            ("keep-alive", "timeout=5"),
            ("server", "s"),
            ("set-cookie", "a"),
            ("set-cookie", "b"),
        ]);
        let origin = HeaderValue::from_static("http://o.example");
        let got = of_answer(&instance, "1-a", Some(&origin), false);
        for gone in ["x-fc-status", "connection", "content-length", "date", "keep-alive", "server"] {
            assert_eq!(text(&got, gone), None, "{gone}");
        }
        assert_eq!(got.get_all("set-cookie").iter().count(), 2);
        assert_eq!(text(&got, "x-fc-request-id"), Some("1-a"));
        assert_eq!(text(&got, "content-disposition"), Some("attachment"));
        assert_eq!(text(&got, "access-control-allow-origin"), Some("http://o.example"));
        assert_eq!(text(&got, "access-control-allow-credentials"), Some("true"));
    }

    #[test]
    fn a_custom_domain_forces_nothing_and_the_functions_own_cors_stands() {
        let instance = fields(&[("access-control-allow-origin", "*")]);
        let got = of_answer(&instance, "1-a", Some(&HeaderValue::from_static("http://o")), true);
        assert_eq!(text(&got, "content-disposition"), None);
        assert_eq!(text(&got, "access-control-allow-origin"), Some("*"));
        assert_eq!(text(&got, "access-control-allow-credentials"), None);
        assert_eq!(text(&of_answer(&HeaderMap::new(), "1", None, true), "access-control-allow-origin"), None);
    }
}
