//! How an event's failure is reported: the platform drops status and headers of the answer, but for one.
//!
//! `x-fc-status: 404` makes a failed invocation, whatever the body says; without
//! it every answer counts as a success (FC contract §3.2).

/// The header that reports the outcome of an event.
pub const STATUS_HEADER: &str = "x-fc-status";

/// The line that makes an answer a failed invocation.
pub const FAILED_LINE: &[u8] = b"x-fc-status: 404\r\n";

/// What a worker's own `x-fc-status` field among `fields` says; `None` if it says nothing.
pub fn reported<'a>(mut fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<bool> {
    fields
        .find(|(name, _)| name.eq_ignore_ascii_case(STATUS_HEADER.as_bytes()))
        .map(|(_, value)| value.trim_ascii() == b"404")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_may_say_itself_whether_its_event_failed() {
        let fields = |value: &'static [u8]| [(&b"A"[..], &b"b"[..]), (b"X-Fc-Status", value)].into_iter();
        assert_eq!(reported(fields(b"404")), Some(true));
        assert_eq!(reported(fields(b"200")), Some(false));
        assert_eq!(reported(fields(b"404").take(1)), None);
    }
}
