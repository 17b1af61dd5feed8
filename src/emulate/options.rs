//! What the user of `warmfront emulate` asked for, judged as a whole.
//!
//! Words of the command line in, [`Options`] or every problem at once out. Pure. The limits are those of the
//! platform (FC contract §1.4, §2.4, §5, §7), so that what it would refuse is refused here as well.

// An address is a value; nobody is dialled here.
use core::net::SocketAddr;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::units;
use crate::error::Problem;

/// Longest time that the platform gives an initializer (§2.4).
const INITIALIZER_MAX: Duration = Duration::from_secs(300);
/// Longest time that the platform gives a pre-stop or pre-freeze callback (§2.4).
const CALLBACK_MAX: Duration = Duration::from_secs(90);
/// Longest run time of a function (§2.4).
const TIMEOUT_MAX: Duration = Duration::from_secs(86_400);
/// Requests that one instance may hold at most (§5).
const CONCURRENCY_MAX: u16 = 200;
/// Longest path of a health check (§1.4).
const HEALTH_PATH_MAX: usize = 2048;
/// All variables of the user together, in bytes (§2.4).
const ENV_BYTES_MAX: usize = 4096;

/// The command line as it was typed: nothing but its shape was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Program and arguments of the instance.
    pub command: Vec<OsString>,
    /// Directory of the code.
    pub code: Option<PathBuf>,
    /// Port that the instance listens on.
    pub port: String,
    /// Where the gateway listens.
    pub listen: String,
    /// How long the port may take to open.
    pub start_deadline: String,
    /// The initializer's time, if there is one.
    pub initializer: Option<String>,
    /// Path of the health check, if there is one.
    pub health_check: Option<String>,
    /// The pre-stop callback's time, if there is one.
    pub pre_stop: Option<String>,
    /// The pre-freeze callback's time, if there is one.
    pub pre_freeze: Option<String>,
    /// Requests that the instance may hold.
    pub concurrency: String,
    /// Run time of the function.
    pub timeout: String,
    /// How long an instance lives without requests.
    pub idle: Option<String>,
    /// How to freeze.
    pub freeze: String,
    /// Answers as a custom domain does.
    pub custom_domain: bool,
    /// Variables, each as `NAME=VALUE`.
    pub env: Vec<String>,
    /// Name of the function.
    pub function_name: String,
    /// Region of the function.
    pub region: String,
    /// Memory of the function, in MB.
    pub memory: String,
    /// Log lines as JSON.
    pub json: bool,
    /// One event instead of a gateway: a file, `-` or the event itself.
    pub event: Option<String>,
}

/// What the emulator does, within the platform's limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Program and arguments of the instance; not empty.
    pub command: Vec<OsString>,
    /// Working directory of the instance; ours if `None`.
    pub code: Option<PathBuf>,
    /// Port that the instance listens on.
    pub port: u16,
    /// Where the gateway listens.
    pub listen: SocketAddr,
    /// How long the port may take to open.
    pub start_deadline: Duration,
    /// How long `POST /initialize` may take; not sent if `None`.
    pub initializer: Option<Duration>,
    /// Path of the health check.
    pub health_check: Option<String>,
    /// How long `GET /pre-stop` may take; not sent if `None`.
    pub pre_stop: Option<Duration>,
    /// How long `GET /pre-freeze` may take; not sent if `None`.
    pub pre_freeze: Option<Duration>,
    /// Requests that the instance may hold.
    pub concurrency: u16,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// How long an instance lives without requests; for ever if `None`.
    pub idle: Option<Duration>,
    /// How to freeze.
    pub freeze: FreezeWay,
    /// Answers as a custom domain does: nothing is forced to be a download.
    pub custom_domain: bool,
    /// The user's variables.
    pub env: Vec<(String, String)>,
    /// Who the function is.
    pub function: Function,
    /// Log lines as JSON.
    pub json: bool,
    /// One event instead of a gateway: a file, `-` or the event itself.
    pub event: Option<String>,
}

/// Who the function is, as headers and variables tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its memory, in MB.
    pub memory_mb: u32,
}

/// How an instance is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeWay {
    /// By the kernel's freezer where it may be used, else by signals.
    Auto,
    /// By `SIGSTOP` to every process.
    Signal,
    /// By the kernel's freezer of control groups.
    Cgroup,
    /// Not at all.
    Never,
}

