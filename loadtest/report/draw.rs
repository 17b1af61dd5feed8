//! What the plots of all reports have in common: colours, axes, marks, and a drawing for each width of a window.
//!
//! Colours are those of the page: text and lines follow light and dark, and so do the
//! hues of subjects and phases. Every plot is drawn twice, so that its letters keep
//! their size on a telephone. SVG as text: no fonts, no pixels, no script.

use std::fmt::Write as _;

use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::table::escaped;

/// Drawn where the page's own text colour is meant.
pub(crate) const INK: RGBColor = RGBColor(1, 1, 1);
/// Where its faint colour is meant: the grid.
pub(crate) const FAINT: RGBColor = RGBColor(2, 2, 2);
/// How many hues of subjects the page has; then they begin again.
const HUES: usize = 10;
/// Widths of a drawing, in its own units: about the pixels of a screen and of a telephone.
pub(crate) const WIDTHS: [u32; 2] = [960, 370];
const FONT: &str = "sans-serif";
/// What plotters calls 15 is drawn with 12.
const SMALL: u32 = 15;
/// Of a letter of that size, about: the font is the reader's.
const LETTER: f64 = 7.3;

pub(crate) type Failure = Box<dyn std::error::Error>;
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The hue of the subject at this place among all.
pub(crate) fn hue(place: usize) -> RGBColor {
    RGBColor(3, 3, (place % HUES) as u8)
}

/// The hue of a phase of a start.
pub(crate) fn phase_hue(place: usize) -> RGBColor {
    RGBColor(4, 4, (place % HUES) as u8)
}

/// One entry beside a plot: what a colour and a shape stand for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    pub(crate) name: String,
    color: RGBColor,
    shape: usize,
}

impl Key {
    /// A subject, by its place among all.
    pub(crate) fn subject(name: &str, place: usize) -> Self {
        Self { name: name.to_owned(), color: hue(place), shape: place }
    }

    /// A phase of a start: a square, as the pieces of its bar are.
    pub(crate) fn phase(name: &str, place: usize) -> Self {
        Self { name: name.to_owned(), color: phase_hue(place), shape: 1 }
    }
}

/// A drawing and what it shows.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    /// How to read it.
    pub(crate) note: String,
    pub(crate) keys: Vec<Key>,
    /// The same for each of [`WIDTHS`].
    pub(crate) drawings: [String; 2],
}

/// What is said about a plot.
pub(crate) struct Words {
    pub(crate) title: String,
    pub(crate) note: String,
    /// What it shows, for those who do not see it.
    pub(crate) text: String,
    pub(crate) keys: Vec<Key>,
}

impl Plot {
    /// Draws for each width.
    ///
    /// # Errors
    /// Plotters cannot draw it.
    pub(crate) fn new(
        words: Words,
        height: u32,
        draw: impl Fn(&Area<'_>, u32) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let [wide, narrow] = WIDTHS.map(|width| svg(&words, (width, height), |area| draw(area, width)));
        let Words { title, note, keys, .. } = words;
        Ok(Self { title, note, keys, drawings: [wide?, narrow?] })
    }

    /// With its title, its note and its keys, for a page.
    pub(crate) fn to_html(&self) -> String {
        let mut out =
            format!("<section>\n<h2>{}</h2>\n<p>{}</p>\n", escaped(&self.title), escaped(&self.note));
        if !self.keys.is_empty() {
            out += "<ul class=\"keys\">";
            for key in &self.keys {
                let mark = key.mark();
                let _ = write!(out, "<li>{mark} {}</li>", escaped(&key.name));
            }
            out += "</ul>\n";
        }
        for (class, drawing) in ["wide", "narrow"].iter().zip(&self.drawings) {
            let _ = writeln!(out, "<figure class=\"{class}\">{drawing}</figure>");
        }
        out + "</section>\n"
    }
}

impl Key {
    fn mark(&self) -> String {
        let points: Vec<String> =
            corners(self.shape, 6.0, 6.0, 5.0).iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let color =
            with_page_colours(&format!("\"#{:02X}{:02X}{:02X}\"", self.color.0, self.color.1, self.color.2));
        format!(
            "<svg class=\"key\" viewBox=\"0 0 12 12\" aria-hidden=\"true\"><polygon fill={color} points=\"{}\"/></svg>",
            points.join(" ")
        )
    }
}

fn svg(
    words: &Words,
    (width, height): (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), Failure>,
) -> Result<String, Failure> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        draw(&area)?;
        area.present()?;
    }
    let (title, said) = (escaped(&words.title), escaped(&format!("{}. {}", words.title, words.text)));
    // The page decides about size and colours.
    let own_size = format!("width=\"{width}\" height=\"{height}\" ");
    let text = text.replacen(&own_size, &format!("role=\"img\" aria-label=\"{said}\" "), 1);
    Ok(with_page_colours(&text).replacen('>', &format!("><title>{title}</title>"), 1))
}

