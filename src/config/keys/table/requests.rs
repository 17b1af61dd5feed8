//! Requests: how they wait, what they may cost, how they are reported, and what is asked beside them.

use super::{GIB, KIB, MIB};
use crate::config::keys::Key;
use crate::config::keys::Kind::{
    AutoOr, Choice, Collector, Number, Path, Period, Place, Secret, Size, Switch, Tables, Target, Text, Words,
};
use crate::config::keys::Zero::{Allowed, Refused};
use crate::config::keys::process;
use crate::config::platform::HookMode;

/// Those keys, in the order of the documents.
pub(super) const KEYS: &[Key] = &[
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
        Tables(process::FIELDS),
        "",
        "Processes beside which we are the front door: started in this order, each when the one before is ready.",
    ),
];
