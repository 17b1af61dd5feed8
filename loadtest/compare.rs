//! Paired measurement: every subject does the same work seconds apart, round after round.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Map, Value, json};

use crate::private_dir::PrivateDir;
use crate::process::{Cpu, Process, command, find_program, output};
use crate::report::{CellResult, Machine, Sample};
use crate::subjects::{Kind, Stage, Subject};

/// Worker processes behind every subject.
const WORKERS: usize = 2;
/// Longest single load run; the runs are meant to take about a second.
const RUN_LIMIT: Duration = Duration::from_secs(120);
/// Where the proxy and everything else run with `--pin`.
const PROXY_CPU: u8 = 0;
const REST_CPU: u8 = 1;

/// Flags of `compare`.
#[derive(Args, Clone, Debug)]
pub(crate) struct CompareArgs {
    /// A build of warmfront, BIN or NAME=BIN; repeat to compare builds.
    #[arg(long, value_name = "BIN")]
    pub(crate) warmfront: Vec<String>,
    /// Further argument for every warmfront; repeat for several.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) warmfront_arg: Vec<String>,
    /// Proxies to compare with.
    #[arg(long, value_delimiter = ',', default_value = "nginx,haproxy,relay")]
    pub(crate) peers: Vec<Kind>,
    /// Kinds of traffic; README.md says what each is.
    #[arg(long, value_delimiter = ',', default_value = "1k,ch1k,post4k,req96,resp96,64k,1m,up1m,cpr")]
    pub(crate) cells: Vec<Cell>,
    /// Rounds; each runs every cell against every subject once.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Requests per run of the cell `1k`; heavier cells send fewer.
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000_000))]
    pub(crate) requests: u64,
    /// Connections kept by the client, except in `c1`.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) connections: u32,
    /// Proxy on CPU 0; client and workers on CPU 1.
    #[arg(long)]
    pub(crate) pin: bool,
    /// Longest whole comparison, in seconds; what was measured by then is reported.
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) limit_s: u64,
    /// Also write everything, each run included, to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// One kind of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    name: &'static str,
    path: &'static str,
    /// Further arguments of `load`.
    args: &'static [&'static str],
    expect_body_bytes: u64,
    /// This many times fewer requests than `1k`, so that runs take about as long.
    weight: u64,
}

const CELLS: [Cell; 11] = [
    Cell::new("1k", "/", &[], 1024, 1),
    Cell::new("ch1k", "/c/1024", &[], 1024, 1),
    Cell::new("post4k", "/", &["--body-bytes", "4096"], 1024, 1),
    Cell::new("req96", "/", &["--header-count", "96"], 1024, 1),
    Cell::new("resp96", "/h/96", &[], 1024, 1),
    Cell::new("64k", "/b/65536", &[], 65_536, 2),
    Cell::new("1m", "/b/1048576", &[], 1_048_576, 20),
    Cell::new("up1m", "/", &["--body-bytes", "1048576"], 1024, 20),
    Cell::new("up1mch", "/", &["--body-bytes", "1048576", "--chunked-body"], 1024, 20),
    Cell::new("cpr", "/", &["--new-connection-per-request"], 1024, 4),
    Cell::new("c1", "/", &["--connections", "1"], 1024, 4),
];

impl Cell {
    const fn new(
        name: &'static str,
        path: &'static str,
        args: &'static [&'static str],
        expect_body_bytes: u64,
        weight: u64,
    ) -> Self {
        Self { name, path, args, expect_body_bytes, weight }
    }

    fn load_args(&self, subject: &Subject, requests: u64, connections: u32) -> Vec<String> {
        let requests = (requests / self.weight).max(u64::from(connections));
        let pids: Vec<String> = subject.cpu_of.iter().map(u32::to_string).collect();
        let mut args: Vec<String> = ["load", "--json", "--target"].map(String::from).into();
        args.push(subject.address.to_string());
        for (flag, value) in [
            ("--path", self.path.to_owned()),
            ("--requests", requests.to_string()),
            ("--warmup-requests", (requests / 10).max(u64::from(connections)).to_string()),
            ("--expect-body-bytes", self.expect_body_bytes.to_string()),
            ("--limit-s", (RUN_LIMIT.as_secs() / 2).to_string()),
            ("--cpu-of", pids.join(",")),
        ] {
            args.extend([flag.to_owned(), value]);
        }
        if !self.args.contains(&"--connections") {
            args.extend(["--connections".to_owned(), connections.to_string()]);
        }
        args.extend(self.args.iter().map(ToString::to_string));
        args
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        CELLS.into_iter().find(|cell| cell.name == text).ok_or_else(|| {
            format!("`{text}` is no known cell; there are {}", CELLS.map(|cell| cell.name).join(", "))
        })
    }
}

