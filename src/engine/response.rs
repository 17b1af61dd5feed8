//! A worker's answer as it becomes the bytes for the client.
//!
//! Heads are edited in place, bodies pass as they are. Two exceptions, both in
//! place as well: a body that lasts until close is given chunk sizes, so that
//! the client's connection survives it, and chunks are taken off for an
//! HTTP/1.0 client, which cannot read them.

use std::io::Write as _;
use std::rc::Rc;

use super::buffer::{Buffer, BufferPool};
use super::pipe::Pipe;
use super::relay::PLATFORM_HEAD_MAX;
use crate::config::Limits;
use crate::config::statuses::Statuses;
use crate::fc::event;
use crate::http1::Parsed;
use crate::http1::body::Body;
use crate::http1::framing::Framing;
use crate::http1::lines::kept_fields;
use crate::http1::request::Request;
use crate::http1::response::{BadResponse, Response};
use crate::http1::rewrite::rewrite;
use crate::proxy::exchange::Cause;
use crate::proxy::in_flight::InFlight;

/// How a body's framing changes on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reframe {
    /// Not at all.
    No,
    /// Until-close becomes chunked.
    Chunk,
    /// Chunked becomes until-close.
    Unchunk,
}

/// What [`ResponseBytes::digest`] made of the bytes.
pub(super) enum Step {
    /// A head is not complete yet.
    NeedsMore,
    /// This many bytes are ready for the client; `complete`: they are the last.
    Ready { bytes: usize, complete: bool },
    /// The worker switches protocols: this many bytes are its answer, what is behind them belongs to the
    /// new protocol.
    Switched { bytes: usize },
}

#[derive(Debug)]
enum Phase {
    /// Before the final head.
    Head,
    /// Behind it.
    Body { body: Body, reframe: Reframe },
    /// Behind a 101.
    Switched,
    /// The last bytes are pending or sent.
    Complete,
}

/// The answer's bytes on their way to the client.
#[derive(Debug)]
pub(super) struct ResponseBytes<'a> {
    limits: &'a Limits,
    buffer: Option<Buffer>,
    phase: Phase,
    /// The bytes for the client not yet written: `buffer[next..until]`.
    next: usize,
    until: usize,
    /// Body bytes on their way in the kernel, behind those in the buffer.
    pub(super) pipe: Option<Pipe>,
    /// Bytes of our own that go first.
    own: &'static [u8],
    /// Whether the worker has said anything.
    heard: bool,
    status: u16,
    /// Whether the worker keeps its connection open.
    worker_persistent: bool,
    /// Whether the worker sent bytes behind its answer: nobody may receive them.
    excess: bool,
    /// Whether the client's connection stays open behind this answer.
    keep: bool,
    /// Whether `100 Continue` was passed on.
    continued: bool,
    /// Whether the client finds the end by the close.
    ends_by_close: bool,
    /// Whether the worker answered as HTTP/1.0.
    worker_is_old: bool,
    /// For an event: the statuses that make it fail.
    failures: Option<&'a Statuses>,
    /// Whether it has.
    event_has_failed: bool,
    /// Bytes of the final head, as the worker sent it.
    head_len: usize,
}

impl<'a> ResponseBytes<'a> {
    /// An answer behind `own` bytes. `continued`: whether the client was told to go on already;
    /// `failures`: the statuses that make it a failed event, if the request is one.
    pub(super) fn new(
        limits: &'a Limits,
        own: &'static [u8],
        continued: bool,
        failures: Option<&'a Statuses>,
    ) -> Self {
        Self {
            limits,
            buffer: None,
            phase: Phase::Head,
            next: 0,
            until: 0,
            pipe: None,
            own,
            heard: false,
            status: 0,
            worker_persistent: false,
            excess: false,
            keep: true,
            continued,
            ends_by_close: false,
            worker_is_old: false,
            failures,
            event_has_failed: false,
            head_len: 0,
        }
    }

