//! Three readers of the same bytes: warmfront, hyper, and the reference.
//!
//! What warmfront accepts, both others read the same way: first line, fields in order, content,
//! trailers, and where the next message begins. What warmfront refuses and another one reads has a
//! reason in `reasons`.

use std::collections::BTreeMap;

use hyper::Uri;

use super::ends_of;
use super::ours::{self, BadRequest, Message, Verdict};
use super::peers::{self, Seen};
use super::reasons::{
    TOLERATED_IN_REQUESTS, TOLERATED_IN_RESPONSES, TOLERATED_WITHOUT_CONTENT, house, stricter,
};
use super::reference::{self, Content, Ends, Fault, Field, Head, Line};
use super::travelling::travelling;
use warmfront::http1::request::Request;
use warmfront::http1::response::Response;

/// Stands behind what was accepted: who sees it whole has found the same end.
const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n";

/// A message as the reference reads it.
struct Known {
    head: Head,
    content: Content,
}

/// A stream of requests.
pub fn differential(data: &[u8]) {
    let (mut at, mut accepted, mut sent, mut forwarded) = (0, Vec::new(), Vec::new(), Vec::new());
    let stopped = loop {
        at += 2 * data[at..].chunks_exact(2).take_while(|pair| *pair == b"\r\n").count();
        match ours::request(&data[at..]) {
            Verdict::Whole(message) => {
                let request = &data[at..at + message.len];
                if let Some(head) = ours::forwarded(request, &message.head, 0) {
                    sent.push(accepted.len());
                    forwarded.extend(head);
                    forwarded.extend_from_slice(&request[message.head.head_len..]);
                }
                accepted.push(agreed(&data[at..], &message));
                at += message.len;
                // Behind an offer to switch, what follows may be bytes of the other protocol.
                if !message.head.persistent || message.head.upgrade.is_some() {
                    break None;
                }
            }
            Verdict::Partial(_) => break Some(None),
            Verdict::Refused(bad) => break Some(Some(bad)),
        }
    };
    if !accepted.is_empty() {
        let is_open = stopped.is_some();
        let seen = peers::requests(&[&data[..at], PROBE].concat());
        same_requests(&seen, accepted.iter().map(Expected::received), is_open);
        forwarded.extend_from_slice(PROBE);
        let seen = peers::requests(&forwarded);
        same_requests(&seen, sent.into_iter().map(|index| Expected::forwarded(&accepted[index])), true);
    }
    if let Some(bad) = stopped {
        refused_for_a_reason(&data[at..], bad);
    }
}

/// What the reference makes of a request that warmfront accepts: the same.
fn agreed(bytes: &[u8], message: &Message<Request>) -> Known {
    let known = match reading(bytes) {
        Ok(Some(known)) => known,
        Ok(None) => panic!("accepted, but the reference wants more"),
        Err(fault) => panic!("accepted, but the reference says {fault:?}"),
    };
    let Line::Request { method, target } = &known.head.line else { panic!("a response") };
    assert_eq!(message.head.method.of_head(bytes), method);
    assert_eq!(message.head.target.of_head(bytes), target);
    assert_eq!(message.head.minor_version, known.head.minor);
    assert_eq!(ours::lines(&bytes[..message.head.head_len]), known.head.fields);
    assert_eq!(ends_of(message.head.framing), reference::ends(&known.head, false).expect("sound"));
    assert_eq!(message.data, known.content.data);
    assert_eq!(Some(message.len - message.head.head_len), known.content.len);
    assert_eq!(message.head.persistent, reference::persists(&known.head));
    known
}

fn reading(bytes: &[u8]) -> Result<Option<Known>, Fault> {
    let Some(head) = reference::request_head(bytes)? else { return Ok(None) };
    let content = reference::content(reference::ends(&head, false)?, &bytes[head.len..])?;
    Ok(content.len.is_some().then_some(Known { head, content }))
}

