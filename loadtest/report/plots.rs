//! The plots of a report of `peers`.

use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::goals::Outcome;
use crate::report::draw::{
    Axis, FAINT, Failure, Frame, INK, Key, Line, Plot, Words, hue, mark, ticks, words,
};
use crate::report::{CellResult, Report, Sample};
use crate::stats::Spread;

/// Every plot for which there are figures.
pub(crate) fn plots(report: &Report, outcomes: &[Outcome]) -> Result<Vec<Plot>, Failure> {
    let mut plots = Vec::new();
    for peer in super::sections::REFERENCES {
        plots.extend(against(report, peer, outcomes)?);
    }
    for (title, figure) in SCALES {
        plots.extend(scale(report, title, figure)?);
    }
    plots.extend(latency(report)?);
    Ok(plots)
}

fn place_of(report: &Report, name: &str) -> usize {
    report.names().iter().position(|other| *other == name).unwrap_or(0)
}

fn keys(report: &Report, names: &[&str]) -> Vec<Key> {
    names.iter().map(|name| Key::subject(name, place_of(report, name))).collect()
}

/// Dots with their quartiles, a row per cell.
struct Row<'a> {
    label: &'a str,
    /// Places of subjects, which are their marks.
    dots: Vec<(usize, Spread)>,
    /// Marks of goals.
    limit: Option<f64>,
}

fn against(report: &Report, peer: &str, outcomes: &[Outcome]) -> Result<Option<Plot>, Failure> {
    let names: Vec<&str> = report.names().into_iter().filter(|name| *name != peer).collect();
    let rows: Vec<Row<'_>> = report
        .cells
        .iter()
        .filter(|cell| !cell.is_scale())
        .filter_map(|cell| {
            let dots: Vec<_> = names
                .iter()
                .rev()
                .filter_map(|name| Some((place_of(report, name), cell.cpu_ratio(name, peer)?)))
                .collect();
            let what = format!("CPU / {peer}");
            let goal = outcomes.iter().find(|goal| goal.place == cell.name && goal.what == what);
            let row = Row { label: &cell.name, dots, limit: goal.map(|goal| goal.limit) };
            (!row.dots.is_empty()).then_some(row)
        })
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let note = "Marks are medians, lines quartiles, upright dashes goals; 1 is the peer. Logarithmic, left is better.";
    let words = Words {
        title: format!("CPU per request against {peer}"),
        note: note.into(),
        text: format!(
            "CPU per request as a multiple of {peer}'s, a row per cell; the figures are in a table."
        ),
        keys: keys(report, &names),
    };
    dots(words, &rows, Some(1.0), "x").map(Some)
}

fn latency(report: &Report) -> Result<Option<Plot>, Failure> {
    let is_open = |cell: &&CellResult| {
        cell.runs.values().flatten().flatten().any(|sample: &Sample| sample.delay_us.is_some())
    };
    let names = report.names();
    let cells: Vec<&CellResult> = report.cells.iter().filter(is_open).collect();
    let labels: Vec<(String, &CellResult, Figure)> = cells
        .iter()
        .flat_map(|cell| {
            let quantiles: [(&str, Figure); 3] = [
                ("p50", |sample| sample.p50_us),
                ("p99", |sample| sample.p99_us),
                ("p99.9", |sample| sample.p99_9_us),
            ];
            quantiles.map(|(name, figure)| (format!("{} {name}", cell.name), *cell, figure))
        })
        .collect();
    let rows: Vec<Row<'_>> = labels
        .iter()
        .map(|(label, cell, figure)| {
            let dot = |name: &&str| Some((place_of(report, name), cell.spread(name, figure)?));
            Row { label, dots: names.iter().rev().filter_map(dot).collect(), limit: None }
        })
        .filter(|row| !row.dots.is_empty())
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    let words = Words {
        title: "Latency at a fixed rate".into(),
        note: "Microseconds from when a request was due; medians and quartiles of the rounds. Logarithmic."
            .into(),
        text: "Percentiles of latency by cell and subject; the figures are in a table.".into(),
        keys: keys(report, &names),
    };
    dots(words, &rows, None, "us").map(Some)
}

/// A dot plot with a logarithmic axis.
fn dots(words_of: Words, rows: &[Row<'_>], unit_line: Option<f64>, unit: &str) -> Result<Plot, Failure> {
    let values = || rows.iter().flat_map(|row| &row.dots).flat_map(|(_, spread)| [spread.q1, spread.q3]);
    let limits = rows.iter().filter_map(|row| row.limit);
    let (mut low, mut high) = values()
        .chain(limits)
        .chain(unit_line)
        .filter(|value| *value > 0.0)
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    (low, high) = (low / 1.1, high * 1.1);
    let (left, top, step) = (110, 8, 24);
    let height = top + step * rows.len() as u32 + 30;
    Plot::new(words_of, height, |area, width| {
        let place = |value: f64| {
            let share = (value / low).ln() / (high / low).ln();
            left + (share * f64::from(width as i32 - left - 20)) as i32
        };
        let bottom = height as i32 - 26;
        let mut free = 0;
        for tick in ticks(low, high) {
            let x = place(tick);
            area.draw(&PathElement::new([(x, top as i32), (x, bottom)], FAINT.stroke_width(1)))?;
            if x < free {
                continue;
            }
            free = x + 44;
            let middle = words(15, INK).pos(Pos::new(HPos::Center, VPos::Top));
            let text = if unit == "x" { format!("{tick}") } else { format!("{tick} {unit}") };
            area.draw(&Text::new(text, (x, bottom + 6), middle))?;
        }
        if let Some(line) = unit_line {
            let x = place(line);
            area.draw(&PathElement::new([(x, top as i32), (x, bottom)], INK.stroke_width(1)))?;
        }
        for (index, row) in rows.iter().enumerate() {
            let y = (top + step * index as u32 + step / 2) as i32;
            let right = words(16, INK).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(row.label.to_owned(), (left - 10, y), right))?;
            for (subject, spread) in &row.dots {
                let color = hue(*subject);
                let line = [(place(spread.q1.max(low)), y), (place(spread.q3.max(low)), y)];
                area.draw(&PathElement::new(line, color.stroke_width(2)))?;
                mark(area, (place(spread.median.max(low)), y), *subject, color)?;
            }
            if let Some(limit) = row.limit {
                let x = place(limit);
                let mark = [(x, y - 10), (x, y + 10)];
                area.draw(&DashedPathElement::new(mark, 3, 2, INK.stroke_width(2)))?;
            }
        }
        Ok(())
    })
}

