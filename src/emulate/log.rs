//! Every line that the emulator prints: what the platform would log, what it would answer, what the function wrote.
//!
//! One write per line, the date first, as the platform's own log splits by it. Who speaks is plain from what
//! follows: `FC …` and `fc:…` are the platform's words, `out|` and `err|` the function's, `Request` is one finished
//! request, `emulate:` is what only an emulator says.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use serde_json::{Map, Value, json};

use super::payload::megabytes;
use crate::telemetry::say::utc_now;

/// Where lines go and what they look like.
#[derive(Debug)]
pub(super) struct Log {
    is_stderr: bool,
    is_json: bool,
    has_colour: bool,
}

/// Who wrote a line of the function.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stream {
    /// stdout.
    Out,
    /// stderr.
    Err,
}

/// The warmth of a request that no instance saw.
pub(super) const UNSEEN: &str = "none";

/// One finished request.
#[derive(Debug)]
pub(super) struct Finished<'a> {
    /// Its id.
    pub(super) id: &'a str,
    /// Its method, as the client sent it.
    pub(super) method: &'a str,
    /// Its path and query.
    pub(super) target: &'a str,
    /// What the client got.
    pub(super) status: u16,
    /// `cold`, `thawed`, `warm`, or [`UNSEEN`].
    pub(super) warmth: &'a str,
    /// From the first byte at the gateway to the last one.
    pub(super) ms: u128,
    /// The most that the instance has used so far.
    pub(super) memory_kb: u64,
    /// What went wrong, in the words of the answer.
    pub(super) error: Option<&'a str>,
}

impl Log {
    /// On stderr where stdout belongs to an answer, else on stdout.
    pub(super) fn new(is_stderr: bool, is_json: bool) -> Self {
        let is_terminal = if is_stderr { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        Self { is_stderr, is_json, has_colour: is_terminal && !is_json }
    }

    /// The platform's words.
    pub(super) fn platform(&self, text: impl fmt::Display) {
        self.line("platform", "", "36", &text.to_string(), Map::new());
    }

    /// The emulator's own.
    pub(super) fn note(&self, text: impl fmt::Display) {
        self.line("emulator", "emulate: ", "2", &text.to_string(), Map::new());
    }

    /// What somebody must know to go on.
    pub(super) fn warn(&self, text: impl fmt::Display) {
        self.line("emulator", "emulate: ", "33", &text.to_string(), Map::new());
    }

    /// A line of the function.
    pub(super) fn output(&self, stream: Stream, text: &str) {
        let (kind, mark) = match stream {
            Stream::Out => ("stdout", "out| "),
            Stream::Err => ("stderr", "err| "),
        };
        self.line(kind, mark, "0", text, Map::new());
    }

    /// A finished request.
    pub(super) fn request(&self, finished: &Finished<'_>) {
        let Finished { id, method, target, status, warmth, ms, memory_kb, error } = *finished;
        let mut text =
            format!("Request {id} {method} {target} {status} {warmth} {ms}ms {}MB", megabytes(memory_kb));
        // Where an instance saw it, the line of its end has said so.
        if let Some(error) = error.filter(|_| warmth == UNSEEN) {
            text.push_str(&format!(" ({error})"));
        }
        let fields = json!({
            "requestId": id, "method": method, "target": target, "status": status, "start": warmth,
            "durationMs": u64::try_from(ms).unwrap_or(u64::MAX), "memoryKb": memory_kb, "error": error,
        });
        let Value::Object(fields) = fields else { unreachable!("invariant: written as an object above") };
        let colour = if status < 400 && error.is_none() { "32" } else { "31" };
        self.line("request", "", colour, &text, fields);
    }

    fn line(&self, kind: &str, mark: &str, colour: &str, text: &str, mut fields: Map<String, Value>) {
        let date = utc_now();
        let line = if self.is_json {
            fields.insert("time".to_owned(), date.to_string().into());
            fields.insert("kind".to_owned(), kind.into());
            fields.insert("text".to_owned(), text.into());
            format!("{}\n", Value::Object(fields))
        } else if self.has_colour {
            format!("{date} \x1b[{colour}m{mark}{text}\x1b[0m\n")
        } else {
            format!("{date} {mark}{text}\n")
        };
        // Nobody can be told that the log is gone.
        let _ = if self.is_stderr {
            io::stderr().lock().write_all(line.as_bytes())
        } else {
            // A stdout that is no terminal would keep lines back.
            let mut stdout = io::stdout().lock();
            stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush())
        };
    }
}
