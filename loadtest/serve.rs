//! The worker of the benchmarks: answers at once, from memory, on one thread.
//!
//! The path says what the answer looks like, so that one worker serves every
//! cell: `/b/<n>` is n bytes with a Content-Length, `/c/<n>` n bytes in four
//! chunks, `/c/<n>/<k>` in k, `/h/<k>` 1 KiB with k more header fields, what scenarios
//! ask for is in `pages.rs`, anything else the default. Requests are read to their
//! end; what is not sent back is thrown away.

use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::task::ready;

use clap::Args;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::LocalSet;

use crate::http::{Message, Reader, Request, parse_request};
use crate::pages::{self, ECHO_BYTES_MAX, Page};
use crate::peer::Peer;
use crate::scratch::with_scratch;

/// Largest answer.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// Largest answer in chunks; it is held in memory whole.
const CHUNKED_BYTES_MAX: usize = 16 << 20;
/// What is written at a time of a large body, again and again from the same memory: a worker whose body
/// does not fit into the caches would be slower than the proxy in front.
const PIECE_BYTES: usize = 256 << 10;
/// Chunks of `/c/<n>`.
const CHUNKS: usize = 4;
/// Most additional header fields.
const EXTRA_FIELDS_MAX: usize = 10_000;
/// Answers kept ready; a benchmark asks for a handful of paths.
const CACHED_MAX: usize = 64;
/// What `/h/<k>` carries.
const SMALL_BYTES: usize = 1024;

/// Flags of `serve`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeArgs {
    /// Socket to create; one that is left over from before is replaced.
    #[arg(long, value_name = "PATH", required_unless_present = "listen")]
    pub(crate) unix: Option<PathBuf>,
    /// Loopback ADDRESS:PORT to listen on as well, or instead.
    #[arg(long, value_name = "ADDRESS", value_parser = loopback)]
    pub(crate) listen: Option<SocketAddr>,
    /// Content of the default answer, in bytes.
    #[arg(long, default_value_t = SMALL_BYTES)]
    pub(crate) body_bytes: usize,
    /// Send the default answer in four chunks.
    #[arg(long)]
    pub(crate) chunked: bool,
}

/// A worker of a measurement is nobody else's server.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|_| format!("`{text}` is no ADDRESS:PORT"))?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err(format!("{address} can be reached from elsewhere; listen on 127.0.0.1 or [::1]")),
    }
}

/// What an answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Length { bytes: usize, extra_fields: usize },
    Chunked { bytes: usize, chunks: usize },
    TooLarge,
}

impl Shape {
    fn of(path: &str, default: Self) -> Self {
        let Some((kind, numbers)) = path.get(1..).and_then(|rest| rest.split_once('/')) else {
            return default;
        };
        let (number, more) = numbers.split_once('/').map_or((numbers, None), |(a, b)| (a, Some(b)));
        match (kind, number.parse::<usize>(), more.map(str::parse::<usize>)) {
            ("b", Ok(bytes), None) if bytes > ANSWER_BYTES_MAX => Self::TooLarge,
            ("c", Ok(bytes), _) if bytes > CHUNKED_BYTES_MAX => Self::TooLarge,
            ("h", Ok(extra_fields), None) if extra_fields > EXTRA_FIELDS_MAX => Self::TooLarge,
            ("b", Ok(bytes), None) => Self::Length { bytes, extra_fields: 0 },
            ("c", Ok(bytes), None) => Self::Chunked { bytes, chunks: CHUNKS },
            ("c", Ok(bytes), Some(Ok(chunks @ 1..))) => {
                Self::Chunked { bytes, chunks: chunks.min(bytes.max(1)) }
            }
            ("h", Ok(extra_fields), None) => Self::Length { bytes: SMALL_BYTES, extra_fields },
            _ => default,
        }
    }

