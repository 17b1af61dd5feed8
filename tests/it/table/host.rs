//! Exactly one Host in HTTP/1.1, whatever it says; routing must not depend on which of two is read.

use super::case::{Case, becomes, case, passes, refused};

#[test]
fn a_request_names_exactly_one_host() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [missing_and_repeated(), malformed_lines(), values(), old_versions(), look_alikes()].concat()
}

fn bad(name: &str, reference: &'static str, fields: &str) -> Case {
    refused(name, reference, format!("GET / HTTP/1.1\r\n{fields}\r\n"), 400)
}

fn good(name: &str, reference: &'static str, fields: &str) -> Case {
    passes(name, reference, format!("GET / HTTP/1.1\r\n{fields}\r\n"))
}

fn missing_and_repeated() -> Vec<Case> {
    vec![
        bad("http_1_1_without_host_is_refused", "RFC 9112 §3.2", ""),
        bad("http_1_1_with_other_fields_but_host_is_refused", "RFC 9112 §3.2", "A: b\r\nC: d\r\n"),
        bad("two_hosts_are_refused", "RFC 9112 §3.2, Host of Troubles", "Host: a\r\nHost: b\r\n"),
        bad("two_equal_hosts_are_refused", "RFC 9112 §3.2, Host of Troubles", "Host: a\r\nHost: a\r\n"),
        bad(
            "two_hosts_in_other_case_are_refused",
            "RFC 9112 §3.2, Host of Troubles",
            "Host: a\r\nhOST: b\r\n",
        ),
        bad(
            "two_hosts_apart_are_refused",
            "RFC 9112 §3.2, Host of Troubles",
            "Host: a\r\nA: b\r\nHost: c\r\n",
        ),
        bad("three_hosts_are_refused", "RFC 9112 §3.2", "Host: a\r\nHost: b\r\nHost: c\r\n"),
        bad("an_empty_host_beside_another_is_refused", "RFC 9112 §3.2", "Host:\r\nHost: a\r\n"),
        bad("a_host_beside_an_empty_one_is_refused", "RFC 9112 §3.2", "Host: a\r\nHost:\r\n"),
        bad("two_empty_hosts_are_refused", "RFC 9112 §3.2", "Host:\r\nHost:\r\n"),
        refused("options_asterisk_needs_a_host_too", "RFC 9112 §3.2", "OPTIONS * HTTP/1.1\r\n\r\n", 400),
        refused(
            "a_post_without_host_is_refused_with_its_body",
            "RFC 9112 §3.2",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            400,
        ),
        refused(
            "two_hosts_around_a_length_are_refused",
            "RFC 9112 §3.2",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nHost: b\r\n\r\nx",
            400,
        ),
    ]
}

fn malformed_lines() -> Vec<Case> {
    let trouble = "RFC 9112 §5.1, Host of Troubles";
    vec![
        bad("a_space_before_the_colon_of_host_is_refused", trouble, "Host : a\r\n"),
        bad("a_tab_before_the_colon_of_host_is_refused", trouble, "Host\t: a\r\n"),
        bad(
            "a_space_before_host_as_first_field_is_refused",
            "RFC 9112 §2.2, Host of Troubles",
            " Host: a\r\n",
        ),
        bad(
            "an_indented_second_host_is_refused",
            "RFC 9112 §5.2, Host of Troubles",
            "Host: a\r\n Host: b\r\n",
        ),
        bad("a_folded_host_is_refused", "RFC 9112 §5.2, Host of Troubles", "Host:\r\n a\r\n"),
        bad("a_host_folded_with_a_tab_is_refused", "RFC 9112 §5.2", "Host: a\r\n\tb\r\n"),
        bad("a_host_without_colon_is_refused", "RFC 9112 §5", "Host a\r\n"),
        bad("a_host_that_ends_with_a_bare_lf_is_refused", "RFC 9112 §2.2", "Host: a\nA: b\r\n"),
        bad("a_nul_in_host_is_refused", "RFC 9110 §5.5", "Host: a\0b\r\n"),
        bad("a_cr_in_host_is_refused", "RFC 9110 §5.5", "Host: a\rb\r\n"),
        bad("a_quoted_field_name_is_no_host", "RFC 9110 §5.1", "\"Host\": a\r\n"),
        bad("a_nul_in_the_name_host_is_refused", "RFC 9110 §5.1", "Ho\0st: a\r\n"),
        bad("a_byte_order_mark_before_host_is_refused", "RFC 9110 §5.1", "\u{feff}Host: a\r\n"),
        bad("a_host_behind_the_empty_line_does_not_count", "RFC 9112 §2.1", "\r\nHost: a\r\n"),
    ]
}

