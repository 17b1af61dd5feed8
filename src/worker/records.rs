//! Lines to records: a stack trace is one entry of the log, not forty.
//!
//! The platform glues lines without a date to the dated one before (FC contract §6).
//! So a record is a first line, which gets our date, and the lines that belong to it,
//! which get none, and goes out by one write. What belongs together is known from how
//! Node, Python, Java, Go, PHP, Ruby, .NET and Rust print their traces; whatever is not
//! known is a line of its own, as it would be without us. Pure.
//!
//! No line behind the first can pass for anything else at the start of a line: neither
//! for a marker of the platform (`FC Invoke End …`) nor for an entry with a forged date.
//! It begins with whitespace, its own or a space that we put in front, or is empty; and
//! one that the platform would take for dated becomes a record of its own.

use std::fmt::Display;

use super::lines::PIECE_BYTES;
use super::stamp::Candidates;

/// One entry of the log without its frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// When its first line came.
    pub(super) date: String,
    /// Who can have written any of its lines.
    pub(super) who: Candidates,
    /// Its lines, without the last newline.
    pub(super) text: Vec<u8>,
    /// How many they are.
    pub(super) lines: u64,
}

/// The record that may still grow.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    open: Option<Record>,
    block: Block,
    after_indented: bool,
}

/// Inside of what the last line was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Block {
    /// Nothing that is known.
    #[default]
    Plain,
    /// Source code with a caret below, by Node or Python; the error follows.
    Caret,
    /// The calls of a Python traceback; the exception follows.
    PythonCalls,
    /// A Python exception, and the blank line behind it.
    Python,
    PythonGap,
    /// `During handling of the above exception …`; another traceback follows.
    PythonChain,
    /// A Go panic, whose goroutines follow.
    GoPanic,
    /// One goroutine.
    Goroutine,
    /// A PHP stack, and the blank line behind it.
    Php,
    PhpGap,
    /// A Rust panic, whose message follows.
    RustPanic,
}

const TRACEBACK: &[u8] = b"Traceback (most recent call last):";

impl Joiner {
    /// Takes a line. Returns the record that it has ended, if it does not belong to that.
    pub(super) fn push(&mut self, line: &[u8], who: Candidates, date: &impl Display) -> Option<Record> {
        let mut next = None;
        if let Some(open) = &mut self.open {
            // Lines that nobody can have written both are of two requests, whatever they look like.
            if !open.who.exclude(&who) {
                next = follows(self.block, line, self.after_indented);
            }
            if next.is_some() && open.text.len() + "\n ".len() + line.len() <= PIECE_BYTES {
                open.who.merge(&who);
                open.lines += 1;
                open.text.push(b'\n');
                if !line.is_empty() && !is_indented(line) {
                    open.text.push(b' ');
                }
                open.text.extend_from_slice(line);
                self.remember(next.unwrap_or_default(), line);
                return None;
            }
        }
        // One that is only too long goes on with a date of its own.
        self.remember(next.unwrap_or_else(|| opens(line)), line);
        self.open.replace(Record { date: date.to_string(), who, text: line.to_vec(), lines: 1 })
    }

    /// Whether the last line was one of a trace whose shape is known, so that more may well follow.
    pub(super) fn is_in_trace(&self) -> bool {
        self.open.is_some() && self.block != Block::Plain
    }

    /// Ends the record, if there is one: no more lines belong to it.
    pub(super) fn end(&mut self) -> Option<Record> {
        self.open.take()
    }

    fn remember(&mut self, block: Block, line: &[u8]) {
        self.block = block;
        self.after_indented = is_indented(line);
    }
}

/// What a first line begins.
fn opens(line: &[u8]) -> Block {
    if line.ends_with(TRACEBACK) {
        Block::PythonCalls
    } else if line.starts_with(b"panic: ") || line.starts_with(b"fatal error: ") {
        Block::GoPanic
    } else if is_goroutine(line) {
        Block::Goroutine
    } else if line.starts_with(b"thread '") && contains(line, b" panicked at ") && line.ends_with(b":") {
        Block::RustPanic
    } else {
        Block::Plain
    }
}

