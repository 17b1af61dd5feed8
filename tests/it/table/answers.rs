//! Heads of answers: as strict as heads of requests. What is allowed goes out byte for byte; a worker's
//! bytes that could be read in two ways become a 502 that harms nobody else.

use super::case::{Case, answered, case, rejected};

#[test]
fn an_answer_passes_as_it_came_or_not_at_all() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [status_lines(), bad_status_lines(), fields(), bad_fields(), hop_by_hop(), unasked()].concat()
}

/// An answer that passes untouched.
fn good(name: &str, reference: &'static str, answer: impl AsRef<[u8]>) -> Case {
    answered(name, reference, &answer, &answer)
}

fn status_lines() -> Vec<Case> {
    let line = |name: &str, reference, line: &str| {
        good(name, reference, format!("{line}\r\nContent-Length: 2\r\n\r\nok"))
    };
    vec![
        line("a_200_passes", "RFC 9110 §15.3.1", "HTTP/1.1 200 OK"),
        line("a_201_passes", "RFC 9110 §15.3.2", "HTTP/1.1 201 Created"),
        line("a_206_passes", "RFC 9110 §15.3.7", "HTTP/1.1 206 Partial Content"),
        line("a_301_is_not_followed", "RFC 9110 §15.4.2", "HTTP/1.1 301 Moved\r\nLocation: http://b/"),
        line("a_404_of_the_worker_is_its_own", "RFC 9110 §15.5.5", "HTTP/1.1 404 Not Found"),
        line("a_500_of_the_worker_is_its_own", "RFC 9110 §15.6.1", "HTTP/1.1 500 Oops"),
        line("a_502_of_the_worker_is_its_own", "RFC 9110 §15.6.3", "HTTP/1.1 502 Bad Gateway"),
        line("a_503_of_the_worker_is_its_own", "RFC 9110 §15.6.4", "HTTP/1.1 503 S\r\nRetry-After: 1"),
        line("an_unknown_status_of_a_known_class_passes", "RFC 9110 §15", "HTTP/1.1 299 Odd"),
        line("a_status_beyond_599_passes", "RFC 9110 §15", "HTTP/1.1 999 Request denied"),
        line("an_empty_reason_passes", "RFC 9112 §4", "HTTP/1.1 200 "),
        line("a_reason_of_several_words_passes", "RFC 9112 §4", "HTTP/1.1 200 all  is\twell "),
        line("a_reason_beyond_ascii_passes", "RFC 9112 §4", "HTTP/1.1 200 Größe"),
        line("a_reason_that_contradicts_its_status_passes", "RFC 9112 §4", "HTTP/1.1 200 404 Not Found"),
        answered(
            "an_answer_of_http_1_0_is_passed_as_1_1",
            "RFC 9110 §2.5",
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        )
        .worker_ends(),
    ]
}

fn bad_status_lines() -> Vec<Case> {
    let line = |name: &str, line: &str| {
        rejected(name, "RFC 9112 §4", format!("{line}\r\nContent-Length: 2\r\n\r\nok"))
    };
    vec![
        line("a_status_of_two_digits_is_rejected", "HTTP/1.1 20 OK"),
        line("a_status_of_four_digits_is_rejected", "HTTP/1.1 2000 OK"),
        line("a_status_below_100_is_rejected", "HTTP/1.1 099 OK"),
        line("a_status_of_zero_is_rejected", "HTTP/1.1 000 OK"),
        line("a_negative_status_is_rejected", "HTTP/1.1 -20 OK"),
        line("a_status_in_letters_is_rejected", "HTTP/1.1 abc OK"),
        line("a_status_that_is_absent_is_rejected", "HTTP/1.1  OK"),
        line("a_status_with_a_point_is_rejected", "HTTP/1.1 200.1 OK"),
        line("two_spaces_before_a_status_are_rejected", "HTTP/1.1  200 OK"),
        line("a_tab_before_a_status_is_rejected", "HTTP/1.1\t200 OK"),
        line("a_tab_behind_a_status_is_rejected", "HTTP/1.1 200\tOK"),
        line("a_space_before_an_answer_is_rejected", " HTTP/1.1 200 OK"),
        line("an_empty_line_before_an_answer_is_rejected", "\r\nHTTP/1.1 200 OK"),
        line("a_bare_lf_before_an_answer_is_rejected", "\nHTTP/1.1 200 OK"),
        line("an_answer_of_http_1_2_is_rejected", "HTTP/1.2 200 OK"),
        line("an_answer_of_http_2_is_rejected", "HTTP/2.0 200 OK"),
        line("an_answer_of_http_2_without_minor_is_rejected", "HTTP/2 200 OK"),
        line("an_answer_of_http_0_9_is_rejected", "HTTP/0.9 200 OK"),
        line("an_answer_in_small_letters_is_rejected", "http/1.1 200 OK"),
        line("an_icecast_answer_is_rejected", "ICY 200 OK"),
        line("a_cgi_answer_is_rejected", "Status: 200 OK"),
        line("a_request_is_no_answer", "GET / HTTP/1.1"),
        line("html_is_no_answer", "<html><body>hello</body></html>"),
        line("a_nul_in_a_reason_is_rejected", "HTTP/1.1 200 O\0K"),
        line("an_escape_character_in_a_reason_is_rejected", "HTTP/1.1 200 \x1b[0m"),
        line("a_delete_in_a_reason_is_rejected", "HTTP/1.1 200 O\x7fK"),
        line("a_bare_cr_in_a_reason_is_rejected", "HTTP/1.1 200 O\rK"),
        line("a_status_line_that_ends_with_a_bare_lf_is_rejected", "HTTP/1.1 200 OK\nA: b"),
        line("a_status_line_that_ends_with_cr_cr_lf_is_rejected", "HTTP/1.1 200 OK\r"),
        rejected("a_tls_alert_is_no_answer", "RFC 8446 §6", b"\x15\x03\x03\x00\x02\x02\x28"),
        rejected("an_http_2_goaway_frame_is_no_answer", "RFC 9113 §6.8", b"\0\0\x08\x07\0\0\0\0\0"),
    ]
}

