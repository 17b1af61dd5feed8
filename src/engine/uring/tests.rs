use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};

use super::ring::RECEIVED_MAX;
use super::stream::Ringed;
use super::*;
use crate::engine::Stream;
use crate::engine::pipe::PipePool;

/// Runs `test` on a thread with a ring; in a debug build every socket that can use it does.
fn with_ring<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    Uring::run(|| async {
        test().await;
        Ok(())
    })
    .unwrap();
}

fn pair() -> (Ringed<UnixStream>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (Ringed::new(ours), theirs)
}

/// A socket as the kernel has it, and its other end.
fn plain() -> (UnixStream, UnixStream) {
    let (into, out) = UnixStream::pair().unwrap();
    into.set_nonblocking(true).unwrap();
    (into, out)
}

/// Has a receive begun on `stream`, on which nothing has arrived.
fn begin_to_wait(stream: &Ringed<UnixStream>) {
    assert!(stream.poll_readable(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// Lets the ring have its turn until `is_so`.
async fn turns_until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        here::before_park();
        tokio::task::yield_now().await;
    }
}

#[test]
fn this_kernel_can_do_what_the_engine_asks_of_it() {
    probe().unwrap();
}

#[test]
fn a_peek_takes_nothing_and_a_read_takes_everything_up_to_the_end() {
    with_ring(async || {
        let (mut ours, mut theirs) = pair();
        begin_to_wait(&ours);
        theirs.write_all(b"hello").unwrap();
        assert_eq!(poll_fn(|cx| Stream::poll_peek(&mut ours, cx)).await.unwrap(), 1);
        assert!(!ours.rest() && !ours.is_quiet(), "bytes in the ring's hands are bytes");
        let mut bytes = [0; 3];
        ours.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"hel");
        assert_eq!(ours.read(&mut bytes).await.unwrap(), 2);
        assert!(ours.is_quiet());
        begin_to_wait(&ours);
        drop(theirs);
        assert_eq!(poll_fn(|cx| Stream::poll_peek(&mut ours, cx)).await.unwrap(), 0);
        assert_eq!(ours.read(&mut bytes).await.unwrap(), 0);
        assert_eq!(ours.read(&mut bytes).await.unwrap(), 0, "an end stays");
    });
}

#[test]
fn a_message_longer_than_a_buffer_arrives_in_one_read() {
    with_ring(async || {
        let (mut ours, mut theirs) = pair();
        begin_to_wait(&ours);
        let sent: Vec<u8> = (0..3 * RECEIVED_MAX + 1).map(|at| at as u8).collect();
        theirs.write_all(&sent).unwrap();
        let mut received = vec![0; 2 * sent.len()];
        let count = ours.read(&mut received).await.unwrap();
        assert_eq!(received[..count], sent);
    });
}

#[test]
fn what_the_ring_has_got_enters_a_pipe_before_what_the_socket_holds() {
    with_ring(async || {
        let pool = Rc::new(PipePool::default());
        let ((mut ours, mut theirs), (into, mut out)) = (pair(), plain());
        begin_to_wait(&ours);
        let sent: Vec<u8> = (0..3 * RECEIVED_MAX + 1).map(|at| at as u8).collect();
        theirs.write_all(&sent).unwrap();
        let mut received = Vec::new();
        let body = sent.len() - 1;
        while received.len() < body {
            let mut pipe = pool.get().unwrap().unwrap();
            let ahead = (body - received.len()) as u64;
            let count = poll_fn(|cx| Stream::poll_fill_pipe(&mut ours, cx, &mut pipe, ahead)).await.unwrap();
            assert_eq!(pipe.drain(into.as_fd()).unwrap(), count);
            let before = received.len();
            received.resize(before + count, 0);
            out.read_exact(&mut received[before..]).unwrap();
        }
        assert!(received == sent[..body]);
        assert!(!ours.is_quiet(), "a byte too much is not forgotten");
        assert_eq!(ours.read(&mut [0; 9]).await.unwrap(), 1);
        ours.forget_readable();
        assert!(ours.rest() && ours.is_quiet());
    });
}

#[test]
fn bytes_behind_a_body_that_came_with_it_keep_a_stream_from_resting() {
    with_ring(async || {
        let pool = Rc::new(PipePool::default());
        let (mut ours, mut theirs) = pair();
        begin_to_wait(&ours);
        theirs.write_all(b"bodyHTTP/1.1 200 OK").unwrap();
        let mut pipe = pool.get().unwrap().unwrap();
        assert_eq!(poll_fn(|cx| Stream::poll_fill_pipe(&mut ours, cx, &mut pipe, 4)).await.unwrap(), 4);
        ours.forget_readable();
        assert!(!ours.rest() && !ours.is_quiet());
    });
}

#[test]
fn a_pipe_is_emptied_behind_what_was_written_before() {
    with_ring(async || {
        let pool = Rc::new(PipePool::default());
        let ((mut ours, mut theirs), (from, mut source)) = (pair(), plain());
        let mut pipe = pool.get().unwrap().unwrap();
        source.write_all(b"body").unwrap();
        assert_eq!(pipe.fill(from.as_fd(), 4).unwrap(), 4);
        ours.write_all(b"head ").await.unwrap();
        assert_eq!(poll_fn(|cx| Stream::poll_drain_pipe(&mut ours, cx, &mut pipe)).await.unwrap(), 4);
        let mut received = [0; 9];
        theirs.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"head body");
    });
}

