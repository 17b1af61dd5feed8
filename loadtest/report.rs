//! From samples to figures: medians, per-round ratios, tables.
//!
//! Machines drift, so a ratio of medians compares different minutes. A ratio is
//! taken within each round, between runs seconds apart, and the median of those
//! is what is reported.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

/// One load run against one subject.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) cpu_us_per_request: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) failed: u64,
    /// The whole report of the run.
    pub(crate) raw: Value,
}

impl Sample {
    /// Reads what `load --json` printed; `None` if it is something else or measured no CPU.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let raw: Value = serde_json::from_str(text).ok()?;
        Some(Self {
            cpu_us_per_request: raw["cpu_us_per_request"].as_f64()?,
            requests_per_second: raw["requests_per_second"].as_f64()?,
            p50_us: raw["latency_us"]["p50"].as_f64()?,
            p99_us: raw["latency_us"]["p99"].as_f64()?,
            failed: raw["failed"].as_u64()?,
            raw,
        })
    }

    /// Whether the run says anything: a failed request costs something else than a good one.
    fn is_clean(&self) -> bool {
        self.failed == 0
    }
}

/// Runs of one subject in one cell, one place per round; `None` where it was not measured.
pub(crate) type Rounds = Vec<Option<Sample>>;

/// All runs of one cell.
#[derive(Debug)]
pub(crate) struct CellResult {
    pub(crate) name: &'static str,
    /// In the order of the subjects.
    pub(crate) rounds: Vec<Rounds>,
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// Median over the rounds of `subject / peer`, of rounds in which both ran without failures.
pub(crate) fn median_ratio(subject: &[Option<Sample>], peer: &[Option<Sample>]) -> Option<f64> {
    let ratios = subject.iter().zip(peer).filter_map(|(subject, peer)| {
        let subject = subject.as_ref().filter(|sample| sample.is_clean())?;
        let peer = peer.as_ref().filter(|sample| sample.is_clean())?;
        (peer.cpu_us_per_request > 0.0).then(|| subject.cpu_us_per_request / peer.cpu_us_per_request)
    });
    median(ratios.collect())
}

fn figures(rounds: &Rounds, figure: fn(&Sample) -> f64) -> Vec<f64> {
    rounds.iter().flatten().filter(|sample| sample.is_clean()).map(figure).collect()
}

fn failed(rounds: &Rounds) -> u64 {
    rounds.iter().flatten().map(|sample| sample.failed).sum()
}

impl CellResult {
    /// One row per subject; a column of ratios per subject.
    pub(crate) fn to_table(&self, subjects: &[String]) -> String {
        let mut out = String::new();
        let width = subjects.iter().map(String::len).max().unwrap_or(0).max(9);
        let _ = write!(
            out,
            "\n{}: CPU us/request, latency us, ratios of CPU (row / column)\n{:<width$} {:>9} {:>9} {:>9} {:>8} {:>8} {:>9} {:>7} {:>7}",
            self.name, "subject", "median", "min", "max", "p50", "p99", "req/s", "rounds", "failed"
        );
        for peer in subjects {
            let _ = write!(out, " {:>9}", format!("/{peer:.8}"));
        }
        out.push('\n');
        for (name, rounds) in subjects.iter().zip(&self.rounds) {
            let cpu = figures(rounds, |sample| sample.cpu_us_per_request);
            if cpu.is_empty() {
                let _ = writeln!(out, "{name:<width$} not measured, failed requests: {}", failed(rounds));
                continue;
            }
            let middle = |figure| median(figures(rounds, figure)).unwrap_or(f64::NAN);
            let _ = write!(
                out,
                "{name:<width$} {:>9.2} {:>9.2} {:>9.2} {:>8.0} {:>8.0} {:>9.0} {:>7} {:>7}",
                middle(|sample| sample.cpu_us_per_request),
                cpu.iter().copied().fold(f64::INFINITY, f64::min),
                cpu.iter().copied().fold(0.0, f64::max),
                middle(|sample| sample.p50_us),
                middle(|sample| sample.p99_us),
                middle(|sample| sample.requests_per_second),
                cpu.len(),
                failed(rounds),
            );
            for peer in &self.rounds {
                let ratio = median_ratio(rounds, peer).map_or("-".into(), |ratio| format!("{ratio:.2}"));
                let _ = write!(out, " {ratio:>9}");
            }
            out.push('\n');
        }
        out
    }

