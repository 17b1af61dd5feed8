//! The soak: a storm of every request that HTTP allows against workers that fail in every way,
//! and a verdict on what came out.
//!
//! Clients and workers keep books, the sidecar's access log is a third witness;
//! at the end [`mod@judge`] holds them against each other. The run has calm phases
//! before and after the storm, in which latency, memory and descriptors of the
//! sidecar are compared.

mod client;
mod content;
mod fault;
mod journal;
mod judge;
mod method;
mod report;
mod wire;
pub(crate) mod worker;

use std::cell::{Cell, RefCell};
use std::fs;
use std::io;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep};

use self::client::{Board, Client, Mood};
use self::judge::{Facts, Line, Violation, judge};
use self::report::{Calm, Report};
use self::worker::SWITCH;
use crate::cpu;
use crate::private_dir::PrivateDir;
use crate::process::{Process, version_line};
use crate::subjects::{await_accept, free_address};

/// Concurrent requests per worker: fewer than clients in all, so that the line is used.
const CONCURRENCY: u32 = 4;
/// Memory that buffers kept for reuse may add: 64 of 128 KiB per thread, and as much again for luck.
const RSS_GROWTH_KIB_MAX: u64 = 48 << 10;
/// How long the sidecar may take to end once nothing runs any more.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);
/// How long clients may take to end what they do: a hang is noticed by themselves.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(40);

