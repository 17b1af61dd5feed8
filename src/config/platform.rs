//! What the platform's contract leaves to choose: hooks, health, events, replays, thaws.

use std::time::Duration;

use super::statuses::Statuses;

/// How the platform is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct Platform {
    /// Who answers the hooks.
    pub hooks: Hooks,
    /// The path that tells the pool's state, without a worker; `None`: none does.
    pub health_path: Option<String>,
    /// Where events go, and when they count as failed.
    pub events: Events,
    /// Where workers are told of a thaw; `None`: they are not.
    pub thaw_path: Option<String>,
    /// Whether the platform's markers are written.
    pub markers: Markers,
}

/// Who answers the hooks, and how long workers have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hooks {
    /// `/initialize`.
    pub initialize: Hook,
    /// `/pre-freeze`.
    pub pre_freeze: Hook,
    /// `/pre-stop`.
    pub pre_stop: Hook,
    /// Whether a worker's 5xx is passed on as 500, upon which the platform restarts the instance.
    pub restart: bool,
}

/// One hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Who answers.
    pub mode: HookMode,
    /// How long one worker has, where workers are asked.
    pub deadline: Duration,
}

/// Who answers a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookMode {
    /// We do.
    Answer,
    /// We do, when one worker has.
    Forward,
    /// We do, when every worker has.
    Fanout,
    /// Nobody: it is a request like any other.
    Off,
}

impl HookMode {
    /// The words of the configuration, in the order of the variants.
    pub const WORDS: &[&str] = &["answer", "forward", "fanout", "off"];
    const ALL: [Self; 4] = [Self::Answer, Self::Forward, Self::Fanout, Self::Off];

    /// The variant at this place of [`Self::WORDS`].
    pub(super) fn at(place: usize) -> Self {
        Self::ALL[place]
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

/// Events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// The path under which workers take them; unchanged if `None`.
    pub path: Option<String>,
    /// Answers that count as a failed invocation.
    pub failed: Statuses,
}

/// Whether the platform's markers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Markers {
    /// Where the platform does not write them itself: its second version, which names a service.
    Auto,
    /// For every request.
    On,
    /// Never.
    Off,
}

/// How many warm workers `/initialize` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// All that are configured.
    All,
    /// One.
    First,
}

/// Which requests may be sent again that a worker may have got, but most likely did not execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// Whether PUT and DELETE count as repeatable.
    pub idempotent: bool,
    /// Whether a request with `Idempotency-Key` does.
    pub keyed: bool,
    /// Whether any method does, if a worker closed its Unix socket without having read the request.
    pub unread: bool,
    /// Such replays for every hundred requests, over ten seconds.
    pub budget_percent: u32,
}

impl Default for Replay {
    fn default() -> Self {
        Self { idempotent: false, keyed: true, unread: false, budget_percent: 20 }
    }
}
