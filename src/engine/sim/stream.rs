//! Byte streams in memory that fail the way the kernel's do.
//!
//! Between sidecar and worker they follow AF_UNIX: a write behind the peer's close
//! fails with `EPIPE`, what was sent before a close can still be read, and behind it
//! the reader finds `ECONNRESET` if the peer left bytes unread. Between client and sidecar they
//! follow TCP: a write into a closed peer succeeds and is answered by a reset, a
//! close that leaves bytes unread *is* a reset, and a reset destroys whatever its
//! receiver had not read yet (the worst that networks do).

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::engine::Stream;

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

/// Reads and writes that moved bytes or failed, on this thread so far.
pub(super) fn steps() -> u64 {
    STEPS.get()
}

/// Whose rules the stream follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Unix,
    Tcp,
}

/// Bytes on their way to one end.
#[derive(Debug, Default)]
struct Lane {
    bytes: VecDeque<u8>,
    /// No more will follow.
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Bytes ever written.
    carried: u64,
}

#[derive(Debug)]
struct Pair {
    kind: Kind,
    capacity: usize,
    /// The lane towards each end.
    to: [Lane; 2],
    /// Which ends were dropped.
    dead: [bool; 2],
    /// What each end has been told by its kernel and not heard yet.
    error: [Option<io::ErrorKind>; 2],
    /// Whether each end's connection is torn: nothing moves any more.
    torn: [bool; 2],
    /// Whether an idle end is believed to be open until a write proves otherwise: the time between a
    /// close and the event that reports it.
    blind: bool,
    /// Cuts transfers into random pieces and answers `Pending` without reason.
    chop: Option<Chop>,
}

/// How transfers are cut.
#[derive(Clone, Debug)]
pub(super) struct Chop {
    pub(super) rng: fastrand::Rng,
    /// Of a hundred transfers, how many are of a few bytes only: heads and chunk lines in the middle.
    pub(super) crumbs: u8,
}

impl Pair {
    fn wake(&mut self) {
        for lane in &mut self.to {
            for waker in [lane.reader.take(), lane.writer.take()].into_iter().flatten() {
                waker.wake();
            }
        }
    }

    /// The kernel of `end` learns that its peer has torn the connection.
    fn tear(&mut self, end: usize) {
        self.error[end] = Some(io::ErrorKind::ConnectionReset);
        self.torn[end] = true;
        self.to[end].ended = true;
        self.to[end].bytes.clear();
        self.to[1 - end].bytes.clear();
        self.wake();
    }

    fn piece(&mut self, most: usize) -> usize {
        let Some(Chop { rng, crumbs }) = &mut self.chop else { return most };
        match rng.u8(..100) {
            dice if dice < *crumbs => rng.usize(1..=most.clamp(1, 8)),
            75.. => rng.usize(1..=most.max(1)),
            _ => most,
        }
    }

    fn is_moody(&mut self) -> bool {
        self.chop.as_mut().is_some_and(|chop| chop.rng.u8(..32) == 0)
    }
}

/// One end of a stream.
#[derive(Debug)]
pub(super) struct End {
    pair: Arc<Mutex<Pair>>,
    side: usize,
    reset_on_close: Arc<AtomicU32>,
    counted: Option<Counted>,
}

/// Counts an end for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicU32>);

impl Counted {
    pub(super) fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Two connected ends; each direction holds at most `capacity` bytes.
pub(super) fn pair(kind: Kind, capacity: usize, chop: Option<Chop>) -> (End, End) {
    let pair = Arc::new(Mutex::new(Pair {
        kind,
        capacity,
        to: Default::default(),
        dead: [false; 2],
        error: [None; 2],
        torn: [false; 2],
        blind: false,
        chop,
    }));
    let end = |side| End { pair: Arc::clone(&pair), side, reset_on_close: Arc::default(), counted: None };
    (end(0), end(1))
}

impl End {
    /// Counts this end until it is dropped.
    pub(super) fn counted(mut self, counted: Counted) -> Self {
        self.counted = Some(counted);
        self
    }

    /// Never notices a close while idle.
    pub(super) fn blind(self) -> Self {
        self.lock().blind = true;
        self
    }

    /// Bytes this end has written so far.
    pub(super) fn carried(&self) -> u64 {
        self.lock().to[1 - self.side].carried
    }

