//! What went wrong with an invocation, and what that means to whoever asked.
//!
//! A plane's errors have a name and a code, and the code means another thing under each name: gRPC's statuses
//! for errors of the plane itself (`Error`), those of the workers' protocol for the rest (`NoslatedError`).
//! Nothing of what they say reaches a client unless that was asked for.

use std::fmt;

use bytes::Bytes;

use super::wire::{Field, Malformed, next_field};

/// `InvokeErrorResponse`, as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaneError {
    /// Whose error it is.
    pub name: String,
    /// What it says.
    pub message: String,
    /// Where it came about in the plane.
    pub stack: String,
    /// What the worker said.
    pub peer_message: String,
    /// Where it came about in the worker.
    pub peer_stack: String,
    /// What means what depends on `name`.
    pub code: i32,
}

impl PlaneError {
    /// The message's fields; those that are not there are empty.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no fields.
    pub fn read(mut message: Bytes) -> Result<Self, Malformed> {
        let mut error = Self::default();
        let text = |bytes: Bytes| String::from_utf8_lossy(&bytes).into_owned();
        while let Some((number, field)) = next_field(&mut message)? {
            match (number, field) {
                (1, Field::Bytes(bytes)) => error.name = text(bytes),
                (2, Field::Bytes(bytes)) => error.message = text(bytes),
                (3, Field::Bytes(bytes)) => error.stack = text(bytes),
                (4, Field::Bytes(bytes)) => error.peer_message = text(bytes),
                (5, Field::Bytes(bytes)) => error.peer_stack = text(bytes),
                // Its low 32 bits, as the type says.
                (7, Field::Number(number)) => error.code = number as i32,
                _ => {}
            }
        }
        Ok(error)
    }

    fn told(&self) -> String {
        let Self { name, message, stack, peer_message, peer_stack, code } = self;
        let parts = [stack, peer_message, peer_stack].into_iter().filter(|part| !part.is_empty());
        let more: String = parts.map(|part| format!("\n{part}")).collect();
        format!("{name} {code}: {message}{more}")
    }
}

/// Why there is no answer, or none that may be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaneFault {
    /// Of which kind.
    pub kind: FaultKind,
    /// What was said about it, if the client may read that.
    pub told: Option<String>,
}

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The request names no function.
    NoTarget,
    /// The plane knows no function or service of that name.
    Unknown,
    /// It does not yet know one that it is about to be told.
    NotYet,
    /// The function's rate limit.
    RateLimited,
    /// No worker came free before the deadline.
    QueuedTooLong,
    /// The plane's circuit breaker is open.
    BreakerOpen,
    /// No worker is free, and the function's requests do not wait.
    NoWorker,
    /// No memory for another worker.
    NoMemory,
    /// No further worker is allowed.
    NoReplica,
    /// No worker could be started.
    NotStarted,
    /// The function failed.
    Function,
    /// The function did not answer before the deadline.
    TooLate,
    /// The function's worker ended.
    WorkerDied,
    /// The plane has not said a word until long behind the deadline.
    Silent,
    /// The plane ended the call without an answer, with this status of gRPC.
    Grpc(i32),
    /// The answer is none that HTTP knows.
    Answer(&'static str),
    /// An error that is none of those above.
    Other,
}

/// What planes say where there is no code for it.
const WORDS: [(&str, FaultKind); 5] = [
    ("No available worker process", FaultKind::NoWorker),
    ("No enough virtual memory", FaultKind::NoMemory),
    ("Replica count exceeded limit", FaultKind::NoReplica),
    ("Failed to ensure (or download) code", FaultKind::NotStarted),
    ("Internal error:", FaultKind::NotStarted),
];

impl FaultKind {
    /// Of which kind an error of a plane is.
    pub fn of(error: &PlaneError) -> Self {
        match (error.name.as_str(), error.code) {
            ("Error", 4) => Self::QueuedTooLong,
            ("Error", 5) => Self::Unknown,
            ("Error", 8) => Self::RateLimited,
            ("Error", 9) => Self::BreakerOpen,
            ("Error", 0) => {
                let said = WORDS.iter().find(|(words, _)| error.message.starts_with(words));
                said.map_or(Self::Other, |(_, kind)| *kind)
            }
            ("NoslatedError", 1) => Self::Function,
            ("NoslatedError", 2) => Self::TooLate,
            ("NoslatedError", 4) => Self::WorkerDied,
            _ => Self::Other,
        }
    }

    /// The status that says so.
    pub fn status(self) -> u16 {
        match self {
            Self::NoTarget | Self::Unknown => 404,
            Self::RateLimited => 429,
            Self::Function => 500,
            Self::NotStarted | Self::WorkerDied | Self::Grpc(_) | Self::Answer(_) | Self::Other => 502,
            Self::NotYet | Self::BreakerOpen | Self::NoWorker | Self::NoMemory | Self::NoReplica => 503,
            Self::QueuedTooLong | Self::TooLate | Self::Silent => 504,
        }
    }

