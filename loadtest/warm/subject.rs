//! Who is measured: something that runs already, or a stack that this command starts, warms, freezes and ends.

use std::time::{Duration, Instant};

use crate::freeze::freezer::Freezer;
use crate::report::SubjectFacts;
use crate::stack::{Plan as StackPlan, Stack};
use crate::stop;
use crate::study;
use crate::target::Target;

/// Somebody who can be measured.
pub(crate) enum Subject {
    /// Runs already, and is nobody's to start or stop.
    Running(Target),
    /// Is started for each measurement.
    Started(Box<StackPlan>),
}

impl Subject {
    /// What it is called in tables.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Running(Target::Tcp(address)) => address.to_string(),
            Self::Running(Target::Unix(path)) => format!("unix:{}", path.display()),
            Self::Started(plan) => plan.way.name().into(),
        }
    }

    /// For the report.
    pub(crate) fn facts(&self) -> SubjectFacts {
        match self {
            Self::Running(_) => SubjectFacts {
                name: self.name(),
                version: "unknown".into(),
                configuration: "runs already".into(),
                is_ours: false,
            },
            Self::Started(plan) => plan.facts(),
        }
    }

    /// Where it takes connections.
    pub(crate) fn target(&self) -> Target {
        match self {
            Self::Running(target) => target.clone(),
            Self::Started(plan) => Target::Tcp(plan.target),
        }
    }

    /// Starts it, if that is to be done.
    ///
    /// # Errors
    /// A program cannot be executed.
    pub(crate) fn start(&self) -> Result<Life, String> {
        match self {
            Self::Running(_) => Ok(Life { stack: None }),
            Self::Started(plan) => {
                plan.start().map(|stack| Life { stack: Some(stack) }).map_err(|error| error.to_string())
            }
        }
    }
}

/// One life of a subject; dropping it ends what was started.
pub(crate) struct Life {
    stack: Option<Stack>,
}

impl Life {
    /// Why it can no longer be measured, if so.
    pub(crate) fn failure(&mut self) -> Option<String> {
        self.stack.as_mut().and_then(Stack::failure)
    }

    /// What it said last.
    pub(crate) fn last_words(&self) -> String {
        self.stack.as_ref().map(Stack::last_words).unwrap_or_default()
    }

    /// Stops all its processes for `period` and lets them go on; returns the moment of that.
    ///
    /// # Errors
    /// They do not stand still.
    pub(crate) fn freeze(&self, period: Duration) -> Result<Instant, String> {
        let pids = self.stack.as_ref().map(Stack::pids).unwrap_or_default();
        let freezer = Freezer::new(study::Freezer::Signal, pids)?;
        freezer.freeze().map_err(|error| error.to_string())?;
        stop::pause(period);
        // Before, not behind it: an app that runs at once may have answered when this thread goes on.
        let thawed = Instant::now();
        freezer.thaw().map_err(|error| error.to_string())?;
        Ok(thawed)
    }
}
