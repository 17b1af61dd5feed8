//! Why a worker that runs is not ready: where it listens instead.
//!
//! A process's open sockets are in `/proc/<pid>/fd` by inode, the listening ones
//! of its network in `/proc/<pid>/net`; joined, they tell what it bound. All
//! descendants are looked at, because scripts start servers.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use crate::error::Problem;
use crate::upstream::pool::{Address, WorkerId};

use super::kin;
use crate::worker::ladder::{Rung, Way};

/// One listening socket of a worker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listens {
    /// On a TCP address.
    Tcp(SocketAddr),
    /// On a Unix socket, as named in its own bind.
    Unix(String),
}

/// Where a worker was told to listen.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Where it is looked for.
    pub address: &'a Address,
    /// In which way it is to get there.
    pub way: Way,
}

/// Explains the silence of worker `worker`, whose process group is `group`.
///
/// `told` is where it was told to listen, `fc_port` the port that is ours, `after`
/// how long it has been running.
pub fn explain(worker: WorkerId, group: i32, told: Told<'_>, fc_port: u16, after: Duration) -> Problem {
    problem(worker, &listening(group), told, fc_port, after)
}

fn problem(worker: WorkerId, found: &[Listens], told: Told<'_>, fc_port: u16, after: Duration) -> Problem {
    let seconds = after.as_secs();
    let (told_text, fix) = match told.address {
        Address::Unix(_) if told.way.rung == Rung::Shim => (
            format!(
                "the port {} that is taken from it by the bind shim, or $WARMFRONT_SOCKET",
                told.way.port
            ),
            "Let it read PORT, or tell its own port with `--app-port`.",
        ),
        Address::Unix(_) if told.way.rung == Rung::Fd => (
            "the descriptor 3 that it has inherited (LISTEN_FDS=1)".to_owned(),
            "Let it accept from descriptor 3, or leave out `--transport fd`.",
        ),
        Address::Unix(_) if told.way.rung == Rung::Remap => (
            format!("the port {} that is remapped as it binds it", told.way.port),
            "Let it read PORT, or tell its own port with `--app-port`.",
        ),
        Address::Unix(path) => (
            format!("the socket it was told (PORT={})", path.display()),
            "Let it listen on what PORT or `{socket}` says; if it can only do ports, leave out `--transport socket`.",
        ),
        Address::Tcp(address) => (
            format!("the port it was told (PORT={})", address.port()),
            "Let it listen on 127.0.0.1 and the port that PORT says, or put `{port}` where its command takes it.",
        ),
    };
    let is_ours = |listens: &Listens| matches!(listens, Listens::Tcp(address) if address.port() == fc_port);
    let what = if found.is_empty() {
        format!("Worker {worker} is not ready after {seconds} s: it has bound nothing yet.")
    } else if found.iter().any(is_ours) {
        format!("Worker {worker} is not ready after {seconds} s: it listens on the FC port {fc_port} itself.")
    } else {
        let list: Vec<_> = found.iter().map(Listens::to_text).collect();
        format!("Worker {worker} is not ready after {seconds} s: it listens on {}.", list.join(" and "))
    };
    let why = if found.is_empty() {
        format!("It runs, but no process of it listens on {told_text}, nor anywhere else.")
    } else if found.iter().any(is_ours) {
        format!("That port is warmfront's; the worker should be on {told_text}.")
    } else {
        format!("That is not {told_text}.")
    };
    let fix = if found.is_empty() {
        format!("If it only needs longer, nothing is lost: requests wait. Otherwise: {fix}")
    } else {
        fix.to_owned()
    };
    Problem::new(what, why, fix)
}

impl Listens {
    /// The address of one on TCP.
    pub fn tcp(self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(address),
            Self::Unix(_) => None,
        }
    }

    /// For people.
    pub fn to_text(&self) -> String {
        match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => format!("unix:{path}"),
        }
    }
}

/// What the processes of a group and their descendants listen on, sorted; empty if nothing can be seen.
pub fn listening(group: i32) -> Vec<Listens> {
    let mut found: Vec<Listens> = Vec::new();
    let mut tables: Option<HashMap<u64, Listens>> = None;
    for pid in members(group) {
        let proc = Path::new("/proc").join(pid.to_string());
        let inodes = socket_inodes(&proc.join("fd"));
        if inodes.is_empty() {
            continue;
        }
        // The network of the first process that has sockets stands for all.
        let table = tables.get_or_insert_with(|| listening_sockets(&proc.join("net")));
        found.extend(inodes.iter().filter_map(|inode| table.get(inode).cloned()));
    }
    found.sort();
    found.dedup();
    found
}

/// Processor time that the processes of a group and their descendants have used, in ticks of the system.
pub fn ticks(group: i32) -> u64 {
    let members = members(group);
    kin::everybody().iter().filter(|kin| members.contains(&kin.pid)).map(|kin| kin.ticks).sum()
}

/// Processes whose group is `group`, and all their descendants.
fn members(group: i32) -> HashSet<i32> {
    let everybody = kin::everybody();
    let mut members: HashSet<i32> = HashSet::new();
    loop {
        let before = members.len();
        for kin in &everybody {
            if kin.group == group || members.contains(&kin.parent) {
                members.insert(kin.pid);
            }
        }
        if members.len() == before {
            return members;
        }
    }
}

fn socket_inodes(fds: &Path) -> HashSet<u64> {
    let Ok(entries) = fs::read_dir(fds) else { return HashSet::new() };
    let inode = |target: &Path| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    entries.filter_map(|entry| inode(&fs::read_link(entry.ok()?.path()).ok()?)).collect()
}

