//! What a caller reads when there is no answer of the function (FC contract §1.5, §3.3, §3.4). Pure.
//!
//! Errors of the platform have a code and a message; those of the function have an `errorMessage` alone and say
//! in `X-Fc-Error-Type` whose they are. Start errors use today's wording in the envelope seen in real answers.

use std::fmt;

use serde_json::Value;

/// A function that ended, or a connection that did: the platform says the same (§3.4).
pub(super) const UNHANDLED: &str = "UnhandledInvocationError";
/// A function that said itself that it failed (§3.2).
pub(super) const INVOCATION: &str = "InvocationError";
/// An initializer that failed (§3.3).
pub(super) const INITIALIZATION: &str = "InitializationError";
/// Everything that is not the function's fault.
pub(super) const COMMON: &str = "FcCommonError";

/// Why there is no instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StartFailure {
    /// The start command names no file.
    NotFound {
        /// The file.
        file: String,
    },
    /// The start command may not be executed.
    NoPermission,
    /// It ended, or could not be executed.
    Exited {
        /// Its exit status, 128 + n for a signal, or the error number of the system.
        code: i32,
        /// The same in words.
        message: String,
        /// The start command.
        command: String,
        /// The last of what it wrote.
        logs: String,
    },
    /// It runs and does not listen where it can be reached.
    NotListening {
        /// On which port.
        port: u16,
        /// For how many seconds.
        seconds: u64,
        /// The last of what it wrote.
        logs: String,
    },
    /// It listens and its health check fails.
    Unhealthy {
        /// With which status, or why there is none.
        status: Result<u16, String>,
    },
    /// Its initializer failed.
    Initializer {
        /// With which status, or why there is none.
        status: Result<u16, String>,
    },
    /// The emulator cannot start it here: no part of the platform's contract.
    Local(String),
}

impl StartFailure {
    /// The status that the caller gets.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Initializer { .. } => 200,
            Self::Local(_) => 500,
            _ => 412,
        }
    }

    /// What `X-Fc-Error-Type` says.
    pub(super) fn error_type(&self) -> &'static str {
        if matches!(self, Self::Initializer { .. }) { INITIALIZATION } else { COMMON }
    }

    /// The error code, which an initializer that failed has not.
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "CAFileNotFound",
            Self::NoPermission => "CAFilePermission",
            Self::Exited { .. } => "CAExited",
            Self::NotListening { .. } | Self::Unhealthy { .. } => "FunctionNotStarted",
            Self::Initializer { .. } => INITIALIZATION,
            Self::Local(_) => "EmulatorError",
        }
    }

    /// The whole body.
    pub(super) fn body(&self, id: &str) -> String {
        match self {
            Self::Initializer { .. } => of_function(&self.to_string()),
            _ => of_platform(id, self.code(), &self.to_string()),
        }
    }
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |status: &Result<u16, String>| match status {
            Ok(status) => format!("failed with status code: {status} "),
            Err(why) => format!("failed: {why}"),
        };
        match self {
            Self::NotFound { file } => {
                write!(f, "Failed to start function instance. Error: the file {file} is not exist")
            }
            Self::NoPermission => f.write_str(
                "The CA process cannot be started due to bootstrap file don't have execute permissions",
            ),
            Self::Exited { code, message, command, logs } => write!(
                f,
                "Function instance exited unexpectedly(code {code}, message:{message}) with start command \
                 '{command} '. Logs:{logs}"
            ),
            Self::NotListening { port, seconds, logs } => write!(
                f,
                "Function instance health check failed on port {port} in {seconds} seconds.\nLogs:{logs}"
            ),
            Self::Unhealthy { status } => write!(
                f,
                "The function http server cannot be started. check function health {}",
                words(status)
            ),
            Self::Initializer { status } => {
                write!(f, "The initializer of the function {}", words(status).trim_end())
            }
            Self::Local(what) => f.write_str(what),
        }
    }
}

/// The body of an error of the platform's: `{"RequestId":…,"Code":…,"Message":…}`, in this order.
pub(super) fn of_platform(id: &str, code: &str, message: &str) -> String {
    let [id, code, message] = [id, code, message].map(|text| Value::from(text).to_string());
    format!("{{\"RequestId\":{id},\"Code\":{code},\"Message\":{message}}}")
}

