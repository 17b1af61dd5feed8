//! Bodies: where they end, whatever pieces they arrive in.

use warmfront::config::Limits;
use warmfront::http1::Parsed;
use warmfront::http1::chunked::{Part, Scanner};
use warmfront::http1::framing::Framing;
use warmfront::http1::lines::trailer_fields;
use warmfront::http1::response::Response;

use super::ours::{self, Verdict, measure};
use super::reference::{self, Ends};
use super::{Chance, ends_of, owned};

/// A chunked body ends at the same byte and holds the same data in any pieces, and as the RFC has it.
pub fn chunked(data: &[u8]) {
    let mut whole = Vec::new();
    let mut scanner = Scanner::new();
    let at_once = scanner.scan(data, |range| whole.extend_from_slice(&data[range]));
    let mut chance = Chance::of(data);
    for piece in [1, 1 + chance.below(16), 1 + chance.below(200)] {
        let mut pieces = Vec::new();
        match (at_once, measure(Framing::Chunked, data, piece, &mut pieces)) {
            (Ok(taken), Ok(found)) => assert_eq!(found, (taken, scanner.is_done()), "pieces of {piece}"),
            (Err(fault), Err(found)) => assert_eq!(fault, found, "pieces of {piece}"),
            (at_once, found) => panic!("{at_once:?} at once, {found:?} in pieces of {piece}"),
        }
        assert_eq!(pieces, whole, "pieces of {piece}");
    }
    let Ok(taken) = at_once else { return };
    let (mut trailers, mut bites) = (Vec::new(), Vec::new());
    in_bites(&data[..taken], 1 + chance.below(20), &mut bites, &mut trailers);
    assert_eq!(bites, whole, "in bites");
    match reference::content(Ends::Chunked, data) {
        Ok(found) => {
            assert_eq!(found.data, whole);
            assert_eq!(found.len, scanner.is_done().then_some(taken));
            if scanner.is_done() {
                let trailers: Vec<_> = trailer_fields(&trailers).map(owned).collect();
                assert_eq!(trailers, found.trailers);
            }
        }
        // The reference looks at whole lines and whole trailers, the scanner at bytes.
        Err(fault) => panic!("accepted, but the reference says {fault:?}"),
    }
}

/// Reads a sound body with room for `most` bytes of data at a time.
fn in_bites(mut body: &[u8], most: usize, data: &mut Vec<u8>, trailers: &mut Vec<u8>) {
    let mut scanner = Scanner::new();
    while !body.is_empty() {
        let mut bite = 0;
        let taken = scanner.scan_at_most(body, most, |part, range| match part {
            Part::Data => {
                bite += range.len();
                data.extend_from_slice(&body[range]);
            }
            Part::Trailer => trailers.extend_from_slice(&body[range]),
        });
        let taken = taken.expect("sound at once");
        assert!(bite <= most, "{bite} bytes where {most} had room");
        assert!(taken == body.len() || bite == most, "stopped although there was room");
        body = &body[taken..];
    }
}

/// A whole answer that arrives in pieces is the one that arrives at once: heads, data, what remains.
pub fn response(data: &[u8]) {
    let (to_head, bytes) = super::to_head(data);
    let answer = ours::response(bytes, to_head);
    let at = answer.begins;
    // In pieces, as the engine reads: the buffer grows until the head is there, then the body passes.
    let mut chance = Chance::of(data);
    let mut filled = at;
    let head = loop {
        match Response::parse(&bytes[at..filled], &Limits::default(), to_head) {
            Ok(Parsed::Partial) if filled < bytes.len() => {
                filled = (filled + 1 + chance.below(40)).min(bytes.len());
            }
            read => break read,
        }
    };
    let (message, complete) = match (head, answer.verdict) {
        (Ok(Parsed::Complete(head)), Verdict::Whole(message)) => {
            assert_eq!(head, message.head);
            (message, true)
        }
        (Ok(Parsed::Complete(head)), Verdict::Partial(Some(message))) => {
            assert_eq!(head, message.head);
            (message, false)
        }
        (Ok(Parsed::Complete(head)), Verdict::Refused(bad)) => {
            let fault =
                measure(head.framing, &bytes[at + head.head_len..], 1 + chance.below(30), &mut Vec::new());
            assert_eq!(fault.map_err(Into::into), Err(bad));
            return;
        }
        (Ok(Parsed::Partial), Verdict::Partial(None)) | (Err(_), Verdict::Refused(_)) => return,
        (head, verdict) => panic!("{verdict:?} at once, {head:?} in pieces"),
    };
    let body = &bytes[at + message.head.head_len..];
    let mut data = Vec::new();
    let (taken, done) = measure(message.head.framing, body, 1 + chance.below(30), &mut data).expect("sound");
    assert_eq!((message.head.head_len + taken, done), (message.len, complete));
    assert_eq!(data, message.data);
    let found = reference::content(ends_of(message.head.framing), body).expect("sound for the reference");
    assert_eq!(found.len, complete.then_some(taken));
    assert_eq!(found.data, data);
}
