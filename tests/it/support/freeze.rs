//! Stops processes in the middle of whatever they do, as the platform does between requests.
//!
//! How the platform freezes is not known; two ways are at hand and look the same from inside: all
//! clocks jump, and timers and bytes that came due meanwhile are there at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::eventually;
use super::sidecar::signal;

/// Processes that can be frozen together; thawed on drop.
pub(crate) struct Freezer {
    pids: Vec<u32>,
    way: Way,
}

enum Way {
    Signals,
    Cgroup(Group),
}

impl Freezer {
    /// By `SIGSTOP` and `SIGCONT`, one process after the other in this order. The order of waking
    /// decides who sees what first.
    pub(crate) fn signals(pids: &[u32]) -> Self {
        Self { pids: pids.to_vec(), way: Way::Signals }
    }

    /// By the kernel's freezer of control groups, all at once; `None` where no hierarchy of it can
    /// be written.
    pub(crate) fn cgroup(pids: &[u32]) -> Option<Self> {
        Some(Self { pids: pids.to_vec(), way: Way::Cgroup(Group::new(pids)?) })
    }

    /// Returns when every thread stands still.
    pub(crate) fn freeze(&self) {
        match &self.way {
            Way::Signals => {
                for pid in &self.pids {
                    signal(*pid, "STOP");
                }
                eventually("every thread is stopped", || {
                    self.pids.iter().all(|pid| is_stopped(*pid)).then_some(())
                });
            }
            Way::Cgroup(group) => group.set(true),
        }
    }

    /// Lets them go on; they may not have run yet when this returns.
    pub(crate) fn thaw(&self) {
        match &self.way {
            Way::Signals => {
                for pid in &self.pids {
                    signal(*pid, "CONT");
                }
            }
            Way::Cgroup(group) => group.set(false),
        }
    }
}

impl Drop for Freezer {
    /// Nobody but us wakes them.
    fn drop(&mut self) {
        match &self.way {
            // Some may be gone.
            Way::Signals => {
                let alive = self.pids.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists());
                alive.for_each(|pid| signal(*pid, "CONT"));
            }
            Way::Cgroup(group) => group.set(false),
        }
    }
}

/// Lets time pass for everybody but the frozen. A frozen interval is a duration, nothing that
/// could be waited for: here a test may sleep.
pub(crate) fn sit_out(frozen: Duration) {
    std::thread::sleep(frozen);
}

/// Whether all threads of the process are in the state of one that got `SIGSTOP`.
fn is_stopped(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("alive").flatten();
    threads.map(|thread| fs::read_to_string(thread.path().join("stat")).unwrap_or_default()).all(|stat| {
        // The name may hold spaces; the last parenthesis ends it.
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" T"))
    })
}

/// A control group with a freezer, made for one test.
struct Group {
    path: PathBuf,
    /// Where its processes were before.
    home: PathBuf,
    version: Version,
}

#[derive(Clone, Copy)]
enum Version {
    One,
    Two,
}

/// Where freezers usually are, by version; on machines with both, version 2 is below the first.
const HIERARCHIES: [(&str, Version); 3] = [
    ("/sys/fs/cgroup/freezer", Version::One),
    ("/sys/fs/cgroup/unified", Version::Two),
    ("/sys/fs/cgroup", Version::Two),
];

impl Group {
    fn new(pids: &[u32]) -> Option<Self> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let name = format!("warmfront-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::SeqCst));
        HIERARCHIES.iter().find_map(|&(root, version)| {
            let home = home(Path::new(root), pids[0], version)?;
            let path = Path::new(root).join(&name);
            fs::create_dir(&path).ok()?;
            let group = Self { path, home, version };
            // A folder in a file system that is no freezer has no such file.
            let moved = group.path.join(group.file()).exists()
                && pids.iter().all(|pid| put(&group.path.join("cgroup.procs"), &pid.to_string()));
            moved.then_some(group)
        })
    }

    fn file(&self) -> &'static str {
        match self.version {
            Version::One => "freezer.state",
            Version::Two => "cgroup.freeze",
        }
    }

    /// Returns when the kernel says that it is so.
    fn set(&self, is_frozen: bool) {
        let (word, file, sign) = match (self.version, is_frozen) {
            (Version::One, true) => ("FROZEN", "freezer.state", "FROZEN"),
            (Version::One, false) => ("THAWED", "freezer.state", "THAWED"),
            (Version::Two, true) => ("1", "cgroup.events", "frozen 1"),
            (Version::Two, false) => ("0", "cgroup.events", "frozen 0"),
        };
        assert!(put(&self.path.join(self.file()), word), "{} takes {word}", self.path.display());
        eventually("the state of the freezer", || {
            let state = fs::read_to_string(self.path.join(file)).expect("readable");
            state.lines().any(|line| line == sign).then_some(())
        });
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Killed processes leave by themselves, and a child may join while we look.
        eventually("an empty control group", || {
            let left = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
            for pid in left.lines() {
                put(&self.home.join("cgroup.procs"), pid);
            }
            fs::remove_dir(&self.path).ok()
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

/// Whether the kernel took `word`.
fn put(file: &Path, word: &str) -> bool {
    fs::write(file, word).is_ok()
}
