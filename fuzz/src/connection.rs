//! The whole connection machine: client bytes and worker bytes in any order, through gate, walk, relay
//! and pool (`engine::sim`), judged by the strict reader on both sides.
//!
//! Towards the worker: whatever it gets is a request that a client sent, whole and as it should travel,
//! once, or twice if it may be repeated. Towards the client: whatever looks like a whole answer is one
//! of our own, or the one that a worker gave, whole, to that very request; and nobody gets an answer who
//! asked nothing. Whatever happens, everybody comes to an end and nothing is left behind.

use warmfront::engine::sim::script::{Ended, Spoken, Transcript, play};

use super::chance::Chance;
use super::reasons::meant_upgrade;
use super::reference::{self, Content, Ends, Field, Head, Line, values};
use super::travelling::{end_to_end, travelling};

/// A request as one that travels, and what can be told of its end.
#[derive(Clone)]
struct Request {
    line: Line,
    fields: Vec<Field>,
    /// The content, if all of it is here.
    content: Option<(Vec<u8>, Vec<Field>)>,
    /// Whether it came as HTTP/1.0.
    is_old: bool,
    /// Whether it offers to switch protocols.
    upgrades: bool,
}

impl Request {
    fn is_head(&self) -> bool {
        matches!(&self.line, Line::Request { method, .. } if method == b"HEAD")
    }

    /// How often a worker may read it.
    fn times(&self) -> usize {
        let Line::Request { method, .. } = &self.line else { return 0 };
        let repeatable: [&[u8]; 4] = [b"GET", b"HEAD", b"OPTIONS", b"TRACE"];
        if repeatable.contains(&method.as_slice()) { 2 } else { 1 }
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.line, &self.fields) == (&other.line, &other.fields)
    }

    fn is_same_whole(&self, other: &Self) -> bool {
        self.is_same(other) && self.content == other.content
    }
}

/// A whole answer of a worker to a request.
struct Answer {
    to: Request,
    status: u16,
    fields: Vec<Field>,
    data: Vec<u8>,
}

/// Plays `data` as a script. A first byte with its lowest bit set asks for a network that cuts
/// transfers into pieces.
pub fn connection(data: &[u8]) {
    let seed = data.first().filter(|byte| *byte & 1 == 1).map(|_| Chance::of(data).0);
    let transcript = play(data.get(1..).unwrap_or_default(), seed);
    assert!(transcript.faults.is_empty(), "{:?}", transcript.faults);
    judge(&transcript);
}

fn judge(transcript: &Transcript) {
    let sent: Vec<Vec<Request>> =
        transcript.clients.iter().map(|client| requests(&client.sent, None).0).collect();
    let mut received = Vec::new();
    let mut answers = Vec::new();
    for worker in &transcript.workers {
        let (requests, fault) = requests(&worker.received, Some(&worker.sent));
        assert!(fault.is_none(), "a worker got {fault:?} in {:?}", text(&worker.received));
        answers.extend(answers_of(worker, &requests));
        received.extend(requests.into_iter().filter(|request| request.content.is_some()));
    }
    for request in &received {
        let asked = sent.iter().flatten().filter(|known| known.is_same_whole(request)).count();
        let got = received.iter().filter(|other| other.is_same_whole(request)).count();
        let Line::Request { method, target } = &request.line else { continue };
        assert!(
            got <= asked * request.times(),
            "{} {} was sent {asked} times and reached workers {got} times",
            text(method),
            text(target)
        );
    }
    for (client, requests) in transcript.clients.iter().zip(&sent) {
        judge_client(client, requests, &answers);
    }
}

/// The requests of a stream, of a client's or of one that a worker got and answered; the last one may
/// lack its end. And why it cannot be read on.
fn requests(mut bytes: &[u8], mut answered: Option<&[u8]>) -> (Vec<Request>, Option<reference::Fault>) {
    let mut found = Vec::new();
    loop {
        let head = match reference::request_head(bytes) {
            Ok(Some(head)) => head,
            Ok(None) => return (found, None),
            Err(fault) => return (found, Some(fault)),
        };
        let (line, fields) =
            if answered.is_none() { travelling(&head) } else { (head.line.clone(), head.fields.clone()) };
        let upgrades = meant_upgrade(&head).is_some();
        let mut request =
            Request { line, fields: own(fields), content: None, is_old: head.minor == 0, upgrades };
        let content =
            reference::ends(&head, false).and_then(|ends| reference::content(ends, &bytes[head.len..]));
        let len = match content {
            Ok(Content { len: Some(len), data, trailers, .. }) => {
                request.content = Some((data, trailers));
                len
            }
            Ok(_) => {
                found.push(request);
                return (found, None);
            }
            Err(fault) => {
                found.push(request);
                return (found, Some(fault));
            }
        };
        // What follows a switch is of another protocol, and a client that offers one may send that at once.
        let is_last = match &mut answered {
            Some(answered) => final_answer(answered, request.is_head())
                .is_some_and(|(head, _)| head.line == Line::Response { status: 101 }),
            None => request.upgrades,
        };
        found.push(request);
        if is_last {
            return (found, None);
        }
        bytes = &bytes[head.len + len..];
    }
}

