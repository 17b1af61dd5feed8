//! Watching an instance from another terminal: `warmfront status` once, `warmfront top` all the time.
//!
//! Both ask the admin for one moment (`GET /now`) and know nothing else of the process: what they show anybody
//! can ask for.

mod ask;
mod latency;
mod measured;
mod moment;
#[cfg(feature = "top")]
mod rates;
#[cfg(feature = "top")]
mod screen;
mod status;
#[cfg(feature = "top")]
mod top;

use std::io::Write as _;

use crate::config::Admin;
use crate::error::Problem;
use crate::exit::ExitCode;
use crate::plan::Measured;
use ask::Asker;
use moment::Moment;

/// `warmfront status`: how it stands now, on stdout, as text or as the admin's JSON. 69 if it is not ready.
///
/// # Errors
/// Nobody answers, or not as an admin does.
pub fn status(admin: Admin, as_json: bool) -> Result<ExitCode, Problem> {
    let asker = Asker::new(admin)?;
    let text = asker.ask()?;
    let moment = Moment::read(&text).map_err(|why| asker.strange(&why))?;
    let shown = if as_json { text } else { status::text(&moment, asker.name()) };
    // Nobody reads what cannot be written.
    drop(std::io::stdout().write_all(shown.as_bytes()));
    Ok(if moment.is_ready() { ExitCode::Done } else { ExitCode::WorkersUnavailable })
}

/// What it has measured since it began: for `warmfront plan`.
///
/// # Errors
/// Nobody answers, or not as an admin does; or no request has ended there yet.
pub fn measured(admin: Admin) -> Result<Measured, Problem> {
    let asker = Asker::new(admin)?;
    let moment = Moment::read(&asker.ask()?).map_err(|why| asker.strange(&why))?;
    measured::measured(&moment, asker.name()).ok_or_else(|| {
        Problem::new(
            format!("The instance at {} has answered no request yet.", asker.name()),
            "There is nothing to plan from.",
            "Let it serve some, or say --rate and --service.",
        )
    })
}

/// `warmfront top`: the same live, until a key ends it.
///
/// # Errors
/// There is no terminal; or nobody answers when it begins.
#[cfg(feature = "top")]
pub fn top(admin: Admin, every: std::time::Duration) -> Result<ExitCode, Problem> {
    screen::run(&Asker::new(admin)?, every)?;
    Ok(ExitCode::Done)
}
