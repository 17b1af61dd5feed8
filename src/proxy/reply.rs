//! Answers that the proxy gives itself: what, why, how to fix, with the id.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use super::admission::Refusal;
use super::exchange::Cause;
use crate::config::is_secret;
use crate::config::units::{period_text, size_text};
use crate::fastcgi::fault::PhpFault;
use crate::fc::kind::Hook;
use crate::http1::framing::FramingFault;
use crate::http1::request::Refused;
use crate::id::{REQUEST_ID_HEADER, RequestId};
use crate::telemetry::tally::Count;
use crate::upstream::functions::Fate;

/// One answer of the proxy's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// Status code.
    pub status: u16,
    /// Value of `x-warmfront-reason`: the limit and its value, or the kind of failure.
    pub reason: String,
    /// Seconds for `Retry-After`.
    pub retry_after_secs: Option<u64>,
    /// Whether the connection must close: what follows on it cannot be trusted.
    pub close: bool,
    /// Whether a worker that went away is the cause: the platform has a word for it.
    pub is_workers_end: bool,
    /// What it is counted as, beside being a request.
    pub counts_as: Option<Count>,
    id: RequestId,
    body: Body,
}

/// What stands behind the head.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    /// A sentence; status and id stand around it.
    Sentence(String),
    /// A request as it came (RFC 9110 §9.3.8).
    Message(String),
}

impl LocalReply {
    /// 503: the gate said no.
    pub fn refused(refusal: &Refusal, retry_after_secs: u64, id: RequestId) -> Self {
        let text = match refusal {
            Refusal::QueueFull { .. } | Refusal::QueueBytes { .. } => {
                "Every worker slot is taken and the waiting line is full. Retry later, or give the pool more workers or concurrency."
            }
            Refusal::Late { .. } => {
                "No worker slot came free in time. Retry later, or give the pool more workers or concurrency."
            }
            Refusal::NotStarted => {
                "No worker became ready in time. The log names the worker and its last words."
            }
            Refusal::Stopping => "This instance is stopping. Retry: another instance will answer.",
        };
        let counts_as = match refusal {
            Refusal::QueueFull { .. } => Count::ShedDepth,
            Refusal::QueueBytes { .. } => Count::ShedBytes,
            Refusal::Late { .. } => Count::ShedLate,
            Refusal::NotStarted => Count::ShedNotStarted,
            Refusal::Stopping => Count::ShedStopping,
        };
        Self {
            status: 503,
            reason: refusal.to_string(),
            retry_after_secs: Some(retry_after_secs),
            close: false,
            is_workers_end: false,
            counts_as: Some(counts_as),
            id,
            body: Body::Sentence(text.to_owned()),
        }
    }

    /// 502, or 400 or 408 where the client is to blame, or what a data plane's fault means: the relay failed before an
    /// answer began.
    pub fn failed(cause: &Cause, id: RequestId) -> Self {
        let (status, reason, counts_as) = match cause {
            Cause::Connect(_) => (502, "worker-connect".to_owned(), Count::FailedConnect),
            Cause::Closed => (502, "worker-closed".to_owned(), Count::FailedClosed),
            Cause::Protocol(_) => (502, "worker-protocol".to_owned(), Count::FailedProtocol),
            Cause::BadResponse(_) => (502, "worker-response".to_owned(), Count::FailedResponse),
            Cause::Plane(fault) => (fault.kind.status(), fault.kind.word().to_owned(), Count::FailedPlane),
            Cause::Php(fault) => (fault.status(), fault.word(), counted(fault)),
            Cause::BadBody(_) => (400, "request-body".to_owned(), Count::FailedBody),
            Cause::LargeBody(limit) => {
                (413, format!("limits.body_bytes={}", size_text(*limit)), Count::FailedLargeBody)
            }
            Cause::SlowBody(limit) => {
                (408, format!("limits.body_timeout={}", period_text(*limit)), Count::FailedSlowBody)
            }
        };
        Self {
            status,
            reason,
            retry_after_secs: matches!(status, 429 | 503).then_some(1),
            close: matches!(status, 400 | 408 | 411 | 413),
            is_workers_end: matches!(cause, Cause::Connect(_) | Cause::Closed),
            counts_as: Some(counts_as),
            id,
            body: Body::Sentence(sentence(&cause.to_string())),
        }
    }

