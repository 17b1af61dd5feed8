//! What stands in front of Noslate's data plane: the documented front door, or a build of warmfront.
//!
//! The data plane is the fake that the tests have (`tests/apps/noslate`); the documented front door is
//! `loadtest/apps/noslate/server.js`. Both are Node programs with packages of their own, which
//! scripts/setup-tests installs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Cpu, Process, command, find_program, version_line};
use crate::report::SubjectFacts;
use crate::subjects::{Build, await_accept, await_socket, free_address};

/// What the documented front door is called in tables.
pub(crate) const DOCUMENTED: &str = "server.js";

const PLANES: &str = "tests/apps/noslate/planes.js";
const SERVER: &str = "loadtest/apps/noslate/server.js";

/// Invocations after which the documented front door changes its connection. It resets each call that has ended,
/// and Node closes a connection behind 1000 resets in a burst; half of that leaves room for calls in flight.
pub(crate) const CALLS_PER_CHANNEL: u32 = 500;

/// The fake data plane; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Plane {
    process: Process,
    /// What fronts are told: the directory with `socks/dp-0.sock` in it.
    workdir: PathBuf,
}

impl Plane {
    /// Starts it below `dir` and waits until it accepts.
    ///
    /// # Errors
    /// Node or the packages are missing, or it does not start.
    pub(crate) fn start(dir: &Path, cpu: Cpu) -> io::Result<Self> {
        let socks = dir.join("socks");
        fs::create_dir_all(&socks)?;
        let socket = socks.join("dp-0.sock");
        let mut start = script(PLANES, cpu).map_err(io::Error::other)?;
        start.arg("--data").arg(&socket).args(["--accept-all", "--quiet"]);
        let mut process = Process::start(start, dir.join("planes.log"), None)?;
        await_socket(&mut process, &socket)
            .map_err(|why| io::Error::other(format!("the fake data plane {why}")))?;
        Ok(Self { process, workdir: dir.to_owned() })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Why nothing behind it can be measured any more, if so.
    pub(crate) fn failure(&mut self) -> Option<String> {
        let status = self.process.ended()?;
        Some(format!("the fake data plane ended with {status}: {}", self.process.last_words()))
    }
}

/// Who is to be in front.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Documented,
    Warmfront(Build),
}

impl Kind {
    /// What it is called in tables.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Documented => DOCUMENTED,
            Self::Warmfront(build) => &build.name,
        }
    }
}

/// A front that accepts connections; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) facts: SubjectFacts,
    pub(crate) port: u16,
    process: Process,
}

