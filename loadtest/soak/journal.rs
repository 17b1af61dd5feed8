//! What a worker did, noted before it did it, in a file that outlives it.
//!
//! One file per life, one line per event, one `write` per line: what the kernel
//! has taken survives any end of the process. A line is
//! `<nanoseconds since 1970> <letter> <facts>`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::fault::Fault;
use super::method::Method;

/// Nanoseconds since 1970: clients and workers are on one machine and share the clock.
pub(super) fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

/// Something that a worker did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It has read the whole head of request `id` on its connection `on`.
    Executed { id: u64, method: Method, on: u64 },
    /// It is about to answer `id` with a body that only the close ends.
    UntilClose { id: u64 },
    /// It has handed the whole answer to `id` to the kernel.
    Ended { id: u64 },
    /// The body of `id` ended too early.
    BrokenOff { id: u64 },
    /// It is about to mistreat `id`.
    Mistreats { id: u64, fault: Fault, on: u64 },
    /// It is about to do something that no single request asked for.
    Unasked { fault: Fault },
    /// The process is about to end.
    Dies,
    /// The sidecar broke a promise.
    Accuses(String),
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// Nanoseconds since 1970.
    pub(super) at: u64,
    pub(super) what: What,
}

/// All that one process did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Life {
    /// Its place in the pool, from 1.
    pub(super) worker: u32,
    pub(super) events: Vec<Event>,
}

/// Where a living worker writes.
#[derive(Debug)]
pub(super) struct Journal(File);

impl Journal {
    /// A new file in `dir` for this process.
    pub(super) fn open(dir: &Path, worker: u32) -> io::Result<Self> {
        let name = format!("{worker}-{}-{}.journal", now_ns(), std::process::id());
        File::options().append(true).create_new(true).open(dir.join(name)).map(Self)
    }

    /// Notes what is about to happen.
    pub(super) fn note(&self, what: &What) {
        let line = format!("{} {}\n", now_ns(), to_text(what));
        if let Err(error) = (&self.0).write_all(line.as_bytes()) {
            // A worker without a journal would turn its own faults into accusations.
            let _ = writeln!(io::stderr(), "the journal cannot be written: {error}");
            std::process::abort();
        }
    }
}

fn to_text(what: &What) -> String {
    match what {
        What::Executed { id, method, on } => format!("x {id} {} {on}", method.name()),
        What::UntilClose { id } => format!("u {id}"),
        What::Ended { id } => format!("e {id}"),
        What::BrokenOff { id } => format!("b {id}"),
        What::Mistreats { id, fault, on } => format!("f {id} {} {on}", fault.name()),
        What::Unasked { fault } => format!("o {}", fault.name()),
        What::Dies => "d".to_owned(),
        What::Accuses(what) => format!("! {}", what.replace('\n', " ")),
    }
}

/// `None`: no line of a journal.
fn parse(line: &str) -> Option<Event> {
    let (at, rest) = line.split_once(' ')?;
    let (letter, facts) = rest.split_once(' ').unwrap_or((rest, ""));
    let words: Vec<&str> = facts.split(' ').collect();
    let number = |index: usize| words.get(index)?.parse().ok();
    let what = match letter {
        "x" => What::Executed { id: number(0)?, method: Method::named(words.get(1)?)?, on: number(2)? },
        "u" => What::UntilClose { id: number(0)? },
        "e" => What::Ended { id: number(0)? },
        "b" => What::BrokenOff { id: number(0)? },
        "f" => What::Mistreats { id: number(0)?, fault: Fault::named(words.get(1)?)?, on: number(2)? },
        "o" => What::Unasked { fault: Fault::named(words.first()?)? },
        "d" => What::Dies,
        "!" => What::Accuses(facts.to_owned()),
        _ => return None,
    };
    Some(Event { at: at.parse().ok()?, what })
}

/// All journals in `dir`, in no order.
///
/// # Errors
/// They cannot be read, or hold something else.
pub(super) fn read_all(dir: &Path) -> io::Result<Vec<Life>> {
    let mut lives = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(worker) =
            name.strip_suffix(".journal").and_then(|name| name.split('-').next()?.parse().ok())
        else {
            continue;
        };
        let text = fs::read_to_string(&path)?;
        let mut events = Vec::new();
        for line in text.lines() {
            events.push(parse(line).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{name}: no journal line: {line:.80}"))
            })?);
        }
        lives.push(Life { worker, events });
    }
    Ok(lives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path(), 3).unwrap();
        let mut noted = vec![
            What::Executed { id: 7, method: Method::Put, on: 2 },
            What::UntilClose { id: 7 },
            What::Ended { id: u64::MAX },
            What::BrokenOff { id: 1 },
            What::Dies,
            What::Accuses("two\nlines".into()),
        ];
        noted.extend(Fault::ALL.map(|fault| What::Mistreats { id: 9, fault, on: 1 }));
        noted.extend(Fault::ALL.map(|fault| What::Unasked { fault }));
        noted.iter().for_each(|what| journal.note(what));
        noted[5] = What::Accuses("two lines".into());
        let lives = read_all(dir.path()).unwrap();
        assert_eq!(lives.len(), 1);
        assert_eq!(lives[0].worker, 3);
        let read: Vec<_> = lives[0].events.iter().map(|event| event.what.clone()).collect();
        assert_eq!(read, noted);
        assert!(lives[0].events.is_sorted_by_key(|event| event.at));
    }

    #[test]
    fn a_line_of_something_else_is_an_error_and_not_ignored() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("1-2-3.journal"), "12 x 7 PUT\n").unwrap();
        assert!(read_all(dir.path()).unwrap_err().to_string().contains("no journal line"));
    }
}
