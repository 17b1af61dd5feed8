//! One written value, read by the kind of its key.
//!
//! Words from the environment and from flags carry no type, so the key decides.
//! TOML values do, so a number in quotes is a slip worth naming, not a number.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use super::SessionRule;
use super::admin::AdminPlace;
use super::keys::{Kind, Zero};
use super::layers::Value;
use super::secret::Token;
use super::trace::Collector;
use super::units::{self, BadUnit};

/// The field in which MCP servers name a session (Model Context Protocol 2025-03-26, Streamable HTTP).
const MCP_SESSION: &str = "Mcp-Session-Id";

/// Why a value cannot be what its key takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    /// Continues the sentence "`key = value` …".
    pub(super) what: String,
    /// One sentence, or nothing.
    pub(super) why: String,
    /// Begins the sentence that ends with the default.
    pub(super) fix: String,
}

impl Bad {
    pub(super) fn new(what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), fix: fix.into() }
    }
}

/// A whole number from `min` to `max`.
pub(super) fn number(value: &Value, min: u64, max: u64) -> Result<u64, Bad> {
    let fix = format!("Set {min} to {max}");
    let parsed = match value {
        Value::Integer(number) => i128::from(*number),
        Value::Word(word) => match whole(&word.to_string_lossy()) {
            Some(number) => number,
            None => return Err(Bad::new("is not a whole number", "", fix)),
        },
        Value::Text(text) if whole(text).is_some() => {
            let fix = format!("Remove the quotes: `{}`", text.trim());
            return Err(Bad::new("is text, not a number", "", fix));
        }
        _ => return Err(Bad::new("is not a whole number", "", fix)),
    };
    match u64::try_from(parsed) {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(Bad::new(format!("is not within {min} to {max}"), "", fix)),
    }
}

/// `auto` as `None`, or a whole number from `min` to `max`.
pub(super) fn auto_or(value: &Value, min: u64, max: u64) -> Result<Option<u64>, Bad> {
    if as_text(value).is_some_and(|text| text == "auto") {
        return Ok(None);
    }
    let auto = if matches!(value, Value::Word(_)) { "auto" } else { "\"auto\"" };
    number(value, min, max).map(Some).map_err(|bad| match value {
        Value::Text(text) if whole(text).is_some() => bad,
        _ => Bad { fix: format!("Set {auto} or {min} to {max}"), ..bad },
    })
}

/// `true` or `false`.
pub(super) fn switch(value: &Value) -> Result<bool, Bad> {
    match value {
        Value::Switch(on) => Ok(*on),
        Value::Word(word) if word == "true" => Ok(true),
        Value::Word(word) if word == "false" => Ok(false),
        _ => Err(Bad::new("is neither true nor false", "", "Set true or false")),
    }
}

/// One of `words`, by index.
pub(super) fn choice(value: &Value, words: &[&str]) -> Result<usize, Bad> {
    let found = as_text(value).and_then(|text| words.iter().position(|word| *word == text));
    found.ok_or_else(|| {
        let quote = if matches!(value, Value::Word(_)) { "" } else { "\"" };
        let known: Vec<_> = words.iter().map(|word| format!("{quote}{word}{quote}")).collect();
        Bad::new("is not a known choice", "", format!("Set {}", known.join(" or ")))
    })
}

