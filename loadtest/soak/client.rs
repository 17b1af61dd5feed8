//! Clients that keep their connection, pipeline, dawdle, give up or half-close, and
//! that believe nothing: every answer must prove that it belongs to its request.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::content::{Checker, Sum, any_size, upwards};
use super::journal::now_ns;
use super::judge::{Asked, Outcome};
use super::method::Method;
use super::wire::{Broken, Incoming, Outgoing, Pace, Read, field_of, write_message};
use crate::body::Framing;
use crate::http::{Answer, parse_answer, parse_answer_to_head};

/// Silence of this length is a hang (RELIABILITY R7); every rest that is taken on purpose is shorter.
pub(super) const HANG: Duration = Duration::from_secs(12);
/// From one request of a calm client to its next.
const CALM_PAUSE: Duration = Duration::from_millis(25);
/// How long a client waits for `100 Continue` before it sends its body all the same.
const CONTINUE_PATIENCE: Duration = Duration::from_millis(500);

/// What all clients do at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// Everything that HTTP allows.
    Wild,
    /// Small plain requests at a steady pace, for latency.
    Calm,
    /// Nothing: connections are closed.
    Resting,
    /// No more.
    Over,
}

/// What all clients share.
pub(super) struct Board {
    pub(super) address: SocketAddr,
    pub(super) asked: RefCell<Vec<Asked>>,
    /// Microseconds of each calm answer.
    pub(super) calm_us: RefCell<Vec<u32>>,
    /// Promises broken outside of any request.
    pub(super) accusations: RefCell<Vec<String>>,
    /// Clients that rest now.
    pub(super) resting: Cell<usize>,
}

/// One client: a connection at a time.
pub(super) struct Client {
    pub(super) board: Rc<Board>,
    pub(super) mood: watch::Receiver<Mood>,
    pub(super) rng: fastrand::Rng,
    /// The next request's id; ids of different clients never meet.
    pub(super) next_id: u64,
}

struct Connection {
    from: Incoming<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

/// One request before it is sent.
#[derive(Clone, Copy, Debug)]
struct Plan {
    id: u64,
    method: Method,
    is_10: bool,
    /// The client says `Connection: close`, or an HTTP/1.0 client does not ask for more.
    closes: bool,
    expects: bool,
    /// Sends its body to the end whatever an answer says; others stop where one closes.
    stubborn: bool,
    half_closes: bool,
    is_calm: bool,
    /// `None`: no body and no length.
    body: Option<Outgoing>,
    /// Bytes of its head per write.
    head_bite: usize,
    read_pace: Pace,
}

/// How far the sending of a batch has come.
#[derive(Default)]
struct Sending {
    /// Checksum of each body that was sent whole.
    sums: RefCell<Vec<u64>>,
    /// An answer of any kind has come.
    heard: Notify,
    has_heard: Cell<bool>,
    /// A final answer that closes has come: nobody will read the rest.
    is_over: Cell<bool>,
    /// A write found the connection broken. The kernel tells of a reset once: whoever reads behind
    /// that finds what looks like a clean end.
    is_broken: Cell<bool>,
}

/// The sending direction, shut once nobody reads any more.
struct Valve<'a> {
    to: &'a mut OwnedWriteHalf,
    sending: &'a Sending,
}

impl AsyncWrite for Valve<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.sending.is_over.get() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = std::task::ready!(Pin::new(&mut *self.to).poll_write(cx, bytes));
        if written.is_err() {
            self.sending.is_broken.set(true);
        }
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.to).poll_shutdown(cx)
    }
}

/// Whether the connection goes on behind an answer.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    Goes,
    Over,
}

impl Client {
    /// Asks until it is told to stop.
    pub(super) async fn run(mut self) {
        let mut connection = None;
        loop {
            let mood = *self.mood.borrow_and_update();
            match mood {
                Mood::Wild | Mood::Calm => {
                    let open = match connection.take() {
                        Some(open) => Some(open),
                        None => self.connect().await,
                    };
                    let Some(open) = open else { continue };
                    let is_calm = mood == Mood::Calm;
                    connection = self.turn(open, is_calm).await;
                    if is_calm {
                        let pause = CALM_PAUSE.mul_f64(0.5 + self.rng.f64());
                        // A change of mood ends the pause.
                        let _ = timeout(pause, self.mood.changed()).await;
                    } else if self.rng.u8(..10) == 0 {
                        sleep(Duration::from_millis(self.rng.u64(0..100))).await;
                    }
                }
                Mood::Resting => {
                    connection = None;
                    self.board.resting.set(self.board.resting.get() + 1);
                    let changed = self.mood.changed().await;
                    self.board.resting.set(self.board.resting.get() - 1);
                    if changed.is_err() {
                        return;
                    }
                }
                Mood::Over => return,
            }
        }
    }

