//! Chunked coding (RFC 9112 §7.1), scanned and not decoded.
//!
//! Chunks pass through as they came; all that is needed is to know where the
//! message ends, and that no reader could see another end. So the grammar is
//! taken literally: sizes are bare hexadecimal digits, lines end with CRLF,
//! extensions and trailers are bounded and free of control characters.

use std::ops::Range;

/// Bytes of extensions one chunk may carry, from behind its size to its line end. Nobody uses them;
/// attackers do.
const EXTENSION_BYTES_MAX: u32 = 256;
/// Bytes of the trailer section, without the empty line that ends it.
const TRAILER_BYTES_MAX: u32 = 8 << 10;
/// Hexadecimal digits of a size: 2^60 is beyond any body.
const SIZE_DIGITS_MAX: u8 = 15;

/// Follows a chunked body through the buffers it arrives in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanner {
    state: State,
    /// Bytes of the current extension, or of the trailer section.
    spent: u32,
    /// The name of the current trailer.
    name: Name,
}

/// The beginning of a field name, lower-case: enough to know the few that no trailer may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Name {
    bytes: [u8; b"transfer-encoding".len()],
    /// Of the whole name.
    len: u16,
}

impl Name {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = byte.to_ascii_lowercase();
        }
        self.len = self.len.saturating_add(1);
    }

    /// Framing and routing: a worker that merges trailers into the head would believe them (RFC 9110 §6.5.1).
    fn is_for_heads_only(&self) -> bool {
        let name = &self.bytes[..usize::from(self.len).min(self.bytes.len())];
        let is = |other: &[u8]| usize::from(self.len) == other.len() && name == other;
        is(b"host") || is(b"content-length") || is(b"transfer-encoding")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { value: u64, digits: u8 },
    Extension { size: u64, place: Place },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

impl State {
    fn is_in_trailer_line(self) -> bool {
        matches!(self, Self::TrailerName | Self::TrailerValue | Self::TrailerLf)
    }
}

/// What of a chunked body is more than framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Chunk data.
    Data,
    /// Field lines of the trailer section, each with its CRLF, without the blank line behind them.
    Trailer,
}

/// A place in `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` (RFC 9112 §7.1.1). The
/// grammar is followed to the letter because readers differ in where an open quote ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Whitespace behind a size or a value: another extension follows.
    Blank,
    Semicolon,
    Name,
    NameBlank,
    Equals,
    Token,
    Quoted,
    Escaped,
    Unquoted,
}

impl Place {
    /// The place behind `byte`, if it may stand here.
    fn after(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Blank | Self::Semicolon | Self::NameBlank | Self::Equals, b' ' | b'\t') => self,
            (Self::Token | Self::Unquoted, b' ' | b'\t') => Self::Blank,
            (Self::Name, b' ' | b'\t') => Self::NameBlank,
            (Self::Name | Self::NameBlank, b'=') => Self::Equals,
            (Self::Blank | Self::Name | Self::NameBlank | Self::Token | Self::Unquoted, b';') => {
                Self::Semicolon
            }
            (Self::Semicolon | Self::Name, _) if is_token(byte) => Self::Name,
            (Self::Equals | Self::Token, _) if is_token(byte) => Self::Token,
            (Self::Equals, b'"') => Self::Quoted,
            (Self::Quoted, b'"') => Self::Unquoted,
            (Self::Quoted, b'\\') => Self::Escaped,
            (Self::Quoted | Self::Escaped, _) if is_text(byte) => Self::Quoted,
            _ => return None,
        })
    }

    /// Whether the line may end here.
    fn is_whole(self) -> bool {
        matches!(self, Self::Name | Self::Token | Self::Unquoted)
    }
}

/// Why a chunked body cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkFault {
    /// Not a hexadecimal size, or one beyond any body.
    #[error("a chunk size is not a plausible hexadecimal number")]
    Size,
    /// An extension that is not written as RFC 9112 §7.1.1 wants, or too many bytes of them.
    #[error("a chunk extension is malformed or too long")]
    Extension,
    /// A line or chunk that does not end with CRLF.
    #[error("a chunk or line does not end with CRLF")]
    LineEnd,
    /// Not field lines, or too many bytes of them.
    #[error("the trailer section is malformed or too long")]
    Trailer,
    /// RFC 9110 §6.5.1: a field that only a head may have.
    #[error("a trailer says what only a head may say (Host, Content-Length, Transfer-Encoding)")]
    ForbiddenTrailer,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::new()
    }
}

impl Scanner {
    /// A scanner at the first chunk's size.
    pub fn new() -> Self {
        Self { state: State::Size { value: 0, digits: 0 }, spent: 0, name: Name::default() }
    }

