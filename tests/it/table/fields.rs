//! Field lines: a token, a colon, a value without control characters, CRLF. Everything else is refused,
//! and what is allowed goes out byte for byte, in order.

use super::case::{Case, becomes, case, passes, refused};

#[test]
fn field_lines_are_what_the_grammar_writes_and_pass_untouched() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [names(), colons(), folding(), line_ends(), values(), request_ids(), sizes(), forbidden_bytes()].concat()
}

/// Lines behind `Host` that are refused.
fn bad(name: impl Into<String>, reference: &'static str, lines: impl AsRef<[u8]>) -> Case {
    let request = [b"GET / HTTP/1.1\r\nHost: a\r\n", lines.as_ref(), b"\r\n\r\n"].concat();
    refused(name, reference, request, 400)
}

/// Lines behind `Host` that pass.
fn good(name: impl Into<String>, reference: &'static str, lines: impl AsRef<[u8]>) -> Case {
    let request = [b"GET / HTTP/1.1\r\nHost: a\r\n", lines.as_ref(), b"\r\n\r\n"].concat();
    passes(name, reference, request)
}

fn names() -> Vec<Case> {
    vec![
        good("every_token_character_may_stand_in_a_name", "RFC 9110 §5.6.2", "!#$%&'*+-.^_`|~09azAZ: x"),
        good("a_name_of_one_character_passes", "RFC 9110 §5.1", "~: x"),
        good("names_keep_their_case", "RFC 9110 §5.1", "X-MiXeD-cAsE: x"),
        good("an_underscore_stays_an_underscore", "RFC 9110 §5.1, CGI name confusion", "Content_Length: 5"),
        good("a_name_like_a_request_line_stays_a_name", "RFC 9110 §5.1", "GET: / HTTP/1.1"),
        good("equal_names_stay_apart_and_in_order", "RFC 9110 §5.3", "A: 1\r\nB: 2\r\na: 3\r\nA: 4"),
        good("set_cookie_in_a_request_stays", "RFC 9110 §5.3", "Set-Cookie: a=b\r\nSet-Cookie: c=d"),
        bad("an_empty_name_is_refused", "RFC 9110 §5.1, CVE-2023-25725", ": x"),
        bad("an_empty_name_before_others_is_refused", "RFC 9110 §5.1, CVE-2023-25725", ":\r\nA: b"),
        bad("a_line_of_a_colon_is_refused", "RFC 9110 §5.1, CVE-2023-25725", ":"),
        bad("a_space_within_a_name_is_refused", "RFC 9112 §5.1", "A b: c"),
        bad("a_tab_within_a_name_is_refused", "RFC 9112 §5.1", "A\tb: c"),
        bad("a_slash_in_a_name_is_refused", "RFC 9110 §5.6.2", "A/b: c"),
        bad("parentheses_in_a_name_are_refused", "RFC 9110 §5.6.2", "A(b): c"),
        bad("a_comma_in_a_name_is_refused", "RFC 9110 §5.6.2", "A,b: c"),
        bad("a_semicolon_in_a_name_is_refused", "RFC 9110 §5.6.2", "A;b: c"),
        bad("an_equals_sign_in_a_name_is_refused", "RFC 9110 §5.6.2", "A=b: c"),
        bad("an_at_sign_in_a_name_is_refused", "RFC 9110 §5.6.2", "A@b: c"),
        bad("brackets_in_a_name_are_refused", "RFC 9110 §5.6.2", "A[0]: c"),
        bad("braces_in_a_name_are_refused", "RFC 9110 §5.6.2", "{A}: c"),
        bad("quotes_around_a_name_are_refused", "RFC 9110 §5.6.2", "\"A\": c"),
        bad("a_backslash_in_a_name_is_refused", "RFC 9110 §5.6.2", "A\\b: c"),
        bad("angle_brackets_in_a_name_are_refused", "RFC 9110 §5.6.2", "<A>: c"),
        bad("a_question_mark_in_a_name_is_refused", "RFC 9110 §5.6.2", "A?: c"),
        bad("utf_8_in_a_name_is_refused", "RFC 9110 §5.6.2", "Ä: c"),
        bad("a_latin_1_byte_in_a_name_is_refused", "RFC 9110 §5.6.2", b"A\xe4: c"),
        bad("a_soft_hyphen_in_a_name_is_refused", "RFC 9110 §5.6.2", "Transfer\u{ad}Encoding: chunked"),
        bad("a_byte_of_255_in_a_name_is_refused", "RFC 9110 §5.6.2", b"\xff: c"),
    ]
}

