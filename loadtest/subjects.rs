//! How each proxy is started, and what is known of it while it runs.
//!
//! What the peers are told is in `configurations.rs`. Each listens on both
//! loopback addresses of `namespace.rs`, so that one process serves cells with the
//! system's congestion control and cells with the chosen one.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::configurations::{self, Terms};
use crate::cpu;
use crate::namespace::{AS_CHOSEN, AS_IT_COMES};
use crate::process::{Cpu, Process, command, find_program, version_line};
use crate::target::Target;

/// How long a subject may take to accept its first connection.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts to connect: a start is measured this exactly.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// Requests one worker of warmfront may hold at once, unless workers have fewer slots: like its peers it then
/// lets nobody wait, whatever the connections.
const CONCURRENCY: u32 = 2000;

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Warmfront(Build),
    Nginx,
    Haproxy,
    /// The same, told to splice.
    HaproxySplice,
    H2o,
    Caddy,
    Pingora,
    /// `relay` of this program.
    Relay,
    /// `relay --splice` of this program.
    RelaySplice,
}

/// A build of warmfront and how to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Build {
    /// What to call it.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// Arguments of `run` that replace ours.
    pub(crate) args: Vec<String>,
    /// Settings by environment.
    pub(crate) environment: Vec<(String, String)>,
}

const PEERS: [(&str, Kind); 8] = [
    ("nginx", Kind::Nginx),
    ("haproxy", Kind::Haproxy),
    ("haproxy-splice", Kind::HaproxySplice),
    ("h2o", Kind::H2o),
    ("caddy", Kind::Caddy),
    ("pingora", Kind::Pingora),
    ("relay", Kind::Relay),
    ("relay-splice", Kind::RelaySplice),
];

impl Kind {
    /// What it is called in tables.
    pub(crate) fn name(&self) -> &str {
        if let Self::Warmfront(build) = self {
            return &build.name;
        }
        PEERS.iter().find(|(_, kind)| kind == self).map_or("?", |(name, _)| name)
    }

    /// Whether it is a build of warmfront.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Warmfront(_))
    }

    /// Whether it moves bytes without reading them.
    pub(crate) fn is_relay(&self) -> bool {
        matches!(self, Self::Relay | Self::RelaySplice)
    }

    /// Whether it is a variant that only makes sense with large bodies.
    pub(crate) fn is_for_bodies(&self) -> bool {
        matches!(self, Self::HaproxySplice | Self::RelaySplice)
    }

    /// Whether it lets requests wait for a worker whose slots are taken.
    pub(crate) fn has_a_queue(&self) -> bool {
        matches!(self, Self::Warmfront(_) | Self::Haproxy)
    }
}

impl FromStr for Build {
    type Err = String;

    /// `BIN`, `NAME=BIN`, each with arguments of `run` and `WARMFRONT_…=…` behind it, separated by spaces.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_ascii_whitespace();
        let first = words.next().ok_or("which build? BIN or NAME=BIN")?;
        let (name, program) = first.split_once('=').unwrap_or(("warmfront", first));
        let (mut args, mut environment) = (Vec::new(), Vec::new());
        for word in words {
            match word.split_once('=').filter(|(key, _)| key.starts_with("WARMFRONT_")) {
                Some((key, value)) => environment.push((key.to_owned(), value.to_owned())),
                None => args.push(word.to_owned()),
            }
        }
        Ok(Self { name: name.to_owned(), program: program.into(), args, environment })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        PEERS.iter().find(|(name, _)| *name == text).map(|(_, kind)| kind.clone()).ok_or_else(|| {
            format!("`{text}` is no known peer; there are {}", PEERS.map(|(name, _)| name).join(", "))
        })
    }
}

/// What all subjects are given.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Private directory for configurations, logs and sockets.
    pub(crate) dir: PathBuf,
    /// The worker sockets.
    pub(crate) sockets: Vec<PathBuf>,
    /// Where the proxy runs.
    pub(crate) cpu: Cpu,
    /// This program.
    pub(crate) own_program: PathBuf,
    /// The proxy of loadtest/pingora.
    pub(crate) pingora: PathBuf,
    /// Threads of each proxy; the relays have one.
    pub(crate) threads: u32,
    /// Requests one worker may hold at once; as many as come if `None`.
    pub(crate) slots: Option<u32>,
}

/// A proxy that accepts connections.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) kind: Kind,
    pub(crate) version: String,
    pub(crate) port: u16,
    /// Processes that carry traffic.
    pub(crate) cpu_of: Vec<u32>,
    /// Configuration file or arguments, for the record.
    pub(crate) configuration: String,
    /// From starting the process to the first accepted connection.
    pub(crate) started_in: Duration,
    process: Process,
}

