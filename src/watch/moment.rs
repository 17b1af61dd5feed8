//! One moment of an instance, read from what its admin says. Pure.

use std::time::Duration;

use serde_json::Value;

/// The version of the admin's JSON that is understood.
const VERSION: u64 = 1;

/// How requests may start, as the admin names it.
pub(super) const STARTS: [&str; 3] = ["warm", "cold", "thawed"];

/// What is counted as an error, by its place in the object.
const TROUBLES: [(&str, &str); 3] =
    [("shed", "shed"), ("failed", "failed"), ("refused_heads", "refused head")];

/// An instance at one moment. What the admin does not tell reads as nothing.
#[derive(Clone, Debug)]
pub(super) struct Moment(Value);

/// A worker as its row shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Worker {
    pub(super) id: u64,
    pub(super) state: String,
    pub(super) pid: Option<u64>,
    pub(super) slots: u64,
    pub(super) in_flight: u64,
    pub(super) served: u64,
    pub(super) restarts: u64,
    pub(super) resident: Option<u64>,
    /// In this life of it.
    pub(super) cpu: Option<Duration>,
    pub(super) start: Option<Duration>,
    pub(super) last_exit: Option<String>,
}

/// A request in flight as its row shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) id: String,
    pub(super) age: Duration,
    pub(super) stage: String,
    pub(super) worker: Option<u64>,
}

impl Moment {
    /// # Errors
    /// What is wrong with `text`, for people.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON ({error})"))?;
        match value.get("version").and_then(Value::as_u64) {
            Some(VERSION) => Ok(Self(value)),
            Some(other) => Err(format!("its version is {other}")),
            None => Err("it names no version".to_owned()),
        }
    }

    /// The number at a JSON pointer such as `/pool/slots`.
    pub(super) fn number(&self, at: &str) -> u64 {
        number(&self.0, at)
    }

    /// The text there.
    pub(super) fn word(&self, at: &str) -> &str {
        self.0.pointer(at).and_then(Value::as_str).unwrap_or("?")
    }

    /// The milliseconds there.
    pub(super) fn period(&self, at: &str) -> Option<Duration> {
        period(&self.0, at)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.0.pointer("/ready").and_then(Value::as_bool).unwrap_or(false)
    }

    /// Why it is not ready.
    pub(super) fn reasons(&self) -> Vec<&str> {
        self.list("/reasons").filter_map(Value::as_str).collect()
    }

    /// Requests that have ended and started so, by the class of their status.
    pub(super) fn ended(&self, start: &str) -> impl Iterator<Item = (&str, u64)> {
        let outcomes = self.0.pointer(&format!("/counters/requests/{start}")).and_then(Value::as_object);
        outcomes.into_iter().flat_map(|outcomes| outcomes.values()).filter_map(Value::as_object).flat_map(
            |classes| classes.iter().map(|(class, count)| (class.as_str(), count.as_u64().unwrap_or(0))),
        )
    }

    /// All of them.
    pub(super) fn ended_in_all(&self) -> u64 {
        STARTS.iter().flat_map(|start| self.ended(start)).map(|(_, count)| count).sum()
    }

    /// Those whose status is of `class`, such as `5xx`.
    pub(super) fn ended_with(&self, class: &str) -> u64 {
        let all = STARTS.iter().flat_map(|start| self.ended(start));
        all.filter(|(own, _)| *own == class).map(|(_, count)| count).sum()
    }

    /// What went wrong and how often, since the process began; only what did.
    pub(super) fn troubles(&self) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        for (group, word) in TROUBLES {
            let counts = self.0.pointer(&format!("/counters/{group}")).and_then(Value::as_object);
            for (reason, count) in counts.into_iter().flatten() {
                if let Some(count) = count.as_u64().filter(|count| *count > 0) {
                    found.push((format!("{word}: {}", reason.replace('_', " ")), count));
                }
            }
        }
        found
    }

    /// Upper bounds of the buckets, in microseconds.
    pub(super) fn bounds_us(&self) -> Vec<u64> {
        self.list("/latency/bounds_us").filter_map(Value::as_u64).collect()
    }

    /// Times to the first byte of requests that started so, by bucket.
    pub(super) fn first_bytes(&self, start: &str) -> Vec<u64> {
        self.counts(&format!("/latency/first_byte/{start}/counts"))
    }

    /// The counts of the list at a JSON pointer.
    pub(super) fn counts(&self, at: &str) -> Vec<u64> {
        self.list(at).map(|count| count.as_u64().unwrap_or(0)).collect()
    }

    pub(super) fn workers(&self) -> Vec<Worker> {
        let worker = |value: &Value| Worker {
            id: number(value, "/id"),
            state: text(value, "/state").unwrap_or_default(),
            pid: value.pointer("/pid").and_then(Value::as_u64),
            slots: number(value, "/slots"),
            in_flight: number(value, "/in_flight"),
            served: number(value, "/served"),
            restarts: number(value, "/restarts"),
            resident: value.pointer("/usage/resident_bytes").and_then(Value::as_u64),
            cpu: period(value, "/usage/cpu_ms"),
            start: period(value, "/start/ready_ms"),
            last_exit: text(value, "/last_exit/summary"),
        };
        self.list("/workers").map(worker).collect()
    }

    /// The oldest requests in flight.
    pub(super) fn oldest(&self) -> Vec<Request> {
        let request = |value: &Value| Request {
            id: text(value, "/id").unwrap_or_default(),
            age: period(value, "/age_ms").unwrap_or_default(),
            stage: text(value, "/phase").unwrap_or_default(),
            worker: value.pointer("/worker").and_then(Value::as_u64),
        };
        self.list("/requests/oldest").map(request).collect()
    }

    fn list(&self, at: &str) -> impl Iterator<Item = &Value> {
        self.0.pointer(at).and_then(Value::as_array).into_iter().flatten()
    }
}

