//! An answer on its way from php-fpm: records in, HTTP/1.1 out.
//!
//! One record is one chunk, where the script does not say how long its answer is; one that is here whole gets its
//! length instead. Long records are read into the reader's own buffer.

use std::fs::File;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use super::failure;
use super::said::Said;
use super::site::{Local, Site};
use super::upload::Asked;
use crate::engine::Stream;
use crate::fastcgi::answer::{Body, head_len, translate};
use crate::fastcgi::fault::PhpFault;
use crate::fastcgi::record::{Event, Malformed, Records, Status, Stream as Of};
use crate::upstream::pool::Worker;

/// Bytes that are read at once: what php-fpm gathers before it writes, twice.
const INPUT_BYTES: usize = 16 << 10;

/// From here on the content of a record is read to where it is wanted.
const DIRECT_BYTES: usize = 4 << 10;

/// Bytes of a file that are read at once.
const FILE_BYTES: usize = 64 << 10;

/// The receiving half of a connection.
#[derive(Debug, Default)]
pub(super) struct Answer {
    phase: Phase,
    asked: Asked,
    /// Bytes of ours that go before the next of the body.
    lead: Vec<u8>,
    lead_at: usize,
    /// And behind the content of a record.
    tail: &'static [u8],
    /// What was received and not understood yet: `input[start..end]`. Empty while nothing waits there.
    input: Vec<u8>,
    start: usize,
    end: usize,
    records: Records,
    /// The script's head so far.
    head: Vec<u8>,
    said: Said,
    fault: Option<PhpFault>,
}

#[derive(Debug, Default)]
enum Phase {
    /// No request was sent, or its answer has left nothing behind.
    #[default]
    Idle,
    /// The head is still to come.
    Head,
    /// It is here, and this much of the body is to come.
    Body(Body),
    /// A file of ours, and so many bytes of it.
    File(File, u64),
    /// Everything was read.
    Over,
}

impl Answer {
    /// A script was asked.
    pub(super) fn begin(&mut self, asked: Asked) {
        self.phase = Phase::Head;
        self.records = Records::default();
        self.said = Said::of(&asked.id);
        self.asked = asked;
        self.head.clear();
        (self.tail, self.fault) = (b"", None);
        self.say(b"");
    }

    /// No script was asked: this is the answer.
    pub(super) fn answer_with(&mut self, asked: Asked, local: Local) {
        self.asked = asked;
        self.fault = None;
        self.say(&local.bytes);
        self.phase = match local.file {
            Some((file, bytes)) => Phase::File(file, bytes),
            None => Phase::Over,
        };
    }

