//! Processes beside which we are the front door: started in order, kept alive, stopped in reverse.
//!
//! They do not answer requests by our knowledge; whoever does is watched elsewhere
//! ([`super::external`]), once all of these are ready. A start waits until every
//! process before it is ready, whether it is the first or a later one: one that needs
//! another finds it. A stop begins with the last: nobody loses what it needs before
//! it has ended. The table of legal moves and the pauses are those of workers.
//!
//! ```text
//!  SIGCHLD ─▶ reap ─┐                       ┌─▶ Member (for the admin)
//!  probes ──────────┼─▶ Place (pure state) ─┼─▶ spawn · TERM · KILL
//!  mandate · timers ┘                       └─▶ Told (for people)
//! ```

mod journal;
mod seat;
mod stop;
mod told;

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use self::journal::Reopener;
pub use self::seat::Member;
pub use self::told::Told;

use self::journal::Journal;
use self::seat::{Life, Seat};
use super::Mandate;
use super::census::LastExit;
use super::diagnose::{exit, silence};
use super::flush::Flusher;
use super::group::{self, Group, LINGERING};
use super::output::Output;
use super::probe;
use super::respawn::Respawn;
use super::sink::Sink;
use super::start::{LaunchError, inherited, start};
use super::state::{Due, Place, State};
use super::supervisor::until;
use crate::clock;
use crate::config::Processes as Config;
use crate::config::processes::OnExit;
use crate::error::Problem;
use crate::sys;
use crate::upstream::pool::Address;

/// How long a post-mortem waits for the last lines of a process that is gone.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What is published: every process, in the order of the file.
pub type Members = Arc<[Member]>;

/// All of them.
///
/// Dropping it (or the future of [`Processes::run`]) kills every group at once.
#[derive(Debug)]
pub struct Processes {
    seats: Vec<Seat>,
    children: Signal,
    flusher: Flusher,
    reopener: Reopener,
    tasks: JoinSet<Done>,
    mandate: Mandate,
    ready: watch::Sender<bool>,
    members: watch::Sender<Members>,
}

/// What a task beside us came back with.
enum Done {
    Accepting { seat: usize, life: u32 },
    Buried(Burial),
}

/// A life that is over, complete with its last words.
struct Burial {
    seat: usize,
    pid: i32,
    summary: String,
    end: End,
}

enum End {
    Unasked { crash_loop: Option<u32> },
    Asked { was_killed: bool },
}

impl Processes {
    /// Opens their log files and prepares their places; [`Processes::run`] fills them.
    ///
    /// Must be called inside a tokio runtime with I/O, time and signals enabled, and
    /// this process must wait for children nowhere else.
    ///
    /// # Errors
    /// A log file cannot be written, or the system refused the signal handler or a thread.
    pub fn new(config: Config) -> Result<Self, Problem> {
        let refused = |what: &str, error: io::Error| {
            Problem::new(
                format!("The system refused {what}: {error}."),
                "Processes cannot be supervised without it.",
                "Raise the limits of this instance (processes, file descriptors).",
            )
        };
        let children = signal(SignalKind::child()).map_err(|error| refused("a signal handler", error))?;
        // Kept open by those who write to it; it writes what it has when they are gone.
        let (own, _) = Sink::standard().map_err(|error| refused("the output thread", error))?;
        let flusher = Flusher::of(&own);
        // Where it is refused (some sandboxes), orphans go to the init process, which reaps them too.
        let _ = sys::become_subreaper();
        if let Some(dir) = &config.log_dir {
            journal::make_dir(dir)?;
        }
        let reopener = Reopener::default();
        let (now, respawn) = (clock::now(), Respawn::new(config.backoff.0, config.backoff.1));
        let mut seats = Vec::new();
        for process in config.each {
            let journal = match &process.log {
                Some(path) => Journal::file(path, &reopener)?,
                None => Journal::shared(&own, &flusher),
            };
            seats.push(Seat::new(process, journal, Place::new(respawn.clone(), now)));
        }
        Ok(Self {
            seats,
            children,
            flusher,
            reopener,
            tasks: JoinSet::new(),
            mandate: Mandate::Run,
            ready: watch::Sender::new(false),
            members: watch::Sender::new(Arc::from([])),
        })
    }

    /// Waits until what they wrote to our own streams has left this process.
    pub fn flusher(&self) -> Flusher {
        self.flusher.clone()
    }

