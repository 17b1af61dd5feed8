//! A worker that misbehaves on purpose, and keeps a journal of it.
//!
//! It notes what it is about to do before it does it, so that afterwards its
//! faults can be told from the sidecar's. What it checks itself it notes as an
//! accusation: a body that is not what its client sent, a field that should have
//! ended at the sidecar.

use std::io;
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use socket2::SockRef;
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::net::UnixListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::content::{Checker, any_size, upwards};
use super::fault::Fault;
use super::journal::{Journal, What};
use super::method::Method;
use super::wire::{Broken, Incoming, Outgoing, Pace, Read, field_of, write_message};
use crate::body::Framing;
use crate::http::{Request, parse_request};

/// Faults are on while this file exists in the journal's directory.
pub(super) const SWITCH: &str = "faults";

/// A connection may idle for ever.
const NO_HURRY: Duration = Duration::from_secs(24 * 3600);

/// Flags of `misbehave`.
#[derive(Args, Clone, Debug)]
pub(crate) struct MisbehaveArgs {
    /// Socket to create.
    #[arg(long, value_name = "PATH")]
    pub(crate) unix: PathBuf,
    /// Directory of the journals, and of the file `faults` that switches faults on.
    #[arg(long, value_name = "PATH")]
    pub(crate) dir: PathBuf,
    /// Its place in the pool.
    #[arg(long)]
    pub(crate) worker: u32,
    /// Start of everything random.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Of a thousand requests, how many are mistreated.
    #[arg(long, default_value_t = 110)]
    pub(crate) faults_per_mille: u32,
    /// Mean life until a crash, in milliseconds.
    #[arg(long, default_value_t = 5000)]
    pub(crate) mean_life_ms: u64,
}

/// Serves until it ends itself, or is ended.
///
/// # Errors
/// The socket or the journal cannot be made.
pub(crate) async fn run(args: &MisbehaveArgs) -> io::Result<()> {
    let journal = Journal::open(&args.dir, args.worker)?;
    // Another life, another character; which one it is follows from how many there were before.
    let life = std::fs::read_dir(&args.dir)?.count() as u64;
    let mut rng = fastrand::Rng::with_seed(args.seed ^ (u64::from(args.worker) << 32) ^ (life << 40));
    let worker = Rc::new(Worker {
        journal,
        switch: args.dir.join(SWITCH),
        faults_per_mille: args.faults_per_mille,
        crash_at: Instant::now() + exponential(&mut rng, args.mean_life_ms),
    });
    if worker.is_rude() && rng.u8(..4) == 0 {
        worker.journal.note(&What::Unasked { fault: Fault::SlowStart });
        sleep(Duration::from_millis(rng.u64(0..500))).await;
    }
    let listener = UnixListener::bind(&args.unix)?;
    LocalSet::new().run_until(worker.accept_all(listener, rng)).await
}

fn exponential(rng: &mut fastrand::Rng, mean_ms: u64) -> Duration {
    Duration::from_secs_f64(-(1.0 - rng.f64()).ln() * mean_ms as f64 / 1e3)
}

struct Worker {
    journal: Journal,
    switch: PathBuf,
    faults_per_mille: u32,
    /// The first request from then on brings the end.
    crash_at: Instant,
}

/// Whether the connection goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Request,
    Close,
}

impl Worker {
    /// Must run inside a [`LocalSet`].
    async fn accept_all(self: Rc<Self>, listener: UnixListener, mut rng: fastrand::Rng) -> io::Result<()> {
        for number in 1.. {
            if self.is_rude() && rng.u8(..50) == 0 {
                self.journal.note(&What::Unasked { fault: Fault::SlowAccept });
                sleep(Duration::from_millis(rng.u64(0..500))).await;
            }
            let (stream, _) = listener.accept().await?;
            let (from, to) = stream.into_split();
            let conversation = Conversation {
                worker: Rc::clone(&self),
                number,
                from: Incoming::new(from, NO_HURRY),
                to,
                rng: rng.fork(),
            };
            spawn_local(conversation.run());
        }
        Ok(())
    }

    /// Whether faults are on now.
    fn is_rude(&self) -> bool {
        self.switch.exists()
    }

    /// Whether its life is over.
    fn is_due(&self) -> bool {
        Instant::now() >= self.crash_at
    }

    fn die(&self, rng: &mut fastrand::Rng) -> ! {
        self.journal.note(&What::Dies);
        match rng.u8(..3) {
            0 => std::process::abort(),
            1 => std::process::exit(0),
            _ => std::process::exit(3),
        }
    }
}

/// One connection.
struct Conversation {
    worker: Rc<Worker>,
    number: u64,
    from: Incoming<OwnedReadHalf>,
    to: OwnedWriteHalf,
    rng: fastrand::Rng,
}

impl Conversation {
    async fn run(mut self) {
        while let Ok(Next::Request) = self.next().await {}
    }

    fn note(&self, what: &What) {
        self.worker.journal.note(what);
    }

