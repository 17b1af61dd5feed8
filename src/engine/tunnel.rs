//! A connection whose protocol was switched: bytes both ways until both sides have ended.
//!
//! No timeout: a WebSocket may be silent for hours. An end of one side is passed
//! on as the end of that direction only; the other goes on. Each side's slowness
//! stops the other, and a silent tunnel holds no buffer.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::Stream;
use super::buffer::{Buffer, BufferPool};
use super::relay::poll_fill;

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Both sides said all they had to say, and it was passed on.
    Both,
    /// The worker has left altogether, and all it said was passed on; the client may still speak.
    WorkerLeft,
    /// The client's connection broke.
    ClientBroke,
    /// The worker's connection broke.
    WorkerBroke,
}

/// Which side an error belongs to.
enum Broke {
    Source,
    Sink,
}

/// One direction.
#[derive(Debug)]
struct Flow {
    /// Bytes on their way; `None` while there are none.
    buffer: Option<Buffer>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The source has ended; the sink does not know yet.
    Ending,
    Ended,
}

/// The two directions between a client and a worker.
#[derive(Debug)]
pub(super) struct Tunnel<'a, C, W> {
    client: &'a mut C,
    worker: &'a mut W,
    up: Flow,
    down: Flow,
    pool: &'a Rc<BufferPool>,
}

impl<'a, C: Stream, W: Stream> Tunnel<'a, C, W> {
    /// A tunnel that begins with `up` for the worker and `down` for the client.
    pub(super) fn new(
        client: &'a mut C,
        worker: &'a mut W,
        up: Option<Buffer>,
        down: Option<Buffer>,
        pool: &'a Rc<BufferPool>,
    ) -> Self {
        let flow = |buffer| Flow { buffer, state: State::Open };
        Self { client, worker, up: flow(up), down: flow(down), pool }
    }

    /// Moves bytes until the tunnel ends; `on_bytes` hears how many came from the client and for it.
    pub(super) async fn run(&mut self, mut on_bytes: impl FnMut(usize, usize)) -> Ended {
        std::future::poll_fn(|cx| self.poll(&mut on_bytes, cx)).await
    }

    fn poll(&mut self, on_bytes: &mut impl FnMut(usize, usize), cx: &mut Context<'_>) -> Poll<Ended> {
        let up = self.up.poll(self.client, self.worker, self.pool, |count| on_bytes(count, 0), cx);
        match up {
            Poll::Ready(Err(Broke::Source)) => return Poll::Ready(Ended::ClientBroke),
            // What it said before is still on its way: its own direction tells when that has ended.
            Poll::Ready(Err(Broke::Sink)) => {
                self.up.buffer = None;
                self.up.state = State::Ended;
            }
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        match self.down.poll(self.worker, self.client, self.pool, |count| on_bytes(0, count), cx) {
            Poll::Ready(Err(Broke::Source)) => return Poll::Ready(Ended::WorkerBroke),
            Poll::Ready(Err(Broke::Sink)) => return Poll::Ready(Ended::ClientBroke),
            Poll::Ready(Ok(())) if self.up.state == State::Ended => return Poll::Ready(Ended::Both),
            Poll::Ready(Ok(())) if self.worker.has_left() => return Poll::Ready(Ended::WorkerLeft),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        Poll::Pending
    }
}

impl Flow {
    /// Ready when this direction has ended, and at every later call.
    fn poll<A: Stream, B: Stream>(
        &mut self,
        source: &mut A,
        sink: &mut B,
        pool: &Rc<BufferPool>,
        mut on_bytes: impl FnMut(usize),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broke>> {
        loop {
            if self.state == State::Ended {
                return Poll::Ready(Ok(()));
            }
            if let Some(buffer) = self.buffer.as_mut().filter(|buffer| !buffer.filled().is_empty()) {
                let written = ready!(Pin::new(&mut *sink).poll_write(cx, buffer.filled()));
                buffer.start += nonzero(written).map_err(|_| Broke::Sink)?;
                continue;
            }
            if self.state == State::Ending {
                self.buffer = None;
                ready!(Pin::new(&mut *sink).poll_shutdown(cx)).map_err(|_| Broke::Sink)?;
                self.state = State::Ended;
                continue;
            }
            if source.poll_readable(cx).is_pending() {
                self.buffer = None;
                return Poll::Pending;
            }
            let buffer = self.buffer.get_or_insert_with(|| pool.get());
            buffer.clear();
            match poll_fill(source, buffer, cx) {
                Poll::Pending => {
                    self.buffer = None;
                    return Poll::Pending;
                }
                Poll::Ready(Ok(0)) => self.state = State::Ending,
                Poll::Ready(Ok(count)) => on_bytes(count),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Broke::Source)),
            }
        }
    }
}

fn nonzero(written: io::Result<usize>) -> io::Result<usize> {
    written.and_then(|count| if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) })
}
