//! Periods and sizes, read and written the way people say them.
//!
//! A number without its unit is refused: `30` has meant seconds, milliseconds and
//! minutes in three tools on the same host. Only a whole number of bytes may stand
//! alone, because there is nothing else it could mean.

use std::time::Duration;

use bytesize::ByteSize;

/// Why a text is no period or no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUnit {
    /// A number alone.
    #[error("has no unit")]
    Missing,
    /// Not a number with a known unit.
    #[error("is not a number with a unit")]
    Unreadable,
}

/// Reads `1500ms`, `30s`, `2m`, `1h 30m`.
///
/// # Errors
/// [`BadUnit::Missing`] for a bare number, zero included; [`BadUnit::Unreadable`] for anything else.
pub fn period(text: &str) -> Result<Duration, BadUnit> {
    if is_bare_number(text) {
        return Err(BadUnit::Missing);
    }
    humantime::parse_duration(text.trim()).map_err(|_| BadUnit::Unreadable)
}

/// Reads `64KiB` (1024), `64kB` (1000), `1.5MiB`, `10B` as bytes.
///
/// # Errors
/// [`BadUnit::Missing`] for a bare number, [`BadUnit::Unreadable`] for anything else.
pub fn size(text: &str) -> Result<u64, BadUnit> {
    if is_bare_number(text) {
        return Err(BadUnit::Missing);
    }
    text.trim().parse::<ByteSize>().map(|size| size.as_u64()).map_err(|_| BadUnit::Unreadable)
}

/// Writes a period so that [`period`] reads the same back; `110s` stays `110s`.
#[must_use]
pub fn period_text(period: Duration) -> String {
    if period.subsec_nanos() == 0 && period < Duration::from_secs(600) {
        return format!("{}s", period.as_secs());
    }
    humantime::format_duration(period).to_string()
}

/// Writes bytes exactly, in the largest binary unit that divides them.
#[must_use]
pub fn size_text(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

fn is_bare_number(text: &str) -> bool {
    let text = text.trim();
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-' | b'+'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_period_needs_its_unit() {
        for text in ["30", "0", "1.5", " 7 ", "-1", "1_000"] {
            assert_eq!(period(text), Err(BadUnit::Missing), "{text}");
        }
        for text in ["", "s", "30 parsecs", "-1s", "ten seconds", "NaN", "99999999999999999999s"] {
            assert_eq!(period(text), Err(BadUnit::Unreadable), "{text}");
        }
    }

    #[test]
    fn a_period_is_read_as_people_write_it() {
        for (text, millis) in
            [("1500ms", 1500), ("30s", 30_000), ("2m", 120_000), ("1h 30m", 5_400_000), ("0s", 0)]
        {
            assert_eq!(period(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_size_is_read_in_binary_and_decimal_units() {
        for (text, bytes) in [
            ("64KiB", 65_536),
            ("64 KiB", 65_536),
            ("64kB", 64_000),
            ("1.5MiB", 1_572_864),
            ("10B", 10),
            ("1GiB", 1 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["1.5", "64", "0"] {
            assert_eq!(size(text), Err(BadUnit::Missing), "{text}");
        }
        for text in ["", "KiB", "12 parsecs", "-5KiB", "1..5MiB"] {
            assert_eq!(size(text), Err(BadUnit::Unreadable), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_size_reads_back_the_same(bytes in 0_u64..1 << 50) {
            prop_assert_eq!(size(&size_text(bytes)), Ok(bytes));
        }

        #[test]
        fn a_written_period_reads_back_the_same(millis in 0_u64..86_400_000) {
            let value = Duration::from_millis(millis);
            prop_assert_eq!(period(&period_text(value)), Ok(value));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in ".*") {
            let _ = (period(&text), size(&text));
        }
    }
}
