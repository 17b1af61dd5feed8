//! Chunks are read literally: bare hexadecimal sizes, CRLF and only CRLF, extensions and trailers as the
//! grammar writes them. Wherever two readers have been seen to disagree, the request is refused.

use super::case::{Case, OK, case, passes, refused};

#[test]
fn chunks_end_where_the_grammar_says() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    let all = [
        sound(),
        sizes(),
        extensions(),
        extension_line_ends(),
        data_ends(),
        last_chunks(),
        trailers(),
        behind_the_end(),
        later_chunks(),
    ];
    all.concat()
}

const HEAD: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fn good(name: &str, reference: &'static str, chunks: &str) -> Case {
    passes(name, reference, [HEAD, chunks].concat())
}

/// Refused with the head: nothing has reached a worker.
fn bad(name: &str, reference: &'static str, chunks: &str) -> Case {
    refused(name, reference, [HEAD, chunks].concat(), 400)
}

fn sound() -> Vec<Case> {
    vec![
        good("an_empty_chunked_body_passes", "RFC 9112 §7.1", "0\r\n\r\n"),
        good("several_chunks_stay_several", "RFC 9112 §7.1", "1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n"),
        good("sizes_in_capitals_stay", "RFC 9112 §7.1", "A\r\n0123456789\r\n0\r\n\r\n"),
        good("sizes_in_small_letters_stay", "RFC 9112 §7.1", "b\r\n0123456789a\r\n0\r\n\r\n"),
        good("leading_zeros_of_a_size_stay", "RFC 9112 §7.1", "0005\r\nhello\r\n0\r\n\r\n"),
        good("a_size_of_fifteen_digits_passes", "RFC 9112 §7.1", "000000000000005\r\nhello\r\n0\r\n\r\n"),
        good("a_last_chunk_of_several_zeros_ends_the_body", "RFC 9112 §7.1", "1\r\nx\r\n000\r\n\r\n"),
        good("data_of_line_breaks_stays", "RFC 9112 §7.1", "6\r\n\r\n\r\n\r\n\r\n0\r\n\r\n"),
        good("data_like_a_last_chunk_stays", "RFC 9112 §7.1", "5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
        good(
            "data_like_a_request_stays",
            "RFC 9112 §7.1",
            "1c\r\nGET /x HTTP/1.1\r\nHost: b\r\n\r\n\r\n0\r\n\r\n",
        ),
        good(
            "a_large_chunk_passes",
            "RFC 9112 §7.1",
            &format!("{:x}\r\n{}\r\n0\r\n\r\n", 50_000, "0123456789".repeat(5000)),
        ),
        good("many_small_chunks_pass", "RFC 9112 §7.1", &format!("{}0\r\n\r\n", "1\r\nx\r\n".repeat(500))),
        case("chunks_pass_as_they_come", "RFC 9112 §7.1")
            .sends(HEAD)
            .worker_gets_part(HEAD)
            .sends("5\r\nhello\r\n")
            .worker_gets_part("5\r\nhello\r\n")
            .sends("5\r\nworld")
            .worker_gets_part("5\r\nworld")
            .sends("\r\n0\r\n\r\n")
            .worker_gets("\r\n0\r\n\r\n")
            .answers(),
    ]
}

fn sizes() -> Vec<Case> {
    let size = "RFC 9112 §7.1";
    vec![
        bad("an_empty_size_is_refused", size, "\r\nx\r\n0\r\n\r\n"),
        bad("a_space_before_a_size_is_refused", size, " 1\r\nx\r\n0\r\n\r\n"),
        bad("a_tab_before_a_size_is_refused", size, "\t1\r\nx\r\n0\r\n\r\n"),
        bad("a_space_behind_a_size_is_refused", size, "1 \r\nx\r\n0\r\n\r\n"),
        bad("a_tab_behind_a_size_is_refused", size, "1\t\r\nx\r\n0\r\n\r\n"),
        bad("a_plus_before_a_size_is_refused", size, "+1\r\nx\r\n0\r\n\r\n"),
        bad("a_negative_size_is_refused", size, "-1\r\nx\r\n0\r\n\r\n"),
        bad("a_prefixed_size_is_refused", size, "0x1\r\nx\r\n0\r\n\r\n"),
        bad("a_prefix_in_capitals_is_refused", size, "0X1\r\nx\r\n0\r\n\r\n"),
        bad("a_suffixed_size_is_refused", size, "1h\r\nx\r\n0\r\n\r\n"),
        bad("a_letter_beyond_f_is_refused", size, "g\r\nx\r\n0\r\n\r\n"),
        bad("an_underscore_in_a_size_is_refused", size, "1_0\r\n0123456789abcdef\r\n0\r\n\r\n"),
        bad("a_point_in_a_size_is_refused", size, "1.0\r\nx\r\n0\r\n\r\n"),
        bad("a_comma_in_a_size_is_refused", size, "1,0\r\nx\r\n0\r\n\r\n"),
        bad("a_quoted_size_is_refused", size, "\"1\"\r\nx\r\n0\r\n\r\n"),
        bad("two_sizes_are_refused", size, "1 1\r\nx\r\n0\r\n\r\n"),
        bad("a_full_width_digit_is_no_digit_of_a_size", size, "１\r\nx\r\n0\r\n\r\n"),
        bad("a_nul_behind_a_size_is_refused", size, "1\0\r\nx\r\n0\r\n\r\n"),
        bad("a_vertical_tab_behind_a_size_is_refused", size, "1\x0b\r\nx\r\n0\r\n\r\n"),
        bad("a_size_of_sixteen_zeros_is_refused", "house rule", "0000000000000000\r\n\r\n"),
        bad("a_padded_size_of_sixteen_digits_is_refused", "house rule", "0000000000000001\r\nx\r\n0\r\n\r\n"),
        bad("a_size_of_64_bits_is_refused", "RFC 9112 §7.1, CVE-2013-2028", "ffffffffffffffff\r\nx\r\n"),
        bad("a_size_that_is_minus_two_is_refused", "CVE-2013-2028", "FFFFFFFFFFFFFFFE\r\nx\r\n"),
        bad("a_size_over_64_bits_is_refused", size, "10000000000000000\r\nx\r\n"),
        bad("a_size_that_wraps_to_one_is_refused", size, "10000000000000001\r\nx\r\n0\r\n\r\n"),
        bad("a_size_that_wraps_to_zero_is_refused", size, "10000000000000000\r\n\r\n"),
        case("a_size_over_32_bits_does_not_wrap", size)
            .sends([HEAD, "100000001\r\nx\r\n0\r\n\r\n"].concat())
            .worker_gets_part([HEAD, "100000001\r\nx\r\n0\r\n\r\n"].concat())
            .client_leaves()
            .worker_cut(),
    ]
}

fn extensions() -> Vec<Case> {
    let grammar = "RFC 9112 §7.1.1";
    let row = |name: &str, extension: &str| good(name, grammar, &format!("1{extension}\r\nx\r\n0\r\n\r\n"));
    let wrong = |name: &str, extension: &str| bad(name, grammar, &format!("1{extension}\r\nx\r\n0\r\n\r\n"));
    vec![
        row("an_extension_without_value_passes", ";a"),
        row("an_extension_with_a_token_passes", ";a=b"),
        row("an_extension_with_a_quoted_string_passes", ";a=\"b c;d=e\""),
        row("an_extension_with_an_empty_string_passes", ";a=\"\""),
        row("an_escaped_quote_in_an_extension_passes", ";a=\"b\\\"c\""),
        row("an_escaped_backslash_in_an_extension_passes", ";a=\"b\\\\\""),
        row("several_extensions_pass", ";a;b=c;d=\"e\""),
        row("spaces_around_the_signs_of_an_extension_pass", " ; a = b"),
        row("tabs_around_the_signs_of_an_extension_pass", "\t;\ta\t=\t\"b\""),
        row("beyond_ascii_in_a_quoted_extension_passes", ";a=\"grün\""),
        good("an_extension_of_the_last_chunk_passes", grammar, "1\r\nx\r\n0;a=b\r\n\r\n"),
        wrong("a_semicolon_without_extension_is_refused", ";"),
        wrong("a_semicolon_and_a_space_are_refused", "; "),
        wrong("two_semicolons_are_refused", ";;a"),
        wrong("a_semicolon_behind_an_extension_is_refused", ";a=b;"),
        wrong("an_extension_without_name_is_refused", ";=b"),
        wrong("an_extension_without_its_value_is_refused", ";a="),
        wrong("an_open_quote_in_an_extension_is_refused", ";a=\"b"),
        wrong("an_open_quote_behind_an_escape_is_refused", ";a=\"b\\\""),
        wrong("bytes_behind_a_quoted_extension_are_refused", ";a=\"b\"c"),
        wrong("a_space_behind_an_extension_is_refused", ";a=b "),
        wrong("two_words_as_an_extension_are_refused", ";a b"),
        wrong("a_quoted_name_of_an_extension_is_refused", ";\"a\"=b"),
        wrong("beyond_ascii_in_the_name_of_an_extension_is_refused", ";ä=b"),
        wrong("a_comma_in_an_extension_is_refused", ";a,b"),
        wrong("a_word_without_semicolon_is_refused", " a=b"),
        wrong("a_comma_before_an_extension_is_refused", ",a=b"),
        wrong("a_nul_in_an_extension_is_refused", ";a=\"\0\""),
        wrong("a_delete_in_an_extension_is_refused", ";a\x7f"),
        wrong("an_escape_character_in_an_extension_is_refused", ";a=\"\x1b[0m\""),
    ]
}

fn extension_line_ends() -> Vec<Case> {
    let funky = "RFC 9112 §7.1.1, Funky chunks";
    vec![
        bad("a_bare_lf_ends_no_size", "RFC 9112 §7.1, CVE-2025-22871", "1\nx\r\n0\r\n\r\n"),
        bad("a_bare_cr_ends_no_size", "RFC 9112 §7.1", "1\rx\r\n0\r\n\r\n"),
        bad("cr_cr_lf_ends_no_size", "RFC 9112 §7.1", "1\r\r\nx\r\n0\r\n\r\n"),
        bad("lf_cr_ends_no_size", "RFC 9112 §7.1", "1\n\rx\r\n0\r\n\r\n"),
        bad(
            "term_ext_a_bare_lf_ends_no_extension",
            funky,
            "2;\nxx\r\n43\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        bad("ext_term_a_bare_lf_is_no_part_of_an_extension", funky, "2;a\nxx\r\n0\r\n\r\n"),
        bad("a_bare_cr_ends_no_extension", funky, "2;a\rxx\r\n0\r\n\r\n"),
        bad("a_bare_cr_is_no_part_of_an_extension", funky, "2;\r\rxx\r\n0\r\n\r\n"),
        bad("cr_cr_lf_ends_no_extension", funky, "2;a\r\r\nxx\r\n0\r\n\r\n"),
        bad("a_bare_lf_ends_no_extension_of_the_last_chunk", funky, "1\r\nx\r\n0;a\n\r\n\r\n"),
        bad(
            "a_line_break_in_a_quoted_extension_is_refused",
            "RFC 9112 §7.1.1, Funky chunks 2, CVE-2026-33870",
            "1;a=\"\r\nx\r\n0\r\n\r\n\"",
        ),
        bad("a_bare_lf_in_a_quoted_extension_is_refused", funky, "1;a=\"\n\"\r\nx\r\n0\r\n\r\n"),
        bad("an_escaped_cr_in_an_extension_is_refused", funky, "1;a=\"\\\r\"\r\nx\r\n0\r\n\r\n"),
        bad("a_folded_extension_is_refused", funky, "1;a\r\n =b\r\nx\r\n0\r\n\r\n"),
        bad("a_bare_lf_behind_the_space_of_a_size_is_refused", funky, "1 \nx\r\n0\r\n\r\n"),
    ]
}

fn data_ends() -> Vec<Case> {
    let spill = "RFC 9112 §7.1, Funky chunks";
    vec![
        bad("data_that_ends_with_a_bare_lf_is_refused", spill, "1\r\nx\n0\r\n\r\n"),
        bad("data_that_ends_with_a_bare_cr_is_refused", spill, "1\r\nx\r0\r\n\r\n"),
        bad("data_without_line_end_is_refused", spill, "1\r\nx0\r\n\r\n"),
        bad("data_longer_than_its_size_is_refused", spill, "1\r\nxy\r\n0\r\n\r\n"),
        bad("data_shorter_than_its_size_is_refused", spill, "5\r\nabc\r\n0\r\n\r\n"),
        bad("data_that_ends_with_lf_cr_is_refused", spill, "1\r\nx\n\r0\r\n\r\n"),
        bad("data_that_ends_with_cr_cr_lf_is_refused", spill, "1\r\nx\r\r\n0\r\n\r\n"),
        bad("data_that_ends_with_two_line_breaks_is_refused", spill, "1\r\nx\r\n\r\n0\r\n\r\n"),
        bad("term_spill_two_bytes_are_no_line_end", spill, "1\r\nxyz0\r\n\r\n"),
        bad("spill_term_a_space_is_no_line_end", spill, "1\r\nx \r\n0\r\n\r\n"),
        bad(
            "one_two_one_byte_of_line_end_is_refused",
            spill,
            "2\r\nxx\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        bad("two_one_a_line_end_within_the_data_is_not_skipped", spill, "3\r\nx\r\n0\r\n\r\n"),
    ]
}

fn last_chunks() -> Vec<Case> {
    let end = "RFC 9112 §7.1";
    vec![
        bad("a_last_chunk_that_ends_with_a_bare_lf_is_refused", end, "1\r\nx\r\n0\n\r\n"),
        bad("a_body_that_ends_with_a_bare_lf_is_refused", end, "1\r\nx\r\n0\r\n\n"),
        bad("a_body_that_ends_with_two_bare_lfs_is_refused", end, "1\r\nx\r\n0\n\n"),
        bad("a_body_that_ends_with_cr_cr_is_refused", end, "1\r\nx\r\n0\r\n\r\r"),
        bad("a_body_that_ends_with_cr_x_is_refused", end, "1\r\nx\r\n0\r\n\rx"),
        bad("a_space_behind_the_last_size_is_refused", end, "1\r\nx\r\n0 \r\n\r\n"),
        bad("a_minus_before_the_last_size_is_refused", end, "1\r\nx\r\n-0\r\n\r\n"),
        case("a_body_without_its_final_line_break_is_not_whole", "RFC 9112 §8")
            .sends([HEAD, "1\r\nx\r\n0\r\n"].concat())
            .worker_gets_part([HEAD, "1\r\nx\r\n0\r\n"].concat())
            .client_leaves()
            .worker_cut(),
        case("a_body_without_its_last_chunk_is_not_whole", "RFC 9112 §8")
            .sends([HEAD, "1\r\nx\r\n"].concat())
            .worker_gets_part([HEAD, "1\r\nx\r\n"].concat())
            .client_leaves()
            .worker_cut(),
    ]
}

fn trailers() -> Vec<Case> {
    let section = "RFC 9112 §7.1.2";
    let row = |name: &str, trailers: &str| good(name, section, &format!("1\r\nx\r\n0\r\n{trailers}\r\n\r\n"));
    let wrong =
        |name: &str, trailers: &str| bad(name, section, &format!("1\r\nx\r\n0\r\n{trailers}\r\n\r\n"));
    vec![
        row("a_trailer_passes", "A: b"),
        row("several_trailers_pass_in_order", "B: 1\r\nA: 2\r\nb: 3"),
        row("an_empty_trailer_passes", "A:"),
        row("a_trailer_beyond_ascii_passes", "A: grün"),
        row("a_trailer_with_spaces_passes", "A: \t b c \t"),
        row("a_trailer_like_a_request_passes_as_a_trailer", "GET: / HTTP/1.1"),
        row("connection_in_a_trailer_changes_nothing", "Connection: close"),
        wrong("a_trailer_without_colon_is_refused", "No colon"),
        wrong("a_trailer_without_name_is_refused", ": x"),
        wrong("a_space_before_the_colon_of_a_trailer_is_refused", "A : b"),
        wrong("a_folded_trailer_is_refused", "A: b\r\n c"),
        wrong("a_space_before_the_first_trailer_is_refused", " A: b"),
        wrong("a_bare_lf_behind_a_trailer_is_refused", "A: b\nB: c"),
        wrong("a_bare_cr_in_a_trailer_is_refused", "A: b\rc"),
        wrong("a_nul_in_a_trailer_is_refused", "A: b\0c"),
        wrong("a_delete_in_a_trailer_is_refused", "A: b\x7f"),
        wrong("a_nul_in_the_name_of_a_trailer_is_refused", "A\0: b"),
        wrong("beyond_ascii_in_the_name_of_a_trailer_is_refused", "Ä: b"),
        wrong("a_request_line_is_no_trailer", "GET /x HTTP/1.1\r\nHost: a"),
    ]
}

fn behind_the_end() -> Vec<Case> {
    let whole = [HEAD, "1\r\nx\r\n0\r\n\r\n"].concat();
    let behind = |name: &str, bytes: &str| {
        case(name, "RFC 9112 §7.1")
            .sends([&whole, bytes].concat())
            .worker_gets(&whole)
            .answers()
            .gets_refusal(400)
    };
    vec![
        behind("bytes_behind_a_body_are_no_part_of_it", "junk\r\n\r\n"),
        behind("a_second_last_chunk_is_a_bad_request", "0\r\n\r\n"),
        behind("a_chunk_behind_the_end_is_a_bad_request", "1\r\ny\r\n0\r\n\r\n"),
        behind("a_trailer_behind_the_end_is_a_bad_request", "A: b\r\n\r\n"),
        case("a_request_behind_a_chunked_body_is_the_next_request", "RFC 9112 §9.3.2")
            .sends([&whole, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"].concat())
            .worker_gets(&whole)
            .answers()
            .worker_gets("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
            .answers(),
        case("a_line_break_behind_a_chunked_body_is_ignored", "RFC 9112 §2.2")
            .sends([&whole, "\r\n"].concat())
            .worker_gets(&whole)
            .answers(),
    ]
}

/// What breaks behind a part that the worker has got already: it must not see an end.
fn later_chunks() -> Vec<Case> {
    let first = [HEAD, "5\r\nhello\r\n"].concat();
    let later = |name: &str, reference, chunks: &str| {
        case(name, reference)
            .sends(&first)
            .worker_gets_part(&first)
            .sends(chunks)
            .client_gets_local(400, "request-body", true)
            .client_ends()
            .worker_cut()
    };
    vec![
        later("a_bad_size_further_on_cuts_the_request", "RFC 9112 §7.1", "zz\r\n0\r\n\r\n"),
        later("a_bare_lf_further_on_cuts_the_request", "CVE-2025-22871", "1\nx\r\n0\r\n\r\n"),
        later("a_bad_extension_further_on_cuts_the_request", "Funky chunks", "1;a\nx\r\n0\r\n\r\n"),
        later("a_bad_data_end_further_on_cuts_the_request", "Funky chunks", "1\r\nxy\r\n0\r\n\r\n"),
        later("a_bad_trailer_cuts_the_request", "RFC 9112 §7.1.2", "0\r\nA : b\r\n\r\n"),
        later("a_bare_lf_at_the_end_cuts_the_request", "RFC 9112 §7.1", "0\r\n\n"),
        later("a_size_of_64_bits_further_on_cuts_the_request", "RFC 9112 §7.1", "ffffffffffffffff\r\n"),
        case("a_bad_chunk_behind_an_answer_ends_the_connection", "RFC 9112 §9.3")
            .sends(&first)
            .worker_gets_part(&first)
            .worker_says(OK)
            .client_gets(OK)
            .worker_cut()
            .sends("zz\r\n0\r\n\r\n")
            .client_ends(),
    ]
}
