//! The rounds: workers and subjects of one setting, and the load that goes to each in turn.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use crate::peers::cells::{Cell, Setting};
use crate::peers::{Congestion, Layout, PeersArgs, cpus};
use crate::process::{Cpu, Process, command, output};
use crate::progress::{Progress, say};
use crate::report::{CellResult, Report, Sample};
use crate::subjects::{Kind, Stage, Subject};

/// Worker processes behind every subject, where slots are not what is measured.
const WORKERS: usize = 2;
/// The same where they are.
const SINGLE_SLOT_WORKERS: usize = 4;
/// Longest single load run; the runs are meant to take about a second.
const RUN_LIMIT: Duration = Duration::from_secs(120);

/// Workers that run, and what the subjects in front of them are given.
pub(crate) struct Bench<'a> {
    args: &'a PeersArgs,
    stage: Stage,
    rest_cpu: Cpu,
    deadline: Instant,
    workers: Vec<Process>,
}

impl<'a> Bench<'a> {
    /// Starts the workers and waits for their sockets.
    ///
    /// # Errors
    /// One does not start.
    pub(crate) async fn start(
        args: &'a PeersArgs,
        mut stage: Stage,
        setting: Setting,
        deadline: Instant,
    ) -> io::Result<Self> {
        fs::create_dir_all(&stage.dir)?;
        let layout = if setting == Setting::TwoThreads { Layout::Shared } else { args.layout };
        let (proxy_cpu, rest_cpu) = cpus(layout);
        stage.cpu = proxy_cpu;
        let count = if setting == Setting::SingleSlots { SINGLE_SLOT_WORKERS } else { WORKERS };
        let workers = start_workers(&mut stage, count, rest_cpu).await?;
        Ok(Self { args, stage, rest_cpu, deadline, workers })
    }

    /// All rounds of `cells` against all of `kinds`. What cannot be measured leaves its place empty and its
    /// reason in the report.
    pub(crate) async fn measure(&mut self, kinds: &[Kind], cells: &[Cell], report: &mut Report) {
        let mut subjects = Vec::new();
        for kind in kinds.iter().filter(|kind| cells.iter().any(|cell| cell.includes(kind))) {
            match Subject::start(kind, &self.stage) {
                Ok(subject) => {
                    report.note(&subject);
                    subjects.push(subject);
                }
                Err(reason) => report.miss(kind.name(), None, reason),
            }
        }
        let able = self.warm_up(&mut subjects, cells, report).await;
        let mut results: Vec<CellResult> = cells.iter().map(empty_result).collect();
        let runs: usize = able.iter().map(Vec::len).sum();
        let progress = Progress::new(u64::from(self.args.rounds) * runs as u64);
        for round in 0..self.args.rounds as usize {
            for ((cell, result), able) in cells.iter().zip(&mut results).zip(&able) {
                for turn in 0..able.len() {
                    // Another one goes first in each round: no place in the order is always the same subject's.
                    let subject = &subjects[able[(turn + round) % able.len()]];
                    let place = format!("round {}/{} {}", round + 1, self.args.rounds, cell.name);
                    progress.step(&format!("{place} {}", subject.name()));
                    let sample = self.run_load(subject, cell, self.args.requests).await;
                    match &sample {
                        Ok(sample) => {
                            let (cpu, failed) = (sample.cpu_us, sample.failed);
                            progress
                                .say(&format!("{place} {}: {cpu:.2} us, {failed} failed", subject.name()));
                        }
                        Err(why) => progress.say(&format!("{place} {}: not measured: {why}", subject.name())),
                    }
                    result.runs.entry(subject.name().to_owned()).or_default().push(sample.ok());
                }
            }
        }
        progress.finish();
        for subject in &mut subjects {
            if let Some(reason) = subject.failure() {
                report.miss(subject.name(), None, reason);
            }
        }
        report.cells.extend(results);
    }

    /// A quarter of a run of every cell. Who can do each: places in `subjects`, by cell.
    async fn warm_up(
        &self,
        subjects: &mut [Subject],
        cells: &[Cell],
        report: &mut Report,
    ) -> Vec<Vec<usize>> {
        let mut able = vec![Vec::new(); cells.len()];
        for (place, subject) in subjects.iter_mut().enumerate() {
            say(&format!("warming {}", subject.name()));
            for (cell, able) in cells.iter().zip(&mut able) {
                if !cell.includes(&subject.kind) {
                    continue;
                }
                let outcome = self.run_load(subject, cell, self.args.requests / 4).await;
                match (subject.failure(), outcome) {
                    (None, Ok(_)) => able.push(place),
                    (Some(reason), _) | (None, Err(reason)) => {
                        report.miss(subject.name(), Some(cell.name), reason);
                    }
                }
            }
        }
        able
    }

    async fn run_load(&self, subject: &Subject, cell: &Cell, requests: u64) -> Result<Sample, String> {
        let left = self.deadline.saturating_duration_since(Instant::now()).min(RUN_LIMIT);
        if left.is_zero() {
            return Err("time is up".into());
        }
        let is_cubic = self.args.congestion == Congestion::Cubic;
        let mut load = command(&self.stage.own_program, self.rest_cpu);
        load.args(cell.load_args(subject, requests, self.args.connections, is_cubic));
        let workers: Vec<String> = self.workers.iter().map(|worker| worker.pid().to_string()).collect();
        load.args(["--beside", &workers.join(","), "--limit-s", &(RUN_LIMIT.as_secs() / 2).to_string()]);
        let text = output(load, left).await.map_err(|error| format!("load: {error}"))?;
        Sample::parse(&text).ok_or_else(|| format!("cell {}: load reported no figures", cell.name))
    }
}

fn empty_result(cell: &Cell) -> CellResult {
    let curve = cell.curve.map(|(curve, connections)| (curve.to_owned(), connections));
    CellResult { name: cell.name.into(), what: cell.what.into(), curve, runs: Default::default() }
}

/// Starts workers, adds their sockets to the stage, and waits until they accept.
///
/// # Errors
/// One does not start.
pub(crate) async fn start_workers(stage: &mut Stage, count: usize, cpu: Cpu) -> io::Result<Vec<Process>> {
    let mut workers = Vec::new();
    for number in 0..count {
        let socket = stage.dir.join(format!("worker{number}.sock"));
        let mut serve = command(&stage.own_program, cpu);
        serve.arg("serve").arg("--unix").arg(&socket);
        let mut worker = Process::start(serve, stage.dir.join(format!("worker{number}.log")), None)?;
        let deadline = Instant::now() + Duration::from_secs(5);
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            if worker.ended().is_some() || Instant::now() >= deadline {
                return Err(io::Error::other(format!("worker {number}: {}", worker.last_words())));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stage.sockets.push(socket);
        workers.push(worker);
    }
    Ok(workers)
}
