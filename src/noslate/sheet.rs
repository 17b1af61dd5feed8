//! A JSON file as a person sees it: every value with its line, every complaint with its place.
//!
//! `serde_json` says what the text means and whether it is JSON at all; where a value stands it does not keep. So the
//! text is walked once more for the lines. Values are named by their JSON pointer (RFC 6901).
//! Pure: bytes in, findings out. Complaints are gathered, so that a file is corrected at one go.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::config::nearest::nearest;
use crate::error::Problem;

/// What a file says, and what a person should know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged<T> {
    /// Its entries, as they stand in it.
    pub items: Vec<T>,
    /// What stops nobody, down the file.
    pub warnings: Vec<Problem>,
}

/// One file under judgement.
pub(super) struct Sheet<'a> {
    /// As it was given, for places.
    file: &'a str,
    /// Of each value, by its pointer; from 1.
    lines: BTreeMap<String, usize>,
    findings: Vec<(usize, Problem)>,
    errors: usize,
}

/// What is inside braces, and where.
#[derive(Clone)]
pub(super) struct Object<'v> {
    fields: &'v Map<String, Value>,
    /// Of the object itself.
    pub(super) pointer: String,
}

/// The fields that an object of some kind has, and where else people look for those of another.
pub(super) struct Fields {
    /// Its own.
    pub(super) own: &'static [&'static str],
    /// Of objects inside it: their name, their fields.
    pub(super) inside: &'static [(&'static str, &'static [&'static str])],
}

impl<'a> Sheet<'a> {
    /// What `bytes`, which stand in `file`, hold: a list of `what`.
    pub(super) fn open(bytes: &[u8], file: &'a str, what: &str) -> Result<(Self, Vec<Value>), Vec<Problem>> {
        let mut sheet = Self { file, lines: BTreeMap::new(), findings: Vec::new(), errors: 0 };
        match serde_json::from_slice(bytes) {
            Ok(Value::Array(items)) => {
                let mut scan =
                    Scan { bytes, at: 0, line: 1, lines: BTreeMap::new(), twice: Vec::new(), mute: 0 };
                scan.value("");
                sheet.lines = scan.lines;
                for (pointer, line) in scan.twice {
                    sheet.errors += 1;
                    let problem = Problem::new(
                        format!("`{pointer}` is there twice."),
                        "Which of the two holds depends on who reads it.",
                        "Remove one.",
                    );
                    sheet.findings.push((line, problem));
                }
                Ok((sheet, items))
            }
            Ok(other) => {
                let what = format!("The file holds {} where a list of {what} belongs.", kind(&other));
                sheet.error("", what, "", "Write it as [ {…}, {…} ].");
                Err(sheet.problems())
            }
            Err(error) => {
                let said = error.to_string();
                let said = said.split(" at line ").next().unwrap_or_default();
                let what = format!("The file is not valid JSON: {said} (column {}).", error.column());
                sheet.lines.insert(String::new(), error.line().max(1));
                sheet.error("", what, "", "Correct this line; nothing else in the file was read.");
                Err(sheet.problems())
            }
        }
    }

    /// `items`, unless there was an error. Warnings are then told as well: the one often explains the other.
    pub(super) fn finish<T>(self, items: Vec<T>) -> Result<Judged<T>, Vec<Problem>> {
        if self.errors > 0 { Err(self.problems()) } else { Ok(Judged { items, warnings: self.problems() }) }
    }

    fn problems(mut self) -> Vec<Problem> {
        self.findings.sort_by_key(|(line, _)| *line);
        let placed =
            self.findings.into_iter().map(|(line, problem)| problem.at(format!("{}:{line}", self.file)));
        placed.collect()
    }

    /// Something at `pointer` that cannot be.
    pub(super) fn error(&mut self, pointer: &str, what: String, why: &str, fix: impl Into<String>) {
        self.errors += 1;
        self.warn(pointer, what, why, fix);
    }

    /// Something at `pointer` that can, but was hardly meant.
    pub(super) fn warn(&mut self, pointer: &str, what: String, why: &str, fix: impl Into<String>) {
        self.findings.push((self.line(pointer), Problem::new(what, why, fix)));
    }

