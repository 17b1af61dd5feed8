//! Content-Length: one plain decimal number, once; it decides alone where the body ends.

use super::case::{Case, OK, becomes, case, passes, refused};

#[test]
fn a_content_length_is_one_decimal_number() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [numbers(), bodies(), repeated(), no_numbers(), malformed_lines(), look_alikes()].concat()
}

/// A POST with these lines behind `Host`, and what follows its head.
fn post(lines: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{body}")
}

fn good(name: &str, reference: &'static str, lines: &str, body: &str) -> Case {
    passes(name, reference, post(lines, body))
}

fn bad(name: &str, reference: &'static str, lines: &str) -> Case {
    refused(name, reference, post(lines, "abcde"), 400)
}

/// A body that nobody could send: its start reaches the worker, and then its client leaves.
fn unending(name: &str, reference: &'static str, length: &str) -> Case {
    let head = post(&format!("Content-Length: {length}"), "abc");
    case(name, reference).sends(&head).worker_gets_part(&head).client_leaves().worker_cut()
}

fn numbers() -> Vec<Case> {
    vec![
        good("a_length_of_zero_is_no_body", "RFC 9112 §6.2", "Content-Length: 0", ""),
        good("a_length_of_one_takes_one_byte", "RFC 9112 §6.2", "Content-Length: 1", "x"),
        good("leading_zeros_are_decimal", "RFC 9110 §8.6", "Content-Length: 0000000012", "abcdefghijkl"),
        good("many_zeros_are_zero", "RFC 9110 §8.6", "Content-Length: 0000000000000000000", ""),
        unending("a_length_over_32_bits_does_not_wrap", "RFC 9110 §8.6, CVE-2021-40346", "4294967297"),
        unending("a_length_of_63_bits_is_understood", "RFC 9110 §8.6", "9223372036854775807"),
        unending("a_length_over_63_bits_is_not_negative", "RFC 9110 §8.6", "9223372036854775808"),
        unending("the_longest_length_has_19_digits", "RFC 9110 §8.6", "9999999999999999999"),
        bad("a_length_of_64_bits_is_refused", "RFC 9110 §8.6", "Content-Length: 18446744073709551615"),
        bad("a_length_over_64_bits_is_refused", "RFC 9110 §8.6", "Content-Length: 18446744073709551616"),
        bad(
            "a_length_that_wraps_to_five_is_refused",
            "RFC 9110 §8.6",
            "Content-Length: 18446744073709551621",
        ),
        bad(
            "a_length_over_128_bits_is_refused",
            "RFC 9110 §8.6",
            &format!("Content-Length: {}", "9".repeat(40)),
        ),
        bad(
            "a_padded_length_of_20_digits_is_refused",
            "RFC 9110 §8.6",
            "Content-Length: 00000000000000000005",
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let request = |method: &str| format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    vec![
        passes("a_put_has_a_body", "RFC 9110 §9.3.4", request("PUT")),
        passes("a_patch_has_a_body", "RFC 5789 §2", request("PATCH")),
        passes("a_get_may_have_a_body", "RFC 9110 §9.3.1, CVE-2022-35256", request("GET")),
        passes("a_delete_may_have_a_body", "RFC 9110 §9.3.5", request("DELETE")),
        passes("an_options_may_have_a_body", "RFC 9110 §9.3.7", request("OPTIONS")),
        passes("an_unknown_method_may_have_a_body", "RFC 9112 §6", request("BREW")),
        case("a_head_may_have_a_body", "RFC 9110 §9.3.2")
            .sends(request("HEAD"))
            .worker_gets(request("HEAD"))
            .worker_says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            .client_gets("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        good(
            "a_request_within_a_body_is_only_a_body",
            "RFC 9112 §6.3",
            "Content-Length: 30",
            "GET /x HTTP/1.1\r\nHost: b\r\n\r\n\r\n",
        ),
        good("line_breaks_in_a_body_stay", "RFC 9112 §6.3", "Content-Length: 6", "\n\r\r\n\r\n"),
        good(
            "chunks_in_a_body_of_known_length_stay",
            "RFC 9112 §6.3",
            "Content-Length: 10",
            "3\r\nabc\r\n0\r",
        ),
        good("a_large_body_passes", "RFC 9112 §6.3", "Content-Length: 100000", &"0123456789".repeat(10_000)),
        case("a_body_may_come_behind_its_head", "RFC 9112 §6.3")
            .sends(post("Content-Length: 5", ""))
            .worker_gets_part(post("Content-Length: 5", ""))
            .sends("hel")
            .worker_gets_part("hel")
            .sends("lo")
            .worker_gets("lo")
            .answers(),
        case("bytes_behind_a_body_are_the_next_request", "RFC 9112 §6.3")
            .sends(post("Content-Length: 3", "abcGET /2 HTTP/1.1\r\nHost: a\r\n\r\n"))
            .worker_gets(post("Content-Length: 3", "abc"))
            .answers()
            .worker_gets("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
            .answers(),
        case("a_body_longer_than_its_length_is_a_bad_request", "RFC 9112 §6.3")
            .sends(post("Content-Length: 3", "abcdef\r\n\r\n"))
            .worker_gets(post("Content-Length: 3", "abc"))
            .answers()
            .gets_refusal(400),
        case("a_post_without_length_has_no_body", "RFC 9112 §6.3")
            .sends(post("A: b", "x=1\r\n\r\n"))
            .worker_gets(post("A: b", ""))
            .answers()
            .gets_refusal(400),
        case("a_client_that_leaves_within_its_body_leaves_no_whole_request", "RFC 9112 §8")
            .sends(post("Content-Length: 5", "abc"))
            .worker_gets_part(post("Content-Length: 5", "abc"))
            .client_leaves()
            .worker_cut(),
        case("a_length_in_http_1_0_counts", "RFC 9112 §6.3")
            .sends("POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            .worker_gets("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            .answers_and_closes(),
        case("a_post_in_http_1_0_without_length_has_no_body", "RFC 9112 §6.3, RFC 1945 §7.2.2")
            .sends("POST / HTTP/1.0\r\nHost: a\r\n\r\nabc")
            .worker_gets("POST / HTTP/1.1\r\nHost: a\r\n\r\n")
            .answers_and_closes(),
    ]
}

fn repeated() -> Vec<Case> {
    let smuggling = "RFC 9112 §6.3, house rule";
    vec![
        bad("two_different_lengths_are_refused", "RFC 9112 §6.3", "Content-Length: 5\r\nContent-Length: 6"),
        bad("two_equal_lengths_are_refused", smuggling, "Content-Length: 5\r\nContent-Length: 5"),
        bad("a_zero_before_a_length_is_refused", smuggling, "Content-Length: 0\r\nContent-Length: 5"),
        bad("a_length_before_a_zero_is_refused", smuggling, "Content-Length: 5\r\nContent-Length: 0"),
        bad(
            "equal_lengths_written_differently_are_refused",
            smuggling,
            "Content-Length: 5\r\nContent-Length: 05",
        ),
        bad("lengths_apart_are_refused", smuggling, "Content-Length: 5\r\nA: b\r\nContent-Length: 5"),
        bad("lengths_in_other_case_are_refused", smuggling, "Content-Length: 5\r\nCONTENT-LENGTH: 6"),
        bad("a_list_of_equal_lengths_is_refused", smuggling, "Content-Length: 5, 5"),
        bad("a_list_of_different_lengths_is_refused", "RFC 9112 §6.3", "Content-Length: 5, 6"),
        bad("a_list_without_spaces_is_refused", smuggling, "Content-Length: 5,5"),
        bad("a_comma_behind_a_length_is_refused", "RFC 9110 §8.6", "Content-Length: 5,"),
        bad("a_comma_before_a_length_is_refused", "RFC 9110 §8.6", "Content-Length: ,5"),
        bad(
            "an_empty_length_before_another_is_refused",
            "CVE-2023-40225",
            "Content-Length:\r\nContent-Length: 5",
        ),
        bad(
            "an_empty_length_behind_another_is_refused",
            "CVE-2023-40225",
            "Content-Length: 5\r\nContent-Length:",
        ),
        refused(
            "two_lengths_in_http_1_0_are_refused",
            "RFC 9112 §6.3",
            "POST / HTTP/1.0\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
            400,
        ),
        refused(
            "two_lengths_of_a_get_are_refused",
            "RFC 9112 §6.3",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 23\r\n\r\nGET /x HTTP/1.1\r\nX: y",
            400,
        ),
    ]
}

fn no_numbers() -> Vec<Case> {
    let grammar = "RFC 9110 §8.6";
    let rows = [
        ("an_empty_length_is_refused", ""),
        ("a_blank_length_is_refused", "  \t "),
        ("a_plus_sign_is_no_digit", "+5"),
        ("a_minus_sign_is_no_digit", "-5"),
        ("minus_zero_is_no_number", "-0"),
        ("a_hexadecimal_length_is_refused", "0x5"),
        ("a_bare_hexadecimal_length_is_refused", "a"),
        ("an_octal_length_is_refused", "0o5"),
        ("a_length_with_a_fraction_is_refused", "5.0"),
        ("a_length_with_an_exponent_is_refused", "5e0"),
        ("a_length_with_an_underscore_is_refused", "0_5"),
        ("two_numbers_with_a_space_are_refused", "5 5"),
        ("a_space_within_a_number_is_refused", "1 0"),
        ("a_unit_behind_a_number_is_refused", "5 bytes"),
        ("a_parameter_behind_a_number_is_refused", "5;a=b"),
        ("a_quoted_number_is_refused", "\"5\""),
        ("a_number_in_words_is_refused", "five"),
        ("infinity_is_no_number", "inf"),
        ("not_a_number_is_no_number", "NaN"),
        ("full_width_digits_are_no_digits", "５"),
        ("arabic_indic_digits_are_no_digits", "٥"),
        ("a_superscript_is_no_digit", "²"),
        ("a_number_behind_letters_is_refused", "x5"),
        ("letters_behind_a_number_are_refused", "5x"),
        ("a_tab_between_digits_is_refused", "5\t0"),
        ("a_number_in_brackets_is_refused", "[5]"),
        ("chunked_is_no_length", "chunked"),
        ("a_negative_number_of_64_bits_is_refused", "-9223372036854775808"),
    ];
    rows.iter().map(|(name, value)| bad(name, grammar, &format!("Content-Length: {value}"))).collect()
}

fn malformed_lines() -> Vec<Case> {
    let hidden = "RFC 9112 §5.1, HTTP Desync Attacks";
    vec![
        bad("a_space_before_the_colon_of_a_length_is_refused", hidden, "Content-Length : 5"),
        bad("a_tab_before_the_colon_of_a_length_is_refused", hidden, "Content-Length\t: 5"),
        bad("a_nul_in_the_name_of_a_length_is_refused", hidden, "Content-Length\0: 5"),
        bad("a_nul_behind_a_length_is_refused", hidden, "Content-Length: 5\0"),
        bad("a_vertical_tab_before_a_length_is_refused", "CVE-2019-18277", "Content-Length: \x0b5"),
        bad("a_form_feed_behind_a_length_is_refused", hidden, "Content-Length: 5\x0c"),
        bad("a_cr_behind_a_length_is_refused", hidden, "Content-Length: 5\r"),
        bad("a_folded_length_is_refused", "RFC 9112 §5.2", "Content-Length:\r\n 5"),
        bad("a_length_folded_into_another_field_is_refused", "RFC 9112 §5.2", "A: b\r\n Content-Length: 5"),
        bad("a_length_behind_a_bare_lf_is_refused", "CVE-2022-32214", "A: b\nContent-Length: 5"),
        bad("a_length_that_ends_with_a_bare_lf_is_refused", "RFC 9112 §2.2", "Content-Length: 5\nA: b"),
        bad("a_length_behind_a_colon_of_its_own_is_refused", hidden, ":Content-Length: 5"),
        bad("a_length_without_colon_is_refused", "RFC 9112 §5", "Content-Length 5"),
    ]
}

fn look_alikes() -> Vec<Case> {
    let alike = |name: &str, line: &str| {
        // It passes as any field, and what follows is the next request.
        case(name, "RFC 9110 §8.6")
            .sends(post(line, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"))
            .worker_gets(post(line, ""))
            .answers()
            .worker_gets("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
            .answers()
    };
    vec![
        alike("content_length_with_an_underscore_is_another_field", "Content_Length: 28"),
        alike("a_longer_name_is_another_field", "Content-Length-X: 28"),
        alike("a_shorter_name_is_another_field", "Content-Lengt: 28"),
        alike("a_prefixed_name_is_another_field", "X-Content-Length: 28"),
        good("the_name_of_a_length_is_read_in_any_case", "RFC 9110 §5.1", "cOnTeNt-LeNgTh: 5", "hello"),
        good("whitespace_around_a_length_stays", "RFC 9112 §5.1", "Content-Length:\t 5 \t", "hello"),
        good("no_space_before_a_length_is_needed", "RFC 9112 §5.1", "Content-Length:5", "hello"),
        becomes(
            "connection_cannot_remove_a_length",
            "RFC 9110 §7.6.1, hop-by-hop abuse",
            post("Connection: Content-Length\r\nContent-Length: 5", "hello"),
            post("Content-Length: 5", "hello"),
        ),
        case("a_length_beside_an_early_answer_still_counts", "RFC 9112 §6.3, CL.0 desync")
            .sends(post("Content-Length: 28", ""))
            .worker_gets_part(post("Content-Length: 28", ""))
            .worker_says(OK)
            .client_gets(OK)
            .worker_cut()
            .sends("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]
}
