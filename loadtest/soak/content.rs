//! Bodies that prove whose they are: every byte follows from the key and its place.
//!
//! A body that belongs to another request, lost a byte, or got one twice differs
//! from what its key says, and the first wrong place is known. The checksum is
//! what a worker can tell the client in one field about what it received.

/// Distinguishes what goes up from what comes down for one request.
const UPWARDS: u64 = 1 << 63;

/// The key of the body that goes up with request `id`.
pub(super) fn upwards(id: u64) -> u64 {
    id | UPWARDS
}

/// Eight bytes of the content of `key` (SplitMix64: cheap, and any place can be had at once).
fn word(key: u64, index: u64) -> [u8; 8] {
    let mut z =
        key.wrapping_mul(0xD6E8_FEB8_6659_FD93).wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)).to_le_bytes()
}

/// Fills `into` with the content of `key` from byte `at` on.
pub(super) fn fill(key: u64, at: u64, mut into: &mut [u8]) {
    let mut index = at / 8;
    let within = (at % 8) as usize;
    if within > 0 {
        let count = (8 - within).min(into.len());
        into[..count].copy_from_slice(&word(key, index)[within..within + count]);
        into = &mut into[count..];
        index += 1;
    }
    for piece in into.chunks_mut(8) {
        piece.copy_from_slice(&word(key, index)[..piece.len()]);
        index += 1;
    }
}

/// A length from 0 to 8 MiB, each order of magnitude as likely as the others.
pub(super) fn any_size(rng: &mut fastrand::Rng) -> u64 {
    if rng.u8(..12) == 0 { 0 } else { (rng.f64() * 23.0).exp2() as u64 }
}

/// A checksum over bytes in order, however they come in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    state: u64,
    tail: [u8; 8],
    tail_len: u8,
    len: u64,
}

impl Sum {
    /// Adds the next bytes.
    pub(super) fn add(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len() as u64;
        while self.tail_len > 0 && !bytes.is_empty() {
            self.tail[usize::from(self.tail_len)] = bytes[0];
            bytes = &bytes[1..];
            self.tail_len += 1;
            if self.tail_len == 8 {
                self.state = mix(self.state, u64::from_le_bytes(self.tail));
                self.tail_len = 0;
            }
        }
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.state = mix(self.state, u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            self.tail[..rest.len()].copy_from_slice(rest);
            self.tail_len = rest.len() as u8;
        }
    }

    /// The checksum of all bytes so far.
    pub(super) fn value(&self) -> u64 {
        let mut tail = [0; 8];
        tail[..usize::from(self.tail_len)].copy_from_slice(&self.tail[..usize::from(self.tail_len)]);
        mix(mix(self.state, u64::from_le_bytes(tail)), self.len)
    }
}

fn mix(state: u64, word: u64) -> u64 {
    (state.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95)
}

/// Compares what arrives with the content of one key.
#[derive(Debug)]
pub(super) struct Checker {
    key: u64,
    seen: u64,
    sum: Sum,
    wrong_near: Option<u64>,
}

impl Checker {
    /// Nothing has arrived yet.
    pub(super) fn new(key: u64) -> Self {
        Self { key, seen: 0, sum: Sum::default(), wrong_near: None }
    }

    /// Takes the next bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let mut scratch = [0; 4096];
        for piece in bytes.chunks(scratch.len()) {
            let expected = &mut scratch[..piece.len()];
            fill(self.key, self.seen, expected);
            if self.wrong_near.is_none() && piece != expected {
                let same = piece.iter().zip(&*expected).take_while(|(here, there)| here == there).count();
                self.wrong_near = Some(self.seen + same as u64);
            }
            self.seen += piece.len() as u64;
        }
        self.sum.add(bytes);
    }

    /// Bytes so far.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// The checksum of what arrived.
    pub(super) fn sum(&self) -> u64 {
        self.sum.value()
    }

    /// The first byte that is not what it should be.
    pub(super) fn wrong_near(&self) -> Option<u64> {
        self.wrong_near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_and_checksum_are_the_same_in_any_pieces() {
        let mut whole = vec![0; 10_000];
        fill(7, 0, &mut whole);
        let mut sum = Sum::default();
        sum.add(&whole);
        for piece in [1, 3, 7, 8, 9, 4095, 4097] {
            let (mut at, mut pieces, mut checker) = (0, Sum::default(), Checker::new(7));
            while at < whole.len() {
                let mut part = vec![0; piece.min(whole.len() - at)];
                fill(7, at as u64, &mut part);
                assert_eq!(part, whole[at..at + part.len()], "at {at}");
                pieces.add(&part);
                checker.take(&part);
                at += part.len();
            }
            assert_eq!(pieces.value(), sum.value(), "pieces of {piece}");
            assert_eq!((checker.sum(), checker.seen(), checker.wrong_near()), (sum.value(), 10_000, None));
        }
    }

    #[test]
    fn a_lost_a_doubled_and_a_foreign_byte_are_found_where_they_are() {
        let mut whole = vec![0; 100];
        fill(7, 0, &mut whole);
        let wrong_near = |bytes: &[u8]| {
            let mut checker = Checker::new(7);
            checker.take(bytes);
            checker.wrong_near()
        };
        assert!((20..24).contains(&wrong_near(&[&whole[..20], &whole[21..]].concat()).unwrap()));
        assert!((20..24).contains(&wrong_near(&[&whole[..20], &whole[19..]].concat()).unwrap()));
        let mut foreign = vec![0; 100];
        fill(upwards(7), 0, &mut foreign);
        assert!(wrong_near(&foreign).unwrap() < 4);
    }
}
