//! What the fuzz targets promise, as functions of bytes that panic when a promise breaks.
//!
//! The targets in `fuzz_targets/` call them under libFuzzer; `tests/fuzz_seeds.rs` of the main package
//! includes this file and runs the corpus and mutations of it with every `cargo test`.

mod bodies;
mod differential;
mod heads;
mod ours;
mod peers;
pub mod reasons;
mod reference;

pub use bodies::{chunked, response};
pub use differential::{differential, differential_response};
pub use heads::{request_head, response_head, rewrite};
use reference::Ends;
use warmfront::http1::framing::Framing;

/// A promise about bytes.
pub type Target = fn(&[u8]);

/// All targets by name; the names of the folders in `corpus/`.
pub const TARGETS: [(&str, Target); 7] = [
    ("request_head", request_head),
    ("response_head", response_head),
    ("chunked", chunked),
    ("response", response),
    ("differential", differential),
    ("differential_response", differential_response),
    ("rewrite", rewrite),
];

/// Inputs of the response targets that begin so answer a HEAD request.
const TO_HEAD: &[u8] = b"HEAD\n";

fn to_head(data: &[u8]) -> (bool, &[u8]) {
    data.strip_prefix(TO_HEAD).map_or((false, data), |rest| (true, rest))
}

fn ends_of(framing: Framing) -> Ends {
    match framing {
        Framing::None => Ends::Here,
        Framing::Length(length) => Ends::After(length),
        Framing::Chunked => Ends::Chunked,
        Framing::UntilClose => Ends::AtClose,
    }
}

fn owned((name, value): (&[u8], &[u8])) -> reference::Field {
    (name.to_vec(), value.to_vec())
}

/// Numbers that follow from the input, so that a finding repeats.
struct Chance(u64);

impl Chance {
    fn of(data: &[u8]) -> Self {
        // FNV-1a.
        let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, fold))
    }

    fn below(&mut self, bound: usize) -> usize {
        // xorshift64.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}
