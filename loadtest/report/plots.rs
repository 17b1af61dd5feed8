//! The plots of a report, as SVG that goes into the page.
//!
//! Colours are those of the page: text and lines follow light and dark, and the
//! subjects have hues that can be read on both.

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::goals::Outcome;
use crate::report::{CellResult, Report, Sample};
use crate::stats::Spread;

/// Drawn where the page's own text colour is meant.
const INK: RGBColor = RGBColor(1, 1, 1);
/// Where its faint colour is meant: the grid.
const FAINT: RGBColor = RGBColor(2, 2, 2);
/// One hue per subject, readable on white and on near-black.
const HUES: [RGBColor; 10] = [
    RGBColor(0xe6, 0x55, 0x1e),
    RGBColor(0x2f, 0x9e, 0x44),
    RGBColor(0x33, 0x7a, 0xd9),
    RGBColor(0x6f, 0xa8, 0xe8),
    RGBColor(0xa8, 0x55, 0xc8),
    RGBColor(0x1f, 0xa5, 0xa5),
    RGBColor(0xd6, 0x3b, 0x7d),
    RGBColor(0x80, 0x80, 0x80),
    RGBColor(0xa6, 0x8a, 0x2d),
    RGBColor(0xb0, 0xb0, 0xb0),
];
const WIDTH: u32 = 960;
const FONT: &str = "sans-serif";

type Failure = Box<dyn std::error::Error>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A drawing and what it shows.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) note: &'static str,
    pub(crate) svg: String,
}

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

fn hue(report: &Report, name: &str) -> RGBColor {
    let place = report.names().iter().position(|other| *other == name).unwrap_or(0);
    HUES[place % HUES.len()]
}

fn svg(height: u32, draw: impl FnOnce(&Area<'_>) -> Result<(), Failure>) -> Result<String, Failure> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        draw(&area)?;
        area.present()?;
    }
    // The page decides about size and colours.
    let text = text
        .replace("\"#010101\"", "\"currentColor\"")
        .replace("\"#020202\"", "\"var(--line)\"")
        .replacen(&format!("width=\"{WIDTH}\" height=\"{height}\" "), "", 1);
    Ok(text)
}

fn words(size: u32, color: RGBColor) -> TextStyle<'static> {
    (FONT, size).into_font().color(&color)
}

/// Dots with their quartiles, a row per cell.
struct Row<'a> {
    label: &'a str,
    dots: Vec<(RGBColor, Spread)>,
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
                .filter_map(|name| Some((hue(report, name), cell.cpu_ratio(name, peer)?)))
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
    Ok(Some(Plot {
        title: format!("CPU per request against {peer}"),
        note: "Dots are medians, lines quartiles, upright dashes goals; 1 is the peer. Logarithmic, left is better.",
        svg: dots(report, &names, &rows, Some(1.0), "x")?,
    }))
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
            let dot = |name: &&str| Some((hue(report, name), cell.spread(name, figure)?));
            Row { label, dots: names.iter().rev().filter_map(dot).collect(), limit: None }
        })
        .filter(|row| !row.dots.is_empty())
        .collect();
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(Plot {
        title: "Latency at a fixed rate".into(),
        note: "Microseconds from when a request was due; medians and quartiles of the rounds. Logarithmic.",
        svg: dots(report, &names, &rows, None, "us")?,
    }))
}

