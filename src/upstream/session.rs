//! The session that a head names: a cookie or a field, by the rules of `affinity.by`. Pure.
//!
//! Fields that end here name none: a worker does not see them either.

use crate::config::SessionRule;
use crate::http1::Span;
use crate::http1::lines::kept_lines;

/// A session's key: which rule found it, and what it is called there.
pub(super) type Key<'a> = (usize, &'a [u8]);

/// The key in a request's `head`, whose first line ends behind byte `from`: that of the first rule that finds one.
pub(super) fn in_request<'a>(
    rules: &[SessionRule],
    head: &'a [u8],
    from: usize,
    dropped: &'a [Span],
) -> Option<Key<'a>> {
    rules.iter().enumerate().find_map(|(index, rule)| {
        let (name, cookie) = field_of(rule, "cookie");
        let mut values = kept_lines(head, from, dropped)
            .filter(|line| line.name.eq_ignore_ascii_case(name.as_bytes()))
            .flat_map(|line| line.value.split(move |&byte| cookie.is_some() && byte == b';'));
        values.find_map(|value| key_in(value, cookie)).map(|value| (index, value))
    })
}

/// The keys in the `head` of an answer as the client gets it: every one that a rule finds.
pub(super) fn in_answer<'a>(rules: &[SessionRule], head: &'a [u8]) -> impl Iterator<Item = Key<'a>> {
    rules.iter().enumerate().flat_map(move |(index, rule)| {
        let (name, cookie) = field_of(rule, "set-cookie");
        kept_lines(head, 0, &[])
            .filter(|line| line.name.eq_ignore_ascii_case(name.as_bytes()))
            // Behind a semicolon are the cookie's attributes (RFC 6265 §4.1.1).
            .filter_map(move |line| match cookie {
                Some(_) => key_in(line.value.split(|&byte| byte == b';').next()?, cookie),
                None => key_in(line.value, None),
            })
            .map(move |value| (index, value))
    })
}

/// The field in which to look, and the cookie in it if it is one.
fn field_of<'a>(rule: &'a SessionRule, cookies: &'a str) -> (&'a str, Option<&'a str>) {
    match rule {
        SessionRule::Cookie(name) => (cookies, Some(name)),
        SessionRule::Header(name) => (name, None),
    }
}

/// The value of `cookie` in `pair`, or all of it; an empty one names nothing.
fn key_in<'a>(pair: &'a [u8], cookie: Option<&str>) -> Option<&'a [u8]> {
    let value = match cookie {
        None => pair,
        Some(cookie) => {
            let equals = pair.iter().position(|&byte| byte == b'=')?;
            // Names of cookies are case-sensitive, those of fields are not.
            (pair[..equals].trim_ascii() == cookie.as_bytes()).then_some(&pair[equals + 1..])?
        }
    };
    Some(value.trim_ascii()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::http1::Parsed;
    use crate::http1::request::Request;

    fn rules() -> [SessionRule; 3] {
        [
            SessionRule::Cookie("sid".into()),
            SessionRule::Header("X-Session".into()),
            SessionRule::Cookie("b".into()),
        ]
    }

    fn asked(fields: &str) -> Option<(usize, String)> {
        let head = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let Ok(Parsed::Complete(request)) = Request::parse(head.as_bytes(), &Limits::default()) else {
            panic!("{head}")
        };
        let from = request.target.end as usize;
        in_request(&rules(), head.as_bytes(), from, request.dropped())
            .map(|(rule, key)| (rule, String::from_utf8(key.to_vec()).unwrap()))
    }

    fn answered(fields: &str) -> Vec<(usize, String)> {
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\nSet-Cookie: sid=body\r\n");
        in_answer(&rules(), head.as_bytes())
            .map(|(rule, key)| (rule, String::from_utf8(key.to_vec()).unwrap()))
            .collect()
    }

    #[test]
    fn the_first_rule_that_finds_a_key_decides() {
        for (fields, found) in [
            ("", None),
            ("Cookie: a=1\r\nCOOKIE: c=3; sid=x=y ;b=2\r\n", Some((0, "x=y"))),
            ("x-SESSION: two  words \r\nCookie: b=2\r\n", Some((1, "two  words"))),
            ("x-session: s\r\nCookie: sid=1\r\n", Some((0, "1"))),
            ("Cookie: b=2; SID=1; xsid=3; sid; sid=\r\nX-Session:\r\n", Some((2, "2"))),
            ("X-Session: 1\r\nX-Session: 2\r\n", Some((1, "1"))),
            ("X-Session: a;b\r\n", Some((1, "a;b"))),
            ("Connection: x-session\r\nX-Session: ends here\r\n", None),
        ] {
            assert_eq!(asked(fields), found.map(|(rule, key)| (rule, key.to_owned())), "{fields:?}");
        }
    }

    #[test]
    fn an_answer_may_name_several_sessions() {
        let fields = "Set-Cookie: b=2; Path=/; sid=no\r\nset-cookie: sid=1\r\nSET-COOKIE: c=3\r\nx-session: s\r\n\
                      Set-Cookie: sid=; Max-Age=0\r\nSet-Cookie: sid=4;HttpOnly\r\nCookie: sid=5\r\n";
        let found = [(0, "1"), (0, "4"), (1, "s"), (2, "2")];
        assert_eq!(answered(fields), found.map(|(rule, key)| (rule, key.to_owned())));
    }
}
