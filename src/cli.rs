//! The command line: words in, one [`Command`] out.
//!
//! Values of flags are not judged here. They join file and environment in
//! `config`, so that `--port abc` and `port = "abc"` get the same answer, together
//! with every other problem. Only the shape of the line is wrong usage (64).

use std::convert::identity;
use std::ffi::OsString;
use std::io::Write;

#[cfg(feature = "top")]
use std::time::Duration;

use clap::Parser as _;
use clap::error::ErrorKind;

use crate::config::Admin;
use crate::config::load::{self, Flags, World};
use crate::config::{full, schema, show};
use crate::doctor;
use crate::emulate::{self, options::Wish};
use crate::error::Problem;
use crate::exit::ExitCode;
use crate::plan::{self, Given};
use crate::watch;
use crate::worker::planes::files::{self, Prepared};

use self::line::{Action, Line};

pub use self::papers::{Paper, print};

mod line;
mod papers;

/// What the process was asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Serve. Also what no subcommand at all means.
    Run(Flags),
    /// Judge the configuration; start nothing.
    Check(Flags),
    /// Print the resolved configuration.
    Config(Flags),
    /// Print what configuration files are like, whatever this one says.
    Template(Template),
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
    /// Try a command once and tell what to change.
    Doctor {
        /// The command, and what holds for it.
        flags: Flags,
        /// What is to be found out.
        wish: doctor::Wish,
    },
    /// Tell how many workers and instances a load needs.
    Plan {
        /// What says where the admin of an instance is that has measured it; `None` for nobody.
        from: Option<Flags>,
        /// What is known of the load.
        given: Given,
        /// As JSON.
        as_json: bool,
    },
    /// Be the platform around a command.
    Emulate(Box<Wish>),
    /// Print what says how to type and read this command line.
    Paper(Paper),
    /// Be a worker: the one we start when there is nothing else to start.
    DemoWorker,
    /// Help, the version or a complaint was printed; leave with this code.
    Answered(ExitCode),
}

/// What can be told of configuration files in general.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// Their JSON Schema.
    Schema,
    /// One with every key at its default.
    Full,
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
        Some(Action::Config { schema: true, .. }) => Command::Template(Template::Schema),
        Some(Action::Config { full: true, .. }) => Command::Template(Template::Full),
        Some(Action::Config { options, .. }) => Command::Config(options.into()),
        Some(Action::Status { whose, json }) => Command::Status { flags: whose.into(), as_json: json },
        #[cfg(feature = "top")]
        Some(Action::Top { whose, every }) => Command::Top { flags: whose.into(), every },
        Some(Action::Doctor { options, path, json }) => {
            Command::Doctor { flags: options.into(), wish: doctor::Wish { path, as_json: json } }
        }
        Some(Action::Plan { load, from, json }) => {
            let from = from.map(|place| Flags { admin: Some(place), ..Flags::default() });
            Command::Plan { from, given: load.into(), as_json: json }
        }
        Some(Action::Emulate { wish }) => Command::Emulate(Box::new((*wish).into())),
        Some(Action::Completions { shell }) => Command::Paper(Paper::Completions(shell)),
        Some(Action::Man { into: Some(directory), .. }) => Command::Paper(Paper::Manual(directory)),
        Some(Action::Man { command, into: None }) => Command::Paper(Paper::Page(papers::known(command)?)),
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

/// `warmfront config --schema` and `--full`, on stdout.
#[must_use]
pub fn template(template: Template) -> ExitCode {
    let text = match template {
        Template::Schema => schema::text(),
        Template::Full => full::text(),
    };
    drop(std::io::stdout().write_all(text.as_bytes()));
    ExitCode::Done
}

/// `warmfront status`: how a running instance stands, on stdout.
#[must_use]
pub fn status(flags: &Flags, as_json: bool) -> ExitCode {
    ask(flags, |admin| watch::status(admin, as_json)).unwrap_or_else(identity)
}

