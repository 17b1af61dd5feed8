//! One moment as one object: what the page shows, and whoever else watches.
//!
//! What only grows is told as it stands; whoever has two of these knows the rate between them. Durations come as
//! the fine buckets of `telemetry/buckets`, so that a watcher can take the percentiles of any stretch of time.

use serde_json::{Map, Value, json};

use super::groups::{FAILED, Named, REFUSED_HEADS, REPLAYS, SHED};
use super::scrape::Usages;
use super::view::{self, VERSION, View, millis};
use crate::clock;
use crate::telemetry::buckets::BOUNDS_US;
use crate::telemetry::tally::{CLASSES, Count, OUTCOMES, STARTS, Timed, Totals};
use crate::worker::census::Standing;
use crate::worker::usage;

/// Requests in flight that are listed: more rows than anybody reads, and an event stays small.
const LISTED_MAX: usize = 100;

/// This moment.
pub(super) fn object(view: &View, usages: &mut Usages) -> Value {
    // A freeze that has just ended belongs to it.
    clock::look();
    let (totals, members, crowd) = (Totals::now(), view.members(), view.proxy.gate.crowd());
    let obstacles = view.obstacles();
    let (count, requests) = view::oldest_requests(LISTED_MAX);
    let clients = totals.count(Count::ClientOpened).saturating_sub(totals.count(Count::ClientEnded));
    let current = || members.iter().filter_map(|member| member.worker.as_ref());
    let ourselves = usage::of_self();
    json!({
        "version": VERSION,
        "at_ms": clock::unix_ms(),
        "uptime_ms": millis(clock::now().saturating_duration_since(view.began)),
        "build": env!("CARGO_PKG_VERSION"),
        "phase": view.proxy.desk.phase.phase().word(),
        "ready": obstacles.is_empty(),
        "reasons": obstacles,
        "paused": view.proxy.gate.is_paused(),
        "pool": {
            "workers": members.len(),
            "ready": members.iter().filter(|member| member.standing == Standing::Ready).count(),
            "slots": view.proxy.gate.pool().slots(),
            "in_flight": members.iter().map(|member| u64::from(member.in_flight())).sum::<u64>(),
        },
        "queue": {
            "waiting": crowd.waiting,
            "limit": crowd.bounds.depth,
            "bytes": crowd.bytes,
            "bytes_limit": crowd.bounds.bytes,
            "oldest_ms": crowd.oldest.map(millis),
            "timeout_ms": millis(crowd.bounds.timeout),
        },
        "connections": {
            "client": clients,
            "worker": current().map(|worker| u64::from(worker.connections())).sum::<u64>(),
        },
        "counters": counters(&totals),
        "latency": latency(&totals),
        "workers": view::workers(&members, usages),
        "requests": { "count": count, "oldest": requests },
        "process": {
            "resident_bytes": ourselves.resident,
            "cpu_ms": millis(ourselves.cpu),
            "fds": ourselves.fds,
        },
    })
}

fn counters(totals: &Totals) -> Value {
    let by_class = |start, outcome| {
        let classes = CLASSES.iter().enumerate();
        map(classes.map(|(class, word)| (*word, totals.requests(start, outcome, class).into())))
    };
    let by_outcome = |start| map(OUTCOMES.map(|outcome| (outcome.word(), by_class(start, outcome))));
    let freezes = clock::freezes();
    json!({
        "requests": map(STARTS.map(|start| (start.word(), by_outcome(start)))),
        "received_bytes": totals.count(Count::Received),
        "sent_bytes": totals.count(Count::Sent),
        "shed": named(totals, &SHED),
        "failed": named(totals, &FAILED),
        "refused_heads": named(totals, &REFUSED_HEADS),
        "replays": named(totals, &REPLAYS),
        "replays_refused": totals.count(Count::ReplayRefused),
        "freezes": {
            "count": freezes.count,
            "total_ms": millis(freezes.total),
            "last_ms": millis(freezes.last),
        },
    })
}

fn latency(totals: &Totals) -> Value {
    let times = |what| {
        let times = totals.times(what);
        let sum = u64::try_from(times.sum.as_micros()).unwrap_or(u64::MAX);
        json!({ "counts": times.buckets, "sum_us": sum })
    };
    let by_start = |what: fn(_) -> Timed| map(STARTS.map(|start| (start.word(), times(what(start)))));
    json!({
        "bounds_us": BOUNDS_US.as_slice(),
        "first_byte": by_start(Timed::FirstByte),
        "whole": by_start(Timed::Whole),
        "queue_wait": times(Timed::Queue),
        "connect": times(Timed::Connect),
    })
}

fn named(totals: &Totals, counts: &[Named]) -> Value {
    map(counts.iter().map(|&(word, count)| (word, totals.count(count).into())))
}

fn map(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    Value::Object(entries.into_iter().map(|(word, value)| (word.to_owned(), value)).collect::<Map<_, _>>())
}
