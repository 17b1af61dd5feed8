//! `warmfront status`: one moment as a few lines of text. Pure.

use std::fmt::Write as _;

use super::latency::since_the_start;
use super::moment::{Moment, Worker};
use crate::words::{age, bytes, count, latency};

/// Requests in flight that are shown.
const OLDEST: usize = 5;

/// How the instance whose admin is at `name` stands.
pub(super) fn text(moment: &Moment, name: &str) -> String {
    let mut out = String::new();
    let mut line = |key: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{key:<9}{value}");
    };
    line("", headline(moment, name));
    for reason in moment.reasons() {
        line("", format!("because {reason}"));
    }
    line("pool", pool(moment));
    line("queue", queue(moment));
    line("requests", requests(moment));
    for (start, times) in since_the_start(moment) {
        let [p50, p90, p99] = [times.p50, times.p90, times.p99].map(latency);
        line(start, format!("{} answered; first byte p50 {p50}, p90 {p90}, p99 {p99}", count(times.count)));
    }
    for (name, many) in moment.troubles() {
        line("trouble", format!("{name}: {}", count(many)));
    }
    if moment.number("/counters/freezes/count") > 0 {
        line("frozen", freezes(moment));
    }
    for one in moment.workers() {
        line("worker", worker(&one));
    }
    for request in moment.oldest().into_iter().take(OLDEST) {
        let whose = request.worker.map(|id| format!(" by worker {id}")).unwrap_or_default();
        line("flying", format!("{} for {}, {}{whose}", request.id, age(request.age), request.stage));
    }
    // The first line needs no key.
    out.trim_start().to_owned()
}

fn headline(moment: &Moment, name: &str) -> String {
    let up = age(moment.period("/uptime_ms").unwrap_or_default());
    format!("warmfront {} at {name}: {}, up {up}", moment.word("/build"), state(moment))
}

/// Whether it is ready, and if not, in which phase.
pub(super) fn state(moment: &Moment) -> String {
    if moment.is_ready() { "ready".to_owned() } else { format!("NOT READY ({})", moment.word("/phase")) }
}

pub(super) fn pool(moment: &Moment) -> String {
    let [ready, workers] = ["/pool/ready", "/pool/workers"].map(|at| moment.number(at));
    let [taken, slots] = ["/pool/in_flight", "/pool/slots"].map(|at| count(moment.number(at)));
    format!("{ready} of {workers} workers ready, {taken} of {slots} slots taken")
}

pub(super) fn queue(moment: &Moment) -> String {
    let [waiting, limit] = ["/queue/waiting", "/queue/limit"].map(|at| count(moment.number(at)));
    let oldest = moment.period("/queue/oldest_ms");
    let oldest = oldest.map(|oldest| format!(", the first for {}", latency_of(oldest))).unwrap_or_default();
    format!("{waiting} of {limit} wait{oldest}")
}

fn latency_of(period: std::time::Duration) -> String {
    latency(u64::try_from(period.as_micros()).unwrap_or(u64::MAX))
}

fn requests(moment: &Moment) -> String {
    let classes = ["1xx", "2xx", "3xx", "4xx", "5xx", "none"];
    let classes = classes.map(|class| (class, moment.ended_with(class)));
    let classes = classes.iter().filter(|(_, many)| *many > 0);
    let classes: Vec<_> = classes.map(|(class, many)| format!("{} {class}", count(*many))).collect();
    let classes = if classes.is_empty() { String::new() } else { format!(": {}", classes.join(", ")) };
    format!(
        "{} ended{classes}; {} in flight",
        count(moment.ended_in_all()),
        count(moment.number("/requests/count"))
    )
}

fn freezes(moment: &Moment) -> String {
    let [total, last] = ["/counters/freezes/total_ms", "/counters/freezes/last_ms"];
    let [total, last] = [total, last].map(|at| age(moment.period(at).unwrap_or_default()));
    format!("{} times, {total} in all, {last} the last time", count(moment.number("/counters/freezes/count")))
}

fn worker(worker: &Worker) -> String {
    let mut out = format!("{} {}", worker.id, worker.state);
    let mut more = |text: String| {
        let _ = write!(out, ", {text}");
    };
    if let Some(pid) = worker.pid {
        more(format!("pid {pid}"));
    }
    more(format!("{} of {} slots taken", worker.in_flight, worker.slots));
    more(format!("{} served", count(worker.served)));
    if let Some(resident) = worker.resident {
        more(bytes(resident));
    }
    if let Some(cpu) = worker.cpu.filter(|cpu| !cpu.is_zero()) {
        more(format!("{} of CPU", latency_of(cpu)));
    }
    if let Some(start) = worker.start {
        more(format!("started in {}", latency_of(start)));
    }
    if worker.restarts > 0 {
        more(format!("{} restarts", worker.restarts));
    }
    if let Some(exit) = &worker.last_exit {
        more(format!("last exit: {exit}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::moment::tests::moment;
    use super::*;

    #[test]
    fn one_moment_is_a_screen_of_text() {
        let shown = text(&moment(3000, 12_345), "/run/a.sock");
        let expected = "\
warmfront 0.1.0 at /run/a.sock: ready, up 3s
pool     2 of 2 workers ready, 3 of 20 slots taken
queue    1 of 1,024 wait, the first for 5 ms
requests 12,347 ended: 12,345 2xx, 2 5xx; 4 in flight
warm     12,345 answered; first byte p50 1 ms, p90 1 ms, p99 1 ms
cold     1 answered; first byte p50 10 ms, p90 10 ms, p99 10 ms
trouble  shed: queue timeout: 1,234
frozen   1 times, 4s in all, 4s the last time
worker   1 ready, pid 41, 3 of 10 slots taken, 12,345 served, 47 MiB, 12.3 s of CPU, started in 56 ms, 2 restarts, last exit: killed by?[2J signal 9
worker   2 backoff, 0 of 0 slots taken, 0 served
flying   1-a-b for 1s, sent by worker 1
";
        assert_eq!(shown, expected);
    }
}
