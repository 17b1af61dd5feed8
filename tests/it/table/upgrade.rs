//! Upgrade: a switch that was asked for, agreed to and named becomes a tunnel. Until then not a byte of
//! another protocol passes, and where no switch comes about none is read as a request.

use super::case::{Case, GET, OK, OK_CLOSE, answered, becomes, case};

#[test]
fn a_switch_is_agreed_by_both_sides_or_does_not_happen() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [asked(), not_asked(), switched(), refused(), wrong_switches(), advertised()].concat()
}

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo/1\r\n\r\n";
const ASKED: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: echo/1\r\nx-fc-request-id: <id>\r\nConnection: Upgrade\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo/1\r\nConnection: Upgrade\r\n\r\n";

/// The request is forwarded as asking for a switch with these `Upgrade` lines, and refused with 200.
fn offered(name: &str, reference: &'static str, lines: &str, upgrades: &str) -> Case {
    case(name, reference)
        .sends(format!("GET /chat HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
        .worker_gets(format!(
            "GET /chat HTTP/1.1\r\nHost: a\r\n{upgrades}x-fc-request-id: <id>\r\nConnection: Upgrade\r\n\r\n"
        ))
        .worker_says(OK)
        .client_gets(OK_CLOSE)
        .client_ends()
}

fn asked() -> Vec<Case> {
    let upgrade = "RFC 9110 §7.8";
    vec![
        offered(
            "a_switch_is_asked_for",
            upgrade,
            "Connection: Upgrade\r\nUpgrade: echo/1\r\n",
            "Upgrade: echo/1\r\n",
        ),
        offered(
            "connection_may_name_the_switch_in_any_case",
            upgrade,
            "connection: uPGRADE\r\nUpgrade: x\r\n",
            "Upgrade: x\r\n",
        ),
        offered(
            "connection_may_name_the_switch_in_a_list",
            upgrade,
            "Connection: keep-alive, Upgrade\r\nUpgrade: x\r\n",
            "Upgrade: x\r\n",
        ),
        offered(
            "connection_may_come_behind_the_switch",
            upgrade,
            "Upgrade: x\r\nA: b\r\nConnection: upgrade\r\n",
            "Upgrade: x\r\nA: b\r\n",
        ),
        offered(
            "several_protocols_are_offered_as_they_came",
            upgrade,
            "Connection: upgrade\r\nUpgrade: a/1, b , c/2.0\r\n",
            "Upgrade: a/1, b , c/2.0\r\n",
        ),
        offered(
            "protocols_on_two_lines_are_offered",
            upgrade,
            "Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n",
            "Upgrade: a\r\nUpgrade: b\r\n",
        ),
        offered(
            "other_named_fields_still_end_here",
            "RFC 9110 §7.6.1",
            "Connection: upgrade, x\r\nX: 1\r\nUpgrade: y\r\n",
            "Upgrade: y\r\n",
        ),
        offered(
            "a_websocket_handshake_passes",
            "RFC 6455 §4.1",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
            "Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
        ),
    ]
}

fn not_asked() -> Vec<Case> {
    let row = |name: &str, reference, lines: &str, received: &str| {
        let get = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        becomes(name, reference, get(lines), get(received))
    };
    let h2c = "RFC 9113 §3.1, h2c smuggling";
    vec![
        row(
            "a_switch_that_connection_does_not_name_is_not_asked_for",
            "RFC 9110 §7.8",
            "Upgrade: websocket\r\nA: b\r\n",
            "A: b\r\n",
        ),
        row(
            "a_switch_to_nothing_is_not_asked_for",
            "RFC 9110 §7.8",
            "Connection: upgrade\r\nUpgrade:\r\n",
            "",
        ),
        row(
            "a_switch_without_protocols_is_not_asked_for",
            "RFC 9110 §7.8",
            "Connection: upgrade\r\nA: b\r\n",
            "A: b\r\n",
        ),
        row(
            "a_switch_to_commas_is_not_asked_for",
            "RFC 9110 §7.8",
            "Connection: upgrade\r\nUpgrade: , ,\r\n",
            "",
        ),
        row(
            "another_word_than_upgrade_asks_for_no_switch",
            "RFC 9110 §7.8",
            "Connection: upgrades\r\nUpgrade: x\r\n",
            "",
        ),
        row(
            "h2c_is_never_asked_for",
            h2c,
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nA: b\r\n",
            "A: b\r\n",
        ),
        row("h2c_in_capitals_is_never_asked_for", h2c, "Connection: Upgrade\r\nUpgrade: H2C\r\n", ""),
        row(
            "h2c_behind_another_protocol_is_never_asked_for",
            h2c,
            "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
            "",
        ),
        row(
            "h2c_before_another_protocol_is_never_asked_for",
            h2c,
            "Connection: Upgrade\r\nUpgrade: h2c,websocket\r\n",
            "",
        ),
        row(
            "h2c_on_a_second_line_is_never_asked_for",
            h2c,
            "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
            "",
        ),
        row("a_draft_of_h2c_is_never_asked_for", h2c, "Connection: Upgrade\r\nUpgrade: h2c-14\r\n", ""),
        row("a_version_of_h2c_is_never_asked_for", h2c, "Connection: Upgrade\r\nUpgrade: h2c/1\r\n", ""),
        row("h2c_behind_a_space_is_never_asked_for", h2c, "Connection: Upgrade\r\nUpgrade: x h2c\r\n", ""),
        row("a_quoted_h2c_is_never_asked_for", h2c, "Connection: Upgrade\r\nUpgrade: \"h2c\"\r\n", ""),
        row(
            "h2c_behind_a_semicolon_is_never_asked_for",
            h2c,
            "Connection: Upgrade\r\nUpgrade: x;h2c\r\n",
            "",
        ),
        case("a_switch_in_http_1_0_is_not_asked_for", "RFC 9110 §7.8")
            .sends("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            .worker_gets(GET)
            .answers_and_closes(),
        case("a_request_behind_h2c_is_served_as_any", h2c)
            .sends(["GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", GET].concat())
            .worker_gets(GET)
            .answers()
            .worker_gets(GET)
            .answers(),
    ]
}

fn switched() -> Vec<Case> {
    let upgrade = "RFC 9110 §7.8";
    vec![
        case("a_switch_becomes_a_tunnel", upgrade)
            .sends(ASK)
            .worker_gets(ASKED)
            .switches(SWITCH)
            .client_gets(SWITCH)
            .sends("\0ping")
            .worker_gets_part("\0ping")
            .worker_says("\0pong")
            .client_gets("\0pong")
            .worker_closes()
            .client_ends(),
        case("bytes_of_a_tunnel_are_not_read_as_messages", upgrade)
            .sends(ASK)
            .worker_gets(ASKED)
            .switches(SWITCH)
            .client_gets(SWITCH)
            .sends("GET /x HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n")
            .worker_gets_part("GET /x HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n")
            .worker_says("HTTP/1.1 200 OK\nbroken\n\n")
            .client_gets("HTTP/1.1 200 OK\nbroken\n\n")
            .client_leaves()
            .worker_ends(),
        case("bytes_behind_a_request_wait_for_the_switch", "RFC 9110 §7.8, CVE-2026-2833")
            .sends([ASK, "early"].concat())
            .worker_gets(ASKED)
            .quiet()
            .switches(SWITCH)
            .client_gets(SWITCH)
            .worker_gets_part("early")
            .client_leaves()
            .worker_ends(),
        case("bytes_behind_a_switch_come_with_it", upgrade)
            .sends(ASK)
            .worker_gets(ASKED)
            .switches([SWITCH, "hello"].concat())
            .client_gets([SWITCH, "hello"].concat())
            .client_leaves()
            .worker_ends(),
        case("a_switch_comes_behind_the_body_of_its_request", upgrade)
            .sends("POST /p HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo/1\r\nContent-Length: 5\r\n\r\nhello!")
            .worker_gets("POST /p HTTP/1.1\r\nHost: a\r\nUpgrade: echo/1\r\nContent-Length: 5\r\nx-fc-request-id: <id>\r\nConnection: Upgrade\r\n\r\nhello")
            .quiet()
            .switches(SWITCH)
            .client_gets(SWITCH)
            .worker_gets_part("!")
            .client_leaves()
            .worker_ends(),
        case("a_switch_comes_behind_the_chunks_of_its_request", upgrade)
            .sends("POST /p HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo/1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .worker_gets("POST /p HTTP/1.1\r\nHost: a\r\nUpgrade: echo/1\r\nTransfer-Encoding: chunked\r\nx-fc-request-id: <id>\r\nConnection: Upgrade\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .switches(SWITCH)
            .client_gets(SWITCH)
            .worker_closes()
            .client_ends(),
        case("interim_answers_may_come_before_a_switch", "RFC 9110 §15.2")
            .sends(ASK)
            .worker_gets(ASKED)
            .worker_says("HTTP/1.1 103 Early Hints\r\n\r\n")
            .client_gets("HTTP/1.1 103 Early Hints\r\n\r\n")
            .switches(SWITCH)
            .client_gets(SWITCH)
            .worker_closes()
            .client_ends(),
        case("a_switch_to_one_of_several_protocols_is_believed", upgrade)
            .sends("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a, B/2\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: a, B/2\r\nx-fc-request-id: <id>\r\nConnection: Upgrade\r\n\r\n")
            .switches("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: b/2\r\n\r\n")
            .client_gets("HTTP/1.1 101 S\r\nUpgrade: b/2\r\nConnection: Upgrade\r\n\r\n")
            .worker_closes()
            .client_ends(),
        case("the_fields_of_a_switch_pass", "RFC 6455 §4.2.2")
            .sends(ASK)
            .worker_gets(ASKED)
            .switches("HTTP/1.1 101 S\r\nX: 1\r\nConnection: upgrade, keep-alive\r\nUpgrade: echo/1\r\nKeep-Alive: 5\r\nSec-WebSocket-Accept: x\r\n\r\n")
            .client_gets("HTTP/1.1 101 S\r\nX: 1\r\nUpgrade: echo/1\r\nSec-WebSocket-Accept: x\r\nConnection: Upgrade\r\n\r\n")
            .worker_closes()
            .client_ends(),
    ]
}

fn refused() -> Vec<Case> {
    let early = "RFC 9110 §7.8, CVE-2026-2833";
    vec![
        case("bytes_behind_a_refused_switch_are_no_request", early)
            .sends([ASK, GET].concat())
            .worker_gets(ASKED)
            .quiet()
            .worker_says(OK)
            .client_gets(OK_CLOSE)
            .client_ends(),
        case("bytes_that_come_later_than_a_refused_switch_are_no_request", early)
            .sends(ASK)
            .worker_gets(ASKED)
            .sends(GET)
            .quiet()
            .worker_says(OK)
            .client_gets(OK_CLOSE)
            .client_ends(),
        case("bytes_behind_a_failed_switch_are_no_request", early)
            .fresh()
            .sends([ASK, GET].concat())
            .worker_gets(ASKED)
            .worker_closes()
            .client_gets_local(502, "worker-closed", true)
            .client_ends(),
        case("bytes_behind_a_wrong_switch_are_no_request", early)
            .sends([ASK, GET].concat())
            .worker_gets(ASKED)
            .worker_says("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n")
            .client_gets_local(502, "worker-response", true)
            .worker_ends()
            .client_ends(),
        case("a_body_behind_a_refused_switch_is_no_request", "RFC 9110 §7.8, CVE-2026-58055")
            .sends(["POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 28\r\n\r\n", GET, "x"].concat())
            .worker_gets(["POST / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nContent-Length: 28\r\nx-fc-request-id: <id>\r\nConnection: Upgrade\r\n\r\n", GET, "x"].concat())
            .worker_says(OK)
            .client_gets(OK_CLOSE)
            .client_ends(),
        case("a_refused_switch_of_unknown_length_is_chunked_and_closes", "RFC 9112 §6.3")
            .sends(ASK)
            .worker_gets(ASKED)
            .worker_says("HTTP/1.1 403 No\r\n\r\nno")
            .client_gets("HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\nno\r\n")
            .worker_closes()
            .client_gets("0\r\n\r\n")
            .client_ends(),
    ]
}

fn wrong_switches() -> Vec<Case> {
    let row = |name: &str, answer: &str| {
        case(name, "RFC 9110 §7.8")
            .sends(ASK)
            .worker_gets(ASKED)
            .worker_says(answer)
            .client_gets_local(502, "worker-response", true)
            .worker_ends()
            .client_ends()
    };
    vec![
        row("a_switch_to_another_protocol_is_rejected", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n"),
        row("a_switch_to_another_version_is_rejected", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo/2\r\n\r\n"),
        row("a_switch_to_two_protocols_of_which_one_is_foreign_is_rejected", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo/1, other\r\n\r\n"),
        row("a_switch_to_h2c_is_rejected", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
        row("a_switch_without_upgrade_is_rejected", "HTTP/1.1 101 S\r\nConnection: upgrade\r\n\r\n"),
        row("a_switch_without_connection_is_rejected", "HTTP/1.1 101 S\r\nUpgrade: echo/1\r\n\r\n"),
        row("a_switch_to_nothing_is_rejected", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade:\r\n\r\n"),
        row("a_switch_with_a_length_is_rejected", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo/1\r\nContent-Length: 0\r\n\r\n"),
        row("a_switch_with_a_coding_is_rejected", "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: echo/1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        row("a_switch_of_http_1_0_is_rejected", "HTTP/1.0 101 S\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n"),
        case("a_switch_before_the_request_has_ended_is_rejected", "RFC 9110 §7.8")
            .sends("POST /p HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: echo/1\r\nContent-Length: 5\r\n\r\nhe")
            .worker_gets_part("POST /p HTTP/1.1\r\nHost: a\r\nUpgrade: echo/1\r\nContent-Length: 5\r\nx-fc-request-id: <id>\r\nConnection: Upgrade\r\n\r\nhe")
            .worker_says(SWITCH)
            .client_gets_local(502, "worker-response", true)
            .worker_cut()
            .client_ends(),
        case("a_switch_of_a_request_that_offered_h2c_is_rejected", "RFC 9113 §3.1, h2c smuggling")
            .sends("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            .worker_gets(GET)
            .worker_says("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n")
            .client_gets_502("worker-response")
            .worker_ends(),
    ]
}

/// Upgrade in other answers.
fn advertised() -> Vec<Case> {
    vec![
        answered(
            "a_426_names_what_it_requires",
            "RFC 9110 §15.5.22",
            "HTTP/1.1 426 Upgrade Required\r\nConnection: upgrade\r\nUpgrade: x/1\r\nContent-Length: 2\r\n\r\nno",
            "HTTP/1.1 426 Upgrade Required\r\nUpgrade: x/1\r\nContent-Length: 2\r\nConnection: Upgrade\r\n\r\nno",
        ),
        answered(
            "an_advertised_protocol_ends_here",
            "RFC 9110 §7.6.1",
            "HTTP/1.1 200 OK\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
            OK,
        ),
        answered(
            "a_426_that_requires_h2c_does_not_say_so",
            "RFC 9113 §3.1, h2c smuggling",
            "HTTP/1.1 426 No\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nno",
            "HTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nno",
        ),
    ]
}
