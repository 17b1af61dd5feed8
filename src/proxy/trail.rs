//! When one request took which step: for `Server-Timing` in its answer, and for its spans.
//!
//! Nobody has a trail unless the configuration asks for one of the two. It is a plain record: one block of memory for
//! instants, one for method and path if there will be spans. These are made elsewhere, when the request is long over.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::{Caller, Head};
use super::outbox::Outbox;
use crate::clock::Moment;
use crate::fc::kind::{Kind, path_of};
use crate::id::{RequestId, SpanId, TraceId};
use crate::telemetry::access::{Outcome, Start};

/// Longest method and path kept: enough to tell requests apart.
const METHOD_BYTES_MAX: usize = 32;
const PATH_BYTES_MAX: usize = 1 << 10;

/// The steps of one request.
#[derive(Debug)]
pub struct Trail {
    /// When its head was complete; monotonic, as all instants here.
    pub began: Instant,
    /// The date of that, since 1970.
    pub began_unix: Duration,
    /// The last try.
    pub attempt: Attempt,
    /// Tries that failed and were followed by another.
    pub failed: Vec<Attempt>,
    /// What its spans say, if there will be any.
    pub traced: Option<Traced>,
}

/// One try to have a request answered.
#[derive(Debug, Default)]
pub struct Attempt {
    /// When it took its place in the line, if it had to.
    pub queued: Option<Instant>,
    /// When it got its slot.
    pub admitted: Option<Instant>,
    /// Whose slot.
    pub worker: Option<u32>,
    /// When a connection to the worker stood.
    pub connected: Option<Instant>,
    /// Whether that had served before.
    pub is_reused: bool,
    /// When the head of the answer was there.
    pub answered: Option<Instant>,
    /// When it was over; `None`: with the request.
    pub ended: Option<Instant>,
}

/// What spans say of a request.
#[derive(Debug)]
pub struct Traced {
    /// The trace they belong to.
    pub trace: TraceId,
    /// The request's own span.
    pub span: SpanId,
    /// The caller's, if it named one.
    pub parent: Option<SpanId>,
    /// The request's id.
    pub id: RequestId,
    /// What the platform means by it.
    pub kind: Kind,
    /// The version of HTTP that the client speaks.
    pub version: &'static str,
    /// Cold, warm or thawed.
    pub start: Start,
    /// When it was over.
    pub ended: Instant,
    /// How.
    pub outcome: Outcome,
    /// Sent to the client; 0 while none was.
    pub status: u16,
    /// Why the proxy answered itself or cut the client off, if it did.
    pub reason: Option<String>,
    /// Method and path, one behind the other.
    text: Box<[u8]>,
    method_len: usize,
    /// Where it goes when it is over.
    outbox: Option<Arc<Outbox>>,
}

impl Trail {
    /// A trail of the request of `head` that began at `moment`, if anybody wants one: for the answer's `Server-Timing`
    /// if it `is_told`, for spans if `outbox` is there and the trace that `caller` names, or chance, says so.
    pub fn begin(
        is_told: bool,
        outbox: Option<&Arc<Outbox>>,
        (id, kind): (RequestId, Kind),
        head: Head<'_>,
        moment: Moment,
        caller: impl FnOnce() -> Option<Caller>,
    ) -> Option<Box<Self>> {
        let traced = outbox.and_then(|outbox| {
            let Caller { parent, version } = caller()?;
            let trace = match parent {
                Some(parent) => Some(parent.trace).filter(|_| parent.is_sampled),
                None => Some(TraceId::generate()).filter(|trace| trace.is_one_in(outbox.sample())),
            };
            let method = &head.method[..head.method.len().min(METHOD_BYTES_MAX)];
            let path = path_in(head.target);
            Some(Traced {
                trace: trace?,
                span: SpanId::generate(),
                parent: parent.map(|parent| parent.span),
                id,
                kind,
                version,
                start: Start::Warm,
                ended: moment.now,
                outcome: Outcome::ClientGone,
                status: 0,
                reason: None,
                text: [method, &path[..path.len().min(PATH_BYTES_MAX)]].concat().into(),
                method_len: method.len(),
                outbox: Some(Arc::clone(outbox)),
            })
        });
        let (began, began_unix) = (moment.now, Duration::from_nanos(moment.unix_nanos));
        (is_told || traced.is_some()).then(|| {
            Box::new(Self { began, began_unix, attempt: Attempt::default(), failed: Vec::new(), traced })
        })
    }

