//! Messages for people: one dated line each, on stderr.

use std::cell::Cell;
use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::line::push_three;
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

/// Writes an entry that has its date, and its line end, to stderr.
pub fn entry(entry: &[u8]) {
    // Nobody can be told that stderr is gone.
    let _ = std::io::stderr().lock().write_all(entry);
}

/// Now as `2026-11-20T15:11:00.123Z`.
pub fn utc_now() -> impl fmt::Display {
    humantime::format_rfc3339_millis(SystemTime::now())
}

/// A second, and how it is written up to its last digit: `2026-11-20T15:11:00`.
#[derive(Clone, Copy)]
struct Second {
    unix: u64,
    text: [u8; 19],
}

thread_local! {
    static SECOND: Cell<Option<Second>> = const { Cell::new(None) };
}

/// Appends what [`utc_now`] shows. A thread works the date out once a second; lines of requests are many.
pub(super) fn push_utc_now(line: &mut Vec<u8>) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix = since.as_secs();
    let second = SECOND.get().filter(|second| second.unix == unix).unwrap_or_else(|| {
        let mut second = Second { unix, text: *b"1970-01-01T00:00:00" };
        let date = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(unix));
        // Longer by its `Z`, which does not fit and is written below.
        let _ = write!(&mut second.text[..], "{date}");
        SECOND.set(Some(second));
        second
    });
    line.extend_from_slice(&second.text);
    line.push(b'.');
    push_three(line, u64::from(since.subsec_millis()));
    line.push(b'Z');
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_the_date_show_the_same() {
        let mut line = Vec::new();
        // Another millisecond may begin in between, seldom.
        for _ in 0..1000 {
            line.clear();
            let before = utc_now().to_string();
            push_utc_now(&mut line);
            if before == utc_now().to_string() {
                return assert_eq!(String::from_utf8(line).unwrap(), before);
            }
        }
        panic!("no two dates in a row were the same");
    }
}
