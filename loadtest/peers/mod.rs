//! Paired measurement: every subject does the same work seconds apart, round after round.
//!
//! `cells.rs` says what work, `bench.rs` does the rounds, `footprint.rs` looks at
//! memory and start; what came out is a report (`report/`).

mod bench;
pub(crate) mod cells;
mod footprint;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::goals::Goals;
use crate::namespace::{self, AS_CHOSEN, AS_IT_COMES, CHOSEN};
use crate::noslate::fronts::DOCUMENTED;
use crate::peers::bench::Bench;
use crate::peers::cells::{Cell, Cells, Setting};
use crate::private_dir::PrivateDir;
use crate::process::{Cpu, find_program};
use crate::progress::say;
use crate::report::html::page;
use crate::report::sections::{Comparison, tables, to_markdown, to_text};
use crate::report::{Missing, Report, SubjectFacts};
use crate::study::output::StudyOutput;
use crate::subjects::{Build, Kind, Stage, Subject};
use crate::verdict;

/// By how much CPU per request may get worse, unless told otherwise.
const THRESHOLD: f64 = 0.08;
/// Where the proxy and everything else run when pinned.
const PROXY_CPU: u8 = 0;
const REST_CPU: u8 = 1;

/// Flags of `peers`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PeersArgs {
    /// A build of warmfront, "[NAME=]BIN [ARG|WARMFRONT_KEY=VALUE]..."; repeat to compare builds or settings.
    /// The `warmfront` beside this program if absent.
    #[arg(long, value_name = "BUILD")]
    pub(crate) warmfront: Vec<Build>,
    /// Proxies to compare with.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "nginx,haproxy,haproxy-splice,h2o,caddy,pingora,relay,relay-splice"
    )]
    pub(crate) peers: Vec<Kind>,
    /// Kinds of traffic, or families of them: goals, scale, all. README.md says what each is.
    #[arg(long, value_delimiter = ',', default_value = "goals")]
    pub(crate) cells: Vec<Cells>,
    /// Rounds; each runs every cell against every subject once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) rounds: u32,
    /// Requests per run of the cell `1k`; heavier cells send fewer.
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000_000))]
    pub(crate) requests: u64,
    /// Connections kept by the client, unless the cell says how many.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) connections: u32,
    /// Which CPUs are whose.
    #[arg(long, value_enum, default_value_t = Layout::Pinned)]
    pub(crate) layout: Layout,
    /// Threads of each proxy, unless the cell says how many.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,
    /// Congestion control of every connection, unless the cell says which.
    #[arg(long, value_enum, default_value_t = Congestion::AsItComes)]
    pub(crate) congestion: Congestion,
    /// Also measure memory and start of each subject.
    #[arg(long)]
    pub(crate) footprint: bool,
    /// The proxy of loadtest/pingora; where scripts/setup-peers puts it if absent.
    #[arg(long, value_name = "PATH")]
    pub(crate) pingora: Option<PathBuf>,
    /// Longest whole measurement, in seconds; what was measured by then is reported.
    #[arg(long, default_value_t = 7200, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) limit_s: u64,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Where a report goes and what it is held against.
#[derive(Args, Clone, Debug)]
pub(crate) struct OutputArgs {
    #[command(flatten)]
    pub(crate) shared: StudyOutput,
    /// Whose CPU is the unit of --compare.
    #[arg(long, default_value = "relay")]
    pub(crate) against: Reference,
}

/// Whose CPU can be the unit: a peer's, or the documented front door's of Noslate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference(String);

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text != DOCUMENTED {
            text.parse::<Kind>()?;
        }
        Ok(Self(text.to_owned()))
    }
}

/// Which CPUs are whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// The proxy on CPU 0; client and workers on CPU 1.
    Pinned,
    /// Everybody where the scheduler likes.
    Shared,
}

/// Which congestion control connections use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Congestion {
    /// The system's, or what a proxy chooses for itself.
    AsItComes,
    /// Cubic for everybody.
    Cubic,
}

impl OutputArgs {
    /// Writes and judges a report.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(crate) fn finish(&self, report: &Report, old: Option<&Report>) -> io::Result<bool> {
        finish(report, &self.shared, &self.against.0, old)
    }
}