type Figure = fn(&Sample) -> f64;
const SCALES: [(&str, Figure); 3] = [
    ("CPU per request by connections, us", |sample| sample.cpu_us),
    ("p99 by connections, us", |sample| sample.p99_us),
    ("Requests per second by connections", |sample| sample.requests_per_second),
];

/// One line in the plot of scale.
struct Curve {
    label: String,
    /// Its place among all, which is its mark.
    subject: usize,
    is_dashed: bool,
    points: Vec<(f64, f64)>,
}

fn scale(report: &Report, title: &str, figure: Figure) -> Result<Option<Plot>, Failure> {
    let names = report.names();
    let mut curves: Vec<Curve> = Vec::new();
    for cell in &report.cells {
        let Some((curve, connections)) = &cell.curve else { continue };
        // The points at which most connections are idle belong to the curve on which all are active.
        let threads = curve.split(',').next().unwrap_or(curve);
        let is_dashed = threads.starts_with('2');
        for name in &names {
            let Some(value) = cell.spread(name, figure) else { continue };
            let label = format!("{name}, {curve}");
            let point = (f64::from(*connections), value.median);
            match curves.iter_mut().find(|other| other.label == label) {
                Some(curve) => curve.points.push(point),
                None => {
                    curves.push(Curve {
                        label,
                        subject: place_of(report, name),
                        is_dashed,
                        points: vec![point],
                    });
                }
            }
        }
    }
    // A merged report has its cells in any order.
    curves.iter_mut().for_each(|curve| curve.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
    let (low, high) = curves
        .iter()
        .flat_map(|curve| &curve.points)
        .fold((f64::INFINITY, 0.0_f64), |(low, high), (_, y)| (low.min(*y), high.max(*y)));
    if curves.is_empty() || low <= 0.0 {
        return Ok(None);
    }
    let note = "Full lines one thread, dashed lines two. At 10,000 connections 64 (mark) or 2,000 (ring) are \
                active, the others idle. Both axes logarithmic.";
    let words_of = Words {
        title: title.to_owned(),
        note: note.into(),
        text: "A curve per subject and number of threads, over the number of connections.".into(),
        keys: keys(report, &names),
    };
    let axes = Axis::log("connections, logarithmic", [1.0, 10_000.0].into_iter(), short).zip(Axis::log(
        "logarithmic",
        [low, high].into_iter(),
        short,
    ));
    let Some((x, y)) = axes else { return Ok(None) };
    Plot::new(words_of, 410, |area, _| {
        let frame = Frame::new(area, &x, Some(&y))?;
        for curve in &curves {
            let line = if curve.is_dashed { Line::Dashed } else { Line::Full };
            frame.line(&curve.points, hue(curve.subject), line)?;
            // A point alone is one at which most connections are idle.
            let is_ring = curve.points.len() == 1 && curve.label.contains("2,000");
            for point in &curve.points {
                if is_ring {
                    frame.ring(*point, hue(curve.subject))?;
                } else {
                    frame.mark(*point, 0, curve.subject)?;
                }
            }
        }
        Ok(())
    })
    .map(Some)
}

fn short(value: f64) -> String {
    match value {
        _ if value >= 10_000.0 => format!("{}k", (value / 1000.0).round()),
        _ if value >= 10.0 => format!("{value:.0}"),
        _ => format!("{}", (value * 10.0).round() / 10.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn plots_take_their_colours_from_the_page() {
        let mut all = report(&[
            ("1k", &[("wf", &[5.0, 6.0]), ("nginx", &[10.0, 10.0])]),
            ("n1", &[("wf", &[5.0])]),
            ("n64", &[("wf", &[6.0])]),
            ("r5000", &[("wf", &[50.0])]),
        ]);
        all.cells[1].curve = Some(("1 thread".into(), 1));
        all.cells[2].curve = Some(("1 thread".into(), 64));
        if let Some(Some(sample)) = all.cells[3].runs.get_mut("wf").and_then(|runs| runs.first_mut()) {
            sample.delay_us = Some((1.0, 2.0));
            sample.p99_9_us = 300.0;
        }
        let plots = plots(&all, &[]).unwrap();
        let titles: Vec<&str> = plots.iter().map(|plot| plot.title.as_str()).collect();
        assert_eq!(titles.len(), 5, "{titles:?}");
        for plot in &plots {
            for drawing in &plot.drawings {
                assert!(drawing.starts_with("<svg role=\"img\" aria-label=\""), "{drawing:.80}");
                assert!(drawing.contains("currentColor") && !drawing.contains("#010101"));
                assert!(drawing.contains("var(--hue0)") && !drawing.contains("#030300"));
            }
        }
    }

    #[test]
    fn without_figures_there_is_no_plot() {
        assert!(plots(&report(&[]), &[]).unwrap().is_empty());
    }
}
