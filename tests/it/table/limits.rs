//! Every bound at its edge: one below, exactly there, one beyond. The last that passes must really pass.

use super::SMALL;
use super::case::{Case, OK, case};

#[test]
fn a_bound_holds_exactly_where_it_stands() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    let all = [
        heads(),
        targets(),
        fields(),
        answer_heads(),
        answer_fields(),
        extensions(),
        trailers(),
        discarded(),
        defaults(),
    ];
    all.concat()
}

/// The small limit with this key, in bytes or fields.
fn limit(key: &str) -> usize {
    let (_, text) = SMALL.iter().find(|(name, _)| *name == key).expect("a small limit");
    match text.strip_suffix("KiB") {
        Some(number) => number.parse::<usize>().expect("a number") << 10,
        None => text.parse().expect("a number"),
    }
}

const KEPT: [(&str, isize); 2] = [("one_below", -1), ("exactly_at", 0)];

fn at(limit: usize, offset: isize) -> usize {
    limit.checked_add_signed(offset).expect("no overflow")
}

/// A request head of exactly `len` bytes.
fn head_of(len: usize, before: &str) -> String {
    let (start, end) = (format!("GET / HTTP/1.1\r\nHost: a\r\n{before}A: "), "\r\n\r\n");
    format!("{start}{}{end}", "x".repeat(len - start.len() - end.len()))
}

fn heads() -> Vec<Case> {
    let bound = limit("limits.head_bytes");
    let mut cases: Vec<Case> = KEPT
        .iter()
        .map(|&(word, offset)| {
            let head = head_of(at(bound, offset), "");
            case(format!("a_head_{word}_its_limit_passes"), "RFC 9110 §5.4")
                .small()
                .sends(&head)
                .worker_gets(&head)
                .answers()
        })
        .collect();
    let refused = |name: &str, pieces: &[&str]| {
        let case = case(name, "RFC 6585 §5").small();
        pieces.iter().fold(case, |case, piece| case.sends(piece)).gets_refusal(431)
    };
    let over = head_of(bound + 1, "");
    cases.extend([
        refused("a_head_one_beyond_its_limit_is_refused", &[&over]),
        refused("a_head_that_passes_its_limit_without_end_is_refused", &[&over[..bound]]),
        refused(
            "a_head_in_pieces_one_beyond_its_limit_is_refused",
            &[&over[..500], &over[500..900], &over[900..]],
        ),
        refused(
            "a_head_of_many_lines_beyond_its_limit_is_refused",
            &[&head_of(bound + 1, &"B: c\r\n".repeat(10))],
        ),
        case("a_head_in_pieces_exactly_at_its_limit_passes", "RFC 9110 §5.4")
            .small()
            .sends_pieces(head_of(bound, ""), 300)
            .worker_gets(head_of(bound, ""))
            .answers(),
        case("a_body_does_not_count_as_head", "RFC 9110 §5.4")
            .small()
            .sends(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n{}", "x".repeat(3000)))
            .worker_gets(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000\r\n\r\n{}",
                "x".repeat(3000)
            ))
            .answers(),
        case("pipelined_heads_count_one_by_one", "RFC 9110 §5.4")
            .small()
            .sends(head_of(bound, "").repeat(3))
            .worker_gets(head_of(bound, ""))
            .answers()
            .worker_gets(head_of(bound, ""))
            .answers()
            .worker_gets(head_of(bound, ""))
            .answers(),
        case("empty_lines_before_a_head_do_not_count", "RFC 9112 §2.2")
            .small()
            .sends(["\r\n\r\n", &head_of(bound, "")].concat())
            .worker_gets(head_of(bound, ""))
            .answers(),
    ]);
    cases
}

fn targets() -> Vec<Case> {
    let bound = limit("limits.target_bytes");
    let line = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "t".repeat(len - 1));
    let mut cases: Vec<Case> = KEPT
        .iter()
        .map(|&(word, offset)| {
            let request = line(at(bound, offset));
            case(format!("a_target_{word}_its_limit_passes"), "RFC 9110 §15.5.15")
                .small()
                .sends(&request)
                .worker_gets(&request)
                .answers()
        })
        .collect();
    let method = "M".repeat(200);
    let long_method = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
    cases.extend([
        case("a_target_one_beyond_its_limit_is_refused", "RFC 9110 §15.5.15")
            .small()
            .sends(line(bound + 1))
            .gets_refusal(414),
        case("a_target_far_beyond_its_limit_is_refused", "RFC 9110 §15.5.15")
            .small()
            .sends(line(10 * bound))
            .gets_refusal(414),
        case("a_target_without_end_is_refused", "RFC 9110 §15.5.15")
            .small()
            .sends(&line(10 * bound)[..9 * bound])
            .gets_refusal(414),
        case("a_query_counts_as_target", "RFC 9110 §15.5.15")
            .small()
            .sends(format!("GET /?{} HTTP/1.1\r\nHost: a\r\n\r\n", "q".repeat(bound)))
            .gets_refusal(414),
        case("a_long_method_is_no_long_target", "RFC 9112 §3")
            .small()
            .sends(&long_method)
            .worker_gets(&long_method)
            .answers(),
        case("a_long_method_in_pieces_is_no_long_target", "RFC 9112 §3")
            .small()
            .sends_pieces(&long_method, 150)
            .worker_gets(&long_method)
            .answers(),
        case("a_method_without_end_is_refused", "RFC 9112 §3")
            .small()
            .sends("M".repeat(1024))
            .gets_refusal(431),
    ]);
    cases
}

