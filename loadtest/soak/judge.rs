//! The verdict: what clients saw, held against what workers did and the sidecar said.
//!
//! Pure: facts in, violations out. A failure is explained only by a journal that
//! names a fault which this very request met, or the death of the process that
//! was executing it; a request that nobody executed may also have met something
//! that a worker did to a connection while the request lived, at the worker that
//! the access line names.

use std::collections::{BTreeMap, HashMap};

use super::fault::Fault;
use super::journal::{Life, What};
use super::method::Method;

/// What a client saw of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The whole right answer. `early`: the worker had not read the request's body.
    Served { early: bool },
    /// An answer of the sidecar's own.
    Refused { status: u16, reason: String },
    /// The answer broke off, and that could be seen.
    Cut(String),
    /// The answer ended as if it were whole, and was not.
    Short(String),
    /// The connection ended before any answer.
    NoAnswer(String),
    /// It stood behind an answer that ended the connection.
    Unasked,
    /// The client left.
    Left,
    /// Nothing happened for too long.
    Hang,
    /// An answer that cannot be right.
    Wrong(String),
}

impl Outcome {
    /// Its word in tables.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Served { .. } => "served",
            Self::Refused { status: 503, .. } => "refused",
            Self::Refused { .. } => "failed",
            Self::Cut(_) => "cut",
            Self::Short(_) => "short",
            Self::NoAnswer(_) => "no answer",
            Self::Unasked => "unasked",
            Self::Left => "left",
            Self::Hang => "hang",
            Self::Wrong(_) => "wrong",
        }
    }
}

/// One request as its client knows it. Times are nanoseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) id: u64,
    pub(super) method: Method,
    /// The client had finished speaking before it got its answer.
    pub(super) half_closed: bool,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) outcome: Outcome,
}

/// What the sidecar's access line says about one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) id: u64,
    /// The worker it was last sent to.
    pub(super) worker: Option<u32>,
    pub(super) outcome: String,
}

/// All that is known.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) asked: Vec<Asked>,
    pub(super) lives: Vec<Life>,
    pub(super) lines: Vec<Line>,
}

/// The kinds of broken promises, in the order of the table.
pub(super) const KINDS: [&str; 8] = [
    "wrong answers",
    "cut bodies that look whole",
    "requests executed too often",
    "hangs",
    "unexplained failures",
    "what workers noticed",
    "access lines that disagree",
    "the process",
];

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// One of [`KINDS`].
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) requests: u64,
    pub(super) outcomes: BTreeMap<&'static str, u64>,
    /// Reasons of refusals and failures, with their limits cut off.
    pub(super) reasons: BTreeMap<String, u64>,
    pub(super) faults: BTreeMap<Fault, u64>,
    pub(super) deaths: u64,
    /// Requests that workers executed twice.
    pub(super) repeats: u64,
    pub(super) violations: Vec<Violation>,
}

impl Verdict {
    fn accuse(&mut self, kind: &'static str, text: String) {
        self.violations.push(Violation { kind, text });
    }
}

/// One execution of one request.
#[derive(Clone, Copy, Debug)]
struct Execution {
    life: usize,
    on: u64,
    at: u64,
    has_ended: bool,
}

/// What workers did to one request.
#[derive(Debug, Default)]
struct Treatment {
    executions: Vec<Execution>,
    faults: Vec<Fault>,
    until_close: bool,
    broken_off: bool,
}

/// From a line in the journal to its effect: the worker may lose its CPU in between, and the kernel
/// takes its time to end a process.
const LAG_NS: u64 = 100_000_000;

/// Everything in the journals, by request and by worker.
#[derive(Debug, Default)]
struct Deeds {
    treatments: HashMap<u64, Treatment>,
    /// By life: when it died by its own hand.
    deaths: Vec<Option<u64>>,
    /// By worker: when something was done to connections or to the process as a whole. In order.
    rude: HashMap<u32, Vec<u64>>,
    /// By life and connection: when bytes were first sent behind an answer.
    excess: HashMap<(usize, u64), u64>,
}