/// The body of an error of the function's: `{"errorMessage":…}`.
pub(super) fn of_function(message: &str) -> String {
    format!("{{\"errorMessage\":{}}}", Value::from(message))
}

/// Why an invocation had no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// The instance ended, or closed the connection.
    Exited,
    /// The caller left.
    Canceled,
    /// It took longer than a function may.
    TimedOut {
        /// The limit, in seconds.
        seconds: u64,
    },
}

impl Loss {
    /// The sentence that caller and log get, of an invocation that took `ms` with at most `memory_kb` in use.
    pub(super) fn sentence(self, ms: u128, memory_kb: u64) -> String {
        let memory = megabytes(memory_kb);
        match self {
            Self::Exited => format!(
                "Process exited unexpectedly before completing request (duration: {ms}ms, \
                 maxMemoryUsage: {memory}MB)"
            ),
            Self::Canceled => {
                format!("Invocation canceled by client (duration: {ms}ms, maxMemoryUsage: {memory}MB)")
            }
            Self::TimedOut { seconds } => {
                format!("Function timed out after {seconds} seconds (maxMemoryUsage: {memory}MB)")
            }
        }
    }
}

/// As the platform writes memory: two digits, no unit.
pub(super) fn megabytes(kb: u64) -> String {
    let hundredths = kb * 100 / 1024;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs() -> String {
        "first\nError: \"no\"".to_owned()
    }

    #[test]
    fn start_errors_are_those_of_the_platforms_samples() {
        for (failure, status, body) in [
            (
                StartFailure::NotFound { file: "/code/bootstrap".into() },
                412,
                r#"{"RequestId":"1-a","Code":"CAFileNotFound","Message":"Failed to start function instance. Error: the file /code/bootstrap is not exist"}"#,
            ),
            (
                StartFailure::NoPermission,
                412,
                r#"{"RequestId":"1-a","Code":"CAFilePermission","Message":"The CA process cannot be started due to bootstrap file don't have execute permissions"}"#,
            ),
            (
                StartFailure::Exited {
                    code: 13,
                    message: "permission denied".into(),
                    command: "/code/bootstrap".into(),
                    logs: logs(),
                },
                412,
                r#"{"RequestId":"1-a","Code":"CAExited","Message":"Function instance exited unexpectedly(code 13, message:permission denied) with start command '/code/bootstrap '. Logs:first\nError: \"no\""}"#,
            ),
            (
                StartFailure::NotListening { port: 9001, seconds: 120, logs: String::new() },
                412,
                r#"{"RequestId":"1-a","Code":"FunctionNotStarted","Message":"Function instance health check failed on port 9001 in 120 seconds.\nLogs:"}"#,
            ),
            (
                StartFailure::Unhealthy { status: Ok(500) },
                412,
                r#"{"RequestId":"1-a","Code":"FunctionNotStarted","Message":"The function http server cannot be started. check function health failed with status code: 500 "}"#,
            ),
            (
                StartFailure::Initializer { status: Ok(404) },
                200,
                r#"{"errorMessage":"The initializer of the function failed with status code: 404"}"#,
            ),
        ] {
            assert_eq!((failure.status(), failure.body("1-a").as_str()), (status, body));
        }
    }

    #[test]
    fn a_lost_invocation_is_told_in_the_platforms_words() {
        assert_eq!(
            of_function(&Loss::Exited.sentence(8, 170_178)),
            r#"{"errorMessage":"Process exited unexpectedly before completing request (duration: 8ms, maxMemoryUsage: 166.18MB)"}"#
        );
        assert_eq!(
            Loss::Canceled.sentence(4912, 0),
            "Invocation canceled by client (duration: 4912ms, maxMemoryUsage: 0.00MB)"
        );
        assert_eq!(
            Loss::TimedOut { seconds: 3 }.sentence(3001, 1024),
            "Function timed out after 3 seconds (maxMemoryUsage: 1.00MB)"
        );
    }
}
