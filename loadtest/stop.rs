//! Ctrl-C and TERM for measurements that block: the run ends where it stands, and reports what it has.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

static REQUESTED: AtomicBool = AtomicBool::new(false);
static DEADLINE: OnceLock<Instant> = OnceLock::new();
/// How soon a pause notices.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// From now on signals and the end of `limit` are requests to stop. A second signal ends the process at once.
///
/// # Errors
/// No thread or handler can be had.
pub(crate) fn watch(limit: Duration) -> io::Result<()> {
    let _ = DEADLINE.set(Instant::now() + limit);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            for _ in 0..2 {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if REQUESTED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    })?;
    Ok(())
}

/// Why to stop, if so.
pub(crate) fn reason() -> Option<&'static str> {
    if REQUESTED.load(Ordering::Relaxed) {
        return Some("a signal asked for the end");
    }
    DEADLINE.get().is_some_and(|deadline| Instant::now() >= *deadline).then_some("its time was up")
}

/// Whether to stop.
pub(crate) fn is_requested() -> bool {
    reason().is_some()
}

/// Lets `period` pass, or less if it shall stop.
pub(crate) fn pause(period: Duration) {
    let until = Instant::now() + period;
    while !is_requested() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        thread::sleep(left.min(LOOK_EVERY));
    }
}