    /// Bytes that wait for the client.
    pub(super) fn pending(&self) -> Option<&[u8]> {
        if !self.own.is_empty() {
            return Some(self.own);
        }
        match &self.buffer {
            Some(buffer) if self.next < self.until => Some(buffer.range(self.next, self.until)),
            _ => None,
        }
    }

    /// Whether bytes wait for the client, in memory or in a pipe.
    pub(super) fn has_pending(&self) -> bool {
        self.holds_pipe() || self.pending().is_some()
    }

    /// Whether body bytes wait for the client in a pipe, behind those in memory.
    pub(super) fn holds_pipe(&self) -> bool {
        self.pipe.as_ref().is_some_and(Pipe::holds_bytes)
    }

    /// What is left of our own.
    pub(super) fn own(&self) -> &'static [u8] {
        self.own
    }

    /// Puts bytes of our own in front. Only while nothing is pending.
    pub(super) fn ask(&mut self, question: &'static [u8]) {
        self.own = question;
    }

    pub(super) fn on_written(&mut self, count: usize) {
        if self.own.is_empty() {
            self.next += count;
        } else {
            self.own = &self.own[count..];
        }
    }

    /// Whether a byte of the final answer has been made ready.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.phase, Phase::Head)
    }

    /// Whether all of it has left.
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.phase, Phase::Complete) && !self.has_pending()
    }

    /// Whether any byte was received, of an interim answer or of the final one.
    pub(super) fn has_heard(&self) -> bool {
        self.heard
    }

    /// What was received and not understood yet.
    pub(super) fn received(&self) -> &[u8] {
        self.buffer.as_ref().map_or(b"", |buffer| buffer.filled())
    }

    /// Whether more must be read from the worker. False while received bytes are undigested.
    pub(super) fn wants_bytes(&self) -> bool {
        match (&self.phase, &self.buffer) {
            // Behind an interim head the next one may be here already.
            (Phase::Head, Some(buffer)) => {
                !(self.next == self.until && self.until > 0 && buffer.end > self.until)
            }
            _ => true,
        }
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Whether the client's connection stays open behind this answer.
    pub(super) fn keeps_client(&self) -> bool {
        self.keep
    }

    /// Whether the worker answered as HTTP/1.0.
    pub(super) fn worker_is_old(&self) -> bool {
        self.worker_is_old
    }

    /// Whether it makes its event a failed one.
    pub(super) fn event_has_failed(&self) -> bool {
        self.event_has_failed
    }

    /// Bytes of the final head, as the worker sent it.
    pub(super) fn head_len(&self) -> usize {
        self.head_len
    }

    /// Whether only the close will tell the client that the answer is complete.
    pub(super) fn ends_by_close(&self) -> bool {
        self.ends_by_close
    }

    /// Whether the worker's connection can carry another request.
    pub(super) fn connection_is_reusable(&self) -> bool {
        self.worker_persistent && !self.excess
    }

    /// The buffer to read into, with room.
    pub(super) fn buffer(&mut self, pool: &Rc<BufferPool>) -> &mut Buffer {
        let buffer = self.buffer.get_or_insert_with(|| pool.get());
        if self.until > 0 {
            // Everything up to `until` has left; what is behind it was not understood yet.
            buffer.start = self.until;
            self.next = 0;
            self.until = 0;
            if buffer.start == buffer.end {
                buffer.clear();
            } else {
                buffer.compact();
            }
        }
        buffer
    }

    /// How many of the next bytes from the worker are body and go out as they come.
    pub(super) fn known_ahead(&self) -> u64 {
        match &self.phase {
            Phase::Body { body, reframe: Reframe::No } => body.known_ahead(),
            _ => 0,
        }
    }

    /// Room behind what is pending, for more of a body with a length.
    pub(super) fn room_behind(&mut self) -> Option<&mut Buffer> {
        match self.phase {
            Phase::Body { body: Body::Length(_), reframe: Reframe::No } if self.own.is_empty() => {
                self.buffer.as_mut().filter(|buffer| buffer.end == self.until)
            }
            _ => None,
        }
    }

    /// Notes `count` bytes that were put there: how many of them are for the client, and whether they were the
    /// last.
    pub(super) fn on_more(&mut self, count: usize) -> (usize, bool) {
        let mine = usize::try_from(self.known_ahead()).map_or(count, |ahead| count.min(ahead));
        self.until += mine;
        self.excess |= mine < count;
        if let Some(buffer) = &mut self.buffer {
            buffer.end = self.until;
        }
        (mine, self.on_passed(mine as u64))
    }

    /// Notes body bytes that came in a pipe. True if they were the last.
    pub(super) fn on_passed(&mut self, count: u64) -> bool {
        let Phase::Body { body, .. } = &mut self.phase else { return false };
        body.skip(count);
        let complete = body.is_complete();
        if complete {
            self.phase = Phase::Complete;
        }
        complete
    }

    /// Gives the buffer back if it holds nothing: waiting needs none.
    pub(super) fn release_unused(&mut self) {
        let Some(buffer) = &self.buffer else { return };
        let is_spent = self.until > 0 && self.next == self.until && buffer.end == self.until;
        if is_spent || buffer.filled().is_empty() {
            self.buffer = None;
            (self.next, self.until) = (0, 0);
        }
    }

    /// Makes sense of the bytes received. `keep`: whether the client's connection should stay open;
    /// `request_sent`: whether the worker was sent the whole request; `timed`: whose steps the answer is to tell.
    ///
    /// # Errors
    /// [`Cause`] when the worker's bytes must not be passed on.
    pub(super) fn digest(
        &mut self,
        request: &Request,
        keep: bool,
        request_body: &Body,
        request_sent: bool,
        timed: Option<&InFlight<'_>>,
    ) -> Result<Step, Cause> {
        self.heard = true;
        match self.phase {
            Phase::Head => self.digest_head(request, keep, request_body, request_sent, timed),
            Phase::Body { .. } => self.digest_body(),
            Phase::Switched | Phase::Complete => Ok(Step::NeedsMore),
        }
    }

    fn digest_head(
        &mut self,
        request: &Request,
        keep: bool,
        request_body: &Body,
        request_sent: bool,
        timed: Option<&InFlight<'_>>,
    ) -> Result<Step, Cause> {
        let Some(buffer) = &mut self.buffer else { return Ok(Step::NeedsMore) };
        if self.until > 0 {
            buffer.start = self.until;
            (self.next, self.until) = (0, 0);
        }
        let mut response = match Response::parse(buffer.filled(), self.limits, request.is_head)? {
            Parsed::Complete(response) => response,
            Parsed::Partial => {
                buffer.compact();
                return Ok(Step::NeedsMore);
            }
        };
        let (at, head_end) = (buffer.start, buffer.start + response.head_len);
        // A proxy speaks its own version (RFC 9110 §2.5).
        buffer.bytes_mut()[at + b"HTTP/1.".len()] = b'1';
        if response.is_interim() {
            return Ok(self.pass_interim(request, &response, at, head_end));
        }
        self.status = response.status;
        self.head_len = response.head_len;
        if response.status == 101 {
            response.may_switch(request.upgrade.as_ref(), request_sent)?;
            return Ok(self.pass_switch(&response, at, head_end));
        }
        if response.minor_version == 0 {
            self.worker_is_old = true;
        }
        self.worker_persistent = response.persistent;
        let reframe = match (response.framing, request.minor_version) {
            (Framing::UntilClose, 1) => Reframe::Chunk,
            (Framing::Chunked, 0) => Reframe::Unchunk,
            _ => Reframe::No,
        };
        self.ends_by_close = reframe == Reframe::Unchunk
            || (response.framing == Framing::UntilClose && reframe == Reframe::No);
        // Without a 100 the client may or may not send its body now: what follows could be either.
        let body_in_doubt = request.expects_continue && !self.continued && !request_body.is_complete();
        // Whoever asked to switch may have sent bytes of the other protocol already: they are not requests.
        self.keep = keep && !self.ends_by_close && !body_in_doubt && request.upgrade.is_none();
        if request.minor_version == 0 {
            response.drop_coding();
        }
        let mut added = AddedLines { bytes: [0; 96], len: 0 };
        if let Some(failures) = self.failures {
            let head = &buffer.filled()[..response.head_len];
            let reported = event::reported(kept_fields(head, response.dropped()));
            self.event_has_failed = reported.unwrap_or_else(|| failures.hold(response.status));
            if reported.is_none() && self.event_has_failed {
                added.push(event::FAILED_LINE);
            }
        }
        if reframe == Reframe::Chunk {
            added.push(b"Transfer-Encoding: chunked\r\n");
        }
        let options: &[u8] = match (self.keep, request.minor_version, response.upgrade.is_some()) {
            (false, _, true) => b"Connection: close, Upgrade\r\n",
            (false, _, false) => b"Connection: close\r\n",
            (true, 0, true) => b"Connection: keep-alive, Upgrade\r\n",
            (true, 0, false) => b"Connection: keep-alive\r\n",
            (true, _, true) => b"Connection: Upgrade\r\n",
            (true, _, false) => b"",
        };
        added.push(options);
        let timed = timed.and_then(|in_flight| with_timing(in_flight, response.head_len, added.bytes()));
        self.phase = Phase::Body { body: Body::new(response.framing), reframe };
        self.pass_head(&response, at, head_end, timed.as_deref().unwrap_or(added.bytes()))
    }

    /// An interim answer goes out as it came; HTTP/1.0 clients do not know them.
    fn pass_interim(&mut self, request: &Request, response: &Response, at: usize, head_end: usize) -> Step {
        self.continued |= response.status == 100;
        let Some(buffer) = &mut self.buffer else { return Step::NeedsMore };
        self.until = head_end;
        self.next = match request.minor_version {
            0 => head_end,
            _ => rewrite(buffer.bytes_mut(), at, response.head_len, response.dropped(), b"", head_end),
        };
        Step::Ready { bytes: self.until - self.next, complete: false }
    }

    /// A 101 goes out as it came, with the `Connection` field that makes its `Upgrade` count.
    fn pass_switch(&mut self, response: &Response, at: usize, head_end: usize) -> Step {
        let Some(buffer) = &mut self.buffer else { return Step::NeedsMore };
        let added = b"Connection: Upgrade\r\n";
        self.next = rewrite(buffer.bytes_mut(), at, response.head_len, response.dropped(), added, head_end);
        self.until = head_end;
        self.phase = Phase::Switched;
        Step::Switched { bytes: self.until - self.next }
    }

    /// After [`Step::Switched`]: the answer and what came behind it, for the client.
    pub(super) fn take_for_tunnel(&mut self) -> Option<Buffer> {
        let mut buffer = self.buffer.take()?;
        buffer.start = self.next;
        Some(buffer)
    }

    /// Edits the final head in place, together with what of the body came with it.
    fn pass_head(
        &mut self,
        response: &Response,
        at: usize,
        head_end: usize,
        added: &[u8],
    ) -> Result<Step, Cause> {
        if let Some(buffer) = &mut self.buffer {
            buffer.start = head_end;
        }
        let complete = self.take_body()?;
        let size = ChunkSize::of(if self.reframe() == Reframe::Chunk { self.until - self.next } else { 0 });
        let Some(buffer) = &mut self.buffer else { return Ok(Step::NeedsMore) };
        let end = head_end - size.bytes().len();
        let start = rewrite(buffer.bytes_mut(), at, response.head_len, response.dropped(), added, end);
        self.frame_chunk(&size);
        self.next = start;
        Ok(self.ready(complete))
    }

    /// Makes `buffer[start..end]`, body bytes all, ready for the client.
    fn digest_body(&mut self) -> Result<Step, Cause> {
        let complete = self.take_body()?;
        let size = ChunkSize::of(if self.reframe() == Reframe::Chunk { self.until - self.next } else { 0 });
        self.frame_chunk(&size);
        Ok(self.ready(complete))
    }

    fn ready(&mut self, complete: bool) -> Step {
        if complete {
            self.phase = Phase::Complete;
        }
        Step::Ready { bytes: self.until - self.next, complete }
    }

    fn reframe(&self) -> Reframe {
        match self.phase {
            Phase::Body { reframe, .. } => reframe,
            Phase::Head | Phase::Switched | Phase::Complete => Reframe::No,
        }
    }

    /// Measures the body bytes `buffer[start..end]`: afterwards `next..until` are for the client.
    /// True if they were the last.
    fn take_body(&mut self) -> Result<bool, Cause> {
        let (Phase::Body { body, reframe }, Some(buffer)) = (&mut self.phase, &mut self.buffer) else {
            return Ok(false);
        };
        let start = buffer.start;
        let taken = if *reframe == Reframe::Unchunk {
            let mut data = Vec::new();
            let taken =
                body.take_data(buffer.filled(), |range| data.push(range)).map_err(BadResponse::from)?;
            self.until = start;
            for range in data {
                buffer.bytes_mut().copy_within(start + range.start..start + range.end, self.until);
                self.until += range.len();
            }
            taken
        } else {
            let taken = body.take(buffer.filled()).map_err(BadResponse::from)?;
            self.until = start + taken;
            taken
        };
        self.next = start;
        self.excess |= start + taken < buffer.end;
        buffer.end = self.until;
        Ok(body.is_complete())
    }

    /// Puts `size` in front of `buffer[next..until]` and the line end behind it.
    fn frame_chunk(&mut self, size: &ChunkSize) {
        let (size, Some(buffer)) = (size.bytes(), &mut self.buffer) else { return };
        if size.is_empty() {
            return;
        }
        let bytes = buffer.bytes_mut();
        bytes[self.next - size.len()..self.next].copy_from_slice(size);
        bytes[self.until..self.until + 2].copy_from_slice(b"\r\n");
        self.next -= size.len();
        self.until += 2;
        buffer.end = self.until;
    }

    /// The worker closed cleanly. True if that is how its answer ends.
    pub(super) fn on_close(&mut self) -> bool {
        let Phase::Body { body: Body::UntilClose, reframe } = &self.phase else { return false };
        if *reframe == Reframe::Chunk {
            self.own = b"0\r\n\r\n";
        }
        self.phase = Phase::Complete;
        true
    }
}