impl Subject {
    /// Starts a subject and waits until it accepts connections.
    ///
    /// # Errors
    /// Not installed, not startable, or silent: the reason why it is not measured.
    pub(crate) fn start(kind: &Kind, stage: &Stage) -> Result<Self, String> {
        let port = free_address().map_err(|error| format!("no free port: {error}"))?.port();
        let dir = stage.dir.join(kind.name());
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let launch = launch(kind, stage, port, &dir)?;
        let mut start = command(&launch.program, stage.cpu);
        start.args(&launch.args).envs(launch.environment);
        let stop = (!launch.stop_args.is_empty()).then(|| {
            let mut stop = command(&launch.program, None);
            stop.args(&launch.stop_args);
            stop
        });
        let began = Instant::now();
        let mut process = Process::start(start, dir.join("log"), stop).map_err(|error| error.to_string())?;
        await_accept(&mut process, (AS_IT_COMES, port).into())?;
        let started_in = began.elapsed();
        let cpu_of = match kind {
            Kind::Nginx => await_children(process.pid(), stage.threads)?,
            _ => vec![process.pid()],
        };
        let version = version_line(&launch.program, launch.version_flag);
        let configuration = launch.configuration;
        Ok(Self { kind: kind.clone(), version, port, cpu_of, configuration, started_in, process })
    }

    /// What it is called in tables.
    pub(crate) fn name(&self) -> &str {
        self.kind.name()
    }

    /// Why it can no longer be measured, if so.
    pub(crate) fn failure(&mut self) -> Option<String> {
        let status = self.process.ended()?;
        Some(format!("ended with {status}: {}", self.process.last_words()))
    }

    /// Resident memory of the processes that carry traffic, in KiB.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn rss_kib(&self) -> io::Result<u64> {
        self.cpu_of.iter().map(|pid| cpu::rss_kib(*pid)).sum()
    }
}

struct Launch {
    program: PathBuf,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    configuration: String,
    version_flag: &'static str,
    /// Arguments that make the program stop its running self; empty if it may simply be ended.
    stop_args: Vec<String>,
}

impl Launch {
    fn new(program: PathBuf, args: Vec<String>, configuration: String, version_flag: &'static str) -> Self {
        let (environment, stop_args) = (Vec::new(), Vec::new());
        Self { program, args, environment, configuration, version_flag, stop_args }
    }
}

fn launch(kind: &Kind, stage: &Stage, port: u16, dir: &Path) -> Result<Launch, String> {
    let listen = [AS_IT_COMES, AS_CHOSEN].map(|address| SocketAddr::from((address, port)));
    let workers: Vec<Target> = stage.sockets.iter().cloned().map(Target::Unix).collect();
    let terms = Terms {
        workers: &workers,
        listen: &listen,
        threads: stage.threads,
        slots: stage.slots,
        is_root: fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0),
    };
    let installed = |name: &str| {
        find_program(name).ok_or_else(|| format!("{name} is not installed; scripts/setup-peers does that"))
    };
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<_, String>(path.display().to_string())
    };
    let strings = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let paths = || stage.sockets.iter().map(|path| path.display().to_string());
    Ok(match kind {
        Kind::Warmfront(build) => {
            if !build.program.is_file() {
                return Err(format!("{} does not exist", build.program.display()));
            }
            let args = warmfront_args(build, stage, port);
            let settings = build.environment.iter().map(|(key, value)| format!("{key}={value} "));
            let configuration = settings.collect::<String>() + &args.join(" ");
            let mut launch = Launch::new(build.program.clone(), args, configuration, "--version");
            launch.environment.clone_from(&build.environment);
            launch
        }
        Kind::Nginx => {
            let text = configurations::nginx(&terms);
            let file = write("nginx.conf", &text)?;
            // `-e`: before the configuration is read, errors would go to a system file.
            let args = strings(&["-p", &dir.display().to_string(), "-e", "stderr", "-c", &file]);
            let mut launch = Launch::new(installed("nginx")?, args, text, "-v");
            launch.stop_args = [&launch.args[..], &["-s".into(), "stop".into()]].concat();
            launch
        }
        Kind::Haproxy | Kind::HaproxySplice => {
            let text = configurations::haproxy(&terms, *kind == Kind::HaproxySplice);
            let file = write("haproxy.cfg", &text)?;
            Launch::new(installed("haproxy")?, strings(&["-db", "-f", &file]), text, "-v")
        }
        Kind::H2o => {
            let text = configurations::h2o(&terms);
            let file = write("h2o.conf", &text)?;
            Launch::new(installed("h2o")?, strings(&["-c", &file]), text, "--version")
        }
        Kind::Caddy => {
            let text = configurations::caddy(&terms);
            let file = write("Caddyfile", &text)?;
            let args = strings(&["run", "--adapter", "caddyfile", "--config", &file]);
            let mut launch = Launch::new(installed("caddy")?, args, text, "version");
            let home = dir.display().to_string();
            // It keeps its state in these.
            launch.environment = ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"]
                .map(|variable| (variable.to_owned(), home.clone()))
                .into();
            launch.environment.push(("GOMAXPROCS".into(), stage.threads.to_string()));
            launch
        }
        Kind::Pingora => {
            if !stage.pingora.is_file() {
                let place = stage.pingora.display();
                return Err(format!("{place} does not exist; scripts/setup-peers builds it"));
            }
            let addresses = listen.map(|address| address.to_string()).join(",");
            let mut args = vec![stage.threads.to_string(), addresses];
            args.extend(paths());
            Launch::new(stage.pingora.clone(), args.clone(), args.join(" "), "--version")
        }
        Kind::Relay | Kind::RelaySplice => {
            let addresses = listen.map(|address| address.to_string()).join(",");
            let mut args = strings(&["relay", "--listen", &addresses]);
            args.extend(paths().flat_map(|path| ["--unix".into(), path]));
            if *kind == Kind::RelaySplice {
                args.push("--splice".into());
            }
            Launch::new(stage.own_program.clone(), args.clone(), args.join(" "), "--version")
        }
    })
}

