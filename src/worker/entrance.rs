//! Where one life of a worker may be met, and how it is seen that it can be.
//!
//! Ready means that the kernel accepts a connection for it ([`super::probe`]). A listener that a worker inherits
//! listens before the worker does; it is ready when it has taken a first connection out of the queue. A port could be
//! anybody's; it counts when a process of the worker's own listens on it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use socket2::Socket;
use tokio::sync::watch;

use super::diagnose::kin;
use super::diagnose::silence::{self, Listens};
use super::probe;
use crate::clock;
use crate::upstream::pool::Address;

/// Between two looks at where a worker listens instead. It reads all of `/proc`.
const LOOK: Duration = Duration::from_secs(1);

/// Processor time between two looks of a program that still starts; less is one that waits for requests.
const AT_REST: u64 = 3;

/// Where one life of a worker may be met.
#[derive(Debug)]
pub(super) struct Entrance {
    /// The first that accepts is where it is. Never empty.
    pub(super) addresses: Vec<Address>,
    /// The listener of the first of them, if the worker inherits it listening: with room for one connection.
    pub(super) held: Option<Socket>,
    /// Whether a process of the worker's own must be seen there.
    pub(super) is_anybodys: bool,
    /// Where its bind was sent instead.
    pub(super) remapped: Option<watch::Receiver<Vec<SocketAddr>>>,
}

/// What was seen first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// It accepts here.
    Accepting(Address),
    /// It has started, and listens on these addresses alone.
    Elsewhere(Vec<SocketAddr>),
}

impl Entrance {
    /// Of a worker that has been met before.
    pub(super) fn at(address: Address) -> Self {
        Self { addresses: vec![address], held: None, is_anybodys: false, remapped: None }
    }

    /// The Unix sockets among its addresses.
    pub(super) fn sockets(&self) -> Vec<PathBuf> {
        let path = |address: &Address| match address {
            Address::Unix(path) => Some(path.clone()),
            Address::Tcp(_) => None,
        };
        self.addresses.iter().filter_map(path).collect()
    }

    /// What it is called before it was met.
    pub(super) fn name(&self) -> &Address {
        &self.addresses[0]
    }

    /// Waits for the worker whose processes are those of `group`; with `looks` also for it to be elsewhere. One that is
    /// elsewhere may still come here: ask again.
    ///
    /// # Cancel safety
    /// May be dropped at any time; at most one connection without bytes is hung up.
    pub(super) async fn met(&self, group: i32, looks: bool) -> Met {
        let mut pause = probe::FIRST;
        let mut knocked = false;
        let mut looker = looks.then(|| Looker::new(clock::now()));
        loop {
            for address in self.addresses.iter().cloned().chain(self.sent_to()) {
                if probe::accepts(&address).await.is_err() || self.is_anybodys && !is_of(group, &address) {
                    continue;
                }
                match &self.held {
                    // It waits in the queue, and nothing else fits there until the worker takes it out.
                    Some(_) if !knocked => knocked = true,
                    Some(held) => {
                        // What is asked for only fails for a socket that does not listen.
                        let _ = held.listen(super::spawn::BACKLOG);
                        return Met::Accepting(address);
                    }
                    None => return Met::Accepting(address),
                }
            }
            if let Some(elsewhere) = looker.as_mut().and_then(|looker| looker.look(group, clock::now())) {
                return Met::Elsewhere(elsewhere);
            }
            clock::sleep(pause).await;
            pause = pause.mul_f32(1.5).min(probe::LONGEST_SPAWNED);
        }
    }

    fn sent_to(&self) -> Vec<Address> {
        let sent = self.remapped.as_ref().map(|remapped| remapped.borrow().clone());
        sent.unwrap_or_default().into_iter().map(Address::Tcp).collect()
    }
}

/// Whether a process of `group` listens there; yes where nothing can be seen.
fn is_of(group: i32, address: &Address) -> bool {
    let Address::Tcp(told) = address else { return true };
    let found = silence::listening(group);
    let is_there =
        |listens: &Listens| matches!(listens, Listens::Tcp(address) if address.port() == told.port());
    found.iter().any(is_there) || kin::everybody().is_empty()
}

/// Sees that a worker has finished its start, and listens on TCP only.
struct Looker {
    due: Instant,
    before: Option<(Vec<SocketAddr>, u64)>,
}

impl Looker {
    fn new(now: Instant) -> Self {
        Self { due: now + LOOK / 2, before: None }
    }

    fn look(&mut self, group: i32, now: Instant) -> Option<Vec<SocketAddr>> {
        if now < self.due {
            return None;
        }
        self.due = now + LOOK;
        let found: Vec<_> = silence::listening(group).into_iter().filter_map(Listens::tcp).collect();
        let seen = (found, silence::ticks(group));
        let is_settled = self.before.as_ref().is_some_and(|(before, ticks)| {
            !before.is_empty() && *before == seen.0 && seen.1.saturating_sub(*ticks) <= AT_REST
        });
        self.before = Some(seen);
        if is_settled { self.before.take().map(|(found, _)| found) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, SockAddr, Type};

    use super::*;

    #[tokio::test]
    async fn an_inherited_listener_is_ready_when_somebody_accepts_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.sock");
        let held = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        held.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        held.listen(0).unwrap();
        let theirs = held.try_clone().unwrap();
        let address = Address::Unix(path);
        let entrance = Entrance { held: Some(held), ..Entrance::at(address.clone()) };
        let mut meeting = tokio::spawn(async move { entrance.met(0, false).await });
        let too_early = clock::timeout(Duration::from_millis(100), &mut meeting).await;
        assert!(too_early.is_none(), "it waits in the queue: {too_early:?}");
        theirs.accept().unwrap();
        assert_eq!(meeting.await.unwrap(), Met::Accepting(address.clone()));
        for _ in 0..8 {
            probe::accepts(&address).await.expect("there is room for many now");
        }
    }

    #[tokio::test]
    async fn one_that_was_elsewhere_is_still_met_at_any_of_its_addresses() {
        use std::io::BufRead as _;
        use std::os::unix::process::CommandExt as _;

        let script = "import socket, time\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n\
                      print(s.getsockname()[1], flush=True); time.sleep(600)";
        let mut child = std::process::Command::new("python3")
            .args(["-c", script])
            .process_group(0)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let group = i32::try_from(child.id()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        let mut entrance = Entrance::at(Address::Unix(first));
        entrance.addresses.push(Address::Unix(second.clone()));
        let elsewhere = SocketAddr::from(([127, 0, 0, 1], port.trim().parse().unwrap()));
        assert_eq!(entrance.met(group, true).await, Met::Elsewhere(vec![elsewhere]));
        let _listener = std::os::unix::net::UnixListener::bind(&second).unwrap();
        assert_eq!(entrance.met(group, false).await, Met::Accepting(Address::Unix(second)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