/// The whole comparison. True if every subject asked for was measured and no request failed.
///
/// # Errors
/// The workers cannot be started, or the report cannot be written.
///
/// # Cancel safety
/// Dropping the future ends all children.
pub(crate) async fn run(args: &CompareArgs) -> io::Result<bool> {
    let deadline = Instant::now() + Duration::from_secs(args.limit_s);
    if args.pin {
        check_pinning()?;
    }
    let machine = Machine::here();
    let dir = PrivateDir::new()?;
    let (proxy_cpu, rest_cpu) = if args.pin { (Some(PROXY_CPU), Some(REST_CPU)) } else { (None, None) };
    let mut stage = Stage {
        dir: dir.path().to_owned(),
        sockets: Vec::new(),
        cpu: proxy_cpu,
        own_program: std::env::current_exe()?,
        warmfront_args: args.warmfront_arg.clone(),
    };
    let _workers = start_workers(&mut stage, rest_cpu).await?;
    let (subjects, mut not_measured) = start_subjects(args, &stage);
    let mut bench = Bench { args, stage: &stage, rest_cpu, deadline, subjects };
    bench.warm_up(&mut not_measured).await;
    let cells = bench.measure().await;

    let names: Vec<String> = bench.subjects.iter().map(|subject| subject.name.clone()).collect();
    let mut text = machine.to_table();
    text += &format!(
        "{:<19} {}\n",
        "pinned",
        if args.pin { "proxy CPU 0, client and workers CPU 1" } else { "no" }
    );
    for subject in &bench.subjects {
        text += &format!("{:<19} {}\n", subject.name, subject.version);
    }
    if args.warmfront.is_empty() {
        text += "warmfront           not asked for (--warmfront BIN)\n";
    }
    for (name, reason) in &not_measured {
        text += &format!("{name:<19} NOT MEASURED: {reason}\n");
    }
    cells.iter().for_each(|cell| text += &cell.to_table(&names));
    io::stdout().lock().write_all(text.as_bytes())?;
    if let Some(path) = &args.json {
        let report = to_json(&machine, args, &bench.subjects, &not_measured, &cells);
        fs::write(path, format!("{report:#}\n"))?;
    }
    let is_complete = cells.iter().flat_map(|cell| &cell.rounds).flatten().all(Option::is_some);
    Ok(is_complete && not_measured.is_empty() && cells.iter().all(|cell| cell.failed() == 0))
}

fn check_pinning() -> io::Result<()> {
    if find_program("taskset").is_none() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "--pin needs the program taskset (util-linux)"));
    }
    if std::thread::available_parallelism()?.get() < 2 {
        return Err(io::Error::other("--pin needs two CPUs; leave it out to measure on one"));
    }
    Ok(())
}

