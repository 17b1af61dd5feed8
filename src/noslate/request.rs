//! A request's head as the first message of an invocation.

use super::target::{Chosen, url};
use super::wire::{Writer, body_head};
use crate::config::noslate::Noslate;
use crate::http1::lines::kept_fields;
use crate::http1::request::Request;
use crate::id::REQUEST_ID_HEADER;

/// `InvokeRequest`, field by field.
const NAME: u8 = 1;
const URL: u8 = 2;
const METHOD: u8 = 3;
const HEADERS: u8 = 4;
const BAGGAGE: u8 = 5;
const DEADLINE: u8 = 6;
const BODY: u8 = 7;
const REQUEST_ID: u8 = 8;

/// `KeyValuePair`.
const KEY: u8 = 1;
const VALUE: u8 = 2;

/// The id by which Noslate's own gateways know a request; it wins over the platform's.
const OWN_ID_HEADER: &str = "x-noslated-request-id";

/// Largest piece of a body in one message: planes take 10 MiB, and what is gathered there is theirs to hold.
pub const PIECE_MAX: usize = 1 << 20;

/// Fields of which Node keeps the first where several were sent; all others are joined
/// (`http.IncomingMessage.headers`).
const SINGLE: [&str; 18] = [
    "age",
    "authorization",
    "content-length",
    "content-type",
    "etag",
    "expires",
    "from",
    "host",
    "if-modified-since",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "proxy-authorization",
    "referer",
    "retry-after",
    "server",
    "user-agent",
];

/// The first message for the request whose judged head stands at the start of `bytes`, with its frame; `body` is
/// its whole body, or nothing if that follows. It must be answered before `deadline`, in milliseconds since 1970.
///
/// Workers read fields into an object, where the last of a name wins and case counts: so names are in lower case
/// and each is there once.
pub fn first_message(
    noslate: &Noslate,
    chosen: &Chosen,
    bytes: &[u8],
    judged: &Request,
    deadline: f64,
    body: &[u8],
) -> Vec<u8> {
    let head = &bytes[..judged.head_len];
    let fields: Vec<(&[u8], &[u8])> =
        kept_fields(head, judged.dropped()).filter(|(name, _)| !is_for_one_hop(name)).collect();
    let value = |name: &str| {
        fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| *value)
    };
    let mut message = Writer::framed(judged.head_len + 64 + body.len());
    let mut joined = Vec::new();
    message.bytes(NAME, chosen.target.name().as_bytes());
    let host = value("host").unwrap_or(b"localhost");
    message.text(URL, &url(noslate.url, judged.target.of_head(bytes), chosen.path_at, host));
    message.text(METHOD, judged.method.of_head(bytes));
    for (index, (name, first)) in fields.iter().enumerate() {
        if fields[..index].iter().any(|(before, _)| before.eq_ignore_ascii_case(name)) {
            continue;
        }
        let others = fields[index + 1..].iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let lower = name.to_ascii_lowercase();
        let mut value = *first;
        if !SINGLE.iter().any(|single| single.as_bytes() == lower) {
            let between: &[u8] = if lower == b"cookie" { b"; " } else { b", " };
            let mut others = others.peekable();
            if others.peek().is_some() {
                joined.clear();
                joined.extend_from_slice(first);
                others.for_each(|(_, other)| {
                    joined.extend_from_slice(between);
                    joined.extend_from_slice(other);
                });
                value = &joined;
            }
        }
        message.message(HEADERS, |pair| {
            pair.bytes(KEY, &lower);
            pair.text(VALUE, value);
        });
    }
    for name in &noslate.baggage {
        if let Some(value) = value(name) {
            message.message(BAGGAGE, |pair| {
                pair.bytes(KEY, name.as_bytes());
                pair.text(VALUE, value);
            });
        }
    }
    message.double(DEADLINE, deadline);
    message.bytes(BODY, body);
    let id = value(OWN_ID_HEADER).or_else(|| value(REQUEST_ID_HEADER));
    message.text(REQUEST_ID, id.unwrap_or_default());
    message.finish()
}

/// Fields about a connection that a call has not: how its body is framed, and what it would like to become.
fn is_for_one_hop(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] = [
        b"connection",
        b"expect",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ];
    NAMES.iter().any(|one| one.eq_ignore_ascii_case(name))
}

/// `data`, one or more pieces of a body at most [`PIECE_MAX`] long together, as a message with its frame.
pub fn body_message<'a>(length: usize, data: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let (head, used) = body_head(BODY, length);
    let mut message = Vec::with_capacity(used + length);
    message.extend_from_slice(&head[..used]);
    data.for_each(|piece| message.extend_from_slice(piece));
    message
}
