//! What an instance has measured since it began, as a plan needs it. Pure.

use std::time::Duration;

use super::moment::{Moment, STARTS};
use crate::plan::Measured;

/// A bucket behind the last bound: it is at least so long, and nobody knows how much longer.
const BEHIND_THE_LAST: f64 = 1.5;

/// `None` if no request has ended yet.
pub(super) fn measured(moment: &Moment, name: &str) -> Option<Measured> {
    let counts: Vec<Vec<u64>> =
        STARTS.iter().map(|start| moment.counts(&format!("/latency/whole/{start}/counts"))).collect();
    let requests: u64 = counts.iter().flatten().sum();
    let whole: u64 =
        STARTS.iter().map(|start| moment.number(&format!("/latency/whole/{start}/sum_us"))).sum();
    let held = whole.saturating_sub(moment.number("/latency/queue_wait/sum_us"));
    let service = Duration::from_micros(held.checked_div(requests)?.max(1));
    let workers = moment.workers();
    // Lives before the present one took their CPU time with them.
    let first = || workers.iter().filter(|worker| worker.restarts == 0 && worker.served > 0);
    let served: u64 = first().map(|worker| worker.served).sum();
    let used: Option<Duration> = first().map(|worker| worker.cpu).sum();
    let own = moment.period("/process/cpu_ms").unwrap_or_default().as_secs_f64() / requests as f64;
    let cpu = used.filter(|_| served > 0).map(|used| used.as_secs_f64() / served as f64 + own);
    Some(Measured {
        name: name.to_owned(),
        requests,
        period: moment.period("/uptime_ms").unwrap_or_default(),
        service,
        variation: variation(&counts, &moment.bounds_us()),
        concurrency: workers.iter().map(|worker| worker.slots).max().unwrap_or(1).max(1),
        worker_bytes: workers.iter().filter_map(|worker| worker.resident).max(),
        front_bytes: moment.number("/process/resident_bytes"),
        cpu: cpu.map(Duration::from_secs_f64),
    })
}

/// Standard deviation over mean, as if all of a bucket were in its middle.
fn variation(counts: &[Vec<u64>], bounds_us: &[u64]) -> f64 {
    let (mut all, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for counts in counts {
        for (bucket, &count) in counts.iter().enumerate() {
            let low = if bucket == 0 { 0 } else { bounds_us.get(bucket - 1).copied().unwrap_or(0) } as f64;
            let middle =
                bounds_us.get(bucket).map_or(low * BEHIND_THE_LAST, |&high| (low + high as f64) / 2.0);
            all += count as f64;
            sum += count as f64 * middle;
            squares += count as f64 * middle * middle;
        }
    }
    if sum == 0.0 {
        return 0.0;
    }
    let mean = sum / all;
    (squares / all - mean * mean).max(0.0).sqrt() / mean
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn moment(requests: u64) -> Moment {
        let value = json!({
            "version": 1, "uptime_ms": 10_000,
            "latency": {
                "bounds_us": [100_000, 300_000],
                "whole": { "warm": { "counts": [requests / 2, requests / 2, 0], "sum_us": requests * 130_000 } },
                "queue_wait": { "counts": [requests, 0, 0], "sum_us": requests * 10_000 },
            },
            "workers": [
                { "id": 1, "slots": 4, "served": requests, "restarts": 0,
                  "usage": { "resident_bytes": 90 << 20, "cpu_ms": requests * 20 } },
                { "id": 2, "slots": 4, "served": 5, "restarts": 1, "usage": { "resident_bytes": 70 << 20, "cpu_ms": 9 } },
            ],
            "process": { "resident_bytes": 6 << 20, "cpu_ms": requests },
        });
        Moment::read(&value.to_string()).unwrap()
    }

    #[test]
    fn a_request_holds_its_slot_as_long_as_it_takes_without_its_wait() {
        let measured = measured(&moment(100), "/a").unwrap();
        assert_eq!(
            (measured.requests, measured.period.as_secs(), measured.service.as_millis()),
            (100, 10, 120)
        );
        assert_eq!(
            (measured.concurrency, measured.worker_bytes, measured.front_bytes),
            (4, Some(90 << 20), 6 << 20)
        );
        assert_eq!(measured.cpu.map(|cpu| cpu.as_millis()), Some(21), "20 of its worker, 1 of warmfront");
        // Half at 50 ms, half at 200 ms: the mean is 125, the deviation 75.
        assert!((measured.variation - 0.6).abs() < 1e-9);
    }

    #[test]
    fn before_the_first_request_nothing_is_known() {
        assert_eq!(measured(&moment(0), "/a"), None);
    }
}
