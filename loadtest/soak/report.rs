//! The soak's figures, for people and for machines.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::judge::{KINDS, Verdict};

/// Violations of one kind that are told in full.
const TOLD: usize = 5;

/// A calm phase.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calm {
    pub(super) answers: usize,
    pub(super) p50_us: u32,
    pub(super) p99_us: u32,
    /// Of the sidecar, with no client connected.
    pub(super) descriptors: usize,
    pub(super) rss_kib: u64,
}

impl Calm {
    /// From the latency of each answer in microseconds.
    pub(super) fn new(mut us: Vec<u32>, descriptors: usize, rss_kib: u64) -> Self {
        us.sort_unstable();
        let quantile = |q: f64| us.get((us.len() as f64 * q) as usize).copied().unwrap_or_default();
        Self { answers: us.len(), p50_us: quantile(0.5), p99_us: quantile(0.99), descriptors, rss_kib }
    }

    fn to_json(self) -> Value {
        json!({
            "answers": self.answers, "p50_us": self.p50_us, "p99_us": self.p99_us,
            "descriptors": self.descriptors, "rss_kib": self.rss_kib,
        })
    }
}

/// Everything about one run.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) sidecar: String,
    pub(super) seconds: f64,
    pub(super) seed: u64,
    pub(super) verdict: Verdict,
    /// Before the storm and after it.
    pub(super) calms: [Calm; 2],
}

impl Report {
    fn faults(&self) -> u64 {
        self.verdict.faults.values().sum()
    }

    /// p99 after the storm over p99 before it.
    fn p99_ratio(&self) -> f64 {
        f64::from(self.calms[1].p99_us) / f64::from(self.calms[0].p99_us.max(1))
    }

    fn counts(&self) -> [(&'static str, usize); KINDS.len()] {
        KINDS.map(|kind| {
            let violations = &self.verdict.violations;
            (kind, violations.iter().filter(|violation| violation.kind == kind).count())
        })
    }

    pub(super) fn to_table(&self) -> String {
        let Verdict { requests, outcomes, reasons, faults, deaths, repeats, violations } = &self.verdict;
        let mut out = String::new();
        let per_second = *requests as f64 / self.seconds;
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}, {:.0} s, seed {}", self.sidecar, self.seconds, self.seed);
        let _ = writeln!(out, "\n{:<28} {requests:>9}   {per_second:.0}/s", "requests");
        for (word, count) in outcomes {
            let _ = writeln!(out, "  {word:<26} {count:>9}");
        }
        for (reason, count) in reasons {
            let _ = writeln!(out, "    {reason:<24} {count:>9}");
        }
        let _ = writeln!(out, "{:<28} {repeats:>9}", "executed twice (GET, HEAD)");
        let _ = writeln!(out, "{:<28} {:>9}", "faults injected", self.faults());
        for (fault, count) in faults {
            let _ = writeln!(out, "  {:<26} {count:>9}", fault.name());
        }
        let _ = writeln!(out, "{:<28} {deaths:>9}", "worker deaths");
        let _ = writeln!(out, "\n{:<28} {:>9} {:>9}", "calm phase", "before", "after");
        let mut row = |name: &str, value: &dyn Fn(&Calm) -> String| {
            let _ = writeln!(out, "  {name:<26} {:>9} {:>9}", value(&self.calms[0]), value(&self.calms[1]));
        };
        row("answers", &|calm| calm.answers.to_string());
        row("p50, us", &|calm| calm.p50_us.to_string());
        row("p99, us", &|calm| calm.p99_us.to_string());
        row("descriptors", &|calm| calm.descriptors.to_string());
        row("RSS, KiB", &|calm| calm.rss_kib.to_string());
        let _ = writeln!(out, "  p99 after / before {:.2}; the goal is 1.10", self.p99_ratio());
        let _ = writeln!(out, "\nviolations");
        for (kind, count) in self.counts() {
            let _ = writeln!(out, "  {kind:<36} {count}");
        }
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for violation in violations {
            let count = told.entry(violation.kind).or_default();
            *count += 1;
            if *count <= TOLD {
                let _ = writeln!(out, "{}: {}", violation.kind, violation.text);
            }
        }
        let _ = writeln!(out, "\n{}", if violations.is_empty() { "PASSED" } else { "FAILED" });
        out
    }

    pub(super) fn to_json(&self) -> Value {
        let Verdict { requests, outcomes, reasons, faults, deaths, repeats, violations } = &self.verdict;
        let faults: BTreeMap<&str, u64> =
            faults.iter().map(|(fault, count)| (fault.name(), *count)).collect();
        json!({
            "sidecar": self.sidecar,
            "seconds": self.seconds,
            "seed": self.seed,
            "requests": requests,
            "outcomes": outcomes,
            "reasons": reasons,
            "executed_twice": repeats,
            "faults": faults,
            "faults_injected": self.faults(),
            "worker_deaths": deaths,
            "calm": { "before": self.calms[0].to_json(), "after": self.calms[1].to_json() },
            "p99_ratio": self.p99_ratio(),
            "violations": self.counts().into_iter().collect::<BTreeMap<_, _>>(),
            "texts": violations.iter().map(|violation| format!("{}: {}", violation.kind, violation.text)).collect::<Vec<_>>(),
        })
    }
}
