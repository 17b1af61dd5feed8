//! The part of the configuration that is about processes beside which we are the front door.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::super::keys::{Key, Kind};
use super::super::layers::{Entry, Finding, Source, Value};
use super::super::nearest::nearest_field;
use super::super::processes::{OnExit, Process, Processes};
use super::super::read::{self, Bad};
use super::super::references::{self, Env};
use super::super::{Spawn, WorkerSource};
use super::{Facts, Judge, SOCKET_PATH_BYTES};
use crate::error::Problem;

const KEY: &str = "process";
const LOG_DIR: &str = "log.process_dir";

/// One table of the file, being read.
struct Table<'a> {
    /// What it is called in complaints.
    who: String,
    line: usize,
    entries: &'a [Entry],
    fields: &'static [Key],
    env: &'a Env,
}

impl<'a> Table<'a> {
    fn entry(&self, name: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    fn line(&self, name: &str) -> usize {
        self.entry(name).map_or(self.line, |entry| entry.line)
    }
}

impl Judge<'_> {
    /// Whether a key that is about workers we start has a meaning for processes as well.
    pub(super) fn is_for_processes(&self, path: &str) -> bool {
        matches!(path, "workers.backoff_min" | "workers.backoff_max") && self.layers.is_set(KEY)
    }

    /// The processes; none if nothing is said of any.
    pub(super) fn processes(&mut self, facts: &Facts, source: &WorkerSource) -> Processes {
        let log_dir = self.optional(LOG_DIR, read::path);
        // What is wrong with them was found where workers are read.
        let mut pause = |path| if self.is_sound(path) { self.period(path) } else { Duration::ZERO };
        let backoff = (pause("workers.backoff_min"), pause("workers.backoff_max"));
        let Some(setting) = self.layers.setting(KEY) else {
            self.refuse_useless_log_dir();
            return Processes { each: Vec::new(), log_dir: None, backoff };
        };
        let (Value::Tables(tables), Kind::Tables(fields)) = (&setting.value, kind()) else {
            let fix = format!("Begin each with `[[{KEY}]]` and set its fields below");
            self.reject(KEY, Bad::new("is not a list of tables", "", fix));
            return Processes::default();
        };
        if let WorkerSource::Spawn(Spawn { .. }) = source {
            let problem = Problem::new(
                format!("`[[{KEY}]]` means nothing beside workers that we start ourselves."),
                "Two owners would wait for the same children: those of workers, and those of processes.",
                "Set `upstream = \"noslate\"` or `workers.sockets`, or start everything from `workers.command`.",
            );
            self.find(KEY, problem);
        }
        let mut each: Vec<Process> = Vec::new();
        for (number, table) in (1..).zip(tables) {
            let Value::Table(entries) = &table.value else { continue };
            let who = match entries.iter().find(|entry| entry.name == "name").map(|entry| &entry.value) {
                Some(Value::Text(name)) => format!("process `{}`", name.escape_debug()),
                _ => format!("process {number}"),
            };
            let table = Table { who, line: table.line, entries, fields, env: &facts.env };
            self.refuse_unknown_fields(&table);
            if let Some(process) = self.process(&table, log_dir.as_deref()) {
                self.refuse_doubles(&table, &process, &each);
                each.push(process);
            }
        }
        Processes { each, log_dir, backoff }
    }

