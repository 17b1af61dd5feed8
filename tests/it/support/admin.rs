//! Whoever runs the instance: asks its admin, over the Unix socket or over loopback.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::wire::Wire;
use super::{GUARD, Response, Setup, Sidecar, eventually};

/// A stream of either kind.
pub(crate) trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// Where the admin is asked.
pub(crate) struct Admin(Door);

enum Door {
    Unix(std::path::PathBuf),
    Tcp(u16),
}

/// The samples of one scrape, by name and labels as they are written.
pub(crate) struct Scrape(pub(crate) BTreeMap<String, f64>);

impl Setup {
    /// With an admin on a Unix socket in its directory.
    pub(crate) fn with_admin(self) -> Self {
        let path = self.dir().join("admin.sock");
        self.set("admin.listen", path.to_str().expect("UTF-8"))
    }

    /// With an admin on a loopback port that the system chooses.
    pub(crate) fn with_admin_port(self) -> Self {
        self.set("admin.listen", "127.0.0.1:0")
    }
}

impl Sidecar {
    /// Its admin, wherever that listens.
    pub(crate) fn admin(&self) -> Admin {
        let line = self.stderr.wait_for("the admin listens on ");
        let place = line.split("listens on ").nth(1).expect("a place");
        match place.strip_prefix("unix:") {
            Some(path) => Admin::at(Path::new(path)),
            None => {
                Admin(Door::Tcp(place.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")))
            }
        }
    }
}

impl Admin {
    /// At this socket.
    pub(crate) fn at(path: &Path) -> Self {
        Self(Door::Unix(path.to_owned()))
    }

    /// A new connection.
    pub(crate) fn connect(&self) -> Wire<Box<dyn Stream>> {
        let stream: Box<dyn Stream> = match &self.0 {
            Door::Unix(path) => {
                let stream = UnixStream::connect(path).expect("the admin accepts");
                stream.set_read_timeout(Some(GUARD)).expect("a timeout");
                Box::new(stream)
            }
            Door::Tcp(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port)).expect("the admin accepts");
                stream.set_read_timeout(Some(GUARD)).expect("a timeout");
                Box::new(stream)
            }
        };
        Wire::new(stream)
    }

    /// The answer to just these bytes.
    pub(crate) fn raw(&self, request: &str) -> Response {
        let mut wire = self.connect();
        wire.send(request);
        wire.response()
    }

    /// The answer to a request without a body, with these further lines in its head.
    pub(crate) fn ask_with(&self, method: &str, path: &str, lines: &str) -> Response {
        self.raw(&format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"))
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> Response {
        self.ask_with(method, path, "")
    }

    /// What stands at `path`, which must be there.
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.ask("GET", path);
        assert!(matches!(answer.status(), 200 | 503), "{}", answer.head);
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    pub(crate) fn scrape(&self) -> Scrape {
        let answer = self.ask("GET", "/metrics");
        assert_eq!(answer.status(), 200, "{}", answer.head);
        let samples = answer.text().lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (name.to_owned(), value.parse().expect("a number"))
        });
        Scrape(samples.collect())
    }

    /// The first scrape in which `sample` is `value`: what has ended is counted a moment later.
    pub(crate) fn scrape_when(&self, sample: &str, value: f64) -> Scrape {
        eventually(&format!("{sample} {value}"), || {
            Some(self.scrape()).filter(|scrape| scrape.get(sample) == value)
        })
    }
}

impl Scrape {
    /// The value of one sample.
    pub(crate) fn get(&self, sample: &str) -> f64 {
        *self.0.get(sample).unwrap_or_else(|| panic!("no {sample} among {:?}", self.0.keys()))
    }
}
