//! How a worker is to listen, against what its command says that it is to be told.

use super::Judge;
use crate::config::{Spawn, Transport};
use crate::error::Problem;

/// The port of apps that hard-code one, where nothing else is known (FC's own default).
const FC_PORT: u16 = 9000;

/// What a command can be told, and with which transports that has a value.
const PLACEHOLDERS: [(&str, &[Transport]); 3] = [
    ("{socket}", &[Transport::Auto, Transport::Socket, Transport::FastCgi]),
    ("{fd}", &[Transport::Auto, Transport::Fd]),
    ("{port}", &[Transport::Auto, Transport::Shim, Transport::Tcp]),
];

impl Judge<'_> {
    /// The port that the app believes to be its own; ours is `listen`.
    pub(super) fn app_port(&mut self, listen: u16) -> u16 {
        let ours = if listen == 0 { FC_PORT } else { listen };
        self.auto_or("workers.app_port").map_or(ours, |port| u16::try_from(port).unwrap_or(ours))
    }

    pub(super) fn check_placeholders(&mut self, spawn: &Spawn) {
        if !self.is_sound("workers.transport") {
            return;
        }
        let uses = |text: &str| {
            let in_argv = spawn.argv.iter().any(|word| word.to_string_lossy().contains(text));
            let in_env = spawn.env.iter().any(|(_, value)| value.contains(text));
            [("workers.command", in_argv), ("workers.env", in_env)].into_iter().filter(|(_, is)| *is)
        };
        let used: Vec<_> = PLACEHOLDERS
            .iter()
            .flat_map(|(text, fit)| uses(text).map(move |(path, _)| (path, *text, *fit)))
            .collect();
        let word = spawn.transport.word();
        for &(path, text, _) in used.iter().filter(|(_, _, fit)| !fit.contains(&spawn.transport)) {
            let told: Vec<_> =
                PLACEHOLDERS.iter().filter(|(_, fit)| fit.contains(&spawn.transport)).collect();
            let fix = match told.first() {
                Some((other, _)) => format!("Use `{other}`, or remove `workers.transport`."),
                None => "Remove it, or `workers.transport`.".to_owned(),
            };
            let problem = Problem::new(
                format!("`{path}` uses `{text}`, which is never filled in."),
                format!("It has no value with `workers.transport = \"{word}\"`."),
                fix,
            );
            self.find(path, problem);
        }
        let Some(&(_, first, _)) = used.first() else { return };
        if let (Transport::Auto, Some(&(path, other, _))) =
            (spawn.transport, used.iter().find(|(_, text, _)| *text != first))
        {
            let problem = Problem::new(
                format!("`{path}` uses `{other}`, and the command `{first}`."),
                "A worker listens in one way.",
                "Use one of the two.",
            );
            self.find(path, problem);
        }
    }
}
