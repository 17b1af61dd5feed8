//! What `cold`, `warm`, `compare` and `freeze` found: one kind of report for the four.
//!
//! The file is the truth, as in `report/`: tables, plots and verdicts are made from
//! it again. A study holds single observations, never averages only, so that a
//! distribution can be drawn and an old study be compared with.

#[cfg(test)]
mod browser;
mod crashes;
pub(crate) mod figures;
mod generators;
mod headline;
mod judge;
#[cfg(test)]
pub(crate) mod made;
pub(crate) mod output;
mod plots;
mod spark;
mod tables;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::machine;
use crate::report::{Missing, SubjectFacts, read_format};
use crate::stop;
use crate::study::figures::{Summary, summary};

/// Written by one version of this program, readable by those that know the same number.
pub(crate) const FORMAT: u32 = 1;

/// One run of one of the four commands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Study {
    pub(crate) format: u32,
    /// The command: `cold`, `warm`, `compare` or `freeze`.
    pub(crate) kind: String,
    /// Machine, versions, command line, settings: what figures depend on besides the programs.
    pub(crate) facts: Vec<(String, String)>,
    /// Rounds that were asked for and rounds that were finished.
    pub(crate) rounds: (u32, u32),
    /// Why it ended early, if it did: a signal, or its time was up.
    pub(crate) ended_early: Option<String>,
    pub(crate) subjects: Vec<SubjectFacts>,
    pub(crate) starts: Vec<Start>,
    pub(crate) loads: Vec<Load>,
    pub(crate) searches: Vec<Search>,
    pub(crate) thaws: Vec<Thaw>,
    pub(crate) crashes: Vec<Crash>,
    pub(crate) not_measured: Vec<Missing>,
}

/// Whether what a program reads at its start was in memory already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum PageCache {
    /// As the last run left it.
    Kept,
    /// Dropped before the start (`/proc/sys/vm/drop_caches`).
    Dropped,
}

/// One start of one program: from nothing to the first answer, and on until it is warm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Start {
    pub(crate) subject: String,
    /// From 0.
    pub(crate) round: u32,
    pub(crate) page_cache: PageCache,
    /// How many of the same were started at the same moment.
    pub(crate) at_once: u32,
    /// Which of them this is, from 0.
    pub(crate) place: u32,
    pub(crate) phases: Phases,
    /// Answers before the first good one that were none: refusals, closed connections. Users would have seen them.
    pub(crate) bad_answers: u32,
    /// Requests behind the first, one after another: when each was answered, in milliseconds since the start
    /// was asked for, and how long it took in microseconds. Thinned out to a few hundred.
    pub(crate) early: Vec<(f64, f64)>,
    /// The latency it settled at, in microseconds; `None` if nobody looked.
    pub(crate) warm_us: Option<f64>,
    /// Why there was no answer.
    pub(crate) failure: Option<String>,
}

/// When each thing had happened, in milliseconds since the start was asked for; `None`: not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Phases {
    /// The new process exists.
    pub(crate) forked: Option<f64>,
    /// The kernel has made it the program.
    pub(crate) executed: Option<f64>,
    /// It wrote its first byte to stdout or stderr.
    pub(crate) first_output: Option<f64>,
    /// The kernel takes connections for it.
    pub(crate) listening: Option<f64>,
    /// It has taken the first connection.
    pub(crate) accepted: Option<f64>,
    /// The first byte of the first good answer.
    pub(crate) first_byte: Option<f64>,
    /// From here on latency stays within a tenth of the latency it settles at.
    pub(crate) warm: Option<f64>,
}

/// What the program was before the requests came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum StartClass {
    /// Not running: requests come from the moment of its start.
    Cold,
    /// Running and exercised.
    Warm,
    /// Stopped for a while, and just let go on.
    Thawed,
}

/// One run of open-loop load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Load {
    pub(crate) subject: String,
    pub(crate) round: u32,
    /// The scenario's name.
    pub(crate) scenario: String,
    pub(crate) class: StartClass,
    /// Requests per second that were due.
    pub(crate) rate: f64,
    /// Length of the run.
    pub(crate) seconds: f64,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    /// Kinds of failures, how many, and the first of each in words.
    pub(crate) errors: BTreeMap<String, (u64, String)>,
    /// Bytes of bodies, received and sent.
    pub(crate) body_bytes: (u64, u64),
    /// From the moment a request was due: no coordinated omission. By name of the request in its scenario.
    pub(crate) latency: BTreeMap<String, Curve>,
    /// From the moment it was sent: what a closed loop would have reported.
    pub(crate) service: BTreeMap<String, Curve>,
    /// All requests of each slice of the run, in the order of time.
    pub(crate) over_time: Vec<Slice>,
    /// What of it was the load's own doing.
    #[serde(default)]
    pub(crate) generator: Generator,
}

/// How well a load kept to its schedule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Generator {
    /// Most connections that were open at the same time.
    pub(crate) connections: u32,
    /// How late requests left the schedule: the load's own share of their latency.
    pub(crate) late: Curve,
    /// How long those waited that found as many connections taken as there may be; part of their latency.
    pub(crate) waited: Curve,
}

/// A distribution: shares of requests and the latency that they stayed within, in microseconds, both growing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Curve {
    pub(crate) count: u64,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A slice of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Slice {
    /// Its start, in milliseconds since the run began.
    pub(crate) at_ms: f64,
    pub(crate) count: u64,
    pub(crate) failed: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) max_us: f64,
}

