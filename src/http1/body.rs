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
    fn no_body_is_complete_at_once_and_until_close_never() {
        assert!(Body::new(Framing::None).is_complete());
        let mut body = Body::new(Framing::UntilClose);
        assert_eq!(body.take(b"abc"), Ok(3));
        assert!(!body.is_complete());
    }
}