impl PeersArgs {
    fn chosen_cells(&self) -> Vec<Cell> {
        let mut chosen: Vec<Cell> = Vec::new();
        for cell in self.cells.iter().flat_map(|cells| &cells.0) {
            if !chosen.iter().any(|other| other.name == cell.name) {
                chosen.push(*cell);
            }
        }
        chosen
    }

    /// Whether somebody must be on the chosen congestion control.
    pub(crate) fn chooses_congestion(&self) -> bool {
        self.congestion == Congestion::Cubic || self.chosen_cells().iter().any(|cell| cell.is_cubic)
    }

    /// Builds, then peers; a name that is taken makes a `Missing`.
    fn kinds(&self, own_program: &Path) -> (Vec<Kind>, Vec<Missing>) {
        let mut builds = self.warmfront.clone();
        let beside = own_program.with_file_name("warmfront");
        if builds.is_empty() && beside.is_file() {
            builds.extend(beside.display().to_string().parse::<Build>());
        }
        let (mut kinds, mut missing) = (Vec::<Kind>::new(), Vec::new());
        for kind in builds.into_iter().map(Kind::Warmfront).chain(self.peers.iter().cloned()) {
            if kinds.iter().any(|other| other.name() == kind.name()) {
                let reason = "the name is taken; use NAME=BIN".to_owned();
                missing.push(Missing { subject: kind.name().into(), cell: None, reason });
            } else {
                kinds.push(kind);
            }
        }
        (kinds, missing)
    }
}

/// The whole measurement. True if everything asked for was measured, no request failed, and nothing got worse.
///
/// # Errors
/// The workers cannot be started, or a file cannot be read or written.
///
/// # Cancel safety
/// Dropping the future ends all children.
pub(crate) async fn run(args: &PeersArgs) -> io::Result<bool> {
    // Read first: an hour of measuring for a file that is not there would be a pity.
    let old = args.output.shared.compare.as_deref().map(Report::read).transpose()?;
    let deadline = Instant::now() + Duration::from_secs(args.limit_s);
    if args.layout == Layout::Pinned {
        check_pinning()?;
    }
    let own_program = std::env::current_exe()?;
    let dir = PrivateDir::new()?;
    let (kinds, missing) = args.kinds(&own_program);
    let mut report = Report::here(facts(args));
    report.not_measured = missing;
    let stage = Stage {
        dir: dir.path().to_owned(),
        sockets: Vec::new(),
        cpu: None,
        pingora: args.pingora.clone().unwrap_or_else(|| {
            own_program.ancestors().nth(2).unwrap_or(Path::new(".")).join("pingora/release/pingora-peer")
        }),
        own_program,
        threads: args.threads,
        slots: None,
    };
    let cells = measurable(args, &mut report);
    for setting in Setting::ALL {
        let cells: Vec<Cell> = cells.iter().copied().filter(|cell| cell.setting == setting).collect();
        if !cells.is_empty() && args.rounds > 0 {
            let mut bench = Bench::start(args, stage.variant(setting), setting, deadline).await?;
            bench.measure(&kinds, &cells, &mut report).await;
        }
    }
    if args.footprint {
        footprint::measure(&kinds, &stage, &mut report).await?;
    }
    let is_complete = report.is_complete();
    args.output.finish(&report, old.as_ref()).map(|is_fine| is_fine && is_complete)
}

/// Writes what was asked for. False if something got worse than in `old`, or nothing could be compared.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn finish(
    report: &Report,
    output: &StudyOutput,
    against: &str,
    old: Option<&Report>,
) -> io::Result<bool> {
    let goals = Goals::ours().map_err(io::Error::other)?;
    let comparison = old.map(|old| Comparison {
        against: against.to_owned(),
        threshold: output.threshold.unwrap_or(THRESHOLD),
        changes: verdict::changes(old, report, against),
    });
    let tables = tables(report, &goals, comparison.as_ref());
    io::stdout().lock().write_all(to_text(&tables).as_bytes())?;
    if let Some(path) = &output.json {
        fs::write(path, format!("{:#}\n", report.to_json()))?;
    }
    if let Some(path) = &output.markdown {
        fs::write(path, to_markdown(&tables))?;
    }
    if let Some(path) = &output.html {
        fs::write(path, page(report, &tables, &goals.judge(report)))?;
    }
    let Some(comparison) = comparison else { return Ok(true) };
    if comparison.changes.is_empty() {
        say(&format!("no cell was measured beside {} in both reports", comparison.against));
    }
    let is_worse = comparison.changes.iter().any(|change| change.is_worse(comparison.threshold));
    Ok(!is_worse && !comparison.changes.is_empty())
}

