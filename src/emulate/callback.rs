//! What the platform asks an instance beside requests: its callbacks and its health check (FC contract §1.4, §3.3).

use std::fmt;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;

use super::headers::{self, Facts};
use super::instance::Instance;
use super::life::Emulator;
use crate::clock;
use crate::fc::kind::{Hook, Kind};
use crate::fc::marker::{self, Ending};
use crate::id::RequestId;

/// Nobody reads the body of such an answer; this much is taken so that the connection stays usable.
const BODY_BYTES_MAX: usize = 64 << 10;

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It answered with this status.
    Answered(u16),
    /// It did not in time.
    TimedOut(Duration),
    /// The connection failed.
    Broken(String),
}

impl Outcome {
    /// Whether a callback has done its work: any status of success.
    pub(super) fn is_success(&self) -> bool {
        matches!(self, Self::Answered(200..=299))
    }

    /// Whether the platform restarts the instance for it.
    pub(super) fn asks_for_restart(&self) -> bool {
        *self == Self::Answered(500)
    }

    /// The status, or why there is none.
    pub(super) fn status(&self) -> Result<u16, String> {
        match self {
            Self::Answered(status) => Ok(*status),
            _ => Err(self.to_string()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(status) => write!(f, "status code: {status}"),
            Self::TimedOut(period) => write!(f, "no answer within {} seconds", period.as_secs_f64()),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// Asks the instance to do what `hook` is for. It must not be frozen.
pub(super) async fn call(
    emulator: &Emulator,
    instance: &Instance,
    hook: Hook,
    patience: Duration,
) -> Outcome {
    let id = RequestId::generate();
    let kind = Kind::Hook(hook);
    emulator.log.platform(marker::start(kind, id.as_str()).to_string().trim_end());
    let method = if hook == Hook::Initialize { "POST" } else { "GET" };
    let outcome = ask(emulator, instance, method, hook.path(), &id, patience).await;
    let end = marker::end(kind, id.as_str(), Ending::Answered).to_string();
    if outcome.is_success() {
        emulator.log.platform(end.trim_end());
    } else {
        emulator.log.platform(format_args!("{}, Error: {outcome}", end.trim_end()));
    }
    outcome
}

/// Asks for the health of the instance. Unlogged, as on the platform.
pub(super) async fn health(
    emulator: &Emulator,
    instance: &Instance,
    path: &str,
    patience: Duration,
) -> Outcome {
    ask(emulator, instance, "GET", path, &RequestId::generate(), patience).await
}

async fn ask(
    emulator: &Emulator,
    instance: &Instance,
    method: &str,
    path: &str,
    id: &RequestId,
    patience: Duration,
) -> Outcome {
    let facts = Facts { id: id.as_str(), control_path: path, client: None, base_path: "", tracing: None };
    let mut fields = headers::of_call(&emulator.options, &facts, &instance.link.address().to_string());
    headers::say_no_body(&mut fields, method);
    let asking = async {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let mut request =
            Request::builder().method(method).uri(path).body(body).map_err(|e| e.to_string())?;
        *request.headers_mut() = fields;
        let mut kept = instance.link.connection().await.map_err(|e| e.to_string())?;
        let answer = kept.send(request).await.map_err(|broken| broken.error.to_string())?;
        let status = answer.status().as_u16();
        if Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await.is_ok() {
            instance.link.keep(kept);
        }
        Ok(status)
    };
    match clock::timeout(patience, asking).await {
        None => Outcome::TimedOut(patience),
        Some(Ok(status)) => Outcome::Answered(status),
        Some(Err(why)) => Outcome::Broken(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundreds_are_success_and_500_restarts() {
        for (status, is_success, restarts) in [
            (200, true, false),
            (204, true, false),
            (302, false, false),
            (404, false, false),
            (500, false, true),
        ] {
            let outcome = Outcome::Answered(status);
            assert_eq!(
                (outcome.is_success(), outcome.asks_for_restart()),
                (is_success, restarts),
                "{status}"
            );
        }
        let late = Outcome::TimedOut(Duration::from_millis(1500));
        assert_eq!(late.status(), Err("no answer within 1.5 seconds".to_owned()));
    }
}
