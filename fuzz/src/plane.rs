//! What a data plane of Noslate says: however its bytes come, they mean the same, and a head made of them is one head.

use bytes::Bytes;
use warmfront::config::Limits;
use warmfront::http1::Parsed;
use warmfront::http1::response::Response;
use warmfront::noslate::head::answer_head;
use warmfront::noslate::reply::{Messages, Said};
use warmfront::noslate::wire::Malformed;

/// The messages of a call; the first byte says in pieces of how many bytes they come.
pub fn plane_answer(data: &[u8]) {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let whole = said(bytes, bytes.len().max(1));
    let pieces = said(bytes, usize::from(piece).max(1));
    assert_eq!(pieces, whole, "in pieces of {piece}");
    let Ok((all, _)) = whole else { return };
    let Some(Said::Head(status, fields)) = all.first() else { return };
    for to_head in [false, true] {
        let Ok(head) = answer_head(*status, fields, to_head, |_| "OK") else { continue };
        // Whoever reads it finds one head, which says this status, or refuses it whole.
        match Response::parse(&head.bytes, &Limits::default(), to_head) {
            Ok(Parsed::Complete(parsed)) => {
                assert_eq!((parsed.head_len, i32::from(parsed.status)), (head.bytes.len(), *status));
            }
            Ok(Parsed::Partial) => panic!("half a head: {:?}", String::from_utf8_lossy(&head.bytes)),
            Err(_) => {}
        }
    }
}

/// Everything that is said, pieces of bodies joined, and whether the call may end there.
fn said(bytes: &[u8], piece: usize) -> Result<(Vec<Said>, bool), Malformed> {
    let (mut messages, mut all) = (Messages::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        messages.push(Bytes::copy_from_slice(piece));
        while let Some(next) = messages.said()? {
            match (all.last_mut(), next) {
                (Some(Said::Body(before)), Said::Body(more)) => {
                    *before = [&before[..], &more[..]].concat().into()
                }
                (_, next) => all.push(next),
            }
        }
    }
    Ok((all, messages.is_between()))
}
