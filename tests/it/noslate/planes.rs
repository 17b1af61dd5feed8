//! The fakes in `tests/apps/noslate`, and a sidecar in front of them.

use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::sidecar::Lines;
use crate::support::{GUARD, Setup, Sidecar, app, eventually};

/// Planes of one process; killed on drop.
pub(crate) struct Planes {
    child: Child,
    lines: Lines,
    asked: Cell<u32>,
}

impl Planes {
    /// Data plane 0 of `setup`'s directory, which takes any function, with more switches.
    pub(crate) fn data(setup: &Setup, switches: &[&str]) -> Self {
        Self::numbered(setup, 0, switches)
    }

    /// Data plane `id`.
    pub(crate) fn numbered(setup: &Setup, id: u32, switches: &[&str]) -> Self {
        let socket = setup.dir().join(format!("socks/dp-{id}.sock"));
        let number = id.to_string();
        let words = ["--data", socket.to_str().expect("UTF-8"), "--id", &number, "--accept-all"];
        Self::start(&[&words[..], switches].concat())
    }

    /// Data plane 0 of `setup`'s directory, which takes only functions that it was told of.
    pub(crate) fn strict(dir: &Path) -> Self {
        Self::start(&["--data", text(&dir.join("socks/dp-0.sock"))])
    }

    /// The control plane of `dir`, which tells data plane 0, with more switches.
    pub(crate) fn control(dir: &Path, switches: &[&str]) -> Self {
        let (control, data) = (dir.join("socks/cp-0.sock"), dir.join("socks/dp-0.sock"));
        Self::start(&[&["--control", text(&control), "--hand-to", text(&data)], switches].concat())
    }

    /// One with its socket there.
    pub(crate) fn at(socket: &Path) -> Self {
        Self::start(&["--data", socket.to_str().expect("UTF-8"), "--accept-all"])
    }

    fn start(words: &[&str]) -> Self {
        let mut child = Command::new("node")
            .arg(app("noslate/planes.js"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node is installed");
        let lines = Lines::read(child.stdout.take().expect("piped"));
        lines.wait_for("\"listening\"");
        Self { child, lines, asked: Cell::new(0) }
    }

    /// All that has happened, of this kind. What was told a moment ago may not have been read yet, so they are asked,
    /// and answer behind it.
    pub(crate) fn all(&self, event: &str) -> Vec<Value> {
        self.asked.set(self.asked.get() + 1);
        let mark = format!("so far, {}", self.asked.get());
        self.child.stdin.as_ref().expect("piped").write_all(mark.as_bytes()).expect("they read");
        self.lines.wait_for(&mark);
        self.seen(event)
    }

    /// What is known to have happened, of this kind.
    pub(crate) fn seen(&self, event: &str) -> Vec<Value> {
        let lines =
            self.lines.all().into_iter().map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
        lines.filter(|seen| seen["event"] == event).collect()
    }

    /// The same, when there are `count`.
    pub(crate) fn wait(&self, event: &str, count: usize) -> Vec<Value> {
        self.lines.wait_longer_for_count(&format!("\"event\":\"{event}\""), count, 2 * GUARD);
        self.seen(event)
    }

    /// Waits until no call is open.
    pub(crate) fn wait_idle(&self) {
        eventually("no call is open", || {
            self.seen("open").last().is_none_or(|open| open["streams"] == 0).then_some(())
        });
    }

    /// Calls of this method, when there are `count`.
    pub(crate) fn calls(&self, method: &str, count: usize) -> Vec<Value> {
        eventually(&format!("{count} calls of {method}"), || {
            let calls = self.seen("call").into_iter().filter(|call| call["method"] == method);
            Some(calls.collect::<Vec<_>>()).filter(|calls| calls.len() >= count)
        })
    }

    /// Ends them as nobody can prevent.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our child");
        eventually("the end of the planes", || self.child.try_wait().expect("our child"));
    }
}

impl Drop for Planes {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A sidecar to be, in front of data planes alone.
pub(crate) fn setup() -> Setup {
    with_control().set("noslate.control", "false")
}

/// A sidecar to be, in front of both kinds of planes.
pub(crate) fn with_control() -> Setup {
    let setup = Setup::new();
    fs::create_dir(setup.dir().join("socks")).expect("a directory");
    let workdir = text(setup.dir()).to_owned();
    setup.set("upstream", "noslate").set("noslate.workdir", &workdir)
}

/// A sidecar in front of a data plane that takes any function.
pub(crate) fn front(configure: impl FnOnce(Setup) -> Setup) -> (Planes, Sidecar) {
    front_of(&[], configure)
}

/// The same, of a data plane with more switches.
pub(crate) fn front_of(switches: &[&str], configure: impl FnOnce(Setup) -> Setup) -> (Planes, Sidecar) {
    let setup = configure(setup());
    let planes = Planes::data(&setup, switches);
    (planes, setup.start_ready())
}