/// A period of at most a day.
pub(super) fn period(value: &Value, zero: Zero) -> Result<Duration, Bad> {
    let example = |text: &str| match value {
        Value::Word(_) => text.to_owned(),
        _ => format!("\"{text}\""),
    };
    let unreadable = || {
        let fix = format!("Write it as {} or {}", example("1500ms"), example("30s"));
        Bad::new("is not a period", "A period is a number with its unit.", fix)
    };
    let text = match value {
        Value::Integer(number) => number.to_string(),
        Value::Other(raw) => raw.clone(),
        _ => as_text(value).ok_or_else(unreadable)?,
    };
    let period = units::period(&text).map_err(|error| match error {
        BadUnit::Unreadable => unreadable(),
        BadUnit::Missing => {
            let digits = text.trim().trim_start_matches(['-', '+']);
            let fix = format!("Write {} for seconds", example(&format!("{digits}s")));
            Bad::new("has no unit", "Seconds and milliseconds are both likely.", fix)
        }
    })?;
    let day = Duration::from_secs(Kind::PERIOD_MAX_SECS);
    if period > day {
        let fix = format!("Set at most {}", example("24h"));
        return Err(Bad::new("is longer than a day", "The longest invocation ends after a day.", fix));
    }
    if period.is_zero() && zero == Zero::Refused {
        let fix = format!("Set more than zero, such as {}", example("1s"));
        return Err(Bad::new("leaves no time at all", "Zero would fail every time.", fix));
    }
    Ok(period)
}

/// A path as requests have it, or nothing for none.
pub(super) fn target(value: &Value) -> Result<Option<String>, Bad> {
    let fix = "Set a path such as /healthz, or nothing for none";
    let text = as_text(value).ok_or_else(|| Bad::new("is no path", "", fix))?;
    if text.is_empty() {
        return Ok(None);
    }
    if !text.starts_with('/') {
        return Err(Bad::new("is no path", "A path begins with a slash.", fix));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')) {
        return Err(Bad::new("is no path", "A path has no spaces, no query, and only visible ASCII.", fix));
    }
    if text.len() > Kind::TARGET_MAX_BYTES {
        let why = format!("At most {} bytes fit.", Kind::TARGET_MAX_BYTES);
        return Err(Bad::new("is too long", why, fix));
    }
    Ok(Some(text))
}

/// Where the admin listens, or nothing for nowhere.
pub(super) fn admin_place(value: &Value) -> Result<Option<AdminPlace>, Bad> {
    let fix = "Set an address and a port such as 127.0.0.1:9901, or an absolute path for a Unix socket";
    let bad = || Bad::new("is neither an address with a port nor an absolute path", "", fix);
    let text = as_text(value).ok_or_else(bad)?;
    if text.is_empty() {
        return Ok(None);
    }
    let path = text.strip_prefix("unix:").unwrap_or(&text);
    if path.starts_with('/') {
        return Ok(Some(AdminPlace::Unix(path.into())));
    }
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text,
    };
    text.parse().map(|address| Some(AdminPlace::Tcp(address))).map_err(|_| bad())
}

/// Where spans go, or nothing for nowhere.
pub(super) fn collector(value: &Value) -> Result<Option<Collector>, Bad> {
    let fix = "Set a URL such as http://127.0.0.1:4318, or nothing for no spans";
    let bad = |why: &str| Bad::new("is not the URL of a collector", why, fix);
    let text = as_text(value).ok_or_else(|| bad(""))?;
    if text.is_empty() {
        return Ok(None);
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(bad("It begins with http://."));
    };
    match scheme.to_ascii_lowercase().as_str() {
        "http" => Collector::parse(rest).map(Some).map_err(bad),
        "https" => Err(Bad::new(
            "asks for TLS, which this program does not speak",
            "Spans go to a collector beside it, or within the same network.",
            "Run a collector (OpenTelemetry's or Grafana's) that listens on http://127.0.0.1:4318 and sends them on by TLS",
        )),
        _ => Err(bad("It begins with http://.")),
    }
}

