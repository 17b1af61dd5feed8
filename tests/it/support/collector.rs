//! A collector: takes what is sent to it by OTLP over HTTP, reads it as strictly as protobuf can be, and answers as a
//! test says.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span as Wired;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use super::wire::{Wire, field};
use super::{GUARD, Setup};

/// What it says to a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verdict {
    /// 200, and its spans are kept.
    Takes,
    /// This status.
    Refuses(u16),
    /// Nothing, for as long as somebody waits for it.
    Keeps,
}

/// Listens until the test ends.
pub(crate) struct Collector {
    pub(crate) port: u16,
    shared: Arc<(Mutex<Got>, Condvar)>,
}

#[derive(Default)]
struct Got {
    spans: Vec<Span>,
    /// Requests, whatever became of them: heads and bodies.
    requests: Vec<(String, Vec<u8>)>,
    /// For the next requests; behind them it takes everything.
    verdicts: Vec<Verdict>,
    otherwise: Option<Verdict>,
}

/// A span as it came, with what it came with.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) span: Wired,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) resource: BTreeMap<String, String>,
}

impl Span {
    pub(crate) fn name(&self) -> &str {
        &self.span.name
    }

    pub(crate) fn trace(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// Empty for a root.
    pub(crate) fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    /// When it began and ended, in nanoseconds since 1970.
    pub(crate) fn times(&self) -> (u64, u64) {
        (self.span.start_time_unix_nano, self.span.end_time_unix_nano)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
    }

    /// An attribute as text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        other => panic!("{} is {other:?}", attribute.key),
    };
    let texts: BTreeMap<_, _> = attributes.iter().map(|it| (it.key.clone(), text(it))).collect();
    assert_eq!(texts.len(), attributes.len(), "an attribute twice: {attributes:?}");
    texts
}

impl Collector {
    /// One that takes everything.
    pub(crate) fn listen() -> Self {
        Self::that(&[], None)
    }

    /// One that says these things to its first requests.
    pub(crate) fn that(verdicts: &[Verdict], otherwise: Option<Verdict>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let got = Got { verdicts: verdicts.to_vec(), otherwise, ..Got::default() };
        let shared = Arc::new((Mutex::new(got), Condvar::new()));
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let theirs = Arc::clone(&theirs);
                thread::spawn(move || serve(stream.expect("a connection"), &theirs));
            }
        });
        Self { port, shared }
    }

    /// The spans, when there are as many at least.
    pub(crate) fn spans(&self, count: usize) -> Vec<Span> {
        let (got, news) = &*self.shared;
        let deadline = Instant::now() + GUARD;
        let mut got = got.lock().expect("not poisoned");
        while got.spans.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {count} spans: {:#?}", got.spans.len(), names(&got.spans));
            got = news.wait_timeout(got, left).expect("not poisoned").0;
        }
        got.spans.clone()
    }

    /// The spans that are here now.
    pub(crate) fn now(&self) -> Vec<Span> {
        self.spans(0)
    }

    /// What was sent, byte for byte.
    pub(crate) fn requests(&self) -> Vec<(String, Vec<u8>)> {
        self.shared.0.lock().expect("not poisoned").requests.clone()
    }

    /// Waits until so many requests have come.
    pub(crate) fn wait_asked(&self, count: usize) {
        super::eventually("a request to the collector", || (self.requests().len() >= count).then_some(()));
    }
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(Span::name).collect()
}

/// The span of this name; there must be one.
pub(crate) fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name() == name).collect();
    assert_eq!(found.len(), 1, "{name} among {:?}", names(spans));
    found[0]
}

fn serve(stream: TcpStream, shared: &(Mutex<Got>, Condvar)) {
    stream.set_read_timeout(Some(GUARD)).expect("a timeout");
    let mut wire = Wire::new(stream);
    if wire.fill().is_err() {
        return;
    }
    let head = wire.head();
    let (body, _) = wire.body_of(&head);
    let verdict = {
        let mut got = shared.0.lock().expect("not poisoned");
        got.requests.push((head.clone(), body.clone()));
        match got.verdicts.is_empty() {
            true => got.otherwise.unwrap_or(Verdict::Takes),
            false => got.verdicts.remove(0),
        }
    };
    match verdict {
        Verdict::Takes => {
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            assert_eq!(field(&head, "content-type"), Some("application/x-protobuf"), "{head}");
            let request = ExportTraceServiceRequest::decode(&body[..]).expect("protobuf");
            let mut got = shared.0.lock().expect("not poisoned");
            for group in request.resource_spans {
                let resource = texts(&group.resource.expect("a resource").attributes);
                for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    let attributes = texts(&span.attributes);
                    got.spans.push(Span { span, attributes, resource: resource.clone() });
                }
            }
            // Before the answer: whoever has it finds the spans.
            drop(got);
            wire.send("HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n");
            shared.1.notify_all();
        }
        Verdict::Refuses(status) => {
            wire.send(format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"));
        }
        Verdict::Keeps => drop(wire.rest()),
    }
}

impl Setup {
    /// With spans for `collector`.
    pub(crate) fn with_spans(self, collector: &Collector) -> Self {
        self.set("trace.otlp", &format!("http://127.0.0.1:{}", collector.port))
    }
}
