//! A request head: parsed once, judged, remembered as spans.

use std::mem::MaybeUninit;

use super::fields::{BadLineEnd, Dropped, FIELDS_MAX, Gathered, Protocols, gather};
use super::framing::{Framing, FramingFault};
use super::target::{Form, TargetFault, is_authority};
use super::{Parsed, Span};
use crate::config::Limits;

/// A sound request head.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Bytes of the head, the blank line included.
    pub head_len: usize,
    /// The method's bytes.
    pub method: Span,
    /// The target's bytes, raw.
    pub target: Span,
    /// Where the `*` of an `OPTIONS http://host` goes; the byte there is the slash that would be its path.
    pub asterisk_at: Option<u32>,
    /// The `1` or `0` of `HTTP/1.x`.
    pub minor_version: u8,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client wants to send another request on this connection (RFC 9112 §9.3).
    pub persistent: bool,
    /// Whether the method is HEAD: its response has no body.
    pub is_head: bool,
    /// Whether the method may be repeated without harm (RFC 9110 §9.2.2); only those the
    /// platform itself repeats: GET, HEAD, OPTIONS, TRACE.
    pub repeatable: bool,
    /// Whether it is PUT or DELETE, which promise the same and keep it less often.
    pub idempotent: bool,
    /// Whether the client may wait for `100 Continue` before it sends the body: any Expect counts,
    /// because servers differ in what they take for one.
    pub expects_continue: bool,
    /// Whether trailers are welcome in the response.
    pub te_trailers: bool,
    /// Whether a `Host` field is present (HTTP/1.0 may lack it).
    pub has_host: bool,
    /// The authority of an absolute target, for a request without a `Host` field.
    pub authority: Option<Span>,
    /// The digits of `Max-Forwards` in an OPTIONS or TRACE (RFC 9110 §7.6.2).
    pub max_forwards: Option<Span>,
    /// The protocols that the client would like to switch to. Its `Upgrade` fields travel on then.
    pub upgrade: Option<Protocols>,
    /// The value of `x-fc-request-id`, if present and not empty.
    pub request_id: Option<Span>,
    /// The value of `x-fc-control-path`, if present: what the platform means by the request.
    pub control_path: Option<Span>,
    /// Whether `x-fc-service-name` is present and not empty.
    pub names_service: bool,
    dropped: Dropped,
}

/// Why a request head is not accepted. Each closes the connection: what follows
/// it cannot be trusted to be a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not a request line and fields as RFC 9112 §3 and §5 write them.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The end of the body is ambiguous.
    #[error("{0}")]
    Framing(#[from] FramingFault),
    /// RFC 9112 §3.2: an HTTP/1.1 request has exactly one Host field.
    #[error("an HTTP/1.1 request needs exactly one Host field")]
    Host,
    /// RFC 9112 §3.2: its value is `host[:port]`.
    #[error("the Host field is not host[:port]")]
    HostValue,
    /// RFC 9112 §3.2.2 lets the target win; a reader that does not know would route elsewhere.
    #[error("the Host field and the request target name different hosts")]
    HostConflict,
    /// The target is not one that an origin server can be asked for.
    #[error("{0}")]
    Target(#[from] TargetFault),
    /// A version we do not speak.
    #[error("the HTTP version is not supported")]
    Version,
    /// The target is longer than `limits.target_bytes`.
    #[error("the request target is longer than limits.target_bytes")]
    TargetTooLong,
    /// The head is longer than `limits.head_bytes`.
    #[error("the request head is longer than limits.head_bytes")]
    HeadTooLong,
    /// More fields than `limits.fields`.
    #[error("the request has more fields than limits.fields")]
    TooManyFields,
    /// CONNECT asks for a tunnel to elsewhere; this is not a forward proxy.
    #[error("CONNECT is not offered")]
    Connect,
}

impl Refused {
    /// The status that says so (RFC 9110 §15.5, RFC 6585 §5).
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Host | Self::HostValue | Self::HostConflict | Self::Target(_) => 400,
            Self::Framing(FramingFault::UnknownCoding) => 501,
            Self::Framing(_) => 400,
            Self::Version => 505,
            Self::TargetTooLong => 414,
            Self::HeadTooLong | Self::TooManyFields => 431,
            Self::Connect => 405,
        }
    }
}

