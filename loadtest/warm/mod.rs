//! Load by a schedule, in scenarios: what users would see of an app that is cold, warm or thawed.
//!
//! A request's latency counts from the moment at which it was due by a schedule made
//! beforehand (`plan.rs`), whether the app was still starting, standing still or busy, so
//! that whatever happens is seen by everybody who was due in it. Its service time, which a
//! closed loop would have reported, stands beside it. `search.rs` finds the highest rate
//! that holds.

mod events;
mod generator;
mod ledger;
mod plan;
mod read;
pub(crate) mod scenario;
mod search;
mod socket;
mod subject;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::runtime::Runtime;

use crate::private_dir::PrivateDir;
use crate::progress::Progress;
use crate::stack::{AppArgs, Plan as StackPlan, Way};
use crate::stop;
use crate::study::output::StudyOutput;
use crate::study::{Load, Search, StartClass, Step, Study};
use crate::subjects::Build;
use crate::target::Target;
use crate::warm::generator::{Bounds, Finished, Sender};
use crate::warm::plan::Plan;
use crate::warm::scenario::{BUILT_IN, Scenario};
use crate::warm::search::{Condition, Hunt, Range};
use crate::warm::subject::{Life, Subject};

/// Share of the due rate that has to be answered in time for a rate to hold.
const ACHIEVED_LEAST: f64 = 0.99;
/// Rate of the run that warms, where the scenario has none; and its bound: it shall warm, not wear out.
const WARM_UP_RATE: f64 = 50.0;
const WARM_UP_RATE_MAX: f64 = 1000.0;

/// Flags of `warm`.
#[derive(Args, Clone, Debug)]
pub(crate) struct WarmArgs {
    /// Something that runs already: loopback ADDRESS:PORT or unix:PATH.
    #[arg(long, conflicts_with_all = ["command", "class", "via"], required_unless_present = "command")]
    pub(crate) target: Option<Target>,
    /// What is asked: small-json, large-download, upload, sse, websocket-echo, burst-after-silence, or a TOML file.
    #[arg(long, value_name = "NAME|FILE", conflicts_with = "path")]
    pub(crate) scenario: Option<String>,
    /// One GET instead of a scenario: its request target.
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// Requests per second; one run for each.
    #[arg(long, value_delimiter = ',', default_value = "100", value_parser = parse_rate)]
    pub(crate) rate: Vec<f64>,
    /// Length of a run, and of a step of the search.
    #[arg(long, default_value_t = 10.0, value_parser = parse_seconds)]
    pub(crate) seconds: f64,
    /// How often all is repeated.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Most connections at the same time; requests that find all taken wait, which is part of their latency.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) connections: u32,
    /// Longest wait of one request, for a connection and for an answer.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// What the app is when requests come: cold (they come from its start on), warm, thawed (from the thaw on).
    #[arg(long, value_delimiter = ',', default_value = "warm")]
    pub(crate) class: Vec<StartClass>,
    /// How long an app is exercised before it is measured warm or frozen.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) warmup: Duration,
    /// How long it stands still before it is thawed.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub(crate) frozen: Duration,
    /// Search the highest rate that holds instead of measuring given ones.
    #[arg(long, conflicts_with = "rate")]
    pub(crate) search: bool,
    /// What has to hold, besides that nothing fails and all is answered in time.
    #[arg(long, default_value = "p99 < 50ms", requires = "search")]
    pub(crate) limit: Condition,
    /// The first rate that is tried.
    #[arg(long, default_value_t = 50.0, value_parser = parse_rate, requires = "search")]
    pub(crate) from: f64,
    /// No rate above it is tried.
    #[arg(long, default_value_t = 50_000.0, value_parser = parse_rate, requires = "search")]
    pub(crate) max_rate: f64,
    /// Most tries.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1000), requires = "search")]
    pub(crate) steps: u32,
    /// Longest whole measurement, in seconds; what was measured by then is reported.
    #[arg(long, default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) limit_s: u64,
    /// How the app is reached: direct, socket, spare, tcp, nginx, haproxy.
    #[arg(long, value_delimiter = ',', default_value = "direct")]
    pub(crate) via: Vec<Way>,
    /// The app: a program that serves HTTP, and its arguments. `{port}` becomes its port, as does the variable PORT.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
    /// The same where it shall listen on a Unix socket, behind warmfront; the command itself if absent.
    #[arg(long, value_name = "COMMAND", requires = "command")]
    pub(crate) socket_command: Option<String>,
    /// The build of warmfront, "BIN [ARG|WARMFRONT_KEY=VALUE]..."; the one beside this program if absent.
    #[arg(long, value_name = "BUILD", requires = "command")]
    pub(crate) warmfront: Option<Build>,
    /// Processes of the app behind warmfront; one elsewhere.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64), requires = "command")]
    pub(crate) workers: u32,
    #[command(flatten)]
    pub(crate) output: StudyOutput,
}