    /// Head and body as they go on the wire.
    fn render(self) -> Rendered {
        let mut wire = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n".to_vec();
        match self {
            Self::Length { bytes, extra_fields } => {
                for i in 0..extra_fields {
                    wire.extend_from_slice(format!("x-extra-{i:03}: value-of-field-{i:03}\r\n").as_bytes());
                }
                wire.extend_from_slice(format!("content-length: {bytes}\r\n\r\n").as_bytes());
                let head_bytes = wire.len();
                let first = bytes.min(PIECE_BYTES);
                wire.resize(head_bytes + first, b'x');
                Rendered { wire, head_bytes, repeated_bytes: bytes - first }
            }
            Self::Chunked { bytes, chunks } => {
                wire.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                let head_bytes = wire.len();
                for piece in 0..chunks {
                    let length = bytes / chunks + usize::from(piece < bytes % chunks);
                    if length > 0 {
                        wire.extend_from_slice(format!("{length:x}\r\n").as_bytes());
                        wire.resize(wire.len() + length, b'x');
                        wire.extend_from_slice(b"\r\n");
                    }
                }
                wire.extend_from_slice(b"0\r\n\r\n");
                Rendered { wire, head_bytes, repeated_bytes: 0 }
            }
            Self::TooLarge => {
                let wire = b"HTTP/1.1 400 Too Large\r\ncontent-length: 0\r\n\r\n".to_vec();
                Rendered { head_bytes: wire.len(), wire, repeated_bytes: 0 }
            }
        }
    }
}

/// An answer, ready to be sent.
#[derive(Debug)]
struct Rendered {
    wire: Vec<u8>,
    /// Where in `wire` the body begins.
    head_bytes: usize,
    /// Content behind `wire`: the body in it is sent once more, and again, up to so many bytes.
    repeated_bytes: usize,
}

impl Rendered {
    async fn send(&self, stream: &mut Peer, is_head: bool) -> io::Result<()> {
        if is_head {
            return stream.write_all(&self.wire[..self.head_bytes]).await;
        }
        stream.write_all(&self.wire).await?;
        let body = &self.wire[self.head_bytes..];
        let mut left = self.repeated_bytes;
        while left > 0 {
            let piece = &body[..left.min(body.len())];
            stream.write_all(piece).await?;
            left -= piece.len();
        }
        Ok(())
    }
}

/// Answers by path, made on first use.
struct Answers {
    default: Shape,
    ready: std::cell::RefCell<HashMap<String, Rc<Rendered>>>,
}

impl Answers {
    fn of(&self, path: &str) -> Rc<Rendered> {
        let mut ready = self.ready.borrow_mut();
        if let Some(answer) = ready.get(path) {
            return Rc::clone(answer);
        }
        let answer = Rc::new(Shape::of(path, self.default).render());
        if ready.len() < CACHED_MAX {
            ready.insert(path.to_owned(), Rc::clone(&answer));
        }
        answer
    }
}

/// Serves until the process is ended.
///
/// # Errors
/// The socket cannot be created.
pub(crate) async fn run(args: &ServeArgs) -> io::Result<()> {
    let default = if args.chunked {
        Shape::Chunked { bytes: args.body_bytes, chunks: CHUNKS }
    } else {
        Shape::Length { bytes: args.body_bytes, extra_fields: 0 }
    };
    let unix = args.unix.as_ref().map(|path| {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        UnixListener::bind(path)
    });
    let listeners = Listeners {
        unix: unix.transpose()?,
        tcp: match args.listen {
            Some(address) => Some(TcpListener::bind(address).await?),
            None => None,
        },
    };
    LocalSet::new().run_until(accept_all(listeners, default)).await
}

/// Where connections come from; at least one.
struct Listeners {
    unix: Option<UnixListener>,
    tcp: Option<TcpListener>,
}