impl Request {
    /// Reads a request head from the start of `bytes`.
    ///
    /// # Errors
    /// [`Refused`] as soon as the bytes cannot become an acceptable head.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Parsed<Self>, Refused> {
        let mut table = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let table = &mut table[..limits.fields.min(FIELDS_MAX)];
        let mut raw = httparse::Request::new(&mut []);
        let head_len = match raw.parse_with_uninit_headers(bytes, table) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) => {
                return too_long_already(bytes, limits).map(|()| Parsed::Partial);
            }
            Err(error) => return Err(refusal(bytes, error)),
        };
        if head_len > limits.head_bytes {
            return Err(Refused::HeadTooLong);
        }
        let head = &bytes[..head_len];
        let (Some(method), Some(target), Some(minor_version)) = (raw.method, raw.path, raw.version) else {
            return Err(Refused::Malformed("request line"));
        };
        if target.len() > limits.target_bytes {
            return Err(Refused::TargetTooLong);
        }
        let method_span = Span::of(method.as_bytes(), head);
        if !head[..method_span.start as usize].chunks(2).all(|pair| pair == b"\r\n") {
            return Err(Refused::Malformed("line before the request"));
        }
        let start_line_end = match raw.headers.first() {
            Some(first) => Span::of(first.name.as_bytes(), head).start as usize,
            None => head_len - 2,
        };
        let mut found = Gathered::default();
        gather(head, start_line_end, raw.headers, &mut found)
            .map_err(|BadLineEnd| Refused::Malformed("line end: every line ends with CRLF"))?;
        if method == "CONNECT" {
            return Err(Refused::Connect);
        }
        if found.hosts > 1 || (found.hosts == 0 && minor_version == 1) {
            return Err(Refused::Host);
        }
        let host = found.host.map(|span| span.of_head(head));
        if host.is_some_and(|host| !is_authority(host)) {
            return Err(Refused::HostValue);
        }
        let target_span = Span::of(target.as_bytes(), head);
        let (mut authority, mut asterisk_at) = (None, None);
        if let Form::Absolute(absolute) = Form::of(method, target.as_bytes())? {
            match host {
                Some(host) if !absolute.agrees_with(target.as_bytes(), host) => {
                    return Err(Refused::HostConflict);
                }
                Some(_) => {}
                None => authority = Some(absolute.authority_in(target_span)),
            }
            let gaps = absolute.gaps(target_span);
            if method == "OPTIONS" && absolute.is_authority_only(target.as_bytes()) {
                asterisk_at = Some(gaps[0].end);
            }
            found.dropped.prepend(&gaps);
        }
        if found.request_id.is_none() {
            found.empty_request_ids.drain(..).for_each(|line| found.dropped.insert(line));
        }
        let upgrade = found.take_upgrade(head, minor_version == 1);
        let counts_hops = matches!(method, "OPTIONS" | "TRACE");
        let is_number = |span: &Span| {
            let digits = span.of_head(head);
            !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
        };
        if minor_version == 0 {
            // An expectation in HTTP/1.0 is ignored (RFC 9110 §10.1.1), and the worker gets HTTP/1.1.
            found.expect.drain(..).for_each(|line| found.dropped.insert(line));
        }
        Ok(Parsed::Complete(Self {
            head_len,
            method: method_span,
            target: target_span,
            asterisk_at,
            minor_version,
            framing: found.length.of_request(minor_version)?,
            persistent: !found.close && (minor_version == 1 || found.keep_alive),
            is_head: method == "HEAD",
            repeatable: matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE"),
            idempotent: matches!(method, "PUT" | "DELETE"),
            expects_continue: !found.expect.is_empty(),
            te_trailers: found.te_trailers,
            has_host: found.hosts == 1,
            authority,
            max_forwards: found.max_forwards.filter(|_| counts_hops).filter(is_number),
            upgrade,
            request_id: found.request_id,
            control_path: found.control_path,
            names_service: found.names_service,
            dropped: found.dropped,
        }))
    }

    /// What does not travel to the worker, ascending and disjoint: lines, and the scheme and authority of
    /// an absolute target.
    pub fn dropped(&self) -> &[Span] {
        &self.dropped.0
    }

    /// Lets `span` not travel either: a part of the target or of a line, or a line, that does so far.
    pub fn drop_also(&mut self, span: Span) {
        self.dropped.insert(span);
    }
}

/// Judges the start of a head as the whole head would be: the same bytes in other segments get the same answer.
fn too_long_already(bytes: &[u8], limits: &Limits) -> Result<(), Refused> {
    let mut lines = bytes.split(|&byte| byte == b'\n').skip_while(|line| *line == b"\r");
    let target = lines.next().and_then(|line| line.split(|&byte| byte == b' ').nth(1)).unwrap_or_default();
    if target.len() > limits.target_bytes {
        return Err(Refused::TargetTooLong);
    }
    if bytes.len() >= limits.head_bytes {
        return Err(Refused::HeadTooLong);
    }
    Ok(())
}

