//! Sends the requests of a plan, each when it is due, whatever became of those before.
//!
//! A request takes a connection that rests, or a new one, up to a bound; if all are
//! taken it waits in line, and that is part of its latency, as it would be for a user.
//! One thread; tasks share a desk that none of them holds across a wait.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};

use crate::exchange::{self, Connection, Failure, exchange_with};
use crate::pace::Timer;
use crate::study::Load;
use crate::tally::ErrorKind;
use crate::target::Target;
use crate::warm::events::Events;
use crate::warm::ledger::Ledger;
use crate::warm::plan::{Due, Plan};
use crate::warm::scenario::{Kind, Request, Scenario};
use crate::warm::socket::Socket;

/// Between two tries to connect to a program that does not listen yet. One request tries for all.
const TRY_EVERY: Duration = Duration::from_millis(1);
/// How soon a run that shall end does.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What bounds a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Most connections at the same time.
    pub(crate) connections: u32,
    /// Longest wait of one request: for a connection from the moment it was due, for an answer from its sending.
    pub(crate) timeout: Duration,
}

/// A finished run.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) load: Load,
    pub(crate) ledger: Ledger,
    /// Whether it went on to its end.
    pub(crate) is_whole: bool,
}

/// Sends one scenario to one target; keeps its connections from run to run.
pub(crate) struct Sender {
    shared: Arc<Shared>,
}

