//! The field lines of a head or trailer section that was judged, one by one.
//!
//! For those who write the same fields in another form (HTTP/2). Whoever only
//! passes a head on needs no list of its fields: see [`super::rewrite`].

use super::Span;

/// One field line of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The field's name.
    pub name: &'a [u8],
    /// Its trimmed value.
    pub value: &'a [u8],
    /// Where its value stands in the head.
    pub at: Span,
    /// The whole line in the head, its end included.
    pub span: Span,
}

/// The field lines of `head`, whose first line ends behind byte `from`; those that begin in `dropped` are left
/// out.
pub fn kept_lines<'a>(
    head: &'a [u8],
    from: usize,
    dropped: &'a [Span],
) -> impl Iterator<Item = Line<'a>> + 'a {
    let is_dropped =
        |at: usize| dropped.iter().any(|span| (span.start as usize..span.end as usize).contains(&at));
    lines(&head[from..])
        .skip(1)
        .map(move |(at, line)| (from + at, line))
        .filter(move |&(at, _)| !is_dropped(at))
        .filter_map(move |(at, line)| {
            let (name, value) = field(line)?;
            let span = Span { start: at as u32, end: (at + line.len() + 2) as u32 };
            Some(Line { name, value, at: Span::of(value, head), span })
        })
}

/// Names and trimmed values of the fields of `head`, its first line and the lines in `dropped` left out.
///
/// `head` is one that [`super::request::Request`] or [`super::response::Response`] accepted, and
/// `dropped` are spans of it.
pub fn kept_fields<'a>(
    head: &'a [u8],
    dropped: &'a [Span],
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + 'a {
    kept_lines(head, 0, dropped).map(|line| (line.name, line.value))
}

/// Names and trimmed values of a trailer section that [`super::chunked::Scanner`] has shown.
pub fn trailer_fields(section: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(section).filter_map(|(_, line)| field(line))
}

/// Lines with their places, without line ends; up to the blank line.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &bytes[at..];
        let line = &rest[..rest.windows(2).position(|pair| pair == b"\r\n")?];
        let place = at;
        at += line.len() + 2;
        (!line.is_empty()).then_some((place, line))
    })
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::http1::Parsed;
    use crate::http1::request::Request;

    #[test]
    fn the_fields_of_a_head_without_those_that_end_here() {
        let head = b"GET /a:b HTTP/1.1\r\nHost: x:1\r\nConnection: b\r\nB: 1\r\nEmpty:\r\nC: \t d e \r\n\r\nBody: no\r\n";
        let Ok(Parsed::Complete(request)) = Request::parse(head, &Limits::default()) else { panic!() };
        let fields: Vec<_> = kept_fields(head, request.dropped()).collect();
        assert_eq!(fields, [(&b"Host"[..], &b"x:1"[..]), (b"Empty", b""), (b"C", b"d e")]);
    }

    #[test]
    fn a_line_knows_its_place() {
        let head = b"\r\nGET / HTTP/1.1\r\nHost: x\r\nA:  b \r\nC: d\r\n\r\n";
        let dropped = [Span { start: 18, end: 27 }];
        let found: Vec<_> = kept_lines(head, 2, &dropped).collect();
        assert_eq!(found.iter().map(|line| line.name).collect::<Vec<_>>(), [b"A", b"C"]);
        assert_eq!((found[0].at.of_head(head), found[0].span.of_head(head)), (&b"b"[..], &b"A:  b \r\n"[..]));
    }

    #[test]
    fn a_trailer_section_has_no_first_line() {
        let fields: Vec<_> = trailer_fields(b"A: b\r\nC:\r\n").collect();
        assert_eq!(fields, [(&b"A"[..], &b"b"[..]), (b"C", b"")]);
        assert_eq!(trailer_fields(b"").count(), 0);
    }
}
