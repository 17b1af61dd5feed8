//! The plots of a study.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use crate::report::draw::{
    Area, Axis, Failure, Frame, INK, Key, Line, Plot, Words, fitted, hue, mark, phase_hue, write,
};
use crate::stats::{Spread, median};
use crate::study::figures::{LoadCase, PHASES, StartCase, ThawCase, period, short};
use crate::study::{Curve, StartClass, Study};

/// Height of a plot with two axes.
const HEIGHT: u32 = 380;
/// Height of one row, with its label above it.
const ROW: i32 = 44;
/// How many parts of time a course of early requests has.
const PARTS: usize = 28;
/// How many early requests of a subject are drawn as dots.
const DOTS_MAX: usize = 250;

/// Every plot for which there are figures.
///
/// # Errors
/// Plotters cannot draw one.
pub(crate) fn plots(study: &Study) -> Result<Vec<Plot>, Failure> {
    let mut plots = Vec::new();
    let cases = study.start_cases();
    plots.extend(bars(&cases)?);
    for group in cases.chunk_by(|one, other| one.label() == other.label()) {
        plots.extend(cold_and_warm(study, group)?);
    }
    plots.extend(until_warm(study, &cases)?);
    for group in cases.chunk_by(|one, other| one.label() == other.label()) {
        plots.extend(early(study, group)?);
    }
    let cases = study.load_cases();
    let is_one = |one: &LoadCase<'_>, other: &LoadCase<'_>| {
        one.scenario == other.scenario && one.rate.total_cmp(&other.rate).is_eq()
    };
    for group in cases.chunk_by(is_one) {
        plots.extend(percentiles(study, group)?);
        for group in group.chunk_by(|one, other| one.class == other.class) {
            plots.extend(over_time(study, group)?);
        }
    }
    plots.extend(searches(study)?);
    for group in study.thaw_cases().chunk_by(|one, other| one.label() == other.label()) {
        plots.extend(thaws(study, group)?);
    }
    Ok(plots)
}

