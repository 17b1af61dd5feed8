//! What the service manager is told: that the workers are warm, that we drain, and how it stands between.
//!
//! A task of its own, which follows what everybody else follows; without a manager there is none.

use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::lifecycle::phase::Phase;
use crate::lifecycle::warmth::Warmth;
use crate::sys::manager::{Manager, VARIABLE};
use crate::telemetry::say;
use crate::words::many;

/// Tells it from now on to the end, on `runtime`; `count` workers are started.
pub(super) fn follow(
    runtime: &Runtime,
    count: usize,
    phases: watch::Receiver<Phase>,
    warmth: watch::Receiver<Warmth>,
) {
    match Manager::from_env() {
        Some(Ok(manager)) => drop(runtime.spawn(tell(manager, count, phases, warmth))),
        Some(Err(error)) => complain(&error),
        None => {}
    }
}

async fn tell(
    manager: Manager,
    count: usize,
    mut phases: watch::Receiver<Phase>,
    mut warmth: watch::Receiver<Warmth>,
) {
    let workers = many(count as u64, "worker");
    let mut news = format!("STATUS=Starting {workers}; requests wait for the first");
    loop {
        if let Err(error) = manager.tell(&news) {
            return complain(&error);
        }
        tokio::select! {
            Ok(_) = phases.wait_for(|phase| *phase >= Phase::Draining) => break,
            Ok(()) = warmth.changed() => {}
            else => return,
        }
        news = match &*warmth.borrow_and_update() {
            Warmth::Starting => continue,
            Warmth::Warm => format!("READY=1\nSTATUS=Serving, {workers}"),
            Warmth::Failed(why) => format!("STATUS=Not ready: {}", why.replace('\n', " ")),
        };
    }
    if let Err(error) = manager.tell("STOPPING=1\nSTATUS=Draining; requests in flight finish") {
        complain(&error);
    }
}

fn complain(error: &std::io::Error) {
    say::warn(format_args!(
        "the service manager was not told how it stands: {error}; {VARIABLE} must be a path or @name on which it listens"
    ));
}
