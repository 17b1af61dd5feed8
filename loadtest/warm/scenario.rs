//! What is asked, and in which rhythm: the nouns of a scenario, and those that are built in.

use std::time::Duration;

use crate::exchange::{Expected, append_body};

/// Scenarios that need no file: name and text.
pub(crate) const BUILT_IN: [(&str, &str); 6] = [
    ("small-json", include_str!("../scenarios/small-json.toml")),
    ("large-download", include_str!("../scenarios/large-download.toml")),
    ("upload", include_str!("../scenarios/upload.toml")),
    ("sse", include_str!("../scenarios/sse.toml")),
    ("websocket-echo", include_str!("../scenarios/websocket-echo.toml")),
    ("burst-after-silence", include_str!("../scenarios/burst-after-silence.toml")),
];

/// A mix of requests and, if it is not simply steady, when they come.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    /// At least one.
    pub(crate) requests: Vec<Request>,
    /// One after the other; without any, requests come at the rate and for the time of the run.
    pub(crate) phases: Vec<Phase>,
    /// How often the phases come.
    pub(crate) repeat: u32,
}

/// One request of a mix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// As in the report.
    pub(crate) name: String,
    /// Its share of the requests, as a share of all weights.
    pub(crate) weight: u32,
    pub(crate) kind: Kind,
    pub(crate) method: String,
    /// Request target.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// Content, or the message of a WebSocket.
    pub(crate) body: Vec<u8>,
    pub(crate) is_chunked: bool,
    pub(crate) expected: Expected,
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request and its answer.
    Http,
    /// A stream of so many events, the first at once, the others so long apart.
    Events { count: u32, every: Duration },
    /// A message on a WebSocket, which comes back.
    Message,
}

/// A stretch of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Requests at the rate of the run.
    Steady(Duration),
    /// None.
    Silence(Duration),
    /// So many users at once; each asks so often, with so long between two requests.
    Burst { users: u32, each: u32, think: Duration },
}

impl Scenario {
    /// One GET, again and again.
    pub(crate) fn of_path(path: &str) -> Self {
        let request = Request {
            name: "get".into(),
            weight: 1,
            kind: Kind::Http,
            method: "GET".into(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            is_chunked: false,
            expected: Expected::default(),
        };
        Self { name: format!("GET {path}"), requests: vec![request], phases: Vec::new(), repeat: 1 }
    }

    /// Whether the rate of the run means anything.
    pub(crate) fn has_rate(&self) -> bool {
        self.phases.is_empty() || self.phases.iter().any(|phase| matches!(phase, Phase::Steady(_)))
    }
}

impl Request {
    /// As it goes on the wire, `host` being who is asked.
    pub(crate) fn to_bytes(&self, host: &str) -> Vec<u8> {
        let mut head = self.head(host);
        match (self.is_chunked, self.body.len()) {
            (true, _) => head += "transfer-encoding: chunked\r\n",
            (false, 0) if matches!(self.method.as_str(), "GET" | "HEAD") => {}
            (false, length) => head += &format!("content-length: {length}\r\n"),
        }
        let mut bytes = (head + "\r\n").into_bytes();
        append_body(&mut bytes, &self.body, self.is_chunked);
        bytes
    }

    /// Request line and fields without those of the body, and without the line that ends a head.
    pub(crate) fn head(&self, host: &str) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in [("host", host), ("user-agent", "warmfront-bench")] {
            if !self.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
                head += &format!("{name}: {value}\r\n");
            }
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head
    }
}
