//! One client connection: rests until somebody has a reason to speak, or to end it.
//!
//! No timeout unless configured, no request cap, no lifetime: the platform keeps its
//! connections for as long as it likes, and closing one first costs its next POST.
//! At rest a connection holds no buffer and no [`super::workspace`]. One that begins
//! with HTTP/2's preface goes to [`super::h2`].
//!
//! A future by hand: ten thousand that rest are to cost what they say here, not what
//! the compiler lays out for everything that they might do.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::buffer::Buffer;
use super::conversation::{Speaker, converse, fill, linger};
use super::h2::front;
use super::h2::preface::{self, FirstBytes};
use super::pace::within;
use super::passage::FIRST_READ;
use super::plane::{Plane, Resting};
use super::relay::poll_fill_most;
use super::workspace::{Workspace, Workspaces};
use super::{Dial, Stream};
use crate::clock::{self, Timer};
use crate::telemetry::tally::{Count, count};

/// What a conversation begins with: who speaks, and what was said so far.
type Beginning<C> = (Speaker<C>, Buffer);

/// Where the conversations of a thread's connections are held.
pub(super) type Conversations<C> = Workspaces<Beginning<C>, Option<Speaker<C>>>;

/// Room for conversations with clients behind streams `C`.
pub(super) fn conversations<C: Stream + 'static, D: Dial>(plane: &Rc<Plane<D>>) -> Rc<Conversations<C>> {
    let plane = Rc::clone(plane);
    let work = move |(speaker, first)| {
        let plane = Rc::clone(&plane);
        async move { converse(&plane, speaker, first).await }
    };
    Rc::new(Workspaces::new(work))
}

/// What few connections ever do; boxed, so that the others need not make room for it. It ends the connection, or
/// in the beginning of a conversation.
type Aside<C> = Pin<Box<dyn Future<Output = Option<Beginning<C>>>>>;

/// Judges the protocol of a client by what it said first.
type Judge<C, D> = fn(Rc<Plane<D>>, C, Buffer) -> Aside<C>;

/// Serves a client until it leaves, or until a rule of HTTP or a drain ends the connection.
pub(super) struct Connection<C: Stream + 'static, D: Dial> {
    plane: Rc<Plane<D>>,
    conversations: Rc<Conversations<C>>,
    resting: Resting<D>,
    state: State<C>,
    /// Until that is done, or where it need not be.
    on_first_bytes: Option<Judge<C, D>>,
}

enum State<C> {
    Resting {
        speaker: Speaker<C>,
        /// What is left of `limits.idle_timeout`.
        patience: Option<Box<Timer>>,
    },
    Talking(Workspace<Beginning<C>, Option<Speaker<C>>>),
    Aside(Aside<C>),
    Over,
}

/// How a rest ends without a request.
enum Silence {
    /// The client has left.
    Gone,
    /// No request shall begin: the thread drains, or `limits.idle_timeout` is over.
    Over,
}

impl<C: Stream + 'static, D: Dial> Connection<C, D> {
    /// With a `client` that may speak HTTP/1 or HTTP/2.
    pub(super) fn new(plane: Rc<Plane<D>>, conversations: Rc<Conversations<C>>, client: C) -> Self {
        Self { on_first_bytes: Some(judge), ..Self::http1(plane, conversations, client) }
    }

    /// With a `client` that speaks HTTP/1.
    pub(super) fn http1(plane: Rc<Plane<D>>, conversations: Rc<Conversations<C>>, client: C) -> Self {
        let state = State::Resting { speaker: Speaker::new(client), patience: None };
        Self { resting: Resting::new(&plane), plane, conversations, state, on_first_bytes: None }
    }

    /// Waits for the first bytes of a request, holding nothing meanwhile.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<Buffer, Silence>> {
        let State::Resting { speaker, patience } = &mut self.state else {
            return Poll::Ready(Err(Silence::Over));
        };
        // Bytes first: a request that is here already is served even while draining.
        if speaker.stream.poll_readable(cx).is_ready() {
            let mut buffer = self.plane.buffers.get();
            match poll_fill_most(&mut speaker.stream, &mut buffer, FIRST_READ, cx) {
                Poll::Ready(Ok(count)) if count > 0 => return Poll::Ready(Ok(buffer)),
                Poll::Ready(_) => return Poll::Ready(Err(Silence::Gone)),
                // The runtime calls a new socket readable before it has asked.
                Poll::Pending => {}
            }
        }
        if self.plane.is_draining() {
            return Poll::Ready(Err(Silence::Over));
        }
        self.resting.register(cx.waker());
        let Some(limit) = self.plane.limits.idle_timeout else { return Poll::Pending };
        let patience = patience.get_or_insert_with(|| Box::new(clock::timer(limit)));
        Pin::new(&mut **patience).poll(cx).map(|()| Err(Silence::Over))
    }

    /// What follows a rest; `None`: nothing.
    fn after_rest(&mut self, rest: Result<Buffer, Silence>) -> Option<State<C>> {
        let State::Resting { speaker, .. } = std::mem::replace(&mut self.state, State::Over) else {
            return None;
        };
        match rest {
            Ok(first) => Some(match self.on_first_bytes.take() {
                Some(judge) if preface::look(first.filled()) != FirstBytes::Other => {
                    State::Aside(judge(Rc::clone(&self.plane), speaker.stream, first))
                }
                _ => State::Talking(self.conversations.begin((speaker, first))),
            }),
            Err(_) if !speaker.has_served => None,
            Err(Silence::Gone) => {
                count(Count::ClientClosed);
                None
            }
            // What was answered before may still be on its way, and a next request too.
            Err(Silence::Over) => {
                let buffer = self.plane.buffers.get();
                Some(State::Aside(Box::pin(async move {
                    linger(speaker.stream, buffer).await;
                    None
                })))
            }
        }
    }
}

/// Of bytes that are the beginning of HTTP/2's preface, or all of it. Serves who goes on to speak HTTP/2.
fn judge<C: Stream + 'static, D: Dial>(plane: Rc<Plane<D>>, mut client: C, mut first: Buffer) -> Aside<C> {
    Box::pin(async move {
        loop {
            match preface::look(first.filled()) {
                FirstBytes::Other => return Some((Speaker::new(client), first)),
                FirstBytes::Http2 => {
                    let said = first.filled().to_vec();
                    drop(first);
                    front::serve(&plane, client, said).await;
                    return None;
                }
                FirstBytes::Open => {
                    let limit = plane.limits.head_timeout;
                    if within(limit, fill(&mut first, &mut client)).await != Some(true) {
                        return None;
                    }
                }
            }
        }
    })
}

impl<C: Stream + 'static, D: Dial> Future for Connection<C, D> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            let next = match &mut this.state {
                State::Resting { .. } => {
                    let rest = ready!(this.poll_rest(cx));
                    this.after_rest(rest)
                }
                State::Talking(workspace) => {
                    let back = ready!(workspace.poll(cx));
                    if let State::Talking(workspace) = std::mem::replace(&mut this.state, State::Over) {
                        this.conversations.take_back(workspace);
                    }
                    back.map(|speaker| State::Resting { speaker, patience: None })
                }
                State::Aside(aside) => ready!(aside.as_mut().poll(cx))
                    .map(|beginning| State::Talking(this.conversations.begin(beginning))),
                State::Over => None,
            };
            match next {
                Some(next) => this.state = next,
                None => {
                    // Here and now, and not with the task: the client waits for its end.
                    this.state = State::Over;
                    return Poll::Ready(());
                }
            }
        }
    }
}
