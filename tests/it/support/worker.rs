//! A worker that a test plays: it accepts, and the test says what happens next.

use std::io::Read as _;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::ops::{Deref, DerefMut};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use socket2::SockRef;
use tempfile::TempDir;

use super::wire::Wire;
use super::{GUARD, ok};

/// A listening Unix socket and the connections it accepted.
pub(crate) struct Worker {
    path: PathBuf,
    accepted: Receiver<UnixStream>,
    _dir: Option<TempDir>,
}

/// One connection from the sidecar.
pub(crate) struct Connection(Wire<UnixStream>);

/// A request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Start line and fields, blank line included.
    pub(crate) head: String,
    /// The body without its framing.
    pub(crate) body: Vec<u8>,
    /// The trailer section, without the blank line behind it.
    pub(crate) trailers: String,
}

impl Request {
    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).expect("a target")
    }
}

impl Worker {
    /// Listens in a directory of its own.
    pub(crate) fn listen() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("w.sock");
        Self { _dir: Some(dir), ..Self::listen_at(&path) }
    }

    /// Listens at `path`.
    pub(crate) fn listen_at(path: &Path) -> Self {
        let listener = UnixListener::bind(path).expect("a socket");
        let (sender, accepted) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.expect("a connection");
                stream.set_read_timeout(Some(GUARD)).expect("a timeout");
                stream.set_write_timeout(Some(GUARD)).expect("a timeout");
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { path: path.to_owned(), accepted, _dir: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection that carries a request; probes hang up without a byte.
    pub(crate) fn accept(&self) -> Connection {
        loop {
            let stream = self.accepted.recv_timeout(GUARD).expect("a connection from the sidecar");
            let mut connection = Connection(Wire::new(stream));
            if connection.fill().is_ok() {
                return connection;
            }
        }
    }

    /// Takes the next connection that carries a request, and hangs up with all of it but a byte unread.
    pub(crate) fn hang_up_unread(&self) {
        loop {
            let mut stream = self.accepted.recv_timeout(GUARD).expect("a connection from the sidecar");
            if stream.read(&mut [0]).expect("a byte or the end") > 0 {
                return;
            }
        }
    }

    /// Whether no connection but probes has come.
    pub(crate) fn is_untouched(&self) -> bool {
        self.accepted.try_iter().all(|stream| Wire::new(stream).fill().is_err())
    }

    /// Serves every connection on a thread of its own, for as long as the process lives.
    /// Returns how many connections carried a request.
    pub(crate) fn serve(self, play: impl Fn(&mut Connection) + Send + Sync + 'static) -> Served {
        let Self { path, accepted, _dir } = self;
        let count = Arc::new(AtomicUsize::new(0));
        let (play, counter) = (Arc::new(play), Arc::clone(&count));
        thread::spawn(move || {
            for stream in accepted {
                // However long an idle connection rests, it is not an error.
                stream.set_read_timeout(None).expect("no timeout");
                let (play, counter) = (Arc::clone(&play), Arc::clone(&counter));
                thread::spawn(move || {
                    let mut connection = Connection(Wire::new(stream));
                    if connection.fill().is_ok() {
                        counter.fetch_add(1, Ordering::SeqCst);
                        play(&mut connection);
                    }
                });
            }
        });
        Served { path, connections: count, _dir }
    }

    /// Answers every request with `ok(target)`.
    pub(crate) fn echo_targets(self) -> Served {
        self.serve(|connection| {
            while let Some(request) = connection.next_request() {
                connection.send(ok(request.target()));
            }
        })
    }
}

/// A worker that serves by itself.
pub(crate) struct Served {
    path: PathBuf,
    connections: Arc<AtomicUsize>,
    _dir: Option<TempDir>,
}

impl Served {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Connections that carried a request.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Connection {
    /// A whole request.
    pub(crate) fn request(&mut self) -> Request {
        let head = self.head();
        let (body, trailers) = self.body_of(&head);
        Request { head, body, trailers }
    }

    /// The next request, or `None` when the sidecar hangs up between requests.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        if self.is_silent() {
            self.fill().ok()?;
        }
        Some(self.request())
    }
}

impl Connection {
    /// Waits until bytes or the end are there, and takes none.
    pub(crate) fn wait_readable(&self) {
        SockRef::from(&self.stream).peek(&mut [MaybeUninit::uninit()]).expect("bytes");
    }

    /// Closes as a dying process does: what was not read shows as a reset.
    pub(crate) fn close(mut self) {
        let (dummy, _) = UnixStream::pair().expect("a pair");
        drop(std::mem::replace(&mut self.stream, dummy));
    }
}

impl Drop for Connection {
    /// A process that another test is just starting holds copies of all descriptors for a
    /// moment; only a shutdown ends the connection now.
    fn drop(&mut self) {
        // Whoever has hung up already is gone as well.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Deref for Connection {
    type Target = Wire<UnixStream>;

    fn deref(&self) -> &Wire<UnixStream> {
        &self.0
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Wire<UnixStream> {
        &mut self.0
    }
}
