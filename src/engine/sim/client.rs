//! Clients that keep their connection, pipeline, dawdle, give up or half-close, and
//! that believe nothing: every answer must prove that it belongs to its request.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout};

use super::ledger::{Ledger, Outcome};
use super::wire::{Broken, Checker, Head, Size, Wire, content};
use super::worker::UPWARDS;

/// What clients of a world may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Requests on one connection, at most.
    pub(super) requests: usize,
    /// Longest request body.
    pub(super) body_max: usize,
    /// Of a hundred connections, how many are abandoned in the middle.
    pub(super) leavers: u8,
}

/// One client connection from its first request to its end.
pub(super) struct Client {
    pub(super) wire: Wire,
    pub(super) ledger: Rc<Ledger>,
    pub(super) habits: Habits,
    pub(super) rng: fastrand::Rng,
    pub(super) next_id: Rc<Cell<u64>>,
    /// Whether the sidecar may close between requests (a drain).
    pub(super) draining: Rc<Cell<bool>>,
    /// Whether it has finished speaking.
    pub(super) half_closed: bool,
    /// Requests begun and not ended.
    pub(super) open: Vec<u64>,
}

/// A request as sent.
#[derive(Clone, Copy)]
struct Sent {
    id: u64,
    is_head: bool,
    since: Instant,
    is_10: bool,
    expects: bool,
    last: bool,
    /// Whether all of it was taken.
    whole: bool,
}

/// Whether another answer can come on this connection.
#[derive(PartialEq, Eq)]
enum Then {
    Goes,
    Over,
}

impl Client {
    /// Speaks its part, or leaves in the middle of it.
    pub(super) async fn run(mut self) {
        let leaves = self.rng.u8(..100) < self.habits.leavers;
        let patience = Duration::from_millis(self.rng.u64(0..400));
        if !leaves {
            self.talk().await;
        } else if timeout(patience, self.talk()).await.is_err() {
            // The connection ends with us; a worker may see the request all the same.
            std::mem::take(&mut self.open)
                .into_iter()
                .for_each(|id| self.ledger.on_outcome(id, Outcome::Left));
        }
    }

    async fn talk(&mut self) {
        let count = self.rng.usize(1..=self.habits.requests);
        let pipelines = self.rng.u8(..4) == 0;
        if self.rng.u8(..4) == 0 {
            self.wire.bite = self.rng.usize(1..5000);
        }
        let mut left = count;
        while left > 0 {
            let batch = if pipelines { self.rng.usize(1..=left) } else { 1 };
            let mut sent = Vec::new();
            for index in 0..batch {
                let last = left == batch && index + 1 == batch;
                let mut request = self.request(last, batch == 1);
                let (head, body) = self.spell(&request);
                request.whole = self.send(&request, &head, &body).await;
                sent.push(request);
                if !request.whole {
                    break;
                }
            }
            left -= batch;
            if left == 0 && self.rng.u8(..5) == 0 {
                // Done speaking, not done listening.
                let _ = self.wire.end.shutdown().await;
                self.half_closed = true;
            }
            for request in sent {
                if self.rng.u8(..6) == 0 {
                    sleep(Duration::from_millis(self.rng.u64(0..200))).await;
                }
                // A request that was not taken whole may have been answered early, or never will be.
                let reading = self.read(&request);
                let (outcome, then) = if request.whole {
                    reading.await
                } else {
                    let patience = Duration::from_secs(5);
                    timeout(patience, reading).await.unwrap_or((Outcome::Left, Then::Over))
                };
                self.open.retain(|id| *id != request.id);
                self.ledger.on_outcome(request.id, outcome);
                if then == Then::Over || !request.whole {
                    // What stands behind the last answer was never asked.
                    for id in std::mem::take(&mut self.open) {
                        self.ledger.on_outcome(id, Outcome::Unasked);
                    }
                    return;
                }
            }
            if self.rng.u8(..3) == 0 {
                sleep(Duration::from_millis(self.rng.u64(0..300))).await;
            }
        }
    }

    fn request(&mut self, last: bool, alone: bool) -> Sent {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let method = self.rng.u8(..8);
        self.ledger.on_sending(id, method >= 5);
        self.open.push(id);
        let is_10 = alone && self.rng.u8(..8) == 0;
        let expects = alone && !is_10 && self.rng.u8(..10) == 0;
        Sent { id, is_head: method == 0, since: Instant::now(), is_10, expects, last, whole: true }
    }

