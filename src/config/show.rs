//! Every key with its resolved value and where it came from.
//!
//! The listing is itself a valid configuration file (dotted keys, sources as
//! comments), so that it can be saved, compared and edited. Values of variables
//! that look like secrets are masked.

use std::ffi::OsStr;
use std::fmt::Write as _;

use super::keys::{KEYS, Key, Kind};
use super::layers::{Layers, Source, Value};
use super::platform::{Hooks, Markers};
use super::secret::masked;
use super::units::{period_text, size_text};
use super::{
    AccessLog, CommandChoice, Config, Congestion, EngineChoice, Protocol, Readiness, SessionRule, Spawn,
    WorkerSource,
};

/// The listing, one key per line, comments aligned, ending with a newline.
#[must_use]
pub fn listing(config: &Config, layers: &Layers) -> String {
    let mut out = match &layers.file {
        Some(file) => format!("# file: {} ({})\n", file.path.display(), file.chosen_by),
        None => "# file: none\n".to_owned(),
    };
    let lines: Vec<(String, String)> = KEYS.iter().flat_map(|key| lines(key, config, layers)).collect();
    // Long lines push their own comment out, not everybody's.
    let width =
        lines.iter().map(|(left, _)| left.chars().count()).filter(|width| *width <= 60).max().unwrap_or(0);
    for (left, comment) in lines {
        let _ = writeln!(out, "{left:<width$}  # {comment}"); // Writing to a String cannot fail.
    }
    out
}

/// `2 workers × 100 slots, port 9000`.
#[must_use]
pub fn summary(config: &Config) -> String {
    let (count, noun) = match &config.workers.source {
        WorkerSource::Spawn(spawn) => (spawn.count, "worker"),
        WorkerSource::Sockets(sockets) => (sockets.len(), "socket"),
        WorkerSource::Noslate(noslate) => (noslate.data_planes, "data plane"),
    };
    let slots = config.workers.slots.count;
    let many = |count: usize| if count == 1 { "" } else { "s" };
    let slot_ending = if slots == 1 { "" } else { "s" };
    format!("{count} {noun}{} × {slots} slot{slot_ending}, port {}", many(count), config.listen.port)
}

/// The same for programs: each key with its value, if it has one, and where that came from.
#[must_use]
pub fn entries(config: &Config, layers: &Layers) -> Vec<Entry> {
    let lines = |key: &Key| -> Vec<Entry> {
        let from = origin(key, config, layers);
        if matches!(key.kind, Kind::Tables(_)) {
            return processes::entries(key, &config.processes, layers);
        }
        if let Some(variables) = variables(key.path, config) {
            let entry = |(name, value): &(String, String)| Entry {
                key: format!("{}.{name}", key.path),
                value: Some(masked(name, value).into()),
                from: from.clone(),
            };
            return variables.iter().map(entry).collect();
        }
        // What is written for TOML is JSON as well, but for an escape that both know.
        let value = value(key.path, config).and_then(|value| serde_json::from_str(&value).ok());
        vec![Entry { key: key.path.to_owned(), value, from }]
    };
    KEYS.iter().flat_map(lines).collect()
}

/// One key of [`entries`].
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its path.
    pub key: String,
    /// Its value; a secret is masked.
    pub value: Option<serde_json::Value>,
    /// Where it came from.
    pub from: String,
}

fn lines(key: &Key, config: &Config, layers: &Layers) -> Vec<(String, String)> {
    let from = origin(key, config, layers);
    if matches!(key.kind, Kind::Tables(_)) && !config.processes.each.is_empty() {
        return processes::lines(key, &config.processes, layers);
    }
    if let Some(variables) = variables(key.path, config).filter(|variables| !variables.is_empty()) {
        let line = |(name, value): &(String, String)| (variable(key.path, name, value), from.clone());
        return variables.iter().map(line).collect();
    }
    match value(key.path, config) {
        Some(value) => vec![(format!("{} = {value}", key.path), from)],
        None => vec![(format!("# {} is not set", key.path), from)],
    }
}

