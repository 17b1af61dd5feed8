//! One app, reached in different ways: directly, behind warmfront, behind another proxy.
//!
//! A stack is what a Function Compute instance would run for it: the app, and what
//! stands in front of it, started at the same moment. The app is told where to listen
//! as the platform and warmfront tell it: by `PORT` and its two relatives, and by
//! `{port}` or `{socket}` in its words.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use crate::configurations::{self, Terms};
use crate::cpu;
use crate::fork::Moment;
use crate::launch::{Launched, Program};
use crate::process::{find_program, version_line};
use crate::report::SubjectFacts;
use crate::subjects::{Build, free_address};
use crate::target::Target;

/// Variables that tell an app its port, on the platform and elsewhere.
const PORT_VARIABLES: [&str; 3] = ["PORT", "FC_SERVER_PORT", "FC_CUSTOM_LISTEN_PORT"];

/// Flags that say what is measured.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct AppArgs {
    /// The app: a program that serves HTTP, and its arguments. `{port}` becomes its port, as does the variable PORT.
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "config")]
    pub(crate) command: Vec<OsString>,
    /// The same where it shall listen on a Unix socket: `{socket}` and the variable PORT become its path.
    /// Words are separated by spaces. The command itself if absent.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) socket_command: Option<String>,
    /// The port of an app that cannot be told one.
    #[arg(long, value_name = "PORT")]
    pub(crate) app_port: Option<u16>,
    /// Measure warmfront with this configuration, which names the app.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "socket_command", "app_port"])]
    pub(crate) config: Option<PathBuf>,
    /// The build of warmfront, "BIN [ARG|WARMFRONT_KEY=VALUE]..."; the one beside this program if absent.
    #[arg(long, value_name = "BUILD")]
    pub(crate) warmfront: Option<Build>,
    /// Processes of the app behind warmfront; one elsewhere.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) workers: u32,
}

impl AppArgs {
    /// The ways that were asked for; with a configuration of the user's there is one.
    pub(crate) fn ways(&self, asked: &[Way]) -> Vec<Way> {
        if self.config.is_some() { vec![Way::Config] } else { asked.to_vec() }
    }
}

/// How requests reach the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// The app's own TCP port.
    Direct,
    /// warmfront in front, the app on a Unix socket.
    Socket,
    /// The same with one process more than asked for.
    Spare,
    /// warmfront in front, the app on a TCP port.
    Tcp,
    /// nginx in front, the app on a TCP port.
    Nginx,
    /// haproxy in front, the app on a TCP port.
    Haproxy,
    /// warmfront with a configuration of the user's.
    Config,
}

const WAYS: [(&str, Way); 6] = [
    ("direct", Way::Direct),
    ("socket", Way::Socket),
    ("spare", Way::Spare),
    ("tcp", Way::Tcp),
    ("nginx", Way::Nginx),
    ("haproxy", Way::Haproxy),
];

impl Way {
    /// What it is called in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Config => "warmfront",
            _ => WAYS.iter().find(|(_, way)| *way == self).map_or("?", |(name, _)| name),
        }
    }

    /// Whether warmfront is in front.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Socket | Self::Spare | Self::Tcp | Self::Config)
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        WAYS.iter().find(|(name, _)| *name == text).map(|(_, way)| *way).ok_or_else(|| {
            format!("`{text}` is no way to reach an app; there are {}", WAYS.map(|(name, _)| name).join(", "))
        })
    }
}

/// A stack that is ready to be started, again and again.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) way: Way,
    /// In the order of their start; the last is the one that takes connections.
    programs: Vec<Program>,
    /// Where it takes them.
    pub(crate) target: SocketAddr,
    /// Who tells the version, and by which flag; the app's name where asking it could start it.
    version: Result<(PathBuf, &'static str), String>,
    /// Configuration file or command line, for the record.
    configuration: String,
}

impl Plan {
    /// Finds programs and ports, writes configurations into `dir`; starts nothing.
    ///
    /// # Errors
    /// Why this way cannot be measured here.
    pub(crate) fn new(way: Way, app: &AppArgs, dir: &Path) -> Result<Self, String> {
        let dir = dir.join(format!("{}-{}", way.name(), free_port()?));
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        if way.is_ours() { warmfront(way, app) } else { plain(way, app, &dir) }
    }

    /// Starts all of it.
    ///
    /// # Errors
    /// A program cannot be executed.
    pub(crate) fn start(&self) -> io::Result<Stack> {
        let programs = self.programs.iter().map(Launched::start).collect::<io::Result<Vec<_>>>()?;
        Ok(Stack { programs, target: self.target })
    }

    /// For the report.
    pub(crate) fn facts(&self) -> SubjectFacts {
        SubjectFacts {
            name: self.way.name().into(),
            version: match &self.version {
                Ok((program, flag)) => version_line(program, flag),
                Err(name) => name.clone(),
            },
            configuration: self.configuration.clone(),
            is_ours: self.way.is_ours(),
        }
    }
}

