//! Workers that somebody else runs: another container, systemd, a person.
//!
//! Only their sockets are known, so only those are watched. A socket that
//! refuses the data plane leaves the pool until it accepts again.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::clock;
use crate::error::Problem;
use crate::upstream::pool::{Address, Publisher, Worker, WorkerId};

use super::census::{Census, Member, Members, Standing};
use super::report::Report;
use super::socket_dir::SOCKET_PATH_BYTES;
use super::state::{SILENT, later};
use super::{Mandate, probe};

/// All watched sockets of one pool.
#[derive(Debug)]
pub struct External {
    seats: Vec<Seat>,
    publisher: Publisher,
    census: (Census, watch::Receiver<Members>),
    suspicion: Arc<Notify>,
    start_deadline: Duration,
    all_were_ready: bool,
}

#[derive(Debug)]
struct Seat {
    worker: Arc<Worker>,
    state: Watched,
    ready_after: Option<Duration>,
}

impl Seat {
    fn member(&self) -> Member {
        let standing = match self.state {
            Watched::Awaited { .. } => Standing::Starting,
            Watched::Ready => Standing::Ready,
            Watched::Gone { .. } => Standing::Suspect,
        };
        Member {
            standing,
            ready_after: self.ready_after,
            worker: Some(Arc::clone(&self.worker)),
            ..Member::new(self.worker.id)
        }
    }
}

/// What is known of a socket.
#[derive(Clone, Copy, Debug)]
enum Watched {
    /// Never accepted; explained at `look_at`.
    Awaited {
        look_at: Option<Instant>,
    },
    Ready,
    Gone {
        since: Instant,
    },
}

impl External {
    /// Prepares to watch `sockets`; worker numbers follow their order, from 1.
    ///
    /// `slots` is what one worker may hold, `start_deadline` when a socket that
    /// never accepted is explained for the last time.
    ///
    /// # Errors
    /// A path that is too long for a socket address.
    pub fn new(
        sockets: Vec<PathBuf>,
        slots: u32,
        start_deadline: Duration,
        publisher: Publisher,
    ) -> Result<Self, Problem> {
        if let Some(path) = sockets.iter().find(|path| path.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES)
        {
            return Err(Problem::new(
                format!("`{}` is too long for a socket.", path.display()),
                format!("The system allows {SOCKET_PATH_BYTES} bytes."),
                "Use a shorter path, or a symbolic link to its directory.",
            ));
        }
        let suspicion = Arc::new(Notify::new());
        let seats = (1..)
            .zip(sockets)
            .map(|(number, path)| Seat {
                worker: Worker::new(WorkerId(number), Address::Unix(path), slots, suspicion.clone()),
                state: Watched::Awaited { look_at: None },
                ready_after: None,
            })
            .collect();
        Ok(Self { seats, publisher, census: Census::new(), suspicion, start_deadline, all_were_ready: false })
    }

    /// Follows who is who.
    pub fn census(&self) -> watch::Receiver<Members> {
        self.census.1.clone()
    }

    /// Watches until `mandate` is to stop (or its sender is gone); the pool is empty then.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the pool stays as it was.
    pub async fn run(mut self, mut mandate: watch::Receiver<Mandate>, reports: UnboundedSender<Report>) {
        let say = |report| drop(reports.send(report));
        // Counted from here: others may have had to come first.
        let began = clock::now();
        let look_at = Some(began + SILENT.min(self.start_deadline));
        for seat in &mut self.seats {
            seat.state = Watched::Awaited { look_at };
        }
        let mut probes = JoinSet::new();
        for seat in 0..self.seats.len() {
            self.probe(seat, &mut probes);
        }
        loop {
            let due = self.explain_silence(began, &say);
            self.census.0.publish(self.seats.iter().map(Seat::member));
            // All branches are cancel safe.
            tokio::select! {
                _ = mandate.wait_for(|&mandate| mandate == Mandate::Stop) => break,
                () = self.suspicion.notified() => {
                    for seat in self.look_for_suspects(&say) {
                        self.probe(seat, &mut probes);
                    }
                }
                Some(Ok(seat)) = probes.join_next() => self.on_accepting(seat, began, &say),
                () = clock::sleep_until(due.unwrap_or_else(clock::now)), if due.is_some() => {}
                else => break,
            }
        }
        self.publisher.publish(Vec::new());
    }

    fn probe(&self, seat: usize, probes: &mut JoinSet<usize>) {
        let address = self.seats[seat].worker.address.clone();
        probes.spawn(async move {
            probe::until_accepting(&address, probe::LONGEST_EXTERNAL).await;
            seat
        });
    }

