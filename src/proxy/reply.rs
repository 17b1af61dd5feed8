//! Answers that the proxy gives itself: what, why, how to fix, with the id.

use std::fmt::Write as _;

use super::admission::Refusal;
use super::exchange::Cause;
use crate::http1::request::Refused;
use crate::id::{REQUEST_ID_HEADER, RequestId};

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
    id: RequestId,
    text: String,
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
        Self {
            status: 503,
            reason: refusal.to_string(),
            retry_after_secs: Some(retry_after_secs),
            close: false,
            id,
            text: text.to_owned(),
        }
    }

    /// 502, or 400 where the client is to blame: the relay failed before an answer began.
    pub fn failed(cause: &Cause, id: RequestId) -> Self {
        let (status, reason) = match cause {
            Cause::Connect(_) => (502, "worker-connect"),
            Cause::Closed => (502, "worker-closed"),
            Cause::BadResponse(_) => (502, "worker-response"),
            Cause::BadBody(_) => (400, "request-body"),
        };
        Self {
            status,
            reason: reason.to_owned(),
            retry_after_secs: None,
            close: status == 400,
            id,
            text: sentence(&cause.to_string()),
        }
    }

    /// The status that a refused head asks for; always closes.
    pub fn malformed(refused: &Refused, id: RequestId) -> Self {
        Self {
            status: refused.status(),
            reason: "request-head".to_owned(),
            retry_after_secs: None,
            close: true,
            id,
            text: sentence(&refused.to_string()),
        }
    }

    /// The answer's bytes. `close`: whether to say so. A `HEAD` gets no body.
    pub fn to_bytes(&self, close: bool, to_head: bool) -> Vec<u8> {
        let phrase = phrase(self.status);
        let body = format!("{} {phrase}: {}\nrequest id: {}\n", self.status, self.text, self.id);
        let mut text = format!("HTTP/1.1 {} {phrase}\r\n", self.status);
        // Writing to a String cannot fail.
        let _ = write!(text, "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n", body.len());
        let _ = write!(text, "{REQUEST_ID_HEADER}: {}\r\nx-warmfront-reason: {}\r\n", self.id, self.reason);
        if let Some(seconds) = self.retry_after_secs {
            let _ = write!(text, "Retry-After: {seconds}\r\n");
        }
        if self.status == 405 {
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

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).chain(std::iter::once('.')).collect()
}

fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        405 => "Method Not Allowed",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
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
    fn an_answer_to_head_has_no_body() {
        let reply = LocalReply::failed(&Cause::Closed, RequestId::sanitised(b"1"));
        assert!(reply.to_bytes(true, true).ends_with(b"Connection: close\r\n\r\n"));
    }
}
