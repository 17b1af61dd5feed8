//! Measures a body while it passes: how many of the bytes at hand belong to it.

use std::ops::Range;

use super::chunked::{ChunkFault, Part, Scanner};
use super::framing::Framing;

/// The rest of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// This many bytes are still to come; zero: complete.
    Length(u64),
    /// Chunks are still to come.
    Chunked(Scanner),
    /// Everything until the sender closes.
    UntilClose,
}

impl Body {
    /// A body from its first byte on.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Scanner::new()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether its last byte was seen. Never true for [`Body::UntilClose`].
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(scanner) => scanner.is_done(),
            Self::UntilClose => false,
        }
    }

    /// How many of the next bytes are content, whatever they are: they need not be looked at.
    pub fn known_ahead(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            Self::Chunked(scanner) => scanner.data_left(),
            Self::UntilClose => u64::MAX,
        }
    }

    /// Takes `count` bytes that nobody looked at, at most [`Body::known_ahead`].
    pub fn skip(&mut self, count: u64) {
        debug_assert!(count <= self.known_ahead(), "invariant: only content is skipped");
        match self {
            Self::Length(left) => *left -= count,
            Self::Chunked(scanner) => scanner.skip_data(count),
            Self::UntilClose => {}
        }
    }

    /// Takes from the front of `input` what belongs to this body; returns how many bytes.
    ///
    /// # Errors
    /// [`ChunkFault`] when chunks cannot be trusted.
    pub fn take(&mut self, input: &[u8]) -> Result<usize, ChunkFault> {
        self.take_data(input, |_| {})
    }

    /// Like [`Body::take`]; `on_data` sees the ranges that are data, without chunk framing.
    ///
    /// # Errors
    /// [`ChunkFault`] when chunks cannot be trusted.
    pub fn take_data(
        &mut self,
        input: &[u8],
        mut on_data: impl FnMut(Range<usize>),
    ) -> Result<usize, ChunkFault> {
        self.take_at_most(input, usize::MAX, |part, range| {
            if part == Part::Data {
                on_data(range);
            }
        })
    }

    /// Like [`Body::take`], but stops before more than `data_max` bytes of data; `on_part` sees data and
    /// the lines of the trailer section.
    ///
    /// # Errors
    /// [`ChunkFault`] when chunks cannot be trusted.
    pub fn take_at_most(
        &mut self,
        input: &[u8],
        data_max: usize,
        mut on_part: impl FnMut(Part, Range<usize>),
    ) -> Result<usize, ChunkFault> {
        let here = match self {
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len()).min(data_max);
                *left -= here as u64;
                here
            }
            Self::Chunked(scanner) => return scanner.scan_at_most(input, data_max, on_part),
            Self::UntilClose => input.len().min(data_max),
        };
        on_part(Part::Data, 0..here);
        Ok(here)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_exactly_its_bytes() {
        let mut body = Body::new(Framing::Length(5));
        assert_eq!(body.take(b"abc"), Ok(3));
        assert!(!body.is_complete());
        assert_eq!(body.take(b"deGET"), Ok(2));
        assert!(body.is_complete());
        assert_eq!(body.take(b"GET"), Ok(0));
    }

    #[test]
    fn no_more_data_is_taken_than_there_is_room_for() {
        let mut body = Body::new(Framing::Length(5));
        assert_eq!(body.take_at_most(b"abcde", 2, |_, _| {}), Ok(2));
        assert_eq!(body, Body::Length(3));
    }

    #[test]
    fn content_that_is_certain_can_pass_unseen() {
        let mut body = Body::new(Framing::Length(5));
        body.skip(3);
        assert_eq!((body.known_ahead(), body.is_complete()), (2, false));
        body.skip(2);
        assert!(body.is_complete());

        let mut body = Body::new(Framing::Chunked);
        assert_eq!(body.known_ahead(), 0, "a size comes first");
        assert_eq!(body.take(b"6\r\nab"), Ok(5));
        assert_eq!(body.known_ahead(), 4);
        body.skip(4);
        assert_eq!(body.known_ahead(), 0, "the end of the chunk comes first");
        assert_eq!(body.take(b"\r\n0\r\n\r\n"), Ok(7));
        assert!(body.is_complete());

        let mut body = Body::new(Framing::UntilClose);
        body.skip(1 << 40);
        assert_eq!((body.known_ahead(), body.is_complete()), (u64::MAX, false));
    }

    #[test]
    fn no_body_is_complete_at_once_and_until_close_never() {
        assert!(Body::new(Framing::None).is_complete());
        let mut body = Body::new(Framing::UntilClose);
        assert_eq!(body.take(b"abc"), Ok(3));
        assert!(!body.is_complete());
    }
}
