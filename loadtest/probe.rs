//! One client that asks one thing at a time and notes when what came.
//!
//! Blocking, on a thread of its own: what it measures are moments, and a runtime
//! between the kernel and the clock would be in each of them.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::fork::Moment;
use crate::http::{Answer, Reader, parse_answer};
use crate::stop;

/// A connect on loopback is taken or refused at once, unless the backlog is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time without a look at whether to stop.
const SLICE: Duration = Duration::from_millis(50);

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

impl Ask {
    /// As bytes for a server at `target`.
    pub(crate) fn bytes(&self, target: SocketAddr) -> Vec<u8> {
        let (method, path) = (&self.method, &self.path);
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: warmfront-bench\r\n");
        if !self.body.is_empty() || method == "POST" || method == "PUT" {
            head +=
                &format!("Content-Type: application/octet-stream\r\nContent-Length: {}\r\n", self.body.len());
        }
        [(head + "\r\n").as_bytes(), &self.body].concat()
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {} B of content", self.method, self.path, self.body.len())
    }
}

/// A whole answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    pub(crate) answer: Answer,
    /// When its first byte was here.
    pub(crate) first_byte: Moment,
    /// When its last byte was here.
    pub(crate) done: Moment,
}

impl Received {
    /// Whether the app answered as it should.
    pub(crate) fn is_good(&self) -> bool {
        (200..400).contains(&self.answer.status)
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    reader: Reader<Answer>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub(crate) fn open(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&target, CONNECT_TIMEOUT)?;
        if stream.local_addr()? == stream.peer_addr()? {
            // A connect to a free port of the ephemeral range can get that very port as its own.
            return Err(ErrorKind::ConnectionRefused.into());
        }
        stream.set_nodelay(true)?;
        Ok(Self { stream, reader: Reader::new(parse_answer) })
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Whether something, or the end, is here within `limit`.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn wait(&self, limit: Duration) -> io::Result<bool> {
        let limit = Timespec::try_from(limit).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
        match poll(&mut fds, Some(&limit)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(crate) fn receive(&mut self, deadline: Instant) -> Result<Received, String> {
        let mut first_byte = None;
        let mut buffer = [0; 16 << 10];
        loop {
            while !self.wait(SLICE).map_err(|error| error.to_string())? {
                if Instant::now() >= deadline {
                    return Err("no answer in time".into());
                }
                if let Some(why) = stop::reason() {
                    return Err(why.into());
                }
            }
            let count = match self.stream.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err("reset".into()),
                Err(error) => return Err(error.to_string()),
            };
            let now = Moment::now();
            let first = *first_byte.get_or_insert(now);
            if count == 0 {
                let message = self.reader.finish().ok_or("closed without an answer")?;
                return Ok(Received { answer: message.head, first_byte: first, done: now });
            }
            let (taken, message) = self.reader.feed(&buffer[..count]).map_err(|error| error.0)?;
            if let Some(message) = message {
                if taken < count {
                    return Err("bytes behind the answer".into());
                }
                return Ok(Received { answer: message.head, first_byte: first, done: now });
            }
        }
    }

    /// Asks and waits for the answer; the second part is microseconds from the first byte sent to the last received.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(crate) fn ask(&mut self, bytes: &[u8], timeout: Duration) -> Result<(Received, f64), String> {
        let sent = Moment::now();
        self.send(bytes).map_err(|error| format!("not sent: {error}"))?;
        let received = self.receive(Instant::now() + timeout)?;
        Ok((received, received.done.us_since(sent)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn server(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(answer).unwrap();
        });
        address
    }

    fn ask(answer: &'static [u8]) -> Result<(Received, f64), String> {
        let target = server(answer);
        let ask = Ask { method: "POST".into(), path: "/".into(), body: b"x".to_vec() };
        Connection::open(target).unwrap().ask(&ask.bytes(target), Duration::from_secs(5))
    }

    #[test]
    fn an_answer_has_a_first_and_a_last_byte() {
        let (received, us) = ask(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        assert!(received.is_good() && received.first_byte <= received.done && us > 0.0);
        let (received, _) = ask(b"HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n").unwrap();
        assert!(!received.is_good());
    }

    #[test]
    fn a_close_instead_of_an_answer_says_so() {
        assert_eq!(ask(b"").unwrap_err(), "closed without an answer");
        assert_eq!(
            ask(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n").unwrap_err(),
            "closed without an answer"
        );
    }

    #[test]
    fn a_port_that_nobody_listens_on_refuses() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(Connection::open(free).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }
}
