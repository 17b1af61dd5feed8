//! The worker that runs when nobody brought one: says hello, and serves tests.
//!
//! A process of its own like any other worker. Every path answers with a text;
//! a few answer with what a test of a relay needs:
//!
//! | path | answer |
//! |---|---|
//! | `/echo` | the request body, as it comes |
//! | `/slow?ms=N` | the text, after N milliseconds |
//! | `/bytes?n=N` | N bytes with a length |
//! | `/chunked?n=N` | N bytes without one |
//! | `/headers` | the request line and fields as received (names in lower case) |
//! | `/exit?code=N` | none: the process ends |

use std::convert::Infallible;
use std::env;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One frame of a generated body.
const FRAME: &[u8] = &[b'w'; 16 << 10];

/// The whole life of the demo worker, until TERM.
///
/// Listens on the socket in `WARMFRONT_SOCKET`, else on the loopback port in
/// `PORT`. Ends with 0 after TERM, with 64 if neither is set and 71 if the
/// system refuses; the reason is on stderr.
pub fn run() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(71, &format!("no runtime: {error}")),
    };
    match runtime.block_on(serve()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => fail(64, &error.to_string()),
        Err(error) => fail(71, &error.to_string()),
    }
}

fn fail(code: u8, why: &str) -> ExitCode {
    eprintln!("demo worker: {why}");
    ExitCode::from(code)
}

