//! What a request asks for, and whom: the forms of a target and its authority (RFC 9112 §3.2).
//!
//! A worker gets the origin-form, whatever the client sent: frameworks take a
//! target that begins with a scheme for a path. Where target and `Host` name two
//! authorities, two readers would route to two places; that is refused.

use std::ops::Range;

use super::Span;

/// Longest authority of an absolute target, in bytes: a host name has 253 (RFC 1035 §2.3.4), a port 6 more.
pub(super) const AUTHORITY_BYTES_MAX: usize = 260;

/// The form of a target (RFC 9112 §3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `/path?query`.
    Origin,
    /// `*`: the server itself; OPTIONS only.
    Asterisk,
    /// `http://authority/path?query`.
    Absolute(Absolute),
}

/// The parts of an absolute target, as ranges of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Absolute {
    /// `host` or `host:port`.
    pub(super) authority: Range<usize>,
    /// The port that the scheme means when none is given.
    default_port: &'static [u8],
    /// Whether a slash follows the authority.
    has_path: bool,
}

/// Why a target is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// Neither a path, nor an http(s) URL, nor `*` for OPTIONS.
    #[error("the request target is neither a path nor an http URL")]
    Form,
    /// A fragment never leaves the client (RFC 9110 §4.2.5).
    #[error("the request target contains a fragment")]
    Fragment,
    /// Not `host[:port]`, too long, or with user information, which RFC 9110 §4.2.4 forbids.
    #[error("the authority of the request target is not host[:port]")]
    Authority,
}

impl Form {
    /// The form of `target`.
    pub(super) fn of(method: &str, target: &[u8]) -> Result<Self, TargetFault> {
        if target.contains(&b'#') {
            return Err(TargetFault::Fragment);
        }
        match target {
            [b'/', ..] => Ok(Self::Origin),
            b"*" if method == "OPTIONS" => Ok(Self::Asterisk),
            _ => Absolute::parse(target).map(Self::Absolute),
        }
    }
}

impl Absolute {
    fn parse(target: &[u8]) -> Result<Self, TargetFault> {
        let schemes: [(&[u8], &[u8]); 2] = [(b"http://", b"80"), (b"https://", b"443")];
        let has_scheme = |scheme: &[u8]| {
            target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        let Some((scheme, default_port)) = schemes.into_iter().find(|(scheme, _)| has_scheme(scheme)) else {
            return Err(TargetFault::Form);
        };
        let rest = &target[scheme.len()..];
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let authority = scheme.len()..scheme.len() + end;
        if end == 0
            || end > AUTHORITY_BYTES_MAX
            || rest[0] == b':'
            || !is_authority(&target[authority.clone()])
        {
            return Err(TargetFault::Authority);
        }
        Ok(Self { authority, default_port, has_path: rest.get(end) == Some(&b'/') })
    }

    /// The bytes of the target that go, so that what stays is the origin-form: one slash of the
    /// scheme's two stays where the path has none of its own.
    pub(super) fn gaps(&self, target: Span) -> Vec<Span> {
        let at = |offset: usize| target.start + offset as u32;
        if self.has_path {
            return vec![Span { start: target.start, end: at(self.authority.end) }];
        }
        let slash = self.authority.start - 1;
        vec![
            Span { start: target.start, end: at(slash) },
            Span { start: at(slash + 1), end: at(self.authority.end) },
        ]
    }

    /// The authority's bytes, where the target stands at `target`.
    pub(super) fn authority_in(&self, target: Span) -> Span {
        let at = |offset: usize| target.start + offset as u32;
        Span { start: at(self.authority.start), end: at(self.authority.end) }
    }

    /// Whether the target is an authority alone: `OPTIONS http://host` asks for the server itself, `*`
    /// (RFC 9112 §3.2.4).
    pub(super) fn is_authority_only(&self, target: &[u8]) -> bool {
        self.authority.end == target.len()
    }

    /// Whether `host`, the value of the Host field, names the same authority.
    pub(super) fn agrees_with(&self, target: &[u8], host: &[u8]) -> bool {
        let [ours, theirs] =
            [&target[self.authority.clone()], host].map(|it| without_port(it, self.default_port));
        ours.eq_ignore_ascii_case(theirs)
    }
}

/// `authority` without a port that says nothing: an empty one or the scheme's own.
fn without_port<'a>(authority: &'a [u8], default_port: &[u8]) -> &'a [u8] {
    match split_port(authority) {
        (host, Some(port)) if port.is_empty() || port == default_port => host,
        _ => authority,
    }
}

/// Host and port, where a colon separates them; colons in brackets belong to an address.
fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let colon = authority.iter().rposition(|&byte| byte == b':');
    match colon {
        Some(at) if !authority[at..].contains(&b']') => (&authority[..at], Some(&authority[at + 1..])),
        _ => (authority, None),
    }
}