    /// Has their log files opened again.
    pub fn reopener(&self) -> Reopener {
        self.reopener.clone()
    }

    /// Whether each of them has been ready at the same time; once true it stays so.
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// Follows how they are.
    pub fn members(&self) -> watch::Receiver<Members> {
        self.members.subscribe()
    }

    /// Keeps them alive until `mandate` is to stop (or its sender is gone); then ends one after the
    /// other from the last, each by TERM and by KILL after its grace, kills what they have left
    /// behind, and returns when all were reaped and their lines written.
    ///
    /// Must run on a thread that lives as long as the process: they die with the
    /// thread that started them. Nobody need listen to `reports`.
    ///
    /// # Cancel safety
    /// Dropping it kills every group at once; see [`Processes`].
    pub async fn run(mut self, mut mandate: watch::Receiver<Mandate>, reports: UnboundedSender<Told>) {
        let say = |told| drop(reports.send(told));
        loop {
            self.do_due(&say).await;
            self.members.send_replace(self.seats.iter().map(Seat::member).collect());
            if self.is_over() {
                break;
            }
            let due = self.next_due();
            // All branches are cancel safe; whatever was not taken is there in the next round.
            tokio::select! {
                mandated = mandate.wait_for(|&mandate| mandate > self.mandate), if !self.is_stopping() => {
                    // Whoever mandated is gone: nobody wants them any more.
                    self.mandate = mandated.map_or(Mandate::Stop, |mandate| *mandate);
                }
                _ = self.children.recv() => self.reap(),
                Some(done) = self.tasks.join_next() => match done {
                    Ok(Done::Accepting { seat, life }) => self.on_accepting(seat, life, &say),
                    Ok(Done::Buried(burial)) => self.on_buried(burial, &say),
                    // A probe that was not needed any more.
                    Err(_) => {}
                },
                () = until(due) => {}
            }
        }
        let count = stop::sweep().await;
        if count > 0 {
            say(Told::Swept { count });
        }
        for seat in std::mem::take(&mut self.seats) {
            seat.journal.close().await;
        }
        self.flusher.flush().await;
    }

    fn is_stopping(&self) -> bool {
        self.mandate == Mandate::Stop
    }

    fn is_over(&self) -> bool {
        self.is_stopping()
            && self.tasks.is_empty()
            && self.seats.iter().all(|seat| seat.place.state() == State::Stopped)
    }

    fn next_due(&self) -> Option<Instant> {
        let lingers =
            self.seats.iter().filter_map(|seat| seat.life.as_ref()).any(|life| life.group.lingers());
        let lingering = lingers.then(|| clock::now() + LINGERING);
        let due =
            self.seats.iter().enumerate().filter_map(|(number, seat)| Some((number, seat.place.due()?)));
        let due = due.filter(|&(number, (_, what))| what != Due::Spawn || self.may_start(number));
        due.map(|(_, (at, _))| at).chain(lingering).min()
    }

    /// Whether a process may be started there: everybody before it is ready, its last life has had its last
    /// word, and the instance goes on.
    fn may_start(&self, number: usize) -> bool {
        self.mandate == Mandate::Run
            && !self.seats[number].is_mourned
            && self.seats[..number].iter().all(|seat| seat.place.is_ready())
    }

    /// Does whatever is due: starts, explanations, kills, the end of lingering groups, the next stop.
    async fn do_due(&mut self, say: &impl Fn(Told)) {
        for number in 0..self.seats.len() {
            let now = clock::now();
            match self.seats[number].place.due() {
                Some((at, Due::Spawn)) if at <= now && self.may_start(number) => {
                    self.start(number, say).await;
                }
                Some((at, Due::Look)) if at <= now => self.explain_silence(number, now, say),
                Some((at, Due::Kill)) if at <= now => {
                    let seat = &mut self.seats[number];
                    let _ = seat.place.on_killed();
                    if let Some(life) = &mut seat.life {
                        life.group.kill(now);
                    }
                }
                _ => {}
            }
            let life = self.seats[number].life.as_ref();
            if let Some(status) = life.and_then(|life| life.group.lingers_no_more(now)) {
                self.bury(number, status);
            }
        }
        if self.is_stopping() {
            stop::next(&mut self.seats);
        }
    }

