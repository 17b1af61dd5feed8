//! The request line: method, single spaces, target, version, CRLF, and nothing else.

use super::case::{Case, GET, OK_CLOSE, OK_STAY, becomes, case, passes, refused};

#[test]
fn a_request_line_has_one_reading() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [methods(), spaces(), line_ends(), versions(), other_protocols(), forbidden_bytes()].concat()
}

/// A request line that is refused.
fn bad(name: &str, reference: &'static str, line: &str, status: u16) -> Case {
    refused(name, reference, format!("{line}\r\nHost: a\r\n\r\n"), status)
}

/// A request line that passes.
fn good(name: &str, reference: &'static str, line: &str) -> Case {
    passes(name, reference, format!("{line}\r\nHost: a\r\n\r\n"))
}

fn methods() -> Vec<Case> {
    vec![
        good("get_passes", "RFC 9110 §9.3.1", "GET / HTTP/1.1"),
        good("post_without_body_passes", "RFC 9110 §9.3.3", "POST / HTTP/1.1"),
        good("delete_passes", "RFC 9110 §9.3.5", "DELETE /x HTTP/1.1"),
        good("an_unknown_method_passes", "RFC 9110 §9.1", "BREW /pot HTTP/1.1"),
        good("a_method_in_lower_case_is_another_method", "RFC 9110 §9.1", "get / HTTP/1.1"),
        good("a_method_of_one_letter_passes", "RFC 9110 §9.1", "X / HTTP/1.1"),
        good(
            "every_token_character_may_stand_in_a_method",
            "RFC 9110 §5.6.2",
            "!#$%&'*+-.^_`|~0aZ / HTTP/1.1",
        ),
        good("webdav_methods_pass", "RFC 4918 §9.1", "PROPFIND / HTTP/1.1"),
        good("m_search_passes", "RFC 9110 §9.1", "M-SEARCH / HTTP/1.1"),
        bad("connect_is_not_offered", "RFC 9110 §9.3.6", "CONNECT a:443 HTTP/1.1", 405),
        bad("connect_with_a_path_is_not_offered", "RFC 9110 §9.3.6", "CONNECT / HTTP/1.1", 405),
        bad("connect_in_http_1_0_is_not_offered", "RFC 9110 §9.3.6", "CONNECT a:443 HTTP/1.0", 405),
        good("connect_in_lower_case_is_another_method", "RFC 9110 §9.1", "connect /x HTTP/1.1"),
        bad("a_method_with_a_slash_is_no_token", "RFC 9110 §5.6.2", "GET/x / HTTP/1.1", 400),
        bad("a_method_with_a_colon_is_no_token", "RFC 9110 §5.6.2", "GE:T / HTTP/1.1", 400),
        bad("a_method_with_parentheses_is_no_token", "RFC 9110 §5.6.2", "G(E)T / HTTP/1.1", 400),
        bad("a_quoted_method_is_no_token", "RFC 9110 §5.6.2", "\"GET\" / HTTP/1.1", 400),
        bad("a_method_beyond_ascii_is_no_token", "RFC 9110 §5.6.2", "GÉT / HTTP/1.1", 400),
        bad("a_line_without_a_method_is_refused", "RFC 9112 §3", "/ HTTP/1.1", 400),
        bad("a_line_of_one_word_is_refused", "RFC 9112 §3", "GET", 400),
        bad("an_empty_method_is_refused", "RFC 9112 §3", " / HTTP/1.1", 400),
    ]
}

fn spaces() -> Vec<Case> {
    vec![
        bad("two_spaces_before_the_target_are_refused", "RFC 9112 §3", "GET  / HTTP/1.1", 400),
        bad("two_spaces_before_the_version_are_refused", "RFC 9112 §3", "GET /  HTTP/1.1", 400),
        bad("a_space_behind_the_version_is_refused", "RFC 9112 §3", "GET / HTTP/1.1 ", 400),
        bad("a_tab_behind_the_version_is_refused", "RFC 9112 §3", "GET / HTTP/1.1\t", 400),
        bad("a_space_before_the_method_is_refused", "RFC 9112 §3", " GET / HTTP/1.1", 400),
        bad("a_tab_between_method_and_target_is_refused", "RFC 9112 §3", "GET\t/ HTTP/1.1", 400),
        bad("a_tab_between_target_and_version_is_refused", "RFC 9112 §3", "GET /\tHTTP/1.1", 400),
        bad("a_vertical_tab_is_no_space", "RFC 9112 §3, CVE-2019-18277", "GET\x0b/ HTTP/1.1", 400),
        bad("a_form_feed_is_no_space", "RFC 9112 §3, CVE-2019-18277", "GET /\x0cHTTP/1.1", 400),
        bad("a_no_break_space_is_no_space", "RFC 9112 §3", "GET\u{a0}/ HTTP/1.1", 400),
        bad("a_space_within_the_target_is_refused", "RFC 9112 §3.2", "GET /a b HTTP/1.1", 400),
        bad("words_behind_the_version_are_refused", "RFC 9112 §3", "GET / HTTP/1.1 x", 400),
        bad(
            "a_second_version_behind_the_first_is_refused",
            "RFC 9112 §3, HTTP Desync Attacks",
            "GET / HTTP/1.1 HTTP/1.1",
            400,
        ),
    ]
}

