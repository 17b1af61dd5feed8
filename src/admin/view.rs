//! What the admin sees of the running process, and how it says so in JSON (`docs/admin.schema.json`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::readiness::{self, Facts};
use super::scrape::{Usages, WorkerUsage};
use crate::clock;
use crate::config::show::Entry;
use crate::proxy::Proxy;
use crate::telemetry::board;
use crate::upstream::functions::{Fate, Function};
use crate::worker::census::{LastExit, Member, Members};
use crate::worker::ladder::Rung;
use crate::worker::planes::{PlaneState, States};
use crate::worker::processes;
use crate::worker::restart::Restarts;

/// The version of every answer in JSON. What is added leaves it as it is.
pub(super) const VERSION: u32 = 1;

/// Requests in flight that are listed, the oldest; their number is told whole.
const LISTED_MAX: usize = 1000;

/// What is looked at. Nothing of it waits for anybody, but for the line's lock.
#[derive(Debug)]
pub struct View {
    /// The gate, the phase, the warmth.
    pub proxy: Arc<Proxy>,
    /// Who is who.
    pub census: watch::Receiver<Members>,
    /// How the planes are, if workers are behind those.
    pub planes: Option<watch::Receiver<States>>,
    /// How the processes beside us are.
    pub processes: watch::Receiver<processes::Members>,
    /// Every key as it holds.
    pub config: Vec<Entry>,
    /// Where restarts are asked for.
    pub restarts: Restarts,
    /// Told when the instance shall drain and end.
    pub drain: Arc<Notify>,
    /// When the process began.
    pub began: Instant,
    /// The same by the date.
    pub began_unix_secs: u64,
}

impl View {
    pub(super) fn members(&self) -> Members {
        Arc::clone(&self.census.borrow())
    }

    pub(super) fn planes(&self) -> States {
        self.planes.as_ref().map_or_else(|| Arc::from([]), |planes| Arc::clone(&planes.borrow()))
    }

    /// Why no more requests should come; nothing if they may.
    pub(super) fn obstacles(&self) -> Vec<String> {
        let (pool, desk) = (self.proxy.gate.pool(), &self.proxy.desk);
        let planes = self.planes();
        let trusted = || pool.workers().iter().filter(|worker| !worker.is_suspect());
        readiness::obstacles(&Facts {
            phase: desk.phase.phase(),
            warmth: desk.warmth.borrow().clone(),
            trusted: trusted().count(),
            planes: planes.iter().filter_map(PlaneState::obstacle).collect(),
            is_paused: self.proxy.gate.is_paused(),
            free_slots: trusted()
                .map(|worker| u64::from(worker.slots.saturating_sub(worker.in_flight())))
                .sum(),
            crowd: self.proxy.gate.crowd(),
        })
    }

    pub(super) fn live(&self) -> Value {
        json!({
            "version": VERSION,
            "phase": self.proxy.desk.phase.phase().word(),
            "uptime_ms": millis(clock::now().saturating_duration_since(self.began)),
        })
    }

    pub(super) fn ready(obstacles: &[String]) -> Value {
        json!({ "version": VERSION, "ready": obstacles.is_empty(), "reasons": obstacles })
    }

    pub(super) fn workers(&self, usages: &mut Usages) -> Value {
        let functions = self.proxy.functions.as_ref().map(|functions| functions.all()).unwrap_or_default();
        json!({
            "version": VERSION,
            "workers": workers(&self.members(), usages),
            "planes": self.planes().iter().map(plane).collect::<Vec<_>>(),
            "functions": functions.iter().map(|it| function(it)).collect::<Vec<_>>(),
        })
    }

    pub(super) fn processes(&self) -> Value {
        let processes = self.processes.borrow();
        json!({ "version": VERSION, "processes": processes.iter().map(process).collect::<Vec<_>>() })
    }

    pub(super) fn requests() -> Value {
        let (count, requests) = oldest_requests(LISTED_MAX);
        json!({ "version": VERSION, "count": count, "requests": requests })
    }