    /// From 1; that of the nearest value around it, for what is not there.
    pub(super) fn line(&self, mut pointer: &str) -> usize {
        loop {
            match (self.lines.get(pointer), pointer.rfind('/')) {
                (Some(line), _) => return *line,
                (None, Some(end)) => pointer = &pointer[..end],
                (None, None) => return 1,
            }
        }
    }

    /// The object at `pointer`; its unknown fields are warned of.
    pub(super) fn object<'v>(
        &mut self,
        value: &'v Value,
        pointer: &str,
        known: &Fields,
    ) -> Option<Object<'v>> {
        let Value::Object(fields) = value else {
            let what = format!("`{pointer}` is {} where an object belongs.", kind(value));
            self.error(pointer, what, "", format!("Write it as {{ \"{}\": … }}.", known.own[0]));
            return None;
        };
        for name in fields.keys().filter(|name| !known.own.contains(&name.as_str())) {
            let at = below(pointer, name);
            let part = known.inside.iter().find(|(_, inner)| inner.contains(&name.as_str()));
            let fix = match (part, nearest(name, known.own.iter().copied())) {
                (Some((part, _)), _) => format!("Did you mean `{part}`? Write `{name}` inside it."),
                (None, Some(near)) => format!("Did you mean `{near}`?"),
                (None, None) => format!("Remove it; there are {}.", known.own.join(", ")),
            };
            self.warn(
                &at,
                format!("`{at}` is no field that Noslate has."),
                "Nothing of it reaches the planes.",
                fix,
            );
        }
        Some(Object { fields, pointer: pointer.to_owned() })
    }

    /// The list at `name`, item by item with pointers; empty if it is not there.
    pub(super) fn list<'v>(&mut self, object: &Object<'v>, name: &str) -> Vec<(String, &'v Value)> {
        let pointer = object.at(name);
        match object.get(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                items.iter().enumerate().map(|(index, item)| (format!("{pointer}/{index}"), item)).collect()
            }
            Some(other) => {
                let what = format!("`{pointer}` is {} where a list belongs.", kind(other));
                self.error(&pointer, what, "", "Write it as [ … ].");
                Vec::new()
            }
        }
    }

    /// The texts in the list at `name`.
    pub(super) fn texts(&mut self, object: &Object<'_>, name: &str) -> Vec<String> {
        let items = self.list(object, name);
        let texts = items.into_iter().filter_map(|(pointer, item)| match item {
            Value::String(text) => Some(text.clone()),
            other => {
                self.error(
                    &pointer,
                    format!("`{pointer}` is {} where a text belongs.", kind(other)),
                    "",
                    QUOTE,
                );
                None
            }
        });
        texts.collect()
    }

    /// The text at `name`. Values are not repeated: some are secrets.
    pub(super) fn text(&mut self, object: &Object<'_>, name: &str) -> Option<String> {
        match object.get(name)? {
            Value::String(text) => Some(text.clone()),
            other => {
                let pointer = object.at(name);
                self.error(
                    &pointer,
                    format!("`{pointer}` is {} where a text belongs.", kind(other)),
                    "",
                    QUOTE,
                );
                None
            }
        }
    }

    /// The text at `name`, which must be there and hold something.
    pub(super) fn required(&mut self, object: &Object<'_>, name: &str, fix: &str) -> Option<String> {
        let pointer = object.at(name);
        if object.get(name).is_none() {
            self.error(&pointer, format!("`{pointer}` is missing."), "", fix);
            return None;
        }
        let text = self.text(object, name)?;
        if text.is_empty() {
            self.error(&pointer, format!("`{pointer}` is empty."), "", fix);
            return None;
        }
        Some(text)
    }

    /// The text at `name`, one of `choices`.
    pub(super) fn choice(
        &mut self,
        object: &Object<'_>,
        name: &str,
        choices: &[&'static str],
    ) -> Option<String> {
        let text = self.text(object, name)?;
        if choices.contains(&text.as_str()) {
            return Some(text);
        }
        let pointer = object.at(name);
        let fix = match nearest(&text, choices.iter().copied()) {
            Some(near) => format!("Did you mean \"{near}\"? There are {}.", choices.join(", ")),
            None => format!("Set one of {}.", choices.join(", ")),
        };
        self.error(&pointer, format!("`{pointer} = {}` is no choice.", shown(&text)), "", fix);
        None
    }

    /// True or false at `name`.
    pub(super) fn switch(&mut self, object: &Object<'_>, name: &str) -> Option<bool> {
        match object.get(name)? {
            Value::Bool(on) => Some(*on),
            other => {
                let pointer = object.at(name);
                let what = format!("`{pointer}` is {} where true or false belongs.", kind(other));
                self.error(&pointer, what, "", "Write true or false, without quotes.");
                None
            }
        }
    }

    /// The whole number at `name`, from 0: an int32 in the planes' protocol.
    pub(super) fn whole(&mut self, object: &Object<'_>, name: &str) -> Option<i32> {
        let pointer = object.at(name);
        let number = self.number(object, name)?;
        // `5e8` and `10.0` are whole numbers too, to whoever wrote Noslate.
        if number.fract() == 0.0 && (0.0..=f64::from(i32::MAX)).contains(&number) {
            return Some(number as i32);
        }
        let fix = format!("Set a whole number from 0 to {}.", i32::MAX);
        self.error(&pointer, format!("`{pointer} = {number}` is not within 0 to {}.", i32::MAX), INT32, fix);
        None
    }

    /// The number at `name`, from 0 to `most`.
    pub(super) fn share(&mut self, object: &Object<'_>, name: &str, most: f32) -> Option<f32> {
        let pointer = object.at(name);
        let number = self.number(object, name)?;
        if (0.0..=f64::from(most)).contains(&number) {
            return Some(number as f32);
        }
        let range = if most == f32::MAX { "0 or more".to_owned() } else { format!("0 to {most}") };
        self.error(&pointer, format!("`{pointer} = {number}` is out of range."), "", format!("Set {range}."));
        None
    }

    fn number(&mut self, object: &Object<'_>, name: &str) -> Option<f64> {
        let value = object.get(name)?;
        if let Some(number) = value.as_f64() {
            return Some(number);
        }
        let pointer = object.at(name);
        let what = format!("`{pointer}` is {} where a number belongs.", kind(value));
        self.error(&pointer, what, "", "Write a number, without quotes.");
        None
    }
}

