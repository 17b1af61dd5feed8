//! Where the output of one process goes: a file of its own, or our own streams.
//!
//! A file is written by a thread of its own out of a bounded ring ([`Sink`]), so a
//! slow disk costs lines and makes no process wait. It is opened for appending, once
//! at the start and again when somebody who moved it away says so (SIGHUP).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::clock;
use crate::error::Problem;
use crate::telemetry::say;
use crate::worker::flush::Flusher;
use crate::worker::output::Manner;
use crate::worker::sink::{Sink, Written};

/// How long the end waits for lines that are on their way.
const FLUSH: Duration = Duration::from_secs(1);
/// Who may read a log: the owner and the group.
const FILE_MODE: u32 = 0o640;
const DIR_MODE: u32 = 0o750;

/// How often files are to be opened again. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Reopener(Arc<AtomicU32>);

impl Reopener {
    /// Has every file opened again before its next line.
    pub fn reopen(&self) {
        // Nothing else is published by it.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The way of one process's output.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) sink: Sink,
    pub(super) flusher: Flusher,
    /// `None` where the sink is shared and its owner waits.
    written: Option<Written>,
    is_file: bool,
}

impl Journal {
    /// To our own streams, through `sink`.
    pub(super) fn shared(sink: &Sink, flusher: &Flusher) -> Self {
        Self { sink: sink.clone(), flusher: flusher.clone(), written: None, is_file: false }
    }

    /// To the file at `path`, which is made if it is not there.
    pub(super) fn file(path: &Path, reopener: &Reopener) -> Result<Self, Problem> {
        let refused = |error: io::Error| {
            Problem::new(
                format!("The log file `{}` cannot be written: {error}.", path.display()),
                "A process's output goes there (`log` of the process, or log.process_dir).",
                "Make its directory writable for this user, or name another place.",
            )
        };
        let mut file = open(path).map_err(refused)?;
        let (path, theirs) = (path.to_owned(), reopener.clone());
        let mut seen = theirs.0.load(Ordering::Relaxed);
        let mut is_failing = false;
        let (sink, written) = Sink::saying("the file did not take them in time", move |_, line| {
            let asked = theirs.0.load(Ordering::Relaxed);
            if asked != seen {
                seen = asked;
                match open(&path) {
                    Ok(new) => file = new,
                    Err(error) => say::error(format_args!(
                        "{}: cannot be opened again, the old file goes on: {error}",
                        path.display()
                    )),
                }
            }
            let result = file.write_all(line);
            // Said once until it works again: a full disk would fill the log.
            if let (Err(error), false) = (&result, is_failing) {
                say::error(format_args!("{}: lines are lost: {error}", path.display()));
            }
            is_failing = result.is_err();
        })
        .map_err(refused)?;
        Ok(Self { flusher: Flusher::of(&sink), sink, written: Some(written), is_file: true })
    }

    /// What its lines look like.
    pub(super) fn manner<'a>(&self, name: &'a str) -> Manner<'a> {
        if self.is_file { Manner::Plain } else { Manner::Named(name) }
    }

    /// Waits until its lines were written, with a bound.
    pub(super) async fn close(self) {
        let Self { sink, written, .. } = self;
        drop(sink);
        if let Some(written) = written {
            let _ = clock::timeout(FLUSH, written).await;
        }
    }
}

/// Makes the directory of log files, unless it is there.
pub(super) fn make_dir(path: &Path) -> Result<(), Problem> {
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(path).map_err(|error| {
        Problem::new(
            format!("The log directory `{}` cannot be made: {error}.", path.display()),
            "Processes that name no file have their log there (log.process_dir).",
            "Set log.process_dir to a directory that this user may write to.",
        )
    })
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)
}
