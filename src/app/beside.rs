//! Processes beside which we are the front door, as the control plane runs them.
//!
//! Most instances have none: every function here then does nothing, or waits for ever.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::sync::watch;

use crate::config::Processes as Config;
use crate::error::Problem;
use crate::telemetry::say;
use crate::worker::Mandate;
use crate::worker::flush::Flusher;
use crate::worker::processes::{Members, Processes, Reopener, Told};

/// All of them, running.
pub(super) struct Beside {
    /// `None` once all have ended.
    running: Option<Pin<Box<dyn Future<Output = ()>>>>,
    told: UnboundedReceiver<Told>,
    mandate: watch::Sender<Mandate>,
    ready: watch::Receiver<bool>,
    members: watch::Receiver<Members>,
    flusher: Flusher,
    reopener: Reopener,
}

impl Beside {
    /// Prepares them; they start when they are waited for.
    pub(super) fn start(config: Config) -> Result<Option<Self>, Problem> {
        if config.each.is_empty() {
            return Ok(None);
        }
        let processes = Processes::new(config)?;
        let (reporter, told) = mpsc::unbounded_channel();
        let (mandate, mandated) = watch::channel(Mandate::Run);
        let (ready, members) = (processes.ready(), processes.members());
        let (flusher, reopener) = (processes.flusher(), processes.reopener());
        let running: Pin<Box<dyn Future<Output = ()>>> = Box::pin(processes.run(mandated, reporter));
        Ok(Some(Self { running: Some(running), told, mandate, ready, members, flusher, reopener }))
    }

    /// What happens next; `None` when all have ended and everything was told.
    async fn next(&mut self) -> Option<Told> {
        if let Some(running) = &mut self.running {
            tokio::select! {
                biased;
                Some(told) = self.told.recv() => return Some(told),
                () = running => {}
            }
            self.running = None;
        }
        self.told.try_recv().ok()
    }
}

/// Runs `then` once all of them are ready, unless `mandated` is to stop before.
pub(super) fn after(
    beside: &Option<Beside>,
    mut mandated: watch::Receiver<Mandate>,
    then: impl Future<Output = ()> + 'static,
) -> Pin<Box<dyn Future<Output = ()>>> {
    let Some(mut ready) = beside.as_ref().map(|beside| beside.ready.clone()) else { return Box::pin(then) };
    Box::pin(async move {
        let is_ready = tokio::select! {
            // The sender is gone only when the instance ends.
            ready = ready.wait_for(|ready| *ready) => ready.is_ok(),
            _ = mandated.wait_for(|mandate| *mandate == Mandate::Stop) => false,
        };
        if is_ready {
            then.await;
        } else {
            let _ = mandated.wait_for(|mandate| *mandate == Mandate::Stop).await;
        }
    })
}

/// What happens to them next; `None` when all have ended and everything was told, or if there are none.
pub(super) async fn last(beside: &mut Option<Beside>) -> Option<Told> {
    beside.as_mut()?.next().await
}

/// What happens to them next; never if there are none, or none any more.
pub(super) async fn told(beside: &mut Option<Beside>) -> Told {
    match last(beside).await {
        Some(told) => told,
        None => pending().await,
    }
}

/// Tells them what is wanted now.
pub(super) fn mandate(beside: &Option<Beside>, mandate: Mandate) {
    if let Some(beside) = beside {
        beside.mandate.send_replace(mandate);
    }
}

/// Waits until what they wrote to our own streams has left this process.
pub(super) fn flusher(beside: &Option<Beside>) -> Flusher {
    beside.as_ref().map(|beside| beside.flusher.clone()).unwrap_or_default()
}

/// Follows how they are.
pub(super) fn members(beside: &Option<Beside>) -> watch::Receiver<Members> {
    beside.as_ref().map_or_else(|| watch::channel(Arc::from([])).1, |beside| beside.members.clone())
}

/// SIGHUP: somebody may have moved their log files away.
pub(super) fn reopen_logs(beside: &Option<Beside>) {
    let not_built = "reading the configuration again is not built yet";
    match beside {
        Some(beside) => {
            beside.reopener.reopen();
            say::info(format_args!("SIGHUP: log files of processes are opened again; {not_built}"));
        }
        None => say::info(format_args!("SIGHUP: {not_built}; nothing changed")),
    }
}

/// Why the instance will not be warm by itself, if that follows.
pub(super) fn hindrance(told: &Told) -> Option<String> {
    match told {
        Told::NeverReady(problem) | Told::NotReadyYet { problem, is_late: true } => {
            Some(problem.what.clone())
        }
        Told::CrashLoop { .. } | Told::Ended { .. } => Some(told.to_string()),
        _ => None,
    }
}

/// One line, or a problem's few.
pub(super) fn say(told: &Told) {
    match told {
        Told::Ready { .. } | Told::AllReady | Told::Stopped { .. } => say::info(told),
        Told::Exited { .. } | Told::NotReadyYet { .. } | Told::Swept { .. } => say::warn(told),
        Told::Ended { .. } | Told::CrashLoop { .. } | Told::SpawnFailed(_) | Told::NeverReady(_) => {
            say::error(told);
        }
    }
}
