//! Just enough HTTP/1.1 to know where a message ends, for both ends of a measurement.
//!
//! A benchmark that miscounts answers measures nothing, so the reader is strict
//! where a proxy could go wrong: framing that contradicts itself, a chunk that
//! does not end where it said, bytes nobody asked for. It deliberately shares no
//! code with the product: an error in both would stay unseen. Pure: bytes in,
//! verdicts out (RFC 9112 §6).

use std::mem::MaybeUninit;

use crate::body::{Body, Framing, Malformed, malformed};

/// Header fields per head; `req96` and `resp96` carry about a hundred.
const FIELDS_MAX: usize = 256;
/// A head that is larger never ends, as far as a benchmark is concerned.
const HEAD_BYTES_MAX: usize = 256 << 10;

/// A head and what it says about the bytes after it.
#[derive(Debug)]
pub(crate) struct Parsed<H> {
    /// Length of the head, the empty line included.
    pub(crate) head_bytes: usize,
    /// What the caller wanted to know from it.
    pub(crate) head: H,
    /// Where its body ends.
    pub(crate) framing: Framing,
    /// Whether another head follows for the same request (1xx).
    pub(crate) is_interim: bool,
}

/// Reads one kind of head; `None` while it is incomplete.
pub(crate) type ParseHead<H> = fn(&[u8]) -> Result<Option<Parsed<H>>, Malformed>;

/// Status line and connection option of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Status code, 200 to 599.
    pub(crate) status: u16,
    /// Whether the connection stays usable afterwards.
    pub(crate) keeps_alive: bool,
}

/// Request line and connection option of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Request target as received.
    pub(crate) path: String,
    /// Whether the method is HEAD, so that the answer has no body.
    pub(crate) is_head: bool,
    /// Whether the connection stays usable afterwards.
    pub(crate) keeps_alive: bool,
    /// What it offers to become a WebSocket with (RFC 6455 §4.1).
    pub(crate) websocket_key: Option<String>,
}

/// The fields that decide about framing and reuse.
#[derive(Debug, Default)]
struct Fields<'a> {
    length: Option<u64>,
    websocket_key: Option<&'a [u8]>,
    is_chunked: bool,
    closes: bool,
    keeps: bool,
}

impl<'a> Fields<'a> {
    fn read(headers: &[httparse::Header<'a>]) -> Result<Self, Malformed> {
        let mut fields = Self::default();
        for header in headers {
            // Length first: most fields are told apart by it without comparing letters.
            match header.name.len() {
                14 if header.name.eq_ignore_ascii_case("content-length") => {
                    let length = decimal(header.value)?;
                    if fields.length.is_some_and(|earlier| earlier != length) {
                        return malformed("two different Content-Length");
                    }
                    fields.length = Some(length);
                }
                17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                    if fields.is_chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                        return malformed("Transfer-Encoding other than one `chunked`");
                    }
                    fields.is_chunked = true;
                }
                17 if header.name.eq_ignore_ascii_case("sec-websocket-key") => {
                    fields.websocket_key = Some(header.value);
                }
                10 if header.name.eq_ignore_ascii_case("connection") => {
                    for option in header.value.split(|&byte| byte == b',') {
                        let option = option.trim_ascii();
                        fields.closes |= option.eq_ignore_ascii_case(b"close");
                        fields.keeps |= option.eq_ignore_ascii_case(b"keep-alive");
                    }
                }
                _ => {}
            }
        }
        if fields.is_chunked && fields.length.is_some() {
            return malformed("both Content-Length and Transfer-Encoding");
        }
        Ok(fields)
    }

    /// RFC 9112 §9.3: 1.1 stays open unless told, 1.0 closes unless told.
    fn keeps_alive(&self, minor_version: u8) -> bool {
        !self.closes && (minor_version >= 1 || self.keeps)
    }
}

fn decimal(value: &[u8]) -> Result<u64, Malformed> {
    let text = std::str::from_utf8(value).unwrap_or("");
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return malformed("Content-Length is no number");
    }
    text.parse().or_else(|_| malformed("Content-Length is too large"))
}

/// Reads the head of an answer to any request but HEAD.
pub(crate) fn parse_answer(bytes: &[u8]) -> Result<Option<Parsed<Answer>>, Malformed> {
    parse_any_answer(bytes, false)
}

/// Reads the head of an answer to HEAD: whatever it says, no body follows.
pub(crate) fn parse_answer_to_head(bytes: &[u8]) -> Result<Option<Parsed<Answer>>, Malformed> {
    parse_any_answer(bytes, true)
}