fn listening_sockets(net: &Path) -> HashMap<u64, Listens> {
    let read = |name: &str| fs::read_to_string(net.join(name)).unwrap_or_default();
    let tcp = ["tcp", "tcp6"].map(read);
    let tcp = tcp.iter().flat_map(|table| table.lines().filter_map(tcp_line));
    let unix = read("unix");
    tcp.chain(unix.lines().filter_map(unix_line)).collect()
}

/// A listening socket from `/proc/net/tcp` or `tcp6`.
fn tcp_line(line: &str) -> Option<(u64, Listens)> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    // State 0A is LISTEN.
    if *fields.get(3)? != "0A" {
        return None;
    }
    let (ip, port) = fields.get(1)?.split_once(':')?;
    // Addresses are 32-bit words in the byte order of the machine.
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = if ip.len() == 8 {
        IpAddr::from(Ipv4Addr::from(word(0)?))
    } else {
        let words = [word(0)?, word(8)?, word(16)?, word(24)?];
        let bytes: [u8; 16] = words.concat().try_into().ok()?;
        IpAddr::from(Ipv6Addr::from(bytes)).to_canonical()
    };
    let address = SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?);
    Some((fields.get(9)?.parse().ok()?, Listens::Tcp(address)))
}

/// A listening socket from `/proc/net/unix`.
fn unix_line(line: &str) -> Option<(u64, Listens)> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    // __SO_ACCEPTCON of the kernel.
    let listens = u32::from_str_radix(fields.get(3)?, 16).ok()? & 0x10000 != 0;
    let inode = fields.get(6)?.parse().ok()?;
    listens.then(|| (inode, Listens::Unix(fields.get(7..).unwrap_or_default().join(" "))))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A worker process that is killed with the test.
    struct Running(Child);

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = crate::sys::kill_group(i32::try_from(self.0.id()).unwrap(), crate::sys::KILL);
            let _ = self.0.wait();
        }
    }

    /// Runs Python behind a shell in a group of its own; returns the line it prints when it is set up.
    fn python(script: &str) -> (Running, i32, String) {
        use std::os::unix::process::CommandExt;
        let shell = "python3 -c \"$0\"; exit";
        let mut child = Command::new("sh")
            .args(["-c", shell, script])
            .process_group(0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let group = i32::try_from(child.id()).unwrap();
        (Running(child), group, line.trim().to_owned())
    }

    const SOCKET: &str = "/s/w1-1.sock";

    fn told(address: &Address, rung: Rung) -> Told<'_> {
        Told { address, way: Way { rung, port: 9000, host: Ipv4Addr::LOCALHOST.into() } }
    }

    fn explained(group: i32, fc_port: u16) -> Problem {
        let socket = Address::Unix(SOCKET.into());
        explain(WorkerId(1), group, told(&socket, Rung::Socket), fc_port, Duration::from_secs(5))
    }

    #[test]
    fn a_worker_on_another_port_is_found_behind_its_shell() {
        let (_running, group, port) = python(
            "import socket,time\ns=socket.socket(); s.bind(('0.0.0.0',0)); s.listen()\n\
             print(s.getsockname()[1], flush=True); time.sleep(600)",
        );
        let problem = explained(group, 9000);
        assert!(problem.what.contains(&format!("it listens on 0.0.0.0:{port}.")), "{problem}");
        assert!(
            problem.why.contains("PORT=/s/w1-1.sock") && problem.fix.contains("--transport socket"),
            "{problem}"
        );
        let problem = explained(group, port.parse().unwrap());
        assert!(problem.what.contains("the FC port") && problem.what.ends_with("itself."), "{problem}");
    }

    #[test]
    fn a_worker_on_another_socket_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine.sock");
        let (_running, group, _) = python(&format!(
            "import socket,time\ns=socket.socket(socket.AF_UNIX); s.bind('{}'); s.listen()\n\
             print(flush=True); time.sleep(600)",
            path.display()
        ));
        let problem = explained(group, 9000);
        assert!(problem.what.contains(&format!("unix:{}", path.display())), "{problem}");
    }

    #[test]
    fn a_worker_that_bound_nothing_is_given_time() {
        // It has a socket, only none that listens.
        let (_running, group, _) =
            python("import socket,time\ns=socket.socket(); print(flush=True); time.sleep(600)");
        let problem = explained(group, 9000);
        assert!(problem.what.contains("bound nothing yet") && problem.fix.contains("longer"), "{problem}");
    }

    #[test]
    fn a_tcp_worker_on_the_wrong_port_hears_of_its_port() {
        let found = [Listens::Tcp(([0, 0, 0, 0], 3000).into())];
        let address = Address::Tcp(([127, 0, 0, 1], 41000).into());
        let problem = problem(WorkerId(2), &found, told(&address, Rung::Tcp), 9000, Duration::from_secs(120));
        assert!(problem.why.contains("PORT=41000") && problem.fix.contains("{port}"), "{problem}");
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line =
            "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4242 1 0 100";
        if cfg!(target_endian = "little") {
            assert_eq!(tcp_line(line), Some((4242, Listens::Tcp(([127, 0, 0, 1], 8080).into()))));
        }
        assert_eq!(tcp_line(&line.replace(" 0A ", " 01 ")), None, "connected, not listening");
        let line = "0000: 00000002 00000000 00010000 0001 01 777 /run/a b.sock";
        assert_eq!(unix_line(line), Some((777, Listens::Unix("/run/a b.sock".into()))));
    }
}