const QUOTE: &str = "Write it in quotes.";
const INT32: &str = "The planes take it as a whole number of 32 bits (int32).";

impl<'v> Object<'v> {
    /// The field's value.
    pub(super) fn get(&self, name: &str) -> Option<&'v Value> {
        self.fields.get(name)
    }

    /// The field's pointer.
    pub(super) fn at(&self, name: &str) -> String {
        below(&self.pointer, name)
    }
}

/// The pointer of a field: RFC 6901 writes `~` and `/` otherwise.
fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A text in quotes, cut after 60 characters.
pub(super) fn shown(text: &str) -> String {
    let cut: String = text.chars().take(60).collect();
    format!("{cut:?}{}", if cut.len() < text.len() { "…" } else { "" })
}

/// A walk along a text that is known to be JSON.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    lines: BTreeMap<String, usize>,
    /// Fields whose object has them already.
    twice: Vec<(String, usize)>,
    /// Inside how many of those.
    mute: usize,
}

impl Scan<'_> {
    /// The next value. As deep as `serde_json` has gone before, which is 128 at most.
    fn value(&mut self, pointer: &str) {
        self.blank();
        if self.mute == 0 {
            self.lines.entry(pointer.to_owned()).or_insert(self.line);
        }
        match self.bytes.get(self.at) {
            Some(b'{') => self.items(b'}', |scan, _| {
                let line = scan.line;
                let inner = below(pointer, &scan.string());
                let is_second = scan.mute == 0 && scan.lines.contains_key(&inner);
                if is_second {
                    scan.twice.push((inner.clone(), line));
                } else if scan.mute == 0 {
                    // That of the name: a person looks for it.
                    scan.lines.insert(inner.clone(), line);
                }
                scan.mute += usize::from(is_second);
                scan.blank();
                scan.at += 1;
                scan.value(&inner);
                scan.mute -= usize::from(is_second);
            }),
            Some(b'[') => self.items(b']', |scan, index| scan.value(&format!("{pointer}/{index}"))),
            Some(b'"') => drop(self.string()),
            _ => {
                let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
                let rest = self.bytes.get(self.at..).unwrap_or_default();
                self.at += rest.iter().position(ends).unwrap_or(rest.len());
            }
        }
    }

    fn items(&mut self, end: u8, mut item: impl FnMut(&mut Self, usize)) {
        self.at += 1;
        let mut index = 0;
        loop {
            self.blank();
            match self.bytes.get(self.at) {
                Some(b',') => self.at += 1,
                Some(&byte) if byte != end => {
                    let before = self.at;
                    item(self, index);
                    index += 1;
                    // The wrong bracket is no value; in JSON it does not stand here.
                    self.at = self.at.max(before + 1);
                }
                _ => break self.at += 1,
            }
        }
    }

    /// What the text in quotes here says.
    fn string(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == b'"' {
                break;
            }
        }
        let quoted = self.bytes.get(start..self.at).unwrap_or_default();
        serde_json::from_slice(quoted).unwrap_or_default()
    }

    fn blank(&mut self) {
        while let Some(byte) = self.bytes.get(self.at).filter(|byte| byte.is_ascii_whitespace()) {
            self.line += usize::from(*byte == b'\n');
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANY: Fields = Fields { own: &["name", "worker"], inside: &[("worker", &["disposable"])] };

    #[test]
    fn every_value_has_the_line_of_its_name() {
        let text = "[\n  { \"a\": 1,\n    \"b\\\"\\u0041\":\n [true,\n \"x\\\\\", {\"c/d\": null}] }\n]\n";
        let (sheet, _) = Sheet::open(text.as_bytes(), "f", "things").expect("JSON");
        for (pointer, line) in [
            ("", 1),
            ("/0", 2),
            ("/0/a", 2),
            ("/0/b\"A", 3),
            ("/0/b\"A/1", 5),
            ("/0/b\"A/2/c~1d", 5),
            ("/0/zz", 2),
        ] {
            assert_eq!(sheet.line(pointer), line, "{pointer}");
        }
    }

    #[test]
    fn a_field_that_is_there_twice_is_an_error_on_its_second_line() {
        let text = "[{\"a\": {\"b\": 1},\n\"a\": {\"b\": 1}}]";
        let (sheet, _) = Sheet::open(text.as_bytes(), "f", "things").expect("JSON");
        let problems = sheet.finish::<()>(Vec::new()).expect_err("twice");
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].place.as_deref(), Some("f:2"));
        assert!(problems[0].what.starts_with("`/0/a`"), "{}", problems[0]);
    }

    #[test]
    fn what_is_no_json_has_its_line_and_what_is_no_list_says_so() {
        let problems = Sheet::open(b"[\n{\"a\": }]", "f.json", "things").err().expect("no JSON");
        assert_eq!(problems[0].place.as_deref(), Some("f.json:2"));
        assert!(problems[0].what.contains("expected value (column"), "{}", problems[0]);
        let problems = Sheet::open(b"\n{}", "f.json", "things").err().expect("no list");
        assert!(problems[0].what.contains("an object where a list of things belongs"), "{}", problems[0]);
    }

    #[test]
    fn an_unknown_field_is_a_warning_with_the_field_that_was_probably_meant() {
        let text = "[{\"nmae\": 1, \"disposable\": true, \"zzz\": 2}]";
        let (mut sheet, items) = Sheet::open(text.as_bytes(), "f", "things").expect("JSON");
        assert!(sheet.object(&items[0], "/0", &ANY).is_some());
        let warnings = sheet.finish::<()>(Vec::new()).expect("no error").warnings;
        let fixes: Vec<_> = warnings.iter().map(|warning| warning.fix.as_str()).collect();
        assert_eq!(
            fixes,
            [
                "Did you mean `worker`? Write `disposable` inside it.",
                "Did you mean `name`?",
                "Remove it; there are name, worker."
            ]
        );
    }

    #[test]
    fn the_wrong_bracket_does_not_hold_the_walk_up() {
        let (bytes, lines) = (&b"[}}]"[..], BTreeMap::new());
        let mut scan = Scan { bytes, at: 0, line: 1, lines, twice: Vec::new(), mute: 0 };
        scan.value("");
        assert_eq!(scan.at, bytes.len());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_walk_panic(
            text in "([\\[\\]{},: \n\"\\\\a1~/]|true|null|\"a\":|-1e3){0,60}"
        ) {
            drop(Sheet::open(text.as_bytes(), "f", "things"));
            // Whoever reads may be wrong about what is JSON; the walk ends all the same.
            let (bytes, lines) = (text.as_bytes(), BTreeMap::new());
            Scan { bytes, at: 0, line: 1, lines, twice: Vec::new(), mute: 0 }.value("");
        }
    }
}