/// The size line of a chunk; nothing for no bytes, since an empty chunk would end the body.
struct ChunkSize {
    line: [u8; 18],
    len: usize,
}

impl ChunkSize {
    fn of(bytes: usize) -> Self {
        let mut line = [0; 18];
        let mut rest = &mut line[..];
        if bytes > 0 {
            // 16 digits and CRLF always fit.
            let _ = write!(rest, "{bytes:x}\r\n");
        }
        let len = 18 - rest.len();
        Self { line, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.line[..self.len]
    }
}

/// The lines `added` to a head of `head_len` bytes, and behind them the one that tells how long the steps of
/// `in_flight` took; `None` if the platform would refuse the head with it.
fn with_timing(in_flight: &InFlight<'_>, head_len: usize, added: &[u8]) -> Option<Vec<u8>> {
    let line = in_flight.server_timing();
    let fits = head_len + added.len() + line.len() <= PLATFORM_HEAD_MAX;
    fits.then(|| [added, line.as_bytes()].concat())
}

/// The few lines a head may gain.
struct AddedLines {
    bytes: [u8; 96],
    len: usize,
}

impl AddedLines {
    fn push(&mut self, line: &[u8]) {
        self.bytes[self.len..self.len + line.len()].copy_from_slice(line);
        self.len += line.len();
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
