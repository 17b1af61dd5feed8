//! What speaks about one connection ends at it; what `Connection` may not remove stays.

use super::case::{Case, OK, OK_CLOSE, OK_STAY, becomes, case};

#[test]
fn fields_of_one_connection_end_here_and_no_others_with_them() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [closing(), staying(), nominated(), protected(), always_dropped(), te(), kept()].concat()
}

fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// The lines reach the worker as these.
fn row(name: &str, reference: &'static str, lines: &str, received: &str) -> Case {
    becomes(name, reference, get(lines), get(received))
}

fn closing() -> Vec<Case> {
    let close = |name: &str, lines: &str| {
        case(name, "RFC 9112 §9.6").sends(get(lines)).worker_gets(get("")).answers_and_closes()
    };
    vec![
        close("connection_close_ends_the_connection", "Connection: close\r\n"),
        close("close_is_read_in_any_case", "connection: CLOSE\r\n"),
        close("close_first_in_a_list_counts", "Connection: close, x\r\n"),
        close("close_last_in_a_list_counts", "Connection: x ,\tclose\r\n"),
        close("close_among_empty_items_counts", "Connection: ,, close ,,\r\n"),
        close("close_beats_keep_alive", "Connection: keep-alive, close\r\n"),
        close("close_before_keep_alive_counts", "Connection: close, keep-alive\r\n"),
        close("close_on_a_second_line_counts", "Connection: keep-alive\r\nConnection: close\r\n"),
        case("close_ends_the_connection_behind_a_body", "RFC 9112 §9.6")
            .sends("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
            .worker_gets("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .answers_and_closes(),
        case("close_of_the_client_does_not_close_the_worker", "RFC 9110 §7.6.1")
            .sends(get("Connection: close\r\n"))
            .worker_gets(get(""))
            .answers_and_closes()
            .sends(get(""))
            .worker_gets(get(""))
            .answers(),
    ]
}

fn staying() -> Vec<Case> {
    let old = |name: &str, lines: &str, stays: bool| {
        let case = case(name, "RFC 9112 §9.3")
            .sends(format!("GET / HTTP/1.0\r\nHost: a\r\n{lines}\r\n"))
            .worker_gets(get(""));
        match stays {
            true => case.worker_says(OK).client_gets(OK_STAY),
            false => case.worker_says(OK).client_gets(OK_CLOSE).client_ends(),
        }
    };
    vec![
        row("keep_alive_ends_here", "RFC 9112 §9.3", "Connection: keep-alive\r\n", ""),
        row(
            "a_keep_alive_field_ends_here",
            "RFC 9112 §9.3",
            "Connection: Keep-Alive\r\nKeep-Alive: timeout=5\r\n",
            "",
        ),
        row("closed_is_not_close", "RFC 9112 §9.6", "Connection: closed\r\n", ""),
        row("a_quoted_close_is_not_close", "RFC 9110 §7.6.1", "Connection: \"close\"\r\n", ""),
        row("close_with_a_parameter_is_not_close", "RFC 9110 §7.6.1", "Connection: close;q=1\r\n", ""),
        row("an_empty_connection_field_ends_here", "RFC 9110 §7.6.1", "Connection:\r\n", ""),
        row("a_connection_field_of_commas_ends_here", "RFC 9110 §5.6.1", "Connection: , ,\r\n", ""),
        old("http_1_0_stays_with_keep_alive_in_any_case", "Connection: Keep-Alive\r\n", true),
        old("http_1_0_stays_with_keep_alive_in_a_list", "Connection: x, keep-alive\r\n", true),
        old("http_1_0_with_a_keep_alive_field_alone_closes", "Keep-Alive: timeout=5\r\n", false),
        old("http_1_0_with_close_and_keep_alive_closes", "Connection: keep-alive, close\r\n", false),
        old("http_1_0_with_proxy_connection_closes", "Proxy-Connection: keep-alive\r\n", false),
    ]
}

fn nominated() -> Vec<Case> {
    let hop = "RFC 9110 §7.6.1";
    vec![
        row("a_named_field_ends_here", hop, "Connection: X-Own\r\nX-Own: 1\r\nA: b\r\n", "A: b\r\n"),
        row(
            "a_named_field_before_its_naming_ends_here",
            hop,
            "X-Own: 1\r\nA: b\r\nConnection: X-Own\r\n",
            "A: b\r\n",
        ),
        row("a_field_named_in_other_case_ends_here", hop, "Connection: x-OWN\r\nX-Own: 1\r\n", ""),
        row(
            "every_line_of_a_named_field_ends_here",
            hop,
            "X: 1\r\nA: b\r\nx: 2\r\nConnection: x\r\nX: 3\r\n",
            "A: b\r\n",
        ),
        row(
            "several_named_fields_end_here",
            hop,
            "Connection: x, y,z\r\nX: 1\r\nY: 2\r\nA: b\r\nZ: 3\r\n",
            "A: b\r\n",
        ),
        row(
            "fields_named_on_two_lines_end_here",
            hop,
            "Connection: x\r\nX: 1\r\nConnection: y\r\nY: 2\r\n",
            "",
        ),
        row("a_named_field_that_is_absent_changes_nothing", hop, "Connection: x\r\nA: b\r\n", "A: b\r\n"),
        row("the_start_of_a_name_names_nothing", hop, "Connection: x\r\nX-Own: 1\r\n", "X-Own: 1\r\n"),
        row(
            "a_name_with_a_space_names_nothing",
            hop,
            "Connection: x y\r\nX: 1\r\nY: 2\r\n",
            "X: 1\r\nY: 2\r\n",
        ),
        row("a_named_accept_ends_here", hop, "Connection: accept\r\nAccept: x\r\n", ""),
        row(
            "a_long_list_of_names_is_read_whole",
            hop,
            &format!("Connection: {}x\r\nX: 1\r\nA: b\r\n", "n, ".repeat(2000)),
            "A: b\r\n",
        ),
        row(
            "neighbours_of_named_fields_stay_whole",
            hop,
            "A: 1\r\nX: 2\r\nB: 3\r\nX: 4\r\nC: 5\r\nConnection: x\r\nD: 6\r\n",
            "A: 1\r\nB: 3\r\nC: 5\r\nD: 6\r\n",
        ),
        case("a_named_field_before_host_ends_here", hop)
            .sends("GET / HTTP/1.1\r\nX: 1\r\nConnection: x\r\nHost: a\r\n\r\n")
            .worker_gets("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .answers(),
    ]
}

fn protected() -> Vec<Case> {
    let abuse = "RFC 9110 §7.6.1, hop-by-hop abuse, CVE-2022-31813";
    let row = |name: &str, field: &str, line: &str| {
        row(name, abuse, &format!("Connection: {field}\r\n{line}\r\n"), &format!("{line}\r\n"))
    };
    vec![
        row("connection_cannot_remove_authorization", "authorization", "Authorization: Basic YTpi"),
        row("connection_cannot_remove_cookies", "cookie", "Cookie: a=b"),
        row("connection_cannot_remove_forwarded", "Forwarded", "Forwarded: for=1.2.3.4"),
        row("connection_cannot_remove_x_forwarded_for", "X-Forwarded-For", "X-Forwarded-For: 1.2.3.4"),
        row("connection_cannot_remove_x_forwarded_proto", "x-forwarded-proto", "X-Forwarded-Proto: https"),
        row("connection_cannot_remove_the_request_id", "x-fc-request-id", "x-fc-request-id: 1-2-3"),
        row("connection_cannot_remove_fields_of_the_platform", "X-FC-Region", "x-fc-region: r"),
        row("connection_cannot_remove_them_next_to_close_free_names", "x, cookie, y", "Cookie: a=b"),
        row("connection_may_name_itself", "connection", "A: b"),
    ]
}

fn always_dropped() -> Vec<Case> {
    let hop = "RFC 9110 §7.6.1";
    vec![
        row("keep_alive_without_connection_ends_here", hop, "Keep-Alive: 300\r\nA: b\r\n", "A: b\r\n"),
        row("proxy_connection_ends_here", hop, "Proxy-Connection: keep-alive\r\nA: b\r\n", "A: b\r\n"),
        row("proxy_connection_does_not_close", hop, "Proxy-Connection: close\r\n", ""),
        row(
            "upgrade_without_connection_ends_here",
            "RFC 9110 §7.8",
            "Upgrade: websocket\r\nA: b\r\n",
            "A: b\r\n",
        ),
        row(
            "all_of_them_end_here_at_once",
            hop,
            "TE: x\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nConnection: y\r\nY: z\r\n",
            "",
        ),
    ]
}

fn te() -> Vec<Case> {
    let te = "RFC 9110 §10.1.4";
    // Whoever sends TE names it in Connection.
    let told = |name: &str, lines: &str| {
        let received =
            "GET / HTTP/1.1\r\nHost: a\r\nx-fc-request-id: <id>\r\nTE: trailers\r\nConnection: TE\r\n\r\n";
        becomes(name, te, get(lines), received)
    };
    vec![
        told("the_worker_is_told_that_trailers_are_welcome", "TE: trailers\r\nConnection: TE\r\n"),
        told("trailers_in_any_case_are_welcome", "te: TRAILERS\r\n"),
        told("trailers_in_a_list_are_welcome", "TE: gzip;q=0.5, trailers\r\n"),
        row("codings_that_te_names_end_here", te, "TE: gzip, deflate;q=0\r\nConnection: te\r\n", ""),
        row("an_empty_te_ends_here", te, "TE:\r\n", ""),
    ]
}

fn kept() -> Vec<Case> {
    let row = |name: &str, reference, line: &str| row(name, reference, line, line);
    vec![
        row("via_passes", "RFC 9110 §7.6.3", "Via: 1.1 gateway\r\n"),
        row("proxy_authorization_passes", "RFC 9110 §11.7.2", "Proxy-Authorization: Basic YTpi\r\n"),
        row("max_forwards_of_a_get_passes", "RFC 9110 §7.6.2", "Max-Forwards: 0\r\n"),
        row("connections_in_the_plural_pass", "RFC 9110 §5.1", "Connections: close\r\n"),
        row("trailer_passes", "RFC 9110 §6.6.2", "Trailer: A\r\n"),
    ]
}
