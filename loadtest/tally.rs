//! What came of the requests: counts, kinds of errors, the distribution of latency.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::exchange::Exchanged;

/// Kinds of failed requests, as counted and reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// No connection.
    Connect,
    /// The connection broke (reset, broken pipe).
    Reset,
    /// The connection ended before the answer did.
    Eof,
    /// Nothing came in time.
    Timeout,
    /// The answer was a refusal.
    Status4xx,
    /// The answer was a failure.
    Status5xx,
    /// The answer was no proper HTTP.
    BadResponse,
    /// A proper answer of another length than expected.
    BodyLength,
}

impl ErrorKind {
    const ALL: [Self; 8] = [
        Self::Connect,
        Self::Reset,
        Self::Eof,
        Self::Timeout,
        Self::Status4xx,
        Self::Status5xx,
        Self::BadResponse,
        Self::BodyLength,
    ];

    /// What it is called in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Eof => "eof",
            Self::Timeout => "timeout",
            Self::Status4xx => "status_4xx",
            Self::Status5xx => "status_5xx",
            Self::BadResponse => "bad_response",
            Self::BodyLength => "body_length",
        }
    }
}

/// Longer waits count as this long: an hour, which no timeout exceeds.
const LATENCY_NS_MAX: u64 = 3_600_000_000_000;

/// Results of some requests.
#[derive(Debug)]
pub(crate) struct Tally {
    ok: u64,
    body_bytes: u64,
    /// Nanoseconds; three significant digits.
    latency: Histogram<u64>,
    /// How late requests of a schedule were sent; nanoseconds.
    delay: Histogram<u64>,
    /// Good answers of the connection that got fewest and of the one that got most.
    per_connection: Option<(u64, u64)>,
    /// Count and first detail, in the order of [`ErrorKind::ALL`].
    errors: [(u64, String); ErrorKind::ALL.len()],
    /// Requests that were asked for but not sent in time.
    pub(crate) unsent: u64,
}

impl Tally {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)
            .expect("invariant: the bounds are in order and three digits are valid");
        Self {
            ok: 0,
            body_bytes: 0,
            delay: latency.clone(),
            latency,
            per_connection: None,
            errors: Default::default(),
            unsent: 0,
        }
    }

    /// A good answer.
    pub(crate) fn add(&mut self, exchanged: &Exchanged) {
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.ok += 1;
        self.body_bytes += exchanged.body_bytes;
        self.latency.saturating_record(ns(exchanged.latency));
        if let Some(delay) = exchanged.delay {
            self.delay.saturating_record(ns(delay));
        }
    }

    /// One connection is done and got that many good answers.
    pub(crate) fn add_connection(&mut self, answered: u64) {
        let (least, most) = self.per_connection.unwrap_or((answered, answered));
        self.per_connection = Some((least.min(answered), most.max(answered)));
    }

    /// A failed request.
    pub(crate) fn fail(&mut self, kind: ErrorKind, detail: String) {
        let (count, first) = &mut self.errors[kind as usize];
        if *count == 0 {
            *first = detail;
        }
        *count += 1;
    }

    /// Adds all results of `other`.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.ok += other.ok;
        self.body_bytes += other.body_bytes;
        self.latency.add(&other.latency).expect("invariant: all histograms have the same bounds");
        self.delay.add(&other.delay).expect("invariant: all histograms have the same bounds");
        for answered in other.per_connection.into_iter().flat_map(|(least, most)| [least, most]) {
            self.add_connection(answered);
        }
        self.merge_errors(other);
    }

    /// Adds only what went wrong in `other`.
    pub(crate) fn merge_errors(&mut self, other: &Self) {
        self.unsent += other.unsent;
        for (mine, theirs) in self.errors.iter_mut().zip(&other.errors) {
            if mine.0 == 0 {
                mine.1.clone_from(&theirs.1);
            }
            mine.0 += theirs.0;
        }
    }

    /// Requests with a good answer.
    pub(crate) fn ok(&self) -> u64 {
        self.ok
    }

    /// Requests without one, those never sent included.
    pub(crate) fn failed(&self) -> u64 {
        self.unsent + self.errors.iter().map(|(count, _)| count).sum::<u64>()
    }
}

/// A finished load run.
#[derive(Debug)]
pub(crate) struct LoadReport {
    pub(crate) tally: Tally,
    /// Length of the measured part.
    pub(crate) elapsed: Duration,
    /// CPU time of the watched processes in the measured part.
    pub(crate) cpu_ns: Option<u64>,
    /// The same of the processes beside them; zero without any.
    pub(crate) beside_cpu_ns: u64,
}