/// Flags of `soak`.
#[derive(Args, Clone, Debug)]
pub(crate) struct SoakArgs {
    /// The build of warmfront; the one beside this program if not given.
    #[arg(long, value_name = "PATH")]
    pub(crate) warmfront: Option<PathBuf>,
    /// Length of the run, calm phases included.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(3..=1_000_000))]
    pub(crate) seconds: u64,
    /// Start of everything random; the operating system adds its own.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Workers.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: u32,
    /// Clients.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) clients: u32,
    /// Data-plane threads of the sidecar.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,
    /// Of a thousand requests in the storm, how many are mistreated.
    #[arg(long, default_value_t = 110, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) faults_per_mille: u32,
    /// Mean life of a worker in the storm, in milliseconds.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    pub(crate) mean_life_ms: u64,
    /// Also write figures and violations as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Keep journals and the sidecar's log in this new directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

/// The whole soak. True if no promise was broken.
///
/// # Errors
/// The sidecar cannot be started, or a book cannot be read or written.
///
/// # Cancel safety
/// Dropping the future ends the sidecar and with it the workers.
pub(crate) async fn run(args: &SoakArgs) -> io::Result<bool> {
    LocalSet::new().run_until(soak(args)).await
}

async fn soak(args: &SoakArgs) -> io::Result<bool> {
    let own_program = std::env::current_exe()?;
    let program = args.warmfront.clone().unwrap_or_else(|| own_program.with_file_name("warmfront"));
    let dir = PrivateDir::new()?;
    let mut sidecar = start(args, &program, &own_program, dir.path())?;
    let mut stage = Stage::new(args, sidecar.address, dir.path());
    let began = Instant::now();
    let calms = stage.play(args, sidecar.process.pid()).await?;
    let mut violations = stage.accusations();
    let end = stop(&mut sidecar.process).await;
    let log = fs::read(dir.path().join("log"))?;
    let log = String::from_utf8_lossy(&log);
    violations.extend(judge_process(&end, &log, &calms, args));
    let facts = Facts {
        asked: stage.board.asked.take(),
        lives: journal::read_all(dir.path())?,
        lines: log.lines().filter_map(parse_line).collect(),
    };
    let mut verdict = judge(&facts);
    verdict.violations.extend(violations);
    let report = Report {
        sidecar: version_line(&program, "--version"),
        seconds: began.elapsed().as_secs_f64(),
        seed: args.seed,
        verdict,
        calms,
    };
    crate::print(&report.to_table())?;
    if let Some(path) = &args.json {
        fs::write(path, format!("{:#}\n", report.to_json()))?;
    }
    if let Some(keep) = &args.keep {
        copy_books(dir.path(), keep)?;
    }
    Ok(report.verdict.violations.is_empty())
}

struct Sidecar {
    address: std::net::SocketAddr,
    process: Process,
}

fn start(args: &SoakArgs, program: &Path, own_program: &Path, dir: &Path) -> io::Result<Sidecar> {
    let address = free_address()?;
    // It is started in another directory; a bare name is looked for in PATH.
    let program = if program.components().nth(1).is_some() { absolute(program)? } else { program.to_owned() };
    let mut command = Command::new(program);
    command
        .args(["run", "--access-log", "json", "--port", &address.port().to_string()])
        .args(["--workers", &args.workers.to_string(), "--concurrency", &CONCURRENCY.to_string()])
        .args(["--threads", &args.threads.to_string(), "--"])
        .arg(own_program)
        .args(["misbehave", "--unix", "{socket}", "--worker", "{worker}", "--dir"])
        .arg(dir)
        .args(["--seed", &args.seed.to_string()])
        .args(["--faults-per-mille", &args.faults_per_mille.to_string()])
        .args(["--mean-life-ms", &args.mean_life_ms.to_string()])
        .current_dir(dir)
        .env("WARMFRONT_LISTEN_ADDRESS", address.ip().to_string())
        // Shorter than a hang; and workers that keep crashing are what this is about.
        .env("WARMFRONT_QUEUE_TIMEOUT", "8s")
        .env("WARMFRONT_WORKERS_BACKOFF_MAX", "500ms")
        .env("WARMFRONT_WORKERS_CWD", dir);
    let mut process = Process::start(command, dir.join("log"), None)?;
    await_accept(&mut process, address).map_err(io::Error::other)?;
    Ok(Sidecar { address, process })
}

/// The clients and what they are told.
struct Stage {
    board: Rc<Board>,
    mood: watch::Sender<Mood>,
    clients: JoinSet<()>,
    count: usize,
    switch: PathBuf,
}

impl Stage {
    fn new(args: &SoakArgs, address: std::net::SocketAddr, dir: &Path) -> Self {
        let board = Rc::new(Board {
            address,
            asked: RefCell::default(),
            calm_us: RefCell::default(),
            accusations: RefCell::default(),
            resting: Cell::default(),
        });
        let (mood, _) = watch::channel(Mood::Wild);
        let (mut clients, mut rng) = (JoinSet::new(), fastrand::Rng::with_seed(args.seed));
        for number in 0..u64::from(args.clients) {
            let client = Client {
                board: Rc::clone(&board),
                mood: mood.subscribe(),
                rng: rng.fork(),
                next_id: (number + 1) << 32,
            };
            clients.spawn_local(client.run());
        }
        Self { board, mood, clients, count: args.clients as usize, switch: dir.join(SWITCH) }
    }

    /// Everything, from the first request to the last. A run of a minute: 4 s wild without faults, so
    /// that buffers are filled, 8 s calm, 38 s storm, 2 s wild without faults, 8 s calm.
    async fn play(&mut self, args: &SoakArgs, pid: u32) -> io::Result<[Calm; 2]> {
        let whole = Duration::from_secs(args.seconds);
        sleep(whole.mul_f64(4.0 / 60.0)).await;
        let before = self.calm(whole.mul_f64(8.0 / 60.0), pid, args.workers).await?;
        fs::write(&self.switch, "")?;
        self.mood.send_replace(Mood::Wild);
        sleep(whole.mul_f64(38.0 / 60.0)).await;
        fs::remove_file(&self.switch)?;
        sleep(whole.mul_f64(2.0 / 60.0)).await;
        let after = self.calm(whole.mul_f64(8.0 / 60.0), pid, args.workers).await?;
        self.mood.send_replace(Mood::Over);
        let clients = &mut self.clients;
        let ended = async { while clients.join_next().await.is_some() {} };
        if tokio::time::timeout(CHANGE_TIMEOUT, ended).await.is_err() {
            self.accuse("clients do not end".into());
        }
        Ok([before, after])
    }

