//! From what was said to what holds: layers in, a [`Config`] or every problem out.
//!
//! Pure. Facts about the machine come in as [`Facts`], so that the same words give
//! the same answer everywhere. All problems are reported at once, in the order of
//! the file: fixing one and meeting the next is nobody's idea of a good start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::guess::{DEMO_WORKER, is_demo};
pub use super::guess::{decisive, guess_slots};
use super::keys::{Key, Kind};
use super::layers::{Finding, Layers, Source, Value, in_order};
use super::read::{self, Bad};
use super::units::{period_text, size_text};
use super::{
    AccessLog, Admin, Affinity, CommandChoice, Config, Congestion, EngineChoice, HeaderPolicy, Limits,
    Listen, Protocol, Queue, Readiness, Recycle, Reported, Slots, Spawn, Transport, WorkerSource, Workers,
};
use crate::error::Problem;

/// The platform's rule for a command nobody gave (FC custom runtime).
pub const BOOTSTRAP: &str = "/code/bootstrap";

/// Room for a socket path in the kernel's address, its final NUL included.
const SOCKET_PATH_BYTES: usize = 108;

/// Longest parent of the private socket directory: what [`SOCKET_PATH_BYTES`] leaves after
/// `/warmfront-<pid>-<8 hex digits>/w<worker>-<life>.sock` at its longest.
const SOCKET_DIR_BYTES_MAX: usize = 59;

/// Requests that one data plane holds where nobody says how many: what the platform sends one instance at most.
const PLANE_SLOTS: u32 = 200;

/// Keys that only mean something for workers we start.
const SPAWN_ONLY: &[&str] = &[
    "workers.count",
    "workers.transport",
    "workers.app_port",
    "workers.env",
    "workers.cwd",
    "workers.socket_dir",
    "workers.grace",
    "workers.max_requests",
    "workers.max_memory",
    "workers.backoff_min",
    "workers.backoff_max",
    "log.stamp",
];

/// What the machine says; gathered by `load`.
#[derive(Clone, Debug)]
pub struct Facts {
    /// CPUs this process may use, at least 1.
    pub cpus: usize,
    /// Whether [`BOOTSTRAP`] exists and is another program than this one.
    pub bootstrap_exists: bool,
    /// This process was itself started as a worker of warmfront.
    pub is_worker: bool,
    /// This binary.
    pub current_exe: PathBuf,
    /// The system's temporary directory.
    pub temp_dir: PathBuf,
    /// Whether the first word of the worker command can be started.
    pub program: Program,
    /// `workers.cwd` is set and is no directory.
    pub cwd_missing: bool,
    /// Where PHP's scripts would lie, without symbolic links, if that is a directory.
    pub php_root: Option<PathBuf>,
    /// What the platform's variables say about the function, each under OpenTelemetry's name for it.
    pub function: Vec<(&'static str, String)>,
    /// Whether this build can send spans.
    pub can_trace: bool,
    /// What `${NAME}` of a process may refer to.
    pub env: BTreeMap<OsString, OsString>,
}

/// What looking for the worker's program found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// A file that may be executed, or a word only known later.
    Found,
    /// No such file; where it was looked for.
    Missing {
        /// Directories of `PATH`, or the one file that is not there.
        searched: String,
    },
    /// Files of that name, none of which may be executed.
    NotExecutable {
        /// The first of them.
        file: PathBuf,
    },
}

/// Judges every value and every pair of values.
///
/// # Errors
/// Every problem, those of loading included: down the file by line, then the
/// environment, then flags, then what nobody set. Never empty.
pub fn resolve(layers: &Layers, facts: &Facts) -> Result<Config, Vec<Problem>> {
    let mut judge = Judge { layers, findings: layers.findings.clone() };
    let config = judge.config(facts);
    if judge.findings.is_empty() { Ok(config) } else { Err(in_order(judge.findings)) }
}

/// Where the admin of an instance with this configuration listens. Nothing else is judged: the instance may run where
/// its programs are, and these need not be here.
///
/// # Errors
/// Every problem of loading and of the admin's keys, in the order of [`resolve`]. Never empty.
pub fn admin(layers: &Layers) -> Result<Admin, Vec<Problem>> {
    let mut judge = Judge { layers, findings: layers.findings.clone() };
    let port = judge.port();
    let admin = judge.admin(port);
    if judge.findings.is_empty() { Ok(admin) } else { Err(in_order(judge.findings)) }
}

