//! Restarts that somebody asks for, as they reach whoever keeps the workers.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::upstream::pool::WorkerId;

/// Asks for one worker to be ended and started again.
#[derive(Debug)]
pub struct Restart {
    /// Which.
    pub worker: WorkerId,
    /// How long it may take over the requests that it has.
    pub patience: Duration,
    /// Hears at once whether it happens.
    pub answer: oneshot::Sender<Result<(), Declined>>,
}

/// Why a restart does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    /// Nobody has that number.
    #[error("There is no such worker.")]
    Unknown,
    /// Workers that somebody else runs.
    #[error("Somebody else runs the workers: only they can restart them.")]
    NotOurs,
    /// The instance is about to end.
    #[error("The instance is ending: nobody is started again.")]
    Ending,
}

/// The end at which restarts are asked for. Nobody listens at that of [`Restarts::none`].
#[derive(Clone, Debug)]
pub struct Restarts(Option<mpsc::UnboundedSender<Restart>>);

impl Restarts {
    /// One that is listened to.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Restart>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// For workers that somebody else runs.
    pub fn none() -> Self {
        Self(None)
    }

    /// Asks, and hears whether it happens; not how it went: the census tells.
    ///
    /// # Errors
    /// Why it does not happen.
    pub async fn ask(&self, worker: WorkerId, patience: Duration) -> Result<(), Declined> {
        let Some(sender) = &self.0 else { return Err(Declined::NotOurs) };
        let (answer, heard) = oneshot::channel();
        // Whoever kept the workers has ended, and they have.
        sender.send(Restart { worker, patience, answer }).map_err(|_| Declined::Ending)?;
        heard.await.unwrap_or(Err(Declined::Ending))
    }
}