    /// A calm phase; at its end nothing is connected, all `workers` live, and the sidecar is looked at.
    async fn calm(&self, length: Duration, pid: u32, workers: u32) -> io::Result<Calm> {
        // What was begun wildly ends first, and nobody's connections are older than the phase.
        self.rest().await;
        self.board.calm_us.borrow_mut().clear();
        self.mood.send_replace(Mood::Calm);
        sleep(length).await;
        self.rest().await;
        // One between two lives lacks its pipes, and who is looked at then seems to hold more later.
        let deadline = Instant::now() + CHANGE_TIMEOUT;
        while cpu::children(pid)?.len() < workers as usize {
            if Instant::now() > deadline {
                self.accuse(format!("not all of {workers} workers live"));
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
        let (descriptors, rss_kib) = (fs::read_dir(format!("/proc/{pid}/fd"))?.count(), cpu::rss_kib(pid)?);
        Ok(Calm::new(self.board.calm_us.take(), descriptors, rss_kib))
    }

    async fn rest(&self) {
        self.mood.send_replace(Mood::Resting);
        let deadline = Instant::now() + CHANGE_TIMEOUT;
        while self.board.resting.get() < self.count {
            if Instant::now() > deadline {
                return self.accuse(format!("{} of {} clients rest", self.board.resting.get(), self.count));
            }
            sleep(Duration::from_millis(5)).await;
        }
        // The sidecar sees the closes.
        sleep(Duration::from_millis(200)).await;
    }

    fn accuse(&self, what: String) {
        self.board.accusations.borrow_mut().push(what);
    }

    fn accusations(&self) -> Vec<Violation> {
        let accusations = self.board.accusations.take();
        accusations.into_iter().map(|text| Violation { kind: "the process", text }).collect()
    }
}

/// Asks the sidecar to end, as the platform does, and says how it did.
async fn stop(process: &mut Process) -> String {
    let mut ended = process.ended();
    if ended.is_none() {
        let kill = Command::new("kill").args(["-TERM", &process.pid().to_string()]).status();
        if !kill.is_ok_and(|status| status.success()) {
            return "cannot be asked to end".into();
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while ended.is_none() && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
            ended = process.ended();
        }
    }
    ended.map_or("does not end".into(), |status| status.to_string())
}

fn judge_process(end: &str, log: &str, calms: &[Calm; 2], args: &SoakArgs) -> Vec<Violation> {
    let mut texts = Vec::new();
    if end != "exit status: 0" {
        let last: Vec<&str> = log.lines().rev().take(3).collect();
        texts.push(format!("the sidecar ended with {end}: {last:?}"));
    }
    let bad = ["panicked", "overflow", "please report this as a bug"];
    texts.extend(log.lines().filter(|line| bad.iter().any(|word| line.contains(word))).map(str::to_owned));
    let [before, after] = calms;
    // Idle connections to workers differ from moment to moment, by as many as there are slots.
    let spare = (args.workers * CONCURRENCY) as usize;
    if after.descriptors > before.descriptors + spare {
        texts.push(format!("descriptors: {} before, {} after", before.descriptors, after.descriptors));
    }
    if after.rss_kib > before.rss_kib + RSS_GROWTH_KIB_MAX {
        texts.push(format!("memory: {} KiB before, {} KiB after", before.rss_kib, after.rss_kib));
    }
    for calm in calms.iter().filter(|calm| calm.answers == 0) {
        texts.push(format!("nothing was answered in a calm phase: {calm:?}"));
    }
    texts.into_iter().map(|text| Violation { kind: "the process", text }).collect()
}

/// An access line of one of our requests.
fn parse_line(text: &str) -> Option<Line> {
    let json: serde_json::Value = serde_json::from_str(&text[text.find('{')?..]).ok()?;
    Some(Line {
        id: json["target"].as_str()?.strip_prefix("/s/")?.parse().ok()?,
        worker: json["worker"].as_u64().and_then(|worker| u32::try_from(worker).ok()),
        outcome: json["outcome"].as_str()?.to_owned(),
    })
}

fn copy_books(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
