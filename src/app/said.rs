//! What the start line and the line of a warm pool say.

use std::time::Instant;

use crate::clock;
use crate::config::{CommandChoice, WorkerSource, Workers};
use crate::telemetry::say;
use crate::worker::php_fpm;

/// What is said once when the pool is warm.
pub(super) struct Hints {
    pub(super) count: usize,
    demo: bool,
    port: u16,
}

impl Hints {
    pub(super) fn new(source: &WorkerSource, port: u16) -> Self {
        let demo = matches!(source, WorkerSource::Spawn(spawn) if spawn.chosen == CommandChoice::Demo);
        Self { count: source.count(), demo, port }
    }

    /// Says it of a pool of `count` that has been starting since `began`.
    pub(super) fn say_warm(&self, began: Instant, count: usize) {
        let &Self { demo, port, .. } = self;
        let noun = if count == 1 { "worker is" } else { "workers are" };
        say::info(format_args!("{count} {noun} warm after {} ms", (clock::now() - began).as_millis()));
        if demo {
            say::info(format_args!("try:          curl localhost:{port}"));
            say::info("your own app: warmfront run -- node server.js");
        }
    }
}

/// What is about to be done, for the line that says where we listen.
pub(super) fn intention(workers: &Workers) -> String {
    let slots = workers.slots.count;
    let each = match (slots, workers.slots.guessed) {
        (1, true) => {
            "1 request at a time each (unknown app: if it serves several at once, say --concurrency N)"
                .to_owned()
        }
        (1, false) => "1 request at a time each".to_owned(),
        (slots, _) => format!("up to {slots} requests at a time each"),
    };
    match &workers.source {
        WorkerSource::Sockets(sockets) => format!("forwarding to {} sockets, {each}", sockets.len()),
        WorkerSource::Noslate(noslate) => {
            let noun = if noslate.data_planes == 1 { "data plane" } else { "data planes" };
            format!(
                "in front of Noslate, {} {noun} in {}, {each}",
                noslate.data_planes,
                noslate.workdir.display()
            )
        }
        WorkerSource::Spawn(spawn) => {
            let program = std::path::Path::new(&spawn.argv[0]).display();
            let what = match spawn.chosen {
                CommandChoice::Given => format!("`{program}`"),
                CommandChoice::Bootstrap => {
                    format!("`{program}` (no command was given; the platform's rule)")
                }
                CommandChoice::Demo => "its own demo (no command was given)".to_owned(),
            };
            let noun = if spawn.count == 1 { "worker" } else { "workers" };
            let fpm = spawn.php_fpm.as_ref().map(php_fpm::in_words).unwrap_or_default();
            format!("starting {} {noun} of {what}{fpm}, {each}", spawn.count)
        }
    }
}
