//! The fuzz targets without a fuzzer: every input in `fuzz/corpus/`, and some thousand mutations.
//!
//! The promises are those of `fuzz/src/` (docs/fuzzing.md says what they are); coverage-guided search
//! for inputs that break them is `scripts/fuzz`.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its inputs fails")]

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

#[path = "../fuzz/src/lib.rs"]
#[allow(dead_code, unreachable_pub, reason = "a library of its own")]
mod oracle;

use oracle::{TARGETS, Target, reasons};

/// Mutated inputs for each target: together about two seconds in a debug build.
const MUTATIONS: u32 = 2000;

fn corpus(target: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read =
        |path: &Path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap());
    entries.map(|entry| read(&entry.unwrap().path())).collect()
}

/// The words of the dictionary that the fuzzer uses as well.
fn words() -> Vec<Vec<u8>> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/http.dict")).unwrap();
    let word = |line: &str| {
        let (mut rest, mut bytes) = (line.trim_matches('"'), Vec::new());
        while let Some(first) = rest.bytes().next() {
            let escaped = rest.strip_prefix("\\x").map(|after| after.split_at(2));
            rest = match escaped {
                Some((digits, after)) => {
                    bytes.push(u8::from_str_radix(digits, 16).unwrap());
                    after
                }
                None => {
                    bytes.push(first);
                    &rest[1..]
                }
            };
        }
        bytes
    };
    text.lines().filter(|line| line.starts_with('"')).map(word).collect()
}

/// What is wrong with `target` on this input, if anything.
fn fault(target: Target, input: &[u8]) -> Option<String> {
    let broken = catch_unwind(AssertUnwindSafe(|| target(input))).err()?;
    let text = broken.downcast_ref::<String>().cloned();
    Some(text.or_else(|| broken.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
}

#[test]
fn every_input_of_the_corpus_keeps_the_promises_of_its_target() {
    let mut faults = Vec::new();
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(corpus.len() > 20, "{name}: the corpus is missing");
        for (file, input) in corpus {
            faults.extend(fault(target, &input).map(|why| format!("{name}/{file}: {why}")));
        }
    }
    assert!(faults.is_empty(), "{} inputs:\n{}", faults.len(), faults.join("\n"));
}

/// A change to an input: at a place, in thousandths of its length.
#[derive(Clone, Debug)]
enum Mutation {
    Set(u16, u8),
    Remove(u16, u8),
    Repeat(u16, u8),
    Word(u16, prop::sample::Index),
    Splice(u16, prop::sample::Index, u16),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = || 0_u16..1000;
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (at(), 1_u8..20).prop_map(|(at, count)| Mutation::Remove(at, count)),
        (at(), 1_u8..40).prop_map(|(at, count)| Mutation::Repeat(at, count)),
        (at(), index()).prop_map(|(at, word)| Mutation::Word(at, word)),
        (at(), index(), at()).prop_map(|(at, other, from)| Mutation::Splice(at, other, from)),
    ]
}

fn place(thousandths: u16, len: usize) -> usize {
    usize::from(thousandths) * len / 1000
}

fn mutate(input: &mut Vec<u8>, mutation: &Mutation, words: &[Vec<u8>], inputs: &[Vec<u8>]) {
    let len = input.len();
    match mutation {
        Mutation::Set(at, byte) => {
            if let Some(found) = input.get_mut(place(*at, len)) {
                *found = *byte;
            }
        }
        Mutation::Remove(at, count) => {
            let at = place(*at, len);
            input.drain(at..(at + usize::from(*count)).min(len));
        }
        Mutation::Repeat(at, count) => {
            let at = place(*at, len);
            let part = input[at..(at + usize::from(*count)).min(len)].to_vec();
            input.splice(at..at, part);
        }
        Mutation::Word(at, word) => {
            let at = place(*at, len);
            input.splice(at..at, word.get(words).iter().copied());
        }
        Mutation::Splice(at, other, from) => {
            let other = other.get(inputs);
            input.truncate(place(*at, len));
            input.extend_from_slice(&other[place(*from, other.len())..]);
        }
    }
}

#[test]
fn mutations_of_the_corpus_keep_the_promises_of_their_target() {
    let words = words();
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut faults = Vec::new();
    for (name, target) in TARGETS {
        let inputs: Vec<Vec<u8>> = corpus(name).into_values().collect();
        let mut runner =
            TestRunner::new(Config { cases: MUTATIONS, failure_persistence: None, ..Config::default() });
        let strategy = (any::<prop::sample::Index>(), prop::collection::vec(mutation(), 1..5));
        let result = runner.run(&strategy, |(first, mutations)| {
            let mut input = first.get(&inputs).clone();
            mutations.iter().for_each(|mutation| mutate(&mut input, mutation, &words, &inputs));
            match fault(target, &input) {
                Some(why) => {
                    Err(TestCaseError::fail(format!("{:?}: {why}", String::from_utf8_lossy(&input))))
                }
                None => Ok(()),
            }
        });
        faults.extend(result.err().map(|error| format!("{name}: {error}")));
    }
    std::panic::set_hook(quiet);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_reason_to_disagree_is_explained_in_the_fuzzing_page() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fuzzing.md")).unwrap();
    for name in reasons::names() {
        assert!(page.contains(&format!("| `{name}` |")), "docs/fuzzing.md has no row for `{name}`");
    }
}
