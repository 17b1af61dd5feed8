//! One start, watched from outside: from nothing to the first good answer, and on until it is warm.
//!
//! The app is asked for nothing that the platform would not ask: connects until one
//! succeeds, then requests on that connection, as the first user sends them.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::cold::queue::Queues;
use crate::cold::settle::{settled, thinned};
use crate::fork::Moment;
use crate::probe::{Connection, Received};
use crate::stack::{Plan, Stack};
use crate::stop;
use crate::study::Phases;

/// Between two looks at what is about to happen: a moment is measured this exactly.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// Behind an answer that was none.
const TRY_AGAIN: Duration = Duration::from_millis(1);

/// What a start is held to.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Requests behind the first, at most.
    pub(crate) settle_requests: usize,
    /// Time for them, at most.
    pub(crate) settle: Duration,
    /// Longest wait for the first good answer, and for each later one.
    pub(crate) deadline: Duration,
}

/// What came of a start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) phases: Phases,
    /// Answers that were none, or failures, before the first good one.
    pub(crate) bad_answers: u32,
    pub(crate) early: Vec<(f64, f64)>,
    pub(crate) warm_us: Option<f64>,
    pub(crate) failure: Option<String>,
}

/// Starts `plan` and watches it. What runs afterwards is the second part; `None` if nothing does.
pub(crate) fn observe(plan: &Plan, request: &[u8], terms: &Terms) -> (Observed, Option<Stack>) {
    let mut observed = Observed::default();
    // Where the kernel does not tell, that phase is not seen.
    let queues = Queues::open().ok();
    let began = Moment::now();
    let mut stack = match plan.start() {
        Ok(stack) => stack,
        Err(error) => {
            observed.failure = Some(error.to_string());
            return (observed, None);
        }
    };
    let deadline = Instant::now() + terms.deadline;
    let mut watch = Watch { began, queues, observed: &mut observed, deadline };
    let outcome = watch.until_good(&mut stack, request);
    let outcome = outcome.and_then(|kept| watch.until_warm(kept, plan.target, request, terms));
    if let Some(front) = stack.front() {
        let since = |moment: Moment| moment.ms_since(began);
        observed.phases.forked = Some(since(front.forked));
        observed.phases.executed = Some(since(front.executed));
        observed.phases.first_output = stack.first_output().map(since);
    }
    observed.failure = outcome.err();
    (observed, Some(stack))
}

/// Starts `plan` and asks until it answers well and `terms` are met.
///
/// # Errors
/// Why it does not.
pub(crate) fn started(plan: &Plan, request: &[u8], terms: &Terms) -> Result<Stack, String> {
    match observe(plan, request, terms) {
        (Observed { failure: None, .. }, Some(stack)) => Ok(stack),
        (observed, _) => Err(observed.failure.unwrap_or_else(|| "did not start".into())),
    }
}

/// One start in progress.
struct Watch<'a> {
    began: Moment,
    queues: Option<Queues>,
    observed: &'a mut Observed,
    deadline: Instant,
}

impl Watch<'_> {
    fn ms(&self, moment: Moment) -> f64 {
        moment.ms_since(self.began)
    }

    /// Connects and asks until an answer is good. The connection, if it is kept.
    fn until_good(&mut self, stack: &mut Stack, request: &[u8]) -> Result<Option<Connection>, String> {
        let mut kept = None;
        loop {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => self.connect(stack)?,
            };
            if let Ok(received) = self.ask(&mut connection, stack.target, request) {
                kept = received.answer.keeps_alive.then_some(connection);
                if received.is_good() {
                    self.observed.phases.first_byte = Some(self.ms(received.first_byte));
                    return Ok(kept);
                }
            }
            self.observed.bad_answers += 1;
            self.go_on(stack, TRY_AGAIN, "no good answer in time")?;
        }
    }

    fn connect(&mut self, stack: &mut Stack) -> Result<Connection, String> {
        loop {
            if let Ok(connection) = Connection::open(stack.target) {
                let now = self.ms(Moment::now());
                self.observed.phases.listening.get_or_insert(now);
                return Ok(connection);
            }
            self.go_on(stack, LOOK_EVERY, "does not accept connections")?;
        }
    }

    /// Whether there is sense in another try, and a pause before it. `what` is wrong if the time is over.
    fn go_on(&self, stack: &mut Stack, pause: Duration, what: &str) -> Result<(), String> {
        if let Some(why) = stack.failure() {
            return Err(why);
        }
        if let Some(why) = stop::reason() {
            return Err(why.into());
        }
        if Instant::now() >= self.deadline {
            return Err(format!("{what}: {}", stack.last_words()));
        }
        thread::sleep(pause);
        Ok(())
    }

    /// Asks, and meanwhile looks whether the connection was accepted.
    fn ask(
        &mut self,
        connection: &mut Connection,
        at: SocketAddr,
        request: &[u8],
    ) -> Result<Received, String> {
        connection.send(request).map_err(|error| error.to_string())?;
        while self.observed.phases.accepted.is_none()
            && let Some(queues) = &self.queues
        {
            let Ok(waiting) = queues.waiting(at.port()) else {
                // A kernel that does not tell is no fault of the app's; the phase stays unseen.
                self.queues = None;
                break;
            };
            // If the answer is here before we saw it, it is accepted by now.
            if waiting == Some(0) || connection.wait(LOOK_EVERY).map_err(|error| error.to_string())? {
                self.observed.phases.accepted = Some(self.ms(Moment::now()));
            } else if stop::is_requested() || Instant::now() >= self.deadline {
                break;
            }
        }
        connection.receive(self.deadline)
    }

    /// One request after another, until there were enough or it is enough time.
    fn until_warm(
        &mut self,
        mut kept: Option<Connection>,
        target: SocketAddr,
        request: &[u8],
        terms: &Terms,
    ) -> Result<(), String> {
        let until = Instant::now() + terms.settle;
        let mut requests = Vec::new();
        while requests.len() < terms.settle_requests && Instant::now() < until && !stop::is_requested() {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => Connection::open(target).map_err(|error| error.to_string())?,
            };
            let (received, us) = connection.ask(request, terms.deadline)?;
            if !received.is_good() {
                return Err(format!("request {}: status {}", requests.len() + 2, received.answer.status));
            }
            requests.push((self.ms(received.done), us));
            kept = received.answer.keeps_alive.then_some(connection);
        }
        if let Some(settled) = settled(&requests) {
            self.observed.warm_us = Some(settled.warm);
            self.observed.phases.warm = settled.at;
        }
        self.observed.early = thinned(&requests);
        Ok(())
    }
}
