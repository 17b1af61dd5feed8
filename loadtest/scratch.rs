//! One read buffer per thread, shared by all its connections.
//!
//! A buffer per connection would move every read through memory that is cold by
//! the next turn; nothing here keeps bytes across a wait, so one is enough.

use std::cell::RefCell;

/// 64 KiB: smaller costs more per byte, larger gains nothing measurable.
pub(crate) const SCRATCH_BYTES: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// Lends the buffer of this thread. Must not be nested.
pub(crate) fn with_scratch<R>(use_it: impl FnOnce(&mut [u8]) -> R) -> R {
    SCRATCH.with_borrow_mut(|scratch| use_it(scratch))
}
