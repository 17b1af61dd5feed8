//! When the platform sends a request once more by itself (FC contract §3.5). Pure.
//!
//! Its client behaves like `net/http` of Go, whose `shouldRetryRequest` this is: a fresh connection had no reason
//! to be closed, so nothing is repeated on it; on a kept one a request without a body is, if its method is safe
//! or nothing of it had been written.

/// How far a request came on a connection that then failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt<'a> {
    /// Its method.
    pub(super) method: &'a str,
    /// Whether it has a body, which is gone once it was sent.
    pub(super) has_body: bool,
    /// Whether it says itself that it may be repeated.
    pub(super) has_idempotency_key: bool,
    /// Whether the connection had carried a request before.
    pub(super) was_kept: bool,
    /// Whether no byte of it was written.
    pub(super) is_unwritten: bool,
}

/// Whether it is sent again, on another connection.
pub(super) fn may_repeat(attempt: Attempt<'_>) -> bool {
    if !attempt.was_kept || attempt.has_body {
        return false;
    }
    let is_safe = matches!(attempt.method, "GET" | "HEAD" | "OPTIONS" | "TRACE");
    attempt.is_unwritten || is_safe || attempt.has_idempotency_key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_connection_that_fails_costs_a_post_and_not_a_get() {
        let base = Attempt {
            method: "GET",
            has_body: false,
            has_idempotency_key: false,
            was_kept: true,
            is_unwritten: false,
        };
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(may_repeat(Attempt { method, ..base }), "{method}");
            assert!(!may_repeat(Attempt { method, was_kept: false, ..base }), "{method} on a fresh one");
            assert!(!may_repeat(Attempt { method, has_body: true, ..base }), "{method} with a body");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let attempt = Attempt { method, ..base };
            assert!(!may_repeat(attempt), "{method}");
            assert!(may_repeat(Attempt { is_unwritten: true, ..attempt }), "{method}, unwritten");
            assert!(may_repeat(Attempt { has_idempotency_key: true, ..attempt }), "{method} with a key");
            assert!(!may_repeat(Attempt { is_unwritten: true, has_body: true, ..attempt }), "{method}");
        }
    }
}
