//! Protocol buffers and gRPC frames by hand, for the messages of every request.
//!
//! The hot path has two kinds of them, and both carry bodies that must not be copied: one field behind a prefix
//! (<https://protobuf.dev/programming-guides/encoding/>, gRPC over HTTP/2: a flag, four bytes of length, the
//! message). What is sent once in a while is `prost`'s.

use std::fmt;

use bytes::Bytes;

/// Bytes in front of each message: whether it is compressed, and its length.
pub const PREFIX: usize = 5;

/// Longest `varint` of 64 bits.
const VARINT_MAX: usize = 10;

/// Wire types.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

/// The messages of a peer that are no messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0}")]
pub struct Malformed(pub &'static str);

/// A message under construction.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// One with room for its prefix.
    pub fn framed(capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(PREFIX + capacity);
        bytes.resize(PREFIX, 0);
        Self { bytes }
    }

    /// The message with its prefix.
    pub fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len() - PREFIX).unwrap_or(u32::MAX);
        self.bytes[1..PREFIX].copy_from_slice(&length.to_be_bytes());
        self.bytes
    }

    /// A field of bytes or text. Nothing for an empty one, which is the default (proto3).
    pub fn bytes(&mut self, field: u8, value: &[u8]) {
        if !value.is_empty() {
            self.key(field, LENGTH);
            self.varint(value.len() as u64);
            self.bytes.extend_from_slice(value);
        }
    }

    /// A text that may hold any bytes: as UTF-8 if it is, else read as Latin-1, as Node reads fields.
    pub fn text(&mut self, field: u8, value: &[u8]) {
        match std::str::from_utf8(value) {
            Ok(text) => self.bytes(field, text.as_bytes()),
            Err(_) => {
                self.bytes(field, value.iter().map(|&byte| char::from(byte)).collect::<String>().as_bytes())
            }
        }
    }

    /// A double.
    pub fn double(&mut self, field: u8, value: f64) {
        self.key(field, FIXED64);
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// A message inside the message.
    pub fn message(&mut self, field: u8, write: impl FnOnce(&mut Self)) {
        self.key(field, LENGTH);
        let at = self.bytes.len();
        write(self);
        let mut length = [0; VARINT_MAX];
        let count = put_varint(&mut length, (self.bytes.len() - at) as u64);
        // Behind what it measures, then turned in front of it: inner messages are pairs of fields, and short.
        self.bytes.extend_from_slice(&length[..count]);
        self.bytes[at..].rotate_right(count);
    }

    fn key(&mut self, field: u8, kind: u8) {
        self.bytes.push(field << 3 | kind);
    }

    fn varint(&mut self, value: u64) {
        let mut bytes = [0; VARINT_MAX];
        let count = put_varint(&mut bytes, value);
        self.bytes.extend_from_slice(&bytes[..count]);
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({} bytes)", self.bytes.len())
    }
}

/// Most bytes that [`body_head`] puts in front of a body.
pub const BODY_HEAD_MAX: usize = PREFIX + 1 + 5;

/// What goes in front of `length` bytes so that they are a message whose only field is number `field`.
pub fn body_head(field: u8, length: usize) -> ([u8; BODY_HEAD_MAX], usize) {
    let mut bytes = [0; BODY_HEAD_MAX];
    let mut varint = [0; VARINT_MAX];
    let count = put_varint(&mut varint, length as u64);
    bytes[PREFIX] = field << 3 | LENGTH;
    bytes[PREFIX + 1..PREFIX + 1 + count].copy_from_slice(&varint[..count]);
    let whole = u32::try_from(1 + count + length).unwrap_or(u32::MAX);
    bytes[1..PREFIX].copy_from_slice(&whole.to_be_bytes());
    (bytes, PREFIX + 1 + count)
}

fn put_varint(bytes: &mut [u8; VARINT_MAX], mut value: u64) -> usize {
    let mut count = 0;
    while value >= 0x80 {
        bytes[count] = value as u8 | 0x80;
        value >>= 7;
        count += 1;
    }
    bytes[count] = value as u8;
    count + 1
}