    /// Medians, ratios and every sample.
    pub(crate) fn to_json(&self, subjects: &[String]) -> Value {
        let entries = subjects.iter().zip(&self.rounds).map(|(name, rounds)| {
            let ratios: Map<String, Value> = subjects
                .iter()
                .zip(&self.rounds)
                .map(|(peer, theirs)| (peer.clone(), json!(median_ratio(rounds, theirs))))
                .collect();
            let raw: Vec<Value> = rounds
                .iter()
                .map(|sample| sample.as_ref().map_or(Value::Null, |sample| sample.raw.clone()))
                .collect();
            let entry = json!({
                "median_cpu_us_per_request": median(figures(rounds, |sample| sample.cpu_us_per_request)),
                "median_p50_us": median(figures(rounds, |sample| sample.p50_us)),
                "median_p99_us": median(figures(rounds, |sample| sample.p99_us)),
                "median_requests_per_second": median(figures(rounds, |sample| sample.requests_per_second)),
                "failed": failed(rounds),
                "median_ratio_to": ratios,
                "rounds": raw,
            });
            (name.clone(), entry)
        });
        Value::Object(entries.collect())
    }

    /// Requests that failed, over all subjects.
    pub(crate) fn failed(&self) -> u64 {
        self.rounds.iter().map(failed).sum()
    }
}

/// What a figure depends on besides the programs.
#[derive(Debug)]
pub(crate) struct Machine(Vec<(&'static str, String)>);

impl Machine {
    /// Reads it from the system; what cannot be read is said to be unknown.
    pub(crate) fn here() -> Self {
        let read = |path: &str| {
            fs::read_to_string(Path::new(path)).map_or("unknown".into(), |text| text.trim().to_owned())
        };
        let cpu = read("/proc/cpuinfo");
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Self(vec![
            ("date", humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
            ("cpu", format!("{} x {cores}", model.trim_start_matches(['\t', ' ', ':']))),
            ("kernel", read("/proc/sys/kernel/osrelease")),
            ("congestion control", read("/proc/sys/net/ipv4/tcp_congestion_control")),
            ("load average", read("/proc/loadavg")),
            ("command", std::env::args().collect::<Vec<_>>().join(" ")),
        ])
    }

    /// One line per fact.
    pub(crate) fn to_table(&self) -> String {
        self.0.iter().fold(String::new(), |out, (name, value)| out + &format!("{name:<19} {value}\n"))
    }

    /// The same for programs.
    pub(crate) fn to_json(&self) -> Value {
        self.0.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect::<Map<_, _>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu_us: f64, failed: u64) -> Option<Sample> {
        let text = json!({
            "cpu_us_per_request": cpu_us, "requests_per_second": 1.0, "failed": failed,
            "latency_us": { "p50": 1.0, "p99": 2.0 },
        });
        Some(Sample::parse(&text.to_string()).unwrap())
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_middles() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_rounds_before_the_median() {
        // The machine was three times slower in the last round; the ratio was not.
        let ours = [sample(5.0, 0), sample(6.0, 0), sample(15.0, 0)];
        let theirs = [sample(10.0, 0), sample(10.0, 0), sample(30.0, 0)];
        assert_eq!(median_ratio(&ours, &theirs), Some(0.5));
    }

    #[test]
    fn a_round_that_one_side_missed_or_failed_has_no_ratio() {
        let ours = [None, sample(5.0, 1), sample(8.0, 0)];
        let theirs = [sample(10.0, 0), sample(10.0, 0), sample(10.0, 0)];
        assert_eq!(median_ratio(&ours, &theirs), Some(0.8));
        assert_eq!(median_ratio(&ours[..2], &theirs[..2]), None);
    }

    #[test]
    fn a_subject_that_failed_is_named_as_not_measured() {
        let cell = CellResult { name: "1k", rounds: vec![vec![sample(5.0, 3)], vec![sample(9.0, 0)]] };
        let table = cell.to_table(&["a".into(), "b".into()]);
        assert!(table.contains("not measured, failed requests: 3"), "{table}");
        assert!(table.contains("9.00"), "{table}");
        assert_eq!(cell.failed(), 3);
    }

    #[test]
    fn a_report_without_cpu_is_no_sample() {
        assert_eq!(Sample::parse("{}"), None);
        assert_eq!(Sample::parse("error"), None);
    }
}