async fn serve() -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let (stop, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    let listener = Listener::bind().await?;
    loop {
        tokio::select! {
            _ = term.recv() => break,
            accepted = listener.accept() => {
                match accepted {
                    Ok(stream) => drop(connections.spawn(connection(stream, stopped.clone()))),
                    // Out of descriptors, most likely: connections that end give some back.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    stop.send_replace(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Where the sidecar told us to listen.
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Listener {
    async fn bind() -> io::Result<Self> {
        if let Some(path) = env::var_os("WARMFRONT_SOCKET") {
            return UnixListener::bind(path).map(Self::Unix);
        }
        let port = env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok());
        let Some(port) = port else {
            let text = "started by hand? It needs WARMFRONT_SOCKET or a port number in PORT.";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        };
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map(Self::Tcp)
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let stream = listener.accept().await?.0;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

async fn connection(stream: Box<dyn Stream>, mut stopped: watch::Receiver<bool>) {
    let serving = http1::Builder::new()
        .keep_alive(true)
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = stopped.wait_for(|&stop| stop) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = serving.await;
}

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

async fn answer(request: Request<Incoming>) -> Result<Answer, Infallible> {
    let number = |name| query(request.uri().query(), name);
    Ok(match request.uri().path() {
        "/echo" => {
            let content_type = request.headers().get(CONTENT_TYPE).cloned();
            let mut response = Response::new(request.into_body().boxed());
            if let Some(content_type) = content_type {
                response.headers_mut().insert(CONTENT_TYPE, content_type);
            }
            response
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(number("ms").unwrap_or(0))).await;
            text(hello(&request))
        }
        "/bytes" => bytes(Filler { left: number("n").unwrap_or(0), tells_length: true }),
        "/chunked" => bytes(Filler { left: number("n").unwrap_or(0), tells_length: false }),
        "/headers" => text(received(&request)),
        "/exit" => std::process::exit(number("code").and_then(|code| i32::try_from(code).ok()).unwrap_or(1)),
        _ => text(hello(&request)),
    })
}

fn query(query: Option<&str>, name: &str) -> Option<u64> {
    query?.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

fn text(content: String) -> Answer {
    let mut response = Response::new(Full::from(content).map_err(|never| match never {}).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn bytes(body: Filler) -> Answer {
    let mut response = Response::new(body.map_err(|never| match never {}).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

fn hello<B>(request: &Request<B>) -> String {
    let worker = env::var("WARMFRONT_WORKER_ID").unwrap_or_else(|_| "?".to_owned());
    let mut text = format!("Hello from warm worker {worker} (pid {}).\n", std::process::id());
    for (label, name) in [("start", "x-warmfront-start"), ("request id", "x-fc-request-id")] {
        if let Some(value) = request.headers().get(name) {
            text.push_str(&format!("{label}: {}\n", String::from_utf8_lossy(value.as_bytes())));
        }
    }
    text
}

fn received<B>(request: &Request<B>) -> String {
    let mut text = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes())));
    }
    text
}

/// A body of `left` equal bytes that is never in memory as a whole.
struct Filler {
    left: u64,
    tells_length: bool,
}

impl Body for Filler {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(FRAME.len());
        self.left -= size as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&FRAME[..size])))))
    }

    fn is_end_stream(&self) -> bool {
        self.tells_length && self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.tells_length { SizeHint::with_exact(self.left) } else { SizeHint::new() }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    /// Sends raw requests over one connection; returns everything until the end.
    async fn talk(requests: &str) -> String {
        let (mut client, server) = UnixStream::pair().unwrap();
        let (_stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(connection(Box::new(server), stopped));
        client.write_all(requests.as_bytes()).await.unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).await.unwrap();
        serving.await.unwrap();
        response
    }

    fn get(path: &str, fields: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\n{fields}\r\n")
    }

    const LAST: &str = "connection: close\r\n";

    #[tokio::test]
    async fn hello_names_the_start_and_the_request_only_if_told() {
        let told = format!("x-warmfront-start: warm\r\nx-fc-request-id: 1-2\r\n{LAST}");
        let text = talk(&(get("/a", "") + &get("/b", &told))).await;
        let (first, second) = text.split_once(").\n").unwrap();
        assert!(
            first.contains("Hello from warm worker ? (pid ") && second.contains("HTTP/1.1 200"),
            "{text}"
        );
        assert!(text.ends_with(").\nstart: warm\nrequest id: 1-2\n"), "{text}");
    }

    #[tokio::test]
    async fn an_echo_returns_the_body() {
        let request = format!("POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n{LAST}\r\nping");
        assert!(talk(&request).await.ends_with("\r\n\r\nping"));
    }

    #[tokio::test]
    async fn bytes_have_a_length_and_chunks_have_none() {
        let text = talk(&get("/bytes?n=40000", LAST)).await;
        assert!(text.contains("content-length: 40000\r\n") && text.ends_with(&"w".repeat(40_000)));
        let text = talk(&get("/chunked?n=20000", LAST)).await;
        assert!(text.contains("transfer-encoding: chunked\r\n") && text.ends_with("w\r\n0\r\n\r\n"));
        assert_eq!(text.split_once("\r\n\r\n").unwrap().1.matches('w').count(), 20_000);
    }

    #[tokio::test]
    async fn received_fields_are_shown() {
        let text = talk(&get("/headers?q=1", &format!("X-One: 1\r\nx-one: 2\r\n{LAST}"))).await;
        assert!(text.contains("\r\n\r\nGET /headers?q=1 HTTP/1.1\nhost: x\nx-one: 1\nx-one: 2\n"), "{text}");
    }

    #[tokio::test]
    async fn a_stop_finishes_the_request_in_flight_and_then_hangs_up() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(connection(Box::new(server), stopped));
        client.write_all(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\npi").await.unwrap();
        let mut response = vec![0; 512];
        let got = client.read(&mut response).await.unwrap();
        response.truncate(got);
        assert!(response.starts_with(b"HTTP/1.1 200"));
        stop.send_replace(true);
        client.write_all(b"ng").await.unwrap();
        client.read_to_end(&mut response).await.unwrap();
        assert!(response.ends_with(b"ping"), "{}", String::from_utf8_lossy(&response));
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn a_stop_hangs_up_an_idle_connection() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(connection(Box::new(server), stopped));
        client.write_all(get("/bytes?n=0", "").as_bytes()).await.unwrap();
        client.readable().await.unwrap();
        stop.send_replace(true);
        client.read_to_end(&mut Vec::new()).await.unwrap();
        serving.await.unwrap();
    }

    #[test]
    fn numbers_are_found_in_a_query() {
        assert_eq!(query(Some("a=1&ms=20"), "ms"), Some(20));
        assert_eq!(query(Some("xms=20"), "ms"), None);
        assert_eq!(query(None, "ms"), None);
    }
}