    async fn next(&mut self) -> Result<Next, Broken> {
        if !self.from.has_ahead() && self.await_bytes().await? == Next::Close {
            return Ok(Next::Close);
        }
        let head = match self.from.head(parse_request, usize::MAX).await {
            Ok(head) => head,
            Err(Broken::Malformed(what)) => {
                self.note(&What::Accuses(format!("a worker got a malformed head: {what}")));
                return Ok(Next::Close);
            }
            Err(broken) => return Err(broken),
        };
        self.serve(&head).await
    }

    /// Waits for a request, and may lose patience or its mind before it is read.
    async fn await_bytes(&mut self) -> Result<Next, Broken> {
        let impatient = self.worker.is_rude() && self.rng.u8(..8) == 0;
        // In the order of what passes between two requests, so that a close meets the next one.
        let patience =
            if impatient { Duration::from_micros((self.rng.f64() * 17.0).exp2() as u64) } else { NO_HURRY };
        let ready = timeout(patience, self.from.source().readable()).await;
        if ready.is_err() {
            self.note(&What::Unasked { fault: Fault::IdleClose });
            return Ok(Next::Close);
        }
        if has_bytes(self.from.source()) && self.worker.is_rude() {
            if self.worker.is_due() && self.rng.u8(..4) == 0 {
                self.note(&What::Unasked { fault: Fault::CrashUnread });
                self.worker.die(&mut self.rng);
            }
            if self.rng.u32(..6000) < self.worker.faults_per_mille {
                self.note(&What::Unasked { fault: Fault::ResetUnread });
                return Ok(Next::Close);
            }
        }
        Ok(Next::Request)
    }

    async fn serve(&mut self, head: &Read<Request>) -> Result<Next, Broken> {
        let method = Method::named(head.first_line().split(' ').next().unwrap_or_default());
        let (Some(id), Some(method)) = (head.number("x-soak-id"), method) else {
            self.note(&What::Accuses(format!("a worker got {:?} without an id", head.first_line())));
            return Ok(Next::Close);
        };
        self.note(&What::Executed { id, method, on: self.number });
        for gone in ["connection", "keep-alive", "proxy-connection"] {
            if head.field(gone).is_some() {
                self.note(&What::Accuses(format!("request {id} carries {gone}")));
            }
        }
        let is_calm = head.field("x-soak-calm").is_some();
        let fault = if is_calm { None } else { self.choose_fault() };
        if let Some(fault) = fault {
            self.note(&What::Mistreats { id, fault, on: self.number });
        }
        let has_body = head.parsed.framing != Framing::Length(0);
        if matches!(fault, Some(Fault::CrashReading | Fault::ResetReading)) {
            return self.give_up(has_body, fault == Some(Fault::CrashReading)).await;
        }
        // One who answers early and stalls or breaks off does not read first either.
        let is_early = !is_calm && has_body && self.rng.u8(..8) == 0;
        let got = if is_early { "early".to_owned() } else { self.read_body(head, id).await? };
        match fault {
            Some(Fault::CrashBeforeAnswer) => self.worker.die(&mut self.rng),
            Some(Fault::Close) => return Ok(Next::Close),
            Some(Fault::Garbage) => return self.answer_garbage(method).await,
            _ => {}
        }
        let next = self.answer(id, method, &got, fault, is_calm).await?;
        if is_early && next == Next::Request {
            // The sidecar may send the rest, or end the connection: it knows that nobody needs it.
            let _ = self.receive(head, id).await?;
        }
        Ok(next)
    }

    fn choose_fault(&mut self) -> Option<Fault> {
        if !self.worker.is_rude() {
            return None;
        }
        let choices: &[Fault] = if self.worker.is_due() {
            &Fault::CRASHES[1..]
        } else if self.rng.u32(..1000) < self.worker.faults_per_mille {
            &Fault::RUDE
        } else {
            return None;
        };
        self.rng.choice(choices).copied()
    }

    /// Ends behind a head, with some of the body read or none.
    async fn give_up(&mut self, has_body: bool, dies: bool) -> Result<Next, Broken> {
        if has_body && self.rng.bool() {
            for _ in 0..self.rng.u8(1..5) {
                // More bytes may never come, if this was the last of them.
                let _ = timeout(Duration::from_millis(20), self.from.skip(4096)).await;
            }
        }
        if dies {
            self.worker.die(&mut self.rng);
        }
        Ok(Next::Close)
    }

