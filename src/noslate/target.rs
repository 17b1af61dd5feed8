//! Which function a request is for, and what that function gets as its URL.

use std::borrow::Cow;

use crate::config::noslate::{DispatchRule, Noslate, Target, UrlForm};
use crate::http1::lines::kept_fields;
use crate::http1::request::Request;

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The function or service.
    pub target: Target,
    /// Where in the request's target the part begins that is the function's own path; 0: all of it is.
    pub path_at: usize,
}

/// What the request whose judged head stands at the start of `bytes` is for; `None` if nothing says it.
pub fn choose(noslate: &Noslate, bytes: &[u8], judged: &Request) -> Option<Chosen> {
    let path = judged.target.of_head(bytes);
    let named = noslate.dispatch.iter().find_map(|rule| match rule {
        DispatchRule::Header(name) => {
            let fields = kept_fields(&bytes[..judged.head_len], judged.dropped());
            let mut named = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()));
            let text = std::str::from_utf8(named.next()?.1).ok()?;
            Some(Chosen { target: Target::parse(text)?, path_at: 0 })
        }
        DispatchRule::Path(prefix) => {
            let name = path.strip_prefix(prefix.as_bytes())?;
            let end = name.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(name.len());
            let name = decoded(&name[..end])?;
            let target = Some(Target::Function(name)).filter(|target| is_name(target.name()))?;
            Some(Chosen { target, path_at: prefix.len() + end })
        }
    });
    named.or_else(|| Some(Chosen { target: noslate.target.clone()?, path_at: 0 }))
}

fn is_name(name: &str) -> bool {
    (1..=Target::NAME_BYTES_MAX).contains(&name.len())
}

/// The URL of a request with this `target` of which the function's part begins at `path_at`, at the host `host`.
pub fn url<'a>(form: UrlForm, target: &'a [u8], path_at: usize, host: &[u8]) -> Cow<'a, [u8]> {
    let own = &target[path_at..];
    let root: &[u8] = if own.starts_with(b"/") || own.starts_with(b"*") { b"" } else { b"/" };
    match form {
        UrlForm::Relative if root.is_empty() => Cow::Borrowed(own),
        UrlForm::Relative => Cow::Owned([root, own].concat()),
        UrlForm::Absolute => Cow::Owned([b"http://", host, root, own].concat()),
    }
}

/// Percent-decoded; `None` if that is no text.
fn decoded(raw: &[u8]) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut plain = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, behind @ ..] = rest {
        rest = match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                plain.push(digit(*high)? << 4 | digit(*low)?);
                behind
            }
            (b'%', _) => return None,
            (byte, behind) => {
                plain.push(*byte);
                behind
            }
        };
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::http1::Parsed;
    use std::time::Duration;

    fn noslate(target: Option<&str>) -> Noslate {
        Noslate {
            workdir: "/n".into(),
            data_planes: 1,
            has_control: false,
            dispatch: vec![
                DispatchRule::Header("x-noslated-dispatch".into()),
                DispatchRule::Path("/invoke/".into()),
            ],
            target: target.and_then(Target::parse),
            url: UrlForm::Relative,
            timeout: Duration::from_secs(10),
            baggage: Vec::new(),
            shows_errors: false,
            duties: Default::default(),
        }
    }

    fn chosen(noslate: &Noslate, target: &str, field: &str) -> Option<(Target, String)> {
        let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\n{field}\r\n");
        let Ok(Parsed::Complete(judged)) = Request::parse(head.as_bytes(), &Limits::default()) else {
            panic!("{head}")
        };
        let chosen = choose(noslate, head.as_bytes(), &judged)?;
        let url = url(noslate.url, target.as_bytes(), chosen.path_at, b"h");
        Some((chosen.target, String::from_utf8(url.into_owned()).unwrap()))
    }

    #[test]
    fn a_function_is_named_by_field_then_path_then_configuration() {
        let function = |name: &str, url: &str| Some((Target::Function(name.into()), url.to_owned()));
        let (none, some) = (noslate(None), noslate(Some("service:s")));
        let field = "X-Noslated-Dispatch: a\r\n";
        for (target, field, expected) in [
            ("/x?y", field, function("a", "/x?y")),
            ("/invoke/b/c?d=e", field, function("a", "/invoke/b/c?d=e")),
            ("/invoke/b/c?d=e", "", function("b", "/c?d=e")),
            ("/invoke/b?d", "", function("b", "/?d")),
            ("/invoke/b%2dc", "", function("b-c", "/")),
            ("/x", "X-Noslated-Dispatch: function:f:g\r\n", function("f:g", "/x")),
            ("/x", "X-Noslated-Dispatch: service:t\r\n", Some((Target::Service("t".into()), "/x".into()))),
        ] {
            assert_eq!(chosen(&none, target, field), expected, "{target} {field}");
        }
        for target in ["/x", "/invoke/", "/invoke//a", "/invoke", "/invoke/%zz", "/invoke/%ff"] {
            assert_eq!(chosen(&none, target, ""), None, "{target}");
            assert_eq!(chosen(&some, target, "").unwrap().0, Target::Service("s".into()));
        }
    }

    #[test]
    fn aworker_gets_a_whole_url() {
        let absolute = Noslate { url: UrlForm::Absolute, ..noslate(None) };
        assert_eq!(chosen(&absolute, "/invoke/a?b", "").unwrap().1, "http://h/?b");
        assert_eq!(url(UrlForm::Absolute, b"/x", 0, b"h:1").as_ref(), b"http://h:1/x");
    }
}
