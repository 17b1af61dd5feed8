//! One place in the pool and who sits there: what the supervisor keeps of a worker.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::census::{LastExit, Member, Standing};
use super::group::Group;
use super::ladder::{Rung, Way};
use super::output::Output;
use super::state::{Place, State};
use crate::upstream::pool::{Address, Worker, WorkerId};

/// From looking at a worker to having its slot: a few instructions, and the scheduler's whim between them.
const CHOOSING: Duration = Duration::from_millis(20);

/// One place in the pool and who sits there.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) id: WorkerId,
    pub(super) place: Place,
    pub(super) incarnation: u32,
    pub(super) life: Option<Life>,
    /// Whether it was asked to be started again, and has not been yet.
    pub(super) returns: bool,
    /// What the census says beside that.
    pub(super) past: Past,
}

/// What is remembered of a place's lives.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) ready_after: Option<Duration>,
    pub(super) exits: u64,
    pub(super) last_exit: Option<LastExit>,
    pub(super) served: u64,
}

impl Seat {
    /// Whether it is to be started again and has no request any more. Whoever was just choosing it when that was
    /// said has a moment to show.
    pub(super) fn has_finished(&self, now: Instant) -> bool {
        let State::Retiring { since, .. } = self.place.state() else { return false };
        now.saturating_duration_since(since) >= CHOOSING
            && self.life.as_ref().is_none_or(|life| life.worker.in_flight() == 0)
    }

    /// Whether nothing of it is waited for: it is ready, or there is to be no worker.
    pub(super) fn is_ready_or_given_up(&self) -> bool {
        self.place.is_ready()
            || matches!(self.place.state(), State::Stopped | State::Stopping { returns: false, .. })
    }

    /// As the census shows it.
    pub(super) fn member(&self) -> Member {
        let life = self.life.as_ref();
        Member {
            id: self.id,
            standing: Standing::of(self.place.state()),
            pid: life.map(|life| life.group.pid),
            rung: life.map(|life| life.way.rung),
            born: life.map(|life| life.group.born),
            first_output: life.map(|life| life.output.first()).unwrap_or_default(),
            ready_after: self.past.ready_after,
            lives: self.incarnation,
            exits: self.past.exits,
            last_exit: self.past.last_exit.clone(),
            served_before: self.past.served,
            worker: life.map(|life| Arc::clone(&life.worker)),
        }
    }
}

/// One life of a worker.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) group: Group,
    pub(super) worker: Arc<Worker>,
    /// The way that it was told to go.
    pub(super) way: Way,
    /// Its sockets, which end with it.
    pub(super) sockets: Vec<PathBuf>,
    pub(super) output: Output,
    pub(super) probe: Option<AbortHandle>,
}

impl Life {
    /// It was met at `address`: one that listens on `$WARMFRONT_SOCKET` needs no other way.
    pub(super) fn correct_way(&mut self, address: &Address) {
        let Address::Unix(path) = address else { return };
        let is_own = match self.way.rung {
            Rung::Remap => true,
            Rung::Shim => self.sockets.first() != Some(path),
            _ => false,
        };
        if is_own {
            self.way.rung = Rung::Socket;
        }
    }
}
