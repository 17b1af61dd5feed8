//! The listing says everything, says it again when read, and keeps secrets.

use std::collections::BTreeMap;

use super::*;
use crate::config::load::{self, Flags, Loaded, World};

fn loaded(text: &str) -> Loaded {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("warmfront.toml"), text).unwrap();
    let world = World {
        env: BTreeMap::new(),
        dir: dir.path().to_owned(),
        bootstrap: dir.path().join("none"),
        current_exe: std::env::current_exe().unwrap(),
        temp_dir: "/tmp".into(),
        cpus: 2,
    };
    load::load(&Flags::default(), &world).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn shown(text: &str) -> String {
    let loaded = loaded(text);
    listing(&loaded.config, &loaded.layers)
}

#[test]
fn every_key_has_its_line() {
    for text in ["", "workers.sockets = [\"/a\"]"] {
        let listing = shown(text);
        for key in KEYS {
            assert!(
                listing.contains(&format!("{} = ", key.path))
                    || listing.contains(&format!("# {} is not set", key.path)),
                "{}: {listing}",
                key.path
            );
        }
    }
}

#[test]
fn a_line_names_the_place() {
    let listing = shown("\n[queue]\ndepth = 5\n");
    let line = listing.lines().find(|line| line.starts_with("queue.depth")).unwrap();
    assert!(line.starts_with("queue.depth = 5 ") && line.ends_with("warmfront.toml:3"), "{line}");
    assert!(listing.lines().next().unwrap().ends_with("warmfront.toml (found in the working directory)"));
}

#[test]
fn the_listing_is_a_file_that_means_the_same() {
    for text in [
        "",
        "workers.sockets = [\"/a\", \"/b\\u007F\"]\nworkers.concurrency = 3",
        "upstream = \"noslate\"\nnoslate.target = \"service:a\"\nnoslate.dispatch = [\"header:x-a\", \"path:/f/\"]\n\
         noslate.data_planes = 2\nnoslate.profiles = \"f.json\"\nnoslate.env.A = \"b\"\nnoslate.url = \"absolute\"",
        "threads = 3\nworkers.cwd = \"/\"\nqueue.timeout = \"1500ms\"\nlimits.discard_bytes = 1001\n\
         headers.strip_credentials = true\nheaders.strip_proxy_prefix = true\n\
         affinity.by = [\"cookie:a\", \"header:b\", \"mcp\"]\naffinity.sessions = 7\n\
         headers.server_timing = true\ntrace.sample = 9\ntrace.service = \"a b\"\n\
         workers.env.\"A.B\" = \"x # \\\"y\\\" \\n\"\nworkers.env.C = \"{socket}\"\nlog.access = \"off\"",
    ] {
        let first = loaded(text).config;
        let mut again = loaded(&shown(text)).config;
        // What was derived the first time is given the second time.
        again.workers.slots.guessed = first.workers.slots.guessed;
        if let (WorkerSource::Spawn(again), WorkerSource::Spawn(first)) =
            (&mut again.workers.source, &first.workers.source)
        {
            again.chosen = first.chosen;
        }
        assert_eq!(again, first, "{text}");
    }
}

#[test]
fn values_of_secret_variables_are_never_shown() {
    let names = ["API_KEY", "my_secret", "TokenOfLove", "DB_PASSWORD", "AWS_CREDENTIALS"];
    let text: String = names.iter().map(|name| format!("workers.env.{name} = \"hush\"\n")).collect();
    let listing = shown(&(text + "workers.env.PLAIN = \"seen\"\n"));
    assert!(!listing.contains("hush"), "{listing}");
    assert!(listing.contains("workers.env.PLAIN = \"seen\""), "{listing}");
    assert!(listing.contains("workers.env.API_KEY = \"***\""), "{listing}");
}

#[test]
fn the_entries_say_what_the_listing_says() {
    let loaded = loaded(
        "workers.env.API_KEY = \"hush\"\nworkers.env.PLAIN = \"seen\"\nadmin.token = \"0123456789abcdef\"",
    );
    let entries = entries(&loaded.config, &loaded.layers);
    let value = |key: &str| entries.iter().find(|entry| entry.key == key).unwrap().value.clone();
    assert_eq!(value("queue.depth"), Some(1024.into()));
    assert_eq!(value("workers.env.API_KEY"), Some("***".into()));
    assert_eq!(value("admin.token"), Some("***".into()));
    for line in listing(&loaded.config, &loaded.layers).lines().filter(|line| line.contains(" = ")) {
        let (key, rest) = line.split_once(" = ").unwrap();
        let Some(value) = value(key) else { panic!("{line}") };
        assert!(rest.starts_with(&value.to_string()[..3.min(value.to_string().len())]), "{line}: {value}");
    }
}

#[test]
fn a_token_is_shown_nowhere() {
    let loaded = loaded("admin.token = \"hush-hush-hush-hush\"");
    assert!(!format!("{loaded:?}").contains("hush"));
    let listing = listing(&loaded.config, &loaded.layers);
    assert!(listing.contains("admin.token = \"***\"") && !listing.contains("hush"), "{listing}");
}

#[test]
fn debug_output_keeps_secrets_too() {
    let loaded = loaded("workers.env.API_KEY = \"hush\"\nworkers.env.PLAIN = \"seen\"");
    let debug = format!("{loaded:?}");
    assert!(!debug.contains("hush") && debug.contains("seen"), "{debug}");
}

#[test]
fn auto_said_aloud_is_still_called_auto() {
    let listing = shown("workers.concurrency = \"auto\"");
    let line = listing.lines().find(|line| line.starts_with("workers.concurrency")).unwrap();
    assert!(line.starts_with("workers.concurrency = 100 ") && line.ends_with(":1 (auto)"), "{line}");
}

#[test]
fn the_summary_counts_in_words() {
    assert_eq!(summary(&loaded("").config), "2 workers × 100 slots, port 9000");
    assert_eq!(summary(&loaded("workers.sockets = [\"/a\"]").config), "1 socket × 1 slot, port 9000");
}
