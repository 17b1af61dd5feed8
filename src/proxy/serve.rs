//! One request's walk: begin → collect → admit → relay → finish.

use std::pin::pin;
use std::time::{Duration, Instant};

use super::Proxy;
use super::admission::{Permit, Refusal};
use super::exchange::{Cause, Collected, Exchange};
use super::hooks;
use super::in_flight::{Context, InFlight};
use super::line::Wish;
use super::replay::Tries;
use super::reply::LocalReply;
use crate::clock;
use crate::fc::kind::Kind;
use crate::noslate::fault::{FaultKind, PlaneFault};
use crate::telemetry::tally::{self, Timed};
use crate::upstream::affinity::Session;

/// One request's way through the proxy. Every return has answered the client,
/// or there is nobody left to answer.
pub async fn serve<E: Exchange>(proxy: &Proxy, exchange: &mut E) {
    let head = exchange.head();
    if proxy.desk.is_health_check(head) {
        let context = Context::unreported(head);
        let reply = proxy.desk.health(&proxy.gate, context.id);
        return exchange.reply(context, reply).await;
    }
    let mut context = Context::begin(proxy, head, || Some(exchange.caller()));
    if let Some(whole) = head.last_hop {
        let reply = LocalReply::last_hop(whole, context.id);
        return exchange.reply(context, reply).await;
    }
    if let Kind::Hook(hook) = context.kind {
        // Boxed: all other requests need not make room for it.
        return Box::pin(hooks::serve(proxy, exchange, context, hook)).await;
    }
    if let Some(limit) = proxy.body_bytes.filter(|&limit| head.body_bytes > limit) {
        let reply = LocalReply::failed(&Cause::LargeBody(limit), context.id);
        return exchange.reply(context, reply).await;
    }
    if let Some(noslate) = &proxy.noslate {
        match exchange.function(noslate) {
            Some(chosen) => context.set_function(proxy.functions.as_ref(), chosen.target.name()),
            None => {
                let reply = LocalReply::failed(&PlaneFault::new(FaultKind::NoTarget).into(), context.id);
                return exchange.reply(context, reply).await;
            }
        }
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
    let session = proxy.affinity.as_ref().and_then(|affinity| exchange.session(affinity));
    let mut tries = Tries::default();
    loop {
        let admitted = match session {
            // Boxed: requests without a session need not make room for it.
            Some(session) => Box::pin(enter_with(proxy, exchange, &mut context, session)).await,
            None => match proxy.gate.try_enter() {
                Some(permit) => Admitted::Yes(permit),
                None => stand_in_line(proxy, exchange, &mut context, None, clock::now()).await,
            },
        };
        let permit = match admitted {
            Admitted::Yes(permit) => permit,
            Admitted::Abandoned => return,
            Admitted::No(refusal) => {
                let reply = LocalReply::refused(&refusal, proxy.gate.retry_after_secs(), context.id);
                return exchange.reply(context, reply).await;
            }
        };
        tries.attempts += 1;
        let mut in_flight = InFlight::new(&mut context, permit);
        match exchange.relay(&mut in_flight).await {
            Ok(()) => return,
            Err(failed) => {
                let (is_stopping, asked) = (proxy.desk.is_stopping(), proxy.gate.asked());
                let worker = in_flight.worker();
                let again =
                    proxy.replays.allow(&failed, worker, &mut tries, is_stopping, asked, clock::now());
                drop(in_flight);
                if !again {
                    let reply = LocalReply::failed(&failed.cause, context.id);
                    return exchange.reply(context, reply).await;
                }
                context.on_replay();
                if let Some(pause) = failed.pause(tries.attempts) {
                    exchange.park();
                    // Boxed: hardly any request needs room for it.
                    if !Box::pin(waits(exchange, pause)).await {
                        return;
                    }
                }
            }
        }
    }
}

/// Whether the client is still there behind a pause.
async fn waits<E: Exchange>(exchange: &mut E, pause: Duration) -> bool {
    tokio::select! {
        () = clock::sleep(pause) => true,
        () = exchange.abandoned() => false,
    }
}

enum Admitted<'g> {
    Yes(Permit<'g>),
    No(Refusal),
    Abandoned,
}

/// A slot of the worker that serves `session`; of any if none does, which then becomes the one that does.
async fn enter_with<'g, E: Exchange>(
    proxy: &'g Proxy,
    exchange: &mut E,
    context: &mut Context,
    session: Session<'_>,
) -> Admitted<'g> {
    let (gate, mut since, mut wish) = (&proxy.gate, None, session.worker());
    loop {
        let permit = match gate.try_enter_for(wish.as_ref()) {
            Some(permit) => permit,
            None => {
                let since = *since.get_or_insert_with(clock::now);
                match stand_in_line(proxy, exchange, context, wish.as_ref(), since).await {
                    Admitted::Yes(permit) => permit,
                    otherwise => return otherwise,
                }
            }
        };
        // Another request of the session may have been admitted elsewhere meanwhile. Ends because that one
        // lives: whoever is told so twice has seen another worker die.
        wish = session.settle(permit.worker(), |worker| gate.serves(worker));
        if wish.is_none() {
            return Admitted::Yes(permit);
        }
    }
}

async fn stand_in_line<'g, E: Exchange>(
    proxy: &'g Proxy,
    exchange: &mut E,
    context: &mut Context,
    wish: Wish<'_>,
    since: Instant,
) -> Admitted<'g> {
    if !proxy.gate.has_workers() {
        context.set_cold();
    }
    exchange.park();
    let queued = clock::now();
    context.on_queued(queued);
    let entered = pin!(proxy.gate.enter_for(wish, exchange.held_bytes(), since));
    let admitted = tokio::select! {
        biased;
        entered = entered => match entered {
            Ok(permit) => {
                // It may have waited through a freeze, behind which no idle connection is to be trusted.
                clock::look();
                Admitted::Yes(permit)
            }
            Err(refusal) => Admitted::No(refusal),
        },
        () = exchange.abandoned() => Admitted::Abandoned,
    };
    tally::time(Timed::Queue, clock::now().saturating_duration_since(queued));
    context.set_queued(false);
    admitted
}
