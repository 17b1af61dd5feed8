//! Has the client left, or has it only finished speaking?
//!
//! TCP shows both as the same FIN. The platform cancels by closing, and its
//! cancel must reach the worker within 100 ms; other clients (`nc -N`) half-close
//! behind their request and wait for the answer. A closed peer answers the next
//! byte with a reset, a half-closed one takes it. So after a FIN:
//!
//! 1. give a quick worker [`GRACE`] to answer: its answer asks the question;
//! 2. then, towards HTTP/1.1, send `100 Continue`, which any client must accept
//!    and may ignore (RFC 9110 §15.2.1), and look for the reset;
//! 3. no reset: the client is there and waits.
//!
//! Once an answer has begun nothing can be slipped in; its own bytes ask the
//! question. An answer that was silent for [`GRACE`] on both sides of a FIN is
//! taken as left: that is how the platform cancels a stream of events.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::Stream;
use crate::clock::{self, Timer};

/// Silence after a FIN before the question is asked.
const GRACE: Duration = Duration::from_millis(20);
/// How often, and after what pause, the answer to the question is looked for.
const LOOKS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(40)];

/// How often a client that has finished speaking and does not read is looked at.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often an end behind unread bytes is looked for: well within the 100 ms of a cancel.
const BEHIND: Duration = Duration::from_millis(30);

/// The interim answer that lets a client send its body, and asks a silent one whether it is there.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What is known about the client while its request runs.
#[derive(Debug, Default)]
pub(super) enum Departure {
    /// Nothing unusual; watch for the end of its bytes.
    #[default]
    Watching,
    /// Unread bytes are there (a body that waits, the next request); an end behind them raises no
    /// event and is looked for.
    Behind(Timer),
    /// A FIN came; waiting before the question.
    Silent(Box<Silence>),
    /// The question was asked; looking for a reset, this many looks so far.
    Asked(Timer, usize),
    /// It finished speaking and waits for the answer.
    HalfClosed,
}

/// The time after a FIN.
#[derive(Debug)]
pub(super) struct Silence {
    timer: Timer,
    /// Bytes of the answer that had certainly left when the FIN came.
    sent_at_fin: u64,
    /// Bytes of the answer that had left when the timer was set.
    sent: u64,
}

impl Silence {
    fn after(sent_at_fin: u64, sent: u64) -> Departure {
        Self::lasting(GRACE, sent_at_fin, sent)
    }

    fn lasting(pause: Duration, sent_at_fin: u64, sent: u64) -> Departure {
        Departure::Silent(Box::new(Self { timer: clock::timer(pause), sent_at_fin, sent }))
    }
}

/// What the relay should do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Send [`CONTINUE`], then go on.
    Ask,
    /// Nobody is there.
    Gone,
}

/// What of the answer has left so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing, and the client understands interim answers.
    NotBegun,
    /// Nothing, and it does not (HTTP/1.0).
    NotBegunPlain,
    /// Some, and more waits to leave.
    Flowing,
    /// Some, and nothing waits.
    Quiet,
    /// It began before the request had ended: a FIN may belong to the request.
    Early,
}

impl Departure {
    /// What an end behind unread bytes means: before the answer, ask. Once it has begun nothing can be
    /// asked, and one who sends more requests before it ends is rather waiting than gone.
    fn look_behind<S: Stream>(client: &S, sent: u64) -> Self {
        match client.has_ended() {
            false => Self::Behind(clock::timer(BEHIND)),
            true if sent == 0 => Silence::after(0, 0),
            true => Self::HalfClosed,
        }
    }

    /// Watches the client, to whom `sent` bytes of the answer have left, `sent_before` of them
    /// before this turn of the relay: a FIN that is seen now may have come before the others.
    /// Pending: nothing to do.
    pub(super) fn poll<S: Stream>(
        &mut self,
        client: &mut S,
        answer: Answer,
        sent_before: u64,
        sent: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Advice> {
        loop {
            match self {
                Self::HalfClosed => return Poll::Pending,
                Self::Watching => match client.poll_peek(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(0)) => *self = Silence::after(sent_before, sent),
                    Poll::Ready(Ok(_)) => *self = Self::look_behind(client, sent),
                    Poll::Ready(Err(_)) => return Poll::Ready(Advice::Gone),
                },
                Self::Behind(timer) => {
                    ready!(Pin::new(timer).poll(cx));
                    // The bytes may have been read meanwhile.
                    *self = Self::Watching;
                }
                Self::Silent(silence) => {
                    ready!(Pin::new(&mut silence.timer).poll(cx));
                    if client.pending_error().is_some() {
                        return Poll::Ready(Advice::Gone);
                    }
                    match answer {
                        Answer::NotBegun => {
                            *self = Self::Asked(clock::timer(LOOKS[0]), 1);
                            return Poll::Ready(Advice::Ask);
                        }
                        Answer::NotBegunPlain | Answer::Early => *self = Self::HalfClosed,
                        _ if sent > silence.sent => *self = Silence::after(silence.sent_at_fin, sent),
                        // Bytes went out behind the FIN, a whole grace ago, and no reset came back.
                        _ if sent > silence.sent_at_fin => *self = Self::HalfClosed,
                        // It takes nothing just now; its kernel would say if it were gone.
                        Answer::Flowing => *self = Silence::lasting(PATIENCE, silence.sent_at_fin, sent),
                        Answer::Quiet => return Poll::Ready(Advice::Gone),
                    }
                }
                Self::Asked(timer, looks) => {
                    ready!(Pin::new(timer).poll(cx));
                    if client.pending_error().is_some() {
                        return Poll::Ready(Advice::Gone);
                    }
                    *self = match LOOKS.get(*looks) {
                        Some(&pause) => Self::Asked(clock::timer(pause), *looks + 1),
                        None => Self::HalfClosed,
                    };
                }
            }
        }
    }
}
