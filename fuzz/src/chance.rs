//! Chance that repeats.

/// Numbers that follow from the input, so that a finding repeats.
pub struct Chance(pub u64);

impl Chance {
    /// The first of them is the hash of `data`.
    pub fn of(data: &[u8]) -> Self {
        // FNV-1a.
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, fold))
    }

    /// One from 0 on, less than `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        // xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
