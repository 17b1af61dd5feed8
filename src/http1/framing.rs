//! Where a message body ends (RFC 9112 §6.3), and the house rules that keep it the only end.
//!
//! Two parties that disagree about where a message ends can be made to see
//! different messages. So whatever could be read in two ways is refused, towards
//! clients with 400 and a close, towards workers with 502; what is forwarded is
//! what we would write ourselves. Each rule, its source, and what it stops:
//!
//! | rule | source | what it stops | kept in |
//! |---|---|---|---|
//! | `Content-Length` beside `Transfer-Encoding` | RFC 9112 §6.1 | CL.TE and TE.CL smuggling | here |
//! | a repeated or listed `Content-Length`, equal values too | RFC 9112 §6.3 | CL.CL: first or last wins | here |
//! | `Content-Length` that is not 1 to 19 digits | RFC 9110 §8.6 | signs, hex, empty values (CVE-2023-40225) | here |
//! | `Transfer-Encoding` other than one single `chunked` | RFC 9112 §6.1 | TE.TE: lists and disguises that one reader skips (CVE-2022-32213, CVE-2024-1135) | here |
//! | `Transfer-Encoding` in HTTP/1.0 | RFC 9112 §6.1 | a 1.0 reader that goes on to the close | here |
//! | a body where there can be none (HEAD, 1xx, 204, 304) is not read | RFC 9112 §6.3 | answers that slide by one | here |
//! | a line that is folded | RFC 9112 §5.2 | a field hidden in another's value (CVE-2022-32215) | `httparse`, [`fields`](super) |
//! | whitespace before the colon, an empty name, a name that is no token | RFC 9112 §5.1 | fields one reader ignores (CVE-2019-16276, CVE-2023-25725) | `httparse` |
//! | NUL, CR, LF and other controls in a value | RFC 9110 §5.5 | injected lines (CVE-2023-30589) | `httparse` |
//! | a line that ends with a bare LF or CR | RFC 9112 §2.2 allows, we do not | two line grammars (CVE-2025-22871) | [`fields`](super), [`chunked`](super::chunked) |
//! | a chunk size that is not 1 to 15 hexadecimal digits | RFC 9112 §7.1 | overflow, signs, `0x` (CVE-2013-2028) | [`chunked`](super::chunked) |
//! | chunk extensions that the grammar does not write, or over 256 bytes | RFC 9112 §7.1.1 | open quotes and line ends seen by one reader only (CVE-2026-33870); work without end (CVE-2023-39326) | [`chunked`](super::chunked) |
//! | anything but CRLF behind a chunk, or behind the last one | RFC 9112 §7.1 | a request hidden in the gap | [`chunked`](super::chunked) |
//! | trailers over 8 KiB, or not field lines | RFC 9112 §7.1.2 | memory; lines that become fields | [`chunked`](super::chunked) |
//! | trailers named `Host`, `Content-Length`, `Transfer-Encoding` | RFC 9110 §6.5.1 | trailers merged into the head | [`chunked`](super::chunked) |
//! | several `Host`, one that is no `host[:port]`, one that the target contradicts | RFC 9112 §3.2 | routing to two places | [`request`](super::request), [`target`](super::target) |
//! | spaces or controls in the target, more than three words | RFC 9112 §3.2 | a version or a field in the target | `httparse` |
//! | a version other than 1.0 and 1.1, or none (HTTP/0.9) | RFC 9112 §2.3 | answers without heads | [`request`](super::request) |
//! | `Connection` naming `Host`, framing, credentials, `x-fc-*`, `x-forwarded-*` removes nothing | RFC 9110 §7.6.1 | stripping what a check in front relied on | [`fields`](super) |
//! | whatever follows `Connection: close` | RFC 9112 §9.6 | a request that one reader drops | the engine, which stops reading |
//! | bytes behind a whole response | RFC 9112 §9.2 | an answer for somebody else | the engine: that connection is never used again |
//! | a 101 that was not offered, or before the request ended | RFC 9110 §7.8 | a tunnel past all of this | [`response`](super::response) |

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// Exactly this many bytes.
    Length(u64),
    /// Chunked coding (RFC 9112 §7.1).
    Chunked,
    /// Everything until the connection closes; responses only.
    UntilClose,
}

/// What a head said about its body, gathered field by field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LengthFields {
    content_length: Option<u64>,
    chunked: bool,
    fault: Option<FramingFault>,
}

/// Why a body's end cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingFault {
    /// RFC 9112 §6.3: not a plain decimal number that fits 64 bits.
    #[error("Content-Length is not a plain decimal number")]
    BadLength,
    /// Several fields, or a list; request smuggling's oldest door.
    #[error("Content-Length is given more than once")]
    RepeatedLength,
    /// RFC 9112 §6.1: both present means one of two readers is wrong.
    #[error("Content-Length and Transfer-Encoding are both present")]
    LengthAndCoding,
    /// A coding other than `chunked`; RFC 9112 §6.1 asks for 501.
    #[error("a transfer coding other than chunked is used")]
    UnknownCoding,
    /// `chunked` twice, or in a list: no two parsers agree on it.
    #[error("Transfer-Encoding is not one single chunked")]
    RepeatedCoding,
    /// RFC 9112 §6.1: HTTP/1.0 knows no transfer codings.
    #[error("Transfer-Encoding in an HTTP/1.0 message")]
    CodingInHttp10,
}

impl LengthFields {
    /// Notes one `Content-Length` field.
    pub(super) fn content_length(&mut self, value: &[u8]) {
        if self.content_length.is_some() {
            self.fail(FramingFault::RepeatedLength);
            return;
        }
        match decimal(value) {
            Some(length) => self.content_length = Some(length),
            None if value.contains(&b',') => self.fail(FramingFault::RepeatedLength),
            None => self.fail(FramingFault::BadLength),
        }
    }