/// A stack that runs; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Stack {
    programs: Vec<Launched>,
    pub(crate) target: SocketAddr,
}

impl Stack {
    /// The process that takes connections.
    pub(crate) fn front(&self) -> Option<&Launched> {
        self.programs.last()
    }

    /// The process of the app, where something else is in front of it.
    pub(crate) fn first(&self) -> Option<&Launched> {
        self.programs.first()
    }

    /// When one of its programs first wrote something.
    pub(crate) fn first_output(&self) -> Option<Moment> {
        self.programs.iter().filter_map(Launched::first_output).min()
    }

    /// Which program ended and how, if one did.
    pub(crate) fn failure(&mut self) -> Option<String> {
        self.programs.iter_mut().find_map(Launched::failure)
    }

    /// The last lines that its programs wrote.
    pub(crate) fn last_words(&self) -> String {
        let words = self.programs.iter().map(Launched::last_words).filter(|words| !words.is_empty());
        words.collect::<Vec<_>>().join(" | ")
    }

    /// All its processes, children of children included.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.programs.iter().map(Launched::pid).collect();
        let mut next = 0;
        while let Some(pid) = pids.get(next).copied() {
            // One that ends meanwhile has no children any more.
            pids.extend(cpu::children(pid).unwrap_or_default());
            next += 1;
        }
        pids
    }
}

fn warmfront(way: Way, app: &AppArgs) -> Result<Plan, String> {
    let build = app.warmfront.clone().map_or_else(beside, Ok)?;
    if !build.program.is_file() {
        return Err(format!(
            "{} does not exist; build it (cargo build --release), or name another with --warmfront",
            build.program.display()
        ));
    }
    let port = free_port()?;
    let mut words: Vec<OsString> = vec![build.program.clone().into(), "run".into()];
    let mut give = |flag: &str, value: OsString| {
        if !build.args.iter().any(|arg| arg.split('=').next() == Some(flag)) {
            words.extend([flag.into(), value]);
        }
    };
    give("--port", port.to_string().into());
    if let Some(config) = &app.config {
        give("--config", config.clone().into());
    } else {
        give("--access-log", "off".into());
        give("--workers", (app.workers + u32::from(way == Way::Spare)).to_string().into());
        let transport = match app.app_port.filter(|_| app.socket_command.is_none()) {
            _ if way == Way::Tcp => "tcp",
            // One that cannot be told its port cannot be told a socket either: it gets one in the port's place.
            Some(port) => {
                give("--app-port", port.to_string().into());
                "shim"
            }
            None => "socket",
        };
        give("--transport", transport.into());
    }
    words.extend(build.args.iter().map(OsString::from));
    if app.config.is_none() {
        words.push("--".into());
        match app.socket_command.as_ref().filter(|_| way != Way::Tcp) {
            Some(line) => words.extend(line.split_ascii_whitespace().map(OsString::from)),
            None => words.extend(app.command.iter().cloned()),
        }
    }
    let environment = build.environment.iter().map(|(key, value)| (key.into(), value.into())).collect();
    let program = Program { words, environment, is_asked_to_end: true };
    let mut configuration = program.line();
    if let Some(config) = &app.config {
        let text = fs::read_to_string(config).map_err(|error| format!("{}: {error}", config.display()))?;
        configuration += &format!("\n\n{text}");
    }
    let version = Ok((build.program, "--version"));
    Ok(Plan { way, programs: vec![program], target: loopback(port), version, configuration })
}

fn beside() -> Result<Build, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    own.with_file_name("warmfront").display().to_string().parse()
}

fn plain(way: Way, app: &AppArgs, dir: &Path) -> Result<Plan, String> {
    let app_port = app.app_port.map_or_else(free_port, Ok)?;
    let app_program = direct(app, app_port);
    let command_line = app_program.line();
    if way == Way::Direct {
        let version = version_of(&app_program);
        let target = loopback(app_port);
        return Ok(Plan { way, programs: vec![app_program], target, version, configuration: command_line });
    }
    let target = loopback(free_port()?);
    let workers = [Target::Tcp(loopback(app_port))];
    let is_root = fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0);
    let terms = Terms { workers: &workers, listen: &[target], threads: 1, slots: None, is_root };
    let (name, text, file, version_flag) = match way {
        Way::Nginx => ("nginx", configurations::nginx(&terms), dir.join("nginx.conf"), "-v"),
        _ => ("haproxy", configurations::haproxy(&terms, false), dir.join("haproxy.cfg"), "-v"),
    };
    let program = find_program(name)
        .ok_or_else(|| format!("{name} is not installed; scripts/setup-peers does that"))?;
    fs::write(&file, &text).map_err(|error| format!("{}: {error}", file.display()))?;
    let args: Vec<&OsStr> = match way {
        // `-e`: before the configuration is read, errors would go to a system file.
        Way::Nginx => [OsStr::new("-p"), dir.as_os_str()]
            .into_iter()
            .chain(["-e", "stderr", "-c"].map(OsStr::new))
            .collect(),
        _ => ["-db", "-f"].map(OsStr::new).into(),
    };
    let words = std::iter::once(program.as_os_str()).chain(args).chain([file.as_os_str()]);
    let front = Program {
        words: words.map(OsStr::to_owned).collect(),
        environment: Vec::new(),
        is_asked_to_end: true,
    };
    let configuration = format!("{command_line}\n{}\n\n{text}", front.line());
    Ok(Plan {
        way,
        programs: vec![app_program, front],
        target,
        version: Ok((program, version_flag)),
        configuration,
    })
}

