//! What happened how often and how long it took, since the process began.
//!
//! The one way to count. What is rare has a [`Count`]; requests are counted by what became of them, and what
//! takes time goes into buckets. Each thread counts for itself (`cells`), so nothing here costs more than a
//! few plain instructions; `admin` adds up when somebody asks. The counts are also said in one line at the
//! end of the process, and upon USR1.

use std::fmt::Write as _;
use std::time::Duration;

use super::access::{Outcome, Start};
use super::buckets::{BUCKETS, bucket_of};
use super::cells::{Ledger, Page};

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count {
            $($(#[$doc])* $variant,)*
        }

        const NAMES: &[&str] = &[$($name),*];
    };
}

counts! {
    /// A request sent again: provably nothing of it had been delivered.
    ReplayUndelivered = "replays_undelivered",
    /// A request sent again: a worker closed its Unix socket with bytes of it unread.
    ReplayUnread = "replays_unread",
    /// A request sent again: it met a reused connection as it closed.
    ReplayReused = "replays_reused",
    /// A request not sent again because `replay.budget` was spent.
    ReplayRefused = "replays_refused",
    /// A thaw.
    Thaw = "thaws",
    /// An idle connection to a worker that was given up at a thaw.
    IdleGivenUp = "idle_given_up",
    /// An answer's head over the platform's limit.
    LargeHead = "large_heads",
    /// A client connection that its client ended between requests, or within a head.
    ClientClosed = "client_closes",
    /// A line, of a worker or of our own, that was dropped because nobody took our output.
    LineLost = "lines_lost",
    /// A connection from a client.
    ClientOpened = "client_connections",
    /// The end of one.
    ClientEnded = "client_connections_ended",
    /// A connection to a worker.
    WorkerOpened = "worker_connections",
    /// A request on a connection to a worker that had served before.
    WorkerReused = "worker_connections_reused",
    /// A byte received from a client within a request.
    Received = "bytes_received",
    /// A byte for a client within an answer.
    Sent = "bytes_sent",
    /// Refused: `queue.depth`.
    ShedDepth = "shed_queue_depth",
    /// Refused: `queue.bytes`.
    ShedBytes = "shed_queue_bytes",
    /// Refused: `queue.timeout`.
    ShedLate = "shed_queue_timeout",
    /// Refused: no worker ever became ready.
    ShedNotStarted = "shed_not_started",
    /// Refused: the instance is stopping.
    ShedStopping = "shed_stopping",
    /// Failed: no connection to a worker.
    FailedConnect = "failed_worker_connect",
    /// Failed: the worker hung up.
    FailedClosed = "failed_worker_closed",
    /// Failed: the worker speaks another protocol.
    FailedProtocol = "failed_worker_protocol",
    /// Failed: a data plane has not had the function answer.
    FailedPlane = "failed_plane",
    /// Failed: the worker's answer is not HTTP.
    FailedResponse = "failed_worker_response",
    /// Failed: the client's chunks are malformed.
    FailedBody = "failed_request_body",
    /// Failed: `limits.body_bytes`.
    FailedLargeBody = "failed_large_body",
    /// Failed: `limits.body_timeout`.
    FailedSlowBody = "failed_body_timeout",
    /// Failed: `limits.head_timeout`.
    FailedSlowHead = "failed_head_timeout",
    /// A head refused: not as RFC 9112 writes it.
    BadSyntax = "refused_syntax",
    /// A head refused: a length that is no number.
    BadLength = "refused_length",
    /// A head refused: two lengths.
    BadLengths = "refused_repeated_length",
    /// A head refused: a length and a coding.
    BadLengthAndCoding = "refused_length_and_coding",
    /// A head refused: a coding that nobody knows.
    BadCoding = "refused_unknown_coding",
    /// A head refused: two codings.
    BadCodings = "refused_repeated_coding",
    /// A head refused: a coding in HTTP/1.0.
    BadCodingInHttp10 = "refused_coding_in_http10",
    /// A head refused: none or several Host fields.
    BadHost = "refused_host",
    /// A head refused: a Host field that names no host.
    BadHostValue = "refused_host_value",
    /// A head refused: two hosts.
    BadHostConflict = "refused_host_conflict",
    /// A head refused: the target's form, authority or fragment.
    BadTarget = "refused_target",
    /// A head refused: the version.
    BadVersion = "refused_version",
    /// A head refused: `limits.target_bytes`.
    BadTargetLength = "refused_target_bytes",
    /// A head refused: `limits.head_bytes`.
    BadHeadLength = "refused_head_bytes",
    /// A head refused: `limits.fields`.
    BadFields = "refused_fields",
    /// A head refused: CONNECT.
    BadConnect = "refused_connect",
    /// A span that a collector has taken.
    SpanSent = "spans_exported",
    /// A span that was dropped: no collector took it in time, or it refused it.
    SpanLost = "spans_lost",
    /// `/initialize` answered with 200.
    InitializeDone = "initialize_done",
    /// `/initialize` answered otherwise, or not at all.
    InitializeFailed = "initialize_failed",
    /// `/pre-freeze` answered with 200.
    PreFreezeDone = "pre_freeze_done",
    /// `/pre-freeze` answered otherwise, or not at all.
    PreFreezeFailed = "pre_freeze_failed",
    /// `/pre-stop` answered with 200.
    PreStopDone = "pre_stop_done",
    /// `/pre-stop` answered otherwise, or not at all.
    PreStopFailed = "pre_stop_failed",
}

