//! The command line: words in, one [`Command`] out.
//!
//! Values of flags are not judged here. They join file and environment in
//! `config`, so that `--port abc` and `port = "abc"` get the same answer, together
//! with every other problem. Only the shape of the line is wrong usage (64).

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::config::keys::KEYS;
use crate::config::load::{self, Flags, Loaded, World};
use crate::config::show;
use crate::error::Problem;
use crate::exit::ExitCode;

/// What the process was asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve. Also what no subcommand at all means.
    Run(Flags),
    /// Judge the configuration; start nothing.
    Check(Flags),
    /// Print the resolved configuration.
    Config(Flags),
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

/// `warmfront check`: one line on stdout if valid, every problem on stderr if not.
#[must_use]
pub fn check(flags: &Flags) -> ExitCode {
    answer(flags, |loaded| format!("{}: valid ({})\n", loaded.name(), show::summary(&loaded.config)))
}

/// `warmfront config`: every key with its value and where it came from, on stdout.
#[must_use]
pub fn config(flags: &Flags) -> ExitCode {
    answer(flags, |loaded| show::listing(&loaded.config, &loaded.layers))
}

/// Writes every problem to stderr, each after `warmfront: `, and how many there are.
pub fn report(problems: &[Problem]) {
    let mut out = String::new();
    for problem in problems {
        out.push_str(&format!("warmfront: {problem}\n"));
    }
    out.push_str(&match problems.len() {
        1 => "1 problem.\n".to_owned(),
        count => format!("{count} problems.\n"),
    });
    // Nobody reads what cannot be written.
    drop(std::io::stderr().write_all(out.as_bytes()));
}

fn answer(flags: &Flags, text: impl Fn(&Loaded) -> String) -> ExitCode {
    match load::load(flags, &World::real()) {
        Ok(loaded) => {
            drop(std::io::stdout().write_all(text(&loaded).as_bytes()));
            ExitCode::Done
        }
        Err(problems) => {
            report(&problems);
            ExitCode::BadConfig
        }
    }
}

/// What this build has beside what every build has.
const FEATURES: &[(&str, bool)] =
    &[("mimalloc", cfg!(feature = "mimalloc")), ("uring", cfg!(feature = "uring"))];

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
    /// Answer requests as a worker
    #[command(hide = true)]
    DemoWorker,
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
        let line = "run --config a.toml --workers 3 --port 80 --concurrency auto --threads 2 --engine auto --transport tcp \
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
    fn wrong_usage_is_64_and_help_is_0() {
        for line in ["walk", "run extra", "run --nope", "--port 1", "run --port", "demo-worker x"] {
            assert_eq!(parsed(line), Err(ExitCode::Usage), "{line}");
        }
        for line in ["--help", "-h", "run --help", "--version", "-V"] {
            assert_eq!(parsed(line), Err(ExitCode::Done), "{line}");
        }
        assert_eq!(parsed("demo-worker"), Ok(Command::DemoWorker));
    }
}
