//! One scrape: every family of `families`, read where it is kept.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::exposition::Text;
use super::families as f;
use super::families::Family;
use super::groups::{FAILED, Named, REFUSED_HEADS, REPLAYS, SHED};
use super::view::View;
use crate::clock;
use crate::lifecycle::phase::Phase;
use crate::telemetry::tally::{CLASSES, Count, OUTCOMES, STARTS, Timed, Totals};
use crate::upstream::functions::Fate;
use crate::worker::census::{Member, Standing};
use crate::worker::usage::{self, Usage};

/// How long what the kernel told of proportional memory holds: asking walks page tables, which takes a large
/// process's milliseconds.
const PROPORTIONAL_FOR: Duration = Duration::from_secs(10);

/// What workers use, as looked at.
#[derive(Debug, Default)]
pub(super) struct Usages {
    proportional: Option<Proportional>,
}

/// What the kernel told of proportional memory.
#[derive(Debug)]
struct Proportional {
    at: Instant,
    /// Of whom; whom it told nothing of is in here too.
    leaders: Vec<i32>,
    bytes: HashMap<i32, u64>,
}

/// What one worker uses now.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WorkerUsage {
    pub(super) group: Usage,
    pub(super) proportional: Option<u64>,
}

impl Usages {
    /// What the workers of `members` use, those that have a process.
    pub(super) fn of(&mut self, members: &[Member]) -> HashMap<u32, WorkerUsage> {
        let leaders: Vec<i32> = members.iter().filter_map(|member| member.pid).collect();
        if leaders.is_empty() {
            return HashMap::new();
        }
        let groups = usage::of_groups(&leaders);
        let now = clock::now();
        let known = self.proportional.take().filter(|known| {
            known.leaders == leaders && now.saturating_duration_since(known.at) < PROPORTIONAL_FOR
        });
        let known = self.proportional.insert(known.unwrap_or_else(|| {
            let bytes = usage::proportional(&leaders);
            Proportional { at: now, leaders, bytes }
        }));
        let of = |member: &Member| {
            let pid = member.pid?;
            let group = *groups.get(&pid)?;
            let proportional = known.bytes.get(&pid).copied();
            Some((member.id.0, WorkerUsage { group, proportional }))
        };
        members.iter().filter_map(of).collect()
    }
}

/// The text of one scrape.
pub(super) fn text(view: &View, usages: &mut Usages) -> String {
    let mut text = Text::default();
    let totals = Totals::now();
    requests(&mut text, &totals);
    line(&mut text, view, &totals);
    failures(&mut text, &totals);
    connections(&mut text, view, &totals);
    functions(&mut text, view);
    process(&mut text, view);
    workers(&mut text, &view.members(), usages);
    ourselves(&mut text, view);
    text.into_string()
}

fn requests(text: &mut Text, totals: &Totals) {
    let mut samples = text.family(&f::REQUESTS);
    for start in STARTS {
        for outcome in OUTCOMES {
            for (class, word) in CLASSES.iter().enumerate() {
                samples.add(&[start.word(), outcome.word(), word], totals.requests(start, outcome, class));
            }
        }
    }
    for (family, timed) in
        [(&f::DURATION, Timed::Whole as fn(_) -> _), (&f::FIRST_BYTE, Timed::FirstByte as fn(_) -> _)]
    {
        let mut samples = text.family(family);
        for start in STARTS {
            samples.add_times(&[start.word()], totals.times(timed(start)));
        }
    }
}

