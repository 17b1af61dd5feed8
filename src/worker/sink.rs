//! The way from workers' lines to our own stdout and stderr: a ring and a thread that empties it.
//!
//! Two things must never happen: a worker that hangs because nobody reads our
//! output, and a control plane that hangs for the same reason. Hence one thread does
//! the (blocking) writing, and putting something into the ring never waits: when it
//! is full, the oldest records make room, are counted, and their number is said in
//! their place as soon as somebody reads again.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::telemetry::say::utc_now;
use crate::telemetry::stdout;
use crate::telemetry::tally::{self, Count};
use crate::upstream::pool::Voice;

/// Bytes that may wait for the writing thread: seconds of a busy pool, and little beside its workers.
const RING_BYTES: usize = 4 << 20;
/// What one record costs beside its text, roughly.
const ITEM_BYTES: usize = 64;

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// Both, each at the place of its number.
    pub(super) const ALL: [Self; 2] = [Self::Out, Self::Err];
}

/// The near end of the ring. Clones share it.
#[derive(Clone, Debug)]
pub struct Sink(Arc<Door>);

/// Resolves when everything put in was written; see [`Sink::standard`].
pub type Written = oneshot::Receiver<()>;

/// Something that passes with the records; dropped when those before it were written or lost.
pub(super) type Fence = mpsc::Sender<Infallible>;

impl Sink {
    /// A sink to our own stdout and stderr.
    ///
    /// The second half resolves once every clone of the sink is gone and its lines
    /// were written: wait for it, with a bound, before the process ends.
    ///
    /// # Errors
    /// The thread could not be started or the descriptors not be copied.
    pub fn standard() -> io::Result<(Self, Written)> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let err = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        // The locks keep other lines of this process out while one is being written, and those before it go first.
        Self::saying("nobody read our output", move |stream, record| match stream {
            Stream::Out => {
                let _alone = stdout::alone();
                write_record(&out, record);
            }
            Stream::Err => {
                let _alone = io::stderr().lock();
                write_record(&err, record);
            }
        })
    }

    /// The same with everything on stderr, for a stdout that has another use.
    ///
    /// # Errors
    /// As for [`Sink::standard`].
    pub fn to_stderr() -> io::Result<(Self, Written)> {
        let err = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Self::saying("nobody read our output", move |_, record| {
            let _alone = io::stderr().lock();
            write_record(&err, record);
        })
    }

    /// A sink that hands each record, newline included, to `write` on a thread of its own; where lines were
    /// lost it is told so, and `why`.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn saying(
        why: &'static str,
        mut write: impl FnMut(Stream, &[u8]) + Send + 'static,
    ) -> io::Result<(Self, Written)> {
        let ring = Arc::new(Ring::default());
        let (done, written) = oneshot::channel();
        let theirs = Arc::clone(&ring);
        thread::Builder::new().name("worker-output".into()).stack_size(128 << 10).spawn(move || {
            while let Some((lost, item)) = theirs.next() {
                for (stream, lines) in Stream::ALL.into_iter().zip(lost).filter(|(_, lines)| *lines > 0) {
                    write(stream, confession(lines, why).as_bytes());
                }
                if let Item::Record { stream, text, .. } = item {
                    write(stream, &text);
                }
            }
            let _ = done.send(());
        })?;
        Ok((Self(Arc::new(Door(ring))), written))
    }

    /// Puts a record of so many lines in. Never waits.
    pub(super) fn push(&self, stream: Stream, text: Vec<u8>, lines: u64) {
        self.0.0.push(Item::Record { stream, text, lines });
    }

    /// What says lines on behalf of a worker, among those that it writes to stderr.
    pub(super) fn voice(&self) -> Voice {
        let ring = self.ring();
        Voice::new(move |text, lines| ring.push(Item::Record { stream: Stream::Err, text, lines }))
    }

    /// The ring itself, which ends with the sinks and not with whoever holds this.
    pub(super) fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.0.0)
    }
}

fn confession(lines: u64, why: &str) -> String {
    format!("{} ({lines} lines were lost: {why})\n", utc_now())
}

/// One write(2) per record; a second one only if the first did not take it all.
fn write_record(mut file: &File, mut record: &[u8]) {
    while !record.is_empty() {
        match file.write(record) {
            Ok(taken) => record = &record[taken..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody who shares our terminal or pipe made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1))
            }
            // Nobody will ever read it; there is nowhere to say so.
            Err(_) => return,
        }
    }
}

/// Shared by the clones of a sink; the last one closes the ring.
#[derive(Debug)]
struct Door(Arc<Ring>);

impl Drop for Door {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.news.notify_one();
    }
}

