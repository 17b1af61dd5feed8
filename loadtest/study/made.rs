//! Made studies, as like real ones as a formula gets: for tests of what is made from studies.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::report::{Missing, SubjectFacts};
use crate::study::{
    AfterThaw, Curve, FORMAT, Freezer, Generator, Load, PageCache, Phases, Search, Slice, Start, StartClass,
    Step, Study, Thaw,
};

/// A name that would do harm if it became markup, and that is too long for any column.
pub(crate) const MARKUP: &str =
    "behind <script>alert(1)</script><img src=x onerror=alert(2)> \"and\" a name that goes on";

/// Name, how much slower it is than the first, and its version.
const SUBJECTS: [(&str, f64, &str); 3] = [
    ("direct", 1.0, "fc-fib 1.0"),
    ("behind warmfront", 1.06, "warmfront 0.1.0"),
    (MARKUP, 1.9, "relay 0.1.0"),
];

/// A study of that command; the same each time.
pub(crate) fn made(kind: &str) -> Study {
    let mut rng = Rng::with_seed(7);
    let facts =
        [("date", "2026-01-02T03:04:05Z"), ("cpu", "a CPU x 2"), ("command", "warmfront-bench --made")];
    let mut study = Study {
        format: FORMAT,
        kind: kind.to_owned(),
        facts: facts.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        rounds: (30, 30),
        subjects: SUBJECTS
            .map(|(name, _, version)| SubjectFacts {
                name: name.to_owned(),
                version: version.to_owned(),
                configuration: format!("listen = <{version}>\n{}", "a long line ".repeat(30)),
                is_ours: version.starts_with("warmfront"),
            })
            .into(),
        ..Study::default()
    };
    for (name, slower, _) in SUBJECTS {
        match kind {
            "cold" => cold(&mut study, &mut rng, name, slower),
            "warm" => warm(&mut study, &mut rng, name, slower),
            "compare" => {
                let classes = [(StartClass::Cold, slower * 3.0), (StartClass::Warm, slower)];
                for (class, slower) in classes {
                    study.loads.extend((0..3).map(|round| load(&mut rng, name, class, round, slower)));
                }
            }
            "freeze" => freeze(&mut study, &mut rng, name, slower),
            other => panic!("no command: {other}"),
        }
    }
    study.not_measured.push(Missing {
        subject: "behind nginx".into(),
        cell: None,
        reason: "nginx is not installed; scripts/setup-peers".into(),
    });
    study
}

/// About `middle`, never under a half of it, with a tail to the right.
fn about(rng: &mut Rng, middle: f64) -> f64 {
    let tail = -(1.0 - rng.f64()).ln();
    rounded(middle * (0.9 + 0.08 * rng.f64() + 0.06 * tail))
}

/// No more digits than a file keeps.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

fn cold(study: &mut Study, rng: &mut Rng, name: &str, slower: f64) {
    let cases = [(PageCache::Kept, 1, 1.0), (PageCache::Dropped, 1, 2.6), (PageCache::Kept, 8, 1.8)];
    for (page_cache, at_once, harder) in cases {
        for round in 0..10 {
            for place in 0..at_once {
                let start = start(rng, slower * harder);
                let (subject, page_cache) = (name.to_owned(), page_cache);
                study.starts.push(Start { subject, round, page_cache, at_once, place, ..start });
            }
        }
    }
    if let Some(last) = study.starts.last_mut() {
        last.failure = Some("connection reset by peer before a head".into());
        last.phases.first_byte = None;
    }
}

fn start(rng: &mut Rng, slower: f64) -> Start {
    let mut at = 0.0;
    let mut after = |rng: &mut Rng, ms: f64| {
        at = rounded(at + about(rng, ms));
        Some(at)
    };
    let phases = Phases {
        forked: after(rng, 0.6),
        executed: after(rng, 1.1 * slower),
        first_output: after(rng, 34.0 * slower),
        listening: after(rng, 21.0 * slower),
        accepted: after(rng, 2.0 * slower),
        first_byte: after(rng, 9.0 * slower),
        warm: after(rng, 700.0 * slower),
    };
    let warm_us = about(rng, 210.0 * slower);
    let mut early = Vec::new();
    let mut ms = phases.first_byte.unwrap_or_default();
    for request in 1..220 {
        let us = about(rng, warm_us * (1.0 + 30.0 / f64::from(request)));
        ms = rounded(ms + us / 1e3 + f64::from(request) / 20.0);
        early.push((ms, us));
    }
    Start {
        subject: String::new(),
        round: 0,
        page_cache: PageCache::Kept,
        at_once: 1,
        place: 0,
        phases,
        bad_answers: 0,
        early,
        warm_us: Some(warm_us),
        failure: None,
    }
}