fn line(text: &mut Text, view: &View, totals: &Totals) {
    let crowd = view.proxy.gate.crowd();
    text.single(
        &f::IN_FLIGHT,
        view.members().iter().map(|member| u64::from(member.in_flight())).sum::<u64>(),
    );
    text.single(&f::SLOTS, view.proxy.gate.pool().slots());
    text.single(&f::QUEUE_DEPTH, crowd.waiting);
    text.single(&f::QUEUE_LIMIT, crowd.bounds.depth);
    text.single(&f::QUEUE_BYTES, crowd.bytes);
    text.family(&f::QUEUE_WAIT).add_times(&[], totals.times(Timed::Queue));
    text.family(&f::CONNECT).add_times(&[], totals.times(Timed::Connect));
    text.single(&f::RECEIVED, totals.count(Count::Received));
    text.single(&f::SENT, totals.count(Count::Sent));
}

fn failures(text: &mut Text, totals: &Totals) {
    counts(text, &f::SHED, totals, &SHED);
    counts(text, &f::FAILURES, totals, &FAILED);
    counts(text, &f::REFUSED, totals, &REFUSED_HEADS);
    counts(text, &f::REPLAYS, totals, &REPLAYS);
    text.single(&f::REPLAYS_REFUSED, totals.count(Count::ReplayRefused));
    let mut samples = text.family(&f::HOOKS);
    for (hook, done, failed) in [
        ("initialize", Count::InitializeDone, Count::InitializeFailed),
        ("pre_freeze", Count::PreFreezeDone, Count::PreFreezeFailed),
        ("pre_stop", Count::PreStopDone, Count::PreStopFailed),
    ] {
        samples.add(&[hook, "done"], totals.count(done));
        samples.add(&[hook, "failed"], totals.count(failed));
    }
}

fn counts(text: &mut Text, family: &'static Family, totals: &Totals, counts: &[Named]) {
    let mut samples = text.family(family);
    for (word, count) in counts {
        samples.add(&[word], totals.count(*count));
    }
}

fn connections(text: &mut Text, view: &View, totals: &Totals) {
    // What has ended is counted behind what has begun, so a difference is never below zero for long.
    let clients = totals.count(Count::ClientOpened).saturating_sub(totals.count(Count::ClientEnded));
    let members = view.members();
    let to_workers = members.iter().filter_map(|member| member.worker.as_ref());
    let mut samples = text.family(&f::CONNECTIONS);
    samples.add(&["client"], clients);
    samples.add(&["worker"], to_workers.map(|worker| u64::from(worker.connections())).sum::<u64>());
    let mut samples = text.family(&f::CONNECTIONS_OPENED);
    samples.add(&["client"], totals.count(Count::ClientOpened));
    samples.add(&["worker"], totals.count(Count::WorkerOpened));
    text.single(&f::CONNECTIONS_REUSED, totals.count(Count::WorkerReused));
    text.single(&f::IDLE_GIVEN_UP, totals.count(Count::IdleGivenUp));
    text.single(&f::CLIENT_CLOSES, totals.count(Count::ClientClosed));
    text.single(&f::LARGE_HEADS, totals.count(Count::LargeHead));
    text.single(&f::LINES_LOST, totals.count(Count::LineLost));
    counts(text, &f::SPANS, totals, &[("exported", Count::SpanSent), ("lost", Count::SpanLost)]);
}

/// No samples where there are no planes.
fn functions(text: &mut Text, view: &View) {
    let all = view.proxy.functions.as_ref().map(|functions| functions.all()).unwrap_or_default();
    let mut samples = text.family(&f::FUNCTION_REQUESTS);
    for function in &all {
        for fate in Fate::ALL {
            samples.add(&[&function.name, fate.word()], function.counted(fate));
        }
    }
    let mut samples = text.family(&f::FUNCTION_COLD);
    all.iter().for_each(|function| samples.add(&[&function.name], function.cold()));
    let mut samples = text.family(&f::FUNCTION_SECONDS);
    all.iter().for_each(|function| samples.add(&[&function.name], function.took().as_secs_f64()));
    let mut samples = text.family(&f::FUNCTION_WORKERS);
    for function in &all {
        if let Some((starting, active)) = function.workers() {
            samples.add(&[&function.name, "starting"], starting);
            samples.add(&[&function.name, "active"], active);
        }
    }
    let mut samples = text.family(&f::PLANE_READY);
    for plane in view.planes().iter() {
        samples.add(&[&plane.name], u8::from(plane.trouble.is_none()));
    }
    let pool = view.proxy.gate.pool();
    let abandoned = pool.workers().iter().map(|worker| u64::from(worker.abandoned()));
    text.single(&f::ABANDONED, abandoned.sum::<u64>());
}

