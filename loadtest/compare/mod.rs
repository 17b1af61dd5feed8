//! The same app, reached in different ways: cold, warm and after a crash, side by side in one interleaved run.

mod crash;

use std::io;
use std::time::Duration;

use clap::Args;

use crate::cold::start::{Terms, started};
use crate::cold::{StartArgs, Starts};
use crate::compare::crash::crash;
use crate::private_dir::PrivateDir;
use crate::progress::Progress;
use crate::stack::{AppArgs, Plan, Way};
use crate::stop;
use crate::study::output::StudyOutput;
use crate::study::{Crash, Load, Study};
use crate::target::Target;
use crate::warm::scenario::Scenario;
use crate::warm::{load_once, parse_rate, parse_seconds, scenario_of};

/// Requests that make a stack warm before it is measured.
const WARMING: usize = 300;
const WARMING_TIME: Duration = Duration::from_secs(5);

/// Flags of `compare`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompareArgs {
    /// How the app is reached, in turn.
    #[arg(long, value_delimiter = ',', default_value = "direct,socket,spare,tcp,nginx,haproxy")]
    pub(crate) via: Vec<Way>,
    /// Cold starts of each.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) runs: u32,
    /// Times each is started for warm load and a crash.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) warm_runs: u32,
    /// Requests per second of the warm load, each due at its own moment (open loop).
    #[arg(long, default_value_t = 100.0, value_parser = parse_rate)]
    pub(crate) rate: f64,
    /// Length of the warm load.
    #[arg(long, default_value_t = 5.0, value_parser = parse_seconds)]
    pub(crate) seconds: f64,
    /// What the warm load is, as in `warm`: a name or a TOML file. A GET of --path if absent.
    #[arg(long, value_name = "NAME|FILE")]
    pub(crate) scenario: Option<String>,
    #[command(flatten)]
    pub(crate) starts: StartArgs,
    /// Longest whole measurement, in seconds; what was measured by then is reported.
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) limit_s: u64,
    #[command(flatten)]
    pub(crate) output: StudyOutput,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

/// `warmfront-bench compare`. True if all was measured, nothing failed but what crashes explain, and nothing got worse.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn run(args: &CompareArgs) -> io::Result<bool> {
    let scenario = scenario_of(args.scenario.as_deref(), &args.starts.ask.path)
        .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    stop::watch(Duration::from_secs(args.limit_s))?;
    let mut study = Study::here("compare", args.starts.facts());
    let dir = PrivateDir::new()?;
    let bench = Starts { app: &args.app, args: &args.starts, dir: dir.path() };
    let ways = bench.able(&args.app.ways(&args.via), &mut study);
    let warm_steps = u64::from(args.warm_runs) * ways.len() as u64;
    let progress = Progress::new(u64::from(args.runs) * bench.in_a_round(&ways) + warm_steps);
    study.do_rounds(args.runs.max(args.warm_runs), |round, study| {
        if round < args.runs {
            bench.round(round, &ways, study, &progress);
        }
        if round < args.warm_runs {
            warm_round(&Warm { args, bench: &bench, scenario: &scenario, round }, &ways, study, &progress);
        }
    });
    progress.finish();
    args.output.finish(&study)
}

/// What the warm part of a round needs to know.
struct Warm<'a> {
    args: &'a CompareArgs,
    bench: &'a Starts<'a>,
    scenario: &'a Scenario,
    round: u32,
}

/// Each way once: started, warmed, loaded, crashed. Another goes first in each round.
fn warm_round(warm: &Warm<'_>, ways: &[Way], study: &mut Study, progress: &Progress) {
    for turn in 0..ways.len() {
        let way = ways[(turn + warm.round as usize) % ways.len()];
        progress.step(&format!("round {}: {} warm", warm.round + 1, way.name()));
        let outcome = warm.measure(way, study);
        if stop::is_requested() {
            return;
        }
        if let Err(reason) = outcome {
            study.miss(way.name(), Some("warm"), reason);
        }
    }
}

impl Warm<'_> {
    fn measure(&self, way: Way, study: &mut Study) -> Result<(), String> {
        let (args, round) = (self.args, self.round);
        let plan = Plan::new(way, &args.app, self.bench.dir)?;
        let request = args.starts.ask.ask().bytes(plan.target);
        let deadline = Duration::from_secs(args.starts.deadline_s);
        let terms = Terms { settle_requests: WARMING, settle: WARMING_TIME, deadline };
        let mut stack = started(&plan, &request, &terms)?;
        let (target, period) = (Target::Tcp(plan.target), Duration::from_secs_f64(args.seconds));
        let load = load_once(self.scenario, &target, args.rate, period, || stack.failure())?;
        study.loads.push(Load { subject: way.name().into(), round, ..load });
        let (crash, _stack) = crash(&plan, stack, &request)?;
        study.crashes.push(Crash { round, ..crash });
        Ok(())
    }
}
