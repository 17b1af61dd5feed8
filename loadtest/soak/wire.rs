//! Messages as they arrive: head, fields, content; and bodies as they leave, in any pieces.
//!
//! Where a message ends is judged by the strict reader of the benchmarks, which
//! shares no code with the product.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};

use super::content::{Sum, fill};
use crate::body::{Body, Framing, Malformed};
use crate::http::{ParseHead, Parsed};

/// Bytes read at once at most, and the longest head.
const BUFFER_BYTES: usize = 64 << 10;

/// What went wrong while reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The end came before the first byte.
    End,
    /// The end came in the middle.
    Cut,
    /// A reset came.
    Reset,
    /// Nothing came for too long.
    Silence,
    /// The bytes are not HTTP.
    Malformed(String),
}

impl From<Malformed> for Broken {
    fn from(why: Malformed) -> Self {
        Self::Malformed(why.0)
    }
}

/// How slowly somebody reads or writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Most bytes at once.
    pub(super) bite: usize,
    /// Rest behind each of the first `rests` bites.
    pub(super) rest: Duration,
    pub(super) rests: u32,
}

impl Pace {
    /// As fast as it goes.
    pub(super) const FAST: Self = Self { bite: BUFFER_BYTES, rest: Duration::ZERO, rests: 0 };

    /// Small bites with rests that add up to 1.2 seconds at most.
    pub(super) fn slow(rng: &mut fastrand::Rng) -> Self {
        let rest = Duration::from_millis(rng.u64(0..40));
        Self { bite: rng.usize(1..6000), rest, rests: rng.u32(1..30) }
    }

    /// Mostly fast; sometimes in small bites, seldom with rests.
    pub(super) fn any(rng: &mut fastrand::Rng) -> Self {
        match rng.u8(..80) {
            0 => Self::slow(rng),
            1..5 => Self { bite: rng.usize(1..6000), ..Self::FAST },
            _ => Self::FAST,
        }
    }

    async fn take_a_rest(&mut self) {
        if self.rests > 0 {
            self.rests -= 1;
            sleep(self.rest).await;
        }
        if self.rests == 0 {
            // The rest of a large body byte by byte would measure patience only.
            self.bite = self.bite.max(Self::FAST.bite / 4);
        }
    }
}

/// A head with its fields.
#[derive(Debug)]
pub(super) struct Read<H> {
    pub(super) parsed: Parsed<H>,
    /// The whole head as text.
    text: String,
}

impl<H> Read<H> {
    /// The value of the only field of that name.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        field_of(&self.text, name)
    }

    /// The same as a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }

    /// The first line.
    pub(super) fn first_line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// The value of the only line `name: value` in `text`; `None` if there are none or several.
pub(super) fn field_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut values = text.split("\r\n").filter_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    values.next().filter(|_| values.next().is_none())
}

/// The receiving direction of a connection, with the bytes that were read ahead.
#[derive(Debug)]
pub(super) struct Incoming<R> {
    from: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    patience: Duration,
    /// Bytes received so far.
    pub(super) received: u64,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// Reads from `from`; silence of `patience` is an error.
    pub(super) fn new(from: R, patience: Duration) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { from, buffer, start: 0, end: 0, patience, received: 0 }
    }

    /// Where it reads from.
    pub(super) fn source(&self) -> &R {
        &self.from
    }

    /// Whether bytes were read that nobody has asked for yet.
    pub(super) fn has_ahead(&self) -> bool {
        self.start < self.end
    }

    /// Reads at most `bite` bytes more.
    pub(super) async fn more(&mut self, bite: usize) -> Result<(), Broken> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let room = bite.min(self.buffer.len() - self.end);
        if room == 0 {
            return Err(Broken::Malformed("a head that does not end".into()));
        }
        let into = &mut self.buffer[self.end..self.end + room];
        match timeout(self.patience, self.from.read(into)).await {
            Err(_) => Err(Broken::Silence),
            Ok(Ok(0)) if self.start == self.end => Err(Broken::End),
            Ok(Ok(0)) => Err(Broken::Cut),
            Ok(Ok(count)) => {
                self.end += count;
                self.received += count as u64;
                Ok(())
            }
            Ok(Err(_)) => Err(Broken::Reset),
        }
    }

    /// Reads at most `most` bytes and forgets them.
    pub(super) async fn skip(&mut self, most: usize) -> Result<(), Broken> {
        if self.start == self.end {
            self.more(most).await?;
        }
        self.start = self.end.min(self.start + most);
        Ok(())
    }

    /// Reads a head.
    pub(super) async fn head<H>(&mut self, parse: ParseHead<H>, bite: usize) -> Result<Read<H>, Broken> {
        loop {
            let bytes = &self.buffer[self.start..self.end];
            if let Some(parsed) = parse(bytes)? {
                let text = String::from_utf8_lossy(&bytes[..parsed.head_bytes]).into_owned();
                self.start += parsed.head_bytes;
                return Ok(Read { parsed, text });
            }
            self.more(bite).await?;
        }
    }

    /// Reads a body to its end, handing its content to `sink` as it comes. Returns its trailers.
    pub(super) async fn body(
        &mut self,
        framing: Framing,
        mut pace: Pace,
        sink: &mut impl FnMut(&[u8]),
    ) -> Result<String, Broken> {
        let mut body = Body::new(framing);
        loop {
            self.start += body.feed_to(&self.buffer[self.start..self.end], sink)?;
            if body.is_complete() {
                return Ok(String::from_utf8_lossy(body.trailers()).into_owned());
            }
            match self.more(pace.bite).await {
                Ok(()) => {}
                Err(Broken::End) if body.is_until_close() => return Ok(String::new()),
                Err(Broken::End) => return Err(Broken::Cut),
                Err(broken) => return Err(broken),
            }
            pace.take_a_rest().await;
        }
    }
}

