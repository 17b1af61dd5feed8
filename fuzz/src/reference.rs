//! An HTTP/1.1 reader written from RFC 9110 and RFC 9112 and from nothing else: slow, strict, and
//! short enough to be checked against the text by eye. It shares no code with `src/http1/`.
//!
//! Where the RFCs let a recipient be lenient (bare LF, folded lines, white space where there should
//! be none), it is not; where they let it be strict or lenient about *meaning* (equal lengths
//! repeated, empty list elements), it is lenient. So whatever warmfront accepts, this accepts; and
//! what this accepts and warmfront refuses is a rule of the house, listed in `reasons`.

/// Name and value, as received, without the white space around the value.
pub type Field = (Vec<u8>, Vec<u8>);

/// The first line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// RFC 9112 §3.
    Request { method: Vec<u8>, target: Vec<u8> },
    /// RFC 9112 §4.
    Response { status: u16 },
}

/// A message up to its blank line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub line: Line,
    /// The `1` or `0` of `HTTP/1.x`.
    pub minor: u8,
    pub fields: Vec<Field>,
    /// Bytes up to and with the blank line.
    pub len: usize,
}

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Here,
    After(u64),
    Chunked,
    AtClose,
}

/// A body as far as it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    pub data: Vec<u8>,
    pub trailers: Vec<Field>,
    /// Bytes it takes on the wire; `None` while it is not complete.
    pub len: Option<usize>,
    /// Most digits of a chunk size, bytes of one extension and of all trailer lines: what the house bounds.
    pub size_digits: usize,
    pub extension_bytes: usize,
    pub trailer_bytes: usize,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    BareLf,
    StrayCr,
    EmptyLine,
    RequestLine,
    StatusLine,
    Method,
    Target,
    Version,
    FieldLine,
    FieldName,
    FieldValue,
    TargetForm,
    TargetFragment,
    HostMissing,
    HostRepeated,
    HostValue,
    Connect,
    LengthSyntax,
    LengthsDiffer,
    LengthBesideCoding,
    CodingUnknown,
    CodingSpelling,
    CodingRepeated,
    CodingInHttp10,
    ChunkSize,
    ChunkSizeSpace,
    ChunkExtension,
    ChunkLineEnd,
    Trailer,
}

/// A part of the input that is not here yet is `None`.
pub type Read<T> = Result<Option<T>, Fault>;

/// Reads a request head. Empty lines in front belong to it (RFC 9112 §2.2).
pub fn request_head(bytes: &[u8]) -> Read<Head> {
    let mut at = 0;
    let (text, after) = loop {
        match line(bytes, at)? {
            None => return Ok(None),
            Some((b"", after)) => at = after,
            Some(found) => break found,
        }
    };
    // request-line = method SP request-target SP HTTP-version
    let parts: Vec<&[u8]> = text.split(|&byte| byte == b' ').collect();
    let [method, target, version] = parts[..] else { return Err(Fault::RequestLine) };
    if method.is_empty() || !method.iter().all(|&byte| is_tchar(byte)) {
        return Err(Fault::Method);
    }
    if target.is_empty() || !target.iter().all(|&byte| is_vchar(byte) || is_obs_text(byte)) {
        return Err(Fault::Target);
    }
    let minor = minor_version(version)?;
    let Some((fields, len)) = fields(bytes, after)? else { return Ok(None) };
    if method == b"CONNECT" {
        return Err(Fault::Connect);
    }
    let hosts: Vec<&[u8]> = values(&fields, "host").collect();
    match hosts[..] {
        [] if minor == 1 => return Err(Fault::HostMissing),
        [host] if !is_authority(host) => return Err(Fault::HostValue),
        [] | [_] => {}
        _ => return Err(Fault::HostRepeated),
    }
    if target.contains(&b'#') {
        return Err(Fault::TargetFragment);
    }
    form(method, target).ok_or(Fault::TargetForm)?;
    let line = Line::Request { method: method.to_vec(), target: target.to_vec() };
    Ok(Some(Head { line, minor, fields, len }))
}

/// The form of a request target (RFC 9112 §3.2), as an origin server can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form<'a> {
    Origin(&'a [u8]),
    Asterisk,
    /// `http` or `https`; what follows the authority may be empty.
    Absolute {
        is_https: bool,
        authority: &'a [u8],
        rest: &'a [u8],
    },
}

