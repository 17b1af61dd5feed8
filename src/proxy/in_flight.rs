//! One running request: its identity, its record, and while it runs its slot.
//!
//! Dropping an [`InFlight`] gives the slot back; dropping its [`Context`] ends the
//! request: the access line and the platform's marker are written. Aborts are
//! nothing special.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Proxy;
use super::admission::Permit;
use super::exchange::{Caller, Head};
use super::reply::LocalReply;
use super::trail::{Traced, Trail};
use crate::clock;
use crate::config::platform::{HookMode, Markers};
use crate::fc::kind::{Hook, Kind, classify};
use crate::fc::marker::{self, Ending};
use crate::id::RequestId;
use crate::telemetry::access::{Outcome, Record, Start};
use crate::telemetry::board::{Place, Stage};
use crate::telemetry::tally::{self, Count, Timed};
use crate::telemetry::{mark, stdout};
use crate::upstream::functions::{Fate, Function, Functions};
use crate::upstream::pool::Worker;
use crate::upstream::roster::Ticket;

/// What is known about a request whether or not it holds a slot.
#[derive(Debug)]
pub struct Context {
    /// The platform's id, sanitised, or a new one.
    pub id: RequestId,
    /// What the platform means by it.
    pub kind: Kind,
    /// Cold, warm or thawed.
    pub start: Start,
    /// Whether its worker is told how it started.
    pub tell_start: bool,
    record: Option<Box<Record>>,
    observed: Option<Observed>,
    trail: Option<Box<Trail>>,
    /// When its start marker was written, until the end marker is.
    marked: Option<Instant>,
    /// The worker's answer counts as a failed invocation.
    has_failed: bool,
    invocation: Option<Box<Invocation>>,
}

impl Context {
    /// Begins a request. `caller` is asked only if there may be spans; of one who says nothing there are none.
    pub fn begin(proxy: &Proxy, head: Head<'_>, caller: impl FnOnce() -> Option<Caller>) -> Self {
        let moment = clock::moment();
        let id = id_of(head, moment.unix_secs);
        let kind = match classify(head.method, head.target, head.control_path, head.request_id.is_some()) {
            Kind::Hook(hook) if proxy.desk.setting(hook).mode == HookMode::Off => Kind::Http,
            kind => kind,
        };
        let thaws = moment.freezes;
        // The first one behind a thaw is told apart: it pays for what the freeze has cost.
        let is_first = thaws != proxy.thaws_met.load(Ordering::Relaxed)
            && proxy.thaws_met.swap(thaws, Ordering::Relaxed) != thaws;
        let start = if is_first { Start::Thawed } else { Start::Warm };
        let is_marked = match proxy.markers {
            Markers::Off => false,
            Markers::On => true,
            Markers::Auto => head.names_service,
        };
        let marked = is_marked.then(|| {
            mark::write(marker::start(kind, id.as_str()));
            moment.now
        });
        let mut record =
            Record::begin(proxy.access_log, proxy.reported, id, head.method, head.target, start, moment.now);
        let observed = proxy.is_observed.then(|| Observed::begin(&id, moment.now));
        let is_timed = proxy.server_timing || proxy.outbox.is_some();
        let begin_trail =
            || Trail::begin(proxy.server_timing, proxy.outbox.as_ref(), (id, kind), head, moment, caller);
        let trail = if is_timed { begin_trail() } else { None };
        if let (Some(record), Some(trail)) = (&mut record, &trail) {
            record.trace = trail.traced.as_ref().map(|traced| traced.trace);
        }
        let tell_start = proxy.tell_start;
        let mut context = Self {
            id,
            kind,
            start,
            tell_start,
            record,
            observed,
            trail,
            marked,
            has_failed: false,
            invocation: None,
        };
        context.on_bytes(head.received, 0);
        context
    }

    /// A request of which no log speaks.
    pub fn unreported(head: Head<'_>) -> Self {
        let (kind, start) = (Kind::Http, Start::Warm);
        Self {
            id: id_of(head, clock::moment().unix_secs),
            kind,
            start,
            tell_start: false,
            record: None,
            observed: None,
            trail: None,
            marked: None,
            has_failed: false,
            invocation: None,
        }
    }

