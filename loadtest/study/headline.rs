//! What a study found, in one sentence per subject.

use crate::stats::{Spread, median};
use crate::study::crashes;
use crate::study::figures::{LoadCase, StartCase, ThawCase, period, short};
use crate::study::{StartClass, Study};

/// One sentence per subject and kind of observation; says so if there is none.
pub(crate) fn headlines(study: &Study) -> Vec<String> {
    let mut all = Vec::new();
    for name in study.names() {
        let start = study.start_cases().into_iter().filter(|case| case.subject == name).collect::<Vec<_>>();
        all.extend(of_starts(&start).map(|text| format!("{name}: {text}.")));
        let loads = study.load_cases().into_iter().filter(|case| case.subject == name).collect::<Vec<_>>();
        all.extend(of_loads(&loads).map(|text| format!("{name}: {text}.")));
        for search in study.searches.iter().filter(|search| search.subject == name) {
            let knee = search
                .knee
                .map_or("not even at the lowest rate".into(), |rate| format!("up to {}/s", short(rate)));
            all.push(format!("{name}: {} of {} held {knee}.", search.condition, search.scenario));
        }
        for case in study.thaw_cases().iter().filter(|case| case.subject == name) {
            all.push(format!("{name}: {}.", of_thaw(case)));
        }
        all.extend(crashes::headline(study, name).map(|text| format!("{name}: {text}.")));
    }
    if all.is_empty() {
        all.push(format!("{}: nothing was measured.", study.kind));
    }
    all
}

fn spread_said(values: Vec<f64>) -> Option<String> {
    let Spread { median, q1, q3, count, .. } = Spread::of(values)?;
    let rest = if count > 1 {
        format!(" (median of {count}; {} to {})", period(q1), period(q3))
    } else {
        String::new()
    };
    Some(format!("{}{rest}", period(median)))
}

fn in_us(ms: Vec<f64>) -> Vec<f64> {
    ms.into_iter().map(|ms| ms * 1e3).collect()
}

/// The plainest case in full, and what the others make of the first byte.
fn of_starts(cases: &[StartCase<'_>]) -> Option<String> {
    let (first, others) = cases.split_first()?;
    let Some(byte) = spread_said(in_us(first.first_bytes())) else {
        return Some(format!("none of {} starts led to an answer", first.starts.len()));
    };
    let mut text = format!("first byte after {byte}");
    if let Some(ms) = median(first.moments(|phases| phases.warm)) {
        text += &format!(", warm after {}", period(ms * 1e3));
    }
    if let Some(us) = median(first.warm_us()) {
        text += &format!(" at {} per request", period(us));
    }
    for case in others {
        if let Some(ms) = median(case.first_bytes()) {
            text += &format!("; {}: {}", case.label(), period(ms * 1e3));
        }
    }
    let failed: usize = cases.iter().map(StartCase::failed).sum();
    if failed > 0 {
        let starts = if failed == 1 { "start" } else { "starts" };
        text += &format!("; {failed} {starts} FAILED");
    }
    Some(text)
}

fn of_loads(cases: &[LoadCase<'_>]) -> Option<String> {
    let one = |case: &LoadCase<'_>| {
        let curve = case.latency();
        let at = |share| curve.at(share).map_or("no answer".into(), period);
        let failed = match case.counts().1 {
            0 => String::new(),
            some => format!(", {some} FAILED"),
        };
        format!("{}: p50 {}, p99 {}{failed}", case.label(), at(0.5), at(0.99))
    };
    let mut text = cases.iter().map(one).collect::<Vec<_>>().join("; ");
    let of = |class| {
        let case = cases.iter().find(|case| case.class == class)?;
        median(case.of_each_run(0.5))
    };
    if let Some((cold, warm)) = of(StartClass::Cold).zip(of(StartClass::Warm)).filter(|(_, warm)| *warm > 0.0)
    {
        text += &format!("; cold is {} × warm", short(cold / warm));
    }
    (!text.is_empty()).then_some(text)
}

fn of_thaw(case: &ThawCase<'_>) -> String {
    let failed = (0..case.depth()).map(|place| case.failed(place));
    let (bad, all) = failed.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let bad = if bad > 0 { format!("{bad} FAILED") } else { "none failed".into() };
    let first = spread_said(case.latency(0)).unwrap_or_else(|| "no answer".into());
    let mut text = format!(
        "{}: of {all} requests behind {} freezes {bad}; the first took {first}",
        case.label(),
        case.thaws.len()
    );
    if let Some(us) = median(case.latency(1)) {
        text += &format!(", the second {}", period(us));
    }
    if let Some(us) = median(case.before()) {
        text += &format!(", before the freeze {}", period(us));
    }
    text
}
