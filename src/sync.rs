//! What hand-made synchronisation is built from: atomics, locks, a swapped pointer, a pause.
//!
//! Plain re-exports. With `--cfg warmfront_shuttle` they are those of shuttle, which decides at each
//! use which thread goes on: `engine/sim/schedules.rs` runs the real gate, pool and shelves through
//! millions of schedules (`scripts/schedules`).

#[cfg(not(warmfront_shuttle))]
pub use self::system::*;
#[cfg(warmfront_shuttle)]
pub use self::under_test::*;

#[cfg(not(warmfront_shuttle))]
mod system {
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
    pub use std::sync::{Mutex, MutexGuard};

    pub use arc_swap::ArcSwap;
    pub use tokio::task::yield_now;
}

#[cfg(warmfront_shuttle)]
mod under_test {
    use std::sync::{Arc, PoisonError};

    pub use shuttle::future::yield_now;
    pub use shuttle::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
    pub use shuttle::sync::{Mutex, MutexGuard};

    /// Promises what `arc_swap` does: a load sees the last store, whole.
    #[derive(Debug)]
    pub struct ArcSwap<T>(Mutex<Arc<T>>);

    impl<T> ArcSwap<T> {
        /// Points at `value`.
        pub fn from_pointee(value: T) -> Self {
            Self(Mutex::new(Arc::new(value)))
        }

        /// What it points at.
        pub fn load(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }

        /// The same.
        pub fn load_full(&self) -> Arc<T> {
            self.load()
        }

        /// Points it elsewhere.
        pub fn store(&self, value: Arc<T>) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
        }
    }
}
