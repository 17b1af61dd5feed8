//! What a start costs: the same program from nothing to its first good answer, again and again.
//!
//! `start.rs` watches one start, this file decides which are measured in which order.
//! `compare` measures its starts here too, with more ways to reach the same app.

mod cache;
mod queue;
mod settle;
pub(crate) mod start;

use std::io;
use std::path::Path;
use std::str::FromStr;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use clap::Args;

use crate::cold::start::{Observed, Terms, observe, started};
use crate::private_dir::PrivateDir;
use crate::probe::Ask;
use crate::progress::Progress;
use crate::stack::{AppArgs, Plan, Way};
use crate::stop;
use crate::study::output::StudyOutput;
use crate::study::{PageCache, Start, Study};

/// Flags of `cold`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ColdArgs {
    /// Starts of each kind.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) runs: u32,
    #[command(flatten)]
    pub(crate) starts: StartArgs,
    /// Longest whole measurement, in seconds; what was measured by then is reported.
    #[arg(long, default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) limit_s: u64,
    #[command(flatten)]
    pub(crate) output: StudyOutput,
    #[command(flatten)]
    pub(crate) app: AppArgs,
}

/// Flags about starts and what is asked then.
#[derive(Args, Clone, Debug)]
pub(crate) struct StartArgs {
    /// How many are started at the same moment; several counts are measured in turn.
    #[arg(long, value_delimiter = ',', default_value = "1", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) at_once: Vec<u32>,
    /// Whether what the program reads is in memory: kept, dropped (root; slows down the whole machine), or both.
    #[arg(long, value_delimiter = ',', default_value = "kept")]
    pub(crate) page_cache: Vec<PageCache>,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    /// Longest wait for the first good answer, in seconds. The platform gives up after 120.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) deadline_s: u64,
    /// Requests behind the first, one after another, to see when it is warm. 0: do not look.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub(crate) settle_requests: u32,
    /// Longest time for them, in milliseconds.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub(crate) settle_ms: u64,
}

/// Flags that say what is asked.
#[derive(Args, Clone, Debug)]
pub(crate) struct AskArgs {
    /// Request target.
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// Method; GET without and POST with a body.
    #[arg(long)]
    pub(crate) method: Option<String>,
    /// Bytes of content in each request.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    pub(crate) body_bytes: u32,
}

impl AskArgs {
    /// The request.
    pub(crate) fn ask(&self) -> Ask {
        let body = vec![b'x'; self.body_bytes as usize];
        let method =
            self.method.clone().unwrap_or_else(|| if body.is_empty() { "GET" } else { "POST" }.into());
        Ask { method, path: self.path.clone(), body }
    }
}

impl FromStr for PageCache {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "kept" => Ok(Self::Kept),
            "dropped" => Ok(Self::Dropped),
            _ => Err(format!("`{text}` is no state of the page cache; there are kept, dropped")),
        }
    }
}

/// `warmfront-bench cold`. True if every start came to a good answer and nothing got worse.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn run(args: &ColdArgs) -> io::Result<bool> {
    stop::watch(Duration::from_secs(args.limit_s))?;
    let mut study = Study::here("cold", args.starts.facts());
    let dir = PrivateDir::new()?;
    let bench = Starts { app: &args.app, args: &args.starts, dir: dir.path() };
    let ways = bench.able(&args.app.ways(&[Way::Direct]), &mut study);
    let progress = Progress::new(u64::from(args.runs) * bench.in_a_round(&ways));
    study.do_rounds(args.runs, |round, study| bench.round(round, &ways, study, &progress));
    progress.finish();
    args.output.finish(&study)
}

impl StartArgs {
    /// What was asked for, for the record.
    pub(crate) fn facts(&self) -> Vec<(String, String)> {
        vec![
            ("request".into(), self.ask.ask().to_string()),
            ("requests to see it warm".into(), format!("{} or {} ms", self.settle_requests, self.settle_ms)),
        ]
    }

    fn terms(&self) -> Terms {
        Terms {
            settle_requests: self.settle_requests as usize,
            settle: Duration::from_millis(self.settle_ms),
            deadline: Duration::from_secs(self.deadline_s),
        }
    }
}

