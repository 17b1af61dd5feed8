//! What every head has in common: spans, line ends, and the fields that end here.
//!
//! Hop-by-hop fields (RFC 9110 §7.6.1) speak about one connection and must not
//! travel further; all others go out as the bytes they came in.

use httparse::Header;
use smallvec::SmallVec;

use super::framing::LengthFields;

/// Most fields a head may ever have, whatever `limits.fields` says: the parser's
/// table lives on the stack.
pub const FIELDS_MAX: usize = 512;

/// A range of bytes in the buffer that holds the head, from the head's first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Self { start: start as u32, end: (start + part.len()) as u32 }
    }

    /// The bytes in `head`.
    pub fn of_head(self, head: &[u8]) -> &[u8] {
        &head[self.start as usize..self.end as usize]
    }
}

/// Lines to leave out, as disjoint spans in ascending order. Usual heads have no more than have room here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dropped(pub(super) SmallVec<[Span; 4]>);

impl Dropped {
    fn push(&mut self, line: Span) {
        match self.0.last_mut() {
            // Neighbours become one gap: a worker's `Connection` and `Keep-Alive` usually stand together.
            Some(last) if last.end == line.start => last.end = line.end,
            _ => self.0.push(line),
        }
    }

    /// Adds a line that may stand anywhere among the others, or be one of them already.
    pub(super) fn insert(&mut self, line: Span) {
        let at = self.0.partition_point(|span| span.start <= line.start);
        if self.0.get(at.wrapping_sub(1)).is_none_or(|before| before.end <= line.start) {
            self.0.insert(at, line);
        }
    }

    /// Adds parts of the start line.
    pub(super) fn prepend(&mut self, parts: &[Span]) {
        self.0.insert_from_slice(0, parts);
    }
}

/// What the fields of one head said that concerns a proxy.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) length: LengthFields,
    pub(super) dropped: Dropped,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) te_trailers: bool,
    /// Expect lines, whatever they expect: nobody knows what a server makes of an unusual one.
    pub(super) expect: SmallVec<[Span; 1]>,
    pub(super) hosts: u32,
    pub(super) host: Option<Span>,
    pub(super) max_forwards: Option<Span>,
    /// Whether `Connection` says that the `Upgrade` field is meant for us.
    pub(super) upgrade: bool,
    pub(super) upgrades: Vec<Upgrade>,
    pub(super) request_id: Option<Span>,
    pub(super) control_path: Option<Span>,
    /// Whether `x-fc-service-name` names one.
    pub(super) names_service: bool,
    /// The whole lines of ids without a value: the platform sends fields even when they are empty.
    pub(super) empty_request_ids: SmallVec<[Span; 1]>,
    pub(super) content_length: Option<Span>,
    pub(super) transfer_encoding: Option<Span>,
}

/// The protocols of an `Upgrade` field (RFC 9110 §7.8), lower-case, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocols(Vec<Box<[u8]>>);

impl Protocols {
    /// Whether every protocol of `chosen` is one of these.
    pub fn cover(&self, chosen: &Self) -> bool {
        chosen.0.iter().all(|protocol| self.0.contains(protocol))
    }
}

/// One `Upgrade` field.
#[derive(Debug)]
pub(super) struct Upgrade {
    line: Span,
    value: Span,
}

/// A head whose lines do not end as RFC 9112 §2.2 wants: bare LF or stray bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLineEnd;

