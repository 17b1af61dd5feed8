//! Max-Forwards: OPTIONS and TRACE go so many proxies far; at zero the answer comes from here.

use super::case::{Case, GET, becomes, case, passes};
use crate::support::ID;

#[test]
fn options_and_trace_go_as_far_as_they_may() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [counted(), answered_here(), untouched()].concat()
}

fn ask(method: &str, hops: &str) -> String {
    format!("{method} /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: {hops}\r\n\r\n")
}

fn counted() -> Vec<Case> {
    let row = |name: &str, method: &str, hops: &str, left: &str| {
        becomes(name, "RFC 9110 §7.6.2", ask(method, hops), ask(method, left))
    };
    vec![
        row("one_hop_becomes_none", "OPTIONS", "1", "0"),
        row("five_hops_become_four", "TRACE", "5", "4"),
        row("ten_hops_become_nine", "OPTIONS", "10", "09"),
        row("a_hundred_hops_become_ninety_nine", "TRACE", "100", "099"),
        row("padded_hops_are_counted", "OPTIONS", "0001", "0000"),
        row(
            "more_hops_than_64_bits_are_counted",
            "TRACE",
            "100000000000000000000000",
            "099999999999999999999999",
        ),
        becomes(
            "hops_of_options_asterisk_are_counted",
            "RFC 9110 §7.6.2",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\nmax-forwards:3\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\nmax-forwards:2\r\n\r\n",
        ),
        case("a_request_that_is_asked_once_more_is_counted_once", "RFC 9110 §7.6.2")
            .asks()
            .answers()
            .sends(ask("OPTIONS", "9"))
            .worker_gets(ask("OPTIONS", "8"))
            .worker_closes()
            .worker_gets(ask("OPTIONS", "8"))
            .answers(),
    ]
}

fn answered_here() -> Vec<Case> {
    let options = |name: &str, request: &str| {
        case(name, "RFC 9110 §7.6.2").sends(request).client_gets_local(200, "max-forwards", false)
    };
    let trace = |name: &str, lines: &str, shown: &str| {
        let head = format!("TRACE /x HTTP/1.1\r\nHost: a\r\n{shown}\r\n");
        case(name, "RFC 9110 §9.3.8, RFC 9110 §7.6.2")
            .sends(format!("TRACE /x HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {ID}\r\n{lines}\r\n"))
            .client_gets(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: {}\r\nx-fc-request-id: {ID}\r\n\
                 x-warmfront-reason: max-forwards\r\n\
                 Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n\r\n{head}",
                head.len()
            ))
    };
    vec![
        options("options_with_no_hop_left_is_answered_here", &ask("OPTIONS", "0")),
        options("options_with_padded_zeros_is_answered_here", &ask("OPTIONS", "000")),
        options("options_asterisk_with_no_hop_left_is_answered_here", "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"),
        options(
            "connection_cannot_remove_the_last_hop",
            "OPTIONS /x HTTP/1.1\r\nHost: a\r\nConnection: max-forwards\r\nMax-Forwards: 0\r\n\r\n",
        ),
        trace("a_trace_with_no_hop_left_sees_itself", "Max-Forwards: 0\r\nA: b\r\n", "Max-Forwards: 0\r\nA: b\r\n"),
        trace(
            "a_trace_does_not_see_secrets",
            "Max-Forwards: 0\r\nCookie: a=b\r\nAuthorization: Basic x\r\nProxy-Authorization: y\r\nx-fc-access-key-secret: z\r\nA: b\r\n",
            "Max-Forwards: 0\r\nA: b\r\n",
        ),
        case("a_request_behind_the_last_hop_is_served", "RFC 9110 §7.6.2")
            .sends([&ask("OPTIONS", "0"), GET].concat())
            .client_gets_local(200, "max-forwards", false)
            .worker_gets(GET)
            .answers(),
        case("the_body_of_a_request_on_its_last_hop_is_skipped", "RFC 9110 §7.6.2")
            .sends("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nContent-Length: 28\r\n\r\n")
            .client_gets_local(200, "max-forwards", false)
            .sends("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .sends(GET)
            .worker_gets(GET)
            .answers(),
        case("an_expectation_on_the_last_hop_ends_the_connection", "RFC 9110 §10.1.1")
            .sends("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nExpect: 100-continue\r\nContent-Length: 28\r\n\r\n")
            .client_gets_local(200, "max-forwards", true)
            .client_ends(),
        case("the_last_hop_of_a_closing_client_ends_its_connection", "RFC 9112 §9.6")
            .sends("OPTIONS /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\nConnection: close\r\n\r\n")
            .client_gets_local(200, "max-forwards", true)
            .client_ends(),
    ]
}

fn untouched() -> Vec<Case> {
    let row = |name: &str, method: &str, hops: &str| passes(name, "RFC 9110 §7.6.2", ask(method, hops));
    vec![
        row("hops_of_a_post_are_not_counted", "POST", "5"),
        row("hops_of_a_delete_are_not_counted", "DELETE", "0"),
        row("hops_of_options_in_small_letters_are_not_counted", "options", "5"),
        row("hops_that_are_no_number_are_not_counted", "OPTIONS", "many"),
        row("negative_hops_are_not_counted", "OPTIONS", "-1"),
        row("empty_hops_are_not_counted", "OPTIONS", ""),
        row("hops_with_a_fraction_are_not_counted", "TRACE", "1.5"),
    ]
}