pub(crate) fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.01..=1e6).contains(rate));
    rate.ok_or_else(|| format!("`{text}` is no rate; write requests per second, 0.01 to 1000000"))
}

pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.ok_or_else(|| format!("`{text}` is no length of a run; write seconds, 0.1 to 3600"))
}

impl FromStr for StartClass {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match [Self::Cold, Self::Warm, Self::Thawed].into_iter().find(|class| class.name() == text) {
            Some(class) => Ok(class),
            None => Err(format!("`{text}` is no class; there are cold, warm, thawed")),
        }
    }
}

impl WarmArgs {
    /// What is asked for.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    fn scenario(&self) -> Result<Scenario, String> {
        scenario_of(self.scenario.as_deref(), &self.path)
    }

    fn bounds(&self) -> Bounds {
        Bounds { connections: self.connections, timeout: self.timeout }
    }

    fn period(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// What the runs of one class send, one after the other.
    fn plans(&self, scenario: &Scenario) -> Result<Vec<Plan>, String> {
        let rates = if scenario.has_rate() { &self.rate[..] } else { &self.rate[..1] };
        rates.iter().map(|rate| Plan::new(scenario, *rate, self.period())).collect()
    }

    fn subjects(&self, dir: &Path, study: &mut Study) -> Vec<Subject> {
        if let Some(target) = &self.target {
            return vec![Subject::Running(target.clone())];
        }
        let app = AppArgs {
            command: self.command.clone(),
            socket_command: self.socket_command.clone(),
            warmfront: self.warmfront.clone(),
            workers: self.workers,
            ..AppArgs::default()
        };
        let mut subjects = Vec::new();
        for way in &self.via {
            match StackPlan::new(*way, &app, dir) {
                Ok(plan) => subjects.push(Subject::Started(Box::new(plan))),
                Err(reason) => study.miss(way.name(), None, reason),
            }
        }
        subjects
    }
}

/// The scenario of that name or file; without one, a GET of `path`.
///
/// # Errors
/// Everything that is wrong with it.
pub(crate) fn scenario_of(name: Option<&str>, path: &str) -> Result<Scenario, String> {
    let Some(name) = name else {
        return if path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Scenario::of_path(path))
        } else {
            Err(format!("--path `{path}` is no request target; it begins with `/`, without spaces"))
        };
    };
    let told = |problems: Vec<read::Problem>| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("the scenario cannot be used.\n{}", lines.join("\n"))
    };
    if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
        return read::read(text, name).map_err(told);
    }
    let names = BUILT_IN.map(|(name, _)| name).join(", ");
    let text = fs::read_to_string(Path::new(name))
        .map_err(|error| format!("--scenario {name}: {error}. Name a TOML file, or one of {names}"))?;
    read::read(&text, name).map_err(told)
}

