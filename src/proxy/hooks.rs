//! The desk: where the platform's hooks and health checks are answered, without a slot.
//!
//! A hook waits for what it is about (warm workers, an end of the requests in
//! flight, written logs), asks workers if it is configured to, and then gets one
//! answer. Nothing here counts against concurrency, so all of it works while every
//! slot is taken.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Proxy;
use super::admission::Gate;
use super::exchange::{Exchange, Head};
use super::in_flight::Context;
use super::reply::LocalReply;
use crate::clock;
use crate::config::platform::{Hook as Setting, HookMode, Hooks};
use crate::config::units::period_text;
use crate::fc::kind::{Hook, path_of};
use crate::fc::verdict::{Answer, failure_status, merged};
use crate::id::RequestId;
use crate::lifecycle::phase::{Phase, PhaseMover};
use crate::lifecycle::warmth::Warmth;
use crate::upstream::pool::Worker;
use crate::worker::flush::Flusher;
use crate::worker::planes::{PlaneState, States};

/// What hooks and health checks are answered from.
#[derive(Debug)]
pub struct Desk {
    /// Who answers which hook.
    pub hooks: Hooks,
    /// The path of health checks.
    pub health_path: Option<String>,
    /// Workers there are to be.
    pub workers: usize,
    /// How far the start has come.
    pub warmth: watch::Receiver<Warmth>,
    /// How the planes are, if workers are behind those.
    pub planes: Option<watch::Receiver<States>>,
    /// Until when `/initialize` waits for that.
    pub start_deadline: Instant,
    /// What `/pre-stop` moves.
    pub phase: PhaseMover,
    /// How long it waits for requests in flight.
    pub drain_deadline: Duration,
    /// Has workers' output written.
    pub flusher: Flusher,
    /// What every worker was initialised with, if they were.
    pub initialized: watch::Sender<Option<Arc<Initialized>>>,
}

/// A `/initialize` that every worker has answered.
#[derive(Debug)]
pub struct Initialized {
    /// As it was sent to them.
    pub message: Arc<[u8]>,
    /// To whom.
    pub workers: Vec<Arc<Worker>>,
    /// How long each had for it.
    pub patience: Duration,
}

impl Desk {
    /// One that answers nothing: hooks are requests like any other.
    pub fn closed() -> Self {
        let off = Setting { mode: HookMode::Off, deadline: Duration::ZERO };
        Self {
            hooks: Hooks { initialize: off, pre_freeze: off, pre_stop: off, restart: false },
            health_path: None,
            workers: 0,
            warmth: watch::channel(Warmth::Starting).1,
            planes: None,
            start_deadline: clock::now(),
            phase: PhaseMover::new().0,
            drain_deadline: Duration::ZERO,
            flusher: Flusher::default(),
            initialized: watch::Sender::new(None),
        }
    }

    /// Who answers `hook`.
    pub fn setting(&self, hook: Hook) -> Setting {
        match hook {
            Hook::Initialize => self.hooks.initialize,
            Hook::PreFreeze => self.hooks.pre_freeze,
            Hook::PreStop => self.hooks.pre_stop,
        }
    }

    /// Whether the instance ends: a signal or `/pre-stop` said so.
    pub fn is_stopping(&self) -> bool {
        self.phase.phase() >= Phase::Draining
    }

    /// Whether the request of `head` is a health check.
    pub fn is_health_check(&self, head: Head<'_>) -> bool {
        let is_its_path = |path: &String| path_of(head.target) == path.as_bytes();
        matches!(head.method, b"GET" | b"HEAD") && self.health_path.as_ref().is_some_and(is_its_path)
    }

    /// What keeps the instance from being warm.
    fn unready(&self, gate: &Gate) -> String {
        let planes = self.planes.as_ref().map(|planes| Arc::clone(&planes.borrow()));
        let obstacles: Vec<_> =
            planes.iter().flat_map(|planes| planes.iter()).filter_map(PlaneState::obstacle).collect();
        match obstacles.is_empty() {
            true => format!("{} of {} workers are ready", gate.pool().workers().len(), self.workers),
            false => obstacles.join("; "),
        }
    }

    /// The answer to a health check.
    pub fn health(&self, gate: &Gate, id: RequestId) -> LocalReply {
        let ready = gate.pool().workers().iter().filter(|worker| !worker.is_suspect()).count();
        LocalReply::health(ready, self.workers, self.is_stopping(), id)
    }
}

/// What a hook has come to.
enum Outcome {
    Done(String),
    /// With the status that says so.
    Failed(u16, String),
    /// The platform no longer waits for it.
    Abandoned,
}

/// Answers one hook.
pub(super) async fn serve<E: Exchange>(proxy: &Proxy, exchange: &mut E, mut context: Context, hook: Hook) {
    let outcome = match hook {
        Hook::Initialize => initialize(proxy, exchange, &context).await,
        Hook::PreFreeze => pre_freeze(proxy, exchange, &context).await,
        Hook::PreStop => pre_stop(proxy, exchange, &context).await,
    };
    let (status, text) = match outcome {
        Outcome::Done(text) => (200, text),
        Outcome::Failed(status, text) => (status, text),
        Outcome::Abandoned => return,
    };
    if let (Hook::PreFreeze | Hook::PreStop, Some(outbox)) = (hook, &proxy.outbox) {
        // Behind the answer nothing runs any more, so the hook's own span leaves with the others.
        context.finish_spans(status);
        outbox.flush().await;
    }
    let reply = LocalReply::hook(hook, status, text, context.id);
    exchange.reply(context, reply).await;
}