    /// Counts bytes from and for the client.
    pub fn on_bytes(&mut self, from_client: usize, for_client: usize) {
        if self.observed.is_some() {
            tally::bytes(from_client, for_client);
        }
        if let Some(record) = &mut self.record {
            record.bytes_in += from_client as u64;
            record.bytes_out += for_client as u64;
        }
    }

    /// Notes which of `functions` it is for. One that has no worker starts cold.
    pub fn set_function(&mut self, functions: Option<&Arc<Functions>>, name: &str) {
        if let Some(record) = &mut self.record {
            record.function = Some(name.into());
        }
        let Some(functions) = functions else { return };
        let invocation = Invocation::begin(functions, name);
        if invocation.is_cold {
            self.set_cold();
        }
        self.invocation = Some(Box::new(invocation));
    }

    /// Notes that it waits in line, or does no longer and has no slot.
    pub fn set_queued(&self, is_queued: bool) {
        if let Some(observed) = &self.observed {
            observed.place.set(if is_queued { Stage::Queued } else { Stage::Begun }, None);
        }
    }

    /// Notes when it took its place in the line.
    pub fn on_queued(&mut self, now: Instant) {
        if let Some(trail) = &mut self.trail {
            trail.attempt.queued.get_or_insert(now);
        }
        self.set_queued(true);
    }

    /// Notes that no worker was ready when it came.
    pub fn set_cold(&mut self) {
        self.start = Start::Cold;
        if let Some(record) = &mut self.record {
            record.start = Start::Cold;
        }
    }

    /// Counts a try that failed and is followed by another.
    pub fn on_replay(&mut self) {
        if let Some(record) = &mut self.record {
            record.replays += 1;
        }
        if let Some(trail) = &mut self.trail {
            trail.on_replay(clock::now());
        }
    }

    /// Ends the spans of a request that will be answered with `status`: there may be no time for them later.
    pub fn finish_spans(&mut self, status: u16) {
        if let Some(mut trail) = self.trail.take() {
            if let Some(traced) = &mut trail.traced {
                traced.status = status;
            }
            trail.finish(self.start, Outcome::Local, clock::now());
        }
    }

    /// Writes the access line of a request that the proxy answers itself, with `bytes` bytes.
    pub fn finish_locally(mut self, reply: &LocalReply, bytes: usize) {
        if let Some(what) = reply.counts_as {
            tally::count(what);
        }
        if let Some(invocation) = &mut self.invocation {
            invocation.refused = Some(reply.fate());
        }
        if let Some(observed) = &mut self.observed {
            observed.status = reply.status;
            tally::bytes(0, bytes);
        }
        if let Some(record) = &mut self.record {
            record.bytes_out = bytes as u64;
            record.status = reply.status;
            record.reason = Some(reply.reason.clone());
        }
        if let Some(traced) = self.traced() {
            traced.status = reply.status;
            traced.reason = Some(reply.reason.clone());
        }
        let ending = match reply.status {
            ..400 => Ending::Answered,
            _ if reply.is_workers_end => Ending::Exited { after_ms: self.marked_ms() },
            _ => Ending::Refused,
        };
        self.finish(Outcome::Local, ending);
    }

    fn traced(&mut self) -> Option<&mut Traced> {
        self.trail.as_mut()?.traced.as_mut()
    }

    fn finish_as(&mut self, outcome: Outcome) {
        let after_ms = self.marked_ms();
        let ending = match outcome {
            Outcome::Served if self.has_failed => Ending::Failed,
            Outcome::Served => Ending::Answered,
            Outcome::Local => Ending::Refused,
            Outcome::ClientGone => Ending::Canceled { after_ms },
            Outcome::Aborted => Ending::Exited { after_ms },
        };
        self.finish(outcome, ending);
    }

