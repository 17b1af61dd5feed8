//! Distributions and courses in a line of text, and that text where only ASCII can be read. Pure but for the locale.

use std::env;

/// Eighths of a line, lowest first.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same for terminals that know only ASCII.
const ASCII: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];
/// How many characters a distribution or a course has at most.
const WIDTH: usize = 24;

/// Where the values lie between the smallest and the largest: one character per class, as high as it is full.
/// Classes are as wide as their place is far from zero if the largest is ten times the smallest. Empty without values.
pub(crate) fn distribution(values: &[f64]) -> String {
    let (low, high) = ends(values);
    if values.is_empty() || high <= low {
        return if values.is_empty() { String::new() } else { BLOCKS[7].to_string() };
    }
    let is_wide = low > 0.0 && high / low >= 10.0;
    // Few values would leave most classes empty.
    let width = ((2.0 * (values.len() as f64).sqrt()).ceil() as usize).clamp(5, WIDTH);
    let place = |value: f64| {
        let share =
            if is_wide { (value / low).ln() / (high / low).ln() } else { (value - low) / (high - low) };
        ((share * width as f64) as usize).min(width - 1)
    };
    let mut counts = vec![0.0_f64; width];
    values.iter().for_each(|value| counts[place(*value)] += 1.0);
    let most = counts.iter().copied().fold(0.0, f64::max);
    // A class that is not empty is seen as such, whatever the others hold.
    let level =
        |count: f64| if count == 0.0 { ' ' } else { BLOCKS[((count / most * 7.0).ceil() as usize).min(7)] };
    counts.into_iter().map(level).collect()
}

/// The course of values over time: each character is the largest of its part. Height starts at zero.
pub(crate) fn course(values: &[f64]) -> String {
    let (_, high) = ends(values);
    let width = values.len().min(WIDTH);
    let part = |place: usize| &values[place * values.len() / width..(place + 1) * values.len() / width];
    let level = |value: f64| BLOCKS[((value / high.max(f64::MIN_POSITIVE) * 7.0).round() as usize).min(7)];
    (0..width).map(|place| level(ends(part(place)).1)).collect()
}

fn ends(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(*value), high.max(*value)))
}

/// The same text in ASCII.
pub(crate) fn in_ascii(text: &str) -> String {
    text.chars()
        .map(|letter| match (letter, BLOCKS.iter().position(|block| *block == letter)) {
            (_, Some(level)) => ASCII[level],
            ('–', _) => '-',
            ('×', _) => 'x',
            ('µ', _) => 'u',
            _ => letter,
        })
        .collect()
}

/// Whether the terminal reads UTF-8, by the variables that decide it, the first that is set.
pub(crate) fn locale_is_utf8() -> bool {
    is_utf8(["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(|name| env::var(name).ok()))
}

fn is_utf8(values: impl Iterator<Item = String>) -> bool {
    let chosen = values.filter(|value| !value.is_empty()).map(|value| value.to_ascii_lowercase()).next();
    chosen.is_some_and(|locale| locale.contains("utf-8") || locale.contains("utf8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_shows_where_values_lie_and_the_one_outlier() {
        let mut values = vec![10.0; 50];
        values.push(20.0);
        let text = distribution(&values);
        assert_eq!((text.chars().count(), text.chars().next()), (15, Some('█')));
        assert_eq!(text.chars().last(), Some('▂'), "{text}");
        assert_eq!(distribution(&[]), "");
        assert_eq!(distribution(&[5.0, 5.0]), "█");
    }

    #[test]
    fn a_wide_distribution_has_classes_of_orders_of_magnitude() {
        let values: Vec<f64> = (0..=4).map(|power| 10_f64.powi(power)).collect();
        let filled = distribution(&values).chars().filter(|letter| *letter != ' ').count();
        assert_eq!(filled, 5);
    }

    #[test]
    fn a_course_rises_with_its_values_and_keeps_its_peaks() {
        assert_eq!(course(&[0.0, 50.0, 100.0]), "▁▅█");
        let mut long = vec![1.0; 240];
        long[100] = 100.0;
        assert!(course(&long).contains('█'), "{}", course(&long));
        assert_eq!(course(&[]), "");
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let locale = |values: &[&str]| is_utf8(values.iter().map(|value| (*value).to_owned()));
        assert!(locale(&["en_GB.UTF-8"]) && locale(&["", "C.utf8"]));
        assert!(!locale(&["C", "en_GB.UTF-8"]) && !locale(&[]));
        assert_eq!(in_ascii("12 µs ▁█ –"), "12 us _# -");
    }
}
