//! One start, all questions, one stop.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

use super::Wish;
use super::questions::{self, Answers, Unfinished};
use crate::clock;
use crate::config::{Protocol, Spawn};
use crate::error::Problem;
use crate::upstream::pool::Publisher;
use crate::worker::Mandate;
use crate::worker::diagnose::silence;
use crate::worker::ladder::Rung;
use crate::worker::report::Report;
use crate::worker::supervisor::Supervisor;

/// From TERM to the last byte of the request that is in flight then: long enough for a handler of signals to act.
const TERM_FIRST: Duration = Duration::from_millis(200);

/// What was seen.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The command as it was given.
    pub command: String,
    /// Why it cannot be served; the rest is as far as it came.
    pub failure: Option<Problem>,
    /// What the supervisor said of ways.
    pub ways: Vec<String>,
    /// The way that worked.
    pub rung: Option<Rung>,
    /// The port that it believes to be its own.
    pub app_port: u16,
    /// Where it accepts.
    pub address: Option<String>,
    /// Whatever its processes listen on.
    pub listens: Vec<String>,
    /// From exec to its first output.
    pub first_output: Option<Duration>,
    /// From exec to the first accepted connection, failed ways included.
    pub ready: Option<Duration>,
    /// What it answered; `None` if it does not speak HTTP/1.1.
    pub answers: Option<Answers>,
    /// Whether it speaks something of which a doctor knows nothing.
    pub is_foreign: bool,
    /// How it ended.
    pub end: Option<End>,
}

/// How it ended behind a TERM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// From TERM on.
    pub after: Duration,
    /// Whether it had to be killed.
    pub was_killed: bool,
    /// Whether a request whose last byte came behind the TERM was answered; `None` if that was not tried.
    pub finished_request: Option<bool>,
}

impl Facts {
    /// Of a command of which nothing is known.
    pub(super) fn of(argv: &[OsString]) -> Self {
        let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
        Self {
            command: words.join(" "),
            failure: None,
            ways: Vec::new(),
            rung: None,
            app_port: 0,
            address: None,
            listens: Vec::new(),
            first_output: None,
            ready: None,
            answers: None,
            is_foreign: false,
            end: None,
        }
    }
}

/// Runs it.
///
/// # Errors
/// The system refuses a runtime, a thread or a socket.
pub(super) fn run(
    spawn: Spawn,
    deadline: Duration,
    protocol: Protocol,
    wish: &Wish,
    facts: Facts,
) -> Result<Facts, Problem> {
    let refused = |error: std::io::Error| {
        Problem::new(
            format!("The system refused a runtime: {error}."),
            "The command is started and asked on one.",
            "Raise the limits of this process.",
        )
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(refused)?;
    let facts = Facts { app_port: spawn.port, ..facts };
    runtime.block_on(tried(spawn, deadline, facts, protocol, wish))
}

async fn tried(
    spawn: Spawn,
    deadline: Duration,
    mut facts: Facts,
    protocol: Protocol,
    wish: &Wish,
) -> Result<Facts, Problem> {
    let (publisher, pool) = Publisher::new();
    let (mandate, mandated) = watch::channel(Mandate::Run);
    let (reporter, mut reports) = unbounded_channel();
    let port = spawn.port;
    let supervisor =
        Supervisor::new(spawn, 1, deadline, port, publisher).and_then(Supervisor::with_output_to_stderr)?;
    let census = supervisor.census();
    let began = clock::now();
    let running = tokio::spawn(supervisor.run(mandated, reporter));
    let ticking = tokio::spawn(async {
        loop {
            clock::sleep(clock::TICK).await;
            clock::tick();
        }
    });
    wait_until_ready(&mut facts, &mut reports, began + deadline).await;
    let member = census.borrow().first().cloned();
    if let Some(member) = &member {
        facts.rung = member.rung;
        facts.listens = member
            .pid
            .map(silence::listening)
            .unwrap_or_default()
            .iter()
            .map(silence::Listens::to_text)
            .collect();
    }
    let worker = pool.borrow().workers().first().cloned();
    let mut unfinished = None;
    if let (None, Some(worker)) = (&facts.failure, worker) {
        facts.ready = Some(clock::now() - began);
        facts.address = Some(worker.address.to_string());
        if matches!(protocol, Protocol::Auto | Protocol::Http1) {
            facts.answers = Some(questions::all(&worker.address, &wish.path).await);
            unfinished = Unfinished::begin(&worker.address, &wish.path).await;
        } else {
            facts.is_foreign = true;
        }
    }
    // What it writes comes by another way than its connections, and may be later.
    facts.first_output = member.and_then(|member| Some(*member.first_output.get()? - member.born?));
    // A signal that arrives before the request has been seen would tell nothing.
    clock::sleep(TERM_FIRST).await;
    let told = clock::now();
    mandate.send_replace(Mandate::Stop);
    let finishes = async {
        clock::sleep(TERM_FIRST).await;
        match unfinished {
            Some(request) => Some(request.finish().await),
            None => None,
        }
    };
    let stops = async {
        while let Some(report) = reports.recv().await {
            if let Report::Stopped { killed, .. } = report {
                return Some((clock::now() - told, killed));
            }
        }
        None
    };
    let (finished_request, stopped) = tokio::join!(finishes, stops);
    facts.end = stopped.map(|(after, was_killed)| End { after, was_killed, finished_request });
    // It has nothing left to say.
    let _ = running.await;
    ticking.abort();
    Ok(facts)
}

/// Follows the start; what kept it from becoming ready becomes the failure.
async fn wait_until_ready(facts: &mut Facts, reports: &mut UnboundedReceiver<Report>, deadline: Instant) {
    let mut why = None;
    loop {
        let patience = deadline.saturating_duration_since(clock::now());
        let Some(report) = clock::timeout(patience, reports.recv()).await else {
            facts.failure = why;
            return;
        };
        match report {
            Some(Report::Ready { .. }) => return,
            Some(Report::Way(text)) => facts.ways.push(text),
            Some(Report::NotReadyYet { problem, .. } | Report::SpawnFailed(problem)) => why = Some(problem),
            Some(Report::NeverReady { problem }) => {
                facts.failure = Some(problem);
                return;
            }
            Some(_) => {}
            None => {
                facts.failure = why;
                return;
            }
        }
    }
}