/// 200 when the workers are warm; else 404, which the platform reports and survives.
async fn initialize<E: Exchange>(proxy: &Proxy, exchange: &mut E, context: &Context) -> Outcome {
    let mut warmth = proxy.desk.warmth.clone();
    let state = tokio::select! {
        biased;
        state = warmth.wait_for(|warmth| *warmth != Warmth::Starting) => {
            // The sender is gone only when the process ends.
            state.map_or_else(|_| Warmth::Failed("the instance is stopping".into()), |state| state.clone())
        }
        () = clock::sleep_until(proxy.desk.start_deadline) => {
            Warmth::Failed(format!(
                "{}, and start.deadline is over. The log says more; raise start.deadline if only time is missing",
                proxy.desk.unready(&proxy.gate)
            ))
        }
        () = exchange.abandoned() => return Outcome::Abandoned,
    };
    match state {
        Warmth::Failed(why) => Outcome::Failed(404, why),
        Warmth::Starting | Warmth::Warm => {
            ask_workers(proxy, exchange, context, Hook::Initialize, "the workers are warm".to_owned()).await
        }
    }
}

/// Behind the answer nothing runs any more: what workers have said is written before it leaves.
async fn pre_freeze<E: Exchange>(proxy: &Proxy, exchange: &mut E, context: &Context) -> Outcome {
    let outcome =
        ask_workers(proxy, exchange, context, Hook::PreFreeze, "ready to be frozen".to_owned()).await;
    // A worker that counts frozen time would close them at the thaw.
    exchange.forget_idle();
    // What clients have left behind goes on in the planes, whose deadlines count frozen time too.
    let limit = proxy.desk.setting(Hook::PreFreeze).deadline;
    clock::timeout(limit, proxy.gate.abandoned_ended()).await;
    proxy.desk.flusher.flush().await;
    outcome
}

/// Requests in flight finish, and those that still come are served: the platform may have sent them before it
/// decided to end the instance, and repeats no POST. Workers that exit stay away.
async fn pre_stop<E: Exchange>(proxy: &Proxy, exchange: &mut E, context: &Context) -> Outcome {
    // It may have begun already.
    let _ = proxy.desk.phase.on_shutdown();
    let limit = proxy.desk.drain_deadline;
    let text = match clock::timeout(limit, proxy.gate.emptied()).await {
        Some(()) => "no request is in flight any more".to_owned(),
        None => format!("requests are still in flight, and drain.deadline={} is over", period_text(limit)),
    };
    let outcome = ask_workers(proxy, exchange, context, Hook::PreStop, text).await;
    proxy.desk.flusher.flush().await;
    outcome
}

/// Has workers answer as well, if the hook is to.
async fn ask_workers<E: Exchange>(
    proxy: &Proxy,
    exchange: &E,
    context: &Context,
    hook: Hook,
    text: String,
) -> Outcome {
    let Setting { mode, deadline } = proxy.desk.setting(hook);
    let pool = proxy.gate.pool();
    let asked = match mode {
        HookMode::Answer | HookMode::Off => return Outcome::Done(text),
        HookMode::Forward => pool.workers().get(..1).unwrap_or_default(),
        HookMode::Fanout => pool.workers(),
    };
    exchange.forget_idle();
    let message = exchange.errand(context);
    let answers = all(asked.iter().map(|worker| ask(exchange, worker, &message, deadline))).await;
    match merged(&answers) {
        Ok(()) => {
            if hook == Hook::Initialize && mode == HookMode::Fanout {
                let (message, workers) = (message.into(), asked.to_vec());
                let initialized = Initialized { message, workers, patience: deadline };
                proxy.desk.initialized.send_replace(Some(Arc::new(initialized)));
            }
            Outcome::Done(text)
        }
        Err((answer, place)) => {
            let status = failure_status(answer, proxy.desk.hooks.restart);
            let who = place.map_or("no worker".to_owned(), |place| format!("worker {}", asked[place].id));
            Outcome::Failed(status, failure_text(&who, hook, answer))
        }
    }
}

fn failure_text(who: &str, hook: Hook, answer: Answer) -> String {
    let path = hook.path();
    let what = match answer {
        Answer::Status(status) => format!("{who} answered {path} with {status}"),
        Answer::TooLate(limit) => {
            format!("{who} did not answer {path} within hooks.{hook}_deadline={}", period_text(limit))
        }
        Answer::None => format!("{who} could not be asked for {path}"),
    };
    format!("{what}. Have it answer with 2xx, or set hooks.{hook} to answer it here")
}

async fn ask<E: Exchange>(exchange: &E, worker: &Arc<Worker>, message: &[u8], deadline: Duration) -> Answer {
    match clock::timeout(deadline, exchange.run_errand(worker, message)).await {
        Some(Ok(status)) => Answer::Status(status),
        Some(Err(_)) => Answer::None,
        None => Answer::TooLate(deadline),
    }
}

/// What all `futures` give, in their order; they run at the same time.
async fn all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut pending = false;
        for (future, output) in running.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(ready) => *output = Some(ready),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
