//! What the facts mean, and what to change. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::questions::{Answers, Outcome};
use super::trial::{End, Facts};
use crate::worker::ladder::{Rung, Way};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// As it should be.
    Good,
    /// It works; a change would make it better.
    Note,
    /// Some requests will suffer.
    Warning,
    /// It cannot be served.
    Fatal,
}

impl Weight {
    /// The word for people and programs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Fatal => "problem",
        }
    }
}

/// One thing that was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub weight: Weight,
    /// What it is about, one word: stable, for programs.
    pub about: &'static str,
    /// What was seen.
    pub what: String,
    /// The change to make; empty if there is none.
    pub fix: String,
}

impl Finding {
    fn new(weight: Weight, about: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { weight, about, what: what.into(), fix: fix.into() }
    }

    /// Whether the command cannot be served.
    pub fn is_fatal(&self) -> bool {
        self.weight == Weight::Fatal
    }
}

/// What `facts` mean, in the order in which a reader meets them.
pub fn of(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(problem) = &facts.failure {
        let what = if problem.why.is_empty() {
            problem.what.clone()
        } else {
            format!("{} {}", problem.what, problem.why)
        };
        findings.push(Finding::new(Weight::Fatal, "start", what, problem.fix.clone()));
    } else if facts.ready.is_none() {
        findings.push(Finding::new(
            Weight::Fatal,
            "start",
            "It was not ready when `start.deadline` was over.",
            "Raise `start.deadline`, or look at what it wrote.",
        ));
    } else {
        findings.push(start(facts));
        findings.extend(way(facts));
    }
    if let Some(answers) = &facts.answers {
        findings.extend(answered(answers));
    }
    if facts.is_foreign {
        let what =
            "It does not speak HTTP/1.1, so it was asked nothing: only its start and its end were looked at.";
        findings.push(Finding::new(
            Weight::Note,
            "answer",
            what,
            "Start it with `warmfront run` and ask it by hand.",
        ));
    }
    findings.extend(facts.end.map(end));
    findings
}

fn start(facts: &Facts) -> Finding {
    let ready = facts.ready.unwrap_or_default();
    let mut what = String::from("It starts in ");
    if let Some(output) = facts.first_output {
        let _ = write!(what, "{} to its first output and ", ms(output));
    }
    let _ = write!(what, "{} to the first accepted connection", ms(ready));
    if let Some(Ok(first)) = facts.answers.as_ref().map(|answers| &answers.first) {
        let _ = write!(what, "; its first answer took {}", ms(first.after));
    }
    if let Some(Ok(second)) = facts.answers.as_ref().map(|answers| &answers.second) {
        let _ = write!(what, ", the next {}", ms(second.after));
    }
    what.push('.');
    // FC waits 120 s for the port; ours is open at once, and requests wait for it.
    let is_slow = ready > Duration::from_secs(60);
    let fix = if is_slow { "Raise `start.deadline`, and the function's timeout with it." } else { "" };
    Finding::new(if is_slow { Weight::Warning } else { Weight::Good }, "start", what, fix)
}

fn way(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<_> =
        facts.ways.iter().map(|way| Finding::new(Weight::Note, "transport", capital(way), "")).collect();
    let Some(rung) = facts.rung else { return findings };
    let way = Way { rung, port: facts.app_port, host: [127, 0, 0, 1].into() };
    let fix = way.advice().map_or(String::new(), |advice| format!("{}.", capital(advice)));
    let weight = match rung {
        Rung::Socket | Rung::Fd | Rung::Shim => Weight::Good,
        Rung::Remap | Rung::Tcp => Weight::Note,
        Rung::Fixed => Weight::Warning,
    };
    if facts.ways.is_empty() || weight > Weight::Good {
        let what = format!("It listens at {} ({}).", facts.address.as_deref().unwrap_or("?"), rung.word());
        findings.push(Finding::new(weight, "transport", what, fix));
    }
    findings
}

fn answered(answers: &Answers) -> Vec<Finding> {
    let mut findings = Vec::new();
    let first = match &answers.first {
        Ok(first) => first,
        Err(why) => {
            findings.push(Finding::new(
                Weight::Fatal,
                "answer",
                format!("It accepts connections and gives no answer: {why}."),
                "It must speak HTTP/1.1 there; is that its HTTP port (`--app-port`)?",
            ));
            return findings;
        }
    };
    findings.push(match first.status {
        status @ 500.. => Finding::new(
            Weight::Warning,
            "answer",
            format!("GET answers {status}."),
            "Try another path with `--path`, or look at what it wrote.",
        ),
        status => {
            Finding::new(Weight::Good, "answer", format!("GET answers {status}, {} bytes.", first.body), "")
        }
    });
    findings.push(keep_alive(answers));
    findings.push(works(
        "http10",
        "An HTTP/1.0 request",
        &answers.http10,
        "Health checks of old kinds would fail.",
    ));
    findings.push(works(
        "head",
        "A HEAD request",
        &answers.head,
        "Let it answer HEAD as GET, without the body.",
    ));
    findings.push(chunks(answers));
    findings.push(expect(&answers.expect));
    findings
}

