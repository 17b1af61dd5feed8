//! What processes use, as the kernel tells: memory, processor time, descriptors.
//!
//! A worker is its process group, as it is for the supervisor: what is started may be a script that starts the
//! server. One pass over `/proc` finds the members of all groups.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use crate::sys;

/// What one process or group uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processes.
    pub processes: u64,
    /// Resident memory in bytes; pages that processes share count for each.
    pub resident: u64,
    /// Address space in bytes.
    pub virtual_memory: u64,
    /// Processor time, that of children that have ended included.
    pub cpu: Duration,
    /// Descriptors; those of a process that we may not look into are left out.
    pub fds: u64,
}

/// What each of these process groups uses, by the number of its leader. One that is gone is missing.
pub fn of_groups(leaders: &[i32]) -> HashMap<i32, Usage> {
    let mut found: HashMap<i32, Usage> = HashMap::new();
    for pid in pids() {
        let Some(stat) = Stat::read(&pid).filter(|stat| leaders.contains(&stat.group)) else { continue };
        found.entry(stat.group).or_default().add(&stat, &pid);
    }
    found
}

/// What this process uses.
pub fn of_self() -> Usage {
    let mut usage = Usage::default();
    if let Some(stat) = Stat::read("self") {
        usage.add(&Stat { ended_children: 0, ..stat }, "self");
    }
    usage
}

/// Proportional memory in bytes of each of these process groups. The kernel walks their page tables for it.
pub fn proportional(leaders: &[i32]) -> HashMap<i32, u64> {
    let mut found = HashMap::new();
    for pid in pids() {
        let Some(stat) = Stat::read(&pid).filter(|stat| leaders.contains(&stat.group)) else { continue };
        let Ok(rollup) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
        *found.entry(stat.group).or_default() += proportional_of(&rollup).unwrap_or(0);
    }
    found
}

/// Descriptors that this process may hold.
pub fn fds_max() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Usage {
    fn add(&mut self, stat: &Stat, pid: &str) {
        self.processes += 1;
        self.resident += stat.resident_pages * sys::page_bytes();
        self.virtual_memory += stat.virtual_bytes;
        let ticks = stat.own + stat.ended_children;
        self.cpu += Duration::from_nanos(ticks * (1_000_000_000 / sys::ticks_per_second()));
        self.fds += fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |fds| fds.count() as u64);
    }
}

fn pids() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.as_bytes().first().is_some_and(u8::is_ascii_digit))
}

/// What `/proc/<pid>/stat` says that matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    group: i32,
    /// Ticks of the process.
    own: u64,
    /// Ticks of its children that have ended and were waited for.
    ended_children: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn read(pid: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// proc_pid_stat(5). The name may hold anything; its last parenthesis ends it.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        // Counted from 3 there.
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            group: fields.get(5 - 3)?.parse().ok()?,
            own: number(14)? + number(15)?,
            ended_children: number(16)? + number(17)?,
            virtual_bytes: number(23)?,
            resident_pages: number(24)?,
        })
    }
}

/// `Pss:` of a smaps_rollup, in bytes.
fn proportional_of(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let text = "42 (a) b (c) S 1 40 40 0 -1 4194560 1 2 3 4 10 20 3 4 20 0 11 0 5 1000000 250 18446744073709551615\n";
        let expected =
            Stat { group: 40, own: 30, ended_children: 7, virtual_bytes: 1_000_000, resident_pages: 250 };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("42 (a"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = of_self();
        assert!(usage.resident > 1 << 20 && usage.fds > 2 && usage.processes == 1, "{usage:?}");
        assert!(fds_max().unwrap() >= usage.fds);
        let group = Stat::read("self").unwrap().group;
        let whole = of_groups(&[group])[&group];
        assert!(whole.resident >= usage.resident / 2 && whole.processes >= 1, "{whole:?}");
        assert!(proportional(&[group])[&group] > 1 << 20);
        assert_eq!(proportional_of("Rss: 9 kB\nPss:                 12 kB\n"), Some(12 << 10));
    }
}