    /// The try has failed, and another follows.
    pub fn on_replay(&mut self, now: Instant) {
        let mut attempt = std::mem::take(&mut self.attempt);
        attempt.ended = Some(now);
        // Without spans nobody asks for it.
        if self.traced.is_some() {
            self.failed.push(attempt);
        }
    }

    /// The request is over; its spans are none of its business any more.
    pub fn finish(mut self: Box<Self>, start: Start, outcome: Outcome, now: Instant) {
        let Some(traced) = &mut self.traced else { return };
        (traced.start, traced.outcome, traced.ended) = (start, outcome, now);
        if let Some(outbox) = traced.outbox.take() {
            outbox.push(self);
        }
    }

    /// Puts the line into `line` that tells how long the steps took until `now`, when the answer's head is here.
    /// Milliseconds (W3C Server Timing §3); `cold` and `thawed` are metrics without a value, as its `miss` is.
    pub fn server_timing(&self, start: Start, now: Instant, line: &mut String) {
        let Attempt { admitted, connected, .. } = self.attempt;
        let (Some(admitted), Some(connected)) = (admitted, connected) else { return };
        let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
        // Writing to a String cannot fail.
        let _ = write!(
            line,
            "Server-Timing: queue;dur={:.3}, connect;dur={:.3}, app;dur={:.3}",
            ms(self.began, admitted),
            ms(admitted, connected),
            ms(connected, now)
        );
        if start != Start::Warm {
            let _ = write!(line, ", {}", start.word());
        }
        line.push_str("\r\n");
    }

    /// How many spans it makes.
    pub fn spans(&self) -> u64 {
        let of = |attempt: &Attempt| {
            let (queued, opened) = (attempt.queued.is_some(), attempt.opened().is_some());
            u64::from(queued) + u64::from(opened) + u64::from(attempt.connected.is_some())
        };
        1 + self.failed.iter().map(of).sum::<u64>() + of(&self.attempt)
    }
}

impl Attempt {
    /// When it began to open a connection, if it did not find one.
    pub fn opened(&self) -> Option<Instant> {
        self.admitted.filter(|_| !self.is_reused)
    }
}

impl Traced {
    /// The method, as it came.
    pub fn method(&self) -> &[u8] {
        &self.text[..self.method_len]
    }

    /// The path, as it came, without a query.
    pub fn path(&self) -> &[u8] {
        &self.text[self.method_len..]
    }
}

/// The path in a target; of an absolute one what stands behind its authority.
fn path_in(target: &[u8]) -> &[u8] {
    let path = path_of(target);
    match path.windows(3).position(|part| part == b"://") {
        Some(at) if !path.starts_with(b"/") => {
            let rest = &path[at + 3..];
            rest.iter().position(|&byte| byte == b'/').map_or(b"/", |at| &rest[at..])
        }
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_neither_the_query_nor_whom_it_is_asked_of() {
        for (target, path) in [
            ("/a/b?token=secret", "/a/b"),
            ("/", "/"),
            ("*", "*"),
            ("http://me:secret@host:1/a?b", "/a"),
            ("http://host?b", "/"),
            ("/see/http://host/x", "/see/http://host/x"),
            ("", ""),
        ] {
            assert_eq!(path_in(target.as_bytes()), path.as_bytes(), "{target}");
        }
    }

    #[test]
    fn an_answer_tells_its_steps_in_milliseconds_and_what_its_start_was_like() {
        let began = Instant::now();
        let at = |micros| Some(began + Duration::from_micros(micros));
        let attempt = Attempt { admitted: at(120), connected: at(1_150), ..Attempt::default() };
        let trail = Trail { began, began_unix: Duration::ZERO, attempt, failed: Vec::new(), traced: None };
        for (start, end) in [(Start::Warm, ""), (Start::Cold, ", cold"), (Start::Thawed, ", thawed")] {
            let mut line = String::new();
            trail.server_timing(start, at(13_450).unwrap(), &mut line);
            assert_eq!(
                line,
                format!("Server-Timing: queue;dur=0.120, connect;dur=1.030, app;dur=12.300{end}\r\n")
            );
        }
    }
}
