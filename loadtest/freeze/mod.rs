//! What an app does when it was frozen: the first requests behind the thaw, on a connection that was kept.
//!
//! That is how the platform asks: it keeps its connection while the instance stands
//! still, and sends the next request on it, before the thaw or just behind it. An app
//! whose idle timer ran out meanwhile closes in the face of that request.

pub(crate) mod freezer;

use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args;

use crate::cold::AskArgs;
use crate::cold::start::{Terms, started};
use crate::fork::Moment;
use crate::freeze::freezer::Freezer;
use crate::private_dir::PrivateDir;
use crate::probe::{Ask, Connection};
use crate::progress::Progress;
use crate::stack::{AppArgs, Plan, Stack, Way};
use crate::stop;
use crate::study::output::StudyOutput;
use crate::study::{self, AfterThaw, Study, Thaw};

/// Longest wait for one answer of an app that runs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an app may take to start: the platform's deadline.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// Flags of `freeze`.
#[derive(Args, Clone, Debug)]
pub(crate) struct FreezeArgs {
    /// Freezes of each kind.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: u32,
    /// How the app is reached: direct, socket, spare, tcp, nginx, haproxy.
    #[arg(long, value_delimiter = ',', default_value = "direct,socket")]
    pub(crate) via: Vec<Way>,
    /// How it is frozen: signal (SIGSTOP), cgroup, or both.
    #[arg(long, value_delimiter = ',', default_value = "signal")]
    pub(crate) by: Vec<study::Freezer>,
    /// How long it is frozen, in milliseconds. Longer than the app's idle timeout shows what that does: Node has 5 s.
    #[arg(long, default_value_t = 6000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) frozen_ms: u64,
    /// Whether the first request is sent once it is thawed, while it is frozen still, or both in turn.
    #[arg(long, value_delimiter = ',', default_value = "thawed,frozen")]
    pub(crate) asked: Vec<Asked>,
    /// Requests before the freeze.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) before: u32,
    /// Requests behind it.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) after: u32,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// Longest whole measurement, in seconds; what was measured by then is reported.
    #[arg(long, default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) limit_s: u64,
    #[command(flatten)]
    pub(crate) output: StudyOutput,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

/// When the first request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Once the app runs again.
    Thawed,
    /// Before it does.
    Frozen,
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "thawed" => Ok(Self::Thawed),
            "frozen" => Ok(Self::Frozen),
            _ => Err(format!("`{text}` is no moment to ask; there are thawed, frozen")),
        }
    }
}

impl FromStr for study::Freezer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "signal" => Ok(Self::Signal),
            "cgroup" => Ok(Self::Cgroup),
            _ => Err(format!("`{text}` is no way to freeze; there are signal, cgroup")),
        }
    }
}

/// `warmfront-bench freeze`. True if no request failed and all was measured.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn run(args: &FreezeArgs) -> io::Result<bool> {
    stop::watch(Duration::from_secs(args.limit_s))?;
    let ask = args.ask.ask();
    let mut study = Study::here(
        "freeze",
        vec![("request".into(), ask.to_string()), ("frozen".into(), format!("{} ms", args.frozen_ms))],
    );
    let dir = PrivateDir::new()?;
    let mut subjects = Vec::new();
    for way in args.app.ways(&args.via) {
        match Subject::start(way, &args.app, dir.path(), &ask) {
            Ok(subject) => {
                study.subjects.push(subject.plan.facts());
                subjects.push(subject);
            }
            Err(reason) => study.miss(way.name(), None, reason),
        }
    }
    let cases: Vec<_> =
        args.by.iter().flat_map(|by| args.asked.iter().map(move |asked| (*by, *asked))).collect();
    let progress = Progress::new(u64::from(args.runs) * cases.len() as u64);
    study.do_rounds(args.runs, |round, study| {
        for (by, asked) in &cases {
            progress.step(&format!("round {}: frozen by {}", round + 1, by.name()));
            let thaws = freeze(&mut subjects, *by, *asked, args, &ask, study);
            if stop::is_requested() {
                return;
            }
            study.thaws.extend(thaws.into_iter().map(|thaw| Thaw { round, ..thaw }));
        }
    });
    progress.finish();
    drop(subjects);
    args.output.finish(&study)
}

/// A stack that runs for the whole measurement.
struct Subject {
    plan: Plan,
    stack: Stack,
    request: Vec<u8>,
}

impl Subject {
    fn start(way: Way, app: &AppArgs, dir: &Path, ask: &Ask) -> Result<Self, String> {
        let plan = Plan::new(way, app, dir)?;
        let request = ask.bytes(plan.target);
        let terms = Terms { settle_requests: 0, settle: Duration::ZERO, deadline: START_TIMEOUT };
        let stack = started(&plan, &request, &terms)?;
        Ok(Self { plan, stack, request })
    }

