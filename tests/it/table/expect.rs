//! Expect and interim answers. Whoever waits for 100 may or may not send a body: where that stays open,
//! the connection ends behind the answer, because the next bytes could be read in two ways.

use super::case::{Case, GET, OK, OK_CLOSE, case, passes};

#[test]
fn an_expectation_never_makes_a_body_of_a_request() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [continued(), final_answers(), disguised(), old_versions(), interim()].concat()
}

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn whole() -> String {
    [HEAD, "hello"].concat()
}

fn continued() -> Vec<Case> {
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n";
    vec![
        case("a_body_comes_behind_100_continue", "RFC 9110 §10.1.1")
            .sends(HEAD)
            .worker_gets_part(HEAD)
            .quiet()
            .worker_says(CONTINUE)
            .client_gets(CONTINUE)
            .sends("hello")
            .worker_gets("hello")
            .answers(),
        case("chunks_come_behind_100_continue", "RFC 9110 §10.1.1")
            .sends(chunked)
            .worker_gets_part(chunked)
            .worker_says(CONTINUE)
            .client_gets(CONTINUE)
            .sends("5\r\nhello\r\n0\r\n\r\n")
            .worker_gets("5\r\nhello\r\n0\r\n\r\n")
            .answers(),
        case("a_body_need_not_wait_for_100_continue", "RFC 9110 §10.1.1")
            .sends(whole())
            .worker_gets(whole())
            .worker_says([CONTINUE, OK].concat())
            .client_gets([CONTINUE, OK].concat()),
        case("a_worker_need_not_say_100_continue", "RFC 9110 §10.1.1")
            .sends(whole())
            .worker_gets(whole())
            .answers(),
        case("a_body_that_came_before_the_answer_leaves_no_doubt", "RFC 9110 §10.1.1")
            .sends(HEAD)
            .worker_gets_part(HEAD)
            .sends("hello")
            .worker_gets("hello")
            .answers(),
        case("a_body_in_doubt_may_begin_before_100_continue", "RFC 9110 §10.1.1")
            .sends([HEAD, "he"].concat())
            .worker_gets_part([HEAD, "he"].concat())
            .worker_says(CONTINUE)
            .client_gets(CONTINUE)
            .sends("llo")
            .worker_gets("llo")
            .answers(),
        passes(
            "an_expectation_without_a_body_is_passed_on",
            "RFC 9110 §10.1.1",
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        ),
        passes(
            "an_expectation_with_an_empty_body_is_passed_on",
            "RFC 9110 §10.1.1",
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
        ),
    ]
}

