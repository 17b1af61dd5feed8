//! When what is sent: in batches, a moment after the first of them came; again and again to a collector that is away.
//!
//! Whoever is about to freeze the instance, or to end it, flushes first: then everything leaves at once.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::post::{Exporter, Trouble};
use super::spans;
use crate::clock;
use crate::proxy::outbox::{BATCH, Inbox, News};
use crate::proxy::trail::Trail;
use crate::telemetry::say::Seldom;
use crate::telemetry::tally::{self, Count};

/// How long the first request behind a pause waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// First and longest pause before a collector that was away is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Between two complaints about the collector.
const COMPLAINTS: Duration = Duration::from_secs(60);

struct Sender {
    inbox: Inbox,
    exporter: Exporter,
    /// Taken out and not sent yet.
    #[expect(clippy::vec_box, reason = "boxed, as they are handed around")]
    batch: Vec<Box<Trail>>,
    /// How often in a row the collector was away.
    strikes: u32,
    /// When to send, if there is anything.
    due: Option<Instant>,
    complaints: Seldom,
}

/// Sends what comes into `inbox` until `ended`.
pub(super) async fn run(inbox: Inbox, exporter: Exporter, mut ended: watch::Receiver<bool>) {
    let complaints = Seldom::every(COMPLAINTS);
    let mut sender = Sender { inbox, exporter, batch: Vec::new(), strikes: 0, due: None, complaints };
    // What is being sent may be cut off: whether it has arrived nobody knows then.
    tokio::select! {
        biased;
        _ = ended.wait_for(|&ended| ended) => {}
        () = sender.run() => {}
    }
    sender.give_up();
}

impl Sender {
    async fn run(&mut self) {
        loop {
            let due = self.due;
            let time_has_come = async {
                match due {
                    Some(due) => clock::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            // Both branches are cancel safe.
            let fence = tokio::select! {
                biased;
                news = self.inbox.next() => match news {
                    News::Fence(fence) => Some(fence),
                    News::Full if self.strikes == 0 => None,
                    News::Full | News::Some => {
                        self.due.get_or_insert_with(|| clock::now() + GATHER);
                        continue;
                    }
                    News::Over => return,
                },
                () = time_has_come => None,
            };
            self.send().await;
            drop(fence);
        }
    }

    /// Sends what is there now.
    async fn send(&mut self) {
        self.due = None;
        loop {
            let room = BATCH - self.batch.len();
            self.batch.extend(std::iter::from_fn(|| self.inbox.take()).take(room));
            let is_full = self.batch.len() == BATCH;
            if self.batch.is_empty() {
                break;
            }
            let spans: Vec<_> = self.batch.iter().flat_map(|trail| spans::of(trail)).collect();
            let many = spans.len() as u64;
            match self.exporter.send(spans).await {
                Ok(()) => tally::add(Count::SpanSent, many),
                Err(Trouble::Refused(why)) => {
                    tally::add(Count::SpanLost, many);
                    let to = self.exporter.name();
                    self.complaints.warn(format_args!("{many} spans were lost: {to} refused them: {why}"));
                }
                Err(Trouble::Away(why)) => {
                    let pause = PAUSES.0.saturating_mul(1 << self.strikes.min(10)).min(PAUSES.1);
                    self.strikes += 1;
                    self.due = Some(clock::now() + pause);
                    let to = self.exporter.name();
                    self.complaints.warn(format_args!(
                        "spans cannot be sent to {to}: {why}. It is tried again; some thousand are kept until then, \
                         and requests do not wait"
                    ));
                    return;
                }
            }
            self.strikes = 0;
            self.batch.clear();
            if !is_full {
                break;
            }
        }
        if self.inbox.waiting() > 0 {
            self.due = Some(clock::now() + GATHER);
        }
    }

    fn give_up(mut self) {
        let rest = self.batch.drain(..).chain(std::iter::from_fn(|| self.inbox.take()));
        tally::add(Count::SpanLost, rest.map(|trail| trail.spans()).sum());
    }
}
