//! What was said about each key, by whom, before anybody judges it.
//!
//! Loading fills [`Layers`], resolving reads it. A value keeps its source to the
//! end, so that every complaint and the `config` listing can name the place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::keys::{KEYS, Key, Kind};
use super::secret::Token;
use crate::error::Problem;

/// Who set a value. Later variants are stronger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody.
    Default,
    /// The file.
    File {
        /// As it was given, not made absolute.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// This environment variable.
    Env(String),
    /// This flag; `--` for the words after it.
    Flag(&'static str),
}

impl Source {
    /// How a person finds it: `file:line`, the variable, the flag; nothing for a default.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match self {
            Self::Default => None,
            Self::File { path, line } => Some(format!("{}:{line}", path.display())),
            Self::Env(name) => Some(name.clone()),
            Self::Flag("--") => Some("command line".to_owned()),
            Self::Flag(flag) => Some((*flag).to_owned()),
        }
    }

    /// Order of complaints: down the file, then the environment, then flags, then the rest.
    fn rank(&self) -> (u8, usize) {
        match self {
            Self::File { line, .. } => (0, *line),
            Self::Env(_) => (1, 0),
            Self::Flag(_) => (2, 0),
            Self::Default => (3, 0),
        }
    }
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// From the environment or a flag: bytes whose type only the key knows.
    Word(OsString),
    /// TOML string.
    Text(String),
    /// TOML integer.
    Integer(i64),
    /// TOML boolean.
    Switch(bool),
    /// TOML array, or the words after `--`.
    List(Vec<Value>),
    /// TOML table.
    Table(Vec<Entry>),
    /// TOML array of tables; each entry is a table.
    Tables(Vec<Entry>),
    /// A text that nobody is shown.
    Secret(Token),
    /// A TOML float or date, as written; no key takes one.
    Other(String),
}

/// One entry of a table value.
#[derive(Clone, PartialEq)]
pub struct Entry {
    /// Its key.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Its line in the file, from 1.
    pub line: usize,
}

impl Value {
    /// As it would be written, on one line, cut after 60 characters.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        match text.char_indices().nth(60) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Word(word) => {
                let plain = word.to_string_lossy();
                if plain.is_empty() {
                    out.push_str("\"\"");
                }
                plain.chars().take(80).for_each(|c| match c.is_control() {
                    true => out.extend(c.escape_default()),
                    false => out.push(c),
                });
            }
            Self::Text(text) => out.push_str(&format!("{:?}", text.chars().take(80).collect::<String>())),
            Self::Integer(number) => out.push_str(&number.to_string()),
            Self::Switch(on) => out.push_str(&on.to_string()),
            Self::Secret(_) => out.push_str("***"),
            Self::Other(raw) => out.push_str(raw.trim()),
            Self::Table(_) => out.push_str("{ … }"),
            Self::Tables(_) => out.push_str("[[ … ]]"),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().take(20).enumerate() {
                    out.push_str(if index == 0 { "" } else { ", " });
                    item.write(out);
                }
                out.push(']');
            }
        }
    }
}

/// The winning value of one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// As written.
    pub value: Value,
    /// By whom.
    pub source: Source,
}

/// A problem with what is needed to put it in order.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Where.
    pub source: Source,
    /// The key it is about, if it is about one.
    pub key: Option<&'static str>,
    /// What a person reads; its place is already set.
    pub problem: Problem,
}

impl Finding {
    /// A finding at `source`.
    #[must_use]
    pub fn new(source: Source, key: Option<&'static str>, mut problem: Problem) -> Self {
        problem.place = problem.place.or_else(|| source.place());
        Self { source, key, problem }
    }
}

/// The strongest value of every key that anybody set, and what was wrong on the way.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    settings: BTreeMap<&'static str, Setting>,
    /// Problems of reading: unknown keys, broken syntax, a missing file.
    pub findings: Vec<Finding>,
    /// The file that was read and how it was chosen.
    pub file: Option<ConfigFile>,
}

/// A configuration file and who chose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFile {
    /// As given.
    pub path: PathBuf,
    /// For people: the flag, the variable, or that it was found.
    pub chosen_by: &'static str,
}

impl Layers {
    /// Sets a key; what was there is forgotten. Call in order of strength, weakest first.
    pub fn set(&mut self, key: &'static Key, value: Value, source: Source) {
        let value = match (key.kind, value) {
            (Kind::Secret, Value::Word(word)) => {
                Value::Secret(Token::from(word.to_string_lossy().into_owned()))
            }
            (Kind::Secret, Value::Text(text)) => Value::Secret(Token::from(text)),
            (_, value) => value,
        };
        self.settings.insert(key.path, Setting { value, source });
    }

    /// What was said about the key at `path`; `None` means the default holds.
    #[must_use]
    pub fn setting(&self, path: &str) -> Option<&Setting> {
        self.settings.get(path)
    }

    /// Who set the key at `path`.
    #[must_use]
    pub fn source(&self, path: &str) -> &Source {
        self.setting(path).map_or(&Source::Default, |setting| &setting.source)
    }

    /// Whether anybody set the key at `path`.
    #[must_use]
    pub fn is_set(&self, path: &str) -> bool {
        self.settings.contains_key(path)
    }
}

/// Puts findings in the order a person would fix them.
#[must_use]
pub fn in_order(mut findings: Vec<Finding>) -> Vec<Problem> {
    findings.sort_by_key(|finding| {
        let key = KEYS.iter().position(|key| Some(key.path) == finding.key);
        (finding.source.rank(), key.unwrap_or(KEYS.len()))
    });
    findings.into_iter().map(|finding| finding.problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_on_one_short_line() {
        assert_eq!(Value::Text("a\nb".into()).shown(), r#""a\nb""#);
        assert_eq!(Value::Word("a\u{1b}[0m".into()).shown(), "a\\u{1b}[0m");
        assert_eq!(Value::Word(String::new().into()).shown(), "\"\"");
        assert_eq!(Value::List(vec![Value::Integer(1), Value::Switch(true)]).shown(), "[1, true]");
        assert_eq!(Value::Text("x".repeat(500)).shown().chars().count(), 61);
    }

    #[test]
    fn problems_come_down_the_file_then_environment_then_flags() {
        let file = |line| Source::File { path: "a.toml".into(), line };
        let sources = [Source::Flag("--port"), file(9), Source::Env("E".into()), Source::Default, file(2)];
        let findings = sources
            .into_iter()
            .map(|source| Finding::new(source, None, Problem::new("No.", "", "")))
            .collect();
        let places: Vec<_> = in_order(findings).into_iter().map(|problem| problem.place).collect();
        let expected = ["a.toml:2", "a.toml:9", "E", "--port"].map(|place| Some(place.to_owned()));
        assert_eq!(places[..4], expected);
        assert_eq!(places[4], None);
    }
}
