//! Why readers of the same bytes may disagree. Whatever is not listed here is a finding.
//!
//! There are three kinds. *Tolerated*: hyper reads what breaks a rule of the RFCs. *House*: the RFCs
//! allow it, warmfront refuses it. *Stricter*: warmfront passes it on, hyper refuses it, which can
//! lose a request but cannot confuse one. Each has a row in docs/fuzzing.md.

use warmfront::config::Limits;

use super::reference::{Content, Fault, Field, Form, Head, Line, form, list, upgrade, values};

/// What breaks the RFCs and hyper reads nevertheless, as server.
pub const TOLERATED_IN_REQUESTS: &[Fault] = &[
    Fault::BareLf,
    Fault::EmptyLine,
    Fault::HostMissing,
    Fault::HostRepeated,
    Fault::HostValue,
    Fault::TargetForm,
    Fault::TargetFragment,
    Fault::Connect,
    Fault::LengthBesideCoding,
    Fault::CodingUnknown,
    Fault::CodingSpelling,
    Fault::CodingRepeated,
    Fault::ChunkSizeSpace,
    Fault::ChunkExtension,
    Fault::Trailer,
];

/// The same, as client.
pub const TOLERATED_IN_RESPONSES: &[Fault] = &[
    Fault::BareLf,
    Fault::EmptyLine,
    Fault::LengthBesideCoding,
    Fault::CodingUnknown,
    Fault::CodingSpelling,
    Fault::CodingRepeated,
    Fault::ChunkSizeSpace,
    Fault::ChunkExtension,
    Fault::Trailer,
];

/// And in fields that say nothing because no content can follow: an answer to HEAD, 1xx, 204, 304.
pub const TOLERATED_WITHOUT_CONTENT: &[Fault] =
    &[Fault::LengthSyntax, Fault::LengthsDiffer, Fault::CodingInHttp10];

/// What the RFCs allow and warmfront refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum House {
    TargetNoText,
    AuthorityTooLong,
    HostSpelling,
    HostConflict,
    LimitOfTarget,
    LimitOfHead,
    LimitOfFields,
    LengthRepeated,
    LengthTooLong,
    SizeTooLong,
    ExtensionTooLong,
    TrailersTooLong,
    TrailerForHeads,
    Unclear101,
}

pub const HOUSE: &[House] = &[
    House::TargetNoText,
    House::AuthorityTooLong,
    House::HostSpelling,
    House::HostConflict,
    House::LimitOfTarget,
    House::LimitOfHead,
    House::LimitOfFields,
    House::LengthRepeated,
    House::LengthTooLong,
    House::SizeTooLong,
    House::ExtensionTooLong,
    House::TrailersTooLong,
    House::TrailerForHeads,
    House::Unclear101,
];

/// The rule of the house that a sound message breaks; the first one.
pub fn house(head: &Head, content: Option<&Content>) -> Option<House> {
    HOUSE.iter().copied().find(|rule| rule.is_broken(head, content))
}

impl House {
    fn is_broken(self, head: &Head, content: Option<&Content>) -> bool {
        let limits = Limits::default();
        let lengths = || values(&head.fields, "content-length");
        let in_content = |bound: fn(&Content) -> bool| content.is_some_and(bound);
        let (method, target) = match &head.line {
            Line::Request { method, target } => (method.as_slice(), target.as_slice()),
            Line::Response { .. } => (&b""[..], &b""[..]),
        };
        let host = values(&head.fields, "host").next();
        let absolute = match form(method, target) {
            Some(Form::Absolute { is_https, authority, .. }) => Some((is_https, authority)),
            _ => None,
        };
        match self {
            Self::TargetNoText => std::str::from_utf8(target).is_err(),
            Self::AuthorityTooLong => absolute.is_some_and(|(_, authority)| authority.len() > 260),
            Self::HostSpelling => {
                host.is_some_and(is_oddly_spelt)
                    || absolute.is_some_and(|(_, authority)| is_oddly_spelt(authority))
            }
            Self::HostConflict => match (absolute, host) {
                (Some((is_https, authority)), Some(host)) => {
                    normal(authority, is_https) != normal(host, is_https)
                }
                _ => false,
            },
            Self::LimitOfTarget => target.len() > limits.target_bytes,
            Self::LimitOfHead => head.len > limits.head_bytes,
            Self::LimitOfFields => head.fields.len() > limits.fields,
            Self::LengthRepeated => lengths().count() > 1 || lengths().any(|value| value.contains(&b',')),
            Self::LengthTooLong => lengths().any(|value| value.len() > 19),
            Self::SizeTooLong => in_content(|content| content.size_digits > 15),
            Self::ExtensionTooLong => in_content(|content| content.extension_bytes > 256),
            Self::TrailersTooLong => in_content(|content| content.trailer_bytes > 8 << 10),
            Self::TrailerForHeads => in_content(|content| {
                let for_heads = ["host", "content-length", "transfer-encoding"];
                let is_one =
                    |name: &[u8]| for_heads.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
                content.trailers.iter().any(|(name, _)| is_one(name))
            }),
            Self::Unclear101 => {
                let is_framed =
                    lengths().next().is_some() || values(&head.fields, "transfer-encoding").next().is_some();
                let is_clear = meant_upgrade(head).is_some() && !is_framed;
                head.line == Line::Response { status: 101 } && !is_clear
            }
        }
    }
}

