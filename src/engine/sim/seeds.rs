//! Random worlds, as many as fit.
//!
//! `WARMFRONT_SIM_SEED=n` replays one, `WARMFRONT_SIM_SEEDS=n` runs that many.

use super::world::run;

/// Worlds in a plain `cargo test`: about ten seconds in a debug build.
const SEEDS: u64 = 800;

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
    let (mut steps, mut served, mut failed, mut failing) = (0, 0, 0, Vec::new());
    for &seed in &seeds {
        let report = run(seed);
        steps += report.steps;
        served += report.served;
        failed += report.cut + report.failed + report.refused;
        if !report.violations.is_empty() {
            println!("WARMFRONT_SIM_SEED={seed}:");
            report.violations.iter().take(5).for_each(|violation| println!("  {violation}"));
            failing.push(seed);
        }
    }
    let elapsed = started.elapsed();
    println!(
        "{} seeds, {steps} steps, {served} served, {failed} cut, failed or refused, {elapsed:?}: {:.0} steps/s",
        seeds.len(),
        steps as f64 / elapsed.as_secs_f64(),
    );
    assert!(served > 0 || seeds.len() == 1);
    assert_eq!(failing, [0; 0], "replay one with WARMFRONT_SIM_SEED=<seed>");
}

#[test]
fn a_seed_is_a_replay() {
    for seed in [1, 2, 3] {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
