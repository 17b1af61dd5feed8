//! What is said on a connection from its first byte until it rests again: heads in, exchanges out.
//!
//! It runs in a [`super::workspace`], which the connection has no longer than that.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::buffer::Buffer;
use super::exchange::{After, Http1Exchange};
use super::pace::within;
use super::plane::Plane;
use super::relay::poll_fill;
use super::{Dial, Stream};
use crate::clock;
use crate::fc::policy;
use crate::http1::Parsed;
use crate::http1::body::Body;
use crate::http1::request::{Refused, Request};
use crate::id::RequestId;
use crate::proxy::exchange::Head;
use crate::proxy::in_flight::Context;
use crate::proxy::reply::LocalReply;
use crate::proxy::serve::serve;
use crate::telemetry::tally::{Count, count};

/// After a closing answer: how long and how much is still read, so that unread bytes do not
/// turn our close into a reset that destroys the answer on its way.
/// The bytes are what a client still sends of one large body; time is what really bounds it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 << 20;

/// Bytes beside the target in a first line that has not ended: longer ones are looked at for their target.
const METHOD_ROOM: usize = 64;

/// Who speaks, and what is remembered about it between its requests.
pub(super) struct Speaker<C> {
    pub(super) stream: C,
    /// Whether it has got an answer.
    pub(super) has_served: bool,
    /// Whether bodies may pass to it through pipes; unknown until one is large enough.
    takes_pipes: OnceCell<bool>,
}

impl<C> Speaker<C> {
    pub(super) fn new(stream: C) -> Self {
        Self { stream, has_served: false, takes_pipes: OnceCell::new() }
    }
}

/// Serves what a `speaker` asks for, who has said `first` so far. Gives it back when it rests, with nothing of a
/// next request said; `None` if the connection has ended.
pub(super) async fn converse<C: Stream, D: Dial>(
    plane: &Plane<D>,
    mut speaker: Speaker<C>,
    first: Buffer,
) -> Option<Speaker<C>> {
    let (mut rest, mut request) = (Some(first), None);
    while let Some(mut buffer) = rest.take() {
        buffer.compact();
        match read_head(plane, &mut speaker.stream, &mut buffer, &mut request).await {
            Incoming::Request => {}
            Incoming::Nothing => break,
            Incoming::End => {
                count(Count::ClientClosed);
                return None;
            }
            Incoming::Refused(refused) => {
                refuse(plane, speaker.stream, buffer, |id| LocalReply::malformed(&refused, id)).await;
                return None;
            }
            Incoming::Slow(limit) => {
                refuse(plane, speaker.stream, buffer, |id| LocalReply::slow_head(limit, id)).await;
                return None;
            }
        }
        let Some(request) = &request else { break };
        let mut body = Body::new(request.framing);
        let Ok(body_len) = body.take(&buffer.filled()[request.head_len..]) else {
            let refused = Refused::Malformed("chunked body");
            refuse(plane, speaker.stream, buffer, |id| LocalReply::malformed(&refused, id)).await;
            return None;
        };
        let Speaker { stream, takes_pipes, .. } = &mut speaker;
        let mut exchange =
            Http1Exchange::new(plane, stream, takes_pipes, request, buffer, &mut body, body_len);
        serve(&plane.proxy, &mut exchange).await;
        let (after, buffer) = exchange.into_rest();
        let buffer = match after {
            After::Abort => return None,
            After::Close if !request.persistent && body.is_complete() && buffer.filled().is_empty() => {
                // The client said that nothing follows: the close will not turn into a reset. Should it say something
                // nevertheless, the end goes first.
                let _ = speaker.stream.shutdown().await;
                return None;
            }
            After::Close => {
                linger(speaker.stream, buffer).await;
                return None;
            }
            After::KeepAlive if body.is_complete() => buffer,
            After::KeepAlive => match discard(plane, &mut speaker.stream, &mut body, buffer).await {
                Discarded::All(buffer) => buffer,
                Discarded::Gone => return None,
                Discarded::TooMuch(buffer) => {
                    linger(speaker.stream, buffer).await;
                    return None;
                }
            },
        };
        speaker.has_served = true;
        rest = Some(buffer).filter(|buffer| !buffer.filled().is_empty());
    }
    Some(speaker)
}

enum Incoming {
    Request,
    Refused(Refused),
    /// Empty lines only; the connection rests.
    Nothing,
    /// The client has left.
    End,
    /// The head was not complete within this time.
    Slow(Duration),
}