fn refusal(bytes: &[u8], error: httparse::Error) -> Refused {
    match error {
        httparse::Error::TooManyHeaders => Refused::TooManyFields,
        httparse::Error::Version if names_a_version(bytes) => Refused::Version,
        httparse::Error::HeaderName => Refused::Malformed("field name"),
        httparse::Error::HeaderValue => Refused::Malformed("field value"),
        httparse::Error::NewLine => Refused::Malformed("line end: every line ends with CRLF"),
        httparse::Error::Token | httparse::Error::Version | httparse::Error::Status => {
            Refused::Malformed("request line")
        }
    }
}

/// Whether the request line has its three parts, so that only the version is to blame.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    let mut parts = line.split(|&byte| byte == b' ').skip(2);
    parts.next().is_some_and(|version| version.starts_with(b"HTTP/")) && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Parsed<Request>, Refused> {
        Request::parse(text.as_bytes(), &Limits::default())
    }

    fn complete(text: &str) -> Request {
        match parse(text) {
            Ok(Parsed::Complete(request)) => request,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn dropped(text: &str) -> Vec<String> {
        let request = complete(text);
        request.dropped().iter().map(|s| String::from_utf8_lossy(s.of_head(text.as_bytes())).into()).collect()
    }

    #[test]
    fn a_plain_request_is_read_and_nothing_is_dropped() {
        let text = "GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Fc-Request-Id: 1-ab\r\nEmpty:\r\n\r\nrest";
        let request = complete(text);
        assert_eq!(request.head_len, text.len() - 4);
        assert_eq!(request.method.of_head(text.as_bytes()), b"GET");
        assert_eq!(request.target.of_head(text.as_bytes()), b"/a?b=c");
        assert_eq!(request.request_id.unwrap().of_head(text.as_bytes()), b"1-ab");
        assert!(request.persistent && request.repeatable && request.dropped().is_empty());
        assert_eq!(request.framing, Framing::None);
    }

    #[test]
    fn hop_by_hop_fields_and_what_connection_names_end_here() {
        assert_eq!(
            dropped(
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: X-Own, keep-alive\r\nKeep-Alive: 5\r\nA: 1\r\nx-own: 2\r\nTE: trailers\r\nUpgrade: h2c\r\nProxy-Connection: a\r\nB: 2\r\n\r\n"
            ),
            [
                "Connection: X-Own, keep-alive\r\nKeep-Alive: 5\r\n",
                "x-own: 2\r\nTE: trailers\r\n",
                "Upgrade: h2c\r\n",
                "Proxy-Connection: a\r\n"
            ]
        );
    }

    #[test]
    fn an_upgrade_travels_only_when_connection_means_it_and_never_as_h2c() {
        let head = |fields: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        for (fields, gone, protocols) in [
            ("Connection: Upgrade\r\nUpgrade: websocket\r\n", "Connection: Upgrade\r\n", Some("websocket")),
            (
                "Upgrade: A/1, b\r\nX: y\r\nConnection: keep-alive, upgrade\r\n",
                "Connection: keep-alive, upgrade\r\n",
                Some("a/1"),
            ),
            ("Upgrade: websocket\r\n", "Upgrade: websocket\r\n", None),
            ("Connection: upgrade\r\nUpgrade:\r\n", "Connection: upgrade\r\nUpgrade:\r\n", None),
            ("Connection: upgrade\r\n", "Connection: upgrade\r\n", None),
            (
                "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n",
                "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n",
                None,
            ),
            (
                "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n",
                "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n",
                None,
            ),
        ] {
            let text = head(fields);
            assert_eq!(dropped(&text).concat(), gone);
            let upgrade = complete(&text).upgrade;
            assert_eq!(upgrade.is_some(), protocols.is_some(), "{fields:?}");
            if let (Some(upgrade), Some(protocol)) = (upgrade, protocols) {
                assert!(
                    upgrade.cover(
                        &complete(&head(&format!("Connection: upgrade\r\nUpgrade: {protocol}\r\n")))
                            .upgrade
                            .unwrap()
                    )
                );
            }
        }
    }

    #[test]
    fn an_absolute_target_becomes_a_path_and_must_agree_with_host() {
        let text = "GET http://x:80/a?b HTTP/1.1\r\nHost: X\r\n\r\n";
        assert_eq!(dropped(text), ["http://x:80"]);
        let text = "OPTIONS http://x HTTP/1.0\r\n\r\n";
        let request = complete(text);
        assert_eq!(request.authority.unwrap().of_head(text.as_bytes()), b"x");
        assert_eq!(request.asterisk_at, Some(14));
        assert_eq!(dropped(text), ["http:/", "x"]);
        let conflict = parse("GET http://x/ HTTP/1.1\r\nHost: y\r\n\r\n");
        assert_eq!(conflict, Err(Refused::HostConflict));
    }

    #[test]
    fn max_forwards_counts_for_options_and_trace_only() {
        let limit = |method: &str, value: &str| {
            let text = format!("{method} / HTTP/1.1\r\nHost: x\r\nMax-Forwards: {value}\r\n\r\n");
            complete(&text).max_forwards.map(|span| span.of_head(text.as_bytes()).to_vec())
        };
        assert_eq!(limit("TRACE", "10"), Some(b"10".to_vec()));
        assert_eq!(limit("OPTIONS", "0"), Some(b"0".to_vec()));
        assert_eq!(limit("GET", "0"), None);
        assert_eq!(limit("TRACE", "-1"), None);
    }

    #[test]
    fn an_empty_request_id_makes_way_for_a_new_one() {
        let text = "GET / HTTP/1.1\r\nHost: x\r\nX-Fc-Request-Id:\r\nX-Fc-Region:\r\n\r\n";
        assert_eq!(dropped(text), ["X-Fc-Request-Id:\r\n"]);
        assert_eq!(complete(text).request_id, None);
    }

    #[test]
    fn of_several_empty_request_ids_none_stays_beside_the_new_one() {
        let text = "GET / HTTP/1.1\r\nX-Fc-Request-Id:\r\nHost: x\r\nX-Fc-Request-Id: \r\nTE: a\r\n\r\n";
        assert_eq!(dropped(text), ["X-Fc-Request-Id:\r\n", "X-Fc-Request-Id: \r\n", "TE: a\r\n"]);
    }

    #[test]
    fn connection_cannot_remove_what_framing_and_platform_need() {
        assert_eq!(
            dropped(
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: host, x-fc-request-id\r\nX-Fc-Request-Id: 1\r\n\r\n"
            ),
            ["Connection: host, x-fc-request-id\r\n"]
        );
    }

    #[test]
    fn persistence_follows_version_and_connection() {
        for (text, persistent) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ] {
            assert_eq!(complete(text).persistent, persistent, "{text:?}");
        }
    }

    #[test]
    fn what_is_malformed_or_too_large_is_refused_with_its_status() {
        let long_target = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(20 << 10));
        let open_target = format!("GET /{}", "a".repeat(20 << 10));
        let long_head = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "a".repeat(90 << 10));
        let open_head = format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "a".repeat(90 << 10));
        let many = format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(300));
        for (text, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
            ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n", 400),
            ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /\r\n\r\n", 400),
            ("\x16\x03\x01\x02\x00", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
            ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
            (&long_target, 414),
            (&open_target, 414),
            (&long_head, 431),
            (&open_head, 431),
            (&many, 431),
        ] {
            let status_seen = parse(text).map_err(|refused| refused.status());
            assert_eq!(status_seen, Err(status), "{:?}", &text[..text.len().min(60)]);
        }
    }

    #[test]
    fn a_long_method_is_no_long_target() {
        let limits = Limits { target_bytes: 64, ..Limits::default() };
        let method = "M".repeat(200);
        let open = |text: &str| Request::parse(text.as_bytes(), &limits);
        assert_eq!(open(&method), Ok(Parsed::Partial));
        assert_eq!(open(&format!("{method} /{}", "t".repeat(63))), Ok(Parsed::Partial));
        assert_eq!(open(&format!("{method} /{}", "t".repeat(64))), Err(Refused::TargetTooLong));
    }

    #[test]
    fn empty_lines_before_a_request_are_ignored() {
        assert_eq!(complete("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").framing, Framing::None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Request::parse(&bytes, &Limits::default());
        }

        #[test]
        fn every_prefix_of_a_sound_request_is_partial(cut in 0_usize..75) {
            let text = "POST /x HTTP/1.1\r\nHost: y\r\nContent-Length: 3\r\nAccept-Encoding: gzip, br\r\n\r\n";
            prop_assert_eq!(Request::parse(&text.as_bytes()[..cut.min(text.len() - 1)], &Limits::default()), Ok(Parsed::Partial));
        }
    }
}