impl Sender {
    /// Opens nothing yet.
    pub(crate) fn new(scenario: &Scenario, target: &Target, bounds: Bounds) -> Self {
        let host = match target {
            Target::Tcp(address) => address.to_string(),
            Target::Unix(_) => "localhost".into(),
        };
        let asks = scenario.requests.iter().map(|request| Ask::new(request, target, &host, bounds.timeout));
        let desk =
            Desk { idle: Vec::new(), waiting: VecDeque::new(), busy: 0, ledger: Ledger::new(Duration::ZERO) };
        let shared = Shared {
            asks: asks.collect(),
            target: target.clone(),
            host,
            bounds,
            desk: Mutex::new(desk),
            door: tokio::sync::Mutex::new(()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Runs `plan` from `start` on, until all is answered or `halts` says so; what is in flight then is not counted.
    /// If `is_patient`, a target that does not listen yet makes requests wait, not fail.
    ///
    /// # Errors
    /// The system gives no timer.
    ///
    /// # Cancel safety
    /// Dropped half-way, it ends all requests in flight.
    pub(crate) async fn run(
        &self,
        plan: &Plan,
        start: Instant,
        is_patient: bool,
        mut halts: impl FnMut() -> bool,
    ) -> io::Result<Finished> {
        self.shared.desk().ledger = Ledger::new(plan.length);
        let mut tasks = JoinSet::new();
        let mut looking = tokio::time::interval(LOOK_EVERY);
        let is_whole = {
            let work = async {
                self.dispatch(plan, start, is_patient, &mut tasks).await?;
                while let Some(done) = tasks.join_next().await {
                    done.map_err(io::Error::other)?;
                }
                io::Result::Ok(())
            };
            let mut work = std::pin::pin!(work);
            loop {
                // Both are polled again where they were: nothing is lost.
                tokio::select! {
                    done = &mut work => break done.map(|()| true)?,
                    _ = looking.tick() => if halts() { break false },
                }
            }
        };
        tasks.shutdown().await;
        let elapsed = start.elapsed();
        let mut desk = self.shared.desk();
        desk.busy = 0;
        desk.waiting.clear();
        let length = if is_whole { elapsed.max(plan.length) } else { elapsed };
        let ledger = std::mem::replace(&mut desk.ledger, Ledger::new(Duration::ZERO));
        let load = ledger.to_load(plan, length);
        Ok(Finished { load, ledger, is_whole })
    }

    async fn dispatch(
        &self,
        plan: &Plan,
        start: Instant,
        is_patient: bool,
        tasks: &mut JoinSet<()>,
    ) -> io::Result<()> {
        let timer = Timer::new()?;
        let mut due = plan.due.iter().peekable();
        while let Some(next) = due.peek() {
            timer.wait_until(start + next.at).await?;
            let now = Instant::now();
            while let Some(Due { at, request }) = due.next_if(|due| start + due.at <= now).copied() {
                let job = Job { request, at, due: start + at, is_patient };
                self.hand_out(job, now, tasks);
            }
            while let Some(done) = tasks.try_join_next() {
                done.map_err(io::Error::other)?;
            }
            tokio::task::yield_now().await;
        }
        // Silence at the end is part of the run.
        timer.wait_until(start + plan.length).await
    }

    fn hand_out(&self, job: Job, now: Instant, tasks: &mut JoinSet<()>) {
        let shared = &self.shared;
        let mut desk = shared.desk();
        desk.ledger.leave(now - job.due);
        if desk.busy >= shared.bounds.connections {
            desk.waiting.push_back(job);
            return;
        }
        let line = desk.take_line(shared.line_of(job.request), shared.bounds.connections);
        desk.busy += 1;
        let open = desk.busy + u32::try_from(desk.idle.len()).unwrap_or(u32::MAX);
        desk.ledger.connections = desk.ledger.connections.max(open);
        tasks.spawn(work(Arc::clone(shared), job, line));
    }
}

/// A request of the scenario, ready to be sent.
struct Ask {
    request: Request,
    plan: exchange::Plan,
    /// Names of the times that it has besides its own.
    event: String,
    handshake: String,
}

impl Ask {
    fn new(request: &Request, target: &Target, host: &str, timeout: Duration) -> Self {
        let streaming = match request.kind {
            Kind::Events { count, every } => every * count,
            Kind::Http | Kind::Message => Duration::ZERO,
        };
        let plan = exchange::Plan::of_request(
            target.clone(),
            request.to_bytes(host),
            request.method == "HEAD",
            request.expected,
            timeout + streaming,
        );
        let event = format!("{}: event", request.name);
        let handshake = format!("{}: handshake", request.name);
        Self { request: request.clone(), plan, event, handshake }
    }
}

/// One request that is due.
#[derive(Clone, Copy, Debug)]
struct Job {
    request: usize,
    /// When it is due, since the run began, ...
    at: Duration,
    /// ... and as a moment.
    due: Instant,
    is_patient: bool,
}

/// What a request can travel on: any HTTP connection, or a WebSocket of its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineOf {
    Http,
    Message(usize),
}

enum Line {
    Http(Connection),
    Message(usize, Socket),
}

impl Line {
    fn of(&self) -> LineOf {
        match self {
            Self::Http(_) => LineOf::Http,
            Self::Message(request, _) => LineOf::Message(*request),
        }
    }
}

/// What tasks share; never contended, since all run on one thread and none waits while holding it.
struct Desk {
    idle: Vec<Line>,
    waiting: VecDeque<Job>,
    busy: u32,
    ledger: Ledger,
}

impl Desk {
    /// The newest idle line of a kind; makes room for a new one if there is none.
    fn take_line(&mut self, of: LineOf, most: u32) -> Option<Line> {
        if let Some(place) = self.idle.iter().rposition(|line| line.of() == of) {
            return Some(self.idle.remove(place));
        }
        let open = self.busy as usize + self.idle.len();
        if open >= most as usize && !self.idle.is_empty() {
            self.idle.remove(0);
        }
        None
    }
}

struct Shared {
    asks: Vec<Ask>,
    target: Target,
    host: String,
    bounds: Bounds,
    desk: Mutex<Desk>,
    /// Held by the one request that tries to connect for all, while the target does not listen.
    door: tokio::sync::Mutex<()>,
}

/// Requests of one connection until none waits.
async fn work(shared: Arc<Shared>, mut job: Job, mut line: Option<Line>) {
    loop {
        let kept = shared.perform(job, line.take()).await;
        let mut desk = shared.desk();
        let Some(next) = desk.waiting.pop_front() else {
            desk.busy = desk.busy.saturating_sub(1);
            desk.idle.extend(kept);
            return;
        };
        desk.ledger.wait(next.due.elapsed());
        line = kept.filter(|line| line.of() == shared.line_of(next.request));
        job = next;
    }
}

impl Shared {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line_of(&self, request: usize) -> LineOf {
        match self.asks[request].request.kind {
            Kind::Message => LineOf::Message(request),
            Kind::Http | Kind::Events { .. } => LineOf::Http,
        }
    }

    /// Sends one request and books what comes of it; returns what can be used again.
    async fn perform(&self, job: Job, line: Option<Line>) -> Option<Line> {
        let ask = &self.asks[job.request];
        let deadline = job.due + self.bounds.timeout;
        let done = if Instant::now() >= deadline {
            Err((ErrorKind::Timeout, "still waiting for a connection".into()))
        } else {
            match (ask.request.kind, line) {
                (Kind::Message, Some(Line::Message(_, socket))) => self.message(ask, job, Some(socket)).await,
                (Kind::Message, _) => self.message(ask, job, None).await,
                (Kind::Http, line) => self.exchange(ask, job, line).await,
                (Kind::Events { count, every }, line) => self.stream(ask, job, line, count, every).await,
            }
        };
        done.unwrap_or_else(|failure| {
            self.desk().ledger.fail(job.at, &ask.request.name, failure);
            None
        })
    }

    /// A connection on which nothing is on its way.
    async fn connection(&self, job: Job, line: Option<Line>) -> Result<Connection, Failure> {
        if let Some(Line::Http(mut connection)) = line
            && connection.is_quiet().await
        {
            return Ok(connection);
        }
        self.open(job, || Connection::open(&self.asks[job.request].plan)).await
    }

    /// Opens something; while nobody listens and the run is patient, one after the other tries again and again.
    async fn open<T, F>(&self, job: Job, mut open: impl FnMut() -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let refusal = match open().await {
            Err((ErrorKind::Connect, why)) if job.is_patient => (ErrorKind::Connect, why),
            opened => return opened,
        };
        let deadline = job.due + self.bounds.timeout;
        let Ok(_turn) = timeout_at(deadline.into(), self.door.lock()).await else { return Err(refusal) };
        loop {
            match open().await {
                Err((ErrorKind::Connect, _)) if Instant::now() + TRY_EVERY < deadline => {
                    sleep(TRY_EVERY).await
                }
                opened => return opened,
            }
        }
    }

    async fn exchange(&self, ask: &Ask, job: Job, line: Option<Line>) -> Result<Option<Line>, Failure> {
        let mut kept = Some(self.connection(job, line).await?);
        let done = exchange_with(&ask.plan, &mut kept, Some(job.due), &mut |_| {}).await?;
        let mut desk = self.desk();
        desk.ledger.succeed(&ask.request.name, job.at, done.latency, done.service);
        desk.ledger.carry(done.body_bytes, ask.request.body.len() as u64);
        Ok(kept.map(Line::Http))
    }

    /// A stream of events: its own time is that of the first.
    async fn stream(
        &self,
        ask: &Ask,
        job: Job,
        line: Option<Line>,
        count: u32,
        every: Duration,
    ) -> Result<Option<Line>, Failure> {
        let mut kept = Some(self.connection(job, line).await?);
        let mut events = Events::default();
        let sent = Instant::now();
        let mut on_content = |content: &[u8]| events.feed(content, Instant::now(), SystemTime::now());
        let done = exchange_with(&ask.plan, &mut kept, Some(job.due), &mut on_content).await?;
        let mut desk = self.desk();
        for (event, place) in events.all.iter().zip(0_u32..) {
            let latency = event.arrived.saturating_duration_since(job.due + every * place);
            let since_sent = event.arrived.saturating_duration_since(sent + every * place);
            desk.ledger.time(&ask.event, latency, event.way.unwrap_or(since_sent));
        }
        let first = events.all.first().map(|first| first.arrived);
        let Some(first) = first.filter(|_| events.all.len() == count as usize && !events.is_too_long) else {
            let what = if events.is_too_long { ", and one that does not end" } else { "" };
            return Err((ErrorKind::BodyLength, format!("{} events{what}, not {count}", events.all.len())));
        };
        desk.ledger.succeed(&ask.request.name, job.at, first - job.due, first - sent);
        desk.ledger.carry(done.body_bytes, ask.request.body.len() as u64);
        Ok(kept.map(Line::Http))
    }

    /// A message on a WebSocket. One that has to be opened is opened within the message's latency; the handshake
    /// is reported by itself as well.
    async fn message(&self, ask: &Ask, job: Job, socket: Option<Socket>) -> Result<Option<Line>, Failure> {
        let mut socket = match socket {
            Some(socket) => socket,
            None => self.open_socket(ask, job).await?,
        };
        let sent = Instant::now();
        socket.echo(&ask.request.body, self.bounds.timeout).await?;
        let done = Instant::now();
        let mut desk = self.desk();
        desk.ledger.succeed(&ask.request.name, job.at, done - job.due, done - sent);
        let length = ask.request.body.len() as u64;
        desk.ledger.carry(length, length);
        Ok(Some(Line::Message(job.request, socket)))
    }

    async fn open_socket(&self, ask: &Ask, job: Job) -> Result<Socket, Failure> {
        let limit = self.bounds.timeout;
        let connect = || async move {
            match timeout(limit, self.target.connect()).await {
                Ok(opened) => opened.map_err(|error| (ErrorKind::Connect, error.to_string())),
                Err(_) => Err((ErrorKind::Timeout, "connect".into())),
            }
        };
        let stream = self.open(job, connect).await?;
        let sent = Instant::now();
        let socket = Socket::open(stream, &ask.request, &self.host, limit).await?;
        self.desk().ledger.time(&ask.handshake, job.due.elapsed(), sent.elapsed());
        Ok(socket)
    }
}
