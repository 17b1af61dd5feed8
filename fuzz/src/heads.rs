//! Heads alone: arriving in pieces, within limits, and edited on their way.

use warmfront::config::Limits;
use warmfront::http1::Parsed;
use warmfront::http1::framing::Framing;
use warmfront::http1::lines::kept_fields;
use warmfront::http1::request::{Refused, Request};
use warmfront::http1::response::{BadResponse, Response};

use super::ours::{forwarded, lines, rewritten};
use super::reasons::meant_upgrade;
use super::reference::{self, Ends, Form, Line};
use super::travelling::{end_to_end, travelling};
use super::{Chance, ends_of, owned};

/// Limits that inputs of a few hundred bytes reach.
fn tight() -> Limits {
    Limits { head_bytes: 200, target_bytes: 40, fields: 5, ..Limits::default() }
}

/// A request head reads the same in any pieces and under any limits that it keeps, and as the RFCs
/// have it.
pub fn request_head(data: &[u8]) {
    let roomy = Request::parse(data, &Limits::default());
    in_pieces(data, &roomy, |part| Request::parse(part, &Limits::default()), |head| head.head_len);
    let narrow = Request::parse(data, &tight());
    in_pieces(data, &narrow, |part| Request::parse(part, &tight()), |head| head.head_len);
    let Ok(Parsed::Complete(head)) = &roomy else {
        assert!(!matches!(narrow, Ok(Parsed::Complete(_))), "narrow limits accept more: {narrow:?}");
        return;
    };
    let found = sound(reference::request_head(data));
    let Line::Request { method, target } = &found.line else { panic!("a response") };
    assert_eq!(head.method.of_head(data), method);
    assert_eq!(head.target.of_head(data), target);
    assert_eq!((head.minor_version, head.head_len), (found.minor, found.len));
    assert_eq!(lines(&data[..head.head_len]), found.fields);
    assert_eq!(ends_of(head.framing), reference::ends(&found, false).expect("framing is sound"));
    assert_eq!(head.persistent, reference::persists(&found));
    assert_eq!(head.is_head, method == b"HEAD");
    let repeatable: [&[u8]; 4] = [b"GET", b"HEAD", b"OPTIONS", b"TRACE"];
    assert_eq!(head.repeatable, repeatable.contains(&method.as_slice()));
    assert_eq!(head.has_host, reference::values(&found.fields, "host").next().is_some());
    // Whatever is expected, the body may or may not follow.
    let expects = found.minor == 1 && reference::values(&found.fields, "expect").next().is_some();
    assert_eq!(head.expects_continue, expects);
    let trailers = |option: &Vec<u8>| option.eq_ignore_ascii_case(b"trailers");
    assert_eq!(head.te_trailers, reference::list(&found.fields, "te").iter().any(trailers));
    let named = match reference::form(method, target) {
        Some(Form::Absolute { authority, .. }) if !head.has_host => Some(authority),
        _ => None,
    };
    assert_eq!(head.authority.map(|span| span.of_head(data)), named);
    assert_eq!(head.upgrade.is_some(), meant_upgrade(&found).is_some());
    let id = reference::values(&found.fields, "x-fc-request-id").find(|value| !value.is_empty());
    assert_eq!(head.request_id.map(|span| span.of_head(data)), id);

    let keeps = [
        (target.len() <= tight().target_bytes, Refused::TargetTooLong),
        (found.len <= tight().head_bytes, Refused::HeadTooLong),
        (found.fields.len() <= tight().fields, Refused::TooManyFields),
    ];
    let broken: Vec<Refused> = keeps.iter().filter(|(kept, _)| !kept).map(|(_, limit)| *limit).collect();
    match narrow {
        Ok(_) => assert!(broken.is_empty(), "{broken:?} struck nobody"),
        Err(refused) => assert!(broken.contains(&refused), "{refused:?}, not one of {broken:?}"),
    }
}

/// The same for a response head.
pub fn response_head(data: &[u8]) {
    let (to_head, data) = super::to_head(data);
    let parse = |part: &[u8], limits: &Limits| Response::parse(part, limits, to_head);
    let roomy = parse(data, &Limits::default());
    in_pieces(data, &roomy, |part| parse(part, &Limits::default()), |head| head.head_len);
    let narrow = parse(data, &tight());
    in_pieces(data, &narrow, |part| parse(part, &tight()), |head| head.head_len);
    let Ok(Parsed::Complete(head)) = &roomy else {
        assert!(!matches!(narrow, Ok(Parsed::Complete(_))), "narrow limits accept more: {narrow:?}");
        return;
    };
    let found = sound(reference::response_head(data));
    assert_eq!(Line::Response { status: head.status }, found.line);
    assert_eq!((head.minor_version, head.head_len), (found.minor, found.len));
    assert_eq!(lines(&data[..head.head_len]), found.fields);
    let ends = reference::ends(&found, to_head).expect("framing is sound");
    assert_eq!(ends_of(head.framing), ends);
    assert_eq!(head.persistent, ends != Ends::AtClose && reference::persists(&found));
    assert_eq!(head.is_interim(), head.status < 200 && head.status != 101);
    let kept = found.len <= tight().head_bytes && found.fields.len() <= tight().fields;
    assert_eq!(narrow.is_ok(), kept);
    assert!(kept || narrow == Err(BadResponse::TooLong));
}

