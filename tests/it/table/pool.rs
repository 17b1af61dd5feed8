//! A worker's connection is used again only when nothing on it can belong to anybody: no bytes behind an
//! answer, no rest of a request, no answer that came unasked. So nobody gets what was meant for another.

use super::case::{Case, GET, OK, answered, case};

#[test]
fn nobody_gets_an_answer_that_was_meant_for_another() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [used_again(), bytes_behind(), unsolicited(), early(), closes(), resets(), departures()].concat()
}

const NEXT: &str = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
const STRAY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";

fn used_again() -> Vec<Case> {
    let again = |name: &str, answer: &str, received: &str| {
        answered(name, "RFC 9112 §9.3", answer, received).sends(NEXT).worker_gets(NEXT).answers()
    };
    let same = |name: &str, answer: &str| again(name, answer, answer);
    vec![
        same("a_connection_is_used_again_behind_a_length", OK),
        same(
            "a_connection_is_used_again_behind_chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        same("a_connection_is_used_again_behind_a_204", "HTTP/1.1 204 No Content\r\n\r\n"),
        same(
            "a_connection_is_used_again_behind_a_304",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
        ),
        same("a_connection_is_used_again_behind_a_500", "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno"),
        again(
            "a_connection_of_http_1_0_is_used_again_if_it_stays",
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
            OK,
        ),
        case("clients_take_turns_on_one_connection", "RFC 9112 §9.3")
            .sends("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .worker_gets(GET)
            .answers_and_closes()
            .sends("POST /p HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
            .worker_gets(POST)
            .answers_and_closes()
            .sends(NEXT)
            .worker_gets(NEXT)
            .answers(),
    ]
}

fn bytes_behind() -> Vec<Case> {
    let row = |name: &str, answer: &str, behind: &str| {
        answered(name, "RFC 9112 §6.3, response queue poisoning", [answer, behind].concat(), answer)
            .worker_ends()
            .sends(NEXT)
            .worker_gets(NEXT)
            .answers()
    };
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    vec![
        row("a_second_answer_behind_a_length_reaches_nobody", OK, STRAY),
        row("a_second_answer_behind_chunks_reaches_nobody", chunked, STRAY),
        row("a_second_answer_behind_a_204_reaches_nobody", "HTTP/1.1 204 No Content\r\n\r\n", STRAY),
        row("a_second_answer_behind_a_304_reaches_nobody", "HTTP/1.1 304 Not Modified\r\n\r\n", STRAY),
        row("one_byte_behind_a_length_ends_the_connection", OK, "x"),
        row("a_line_break_behind_a_length_ends_the_connection", OK, "\r\n"),
        row("a_line_break_behind_chunks_ends_the_connection", chunked, "\r\n"),
        row("an_interim_answer_behind_an_answer_reaches_nobody", OK, "HTTP/1.1 100 Continue\r\n\r\n"),
        row("a_nul_behind_an_answer_ends_the_connection", OK, "\0"),
        row("another_last_chunk_behind_chunks_reaches_nobody", chunked, "0\r\n\r\n"),
        row(
            "a_body_behind_length_zero_reaches_nobody",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "hello",
        ),
        case("bytes_behind_an_answer_in_parts_reach_nobody", "RFC 9112 §6.3")
            .asks()
            .worker_says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            .client_gets("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            .worker_says(["cd", STRAY].concat())
            .client_gets("cd")
            .worker_ends(),
        case("bytes_behind_a_pipelined_answer_do_not_answer_the_next", "response queue poisoning")
            .sends([GET, NEXT].concat())
            .worker_gets(GET)
            .worker_says([OK, STRAY].concat())
            .client_gets(OK)
            .worker_ends()
            .worker_gets(NEXT)
            .answers(),
    ]
}

/// On an idle connection.
fn unsolicited() -> Vec<Case> {
    let row = |name: &str, reference, bytes: &[u8]| {
        case(name, reference)
            .asks()
            .answers()
            .worker_says(bytes)
            .quiet()
            .sends(NEXT)
            .worker_ends()
            .worker_gets(NEXT)
            .answers()
    };
    vec![
        row(
            "an_answer_that_comes_unasked_reaches_nobody",
            "response queue poisoning, CVE-2025-4366",
            STRAY.as_bytes(),
        ),
        row("one_byte_on_an_idle_connection_ends_it", "RFC 9112 §9.3", b"x"),
        row("a_line_break_on_an_idle_connection_ends_it", "RFC 9112 §9.3", b"\r\n"),
        row(
            "a_408_on_an_idle_connection_reaches_nobody",
            "RFC 9110 §15.5.9",
            b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
        ),
        row("a_100_on_an_idle_connection_reaches_nobody", "RFC 9110 §15.2", b"HTTP/1.1 100 Continue\r\n\r\n"),
        row(
            "half_an_answer_on_an_idle_connection_ends_it",
            "response queue poisoning",
            b"HTTP/1.1 200 OK\r\nContent-Le",
        ),
        case("a_408_and_a_close_on_an_idle_connection_cost_no_post", "RFC 9110 §15.5.9")
            .asks()
            .answers()
            .worker_says("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .worker_closes()
            .sends(POST)
            .worker_gets(POST)
            .answers(),
        case("an_unasked_answer_does_not_answer_the_next_client", "response queue poisoning")
            .sends("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .worker_gets(GET)
            .answers_and_closes()
            .worker_says(STRAY)
            .quiet()
            .sends(POST)
            .worker_ends()
            .worker_gets(POST)
            .answers(),
    ]
}

/// An answer before the request has ended: the rest of it must not become somebody's request.
fn early() -> Vec<Case> {
    let head = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\n";
    let chunked = "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    vec![
        case("the_rest_of_a_body_behind_an_early_answer_is_no_request", "RFC 9112 §9.3, CVE-2025-4366")
            .sends(head)
            .worker_gets_part(head)
            .answers()
            .worker_cut()
            .sends("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .sends(NEXT)
            .worker_gets(NEXT)
            .answers(),
        case("the_rest_of_chunks_behind_an_early_answer_is_no_request", "RFC 9112 §9.3, CVE-2025-4366")
            .sends(chunked)
            .worker_gets_part(chunked)
            .answers()
            .worker_cut()
            .sends("1c\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n\r\n0\r\n\r\n")
            .sends(NEXT)
            .worker_gets(NEXT)
            .answers(),
        case("an_early_refusal_leaves_the_clients_connection", "RFC 9112 §9.3")
            .sends([head, "0123456789"].concat())
            .worker_gets_part([head, "0123456789"].concat())
            .worker_says("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            .client_gets("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            .worker_cut()
            .sends("012345678901234567")
            .sends(NEXT)
            .worker_gets(NEXT)
            .answers(),
        case("an_early_answer_that_flows_lets_the_body_flow", "RFC 9112 §9.3")
            .sends(head)
            .worker_gets_part(head)
            .worker_says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            .client_gets("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            .sends("0123456789012345678901234567")
            .worker_gets("0123456789012345678901234567")
            .worker_says("cd")
            .client_gets("cd"),
        case("a_client_that_leaves_behind_an_early_answer_harms_nobody", "RFC 9112 §9.3")
            .sends(head)
            .worker_gets_part(head)
            .answers()
            .worker_cut()
            .client_leaves(),
        case("a_bad_answer_to_half_a_request_is_a_502_and_the_rest_is_skipped", "RFC 9112 §9.3")
            .sends(head)
            .worker_gets_part(head)
            .worker_says("nonsense\r\n\r\n")
            .client_gets_502("worker-response")
            .worker_cut()
            .sends("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .sends(NEXT)
            .worker_gets(NEXT)
            .answers(),
    ]
}

fn closes() -> Vec<Case> {
    vec![
        case("a_worker_that_closes_behind_its_answer_costs_nothing", "RFC 9112 §9.3.1")
            .asks()
            .answers()
            .worker_closes()
            .sends(POST)
            .worker_gets(POST)
            .answers(),
        case("a_worker_that_closes_after_every_answer_costs_nothing", "RFC 9112 §9.3.1")
            .asks()
            .answers()
            .worker_closes()
            .asks()
            .answers()
            .worker_closes()
            .asks()
            .answers()
            .worker_closes(),
        case("a_get_that_met_a_closing_connection_is_asked_once_more", "RFC 9112 §9.3.1")
            .asks()
            .worker_closes()
            .worker_gets(GET)
            .answers(),
        case("a_get_is_not_asked_a_third_time", "RFC 9112 §9.3.1, docs/errors.md")
            .asks()
            .worker_closes()
            .worker_gets(GET)
            .worker_closes()
            .client_gets_502("worker-closed"),
        case("a_get_that_a_fresh_connection_closed_on_is_not_asked_again", "RFC 9112 §9.3.1, docs/errors.md")
            .fresh()
            .asks()
            .worker_closes()
            .client_gets_502("worker-closed"),
        case("a_post_that_met_a_closing_connection_is_never_asked_again", "RFC 9112 §9.3.1")
            .sends(POST)
            .worker_gets(POST)
            .worker_closes()
            .client_gets_502("worker-closed"),
        case("a_put_that_met_a_closing_connection_is_never_asked_again", "docs/errors.md")
            .sends("PUT /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .worker_gets("PUT /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .worker_closes()
            .client_gets_502("worker-closed"),
        case("an_unknown_method_is_never_asked_again", "RFC 9112 §9.3.1")
            .sends("BREW / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_gets("BREW / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_closes()
            .client_gets_502("worker-closed"),
        case("a_get_with_a_body_at_hand_is_asked_once_more_with_it", "RFC 9112 §9.3.1")
            .sends("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .worker_gets("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .worker_closes()
            .worker_gets("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .answers(),
        case("a_get_that_was_answered_in_part_is_not_asked_again", "RFC 9112 §9.3.1")
            .asks()
            .worker_says("HTTP/1.1 103 X\r\n\r\n")
            .client_gets("HTTP/1.1 103 X\r\n\r\n")
            .worker_closes()
            .client_gets_502("worker-closed"),
        case("a_head_that_fails_gets_a_502_without_body", "RFC 9110 §9.3.2")
            .fresh()
            .sends("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_gets("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_closes()
            .client_gets_local_head(502, "worker-closed", false),
        case("a_failure_for_a_client_that_closes_says_so", "RFC 9112 §9.6")
            .fresh()
            .sends("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .worker_gets(GET)
            .worker_closes()
            .client_gets_local(502, "worker-closed", true)
            .client_ends(),
    ]
}

/// A Unix socket tells whether everything was read.
fn resets() -> Vec<Case> {
    vec![
        case("a_get_that_nobody_read_is_asked_once_more", "docs/errors.md")
            .fresh()
            .sends(GET)
            .worker_resets()
            .worker_gets(GET)
            .answers(),
        case("a_get_that_the_same_worker_did_not_read_twice_is_asked_once_more", "docs/errors.md")
            .fresh()
            .sends(GET)
            .worker_resets()
            .worker_resets()
            .worker_gets(GET)
            .answers(),
        case("a_get_that_the_same_worker_did_not_read_three_times_is_a_502", "docs/errors.md")
            .fresh()
            .sends(GET)
            .worker_resets()
            .worker_resets()
            .worker_resets()
            .client_gets_502("worker-closed"),
        case("a_post_that_nobody_read_is_not_asked_again", "docs/errors.md")
            .fresh()
            .sends(POST)
            .worker_resets()
            .client_gets_502("worker-closed"),
        case("a_get_that_an_idle_connection_did_not_read_is_asked_once_more", "docs/errors.md")
            .sends(GET)
            .worker_resets()
            .worker_gets(GET)
            .answers(),
    ]
}

fn departures() -> Vec<Case> {
    vec![
        case("a_client_that_leaves_before_its_answer_ends_the_workers_connection", "RFC 9112 §9.6")
            .asks()
            .client_leaves()
            .worker_ends(),
        case("a_client_that_leaves_within_its_answer_ends_the_workers_connection", "RFC 9112 §9.6")
            .asks()
            .worker_says("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            .client_gets("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            .client_leaves()
            .worker_ends(),
        case("a_client_that_leaves_within_its_head_is_no_request", "RFC 9112 §8")
            .sends("GET / HTTP/1.1\r\nHost: a\r\nCont")
            .quiet()
            .client_leaves(),
        case("a_client_that_leaves_behind_a_request_line_is_no_request", "RFC 9112 §8")
            .sends("GET / HTTP/1.1\r\n")
            .quiet()
            .client_leaves(),
    ]
}
