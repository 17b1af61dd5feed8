//! Which variables are nobody's business, and the places that must not tell them.
//!
//! Judged by name: a listing, a log line or a panic that prints a configuration
//! must not carry a password. Words of a command are not masked; the process
//! list shows them anyway.

use std::fmt;

use super::Spawn;
use super::layers::Entry;

/// A variable whose name holds one of these is shown without its value.
const SECRET_WORDS: &[&str] = &["KEY", "SECRET", "TOKEN", "PASSWORD", "PASSWD", "CREDENTIAL"];

/// The value as it may be shown.
pub(super) fn masked<'a>(name: &str, value: &'a str) -> &'a str {
    if is_secret(name) { "***" } else { value }
}

/// Whether something of this name is nobody's business.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// As derived, but for the values of secret variables: a `{config:?}` in a log must not tell them.
impl fmt::Debug for Spawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { argv, chosen, count, transport, env, cwd, socket_dir, grace, backoff, stamp } = self;
        let env: Vec<_> = env.iter().map(|(name, value)| (name, masked(name, value))).collect();
        f.debug_struct("Spawn")
            .field("argv", argv)
            .field("chosen", chosen)
            .field("count", count)
            .field("transport", transport)
            .field("env", &env)
            .field("cwd", cwd)
            .field("socket_dir", socket_dir)
            .field("grace", grace)
            .field("backoff", backoff)
            .field("stamp", stamp)
            .finish()
    }
}

/// Without the value of a secret: layers end up in logs and panics too.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entry = f.debug_struct("Entry");
        entry.field("name", &self.name).field("line", &self.line);
        if is_secret(&self.name) {
            entry.finish_non_exhaustive()
        } else {
            entry.field("value", &self.value).finish()
        }
    }
}
