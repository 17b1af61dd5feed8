//! The part of the configuration that is about spans.

use super::super::read;
use super::super::trace::{FUNCTION_NAME, Trace};
use super::{Facts, Judge};
use crate::error::Problem;

/// The service's name where nobody says another.
const SERVICE: &str = "warmfront";

impl Judge<'_> {
    pub(super) fn trace(&mut self, facts: &Facts) -> Trace {
        let otlp = self.read("trace.otlp", |_, value| read::collector(value));
        if otlp.is_some() && !facts.can_trace {
            let problem = Problem::new(
                "`trace.otlp` asks for spans, but this build is without the feature `otlp`.",
                "Most instances send none, and it takes a fifth more packages, so the usual build has not got it.",
                "Build with `--features otlp`, or leave `trace.otlp` out.",
            );
            self.find("trace.otlp", problem);
        }
        let function = facts.function.iter().find(|(name, _)| *name == FUNCTION_NAME);
        let service = self.read("trace.service", |_, value| read::text(value));
        Trace {
            otlp,
            sample: self.number("trace.sample"),
            service: service
                .or_else(|| function.map(|(_, name)| name.clone()))
                .unwrap_or_else(|| SERVICE.to_owned()),
            function: facts.function.clone(),
        }
    }
}