fn final_answers() -> Vec<Case> {
    let vanilla = "RFC 9110 §10.1.1, HTTP/1.1 must die";
    let with_close = |answer: &str| answer.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1);
    let ending = |name: &str, answer: &str| {
        case(name, vanilla)
            .sends(HEAD)
            .worker_gets_part(HEAD)
            .worker_says(answer)
            .client_gets(with_close(answer))
            .worker_cut()
            .client_ends()
    };
    vec![
        ending(
            "a_417_instead_of_100_ends_the_connection",
            "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n",
        ),
        ending("a_200_instead_of_100_ends_the_connection", OK),
        ending(
            "a_401_instead_of_100_ends_the_connection",
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno",
        ),
        ending(
            "a_413_instead_of_100_ends_the_connection",
            "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
        ),
        ending(
            "a_redirect_instead_of_100_ends_the_connection",
            "HTTP/1.1 307 T\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        ),
        case("a_smuggled_request_behind_a_refused_expectation_is_not_served", vanilla)
            .sends(HEAD)
            .worker_gets_part(HEAD)
            .worker_says(OK)
            .client_gets(OK_CLOSE)
            .worker_cut()
            .sends("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            .client_ends(),
        case("a_worker_that_closes_instead_of_100_ends_the_connection", vanilla)
            .fresh()
            .sends(HEAD)
            .worker_gets_part(HEAD)
            .worker_closes()
            .client_gets_local(502, "worker-closed", true)
            .client_ends(),
        case("nonsense_instead_of_100_ends_the_connection", vanilla)
            .sends(HEAD)
            .worker_gets_part(HEAD)
            .worker_says("nonsense\r\n\r\n")
            .client_gets_local(502, "worker-response", true)
            .worker_cut()
            .client_ends(),
        case("an_early_answer_behind_100_leaves_the_body_to_be_read", "RFC 9110 §10.1.1")
            .sends(HEAD)
            .worker_gets_part(HEAD)
            .worker_says([CONTINUE, OK].concat())
            .client_gets([CONTINUE, OK].concat())
            .worker_cut()
            .sends("hello")
            .sends(GET)
            .worker_gets(GET)
            .answers(),
        case("a_head_with_an_expectation_ends_the_connection", "RFC 9110 §10.1.1, HTTP/1.1 must die")
            .sends("HEAD / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            .worker_gets_part(
                "HEAD / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            )
            .worker_says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            .client_gets("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
            .worker_cut()
            .client_ends(),
        case("an_options_with_an_expectation_ends_the_connection", "RFC 9110 §10.1.1, HTTP/1.1 must die")
            .sends("OPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            .worker_gets_part(
                "OPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            )
            .worker_says(OK)
            .client_gets(OK_CLOSE)
            .worker_cut()
            .client_ends(),
    ]
}

/// Whatever some server may take for an expectation leaves the same doubt.
fn disguised() -> Vec<Case> {
    let rows = [
        ("an_expectation_in_capitals_is_one", "Expect: 100-CONTINUE"),
        ("an_expectation_without_space_is_one", "Expect:100-continue"),
        ("an_expectation_with_spaces_is_one", "eXpEcT: \t100-continue \t"),
        ("an_expectation_first_in_a_list_leaves_doubt", "Expect: 100-continue, x"),
        ("an_expectation_last_in_a_list_leaves_doubt", "Expect: x, 100-continue"),
        ("an_expectation_twice_in_a_list_leaves_doubt", "Expect: 100-continue, 100-continue"),
        ("an_expectation_with_a_comma_leaves_doubt", "Expect: 100-continue,"),
        ("an_expectation_with_a_parameter_leaves_doubt", "Expect: 100-continue;q=1"),
        ("an_expectation_behind_a_word_leaves_doubt", "Expect: y 100-continue"),
        ("a_quoted_expectation_leaves_doubt", "Expect: \"100-continue\""),
        ("an_expectation_on_a_second_line_leaves_doubt", "Expect: x\r\nExpect: 100-continue"),
        ("an_expectation_on_a_first_line_leaves_doubt", "Expect: 100-continue\r\nExpect: x"),
        ("the_number_of_an_expectation_leaves_doubt", "Expect: 100"),
        ("an_unknown_expectation_leaves_doubt", "Expect: x=y"),
    ];
    let mut cases: Vec<Case> = rows
        .iter()
        .map(|(name, line)| {
            let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\nContent-Length: 5\r\n\r\n");
            case(*name, "RFC 9110 §10.1.1, HTTP/1.1 must die")
                .sends(&head)
                .worker_gets_part(&head)
                .worker_says(OK)
                .client_gets(OK_CLOSE)
                .worker_cut()
                .client_ends()
        })
        .collect();
    cases.push(
        // No server takes it for one: an early answer leaves no doubt about the body.
        case("an_expectation_under_another_name_is_none", "RFC 9110 §10.1.1")
            .sends("POST / HTTP/1.1\r\nHost: a\r\nX-Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            .worker_gets_part(
                "POST / HTTP/1.1\r\nHost: a\r\nX-Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
            )
            .worker_says(OK)
            .client_gets(OK)
            .worker_cut()
            .sends("hello"),
    );
    cases.push(super::case::refused(
        "a_space_before_the_colon_of_an_expectation_is_refused",
        "RFC 9112 §5.1, HTTP/1.1 must die",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect : 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        400,
    ));
    cases.push(super::case::refused(
        "a_folded_expectation_is_refused",
        "RFC 9112 §5.2, HTTP/1.1 must die",
        "POST / HTTP/1.1\r\nHost: a\r\nExpect:\r\n 100-continue\r\nContent-Length: 5\r\n\r\nhello",
        400,
    ));
    cases
}

fn old_versions() -> Vec<Case> {
    vec![
        case("an_expectation_of_http_1_0_is_ignored", "RFC 9110 §10.1.1")
            .sends("POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
            .worker_gets("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .answers_and_closes(),
        case("an_expectation_of_http_1_0_that_connection_names_ends_here_once", "RFC 9110 §7.6.1")
            .sends("GET / HTTP/1.0\r\nExpect: 100-continue\r\nConnection: expect\r\nHost: a\r\nExpect: x\r\nA: b\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n")
            .answers_and_closes(),
        case("http_1_0_gets_no_100_continue", "RFC 9110 §15.2")
            .sends("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .worker_gets("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .worker_says([CONTINUE, OK].concat())
            .client_gets(OK_CLOSE)
            .client_ends(),
        case("http_1_0_gets_no_early_hints", "RFC 9110 §15.2")
            .sends("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            .quiet()
            .worker_says(OK)
            .client_gets(super::case::OK_STAY),
    ]
}

fn interim() -> Vec<Case> {
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    let row = |name: &str, says: &str, gets: &str| {
        case(name, "RFC 9110 §15.2").asks().worker_says(says).client_gets(gets).quiet().answers()
    };
    vec![
        row("early_hints_pass_before_the_answer", hints, hints),
        row("102_processing_passes", "HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n"),
        row("an_unasked_100_passes", CONTINUE, CONTINUE),
        row(
            "an_unknown_interim_answer_passes",
            "HTTP/1.1 199 X\r\nA: b\r\n\r\n",
            "HTTP/1.1 199 X\r\nA: b\r\n\r\n",
        ),
        row("several_interim_answers_pass_in_order", &hints.repeat(3), &hints.repeat(3)),
        row(
            "an_interim_answer_loses_its_connection_fields",
            "HTTP/1.1 103 X\r\nConnection: a, close\r\nA: b\r\nKeep-Alive: 5\r\nC: d\r\n\r\n",
            "HTTP/1.1 103 X\r\nC: d\r\n\r\n",
        ),
        row(
            "an_interim_answer_of_http_1_0_is_passed_as_1_1",
            "HTTP/1.0 103 X\r\n\r\n",
            "HTTP/1.1 103 X\r\n\r\n",
        ),
        row(
            "an_interim_answer_has_no_length",
            "HTTP/1.1 103 X\r\nContent-Length: 5\r\nA: b\r\n\r\n",
            "HTTP/1.1 103 X\r\nA: b\r\n\r\n",
        ),
        row(
            "an_interim_answer_has_no_coding",
            "HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n",
            CONTINUE,
        ),
        case("an_interim_answer_and_the_answer_in_one_segment_pass", "RFC 9110 §15.2")
            .asks()
            .worker_says([hints, CONTINUE, OK].concat())
            .client_gets([hints, CONTINUE, OK].concat()),
        case("a_worker_that_closes_behind_an_interim_answer_is_a_502", "RFC 9110 §15.2")
            .asks()
            .worker_says(hints)
            .client_gets(hints)
            .worker_closes()
            .client_gets_502("worker-closed"),
        case("an_interim_answer_with_two_lengths_is_rejected", "RFC 9112 §6.3")
            .asks()
            .worker_says("HTTP/1.1 103 X\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
            .client_gets_502("worker-response")
            .worker_ends(),
    ]
}
