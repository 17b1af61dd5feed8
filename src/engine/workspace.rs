//! The state of a running conversation, lent to a connection for as long as it has one.
//!
//! A connection that rests is small; one that has requests in flight needs some
//! 2 KiB. So that is not a part of it: it is a future of its own that carries one
//! conversation after the other, for whoever comes. A thread keeps those that are
//! free and lends the last one returned first, which is warm in the processor's
//! cache.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Free ones that a thread keeps. Conversations beyond that many at once pay an allocation each.
const KEPT: usize = 128;

/// Turns what a conversation begins with into what it ends with, one at a time.
pub(super) struct Workspace<I, O> {
    hatch: Rc<Hatch<I, O>>,
    work: Pin<Box<dyn Future<Output = Infallible>>>,
}

/// Through which both are handed.
struct Hatch<I, O> {
    given: Cell<Option<I>>,
    done: Cell<Option<O>>,
}

impl<I: 'static, O: 'static> Workspace<I, O> {
    fn new(work: impl AsyncFn(I) -> O + 'static) -> Self {
        let hatch = Rc::new(Hatch { given: Cell::new(None), done: Cell::new(None) });
        let inside = Rc::clone(&hatch);
        let work = Box::pin(async move {
            loop {
                let given = poll_fn(|_| inside.given.take().map_or(Poll::Pending, Poll::Ready)).await;
                let done = work(given).await;
                inside.done.set(Some(done));
            }
        });
        Self { hatch, work }
    }

    /// Goes on with the conversation; ready at its end. To drop the workspace is to end it where it stands.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<O> {
        // It has no end; what was asked of it may have one.
        let _: Poll<Infallible> = self.work.as_mut().poll(cx);
        self.hatch.done.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The workspaces of one thread.
pub(super) struct Workspaces<I, O> {
    free: RefCell<Vec<Workspace<I, O>>>,
    build: Box<dyn Fn() -> Workspace<I, O>>,
}

impl<I: 'static, O: 'static> Workspaces<I, O> {
    /// For conversations that `work` holds.
    pub(super) fn new<W: AsyncFn(I) -> O + Clone + 'static>(work: W) -> Self {
        Self { free: RefCell::default(), build: Box::new(move || Workspace::new(work.clone())) }
    }

    /// Begins a conversation.
    pub(super) fn begin(&self, given: I) -> Workspace<I, O> {
        let workspace = self.free.borrow_mut().pop().unwrap_or_else(|| (self.build)());
        workspace.hatch.given.set(Some(given));
        workspace
    }

    /// Of a conversation that has ended.
    pub(super) fn take_back(&self, workspace: Workspace<I, O>) {
        let mut free = self.free.borrow_mut();
        if free.len() < KEPT {
            free.push(workspace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::task::yield_now;

    fn poll_once<I: 'static, O: 'static>(workspace: &mut Workspace<I, O>) -> Poll<O> {
        workspace.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn conversations_one_after_the_other_share_a_workspace_and_those_at_once_do_not() {
        let workspaces = Workspaces::new(async |number: u32| {
            yield_now().await;
            number + 1
        });
        let free = || workspaces.free.borrow().len();
        for number in 0..3 {
            let mut one = workspaces.begin(number);
            assert!(poll_once(&mut one).is_pending());
            assert_eq!((poll_once(&mut one), free()), (Poll::Ready(number + 1), 0));
            workspaces.take_back(one);
            assert_eq!(free(), 1);
        }
        let (mut one, mut other) = (workspaces.begin(7), workspaces.begin(8));
        assert!(poll_once(&mut one).is_pending() && poll_once(&mut other).is_pending());
        assert_eq!((poll_once(&mut other), poll_once(&mut one)), (Poll::Ready(9), Poll::Ready(8)));
    }

    #[test]
    fn a_conversation_that_is_dropped_ends() {
        let guard = Rc::new(());
        let workspaces = Workspaces::new(async |guard: Rc<()>| {
            yield_now().await;
            drop(guard);
        });
        let mut conversation = workspaces.begin(Rc::clone(&guard));
        assert!(poll_once(&mut conversation).is_pending());
        drop(conversation);
        assert_eq!(Rc::strong_count(&guard), 1);
    }
}
