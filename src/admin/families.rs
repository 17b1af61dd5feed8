//! Every metric, once: its name, its kind, its labels, what it tells.
//!
//! What is scraped, what is described to Prometheus and `docs/metrics.md` all come from here. Names and units are
//! by the conventions of Prometheus: base units, `_total` for what only grows. Labels are bounded: words from
//! this program, numbers of workers and names of functions that exist, nothing else that a request says.

use self::Kind::{Counter, Gauge, Histogram};

/// One metric with all its series.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What tells its series apart, with the values of each.
    pub labels: &'static [(&'static str, &'static str)],
    /// One sentence, as Prometheus is told it.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up, from zero.
    Counter,
    /// Up and down.
    Gauge,
    /// Durations in buckets from 100 µs to 30 s.
    Histogram,
}

impl Kind {
    /// The word of the text format.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

const START: (&str, &str) = ("start", "cold, warm, thawed");
const WORKER: (&str, &str) = ("worker", "1 to workers.count");
const FUNCTION: (&str, &str) = ("function", "names in noslate.profiles or that have answered, 1,000 at most");
const SIDE: (&str, &str) = ("side", "client, worker");

macro_rules! families {
    ($($id:ident = $kind:ident $name:literal [$($label:expr),*] $help:literal;)*) => {
        $(
            pub(super) static $id: Family =
                Family { name: $name, kind: $kind, labels: &[$($label),*], help: $help };
        )*
        /// All of them, in the order in which they are told.
        pub static ALL: &[&Family] = &[$(&$id),*];
    };
}

families! {
    REQUESTS = Counter "warmfront_requests_total"
        [START, ("outcome", "served, local, client_gone, aborted"), ("status", "none, 1xx, 2xx, 3xx, 4xx, 5xx")]
        "Requests that have ended, by how they started, how they ended, and the status that the client got.";
    DURATION = Histogram "warmfront_request_duration_seconds" [START]
        "From a request's head to the end of its answer, for requests that a worker answered.";
    FIRST_BYTE = Histogram "warmfront_request_first_byte_seconds" [START]
        "From a request's head to the head of its answer, for requests that a worker answered.";
    IN_FLIGHT = Gauge "warmfront_requests_in_flight" []
        "Requests that hold a slot.";
    SLOTS = Gauge "warmfront_slots" []
        "Slots of workers that are ready.";
    QUEUE_DEPTH = Gauge "warmfront_queue_depth" []
        "Requests that wait for a slot.";
    QUEUE_LIMIT = Gauge "warmfront_queue_limit" []
        "Requests that may wait for a slot (queue.depth).";
    QUEUE_BYTES = Gauge "warmfront_queue_bytes" []
        "Bytes that waiting requests hold.";
    QUEUE_WAIT = Histogram "warmfront_queue_wait_seconds" []
        "How long requests waited that had to, until they got a slot, were refused or left.";
    CONNECT = Histogram "warmfront_worker_connect_seconds" []
        "How long it took to open a connection to a worker.";
    RECEIVED = Counter "warmfront_received_bytes_total" []
        "Bytes of requests, from clients.";
    SENT = Counter "warmfront_sent_bytes_total" []
        "Bytes of answers, for clients.";
    SHED = Counter "warmfront_shed_requests_total"
        [("reason", "queue_depth, queue_bytes, queue_timeout, not_started, stopping")]
        "Requests that the gate refused with 503.";
    FAILURES = Counter "warmfront_failed_requests_total"
        [("reason", "worker_connect, worker_closed, worker_protocol, plane, worker_response, request_body, body_bytes, body_timeout, head_timeout")]
        "Requests that failed before an answer began, and were answered by the proxy.";
    REFUSED = Counter "warmfront_refused_heads_total"
        [("rule", "syntax, length, repeated_length, length_and_coding, unknown_coding, repeated_coding, coding_in_http10, host, host_value, host_conflict, target, version, target_bytes, head_bytes, fields, connect")]
        "Request heads that were refused, by the rule that they broke.";
    REPLAYS = Counter "warmfront_replays_total" [("reason", "undelivered, unread, reused")]
        "Requests that were sent to a worker again, by what makes that safe.";
    REPLAYS_REFUSED = Counter "warmfront_replays_refused_total" []
        "Requests that were not sent again because replay.budget was spent.";
    FUNCTION_REQUESTS = Counter "warmfront_function_requests_total"
        [FUNCTION, ("fate", "answered, failed, refused, late, cut, left")]
        "Requests for a function of Noslate that have ended, by what became of them.";
    FUNCTION_COLD = Counter "warmfront_function_cold_requests_total" [FUNCTION]
        "Requests for a function of Noslate that had no worker when they came.";
    FUNCTION_SECONDS = Counter "warmfront_function_seconds_total" [FUNCTION]
        "How long all requests for a function of Noslate have taken together.";
    FUNCTION_WORKERS = Gauge "warmfront_function_workers" [FUNCTION, ("state", "starting, active")]
        "Workers of a function of Noslate, as its control plane counts them.";
    PLANE_READY = Gauge "warmfront_plane_ready" [("plane", "data plane 0 and on, control plane")]
        "Whether a plane of Noslate is there and well.";
    ABANDONED = Gauge "warmfront_abandoned_calls" []
        "Calls that go on in Noslate's data planes though their clients have left.";
    HOOKS = Counter "warmfront_hooks_total" [("hook", "initialize, pre_freeze, pre_stop"), ("result", "done, failed")]
        "Hooks of the platform that were answered: with 200, or otherwise or not at all.";
    CONNECTIONS = Gauge "warmfront_connections" [SIDE]
        "Connections that are open.";
    CONNECTIONS_OPENED = Counter "warmfront_connections_opened_total" [SIDE]
        "Connections that were opened; requests by those of clients tell how clients reuse them. To HTTP/2 workers each stream is one.";
    CONNECTIONS_REUSED = Counter "warmfront_worker_connections_reused_total" []
        "Requests on a connection to a worker that had served before; by what was opened, the reuse ratio.";
    IDLE_GIVEN_UP = Counter "warmfront_idle_connections_given_up_total" []
        "Idle connections to workers that were given up because of a freeze.";
    CLIENT_CLOSES = Counter "warmfront_client_closes_total" []
        "Connections that their clients ended between requests, or within a head.";
    LARGE_HEADS = Counter "warmfront_large_heads_total" []
        "Answers whose head is over the platform's limit of 8 KiB.";
    LINES_LOST = Counter "warmfront_lost_log_lines_total" []
        "Lines, of workers and of our own, that were dropped because nobody took our output.";
    SPANS = Counter "warmfront_spans_total" [("result", "exported, lost")]
        "Spans of requests: those that the collector took, and those that were dropped because it did not (trace.otlp).";
    PHASE = Gauge "warmfront_phase" [("phase", "starting, ready, draining, stopped")]
        "What the process is doing as a whole: 1 for that, 0 for the others.";
    READY = Gauge "warmfront_ready" []
        "Whether /ready says yes.";
    PAUSED = Gauge "warmfront_paused" []
        "Whether the gate lets nobody in because the admin was told to pause it.";
    FREEZES = Counter "warmfront_freezes_total" []
        "Freezes of the process that were noticed.";
    FROZEN = Counter "warmfront_frozen_seconds_total" []
        "How long all freezes were together.";
    LAST_FREEZE = Gauge "warmfront_last_freeze_seconds" []
        "How long the last freeze was.";
    WORKER_STATE = Gauge "warmfront_worker_state"
        [WORKER, ("state", "backoff, starting, ready, suspect, retiring, stopping, stopped")]
        "Where a worker is in its life: 1 for that, 0 for the others.";
    WORKER_SLOTS = Gauge "warmfront_worker_slots" [WORKER]
        "Requests that a worker may hold at once.";
    WORKER_IN_FLIGHT = Gauge "warmfront_worker_requests_in_flight" [WORKER]
        "Requests that a worker holds.";
    WORKER_SERVED = Counter "warmfront_worker_requests_total" [WORKER]
        "Requests that a worker was given, in all its lives.";
    WORKER_RESTARTS = Counter "warmfront_worker_restarts_total" [WORKER]
        "Starts of a worker behind the first.";
    WORKER_EXITS = Counter "warmfront_worker_exits_total" [WORKER]
        "Ends of a worker that nobody asked for.";
    WORKER_READY = Gauge "warmfront_worker_start_seconds" [WORKER]
        "How long a worker's last start took, until it accepted.";
    WORKER_RSS = Gauge "warmfront_worker_resident_memory_bytes" [WORKER]
        "Resident memory of a worker's process group; what its processes share counts for each.";
    WORKER_PSS = Gauge "warmfront_worker_proportional_memory_bytes" [WORKER]
        "The same, with shared pages divided among those who share them; looked at every ten seconds at most.";
    WORKER_CPU = Counter "warmfront_worker_cpu_seconds_total" [WORKER]
        "Processor time of a worker's process group, in this life.";
    WORKER_FDS = Gauge "warmfront_worker_open_fds" [WORKER]
        "Descriptors that a worker's process group holds.";
    WORKER_PROCESSES = Gauge "warmfront_worker_processes" [WORKER]
        "Processes in a worker's group.";
    BUILD = Gauge "warmfront_build_info" [("version", "of warmfront"), ("arch", "of the processor")]
        "Always 1; its labels tell which build runs.";
    PROCESS_CPU = Counter "process_cpu_seconds_total" []
        "Processor time of the sidecar itself.";
    PROCESS_RSS = Gauge "process_resident_memory_bytes" []
        "Resident memory of the sidecar itself.";
    PROCESS_VIRTUAL = Gauge "process_virtual_memory_bytes" []
        "Address space of the sidecar itself.";
    PROCESS_FDS = Gauge "process_open_fds" []
        "Descriptors that the sidecar itself holds.";
    PROCESS_FDS_MAX = Gauge "process_max_fds" []
        "Descriptors that the sidecar itself may hold.";
    PROCESS_START = Gauge "process_start_time_seconds" []
        "When the sidecar was started, in seconds since 1970.";
}