/// One run of load against something that runs and is warm already. `failure` tells why it can no longer be
/// measured, if so.
///
/// # Errors
/// The scenario makes no sense at this rate, the target is gone, or the run was told to stop.
pub(crate) fn load_once(
    scenario: &Scenario,
    target: &Target,
    rate: f64,
    period: Duration,
    mut failure: impl FnMut() -> Option<String>,
) -> Result<Load, String> {
    let plan = Plan::new(scenario, rate, period)?;
    let sender = Sender::new(scenario, target, Bounds { connections: 256, timeout: Duration::from_secs(10) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let mut reason = None;
    let halts = || {
        reason = reason.take().or_else(&mut failure);
        reason.is_some() || stop::is_requested()
    };
    let finished = runtime.block_on(sender.run(&plan, Instant::now(), false, halts));
    let finished = finished.map_err(|error| error.to_string())?;
    match reason.or(stop::reason().map(str::to_owned)) {
        Some(why) => Err(why),
        None => Ok(Load { scenario: scenario.name.clone(), class: StartClass::Warm, ..finished.load }),
    }
}

/// `warmfront-bench warm`. True if no request failed, all was measured, and a search found a rate.
///
/// # Errors
/// The scenario or the flags make no sense, or a file cannot be written.
pub(crate) fn run(args: &WarmArgs) -> io::Result<bool> {
    let senseless = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    let scenario = args.scenario().map_err(senseless)?;
    if args.search && !scenario.phases.is_empty() {
        let why = format!(
            "`{}` has phases of its own; a search needs a steady rate. Remove them, or --search",
            scenario.name
        );
        return Err(senseless(why));
    }
    if args.search && args.class.iter().any(|class| *class != StartClass::Warm) {
        return Err(senseless(
            "a rate is searched on an app that is warm; remove --class, or --search".into(),
        ));
    }
    let plans = args.plans(&scenario).map_err(senseless)?;
    stop::watch(Duration::from_secs(args.limit_s))?;
    let mut study = Study::here("warm", facts(args, &scenario));
    let dir = PrivateDir::new()?;
    let subjects = args.subjects(dir.path(), &mut study);
    study.subjects = subjects.iter().map(Subject::facts).collect();
    study.rounds = (args.rounds, 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let bench = Bench { args, scenario: &scenario, runtime: &runtime };
    let runs = if args.search { 1 } else { plans.len() * args.class.len() };
    let progress = Progress::new(u64::from(args.rounds) * subjects.len() as u64 * runs as u64);
    'rounds: for round in 0..args.rounds {
        for subject in &subjects {
            let name = subject.name();
            if args.search {
                progress.step(&format!("round {}: {name}: the rate that holds", round + 1));
                match bench.search(subject) {
                    Ok(search) => study.searches.push(search),
                    Err(reason) => study.miss(&name, None, reason),
                }
            }
            let cases = args.class.iter().flat_map(|class| plans.iter().map(move |plan| (*class, plan)));
            for (class, plan) in cases.filter(|_| !args.search) {
                if stop::is_requested() {
                    break 'rounds;
                }
                let rate = plan.rate();
                progress.step(&format!("round {}: {name}, {}, {rate:.0}/s", round + 1, class.name()));
                match bench.measure(subject, class, plan) {
                    // Told to stop before there was anything to see.
                    Ok(Load { ok: 0, failed: 0, .. }) if stop::is_requested() => break 'rounds,
                    Ok(load) => study.loads.push(Load { round, ..load }),
                    Err(reason) => study.miss(&name, Some(class.name()), reason),
                }
            }
        }
        if stop::is_requested() {
            break;
        }
        study.rounds.1 += 1;
    }
    study.ended_early = stop::reason().map(str::to_owned);
    progress.finish();
    let is_fine = args.output.finish(&study)?;
    Ok(is_fine && has_measured(&study))
}

/// Whether there is anything to judge by: an answer, and a rate where one was searched.
fn has_measured(study: &Study) -> bool {
    let is_there = !study.loads.is_empty() || !study.searches.is_empty();
    is_there
        && study.loads.iter().all(|load| load.ok > 0)
        && study.searches.iter().all(|search| search.knee.is_some())
}

fn facts(args: &WarmArgs, scenario: &Scenario) -> Vec<(String, String)> {
    let mut facts = vec![
        ("scenario", scenario.name.clone()),
        ("connections", format!("{} at most", args.connections)),
        ("timeout", humantime::format_duration(args.timeout).to_string()),
    ];
    if args.target.is_none() {
        facts.push(("warm-up", humantime::format_duration(args.warmup).to_string()));
    }
    if args.class.contains(&StartClass::Thawed) {
        facts.push(("frozen", humantime::format_duration(args.frozen).to_string()));
    }
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What all runs share.
struct Bench<'a> {
    args: &'a WarmArgs,
    scenario: &'a Scenario,
    runtime: &'a Runtime,
}

impl Bench<'_> {
    /// One run of load against a subject of a class; partial if it was told to stop.
    fn measure(&self, subject: &Subject, class: StartClass, plan: &Plan) -> Result<Load, String> {
        let sender = Sender::new(self.scenario, &subject.target(), self.args.bounds());
        // A cold app's requests come from the moment at which its start is asked for.
        let asked = Instant::now();
        let mut life = subject.start()?;
        let start = match class {
            StartClass::Cold => asked,
            StartClass::Warm | StartClass::Thawed => {
                self.warm_up(subject, &sender, &mut life)?;
                match class {
                    StartClass::Thawed => life.freeze(self.args.frozen)?,
                    StartClass::Warm | StartClass::Cold => Instant::now(),
                }
            }
        };
        let finished = self.send(&sender, plan, start, class == StartClass::Cold, &mut life)?;
        let scenario = self.scenario.name.clone();
        Ok(Load { subject: subject.name(), scenario, class, ..finished.load })
    }

    /// Exercises a program that was just started; what runs already is warm by definition.
    fn warm_up(&self, subject: &Subject, sender: &Sender, life: &mut Life) -> Result<(), String> {
        let Subject::Started(_) = subject else { return Ok(()) };
        let rate =
            if self.scenario.has_rate() && !self.args.search { self.args.rate[0] } else { WARM_UP_RATE };
        let steady = Scenario { phases: Vec::new(), repeat: 1, ..self.scenario.clone() };
        let plan = Plan::new(&steady, rate.min(WARM_UP_RATE_MAX), self.args.warmup)?;
        let finished = self.send(sender, &plan, Instant::now(), true, life)?;
        match finished.ledger.counts() {
            (0, _) if !stop::is_requested() && !plan.due.is_empty() => {
                let first = finished.load.errors.values().next().map(|(_, first)| first.clone());
                Err(format!(
                    "no answer while it was warmed up: {} {}",
                    first.unwrap_or_default(),
                    life.last_words()
                ))
            }
            _ => Ok(()),
        }
    }

    fn send(
        &self,
        sender: &Sender,
        plan: &Plan,
        start: Instant,
        is_patient: bool,
        life: &mut Life,
    ) -> Result<Finished, String> {
        let mut failure = None;
        let halts = || {
            // Last words may be on their way still when the end is seen; they are there at the second look.
            let is_second = failure.is_some();
            failure = life.failure();
            (failure.is_some() && is_second) || stop::is_requested()
        };
        let finished = self.runtime.block_on(sender.run(plan, start, is_patient, halts));
        match failure.filter(|_| !stop::is_requested()) {
            Some(why) => Err(why),
            None => finished.map_err(|error| error.to_string()),
        }
    }

    /// Looks for the highest rate that holds.
    fn search(&self, subject: &Subject) -> Result<Search, String> {
        let WarmArgs { limit, from, max_rate, steps, .. } = self.args;
        let sender = Sender::new(self.scenario, &subject.target(), self.args.bounds());
        let mut life = subject.start()?;
        self.warm_up(subject, &sender, &mut life)?;
        let mut hunt = Hunt::new(Range { from: *from, max: *max_rate, steps: *steps });
        let mut tried = Vec::new();
        while let Some(rate) = hunt.next() {
            let plan = Plan::new(self.scenario, rate, self.args.period())?;
            let finished = self.send(&sender, &plan, Instant::now(), false, &mut life)?;
            if !finished.is_whole {
                break;
            }
            let step = judge(limit, &plan, &finished);
            hunt.tell(step.holds);
            tried.push(step);
        }
        let condition =
            format!("{limit}, no failure, {:.0} % of what was due answered", ACHIEVED_LEAST * 100.0);
        let scenario = self.scenario.name.clone();
        Ok(Search { subject: subject.name(), scenario, condition, steps: tried, knee: hunt.knee() })
    }
}

/// Whether a rate holds.
fn judge(limit: &Condition, plan: &Plan, finished: &Finished) -> Step {
    let ledger = &finished.ledger;
    let (ok, failed) = ledger.counts();
    // The last answers may take as long as any other.
    let allowed = Duration::from_secs_f64(limit.limit_us() / 1e6);
    let lasted = plan.length.max(ledger.last().saturating_sub(allowed));
    let achieved = ok as f64 / lasted.as_secs_f64().max(1e-9);
    let holds = failed == 0
        && ok > 0
        && achieved >= plan.rate() * ACHIEVED_LEAST
        && ledger.within_us(limit.share()) < limit.limit_us();
    Step {
        rate: plan.rate(),
        achieved,
        p50_us: ledger.within_us(0.5),
        p99_us: ledger.within_us(0.99),
        failed,
        holds,
    }
}

#[cfg(test)]
mod tests;
