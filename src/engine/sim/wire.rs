//! A second, independent reader of HTTP/1.1: strict, slow, and only as large as the
//! simulation needs. It shares no code with `http1`, so that a mistake there cannot
//! hide behind the same mistake here.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::stream::End;

/// Most bytes per read.
pub(super) const BITE: usize = 8 << 10;

/// An end with the bytes that were read ahead.
pub(super) struct Wire {
    pub(super) end: End,
    ahead: Vec<u8>,
    /// Most bytes taken per read: a slow reader takes few.
    pub(super) bite: usize,
}

/// A head's first line and fields, names in lower case.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) first: String,
    fields: Vec<(String, String)>,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Length(u64),
    Chunked,
    UntilClose,
}

/// What went wrong while reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The end came before the first byte.
    End,
    /// The end came in the middle.
    Cut,
    /// A reset came.
    Reset,
    /// The bytes are not HTTP.
    Malformed(String),
}

impl Head {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }

    /// The framing its fields announce; `default` if none.
    pub(super) fn size(&self, default: Size) -> Result<Size, Broken> {
        let length = self.field("content-length").map(|text| text.parse().map_err(|_| malformed("length")));
        match (self.field("transfer-encoding"), length.transpose()?) {
            (Some("chunked"), None) => Ok(Size::Chunked),
            (None, Some(length)) => Ok(Size::Length(length)),
            (None, None) => Ok(default),
            _ => Err(malformed("framing")),
        }
    }

    pub(super) fn status(&self) -> Result<u16, Broken> {
        let status = self.first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        status.ok_or_else(|| malformed(&self.first))
    }

    pub(super) fn says_close(&self) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

fn malformed(what: &str) -> Broken {
    Broken::Malformed(what.chars().take(80).collect())
}

impl Wire {
    pub(super) fn new(end: End) -> Self {
        Self { end, ahead: Vec::new(), bite: BITE }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.end.write_all(bytes).await
    }

    /// Whether bytes were read that nobody has asked for yet.
    pub(super) fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    async fn more(&mut self) -> Result<(), Broken> {
        let before = self.ahead.len();
        self.ahead.resize(before + self.bite, 0);
        let read = self.end.read(&mut self.ahead[before..]).await;
        self.ahead.truncate(before + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) if before == 0 => Err(Broken::End),
            Ok(0) => Err(Broken::Cut),
            Ok(_) => Ok(()),
            Err(_) => Err(Broken::Reset),
        }
    }

    async fn line(&mut self) -> Result<String, Broken> {
        loop {
            if let Some(at) = self.ahead.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.ahead.drain(..=at).collect();
                let text = line.strip_suffix(b"\r\n").ok_or_else(|| malformed("bare LF"))?;
                return String::from_utf8(text.to_vec()).map_err(|_| malformed("not text"));
            }
            self.more().await?;
        }
    }

    /// Reads a head.
    pub(super) async fn head(&mut self) -> Result<Head, Broken> {
        let first = self.line().await?;
        let mut fields = Vec::new();
        loop {
            let line = self
                .line()
                .await
                .map_err(|broken| if broken == Broken::End { Broken::Cut } else { broken })?;
            if line.is_empty() {
                return Ok(Head { first, fields });
            }
            let (name, value) = line.split_once(": ").ok_or_else(|| malformed(&line))?;
            fields.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }

    /// Reads a body to its end, handing its data to `sink` as it comes.
    pub(super) async fn body(&mut self, size: Size, sink: &mut impl FnMut(&[u8])) -> Result<(), Broken> {
        let cut = |broken| if broken == Broken::End { Broken::Cut } else { broken };
        match size {
            Size::Length(length) => self.exactly(length, sink).await.map_err(cut),
            Size::Chunked => loop {
                let line = self.line().await.map_err(cut)?;
                let length = u64::from_str_radix(&line, 16).map_err(|_| malformed(&line))?;
                if length == 0 {
                    // Trailers, then an empty line.
                    while !self.line().await.map_err(cut)?.is_empty() {}
                    return Ok(());
                }
                self.exactly(length, sink).await.map_err(cut)?;
                if !self.line().await.map_err(cut)?.is_empty() {
                    return Err(malformed("chunk end"));
                }
            },
            Size::UntilClose => loop {
                sink(&self.ahead);
                self.ahead.clear();
                match self.more().await {
                    Ok(()) => {}
                    Err(Broken::End) => return Ok(()),
                    Err(broken) => return Err(broken),
                }
            },
        }
    }

    async fn exactly(&mut self, mut left: u64, sink: &mut impl FnMut(&[u8])) -> Result<(), Broken> {
        while left > 0 {
            if self.ahead.is_empty() {
                self.more().await?;
            }
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.ahead.len());
            sink(&self.ahead[..here]);
            self.ahead.drain(..here);
            left -= here as u64;
        }
        Ok(())
    }
}

/// Eight bytes of the content that belongs to `key`.
fn content_word(key: u64, index: u64) -> [u8; 8] {
    (key ^ index).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes()
}

/// `count` bytes of the content of `key`, from `at` on.
pub(super) fn content(key: u64, at: u64, count: usize) -> Vec<u8> {
    let skipped = (at % 8) as usize;
    let words = (skipped + count).div_ceil(8) as u64;
    let mut bytes: Vec<u8> = Vec::with_capacity(8 * words as usize);
    (at / 8..at / 8 + words).for_each(|index| bytes.extend_from_slice(&content_word(key, index)));
    bytes.truncate(skipped + count);
    bytes.drain(..skipped);
    bytes
}

/// Compares what arrives with the content of one key.
#[derive(Debug)]
pub(super) struct Checker {
    key: u64,
    pub(super) seen: u64,
    pub(super) is_sound: bool,
}

impl Checker {
    pub(super) fn new(key: u64) -> Self {
        Self { key, seen: 0, is_sound: true }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.is_sound &= bytes == content(self.key, self.seen, bytes.len());
        self.seen += bytes.len() as u64;
    }
}