/// The colours that stand for the page's own, as the page names them.
fn with_page_colours(text: &str) -> String {
    let mut text = text.replace("\"#010101\"", "\"currentColor\"").replace("\"#020202\"", "\"var(--line)\"");
    for place in 0..HUES {
        text = text
            .replace(&format!("\"#0303{place:02X}\""), &format!("\"var(--hue{place})\""))
            .replace(&format!("\"#0404{place:02X}\""), &format!("\"var(--phase{place})\""));
    }
    text
}

pub(crate) fn words(size: u32, color: RGBColor) -> TextStyle<'static> {
    (FONT, size).into_font().color(&color)
}

/// Text of one line at a place, held where `across` and `down` say.
pub(crate) fn write(
    area: &Area<'_>,
    text: &str,
    place: (i32, i32),
    across: HPos,
    down: VPos,
) -> Result<(), Failure> {
    let style = words(SMALL, INK).pos(Pos::new(across, down));
    Ok(area.draw(&Text::new(text.to_owned(), place, style))?)
}

/// About as wide as this text is drawn.
pub(crate) fn width_of(text: &str) -> i32 {
    (text.chars().count() as f64 * LETTER).ceil() as i32
}

/// As much of a text as fits.
pub(crate) fn fitted(text: &str, width: i32) -> String {
    if width_of(text) <= width {
        return text.to_owned();
    }
    let letters = (f64::from(width) / LETTER) as usize;
    text.chars().take(letters.saturating_sub(1)).chain(['…']).collect()
}

/// How an axis maps values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    Linear,
    Log,
    /// Shares, by how little is left to 1: each nine has the same width.
    Nines,
}

/// One axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    /// What it is, with its unit.
    label: String,
    /// Candidates; those that would touch each other are left out.
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to a little more than the largest of `values`.
    pub(crate) fn linear(label: &str, values: impl Iterator<Item = f64>, say: fn(f64) -> String) -> Self {
        let high = values.filter(|value| value.is_finite()).fold(0.0, f64::max).max(f64::MIN_POSITIVE) * 1.04;
        let raw = high / 8.0;
        let power = 10_f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|one| one * power).find(|step| *step >= raw);
        let step = step.unwrap_or(raw);
        let count = (high / step).floor() as usize;
        let ticks = (0..=count).map(|place| place as f64 * step).map(|tick| (tick, say(tick))).collect();
        Self { scale: Scale::Linear, low: 0.0, high, label: label.to_owned(), ticks }
    }

    /// Around the `values` that are over zero. `None` if there are none.
    pub(crate) fn log(
        label: &str,
        values: impl Iterator<Item = f64>,
        say: fn(f64) -> String,
    ) -> Option<Self> {
        let is_fine = |value: &f64| *value > 0.0 && value.is_finite();
        let (low, high) = values
            .filter(is_fine)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        if high <= 0.0 {
            return None;
        }
        // Never so near that hardly a tick is inside.
        let room = (2.5 / (high / low)).max(1.0).sqrt() * 1.08;
        let (low, high) = (low / room, high * room);
        let ticks = ticks(low, high).into_iter().map(|tick| (tick, say(tick))).collect();
        Some(Self { scale: Scale::Log, low, high, label: label.to_owned(), ticks })
    }

    /// Shares of requests from none to 0.9999.
    pub(crate) fn nines(label: &str) -> Self {
        let ticks = [0.0_f64, 0.5, 0.9, 0.99, 0.999, 0.9999].iter();
        // The first has a line only: on a telephone it would take the place of the median's name.
        let name = |share: f64| {
            if share > 0.0 { format!("p{}", (share * 1e6).round() / 1e4) } else { String::new() }
        };
        let ticks = ticks.map(|share| (*share, name(*share))).collect();
        Self { scale: Scale::Nines, low: 0.0, high: 0.9999, label: label.to_owned(), ticks }
    }

    /// Shares from 0 to 1.
    pub(crate) fn shares(label: &str) -> Self {
        let ticks = [0.0, 0.25, 0.5, 0.75, 1.0].map(|share| (share, format!("{} %", share * 100.0)));
        Self { scale: Scale::Linear, low: 0.0, high: 1.0, label: label.to_owned(), ticks: ticks.into() }
    }

    /// Whole numbers from `first` to `last`, with half a place on both sides, named by `say`.
    pub(crate) fn places(label: &str, first: usize, last: usize, say: impl Fn(usize) -> String) -> Self {
        let ticks = (first..=last).map(|place| (place as f64, say(place))).collect();
        let (low, high) = (first as f64 - 0.5, last as f64 + 0.5);
        Self { scale: Scale::Linear, low, high, label: label.to_owned(), ticks }
    }

    /// Where a value lies, from 0 to 1; what is outside lies at the end.
    fn share(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
            Scale::Nines => (1.0 - value.min(self.high)).ln() / (1.0 - self.high).ln(),
        };
        // Zero on a logarithmic axis is no number.
        if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
    }
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Full,
    Dashed,
    Dotted,
}

