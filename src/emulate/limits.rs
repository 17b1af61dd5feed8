//! What the gateway refuses before an instance sees it, or a client (FC contract §2.4, §3.1). Pure.

use std::fmt;

use hyper::HeaderMap;

/// Names and values of all headers, either way.
const HEADER_BYTES_MAX: usize = 8 * 1024;
/// Path and query.
const TARGET_BYTES_MAX: usize = 4 * 1024;
/// Body of a request that waits for its answer.
pub(super) const BODY_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Body of a request that does not.
pub(super) const ASYNC_BODY_BYTES_MAX: u64 = 128 * 1024;
/// What an HTTP trigger can be configured with.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"];

/// Why a request goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Headers of so many bytes.
    Headers(usize),
    /// A path and query of so many bytes.
    Target(usize),
    /// A body over so many bytes.
    Body(u64),
    /// A method that no trigger has.
    Method,
}

impl Excess {
    /// The status and the error code that the caller gets.
    pub(super) fn code(self) -> (u16, &'static str) {
        match self {
            Self::Headers(_) | Self::Target(_) => (400, "InvalidArgument"),
            Self::Body(_) => (400, "EntityTooLarge"),
            // A method that the trigger was not configured with is forbidden, not unknown.
            Self::Method => (403, "MethodNotAllowed"),
        }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Headers(bytes) => write!(
                f,
                "request headers size {bytes} exceeds maximum allowed size ({HEADER_BYTES_MAX} bytes)"
            ),
            Self::Target(bytes) => write!(
                f,
                "request path and query size {bytes} exceeds maximum allowed size ({TARGET_BYTES_MAX} bytes)"
            ),
            Self::Body(max) => write!(f, "payload size exceeds maximum allowed size ({max} bytes)"),
            Self::Method => write!(f, "method is not allowed, use one of {}", METHODS.join(" ")),
        }
    }
}

/// Judges the head of a request. `length` is what it says of its body; a body without a length is counted
/// as it comes.
pub(super) fn of_request(
    method: &str,
    target: &str,
    fields: &HeaderMap,
    length: Option<u64>,
    is_async: bool,
) -> Result<(), Excess> {
    if !METHODS.contains(&method) {
        return Err(Excess::Method);
    }
    if target.len() > TARGET_BYTES_MAX {
        return Err(Excess::Target(target.len()));
    }
    let bytes = bytes_of(fields);
    if bytes > HEADER_BYTES_MAX {
        return Err(Excess::Headers(bytes));
    }
    let max = body_max(is_async);
    if length.is_some_and(|length| length > max) { Err(Excess::Body(max)) } else { Ok(()) }
}

/// How many bytes a body may have.
pub(super) fn body_max(is_async: bool) -> u64 {
    if is_async { ASYNC_BODY_BYTES_MAX } else { BODY_BYTES_MAX }
}

/// What is wrong with the headers of an answer: the whole message of the 502 that the client gets instead.
pub(super) fn of_answer(fields: &HeaderMap) -> Result<(), String> {
    let bytes = bytes_of(fields);
    if bytes <= HEADER_BYTES_MAX {
        return Ok(());
    }
    Err(format!("response headers size {bytes} exceeds maximum allowed size ({HEADER_BYTES_MAX} bytes)"))
}

fn bytes_of(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One header whose name and value have so many bytes together.
    fn fields(bytes: usize) -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.insert("a", "x".repeat(bytes - 1).parse().unwrap());
        fields
    }

    #[test]
    fn each_limit_holds_to_its_last_byte() {
        let none = HeaderMap::new();
        assert_eq!(of_request("GET", &"t".repeat(4096), &fields(8192), None, false), Ok(()));
        assert_eq!(of_request("GET", &"t".repeat(4097), &none, None, false), Err(Excess::Target(4097)));
        assert_eq!(of_request("GET", "/", &fields(8193), None, false), Err(Excess::Headers(8193)));
        for (is_async, max) in [(false, 32 << 20), (true, 128 << 10)] {
            assert_eq!(of_request("POST", "/", &none, Some(max), is_async), Ok(()));
            assert_eq!(of_request("POST", "/", &none, Some(max + 1), is_async), Err(Excess::Body(max)));
        }
        assert_eq!(of_answer(&fields(8192)), Ok(()));
        assert!(of_answer(&fields(8193)).unwrap_err().contains("8193"));
    }

    #[test]
    fn only_methods_that_a_trigger_can_have_pass() {
        for method in METHODS {
            assert_eq!(of_request(method, "/", &HeaderMap::new(), None, false), Ok(()));
        }
        for method in ["TRACE", "CONNECT", "PROPFIND", "get"] {
            let excess = of_request(method, "/", &HeaderMap::new(), None, false).unwrap_err();
            assert_eq!(excess.code(), (403, "MethodNotAllowed"), "{method}");
        }
    }

    #[test]
    fn what_is_too_long_is_an_invalid_argument_and_a_body_has_its_own_word() {
        assert_eq!(Excess::Headers(1).code(), (400, "InvalidArgument"));
        assert_eq!(Excess::Target(1).code(), (400, "InvalidArgument"));
        assert_eq!(Excess::Body(1).code(), (400, "EntityTooLarge"));
        assert_eq!(Excess::Body(7).to_string(), "payload size exceeds maximum allowed size (7 bytes)");
    }
}