    async fn connect(&self) -> Option<Connection> {
        match timeout(HANG, TcpStream::connect(self.board.address)).await {
            Ok(Ok(stream)) => {
                let _ = stream.set_nodelay(true);
                let (from, to) = stream.into_split();
                Some(Connection { from: Incoming::new(from, HANG), to })
            }
            failed => {
                let why = failed.map_or("nothing happens".to_owned(), |error| format!("{:?}", error.err()));
                self.board.accusations.borrow_mut().push(format!("a client cannot connect: {why}"));
                sleep(Duration::from_millis(100)).await;
                None
            }
        }
    }

    /// One request, or two at once. Returns the connection if it can be used again.
    async fn turn(&mut self, mut connection: Connection, is_calm: bool) -> Option<Connection> {
        let count = if !is_calm && self.rng.u8(..10) == 0 { 2 } else { 1 };
        let plans: Vec<Plan> =
            (1..=count).map(|place| self.plan(is_calm, place == count, count == 1)).collect();
        let leaves = !is_calm && self.rng.u8(..25) == 0;
        let patience = Duration::from_micros((self.rng.f64() * 17.0).exp2() as u64);
        let (began, began_ns) = (Instant::now(), now_ns());
        let mut outcomes = Vec::new();
        let (reading, writing) = (self.rng.fork(), self.rng.fork());
        let exchange = exchange(&mut connection, &plans, &mut outcomes, reading, writing);
        let then = if leaves {
            timeout(patience, exchange).await.unwrap_or_else(|_| {
                outcomes.resize(plans.len(), Outcome::Left);
                Then::Over
            })
        } else {
            exchange.await
        };
        if is_calm && matches!(outcomes[..], [Outcome::Served { .. }]) {
            self.board.calm_us.borrow_mut().push(began.elapsed().as_micros().min(u32::MAX.into()) as u32);
        }
        // What stands behind a closing answer or a broken one was never asked.
        outcomes.resize(plans.len(), Outcome::Unasked);
        let ended_ns = now_ns();
        let notes = plans.iter().zip(outcomes).map(|(plan, outcome)| Asked {
            id: plan.id,
            method: plan.method,
            half_closed: plan.half_closes,
            began: began_ns,
            ended: ended_ns,
            outcome,
        });
        self.board.asked.borrow_mut().extend(notes);
        match then {
            Then::Goes => Some(connection),
            Then::Over => {
                if leaves && self.rng.bool() {
                    // Half of those who leave do so with a reset.
                    let _ = connection.to.as_ref().set_zero_linger();
                }
                None
            }
        }
    }

    fn plan(&mut self, is_calm: bool, is_last: bool, is_alone: bool) -> Plan {
        let rng = &mut self.rng;
        let id = self.next_id;
        self.next_id += 1;
        let method = match rng.u8(..100) {
            0..42 => Method::Get,
            42..50 => Method::Head,
            50..78 => Method::Post,
            78..90 => Method::Put,
            _ => Method::Delete,
        };
        let is_10 = !is_calm && is_alone && rng.u8(..12) == 0;
        let has_body = match method {
            Method::Get | Method::Head => !is_calm && rng.u8(..20) == 0,
            Method::Post | Method::Put => true,
            Method::Delete => rng.bool(),
        };
        let pace = |rng: &mut fastrand::Rng| if is_calm { Pace::FAST } else { Pace::any(rng) };
        let body = has_body.then(|| {
            let len = if is_calm { rng.u64(..4096) } else { any_size(rng) };
            Outgoing { key: upwards(id), len, sent: len, chunked: !is_10 && rng.bool(), pace: pace(rng) }
        });
        let read_pace = pace(rng);
        let half_closes = !is_calm && is_last && rng.u8(..50) == 0;
        Plan {
            id,
            method,
            is_10,
            closes: half_closes || (is_last && !is_calm && rng.u8(..20) == 0),
            expects: has_body && !is_calm && is_alone && !is_10 && rng.u8(..8) == 0,
            half_closes,
            is_calm,
            body,
            head_bite: if !is_calm && rng.u8(..10) == 0 { rng.usize(1..100) } else { usize::MAX },
            stubborn: read_pace.rests == 0 && rng.bool(),
            read_pace,
        }
    }
}

