//! From runs to figures: ratios within rounds, their middle and spread, means over cells.
//!
//! Machines drift, so a ratio of medians compares different minutes. A ratio is
//! taken within each round, between runs seconds apart, and the median of those
//! is what is reported.

use serde_json::{Map, Value, json};

use crate::report::{CellResult, Report, Sample};
use crate::stats::{Spread, geometric_mean};

impl CellResult {
    /// Whether it belongs to the plot of scale rather than to the goals.
    pub(crate) fn is_scale(&self) -> bool {
        self.curve.is_some() || self.name.starts_with("fair")
    }

    /// A figure of a subject, over the rounds without failures.
    pub(crate) fn spread(&self, subject: &str, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        Spread::of(self.of(subject).iter().flatten().filter(|sample| sample.is_clean()).map(figure).collect())
    }

    /// `subject / peer`, over the rounds in which both ran without failures.
    pub(crate) fn ratio(&self, subject: &str, peer: &str, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        let pairs = self.of(subject).iter().flatten_pairs(self.of(peer));
        let ratios = pairs.map(|(mine, theirs)| (figure(mine), figure(theirs)));
        Spread::of(ratios.filter(|(_, theirs)| *theirs > 0.0).map(|(mine, theirs)| mine / theirs).collect())
    }

    /// The ratio that goals are about.
    pub(crate) fn cpu_ratio(&self, subject: &str, peer: &str) -> Option<Spread> {
        self.ratio(subject, peer, |sample| sample.cpu_us)
    }
}

/// Runs of the same round, both without failures.
trait FlattenPairs<'a>: Iterator<Item = &'a Option<Sample>> + Sized {
    fn flatten_pairs(self, theirs: &'a [Option<Sample>]) -> impl Iterator<Item = (&'a Sample, &'a Sample)> {
        self.zip(theirs).filter_map(|(mine, theirs)| {
            let pair = (mine.as_ref()?, theirs.as_ref()?);
            (pair.0.is_clean() && pair.1.is_clean()).then_some(pair)
        })
    }
}

impl<'a, I: Iterator<Item = &'a Option<Sample>>> FlattenPairs<'a> for I {}

/// Geometric mean of the CPU ratios over the cells of the goals, and over how many.
pub(crate) fn mean_over_cells(report: &Report, subject: &str, peer: &str) -> Option<(f64, usize)> {
    let ratios: Vec<f64> = report
        .cells
        .iter()
        .filter(|cell| !cell.is_scale())
        .filter_map(|cell| cell.cpu_ratio(subject, peer))
        .map(|spread| spread.median)
        .collect();
    geometric_mean(&ratios).map(|mean| (mean, ratios.len()))
}

/// Medians and ratios by cell and subject, for programs that do not want the runs.
pub(crate) fn summary(report: &Report) -> Value {
    let of_cell = |cell: &CellResult| {
        let entries = cell.runs.keys().map(|name| {
            let ratios: Map<String, Value> = cell
                .runs
                .keys()
                .map(|peer| (peer.clone(), json!(cell.cpu_ratio(name, peer).map(|spread| spread.median))))
                .collect();
            let middle = |figure: fn(&Sample) -> f64| cell.spread(name, figure).map(|spread| spread.median);
            let cpu = cell.spread(name, |sample| sample.cpu_us);
            let entry = json!({
                "median_cpu_us_per_request": cpu.map(|cpu| cpu.median),
                "min_cpu_us_per_request": cpu.map(|cpu| cpu.min),
                "max_cpu_us_per_request": cpu.map(|cpu| cpu.max),
                "median_p50_us": middle(|sample| sample.p50_us),
                "median_p99_us": middle(|sample| sample.p99_us),
                "median_requests_per_second": middle(|sample| sample.requests_per_second),
                "failed": cell.failed(name),
                "median_ratio_to": ratios,
            });
            (name.clone(), entry)
        });
        Value::Object(entries.collect())
    };
    Value::Object(report.cells.iter().map(|cell| (cell.name.clone(), of_cell(cell))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{report, sample};

    #[test]
    fn ratios_are_taken_within_rounds_before_the_median() {
        // The machine was three times slower in the last round; the ratio was not.
        let all = report(&[("1k", &[("wf", &[5.0, 6.0, 15.0]), ("nginx", &[10.0, 10.0, 30.0])])]);
        let ratio = all.cells[0].cpu_ratio("wf", "nginx").unwrap();
        assert_eq!((ratio.median, ratio.max, ratio.count), (0.5, 0.6, 3));
    }

    #[test]
    fn a_round_that_one_side_missed_or_failed_has_no_ratio() {
        let mut all = report(&[("1k", &[("nginx", &[10.0, 10.0, 10.0])])]);
        let cell = &mut all.cells[0];
        cell.runs.insert("wf".into(), vec![None, sample(5.0, 1), sample(8.0, 0)]);
        assert_eq!(cell.cpu_ratio("wf", "nginx").map(|ratio| (ratio.median, ratio.count)), Some((0.8, 1)));
        assert_eq!(cell.spread("wf", |sample| sample.cpu_us).map(|cpu| cpu.count), Some(1));
        assert_eq!((cell.failed("wf"), cell.cpu_ratio("wf", "h2o")), (1, None));
    }

    #[test]
    fn the_mean_is_over_cells_of_the_goals_in_which_both_were_measured() {
        let mut all = report(&[
            ("1k", &[("wf", &[5.0]), ("nginx", &[10.0])]),
            ("64k", &[("wf", &[40.0]), ("nginx", &[20.0])]),
            ("1m", &[("wf", &[40.0])]),
            ("n64", &[("wf", &[1.0]), ("nginx", &[9.0])]),
        ]);
        all.cells[3].curve = Some(("1 thread".into(), 64));
        let (mean, count) = mean_over_cells(&all, "wf", "nginx").unwrap();
        assert!((mean - 1.0).abs() < 1e-12 && count == 2, "{mean} over {count}");
        let figures = summary(&all);
        assert_eq!(figures["1k"]["wf"]["median_ratio_to"]["nginx"], json!(0.5));
        assert_eq!(figures["1m"]["wf"]["median_ratio_to"], json!({ "wf": 1.0 }));
    }
}
