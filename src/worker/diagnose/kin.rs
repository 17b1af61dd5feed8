//! Who is whose child, as `/proc` tells.

use std::fs;

/// A process with its parent and its group.
#[derive(Clone, Copy, Debug)]
pub struct Kin {
    /// Its pid.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its group's leader's.
    pub group: i32,
    /// Processor time that it has used, in ticks of the system.
    pub ticks: u64,
}

/// Every process of this machine, zombies included; empty without `/proc`.
pub fn everybody() -> Vec<Kin> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let kin = |name: &str| {
        let pid = name.parse().ok()?;
        told(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    };
    entries.filter_map(|entry| kin(entry.ok()?.file_name().to_str()?)).collect()
}

/// Our own children, zombies included.
pub fn children() -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    everybody().into_iter().filter(|kin| kin.parent == own).map(|kin| kin.pid).collect()
}

/// Fields 4, 5, 14 and 15 of proc_pid_stat(5); the name before them may contain anything.
fn told(pid: i32, stat: &str) -> Option<Kin> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(1);
    let (parent, group) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let mut times = fields.skip(8).map(|field| field.parse().unwrap_or(0_u64));
    Some(Kin { pid, parent, group, ticks: times.next().unwrap_or(0) + times.next().unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_child_is_seen_until_it_is_reaped() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(children().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children().contains(&pid));
    }

    #[test]
    fn a_name_with_a_bracket_confuses_nobody() {
        let kin = told(7, "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 110 20 30").unwrap();
        assert_eq!((kin.parent, kin.group, kin.ticks), (1, 2, 130));
        assert!(told(7, "nothing").is_none());
    }
}
