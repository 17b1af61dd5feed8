//! One running request: its identity, its record, and while it runs its slot.
//!
//! Dropping an [`InFlight`] ends the request: the slot goes back and the access
//! line is written. Aborts are nothing special.

use super::Proxy;
use super::admission::Permit;
use super::exchange::Head;
use super::reply::LocalReply;
use crate::clock;
use crate::id::RequestId;
use crate::telemetry::access::{Outcome, Record, Start};
use crate::upstream::pool::Worker;
use std::sync::Arc;

/// What is known about a request whether or not it holds a slot.
#[derive(Debug)]
pub struct Context {
    /// The platform's id, sanitised, or a new one.
    pub id: RequestId,
    /// Cold or warm.
    pub start: Start,
    /// Whether its worker is told how it started.
    pub tell_start: bool,
    record: Option<Box<Record>>,
}

impl Context {
    /// Begins a request.
    pub fn begin(proxy: &Proxy, head: Head<'_>) -> Self {
        let id = head.request_id.map_or_else(RequestId::generate, RequestId::sanitised);
        let start = Start::Warm;
        let record = match proxy.access_log {
            crate::config::AccessLog::Off => None,
            format => Record::begin(format, id, head.method, head.target, start, clock::now()),
        };
        let mut context = Self { id, start, tell_start: proxy.tell_start, record };
        context.on_bytes(head.received, 0);
        context
    }

    /// Counts bytes from and for the client.
    pub fn on_bytes(&mut self, from_client: usize, for_client: usize) {
        if let Some(record) = &mut self.record {
            record.bytes_in += from_client as u64;
            record.bytes_out += for_client as u64;
        }
    }

    /// Notes that no worker was ready when it came.
    pub fn set_cold(&mut self) {
        self.start = Start::Cold;
        if let Some(record) = &mut self.record {
            record.start = Start::Cold;
        }
    }

    /// Writes the access line of a request that the proxy answers itself, with `bytes` bytes.
    pub fn finish_locally(mut self, reply: &LocalReply, bytes: usize) {
        if let Some(record) = &mut self.record {
            record.bytes_out = bytes as u64;
            record.status = reply.status;
            record.reason = Some(reply.reason.clone());
        }
        self.finish(Outcome::Local);
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Some(record) = self.record.take() {
            record.finish(outcome, clock::now());
        }
    }
}

impl Drop for Context {
    /// Whoever ends a request otherwise has said so before; what is left is a client that went away.
    fn drop(&mut self) {
        self.finish(Outcome::ClientGone);
    }
}

/// A request that holds a slot.
#[derive(Debug)]
pub struct InFlight<'g> {
    context: Context,
    permit: Option<Permit<'g>>,
    worker: Arc<Worker>,
}

impl<'g> InFlight<'g> {
    /// `context` got `permit`.
    pub fn new(mut context: Context, permit: Permit<'g>) -> Self {
        let worker = Arc::clone(permit.worker());
        if let Some(record) = &mut context.record {
            record.admitted = Some(clock::now());
            record.worker = Some(worker.id.0);
        }
        Self { context, permit: Some(permit), worker }
    }

    /// Who answers.
    pub fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }

    /// What is known about the request.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Notes that a connection to the worker stands.
    pub fn on_connected(&mut self) {
        if let Some(record) = &mut self.context.record {
            record.connected = Some(clock::now());
        }
    }

    /// Notes the head of the final answer.
    pub fn on_answer(&mut self, status: u16) {
        if let Some(record) = &mut self.context.record {
            record.first_byte = Some(clock::now());
            record.status = status;
        }
    }

    /// Counts bytes from and for the client.
    pub fn on_bytes(&mut self, from_client: usize, for_client: usize) {
        self.context.on_bytes(from_client, for_client);
    }

    /// Writes the access line of a client that was cut off because of `reason`.
    pub fn finish_cut(&mut self, reason: String) {
        if let Some(record) = &mut self.context.record {
            record.reason = Some(reason);
        }
        self.finish(Outcome::ClientGone);
    }

    /// Returns the slot: the worker is done with this request. The client may not be.
    pub fn release(&mut self) {
        self.permit = None;
    }

    /// Writes the access line now, before the last byte leaves: the platform may freeze the
    /// instance right behind it.
    pub fn finish(&mut self, outcome: Outcome) {
        self.context.finish(outcome);
    }

    /// The request without its slot.
    pub fn into_context(self) -> Context {
        self.context
    }
}