fn sound(read: reference::Read<reference::Head>) -> reference::Head {
    match read {
        Ok(Some(head)) => head,
        other => panic!("accepted, but the reference says {other:?}"),
    }
}

/// However a head is cut, the parts in front of its end are partial, and whatever follows changes
/// nothing; what is refused stays refused.
fn in_pieces<H: std::fmt::Debug + PartialEq, R: std::fmt::Debug + PartialEq>(
    data: &[u8],
    whole: &Result<Parsed<H>, R>,
    parse: impl Fn(&[u8]) -> Result<Parsed<H>, R>,
    len: impl Fn(&H) -> usize,
) {
    let mut chance = Chance::of(data);
    let mut cuts: Vec<usize> = (0..6).map(|_| chance.below(data.len() + 1)).collect();
    if let Ok(Parsed::Complete(head)) = whole {
        cuts.extend([len(head) - 1, len(head)]);
    }
    cuts.sort_unstable();
    let mut is_refused = false;
    for cut in cuts {
        let part = parse(&data[..cut]);
        assert!(!is_refused || part.is_err(), "refused, and then no more at {cut}: {part:?}");
        is_refused = part.is_err();
        match (&part, whole) {
            (_, Ok(Parsed::Partial)) => assert_eq!(part, Ok(Parsed::Partial), "at {cut}"),
            (Ok(Parsed::Partial), Ok(Parsed::Complete(head))) => assert!(cut < len(head), "partial at {cut}"),
            (Ok(Parsed::Complete(_)), Ok(Parsed::Complete(_))) => assert_eq!(&part, whole, "at {cut}"),
            (Err(_), Ok(Parsed::Complete(_))) => panic!("refused at {cut}: {part:?}, then accepted"),
            (Ok(Parsed::Complete(_)), Err(_)) => panic!("accepted at {cut}, then refused"),
            (Ok(Parsed::Partial) | Err(_), Err(_)) => {}
        }
    }
}

/// A head edited in place holds the fields that travel, in order, and the added ones, and frames the
/// same body.
pub fn rewrite(data: &[u8]) {
    let mut chance = Chance::of(data);
    let (to_head, rest) = super::to_head(data);
    if rest.starts_with(b"HTTP/") {
        rewrite_response(rest, to_head, &mut chance);
    } else {
        rewrite_request(data, &mut chance);
    }
}

fn rewrite_request(data: &[u8], chance: &mut Chance) {
    let Ok(Parsed::Complete(request)) = Request::parse(data, &Limits::default()) else { return };
    let pull = chance.below(24).saturating_sub(2);
    let Some(bytes) = forwarded(data, &request, pull) else { return };
    let found = sound(reference::request_head(&bytes));
    let (line, fields) = travelling(&sound(reference::request_head(data)));
    assert_eq!((&found.line, &found.fields, found.len), (&line, &fields, bytes.len()));
    if !data.starts_with(b"\r\n") {
        // HTTP/2 asks for the fields one by one.
        let kept: Vec<_> = kept_fields(data, request.dropped()).map(owned).collect();
        assert!(found.fields.starts_with(&kept[..]) || request.max_forwards.is_some(), "{kept:?}");
    }
    let Ok(Parsed::Complete(again)) = Request::parse(&bytes, &Limits { fields: 512, ..Limits::default() })
    else {
        panic!("the edited head is refused: {:?}", String::from_utf8_lossy(&bytes));
    };
    assert_eq!(again.framing, request.framing);
    assert_eq!(again.method.of_head(&bytes), request.method.of_head(data));
    assert_eq!(again.upgrade, request.upgrade);
    assert!(again.has_host);
}

fn rewrite_response(data: &[u8], to_head: bool, chance: &mut Chance) {
    let Ok(Parsed::Complete(mut response)) = Response::parse(data, &Limits::default(), to_head) else {
        return;
    };
    let unchunk = response.framing == Framing::Chunked && chance.below(2) == 0;
    if unchunk {
        response.drop_coding();
    }
    let added =
        ["", "Connection: close\r\n", "Transfer-Encoding: chunked\r\nConnection: close\r\n"][chance.below(3)];
    let head = &data[..response.head_len];
    // Room for a chunk size is taken from the end of the head.
    let pull = chance.below(20);
    let bytes = rewritten(head, response.dropped(), added.as_bytes(), pull);
    let may_switch = matches!(response.status, 101 | 426);
    let mut expected = end_to_end(&sound(reference::response_head(data)), may_switch);
    if unchunk {
        expected.retain(|(name, _)| !name.eq_ignore_ascii_case(b"transfer-encoding"));
    }
    expected.extend(lines(format!("HTTP\r\n{added}\r\n").as_bytes()));
    let found = sound(reference::response_head(&bytes));
    assert_eq!(found.fields, expected);
    assert_eq!(found.len, bytes.len());
    assert_eq!(found.line, Line::Response { status: response.status });
}