fn parse_any_answer(bytes: &[u8], to_head: bool) -> Result<Option<Parsed<Answer>>, Malformed> {
    let mut headers = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        bytes,
        &mut headers,
    );
    let head_bytes = match parsed {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return malformed(format!("answer head: {error}")),
    };
    let (Some(status), Some(minor_version)) = (response.code, response.version) else {
        return malformed("answer head without a status line");
    };
    let fields = Fields::read(response.headers)?;
    let is_interim = (100..200).contains(&status);
    if status == 101 || !(100..600).contains(&status) {
        return malformed(format!("status {status}, which nobody asked for"));
    }
    let framing = if to_head || is_interim || status == 204 || status == 304 {
        Framing::Length(0)
    } else if fields.is_chunked {
        Framing::Chunked
    } else {
        fields.length.map_or(Framing::UntilClose, Framing::Length)
    };
    let keeps_alive = fields.keeps_alive(minor_version) && framing != Framing::UntilClose;
    Ok(Some(Parsed { head_bytes, head: Answer { status, keeps_alive }, framing, is_interim }))
}

/// Reads the head of a request.
pub(crate) fn parse_request(bytes: &[u8]) -> Result<Option<Parsed<Request>>, Malformed> {
    let mut headers = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    let head_bytes = match request.parse_with_uninit_headers(bytes, &mut headers) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return malformed(format!("request head: {error}")),
    };
    let (Some(method), Some(path), Some(minor_version)) = (request.method, request.path, request.version)
    else {
        return malformed("request head without a request line");
    };
    let fields = Fields::read(request.headers)?;
    let framing =
        if fields.is_chunked { Framing::Chunked } else { Framing::Length(fields.length.unwrap_or(0)) };
    let head = Request {
        path: path.to_owned(),
        is_head: method == "HEAD",
        keeps_alive: fields.keeps_alive(minor_version),
        websocket_key: fields.websocket_key.map(|key| String::from_utf8_lossy(key).into_owned()),
    };
    Ok(Some(Parsed { head_bytes, head, framing, is_interim: false }))
}

/// Reads messages of one direction of one connection, one after the other.
#[derive(Debug)]
pub(crate) struct Reader<H> {
    parse: ParseHead<H>,
    /// The start of a head whose end has not arrived; empty otherwise.
    partial: Vec<u8>,
    /// The message whose body is being read.
    current: Option<(H, Body)>,
}

/// A whole message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<H> {
    /// Its head.
    pub(crate) head: H,
    /// Bytes of content, coding excluded.
    pub(crate) body_bytes: u64,
}

impl<H> Reader<H> {
    /// A reader at the start of a connection.
    pub(crate) fn new(parse: ParseHead<H>) -> Self {
        Self { parse, partial: Vec::new(), current: None }
    }