    async fn start(&mut self, number: usize, say: &impl Fn(Told)) {
        let started = self.launch(number).await;
        let (now, seat) = (clock::now(), &mut self.seats[number]);
        let error = match started {
            Ok(life) => {
                (seat.lives, seat.life, seat.failure) = (seat.lives + 1, Some(life), None);
                let _ = seat.place.on_spawned(now, seat.process.start_deadline);
                match seat.process.ready.clone() {
                    None => self.on_accepting(number, self.seats[number].lives, say),
                    Some(path) => self.probe(number, Address::Unix(path)),
                }
                return;
            }
            Err(error) => error,
        };
        let _ = seat.place.on_spawn_failed(now, error.is_permanent, fastrand::f64());
        let text = error.problem.to_string();
        if seat.failure.as_ref() != Some(&text) {
            seat.failure = Some(text);
            if seat.place.is_hopeless() && !seat.place.was_ever_ready() {
                self.say_never(number, error.problem, say);
            } else {
                say(Told::SpawnFailed(error.problem));
            }
        }
    }

    async fn launch(&mut self, number: usize) -> Result<Life, LaunchError> {
        let seat = &self.seats[number];
        let process = &seat.process;
        let named = |mut problem: Problem| {
            problem.what = format!("Process {} cannot be started. {}", process.name, problem.what);
            problem
        };
        if let Some(path) = &process.ready {
            let refused = |problem| LaunchError { problem: named(problem), is_permanent: false };
            clear(path).await.map_err(refused)?;
        }
        let mut env = inherited(std::env::vars_os());
        env.extend(process.env.iter().map(|(name, value)| (name.into(), value.into())));
        let started = start(process.argv.clone(), env, process.cwd.as_deref(), None, sys::spawn)
            .map_err(|error| LaunchError { problem: named(error.problem), ..error })?;
        let mut group = Group::new(started.pid, clock::now());
        let (manner, journal) = (seat.journal.manner(&process.name), &seat.journal);
        match Output::start(manner, started.pipes, &journal.sink, &journal.flusher) {
            Ok(output) => Ok(Life { group, output, probe: None }),
            Err(error) => {
                group.kill(clock::now());
                let what = format!("Its output cannot be read: {error}.");
                let problem = Problem::new(what, "", "Raise the file-descriptor limit of this instance.");
                Err(LaunchError { problem: named(problem), is_permanent: false })
            }
        }
    }

    /// Waits beside us until it accepts.
    fn probe(&mut self, number: usize, address: Address) {
        let seat = &mut self.seats[number];
        let (Some(life), lives) = (&mut seat.life, seat.lives) else { return };
        let probe = self.tasks.spawn(async move {
            probe::until_accepting(&address, probe::LONGEST_SPAWNED).await;
            Done::Accepting { seat: number, life: lives }
        });
        life.probe = Some(probe);
    }

    fn on_accepting(&mut self, number: usize, lives: u32, say: &impl Fn(Told)) {
        let now = clock::now();
        let seat = &mut self.seats[number];
        let Some(life) = seat.life.as_mut().filter(|_| seat.lives == lives) else { return };
        // An answer that came too late, after the exit or the stop, is an illegal move and means nothing.
        let Ok(true) = seat.place.on_accepting(now) else { return };
        life.probe = None;
        let after = now.duration_since(life.group.born);
        seat.ready_after = Some(after);
        say(Told::Ready { name: seat.process.name.clone(), pid: life.group.pid, after });
        if !*self.ready.borrow() && self.seats.iter().all(|seat| seat.place.is_ready()) {
            self.ready.send_replace(true);
            say(Told::AllReady);
        }
    }

    fn reap(&mut self) {
        let leaders: HashMap<i32, usize> = (0..)
            .zip(&self.seats)
            .filter_map(|(number, seat)| Some((seat.life.as_ref()?.group.pid, number)))
            .collect();
        for (number, status) in group::reap(&leaders, |number| self.seats[number].place.is_stopping()) {
            self.on_exited(number, status);
        }
    }

    fn on_exited(&mut self, number: usize, status: ExitStatus) {
        let seat = &mut self.seats[number];
        let was_asked = seat.place.is_stopping();
        let Some(life) = &mut seat.life else { return };
        if let Some(probe) = life.probe.take() {
            probe.abort();
        }
        if life.group.on_leader_exited(status, was_asked) {
            self.bury(number, status);
        }
    }

