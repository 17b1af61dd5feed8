//! The text of a scenario, judged as a whole: a scenario, or everything that is wrong with it, line by line.
//!
//! Pure: text in, verdict out. What a key means is written down in `scenarios/README.md`.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use toml_edit::{Document, Item, TableLike};

use crate::exchange::Expected;
use crate::warm::scenario::{Kind, Phase, Request, Scenario};

/// Largest content of a request.
const BODY_BYTES_MAX: i64 = 64 << 20;
/// Largest of all other numbers.
const COUNT_MAX: i64 = 1_000_000;
/// Longest period.
const PERIOD_MAX: Duration = Duration::from_secs(3600);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// FILE:LINE.
    place: String,
    what: String,
    fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n  {}", self.place, self.what, self.fix)
    }
}

/// Reads a scenario; `place` is what to call the text.
///
/// # Errors
/// All problems, in the order of their lines.
pub(crate) fn read(text: &str, place: &str) -> Result<Scenario, Vec<Problem>> {
    let mut findings = Findings { text, place, problems: Vec::new() };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let what = format!("this is not valid TOML: {}.", error.message().trim().replace('\n', ", "));
            findings.add(error.span(), &what, "Correct this line; nothing else in the file was read.");
            return Err(sorted(findings.problems));
        }
    };
    let mut keys = Keys::new(document.as_table(), 0..0, &mut findings);
    let name = keys.required("name", "a word for the report, such as \"checkout\"", text_of);
    // For people only.
    let _ = keys.take("about", "a sentence", text_of);
    let requests = keys.tables("request").into_iter().map(|(table, span)| (table, span, "request"));
    let phases = keys.tables("phase").into_iter().map(|(table, span)| (table, span, "phase"));
    let (requests, phases): (Vec<_>, Vec<_>) = (requests.collect(), phases.collect());
    let repeat =
        keys.take("repeat", "a whole number from 1 on", |item| count_of(item, 1, 10_000)).unwrap_or(1);
    keys.finish("name, about, repeat, [[request]], [[phase]]");
    if requests.is_empty() {
        findings.add(
            None,
            "there is no request, so nothing would be sent.",
            "Add a table [[request]] with `name` and `path`.",
        );
    }
    let requests: Vec<_> =
        requests.into_iter().map(|(table, span, _)| request(table, span, &mut findings)).collect();
    let phases: Vec<_> =
        phases.into_iter().map(|(table, span, _)| phase(table, span, &mut findings)).collect();
    for (index, later) in requests.iter().enumerate() {
        if let Some((request, span)) = later
            && requests[..index].iter().flatten().any(|(earlier, _)| earlier.name == request.name)
        {
            let what = format!(
                "a second request is called `{}`: the report could not tell them apart.",
                request.name
            );
            findings.add(Some(span.clone()), &what, "Give each request a name of its own.");
        }
    }
    match name {
        Some(name) if findings.problems.is_empty() => Ok(Scenario {
            name,
            requests: requests.into_iter().flatten().map(|(request, _)| request).collect(),
            phases: phases.into_iter().flatten().collect(),
            repeat,
        }),
        _ => Err(sorted(findings.problems)),
    }
}

fn sorted(mut problems: Vec<(usize, Problem)>) -> Vec<Problem> {
    problems.sort_by_key(|(line, _)| *line);
    problems.into_iter().map(|(_, problem)| problem).collect()
}

