//! How long requests wait for a slot: Erlang's formula, and what variation adds. Pure.
//!
//! Slots are servers, requests arrive independently of each other (Poisson), the longest waiting is served first: M/M/c,
//! A. K. Erlang 1917. Where service times vary more or less than an exponential distribution does, waits are scaled by
//! (1 + cv²) / 2, which is Allen's and Cunneen's approximation (1978) for arrivals of that kind; it is exact for one slot
//! (Pollaczek and Khinchine) and for exponential times. Long tails on many slots wait less than it says: a quarter less on
//! ten slots at a variation of 2.3.

use std::time::Duration;

/// Requests and slots of one instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Queue {
    /// Requests in a second.
    pub rate: f64,
    /// How long one holds its slot, in seconds: the mean.
    pub service: f64,
    /// The coefficient of variation of that: standard deviation over mean. 0: always the same, 1: exponential.
    pub variation: f64,
    /// Requests that are served at once.
    pub slots: u64,
}

impl Queue {
    /// Slots that are taken on average: Erlangs.
    #[must_use]
    pub fn load(&self) -> f64 {
        self.rate * self.service
    }

    /// The share of time in which a slot is taken. From 1 on the line grows without end.
    #[must_use]
    pub fn utilisation(&self) -> f64 {
        self.load() / self.slots as f64
    }

    /// The share of requests that wait at all: Erlang C. 1 where the line grows without end.
    #[must_use]
    pub fn waiting_share(&self) -> f64 {
        let (load, busy) = (self.load(), self.utilisation());
        if busy >= 1.0 {
            return 1.0;
        }
        // Erlang B by its recursion, which neither overflows nor loses digits, however many slots there are.
        let blocked =
            (1..=self.slots).fold(1.0, |blocked, slot| load * blocked / (slot as f64 + load * blocked));
        blocked / (1.0 - busy * (1.0 - blocked))
    }

    /// The mean wait, of those who do not wait as well; `None` where it has no end.
    #[must_use]
    pub fn mean_wait(&self) -> Option<Duration> {
        let drain = self.drain()?;
        seconds(self.waiting_share() / drain)
    }

    /// What `share` of the requests wait at most; `None` where that has no end.
    #[must_use]
    pub fn wait_of(&self, share: f64) -> Option<Duration> {
        let drain = self.drain()?;
        let (waiting, late) = (self.waiting_share(), 1.0 - share);
        seconds(if waiting <= late { 0.0 } else { (waiting / late).ln() / drain })
    }

    /// How fast a line empties, requests in a second, made slower or faster by the variation.
    fn drain(&self) -> Option<f64> {
        let spare = self.slots as f64 / self.service - self.rate;
        (spare > 0.0).then(|| spare * 2.0 / (1.0 + self.variation * self.variation))
    }
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queue(load: f64, slots: u64) -> Queue {
        Queue { rate: load * 10.0, service: 0.1, variation: 1.0, slots }
    }