    /// Notes one `Transfer-Encoding` field.
    pub(super) fn transfer_encoding(&mut self, value: &[u8]) {
        if self.chunked {
            self.fail(FramingFault::RepeatedCoding);
        } else if value.eq_ignore_ascii_case(b"chunked") {
            self.chunked = true;
        } else if value.split(|&b| b == b',').all(|item| item.trim_ascii().eq_ignore_ascii_case(b"chunked")) {
            self.fail(FramingFault::RepeatedCoding);
        } else {
            self.fail(FramingFault::UnknownCoding);
        }
    }

    /// Whether any field says something about a body.
    pub(super) fn are_present(&self) -> bool {
        self.content_length.is_some() || self.chunked || self.fault.is_some()
    }

    fn fail(&mut self, fault: FramingFault) {
        self.fault.get_or_insert(fault);
    }

    fn checked(&self, minor_version: u8) -> Result<(), FramingFault> {
        if self.chunked && minor_version == 0 {
            return Err(FramingFault::CodingInHttp10);
        }
        if self.chunked && self.content_length.is_some() {
            return Err(FramingFault::LengthAndCoding);
        }
        self.fault.map_or(Ok(()), Err)
    }

    /// The framing of a request with these fields (RFC 9112 §6.3, rules 3 to 7).
    pub(super) fn of_request(&self, minor_version: u8) -> Result<Framing, FramingFault> {
        self.checked(minor_version)?;
        Ok(match self.content_length {
            _ if self.chunked => Framing::Chunked,
            Some(0) | None => Framing::None,
            Some(length) => Framing::Length(length),
        })
    }

    /// The framing of a response with these fields (RFC 9112 §6.3, rules 1 to 8).
    ///
    /// The fields are judged even where no body follows: a peer that sends both
    /// is not to be trusted with the next message either.
    pub(super) fn of_response(
        &self,
        minor_version: u8,
        status: u16,
        to_head: bool,
    ) -> Result<Framing, FramingFault> {
        self.checked(minor_version)?;
        if to_head || status < 200 || status == 204 || status == 304 {
            return Ok(Framing::None);
        }
        Ok(match self.content_length {
            _ if self.chunked => Framing::Chunked,
            Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        })
    }
}

fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    value
        .iter()
        .try_fold(0_u64, |sum, &byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lengths: &[&str], codings: &[&str]) -> LengthFields {
        let mut fields = LengthFields::default();
        for value in lengths {
            fields.content_length(value.as_bytes());
        }
        for value in codings {
            fields.transfer_encoding(value.as_bytes());
        }
        fields
    }

    #[test]
    fn a_request_body_ends_where_its_fields_say() {
        assert_eq!(fields(&[], &[]).of_request(1), Ok(Framing::None));
        assert_eq!(fields(&["0"], &[]).of_request(1), Ok(Framing::None));
        assert_eq!(fields(&["42"], &[]).of_request(0), Ok(Framing::Length(42)));
        assert_eq!(fields(&[], &["Chunked"]).of_request(1), Ok(Framing::Chunked));
    }

    #[test]
    fn fc10_whatever_could_be_read_in_two_ways_is_refused() {
        for (lengths, codings, minor, fault) in [
            (vec!["1"], vec!["chunked"], 1, FramingFault::LengthAndCoding),
            (vec!["1", "1"], vec![], 1, FramingFault::RepeatedLength),
            (vec!["1, 1"], vec![], 1, FramingFault::RepeatedLength),
            (vec!["+1"], vec![], 1, FramingFault::BadLength),
            (vec!["0x1"], vec![], 1, FramingFault::BadLength),
            (vec!["1 "], vec![], 1, FramingFault::BadLength),
            (vec![""], vec![], 1, FramingFault::BadLength),
            (vec!["99999999999999999999"], vec![], 1, FramingFault::BadLength),
            (vec![], vec!["gzip"], 1, FramingFault::UnknownCoding),
            (vec![], vec!["gzip, chunked"], 1, FramingFault::UnknownCoding),
            (vec![], vec!["chunked, chunked"], 1, FramingFault::RepeatedCoding),
            (vec![], vec!["chunked", "chunked"], 1, FramingFault::RepeatedCoding),
            (vec![], vec!["chunked", "identity"], 1, FramingFault::RepeatedCoding),
            (vec![], vec!["\"chunked\""], 1, FramingFault::UnknownCoding),
            (vec![], vec!["chunked"], 0, FramingFault::CodingInHttp10),
        ] {
            let fields = fields(&lengths, &codings);
            assert_eq!(fields.of_request(minor), Err(fault), "{lengths:?} {codings:?}");
            assert_eq!(fields.of_response(minor, 200, false), Err(fault), "{lengths:?} {codings:?}");
        }
    }

    #[test]
    fn responses_that_cannot_have_a_body_have_none() {
        let fields = fields(&["5"], &[]);
        assert_eq!(fields.of_response(1, 200, true), Ok(Framing::None));
        assert_eq!(fields.of_response(1, 204, false), Ok(Framing::None));
        assert_eq!(fields.of_response(1, 304, false), Ok(Framing::None));
        assert_eq!(fields.of_response(1, 103, false), Ok(Framing::None));
        assert_eq!(fields.of_response(1, 200, false), Ok(Framing::Length(5)));
    }

    #[test]
    fn a_response_without_length_lasts_until_close() {
        assert_eq!(fields(&[], &[]).of_response(1, 200, false), Ok(Framing::UntilClose));
    }
}
