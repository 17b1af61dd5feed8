//! Where a body ends: Content-Length, the chunked coding, or the close (RFC 9112 §6.3, §7.1).
//!
//! Content is counted and thrown away; what is not content must be exactly what
//! the coding allows.

use std::fmt;

/// A chunk line (size and extensions) or trailer section that is larger never ends.
const CHUNK_LINE_BYTES_MAX: usize = 4 << 10;

/// Why bytes are no message; the text is for the person reading the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Shorthand for the refusal.
///
/// # Errors
/// Always.
pub(crate) fn malformed<T>(why: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(why.into()))
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There are this many more bytes.
    Length(u64),
    /// The chunked coding says.
    Chunked,
    /// The connection ends (answers only).
    UntilClose,
}

/// Where we are in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyState {
    /// That many bytes to go.
    Length(u64),
    /// Inside a chunk-size line, `size` so far.
    ChunkSize {
        size: u64,
        digits: u8,
    },
    /// After the size, up to the end of the line.
    ChunkExtension {
        size: u64,
        bytes: usize,
    },
    /// CR seen, LF of the size line expected.
    ChunkSizeLf {
        size: u64,
    },
    /// Inside a chunk, that many bytes to go.
    ChunkData(u64),
    /// CR, then LF, expected after a chunk.
    ChunkEndCr,
    ChunkEndLf,
    /// After the last chunk, at the start (`line_bytes` 0) or inside of a trailer line.
    Trailer {
        line_bytes: usize,
        bytes: usize,
    },
    /// CR seen in the trailer section; `is_last` if its line was empty.
    TrailerLf {
        is_last: bool,
        bytes: usize,
    },
    UntilClose,
    Complete,
}

/// A body that is being read.
#[derive(Debug)]
pub(crate) struct Body {
    state: BodyState,
    content_bytes: u64,
    /// The trailer section as received, without its empty line.
    trailers: Vec<u8>,
}

impl Body {
    /// A body of which nothing has arrived.
    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => BodyState::Complete,
            Framing::Length(length) => BodyState::Length(length),
            Framing::Chunked => BodyState::ChunkSize { size: 0, digits: 0 },
            Framing::UntilClose => BodyState::UntilClose,
        };
        Self { state, content_bytes: 0, trailers: Vec::new() }
    }

    /// Whether its end has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == BodyState::Complete
    }

    /// Whether a close is its proper end.
    pub(crate) fn is_until_close(&self) -> bool {
        self.state == BodyState::UntilClose
    }

    /// Bytes of content so far, coding excluded.
    pub(crate) fn content_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// The lines behind the last chunk, as received.
    pub(crate) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Takes bytes up to the end of the body, hands each piece of content to `sink`; returns how many it took.
    pub(crate) fn feed_to(&mut self, bytes: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<usize, Malformed> {
        let mut taken = 0;
        while taken < bytes.len() && !self.is_complete() {
            match self.state {
                BodyState::Length(left) => {
                    let n = self.take(left, &bytes[taken..], sink);
                    taken += n;
                    let left = left - n as u64;
                    self.state = if left == 0 { BodyState::Complete } else { BodyState::Length(left) };
                }
                BodyState::ChunkData(left) => {
                    let n = self.take(left, &bytes[taken..], sink);
                    taken += n;
                    let left = left - n as u64;
                    self.state = if left == 0 { BodyState::ChunkEndCr } else { BodyState::ChunkData(left) };
                }
                BodyState::UntilClose => taken += self.take(u64::MAX, &bytes[taken..], sink),
                before => {
                    self.state = framing_byte(before, bytes[taken])?;
                    let is_trailer = matches!(
                        before,
                        BodyState::Trailer { .. } | BodyState::TrailerLf { is_last: false, .. }
                    );
                    if is_trailer && !matches!(self.state, BodyState::TrailerLf { is_last: true, .. }) {
                        self.trailers.push(bytes[taken]);
                    }
                    taken += 1;
                }
            }
        }
        Ok(taken)
    }

    fn take(&mut self, left: u64, bytes: &[u8], sink: &mut impl FnMut(&[u8])) -> usize {
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        sink(&bytes[..n]);
        self.content_bytes += n as u64;
        n
    }
}

/// One byte of the chunked coding that is not content.
fn framing_byte(state: BodyState, byte: u8) -> Result<BodyState, Malformed> {
    use BodyState::{ChunkData, ChunkEndCr, ChunkEndLf, ChunkExtension, ChunkSize, ChunkSizeLf};
    Ok(match (state, byte) {
        (ChunkSize { size, digits }, byte) if byte.is_ascii_hexdigit() => {
            if digits == 15 {
                return malformed("chunk size of more than 15 digits");
            }
            let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
            ChunkSize { size: size << 4 | digit, digits: digits + 1 }
        }
        (ChunkSize { size, digits: 1.. }, b'\r') => ChunkSizeLf { size },
        (ChunkSize { size, digits: 1.. }, b';' | b' ' | b'\t') => ChunkExtension { size, bytes: 0 },
        (ChunkExtension { size, .. }, b'\r') => ChunkSizeLf { size },
        (ChunkExtension { size, bytes }, byte) if byte != b'\n' && bytes < CHUNK_LINE_BYTES_MAX => {
            ChunkExtension { size, bytes: bytes + 1 }
        }
        (ChunkSizeLf { size: 0 }, b'\n') => BodyState::Trailer { line_bytes: 0, bytes: 0 },
        (ChunkSizeLf { size }, b'\n') => ChunkData(size),
        (ChunkEndCr, b'\r') => ChunkEndLf,
        (ChunkEndLf, b'\n') => ChunkSize { size: 0, digits: 0 },
        (BodyState::Trailer { line_bytes, bytes }, b'\r') => {
            BodyState::TrailerLf { is_last: line_bytes == 0, bytes }
        }
        (BodyState::Trailer { line_bytes, bytes }, byte) if byte != b'\n' && bytes < CHUNK_LINE_BYTES_MAX => {
            BodyState::Trailer { line_bytes: line_bytes + 1, bytes: bytes + 1 }
        }
        (BodyState::TrailerLf { is_last: true, .. }, b'\n') => BodyState::Complete,
        (BodyState::TrailerLf { is_last: false, bytes }, b'\n') => {
            BodyState::Trailer { line_bytes: 0, bytes }
        }
        (state, byte) => return malformed(format!("byte {byte:#04x} in a chunked body at {state:?}")),
    })
}
