//! From words to a running process, or to an explanation.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Child;

use crate::config::keys::{KEYS, Key, Kind};
use crate::error::Problem;
use crate::sys;

use super::diagnose::exec;

/// A process that was just started.
#[derive(Debug)]
pub(super) struct Started {
    /// Its pid, which is its process group too.
    pub(super) pid: i32,
    /// The reading ends of its stdout and stderr.
    pub(super) pipes: [OwnedFd; 2],
}

/// Why no process was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchError {
    /// For a person.
    pub problem: Problem,
    /// Whether trying again cannot help unless somebody changes something.
    pub is_permanent: bool,
}

/// Our own environment without what lets its bearer change something here, or speak for us: that is for nobody whom we
/// start.
pub(super) fn inherited(own: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<_, _> = own.collect();
    for secret in KEYS.iter().filter(|key| key.kind == Kind::Secret).filter_map(Key::env_name) {
        env.remove(OsStr::new(&secret));
    }
    env.remove(OsStr::new(sys::manager::VARIABLE));
    env
}

/// Starts `argv`, whose first word is looked for in the `PATH` of `env`, by `spawn`.
///
/// The process dies with the calling thread (see [`sys::spawn`]).
///
/// # Errors
/// The program cannot be executed, or the system refuses another process.
pub(super) fn start(
    argv: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    cwd: Option<&Path>,
    inherits: Option<sys::Inherited>,
    spawn: impl FnOnce(&sys::Program) -> io::Result<Child>,
) -> Result<Started, LaunchError> {
    let path_variable = env.get(OsStr::new("PATH")).cloned();
    let program = argv[0].clone();
    let failure = |error: io::Error| LaunchError {
        problem: exec::explain(&error, &program, cwd, path_variable.as_deref()),
        is_permanent: exec::is_permanent(&error),
    };
    let path = exec::find_program(&program, cwd, path_variable.as_deref()).map_err(failure)?;
    let program =
        sys::Program { path, argv, env: env.into_iter().collect(), cwd: cwd.map(Path::to_owned), inherits };
    let mut child = spawn(&program).map_err(failure)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    Ok(Started {
        pid: i32::try_from(child.id()).expect("invariant: Linux pids fit in 22 bits"),
        pipes: [
            stdout.expect("invariant: sys::spawn pipes stdout").into(),
            stderr.expect("invariant: sys::spawn pipes stderr").into(),
        ],
    })
}
