//! What documents name exists, and what exists is in its document.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use warmfront::admin::families;
use warmfront::config::keys::{KEYS, Key};
use warmfront::exit::ExitCode;
use warmfront::fastcgi::fault::PhpFault;
use warmfront::http1::framing::FramingFault;
use warmfront::http1::request::Refused;
use warmfront::http1::target::TargetFault;
use warmfront::id::RequestId;
use warmfront::noslate::fault::{FaultKind, PlaneFault};
use warmfront::proxy::admission::Refusal;
use warmfront::proxy::exchange::Cause;
use warmfront::proxy::reply::LocalReply;

use crate::source::{files_below, read, relative, root, sources};

#[test]
fn every_answer_of_our_own_has_a_row_in_the_errors_page() {
    let page = read("docs/errors.md");
    let id = RequestId::sanitised(b"1");
    let second = Duration::from_secs(1);
    let refusals = [
        Refusal::QueueFull { depth: 1 },
        Refusal::QueueBytes { bytes: 1 },
        Refusal::Late { timeout: second },
        Refusal::NotStarted,
        Refusal::Stopping,
    ];
    let causes = [
        Cause::Connect(std::io::ErrorKind::ConnectionRefused.into()),
        Cause::Closed,
        Cause::Protocol(std::io::ErrorKind::InvalidData.into()),
        Cause::BadResponse(warmfront::http1::response::BadResponse::Malformed),
        Cause::BadBody(warmfront::http1::chunked::ChunkFault::Size),
        Cause::SlowBody(second),
        Cause::LargeBody(1),
    ];
    let faults = FaultKind::ALL.map(|kind| Cause::Plane(PlaneFault::new(kind)));
    let of_php = PhpFault::all().map(Cause::Php);
    let heads = [
        Refused::Malformed("request line"),
        Refused::Framing(FramingFault::BadLength),
        Refused::Framing(FramingFault::UnknownCoding),
        Refused::Host,
        Refused::HostValue,
        Refused::HostConflict,
        Refused::Target(TargetFault::Form),
        Refused::Version,
        Refused::TargetTooLong,
        Refused::HeadTooLong,
        Refused::TooManyFields,
        Refused::Connect,
    ];
    let replies = refusals
        .iter()
        .map(|refusal| LocalReply::refused(refusal, 1, id))
        .chain(causes.iter().chain(&faults).chain(&of_php).map(|cause| LocalReply::failed(cause, id)))
        .chain(heads.iter().map(|head| LocalReply::malformed(head, id)))
        .chain(std::iter::once(LocalReply::slow_head(second, id)))
        .chain(std::iter::once(LocalReply::last_hop(b"OPTIONS * HTTP/1.1\r\n\r\n", id)));
    for reply in replies {
        let reason = reply.reason.split('=').next().unwrap_or_default();
        let row = |line: &str| {
            line.starts_with(&format!("| {} |", reply.status)) && line.contains(&format!("`{reason}"))
        };
        assert!(page.lines().any(row), "docs/errors.md has no row `| {} | … `{reason}` …`", reply.status);
    }
    for exit in [
        ExitCode::Done,
        ExitCode::Bug,
        ExitCode::Usage,
        ExitCode::WorkersUnavailable,
        ExitCode::SystemRefused,
        ExitCode::CutOff,
        ExitCode::BadConfig,
    ] {
        let row = format!("| {} | ", exit.code());
        assert!(
            page.lines().any(|line| line.starts_with(&row)),
            "docs/errors.md has no exit code row `{row}`"
        );
    }
}

#[test]
fn every_limit_named_in_a_document_is_a_key() {
    let sections: BTreeSet<&str> =
        KEYS.iter().filter_map(|key| key.path.split_once('.')).map(|(section, _)| section).collect();
    for (place, code) in quoted_words() {
        let name = code.split(['=', ' ']).next().unwrap_or_default();
        let looks_like_a_key = name.split_once('.').is_some_and(|(section, key)| {
            sections.contains(section) && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        });
        assert!(
            !looks_like_a_key || Key::find(name).is_some() || name.ends_with(".rs"),
            "{place}: `{name}` is no configuration key"
        );
    }
}

#[test]
fn every_test_and_file_named_by_a_document_exists() {
    let folders = ["src", "tests", "loadtest"];
    let tests: BTreeSet<String> =
        folders.into_iter().flat_map(sources).flat_map(|file| file.functions()).collect();
    let mut named = 0;
    for (place, code) in quoted_words() {
        let (name, is_pending) = match code.strip_prefix("pending ") {
            Some(name) => (name, true),
            None => (code.as_str(), false),
        };
        let is_sentence = name.matches('_').count() >= 3
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if is_sentence && families::ALL.iter().all(|family| family.name != name) {
            named += 1;
            let exists = tests.contains(name);
            assert!(exists || is_pending, "{place}: there is no test `{name}`");
            assert!(!(exists && is_pending), "{place}: `{name}` exists now; drop the word pending");
        }
        let starts = ["src/", "tests/", "docs/", "configs/", "scripts/", "loadtest/", "benches/"];
        if starts.iter().any(|start| code.starts_with(start)) && !code.contains([' ', '*', '{']) {
            assert!(root().join(&code).exists(), "{place}: there is no file `{code}`");
        }
    }
    assert!(named > 20, "only {named} tests are named: promises need their tests");
}

/// What stands in backticks in the documents, with its place; fenced blocks are examples and left out.
fn quoted_words() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for document in documents() {
        let mut is_fenced = false;
        for (index, line) in read(&document).lines().enumerate() {
            is_fenced ^= line.trim_start().starts_with("```");
            if !is_fenced {
                let codes = line.split('`').skip(1).step_by(2);
                found.extend(codes.map(|code| (format!("{document}:{}", index + 1), code.to_owned())));
            }
        }
    }
    found
}

/// Everything written for people in this repository, as paths from its root.
fn documents() -> Vec<String> {
    let top = fs::read_dir(root()).expect("the root").filter_map(Result::ok).map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        top.filter(|path| path.is_file()).chain(files_below(&root().join("docs"))).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found.sort();
    found.iter().map(|path| relative(path)).collect()
}
