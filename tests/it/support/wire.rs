//! One end of a connection as raw bytes, read as strictly as a suspicious peer would.

use std::io::{ErrorKind, Read, Write};

/// A stream and what was received from it but not taken yet.
pub(crate) struct Wire<S> {
    pub(crate) stream: S,
    received: Vec<u8>,
}

/// How the other side ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// FIN: everything was sent.
    Clean,
    /// A reset.
    Reset,
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// Start line and fields, blank line included, as received.
    pub(crate) head: String,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// The trailer section, without the blank line behind it.
    pub(crate) trailers: String,
}

impl Response {
    pub(crate) fn status(&self) -> u16 {
        status_of(&self.head)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    /// The value of the one field with this name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

/// The value of the field `name` in `head`, which must not have two of it.
pub(crate) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut values = head.split("\r\n").skip(1).filter_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    let value = values.next();
    assert!(values.next().is_none(), "{name} twice: {head}");
    value
}

pub(crate) fn status_of(head: &str) -> u16 {
    let rest = head.strip_prefix("HTTP/1.1 ").unwrap_or_else(|| panic!("not HTTP/1.1: {head:?}"));
    rest[..3].parse().expect("three digits")
}

impl<S: Read + Write> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, received: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the peer takes what is sent");
    }

    /// Sends `bytes` one by one, each in a packet of its own.
    pub(crate) fn send_singly(&mut self, bytes: impl AsRef<[u8]>) {
        for byte in bytes.as_ref() {
            self.send([*byte]);
        }
    }

    /// Reads once; the number of bytes, or how it ended.
    pub(crate) fn fill(&mut self) -> Result<usize, End> {
        let mut chunk = [0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(End::Clean),
            Ok(count) => {
                self.received.extend_from_slice(&chunk[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(0),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                Err(End::Reset)
            }
            Err(error) => panic!("nothing came: {error}; so far: {}", self.seen()),
        }
    }

    /// What was received and not taken.
    pub(crate) fn received(&self) -> &[u8] {
        &self.received
    }

    fn seen(&self) -> String {
        String::from_utf8_lossy(&self.received[..self.received.len().min(2000)]).into_owned()
    }

    fn more(&mut self) {
        if let Err(end) = self.fill() {
            panic!("ended ({end:?}) in the middle: {:?}", self.seen());
        }
    }

    /// Exactly `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        while self.received.len() < count {
            self.more();
        }
        self.received.drain(..count).collect()
    }

    /// Everything up to and including the first `mark`.
    pub(crate) fn take_until(&mut self, mark: &str) -> String {
        let mut looked = 0;
        loop {
            let from = looked.max(mark.len()) - mark.len();
            let found =
                self.received[from..].windows(mark.len()).position(|window| window == mark.as_bytes());
            if let Some(at) = found {
                let bytes = self.take(from + at + mark.len());
                return String::from_utf8(bytes).expect("text");
            }
            looked = self.received.len();
            self.more();
        }
    }

    /// A head, as received.
    pub(crate) fn head(&mut self) -> String {
        self.take_until("\r\n\r\n")
    }

    /// One chunk's data; empty for the last one (whose trailers are still to come).
    pub(crate) fn chunk(&mut self) -> Vec<u8> {
        let line = self.take_until("\r\n");
        let size =
            usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
        let data = self.take(size);
        if size > 0 {
            assert_eq!(self.take(2), b"\r\n", "the end of a chunk");
        }
        data
    }

    /// A chunked body: its data, and its trailers without the blank line.
    pub(crate) fn chunks(&mut self) -> (Vec<u8>, String) {
        let mut body = Vec::new();
        loop {
            let data = self.chunk();
            if data.is_empty() {
                break;
            }
            body.extend_from_slice(&data);
        }
        let mut trailers = String::new();
        loop {
            let line = self.take_until("\r\n");
            if line == "\r\n" {
                return (body, trailers);
            }
            trailers.push_str(&line);
        }
    }

    /// The body that `head` announces, without its framing.
    pub(crate) fn body_of(&mut self, head: &str) -> (Vec<u8>, String) {
        match (field(head, "content-length"), field(head, "transfer-encoding")) {
            (Some(length), None) => (self.take(length.parse().expect("a length")), String::new()),
            (None, Some("chunked")) => self.chunks(),
            (None, None) => (Vec::new(), String::new()),
            both => panic!("ambiguous {both:?}: {head}"),
        }
    }

    /// One whole answer with a length or in chunks.
    pub(crate) fn response(&mut self) -> Response {
        let head = self.head();
        let status = status_of(&head);
        let has_body = status != 204 && status != 304 && status >= 200;
        let framed = ["content-length", "transfer-encoding"].iter().any(|name| field(&head, name).is_some());
        assert!(framed || !has_body, "an answer that only a close could end: {head}");
        let (body, trailers) = if has_body { self.body_of(&head) } else { Default::default() };
        Response { head, body, trailers }
    }

    /// The next answer, which has a length; or how the other side ended instead, however much
    /// of the answer was there by then.
    pub(crate) fn outcome(&mut self) -> Result<Response, End> {
        while !is_whole_with_length(&self.received) {
            self.fill()?;
        }
        Ok(self.response())
    }

    /// Everything until the end, and how it ended.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill() {
                return (std::mem::take(&mut self.received), end);
            }
        }
    }

    /// Waits for the end, before which nothing may come.
    pub(crate) fn end(&mut self) -> End {
        let (rest, end) = self.rest();
        assert!(rest.is_empty(), "bytes before the end: {:?}", String::from_utf8_lossy(&rest));
        end
    }

    /// Asserts that no byte and no end is there right now.
    pub(crate) fn is_silent(&self) -> bool {
        self.received.is_empty()
    }
}

fn is_whole_with_length(received: &[u8]) -> bool {
    let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = std::str::from_utf8(&received[..at + 4]).expect("text");
    let length = field(head, "content-length").unwrap_or_else(|| panic!("no length: {head}"));
    received.len() >= at + 4 + length.parse::<usize>().expect("a length")
}
