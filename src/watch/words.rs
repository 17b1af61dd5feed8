//! Numbers as people read them: short, with their unit. Pure.

use std::time::Duration;

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
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

/// `12 KiB`, `45.2 MiB`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    let (mut value, mut unit) = (number as f64 / 1024.0, 0);
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if value < 99.95 && unit > 0 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// An age in its two largest units: `4s`, `2m 5s`, `3d 4h`.
pub(super) fn age(period: Duration) -> String {
    let secs = period.as_secs();
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m {}s", secs / 60, secs % 60),
        3600..86400 => format!("{}h {}m", secs / 3600, secs % 3600 / 60),
        _ => format!("{}d {}h", secs / 86400, secs % 86400 / 3600),
    }
}

/// A latency with two or three digits: `80 µs`, `1.25 ms`, `2.5 s`.
pub(super) fn latency(us: u64) -> String {
    let digits = |value: f64| if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    let tidy = |value: f64| {
        let text = format!("{value:.*}", digits(value));
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{} ms", tidy(us as f64 / 1e3)),
        _ => format!("{} s", tidy(us as f64 / 1e6)),
    }
}

/// `0.4/s`, `1,234/s`.
#[cfg(feature = "top")]
pub(super) fn rate(per_second: f64) -> String {
    // A rate is finite and not negative; the sum of what a process counted fits.
    if per_second > 0.0 && per_second < 9.95 {
        format!("{per_second:.1}/s")
    } else {
        format!("{}/s", count(per_second.round() as u64))
    }
}

/// Of 1, as `12 %`.
#[cfg(feature = "top")]
pub(super) fn percent(share: f64) -> String {
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
            ["0 B", "1023 B", "1 KiB", "100 KiB", "1023 KiB", "47.0 MiB", "3.0 TiB"]
        );
        assert_eq!(
            [5, 65, 3700, 90_000].map(|secs| age(Duration::from_secs(secs))),
            ["5s", "1m 5s", "1h 1m", "1d 1h"]
        );
        assert_eq!(
            [80, 1250, 10_000, 12_345, 999_999, 2_500_000, 30_000_000].map(latency),
            ["80 µs", "1.25 ms", "10 ms", "12.3 ms", "1000 ms", "2.5 s", "30 s"]
        );
        #[cfg(feature = "top")]
        {
            assert_eq!([0.0, 0.42, 12.4, 1234.0].map(rate), ["0/s", "0.4/s", "12/s", "1,234/s"]);
            assert_eq!(percent(0.125), "12 %");
        }
    }
}
