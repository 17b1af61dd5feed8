//! The plan as lines of a screen, and as JSON. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::queue::Queue;
use super::size::{self, CPU_SHARE, Limit, Load, PROMISED, Plan};
use super::{Fact, Facts, Origin};
use crate::words::{self, bytes, many, percent, short};

/// For a terminal: what to set, why, what follows, and what it rests on.
pub(super) fn text(facts: &Facts, load: &Load, plan: &Plan) -> String {
    let mut out = String::new();
    let mut line = |key: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{key:<9}{value}");
    };
    let (queue, slots) = (&plan.queue, plan.queue.slots);
    line(
        "plan",
        format!(
            "{} × {} × {} at once; instanceConcurrency {slots}",
            many(plan.instances, "instance"),
            many(plan.workers, "worker"),
            many(load.concurrency, "request")
        ),
    );
    if let Some(limit) = plan.instances_because {
        let fewer = size::queue(load, plan.instances - 1, plan.room.0);
        let others = many(plan.instances - 1, "instance");
        line("because", format!("{others}: {}", lacks(limit, load, plan, &fewer)));
    }
    if let Some(limit) = plan.workers_because {
        let fewer = size::queue(load, plan.instances, plan.workers - 1);
        let others = many(plan.workers - 1, "worker");
        line("because", format!("{others} in each: {}", lacks(limit, load, plan, &fewer)));
    }
    line(
        "each",
        format!(
            "{} requests/s; {} of {slots} slots taken on average, {}",
            short(queue.rate),
            short(queue.load()),
            percent(queue.utilisation())
        ),
    );
    line(
        "wait",
        format!(
            "{} of the requests wait; mean {}, p95 {} (wanted: {} at most)",
            percent(queue.waiting_share()),
            wait(queue.mean_wait()),
            wait(queue.wait_of(PROMISED)),
            period(load.wait)
        ),
    );
    match (plan.bytes, load.instance_bytes, load.worker_bytes) {
        (Some(used), all, Some(each)) => line(
            "memory",
            format!(
                "{}{} in each: {} × {} and {} for warmfront",
                bytes(used),
                all.map_or_else(String::new, |all| format!(" of {}", bytes(all))),
                plan.workers,
                bytes(each),
                bytes(load.front_bytes)
            ),
        ),
        _ => line(
            "memory",
            "not judged: neither --worker-memory nor --from says what a worker takes".to_owned(),
        ),
    }
    match plan.cpu {
        Some(share) => line("cpu", format!("{} of {} in each", percent(share), cpus(load.cpus))),
        None => line("cpu", "not judged: neither --cpu nor --from says what a request takes".to_owned()),
    }
    if load.worker_bytes.is_some() && load.instance_bytes.is_none() {
        line("", "no bound by memory: --memory says what an instance has".to_owned());
    }
    for origin in [Origin::Given, Origin::Measured, Origin::Assumed] {
        let all = told(facts, origin);
        if !all.is_empty() {
            for (index, row) in wrapped(&all).into_iter().enumerate() {
                line(if index == 0 { origin.word() } else { "" }, row);
            }
        }
    }
    if let Some(measured) = &facts.measured {
        let times = period(measured.period);
        line(
            "asked",
            format!(
                "{}: {} in {times}; waits are in the variation",
                measured.name,
                many(measured.requests, "request")
            ),
        );
    }
    line(
        "model",
        "arrivals are independent (Poisson) and spread evenly over instances; one line in each,".to_owned(),
    );
    line(
        "",
        "M/M/c, scaled by (1 + variation²)/2. Cold starts and bursts are not in it: leave room.".to_owned(),
    );
    out
}

/// Why so few are too few.
fn lacks(limit: Limit, load: &Load, plan: &Plan, fewer: &Queue) -> String {
    let (room, _) = plan.room;
    let late = || match fewer.wait_of(PROMISED) {
        Some(long) => format!("p95 would be {}", period(long)),
        None => "the line would only grow".to_owned(),
    };
    match limit {
        Limit::Wait => late(),
        Limit::Cpu => {
            let usable = load.cpus.min((fewer.slots / load.concurrency) as f64);
            let used = fewer.rate * load.cpu.unwrap_or_default().as_secs_f64();
            format!(
                "CPU, {} of the {} that they can use; {} is the limit",
                percent(used / usable),
                short(usable),
                percent(CPU_SHARE)
            )
        }
        Limit::Memory => format!("{}, and memory holds {} in each", late(), many(room, "worker")),
        Limit::InstanceConcurrency => {
            format!("{}, and {} at most are sent to each", late(), many(load.instance_concurrency, "request"))
        }
        Limit::WorkersCount => format!("{}, and {} in each are the most", late(), many(room, "worker")),
    }
}

