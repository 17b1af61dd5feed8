//! What the list of keys promises.

use super::*;
use std::collections::BTreeSet;

#[test]
fn no_two_keys_share_a_path_a_flag_or_a_variable() {
    let mut seen = BTreeSet::new();
    for key in KEYS {
        assert!(seen.insert(key.path.to_owned()), "{}", key.path);
        for name in key.env_names().into_iter().chain(key.flag.map(str::to_owned)) {
            assert!(seen.insert(name.clone()), "{name}");
        }
    }
}

#[test]
fn no_key_is_also_a_table_of_keys() {
    for key in KEYS {
        let inside = format!("{}.", key.path);
        assert!(KEYS.iter().all(|other| !other.path.starts_with(&inside)), "{}", key.path);
    }
}

#[test]
fn the_environment_name_is_the_path_in_capitals() {
    let name = |path| Key::find(path).unwrap().env_name();
    assert_eq!(name("listen.port").unwrap(), "WARMFRONT_LISTEN_PORT");
    assert_eq!(name("queue.newest_first_after").unwrap(), "WARMFRONT_QUEUE_NEWEST_FIRST_AFTER");
    assert_eq!(name("workers.env"), None);
}

#[test]
fn every_key_says_what_it_is_for() {
    for key in KEYS {
        assert!(key.help.ends_with('.') && key.help.len() > 20, "{}", key.path);
    }
}

#[test]
fn tables_come_last_and_their_fields_differ_and_say_what_they_are_for() {
    let first = KEYS.iter().position(|key| matches!(key.kind, Kind::Tables(_))).unwrap();
    for key in &KEYS[first..] {
        let Kind::Tables(fields) = key.kind else { panic!("{} behind a table", key.path) };
        let names: BTreeSet<_> = fields.iter().map(|field| field.path).collect();
        assert_eq!(names.len(), fields.len());
        for field in fields {
            assert!(field.help.ends_with('.') && field.help.len() > 20, "{}", field.path);
            assert!(field.flag.is_none() && field.platform_env.is_empty(), "{}", field.path);
        }
    }
}