/// Two axes and what is between them.
pub(crate) struct Frame<'a, 'b> {
    area: &'a Area<'b>,
    x: &'a Axis,
    y: Option<&'a Axis>,
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl<'a, 'b> Frame<'a, 'b> {
    /// Draws the axes. Without one upwards, the frame is as high as the area, for rows.
    ///
    /// # Errors
    /// Plotters cannot.
    pub(crate) fn new(area: &'a Area<'b>, x: &'a Axis, y: Option<&'a Axis>) -> Result<Self, Failure> {
        let (width, height) = area.dim_in_pixel();
        let widest = y.map_or(0, |y| y.ticks.iter().map(|(_, text)| width_of(text)).max().unwrap_or(0) + 8);
        let top = if y.is_some() { 32 } else { 8 };
        let frame =
            Self { area, x, y, left: widest + 6, right: width as i32 - 16, top, bottom: height as i32 - 46 };
        frame.axes()?;
        Ok(frame)
    }

    fn axes(&self) -> Result<(), Failure> {
        let (area, left, right, top, bottom) = (self.area, self.left, self.right, self.top, self.bottom);
        let mut free = 0;
        for (value, text) in self.x.ticks.iter().step_by(self.every()) {
            let (x, half) = (self.across(*value), width_of(text) / 2);
            area.draw(&PathElement::new([(x, top), (x, bottom)], FAINT.stroke_width(1)))?;
            // A label stays inside and away from the one before it.
            let middle = x.clamp(half, right + 16 - half);
            if !text.is_empty() && (middle - x).abs() <= 14 && middle - half >= free {
                write(area, text, (middle, bottom + 9), HPos::Center, VPos::Top)?;
                free = middle + half + 8;
            }
        }
        write(area, &self.x.label, (right, bottom + 28), HPos::Right, VPos::Top)?;
        let mut free = i32::MAX;
        for (value, text) in self.y.iter().flat_map(|y| &y.ticks) {
            let y = self.up(*value);
            area.draw(&PathElement::new([(left, y), (right, y)], FAINT.stroke_width(1)))?;
            if y + 8 <= free {
                write(area, text, (left - 8, y), HPos::Right, VPos::Center)?;
                free = y - 8;
            }
        }
        if let Some(y) = self.y {
            write(area, &y.label, (2, 3), HPos::Left, VPos::Top)?;
        }
        area.draw(&PathElement::new([(left, bottom), (right, bottom)], INK.stroke_width(1)))?;
        Ok(())
    }

    /// Which ticks of the x axis are shown: on one that counts from zero they stay as far from each other.
    fn every(&self) -> usize {
        let [(one, _), (other, _), ..] = &self.x.ticks[..] else { return 1 };
        if self.x.scale != Scale::Linear || self.x.low != 0.0 {
            return 1;
        }
        let widest = self.x.ticks.iter().map(|(_, text)| width_of(text)).max().unwrap_or(0) + 8;
        let apart = (self.across(*other) - self.across(*one)).max(1);
        (widest as usize).div_ceil(apart as usize)
    }

    /// Where a value lies from left to right.
    pub(crate) fn across(&self, value: f64) -> i32 {
        self.left + (self.x.share(value) * f64::from(self.right - self.left)).round() as i32
    }

    fn up(&self, value: f64) -> i32 {
        let share = self.y.map_or(0.0, |y| y.share(value));
        self.bottom - (share * f64::from(self.bottom - self.top)).round() as i32
    }

    fn at(&self, (x, y): (f64, f64)) -> (i32, i32) {
        (self.across(x), self.up(y))
    }

    /// A line through points in the order of the x axis.
    pub(crate) fn line(&self, points: &[(f64, f64)], color: RGBColor, line: Line) -> Result<(), Failure> {
        let mut points: Vec<(i32, i32)> = points.iter().map(|point| self.at(*point)).collect();
        points.dedup();
        let style = color.stroke_width(2);
        match line {
            Line::Full => self.area.draw(&PathElement::new(points, style))?,
            Line::Dashed => self.area.draw(&DashedPathElement::new(points, 7, 4, style))?,
            Line::Dotted => self.area.draw(&DashedPathElement::new(points, 2, 4, style))?,
        }
        Ok(())
    }

    /// Small dots that let what is behind them through.
    pub(crate) fn cloud(&self, points: &[(f64, f64)], color: RGBColor) -> Result<(), Failure> {
        for point in points {
            self.area.draw(&Circle::new(self.at(*point), 2, color.mix(0.35).filled()))?;
        }
        Ok(())
    }

    /// The mark of a subject, moved aside by so much.
    pub(crate) fn mark(&self, point: (f64, f64), aside: i32, place: usize) -> Result<(), Failure> {
        let (x, y) = self.at(point);
        mark(self.area, (x + aside, y), place, hue(place))
    }

    /// A line upwards from one value to another.
    pub(crate) fn whisker(
        &self,
        x: f64,
        (low, high): (f64, f64),
        aside: i32,
        color: RGBColor,
    ) -> Result<(), Failure> {
        let (x, low, high) = (self.across(x) + aside, self.up(low), self.up(high));
        Ok(self.area.draw(&PathElement::new([(x, low), (x, high)], color.stroke_width(2)))?)
    }

    /// A cross over the upper edge: something had no value.
    pub(crate) fn failure(&self, x: f64, aside: i32, color: RGBColor) -> Result<(), Failure> {
        let place = (self.across(x) + aside, self.top - 7);
        Ok(self.area.draw(&Cross::new(place, 5, color.stroke_width(3)))?)
    }

    /// A ring in place of a mark.
    pub(crate) fn ring(&self, point: (f64, f64), color: RGBColor) -> Result<(), Failure> {
        Ok(self.area.draw(&Circle::new(self.at(point), 6, color.stroke_width(2)))?)
    }

    /// A cross in place of a mark: what is there is not good.
    pub(crate) fn cross(&self, point: (f64, f64), aside: i32, color: RGBColor) -> Result<(), Failure> {
        let (x, y) = self.at(point);
        Ok(self.area.draw(&Cross::new((x + aside, y), 5, color.stroke_width(3)))?)
    }
}

/// The mark of a subject: its hue, and a shape for those who do not see it.
pub(crate) fn mark(
    area: &Area<'_>,
    (x, y): (i32, i32),
    shape: usize,
    color: RGBColor,
) -> Result<(), Failure> {
    let corners: Vec<(i32, i32)> = corners(shape, f64::from(x), f64::from(y), 5.5)
        .into_iter()
        .map(|(x, y)| (x.round() as i32, y.round() as i32))
        .collect();
    Ok(area.draw(&Polygon::new(corners, color.filled()))?)
}

/// Disc, square, triangle, diamond, upside-down triangle, in turn.
fn corners(shape: usize, x: f64, y: f64, size: f64) -> Vec<(f64, f64)> {
    // First corner, and how many: the larger the fewer, so that all look alike in size.
    let (turn, count, size) = match shape % 5 {
        0 => (0.0, 16, size),
        1 => (0.125, 4, size * 1.2),
        2 => (0.75, 3, size * 1.3),
        3 => (0.0, 4, size * 1.25),
        _ => (0.25, 3, size * 1.3),
    };
    (0..count)
        .map(|corner| {
            let angle = (turn + f64::from(corner) / f64::from(count)) * std::f64::consts::TAU;
            (x + size * angle.cos(), y + size * angle.sin())
        })
        .collect()
}

/// Round numbers between two others, in steps of 1, 2, 5, as few as are needed.
pub(crate) fn ticks(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] = match high / low {
        near if near < 8.0 => &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
        far if far < 3000.0 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(0.35, 1.2), [0.4, 0.5, 0.6, 0.8, 1.0]);
        assert_eq!(ticks(40.0, 3000.0), [50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0]);
    }

    #[test]
    fn each_nine_is_as_wide_as_the_one_before() {
        let axis = Axis::nines("share");
        let widths: Vec<f64> = [0.0, 0.9, 0.99, 0.999, 0.9999]
            .windows(2)
            .map(|pair| axis.share(pair[1]) - axis.share(pair[0]))
            .collect();
        assert!(widths.iter().all(|width| (width - 0.25).abs() < 1e-9), "{widths:?}");
        let names: Vec<&str> = axis.ticks.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["", "p50", "p90", "p99", "p99.9", "p99.99"]);
    }

    #[test]
    fn what_is_outside_an_axis_lies_at_its_end() {
        let axis = Axis::log("us", [10.0, 1000.0].into_iter(), |value| value.to_string()).unwrap();
        assert_eq!((axis.share(0.0), axis.share(1e9), axis.share(f64::NAN)), (0.0, 1.0, 0.0));
        assert!(Axis::log("us", [0.0].into_iter(), |value| value.to_string()).is_none());
    }

    #[test]
    fn a_long_name_is_cut_to_what_fits() {
        assert_eq!(fitted("direct", 100), "direct");
        let cut = fitted(&"long ".repeat(40), 100);
        assert!(cut.ends_with('…') && width_of(&cut) <= 100, "{cut}");
    }
}
