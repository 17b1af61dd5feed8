//! The access line: one per request, text or JSON, at most 32 KB, in one write.
//!
//! The record exists only when the access log is on: switched off it costs one
//! comparison per request.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use super::say::utc_now;
use crate::config::AccessLog;
use crate::id::RequestId;

/// The platform cuts a log line here (FC contract §2.4).
pub const LINE_BYTES_MAX: usize = 32 << 10;
/// Longest target written; the rest is marked as cut.
const TARGET_BYTES_MAX: usize = 4 << 10;

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
    fn word(self) -> &'static str {
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
    /// Why the proxy answered itself, if it did.
    pub reason: Option<String>,
}

impl Record {
    /// A record if `format` wants one.
    pub fn begin(
        format: AccessLog,
        id: RequestId,
        method: &[u8],
        target: &[u8],
        start: Start,
        now: Instant,
    ) -> Option<Box<Self>> {
        if format == AccessLog::Off {
            return None;
        }
        Some(Box::new(Self {
            format,
            id,
            method: printable(method, 64),
            target: printable(target, TARGET_BYTES_MAX),
            began: now,
            admitted: None,
            connected: None,
            first_byte: None,
            worker: None,
            start,
            replays: 0,
            status: 0,
            bytes_in: 0,
            bytes_out: 0,
            reason: None,
        }))
    }

    /// Writes the line to stdout.
    pub fn finish(&self, outcome: Outcome, now: Instant) {
        let line = self.line(outcome, now);
        // A log that cannot be written must not fail a request.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }

    fn line(&self, outcome: Outcome, now: Instant) -> String {
        let mut line = match self.format {
            AccessLog::Json => self.json(outcome, now),
            AccessLog::Text | AccessLog::Off => self.text(outcome, now),
        };
        if line.len() >= LINE_BYTES_MAX {
            line.truncate(LINE_BYTES_MAX - 1);
        }
        line.push('\n');
        line
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

    fn text(&self, outcome: Outcome, now: Instant) -> String {
        let mut line = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = write!(line, "{} {} [INFO] {} {} ", utc_now(), self.id, self.method, self.target);
        let _ = write!(line, "status={} in={} out={}", self.status, self.bytes_in, self.bytes_out);
        for (name, period) in self.phases(now) {
            if let Some(period) = period {
                let _ = write!(line, " {name}={:.3}", period.as_secs_f64() * 1e3);
            }
        }
        if let Some(worker) = self.worker {
            let _ = write!(line, " worker={worker}");
        }
        let (start, replays) = (self.start.word(), self.replays);
        let _ = write!(line, " start={start} replays={replays} outcome={}", outcome.word());
        if let Some(reason) = &self.reason {
            let _ = write!(line, " reason={reason:?}");
        }
        line
    }

    fn json(&self, outcome: Outcome, now: Instant) -> String {
        let mut fields = serde_json::Map::new();
        let mut put = |name: &str, value: serde_json::Value| {
            fields.insert(name.to_owned(), value);
        };
        put("id", self.id.as_str().into());
        put("method", self.method.as_str().into());
        put("target", self.target.as_str().into());
        put("status", self.status.into());
        put("bytes_in", self.bytes_in.into());
        put("bytes_out", self.bytes_out.into());
        for (name, period) in self.phases(now) {
            if let Some(period) = period {
                put(name, (period.as_micros() as f64 / 1e3).into());
            }
        }
        if let Some(worker) = self.worker {
            put("worker", worker.into());
        }
        put("start", self.start.word().into());
        put("replays", self.replays.into());
        put("outcome", outcome.word().into());
        if let Some(reason) = &self.reason {
            put("reason", reason.as_str().into());
        }
        format!("{} {}", utc_now(), serde_json::Value::Object(fields))
    }
}

/// `raw` with everything but visible ASCII escaped, cut at `most` bytes of input.
fn printable(raw: &[u8], most: usize) -> String {
    let cut = &raw[..raw.len().min(most)];
    let mut text = String::with_capacity(cut.len());
    for &byte in cut {
        if byte.is_ascii_graphic() && byte != b'"' && byte != b'\\' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    if raw.len() > most {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(format: AccessLog, target: &[u8]) -> (Box<Record>, Instant) {
        let now = Instant::now();
        let id = RequestId::sanitised(b"1-a-b");
        let mut record = Record::begin(format, id, b"GET", target, Start::Cold, now).unwrap();
        record.admitted = Some(now + Duration::from_micros(1500));
        record.worker = Some(2);
        record.status = 200;
        (record, now + Duration::from_millis(3))
    }

    #[test]
    fn a_text_line_starts_with_a_date_and_says_who_and_how_long() {
        let (record, now) = record(AccessLog::Text, b"/a?b");
        let line = record.line(Outcome::Served, now);
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
        let line = record.line(Outcome::ClientGone, now);
        let (_, json) = line.split_once(' ').unwrap();
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(value["target"], "/a\\x22b");
        assert_eq!(value["outcome"], "client_gone");
        assert_eq!(value["queue_ms"], 1.5);
    }

    #[test]
    fn no_target_can_forge_a_line_or_outgrow_one() {
        let (record, now) =
            record(AccessLog::Text, &[b"/\r\nFC Invoke".as_slice(), &[0xff; 40 << 10]].concat());
        let line = record.line(Outcome::Local, now);
        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
        assert!(line.contains("outcome=local"));
    }

    #[test]
    fn switched_off_there_is_no_record() {
        let id = RequestId::sanitised(b"1");
        assert!(Record::begin(AccessLog::Off, id, b"GET", b"/", Start::Warm, Instant::now()).is_none());
    }
}
