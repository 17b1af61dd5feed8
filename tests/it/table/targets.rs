//! Targets go out as they came: nothing is decoded, normalised or repaired, and nothing splits a line.

use super::case::{Case, passes, refused};

#[test]
fn a_target_reaches_the_worker_byte_for_byte() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [paths(), queries(), asterisk(), malformed(), forbidden_bytes()].concat()
}

fn good(name: &str, reference: &'static str, target: &str) -> Case {
    passes(name, reference, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

fn paths() -> Vec<Case> {
    let normal = "RFC 3986 §6.2.2, path confusion";
    vec![
        good("a_long_path_passes", "RFC 9112 §3", &format!("/{}", "segment/".repeat(500))),
        good("a_path_ends_with_its_slash", normal, "/a/b/"),
        good("two_slashes_stay_two", normal, "//a//b"),
        good("a_path_that_looks_like_an_authority_is_a_path", "RFC 9112 §3.2.1", "//evil.example/x"),
        good("dot_segments_stay", normal, "/a/./b/../c"),
        good("dot_segments_above_the_root_stay", normal, "/../../etc/passwd"),
        good("encoded_dots_stay", normal, "/%2e%2e/%2E%2E/x"),
        good("an_encoded_slash_stays", normal, "/a%2Fb%2fc"),
        good("an_encoded_backslash_stays", normal, "/a%5C..%5cb"),
        good("a_backslash_stays", normal, "/a\\..\\b"),
        good("a_doubly_encoded_percent_stays", normal, "/%252e%252e%255c"),
        good("an_encoded_nul_stays", normal, "/a%00.js"),
        good("encoded_line_breaks_stay", "RFC 3986 §2.1, request splitting", "/a%0d%0aX:%20y"),
        good("a_broken_escape_stays", "RFC 3986 §2.1", "/%zz%1"),
        good("a_lonely_percent_stays", "RFC 3986 §2.1", "/%"),
        good("an_overlong_utf_8_escape_stays", "RFC 3629 §3", "/%c0%ae%c0%ae"),
        good("path_parameters_stay", normal, "/a;b=c/..;/d"),
        good("sub_delimiters_stay", "RFC 3986 §2.2", "/!$&'()*+,;=:@"),
        good("unreserved_characters_stay", "RFC 3986 §2.3", "/AZaz09-._~"),
        good("a_colon_in_the_first_segment_stays", "RFC 3986 §3.3", "/a:80/b"),
        good("characters_that_should_be_escaped_stay", "RFC 9112 §3.2", "/\"<>^`{|}[]"),
        good("raw_utf_8_stays", "RFC 9112 §3.2", "/grün/日本"),
        good("a_path_like_a_version_stays", "RFC 9112 §3", "/HTTP/1.1"),
        good("the_root_of_a_file_tree_stays", "RFC 3986 §3.3", "/favicon.ico"),
    ]
}

fn queries() -> Vec<Case> {
    vec![
        good("an_empty_query_stays", "RFC 3986 §3.4", "/?"),
        good("a_query_keeps_order_and_case", "RFC 3986 §3.4", "/x?B=2&a=1&B=3"),
        good("a_second_question_mark_stays", "RFC 3986 §3.4", "/x?a?b??c"),
        good("a_plus_and_an_escaped_space_stay_different", "RFC 3986 §3.4", "/?a=b+c%20d"),
        good("slashes_in_a_query_stay", "RFC 3986 §3.4", "/?next=//evil.example/../x"),
        good("a_url_in_a_query_stays", "RFC 3986 §3.4", "/?u=http://b:80/?v=w"),
        good("encoded_line_breaks_in_a_query_stay", "RFC 3986 §2.1, request splitting", "/?a=%0D%0A%0d%0a"),
        good("semicolons_and_braces_in_a_query_stay", "RFC 3986 §3.4", "/?a[0]=1;b={2}|3"),
        good("an_encoded_number_sign_stays", "RFC 3986 §3.5", "/a%23b?c%23d"),
        good("a_long_query_passes", "RFC 9112 §3", &format!("/?{}", "k=v&".repeat(1000))),
        good("a_log4j_lookup_is_only_a_target", "CVE-2021-44228", "/?x=${jndi:ldap://b/a}"),
        good("a_shellshock_string_is_only_a_target", "CVE-2014-6271", "/?x=()%20{%20:;};"),
    ]
}

fn asterisk() -> Vec<Case> {
    vec![
        passes("options_asterisk_passes", "RFC 9112 §3.2.4", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        passes("options_of_a_path_passes", "RFC 9110 §9.3.7", "OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n"),
        passes("a_path_of_an_asterisk_passes", "RFC 3986 §3.3", "GET /* HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]
}

fn malformed() -> Vec<Case> {
    let bad = |name: &str, reference, target: &str| {
        refused(name, reference, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), 400)
    };
    vec![
        bad("an_empty_target_is_refused", "RFC 9112 §3.2", ""),
        bad("a_space_behind_the_target_is_refused", "RFC 9112 §3.2", "/ "),
        bad("a_target_of_two_words_is_refused", "RFC 9112 §3.2", "/a /b"),
        bad("a_request_line_within_a_target_is_refused", "request splitting", "/ HTTP/1.1\r\nGET /x"),
        bad("a_tab_in_a_target_is_refused", "RFC 9112 §3.2", "/a\tb"),
        refused(
            "bytes_that_are_no_utf_8_are_refused_in_a_target",
            "RFC 9112 §3.2",
            b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
        ),
        refused(
            "an_unfinished_utf_8_character_is_refused_in_a_target",
            "RFC 9112 §3.2",
            b"GET /\xe6\x97 HTTP/1.1\r\nHost: a\r\n\r\n",
            400,
        ),
    ]
}

/// Each control character, in a path or in a query.
fn forbidden_bytes() -> Vec<Case> {
    let controls = (0..b' ').chain([0x7f]).filter(|byte| !b"\r\n\t".contains(byte));
    controls
        .map(|byte| {
            let place: &[u8] = if byte % 2 == 0 { b"GET /a" } else { b"GET /a?b" };
            let request = [place, &[byte], b"c HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            refused(format!("byte_{byte:02x}_in_a_target_is_refused"), "RFC 9112 §3.2", request, 400)
        })
        .collect()
}