impl LoadReport {
    /// An empty report, to be filled.
    pub(crate) fn new() -> Self {
        Self { tally: Tally::new(), elapsed: Duration::ZERO, cpu_ns: None, beside_cpu_ns: 0 }
    }

    fn requests_per_second(&self) -> f64 {
        self.tally.ok as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn cpu_us_per_request(&self) -> Option<f64> {
        self.cpu_ns.map(|ns| ns as f64 / 1e3 / self.tally.ok.max(1) as f64)
    }

    fn latency_us(&self, quantile: f64) -> f64 {
        self.tally.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    /// For programs; `peers` reads it back.
    pub(crate) fn to_json(&self) -> Value {
        let errors: serde_json::Map<String, Value> = ErrorKind::ALL
            .into_iter()
            .zip(&self.tally.errors)
            .filter(|(_, (count, _))| *count > 0)
            .map(|(kind, (count, first))| (kind.name().into(), json!({ "count": count, "first": first })))
            .collect();
        let us = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        let delay = (!self.tally.delay.is_empty())
            .then(|| json!({ "p50": us(&self.tally.delay, 0.5), "p99": us(&self.tally.delay, 0.99) }));
        json!({
            "ok": self.tally.ok,
            "failed": self.tally.failed(),
            "unsent": self.tally.unsent,
            "errors": errors,
            "seconds": self.elapsed.as_secs_f64(),
            "requests_per_second": self.requests_per_second(),
            "body_bytes": self.tally.body_bytes,
            "cpu_us_per_request": self.cpu_us_per_request(),
            "beside_cpu_us_per_request": self.beside_cpu_ns as f64 / 1e3 / self.tally.ok.max(1) as f64,
            "per_connection": self.tally.per_connection.map(|(least, most)| [least, most]),
            "delay_us": delay,
            "latency_us": {
                "p50": self.latency_us(0.5),
                "p90": self.latency_us(0.9),
                "p99": self.latency_us(0.99),
                "p99_9": self.latency_us(0.999),
                "max": self.latency_us(1.0),
            },
        })
    }

    /// For people.
    pub(crate) fn to_table(&self) -> String {
        let mut out = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(out, "{name:<16} {value:>14}");
        };
        row("ok", self.tally.ok.to_string());
        row("failed", self.tally.failed().to_string());
        row("seconds", format!("{:.3}", self.elapsed.as_secs_f64()));
        row("requests/s", format!("{:.0}", self.requests_per_second()));
        let mib_per_second =
            self.tally.body_bytes as f64 / self.elapsed.as_secs_f64().max(1e-9) / 1_048_576.0;
        row("body MiB/s", format!("{mib_per_second:.1}"));
        if let Some(us) = self.cpu_us_per_request() {
            row("CPU us/request", format!("{us:.2}"));
        }
        for (name, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            row(&format!("latency {name}"), format!("{:.0} us", self.latency_us(quantile)));
        }
        for (kind, (count, first)) in ErrorKind::ALL.into_iter().zip(&self.tally.errors) {
            if *count > 0 {
                let _ = writeln!(out, "error {:<10} {count:>14}  first: {first}", kind.name());
            }
        }
        if self.tally.unsent > 0 {
            let _ = writeln!(out, "error {:<10} {:>14}  time was up", "unsent", self.tally.unsent);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_under_their_own_name() {
        for (index, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    #[test]
    fn a_merge_keeps_the_first_detail_and_all_counts() {
        let (mut a, mut b) = (Tally::new(), Tally::new());
        a.add(&Exchanged {
            body_bytes: 10,
            latency: Duration::from_micros(100),
            service: Duration::ZERO,
            delay: None,
        });
        a.add_connection(7);
        b.add_connection(3);
        b.fail(ErrorKind::Eof, "early".into());
        b.fail(ErrorKind::Eof, "late".into());
        b.unsent = 1;
        a.merge(&b);
        assert_eq!((a.ok(), a.failed()), (1, 3));
        let json = LoadReport {
            tally: a,
            elapsed: Duration::from_secs(1),
            cpu_ns: Some(5_000),
            beside_cpu_ns: 1_000,
        }
        .to_json();
        assert_eq!(json["per_connection"], json!([3, 7]));
        assert_eq!(json["beside_cpu_us_per_request"], json!(1.0));
        assert_eq!(json["errors"]["eof"], json!({ "count": 2, "first": "early" }));
        assert_eq!(json["cpu_us_per_request"], json!(5.0));
        assert_eq!(json["requests_per_second"], json!(1.0));
        let p50_us = json["latency_us"]["p50"].as_f64().unwrap();
        assert!((p50_us - 100.0).abs() < 0.2, "{p50_us}");
    }
}
