//! The access line: one per request, text or JSON, at most 32 KB, whole.
//!
//! The record exists only when the access log is on: switched off it costs one
//! comparison per request. Switched on it costs no allocation: a thread uses its
//! records again.

use std::cell::RefCell;
use std::fmt;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use super::line::{self, push_ms, push_number};
use super::say::push_utc_now;
use super::stdout::Due;
use crate::config::{AccessLog, Reported};
use crate::id::{RequestId, TraceId};

/// The platform cuts a log line here (FC contract §2.4).
pub const LINE_BYTES_MAX: usize = 32 << 10;
/// Longest target written; the rest is marked as cut.
const TARGET_BYTES_MAX: usize = 4 << 10;
/// Records that a thread keeps for the next requests. More than this many at once pay an allocation each.
const KEPT: usize = 256;
/// Room for a target that a kept record may have.
const KEPT_TARGET: usize = 512;

thread_local! {
    // Boxed, as they are handed around.
    #[expect(clippy::vec_box)]
    static SPARE: RefCell<Vec<Box<Record>>> = const { RefCell::new(Vec::new()) };
}

/// Whether a worker was ready when the request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No worker was ready: the request waited for a process to start.
    Cold,
    /// A ready worker existed.
    Warm,
    /// The instance was frozen since the request before.
    Thawed,
}

impl Start {
    /// The word used in logs, headers and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Warm => "warm",
            Self::Thawed => "thawed",
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A worker's answer was passed on whole.
    Served,
    /// The proxy answered itself (refusal or failure).
    Local,
    /// The client left first.
    ClientGone,
    /// The worker failed after its answer had begun; the client saw it cut off.
    Aborted,
}

impl Outcome {
    /// The word used in logs and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Local => "local",
            Self::ClientGone => "client_gone",
            Self::Aborted => "aborted",
        }
    }
}

/// What is noted about one request while it runs. Instants are monotonic.
#[derive(Debug)]
pub struct Record {
    format: AccessLog,
    reported: Reported,
    /// Until it is finished.
    due: Option<Due>,
    id: RequestId,
    method: String,
    target: String,
    began: Instant,
    /// When it got its slot.
    pub admitted: Option<Instant>,
    /// When a connection to the worker stood.
    pub connected: Option<Instant>,
    /// When the first byte of the answer was there.
    pub first_byte: Option<Instant>,
    /// Who answered.
    pub worker: Option<u32>,
    /// The function that it is for, where requests are for functions.
    pub function: Option<Box<str>>,
    /// The trace that its spans belong to.
    pub trace: Option<TraceId>,
    /// Cold, warm or thawed.
    pub start: Start,
    /// Tries that failed and were followed by another.
    pub replays: u32,
    /// Status sent to the client; 0 while none was.
    pub status: u16,
    /// Bytes received from the client for this request, head included.
    pub bytes_in: u64,
    /// Bytes for the client, head included.
    pub bytes_out: u64,
    /// The worker's answer counts as a failed invocation.
    pub has_failed: bool,
    /// Why the proxy answered itself, if it did.
    pub reason: Option<String>,
}

