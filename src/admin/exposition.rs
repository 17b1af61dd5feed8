//! The text that Prometheus reads (version 0.0.4), from numbers that are added up already.
//!
//! The exporter's own recorder keeps every sample of a histogram until it is asked, with its time; the data plane
//! counts into buckets instead (`docs/adr/0010-numbers-are-folded-when-asked-for.md`). So it is the exporter's
//! writer that is used here, and nothing else of it.

use std::fmt::Display;

use metrics::{Key, Label};
use metrics_exporter_prometheus::LabelSet;
use metrics_exporter_prometheus::formatting::{write_help_line, write_metric_line, write_type_line};

use super::families::Family;
use crate::telemetry::buckets::{BOUNDS_US, TOLD_US};
use crate::telemetry::tally::Times;

/// What it is, for a `Content-Type`.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The text as it grows.
#[derive(Default)]
pub(super) struct Text(String);

/// Where the samples of one family go.
pub(super) struct Samples<'a> {
    text: &'a mut String,
    family: &'static Family,
}

impl Text {
    /// Describes `family`; its samples follow.
    pub(super) fn family(&mut self, family: &'static Family) -> Samples<'_> {
        write_help_line(&mut self.0, family.name, None, None, family.help);
        write_type_line(&mut self.0, family.name, None, None, family.kind.word());
        Samples { text: &mut self.0, family }
    }

    /// One sample of a family without labels.
    pub(super) fn single(&mut self, family: &'static Family, value: impl Display) {
        self.family(family).add(&[], value);
    }

    /// All of it.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

impl Samples<'_> {
    /// One sample, with the values of the family's labels in their order.
    pub(super) fn add(&mut self, values: &[&str], value: impl Display) {
        let labels = self.labels(values);
        write_metric_line::<&str, _>(self.text, self.family.name, None, &labels, None, value, None);
    }

    /// A histogram: how many took at most so long, their sum and their number.
    pub(super) fn add_times(&mut self, values: &[&str], times: Times<'_>) {
        let (labels, name) = (self.labels(values), self.family.name);
        let (mut below, mut finer) = (0, BOUNDS_US.iter().zip(times.buckets).peekable());
        for told in TOLD_US {
            while let Some((_, count)) = finer.next_if(|(bound, _)| **bound <= told) {
                below += count;
            }
            let bound = f64::from(told) / 1e6;
            write_metric_line(self.text, name, Some("bucket"), &labels, Some(("le", bound)), below, None);
        }
        let all: u64 = times.buckets.iter().sum();
        write_metric_line(self.text, name, Some("bucket"), &labels, Some(("le", "+Inf")), all, None);
        let sum = times.sum.as_secs_f64();
        write_metric_line::<&str, _>(self.text, name, Some("sum"), &labels, None, sum, None);
        write_metric_line::<&str, _>(self.text, name, Some("count"), &labels, None, all, None);
    }

    fn labels(&self, values: &[&str]) -> LabelSet {
        let names = self.family.labels;
        debug_assert_eq!(values.len(), names.len(), "{}", self.family.name);
        let labels =
            names.iter().zip(values).map(|((name, _), value)| Label::new(*name, (*value).to_owned()));
        LabelSet::from_key_and_global(
            &Key::from_parts(self.family.name, labels.collect::<Vec<_>>()),
            &Default::default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admin::families::{QUEUE_WAIT, SHED};
    use crate::telemetry::buckets::{BUCKETS, bucket_of};

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.family(&SHED).add(&["a\"b\n"], 3);
        assert!(text.into_string().ends_with("\nwarmfront_shed_requests_total{reason=\"a\\\"b\\n\"} 3\n"));
    }

    #[test]
    fn a_histogram_counts_upwards_and_ends_with_all() {
        let mut buckets = [0; BUCKETS];
        for micros in [40, 99, 101, 26_000_000, 31_000_000] {
            buckets[bucket_of(micros * 1000)] += 1;
        }
        let mut text = Text::default();
        let times = Times { buckets: &buckets, sum: Duration::from_millis(57_000) };
        text.family(&QUEUE_WAIT).add_times(&[], times);
        let text = text.into_string();
        for line in [
            "# TYPE warmfront_queue_wait_seconds histogram",
            "warmfront_queue_wait_seconds_bucket{le=\"0.0001\"} 2",
            "warmfront_queue_wait_seconds_bucket{le=\"0.00025\"} 3",
            "warmfront_queue_wait_seconds_bucket{le=\"10\"} 3",
            "warmfront_queue_wait_seconds_bucket{le=\"30\"} 4",
            "warmfront_queue_wait_seconds_bucket{le=\"+Inf\"} 5",
            "warmfront_queue_wait_seconds_sum 57",
            "warmfront_queue_wait_seconds_count 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
