//! Explaining what went wrong with a worker, the way a good colleague would.
//!
//! Reads files and `/proc`, changes nothing, decides nothing. Three questions:
//! why it could not be started ([`exec`]), why it is not ready ([`silence`]),
//! how it ended ([`exit`]). And who belongs to whom ([`kin`]).

pub mod exec;
pub mod exit;
pub mod kin;
pub mod silence;

/// A word of a command as one may paste it into a shell.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_can_be_pasted_into_a_shell() {
        assert_eq!(quoted("server.js"), "server.js");
        assert_eq!(quoted("echo \"a b\" >&2"), "'echo \"a b\" >&2'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
