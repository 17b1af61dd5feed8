//! How far a measurement has come, on stderr: a bar on a terminal, a line now and then elsewhere.
//!
//! Results go to stdout; nothing here does.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::study::figures::period;

/// Where nobody watches a bar move, a line as often as this.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Steps of a measurement, one after another. Dropping it takes the bar away.
#[derive(Debug)]
pub(crate) struct Progress {
    pace: Mutex<Pace>,
    /// `None` where stderr is no terminal.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// As many steps as are to be done; the first has not begun.
    pub(crate) fn new(total: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let style =
                ProgressStyle::with_template("{bar:24} {msg}").expect("invariant: a template that was tried");
            bar.with_style(style)
        });
        Self { pace: Mutex::new(Pace::new(total, Instant::now())), bar }
    }

    /// The next step begins, and the one before it is done. `what` is a few words.
    pub(crate) fn step(&self, what: &str) {
        let (line, is_due) = self.pace().step(what, Instant::now());
        match &self.bar {
            Some(bar) => {
                bar.set_position(self.pace().done());
                bar.set_message(line);
            }
            None if is_due => say(&line),
            None => {}
        }
    }

    /// A line that stays, whatever the bar does.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(line)),
            None => say(line),
        }
    }

    /// All is done, or nothing more will be: takes the bar away and says how much was done in which time.
    pub(crate) fn finish(self) {
        let line = self.pace().end(Instant::now());
        self.say(&line);
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line on stderr.
pub(crate) fn say(line: &str) {
    // Nobody listening is no reason to stop measuring.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// What is known of the steps, and when it was said last. Pure.
#[derive(Debug)]
struct Pace {
    total: u64,
    begun: u64,
    began: Instant,
    said: Option<Instant>,
}

impl Pace {
    fn new(total: u64, now: Instant) -> Self {
        Self { total, begun: 0, began: now, said: None }
    }

    fn done(&self) -> u64 {
        self.begun.saturating_sub(1)
    }

    /// The line of the step that begins, and whether it is time to say one.
    fn step(&mut self, what: &str, now: Instant) -> (String, bool) {
        self.begun += 1;
        let is_due = self.said.is_none_or(|said| now.duration_since(said) >= LINE_EVERY);
        if is_due {
            self.said = Some(now);
        }
        let left = match self.done() {
            0 => String::new(),
            done => {
                let each = now.duration_since(self.began).as_secs_f64() / done as f64;
                format!(", about {} left", said(each * self.total.saturating_sub(done) as f64))
            }
        };
        (format!("{}/{} {what}{left}", self.begun, self.total.max(self.begun)), is_due)
    }

    fn end(&self, now: Instant) -> String {
        let took = said(now.duration_since(self.began).as_secs_f64());
        format!("{} of {} steps in {took}", self.begun, self.total.max(self.begun))
    }
}

fn said(seconds: f64) -> String {
    if seconds < 60.0 {
        return period(seconds * 1e6);
    }
    humantime::format_duration(Duration::from_secs(seconds as u64)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_the_steps_that_are_done() {
        let began = Instant::now();
        let mut pace = Pace::new(4, began);
        let second = |seconds: u64| began + Duration::from_secs(seconds);
        assert_eq!(pace.step("direct", began), ("1/4 direct".into(), true));
        assert_eq!(pace.step("warmfront", second(40)), ("2/4 warmfront, about 2m left".into(), true));
        assert_eq!(pace.step("direct", second(60)).0, "3/4 direct, about 1m left");
        assert_eq!(pace.end(second(75)), "3 of 4 steps in 1m 15s");
    }

    #[test]
    fn a_line_comes_at_once_and_then_only_now_and_then() {
        let began = Instant::now();
        let mut pace = Pace::new(100, began);
        let said: Vec<bool> =
            (0..12).map(|second| pace.step("round", began + Duration::from_secs(second)).1).collect();
        assert_eq!(
            said.iter().enumerate().filter(|(_, said)| **said).map(|(at, _)| at).collect::<Vec<_>>(),
            [0, 5, 10]
        );
    }

    #[test]
    fn more_steps_than_were_announced_are_no_overflow() {
        let now = Instant::now();
        let mut pace = Pace::new(1, now);
        pace.step("one", now);
        assert_eq!(pace.step("two", now).0, "2/2 two, about 0 left");
    }
}
