//! What a php-fpm says: however its bytes come, they mean the same, and a head made of them is one head.

use warmfront::config::Limits;
use warmfront::fastcgi::answer::{Body, head_len, translate};
use warmfront::fastcgi::record::{Event, Malformed, Records, Status, Stream};
use warmfront::http1::Parsed;
use warmfront::http1::framing::Framing;
use warmfront::http1::response::Response;

/// The records of an answer; the first byte says in pieces of how many bytes they come.
pub fn php_answer(data: &[u8]) {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let whole = said(bytes, bytes.len().max(1));
    let pieces = said(bytes, usize::from(piece).max(1));
    assert_eq!(pieces, whole, "in pieces of {piece}");
    let Ok((out, _, _)) = whole else { return };
    let Some(length) = head_len(&out) else { return };
    for (to_head, known) in [(false, None), (true, None), (false, Some(7))] {
        let Ok(head) = translate(&out[..length], to_head, known, true) else { continue };
        // Whoever reads it finds one head with this end of its body, or refuses it whole.
        match Response::parse(&head.bytes, &Limits::default(), to_head) {
            Ok(Parsed::Complete(parsed)) => {
                let framing = match head.body {
                    Body::None => Framing::None,
                    Body::Length(length) => Framing::Length(length),
                    Body::Chunks => Framing::Chunked,
                };
                assert_eq!((parsed.head_len, parsed.framing), (head.bytes.len(), framing));
            }
            Ok(Parsed::Partial) => panic!("half a head: {:?}", String::from_utf8_lossy(&head.bytes)),
            Err(_) => {}
        }
    }
}

/// Both streams, and how the request ended, if it did.
type Said = (Vec<u8>, Vec<u8>, Option<Status>);

fn said(bytes: &[u8], piece: usize) -> Result<Said, Malformed> {
    let (mut records, mut out, mut err, mut status) = (Records::default(), Vec::new(), Vec::new(), None);
    for mut piece in bytes.chunks(piece) {
        while !piece.is_empty() {
            if let Some((stream, left)) = records.content() {
                let count = left.min(piece.len());
                let to = if stream == Stream::Out { &mut out } else { &mut err };
                to.extend_from_slice(&piece[..count]);
                records.on_taken(count);
                piece = &piece[count..];
                continue;
            }
            let (count, event) = records.next(piece)?;
            assert!(count > 0 || event.is_some() || records.content().is_some(), "it stands still");
            piece = &piece[count..];
            if let Some(Event::End(how)) = event {
                status = Some(how);
            }
        }
    }
    Ok((out, err, status))
}