    /// 408: the head was not complete within `limit`; always closes.
    pub fn slow_head(limit: Duration, id: RequestId) -> Self {
        Self {
            status: 408,
            reason: format!("limits.head_timeout={}", period_text(limit)),
            retry_after_secs: None,
            close: true,
            is_workers_end: false,
            counts_as: Some(Count::FailedSlowHead),
            id,
            body: Body::Sentence("The request head came too slowly.".to_owned()),
        }
    }

    /// The status that a refused head asks for; always closes.
    pub fn malformed(refused: &Refused, id: RequestId) -> Self {
        Self {
            status: refused.status(),
            reason: "request-head".to_owned(),
            retry_after_secs: None,
            close: true,
            is_workers_end: false,
            counts_as: Some(broken_rule(refused)),
            id,
            body: Body::Sentence(sentence(&refused.to_string())),
        }
    }

    /// 200 to an OPTIONS or TRACE that may go no further. A TRACE sees its `head` as it came here, but
    /// for fields that may hold a secret.
    pub fn last_hop(head: &[u8], id: RequestId) -> Self {
        let body = if head.starts_with(b"TRACE") {
            Body::Message(traced(&String::from_utf8_lossy(head)))
        } else {
            Body::Sentence("Max-Forwards ends the request here, before any worker.".to_owned())
        };
        Self {
            status: 200,
            reason: "max-forwards".to_owned(),
            retry_after_secs: None,
            close: false,
            is_workers_end: false,
            counts_as: None,
            id,
            body,
        }
    }

    /// The answer to a hook: 200, or what says that it failed.
    pub fn hook(hook: Hook, status: u16, text: String, id: RequestId) -> Self {
        Self {
            status,
            reason: format!("hook-{hook}"),
            retry_after_secs: None,
            close: false,
            is_workers_end: false,
            counts_as: None,
            id,
            body: Body::Sentence(sentence(&text)),
        }
    }

    /// The answer to a health check: 200 while one of `workers` is `ready` and the instance does not stop.
    pub fn health(ready: usize, workers: usize, is_stopping: bool, id: RequestId) -> Self {
        let state = if is_stopping { ", and the instance is stopping" } else { "" };
        Self {
            status: if ready > 0 && !is_stopping { 200 } else { 503 },
            reason: "health".to_owned(),
            retry_after_secs: None,
            close: false,
            is_workers_end: false,
            counts_as: None,
            id,
            body: Body::Sentence(format!("{ready} of {workers} workers are ready{state}.")),
        }
    }

    /// What became of an invocation that this answers.
    pub fn fate(&self) -> Fate {
        match self.status {
            504 => Fate::Late,
            500 | 502 => Fate::Failed,
            _ => Fate::Refused,
        }
    }

