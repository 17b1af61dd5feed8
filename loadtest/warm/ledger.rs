//! What came of the requests of one run, as it comes in: distributions, slices of time, failures.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::exchange::Failure;
use crate::study::{Curve, Generator, Load, Slice};
use crate::warm::plan::Plan;

/// Longer waits count as this long: an hour, which no timeout exceeds.
const NS_MAX: u64 = 3_600_000_000_000;
const US_MAX: u64 = NS_MAX / 1000;
/// Most slices of a run; a plot has no room for more.
const SLICES_MAX: u128 = 60;
/// Shares of requests of which a report says what they stayed within, between the first and the last request.
const SHARES: [f64; 17] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999,
    0.99999,
];

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, NS_MAX, 3)
        .expect("invariant: the bounds are in order and three digits are valid")
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NS_MAX)
}

/// One kind of thing that takes time, both ways of counting it.
#[derive(Debug)]
struct Pair {
    latency: Histogram<u64>,
    service: Histogram<u64>,
}

/// A stretch of the run; microseconds, two digits: a slice is a dot in a plot.
#[derive(Debug)]
struct Stretch {
    latency: Histogram<u64>,
    failed: u64,
}

/// The books of a run.
#[derive(Debug)]
pub(crate) struct Ledger {
    pairs: BTreeMap<String, Pair>,
    /// All requests together, from the moment each was due.
    all: Histogram<u64>,
    /// How late each request left the schedule.
    late: Histogram<u64>,
    /// How long those waited that found every connection taken.
    waited: Histogram<u64>,
    errors: BTreeMap<String, (u64, String)>,
    ok: u64,
    failed: u64,
    /// Content, received and sent.
    body_bytes: (u64, u64),
    slice: Duration,
    over_time: Vec<Stretch>,
    /// Most connections that were in use at the same time.
    pub(crate) connections: u32,
    /// When the last answer was there, since the run began.
    last: Duration,
}

impl Ledger {
    /// Empty books for a run of `length`.
    pub(crate) fn new(length: Duration) -> Self {
        let slice = slice_of(length);
        let count = usize::try_from(length.as_millis().div_ceil(slice.as_millis()).max(1)).unwrap_or(1);
        let stretch = || Stretch {
            latency: Histogram::new_with_bounds(1, US_MAX, 2)
                .expect("invariant: the bounds are in order and two digits are valid"),
            failed: 0,
        };
        Self {
            pairs: BTreeMap::new(),
            all: histogram(),
            late: histogram(),
            waited: histogram(),
            errors: BTreeMap::new(),
            ok: 0,
            failed: 0,
            body_bytes: (0, 0),
            slice,
            over_time: (0..count).map(|_| stretch()).collect(),
            connections: 0,
            last: Duration::ZERO,
        }
    }

    /// A request left the schedule so late.
    pub(crate) fn leave(&mut self, late: Duration) {
        self.late.saturating_record(ns(late));
    }

    /// A request waited so long for a connection.
    pub(crate) fn wait(&mut self, waited: Duration) {
        self.waited.saturating_record(ns(waited));
    }

    fn stretch(&mut self, due: Duration) -> Option<&mut Stretch> {
        let index = due.as_nanos() / self.slice.as_nanos().max(1);
        // What is due at the very end belongs to the last.
        let last = self.over_time.len().saturating_sub(1);
        self.over_time.get_mut(usize::try_from(index).unwrap_or(last).min(last))
    }

    /// Time of one thing, in both ways of counting; an event, a handshake, or a request by [`Self::succeed`].
    pub(crate) fn time(&mut self, name: &str, latency: Duration, service: Duration) {
        if !self.pairs.contains_key(name) {
            self.pairs.insert(name.to_owned(), Pair { latency: histogram(), service: histogram() });
        }
        if let Some(pair) = self.pairs.get_mut(name) {
            pair.latency.saturating_record(ns(latency));
            pair.service.saturating_record(ns(service));
        }
    }

    /// A good answer to the request that was due at `due`.
    pub(crate) fn succeed(&mut self, name: &str, due: Duration, latency: Duration, service: Duration) {
        self.ok += 1;
        self.last = self.last.max(due + latency);
        self.time(name, latency, service);
        self.all.saturating_record(ns(latency));
        if let Some(stretch) = self.stretch(due) {
            stretch.latency.saturating_record(ns(latency) / 1000);
        }
    }

    /// Content that went over the wire.
    pub(crate) fn carry(&mut self, received: u64, sent: u64) {
        self.body_bytes.0 += received;
        self.body_bytes.1 += sent;
    }

    /// No good answer to the request that was due at `due`.
    pub(crate) fn fail(&mut self, due: Duration, name: &str, (kind, detail): Failure) {
        self.failed += 1;
        let entry = self.errors.entry(kind.name().to_owned());
        entry.or_insert_with(|| (0, format!("{name}: {detail}"))).0 += 1;
        if let Some(stretch) = self.stretch(due) {
            stretch.failed += 1;
        }
    }

    /// What a share of the good answers stayed within, in microseconds, from the moment each was due.
    pub(crate) fn within_us(&self, share: f64) -> f64 {
        self.all.value_at_quantile(share) as f64 / 1e3
    }

