//! The table of docs/fc.md: every requirement of the platform's contract with the tests that bear its number.
//!
//! `WARMFRONT_BLESS=1 cargo test --test fc_table` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What the platform's contract asks of a running sidecar, in the order of its list.
const REQUIREMENTS: [&str; 38] = [
    "the port is bound before any worker is started, within 100 ms",
    "connects that send nothing leave nothing",
    "requests wait for the first worker, bounded, in order; after the start limit 503",
    "a command that cannot be executed, or a port that is taken, ends the start with its cause",
    "the binary can be `/code/bootstrap`, configured by variables or a file beside it",
    "workers get the user's command, environment and directory, and are told where to listen",
    "no idle timeout, request cap or lifetime; nothing closes first",
    "no total timeout",
    "the connection stays usable behind every answer of our own",
    "HTTP/1.1 whole; ambiguous framing is refused with 400",
    "64 KiB of headers, long targets, empty values, duplicates: names, values, order and target unchanged",
    "32 MiB bodies stream both ways in bounded memory",
    "hooks, events and application traffic are told apart",
    "hooks are answered here; a failure is 404, a restart only by choice",
    "`/pre-stop` drains, `/pre-freeze` flushes; both within their bounds",
    "a local health path, true to the pool, without a slot",
    "hooks and health checks do not count; more requests than slots wait",
    "no idle worker connection from before a freeze is trusted: 0 failures in 100",
    "only what no worker can have executed is replayed, or what may be repeated",
    "a thaw is noticed, and no deadline strikes because of it",
    "an early answer arrives, and the body stops",
    "each chunk leaves as it comes; answers that last until close become chunks",
    "`Upgrade` is a tunnel with half-close and without timeouts",
    "HTTP/2 without TLS on the same port, trailers and gRPC included",
    "a cancel reaches the worker within 100 ms and frees its slot",
    "a worker's death costs its own requests only; it comes back",
    "our own errors are failed invocations; workers' answers only by choice",
    "an answer's head over 8 KB is warned of",
    "as PID 1 it reaps everybody, drains on TERM, and leaves",
    "few threads, few descriptors, bounded memory at 200 requests",
    "hop-by-hop fields end here; Host, forwarding and tracing fields pass",
    "the request id passes, or is made, is safe to log, and stands in our own errors",
    "header policies towards workers, off by default",
    "log lines are dated, whole, bounded, complete, and out before the last byte",
    "markers, byte for byte",
    "workers' lines pass whole, with the request they belong to",
    "counters for those who run it, not on the platform's port",
    "independent clients, freezes, kills and 200 at once, each against the same without a sidecar",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "node_modules" && name != "apps") {
            files_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Names of the tests that bear a number, by number.
fn numbered() -> BTreeMap<usize, Vec<String>> {
    let mut files = Vec::new();
    ["src", "tests"].iter().for_each(|folder| files_below(&root().join(folder), &mut files));
    let mut tests: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a text");
        for line in
            text.lines().filter_map(|line| line.trim_start().split_once("fn fc").map(|(_, rest)| rest))
        {
            let Some((name, _)) = line.split_once('(') else { continue };
            // A name may bear several numbers: `fc07_fc08_…`.
            for part in format!("fc{name}").split('_').map_while(|word| word.strip_prefix("fc")?.parse().ok())
            {
                tests.entry(part).or_default().push(format!("fc{name}"));
            }
        }
    }
    tests.values_mut().for_each(|names| names.sort());
    tests
}

#[test]
fn every_requirement_has_tests_that_bear_its_number_and_the_table_names_them() {
    let tests = numbered();
    let mut table = String::from("| | requirement | tests |\n|---|---|---|\n");
    for (number, requirement) in (1..).zip(REQUIREMENTS) {
        let names =
            tests.get(&number).unwrap_or_else(|| panic!("requirement {number} has no test: {requirement}"));
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        writeln!(table, "| {number} | {requirement} | {} |", names.join(", ")).expect("a String");
    }
    let last = tests.last_key_value().expect("some").0;
    assert!(*last <= REQUIREMENTS.len(), "there is no requirement {last}");
    let path = root().join("docs/fc.md");
    let page = fs::read_to_string(&path).expect("docs/fc.md");
    let (above, found) = page.split_once("## Requirements\n\n").expect("a heading for the table");
    if std::env::var_os("WARMFRONT_BLESS").is_some() {
        fs::write(&path, format!("{above}## Requirements\n\n{table}")).expect("writable");
    } else {
        assert!(
            found == table,
            "docs/fc.md is not up to date; run: WARMFRONT_BLESS=1 cargo test --test fc_table"
        );
    }
}