fn number(value: &Value, at: &str) -> u64 {
    value.pointer(at).and_then(Value::as_u64).unwrap_or(0)
}

fn text(value: &Value, at: &str) -> Option<String> {
    let text = value.pointer(at)?.as_str()?;
    // Lines of a terminal: nothing that a worker wrote may move its cursor.
    Some(text.chars().map(|char| if char.is_control() { '?' } else { char }).collect())
}

fn period(value: &Value, at: &str) -> Option<Duration> {
    value.pointer(at).and_then(Value::as_u64).map(Duration::from_millis)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// An instance that has been up so long and has ended so many requests, each in the second bucket.
    pub(crate) fn moment(uptime_ms: u64, ended: u64) -> Moment {
        let value = json!({
            "version": 1, "uptime_ms": uptime_ms, "build": "0.1.0", "phase": "ready", "ready": true, "reasons": [],
            "pool": { "workers": 2, "ready": 2, "slots": 20, "in_flight": 3 },
            "queue": { "waiting": 1, "limit": 1024, "oldest_ms": 5 },
            "connections": { "client": 9, "worker": 3 },
            "counters": {
                "requests": { "warm": { "served": { "2xx": ended, "5xx": 1 } }, "cold": { "local": { "5xx": 1 } } },
                "shed": { "queue_timeout": ended / 10, "stopping": 0 },
                "received_bytes": ended * 100, "sent_bytes": ended * 1000,
                "freezes": { "count": 1, "total_ms": 4000, "last_ms": 4000 },
            },
            "latency": {
                "bounds_us": [100, 1000, 10_000],
                "first_byte": { "warm": { "counts": [0, ended, 0, 0] }, "cold": { "counts": [0, 0, 0, 1] } },
            },
            "workers": [
                { "id": 1, "state": "ready", "pid": 41, "slots": 10, "in_flight": 3, "served": ended, "restarts": 2,
                  "usage": { "resident_bytes": 47 << 20, "cpu_ms": ended }, "start": { "ready_ms": 56 },
                  "last_exit": { "summary": "killed by\u{1b}[2J signal 9", "ago_ms": 5 } },
                { "id": 2, "state": "backoff", "pid": null },
            ],
            "requests": { "count": 4, "oldest": [{ "id": "1-a-b", "age_ms": 1500, "phase": "sent", "worker": 1 }] },
            "process": { "resident_bytes": 6 << 20, "cpu_ms": 10, "fds": 30 },
        });
        Moment::read(&value.to_string()).unwrap()
    }

    #[test]
    fn what_is_no_admins_answer_is_explained() {
        let why = |text: &str| Moment::read(text).unwrap_err();
        assert!(why("<html>").starts_with("it is no JSON"));
        assert_eq!(why("{}"), "it names no version");
        assert_eq!(why(r#"{"version":2}"#), "its version is 2");
        let bare = Moment::read(r#"{"version":1}"#).unwrap();
        assert!(!bare.is_ready() && bare.workers().is_empty() && bare.word("/phase") == "?");
    }
}
