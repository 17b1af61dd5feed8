//! Large bodies that pass through a pipe, in the kernel all the way (splice(2)).
//!
//! Between a client's socket and a worker's, where the length of what comes is known: a body with a length, the
//! data of a large chunk, a body until close for an HTTP/1.0 client. Not towards a client whose kernel paces:
//! there it costs more than copying. The thresholds were measured: docs/adr/0007.

use std::task::{Context, Poll};

use super::relay::{End, Progress, Relay, poll_fill};
use super::{Dial, Stream};
use crate::proxy::exchange::{Cause, Delivery};

/// Bytes of a body still to come before it passes through a pipe, towards the worker and towards the client:
/// below that, two more system calls cost what not copying spares.
const UP_MIN: u64 = 128 << 10;
const DOWN_MIN: u64 = 32 << 10;

/// Bytes that are read of a message before its head says how long it is: the rest may pass.
pub(super) const FIRST_READ: usize = 16 << 10;

impl<C: Stream, D: Dial> Relay<'_, '_, C, D> {
    /// Whether what comes next from the client passes. Only while nothing of it is held.
    pub(super) fn may_pass_up(&mut self) -> bool {
        let ahead = self.up.body.known_ahead();
        let up = &mut self.up;
        if up.pipe.is_none() && ahead >= UP_MIN {
            let is_worker_able = self.connection.as_ref().is_some_and(|it| it.stream.has_pipes());
            if is_worker_able && self.client.has_pipes() {
                up.pipe = self.plane.pipe();
            }
        }
        if ahead == 0 {
            up.pipe = None;
        }
        up.pipe.is_some()
    }

    pub(super) fn fill_up(&mut self, cx: &mut Context<'_>) -> Progress {
        let up = &mut self.up;
        let Some(pipe) = &mut up.pipe else { return Progress::Waiting };
        match self.client.poll_fill_pipe(cx, pipe, up.body.known_ahead()) {
            Poll::Pending => Progress::Waiting,
            Poll::Ready(Ok(0) | Err(_)) => Progress::Ended(End::ClientGone),
            Poll::Ready(Ok(count)) => {
                up.body.skip(count as u64);
                match self.on_received(count) {
                    Some(cause) => Progress::Ended(self.failed(cause, Delivery::Something)),
                    None => Progress::Moved,
                }
            }
        }
    }

    pub(super) fn drain_up(&mut self, cx: &mut Context<'_>) -> Progress {
        let up = &mut self.up;
        let (Some(connection), Some(pipe)) = (&mut self.connection, &mut up.pipe) else {
            return Progress::Waiting;
        };
        match connection.stream.poll_drain_pipe(cx, pipe) {
            Poll::Pending => Progress::Waiting,
            Poll::Ready(Ok(count)) => {
                up.written += count as u64;
                up.writes += 1;
                Progress::Moved
            }
            // As behind a write: an answer from before it stopped reading still counts.
            Poll::Ready(Err(_)) => {
                up.stopped = true;
                Progress::Moved
            }
        }
    }

    /// Before a head leaves for the worker: takes what is here of its body too, if that will not pass, so that they
    /// leave together.
    ///
    /// # Errors
    /// If that is no body, or too much of one.
    pub(super) fn look_ahead_up(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        let up = &mut self.up;
        let will_pass = up.body.known_ahead() >= UP_MIN;
        if up.written > 0 || up.body.is_complete() || will_pass || up.buffer.space().is_empty() {
            return Ok(());
        }
        // An end or an error that is met here shows again when more is needed.
        if let Poll::Ready(Ok(count @ 1..)) = poll_fill(self.client, up.buffer, cx) {
            let too_much = self.on_received(count);
            let up = &mut self.up;
            up.until += up.body.take(up.buffer.range(up.until, up.buffer.end))?;
            return too_much.map_or(Ok(()), Err);
        }
        Ok(())
    }

    /// Whether what comes next from the worker passes. Only while nothing of it is held.
    pub(super) fn may_pass_down(&mut self) -> bool {
        let ahead = self.down.known_ahead();
        if self.down.pipe.is_none() && ahead >= DOWN_MIN {
            let is_worker_able = self.connection.as_ref().is_some_and(|it| it.stream.has_pipes());
            let is_client_able = || self.client.has_pipes() && !self.client.is_paced();
            if is_worker_able && *self.takes_pipes.get_or_init(is_client_able) {
                self.down.pipe = self.plane.pipe();
            }
        }
        if ahead == 0 {
            self.down.pipe = None;
        }
        self.down.pipe.is_some()
    }

    pub(super) fn fill_down(&mut self, cx: &mut Context<'_>) -> Progress {
        let ahead = self.down.known_ahead();
        let (Some(connection), Some(pipe)) = (&mut self.connection, &mut self.down.pipe) else {
            return Progress::Waiting;
        };
        match connection.stream.poll_fill_pipe(cx, pipe, ahead) {
            Poll::Pending => {
                self.down.release_unused();
                Progress::Waiting
            }
            Poll::Ready(Ok(0)) => self.worker_closed(None),
            Poll::Ready(Err(error)) => self.worker_closed(Some(error)),
            Poll::Ready(Ok(count)) => {
                self.on_passed_down(count);
                Progress::Moved
            }
        }
    }

    pub(super) fn drain_down(&mut self, cx: &mut Context<'_>) -> Progress {
        let Some(pipe) = &mut self.down.pipe else { return Progress::Waiting };
        match self.client.poll_drain_pipe(cx, pipe) {
            Poll::Pending => Progress::Waiting,
            Poll::Ready(Err(_)) => Progress::Ended(End::ClientGone),
            Poll::Ready(Ok(count)) => {
                self.sent += count as u64;
                if self.down.is_sent() { Progress::Ended(End::Served) } else { Progress::Moved }
            }
        }
    }

    /// Before bytes leave for the client that have more behind them: takes that too if it is here already, so
    /// that they leave together and the client wakes up once.
    pub(super) fn look_ahead_down(&mut self, cx: &mut Context<'_>) {
        let ahead = self.down.known_ahead();
        // An end or an error that is met here shows again behind these bytes, but not which of the two it was.
        // Where a length says what is missing, that makes no difference.
        if ahead == 0 || ahead == u64::MAX || self.down.pipe.is_some() || self.down.pending().is_none() {
            return;
        }
        if self.may_pass_down() {
            if let (Some(connection), Some(pipe)) = (&mut self.connection, &mut self.down.pipe)
                && let Poll::Ready(Ok(count @ 1..)) = connection.stream.poll_fill_pipe(cx, pipe, ahead)
            {
                self.on_passed_down(count);
            }
            return;
        }
        let (Some(connection), Some(buffer)) = (&mut self.connection, self.down.room_behind()) else {
            return;
        };
        if !buffer.space().is_empty()
            && connection.stream.poll_readable(cx).is_ready()
            && let Poll::Ready(Ok(count @ 1..)) = poll_fill(&mut connection.stream, buffer, cx)
        {
            let (count, complete) = self.down.on_more(count);
            self.in_flight.on_bytes(0, count);
            if complete {
                self.worker_is_done();
            }
        }
    }

    fn on_passed_down(&mut self, count: usize) {
        self.in_flight.on_bytes(0, count);
        if self.down.on_passed(count as u64) {
            if let Some(connection) = &self.connection {
                connection.stream.forget_readable();
            }
            self.worker_is_done();
        }
    }
}