    pub(super) fn config(&self) -> Value {
        let key = |entry: &Entry| json!({ "key": entry.key, "value": entry.value, "from": entry.from });
        json!({ "version": VERSION, "keys": self.config.iter().map(key).collect::<Vec<_>>() })
    }
}

/// All that are in flight, and so many of them, the oldest first.
pub(super) fn oldest_requests(most: usize) -> (usize, Vec<Value>) {
    let (all, now) = (board::everybody(), clock::now());
    let one = |posted: &board::Posted| {
        json!({
            "id": posted.id.as_str(),
            "age_ms": millis(now.saturating_duration_since(posted.began)),
            "phase": posted.stage.word(),
            "worker": posted.worker,
        })
    };
    (all.len(), all.iter().take(most).map(one).collect())
}

/// Each of `members`, with what it uses.
pub(super) fn workers(members: &[Member], usages: &mut Usages) -> Vec<Value> {
    let (usages, now) = (usages.of(members), clock::now());
    members.iter().map(|member| worker(member, usages.get(&member.id.0), now)).collect()
}

fn worker(member: &Member, usage: Option<&WorkerUsage>, now: Instant) -> Value {
    let ago = |at: Instant| millis(now.saturating_duration_since(at));
    let current = member.worker.as_ref();
    let since_birth = |at: Option<Instant>| Some(millis(at?.saturating_duration_since(member.born?)));
    json!({
        "id": member.id.0,
        "state": member.standing.word(),
        "pid": member.pid,
        "address": current.map(|worker| worker.address.to_string()),
        "transport": member.rung.map(Rung::word),
        "slots": current.map(|worker| worker.slots),
        "in_flight": member.in_flight(),
        "connections": current.map_or(0, |worker| worker.connections()),
        "served": member.served(),
        "uptime_ms": member.born.map(ago),
        "start": {
            "first_output_ms": since_birth(member.first_output.get().copied()),
            "ready_ms": member.ready_after.map(millis),
            "first_answer_ms": since_birth(current.and_then(|worker| worker.first_answer())),
        },
        "restarts": member.lives.saturating_sub(1),
        "exits": member.exits,
        "last_exit": member.last_exit.as_ref().map(|exit| last_exit(exit, now)),
        "usage": usage.map(|usage| json!({
            "processes": usage.group.processes,
            "resident_bytes": usage.group.resident,
            "proportional_bytes": usage.proportional,
            "cpu_ms": millis(usage.group.cpu),
            "fds": usage.group.fds,
        })),
    })
}

fn plane(plane: &PlaneState) -> Value {
    json!({
        "name": plane.name,
        "address": format!("unix:{}", plane.socket.display()),
        "ready": plane.trouble.is_none(),
        "trouble": plane.trouble,
    })
}

fn function(function: &Function) -> Value {
    let workers = function.workers();
    let requests = Fate::ALL.map(|fate| (fate.word().to_owned(), function.counted(fate).into()));
    json!({
        "name": function.name,
        "profiled": function.is_profiled(),
        "workers": workers.map(|(starting, active)| json!({ "starting": starting, "active": active })),
        "requests": Value::Object(requests.into_iter().collect()),
        "cold": function.cold(),
        "took_ms": millis(function.took()),
    })
}

fn process(member: &processes::Member) -> Value {
    let now = clock::now();
    json!({
        "name": member.name,
        "state": member.standing.word(),
        "pid": member.pid,
        "uptime_ms": member.born.map(|born| millis(now.saturating_duration_since(born))),
        "ready_ms": member.ready_after.map(millis),
        "restarts": member.lives.saturating_sub(1),
        "exits": member.exits,
        "last_exit": member.last_exit.as_ref().map(|exit| last_exit(exit, now)),
    })
}

fn last_exit(exit: &LastExit, now: Instant) -> Value {
    json!({ "summary": exit.summary, "ago_ms": millis(now.saturating_duration_since(exit.at)) })
}

/// Whole milliseconds.
pub(super) fn millis(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}
