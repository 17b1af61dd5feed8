//! The platform's markers on stdout: undated, since it looks for them as whole lines.

use std::fmt;
use std::io::Write as _;

use super::line;

/// Writes one line, its end included, in one write.
pub fn write(marker: impl fmt::Display) {
    // Writing to a vector cannot fail.
    line::to_stdout(|line| drop(write!(line, "{marker}")));
}