/// What is started, how often and where.
pub(crate) struct Starts<'a> {
    pub(crate) app: &'a AppArgs,
    pub(crate) args: &'a StartArgs,
    /// For configurations.
    pub(crate) dir: &'a Path,
}

impl Starts<'_> {
    /// Starts each once, unmeasured, so that all that is read is in the page cache. The ways that work; the
    /// reasons of the others go into the study.
    pub(crate) fn able(&self, ways: &[Way], study: &mut Study) -> Vec<Way> {
        let mut able = Vec::new();
        for way in ways {
            match self.try_once(*way, study) {
                Ok(()) => able.push(*way),
                // Ended on the way is no fault of its own.
                Err(_) if stop::is_requested() => break,
                Err(reason) => study.miss(way.name(), None, reason),
            }
        }
        if self.args.page_cache.contains(&PageCache::Dropped)
            && let Some(reason) = cache::refusal()
        {
            study.miss("every subject", Some("page cache dropped"), reason);
        }
        able
    }

    fn try_once(&self, way: Way, study: &mut Study) -> Result<(), String> {
        let plan = Plan::new(way, self.app, self.dir)?;
        study.subjects.push(plan.facts());
        let terms = Terms { settle_requests: 0, ..self.args.terms() };
        started(&plan, &self.request(&plan), &terms).map(drop)
    }

    fn request(&self, plan: &Plan) -> Vec<u8> {
        self.args.ask.ask().bytes(plan.target)
    }

    fn caches(&self) -> Vec<PageCache> {
        let may_drop = cache::refusal().is_none();
        self.args.page_cache.iter().copied().filter(|cache| *cache == PageCache::Kept || may_drop).collect()
    }

    /// Measurements of one round.
    pub(crate) fn in_a_round(&self, ways: &[Way]) -> u64 {
        (self.caches().len() * self.args.at_once.len() * ways.len()) as u64
    }

    /// One round: every kind of start once. Another way goes first in each.
    pub(crate) fn round(&self, round: u32, ways: &[Way], study: &mut Study, progress: &Progress) {
        for page_cache in self.caches() {
            for at_once in self.args.at_once.iter().copied() {
                for turn in 0..ways.len() {
                    let way = ways[(turn + round as usize) % ways.len()];
                    progress.step(&format!(
                        "round {}: {} from nothing, {at_once} at once",
                        round + 1,
                        way.name()
                    ));
                    let started = self.start_at_once(way, page_cache, at_once);
                    if stop::is_requested() {
                        return;
                    }
                    match started {
                        Ok(all) => study.starts.extend((0..).zip(all).map(|(place, observed)| {
                            entry(way, round, page_cache, (at_once, place), observed)
                        })),
                        Err(reason) => study.miss(way.name(), Some("cold"), reason),
                    }
                }
            }
        }
    }

    fn start_at_once(&self, way: Way, page_cache: PageCache, count: u32) -> Result<Vec<Observed>, String> {
        let plans: Vec<Plan> =
            (0..count).map(|_| Plan::new(way, self.app, self.dir)).collect::<Result<_, _>>()?;
        if page_cache == PageCache::Dropped {
            cache::drop_all().map_err(|error| format!("the page cache cannot be dropped: {error}"))?;
        }
        let (terms, gate) = (self.args.terms(), Barrier::new(plans.len()));
        let watch = |plan: &Plan| {
            let request = self.request(plan);
            gate.wait();
            observe(plan, &request, &terms).0
        };
        Ok(thread::scope(|scope| {
            let watching: Vec<_> = plans.iter().map(|plan| scope.spawn(|| watch(plan))).collect();
            let died =
                || Observed { failure: Some("the watching thread died".into()), ..Observed::default() };
            watching.into_iter().map(|watcher| watcher.join().unwrap_or_else(|_| died())).collect()
        }))
    }
}

fn entry(
    way: Way,
    round: u32,
    page_cache: PageCache,
    (at_once, place): (u32, u32),
    observed: Observed,
) -> Start {
    Start {
        subject: way.name().into(),
        round,
        page_cache,
        at_once,
        place,
        phases: observed.phases,
        bad_answers: observed.bad_answers,
        early: observed.early,
        warm_us: observed.warm_us,
        failure: observed.failure,
    }
}