    /// Reads the body and returns the account of it: bytes and checksum.
    async fn read_body(&mut self, head: &Read<Request>, id: u64) -> Result<String, Broken> {
        if head.field("expect").is_some() {
            self.to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| Broken::Reset)?;
        }
        let received = self.receive(head, id).await;
        if received.is_err() {
            self.note(&What::BrokenOff { id });
        }
        received
    }

    async fn receive(&mut self, head: &Read<Request>, id: u64) -> Result<String, Broken> {
        let mut checker = Checker::new(upwards(id));
        let pace = self.any_pace(head.field("x-soak-calm").is_some());
        let ended = self.from.body(head.parsed.framing, pace, &mut |bytes| checker.take(bytes)).await;
        if let Some(at) = checker.wrong_near() {
            self.note(&What::Accuses(format!("the body of request {id} is wrong from byte {at} on")));
        }
        let trailers = match ended {
            Ok(trailers) => trailers,
            Err(Broken::Malformed(what)) => {
                self.note(&What::Accuses(format!("the body of request {id} is malformed: {what}")));
                return Err(Broken::Malformed(what));
            }
            Err(broken) => return Err(broken),
        };
        let (announced, seen) = (head.number("x-soak-length"), checker.seen());
        if announced != Some(seen) {
            self.note(&What::Accuses(format!("request {id}: {announced:?} bytes sent, {seen} arrived")));
        }
        let sum = format!("{:016x}", checker.sum());
        if head.parsed.framing == Framing::Chunked && field_of(&trailers, "X-Soak-Sum") != Some(&sum) {
            self.note(&What::Accuses(format!("request {id} lost its trailer: {trailers:?}, not {sum}")));
        }
        Ok(format!("{seen}:{sum}"))
    }

    fn any_pace(&mut self, is_calm: bool) -> Pace {
        if is_calm { Pace::FAST } else { Pace::any(&mut self.rng) }
    }

    async fn answer_garbage(&mut self, method: Method) -> Result<Next, Broken> {
        const GARBAGE: [&[u8]; 6] = [
            b"Segmentation fault (core dumped)\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nbroken field\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ];
        // The last of them would be a proper answer to HEAD.
        let count = GARBAGE.len() - usize::from(method == Method::Head);
        let words = GARBAGE[self.rng.usize(..count)];
        self.to.write_all(words).await.map_err(|_| Broken::Reset)?;
        Ok(Next::Close)
    }

    async fn answer(
        &mut self,
        id: u64,
        method: Method,
        got: &str,
        fault: Option<Fault>,
        is_calm: bool,
    ) -> Result<Next, Broken> {
        let len = if is_calm { self.rng.u64(..4096) } else { any_size(&mut self.rng) };
        // A close over unread bytes is a reset, and a reset is no end: an early answer has a length.
        let shape = if is_calm || got == "early" { self.rng.u8(..4) } else { self.rng.u8(..6) };
        let closes = shape >= 4 || (!is_calm && self.rng.u8(..6) == 0);
        let mut head = String::new();
        if self.rng.u8(..10) == 0 {
            head.push_str("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        }
        let version = if shape == 5 { "1.0" } else { "1.1" };
        head.push_str(&format!(
            "HTTP/{version} 200 OK\r\nX-Soak-Id: {id}\r\nX-Soak-Length: {len}\r\nX-Soak-Got: {got}\r\n"
        ));
        match shape {
            0 | 1 => head.push_str(&format!("Content-Length: {len}\r\n")),
            2 | 3 => head.push_str("Transfer-Encoding: chunked\r\nTrailer: X-Soak-Sum\r\n"),
            _ => self.note(&What::UntilClose { id }),
        }
        head.push_str(match (closes, shape) {
            (true, 5) => "\r\n",
            (true, _) => "Connection: close\r\n\r\n",
            (false, _) => "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n",
        });
        let breaks = matches!(fault, Some(Fault::Truncated | Fault::CrashAnswering));
        // Without a body only the head can break off.
        let breaks_head = breaks && (method == Method::Head || len == 0);
        if breaks_head {
            head.truncate(self.rng.usize(..head.len()));
        }
        let mut pace = self.any_pace(is_calm);
        if fault == Some(Fault::Stall) {
            let pause = Duration::from_millis(self.rng.u64(50..1000));
            if self.rng.bool() {
                sleep(pause).await;
            } else {
                pace = Pace { bite: head.len() + 100, rest: pause, rests: 1 };
            }
        }
        let body = if method == Method::Head || breaks_head {
            Outgoing { key: id, len: 0, sent: 0, chunked: false, pace }
        } else {
            let sent = if breaks { self.rng.u64(..len) } else { len };
            Outgoing { key: id, len, sent, chunked: matches!(shape, 2 | 3), pace }
        };
        let excess: &[u8] =
            if fault == Some(Fault::Excess) && shape < 4 { b"bytes behind the answer" } else { b"" };
        // Buffered, they arrive together with a small answer; otherwise a moment later.
        let capacity = if self.rng.bool() { 0 } else { 64 << 10 };
        let mut to = BufWriter::with_capacity(capacity, &mut self.to);
        let written = async {
            write_message(&mut to, head.as_bytes(), body, &mut self.rng).await?;
            to.write_all(excess).await?;
            to.flush().await
        };
        written.await.map_err(|_| Broken::Reset)?;
        if breaks {
            if fault == Some(Fault::CrashAnswering) {
                self.worker.die(&mut self.rng);
            }
            return Ok(Next::Close);
        }
        self.note(&What::Ended { id });
        Ok(if closes { Next::Close } else { Next::Request })
    }
}

/// Whether bytes wait to be read, and not just the end.
fn has_bytes(from: &OwnedReadHalf) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    matches!(SockRef::from(from.as_ref()).peek(&mut byte), Ok(1))
}
