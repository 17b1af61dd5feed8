//! All processes of the instance: everything below us, since an orphan becomes our child.
//!
//! A session or a group would miss whoever left it. There is one instance at a time, and the emulator starts
//! nothing else, so every descendant is its.

use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

use crate::sys;

/// Between two looks at processes that are about to change.
const PAUSE: Duration = Duration::from_millis(1);
/// Looks until a process that does not die is given up: one that waits for a disk.
const LOOKS_MAX: u32 = 5000;

/// Looks until somebody who has been told to stop is believed to.
const STOP_LOOKS_MAX: u32 = 300;

/// One process as `/proc` shows it.
struct Process {
    pid: i32,
    parent: i32,
    state: char,
}

fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold spaces and parentheses; the last one ends it.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        Some(Process { pid, parent: fields.next()?.parse().ok()?, state })
    })
    .collect()
}

/// Everything below us, parents first; who has ended and was not reaped is there too.
fn below_us() -> Vec<Process> {
    let mut rest = processes();
    let mut found = Vec::new();
    let mut parents = BTreeSet::from([i32::try_from(std::process::id()).unwrap_or(i32::MAX)]);
    while !parents.is_empty() {
        let (children, others): (Vec<_>, Vec<_>) =
            rest.into_iter().partition(|process| parents.contains(&process.parent));
        parents = children.iter().map(|child| child.pid).collect();
        found.extend(children);
        rest = others;
    }
    found
}

/// The numbers of those that run or stand still, parents first.
pub(super) fn pids() -> Vec<i32> {
    living().iter().map(|process| process.pid).collect()
}

fn living() -> Vec<Process> {
    let mut found = below_us();
    found.retain(|process| process.state != 'Z');
    found
}

/// Sends SIGSTOP to all of them, those included that are born meanwhile, and returns when they stand still.
pub(super) fn stop() {
    let mut told = BTreeSet::new();
    for _ in 0..STOP_LOOKS_MAX {
        let found = living();
        let mut is_done = true;
        for process in &found {
            if told.insert(process.pid) {
                // Gone meanwhile.
                let _ = sys::signal(process.pid, sys::STOP);
                is_done = false;
            } else if !stands_still(process) {
                is_done = false;
            }
        }
        if is_done {
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// Whether a process that was told to stop runs no line of its program any more. One that waits inside the kernel
/// (`D`) stops before it comes back: a parent between fork and exec of a child does that, for as long as the child
/// is stopped.
fn stands_still(process: &Process) -> bool {
    matches!(process.state, 'T' | 't' | 'D')
}

/// Sends SIGCONT to all of them.
pub(super) fn go_on() {
    for pid in pids() {
        // Gone meanwhile.
        let _ = sys::signal(pid, sys::CONT);
    }
}

/// Kills all of them and returns when they are gone and reaped; false if one does not go. `thaw` is called
/// behind the first round: the frozen cannot die.
pub(super) fn kill(mut thaw: impl FnMut()) -> bool {
    for look in 0..LOOKS_MAX {
        for pid in pids() {
            let _ = sys::signal(pid, sys::KILL);
        }
        if look == 0 {
            thaw();
        }
        sys::reap_all(|_| ());
        // Who shows as ended may have threads that still hold its sockets; it can be reaped when they are gone.
        if below_us().is_empty() {
            return true;
        }
        thread::sleep(PAUSE);
    }
    false
}

/// The most memory that those who are there have used, in KB: the sum of their peaks.
pub(super) fn memory_kb() -> u64 {
    let peak = |pid: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    pids().into_iter().filter_map(peak).sum()
}

/// Nothing of the instance outlives this, a panic included.
#[derive(Debug)]
pub(super) struct Reaper;

impl Drop for Reaper {
    fn drop(&mut self) {
        kill(go_on);
    }
}