/// The app by itself on a port.
fn direct(app: &AppArgs, port: u16) -> Program {
    let port = port.to_string();
    let words = app.command.iter().map(|word| match word.to_str() {
        Some(text) => text.replace("{port}", &port).into(),
        None => word.clone(),
    });
    let environment = PORT_VARIABLES.iter().map(|name| ((*name).into(), port.clone().into()));
    Program { words: words.collect(), environment: environment.collect(), is_asked_to_end: false }
}

/// Who tells the app's version: its program, where it is one that is known to say it and do nothing else.
fn version_of(app: &Program) -> Result<(PathBuf, &'static str), String> {
    const TALKATIVE: [(&str, &str); 6] = [
        ("node", "--version"),
        ("python3", "--version"),
        ("python", "--version"),
        ("java", "-version"),
        ("php", "--version"),
        ("ruby", "--version"),
    ];
    let first = app.words.first().map(PathBuf::from).unwrap_or_default();
    let name = first.file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
    match TALKATIVE.iter().find(|(program, _)| *program == name) {
        Some((_, flag)) => Ok((first, flag)),
        None => Err(name),
    }
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn free_port() -> Result<u16, String> {
    free_address().map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(words: &[&str]) -> AppArgs {
        AppArgs { command: words.iter().map(OsString::from).collect(), workers: 2, ..AppArgs::default() }
    }

    #[test]
    fn an_app_is_told_its_port_in_every_way() {
        let program = direct(&app(&["node", "server.js", "--port={port}"]), 8123);
        assert_eq!(program.line(), "node server.js --port=8123");
        for name in PORT_VARIABLES {
            assert!(program.environment.contains(&(name.into(), "8123".into())), "{name}");
        }
    }

    #[test]
    fn warmfront_tells_the_app_itself_and_a_build_may_know_better() {
        let own = std::env::current_exe().unwrap().display().to_string();
        let build = format!("{own} --workers 4").parse().unwrap();
        let app = AppArgs {
            warmfront: Some(build),
            socket_command: Some("a -b {socket}".into()),
            ..app(&["a", "{port}"])
        };
        let line = |way| warmfront(way, &app).unwrap().programs[0].line();
        let socket = line(Way::Spare);
        assert!(socket.ends_with(" --transport socket --workers 4 -- a -b {socket}"), "{socket}");
        assert!(line(Way::Tcp).ends_with(" --transport tcp --workers 4 -- a {port}"));
        let deaf = AppArgs {
            warmfront: Some(own.parse().unwrap()),
            app_port: Some(3000),
            socket_command: None,
            ..app.clone()
        };
        let line = |way| warmfront(way, &deaf).unwrap().programs[0].line();
        assert!(
            line(Way::Socket).ends_with(" --app-port 3000 --transport shim -- a {port}"),
            "{}",
            line(Way::Socket)
        );
        let spare = AppArgs { warmfront: Some(own.parse().unwrap()), ..app };
        let line = warmfront(Way::Spare, &spare).unwrap().programs[0].line();
        assert!(line.contains(" --workers 3 "), "{line}");
    }

    #[test]
    fn with_a_configuration_there_is_one_way() {
        let asked = [Way::Direct, Way::Nginx];
        assert_eq!(app(&["a"]).ways(&asked), asked);
        let configured = AppArgs { config: Some("warmfront.toml".into()), ..AppArgs::default() };
        assert_eq!(configured.ways(&asked), [Way::Config]);
    }

    #[test]
    fn what_is_not_there_is_a_reason() {
        let app = AppArgs { warmfront: Some("/nowhere/warmfront".parse().unwrap()), ..app(&["a"]) };
        let why = warmfront(Way::Socket, &app).unwrap_err();
        assert!(why.starts_with("/nowhere/warmfront does not exist; build it"), "{why}");
        assert!("envoy".parse::<Way>().unwrap_err().contains("direct, socket, spare, tcp, nginx, haproxy"));
    }
}
