//! The key a person probably meant.
//!
//! A misspelt key is one or two letters off; a misplaced one has the right last
//! word under the wrong table. Both are tried, and no guess is made when nothing
//! is close: a wrong hint costs more than none.

use super::keys::{ENV_CONFIG, KEYS, Key, Kind};

/// How alike two names must be (Jaro-Winkler, 0 to 1) before one is suggested for the other.
const ALIKE: f64 = 0.85;

/// The key meant by the unknown dotted path `path`.
#[must_use]
pub(super) fn nearest_key(path: &str) -> Option<&'static Key> {
    let last = last_word(path);
    let misplaced = KEYS.iter().filter(|key| last_word(key.path) == last);
    let by_place = best(misplaced.map(|key| (strsim::jaro_winkler(path, key.path), key)), 0.0);
    let by_spelling = || best(KEYS.iter().map(|key| (strsim::jaro_winkler(path, key.path), key)), ALIKE);
    let by_last_word =
        || best(KEYS.iter().map(|key| (strsim::jaro_winkler(last, last_word(key.path)), key)), ALIKE);
    by_place.or_else(by_spelling).or_else(by_last_word)
}

/// The head of the table meant by the unknown top-level table `name`, e.g. `[limits]`.
#[must_use]
pub(super) fn nearest_table(name: &str) -> Option<String> {
    let tables = KEYS.iter().filter_map(|key| match (key.path.split_once('.'), key.kind) {
        (Some((table, _)), _) => Some((table, format!("[{table}]"))),
        (None, Kind::Tables(_)) => Some((key.path, format!("[[{}]]", key.path))),
        (None, _) => None,
    });
    best(tables.map(|(table, head)| (strsim::jaro_winkler(name, table), head)), ALIKE)
}

/// The field of a table meant by the unknown one `name`.
#[must_use]
pub(super) fn nearest_field(name: &str, fields: &'static [Key]) -> Option<&'static str> {
    best(fields.iter().map(|field| (strsim::jaro_winkler(name, field.path), field.path)), ALIKE)
}

/// The variable meant by the unknown variable `name`.
#[must_use]
pub(super) fn nearest_variable(name: &str) -> Option<String> {
    let names = KEYS.iter().filter_map(Key::env_name).chain([ENV_CONFIG.to_owned()]);
    // Every name shares the prefix; comparing without it keeps the measure honest.
    let tail = |name: &str| name.trim_start_matches(super::keys::ENV_PREFIX).to_owned();
    let wanted = tail(name);
    let by_last_word = || {
        let path = wanted.to_ascii_lowercase();
        KEYS.iter().find(|key| last_word(key.path) == path).and_then(Key::env_name)
    };
    best(names.map(|known| (strsim::jaro_winkler(&wanted, &tail(&known)), known)), ALIKE)
        .or_else(by_last_word)
}

/// The one of `known` that is meant by `word`.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    best(known.into_iter().map(|known| (strsim::jaro_winkler(word, known), known)), ALIKE)
}

fn last_word(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The first of the best-scored that reaches `least`.
fn best<T>(scored: impl Iterator<Item = (f64, T)>, least: f64) -> Option<T> {
    let mut winner: Option<(f64, T)> = None;
    for (score, item) in scored.filter(|(score, _)| *score >= least) {
        if winner.as_ref().is_none_or(|(top, _)| score > *top) {
            winner = Some((score, item));
        }
    }
    winner.map(|(_, item)| item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_finds_its_neighbour() {
        for (wrong, right) in [
            ("listen.prot", "listen.port"),
            ("workers.comand", "workers.command"),
            ("worker.count", "workers.count"),
            ("queue.time_out", "queue.timeout"),
            ("thread", "threads"),
            ("limits.head_byte", "limits.head_bytes"),
            ("workers.enviroment", "workers.env"),
        ] {
            assert_eq!(nearest_key(wrong).map(|key| key.path), Some(right), "{wrong}");
        }
    }

    #[test]
    fn a_key_in_the_wrong_table_finds_its_own() {
        for (wrong, right) in [
            ("port", "listen.port"),
            ("queue.port", "listen.port"),
            ("listen.threads", "threads"),
            ("workers.depth", "queue.depth"),
            ("drain.timeout", "queue.timeout"),
            ("server.listen.port", "listen.port"),
            ("start_deadline", "start.deadline"),
        ] {
            assert_eq!(nearest_key(wrong).map(|key| key.path), Some(right), "{wrong}");
        }
    }

    #[test]
    fn a_variable_finds_its_neighbour() {
        for (wrong, right) in [
            ("WARMFRONT_LISTEN_PROT", "WARMFRONT_LISTEN_PORT"),
            ("WARMFRONT_PORT", "WARMFRONT_LISTEN_PORT"),
            ("WARMFRONT_WORKER_COUNT", "WARMFRONT_WORKERS_COUNT"),
            ("WARMFRONT_CONFG", "WARMFRONT_CONFIG"),
        ] {
            assert_eq!(nearest_variable(wrong).as_deref(), Some(right), "{wrong}");
        }
    }

    #[test]
    fn nothing_close_means_no_guess() {
        assert!(nearest_key("zzz").is_none());
        assert!(nearest_table("zzz").is_none());
        assert!(nearest_variable("WARMFRONT_QQQ").is_none());
        assert_eq!(nearest_table("limit").as_deref(), Some("[limits]"));
        assert_eq!(nearest_table("processes").as_deref(), Some("[[process]]"));
    }
}