    /// Resolves when the other end is gone, whatever it left behind.
    pub(super) async fn peer_gone(&self) {
        std::future::poll_fn(|cx| {
            let mut pair = self.lock();
            if pair.dead[1 - self.side] {
                return Poll::Ready(());
            }
            pair.to[1 - self.side].writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Pair> {
        self.pair.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let (me, peer) = (self.side, 1 - self.side);
        let reset = self.reset_on_close.load(Ordering::SeqCst) > 0;
        let mut pair = self.lock();
        let unread = !pair.to[me].bytes.is_empty();
        pair.dead[me] = true;
        pair.to[peer].ended = true;
        if !pair.dead[peer] {
            match pair.kind {
                Kind::Tcp if (unread || reset) && !pair.torn[me] => pair.tear(peer),
                Kind::Unix if unread => pair.error[peer] = Some(io::ErrorKind::ConnectionReset),
                _ => {}
            }
        }
        pair.to[me].bytes.clear();
        pair.wake();
    }
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.side;
        let mut pair = self.lock();
        if pair.is_moody() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if pair.to[me].bytes.is_empty() {
            if let Some(kind) = pair.error[me].take() {
                return Poll::Ready(Err(kind.into()));
            }
            if pair.to[me].ended {
                return Poll::Ready(Ok(()));
            }
            pair.to[me].reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let most = pair.to[me].bytes.len().min(buf.remaining());
        let count = pair.piece(most);
        let lane = &mut pair.to[me];
        let (front, back) = lane.bytes.as_slices();
        let first = count.min(front.len());
        buf.put_slice(&front[..first]);
        buf.put_slice(&back[..count - first]);
        lane.bytes.drain(..count);
        if let Some(writer) = lane.writer.take() {
            writer.wake();
        }
        STEPS.set(STEPS.get() + 1);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let (me, peer) = (self.side, 1 - self.side);
        let mut pair = self.lock();
        STEPS.set(STEPS.get() + 1);
        if pair.kind == Kind::Tcp
            && let Some(kind) = pair.error[me].take()
        {
            return Poll::Ready(Err(kind.into()));
        }
        if pair.torn[me] || pair.to[peer].ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if pair.dead[peer] {
            return Poll::Ready(match pair.kind {
                Kind::Unix => Err(io::ErrorKind::BrokenPipe.into()),
                Kind::Tcp => {
                    // It leaves, and the peer's kernel answers that nobody is there.
                    pair.tear(me);
                    Ok(buf.len())
                }
            });
        }
        let room = pair.capacity - pair.to[peer].bytes.len();
        if room == 0 || pair.is_moody() {
            if room > 0 {
                cx.waker().wake_by_ref();
            }
            pair.to[peer].writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = pair.piece(room.min(buf.len()));
        let lane = &mut pair.to[peer];
        lane.bytes.extend(&buf[..count]);
        lane.carried += count as u64;
        if let Some(reader) = lane.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pair = self.lock();
        if pair.torn[self.side] {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        pair.to[1 - self.side].ended = true;
        pair.wake();
        Poll::Ready(Ok(()))
    }
}

impl Stream for End {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pair = self.lock();
        let me = self.side;
        if !pair.to[me].bytes.is_empty() || pair.to[me].ended || pair.error[me].is_some() {
            return Poll::Ready(Ok(()));
        }
        pair.to[me].reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_readable(cx))?;
        let mut pair = self.lock();
        if pair.to[self.side].bytes.is_empty()
            && let Some(kind) = pair.error[self.side].take()
        {
            return Poll::Ready(Err(kind.into()));
        }
        Poll::Ready(Ok(pair.to[self.side].bytes.len().min(1)))
    }

    fn has_ended(&self) -> bool {
        let pair = self.lock();
        pair.to[self.side].ended || pair.torn[self.side]
    }

    fn untaken(&self) -> u64 {
        0
    }

    fn has_left(&self) -> bool {
        self.lock().torn[self.side]
    }

    fn pending_error(&self) -> Option<io::Error> {
        self.lock().error[self.side].take().map(io::Error::from)
    }

    fn reset_on_close(&self) {
        self.reset_on_close.store(1, Ordering::SeqCst);
    }

    fn knows_delivery(&self) -> bool {
        self.lock().kind == Kind::Unix
    }

    fn is_quiet(&mut self) -> bool {
        // Only an end goes unnoticed: bytes come with an event of their own.
        let unnoticed = {
            let pair = self.lock();
            pair.blind && pair.to[self.side].bytes.is_empty()
        };
        unnoticed || self.poll_readable(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn a_unix_write_behind_a_close_fails_and_sent_bytes_stay_readable() {
        let (mut here, mut there) = pair(Kind::Unix, 8, None);
        there.write_all(b"last").await.unwrap();
        drop(there);
        assert_eq!(here.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let mut text = String::new();
        here.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last");
    }

    #[tokio::test]
    async fn a_unix_close_over_unread_bytes_is_a_reset_for_the_reader_only() {
        let (mut here, mut there) = pair(Kind::Unix, 8, None);
        here.write_all(b"x").await.unwrap();
        there.write_all(b"y").await.unwrap();
        drop(there);
        assert_eq!(here.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(here.read(&mut [0; 8]).await.unwrap(), 1);
        assert_eq!(here.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(here.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_tcp_write_into_a_closed_peer_succeeds_and_brings_a_reset() {
        let (mut here, there) = pair(Kind::Tcp, 8, None);
        drop(there);
        assert!(here.pending_error().is_none());
        here.write_all(b"x").await.unwrap();
        assert!(here.pending_error().is_some());
        assert_eq!(here.write(b"x").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_tcp_close_over_unread_bytes_destroys_what_the_peer_has_not_read() {
        let (mut here, mut there) = pair(Kind::Tcp, 8, None);
        there.write_all(b"answer").await.unwrap();
        here.write_all(b"x").await.unwrap();
        drop(there);
        assert_eq!(here.read(&mut [0; 8]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }
}
