//! What the tests act with: the built sidecar, a client that speaks raw bytes,
//! and a worker that does exactly what a test tells it.
//!
//! Client and worker are driven from the test's own thread wherever order
//! matters: sockets buffer, so "the client sends, the worker reads, the worker
//! answers, the client reads" needs no threads and cannot race.

pub(crate) mod admin;
pub(crate) mod bare;
pub(crate) mod client;
#[cfg(feature = "otlp")]
pub(crate) mod collector;
pub(crate) mod freeze;
pub(crate) mod h2;
pub(crate) mod peer;
pub(crate) mod sidecar;
pub(crate) mod wire;
pub(crate) mod worker;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::{Duration, Instant};

pub(crate) use bare::Bare;
pub(crate) use client::Client;
pub(crate) use peer::Peer;
pub(crate) use sidecar::{Setup, Sidecar, engine, with_engine};
pub(crate) use wire::{End, Response};
pub(crate) use worker::{Connection, Worker};

/// No test waits longer than this for anything that should happen at once.
pub(crate) const GUARD: Duration = Duration::from_secs(10);

/// An id that a request carries so that nothing is added to its head on the way.
pub(crate) const ID: &str = "1-68a1b2c3-0123abcd-0123456789ab";

/// A GET that passes the sidecar unchanged.
pub(crate) fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\n\r\n")
}

/// A POST with a length that passes the sidecar unchanged.
pub(crate) fn post(target: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A 200 with a length.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A file of the sample applications, whose packages are installed.
pub(crate) fn app(file: &str) -> PathBuf {
    static PACKAGES: Once = Once::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // `./test` has done this already; a plain `cargo test` has not.
    PACKAGES.call_once(|| {
        let setup = Command::new(root.join("scripts/setup-tests")).output().expect("bash runs");
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stderr));
    });
    root.join("tests/apps").join(file)
}

/// Looks until `look` finds something; panics with `what` when [`GUARD`] is over.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < GUARD, "not seen in time: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `measure` gives the same number for a quarter of a second.
pub(crate) fn settled(what: &str, mut measure: impl FnMut() -> u64) -> u64 {
    let mut last = (measure(), Instant::now());
    eventually(what, || {
        let now = measure();
        if now != last.0 {
            last = (now, Instant::now());
        }
        (last.1.elapsed() > Duration::from_millis(250)).then_some(now)
    })
}

/// `len` bytes that differ from place to place with a period no buffer size divides.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let block: Vec<u8> = (0..65_537)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    block.iter().copied().cycle().take(len).collect()
}
