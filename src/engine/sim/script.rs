//! A conversation spelt out in bytes, for fuzzing: who says what, who leaves, in which order.
//!
//! Steps are separated by `0xff`; the first byte of a step is the verb, the rest is what is said:
//!
//! | verb | what happens |
//! |---|---|
//! | `C` | the newest client says the rest of the step |
//! | `N` | another client connects, and is the newest now |
//! | `F` | the newest client has finished speaking, `X`: it leaves |
//! | `W` | the worker says the rest on its newest connection, `V`: on its oldest |
//! | `E` | the worker closes its newest connection |
//! | `K` | the worker dies; its next life is published |
//! | `T` | seconds pass, `D`: the thread drains |
//!
//! Both sides read all the time. Everybody else comes to rest between two steps.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use super::network::{Listener, Network};
use super::stream::{Chop, End};
use super::world::{Sidecar, in_virtual_time, roomy};
use crate::config::{Limits, Queue};
use crate::proxy::admission::Refusal;
use crate::upstream::pool::{Worker, WorkerId};

/// Steps that are played; what follows is ignored.
const STEPS_MAX: usize = 48;
/// Requests that the worker may hold, and connections.
const SLOTS: u32 = 2;
/// Longest wait in line.
const WAIT: Duration = Duration::from_secs(600);
/// Virtual time between two steps: whoever can go on has gone on.
const REST: Duration = Duration::from_millis(1);

/// How a stream ended for who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In order.
    Clean,
    /// By a reset.
    Reset,
}

/// One connection as one of its ends saw it.
#[derive(Clone, Debug, Default)]
pub struct Spoken {
    /// Bytes that left.
    pub sent: Vec<u8>,
    /// Bytes that came.
    pub received: Vec<u8>,
    /// How they ended; `None`: not before this end left.
    pub ended: Option<Ended>,
}

/// What was said.
#[derive(Debug)]
pub struct Transcript {
    /// Connections of clients.
    pub clients: Vec<Spoken>,
    /// Connections to the worker, in the order in which it accepted them.
    pub workers: Vec<Spoken>,
    /// Promises that were broken.
    pub faults: Vec<String>,
}

/// Plays `script`. `seed`: whether and how the network cuts transfers into pieces.
pub fn play(script: &[u8], seed: Option<u64>) -> Transcript {
    fastrand::seed(seed.unwrap_or_default());
    in_virtual_time(async {
        let mut stage = Stage::new(seed);
        for step in script.split(|&byte| byte == 0xff).take(STEPS_MAX) {
            if let Some((verb, words)) = step.split_first() {
                stage.play(*verb, words).await;
                sleep(REST).await;
            }
        }
        stage.end().await
    })
}

struct Stage {
    sidecar: Rc<Sidecar>,
    listener: Rc<Listener>,
    lives: Vec<std::sync::Arc<Worker>>,
    clients: Vec<Rc<Side>>,
    workers: Rc<RefCell<Vec<Rc<Side>>>>,
}

impl Stage {
    fn new(seed: Option<u64>) -> Self {
        let network = seed.map_or_else(Network::default, |seed| {
            Network::choppy(Chop { rng: fastrand::Rng::with_seed(seed), crumbs: (seed % 60) as u8 })
        });
        let limits = Limits { head_bytes: 1024, buffer_bytes: 2048, ..Limits::default() };
        let queue = Queue { timeout: WAIT, newest_first_after: WAIT, ..roomy() };
        let sidecar = Sidecar::new(queue, limits, network, WAIT);
        let listener = sidecar.network.listen(WorkerId(1), 4096);
        let mut stage = Self { sidecar, listener, lives: vec![], clients: vec![], workers: Rc::default() };
        stage.come_to_life();
        stage.connect();
        stage
    }

    fn come_to_life(&mut self) {
        self.listener = self.sidecar.network.listen(WorkerId(1), 4096);
        let (listener, workers) = (Rc::clone(&self.listener), Rc::clone(&self.workers));
        spawn_local(async move {
            loop {
                let side = Side::new(listener.accept().await);
                workers.borrow_mut().push(side);
            }
        });
        let worker = self.sidecar.worker(1, SLOTS);
        self.sidecar.publish(vec![std::sync::Arc::clone(&worker)]);
        self.lives.push(worker);
    }

    fn connect(&mut self) {
        self.clients.push(Side::new(self.sidecar.connect(4096)));
    }

    /// A connection of the worker that is still open.
    fn worker(&self, oldest: bool) -> Option<Rc<Side>> {
        let workers = self.workers.borrow();
        let mut open = workers.iter().filter(|side| side.is_here());
        if oldest { open.next().cloned() } else { open.next_back().cloned() }
    }

    fn workers_leave(&self) {
        self.workers.borrow().iter().for_each(|side| side.leave());
    }

