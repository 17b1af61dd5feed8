//! The command line: words in, one [`Command`] out.
//!
//! Values of flags are not judged here. They join file and environment in
//! `config`, so that `--port abc` and `port = "abc"` get the same answer, together
//! with every other problem. Only the shape of the line is wrong usage (64).

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;

#[cfg(feature = "top")]
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::config::Admin;
use crate::config::keys::{KEYS, Kind};
use crate::config::load::{self, Flags, World};
use crate::config::show;
#[cfg(feature = "top")]
use crate::config::units;
use crate::emulate::{self, options::Wish};
use crate::error::Problem;
use crate::exit::ExitCode;
use crate::watch;
use crate::worker::planes::files::{self, Prepared};

/// What the process was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve. Also what no subcommand at all means.
    Run(Flags),
    /// Judge the configuration; start nothing.
    Check(Flags),
    /// Print the resolved configuration.
    Config(Flags),
    /// Tell how a running instance stands.
    Status {
        /// What says where its admin is.
        flags: Flags,
        /// As the admin's JSON.
        as_json: bool,
    },
    /// The same, live in the terminal.
    #[cfg(feature = "top")]
    Top {
        /// What says where its admin is.
        flags: Flags,
        /// How often to ask.
        every: Duration,
    },
    /// Be the platform around a command.
    Emulate(Box<Wish>),
    /// Be a worker: the one we start when there is nothing else to start.
    DemoWorker,
    /// Help, the version or a complaint was printed; leave with this code.
    Answered(ExitCode),
}

/// Parses this process's command line; help, version and complaints are printed.
#[must_use]
pub fn parse() -> Command {
    parse_from(std::env::args_os()).unwrap_or_else(|error| {
        // Nobody reads what cannot be written.
        drop(error.print());
        Command::Answered(exit_of(&error))
    })
}

/// Parses `words`, the program's name first.
///
/// # Errors
/// Clap's, for wrong usage as well as for help and version; [`exit_of`] tells them apart.
pub fn parse_from(words: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    Ok(match Line::try_parse_from(words)?.action {
        None => Command::Run(Flags::default()),
        Some(Action::Run { options, check: false }) => Command::Run(options.into()),
        Some(Action::Run { options, check: true } | Action::Check { options }) => {
            Command::Check(options.into())
        }
        Some(Action::Config { options }) => Command::Config(options.into()),
        Some(Action::Status { whose, json }) => Command::Status { flags: whose.into(), as_json: json },
        #[cfg(feature = "top")]
        Some(Action::Top { whose, every }) => Command::Top { flags: whose.into(), every },
        Some(Action::Emulate { wish }) => Command::Emulate(Box::new((*wish).into())),
        Some(Action::DemoWorker) => Command::DemoWorker,
    })
}

/// 0 for help and version, 64 for wrong usage.
#[must_use]
pub fn exit_of(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::Done,
        _ => ExitCode::Usage,
    }
}

/// `warmfront check`: one line on stdout if valid, every problem on stderr if not. Files that the configuration names
/// are judged with it; what is only odd about them goes to stderr too.
#[must_use]
pub fn check(flags: &Flags) -> ExitCode {
    let Prepared { loaded, profiles, warnings } = match files::prepare(flags, &World::real()) {
        Ok(prepared) => prepared,
        Err(problems) => {
            report(&problems);
            return ExitCode::BadConfig;
        }
    };
    write_all("warmfront: warning: ", &warnings, "warning");
    let known = profiles.summary().map_or_else(String::new, |known| format!(", {known}"));
    let line = format!("{}: valid ({}{known})\n", loaded.name(), show::summary(&loaded.config));
    drop(std::io::stdout().write_all(line.as_bytes()));
    ExitCode::Done
}

/// `warmfront config`: every key with its value and where it came from, on stdout.
#[must_use]
pub fn config(flags: &Flags) -> ExitCode {
    match load::load(flags, &World::real()) {
        Ok(loaded) => {
            drop(std::io::stdout().write_all(show::listing(&loaded.config, &loaded.layers).as_bytes()));
            ExitCode::Done
        }
        Err(problems) => {
            report(&problems);
            ExitCode::BadConfig
        }
    }
}

