//! Transfer-Encoding: one `chunked` and nothing else. Every disguise that another reader might see
//! through, or not see at all, is refused; look-alikes pass as ordinary fields.

use super::case::{Case, becomes, case, passes, refused};

#[test]
fn a_transfer_coding_is_one_chunked() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [plain(), unknown(), lists(), repeated(), disguised(), look_alikes()].concat()
}

const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";

fn post(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{CHUNKS}")
}

fn good(name: &str, reference: &'static str, lines: &str) -> Case {
    passes(name, reference, post(lines))
}

fn bad(name: &str, reference: &'static str, lines: &str, status: u16) -> Case {
    refused(name, reference, post(lines), status)
}

fn plain() -> Vec<Case> {
    vec![
        good("chunked_passes_as_it_came", "RFC 9112 §7.1", "Transfer-Encoding: chunked"),
        good("chunked_is_read_in_any_case", "RFC 9112 §7", "Transfer-Encoding: CHUNKED"),
        good("chunked_in_mixed_case_stays_as_written", "RFC 9112 §7", "transfer-ENCODING: cHuNkEd"),
        good("no_space_before_chunked_is_needed", "RFC 9112 §5.1", "Transfer-Encoding:chunked"),
        good("a_tab_before_chunked_is_whitespace", "RFC 9112 §5.1", "Transfer-Encoding:\tchunked"),
        good("whitespace_behind_chunked_is_no_part_of_it", "RFC 9112 §5.1", "Transfer-Encoding: chunked \t "),
        passes(
            "a_get_may_be_chunked",
            "RFC 9112 §6.1",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        becomes(
            "connection_cannot_remove_a_coding",
            "RFC 9110 §7.6.1, hop-by-hop abuse",
            post("Transfer-Encoding: chunked\r\nConnection: transfer-encoding"),
            post("Transfer-Encoding: chunked"),
        ),
        good("a_coding_before_other_fields_counts", "RFC 9112 §6.1", "Transfer-Encoding: chunked\r\nA: b"),
        good(
            "a_trailer_field_announces_and_passes",
            "RFC 9110 §6.6.2",
            "Trailer: A\r\nTransfer-Encoding: chunked",
        ),
    ]
}

fn unknown() -> Vec<Case> {
    let rows = [
        ("gzip_is_not_implemented", "gzip"),
        ("x_gzip_is_not_implemented", "x-gzip"),
        ("compress_is_not_implemented", "compress"),
        ("deflate_is_not_implemented", "deflate"),
        ("brotli_is_no_transfer_coding", "br"),
        ("identity_is_no_coding_any_more", "identity"),
        ("an_unknown_coding_is_not_implemented", "cow"),
        ("a_letter_before_chunked_makes_another_coding", "xchunked"),
        ("a_letter_behind_chunked_makes_another_coding", "chunkedx"),
        ("the_start_of_chunked_is_another_coding", "chunke"),
        ("chunk_is_another_coding", "chunk"),
        ("a_hyphen_within_chunked_makes_another_coding", "chunk-ed"),
        ("a_parameter_behind_chunked_is_not_understood", "chunked;q=1"),
        ("a_parameter_with_spaces_is_not_understood", "chunked ; a=b"),
        ("a_semicolon_behind_chunked_is_not_understood", "chunked;"),
        ("a_word_behind_chunked_is_not_understood", "chunked x"),
        ("chunked_twice_without_comma_is_not_understood", "chunked chunked"),
        ("a_quoted_chunked_is_another_coding", "\"chunked\""),
        ("chunked_in_single_quotes_is_another_coding", "'chunked'"),
        ("chunked_in_parentheses_is_another_coding", "(chunked)"),
        ("chunked_in_brackets_is_another_coding", "[chunked]"),
        ("an_empty_coding_is_not_understood", ""),
        ("a_blank_coding_is_not_understood", " \t "),
        ("a_kelvin_sign_is_no_k", "chun\u{212a}ed"),
        ("a_no_break_space_is_part_of_a_coding", "\u{a0}chunked"),
        ("a_soft_hyphen_is_part_of_a_coding", "chunked\u{ad}"),
        ("a_url_escape_is_part_of_a_coding", "%63hunked"),
        ("a_colon_before_chunked_is_part_of_the_value", ": chunked"),
    ];
    rows.iter()
        .map(|(name, value)| bad(name, "RFC 9112 §6.1", &format!("Transfer-Encoding: {value}"), 501))
        .collect()
}

fn lists() -> Vec<Case> {
    let row = |name: &str, value: &str, status| {
        bad(name, "RFC 9112 §6.1, house rule", &format!("Transfer-Encoding: {value}"), status)
    };
    vec![
        row("gzip_before_chunked_is_not_implemented", "gzip, chunked", 501),
        row("gzip_behind_chunked_is_not_implemented", "chunked, gzip", 501),
        row("identity_before_chunked_is_not_understood", "identity, chunked", 501),
        row("identity_behind_chunked_is_not_understood", "chunked, identity", 501),
        row("a_list_without_spaces_is_not_understood", "chunked,identity", 501),
        row("chunked_twice_in_a_list_is_refused", "chunked, chunked", 400),
        row("chunked_twice_without_spaces_is_refused", "chunked,chunked", 400),
        row("chunked_three_times_is_refused", "chunked, chunked, chunked", 400),
        row("a_comma_behind_chunked_is_refused", "chunked,", 501),
        row("a_comma_before_chunked_is_refused", ",chunked", 501),
        row("a_lonely_comma_is_refused", ",", 501),
        row("commas_around_chunked_are_refused", ",,chunked,,", 501),
    ]
}

fn repeated() -> Vec<Case> {
    let row = |name: &str, first: &str, second: &str, status| {
        let lines = format!("Transfer-Encoding: {first}\r\nTransfer-Encoding: {second}");
        bad(name, "RFC 9112 §6.1, TE.TE, CVE-2026-2835", &lines, status)
    };
    vec![
        row("two_lines_of_chunked_are_refused", "chunked", "chunked", 400),
        row("identity_on_a_second_line_is_refused", "chunked", "identity", 400),
        row("identity_on_a_first_line_is_refused", "identity", "chunked", 501),
        row("gzip_on_a_first_line_is_refused", "gzip", "chunked", 501),
        row("gzip_on_a_second_line_is_refused", "chunked", "gzip", 400),
        row("an_unknown_second_line_is_refused", "chunked", "cow", 400),
        row("an_empty_second_line_is_refused", "chunked", "", 400),
        row("an_empty_first_line_is_refused", "", "chunked", 501),
        bad(
            "two_codings_in_other_case_are_refused",
            "RFC 9112 §6.1, TE.TE, CVE-2026-2835",
            "Transfer-Encoding: chunked\r\ntransfer-encoding: x",
            400,
        ),
        bad(
            "two_codings_apart_are_refused",
            "RFC 9112 §6.1, TE.TE, CVE-2026-2835",
            "Transfer-Encoding: chunked\r\nA: b\r\nTransfer-Encoding: chunked",
            400,
        ),
    ]
}

fn disguised() -> Vec<Case> {
    let desync = "RFC 9112 §5.1, HTTP Desync Attacks";
    let row = |name: &str, reference, lines: &str| bad(name, reference, lines, 400);
    vec![
        row("a_space_before_the_colon_of_a_coding_is_refused", desync, "Transfer-Encoding : chunked"),
        row("a_tab_before_the_colon_of_a_coding_is_refused", desync, "Transfer-Encoding\t: chunked"),
        row("a_vertical_tab_before_chunked_is_refused", "CVE-2019-18277", "Transfer-Encoding:\x0bchunked"),
        row("a_form_feed_before_chunked_is_refused", desync, "Transfer-Encoding:\x0cchunked"),
        row("a_nul_before_chunked_is_refused", desync, "Transfer-Encoding: \0chunked"),
        row("a_nul_behind_chunked_is_refused", desync, "Transfer-Encoding: chunked\0"),
        row("a_nul_within_chunked_is_refused", desync, "Transfer-Encoding: chu\0nked"),
        row("a_nul_in_the_name_of_a_coding_is_refused", desync, "Transfer\0-Encoding: chunked"),
        row("a_nul_behind_the_name_of_a_coding_is_refused", desync, "Transfer-Encoding\0: chunked"),
        row("an_escape_before_chunked_is_refused", desync, "Transfer-Encoding: \x1bchunked"),
        row("a_delete_behind_chunked_is_refused", desync, "Transfer-Encoding: chunked\x7f"),
        row("a_cr_before_chunked_is_refused", desync, "Transfer-Encoding: \rchunked"),
        row("a_cr_behind_chunked_is_refused", desync, "Transfer-Encoding: chunked\r"),
        row("a_space_within_the_name_of_a_coding_is_refused", desync, "Transfer Encoding: chunked"),
        row("a_coding_behind_a_bare_lf_is_refused", "CVE-2022-32214", "X: x\nTransfer-Encoding: chunked"),
        row("a_coding_behind_a_bare_cr_is_refused", "CVE-2023-30589", "X: x\rTransfer-Encoding: chunked"),
        row("a_coding_behind_crlf_cr_is_refused", "CVE-2023-30589", "X: x\r\n\rTransfer-Encoding: chunked"),
        row("an_indented_coding_is_refused", "RFC 9112 §5.2", "X: x\r\n Transfer-Encoding: chunked"),
        row(
            "a_coding_indented_with_a_tab_is_refused",
            "RFC 9112 §5.2",
            "X: x\r\n\tTransfer-Encoding: chunked",
        ),
        row("a_folded_chunked_is_refused", "CVE-2022-32215", "Transfer-Encoding:\r\n chunked"),
        row(
            "a_fold_behind_chunked_is_refused",
            "CVE-2022-32215",
            "Transfer-Encoding: chunked\r\n , identity",
        ),
        row("a_colon_behind_a_fold_is_refused", "RFC 9112 §5.2", "Transfer-Encoding\r\n : chunked"),
        row(
            "a_coding_that_ends_with_a_bare_lf_is_refused",
            "RFC 9112 §2.2",
            "Transfer-Encoding: chunked\nA: b",
        ),
        row("a_coding_without_colon_is_refused", "RFC 9112 §5", "Transfer-Encoding chunked"),
        row("a_colon_before_a_coding_is_refused", "CVE-2023-25725", ":Transfer-Encoding: chunked"),
        row("a_quoted_name_of_a_coding_is_refused", desync, "\"Transfer-Encoding\": chunked"),
        refused(
            "a_space_before_a_coding_as_first_field_is_refused",
            "RFC 9112 §2.2",
            "POST / HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: a\r\n\r\n0\r\n\r\n",
            400,
        ),
        row(
            "a_coding_like_gunicorn_read_it_is_refused",
            "CVE-2024-6827",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x, chunked",
        ),
        bad(
            "a_list_like_gunicorn_read_it_is_refused",
            "CVE-2024-1135",
            "Transfer-Encoding: chunked,gzip\r\nTransfer-Encoding: chunked",
            501,
        ),
        bad(
            "a_list_like_llhttp_read_it_is_refused",
            "CVE-2022-32213",
            "Transfer-Encoding: chunked, x\r\nA: chunked",
            501,
        ),
    ]
}

fn look_alikes() -> Vec<Case> {
    // It passes as any field; there is no body, and what follows is the next request.
    let alike = |name: &str, line: &str| {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
        case(name, "RFC 9112 §6.1")
            .sends([&head, "GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"].concat())
            .worker_gets(&head)
            .answers()
            .worker_gets("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
            .answers()
    };
    vec![
        alike("transfer_encoding_with_an_underscore_is_another_field", "Transfer_Encoding: chunked"),
        alike("a_longer_name_of_a_coding_is_another_field", "Transfer-Encodings: chunked"),
        alike("a_shorter_name_of_a_coding_is_another_field", "Transfer-Encodin: chunked"),
        alike("a_prefixed_coding_is_another_field", "X-Transfer-Encoding: chunked"),
        alike("a_name_without_hyphen_is_another_field", "TransferEncoding: chunked"),
        alike("content_encoding_is_another_field", "Content-Encoding: chunked"),
        case("te_chunked_is_no_coding_of_the_request", "RFC 9110 §10.1.4")
            .sends("POST / HTTP/1.1\r\nHost: a\r\nTE: chunked\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_gets("POST / HTTP/1.1\r\nHost: a\r\n\r\n")
            .answers()
            .worker_gets("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n")
            .answers(),
    ]
}
