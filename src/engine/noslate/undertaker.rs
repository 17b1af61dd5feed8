//! Calls that nobody needs any more, until they may be ended.
//!
//! Two things forbid to reset them at once. A plane that is cancelled while the request waits in it for a worker
//! can lose that worker's place for ever: so such a call goes on until its head is here, or until it can wait no
//! more. And a plane on a newer Node closes a connection that resets too much, good calls included: so resets
//! wait until the connection can bear them, or nobody needs it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

use super::answer::{Answer, Broken};
use super::upload::Upload;
use crate::clock;
use crate::engine::h2::inflow::Source as _;
use crate::engine::h2::links::Shared;
use crate::upstream::pool::Worker;

/// Between two looks whether a connection can bear a reset.
const LOOK: Duration = Duration::from_millis(100);
/// How long an answer without a body may take to end by itself.
const LAST_WORD: Duration = Duration::from_millis(100);

/// A call without its request.
pub(in crate::engine) struct Remains {
    pub(super) answer: Answer,
    pub(super) upload: Upload,
    pub(super) shared: Arc<Shared>,
    pub(super) state: Left,
}

/// How far a call had come.
pub(super) enum Left {
    /// It may wait for a worker, at most until then; the plane is asked nothing more meanwhile.
    Waiting { until: Instant, counted: Abandoned },
    /// Its answer has no body, so the end is near.
    Ending,
    /// Somewhere in its answer, or behind an error.
    Begun,
}

/// Counts a call that goes on though its client has left, at its plane.
#[derive(Debug)]
pub(super) struct Abandoned(Arc<Worker>);

impl Abandoned {
    pub(super) fn of(worker: &Arc<Worker>) -> Self {
        worker.abandon();
        Self(Arc::clone(worker))
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.on_abandoned_ended();
    }
}

/// Ends what comes, until nobody can send any more.
pub(super) async fn run(mut coming: UnboundedReceiver<Remains>) {
    let mut ending = JoinSet::new();
    loop {
        // Both are cancel safe.
        tokio::select! {
            remains = coming.recv() => match remains {
                Some(remains) => drop(ending.spawn_local(end(remains))),
                None => return,
            },
            Some(_) = ending.join_next() => {}
        }
    }
}

async fn end(mut remains: Remains) {
    let is_over = match &mut remains.state {
        Left::Begun => false,
        Left::Waiting { until, .. } => {
            let patience = until.saturating_duration_since(clock::now());
            let head = poll_fn(|cx| remains.answer.poll_head(cx));
            matches!(clock::timeout(patience, head).await, Some(Err(Broken::Stream(_))))
        }
        Left::Ending => {
            let ended = async {
                while let Some(Ok(_)) = poll_fn(|cx| remains.answer.poll_data(cx)).await {}
                // How it ended is nobody's concern.
                let _ = poll_fn(|cx| remains.answer.poll_trailers(cx)).await;
            };
            clock::timeout(LAST_WORD, ended).await;
            false
        }
    };
    if let Left::Waiting { counted, .. } = std::mem::replace(&mut remains.state, Left::Begun) {
        drop(counted);
    }
    if is_over || remains.has_ended() {
        return;
    }
    while remains.shared.needed.load(Ordering::Relaxed) > 0 && !remains.shared.resets.allow(clock::now()) {
        clock::sleep(LOOK).await;
    }
    // Dropped now: its stream is reset.
}

impl Remains {
    /// Whether both sides have said their last word, so that there is nothing to reset.
    pub(super) fn has_ended(&self) -> bool {
        self.answer.has_ended() && self.upload.has_ended()
    }
}
