//! What a person reads when something is wrong: what, why, how to fix, and where.
//!
//! Every message meant for the user goes through [`Problem`], so that none can
//! forget one of the parts. Errors between rooms are enums of those rooms.

use std::fmt;

/// One thing that a person has to know and can act upon.
///
/// Displayed as three lines at most:
/// ```text
/// configs/fc.toml:14: `workers.count = 0` would leave nobody to answer.
///   Each worker is one process; at least one must run.
///   Set 1 to 512, or remove the line for the default (2).
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was found: `file:line`, an environment variable, a flag.
    pub place: Option<String>,
    /// What is wrong, one sentence.
    pub what: String,
    /// Why that cannot work, one sentence; empty if `what` says it already.
    pub why: String,
    /// What to do about it, one sentence.
    pub fix: String,
}

impl Problem {
    /// A problem without a place.
    pub fn new(what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { place: None, what: what.into(), why: why.into(), fix: fix.into() }
    }

    /// The same problem, found at `place`.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.place = Some(place.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.what)?;
        for line in [&self.why, &self.fix] {
            if !line.is_empty() {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::Problem;

    #[test]
    fn a_problem_reads_as_place_what_why_fix() {
        let problem = Problem::new("`port = 0` is no port.", "FC dials a fixed port.", "Set 1 to 65535.");
        assert_eq!(
            problem.at("a.toml:3").to_string(),
            "a.toml:3: `port = 0` is no port.\n  FC dials a fixed port.\n  Set 1 to 65535."
        );
    }

    #[test]
    fn an_empty_part_leaves_no_blank_line() {
        assert_eq!(Problem::new("No.", "", "Do.").to_string(), "No.\n  Do.");
    }
}