    /// Puts bytes of ours in front.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        self.lead.clear();
        self.lead.extend_from_slice(bytes);
        self.lead_at = 0;
    }

    /// There will be no answer.
    pub(super) fn fail(&mut self, fault: PhpFault) {
        self.fault = Some(fault);
    }

    /// Whether it can be read without the socket.
    pub(super) fn has_something(&self) -> bool {
        self.lead_at < self.lead.len()
            || !self.tail.is_empty()
            || self.start < self.end
            || self.fault.is_some()
            || matches!(self.phase, Phase::File(..) | Phase::Over)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over) && self.lead_at == self.lead.len()
    }

    pub(super) fn was_refused(&self) -> bool {
        self.fault.as_ref().is_some_and(PhpFault::is_refusal)
    }

    /// Reads what is here, or what comes next, as HTTP/1.1; nothing at the end, wanted or not.
    pub(super) fn poll_read<S: Stream>(
        &mut self,
        stream: &mut S,
        site: &Site,
        worker: &Worker,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        loop {
            if self.give(buf) {
                continue;
            }
            let has_given = buf.filled().len() > before;
            if buf.remaining() == 0 || matches!(self.phase, Phase::Over) {
                return Poll::Ready(Ok(()));
            }
            if let Some(fault) = &self.fault {
                // What was read counts first; this will be said again.
                return Poll::Ready(if has_given { Ok(()) } else { Err(failure(fault.clone())) });
            }
            if let Phase::File(file, left) = &mut self.phase {
                let most = usize::try_from(*left).unwrap_or(usize::MAX).min(FILE_BYTES).min(buf.remaining());
                let count = Local::read(file, buf.initialize_unfilled_to(most))?;
                buf.advance(count);
                *left -= count as u64;
                if *left == 0 {
                    self.phase = Phase::Over;
                }
                return Poll::Ready(Ok(()));
            }
            if self.start < self.end {
                if let Err(fault) = self.digest(site.limits.head_bytes, site.php.keeps_connections, worker) {
                    self.fault = Some(fault);
                }
                continue;
            }
            if has_given {
                return Poll::Ready(Ok(()));
            }
            let direct = self.body_ahead().min(buf.remaining());
            if direct >= DIRECT_BYTES {
                // Nothing waits for the next record.
                self.input = Vec::new();
                let mut part = ReadBuf::new(buf.initialize_unfilled_to(direct));
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut part))?;
                let count = part.filled().len();
                buf.advance(count);
                self.on_given(count);
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_fill(stream, cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Gives what is ready; false if nothing was, or there is no room.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let room = buf.remaining();
        let lead = &self.lead[self.lead_at..];
        let count = lead.len().min(room);
        if count > 0 {
            buf.put_slice(&lead[..count]);
            self.lead_at += count;
            return true;
        }
        let count = self.body_ahead().min(self.end - self.start).min(room);
        if count > 0 {
            buf.put_slice(&self.input[self.start..self.start + count]);
            self.start += count;
            self.on_given(count);
            return true;
        }
        let count = self.tail.len().min(room);
        if count > 0 && self.body_ahead() == 0 {
            buf.put_slice(&self.tail[..count]);
            self.tail = &self.tail[count..];
            return true;
        }
        false
    }

    /// How many of the next bytes are the reader's as they come.
    fn body_ahead(&self) -> usize {
        match (&self.phase, self.records.content()) {
            (Phase::Body(Body::Length(_) | Body::Chunks), Some((Of::Out, left))) if self.fault.is_none() => {
                left
            }
            _ => 0,
        }
    }

    /// Notes content that was given.
    fn on_given(&mut self, count: usize) {
        self.records.on_taken(count);
        if let Phase::Body(Body::Length(left)) = &mut self.phase {
            *left -= count as u64;
        }
    }

    fn poll_fill<S: Stream>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.is_empty() {
            // Whoever waits holds nothing.
            ready!(stream.poll_readable(cx))?;
            self.input = vec![0; INPUT_BYTES];
        }
        (self.start, self.end) = (0, 0);
        let mut room = ReadBuf::new(&mut self.input);
        let read = Pin::new(stream).poll_read(cx, &mut room);
        self.end = room.filled().len();
        if self.end == 0 {
            self.input = Vec::new();
        }
        ready!(read)?;
        Poll::Ready(Ok(self.end))
    }

    /// Makes sense of some of what was received.
    fn digest(&mut self, head_max: usize, keep: bool, worker: &Worker) -> Result<(), PhpFault> {
        let input = &self.input[self.start..self.end];
        if let Some((of, left)) = self.records.content() {
            let count = left.min(input.len());
            match (&self.phase, of) {
                (_, Of::Err) => {
                    self.said.take(&input[..count], count == left, worker);
                    self.start += count;
                    self.records.on_taken(count);
                }
                (Phase::Head, Of::Out) => {
                    let known = self.head.len();
                    self.head.extend_from_slice(&input[..count]);
                    let Some(length) = head_len(&self.head) else {
                        if self.head.len() > head_max {
                            return Err(PhpFault::Head("it is longer than limits.head_bytes"));
                        }
                        self.start += count;
                        self.records.on_taken(count);
                        return Ok(());
                    };
                    self.head.truncate(length);
                    self.start += length - known;
                    self.records.on_taken(length - known);
                    return self.on_head(head_max, keep);
                }
                // Of an answer without a body.
                (Phase::Body(Body::None), Of::Out) => {
                    self.start += count;
                    self.records.on_taken(count);
                }
                _ => return Err(PhpFault::Record("bytes that nobody asked for")),
            }
            return Ok(());
        }
        let (count, event) = self.records.next(input)?;
        self.start += count;
        match event {
            Some(Event::Content(Of::Out, length)) => self.on_content(length),
            Some(Event::End(status)) => self.on_end(status),
            Some(Event::Content(Of::Err, _)) | None => Ok(()),
        }
    }

    fn on_head(&mut self, head_max: usize, keep: bool) -> Result<(), PhpFault> {
        if self.head.len() > head_max {
            return Err(PhpFault::Head("it is longer than limits.head_bytes"));
        }
        let known = self.rest_of_body();
        let head = translate(&self.head, self.asked.to_head, known, keep)?;
        self.head = Vec::new();
        let ahead = self.records.content().filter(|(of, _)| *of == Of::Out).map_or(0, |(_, left)| left);
        // While nothing has left it can still be said that this is no answer.
        if let Body::Length(length) = head.body
            && (ahead as u64 > length || known.is_some_and(|known| known != length))
        {
            return Err(PhpFault::Length);
        }
        // A question of ours may still be there.
        self.lead.drain(..self.lead_at);
        self.lead_at = 0;
        self.lead.extend_from_slice(&head.bytes);
        self.phase = Phase::Body(head.body);
        if ahead > 0 { self.on_content(ahead) } else { Ok(()) }
    }

    /// How long the body is, if all of it is here and was sent well.
    fn rest_of_body(&self) -> Option<u64> {
        let (mut records, mut at, mut bytes) = (self.records.clone(), self.start, 0);
        while at < self.end {
            if let Some((of, left)) = records.content() {
                let count = left.min(self.end - at);
                records.on_taken(count);
                at += count;
                if of == Of::Out {
                    bytes += count as u64;
                }
                continue;
            }
            let (count, event) = records.next(&self.input[at..self.end]).ok()?;
            at += count;
            if let Some(Event::End(status)) = event {
                return (status == Status::Complete).then_some(bytes);
            }
        }
        None
    }

    /// Content of a record begins, or goes on behind the head.
    fn on_content(&mut self, length: usize) -> Result<(), PhpFault> {
        match self.phase {
            Phase::Body(Body::Length(left)) if length as u64 > left => Err(PhpFault::Length),
            Phase::Body(Body::Chunks) => {
                if self.lead_at == self.lead.len() {
                    self.say(b"");
                }
                self.lead.extend_from_slice(format!("{length:x}\r\n").as_bytes());
                self.tail = b"\r\n";
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn on_end(&mut self, status: Status) -> Result<(), PhpFault> {
        match (&self.phase, status) {
            (Phase::Head, Status::Complete) => return Err(PhpFault::Head("it is not complete")),
            (Phase::Body(Body::Length(1..)), Status::Complete) => return Err(PhpFault::Length),
            (Phase::Body(Body::Chunks), Status::Complete) => {
                self.lead.drain(..self.lead_at);
                self.lead_at = 0;
                self.lead.extend_from_slice(b"0\r\n\r\n");
            }
            (_, Status::Complete) => {}
            (_, Status::CannotMultiplex) => return Err(PhpFault::Multiplex),
            (_, Status::Overloaded) => return Err(PhpFault::Overloaded),
            (_, Status::UnknownRole) => return Err(PhpFault::Role),
        }
        self.phase = Phase::Over;
        Ok(())
    }

    /// Looks for the end of an answer whose reader is done with it. Ready: whether nothing is left behind it.
    pub(super) fn poll_settled<S: Stream>(
        &mut self,
        stream: &mut S,
        worker: &Worker,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        loop {
            if self.fault.is_some() || self.lead_at < self.lead.len() {
                return Poll::Ready(Ok(false));
            }
            match &self.phase {
                Phase::Idle => return Poll::Ready(Ok(self.start == self.end)),
                Phase::Over => {
                    self.input = Vec::new();
                    let is_clean = self.start == self.end;
                    *self = Self::default();
                    return Poll::Ready(Ok(is_clean));
                }
                Phase::Head | Phase::File(..) | Phase::Body(Body::Chunks | Body::Length(1..)) => {
                    return Poll::Ready(Ok(false));
                }
                Phase::Body(Body::None | Body::Length(0)) => {}
            }
            if self.start == self.end && ready!(self.poll_fill(stream, cx))? == 0 {
                return Poll::Ready(Ok(false));
            }
            if self.digest(usize::MAX, true, worker).is_err() {
                return Poll::Ready(Ok(false));
            }
        }
    }
}

impl From<Malformed> for PhpFault {
    fn from(malformed: Malformed) -> Self {
        Self::Record(malformed.0)
    }
}
