//! Behaviour of the built binary, one file per promise.

mod admission;
mod cli;
mod forwarding;
mod framing;
mod keepalive;
mod streaming;
mod support;