    fn process(&mut self, table: &Table<'_>, log_dir: Option<&Path>) -> Option<Process> {
        let name = self.required(table, "name", |_, value| name(value));
        let argv = self.required(table, "command", |_, value| read::words(value));
        let env = self.process_env(table);
        let [cwd, ready, log] =
            ["cwd", "ready", "log"].map(|field| self.field(table, field, |_, value| read::path(value)));
        let on_exit = self.field(table, "on_exit", |kind, value| match kind {
            Kind::Choice(words) => read::choice(value, words),
            _ => unreachable!("invariant: on_exit is a choice in FIELDS"),
        });
        let mut period = |field| {
            let period = self.field(table, field, |kind, value| match kind {
                Kind::Period(zero) => read::period(value, zero),
                _ => unreachable!("invariant: {field} is a period in FIELDS"),
            });
            period.expect("invariant: periods have defaults")
        };
        let (grace, start_deadline) = (period("grace"), period("start_deadline"));
        if let Some(ready) = &ready {
            self.check_ready(table, ready);
        }
        let (name, argv) = (name?, argv?);
        let log = log.or_else(|| Some(log_dir?.join(format!("{name}.log"))));
        let on_exit = if on_exit == Some(OnExit::Stop as usize) { OnExit::Stop } else { OnExit::Restart };
        Some(Process { name, argv, env, cwd, ready, log, on_exit, grace, start_deadline })
    }

    fn process_env(&mut self, table: &Table<'_>) -> Vec<(String, String)> {
        let Some(entry) = table.entry("env") else { return Vec::new() };
        let Value::Table(entries) = &entry.value else {
            let fix = "Write it as { NAME = \"value\" }, or NAME = \"value\" below `[process.env]`";
            self.complain(table, entry, Bad::new("is not a table", "", fix), "");
            return Vec::new();
        };
        let mut variables = Vec::new();
        for entry in entries {
            let value = references::replaced(&entry.value, table.env)
                .and_then(|value| read::variable(&entry.name, &value));
            match value {
                Ok(value) => variables.push((entry.name.clone(), value)),
                Err(bad) => {
                    // The name only: the value may be a secret.
                    let what = format!("`env.{}` of {} {}.", entry.name.escape_debug(), table.who, bad.what);
                    self.find_at(entry.line, Problem::new(what, bad.why, format!("{}.", bad.fix)));
                }
            }
        }
        variables
    }

    /// The field's value, else its default if it has one; a bad value is reported, and the default stands in.
    fn field<T>(
        &mut self,
        table: &Table<'_>,
        name: &'static str,
        parse: impl Fn(Kind, &Value) -> Result<T, Bad>,
    ) -> Option<T> {
        let field = table.fields.iter().find(|field| field.path == name);
        let field = field.expect("invariant: only fields of FIELDS are asked for");
        if let Some(entry) = table.entry(name) {
            let value = match field.kind {
                Kind::Words | Kind::Path => references::replaced(&entry.value, table.env),
                _ => Ok(entry.value.clone()),
            };
            match value.and_then(|value| parse(field.kind, &value)) {
                Ok(value) => return Some(value),
                Err(bad) => self.complain(table, entry, bad, field.default),
            }
        }
        if field.default.is_empty() {
            return None;
        }
        match parse(field.kind, &Value::Word(field.default.into())) {
            Ok(value) => Some(value),
            Err(bad) => unreachable!("invariant: the default of {name} is valid: {bad:?}"),
        }
    }

    fn required<T>(
        &mut self,
        table: &Table<'_>,
        name: &'static str,
        parse: impl Fn(Kind, &Value) -> Result<T, Bad>,
    ) -> Option<T> {
        if table.entry(name).is_none() {
            let example = match name {
                "name" => "name = \"turf\"",
                _ => "command = [\"turf\", \"-D\", \"-f\"]",
            };
            let what = format!("There is no `{name}` in the table of {}.", table.who);
            self.find_at(table.line, Problem::new(what, "", format!("Add it, such as `{example}`.")));
        }
        self.field(table, name, parse)
    }

    fn complain(&mut self, table: &Table<'_>, entry: &Entry, bad: Bad, default: &str) {
        let default =
            if default.is_empty() { String::new() } else { format!(" for the default ({default})") };
        let what = format!("`{} = {}` of {} {}.", entry.name, entry.value.shown(), table.who, bad.what);
        let fix = match entry.name.as_str() {
            "name" | "command" => format!("{}.", bad.fix),
            _ => format!("{}, or remove the line{default}.", bad.fix),
        };
        self.find_at(entry.line, Problem::new(what, bad.why, fix));
    }