/// None: it is of no form that is meant for an origin server.
pub fn form<'a>(method: &[u8], target: &'a [u8]) -> Option<Form<'a>> {
    if target.starts_with(b"/") {
        return Some(Form::Origin(target));
    }
    if target == b"*" {
        return (method == b"OPTIONS").then_some(Form::Asterisk);
    }
    let colon = target.iter().position(|&byte| byte == b':')?;
    let (scheme, behind) = (&target[..colon], target[colon + 1..].strip_prefix(b"//")?);
    let is_https = scheme.eq_ignore_ascii_case(b"https");
    if !is_https && !scheme.eq_ignore_ascii_case(b"http") {
        return None;
    }
    let end = behind.iter().position(|&byte| byte == b'/' || byte == b'?').unwrap_or(behind.len());
    let (authority, rest) = behind.split_at(end);
    // RFC 9110 §4.2.1: an empty host is invalid.
    let is_named = !authority.is_empty() && !authority.starts_with(b":");
    (is_named && is_authority(authority)).then_some(Form::Absolute { is_https, authority, rest })
}

/// uri-host [ ":" port ], without user information; may be empty (RFC 9110 §7.2). The inside of
/// brackets and what `%` encodes are not looked at.
fn is_authority(text: &[u8]) -> bool {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(byte);
    let behind = if let Some(address) = text.strip_prefix(b"[") {
        let Some(end) = address.iter().position(|&byte| byte == b']') else { return false };
        if !address[..end].iter().all(|byte| is_name(byte) || *byte == b':') {
            return false;
        }
        &address[end + 1..]
    } else {
        &text[text.iter().take_while(|byte| is_name(byte)).count()..]
    };
    match behind {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// What an origin server is asked for instead: the origin-form, or `*` (RFC 9112 §3.2.4).
pub fn origin_form(method: &[u8], target: &[u8]) -> Vec<u8> {
    match form(method, target) {
        Some(Form::Absolute { rest: b"", .. }) if method == b"OPTIONS" => b"*".to_vec(),
        Some(Form::Absolute { rest, .. }) if !rest.starts_with(b"/") => [b"/", rest].concat(),
        Some(Form::Absolute { rest, .. }) => rest.to_vec(),
        _ => target.to_vec(),
    }
}

/// Reads a response head. Nothing stands in front of it.
pub fn response_head(bytes: &[u8]) -> Read<Head> {
    let Some((text, after)) = line(bytes, 0)? else { return Ok(None) };
    if text.is_empty() {
        return Err(Fault::EmptyLine);
    }
    // status-line = HTTP-version SP status-code SP [ reason-phrase ]. The second space is taken for
    // optional: some servers leave it out together with the reason.
    let (version, rest) = text.split_at_checked(8).ok_or(Fault::StatusLine)?;
    let minor = minor_version(version)?;
    let (code, reason) = rest.split_at_checked(4).ok_or(Fault::StatusLine)?;
    let digits = code.strip_prefix(b" ").ok_or(Fault::StatusLine)?;
    let reason_is_sound = match reason {
        [] => true,
        [b' ', reason @ ..] => reason.iter().all(|&byte| is_text(byte)),
        _ => false,
    };
    if !reason_is_sound || !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
        return Err(Fault::StatusLine);
    }
    let status = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let Some((fields, len)) = fields(bytes, after)? else { return Ok(None) };
    Ok(Some(Head { line: Line::Response { status }, minor, fields, len }))
}

/// Where the body behind `head` ends (RFC 9112 §6.3). `to_head`: it answers a HEAD request.
pub fn ends(head: &Head, to_head: bool) -> Result<Ends, Fault> {
    let codings = list(&head.fields, "transfer-encoding");
    let is_coded = values(&head.fields, "transfer-encoding").next().is_some();
    if is_coded && values(&head.fields, "content-length").next().is_some() {
        return Err(if head.minor == 0 { Fault::CodingInHttp10 } else { Fault::LengthBesideCoding });
    }
    let mut length = None;
    for value in values(&head.fields, "content-length") {
        // Rule 5: a list of equal numbers is one number.
        for item in value.split(|&byte| byte == b',') {
            let here = decimal(trim(item)).ok_or(Fault::LengthSyntax)?;
            if length.is_some_and(|known| known != here) {
                return Err(Fault::LengthsDiffer);
            }
            length = Some(here);
        }
    }
    if is_coded {
        if head.minor == 0 {
            return Err(Fault::CodingInHttp10);
        }
        // Empty elements may be ignored or not (RFC 9110 §5.6.1); here too much hangs on it.
        let elements = |value: &[u8]| value.split(|&byte| byte == b',').any(|item| trim(item).is_empty());
        if values(&head.fields, "transfer-encoding").any(elements) {
            return Err(Fault::CodingSpelling);
        }
        let chunked = codings.iter().filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count();
        if chunked != codings.len() || chunked == 0 {
            return Err(Fault::CodingUnknown);
        }
        if chunked > 1 {
            return Err(Fault::CodingRepeated);
        }
    }
    Ok(match head.line {
        Line::Response { status } if to_head || status < 200 || status == 204 || status == 304 => Ends::Here,
        _ if is_coded => Ends::Chunked,
        _ if length == Some(0) => Ends::Here,
        Line::Request { .. } => length.map_or(Ends::Here, Ends::After),
        Line::Response { .. } => length.map_or(Ends::AtClose, Ends::After),
    })
}

/// Reads a body from its first byte on; what follows the last byte of `bytes` is the close.
pub fn content(ends: Ends, bytes: &[u8]) -> Result<Content, Fault> {
    let mut content = Content::default();
    match ends {
        Ends::Here => content.len = Some(0),
        Ends::AtClose => {
            content.data = bytes.to_vec();
            content.len = Some(bytes.len());
        }
        Ends::After(length) => {
            let here = usize::try_from(length).unwrap_or(usize::MAX);
            content.len = (here <= bytes.len()).then_some(here);
            content.data = bytes[..here.min(bytes.len())].to_vec();
        }
        Ends::Chunked => chunks(bytes, &mut content)?,
    }
    Ok(content)
}

/// chunked-body = *chunk last-chunk trailer-section CRLF (RFC 9112 §7.1).
fn chunks(bytes: &[u8], content: &mut Content) -> Result<(), Fault> {
    let mut at = 0;
    loop {
        let Some((text, after)) = line(bytes, at)? else {
            return Ok(());
        };
        at = after;
        let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = text.split_at(digits);
        if digits == 0 || extension.first().is_some_and(|&byte| byte != b';' && !is_space(byte)) {
            return Err(Fault::ChunkSize);
        }
        if !extension.is_empty() && trim(extension).is_empty() {
            return Err(Fault::ChunkSizeSpace);
        }
        if !is_extension(extension) {
            return Err(Fault::ChunkExtension);
        }
        content.size_digits = content.size_digits.max(digits);
        content.extension_bytes = content.extension_bytes.max(extension.len());
        let size = size
            .iter()
            .try_fold(0_u64, |sum, &digit| {
                sum.checked_mul(16)?.checked_add(u64::from(char::from(digit).to_digit(16)?))
            })
            .ok_or(Fault::ChunkSize)?;
        if size == 0 {
            break;
        }
        let left = &bytes[at..];
        let here = usize::try_from(size).unwrap_or(usize::MAX).min(left.len());
        content.data.extend_from_slice(&left[..here]);
        if (here as u64) < size {
            return Ok(());
        }
        at += here;
        match &bytes[at..] {
            [b'\r', b'\n', ..] => at += 2,
            [] | [b'\r'] => return Ok(()),
            _ => return Err(Fault::ChunkLineEnd),
        }
    }
    let Some((trailers, end)) = fields(bytes, at).map_err(|_| Fault::Trailer)? else { return Ok(()) };
    content.trailer_bytes = end - at - 2;
    content.trailers = trailers;
    content.len = Some(end);
    Ok(())
}

/// chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] ) (RFC 9112 §7.1.1)
fn is_extension(mut text: &[u8]) -> bool {
    while !text.is_empty() {
        let Some(name) = trim_start(text).strip_prefix(b";") else { return false };
        let Some(rest) = behind_token(trim_start(name)) else { return false };
        text = rest;
        if let Some(value) = trim_start(rest).strip_prefix(b"=") {
            let value = trim_start(value);
            let Some(rest) = behind_token(value).or_else(|| behind_quotes(value)) else { return false };
            text = rest;
        }
    }
    true
}

fn behind_token(text: &[u8]) -> Option<&[u8]> {
    let len = text.iter().take_while(|&&byte| is_tchar(byte)).count();
    (len > 0).then(|| &text[len..])
}

/// quoted-string (RFC 9110 §5.6.4).
fn behind_quotes(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', byte, rest @ ..] if is_text(*byte) => rest,
            [b'\\', ..] => return None,
            [byte, rest @ ..] if is_text(*byte) => rest,
            _ => return None,
        };
    }
}

