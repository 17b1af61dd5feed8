//! The head of a function's answer, as HTTP/1.1.
//!
//! Planes check nothing: a status may be any number, a field any text. What would break the message is refused
//! here; the rest is judged where every worker's answer is.

use bytes::Bytes;

use super::fault::FaultKind;

/// A head, and what follows it.
#[derive(Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How the body is delimited.
    pub body: AnswerBody,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerBody {
    /// There is none, whatever comes.
    None,
    /// It has this many bytes.
    Length(u64),
    /// In chunks.
    Chunks,
}

/// The head with `status` and `fields`, which answers a request with the method HEAD or another. `phrase` gives the
/// words of a status.
///
/// # Errors
/// If HTTP cannot say it.
pub fn answer_head(
    status: i32,
    fields: &[(Bytes, Bytes)],
    to_head: bool,
    phrase: impl FnOnce(u16) -> &'static str,
) -> Result<AnswerHead, FaultKind> {
    let status = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
    let status = status.ok_or(FaultKind::Answer("status"))?;
    let mut bytes = Vec::with_capacity(256);
    put(&mut bytes, &[b"HTTP/1.1 ", status.to_string().as_bytes(), b" ", phrase(status).as_bytes(), b"\r\n"]);
    let mut length = None;
    for (name, value) in fields {
        if !is_name(name) || value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
            return Err(FaultKind::Answer("fields"));
        }
        if is_for_one_hop(name, fields) {
            continue;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let said = std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok());
            let said = said.filter(|_| value.trim_ascii().iter().all(u8::is_ascii_digit));
            let said: u64 = said.ok_or(FaultKind::Answer("content-length"))?;
            match length.replace(said) {
                None => {}
                Some(before) if before == said => continue,
                Some(_) => return Err(FaultKind::Answer("content-length")),
            }
        }
        put(&mut bytes, &[name, b": ", value, b"\r\n"]);
    }
    let body = match (to_head || matches!(status, 204 | 304), length) {
        (true, _) => AnswerBody::None,
        (false, Some(length)) => AnswerBody::Length(length),
        (false, None) => {
            put(&mut bytes, &[b"transfer-encoding: chunked\r\n"]);
            AnswerBody::Chunks
        }
    };
    // A call is used once.
    put(&mut bytes, &[b"connection: close\r\n\r\n"]);
    Ok(AnswerHead { bytes, body })
}

/// RFC 9110 §5.6.2.
fn is_name(name: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(is_token)
}

/// Fields that speak about one connection (RFC 9110 §7.6.1), those among them that `Connection` names.
fn is_for_one_hop(name: &[u8], fields: &[(Bytes, Bytes)]) -> bool {
    const ALWAYS: [&[u8]; 7] = [
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    ];
    let is_named = |options: &Bytes| {
        options.split(|&byte| byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(name))
    };
    ALWAYS.iter().any(|always| always.eq_ignore_ascii_case(name))
        || fields
            .iter()
            .any(|(field, options)| field.eq_ignore_ascii_case(b"connection") && is_named(options))
}

fn put(bytes: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(
        status: i32,
        fields: &[(&'static str, &'static str)],
        to_head: bool,
    ) -> Result<(String, AnswerBody), FaultKind> {
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes())))
            .collect();
        let head = answer_head(status, &fields, to_head, |_| "X")?;
        Ok((String::from_utf8(head.bytes).unwrap(), head.body))
    }

    #[test]
    fn fields_keep_order_case_and_repetition() {
        let fields = [("X-A", "1"), ("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("X-B", "")];
        let (text, body) = head(418, &fields, false).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 418 X\r\nX-A: 1\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-B: \r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(body, AnswerBody::Chunks);
    }

    #[test]
    fn what_speaks_about_one_connection_ends_here() {
        let fields = [
            ("Connection", "keep-alive, X-Own"),
            ("Keep-Alive", "timeout=5"),
            ("x-own", "1"),
            ("Transfer-Encoding", "chunked"),
            ("content-length", "3"),
        ];
        let (text, body) = head(200, &fields, false).unwrap();
        assert_eq!(text, "HTTP/1.1 200 X\r\ncontent-length: 3\r\nconnection: close\r\n\r\n");
        assert_eq!(body, AnswerBody::Length(3));
    }

    #[test]
    fn an_answer_without_a_body_says_its_length_and_sends_nothing() {
        for (status, to_head) in [(200, true), (304, false), (204, false)] {
            let (text, body) = head(status, &[("Content-Length", "7")], to_head).unwrap();
            assert!(text.contains("Content-Length: 7\r\n") && !text.contains("chunked"), "{text}");
            assert_eq!(body, AnswerBody::None);
        }
    }

    #[test]
    fn what_http_cannot_say_is_refused() {
        for status in [0, 99, 100, 101, 600, 99_999, -1] {
            assert_eq!(head(status, &[], false), Err(FaultKind::Answer("status")), "{status}");
        }
        for field in
            [("", "a"), ("a b", ""), ("a:", ""), ("a", "b\r\nc: d"), ("a", "\n"), ("a", "\0"), ("ä", "")]
        {
            assert_eq!(head(200, &[field], false), Err(FaultKind::Answer("fields")), "{field:?}");
        }
        for value in ["", "-1", "+1", "1,1", "0x1", "1 1", "99999999999999999999"] {
            assert_eq!(
                head(200, &[("content-length", value)], false),
                Err(FaultKind::Answer("content-length"))
            );
        }
        assert!(head(200, &[("content-length", "1"), ("Content-Length", "2")], false).is_err());
        let (text, _) = head(200, &[("content-length", "1"), ("Content-Length", "1")], false).unwrap();
        assert_eq!(text.matches("ength").count(), 1);
    }
}
