//! The resolved configuration: every field valid, typed, with unit and default.
//!
//! Nothing here is optional because nobody said anything; defaults were applied
//! and contradictions reported before a [`Config`] exists (`resolve`). Rooms get
//! the part they need, never the whole.

pub mod admin;
pub mod full;
pub mod keys;
pub mod layers;
pub mod load;
pub mod nearest;
pub mod noslate;
pub mod php;
pub mod platform;
pub mod processes;
pub mod resolve;
pub mod schema;
pub mod show;
pub mod statuses;
pub mod trace;
pub mod units;

mod file;
mod guess;
mod read;
mod references;
mod secret;

pub use admin::{Admin, AdminPlace};
pub use noslate::Noslate;
pub use php::{Php, PhpFpm};
pub use platform::{Platform, Readiness, Replay};
pub use processes::Processes;
pub use secret::{Token, is_secret};
pub use trace::{Collector, Trace};

use std::ffi::OsString;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that the process was told, after precedence and validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the platform connects to.
    pub listen: Listen,
    /// Data-plane threads; each owns a listener and its idle worker connections.
    pub threads: NonZeroUsize,
    /// How bytes move.
    pub engine: EngineChoice,
    /// Who answers.
    pub workers: Workers,
    /// What is served, if that is PHP behind FastCGI.
    pub php: Option<Php>,
    /// Beside whom we are the front door.
    pub processes: Processes,
    /// How requests wait when every slot is taken.
    pub queue: Queue,
    /// What one connection may cost.
    pub limits: Limits,
    /// What of a request workers do not get.
    pub headers: HeaderPolicy,
    /// Whether answers tell how long their steps took.
    pub server_timing: bool,
    /// Which requests return to the same worker.
    pub affinity: Affinity,
    /// How a request is reported.
    pub access_log: AccessLog,
    /// Which requests are.
    pub reported: Reported,
    /// How the platform is spoken to.
    pub platform: Platform,
    /// What may be sent to a second worker.
    pub replay: Replay,
    /// Where those who run the instance ask about it.
    pub admin: Admin,
    /// Where spans of requests go.
    pub trace: Trace,
    /// How long requests in flight may still run after TERM before they are cut.
    pub drain_deadline: Duration,
}

/// How bytes are to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// By readiness.
    Epoll,
    /// Through an io_uring, by readiness where there is none.
    Uring,
    /// The same, without a complaint.
    Auto,
}

/// The front listener.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Address to bind; the platform needs `0.0.0.0` (it dials the instance address, never loopback).
    pub address: IpAddr,
    /// TCP port; zero lets the system choose (tests).
    pub port: u16,
    /// Connections the kernel may hold before we accept them.
    pub backlog: u32,
    /// Bytes that the kernel holds for a client that reads slowly; its own choice if `None`.
    pub send_buffer: Option<usize>,
    /// How fast it sends.
    pub congestion: Congestion,
}

/// TCP congestion control towards clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Congestion {
    /// One that does not pace towards clients on loopback and private networks, the system's towards others.
    Auto,
    /// The system's.
    System,
    /// This one.
    Named(&'static str),
}

/// The pool of workers.
#[derive(Clone, Debug, PartialEq)]
pub struct Workers {
    /// Where workers come from.
    pub source: WorkerSource,
    /// Concurrent requests one worker may hold.
    pub slots: Slots,
    /// What they speak.
    pub protocol: Protocol,
    /// Bound on one connect to a worker, retries for a full backlog included.
    pub connect_timeout: Duration,
    /// Whether each request tells its worker `x-warmfront-start: cold|warm|thawed`.
    pub tell_start: bool,
    /// How long, from exec, requests are held for the first worker to become ready.
    pub start_deadline: Duration,
    /// How many must be ready before the instance counts as initialised.
    pub readiness: Readiness,
}

/// Concurrent requests one worker may hold, and why that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// At least 1, at most [`Slots::MAX`].
    pub count: u32,
    /// Whether the number was guessed from the command rather than configured.
    pub guessed: bool,
}

impl Slots {
    /// More than any platform sends one instance (FC: 200).
    pub const MAX: u32 = 10_000;
}

/// Where workers come from.
#[derive(Clone, Debug, PartialEq)]
pub enum WorkerSource {
    /// We start and supervise them.
    Spawn(Spawn),
    /// Something else runs them (another container, systemd); one Unix socket each.
    Sockets(Vec<PathBuf>),
    /// The data planes of a Noslate, each of which counts as one worker.
    Noslate(Noslate),
}

impl WorkerSource {
    /// How many workers there are to be.
    pub fn count(&self) -> usize {
        match self {
            Self::Spawn(spawn) => spawn.count,
            Self::Sockets(sockets) => sockets.len(),
            Self::Noslate(noslate) => noslate.data_planes,
        }
    }
}

/// How to start and keep supervised workers. Its `Debug` masks secret variables (`secret`).
#[derive(Clone, PartialEq)]
pub struct Spawn {
    /// Program and arguments; `{socket}`, `{fd}`, `{port}` and `{worker}` are replaced in each. Never empty.
    pub argv: Vec<OsString>,
    /// Why this command and not another, when nobody gave one: said in the start line.
    pub chosen: CommandChoice,
    /// Processes to keep warm, 1 to 512.
    pub count: usize,
    /// How a worker listens.
    pub transport: Transport,
    /// The TCP port that the app believes to be its own.
    pub port: u16,
    /// Added to the inherited environment; the same placeholders are replaced in values.
    pub env: Vec<(String, String)>,
    /// Working directory; ours if `None`.
    pub cwd: Option<PathBuf>,
    /// Parent of the private socket directory.
    pub socket_dir: PathBuf,
    /// From TERM to KILL when a worker is stopped.
    pub grace: Duration,
    /// When one is started again though nothing is wrong with it.
    pub recycle: Recycle,
    /// First and longest pause between restarts of a worker that keeps exiting.
    pub backoff: (Duration, Duration),
    /// Whether their lines name the requests in flight when they were written.
    pub stamp: bool,
    /// How it is started, if it is a php-fpm.
    pub php_fpm: Option<PhpFpm>,
}