impl Deeds {
    fn gather(lives: &[Life], verdict: &mut Verdict) -> Self {
        let mut deeds = Self::default();
        for (index, life) in lives.iter().enumerate() {
            deeds.deaths.push(None);
            for event in &life.events {
                deeds.add(index, life.worker, event.at, &event.what, verdict);
            }
        }
        deeds.rude.values_mut().for_each(|times| times.sort_unstable());
        deeds
    }

    fn add(&mut self, life: usize, worker: u32, at: u64, what: &What, verdict: &mut Verdict) {
        let treatments = &mut self.treatments;
        match what {
            What::Executed { id, on, .. } => {
                treatments.entry(*id).or_default().executions.push(Execution {
                    life,
                    on: *on,
                    at,
                    has_ended: false,
                });
            }
            What::UntilClose { id } => treatments.entry(*id).or_default().until_close = true,
            What::Ended { id } => {
                let executions = &mut treatments.entry(*id).or_default().executions;
                executions.iter_mut().filter(|execution| execution.life == life).for_each(|execution| {
                    execution.has_ended = true;
                });
            }
            What::BrokenOff { id } => treatments.entry(*id).or_default().broken_off = true,
            What::Mistreats { id, fault, on } => {
                treatments.entry(*id).or_default().faults.push(*fault);
                *verdict.faults.entry(*fault).or_default() += 1;
                if *fault == Fault::Excess {
                    self.excess.entry((life, *on)).or_insert(at);
                }
            }
            What::Unasked { fault } => {
                *verdict.faults.entry(*fault).or_default() += 1;
                if fault.hits_unread_requests() {
                    self.rude.entry(worker).or_default().push(at);
                }
            }
            What::Dies => {
                verdict.deaths += 1;
                self.deaths[life] = Some(at);
                self.rude.entry(worker).or_default().push(at);
            }
            What::Accuses(what) => verdict.accuse("what workers noticed", what.clone()),
        }
    }

    /// Whether a worker's deeds explain that the request failed.
    fn explain(&self, asked: &Asked, worker: Option<u32>) -> bool {
        let nothing = Treatment::default();
        let treatment = self.treatments.get(&asked.id).unwrap_or(&nothing);
        if treatment.faults.iter().any(|fault| fault.can_fail_a_request()) {
            return true;
        }
        if treatment.executions.is_empty() {
            let in_its_life = |times: &Vec<u64>| {
                let first = times.partition_point(|&at| at < asked.began.saturating_sub(LAG_NS));
                times.get(first).is_some_and(|&at| at <= asked.ended)
            };
            return match worker {
                Some(worker) => self.rude.get(&worker).is_some_and(in_its_life),
                None => self.rude.values().any(in_its_life),
            };
        }
        treatment.executions.iter().any(|execution| {
            let has_died = !execution.has_ended && self.deaths[execution.life].is_some();
            let behind = self.excess.get(&(execution.life, execution.on));
            has_died || behind.is_some_and(|&at| at < execution.at)
        })
    }
}