fn request(
    table: &dyn TableLike,
    span: Range<usize>,
    findings: &mut Findings<'_>,
) -> Option<(Request, Range<usize>)> {
    let mut keys = Keys::new(table, span.clone(), findings);
    let name = keys.required("name", "a word for the report, such as \"read\"", text_of);
    let path = keys.required("path", "a request target, such as \"/json\"", |item| {
        text_of(item).filter(|path| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()))
    });
    let weight =
        keys.take("weight", "a whole number from 1 on", |item| count_of(item, 1, 10_000)).unwrap_or(1);
    let kind = keys
        .take("kind", "\"http\", \"sse\" or \"websocket\"", |item| {
            text_of(item).filter(|kind| ["http", "sse", "websocket"].contains(&kind.as_str()))
        })
        .unwrap_or_else(|| "http".into());
    let method = keys.take("method", "a method, such as \"PUT\"", |item| {
        text_of(item)
            .filter(|method| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase()))
    });
    let headers = keys.take("headers", "a table of texts, such as { accept = \"text/html\" }", headers_of);
    let text = keys.take("body", "a text", text_of);
    let bytes = keys.take("body_bytes", "a whole number up to 64 MiB", |item| {
        item.as_integer().filter(|bytes| (0..=BODY_BYTES_MAX).contains(bytes))
    });
    if text.is_some() && bytes.is_some() {
        keys.complain("body_bytes", "`body` and `body_bytes` are both given.", "Keep one of them.");
    }
    let is_chunked = keys.take("chunked", "true or false", Item::as_bool).unwrap_or(false);
    let status = keys.take("status", "a status code from 200 to 599", |item| {
        count_of(item, 200, 599).and_then(|status| u16::try_from(status).ok())
    });
    let answer_bytes = keys.take("answer_bytes", "a whole number", |item| {
        item.as_integer().and_then(|bytes| u64::try_from(bytes).ok())
    });
    let count = keys.take("events", "a whole number from 1 on", |item| count_of(item, 1, COUNT_MAX));
    let every = keys.take("every", "a period, such as \"20ms\"", period_of);
    let body = match (text, bytes) {
        (Some(text), _) => text.into_bytes(),
        (None, bytes) => vec![b'x'; bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)],
    };
    let kind = match kind.as_str() {
        "sse" => {
            for (key, is_given) in [("events", count.is_some()), ("every", every.is_some())] {
                if !is_given && !keys.has(key) {
                    let what = format!(
                        "a request of kind \"sse\" lacks `{key}`: when each event is due is known by it."
                    );
                    keys.complain("kind", &what, "Say what the server was asked for.");
                }
            }
            Kind::Events { count: count.unwrap_or(1), every: every.unwrap_or_default() }
        }
        other => {
            for key in ["events", "every"] {
                if keys.has(key) {
                    let what =
                        format!("`{key}` belongs to requests of kind \"sse\"; this one is \"{other}\".");
                    keys.complain(key, &what, "Remove it, or set kind = \"sse\".");
                }
            }
            if other == "websocket" { Kind::Message } else { Kind::Http }
        }
    };
    if kind == Kind::Message {
        for key in ["method", "chunked", "status", "answer_bytes"] {
            if keys.has(key) {
                let what = format!("`{key}` means nothing on a WebSocket.");
                keys.complain(key, &what, "Remove it; each message must come back as it was.");
            }
        }
    } else if is_chunked && body.is_empty() {
        keys.complain(
            "chunked",
            "a request without content is to be sent in chunks.",
            "Give it `body_bytes`.",
        );
    }
    keys.finish(
        "name, path, weight, kind, method, headers, body, body_bytes, chunked, status, answer_bytes, events, every",
    );
    let method = method
        .unwrap_or_else(|| if body.is_empty() || kind == Kind::Message { "GET" } else { "POST" }.into());
    let request = Request {
        name: name?,
        weight,
        kind,
        method,
        path: path?,
        headers: headers.unwrap_or_default(),
        body,
        is_chunked,
        expected: Expected { status: Some(status.unwrap_or(200)), body_bytes: answer_bytes },
    };
    Some((request, span))
}