fn fields() -> Vec<Case> {
    let lines = |name: &str, reference, lines: &str| {
        good(name, reference, format!("HTTP/1.1 200 OK\r\n{lines}\r\nContent-Length: 2\r\n\r\nok"))
    };
    vec![
        lines(
            "cookies_stay_apart_and_in_order",
            "RFC 6265 §3",
            "Set-Cookie: b=2\r\nSet-Cookie: a=1; Path=/\r\nset-cookie: c=3",
        ),
        lines("names_of_an_answer_keep_their_case", "RFC 9110 §5.1", "eTaG: \"x\"\r\nX-POWERED-BY: y"),
        lines("an_empty_value_of_an_answer_passes", "RFC 9110 §5.5", "A:\r\nB:  \t"),
        lines("whitespace_around_a_value_of_an_answer_stays", "RFC 9112 §5.1", "A:\tb \r\nC:d"),
        lines("beyond_ascii_in_an_answer_passes", "RFC 9110 §5.5", "A: grün"),
        lines("date_and_server_pass", "RFC 9110 §6.6.1", "Date: Sat, 01 Jan 2000 00:00:00 GMT\r\nServer: x"),
        lines("a_request_id_of_the_worker_passes", "docs/errors.md", "x-fc-request-id: w"),
        lines("a_security_policy_passes", "RFC 6797 §6.1", "Strict-Transport-Security: max-age=1"),
        lines("an_encoded_body_is_not_touched", "RFC 9110 §8.4", "Content-Encoding: gzip"),
        lines("a_host_in_an_answer_is_only_a_field", "RFC 9110 §7.2", "Host: b\r\nHost: c"),
        lines("an_expect_in_an_answer_is_only_a_field", "RFC 9110 §10.1.1", "Expect: 100-continue"),
        lines(
            "escaped_line_breaks_in_an_answer_stay",
            "response splitting",
            "Location: /%0d%0aSet-Cookie:%20a=b",
        ),
        lines("many_fields_of_an_answer_pass", "RFC 9110 §5.4", &vec!["A: b"; 200].join("\r\n")),
        lines("a_long_field_of_an_answer_passes", "RFC 9110 §5.4", &format!("A: {}", "v".repeat(30_000))),
        good(
            "a_length_may_stand_first",
            "RFC 9110 §8.6",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: b\r\n\r\nok",
        ),
    ]
}

