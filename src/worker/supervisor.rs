//! The one owner of all worker processes: starts, watches, restarts and stops them.
//!
//! A single task on the control thread. Everything that can take time (probes,
//! reading pipes, post-mortems) runs beside it in tasks that it owns; everything
//! that decides is in [`super::state`]. A place in the pool knows nothing of the
//! others, so one that fails cannot disturb them.
//!
//! ```text
//!  SIGCHLD ─▶ reap ─┐                       ┌─▶ Publisher (the ready ones, on every change)
//!  probes ──────────┼─▶ Place (pure state) ─┼─▶ spawn · TERM · KILL
//!  suspicion ───────┤                       └─▶ Report (for people)
//!  mandate · timers ┘
//! ```

use std::collections::HashMap;
use std::future::pending;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::clock;
use crate::config::Spawn;
use crate::error::Problem;
use crate::sys;
use crate::upstream::pool::{Address, Publisher, Worker, WorkerId};

use super::Mandate;
use super::census::{Census, Members};
use super::diagnose::silence;
use super::entrance::{Entrance, Met};
use super::flush::Flusher;
use super::group::{self, Group, LINGERING};
use super::output::{Manner, Output};
use super::php_fpm;
use super::report::Report;
use super::respawn::Respawn;
use super::restart::{Declined, Restart, Restarts};
use super::seat::{Life, Past, Seat};
use super::sink::{Sink, Written};
use super::spawn::{Launched, Launcher};
use super::state::{Due, Place, State};

use self::ends::Burial;

/// How long the end waits for somebody to read our own output.
const FLUSH: Duration = Duration::from_secs(1);

/// All supervised workers of one pool.
///
/// Dropping it (or the future of [`Supervisor::run`]) kills every worker group
/// at once and removes the socket directory.
#[derive(Debug)]
pub struct Supervisor {
    launcher: Launcher,
    slots: u32,
    start_deadline: Duration,
    fc_port: u16,
    publisher: Publisher,
    census: (Census, watch::Receiver<Members>),
    restarts: (Restarts, UnboundedReceiver<Restart>),
    children: Signal,
    suspicion: Arc<Notify>,
    output: Option<(Sink, Written)>,
    flusher: Flusher,
    seats: Vec<Seat>,
    tasks: JoinSet<Done>,
    mandate: Mandate,
    stopping: bool,
    all_were_ready: bool,
    /// Whether it was said how workers listen.
    said_way: bool,
    said_never: bool,
    last_failure: Option<Problem>,
}

/// What a task beside the supervisor came back with.
enum Done {
    Met { seat: usize, incarnation: u32, met: Met, entrance: Entrance },
    Buried(Burial),
}

impl Supervisor {
    /// Prepares `spawn.count` places; [`Supervisor::run`] fills them.
    ///
    /// `slots` is what one worker may hold, `start_deadline` how long a start may
    /// take before it is explained (it is never cut off), `fc_port` the port that
    /// is ours. Must be called inside a tokio runtime with I/O, time and signals
    /// enabled, and this process must wait for children nowhere else.
    ///
    /// # Errors
    /// No socket directory could be made, a placeholder has no value, or the
    /// system refused the signal handler or the output thread.
    pub fn new(
        spawn: Spawn,
        slots: u32,
        start_deadline: Duration,
        fc_port: u16,
        publisher: Publisher,
    ) -> Result<Self, Problem> {
        let children = signal(SignalKind::child()).map_err(|error| refused("a signal handler", &error))?;
        let output = Sink::standard().map_err(|error| refused("the output thread", &error))?;
        // Where it is refused (some sandboxes), orphans go to the init process, which reaps them too.
        let _ = sys::become_subreaper();
        let now = clock::now();
        let respawn = Respawn::new(spawn.backoff.0, spawn.backoff.1);
        let seat = |number| Seat {
            id: WorkerId(number),
            place: Place::new(respawn.clone(), now),
            incarnation: 0,
            life: None,
            returns: false,
            past: Past::default(),
        };
        let seats = (1..).take(spawn.count).map(seat).collect();
        Ok(Self {
            launcher: Launcher::new(spawn, fc_port)?,
            slots,
            start_deadline,
            fc_port,
            publisher,
            census: Census::new(),
            restarts: Restarts::new(),
            children,
            suspicion: Arc::new(Notify::new()),
            flusher: Flusher::of(&output.0),
            output: Some(output),
            seats,
            tasks: JoinSet::new(),
            mandate: Mandate::Run,
            stopping: false,
            all_were_ready: false,
            said_way: false,
            said_never: false,
            last_failure: None,
        })
    }

