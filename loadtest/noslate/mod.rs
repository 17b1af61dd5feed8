//! Noslate's front door, the documented one and ours: what an invocation costs each, in interleaved rounds.
//!
//! Real planes are on no registry, so the one behind both is the fake that the tests have: what it spends is
//! reported beside, and is in every latency. Ratios are the result.

pub(crate) mod fronts;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;

use crate::noslate::fronts::{CALLS_PER_CHANNEL, DOCUMENTED, Front, Kind, Plane};
use crate::peers::{self, Layout, check_pinning, cpus};
use crate::private_dir::PrivateDir;
use crate::process::{Cpu, command, output};
use crate::progress::{Progress, say};
use crate::report::{CellResult, Missing, Report, Sample};
use crate::study::output::StudyOutput;
use crate::subjects::Build;

/// Longest single load run; the runs are meant to take some seconds.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// Flags of `noslate`.
#[derive(Args, Clone, Debug)]
pub(crate) struct NoslateArgs {
    /// A build of warmfront, "[NAME=]BIN [ARG|WARMFRONT_KEY=VALUE]..."; repeat to compare builds or settings.
    /// The `warmfront` beside this program if absent.
    #[arg(long, value_name = "BUILD")]
    pub(crate) warmfront: Vec<Build>,
    /// Rounds; each runs everything against every front once.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Requests of each run. Before the first round each front gets as many to warm up.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    pub(crate) requests: u64,
    /// Connections kept by the client, each with one request at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) connections: u32,
    /// Which CPUs are whose.
    #[arg(long, value_enum, default_value_t = Layout::Pinned)]
    pub(crate) layout: Layout,
    /// Longest whole measurement, in seconds; what was measured by then is reported.
    #[arg(long, default_value_t = 1800, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) limit_s: u64,
    #[command(flatten)]
    pub(crate) output: StudyOutput,
}

/// One kind of invocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    what: &'static str,
    path: &'static str,
    /// Of the request; a GET without.
    body_bytes: Option<u32>,
    /// Of the answer.
    expect_body_bytes: u32,
}

/// All that is measured.
pub(crate) const CELLS: [Cell; 2] = [
    Cell {
        name: "invoke100",
        what: "POST 100 bytes, echoed",
        path: "/invoke/echo",
        body_bytes: Some(100),
        expect_body_bytes: 100,
    },
    Cell {
        name: "invoke64k",
        what: "GET, 64 KiB",
        path: "/invoke/download?bytes=65536",
        body_bytes: None,
        expect_body_bytes: 64 << 10,
    },
];

/// The whole measurement. True if everything was measured, no request failed, and nothing got worse.
///
/// # Errors
/// The fake data plane cannot be started, or a file cannot be read or written.
///
/// # Cancel safety
/// Dropping the future ends all children.
pub(crate) async fn run(args: &NoslateArgs) -> io::Result<bool> {
    // Read first: minutes of measuring for a file that is not there would be a pity.
    let old = args.output.compare.as_deref().map(Report::read).transpose()?;
    if args.layout == Layout::Pinned {
        check_pinning()?;
    }
    let own_program = std::env::current_exe()?;
    let kinds = kinds(&args.warmfront, &own_program)?;
    let (front_cpu, rest_cpu) = cpus(args.layout);
    let dir = PrivateDir::new()?;
    let mut bench = Bench {
        args,
        plane: Plane::start(dir.path(), rest_cpu)?,
        own_program: &own_program,
        rest_cpu,
        deadline: Instant::now() + Duration::from_secs(args.limit_s),
    };
    let mut report = Report::here(facts(args));
    let mut fronts = Vec::new();
    for kind in &kinds {
        match Front::start(kind, &bench.plane, dir.path(), front_cpu) {
            Ok(front) => {
                report.subjects.push(front.facts.clone());
                fronts.push(front);
            }
            Err(reason) => miss(&mut report, kind.name(), None, reason),
        }
    }
    bench.measure(&mut fronts, &mut report).await;
    let is_complete = report.is_complete();
    peers::finish(&report, &args.output, DOCUMENTED, old.as_ref()).map(|is_fine| is_fine && is_complete)
}

/// The documented front door and the builds.
fn kinds(builds: &[Build], own_program: &Path) -> io::Result<Vec<Kind>> {
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    let mut kinds = vec![Kind::Documented];
    let beside = own_program.with_file_name("warmfront").display().to_string();
    let beside: Vec<Build> = match builds {
        [] => vec![beside.parse().map_err(invalid)?],
        _ => builds.to_vec(),
    };
    for build in beside {
        if kinds.iter().any(|other| other.name() == build.name) {
            let why = format!("--warmfront: the name {} is taken; give another, NAME=BIN", build.name);
            return Err(invalid(why));
        }
        kinds.push(Kind::Warmfront(build));
    }
    Ok(kinds)
}

