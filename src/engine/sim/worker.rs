//! Workers with manners from perfect to terrible.
//!
//! What a worker does to a request it notes in the ledger *before* it does it, so
//! that a client can tell a worker's fault from the sidecar's.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ledger::{Ledger, LifeId};
use super::network::Listener;
use super::stream::End;
use super::wire::{BITE, Broken, Checker, Head, Size, Wire, content};

/// Distinguishes what goes up from what comes down for one request.
pub(super) const UPWARDS: u64 = 1 << 63;

/// How a worker behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manners {
    /// Of a hundred requests, how many are mistreated.
    pub(super) faults: u8,
    /// Longest pause before an answer.
    pub(super) pause_ms: u64,
    /// Longest answer.
    pub(super) answer_max: usize,
    /// Whether it closes connections that are idle, or unasked, and accepts late.
    pub(super) closes: bool,
    /// Of a hundred mistreated requests, how many end the process.
    pub(super) crashes: u8,
}

/// One life of a worker: accepts until dropped, or until a request ends it.
pub(super) async fn live(
    id: LifeId,
    listener: Rc<Listener>,
    ledger: Rc<Ledger>,
    manners: Manners,
    mut rng: fastrand::Rng,
) {
    let (mut connections, crash) = (JoinSet::new(), Rc::new(Notify::new()));
    loop {
        if manners.closes && rng.u8(..20) == 0 {
            sleep(Duration::from_millis(rng.u64(0..100))).await;
        }
        let end = tokio::select! {
            biased;
            end = listener.accept() => end,
            () = crash.notified() => return,
        };
        while connections.try_join_next().is_some() {}
        let conversation = Conversation {
            life: id,
            crash: Rc::clone(&crash),
            ledger: Rc::clone(&ledger),
            early: false,
            babbled: false,
            manners,
            rng: rng.fork(),
        };
        connections.spawn_local(conversation.run(end));
    }
}

struct Conversation {
    life: LifeId,
    /// Ends the process.
    crash: Rc<Notify>,
    ledger: Rc<Ledger>,
    /// Whether the current request is answered before its body was read.
    early: bool,
    /// Whether bytes were sent behind an answer: nobody who comes next can trust this connection.
    babbled: bool,
    manners: Manners,
    rng: fastrand::Rng,
}

/// Whether the connection goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Request,
    Close,
}

impl Conversation {
    async fn run(mut self, end: End) {
        if self.manners.closes && self.rng.u8(..20) == 0 {
            self.ledger.on_rudeness();
            return;
        }
        let mut wire = Wire::new(end);
        loop {
            let patience = Duration::from_millis(self.rng.u64(1..200));
            let head = if self.manners.closes && self.rng.u8(..4) == 0 {
                match timeout(patience, wire.head()).await {
                    Ok(head) => head,
                    Err(_) => {
                        self.ledger.on_rudeness();
                        return;
                    }
                }
            } else {
                wire.head().await
            };
            match head {
                Ok(head) => {
                    if !matches!(self.serve(&mut wire, &head).await, Ok(Next::Request)) {
                        return;
                    }
                }
                Err(Broken::Malformed(what)) => {
                    return self.ledger.accuse(format!("a worker got a malformed head: {what:?}"));
                }
                Err(_) => return,
            }
        }
    }

    async fn serve(&mut self, wire: &mut Wire, head: &Head) -> Result<Next, Broken> {
        let Some(id) = head.number("x-sim-id") else {
            self.ledger.accuse(format!("a request without its id: {head:?}"));
            return Ok(Next::Close);
        };
        self.ledger.on_execution(id, self.life);
        for gone in ["connection", "keep-alive"] {
            if head.field(gone).is_some() {
                self.ledger.accuse(format!("request {id} carries {gone}"));
            }
        }
        let fault = self.rng.u8(..100) < self.manners.faults;
        if self.babbled {
            self.ledger.on_wrong(id);
        }
        if fault {
            self.ledger.on_wrong(id);
        }
        let crashes = fault && self.rng.u8(..100) < self.manners.crashes;
        self.early = self.rng.u8(..8) == 0;
        if fault && self.rng.bool() {
            return self.mistreat(wire, head, id).await;
        }
        if !self.early {
            self.read_body(wire, head, id).await?;
        }
        // Some stall, and then go on as if nothing were.
        let stalls = self.manners.faults > 0 && self.rng.u8(..50) == 0;
        let most = if stalls { 20_000 } else { self.manners.pause_ms };
        let pause = Duration::from_millis(self.rng.u64(0..=most));
        if timeout(pause, wire.end.peer_gone()).await.is_ok() && !pause.is_zero() {
            return Ok(Next::Close);
        }
        if crashes {
            self.end_the_process().await;
        }
        let next = self.answer(wire, head, id, fault).await?;
        // An early answer: the rest of the request may or may not come.
        if self.early && next == Next::Request {
            self.read_body(wire, head, id).await?;
        }
        Ok(next)
    }

    /// Never comes back: neither does anybody else of this process.
    async fn end_the_process(&self) {
        self.ledger.on_death(self.life);
        self.crash.notify_one();
        std::future::pending().await
    }

    /// Ends the conversation without an answer, in one of many ways.
    async fn mistreat(&mut self, wire: &mut Wire, head: &Head, id: u64) -> Result<Next, Broken> {
        if self.rng.bool() {
            self.read_body(wire, head, id).await?;
        }
        let last_words: &[u8] = match self.rng.u8(..6) {
            0 => b"HTTP/1.1 200 OK\r\nContent-Le",
            1 => b"Segmentation fault (core dumped)\n",
            2 => b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            3 => b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
            _ => b"",
        };
        let _ = wire.send(last_words).await;
        sleep(Duration::from_millis(self.rng.u64(0..20))).await;
        Ok(Next::Close)
    }

