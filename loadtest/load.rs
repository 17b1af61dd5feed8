//! Load over kept connections, in a closed loop or at a fixed rate.
//!
//! Closed: every connection sends its next request when the last was answered.
//! At a rate: requests are due by a schedule (`pace.rs`), whoever is free sends them.
//! Raw sockets, one runtime per thread, one read buffer per thread. A run has
//! two parts: connections are opened and warmed, then the measured part runs
//! between two edges at which nothing is in flight. CPU of other processes is
//! read at those edges, so that connecting and warming are not in the figure.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::time::sleep;

use crate::cpu;
use crate::exchange::{Connection, Plan, exchange};
use crate::pace::{Due, Schedule};
use crate::tally::{ErrorKind, LoadReport, Tally};
use crate::target::Target;

/// Pause after a refused connect, so that a target that is down is not hammered.
const CONNECT_PAUSE: Duration = Duration::from_millis(1);
/// After so many connections in a row the target gets time to accept them: behind a full backlog, connections
/// look open to us that the kernel on the other side has dropped.
const OPEN_BURST: usize = 500;
const OPEN_PAUSE: Duration = Duration::from_millis(20);
/// Rest before CPU is read, so that every thread of the target is off the CPU and accounted.
const EDGE_REST: Duration = Duration::from_millis(10);

