//! Our standard output: lines wait to leave together while requests are in flight, and never longer.
//!
//! A write for every line is a quarter of what a small request costs, into a pipe
//! more. So a request's line may wait for others, but the platform may freeze
//! the instance as soon as none is in flight, right behind the last byte of the
//! last answer. Hence the rule: whoever ends and leaves another in flight may leave
//! its line behind as well; whoever is the last writes all of them first, its own
//! included, and only then lets its last byte go. A thread that is about to sleep
//! writes them too, so they wait for as long as a thread is busy with what came at
//! once, not for the next request.
//!
//! Order is the order of the calls, from any thread; a line is never split between
//! two writes that another process could come between.
//!
//! Where this cannot know better: a client that has left unnoticed counts as in
//! flight, and its platform may freeze us some microseconds before the thread sleeps.

use std::io::{self, Write as _};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::tally::{self, Count};
use crate::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard};

/// What a pipe takes whole or not at all, whoever else writes into it (`PIPE_BUF`): some twenty lines.
const TOGETHER: usize = 4 << 10;

/// The process's own.
static STDOUT: Outlet<fn(&[u8])> = Outlet::new(write);

fn write(lines: &[u8]) {
    // A log that cannot be written must not fail a request.
    if io::stdout().lock().write_all(lines).is_err() {
        tally::add(Count::LineLost, lines.iter().filter(|byte| **byte == b'\n').count() as u64);
    }
}

/// Writes the lines that wait, if any do. For whoever is about to sleep, or to end.
pub fn flush() {
    STDOUT.flush();
}

/// Writes the lines that wait and keeps others from writing until it is dropped.
pub fn alone() -> impl Drop {
    STDOUT.alone()
}

/// Writes `lines`, and what waits before them, at once.
pub(super) fn at_once(lines: &[u8]) {
    STDOUT.at_once(lines);
}

/// A request in flight whose line is still to come. Dropped, it leaves without one.
#[derive(Debug)]
pub(super) struct Due(());

impl Due {
    /// A request has begun.
    pub(super) fn begin() -> Self {
        STDOUT.begin();
        Self(())
    }

    /// It ends with these lines, if any: now if `now` or nobody else is in flight, else soon.
    pub(super) fn end(self, lines: &[u8], now: bool) {
        std::mem::forget(self);
        STDOUT.end(lines, now);
    }
}

impl Drop for Due {
    fn drop(&mut self) {
        STDOUT.end(b"", false);
    }
}

/// Somewhere to write to, and what waits for it.
#[derive(Debug)]
pub(crate) struct Outlet<W> {
    write: W,
    /// Requests in flight.
    due: AtomicUsize,
    /// Whether any line was put in and its write has not returned. Changed under the lock.
    waits: AtomicBool,
    lines: Mutex<Vec<u8>>,
}

impl<W: Fn(&[u8])> Outlet<W> {
    pub(crate) const fn new(write: W) -> Self {
        Self { write, due: AtomicUsize::new(0), waits: AtomicBool::new(false), lines: Mutex::new(Vec::new()) }
    }

    pub(crate) fn begin(&self) {
        self.due.fetch_add(1, Ordering::SeqCst);
    }

    /// Before the last byte of the answer leaves.
    pub(crate) fn end(&self, new: &[u8], now: bool) {
        if new.is_empty() {
            // Others may have relied on this one.
            if self.leave() || now {
                self.flush();
            }
            return;
        }
        let mut lines = self.lock();
        self.put(&mut lines, new);
        if self.leave() || now {
            self.write(&mut lines);
        }
    }

    /// Whether it was the last one. Behind its own line: whoever is the last finds those of all others.
    fn leave(&self) -> bool {
        let before = self.due.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a request ended twice");
        before == 1
    }

    pub(crate) fn flush(&self) {
        if self.waits.load(Ordering::SeqCst) {
            drop(self.alone());
        }
    }

    fn at_once(&self, new: &[u8]) {
        let mut lines = self.lock();
        self.put(&mut lines, new);
        self.write(&mut lines);
    }

    fn alone(&self) -> MutexGuard<'_, Vec<u8>> {
        let mut lines = self.lock();
        self.write(&mut lines);
        lines
    }

    fn put(&self, lines: &mut Vec<u8>, new: &[u8]) {
        if lines.len() + new.len() > TOGETHER {
            self.write(lines);
        }
        if new.len() > TOGETHER {
            (self.write)(new);
            return;
        }
        if lines.is_empty() {
            lines.reserve_exact(TOGETHER);
            self.waits.store(true, Ordering::SeqCst);
        }
        lines.extend_from_slice(new);
    }

    /// Held by the lock while it writes: whoever asks meanwhile whether anything waits comes to wait as well.
    fn write(&self, lines: &mut Vec<u8>) {
        if !lines.is_empty() {
            (self.write)(lines);
            lines.clear();
            self.waits.store(false, Ordering::SeqCst);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    type Recorded<'a> = Outlet<&'a dyn Fn(&[u8])>;

    /// What `steps`, told how many writes there were so far, makes of an outlet: one text per write.
    fn writes(steps: impl FnOnce(&Recorded<'_>, &dyn Fn() -> usize)) -> Vec<String> {
        let written = RefCell::new(Vec::new());
        let write = |bytes: &[u8]| written.borrow_mut().push(String::from_utf8(bytes.to_vec()).unwrap());
        let outlet: Recorded<'_> = Outlet::new(&write);
        steps(&outlet, &|| written.borrow().len());
        drop(outlet);
        written.into_inner()
    }

    #[test]
    fn the_last_one_in_flight_writes_everything_before_it_goes() {
        let written = writes(|outlet, _| {
            (0..3).for_each(|_| outlet.begin());
            outlet.end(b"one\n", false);
            outlet.end(b"two\n", false);
            outlet.end(b"three\n", false);
            outlet.begin();
            outlet.end(b"alone\n", false);
        });
        assert_eq!(written, ["one\ntwo\nthree\n", "alone\n"]);
    }

    #[test]
    fn one_that_leaves_without_a_line_writes_those_that_relied_on_it() {
        let written = writes(|outlet, count| {
            (0..2).for_each(|_| outlet.begin());
            outlet.end(b"one\n", false);
            outlet.end(b"", false);
            assert_eq!(count(), 1);
        });
        assert_eq!(written, ["one\n"]);
    }

    #[test]
    fn whoever_is_in_haste_sleeps_or_writes_something_else_takes_along_what_waits_before_it() {
        let written = writes(|outlet, count| {
            (0..9).for_each(|_| outlet.begin());
            outlet.end(b"one\n", false);
            outlet.end(b"two\n", true);
            outlet.end(b"three\n", false);
            outlet.at_once(b"four\n");
            outlet.end(b"five\n", false);
            outlet.flush();
            outlet.flush();
            outlet.end(b"six\n", false);
            drop(outlet.alone());
            assert_eq!(count(), 4);
        });
        assert_eq!(written, ["one\ntwo\n", "three\nfour\n", "five\n", "six\n"]);
    }

    #[test]
    fn no_line_is_split_and_none_waits_beside_one_that_does_not_fit() {
        let (line, long) = ("x".repeat(1499) + "\n", "y".repeat(2 * TOGETHER) + "\n");
        let written = writes(|outlet, _| {
            (0..9).for_each(|_| outlet.begin());
            (0..3).for_each(|_| outlet.end(line.as_bytes(), false));
            outlet.end(long.as_bytes(), false);
            outlet.end(b"last\n", true);
        });
        assert_eq!(written, [line.repeat(2), line, long, "last\n".to_owned()]);
    }
}
