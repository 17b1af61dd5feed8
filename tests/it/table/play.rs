//! Plays cases against the built sidecar: one client, one worker, one order of events.
//!
//! The sidecar has one data-plane thread and one slot, so what happens has one order and nothing needs
//! to be waited for but bytes. "Nothing reaches the worker" is proved by what comes next: every case ends
//! with a request on the client's connection (if it stays) and one on a connection of its own, and
//! whatever the worker got before them, or on another connection than the script allows, fails the case.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tempfile::TempDir;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use super::case::{Case, Limits, Local, Match, OK, Step, compare, with_id};
use super::strict::Strict;
use crate::support::{End, Setup, Sidecar, get};

/// Longest wait for bytes that should be there at once.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same where something that the script does not know has happened already.
const DOUBT: Duration = Duration::from_millis(250);
/// So many failures tell enough of one category.
const FAILURES_MAX: usize = 12;
/// The variable that names the one case to play.
pub(super) const ONE: &str = "WARMFRONT_CASE";

/// Plays the cases of one category; panics with everything that failed.
pub(super) fn play(cases: Vec<Case>) {
    let wanted = std::env::var(ONE).ok();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut failures = Vec::new();
    for limits in [Limits::Default, Limits::Small] {
        let mut lane = None;
        let chosen =
            |case: &&Case| case.limits == limits && wanted.as_ref().is_none_or(|name| *name == case.name);
        for case in cases.iter().filter(chosen) {
            if failures.len() >= FAILURES_MAX {
                break;
            }
            runtime.block_on(async {
                let seat = lane.get_or_insert_with(|| Lane::start(limits));
                if let Err(why) = seat.play(case).await {
                    failures.push(format!("{} ({})\n{why}", case.name, case.reference));
                    // Nobody knows what is still on its way: the next case starts anew.
                    lane = None;
                }
            });
        }
    }
    assert!(failures.is_empty(), "{} cases failed:\n\n{}", failures.len(), failures.join("\n\n"));
}

/// One sidecar, its worker and the client that speaks to it.
struct Lane {
    listener: UnixListener,
    /// The worker's connection, in use or idle.
    worker: Option<Peer<UnixStream>>,
    /// Connections behind it.
    others: Vec<Peer<UnixStream>>,
    client: Option<Peer<TcpStream>>,
    sidecar: Sidecar,
    _dir: TempDir,
}

/// One connection and what came on it.
struct Peer<S> {
    stream: S,
    /// Received and not yet asked for by the script.
    received: Vec<u8>,
    end: Option<End>,
    strict: Strict,
    /// Bytes and whole requests that the script has asked for.
    taken: usize,
    requests: usize,
    /// Whether the script is within a request.
    within: bool,
    /// Whether its protocol was switched: it speaks no HTTP any more.
    is_tunnel: bool,
}

impl<S> Peer<S> {
    fn new(stream: S) -> Self {
        let (received, strict) = (Vec::new(), Strict::default());
        Self { stream, received, end: None, strict, taken: 0, requests: 0, within: false, is_tunnel: false }
    }

    /// Whether it holds a request that the script has not asked for, or has ended.
    fn is_ahead(&self) -> bool {
        self.end.is_some() || self.strict.ends().len() > self.requests
    }

    /// Takes `len` bytes, which must be the rest of exactly one request if `whole`, else less than that.
    fn consume(&mut self, len: usize, whole: bool) -> Result<(), String> {
        self.received.drain(..len);
        if self.is_tunnel {
            return Ok(());
        }
        self.taken += len;
        self.within = !whole;
        let end = self.strict.ends().get(self.requests).copied();
        if whole {
            self.requests += 1;
            return if end == Some(self.taken) {
                Ok(())
            } else {
                Err("these are no whole request".to_owned())
            };
        }
        let within = end.is_none_or(|end| end > self.taken);
        if within { Ok(()) } else { Err("these are a whole request".to_owned()) }
    }
}

/// The two kinds of socket, as far as the lane is concerned.
trait Socket {
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>>;
    fn try_take(&self, room: &mut [u8]) -> std::io::Result<usize>;
}

