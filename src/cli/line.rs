//! The words of the command line, as clap reads them; [`super::Command`] is what they mean.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::keys::{KEYS, Kind};
use crate::config::load::Flags;
use crate::config::units;
use crate::doctor;
use crate::emulate::options::Wish;
use crate::plan::Given;

/// What this build has beside what every build has.
pub(super) const FEATURES: &[(&str, bool)] = &[
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
    let mut out = String::from(
        "Examples:\n  warmfront config\n  warmfront config --config fc.toml --workers 4 -- node server.js\n\n\
         Keys (strongest first: flag, environment, file, default):\n",
    );
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

/// One screen of 24 lines and 80 columns: the options stand in the usage, and what is rare is hidden.
const SCREEN: &str =
    "{about}\n\n{usage-heading} {usage} | --help | --version\n\nCommands:\n{subcommands}{after-help}";

const EXAMPLES: &str = "\
Examples:
  warmfront run -- node server.js          # two warm workers on port 9000
  warmfront run --workers 4 -- php-fpm     # PHP, without a web server
  warmfront doctor -- java -jar app.jar    # what would have to change?
  warmfront                                # as ./warmfront.toml says

`warmfront COMMAND --help` tells more; `warmfront config --help` has every key.";

/// A fast front door that keeps a pool of warm workers on Unix sockets
#[derive(Debug, Parser)]
#[command(name = "warmfront", version, long_version = LONG_VERSION.as_str(), disable_help_subcommand = true)]
#[command(help_template = SCREEN, after_help = EXAMPLES)]
pub(super) struct Line {
    #[command(subcommand)]
    pub(super) action: Option<Action>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Start the workers and serve
    #[command(after_help = "\
Examples:
  warmfront run -- node server.js
  warmfront run --workers 4 --port 8080 --admin 127.0.0.1:9901 -- ./bootstrap
  warmfront run --socket /run/app/a.sock --socket /run/app/b.sock")]
    Run {
        #[command(flatten)]
        options: Options,
        /// Only judge the configuration, like `check`
        #[arg(long, alias = "check-config")]
        check: bool,
    },
    /// Judge the configuration: touches no port, starts no worker
    #[command(after_help = "\
Examples:
  warmfront check --config warmfront.toml
  warmfront check --port 8080 -- node server.js")]
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
        /// Print the JSON Schema of configuration files instead, for editors
        #[arg(long)]
        schema: bool,
        /// Print a file with every key at its default instead, each with what it is for
        #[arg(long, conflicts_with = "schema")]
        full: bool,
    },
    /// Tell how a running instance stands; ends with 69 if it is not ready
    #[command(after_help = "\
Examples:
  warmfront status --admin 127.0.0.1:9901
  warmfront status --admin /run/warmfront.sock --json")]
    Status {
        #[command(flatten)]
        whose: Whose,
        /// Print what its admin says (GET /now), as JSON
        #[arg(long)]
        json: bool,
    },
    /// Watch a running instance: requests, latency, workers
    ///
    /// Live, in the terminal, with who is in flight; q ends it.
    #[cfg(feature = "top")]
    #[command(after_help = "\
Examples:
  warmfront top --admin 127.0.0.1:9901
  warmfront top --every 250ms --config warmfront.toml")]
    Top {
        #[command(flatten)]
        whose: Whose,
        /// How often to ask, from 100ms to 60s
        #[arg(long, short = 'n', value_name = "PERIOD", default_value = "1s", value_parser = every)]
        every: Duration,
    },
    /// Try a command once and say what to change
    ///
    /// It tells how the command listens, starts, answers and ends. The application is run and asked; what it writes goes
    /// to stderr. Ends with 69 if it cannot be served.
    #[command(after_help = "\
Examples:
  warmfront doctor -- java -jar app.jar
  warmfront doctor --path /health --json -- ./bootstrap")]
    Doctor {
        #[command(flatten)]
        options: Options,
        /// The path that is asked for
        #[arg(long, value_name = "PATH", default_value = doctor::DEFAULT_PATH, value_parser = path)]
        path: String,
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
    /// How many workers and instances a load needs
    ///
    /// And how long requests would wait, and which limit decides. From measured times and rates, or from a running
    /// instance (--from), which knows them. Ends with 69 if no number of instances is enough. docs/scaling.md has examples.
    #[command(after_help = "\
Examples:
  warmfront plan --rate 200 --service 40ms
  warmfront plan --rate 500 --from /run/warmfront.sock --json")]
    Plan {
        #[command(flatten)]
        load: Planned,
        /// Ask a running instance for what is not said here: where its admin listens, as for `status`
        #[arg(long, value_name = "WHERE")]
        from: Option<OsString>,
        /// Print the plan as JSON
        #[arg(long)]
        json: bool,
    },
    /// Be the platform around a command: gateway, freeze, callbacks
    ///
    /// Whatever Function Compute can start can be the command. Without --event: a gateway, until Ctrl-C.
    #[command(after_help = "\
Examples:
  warmfront emulate -- ./bootstrap
  warmfront emulate --event '{\"a\":1}' -- ./bootstrap
  warmfront emulate --pre-stop=9s --idle 60s -- warmfront run -- node server.js")]
    Emulate {
        #[command(flatten)]
        wish: Box<Emulated>,
    },
    /// Print what a shell needs to complete this command line
    #[command(after_help = "\
Examples:
  source <(warmfront completions bash)
  warmfront completions zsh")]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual, or one command's page of it
    #[command(after_help = "\
Examples:
  warmfront man
  warmfront man run
  warmfront man --into /usr/local/share/man/man1")]
    Man {
        /// Whose page: run, check … [default: that of warmfront itself]
        command: Option<String>,
        /// Write every page into this directory instead
        #[arg(long, value_name = "DIR", conflicts_with = "command")]
        into: Option<PathBuf>,
    },
    /// Answer requests as a worker
    #[command(hide = true)]
    DemoWorker,
}

/// Which instance.
#[derive(Args, Debug)]
pub(super) struct Whose {
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

/// The path of a request, as it may stand in its first line.
fn path(text: &str) -> Result<String, String> {
    let is_fine = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_fine { Ok(text.to_owned()) } else { Err("it must begin with / and have no spaces".to_owned()) }
}

/// A period that people can follow and an admin does not notice.
#[cfg(feature = "top")]
fn every(text: &str) -> Result<Duration, String> {
    let period = units::period(text).map_err(|error| error.to_string())?;
    let is_fine = (Duration::from_millis(100)..=Duration::from_secs(60)).contains(&period);
    if is_fine { Ok(period) } else { Err("it must be from 100ms to 60s".to_owned()) }
}

/// A load and what an instance has for it.
#[derive(Args, Debug)]
pub(super) struct Planned {
    /// Requests in a second, all instances together
    #[arg(long, value_name = "N", value_parser = positive)]
    rate: Option<f64>,
    /// How long one request holds its worker: the mean, such as 120ms
    #[arg(long, value_name = "PERIOD", value_parser = some_time)]
    service: Option<Duration>,
    /// How much that varies: standard deviation over mean; 0 is never, 1 as an exponential [default: 1]
    #[arg(long, value_name = "N", value_parser = not_negative)]
    variation: Option<f64>,
    /// Requests that one worker serves at once [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=65_535))]
    concurrency: Option<u64>,
    /// What 95 of 100 requests may wait for a worker [default: as long as one takes]
    #[arg(long, value_name = "PERIOD", value_parser = any_time)]
    wait: Option<Duration>,
    /// CPU time of one request, such as 8ms; without it CPU is not judged
    #[arg(long, value_name = "PERIOD", value_parser = some_time)]
    cpu: Option<Duration>,
    /// CPUs of one instance [default: 1]
    #[arg(long, value_name = "N", value_parser = positive)]
    cpus: Option<f64>,
    /// Memory of one worker, such as 180MiB; without it memory is not judged
    #[arg(long, value_name = "SIZE", value_parser = size)]
    worker_memory: Option<u64>,
    /// Memory of one instance
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// Requests that the platform may send one instance at once [default: 200, Function Compute's most]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    instance_concurrency: Option<u64>,
}

impl From<Planned> for Given {
    fn from(planned: Planned) -> Self {
        Self {
            rate: planned.rate,
            service: planned.service,
            variation: planned.variation,
            concurrency: planned.concurrency,
            wait: planned.wait,
            cpu: planned.cpu,
            cpus: planned.cpus,
            worker_memory: planned.worker_memory,
            memory: planned.memory,
            instance_concurrency: planned.instance_concurrency,
        }
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    // Beyond, nobody can have measured it.
    if (0.0..=1e12).contains(&number) { Ok(number) } else { Err("it must be from 0 to 1e12".to_owned()) }
}

fn positive(text: &str) -> Result<f64, String> {
    let number = not_negative(text)?;
    if number > 0.0 { Ok(number) } else { Err("it must be more than 0".to_owned()) }
}

fn any_time(text: &str) -> Result<Duration, String> {
    units::period(text).map_err(|error| format!("it {error}; write 120ms or 2s"))
}

fn some_time(text: &str) -> Result<Duration, String> {
    let period = any_time(text)?;
    if period.is_zero() { Err("it must be more than 0".to_owned()) } else { Ok(period) }
}

fn size(text: &str) -> Result<u64, String> {
    units::size(text).map_err(|error| format!("it {error}; write 180MiB or 1GiB"))
}

/// One function and its platform.
#[derive(Args, Debug)]
pub(super) struct Emulated {
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
pub(super) struct Options {
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
    /// How workers listen: auto, socket, fd, shim, tcp or fastcgi
    #[arg(long, value_name = "HOW")]
    transport: Option<OsString>,
    /// The port that the app believes to be its own, or auto
    #[arg(long, value_name = "PORT")]
    app_port: Option<OsString>,
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
            app_port: options.app_port,
            upstream: options.upstream,
            access_log: options.access_log,
            admin: options.admin,
            sockets: options.sockets,
            command: options.command,
        }
    }
}