/// What a build asks for replaces what we would.
fn warmfront_args(build: &Build, stage: &Stage, port: u16) -> Vec<String> {
    let mut args = vec!["run".to_owned()];
    args.extend(stage.sockets.iter().flat_map(|path| ["--socket".into(), path.display().to_string()]));
    for (flag, value) in [
        ("--port", port.to_string()),
        ("--access-log", "off".into()),
        ("--concurrency", stage.slots.unwrap_or(CONCURRENCY).to_string()),
        ("--threads", stage.threads.to_string()),
    ] {
        if !build.args.iter().any(|arg| arg.split('=').next() == Some(flag)) {
            args.extend([flag.to_owned(), value]);
        }
    }
    args.extend(build.args.iter().cloned());
    args
}

/// A loopback address whose port nobody uses just now; a subject fails visibly if somebody takes it first.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Waits until `process` accepts connections at `address`.
pub(crate) fn await_accept(process: &mut Process, address: SocketAddr) -> Result<(), String> {
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
    await_accepted(process, connect)
}

/// The same at a Unix socket.
pub(crate) fn await_socket(process: &mut Process, socket: &Path) -> Result<(), String> {
    await_accepted(process, || UnixStream::connect(socket).is_ok())
}

fn await_accepted(process: &mut Process, connect: impl Fn() -> bool) -> Result<(), String> {
    await_some(|| {
        if let Some(status) = process.ended() {
            return Some(Err(format!("ended with {status}: {}", process.last_words())));
        }
        connect().then_some(Ok(()))
    })
    .unwrap_or_else(|| Err(format!("does not accept connections: {}", process.last_words())))
}

fn await_children(pid: u32, count: u32) -> Result<Vec<u32>, String> {
    await_some(|| cpu::children(pid).ok().filter(|pids| pids.len() >= count as usize))
        .ok_or_else(|| format!("has not {count} worker processes"))
}

fn await_some<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(dir: &Path) -> Stage {
        Stage {
            dir: dir.into(),
            sockets: vec!["/x/a".into(), "/x/b".into()],
            cpu: None,
            own_program: "/nowhere".into(),
            pingora: "/nowhere/pingora".into(),
            threads: 1,
            slots: None,
        }
    }

    #[test]
    fn a_build_can_be_given_a_name_arguments_and_environment() {
        let build: Build = "log=/a/warmfront --access-log text WARMFRONT_X=1".parse().unwrap();
        assert_eq!((&build.name[..], build.program.as_path()), ("log", Path::new("/a/warmfront")));
        assert_eq!(build.environment, [("WARMFRONT_X".to_owned(), "1".to_owned())]);
        let args = warmfront_args(&build, &stage(Path::new("/")), 8080).join(" ");
        assert_eq!(
            args,
            "run --socket /x/a --socket /x/b --port 8080 --concurrency 2000 --threads 1 --access-log text"
        );
        assert_eq!("/a/warmfront".parse::<Build>().unwrap().name, "warmfront");
        assert!("".parse::<Build>().is_err());
    }

    #[test]
    fn every_peer_is_found_by_its_name_and_an_unknown_one_lists_them() {
        for (name, kind) in PEERS {
            assert_eq!((name.parse(), kind.name()), (Ok(kind.clone()), name));
        }
        assert!("squid".parse::<Kind>().unwrap_err().contains("haproxy-splice"));
    }

    #[test]
    fn what_is_missing_is_a_reason_and_not_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let build = Kind::Warmfront("/nowhere/warmfront".parse().unwrap());
        for kind in [build, Kind::Pingora] {
            let reason = Subject::start(&kind, &stage(dir.path())).unwrap_err();
            assert!(reason.contains("does not exist"), "{reason}");
        }
    }
}