fn colons() -> Vec<Case> {
    vec![
        bad("a_line_without_colon_is_refused", "RFC 9112 §5", "No colon here"),
        bad("a_name_alone_is_refused", "RFC 9112 §5", "Name"),
        bad("a_space_before_the_colon_is_refused", "RFC 9112 §5.1", "A : b"),
        bad("a_tab_before_the_colon_is_refused", "RFC 9112 §5.1", "A\t: b"),
        bad("spaces_before_the_colon_are_refused", "RFC 9112 §5.1", "A   : b"),
        bad("a_vertical_tab_before_the_colon_is_refused", "RFC 9112 §5.1", "A\x0b: b"),
        bad("a_nul_before_the_colon_is_refused", "RFC 9112 §5.1", "A\0: b"),
        bad("a_cr_before_the_colon_is_refused", "RFC 9112 §5.1", "A\r: b"),
        good("no_space_behind_the_colon_is_needed", "RFC 9112 §5.1", "A:b"),
        good("whitespace_around_a_value_stays", "RFC 9112 §5.1", "A: \t b \t "),
        good("further_colons_belong_to_the_value", "RFC 9112 §5", "A: b: c::d"),
        good("a_value_of_a_colon_passes", "RFC 9112 §5", "A::"),
        good("an_equals_sign_makes_no_field", "RFC 9112 §5", "A: b=c"),
        bad("an_equals_sign_is_no_colon", "RFC 9112 §5", "A=b"),
    ]
}

fn folding() -> Vec<Case> {
    vec![
        bad("a_line_folded_with_a_space_is_refused", "RFC 9112 §5.2", "A: b\r\n c"),
        bad("a_line_folded_with_a_tab_is_refused", "RFC 9112 §5.2", "A: b\r\n\tc"),
        bad("an_empty_value_that_is_folded_is_refused", "RFC 9112 §5.2", "A:\r\n b"),
        bad("a_folded_line_that_is_empty_is_refused", "RFC 9112 §5.2", "A: b\r\n \r\nC: d"),
        bad("a_folded_line_that_looks_like_a_field_is_refused", "RFC 9112 §5.2", "A: b\r\n C: d"),
        bad("a_fold_at_the_end_of_the_head_is_refused", "RFC 9112 §5.2", "A: b\r\n "),
        bad("a_fold_behind_a_bare_lf_is_refused", "RFC 9112 §5.2", "A: b\n c"),
        refused(
            "a_space_before_the_first_field_is_refused",
            "RFC 9112 §2.2",
            "GET / HTTP/1.1\r\n A: b\r\nHost: a\r\n\r\n",
            400,
        ),
        refused(
            "a_tab_before_the_first_field_is_refused",
            "RFC 9112 §2.2",
            "GET / HTTP/1.1\r\n\tA: b\r\nHost: a\r\n\r\n",
            400,
        ),
        refused(
            "a_line_of_a_space_before_the_fields_is_refused",
            "RFC 9112 §2.2",
            "GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n",
            400,
        ),
    ]
}