impl Record {
    /// A record if `format` wants one.
    pub fn begin(
        format: AccessLog,
        reported: Reported,
        id: RequestId,
        method: &[u8],
        target: &[u8],
        start: Start,
        now: Instant,
    ) -> Option<Box<Self>> {
        if format == AccessLog::Off {
            return None;
        }
        let mut record = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Box::new(Self::blank(now)));
        let (mut kept_method, mut kept_target) =
            (std::mem::take(&mut record.method), std::mem::take(&mut record.target));
        printable(&mut kept_method, method, 64);
        printable(&mut kept_target, target, TARGET_BYTES_MAX);
        *record = Self {
            format,
            reported,
            due: Some(Due::begin()),
            id,
            method: kept_method,
            target: kept_target,
            start,
            ..Self::blank(now)
        };
        Some(record)
    }

    fn blank(now: Instant) -> Self {
        Self {
            format: AccessLog::Off,
            reported: Reported::ALL,
            due: None,
            id: RequestId::sanitised(b""),
            method: String::new(),
            target: String::new(),
            began: now,
            admitted: None,
            connected: None,
            first_byte: None,
            worker: None,
            function: None,
            trace: None,
            start: Start::Warm,
            replays: 0,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            has_failed: false,
            reason: None,
        }
    }

    /// Hands the line to stdout, if there is to be one; how long it may wait is known there. A `marker` follows
    /// it, and both leave now.
    pub fn finish(mut self: Box<Self>, outcome: Outcome, now: Instant, marker: Option<impl fmt::Display>) {
        let (due, at_once) = (self.due.take(), marker.is_some());
        let fill = |lines: &mut Vec<u8>| {
            if self.is_reported(outcome, now) {
                self.line(lines, outcome, now);
            }
            if let Some(marker) = marker {
                // Writing to a vector cannot fail.
                let _ = write!(lines, "{marker}");
            }
        };
        line::with_lines(fill, |lines| {
            if let Some(due) = due {
                due.end(lines, at_once);
            }
        });
        if self.target.capacity() <= KEPT_TARGET {
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < KEPT {
                    spare.push(self);
                }
            });
        }
    }

    /// Whether it is one of those that have a line.
    pub fn is_reported(&self, outcome: Outcome, now: Instant) -> bool {
        let went_well = match outcome {
            Outcome::Served => self.status < 500 && !self.has_failed,
            Outcome::Local => self.status < 400,
            Outcome::ClientGone | Outcome::Aborted => false,
        };
        self.reported.has(went_well, now.saturating_duration_since(self.began), || self.id.hash())
    }

    /// Puts the line, its end included, into an empty `line`.
    pub fn line(&self, line: &mut Vec<u8>, outcome: Outcome, now: Instant) {
        push_utc_now(line);
        line.push(b' ');
        match self.format {
            AccessLog::Json => self.json(line, outcome, now),
            AccessLog::Text | AccessLog::Off => self.text(line, outcome, now),
        }
        line.truncate(LINE_BYTES_MAX - 1);
        line.push(b'\n');
    }

    fn phases(&self, now: Instant) -> [(&'static str, Option<Duration>); 4] {
        let from = |from: Option<Instant>, to: Option<Instant>| {
            from.zip(to).map(|(from, to)| to.saturating_duration_since(from))
        };
        [
            ("queue_ms", from(Some(self.began), self.admitted)),
            ("connect_ms", from(self.admitted, self.connected)),
            ("first_byte_ms", from(Some(self.began), self.first_byte)),
            ("total_ms", from(Some(self.began), Some(now))),
        ]
    }

    fn text(&self, line: &mut Vec<u8>, outcome: Outcome, now: Instant) {
        line.extend_from_slice(self.id.as_bytes());
        line.extend_from_slice(b" [INFO] ");
        line.extend_from_slice(self.method.as_bytes());
        line.push(b' ');
        line.extend_from_slice(self.target.as_bytes());
        let number = |line: &mut Vec<u8>, name: &str, value: u64| {
            line.extend_from_slice(name.as_bytes());
            push_number(line, value);
        };
        number(line, " status=", self.status.into());
        number(line, " in=", self.bytes_in);
        number(line, " out=", self.bytes_out);
        for (name, period) in self.phases(now) {
            if let Some(period) = period {
                line.push(b' ');
                line.extend_from_slice(name.as_bytes());
                line.push(b'=');
                push_ms(line, period);
            }
        }
        if let Some(worker) = self.worker {
            number(line, " worker=", worker.into());
        }
        if let Some(function) = &self.function {
            // Writing to a vector cannot fail.
            let _ = write!(line, " function={function:?}");
        }
        line.extend_from_slice(b" start=");
        line.extend_from_slice(self.start.word().as_bytes());
        number(line, " replays=", self.replays.into());
        line.extend_from_slice(b" outcome=");
        line.extend_from_slice(outcome.word().as_bytes());
        if let Some(trace) = &self.trace {
            // Writing to a vector cannot fail.
            let _ = write!(line, " trace={trace}");
        }
        if let Some(reason) = &self.reason {
            // Writing to a vector cannot fail.
            let _ = write!(line, " reason={reason:?}");
        }
    }

    fn json(&self, line: &mut Vec<u8>, outcome: Outcome, now: Instant) {
        fn name(line: &mut Vec<u8>, name: &str) {
            if !line.ends_with(b"{") {
                line.push(b',');
            }
            line.push(b'"');
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b"\":");
        }
        fn text(line: &mut Vec<u8>, key: &str, value: &str) {
            name(line, key);
            let is_special = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
            // Usually nothing is; looked at without a branch for each byte.
            if value.bytes().fold(false, |any, byte| any | is_special(byte)) {
                // Writing to a vector cannot fail, and every text is JSON.
                let _ = serde_json::to_writer(line, value);
            } else {
                line.push(b'"');
                line.extend_from_slice(value.as_bytes());
                line.push(b'"');
            }
        }
        fn number(line: &mut Vec<u8>, key: &str, value: u64) {
            name(line, key);
            push_number(line, value);
        }
        line.push(b'{');
        text(line, "id", self.id.as_str());
        text(line, "method", &self.method);
        text(line, "target", &self.target);
        number(line, "status", self.status.into());
        number(line, "bytes_in", self.bytes_in);
        number(line, "bytes_out", self.bytes_out);
        for (key, period) in self.phases(now) {
            if let Some(period) = period {
                name(line, key);
                push_ms(line, period);
            }
        }
        if let Some(worker) = self.worker {
            number(line, "worker", worker.into());
        }
        if let Some(function) = &self.function {
            text(line, "function", function);
        }
        text(line, "start", self.start.word());
        number(line, "replays", self.replays.into());
        text(line, "outcome", outcome.word());
        if let Some(trace) = &self.trace {
            text(line, "trace", &trace.to_string());
        }
        if let Some(reason) = &self.reason {
            text(line, "reason", reason);
        }
        line.push(b'}');
    }
}