/// The first so many are said in every line, zero or not.
const ALWAYS_SAID: usize = Count::LineLost as usize + 1;

/// How requests may start.
pub const STARTS: [Start; 3] = [Start::Cold, Start::Warm, Start::Thawed];

/// How requests may end.
pub const OUTCOMES: [Outcome; 4] = [Outcome::Served, Outcome::Local, Outcome::ClientGone, Outcome::Aborted];

/// What statuses are counted as; the first is none at all.
pub const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed {
    /// From a request's head to the end of its answer.
    Whole(Start),
    /// From a request's head to the head of its answer.
    FirstByte(Start),
    /// In the line.
    Queue,
    /// Opening a connection to a worker.
    Connect,
}

impl Timed {
    const COUNT: usize = 2 * STARTS.len() + 2;

    fn index(self) -> usize {
        match self {
            Self::Whole(start) => start as usize,
            Self::FirstByte(start) => STARTS.len() + start as usize,
            Self::Queue => 2 * STARTS.len(),
            Self::Connect => 2 * STARTS.len() + 1,
        }
    }

    /// Its first bucket; behind the last one is the sum in nanoseconds.
    fn cell(self) -> usize {
        TIMES_AT + self.index() * (BUCKETS + 1)
    }
}

// The cells of a thread, in this order.
const REQUESTS_AT: usize = NAMES.len();
const TIMES_AT: usize = REQUESTS_AT + STARTS.len() * OUTCOMES.len() * CLASSES.len();
const CELLS: usize = TIMES_AT + Timed::COUNT * (BUCKETS + 1);

static LEDGER: Ledger<CELLS> = Ledger::new();

thread_local! {
    static PAGE: Page<CELLS> = LEDGER.open();
}

fn put<const N: usize>(news: [(usize, u64); N]) {
    if PAGE.try_with(|page| news.iter().for_each(|&(cell, many)| page.add(cell, many))).is_err() {
        news.iter().for_each(|&(cell, many)| LEDGER.add(cell, many));
    }
}

/// Counts one more.
pub fn count(what: Count) {
    add(what, 1);
}

/// Counts so many more.
pub fn add(what: Count, many: u64) {
    put([(what as usize, many)]);
}

/// A connection of a client, counted when it begins and when this is dropped.
#[derive(Debug)]
pub struct Counted(());

impl Counted {
    /// It begins.
    pub fn client() -> Self {
        count(Count::ClientOpened);
        Self(())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        count(Count::ClientEnded);
    }
}

/// Counts a request that has ended.
pub fn request(start: Start, outcome: Outcome, status: u16) {
    put([(request_cell(start, outcome, class_of(status)), 1)]);
}

/// Counts bytes from and for a client.
pub fn bytes(received: usize, sent: usize) {
    put([(Count::Received as usize, received as u64), (Count::Sent as usize, sent as u64)]);
}

/// Notes how long something took.
pub fn time(what: Timed, period: Duration) {
    let nanos = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    put([(what.cell() + bucket_of(nanos), 1), (what.cell() + BUCKETS, nanos)]);
}