/// Whether the connection may carry another message (RFC 9112 §9.3).
pub fn persists(head: &Head) -> bool {
    let options = list(&head.fields, "connection");
    let says = |word: &[u8]| options.iter().any(|option| option.eq_ignore_ascii_case(word));
    !says(b"close") && (head.minor == 1 || says(b"keep-alive"))
}

/// The protocols of `Upgrade`, lower-case, if it is meant for this hop (RFC 9110 §7.8): `Connection`
/// names it, and the message is of HTTP/1.1.
pub fn upgrade(head: &Head) -> Option<Vec<Vec<u8>>> {
    let is_named =
        list(&head.fields, "connection").iter().any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let protocols: Vec<_> =
        list(&head.fields, "upgrade").iter().map(|name| name.to_ascii_lowercase()).collect();
    (is_named && head.minor == 1 && !protocols.is_empty()).then_some(protocols)
}

/// The fields that a proxy passes on: all but those of the connection (RFC 9110 §7.6.1), and but
/// those that `Connection` names, if `may_be_named` allows it.
pub fn end_to_end(fields: &[Field], may_be_named: impl Fn(&[u8]) -> bool) -> Vec<Field> {
    const OF_THE_CONNECTION: [&str; 4] = ["connection", "keep-alive", "proxy-connection", "te"];
    let named = list(fields, "connection");
    let stays = |name: &[u8]| {
        let is_listed = OF_THE_CONNECTION.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        let is_named = may_be_named(name) && named.iter().any(|option| option.eq_ignore_ascii_case(name));
        !is_listed && !is_named
    };
    fields.iter().filter(|(name, _)| stays(name)).cloned().collect()
}

