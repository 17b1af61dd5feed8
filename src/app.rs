//! The composition root: builds the rooms bottom-up, runs them, drains them.
//!
//! The calling thread becomes the control plane: supervision, signals, reports.
//! The port is bound before anything else, so the platform's first connect
//! succeeds while workers still start.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use crate::clock;
use crate::config::units::period_text;
use crate::config::{CommandChoice, Config, WorkerSource, Workers};
use crate::engine::epoll::{DataPlane, Manners, Order};
use crate::error::Problem;
use crate::exit::ExitCode;
use crate::lifecycle::phase::{Phase, PhaseMover};
use crate::lifecycle::signal::{Request, Signals};
use crate::listener;
use crate::proxy::Proxy;
use crate::proxy::admission::{Gate, Refusal};
use crate::sys;
use crate::telemetry::say;
use crate::upstream::pool::{Pool, Publisher};
use crate::worker::external::External;
use crate::worker::report::Report;
use crate::worker::supervisor::Supervisor;

/// Descriptors where nobody says how many: what most systems start a process with.
const DESCRIPTORS_USUAL: u64 = 1024;
/// Descriptors for everything that is no connection: listeners, event queues, pipes, standard streams.
const DESCRIPTORS_OWN: usize = 64;

/// How long requests that wait may take their last answer when no worker will ever come.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Runs warmfront until a signal or a hopeless start ends it.
pub fn run(config: Config) -> ExitCode {
    match Running::start(config) {
        Ok((runtime, running)) => {
            let exit = runtime.block_on(running.run());
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
    stop_workers: watch::Sender<bool>,
    phase: PhaseMover,
    drain_deadline: Duration,
    hints: Hints,
}

/// What is said once when the pool is warm.
struct Hints {
    count: usize,
    demo: bool,
    port: u16,
}

/// Client connections that may be open beside those to workers, of which there may be one per slot.
fn connections_max(config: &Config, descriptors: u64) -> usize {
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let workers = config.workers.source.count();
    let taken = DESCRIPTORS_OWN + workers * (config.workers.slots.count as usize + 4);
    let room = descriptors.saturating_sub(taken).max(descriptors / 2);
    match config.limits.connections {
        Some(wanted) if wanted > room => {
            say::warn(format_args!(
                "limits.connections={wanted}, but {descriptors} open files leave room for {room}; raise `ulimit -n`"
            ));
            wanted
        }
        Some(wanted) => wanted,
        None => room,
    }
}

enum Turn {
    Pool,
    Report(Option<Report>),
    Signal(Request),
    DataPlaneLeft,
    TimeIsUp,
}

impl Running {
    fn start(config: Config) -> Result<(tokio::runtime::Runtime, Self), Problem> {
        let began = clock::now();
        let listeners = listener::bind(&config.listen, config.threads)?;
        let port =
            listeners.first().and_then(|listener| listener.local_addr().ok()).map_or(0, |it| it.port());
        // More descriptors are welcome, not needed.
        let descriptors = sys::raise_fd_limit().unwrap_or(DESCRIPTORS_USUAL);
        let connections_max = connections_max(&config, descriptors);
        let refused = |error| {
            Problem::new(
                format!("The system refused a thread or an event queue: {error}."),
                "The data plane cannot run without it.",
                "Raise the limits of this instance (processes, file descriptors).",
            )
        };
        let proxy = Arc::new(Proxy {
            gate: Gate::new(config.queue, began + config.workers.start_deadline),
            access_log: config.access_log,
            tell_start: config.workers.tell_start,
        });
        let manners = Manners {
            limits: config.limits,
            connections_max,
            connect_timeout: config.workers.connect_timeout,
            protocol: config.workers.protocol,
        };
        let data = DataPlane::start(listeners, &proxy, manners).map_err(refused)?;
        say::info(format_args!(
            "warmfront {} listens on {}:{port}; {}",
            env!("CARGO_PKG_VERSION"),
            config.listen.address,
            intention(&config.workers)
        ));
        let hints = Hints {
            count: config.workers.source.count(),
            demo: matches!(&config.workers.source, WorkerSource::Spawn(spawn) if spawn.chosen == CommandChoice::Demo),
            port,
        };

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
        let entered = runtime.enter();
        let (publisher, pool) = Publisher::new();
        let (reporter, reports) = mpsc::unbounded_channel();
        let (stop_workers, stop) = watch::channel(false);
        let signals = Signals::listen().map_err(refused)?;
        let Workers { source, slots, start_deadline, .. } = config.workers;
        let workers: Pin<Box<dyn Future<Output = ()>>> = match source {
            WorkerSource::Spawn(spawn) => {
                let supervisor = Supervisor::new(spawn, slots.count, start_deadline, port, publisher)?;
                Box::pin(supervisor.run(stop, reporter))
            }
            WorkerSource::Sockets(sockets) => {
                let external = External::new(sockets, slots.count, start_deadline, publisher)?;
                Box::pin(external.run(stop, reporter))
            }
        };
        drop(entered);
        let running = Self {
            began,
            proxy,
            data,
            pool,
            reports,
            signals,
            workers: Some(workers),
            stop_workers,
            phase: PhaseMover::new().0,
            drain_deadline: config.drain_deadline,
            hints,
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
                Turn::Signal(Request::Shutdown { .. }) => break,
                Turn::Signal(Request::LeaveNow { signal }) => return left_at_once(signal),
                Turn::Signal(Request::Reload) => {
                    say::info("SIGHUP: reading the configuration again is not built yet; nothing changed");
                }
                Turn::DataPlaneLeft => {
                    say::error("every data-plane thread has ended; please report this as a bug");
                    verdict = ExitCode::Bug;
                    break;
                }
                Turn::TimeIsUp => {}
            }
        }
        self.drain(verdict).await
    }

    /// Stops accepting, finishes what runs, then stops the workers.
    async fn drain(mut self, verdict: ExitCode) -> ExitCode {
        // The only illegal move would be a second drain, and there is one caller.
        let _ = self.phase.on_shutdown();
        let hopeless = verdict == ExitCode::WorkersUnavailable;
        let patience = if hopeless { LAST_ANSWERS } else { self.drain_deadline };
        if hopeless {
            self.proxy.gate.close(&Refusal::NotStarted);
        } else {
            say::info(format_args!(
                "draining: {} in flight, {} waiting; at most {}",
                self.in_flight(),
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
                Turn::Signal(Request::LeaveNow { signal }) => return left_at_once(signal),
                Turn::Signal(_) => {}
                Turn::DataPlaneLeft => break,
                Turn::TimeIsUp => {
                    let (cut, waiting) = (self.in_flight(), self.proxy.gate.waiting());
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
        self.stop_workers.send_replace(true);
        while self.workers.is_some() {
            tokio::select! {
                () = ended(&mut self.workers) => break,
                Some(report) = self.reports.recv() => drop(self.on_report(Some(report))),
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
        self.data.join();
        let _ = self.phase.on_drained();
        if exit == ExitCode::Done {
            say::info("drained; good bye");
        }
        exit
    }

    async fn turn(&mut self, deadline: Option<Instant>) -> Turn {
        let time_is_up = async {
            match deadline {
                Some(deadline) => sleep(deadline.saturating_duration_since(clock::now())).await,
                None => std::future::pending().await,
            }
        };
        // All branches are cancel safe: what was not taken is there in the next turn.
        tokio::select! {
            biased;
            request = self.signals.next() => Turn::Signal(request),
            Ok(()) = self.pool.changed() => Turn::Pool,
            Some(report) = self.reports.recv() => Turn::Report(Some(report)),
            () = ended(&mut self.workers) => Turn::Report(None),
            () = self.data.left() => Turn::DataPlaneLeft,
            () = time_is_up => Turn::TimeIsUp,
        }
    }

    fn install_pool(&mut self) {
        let pool = Arc::clone(&self.pool.borrow_and_update());
        self.data.retain(&pool);
        self.proxy.gate.install(pool);
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
                }
                self.say_warm();
            }
            Report::Ready { .. } => {
                let _ = self.phase.on_ready();
                say::info(&report);
            }
            Report::Back { .. } | Report::Stopped { .. } => say::info(&report),
            Report::Exited { .. } | Report::Gone { .. } | Report::NotReadyYet { .. } => say::warn(&report),
            Report::CrashLoop { .. } | Report::SpawnFailed(_) => say::error(&report),
            Report::NeverReady { .. } => {
                say::error(&report);
                return Some(ExitCode::WorkersUnavailable);
            }
        }
        None
    }

    fn say_warm(&self) {
        let Hints { count, demo, port } = self.hints;
        let noun = if count == 1 { "worker is" } else { "workers are" };
        say::info(format_args!("{count} {noun} warm after {} ms", (clock::now() - self.began).as_millis()));
        if demo {
            say::info(format_args!("try:          curl localhost:{port}"));
            say::info("your own app: warmfront run -- node server.js");
        }
    }

    fn in_flight(&self) -> u64 {
        self.proxy.gate.pool().workers().iter().map(|worker| u64::from(worker.in_flight())).sum()
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

fn intention(workers: &Workers) -> String {
    let slots = workers.slots.count;
    let each = match (slots, workers.slots.guessed) {
        (1, true) => {
            "1 request at a time each (unknown app: if it serves several at once, say --concurrency N)"
                .to_owned()
        }
        (1, false) => "1 request at a time each".to_owned(),
        (slots, _) => format!("up to {slots} requests at a time each"),
    };
    match &workers.source {
        WorkerSource::Sockets(sockets) => format!("forwarding to {} sockets, {each}", sockets.len()),
        WorkerSource::Spawn(spawn) => {
            let program = std::path::Path::new(&spawn.argv[0]).display();
            let what = match spawn.chosen {
                CommandChoice::Given => format!("`{program}`"),
                CommandChoice::Bootstrap => {
                    format!("`{program}` (no command was given; the platform's rule)")
                }
                CommandChoice::Demo => "its own demo (no command was given)".to_owned(),
            };
            let noun = if spawn.count == 1 { "worker" } else { "workers" };
            format!("starting {} {noun} of {what}, {each}", spawn.count)
        }
    }
}
