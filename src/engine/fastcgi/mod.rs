//! Connections to php-fpm, as connections that speak HTTP/1.1.
//!
//! A costume, as those of HTTP/2 and of Noslate are: what is written is the request as the relay has edited it, what is
//! read is the script's answer; between them go the records of FastCGI, one request at a time. Unlike those it is a
//! connection of its own, which rests on the shelf between requests as other workers' do. The request's half is in
//! [`upload`], the answer's in [`answer`]; what lies in the directory that is served, and is answered without PHP, in
//! [`site`].
//!
//! Only a first write that fails proves anything here. A reset does not: php-fpm runs the script before it has read
//! the record that ends the request's body, so bytes may be unread though the script has run.

mod answer;
mod said;
pub(super) mod site;
mod upload;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::answer::Answer;
use self::site::Site;
use self::upload::{Taken, Upload};
use super::Stream;
use super::departure::CONTINUE;
use crate::fastcgi::fault::PhpFault;
use crate::upstream::pool::Worker;

/// A connection to a worker that is php-fpm, over `S`.
pub(super) struct FastCgi<S> {
    stream: S,
    site: Arc<Site>,
    worker: Arc<Worker>,
    upload: Upload,
    answer: Answer,
}

impl<S> fmt::Debug for FastCgi<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FastCgi").field("worker", &self.worker.id).finish_non_exhaustive()
    }
}

impl<S: Stream> FastCgi<S> {
    /// Over `stream`, which is connected to `worker`.
    pub(super) fn new(stream: S, site: Arc<Site>, worker: Arc<Worker>) -> Self {
        Self { stream, site, worker, upload: Upload::default(), answer: Answer::default() }
    }

    /// The same over another stream: what is left of the last answer comes along.
    pub(super) fn convert<E>(self, convert: impl FnOnce(S) -> Result<S, E>) -> Result<Self, E> {
        let Self { stream, site, worker, upload, answer } = self;
        Ok(Self { stream: convert(stream)?, site, worker, upload, answer })
    }

    /// Whether the last answer has left nothing behind. The record that ends it may follow its last byte.
    fn has_settled(&mut self) -> Poll<io::Result<bool>> {
        let mut cx = Context::from_waker(Waker::noop());
        self.answer.poll_settled(&mut self.stream, &self.worker, &mut cx)
    }
}

/// A fault as the relay knows errors.
fn failure(fault: PhpFault) -> io::Error {
    io::Error::other(fault)
}

impl<S: Stream> AsyncRead for FastCgi<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { stream, site, worker, answer, .. } = self.get_mut();
        answer.poll_read(stream, site, worker, cx, buf)
    }
}

impl<S: Stream> AsyncWrite for FastCgi<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, site, upload, answer, .. } = self.get_mut();
        if upload.awaits_head() {
            match upload.take_head(site, buf) {
                Ok(Taken::Partly) => return Poll::Ready(Ok(buf.len())),
                Ok(Taken::Asked(asked)) => {
                    answer.begin(asked);
                    if upload.owes_continue() {
                        // php-fpm knows nothing of such questions: it takes whatever comes.
                        answer.say(CONTINUE);
                    }
                }
                Ok(Taken::Answered(asked, local)) => answer.answer_with(asked, local),
                Err(fault) => return Poll::Ready(Err(failure(fault))),
            }
        }
        upload.poll_write(stream, site, cx, buf).map_err(|error| match error {
            upload::Stopped::Socket(error) => error,
            upload::Stopped::Fault(fault) => {
                // Whoever has taken a part already reads why there is no answer.
                answer.fail(fault.clone());
                failure(fault)
            }
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was taken but not written is owed a byte: it is written before that is taken.
        Poll::Ready(Ok(()))
    }

    /// Nothing: the end of the request is in the request.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> Stream for FastCgi<S> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.answer.has_something() { Poll::Ready(Ok(())) } else { self.stream.poll_readable(cx) }
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.answer.has_something() {
            return self.stream.poll_peek(cx);
        }
        ready!(self.poll_readable(cx))?;
        Poll::Ready(Ok(usize::from(!self.answer.is_over())))
    }

    fn has_ended(&self) -> bool {
        self.answer.is_over() || self.stream.has_ended()
    }

    fn has_left(&self) -> bool {
        self.stream.has_left()
    }

    fn pending_error(&self) -> Option<io::Error> {
        self.stream.pending_error()
    }

    fn untaken(&self) -> u64 {
        self.stream.untaken()
    }

    fn reset_on_close(&self) {
        self.stream.reset_on_close();
    }

    /// Only until something was written; see the head of this file.
    fn knows_delivery(&self) -> bool {
        !self.upload.has_sent() && self.stream.knows_delivery()
    }

    fn was_refused(&self) -> bool {
        self.answer.was_refused()
    }

    fn rest(&mut self) -> bool {
        self.upload = Upload::default();
        // An end that is still to come is looked for again before the next request; anything else is a fault.
        !matches!(self.has_settled(), Poll::Ready(Ok(false) | Err(_))) && self.stream.rest()
    }

    fn is_quiet(&mut self) -> bool {
        matches!(self.has_settled(), Poll::Ready(Ok(true))) && self.stream.is_quiet()
    }
}