    /// Its word in `x-warmfront-reason` and in the access line.
    pub fn word(self) -> &'static str {
        match self {
            Self::NoTarget => "noslate-no-target",
            Self::Unknown => "noslate-unknown",
            Self::NotYet => "noslate-not-yet",
            Self::RateLimited => "noslate-rate-limit",
            Self::QueuedTooLong => "noslate-queue",
            Self::BreakerOpen => "noslate-breaker",
            Self::NoWorker => "noslate-no-worker",
            Self::NoMemory => "noslate-memory",
            Self::NoReplica => "noslate-replicas",
            Self::NotStarted => "noslate-start",
            Self::Function => "noslate-function",
            Self::TooLate => "noslate-timeout",
            Self::WorkerDied => "noslate-worker-died",
            Self::Silent => "noslate-silent",
            Self::Grpc(_) => "noslate-grpc",
            Self::Answer(_) => "noslate-answer",
            Self::Other => "noslate-error",
        }
    }

    /// Whether the request was certainly given to no worker, so that it may be sent again, and whether that may help.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::NotYet | Self::NoWorker | Self::NoMemory | Self::NoReplica)
    }

    /// Every kind, one of each.
    pub const ALL: [Self; 17] = [
        Self::NoTarget,
        Self::Unknown,
        Self::NotYet,
        Self::RateLimited,
        Self::QueuedTooLong,
        Self::BreakerOpen,
        Self::NoWorker,
        Self::NoMemory,
        Self::NoReplica,
        Self::NotStarted,
        Self::Function,
        Self::TooLate,
        Self::WorkerDied,
        Self::Silent,
        Self::Grpc(14),
        Self::Answer("status"),
        Self::Other,
    ];
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoTarget => {
                "the request names no function. Send x-noslated-dispatch: NAME, ask for /invoke/NAME, or set \
                 noslate.target"
            }
            Self::Unknown => "the data plane knows no function or service of this name; noslate.profiles lists them",
            Self::NotYet => "the data plane does not know the function yet: it is being told. Retry",
            Self::RateLimited => "the function's rate limit is reached",
            Self::QueuedTooLong => {
                "no worker of the function came free within noslate.timeout. Retry later, or allow it more workers \
                 (replicaCountLimit, maxActivateRequests)"
            }
            Self::BreakerOpen => "the data plane takes no requests until its load has gone down (circuit breaker)",
            Self::NoWorker => "every worker of the function is busy, and its requests do not wait (disableRequestQueue)",
            Self::NoMemory => {
                "there is no memory for another worker. Lower resourceLimit.memory, or raise \
                 NOSLATED_VIRTUAL_MEMORY_POOL_SIZE"
            }
            Self::NoReplica => "the function has all workers that replicaCountLimit allows, and none is free",
            Self::NotStarted => {
                "no worker of the function could be started: its code was not found, or its start took too long. \
                 Noslate's logs say which"
            }
            Self::Function => "the function failed before it answered; its own log says why",
            Self::TooLate => "the function did not answer within noslate.timeout",
            Self::WorkerDied => "the function's worker ended before it answered",
            Self::Silent => "the data plane has said nothing since, not even that time is over",
            Self::Grpc(status) => return write!(f, "the data plane ended the call without an answer (gRPC status {status})"),
            Self::Answer(what) => return write!(f, "the function's answer is no HTTP: its {what}"),
            Self::Other => "the data plane could not have the function invoked; its log says why",
        })
    }
}

impl PlaneFault {
    /// One of which nobody has said anything.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, told: None }
    }

    /// What a plane's error means. `tells`: whether clients may read it.
    pub fn of(error: &PlaneError, tells: bool) -> Self {
        Self { kind: FaultKind::of(error), told: tells.then(|| error.told()) }
    }
}

impl fmt::Display for PlaneFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.told {
            None => self.kind.fmt(f),
            Some(told) => write!(f, "{}. Said: {told}", self.kind),
        }
    }
}

impl std::error::Error for PlaneFault {}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, code: i32, message: &str) -> PlaneError {
        PlaneError { name: name.into(), code, message: message.into(), ..PlaneError::default() }
    }

    #[test]
    fn each_error_of_a_plane_has_its_status() {
        for (name, code, message, status) in [
            ("Error", 5, "No function named X registered in this node.", 404),
            ("Error", 5, "Service not found.", 404),
            ("Error", 8, "rate limit exceeded", 429),
            ("Error", 4, "Waiting for worker has timed out at 1, request(a)", 504),
            ("Error", 9, "System circuit breaker opened.", 503),
            ("Error", 0, "No available worker process for X now.", 503),
            ("Error", 0, "No enough virtual memory (used: 1 + need: 2) > total: 2", 503),
            ("Error", 0, "Replica count exceeded limit (10 / 10)", 503),
            ("Error", 0, "Failed to ensure (or download) code: no such file", 502),
            ("Error", 0, "Internal error: worker initialization timeout", 502),
            ("Error", 0, "anything else", 502),
            ("Error", 3, "", 502),
            ("NoslatedError", 1, "boom", 500),
            ("NoslatedError", 2, "Request Timeout", 504),
            ("NoslatedError", 4, "Session closed", 502),
            ("NoslatedError", 5, "", 502),
            // The same codes mean other things under another name.
            ("NoslatedError", 8, "", 502),
            ("", 5, "", 502),
        ] {
            assert_eq!(
                FaultKind::of(&error(name, code, message)).status(),
                status,
                "{name} {code} {message}"
            );
        }
    }

    #[test]
    fn only_what_no_worker_can_have_seen_may_be_sent_again() {
        let refusals: Vec<_> = FaultKind::ALL.into_iter().filter(|kind| kind.is_refusal()).collect();
        use FaultKind::{NoMemory, NoReplica, NoWorker, NotYet};
        assert_eq!(refusals, [NotYet, NoWorker, NoMemory, NoReplica]);
    }

    #[test]
    fn what_a_function_said_is_told_only_where_that_was_asked_for() {
        let error = PlaneError {
            peer_message: "secret at /code/a.js".into(),
            peer_stack: "at handler (/code/a.js:1)".into(),
            ..error("NoslatedError", 1, "boom")
        };
        let kept = PlaneFault::of(&error, false).to_string();
        assert!(!kept.contains("boom") && !kept.contains("/code"), "{kept}");
        let told = PlaneFault::of(&error, true).to_string();
        assert!(told.contains("NoslatedError 1: boom") && told.contains("at handler"), "{told}");
    }
}