/// Judges.
pub(super) fn judge(facts: &Facts) -> Verdict {
    let mut verdict = Verdict::default();
    let deeds = Deeds::gather(&facts.lives, &mut verdict);
    let mut lines: HashMap<u64, Vec<&Line>> = HashMap::new();
    facts.lines.iter().for_each(|line| lines.entry(line.id).or_default().push(line));
    let nothing = Treatment::default();
    for asked in &facts.asked {
        verdict.requests += 1;
        *verdict.outcomes.entry(asked.outcome.word()).or_default() += 1;
        let treatment = deeds.treatments.get(&asked.id).unwrap_or(&nothing);
        let said = lines.remove(&asked.id).unwrap_or_default();
        let worker = said.last().and_then(|line| line.worker);
        let who = format!("{} {}", asked.method.name(), asked.id);
        let facts = || format!("{asked:?}; {treatment:?}; {said:?}");
        judge_executions(&mut verdict, asked, treatment, &who);
        match &asked.outcome {
            Outcome::Wrong(what) => verdict.accuse("wrong answers", format!("{who}: {what}; {}", facts())),
            Outcome::Hang => verdict.accuse("hangs", format!("{who}: {}", facts())),
            Outcome::Short(what) => {
                // A body without any other end than the close looks whole when its worker ends.
                if !(treatment.until_close && deeds.explain(asked, worker)) {
                    verdict.accuse("cut bodies that look whole", format!("{who}: {what}; {}", facts()));
                }
            }
            Outcome::Refused { status, reason } => {
                let reason = reason.split('=').next().unwrap_or_default().to_owned();
                let is_explained = match (status, reason.as_str()) {
                    // The line is bounded, and says so.
                    (503, "queue.timeout" | "queue.depth" | "queue.bytes") => {
                        treatment.executions.is_empty() || deeds.explain(asked, worker)
                    }
                    (502, _) => deeds.explain(asked, worker),
                    _ => false,
                };
                *verdict.reasons.entry(reason).or_default() += 1;
                if !is_explained {
                    verdict.accuse("unexplained failures", format!("{who}: {}", facts()));
                }
            }
            Outcome::Cut(_) | Outcome::NoAnswer(_) => {
                // An answer that pauses behind its client's FIN is taken as abandoned (engine/departure).
                if !asked.half_closed && !deeds.explain(asked, worker) {
                    verdict.accuse("unexplained failures", format!("{who}: {}", facts()));
                }
            }
            Outcome::Served { early } => {
                if treatment.broken_off && !early && treatment.executions.len() == 1 {
                    let text = format!("{who} was served, and its body broke off: {}", facts());
                    verdict.accuse("unexplained failures", text);
                }
            }
            Outcome::Unasked | Outcome::Left => {}
        }
        if !agrees(asked, &said) {
            verdict.accuse("access lines that disagree", format!("{who}: {}", facts()));
        }
    }
    for id in lines.keys() {
        verdict.accuse("access lines that disagree", format!("a line of request {id} that nobody sent"));
    }
    let known: std::collections::HashSet<u64> = facts.asked.iter().map(|asked| asked.id).collect();
    for id in deeds.treatments.keys().filter(|id| !known.contains(id)) {
        verdict.accuse("wrong answers", format!("a worker got request {id} that nobody sent"));
    }
    verdict
}

fn judge_executions(verdict: &mut Verdict, asked: &Asked, treatment: &Treatment, who: &str) {
    let count = treatment.executions.len() as u32;
    verdict.repeats += u64::from(count > 1);
    let most = match asked.outcome {
        Outcome::Unasked => 0,
        _ => asked.method.executions_max(),
    };
    if count > most {
        let text = format!("{who} was executed {count} times: {asked:?}; {treatment:?}");
        verdict.accuse("requests executed too often", text);
    }
    if matches!(asked.outcome, Outcome::Served { .. }) && count == 0 {
        verdict.accuse("wrong answers", format!("{who} was answered and never executed"));
    }
}