/// Reads a head, of which `buffer` holds the beginning. What it says is put into `request`, its place: every future
/// would copy what it hands on.
async fn read_head<C: Stream, D: Dial>(
    plane: &Plane<D>,
    client: &mut C,
    buffer: &mut Buffer,
    request: &mut Option<Request>,
) -> Incoming {
    match plane.limits.head_timeout {
        None => rest_of_head(plane, client, buffer, request).await,
        Some(limit) => {
            let head = clock::timeout(limit, rest_of_head(plane, client, buffer, request));
            head.await.unwrap_or(Incoming::Slow(limit))
        }
    }
}

/// Reads on until a head is complete or cannot become one.
async fn rest_of_head<C: Stream, D: Dial>(
    plane: &Plane<D>,
    client: &mut C,
    buffer: &mut Buffer,
    request: &mut Option<Request>,
) -> Incoming {
    // A head is looked at when a line may have ended, not for every byte of a slow sender.
    let mut seen = 0;
    loop {
        if skip_empty_lines(buffer) {
            if buffer.filled().is_empty() {
                return Incoming::Nothing;
            }
            seen = 0;
        }
        let (news, len) = (&buffer.filled()[seen..], buffer.filled().len());
        let passes = |limit: usize| (seen..len).contains(&limit);
        let is_too_long = len >= plane.limits.head_bytes || passes(plane.limits.target_bytes + METHOD_ROOM);
        if seen == 0 || news.contains(&b'\n') || is_too_long {
            match Request::parse(buffer.filled(), &plane.limits) {
                Ok(Parsed::Complete(sound)) => {
                    policy::apply(&plane.proxy.headers, buffer.filled(), request.insert(sound));
                    return Incoming::Request;
                }
                Ok(Parsed::Partial) => {}
                Err(refused) => return Incoming::Refused(refused),
            }
        }
        seen = buffer.filled().len();
        if !fill(buffer, client).await {
            return Incoming::End;
        }
    }
}

/// Empty lines before a request are no part of it (RFC 9112 §2.2), and not every worker ignores them.
/// True if there were any.
fn skip_empty_lines(buffer: &mut Buffer) -> bool {
    let lines = buffer.filled().chunks_exact(2).take_while(|pair| *pair == b"\r\n").count();
    buffer.start += 2 * lines;
    if lines > 0 {
        buffer.compact();
    }
    lines > 0
}

/// Reads once; false at the end.
pub(super) async fn fill<C: Stream>(buffer: &mut Buffer, client: &mut C) -> bool {
    let read = poll_fn(|cx| poll_fill(client, buffer, cx)).await;
    matches!(read, Ok(count) if count > 0)
}

async fn refuse<C: Stream, D: Dial>(
    plane: &Plane<D>,
    mut client: C,
    buffer: Buffer,
    reply: impl FnOnce(RequestId) -> LocalReply,
) {
    let received = buffer.filled().len();
    let head = Head {
        method: b"-",
        target: b"-",
        request_id: None,
        control_path: None,
        names_service: false,
        last_hop: None,
        body_bytes: 0,
        received,
    };
    let context = Context::begin(&plane.proxy, head, || None);
    let reply = reply(context.id);
    let bytes = reply.to_bytes(true, false);
    context.finish_locally(&reply, bytes.len());
    if let Some(Ok(())) = within(plane.limits.write_timeout, client.write_all(&bytes)).await {
        linger(client, buffer).await;
    }
}

enum Discarded {
    All(Buffer),
    TooMuch(Buffer),
    Gone,
}

/// Reads the rest of a body that nobody wants, so that the next request can be found behind it.
async fn discard<C: Stream, D: Dial>(
    plane: &Plane<D>,
    client: &mut C,
    body: &mut Body,
    mut buffer: Buffer,
) -> Discarded {
    let mut discarded = 0;
    loop {
        let Ok(taken) = body.take(buffer.filled()) else { return Discarded::TooMuch(buffer) };
        buffer.start += taken;
        discarded += taken as u64;
        if body.is_complete() {
            return Discarded::All(buffer);
        }
        if discarded > plane.limits.discard_bytes {
            return Discarded::TooMuch(buffer);
        }
        buffer.clear();
        if within(plane.limits.body_timeout, fill(&mut buffer, client)).await != Some(true) {
            return Discarded::Gone;
        }
    }
}

/// Closes so that what was sent arrives: our side first, then reads for a while.
pub(super) async fn linger<C: Stream>(mut client: C, mut buffer: Buffer) {
    if client.shutdown().await.is_err() {
        return;
    }
    let drained = async {
        let mut total = 0;
        while total < LINGER_BYTES_MAX {
            buffer.clear();
            match poll_fn(|cx| poll_fill(&mut client, &mut buffer, cx)).await {
                Ok(count) if count > 0 => total += count,
                _ => return,
            }
        }
    };
    // Time is up or bytes are: either way the answer has had its chance.
    let _ = clock::timeout(LINGER, drained).await;
}
