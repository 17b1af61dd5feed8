//! Stops processes in the middle of whatever they do, as the platform does between requests.
//!
//! How the platform freezes is not known; two ways are at hand that look the same from
//! inside: all clocks jump, and timers and bytes that came due meanwhile are there at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::study;

/// How long processes may take to stand still.
const TIMEOUT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// Where freezers are, and their version; on machines with both, version 2 is below the first.
const HIERARCHIES: [(&str, Version); 3] = [
    ("/sys/fs/cgroup/freezer", Version::One),
    ("/sys/fs/cgroup/unified", Version::Two),
    ("/sys/fs/cgroup", Version::Two),
];

/// Processes that are frozen and thawed together; thawed on drop.
#[derive(Debug)]
pub(crate) struct Freezer {
    pids: Vec<u32>,
    /// The control group, if it is done by one.
    group: Option<Group>,
}

impl Freezer {
    /// For `pids` and, by a control group, all children that they will have.
    ///
    /// # Errors
    /// No control group with a freezer may be made here.
    pub(crate) fn new(by: study::Freezer, pids: Vec<u32>) -> Result<Self, String> {
        let group = match by {
            study::Freezer::Signal => None,
            study::Freezer::Cgroup => Some(Group::new(&pids)?),
        };
        Ok(Self { pids, group })
    }

    /// Returns when every thread stands still.
    ///
    /// # Errors
    /// One does not, or is gone.
    pub(crate) fn freeze(&self) -> io::Result<()> {
        match &self.group {
            Some(group) => group.set(true),
            None => {
                self.signal(Signal::STOP);
                await_that("every thread stands still", || self.pids.iter().all(|pid| is_stopped(*pid)))
            }
        }
    }

    /// Lets them go on; they may not have run yet when this returns.
    ///
    /// # Errors
    /// The control group is gone.
    pub(crate) fn thaw(&self) -> io::Result<()> {
        match &self.group {
            Some(group) => group.set(false),
            None => {
                self.signal(Signal::CONT);
                Ok(())
            }
        }
    }

    fn signal(&self, signal: Signal) {
        for pid in self.pids.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
            // One that is gone needs no signal.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Freezer {
    /// Nobody but us wakes them.
    fn drop(&mut self) {
        // Those that are gone need no waking.
        let _ = self.thaw();
    }
}

/// Whether all threads of the process are stopped, or it is gone.
fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().map(|thread| fs::read_to_string(thread.path().join("stat")).unwrap_or_default()).all(
        |stat| {
            // The name may hold spaces; the last parenthesis ends it.
            stat.rsplit_once(')').is_none_or(|(_, rest)| rest.starts_with(" T") || rest.starts_with(" Z"))
        },
    )
}

fn await_that(what: &str, mut holds: impl FnMut() -> bool) -> io::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while !holds() {
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("not within {TIMEOUT:?}: {what}")));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Version {
    One,
    Two,
}

/// A control group with a freezer of our own.
#[derive(Debug)]
struct Group {
    path: PathBuf,
    /// Where its processes were before.
    home: PathBuf,
    version: Version,
}

impl Group {
    fn new(pids: &[u32]) -> Result<Self, String> {
        let first = pids.first().copied().ok_or("no process to freeze")?;
        let name = format!("warmfront-bench-{}-{first}", std::process::id());
        let made = HIERARCHIES.iter().find_map(|&(root, version)| {
            let home = home(Path::new(root), first, version)?;
            let path = Path::new(root).join(&name);
            fs::create_dir(&path).ok()?;
            let group = Self { path, home, version };
            // A folder in a file system that is no freezer has no such file.
            let moved = group.path.join(group.file()).exists()
                && pids.iter().all(|pid| fs::write(group.path.join("cgroup.procs"), pid.to_string()).is_ok());
            moved.then_some(group)
        });
        made.ok_or_else(|| {
            "no control group with a freezer may be made here; run as root, or --by signal".into()
        })
    }

    fn file(&self) -> &'static str {
        match self.version {
            Version::One => "freezer.state",
            Version::Two => "cgroup.freeze",
        }
    }

    /// Returns when the kernel says that it is so.
    fn set(&self, is_frozen: bool) -> io::Result<()> {
        let (word, file, sign) = match (self.version, is_frozen) {
            (Version::One, true) => ("FROZEN", "freezer.state", "FROZEN"),
            (Version::One, false) => ("THAWED", "freezer.state", "THAWED"),
            (Version::Two, true) => ("1", "cgroup.events", "frozen 1"),
            (Version::Two, false) => ("0", "cgroup.events", "frozen 0"),
        };
        fs::write(self.path.join(self.file()), word)?;
        await_that("the state of the freezer", || {
            let state = fs::read_to_string(self.path.join(file)).unwrap_or_default();
            state.lines().any(|line| line == sign)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What cannot be emptied and removed stays as an empty group, no more.
        let _ = self.set(false);
        let _ = await_that("an empty control group", || {
            let left = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
            for pid in left.lines() {
                let _ = fs::write(self.home.join("cgroup.procs"), pid);
            }
            fs::remove_dir(&self.path).is_ok()
        });
    }
}

/// The group of the hierarchy at `root` in which a process is.
fn home(root: &Path, pid: u32, version: Version) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let inside = groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let is_ours = match version {
            Version::One => controllers.split(',').any(|name| name == "freezer"),
            Version::Two => controllers.is_empty(),
        };
        is_ours.then(|| path.trim_start_matches('/').to_owned())
    })?;
    Some(root.join(inside))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_is_frozen_does_nothing_until_it_is_thawed() {
        let mut child = Command::new("sh")
            .args(["-c", "while :; do echo tick; done"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ticks = |pid: u32| fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
        let mut ways = vec![study::Freezer::Signal];
        if Freezer::new(study::Freezer::Cgroup, vec![child.id()]).is_ok() {
            ways.push(study::Freezer::Cgroup);
        }
        let mut out = BufReader::new(child.stdout.take().unwrap());
        for by in ways {
            let freezer = Freezer::new(by, vec![child.id()]).unwrap();
            freezer.freeze().unwrap();
            let before = ticks(child.id());
            let until = Instant::now() + Duration::from_millis(30);
            while Instant::now() < until {
                thread::yield_now();
            }
            assert_eq!(ticks(child.id()), before, "{by:?}");
            freezer.thaw().unwrap();
            drop(freezer);
            // More than a pipe holds: it runs again.
            let mut line = String::new();
            for _ in 0..20_000 {
                line.clear();
                assert!(out.read_line(&mut line).unwrap() > 0, "{by:?}");
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn nobody_is_nothing_to_freeze() {
        assert_eq!(Freezer::new(study::Freezer::Cgroup, Vec::new()).unwrap_err(), "no process to freeze");
    }
}