/// What warmfront passes on and hyper refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stricter {
    TargetNoUri,
    TrailersTooMany,
    ConnectionNoText,
}

pub const STRICTER: &[Stricter] =
    &[Stricter::TargetNoUri, Stricter::TrailersTooMany, Stricter::ConnectionNoText];

/// Why hyper may stop at this message, or behind it.
pub fn stricter(head: &Head, trailers: &[Field]) -> Option<Stricter> {
    STRICTER.iter().copied().find(|reason| match reason {
        Stricter::TargetNoUri => {
            matches!(&head.line, Line::Request { target, .. } if hyper::Uri::try_from(target.as_slice()).is_err())
        }
        Stricter::TrailersTooMany => trailers.len() >= 512,
        Stricter::ConnectionNoText => list(&head.fields, "connection").iter().any(|option| !option.is_ascii()),
    })
}

/// A comma in a name joins two fields; ports have five digits; only IPv6 addresses stand in brackets.
fn is_oddly_spelt(authority: &[u8]) -> bool {
    let text = String::from_utf8_lossy(authority);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (text.as_ref(), ""),
    };
    let brackets = host.strip_prefix('[').and_then(|inside| inside.strip_suffix(']'));
    let is_address = |inside: &str| {
        let is_of_it = |c: char| c.is_ascii_alphanumeric() || ":.-_~%".contains(c);
        inside.contains(':') && inside.chars().all(is_of_it)
    };
    port.len() > 5 || host.contains(',') || brackets.is_some_and(|inside| !is_address(inside))
}

/// An authority without what makes no difference: case, and a port that the scheme implies.
fn normal(authority: &[u8], is_https: bool) -> String {
    let text = String::from_utf8_lossy(authority).to_ascii_lowercase();
    let implied = if is_https { ":443" } else { ":80" };
    let text = text.strip_suffix(implied).unwrap_or(&text);
    text.strip_suffix(':').unwrap_or(text).to_owned()
}

/// The protocols that a message may switch to, or offers: never `h2c`, nor what contains it.
pub fn meant_upgrade(head: &Head) -> Option<Vec<Vec<u8>>> {
    let is_h2c = |name: &Vec<u8>| name.windows(3).any(|three| three == b"h2c");
    upgrade(head).filter(|protocols| !protocols.iter().any(is_h2c))
}

/// Fields that `Connection` may not remove (`src/http1/fields.rs`): framing, routing, the platform's own.
pub fn is_protected(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let names: [&[u8]; 8] = [
        b"expect",
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"cookie",
        b"forwarded",
        b"connection",
    ];
    names.contains(&name.as_slice()) || name.starts_with(b"x-fc-") || name.starts_with(b"x-forwarded-")
}

/// The names of all reasons, for the table in docs/fuzzing.md.
pub fn names() -> Vec<String> {
    let tolerated =
        TOLERATED_IN_REQUESTS.iter().chain(TOLERATED_IN_RESPONSES).chain(TOLERATED_WITHOUT_CONTENT);
    let mut names: Vec<String> = tolerated.map(|reason| format!("{reason:?}")).collect();
    names.extend(HOUSE.iter().map(|reason| format!("{reason:?}")));
    names.extend(STRICTER.iter().map(|reason| format!("{reason:?}")));
    names.sort();
    names.dedup();
    names
}