fn line_ends() -> Vec<Case> {
    let raw = |name: &str, reference, bytes: &str| refused(name, reference, bytes, 400);
    vec![
        bad("a_field_that_ends_with_a_bare_lf_is_refused", "RFC 9112 §2.2", "A: b\nC: d"),
        bad("a_field_that_ends_with_a_bare_cr_is_refused", "RFC 9112 §2.2", "A: b\rC: d"),
        bad("a_field_that_ends_with_cr_cr_lf_is_refused", "RFC 9112 §2.2", "A: b\r\r\nC: d"),
        bad("a_field_that_ends_with_lf_cr_is_refused", "RFC 9112 §2.2", "A: b\n\rC: d"),
        bad("an_empty_field_that_ends_with_a_bare_lf_is_refused", "RFC 9112 §2.2", "A:\nC: d"),
        raw("a_head_that_ends_with_lf_lf_is_refused", "RFC 9112 §2.2", "GET / HTTP/1.1\r\nHost: a\n\n"),
        raw("a_head_that_ends_with_crlf_lf_is_refused", "RFC 9112 §2.2", "GET / HTTP/1.1\r\nHost: a\r\n\n"),
        raw("a_head_that_ends_with_lf_crlf_is_refused", "RFC 9112 §2.2", "GET / HTTP/1.1\r\nHost: a\n\r\n"),
        raw(
            "a_head_that_ends_with_crlf_cr_x_is_refused",
            "RFC 9112 §2.2",
            "GET / HTTP/1.1\r\nHost: a\r\n\rx",
        ),
        raw("a_head_that_ends_with_cr_cr_is_refused", "RFC 9112 §2.2", "GET / HTTP/1.1\r\nHost: a\r\r"),
        raw(
            "a_bare_lf_before_a_smuggled_length_is_refused",
            "CVE-2022-32214",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\nContent-Length: 30\r\n\r\n",
        ),
        raw(
            "a_bare_cr_before_a_smuggled_coding_is_refused",
            "CVE-2023-30589",
            "POST / HTTP/1.1\r\nHost: a\r\nA: \rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        raw(
            "a_bare_cr_instead_of_the_empty_line_is_refused",
            "CVE-2023-30589",
            "POST / HTTP/1.1\r\nHost: a\r\nA: b\r\rGET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
    ]
}

fn values() -> Vec<Case> {
    vec![
        good("an_empty_value_passes", "RFC 9110 §5.5", "A:"),
        good("a_blank_value_passes", "RFC 9110 §5.5", "A:   \t"),
        good("an_empty_value_between_others_passes", "RFC 9110 §5.5", "A: 1\r\nB:\r\nC: 2"),
        good("a_tab_within_a_value_passes", "RFC 9110 §5.5", "A: b\tc"),
        good("visible_characters_pass", "RFC 9110 §5.5", "A: !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"),
        good("utf_8_in_a_value_passes", "RFC 9110 §5.5", "A: grün 日本"),
        good("obsolete_text_in_a_value_passes", "RFC 9110 §5.5", b"A: \x80\xa0\xff"),
        good("an_open_quote_in_a_value_passes", "RFC 9110 §5.5", "A: \"open"),
        good("an_open_comment_in_a_value_passes", "RFC 9110 §5.5", "User-Agent: x (open"),
        good("empty_list_items_pass", "RFC 9110 §5.6.1", "Accept: ,, a ,,"),
        good(
            "the_address_of_a_client_passes",
            "RFC 7239 §4",
            "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=5.6.7.8",
        ),
        good("authorization_passes", "RFC 9110 §11.6.2", "Authorization: Basic YTpi\r\nCookie: a=b"),
        good("method_overrides_are_not_understood", "RFC 9110 §9.1", "X-HTTP-Method-Override: DELETE"),
        good(
            "rewritten_urls_are_not_understood",
            "CVE-2018-14773",
            "X-Original-URL: /admin\r\nX-Rewrite-URL: /x",
        ),
        good("proxy_in_a_request_passes_as_a_field", "CVE-2016-5385", "Proxy: http://b/"),
        good("range_and_conditions_pass", "RFC 9110 §13.1", "Range: bytes=0-\r\nIf-None-Match: *"),
    ]
}

fn request_ids() -> Vec<Case> {
    let named = "x-fc-request-id: 1-68a1b2c3-0123abcd-0123456789ab";
    vec![
        good("a_request_id_of_the_platform_passes_as_it_is", "docs/errors.md", named),
        good("a_request_id_in_another_shape_passes_as_it_is", "docs/errors.md", "X-Fc-Request-Id: any thing"),
        good(
            "two_request_ids_pass_as_they_are",
            "docs/errors.md",
            "x-fc-request-id: 1\r\nx-fc-request-id: 2",
        ),
        becomes(
            "an_empty_request_id_is_replaced",
            "docs/errors.md",
            "GET / HTTP/1.1\r\nHost: a\r\nx-fc-request-id:\r\nA: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nx-fc-request-id: <id>\r\n\r\n",
        ),
        becomes(
            "a_blank_request_id_is_replaced",
            "docs/errors.md",
            "GET / HTTP/1.1\r\nHost: a\r\nx-fc-request-id:  \t\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nx-fc-request-id: <id>\r\n\r\n",
        ),
        becomes(
            "several_empty_request_ids_are_replaced_by_one",
            "docs/errors.md",
            "GET / HTTP/1.1\r\nx-fc-request-id:\r\nHost: a\r\nX-Fc-Request-Id: \r\nx-fc-request-id:\t\r\nA: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nx-fc-request-id: <id>\r\n\r\n",
        ),
        good(
            "other_fields_of_the_platform_pass_even_empty",
            "docs/errors.md",
            "x-fc-region:\r\nx-fc-qualifier: q",
        ),
    ]
}

fn sizes() -> Vec<Case> {
    vec![
        good("a_long_name_passes", "RFC 9110 §5.4", format!("{}: x", "n".repeat(4000))),
        good("a_long_value_passes", "RFC 9110 §5.4", format!("A: {}", "v".repeat(30_000))),
        good("many_fields_pass", "RFC 9110 §5.4", vec!["A: b"; 200].join("\r\n")),
        good("many_empty_fields_pass", "RFC 9110 §5.4", vec!["A:"; 200].join("\r\n")),
        case("a_field_line_that_never_ends_is_refused", "RFC 6585 §5")
            .sends(format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}", "v".repeat(90_000)))
            .gets_refusal(431),
        case("a_field_name_that_never_ends_is_refused", "RFC 6585 §5")
            .sends(format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "n".repeat(90_000)))
            .gets_refusal(431),
        case("blank_space_that_never_ends_is_refused", "RFC 6585 §5")
            .sends(format!("GET / HTTP/1.1\r\nHost: a\r\nA:{}", " ".repeat(90_000)))
            .gets_refusal(431),
        case("too_many_fields_are_refused", "RFC 6585 §5")
            .sends(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(256)))
            .gets_refusal(431),
    ]
}

/// Each control character in a value, and some in a name: another reader may end a line there.
fn forbidden_bytes() -> Vec<Case> {
    let controls = (0..b' ').chain([0x7f]).filter(|byte| !b"\r\n\t".contains(byte));
    let in_value = controls.clone().map(|byte| {
        let line = [b"A: b", &[byte][..], b"c"].concat();
        bad(format!("byte_{byte:02x}_in_a_value_is_refused"), "RFC 9110 §5.5", line)
    });
    let in_name = controls.filter(|byte| [0, 7, 0x0b, 0x1f, 0x7f].contains(byte)).map(|byte| {
        let line = [b"A", &[byte][..], b"b: c"].concat();
        bad(format!("byte_{byte:02x}_in_a_name_is_refused"), "RFC 9110 §5.6.2", line)
    });
    in_value.chain(in_name).collect()
}