    fn spell(&mut self, sent: &Sent) -> (String, Vec<u8>) {
        let is_post = self.ledger.entry(sent.id).is_post;
        let method = if is_post {
            "POST"
        } else if sent.is_head {
            "HEAD"
        } else {
            "GET"
        };
        let version = if sent.is_10 { "1.0" } else { "1.1" };
        let mut head =
            format!("{method} /{} HTTP/{version}\r\nHost: sim\r\nX-Sim-Id: {}\r\n", sent.id, sent.id);
        if self.rng.bool() {
            head.push_str("Connection: keep-alive\r\n");
        } else if sent.last && self.rng.bool() {
            head.push_str("Connection: close\r\n");
        }
        if !is_post && self.rng.u8(..4) != 0 {
            head.push_str("\r\n");
            return (head, Vec::new());
        }
        let len = match self.rng.u8(..3) {
            0 => self.rng.usize(..300),
            _ => self.rng.usize(..=self.habits.body_max),
        };
        let mut body = Vec::new();
        head.push_str(&format!("X-Sim-Length: {len}\r\n"));
        if sent.expects {
            head.push_str("Expect: 100-continue\r\n");
        }
        if !sent.is_10 && self.rng.bool() {
            head.push_str("Transfer-Encoding: chunked\r\n\r\n");
            let mut at = 0;
            while at < len {
                let piece = self.rng.usize(1..=(len / 4).max(1)).min(len - at);
                body.extend_from_slice(format!("{piece:x}\r\n").as_bytes());
                body.extend(content(sent.id | UPWARDS, at as u64, piece));
                body.extend_from_slice(b"\r\n");
                at += piece;
            }
            body.extend_from_slice(b"0\r\n\r\n");
        } else {
            head.push_str(&format!("Content-Length: {len}\r\n\r\n"));
            body = content(sent.id | UPWARDS, 0, len);
        }
        (head, body)
    }

    /// False: the sidecar takes no more; what it said meanwhile can still be read.
    async fn send(&mut self, sent: &Sent, head: &str, body: &[u8]) -> bool {
        let mut bytes = head.as_bytes().to_vec();
        if sent.expects {
            if self.wire.send(&bytes).await.is_err() {
                return false;
            }
            bytes.clear();
            // Whatever comes, 100 or a final answer, shows as a byte; or the client loses patience.
            let peeked = std::future::poll_fn(|cx| crate::engine::Stream::poll_peek(&mut self.wire.end, cx));
            let _ = timeout(Duration::from_millis(200), peeked).await;
        }
        bytes.extend_from_slice(body);
        let mut pieces = bytes.as_slice();
        while !pieces.is_empty() {
            let most = if self.rng.u8(..3) == 0 { self.rng.usize(1..=pieces.len()) } else { pieces.len() };
            // A real client reads while it writes; here the answer waits in the stream, and a sidecar
            // that stops reading because its answer is not read would stand still. So it is timed out.
            if !matches!(timeout(Duration::from_secs(20), self.wire.send(&pieces[..most])).await, Ok(Ok(())))
            {
                return false;
            }
            pieces = &pieces[most..];
            if self.rng.u8(..4) == 0 {
                sleep(Duration::from_millis(self.rng.u64(0..20))).await;
            }
        }
        true
    }

    async fn read(&mut self, sent: &Sent) -> (Outcome, Then) {
        let head = loop {
            match self.wire.head().await {
                Ok(head) => match head.status() {
                    Ok(status) if status < 200 && !sent.is_10 => {}
                    Ok(_) => break head,
                    Err(broken) => return self.wrong(sent, &format!("{broken:?}")),
                },
                Err(broken) => return self.no_answer(sent, &broken),
            }
        };
        match head.status() {
            Ok(200) => self.answered(sent, &head).await,
            Ok(status) => self.turned_down(sent, status, &head).await,
            Err(broken) => self.wrong(sent, &format!("{broken:?}")),
        }
    }