/// A dot plot with a logarithmic axis.
fn dots(
    report: &Report,
    names: &[&str],
    rows: &[Row<'_>],
    unit_line: Option<f64>,
    unit: &str,
) -> Result<String, Failure> {
    let values = || rows.iter().flat_map(|row| &row.dots).flat_map(|(_, spread)| [spread.q1, spread.q3]);
    let limits = rows.iter().filter_map(|row| row.limit);
    let (mut low, mut high) = values()
        .chain(limits)
        .chain(unit_line)
        .filter(|value| *value > 0.0)
        .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    (low, high) = (low / 1.1, high * 1.1);
    let (left, top, step) = (110, 34, 24);
    let height = top + step * rows.len() as u32 + 30;
    svg(height, |area| {
        legend(area, report, names, 10)?;
        let place = |value: f64| {
            let share = (value / low).ln() / (high / low).ln();
            left + (share * f64::from(WIDTH as i32 - left - 20)) as i32
        };
        let bottom = height as i32 - 26;
        for tick in ticks(low, high) {
            let x = place(tick);
            area.draw(&PathElement::new([(x, top as i32), (x, bottom)], FAINT.stroke_width(1)))?;
            let middle = words(12, INK).pos(Pos::new(HPos::Center, VPos::Top));
            let text = if unit == "x" { format!("{tick}") } else { format!("{tick} {unit}") };
            area.draw(&Text::new(text, (x, bottom + 6), middle))?;
        }
        if let Some(line) = unit_line {
            let x = place(line);
            area.draw(&PathElement::new([(x, top as i32), (x, bottom)], INK.stroke_width(1)))?;
        }
        for (index, row) in rows.iter().enumerate() {
            let y = (top + step * index as u32 + step / 2) as i32;
            let right = words(13, INK).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(row.label.to_owned(), (left - 10, y), right))?;
            for (color, spread) in &row.dots {
                let line = [(place(spread.q1.max(low)), y), (place(spread.q3.max(low)), y)];
                area.draw(&PathElement::new(line, color.stroke_width(2)))?;
                area.draw(&Circle::new((place(spread.median.max(low)), y), 5, color.filled()))?;
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

/// Round numbers between two others, in steps of 1, 2, 5.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] =
        if high / low < 8.0 { &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0] } else { &[1.0, 2.0, 5.0] };
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    (first..=last)
        .flat_map(|power| {
            // Through decimal text, so that 0.3 is 0.3.
            steps.iter().filter_map(move |step| format!("{step}e{power}").parse::<f64>().ok())
        })
        .filter(|tick| (low..=high).contains(tick))
        .collect()
}

fn legend(area: &Area<'_>, report: &Report, names: &[&str], y: i32) -> Result<(), Failure> {
    let mut x = 20;
    for name in names {
        area.draw(&Circle::new((x, y + 5), 5, hue(report, name).filled()))?;
        area.draw(&Text::new((*name).to_owned(), (x + 10, y), words(13, INK)))?;
        // A letter is about so wide; the font is the reader's.
        x += 34 + 7 * name.len() as i32;
    }
    Ok(())
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
    color: RGBColor,
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
                    curves.push(Curve { label, color: hue(report, name), is_dashed, points: vec![point] });
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
    let drawing = svg(440, |area| {
        legend(area, report, &names, 10)?;
        let (_, below) = area.split_vertically(30);
        let mut chart = ChartBuilder::on(&below)
            .margin_right(20)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d((0.8_f64..13_000.0).log_scale(), (low / 1.2..high * 1.2).log_scale())?;
        chart
            .configure_mesh()
            .axis_style(INK)
            .bold_line_style(FAINT)
            .light_line_style(TRANSPARENT)
            .label_style(words(12, INK))
            .x_desc("connections")
            .y_labels(12)
            .y_label_formatter(&|value| short(*value))
            .x_label_formatter(&|value| short(*value))
            .draw()?;
        for curve in &curves {
            curve.draw(&mut chart)?;
        }
        Ok(())
    })?;
    Ok(Some(Plot {
        title: title.to_owned(),
        note: "Full lines one thread, dashed lines two. At 10,000 connections 64 (dot) or 2,000 (ring) are \
               active, the others idle. Both axes logarithmic.",
        svg: drawing,
    }))
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<LogCoord<f64>, LogCoord<f64>>>;
/// For the type above; plotters keeps the name of its logarithmic axis in another module.
type LogCoord<T> = plotters::coord::combinators::LogCoord<T>;

impl Curve {
    fn draw(&self, chart: &mut Chart<'_, '_>) -> Result<(), Failure> {
        let line = self.color.stroke_width(2);
        if self.is_dashed {
            chart.draw_series(DashedLineSeries::new(self.points.clone(), 6, 4, line))?;
        } else {
            chart.draw_series(LineSeries::new(self.points.clone(), line))?;
        }
        // A point alone is one at which most connections are idle.
        let is_ring = self.points.len() == 1 && self.label.contains("2,000");
        let (size, style) = if is_ring { (6, line) } else { (4, self.color.filled()) };
        chart.draw_series(self.points.iter().map(|point| Circle::new(*point, size, style)))?;
        Ok(())
    }
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
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.35, 1.2), [0.4, 0.5, 0.6, 0.8, 1.0]);
        assert_eq!(ticks(40.0, 3000.0), [50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0]);
    }

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
            assert!(plot.svg.starts_with("<svg viewBox"), "{:.80}", plot.svg);
            assert!(plot.svg.contains("currentColor") && !plot.svg.contains("#010101"));
        }
    }

    #[test]
    fn without_figures_there_is_no_plot() {
        assert!(plots(&report(&[]), &[]).unwrap().is_empty());
    }
}