fn fields() -> Vec<Case> {
    let bound = limit("limits.fields");
    let head = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    let mut cases: Vec<Case> = KEPT
        .iter()
        .map(|&(word, offset)| {
            let request = head(at(bound, offset));
            case(format!("fields_{word}_their_limit_pass"), "RFC 9110 §5.4")
                .small()
                .sends(&request)
                .worker_gets(&request)
                .answers()
        })
        .collect();
    cases.extend([
        case("one_field_beyond_the_limit_is_refused", "RFC 6585 §5")
            .small()
            .sends(head(bound + 1))
            .gets_refusal(431),
        case("fields_that_end_here_count_as_well", "RFC 6585 §5")
            .small()
            .sends(format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "Connection: x\r\n".repeat(bound)))
            .gets_refusal(431),
        case("trailers_do_not_count_as_fields", "RFC 9112 §7.1.2")
            .small()
            .sends(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n",
                "A: b\r\n".repeat(30)
            ))
            .worker_gets(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}\r\n",
                "A: b\r\n".repeat(30)
            ))
            .answers(),
    ]);
    cases
}

fn answer_heads() -> Vec<Case> {
    let bound = limit("limits.head_bytes");
    let answer = |len: usize| {
        let (start, end) = ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: ", "\r\n\r\n");
        format!("{start}{}{end}ok", "x".repeat(len - start.len() - end.len()))
    };
    let mut cases: Vec<Case> = KEPT
        .iter()
        .map(|&(word, offset)| {
            let answer = answer(at(bound, offset));
            case(format!("an_answer_{word}_its_limit_passes"), "RFC 9110 §5.4")
                .small()
                .asks()
                .worker_says(&answer)
                .client_gets(&answer)
        })
        .collect();
    let rejected = |name: &str, answer: &str| {
        case(name, "docs/errors.md")
            .small()
            .asks()
            .worker_says(answer)
            .client_gets_502("worker-response")
            .worker_ends()
    };
    cases.extend([
        rejected("an_answer_one_beyond_its_limit_is_rejected", &answer(bound + 1)),
        rejected("an_answer_without_end_is_rejected", &answer(bound + 1)[..bound]),
        case("an_interim_answer_does_not_count_for_the_next", "RFC 9110 §15.2")
            .small()
            .asks()
            .worker_says(["HTTP/1.1 103 X\r\nA: b\r\n\r\n", &answer(bound)].concat())
            .client_gets(["HTTP/1.1 103 X\r\nA: b\r\n\r\n", &answer(bound)].concat()),
    ]);
    cases
}

fn answer_fields() -> Vec<Case> {
    let bound = limit("limits.fields");
    let answer = |count: usize| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{}\r\nok", "A: b\r\n".repeat(count - 1))
    };
    vec![
        case("fields_of_an_answer_exactly_at_their_limit_pass", "RFC 9110 §5.4")
            .small()
            .asks()
            .worker_says(answer(bound))
            .client_gets(answer(bound)),
        case("one_field_of_an_answer_beyond_the_limit_is_rejected", "docs/errors.md")
            .small()
            .asks()
            .worker_says(answer(bound + 1))
            .client_gets_502("worker-response")
            .worker_ends(),
    ]
}

/// Bytes between the size of a chunk and its line end.
const EXTENSION: usize = 256;