/// `warmfront status`: how a running instance stands, on stdout.
#[must_use]
pub fn status(flags: &Flags, as_json: bool) -> ExitCode {
    watch(flags, |admin| watch::status(admin, as_json))
}

/// `warmfront top`: the same live, until a key ends it.
#[cfg(feature = "top")]
#[must_use]
pub fn top(flags: &Flags, every: Duration) -> ExitCode {
    watch(flags, |admin| watch::top(admin, every))
}

/// `warmfront emulate`: the platform around a command, until a signal or one event ends it.
#[must_use]
pub fn emulate(wish: Wish) -> std::process::ExitCode {
    let options = match emulate::options::judge(wish) {
        Ok(options) => options,
        Err(problems) => {
            report(&problems);
            return ExitCode::BadConfig.into();
        }
    };
    emulate::run(options).unwrap_or_else(|problem| {
        report(&[problem]);
        ExitCode::SystemRefused.into()
    })
}

fn watch(flags: &Flags, look: impl FnOnce(Admin) -> Result<ExitCode, Problem>) -> ExitCode {
    let admin = match load::load(flags, &World::real()) {
        Ok(loaded) => loaded.config.admin,
        Err(problems) => {
            report(&problems);
            return ExitCode::BadConfig;
        }
    };
    look(admin).unwrap_or_else(|problem| {
        report(&[problem]);
        ExitCode::SystemRefused
    })
}

/// Writes every problem to stderr, each after `warmfront: `, and how many there are.
pub fn report(problems: &[Problem]) {
    write_all("warmfront: ", problems, "problem");
}

/// Nothing if there are none.
fn write_all(prefix: &str, problems: &[Problem], noun: &str) {
    let mut out = String::new();
    for problem in problems {
        out.push_str(&format!("{prefix}{problem}\n"));
    }
    out.push_str(&match problems.len() {
        0 => String::new(),
        1 => format!("1 {noun}.\n"),
        count => format!("{count} {noun}s.\n"),
    });
    // Nobody reads what cannot be written.
    drop(std::io::stderr().write_all(out.as_bytes()));
}

/// What this build has beside what every build has.
const FEATURES: &[(&str, bool)] = &[
    ("mimalloc", cfg!(feature = "mimalloc")),
    ("top", cfg!(feature = "top")),
    ("uring", cfg!(feature = "uring")),
    ("otlp", cfg!(feature = "otlp")),
];

static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    let features: Vec<_> = FEATURES.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    format!("{}\ntarget: {arch}-{os}\nfeatures: {features}", env!("CARGO_PKG_VERSION"))
});

/// Every key with its default, its variable and what it is for.
fn key_help() -> String {
    let mut out = String::from("Keys (strongest first: flag, environment, file, default):\n");
    for key in KEYS {
        let default = if key.default.is_empty() { "" } else { " = " };
        let names = [key.flag.filter(|flag| *flag != "--").map(str::to_owned), key.env_name()];
        let names = names.into_iter().flatten().collect::<Vec<_>>().join(", ");
        let names = if names.is_empty() { "only in the file".to_owned() } else { names };
        out.push_str(&format!("\n  {}{default}{}  [{names}]\n      {}\n", key.path, key.default, key.help));
        if let Kind::Tables(fields) = key.kind {
            for field in fields {
                let default = if field.default.is_empty() { "" } else { " = " };
                let (head, name) = (key.path, field.path);
                out.push_str(&format!(
                    "\n    [[{head}]] {name}{default}{}\n      {}\n",
                    field.default, field.help
                ));
            }
        }
    }
    out
}