fn keep_alive(answers: &Answers) -> Finding {
    let about = "keep-alive";
    let keeps = answers.second.as_ref().is_ok_and(|answer| answer.keeps);
    match answers.closes_after {
        _ if !keeps => Finding::new(
            Weight::Note,
            about,
            "It closes the connection behind each answer.",
            "Nothing is lost by it, but a connect for each request; a server with keep-alive saves that.",
        ),
        Some(after) => Finding::new(
            Weight::Note,
            about,
            format!("It closes a connection that has rested for {:.1} s.", after.as_secs_f64()),
            "Raise its idle timeout: who connects is warmfront alone, which closes what it does not need. On a Unix \
             socket a request that meets the end is sent again.",
        ),
        None => Finding::new(Weight::Good, about, "It keeps connections that rest.", ""),
    }
}

fn works(about: &'static str, what: &str, outcome: &Outcome, fix: &str) -> Finding {
    match outcome {
        Ok(answer) if answer.status < 500 => {
            Finding::new(Weight::Good, about, format!("{what} is answered ({}).", answer.status), "")
        }
        Ok(answer) => {
            Finding::new(Weight::Note, about, format!("{what} is answered {}.", answer.status), fix)
        }
        Err(why) => Finding::new(Weight::Warning, about, format!("{what} gets no answer: {why}."), fix),
    }
}

/// Chunks count as broken only where the same body with a length is not.
fn chunks(answers: &Answers) -> Finding {
    let about = "chunked";
    match (&answers.chunked, &answers.length) {
        (Ok(chunked), Ok(length)) if chunked.status == length.status => {
            Finding::new(Weight::Good, about, "A body in chunks is taken like one with a length.", "")
        }
        (Ok(chunked), Ok(length)) => Finding::new(
            Weight::Warning,
            about,
            format!("A POST in chunks is answered {}, and {} with a length.", chunked.status, length.status),
            "Clients that stream need a server that reads chunks.",
        ),
        (Err(why), Ok(_)) => Finding::new(
            Weight::Warning,
            about,
            format!("A POST in chunks gets no answer ({why}), one with a length does."),
            "Clients that stream need a server that reads chunks.",
        ),
        (_, Err(why)) => Finding::new(
            Weight::Warning,
            about,
            format!("A POST gets no answer: {why}."),
            "Look at what it wrote.",
        ),
    }
}

fn expect(outcome: &Outcome) -> Finding {
    let about = "expect";
    match outcome {
        Ok(answer) if answer.continued => {
            Finding::new(Weight::Good, about, "`Expect: 100-continue` gets its 100.", "")
        }
        Ok(answer) if answer.status < 500 => Finding::new(
            Weight::Good,
            about,
            format!("`Expect: 100-continue` gets its answer at once ({}).", answer.status),
            "",
        ),
        Ok(answer) => Finding::new(
            Weight::Note,
            about,
            format!("`Expect: 100-continue` is answered {}.", answer.status),
            "Look at what it wrote.",
        ),
        Err(why) => Finding::new(
            Weight::Warning,
            about,
            format!("`Expect: 100-continue` gets no answer: {why}."),
            "curl waits a second before each large upload then.",
        ),
    }
}

fn end(end: End) -> Finding {
    let about = "term";
    if end.was_killed {
        return Finding::new(
            Weight::Warning,
            about,
            format!("It did not end within {} of SIGTERM and was killed.", ms(end.after)),
            "Let it end on SIGTERM; a shell in front of it must `exec` it. As PID 1 of its own it must handle the signal.",
        );
    }
    let what = format!("It ends {} after SIGTERM", ms(end.after));
    match end.finished_request {
        Some(true) => {
            Finding::new(Weight::Good, about, format!("{what}, and finishes the request in flight."), "")
        }
        Some(false) => Finding::new(
            Weight::Note,
            about,
            format!("{what}, and drops the request in flight."),
            "warmfront sends TERM only when no request is in flight, or `drain.deadline` is over.",
        ),
        None => Finding::new(Weight::Good, about, format!("{what}."), ""),
    }
}

/// For people.
pub fn text(facts: &Facts, findings: &[Finding]) -> String {
    let mut out = format!("{}\n\n", facts.command);
    for finding in findings {
        let _ = writeln!(out, "{:>8}  {:<10} {}", finding.weight.word(), finding.about, finding.what);
        if !finding.fix.is_empty() {
            let _ = writeln!(out, "{:21}-> {}", "", finding.fix);
        }
    }
    let worst = findings.iter().map(|finding| finding.weight).max();
    let verdict = match worst {
        Some(Weight::Fatal) => "It cannot be served as it is.",
        Some(Weight::Warning) => "It can be served; some requests will suffer.",
        _ => "It can be served as it is.",
    };
    let _ = writeln!(out, "\n{verdict}");
    out
}

/// For programs: one object.
pub fn json(facts: &Facts, findings: &[Finding]) -> String {
    let millis =
        |period: Option<Duration>| period.map(|period| u64::try_from(period.as_millis()).unwrap_or(u64::MAX));
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "weight": finding.weight.word(),
                "about": finding.about,
                "what": finding.what,
                "fix": if finding.fix.is_empty() { Value::Null } else { finding.fix.clone().into() },
            })
        })
        .collect();
    let paper = json!({
        "command": facts.command,
        "served": facts.failure.is_none() && facts.ready.is_some(),
        "transport": facts.rung.map(Rung::word),
        "address": facts.address,
        "listens": facts.listens,
        "first_output_ms": millis(facts.first_output),
        "ready_ms": millis(facts.ready),
        "findings": findings,
    });
    format!("{paper:#}\n")
}

fn ms(period: Duration) -> String {
    format!("{} ms", period.as_millis())
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}
