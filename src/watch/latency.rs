//! How long requests took: percentiles from the buckets in which an admin tells it. Pure.

use super::moment::{Moment, STARTS};

/// Times to the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Latency {
    /// Requests that they are of.
    pub(super) count: u64,
    /// Upper bounds of the buckets that hold these shares, in microseconds; behind the last bound, that bound.
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
}

/// How long requests took since the process began, however they started.
pub(super) fn since_the_start(moment: &Moment) -> Vec<(&'static str, Latency)> {
    let of = |start| Some((start, latency(&moment.first_bytes(start), &moment.bounds_us())?));
    STARTS.into_iter().filter_map(of).collect()
}

/// Percentiles of `counts`, one for each bucket; `None` if all are zero.
pub(super) fn latency(counts: &[u64], bounds_us: &[u64]) -> Option<Latency> {
    let count: u64 = counts.iter().sum();
    if count == 0 {
        return None;
    }
    let quantile = |share: f64| {
        // As many as a share of all is, rounded up: the definition by the nearest rank.
        let rank = ((share * count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let bucket = counts.iter().position(|many| {
            seen += many;
            seen >= rank
        });
        bucket.and_then(|bucket| bounds_us.get(bucket)).or(bounds_us.last()).copied().unwrap_or(0)
    };
    Some(Latency { count, p50: quantile(0.5), p90: quantile(0.9), p99: quantile(0.99) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_the_bounds_that_so_many_are_under() {
        let bounds = [1, 2, 3];
        let of = |counts: &[u64]| latency(counts, &bounds).map(|all| [all.p50, all.p90, all.p99]);
        assert_eq!(of(&[0; 4]), None);
        assert_eq!(of(&[1, 0, 0, 0]), Some([1; 3]));
        assert_eq!(of(&[5, 4, 1, 0]), Some([1, 2, 3]));
        assert_eq!(of(&[1, 1, 0, 98]), Some([3; 3]));
    }
}
