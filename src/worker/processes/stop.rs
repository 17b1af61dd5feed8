//! The end of processes: the last first, and nobody left behind.

use std::collections::HashSet;
use std::time::Duration;

use super::seat::Seat;
use crate::clock;
use crate::sys;
use crate::worker::diagnose::kin;
use crate::worker::state::State;

/// How long what is left behind may take to be gone once it was killed.
const GONE: Duration = Duration::from_secs(1);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(5);

/// Asks the last one that has not ended to end, unless that was done; one where nothing runs has ended.
pub(super) fn next(seats: &mut [Seat]) {
    for seat in seats.iter_mut().rev() {
        if seat.place.state() == State::Stopped {
            continue;
        }
        if let (true, Some(life)) = (seat.place.on_stop(clock::now(), seat.process.grace), &mut seat.life) {
            if let Some(probe) = life.probe.take() {
                probe.abort();
            }
            life.group.term();
        }
        if seat.place.state() != State::Stopped {
            return;
        }
    }
}

/// Kills whoever they have left behind and is our child now; returns how many those were.
///
/// A process may start others that leave its group (turf does so with function workers). When it is
/// gone they become our children, since we are their subreaper, and so do theirs when they are gone.
pub(super) async fn sweep() -> usize {
    let mut seen = HashSet::new();
    let all = async {
        loop {
            sys::reap_all(|_| {});
            let left = kin::children();
            if left.is_empty() {
                return;
            }
            for pid in left {
                let _ = sys::signal(pid, sys::KILL);
                seen.insert(pid);
            }
            clock::sleep(LOOK).await;
        }
    };
    let _ = clock::timeout(GONE, all).await;
    seen.len()
}
