//! The text of a configuration file, key by key, each with its line.
//!
//! Pure: bytes in, layers out. Types are kept as written; whether `"2"` is a
//! number is judged later, where all sources meet.

use std::path::Path;

use toml_edit::{Document, Item, TableLike};

use super::keys::{KEYS, Key};
use super::layers::{Entry, Finding, Layers, Source, Value};
use super::nearest::{nearest_key, nearest_table};
use crate::error::Problem;

/// Adds everything that the file says to `layers`, problems included.
pub(super) fn read(bytes: &[u8], path: &Path, layers: &mut Layers) {
    let at = |line| Source::File { path: path.to_owned(), line };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let problem = Problem::new(
                "This is not UTF-8 text.",
                "A TOML file is UTF-8.",
                "Save the file as UTF-8, without a byte-order mark of another encoding.",
            );
            layers.findings.push(Finding::new(at(line_of(bytes, error.valid_up_to())), None, problem));
            return;
        }
    };
    match Document::parse(text) {
        Ok(document) => {
            let mut walk = Walk { text, file: path, layers };
            walk.table("", document.as_table());
        }
        Err(error) => {
            let line = line_of(bytes, error.span().map_or(0, |span| span.start));
            let what = format!("The file is not valid TOML: {}.", error.message().trim().replace('\n', ", "));
            let problem = Problem::new(what, "", "Correct this line; nothing else in the file was read.");
            layers.findings.push(Finding::new(at(line), None, problem));
        }
    }
}

struct Walk<'a> {
    text: &'a str,
    file: &'a Path,
    layers: &'a mut Layers,
}

impl Walk<'_> {
    fn table(&mut self, prefix: &str, table: &dyn TableLike) {
        for (name, item) in table.iter() {
            let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
            let source = Source::File { path: self.file.to_owned(), line: self.line(table, name, item) };
            if let Some(key) = Key::find(&path) {
                self.layers.set(key, self.value(item), source);
            } else if is_table_of_keys(&path) {
                match item.as_table_like() {
                    Some(inner) => self.table(&path, inner),
                    None => self.find(source, not_a_table(&path, &self.value(item))),
                }
            } else {
                self.find(source, unknown(&path, prefix, item));
            }
        }
    }

    fn find(&mut self, source: Source, problem: Problem) {
        self.layers.findings.push(Finding::new(source, None, problem));
    }

    /// From 1; that of the key, or of the value where the parser kept no key (implicit tables).
    fn line(&self, table: &dyn TableLike, name: &str, item: &Item) -> usize {
        let span = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        line_of(self.text.as_bytes(), span.map_or(0, |span| span.start))
    }

    fn value(&self, item: &Item) -> Value {
        if let Some(table) = item.as_table_like() {
            return self.entries(table);
        }
        match item {
            Item::Value(value) => scalar(value),
            Item::ArrayOfTables(tables) => {
                Value::Tables(tables.iter().map(|table| self.element(table)).collect())
            }
            Item::None | Item::Table(_) => Value::Other(String::new()),
        }
    }

    fn entries(&self, table: &dyn TableLike) -> Value {
        let entry = |(name, item): (&str, &Item)| Entry {
            name: name.to_owned(),
            value: self.value(item),
            line: self.line(table, name, item),
        };
        Value::Table(table.iter().map(entry).collect())
    }

    /// One table of an array: it has a line and no name.
    fn element(&self, table: &toml_edit::Table) -> Entry {
        let line = line_of(self.text.as_bytes(), table.span().map_or(0, |span| span.start));
        Entry { name: String::new(), value: self.entries(table), line }
    }
}

fn scalar(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => Value::Text(text.value().clone()),
        toml_edit::Value::Integer(number) => Value::Integer(*number.value()),
        toml_edit::Value::Boolean(on) => Value::Switch(*on.value()),
        toml_edit::Value::Float(number) => Value::Other(number.value().to_string()),
        toml_edit::Value::Datetime(date) => Value::Other(date.value().to_string()),
        toml_edit::Value::Array(items) => Value::List(items.iter().map(scalar).collect()),
        toml_edit::Value::InlineTable(_) => Value::Other("{ … }".to_owned()),
    }
}

