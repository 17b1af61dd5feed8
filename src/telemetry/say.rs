//! Messages for people: one dated line each, on stderr.

use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use crate::clock;

/// How much a message matters to an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The process changed phase.
    Info,
    /// Something failed and was recovered.
    Warn,
    /// An operator must act.
    Error,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// What is worth saying, but not each time it happens.
#[derive(Debug)]
pub struct Seldom {
    pause: Duration,
    said: Option<Instant>,
}

impl Seldom {
    /// Once in `pause` at most.
    pub fn every(pause: Duration) -> Self {
        Self { pause, said: None }
    }

    /// [`warn`], unless that was done a short while ago.
    pub fn warn(&mut self, message: impl fmt::Display) {
        let now = clock::now();
        if self.said.is_none_or(|at| now.saturating_duration_since(at) >= self.pause) {
            self.said = Some(now);
            warn(message);
        }
    }
}

/// Writes one line (inner line breaks are kept, indented) to stderr.
pub fn say(level: Level, message: impl fmt::Display) {
    let line = format!("{} [{}] {message}\n", utc_now(), level.word());
    // Nobody can be told that stderr is gone.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Now as `2026-11-20T15:11:00.123Z`.
pub fn utc_now() -> impl fmt::Display {
    humantime::format_rfc3339_millis(SystemTime::now())
}

/// [`say`] at [`Level::Info`].
pub fn info(message: impl fmt::Display) {
    say(Level::Info, message);
}

/// [`say`] at [`Level::Warn`].
pub fn warn(message: impl fmt::Display) {
    say(Level::Warn, message);
}

/// [`say`] at [`Level::Error`].
pub fn error(message: impl fmt::Display) {
    say(Level::Error, message);
}