    async fn play(&mut self, verb: u8, words: &[u8]) {
        let client = self.clients.last().cloned();
        match (verb, client) {
            (b'C', Some(client)) => client.say(words).await,
            (b'F', Some(client)) => client.finish().await,
            (b'X', Some(client)) => client.leave(),
            (b'N', _) => self.connect(),
            (b'W' | b'V', _) => {
                if let Some(worker) = self.worker(verb == b'V') {
                    worker.say(words).await;
                }
            }
            (b'E', _) => {
                if let Some(worker) = self.worker(false) {
                    worker.leave();
                }
            }
            (b'K', _) => {
                self.listener.close();
                self.workers_leave();
                self.come_to_life();
            }
            (b'T', _) => sleep(Duration::from_secs(3)).await,
            (b'D', _) => self.sidecar.plane.drain(),
            _ => {}
        }
    }

    /// Everybody leaves, the worker first; then nothing may be left.
    async fn end(self) -> Transcript {
        sleep(Duration::from_millis(10)).await;
        self.workers_leave();
        sleep(Duration::from_millis(10)).await;
        self.clients.iter().for_each(|side| side.leave());
        // What is repeated finds a worker that leaves as well: a client that half-closed, said that it was
        // there and then left cannot be told from one that waits.
        self.listener.close();
        self.sidecar.gate().close(&Refusal::Stopping);
        sleep(Duration::from_millis(10)).await;
        self.workers_leave();
        let mut faults = Vec::new();
        if timeout(6 * WAIT, self.sidecar.ended()).await.is_err() {
            faults.push("a connection does not end".to_owned());
        }
        let (waiting, held) = (self.sidecar.gate().waiting(), self.sidecar.buffers_held());
        if waiting > 0 || held > 0 {
            faults.push(format!("at the end {waiting} are waiting and {held} buffers are held"));
        }
        for life in &self.lives {
            if life.in_flight() > 0 {
                faults.push(format!("a slot is missing: {life:?}"));
            }
        }
        if self.listener.open_max.get() > SLOTS {
            faults.push(format!("{} connections to {SLOTS} slots", self.listener.open_max.get()));
        }
        let spoken = |sides: &[Rc<Side>]| sides.iter().map(|side| side.spoken.borrow().clone()).collect();
        Transcript { clients: spoken(&self.clients), workers: spoken(&self.workers.borrow()), faults }
    }
}

/// One end of a connection and all that passed there.
struct Side {
    end: RefCell<Option<End>>,
    spoken: RefCell<Spoken>,
}

impl Side {
    fn new(end: End) -> Rc<Self> {
        let side = Rc::new(Self { end: RefCell::new(Some(end)), spoken: RefCell::default() });
        spawn_local(Rc::clone(&side).listen());
        side
    }

    fn is_here(&self) -> bool {
        self.end.borrow().is_some()
    }

    fn leave(&self) {
        let end = self.end.borrow_mut().take();
        drop(end);
    }

    async fn listen(self: Rc<Self>) {
        let mut bytes = [0; 1024];
        loop {
            let read = poll_fn(|cx| {
                let mut end = self.end.borrow_mut();
                let Some(end) = end.as_mut() else { return Poll::Ready(None) };
                let mut buf = ReadBuf::new(&mut bytes);
                let read = ready!(Pin::new(end).poll_read(cx, &mut buf));
                Poll::Ready(Some(read.map(|()| buf.filled().len())))
            });
            let count = match read.await {
                None => return,
                Some(Ok(count)) => count,
                Some(Err(_)) => {
                    self.spoken.borrow_mut().ended = Some(Ended::Reset);
                    return;
                }
            };
            if count == 0 {
                self.spoken.borrow_mut().ended = Some(Ended::Clean);
                return;
            }
            self.spoken.borrow_mut().received.extend_from_slice(&bytes[..count]);
        }
    }

    /// Says what the other end takes within a second.
    async fn say(&self, mut words: &[u8]) {
        let saying = async {
            while !words.is_empty() {
                let written = poll_fn(|cx| {
                    let mut end = self.end.borrow_mut();
                    let Some(end) = end.as_mut() else { return Poll::Ready(None) };
                    Poll::Ready(ready!(Pin::new(end).poll_write(cx, words)).ok())
                });
                let Some(count) = written.await else { return };
                self.spoken.borrow_mut().sent.extend_from_slice(&words[..count]);
                words = &words[count..];
            }
        };
        // Who is not listened to stops in the middle.
        let _ = timeout(Duration::from_secs(1), saying).await;
    }

    async fn finish(&self) {
        let end = self.end.borrow_mut().take();
        if let Some(mut end) = end {
            let _ = end.shutdown().await;
            self.end.borrow_mut().replace(end);
        }
    }
}