/// `warmfront top`: the same live, until a key ends it.
#[cfg(feature = "top")]
#[must_use]
pub fn top(flags: &Flags, every: Duration) -> ExitCode {
    ask(flags, |admin| watch::top(admin, every)).unwrap_or_else(identity)
}

/// `warmfront doctor`: what the command does when it is tried, on stdout; what it writes goes to stderr.
#[must_use]
pub fn doctor(flags: &Flags, wish: &doctor::Wish) -> ExitCode {
    let told = match load::load(flags, &World::real()) {
        Ok(loaded) => doctor::run(loaded.config, wish),
        // What is wrong may be just what was asked for.
        Err(problems) => match doctor::foreseen(&flags.command, None, wish) {
            Some(told) => Ok(told),
            None => {
                report(&problems);
                return ExitCode::BadConfig;
            }
        },
    };
    match told {
        Ok((paper, exit)) => {
            drop(std::io::stdout().write_all(paper.as_bytes()));
            exit
        }
        Err(problem) => {
            report(&[problem]);
            ExitCode::SystemRefused
        }
    }
}

/// `warmfront plan`: workers × concurrency × instances for a load, on stdout. 69 if no number of them is enough.
#[must_use]
pub fn plan(from: Option<&Flags>, given: &Given, as_json: bool) -> ExitCode {
    let measured = match from.map(|flags| ask(flags, watch::measured)).transpose() {
        Ok(measured) => measured,
        Err(exit) => return exit,
    };
    match plan::paper(given, measured, as_json) {
        Ok(paper) => {
            drop(std::io::stdout().write_all(paper.as_bytes()));
            ExitCode::Done
        }
        Err(problem) => {
            report(&[problem]);
            ExitCode::WorkersUnavailable
        }
    }
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

/// What `question` learns from the instance that `flags` point at; else what to end with, when the reason is reported.
fn ask<T>(flags: &Flags, question: impl FnOnce(Admin) -> Result<T, Problem>) -> Result<T, ExitCode> {
    let admin = load::admin(flags, &World::real()).map_err(|problems| {
        report(&problems);
        ExitCode::BadConfig
    })?;
    question(admin).map_err(|problem| {
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

#[cfg(test)]
mod tests {
    use super::line::FEATURES;
    use super::*;
    use clap::CommandFactory;
    use std::time::Duration;

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
                    --transport tcp --app-port 3000 \
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
            app_port: word("3000"),
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
    fn the_schema_and_the_full_file_are_asked_for_one_at_a_time() {
        assert_eq!(parsed("config --schema"), Ok(Command::Template(Template::Schema)));
        assert_eq!(parsed("config --full"), Ok(Command::Template(Template::Full)));
        assert_eq!(parsed("config --full --schema"), Err(ExitCode::Usage));
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
    fn a_plan_is_made_from_what_the_line_says_with_units() {
        let line = "plan --rate 40 --service 120ms --variation 1.5 --concurrency 10 --wait 50ms --cpu 9ms --cpus 0.5 \
                    --worker-memory 180MiB --memory 1GiB --instance-concurrency 100 --from /a.sock --json";
        let millis = |millis| Some(Duration::from_millis(millis));
        let given = Given {
            rate: Some(40.0),
            service: millis(120),
            variation: Some(1.5),
            concurrency: Some(10),
            wait: millis(50),
            cpu: millis(9),
            cpus: Some(0.5),
            worker_memory: Some(180 << 20),
            memory: Some(1 << 30),
            instance_concurrency: Some(100),
        };
        let from = Some(Flags { admin: Some("/a.sock".into()), ..Flags::default() });
        assert_eq!(parsed(line), Ok(Command::Plan { from, given, as_json: true }));
        for bad in [
            "--rate 0",
            "--rate -1",
            "--rate many",
            "--rate inf",
            "--service 120",
            "--service 0s",
            "--memory 1.5",
            "--concurrency 0",
            "--cpus 0",
        ] {
            assert_eq!(parsed(&format!("plan {bad}")), Err(ExitCode::Usage), "{bad}");
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
