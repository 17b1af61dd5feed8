//! What the kernel says a process used: CPU time and resident memory, from /proc.
//!
//! CPU is the first field of `/proc/PID/task/*/schedstat`: nanoseconds on a CPU,
//! exact once the thread is off it. It includes loopback work done inside the
//! thread's own `send`. Time of threads that ended meanwhile is lost, so it is
//! for processes whose threads stay.

use std::fs;
use std::io;

/// What reading a file of a thread that has ended meanwhile says; std has no kind for it.
const ESRCH: i32 = 3;

/// Nanoseconds that all threads of `pids` have spent on a CPU.
///
/// # Errors
/// A process does not exist (any more), or the kernel keeps no such figures.
pub(crate) fn cpu_ns(pids: &[u32]) -> io::Result<u64> {
    let mut sum = 0;
    for pid in pids {
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            match fs::read_to_string(task?.path().join("schedstat")) {
                Ok(text) => {
                    sum += parse_schedstat(&text).ok_or_else(|| not_understood("schedstat", &text))?
                }
                // The thread ended between the listing and the open, or between the open and the read.
                Err(error)
                    if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(sum)
}

/// Resident memory of a process in KiB.
///
/// # Errors
/// The process does not exist.
pub(crate) fn rss_kib(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_rss(&status).ok_or_else(|| not_understood("status", &status))
}

/// Processes whose parent is `parent`, in no order.
///
/// # Errors
/// /proc cannot be listed.
pub(crate) fn children(parent: u32) -> io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // A process that is gone by now is nobody's child.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if parse_parent(&stat) == Some(parent) {
            children.push(pid);
        }
    }
    Ok(children)
}

fn not_understood(what: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc {what} not understood: {text:.60}"))
}

/// `on_cpu_ns waiting_ns timeslices` → `on_cpu_ns`.
fn parse_schedstat(text: &str) -> Option<u64> {
    let mut fields = text.split_ascii_whitespace();
    let on_cpu_ns = fields.next()?.parse().ok()?;
    (fields.count() == 2).then_some(on_cpu_ns)
}

/// The line `VmRSS: 1234 kB`.
fn parse_rss(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// `pid (name) state ppid …`; the name may itself hold spaces and parentheses.
fn parse_parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_schedstat_field_is_time_on_cpu() {
        assert_eq!(parse_schedstat("194853938 12100427 369\n"), Some(194_853_938));
        assert_eq!(parse_schedstat("0 0 1\n"), Some(0));
    }

    #[test]
    fn a_schedstat_of_another_shape_is_not_guessed_at() {
        assert_eq!(parse_schedstat(""), None);
        assert_eq!(parse_schedstat("12"), None);
        assert_eq!(parse_schedstat("a b c"), None);
    }

    #[test]
    fn resident_memory_is_read_in_kib() {
        assert_eq!(parse_rss("Name:\tx\nVmRSS:\t    5120 kB\nThreads:\t1\n"), Some(5120));
        assert_eq!(parse_rss("Name:\tx\n"), None);
    }

    #[test]
    fn a_parent_is_found_behind_a_strange_name() {
        assert_eq!(parse_parent("7 (a) b) S 42 7 7"), Some(42));
        assert_eq!(parse_parent(""), None);
    }

    #[test]
    fn work_makes_the_cpu_time_of_a_process_grow() {
        let mut busy = std::process::Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let began = std::time::Instant::now();
        let before = cpu_ns(&[busy.id()]).unwrap();
        // The running thread's figure is brought up to date at ticks at the latest.
        while cpu_ns(&[busy.id()]).unwrap() <= before {
            assert!(began.elapsed().as_secs() < 10);
            std::thread::yield_now();
        }
        assert!(rss_kib(busy.id()).unwrap() > 0);
        busy.kill().unwrap();
        busy.wait().unwrap();
    }

    #[test]
    fn threads_that_end_meanwhile_are_no_error() {
        let me = [std::process::id()];
        for _ in 0..200 {
            let thread = std::thread::spawn(|| {});
            cpu_ns(&me).unwrap();
            thread.join().unwrap();
        }
    }
}
