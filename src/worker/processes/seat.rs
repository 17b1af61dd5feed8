//! One process's place and who is there: what its supervision keeps.

use std::time::{Duration, Instant};

use tokio::task::AbortHandle;

use super::journal::Journal;
use crate::config::processes::Process;
use crate::worker::census::{LastExit, Standing};
use crate::worker::group::Group;
use crate::worker::output::Output;
use crate::worker::state::Place;

/// One process over all its lives.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) process: Process,
    pub(super) journal: Journal,
    pub(super) place: Place,
    /// Lives so far.
    pub(super) lives: u32,
    pub(super) life: Option<Life>,
    /// Whether the last words of a life are still being read: the next one begins behind them.
    pub(super) is_mourned: bool,
    pub(super) ready_after: Option<Duration>,
    pub(super) exits: u64,
    pub(super) last_exit: Option<LastExit>,
    /// Why it could not be started last, so that it is told once.
    pub(super) failure: Option<String>,
    pub(super) said_never: bool,
}

/// One life of it.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) group: Group,
    pub(super) output: Output,
    pub(super) probe: Option<AbortHandle>,
}

/// One process as others see it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub standing: Standing,
    /// Its process group, while it lives.
    pub pid: Option<i32>,
    /// When that was started.
    pub born: Option<Instant>,
    /// How long this life, or the one before, took from its start to being ready.
    pub ready_after: Option<Duration>,
    /// Lives so far, this one included.
    pub lives: u32,
    /// Ends that nobody asked for.
    pub exits: u64,
    /// The last of them.
    pub last_exit: Option<LastExit>,
}

impl Seat {
    pub(super) fn new(process: Process, journal: Journal, place: Place) -> Self {
        Self {
            process,
            journal,
            place,
            lives: 0,
            life: None,
            is_mourned: false,
            ready_after: None,
            exits: 0,
            last_exit: None,
            failure: None,
            said_never: false,
        }
    }

    pub(super) fn member(&self) -> Member {
        let group = self.life.as_ref().map(|life| &life.group);
        Member {
            name: self.process.name.clone(),
            standing: Standing::of(self.place.state()),
            pid: group.map(|group| group.pid),
            born: group.map(|group| group.born),
            ready_after: self.ready_after,
            lives: self.lives,
            exits: self.exits,
            last_exit: self.last_exit.clone(),
        }
    }
}