/// Starts the workers and waits for their sockets.
async fn start_workers(stage: &mut Stage, cpu: Cpu) -> io::Result<Vec<Process>> {
    let mut workers = Vec::new();
    for number in 0..WORKERS {
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

/// Names of subjects and why they are not in the tables.
type NotMeasured = Vec<(String, String)>;

fn start_subjects(args: &CompareArgs, stage: &Stage) -> (Vec<Subject>, NotMeasured) {
    let mut subjects = Vec::new();
    let mut not_measured = NotMeasured::new();
    for kind in args.warmfront.iter().map(|text| Kind::warmfront(text)).chain(args.peers.iter().cloned()) {
        if subjects.iter().any(|subject: &Subject| subject.name == kind.name()) {
            not_measured.push((kind.name().into(), "the name is taken; use NAME=BIN".into()));
            continue;
        }
        match Subject::start(&kind, stage) {
            Ok(subject) => subjects.push(subject),
            Err(reason) => not_measured.push((kind.name().into(), reason)),
        }
    }
    (subjects, not_measured)
}

struct Bench<'a> {
    args: &'a CompareArgs,
    stage: &'a Stage,
    rest_cpu: Cpu,
    deadline: Instant,
    subjects: Vec<Subject>,
}

impl Bench<'_> {
    /// A quarter of a run of every cell; who cannot do `1k` at all is not measured further.
    async fn warm_up(&mut self, not_measured: &mut NotMeasured) {
        let mut kept = Vec::new();
        for mut subject in std::mem::take(&mut self.subjects) {
            progress(&format!("warming {}", subject.name));
            let mut outcome = Ok(());
            for cell in &self.args.cells {
                outcome = self.run_load(&subject, cell, self.args.requests / 4).await.map(drop);
                if outcome.is_err() || Instant::now() >= self.deadline {
                    break;
                }
            }
            match (subject.failure(), outcome) {
                (Some(reason), _) | (None, Err(reason)) => not_measured.push((subject.name.clone(), reason)),
                (None, Ok(())) => kept.push(subject),
            }
        }
        self.subjects = kept;
    }

    /// All rounds. A run that could not be made leaves its place empty.
    async fn measure(&mut self) -> Vec<CellResult> {
        let count = self.subjects.len();
        let mut results: Vec<CellResult> = self
            .args
            .cells
            .iter()
            .map(|cell| CellResult { name: cell.name, rounds: vec![Vec::new(); count] })
            .collect();
        for round in 0..self.args.rounds as usize {
            for (cell, result) in self.args.cells.iter().zip(&mut results) {
                result.rounds.iter_mut().for_each(|rounds| rounds.push(None));
                for turn in 0..count {
                    // Another one goes first in each round: no place in the order is always the same subject's.
                    let index = (turn + round) % count;
                    let place = format!("round {}/{} {}", round + 1, self.args.rounds, cell.name);
                    let subject = &self.subjects[index];
                    if Instant::now() >= self.deadline {
                        progress(&format!("{place} {}: time is up", subject.name));
                        continue;
                    }
                    match self.run_load(subject, cell, self.args.requests).await {
                        Ok(sample) => {
                            let (cpu, failed) = (sample.cpu_us_per_request, sample.failed);
                            progress(&format!("{place} {}: {cpu:.2} us, {failed} failed", subject.name));
                            result.rounds[index][round] = Some(sample);
                        }
                        Err(reason) => progress(&format!("{place} {}: not measured: {reason}", subject.name)),
                    }
                }
            }
        }
        results
    }

    async fn run_load(&self, subject: &Subject, cell: &Cell, requests: u64) -> Result<Sample, String> {
        let mut load = command(&self.stage.own_program, self.rest_cpu);
        load.args(cell.load_args(subject, requests, self.args.connections));
        let text = output(load, RUN_LIMIT).await.map_err(|error| format!("load: {error}"))?;
        Sample::parse(&text).ok_or_else(|| format!("cell {}: load reported no figures", cell.name))
    }
}

fn progress(line: &str) {
    // Nobody listening is no reason to stop measuring.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

fn to_json(
    machine: &Machine,
    args: &CompareArgs,
    subjects: &[Subject],
    not_measured: &NotMeasured,
    cells: &[CellResult],
) -> Value {
    let names: Vec<String> = subjects.iter().map(|subject| subject.name.clone()).collect();
    let described = subjects.iter().map(|subject| {
        let entry = json!({ "version": subject.version, "configuration": subject.configuration });
        (subject.name.clone(), entry)
    });
    let missing = not_measured.iter().map(|(name, reason)| (name.clone(), json!(reason)));
    let figures = cells.iter().map(|cell| (cell.name.to_owned(), cell.to_json(&names)));
    json!({
        "machine": machine.to_json(),
        "settings": {
            "rounds": args.rounds,
            "requests": args.requests,
            "connections": args.connections,
            "pinned": args.pin,
        },
        "subjects": described.collect::<Map<_, _>>(),
        "not_measured": missing.collect::<Map<_, _>>(),
        "cells": figures.collect::<Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_cell_exists_and_an_unknown_one_lists_them() {
        for name in "1k,ch1k,post4k,req96,resp96,64k,1m,up1m,cpr".split(',') {
            assert_eq!(name.parse::<Cell>().unwrap().name, name);
        }
        assert!("2k".parse::<Cell>().unwrap_err().contains("resp96"));
    }
}