    /// Good answers and failures.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.ok, self.failed)
    }

    /// When the last good answer was there, since the run began.
    pub(crate) fn last(&self) -> Duration {
        self.last
    }

    /// The report of a run of `plan` that lasted `length`; who, which class and which round is the caller's.
    pub(crate) fn to_load(&self, plan: &Plan, length: Duration) -> Load {
        let curves = |of: fn(&Pair) -> &Histogram<u64>| -> BTreeMap<String, Curve> {
            self.pairs.iter().map(|(name, pair)| (name.clone(), curve(of(pair)))).collect()
        };
        Load {
            subject: String::new(),
            round: 0,
            scenario: String::new(),
            class: crate::study::StartClass::Warm,
            rate: plan.rate(),
            seconds: length.as_secs_f64(),
            ok: self.ok,
            failed: self.failed,
            errors: self.errors.clone(),
            body_bytes: self.body_bytes,
            latency: curves(|pair| &pair.latency),
            service: curves(|pair| &pair.service),
            over_time: self.slices(),
            generator: Generator {
                connections: self.connections,
                late: curve(&self.late),
                waited: curve(&self.waited),
            },
        }
    }

    fn slices(&self) -> Vec<Slice> {
        let slices = self.over_time.iter().enumerate().map(|(index, Stretch { latency, failed })| Slice {
            at_ms: self.slice.as_secs_f64() * 1e3 * index as f64,
            count: latency.len(),
            failed: *failed,
            p50_us: latency.value_at_quantile(0.5) as f64,
            p99_us: latency.value_at_quantile(0.99) as f64,
            max_us: latency.max() as f64,
        });
        slices.collect()
    }
}

/// A round length, so that there are [`SLICES_MAX`] at most.
fn slice_of(length: Duration) -> Duration {
    let ms = [20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000, 120_000]
        .into_iter()
        .find(|ms| length.as_millis().div_ceil(u128::from(*ms)) <= SLICES_MAX);
    Duration::from_millis(ms.unwrap_or(600_000))
}

/// Points up to the share beyond which there are requests still, then the longest.
fn curve(histogram: &Histogram<u64>) -> Curve {
    let count = histogram.len();
    if count == 0 {
        return Curve::default();
    }
    let us = |ns: u64| ns as f64 / 1e3;
    let shares =
        SHARES.into_iter().filter(|share| (1.0 - share) * count as f64 >= 1.0 && share * count as f64 >= 1.0);
    let longest = us(histogram.max());
    let points = std::iter::once((0.0, us(histogram.min())))
        // A bucket's upper edge may lie beyond the longest in it.
        .chain(shares.map(|share| (share, us(histogram.value_at_quantile(share)).min(longest))))
        .chain([(1.0, longest)]);
    Curve { count, points: points.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::ErrorKind;
    use crate::warm::scenario::Scenario;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_curve_ends_where_no_request_supports_it() {
        let mut one = histogram();
        (1..=1000_u64).for_each(|ms| one.saturating_record(ms * 1_000_000));
        let Curve { count, points } = curve(&one);
        assert_eq!(count, 1000);
        let shares: Vec<f64> = points.iter().map(|(share, _)| *share).collect();
        assert!(shares.contains(&0.999) && !shares.contains(&0.9995), "{shares:?}");
        assert!(points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{points:?}");
        let p99 = points.iter().find(|(share, _)| *share == 0.99).unwrap().1;
        assert!((p99 / 990_000.0 - 1.0).abs() < 0.002, "{p99}");
        assert_eq!(curve(&histogram()), Curve::default());
    }

    #[test]
    fn requests_belong_to_the_slice_in_which_they_were_due() {
        let mut ledger = Ledger::new(MS * 1000);
        ledger.succeed("a", MS * 5, MS * 900, MS);
        ledger.succeed("a", MS * 25, MS, MS);
        ledger.fail(MS * 1000, "a", (ErrorKind::Eof, "gone".into()));
        ledger.carry(7, 9);
        let plan = Plan::new(&Scenario::of_path("/"), 3.0, MS * 1000).unwrap();
        let load = ledger.to_load(&plan, MS * 1000);
        assert_eq!((load.over_time.len(), load.ok, load.failed, load.body_bytes), (50, 2, 1, (7, 9)));
        let counts: Vec<_> = load.over_time.iter().map(|slice| (slice.count, slice.failed)).collect();
        assert_eq!((counts[0], counts[1], counts[2], counts[49]), ((1, 0), (1, 0), (0, 0), (0, 1)));
        assert_eq!(load.errors["eof"], (1, "a: gone".into()));
        assert_eq!(ledger.last(), MS * 905);
        assert_eq!((load.latency["a"].count, load.service["a"].count), (2, 2));
    }

    #[test]
    fn there_is_room_for_every_slice_of_a_long_run() {
        for seconds in [0, 1, 10, 600, 3600, 36_000] {
            let length = Duration::from_secs(seconds);
            assert!(length.as_millis().div_ceil(slice_of(length).as_millis()) <= SLICES_MAX, "{seconds}");
        }
    }
}