fn is_table_of_keys(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

fn not_a_table(path: &str, value: &Value) -> Problem {
    let inside: Vec<_> =
        KEYS.iter().filter_map(|key| key.path.strip_prefix(path)?.strip_prefix('.')).take(3).collect();
    Problem::new(
        format!("`{path} = {}` is a value where a table belongs.", value.shown()),
        format!("`{path}` holds keys such as {}.", quoted(&inside)),
        format!("Open the table with `[{path}]` and set its keys below."),
    )
}

/// An unknown table is reported once, not once per key in it.
fn unknown(path: &str, prefix: &str, item: &Item) -> Problem {
    if item.is_table_like() || item.is_array_of_tables() {
        let what = format!("There is no table `{path}`.");
        let fix = match nearest_table(path).filter(|_| prefix.is_empty()) {
            Some(table) => format!("Did you mean `{table}`?"),
            None => "Remove it; `warmfront config --help` lists every key.".to_owned(),
        };
        return Problem::new(what, "", fix);
    }
    let fix = match nearest_key(path) {
        None => "Remove it; `warmfront config --help` lists every key.".to_owned(),
        Some(key) => match key.path.rsplit_once('.') {
            Some((table, _)) if table == prefix => format!("Did you mean `{}`?", key.path),
            Some((table, name)) => format!("Did you mean `{}`? Write `{name}` below `[{table}]`.", key.path),
            None if prefix.is_empty() => format!("Did you mean `{}`?", key.path),
            None => format!("Did you mean `{}`? Write it at the top, before the first table.", key.path),
        },
    };
    Problem::new(format!("There is no key `{path}`."), "", fix)
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn line_of(bytes: &[u8], offset: usize) -> usize {
    1 + bytes[..offset.min(bytes.len())].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::in_order;
    use proptest::prelude::*;

    fn layers(text: &str) -> Layers {
        let mut layers = Layers::default();
        read(text.as_bytes(), Path::new("a.toml"), &mut layers);
        layers
    }

    fn messages(text: &str) -> Vec<String> {
        in_order(layers(text).findings).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_way_to_write_a_key_is_the_same_key_with_its_line() {
        for (text, line) in [
            ("listen.port = 1\n", 1),
            ("[listen]\nport = 1\n", 2),
            ("\nlisten = { port = 1 }\n", 2),
            ("listen = {\n  port = 1 }\n", 2),
        ] {
            let layers = layers(text);
            assert!(layers.findings.is_empty(), "{text}: {:?}", layers.findings);
            let setting = layers.setting("listen.port").unwrap();
            assert_eq!(setting.value, Value::Integer(1), "{text}");
            assert_eq!(setting.source.place().unwrap(), format!("a.toml:{line}"), "{text}");
        }
    }

    #[test]
    fn variables_keep_their_own_lines() {
        let layers = layers("[workers.env]\nA = \"1\"\n\nB = 2\n");
        let Value::Table(entries) = &layers.setting("workers.env").unwrap().value else { panic!("a table") };
        let found: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.line)).collect();
        assert_eq!(found, [("A", 2), ("B", 4)]);
    }

    #[test]
    fn an_unknown_key_names_the_place_and_the_nearest_key() {
        let found = messages("[listen]\nprot = 1\nthreads = 2\n\n[queue]\nport = 3\n");
        assert_eq!(
            found,
            [
                "a.toml:2: There is no key `listen.prot`.\n  Did you mean `listen.port`?",
                "a.toml:3: There is no key `listen.threads`.\n  Did you mean `threads`? Write it at the top, before the first table.",
                "a.toml:6: There is no key `queue.port`.\n  Did you mean `listen.port`? Write `port` below `[listen]`.",
            ]
        );
    }

    #[test]
    fn an_unknown_table_is_reported_once() {
        assert_eq!(
            messages("[worker]\ncount = 1\ngrace = \"1s\"\n"),
            ["a.toml:1: There is no table `worker`.\n  Did you mean `[workers]`?"]
        );
        assert_eq!(messages("[[workers.pool]]\na = 1\n").len(), 1);
    }

    #[test]
    fn a_value_in_place_of_a_table_says_so() {
        assert_eq!(
            messages("workers = 4\n"),
            [
                "a.toml:1: `workers = 4` is a value where a table belongs.\n  `workers` holds keys such as `command`, `count`, `concurrency`.\n  Open the table with `[workers]` and set its keys below."
            ]
        );
    }

    #[test]
    fn a_duplicate_key_and_broken_syntax_name_their_line() {
        for (text, line) in [
            ("[listen]\nport = 1\nport = 2\n", 3),
            ("threads = 1\n\n[listen\n", 3),
            ("a = \n", 1),
            ("[queue]\n[queue]\n", 2),
        ] {
            let found = messages(text);
            assert_eq!(found.len(), 1, "{text}");
            assert!(found[0].starts_with(&format!("a.toml:{line}: ")), "{text}: {}", found[0]);
        }
    }

    #[test]
    fn bytes_that_are_not_text_name_their_line() {
        let mut layers = Layers::default();
        read(b"threads = 1\n\xff\xfe", Path::new("a.toml"), &mut layers);
        assert_eq!(layers.findings[0].problem.place.as_deref(), Some("a.toml:2"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            read(&bytes, Path::new("a.toml"), &mut Layers::default());
        }

        #[test]
        fn nothing_that_looks_like_toml_makes_the_reader_panic(
            text in "([a-z\\[\\]{}\"'=., \n0-9#-]|workers|listen|env|\\[\\[|true|1979-05-27){0,60}"
        ) {
            read(text.as_bytes(), Path::new("a.toml"), &mut Layers::default());
        }
    }
}
