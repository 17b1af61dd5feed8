//! Source as text: without comments, literals and tests, and the rooms that it imports.

use std::fs;
use std::path::{Path, PathBuf};

#[derive(Default)]
pub(crate) struct Complaints(Vec<String>);

impl Complaints {
    pub(crate) fn add(&mut self, file: &Source, line: usize, why: &str) {
        self.0.push(format!("{}:{line}: {why}", file.path));
    }

    pub(crate) fn none(self) {
        assert!(self.0.is_empty(), "{} complaints:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// One source file.
pub(crate) struct Source {
    /// From the root, e.g. `src/engine/epoll.rs`.
    pub(crate) path: String,
    /// The part of the crate it belongs to: `engine`.
    pub(crate) room: String,
    /// As written.
    pub(crate) text: String,
    /// Without comments and literals, line for line.
    pub(crate) code: String,
    /// Without tests either.
    pub(crate) product: String,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("source is UTF-8");
        let path = relative(path);
        let room = path.split('/').nth(1).unwrap_or_default().trim_end_matches(".rs").to_owned();
        let code = blank_comments_and_literals(&text);
        // `engine/sim` as a whole is compiled for tests only (see `engine/mod.rs`).
        let is_test =
            path.ends_with("/tests.rs") || path.starts_with("tests/") || path.starts_with("src/engine/sim/");
        let product = if is_test { String::new() } else { blank_tests(&code) };
        Self { path, room, text, code, product }
    }

    pub(crate) fn is_at(&self, place: &str) -> bool {
        self.path == place || (place.ends_with('/') && self.path.starts_with(place))
    }

    /// Lines of the product that contain `part`, not as the tail of a longer name.
    pub(crate) fn mentions(&self, part: &str) -> Vec<usize> {
        let starts_word = part.starts_with(|c: char| c.is_alphanumeric());
        let here = |line: &str| {
            line.match_indices(part).any(|(at, _)| {
                !starts_word || !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        };
        self.product.lines().enumerate().filter(|(_, line)| here(line)).map(|(index, _)| index + 1).collect()
    }

    /// Lines of the product that use the package whose crate is `name`.
    pub(crate) fn uses(&self, name: &str) -> Vec<usize> {
        let here = |line: &str| {
            line.match_indices(name).any(|(at, _)| {
                let (before, after) = (&line[..at], &line[at + name.len()..]);
                let whole = !before.ends_with(|c: char| c.is_alphanumeric() || "_:.".contains(c));
                let imported = before.trim_end().ends_with("use") && after.starts_with([';', ' ']);
                whole && (after.starts_with("::") || imported)
            })
        };
        self.product.lines().enumerate().filter(|(_, line)| here(line)).map(|(index, _)| index + 1).collect()
    }

    /// The rooms it imports, with lines: `crate::room`, `crate::{a, b}`, and `super` chains that leave the room.
    pub(crate) fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, root) in self.code.match_indices("crate::") {
            if self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let line = self.code[..at].lines().count().max(1);
            found.extend(first_names(&self.code[at + root.len()..]).into_iter().map(|room| (line, room)));
        }
        let depth = self.path.split('/').count() - 1 - usize::from(self.path.ends_with("/mod.rs"));
        for (index, line) in self.code.lines().enumerate() {
            // A line inside `mod tests { … }` is one module deeper.
            let own = depth + usize::from(line.starts_with(' ') && self.is_inside_inline_module(index));
            for (at, _) in line.match_indices("super::").filter(|(at, _)| !line[..*at].ends_with("super::")) {
                let climbed = line[at..].split("::").take_while(|part| *part == "super").count();
                if climbed >= own {
                    let rest = &line[at + climbed * "super::".len()..];
                    found.extend(first_names(rest).into_iter().map(|room| (index + 1, room)));
                }
            }
        }
        found
    }

    fn is_inside_inline_module(&self, index: usize) -> bool {
        let before: Vec<&str> = self.code.lines().take(index).collect();
        before
            .iter()
            .rev()
            .find(|line| !line.starts_with(' ') && !line.is_empty())
            .is_some_and(|line| line.ends_with('{') && words(line).any(|word| word == "mod"))
    }

    pub(crate) fn functions(&self) -> Vec<String> {
        let after_fn = |line: &str| {
            let mut words = words(line).skip_while(|word| *word != "fn");
            words.nth(1).map(str::to_owned)
        };
        self.code.lines().filter_map(after_fn).collect()
    }
}

/// `a` of `a::b`; `a` and `c` of `{a::b, c}`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| {
        text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                names.push(name(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

pub(crate) fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The same lines with spaces in place of comments, strings and characters.
fn blank_comments_and_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// One past the comment or literal that starts at `at`; `at` if none does.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    let after = |from: usize, stop: &dyn Fn(usize) -> bool| {
        (from..chars.len()).find(|&i| stop(i)).unwrap_or(chars.len())
    };
    match (chars[at], next) {
        ('/', Some('/')) => after(at, &|i| chars[i] == '\n'),
        ('/', Some('*')) => after(at + 2, &|i| chars[i - 1] == '*' && chars[i] == '/') + 1,
        ('r', Some('"' | '#')) => {
            let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
            if chars.get(at + 1 + hashes) != Some(&'"') {
                return at; // A raw identifier.
            }
            let first = at + 2 + hashes;
            let closes = |i: usize| {
                chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
            };
            after(first, &closes) + 1 + hashes
        }
        ('"', _) => {
            let mut i = at + 1;
            while i < chars.len() && chars[i] != '"' {
                i += if chars[i] == '\\' { 2 } else { 1 };
            }
            (i + 1).min(chars.len())
        }
        ('\'', Some('\\')) => after(at + 3, &|i| chars[i] == '\'') + 1,
        ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

/// The same lines without the items under `#[cfg(test)]`.
fn blank_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut hidden: Option<String> = None;
    for line in code.lines() {
        if hidden.is_none() && line.trim_start().starts_with("#[cfg(test)]") {
            hidden = Some(line[..line.len() - line.trim_start().len()].to_owned());
        } else if let Some(indent) = &hidden {
            let is_end = line == format!("{indent}}}")
                || (line.ends_with(';')
                    && line.strip_prefix(indent.as_str()).is_some_and(|rest| !rest.starts_with(' ')));
            if is_end {
                hidden = None;
            }
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let mut paths = files_below(&root().join(folder));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.sort();
    paths.iter().map(|path| Source::read(path)).collect()
}

pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("node_modules") {
                found.extend(files_below(&path));
            }
        } else {
            found.push(path);
        }
    }
    found
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn comments_literals_and_tests_are_no_code() {
    let text = "a(\"crate::x // y\"); // crate::b\nlet c: &'static str = r#\"crate::c\"#; let d = '\"';\n/* crate::e */ crate::f\n";
    assert_eq!(blank_comments_and_literals(text).matches("crate::").count(), 1);
    let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    x.unwrap()\n}\nfn b() {}\n#[cfg(test)]\nmod tests;\nfn c() {}\n";
    assert_eq!(blank_tests(code).split_whitespace().collect::<String>(), "fna(){}fnb(){}fnc(){}");
}

#[test]
fn imports_are_found_however_they_are_written() {
    assert_eq!(first_names("config::{a, b};"), ["config"]);
    assert_eq!(first_names("{config::{a, b}, id, sys::x};"), ["config", "id", "sys"]);
    let source = |path: &str, text: &str| {
        let code = blank_comments_and_literals(text);
        Source { path: path.into(), room: "x".into(), text: text.into(), product: code.clone(), code }
    };
    let rooms = |path: &str, text: &str| {
        source(path, text).imports().into_iter().map(|(_, room)| room).collect::<Vec<_>>()
    };
    assert_eq!(rooms("src/proxy/line.rs", "use super::super::config;\nuse super::gate;\n"), ["config"]);
    assert_eq!(rooms("src/proxy/mod.rs", "use super::config;\n"), ["config"]);
    assert_eq!(rooms("src/app.rs", "mod tests {\n    use super::x;\n}\n"), [""; 0]);
    assert_eq!(source("src/a.rs", "use tokio::net;\nself.tokio::x();\n").uses("tokio"), [1]);
}