fn phase(table: &dyn TableLike, span: Range<usize>, findings: &mut Findings<'_>) -> Option<Phase> {
    let mut keys = Keys::new(table, span.clone(), findings);
    let given: Vec<_> = ["steady", "silence", "burst"].into_iter().filter(|key| keys.has(key)).collect();
    let steady = keys.take("steady", "a period, such as \"5s\"", period_of);
    let silence = keys.take("silence", "a period, such as \"20s\"", period_of);
    let users = keys.take("burst", "a whole number from 1 on", |item| count_of(item, 1, COUNT_MAX));
    let each = keys.take("each", "a whole number from 1 on", |item| count_of(item, 1, 10_000));
    let think = keys.take("think", "a period, such as \"100ms\"", period_of);
    for key in ["each", "think"] {
        if keys.has(key) && !keys.has("burst") {
            keys.complain(key, &format!("`{key}` belongs to a burst."), "Remove it, or add `burst`.");
        }
    }
    if think.is_some() && each.unwrap_or(1) == 1 {
        keys.complain("think", "users who ask once do not think in between.", "Set `each` to 2 or more.");
    }
    keys.finish("steady, silence, burst, each, think");
    if given.len() != 1 {
        findings.add(
            Some(span),
            &format!("a phase is one of `steady`, `silence` and `burst`; this one is {}.", given.len()),
            "Make a table [[phase]] of each.",
        );
    }
    steady.map(Phase::Steady).or(silence.map(Phase::Silence)).or(users.map(|users| Phase::Burst {
        users,
        each: each.unwrap_or(1),
        think: think.unwrap_or_default(),
    }))
}

fn text_of(item: &Item) -> Option<String> {
    item.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned)
}

fn count_of(item: &Item, least: i64, most: i64) -> Option<u32> {
    item.as_integer()
        .filter(|count| (least..=most).contains(count))
        .and_then(|count| u32::try_from(count).ok())
}

fn period_of(item: &Item) -> Option<Duration> {
    humantime::parse_duration(item.as_str()?).ok().filter(|period| *period <= PERIOD_MAX)
}

/// Names and values that can be sent as they are.
fn headers_of(item: &Item) -> Option<Vec<(String, String)>> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let mut headers = Vec::new();
    for (name, value) in item.as_table_like()?.iter() {
        let value = value.as_str().filter(|value| !value.bytes().any(|byte| byte < b' ' || byte == 0x7f))?;
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        headers.push((name.to_owned(), value.to_owned()));
    }
    Some(headers)
}

/// Problems so far, each with its line.
struct Findings<'a> {
    text: &'a str,
    place: &'a str,
    problems: Vec<(usize, Problem)>,
}

impl Findings<'_> {
    fn add(&mut self, span: Option<Range<usize>>, what: &str, fix: &str) {
        let start = span.map_or(0, |span| span.start).min(self.text.len());
        let line = self.text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
        let place = format!("{}:{line}", self.place);
        self.problems.push((line, Problem { place, what: what.to_owned(), fix: fix.to_owned() }));
    }
}

/// A table whose keys are taken one by one; what is left at the end nobody knows.
struct Keys<'a, 'f, 't> {
    table: &'a dyn TableLike,
    span: Range<usize>,
    known: Vec<&'static str>,
    findings: &'f mut Findings<'t>,
}

impl<'a, 'f, 't> Keys<'a, 'f, 't> {
    fn new(table: &'a dyn TableLike, span: Range<usize>, findings: &'f mut Findings<'t>) -> Self {
        Self { table, span, known: Vec::new(), findings }
    }

    fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Where `key` is, or else its table.
    fn span_of(&self, key: &str) -> Range<usize> {
        let item = self.table.get_key_value(key);
        item.and_then(|(key, item)| key.span().or_else(|| item.span())).unwrap_or_else(|| self.span.clone())
    }

    fn complain(&mut self, key: &str, what: &str, fix: &str) {
        self.findings.add(Some(self.span_of(key)), what, fix);
    }

