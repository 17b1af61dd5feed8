//! One instance: its process, its connections, and what is known of it.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::link::Link;
use super::log::{Log, Stream};
use super::payload::StartFailure;
use super::process::{self, Started};
use super::tail::Tail;
use super::tree;
use crate::clock;

/// How long the last lines of a process that has ended may take to arrive.
const LINES_PATIENCE: Duration = Duration::from_secs(2);

/// One instance.
#[derive(Debug)]
pub(super) struct Instance {
    /// `c-…`.
    pub(super) id: String,
    /// Its first process, with which it lives and dies.
    pub(super) pid: i32,
    /// The connections to it.
    pub(super) link: Link,
    /// Requests that it holds.
    pub(super) in_flight: Cell<u16>,
    /// How often it came to rest: who waits for it to have rested long enough compares.
    pub(super) rests: Cell<u64>,
    /// Whether its start is over.
    pub(super) is_created: Cell<bool>,
    /// Whether it is to be destroyed before anybody uses it again.
    pub(super) is_doomed: Cell<bool>,
    /// Why its health check fails.
    pub(super) illness: RefCell<Option<StartFailure>>,
    memory_kb: Cell<u64>,
    tail: Rc<RefCell<Tail>>,
    lanes: RefCell<Vec<JoinHandle<()>>>,
    exit: watch::Sender<Option<ExitStatus>>,
}

impl Instance {
    /// Of a process that was just started.
    pub(super) fn new(id: String, started: Started, address: SocketAddr, log: &Rc<Log>) -> Rc<Self> {
        let tail = Rc::new(RefCell::new(Tail::default()));
        let [out, err] = started.pipes;
        let lane = |pipe, stream| {
            let (log, tail) = (Rc::clone(log), Rc::clone(&tail));
            tokio::task::spawn_local(process::read_lines(pipe, move |line| {
                log.output(stream, line);
                tail.borrow_mut().push(line);
            }))
        };
        let lanes = vec![lane(out, Stream::Out), lane(err, Stream::Err)];
        Rc::new(Self {
            id,
            pid: started.pid,
            link: Link::new(address),
            in_flight: Cell::new(0),
            rests: Cell::new(0),
            is_created: Cell::new(false),
            is_doomed: Cell::new(false),
            illness: RefCell::new(None),
            memory_kb: Cell::new(0),
            tail,
            lanes: RefCell::new(lanes),
            exit: watch::Sender::new(None),
        })
    }

    /// Its first process has ended.
    pub(super) fn on_exit(&self, status: ExitStatus) {
        self.exit.send_replace(Some(status));
        self.link.close();
    }

    /// How its first process ended, if it has.
    pub(super) fn exit(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// Waits for the end of its first process.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub(super) async fn exited(&self) -> ExitStatus {
        let mut exit = self.exit.subscribe();
        // We hold the sender, so it cannot be closed.
        let status = exit.wait_for(Option::is_some).await.ok().and_then(|status| *status);
        status.unwrap_or_default()
    }

    /// The most memory that it has used, as far as anybody has looked. Looks once more.
    pub(super) fn memory_kb(&self) -> u64 {
        self.memory_kb.set(self.memory_kb.get().max(tree::memory_kb()));
        self.memory_kb.get()
    }

    /// The last of what it wrote. Waits for the rest where the process has ended.
    pub(super) async fn logs(&self) -> String {
        if self.exit().is_some() {
            let lanes = self.lanes.take();
            clock::timeout(LINES_PATIENCE, async {
                for lane in lanes {
                    // A lane that panicked has said so.
                    let _ = lane.await;
                }
            })
            .await;
        }
        self.tail.borrow().text()
    }
}
