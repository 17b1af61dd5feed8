//! Heads and trailers, from HTTP/2 to HTTP/1.1 and back.
//!
//! What is written as HTTP/1.1 here is not trusted: it goes through the same
//! parsers as the bytes of any peer. What comes from HTTP/1.1 was judged by them.

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use crate::http1::lines::{kept_fields, trailer_fields};
use crate::http1::response;

/// How a body that came as DATA frames is delimited in HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// There is no body, or the fields that were there say its length.
    Fields,
    /// Chunks.
    Chunks,
}

/// The HTTP/1.1 head of a request; `ended`: no body follows. It is the only one of its virtual
/// connection, and says so.
pub(super) fn write_request(parts: &http::request::Parts, ended: bool) -> (Vec<u8>, Delimiter) {
    let mut head = Vec::with_capacity(1024);
    let authority = parts.uri.authority().map(Authority::as_str);
    let target = parts.uri.path_and_query().map(PathAndQuery::as_str).or(authority).unwrap_or_default();
    put(&mut head, &[parts.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1\r\n"]);
    if let Some(authority) = authority {
        line(&mut head, "host", authority.as_bytes());
    }
    let mut has_cookie = false;
    for (name, value) in &parts.headers {
        // Two names for the authority must agree (RFC 9113 §8.3.1). Where they do not, both are
        // written, and whoever reads the head refuses it.
        let repeats_host = *name == HOST
            && authority.is_some_and(|known| value.as_bytes().eq_ignore_ascii_case(known.as_bytes()));
        if repeats_host || is_for_one_hop(name) {
            continue;
        }
        if *name == COOKIE {
            if !std::mem::replace(&mut has_cookie, true) {
                write_cookies(&mut head, &parts.headers);
            }
            continue;
        }
        line(&mut head, name.as_str(), value.as_bytes());
    }
    let delimiter = match ended || parts.headers.contains_key(CONTENT_LENGTH) {
        true => Delimiter::Fields,
        false => Delimiter::Chunks,
    };
    if delimiter == Delimiter::Chunks {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    head.extend_from_slice(b"connection: close\r\n\r\n");
    (head, delimiter)
}

/// HTTP/2 may split `cookie`; HTTP/1.1 has one field (RFC 9113 §8.2.3).
fn write_cookies(head: &mut Vec<u8>, fields: &HeaderMap) {
    let crumbs: Vec<&[u8]> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    line(head, "cookie", &crumbs.join(&b"; "[..]));
}

/// The answer whose judged head stands at the start of `bytes`. `None` if HTTP/2 cannot say it.
pub(super) fn read_response(bytes: &[u8], judged: &response::Response) -> Option<Response<()>> {
    let mut answer = Response::new(());
    *answer.status_mut() = StatusCode::from_u16(judged.status).ok()?;
    for (name, value) in kept_fields(&bytes[..judged.head_len], judged.dropped()) {
        append(answer.headers_mut(), name, value)?;
    }
    Some(answer)
}

/// The lines of a trailer section.
pub(super) fn write_trailers(trailers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in trailers {
        if !is_for_one_hop(name) && *name != CONTENT_LENGTH {
            line(&mut lines, name.as_str(), value.as_bytes());
        }
    }
    lines
}

/// The trailers whose judged lines are `section`. `None` if HTTP/2 cannot say them.
pub(super) fn read_trailers(section: &[u8]) -> Option<HeaderMap> {
    let mut trailers = HeaderMap::new();
    for (name, value) in trailer_fields(section) {
        append(&mut trailers, name, value)?;
    }
    trailers.remove(CONTENT_LENGTH);
    trailers.remove(TE);
    Some(trailers)
}

fn append(fields: &mut HeaderMap, name: &[u8], value: &[u8]) -> Option<()> {
    let name = HeaderName::from_bytes(name).ok()?;
    if !is_for_one_hop(&name) {
        fields.try_append(name, HeaderValue::from_bytes(value).ok()?).ok()?;
    }
    Some(())
}

/// Fields that speak about one connection and do not exist in HTTP/2 (RFC 9113 §8.2.2).
fn is_for_one_hop(name: &HeaderName) -> bool {
    [CONNECTION, TRANSFER_ENCODING, UPGRADE].contains(name)
        || ["keep-alive", "proxy-connection"].contains(&name.as_str())
}

fn line(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    put(head, &[name.as_bytes(), b": ", value, b"\r\n"]);
}

fn put(head: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| head.extend_from_slice(part));
}