fn origin(key: &Key, config: &Config, layers: &Layers) -> String {
    let slots = config.workers.slots;
    let said_auto = match layers.setting(key.path).map(|setting| &setting.value) {
        Some(Value::Text(text)) if text == "auto" => " (auto)",
        Some(Value::Word(word)) if word == "auto" => " (auto)",
        _ => "",
    };
    match (layers.source(key.path), key.path, &config.workers.source) {
        (Source::Env(name), ..) => format!("environment {name}{said_auto}"),
        (Source::Flag("--"), ..) => "command line, after --".to_owned(),
        (Source::Flag(flag), ..) => format!("flag {flag}{said_auto}"),
        (Source::File { path, line }, ..) => format!("{}:{line}{said_auto}", path.display()),
        (Source::Default, "workers.command", WorkerSource::Spawn(spawn)) => match spawn.chosen {
            CommandChoice::Given => "given".to_owned(),
            CommandChoice::Bootstrap => "default: the platform's bootstrap exists".to_owned(),
            CommandChoice::Demo => "default: no command and no bootstrap, so the demo worker".to_owned(),
        },
        (Source::Default, "workers.concurrency", WorkerSource::Spawn(_)) if slots.guessed => {
            "default: auto, guessed from the command".to_owned()
        }
        (Source::Default, "workers.concurrency", WorkerSource::Noslate(_)) => {
            "default: auto, what the platform sends one instance at most".to_owned()
        }
        (Source::Default, "workers.concurrency", _) => "default: auto, 1 for an unknown worker".to_owned(),
        (Source::Default, "threads", _) => "default: auto, from the CPUs".to_owned(),
        (Source::Default, "log.sample", _) => "default: auto, from log.slow".to_owned(),
        (Source::Default, "workers.tell_start", _) if config.workers.tell_start => {
            "default: true for the demo worker".to_owned()
        }
        (Source::Default, "trace.service", _) if !config.trace.function.is_empty() => {
            "default: the function's name".to_owned()
        }
        (Source::Default, "workers.socket_dir", WorkerSource::Spawn(_)) => {
            "default: the system's temporary directory".to_owned()
        }
        (Source::Default, ..) => "default".to_owned(),
    }
}

