//! The request id: the platform's if it sent one, else made here in the same shape. And the ids of traces and spans.

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
        Self::generate_at(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// The same, where the seconds since 1970 are known already: a clock costs more than all the rest of it.
    pub fn generate_at(unix_secs: u64) -> Self {
        const SHAPE: &[u8; 32] = b"1-########-########-############";
        let (high, low) = (fastrand::u64(..), fastrand::u32(..));
        let mut id = Self { len: SHAPE.len() as u8, bytes: [0; Self::MAX] };
        id.bytes[..SHAPE.len()].copy_from_slice(SHAPE);
        id.bytes[2..10].copy_from_slice(&hex(unix_secs as u32));
        id.bytes[11..19].copy_from_slice(&hex(low));
        id.bytes[20..28].copy_from_slice(&hex((high >> 32) as u32));
        id.bytes[28..32].copy_from_slice(&hex(high as u32)[..4]);
        id
    }

    /// A number that follows from the id alone, in every process and version: FNV-1a, 64 bits.
    pub fn hash(&self) -> u64 {
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        self.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        // Only printable ASCII is ever stored.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }

    /// The id's bytes: what [`Self::as_str`] gives, without a look at whether it is text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Eight lower-case hexadecimal digits, all at once: every byte of a word is one digit.
fn hex(value: u32) -> [u8; 8] {
    let mut digits = u64::from(value);
    for (shift, mask) in [(16, 0x0000_ffff_0000_ffff), (8, 0x00ff_00ff_00ff_00ff), (4, 0x0f0f_0f0f_0f0f_0f0f)]
    {
        digits = (digits | (digits << shift)) & mask;
    }
    // One in each byte whose digit is a letter.
    let letters = ((digits + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (digits + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
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

/// A trace: 16 bytes, not all zero (W3C Trace Context §3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// A span of a trace: 8 bytes, not all zero (W3C Trace Context §3.2.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// A new one.
    pub fn generate() -> Self {
        Self(fastrand::u128(1..).to_be_bytes())
    }

    /// `None` if all of them are zero.
    pub fn of(bytes: [u8; 16]) -> Option<Self> {
        (bytes != [0; 16]).then_some(Self(bytes))
    }

    /// Its bytes.
    pub fn bytes(self) -> [u8; 16] {
        self.0
    }

    /// Whether chance, which made it, picks it as one of `n`; none of zero.
    pub fn is_one_in(self, n: u64) -> bool {
        (self.low() as u64).checked_rem(n) == Some(0)
    }

    fn low(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

impl fmt::Display for TraceId {
    /// As everybody writes it: 32 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.low())
    }
}

impl SpanId {
    /// A new one.
    pub fn generate() -> Self {
        Self(fastrand::u64(1..).to_be_bytes())
    }

    /// `None` if all of them are zero.
    pub fn of(bytes: [u8; 8]) -> Option<Self> {
        (bytes != [0; 8]).then_some(Self(bytes))
    }

    /// Its bytes.
    pub fn bytes(self) -> [u8; 8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{RequestId, SpanId, TraceId};

    #[test]
    fn chance_picks_one_trace_of_so_many_and_none_of_zero() {
        let traces: Vec<_> = (0..40_000).map(|_| TraceId::generate()).collect();
        let picked = |n| traces.iter().filter(|trace| trace.is_one_in(n)).count();
        assert_eq!((picked(0), picked(1)), (0, traces.len()));
        // Six standard deviations around ten thousand.
        assert!((9_480..10_520).contains(&picked(4)), "{}", picked(4));
        assert!(TraceId::of([0; 16]).is_none() && SpanId::of([0; 8]).is_none());
        assert_eq!(TraceId::of([0xab; 16]).unwrap().to_string(), "ab".repeat(16));
    }

    #[test]
    fn a_made_id_has_the_platforms_shape() {
        let id = RequestId::generate();
        let parts: Vec<_> = id.as_str().split('-').map(str::len).collect();
        assert_eq!(parts, [1, 8, 8, 12], "{id}");
        assert_ne!(id, RequestId::generate());
    }

    #[test]
    fn digits_are_those_that_everybody_writes() {
        for value in [0, 1, 9, 10, 15, 16, 0x0123_4567, 0x89ab_cdef, u32::MAX] {
            assert_eq!(super::hex(value), format!("{value:08x}").as_bytes());
        }
    }

    #[test]
    fn the_hash_is_the_one_that_everybody_computes_and_picks_evenly() {
        // The vectors of its authors.
        for (text, hash) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c), ("foobar", 0x8594_4171_f739_67e8)]
        {
            assert_eq!(RequestId::sanitised(text.as_bytes()).hash(), hash);
        }
        let made = || RequestId::generate_at(1_795_000_000);
        let numbered = |number: u32| RequestId::sanitised(format!("request-{number}").as_bytes());
        for one_in in [2, 10, 16, 100] {
            let share = |ids: &mut dyn Iterator<Item = RequestId>| {
                ids.filter(|id| id.hash() % one_in == 0).count() as f64 * one_in as f64 / 20_000.0
            };
            assert!((0.75..1.25).contains(&share(&mut (0..20_000).map(|_| made()))), "1 in {one_in}");
            assert!((0.75..1.25).contains(&share(&mut (0..20_000).map(numbered))), "1 in {one_in}");
        }
    }

    #[test]
    fn fc32_a_foreign_id_is_safe_to_log() {
        assert_eq!(RequestId::sanitised(b"1-ab\r\nFC Invoke").as_str(), "1-ab??FC?Invoke");
        assert_eq!(RequestId::sanitised("ü".as_bytes()).as_str(), "??");
        assert_eq!(RequestId::sanitised(&[b'a'; 300]).as_str().len(), 128);
    }
}