/// What a worker may have done before it is started again. Never, where nothing is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recycle {
    /// Requests.
    pub requests: Option<u64>,
    /// Memory that its processes take, in bytes; what they share with others counts in part.
    pub memory: Option<u64>,
}

/// Who chose the worker command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandChoice {
    /// Configured, or given after `--`.
    Given,
    /// Nobody gave one; `/code/bootstrap` exists (the platform's rule, FC custom runtime).
    Bootstrap,
    /// Nobody gave one and there is no bootstrap: this binary as its own worker.
    Demo,
}

/// How a supervised worker listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In the best way that its command allows.
    Auto,
    /// On a Unix socket at the path it is told.
    Socket,
    /// On a Unix socket that it inherits, listening.
    Fd,
    /// On a Unix socket that it takes for its TCP port.
    Shim,
    /// On a loopback TCP port of its own.
    Tcp,
    /// On a Unix socket, as php-fpm.
    FastCgi,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Auto, Self::Socket, Self::Fd, Self::Shim, Self::Tcp, Self::FastCgi];
    /// What they are called, in the same order.
    pub const WORDS: [&'static str; 6] = ["auto", "socket", "fd", "shim", "tcp", "fastcgi"];

    /// What it is called.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

/// What workers speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, until one shows that it speaks HTTP/2.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 without TLS, prior knowledge (RFC 9113 §3.3).
    Http2,
    /// FastCGI: php-fpm.
    FastCgi,
    /// Noslate's gRPC.
    Noslate,
}

/// Bounds of the one waiting line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Requests that may wait.
    pub depth: usize,
    /// Bytes (heads and what came with them) that waiting requests may hold together.
    pub bytes: usize,
    /// Longest wait for a slot while workers are ready.
    pub timeout: Duration,
    /// Once the oldest waiter has waited this long, the newest is served first.
    pub newest_first_after: Duration,
}

/// What one connection or message may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request or response head, start line and fields, in bytes.
    pub head_bytes: usize,
    /// Request target in bytes.
    pub target_bytes: usize,
    /// Header fields per head.
    pub fields: usize,
    /// Largest request body, in bytes as received; any if `None`.
    pub body_bytes: Option<u64>,
    /// Request body bytes read and thrown away so that a connection stays usable after an early answer.
    pub discard_bytes: u64,
    /// One relay buffer; an exchange holds at most two.
    pub buffer_bytes: usize,
    /// Client connections at a time; what the limit of open files allows if `None`.
    pub connections: Option<usize>,
    /// Whether a slot is taken only when the body, or a buffer of it, is here.
    pub collect_requests: bool,
    /// From the first byte of a head to its last; any time if `None`, as in the three below.
    pub head_timeout: Option<Duration>,
    /// For 4 KiB of a request body, or its end.
    pub body_timeout: Option<Duration>,
    /// For 4 KiB of an answer that waits to be taken, or its end.
    pub write_timeout: Option<Duration>,
    /// Between two requests.
    pub idle_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 80 << 10,
            target_bytes: 16 << 10,
            fields: 256,
            body_bytes: None,
            discard_bytes: 64 << 20,
            buffer_bytes: 128 << 10,
            connections: None,
            collect_requests: false,
            head_timeout: None,
            body_timeout: None,
            write_timeout: None,
            idle_timeout: None,
        }
    }
}

/// What of a request workers do not get. All off: every byte passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeaderPolicy {
    /// The platform's temporary credentials stay here.
    pub strip_credentials: bool,
    /// A list of protocols becomes the one that the client spoke.
    pub first_forwarded_proto: bool,
    /// The platform's legacy prefix is taken off the path.
    pub strip_proxy_prefix: bool,
}

impl HeaderPolicy {
    /// Whether there is anything to do.
    pub fn is_on(&self) -> bool {
        self.strip_credentials | self.first_forwarded_proto | self.strip_proxy_prefix
    }
}

/// Which requests return to the same worker, for as long as it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// Where a session's key may stand; the first that finds one decides. Empty: no request is bound.
    pub by: Vec<SessionRule>,
    /// Sessions that are remembered; the least recently used go first.
    pub sessions: usize,
}

/// Where a session's key stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionRule {
    /// The cookie of this name.
    Cookie(String),
    /// The field of this name, in any case.
    Header(String),
}

/// How each finished request is reported on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Not at all; costs nothing.
    Off,
    /// One text line.
    Text,
    /// One JSON object per line, after the date.
    Json,
}

/// Which of the finished requests are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Of those that went well, one in so many; none at all if zero.
    pub one_in: u32,
    /// From here on a request is slow.
    pub slow: Option<Duration>,
}

impl Reported {
    /// Every one.
    pub const ALL: Self = Self { one_in: 1, slow: None };

    /// Whether a request is, that went well or not, took so long and has an id with this hash.
    pub fn has(self, went_well: bool, took: Duration, hash: impl FnOnce() -> u64) -> bool {
        self.one_in == 1
            || !went_well
            || self.slow.is_some_and(|slow| took >= slow)
            || self.one_in != 0 && hash().is_multiple_of(u64::from(self.one_in))
    }
}
