//! One invocation, from the instance's side: sent, perhaps sent again, answered or lost (FC contract §3).

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty, LengthLimitError};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::{HeaderMap, Method, Request, Response, Uri};

use super::headers;
use super::instance::Instance;
use super::life::{self, Emulator, Entry, Order};
use super::link::{BoxError, Kept, Upload};
use super::log::Finished;
use super::payload::Loss;
use super::retry::{self, Attempt};
use crate::clock::{self, Timer};
use crate::fc::kind::Kind;
use crate::fc::marker::{self, Ending};

/// What the log says of an invocation that the function itself calls a failure.
const FUNCTION_ERROR: &str = "Unhandled function error";

/// A request as an instance gets it.
pub(super) struct Outgoing {
    /// Its method.
    pub(super) method: Method,
    /// Path and query.
    pub(super) uri: Uri,
    /// All fields.
    pub(super) fields: HeaderMap,
    /// Its body, if it has one.
    pub(super) body: Option<Upload>,
}

/// What the client asked for, for the log.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The id that it got.
    pub(super) id: String,
    /// Its method.
    pub(super) method: Method,
    /// Its path and query.
    pub(super) target: String,
    /// When its head had arrived.
    pub(super) began: Instant,
}

/// A place among the requests that the function may hold at once. Given back on drop.
pub(super) struct Permit(Rc<Emulator>);

impl Permit {
    /// One, if there is one left.
    pub(super) fn take(emulator: &Rc<Emulator>) -> Option<Self> {
        let held = emulator.held.get();
        (held < emulator.options.concurrency).then(|| {
            emulator.held.set(held + 1);
            Self(Rc::clone(emulator))
        })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.held.set(self.0.held.get() - 1);
    }
}

/// An invocation in an instance. Whoever is dropped without having been finished was canceled by its client.
pub(super) struct Running {
    emulator: Rc<Emulator>,
    entry: Entry,
    asked: Asked,
    delivered: Instant,
    /// What the client got, or is about to get.
    pub(super) status: u16,
    /// Whether the function says itself that it failed.
    pub(super) has_failed: bool,
    is_over: bool,
    _permit: Permit,
}

/// Why there is no head of an answer.
pub(super) enum Lost {
    /// As the platform sees it.
    Loss(Loss),
    /// The body was longer than it may be.
    TooLong,
    /// What came is no HTTP.
    Malformed(String),
}

impl Running {
    /// From the moment on at which the instance is handed the request.
    pub(super) fn new(emulator: &Rc<Emulator>, entry: Entry, asked: Asked, permit: Permit) -> Self {
        emulator.log.platform(marker::start(Kind::Http, &asked.id).to_string().trim_end());
        Self {
            emulator: Rc::clone(emulator),
            entry,
            asked,
            delivered: clock::now(),
            status: 0,
            has_failed: false,
            is_over: false,
            _permit: permit,
        }
    }

    /// Where it runs.
    pub(super) fn instance(&self) -> &Instance {
        &self.entry.instance
    }

    /// How long it may still take.
    fn left(&self) -> Duration {
        let spent = clock::now().saturating_duration_since(self.delivered);
        self.emulator.options.timeout.saturating_sub(spent)
    }

    /// What is to be said of one that took longer than it may.
    pub(super) fn time_out(&self) -> Loss {
        Loss::TimedOut { seconds: life::whole_seconds(self.emulator.options.timeout) }
    }

    /// Resolves when it has taken longer than it may.
    pub(super) fn timer(&self) -> Timer {
        clock::timer(self.left())
    }

    /// Sends the request and waits for the head of its answer.
    pub(super) async fn send(&self, outgoing: Outgoing) -> Result<(Response<Incoming>, Kept), Lost> {
        match clock::timeout(self.left(), self.send_untimed(outgoing)).await {
            Some(sent) => sent,
            None => Err(Lost::Loss(self.time_out())),
        }
    }

    async fn send_untimed(&self, outgoing: Outgoing) -> Result<(Response<Incoming>, Kept), Lost> {
        let Outgoing { method, uri, mut fields, mut body } = outgoing;
        let has_body = body.is_some();
        if !has_body {
            headers::say_no_body(&mut fields, method.as_str());
        }
        let has_key = fields.contains_key("idempotency-key") || fields.contains_key("x-idempotency-key");
        loop {
            let mut kept = match self.entry.reserved.take() {
                Some(kept) => kept,
                None => match self.instance().link.connection().await {
                    Ok(kept) => kept,
                    Err(_) => return Err(Lost::Loss(Loss::Exited)),
                },
            };
            let upload =
                body.take().unwrap_or_else(|| Empty::new().map_err(|never| match never {}).boxed_unsync());
            let mut request = Request::new(upload);
            *request.method_mut() = method.clone();
            *request.uri_mut() = uri.clone();
            *request.headers_mut() = fields.clone();
            let broken = match kept.send(request).await {
                Ok(answer) => return Ok((answer, kept)),
                Err(broken) => broken,
            };
            if is_about_length(&broken.error) {
                return Err(Lost::TooLong);
            }
            if broken.error.is_parse() {
                return Err(Lost::Malformed(broken.error.to_string()));
            }
            let attempt = Attempt {
                method: method.as_str(),
                has_body,
                has_idempotency_key: has_key,
                was_kept: kept.was_used,
                is_unwritten: broken.is_unwritten,
            };
            if self.instance().exit().is_some() || !retry::may_repeat(attempt) {
                return Err(Lost::Loss(Loss::Exited));
            }
            let error = &broken.error;
            self.emulator.log.note(format_args!(
                "a kept connection was closed ({error}): {} is sent again, as the platform does",
                self.asked.id
            ));
        }
    }