    /// With what workers write on stderr, all of it.
    ///
    /// # Errors
    /// The system refused the output thread.
    pub fn with_output_to_stderr(mut self) -> Result<Self, Problem> {
        let output = Sink::to_stderr().map_err(|error| refused("the output thread", &error))?;
        self.flusher = Flusher::of(&output.0);
        self.output = Some(output);
        Ok(self)
    }

    /// Waits, for whoever asks on whatever thread, until what workers wrote has left this process.
    pub fn flusher(&self) -> Flusher {
        self.flusher.clone()
    }

    /// Follows who is who, in every place.
    pub fn census(&self) -> watch::Receiver<Members> {
        self.census.1.clone()
    }

    /// Where restarts are asked for.
    pub fn restarts(&self) -> Restarts {
        self.restarts.0.clone()
    }

    /// Keeps the workers alive until `mandate` is to stop them (or its sender is gone); then
    /// TERM to every group, KILL after the grace, and returns when all were reaped.
    ///
    /// Must run on a thread that lives as long as the process: workers die with
    /// the thread that started them. Nobody need listen to `reports`.
    ///
    /// # Cancel safety
    /// Dropping it kills every worker group at once; see [`Supervisor`].
    pub async fn run(mut self, mut mandate: watch::Receiver<Mandate>, reports: UnboundedSender<Report>) {
        let say = |report| drop(reports.send(report));
        loop {
            self.do_due(&say);
            self.census.0.publish(self.seats.iter().map(Seat::member));
            if self.is_over() {
                break;
            }
            let due = self.next_due();
            // All branches are cancel safe; whatever was not taken is there in the next round. What is wanted of all
            // workers comes before what is asked about one: whoever has heard of the end gets no restart any more.
            tokio::select! {
                biased;
                mandated = mandate.wait_for(|&mandate| mandate > self.mandate), if !self.stopping => {
                    // Whoever mandated is gone: nobody wants the workers any more.
                    self.mandate = mandated.map_or(Mandate::Stop, |mandate| *mandate);
                    if self.mandate == Mandate::Stop {
                        self.begin_stop();
                    }
                }
                // We hold a sender ourselves, so this never ends.
                Some(restart) = self.restarts.1.recv() => {
                    let _ = restart.answer.send(self.restart(restart.worker, restart.patience));
                }
                _ = self.children.recv() => self.reap(),
                () = self.suspicion.notified() => self.look_for_suspects(&say),
                Some(done) = self.tasks.join_next() => match done {
                    Ok(Done::Met { seat, incarnation, met, entrance }) => {
                        if self.seats[seat].incarnation == incarnation {
                            match met {
                                Met::Accepting(address) => self.on_accepting(seat, address, &say),
                                Met::Elsewhere(at) => self.on_elsewhere(seat, at, entrance, &say),
                            }
                        }
                    }
                    Ok(Done::Buried(burial)) => self.on_buried(burial, &say),
                    // A probe that was not needed any more.
                    Err(_) => {}
                },
                () = until(due) => {}
            }
        }
        if let Some((sink, written)) = self.output.take() {
            drop(sink);
            let _ = clock::timeout(FLUSH, written).await;
        }
    }

    fn is_over(&self) -> bool {
        self.stopping && self.tasks.is_empty() && self.seats.iter().all(|seat| seat.life.is_none())
    }

    fn next_due(&self) -> Option<Instant> {
        let is_looked_at = |seat: &Seat| {
            matches!(seat.place.state(), State::Retiring { .. })
                || seat.life.as_ref().is_some_and(|life| life.group.lingers())
        };
        let lingers = self.seats.iter().any(is_looked_at);
        let lingering = lingers.then(|| clock::now() + LINGERING);
        let due = self.seats.iter().filter_map(|seat| Some((seat, seat.place.due()?)));
        let due = due.filter(|(seat, (_, what))| *what != Due::Spawn || self.may_start(seat));
        due.map(|(_, (at, _))| at).chain(lingering).min()
    }

    /// Whether a process may be started there. One that was to be started again, before it was known that the
    /// instance ends, is: requests may wait for just this.
    fn may_start(&self, seat: &Seat) -> bool {
        match self.mandate {
            Mandate::Run => true,
            Mandate::Rest => seat.returns,
            Mandate::Stop => false,
        }
    }

