//! warmfront's reading of a message, put together as `engine` does it from the parts in `http1`.

use warmfront::config::Limits;
use warmfront::http1::body::Body;
use warmfront::http1::chunked::ChunkFault;
use warmfront::http1::framing::Framing;
use warmfront::http1::lines::kept_fields;
use warmfront::http1::request::{Refused, Request};
use warmfront::http1::response::{BadResponse, Response};
use warmfront::http1::rewrite::{HEADROOM, rewrite};
use warmfront::http1::{Parsed, Span};

use super::owned;
use super::reference::Field;

/// What becomes of the bytes at hand.
#[derive(Debug)]
pub enum Verdict<M, R> {
    Whole(M),
    /// More is needed; the head, if that much is here.
    Partial(Option<M>),
    Refused(R),
}

/// A message and the bytes it was read from.
#[derive(Debug)]
pub struct Message<H> {
    pub head: H,
    /// Bytes of the whole message.
    pub len: usize,
    pub data: Vec<u8>,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    Head(Refused),
    Chunks(ChunkFault),
}

pub fn request(bytes: &[u8]) -> Verdict<Message<Request>, BadRequest> {
    match Request::parse(bytes, &Limits::default()) {
        Err(refused) => Verdict::Refused(BadRequest::Head(refused)),
        Ok(Parsed::Partial) => Verdict::Partial(None),
        Ok(Parsed::Complete(head)) => {
            let (framing, head_len) = (head.framing, head.head_len);
            whole(head, framing, head_len, bytes)
                .unwrap_or_else(|fault| Verdict::Refused(BadRequest::Chunks(fault)))
        }
    }
}

/// The first final response, behind the interim ones; offsets count from where it begins.
pub struct Answer {
    /// Where the final response begins.
    pub begins: usize,
    pub verdict: Verdict<Message<Response>, BadResponse>,
}

pub fn response(bytes: &[u8], to_head: bool) -> Answer {
    let mut begins = 0;
    let verdict = loop {
        match Response::parse(&bytes[begins..], &Limits::default(), to_head) {
            Err(bad) => break Verdict::Refused(bad),
            Ok(Parsed::Partial) => break Verdict::Partial(None),
            Ok(Parsed::Complete(head)) if head.is_interim() => begins += head.head_len,
            Ok(Parsed::Complete(head)) => {
                let (framing, head_len) = (head.framing, head.head_len);
                break whole(head, framing, head_len, &bytes[begins..])
                    .unwrap_or_else(|fault| Verdict::Refused(BadResponse::Chunks(fault)));
            }
        }
    };
    Answer { begins, verdict }
}

fn whole<H, R>(
    head: H,
    framing: Framing,
    head_len: usize,
    bytes: &[u8],
) -> Result<Verdict<Message<H>, R>, ChunkFault> {
    let (body, data) = (&bytes[head_len..], &mut Vec::new());
    let (taken, complete) = measure(framing, body, body.len().max(1), data)?;
    let message = Message { head, len: head_len + taken, data: std::mem::take(data) };
    Ok(if complete { Verdict::Whole(message) } else { Verdict::Partial(Some(message)) })
}

/// Measures a body that arrives in pieces of `piece` bytes: bytes taken, and whether it is complete.
pub fn measure(
    framing: Framing,
    bytes: &[u8],
    piece: usize,
    data: &mut Vec<u8>,
) -> Result<(usize, bool), ChunkFault> {
    let (mut body, mut taken) = (Body::new(framing), 0);
    for part in bytes.chunks(piece) {
        let here = body.take_data(part, |range| data.extend_from_slice(&part[range]))?;
        assert!(here <= part.len(), "took more than there was");
        assert!(here == part.len() || body.is_complete(), "left bytes although the body goes on");
        taken += here;
    }
    Ok((taken, body.is_complete() || framing == Framing::UntilClose))
}

/// The fields of a head that was found sound.
pub fn lines(head: &[u8]) -> Vec<Field> {
    let mut head = head;
    while let Some(behind) = head.strip_prefix(b"\r\n") {
        head = behind;
    }
    kept_fields(head, &[]).map(owned).collect()
}

/// The head as it travels on, made in place like every head: behind free room, in front of a body.
pub fn rewritten(head: &[u8], dropped: &[Span], added: &[u8], pull: usize) -> Vec<u8> {
    const BODY: &[u8] = b"the body behind it";
    let mut buffer = vec![b'.'; HEADROOM];
    buffer.extend_from_slice(head);
    buffer.extend_from_slice(BODY);
    let end = HEADROOM + head.len() - pull;
    let start = rewrite(&mut buffer, HEADROOM, head.len(), dropped, added, end);
    assert!(buffer.ends_with(BODY), "the body moved");
    buffer[start..end].to_vec()
}

/// The head that a worker gets, as `engine::exchange` makes it. None: it ends here (`Max-Forwards`).
pub fn forwarded(bytes: &[u8], request: &Request, pull: usize) -> Option<Vec<u8>> {
    let mut head = bytes[..request.head_len].to_vec();
    if let Some(asterisk) = request.asterisk_at {
        head[asterisk as usize] = b'*';
    }
    if let Some(digits) = request.max_forwards {
        let number: u128 = String::from_utf8_lossy(digits.of_head(bytes)).parse().ok()?;
        let width = digits.of_head(bytes).len();
        let fewer = format!("{:0width$}", number.checked_sub(1)?);
        head[digits.start as usize..digits.end as usize].copy_from_slice(fewer.as_bytes());
    }
    if request.minor_version == 0 {
        head[request.target.end as usize + b" HTTP/1.".len()] = b'1';
    }
    let mut added = String::new();
    if request.request_id.is_none() {
        added += "x-fc-request-id: 1-fuzz\r\n";
    }
    if !request.has_host {
        let authority = request.authority.map_or(&b"localhost"[..], |span| span.of_head(bytes));
        added += &format!("Host: {}\r\n", String::from_utf8_lossy(authority));
    }
    if request.te_trailers {
        added += "TE: trailers\r\nConnection: TE\r\n";
    }
    if request.upgrade.is_some() {
        added += "Connection: Upgrade\r\n";
    }
    added += "x-warmfront-start: warm\r\n";
    Some(rewritten(&head, request.dropped(), added.as_bytes(), pull))
}
