//! Workers: how they are started, and how they listen.

use super::GIB;
use crate::config::keys::Key;
use crate::config::keys::Kind::{
    AutoOr, Choice, Number, Path, Paths, Period, Size, Switch, Variables, Words,
};
use crate::config::keys::Zero::{Allowed, Refused};
use crate::config::{Slots, Transport};

/// Those keys, in the order of the documents.
pub(super) const KEYS: &[Key] = &[
    Key::new(
        "workers.command",
        Words,
        "",
        "Program and arguments of one worker; {socket}, {fd}, {port} and {worker} are replaced. Separated by \
         whitespace in the environment, without quoting. Without it: /code/bootstrap if that exists, else the \
         demo worker.",
    )
    .flag("--"),
    Key::new("workers.count", Number(1, 512), "2", "Worker processes to keep warm.").flag("--workers"),
    Key::new(
        "workers.concurrency",
        AutoOr(1, Slots::MAX as u64),
        "auto",
        "Requests one worker may hold at once. auto: 100 for runtimes known to serve many at once, else 1.",
    )
    .flag("--concurrency"),
    Key::new(
        "workers.transport",
        Choice(&Transport::WORDS),
        "auto",
        "How a worker listens: on the Unix socket it is told (socket) or inherits (fd, shim: without knowing it), on a \
         loopback TCP port of its own, or as php-fpm. auto: the best way that its command allows.",
    )
    .flag("--transport"),
    Key::new(
        "workers.app_port",
        AutoOr(1, 65_535),
        "auto",
        "The TCP port that the app believes to be its own: told to it, and taken from it by the shim. auto: listen.port.",
    )
    .flag("--app-port"),
    Key::new(
        "workers.protocol",
        Choice(&["auto", "http1", "h2", "fastcgi"]),
        "auto",
        "What a worker speaks: HTTP/1.1, HTTP/2 without TLS (gRPC servers), or FastCGI (php-fpm). auto: FastCGI for a \
         command that is php-fpm, else HTTP/1.1 until the worker shows that it speaks HTTP/2.",
    ),
    Key::new(
        "workers.sockets",
        Paths,
        "",
        "Unix sockets of workers that something else runs, instead of a command. Separated by `:` in the \
         environment.",
    )
    .flag("--socket"),
    Key::new(
        "workers.env",
        Variables,
        "",
        "Variables added to each worker's environment; {socket}, {port} and {worker} are replaced in values. \
         Only in the file: workers inherit the rest.",
    ),
    Key::new("workers.cwd", Path, "", "Working directory of the workers. Without it: ours."),
    Key::new(
        "workers.socket_dir",
        Path,
        "",
        "Where the private directory of worker sockets is made. Without it: the system's temporary directory.",
    ),
    Key::new(
        "workers.grace",
        Period(Allowed),
        "10s",
        "Time a stopping worker has from TERM to KILL. 0s kills at once.",
    ),
    Key::new(
        "workers.max_requests",
        Number(0, 1_000_000_000_000),
        "0",
        "Requests behind which a worker is started again, one at a time: it finishes what it has, and no request is \
         lost. For apps that leak. 0: never.",
    ),
    Key::new(
        "workers.max_memory",
        Size(0, 1024 * GIB),
        "0",
        "Memory of a worker and its children with which it is started again likewise; what processes share is divided \
         among them. Looked at each second. 0: never.",
    ),
    Key::new(
        "workers.connect_timeout",
        Period(Refused),
        "5s",
        "Longest time one connect to a worker may take, retries for a full backlog included.",
    ),
    Key::new(
        "workers.tell_start",
        Switch,
        "false",
        "Whether each request tells its worker `x-warmfront-start: cold|warm|thawed`. The demo worker is told anyway.",
    ),
    Key::new(
        "workers.backoff_min",
        Period(Refused),
        "100ms",
        "First pause before a worker that exited is started again; it doubles from there.",
    ),
    Key::new(
        "workers.backoff_max",
        Period(Refused),
        "10s",
        "Longest pause before a worker that keeps exiting is started again.",
    ),
];
