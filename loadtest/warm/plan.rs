//! When each request of a run is due, and which it is: made before the run begins.
//!
//! Pure. What is due does not depend on what was answered: that is what makes the loop open.

use std::time::Duration;

use crate::warm::scenario::{Phase, Scenario};

/// Most requests of one run; a plan holds each.
pub(crate) const REQUESTS_MAX: f64 = 5e6;

/// One request that will be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// Since the run began.
    pub(crate) at: Duration,
    /// Its place in the scenario.
    pub(crate) request: usize,
}

/// All requests of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// In the order of time.
    pub(crate) due: Vec<Due>,
    /// From the beginning to the end of the last phase; answers may come later.
    pub(crate) length: Duration,
}

impl Plan {
    /// What `scenario` sends at `rate` requests per second; `period` long, unless its phases say otherwise.
    ///
    /// # Errors
    /// Too many requests to be planned.
    pub(crate) fn new(scenario: &Scenario, rate: f64, period: Duration) -> Result<Self, String> {
        let steady = [Phase::Steady(period)];
        let phases = if scenario.phases.is_empty() { &steady[..] } else { &scenario.phases };
        let times = scenario.repeat;
        let count: f64 = phases.iter().map(|phase| requests_in(*phase, rate)).sum::<f64>() * f64::from(times);
        if count > REQUESTS_MAX {
            return Err(format!(
                "{count:.0} requests are more than one run holds ({REQUESTS_MAX:.0}); lower --rate or --seconds"
            ));
        }
        let (mut moments, mut now) = (Vec::new(), Duration::ZERO);
        for phase in (0..times).flat_map(|_| phases) {
            now = add(*phase, rate, now, &mut moments);
        }
        let mut mix = Mix::new(scenario);
        let due = moments.into_iter().map(|at| Due { at, request: mix.next() }).collect();
        Ok(Self { due, length: now })
    }

    /// Requests per second, on the average of the run.
    pub(crate) fn rate(&self) -> f64 {
        self.due.len() as f64 / self.length.as_secs_f64().max(1e-9)
    }
}

fn requests_in(phase: Phase, rate: f64) -> f64 {
    match phase {
        Phase::Steady(period) => (rate * period.as_secs_f64()).round(),
        Phase::Silence(_) => 0.0,
        Phase::Burst { users, each, .. } => f64::from(users) * f64::from(each),
    }
}

/// Adds the moments of a phase that begins at `start`; returns its end.
fn add(phase: Phase, rate: f64, start: Duration, moments: &mut Vec<Duration>) -> Duration {
    match phase {
        Phase::Silence(period) => start + period,
        Phase::Steady(period) => {
            let count = requests_in(phase, rate) as u64;
            moments.extend((0..count).map(|number| start + Duration::from_secs_f64(number as f64 / rate)));
            start + period
        }
        Phase::Burst { users, each, think } => {
            for turn in 0..each {
                moments.extend((0..users).map(|_| start + think * turn));
            }
            start + think * (each - 1)
        }
    }
}

/// Which request comes next: each in its share, spread as evenly as it can be.
struct Mix {
    weights: Vec<i64>,
    credits: Vec<i64>,
}

impl Mix {
    fn new(scenario: &Scenario) -> Self {
        let weights: Vec<i64> = scenario.requests.iter().map(|request| request.weight.into()).collect();
        Self { credits: vec![0; weights.len()], weights }
    }

    /// Everybody gains its weight, the richest is next and pays for all.
    fn next(&mut self) -> usize {
        self.credits.iter_mut().zip(&self.weights).for_each(|(credit, weight)| *credit += weight);
        // The first of equals, so that the order is that of the file.
        let richest = (0..self.credits.len()).rev().max_by_key(|place| self.credits[*place]).unwrap_or(0);
        if let Some(credit) = self.credits.get_mut(richest) {
            *credit -= self.weights.iter().sum::<i64>();
        }
        richest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warm::read::read;

    fn plan(text: &str, rate: f64, seconds: u64) -> Plan {
        Plan::new(&read(text, "test").unwrap(), rate, Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn a_mix_keeps_its_shares_and_its_order() {
        let text = "name = \"a\"\n[[request]]\nname = \"x\"\npath = \"/x\"\nweight = 3\n[[request]]\nname = \"y\"\npath = \"/y\"\n";
        let plan = plan(text, 10.0, 4);
        assert_eq!(plan.due.len(), 40);
        assert_eq!(plan.due.iter().filter(|due| due.request == 1).count(), 10);
        let order: Vec<_> = plan.due[..4].iter().map(|due| due.request).collect();
        assert_eq!(order, [0, 0, 1, 0]);
        assert_eq!(plan.due[39].at, Duration::from_millis(3900));
        assert!((plan.rate() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn phases_follow_each_other_as_often_as_they_shall() {
        let text = "name = \"a\"\nrepeat = 2\n[[request]]\nname = \"x\"\npath = \"/x\"\n[[phase]]\nsilence = \"2s\"\n\
                    [[phase]]\nburst = 3\neach = 2\nthink = \"100ms\"\n[[phase]]\nsteady = \"1s\"\n";
        let plan = plan(text, 4.0, 99);
        let at: Vec<_> = plan.due.iter().map(|due| due.at.as_millis()).collect();
        let once = [2000, 2000, 2000, 2100, 2100, 2100, 2100, 2350, 2600, 2850];
        let twice: Vec<_> = once.into_iter().chain(once.map(|at| at + 3100)).collect();
        assert_eq!((at, plan.length), (twice, Duration::from_millis(6200)));
    }

    #[test]
    fn a_run_that_nobody_could_hold_is_refused() {
        let error = Plan::new(&Scenario::of_path("/"), 1e6, Duration::from_secs(3600)).unwrap_err();
        assert!(error.contains("lower --rate or --seconds"), "{error}");
    }
}
