//! From observations to figures: who is compared in which case, distributions, the summary.
//!
//! Pure. A case is what was done the same way each time; within it, figures are of
//! single observations, and those that failed are counted, not averaged.

use serde::Serialize;

use crate::stats::{Spread, quantiles};
use crate::study::{Curve, Freezer, Load, PageCache, Phases, Start, StartClass, Study, Thaw};

/// One moment of a start.
pub(crate) struct Phase {
    /// As in the file.
    pub(crate) key: &'static str,
    /// As people read it.
    pub(crate) name: &'static str,
    pub(crate) at: fn(&Phases) -> Option<f64>,
}

/// All moments, in the order in which they usually come.
pub(crate) const PHASES: [Phase; 7] = [
    Phase { key: "forked", name: "fork", at: |phases| phases.forked },
    Phase { key: "executed", name: "exec", at: |phases| phases.executed },
    Phase { key: "first_output", name: "first output", at: |phases| phases.first_output },
    Phase { key: "listening", name: "listening", at: |phases| phases.listening },
    Phase { key: "accepted", name: "accepted", at: |phases| phases.accepted },
    Phase { key: "first_byte", name: "first byte", at: |phases| phases.first_byte },
    Phase { key: "warm", name: "warm", at: |phases| phases.warm },
];

impl Phases {
    /// How long each phase took, in milliseconds: since the moment seen last before it. Together they are the
    /// last moment, in whatever order the moments came.
    pub(crate) fn took(&self) -> [Option<f64>; PHASES.len()] {
        let mut seen: Vec<(usize, f64)> =
            PHASES.iter().enumerate().filter_map(|(place, phase)| Some((place, (phase.at)(self)?))).collect();
        seen.sort_by(|one, other| one.1.total_cmp(&other.1));
        let mut took = [None; PHASES.len()];
        let mut before = 0.0;
        for (place, at) in seen {
            took[place] = Some(at - before);
            before = at;
        }
        took
    }
}

/// Starts of one subject that were done the same way.
#[derive(Clone, Debug)]
pub(crate) struct StartCase<'a> {
    pub(crate) subject: &'a str,
    pub(crate) page_cache: PageCache,
    pub(crate) at_once: u32,
    pub(crate) starts: Vec<&'a Start>,
}

/// Runs of one load against one subject.
#[derive(Clone, Debug)]
pub(crate) struct LoadCase<'a> {
    pub(crate) subject: &'a str,
    pub(crate) scenario: &'a str,
    pub(crate) class: StartClass,
    pub(crate) rate: f64,
    pub(crate) loads: Vec<&'a Load>,
}

/// Freezes of one subject that were done the same way.
#[derive(Clone, Debug)]
pub(crate) struct ThawCase<'a> {
    pub(crate) subject: &'a str,
    pub(crate) by: Freezer,
    /// Of the first of them; the others are as long within a tenth.
    pub(crate) frozen_ms: f64,
    pub(crate) asked_while_frozen: bool,
    pub(crate) thaws: Vec<&'a Thaw>,
}

impl PageCache {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Dropped => "dropped",
        }
    }
}

impl StartClass {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Thawed => "thawed",
        }
    }
}

impl Freezer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Cgroup => "cgroup",
        }
    }
}

impl StartCase<'_> {
    /// What all of the case have in common, whoever it is.
    pub(crate) fn label(&self) -> String {
        let cache = self.page_cache.name();
        match self.at_once {
            1 => format!("page cache {cache}"),
            many => format!("page cache {cache}, {many} at once"),
        }
    }

    /// The starts that led to an answer.
    fn good(&self) -> impl Iterator<Item = &Start> {
        self.starts.iter().copied().filter(|start| start.failure.is_none())
    }

    pub(crate) fn failed(&self) -> usize {
        self.starts.len() - self.good().count()
    }

    /// A moment of each good start that has it, in milliseconds since the start was asked for.
    pub(crate) fn moments(&self, at: fn(&Phases) -> Option<f64>) -> Vec<f64> {
        self.good().filter_map(|start| at(&start.phases)).collect()
    }

    /// How long one phase took, by its place in [`PHASES`]; in milliseconds.
    pub(crate) fn took(&self, place: usize) -> Vec<f64> {
        self.good().filter_map(|start| start.phases.took()[place]).collect()
    }

    /// From asking for the start to the first byte, in milliseconds.
    pub(crate) fn first_bytes(&self) -> Vec<f64> {
        self.moments(|phases| phases.first_byte)
    }

    /// The latency that each start settled at, in microseconds.
    pub(crate) fn warm_us(&self) -> Vec<f64> {
        self.good().filter_map(|start| start.warm_us).collect()
    }
}