/// As TOML; `None` if there is none, or if workers are run by something else.
fn value(path: &str, config: &Config) -> Option<String> {
    let Config { listen, workers, queue, limits, headers, admin, trace, .. } = config;
    let period = |period| text(OsStr::new(&period_text(period)));
    let size = |bytes: usize| text(OsStr::new(&size_text(bytes as u64)));
    let noslate = match &workers.source {
        WorkerSource::Noslate(noslate) => Some(noslate),
        WorkerSource::Spawn(_) | WorkerSource::Sockets(_) => None,
    };
    Some(match path {
        "listen.address" => text(OsStr::new(&listen.address.to_string())),
        "listen.port" => listen.port.to_string(),
        "listen.backlog" => listen.backlog.to_string(),
        "listen.send_buffer" => size(listen.send_buffer.unwrap_or(0)),
        "listen.congestion" => match listen.congestion {
            Congestion::Auto => "\"auto\"".to_owned(),
            Congestion::System => "\"system\"".to_owned(),
            Congestion::Named(name) => format!("\"{name}\""),
        },
        "threads" => config.threads.to_string(),
        "engine" => text(OsStr::new(match config.engine {
            EngineChoice::Epoll => "epoll",
            EngineChoice::Uring => "uring",
            EngineChoice::Auto => "auto",
        })),
        "workers.sockets" => match &workers.source {
            WorkerSource::Sockets(sockets) => list(sockets.iter().map(|path| path.as_os_str())),
            _ => return None,
        },
        "upstream" => text(OsStr::new(if noslate.is_some() { "noslate" } else { "http" })),
        path if path.starts_with("noslate.") => return noslate::value(path, noslate?),
        path if path.starts_with("php.") => return php::value(path, config.php.as_ref()?),
        "workers.concurrency" => workers.slots.count.to_string(),
        "workers.protocol" => match workers.protocol {
            Protocol::Auto => "\"auto\"".to_owned(),
            Protocol::Http1 => "\"http1\"".to_owned(),
            Protocol::Http2 => "\"h2\"".to_owned(),
            Protocol::FastCgi => "\"fastcgi\"".to_owned(),
            Protocol::Noslate => return None,
        },
        "workers.connect_timeout" => period(workers.connect_timeout),
        // Functions are told nothing, and the key is refused there.
        "workers.tell_start" if noslate.is_some() => return None,
        "workers.tell_start" => workers.tell_start.to_string(),
        "start.deadline" => period(workers.start_deadline),
        "queue.depth" => queue.depth.to_string(),
        "queue.bytes" => size(queue.bytes),
        "queue.timeout" => period(queue.timeout),
        "queue.newest_first_after" => period(queue.newest_first_after),
        "limits.head_bytes" => size(limits.head_bytes),
        "limits.target_bytes" => size(limits.target_bytes),
        "limits.fields" => limits.fields.to_string(),
        "limits.body_bytes" => text(OsStr::new(&size_text(limits.body_bytes.unwrap_or_default()))),
        "limits.discard_bytes" => text(OsStr::new(&size_text(limits.discard_bytes))),
        "limits.buffer_bytes" => size(limits.buffer_bytes),
        "limits.connections" => limits.connections.map_or("\"auto\"".to_owned(), |count| count.to_string()),
        "limits.collect_requests" => limits.collect_requests.to_string(),
        "limits.head_timeout" => period(limits.head_timeout.unwrap_or_default()),
        "limits.body_timeout" => period(limits.body_timeout.unwrap_or_default()),
        "limits.write_timeout" => period(limits.write_timeout.unwrap_or_default()),
        "limits.idle_timeout" => period(limits.idle_timeout.unwrap_or_default()),
        "headers.strip_credentials" => headers.strip_credentials.to_string(),
        "headers.first_forwarded_proto" => headers.first_forwarded_proto.to_string(),
        "headers.strip_proxy_prefix" => headers.strip_proxy_prefix.to_string(),
        "headers.server_timing" => config.server_timing.to_string(),
        "affinity.by" => {
            let entry = |rule: &SessionRule| match rule {
                SessionRule::Cookie(name) => format!("cookie:{name}"),
                SessionRule::Header(name) => format!("header:{name}"),
            };
            let entries: Vec<_> = config.affinity.by.iter().map(entry).collect();
            list(entries.iter().map(OsStr::new))
        }
        "affinity.sessions" => config.affinity.sessions.to_string(),
        "log.access" => match config.access_log {
            AccessLog::Off => "\"off\"".to_owned(),
            AccessLog::Text => "\"text\"".to_owned(),
            AccessLog::Json => "\"json\"".to_owned(),
        },
        "log.sample" => config.reported.one_in.to_string(),
        "log.slow" => period(config.reported.slow.unwrap_or_default()),
        "admin.listen" => text(OsStr::new(&admin.listen.as_ref()?.to_string())),
        "admin.remote" => admin.remote.to_string(),
        "admin.token" => return admin.token.as_ref().map(|_| "\"***\"".to_owned()),
        "trace.otlp" => text(OsStr::new(&trace.otlp.as_ref()?.to_string())),
        "trace.sample" => trace.sample.to_string(),
        "trace.service" => text(OsStr::new(&trace.service)),
        "drain.deadline" => period(config.drain_deadline),
        "log.process_dir" => text(config.processes.log_dir.as_ref()?.as_os_str()),
        "workers.backoff_min" if !config.processes.each.is_empty() => period(config.processes.backoff.0),
        "workers.backoff_max" if !config.processes.each.is_empty() => period(config.processes.backoff.1),
        "start.ready" => match workers.readiness {
            Readiness::All => "\"all\"".to_owned(),
            Readiness::First => "\"first\"".to_owned(),
        },
        path if platform_value(path, config).is_some() => return platform_value(path, config),
        _ => match &workers.source {
            WorkerSource::Spawn(spawn) => return spawn_value(path, spawn),
            WorkerSource::Sockets(_) | WorkerSource::Noslate(_) => return None,
        },
    })
}