    fn finish(&mut self, outcome: Outcome, ending: Ending) {
        let marker = self.marked.take().map(|_| marker::end(self.kind, self.id.as_str(), ending));
        let is_noted = self.record.is_some() || self.observed.is_some() || self.trail.is_some();
        let now = is_noted.then(clock::now);
        if let Some(invocation) = self.invocation.take() {
            invocation.finish(outcome, now.unwrap_or_else(clock::now));
        }
        if let (Some(trail), Some(now)) = (self.trail.take(), now) {
            trail.finish(self.start, outcome, now);
        }
        if let (Some(observed), Some(now)) = (self.observed.take(), now) {
            observed.finish(self.kind, self.start, outcome, now);
        }
        match (self.record.take(), now) {
            (Some(record), Some(now)) => record.finish(outcome, now, marker),
            _ => marker.into_iter().for_each(mark::write),
        }
        if matches!(self.kind, Kind::Hook(_)) {
            // What a hook's answer tells the platform is about the whole instance.
            stdout::flush();
        }
    }

    fn marked_ms(&self) -> u64 {
        let since = |marked| clock::now().saturating_duration_since(marked).as_millis();
        self.marked.map_or(0, |marked| u64::try_from(since(marked)).unwrap_or(u64::MAX))
    }
}

/// A request as one of its function's.
#[derive(Debug)]
struct Invocation {
    functions: Arc<Functions>,
    /// Known, or by its name: that is known from when the function answers.
    function: Result<Arc<Function>, Box<str>>,
    began: Instant,
    is_cold: bool,
    /// Of an answer of a worker; 0 while there is none.
    status: u16,
    /// What became of it if the proxy answers.
    refused: Option<Fate>,
}

impl Invocation {
    fn begin(functions: &Arc<Functions>, name: &str) -> Self {
        let function = functions.find(name).ok_or_else(|| name.into());
        Self {
            functions: Arc::clone(functions),
            is_cold: function.as_ref().is_ok_and(|function| function.is_cold()),
            function,
            began: clock::now(),
            status: 0,
            refused: None,
        }
    }

    fn finish(self, outcome: Outcome, now: Instant) {
        let fate = match (outcome, self.refused) {
            (Outcome::Served, _) if self.status < 500 => Fate::Answered,
            (Outcome::Served, _) => Fate::Failed,
            (Outcome::Local, refused) => refused.unwrap_or(Fate::Refused),
            (Outcome::Aborted, _) => Fate::Cut,
            (Outcome::ClientGone, _) => Fate::Left,
        };
        let function = match self.function {
            Ok(function) => function,
            // Only a function that exists can have answered.
            Err(name) if self.status != 0 => self.functions.learn(&name),
            Err(_) => self.functions.others(),
        };
        function.count(fate, now.saturating_duration_since(self.began), self.is_cold);
    }
}

/// What metrics and the list of requests in flight need of a request, while somebody may ask for them.
#[derive(Debug)]
struct Observed {
    place: Place,
    began: Instant,
    first_byte: Option<Instant>,
    /// Sent to the client; 0 while none was.
    status: u16,
}

impl Observed {
    fn begin(id: &RequestId, now: Instant) -> Self {
        Self { place: Place::take(id, now), began: now, first_byte: None, status: 0 }
    }

    fn finish(self, kind: Kind, start: Start, outcome: Outcome, now: Instant) {
        if let Kind::Hook(hook) = kind {
            return tally::count(match (hook, self.status) {
                (Hook::Initialize, 200) => Count::InitializeDone,
                (Hook::Initialize, _) => Count::InitializeFailed,
                (Hook::PreFreeze, 200) => Count::PreFreezeDone,
                (Hook::PreFreeze, _) => Count::PreFreezeFailed,
                (Hook::PreStop, 200) => Count::PreStopDone,
                (Hook::PreStop, _) => Count::PreStopFailed,
            });
        }
        tally::request(start, outcome, self.status);
        // What the proxy answers itself takes no time worth knowing, and would hide how long workers take.
        if let Some(first_byte) = self.first_byte {
            tally::time(Timed::FirstByte(start), first_byte.saturating_duration_since(self.began));
            tally::time(Timed::Whole(start), now.saturating_duration_since(self.began));
        }
    }
}

fn id_of(head: Head<'_>, unix_secs: u64) -> RequestId {
    head.request_id.map_or_else(|| RequestId::generate_at(unix_secs), RequestId::sanitised)
}

impl Drop for Context {
    /// Whoever ends a request otherwise has said so before; what is left is a client that went away.
    fn drop(&mut self) {
        self.finish_as(Outcome::ClientGone);
    }
}