/// Whether the sidecar's own account of a request is that of its client.
fn agrees(asked: &Asked, said: &[&Line]) -> bool {
    let outcome = match said {
        [] => {
            return matches!(
                asked.outcome,
                Outcome::Unasked | Outcome::Left | Outcome::Hang | Outcome::Wrong(_) | Outcome::NoAnswer(_)
            );
        }
        [line] => line.outcome.as_str(),
        _ => return false,
    };
    match &asked.outcome {
        Outcome::Served { .. } | Outcome::Short(_) => outcome == "served",
        Outcome::Refused { .. } => outcome == "local",
        Outcome::Cut(_) | Outcome::NoAnswer(_) => {
            outcome == "aborted" || (asked.half_closed && outcome == "client_gone")
        }
        Outcome::Unasked => false,
        Outcome::Left | Outcome::Hang | Outcome::Wrong(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::journal::Event;

    const SINCE: u64 = 1_000_000_000;

    fn asked(id: u64, method: Method, outcome: Outcome) -> Asked {
        Asked { id, method, half_closed: false, began: SINCE, ended: SINCE + 100, outcome }
    }

    fn served(id: u64, method: Method) -> Asked {
        asked(id, method, Outcome::Served { early: false })
    }

    fn failed(id: u64, method: Method) -> Asked {
        asked(id, method, Outcome::Refused { status: 502, reason: "worker-closed".into() })
    }

    fn executed(id: u64) -> What {
        What::Executed { id, method: Method::Post, on: 1 }
    }

    /// A life of worker 1 whose events come while the requests live.
    fn life(events: impl IntoIterator<Item = What>) -> Life {
        let events = (SINCE + 10..).zip(events).map(|(at, what)| Event { at, what }).collect();
        Life { worker: 1, events }
    }

    fn line(id: u64, outcome: &str) -> Line {
        Line { id, worker: Some(1), outcome: outcome.into() }
    }

    /// The kinds of violations.
    fn kinds(asked: Vec<Asked>, lives: Vec<Life>, lines: Vec<Line>) -> Vec<&'static str> {
        judge(&Facts { asked, lives, lines }).violations.iter().map(|violation| violation.kind).collect()
    }

    #[test]
    fn a_clean_run_has_no_violations() {
        let lives = vec![life([executed(1), What::Ended { id: 1 }, executed(2), What::Ended { id: 2 }])];
        let facts = Facts {
            asked: vec![served(1, Method::Post), served(2, Method::Get)],
            lives,
            lines: vec![line(1, "served"), line(2, "served")],
        };
        let verdict = judge(&facts);
        assert_eq!(verdict.violations, []);
        assert_eq!((verdict.requests, verdict.outcomes["served"], verdict.repeats), (2, 2, 0));
    }

    #[test]
    fn a_post_executed_twice_is_found_and_a_get_only_the_third_time() {
        for (method, times, expected) in [
            (Method::Post, 2, &["requests executed too often"][..]),
            (Method::Put, 2, &["requests executed too often"]),
            (Method::Delete, 2, &["requests executed too often"]),
            (Method::Get, 2, &[]),
            (Method::Get, 3, &["requests executed too often"]),
        ] {
            let lives = (0..times).map(|_| life([executed(1), What::Ended { id: 1 }])).collect();
            assert_eq!(
                kinds(vec![served(1, method)], lives, vec![line(1, "served")]),
                expected,
                "{method:?}"
            );
        }
    }

    #[test]
    fn a_wrong_answer_a_hang_and_a_silent_cut_are_found() {
        for (outcome, expected) in [
            (Outcome::Wrong("got the answer to 7".into()), "wrong answers"),
            (Outcome::Hang, "hangs"),
            (Outcome::Short("1 of 2 bytes".into()), "cut bodies that look whole"),
        ] {
            let lives = vec![life([executed(1)])];
            let lines = vec![line(1, "served")];
            assert_eq!(kinds(vec![asked(1, Method::Get, outcome)], lives, lines), [expected]);
        }
    }

    #[test]
    fn a_short_body_is_excused_only_if_the_close_was_its_end_and_the_worker_broke_it() {
        let short = || vec![asked(1, Method::Get, Outcome::Short("1 of 2 bytes".into()))];
        let truncated = What::Mistreats { id: 1, fault: Fault::Truncated, on: 1 };
        let lines = || vec![line(1, "served")];
        let with_close = life([executed(1), truncated.clone(), What::UntilClose { id: 1 }]);
        assert_eq!(kinds(short(), vec![with_close], lines()), [""; 0]);
        let with_length = life([executed(1), truncated]);
        assert_eq!(kinds(short(), vec![with_length], lines()).len(), 1);
    }

    #[test]
    fn a_failure_needs_a_fault_that_met_this_request() {
        let one = |events: Vec<What>| {
            kinds(vec![failed(1, Method::Post)], vec![life(events)], vec![line(1, "local")])
        };
        let met = |id, fault| What::Mistreats { id, fault, on: 1 };
        assert_eq!(one(vec![executed(1)]), ["unexplained failures"]);
        assert_eq!(one(vec![executed(1), met(2, Fault::Close)])[..1], ["unexplained failures"]);
        assert_eq!(one(vec![executed(1), met(1, Fault::Stall)]), ["unexplained failures"]);
        assert_eq!(one(vec![executed(1), met(1, Fault::Close)]), [""; 0]);
    }

    #[test]
    fn a_death_explains_what_it_interrupted_and_nothing_that_had_ended() {
        let one = |events: Vec<What>| {
            kinds(vec![failed(1, Method::Post)], vec![life(events)], vec![line(1, "local")])
        };
        assert_eq!(one(vec![executed(1), What::Dies]), [""; 0]);
        assert_eq!(one(vec![executed(1), What::Ended { id: 1 }, What::Dies]), ["unexplained failures"]);
    }

    #[test]
    fn a_request_that_nobody_executed_needs_a_deed_at_its_worker_in_its_time() {
        let idle_close = || What::Unasked { fault: Fault::IdleClose };
        let one = |life: Life| kinds(vec![failed(1, Method::Post)], vec![life], vec![line(1, "local")]);
        assert_eq!(one(life([idle_close()])), [""; 0]);
        assert_eq!(one(life([])), ["unexplained failures"]);
        let elsewhere = Life { worker: 2, ..life([idle_close()]) };
        assert_eq!(one(elsewhere), ["unexplained failures"]);
        let long_ago = Life { worker: 1, events: vec![Event { at: SINCE - LAG_NS - 1, what: idle_close() }] };
        assert_eq!(one(long_ago), ["unexplained failures"]);
        let harmless = life([What::Unasked { fault: Fault::SlowAccept }]);
        assert_eq!(one(harmless), ["unexplained failures"]);
    }

    #[test]
    fn a_request_behind_a_closing_answer_is_never_executed() {
        let unasked = || vec![asked(1, Method::Get, Outcome::Unasked)];
        assert_eq!(kinds(unasked(), vec![life([])], vec![]), [""; 0]);
        assert_eq!(kinds(unasked(), vec![life([executed(1)])], vec![]), ["requests executed too often"]);
    }

    #[test]
    fn what_a_worker_noticed_counts() {
        let lives = vec![life([executed(1), What::Accuses("the body is wrong".into())])];
        assert_eq!(
            kinds(vec![served(1, Method::Post)], lives, vec![line(1, "served")]),
            ["what workers noticed"]
        );
        let lives = vec![life([executed(1), What::BrokenOff { id: 1 }])];
        assert_eq!(
            kinds(vec![served(1, Method::Post)], lives, vec![line(1, "served")]),
            ["unexplained failures"]
        );
    }

    #[test]
    fn the_sidecars_own_account_must_agree() {
        for lines in [vec![], vec![line(1, "aborted")], vec![line(1, "served"), line(1, "served")]] {
            let lives = vec![life([executed(1), What::Ended { id: 1 }])];
            assert_eq!(kinds(vec![served(1, Method::Get)], lives, lines), ["access lines that disagree"]);
        }
        assert_eq!(kinds(vec![], vec![], vec![line(9, "served")]), ["access lines that disagree"]);
        assert_eq!(kinds(vec![], vec![life([executed(9)])], vec![]), ["wrong answers"]);
    }

    #[test]
    fn only_what_is_documented_may_be_refused() {
        for (status, reason, expected) in [
            (503, "queue.timeout=5s", 0),
            (503, "workers-not-started", 1),
            (503, "stopping", 1),
            (400, "request-head", 1),
            (500, "anything", 1),
        ] {
            let refused = asked(1, Method::Get, Outcome::Refused { status, reason: reason.into() });
            assert_eq!(kinds(vec![refused], vec![], vec![line(1, "local")]).len(), expected, "{reason}");
        }
    }
}
