//! Heads and trailers, from HTTP/2 to HTTP/1.1 and back.
//!
//! What is written as HTTP/1.1 here is not trusted: it goes through the same
//! parsers as the bytes of any peer. What comes from HTTP/1.1 was judged by them.

use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

use crate::http1::lines::{kept_fields, trailer_fields};
use crate::http1::{request, response};

/// How a body that came as DATA frames is delimited in HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Delimiter {
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

/// The HTTP/1.1 head of an answer; `ended`: no body follows. The connection that it came on is nobody's
/// concern, so it says that there will be no other answer.
pub(super) fn write_response(
    parts: &http::response::Parts,
    to_head: bool,
    ended: bool,
) -> (Vec<u8>, Delimiter) {
    let mut head = write_answer(parts);
    let status = parts.status;
    let has_no_body = to_head || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    let delimiter = match has_no_body || ended || parts.headers.contains_key(CONTENT_LENGTH) {
        true => Delimiter::Fields,
        false => Delimiter::Chunks,
    };
    if delimiter == Delimiter::Chunks {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    } else if !has_no_body && !parts.headers.contains_key(CONTENT_LENGTH) {
        head.extend_from_slice(b"content-length: 0\r\n");
    }
    head.extend_from_slice(b"connection: close\r\n\r\n");
    (head, delimiter)
}

/// How long the body is, if the fields say it.
pub(super) fn content_length(fields: &HeaderMap) -> Option<u64> {
    fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The HTTP/1.1 head of an interim answer.
pub(super) fn write_interim(parts: &http::response::Parts) -> Vec<u8> {
    let mut head = write_answer(parts);
    head.extend_from_slice(b"\r\n");
    head
}

fn write_answer(parts: &http::response::Parts) -> Vec<u8> {
    let mut head = Vec::with_capacity(512);
    let phrase = parts.status.canonical_reason().unwrap_or_default();
    put(&mut head, &[b"HTTP/1.1 ", parts.status.as_str().as_bytes(), b" ", phrase.as_bytes(), b"\r\n"]);
    for (name, value) in parts.headers.iter().filter(|(name, _)| !is_for_one_hop(name)) {
        line(&mut head, name.as_str(), value.as_bytes());
    }
    head
}

/// The request whose judged head stands at the start of `bytes`. `None` if HTTP/2 cannot say it.
pub(super) fn read_request(bytes: &[u8], judged: &request::Request) -> Option<Request<()>> {
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(judged.method.of_head(bytes)).ok()?;
    // Without an authority the scheme follows from this version.
    *request.version_mut() = Version::HTTP_11;
    let mut host = None;
    for (name, value) in kept_fields(&bytes[..judged.head_len], judged.dropped()) {
        if name.eq_ignore_ascii_case(b"host") {
            host = Some(value);
        } else {
            append(request.headers_mut(), name, value)?;
        }
    }
    // `dropped` names what speaks about one connection, this wish for trailers too.
    if judged.te_trailers {
        request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    }
    let authority = host.and_then(|host| Authority::try_from(host).ok());
    *request.uri_mut() = address(judged.target.of_head(bytes), authority)?;
    if request.uri().authority().is_some() {
        *request.version_mut() = Version::HTTP_2;
    } else if let Some(host) = host {
        request.headers_mut().insert(HOST, HeaderValue::from_bytes(host).ok()?);
    }
    Some(request)
}

/// The target as HTTP/2 says it: authority and path apart. A head on its way to a worker has no other
/// form than a path or `*`.
fn address(target: &[u8], host: Option<Authority>) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path(target)?);
    parts.scheme = host.is_some().then_some(Scheme::HTTP);
    parts.authority = host;
    Uri::from_parts(parts).ok()
}

/// A path with its query. What a URI may not contain, and some clients send, is percent-encoded: the
/// parser of the other side would refuse it, or lose what follows a `#`.
fn path(raw: &[u8]) -> Option<PathAndQuery> {
    match PathAndQuery::try_from(raw) {
        Ok(path) if !raw.contains(&b'#') => Some(path),
        _ => {
            let mut encoded = String::with_capacity(raw.len() + 16);
            for &byte in raw {
                let is_plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte);
                if is_plain {
                    encoded.push(char::from(byte));
                } else {
                    encoded.push_str(&format!("%{byte:02X}"));
                }
            }
            PathAndQuery::try_from(encoded).ok()
        }
    }
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
        if !name.eq_ignore_ascii_case(b"content-length") && !name.eq_ignore_ascii_case(b"te") {
            append(&mut trailers, name, value)?;
        }
    }
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
