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
use crate::http1::Parsed;
use crate::http1::body::Body;
use crate::http1::response::Response;
use crate::telemetry::say;
use crate::upstream::pool::Worker;

/// Pause while a worker's backlog is full.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);
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

/// Sends `message`, a whole HTTP/1.1 request, to `worker`, and returns the status of its answer.
///
/// # Errors
/// No connection, an end before the answer, or an answer that is none.
///
/// # Cancel safety
/// May be dropped at any time; the worker then sees its client leave.
pub(super) async fn run<D: Dial>(plane: &Plane<D>, worker: &Arc<Worker>, message: &[u8]) -> io::Result<u16> {
    let mut stream = loop {
        match plane.dial.dial(worker).await {
            Ok(stream) => break stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => clock::sleep(BACKLOG_PAUSE).await,
            Err(error) => return Err(error),
        }
    };
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
