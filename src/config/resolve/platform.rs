//! The part of the configuration that is about the platform's contract.

use super::super::platform::{Events, Hook, HookMode, Hooks, Markers, Platform, Replay};
use super::super::read::{self, Bad};
use super::super::statuses::Statuses;
use super::{Judge, to_u32};

impl Judge<'_> {
    pub(super) fn platform(&mut self) -> Platform {
        let hooks = Hooks {
            initialize: self.hook("hooks.initialize", "hooks.initialize_deadline"),
            pre_freeze: self.hook("hooks.pre_freeze", "hooks.pre_freeze_deadline"),
            pre_stop: self.hook("hooks.pre_stop", "hooks.pre_stop_deadline"),
            restart: self.switch("hooks.restart"),
        };
        Platform {
            hooks,
            health_path: self.target("health.path"),
            events: Events { path: self.target("events.path"), failed: self.failed_statuses() },
            thaw_path: self.target("thaw.path"),
            markers: match self.choice("log.markers") {
                0 => Markers::Auto,
                1 => Markers::On,
                _ => Markers::Off,
            },
        }
    }

    pub(super) fn replay(&mut self) -> Replay {
        Replay {
            idempotent: self.choice("replay.methods") == 1,
            keyed: self.switch("replay.idempotency_key"),
            unread: self.switch("replay.unread"),
            budget_percent: to_u32(self.number("replay.budget")),
        }
    }

    fn hook(&mut self, mode: &'static str, deadline: &'static str) -> Hook {
        Hook { mode: HookMode::at(self.choice(mode)), deadline: self.period(deadline) }
    }

    fn failed_statuses(&mut self) -> Statuses {
        let statuses = self.optional("events.failed", |value| {
            let words = read::list(value, "", "Write it as [\"5xx\"]")?;
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            Statuses::parse(words.iter().map(AsRef::as_ref)).map_err(|word| {
                let what = format!("names `{}`, which is no failure", word.escape_debug());
                Bad::new(
                    what,
                    "Failures are 3xx, 4xx, 5xx, or single statuses from 300 to 599.",
                    "Set such as 5xx",
                )
            })
        });
        statuses.unwrap_or_default()
    }

    fn target(&mut self, path: &'static str) -> Option<String> {
        self.read(path, |_, value| read::target(value))
    }
}