/// A body to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    /// Whose content it is.
    pub(super) key: u64,
    /// Bytes of content announced.
    pub(super) len: u64,
    /// Bytes of content that are really sent; fewer: the end is missing.
    pub(super) sent: u64,
    /// In chunks, with a checksum in the trailer.
    pub(super) chunked: bool,
    pub(super) pace: Pace,
}

/// Writes `head` and the body behind it. Returns the checksum of the content that was sent.
///
/// # Errors
/// The connection broke.
pub(super) async fn write_message<W: AsyncWrite + Unpin>(
    to: &mut W,
    head: &[u8],
    body: Outgoing,
    rng: &mut fastrand::Rng,
) -> io::Result<u64> {
    let Outgoing { key, len, sent, chunked, mut pace } = body;
    let mut bytes = head.to_vec();
    let (mut at, mut sum) = (0, Sum::default());
    // How large chunks are differs from body to body: one byte, or all of it. A thousand are enough.
    let chunk_bytes = (1 << rng.u32(0..17)).max(usize::try_from(len / 1000).unwrap_or(usize::MAX));
    while at < sent {
        let most = usize::try_from(sent - at).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        let piece = if chunked { rng.usize(1..=chunk_bytes).min(most) } else { most };
        if chunked {
            bytes.extend_from_slice(format!("{piece:x}\r\n").as_bytes());
        }
        let start = bytes.len();
        bytes.resize(start + piece, 0);
        fill(key, at, &mut bytes[start..]);
        sum.add(&bytes[start..]);
        at += piece as u64;
        if chunked {
            bytes.extend_from_slice(b"\r\n");
        }
        if bytes.len() >= BUFFER_BYTES || pace.rests > 0 {
            write_pieces(to, &mut bytes, &mut pace).await?;
        }
    }
    if chunked && sent == len {
        bytes.extend_from_slice(format!("0\r\nX-Soak-Sum: {:016x}\r\n\r\n", sum.value()).as_bytes());
    }
    write_pieces(to, &mut bytes, &mut pace).await?;
    Ok(sum.value())
}

async fn write_pieces<W: AsyncWrite + Unpin>(
    to: &mut W,
    bytes: &mut Vec<u8>,
    pace: &mut Pace,
) -> io::Result<()> {
    let mut left = bytes.as_slice();
    while !left.is_empty() {
        let (now, later) = left.split_at(pace.bite.min(left.len()));
        to.write_all(now).await?;
        left = later;
        if !left.is_empty() {
            pace.take_a_rest().await;
        }
    }
    bytes.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_answer;
    use crate::soak::content::Checker;

    #[tokio::test]
    async fn what_is_written_at_any_pace_is_read_at_any_pace() {
        let mut rng = fastrand::Rng::with_seed(1);
        for (chunked, len) in [(false, 100_000), (true, 100_000), (true, 0), (false, 0)] {
            let pace = Pace { bite: 777, rest: Duration::ZERO, rests: 20 };
            let (mut near, far) = tokio::io::duplex(1000);
            let coding =
                if chunked { "transfer-encoding: chunked".into() } else { format!("content-length: {len}") };
            let head = format!("HTTP/1.1 200 OK\r\nx-soak-id: 5\r\n{coding}\r\n\r\n");
            let body = Outgoing { key: 5, len, sent: len, chunked, pace };
            let mut incoming = Incoming::new(far, Duration::from_secs(5));
            let reading = async {
                let head = incoming.head(parse_answer, 10).await.unwrap();
                assert_eq!(head.number("x-soak-id"), Some(5));
                let mut checker = Checker::new(5);
                let framing = head.parsed.framing;
                let trailers = incoming.body(framing, pace, &mut |bytes| checker.take(bytes)).await.unwrap();
                assert_eq!((checker.seen(), checker.wrong_near()), (len, None));
                let sum = field_of(&trailers, "X-Soak-Sum").map(|sum| u64::from_str_radix(sum, 16).unwrap());
                assert_eq!(sum, chunked.then(|| checker.sum()));
                checker.sum()
            };
            let (wrote, read) =
                tokio::join!(write_message(&mut near, head.as_bytes(), body, &mut rng), reading);
            assert_eq!(wrote.unwrap(), read);
        }
    }

    #[test]
    fn a_field_that_comes_twice_is_none() {
        assert_eq!(field_of("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nb: 3\r\n\r\n", "a"), Some("1"));
        assert_eq!(field_of("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nb: 3\r\n\r\n", "b"), None);
    }
}