fn keys<'a>(study: &Study, subjects: impl Iterator<Item = &'a str>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for name in subjects {
        let key = Key::subject(name, study.place(name));
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

fn said_ms(ms: f64) -> String {
    period(ms * 1e3)
}

fn said_median(values: Vec<f64>, say: fn(f64) -> String) -> String {
    median(values).map_or("none".into(), say)
}

/// How a class of load is drawn.
fn line_of(class: StartClass) -> Line {
    match class {
        StartClass::Warm => Line::Full,
        StartClass::Cold => Line::Dashed,
        StartClass::Thawed => Line::Dotted,
    }
}

/// The medians of the moments of a case, in their order: place among the phases, and milliseconds.
fn moments(case: &StartCase<'_>) -> Vec<(usize, f64)> {
    let first_byte = median(case.first_bytes()).unwrap_or(0.0);
    let of = |(place, phase): (usize, &crate::study::figures::Phase)| {
        Some((place, median(case.moments(phase.at))?))
    };
    let mut moments: Vec<(usize, f64)> = PHASES.iter().enumerate().filter_map(of).collect();
    moments.retain(|(_, at)| *at <= first_byte);
    moments.sort_by(|one, other| one.1.total_cmp(&other.1));
    moments
}

/// Phases behind each other, up to the first byte.
fn bars(cases: &[StartCase<'_>]) -> Result<Option<Plot>, Failure> {
    let rows: Vec<(&StartCase<'_>, Spread)> =
        cases.iter().filter_map(|case| Some((case, Spread::of(case.first_bytes())?))).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let x = Axis::linear("since the start was asked for", rows.iter().map(|(_, spread)| spread.q3), said_ms);
    let seen = |place: &usize| rows.iter().any(|(case, _)| moments(case).iter().any(|(one, _)| one == place));
    let text = rows.iter().map(|(case, spread)| {
        format!("{}, {}: first byte after {}", case.subject, case.label(), said_ms(spread.median))
    });
    let words = Words {
        title: "Where a start spends its time".into(),
        note: "Each piece ends at the median moment of what its colour names; the line at the end shows the quartiles \
               of the first byte. Shorter is better."
            .into(),
        text: text.collect::<Vec<_>>().join("; "),
        keys: (0..PHASES.len()).filter(seen).map(|place| Key::phase(PHASES[place].name, place)).collect(),
    };
    let height = 62 + ROW as u32 * rows.len() as u32;
    Plot::new(words, height, |area, width| {
        let frame = Frame::new(area, &x, None)?;
        for (index, (case, spread)) in rows.iter().enumerate() {
            let top = 12 + ROW * index as i32;
            let label = format!("{} · {}", said_ms(spread.median), who(case));
            row_label(area, &label, top, width)?;
            let (low, high) = (top + 17, top + 33);
            let mut from = frame.across(0.0);
            for (place, at) in moments(case) {
                let to = frame.across(at).max(from + 1);
                area.draw(&Rectangle::new([(from, low), (to, high)], phase_hue(place).filled()))?;
                // A hair of ground between two pieces.
                from = to + i32::from(to - from > 3);
            }
            let (q1, q3, middle) = (frame.across(spread.q1), frame.across(spread.q3), (low + high) / 2);
            area.draw(&PathElement::new([(q1, middle), (q3, middle)], INK.stroke_width(2)))?;
            for end in [q1, q3] {
                area.draw(&PathElement::new([(end, middle - 5), (end, middle + 5)], INK.stroke_width(2)))?;
            }
        }
        Ok(())
    })
    .map(Some)
}

fn who(case: &StartCase<'_>) -> String {
    format!("{} · {}", case.label(), case.subject)
}

fn row_label(area: &Area<'_>, text: &str, top: i32, width: u32) -> Result<(), Failure> {
    write(area, &fitted(text, width as i32 - 30), (8, top), HPos::Left, VPos::Top)
}

/// First byte and warm, a row per case.
fn until_warm(study: &Study, cases: &[StartCase<'_>]) -> Result<Option<Plot>, Failure> {
    let rows: Vec<(&StartCase<'_>, Spread, Spread)> = cases
        .iter()
        .filter_map(|case| {
            let warm = Spread::of(case.moments(|phases| phases.warm))?;
            Some((case, Spread::of(case.first_bytes())?, warm))
        })
        .collect();
    let ends = rows.iter().flat_map(|(_, first, warm)| [first.q1, warm.q3]);
    let Some(x) = Axis::log("since the start was asked for, logarithmic", ends, said_ms) else {
        return Ok(None);
    };
    let text = rows.iter().map(|(case, first, warm)| {
        format!(
            "{}: first byte after {}, warm after {}",
            who(case),
            said_ms(first.median),
            said_ms(warm.median)
        )
    });
    let words = Words {
        title: "From the first answer to full speed".into(),
        note: "The left mark is the first byte, the right one the moment from which latency stays within a tenth of \
               what it settles at; medians, with the quartiles as a line."
            .into(),
        text: text.collect::<Vec<_>>().join("; "),
        keys: keys(study, rows.iter().map(|(case, ..)| case.subject)),
    };
    Plot::new(words, 62 + ROW as u32 * rows.len() as u32, |area, width| {
        let frame = Frame::new(area, &x, None)?;
        for (index, (case, first, warm)) in rows.iter().enumerate() {
            let (top, place) = (12 + ROW * index as i32, study.place(case.subject));
            row_label(area, &who(case), top, width)?;
            let y = top + 26;
            let between = [(frame.across(first.median), y), (frame.across(warm.median), y)];
            area.draw(&PathElement::new(between, hue(place).mix(0.3).stroke_width(6)))?;
            for spread in [first, warm] {
                let quartiles = [(frame.across(spread.q1), y), (frame.across(spread.q3), y)];
                area.draw(&PathElement::new(quartiles, INK.stroke_width(2)))?;
                mark(area, (frame.across(spread.median), y), place, hue(place))?;
            }
        }
        Ok(())
    })
    .map(Some)
}

/// Shares of values within each value, as steps.
fn shares(mut values: Vec<f64>) -> Vec<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let (count, mut below) = (values.len() as f64, 0.0);
    let mut points = Vec::new();
    for (place, value) in values.into_iter().enumerate() {
        let share = (place + 1) as f64 / count;
        points.extend([(value, below), (value, share)]);
        below = share;
    }
    points
}

/// First bytes of starts, and latency when warm.
fn cold_and_warm(study: &Study, group: &[StartCase<'_>]) -> Result<Option<Plot>, Failure> {
    let cold = |case: &StartCase<'_>| case.first_bytes().into_iter().map(|ms| ms * 1e3).collect::<Vec<_>>();
    let all = group.iter().flat_map(|case| cold(case).into_iter().chain(case.warm_us()));
    let Some(x) = Axis::log("time, logarithmic", all, period) else { return Ok(None) };
    let y = Axis::shares("share of starts");
    let text = group.iter().map(|case| {
        let (first, warm) = (said_median(cold(case), period), said_median(case.warm_us(), period));
        format!("{}: median first byte {first}, median warm latency {warm}", case.subject)
    });
    let words = Words {
        title: format!("Cold and warm: {}", group[0].label()),
        note: "Full lines: the share of starts whose first byte came within that time, with a mark at the median. \
               Dashed lines: the latency at which the same starts settled. The distance between them is what a cold \
               start costs. Further left is better."
            .into(),
        text: text.collect::<Vec<_>>().join("; "),
        keys: keys(study, group.iter().map(|case| case.subject)),
    };
    Plot::new(words, HEIGHT, |area, _| {
        let frame = Frame::new(area, &x, Some(&y))?;
        for case in group {
            let place = study.place(case.subject);
            frame.line(&shares(case.warm_us()), hue(place), Line::Dashed)?;
            frame.line(&shares(cold(case)), hue(place), Line::Full)?;
            for values in [cold(case), case.warm_us()] {
                if let Some(middle) = median(values) {
                    frame.mark((middle, 0.5), 0, place)?;
                }
            }
        }
        Ok(())
    })
    .map(Some)
}

/// Latency of the requests behind each start.
fn early(study: &Study, group: &[StartCase<'_>]) -> Result<Option<Plot>, Failure> {
    let all = |case: &StartCase<'_>| -> Vec<(f64, f64)> {
        case.starts.iter().flat_map(|start| &start.early).copied().collect()
    };
    let (times, latencies) = (
        group.iter().flat_map(|case| all(case).into_iter().map(|(ms, _)| ms)),
        group.iter().flat_map(|case| all(case).into_iter().map(|(_, us)| us)),
    );
    let axes = Axis::log("since the start was asked for, logarithmic", times, said_ms).zip(Axis::log(
        "latency, logarithmic",
        latencies,
        period,
    ));
    let Some((x, y)) = axes else { return Ok(None) };
    let text = group.iter().map(|case| {
        let points = medians(all(case));
        let end = |point: Option<&(f64, f64)>| point.map_or("none".into(), |(_, us)| period(*us));
        format!("{}: from {} to {}", case.subject, end(points.first()), end(points.last()))
    });
    let words = Words {
        title: format!("The first requests behind a start: {}", group[0].label()),
        note: "Dots are requests, one after another on each start; lines their medians at that time. Where a line \
               becomes flat the program is warm."
            .into(),
        text: text.collect::<Vec<_>>().join("; "),
        keys: keys(study, group.iter().map(|case| case.subject)),
    };
    Plot::new(words, HEIGHT, |area, _| {
        let frame = Frame::new(area, &x, Some(&y))?;
        for case in group {
            let (points, color) = (all(case), hue(study.place(case.subject)));
            let every = points.len().div_ceil(DOTS_MAX).max(1);
            frame.cloud(&points.iter().copied().step_by(every).collect::<Vec<_>>(), color)?;
        }
        for case in group {
            let place = study.place(case.subject);
            let points = medians(all(case));
            frame.line(&points, hue(place), Line::Full)?;
            for point in points.iter().step_by(PARTS / 4) {
                frame.mark(*point, 0, place)?;
            }
        }
        Ok(())
    })
    .map(Some)
}

/// The median of each of some parts of time, each as long as its distance from zero asks; in the order of time.
fn medians(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let times = points.iter().map(|(ms, _)| *ms).filter(|ms| *ms > 0.0);
    let (low, high) = times.fold((f64::INFINITY, 0.0_f64), |(low, high), ms| (low.min(ms), high.max(ms)));
    let mut parts: Vec<Vec<(f64, f64)>> = vec![Vec::new(); PARTS];
    for point in points {
        let share = (point.0 / low).ln() / (high / low).ln().max(f64::MIN_POSITIVE);
        parts[((share * PARTS as f64) as usize).min(PARTS - 1)].push(point);
    }
    let middle = |part: Vec<(f64, f64)>| {
        let (times, latencies) = part.into_iter().unzip();
        Some((median(times)?, median(latencies)?))
    };
    parts.into_iter().filter_map(middle).collect()
}

/// Latency by percentile, with as much room for each nine.
fn percentiles(study: &Study, group: &[LoadCase<'_>]) -> Result<Option<Plot>, Failure> {
    // Twelve points for each nine, and no more than the requests can say.
    let places: Vec<f64> = (0..=48).map(|step| 1.0 - 10_f64.powf(-f64::from(step) / 12.0)).collect();
    let points = |curve: &Curve| -> Vec<(f64, f64)> {
        let known = |share: &&f64| (1.0 - **share) * curve.count as f64 >= 1.0;
        places.iter().filter(known).filter_map(|share| Some((*share, curve.at(*share)?))).collect()
    };
    let curves: Vec<(&LoadCase<'_>, Vec<(f64, f64)>)> = group
        .iter()
        .map(|case| (case, points(&case.latency())))
        .filter(|(_, points)| points.len() > 1)
        .collect();
    let x = Axis::nines("share of requests; each nine is as wide");
    let latencies = curves.iter().flat_map(|(_, points)| points).map(|(_, us)| *us);
    let Some(y) = Axis::log("latency, logarithmic", latencies, period) else { return Ok(None) };
    let text = group.iter().map(|case| {
        let (curve, name) = (case.latency(), case.class.name());
        let at = |share| curve.at(share).map_or("none".into(), period);
        format!("{}, {name}: p50 {}, p99 {}, p99.9 {}", case.subject, at(0.5), at(0.99), at(0.999))
    });
    let words = Words {
        title: format!("Percentiles: {}, {}/s", group[0].scenario, short(group[0].rate)),
        note: "Latency that so many of the requests stayed within, from the moment each was due. Full lines warm, dashed \
               cold, dotted thawed. Lower is better; a curve ends where too few requests are left to speak of."
            .into(),
        text: text.collect::<Vec<_>>().join("; "),
        keys: keys(study, group.iter().map(|case| case.subject)),
    };
    Plot::new(words, HEIGHT, |area, _| {
        let frame = Frame::new(area, &x, Some(&y))?;
        for (case, points) in &curves {
            let place = study.place(case.subject);
            frame.line(points, hue(place), line_of(case.class))?;
            for point in points.iter().step_by(12) {
                frame.mark(*point, 0, place)?;
            }
        }
        Ok(())
    })
    .map(Some)
}

/// Medians and p99 of the slices of a run.
fn over_time(study: &Study, group: &[LoadCase<'_>]) -> Result<Option<Plot>, Failure> {
    // Of several rounds one: their moments are not each other's.
    let runs: Vec<_> = group
        .iter()
        .filter_map(|case| Some((case, case.loads.iter().find(|load| load.over_time.len() > 1)?)))
        .collect();
    let slices = || runs.iter().flat_map(|(_, load)| &load.over_time);
    let latencies = slices().flat_map(|slice| [slice.p50_us, slice.p99_us]);
    let Some(y) = Axis::log("latency, logarithmic", latencies, period) else { return Ok(None) };
    let x = Axis::linear("since the run began", slices().map(|slice| slice.at_ms), said_ms);
    let text = runs.iter().map(|(case, load)| {
        let (p50, p99): (Vec<f64>, Vec<f64>) =
            load.over_time.iter().map(|slice| (slice.p50_us, slice.p99_us)).unzip();
        format!(
            "{}: p50 about {}, p99 about {}",
            case.subject,
            said_median(p50, period),
            said_median(p99, period)
        )
    });
    let words = Words {
        title: format!("Latency over time: {}", group[0].label()),
        note: "Slices of the first round: full lines p50, dashed lines p99. Lower and flatter is better."
            .into(),
        text: text.collect::<Vec<_>>().join("; "),
        keys: keys(study, runs.iter().map(|(case, _)| case.subject)),
    };
    Plot::new(words, HEIGHT, |area, _| {
        let frame = Frame::new(area, &x, Some(&y))?;
        for (case, load) in &runs {
            let place = study.place(case.subject);
            let full = load.over_time.iter().filter(|slice| slice.count > 0);
            let p50: Vec<_> = full.clone().map(|slice| (slice.at_ms, slice.p50_us)).collect();
            let p99: Vec<_> = full.map(|slice| (slice.at_ms, slice.p99_us)).collect();
            frame.line(&p50, hue(place), Line::Full)?;
            frame.line(&p99, hue(place), Line::Dashed)?;
            for point in p50.iter().step_by(p50.len().div_ceil(6).max(1)) {
                frame.mark(*point, 0, place)?;
            }
        }
        Ok(())
    })
    .map(Some)
}

/// p99 of each rate that was tried.
fn searches(study: &Study) -> Result<Option<Plot>, Failure> {
    let steps = || study.searches.iter().flat_map(|search| &search.steps);
    let axes = Axis::log("requests per second, logarithmic", steps().map(|step| step.rate), short)
        .zip(Axis::log("p99, logarithmic", steps().map(|step| step.p99_us), period));
    let Some((x, y)) = axes else { return Ok(None) };
    let text = study.searches.iter().map(|search| {
        let knee = search.knee.map_or("no rate held".into(), |rate| format!("up to {}/s", short(rate)));
        format!("{}, {}: {knee}", search.subject, search.scenario)
    });
    let words = Words {
        title: "Latency by rate".into(),
        note: "Each mark is a rate that was tried; a cross is one at which what was wanted did not hold. Further right \
               before the first cross is better."
            .into(),
        text: text.collect::<Vec<_>>().join("; "),
        keys: keys(study, study.searches.iter().map(|search| search.subject.as_str())),
    };
    Plot::new(words, HEIGHT, |area, _| {
        let frame = Frame::new(area, &x, Some(&y))?;
        for search in &study.searches {
            let place = study.place(&search.subject);
            let mut steps = search.steps.clone();
            steps.sort_by(|one, other| one.rate.total_cmp(&other.rate));
            let points: Vec<(f64, f64)> = steps.iter().map(|step| (step.rate, step.p99_us)).collect();
            frame.line(&points, hue(place), Line::Full)?;
            for (step, point) in steps.iter().zip(&points) {
                if step.holds {
                    frame.mark(*point, 0, place)?;
                } else {
                    frame.cross(*point, 0, hue(place))?;
                }
            }
        }
        Ok(())
    })
    .map(Some)
}

/// The requests behind a thaw, one after another.
fn thaws(study: &Study, group: &[ThawCase<'_>]) -> Result<Option<Plot>, Failure> {
    let depth = group.iter().map(ThawCase::depth).max().unwrap_or(0).min(12);
    let spread = |case: &ThawCase<'_>, place: usize| match place {
        0 => Spread::of(case.before()),
        place => Spread::of(case.latency(place - 1)),
    };
    let ends = group.iter().flat_map(|case| (0..=depth).filter_map(|place| spread(case, place)));
    let ends = ends.flat_map(|spread| [spread.q1, spread.q3]);
    let Some(y) = Axis::log("latency, logarithmic", ends, period) else { return Ok(None) };
    let x = Axis::places("request behind the thaw", 0, depth, |place| match place {
        0 => "usual".into(),
        place => place.to_string(),
    });
    let text = group.iter().map(|case| {
        let (failed, all) = case.failed(0);
        let at = |place| spread(case, place).map_or("none".into(), |spread| period(spread.median));
        format!(
            "{}: before {}, first {}, second {}; {failed} of {all} first requests failed",
            case.subject,
            at(0),
            at(1),
            at(2)
        )
    });
    let words = Words {
        title: format!("Behind a freeze: {}", group[0].label()),
        note:
            "Marks are medians of all freezes, lines quartiles; on the left what was usual before. A cross \
               above: some of the requests at that place failed."
                .into(),
        text: text.collect::<Vec<_>>().join("; "),
        keys: keys(study, group.iter().map(|case| case.subject)),
    };
    Plot::new(words, HEIGHT, |area, _| {
        let frame = Frame::new(area, &x, Some(&y))?;
        for (number, case) in group.iter().enumerate() {
            let (place, many) = (study.place(case.subject), group.len() as i32);
            let aside = (number as i32 * 2 - (many - 1)) * 6 / many.clamp(1, 6);
            let points: Vec<(usize, Spread)> =
                (0..=depth).filter_map(|at| Some((at, spread(case, at)?))).collect();
            let behind: Vec<(f64, f64)> = (points.iter().filter(|(at, _)| *at > 0))
                .map(|(at, spread)| (*at as f64, spread.median))
                .collect();
            frame.line(&behind, hue(place), Line::Dotted)?;
            for (at, spread) in &points {
                frame.whisker(*at as f64, (spread.q1, spread.q3), aside, hue(place))?;
                frame.mark((*at as f64, spread.median), aside, place)?;
            }
            for at in (0..depth).filter(|at| case.failed(*at).0 > 0) {
                frame.failure((at + 1) as f64, aside, hue(place))?;
            }
        }
        Ok(())
    })
    .map(Some)
}
