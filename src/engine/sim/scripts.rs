//! The fuzz target `connection` without a fuzzer: every script in its corpus, and mutations of them.
//!
//! It is a test of this package because the simulation is compiled for those and for fuzzing only.

use std::fs;
use std::path::Path;

use oracle::connection::connection;

use super::script::play as play_script;

#[path = "../../../fuzz/src"]
#[allow(dead_code, unreachable_pub, reason = "parts of a library of their own")]
mod oracle {
    mod chance;
    pub mod connection;
    mod reasons;
    mod reference;
    mod travelling;
}

/// Mutations of each script: together some seconds in a debug build.
const MUTATIONS: usize = 40;

fn scripts() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/connection");
    let named = |path: &Path| (path.display().to_string(), fs::read(path).unwrap());
    fs::read_dir(folder).unwrap().map(|entry| named(&entry.unwrap().path())).collect()
}

fn play(name: &str, script: &[u8]) -> Option<String> {
    let played = std::panic::catch_unwind(|| connection(script));
    played.err().map(|_| format!("{name}: {:?}", String::from_utf8_lossy(script)))
}

#[test]
fn a_script_is_played_as_it_is_written() {
    let script =
        b"CGET / HTTP/1.1\r\nHost: a\r\n\r\n\xffWHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\xffE";
    for seed in [None, Some(3)] {
        let played = play_script(script, seed);
        assert_eq!((played.clients.len(), played.workers.len(), played.faults.len()), (1, 1, 0));
        assert!(played.workers[0].received.starts_with(b"GET / HTTP/1.1\r\nHost: a\r\nx-fc-request-id: "));
        assert_eq!(played.clients[0].received, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(played.clients[0].ended, None, "it was kept alive");
    }
}

#[test]
fn every_script_of_the_corpus_keeps_the_promises_of_a_connection() {
    let scripts = scripts();
    assert!(scripts.len() > 20, "the corpus is missing");
    let faults: Vec<String> = scripts.iter().filter_map(|(name, script)| play(name, script)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn mutated_scripts_keep_them_as_well() {
    let scripts = scripts();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut faults = Vec::new();
    for (name, script) in &scripts {
        for _ in 0..MUTATIONS {
            let mut mutant = script.clone();
            for _ in 0..rng.usize(1..4) {
                let (at, other) = (rng.usize(..=mutant.len()), &scripts[rng.usize(..scripts.len())].1);
                match rng.u8(..4) {
                    0 => mutant.truncate(at),
                    1 => mutant.extend_from_slice(&other[rng.usize(..=other.len())..]),
                    2 => drop(mutant.splice(at..at, [0xff, *rng.choice(b"CNFXWVEKTD").unwrap_or(&b'C')])),
                    _ => mutant.iter_mut().skip(at).take(1).for_each(|byte| *byte = rng.u8(..)),
                }
            }
            faults.extend(play(name, &mutant));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
