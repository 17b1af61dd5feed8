//! HTTP/2 for tests: raw frames for both sides, and a polite client.
//!
//! The client is the `h2` package driven step by step from the test's thread.
//! Its frames move on a thread of their own, so the test only says what happens to
//! its streams and in which order.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::wire::Wire;
use super::{GUARD, ID};

/// What a client says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Kinds of frames (RFC 9113 §6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(crate) mod flag {
    pub(crate) const NONE: u8 = 0;
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
}

/// One frame as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of a RST_STREAM or GOAWAY.
    pub(crate) fn reason(&self) -> Reason {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes")).into()
    }
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block without any compression: literals that are not indexed, with plain names (RFC 7541 §6.2.2).
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            // An integer with a prefix of seven bits (RFC 7541 §5.1).
            let mut length = text.len();
            if length < 127 {
                block.push(length as u8);
            } else {
                block.push(127);
                length -= 127;
                while length >= 128 {
                    block.push((length % 128 + 128) as u8);
                    length /= 128;
                }
                block.push(length as u8);
            }
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The header block of a GET.
pub(crate) fn get_block(path: &str) -> Vec<u8> {
    block(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)])
}

impl<S: Read + Write> Wire<S> {
    /// The next frame.
    pub(crate) fn frame(&mut self) -> Frame {
        let head = self.take(9);
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes(head[5..9].try_into().expect("four bytes"));
        Frame { kind: head[3], flags: head[4], stream, payload: self.take(length) }
    }

    /// The next frame of this kind; SETTINGS are acknowledged, PINGs answered, others passed over.
    pub(crate) fn frame_of(&mut self, wanted: u8) -> Frame {
        loop {
            let seen = self.frame();
            if matches!(seen.kind, kind::SETTINGS | kind::PING) && seen.flags & flag::ACK == 0 {
                let echo = if seen.kind == kind::PING { seen.payload.as_slice() } else { b"" };
                self.send(frame(seen.kind, flag::ACK, 0, echo));
            }
            if seen.kind == wanted {
                return seen;
            }
        }
    }
}

/// One connection.
pub(crate) struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// One stream: its request and, once [`Http2::head`] has seen it, its answer.
pub(crate) struct Stream {
    pub(crate) send: SendStream<Bytes>,
    response: ResponseFuture,
    body: Option<RecvStream>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().expect("text"))
    }
}

/// A request for `target` with the fields that keep its head unchanged on the way.
pub(crate) fn request(method: &str, target: &str) -> Request<()> {
    let uri = format!("http://a{target}");
    Request::builder().method(method).uri(uri).header("x-fc-request-id", ID).body(()).expect("a request")
}

impl Http2 {
    pub(crate) fn connect(port: u16) -> Self {
        Self::connect_as(port, &Builder::new())
    }

    /// With settings of the client's own.
    pub(crate) fn connect_as(port: u16, builder: &Builder) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (sender, connection) = runtime.block_on(async {
            let stream = TcpStream::connect(("127.0.0.1", port)).expect("the port accepts");
            stream.set_nonblocking(true).expect("non-blocking");
            let stream = tokio::net::TcpStream::from_std(stream).expect("a socket");
            stream.set_nodelay(true).expect("no delay");
            let (sender, connection) = builder.handshake(stream).await.expect("a handshake");
            (sender, tokio::spawn(connection))
        });
        Self { runtime, sender, connection }
    }

    fn wait<F: Future>(&self, what: &str, future: F) -> F::Output {
        self.runtime
            .block_on(async { timeout(GUARD, future).await })
            .unwrap_or_else(|_| panic!("not seen in time: {what}"))
    }

    /// Opens a stream; `end`: its request has no body.
    pub(crate) fn open(&mut self, request: Request<()>, end: bool) -> Stream {
        let mut sender = self.sender.clone();
        self.wait("room for a stream", poll_fn(|cx| sender.poll_ready(cx))).expect("an open connection");
        let (response, send) = sender.send_request(request, end).expect("a stream");
        Stream { send, response, body: None }
    }

    /// Whether the other side takes new streams no more.
    pub(crate) fn is_going_away(&mut self) -> bool {
        let mut sender = self.sender.clone();
        self.wait("room for a stream", poll_fn(|cx| sender.poll_ready(cx))).is_err()
    }

    /// Sends a whole request and reads its answer.
    pub(crate) fn ask(&mut self, request: Request<()>, body: &[u8]) -> Answer {
        let mut stream = self.open(request, body.is_empty());
        if !body.is_empty() {
            self.send(&mut stream, body, true);
        }
        self.answer(&mut stream)
    }

    /// Sends data as the window allows it.
    pub(crate) fn send(&self, stream: &mut Stream, mut data: &[u8], end: bool) {
        let send = &mut stream.send;
        self.wait("window", async {
            while !data.is_empty() {
                send.reserve_capacity(data.len());
                let room = poll_fn(|cx| send.poll_capacity(cx)).await.expect("open").expect("no reset");
                let (now, later) = data.split_at(room.min(data.len()));
                send.send_data(Bytes::copy_from_slice(now), false).expect("sent");
                data = later;
            }
        });
        if end {
            stream.send.send_data(Bytes::new(), true).expect("sent");
        }
    }

    /// The next interim answer.
    pub(crate) fn interim(&self, stream: &mut Stream) -> Response<()> {
        self.wait("an interim answer", poll_fn(|cx| stream.response.poll_informational(cx)))
            .expect("an interim answer before the final one")
            .expect("no reset")
    }

    /// The head of the answer.
    pub(crate) fn head(&self, stream: &mut Stream) -> Result<Response<()>, h2::Error> {
        let (parts, body) = self.wait("an answer", &mut stream.response)?.into_parts();
        stream.body = Some(body);
        Ok(Response::from_parts(parts, ()))
    }

    /// The next data of the answer; `None` at its end.
    pub(crate) fn data(&self, stream: &mut Stream) -> Option<Result<Bytes, h2::Error>> {
        let body = stream.body.as_mut().expect("a head was seen");
        let data = self.wait("data", body.data());
        if let Some(Ok(data)) = &data {
            body.flow_control().release_capacity(data.len()).expect("received");
        }
        data
    }

    /// The whole answer.
    pub(crate) fn answer(&self, stream: &mut Stream) -> Answer {
        let head = self.head(stream).expect("an answer").into_parts().0;
        let mut body = Vec::new();
        while let Some(data) = self.data(stream) {
            body.extend_from_slice(&data.expect("a whole body"));
        }
        let trailers = stream.body.as_mut().expect("a head was seen").trailers();
        let trailers = self.wait("trailers", trailers).expect("no reset");
        Answer { status: head.status.as_u16(), fields: head.headers, body, trailers }
    }

    /// Why the other side resets the stream.
    pub(crate) fn reset_of(&self, stream: &mut Stream) -> Reason {
        self.wait("a reset", poll_fn(|cx| stream.send.poll_reset(cx))).expect("a reset")
    }

    /// Waits for the end of the connection.
    pub(crate) fn end(self) -> Result<(), h2::Error> {
        let Self { runtime, sender, connection } = self;
        drop(sender);
        let ended = runtime.block_on(async { timeout(GUARD, connection).await });
        ended.expect("the connection ends").expect("no panic")
    }
}
