//! From which request on a program is warm. Pure.
//!
//! Warm is the latency that it settles at: the median of the last third of what was
//! measured. It is reached where the medians of three windows in a row stay within a
//! tenth of that; a single slow request on a noisy machine moves neither.

use crate::stats::median;

/// Requests of one window.
const WINDOW: usize = 9;
/// Windows in a row that must be warm.
const IN_A_ROW: usize = 3;
/// What still counts as warm, as a multiple.
const WITHIN: f64 = 1.1;
/// Requests that are kept for plots, about.
const KEPT: usize = 240;

/// When a program was warm, and at what.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Settled {
    /// In the unit of the latencies.
    pub(crate) warm: f64,
    /// The moment at which the first warm request was answered; `None` if too few were.
    pub(crate) at: Option<f64>,
}

/// Judges requests, each with its moment and its latency, in the order of time; `None` if there are too few.
pub(crate) fn settled(requests: &[(f64, f64)]) -> Option<Settled> {
    let latencies = |part: &[(f64, f64)]| part.iter().map(|(_, latency)| *latency).collect::<Vec<_>>();
    if requests.len() < WINDOW * IN_A_ROW * 2 {
        return None;
    }
    let warm = median(latencies(&requests[requests.len() * 2 / 3..]))?;
    let is_warm = |part: &[(f64, f64)]| median(latencies(part)).is_some_and(|middle| middle <= warm * WITHIN);
    let first = requests.windows(WINDOW * IN_A_ROW).find(|row| row.chunks(WINDOW).all(is_warm));
    // The window is warm by its middle: its first request that is so itself is the one.
    let at = first.and_then(|row| row.iter().find(|(_, latency)| *latency <= warm * WITHIN));
    Some(Settled { warm, at: at.map(|(moment, _)| *moment) })
}

/// Fewer points of the same curve: all of the beginning, ever fewer of what comes later.
pub(crate) fn thinned(requests: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let last = requests.len().saturating_sub(1);
    let growth = (requests.len() as f64 / KEPT as f64).ln().max(0.0) / KEPT as f64 * 2.0;
    let mut kept = Vec::new();
    let mut next = 0.0_f64;
    for (number, request) in requests.iter().enumerate() {
        if number as f64 >= next || number == last {
            kept.push(*request);
            next = (number as f64 * (1.0 + growth)).floor() + 1.0;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Latencies 1 ms apart.
    fn each_ms(latencies: impl IntoIterator<Item = f64>) -> Vec<(f64, f64)> {
        latencies.into_iter().enumerate().map(|(ms, latency)| (ms as f64, latency)).collect()
    }

    #[test]
    fn a_program_is_warm_where_latency_stays_within_a_tenth_of_its_end() {
        let falling = (0..40).map(|n| 1000.0 - f64::from(n) * 22.0);
        let requests = each_ms(falling.chain(std::iter::repeat_n(100.0, 200)));
        let settled = settled(&requests).unwrap();
        assert_eq!(settled.warm, 100.0);
        let at = settled.at.unwrap();
        assert!((36.0..=41.0).contains(&at), "{at}");
    }

    #[test]
    fn what_was_always_as_fast_is_warm_at_once() {
        assert_eq!(settled(&each_ms([50.0; 100])), Some(Settled { warm: 50.0, at: Some(0.0) }));
    }

    #[test]
    fn single_slow_requests_make_nobody_cold() {
        let noisy = (0..300).map(|n| if n % 7 == 3 { 5000.0 } else { 100.0 });
        assert_eq!(settled(&each_ms(noisy)), Some(Settled { warm: 100.0, at: Some(0.0) }));
    }

    #[test]
    fn too_few_requests_say_nothing() {
        assert_eq!(settled(&each_ms([1.0; 53])), None);
    }

    #[test]
    fn a_thinned_curve_keeps_its_beginning_and_its_end() {
        let requests = each_ms((0..20_000).map(f64::from));
        let kept = thinned(&requests);
        assert!((KEPT / 2..=KEPT * 4).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept[..10], requests[..10]);
        assert_eq!(kept.last(), requests.last());
        assert_eq!(thinned(&requests[..50]), requests[..50]);
    }
}
