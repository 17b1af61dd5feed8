//! One process group, from its start until nobody of it is left.
//!
//! What a supervisor starts leads a group of its own. Who ends without being asked
//! takes its group along; who was asked has its grace, and so have those it started.

use std::collections::HashMap;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::sys;

/// How long a killed group may still show members: zombies of a parent that left the group.
const UNBURIED: Duration = Duration::from_secs(1);

/// How often a group is looked at whose leader has stopped before the others.
pub(super) const LINGERING: Duration = Duration::from_millis(20);

/// A group, known by its leader.
#[derive(Debug)]
pub(super) struct Group {
    /// The leader's pid, which is the group's number.
    pub(super) pid: i32,
    pub(super) born: Instant,
    /// What asks it to end.
    stop_signal: i32,
    /// How the leader ended, if others of its group are still being waited for.
    leader: Option<ExitStatus>,
    killed_at: Option<Instant>,
}

impl Group {
    pub(super) fn new(pid: i32, born: Instant) -> Self {
        Self { pid, born, stop_signal: sys::TERM, leader: None, killed_at: None }
    }

    /// The same, asked to end by another signal than TERM.
    pub(super) fn asked_by(self, stop_signal: i32) -> Self {
        Self { stop_signal, ..self }
    }

    /// Asks all of it to end. One that has no members left is as good.
    pub(super) fn term(&self) {
        let _ = sys::kill_group(self.pid, self.stop_signal);
    }

    /// Ends all of it.
    pub(super) fn kill(&mut self, now: Instant) {
        self.killed_at = Some(now);
        let _ = sys::kill_group(self.pid, sys::KILL);
    }

    pub(super) fn was_killed(&self) -> bool {
        self.killed_at.is_some()
    }

    /// Its leader ended. Whether its life is over: if it was asked to end, others of it keep their grace.
    ///
    /// A script may end before the server that it started: the group's number stays
    /// taken as long as one member is left, so it can still be signalled.
    pub(super) fn on_leader_exited(&mut self, status: ExitStatus, was_asked: bool) -> bool {
        let lingers = was_asked && sys::group_exists(self.pid);
        if lingers {
            self.leader = Some(status);
        }
        !lingers
    }

    /// Whether its leader has ended and others of it have not.
    pub(super) fn lingers(&self) -> bool {
        self.leader.is_some()
    }

    /// How its leader ended, if that was waiting for the rest of the group and needs to no more.
    pub(super) fn lingers_no_more(&self, now: Instant) -> Option<ExitStatus> {
        let gave_up = self.killed_at.is_some_and(|at| now.duration_since(at) >= UNBURIED);
        self.leader.filter(|_| gave_up || !sys::group_exists(self.pid))
    }
}

/// Reaps every child that has ended; returns the known ones by the number of their seat, and how they ended.
///
/// The group of a leader that nobody asked to end is killed first.
pub(super) fn reap(
    leaders: &HashMap<i32, usize>,
    was_asked: impl Fn(usize) -> bool,
) -> Vec<(usize, ExitStatus)> {
    let reaped = sys::reap_all(|pid| {
        // Still a zombie: the number is its own, so its group can be meant and nobody else.
        // A group that was asked to stop keeps its grace.
        if leaders.get(&pid).is_some_and(|&number| !was_asked(number)) {
            let _ = sys::kill_group(pid, sys::KILL);
        }
    });
    // Unknown ones are orphans of those we know that became our children.
    reaped.into_iter().filter_map(|(pid, status)| Some((*leaders.get(&pid)?, status))).collect()
}
