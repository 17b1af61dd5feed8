//! Numbers as people read them: short, with their unit. Pure.

use std::time::Duration;

/// `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `12 KiB`, `45.2 MiB`, `1.5 GiB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let (mut value, mut unit) = (number as f64 / 1024.0, 0);
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", short(value), UNITS[unit])
}

/// An age in its two largest units: `4s`, `2m 5s`, `3d 4h`.
#[must_use]
pub fn age(period: Duration) -> String {
    let secs = period.as_secs();
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m {}s", secs / 60, secs % 60),
        3600..86400 => format!("{}h {}m", secs / 3600, secs % 3600 / 60),
        _ => format!("{}d {}h", secs / 86400, secs % 86400 / 3600),
    }
}

/// A latency with two or three digits: `80 µs`, `1.25 ms`, `2.5 s`.
#[must_use]
pub fn latency(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{} ms", short(us as f64 / 1e3)),
        _ => format!("{} s", short(us as f64 / 1e6)),
    }
}

/// Three digits, or all before the point: `0.35`, `13.3`, `400`.
#[must_use]
pub fn short(value: f64) -> String {
    let digits = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `1 worker`, `2 workers`.
#[must_use]
pub fn many(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// `0.4/s`, `1,234/s`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    // A rate is finite and not negative; the sum of what a process counted fits.
    if per_second > 0.0 && per_second < 9.95 {
        format!("{per_second:.1}/s")
    } else {
        format!("{}/s", count(per_second.round() as u64))
    }
}

/// Of 1, as `12 %`.
#[must_use]
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_have_their_unit() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0, 1023, 1024, 100 << 10, 1_048_000, 47 << 20, 3 << 40].map(bytes),
            ["0 B", "1023 B", "1 KiB", "100 KiB", "1023 KiB", "47 MiB", "3 TiB"]
        );
        assert_eq!(
            [5, 65, 3700, 90_000].map(|secs| age(Duration::from_secs(secs))),
            ["5s", "1m 5s", "1h 1m", "1d 1h"]
        );
        assert_eq!(
            [80, 1250, 10_000, 12_345, 999_999, 2_500_000, 30_000_000].map(latency),
            ["80 µs", "1.25 ms", "10 ms", "12.3 ms", "1000 ms", "2.5 s", "30 s"]
        );
        assert_eq!([0.0, 0.42, 12.4, 1234.0].map(rate), ["0/s", "0.4/s", "12/s", "1,234/s"]);
        assert_eq!(percent(0.125), "12 %");
        assert_eq!([0.35, 13.33, 7.0, 400.4].map(short), ["0.35", "13.3", "7", "400"]);
        assert_eq!(
            [0, 1, 1200].map(|number| many(number, "worker")),
            ["0 workers", "1 worker", "1,200 workers"]
        );
    }
}