/// The values of all fields called `name`.
pub fn values<'a>(fields: &'a [Field], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| value.as_slice())
}

/// The elements of a list field over all its lines, without empty ones (RFC 9110 §5.6.1).
pub fn list(fields: &[Field], name: &str) -> Vec<Vec<u8>> {
    values(fields, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(|element| trim(element).to_vec())
        .filter(|element| !element.is_empty())
        .collect()
}

/// Field lines up to and with the blank line; and where the next byte stands.
fn fields(bytes: &[u8], mut at: usize) -> Read<(Vec<Field>, usize)> {
    let mut found = Vec::new();
    loop {
        let Some((text, after)) = line(bytes, at)? else { return Ok(None) };
        at = after;
        if text.is_empty() {
            return Ok(Some((found, at)));
        }
        // field-line = field-name ":" OWS field-value OWS
        let colon = text.iter().position(|&byte| byte == b':').ok_or(Fault::FieldLine)?;
        let (name, value) = (&text[..colon], trim(&text[colon + 1..]));
        if name.is_empty() || !name.iter().all(|&byte| is_tchar(byte)) {
            return Err(Fault::FieldName);
        }
        if !value.iter().all(|&byte| is_text(byte)) {
            return Err(Fault::FieldValue);
        }
        found.push((name.to_vec(), value.to_vec()));
    }
}

/// The line at `at` without its CRLF, and where the next one begins.
fn line(bytes: &[u8], at: usize) -> Read<(&[u8], usize)> {
    let rest = &bytes[at..];
    let Some(end) = rest.iter().position(|&byte| byte == b'\r' || byte == b'\n') else { return Ok(None) };
    match rest[end..] {
        [b'\n', ..] if end == 0 => Err(Fault::EmptyLine),
        [b'\n', ..] => Err(Fault::BareLf),
        [b'\r', b'\n', ..] => Ok(Some((&rest[..end], at + end + 2))),
        [b'\r'] => Ok(None),
        _ => Err(Fault::StrayCr),
    }
}

fn minor_version(text: &[u8]) -> Result<u8, Fault> {
    match text {
        b"HTTP/1.1" => Ok(1),
        b"HTTP/1.0" => Ok(0),
        _ => Err(Fault::Version),
    }
}

/// 1*DIGIT.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// Without OWS at both ends: spaces and tabs, nothing else.
fn trim(text: &[u8]) -> &[u8] {
    let text = trim_start(text);
    let end = text.iter().rposition(|&byte| !is_space(byte)).map_or(0, |last| last + 1);
    &text[..end]
}

fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_space(byte)).unwrap_or(text.len());
    &text[start..]
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn is_vchar(byte: u8) -> bool {
    (0x21..=0x7e).contains(&byte)
}

fn is_obs_text(byte: u8) -> bool {
    byte >= 0x80
}

/// What field values, reason phrases and extensions are made of (RFC 9110 §5.5).
fn is_text(byte: u8) -> bool {
    is_vchar(byte) || is_obs_text(byte) || is_space(byte)
}

/// RFC 9110 §5.6.2.
fn is_tchar(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z'
    )
}