fn warm(study: &mut Study, rng: &mut Rng, name: &str, slower: f64) {
    study.loads.push(load(rng, name, StartClass::Warm, 0, slower));
    let mut step = |rate: f64| Step {
        rate,
        achieved: rounded(rate.min(2400.0 / slower)),
        p50_us: about(rng, 200.0 * slower * (1.0 + (rate * slower / 2000.0).powi(4))),
        p99_us: about(rng, 900.0 * slower * (1.0 + (rate * slower / 2000.0).powi(6))),
        failed: 0,
        holds: rate * slower < 2000.0,
    };
    let steps: Vec<Step> =
        [200.0, 400.0, 800.0, 1600.0, 3200.0, 2400.0, 2000.0, 1800.0].map(&mut step).into();
    let knee = steps.iter().filter(|step| step.holds).map(|step| step.rate).fold(0.0, f64::max);
    study.searches.push(Search {
        subject: name.to_owned(),
        scenario: "fib".into(),
        condition: "p99 within 5 ms".into(),
        steps,
        knee: Some(knee),
    });
}

fn curve(rng: &mut Rng, middle: f64, count: u64) -> Curve {
    let shares = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0];
    let mut latency = middle * 0.5;
    let points = shares.map(|share: f64| {
        let nines = -(1.0 - share).max(5e-5).ln();
        latency = f64::max(latency, about(rng, middle * (0.6 + 0.35 * nines + 0.06 * nines.powi(3) / 3.0)));
        (share, latency)
    });
    Curve { count, points: points.into() }
}

fn load(rng: &mut Rng, name: &str, class: StartClass, round: u32, slower: f64) -> Load {
    let kinds = [("GET /", 200.0, 9000), ("POST /fib", 700.0, 3000)];
    let mut curves = |worse: f64| -> BTreeMap<String, Curve> {
        kinds.map(|(kind, us, count)| (kind.to_owned(), curve(rng, us * slower * worse, count))).into()
    };
    let (latency, service) = (curves(1.0), curves(0.8));
    let over_time = (0..60).map(|slice| {
        let first = if class == StartClass::Cold { 1.0 + 20.0 / f64::from(slice * slice + 1) } else { 1.0 };
        let p50_us = about(rng, 210.0 * slower * first);
        let p99_us = about(rng, p50_us * 4.0);
        let max_us = about(rng, p99_us * 2.0);
        Slice { at_ms: f64::from(slice) * 500.0, count: 200, failed: 0, p50_us, p99_us, max_us }
    });
    let errors = if class == StartClass::Cold && name == MARKUP {
        BTreeMap::from([("status_5xx".to_owned(), (3, "503 <b>Service Unavailable</b>".to_owned()))])
    } else {
        BTreeMap::new()
    };
    let failed = errors.values().map(|(count, _)| count).sum();
    Load {
        subject: name.to_owned(),
        round,
        scenario: "fib".into(),
        class,
        rate: 400.0,
        seconds: 30.0,
        ok: 12_000 - failed,
        failed,
        errors,
        body_bytes: (12_000_000, 40_000),
        over_time: over_time.collect(),
        latency,
        service,
        generator: Generator::default(),
    }
}

fn freeze(study: &mut Study, rng: &mut Rng, name: &str, slower: f64) {
    for (by, asked_while_frozen) in [(Freezer::Signal, false), (Freezer::Cgroup, true)] {
        for round in 0..10 {
            let mut request = |place: u32| {
                let failure = (name == "direct" && place == 0 && round % 3 == 0)
                    .then(|| "connection reset by peer".to_owned());
                let latency_us =
                    about(rng, 230.0 * slower * (1.0 + 9.0 / f64::from(place * place * place + 1)));
                AfterThaw {
                    method: if place.is_multiple_of(2) { "GET" } else { "POST" }.into(),
                    latency_us,
                    failure,
                }
            };
            let requests = (0..8).map(&mut request).collect();
            study.thaws.push(Thaw {
                subject: name.to_owned(),
                round,
                by,
                frozen_ms: 5000.0 + f64::from(round),
                asked_while_frozen,
                before_us: (0..20).map(|_| about(rng, 220.0 * slower)).collect(),
                requests,
            });
        }
    }
}
