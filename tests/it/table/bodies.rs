//! Where an answer ends: by length, by chunks, by the close, or at once. What is cut off never looks whole.

use super::case::{Case, GET, answered, case, rejected};

#[test]
fn an_answer_ends_where_its_head_says_and_a_cut_shows() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    let all = [
        lengths(),
        codings(),
        chunks(),
        bad_chunks(),
        until_close(),
        without_body(),
        head(),
        cut_off(),
        old_clients(),
    ];
    all.concat()
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

fn good(name: &str, reference: &'static str, answer: impl AsRef<[u8]>) -> Case {
    answered(name, reference, &answer, &answer)
}

fn lengths() -> Vec<Case> {
    let bad = |name: &str, reference, lines: &str| {
        rejected(name, reference, format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nhello"))
    };
    let text = "RFC 9112 §6.3";
    vec![
        good("an_answer_of_length_zero_ends_at_once", text, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        good(
            "an_answer_with_a_padded_length_passes",
            "RFC 9110 §8.6",
            "HTTP/1.1 200 OK\r\nContent-Length: 005\r\n\r\nhello",
        ),
        good(
            "an_answer_within_an_answer_is_only_a_body",
            text,
            "HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ),
        good(
            "a_large_answer_passes",
            text,
            format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", "0123456789".repeat(10_000)),
        ),
        case("an_answer_in_parts_passes_in_parts", text)
            .asks()
            .worker_says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            .client_gets("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            .worker_says("hel")
            .client_gets("hel")
            .worker_says("lo")
            .client_gets("lo"),
        bad("two_lengths_of_an_answer_are_rejected", text, "Content-Length: 5\r\nContent-Length: 6"),
        bad(
            "two_equal_lengths_of_an_answer_are_rejected",
            "RFC 9112 §6.3, house rule",
            "Content-Length: 5\r\nContent-Length: 5",
        ),
        bad(
            "a_list_of_lengths_of_an_answer_is_rejected",
            "RFC 9112 §6.3, house rule",
            "Content-Length: 5, 5",
        ),
        bad("an_empty_length_of_an_answer_is_rejected", "RFC 9110 §8.6", "Content-Length:"),
        bad("a_signed_length_of_an_answer_is_rejected", "RFC 9110 §8.6", "Content-Length: +5"),
        bad("a_negative_length_of_an_answer_is_rejected", "RFC 9110 §8.6", "Content-Length: -1"),
        bad("a_hexadecimal_length_of_an_answer_is_rejected", "RFC 9110 §8.6", "Content-Length: 0x5"),
        bad("a_length_of_an_answer_in_words_is_rejected", "RFC 9110 §8.6", "Content-Length: five"),
        bad(
            "a_length_of_an_answer_over_64_bits_is_rejected",
            "RFC 9110 §8.6",
            "Content-Length: 18446744073709551621",
        ),
        bad("a_length_of_an_answer_with_a_unit_is_rejected", "RFC 9110 §8.6", "Content-Length: 5 bytes"),
    ]
}

fn codings() -> Vec<Case> {
    let bad = |name: &str, lines: &str| {
        rejected(name, "RFC 9112 §6.1", format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n2\r\nok\r\n0\r\n\r\n"))
    };
    vec![
        good(
            "a_chunked_answer_passes_as_it_came",
            "RFC 9112 §7.1",
            [CHUNKED, "2\r\nok\r\n0\r\n\r\n"].concat(),
        ),
        good(
            "a_chunked_answer_in_capitals_passes",
            "RFC 9112 §7",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n",
        ),
        bad(
            "a_length_beside_chunked_in_an_answer_is_rejected",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
        ),
        bad(
            "chunked_beside_a_length_in_an_answer_is_rejected",
            "Transfer-Encoding: chunked\r\nContent-Length: 12",
        ),
        bad("a_gzip_coding_of_an_answer_is_rejected", "Transfer-Encoding: gzip"),
        bad("gzip_and_chunked_of_an_answer_are_rejected", "Transfer-Encoding: gzip, chunked"),
        bad("an_identity_coding_of_an_answer_is_rejected", "Transfer-Encoding: identity"),
        bad("an_empty_coding_of_an_answer_is_rejected", "Transfer-Encoding:"),
        bad("chunked_twice_in_an_answer_is_rejected", "Transfer-Encoding: chunked, chunked"),
        bad(
            "two_codings_of_an_answer_are_rejected",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ),
        bad("a_disguised_coding_of_an_answer_is_rejected", "Transfer-Encoding: xchunked"),
        bad("a_spaced_coding_of_an_answer_is_rejected", "Transfer-Encoding : chunked"),
        bad("a_tabbed_vertical_coding_of_an_answer_is_rejected", "Transfer-Encoding:\x0bchunked"),
        rejected(
            "chunked_in_an_answer_of_http_1_0_is_rejected",
            "RFC 9112 §6.1",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
    ]
}

fn chunks() -> Vec<Case> {
    vec![
        good(
            "extensions_of_an_answer_pass",
            "RFC 9112 §7.1.1",
            [CHUNKED, "2;a=\"b\"\r\nok\r\n0;c\r\n\r\n"].concat(),
        ),
        good(
            "trailers_of_an_answer_pass",
            "RFC 9112 §7.1.2",
            [CHUNKED, "2\r\nok\r\n0\r\nX-Sum: 1\r\nA:\r\n\r\n"].concat(),
        ),
        good("an_empty_chunked_answer_passes", "RFC 9112 §7.1", [CHUNKED, "0\r\n\r\n"].concat()),
        good(
            "chunks_of_an_answer_that_look_like_an_end_pass",
            "RFC 9112 §7.1",
            [CHUNKED, "5\r\n0\r\n\r\n\r\n0\r\n\r\n"].concat(),
        ),
        case("chunks_of_an_answer_pass_as_they_come", "RFC 9112 §7.1")
            .asks()
            .worker_says([CHUNKED, "5\r\nhello\r\n"].concat())
            .client_gets([CHUNKED, "5\r\nhello\r\n"].concat())
            .worker_says("5\r\nwor")
            .client_gets("5\r\nwor")
            .worker_says("ld\r\n0\r\n\r\n")
            .client_gets("ld\r\n0\r\n\r\n"),
        case("an_answer_without_its_final_line_break_goes_on", "RFC 9112 §7.1")
            .asks()
            .worker_says([CHUNKED, "2\r\nok\r\n0\r\n"].concat())
            .client_gets([CHUNKED, "2\r\nok\r\n0\r\n"].concat())
            .quiet()
            .worker_says("\r\n")
            .client_gets("\r\n"),
    ]
}

fn bad_chunks() -> Vec<Case> {
    let rows = [
        ("a_bad_size_in_an_answer", "zz\r\nok\r\n0\r\n\r\n"),
        ("a_negative_size_in_an_answer", "-2\r\nok\r\n0\r\n\r\n"),
        ("a_size_of_64_bits_in_an_answer", "ffffffffffffffff\r\nok\r\n"),
        ("a_bare_lf_behind_a_size_in_an_answer", "2\nok\r\n0\r\n\r\n"),
        ("a_space_behind_a_size_in_an_answer", "2 \r\nok\r\n0\r\n\r\n"),
        ("a_bare_lf_in_an_extension_of_an_answer", "2;a\nok\r\n0\r\n\r\n"),
        ("an_open_quote_in_an_extension_of_an_answer", "2;a=\"b\r\nok\r\n0\r\n\r\n"),
        ("data_longer_than_its_size_in_an_answer", "1\r\nok\r\n0\r\n\r\n"),
        ("a_bare_lf_behind_data_of_an_answer", "2\r\nok\n0\r\n\r\n"),
        ("a_folded_trailer_of_an_answer", "2\r\nok\r\n0\r\nA: b\r\n c\r\n\r\n"),
        ("a_bare_lf_at_the_end_of_an_answer", "2\r\nok\r\n0\r\n\n"),
    ];
    let at_once = rows.iter().map(|(name, chunks)| {
        // Nothing has left yet, so it is still a 502.
        rejected(format!("{name}_is_rejected"), "RFC 9112 §7.1", [CHUNKED, chunks].concat())
    });
    let later = rows.iter().step_by(3).map(|(name, chunks)| {
        case(format!("{name}_further_on_cuts_it_off"), "RFC 9112 §8")
            .asks()
            .worker_says([CHUNKED, "2\r\nok\r\n"].concat())
            .client_gets([CHUNKED, "2\r\nok\r\n"].concat())
            .worker_says(chunks)
            .client_ends()
            .worker_ends()
    });
    at_once.chain(later).collect()
}

fn until_close() -> Vec<Case> {
    let chunked = "HTTP/1.1 200 OK\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n";
    let row = |name: &str, answer: &str| {
        case(name, "RFC 9112 §6.3")
            .asks()
            .worker_says(answer)
            .client_gets([chunked, "5\r\nhello\r\n"].concat())
            .quiet()
            .worker_closes()
            .client_gets("0\r\n\r\n")
    };
    vec![
        row("an_answer_until_the_close_becomes_chunked", "HTTP/1.1 200 OK\r\nA: b\r\n\r\nhello"),
        row("an_answer_of_http_1_0_becomes_chunked", "HTTP/1.0 200 OK\r\nA: b\r\n\r\nhello"),
        row(
            "connection_close_and_the_close_become_chunked",
            "HTTP/1.1 200 OK\r\nConnection: close\r\nA: b\r\n\r\nhello",
        ),
        row(
            "keep_alive_without_a_length_lasts_until_the_close",
            "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nA: b\r\n\r\nhello",
        ),
        case("an_answer_until_the_close_may_be_empty", "RFC 9112 §6.3")
            .asks()
            .worker_says("HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
            .client_gets(chunked)
            .worker_closes()
            .client_gets("0\r\n\r\n"),
        case("an_answer_until_the_close_passes_in_parts", "RFC 9112 §6.3")
            .asks()
            .worker_says("HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
            .client_gets(chunked)
            .worker_says("hello, hello, hello")
            .client_gets("13\r\nhello, hello, hello\r\n")
            .worker_says("0\r\n\r\n")
            .client_gets("5\r\n0\r\n\r\n\r\n")
            .worker_closes()
            .client_gets("0\r\n\r\n"),
        case("a_second_answer_until_the_close_is_part_of_the_first", "RFC 9112 §6.3")
            .asks()
            .worker_says("HTTP/1.1 200 OK\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
            .client_gets([chunked, "13\r\nHTTP/1.1 200 OK\r\n\r\n\r\n"].concat())
            .worker_closes()
            .client_gets("0\r\n\r\n"),
        case("a_client_that_closes_gets_chunks_as_well", "RFC 9112 §6.3")
            .sends("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .worker_gets(GET)
            .worker_says("HTTP/1.1 200 OK\r\n\r\nhello")
            .client_gets(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n",
            )
            .worker_closes()
            .client_gets("0\r\n\r\n")
            .client_ends(),
    ]
}

fn without_body() -> Vec<Case> {
    let bytes =
        |name: &str, reference, answer: &str, received: &str| answered(name, reference, answer, received);
    vec![
        good("a_204_has_no_body", "RFC 9110 §15.3.5", "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n"),
        good("a_304_has_no_body", "RFC 9110 §15.4.5", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
        good(
            "a_304_keeps_the_length_it_speaks_of",
            "RFC 9110 §8.6",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
        ),
        good(
            "a_304_keeps_the_coding_it_speaks_of",
            "RFC 9112 §6.1",
            "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        bytes(
            "a_204_has_no_length",
            "RFC 9110 §8.6",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\nA: b\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
        ),
        bytes(
            "a_204_has_no_length_of_zero",
            "RFC 9110 §8.6",
            "HTTP/1.1 204 No Content\r\nA: b\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
        ),
        bytes(
            "a_204_has_no_coding",
            "RFC 9112 §6.1",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ),
        bytes(
            "the_body_of_a_204_reaches_nobody",
            "RFC 9112 §6.3",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 204 No Content\r\n\r\n",
        )
        .worker_ends(),
        bytes(
            "the_chunks_of_a_204_reach_nobody",
            "RFC 9112 §6.3",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        )
        .worker_ends(),
        bytes(
            "the_body_of_a_304_reaches_nobody",
            "RFC 9112 §6.3",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        )
        .worker_ends(),
        rejected(
            "a_204_with_two_lengths_is_rejected",
            "RFC 9112 §6.3",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n",
        ),
        rejected(
            "a_304_with_length_and_coding_is_rejected",
            "RFC 9112 §6.1",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        good(
            "a_205_of_length_zero_passes",
            "RFC 9110 §15.3.6",
            "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        ),
        bytes(
            "a_204_that_closes_ends_the_workers_connection_only",
            "RFC 9112 §9.6",
            "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        )
        .worker_ends(),
    ]
}

fn head() -> Vec<Case> {
    let request = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let row = |name: &str, answer: &str| {
        case(name, "RFC 9110 §9.3.2")
            .sends(request)
            .worker_gets(request)
            .worker_says(answer)
            .client_gets(answer)
    };
    vec![
        row(
            "an_answer_to_head_keeps_its_length_and_has_no_body",
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        ),
        row(
            "an_answer_to_head_keeps_its_coding_and_has_no_chunks",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        row(
            "an_answer_to_head_without_a_length_does_not_wait_for_a_close",
            "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
        ),
        row("an_error_to_head_has_no_body", "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n"),
        case("a_body_behind_an_answer_to_head_reaches_nobody", "RFC 9112 §6.3")
            .sends(request)
            .worker_gets(request)
            .worker_says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .client_gets("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            .worker_ends(),
        case("chunks_behind_an_answer_to_head_reach_nobody", "RFC 9112 §6.3")
            .sends(request)
            .worker_gets(request)
            .worker_says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .client_gets("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .worker_ends(),
        case("head_in_small_letters_has_a_body", "RFC 9110 §9.1")
            .sends("head / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_gets("head / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_says("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .client_gets("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    ]
}

fn cut_off() -> Vec<Case> {
    let row = |name: &str, says: &str| {
        case(name, "RFC 9112 §8").asks().worker_says(says).client_gets(says).worker_closes().client_ends()
    };
    vec![
        row(
            "an_answer_shorter_than_its_length_is_cut_off",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        ),
        row(
            "an_answer_that_ends_behind_its_head_is_cut_off",
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        ),
        row(
            "an_answer_that_ends_behind_a_chunk_is_cut_off",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        ),
        row(
            "an_answer_that_ends_within_a_chunk_is_cut_off",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok",
        ),
        row(
            "an_answer_that_ends_within_its_last_line_is_cut_off",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        ),
        row(
            "an_answer_that_ends_within_a_trailer_is_cut_off",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n",
        ),
        case("an_answer_that_ends_within_its_head_is_a_502", "RFC 9112 §8")
            .asks()
            .worker_says("HTTP/1.1 200 OK\r\nContent-Le")
            .quiet()
            .worker_closes()
            .client_gets_502("worker-closed"),
        case("an_answer_that_ends_behind_its_status_line_is_a_502", "RFC 9112 §8")
            .asks()
            .worker_says("HTTP/1.1 200 OK\r\n")
            .quiet()
            .worker_closes()
            .client_gets_502("worker-closed"),
    ]
}

fn old_clients() -> Vec<Case> {
    let request = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    let asks = |name: &str, reference| case(name, reference).sends(request).worker_gets(GET);
    vec![
        asks("http_1_0_gets_no_chunks", "RFC 9112 §7.1")
            .worker_says([CHUNKED, "5\r\nhello\r\n0\r\nA: b\r\n\r\n"].concat())
            .client_gets("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
            .client_ends(),
        asks("http_1_0_gets_the_data_of_several_chunks", "RFC 9112 §7.1")
            .worker_says([CHUNKED, "2;a=b\r\nhe\r\n"].concat())
            .client_gets("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhe")
            .worker_says("3\r\nllo\r\n0\r\n\r\n")
            .client_gets("llo")
            .client_ends(),
        asks("http_1_0_gets_an_answer_until_the_close_as_it_is", "RFC 9112 §6.3")
            .worker_says("HTTP/1.1 200 OK\r\nA: b\r\n\r\nhello")
            .client_gets("HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\nhello")
            .worker_closes()
            .client_ends(),
        asks("chunks_cut_off_reset_an_http_1_0_client", "RFC 9112 §8")
            .worker_says([CHUNKED, "5\r\nhello\r\n"].concat())
            .client_gets("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
            .worker_closes()
            .client_reset(),
        asks("bad_chunks_reset_an_http_1_0_client", "RFC 9112 §8")
            .worker_says([CHUNKED, "5\r\nhello\r\n"].concat())
            .client_gets("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello")
            .worker_says("zz\r\n")
            .client_reset()
            .worker_ends(),
        asks("http_1_0_stays_behind_an_answer_without_body", "RFC 9112 §9.3")
            .worker_says("HTTP/1.1 304 Not Modified\r\n\r\n")
            .client_gets("HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\n\r\n"),
        asks("http_1_0_gets_no_coding_with_a_304", "RFC 9112 §6.1")
            .worker_says("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n")
            .client_gets("HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\n\r\n"),
        case("http_1_0_gets_no_coding_with_an_answer_to_head", "RFC 9112 §6.1")
            .sends("HEAD / HTTP/1.0\r\nHost: a\r\n\r\n")
            .worker_gets("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
            .worker_says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n")
            .client_gets("HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\n")
            .client_ends(),
    ]
}
