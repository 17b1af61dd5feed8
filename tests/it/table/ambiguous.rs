//! Length and coding at once, and codings in HTTP/1.0: two readers would see two bodies.

use super::case::{Case, case, passes, refused};

#[test]
fn a_body_never_has_two_ends() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [both(), smuggled(), old_versions(), neighbours()].concat()
}

fn both() -> Vec<Case> {
    let bad = |name: &str, lines: &str, status| {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n0\r\n\r\n");
        refused(name, "RFC 9112 §6.1", request, status)
    };
    let (length, chunked) = ("Content-Length: 5", "Transfer-Encoding: chunked");
    vec![
        bad("a_length_before_chunked_is_refused", &format!("{length}\r\n{chunked}"), 400),
        bad("chunked_before_a_length_is_refused", &format!("{chunked}\r\n{length}"), 400),
        bad("a_zero_length_beside_chunked_is_refused", &format!("{chunked}\r\nContent-Length: 0"), 400),
        bad(
            "a_true_length_beside_chunked_is_refused",
            &format!("Content-Length: 5\r\nA: b\r\n{chunked}"),
            400,
        ),
        bad("a_broken_length_beside_chunked_is_refused", &format!("Content-Length: x\r\n{chunked}"), 400),
        bad("an_empty_length_beside_chunked_is_refused", &format!("Content-Length:\r\n{chunked}"), 400),
        bad("two_lengths_beside_chunked_are_refused", &format!("{length}\r\n{length}\r\n{chunked}"), 400),
        bad("a_length_between_two_codings_is_refused", &format!("{chunked}\r\n{length}\r\n{chunked}"), 400),
        bad("a_length_beside_gzip_is_refused", &format!("{length}\r\nTransfer-Encoding: gzip"), 501),
        bad("a_length_beside_identity_is_refused", &format!("{length}\r\nTransfer-Encoding: identity"), 501),
        bad("a_length_beside_an_empty_coding_is_refused", &format!("{length}\r\nTransfer-Encoding:"), 501),
        bad("a_length_beside_a_comma_is_refused", &format!("{length}\r\nTransfer-Encoding: ,"), 501),
        bad("a_length_beside_xchunked_is_refused", &format!("{length}\r\nTransfer-Encoding: xchunked"), 501),
        bad("a_length_beside_a_list_is_refused", &format!("{length}\r\nTransfer-Encoding: a, chunked"), 501),
        bad(
            "connection_that_names_the_length_changes_nothing",
            &format!("Connection: content-length\r\n{length}\r\n{chunked}"),
            400,
        ),
        bad(
            "connection_that_names_the_coding_changes_nothing",
            &format!("Connection: transfer-encoding\r\n{length}\r\n{chunked}"),
            400,
        ),
        bad(
            "a_spaced_coding_beside_a_length_is_refused",
            "Content-Length: 5\r\nTransfer-Encoding : chunked",
            400,
        ),
        bad(
            "a_tabbed_coding_beside_a_length_is_refused",
            "Content-Length: 5\r\nTransfer-Encoding:\tchunked",
            400,
        ),
    ]
}

fn smuggled() -> Vec<Case> {
    let bad = |name: &str, reference, request: &str| refused(name, reference, request, 400);
    vec![
        bad(
            "cl_te_smuggles_nothing",
            "HTTP Desync Attacks",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 35\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        bad(
            "te_cl_smuggles_nothing",
            "HTTP Desync Attacks",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n1c\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n0\r\n\r\n",
        ),
        bad(
            "a_get_with_both_smuggles_nothing",
            "CVE-2020-15586",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        bad(
            "a_pseudo_header_is_no_field",
            "RFC 9113 §8.3",
            "POST / HTTP/1.1\r\nHost: a\r\n:method: GET\r\nContent-Length: 0\r\n\r\n",
        ),
        case("the_second_of_two_requests_is_refused_for_both", "HTTP Desync Attacks")
            .sends("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            .worker_gets("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
            .answers()
            .gets_refusal(400),
        case("a_head_with_both_in_pieces_is_refused", "RFC 9112 §6.1")
            .sends("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n")
            .sends("Transfer-Encoding: chunked\r\n\r\n")
            .gets_refusal(400),
    ]
}

fn old_versions() -> Vec<Case> {
    let bad = |name: &str, lines: &str, status| {
        refused(
            name,
            "RFC 9112 §6.1, CVE-2026-2835",
            format!("POST / HTTP/1.0\r\n{lines}\r\n\r\n0\r\n\r\n"),
            status,
        )
    };
    vec![
        bad("chunked_in_http_1_0_is_refused", "Transfer-Encoding: chunked", 400),
        bad(
            "chunked_in_http_1_0_with_keep_alive_is_refused",
            "Connection: keep-alive\r\nTransfer-Encoding: chunked",
            400,
        ),
        bad("both_in_http_1_0_are_refused", "Content-Length: 5\r\nTransfer-Encoding: chunked", 400),
        bad("gzip_in_http_1_0_is_not_implemented", "Transfer-Encoding: gzip", 501),
        bad(
            "identity_in_http_1_0_is_not_implemented",
            "Transfer-Encoding: identity\r\nContent-Length: 5",
            501,
        ),
    ]
}

fn neighbours() -> Vec<Case> {
    vec![
        refused(
            "a_length_in_a_trailer_is_refused",
            "RFC 9110 §6.5.1, TE.CL by trailer",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nContent-Length: 9\r\n\r\n",
            400,
        ),
        refused(
            "a_coding_in_a_trailer_is_refused",
            "RFC 9110 §6.5.1",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: gzip\r\n\r\n",
            400,
        ),
        passes(
            "chunked_in_other_fields_changes_nothing",
            "RFC 9112 §6.1",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Encoding: chunked\r\nAccept-Encoding: chunked\r\nContent-Length: 1\r\n\r\nx",
        ),
    ]
}