    /// A connection on which `count` requests were answered, and their latencies.
    fn warm_connection(&self, count: u32) -> Result<(Connection, Vec<f64>), String> {
        let mut connection = Connection::open(self.plan.target).map_err(|error| error.to_string())?;
        let mut latencies = Vec::new();
        for _ in 0..count {
            let (received, us) = connection.ask(&self.request, ANSWER_TIMEOUT)?;
            if !received.is_good() {
                return Err(format!("status {} before the freeze", received.answer.status));
            }
            latencies.push(us);
            if !received.answer.keeps_alive {
                connection = Connection::open(self.plan.target).map_err(|error| error.to_string())?;
            }
        }
        Ok((connection, latencies))
    }
}

/// Freezes all subjects for the same time, and thaws and asks one after the other.
fn freeze(
    subjects: &mut [Subject],
    by: study::Freezer,
    asked: Asked,
    args: &FreezeArgs,
    ask: &Ask,
    study: &mut Study,
) -> Vec<Thaw> {
    let mut frozen = Vec::new();
    for subject in subjects {
        if let Some(why) = subject.stack.failure() {
            study.miss(subject.plan.way.name(), None, why);
            continue;
        }
        match Frozen::new(subject, by, args.before) {
            Ok(entry) => frozen.push(entry),
            Err(why) => study.miss(subject.plan.way.name(), Some(by.name()), why),
        }
    }
    stop::pause(Duration::from_millis(args.frozen_ms));
    let mut thaws = Vec::new();
    for entry in frozen {
        if stop::is_requested() {
            break;
        }
        let subject = entry.subject.plan.way.name();
        match entry.thaw(asked, args.after, ask) {
            Ok(thaw) => thaws.push(Thaw { by, ..thaw }),
            Err(why) => study.miss(subject, Some(by.name()), why),
        }
    }
    thaws
}

/// A subject that stands still.
struct Frozen<'a> {
    subject: &'a Subject,
    freezer: Freezer,
    connection: Connection,
    before_us: Vec<f64>,
    since: Moment,
}

impl<'a> Frozen<'a> {
    fn new(subject: &'a Subject, by: study::Freezer, before: u32) -> Result<Self, String> {
        let (connection, before_us) = subject.warm_connection(before)?;
        let freezer = Freezer::new(by, subject.stack.pids())?;
        freezer.freeze().map_err(|error| error.to_string())?;
        Ok(Self { subject, freezer, connection, before_us, since: Moment::now() })
    }

    fn thaw(self, asked: Asked, after: u32, ask: &Ask) -> Result<Thaw, String> {
        let Self { subject, freezer, connection, before_us, since } = self;
        let mut kept = Some(connection);
        let mut requests = Vec::new();
        let mut failure = None;
        if asked == Asked::Frozen
            && let Some(connection) = &mut kept
        {
            failure = connection.send(&subject.request).err().map(|error| format!("not sent: {error}"));
        }
        // Before, not behind it: an app that runs at once may have answered when this thread goes on.
        let thawed = Moment::now();
        freezer.thaw().map_err(|error| error.to_string())?;
        for number in 0..after {
            let is_sent = asked == Asked::Frozen && number == 0;
            let outcome = match failure.take() {
                Some(why) => Err(why),
                None => answer(subject, &mut kept, is_sent.then_some(thawed)),
            };
            let (latency_us, failure) = match outcome {
                Ok(us) => (us, None),
                Err(why) => (Moment::now().us_since(thawed), Some(why)),
            };
            requests.push(AfterThaw { method: ask.method.clone(), latency_us, failure });
        }
        Ok(Thaw {
            subject: subject.plan.way.name().into(),
            round: 0,
            by: study::Freezer::Signal,
            frozen_ms: thawed.ms_since(since),
            asked_while_frozen: asked == Asked::Frozen,
            before_us,
            requests,
        })
    }
}

/// Asks on the connection that was kept, else on a new one; only waits for the answer if it was asked at `sent`.
/// Microseconds until the answer; a connection is kept only behind a good one.
fn answer(subject: &Subject, kept: &mut Option<Connection>, sent: Option<Moment>) -> Result<f64, String> {
    let mut connection = match kept.take() {
        Some(connection) => connection,
        None => Connection::open(subject.plan.target).map_err(|error| error.to_string())?,
    };
    let (received, us) = match sent {
        None => connection.ask(&subject.request, ANSWER_TIMEOUT)?,
        Some(sent) => {
            let received = connection.receive(Instant::now() + ANSWER_TIMEOUT)?;
            (received, received.done.us_since(sent))
        }
    };
    if received.answer.keeps_alive {
        *kept = Some(connection);
    }
    if received.is_good() { Ok(us) } else { Err(format!("status {}", received.answer.status)) }
}