impl Front {
    /// Starts `kind` in front of `plane` and waits until it accepts.
    ///
    /// # Errors
    /// Why it cannot be measured.
    pub(crate) fn start(kind: &Kind, plane: &Plane, dir: &Path, cpu: Cpu) -> Result<Self, String> {
        let address = free_address().map_err(|error| format!("no free port: {error}"))?;
        let port = address.port();
        let (mut start, version, mut words) = match kind {
            Kind::Documented => (script(SERVER, cpu)?, documented_version()?, vec![format!("node {SERVER}")]),
            Kind::Warmfront(build) => {
                if !build.program.is_file() {
                    return Err(format!(
                        "{} does not exist; build it (cargo build --release), or name another with --warmfront",
                        build.program.display()
                    ));
                }
                let args = warmfront_args(build, port);
                let mut start = command(&build.program, cpu);
                start.args(&args);
                (start, version_line(&build.program, "--version"), args)
            }
        };
        let settings = settings(kind, plane, port);
        start.envs(settings.iter().map(|(key, value)| (key, value)));
        words.splice(0..0, settings.iter().map(|(key, value)| format!("{key}={value}")));
        let log = dir.join(format!("{}.log", kind.name()));
        let mut process = Process::start(start, log, None).map_err(|error| error.to_string())?;
        await_accept(&mut process, address)?;
        let facts = SubjectFacts {
            name: kind.name().to_owned(),
            version,
            configuration: words.join(" "),
            is_ours: matches!(kind, Kind::Warmfront(_)),
        };
        Ok(Self { facts, port, process })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Why it can no longer be measured, if so.
    pub(crate) fn failure(&mut self) -> Option<String> {
        let status = self.process.ended()?;
        Some(format!("ended with {status}: {}", self.process.last_words()))
    }
}

/// What a build asks for replaces what we would.
fn warmfront_args(build: &Build, port: u16) -> Vec<String> {
    let mut args = vec!["run".to_owned()];
    for (flag, value) in
        [("--port", port.to_string()), ("--access-log", "off".into()), ("--threads", "1".into())]
    {
        if !build.args.iter().any(|arg| arg.split('=').next() == Some(flag)) {
            args.extend([flag.to_owned(), value]);
        }
    }
    args.extend(build.args.iter().cloned());
    args
}

/// The environment of a front. Functions are named by the path of a request, in front of either.
fn settings(kind: &Kind, plane: &Plane, port: u16) -> Vec<(String, String)> {
    let workdir = plane.workdir.display().to_string();
    let pairs = |pairs: &[(&str, String)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect::<Vec<_>>()
    };
    match kind {
        Kind::Documented => pairs(&[
            ("FC_SERVER_PORT", port.to_string()),
            ("NOSLATED_WORKDIR", workdir),
            ("NOSLATE_CALLS_PER_CHANNEL", CALLS_PER_CHANNEL.to_string()),
            // As whoever runs Express in earnest sets it.
            ("NODE_ENV", "production".into()),
        ]),
        Kind::Warmfront(build) => {
            let mut settings = pairs(&[
                ("WARMFRONT_UPSTREAM", "noslate".into()),
                ("WARMFRONT_NOSLATE_WORKDIR", workdir),
                ("WARMFRONT_NOSLATE_CONTROL", "false".into()),
            ]);
            settings.retain(|(key, _)| !build.environment.iter().any(|(theirs, _)| theirs == key));
            settings.extend(build.environment.iter().cloned());
            settings
        }
    }
}

/// Node with one of our programs, whose packages are there.
fn script(path: &str, cpu: Cpu) -> Result<Command, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let packages = path.with_file_name("node_modules");
    if !packages.is_dir() {
        return Err(format!("{} does not exist; scripts/setup-tests installs it", packages.display()));
    }
    let mut start = command(&node()?, cpu);
    start.arg(path);
    Ok(start)
}

fn node() -> Result<PathBuf, String> {
    find_program("node").ok_or_else(|| "node is not installed; scripts/setup-tests does that".to_owned())
}

fn documented_version() -> Result<String, String> {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join(SERVER).with_file_name("node_modules");
    let version = |name: &str| {
        let path = packages.join(name).join("package.json");
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let package: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<_, String>(format!("{name} {}", package["version"].as_str().unwrap_or("of unknown version")))
    };
    let node = version_line(&node()?, "--version");
    Ok(format!("{}, {}, node {node}", version("express")?, version("@grpc/grpc-js")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_asks_for_replaces_ours() {
        let build: Build = "a=/a/warmfront --threads 2 WARMFRONT_NOSLATE_CONTROL=true".parse().unwrap();
        assert_eq!(warmfront_args(&build, 80).join(" "), "run --port 80 --access-log off --threads 2");
        let mut sleeper = Command::new("sleep");
        sleeper.arg("60");
        let dir = tempfile::tempdir().unwrap();
        let process = Process::start(sleeper, dir.path().join("log"), None).unwrap();
        let plane = Plane { process, workdir: "/w".into() };
        let settings = settings(&Kind::Warmfront(build), &plane, 80);
        let words: Vec<String> = settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            words,
            ["WARMFRONT_UPSTREAM=noslate", "WARMFRONT_NOSLATE_WORKDIR=/w", "WARMFRONT_NOSLATE_CONTROL=true"]
        );
    }
}
