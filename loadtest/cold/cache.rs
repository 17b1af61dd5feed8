//! The page cache: what a program reads at its start is there from the last time, or has to come from the disk.

use std::fs;
use std::io;

/// Takes `3` for pages, directory entries and inodes; root only.
const SWITCH: &str = "/proc/sys/vm/drop_caches";

/// Drops the whole machine's cache, which slows everybody on it down for a while.
///
/// # Errors
/// Not permitted.
pub(crate) fn drop_all() -> io::Result<()> {
    fs::write(SWITCH, "3")
}

/// Why the cache cannot be dropped here, if so; drops nothing.
pub(crate) fn refusal() -> Option<String> {
    let opened = fs::OpenOptions::new().write(true).open(SWITCH);
    opened.err().map(|error| {
        format!(
            "the page cache cannot be dropped: {SWITCH}: {error}; run as root on a machine that allows it"
        )
    })
}
