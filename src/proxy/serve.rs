//! One request's walk: begin → collect → admit → relay → finish.

use std::pin::pin;

use super::Proxy;
use super::admission::{Permit, Refusal};
use super::exchange::{Cause, Collected, Exchange};
use super::hooks;
use super::in_flight::{Context, InFlight};
use super::replay::Tries;
use super::reply::LocalReply;
use crate::clock;
use crate::fc::kind::Kind;

/// One request's way through the proxy. Every return has answered the client,
/// or there is nobody left to answer.
pub async fn serve<E: Exchange>(proxy: &Proxy, exchange: &mut E) {
    if let Some(reply) = proxy.desk.health(&proxy.gate, exchange.head()) {
        return exchange.reply(Context::unreported(exchange.head()), reply).await;
    }
    let mut context = Context::begin(proxy, exchange.head());
    if let Some(head) = exchange.head().last_hop {
        let reply = LocalReply::last_hop(head, context.id);
        return exchange.reply(context, reply).await;
    }
    if let Kind::Hook(hook) = context.kind {
        return hooks::serve(proxy, exchange, context, hook).await;
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
    let mut tries = Tries::default();
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
        tries.attempts += 1;
        match exchange.relay(InFlight::new(context, permit)).await {
            Ok(()) => return,
            Err(failed) => {
                let (is_stopping, asked) = (proxy.desk.is_stopping(), proxy.gate.asked());
                let again = proxy.replays.allow(&failed, &mut tries, is_stopping, asked, clock::now());
                context = failed.in_flight.into_context();
                if !again {
                    let reply = LocalReply::failed(&failed.cause, context.id);
                    return exchange.reply(context, reply).await;
                }
                context.on_replay();
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
