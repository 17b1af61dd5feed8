//! One client connection: heads in, exchanges out, until somebody has a reason to end it.
//!
//! No timeout unless configured, no request cap, no lifetime: the platform keeps its
//! connections for as long as it likes, and closing one first costs its next POST.
//! Between requests a connection holds no buffer. One that begins with HTTP/2's
//! preface goes to [`super::h2`].

use std::cell::OnceCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::buffer::Buffer;
use super::exchange::{After, Http1Exchange};
use super::h2::front;
use super::h2::preface::{self, FirstBytes};
use super::pace::within;
use super::plane::{Plane, Resting};
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

/// Serves `client`, in the protocol in which it begins, until it leaves, or until a rule of HTTP or a
/// drain ends the connection.
pub(super) async fn serve_connection<C: Stream, D: Dial>(plane: Rc<Plane<D>>, mut client: C) {
    let resting = Resting::new(&plane);
    let limits = &plane.limits;
    let first = within(limits.idle_timeout, first_bytes(&plane, &mut client, &resting)).await;
    let Some(Ok(mut buffer)) = first else { return };
    loop {
        match preface::look(buffer.filled()) {
            FirstBytes::Other => break,
            FirstBytes::Http2 => {
                let first = buffer.filled().to_vec();
                drop(buffer);
                // Boxed: connections that speak HTTP/1 need not make room for it.
                return Box::pin(front::serve(&plane, client, first, &resting)).await;
            }
            FirstBytes::Open => {
                if within(limits.head_timeout, fill(&mut buffer, &mut client)).await != Some(true) {
                    return;
                }
            }
        }
    }
    drop(resting);
    serve_http1(plane, client, Some(buffer)).await;
}

/// Serves a `client` that speaks HTTP/1 and has said `rest` so far.
pub(super) async fn serve_http1<C: Stream, D: Dial>(
    plane: Rc<Plane<D>>,
    mut client: C,
    mut rest: Option<Buffer>,
) {
    let resting = Resting::new(&plane);
    let (mut has_served, mut request) = (false, None);
    let takes_pipes = OnceCell::new();
    loop {
        match read_head(&plane, &mut client, &resting, &mut rest, &mut request).await {
            Incoming::Request => {}
            Incoming::Nothing => {
                rest = None;
                continue;
            }
            Incoming::End => return count(Count::ClientClosed),
            // What was answered before may still be on its way, and a next request too.
            Incoming::Over if has_served => return linger(client, plane.buffers.get()).await,
            Incoming::Over => return,
            Incoming::Refused(refused) => {
                let buffer = rest.take().unwrap_or_else(|| plane.buffers.get());
                return refuse(&plane, client, buffer, |id| LocalReply::malformed(&refused, id)).await;
            }
            Incoming::Slow(limit) => {
                let buffer = plane.buffers.get();
                return refuse(&plane, client, buffer, |id| LocalReply::slow_head(limit, id)).await;
            }
        }
        let (Some(request), Some(buffer)) = (&request, rest.take()) else { continue };
        let mut body = Body::new(request.framing);
        let Ok(body_len) = body.take(&buffer.filled()[request.head_len..]) else {
            let refused = Refused::Malformed("chunked body");
            return refuse(&plane, client, buffer, |id| LocalReply::malformed(&refused, id)).await;
        };
        let mut exchange =
            Http1Exchange::new(&plane, &mut client, &takes_pipes, request, buffer, &mut body, body_len);
        serve(&plane.proxy, &mut exchange).await;
        let (after, buffer) = exchange.into_rest();
        rest = match after {
            After::Abort => return,
            After::Close if !request.persistent && body.is_complete() && buffer.filled().is_empty() => {
                // The client said that nothing follows: the close cannot turn into a reset.
                let _ = client.shutdown().await;
                return;
            }
            After::Close => return linger(client, buffer).await,
            After::KeepAlive if body.is_complete() => Some(buffer),
            After::KeepAlive => match discard(&plane, &mut client, &mut body, buffer).await {
                Discarded::All(buffer) => Some(buffer),
                Discarded::Gone => return,
                Discarded::TooMuch(buffer) => return linger(client, buffer).await,
            },
        };
        rest = rest.filter(|buffer| !buffer.filled().is_empty());
        has_served = true;
    }
}

enum Incoming {
    Request,
    Refused(Refused),
    /// Empty lines only; the connection is idle.
    Nothing,
    /// The client has left.
    End,
    /// The head was not complete within this time.
    Slow(Duration),
    /// No request has begun, and none shall: the thread drains, or `limits.idle_timeout` is over.
    Over,
}

/// Reads a head behind what `buffer` holds so far. It stands at the start of `buffer` then, and what it says
/// in `request`: both are put into their places here, since every future would copy what it hands on.
async fn read_head<C: Stream, D: Dial>(
    plane: &Plane<D>,
    client: &mut C,
    resting: &Resting<'_, D>,
    buffer: &mut Option<Buffer>,
    request: &mut Option<Request>,
) -> Incoming {
    let buffer = match buffer {
        Some(buffer) => {
            buffer.compact();
            buffer
        }
        None => {
            let first = first_bytes(plane, client, resting);
            let first = match plane.limits.idle_timeout {
                None => first.await,
                Some(limit) => clock::timeout(limit, first).await.unwrap_or(Err(Incoming::Over)),
            };
            match first {
                Ok(first) => buffer.insert(first),
                Err(end) => return end,
            }
        }
    };
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
        let news = &buffer.filled()[seen..];
        if seen == 0 || news.contains(&b'\n') || buffer.filled().len() >= plane.limits.head_bytes {
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

/// Waits for the first bytes of a request, holding nothing meanwhile.
async fn first_bytes<C: Stream, D: Dial>(
    plane: &Plane<D>,
    client: &mut C,
    resting: &Resting<'_, D>,
) -> Result<Buffer, Incoming> {
    poll_fn(|cx| {
        // Bytes first: a request that is here already is served even while draining.
        if client.poll_readable(cx).is_ready() {
            let mut buffer = plane.buffers.get();
            match poll_fill(client, &mut buffer, cx) {
                Poll::Ready(Ok(count)) if count > 0 => return Poll::Ready(Ok(buffer)),
                Poll::Ready(_) => return Poll::Ready(Err(Incoming::End)),
                // The runtime calls a new socket readable before it has asked.
                Poll::Pending => {}
            }
        }
        if plane.is_draining() {
            return Poll::Ready(Err(Incoming::Over));
        }
        resting.register(cx.waker());
        Poll::Pending
    })
    .await
}

/// Reads once; false at the end.
async fn fill<C: Stream>(buffer: &mut Buffer, client: &mut C) -> bool {
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
        received,
    };
    let context = Context::begin(&plane.proxy, head);
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
async fn linger<C: Stream>(mut client: C, mut buffer: Buffer) {
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