    /// Ends a life: due for a restart as soon as its story is complete.
    fn bury(&mut self, number: usize, status: ExitStatus) {
        let seat = &mut self.seats[number];
        let Some(mut life) = seat.life.take() else { return };
        seat.is_mourned = true;
        let restart = seat.place.on_exited(clock::now(), fastrand::f64());
        let exits = seat.place.exits();
        if seat.process.on_exit == OnExit::Stop
            && self.mandate != Mandate::Stop
            && matches!(restart, Ok(Some(_)))
        {
            // It is the last of its lives: the instance ends with it.
            let _ = seat.place.on_stop(clock::now(), Duration::ZERO);
        }
        let end = match restart {
            Ok(Some(restart)) if self.mandate != Mandate::Stop => {
                End::Unasked { crash_loop: restart.crash_loop.then_some(exits) }
            }
            _ => End::Asked { was_killed: life.group.was_killed() },
        };
        self.tasks.spawn(async move {
            // A process that left the group may hold the pipe for ever.
            let _ = clock::timeout(LAST_LINES, life.output.finished()).await;
            let summary = exit::process_summary(status, &life.output.tail());
            Done::Buried(Burial { seat: number, pid: life.group.pid, summary, end })
        });
    }

    fn on_buried(&mut self, burial: Burial, say: &impl Fn(Told)) {
        let Burial { seat: number, pid, summary, end } = burial;
        let seat = &mut self.seats[number];
        seat.is_mourned = false;
        let name = seat.process.name.clone();
        let crash_loop = match end {
            End::Asked { was_killed } => return say(Told::Stopped { name, pid, killed: was_killed }),
            End::Unasked { crash_loop } => crash_loop,
        };
        seat.exits += 1;
        seat.last_exit = Some(LastExit { summary: summary.clone(), at: clock::now() });
        if seat.process.on_exit == OnExit::Stop {
            return say(Told::Ended { name, pid, summary });
        }
        say(Told::Exited { name: name.clone(), pid, summary: summary.clone() });
        let Some(exits) = crash_loop else { return };
        if seat.place.was_ever_ready() {
            return say(Told::CrashLoop { name, exits, summary });
        }
        let problem = Problem::new(
            format!("Process {name} never became ready: it {}.", summary.trim_end_matches('.')),
            format!("It did so {exits} times in a row."),
            format!("Run the command of process {name} by hand to see why."),
        );
        self.say_never(number, problem, say);
    }

    /// Says once that a process will not be ready by itself.
    fn say_never(&mut self, number: usize, problem: Problem, say: &impl Fn(Told)) {
        if !self.is_stopping() && !std::mem::replace(&mut self.seats[number].said_never, true) {
            say(Told::NeverReady(problem));
        }
    }

    fn explain_silence(&mut self, number: usize, now: Instant, say: &impl Fn(Told)) {
        let seat = &mut self.seats[number];
        let _ = seat.place.on_looked(now);
        let (Some(life), Some(path)) = (&seat.life, &seat.process.ready) else { return };
        let (name, after) = (&seat.process.name, now.duration_since(life.group.born));
        let found: Vec<_> =
            silence::listening(life.group.pid).iter().map(silence::Listens::to_text).collect();
        let why = match found.as_slice() {
            [] => "It runs, and listens on nothing.".to_owned(),
            found => format!("It listens on {}.", found.join(" and ")),
        };
        let problem = Problem::new(
            format!(
                "Process {name} is not ready after {} s: nobody accepts on {}.",
                after.as_secs(),
                path.display()
            ),
            why,
            "If it only needs longer, nothing is lost: what comes behind it waits. Otherwise correct `ready`, or see \
             what it writes.",
        );
        // The first look comes before the deadline, the last one at it.
        let is_late = seat.place.due().is_none();
        say(Told::NotReadyYet { problem, is_late });
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for life in self.seats.iter().filter_map(|seat| seat.life.as_ref()) {
            let _ = sys::kill_group(life.group.pid, sys::KILL);
        }
    }
}

/// Removes a socket that a killed predecessor has left: nobody listens on it, and a bind would fail.
async fn clear(path: &Path) -> Result<(), Problem> {
    let is_taken = match probe::accepts(&Address::Unix(path.to_owned())).await {
        Ok(()) => true,
        // A full backlog is somebody's.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            if std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
                let _ = std::fs::remove_file(path);
            }
            false
        }
        Err(_) => false,
    };
    if !is_taken {
        return Ok(());
    }
    Err(Problem::new(
        format!("Somebody else accepts on {} already.", path.display()),
        "It would count as ready before it has begun.",
        "End whoever listens there (`ss -xlp`), or correct `ready`.",
    ))
}

#[cfg(test)]
mod tests;
