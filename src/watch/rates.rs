//! What lies between two moments: how many a second, how long, how busy. Pure.

use std::time::Duration;

use super::latency::{Latency, latency};
use super::moment::{Moment, Worker};

/// From one moment to a later one.
#[derive(Clone, Debug)]
pub(super) struct Between<'a> {
    from: &'a Moment,
    to: &'a Moment,
}

impl<'a> Between<'a> {
    /// `None` if they are not of the same process, one behind the other.
    pub(super) fn new(from: &'a Moment, to: &'a Moment) -> Option<Self> {
        let between = Self { from, to };
        let restarted = to.number("/uptime_ms") < from.number("/uptime_ms");
        (!restarted && !between.period().is_zero()).then_some(between)
    }

    /// By the instance's clock, which leaves frozen time out.
    pub(super) fn period(&self) -> Duration {
        Duration::from_millis(self.more("/uptime_ms"))
    }

    /// How much more there is of the number at a JSON pointer.
    pub(super) fn more(&self, at: &str) -> u64 {
        self.to.number(at).saturating_sub(self.from.number(at))
    }

    /// The same for each second.
    pub(super) fn rate(&self, at: &str) -> f64 {
        self.a_second(self.more(at))
    }

    /// Requests that ended.
    pub(super) fn ended(&self) -> f64 {
        self.a_second(self.to.ended_in_all().saturating_sub(self.from.ended_in_all()))
    }

    /// Requests that ended with a status of `class`, such as `5xx`.
    pub(super) fn ended_with(&self, class: &str) -> f64 {
        self.a_second(self.to.ended_with(class).saturating_sub(self.from.ended_with(class)))
    }

    /// How long requests took that started so; `None` if none did.
    pub(super) fn latency(&self, start: &str) -> Option<Latency> {
        let (from, to) = (self.from.first_bytes(start), self.to.first_bytes(start));
        let counts: Vec<u64> = to
            .iter()
            .zip(from.iter().chain(std::iter::repeat(&0)))
            .map(|(to, from)| to.saturating_sub(*from))
            .collect();
        latency(&counts, &self.to.bounds_us())
    }

    /// What went wrong: how often since the process began, and for each second.
    pub(super) fn troubles(&self) -> Vec<(String, u64, f64)> {
        let before = self.from.troubles();
        let one = |(name, count): (String, u64)| {
            let earlier = before.iter().find(|(other, _)| *other == name).map_or(0, |(_, count)| *count);
            let rate = self.a_second(count.saturating_sub(earlier));
            (name, count, rate)
        };
        self.to.troubles().into_iter().map(one).collect()
    }

    /// Requests that `worker` got, for each second, and the share of one CPU that it used; of the latter nothing
    /// if it is another process than before.
    pub(super) fn of_worker(&self, worker: &Worker) -> (f64, Option<f64>) {
        let Some(before) = self.from.workers().into_iter().find(|other| other.id == worker.id) else {
            return (self.a_second(worker.served), None);
        };
        let cpu = match (worker.cpu, before.cpu, worker.pid == before.pid) {
            (Some(to), Some(from), true) => {
                Some(to.saturating_sub(from).as_secs_f64() / self.period().as_secs_f64())
            }
            _ => None,
        };
        (self.a_second(worker.served.saturating_sub(before.served)), cpu)
    }

    fn a_second(&self, many: u64) -> f64 {
        many as f64 / self.period().as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::super::latency::since_the_start;
    use super::super::moment::tests::moment;
    use super::*;

    #[test]
    fn between_two_moments_are_rates_shares_and_quantiles() {
        let (from, to) = (moment(1000, 100), moment(3000, 500));
        let between = Between::new(&from, &to).unwrap();
        assert_eq!(
            (between.ended(), between.ended_with("5xx"), between.rate("/counters/sent_bytes")),
            (200.0, 0.0, 200_000.0)
        );
        assert_eq!(between.latency("warm"), Some(Latency { count: 400, p50: 1000, p90: 1000, p99: 1000 }));
        assert_eq!(between.latency("cold"), None, "none between them");
        assert_eq!(between.troubles(), [("shed: queue timeout".to_owned(), 50, 20.0)]);
        let workers = to.workers();
        assert_eq!(between.of_worker(&workers[0]), (200.0, Some(0.2)));
        assert_eq!(between.of_worker(&workers[1]), (0.0, None));
        assert_eq!(workers[0].last_exit.as_deref(), Some("killed by?[2J signal 9"));
        let cold = since_the_start(&to).into_iter().find(|(start, _)| *start == "cold").unwrap().1;
        assert_eq!((cold.count, cold.p50), (1, 10_000), "behind the last bound");
    }

    #[test]
    fn another_process_has_no_rates_with_the_one_before() {
        let (old, new) = (moment(5000, 500), moment(100, 3));
        assert!(Between::new(&old, &new).is_none());
        assert!(Between::new(&old, &old).is_none());
    }
}
