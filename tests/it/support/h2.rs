//! A polite HTTP/2 client: the `h2` package driven step by step from the test's thread.
//!
//! Frames move on a thread of their own, so the test only says what happens to its
//! streams and in which order.

use std::future::poll_fn;
use std::net::TcpStream;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{GUARD, ID};

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
