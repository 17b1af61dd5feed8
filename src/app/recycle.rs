//! Workers that have served or grown enough are started again, one after the other.
//!
//! A task of its own, which follows the census and asks for restarts as a person does through the admin.

use std::collections::HashMap;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::clock;
use crate::config::Recycle;
use crate::telemetry::say;
use crate::worker::census::Members;
use crate::worker::recycle::{Due, due};
use crate::worker::restart::Restarts;
use crate::worker::usage;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(1);

/// Watches from now on to the end, on `runtime`, if there is a limit; requests in flight have `patience`.
pub(super) fn watch(
    runtime: &Runtime,
    recycle: Recycle,
    census: watch::Receiver<Members>,
    restarts: Restarts,
    patience: Duration,
) {
    if recycle != Recycle::default() {
        drop(runtime.spawn(look(recycle, census, restarts, patience)));
    }
}

async fn look(recycle: Recycle, census: watch::Receiver<Members>, restarts: Restarts, patience: Duration) {
    loop {
        clock::sleep(EVERY).await;
        let members = Members::clone(&census.borrow());
        let Some(Due { worker, pid, why }) = due(recycle, &members, memory(recycle, &members)) else {
            continue;
        };
        if restarts.ask(worker, patience).await.is_err() {
            // The instance is ending.
            return;
        }
        say::info(format_args!(
            "worker {} (pid {pid}) finishes what it has and is started again: {why}",
            worker.0
        ));
    }
}

/// What each group takes. Pages that processes share count for each at first, which is quick to read and too much; only
/// of those that are too large by that the kernel is asked to divide them.
fn memory(recycle: Recycle, members: &Members) -> impl Fn(i32) -> Option<u64> + use<> {
    let mut taken: HashMap<i32, u64> = HashMap::new();
    if let Some(limit) = recycle.memory {
        let leaders: Vec<i32> = members.iter().filter_map(|member| member.pid).collect();
        let groups = usage::of_groups(&leaders).into_iter().map(|(pid, group)| (pid, group.resident));
        taken.extend(groups.filter(|&(_, resident)| resident > limit));
        if !taken.is_empty() {
            let large: Vec<i32> = taken.keys().copied().collect();
            // What we may not look into keeps what it had at first.
            taken.extend(usage::proportional(&large));
        }
    }
    move |pid| taken.get(&pid).copied()
}