    async fn read_body(&mut self, wire: &mut Wire, head: &Head, id: u64) -> Result<(), Broken> {
        if head.field("expect").is_some() {
            let _ = wire.send(b"HTTP/1.1 100 Continue\r\n\r\n").await;
        }
        let size = head.size(Size::Length(0))?;
        let mut checker = Checker::new(id | UPWARDS);
        if self.rng.u8(..4) == 0 {
            wire.bite = self.rng.usize(1..4000);
        }
        let ended = wire.body(size, &mut |bytes| checker.take(bytes)).await;
        wire.bite = BITE;
        if !checker.is_sound {
            self.ledger.accuse(format!("the body of request {id} was corrupted near byte {}", checker.seen));
        }
        if let (Ok(()), Some(announced)) = (&ended, head.number("x-sim-length"))
            && announced != checker.seen
        {
            self.ledger.accuse(format!("request {id}: {announced} bytes sent, {} arrived", checker.seen));
        }
        ended
    }

    async fn answer(&mut self, wire: &mut Wire, head: &Head, id: u64, fault: bool) -> Result<Next, Broken> {
        let to_head = head.first.starts_with("HEAD ");
        let len = match self.rng.u8(..4) {
            0 => 0,
            1 => self.rng.usize(..200),
            _ => self.rng.usize(..=self.manners.answer_max),
        };
        let shape = self.rng.u8(..6);
        let close = self.rng.u8(..6) == 0;
        self.ledger.on_answering(id, len as u64, shape >= 4);
        if shape >= 4 {
            // A close over unread bytes is a reset, and a reset is no end.
            let unread = self.early && head.size(Size::Length(0))? != Size::Length(0);
            if unread {
                self.ledger.on_wrong(id);
            }
        }
        let mut text = String::new();
        if self.rng.u8(..10) == 0 {
            text.push_str("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
        }
        let version = if shape == 5 { "1.0" } else { "1.1" };
        text.push_str(&format!("HTTP/{version} 200 OK\r\nX-Sim-Id: {id}\r\nX-Sim-Length: {len}\r\n"));
        let size = match shape {
            0 | 1 => Size::Length(len as u64),
            2 | 3 => Size::Chunked,
            _ => Size::UntilClose,
        };
        match size {
            Size::Length(len) => text.push_str(&format!("Content-Length: {len}\r\n")),
            Size::Chunked => text.push_str("Transfer-Encoding: chunked\r\n"),
            Size::UntilClose => {}
        }
        text.push_str(if close {
            "Connection: close\r\n\r\n"
        } else {
            "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n"
        });
        let mut bytes = text.into_bytes();
        if to_head {
            return self.flush(wire, &mut bytes, close).await;
        }
        // Where a length is known the cut may come anywhere; elsewhere a clean close would be the end.
        let cut_at = (fault && size != Size::UntilClose).then(|| self.rng.usize(..=len));
        let mut at = 0;
        while at < len {
            if cut_at.is_some_and(|cut| at >= cut) {
                self.flush(wire, &mut bytes, true).await?;
                return Ok(Next::Close);
            }
            let piece = self.rng.usize(1..=(len / 3).max(1)).min(len - at);
            if size == Size::Chunked {
                bytes.extend_from_slice(format!("{piece:x}\r\n").as_bytes());
            }
            bytes.extend(content(id, at as u64, piece));
            if size == Size::Chunked {
                bytes.extend_from_slice(b"\r\n");
            }
            at += piece;
            if self.rng.bool() {
                self.flush(wire, &mut bytes, false).await?;
                if self.rng.u8(..8) == 0 {
                    sleep(Duration::from_millis(self.rng.u64(0..30))).await;
                }
            }
        }
        if fault {
            // The head stands, the end does not come. If it has come already, this is an unannounced close.
            self.ledger.on_rudeness();
            match size {
                Size::Length(_) if len > 0 => {
                    bytes.truncate(bytes.len().saturating_sub(1));
                }
                Size::Chunked => {}
                _ => return self.flush(wire, &mut bytes, true).await,
            }
            self.flush(wire, &mut bytes, true).await?;
            return Ok(Next::Close);
        }
        if size == Size::Chunked {
            bytes.extend_from_slice(if self.rng.bool() { b"0\r\n\r\n" } else { b"0\r\nX-Sum: 1\r\n\r\n" });
        }
        if self.manners.faults > 0 && size != Size::UntilClose && self.rng.u8(..50) == 0 {
            // Bytes that nobody asked for, with the answer or a moment later; whoever is next on this
            // connection may lose by them.
            if self.rng.bool() {
                self.flush(wire, &mut bytes, false).await?;
                sleep(Duration::from_millis(self.rng.u64(0..10))).await;
            }
            self.babbled = true;
            self.ledger.on_rudeness();
            bytes.extend_from_slice(b"bytes behind the answer");
        }
        self.flush(wire, &mut bytes, close || size == Size::UntilClose).await
    }

    async fn flush(&mut self, wire: &mut Wire, bytes: &mut Vec<u8>, close: bool) -> Result<Next, Broken> {
        let sent = wire.send(bytes).await;
        bytes.clear();
        sent.map_err(|_| Broken::Reset)?;
        Ok(if close { Next::Close } else { Next::Request })
    }
}
