//! WebSocket as far as an echo needs it: the handshake's digest, frames, masks (RFC 6455).
//!
//! Pure: bytes in, frames out, for both ends. Like `http.rs` it is strict where a proxy
//! could go wrong, and shares no code with the product, which knows no frames.

use std::io;

use sha1::{Digest as _, Sha1};

/// Appended to the key of a handshake (RFC 6455 §1.3).
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// A frame that is larger never ends, as far as a benchmark is concerned.
const PAYLOAD_BYTES_MAX: u64 = 16 << 20;
/// Of frames of control (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// What the server proves with that it has read the key.
pub(crate) fn accept_of(key: &str) -> String {
    base64(&Sha1::new().chain_update(key).chain_update(MAGIC).finalize())
}

/// A key that nobody can have guessed (16 bytes).
pub(crate) fn new_key() -> String {
    let bytes: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    base64(&bytes)
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

/// Who sends: clients mask what they send, servers do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opcode {
    Continuation = 0,
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

const OPCODES: [Opcode; 6] =
    [Opcode::Continuation, Opcode::Text, Opcode::Binary, Opcode::Close, Opcode::Ping, Opcode::Pong];

/// One frame, unmasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: Opcode,
    /// Whether its message ends with it.
    pub(crate) is_last: bool,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// As it goes on the wire.
    pub(crate) fn to_bytes(&self, from: Side) -> Vec<u8> {
        let masks = if from == Side::Client { 0x80 } else { 0 };
        let mut wire = vec![u8::from(self.is_last) << 7 | self.opcode as u8];
        let length = self.payload.len();
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short @ ..=125), _) => wire.push(masks | short),
            (_, Ok(medium)) => {
                wire.push(masks | 126);
                wire.extend_from_slice(&medium.to_be_bytes());
            }
            _ => {
                wire.push(masks | 127);
                wire.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if from == Side::Client {
            let mask = fastrand::u32(..).to_be_bytes();
            wire.extend_from_slice(&mask);
            wire.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        } else {
            wire.extend_from_slice(&self.payload);
        }
        wire
    }
}

/// Reads the frames that reach one side.
#[derive(Debug)]
pub(crate) struct Frames {
    at: Side,
    /// What has arrived and is no whole frame yet.
    held: Vec<u8>,
}

impl Frames {
    /// At the start of a connection of which `at` is this end.
    pub(crate) fn new(at: Side) -> Self {
        Self { at, held: Vec::new() }
    }

    /// Takes what arrived.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// The next whole frame, if it has arrived.
    ///
    /// # Errors
    /// What came is no frame that the other side may send (RFC 6455 §5.2).
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame>> {
        let wrong = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, format!("WebSocket: {why}")));
        let [first, second, ref rest @ ..] = self.held[..] else { return Ok(None) };
        let Some(opcode) = OPCODES.into_iter().find(|opcode| *opcode as u8 == first & 0x0f) else {
            return wrong("an opcode that does not exist");
        };
        if first & 0x70 != 0 {
            return wrong("a reserved bit without an extension");
        }
        let is_masked = second & 0x80 != 0;
        if is_masked != (self.at == Side::Server) {
            return wrong("a client masks its frames, a server does not");
        }
        let (length, length_bytes) = match second & 0x7f {
            126 if rest.len() < 2 => return Ok(None),
            127 if rest.len() < 8 => return Ok(None),
            126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), 2),
            127 => (rest[..8].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)), 8),
            short => (u64::from(short), 0),
        };
        if length > PAYLOAD_BYTES_MAX {
            return wrong("a frame of more than 16 MiB");
        }
        let is_last = first & 0x80 != 0;
        let is_control = matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong);
        if is_control && (length > CONTROL_BYTES_MAX || !is_last) {
            return wrong("a frame of control that is long or in pieces");
        }
        let start = 2 + length_bytes + if is_masked { 4 } else { 0 };
        let end = start + usize::try_from(length).unwrap_or(usize::MAX - start);
        if self.held.len() < end {
            return Ok(None);
        }
        let mut payload = self.held[start..end].to_vec();
        if is_masked {
            let mask = &self.held[start - 4..start];
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        }
        self.held.drain(..end);
        Ok(Some(Frame { opcode, is_last, payload }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_that_of_the_rfc() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(base64(b"f"), "Zg==");
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
        assert_eq!(new_key().len(), 24);
    }

    #[test]
    fn frames_of_every_length_arrive_in_pieces_from_both_sides() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
            for (from, at) in [(Side::Client, Side::Server), (Side::Server, Side::Client)] {
                let sent = Frame { opcode: Opcode::Binary, is_last: true, payload: vec![7; length] };
                let mut frames = Frames::new(at);
                let wire = sent.to_bytes(from);
                let (head, last) = wire.split_at(wire.len() - 1);
                for piece in head.chunks(9_999) {
                    frames.feed(piece);
                    assert_eq!(frames.next().unwrap(), None, "{length}");
                }
                frames.feed(last);
                assert_eq!(frames.next().unwrap(), Some(sent), "{length}");
                assert_eq!(frames.next().unwrap(), None);
            }
        }
    }

    #[test]
    fn what_the_other_side_may_not_send_is_refused() {
        let unmasked = Frame { opcode: Opcode::Text, is_last: true, payload: b"hi".into() };
        for (wire, why) in [
            (unmasked.to_bytes(Side::Server), "masks"),
            (vec![0x83, 0x80, 0, 0, 0, 0], "opcode"),
            (vec![0xc1, 0x80, 0, 0, 0, 0], "reserved"),
            (vec![0x09, 0x80, 0, 0, 0, 0], "control"),
            (vec![0x82, 0xff, 1, 0, 0, 0, 0, 0, 0, 0], "16 MiB"),
        ] {
            let mut frames = Frames::new(Side::Server);
            frames.feed(&wire);
            let error = frames.next().unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
