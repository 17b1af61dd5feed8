//! The request id: the platform's if it sent one, else made here in the same shape.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// The header that carries it (FC contract §2.2).
pub const REQUEST_ID_HEADER: &str = "x-fc-request-id";

/// An id fit for logs and headers: printable ASCII, at most [`RequestId::MAX`] bytes.
///
/// Opaque, and not unique per attempt: the platform repeats it on retries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId {
    len: u8,
    bytes: [u8; RequestId::MAX],
}

impl RequestId {
    /// Longest id kept for logs; the header itself passes whole.
    pub const MAX: usize = 128;

    /// The platform's id, made safe: other bytes become `?`, the rest beyond [`Self::MAX`] is cut.
    pub fn sanitised(raw: &[u8]) -> Self {
        let mut id = Self { len: raw.len().min(Self::MAX) as u8, bytes: [0; Self::MAX] };
        for (to, &from) in id.bytes.iter_mut().zip(raw) {
            *to = if from.is_ascii_graphic() { from } else { b'?' };
        }
        id
    }

    /// A new id in the platform's shape: `1-<seconds>-<8 hex>-<12 hex>`.
    pub fn generate() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) as u32;
        let (high, low) = (fastrand::u64(..), fastrand::u32(..));
        let mut id = Self { len: 0, bytes: [0; Self::MAX] };
        id.text("1-");
        id.hex(u64::from(seconds), 8);
        id.text("-");
        id.hex(u64::from(low), 8);
        id.text("-");
        id.hex(high >> 16, 12);
        id
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        // Only printable ASCII is ever stored.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }

    fn text(&mut self, text: &str) {
        for &byte in text.as_bytes() {
            self.bytes[usize::from(self.len)] = byte;
            self.len += 1;
        }
    }

    fn hex(&mut self, value: u64, digits: u32) {
        for place in (0..digits).rev() {
            let nibble = (value >> (4 * place)) & 0xf;
            self.bytes[usize::from(self.len)] = b"0123456789abcdef"[nibble as usize];
            self.len += 1;
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::RequestId;

    #[test]
    fn a_made_id_has_the_platforms_shape() {
        let id = RequestId::generate();
        let parts: Vec<_> = id.as_str().split('-').map(str::len).collect();
        assert_eq!(parts, [1, 8, 8, 12], "{id}");
        assert_ne!(id, RequestId::generate());
    }

    #[test]
    fn fc32_a_foreign_id_is_safe_to_log() {
        assert_eq!(RequestId::sanitised(b"1-ab\r\nFC Invoke").as_str(), "1-ab??FC?Invoke");
        assert_eq!(RequestId::sanitised("ü".as_bytes()).as_str(), "??");
        assert_eq!(RequestId::sanitised(&[b'a'; 300]).as_str().len(), 128);
    }
}