/// Judges a command line.
///
/// # Errors
/// Everything that is wrong with it.
pub fn judge(wish: Wish) -> Result<Options, Vec<Problem>> {
    let mut judge = Judge { problems: Vec::new() };
    let env = judge.env(&wish.env);
    if wish.command.is_empty() {
        judge.add(
            "--",
            "No command was given.",
            "The platform starts one program per instance.",
            "Write it behind `--`, such as `warmfront emulate -- ./bootstrap`.",
        );
    }
    let options = Options {
        port: judge.number("--port", &wish.port, 1, 65_535, 9000),
        listen: judge.listen(&wish.listen),
        start_deadline: judge.period("--start-deadline", &wish.start_deadline, TIMEOUT_MAX),
        initializer: judge.optional("--initializer", wish.initializer.as_deref(), INITIALIZER_MAX),
        health_check: judge.health(wish.health_check),
        pre_stop: judge.optional("--pre-stop", wish.pre_stop.as_deref(), CALLBACK_MAX),
        pre_freeze: judge.optional("--pre-freeze", wish.pre_freeze.as_deref(), CALLBACK_MAX),
        concurrency: judge.number("--concurrency", &wish.concurrency, 1, CONCURRENCY_MAX, 1),
        timeout: judge.period("--timeout", &wish.timeout, TIMEOUT_MAX),
        idle: judge.optional("--idle", wish.idle.as_deref(), Duration::MAX),
        freeze: judge.freeze(&wish.freeze),
        function: Function {
            name: judge.name("--function-name", wish.function_name),
            region: judge.name("--region", wish.region),
            memory_mb: u32::from(judge.number("--memory", &wish.memory, 128, 32_768, 512)),
        },
        command: wish.command,
        code: wish.code,
        custom_domain: wish.custom_domain,
        env,
        json: wish.json,
        event: wish.event,
    };
    if judge.problems.is_empty() { Ok(options) } else { Err(judge.problems) }
}

struct Judge {
    problems: Vec<Problem>,
}

