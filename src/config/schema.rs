//! The configuration file as a JSON Schema: what editors complete and mark, and what programs that write such files check
//! them with.
//!
//! Made from the list of keys, as the documents are, so it cannot forget one. It says what a value may look like by
//! itself. What only several keys or the machine can tell (two of them at odds, a program that is not there) stays with
//! `warmfront check`, which knows all that the schema knows. Draft 7, the newest that editors for TOML read.

use serde_json::{Map, Value, json};

use super::keys::{ENV_PREFIX, KEYS, Key, Kind, Zero};
use super::secret::Token;
use super::units::size_text;

/// The schema of the file, whole.
#[must_use]
pub fn schema() -> Value {
    let mut top = Map::new();
    for key in KEYS {
        match key.path.split_once('.') {
            None => drop(top.insert(key.path.to_owned(), of_key(key))),
            Some((table, name)) => {
                let table = top.entry(table).or_insert_with(|| object(Map::new()));
                table["properties"][name] = of_key(key);
            }
        }
    }
    let mut whole = object(top);
    whole["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    whole["title"] = "Configuration of warmfront".into();
    whole["description"] = format!(
        "Every key has a default. Strongest first: flag, environment ({ENV_PREFIX}TABLE_KEY), file, default."
    )
    .into();
    whole
}

/// As text with its last newline, the same in every build.
#[must_use]
pub fn text() -> String {
    format!("{:#}\n", schema())
}

fn object(properties: Map<String, Value>) -> Value {
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn of_key(key: &Key) -> Value {
    let mut schema = of_kind(key.kind);
    schema["description"] = key.help.into();
    if let Some(default) = default(key) {
        schema["default"] = default;
    }
    schema
}

/// The default as the file would say it; `None` where it is derived, or where there is none.
#[must_use]
pub fn default(key: &Key) -> Option<Value> {
    let word = key.default;
    let number = || word.parse::<u64>().ok().map(Value::from);
    match key.kind {
        // Nothing is a value of theirs.
        Kind::Target | Kind::Place | Kind::Collector => Some(word.into()),
        _ if word.is_empty() => None,
        Kind::Number(..) => number(),
        Kind::AutoOr(..) | Kind::Size(..) => Some(number().unwrap_or_else(|| word.into())),
        Kind::Switch => Some((word == "true").into()),
        Kind::Words => Some(word.split_ascii_whitespace().collect()),
        Kind::Paths => Some(word.split(':').collect()),
        Kind::Address | Kind::Choice(_) | Kind::Period(_) | Kind::Path | Kind::Text => Some(word.into()),
        Kind::Secret | Kind::Variables | Kind::Tables(_) => None,
    }
}

fn of_kind(kind: Kind) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let whole = |min: u64, max: u64| json!({ "type": "integer", "minimum": min, "maximum": max });
    match kind {
        Kind::Address => text(&format!("^({}|{IPV6})$", ipv4())),
        Kind::Number(min, max) => whole(min, max),
        Kind::AutoOr(min, max) => json!({ "anyOf": [{ "const": "auto" }, whole(min, max)] }),
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Period(zero) => {
            let mut period = text(&format!("^{BLANK}({PERIOD}{BLANK})+$"));
            if zero == Zero::Refused {
                period["not"] = json!({ "pattern": "^[^1-9]*$" });
            }
            period["examples"] = json!(["1500ms", "30s", "2m"]);
            period
        }
        Kind::Size(min, max) => json!({
            "anyOf": [whole(min, max), text(&format!("^{BLANK}{SIZE}{BLANK}$"))],
            "examples": [size_text(min.max(64 << 10).min(max))],
        }),
        Kind::Path => text(NOT_EMPTY),
        Kind::Target => json!({ "type": "string", "pattern": TARGET, "maxLength": Kind::TARGET_MAX_BYTES }),
        Kind::Place => text(&format!("^((unix:)?/.*|({}|localhost|\\[{IPV6}\\]):{PORT})?$", ipv4())),
        Kind::Collector => text("^([hH][tT][tT][pP]://.+)?$"),
        Kind::Text => json!({ "type": "string", "pattern": NAME, "maxLength": Kind::TEXT_MAX_BYTES }),
        Kind::Secret => json!({ "type": "string", "pattern": "^[!-~]*$", "minLength": Token::LEAST_BYTES }),
        Kind::Words => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Paths => json!({ "type": "array", "items": text(NOT_EMPTY), "minItems": 1 }),
        Kind::Variables => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[^=\\u0000]+$" },
            "additionalProperties": text("^[^\\u0000]*$"),
        }),
        Kind::Tables(fields) => {
            let properties = fields.iter().map(|field| (field.path.to_owned(), of_key(field))).collect();
            let mut table = object(properties);
            // What people are told first, programs are told too.
            table["required"] = fields
                .iter()
                .filter(|field| field.help.starts_with("Required."))
                .map(|field| field.path)
                .collect();
            json!({ "type": "array", "items": table })
        }
    }
}

/// What `units` overlooks around a number and between the parts of a period.
const BLANK: &str = r"\s*";

/// One part of a period: a number, perhaps with a fraction, and its unit. Longer units than a day's are left out: a
/// period ends at 24 hours.
const PERIOD: &str = r"[0-9][0-9\s]*(\.[0-9\s]*[0-9][0-9\s]*)?(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d)";

/// A number with the unit of a size: `64KiB`, `1.5 MB`, `10B`.
const SIZE: &str = r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*([bB]|[kKmMgGtTpPeE][iI]?[bB]?)";

/// The path of a request, or nothing: visible ASCII without `?` and `#`.
const TARGET: &str = "^(/[!\"$->@-~]*)?$";

/// No control characters, no blanks around it; or nothing.
const NAME: &str =
    r"^([^\s\u0000-\u001f\u007f-\u009f]([^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f])?)?$";

const NOT_EMPTY: &str = "^[^\\u0000]+$";

/// Looser than the real thing, which no readable pattern is; `warmfront check` reads it as the system does.
const IPV6: &str = "[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*";

const PORT: &str = "0*([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

fn ipv4() -> String {
    const BYTE: &str = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    [BYTE; 4].join("\\.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_its_table_with_its_help() {
        let schema = schema();
        for key in KEYS {
            let pointer = format!("/properties/{}", key.path.replace('.', "/properties/"));
            assert_eq!(schema.pointer(&pointer).expect(key.path)["description"], key.help);
        }
    }

    #[test]
    fn a_default_is_what_the_file_would_say() {
        let of = |path| default(Key::find(path).expect("a key"));
        assert_eq!(of("listen.port"), Some(json!(9000)));
        assert_eq!(of("listen.send_buffer"), Some(json!(0)));
        assert_eq!(of("queue.bytes"), Some(json!("64MiB")));
        assert_eq!(of("threads"), Some(json!("auto")));
        assert_eq!(of("replay.unread"), Some(json!(false)));
        assert_eq!(of("php.index"), Some(json!(["index.php", "index.html"])));
        assert_eq!(of("admin.listen"), Some(json!("")));
        assert_eq!((of("workers.command"), of("admin.token"), of("process")), (None, None, None));
    }

    #[test]
    fn a_process_needs_its_name_and_its_command_and_nothing_else() {
        assert_eq!(schema()["properties"]["process"]["items"]["required"], json!(["name", "command"]));
    }
}