/// Whether `value` is `uri-host [":" port]` (RFC 9110 §7.2, RFC 3986 §3.2.2). May be empty: a client
/// sends that where its target has no authority. A comma, which the grammar would allow in a name, is
/// refused: it joins two fields.
pub(super) fn is_authority(value: &[u8]) -> bool {
    if value.iter().all(|&byte| IN_NAME[usize::from(byte)]) {
        // A name alone: no colon, no bracket.
        return true;
    }
    let (host, port) = split_port(value);
    let port_is_sound = port.is_none_or(|port| port.len() <= 5 && port.iter().all(u8::is_ascii_digit));
    let host_is_sound = match host {
        [b'[', address @ .., b']'] => {
            address.contains(&b':') && address.iter().all(|&byte| IN_ADDRESS[usize::from(byte)])
        }
        name => name.iter().all(|&byte| IN_NAME[usize::from(byte)]),
    };
    port_is_sound && host_is_sound
}

/// Which bytes a name may have: one look for each, since every request has a `Host`.
static IN_NAME: [bool; 256] = alphanumeric_or(b"-._~%!$&'()*+;=");
/// Which bytes an address in brackets may have.
static IN_ADDRESS: [bool; 256] = alphanumeric_or(b":.-_~%");

const fn alphanumeric_or(others: &[u8]) -> [bool; 256] {
    let mut may = [false; 256];
    let mut byte = 0;
    while byte < may.len() {
        may[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < others.len() {
        may[others[index] as usize] = true;
        index += 1;
    }
    may
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absolute(target: &str) -> Absolute {
        match Form::of("GET", target.as_bytes()) {
            Ok(Form::Absolute(absolute)) => absolute,
            other => panic!("{target}: {other:?}"),
        }
    }

    fn origin(target: &str) -> String {
        let span = Span { start: 0, end: target.len() as u32 };
        let gaps = absolute(target).gaps(span);
        let kept = |index: usize| !gaps.iter().any(|gap| (gap.start..gap.end).contains(&(index as u32)));
        target.char_indices().filter(|(index, _)| kept(*index)).map(|(_, char)| char).collect()
    }

    #[test]
    fn an_absolute_target_loses_its_scheme_and_authority() {
        for (target, expected) in [
            ("http://a/x?y", "/x?y"),
            ("http://a/", "/"),
            ("http://a", "/"),
            ("HTTPS://a:8443?q", "/?q"),
            ("http://[::1]:80//x", "//x"),
        ] {
            assert_eq!(origin(target), expected, "{target}");
        }
    }

    #[test]
    fn the_same_authority_may_be_written_in_several_ways() {
        for (target, host, agrees) in [
            ("http://a/", "a", true),
            ("http://A/", "a", true),
            ("http://a:80/", "a", true),
            ("http://a/", "a:80", true),
            ("http://a:/", "a", true),
            ("https://a/", "a:443", true),
            ("http://[::1]/", "[::1]:80", true),
            ("http://a/", "b", false),
            ("http://a:81/", "a", false),
            ("http://a/", "a:443", false),
            ("http://a/", "", false),
        ] {
            let agree = absolute(target).agrees_with(target.as_bytes(), host.as_bytes());
            assert_eq!(agree, agrees, "{target} {host}");
        }
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for (method, target, fault) in [
            ("GET", "*", TargetFault::Form),
            ("GET", "a:80", TargetFault::Form),
            ("GET", "x", TargetFault::Form),
            ("GET", "?x", TargetFault::Form),
            ("GET", "ftp://a/", TargetFault::Form),
            ("GET", "http:/a/", TargetFault::Form),
            ("GET", "/a#b", TargetFault::Fragment),
            ("GET", "http://a/#", TargetFault::Fragment),
            ("GET", "http:///x", TargetFault::Authority),
            ("GET", "http://:80/x", TargetFault::Authority),
            ("GET", "http://user@a/", TargetFault::Authority),
            ("GET", "http://a:b/", TargetFault::Authority),
            ("GET", "http://a\\b/", TargetFault::Authority),
        ] {
            assert_eq!(Form::of(method, target.as_bytes()), Err(fault), "{method} {target}");
        }
        assert_eq!(Form::of("OPTIONS", b"*"), Ok(Form::Asterisk));
        let long = format!("http://{}/", "a".repeat(AUTHORITY_BYTES_MAX + 1));
        assert_eq!(Form::of("GET", long.as_bytes()), Err(TargetFault::Authority));
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_at_most_one_port() {
        for sound in ["", "a", "a.b-c_d:80", "1.2.3.4:9000", "[::1]", "[fe80::1%25eth0]:1", "a:", "%41"] {
            assert!(is_authority(sound.as_bytes()), "{sound}");
        }
        for unsound in [
            "a b", "a,b", "a/b", "a@b", "a?b", "a#b", "a\\b", "a:b", "a:1:2", "a:123456", "[::1", "::1",
            "[a]", "a\"", "<a>", "\u{e4}",
        ] {
            assert!(!is_authority(unsound.as_bytes()), "{unsound}");
        }
    }
}
