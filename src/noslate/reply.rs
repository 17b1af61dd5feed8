//! What a data plane answers, message by message.
//!
//! A body's bytes are handed on as they come, cut out of what was received: not even a message of 8 MiB is
//! gathered before it goes on. Only messages of another shape than a piece of a body are, and those are short.

use bytes::{Bytes, BytesMut};

use super::fault::PlaneError;
use super::wire::{Field, Malformed, PREFIX, Varint, next_field, varint};

/// `InvokeResponse`.
const ERROR: u64 = 1;
const RESULT: u64 = 2;

/// `InvokeResultResponse`.
const STATUS: u64 = 1;
const HEADERS: u64 = 2;
const BODY: u64 = 3;

/// Longest message that is taken: planes allow 10 MiB, framing included.
pub const MESSAGE_MAX: usize = 16 << 20;

/// The keys of a message that is nothing but a piece of a body: `result`, and in it `body`.
const RESULT_KEY: u8 = 0x12;
const BODY_KEY: u8 = 0x1a;

/// Something that a plane said.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Status and fields, in their order and case; bytes of the body may follow in the same message.
    Head(i32, Vec<(Bytes, Bytes)>),
    /// Bytes of the body; never none.
    Body(Bytes),
    /// It will not answer.
    Error(Box<PlaneError>),
}

/// The messages of one call, from its bytes.
#[derive(Debug, Default)]
pub struct Messages {
    /// Received and not understood yet.
    here: Bytes,
    state: State,
    has_head: bool,
    /// What a message said behind its head.
    next: Option<Bytes>,
}

#[derive(Debug, Default)]
enum State {
    /// Before a message.
    #[default]
    Between,
    /// At the first byte of one of this many bytes.
    Begun(usize),
    /// Inside one that has to be there whole.
    Gathering(usize, BytesMut),
    /// Inside a body of which so many bytes are to come.
    Body(usize),
}

impl Messages {
    /// Takes the bytes of a frame. Only when [`Messages::said`] has given everything.
    pub fn push(&mut self, bytes: Bytes) {
        self.here = match self.here.is_empty() {
            true => bytes,
            // A few bytes of a prefix at most.
            false => [self.here.as_ref(), bytes.as_ref()].concat().into(),
        };
    }

    /// Whether the call may end here: between two messages.
    pub fn is_between(&self) -> bool {
        matches!(self.state, State::Between) && self.here.is_empty()
    }

    /// What was said next; `None` if more bytes are needed for that.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are none of its messages.
    pub fn said(&mut self) -> Result<Option<Said>, Malformed> {
        if let Some(body) = self.next.take() {
            return Ok(Some(Said::Body(body)));
        }
        loop {
            match &mut self.state {
                State::Between => {
                    let Some(prefix) = self.here.get(..PREFIX) else { return Ok(None) };
                    if prefix[0] != 0 {
                        return Err(Malformed("frame: it is compressed, which was not offered"));
                    }
                    let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
                    if length > MESSAGE_MAX {
                        return Err(Malformed("frame: it is longer than 16 MiB"));
                    }
                    let _ = self.here.split_to(PREFIX);
                    self.state = State::Begun(length);
                }
                State::Begun(length) => {
                    let length = *length;
                    match piece_of_body(&self.here, length) {
                        Shape::Piece { head, body } if self.has_head => {
                            let _ = self.here.split_to(head);
                            self.state = State::Body(body);
                        }
                        Shape::Unknown => return Ok(None),
                        Shape::Piece { .. } | Shape::Other => {
                            self.state = State::Gathering(length, BytesMut::new());
                        }
                    }
                }
                State::Body(0) => self.state = State::Between,
                State::Body(left) => {
                    if self.here.is_empty() {
                        return Ok(None);
                    }
                    let piece = self.here.split_to(self.here.len().min(*left));
                    *left -= piece.len();
                    return Ok(Some(Said::Body(piece)));
                }
                State::Gathering(length, gathered) => {
                    let message = if gathered.is_empty() && self.here.len() >= *length {
                        self.here.split_to(*length)
                    } else {
                        let missing = *length - gathered.len();
                        let piece = self.here.split_to(self.here.len().min(missing));
                        gathered.extend_from_slice(&piece);
                        if gathered.len() < *length {
                            return Ok(None);
                        }
                        std::mem::take(gathered).freeze()
                    };
                    self.state = State::Between;
                    if let Some(said) = self.understand(message)? {
                        return Ok(Some(said));
                    }
                }
            }
        }
    }

    fn understand(&mut self, mut message: Bytes) -> Result<Option<Said>, Malformed> {
        let mut result = None;
        while let Some((number, field)) = next_field(&mut message)? {
            match (number, field) {
                (ERROR, Field::Bytes(error)) => {
                    return PlaneError::read(error).map(|error| Some(Said::Error(error.into())));
                }
                (RESULT, Field::Bytes(bytes)) => result = Some(bytes),
                _ => {}
            }
        }
        let Some(mut result) = result else {
            // Behind a head it says nothing new.
            return if self.has_head {
                Ok(None)
            } else {
                Err(Malformed("answer: neither a result nor an error"))
            };
        };
        let (mut status, mut fields, mut body) = (0, Vec::new(), Bytes::new());
        while let Some((number, field)) = next_field(&mut result)? {
            match (number, field) {
                // Its low 32 bits, as the type says.
                (STATUS, Field::Number(number)) => status = number as i32,
                (HEADERS, Field::Bytes(pair)) => fields.push(pair_of(pair)?),
                (BODY, Field::Bytes(bytes)) => body = bytes,
                _ => {}
            }
        }
        if std::mem::replace(&mut self.has_head, true) {
            return Ok((!body.is_empty()).then_some(Said::Body(body)));
        }
        self.next = (!body.is_empty()).then_some(body);
        Ok(Some(Said::Head(status, fields)))
    }
}

