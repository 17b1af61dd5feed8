//! The composition root: builds the rooms bottom-up, runs them, drains them.
//!
//! The calling thread becomes the control plane: supervision, signals, reports.
//! The port is bound before anything else, so the platform's first connect
//! succeeds while workers still start.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::admin;
use crate::clock::{self, Freezes};
use crate::config::load::Loaded;
use crate::config::show;
use crate::config::units::period_text;
use crate::config::{Readiness, Recycle, WorkerSource, Workers};
use crate::engine;
use crate::engine::data_plane::{DataPlane, Manners, Order};
use crate::error::Problem;
use crate::exit::ExitCode;
use crate::lifecycle::phase::{Phase, PhaseMover};
use crate::lifecycle::signal::{Request, Signals};
use crate::lifecycle::warmth::Warmth;
use crate::listener;
use crate::newcomers::Newcomers;
use crate::noslate::profiles::Profiles;
use crate::otlp::Sending;
use crate::proxy::Proxy;
use crate::proxy::admission::{Gate, Refusal};
use crate::proxy::hooks::Desk;
use crate::proxy::replay::Replays;
use crate::sys;
use crate::telemetry::say;
use crate::telemetry::stdout;
use crate::telemetry::tally::{self, Count};
use crate::upstream::affinity::Affinity;
use crate::upstream::functions::Functions;
use crate::upstream::pool::{Pool, Publisher};
use crate::worker::Mandate;
use crate::worker::external::External;
use crate::worker::planes::Planes;
use crate::worker::planes::files::Prepared;
use crate::worker::processes::Told;
use crate::worker::report::Report;
use crate::worker::restart::Restarts;
use crate::worker::supervisor::Supervisor;

use self::beside::Beside;
use self::said::{Hints, intention};

/// How long a worker may take over the news of a thaw.
const NEWS_PATIENCE: Duration = Duration::from_secs(10);

/// How long requests that wait may take their last answer when no worker will ever come.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Runs warmfront until a signal or a hopeless start ends it.
pub fn run(prepared: Prepared) -> ExitCode {
    for warning in &prepared.warnings {
        say::warn(warning);
    }
    match Running::start(prepared.loaded, prepared.profiles) {
        Ok((runtime, running)) => {
            let exit = runtime.block_on(running.run());
            // Left at once, the data plane's threads may never sleep again.
            stdout::flush();
            // Nothing of the control plane is worth waiting for any more.
            runtime.shutdown_background();
            exit
        }
        Err(problem) => {
            say::error(problem);
            ExitCode::SystemRefused
        }
    }
}

struct Running {
    began: Instant,
    proxy: Arc<Proxy>,
    data: DataPlane,
    pool: watch::Receiver<Arc<Pool>>,
    reports: mpsc::UnboundedReceiver<Report>,
    signals: Signals,
    /// `None` once it has ended.
    workers: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// Processes beside which we are the front door, if there are any.
    beside: Option<Beside>,
    mandate: watch::Sender<Mandate>,
    phase: PhaseMover,
    /// Follows `phase`, which hooks move too.
    phases: watch::Receiver<Phase>,
    warmth: watch::Sender<Warmth>,
    newcomers: Newcomers,
    readiness: Readiness,
    ticks: Interval,
    /// Thaws that were spoken of.
    thaws: u64,
    /// Where workers are told of a thaw.
    thaw_path: Option<String>,
    drain_deadline: Duration,
    hints: Hints,
    /// Somebody asks the admin for a drain.
    drain_asked: Arc<Notify>,
    /// Answers until the end.
    _admin: Option<admin::Handle>,
    /// Sends spans until the end.
    sending: Option<Sending>,
}

enum Turn {
    Pool,
    Report(Option<Report>),
    /// Something happened to a process beside us.
    Told(Told),
    Signal(Request),
    DataPlaneLeft,
    /// Somebody moved the phase.
    Phase,
    /// The admin was asked for a drain.
    Drain,
    /// A moment in which the process runs.
    Tick,
    TimeIsUp,
}

