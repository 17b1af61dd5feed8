//! Spans of requests and hooks, sent to a collector by OTLP over HTTP.
//!
//! Off unless `trace.otlp` says where, and only in builds with the feature `otlp`. It has a thread of its own: the
//! data plane leaves trails of requests that are over in an outbox (`proxy/outbox`), and neither waits for it nor
//! knows what a span is. Here trails become spans (`spans`), spans batches (`sender`), batches requests (`post`).

#[cfg(feature = "otlp")]
mod post;
#[cfg(feature = "otlp")]
mod sender;
#[cfg(feature = "otlp")]
mod spans;

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::config::{Collector, Trace};
use crate::error::Problem;
use crate::proxy::outbox::Outbox;

/// Sends until it is dropped. What has not been sent by then is counted as lost.
#[derive(Debug)]
pub struct Sending {
    outbox: Arc<Outbox>,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Sending {
    /// Begins if `trace` says where to; `None` if it does not.
    ///
    /// # Errors
    /// The system refused the thread, or a variable of OpenTelemetry's asks for what this build cannot do.
    pub fn start(trace: &Trace) -> Result<Option<Self>, Problem> {
        trace.otlp.as_ref().map(|collector| Self::start_to(collector, trace)).transpose()
    }

    #[cfg(feature = "otlp")]
    fn start_to(collector: &Collector, trace: &Trace) -> Result<Self, Problem> {
        let exporter = post::Exporter::new(collector, trace)?;
        let (outbox, inbox) = crate::proxy::outbox::pair(trace.sample);
        let (end, ended) = watch::channel(false);
        let thread = std::thread::Builder::new().name("trace".to_owned());
        let thread = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(sender::run(inbox, exporter, ended)),
                Err(error) => crate::telemetry::say::error(format_args!("spans cannot be sent: {error}")),
            }
        });
        let thread = thread.map_err(|error| {
            Problem::new(
                format!("The system refused the thread that sends spans: {error}."),
                "`trace.otlp` asks for it.",
                "Raise the limits of this instance (processes), or leave `trace.otlp` out.",
            )
        })?;
        Ok(Self { outbox: Arc::new(outbox), end, thread: Some(thread) })
    }

    #[cfg(not(feature = "otlp"))]
    fn start_to(_: &Collector, _: &Trace) -> Result<Self, Problem> {
        unreachable!("invariant: a build without the feature refuses trace.otlp")
    }

    /// Where requests that are over go.
    pub fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Sends what is there, within a second, and ends.
    pub async fn finish(self) {
        self.outbox.flush().await;
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}
