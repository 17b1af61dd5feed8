//! A message to a worker beside its requests: hooks, what a worker missed of them, and the news of a thaw.
//!
//! On a connection of its own that counts neither as a slot nor as one of the
//! worker's connections, and is closed behind the answer. Through [`Dial`], so
//! that a worker that speaks HTTP/2 is told in HTTP/2.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::Dial;
use super::plane::Plane;
use super::relay::poll_fill;
use crate::clock;
use crate::http1::body::Body;
use crate::http1::lines::kept_lines;
use crate::http1::request::Request;
use crate::http1::response::Response;
use crate::http1::{Parsed, Span};
use crate::id::{REQUEST_ID_HEADER, RequestId};
use crate::telemetry::say;
use crate::upstream::pool::Worker;

/// Bytes of an answer's body that are read so that its worker sees no reset.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A message of the control plane to one worker.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) worker: Arc<Worker>,
    /// A whole HTTP/1.1 request.
    pub(super) message: Arc<[u8]>,
    /// How long the worker may take over it.
    pub(super) patience: Duration,
    /// Dropped when it was run, however it went.
    pub(super) done: oneshot::Sender<()>,
}

/// Runs each errand, and complains about workers that do not answer with 2xx.
pub(super) async fn carry<D: Dial>(plane: Rc<Plane<D>>, mut errands: UnboundedReceiver<Errand>) {
    let mut running = JoinSet::new();
    while let Some(errand) = errands.recv().await {
        running.spawn_local(bring(Rc::clone(&plane), errand));
        while running.try_join_next().is_some() {}
    }
}

async fn bring<D: Dial>(plane: Rc<Plane<D>>, errand: Errand) {
    let Errand { worker, message, patience, done: _done } = errand;
    let line = message.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    match clock::timeout(patience, run(&plane, &worker, &message)).await {
        Some(Ok(200..=299)) => {}
        Some(Ok(status)) => say::warn(format_args!("worker {} answered `{line}` with {status}", worker.id)),
        Some(Err(error)) => say::warn(format_args!("worker {} did not take `{line}`: {error}", worker.id)),
        None => say::warn(format_args!("worker {} did not answer `{line}` in time", worker.id)),
    }
}

/// `request`, whose `head` it is, without its body: what would travel of its fields, byte for byte.
pub(super) fn message(request: &Request, head: &[u8], id: &RequestId) -> Vec<u8> {
    let is_of_body = |name: &[u8]| {
        [&b"content-length"[..], b"transfer-encoding", b"expect"]
            .iter()
            .any(|it| name.eq_ignore_ascii_case(it))
    };
    let lines = kept_lines(head, request.target.end as usize, request.dropped());
    let of_body = lines.filter(|line| is_of_body(line.name)).map(|line| line.span);
    let mut gaps: Vec<Span> = request.dropped().iter().copied().chain(of_body).collect();
    gaps.sort_by_key(|gap| gap.start);
    let (mut message, mut from) = (Vec::with_capacity(head.len() + 256), 0);
    for gap in gaps {
        message.extend_from_slice(&head[from..gap.start as usize]);
        from = gap.end as usize;
    }
    message.extend_from_slice(&head[from..head.len() - 2]);
    // A proxy speaks its own version (RFC 9110 §2.5); its digit ends the first line.
    if let Some(line_end) = message.iter().position(|&byte| byte == b'\r') {
        message[line_end - 1] = b'1';
    }
    if !request.has_host {
        message.extend_from_slice(b"Host: localhost\r\n");
    }
    if request.request_id.is_none() {
        message.extend_from_slice(format!("{REQUEST_ID_HEADER}: {id}\r\n").as_bytes());
    }
    message.extend_from_slice(b"Content-Length: 0\r\n\r\n");
    message
}

/// Sends `message`, a whole HTTP/1.1 request, to `worker`, and returns the status of its answer.
///
/// # Errors
/// No connection, an end before the answer, or an answer that is none.
///
/// # Cancel safety
/// May be dropped at any time; the worker then sees its client leave.
pub(super) async fn run<D: Dial>(plane: &Plane<D>, worker: &Arc<Worker>, message: &[u8]) -> io::Result<u16> {
    let mut stream = plane.open(worker, clock::now() + plane.connect_timeout).await?;
    stream.write_all(message).await?;
    let mut buffer = plane.buffers.get();
    let answer = loop {
        match Response::parse(buffer.filled(), &plane.limits, false) {
            Ok(Parsed::Complete(response)) if response.is_interim() => buffer.start += response.head_len,
            Ok(Parsed::Complete(response)) => break response,
            Ok(Parsed::Partial) => {
                if poll_fn(|cx| poll_fill(&mut stream, &mut buffer, cx)).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Err(bad) => return Err(io::Error::new(io::ErrorKind::InvalidData, bad)),
        }
    };
    buffer.start += answer.head_len;
    let (mut body, mut read) = (Body::new(answer.framing), 0);
    while !body.is_complete() && read < BODY_BYTES_MAX {
        let Ok(taken) = body.take(buffer.filled()) else { break };
        read += taken;
        buffer.clear();
        // Its verdict stands, however its body ends.
        if !body.is_complete()
            && !matches!(poll_fn(|cx| poll_fill(&mut stream, &mut buffer, cx)).await, Ok(1..))
        {
            break;
        }
    }
    Ok(answer.status)
}