/// A short text of visible characters and blanks between them, or nothing.
pub(super) fn text(value: &Value) -> Result<Option<String>, Bad> {
    let fix = "Set a name";
    let text = as_text(value).ok_or_else(|| Bad::new("is no text", "", fix))?;
    if text.chars().any(char::is_control) || text.trim() != text {
        return Err(Bad::new("is no name", "A name has no control characters and no blanks around it.", fix));
    }
    if text.len() > Kind::TEXT_MAX_BYTES {
        return Err(Bad::new(
            "is too long",
            format!("At most {} bytes are a name.", Kind::TEXT_MAX_BYTES),
            fix,
        ));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// A token that is long enough and fits into a header.
pub(super) fn token(value: &Value) -> Result<Token, Bad> {
    let fix = "Set at least 16 visible characters, such as what `openssl rand -hex 16` prints";
    let Value::Secret(token) = value else { return Err(Bad::new("is no text", "", fix)) };
    if !token.word().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Bad::new("does not fit into a header", "Only visible ASCII does.", fix));
    }
    if token.word().len() < Token::LEAST_BYTES {
        return Err(Bad::new("is too short", "It can be guessed.", fix));
    }
    Ok(token.clone())
}

/// Bytes from `min` to `max`.
pub(super) fn size(value: &Value, min: u64, max: u64) -> Result<u64, Bad> {
    let quote = if matches!(value, Value::Word(_)) { "" } else { "\"" };
    let unreadable = || {
        let fix = format!("Write it as {quote}64KiB{quote}, or as a whole number of bytes");
        Bad::new("is not a size", "A size is a number with its unit.", fix)
    };
    let unitless = |text: &str| {
        let fix = match whole(text) {
            Some(_) => format!("Remove the quotes for bytes, or write {quote}{}KiB{quote}", text.trim()),
            None => format!("Write {quote}{}KiB{quote} or {quote}{}MiB{quote}", text.trim(), text.trim()),
        };
        Bad::new("has no unit", "Only a whole number of bytes can do without.", fix)
    };
    let bytes = match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::Word(word) if whole(&word.to_string_lossy()).is_some() => {
            word.to_string_lossy().trim().parse().ok()
        }
        Value::Other(raw) if units::size(raw) == Err(BadUnit::Missing) => return Err(unitless(raw)),
        _ => {
            let text = as_text(value).ok_or_else(unreadable)?;
            Some(units::size(&text).map_err(|error| match error {
                BadUnit::Missing => unitless(&text),
                BadUnit::Unreadable => unreadable(),
            })?)
        }
    };
    bytes.filter(|bytes| (min..=max).contains(bytes)).ok_or_else(|| {
        let (least, most) = (units::size_text(min), units::size_text(max));
        let fix = format!("Set {quote}{least}{quote} to {quote}{most}{quote}");
        Bad::new(format!("is not within {least} to {most}"), "", fix)
    })
}

/// An IP address.
pub(super) fn address(value: &Value) -> Result<IpAddr, Bad> {
    as_text(value).and_then(|text| text.parse().ok()).ok_or_else(|| {
        Bad::new(
            "is not an IP address",
            "Names are not looked up before the port is open.",
            "Set an IP address",
        )
    })
}

/// One path, not empty.
pub(super) fn path(value: &Value) -> Result<PathBuf, Bad> {
    let text = text_bytes(value).ok_or_else(|| Bad::new("is not a path", "", "Set one path as text"))?;
    no_nul(&text)?;
    if text.is_empty() {
        return Err(Bad::new("names no path", "", "Set a path"));
    }
    Ok(text.into())
}

/// A list of words, perhaps empty.
pub(super) fn list(value: &Value, why: &str, example: &str) -> Result<Vec<OsString>, Bad> {
    match value {
        Value::Word(line) => Ok(line
            .as_bytes()
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect()),
        _ => texts(value).ok_or_else(|| Bad::new("is not a list of texts", why, example)),
    }
}

/// Program and arguments. Never empty, and the first word is not empty.
pub(super) fn words(value: &Value) -> Result<Vec<OsString>, Bad> {
    let example = "Write it as [\"node\", \"server.js\"]";
    let words = list(value, "No shell runs it, so each word is one text.", example)?;
    words.iter().try_for_each(no_nul)?;
    match words.first() {
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(Bad::new(
            "names no program",
            "A worker is a process; there must be something to start.",
            example,
        )),
    }
}