impl LoadCase<'_> {
    /// What all of the case have in common, whoever it is.
    pub(crate) fn label(&self) -> String {
        format!("{}, {}/s, {}", self.scenario, short(self.rate), self.class.name())
    }

    /// All requests of all runs, from the moment each was due.
    pub(crate) fn latency(&self) -> Curve {
        Curve::mixed(self.loads.iter().flat_map(|load| load.latency.values()))
    }

    /// All requests of all runs, from the moment each was sent.
    pub(crate) fn service(&self) -> Curve {
        Curve::mixed(self.loads.iter().flat_map(|load| load.service.values()))
    }

    /// A percentile of each run, in microseconds.
    pub(crate) fn of_each_run(&self, share: f64) -> Vec<f64> {
        self.loads.iter().filter_map(|load| Curve::mixed(load.latency.values()).at(share)).collect()
    }

    /// Good answers, and requests without one.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.loads.iter().fold((0, 0), |(ok, failed), load| (ok + load.ok, failed + load.failed))
    }
}

impl ThawCase<'_> {
    /// What all of the case have in common, whoever it is.
    pub(crate) fn label(&self) -> String {
        let when = if self.asked_while_frozen { "asked while frozen" } else { "asked after the thaw" };
        format!("{} by {}, {when}", period(self.frozen_ms * 1000.0), self.by.name())
    }

    /// Requests behind each thaw, at most.
    pub(crate) fn depth(&self) -> usize {
        self.thaws.iter().map(|thaw| thaw.requests.len()).max().unwrap_or(0)
    }

    /// Latency of the request at that place behind each thaw, from 0, where it was answered; in microseconds.
    pub(crate) fn latency(&self, place: usize) -> Vec<f64> {
        let requests = self.thaws.iter().filter_map(|thaw| thaw.requests.get(place));
        requests.filter(|request| request.failure.is_none()).map(|request| request.latency_us).collect()
    }

    /// How many of the requests at that place failed, of how many.
    pub(crate) fn failed(&self, place: usize) -> (usize, usize) {
        let requests = || self.thaws.iter().filter_map(|thaw| thaw.requests.get(place));
        (requests().filter(|request| request.failure.is_some()).count(), requests().count())
    }

    /// Latency before the freeze, in microseconds.
    pub(crate) fn before(&self) -> Vec<f64> {
        self.thaws.iter().flat_map(|thaw| &thaw.before_us).copied().collect()
    }
}

/// Puts each into the group that it belongs to, groups in the order in which they first came.
fn grouped<T>(items: impl Iterator<Item = T>, belongs: impl Fn(&T, &T) -> bool) -> Vec<Vec<T>> {
    let mut groups: Vec<Vec<T>> = Vec::new();
    for item in items {
        match groups.iter_mut().find(|group| belongs(&group[0], &item)) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    groups
}

impl Study {
    /// Everybody who is named anywhere, those with facts first.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        let all = (self.subjects.iter().map(|subject| &subject.name))
            .chain(self.starts.iter().map(|start| &start.subject))
            .chain(self.loads.iter().map(|load| &load.subject))
            .chain(self.searches.iter().map(|search| &search.subject))
            .chain(self.thaws.iter().map(|thaw| &thaw.subject));
        for name in all {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// The place of a subject among all, which is its colour.
    pub(crate) fn place(&self, subject: &str) -> usize {
        self.names().iter().position(|name| *name == subject).unwrap_or(0)
    }

    /// Starts by how they were done, subjects in their order within each case.
    pub(crate) fn start_cases(&self) -> Vec<StartCase<'_>> {
        let groups = grouped(self.starts.iter(), |one, other| {
            (&one.subject, one.page_cache, one.at_once) == (&other.subject, other.page_cache, other.at_once)
        });
        let mut cases: Vec<StartCase<'_>> = groups
            .into_iter()
            .map(|starts| StartCase {
                subject: &starts[0].subject,
                page_cache: starts[0].page_cache,
                at_once: starts[0].at_once,
                starts,
            })
            .collect();
        cases.sort_by_key(|case| (case.page_cache, case.at_once, self.place(case.subject)));
        cases
    }

    /// Loads by what was asked of whom.
    pub(crate) fn load_cases(&self) -> Vec<LoadCase<'_>> {
        let groups = grouped(self.loads.iter(), |one, other| {
            (&one.subject, &one.scenario, one.class) == (&other.subject, &other.scenario, other.class)
                && one.rate.total_cmp(&other.rate).is_eq()
        });
        let mut cases: Vec<LoadCase<'_>> = groups
            .into_iter()
            .map(|loads| LoadCase {
                subject: &loads[0].subject,
                scenario: &loads[0].scenario,
                class: loads[0].class,
                rate: loads[0].rate,
                loads,
            })
            .collect();
        cases.sort_by(|one, other| {
            (one.scenario.cmp(other.scenario))
                .then(one.rate.total_cmp(&other.rate))
                .then(one.class.cmp(&other.class))
                .then(self.place(one.subject).cmp(&self.place(other.subject)))
        });
        cases
    }

    /// Freezes by how they were done.
    pub(crate) fn thaw_cases(&self) -> Vec<ThawCase<'_>> {
        let groups = grouped(self.thaws.iter(), |one, other| {
            (&one.subject, one.by, one.asked_while_frozen)
                == (&other.subject, other.by, other.asked_while_frozen)
                && (other.frozen_ms - one.frozen_ms).abs() <= one.frozen_ms * 0.1
        });
        let mut cases: Vec<ThawCase<'_>> = groups
            .into_iter()
            .map(|thaws| ThawCase {
                subject: &thaws[0].subject,
                by: thaws[0].by,
                frozen_ms: thaws[0].frozen_ms,
                asked_while_frozen: thaws[0].asked_while_frozen,
                thaws,
            })
            .collect();
        cases.sort_by(|one, other| {
            (one.by.cmp(&other.by))
                .then(one.asked_while_frozen.cmp(&other.asked_while_frozen))
                .then(one.frozen_ms.total_cmp(&other.frozen_ms))
                .then(self.place(one.subject).cmp(&self.place(other.subject)))
        });
        cases
    }
}