/// Without what is different each time.
fn own(mut fields: Vec<Field>) -> Vec<Field> {
    fields.retain(|(name, _)| {
        !name.eq_ignore_ascii_case(b"x-fc-request-id") && !name.eq_ignore_ascii_case(b"x-warmfront-start")
    });
    fields.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}

/// What a worker answered on one connection, whole answers only, each with its request.
fn answers_of(worker: &Spoken, requests: &[Request]) -> Vec<Answer> {
    let (mut bytes, mut found) = (worker.sent.as_slice(), Vec::new());
    for request in requests {
        let Some((head, content)) = final_answer(&mut bytes, request.is_head()) else { return found };
        let Line::Response { status } = head.line else { return found };
        found.push(Answer { to: request.clone(), status, fields: kept(&head), data: content.data });
    }
    found
}

/// The next final answer, if it is whole.
fn final_answer(bytes: &mut &[u8], to_head: bool) -> Option<(Head, Content)> {
    loop {
        let head = reference::response_head(bytes).ok()??;
        let Line::Response { status } = head.line else { return None };
        if status < 200 && status != 101 {
            *bytes = &bytes[head.len..];
            continue;
        }
        let ends = if status == 101 { Ends::Here } else { reference::ends(&head, to_head).ok()? };
        let content = reference::content(ends, &bytes[head.len..]).ok()?;
        let len = content.len?;
        *bytes = &bytes[head.len + len..];
        return Some((head, content));
    }
}

/// The fields of an answer that arrive as they were sent.
fn kept(head: &Head) -> Vec<Field> {
    let may_switch = matches!(head.line, Line::Response { status: 101 | 426 });
    let mut fields = own(end_to_end(head, may_switch));
    fields.retain(|(name, _)| name != b"transfer-encoding");
    fields
}

fn judge_client(client: &Spoken, requests: &[Request], answers: &[Answer]) {
    let mut bytes = client.received.as_slice();
    // Behind the last request that can be read, one that is refused may follow.
    for index in 0..=requests.len() {
        let request = requests.get(index);
        let shown = || text(&client.received);
        let head = loop {
            match reference::response_head(bytes) {
                Ok(Some(head)) => match head.line {
                    Line::Response { status } if status < 200 && status != 101 => {
                        assert!(!request.is_some_and(|request| request.is_old), "HTTP/1.0 got {}", shown());
                        bytes = &bytes[head.len..];
                    }
                    _ => break head,
                },
                Ok(None) => return,
                Err(fault) => panic!("a client got {fault:?}: {}", shown()),
            }
        };
        let Line::Response { status } = head.line else { return };
        let reason = values(&head.fields, "x-warmfront-reason").next();
        // A request that was refused as such is none that has a method.
        let is_refused = reason.is_some_and(|reason| reason == b"request-head");
        let to_head = !is_refused && request.is_some_and(Request::is_head);
        let ends = match reference::ends(&head, to_head) {
            Ok(ends) => ends,
            Err(fault) => panic!("a client got {fault:?}: {}", shown()),
        };
        let content = match reference::content(ends, &bytes[head.len..]) {
            Ok(content) => content,
            Err(fault) => panic!("a client got {fault:?}: {}", shown()),
        };
        if reason.is_none() {
            let Some(request) = request else { panic!("an answer to nobody: {}", shown()) };
            let is_whole =
                content.len.is_some() && (ends != Ends::AtClose || client.ended == Some(Ended::Clean));
            if is_whole {
                let is_it = |answer: &Answer| {
                    answer.to.is_same(request)
                        && (answer.status, &answer.data) == (status, &content.data)
                        && answer.fields == kept(&head)
                };
                assert!(answers.iter().any(is_it), "no worker gave this answer whole: {}", shown());
            }
            if status == 101 {
                return;
            }
        }
        let Some(len) = content.len else { return };
        bytes = &bytes[head.len + len..];
        if bytes.is_empty() {
            return;
        }
    }
    assert!(bytes.is_empty(), "an answer to nobody: {}", text(&client.received));
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