/// What hyper should see.
struct Expected<'a> {
    known: &'a Known,
    line: Line,
    minor: u8,
    fields: Vec<Field>,
    /// Whether `Connection` is still in it.
    has_options: bool,
}

impl<'a> Expected<'a> {
    fn received(known: &'a Known) -> Self {
        let (line, minor) = (known.head.line.clone(), known.head.minor);
        Self { known, line, minor, fields: grouped(&known.head.fields), has_options: true }
    }

    fn forwarded(known: &'a Known) -> Self {
        let (line, fields) = travelling(&known.head);
        Self { known, line, minor: 1, fields: grouped(&fields), has_options: false }
    }
}

/// hyper sees exactly these requests, and the probe behind them if the connection stays open.
fn same_requests<'a>(seen: &[Seen], expected: impl Iterator<Item = Expected<'a>>, is_open: bool) {
    let mut seen = seen.iter();
    for Expected { known, line, minor, fields, has_options } in expected {
        let excuse = stricter(&known.head, &known.content.trailers);
        let Some(found) = seen.next().filter(|found| found.complete) else {
            assert!(excuse.is_some(), "hyper refuses {:?}", known.head);
            assert!(seen.all(|later| !later.complete), "hyper goes on behind what it refused");
            return;
        };
        let Line::Request { method, target } = &line else { panic!("a response") };
        let (found_method, found_target) = found.request.as_ref().expect("a request");
        assert_eq!(found_method.as_bytes(), method);
        assert!(
            is_same_target(target, found_target),
            "{:?} became {found_target:?}",
            String::from_utf8_lossy(target)
        );
        assert_eq!(found.minor, minor);
        assert_eq!(found.fields, fields);
        assert_eq!(found.data, known.content.data);
        assert_eq!(found.trailers, grouped(&known.content.trailers));
        if excuse.is_some() && has_options && seen.len() == 0 {
            return;
        }
    }
    if is_open {
        let probe = seen.next().and_then(|found| found.request.as_ref());
        assert!(probe.is_some_and(|(_, target)| target == "/probe"), "hyper finds another end: {probe:?}");
    }
}

/// hyper keeps no fragment, writes schemes and authorities in its own way, and an empty path as `/`.
fn is_same_target(raw: &[u8], found: &Uri) -> bool {
    let raw = raw.split(|&byte| byte == b'#').next().unwrap_or_default();
    let found = found.to_string();
    let is_absolute = !raw.starts_with(b"/");
    raw == found.as_bytes()
        || is_absolute && {
            let normal = |text: &[u8]| {
                let text = String::from_utf8_lossy(text).to_ascii_lowercase();
                text.replacen("/?", "?", 1).trim_end_matches('/').to_owned()
            };
            normal(raw) == normal(found.as_bytes())
        }
}

/// As hyper's map lists them: by name in order of first appearance.
fn grouped(fields: &[Field]) -> Vec<Field> {
    let mut places: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut groups: Vec<Vec<Field>> = Vec::new();
    for (name, value) in fields {
        let name = name.to_ascii_lowercase();
        let place = *places.entry(name.clone()).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push((name, value.clone()));
    }
    groups.concat()
}

/// The first request of `bytes`, refused or not complete: whoever reads it has a known reason.
fn refused_for_a_reason(bytes: &[u8], bad: Option<BadRequest>) {
    if bytes.is_empty() {
        return;
    }
    let read = reading(bytes);
    let peer = peers::requests(bytes).into_iter().next().filter(|seen| seen.complete);
    judge_refusal(&read, peer.as_ref(), bad, |fault| TOLERATED_IN_REQUESTS.contains(&fault));
}