impl Socket for TcpStream {
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn try_take(&self, room: &mut [u8]) -> std::io::Result<usize> {
        self.try_read(room)
    }
}

impl Socket for UnixStream {
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.poll_read_ready(cx)
    }

    fn try_take(&self, room: &mut [u8]) -> std::io::Result<usize> {
        self.try_read(room)
    }
}

impl<S: Socket> Peer<S> {
    /// Takes everything that is there; whether there was anything.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> bool {
        let mut room = [0; 16 << 10];
        let mut moved = false;
        while self.end.is_none() && self.stream.poll_ready(cx).is_ready() {
            match self.stream.try_take(&mut room) {
                Ok(0) => self.end = Some(End::Clean),
                Ok(count) => self.received.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(_) => self.end = Some(End::Reset),
            }
            moved = true;
        }
        moved
    }
}

impl Lane {
    fn start(limits: Limits) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("w.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let mut setup = Setup::forward(&[&path])
            .flag("--threads", "1")
            .flag("--concurrency", "1")
            .flag("--access-log", "off");
        if limits == Limits::Small {
            for (key, value) in super::SMALL {
                setup = setup.set(key, value);
            }
        }
        let sidecar = setup.start();
        Self { listener, worker: None, others: Vec::new(), client: None, sidecar, _dir: dir }
    }

    async fn play(&mut self, case: &Case) -> Result<(), String> {
        let mut before = None;
        for (index, step) in case.steps.iter().enumerate() {
            let speaker = match step {
                Step::Send(_) => Some("client"),
                Step::WorkerSays(_) | Step::WorkerSwitches(_) => Some("worker"),
                _ => None,
            };
            if speaker.is_some() && speaker == before {
                self.fence().await?;
            }
            before = speaker;
            self.step(step).await.map_err(|why| {
                let (of, seen) = (case.steps.len(), self.seen());
                format!("  step {} of {of}, {}: {why}\n{seen}", index + 1, shown_step(step))
            })?;
        }
        self.finish().await.map_err(|why| format!("  behind the script: {why}\n{}", self.seen()))
    }

    /// What must hold after every case: a client that was not sent away is served, and so is the next one.
    async fn finish(&mut self) -> Result<(), String> {
        if self.client.is_some() {
            self.exchange("/again").await.map_err(|why| format!("the client's connection: {why}"))?;
            self.client = None;
        }
        self.exchange("/health").await.map_err(|why| format!("the next client: {why}"))?;
        self.client = None;
        let worker = self.worker.as_ref().ok_or("no worker connection")?;
        match worker.received.is_empty() && worker.end.is_none() && self.others.is_empty() {
            true => Ok(()),
            false => Err("the worker got more than the script says".to_owned()),
        }
    }

    async fn exchange(&mut self, target: &str) -> Result<(), String> {
        for step in [
            Step::Send(get(target).into()),
            Step::WorkerGets(get(target).into()),
            Step::WorkerSays(OK.into()),
            Step::ClientGets(OK.into()),
        ] {
            self.step(&step).await?;
        }
        Ok(())
    }