/// The worker command and who chose it; `Err` if the one given is unreadable.
pub(super) fn choose_command(
    layers: &Layers,
    bootstrap_exists: bool,
    current_exe: &Path,
) -> Result<(Vec<OsString>, CommandChoice), Bad> {
    match layers.setting("workers.command") {
        Some(setting) => Ok((read::words(&setting.value)?, CommandChoice::Given)),
        None if bootstrap_exists => Ok((vec![BOOTSTRAP.into()], CommandChoice::Bootstrap)),
        None => Ok((vec![current_exe.into(), DEMO_WORKER.into()], CommandChoice::Demo)),
    }
}

struct Judge<'a> {
    layers: &'a Layers,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    fn config(&mut self, facts: &Facts) -> Config {
        let access_log = match self.choice("log.access") {
            0 => AccessLog::Text,
            1 => AccessLog::Json,
            _ => AccessLog::Off,
        };
        let slow = Some(self.period("log.slow")).filter(|slow| !slow.is_zero());
        let one_in = self.auto_or("log.sample").map(|one_in| u32::try_from(one_in).unwrap_or(u32::MAX));
        let reported = Reported { one_in: one_in.unwrap_or(u32::from(slow.is_none())), slow };
        let auto_threads = if facts.cpus <= 2 { 1 } else { facts.cpus.min(4) };
        let threads = self.auto_or("threads").map_or(auto_threads, to_usize);
        let port = self.port();
        let workers = self.workers(facts, port);
        let processes = self.processes(facts, &workers.source);
        let php = self.php(&workers, facts);
        Config {
            listen: Listen {
                address: self.read("listen.address", |_, value| read::address(value)),
                port,
                backlog: to_u32(self.number("listen.backlog")),
                send_buffer: Some(to_usize(self.size("listen.send_buffer"))).filter(|&bytes| bytes > 0),
                congestion: match self.word("listen.congestion") {
                    "auto" => Congestion::Auto,
                    "system" => Congestion::System,
                    name => Congestion::Named(name),
                },
            },
            threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
            engine: match self.choice("engine") {
                0 => EngineChoice::Epoll,
                1 => EngineChoice::Uring,
                _ => EngineChoice::Auto,
            },
            workers,
            php,
            processes,
            queue: Queue {
                depth: to_usize(self.number("queue.depth")),
                bytes: to_usize(self.size("queue.bytes")),
                timeout: self.period("queue.timeout"),
                newest_first_after: self.period("queue.newest_first_after"),
            },
            limits: self.limits(),
            headers: HeaderPolicy {
                strip_credentials: self.switch("headers.strip_credentials"),
                first_forwarded_proto: self.switch("headers.first_forwarded_proto"),
                strip_proxy_prefix: self.switch("headers.strip_proxy_prefix"),
            },
            server_timing: self.switch("headers.server_timing"),
            affinity: Affinity {
                by: self.read("affinity.by", |_, value| read::session_rules(value)),
                sessions: to_usize(self.number("affinity.sessions")),
            },
            access_log,
            reported,
            platform: self.platform(),
            replay: self.replay(),
            admin: self.admin(port),
            trace: self.trace(facts),
            drain_deadline: self.period("drain.deadline"),
        }
    }

    /// The platform's.
    fn port(&mut self) -> u16 {
        u16::try_from(self.number("listen.port")).unwrap_or(u16::MAX)
    }

    fn limits(&mut self) -> Limits {
        let [head, target, buffer] =
            ["limits.head_bytes", "limits.target_bytes", "limits.buffer_bytes"].map(|path| self.size(path));
        self.at_most(
            ("limits.head_bytes", head),
            ("limits.buffer_bytes", buffer),
            size_text,
            "A head must fit into one relay buffer.",
        );
        self.at_most(
            ("limits.target_bytes", target),
            ("limits.head_bytes", head),
            size_text,
            "The target is part of the head.",
        );
        Limits {
            head_bytes: to_usize(head),
            target_bytes: to_usize(target),
            fields: to_usize(self.number("limits.fields")),
            body_bytes: Some(self.size("limits.body_bytes")).filter(|&bytes| bytes > 0),
            discard_bytes: self.size("limits.discard_bytes"),
            buffer_bytes: to_usize(buffer),
            connections: self.auto_or("limits.connections").map(to_usize),
            collect_requests: self.switch("limits.collect_requests"),
            head_timeout: self.limit("limits.head_timeout"),
            body_timeout: self.limit("limits.body_timeout"),
            write_timeout: self.limit("limits.write_timeout"),
            idle_timeout: self.limit("limits.idle_timeout"),
        }
    }

    /// A period of which zero means none.
    fn limit(&mut self, path: &'static str) -> Option<Duration> {
        Some(self.period(path)).filter(|period| !period.is_zero())
    }

    fn workers(&mut self, facts: &Facts, port: u16) -> Workers {
        let sockets = self.optional("workers.sockets", read::paths);
        let noslate = self.noslate();
        let is_unused = sockets.is_some() || noslate.is_some();
        let mut spawn = self.spawn(facts, port, is_unused);
        let demo = !is_unused && is_demo(&spawn.argv);
        let mut slots = match self.auto_or("workers.concurrency") {
            Some(count) => Slots { count: to_u32(count), guessed: false },
            None if noslate.is_some() => Slots { count: PLANE_SLOTS, guessed: true },
            None if sockets.is_some() => Slots { count: 1, guessed: true },
            None => Slots { count: guess_slots(&spawn.argv), guessed: true },
        };
        let tell_start = self.switch("workers.tell_start");
        let (protocol, source) = match (noslate, sockets) {
            (Some(noslate), _) => {
                self.check_calls(slots);
                (Protocol::Noslate, WorkerSource::Noslate(noslate))
            }
            (None, Some(sockets)) => {
                self.check_sockets(&sockets);
                (self.spoken(None), WorkerSource::Sockets(sockets))
            }
            (None, None) => {
                self.php_fpm(&mut spawn, facts, &mut slots);
                (self.spoken(Some(&spawn)), WorkerSource::Spawn(spawn))
            }
        };
        Workers {
            source,
            slots,
            protocol,
            connect_timeout: self.period("workers.connect_timeout"),
            tell_start: if self.layers.is_set("workers.tell_start") {
                tell_start
            } else {
                tell_start || demo
            },
            start_deadline: self.period("start.deadline"),
            readiness: match self.choice("start.ready") {
                0 => Readiness::All,
                _ => Readiness::First,
            },
        }
    }

    fn spawn(&mut self, facts: &Facts, port: u16, unused: bool) -> Spawn {
        let demo = (Vec::new(), CommandChoice::Demo);
        let (argv, chosen) = choose_command(self.layers, facts.bootstrap_exists, &facts.current_exe)
            .unwrap_or_else(|bad| {
                self.reject("workers.command", bad);
                demo
            });
        let cwd = self.optional("workers.cwd", read::path);
        let socket_dir = self.optional("workers.socket_dir", read::path);
        let transport = Transport::ALL[self.choice("workers.transport")];
        let port = self.app_port(port);
        let backoff = (self.period("workers.backoff_min"), self.period("workers.backoff_max"));
        self.at_most(
            ("workers.backoff_min", backoff.0),
            ("workers.backoff_max", backoff.1),
            period_text,
            "Pauses grow from the first to the longest.",
        );
        let spawn = Spawn {
            argv,
            chosen,
            count: to_usize(self.number("workers.count")),
            transport,
            port,
            env: self.variables("workers.env"),
            cwd,
            socket_dir: socket_dir.unwrap_or_else(|| facts.temp_dir.clone()),
            grace: self.period("workers.grace"),
            recycle: Recycle {
                requests: Some(self.number("workers.max_requests")).filter(|&count| count > 0),
                memory: Some(self.size("workers.max_memory")).filter(|&bytes| bytes > 0),
            },
            backoff,
            stamp: self.read("log.stamp", |_, value| read::switch(value)),
            php_fpm: None,
        };
        if !unused && self.is_sound("workers.command") {
            self.check_placeholders(&spawn);
            self.check_places(&spawn, facts);
        }
        spawn
    }

    fn variables(&mut self, path: &'static str) -> Vec<(String, String)> {
        let Some(setting) = self.layers.setting(path) else { return Vec::new() };
        let Value::Table(entries) = &setting.value else {
            let fix = format!("Open `[{path}]` and write `NAME = \"value\"` below it");
            self.reject(path, Bad::new("is not a table", "", fix));
            return Vec::new();
        };
        let mut variables = Vec::new();
        for entry in entries {
            let source = match &setting.source {
                Source::File { path, .. } => Source::File { path: path.clone(), line: entry.line },
                other => other.clone(),
            };
            match read::variable(&entry.name, &entry.value) {
                Ok(value) => variables.push((entry.name.clone(), value)),
                Err(bad) => {
                    // The name only: the value may be a secret.
                    let what = format!("`{path}.{}` {}.", entry.name.escape_debug(), bad.what);
                    let problem = Problem::new(what, bad.why, format!("{}.", bad.fix));
                    self.findings.push(Finding::new(source, Some(path), problem));
                }
            }
        }
        variables
    }

    // === contradictions ===

    fn check_sockets(&mut self, sockets: &[PathBuf]) {
        let key = "workers.sockets";
        if self.layers.is_set("workers.command") && self.is_sound("workers.command") {
            let problem = Problem::new(
                "`workers.command` and `workers.sockets` are both given.",
                format!(
                    "Either we start the workers or something else runs them; the command comes from {}.",
                    self.layers.source("workers.command").place().unwrap_or_default()
                ),
                "Remove one of the two.",
            );
            self.find(key, problem);
        }
        for path in SPAWN_ONLY {
            if self.layers.is_set(path) && self.is_sound(path) && !self.is_for_processes(path) {
                let problem = Problem::new(
                    format!("`{path}` means nothing with `workers.sockets`."),
                    "It is about workers we start; these are run by something else.",
                    format!("Remove `{path}`, or give `workers.command` instead of sockets."),
                );
                self.find(path, problem);
            }
        }
        for (index, path) in sockets.iter().enumerate() {
            self.check_socket_path(key, path);
            if sockets[..index].contains(path) {
                let problem = Problem::new(
                    format!("The socket `{}` is listed twice.", path.display()),
                    "One worker would be counted as two.",
                    "List each socket once; `workers.concurrency` sets how much one holds.",
                );
                self.find(key, problem);
            }
        }
    }

    /// Whether the kernel takes the path that `key` gives a socket.
    fn check_socket_path(&mut self, key: &'static str, path: &Path) {
        let bytes = path.as_os_str().len();
        if bytes >= SOCKET_PATH_BYTES {
            let problem = Problem::new(
                format!("The socket path `{}` is {bytes} bytes long.", path.display()),
                format!("The kernel takes at most {}.", SOCKET_PATH_BYTES - 1),
                "Use a shorter path, such as one below `/run` or `/tmp`.",
            );
            self.find(key, problem);
        }
    }

    fn check_places(&mut self, spawn: &Spawn, facts: &Facts) {
        if facts.is_worker && spawn.chosen == CommandChoice::Bootstrap {
            let problem = Problem::new(
                format!("`{BOOTSTRAP}` starts warmfront, which would start `{BOOTSTRAP}` again."),
                "No command was given, and this process is already a worker started that way.",
                "Give the worker's own command: `warmfront run -- COMMAND`, or `workers.command`.",
            );
            self.find("workers.command", problem);
        }
        let program = spawn.argv.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        let problem = match &facts.program {
            Program::Found => None,
            Program::Missing { searched } => Some(Problem::new(
                format!("The worker's program `{program}` is not there."),
                format!("Looked for {searched}."),
                "Install it, correct its name, or give its full path.",
            )),
            Program::NotExecutable { file } => Some(Problem::new(
                format!("The worker's program `{}` may not be executed.", file.display()),
                "It is no file, or lacks the execute permission.",
                format!("Run `chmod +x {}`, or name the program that interprets it.", file.display()),
            )),
        };
        if let Some(problem) = problem {
            self.find("workers.command", problem);
        }
        if let (true, Some(cwd)) = (facts.cwd_missing, &spawn.cwd) {
            let problem = Problem::new(
                format!("`workers.cwd = {:?}` is no directory.", cwd.display().to_string()),
                "Workers are started there.",
                "Create it, or remove the line to start them in our own directory.",
            );
            self.find("workers.cwd", problem);
        }
        let bytes = spawn.socket_dir.as_os_str().len();
        if bytes > SOCKET_DIR_BYTES_MAX {
            let problem = Problem::new(
                format!("`workers.socket_dir` ({}) is {bytes} bytes long.", spawn.socket_dir.display()),
                format!("A whole socket path has at most {} bytes in the kernel.", SOCKET_PATH_BYTES - 1),
                format!("Set a directory of at most {SOCKET_DIR_BYTES_MAX} bytes, such as `/tmp`."),
            );
            self.find("workers.socket_dir", problem);
        }
    }

    /// Reports `small > large`, at whichever of the two somebody set.
    fn at_most<T: PartialOrd + Copy>(
        &mut self,
        (small, small_value): (&'static str, T),
        (large, large_value): (&'static str, T),
        text: fn(T) -> String,
        why: &str,
    ) {
        if small_value <= large_value || !self.is_sound(small) || !self.is_sound(large) {
            return;
        }
        let what =
            format!("`{small}` ({}) is more than `{large}` ({}).", text(small_value), text(large_value));
        let key = if self.layers.is_set(small) { small } else { large };
        self.find(key, Problem::new(what, why, format!("Lower `{small}`, or raise `{large}`.")));
    }

    // === one key ===

    fn number(&mut self, path: &'static str) -> u64 {
        self.read(path, |kind, value| match kind {
            Kind::Number(min, max) => read::number(value, min, max),
            _ => unreachable!("invariant: {path} is a number in KEYS"),
        })
    }

    fn auto_or(&mut self, path: &'static str) -> Option<u64> {
        self.read(path, |kind, value| match kind {
            Kind::AutoOr(min, max) => read::auto_or(value, min, max),
            _ => unreachable!("invariant: {path} is auto or a number in KEYS"),
        })
    }

    fn period(&mut self, path: &'static str) -> Duration {
        self.read(path, |kind, value| match kind {
            Kind::Period(zero) => read::period(value, zero),
            _ => unreachable!("invariant: {path} is a period in KEYS"),
        })
    }

    fn size(&mut self, path: &'static str) -> u64 {
        self.read(path, |kind, value| match kind {
            Kind::Size(min, max) => read::size(value, min, max),
            _ => unreachable!("invariant: {path} is a size in KEYS"),
        })
    }

    fn switch(&mut self, path: &'static str) -> bool {
        self.read(path, |_, value| read::switch(value))
    }

    fn choice(&mut self, path: &'static str) -> usize {
        self.read(path, |kind, value| match kind {
            Kind::Choice(words) => read::choice(value, words),
            _ => unreachable!("invariant: {path} is a choice in KEYS"),
        })
    }

    fn word(&mut self, path: &'static str) -> &'static str {
        self.read(path, |kind, value| match kind {
            Kind::Choice(words) => read::choice(value, words).map(|index| words[index]),
            _ => unreachable!("invariant: {path} is a choice in KEYS"),
        })
    }

    /// The value somebody set, else the default; a bad one is reported and the default stands in.
    fn read<T>(&mut self, path: &'static str, parse: impl Fn(Kind, &Value) -> Result<T, Bad>) -> T {
        let key = Key::find(path).expect("invariant: resolve asks for keys of KEYS only");
        if let Some(setting) = self.layers.setting(path) {
            match parse(key.kind, &setting.value) {
                Ok(value) => return value,
                Err(bad) => self.reject(path, bad),
            }
        }
        match parse(key.kind, &Value::Word(key.default.into())) {
            Ok(value) => value,
            Err(bad) => unreachable!("invariant: the default of {path} is valid: {bad:?}"),
        }
    }

    fn optional<T>(&mut self, path: &'static str, parse: fn(&Value) -> Result<T, Bad>) -> Option<T> {
        let parsed = parse(&self.layers.setting(path)?.value);
        parsed.map_err(|bad| self.reject(path, bad)).ok()
    }

    fn reject(&mut self, path: &'static str, bad: Bad) {
        let Some(setting) = self.layers.setting(path) else { return };
        let default = match Key::find(path).map_or("", |key| key.default) {
            "" => String::new(),
            default => format!(" for the default ({default})"),
        };
        let otherwise = match &setting.source {
            Source::File { .. } => "remove the line",
            Source::Env(_) => "unset it",
            Source::Flag(_) | Source::Default => "leave it out",
        };
        let what = format!("`{path} = {}` {}.", setting.value.shown(), bad.what);
        self.find(path, Problem::new(what, bad.why, format!("{}, or {otherwise}{default}.", bad.fix)));
    }

    fn find(&mut self, path: &'static str, problem: Problem) {
        self.findings.push(Finding::new(self.layers.source(path).clone(), Some(path), problem));
    }

    /// Whether nothing was found wrong with the key, so that comparing it makes sense.
    fn is_sound(&self, path: &str) -> bool {
        !self.findings.iter().any(|finding| finding.key == Some(path))
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

mod admin;
mod noslate;
mod php;
mod platform;
mod processes;
#[cfg(test)]
mod tests;
mod trace;
mod transport;
