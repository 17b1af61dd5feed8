//! Requests behind requests: one after the other, in order, and none behind a close.

use super::case::{Case, GET, OK, OK_CLOSE, case};

#[test]
fn pipelined_requests_are_served_in_order_and_none_behind_a_close() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [in_order(), boundaries(), behind_a_close(), behind_failures()].concat()
}

const FIRST: &str = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: &str = "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
const CHUNKED: &str = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";

/// All in one segment, served one by one.
fn served(name: &str, requests: &[&str]) -> Case {
    let all = case(name, "RFC 9112 §9.3.2").sends(requests.concat());
    requests.iter().fold(all, |case, request| case.worker_gets(request).answers())
}

fn in_order() -> Vec<Case> {
    vec![
        served("two_requests_in_one_segment_are_both_served", &[FIRST, SECOND]),
        served("twenty_requests_in_one_segment_are_all_served", &[FIRST; 20]),
        served("requests_with_and_without_bodies_follow_each_other", &[POST, FIRST, CHUNKED, SECOND, POST]),
        served("bodies_behind_bodies_keep_their_ends", &[POST, POST, CHUNKED, CHUNKED, POST]),
        case("a_second_request_waits_for_the_first_answer", "RFC 9112 §9.3.2")
            .sends([FIRST, SECOND].concat())
            .worker_gets(FIRST)
            .quiet()
            .answers()
            .worker_gets(SECOND)
            .answers(),
        case("a_second_request_waits_for_the_end_of_the_first_answer", "RFC 9112 §9.3.2")
            .sends([FIRST, SECOND].concat())
            .worker_gets(FIRST)
            .worker_says("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            .client_gets("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            .quiet()
            .worker_says("cd")
            .client_gets("cd")
            .worker_gets(SECOND)
            .answers(),
        case("an_interim_answer_does_not_let_the_second_request_go", "RFC 9110 §15.2")
            .sends([FIRST, SECOND].concat())
            .worker_gets(FIRST)
            .worker_says("HTTP/1.1 102 Processing\r\n\r\n")
            .client_gets("HTTP/1.1 102 Processing\r\n\r\n")
            .quiet()
            .answers()
            .worker_gets(SECOND)
            .answers(),
        case("the_answer_to_head_takes_no_body_of_the_next", "RFC 9112 §6.3")
            .sends(["HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", SECOND].concat())
            .worker_gets("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            .client_gets("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
            .worker_gets(SECOND)
            .answers(),
    ]
}

fn boundaries() -> Vec<Case> {
    vec![
        case("the_start_of_a_second_request_waits_for_its_rest", "RFC 9112 §9.3.2")
            .sends([FIRST, "GET /2 HTT"].concat())
            .worker_gets(FIRST)
            .answers()
            .quiet()
            .sends("P/1.1\r\nHost: a\r\n\r\n")
            .worker_gets(SECOND)
            .answers(),
        case("a_second_request_in_the_segment_of_a_body_is_found", "RFC 9112 §9.3.2")
            .sends(&POST[..POST.len() - 2])
            .worker_gets_part(&POST[..POST.len() - 2])
            .sends(["lo", SECOND].concat())
            .worker_gets("lo")
            .answers()
            .worker_gets(SECOND)
            .answers(),
        case("a_second_request_in_the_segment_of_a_last_chunk_is_found", "RFC 9112 §9.3.2")
            .sends(&CHUNKED[..CHUNKED.len() - 3])
            .worker_gets_part(&CHUNKED[..CHUNKED.len() - 3])
            .sends(["\n\r\n", SECOND].concat())
            .worker_gets("\n\r\n")
            .answers()
            .worker_gets(SECOND)
            .answers(),
        case("empty_lines_between_requests_are_ignored", "RFC 9112 §2.2")
            .sends([FIRST, "\r\n\r\n", SECOND].concat())
            .worker_gets(FIRST)
            .answers()
            .worker_gets(SECOND)
            .answers(),
        case("a_second_request_that_is_split_by_the_buffer_is_whole", "RFC 9112 §9.3.2")
            .small()
            .sends(
                [
                    &format!(
                        "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n{}",
                        "x".repeat(4000)
                    ),
                    SECOND,
                ]
                .concat(),
            )
            .worker_gets(format!(
                "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n{}",
                "x".repeat(4000)
            ))
            .answers()
            .worker_gets(SECOND)
            .answers(),
        case("a_client_that_leaves_within_a_second_head_leaves_one_request", "RFC 9112 §8")
            .sends([FIRST, "GET /2 HTTP/1.1\r\n"].concat())
            .worker_gets(FIRST)
            .answers()
            .client_leaves(),
    ]
}

fn behind_a_close() -> Vec<Case> {
    let closing = |name: &str, first: &str, received: &str| {
        case(name, "RFC 9112 §9.6")
            .sends([first, SECOND].concat())
            .worker_gets(received)
            .worker_says(OK)
            .client_gets(OK_CLOSE)
            .client_ends()
    };
    vec![
        closing(
            "a_request_behind_connection_close_is_not_served",
            "GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            FIRST,
        ),
        closing("a_request_behind_http_1_0_is_not_served", "GET /1 HTTP/1.0\r\nHost: a\r\n\r\n", FIRST),
        closing(
            "a_request_behind_a_body_and_close_is_not_served",
            "POST /p HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
            POST,
        ),
        closing(
            "a_request_behind_chunks_and_close_is_not_served",
            "POST /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            CHUNKED,
        ),
        case("a_request_that_comes_later_than_a_close_is_not_served", "RFC 9112 §9.6")
            .sends("GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .worker_gets(FIRST)
            .sends(SECOND)
            .quiet()
            .worker_says(OK)
            .client_gets(OK_CLOSE)
            .client_ends(),
        case("a_request_behind_a_kept_http_1_0_is_served", "RFC 9112 §9.3")
            .sends(["GET /1 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", SECOND].concat())
            .worker_gets(FIRST)
            .worker_says(OK)
            .client_gets(super::case::OK_STAY)
            .worker_gets(SECOND)
            .answers(),
    ]
}

fn behind_failures() -> Vec<Case> {
    let refused_second = |name: &str, second: &str, status| {
        case(name, "RFC 9112 §9.3.2")
            .sends([FIRST, second, SECOND].concat())
            .worker_gets(FIRST)
            .answers()
            .gets_refusal(status)
    };
    vec![
        refused_second("a_malformed_second_request_ends_the_connection", "GET /x\r\n\r\n", 400),
        refused_second("a_second_request_without_host_ends_the_connection", "GET /x HTTP/1.1\r\n\r\n", 400),
        refused_second(
            "a_second_request_with_a_coding_ends_the_connection",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            501,
        ),
        refused_second(
            "a_second_request_of_another_version_ends_the_connection",
            "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
            505,
        ),
        refused_second(
            "a_second_connect_ends_the_connection",
            "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
            405,
        ),
        case("a_request_behind_a_failed_one_is_served", "RFC 9112 §9.3.2")
            .fresh()
            .sends([POST, SECOND].concat())
            .worker_gets(POST)
            .worker_closes()
            .client_gets_502("worker-closed")
            .worker_gets(SECOND)
            .answers(),
        case("a_request_behind_a_bad_answer_is_served", "RFC 9112 §9.3.2")
            .sends([GET, SECOND].concat())
            .worker_gets(GET)
            .worker_says("nonsense\r\n\r\n")
            .client_gets_502("worker-response")
            .worker_ends()
            .worker_gets(SECOND)
            .answers(),
        case("a_second_request_behind_an_early_answer_is_found_behind_the_body", "RFC 9112 §9.3")
            .sends(&POST[..POST.len() - 2])
            .worker_gets_part(&POST[..POST.len() - 2])
            .worker_says(OK)
            .client_gets(OK)
            .worker_cut()
            .sends(["lo", SECOND].concat())
            .worker_gets(SECOND)
            .answers(),
    ]
}
