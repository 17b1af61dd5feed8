//! What a worker is asked: each question once, each over what a real client would do.

use std::time::Duration;

use super::ask::{Answer, Line};
use crate::clock;
use crate::upstream::pool::Address;

/// How long a connection that rests is watched: longer than what most frameworks close after (2 s and 5 s).
const REST: Duration = Duration::from_secs(7);

/// How the worker answered, or why not.
pub(super) type Outcome = Result<Answer, String>;

/// What all questions brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// A GET, the first request of this process.
    pub first: Outcome,
    /// The same again.
    pub second: Outcome,
    /// After how long a connection that rests was closed; `None` if it was not while it was watched.
    pub closes_after: Option<Duration>,
    /// A GET in HTTP/1.0.
    pub http10: Outcome,
    /// A HEAD.
    pub head: Outcome,
    /// A POST that waits for a 100 before it sends its body.
    pub expect: Outcome,
    /// A POST with its length.
    pub length: Outcome,
    /// The same POST in chunks.
    pub chunked: Outcome,
}

/// Asks everything.
pub(super) async fn all(address: &Address, path: &str) -> Answers {
    let get = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: warmfront-doctor\r\n\r\n");
    let first = ask(address, &get, false).await;
    let (second, resting) = ask_and_keep(address, &get).await;
    let rests = async {
        match resting {
            Some(mut line) => {
                let began = clock::now();
                clock::timeout(REST, line.closed()).await.map(|()| clock::now() - began)
            }
            None => Some(Duration::ZERO),
        }
    };
    let others = async {
        let post = |rest: &str| {
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n{rest}")
        };
        let http10 = ask(address, &format!("GET {path} HTTP/1.0\r\n\r\n"), false).await;
        let head = ask(address, &get.replacen("GET", "HEAD", 1), true).await;
        let length = ask(address, &post("Content-Length: 5\r\n\r\nhello"), false).await;
        let chunked =
            ask(address, &post("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), false).await;
        let expect = patient_post(address, &post("Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")).await;
        (http10, head, length, chunked, expect)
    };
    let (closes_after, (http10, head, length, chunked, expect)) = tokio::join!(rests, others);
    Answers { first, second, closes_after, http10, head, expect, length, chunked }
}

async fn ask(address: &Address, request: &str, to_head: bool) -> Outcome {
    let one = async {
        let mut line = Line::to(address).await?;
        line.send(request.as_bytes()).await?;
        line.answer(to_head).await
    };
    one.await.map_err(|error| error.to_string())
}

/// The same, and the connection if another request may follow on it.
async fn ask_and_keep(address: &Address, request: &str) -> (Outcome, Option<Line>) {
    let one = async {
        let mut line = Line::to(address).await?;
        line.send(request.as_bytes()).await?;
        let answer = line.answer(false).await?;
        std::io::Result::Ok((answer, line))
    };
    match one.await {
        Ok((answer, line)) => {
            let keeps = answer.keeps;
            (Ok(answer), keeps.then_some(line))
        }
        Err(error) => (Err(error.to_string()), None),
    }
}

/// Sends a head, and its body only when it was asked to, or a second has gone by.
async fn patient_post(address: &Address, head: &str) -> Outcome {
    let one = async {
        let mut line = Line::to(address).await?;
        line.send(head.as_bytes()).await?;
        // An impatient client is what RFC 9110 §10.1.1 wants; the answer says which it was.
        let sent = clock::timeout(Duration::from_secs(1), line.continued()).await;
        let continued = matches!(sent, Some(Ok(true)));
        if !matches!(sent, Some(Ok(false))) {
            line.send(b"hello").await?;
        }
        let answer = line.answer(false).await?;
        std::io::Result::Ok(Answer { continued: continued || answer.continued, ..answer })
    };
    one.await.map_err(|error| error.to_string())
}

/// A request that has begun and lacks its last byte.
pub(super) struct Unfinished(Line);

impl Unfinished {
    /// Begins one.
    pub(super) async fn begin(address: &Address, path: &str) -> Option<Self> {
        let mut line = Line::to(address).await.ok()?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhell"
        );
        line.send(head.as_bytes()).await.ok()?;
        Some(Self(line))
    }

    /// Sends the last byte; whether an answer came.
    pub(super) async fn finish(mut self) -> bool {
        // Who has answered already, or has left, does not want it.
        let _ = self.0.send(b"o").await;
        self.0.answer(false).await.is_ok()
    }
}
