//! The process as a whole: which phase it is in, and who may move it.
//!
//! ```text
//!  Starting ──▶ Ready ──▶ Draining ──▶ Stopped
//!      └────────────────────▲
//! ```
//! Signals and hooks (and later the admin plane) move the phase; the gate, the
//! engines and the supervisor watch it. Nobody is called back.

pub mod phase;
pub mod signal;
pub mod warmth;
