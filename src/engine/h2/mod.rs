//! HTTP/2 is a costume: it is taken off at the door and put on again behind it.
//!
//! Each HTTP/2 stream becomes a virtual connection that speaks HTTP/1.1, so that
//! one walk, one gate, one relay and one judge serve both. [`front`] does this for
//! clients, [`back`] for workers, whose connections [`links`] keeps. Heads change their form in `heads`; bodies in `inflow` (towards
//! HTTP/1.1) and `outflow` (towards HTTP/2), where the window of the other side is
//! the only buffer that counts: what it does not take is not read.
//!
//! Frames, HPACK and flow control are the `h2` package's (RFC 9113, RFC 7541); what
//! a message means is judged by `http1`, as for every other client.

pub(super) mod back;
mod budget;
pub(super) mod front;
pub(super) mod heads;
pub(super) mod inflow;
pub(super) mod links;
pub(super) mod outflow;
pub(super) mod preface;
pub(super) mod resets;
mod rewind;

use std::borrow::Cow;

use crate::config::Limits;
use crate::http1::FIELDS_MAX;

/// Bytes of a body that may be on their way on one stream before they are read: a few round trips
/// inside one machine. Small, because a connection grants its streams' windows all at once, so that
/// streams that wait for a slot cannot starve those that run.
const STREAM_WINDOW: u32 = 64 << 10;

/// What RFC 9113 §6.5.2 counts for each field on top of its bytes.
const FIELD_OVERHEAD: usize = 32;

/// The header list that is accepted: room for every head that `http1` may accept, so that `http1` is
/// the judge and this only keeps memory bounded.
fn header_list_max(limits: &Limits) -> u32 {
    u32::try_from(limits.head_bytes + limits.fields * FIELD_OVERHEAD).unwrap_or(u32::MAX)
}

/// Limits for a head that was judged before and has gained a line or two since.
pub(super) fn relaxed(limits: &Limits) -> Limits {
    Limits { head_bytes: limits.head_bytes + 1024, fields: FIELDS_MAX, ..*limits }
}

/// What was received of a head before, and what has come now; copied only if there was something.
pub(super) fn joined<'a>(before: &[u8], now: &'a [u8]) -> Cow<'a, [u8]> {
    match before {
        [] => Cow::Borrowed(now),
        before => Cow::Owned([before, now].concat()),
    }
}
