//! Lives that are over: out of the pool at once, told when their last words are in.

use std::process::ExitStatus;
use std::time::Duration;

use super::{Done, Supervisor};
use crate::clock;
use crate::error::Problem;
use crate::upstream::pool::WorkerId;
use crate::worker::census::LastExit;
use crate::worker::diagnose::{exit, quoted};
use crate::worker::ladder::Way;
use crate::worker::report::Report;

/// How long a post-mortem waits for the last lines of a process that is gone.
const LAST_LINES: Duration = Duration::from_millis(200);

/// A life that is over, complete with its last words.
pub(super) struct Burial {
    worker: WorkerId,
    pid: i32,
    in_flight: u32,
    summary: String,
    end: End,
}

pub(super) enum End {
    Unasked { crash_loop: Option<u32>, way: Way, was_taken: bool },
    Asked { was_killed: bool },
}

impl Supervisor {
    /// Ends a life: out of the pool and due for a restart at once, its story as soon as it is complete.
    pub(super) fn bury(&mut self, number: usize, status: ExitStatus) {
        let seat = &mut self.seats[number];
        let Some(mut life) = seat.life.take() else { return };
        let was_ready = seat.place.is_ready();
        let restart = seat.place.on_exited(clock::now(), fastrand::f64());
        let exits = seat.place.exits();
        seat.past.served += life.worker.served();
        if was_ready {
            self.publish();
        }
        for path in &life.sockets {
            let _ = std::fs::remove_file(path);
        }
        let way = life.way;
        let end = match restart {
            Ok(Some(restart)) => {
                End::Unasked { crash_loop: restart.crash_loop.then_some(exits), way, was_taken: false }
            }
            Ok(None) | Err(_) => End::Asked { was_killed: life.group.was_killed() },
        };
        let (fc_port, in_flight) = (self.fc_port, life.worker.in_flight());
        self.tasks.spawn(async move {
            // A process that left the group may hold the pipe for ever.
            let _ = clock::timeout(LAST_LINES, life.output.finished()).await;
            let tail = life.output.tail();
            let summary = exit::summary(status, &tail, fc_port);
            let end = match end {
                End::Unasked { crash_loop, way, .. } if !was_ready => {
                    End::Unasked { crash_loop, way, was_taken: exit::is_about_a_taken_address(&tail) }
                }
                end => end,
            };
            Done::Buried(Burial { worker: life.worker.id, pid: life.group.pid, in_flight, summary, end })
        });
    }

    pub(super) fn on_buried(&mut self, burial: Burial, say: &impl Fn(Report)) {
        let Burial { worker, pid, in_flight, summary, end } = burial;
        match end {
            End::Asked { was_killed } => say(Report::Stopped { worker, pid, killed: was_killed }),
            End::Unasked { way, was_taken: true, .. } if self.on_taken(worker, way, say) => {}
            End::Unasked { crash_loop, .. } => {
                let past = self.seats.iter_mut().find(|seat| seat.id == worker).map(|seat| &mut seat.past);
                if let Some(past) = past {
                    past.exits += 1;
                    past.last_exit = Some(LastExit { summary: summary.clone(), at: clock::now() });
                }
                say(Report::Exited { worker, pid, summary: summary.clone(), in_flight });
                if let Some(exits) = crash_loop {
                    self.last_failure = Some(self.crash_loop_problem(worker, exits, &summary));
                    say(Report::CrashLoop { worker, exits, summary });
                    self.say_never(say);
                }
            }
        }
    }

    fn crash_loop_problem(&self, worker: WorkerId, exits: u32, summary: &str) -> Problem {
        let argv = &self.launcher.spawn().argv;
        let command: Vec<_> = argv.iter().map(|word| quoted(&word.to_string_lossy())).collect();
        Problem::new(
            format!("No worker ever became ready: worker {worker} {summary}"),
            format!("It did so {exits} times in a row."),
            format!("Run the command by hand to see why: {}", command.join(" ")),
        )
    }

    /// Whether it is known, and then said once, that no worker will ever be ready.
    pub(super) fn say_never(&mut self, say: &impl Fn(Report)) -> bool {
        let is_never = self.seats.iter().all(|seat| seat.place.is_hopeless() && !seat.place.was_ever_ready());
        if !is_never || self.stopping {
            return false;
        }
        if let (false, Some(problem)) = (self.said_never, self.last_failure.clone()) {
            self.said_never = true;
            say(Report::NeverReady { problem });
        }
        true
    }
}