impl Curve {
    /// The latency that this share of the requests stayed within, in microseconds. `None` without points.
    pub(crate) fn at(&self, share: f64) -> Option<f64> {
        let after = self.points.iter().position(|(found, _)| *found >= share);
        let Some(after) = after else { return self.points.last().map(|(_, latency)| *latency) };
        let (high, latency) = self.points[after];
        let Some((low, shorter)) = after.checked_sub(1).map(|before| self.points[before]) else {
            return Some(latency);
        };
        Some(shorter + (latency - shorter) * (share - low) / (high - low).max(f64::MIN_POSITIVE))
    }

    /// The share of the requests that stayed within this latency.
    fn within(&self, latency: f64) -> f64 {
        let after = self.points.iter().position(|(_, found)| *found > latency);
        let Some(after) = after else { return self.points.last().map_or(0.0, |(share, _)| *share) };
        let Some((low, shorter)) = after.checked_sub(1).map(|before| self.points[before]) else { return 0.0 };
        let (high, longer) = self.points[after];
        low + (high - low) * (latency - shorter) / (longer - shorter).max(f64::MIN_POSITIVE)
    }

    /// The distribution of the requests of several, each with its weight.
    pub(crate) fn mixed<'a>(curves: impl Iterator<Item = &'a Self>) -> Self {
        let curves: Vec<&Self> = curves.filter(|curve| !curve.points.is_empty()).collect();
        if let [only] = curves[..] {
            return only.clone();
        }
        let count = curves.iter().map(|curve| curve.count).sum();
        let mut latencies: Vec<f64> =
            curves.iter().flat_map(|curve| &curve.points).map(|(_, latency)| *latency).collect();
        latencies.sort_by(f64::total_cmp);
        latencies.dedup();
        let share = |latency: f64| {
            let within: f64 = curves.iter().map(|curve| curve.within(latency) * curve.count as f64).sum();
            within / (count as f64).max(1.0)
        };
        Self { count, points: latencies.into_iter().map(|latency| (share(latency), latency)).collect() }
    }
}

/// The shares that a load is described by, and their names.
pub(crate) const PERCENTILES: [(&str, f64); 6] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

/// A figure with its spread.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Middle {
    pub(crate) count: usize,
    pub(crate) q1: f64,
    pub(crate) median: f64,
    pub(crate) q3: f64,
}

impl Middle {
    fn of(values: Vec<f64>) -> Option<Self> {
        Spread::of(values).map(|Spread { count, q1, median, q3, .. }| Self { count, q1, median, q3 })
    }
}

/// Figures for programs that do not want the observations.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Summary {
    starts: Vec<StartSummary>,
    loads: Vec<LoadSummary>,
    thaws: Vec<ThawSummary>,
}

/// Starts that were done the same way.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct StartSummary {
    subject: String,
    page_cache: PageCache,
    at_once: u32,
    failed: usize,
    phases: Vec<PhaseSummary>,
    /// The latency it settled at, in microseconds.
    warm_us: Option<Middle>,
}

/// One moment of those starts.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PhaseSummary {
    phase: String,
    /// In milliseconds since the start was asked for.
    at_ms: Middle,
    /// In milliseconds since the moment seen last before it.
    took_ms: Middle,
}