/// A fast front door that keeps a pool of warm workers on Unix sockets.
///
/// Without a subcommand: `run`, configured by ./warmfront.toml and the environment.
#[derive(Debug, Parser)]
#[command(name = "warmfront", version, long_version = LONG_VERSION.as_str(), disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start the workers and serve
    Run {
        #[command(flatten)]
        options: Options,
        /// Only judge the configuration, like `check`
        #[arg(long, alias = "check-config")]
        check: bool,
    },
    /// Judge the configuration: touches no port, starts no worker
    Check {
        #[command(flatten)]
        options: Options,
    },
    /// Print every key, its value and where it came from
    ///
    /// The output is itself a valid configuration file, but for masked secrets.
    #[command(after_long_help = key_help())]
    Config {
        #[command(flatten)]
        options: Options,
    },
    /// Tell how a running instance stands; ends with 69 if it is not ready
    Status {
        #[command(flatten)]
        whose: Whose,
        /// Print what its admin says (GET /now), as JSON
        #[arg(long)]
        json: bool,
    },
    /// Watch a running instance: requests, latency, workers, who is in flight
    #[cfg(feature = "top")]
    Top {
        #[command(flatten)]
        whose: Whose,
        /// How often to ask, from 100ms to 60s
        #[arg(long, short = 'n', value_name = "PERIOD", default_value = "1s", value_parser = every)]
        every: Duration,
    },
    /// Be the platform around a command: start, gateway, freeze, callbacks, end
    ///
    /// Whatever Function Compute can start can be the command. Without --event: a gateway, until Ctrl-C.
    Emulate {
        #[command(flatten)]
        wish: Box<Emulated>,
    },
    /// Answer requests as a worker
    #[command(hide = true)]
    DemoWorker,
}

/// Which instance.
#[derive(Args, Debug)]
struct Whose {
    /// Configuration file of the instance [default: as for `run`]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where its admin listens: an address with its port, or the path of a Unix socket
    #[arg(long, value_name = "WHERE")]
    admin: Option<OsString>,
}

impl From<Whose> for Flags {
    fn from(whose: Whose) -> Self {
        Self { config: whose.config, admin: whose.admin, ..Self::default() }
    }
}

/// A period that people can follow and an admin does not notice.
#[cfg(feature = "top")]
fn every(text: &str) -> Result<Duration, String> {
    let period = units::period(text).map_err(|error| error.to_string())?;
    let is_fine = (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&period);
    if is_fine { Ok(period) } else { Err("it must be from 100ms to 60s".to_owned()) }
}

/// One function and its platform.
#[derive(Args, Debug)]
struct Emulated {
    /// Port that the instance listens on
    #[arg(long, short, value_name = "PORT", default_value = "9000")]
    port: String,
    /// Where the gateway listens; port 0 lets the system choose
    #[arg(long, short, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Directory of the code, in which the command is started [default: this one]
    #[arg(long, value_name = "DIR")]
    code: Option<PathBuf>,
    /// Variable of the function; repeat for each
    #[arg(long = "env", short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// How long the port may take to open
    #[arg(long, value_name = "PERIOD", default_value = "120s")]
    start_deadline: String,
    /// Send POST /initialize behind the start, and how long it may take
    #[arg(long, value_name = "PERIOD", num_args = 0..=1, require_equals = true, default_missing_value = "300s")]
    initializer: Option<String>,
    /// Ask for the health of the instance at this path
    #[arg(long, value_name = "PATH")]
    health_check: Option<String>,
    /// Send GET /pre-stop before the end, and how long it may take
    #[arg(long, value_name = "PERIOD", num_args = 0..=1, require_equals = true, default_missing_value = "3s")]
    pre_stop: Option<String>,
    /// Send GET /pre-freeze before each freeze (FC2), and how long it may take
    #[arg(long, value_name = "PERIOD", num_args = 0..=1, require_equals = true, default_missing_value = "3s")]
    pre_freeze: Option<String>,
    /// Requests that the instance holds at once, 1 to 200
    #[arg(long, value_name = "N", default_value = "20")]
    concurrency: String,
    /// How long one invocation may take
    #[arg(long, value_name = "PERIOD", default_value = "60s")]
    timeout: String,
    /// Destroy the instance when it had no request for so long [default: never]
    #[arg(long, value_name = "PERIOD")]
    idle: Option<String>,
    /// How to freeze: auto, signal, cgroup or never
    #[arg(long, value_name = "HOW", default_value = "auto")]
    freeze: String,
    /// Answer as a custom domain: nothing is forced to be a download
    #[arg(long)]
    custom_domain: bool,
    /// Name of the function
    #[arg(long, value_name = "NAME", default_value = "function")]
    function_name: String,
    /// Region of the function
    #[arg(long, value_name = "REGION", default_value = "cn-hangzhou")]
    region: String,
    /// Memory of the function in MB; told, not enforced
    #[arg(long, value_name = "MB", default_value = "512")]
    memory: String,
    /// Print log lines as JSON
    #[arg(long)]
    json: bool,
    /// Invoke once with this event (a file, - for stdin, or the text itself), print the answer, end
    #[arg(long, value_name = "EVENT", allow_hyphen_values = true)]
    event: Option<String>,
    /// Program and arguments of the instance
    #[arg(last = true, value_name = "COMMAND", required = true)]
    command: Vec<OsString>,
}

