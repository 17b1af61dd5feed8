//! The search for the highest rate that holds: doubling, then halving what is left between yes and no.
//!
//! Pure: rates out, verdicts in. On a machine that is not quiet a rate may fail by
//! accident, so one that fails is tried once more, and only the second answer counts.

use std::fmt;
use std::str::FromStr;

/// How close to each other the highest rate that held and the lowest that did not come at the end.
const PRECISION: f64 = 0.05;

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    /// The first rate.
    pub(crate) from: f64,
    /// No rate above it is tried.
    pub(crate) max: f64,
    /// Most tries, repetitions included.
    pub(crate) steps: u32,
}

/// A search under way.
#[derive(Clone, Debug)]
pub(crate) struct Hunt {
    range: Range,
    tried: u32,
    /// The rate to be tried, if there is one.
    next: Option<f64>,
    has_failed_once: bool,
    held: Option<f64>,
    broke: Option<f64>,
}

impl Hunt {
    /// At its beginning.
    pub(crate) fn new(range: Range) -> Self {
        let next = (range.steps > 0).then_some(range.from.min(range.max));
        Self { range, tried: 0, next, has_failed_once: false, held: None, broke: None }
    }

    /// The rate to be tried now; `None` at the end.
    pub(crate) fn next(&self) -> Option<f64> {
        self.next
    }

    /// The highest rate that held so far.
    pub(crate) fn knee(&self) -> Option<f64> {
        self.held
    }

    /// Takes the verdict on the rate that [`Self::next`] named.
    pub(crate) fn tell(&mut self, holds: bool) {
        let Some(rate) = self.next else { return };
        self.tried += 1;
        if !holds && !self.has_failed_once {
            self.has_failed_once = true;
        } else {
            self.has_failed_once = false;
            let bound = if holds { &mut self.held } else { &mut self.broke };
            *bound = Some(rate);
            self.next = self.after(rate);
        }
        if self.tried >= self.range.steps {
            self.next = None;
        }
        debug_assert!(self.held.zip(self.broke).is_none_or(|(held, broke)| held < broke));
    }

    fn after(&self, rate: f64) -> Option<f64> {
        match (self.held, self.broke) {
            // Not even the first.
            (None, _) => None,
            (Some(_), None) => (rate < self.range.max).then(|| (rate * 2.0).min(self.range.max)),
            (Some(held), Some(broke)) => {
                (broke > held * (1.0 + PRECISION)).then(|| f64::midpoint(held, broke))
            }
        }
    }
}

/// What has to hold: a share of requests stays within a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Condition {
    share: f64,
    limit_us: f64,
}

impl Condition {
    /// The share of requests, from 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        self.share
    }

    /// What they have to stay within, in microseconds.
    pub(crate) fn limit_us(&self) -> f64 {
        self.limit_us
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.share {
            1.0 => f.write_str("max")?,
            // One share in a hundred thousand is the finest that can be said.
            share => write!(f, "p{}", (share * 1e7).round() / 1e5)?,
        }
        write!(f, " < {}ms", self.limit_us / 1e3)
    }
}

impl FromStr for Condition {
    type Err = String;

    /// `p99 < 50ms`, `p99.9<2ms`, `max < 1s`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no limit; write one such as \"p99 < 50ms\" or \"max < 1s\"");
        let (what, limit) = text.split_once('<').ok_or_else(wrong)?;
        let limit = humantime::parse_duration(limit.trim()).map_err(|_| wrong())?;
        let share = match what.trim() {
            "max" => 1.0,
            what => {
                what.strip_prefix('p').and_then(|share| share.parse::<f64>().ok()).ok_or_else(wrong)? / 100.0
            }
        };
        if !(0.01..=1.0).contains(&share) || limit.is_zero() {
            return Err(wrong());
        }
        Ok(Self { share, limit_us: limit.as_secs_f64() * 1e6 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RANGE: Range = Range { from: 50.0, max: 20_000.0, steps: 100 };

    fn hunt(range: Range, mut holds: impl FnMut(f64) -> bool) -> (Hunt, Vec<f64>) {
        let (mut hunt, mut tried) = (Hunt::new(range), Vec::new());
        while let Some(rate) = hunt.next() {
            tried.push(rate);
            hunt.tell(holds(rate));
        }
        (hunt, tried)
    }

    #[test]
    fn rates_double_until_one_fails_twice_and_then_close_in() {
        let (found, tried) = hunt(RANGE, |rate| rate <= 390.0);
        assert_eq!(tried[..6], [50.0, 100.0, 200.0, 400.0, 400.0, 300.0]);
        assert!(found.knee().is_some_and(|knee| (371.0..=390.0).contains(&knee)), "{found:?}");
        assert!(found.broke.is_some());
    }

    #[test]
    fn nothing_holds_or_everything_does() {
        let (found, tried) = hunt(RANGE, |_| false);
        assert_eq!((found.knee(), tried.len()), (None, 2));
        let (found, _) = hunt(RANGE, |_| true);
        assert_eq!((found.knee(), found.broke.is_none()), (Some(20_000.0), true));
    }

    #[test]
    fn one_accident_at_each_rate_changes_nothing() {
        let mut last = 0.0;
        let (found, _) = hunt(RANGE, |rate| {
            let is_second = rate == last;
            last = rate;
            is_second && rate <= 390.0
        });
        assert!(found.knee().is_some_and(|knee| (371.0..=390.0).contains(&knee)), "{found:?}");
    }

    #[test]
    fn a_limit_is_read_as_it_is_written() {
        let limit: Condition = "p99 < 50ms".parse().unwrap();
        assert_eq!(
            (limit.share(), limit.limit_us(), limit.to_string().as_str()),
            (0.99, 50_000.0, "p99 < 50ms")
        );
        assert_eq!("max<1s".parse::<Condition>().unwrap().to_string(), "max < 1000ms");
        assert_eq!("p99.9 < 500us".parse::<Condition>().unwrap().to_string(), "p99.9 < 0.5ms");
        for wrong in ["", "p99", "p99 > 1ms", "p101 < 1ms", "q9 < 1ms", "p99 < soon", "p99 < 0ms"] {
            assert!(wrong.parse::<Condition>().unwrap_err().contains("p99 < 50ms"), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_knee_anywhere_in_the_range_is_found(knee in 50.0..20_000.0_f64) {
            let (found, tried) = hunt(RANGE, |rate| rate <= knee);
            let found = found.knee().unwrap();
            prop_assert!(found <= knee && knee <= found * (1.0 + PRECISION), "{found} for {knee}");
            prop_assert!(tried.len() <= 9 + 2 * 7, "{} tries", tried.len());
        }

        #[test]
        fn answers_of_any_kind_come_to_an_end(answers in prop::collection::vec(any::<bool>(), 0..400), steps in 0..60_u32) {
            let mut answers = answers.into_iter().chain(std::iter::repeat(true));
            let (found, tried) = hunt(Range { steps, ..RANGE }, |_| answers.next().unwrap());
            prop_assert!(tried.len() <= steps as usize);
            prop_assert!(tried.iter().all(|rate| (50.0..=20_000.0).contains(rate)));
            prop_assert!(found.knee().is_none_or(|knee| tried.contains(&knee)));
        }
    }
}
