//! `warmfront doctor`: runs a command once and tells what it does, and what to change.
//!
//! The command is started by the product's own supervisor, with one worker, in the best way that is found; what it
//! binds, how long each phase of its start takes and how it answers is looked at from outside. What that means is
//! judged in [`findings`], which does no I/O.

pub mod findings;

mod ask;
mod questions;
mod trial;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::config::{Config, WorkerSource};
use crate::error::Problem;
use crate::exit::ExitCode;
use crate::worker::diagnose::exec;

pub use trial::Facts;

/// The path that is asked for if nobody says: it runs the application.
pub const DEFAULT_PATH: &str = "/";

/// What is to be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The path of the requests.
    pub path: String,
    /// Whether the findings are printed as JSON.
    pub as_json: bool,
}

/// Tries the command of `config`. The findings as text, and 69 if it cannot be served.
///
/// # Errors
/// There is no command to try; the system refuses a runtime or a socket.
pub fn run(config: Config, wish: &Wish) -> Result<(String, ExitCode), Problem> {
    let deadline = config.workers.start_deadline;
    let WorkerSource::Spawn(mut spawn) = config.workers.source else {
        return Err(Problem::new(
            "There is no command to look at.",
            "The configuration says that something else runs the workers.",
            "Give the command behind `--`: `warmfront doctor -- node server.js`.",
        ));
    };
    spawn.count = 1;
    if let Some(told) = foreseen(&spawn.argv, spawn.cwd.as_deref(), wish) {
        return Ok(told);
    }
    let facts = Facts::of(&spawn.argv);
    Ok(told(&trial::run(spawn, deadline, config.workers.protocol, wish, facts)?, wish))
}

/// The findings about a command that cannot be executed, which is seen without running it.
#[must_use]
pub fn foreseen(argv: &[OsString], cwd: Option<&Path>, wish: &Wish) -> Option<(String, ExitCode)> {
    let problem = unstartable(argv.first()?, cwd)?;
    Some(told(&Facts { failure: Some(problem), ..Facts::of(argv) }, wish))
}

fn told(facts: &Facts, wish: &Wish) -> (String, ExitCode) {
    let findings = findings::of(facts);
    let exit = if findings.iter().any(findings::Finding::is_fatal) {
        ExitCode::WorkersUnavailable
    } else {
        ExitCode::Done
    };
    let paper =
        if wish.as_json { findings::json(facts, &findings) } else { findings::text(facts, &findings) };
    (paper, exit)
}

/// Why the program cannot be executed, seen without running it.
fn unstartable(program: &OsStr, cwd: Option<&Path>) -> Option<Problem> {
    let path = std::env::var_os("PATH");
    let path = path.as_deref();
    let error = match exec::find_program(program, cwd, path) {
        Ok(file) => exec::foresee(&file, cwd)?,
        Err(error) => error,
    };
    Some(exec::explain(&error, program, cwd, path))
}