/// Puts `raw` into `text`, with everything but visible ASCII escaped, cut at `most` bytes of input.
fn printable(text: &mut String, raw: &[u8], most: usize) {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'"' && *byte != b'\\';
    let cut = &raw[..raw.len().min(most)];
    text.clear();
    text.reserve(cut.len());
    let plain = cut.iter().position(|byte| !is_plain(byte)).unwrap_or(cut.len());
    // ASCII is text.
    text.push_str(std::str::from_utf8(&cut[..plain]).unwrap_or_default());
    for byte in &cut[plain..] {
        if is_plain(byte) {
            text.push(char::from(*byte));
        } else {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if raw.len() > most {
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(record: &Record, outcome: Outcome, now: Instant) -> String {
        let mut line = Vec::new();
        record.line(&mut line, outcome, now);
        String::from_utf8(line).unwrap()
    }

    fn record(format: AccessLog, target: &[u8]) -> (Box<Record>, Instant) {
        let now = Instant::now();
        let id = RequestId::sanitised(b"1-a-b");
        let mut record = Record::begin(format, Reported::ALL, id, b"GET", target, Start::Cold, now).unwrap();
        record.admitted = Some(now + Duration::from_micros(1500));
        record.worker = Some(2);
        record.status = 200;
        (record, now + Duration::from_millis(3))
    }

    #[test]
    fn a_text_line_starts_with_a_date_and_says_who_and_how_long() {
        let (record, now) = record(AccessLog::Text, b"/a?b");
        let line = line(&record, Outcome::Served, now);
        assert!(line.as_bytes()[..4].iter().all(u8::is_ascii_digit), "{line}");
        assert!(
            line.ends_with(
                " 1-a-b [INFO] GET /a?b status=200 in=0 out=0 queue_ms=1.500 total_ms=3.000 worker=2 start=cold replays=0 outcome=served\n"
            ),
            "{line}"
        );
    }

    #[test]
    fn a_json_line_is_one_object_behind_the_date() {
        let (record, now) = record(AccessLog::Json, b"/a\"b");
        let line = line(&record, Outcome::ClientGone, now);
        let (_, json) = line.split_once(' ').unwrap();
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(value["target"], "/a\\x22b");
        assert_eq!(value["outcome"], "client_gone");
        assert_eq!(value["queue_ms"], 1.5);
        assert!(json.contains(r#""id":"1-a-b","method":"GET","target":"/a\\x22b","#), "{json}");
        let special = RequestId::sanitised(br#"1"\2"#);
        let record = Record { id: special, reason: Some("a\tb".to_owned()), ..Record::blank(now) };
        let mut line = Vec::new();
        record.json(&mut line, Outcome::Served, now);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((&value["id"], &value["reason"]), (&special.as_str().into(), &"a\tb".into()));
    }

    #[test]
    fn no_target_can_forge_a_line_or_outgrow_one() {
        let (record, now) =
            record(AccessLog::Text, &[b"/\r\nFC Invoke".as_slice(), &[0xff; 40 << 10]].concat());
        let line = line(&record, Outcome::Local, now);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
        assert!(line.contains("outcome=local"));
    }

    #[test]
    fn whatever_did_not_go_well_has_a_line_in_any_sample() {
        let (mut record, now) = record(AccessLog::Text, b"/");
        record.reported = Reported { one_in: 0, slow: None };
        let mut has_line = |status, has_failed, outcome| {
            (record.status, record.has_failed) = (status, has_failed);
            record.is_reported(outcome, now)
        };
        assert!(!has_line(200, false, Outcome::Served) && !has_line(404, false, Outcome::Served));
        assert!(has_line(500, false, Outcome::Served) && has_line(200, true, Outcome::Served));
        assert!(!has_line(200, false, Outcome::Local) && has_line(413, false, Outcome::Local));
        assert!(has_line(200, false, Outcome::ClientGone) && has_line(200, false, Outcome::Aborted));
    }

    #[test]
    fn switched_off_there_is_no_record() {
        let id = RequestId::sanitised(b"1");
        let (all, now) = (Reported::ALL, Instant::now());
        assert!(Record::begin(AccessLog::Off, all, id, b"GET", b"/", Start::Warm, now).is_none());
    }
}