fn facts(args: &NoslateArgs) -> Vec<(String, String)> {
    let layout = match args.layout {
        Layout::Pinned => "front on CPU 0; client and data plane on CPU 1",
        Layout::Shared => "not pinned",
    };
    let amount = format!(
        "{} rounds, {} requests per run, {} connections; each front was given a run of each kind before",
        args.rounds, args.requests, args.connections
    );
    let plane = "a fake, tests/apps/noslate on @grpc/grpc-js 1.8.8: its time is in every latency".into();
    let resets = format!(
        "{DOCUMENTED} resets every call that has ended, and the data plane answers 1000 resets in a burst with \
         GOAWAY, which fails what is in flight. The documented one lives with that; here it is told to change its \
         connection every {CALLS_PER_CHANNEL} invocations, so that what is measured does not fail, and what that \
         costs is in its figures"
    );
    [("layout", layout.into()), ("amount", amount), ("data plane", plane), ("resets", resets)]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

fn miss(report: &mut Report, subject: &str, cell: Option<&str>, reason: String) {
    let missing = Missing { subject: subject.to_owned(), cell: cell.map(str::to_owned), reason };
    if !report.not_measured.contains(&missing) {
        report.not_measured.push(missing);
    }
}

/// What the rounds need.
struct Bench<'a> {
    args: &'a NoslateArgs,
    plane: Plane,
    own_program: &'a Path,
    rest_cpu: Cpu,
    deadline: Instant,
}

impl Bench<'_> {
    /// Warms all fronts, then does the rounds. Who cannot do one kind of invocation is left out of it, with the
    /// reason in the report.
    async fn measure(&mut self, fronts: &mut [Front], report: &mut Report) {
        let mut able = vec![Vec::new(); CELLS.len()];
        for (place, front) in fronts.iter_mut().enumerate() {
            say(&format!("warming {}", front.facts.name));
            for (cell, able) in CELLS.iter().zip(&mut able) {
                let outcome = self.run_load(front, cell).await;
                match (front.failure().or_else(|| self.plane.failure()), outcome) {
                    (None, Ok(sample)) if sample.is_clean() => able.push(place),
                    (None, Ok(sample)) => {
                        let errors = sample.errors.unwrap_or_default();
                        let reason = format!("{} of its requests failed: {errors}", sample.failed);
                        miss(report, &front.facts.name, Some(cell.name), reason);
                    }
                    (Some(reason), _) | (None, Err(reason)) => {
                        miss(report, &front.facts.name, Some(cell.name), reason);
                    }
                }
            }
        }
        let mut results = CELLS.map(|cell| CellResult {
            name: cell.name.into(),
            what: cell.what.into(),
            curve: None,
            runs: Default::default(),
        });
        let runs: usize = able.iter().map(Vec::len).sum();
        let progress = Progress::new(u64::from(self.args.rounds) * runs as u64);
        for round in 0..self.args.rounds as usize {
            for ((cell, result), able) in CELLS.iter().zip(&mut results).zip(&able) {
                for turn in 0..able.len() {
                    // Another one goes first in each round: no place in the order is always the same front's.
                    let front = &fronts[able[(turn + round) % able.len()]];
                    let name = &front.facts.name;
                    let place = format!("round {}/{} {}", round + 1, self.args.rounds, cell.name);
                    progress.step(&format!("{place} {name}"));
                    let sample = self.run_load(front, cell).await;
                    if let Err(why) = &sample {
                        progress.say(&format!("{place} {name}: not measured: {why}"));
                    }
                    result.runs.entry(name.clone()).or_default().push(sample.ok());
                }
            }
        }
        progress.finish();
        for front in fronts {
            if let Some(reason) = front.failure().or_else(|| self.plane.failure()) {
                miss(report, &front.facts.name, None, reason);
            }
        }
        report.cells.extend(results);
    }

    async fn run_load(&self, front: &Front, cell: &Cell) -> Result<Sample, String> {
        let left = self.deadline.saturating_duration_since(Instant::now()).min(RUN_LIMIT);
        if left.is_zero() {
            return Err("time is up".into());
        }
        let mut load = command(self.own_program, self.rest_cpu);
        load.args(["load", "--json", "--path", cell.path]);
        for (flag, value) in [
            ("--target", format!("127.0.0.1:{}", front.port)),
            ("--connections", self.args.connections.to_string()),
            ("--requests", self.args.requests.to_string()),
            ("--warmup-requests", self.args.connections.to_string()),
            ("--expect-body-bytes", cell.expect_body_bytes.to_string()),
            ("--cpu-of", front.pid().to_string()),
            ("--beside", self.plane.pid().to_string()),
            ("--limit-s", (RUN_LIMIT.as_secs() / 2).to_string()),
        ] {
            load.args([flag.to_owned(), value]);
        }
        load.args(
            cell.body_bytes.into_iter().flat_map(|bytes| ["--body-bytes".to_owned(), bytes.to_string()]),
        );
        let text = output(load, left).await.map_err(|error| format!("load: {error}"))?;
        Sample::parse(&text).ok_or_else(|| format!("cell {}: load reported no figures", cell.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_front_door_goes_first_and_names_are_taken_once() {
        let names = |builds: &[&str]| {
            let builds: Vec<Build> = builds.iter().map(|build| build.parse().unwrap()).collect();
            let kinds = kinds(&builds, Path::new("/a/warmfront-bench"));
            kinds.map(|kinds| kinds.iter().map(|kind| kind.name().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), [DOCUMENTED, "warmfront"]);
        assert_eq!(names(&["old=/a", "new=/b"]).unwrap(), [DOCUMENTED, "old", "new"]);
        assert!(names(&["/a", "/b"]).unwrap_err().to_string().contains("NAME=BIN"));
    }
}
