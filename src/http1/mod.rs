//! HTTP/1.1 on the wire (RFC 9110, RFC 9112), sans-I/O: bytes in, verdicts and spans out.
//!
//! No sockets, no clock, no allocation on the usual path. A head is parsed once;
//! what must not travel further is remembered as spans, and [`rewrite`] closes
//! the gaps inside the buffer the head arrived in. Bodies are never touched,
//! only measured ([`body`], [`chunked`]).
//!
//! What is ambiguous is refused here, before a worker or a client can read it in
//! another way than we did.

pub mod body;
pub mod chunked;
mod fields;
pub mod framing;
pub mod lines;
pub mod request;
pub mod response;
pub mod rewrite;
pub mod target;

pub use fields::{FIELDS_MAX, Protocols, Span};

/// Outcome of looking at the bytes received so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The head is not complete; read more and ask again.
    Partial,
    /// The head is complete.
    Complete(T),
}
