//! What the fuzz targets promise, as functions of bytes that panic when a promise breaks.
//!
//! The targets in `fuzz_targets/` call them under libFuzzer; `tests/fuzz_seeds.rs` of the main package
//! includes this file and runs the corpus and mutations of it with every `cargo test`.

mod bodies;
mod chance;
// Needs the simulation, which is compiled for fuzzing and for the package's own tests only.
#[cfg(fuzzing)]
mod connection;
mod differential;
mod heads;
mod ours;
mod peers;
mod php;
mod plane;
pub mod reasons;
mod reference;
mod travelling;

pub use bodies::{chunked, response};
use chance::Chance;
#[cfg(fuzzing)]
pub use connection::connection;
pub use differential::{differential, differential_response};
pub use heads::{request_head, response_head, rewrite};
pub use php::php_answer;
pub use plane::plane_answer;
use reference::Ends;
use warmfront::http1::framing::Framing;

/// A promise about bytes.
pub type Target = fn(&[u8]);

/// All targets by name; the names of the folders in `corpus/`.
pub const TARGETS: [(&str, Target); 9] = [
    ("request_head", request_head),
    ("response_head", response_head),
    ("chunked", chunked),
    ("response", response),
    ("differential", differential),
    ("differential_response", differential_response),
    ("rewrite", rewrite),
    ("plane_answer", plane_answer),
    ("php_answer", php_answer),
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
