//! Server-sent events, as they arrive: how many, and when each came.
//!
//! When an event was due is known twice. By its place: the stream's own moment and the
//! spacing that was asked for; a server that falls behind is seen by every event behind.
//! By the server's own stamp `at_ms`, on the same clock since it is the same machine:
//! what the way took, nothing else. The first is the latency, the second the service time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// An event that is longer never ends.
const EVENT_BYTES_MAX: usize = 64 << 10;

/// One event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) arrived: Instant,
    /// From the server's stamp to its arrival, if it has one.
    pub(crate) way: Option<Duration>,
}

/// Reads the events of one stream.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) all: Vec<Event>,
    line: Vec<u8>,
    data: Vec<u8>,
    /// Whether a line or an event was too long to be held.
    pub(crate) is_too_long: bool,
}

impl Events {
    /// Takes content that arrived at `now`, which is `wall` to the server.
    pub(crate) fn feed(&mut self, content: &[u8], now: Instant, wall: SystemTime) {
        for byte in content {
            match byte {
                b'\n' => self.end_line(now, wall),
                b'\r' => {}
                _ if self.line.len() < EVENT_BYTES_MAX => self.line.push(*byte),
                _ => self.is_too_long = true,
            }
        }
    }

    fn end_line(&mut self, now: Instant, wall: SystemTime) {
        let line = std::mem::take(&mut self.line);
        if let Some(data) = line.strip_prefix(b"data:") {
            match self.data.len() + data.len() <= EVENT_BYTES_MAX {
                true => self.data.extend_from_slice(data),
                false => self.is_too_long = true,
            }
        } else if line.is_empty() && !self.data.is_empty() {
            let data = std::mem::take(&mut self.data);
            let way = stamp_of(&data).map(|stamp| wall.duration_since(stamp).unwrap_or_default());
            self.all.push(Event { arrived: now, way });
        }
    }
}

/// `at_ms` of an event's data: unix time in milliseconds.
fn stamp_of(data: &[u8]) -> Option<SystemTime> {
    let data: Value = serde_json::from_slice(data).ok()?;
    let since = Duration::try_from_secs_f64(data["at_ms"].as_f64()? / 1e3).ok()?;
    UNIX_EPOCH.checked_add(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_however_they_arrive_and_comments_are_none() {
        let wire = b": hello\n\ndata: {\"n\":0,\"at_ms\":1000}\r\n\r\nid: 7\ndata: {\"n\":1}\n\ndata: half";
        let (now, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_millis(1003));
        for piece in 1..wire.len() {
            let mut events = Events::default();
            wire.chunks(piece).for_each(|bytes| events.feed(bytes, now, wall));
            let ways: Vec<_> = events.all.iter().map(|event| event.way).collect();
            assert_eq!(ways, [Some(Duration::from_millis(3)), None], "pieces of {piece}");
        }
    }

    #[test]
    fn what_does_not_end_is_not_held() {
        let mut events = Events::default();
        events.feed(&vec![b'x'; EVENT_BYTES_MAX + 1], Instant::now(), UNIX_EPOCH);
        assert!(events.is_too_long && events.line.len() <= EVENT_BYTES_MAX);
    }
}