fn process(text: &mut Text, view: &View) {
    let now = view.proxy.desk.phase.phase();
    let mut samples = text.family(&f::PHASE);
    for phase in [Phase::Starting, Phase::Ready, Phase::Draining, Phase::Stopped] {
        samples.add(&[phase.word()], u8::from(phase == now));
    }
    text.single(&f::READY, u8::from(view.obstacles().is_empty()));
    text.single(&f::PAUSED, u8::from(view.proxy.gate.is_paused()));
    let freezes = clock::freezes();
    text.single(&f::FREEZES, freezes.count);
    text.single(&f::FROZEN, freezes.total.as_secs_f64());
    text.single(&f::LAST_FREEZE, freezes.last.as_secs_f64());
}

/// What is told of one worker; nothing if it is not known.
type Of<'a> = dyn Fn(&Member) -> Option<f64> + 'a;

fn workers(text: &mut Text, members: &[Member], usages: &mut Usages) {
    let mut samples = text.family(&f::WORKER_STATE);
    for member in members {
        for standing in Standing::ALL {
            let number = member.id.to_string();
            samples.add(&[&number, standing.word()], u8::from(standing == member.standing));
        }
    }
    let usages = usages.of(members);
    let used =
        |member: &Member, what: fn(&Usage) -> f64| usages.get(&member.id.0).map(|usage| what(&usage.group));
    let families: [(&'static Family, &Of<'_>); 11] = [
        (&f::WORKER_SLOTS, &|member| Some(f64::from(member.worker.as_ref()?.slots))),
        (&f::WORKER_IN_FLIGHT, &|member| Some(f64::from(member.in_flight()))),
        (&f::WORKER_SERVED, &|member| Some(member.served() as f64)),
        (&f::WORKER_RESTARTS, &|member| Some(f64::from(member.lives.saturating_sub(1)))),
        (&f::WORKER_EXITS, &|member| Some(member.exits as f64)),
        (&f::WORKER_READY, &|member| Some(member.ready_after?.as_secs_f64())),
        (&f::WORKER_RSS, &|member| used(member, |usage| usage.resident as f64)),
        (&f::WORKER_PSS, &|member| Some(usages.get(&member.id.0)?.proportional? as f64)),
        (&f::WORKER_CPU, &|member| used(member, |usage| usage.cpu.as_secs_f64())),
        (&f::WORKER_FDS, &|member| used(member, |usage| usage.fds as f64)),
        (&f::WORKER_PROCESSES, &|member| used(member, |usage| usage.processes as f64)),
    ];
    for (family, of) in families {
        let mut samples = text.family(family);
        for member in members {
            if let Some(value) = of(member) {
                samples.add(&[&member.id.to_string()], value);
            }
        }
    }
}

fn ourselves(text: &mut Text, view: &View) {
    text.family(&f::BUILD).add(&[env!("CARGO_PKG_VERSION"), std::env::consts::ARCH], 1);
    let usage = usage::of_self();
    text.single(&f::PROCESS_CPU, usage.cpu.as_secs_f64());
    text.single(&f::PROCESS_RSS, usage.resident);
    text.single(&f::PROCESS_VIRTUAL, usage.virtual_memory);
    text.single(&f::PROCESS_FDS, usage.fds);
    if let Some(most) = usage::fds_max() {
        text.single(&f::PROCESS_FDS_MAX, most);
    }
    text.single(&f::PROCESS_START, view.began_unix_secs);
}
