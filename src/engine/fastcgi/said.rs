//! What a script says beside its answer (STDERR), as entries of the log: each with its request's id.

use std::io::Write as _;

use crate::telemetry::say;
use crate::upstream::pool::Worker;

/// Bytes of one entry; more begin another.
const ENTRY_BYTES: usize = 16 << 10;

/// How php-fpm begins each message of PHP.
const MESSAGE: &[u8] = b"PHP message: ";

/// Bytes that wait for the end of their record.
#[derive(Debug, Default)]
pub(super) struct Said {
    id: String,
    bytes: Vec<u8>,
}

impl Said {
    /// Of the request with this id.
    pub(super) fn of(id: &[u8]) -> Self {
        Self { id: String::from_utf8_lossy(id).into_owned(), bytes: Vec::new() }
    }

    /// Takes bytes of a record; `is_last`: all of it is here.
    pub(super) fn take(&mut self, bytes: &[u8], is_last: bool, worker: &Worker) {
        self.bytes.extend_from_slice(bytes);
        if is_last || self.bytes.len() >= ENTRY_BYTES {
            self.let_go(worker);
        }
    }

    /// Writes entries of what is here. php-fpm begins each message with the same words and puts them on one line; what
    /// stands below one, as the calls of a trace do, belongs to it and is indented, so that it cannot pass for an
    /// entry of its own.
    fn let_go(&mut self, worker: &Worker) {
        let bytes = apart(&std::mem::take(&mut self.bytes));
        let mut entry: Vec<u8> = Vec::new();
        let mut lines = 0;
        for line in
            bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty())
        {
            if line.starts_with(MESSAGE) && lines > 0 {
                say_for(worker, std::mem::take(&mut entry), lines);
                lines = 0;
            }
            if lines == 0 {
                // Writing to a Vec cannot fail.
                let _ = write!(entry, "{} {} [w{}] ", say::utc_now(), self.id, worker.id);
            } else {
                entry.push(b' ');
            }
            entry.extend(
                line.iter().map(|byte| if byte.is_ascii_control() && *byte != b'\t' { b'?' } else { *byte }),
            );
            entry.push(b'\n');
            lines += 1;
        }
        if lines > 0 {
            say_for(worker, entry, lines);
        }
    }
}

/// `bytes` with each message on a line of its own.
fn apart(bytes: &[u8]) -> Vec<u8> {
    let between = [b"; ", MESSAGE].concat();
    let mut apart = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(between.len()).position(|window| window == between) {
        apart.extend_from_slice(&rest[..at]);
        apart.push(b'\n');
        rest = &rest[at + 2..];
    }
    apart.extend_from_slice(rest);
    apart
}

fn say_for(worker: &Worker, entry: Vec<u8>, lines: u64) {
    if let Some(entry) = worker.say(entry, lines) {
        // Nobody reads this worker's own lines, so there is no queue for them.
        say::entry(&entry);
    }
}