impl From<Emulated> for Wish {
    fn from(emulated: Emulated) -> Self {
        Self {
            command: emulated.command,
            code: emulated.code,
            port: emulated.port,
            listen: emulated.listen,
            start_deadline: emulated.start_deadline,
            initializer: emulated.initializer,
            health_check: emulated.health_check,
            pre_stop: emulated.pre_stop,
            pre_freeze: emulated.pre_freeze,
            concurrency: emulated.concurrency,
            timeout: emulated.timeout,
            idle: emulated.idle,
            freeze: emulated.freeze,
            custom_domain: emulated.custom_domain,
            env: emulated.env,
            function_name: emulated.function_name,
            region: emulated.region,
            memory: emulated.memory,
            json: emulated.json,
            event: emulated.event,
        }
    }
}

#[derive(Args, Debug)]
struct Options {
    /// Configuration file [default: $WARMFRONT_CONFIG, else ./warmfront.toml if it exists]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Worker processes to keep warm
    #[arg(long, short, value_name = "N")]
    workers: Option<OsString>,
    /// TCP port to bind
    #[arg(long, short, value_name = "PORT")]
    port: Option<OsString>,
    /// Requests one worker may hold at once, or auto
    #[arg(long, value_name = "N")]
    concurrency: Option<OsString>,
    /// Data-plane threads, or auto
    #[arg(long, value_name = "N")]
    threads: Option<OsString>,
    /// How bytes move: epoll, uring or auto
    #[arg(long, value_name = "HOW")]
    engine: Option<OsString>,
    /// How workers listen: socket or tcp
    #[arg(long, value_name = "HOW")]
    transport: Option<OsString>,
    /// Who answers: http (workers) or noslate (its data planes)
    #[arg(long, value_name = "WHO")]
    upstream: Option<OsString>,
    /// Unix socket of a worker that something else runs; repeat for each
    #[arg(long = "socket", value_name = "PATH")]
    sockets: Vec<OsString>,
    /// How finished requests are reported: text, json or off
    #[arg(long, value_name = "HOW")]
    access_log: Option<OsString>,
    /// Where the admin listens: an address with its port, or the path of a Unix socket
    #[arg(long, value_name = "WHERE")]
    admin: Option<OsString>,
    /// Program and arguments of one worker
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl From<Options> for Flags {
    fn from(options: Options) -> Self {
        Self {
            config: options.config,
            workers: options.workers,
            port: options.port,
            concurrency: options.concurrency,
            threads: options.threads,
            engine: options.engine,
            transport: options.transport,
            upstream: options.upstream,
            access_log: options.access_log,
            admin: options.admin,
            sockets: options.sockets,
            command: options.command,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parsed(line: &str) -> Result<Command, ExitCode> {
        let words = std::iter::once("warmfront").chain(line.split_whitespace()).map(OsString::from);
        parse_from(words).map_err(|error| exit_of(&error))
    }

    #[test]
    fn the_parser_has_no_contradictions() {
        Line::command().debug_assert();
    }

    #[test]
    fn no_words_at_all_mean_run() {
        assert_eq!(parsed(""), Ok(Command::Run(Flags::default())));
    }

    #[test]
    fn every_flag_reaches_its_field() {
        let line = "run --config a.toml --workers 3 --port 80 --concurrency auto --threads 2 --engine auto --upstream http \
                    --transport tcp \
                    --socket /a --socket /b --access-log off --admin /c -- node x.js --port 1";
        let word = |word: &str| Some(OsString::from(word));
        let expected = Flags {
            config: Some("a.toml".into()),
            workers: word("3"),
            port: word("80"),
            concurrency: word("auto"),
            threads: word("2"),
            engine: word("auto"),
            transport: word("tcp"),
            upstream: word("http"),
            access_log: word("off"),
            admin: word("/c"),
            sockets: vec!["/a".into(), "/b".into()],
            command: ["node", "x.js", "--port", "1"].map(OsString::from).to_vec(),
        };
        assert_eq!(parsed(line), Ok(Command::Run(expected.clone())));
        assert_eq!(parsed(&line.replacen("run", "check", 1)), Ok(Command::Check(expected.clone())));
        assert_eq!(parsed(&line.replacen("run", "run --check", 1)), Ok(Command::Check(expected.clone())));
        assert_eq!(parsed(&line.replacen("run", "config", 1)), Ok(Command::Config(expected)));
    }

    #[test]
    fn every_flag_of_a_key_is_a_flag_of_the_command_line() {
        let command = Line::command();
        let run = command.find_subcommand("run").unwrap();
        for flag in crate::config::keys::KEYS.iter().filter_map(|key| key.flag).filter(|flag| *flag != "--") {
            assert!(run.get_arguments().any(|arg| arg.get_long() == flag.strip_prefix("--")), "{flag}");
        }
    }

    #[test]
    fn the_version_names_every_feature_that_changes_the_program() {
        let manifest = include_str!("../Cargo.toml");
        let features =
            manifest.split("[features]\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
        let names = features.lines().filter_map(|line| Some(line.split_once(" = ")?.0));
        // The one is a list of others, the other one the second program.
        let names: Vec<_> = names.filter(|name| !matches!(*name, "default" | "loadtest")).collect();
        let said: Vec<_> = FEATURES.iter().map(|(name, _)| *name).collect();
        assert_eq!(said, names);
    }

    #[test]
    fn wrong_usage_is_64_and_help_is_0() {
        for line in ["walk", "run extra", "run --nope", "--port 1", "run --port", "demo-worker x"] {
            assert_eq!(parsed(line), Err(ExitCode::Usage), "{line}");
        }
        for line in ["--help", "-h", "run --help", "--version", "-V"] {
            assert_eq!(parsed(line), Err(ExitCode::Done), "{line}");
        }
        assert_eq!(parsed("demo-worker"), Ok(Command::DemoWorker));
    }

    #[test]
    fn an_emulation_has_the_platforms_defaults_and_needs_a_command() {
        let Ok(Command::Emulate(wish)) =
            parsed("emulate --initializer --pre-stop=9s -e A=b --env C=d -- ./bootstrap -x")
        else {
            panic!("an emulation")
        };
        assert_eq!(wish.command, ["./bootstrap", "-x"]);
        assert_eq!((wish.initializer.as_deref(), wish.pre_stop.as_deref()), (Some("300s"), Some("9s")));
        assert_eq!((wish.pre_freeze, wish.env), (None, vec!["A=b".to_owned(), "C=d".to_owned()]));
        assert_eq!((wish.port.as_str(), wish.listen.as_str()), ("9000", "127.0.0.1:8080"));
        assert_eq!((wish.timeout.as_str(), wish.concurrency.as_str()), ("60s", "20"));
        for bad in ["emulate", "emulate ./bootstrap", "emulate --initializer 9s -- x"] {
            assert_eq!(parsed(bad), Err(ExitCode::Usage), "{bad}");
        }
    }

    #[test]
    fn watching_needs_to_know_whom_and_how_often() {
        let flags =
            || Flags { admin: Some("/a.sock".into()), config: Some("b.toml".into()), ..Flags::default() };
        let line = "status --admin /a.sock --config b.toml";
        assert_eq!(parsed(line), Ok(Command::Status { flags: flags(), as_json: false }));
        assert_eq!(parsed("status --json"), Ok(Command::Status { flags: Flags::default(), as_json: true }));
        assert_eq!(parsed("status --port 1"), Err(ExitCode::Usage));
        #[cfg(feature = "top")]
        {
            let top = |every| Ok(Command::Top { flags: flags(), every });
            let line = line.replace("status", "top");
            assert_eq!(parsed(&line), top(Duration::from_secs(1)));
            assert_eq!(parsed(&format!("{line} -n 250ms")), top(Duration::from_millis(250)));
            for bad in ["1", "1ms", "2m", "x"] {
                assert_eq!(parsed(&format!("top --every {bad}")), Err(ExitCode::Usage), "{bad}");
            }
        }
    }
}
