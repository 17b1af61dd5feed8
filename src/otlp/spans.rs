//! The spans of a trail: one of the server, its children for each try, by OpenTelemetry's conventions for HTTP and
//! for functions.
//!
//! No query and no field of a request becomes an attribute: both carry secrets. Times are the date at which the request
//! began and durations behind it, in which frozen time does not count.

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::fc::kind::{Hook, Kind};
use crate::id;
use crate::proxy::trail::{Attempt, Traced, Trail};
use crate::telemetry::access::{Outcome, Start};

static SCOPE: LazyLock<InstrumentationScope> = LazyLock::new(|| {
    InstrumentationScope::builder("warmfront").with_version(env!("CARGO_PKG_VERSION")).build()
});

/// The methods that everybody knows (RFC 9110 §9.3, RFC 5789); others could be anything, in any number.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// The spans of `trail`, the server's first; none if it is not traced.
pub(super) fn of(trail: &Trail) -> Vec<SpanData> {
    let Some(traced) = &trail.traced else { return Vec::new() };
    let mut spans = Vec::with_capacity(4);
    spans.push(server(trail, traced));
    for attempt in &trail.failed {
        attempts(&mut spans, trail, traced, attempt, true);
    }
    attempts(&mut spans, trail, traced, &trail.attempt, false);
    spans
}

fn server(trail: &Trail, traced: &Traced) -> SpanData {
    let method = known_method(traced.method());
    let name = match (traced.kind, method) {
        (Kind::Hook(Hook::Initialize), _) => "initialize",
        (Kind::Hook(Hook::PreFreeze), _) => "pre-freeze",
        (Kind::Hook(Hook::PreStop), _) => "pre-stop",
        (_, Some(method)) => method,
        (_, None) => "HTTP",
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut attributes = vec![
        KeyValue::new("http.request.method", method.unwrap_or("_OTHER")),
        KeyValue::new("url.path", text(traced.path())),
        KeyValue::new("url.scheme", "http"),
        KeyValue::new("network.protocol.version", traced.version),
        KeyValue::new("faas.trigger", if traced.kind == Kind::Http { "http" } else { "other" }),
        KeyValue::new("faas.coldstart", traced.start == Start::Cold),
        KeyValue::new("faas.invocation_id", traced.id.to_string()),
        KeyValue::new("fc.request_id", traced.id.to_string()),
        KeyValue::new("warmfront.start", traced.start.word()),
        KeyValue::new("warmfront.outcome", traced.outcome.word()),
    ];
    if method.is_none() {
        attributes.push(KeyValue::new("http.request.method_original", text(traced.method())));
    }
    attributes.extend(status_of(traced));
    if !trail.failed.is_empty() {
        attributes.push(KeyValue::new("warmfront.replays", trail.failed.len() as i64));
    }
    if let Some(reason) = &traced.reason {
        attributes.push(KeyValue::new("warmfront.reason", reason.clone()));
    }
    let error: Option<Cow<'static, str>> = match (traced.outcome, traced.status) {
        (Outcome::Aborted, _) => Some("aborted".into()),
        (_, 500..) => Some(traced.status.to_string().into()),
        _ => None,
    };
    let status = match error {
        Some(kind) => {
            attributes.push(KeyValue::new("error.type", kind));
            Status::error("")
        }
        None => Status::Unset,
    };
    SpanData {
        span_context: context(traced, traced.span),
        parent_span_id: traced.parent.map_or(SpanId::INVALID, |parent| SpanId::from_bytes(parent.bytes())),
        parent_span_is_remote: traced.parent.is_some(),
        span_kind: SpanKind::Server,
        status,
        ..child(trail, traced, name, trail.began, traced.ended, attributes)
    }
}

/// What became of one try. `failed`: another followed.
fn attempts(spans: &mut Vec<SpanData>, trail: &Trail, traced: &Traced, attempt: &Attempt, failed: bool) {
    let end = attempt.ended.unwrap_or(traced.ended);
    let worker = attempt.worker.map(|worker| KeyValue::new("warmfront.worker", i64::from(worker)));
    if let Some(queued) = attempt.queued {
        spans.push(child(trail, traced, "queue", queued, attempt.admitted.unwrap_or(end), Vec::new()));
    }
    if let Some(opened) = attempt.opened() {
        let until = attempt.connected.unwrap_or(end);
        let mut span = child(trail, traced, "connect", opened, until, worker.clone().into_iter().collect());
        if attempt.connected.is_none() {
            span.status = Status::error("no connection");
        }
        spans.push(span);
    }
    if let Some(connected) = attempt.connected {
        let mut attributes: Vec<_> = worker.into_iter().collect();
        if attempt.answered.is_some() {
            attributes.extend(status_of(traced));
        }
        let mut span = child(trail, traced, "worker", connected, end, attributes);
        span.span_kind = SpanKind::Client;
        if let Some(answered) = attempt.answered {
            span.events.events.push(Event::new("answer", date(trail, answered), Vec::new(), 0));
        }
        if failed
            || traced.outcome == Outcome::Aborted
            || attempt.answered.is_none() && traced.outcome == Outcome::Local
        {
            span.status = Status::error("no whole answer");
        }
        spans.push(span);
    }
}

/// A span below the server's.
fn child(
    trail: &Trail,
    traced: &Traced,
    name: &'static str,
    from: Instant,
    to: Instant,
    attributes: Vec<KeyValue>,
) -> SpanData {
    SpanData {
        span_context: context(traced, id::SpanId::generate()),
        parent_span_id: SpanId::from_bytes(traced.span.bytes()),
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: date(trail, from),
        end_time: date(trail, to),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: SCOPE.clone(),
    }
}

fn context(traced: &Traced, span: id::SpanId) -> SpanContext {
    let (trace, span) = (TraceId::from_bytes(traced.trace.bytes()), SpanId::from_bytes(span.bytes()));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
}

fn date(trail: &Trail, at: Instant) -> SystemTime {
    UNIX_EPOCH + trail.began_unix + at.saturating_duration_since(trail.began)
}

fn status_of(traced: &Traced) -> Option<KeyValue> {
    (traced.status != 0).then(|| KeyValue::new("http.response.status_code", i64::from(traced.status)))
}

fn known_method(method: &[u8]) -> Option<&'static str> {
    METHODS.into_iter().find(|known| known.as_bytes() == method)
}
