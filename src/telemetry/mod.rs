//! What the process says about itself. Reachable from every floor; imports floor 0 only.
//!
//! Access lines go to stdout, messages for people to stderr. Every line starts
//! with a UTC date (the platform glues undated lines to the one before) and
//! leaves whole.

pub mod access;
pub mod board;
pub mod buckets;
mod cells;
mod line;
pub mod mark;
pub mod say;
pub mod stdout;
pub mod tally;