/// Records on their way to the writing thread.
#[derive(Debug, Default)]
pub(super) struct Ring {
    inner: Mutex<Inner>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    items: VecDeque<Item>,
    bytes: usize,
    /// Lines dropped since that was last said, for each stream.
    lost: [u64; 2],
    is_closed: bool,
    /// Nobody takes anything out any more.
    is_over: bool,
}

#[derive(Debug)]
enum Item {
    Record { stream: Stream, text: Vec<u8>, lines: u64 },
    Fence { _held: Fence },
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Record { text, .. } => text.len() + ITEM_BYTES,
            Self::Fence { .. } => ITEM_BYTES,
        }
    }
}

impl Ring {
    /// Lets `fence` pass behind everything that is in the ring now.
    pub(super) fn push_fence(&self, fence: Fence) {
        self.push(Item::Fence { _held: fence });
    }

    fn push(&self, item: Item) {
        let mut inner = self.lock();
        if inner.is_over {
            return;
        }
        inner.bytes += item.bytes();
        inner.items.push_back(item);
        while inner.bytes > RING_BYTES
            && let Some(oldest) = inner.items.pop_front()
        {
            inner.bytes -= oldest.bytes();
            // A fence goes with the records before it: there is nothing left to wait for.
            if let Item::Record { stream, lines, .. } = oldest {
                inner.lost[stream as usize] += lines;
                tally::add(Count::LineLost, lines);
            }
        }
        drop(inner);
        self.news.notify_one();
    }

    /// The next item and how many lines were lost before it; waits. `None` at the end.
    fn next(&self) -> Option<([u64; 2], Item)> {
        let mut inner = self.lock();
        loop {
            if let Some(item) = inner.items.pop_front() {
                inner.bytes -= item.bytes();
                return Some((std::mem::take(&mut inner.lost), item));
            }
            if inner.is_closed {
                inner.is_over = true;
                return None;
            }
            inner = self.news.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc as std_mpsc;

    use super::*;

    #[tokio::test]
    async fn a_full_ring_drops_the_oldest_and_confesses_how_many_in_their_place() {
        let (release, held) = std_mpsc::channel::<()>();
        let (writes, records) = std_mpsc::channel();
        let (begins, begun) = std_mpsc::channel();
        let mut is_held = true;
        let (sink, written) = Sink::saying("nobody read our output", move |stream, record| {
            if std::mem::take(&mut is_held) {
                begins.send(()).unwrap();
                let _ = held.recv();
            }
            writes.send((stream, String::from_utf8(record.to_vec()).unwrap())).unwrap();
        })
        .unwrap();
        sink.push(Stream::Out, b"held\n".to_vec(), 1);
        begun.recv().unwrap();
        let before = tally::counted(Count::LineLost);
        let record = |number: usize| format!("{number:0>1000}\n").into_bytes();
        for number in 0..10_000 {
            sink.push(Stream::Out, record(number), 2);
        }
        let kept = RING_BYTES / (1001 + ITEM_BYTES);
        let lost = 10_000 - kept;
        assert!(tally::counted(Count::LineLost) - before >= 2 * lost as u64, "counted for whoever asks");
        release.send(()).unwrap();
        drop(sink);
        written.await.unwrap();
        let records: Vec<_> = records.iter().collect();
        assert_eq!(records[0].1, "held\n");
        assert_eq!(records[1].0, Stream::Out);
        assert!(
            records[1].1.ends_with(&format!(" ({} lines were lost: nobody read our output)\n", 2 * lost)),
            "{}",
            records[1].1
        );
        let rest: Vec<_> = records[2..].iter().map(|(_, text)| text.clone().into_bytes()).collect();
        assert_eq!(rest, (lost..10_000).map(record).collect::<Vec<_>>(), "the newest, in order");
    }

    #[tokio::test]
    async fn a_fence_passes_behind_the_records_before_it_and_never_hangs_in_a_ring_that_is_over() {
        let (writes, records) = std_mpsc::channel();
        let (sink, written) =
            Sink::saying("nobody read our output", move |_, record| writes.send(record.to_vec()).unwrap())
                .unwrap();
        let ring = sink.ring();
        sink.push(Stream::Err, b"one\n".to_vec(), 1);
        let (fence, mut passed) = mpsc::channel(1);
        ring.push_fence(fence);
        assert!(passed.recv().await.is_none());
        assert_eq!(records.try_recv().unwrap(), b"one\n");
        drop(sink);
        written.await.unwrap();
        let (fence, mut passed) = mpsc::channel(1);
        ring.push_fence(fence);
        assert!(passed.recv().await.is_none());
    }
}