impl Running {
    fn start(loaded: Loaded, profiles: Profiles) -> Result<(tokio::runtime::Runtime, Self), Problem> {
        let began = clock::moment();
        let entries = show::entries(&loaded.config, &loaded.layers);
        let config = loaded.config;
        let refused = |error| {
            Problem::new(
                format!("The system refused a thread or an event queue: {error}."),
                "The data plane cannot run without it.",
                "Raise the limits of this instance (processes, file descriptors).",
            )
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let entered = runtime.enter();
        let signals = Signals::listen().map_err(refused)?; // Who sees the port open may send TERM.
        let (listeners, settling) = listener::bind(&config.listen, config.threads)?;
        let admin = admin::Listener::bind(config.admin.clone())?;
        let sending = Sending::start(&config.trace)?;
        let port =
            listeners.first().and_then(|listener| listener.local_addr().ok()).map_or(0, |it| it.port());
        // More descriptors are welcome, not needed.
        let descriptors = sys::raise_fd_limit().unwrap_or(room::DESCRIPTORS_USUAL);
        let connections_max = room::connections_max(&config, descriptors);
        let (publisher, pool) = Publisher::new();
        let (reporter, reports) = mpsc::unbounded_channel();
        let (mandate, mandated) = watch::channel(Mandate::Run);
        let (warmth, warmed) = watch::channel(Warmth::Starting);
        let (phase, phases) = PhaseMover::new();
        let (initialized, followed) = watch::channel(None);
        let intention = intention(&config.workers);
        let hints = Hints::new(&config.workers.source, port);
        let beside = Beside::start(config.processes)?;
        let Workers { source, slots, start_deadline, readiness, tell_start, connect_timeout, protocol } =
            config.workers;
        let noslate = match &source {
            WorkerSource::Noslate(noslate) => Some(Arc::new(noslate.clone())),
            WorkerSource::Spawn(_) | WorkerSource::Sockets(_) => None,
        };
        let functions = noslate.as_ref().map(|_| Arc::new(Functions::default()));
        let (profiles, mut states, mut recycling) = (Arc::new(profiles), None, Recycle::default());
        let (workers, flusher, census, restarts): (Pin<Box<dyn Future<Output = ()>>>, _, _, _) = match source
        {
            WorkerSource::Spawn(spawn) => {
                recycling = spawn.recycle;
                let supervisor = Supervisor::new(spawn, slots.count, start_deadline, port, publisher)?;
                let (flusher, census) = (supervisor.flusher(), supervisor.census());
                let restarts = supervisor.restarts();
                (Box::pin(supervisor.run(mandated, reporter)), flusher, census, restarts)
            }
            WorkerSource::Sockets(sockets) => {
                let external = External::new(sockets, slots.count, start_deadline, publisher)?;
                let census = external.census();
                let running = beside::after(&beside, mandated.clone(), external.run(mandated, reporter));
                (running, beside::flusher(&beside), census, Restarts::none())
            }
            WorkerSource::Noslate(noslate) => {
                let (profiles, functions) = (Arc::clone(&profiles), functions.clone().unwrap_or_default());
                let planes = Planes::new(
                    Arc::new(noslate),
                    profiles,
                    functions,
                    slots.count,
                    start_deadline,
                    publisher,
                );
                let census = planes.census();
                states = Some(planes.states());
                let running = beside::after(&beside, mandated.clone(), planes.run(mandated, reporter));
                (running, beside::flusher(&beside), census, Restarts::none())
            }
        };
        let platform = config.platform;
        let proxy = Arc::new(Proxy {
            gate: Gate::new(config.queue, began.now + start_deadline),
            access_log: config.access_log,
            reported: config.reported,
            is_observed: admin.is_some(),
            server_timing: config.server_timing,
            outbox: sending.as_ref().map(|sending| Arc::clone(sending.outbox())),
            markers: platform.markers,
            tell_start,
            headers: config.headers,
            body_bytes: config.limits.body_bytes,
            affinity: Affinity::new(config.affinity),
            noslate,
            php: config.php,
            functions,
            events: platform.events,
            desk: Desk {
                hooks: platform.hooks,
                health_path: platform.health_path,
                workers: hints.count,
                warmth: warmed,
                planes: states.clone(),
                start_deadline: began.now + start_deadline,
                phase: phase.clone(),
                drain_deadline: config.drain_deadline,
                flusher,
                initialized,
            },
            replays: Replays::new(config.replay),
            thaws_met: AtomicU64::new(0),
        });
        let manners = Manners { limits: config.limits, connections_max, connect_timeout, protocol, settling };
        let data = engine::start(config.engine, listeners, &proxy, manners).map_err(refused)?;
        say::info(format_args!(
            "warmfront {} listens on {}:{port}; {}",
            env!("CARGO_PKG_VERSION"),
            config.listen.address,
            intention
        ));
        if let Some(known) = profiles.summary() {
            say::info(format_args!("for Noslate's planes: {known}"));
        }
        recycle::watch(&runtime, recycling, census.clone(), restarts.clone(), config.drain_deadline);
        let drain = Arc::new(Notify::new());
        let admin = admin.map(|admin| {
            let view = admin::View {
                proxy: Arc::clone(&proxy),
                census,
                planes: states,
                processes: beside::members(&beside),
                config: entries,
                restarts,
                drain: Arc::clone(&drain),
                began: began.now,
                began_unix_secs: began.unix_secs,
            };
            admin.serve(view)
        });
        let admin = admin.transpose().map_err(refused)?;
        if let Some(admin) = &admin {
            say::info(format_args!("the admin listens on {}", admin.name));
        }
        news::follow(&runtime, hints.count, phase.follow(), warmth.subscribe());
        let mut ticks = interval(clock::TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        clock::tick();
        drop(entered);
        let running = Self {
            began: began.now,
            proxy,
            data,
            pool,
            reports,
            signals,
            workers: Some(workers),
            beside,
            mandate,
            phase,
            phases,
            warmth,
            newcomers: Newcomers::new(followed),
            readiness,
            ticks,
            thaws: 0,
            thaw_path: platform.thaw_path,
            drain_deadline: config.drain_deadline,
            hints,
            drain_asked: drain,
            _admin: admin,
            sending,
        };
        Ok((runtime, running))
    }

    async fn run(mut self) -> ExitCode {
        let mut verdict = ExitCode::Done;
        loop {
            match self.turn(None).await {
                Turn::Pool => self.install_pool(),
                Turn::Report(report) => {
                    if let Some(exit) = self.on_report(report) {
                        verdict = exit;
                        break;
                    }
                }
                Turn::Told(told) => {
                    if let Some(exit) = self.on_told(&told) {
                        verdict = exit;
                        break;
                    }
                }
                Turn::Signal(Request::Shutdown { .. }) | Turn::Drain => break,
                Turn::Signal(Request::LeaveNow { signal }) => return left_at_once(signal),
                Turn::Signal(Request::Reload) => beside::reopen_logs(&self.beside),
                Turn::DataPlaneLeft => {
                    say::error("every data-plane thread has ended; please report this as a bug");
                    verdict = ExitCode::Bug;
                    break;
                }
                Turn::Signal(Request::Tally) => say::info(format_args!("counted so far: {}", tally::line())),
                Turn::Phase => self.on_phase(),
                Turn::Tick => self.on_tick(),
                Turn::TimeIsUp => {}
            }
        }
        self.drain(verdict).await
    }

    /// A hook may have moved it: the instance will end, but not by our doing.
    fn on_phase(&mut self) {
        if *self.phases.borrow_and_update() == Phase::Draining {
            self.proxy.gate.resume();
            self.mandate.send_replace(Mandate::Rest);
            beside::mandate(&self.beside, Mandate::Rest);
            say::info(format_args!(
                "/pre-stop: {} in flight, {} waiting; at most {}, and workers that exit stay away",
                self.proxy.gate.in_flight(),
                self.proxy.gate.waiting(),
                period_text(self.drain_deadline)
            ));
        }
    }

    /// Notices that the process was frozen, and says so once.
    fn on_tick(&mut self) {
        let thaws = clock::tick();
        if thaws == self.thaws {
            return;
        }
        tally::add(Count::Thaw, thaws - self.thaws);
        self.thaws = thaws;
        let Freezes { count, last, total } = clock::freezes();
        say::info(format_args!(
            "thawed after {:.1} s (freeze {count}, {:.1} s together); no deadline has counted them",
            last.as_secs_f64(),
            total.as_secs_f64()
        ));
        if let Some(path) = &self.thaw_path {
            let message = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nx-warmfront-frozen-ms: {}\r\nContent-Length: 0\r\n\r\n",
                last.as_millis()
            );
            let message = message.into_bytes().into();
            for worker in self.proxy.gate.pool().workers() {
                // Nobody waits for it.
                drop(self.data.send(worker, &message, NEWS_PATIENCE));
            }
        }
    }

    /// Stops accepting, finishes what runs, then stops the workers.
    async fn drain(mut self, verdict: ExitCode) -> ExitCode {
        // The only illegal move would be a second drain, and there is one caller.
        let _ = self.phase.on_shutdown();
        // Who waits shall be served in time.
        self.proxy.gate.resume();
        self.phases.mark_unchanged();
        self.fail_start("the instance is stopping");
        // One that was warm once may have requests that still end well.
        let hopeless = verdict == ExitCode::WorkersUnavailable && *self.warmth.borrow() != Warmth::Warm;
        let patience = if hopeless { LAST_ANSWERS } else { self.drain_deadline };
        if hopeless {
            self.proxy.gate.close(&Refusal::NotStarted);
        } else {
            say::info(format_args!(
                "draining: {} in flight, {} waiting; at most {}",
                self.proxy.gate.in_flight(),
                self.proxy.gate.waiting(),
                period_text(patience)
            ));
        }
        self.data.order(Order::Drain);
        let deadline = clock::now() + patience;
        let mut exit = verdict;
        loop {
            match self.turn(Some(deadline)).await {
                Turn::Pool => self.install_pool(),
                Turn::Report(report) => drop(self.on_report(report)),
                Turn::Told(told) => drop(self.on_told(&told)),
                Turn::Signal(Request::LeaveNow { signal }) => return left_at_once(signal),
                Turn::Signal(_) | Turn::Phase | Turn::Drain => {}
                Turn::Tick => self.on_tick(),
                Turn::DataPlaneLeft => break,
                Turn::TimeIsUp => {
                    let (cut, waiting) = (self.proxy.gate.in_flight(), self.proxy.gate.waiting());
                    self.proxy.gate.close(&Refusal::Stopping);
                    self.data.order(Order::Leave);
                    if !hopeless && cut + waiting as u64 > 0 {
                        say::warn(format_args!(
                            "drain.deadline is over: {cut} in flight and {waiting} waiting were cut off"
                        ));
                        exit = ExitCode::CutOff;
                    }
                    self.data.left().await;
                    break;
                }
            }
        }
        self.mandate.send_replace(Mandate::Stop);
        while self.workers.is_some() {
            tokio::select! {
                () = ended(&mut self.workers) => break,
                Some(report) = self.reports.recv() => drop(self.on_report(Some(report))),
                // Without it the clock would take the grace of a deaf worker for a freeze.
                _ = self.ticks.tick() => self.on_tick(),
                request = self.signals.next() => {
                    if let Request::LeaveNow { signal } = request {
                        return left_at_once(signal);
                    }
                }
            }
        }
        while let Ok(report) = self.reports.try_recv() {
            self.on_report(Some(report));
        }
        beside::mandate(&self.beside, Mandate::Stop);
        loop {
            tokio::select! {
                told = beside::last(&mut self.beside) => match told {
                    Some(told) => drop(self.on_told(&told)),
                    None => break,
                },
                _ = self.ticks.tick() => self.on_tick(),
                request = self.signals.next() => {
                    if let Request::LeaveNow { signal } = request {
                        return left_at_once(signal);
                    }
                }
            }
        }
        self.data.join();
        if let Some(sending) = self.sending.take() {
            sending.finish().await;
        }
        let _ = self.phase.on_drained();
        say::info(format_args!("counted: {}", tally::line()));
        if exit == ExitCode::Done {
            say::info("drained; good bye");
        }
        exit
    }

    async fn turn(&mut self, deadline: Option<Instant>) -> Turn {
        let time_is_up = async {
            match deadline {
                Some(deadline) => clock::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        // All branches are cancel safe: what was not taken is there in the next turn.
        tokio::select! {
            biased;
            request = self.signals.next() => Turn::Signal(request),
            Ok(()) = self.pool.changed() => Turn::Pool,
            () = self.newcomers.changed() => Turn::Pool,
            Some(report) = self.reports.recv() => Turn::Report(Some(report)),
            () = ended(&mut self.workers) => Turn::Report(None),
            told = beside::told(&mut self.beside) => Turn::Told(told),
            () = self.data.left() => Turn::DataPlaneLeft,
            Ok(()) = self.phases.changed() => Turn::Phase,
            () = self.drain_asked.notified() => Turn::Drain,
            _ = self.ticks.tick() => Turn::Tick,
            () = time_is_up => Turn::TimeIsUp,
        }
    }

    fn install_pool(&mut self) {
        let pool = Arc::clone(&self.pool.borrow_and_update());
        self.data.retain(&pool);
        self.proxy.gate.install(self.newcomers.admit(&pool, &self.data));
    }

    /// Says what happened; `Some` if the process should end because of it.
    fn on_report(&mut self, report: Option<Report>) -> Option<ExitCode> {
        let Some(report) = report else {
            say::error("worker supervision has ended by itself; please report this as a bug");
            return Some(ExitCode::Bug);
        };
        match &report {
            Report::AllReady => {
                if self.phase.phase() == Phase::Starting {
                    let _ = self.phase.on_ready();
                    self.phases.mark_unchanged();
                }
                self.warmth.send_replace(Warmth::Warm);
                self.hints.say_warm(self.began, self.pool.borrow().workers().len());
            }
            Report::Ready { .. } => {
                if self.phase.on_ready() == Ok(true) {
                    // Our own move is no news.
                    self.phases.mark_unchanged();
                }
                if self.readiness == Readiness::First {
                    self.warmth.send_replace(Warmth::Warm);
                }
                say::info(&report);
            }
            Report::Back { .. } | Report::Stopped { .. } | Report::Way(_) | Report::Plane(_) => {
                say::info(&report)
            }
            Report::Exited { .. }
            | Report::Gone { .. }
            | Report::NotReadyYet { .. }
            | Report::PlaneTrouble(_) => say::warn(&report),
            Report::CrashLoop { .. } => {
                if self.readiness == Readiness::All {
                    self.fail_start(&format!("{report}. Repair it, or set `start.ready = \"first\"`"));
                }
                say::error(&report);
            }
            Report::SpawnFailed(_) => say::error(&report),
            Report::NeverReady { problem } => {
                self.fail_start(&problem.what);
                say::error(&report);
                return Some(ExitCode::WorkersUnavailable);
            }
        }
        None
    }

    /// Says what happened to a process; `Some` if the instance should end because of it.
    fn on_told(&mut self, told: &Told) -> Option<ExitCode> {
        if let Some(why) = beside::hindrance(told) {
            self.fail_start(&why);
        }
        beside::say(told);
        matches!(told, Told::NeverReady(_) | Told::Ended { .. }).then_some(ExitCode::WorkersUnavailable)
    }

    /// Unless the workers are warm already, they will not be by themselves.
    fn fail_start(&self, why: &str) {
        self.warmth.send_if_modified(|warmth| {
            let waits = *warmth == Warmth::Starting;
            if waits {
                *warmth = Warmth::Failed(why.trim_end_matches('.').to_owned());
            }
            waits
        });
    }
}

/// Resolves when `workers` ends, once; never if it has.
async fn ended(workers: &mut Option<Pin<Box<dyn Future<Output = ()>>>>) {
    match workers {
        Some(running) => running.await,
        None => std::future::pending().await,
    }
    *workers = None;
}

fn left_at_once(signal: i32) -> ExitCode {
    say::warn("second signal: leaving at once");
    ExitCode::Signal(u8::try_from(signal).unwrap_or_default())
}

mod beside;
mod news;
mod recycle;
mod room;
mod said;
