//! What `serve` answers to scenarios: the paths that the sample applications know as well.
//!
//! `/json`, `/download?bytes=N`, `/upload`, `/sse?events=N&every_ms=M`, `/ws`; what each
//! does is written down in `scenarios/README.md`. Everything is bounded.

use std::future::poll_fn;
use std::io;
use std::task::ready;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::time::{Instant, sleep_until};

use crate::http::Request;
use crate::peer::Peer;
use crate::scratch::with_scratch;
use crate::websocket::{Frame, Frames, Opcode, Side, accept_of};

/// What is kept of a body that is sent back; of a longer one the rest is missing.
pub(crate) const ECHO_BYTES_MAX: usize = 1 << 20;
/// Largest download.
const DOWNLOAD_BYTES_MAX: u64 = 1 << 30;
/// What is written at a time of a download.
static PIECE: [u8; 64 << 10] = [b'x'; 64 << 10];
/// Most events of one stream, and the longest time between two.
const EVENTS_MAX: u64 = 100_000;
const EVERY_MAX: Duration = Duration::from_secs(60);

/// A path that is answered as an application would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// A small object, or what was sent.
    Json,
    /// So many bytes.
    Download(u64),
    /// How many bytes were sent.
    Upload,
    /// So many events, so long apart.
    Events { count: u64, every: Duration },
    /// WebSocket, each message sent back.
    Echo,
}

impl Page {
    /// The page of a request target, if it is one.
    pub(crate) fn of(target: &str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let number = |key: &str| {
            let value =
                query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key);
            value.and_then(|(_, value)| value.parse::<u64>().ok())
        };
        Some(match path {
            "/json" => Self::Json,
            "/download" => Self::Download(number("bytes").unwrap_or(1024).min(DOWNLOAD_BYTES_MAX)),
            "/upload" => Self::Upload,
            "/sse" => Self::Events {
                count: number("events").unwrap_or(10).min(EVENTS_MAX),
                every: Duration::from_millis(number("every_ms").unwrap_or(100)).min(EVERY_MAX),
            },
            "/ws" => Self::Echo,
            _ => return None,
        })
    }

    /// Answers `head`, behind which `body_bytes` came, of which `content` was kept.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) async fn send(
        self,
        stream: &mut Peer,
        head: &Request,
        body_bytes: u64,
        content: Vec<u8>,
    ) -> io::Result<()> {
        let body = match self {
            Self::Json if body_bytes > 0 => content,
            Self::Json => json!({ "hello": "world" }).to_string().into_bytes(),
            Self::Upload => json!({ "bytes": body_bytes }).to_string().into_bytes(),
            Self::Download(bytes) => return download(stream, bytes, head.is_head).await,
            Self::Events { count, every } => return events(stream, count, every, head.is_head).await,
            // It is no answer but another protocol; see `echo`.
            Self::Echo => Vec::new(),
        };
        let length = body.len();
        let mut wire = head_of("200 OK", "application/json", &format!("content-length: {length}"));
        if !head.is_head {
            wire.extend_from_slice(&body);
        }
        stream.write_all(&wire).await
    }
}

fn head_of(status: &str, content_type: &str, field: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n{field}\r\n\r\n").into_bytes()
}

async fn download(stream: &mut Peer, bytes: u64, is_head: bool) -> io::Result<()> {
    let head = head_of("200 OK", "application/octet-stream", &format!("content-length: {bytes}"));
    stream.write_all(&head).await?;
    let mut left = if is_head { 0 } else { bytes };
    while left > 0 {
        let piece = usize::try_from(left).map_or(PIECE.len(), |left| left.min(PIECE.len()));
        stream.write_all(&PIECE[..piece]).await?;
        left -= piece as u64;
    }
    Ok(())
}

/// The first at once, each other one at its own moment by a schedule, whatever became of the one before.
async fn events(stream: &mut Peer, count: u64, every: Duration, is_head: bool) -> io::Result<()> {
    stream.write_all(&head_of("200 OK", "text/event-stream", "transfer-encoding: chunked")).await?;
    if is_head {
        return Ok(());
    }
    let mut due = Instant::now();
    for number in 0..count {
        sleep_until(due).await;
        due += every;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Whole microseconds: the client subtracts it from its own clock.
        let at_ms = now.as_micros() as f64 / 1e3;
        let event = format!("data: {}\n\n", json!({ "n": number, "at_ms": at_ms }));
        stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
    }
    stream.write_all(b"0\r\n\r\n").await
}

/// Becomes a WebSocket that sends each message back, until the other side ends it.
///
/// # Errors
/// The connection broke, or what came is no WebSocket.
pub(crate) async fn echo(stream: &mut Peer, key: Option<&str>) -> io::Result<()> {
    let Some(key) = key else {
        let wire = head_of("426 Upgrade Required", "text/plain", "upgrade: websocket\r\ncontent-length: 0");
        stream.write_all(&wire).await?;
        return stream.finish();
    };
    let accept = accept_of(key);
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut frames = Frames::new(Side::Server);
    loop {
        let count = poll_fn(|cx| {
            with_scratch(|scratch| {
                let count = ready!(stream.poll_read(cx, scratch))?;
                frames.feed(&scratch[..count]);
                std::task::Poll::Ready(io::Result::Ok(count))
            })
        })
        .await?;
        while let Some(Frame { opcode, is_last, payload }) = frames.next()? {
            let answer = match opcode {
                Opcode::Ping => Opcode::Pong,
                Opcode::Pong => continue,
                other => other,
            };
            stream.write_all(&Frame { opcode: answer, is_last, payload }.to_bytes(Side::Server)).await?;
            if answer == Opcode::Close {
                return stream.finish();
            }
        }
        if count == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_its_page_and_what_it_asks_for_is_bounded() {
        assert_eq!(Page::of("/json"), Some(Page::Json));
        assert_eq!(Page::of("/download?bytes=70000"), Some(Page::Download(70_000)));
        assert_eq!(Page::of("/download?bytes=99999999999"), Some(Page::Download(DOWNLOAD_BYTES_MAX)));
        let every = Duration::from_millis(20);
        assert_eq!(Page::of("/sse?every_ms=20&events=3"), Some(Page::Events { count: 3, every }));
        for other in ["/", "/b/9", "/jsonx", "*", ""] {
            assert_eq!(Page::of(other), None, "{other}");
        }
    }
}
