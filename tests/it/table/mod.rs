//! A table of attacks and promises, each with its exact bytes, played against the built binary.
//!
//! One category is one file with one test. `WARMFRONT_CASE=name cargo test --test it table::` plays one
//! case alone; `WARMFRONT_BLESS=1 cargo test --test it table::` rewrites `docs/cases.md`.
//!
//! The expectations come from the RFCs, published attacks and the house rules (`docs/errors.md`), not
//! from what the code does.

mod absolute_form;
mod ambiguous;
mod answers;
mod bodies;
mod case;
mod chunks;
mod codings;
mod connection;
mod expect;
mod fields;
mod host;
mod lengths;
mod limits;
mod max_forwards;
mod pieces;
mod pipelining;
mod play;
mod pool;
mod request_line;
mod strict;
mod targets;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use case::Case;

/// Fewer cases mean that some were lost.
const CASES_MIN: usize = 1_350;

/// What the sidecar of cases with small limits is told.
const SMALL: [(&str, &str); 5] = [
    ("limits.head_bytes", "1KiB"),
    ("limits.target_bytes", "64"),
    ("limits.fields", "16"),
    ("limits.discard_bytes", "1KiB"),
    ("limits.buffer_bytes", "4KiB"),
];

type Category = (&'static str, fn() -> Vec<Case>);

/// Every category, in the order of a message.
const CATEGORIES: &[Category] = &[
    ("request line and version", request_line::cases),
    ("targets", targets::cases),
    ("absolute targets and hosts", absolute_form::cases),
    ("Host", host::cases),
    ("field lines", fields::cases),
    ("Content-Length", lengths::cases),
    ("Transfer-Encoding", codings::cases),
    ("length and coding at once", ambiguous::cases),
    ("chunks", chunks::cases),
    ("Connection and its like", connection::cases),
    ("Max-Forwards", max_forwards::cases),
    ("pipelining", pipelining::cases),
    ("Expect and interim answers", expect::cases),
    ("Upgrade", upgrade::cases),
    ("heads of answers", answers::cases),
    ("bodies of answers", bodies::cases),
    ("connections to workers", pool::cases),
    ("limits", limits::cases),
    ("segments", pieces::cases),
];

#[test]
fn every_case_has_a_name_of_its_own_and_none_is_lost() {
    let mut names = BTreeSet::new();
    for (category, cases) in CATEGORIES {
        let cases = cases();
        println!("{category}: {} cases", cases.len());
        for case in cases {
            assert!(!case.reference.is_empty() && !case.steps.is_empty(), "{}", case.name);
            assert!(names.insert(case.name.clone()), "two cases are called {}", case.name);
        }
    }
    println!("{} cases", names.len());
    assert!(names.len() >= CASES_MIN, "only {} cases", names.len());
    if let Ok(one) = std::env::var(play::ONE) {
        assert!(names.contains(&one), "no case is called {one}");
    }
}

#[test]
fn the_page_of_cases_says_what_the_table_holds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cases.md");
    let wanted = page();
    if std::env::var_os("WARMFRONT_BLESS").is_some() {
        fs::write(&path, &wanted).expect("docs/cases.md is writable");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/cases.md does not say what tests/it/table holds; run: WARMFRONT_BLESS=1 cargo test --test it table::"
    );
}

/// `docs/cases.md`, whole.
fn page() -> String {
    let mut page = String::from(
        "# Cases\n\n\
         <!-- Generated from tests/it/table: WARMFRONT_BLESS=1 cargo test --test it table:: -->\n\n\
         Each case is a script of exact bytes, played against the built binary: what the client sends, what\n\
         the worker must get (or that it gets nothing), what it answers, what the client must get, and which\n\
         connections are used again. Behind every case further requests show that nothing was left over, and\n\
         a strict reader that shares no code with the proxy counts the requests.\n\n\
         | category | cases | sources |\n|---|---|---|\n",
    );
    let mut total = 0;
    for (category, cases) in CATEGORIES {
        let cases = cases();
        total += cases.len();
        let mut sources: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for case in &cases {
            for part in case.reference.split(", ") {
                // Sections of one document stand together.
                let (document, section) = match part.split_once(" §") {
                    Some((document, section)) => (document.to_owned(), format!("§{section}")),
                    None => (part.to_owned(), String::new()),
                };
                sources.entry(document).or_default().insert(section);
            }
        }
        let text: Vec<String> = sources
            .into_iter()
            .map(|(document, sections)| {
                let sections: Vec<String> = sections.into_iter().filter(|it| !it.is_empty()).collect();
                [&document, " ", &sections.join(" ")].concat().trim_end().to_owned()
            })
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| {category} | {} | {} |", cases.len(), text.join(", "));
    }
    let _ = writeln!(page, "| all | {total} | |");
    page
}
