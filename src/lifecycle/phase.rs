//! The phase of the process and its legal moves.

use tokio::sync::watch;

/// What the process is doing as a whole. It only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The port is open; requests wait for the first worker.
    Starting,
    /// A worker was ready.
    Ready,
    /// No new requests; those in flight finish.
    Draining,
    /// Nothing is left to do.
    Stopped,
}

impl Phase {
    /// The word for people and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// A move against the direction of life. The phase is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` cannot happen while {from:?}")]
pub struct IllegalMove {
    /// The phase it met.
    pub from: Phase,
    /// The event's name.
    pub event: &'static str,
}

/// The end that moves the phase; whoever must know has a receiver. Clones share it.
#[derive(Clone, Debug)]
pub struct PhaseMover(watch::Sender<Phase>);

impl PhaseMover {
    /// A process that starts.
    pub fn new() -> (Self, watch::Receiver<Phase>) {
        let (sender, receiver) = watch::channel(Phase::Starting);
        (Self(sender), receiver)
    }

    /// One more end that follows the phase.
    pub fn follow(&self) -> watch::Receiver<Phase> {
        self.0.subscribe()
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// A worker became ready. Returns whether it was the first.
    ///
    /// # Errors
    /// While draining or stopped: a late worker changes nothing.
    pub fn on_ready(&self) -> Result<bool, IllegalMove> {
        self.step("ready", Phase::Ready, |from| from <= Phase::Ready)
    }

    /// The process shall end. Returns whether it was the first to say so.
    ///
    /// # Errors
    /// Once stopped.
    pub fn on_shutdown(&self) -> Result<bool, IllegalMove> {
        self.step("shutdown", Phase::Draining, |from| from <= Phase::Draining)
    }

    /// The last request has finished or was cut. Returns whether it was the first to say so.
    ///
    /// # Errors
    /// Unless the process was draining: nothing may skip the drain.
    pub fn on_drained(&self) -> Result<bool, IllegalMove> {
        self.step("drained", Phase::Stopped, |from| from >= Phase::Draining)
    }

    fn step(
        &self,
        event: &'static str,
        to: Phase,
        is_legal: impl Fn(Phase) -> bool,
    ) -> Result<bool, IllegalMove> {
        let mut met = to;
        let moved = self.0.send_if_modified(|phase| {
            met = *phase;
            let moves = is_legal(met) && met != to;
            if moves {
                *phase = to;
            }
            moves
        });
        if is_legal(met) { Ok(moved) } else { Err(IllegalMove { from: met, event }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Event = fn(&PhaseMover) -> Result<bool, IllegalMove>;
    const EVENTS: [(&str, Event); 3] = [
        ("ready", PhaseMover::on_ready),
        ("shutdown", PhaseMover::on_shutdown),
        ("drained", PhaseMover::on_drained),
    ];

    fn at(phase: Phase) -> PhaseMover {
        let (mover, _) = PhaseMover::new();
        mover.0.send_replace(phase);
        mover
    }

    #[test]
    fn the_table_of_moves() {
        use Phase::{Draining, Ready, Starting, Stopped};
        let table = [
            (Starting, [Some(Ready), Some(Draining), None]),
            (Ready, [Some(Ready), Some(Draining), None]),
            (Draining, [None, Some(Draining), Some(Stopped)]),
            (Stopped, [None, None, Some(Stopped)]),
        ];
        for (from, expected) in table {
            for ((event, move_it), to) in EVENTS.into_iter().zip(expected) {
                let mover = at(from);
                match to {
                    Some(to) => assert_eq!(move_it(&mover), Ok(from != to), "{event} while {from:?}"),
                    None => assert_eq!(move_it(&mover), Err(IllegalMove { from, event })),
                }
                assert_eq!(mover.phase(), to.unwrap_or(from));
            }
        }
    }

    #[tokio::test]
    async fn followers_see_a_change_and_no_repetition() {
        let (mover, mut phase) = PhaseMover::new();
        assert_eq!(mover.on_ready(), Ok(true));
        assert_eq!(*phase.borrow_and_update(), Phase::Ready);
        assert_eq!(mover.on_ready(), Ok(false));
        assert!(!phase.has_changed().unwrap());
        assert_eq!(*mover.follow().borrow(), Phase::Ready);
    }
}