/// Runs of the same load.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct LoadSummary {
    subject: String,
    scenario: String,
    class: StartClass,
    rate: f64,
    ok: u64,
    failed: u64,
    /// In microseconds from the moment a request was due, in the order of [`PERCENTILES`].
    latency_us: std::collections::BTreeMap<String, f64>,
}

/// Freezes that were done the same way.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ThawSummary {
    subject: String,
    by: Freezer,
    frozen_ms: f64,
    asked_while_frozen: bool,
    /// Requests that failed, and all.
    failed: (usize, usize),
    before_us: Option<Middle>,
    /// Of the first request behind the thaw, where it was answered.
    first_us: Option<Middle>,
}

/// Figures of a study.
pub(crate) fn summary(study: &Study) -> Summary {
    let phases = |case: &StartCase<'_>| {
        let of = |(place, phase): (usize, &Phase)| {
            Some(PhaseSummary {
                phase: phase.key.to_owned(),
                at_ms: Middle::of(case.moments(phase.at))?,
                took_ms: Middle::of(case.took(place))?,
            })
        };
        PHASES.iter().enumerate().filter_map(of).collect()
    };
    let starts = study.start_cases();
    let starts = starts.iter().map(|case| StartSummary {
        subject: case.subject.to_owned(),
        page_cache: case.page_cache,
        at_once: case.at_once,
        failed: case.failed(),
        phases: phases(case),
        warm_us: Middle::of(case.warm_us()),
    });
    let loads = study.load_cases();
    let loads = loads.iter().map(|case| {
        let ((ok, failed), curve) = (case.counts(), case.latency());
        LoadSummary {
            subject: case.subject.to_owned(),
            scenario: case.scenario.to_owned(),
            class: case.class,
            rate: case.rate,
            ok,
            failed,
            latency_us: PERCENTILES
                .iter()
                .filter_map(|(name, share)| Some(((*name).to_owned(), curve.at(*share)?)))
                .collect(),
        }
    });
    let thaws = study.thaw_cases();
    let thaws = thaws.iter().map(|case| {
        let failed = (0..case.depth()).map(|place| case.failed(place));
        ThawSummary {
            subject: case.subject.to_owned(),
            by: case.by,
            frozen_ms: case.frozen_ms,
            asked_while_frozen: case.asked_while_frozen,
            failed: failed.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)),
            before_us: Middle::of(case.before()),
            first_us: Middle::of(case.latency(0)),
        }
    });
    Summary { starts: starts.collect(), loads: loads.collect(), thaws: thaws.collect() }
}

/// Microseconds as people say them: three digits and a unit.
pub(crate) fn period(us: f64) -> String {
    let (value, unit) = match us.abs() {
        0.0 => return "0".into(),
        // What would be rounded up to the next unit is in the next unit.
        size if size < 999.5 => (us, "µs"),
        size if size < 999_500.0 => (us / 1e3, "ms"),
        _ => (us / 1e6, "s"),
    };
    format!("{} {unit}", short(value))
}

/// Three digits, and none behind the point that say nothing.
pub(crate) fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// p5, p25, p50, p75, p95 and the largest.
pub(crate) fn shape(values: Vec<f64>) -> Option<[f64; 6]> {
    quantiles(values, [0.05, 0.25, 0.5, 0.75, 0.95, 1.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_add_up_in_whatever_order_they_came() {
        let phases = Phases {
            executed: Some(2.0),
            first_output: Some(50.0),
            listening: Some(40.0),
            first_byte: Some(60.0),
            ..Phases::default()
        };
        assert_eq!(phases.took(), [None, Some(2.0), Some(10.0), Some(38.0), None, Some(10.0), None]);
    }

    #[test]
    fn a_mixture_weighs_by_requests() {
        let fast = Curve { count: 300, points: vec![(0.0, 10.0), (1.0, 20.0)] };
        let slow = Curve { count: 100, points: vec![(0.0, 100.0), (1.0, 200.0)] };
        let both = Curve::mixed([&fast, &slow].into_iter());
        assert_eq!(both.count, 400);
        assert_eq!(both.at(0.75).map(f64::round), Some(20.0));
        assert_eq!(both.at(1.0), Some(200.0));
        assert_eq!(both.at(0.375).map(f64::round), Some(15.0));
        assert_eq!(Curve::mixed([].into_iter()).at(0.5), None);
    }

    #[test]
    fn nothing_has_no_unit() {
        assert_eq!(period(0.0), "0");
    }

    #[test]
    fn periods_have_three_digits_and_a_unit() {
        let cases = [
            (0.5, "0.5 µs"),
            (999.4, "999 µs"),
            (999.6, "1 ms"),
            (12_345.0, "12.3 ms"),
            (1_300_000.0, "1.3 s"),
        ];
        for (us, text) in cases {
            assert_eq!(period(us), text);
        }
    }
}