fn platform_value(path: &str, config: &Config) -> Option<String> {
    let Config { platform, replay, .. } = config;
    let Hooks { initialize, pre_freeze, pre_stop, restart } = platform.hooks;
    let quoted = |plain: &str| text(OsStr::new(plain));
    let target = |path: &Option<String>| quoted(path.as_deref().unwrap_or_default());
    let period = |period| quoted(&period_text(period));
    Some(match path {
        "hooks.initialize" => quoted(initialize.mode.word()),
        "hooks.initialize_deadline" => period(initialize.deadline),
        "hooks.pre_freeze" => quoted(pre_freeze.mode.word()),
        "hooks.pre_freeze_deadline" => period(pre_freeze.deadline),
        "hooks.pre_stop" => quoted(pre_stop.mode.word()),
        "hooks.pre_stop_deadline" => period(pre_stop.deadline),
        "hooks.restart" => restart.to_string(),
        "health.path" => target(&platform.health_path),
        "events.path" => target(&platform.events.path),
        "events.failed" => {
            let words = platform.events.failed.words();
            list(words.iter().map(OsStr::new))
        }
        "thaw.path" => target(&platform.thaw_path),
        "log.markers" => quoted(match platform.markers {
            Markers::Auto => "auto",
            Markers::On => "on",
            Markers::Off => "off",
        }),
        "replay.methods" => quoted(if replay.idempotent { "idempotent" } else { "safe" }),
        "replay.idempotency_key" => replay.keyed.to_string(),
        "replay.unread" => replay.unread.to_string(),
        "replay.budget" => replay.budget_percent.to_string(),
        _ => return None,
    })
}

fn spawn_value(path: &str, spawn: &Spawn) -> Option<String> {
    let period = |period| text(OsStr::new(&period_text(period)));
    Some(match path {
        "workers.command" => list(spawn.argv.iter().map(|word| word.as_os_str())),
        "workers.count" => spawn.count.to_string(),
        "workers.transport" => text(OsStr::new(spawn.transport.word())),
        "workers.app_port" => spawn.port.to_string(),
        "workers.cwd" => text(spawn.cwd.as_ref()?.as_os_str()),
        "workers.socket_dir" => text(spawn.socket_dir.as_os_str()),
        "workers.grace" => period(spawn.grace),
        "workers.max_requests" => spawn.recycle.requests.unwrap_or_default().to_string(),
        "workers.max_memory" => text(OsStr::new(&size_text(spawn.recycle.memory.unwrap_or_default()))),
        "workers.backoff_min" => period(spawn.backoff.0),
        "workers.backoff_max" => period(spawn.backoff.1),
        "log.stamp" => spawn.stamp.to_string(),
        _ => return None,
    })
}

/// Those of the table `path`, if it is one and means something.
fn variables<'a>(path: &str, config: &'a Config) -> Option<&'a [(String, String)]> {
    match (path, &config.workers.source) {
        ("workers.env", WorkerSource::Spawn(spawn)) => Some(&spawn.env),
        ("noslate.env", WorkerSource::Noslate(noslate)) => Some(&noslate.duties.env),
        _ => None,
    }
}

fn variable(table: &str, name: &str, value: &str) -> String {
    let bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let key = if bare { name.to_owned() } else { text(OsStr::new(name)) };
    format!("{table}.{key} = {}", text(OsStr::new(masked(name, value))))
}

fn list<'a>(words: impl Iterator<Item = &'a OsStr>) -> String {
    format!("[{}]", words.map(text).collect::<Vec<_>>().join(", "))
}

/// A TOML basic string. JSON's escapes are a subset of TOML's, which alone forbids a raw DEL.
fn text(plain: &OsStr) -> String {
    serde_json::Value::from(plain.to_string_lossy()).to_string().replace('\u{7f}', "\\u007F")
}

mod noslate;
mod php;
mod processes;
#[cfg(test)]
mod tests;
