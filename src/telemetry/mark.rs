//! The platform's markers on stdout: undated, since it looks for them as whole lines.

use std::fmt;
use std::io::Write as _;

use super::{line, stdout};

/// Writes one line, its end included, at once: the platform and the reader of the log go by its place.
pub fn write(marker: impl fmt::Display) {
    // Writing to a vector cannot fail.
    line::with_lines(|line| drop(write!(line, "{marker}")), stdout::at_once);
}
