//! A response head from a worker: judged as strictly as a request.

use std::mem::MaybeUninit;

use super::chunked::ChunkFault;
use super::fields::{BadLineEnd, Dropped, FIELDS_MAX, Gathered, Protocols, gather};
use super::framing::{Framing, FramingFault};
use super::{Parsed, Span};
use crate::config::Limits;

/// A sound response head.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// Bytes of the head, the blank line included.
    pub head_len: usize,
    /// Three-digit status.
    pub status: u16,
    /// The `1` or `0` of `HTTP/1.x`.
    pub minor_version: u8,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the worker will take another request on this connection.
    pub persistent: bool,
    /// The protocols of a 101 (chosen) or a 426 (required); its `Upgrade` fields travel on then.
    pub upgrade: Option<Protocols>,
    dropped: Dropped,
    coding_line: Option<Span>,
}

/// Why a worker's answer cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadResponse {
    /// Not a status line and fields as RFC 9112 §4 and §5 write them.
    #[error("the response head is malformed")]
    Malformed,
    /// The end of the body is ambiguous.
    #[error("the response cannot be framed: {0}")]
    Framing(#[from] FramingFault),
    /// The head is longer than `limits.head_bytes`, or has more fields than `limits.fields`.
    #[error("the response head exceeds limits.head_bytes or limits.fields")]
    TooLong,
    /// Its chunks cannot be trusted.
    #[error("the response body is malformed: {0}")]
    Chunks(#[from] ChunkFault),
    /// A protocol switch that nobody asked for.
    #[error("the worker switched protocols unasked")]
    Unasked101,
    /// A 101 that does not say what it switches to, or that has a body.
    #[error("the worker switched protocols without a sound Upgrade field")]
    Unclear101,
    /// A switch before the request had ended: what is its rest, what the new protocol's first byte?
    #[error("the worker switched protocols before it had got the whole request")]
    Early101,
}

impl Response {
    /// Reads a response head from the start of `bytes`. `to_head`: the request was HEAD.
    ///
    /// # Errors
    /// [`BadResponse`] as soon as the bytes cannot become an acceptable head.
    pub fn parse(bytes: &[u8], limits: &Limits, to_head: bool) -> Result<Parsed<Self>, BadResponse> {
        let mut table = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let table = &mut table[..limits.fields.min(FIELDS_MAX)];
        let mut raw = httparse::Response::new(&mut []);
        let parsed =
            httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut raw, bytes, table);
        let head_len = match parsed {
            Ok(httparse::Status::Complete(len)) if len <= limits.head_bytes => len,
            Ok(httparse::Status::Complete(_)) | Err(httparse::Error::TooManyHeaders) => {
                return Err(BadResponse::TooLong);
            }
            Ok(httparse::Status::Partial) if bytes.len() >= limits.head_bytes => {
                return Err(BadResponse::TooLong);
            }
            Ok(httparse::Status::Partial) => return Ok(Parsed::Partial),
            Err(_) => return Err(BadResponse::Malformed),
        };
        let head = &bytes[..head_len];
        let (Some(status), Some(minor_version)) = (raw.code, raw.version) else {
            return Err(BadResponse::Malformed);
        };
        // Bytes before the status line would be the tail of something else.
        if !head.starts_with(b"HTTP/1.") || status < 100 {
            return Err(BadResponse::Malformed);
        }
        let start_line_end = match raw.headers.first() {
            Some(first) => Span::of(first.name.as_bytes(), head).start as usize,
            None => head_len - 2,
        };
        let mut found = Gathered::default();
        gather(head, start_line_end, raw.headers, &mut found).map_err(|BadLineEnd| BadResponse::Malformed)?;
        let framing = found.length.of_response(minor_version, status, to_head)?;
        let upgrade = found.take_upgrade(head, matches!(status, 101 | 426) && minor_version == 1);
        if status == 101 && (upgrade.is_none() || found.length.are_present()) {
            return Err(BadResponse::Unclear101);
        }
        if status < 200 || status == 204 {
            // Neither may be sent with these (RFC 9110 §8.6, RFC 9112 §6.1): who believes them waits for a body.
            let lines = [found.content_length.take(), found.transfer_encoding.take()];
            lines.into_iter().flatten().for_each(|line| found.dropped.insert(line));
        }
        Ok(Parsed::Complete(Self {
            head_len,
            status,
            minor_version,
            framing,
            persistent: framing != Framing::UntilClose
                && !found.close
                && (minor_version == 1 || found.keep_alive),
            upgrade,
            dropped: found.dropped,
            coding_line: found.transfer_encoding,
        }))
    }

    /// Whether this is an interim answer: the final one follows (RFC 9110 §15.2).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Whether the worker may switch protocols with this 101: the client offered `offered`, and nothing
    /// of its request is missing.
    ///
    /// # Errors
    /// [`BadResponse`] says what is wrong with the switch.
    pub fn may_switch(&self, offered: Option<&Protocols>, request_sent: bool) -> Result<(), BadResponse> {
        match (offered, &self.upgrade) {
            (Some(offered), Some(chosen)) if offered.cover(chosen) && request_sent => Ok(()),
            (Some(offered), Some(chosen)) if offered.cover(chosen) => Err(BadResponse::Early101),
            _ => Err(BadResponse::Unasked101),
        }
    }

    /// Lines that do not travel to the client, ascending and disjoint. The
    /// `Transfer-Encoding` line is not among them: chunks pass as they are.
    pub fn dropped(&self) -> &[Span] {
        &self.dropped.0
    }

    /// Drops the `Transfer-Encoding` line too: the body will be framed anew, or the client does not know
    /// codings (RFC 9112 §6.1).
    pub fn drop_coding(&mut self) {
        if let Some(line) = self.coding_line.take() {
            self.dropped.insert(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Parsed<Response>, BadResponse> {
        Response::parse(text.as_bytes(), &Limits::default(), false)
    }

    fn complete(text: &str) -> Response {
        match parse(text) {
            Ok(Parsed::Complete(response)) => response,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn a_node_answer_loses_its_connection_fields_only() {
        let text = "HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\nContent-Length: 5\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nhello";
        let response = complete(text);
        assert_eq!((response.status, response.framing, response.persistent), (200, Framing::Length(5), true));
        let dropped: Vec<_> = response.dropped().iter().map(|s| s.of_head(text.as_bytes())).collect();
        assert_eq!(dropped, [b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n".as_slice()]);
    }

    #[test]
    fn the_coding_line_goes_only_when_the_body_is_framed_anew() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n";
        let mut response = complete(text);
        assert_eq!(response.framing, Framing::Chunked);
        assert!(response.dropped().is_empty());
        response.drop_coding();
        assert_eq!(response.dropped()[0].of_head(text.as_bytes()), b"Transfer-Encoding: chunked\r\n");
    }

    #[test]
    fn an_answer_that_must_not_have_a_length_loses_it() {
        for text in [
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nA: b\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nA: b\r\nContent-Length: 5\r\n\r\n",
        ] {
            let response = complete(text);
            assert_eq!(response.framing, Framing::None);
            let dropped: Vec<_> = response.dropped().iter().map(|s| s.of_head(text.as_bytes())).collect();
            assert_eq!(dropped, [b"Content-Length: 5\r\n"]);
        }
        assert!(complete("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").dropped().is_empty());
    }

    #[test]
    fn a_worker_that_closes_is_not_asked_again() {
        for (text, persistent) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
            ("HTTP/1.1 200 OK\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
        ] {
            assert_eq!(complete(text).persistent, persistent, "{text:?}");
        }
    }

    #[test]
    fn a_switch_is_believed_only_if_it_was_offered_and_the_request_is_complete() {
        let offered =
            complete("HTTP/1.1 426 No\r\nConnection: upgrade\r\nUpgrade: websocket, x\r\n\r\n").upgrade;
        let switch =
            |to: &str| complete(&format!("HTTP/1.1 101 Ok\r\nConnection: Upgrade\r\nUpgrade: {to}\r\n\r\n"));
        assert_eq!(switch("WebSocket").may_switch(offered.as_ref(), true), Ok(()));
        assert_eq!(switch("websocket").may_switch(offered.as_ref(), false), Err(BadResponse::Early101));
        assert_eq!(switch("y").may_switch(offered.as_ref(), true), Err(BadResponse::Unasked101));
        assert_eq!(switch("websocket").may_switch(None, true), Err(BadResponse::Unasked101));
    }

    #[test]
    fn what_a_worker_must_not_say_is_refused() {
        for text in [
            "GARBAGE\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\n\n",
            "HTTP/1.1 099 No\r\n\r\n",
            "HTTP/2.0 200 OK\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 101 Ok\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 101 Ok\r\nConnection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.0 101 Ok\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_parser(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Response::parse(&bytes, &Limits::default(), false);
        }
    }
}