/// The search for the rate up to which latency holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Search {
    pub(crate) subject: String,
    pub(crate) scenario: String,
    /// What had to hold, in words.
    pub(crate) condition: String,
    /// In the order in which they were tried.
    pub(crate) steps: Vec<Step>,
    /// The highest rate that held; `None` if not even the lowest did.
    pub(crate) knee: Option<f64>,
}

/// One rate that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Step {
    pub(crate) rate: f64,
    /// Good answers per second.
    pub(crate) achieved: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) failed: u64,
    pub(crate) holds: bool,
}

/// How a program was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Freezer {
    /// SIGSTOP to each of its processes.
    Signal,
    /// The freezer of control groups.
    Cgroup,
}

/// One freeze, and the first requests behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Thaw {
    pub(crate) subject: String,
    pub(crate) round: u32,
    pub(crate) by: Freezer,
    /// How long it was frozen.
    pub(crate) frozen_ms: f64,
    /// Whether the first request was sent while it was frozen still.
    pub(crate) asked_while_frozen: bool,
    /// Latency of the last requests before the freeze, in microseconds.
    pub(crate) before_us: Vec<f64>,
    pub(crate) requests: Vec<AfterThaw>,
}

/// One request behind a freeze, on a connection that was kept across it if there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AfterThaw {
    pub(crate) method: String,
    /// From the thaw, for the first that was sent before it; from its sending otherwise.
    pub(crate) latency_us: f64,
    /// Why it failed.
    pub(crate) failure: Option<String>,
}

/// The death of an app's process while nothing was in flight, and the requests behind it, a few milliseconds apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Crash {
    pub(crate) subject: String,
    pub(crate) round: u32,
    /// Whether nothing was in front of the app, so that it had to be started again as the platform would.
    pub(crate) is_started_again: bool,
    /// Requests until answers were good again.
    pub(crate) requests: u32,
    pub(crate) failed: u32,
    /// The first failure, in words.
    pub(crate) first_failure: Option<String>,
    /// From the death until the first answer behind which all were good; `None` if it did not come back.
    pub(crate) back_ms: Option<f64>,
    /// The slowest good answer.
    pub(crate) longest_us: f64,
}

/// A study as it stands in its file.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Written<'a> {
    summary: Summary,
    #[serde(flatten)]
    study: Cow<'a, Study>,
}

impl Study {
    /// A study of a run on this machine, with `more` facts behind those of the machine; nothing measured yet.
    pub(crate) fn here(kind: &str, more: Vec<(String, String)>) -> Self {
        Self { format: FORMAT, kind: kind.to_owned(), facts: machine::facts(more), ..Self::default() }
    }

    /// Notes what was not measured, once.
    pub(crate) fn miss(&mut self, subject: &str, place: Option<&str>, reason: String) {
        let missing = Missing { subject: subject.into(), cell: place.map(str::to_owned), reason };
        if !self.not_measured.contains(&missing) {
            self.not_measured.push(missing);
        }
    }

    /// Does rounds until all are done or the run shall stop, and notes how far it came.
    pub(crate) fn do_rounds(&mut self, count: u32, mut round: impl FnMut(u32, &mut Self)) {
        self.rounds = (count, 0);
        for number in 0..count {
            round(number, self);
            if let Some(why) = stop::reason() {
                self.ended_early = Some(why.into());
                break;
            }
            self.rounds.1 += 1;
        }
    }

    /// Reads a file that [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// It cannot be read, or is of another format; the file is named.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        read_format(path, FORMAT)
    }

    /// Everything, with a summary in front for those who want figures only: one line of JSON.
    pub(crate) fn to_json(&self) -> String {
        let written = Written { summary: summary(self), study: Cow::Borrowed(self) };
        // Nothing in it but numbers, text and lists of them.
        serde_json::to_string(&written).expect("invariant: a study can be written")
    }

    /// Adds what `other` observed: its rounds come behind the ones that are here.
    ///
    /// # Errors
    /// It is of another command, whose figures mean something else.
    pub(crate) fn merge(&mut self, other: Self) -> io::Result<()> {
        if self.kind != other.kind {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a study of `{}` and one of `{}` cannot be merged; give those of one command at a time",
                    self.kind, other.kind
                ),
            ));
        }
        let run = 2 + self.facts.iter().filter(|(name, _)| name.ends_with(": date")).count();
        for fact in other.facts {
            if !self.facts.contains(&fact) {
                self.facts.push((format!("run {run}: {}", fact.0), fact.1));
            }
        }
        for subject in other.subjects {
            if !self.subjects.iter().any(|mine| mine.name == subject.name) {
                self.subjects.push(subject);
            }
        }
        let behind = self.rounds.0;
        self.rounds = (self.rounds.0 + other.rounds.0, self.rounds.1 + other.rounds.1);
        self.ended_early = self.ended_early.take().or(other.ended_early);
        self.starts.extend(other.starts.into_iter().map(|one| Start { round: one.round + behind, ..one }));
        self.loads.extend(other.loads.into_iter().map(|one| Load { round: one.round + behind, ..one }));
        self.thaws.extend(other.thaws.into_iter().map(|one| Thaw { round: one.round + behind, ..one }));
        self.searches.extend(other.searches);
        for missing in other.not_measured {
            if !self.not_measured.contains(&missing) {
                self.not_measured.push(missing);
            }
        }
        Ok(())
    }

    /// Whether everything that was asked for was measured, and nothing failed.
    pub(crate) fn is_fine(&self) -> bool {
        self.not_measured.is_empty()
            && self.ended_early.is_none()
            && self.starts.iter().all(|start| start.failure.is_none())
            && self.loads.iter().all(|load| load.failed == 0)
            && self.thaws.iter().flat_map(|thaw| &thaw.requests).all(|request| request.failure.is_none())
    }
}
