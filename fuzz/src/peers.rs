//! hyper as a second reader, in memory: a server that reads requests, a client that reads a response.
//!
//! No runtime and no socket: the input is there from the start, so whoever is pending without having
//! been woken has nothing more to say.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::HeaderMap;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Uri, Version};

use super::reference::Field;

/// As many fields as a head may ever have here.
const FIELDS_MAX: usize = 512;

/// A message as hyper understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Method and target; none for a response.
    pub request: Option<(String, Uri)>,
    /// None for a request.
    pub status: Option<u16>,
    pub minor: u8,
    /// Names in lower case; lines of the same name stand together.
    pub fields: Vec<Field>,
    pub data: Vec<u8>,
    pub trailers: Vec<Field>,
    /// Whether the body came to its end.
    pub complete: bool,
}

/// The requests that a hyper server reads from `input`.
pub fn requests(input: &[u8]) -> Vec<Seen> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let index = seen.borrow().len();
            seen.borrow_mut().push(Seen {
                request: Some((head.method.as_str().to_owned(), head.uri)),
                status: None,
                minor: minor(head.version),
                fields: fields(&head.headers),
                data: Vec::new(),
                trailers: Vec::new(),
                complete: false,
            });
            let (data, trailers, complete) = collect(body).await;
            let mut seen = seen.borrow_mut();
            (seen[index].data, seen[index].trailers, seen[index].complete) = (data, trailers, complete);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server
        .half_close(true)
        .max_headers(FIELDS_MAX)
        .max_buf_size(1 << 20)
        .auto_date_header(false)
        .header_read_timeout(None);
    {
        let wire = Wire { input: input.to_vec(), at: 0, asked: true, reader: None };
        // How it ends is of no interest: what was understood until then is.
        let _ = settle(pin!(server.serve_connection(wire, service)));
    }
    Rc::try_unwrap(seen).map(RefCell::into_inner).unwrap_or_default()
}

/// The final response that a hyper client reads from `input`, and how many bytes it took for it.
pub fn response(input: &[u8], to_head: bool) -> Option<(Seen, usize)> {
    let wire = Wire { input: input.to_vec(), at: 0, asked: false, reader: None };
    let mut client = hyper::client::conn::http1::Builder::new();
    client.max_headers(FIELDS_MAX).max_buf_size(1 << 20);
    let (mut sender, mut connection) = settle(pin!(client.handshake::<_, Empty<Bytes>>(wire)))?.ok()?;
    let mut request = Request::new(Empty::new());
    if to_head {
        *request.method_mut() = Method::HEAD;
    }
    let answer = {
        let asking = async {
            let (head, body) = sender.send_request(request).await.ok()?.into_parts();
            let (data, trailers, complete) = collect(body).await;
            Some(Seen {
                request: None,
                status: Some(head.status.as_u16()),
                minor: minor(head.version),
                fields: fields(&head.headers),
                data,
                trailers,
                complete,
            })
        };
        let mut asking = pin!(asking);
        let mut ended = false;
        let both = std::future::poll_fn(|cx| {
            ended = ended || connection.poll_without_shutdown(cx).is_ready();
            let answer = asking.as_mut().poll(cx);
            // The answer may have made room for the connection to go on.
            ended = ended || connection.poll_without_shutdown(cx).is_ready();
            answer
        });
        settle(pin!(both))??
    };
    let parts = connection.into_parts();
    Some((answer, parts.io.at - parts.read_buf.len()))
}

async fn collect(mut body: Incoming) -> (Vec<u8>, Vec<Field>, bool) {
    let (mut data, mut trailers) = (Vec::new(), Vec::new());
    loop {
        match body.frame().await {
            None => return (data, trailers, true),
            Some(Err(_)) => return (data, trailers, false),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(bytes) => data.extend_from_slice(&bytes),
                Err(frame) => trailers = frame.into_trailers().map(|map| fields(&map)).unwrap_or_default(),
            },
        }
    }
}

fn minor(version: Version) -> u8 {
    u8::from(version == Version::HTTP_11)
}

fn fields(map: &HeaderMap) -> Vec<Field> {
    map.iter().map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}

/// Polls until the future is done, or until nothing wakes it any more.
fn settle<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    struct Woken(AtomicBool);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    while woken.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
    }
    None
}

/// Bytes to read, then the end; what is written is dropped.
struct Wire {
    input: Vec<u8>,
    at: usize,
    /// Whether the input may be read: a client gets no answer before it has asked.
    asked: bool,
    reader: Option<Waker>,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = into.remaining().min(self.input.len() - self.at);
        into.put_slice(&self.input[self.at..self.at + count]);
        self.at += count;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