fn judge_refusal(
    read: &Result<Option<Known>, Fault>,
    peer: Option<&Seen>,
    bad: Option<impl std::fmt::Debug>,
    is_tolerated: impl Fn(Fault) -> bool,
) {
    let Some(bad) = bad else {
        assert!(peer.is_none(), "not complete, but hyper read {peer:?}");
        assert!(!matches!(read, Ok(Some(_))), "not complete, but the reference read it");
        return;
    };
    match read {
        Ok(Some(known)) => {
            let rule = house(&known.head, Some(&known.content));
            assert!(rule.is_some(), "{bad:?}, but sound: {:?}", known.head);
        }
        Ok(None) => assert!(peer.is_none(), "{bad:?}; the reference wants more, hyper read {peer:?}"),
        Err(fault) => {
            assert!(peer.is_none() || is_tolerated(*fault), "{bad:?} and {fault:?}, but hyper read {peer:?}");
        }
    }
}

/// One answer, interim ones in front of it.
pub fn differential_response(data: &[u8]) {
    let (to_head, bytes) = super::to_head(data);
    let answer = ours::response(bytes, to_head);
    let mut has_content = true;
    let read = final_response(bytes, to_head, &mut has_content);
    let peer = peers::response(bytes, to_head);
    let bad = match answer.verdict {
        Verdict::Whole(message) => return same_response(bytes, answer.begins, &message, read, peer),
        Verdict::Partial(_) => None,
        Verdict::Refused(bad) => Some(bad),
    };
    let peer = peer.map(|(seen, _)| seen).filter(|seen| seen.complete);
    judge_refusal(&read.map(|read| read.map(|(known, _)| known)), peer.as_ref(), bad, |fault| {
        TOLERATED_IN_RESPONSES.contains(&fault) || !has_content && TOLERATED_WITHOUT_CONTENT.contains(&fault)
    });
}

fn same_response(
    bytes: &[u8],
    at: usize,
    message: &Message<Response>,
    read: Result<Option<(Known, usize)>, Fault>,
    peer: Option<(Seen, usize)>,
) {
    let (known, begins) = match read {
        Ok(Some(read)) => read,
        other => panic!("accepted, but the reference says {:?}", other.map(|read| read.is_some())),
    };
    assert_eq!(begins, at);
    assert_eq!(Line::Response { status: message.head.status }, known.head.line);
    assert_eq!(message.head.minor_version, known.head.minor);
    assert_eq!(ours::lines(&bytes[begins..][..message.head.head_len]), known.head.fields);
    assert_eq!(message.data, known.content.data);
    assert_eq!(Some(message.len - message.head.head_len), known.content.len);
    let Some((seen, end)) = peer.filter(|(seen, _)| seen.complete) else {
        assert!(stricter(&known.head, &known.content.trailers).is_some(), "hyper refuses {:?}", known.head);
        return;
    };
    assert_eq!(seen.status, Some(message.head.status));
    assert_eq!(seen.minor, known.head.minor);
    assert_eq!(seen.fields, grouped(&known.head.fields));
    assert_eq!(seen.data, known.content.data);
    assert_eq!(seen.trailers, grouped(&known.content.trailers));
    assert_eq!(end, begins + message.len, "hyper finds another end");
}

/// The final response and where it begins. `has_content` tells whether the last head looked at can
/// have any.
fn final_response(
    bytes: &[u8],
    to_head: bool,
    has_content: &mut bool,
) -> Result<Option<(Known, usize)>, Fault> {
    let mut begins = 0;
    loop {
        let Some(head) = reference::response_head(&bytes[begins..])? else { return Ok(None) };
        *has_content = !to_head && !matches!(head.line, Line::Response { status: ..200 | 204 | 304 });
        let ends = reference::ends(&head, to_head)?;
        if matches!(head.line, Line::Response { status } if status < 200 && status != 101) {
            begins += head.len;
            continue;
        }
        let ends = if head.line == (Line::Response { status: 101 }) { Ends::Here } else { ends };
        let content = reference::content(ends, &bytes[begins + head.len..])?;
        return Ok(content.len.is_some().then_some((Known { head, content }, begins)));
    }
}
