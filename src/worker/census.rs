//! Who is who among the workers, told to whoever wants to know.
//!
//! The pool holds the ready ones, for the data plane. The census holds every place, whatever stands there:
//! it is for people and for metrics. Whoever keeps the workers publishes it after each change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::ladder::Rung;
use super::output::FirstOutput;
use super::state::State;
use crate::upstream::pool::{Worker, WorkerId};

/// Where a worker is in its life, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing runs; it is started again after a pause.
    Backoff,
    /// It has not accepted a connection yet.
    Starting,
    /// It gets requests.
    Ready,
    /// A connect to it failed; it gets none until one succeeds.
    Suspect,
    /// It is to be started again: it finishes the requests that it has, and gets no more.
    Retiring,
    /// It was asked to end.
    Stopping,
    /// It has ended because it was asked to.
    Stopped,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Backoff,
        Self::Starting,
        Self::Ready,
        Self::Suspect,
        Self::Retiring,
        Self::Stopping,
        Self::Stopped,
    ];

    /// That of a place in this state.
    pub fn of(state: State) -> Self {
        match state {
            State::Backoff { .. } => Self::Backoff,
            State::Starting { .. } => Self::Starting,
            State::Ready { .. } => Self::Ready,
            State::Suspect { .. } => Self::Suspect,
            State::Retiring { .. } => Self::Retiring,
            State::Stopping { .. } => Self::Stopping,
            State::Stopped => Self::Stopped,
        }
    }

    /// The word for people and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Suspect => "suspect",
            Self::Retiring => "retiring",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// One place in the pool.
#[derive(Clone, Debug)]
pub struct Member {
    /// Which.
    pub id: WorkerId,
    /// Where it is in its life.
    pub standing: Standing,
    /// Its process group, if we started it and it lives.
    pub pid: Option<i32>,
    /// In which way that was told to listen.
    pub rung: Option<Rung>,
    /// When that was started.
    pub born: Option<Instant>,
    /// When that first wrote anything, if it has.
    pub first_output: FirstOutput,
    /// How long this life, or the one before, took from its start to the first accepted connection.
    pub ready_after: Option<Duration>,
    /// Lives so far, this one included.
    pub lives: u32,
    /// Ends that nobody asked for.
    pub exits: u64,
    /// The last of them.
    pub last_exit: Option<LastExit>,
    /// Requests that earlier lives were given back from.
    pub served_before: u64,
    /// This life as the data plane sees it.
    pub worker: Option<Arc<Worker>>,
}

/// The last end that nobody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastExit {
    /// How it ended and the last it wrote, one line.
    pub summary: String,
    /// When.
    pub at: Instant,
}

impl Member {
    /// A place where nothing has happened yet.
    pub fn new(id: WorkerId) -> Self {
        Self {
            id,
            standing: Standing::Backoff,
            pid: None,
            rung: None,
            born: None,
            first_output: FirstOutput::default(),
            ready_after: None,
            lives: 0,
            exits: 0,
            last_exit: None,
            served_before: 0,
            worker: None,
        }
    }

    /// Requests it holds now.
    pub fn in_flight(&self) -> u32 {
        self.worker.as_ref().map_or(0, |worker| worker.in_flight())
    }

    /// Requests it was given back from, in all its lives.
    pub fn served(&self) -> u64 {
        self.served_before + self.worker.as_ref().map_or(0, |worker| worker.served())
    }
}

/// What is published: every place, in order.
pub type Members = Arc<[Member]>;

/// The end at which it is published.
#[derive(Debug)]
pub struct Census(watch::Sender<Members>);

impl Census {
    /// Of no places yet, and the end that follows it.
    pub fn new() -> (Self, watch::Receiver<Members>) {
        let (sender, receiver) = watch::channel(Arc::from([]));
        (Self(sender), receiver)
    }

    /// Replaces what was published.
    pub fn publish(&self, members: impl Iterator<Item = Member>) {
        self.0.send_replace(members.collect());
    }
}