impl Judge {
    fn add(&mut self, place: &str, what: impl Into<String>, why: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::new(what, why, fix).at(place));
    }

    fn number(&mut self, place: &str, text: &str, min: u16, max: u16, instead: u16) -> u16 {
        match text.parse::<u16>() {
            Ok(value) if (min..=max).contains(&value) => value,
            _ => {
                let fix = format!("Say {min} to {max}.");
                self.add(place, format!("`{text}` cannot be."), "It is a whole number within bounds.", fix);
                instead
            }
        }
    }

    fn period(&mut self, place: &str, text: &str, max: Duration) -> Duration {
        match units::period(text) {
            Ok(period) if !period.is_zero() && period <= max => return period,
            Ok(_) if max == Duration::MAX => {
                self.add(place, format!("`{text}` is no time at all."), "", "Say a period such as 30s.");
            }
            Ok(_) => self.add(
                place,
                format!("`{text}` is out of bounds."),
                format!("The platform allows up to {}.", units::period_text(max)),
                "Say a period within that, such as 30s.",
            ),
            Err(error) => self.add(
                place,
                format!("`{text}` is no period: {error}."),
                "",
                "Say a number with its unit, such as 30s.",
            ),
        }
        max
    }

    fn optional(&mut self, place: &str, text: Option<&str>, max: Duration) -> Option<Duration> {
        text.map(|text| self.period(place, text, max))
    }

    fn listen(&mut self, text: &str) -> SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.add(
                "--listen",
                format!("`{text}` is no address with a port."),
                "The gateway binds one address.",
                "Say one such as 127.0.0.1:8080; 0.0.0.0:8080 lets others in.",
            );
            SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn health(&mut self, path: Option<String>) -> Option<String> {
        let path = path?;
        if !path.starts_with('/')
            || path.len() > HEALTH_PATH_MAX
            || !path.bytes().all(|b| b.is_ascii_graphic())
        {
            self.add(
                "--health-check",
                format!("`{path}` is no path of a health check."),
                format!("It begins with `/` and has at most {HEALTH_PATH_MAX} visible characters."),
                "Say one such as /health.",
            );
        }
        Some(path)
    }

    fn freeze(&mut self, text: &str) -> FreezeWay {
        match text {
            "auto" => FreezeWay::Auto,
            "signal" => FreezeWay::Signal,
            "cgroup" => FreezeWay::Cgroup,
            "never" => FreezeWay::Never,
            _ => {
                self.add(
                    "--freeze",
                    format!("`{text}` is no way to freeze."),
                    "",
                    "Say auto, signal, cgroup or never.",
                );
                FreezeWay::Never
            }
        }
    }

    /// What stands in headers must be able to.
    fn name(&mut self, place: &str, name: String) -> String {
        let is_fine = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !is_fine {
            self.add(
                place,
                format!("`{name}` is no name."),
                "",
                "Use letters, digits, `-` and `_`, 64 at most.",
            );
        }
        name
    }

    fn env(&mut self, pairs: &[String]) -> Vec<(String, String)> {
        let mut env = Vec::new();
        for pair in pairs {
            let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
                self.add("--env", format!("`{pair}` is no variable."), "", "Write NAME=VALUE.");
                continue;
            };
            if name.starts_with("FC_") {
                self.add(
                    "--env",
                    format!("`{name}` cannot be set."),
                    "Names that begin with `FC_` are the platform's, which refuses them too.",
                    "Choose another name.",
                );
            }
            env.push((name.to_owned(), value.to_owned()));
        }
        let bytes: usize = env.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > ENV_BYTES_MAX {
            self.add(
                "--env",
                format!("The variables have {bytes} bytes."),
                format!("The platform allows {ENV_BYTES_MAX} in total."),
                "Put long values into a file of the code.",
            );
        }
        env
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::emulate) fn wish() -> Wish {
        Wish {
            command: vec!["./bootstrap".into()],
            port: "9000".into(),
            listen: "127.0.0.1:8080".into(),
            start_deadline: "120s".into(),
            concurrency: "20".into(),
            timeout: "60s".into(),
            freeze: "auto".into(),
            function_name: "function".into(),
            region: "cn-hangzhou".into(),
            memory: "512".into(),
            ..Wish::default()
        }
    }

    #[test]
    fn what_the_platform_would_take_is_taken() {
        let wish = Wish {
            initializer: Some("300s".into()),
            pre_stop: Some("3s".into()),
            health_check: Some("/health?deep=1".into()),
            env: vec!["GREETING=a=b".into(), "EMPTY=".into()],
            ..wish()
        };
        let options = judge(wish).unwrap();
        assert_eq!((options.port, options.concurrency), (9000, 20));
        assert_eq!(options.initializer, Some(Duration::from_secs(300)));
        assert_eq!(options.env, [("GREETING".into(), "a=b".into()), ("EMPTY".into(), String::new())]);
        assert_eq!((options.pre_freeze, options.idle), (None, None));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_its_place() {
        let wish = Wish {
            command: Vec::new(),
            port: "0".into(),
            listen: "8080".into(),
            start_deadline: "soon".into(),
            initializer: Some("301s".into()),
            health_check: Some("health".into()),
            pre_stop: Some("91s".into()),
            pre_freeze: Some("0s".into()),
            concurrency: "201".into(),
            timeout: "25h".into(),
            idle: Some("0s".into()),
            freeze: "hard".into(),
            env: vec!["FC_REGION=x".into(), "nothing".into(), format!("LONG={}", "x".repeat(4096))],
            function_name: "a b".into(),
            region: String::new(),
            memory: "64".into(),
            ..wish()
        };
        let problems = judge(wish).unwrap_err();
        let mut places: Vec<_> = problems.iter().filter_map(|problem| problem.place.as_deref()).collect();
        places.dedup();
        assert_eq!(
            places,
            [
                "--env",
                "--",
                "--port",
                "--listen",
                "--start-deadline",
                "--initializer",
                "--health-check",
                "--pre-stop",
                "--pre-freeze",
                "--concurrency",
                "--timeout",
                "--idle",
                "--freeze",
                "--function-name",
                "--region",
                "--memory"
            ]
        );
        assert!(problems.iter().any(|problem| problem.what == "`FC_REGION` cannot be set."));
    }
}
