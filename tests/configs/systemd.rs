//! The unit for systemd: systemd accepts it, its times fit ours, and what it is told is true.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{PROGRAM, resolved, root, seconds};

/// More than any step takes; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn unit() -> String {
    std::fs::read_to_string(root().join("configs/systemd/warmfront.service")).expect("the unit")
}

#[test]
fn systemd_itself_accepts_the_unit() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("warmfront.service");
    let verify = |text: String| {
        std::fs::write(&path, text).expect("written");
        let mut analyze = Command::new("systemd-analyze");
        // Others' units that this one needs are not on every machine.
        let output = analyze.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&path).output();
        let output = output.expect("systemd-analyze is there: scripts/setup-tests installs it");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // It wants the program to be there.
    let text = unit().replace("/usr/local/bin/warmfront", PROGRAM);
    let (is_fine, said) = verify(text.clone());
    assert!(is_fine && !said.contains("warmfront.service"), "{said}");
    for (right, wrong) in [
        ("Type=notify", "Type=notified"),
        ("KillMode=mixed", "KilMode=mixed"),
        ("TimeoutStopSec=45", "TimeoutStopSec=soon"),
        ("[Service]", "[Services]"),
    ] {
        assert!(text.contains(right));
        let (is_fine, said) = verify(text.replacen(right, wrong, 1));
        assert!(!is_fine || said.contains("warmfront.service"), "{wrong} went unnoticed");
    }
}

#[test]
fn the_times_of_the_unit_are_longer_than_those_of_warmfront() {
    let text = unit();
    let values = |name: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    let variables: Vec<(String, String)> = values("Environment")
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(variables.len(), 5);
    // Its directories are made by systemd.
    let config = resolved(&[], &variables);
    let limit = |name: &str| values(name)[0].parse::<u64>().expect("seconds");
    assert!(limit("TimeoutStartSec") > seconds(&config, "start.deadline"));
    assert!(limit("TimeoutStopSec") > seconds(&config, "drain.deadline") + seconds(&config, "workers.grace"));
    assert_eq!(config["hooks.pre_stop"], "off");
    assert_eq!(config["workers.socket_dir"], format!("/run/{}", values("RuntimeDirectory")[0]));
}

/// Ends what it holds, however a test does.
struct Running(Child);

impl Running {
    /// With the socket of a manager, and a worker that leaves its environment in a file.
    fn start(notify: &str, environment: &Path) -> Self {
        let tells = format!("env >'{}'; exec {PROGRAM} demo-worker", environment.display());
        let mut command = Command::new(PROGRAM);
        command.args(["run", "--port", "0", "--workers", "1", "--", "sh", "-c", &tells]);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("NOTIFY_SOCKET", notify);
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the binary starts"))
    }

    fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// News until one holds `word`.
fn until(socket: &UnixDatagram, word: &str) -> Vec<String> {
    let mut news = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let length =
            socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {word} in {news:?}: {error}"));
        news.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        if news.last().is_some_and(|last| last.lines().any(|line| line == word)) {
            return news;
        }
    }
}

#[test]
fn the_manager_is_told_when_the_workers_are_warm_and_when_it_drains_and_workers_cannot_speak_for_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("notify");
    let abstract_name = format!("@warmfront-unit-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&abstract_name.as_bytes()[1..]).expect("a name");
    for (socket, name) in [
        (UnixDatagram::bind(&path).expect("a socket"), path.to_string_lossy().into_owned()),
        (UnixDatagram::bind_addr(&address).expect("a socket"), abstract_name),
    ] {
        socket.set_read_timeout(Some(PATIENCE)).expect("a limit");
        let environment = dir.path().join("environment");
        let mut running = Running::start(&name, &environment);
        let news = until(&socket, "READY=1");
        assert_eq!(news.len(), 2, "{news:?}");
        assert_eq!(news[0], "STATUS=Starting 1 worker; requests wait for the first");
        assert_eq!(news[1], "READY=1\nSTATUS=Serving, 1 worker");
        let of_worker = std::fs::read_to_string(&environment).expect("the worker's environment");
        assert!(of_worker.contains("PATH=") && !of_worker.contains("NOTIFY_SOCKET"), "{of_worker}");
        running.terminate();
        let news = until(&socket, "STOPPING=1");
        assert_eq!(news, ["STOPPING=1\nSTATUS=Draining; requests in flight finish"]);
        assert_eq!(running.0.wait().expect("it ends").code(), Some(0));
    }
}
