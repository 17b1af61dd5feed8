//! The fields of processes beside which we are the front door.

use std::ffi::OsStr;

use super::super::keys::{Key, Kind};
use super::super::layers::{Layers, Source, Value};
use super::super::processes::{Process, Processes};
use super::super::secret::masked;
use super::super::units::period_text;
use super::{Entry, list, text, variable};

/// As a file has them: a head for each, and its fields below.
pub(super) fn lines(key: &Key, processes: &Processes, layers: &Layers) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    for (number, process) in processes.each.iter().enumerate() {
        lines.push((format!("[[{}]]", key.path), place(key, layers, number, None)));
        for field in fields(key) {
            let from = place(key, layers, number, Some(field.path));
            match value(field.path, process) {
                _ if field.kind == Kind::Variables => {
                    let line = |(name, value): &(String, String)| variable(field.path, name, value);
                    lines.extend(process.env.iter().map(|entry| (line(entry), from.clone())));
                }
                Some(value) => lines.push((format!("{} = {value}", field.path), from)),
                None => lines.push((format!("# {} is not set", field.path), from)),
            }
        }
    }
    lines
}

/// The same for programs, each under the process's name.
pub(super) fn entries(key: &Key, processes: &Processes, layers: &Layers) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (number, process) in processes.each.iter().enumerate() {
        let path = |field: &str| format!("{}.{}.{field}", key.path, process.name);
        for field in fields(key).iter().filter(|field| field.path != "name") {
            let from = place(key, layers, number, Some(field.path));
            if field.kind == Kind::Variables {
                entries.extend(process.env.iter().map(|(name, value)| Entry {
                    key: format!("{}.{name}", path(field.path)),
                    value: Some(masked(name, value).into()),
                    from: from.clone(),
                }));
                continue;
            }
            // What is written for TOML is JSON as well, but for an escape that both know.
            let value = value(field.path, process).and_then(|value| serde_json::from_str(&value).ok());
            entries.push(Entry { key: path(field.path), value, from });
        }
    }
    entries
}

fn fields(key: &Key) -> &'static [Key] {
    match key.kind {
        Kind::Tables(fields) => fields,
        _ => &[],
    }
}

/// Where table `number` says the field, or where it begins.
fn place(key: &Key, layers: &Layers, number: usize, field: Option<&str>) -> String {
    let default = || "default".to_owned();
    let Some(setting) = layers.setting(key.path) else { return default() };
    let (Value::Tables(tables), Source::File { path, .. }) = (&setting.value, &setting.source) else {
        return default();
    };
    let Some(table) = tables.get(number) else { return default() };
    let line = match (field, &table.value) {
        (Some(field), Value::Table(entries)) => {
            entries.iter().find(|entry| entry.name == field).map(|entry| entry.line)
        }
        _ => Some(table.line),
    };
    line.map_or_else(default, |line| format!("{}:{line}", path.display()))
}

/// As TOML; `None` if there is none.
fn value(field: &str, process: &Process) -> Option<String> {
    let period = |period| text(OsStr::new(&period_text(period)));
    Some(match field {
        "name" => text(OsStr::new(&process.name)),
        "command" => list(process.argv.iter().map(|word| word.as_os_str())),
        "cwd" => text(process.cwd.as_ref()?.as_os_str()),
        "ready" => text(process.ready.as_ref()?.as_os_str()),
        "log" => text(process.log.as_ref()?.as_os_str()),
        "on_exit" => text(OsStr::new(process.on_exit.word())),
        "grace" => period(process.grace),
        "start_deadline" => period(process.start_deadline),
        _ => return None,
    })
}