#[test]
fn more_messages_than_buffers_all_arrive() {
    with_ring(async || {
        let mut pairs: Vec<_> = (0..200_u8).map(|number| (number, pair())).collect();
        for (number, (ours, theirs)) in &mut pairs {
            begin_to_wait(ours);
            theirs.write_all(&[*number; 100]).unwrap();
        }
        here::before_park();
        for (number, (ours, _)) in &mut pairs {
            let mut received = [0; 200];
            assert_eq!(ours.read(&mut received).await.unwrap(), 100);
            assert!(received[..100].iter().all(|byte| byte == number));
        }
    });
}

#[test]
fn a_socket_that_is_dropped_closes_although_the_ring_waits_on_it() {
    with_ring(async || {
        let (ours, mut theirs) = pair();
        theirs.set_nonblocking(true).unwrap();
        begin_to_wait(&ours);
        here::before_park();
        drop(ours);
        turns_until(|| matches!(theirs.read(&mut [0]), Ok(0))).await;
    });
}

#[test]
fn what_was_written_leaves_although_its_socket_is_dropped_at_once() {
    with_ring(async || {
        let (mut ours, mut theirs) = pair();
        ours.write_all(b"good bye").await.unwrap();
        assert_eq!(ours.untaken(), 8);
        drop(ours);
        let mut received = Vec::new();
        here::before_park();
        theirs.read_to_end(&mut received).unwrap();
        assert_eq!(received, b"good bye");
    });
}

#[test]
fn sockets_that_are_left_to_the_ring_are_closed_with_it() {
    let mut peers = Vec::new();
    with_ring(async || {
        for _ in 0..10 {
            let (ours, theirs) = pair();
            begin_to_wait(&ours);
            peers.push(theirs);
        }
    });
    for mut peer in peers {
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_first_write_of_which_nothing_was_taken_is_known_to_be_refused() {
    with_ring(async || {
        let (mut ours, mut theirs) = pair();
        // Bytes that nobody asked for, in front of the end: no answer to what was refused.
        theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").unwrap();
        drop(theirs);
        ours.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let refused = ours.flush().await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::BrokenPipe);
        assert!(ours.was_refused());
        assert_eq!(ours.read(&mut [0; 64]).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(!ours.is_quiet());
    });
}

#[test]
fn a_later_write_that_fails_proves_nothing() {
    with_ring(async || {
        let (mut ours, mut theirs) = pair();
        ours.write_all(b"first").await.unwrap();
        ours.flush().await.unwrap();
        theirs.read_exact(&mut [0; 5]).unwrap();
        drop(theirs);
        ours.write_all(b"second").await.unwrap();
        ours.flush().await.unwrap_err();
        assert!(!ours.was_refused());
    });
}

#[test]
fn the_ring_has_its_turn_although_other_tasks_never_come_to_an_end() {
    with_ring(async || {
        let ((ours, _silent), mut waiting) = (pair(), pair());
        begin_to_wait(&ours);
        let restless = tokio::task::spawn_local(async move {
            loop {
                let _ = ours.poll_readable(&mut Context::from_waker(Waker::noop()));
                tokio::task::yield_now().await;
            }
        });
        // Both ways: what is sent here and what it is answered with wait for a turn.
        waiting.0.write_all(b"?").await.unwrap();
        let answering = std::thread::spawn(move || {
            waiting.1.read_exact(&mut [0]).unwrap();
            waiting.1.write_all(b"!").unwrap();
        });
        waiting.0.read_exact(&mut [0]).await.unwrap();
        answering.join().unwrap();
        restless.abort();
    });
}

#[test]
fn a_stream_cannot_rest_while_the_ring_has_something_of_it() {
    with_ring(async || {
        let (mut ours, mut theirs) = pair();
        assert!(ours.rest());
        begin_to_wait(&ours);
        assert!(!ours.rest());
        theirs.write_all(b"x").unwrap();
        ours.read_exact(&mut [0]).await.unwrap();
        assert!(ours.rest());
        ours.write_all(b"x").await.unwrap();
        assert!(!ours.rest());
        ours.flush().await.unwrap();
        assert!(ours.rest());
    });
}

#[test]
fn a_writer_waits_for_a_slow_reader_and_loses_nothing() {
    with_ring(async || {
        let (mut ours, theirs) = pair();
        let reader = std::thread::spawn(move || {
            let mut received = Vec::new();
            (&theirs).read_to_end(&mut received).map(|_| received)
        });
        let mut sent = Vec::new();
        for number in 0..2_000_usize {
            let piece = vec![number as u8; 1 + number * 37 % 40_000];
            ours.write_all(&piece).await.unwrap();
            sent.extend_from_slice(&piece);
        }
        poll_fn(|cx| Pin::new(&mut ours).poll_shutdown(cx)).await.unwrap();
        assert!(reader.join().unwrap().unwrap() == sent);
    });
}
