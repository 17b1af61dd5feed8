//! How the instance is made to stand still between requests.
//!
//! What the platform does is not known: a freezer of control groups, or a pause of the whole machine. Both ways
//! here look the same from inside (FC contract §4.3): clocks jump, and whatever came due is there at once.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::options::FreezeWay;
use super::tree;
use crate::error::Problem;
use crate::{sys, telemetry};

/// Where freezers usually are; on machines with both versions the second is below the first.
const HIERARCHIES: [(&str, Version); 3] = [
    ("/sys/fs/cgroup/freezer", Version::One),
    ("/sys/fs/cgroup/unified", Version::Two),
    ("/sys/fs/cgroup", Version::Two),
];

/// The name of a group, but for the number of the emulator that made it.
const PREFIX: &str = "warmfront-emulate-";

/// Looks, a millisecond apart, until the kernel must have done what it was told.
const LOOKS_MAX: u32 = 2000;

/// A way to freeze everything below us.
#[derive(Debug)]
pub(super) struct Freezer {
    way: Way,
    is_frozen: Cell<bool>,
}

#[derive(Debug)]
enum Way {
    Never,
    /// With the reason, where something better was wanted.
    Signals(Option<io::Error>),
    Group(Group),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// A control group with a freezer; removed on drop.
#[derive(Debug)]
struct Group {
    path: PathBuf,
    version: Version,
}

impl Freezer {
    /// The way that was asked for.
    ///
    /// # Errors
    /// Control groups were asked for and may not be used here.
    pub(super) fn new(way: FreezeWay) -> Result<Self, Problem> {
        let way = match way {
            FreezeWay::Never => Way::Never,
            FreezeWay::Signal => Way::Signals(None),
            FreezeWay::Auto => {
                Group::make().map_or_else(|error| Way::Signals(Some(error)), Way::Group)
            }
            FreezeWay::Cgroup => Way::Group(Group::make().map_err(|error| {
                Problem::new(
                    format!("No control group with a freezer can be made: {error}."),
                    "That needs the right to write below /sys/fs/cgroup, which root has outside of containers.",
                    "Use --freeze signal, which every user may.",
                )
                .at("--freeze")
            })?),
        };
        Ok(Self { way, is_frozen: Cell::new(false) })
    }

    /// As the log names it.
    pub(super) fn name(&self) -> String {
        match &self.way {
            Way::Never => "never".to_owned(),
            Way::Signals(None) => "by signals (SIGSTOP)".to_owned(),
            Way::Signals(Some(error)) => {
                format!("by signals (SIGSTOP), since no control group with a freezer can be made: {error}")
            }
            Way::Group(Group { version: Version::One, .. }) => "by the cgroup v1 freezer".to_owned(),
            Way::Group(Group { version: Version::Two, .. }) => "by cgroup.freeze (v2)".to_owned(),
        }
    }

    /// Everything below us stands still when this returns. `false` if that is never to happen.
    ///
    /// # Errors
    /// The kernel does not do it.
    pub(super) fn freeze(&self) -> io::Result<bool> {
        match &self.way {
            Way::Never => return Ok(false),
            Way::Signals(_) => tree::stop(),
            Way::Group(group) => {
                // Who was born since.
                group.adopt();
                group.set(true)?;
            }
        }
        self.is_frozen.set(true);
        Ok(true)
    }

    /// Whether everything below us was made to stand still.
    pub(super) fn is_frozen(&self) -> bool {
        self.is_frozen.get()
    }

    /// Lets everything go on; whether it stood still.
    ///
    /// # Errors
    /// The kernel does not do it.
    pub(super) fn thaw(&self) -> io::Result<bool> {
        if !self.is_frozen.replace(false) {
            return Ok(false);
        }
        match &self.way {
            Way::Never => {}
            Way::Signals(_) => tree::go_on(),
            Way::Group(group) => group.set(false)?,
        }
        Ok(true)
    }

    /// Kills everything below us; false if something does not go.
    pub(super) fn kill(&self) -> bool {
        tree::kill(|| {
            // A group that does not thaw shows as somebody who does not go.
            let _ = self.thaw();
        })
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        // Nobody but us would.
        self.kill();
    }
}

/// Ends what an emulator left that was killed itself: frozen, nobody else could, and it would keep its port.
fn end_leftovers(root: &Path, version: Version) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|pid| pid.parse::<u32>().ok());
        let Some(maker) = maker.filter(|maker| !Path::new(&format!("/proc/{maker}")).exists()) else {
            continue;
        };
        let group = Group { path: entry.path(), version };
        let left = fs::read_to_string(group.path.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines().filter_map(|pid| pid.parse().ok()) {
            // Gone meanwhile, or not ours to end.
            let _ = sys::signal(pid, sys::KILL);
        }
        // What does not thaw stays, and the port that it holds says so. The group goes with `group`.
        if group.set(false).is_ok() {
            telemetry::say::warn(format_args!("ended what a killed emulator (pid {maker}) had left frozen"));
        }
    }
}

impl Group {
    fn make() -> io::Result<Self> {
        let mut why = io::Error::from(io::ErrorKind::NotFound);
        for (root, version) in HIERARCHIES {
            match Self::make_in(root, version) {
                Ok(group) => return Ok(group),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    fn make_in(root: &str, version: Version) -> io::Result<Self> {
        if !Path::new(root).is_dir() {
            return Err(io::ErrorKind::NotFound.into());
        }
        end_leftovers(Path::new(root), version);
        let path = Path::new(root).join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&path)?;
        let group = Self { path, version };
        // A folder in a file system that is no freezer has no such file.
        if group.path.join(group.switch()).exists() { Ok(group) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn switch(&self) -> &'static str {
        match self.version {
            Version::One => "freezer.state",
            Version::Two => "cgroup.freeze",
        }
    }

    /// Takes in whoever was born outside. Each move costs the kernel milliseconds, so nobody is moved twice.
    fn adopt(&self) {
        let members = self.path.join("cgroup.procs");
        let inside = fs::read_to_string(&members).unwrap_or_default();
        for pid in tree::pids().iter().map(ToString::to_string) {
            if !inside.lines().any(|member| member == pid) {
                // Gone meanwhile.
                let _ = fs::write(&members, pid);
            }
        }
    }

    fn set(&self, is_frozen: bool) -> io::Result<()> {
        let (word, file, sign) = match (self.version, is_frozen) {
            (Version::One, true) => ("FROZEN", "freezer.state", "FROZEN"),
            (Version::One, false) => ("THAWED", "freezer.state", "THAWED"),
            (Version::Two, true) => ("1", "cgroup.events", "frozen 1"),
            (Version::Two, false) => ("0", "cgroup.events", "frozen 0"),
        };
        for _ in 0..LOOKS_MAX {
            // Version 1 gives up where a process could not stop yet; told again, it tries again.
            fs::write(self.path.join(self.switch()), word)?;
            if fs::read_to_string(self.path.join(file))?.lines().any(|line| line == sign) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..LOOKS_MAX {
            if fs::remove_dir(&self.path).is_ok() || !self.path.exists() {
                return;
            }
            // The dead leave a moment later than they are reaped.
            thread::sleep(Duration::from_millis(1));
        }
    }
}