/// How often it happened.
pub fn counted(what: Count) -> u64 {
    LEDGER.sums(what as usize..what as usize + 1)[0]
}

/// Everything that was counted, added up at one moment.
#[derive(Clone, Debug)]
pub struct Totals(Vec<u64>);

/// How long something took, over all times.
#[derive(Clone, Copy, Debug)]
pub struct Times<'a> {
    /// How many were in each bucket of `buckets`, and no longer than its bound.
    pub buckets: &'a [u64],
    /// All of them together.
    pub sum: Duration,
}

impl Totals {
    /// What has been counted until now.
    pub fn now() -> Self {
        Self(LEDGER.sums(0..CELLS))
    }

    /// How often it happened.
    pub fn count(&self, what: Count) -> u64 {
        self.0[what as usize]
    }

    /// Requests that began and ended so, with a status of `CLASSES[class]`.
    pub fn requests(&self, start: Start, outcome: Outcome, class: usize) -> u64 {
        self.0[request_cell(start, outcome, class)]
    }

    /// How long it took.
    pub fn times(&self, what: Timed) -> Times<'_> {
        let (buckets, sum) = self.0[what.cell()..=what.cell() + BUCKETS].split_at(BUCKETS);
        Times { buckets, sum: Duration::from_nanos(sum[0]) }
    }
}

fn request_cell(start: Start, outcome: Outcome, class: usize) -> usize {
    REQUESTS_AT + (start as usize * OUTCOMES.len() + outcome as usize) * CLASSES.len() + class
}

/// The index in [`CLASSES`]. Statuses have three digits, and those of workers may begin with any.
fn class_of(status: u16) -> usize {
    usize::from(status / 100).min(CLASSES.len() - 1)
}

/// Every counter that there always was, and those that are not zero, as `name=value`, in one line without its end.
pub fn line() -> String {
    let mut line = String::new();
    for (index, (name, value)) in NAMES.iter().zip(LEDGER.sums(0..NAMES.len())).enumerate() {
        if value > 0 || index < ALWAYS_SAID {
            let gap = if line.is_empty() { "" } else { " " };
            // Writing to a String cannot fail.
            let _ = write!(line, "{gap}{name}={value}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_is_in_the_line_under_its_own_name() {
        let before = counted(Count::LargeHead);
        count(Count::LargeHead);
        assert!(counted(Count::LargeHead) > before);
        let line = line();
        assert!(line.split(' ').count() >= ALWAYS_SAID);
        assert_eq!(NAMES[Count::LineLost as usize], "lines_lost");
        assert!(line.contains("large_heads=") && !line.contains("large_heads=0"), "{line}");
    }

    #[test]
    fn a_time_is_in_its_bucket_and_in_the_sum() {
        let what = Timed::FirstByte(Start::Thawed);
        let before = Totals::now();
        time(what, Duration::from_micros(120));
        time(what, Duration::from_secs(3600));
        let after = Totals::now();
        let more = |bucket: usize| after.times(what).buckets[bucket] - before.times(what).buckets[bucket];
        assert_eq!((more(11), more(BUCKETS - 1)), (1, 1));
        assert_eq!(after.times(what).sum - before.times(what).sum, Duration::from_micros(3_600_000_120));
    }

    #[test]
    fn no_two_things_share_a_cell() {
        let mut cells: Vec<usize> = (0..NAMES.len()).collect();
        for start in STARTS {
            for outcome in OUTCOMES {
                cells.extend((0..CLASSES.len()).map(|class| request_cell(start, outcome, class)));
            }
        }
        let timed = [Timed::Queue, Timed::Connect].into_iter();
        let timed = timed.chain(STARTS.map(Timed::Whole)).chain(STARTS.map(Timed::FirstByte));
        cells.extend(timed.flat_map(|what| what.cell()..=what.cell() + BUCKETS));
        cells.sort_unstable();
        assert_eq!(cells, (0..CELLS).collect::<Vec<_>>());
    }

    #[test]
    fn a_status_is_counted_by_its_first_digit() {
        let class = |status| CLASSES[class_of(status)];
        assert_eq!(
            [0, 101, 204, 304, 404, 503, 999].map(class),
            ["none", "1xx", "2xx", "3xx", "4xx", "5xx", "5xx"]
        );
    }
}
