//! `${NAME}` and `${NAME:-default}` in a text of the file, from the environment.
//!
//! Pure. Nothing else of a shell is known: no nesting, no other form. `$${` is a
//! plain `${`, so that a shell's own reference can be passed on.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::layers::Value;
use super::read::Bad;

/// The environment that references are looked up in.
pub(super) type Env = BTreeMap<OsString, OsString>;

/// `value` with the references in each of its texts replaced; what was put in is not looked at again.
pub(super) fn replaced(value: &Value, env: &Env) -> Result<Value, Bad> {
    Ok(match value {
        Value::Text(text) => Value::Text(fill(text, env)?),
        Value::List(items) => {
            Value::List(items.iter().map(|item| replaced(item, env)).collect::<Result<_, _>>()?)
        }
        other => other.clone(),
    })
}

fn fill(text: &str, env: &Env) -> Result<String, Bad> {
    let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            filled.push_str(&rest[..at - 1]);
            filled.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        filled.push_str(&rest[..at]);
        let Some((inside, behind)) = rest[at + 2..].split_once('}') else {
            return Err(Bad::new(
                "has a `${` without its `}`",
                "",
                "Write ${NAME} or ${NAME:-default}, and $${ for a plain ${",
            ));
        };
        filled.push_str(&look_up(inside, env)?);
        rest = behind;
    }
    filled.push_str(rest);
    Ok(filled)
}

fn look_up(inside: &str, env: &Env) -> Result<String, Bad> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    if !is_name || default.is_some_and(|default| default.contains("${")) {
        let shown: String = inside.escape_debug().take(60).collect();
        return Err(Bad::new(
            format!("has `${{{shown}}}`, which is no reference"),
            "Only the value of a variable can be put in.",
            "Write ${NAME} or ${NAME:-default}, and $${ for a plain ${",
        ));
    }
    match (env.get(OsStr::new(name)), default) {
        // As in a shell, the default stands in for an empty value too.
        (None, Some(default)) => Ok(default.to_owned()),
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => value.to_str().map(str::to_owned).ok_or_else(|| {
            Bad::new(format!("refers to {name}, whose value is not UTF-8"), "", "Set another value")
        }),
        (None, None) => Err(Bad::new(
            format!("refers to {name}, which is not set"),
            "References are replaced from our own environment when the file is read.",
            format!("Set {name}, write ${{{name}:-default}}, or $${{{name}}} if it is not for us"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> Env {
        [("HOME", "/h"), ("EMPTY", ""), ("TRICK", "${HOME}")]
            .map(|(name, value)| (name.into(), value.into()))
            .into()
    }

    #[test]
    fn references_become_values_and_nothing_else_changes() {
        for (text, wanted) in [
            ("plain $HOME {x} }", "plain $HOME {x} }"),
            ("${HOME}/a/${HOME}", "/h/a//h"),
            ("${NO:-/d}/x", "/d/x"),
            ("${NO:-}", ""),
            ("${EMPTY}", ""),
            ("${EMPTY:-full}", "full"),
            ("${HOME:-unused}", "/h"),
            ("$${HOME} $$", "${HOME} $$"),
            ("${TRICK}", "${HOME}"),
        ] {
            assert_eq!(fill(text, &env()).unwrap(), wanted, "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_says_how_to_write_one() {
        for (text, what) in [
            ("${NO}", "refers to NO, which is not set"),
            ("${HOME", "has a `${` without its `}`"),
            ("${}", "has `${}`, which is no reference"),
            ("${A-b}", "has `${A-b}`, which is no reference"),
            ("${A:-${HOME}}", "has `${A:-${HOME}`, which is no reference"),
        ] {
            assert_eq!(fill(text, &env()).unwrap_err().what, what, "{text}");
        }
    }
}