    fn on_accepting(&mut self, number: usize, began: Instant, say: &impl Fn(Report)) {
        let now = clock::now();
        let seat = &mut self.seats[number];
        let (worker, address) = (seat.worker.id, seat.worker.address.clone());
        seat.worker.clear_suspicion();
        seat.ready_after.get_or_insert(now.duration_since(began));
        let before = std::mem::replace(&mut seat.state, Watched::Ready);
        self.publish();
        say(match before {
            Watched::Gone { since } => Report::Back { worker, address, after: now.duration_since(since) },
            Watched::Awaited { .. } | Watched::Ready => {
                Report::Ready { worker, pid: None, after: now.duration_since(began) }
            }
        });
        if !self.all_were_ready && self.seats.iter().all(|seat| matches!(seat.state, Watched::Ready)) {
            self.all_were_ready = true;
            say(Report::AllReady);
        }
    }

    /// Takes the suspects out of the pool and returns their places.
    fn look_for_suspects(&mut self, say: &impl Fn(Report)) -> Vec<usize> {
        let now = clock::now();
        let mut suspects = Vec::new();
        for (number, seat) in self.seats.iter_mut().enumerate() {
            if matches!(seat.state, Watched::Ready) && seat.worker.is_suspect() {
                seat.state = Watched::Gone { since: now };
                say(Report::Gone { worker: seat.worker.id, address: seat.worker.address.clone() });
                suspects.push(number);
            }
        }
        if !suspects.is_empty() {
            self.publish();
        }
        suspects
    }

    fn publish(&self) {
        let ready = self.seats.iter().filter(|seat| matches!(seat.state, Watched::Ready));
        self.publisher.publish(ready.map(|seat| seat.worker.clone()).collect());
    }

    /// Explains every socket whose time has come and returns when the next one's will.
    fn explain_silence(&mut self, began: Instant, say: &impl Fn(Report)) -> Option<Instant> {
        let now = clock::now();
        let deadline = later(began, self.start_deadline);
        let mut next = None;
        for seat in &mut self.seats {
            let Watched::Awaited { look_at: Some(at) } = &mut seat.state else { continue };
            if *at <= now {
                let after = now.duration_since(began).as_secs();
                let address = &seat.worker.address;
                let problem = Problem::new(
                    format!(
                        "Worker {} is not ready after {after} s: nobody accepts on {address}.",
                        seat.worker.id
                    ),
                    match address {
                        Address::Unix(path) if !path.exists() => "No such file exists there.",
                        _ => "The file exists, but the connect is refused.",
                    },
                    "Start the process that serves it, or correct the path in `workers.sockets`.",
                );
                say(Report::NotReadyYet { worker: seat.worker.id, problem });
                if now >= deadline {
                    seat.state = Watched::Awaited { look_at: None };
                    continue;
                }
                *at = deadline;
            }
            next = Some(next.map_or(*at, |next: Instant| next.min(*at)));
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn a_socket_that_goes_and_comes_leaves_and_enters_the_pool() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("a.sock"), dir.path().join("b.sock")];
        let (publisher, mut pool) = Publisher::new();
        let (stop, stopped) = watch::channel(Mandate::Run);
        let (reports, mut said) = unbounded_channel();
        let external = External::new(paths.to_vec(), 3, Duration::from_secs(60), publisher).unwrap();
        let running = tokio::spawn(external.run(stopped, reports));

        let _a = UnixListener::bind(&paths[0]).unwrap();
        assert!(matches!(said.recv().await, Some(Report::Ready { worker: WorkerId(1), pid: None, .. })));
        let b = UnixListener::bind(&paths[1]).unwrap();
        assert!(matches!(said.recv().await, Some(Report::Ready { worker: WorkerId(2), .. })));
        assert_eq!(said.recv().await, Some(Report::AllReady));
        assert_eq!(pool.borrow_and_update().slots(), 6);

        drop(b);
        std::fs::remove_file(&paths[1]).unwrap();
        let worker = pool.borrow().workers()[1].clone();
        worker.suspect();
        assert!(matches!(said.recv().await, Some(Report::Gone { worker: WorkerId(2), .. })));
        assert_eq!(pool.borrow().workers().len(), 1);

        let _b = UnixListener::bind(&paths[1]).unwrap();
        let back = said.recv().await.unwrap();
        assert!(back.to_string().contains("b.sock is back"), "{back}");
        assert!(Arc::ptr_eq(&pool.borrow().workers()[1], &worker) && !worker.is_suspect());

        stop.send(Mandate::Stop).unwrap();
        running.await.unwrap();
        assert_eq!(pool.borrow().workers().len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_never_comes_is_explained_twice() {
        let dir = tempfile::tempdir().unwrap();
        let (publisher, _pool) = Publisher::new();
        let (_stop, stopped) = watch::channel(Mandate::Run);
        let (reports, mut said) = unbounded_channel();
        let external =
            External::new(vec![dir.path().join("no.sock")], 1, Duration::from_secs(60), publisher).unwrap();
        tokio::spawn(external.run(stopped, reports));
        for seconds in ["after 5 s", "after 60 s"] {
            let Some(Report::NotReadyYet { problem, .. }) = said.recv().await else {
                panic!("silence explained")
            };
            assert!(problem.what.contains(seconds) && problem.why.contains("No such file"), "{problem}");
        }
    }
}
