//! Operations as the ring keeps them. Only [`super::ring`] begins and ends them.

use std::os::fd::{AsFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Waker};

use super::ring::Received;

/// An operation under way, or complete and not yet looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) ring: u32,
    pub(super) index: u32,
}

/// What became of a receive.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Bytes.
    Bytes(Received),
    /// The peer sends no more.
    End,
    /// All buffers are in use: read from the socket itself.
    NoBuffer,
    /// What recv(2) would have said.
    Failed(i32),
}

/// An operation, or room for one.
#[derive(Default)]
pub(super) struct Op {
    pub(super) state: State,
    pub(super) waker: Option<Waker>,
    /// Kept open until the kernel needs it no more; its owner is gone.
    pub(super) orphan: Option<Arc<dyn AsFd>>,
}

/// How far it is.
#[derive(Default)]
pub(super) enum State {
    #[default]
    Free,
    Receiving,
    Received(Arrival),
    Sending(Sending),
    /// All bytes, or an error and how many went before it.
    Sent(Result<(), (i32, usize)>),
}

/// A message that the kernel reads: its bytes stay where they are, and as they are, until it has said so.
pub(super) struct Sending {
    pub(super) socket: RawFd,
    pub(super) bytes: Vec<u8>,
    pub(super) sent: usize,
}

impl Op {
    /// Puts `state` back, and has the task woken when it changes.
    pub(super) fn wait(&mut self, state: State, cx: Option<&mut Context<'_>>) {
        self.state = state;
        if let Some(cx) = cx {
            match &mut self.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
    }
}