    /// Does whatever is due: starts, explanations, kills, the end of lingering groups.
    fn do_due(&mut self, say: &impl Fn(Report)) {
        let now = clock::now();
        let mut failures = Vec::new();
        for seat in 0..self.seats.len() {
            match self.seats[seat].place.due() {
                Some((at, Due::Spawn)) if at <= now && self.may_start(&self.seats[seat]) => {
                    failures.extend(self.spawn(seat, now).err())
                }
                Some((at, Due::Look)) if at <= now => self.explain_silence(seat, now, say),
                Some((at, Due::Retire)) if at <= now || self.seats[seat].has_finished(now) => {
                    self.retire(seat, now)
                }
                Some((at, Due::Kill)) if at <= now => self.kill(seat),
                _ => {}
            }
            if let Some(leader) =
                self.seats[seat].life.as_ref().and_then(|life| life.group.lingers_no_more(now))
            {
                self.bury(seat, leader);
            }
        }
        if failures.is_empty() {
            return;
        }
        let before = self.last_failure.clone();
        self.last_failure = failures.last().cloned();
        if !self.say_never(say) {
            failures.dedup();
            for problem in failures.into_iter().filter(|problem| Some(problem) != before.as_ref()) {
                say(Report::SpawnFailed(problem));
            }
        }
    }

    fn spawn(&mut self, number: usize, now: Instant) -> Result<(), Problem> {
        let taken: Vec<_> = self
            .seats
            .iter()
            .filter_map(|seat| match seat.life.as_ref()?.worker.address {
                Address::Tcp(address) => Some(address),
                Address::Unix(_) => None,
            })
            .collect();
        let seat = &mut self.seats[number];
        let incarnation = seat.incarnation + 1;
        let Launched { pid, way, entrance, pipes } = match self.launcher.launch(seat.id, incarnation, &taken)
        {
            Ok(launched) => launched,
            Err(error) => {
                let _ = seat.place.on_spawn_failed(now, error.is_permanent, fastrand::f64());
                return Err(error.problem);
            }
        };
        seat.incarnation = incarnation;
        seat.returns = false;
        let (sink, _) = self.output.as_ref().expect("invariant: the sink lives until the end of run");
        let spawn = self.launcher.spawn();
        let is_repeated = php_fpm::repetition(spawn);
        let manner = Manner::Worker { id: seat.id, stamped: spawn.stamp, is_repeated };
        let output = match Output::start(manner, pipes, sink, &self.flusher) {
            Ok(output) => output,
            Err(error) => {
                let _ = sys::kill_group(pid, sys::KILL);
                let _ = seat.place.on_spawn_failed(now, false, fastrand::f64());
                let what = format!("The output of worker {} cannot be read: {error}.", seat.id);
                return Err(Problem::new(what, "", "Raise the file-descriptor limit of this instance."));
            }
        };
        let suspicion = self.suspicion.clone();
        let worker =
            Worker::with_roster(seat.id, entrance.name().clone(), self.slots, suspicion, output.roster());
        worker.set_voice(sink.voice());
        let _ = seat.place.on_spawned(now, self.start_deadline);
        let group = Group::new(pid, now).asked_by(php_fpm::stop_signal(self.launcher.spawn()));
        let sockets = entrance.sockets();
        seat.life = Some(Life { group, worker, way, sockets, output, probe: None });
        self.probe(number, entrance, self.launcher.ladder.may_step());
        Ok(())
    }

    /// Waits beside us until the worker is met; if it `looks`, elsewhere too.
    fn probe(&mut self, seat: usize, entrance: Entrance, looks: bool) {
        let incarnation = self.seats[seat].incarnation;
        let Some(life) = &mut self.seats[seat].life else { return };
        let group = life.group.pid;
        let probe = self.tasks.spawn(async move {
            let met = entrance.met(group, looks).await;
            Done::Met { seat, incarnation, met, entrance }
        });
        life.probe = Some(probe);
    }

    fn on_accepting(&mut self, number: usize, address: Address, say: &impl Fn(Report)) {
        let now = clock::now();
        let seat = &mut self.seats[number];
        let Some(life) = seat.life.as_mut() else { return };
        let before = seat.place.state();
        // An answer that came too late, after the exit or the stop, is an illegal move and means nothing.
        let Ok(true) = seat.place.on_accepting(now) else { return };
        life.probe = None;
        self.launcher.ladder.prove(life.way);
        life.correct_way(&address);
        if life.worker.address != address {
            // Nobody has seen it yet.
            let suspicion = self.suspicion.clone();
            life.worker = Worker::with_roster(seat.id, address, self.slots, suspicion, life.output.roster());
        }
        life.worker.clear_suspicion();
        let (worker, pid, address) = (seat.id, life.group.pid, life.worker.address.clone());
        let born = life.group.born;
        if let State::Starting { .. } = before {
            seat.past.ready_after = Some(now.duration_since(born));
        }
        self.last_failure = None;
        self.publish();
        say(match before {
            State::Suspect { since, .. } => {
                Report::Back { worker, address, after: now.duration_since(since) }
            }
            _ => Report::Ready { worker, pid: Some(pid), after: now.duration_since(born) },
        });
        self.say_way(number, say);
        if !self.all_were_ready && self.seats.iter().all(Seat::is_ready_or_given_up) {
            self.all_were_ready = true;
            say(Report::AllReady);
        }
    }

