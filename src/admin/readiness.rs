//! Whether this instance should get more requests, and if not, why.
//!
//! No comes before the gate refuses anybody: a load balancer that asks now and then shall have turned to others
//! by then. Pure.

use std::time::Duration;

use crate::config::units::period_text;
use crate::lifecycle::phase::Phase;
use crate::lifecycle::warmth::Warmth;
use crate::proxy::admission::Crowd;

/// Of the line's bounds, in percent: from there on it counts as full.
const FULL_PERCENT: u128 = 80;
/// Of `queue.timeout`, in percent: who has waited so long shows that everybody will.
const LATE_PERCENT: u32 = 50;

/// What readiness is judged by.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) phase: Phase,
    pub(super) warmth: Warmth,
    /// Workers that get requests.
    pub(super) trusted: usize,
    /// What is wrong with planes.
    pub(super) planes: Vec<String>,
    /// Whether the gate lets nobody in.
    pub(super) is_paused: bool,
    /// Slots of those that are free.
    pub(super) free_slots: u64,
    pub(super) crowd: Crowd,
}

/// Why it is not ready; nothing if it is.
pub(super) fn obstacles(facts: &Facts) -> Vec<String> {
    let Facts { phase, warmth, trusted, planes, is_paused, free_slots, crowd } = facts;
    if *phase >= Phase::Draining {
        return vec!["the instance is stopping".to_owned()];
    }
    let mut found = Vec::new();
    match warmth {
        Warmth::Warm => {}
        Warmth::Starting => found.push("workers are starting".to_owned()),
        Warmth::Failed(why) => found.push(why.clone()),
    }
    if *trusted == 0 {
        found.push("no worker is ready".to_owned());
    }
    found.extend(planes.iter().cloned());
    if *is_paused {
        found.push("paused by the admin".to_owned());
    }
    let bounds = &crowd.bounds;
    let is_full = |held: usize, most: usize| held as u128 * 100 >= most as u128 * FULL_PERCENT;
    if bounds.depth == 0 {
        if *free_slots == 0 && *trusted > 0 {
            found.push("every slot is taken, and queue.depth=0 lets nobody wait".to_owned());
        }
    } else if is_full(crowd.waiting, bounds.depth) {
        found.push(format!("{} requests wait, of queue.depth={}", crowd.waiting, bounds.depth));
    }
    if is_full(crowd.bytes, bounds.bytes) {
        found.push(format!("waiting requests hold {} bytes, of queue.bytes={}", crowd.bytes, bounds.bytes));
    }
    let late = bounds.timeout * LATE_PERCENT / 100;
    if let Some(oldest) = crowd.oldest.filter(|oldest| *trusted > 0 && *oldest >= late) {
        found.push(format!(
            "a request has waited {}, of queue.timeout={}",
            period_text(Duration::from_millis(u64::try_from(oldest.as_millis()).unwrap_or(u64::MAX))),
            period_text(bounds.timeout)
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Queue;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn fine() -> Facts {
        let bounds = Queue { depth: 10, bytes: 1000, timeout: S(30), newest_first_after: S(1) };
        let crowd = Crowd { waiting: 0, bytes: 0, oldest: None, bounds };
        Facts {
            phase: Phase::Ready,
            warmth: Warmth::Warm,
            trusted: 2,
            planes: Vec::new(),
            is_paused: false,
            free_slots: 1,
            crowd,
        }
    }

    fn why(change: impl FnOnce(&mut Facts)) -> String {
        let mut facts = fine();
        change(&mut facts);
        obstacles(&facts).join("; ")
    }

    #[test]
    fn no_comes_before_the_gate_refuses_anybody() {
        assert_eq!(why(|_| {}), "");
        assert_eq!(why(|facts| (facts.crowd.waiting, facts.crowd.oldest) = (7, Some(S(14)))), "");
        assert_eq!(why(|facts| facts.crowd.waiting = 8), "8 requests wait, of queue.depth=10");
        assert_eq!(
            why(|facts| facts.crowd.bytes = 800),
            "waiting requests hold 800 bytes, of queue.bytes=1000"
        );
        assert_eq!(
            why(|facts| facts.crowd.oldest = Some(S(15))),
            "a request has waited 15s, of queue.timeout=30s"
        );
        let no_line = |facts: &mut Facts| (facts.crowd.bounds.depth, facts.free_slots) = (0, 0);
        assert_eq!(why(no_line), "every slot is taken, and queue.depth=0 lets nobody wait");
        assert_eq!(why(|facts| facts.crowd.bounds.depth = 0), "");
    }

    #[test]
    fn a_start_an_end_and_a_pool_without_workers_are_told_apart() {
        assert_eq!(why(|facts| facts.phase = Phase::Draining), "the instance is stopping");
        assert_eq!(why(|facts| facts.warmth = Warmth::Starting), "workers are starting");
        assert_eq!(why(|facts| facts.warmth = Warmth::Failed("worker 1 loops".into())), "worker 1 loops");
        assert_eq!(why(|facts| facts.trusted = 0), "no worker is ready");
        assert_eq!(why(|facts| facts.is_paused = true), "paused by the admin");
        assert_eq!(why(|facts| facts.planes = vec!["control plane: away".into()]), "control plane: away");
    }
}
