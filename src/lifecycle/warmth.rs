//! Whether the instance has become warm: what `/initialize` waits for.
//!
//! Once warm it stays so: a worker that dies later is replaced, and the platform
//! initialises an instance once.

/// How far the start has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warmth {
    /// Workers start.
    Starting,
    /// As many as `start.ready` asks for have been ready.
    Warm,
    /// That will not happen by itself; the text says why.
    Failed(String),
}