    /// The answer's bytes. `close`: whether to say so. A `HEAD` gets no body.
    pub fn to_bytes(&self, close: bool, to_head: bool) -> Vec<u8> {
        let phrase = phrase(self.status);
        let (kind, body) = match &self.body {
            Body::Sentence(text) => (
                "text/plain; charset=utf-8",
                Cow::Owned(format!("{} {phrase}: {text}\nrequest id: {}\n", self.status, self.id)),
            ),
            Body::Message(text) => ("message/http", Cow::Borrowed(text)),
        };
        let mut text = format!("HTTP/1.1 {} {phrase}\r\n", self.status);
        // Writing to a String cannot fail.
        let _ = write!(text, "Content-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        let _ = write!(text, "{REQUEST_ID_HEADER}: {}\r\nx-warmfront-reason: {}\r\n", self.id, self.reason);
        if self.status >= 400 {
            // An event has failed then, which the platform would not know otherwise. It drops the line elsewhere.
            text.push_str("x-fc-status: 404\r\n");
        }
        if let Some(seconds) = self.retry_after_secs {
            let _ = write!(text, "Retry-After: {seconds}\r\n");
        }
        if self.status == 405 || (self.status == 200 && self.reason == "max-forwards") {
            text.push_str("Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n");
        }
        if close {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        if !to_head {
            text.push_str(&body);
        }
        text.into_bytes()
    }
}

/// What a fault of FastCGI is counted as: what it would be of a worker that speaks HTTP.
fn counted(fault: &PhpFault) -> Count {
    match fault {
        PhpFault::Record(_) | PhpFault::Head(_) | PhpFault::Length => Count::FailedResponse,
        PhpFault::Role => Count::FailedProtocol,
        PhpFault::Overloaded | PhpFault::Multiplex => Count::FailedConnect,
        PhpFault::NoLength(_) => Count::FailedLargeBody,
        PhpFault::Field(_) => Count::BadHeadLength,
    }
}

/// What a refused head is counted as.
fn broken_rule(refused: &Refused) -> Count {
    match refused {
        Refused::Malformed(_) => Count::BadSyntax,
        Refused::Framing(fault) => match fault {
            FramingFault::BadLength => Count::BadLength,
            FramingFault::RepeatedLength => Count::BadLengths,
            FramingFault::LengthAndCoding => Count::BadLengthAndCoding,
            FramingFault::UnknownCoding => Count::BadCoding,
            FramingFault::RepeatedCoding => Count::BadCodings,
            FramingFault::CodingInHttp10 => Count::BadCodingInHttp10,
        },
        Refused::Host => Count::BadHost,
        Refused::HostValue => Count::BadHostValue,
        Refused::HostConflict => Count::BadHostConflict,
        Refused::Target(_) => Count::BadTarget,
        Refused::Version => Count::BadVersion,
        Refused::TargetTooLong => Count::BadTargetLength,
        Refused::HeadTooLong => Count::BadHeadLength,
        Refused::TooManyFields => Count::BadFields,
        Refused::Connect => Count::BadConnect,
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(std::iter::once('.')).collect()
}

/// The lines of a head that may be shown to whoever sent it through others.
fn traced(head: &str) -> String {
    let may_be_shown = |line: &&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        !(name.starts_with("x-fc-") || name.contains("cookie") || name.contains("auth") || is_secret(&name))
    };
    let mut lines = head.split_inclusive("\r\n");
    lines.next().into_iter().chain(lines.filter(may_be_shown)).collect()
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_limit_and_when_to_come_back() {
        let id = RequestId::sanitised(b"1-a");
        let reply = LocalReply::refused(&Refusal::QueueFull { depth: 8 }, 3, id);
        let text = String::from_utf8(reply.to_bytes(false, false)).unwrap();
        assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{text}");
        for part in
            ["x-warmfront-reason: queue.depth=8\r\n", "Retry-After: 3\r\n", "x-fc-request-id: 1-a\r\n"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("Connection"));
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    }

    #[test]
    fn a_trace_is_shown_without_secrets() {
        let head = b"TRACE /x HTTP/1.1\r\nHost: a\r\nX-Fc-Access-Key-Secret: s\r\nCookie: c\r\nAuthorization: b\r\nX-Api-Token: t\r\nA: b\r\n\r\n";
        let reply = LocalReply::last_hop(head, RequestId::sanitised(b"1"));
        let text = String::from_utf8(reply.to_bytes(false, false)).unwrap();
        let (fields, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(fields.contains("Content-Type: message/http\r\n"), "{fields}");
        assert_eq!(body, "TRACE /x HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n");
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let reply = LocalReply::failed(&Cause::Closed, RequestId::sanitised(b"1"));
        assert!(reply.to_bytes(true, true).ends_with(b"Connection: close\r\n\r\n"));
    }
}
