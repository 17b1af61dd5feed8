//! One batch, one request: OpenTelemetry's exporter writes it, hyper sends it.
//!
//! Each goes over a connection of its own. Batches are seconds apart, and between them lie freezes, behind which no
//! kept connection could be trusted. `OTEL_EXPORTER_OTLP_HEADERS` counts, as everywhere: collectors may want a token.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper_util::rt::TokioIo;
use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::clock;
use crate::config::units::period_text;
use crate::config::{Collector, Trace};
use crate::error::Problem;

/// How long a collector has for a batch.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Longest answer read: it says how many spans were refused, and why.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Why a batch was not taken.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The collector may take it later.
    Away(String),
    /// It will not take this one.
    Refused(String),
}

/// Sends batches to one collector.
#[derive(Debug)]
pub(super) struct Exporter {
    otlp: SpanExporter,
    /// What the last request has come to, unless it went well: the exporter tells as little as it can.
    trouble: Arc<Mutex<Option<Trouble>>>,
    name: String,
}

impl Exporter {
    /// To `collector`, in the name of what `trace` says.
    ///
    /// # Errors
    /// A variable of OpenTelemetry's asks for what this build cannot do.
    pub(super) fn new(collector: &Collector, trace: &Trace) -> Result<Self, Problem> {
        let trouble = Arc::default();
        let post = Post { collector: collector.clone(), trouble: Arc::clone(&trouble) };
        let otlp = SpanExporter::builder()
            .with_http()
            .with_http_client(post)
            .with_endpoint(collector.to_string())
            .with_protocol(Protocol::HttpBinary)
            // Both are the sender's affair, whose clock leaves frozen time out.
            .with_timeout(2 * SEND_MAX)
            .with_retry_policy(RetryPolicy::disabled())
            .build();
        let mut otlp = otlp.map_err(|error| {
            Problem::new(
                format!("Spans cannot be sent: {error}."),
                "The variables `OTEL_EXPORTER_OTLP_…` count beside `trace.otlp`.",
                "Correct or unset them.",
            )
        })?;
        let function = trace.function.iter().map(|(name, value)| KeyValue::new(*name, value.clone()));
        let resource = Resource::builder_empty()
            .with_service_name(trace.service.clone())
            .with_attributes([
                KeyValue::new("telemetry.sdk.language", "rust"),
                KeyValue::new("telemetry.sdk.name", "opentelemetry"),
                KeyValue::new("telemetry.distro.name", "warmfront"),
                KeyValue::new("telemetry.distro.version", env!("CARGO_PKG_VERSION")),
            ])
            .with_attributes(function)
            .build();
        otlp.set_resource(&resource);
        Ok(Self { otlp, trouble, name: collector.to_string() })
    }

    /// Where it sends to.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Sends one batch.
    ///
    /// # Errors
    /// It was not taken, or not within [`SEND_MAX`].
    pub(super) async fn send(&self, spans: Vec<SpanData>) -> Result<(), Trouble> {
        let late = || Trouble::Away(format!("it did not answer within {}", period_text(SEND_MAX)));
        let sent = clock::timeout(SEND_MAX, self.otlp.export(spans)).await.ok_or_else(late)?;
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        sent.map_err(|error| trouble.unwrap_or_else(|| Trouble::Refused(error.to_string())))
    }
}

/// The client that OpenTelemetry's exporter is given.
#[derive(Debug)]
struct Post {
    collector: Collector,
    trouble: Arc<Mutex<Option<Trouble>>>,
}

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.exchange(request).await;
        let trouble = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => {
                let text = format!("it answered {}", answer.status());
                // OTLP 1.x, OTLP/HTTP response: only these are worth another try.
                let is_busy = matches!(answer.status().as_u16(), 429 | 502 | 503 | 504);
                Some(if is_busy { Trouble::Away(text) } else { Trouble::Refused(text) })
            }
            Err(error) => Some(Trouble::Away(error.to_string())),
        };
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        answer
    }
}

impl Post {
    async fn exchange(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let Collector { host, port, path } = &self.collector;
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        // An origin gets the path alone, and its own name beside it (RFC 9112 §3.2).
        *request.uri_mut() = path.parse()?;
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        request.headers_mut().insert(HOST, HeaderValue::from_str(&authority)?);
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Dropped with this future.
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
        // The head has said what became of the batch, whatever comes of the rest.
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        Ok(Response::from_parts(head, body.map(|body| body.to_bytes()).unwrap_or_default()))
    }
}
