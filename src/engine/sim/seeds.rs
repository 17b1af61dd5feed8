//! Random worlds, as many as fit.
//!
//! `WARMFRONT_SIM_SEED=n` replays one, `WARMFRONT_SIM_SEEDS=n` runs that many.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::world::{Report, run};

/// Worlds in a plain `cargo test`: ten million steps, some seconds on two cores.
const SEEDS: u64 = 500;
/// Steps of a world on average, at least; a step is a read or a write that moved bytes or failed.
const STEPS: u64 = 20_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn every_seed_keeps_every_promise() {
    let seeds: Vec<u64> = match number("WARMFRONT_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("WARMFRONT_SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    };
    let started = std::time::Instant::now();
    let reports = run_all(&seeds);
    let elapsed = started.elapsed();
    let sum = |figure: fn(&Report) -> u64| reports.iter().map(|(_, report)| figure(report)).sum::<u64>();
    let by_outcome = |index: usize| reports.iter().map(|(_, report)| report.requests[index]).sum::<u64>();
    let (steps, served) = (sum(|report| report.steps), by_outcome(0));
    println!(
        "{} worlds, {steps} steps ({} each), {elapsed:.1?}\n\
         {served} served, {} cut, {} refused, {} failed, {} left, {} unasked; \
         {} sent again, {} deaths, {} crash loops",
        seeds.len(),
        steps / seeds.len() as u64,
        by_outcome(1),
        by_outcome(2),
        by_outcome(3),
        by_outcome(4),
        by_outcome(5),
        sum(|report| report.repeats),
        sum(|report| report.deaths),
        sum(|report| report.crash_loops),
    );
    let mut failing = Vec::new();
    for (seed, report) in &reports {
        if !report.violations.is_empty() {
            println!("WARMFRONT_SIM_SEED={seed}:");
            report.violations.iter().take(5).for_each(|violation| println!("  {violation}"));
            failing.push(*seed);
        }
    }
    assert_eq!(failing, [0; 0], "replay one with WARMFRONT_SIM_SEED=<seed>");
    if seeds.len() >= 100 {
        // Worlds in which little happens show little.
        assert!(steps >= STEPS * seeds.len() as u64, "{steps} steps");
        let happened =
            [sum(|report| report.repeats), sum(|report| report.deaths), sum(|report| report.crash_loops)];
        assert!((0..6).map(by_outcome).chain(happened).all(|count| count > 0), "something never happened");
    }
}

/// Every world has a thread to itself while it lives; as many live at once as there are cores.
fn run_all(seeds: &[u64]) -> Vec<(u64, Report)> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (next, reports) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // A broken assertion is a broken promise of this seed, and no reason to stop.
                    let report =
                        std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|_| Report::panicked());
                    reports.lock().unwrap().push((seed, report));
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap();
    reports.sort_by_key(|(seed, _)| *seed);
    reports
}

#[test]
fn a_seed_is_a_replay() {
    for seed in 1..=20 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
