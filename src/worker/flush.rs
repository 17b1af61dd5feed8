//! Waiting until what workers wrote has left this process.
//!
//! The platform may freeze the instance as soon as it was told that it may. Whoever
//! is about to tell it flushes first: a line that is still on its way would appear
//! minutes later, or never. Asked for on any thread; the lanes answer on theirs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::clock;

use super::sink::{Fence, Ring, Sink};

/// Longest wait: somebody else is waiting for us, and perhaps nobody reads our output.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Asks all lanes of one sink to let go of what they have. The default one has none.
#[derive(Clone, Debug, Default)]
pub struct Flusher(Option<Arc<Room>>);

#[derive(Debug)]
struct Room {
    ring: Arc<Ring>,
    lanes: Mutex<Vec<UnboundedSender<Fence>>>,
}

impl Flusher {
    /// For what goes to `sink`; does not keep it open.
    pub(super) fn of(sink: &Sink) -> Self {
        Self(Some(Arc::new(Room { ring: sink.ring(), lanes: Mutex::default() })))
    }

    /// What a new lane hears: fences, each to be dropped when the pipe is empty and nothing held back.
    pub(super) fn add_lane(&self) -> UnboundedReceiver<Fence> {
        let (sender, receiver) = mpsc::unbounded_channel();
        if let Some(room) = &self.0 {
            let mut lanes = room.lanes.lock().unwrap_or_else(PoisonError::into_inner);
            lanes.retain(|lane| !lane.is_closed());
            lanes.push(sender);
        }
        receiver
    }

    /// Resolves when everything that workers had written into their pipes before the call was
    /// written to our stdout and stderr, or was lost, or after a second.
    ///
    /// # Cancel safety
    /// Dropping it changes nothing about what is written.
    pub async fn flush(&self) {
        if let Some(room) = &self.0 {
            let _ = clock::timeout(FLUSH_MAX, room.flushed()).await;
        }
    }
}

impl Room {
    async fn flushed(&self) {
        // Each fence is a sender of nothing: when the last one is dropped, the receiver hears the end.
        let (fence, mut passed) = mpsc::channel(1);
        let ask = |lane: &UnboundedSender<Fence>| lane.send(fence.clone()).is_ok();
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).retain(ask);
        drop(fence);
        passed.recv().await;
        let (fence, mut passed) = mpsc::channel(1);
        self.ring.push_fence(fence);
        passed.recv().await;
    }
}
