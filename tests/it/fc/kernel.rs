//! What the running kernel tells about a request that failed: the facts on which replays rest.
//!
//! `src/proxy/replay.rs` calls a request undelivered, or unread, because of these. Where one of them does not
//! hold (TCP), the strict rule applies.

use std::io::{ErrorKind, Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};

use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use warmfront::sys;

use super::run_node;
use crate::support::{get, post};

const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

/// What the next read of `ours` says.
fn read(ours: &mut UnixStream) -> Result<usize, ErrorKind> {
    ours.read(&mut [0; 4096]).map_err(|error| error.kind())
}

#[test]
fn fc19_a_first_write_to_a_closed_unix_socket_fails_and_delivered_nothing() {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert_eq!(ours.write(REQUEST).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn fc19_a_unix_socket_that_is_closed_with_bytes_unread_is_reset_and_one_that_was_read_ends() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    ours.write_all(REQUEST).unwrap();
    theirs.read_exact(&mut [0; REQUEST.len()]).unwrap();
    drop(theirs);
    assert_eq!(read(&mut ours), Ok(0), "read to its end: nobody knows what was done with it");
    for taken in [0, 1, REQUEST.len() - 1] {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.write_all(REQUEST).unwrap();
        theirs.read_exact(&mut vec![0; taken]).unwrap();
        drop(theirs);
        // A byte of it left is enough: therefore only one small write counts as unread, and only by switch.
        assert_eq!(read(&mut ours), Err(ErrorKind::ConnectionReset), "{taken} bytes were read");
    }
}

#[test]
fn fc19_a_request_that_nobody_accepted_is_reset_with_its_listener() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("w.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let mut ours = UnixStream::connect(&path).unwrap();
    ours.write_all(REQUEST).unwrap();
    drop(listener);
    assert_eq!(read(&mut ours), Err(ErrorKind::ConnectionReset));
}

#[test]
fn fc19_a_full_backlog_refuses_at_once_instead_of_queueing() {
    let dir = tempfile::tempdir().unwrap();
    let address = SockAddr::unix(dir.path().join("w.sock")).unwrap();
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&address).unwrap();
    listener.listen(1).unwrap();
    let connect = || {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.connect(&address).map(|()| socket)
    };
    let queued: Vec<_> = std::iter::repeat_with(connect).take_while(Result::is_ok).take(10).collect();
    assert!(queued.len() < 10, "the backlog has no end");
    assert_eq!(connect().unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn fc19_a_unix_socket_counts_what_its_reader_has_not_taken() {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    assert_eq!(sys::untaken(ours.as_fd()), 0);
    ours.write_all(REQUEST).unwrap();
    assert!(sys::untaken(ours.as_fd()) > 0);
    theirs.read_exact(&mut [0; REQUEST.len() - 1]).unwrap();
    assert!(sys::untaken(ours.as_fd()) > 0, "the last byte of the block is still there");
    theirs.read_exact(&mut [0; 1]).unwrap();
    assert_eq!(sys::untaken(ours.as_fd()), 0);
}

#[test]
fn fc19_tcp_takes_a_write_that_nobody_will_ever_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let theirs = listener.accept().unwrap().0;
    drop(theirs);
    // The end is here; the kernel takes the request all the same.
    assert_eq!(SockRef::from(&ours).peek(&mut [MaybeUninit::uninit()]).unwrap(), 0);
    assert_eq!(ours.write(REQUEST).unwrap(), REQUEST.len());
}

#[test]
fn fc19_over_tcp_no_post_is_sent_again_whatever_the_switches_say() {
    let setup = run_node(
        "let posts = 0; const server = http.createServer((q, s) => {\n\
           if (q.method === 'POST') { log('executed'); return s.socket.resetAndDestroy(); }\n\
           s.end('x'); });",
    );
    let sidecar =
        setup.flag("--transport", "tcp").flag("--workers", "1").set("replay.unread", "true").start();
    let mut client = sidecar.client();
    for round in 1..=5 {
        // On a connection that has served, as well as on a new one.
        assert_eq!(client.ask(get("/")).text(), "x");
        assert_eq!(client.ask(post("/", "hi")).status(), 502);
        assert_eq!(sidecar.stdout.wait_for_count("executed", round).len(), round);
    }
}