/// Inside of what a line is that belongs to those before it; `None` if it does not.
fn follows(block: Block, line: &[u8], after_indented: bool) -> Option<Block> {
    if is_dated(line) {
        return None;
    }
    if is_indented(line) {
        return Some(match block {
            Block::PythonCalls | Block::GoPanic | Block::Goroutine | Block::Php => block,
            _ if is_caret(line) => Block::Caret,
            _ => Block::Plain,
        });
    }
    if line.is_empty() {
        return match block {
            Block::Caret => Some(Block::Caret),
            Block::Python => Some(Block::PythonGap),
            Block::PythonChain => Some(Block::PythonChain),
            Block::GoPanic | Block::Goroutine => Some(Block::GoPanic),
            Block::Php => Some(Block::PhpGap),
            _ => None,
        };
    }
    match block {
        Block::PythonCalls if after_indented => return Some(Block::Python),
        Block::PythonGap if is_chain(line) => return Some(Block::PythonChain),
        Block::PythonChain if line == TRACEBACK => return Some(Block::PythonCalls),
        Block::Caret if names_error(line) => return Some(Block::Plain),
        Block::GoPanic if line.starts_with(b"[signal ") => return Some(block),
        Block::Goroutine if is_go_call(line) => return Some(block),
        Block::Php if is_php_call(line) => return Some(block),
        Block::PhpGap if line.starts_with(b"Next ") => return Some(Block::Php),
        Block::RustPanic => return Some(Block::Plain),
        _ => {}
    }
    if is_goroutine(line) {
        Some(Block::Goroutine)
    } else if line == b"Stack trace:" {
        Some(Block::Php)
    } else if [&b"Caused by: "[..], b"--- End of ", b"stack backtrace:", b"note: run with `RUST_BACKTRACE"]
        .iter()
        .any(|begin| line.starts_with(begin))
        || is_java_rest(line)
        || (after_indented && is_closing(line))
    {
        Some(Block::Plain)
    } else {
        None
    }
}

fn is_indented(line: &[u8]) -> bool {
    matches!(line.first(), Some(b' ' | b'\t'))
}

/// What the platform takes for the start of an entry: `^.{0,2}\d{4}-\d{2}-\d{2}` (FC contract §6).
fn is_dated(line: &[u8]) -> bool {
    let mut rest = line;
    for _ in 0..=2 {
        let shape = b"0000-00-00";
        let fits =
            |(byte, &form): (&u8, &u8)| if form == b'0' { byte.is_ascii_digit() } else { *byte == form };
        if rest.len() >= shape.len() && rest.iter().zip(shape).all(fits) {
            return true;
        }
        // To the next character, which may be several bytes.
        let end = (1..rest.len()).find(|&at| rest[at] & 0xC0 != 0x80).unwrap_or(rest.len());
        rest = &rest[end..];
    }
    false
}

/// `    ^` or `    ^^^^`.
fn is_caret(line: &[u8]) -> bool {
    let text = line.trim_ascii();
    !text.is_empty() && text.iter().all(|&byte| byte == b'^')
}

/// `TypeError: …`, `Error [ERR_X]: …`, `Uncaught …`.
fn names_error(line: &[u8]) -> bool {
    let word = line.split(|byte| matches!(byte, b' ' | b':')).next().unwrap_or_default();
    [&b"Error"[..], b"Exception", b"Warning", b"Uncaught"].iter().any(|name| contains(word, name))
}

fn is_chain(line: &[u8]) -> bool {
    line == b"During handling of the above exception, another exception occurred:"
        || line == b"The above exception was the direct cause of the following exception:"
}

/// `... 3 more`.
fn is_java_rest(line: &[u8]) -> bool {
    let middle = line.strip_prefix(b"... ").and_then(|rest| rest.strip_suffix(b" more"));
    middle.is_some_and(|count| !count.is_empty() && count.iter().all(u8::is_ascii_digit))
}

/// `goroutine 1 [running]:`.
fn is_goroutine(line: &[u8]) -> bool {
    line.starts_with(b"goroutine ") && contains(line, b" [") && line.ends_with(b":")
}

/// `main.(*Server).serve(0xc000…)`, `panic({…})`, `created by main.main`.
fn is_go_call(line: &[u8]) -> bool {
    if line.starts_with(b"created by ") || line.starts_with(b"...additional frames elided") {
        return true;
    }
    let name = line.split(|&byte| byte == b'(').next().unwrap_or_default();
    line.ends_with(b")") && !contains(name, b" ") && (name == b"panic" || contains(name, b"."))
}

/// `#0 /app/index.php(3): f()`.
fn is_php_call(line: &[u8]) -> bool {
    let number = line.strip_prefix(b"#").and_then(|rest| rest.split(|&byte| byte == b' ').next());
    number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
}

/// The end of an object that was printed over several lines.
fn is_closing(line: &[u8]) -> bool {
    matches!(line[0], b'}' | b']' | b')') && line.iter().all(|byte| b"}]),;".contains(byte))
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests;
