//! A file with every key at its default, each below what it is for: to read, and to start an own one from.

use std::fmt::Write as _;

use super::keys::{KEYS, Key, Kind};
use super::schema;

/// Tables that a configuration which does not speak of theirs must leave out, and what makes them mean something.
const ELSEWHERE: [(&str, &str); 2] = [
    ("noslate", "Only with `upstream = \"noslate\"`:"),
    ("php", "Only in front of php-fpm, with `workers.protocol = \"fastcgi\"` or a command that is php-fpm:"),
];

/// Columns of a comment.
const WIDTH: usize = 100;

/// The file, whole.
#[must_use]
pub fn text() -> String {
    let mut out = String::from(
        "#:schema ./warmfront.schema.json\n\
         # Every key with its default, as `warmfront config --full` prints it. Keep what you change: a line that is\n\
         # not there means its default. What has a `#` in front has none, or one that is found out at the start.\n\
         #\n\
         #   warmfront check --config configs/full.toml\n",
    );
    let is_top = |key: &&Key| !key.path.contains('.') && !matches!(key.kind, Kind::Tables(_));
    for key in KEYS.iter().filter(is_top) {
        out.push_str(&entry(key, key.path, ""));
    }
    let mut table = "";
    for key in KEYS {
        if let Kind::Tables(fields) = key.kind {
            // An empty list is the default, and has no other form below a table.
            let _ = write!(out, "\n{}# [[{}]]\n", comment(key.help, ""), key.path);
            for field in fields {
                out.push_str(&entry(field, field.path, "# "));
            }
        } else if let Some((own, name)) = key.path.split_once('.') {
            let elsewhere = ELSEWHERE.iter().find(|(table, _)| *table == own);
            let lead = if elsewhere.is_some() { "# " } else { "" };
            if own != table {
                table = own;
                let why = elsewhere.map_or_else(String::new, |(_, why)| comment(why, ""));
                let _ = write!(out, "\n{why}{lead}[{table}]\n"); // Writing to a String cannot fail.
            }
            out.push_str(&entry(key, name, lead));
        }
    }
    out
}

/// A blank line, the help as a comment, `name = default`; behind a `#` where there is none.
fn entry(key: &Key, name: &str, lead: &str) -> String {
    let blank = if lead.is_empty() { "\n" } else { "#\n" };
    let help = comment(key.help, lead);
    let value = match schema::default(key) {
        // JSON's lists, texts, numbers and switches are TOML's.
        Some(value) => format!("{lead}{name} = {}", value.to_string().replace("\",\"", "\", \"")),
        None => format!("# {name} = {}", form(key.kind)),
    };
    format!("{blank}{help}{value}\n")
}

/// What a value looks like that there is no default for.
fn form(kind: Kind) -> &'static str {
    match kind {
        Kind::Words => "[\"…\"]",
        Kind::Paths => "[\"/…\"]",
        Kind::Variables => "{ NAME = \"…\" }",
        Kind::Path => "\"/…\"",
        _ => "\"…\"",
    }
}

fn comment(text: &str, lead: &str) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && lead.len() + 3 + line.chars().count() + word.chars().count() > WIDTH {
            let _ = writeln!(out, "{lead}# {line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{lead}# {line}");
    out
}