/// Where sessions have their keys; none is a choice if nobody made another.
pub(super) fn session_rules(value: &Value) -> Result<Vec<SessionRule>, Bad> {
    let quote = if matches!(value, Value::Word(_)) { "" } else { "\"" };
    let forms =
        ["cookie:NAME", "header:NAME", "mcp"].map(|form| format!("{quote}{form}{quote}")).join(" or ");
    let entries = match value {
        Value::Word(line) => line.to_string_lossy().split_ascii_whitespace().map(str::to_owned).collect(),
        _ => texts(value)
            .ok_or_else(|| Bad::new("is not a list of texts", "", format!("Write a list of {forms}")))?
            .into_iter()
            .map(|text| text.to_string_lossy().into_owned())
            .collect::<Vec<_>>(),
    };
    let rule = |entry: &String| {
        let is_name = |name: &&str| !name.is_empty() && name.bytes().all(is_token);
        match entry.split_once(':') {
            Some(("cookie", name)) => Some(name).filter(is_name).map(|name| SessionRule::Cookie(name.to_owned())),
            Some(("header", name)) => Some(name).filter(is_name).map(|name| SessionRule::Header(name.to_owned())),
            None if entry == "mcp" => Some(SessionRule::Header(MCP_SESSION.to_owned())),
            _ => None,
        }
        .ok_or_else(|| {
            let shown: String = entry.escape_debug().take(60).collect();
            let why = "A session is known by a cookie or by a field; a name has letters, digits and !#$%&'*+-.^_`|~.";
            Bad::new(format!("holds `{shown}`, which is none of these"), why, format!("Write each as {forms}"))
        })
    };
    entries.iter().map(rule).collect()
}

/// Whether `byte` may stand in the name of a field or cookie (RFC 9110 §5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Paths, none empty. Never an empty list.
pub(super) fn paths(value: &Value) -> Result<Vec<PathBuf>, Bad> {
    let fix = "Write it as [\"/run/app/0.sock\"]";
    let paths = match value {
        Value::Word(line) => line
            .as_bytes()
            .split(|byte| *byte == b':')
            .map(|path| OsString::from_vec(path.to_vec()))
            .collect(),
        _ => texts(value).ok_or_else(|| Bad::new("is not a list of paths", "", fix))?,
    };
    paths.iter().try_for_each(no_nul)?;
    if paths.is_empty() || paths.iter().any(|path| path.is_empty()) {
        return Err(Bad::new("names an empty path", "Each worker is reached at one socket.", fix));
    }
    Ok(paths.into_iter().map(PathBuf::from).collect())
}

/// `value` of one variable called `name`.
pub(super) fn variable(name: &str, value: &Value) -> Result<String, Bad> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Bad::new("is no name for a variable", "It is empty or holds `=` or NUL.", "Rename it"));
    }
    match value {
        Value::Text(text) if !text.contains('\0') => Ok(text.clone()),
        Value::Text(_) => {
            Err(Bad::new("holds a NUL character", "The system ends a value there.", "Remove it"))
        }
        _ => Err(Bad::new("is not text", "A variable is always text.", "Put its value in quotes")),
    }
}

fn no_nul(text: &OsString) -> Result<(), Bad> {
    if text.as_bytes().contains(&0) {
        return Err(Bad::new("holds a NUL character", "The system ends a text there.", "Remove it"));
    }
    Ok(())
}

fn whole(text: &str) -> Option<i128> {
    text.trim().parse().ok()
}

fn as_text(value: &Value) -> Option<String> {
    text_bytes(value).map(|text| text.to_string_lossy().into_owned())
}

fn text_bytes(value: &Value) -> Option<OsString> {
    match value {
        Value::Word(word) => Some(word.clone()),
        Value::Text(text) => Some(text.into()),
        _ => None,
    }
}

fn texts(value: &Value) -> Option<Vec<OsString>> {
    let Value::List(items) = value else { return None };
    items.iter().map(text_bytes).collect()
}