    /// Whether the message has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Data of the current chunk still to come: zero within framing.
    pub fn data_left(&self) -> u64 {
        match self.state {
            State::Data { left } => left,
            _ => 0,
        }
    }

    /// Consumes `count` bytes of data that nobody looked at, at most [`Scanner::data_left`].
    pub fn skip_data(&mut self, count: u64) {
        self.take_data(count);
    }

    fn take_data(&mut self, count: u64) {
        let left = self.data_left() - count;
        if left > 0 {
            self.state = State::Data { left };
        } else if matches!(self.state, State::Data { .. }) {
            self.state = State::DataCr;
        }
    }

    /// Consumes what of `input` belongs to the message and says how many bytes
    /// that is. `on_data` sees each range of chunk data, in order.
    ///
    /// # Errors
    /// [`ChunkFault`]; the scanner must not be used afterwards.
    pub fn scan(&mut self, input: &[u8], mut on_data: impl FnMut(Range<usize>)) -> Result<usize, ChunkFault> {
        self.scan_at_most(input, usize::MAX, |part, range| {
            if part == Part::Data {
                on_data(range);
            }
        })
    }

    /// Like [`Scanner::scan`], but stops before more than `data_max` bytes of data; framing in front of
    /// the byte that would be too much is consumed. `on_part` sees data and field lines of the trailer
    /// section, the latter byte by byte.
    ///
    /// # Errors
    /// [`ChunkFault`]; the scanner must not be used afterwards.
    pub fn scan_at_most(
        &mut self,
        input: &[u8],
        data_max: usize,
        mut on_part: impl FnMut(Part, Range<usize>),
    ) -> Result<usize, ChunkFault> {
        let (mut at, mut room) = (0, data_max);
        while at < input.len() && self.state != State::Done {
            if let State::Data { left } = self.state {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at).min(room);
                if here == 0 {
                    break;
                }
                on_part(Part::Data, at..at + here);
                at += here;
                room -= here;
                self.take_data(here as u64);
                continue;
            }
            if let Some((state, len)) = self.stride(&input[at..]) {
                self.state = state;
                at += len;
                continue;
            }
            let before = self.state;
            self.state = self.step(input[at])?;
            if before.is_in_trailer_line() || (before == State::TrailerStart && self.state != State::EndLf) {
                on_part(Part::Trailer, at..at + 1);
            }
            at += 1;
        }
        Ok(at)
    }

    /// What servers write between data, taken whole where it lies whole: a size line without an extension, the
    /// line end of a chunk, the end behind the last one. Everything else is for [`Scanner::step`], which says the
    /// same of these, byte by byte.
    fn stride(&mut self, input: &[u8]) -> Option<(State, usize)> {
        match self.state {
            State::Size { digits: 0, .. } => {
                let (size, len) = plain_size_line(input)?;
                if size == 0 {
                    self.spent = 0;
                    return Some((State::TrailerStart, len));
                }
                Some((State::Data { left: size }, len))
            }
            State::DataCr if input.starts_with(b"\r\n") => Some((State::Size { value: 0, digits: 0 }, 2)),
            State::TrailerStart if input.starts_with(b"\r\n") => Some((State::Done, 2)),
            _ => None,
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, ChunkFault> {
        match self.state {
            State::Size { value, digits } => match (hex(byte), byte) {
                (Some(_), _) if digits == SIZE_DIGITS_MAX => Err(ChunkFault::Size),
                (Some(digit), _) => Ok(State::Size { value: value << 4 | digit, digits: digits + 1 }),
                _ if digits == 0 => Err(ChunkFault::Size),
                (None, b'\r') => Ok(State::SizeLf { size: value }),
                // Space before `;` is BWS; space before the line end is not in the grammar.
                (None, b';' | b' ' | b'\t') => {
                    self.spent = 0;
                    self.extension(value, Place::Blank, byte)
                }
                _ => Err(ChunkFault::Size),
            },
            State::Extension { size, place } if byte == b'\r' && place.is_whole() => {
                Ok(State::SizeLf { size })
            }
            State::Extension { size, place } => self.extension(size, place, byte),
            State::SizeLf { size } => match (byte, size) {
                (b'\n', 0) => {
                    self.spent = 0;
                    Ok(State::TrailerStart)
                }
                (b'\n', left) => Ok(State::Data { left }),
                _ => Err(ChunkFault::LineEnd),
            },
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::Size { value: 0, digits: 0 }),
            State::TrailerStart => match byte {
                b'\r' => Ok(State::EndLf),
                _ => {
                    self.name = Name::default();
                    self.trailer_name(byte)
                }
            },
            State::TrailerName => match byte {
                b':' if self.name.is_for_heads_only() => Err(ChunkFault::ForbiddenTrailer),
                b':' => self.trailer(true, State::TrailerValue),
                _ => self.trailer_name(byte),
            },
            State::TrailerValue => match byte {
                b'\r' => self.trailer(true, State::TrailerLf),
                _ => self.trailer(is_text(byte), State::TrailerValue),
            },
            State::TrailerLf if byte == b'\n' => self.trailer(true, State::TrailerStart),
            State::EndLf if byte == b'\n' => Ok(State::Done),
            State::DataCr | State::DataLf | State::TrailerLf | State::EndLf => Err(ChunkFault::LineEnd),
            // `scan` never steps here: data is taken in runs, and Done ends the loop.
            State::Data { .. } | State::Done => Ok(self.state),
        }
    }

    fn extension(&mut self, size: u64, place: Place, byte: u8) -> Result<State, ChunkFault> {
        let place = place.after(byte).ok_or(ChunkFault::Extension)?;
        self.spend(EXTENSION_BYTES_MAX, ChunkFault::Extension).map(|()| State::Extension { size, place })
    }

    fn trailer_name(&mut self, byte: u8) -> Result<State, ChunkFault> {
        self.name.push(byte);
        self.trailer(is_token(byte), State::TrailerName)
    }

    fn trailer(&mut self, allowed: bool, next: State) -> Result<State, ChunkFault> {
        if !allowed {
            return Err(ChunkFault::Trailer);
        }
        self.spend(TRAILER_BYTES_MAX, ChunkFault::Trailer).map(|()| next)
    }

    fn spend(&mut self, most: u32, fault: ChunkFault) -> Result<(), ChunkFault> {
        self.spent += 1;
        if self.spent > most { Err(fault) } else { Ok(()) }
    }
}