    /// Whether nothing of a next message has arrived.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.partial.is_empty() && self.current.is_none()
    }

    /// Takes bytes up to the end of one message. Returns how many it took and
    /// the message if that was its end; bytes not taken belong to the next one.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(usize, Option<Message<H>>), Malformed> {
        self.feed_to(bytes, &mut |_, _| {})
    }

    /// The same, with each piece of content handed to `sink`, and the head that it belongs to.
    pub(crate) fn feed_to(
        &mut self,
        bytes: &[u8],
        sink: &mut impl FnMut(&H, &[u8]),
    ) -> Result<(usize, Option<Message<H>>), Malformed> {
        let mut taken = 0;
        while self.current.is_none() {
            let rest = &bytes[taken..];
            let held = self.partial.len();
            let parsed = if held == 0 {
                (self.parse)(rest)?
            } else {
                self.partial.extend_from_slice(rest);
                (self.parse)(&self.partial)?
            };
            let Some(parsed) = parsed else {
                if held == 0 {
                    self.partial.extend_from_slice(rest);
                }
                if self.partial.len() > HEAD_BYTES_MAX {
                    return malformed("a head that does not end");
                }
                return Ok((bytes.len(), None));
            };
            // What was held came from earlier calls and was taken then.
            taken += parsed.head_bytes - held;
            self.partial.clear();
            if !parsed.is_interim {
                self.current = Some((parsed.head, Body::new(parsed.framing)));
            } else if taken == bytes.len() {
                return Ok((taken, None));
            }
        }
        let Some((head, mut body)) = self.current.take() else { return Ok((taken, None)) };
        taken += body.feed_to(&bytes[taken..], &mut |piece| sink(&head, piece))?;
        if body.is_complete() {
            return Ok((taken, Some(Message { head, body_bytes: body.content_bytes() })));
        }
        self.current = Some((head, body));
        Ok((taken, None))
    }

    /// Says that the peer closed. The message, if closing was its proper end.
    pub(crate) fn finish(&mut self) -> Option<Message<H>> {
        let (head, body) = self.current.take_if(|(_, body)| body.is_until_close())?;
        Some(Message { head, body_bytes: body.content_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces of `piece` bytes, then closes.
    fn read_answer(wire: &[u8], piece: usize) -> Result<Option<(u16, u64)>, Malformed> {
        let mut reader = Reader::new(parse_answer);
        for bytes in wire.chunks(piece) {
            let (taken, message) = reader.feed(bytes)?;
            if let Some(message) = message {
                assert_eq!(taken, bytes.len(), "bytes left over");
                return Ok(Some((message.head.status, message.body_bytes)));
            }
        }
        Ok(reader.finish().map(|message| (message.head.status, message.body_bytes)))
    }

    fn read_whole_and_split(wire: &[u8]) -> Option<(u16, u64)> {
        let whole = read_answer(wire, wire.len()).unwrap();
        for piece in 1..wire.len() {
            assert_eq!(read_answer(wire, piece).unwrap(), whole, "pieces of {piece}");
        }
        whole
    }

    #[test]
    fn a_length_ends_the_body_however_it_arrives() {
        let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(read_whole_and_split(wire), Some((200, 5)));
    }

    #[test]
    fn chunks_are_counted_without_their_coding() {
        let wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                     5\r\nhello\r\nA;name=x\r\n0123456789\r\n0\r\nTrailer: yes\r\n\r\n";
        assert_eq!(read_whole_and_split(wire), Some((200, 15)));
    }

    #[test]
    fn no_content_and_not_modified_have_no_body_whatever_they_say() {
        assert_eq!(read_whole_and_split(b"HTTP/1.1 204 No\r\n\r\n"), Some((204, 0)));
        assert_eq!(read_whole_and_split(b"HTTP/1.1 304 Not\r\nContent-Length: 9\r\n\r\n"), Some((304, 0)));
        let mut reader = Reader::new(parse_answer_to_head);
        let (_, message) = reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").unwrap();
        assert_eq!(message.map(|message| message.body_bytes), Some(0));
    }

    #[test]
    fn an_interim_answer_is_passed_over() {
        let wire = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
        assert_eq!(read_whole_and_split(wire), Some((200, 1)));
    }

    #[test]
    fn without_framing_the_close_ends_the_body() {
        assert_eq!(read_whole_and_split(b"HTTP/1.1 200 OK\r\n\r\nabc"), Some((200, 3)));
    }

    #[test]
    fn a_close_in_the_middle_is_no_answer() {
        assert_eq!(read_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", 99), Ok(None));
        assert_eq!(read_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", 99), Ok(None));
    }

    #[test]
    fn contradictory_or_broken_framing_is_refused() {
        for fields in [
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Content-Length: +5",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip",
        ] {
            let wire = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nhello");
            assert!(read_answer(wire.as_bytes(), 999).is_err(), "{fields}");
        }
        for body in ["x\r\n", "\r\n", "1\r\nab\r\n", "1\nx\r\n", "1111111111111111\r\n", "0\r\n\n"] {
            let wire = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            assert!(read_answer(wire.as_bytes(), 999).is_err(), "{body:?}");
        }
    }

    #[test]
    fn bytes_after_the_end_are_left_for_the_next_message() {
        let mut reader = Reader::new(parse_request);
        let wire = b"POST /b/9 HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.0\r\n\r\n";
        let (taken, first) = reader.feed(wire).unwrap();
        assert_eq!(first.map(|request| (request.head.path, request.body_bytes)), Some(("/b/9".into(), 2)));
        let (_, second) = reader.feed(&wire[taken..]).unwrap();
        assert_eq!(second.map(|request| request.head.keeps_alive), Some(false));
        assert!(reader.is_between_messages());
    }

    #[test]
    fn a_closing_answer_does_not_keep_the_connection() {
        let mut reader = Reader::new(parse_answer);
        let wire = b"HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 0\r\n\r\n";
        let (_, message) = reader.feed(wire).unwrap();
        assert_eq!(message.map(|message| message.head.keeps_alive), Some(false));
    }
}
