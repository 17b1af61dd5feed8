//! The head of a script's answer (RFC 3875 §6.3), and the one of HTTP/1.1 that says the same.
//!
//! As strict as with a worker that speaks HTTP: what could be read in two ways is refused. `Location` without `Status`
//! means 302, whatever it names: php-fpm sends the status itself, and nobody who moves here from nginx knows internal
//! redirects.

use super::fault::PhpFault;

/// What follows an answer's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing: what the script says is dropped.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunks,
}

/// A head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// In HTTP/1.1, whole.
    pub bytes: Vec<u8>,
    /// What follows it.
    pub body: Body,
}

/// Fields that speak about a connection, which is not the script's.
const DROPPED: [&[u8]; 5] = [b"connection", b"keep-alive", b"proxy-connection", b"te", b"upgrade"];

/// Bytes of the head at the start of `bytes`, the blank line included, once that is here. Lines end with LF or CRLF.
#[must_use]
pub fn head_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        at += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            return Some(at);
        }
    }
    None
}

/// The head of HTTP/1.1 that says what `head`, a whole head of a script, says. `to_head`: the request was HEAD;
/// `known`: the length of the body, if all of it is here; `keep`: the connection is kept behind it.
///
/// # Errors
/// [`PhpFault::Head`] if it may not be passed on.
pub fn translate(head: &[u8], to_head: bool, known: Option<u64>, keep: bool) -> Result<Head, PhpFault> {
    let mut status: Option<&[u8]> = None;
    let mut length = None;
    let mut has_location = false;
    let mut fields = Vec::with_capacity(head.len() + 64);
    for line in head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)) {
        if line.is_empty() {
            continue;
        }
        let (name, value) = field(line)?;
        if name.eq_ignore_ascii_case(b"status") {
            if status.replace(value).is_some() {
                return Err(PhpFault::Head("it has two Status fields"));
            }
            continue;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let number = number(value).ok_or(PhpFault::Head("its Content-Length is no number"))?;
            if length.replace(number).is_some() {
                return Err(PhpFault::Head("it has two Content-Length fields"));
            }
            continue;
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Err(PhpFault::Head("it has a Transfer-Encoding, which is not the script's to choose"));
        }
        if DROPPED.iter().any(|dropped| name.eq_ignore_ascii_case(dropped)) {
            continue;
        }
        has_location |= name.eq_ignore_ascii_case(b"location");
        for part in [name, b": ", value, b"\r\n"] {
            fields.extend_from_slice(part);
        }
    }
    let status = status.unwrap_or(if has_location { b"302 Found" } else { b"200 OK" });
    let code = code(status).ok_or(PhpFault::Head("its Status is none of 200 to 599"))?;
    let phrase = status.get(3..).unwrap_or_default().trim_ascii();
    let body = match (length, known) {
        _ if to_head || matches!(code, 204 | 304) => Body::None,
        (Some(length), _) | (None, Some(length)) => Body::Length(length),
        (None, None) => Body::Chunks,
    };
    let stated = match body {
        Body::None if code != 204 => length,
        Body::Length(length) => Some(length),
        Body::None | Body::Chunks => None,
    };
    let mut bytes = format!("HTTP/1.1 {code} ").into_bytes();
    bytes.extend_from_slice(phrase);
    bytes.extend_from_slice(b"\r\n");
    bytes.append(&mut fields);
    if let Some(length) = stated {
        bytes.extend_from_slice(format!("Content-Length: {length}\r\n").as_bytes());
    }
    if body == Body::Chunks {
        bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    bytes.extend_from_slice(if keep { b"\r\n" } else { b"Connection: close\r\n\r\n" });
    Ok(Head { bytes, body })
}

fn field(line: &[u8]) -> Result<(&[u8], &[u8]), PhpFault> {
    let colon = line.iter().position(|&byte| byte == b':');
    let (name, value) = colon.map(|at| (&line[..at], line[at + 1..].trim_ascii())).unwrap_or_default();
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if name.is_empty() || !name.iter().all(is_token) {
        return Err(PhpFault::Head("a line of it is no field"));
    }
    if value.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
        return Err(PhpFault::Head("a field of it holds a control character"));
    }
    Ok((name, value))
}