    /// The value of `key`; a complaint if it is something else than `wanted`.
    fn take<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        convert: impl Fn(&Item) -> Option<T>,
    ) -> Option<T> {
        self.known.push(key);
        let item = self.table.get(key)?;
        let value = convert(item);
        if value.is_none() {
            let found = item.span().and_then(|span| self.findings.text.get(span)).unwrap_or("something else");
            let found = found.trim().replace('\n', " ");
            let what = format!("`{key}` is {wanted}, not `{found}`.");
            self.complain(key, &what, "Correct the value.");
        }
        value
    }

    fn required<T>(
        &mut self,
        key: &'static str,
        wanted: &str,
        convert: impl Fn(&Item) -> Option<T>,
    ) -> Option<T> {
        if !self.has(key) {
            let what = format!("`{key}` is missing here.");
            self.findings.add(Some(self.span.clone()), &what, &format!("Add `{key}`, {wanted}."));
        }
        self.take(key, wanted, convert)
    }

    /// The tables `[[key]]` with their places.
    fn tables(&mut self, key: &'static str) -> Vec<(&'a dyn TableLike, Range<usize>)> {
        self.known.push(key);
        let Some(item) = self.table.get(key) else { return Vec::new() };
        match item.as_array_of_tables() {
            Some(tables) => {
                tables.iter().map(|table| (table as &dyn TableLike, table.span().unwrap_or(0..0))).collect()
            }
            None => {
                let what = format!("`{key}` is no list of tables.");
                self.complain(key, &what, &format!("Write each under a line [[{key}]]."));
                Vec::new()
            }
        }
    }

    /// Complains about keys that were not taken.
    fn finish(self, all: &str) {
        for (key, item) in self.table.iter() {
            if !self.known.contains(&key) {
                let span =
                    self.table.get_key_value(key).and_then(|(key, _)| key.span()).or_else(|| item.span());
                let what = format!("there is no key `{key}` here.");
                self.findings.add(span, &what, &format!("Keys are {all}."));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warm::scenario::BUILT_IN;

    #[test]
    fn every_built_in_scenario_is_one_and_is_called_as_its_file() {
        for (name, text) in BUILT_IN {
            let scenario = read(text, name).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
            assert_eq!(scenario.name, name);
        }
    }

    #[test]
    fn a_broken_scenario_is_told_all_its_problems_each_with_its_line() {
        let text = "\
name = \"\"
repeat = 0
colour = \"red\"

[[request]]
name = \"a\"
weight = -1
path = \"no slash\"
events = 3

[[request]]
name = \"b\"
kind = \"sse\"
path = \"/sse\"
events = 5
status = 99

[[request]]
path = \"/x\"
body = \"a\"
body_bytes = 9
headers = { \"a b\" = \"c\" }

[[phase]]
silence = \"1s\"
burst = 3

[[phase]]
steady = \"soon\"
think = \"1s\"
";
        let problems: Vec<String> =
            read(text, "s.toml").unwrap_err().iter().map(ToString::to_string).collect();
        let expected = [
            (1, "`name` is a word"),
            (2, "`repeat` is a whole number"),
            (3, "no key `colour`"),
            (7, "`weight` is"),
            (8, "`path` is a request target"),
            (9, "`events` belongs to requests of kind \"sse\""),
            (13, "lacks `every`"),
            (16, "`status` is"),
            (18, "`name` is missing"),
            (21, "`body` and `body_bytes`"),
            (22, "`headers` is a table of texts"),
            (24, "this one is 2"),
            (29, "`steady` is a period"),
            (30, "`think` belongs to a burst"),
        ];
        for (line, what) in expected {
            let place = format!("s.toml:{line}: ");
            assert!(
                problems.iter().any(|problem| problem.starts_with(&place) && problem.contains(what)),
                "{place}{what}\n{problems:#?}"
            );
        }
        assert!(problems.iter().all(|problem| problem.lines().count() == 2), "each says how to fix it");
    }

    #[test]
    fn what_is_no_toml_says_where() {
        let problems = read("name = \"a\"\n[[request\n", "s.toml").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().starts_with("s.toml:2: this is not valid TOML"), "{}", problems[0]);
    }

    #[test]
    fn two_requests_of_one_name_are_refused() {
        let text = "name = \"a\"\n[[request]]\nname = \"r\"\npath = \"/\"\n[[request]]\nname = \"r\"\npath = \"/\"\n";
        let problems = read(text, "s.toml").unwrap_err();
        assert!(
            problems[0].to_string().starts_with("s.toml:5: a second request is called `r`"),
            "{}",
            problems[0]
        );
    }
}