/// Flags of `load`.
#[derive(Args, Clone, Debug)]
pub(crate) struct LoadArgs {
    /// Loopback ADDRESS:PORT or unix:PATH.
    #[arg(long)]
    pub(crate) target: Target,
    /// Request target.
    #[arg(long, default_value = "/")]
    pub(crate) path: String,
    /// Connections that send, open at the same time, over all threads.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) connections: u32,
    /// Further connections that are opened first and never send anything.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    pub(crate) idle_connections: u32,
    /// Requests per second in all, each due at its own moment (open loop); as fast as answers come if absent.
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Requests of the measured part, over all connections.
    #[arg(long, default_value_t = 100_000, conflicts_with = "seconds")]
    pub(crate) requests: u64,
    /// Length of the measured part instead of a number of requests.
    #[arg(long, conflicts_with = "rate")]
    pub(crate) seconds: Option<f64>,
    /// Method; GET without and POST with a body.
    #[arg(long)]
    pub(crate) method: Option<String>,
    /// Bytes of content in each request.
    #[arg(long)]
    pub(crate) body_bytes: Option<usize>,
    /// Send the content in chunks of 16 KiB instead of with a Content-Length.
    #[arg(long, requires = "body_bytes")]
    pub(crate) chunked_body: bool,
    /// Additional header fields in each request.
    #[arg(long, default_value_t = 0)]
    pub(crate) header_count: usize,
    /// One connection per request, which the server has to close.
    #[arg(long)]
    pub(crate) new_connection_per_request: bool,
    /// Threads of this program.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) threads: u32,
    /// Requests before the measured part; their errors count, their times do not.
    #[arg(long, default_value_t = 0)]
    pub(crate) warmup_requests: u64,
    /// Content length every answer must have; any if absent.
    #[arg(long)]
    pub(crate) expect_body_bytes: Option<u64>,
    /// Longest wait for one answer, in milliseconds.
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    pub(crate) timeout_ms: u64,
    /// Longest run, in seconds; requests that were not sent by then make it fail.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) limit_s: u64,
    /// Processes whose CPU time is read around the measured part.
    #[arg(long, value_delimiter = ',', value_name = "PID")]
    pub(crate) cpu_of: Vec<u32>,
    /// The same for processes whose CPU is reported beside it, such as the workers.
    #[arg(long, value_delimiter = ',', value_name = "PID")]
    pub(crate) beside: Vec<u32>,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the connections of one thread share: requests to send and what came of them.
#[derive(Debug)]
struct Lane {
    left: u64,
    until: Instant,
    tally: Tally,
}

/// Never contended: all holders run on one thread and none waits while holding it.
type SharedLane = Arc<Mutex<Lane>>;

fn lock(lane: &SharedLane) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes one request off the lane, if there is one and time for it.
fn take_request(lane: &SharedLane, now: Instant) -> bool {
    let mut lane = lock(lane);
    let may = lane.left > 0 && now < lane.until;
    if may {
        lane.left -= 1;
    }
    may
}

/// One connection's part: requests until there are none left. How many were answered well is its second result.
async fn send_all(
    plan: Arc<Plan>,
    lane: SharedLane,
    due: Option<Arc<Due>>,
    mut kept: Option<Connection>,
) -> (Option<Connection>, u64) {
    let mut answered = 0;
    loop {
        let intended = match &due {
            Some(due) => match due.next().await {
                Some(intended) => Some(intended),
                None => break,
            },
            None => None,
        };
        if !take_request(&lane, Instant::now()) {
            break;
        }
        match exchange(&plan, &mut kept, intended).await {
            Ok(exchanged) => {
                answered += 1;
                lock(&lane).tally.add(&exchanged);
            }
            Err((kind, detail)) => {
                lock(&lane).tally.fail(kind, detail);
                if kind == ErrorKind::Connect {
                    sleep(CONNECT_PAUSE).await;
                }
            }
        }
    }
    (kept, answered)
}

/// One thread's share of the run.
#[derive(Clone, Copy, Debug)]
struct Share {
    connections: u32,
    warmup: u64,
    requests: u64,
    period: Duration,
    has_period: bool,
    /// Requests per second, if they are due by a schedule.
    rate: Option<f64>,
    /// Connections that are opened and left alone.
    idle: u32,
}

/// Splits `total` over `parts`; the first parts take what is left over.
fn share_of(total: u64, parts: u64, index: u64) -> u64 {
    total / parts + u64::from(index < total % parts)
}

/// What a thread tells; it waits to be told to go on after each.
enum Stage {
    Warm,
    Finished(Box<Tally>),
}

fn drive(
    plan: Arc<Plan>,
    share: Share,
    tell: &mpsc::Sender<Stage>,
    go_on: &mpsc::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut connections: Vec<Option<Connection>> = (0..share.connections).map(|_| None).collect();
    let mut errors = Tally::new();
    let _idle = runtime.block_on(open_idle(&plan, share.idle, &mut errors));
    for is_measured in [false, true] {
        let lane = Arc::new(Mutex::new(Lane {
            left: if is_measured { share.requests } else { share.warmup },
            until: Instant::now() + share.period,
            tally: Tally::new(),
        }));
        let schedule = share
            .rate
            .filter(|_| is_measured)
            .map(|rate| Schedule::new(Instant::now(), rate, share.requests));
        connections = runtime.block_on(run_part(&plan, &lane, connections, schedule, !is_measured))?;
        let mut lane = lock(&lane);
        if is_measured && !share.has_period {
            lane.tally.unsent = lane.left;
        }
        let mut tally = std::mem::replace(&mut lane.tally, Tally::new());
        let stage = if is_measured {
            tally.merge_errors(&errors);
            Stage::Finished(Box::new(tally))
        } else {
            errors.merge_errors(&tally);
            Stage::Warm
        };
        // Whoever listened is gone: nothing left to measure for.
        if tell.send(stage).is_err() || go_on.recv().is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Connections that only exist.
async fn open_idle(plan: &Plan, count: u32, errors: &mut Tally) -> Vec<Connection> {
    let mut open = Vec::new();
    for number in 0..count as usize {
        pause_after_burst(number).await;
        match Connection::open(plan).await {
            Ok(connection) => open.push(connection),
            Err((kind, detail)) => errors.fail(kind, detail),
        }
    }
    open
}

async fn pause_after_burst(number: usize) {
    if number % OPEN_BURST == OPEN_BURST - 1 {
        sleep(OPEN_PAUSE).await;
    }
}

async fn run_part(
    plan: &Arc<Plan>,
    lane: &SharedLane,
    connections: Vec<Option<Connection>>,
    schedule: Option<Schedule>,
    opens: bool,
) -> io::Result<Vec<Option<Connection>>> {
    let due = schedule.is_some().then(|| Arc::new(Due::new()));
    let count = connections.len();
    let mut tasks = Vec::with_capacity(count);
    for (number, mut kept) in connections.into_iter().enumerate() {
        if opens && !plan.is_fresh {
            pause_after_burst(number).await;
            // Opened before anything is measured; a failure shows when the first request tries again.
            kept = Connection::open(plan).await.ok();
        }
        tasks.push(tokio::spawn(send_all(Arc::clone(plan), Arc::clone(lane), due.clone(), kept)));
    }
    if let Some((schedule, due)) = schedule.zip(due) {
        let until = lock(lane).until;
        due.follow(schedule, until, count).await?;
    }
    let mut kept = Vec::with_capacity(count);
    for task in tasks {
        let (connection, answered) = task.await.unwrap_or_default();
        lock(lane).tally.add_connection(answered);
        kept.push(connection);
    }
    Ok(kept)
}

/// Runs the load; blocks until it is over.
///
/// # Errors
/// No thread or runtime could be made, or a process in `--cpu-of` does not exist.
/// Failed requests are no error here: they are in the report.
pub(crate) fn run(args: &LoadArgs) -> io::Result<LoadReport> {
    let plan = Arc::new(Plan::new(args));
    let threads = args.threads.min(args.connections);
    let limit = Duration::from_secs(args.limit_s);
    let period = args.seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(limit).min(limit));
    let (tell, told) = mpsc::channel();
    let mut lanes = Vec::new();
    for index in 0..threads {
        let part = |total| share_of(total, threads.into(), index.into());
        let share = Share {
            connections: u32::try_from(part(args.connections.into())).unwrap_or(args.connections),
            warmup: part(args.warmup_requests),
            requests: if period.is_some() { u64::MAX } else { part(args.requests) },
            period: period.unwrap_or(limit),
            has_period: period.is_some(),
            rate: args.rate.map(|rate| rate / f64::from(threads)),
            idle: if index == 0 { args.idle_connections } else { 0 },
        };
        let (go, go_on) = mpsc::channel();
        let (plan, tell) = (Arc::clone(&plan), tell.clone());
        let thread = thread::Builder::new()
            .name(format!("load-{index}"))
            .spawn(move || drive(plan, share, &tell, &go_on))?;
        lanes.push((thread, go));
    }
    drop(tell);
    // A thread that is gone shows when its next stage does not come, or at the join.
    let go_on = || {
        lanes.iter().for_each(|(_, go)| {
            let _ = go.send(());
        })
    };

    let mut report = LoadReport::new();
    await_stage(&told, lanes.len(), |_| {})?;
    let cpu_before = cpu_at_rest(&args.cpu_of)?;
    let beside_before = cpu::cpu_ns(&args.beside)?;
    let started = Instant::now();
    go_on();
    await_stage(&told, lanes.len(), |tally| report.tally.merge(&tally))?;
    report.elapsed = started.elapsed();
    let cpu_after = cpu_at_rest(&args.cpu_of)?;
    report.beside_cpu_ns = cpu::cpu_ns(&args.beside)?.saturating_sub(beside_before);
    report.cpu_ns = cpu_after.zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    go_on();
    for (thread, _) in lanes {
        thread.join().map_err(|_| io::Error::other("a load thread panicked"))??;
    }
    Ok(report)
}

/// Waits until every thread has told its stage.
fn await_stage(
    told: &mpsc::Receiver<Stage>,
    threads: usize,
    mut finished: impl FnMut(Tally),
) -> io::Result<()> {
    for _ in 0..threads {
        match told.recv() {
            Ok(Stage::Warm) => {}
            Ok(Stage::Finished(tally)) => finished(*tally),
            Err(mpsc::RecvError) => {
                return Err(io::Error::other("a load thread could not start its runtime"));
            }
        }
    }
    Ok(())
}

fn cpu_at_rest(pids: &[u32]) -> io::Result<Option<u64>> {
    if pids.is_empty() {
        return Ok(None);
    }
    thread::sleep(EDGE_REST);
    cpu::cpu_ns(pids).map(Some)
}
