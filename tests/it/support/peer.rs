//! Clients that nobody here wrote, as processes that take lines and say lines of JSON:
//! Go's `net/http` (`tests/clients/go`), the one of `fun local` (`tests/apps/fun`), Chromium (`tests/clients/browser`).

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use super::sidecar::Lines;
use super::{GUARD, app};

/// A browser is a large program, and the tests beside this one leave it little of the machine.
const BROWSER_START_MAX: Duration = Duration::from_secs(60);

/// A running client; killed on drop.
pub(crate) struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines,
    heard: usize,
}

impl Peer {
    /// Go's client, against `port`, with these flags (see its `main.go`).
    pub(crate) fn go(port: u16, flags: &[&str]) -> Self {
        let mut command = Command::new(go());
        command.arg("-port").arg(port.to_string()).args(flags);
        Self::start(command)
    }

    /// fun's client, against `port`, which retries for at most `seconds`.
    pub(crate) fn fun(port: u16, seconds: u32) -> Self {
        let mut command = Command::new("node");
        command.arg(app("fun/client.js")).args([port.to_string(), seconds.to_string()]);
        Self::start(command)
    }

    /// Chromium, with no window open yet (see its `browser.js`).
    pub(crate) fn browser() -> Self {
        let mut command = Command::new("node");
        app(""); // Sees to it that the browser and what drives it are there.
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/browser/browser.js"));
        let mut browser = Self::start(command);
        let version = browser.hear_within(BROWSER_START_MAX);
        assert!(version["browser"].is_string(), "{version}");
        browser
    }

    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client starts");
        let stdout = Lines::read(child.stdout.take().expect("piped"));
        Self { stdin: child.stdin.take(), child, stdout, heard: 0 }
    }

    /// Gives it a line.
    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("open until now");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    }

    /// The next thing it says.
    pub(crate) fn hear(&mut self) -> Value {
        self.hear_within(GUARD)
    }

    fn hear_within(&mut self, patience: Duration) -> Value {
        self.heard += 1;
        let line = self.stdout.wait_longer_for_count("", self.heard, patience).remove(self.heard - 1);
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"))
    }

    /// What came of one line.
    pub(crate) fn ask(&mut self, line: &str) -> Value {
        self.tell(line);
        self.hear()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Go's client, built once. No network: it needs nothing but Go's own library.
fn go() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        app(""); // Sees to it that Go is there.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let dir = tempfile::tempdir_in(target).expect("a directory");
        let build = Command::new("go")
            .args(["build", "-o"])
            .arg(dir.path().join("client"))
            .arg(".")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/go"))
            .env("GOCACHE", target.join("go-cache"))
            .env("GOFLAGS", "-mod=mod")
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local")
            .output()
            .expect("go runs");
        assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
        // Another process of tests may run the one that is there.
        let client = target.join("go-client");
        std::fs::rename(dir.path().join("client"), &client).expect("the same file system");
        client
    })
}