/// A size of 1 to [`SIZE_DIGITS_MAX`] digits with CRLF right behind it: its value, and its length with both.
fn plain_size_line(input: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (index, &byte) in input.iter().take(usize::from(SIZE_DIGITS_MAX) + 1).enumerate() {
        match hex(byte) {
            Some(digit) if index < usize::from(SIZE_DIGITS_MAX) => value = value << 4 | digit,
            None if index > 0 && input[index..].starts_with(b"\r\n") => return Some((value, index + 2)),
            _ => return None,
        }
    }
    None
}

fn hex(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

/// Visible characters, space, tab, and bytes beyond ASCII (RFC 9110 §5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(input: &[u8], piece: usize) -> Result<(Vec<u8>, usize, bool), ChunkFault> {
        let (mut scanner, mut data, mut consumed) = (Scanner::new(), Vec::new(), 0);
        for part in input.chunks(piece.max(1)) {
            let taken = scanner.scan(part, |range| data.extend_from_slice(&part[range]))?;
            consumed += taken;
            if taken < part.len() {
                break;
            }
        }
        Ok((data, consumed, scanner.is_done()))
    }

    #[test]
    fn chunks_extensions_and_trailers_end_where_they_should() {
        let body =
            b"5;a=b\r\nhello\r\n1A ; x = \"y;\\\"\" ;z\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-Sum: 1\r\nB:\r\n\r\n";
        let mut message = body.to_vec();
        message.extend_from_slice(b"GET / HTTP/1.1");
        for piece in [1, 2, 3, 7, 1000] {
            assert_eq!(
                decode(&message, piece),
                Ok((b"helloabcdefghijklmnopqrstuvwxyz".to_vec(), body.len(), true)),
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn whatever_the_grammar_does_not_write_is_refused() {
        for (input, fault) in [
            (&b"\r\n"[..], ChunkFault::Size),
            (b"-1\r\n", ChunkFault::Size),
            (b"0x1\r\n", ChunkFault::Size),
            (b" 1\r\n", ChunkFault::Size),
            (b"1000000000000000\r\n", ChunkFault::Size),
            (b"1\n", ChunkFault::Size),
            (b"1 \r\n", ChunkFault::Extension),
            (b"1;a\nb\r\n", ChunkFault::Extension),
            (b"1;a\0b\r\n", ChunkFault::Extension),
            (b"1;\r\n", ChunkFault::Extension),
            (b"1;a=\r\n", ChunkFault::Extension),
            (b"1;a=b \r\n", ChunkFault::Extension),
            (b"1;a b\r\n", ChunkFault::Extension),
            (b"1;a=\"b\r\n", ChunkFault::Extension),
            (b"1;a=\"\\\"\r\n", ChunkFault::Extension),
            (b"1;a=\"b\"c\r\n", ChunkFault::Extension),
            (b"1\rx", ChunkFault::LineEnd),
            (b"1\r\nabc", ChunkFault::LineEnd),
            (b"1\r\na\n", ChunkFault::LineEnd),
            (b"0\r\n\n", ChunkFault::Trailer),
            (b"0\r\n folded\r\n", ChunkFault::Trailer),
            (b"0\r\nno colon\r\n", ChunkFault::Trailer),
            (b"0\r\nA: b\n", ChunkFault::Trailer),
            (b"0\r\n\rx", ChunkFault::LineEnd),
        ] {
            assert_eq!(decode(input, 1000), Err(fault), "{:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn a_trailer_that_would_change_the_head_is_refused() {
        for name in ["Host", "content-length", "Transfer-Encoding"] {
            let message = format!("0\r\n{name}: 1\r\n\r\n");
            assert_eq!(decode(message.as_bytes(), 3), Err(ChunkFault::ForbiddenTrailer), "{name}");
        }
        for name in ["Hosts", "Hos", "Content-Lengt", "Transfer-Encodings", "a-transfer-encoding-b"] {
            let message = format!("0\r\nA: b\r\n{name}: 1\r\n\r\n");
            assert!(decode(message.as_bytes(), 3).is_ok_and(|(.., done)| done), "{name}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extension = |bytes: usize| [b"0;".as_slice(), &vec![b'a'; bytes - 1], b"\r\n\r\n"].concat();
        assert!(decode(&extension(256), 64).is_ok_and(|(.., done)| done));
        assert_eq!(decode(&extension(257), 64), Err(ChunkFault::Extension));
        // Line ends count: a line is four bytes at least.
        let trailers = |lines: usize| [b"0\r\n".as_slice(), &b"A:\r\n".repeat(lines), b"\r\n"].concat();
        assert!(decode(&trailers(2048), 64).is_ok_and(|(.., done)| done));
        assert_eq!(decode(&trailers(2049), 64), Err(ChunkFault::Trailer));
    }

    #[test]
    fn data_is_taken_up_to_a_bound_and_trailers_are_shown() {
        let message = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\nA: b\r\nC:\r\n\r\nrest";
        let (mut scanner, mut at, mut data, mut trailer) = (Scanner::new(), 0, Vec::new(), Vec::new());
        let mut bites = Vec::new();
        while !scanner.is_done() {
            let before = data.len();
            at += scanner
                .scan_at_most(&message[at..], 2, |part, range| match part {
                    Part::Data => data.extend_from_slice(&message[at..][range]),
                    Part::Trailer => trailer.extend_from_slice(&message[at..][range]),
                })
                .unwrap();
            bites.push(data.len() - before);
        }
        assert_eq!((data.as_slice(), trailer.as_slice()), (&b"abcdefg"[..], &b"A: b\r\nC:\r\n"[..]));
        assert_eq!((&message[at..], bites), (&b"rest"[..], vec![2, 2, 2, 1]));
        let mut scanner = Scanner::new();
        assert_eq!(scanner.scan_at_most(message, 0, |_, _| {}), Ok(3), "framing needs no room");
    }

    proptest! {
        #[test]
        fn no_bytes_panic_the_scanner(bytes in proptest::collection::vec(any::<u8>(), 0..300), piece in 1_usize..50) {
            let _ = decode(&bytes, piece);
        }

        #[test]
        fn a_body_says_the_same_byte_by_byte_and_in_one_piece(
            bytes in proptest::collection::vec(proptest::sample::select(b"0012Ff\r\r\n\n;: x\0".to_vec()), 0..24),
            parts in proptest::collection::vec(
                proptest::sample::select(vec!["2\r\nab", "\r\n", "0\r\n", "1;a=b\r\nx", "A: b\r\n", "00000000000000f\r\n"]), 0..8,
            ),
        ) {
            for input in [bytes.clone(), parts.concat().into_bytes(), [parts.concat().as_bytes(), &bytes].concat()] {
                prop_assert_eq!(decode(&input, 1), decode(&input, usize::MAX));
            }
        }

        #[test]
        fn any_body_in_any_chunks_and_pieces_comes_out_whole(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..100), 0..10),
            piece in 1_usize..64,
        ) {
            let mut message = Vec::new();
            for chunk in &chunks {
                message.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                message.extend_from_slice(chunk);
                message.extend_from_slice(b"\r\n");
            }
            message.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decode(&message, piece), Ok((chunks.concat(), message.len(), true)));
        }
    }
}