fn values() -> Vec<Case> {
    vec![
        good("an_empty_host_is_allowed", "RFC 9112 §3.2", "Host:\r\n"),
        good("a_blank_host_is_an_empty_one", "RFC 9112 §3.2", "Host:  \t \r\n"),
        good("a_host_name_passes", "RFC 9110 §7.2", "Host: example.com\r\n"),
        good("a_port_passes", "RFC 9110 §7.2", "Host: example.com:8080\r\n"),
        good("an_empty_port_passes", "RFC 3986 §3.2.3", "Host: example.com:\r\n"),
        good("an_ipv4_address_passes", "RFC 3986 §3.2.2", "Host: 127.0.0.1:9000\r\n"),
        good("an_ipv6_address_passes", "RFC 3986 §3.2.2", "Host: [::1]:9000\r\n"),
        good("a_final_dot_passes", "RFC 3986 §3.2.2", "Host: example.com.\r\n"),
        good("a_host_keeps_its_case", "RFC 9110 §4.2.3", "Host: EXAMPLE.Com\r\n"),
        good("an_underscore_in_a_host_passes", "RFC 3986 §3.2.2", "Host: my_app\r\n"),
        good("an_escaped_host_passes", "RFC 3986 §3.2.2", "Host: ex%61mple\r\n"),
        good("a_host_without_space_behind_its_colon_passes", "RFC 9112 §5.1", "Host:a\r\n"),
        good("spaces_around_a_host_stay", "RFC 9112 §5.1", "Host: \t a \t\r\n"),
        good("host_need_not_be_first", "RFC 9110 §7.2", "A: b\r\nHost: a\r\n"),
        good("host_may_be_last_of_many", "RFC 9110 §7.2", "A: b\r\nC: d\r\nE: f\r\nHost: a\r\n"),
        good("the_name_host_is_read_in_any_case", "RFC 9110 §5.1", "hOsT: a\r\n"),
        good("a_long_host_passes", "RFC 9110 §7.2", &format!("Host: {}\r\n", "label.".repeat(42))),
    ]
}

fn old_versions() -> Vec<Case> {
    vec![
        case("an_empty_host_in_http_1_0_counts", "RFC 9112 §3.2")
            .sends("GET / HTTP/1.0\r\nHost:\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nHost:\r\n\r\n")
            .answers_and_closes(),
        case("http_1_0_keeps_its_host", "RFC 9112 §3.2")
            .sends("GET / HTTP/1.0\r\nHost: example.com:1\r\nA: b\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nHost: example.com:1\r\nA: b\r\n\r\n")
            .answers_and_closes(),
        refused(
            "two_hosts_in_http_1_0_are_refused",
            "RFC 9112 §3.2",
            "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
            400,
        ),
    ]
}

fn look_alikes() -> Vec<Case> {
    vec![
        good(
            "other_fields_with_host_in_their_name_pass",
            "RFC 9110 §5.1",
            "X-Host: b\r\nHost: a\r\nHosts: c\r\n",
        ),
        good(
            "forwarded_hosts_pass_as_they_came",
            "RFC 7239 §5.3",
            "Host: a\r\nX-Forwarded-Host: b\r\nForwarded: host=c\r\n",
        ),
        bad("a_forwarded_host_is_no_host", "RFC 9112 §3.2", "X-Forwarded-Host: a\r\n"),
        becomes(
            "connection_cannot_remove_host",
            "RFC 9110 §7.6.1, hop-by-hop abuse",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        refused(
            "a_host_in_trailers_is_refused",
            "RFC 9110 §6.5.1",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n",
            400,
        ),
    ]
}