fn line_ends() -> Vec<Case> {
    let bad = |name: &str, reference, bytes: &str| refused(name, reference, bytes, 400);
    vec![
        bad("a_bare_lf_ends_no_request_line", "RFC 9112 §2.2", "GET / HTTP/1.1\nHost: a\r\n\r\n"),
        bad("a_bare_cr_ends_no_request_line", "RFC 9112 §2.2", "GET / HTTP/1.1\rHost: a\r\n\r\n"),
        bad("a_head_of_bare_lfs_is_refused", "RFC 9112 §2.2", "GET / HTTP/1.1\nHost: a\n\n"),
        bad("two_crs_before_the_lf_are_refused", "RFC 9112 §2.2", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"),
        bad("lf_before_cr_is_refused", "RFC 9112 §2.2", "GET / HTTP/1.1\n\rHost: a\r\n\r\n"),
        bad("a_cr_within_the_target_is_refused", "RFC 9112 §2.2", "GET /\rx HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad(
            "a_line_break_within_the_target_is_refused",
            "RFC 9112 §3, request splitting",
            "GET /\r\nX: y HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        bad("a_cr_before_the_first_line_is_refused", "RFC 9112 §2.2", "\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        bad(
            "a_bare_lf_before_the_first_line_is_refused",
            "RFC 9112 §2.2",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        bad(
            "a_bare_lf_behind_an_empty_line_is_refused",
            "RFC 9112 §2.2",
            "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        bad(
            "a_line_of_spaces_before_the_request_is_refused",
            "RFC 9112 §2.2",
            " \r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        becomes(
            "an_empty_line_before_a_request_is_ignored",
            "RFC 9112 §2.2",
            "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        becomes(
            "several_empty_lines_before_a_request_are_ignored",
            "RFC 9112 §2.2",
            "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        case("an_empty_line_alone_is_no_request", "RFC 9112 §2.2")
            .sends("\r\n")
            .sends("\r\n")
            .sends("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .answers(),
        case("an_empty_line_in_two_pieces_is_ignored", "RFC 9112 §2.2")
            .sends("\r")
            .sends("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .answers(),
        becomes(
            "a_line_break_behind_a_body_is_ignored_before_the_next_request",
            "RFC 9112 §2.2",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
        ),
    ]
}

fn versions() -> Vec<Case> {
    vec![
        case("http_1_0_is_passed_on_as_1_1_and_closes", "RFC 9112 §9.3, RFC 9110 §2.5")
            .sends("GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .answers_and_closes(),
        case("http_1_0_without_host_gets_one", "RFC 9112 §3.2")
            .sends("GET / HTTP/1.0\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nx-fc-request-id: <id>\r\nHost: localhost\r\n\r\n")
            .answers_and_closes(),
        case("http_1_0_may_ask_to_stay", "RFC 9112 §9.3")
            .sends("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_says(super::case::OK)
            .client_gets(OK_STAY),
        case("http_1_0_that_asks_to_close_is_closed", "RFC 9112 §9.3")
            .sends("GET / HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_says(super::case::OK)
            .client_gets(OK_CLOSE)
            .client_ends(),
        bad("http_1_2_is_not_supported", "RFC 9110 §15.6.6", "GET / HTTP/1.2", 505),
        bad("http_1_9_is_not_supported", "RFC 9110 §15.6.6", "GET / HTTP/1.9", 505),
        bad("http_2_in_a_request_line_is_not_supported", "RFC 9110 §15.6.6", "GET / HTTP/2.0", 505),
        bad("http_3_in_a_request_line_is_not_supported", "RFC 9110 §15.6.6", "GET / HTTP/3.0", 505),
        bad("http_0_9_with_a_version_is_not_supported", "RFC 9110 §15.6.6", "GET / HTTP/0.9", 505),
        bad("a_version_without_minor_is_not_supported", "RFC 9112 §2.3", "GET / HTTP/1", 505),
        bad("a_minor_version_of_two_digits_is_refused", "RFC 9112 §2.3", "GET / HTTP/1.10", 400),
        bad("a_major_version_of_two_digits_is_not_supported", "RFC 9112 §2.3", "GET / HTTP/11.1", 505),
        bad("a_padded_version_is_not_supported", "RFC 9112 §2.3", "GET / HTTP/01.1", 505),
        bad("a_version_with_a_comma_is_not_supported", "RFC 9112 §2.3", "GET / HTTP/1,1", 505),
        bad("a_version_in_letters_is_not_supported", "RFC 9112 §2.3", "GET / HTTP/x.y", 505),
        bad("a_negative_version_is_not_supported", "RFC 9112 §2.3", "GET / HTTP/-1.1", 505),
        bad("the_name_of_the_protocol_is_in_capitals", "RFC 9112 §2.3", "GET / http/1.1", 400),
        bad("a_mixed_case_protocol_is_refused", "RFC 9112 §2.3", "GET / Http/1.1", 400),
        bad("another_protocol_name_is_refused", "RFC 9112 §2.3", "GET / HTTPS/1.1", 400),
        bad("a_protocol_without_slash_is_refused", "RFC 9112 §2.3", "GET / HTTP1.1", 400),
        bad("a_space_within_the_version_is_refused", "RFC 9112 §2.3", "GET / HTTP/ 1.1", 400),
    ]
}

fn other_protocols() -> Vec<Case> {
    let bad = |name: &str, reference, bytes: &[u8]| refused(name, reference, bytes, 400);
    vec![
        bad("a_simple_request_of_http_0_9_is_refused", "RFC 9112 §3, RFC 1945 §4.1", b"GET /\r\n\r\n"),
        bad(
            "a_tls_client_hello_is_refused",
            "RFC 8446 §4.1.2",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ),
        bad("an_ssh_banner_is_refused", "RFC 4253 §4.2", b"SSH-2.0-OpenSSH_9.6\r\n"),
        bad("a_proxy_protocol_line_is_refused", "PROXY protocol", b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"),
        bad(
            "a_binary_proxy_protocol_header_is_refused",
            "PROXY protocol",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x01\x01\x01\x01\x02\x02\x02\x02\0\x01\0\x02",
        ),
        bad("rtsp_is_refused", "RFC 7826 §20.1", b"OPTIONS rtsp://a/ RTSP/2.0\r\nHost: a\r\n\r\n"),
        bad("a_response_is_no_request", "RFC 9112 §2.1", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        bad("a_smtp_greeting_is_refused", "RFC 5321 §4.1.1.1", b"EHLO example.com\r\n"),
        passes("pri_may_be_a_method", "RFC 9113 §3.4", "PRI /x HTTP/1.1\r\nHost: a\r\n\r\n"),
        refused(
            "a_broken_preface_of_http_2_is_refused",
            "RFC 9113 §3.4",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\rx",
            505,
        ),
        refused(
            "a_preface_of_http_2_with_a_field_is_refused",
            "RFC 9113 §3.4",
            "PRI * HTTP/2.0\r\nHost: a\r\n\r\n",
            505,
        ),
        case("a_preface_behind_a_request_is_refused", "RFC 9113 §3.4")
            .sends(GET)
            .worker_gets(GET)
            .answers()
            .sends("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .gets_refusal(505),
    ]
}

/// Each control character, in the method and in the version.
fn forbidden_bytes() -> Vec<Case> {
    let controls = (0..b' ').chain([0x7f]).filter(|byte| !b"\r\n\t\x0b\x0c".contains(byte));
    controls
        .filter(|byte| [0, 1, 8, 0x1b, 0x1f, 0x7f].contains(byte))
        .flat_map(|byte| {
            let request =
                |before: &[u8], after: &[u8]| [before, &[byte][..], after, b"\r\nHost: a\r\n\r\n"].concat();
            [
                refused(
                    format!("byte_{byte:02x}_in_the_method_is_refused"),
                    "RFC 9110 §5.6.2",
                    request(b"GE", b"T / HTTP/1.1"),
                    400,
                ),
                refused(
                    format!("byte_{byte:02x}_behind_the_version_is_refused"),
                    "RFC 9112 §3",
                    request(b"GET / HTTP/1.1", b""),
                    400,
                ),
            ]
        })
        .collect()
}
