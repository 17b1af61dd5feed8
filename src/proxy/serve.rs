//! One request's walk: begin → collect → admit → relay → finish.

use std::pin::pin;

use super::Proxy;
use super::admission::{Permit, Refusal};
use super::exchange::{Cause, Collected, Delivery, Exchange, Failed};
use super::in_flight::{Context, InFlight};
use super::reply::LocalReply;

/// Tries of one request before the proxy gives up and says so. Each further try
/// needs proof that the one before did nothing; five means that workers die
/// faster than they can be asked.
const ATTEMPTS_MAX: u32 = 5;

/// One request's way through the proxy. Every return has answered the client,
/// or there is nobody left to answer.
pub async fn serve<E: Exchange>(proxy: &Proxy, exchange: &mut E) {
    let mut context = Context::begin(proxy, exchange.head());
    if let Some(head) = exchange.head().last_hop {
        let reply = LocalReply::last_hop(head, context.id);
        return exchange.reply(context, reply).await;
    }
    let failed = match exchange.collect().await {
        Collected::Ready => None,
        Collected::BadBody(fault) => Some(Cause::BadBody(fault)),
        Collected::TooSlow(limit) => Some(Cause::SlowBody(limit)),
        Collected::Gone => return,
    };
    if let Some(cause) = failed {
        let reply = LocalReply::failed(&cause, context.id);
        return exchange.reply(context, reply).await;
    }
    let (mut attempts, mut repeated) = (0, false);
    loop {
        let permit = match proxy.gate.try_enter() {
            Some(permit) => permit,
            None => match stand_in_line(proxy, exchange, &mut context).await {
                Admitted::Yes(permit) => permit,
                Admitted::Abandoned => return,
                Admitted::No(refusal) => {
                    let reply = LocalReply::refused(&refusal, proxy.gate.retry_after_secs(), context.id);
                    return exchange.reply(context, reply).await;
                }
            },
        };
        attempts += 1;
        match exchange.relay(InFlight::new(context, permit)).await {
            Ok(()) => return,
            Err(failed) => {
                let again = attempts < ATTEMPTS_MAX && may_repeat(&failed, repeated);
                repeated |= failed.delivery != Delivery::Nothing;
                context = failed.in_flight.into_context();
                if !again {
                    let reply = LocalReply::failed(&failed.cause, context.id);
                    return exchange.reply(context, reply).await;
                }
            }
        }
    }
}

enum Admitted<'g> {
    Yes(Permit<'g>),
    No(Refusal),
    Abandoned,
}

async fn stand_in_line<'g, E: Exchange>(
    proxy: &'g Proxy,
    exchange: &mut E,
    context: &mut Context,
) -> Admitted<'g> {
    if !proxy.gate.has_workers() {
        context.set_cold();
    }
    exchange.park();
    let entered = pin!(proxy.gate.enter(exchange.held_bytes()));
    tokio::select! {
        biased;
        entered = entered => match entered {
            Ok(permit) => Admitted::Yes(permit),
            Err(refusal) => Admitted::No(refusal),
        },
        () = exchange.abandoned() => Admitted::Abandoned,
    }
}

/// Whether a failed request may be sent again: only if it provably did nothing, or
/// if its method promises that twice is as good as once (RFC 9110 §9.2.2) and most
/// likely it was not executed: not read to its end, or sent down an idle connection
/// that may just have been closing. The second kind once only: a request that ends
/// the workers it meets must not meet them all.
fn may_repeat(failed: &Failed<'_>, repeated: bool) -> bool {
    match failed.delivery {
        Delivery::Nothing => true,
        Delivery::Unread | Delivery::ReusedConnection => failed.repeatable && !repeated,
        Delivery::Something => false,
    }
}