/// A request that holds a slot.
#[derive(Debug)]
pub struct InFlight<'g> {
    /// Borrowed: it outlives a try, and is too large to be handed around by every request.
    context: &'g mut Context,
    /// Ends before the slot goes back: whoever gets that is not in flight beside this one.
    ticket: Option<Ticket>,
    permit: Option<Permit<'g>>,
    worker: Arc<Worker>,
}

impl<'g> InFlight<'g> {
    /// `context` got `permit`.
    pub fn new(context: &'g mut Context, permit: Permit<'g>) -> Self {
        let worker = Arc::clone(permit.worker());
        if let Some(observed) = &context.observed {
            observed.place.set(Stage::Sent, Some(worker.id.0));
        }
        if context.record.is_some() || context.trail.is_some() {
            let (admitted, worker) = (Some(clock::now()), Some(worker.id.0));
            if let Some(record) = &mut context.record {
                (record.admitted, record.worker) = (admitted, worker);
            }
            if let Some(trail) = &mut context.trail {
                (trail.attempt.admitted, trail.attempt.worker) = (admitted, worker);
            }
        }
        let ticket = worker.roster().map(|roster| roster.begin(context.id));
        Self { context, ticket, permit: Some(permit), worker }
    }

    /// Who answers.
    pub fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// What is known about the request.
    pub fn context(&self) -> &Context {
        self.context
    }

    /// Notes that a connection to the worker stands, and whether it has served before.
    pub fn on_connected(&mut self, is_reused: bool) {
        let Context { record, trail, .. } = &mut *self.context;
        if record.is_none() && trail.is_none() {
            return;
        }
        let connected = Some(clock::now());
        if let Some(record) = record {
            record.connected = connected;
        }
        if let Some(trail) = trail {
            (trail.attempt.connected, trail.attempt.is_reused) = (connected, is_reused);
        }
    }

    /// The line that tells how long the steps have taken until the answer's head, if it is to be told.
    pub fn server_timing(&self) -> String {
        let mut line = String::new();
        if let Some(trail) = &self.context.trail {
            trail.server_timing(self.context.start, clock::now(), &mut line);
        }
        line
    }

    /// Notes the head of the final answer.
    pub fn on_answer(&mut self, status: u16) {
        let Context { record, observed, trail, invocation, .. } = &mut *self.context;
        if let Some(invocation) = invocation {
            invocation.status = status;
        }
        if record.is_none() && observed.is_none() && trail.is_none() {
            return;
        }
        let now = clock::now();
        if let Some(observed) = observed {
            (observed.first_byte, observed.status) = (Some(now), status);
            observed.place.set(Stage::Answering, Some(self.worker.id.0));
            self.worker.on_answer(now);
        }
        if let Some(record) = record {
            (record.first_byte, record.status) = (Some(now), status);
        }
        if let Some(trail) = trail {
            trail.attempt.answered = Some(now);
            if let Some(traced) = &mut trail.traced {
                traced.status = status;
            }
        }
    }

    /// Notes that the worker's answer counts as a failed invocation.
    pub fn set_failed(&mut self) {
        self.context.has_failed = true;
        if let Some(record) = &mut self.context.record {
            record.has_failed = true;
        }
    }

    /// Counts bytes from and for the client.
    pub fn on_bytes(&mut self, from_client: usize, for_client: usize) {
        self.context.on_bytes(from_client, for_client);
    }

    /// Writes the access line of a client that was cut off because of `reason`.
    pub fn finish_cut(&mut self, reason: String) {
        if let Some(traced) = self.context.traced() {
            traced.reason = Some(reason.clone());
        }
        if let Some(record) = &mut self.context.record {
            record.reason = Some(reason);
        }
        self.finish(Outcome::ClientGone);
    }

    /// Returns the slot: the worker is done with this request. The client may not be.
    pub fn release(&mut self) {
        self.ticket = None;
        self.permit = None;
    }

    /// Writes the access line and the end marker, before the last byte leaves: the platform may freeze the
    /// instance right behind it. A line alone may wait for whoever else is in flight (`telemetry::stdout`).
    pub fn finish(&mut self, outcome: Outcome) {
        self.context.finish_as(outcome);
    }
}
