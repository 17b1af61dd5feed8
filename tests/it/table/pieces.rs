//! The same bytes in other segments are the same message: split everywhere, and byte by byte.

use super::case::{Case, GET, OK, case};

#[test]
fn segments_change_nothing() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [singly(), split_everywhere(), answers_singly(), answers_split_everywhere()].concat()
}

const POST: &str = "POST /p HTTP/1.1\r\nHost: a\r\nConnection: x\r\nX: y\r\nContent-Length: 5\r\n\r\nhello";
const POST_RECEIVED: &str = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &str =
    "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;a=\"b\"\r\nok\r\n0\r\nA: b\r\n\r\n";

const DROPPING: &str =
    "GET / HTTP/1.1\r\nConnection: keep-alive\r\nHost: a\r\nx-fc-request-id:\r\nA: b\r\nTE: x\r\n\r\n";
const DROPPING_RECEIVED: &str = "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n";

/// The head arrives as a whole, the body as it comes.
fn in_pieces(name: &str, request: &str, received: &str, len: usize) -> Case {
    case(name, "RFC 9112 §2.2").sends_pieces(request, len).worker_gets(received).answers()
}

fn singly() -> Vec<Case> {
    vec![
        in_pieces("a_get_byte_by_byte_is_a_get", GET, GET, 1),
        in_pieces("a_post_byte_by_byte_is_a_post", POST, POST_RECEIVED, 1),
        in_pieces("chunks_byte_by_byte_are_chunks", CHUNKED, CHUNKED, 1),
        in_pieces("a_post_in_pieces_of_seven_is_a_post", POST, POST_RECEIVED, 7),
        case("two_requests_byte_by_byte_are_two", "RFC 9112 §9.3.2")
            .sends_pieces(GET, 1)
            .worker_gets(GET)
            .answers()
            .sends_pieces(POST, 1)
            .worker_gets(POST_RECEIVED)
            .answers(),
        case("a_bad_head_byte_by_byte_is_refused", "RFC 9112 §6.1")
            .sends_pieces(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                1,
            )
            .gets_refusal(400),
        case("a_bare_lf_byte_by_byte_is_refused", "RFC 9112 §2.2")
            .sends_pieces("GET / HTTP/1.1\nHost: a\n\n", 1)
            .gets_refusal(400),
    ]
}

/// One case for every place at which `request` can be split.
fn split(name: &str, request: &str, received: &str) -> Case {
    // One script: a case each would count the same promise many times.
    (1..request.len()).fold(case(name, "RFC 9112 §2.2"), |case, at| {
        case.sends(&request[..at]).sends(&request[at..]).worker_gets(received).answers()
    })
}

fn split_everywhere() -> Vec<Case> {
    vec![
        split("a_get_split_anywhere_is_a_get", GET, GET),
        split("a_post_split_anywhere_is_a_post", POST, POST_RECEIVED),
        split("chunks_split_anywhere_are_chunks", CHUNKED, CHUNKED),
        split("a_request_with_fields_to_drop_split_anywhere_is_one", DROPPING, DROPPING_RECEIVED),
    ]
}

fn answers_singly() -> Vec<Case> {
    let row = |name: &str, answer: &str, received: &str, len: usize| {
        case(name, "RFC 9112 §2.2").asks().worker_says_pieces(answer, len).client_gets(received)
    };
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nA: b\r\n\r\n";
    vec![
        row("an_answer_byte_by_byte_is_an_answer", OK, OK, 1),
        row("a_chunked_answer_byte_by_byte_is_one", chunked, chunked, 1),
        row(
            "an_interim_answer_byte_by_byte_is_one",
            &["HTTP/1.1 103 X\r\nConnection: a\r\nA: b\r\n\r\n", OK].concat(),
            &["HTTP/1.1 103 X\r\n\r\n", OK].concat(),
            1,
        ),
        row(
            "an_answer_with_fields_to_drop_byte_by_byte_is_one",
            "HTTP/1.1 200 OK\r\nKeep-Alive: 5\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
            OK,
            1,
        ),
    ]
}

fn answers_split_everywhere() -> Vec<Case> {
    let split = |name: &str, answer: &str, received: &str| {
        (1..answer.len()).fold(case(name, "RFC 9112 §2.2"), |case, at| {
            case.asks().worker_says(&answer[..at]).worker_says(&answer[at..]).client_gets(received)
        })
    };
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    vec![
        split("an_answer_split_anywhere_is_one", OK, OK),
        split("a_chunked_answer_split_anywhere_is_one", chunked, chunked),
    ]
}