    fn look_for_suspects(&mut self, say: &impl Fn(Report)) {
        let now = clock::now();
        for number in 0..self.seats.len() {
            let seat = &mut self.seats[number];
            let Some(life) = seat.life.as_ref().filter(|life| life.worker.is_suspect()) else { continue };
            let address = life.worker.address.clone();
            let report = Report::Gone { worker: seat.id, address: address.clone() };
            if let Ok(true) = seat.place.on_suspected(now) {
                self.publish();
                self.probe(number, Entrance::at(address), false);
                say(report);
            }
        }
    }

    fn publish(&self) {
        let ready = self.seats.iter().filter(|seat| seat.place.is_ready());
        self.publisher
            .publish(ready.filter_map(|seat| seat.life.as_ref()).map(|life| life.worker.clone()).collect());
    }

    fn reap(&mut self) {
        let leaders: HashMap<i32, usize> = (0..)
            .zip(&self.seats)
            .filter_map(|(number, seat)| Some((seat.life.as_ref()?.group.pid, number)))
            .collect();
        let was_asked = |number: usize| self.stopping || self.seats[number].place.is_stopping();
        for (number, status) in group::reap(&leaders, was_asked) {
            self.on_exited(number, status);
        }
    }

    fn on_exited(&mut self, number: usize, status: ExitStatus) {
        let seat = &mut self.seats[number];
        let Some(life) = &mut seat.life else { return };
        if let Some(probe) = life.probe.take() {
            probe.abort();
        }
        let was_asked = self.stopping || seat.place.is_stopping();
        if life.group.on_leader_exited(status, was_asked) {
            self.bury(number, status);
        }
    }

    fn explain_silence(&mut self, number: usize, now: Instant, say: &impl Fn(Report)) {
        let seat = &mut self.seats[number];
        let _ = seat.place.on_looked(now);
        if let Some(life) = &seat.life {
            let after = now.duration_since(life.group.born);
            let told = silence::Told { address: &life.worker.address, way: life.way };
            let problem = silence::explain(seat.id, life.group.pid, told, self.fc_port, after);
            say(Report::NotReadyYet { worker: seat.id, problem });
        }
    }

    fn begin_stop(&mut self) {
        self.stopping = true;
        let (now, grace) = (clock::now(), self.launcher.spawn().grace);
        for seat in &mut self.seats {
            if let (true, Some(life)) = (seat.place.on_stop(now, grace), &mut seat.life) {
                if let Some(probe) = life.probe.take() {
                    probe.abort();
                }
                life.group.term();
            }
        }
        self.publish();
    }

    /// Begins a restart: no more requests for it from now on.
    fn restart(&mut self, worker: WorkerId, patience: Duration) -> Result<(), Declined> {
        if self.stopping || self.mandate != Mandate::Run {
            return Err(Declined::Ending);
        }
        let seat = self.seats.iter_mut().find(|seat| seat.id == worker).ok_or(Declined::Unknown)?;
        if seat.place.on_restart(clock::now(), patience).map_err(|_| Declined::Ending)? {
            seat.returns = true;
            if let Some(life) = &mut seat.life {
                // Seen by the data plane before a pool without it is.
                life.worker.suspect();
                if let Some(probe) = life.probe.take() {
                    probe.abort();
                }
            }
            self.publish();
        }
        Ok(())
    }

    /// Asks one to end that has finished its requests, or has had the time for it.
    fn retire(&mut self, number: usize, now: Instant) {
        let seat = &mut self.seats[number];
        let _ = seat.place.on_retired(now, self.launcher.spawn().grace);
        if let Some(life) = &seat.life {
            life.group.term();
        }
    }

    fn kill(&mut self, number: usize) {
        let seat = &mut self.seats[number];
        let _ = seat.place.on_killed();
        if let Some(life) = &mut seat.life {
            life.group.kill(clock::now());
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for life in self.seats.iter().filter_map(|seat| seat.life.as_ref()) {
            let _ = sys::kill_group(life.group.pid, sys::KILL);
        }
    }
}

fn refused(what: &str, error: &std::io::Error) -> Problem {
    Problem::new(
        format!("The system refused {what}: {error}."),
        "Workers cannot be supervised without it.",
        "Raise the limits of this instance (processes, file descriptors).",
    )
}

/// Waits until something is due; for ever if nothing is.
pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => clock::sleep_until(due).await,
        None => pending().await,
    }
}

mod ends;
mod ways;