enum Shape {
    /// Nothing but a piece of a body, of this many bytes behind this many.
    Piece { head: usize, body: usize },
    /// Something else.
    Other,
    /// More bytes are needed to tell.
    Unknown,
}

/// What the message of `length` bytes is that begins with `bytes`.
fn piece_of_body(bytes: &[u8], length: usize) -> Shape {
    let mut left = length;
    let mut at = 0;
    for key in [RESULT_KEY, BODY_KEY] {
        if left == 0 {
            return Shape::Other;
        }
        let Some(&found) = bytes.get(at) else { return Shape::Unknown };
        if found != key {
            return Shape::Other;
        }
        match varint(&bytes[at + 1..]) {
            Varint::Whole(inner, used) if used < left && inner == (left - 1 - used) as u64 => {
                at += 1 + used;
                left -= 1 + used;
            }
            Varint::Part if bytes.len() < length => return Shape::Unknown,
            Varint::Whole(..) | Varint::Part | Varint::Bad => return Shape::Other,
        }
    }
    Shape::Piece { head: at, body: left }
}

fn pair_of(mut pair: Bytes) -> Result<(Bytes, Bytes), Malformed> {
    let (mut name, mut value) = (Bytes::new(), Bytes::new());
    while let Some((number, field)) = next_field(&mut pair)? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => name = bytes,
            (2, Field::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noslate::wire::{Writer, body_head};
    use proptest::prelude::*;

    /// One frame around `write`'s fields.
    fn frame(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut message = Writer::framed(0);
        write(&mut message);
        message.finish()
    }

    fn head(status: u64, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
        let mut bytes = frame(|message| {
            message.message(2, |result| {
                for (name, value) in fields {
                    result.message(2, |pair| {
                        pair.bytes(1, name.as_bytes());
                        pair.bytes(2, value.as_bytes());
                    });
                }
                result.bytes(3, body);
            });
        });
        // The status by hand: a number is what the writer need not know.
        let at = PREFIX + 2;
        let varint: &[u8] = &[0x08, status as u8 | 0x80, (status >> 7) as u8];
        bytes.splice(at..at, varint.iter().copied());
        bytes[PREFIX + 1] += 3;
        bytes[4] += 3;
        bytes
    }

    fn piece(body: &[u8]) -> Vec<u8> {
        frame(|message| message.message(2, |result| result.bytes(3, body)))
    }

    fn error(code: u8, message: &str) -> Vec<u8> {
        frame(|outer| {
            outer.message(1, |error| {
                error.bytes(1, b"Error");
                error.bytes(2, message.as_bytes());
                // Field 7, a number.
                error.bytes(15, &[code]);
            });
        })
    }

    /// All that is said in `bytes`, which come in pieces that end at `cuts`; bodies are joined.
    fn said(bytes: &[u8], cuts: &[usize]) -> Result<(Vec<Said>, bool), Malformed> {
        let mut messages = Messages::default();
        let mut all: Vec<Said> = Vec::new();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut at = 0;
        for end in ends {
            messages.push(Bytes::copy_from_slice(&bytes[at..end]));
            at = end;
            while let Some(next) = messages.said()? {
                match (all.last_mut(), next) {
                    (Some(Said::Body(before)), Said::Body(more)) => {
                        *before = [before.as_ref(), more.as_ref()].concat().into();
                    }
                    (_, next) => all.push(next),
                }
            }
        }
        Ok((all, messages.is_between()))
    }

    #[test]
    fn a_head_may_bring_bytes_of_the_body_with_it() {
        let bytes = [head(418, &[("a", "b")], b"be"), piece(b"hind")].concat();
        let fields = vec![(Bytes::from_static(b"a"), Bytes::from_static(b"b"))];
        let expected = vec![Said::Head(418, fields), Said::Body(Bytes::from_static(b"behind"))];
        assert_eq!(said(&bytes, &[]), Ok((expected, true)));
    }

    #[test]
    fn an_error_is_said_before_and_behind_a_head() {
        for before in [Vec::new(), head(200, &[], b"")] {
            let (all, _) = said(&[before, error(5, "no")].concat(), &[]).unwrap();
            assert!(matches!(all.last(), Some(Said::Error(error)) if error.message == "no"), "{all:?}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let (begin, used) = body_head(2, MESSAGE_MAX + 1);
        for bytes in [
            vec![1, 0, 0, 0, 2, 0x12, 0],
            begin[..used].to_vec(),
            frame(|_| {}),
            vec![0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff],
            vec![0, 0, 0, 0, 2, 0x12, 9],
        ] {
            assert!(said(&bytes, &[]).is_err(), "{bytes:?}");
        }
        let (none, is_between) = said(&head(200, &[], b"")[..9], &[]).unwrap();
        assert!(none.is_empty() && !is_between);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_come(
            bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6),
            cuts in proptest::collection::vec(any::<usize>(), 0..12),
        ) {
            let mut bytes = head(200, &[("name", "value")], b"");
            bodies.iter().for_each(|body| bytes.extend(piece(body)));
            let whole = said(&bytes, &[]).unwrap();
            prop_assert_eq!(said(&bytes, &cuts).unwrap(), whole.clone());
            let body = match whole.0.get(1) {
                Some(Said::Body(body)) => body.to_vec(),
                _ => Vec::new(),
            };
            prop_assert_eq!(body, bodies.concat());
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(2), Just(0x12), Just(0x1a), any::<u8>()], 0..80),
            cuts in proptest::collection::vec(any::<usize>(), 0..4),
        ) {
            let _ = said(&bytes, &cuts);
        }
    }
}
