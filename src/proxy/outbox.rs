//! Where requests that are over wait to become spans, between the data plane and whoever sends them.
//!
//! Bounded, and nobody waits here: what does not fit is dropped and counted. Putting something in costs no system
//! call but for the first one behind a pause, which wakes the other side.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::trail::Trail;
use crate::clock;
use crate::sync::AtomicUsize;
use crate::telemetry::tally::{self, Count};

/// Requests that may wait: some seconds of a busy instance, a megabyte or two.
const DEPTH: usize = 2048;
/// As many are worth sending at once: what OpenTelemetry's own processors take for a batch.
pub const BATCH: usize = 512;
/// Longest wait of those who flush: somebody waits for them, and perhaps nobody takes the spans.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Dropped when everything that was there before has been sent, or was given up.
pub type Fence = mpsc::Sender<()>;

/// The side of the data plane.
#[derive(Debug)]
pub struct Outbox {
    records: SyncSender<Box<Trail>>,
    shared: Arc<Shared>,
    fences: UnboundedSender<Fence>,
    sample: u64,
}

/// The side of whoever sends them.
#[derive(Debug)]
pub struct Inbox {
    records: Receiver<Box<Trail>>,
    shared: Arc<Shared>,
    fences: UnboundedReceiver<Fence>,
}

/// What whoever sends them should know.
#[derive(Debug)]
pub enum News {
    /// Something was put in behind a pause.
    Some,
    /// As much is here as is worth sending at once.
    Full,
    /// Somebody waits until all has been sent that is here now.
    Fence(Fence),
    /// Nobody will put anything in any more.
    Over,
}

#[derive(Debug)]
struct Shared {
    waiting: AtomicUsize,
    news: Notify,
}

impl Shared {
    fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }
}

/// Both sides. Of so many requests that nobody else traces, `sample`, one is.
pub fn pair(sample: u64) -> (Outbox, Inbox) {
    let (sender, receiver) = sync_channel(DEPTH);
    let shared = Arc::new(Shared { waiting: AtomicUsize::new(0), news: Notify::new() });
    let (flusher, fences) = mpsc::unbounded_channel();
    let outbox = Outbox { records: sender, shared: Arc::clone(&shared), fences: flusher, sample };
    (outbox, Inbox { records: receiver, shared, fences })
}

impl Outbox {
    /// Of so many requests that nobody else traces one is.
    pub fn sample(&self) -> u64 {
        self.sample
    }

    /// Puts one in that is over, or drops and counts it.
    pub fn push(&self, trail: Box<Trail>) {
        // Counted before it is there: whoever takes it out finds it counted.
        let before = self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        if let Err(refused) = self.records.try_send(trail) {
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
            let (TrySendError::Full(trail) | TrySendError::Disconnected(trail)) = refused;
            tally::add(Count::SpanLost, trail.spans());
        } else if before == 0 || before + 1 == BATCH {
            self.shared.news.notify_one();
        }
    }

    /// Resolves when all that was put in before has been sent or given up, or after a second.
    ///
    /// # Cancel safety
    /// May be dropped at any time; what is there is sent all the same.
    pub async fn flush(&self) {
        let (fence, mut passed) = mpsc::channel(1);
        if self.fences.send(fence).is_ok() {
            let _ = clock::timeout(FLUSH_MAX, passed.recv()).await;
        }
    }
}

impl Inbox {
    /// What is new. May say so once too often.
    ///
    /// # Cancel safety
    /// No news is lost.
    pub async fn next(&mut self) -> News {
        // Both branches are cancel safe.
        tokio::select! {
            biased;
            fence = self.fences.recv() => fence.map_or(News::Over, News::Fence),
            () = self.shared.news.notified() => if self.shared.waiting() < BATCH { News::Some } else { News::Full },
        }
    }

    /// How many wait; perhaps one or two more, which are just being put in.
    pub fn waiting(&self) -> usize {
        self.shared.waiting()
    }

    /// Takes the oldest out, if there is any.
    pub fn take(&self) -> Option<Box<Trail>> {
        let trail = self.records.try_recv().ok()?;
        self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
        Some(trail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::trail::Attempt;

    fn trail() -> Box<Trail> {
        let (began, began_unix) = (clock::now(), Duration::ZERO);
        Box::new(Trail { began, began_unix, attempt: Attempt::default(), failed: Vec::new(), traced: None })
    }

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_counted_and_nobody_waits() {
        let (outbox, mut inbox) = pair(1);
        let lost = tally::counted(Count::SpanLost);
        (0..DEPTH + 3).for_each(|_| outbox.push(trail()));
        assert!(tally::counted(Count::SpanLost) >= lost + 3);
        assert!(matches!(inbox.next().await, News::Full));
        assert_eq!(inbox.waiting(), DEPTH);
        assert_eq!(std::iter::from_fn(|| inbox.take()).count(), DEPTH);
        assert_eq!(inbox.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_ends_when_its_fence_is_dropped_or_after_a_second() {
        let (outbox, mut inbox) = pair(1);
        let began = clock::now();
        outbox.flush().await;
        assert_eq!(clock::now() - began, FLUSH_MAX);
        assert!(matches!(inbox.next().await, News::Fence(_)));
        let (began, sender) = (clock::now(), async { drop(inbox.next().await) });
        tokio::join!(outbox.flush(), sender);
        assert_eq!(clock::now(), began);
        drop(inbox);
        outbox.flush().await;
        assert_eq!(clock::now(), began, "nobody is there any more");
    }
}