/// Cells that can be what they say here.
fn measurable(args: &PeersArgs, report: &mut Report) -> Vec<Cell> {
    let mut cells = args.chosen_cells();
    if !args.chooses_congestion() {
        return cells;
    }
    let found = namespace::congestion_of(AS_CHOSEN).unwrap_or_else(|error| error.to_string());
    if found != CHOSEN {
        let is_lost = |cell: &Cell| cell.is_cubic || args.congestion == Congestion::Cubic;
        for cell in cells.iter().filter(|cell| is_lost(cell)) {
            let reason = format!(
                "connections use {found}, not {CHOSEN}: no network namespace (unshare, ip) or no such module"
            );
            report.not_measured.push(Missing {
                subject: "everybody".into(),
                cell: Some(cell.name.into()),
                reason,
            });
        }
        cells.retain(|cell| !is_lost(cell));
    }
    cells
}

fn facts(args: &PeersArgs) -> Vec<(String, String)> {
    let congestion = |address| namespace::congestion_of(address).unwrap_or_else(|error| error.to_string());
    let mut text = format!("{} ({AS_IT_COMES})", congestion(AS_IT_COMES));
    if args.chooses_congestion() {
        text += &format!("; {} in cells on cubic ({AS_CHOSEN}, by its route)", congestion(AS_CHOSEN));
    }
    if args.congestion == Congestion::Cubic {
        text += "; every cell on cubic";
    }
    let layout = match args.layout {
        Layout::Pinned => "proxy on CPU 0, client and workers on CPU 1; cells with 2 threads unpinned",
        Layout::Shared => "not pinned",
    };
    let amount = format!(
        "{} rounds, {} requests per run of 1k, {} connections, {} thread(s)",
        args.rounds, args.requests, args.connections, args.threads
    );
    [("congestion control", text), ("layout", layout.into()), ("amount", amount)]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// The CPU of the proxy, and that of everybody else.
pub(crate) fn cpus(layout: Layout) -> (Cpu, Cpu) {
    let is_pinned = layout == Layout::Pinned;
    (is_pinned.then_some(PROXY_CPU), is_pinned.then_some(REST_CPU))
}

/// Whether processes can be held to CPUs.
///
/// # Errors
/// What is missing, and what measures without.
pub(crate) fn check_pinning() -> io::Result<()> {
    let instead = "`--layout shared` measures without";
    if find_program("taskset").is_none() {
        let why = format!("pinning needs the program taskset (util-linux); {instead}");
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    if std::thread::available_parallelism()?.get() < 2 {
        return Err(io::Error::other(format!("pinning needs two CPUs; {instead}")));
    }
    Ok(())
}

impl Stage {
    /// The same place with other threads and slots; its workers are not started yet.
    fn variant(&self, setting: Setting) -> Self {
        let (threads, slots) = match setting {
            Setting::Usual => (self.threads, None),
            Setting::TwoThreads => (2, None),
            Setting::SingleSlots => (self.threads, Some(1)),
        };
        Self {
            dir: self.dir.join(format!("{setting:?}")),
            sockets: Vec::new(),
            cpu: self.cpu,
            own_program: self.own_program.clone(),
            pingora: self.pingora.clone(),
            threads,
            slots,
        }
    }
}

impl Report {
    /// Remembers who was there.
    fn note(&mut self, subject: &Subject) {
        if !self.subjects.iter().any(|known| known.name == subject.name()) {
            self.subjects.push(SubjectFacts {
                name: subject.name().to_owned(),
                version: subject.version.clone(),
                configuration: subject.configuration.clone(),
                is_ours: subject.kind.is_ours(),
            });
        }
    }

    /// Remembers who was not.
    fn miss(&mut self, subject: &str, cell: Option<&str>, reason: String) {
        let missing = Missing { subject: subject.to_owned(), cell: cell.map(str::to_owned), reason };
        if !self.not_measured.contains(&missing) {
            self.not_measured.push(missing);
        }
    }
}
