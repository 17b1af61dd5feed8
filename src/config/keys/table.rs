//! The list of keys: what each is called, takes, defaults to and is for.

use super::Key;
use super::Kind::{
    Address, AutoOr, Choice, Collector, Number, Path, Paths, Period, Place, Secret, Size, Switch, Tables,
    Target, Text, Variables, Words,
};
use super::Zero::{Allowed, Refused};
use crate::config::Slots;
use crate::config::noslate::Noslate;
use crate::config::platform::HookMode;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Every key, in the order of the documents.
pub const KEYS: &[Key] = &[
    Key::new(
        "listen.address",
        Address,
        "0.0.0.0",
        "Address to bind. The platform dials the instance address, so loopback would never be reached.",
    ),
    Key {
        platform_env: &["FC_CUSTOM_LISTEN_PORT", "FC_SERVER_PORT"],
        ..Key::new(
            "listen.port",
            Number(0, 65_535),
            "9000",
            "TCP port to bind; 0 lets the system choose. Order: flag, WARMFRONT_LISTEN_PORT, \
             FC_CUSTOM_LISTEN_PORT, FC_SERVER_PORT, file, default.",
        )
        .flag("--port")
    },
    Key::new(
        "listen.backlog",
        Number(1, 65_535),
        "4096",
        "Connections the kernel holds before they are accepted. The system may lower it (net.core.somaxconn).",
    ),
    Key::new(
        "listen.send_buffer",
        Size(0, 64 * MIB),
        "0",
        "Kernel buffer for what a client has not read yet, in bytes; an answer that fits frees its worker at \
         once. 0: the system's choice, which follows the client's speed. It may be capped (net.core.wmem_max).",
    ),
    Key::new(
        "listen.congestion",
        Choice(&["auto", "system", "cubic", "reno", "bbr"]),
        "auto",
        "TCP congestion control towards clients. BBR, some systems' choice, spaces out what is sent: that costs much of \
         a large download, and wins nothing on loopback. auto: cubic for clients on loopback and private networks, \
         as the platform's gateway is, the system's for others.",
    ),
    Key::new(
        "threads",
        AutoOr(1, 256),
        "auto",
        "Data-plane threads. auto: 1 for up to 2 CPUs, then one per CPU up to 4.",
    )
    .flag("--threads"),
    Key::new(
        "engine",
        Choice(&["epoll", "uring", "auto"]),
        "epoll",
        "How bytes move. uring: small messages of busy threads go through an io_uring, the rest as with epoll. It \
         needs a build with the feature `uring` and a kernel that allows it, else epoll serves and a line says so. \
         auto: uring where it can be had.",
    )
    .flag("--engine"),
    Key::new(
        "upstream",
        Choice(&["http", "noslate"]),
        "http",
        "Who answers. http: the workers of [workers]. noslate: the functions of a Noslate, through its data planes' \
         Unix sockets; [noslate] says the rest.",
    )
    .flag("--upstream"),
    Key::new(
        "workers.command",
        Words,
        "",
        "Program and arguments of one worker; {socket}, {port} and {worker} are replaced. Separated by \
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
        Choice(&["socket", "tcp"]),
        "socket",
        "How a worker listens: on the Unix socket it is told, or on a loopback TCP port of its own.",
    )
    .flag("--transport"),
    Key::new(
        "workers.protocol",
        Choice(&["auto", "http1", "h2"]),
        "auto",
        "What a worker speaks: HTTP/1.1, or HTTP/2 without TLS (gRPC servers). auto: HTTP/1.1 until the worker \
         shows that it speaks HTTP/2.",
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
    Key {
        platform_env: &["NOSLATED_WORKDIR"],
        ..Key::new(
            "noslate.workdir",
            Path,
            "/.noslate/noslated",
            "Directory in whose `socks/` the planes have their sockets: dp-0.sock, cp-0.sock.",
        )
    },
    Key {
        platform_env: &["NOSLATED_DATA_PLANE_COUNT"],
        ..Key::new(
            "noslate.data_planes",
            Number(1, Noslate::DATA_PLANES_MAX),
            "1",
            "How many data planes there are: dp-0.sock and on. Each request goes to the one with the fewest.",
        )
    },
    Key::new(
        "noslate.control",
        Switch,
        "true",
        "Whether the control plane is looked after: readiness waits for it, and it gets noslate.profiles and \
         noslate.env, again whenever it has come back. false: somebody else does.",
    ),
    Key::new(
        "noslate.dispatch",
        Words,
        "header:x-noslated-dispatch path:/invoke/",
        "Where a request may name its function: `header:NAME`, a field that holds [function:|service:]NAME, or \
         `path:/PREFIX/`, behind which the name stands and then the function's own path. The first that does decides.",
    ),
    Key::new(
        "noslate.target",
        Text,
        "",
        "What requests are for that name none: function:NAME or service:NAME. Empty: they get 404.",
    ),
    Key::new(
        "noslate.url",
        Choice(&["relative", "absolute"]),
        "relative",
        "What functions get as their URL: path and query, or the whole of it with scheme and host, as aworker needs it.",
    ),
    Key::new(
        "noslate.timeout",
        Period(Refused),
        "10s",
        "How long a request may wait, in the data plane, for a worker and for the head of its answer. Bodies may take \
         any time.",
    ),
    Key::new(
        "noslate.baggage",
        Words,
        "",
        "Fields that functions get as baggage too, under the same name in lower case.",
    ),
    Key::new(
        "noslate.show_errors",
        Switch,
        "false",
        "Whether answers to failed requests hold what the function and the plane said, stacks included. For \
         development: strangers learn from it.",
    ),
    Key::new(
        "noslate.profiles",
        Path,
        "",
        "File of function profiles, JSON as Noslate's SDK takes it. Checked at the start, given to the control plane, \
         verified, and given again whenever it has come back. Without it: what somebody else has set stays.",
    ),
    Key::new(
        "noslate.services",
        Path,
        "",
        "File of service profiles, JSON as Noslate's SDK takes it, for every data plane.",
    ),
    Key::new(
        "noslate.env",
        Variables,
        "",
        "Variables that every function gets. Names that begin with NOSLATE_ or NOSLATED_ are Noslate's own.",
    ),
    Key::new("noslate.inspect", Words, "", "Functions that run with an inspector."),
    Key::new(
        "noslate.clear_on_stop",
        Switch,
        "false",
        "Whether the control plane is told, behind the last request, that there are no functions any more: workers \
         then end before the instance does, which takes about 3 s.",
    ),
    Key::new(
        "start.deadline",
        Period(Refused),
        "110s",
        "How long requests are held for the first worker to become ready, counted from its start. FC itself \
         gives up after 120s.",
    ),
    Key::new(
        "start.ready",
        Choice(&["all", "first"]),
        "all",
        "How many warm workers /initialize waits for before it is answered with 200.",
    ),
    Key::new(
        "queue.depth",
        Number(0, 1_000_000),
        "1024",
        "Requests that may wait for a slot. 0 refuses what cannot be served at once.",
    ),
    Key::new(
        "queue.bytes",
        Size(4 * KIB, 64 * GIB),
        "64MiB",
        "Bytes that waiting requests may hold together: heads and what came with them.",
    ),
    Key::new(
        "queue.timeout",
        Period(Allowed),
        "30s",
        "Longest wait for a slot while workers are ready. 0s never waits.",
    ),
    Key::new(
        "queue.newest_first_after",
        Period(Allowed),
        "1s",
        "Once the oldest request has waited this long, the newest is served first. 0s always does.",
    ),
    Key::new(
        "limits.head_bytes",
        Size(KIB, 16 * MIB),
        "80KiB",
        "Longest head of a request or response: start line and fields, in bytes. Room for 64 KiB of fields beside \
         the target.",
    ),
    Key::new("limits.target_bytes", Size(64, 16 * MIB), "16KiB", "Longest request target, in bytes."),
    Key::new("limits.fields", Number(16, 512), "256", "Most header fields in one head."),
    Key::new(
        "limits.body_bytes",
        Size(0, 1024 * GIB),
        "0",
        "Largest request body, in bytes as received, the framing of chunks included; larger ones get 413. 0: any.",
    ),
    Key::new(
        "limits.discard_bytes",
        Size(0, 1024 * GIB),
        "64MiB",
        "Request body bytes that are read and thrown away after an early answer, so that the connection stays \
         usable.",
    ),
    Key::new(
        "limits.buffer_bytes",
        Size(4 * KIB, 64 * MIB),
        "128KiB",
        "One relay buffer, in bytes; an exchange holds at most two. A head must fit into one.",
    ),
    Key::new(
        "limits.connections",
        AutoOr(1, 1_000_000),
        "auto",
        "Client connections at a time; further ones wait in the kernel (listen.backlog). auto: what the limit of \
         open files allows beside the workers' connections.",
    ),
    Key::new(
        "limits.collect_requests",
        Switch,
        "false",
        "Whether a request takes a slot only once its whole body, or limits.buffer_bytes of it, is here: a slow \
         sender then costs a buffer and no worker. Not for bodies that are to be answered while they come.",
    ),
    Key::new(
        "limits.head_timeout",
        Period(Allowed),
        "0s",
        "Longest time from the first byte of a head to its last. 0s: any.",
    ),
    Key::new(
        "limits.body_timeout",
        Period(Allowed),
        "0s",
        "Within this time a client must send 4 KiB of a request body, or its end. 0s: any pace.",
    ),
    Key::new(
        "limits.write_timeout",
        Period(Allowed),
        "0s",
        "Within this time a client must take 4 KiB of an answer that waits for it, or its end. 0s: any pace.",
    ),
    Key::new(
        "limits.idle_timeout",
        Period(Allowed),
        "0s",
        "How long a connection may rest between requests. 0s: for ever, as the platform needs it: whoever closes \
         first loses a request.",
    ),
    Key::new(
        "headers.strip_credentials",
        Switch,
        "false",
        "Whether the platform's temporary credentials (x-fc-access-key-id, x-fc-access-key-secret, \
         x-fc-security-token) are kept from workers.",
    ),
    Key::new(
        "headers.first_forwarded_proto",
        Switch,
        "false",
        "Whether workers get `X-Forwarded-Proto: http,http`, as the platform sends it, as its first item. \
         Frameworks that take the list for a scheme build `http,http://host/`.",
    ),
    Key::new(
        "headers.strip_proxy_prefix",
        Switch,
        "false",
        "Whether `/2016-08-15/proxy/SERVICE/FUNCTION`, with which targets of the platform's legacy URL begin, is \
         taken off.",
    ),
    Key::new(
        "headers.server_timing",
        Switch,
        "false",
        "Whether answers of workers get `Server-Timing: queue;dur=…, connect;dur=…, app;dur=…` in milliseconds, and \
         `cold` or `thawed` behind it where it was so. Browsers show it; the worker's own fields stay.",
    ),
    Key::new(
        "affinity.by",
        Words,
        "",
        "What makes requests one session, which returns to the same worker for as long as that lives: \
         `cookie:NAME`, `header:NAME`, or `mcp` for the header Mcp-Session-Id; the first that a request has \
         decides. Without it: no request is bound.",
    ),
    Key::new(
        "affinity.sessions",
        Number(1, 1_000_000),
        "10000",
        "Sessions that are remembered; the least recently used go first. About 100 bytes each.",
    ),
    Key::new(
        "log.access",
        Choice(&["text", "json", "off"]),
        "text",
        "How each finished request is reported on stdout.",
    )
    .flag("--access-log"),
    Key::new(
        "log.sample",
        AutoOr(0, 1_000_000),
        "auto",
        "Of requests that went well, one in so many is reported: chosen by its id, so the same in every process. 0: \
         none. auto: every one, or with log.slow none but the slow ones. Failures always are: refused, cut off, left \
         by the client, answered with 5xx, failed events.",
    ),
    Key::new(
        "log.slow",
        Period(Allowed),
        "0s",
        "Requests that take at least this long are reported whatever log.sample says. 0s: none counts as slow.",
    ),
    Key::new(
        "log.stamp",
        Switch,
        "true",
        "Whether a worker's line names the request that was in flight on it when it was written, or all of them \
         if there were several. Only for workers we start.",
    ),
    Key {
        platform_env: &["NOSLATE_LOGDIR"],
        ..Key::new("log.process_dir", Path, "", "Where processes ([[process]]) that name no file have their log.")
    },
    Key::new(
        "log.markers",
        Choice(&["auto", "on", "off"]),
        "auto",
        "Whether `FC Invoke Start RequestId: …` and its like are written to stdout. auto: for requests that name a \
         service (x-fc-service-name), because the platform's third version, which has none, writes them itself.",
    ),
    Key::new(
        "hooks.initialize",
        Choice(HookMode::WORDS),
        "answer",
        "Who answers POST /initialize. answer: we do, with 200 when the workers are warm (start.ready), else 404. \
         forward, fanout: we do, once one worker, or every worker, has answered it as well. off: it is a request \
         like any other.",
    ),
    Key::new(
        "hooks.initialize_deadline",
        Period(Refused),
        "60s",
        "How long each worker has for /initialize, where workers are asked, counted from the moment they are warm.",
    ),
    Key::new(
        "hooks.pre_freeze",
        Choice(HookMode::WORDS),
        "answer",
        "Who answers GET /pre-freeze. answer: we do, with 200 as soon as every log line has been written. forward, \
         fanout, off: as for hooks.initialize.",
    ),
    Key::new(
        "hooks.pre_freeze_deadline",
        Period(Refused),
        "3s",
        "How long each worker has for /pre-freeze, where workers are asked.",
    ),
    Key::new(
        "hooks.pre_stop",
        Choice(HookMode::WORDS),
        "answer",
        "Who answers GET /pre-stop. answer: we do, with 200 when no request is in flight any more, or \
         drain.deadline is over. forward, fanout, off: as for hooks.initialize.",
    ),
    Key::new(
        "hooks.pre_stop_deadline",
        Period(Refused),
        "3s",
        "How long each worker has for /pre-stop, where workers are asked, counted from the end of the drain.",
    ),
    Key::new(
        "hooks.restart",
        Switch,
        "false",
        "Whether a hook that a worker answers with 5xx is answered with 500: the platform then restarts the \
         instance, whatever is in flight. false: with 404, a failure that it reports and survives.",
    ),
    Key::new(
        "health.path",
        Target,
        "/_warmfront/health",
        "The path that tells the pool's state: 200 while a worker is ready, else 503. It needs no slot and is not \
         logged. Empty: none.",
    ),
    Key::new(
        "events.path",
        Target,
        "",
        "The path under which workers take events (POST /invoke). Empty: unchanged.",
    ),
    Key::new(
        "events.failed",
        Words,
        "",
        "Statuses of workers that make an event a failed invocation, such as 5xx or 429: the answer gets \
         `x-fc-status: 404`, unless the worker has set that itself. Without it none does.",
    ),
    Key::new(
        "thaw.path",
        Target,
        "",
        "After a thaw every worker gets a POST with this path, beside the requests that come. Empty: none does.",
    ),
    Key::new(
        "replay.methods",
        Choice(&["safe", "idempotent"]),
        "safe",
        "Methods that are sent again when a worker most likely did not execute them. safe: GET, HEAD, OPTIONS, TRACE. \
         idempotent: PUT and DELETE as well. What provably reached no worker is sent again whatever its method.",
    ),
    Key::new(
        "replay.idempotency_key",
        Switch,
        "true",
        "Whether a request with Idempotency-Key or X-Idempotency-Key counts as such a method.",
    ),
    Key::new(
        "replay.unread",
        Switch,
        "false",
        "Whether any request is sent again, POST included, that was one write of at most 4 KiB to a Unix socket \
         which the worker closed with bytes unread. A server that reads in blocks has then read nothing of it.",
    ),
    Key::new(
        "replay.budget",
        Number(0, 100),
        "20",
        "Such replays for every hundred requests, counted over ten seconds, ten at least. 0: none, but for what \
         provably reached no worker.",
    ),
    Key::new(
        "admin.listen",
        Place,
        "",
        "Where the admin listens: an address such as 127.0.0.1:9901, or the path of a Unix socket such as \
         /run/warmfront.sock, which only this user may then use. Empty: nowhere, and nothing is measured for it.",
    )
    .flag("--admin"),
    Key::new(
        "admin.remote",
        Switch,
        "false",
        "Whether the admin may listen on an address that others can reach. Beyond /live, /ready and /metrics they \
         need admin.token.",
    ),
    Key::new(
        "admin.token",
        Secret,
        "",
        "What a call must bear (`Authorization: Bearer …`) that changes something and does not come through a Unix \
         socket; 16 characters at least. Workers do not inherit it. Without it no such call is served.",
    ),
    Key::new(
        "trace.otlp",
        Collector,
        "",
        "Where spans of requests and hooks go by OTLP over HTTP (protobuf), such as http://127.0.0.1:4318; `/v1/traces` \
         is added. It needs a build with the feature `otlp`. Empty: nowhere.",
    ),
    Key::new(
        "trace.sample",
        Number(0, 1_000_000),
        "1",
        "Of so many requests that come without a trace one is traced. 0: none. Where a caller names its trace, its \
         word counts, sampled or not.",
    ),
    Key::new(
        "trace.service",
        Text,
        "",
        "The name under which the spans appear. Empty: the function's (FC_FUNCTION_NAME), else warmfront.",
    ),
    Key::new(
        "drain.deadline",
        Period(Allowed),
        "25s",
        "How long requests in flight may still run after TERM, and how long /pre-stop waits for them. 0s: not at all.",
    ),
    // Last: behind the head of a table no key of the top can follow.
    Key::new(
        "process",
        Tables(super::process::FIELDS),
        "",
        "Processes beside which we are the front door: started in this order, each when the one before is ready.",
    ),
];