impl Listeners {
    /// Cancel safe, as both of its waits are.
    async fn accept(&self) -> io::Result<Peer> {
        let unix = async {
            match &self.unix {
                Some(listener) => Peer::new(listener.accept().await?.0.into_std()?),
                None => std::future::pending().await,
            }
        };
        let tcp = async {
            match &self.tcp {
                Some(listener) => {
                    let stream = listener.accept().await?.0;
                    stream.set_nodelay(true)?;
                    Peer::new(stream.into_std()?)
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            peer = unix => peer,
            peer = tcp => peer,
        }
    }
}

/// Must run inside a [`LocalSet`].
async fn accept_all(listeners: Listeners, default: Shape) -> io::Result<()> {
    let answers = Rc::new(Answers { default, ready: std::cell::RefCell::default() });
    loop {
        match listeners.accept().await {
            Ok(peer) => {
                // A connection that breaks is the proxy's to notice and the client's to count.
                let answers = Rc::clone(&answers);
                tokio::task::spawn_local(async move { serve_connection(peer, &answers).await });
            }
            // Out of descriptors, or the peer gave up: others may still be served.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
        }
    }
}

async fn serve_connection(mut stream: Peer, answers: &Answers) -> io::Result<()> {
    let mut reader = Reader::new(parse_request);
    let mut asked: Vec<Asked> = Vec::new();
    let mut content = Vec::new();
    loop {
        if !read_some(&mut stream, &mut reader, &mut asked, &mut content).await? {
            return Ok(());
        }
        for Asked { message: Message { head, body_bytes }, content } in asked.drain(..) {
            match Page::of(&head.path) {
                None => answers.of(&head.path).send(&mut stream, head.is_head).await?,
                Some(Page::Echo) => {
                    return pages::echo(&mut stream, head.websocket_key.as_deref()).await;
                }
                Some(page) => page.send(&mut stream, &head, body_bytes, content).await?,
            }
            if !head.keeps_alive {
                return stream.finish();
            }
        }
    }
}

/// A whole request.
struct Asked {
    message: Message<Request>,
    /// Its content, where the page sends it back.
    content: Vec<u8>,
}

/// One read; whole requests in it are added to `asked`. False at the end of the connection.
async fn read_some(
    stream: &mut Peer,
    reader: &mut Reader<Request>,
    asked: &mut Vec<Asked>,
    content: &mut Vec<u8>,
) -> io::Result<bool> {
    poll_fn(|cx| {
        with_scratch(|scratch| {
            let count = ready!(stream.poll_read(cx, scratch))?;
            let mut bytes = &scratch[..count];
            let is_open = !bytes.is_empty();
            while !bytes.is_empty() {
                let mut keep = |head: &Request, piece: &[u8]| {
                    if Page::of(&head.path) == Some(Page::Json) {
                        let room = ECHO_BYTES_MAX.saturating_sub(content.len());
                        content.extend_from_slice(&piece[..piece.len().min(room)]);
                    }
                };
                let (taken, message) = reader
                    .feed_to(bytes, &mut keep)
                    .map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why.0))?;
                asked.extend(message.map(|message| Asked { message, content: std::mem::take(content) }));
                bytes = &bytes[taken..];
            }
            std::task::Poll::Ready(Ok(is_open))
        })
    })
    .await
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Serves on `path` from a thread of its own, for the rest of the test process.
    pub(crate) fn serve_in_background(path: PathBuf) {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async {
                let listeners = Listeners { unix: Some(UnixListener::bind(path).unwrap()), tcp: None };
                tell.send(()).unwrap();
                accept_all(listeners, Shape::Length { bytes: SMALL_BYTES, extra_fields: 0 }).await
            })
        });
        told.recv().unwrap();
    }

    #[test]
    fn the_path_says_what_the_answer_looks_like() {
        let default = Shape::Chunked { bytes: 7, chunks: 4 };
        assert_eq!(Shape::of("/b/65536", default), Shape::Length { bytes: 65536, extra_fields: 0 });
        assert_eq!(Shape::of("/c/9", default), Shape::Chunked { bytes: 9, chunks: 4 });
        assert_eq!(Shape::of("/c/90/9", default), Shape::Chunked { bytes: 90, chunks: 9 });
        assert_eq!(Shape::of("/h/96", default), Shape::Length { bytes: 1024, extra_fields: 96 });
        assert_eq!(Shape::of("/b/99999999999", default), Shape::TooLarge);
        for path in ["/", "*", "/b/", "/b/x", "/b/1/2", "/c/1/0", "/c/1/2/3", "/z/1", ""] {
            assert_eq!(Shape::of(path, default), default, "{path}");
        }
    }

    #[test]
    fn four_chunks_add_up_to_the_size() {
        let Rendered { wire, head_bytes, .. } = Shape::Chunked { bytes: 1026, chunks: 4 }.render();
        let body = String::from_utf8(wire[head_bytes..].to_vec()).unwrap();
        assert_eq!(body.matches("\r\n").count(), 10);
        assert!(body.starts_with("101\r\nx") && body.ends_with("\r\n0\r\n\r\n"));
        assert_eq!(body.matches('x').count(), 1026);
    }
}