impl Plan {
    fn head(&self) -> String {
        let version = if self.is_10 { "1.0" } else { "1.1" };
        let mut head = format!(
            "{} /s/{} HTTP/{version}\r\nHost: soak\r\nX-Soak-Id: {}\r\n",
            self.method.name(),
            self.id,
            self.id
        );
        head.push_str(&format!("X-Soak-Length: {}\r\n", self.body.map_or(0, |body| body.len)));
        match (self.closes, self.is_10) {
            (true, false) => head.push_str("Connection: close\r\n"),
            (false, true) => head.push_str("Connection: keep-alive\r\n"),
            _ => {}
        }
        if self.is_calm {
            head.push_str("X-Soak-Calm: 1\r\n");
        }
        if self.expects {
            head.push_str("Expect: 100-continue\r\n");
        }
        match self.body {
            Some(Outgoing { chunked: true, .. }) => {
                head.push_str("Transfer-Encoding: chunked\r\nTrailer: X-Soak-Sum\r\n");
            }
            Some(body) => head.push_str(&format!("Content-Length: {}\r\n", body.len)),
            None => {}
        }
        head.push_str("\r\n");
        head
    }
}

/// Sends the requests of `plans` and reads their answers at the same time, as a client must that
/// can be answered early. Adds one outcome per answer that could be expected.
async fn exchange(
    connection: &mut Connection,
    plans: &[Plan],
    outcomes: &mut Vec<Outcome>,
    mut reading: fastrand::Rng,
    mut writing: fastrand::Rng,
) -> Then {
    let sending = Sending::default();
    let Connection { from, to } = connection;
    let wrote = {
        let mut write = pin!(send_all(to, plans, &sending, &mut writing));
        let mut read = pin!(async {
            for plan in plans {
                if reading.u8(..30) == 0 && !plan.is_calm {
                    sleep(Duration::from_millis(reading.u64(0..100))).await;
                }
                let (mut outcome, then) = read_answer(from, plan, outcomes.len(), &sending).await;
                if then == Then::Over && matches!(outcome, Outcome::Served { .. } | Outcome::Refused { .. }) {
                    outcome = read_end(from, outcome).await;
                }
                outcomes.push(outcome);
                if then == Then::Over {
                    return Then::Over;
                }
            }
            if let (true, Some(last)) = (from.has_ahead(), outcomes.last_mut()) {
                *last = Outcome::Wrong("bytes behind the last answer".into());
                return Then::Over;
            }
            Then::Goes
        });
        let mut written = None;
        let then = loop {
            tokio::select! {
                biased;
                then = &mut read => break then,
                wrote = &mut write, if written.is_none() => written = Some(wrote),
            }
        };
        if then == Then::Over {
            return Then::Over;
        }
        // The answers came early and promised that the connection goes on: so the rest is still taken.
        match written {
            Some(wrote) => wrote,
            None => timeout(HANG, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
        }
    };
    if let (Err(error), Some(last)) = (wrote, outcomes.last_mut()) {
        *last = match error.kind() {
            io::ErrorKind::TimedOut => Outcome::Hang,
            _ => Outcome::Wrong(format!(
                "the answer kept the connection, the request's rest did not pass: {error}"
            )),
        };
        return Then::Over;
    }
    Then::Goes
}

async fn send_all(
    to: &mut OwnedWriteHalf,
    plans: &[Plan],
    sending: &Sending,
    rng: &mut fastrand::Rng,
) -> io::Result<()> {
    let mut to = Valve { to, sending };
    for plan in plans {
        let head = plan.head();
        let body =
            plan.body.unwrap_or(Outgoing { key: 0, len: 0, sent: 0, chunked: false, pace: Pace::FAST });
        let mut pieces = head.as_bytes();
        while pieces.len() > plan.head_bite {
            let (now, later) = pieces.split_at(plan.head_bite);
            to.write_all(now).await?;
            tokio::task::yield_now().await;
            pieces = later;
        }
        if plan.expects {
            to.write_all(pieces).await?;
            pieces = b"";
            if !sending.has_heard.get() {
                // No word means to send it anyway (RFC 9110 §10.1.1).
                let _ = timeout(CONTINUE_PATIENCE, sending.heard.notified()).await;
            }
        }
        let sum = write_message(&mut to, pieces, body, rng).await?;
        sending.sums.borrow_mut().push(sum);
        if plan.half_closes {
            to.shutdown().await?;
        }
    }
    Ok(())
}

async fn read_answer(
    from: &mut Incoming<OwnedReadHalf>,
    plan: &Plan,
    place: usize,
    sending: &Sending,
) -> (Outcome, Then) {
    let parse = if plan.method == Method::Head { parse_answer_to_head } else { parse_answer };
    let head = loop {
        let head = match from.head(parse, plan.read_pace.bite).await {
            Ok(head) => head,
            Err(Broken::Silence) => return (Outcome::Hang, Then::Over),
            Err(Broken::Malformed(what)) => return wrong(format!("no HTTP: {what}")),
            Err(broken) => return (Outcome::NoAnswer(format!("{broken:?}")), Then::Over),
        };
        sending.has_heard.set(true);
        sending.heard.notify_one();
        match (head.parsed.is_interim, head.parsed.head.status) {
            (false, _) => break head,
            (true, 100 | 103) if !plan.is_10 => {}
            (true, status) => return wrong(format!("an interim {status}")),
        }
    };
    sending.is_over.set(!plan.stubborn && !head.parsed.head.keeps_alive);
    if plan.closes && head.parsed.head.keeps_alive {
        return wrong("was asked to close and keeps the connection".into());
    }
    match head.parsed.head.status {
        200 => read_body(from, plan, place, sending, &head).await,
        status => read_refusal(from, status, &head).await,
    }
}

fn wrong(what: String) -> (Outcome, Then) {
    (Outcome::Wrong(what), Then::Over)
}

async fn read_refusal(
    from: &mut Incoming<OwnedReadHalf>,
    status: u16,
    head: &Read<Answer>,
) -> (Outcome, Then) {
    let Some(reason) = head.field("x-warmfront-reason").map(str::to_owned) else {
        return wrong(format!("status {status} that no worker says and the sidecar does not explain"));
    };
    match from.body(head.parsed.framing, Pace::FAST, &mut |_| {}).await {
        Ok(_) => (Outcome::Refused { status, reason }, then(head)),
        Err(broken) => wrong(format!("status {status} ({reason}) was cut: {broken:?}")),
    }
}

async fn read_body(
    from: &mut Incoming<OwnedReadHalf>,
    plan: &Plan,
    place: usize,
    sending: &Sending,
    head: &Read<Answer>,
) -> (Outcome, Then) {
    let whose = head.number("x-soak-id");
    if whose != Some(plan.id) {
        return wrong(format!("got the answer to {whose:?}"));
    }
    let Some(meant) = head.number("x-soak-length") else { return wrong("got no length".into()) };
    let framing = head.parsed.framing;
    if plan.is_10 && framing == Framing::Chunked {
        return wrong("HTTP/1.0 got chunks".into());
    }
    let mut checker = Checker::new(plan.id);
    let ended = from.body(framing, plan.read_pace, &mut |bytes| checker.take(bytes)).await;
    let seen = checker.seen();
    if let Some(at) = checker.wrong_near() {
        return wrong(format!("the body is wrong from byte {at} on"));
    }
    let trailers = match ended {
        Ok(trailers) => trailers,
        Err(Broken::Silence) => return (Outcome::Hang, Then::Over),
        Err(Broken::Malformed(what)) => return wrong(format!("no HTTP: {what}")),
        Err(_) if seen > meant => return wrong(format!("{seen} bytes of {meant}")),
        Err(broken) => {
            return (Outcome::Cut(format!("{broken:?} after {seen} of {meant} bytes")), Then::Over);
        }
    };
    let is_head = plan.method == Method::Head;
    if !is_head && seen < meant && framing == Framing::UntilClose && sending.is_broken.get() {
        return (Outcome::Cut(format!("a reset after {seen} of {meant} bytes")), Then::Over);
    }
    if !is_head && seen < meant {
        let then = then(head);
        return (Outcome::Short(format!("{seen} of {meant} bytes, framed as {framing:?}")), then);
    }
    if !is_head && seen > meant {
        return wrong(format!("{seen} bytes of {meant}"));
    }
    let sum = format!("{:016x}", checker.sum());
    // Trailers end where HTTP/1.0 or a reframing makes a body without them.
    if field_of(&trailers, "x-soak-sum").is_some_and(|said| said != sum) {
        return wrong(format!("the trailer is of another body: {trailers:?}, not {sum}"));
    }
    let got = head.field("x-soak-got").unwrap_or_default();
    let len = plan.body.map_or(0, |body| body.len);
    let sent = match sending.sums.borrow().get(place) {
        // A head that announces nothing is all of the request, before its writer has noticed.
        None if len == 0 => Some(Sum::default().value()),
        sum => sum.copied(),
    };
    if got != "early" && sent.is_none_or(|sum| got != format!("{len}:{sum:016x}")) {
        return wrong(format!("the worker got {got:?}, sent was {sent:016x?}"));
    }
    (Outcome::Served { early: got == "early" }, then(head))
}

/// Behind a closing answer only the close may follow, and must.
async fn read_end(from: &mut Incoming<OwnedReadHalf>, outcome: Outcome) -> Outcome {
    if from.has_ahead() {
        return Outcome::Wrong("bytes behind a closing answer".into());
    }
    match from.more(1).await {
        Ok(()) => Outcome::Wrong("bytes behind a closing answer".into()),
        Err(Broken::Silence) => Outcome::Hang,
        Err(_) => outcome,
    }
}

/// Whether the connection goes on, says the answer.
fn then(head: &Read<Answer>) -> Then {
    if head.parsed.head.keeps_alive { Then::Goes } else { Then::Over }
}
