//! Counters that answer one question together, each with the word that tells it from the others: the value of a
//! label in a scrape, a key in JSON.

use crate::telemetry::tally::Count;

/// A counter under its word.
pub(super) type Named = (&'static str, Count);

/// Why the gate refused requests.
pub(super) static SHED: [Named; 5] = [
    ("queue_depth", Count::ShedDepth),
    ("queue_bytes", Count::ShedBytes),
    ("queue_timeout", Count::ShedLate),
    ("not_started", Count::ShedNotStarted),
    ("stopping", Count::ShedStopping),
];

/// Why requests failed before an answer began.
pub(super) static FAILED: [Named; 9] = [
    ("worker_connect", Count::FailedConnect),
    ("worker_closed", Count::FailedClosed),
    ("worker_protocol", Count::FailedProtocol),
    ("plane", Count::FailedPlane),
    ("worker_response", Count::FailedResponse),
    ("request_body", Count::FailedBody),
    ("body_bytes", Count::FailedLargeBody),
    ("body_timeout", Count::FailedSlowBody),
    ("head_timeout", Count::FailedSlowHead),
];

/// Which rule heads broke that were refused.
pub(super) static REFUSED_HEADS: [Named; 16] = [
    ("syntax", Count::BadSyntax),
    ("length", Count::BadLength),
    ("repeated_length", Count::BadLengths),
    ("length_and_coding", Count::BadLengthAndCoding),
    ("unknown_coding", Count::BadCoding),
    ("repeated_coding", Count::BadCodings),
    ("coding_in_http10", Count::BadCodingInHttp10),
    ("host", Count::BadHost),
    ("host_value", Count::BadHostValue),
    ("host_conflict", Count::BadHostConflict),
    ("target", Count::BadTarget),
    ("version", Count::BadVersion),
    ("target_bytes", Count::BadTargetLength),
    ("head_bytes", Count::BadHeadLength),
    ("fields", Count::BadFields),
    ("connect", Count::BadConnect),
];

/// What made it safe to send requests again.
pub(super) static REPLAYS: [Named; 3] = [
    ("undelivered", Count::ReplayUndelivered),
    ("unread", Count::ReplayUnread),
    ("reused", Count::ReplayReused),
];