fn bad_fields() -> Vec<Case> {
    let lines = |name: &str, reference, lines: &str| {
        rejected(name, reference, format!("HTTP/1.1 200 OK\r\n{lines}\r\nContent-Length: 2\r\n\r\nok"))
    };
    vec![
        lines("a_folded_field_of_an_answer_is_rejected", "RFC 9112 §5.2", "A: b\r\n c"),
        lines("a_field_of_an_answer_folded_with_a_tab_is_rejected", "RFC 9112 §5.2", "A: b\r\n\tc"),
        lines("a_space_before_the_first_field_of_an_answer_is_rejected", "RFC 9112 §2.2", " A: b"),
        lines("a_space_before_a_colon_of_an_answer_is_rejected", "RFC 9112 §5.1", "A : b"),
        lines("a_line_without_colon_in_an_answer_is_rejected", "RFC 9112 §5", "No colon"),
        lines("an_empty_name_in_an_answer_is_rejected", "RFC 9110 §5.1", ": b"),
        lines("a_space_in_a_name_of_an_answer_is_rejected", "RFC 9110 §5.1", "A b: c"),
        lines("beyond_ascii_in_a_name_of_an_answer_is_rejected", "RFC 9110 §5.1", "Ä: b"),
        lines("a_nul_in_a_value_of_an_answer_is_rejected", "RFC 9110 §5.5", "A: b\0c"),
        lines("a_delete_in_a_value_of_an_answer_is_rejected", "RFC 9110 §5.5", "A: b\x7f"),
        lines("an_escape_character_in_an_answer_is_rejected", "RFC 9110 §5.5", "A: \x1b[0m"),
        lines(
            "a_bare_cr_in_an_answer_is_rejected",
            "RFC 9112 §2.2, response splitting",
            "A: b\rSet-Cookie: c=d",
        ),
        lines(
            "a_bare_lf_in_an_answer_is_rejected",
            "RFC 9112 §2.2, response splitting",
            "A: b\nSet-Cookie: c=d",
        ),
        lines("a_bare_lf_behind_an_empty_value_of_an_answer_is_rejected", "RFC 9112 §2.2", "A:\nB: c"),
        lines("cr_cr_lf_in_an_answer_is_rejected", "RFC 9112 §2.2", "A: b\r"),
        rejected(
            "an_answer_of_bare_lfs_is_rejected",
            "RFC 9112 §2.2",
            "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        ),
        rejected(
            "a_head_of_an_answer_that_ends_with_crlf_lf_is_rejected",
            "RFC 9112 §2.2",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\nok",
        ),
        rejected(
            "a_head_of_an_answer_that_ends_with_lf_crlf_is_rejected",
            "RFC 9112 §2.2",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nok",
        ),
    ]
}

fn hop_by_hop() -> Vec<Case> {
    let becomes = |name: &str, lines: &str, received: &str| {
        answered(
            name,
            "RFC 9110 §7.6.1",
            format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 2\r\n\r\nok"),
            format!("HTTP/1.1 200 OK\r\n{received}Content-Length: 2\r\n\r\nok"),
        )
    };
    vec![
        becomes(
            "keep_alive_of_an_answer_ends_here",
            "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n",
            "",
        ),
        becomes("close_of_an_answer_ends_the_workers_connection_only", "Connection: close\r\n", "")
            .worker_ends(),
        becomes("close_in_a_list_of_an_answer_counts", "Connection: x, Close\r\n", "").worker_ends(),
        becomes("close_beats_keep_alive_in_an_answer", "Connection: keep-alive\r\nConnection: close\r\n", "")
            .worker_ends(),
        becomes("a_named_field_of_an_answer_ends_here", "X: 1\r\nConnection: x\r\nA: b\r\n", "A: b\r\n"),
        becomes("cookies_that_an_answer_names_end_here", "Set-Cookie: a=b\r\nConnection: set-cookie\r\n", ""),
        becomes("an_answer_cannot_remove_its_length", "Connection: content-length\r\n", ""),
        becomes("proxy_connection_of_an_answer_ends_here", "Proxy-Connection: close\r\nA: b\r\n", "A: b\r\n"),
        becomes("te_of_an_answer_ends_here", "TE: trailers\r\n", ""),
        becomes("trailer_of_an_answer_passes", "Trailer: A\r\n", "Trailer: A\r\n"),
        answered(
            "an_answer_cannot_remove_its_coding",
            "RFC 9110 §7.6.1",
            "HTTP/1.1 200 OK\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
    ]
}

fn unasked() -> Vec<Case> {
    vec![
        rejected(
            "an_unasked_switch_of_protocols_is_rejected",
            "RFC 9110 §15.2.2, CVE-2026-2833",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        ),
        rejected("a_bare_101_is_rejected", "RFC 9110 §15.2.2", "HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        case("a_bad_answer_to_head_has_no_body", "RFC 9110 §9.3.2")
            .sends("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_gets("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_says("nonsense\r\n\r\n")
            .client_gets_local_head(502, "worker-response", false)
            .worker_ends(),
        case("a_bad_answer_to_http_1_0_ends_its_connection", "RFC 9112 §9.3")
            .sends("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_says("nonsense\r\n\r\n")
            .client_gets_local(502, "worker-response", true)
            .client_ends()
            .worker_ends(),
    ]
}