    /// The answer has come to its end; the client has, or is about to get, all of it.
    pub(super) fn finish(&mut self) {
        let error = self.has_failed.then(|| FUNCTION_ERROR.to_owned());
        self.over(error);
    }

    /// There is no answer, or no end of it. What the caller gets to read.
    pub(super) fn lose(&mut self, loss: Loss) -> String {
        let ms = clock::now().saturating_duration_since(self.delivered).as_millis();
        let sentence = loss.sentence(ms, self.instance().memory_kb());
        self.over(Some(sentence.clone()));
        if loss != Loss::Exited {
            self.replace(&sentence);
        }
        sentence
    }

    /// The platform itself refuses the answer.
    pub(super) fn refuse(&mut self, why: &str) {
        self.over(Some(why.to_owned()));
    }

    /// With one request at a time and nobody who looks after its health, an instance that still works for a
    /// caller who has left is not used again (§3.6).
    fn replace(&self, why: &str) {
        let options = &self.emulator.options;
        if options.concurrency == 1 && options.health_check.is_none() && self.instance().exit().is_none() {
            self.instance().is_doomed.set(true);
            self.emulator.order(Order::Destroy(Rc::clone(&self.entry.instance), why.to_owned()));
        }
    }

    fn over(&mut self, error: Option<String>) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let log = &self.emulator.log;
        let end = marker::end(Kind::Http, &self.asked.id, Ending::Answered).to_string();
        let suffix = error.as_deref().map_or(String::new(), |error| format!(", Error: {error}"));
        log.platform(format_args!("{}{suffix}", end.trim_end()));
        log.request(&Finished {
            id: &self.asked.id,
            method: self.asked.method.as_str(),
            target: &self.asked.target,
            status: self.status,
            warmth: self.entry.warmth.word(),
            ms: clock::now().saturating_duration_since(self.asked.began).as_millis(),
            memory_kb: self.instance().memory_kb(),
            error: error.as_deref(),
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_over {
            self.status = 499;
            self.lose(Loss::Canceled);
        }
    }
}

/// Whether a request failed because its own body was too long.
fn is_about_length(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner.is::<LengthLimitError>() {
            return true;
        }
        source = inner.source();
    }
    false
}

/// The body of an answer on its way to the client.
pub(super) enum Download {
    /// All of it is here.
    Whole(Option<Bytes>),
    /// It comes from the instance.
    Relayed(Box<Relayed>),
}

/// See [`Download::Relayed`].
pub(super) struct Relayed {
    incoming: Incoming,
    timer: Timer,
    /// Both go when the end has come.
    rest: Option<(Running, Kept)>,
}

impl Download {
    /// What the instance answers.
    pub(super) fn relayed(incoming: Incoming, running: Running, kept: Kept) -> Self {
        let timer = running.timer();
        let mut relayed = Relayed { incoming, timer, rest: Some((running, kept)) };
        if relayed.incoming.is_end_stream() {
            relayed.finish();
        }
        Self::Relayed(Box::new(relayed))
    }
}

impl Relayed {
    /// Everything is said and, if nobody else is in flight, frozen before the last bytes leave.
    fn finish(&mut self) {
        if let Some((mut running, kept)) = self.rest.take() {
            running.instance().link.keep(kept);
            running.finish();
        }
    }

    fn lose(&mut self, loss: Loss) -> BoxError {
        match self.rest.take() {
            Some((mut running, _)) => running.lose(loss).into(),
            None => "lost behind its end".into(),
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let relayed = match &mut *self {
            Self::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Relayed(relayed) => relayed,
        };
        if relayed.rest.is_none() {
            return Poll::Ready(None);
        }
        match Pin::new(&mut relayed.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if relayed.incoming.is_end_stream() {
                    relayed.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => Poll::Ready(Some(Err(relayed.lose(Loss::Exited)))),
            Poll::Ready(None) => {
                relayed.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                if Pin::new(&mut relayed.timer).poll(cx).is_ready() {
                    let loss = relayed.rest.as_ref().map_or(Loss::Exited, |(running, _)| running.time_out());
                    return Poll::Ready(Some(Err(relayed.lose(loss))));
                }
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Relayed(relayed) => relayed.rest.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Relayed(relayed) => relayed.incoming.size_hint(),
        }
    }
}
