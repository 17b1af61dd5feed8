//! In which bucket a duration belongs: bounds that grow by a quarter, found without a division.
//!
//! Ten bounds for each power of ten (the R10 series of ISO 3), so that a percentile read from them is off by
//! 13 % at most. Among them are the fewer ones that Prometheus is told: the finer ones fold into those exactly.

/// Upper bounds, inclusive, in microseconds. What is longer than the last is in a bucket behind it.
pub const BOUNDS_US: [u32; 66] = [
    10, 12, 16, 20, 25, 32, 40, 50, 63, 80, //
    100, 125, 160, 200, 250, 320, 400, 500, 630, 800, //
    1_000, 1_250, 1_600, 2_000, 2_500, 3_200, 4_000, 5_000, 6_300, 8_000, //
    10_000, 12_500, 16_000, 20_000, 25_000, 32_000, 40_000, 50_000, 63_000, 80_000, //
    100_000, 125_000, 160_000, 200_000, 250_000, 320_000, 400_000, 500_000, 630_000, 800_000, //
    1_000_000, 1_250_000, 1_600_000, 2_000_000, 2_500_000, 3_200_000, 4_000_000, 5_000_000, 6_300_000,
    8_000_000, //
    10_000_000, 12_500_000, 16_000_000, 20_000_000, 25_000_000, 30_000_000,
];

/// How many there are, the one behind the last bound included.
pub const BUCKETS: usize = BOUNDS_US.len() + 1;

/// The bounds that Prometheus is told, in microseconds: 100 µs to 30 s. Each is one of [`BOUNDS_US`].
pub const TOLD_US: [u32; 17] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// By the number of bits of the nanoseconds: the first bucket that can be the one.
const FIRST: [u8; 65] = first();

const fn first() -> [u8; 65] {
    let mut table = [0; 65];
    let mut bits = 1;
    while bits <= 64 {
        let least = 1_u64 << (bits - 1);
        let mut bucket = 0;
        while bucket < BOUNDS_US.len() && (BOUNDS_US[bucket] as u64) * 1000 < least {
            bucket += 1;
        }
        table[bits] = bucket as u8;
        bits += 1;
    }
    table
}

/// The bucket of a duration. At most four comparisons.
pub fn bucket_of(nanos: u64) -> usize {
    let mut bucket = usize::from(FIRST[(u64::BITS - nanos.leading_zeros()) as usize]);
    while BOUNDS_US.get(bucket).is_some_and(|&bound| u64::from(bound) * 1000 < nanos) {
        bucket += 1;
    }
    bucket
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_prometheus_is_told_are_some_of_the_bounds() {
        assert!(BOUNDS_US.is_sorted() && TOLD_US.is_sorted());
        assert!(TOLD_US.iter().all(|told| BOUNDS_US.contains(told)));
    }

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        for (bucket, &bound) in BOUNDS_US.iter().enumerate() {
            let nanos = u64::from(bound) * 1000;
            assert_eq!((bucket_of(nanos), bucket_of(nanos + 1)), (bucket, bucket + 1));
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
    }

    proptest! {
        #[test]
        fn the_bucket_is_the_first_whose_bound_is_not_exceeded(bits in 0_u32..64, rest in any::<u64>()) {
            let nanos = (1 << bits) | (rest & ((1 << bits) - 1));
            let expected = BOUNDS_US.partition_point(|&bound| u64::from(bound) * 1000 < nanos);
            prop_assert_eq!(bucket_of(nanos), expected);
        }
    }
}
