//! Which variables are nobody's business, and the places that must not tell them.
//!
//! Judged by name: a listing, a log line or a panic that prints a configuration
//! must not carry a password. Words of a command are not masked; the process
//! list shows them anyway.

use std::fmt;
use std::hint::black_box;

use super::Spawn;
use super::layers::Entry;
use super::processes::Process;

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

/// A word that lets its bearer in. Nothing shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// What can be guessed in a lifetime is no secret.
    pub(super) const LEAST_BYTES: usize = 16;

    pub(super) fn word(&self) -> &str {
        &self.0
    }

    /// As whoever bears it says it in `Authorization`.
    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }

    /// Whether `given` is it. Takes the same time however much of it is right.
    pub fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differing = own.iter().zip(given.iter().chain(std::iter::repeat(&0)));
        let differing = differing.fold(0, |differing, (own, given)| black_box(differing | (own ^ given)));
        differing == 0 && own.len() == given.len()
    }
}

impl From<String> for Token {
    fn from(word: String) -> Self {
        Self(word)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// As derived, but for the values of secret variables: a `{config:?}` in a log must not tell them.
impl fmt::Debug for Spawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            argv,
            chosen,
            count,
            transport,
            port,
            env,
            cwd,
            socket_dir,
            grace,
            recycle,
            backoff,
            stamp,
            php_fpm,
        } = self;
        let env: Vec<_> = env.iter().map(|(name, value)| (name, masked(name, value))).collect();
        f.debug_struct("Spawn")
            .field("argv", argv)
            .field("chosen", chosen)
            .field("count", count)
            .field("transport", transport)
            .field("port", port)
            .field("env", &env)
            .field("cwd", cwd)
            .field("socket_dir", socket_dir)
            .field("grace", grace)
            .field("recycle", recycle)
            .field("backoff", backoff)
            .field("stamp", stamp)
            .field("php_fpm", php_fpm)
            .finish()
    }
}

/// Likewise.
impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, argv, env, cwd, ready, log, on_exit, grace, start_deadline } = self;
        let env: Vec<_> = env.iter().map(|(name, value)| (name, masked(name, value))).collect();
        f.debug_struct("Process")
            .field("name", name)
            .field("argv", argv)
            .field("env", &env)
            .field("cwd", cwd)
            .field("ready", ready)
            .field("log", log)
            .field("on_exit", on_exit)
            .field("grace", grace)
            .field("start_deadline", start_deadline)
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

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_is_itself_and_nothing_shows_it() {
        let token = Token::from("open sesame".to_owned());
        assert!(token.is(b"open sesame"));
        for wrong in [&b""[..], b"open", b"open sesame ", b"open sesamE", b"xpen sesame"] {
            assert!(!token.is(wrong));
        }
        assert_eq!(format!("{token:?}"), "***");
    }
}