/// One field of a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// A whole number, its bits as they came.
    Number(u64),
    /// Bytes, a text or a message.
    Bytes(Bytes),
    /// Of a kind that none of our messages has.
    Other,
}

/// The next field of `message`, taken off its front, with its number.
///
/// # Errors
/// [`Malformed`] if the bytes are no fields.
pub fn next_field(message: &mut Bytes) -> Result<Option<(u64, Field)>, Malformed> {
    if message.is_empty() {
        return Ok(None);
    }
    let (key, used) = varint(message).complete()?;
    let _ = message.split_to(used);
    let field = match (key & 7) as u8 {
        VARINT => {
            let (number, used) = varint(message).complete()?;
            let _ = message.split_to(used);
            Field::Number(number)
        }
        LENGTH => {
            let (length, used) = varint(message).complete()?;
            let _ = message.split_to(used);
            let length = usize::try_from(length).ok().filter(|length| *length <= message.len());
            Field::Bytes(message.split_to(length.ok_or(Malformed("length"))?))
        }
        FIXED64 if message.len() >= 8 => {
            let _ = message.split_to(8);
            Field::Other
        }
        FIXED32 if message.len() >= 4 => {
            let _ = message.split_to(4);
            Field::Other
        }
        _ => return Err(Malformed("field")),
    };
    Ok(Some((key >> 3, field)))
}

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Varint {
    /// A number, and in how many bytes.
    Whole(u64, usize),
    /// The beginning of one.
    Part,
    /// None.
    Bad,
}

impl Varint {
    fn complete(self) -> Result<(u64, usize), Malformed> {
        match self {
            Self::Whole(value, used) => Ok((value, used)),
            Self::Part | Self::Bad => Err(Malformed("number")),
        }
    }
}

/// The number at the front of `bytes`.
pub fn varint(bytes: &[u8]) -> Varint {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(VARINT_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index as u32).min(63);
        if byte < 0x80 {
            return Varint::Whole(value, index + 1);
        }
    }
    if bytes.len() < VARINT_MAX { Varint::Part } else { Varint::Bad }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_inside_a_message_is_measured() {
        let mut writer = Writer::framed(0);
        writer.message(4, |pair| {
            pair.text(1, b"a");
            pair.text(2, &[b'x'; 200]);
        });
        let bytes = writer.finish();
        assert_eq!(&bytes[..5], [0, 0, 0, 0, (bytes.len() - 5) as u8]);
        let mut message = Bytes::from(bytes).slice(5..);
        let Ok(Some((4, Field::Bytes(mut pair)))) = next_field(&mut message) else { panic!("the pair") };
        assert_eq!(next_field(&mut pair), Ok(Some((1, Field::Bytes(Bytes::from_static(b"a"))))));
        assert!(matches!(next_field(&mut pair), Ok(Some((2, Field::Bytes(value)))) if value.len() == 200));
        assert_eq!((next_field(&mut pair), next_field(&mut message)), (Ok(None), Ok(None)));
    }

    #[test]
    fn bytes_that_are_no_text_are_read_as_node_reads_them() {
        let mut writer = Writer::framed(0);
        writer.text(1, b"caf\xe9");
        assert_eq!(&writer.finish()[7..], "café".as_bytes());
    }

    proptest! {
        #[test]
        fn a_body_behind_its_head_is_one_field(length in prop_oneof![0_usize..300, 60_000_usize..70_000]) {
            let (head, used) = body_head(7, length);
            let mut bytes = head[..used].to_vec();
            bytes.resize(used + length, b'b');
            let announced = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
            prop_assert_eq!(announced, bytes.len() - PREFIX);
            let mut message = Bytes::from(bytes).slice(PREFIX..);
            let Ok(Some((7, Field::Bytes(body)))) = next_field(&mut message) else { panic!("the body") };
            prop_assert_eq!(body.len(), length);
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut message = Bytes::from(bytes);
            while let Ok(Some(_)) = next_field(&mut message) {}
        }
    }
}