/// The code at the start of a status. Interim ones are not a script's.
fn code(status: &[u8]) -> Option<u16> {
    let digits = status.get(..3)?;
    let is_alone = status.get(3).is_none_or(|byte| *byte == b' ');
    let code = number(digits).filter(|_| is_alone)?;
    u16::try_from(code).ok().filter(|code| (200..600).contains(code))
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::http1::Parsed;
    use crate::http1::response::Response;
    use proptest::prelude::*;

    fn translated(head: &str) -> (String, Body) {
        let Head { bytes, body } = translate(head.as_bytes(), false, None, true).unwrap();
        (String::from_utf8(bytes).unwrap(), body)
    }

    #[test]
    fn the_status_is_what_the_script_says_or_what_its_location_means() {
        for (head, start) in [
            ("Content-type: text/html\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-type: text/html\r\n"),
            ("Status: 404 Not Found\r\nA: b\r\n\r\n", "HTTP/1.1 404 Not Found\r\nA: b\r\n"),
            ("Status: 299\n\n", "HTTP/1.1 299 \r\n"),
            ("Location: /x\r\n\r\n", "HTTP/1.1 302 Found\r\nLocation: /x\r\n"),
            ("Location: https://a/\nStatus: 301 Moved\n\n", "HTTP/1.1 301 Moved\r\nLocation: https://a/\r\n"),
        ] {
            let (bytes, body) = translated(head);
            assert_eq!(bytes, format!("{start}Transfer-Encoding: chunked\r\n\r\n"));
            assert_eq!(body, Body::Chunks);
        }
    }

    #[test]
    fn a_body_ends_where_the_script_says_or_where_it_is_known_to_end() {
        let (bytes, body) = translated("Content-Length: 5\r\nConnection: close\r\n\r\n");
        assert_eq!((bytes.as_str(), body), ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Body::Length(5)));
        let known = translate(b"A: b\r\n\r\n", false, Some(3), false).unwrap();
        assert_eq!(known.bytes, b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
        for (head, to_head, bytes) in [
            ("Content-Length: 5\r\n\r\n", true, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            ("A: b\r\n\r\n", true, "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
            ("Status: 304 Not Modified\r\n\r\n", false, "HTTP/1.1 304 Not Modified\r\n\r\n"),
            ("Status: 204 No\r\nContent-Length: 5\r\n\r\n", false, "HTTP/1.1 204 No\r\n\r\n"),
        ] {
            let head = translate(head.as_bytes(), to_head, Some(7), true).unwrap();
            assert_eq!((String::from_utf8(head.bytes).unwrap().as_str(), head.body), (bytes, Body::None));
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for head in [
            "Status: 200 OK\r\nStatus: 200 OK\r\n\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
            "Content-Length: +5\r\n\r\n",
            "Content-Length: 5, 5\r\n\r\n",
            "Content-Length:\r\n\r\n",
            "Transfer-Encoding: chunked\r\n\r\n",
            "Status: 100 Continue\r\n\r\n",
            "Status: 2000\r\n\r\n",
            "Status: OK\r\n\r\n",
            "Status:\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "A b: c\r\n\r\n",
            " folded: x\r\n\r\n",
            ": x\r\n\r\n",
            "A: b\rc: d\r\n\r\n",
            "A: b\0\r\n\r\n",
            "<?php echo 1;\r\n\r\n",
        ] {
            assert!(translate(head.as_bytes(), false, None, true).is_err(), "{head:?}");
        }
    }

    #[test]
    fn a_head_is_complete_with_its_blank_line() {
        assert_eq!(head_len(b"A: b\r\n\r\nbody\n\n"), Some(8));
        assert_eq!(head_len(b"A: b\n\nbody"), Some(6));
        assert_eq!(head_len(b"\nbody"), Some(1));
        assert_eq!(head_len(b"A: b\r\n\r"), None);
    }

    proptest! {
        #[test]
        fn whatever_is_passed_on_our_own_judge_accepts(
            head in "((Status|Location|Content-Length|A|X-Y)(:|: )[ -~]{0,12}\r?\n){0,5}\r?\n",
            to_head in any::<bool>(),
            known in proptest::option::of(0_u64..9),
        ) {
            if let Ok(Head { bytes, body }) = translate(head.as_bytes(), to_head, known, true) {
                let limits = Limits::default();
                let Ok(Parsed::Complete(judged)) = Response::parse(&bytes, &limits, to_head) else {
                    panic!("{:?}", String::from_utf8_lossy(&bytes))
                };
                prop_assert_eq!(judged.head_len, bytes.len());
                prop_assert!(judged.persistent);
                let framing = match body {
                    // A length of zero is no body.
                    Body::None | Body::Length(0) => crate::http1::framing::Framing::None,
                    Body::Length(length) => crate::http1::framing::Framing::Length(length),
                    Body::Chunks => crate::http1::framing::Framing::Chunked,
                };
                prop_assert_eq!(judged.framing, framing);
            }
        }

        #[test]
        fn no_bytes_panic_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = head_len(&bytes);
            let _ = translate(&bytes, false, None, true);
        }
    }
}