    fn find_at(&mut self, line: usize, problem: Problem) {
        let source = match self.layers.source(KEY) {
            Source::File { path, .. } => Source::File { path: path.clone(), line },
            other => other.clone(),
        };
        self.findings.push(Finding::new(source, Some(KEY), problem));
    }

    // === contradictions ===

    fn refuse_unknown_fields(&mut self, table: &Table<'_>) {
        for entry in table.entries {
            if table.fields.iter().any(|field| field.path == entry.name) {
                continue;
            }
            let fix = match nearest_field(&entry.name, table.fields) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => {
                    let names: Vec<_> =
                        table.fields.iter().map(|field| format!("`{}`", field.path)).collect();
                    format!("Remove it; the fields are {}.", names.join(", "))
                }
            };
            let what = format!("`[[{KEY}]]` has no field `{}`.", entry.name.escape_debug());
            self.find_at(entry.line, Problem::new(what, "", fix));
        }
    }

    fn refuse_doubles(&mut self, table: &Table<'_>, process: &Process, before: &[Process]) {
        if before.iter().any(|other| other.name == process.name) {
            let problem = Problem::new(
                format!("There are two processes `{}`.", process.name),
                "Reports and log files could not tell them apart.",
                "Rename one.",
            );
            self.find_at(table.line("name"), problem);
        }
        let double = |other: &&Process| other.ready.is_some() && other.ready == process.ready;
        if let (Some(other), Some(ready)) = (before.iter().find(double), &process.ready) {
            let problem = Problem::new(
                format!(
                    "Process `{}` waits for `{}`, as `{}` does.",
                    process.name,
                    ready.display(),
                    other.name
                ),
                "It would count as ready before it has begun.",
                "Name the socket of its own, or leave `ready` out.",
            );
            self.find_at(table.line("ready"), problem);
        }
    }

    fn check_ready(&mut self, table: &Table<'_>, ready: &Path) {
        let bytes = ready.as_os_str().len();
        if bytes >= SOCKET_PATH_BYTES {
            let problem = Problem::new(
                format!("The socket path `{}` is {bytes} bytes long.", ready.display()),
                format!("The kernel takes at most {}.", SOCKET_PATH_BYTES - 1),
                "Use a shorter path, such as one below `/run` or `/tmp`.",
            );
            self.find_at(table.line("ready"), problem);
        }
    }

    fn refuse_useless_log_dir(&mut self) {
        // The platform's own variable may be there in any image.
        let is_ours = !matches!(self.layers.source(LOG_DIR), Source::Env(name) if name == "NOSLATE_LOGDIR");
        if self.layers.is_set(LOG_DIR) && is_ours && self.is_sound(LOG_DIR) {
            let problem = Problem::new(
                format!("`{LOG_DIR}` means nothing without `[[{KEY}]]`."),
                "It is for the output of processes, and there are none; workers write to our own streams.",
                format!("Remove `{LOG_DIR}`."),
            );
            self.find(LOG_DIR, problem);
        }
    }
}

/// What the list of keys says of the tables.
fn kind() -> Kind {
    Key::find(KEY).expect("invariant: it is in KEYS").kind
}

/// A name that can be a file's.
fn name(value: &Value) -> Result<String, Bad> {
    let fix = "Set a name such as turf";
    let text = read::text(value)?.ok_or_else(|| Bad::new("is empty", "", fix))?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if text.starts_with(['.', '-']) || !text.bytes().all(is_plain) {
        let why = "It names a file: letters, digits, `.`, `_` and `-`, and the first is neither `.` nor `-`.";
        return Err(Bad::new("is no name for a process", why, fix));
    }
    if OsStr::new(&text).len() > Process::NAME_BYTES_MAX {
        return Err(Bad::new("is too long", format!("At most {} bytes.", Process::NAME_BYTES_MAX), fix));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