/// Reads the fields of `head` once, into an empty `found`. `start_line_end` is where the first field line begins.
pub(super) fn gather(
    head: &[u8],
    start_line_end: usize,
    headers: &[Header<'_>],
    found: &mut Gathered,
) -> Result<(), BadLineEnd> {
    let ends_well = |end: usize| end >= 2 && head.get(end - 2..end) == Some(b"\r\n");
    if !ends_well(head.len()) || !ends_well(start_line_end) {
        return Err(BadLineEnd);
    }
    let mut nominates = false;
    for (index, header) in headers.iter().enumerate() {
        let line = line_of(head, headers, index);
        if !ends_well(line.end as usize) {
            return Err(BadLineEnd);
        }
        if found.take(head, header, line) == Fate::Nominates {
            nominates = true;
        }
    }
    if nominates {
        found.drop_nominated(head, headers);
    }
    Ok(())
}

fn line_of(head: &[u8], headers: &[Header<'_>], index: usize) -> Span {
    let start = Span::of(headers[index].name.as_bytes(), head).start;
    let end = match headers.get(index + 1) {
        Some(next) => Span::of(next.name.as_bytes(), head).start,
        None => (head.len() - 2) as u32,
    };
    Span { start, end }
}

#[derive(PartialEq, Eq)]
enum Fate {
    Kept,
    Nominates,
}

/// Whether `name`, a token, is `lower`, whatever its case. A long one in words of eight bytes, the last of which
/// may overlap: setting the bit that tells the cases apart changes no other byte of a token into one of `lower`.
fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    const { assert!(N <= 24, "three words") }
    const CASES: u64 = u64::from_ne_bytes([0x20; 8]);
    if N < 8 {
        return name.eq_ignore_ascii_case(lower);
    }
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    let word =
        |bytes: &[u8; N], at: usize| bytes[at..].first_chunk().map_or(0, |word| u64::from_ne_bytes(*word));
    let differs = |at: usize| (word(name, at) | CASES) ^ word(lower, at);
    (differs(0) | differs(N - 8) | if N > 16 { differs(8) } else { 0 }) == 0
}

impl Gathered {
    fn take(&mut self, head: &[u8], header: &Header<'_>, line: Span) -> Fate {
        let name = header.name.as_bytes();
        // One look at the length rules out nearly every field before any comparison.
        match name.len() {
            2 if is(name, b"te") => {
                self.te_trailers |= tokens(header.value).any(|token| token.eq_ignore_ascii_case(b"trailers"));
                self.dropped.push(line);
            }
            4 if is(name, b"host") => {
                self.hosts += 1;
                self.host = Some(Span::of(header.value, head));
            }
            6 if is(name, b"expect") => {
                self.expect.push(line);
            }
            7 if is(name, b"upgrade") => {
                self.upgrades.push(Upgrade { line, value: Span::of(header.value, head) });
            }
            10 if is(name, b"connection") => {
                self.dropped.push(line);
                return self.take_connection(header.value);
            }
            10 if is(name, b"keep-alive") => self.dropped.push(line),
            12 if is(name, b"max-forwards") => {
                self.max_forwards.get_or_insert(Span::of(header.value, head));
            }
            14 if is(name, b"content-length") => {
                self.length.content_length(header.value);
                self.content_length = Some(line);
            }
            15 if is(name, b"x-fc-request-id") => {
                if header.value.is_empty() {
                    self.empty_request_ids.push(line);
                } else {
                    self.request_id.get_or_insert(Span::of(header.value, head));
                }
            }
            16 if is(name, b"proxy-connection") => self.dropped.push(line),
            17 if is(name, b"transfer-encoding") => {
                self.length.transfer_encoding(header.value);
                self.transfer_encoding = Some(line);
            }
            17 if is(name, b"x-fc-control-path") => {
                self.control_path.get_or_insert(Span::of(header.value, head));
            }
            17 if is(name, b"x-fc-service-name") => {
                self.names_service |= !header.value.is_empty();
            }
            _ => {}
        }
        Fate::Kept
    }

    fn take_connection(&mut self, value: &[u8]) -> Fate {
        let mut fate = Fate::Kept;
        for token in tokens(value) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if !is_protected(token) {
                fate = Fate::Nominates;
            }
        }
        fate
    }

    /// The protocols of the `Upgrade` fields, lower-case, if `Connection` says that they are meant and
    /// `wanted` allows it; otherwise the fields end here. Never `h2c`, nor what a careless server may take for
    /// it: whoever speaks it behind our back is beyond every check (HTTP/2 by its preface needs no upgrade,
    /// RFC 9113 §3.1).
    pub(super) fn take_upgrade(&mut self, head: &[u8], wanted: bool) -> Option<Protocols> {
        let upgrades = std::mem::take(&mut self.upgrades);
        if upgrades.is_empty() {
            return None;
        }
        let values = upgrades.iter().flat_map(|upgrade| tokens(upgrade.value.of_head(head)));
        let protocols: Vec<Box<[u8]>> = values.map(|value| value.to_ascii_lowercase().into()).collect();
        let is_meant = wanted && self.upgrade && !protocols.is_empty();
        let is_h2c = |protocol: &[u8]| protocol.windows(3).any(|three| three == b"h2c");
        if is_meant && !protocols.iter().any(|protocol| is_h2c(protocol)) {
            return Some(Protocols(protocols));
        }
        for upgrade in upgrades {
            self.dropped.insert(upgrade.line);
        }
        None
    }

    /// A second pass, only for heads whose `Connection` names other fields.
    fn drop_nominated(&mut self, head: &[u8], headers: &[Header<'_>]) {
        let nominated: Vec<&[u8]> = headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case("connection"))
            .flat_map(|header| tokens(header.value))
            .filter(|token| !is_protected(token) && !token.eq_ignore_ascii_case(b"upgrade"))
            .collect();
        let mut dropped = Dropped::default();
        for (index, header) in headers.iter().enumerate() {
            let line = line_of(head, headers, index);
            let name = header.name.as_bytes();
            let gone = self.dropped.0.iter().any(|span| span.start <= line.start && line.end <= span.end);
            if gone || nominated.iter().any(|token| token.eq_ignore_ascii_case(name)) {
                dropped.push(line);
            }
        }
        self.dropped = dropped;
    }
}

/// Fields that `Connection` may not remove: framing, routing and the platform's own.
/// Letting a client strip them is a known way to slip past checks behind a proxy.
fn is_protected(token: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] = [
        b"expect",
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"authorization",
        b"cookie",
        b"forwarded",
        b"connection",
    ];
    const PREFIXES: [&[u8]; 2] = [b"x-fc-", b"x-forwarded-"];
    NAMES.iter().any(|name| token.eq_ignore_ascii_case(name))
        || PREFIXES
            .iter()
            .any(|prefix| token.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)))
}

/// The items of a comma-separated list, without empty ones (RFC 9110 §5.6.1).
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::is;

    #[test]
    fn a_name_is_known_in_any_case_and_by_no_other_byte_of_a_token() {
        assert!(is(b"Content-LENGTH", b"content-length") && !is(b"content-lengt", b"content-length"));
        try_every_byte_in_every_place(b"host");
        try_every_byte_in_every_place(b"content-length");
        try_every_byte_in_every_place(b"transfer-encoding");
    }

    fn try_every_byte_in_every_place<const N: usize>(lower: &[u8; N]) {
        for at in 0..N {
            for byte in (0..128).filter(|byte: &u8| byte.is_ascii_graphic()) {
                let mut name = *lower;
                name[at] = byte;
                assert_eq!(is(&name, lower), name.eq_ignore_ascii_case(lower), "{byte}");
            }
        }
    }
}