    async fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Send(bytes) => self.send(bytes).await,
            Step::Quiet => self.quiet().await,
            Step::Leave => self.client.take().map(drop).ok_or_else(|| "no client".to_owned()),
            Step::WorkerGets(bytes) => self.worker_gets(bytes, true).await,
            Step::WorkerGetsPart(bytes) => self.worker_gets(bytes, false).await,
            Step::WorkerSays(bytes) | Step::WorkerSwitches(bytes) => {
                let worker = self.worker.as_mut().ok_or("no worker connection")?;
                worker.is_tunnel |= matches!(step, Step::WorkerSwitches(_));
                worker.stream.write_all(bytes).await.map_err(|error| format!("not taken: {error}"))
            }
            Step::WorkerCloses => {
                self.worker = None;
                Ok(())
            }
            Step::WorkerResets => self.worker_resets().await,
            Step::WorkerEnds => self.worker_ends(true).await,
            Step::WorkerCut => self.worker_ends(false).await,
            Step::ClientGets(bytes) => self.client_gets(bytes).await,
            Step::ClientGetsLocal(local) => self.client_gets_local(local).await,
            Step::ClientEnds => self.client_ends(End::Clean).await,
            Step::ClientReset => self.client_ends(End::Reset).await,
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        if self.client.is_none() {
            self.client = Some(Peer::new(self.connect().await?));
        }
        let client = self.client.as_mut().expect("just made");
        let sent = timeout(PATIENCE, client.stream.write_all(bytes)).await;
        sent.map_err(|_| "the client's bytes are not read".to_owned())?
            .map_err(|error| format!("the client cannot send: {error}"))
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let connected = TcpStream::connect(("127.0.0.1", self.sidecar.port)).await;
        let stream = connected.map_err(|error| format!("the port does not accept: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(stream)
    }

    /// Returns when everything sent before was read: one thread takes what came first first.
    async fn fence(&mut self) -> Result<(), String> {
        let mut fence = Peer::new(self.connect().await?);
        fence.stream.write_all(b"no request\r\n\r\n").await.map_err(|error| error.to_string())?;
        let whole = async {
            while fence.end.is_none() {
                poll_fn(|cx| if fence.poll_take(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
            }
        };
        timeout(PATIENCE, whole).await.map_err(|_| "the fence was not answered".to_owned())?;
        match fence.received.starts_with(b"HTTP/1.1 400 ") {
            true => Ok(()),
            false => Err(format!("the fence was answered with {}", shown(&fence.received))),
        }
    }

    async fn quiet(&mut self) -> Result<(), String> {
        self.fence().await?;
        // Whatever the fence had to stand behind is here by now.
        poll_fn(|cx| match self.poll_news(cx) {
            Poll::Ready(Err(why)) => Poll::Ready(Err(why)),
            _ => Poll::Ready(Ok(())),
        })
        .await?;
        let is_quiet = |received: &[u8], end: Option<End>| received.is_empty() && end.is_none();
        let client = self.client.as_ref().is_none_or(|peer| is_quiet(&peer.received, peer.end));
        let worker = self.worker.as_ref().is_none_or(|peer| is_quiet(&peer.received, peer.end));
        match client && worker && self.others.is_empty() {
            true => Ok(()),
            false => Err("somebody got something".to_owned()),
        }
    }

    /// Waits until `done` says so, taking in what comes on all connections.
    async fn until<T>(
        &mut self,
        mut done: impl FnMut(&mut Self) -> Result<Option<T>, String>,
        doubt: impl Fn(&Self) -> bool,
    ) -> Result<T, String> {
        loop {
            self.follow_worker();
            if let Some(value) = done(self)? {
                return Ok(value);
            }
            let patience = if doubt(self) { DOUBT } else { PATIENCE };
            let news = timeout(patience, poll_fn(|cx| self.poll_news(cx))).await;
            news.map_err(|_| "it does not come".to_owned())??;
        }
    }

    /// Takes in everything that has come, the worker's side first: what the client got before is seen then, too.
    fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let mut moved = false;
        while let Poll::Ready(accepted) = self.listener.poll_accept(cx) {
            let (stream, _) = accepted.map_err(|error| error.to_string())?;
            self.others.push(Peer::new(stream));
        }
        for peer in self.worker.iter_mut().chain(&mut self.others) {
            let before = peer.received.len();
            if peer.poll_take(cx) {
                moved = true;
                let news = &peer.received[before..];
                if peer.is_tunnel {
                    continue;
                }
                peer.strict.feed(news).map_err(|why| format!("no request for a worker: {why}"))?;
            }
        }
        // Whoever only looks whether somebody accepts says nothing and leaves.
        self.others.retain(|peer| peer.end.is_none() || !peer.received.is_empty());
        let is_used = self.others.iter().any(|peer| !peer.received.is_empty());
        if is_used && self.worker.as_ref().is_some_and(|worker| worker.end.is_none()) {
            return Poll::Ready(Err("a request on a new connection beside the one there is".to_owned()));
        }
        if let Some(client) = &mut self.client {
            moved |= client.poll_take(cx);
        }
        if moved { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Where the worker has no connection, the one with a request becomes it.
    fn follow_worker(&mut self) {
        if self.worker.is_none() {
            let at = self.others.iter().position(|peer| !peer.received.is_empty());
            self.worker = at.map(|at| self.others.remove(at));
        }
    }

    async fn worker_gets(&mut self, bytes: &[u8], whole: bool) -> Result<(), String> {
        let mut expected = None;
        self.until(
            |lane| {
                let Some(worker) = &mut lane.worker else { return Ok(None) };
                // A request gets an id on its way.
                let is_rest = worker.within || worker.is_tunnel;
                let wanted = || if is_rest { bytes.to_vec() } else { with_id(bytes) };
                let expected = expected.get_or_insert_with(wanted);
                match compare(expected, &worker.received) {
                    Match::No => Err(differs(expected, &worker.received)),
                    Match::Partly if worker.end.is_some() => Err("the connection ended".to_owned()),
                    Match::Partly => Ok(None),
                    Match::Whole(len) => worker.consume(len, whole).map(Some),
                }
            },
            |lane| {
                lane.client.as_ref().is_some_and(|client| !client.received.is_empty() || client.end.is_some())
            },
        )
        .await
    }

    async fn worker_resets(&mut self) -> Result<(), String> {
        let unread = async {
            loop {
                // Its bytes must stay unread, so the connection is looked for and not read.
                let stream = match self.worker.take() {
                    Some(worker) => worker.stream,
                    None => self.listener.accept().await?.0,
                };
                // Closed with bytes unread: the kernel makes a reset of it. Who said nothing was no request.
                if has_bytes(&stream).await? {
                    return Ok::<_, std::io::Error>(());
                }
            }
        };
        let seen = timeout(PATIENCE, unread).await;
        seen.map_err(|_| "no request".to_owned())?.map_err(|error| error.to_string())
    }

    async fn worker_ends(&mut self, whole: bool) -> Result<(), String> {
        self.until(
            |lane| {
                let Some(worker) = &lane.worker else { return Err("no worker connection".to_owned()) };
                match worker.end {
                    None => Ok(None),
                    Some(_) if !worker.received.is_empty() => Err("bytes before the end".to_owned()),
                    Some(_) if worker.strict.is_between_requests() != whole => {
                        Err(format!("the end came {} a request", if whole { "within" } else { "behind" }))
                    }
                    Some(_) => Ok(Some(())),
                }
            },
            |_| false,
        )
        .await?;
        self.worker = None;
        Ok(())
    }

    async fn client_gets(&mut self, expected: &[u8]) -> Result<(), String> {
        self.until(
            |lane| {
                let Some(client) = &mut lane.client else { return Err("no client".to_owned()) };
                match compare(expected, &client.received) {
                    Match::No => Err(differs(expected, &client.received)),
                    Match::Partly if client.end.is_some() => Err("the connection ended".to_owned()),
                    Match::Partly => Ok(None),
                    Match::Whole(len) => {
                        client.received.drain(..len);
                        Ok(Some(()))
                    }
                }
            },
            |lane| lane.worker.as_ref().is_some_and(Peer::is_ahead),
        )
        .await
    }

    async fn client_gets_local(&mut self, local: &Local) -> Result<(), String> {
        self.until(
            |lane| {
                let Some(client) = &mut lane.client else { return Err("no client".to_owned()) };
                let len = local_len(local, &client.received)?;
                if len.is_none() && client.end.is_some() {
                    return Err("the connection ended".to_owned());
                }
                Ok(len.map(|len| {
                    client.received.drain(..len);
                }))
            },
            |lane| lane.worker.as_ref().is_some_and(Peer::is_ahead),
        )
        .await
    }

    async fn client_ends(&mut self, how: End) -> Result<(), String> {
        self.until(
            |lane| {
                let Some(client) = &lane.client else { return Err("no client".to_owned()) };
                match client.end {
                    _ if !client.received.is_empty() => Err("bytes before the end".to_owned()),
                    Some(end) if end == how => Ok(Some(())),
                    Some(end) => Err(format!("it ended otherwise: {end:?}")),
                    None => Ok(None),
                }
            },
            |lane| lane.worker.as_ref().is_some_and(Peer::is_ahead),
        )
        .await?;
        self.client = None;
        Ok(())
    }

    /// What came and was not asked for.
    fn seen(&self) -> String {
        let client = self.client.as_ref().map(|peer| (&peer.received, peer.end));
        let worker = self.worker.as_ref().map(|peer| (&peer.received, peer.end));
        let line = |who: &str, peer: Option<(&Vec<u8>, Option<End>)>| match peer {
            Some((received, end)) => format!("  {who} holds: {} (end: {end:?})", shown(received)),
            None => format!("  {who}: no connection"),
        };
        format!("{}\n{}", line("client", client), line("worker", worker))
    }
}

/// Waits for bytes, taking none; false at the end.
async fn has_bytes(stream: &UnixStream) -> std::io::Result<bool> {
    loop {
        stream.readable().await?;
        let mut byte = [MaybeUninit::uninit()];
        match stream.try_io(Interest::READABLE, || SockRef::from(stream).peek(&mut byte)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            peeked => return peeked.map(|count| count > 0),
        }
    }
}

/// The length of the answer of warmfront's own at the start of `bytes`; `None` while it is incomplete.
fn local_len(local: &Local, bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(head_len) = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&bytes[..head_len]).into_owned();
    let value = |name: &str| {
        let line = head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_default().to_owned()
    };
    let (status, phrase, reason) = (local.status, phrase(local.status), local.reason);
    let (length, id) = (value("Content-Length"), value("x-fc-request-id"));
    let allow = if status == 405 || status == 200 {
        "Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n"
    } else {
        ""
    };
    let failed = if status >= 400 { "x-fc-status: 404\r\n" } else { "" };
    let close = if local.closes { "Connection: close\r\n" } else { "" };
    let expected = format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         x-fc-request-id: {id}\r\nx-warmfront-reason: {reason}\r\n{failed}{allow}{close}\r\n"
    );
    if head != expected || id.is_empty() {
        return Err(differs(expected.as_bytes(), bytes));
    }
    if local.to_head {
        return Ok(Some(head_len));
    }
    let length: usize = length.parse().map_err(|_| format!("Content-Length {length:?}"))?;
    let Some(body) = bytes.get(head_len..head_len + length) else { return Ok(None) };
    let (start, end) = (format!("{status} {phrase}: "), format!("\nrequest id: {id}\n"));
    if !body.starts_with(start.as_bytes()) || !body.ends_with(end.as_bytes()) {
        return Err(differs(format!("{start}...{end}").as_bytes(), body));
    }
    Ok(Some(head_len + length))
}

/// RFC 9110 §15, RFC 6585 §5.
fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        405 => "Method Not Allowed",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        505 => "HTTP Version Not Supported",
        other => panic!("which phrase has {other}?"),
    }
}

fn differs(expected: &[u8], seen: &[u8]) -> String {
    format!("other bytes\n    expected: {}\n    seen:     {}", shown(expected), shown(seen))
}

/// Escaped, and cut where it gets long.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 600;
    let text = bytes[..bytes.len().min(MOST)].escape_ascii();
    let more = if bytes.len() > MOST { format!("... ({} bytes)", bytes.len()) } else { String::new() };
    format!("\"{text}\"{more}")
}

fn shown_step(step: &Step) -> String {
    match step {
        Step::Send(bytes) => format!("client sends {}", shown(bytes)),
        Step::WorkerGets(bytes) => format!("worker gets {}", shown(bytes)),
        Step::WorkerGetsPart(bytes) => format!("worker gets a part {}", shown(bytes)),
        Step::WorkerSays(bytes) => format!("worker says {}", shown(bytes)),
        Step::WorkerSwitches(bytes) => format!("worker switches with {}", shown(bytes)),
        Step::ClientGets(bytes) => format!("client gets {}", shown(bytes)),
        other => format!("{other:?}"),
    }
}