/// What comes from there, each with its value.
fn told(facts: &Facts, from: Origin) -> Vec<String> {
    let mut all = Vec::new();
    let mut tell = |origin: Origin, text: String| {
        if origin == from {
            all.push(text);
        }
    };
    tell(facts.rate.origin, format!("{} requests/s", short(facts.rate.value)));
    tell(facts.service.origin, format!("{} each", period(facts.service.value)));
    tell(facts.variation.origin, format!("variation {}", short(facts.variation.value)));
    tell(facts.concurrency.origin, format!("{} at once in a worker", facts.concurrency.value));
    tell(facts.wait.origin, format!("p95 of the wait {}", period(facts.wait.value)));
    if let Some(cpu) = facts.cpu {
        tell(cpu.origin, format!("{} of CPU for a request", period(cpu.value)));
        tell(facts.cpus.origin, format!("{} in an instance", cpus(facts.cpus.value)));
    }
    if let Some(memory) = facts.worker_memory {
        tell(memory.origin, format!("{} in a worker", bytes(memory.value)));
        tell(facts.front_memory.origin, format!("{} in warmfront", bytes(facts.front_memory.value)));
    }
    if let Some(memory) = facts.memory {
        tell(memory.origin, format!("{} in an instance", bytes(memory.value)));
    }
    let sent = facts.instance_concurrency;
    tell(sent.origin, format!("at most {} sent to an instance", sent.value));
    all
}

/// Joined with semicolons, in lines of at most a screen.
fn wrapped(texts: &[String]) -> Vec<String> {
    const WIDTH: usize = 88;
    let mut rows = vec![String::new()];
    for (index, text) in texts.iter().enumerate() {
        let text = if index + 1 < texts.len() { format!("{text};") } else { text.clone() };
        let last = rows.len() - 1;
        if !rows[last].is_empty() && rows[last].chars().count() + 1 + text.chars().count() > WIDTH {
            rows.push(text);
        } else {
            let row = &mut rows[last];
            if !row.is_empty() {
                row.push(' ');
            }
            row.push_str(&text);
        }
    }
    rows
}

/// For programs. Fields may be added; none will change or go.
pub(super) fn json(facts: &Facts, load: &Load, plan: &Plan) -> String {
    let millis = |period: Duration| period.as_secs_f64() * 1000.0;
    let queue = &plan.queue;
    let value = json!({
        "version": 1,
        "plan": {
            "instances": plan.instances,
            "workers": plan.workers,
            "concurrency": load.concurrency,
            "instance_concurrency": queue.slots,
        },
        "limits": {
            "workers_max": plan.room.0,
            "workers_max_by": plan.room.1.word(),
            "fewer_instances_lack": plan.instances_because.map(Limit::word),
            "fewer_workers_lack": plan.workers_because.map(Limit::word),
        },
        "each": {
            "rate": queue.rate,
            "slots_taken": queue.load(),
            "utilisation": queue.utilisation(),
            "waiting_share": queue.waiting_share(),
            "wait_mean_ms": queue.mean_wait().map(millis),
            "wait_p95_ms": queue.wait_of(PROMISED).map(millis),
            "memory_bytes": plan.bytes,
            "cpu_share": plan.cpu,
        },
        "facts": {
            "rate": fact(Some(facts.rate)),
            "service_ms": fact(Some(millis_of(facts.service))),
            "variation": fact(Some(facts.variation)),
            "concurrency": fact(Some(facts.concurrency)),
            "wait_ms": fact(Some(millis_of(facts.wait))),
            "cpu_ms": fact(facts.cpu.map(millis_of)),
            "cpus": fact(Some(facts.cpus)),
            "worker_bytes": fact(facts.worker_memory),
            "front_bytes": fact(Some(facts.front_memory)),
            "instance_bytes": fact(facts.memory),
            "instance_concurrency": fact(Some(facts.instance_concurrency)),
        },
        "measured_from": facts.measured.as_ref().map(|measured| json!({
            "admin": measured.name,
            "requests": measured.requests,
            "period_ms": millis(measured.period),
        })),
    });
    format!("{value:#}\n")
}

fn millis_of(fact: Fact<Duration>) -> Fact<f64> {
    Fact { value: fact.value.as_secs_f64() * 1000.0, origin: fact.origin }
}

/// `null` for what nobody knows.
fn fact<T: Into<Value>>(fact: Option<Fact<T>>) -> Value {
    fact.map_or(Value::Null, |fact| json!({ "value": fact.value.into(), "origin": fact.origin.word() }))
}

fn cpus(count: f64) -> String {
    format!("{} CPU{}", short(count), if count == 1.0 { "" } else { "s" })
}

fn wait(wait: Option<Duration>) -> String {
    wait.map_or_else(|| "without end".to_owned(), period)
}

fn period(period: Duration) -> String {
    words::latency(u64::try_from(period.as_micros()).unwrap_or(u64::MAX))
}