fn extensions() -> Vec<Case> {
    let request = |extension: &str| {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1{extension}\r\nx\r\n0\r\n\r\n"
        )
    };
    let named = |len: usize| format!(";{}", "e".repeat(len - 1));
    let mut cases: Vec<Case> = KEPT
        .iter()
        .map(|&(word, offset)| {
            let request = request(&named(at(EXTENSION, offset)));
            case(format!("an_extension_{word}_its_limit_passes"), "docs/errors.md, CVE-2023-39326")
                .sends(&request)
                .worker_gets(&request)
                .answers()
        })
        .collect();
    let refused = |name: &str, extension: &str| {
        case(name, "docs/errors.md, CVE-2023-39326").sends(request(extension)).gets_refusal(400)
    };
    cases.extend([
        refused("an_extension_one_beyond_its_limit_is_refused", &named(EXTENSION + 1)),
        refused("several_extensions_share_one_limit", &";a=b".repeat(EXTENSION / 4 + 1)),
        refused("spaces_before_an_extension_count", &format!("{};a", " ".repeat(EXTENSION))),
        case("every_chunk_has_its_own_extensions", "docs/errors.md")
            .sends(request(&format!("{}\r\nx\r\n1{}", named(EXTENSION), named(EXTENSION))))
            .worker_gets(request(&format!("{}\r\nx\r\n1{}", named(EXTENSION), named(EXTENSION))))
            .answers(),
        case("an_extension_of_an_answer_beyond_its_limit_is_rejected", "docs/errors.md, CVE-2023-39326")
            .asks()
            .worker_says(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1{}\r\nx\r\n0\r\n\r\n",
                named(EXTENSION + 1)
            ))
            .client_gets_502("worker-response")
            .worker_ends(),
    ]);
    cases
}

/// Bytes of the trailer section without the empty line.
const TRAILERS: usize = 8 << 10;

fn trailers() -> Vec<Case> {
    let request = |trailers: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{trailers}\r\n")
    };
    let one = |len: usize| format!("A:{}\r\n", "t".repeat(len - 4));
    let mut cases: Vec<Case> = KEPT
        .iter()
        .map(|&(word, offset)| {
            let request = request(&one(at(TRAILERS, offset)));
            case(format!("trailers_{word}_their_limit_pass"), "docs/errors.md")
                .sends(&request)
                .worker_gets(&request)
                .answers()
        })
        .collect();
    let refused =
        |name: &str, trailers: &str| case(name, "docs/errors.md").sends(request(trailers)).gets_refusal(400);
    cases.extend([
        refused("trailers_one_beyond_their_limit_are_refused", &one(TRAILERS + 1)),
        refused("many_small_trailers_beyond_the_limit_are_refused", &"A:\r\n".repeat(TRAILERS / 4 + 1)),
        case("many_small_trailers_at_the_limit_pass", "docs/errors.md")
            .sends(request(&"A:\r\n".repeat(TRAILERS / 4)))
            .worker_gets(request(&"A:\r\n".repeat(TRAILERS / 4)))
            .answers(),
    ]);
    cases
}

/// The rest of a body behind an early answer.
fn discarded() -> Vec<Case> {
    let bound = limit("limits.discard_bytes");
    let head = |len: usize| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n");
    let answered = |name: &str, len: usize| {
        case(name, "docs/errors.md")
            .small()
            .sends(head(len))
            .worker_gets_part(head(len))
            .worker_says(OK)
            .client_gets(OK)
            .worker_cut()
    };
    vec![
        answered("a_rest_one_below_the_limit_is_read", bound - 1).sends("x".repeat(bound - 1)),
        answered("a_rest_exactly_at_the_limit_is_read", bound).sends("x".repeat(bound)),
        answered("a_rest_at_the_limit_in_pieces_is_read", bound).sends_pieces("x".repeat(bound), 100),
        answered("a_rest_beyond_the_limit_ends_the_connection", 10 * bound)
            .sends("x".repeat(bound + 1))
            .client_ends(),
        answered("a_rest_beyond_the_limit_in_pieces_ends_the_connection", 10 * bound)
            .sends("x".repeat(bound))
            .sends("x")
            .client_ends(),
    ]
}

/// The defaults, as the documents give them.
fn defaults() -> Vec<Case> {
    let target = |len: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "t".repeat(len - 1));
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    let kept = |name: &str, request: String| {
        case(name, "docs/config.md").sends(&request).worker_gets(&request).answers()
    };
    let refused = |name: &str, request: String, status| {
        case(name, "docs/config.md").sends(request).gets_refusal(status)
    };
    vec![
        kept("a_head_of_80_kib_passes", head_of(80 << 10, "")),
        refused("a_head_beyond_80_kib_is_refused", head_of((80 << 10) + 1, ""), 431),
        kept("a_target_of_16_kib_passes", target(16 << 10)),
        refused("a_target_beyond_16_kib_is_refused", target((16 << 10) + 1), 414),
        kept("256_fields_pass", fields(256)),
        refused("257_fields_are_refused", fields(257), 431),
    ]
}
