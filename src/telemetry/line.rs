//! Lines for stdout, put together in a buffer that each thread keeps: a line costs no allocation.
//!
//! What every request writes goes in as bytes, without the machinery of `fmt`.

use std::cell::RefCell;
use std::time::Duration;

thread_local! {
    static LINE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a thread keeps of a line that was longer.
const KEPT: usize = 4 << 10;

/// Hands to `take` what `fill` makes of an empty buffer: whole lines, their ends included.
pub(super) fn with_lines(fill: impl FnOnce(&mut Vec<u8>), take: impl FnOnce(&[u8])) {
    LINE.with_borrow_mut(|line| {
        line.clear();
        fill(line);
        take(line);
        if line.capacity() > KEPT {
            line.clear();
            line.shrink_to(KEPT);
        }
    });
}

/// Appends `value` in decimal digits.
pub(super) fn push_number(line: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    line.extend_from_slice(&digits[at..]);
}

/// Appends `period` in milliseconds with three decimals, rounded: `1.500`.
pub(super) fn push_ms(line: &mut Vec<u8>, period: Duration) {
    let micros = period.as_secs().saturating_mul(1_000_000) + u64::from((period.subsec_nanos() + 500) / 1000);
    push_number(line, micros / 1000);
    line.push(b'.');
    push_three(line, micros % 1000);
}

/// Appends `value`, which is below 1000, as three digits.
pub(super) fn push_three(line: &mut Vec<u8>, value: u64) {
    let digit = |value: u64| b'0' + (value % 10) as u8;
    line.extend_from_slice(&[digit(value / 100), digit(value / 10), digit(value)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut line = Vec::new();
        push(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn numbers_are_those_that_fmt_writes() {
        for value in [0, 7, 10, 99, 100, 12_345, u64::MAX] {
            assert_eq!(text(|line| push_number(line, value)), value.to_string());
        }
        for (nanos, shown) in [
            (0, "0.000"),
            (499, "0.000"),
            (500, "0.001"),
            (1_500_000, "1.500"),
            (61_000_049_400, "61000.049"),
        ] {
            assert_eq!(text(|line| push_ms(line, Duration::from_nanos(nanos))), shown);
        }
    }
}