    async fn answered(&mut self, sent: &Sent, head: &Head) -> (Outcome, Then) {
        if head.number("x-sim-id") != Some(sent.id) {
            return self.wrong(sent, &format!("got the answer {:?}", head.field("x-sim-id")));
        }
        let Some(meant) = head.number("x-sim-length") else { return self.wrong(sent, "got no length") };
        let size = match head.size(Size::UntilClose) {
            Ok(_) if sent.is_head => Size::Length(0),
            Ok(size) => size,
            Err(broken) => return self.wrong(sent, &format!("{broken:?}")),
        };
        if sent.is_10 && size == Size::Chunked {
            return self.wrong(sent, "HTTP/1.0 got chunks");
        }
        let mut checker = Checker::new(sent.id);
        let ended = self.wire.body(size, &mut |bytes| checker.take(bytes)).await;
        if !checker.is_sound {
            return self.wrong(sent, &format!("content is not its own near byte {}", checker.seen));
        }
        let outcome = match ended {
            Ok(()) if sent.is_head || checker.seen == meant => Outcome::Served,
            Ok(()) if self.ledger.entry(sent.id).until_close && self.ledger.excuses(sent.id, sent.since) => {
                Outcome::Cut
            }
            Ok(()) => {
                return self.wrong(sent, &format!("a clean end after {} of {meant} bytes", checker.seen));
            }
            Err(Broken::Malformed(what)) => return self.wrong(sent, &what),
            // An answer that falls silent behind a FIN is taken as abandoned (engine::departure).
            Err(broken) if self.half_closed && (broken == Broken::Cut || size == Size::UntilClose) => {
                return (Outcome::Cut, Then::Over);
            }
            Err(_)
                if !sent.whole
                    || self.ledger.excuses(sent.id, sent.since)
                    || self.ledger.refusals.get().cut_off =>
            {
                return (Outcome::Cut, Then::Over);
            }
            Err(broken) => {
                return self.wrong(sent, &format!("cut for no reason: {broken:?} at {}", checker.seen));
            }
        };
        self.then(sent, head, size, outcome)
    }

    fn then(&mut self, sent: &Sent, head: &Head, size: Size, outcome: Outcome) -> (Outcome, Then) {
        if head.says_close() || size == Size::UntilClose || (sent.is_10 && head.field("connection").is_none())
        {
            if self.wire.has_ahead() {
                return self.wrong(sent, "bytes behind a closing answer");
            }
            return (outcome, Then::Over);
        }
        (outcome, Then::Goes)
    }

    async fn turned_down(&mut self, sent: &Sent, status: u16, head: &Head) -> (Outcome, Then) {
        let reason = head.field("x-warmfront-reason").unwrap_or("none").to_owned();
        let size = match head.size(Size::UntilClose) {
            Ok(_) if sent.is_head => Size::Length(0),
            Ok(size) => size,
            Err(broken) => return self.wrong(sent, &format!("{broken:?}")),
        };
        let mut text = Vec::new();
        if let Err(broken) = self.wire.body(size, &mut |bytes| text.extend_from_slice(bytes)).await {
            return self.wrong(sent, &format!("{status} ({reason}) was cut: {broken:?}"));
        }
        let refusals = self.ledger.refusals.get();
        let untouched = self.ledger.entry(sent.id).executed_by.is_empty();
        let outcome = match (status, reason.split('=').next().unwrap_or_default()) {
            (502, _) if self.ledger.excuses(sent.id, sent.since) => Outcome::Failed,
            (503, _) if !untouched && !self.ledger.excuses(sent.id, sent.since) => {
                return self.wrong(sent, "refused although it was executed");
            }
            (503, "queue.depth" | "queue.bytes" | "queue.timeout") if refusals.line => Outcome::Refused,
            (503, "workers-not-started") if refusals.may_say_not_started(sent.since) => Outcome::Refused,
            (503, "stopping") if refusals.stopping => Outcome::Refused,
            _ => return self.wrong(sent, &format!("{status} ({reason}) for no reason")),
        };
        self.then(sent, head, size, outcome)
    }

    fn no_answer(&self, sent: &Sent, broken: &Broken) -> (Outcome, Then) {
        // A worker that breaks an answer may take its client connection with it, and a drain may end
        // a connection before the request was seen.
        // So may a half-closed HTTP/1.0 client that was taken as gone.
        let taken_as_gone = self.half_closed && sent.is_10 && *broken == Broken::Reset;
        if taken_as_gone || !sent.whole || self.draining.get() || self.ledger.excuses(sent.id, sent.since) {
            return (Outcome::Cut, Then::Over);
        }
        self.wrong(sent, &format!("no answer: {broken:?}"))
    }

    fn wrong(&self, sent: &Sent, what: &str) -> (Outcome, Then) {
        let Sent { id, is_head, since: _, is_10, expects, last, whole } = *sent;
        let flags =
            [(is_head, "HEAD"), (is_10, "1.0"), (expects, "expects"), (last, "last"), (!whole, "partial")];
        let said: Vec<_> = flags.into_iter().filter_map(|(is, word)| is.then_some(word)).collect();
        self.ledger.accuse(format!("request {id} {said:?}: {what}; {:?}", self.ledger.entry(id)));
        (Outcome::Wrong, Then::Over)
    }
}