    /// Waits of so many requests, simulated one by one: each takes the slot that is free first.
    fn simulated(
        queue: Queue,
        service: impl Fn(&mut fastrand::Rng) -> f64,
        seed: u64,
        many: usize,
    ) -> Vec<f64> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut free = vec![0.0_f64; queue.slots as usize];
        let (mut now, mut waits) = (0.0, Vec::with_capacity(many));
        for _ in 0..many {
            now += exponential(&mut random) / queue.rate;
            let slot = (0..free.len()).min_by(|a, b| free[*a].total_cmp(&free[*b])).unwrap();
            let begins = free[slot].max(now);
            waits.push(begins - now);
            free[slot] = begins + service(&mut random);
        }
        waits
    }

    fn exponential(random: &mut fastrand::Rng) -> f64 {
        -(1.0 - random.f64()).ln()
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn the_share_that_waits_is_that_of_erlangs_tables() {
        // Tables of Erlang C: Erlangs, slots, share. One slot: the utilisation itself; two: 2ρ²/(1+ρ).
        for (load, slots, share) in [
            (0.5, 1, 0.5),
            (0.9, 1, 0.9),
            (1.0, 2, 0.3333),
            (2.0, 3, 0.4444),
            (4.0, 5, 0.5541),
            (8.0, 10, 0.4092),
            (15.0, 20, 0.1604),
            (90.0, 100, 0.2169),
        ] {
            let found = queue(load, slots).waiting_share();
            assert!((found - share).abs() < 0.0001, "{load} Erlangs on {slots}: {found}");
        }
    }

    #[test]
    fn the_waits_of_one_slot_are_those_of_the_textbook() {
        // M/M/1 at 0.8: Wq = ρ/(1-ρ) · S = 4 S; 95 % wait at most ln(0.8/0.05)/(0.2) S.
        let queue = queue(0.8, 1);
        let millis = |wait: Option<Duration>| wait.unwrap().as_secs_f64() * 1000.0;
        assert!((millis(queue.mean_wait()) - 400.0).abs() < 0.001);
        assert!((millis(queue.wait_of(0.95)) - 100.0 * 16_f64.ln() / 0.2).abs() < 0.001);
        // M/D/1 waits half as long (Pollaczek and Khinchine).
        let even = Queue { variation: 0.0, ..queue };
        assert!((millis(even.mean_wait()) - 200.0).abs() < 0.001);
    }

    #[test]
    fn waits_are_those_of_a_simulation() {
        for (load, slots, seed) in [(0.7, 1, 1), (3.2, 4, 2), (8.5, 10, 3), (45.0, 50, 4)] {
            let queue = queue(load, slots);
            let mut waits = simulated(queue, |random| exponential(random) * queue.service, seed, 600_000);
            let (said, found) = (queue.mean_wait().unwrap().as_secs_f64(), mean(&waits));
            assert!((said / found - 1.0).abs() < 0.08, "mean: {said} said, {found} found ({queue:?})");
            waits.sort_by(f64::total_cmp);
            let (said, found) = (queue.wait_of(0.95).unwrap().as_secs_f64(), waits[waits.len() * 95 / 100]);
            assert!((said / found - 1.0).abs() < 0.08, "p95: {said} said, {found} found ({queue:?})");
        }
    }

    #[test]
    fn what_variation_adds_is_close_to_a_simulation() {
        // Always the same; and nine short ones for each long one, whose cv is 1.62.
        let bursts = |random: &mut fastrand::Rng| {
            exponential(random) * if random.u8(0..10) == 0 { 0.37 } else { 0.07 }
        };
        let even = |_: &mut fastrand::Rng| 0.1;
        for (variation, slots, load) in [(0.0, 4, 3.2), (0.0, 10, 8.5), (1.6186, 4, 3.2), (1.6186, 10, 8.5)] {
            let queue = Queue { variation, ..queue(load, slots) };
            let waits = if variation == 0.0 {
                simulated(queue, even, 5, 600_000)
            } else {
                simulated(queue, bursts, 6, 600_000)
            };
            let (said, found) = (queue.mean_wait().unwrap().as_secs_f64(), mean(&waits));
            assert!((said / found - 1.0).abs() < 0.2, "{said} said, {found} found ({queue:?})");
        }
    }

    #[test]
    fn a_line_that_only_grows_has_no_wait() {
        for load in [2.0, 2.5] {
            let queue = queue(load, 2);
            assert_eq!((queue.mean_wait(), queue.wait_of(0.95), queue.waiting_share()), (None, None, 1.0));
        }
    }

    proptest! {
        #[test]
        fn more_slots_never_mean_a_longer_wait(load in 0.01_f64..200.0, slots in 1_u64..300, variation in 0.0_f64..5.0) {
            let fewer = Queue { variation, ..queue(load, slots) };
            let more = Queue { slots: slots + 1, ..fewer };
            prop_assert!(more.waiting_share() <= fewer.waiting_share() + 1e-12);
            prop_assert!((0.0..=1.0).contains(&fewer.waiting_share()));
            if let Some(wait) = fewer.wait_of(0.95) {
                prop_assert!(more.wait_of(0.95).unwrap() <= wait);
            }
        }
    }
}
