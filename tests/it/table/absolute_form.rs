//! Forms of a target and the host it names: a worker gets a path, and target and `Host` never disagree.

use super::case::{Case, OK_CLOSE, becomes, case, passes, refused};

#[test]
fn target_and_host_name_one_place() {
    super::play::play(cases());
}

pub(super) fn cases() -> Vec<Case> {
    [
        rewritten(),
        disagreeing(),
        malformed(),
        asterisks(),
        other_forms(),
        fragments(),
        hosts(),
        old_versions(),
    ]
    .concat()
}

fn get(target: &str, host: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

fn rewritten() -> Vec<Case> {
    let row = |name: &str, target: &str, host: &str, path: &str| {
        becomes(name, "RFC 9112 §3.2.2", get(target, host), get(path, host))
    };
    vec![
        row("an_absolute_target_becomes_its_path", "http://a/x", "a", "/x"),
        row("an_absolute_target_keeps_its_query", "http://a/x?y=z//w", "a", "/x?y=z//w"),
        row("an_absolute_target_without_path_becomes_the_root", "http://a", "a", "/"),
        row("an_absolute_target_with_a_query_alone_gets_the_root", "http://a?x", "a", "/?x"),
        row("the_scheme_of_a_target_is_read_in_any_case", "hTTp://a/x", "a", "/x"),
        row("an_https_target_becomes_its_path", "https://a/x", "a", "/x"),
        row("the_host_of_a_target_is_read_in_any_case", "http://EXAMPLE.com/x", "example.COM", "/x"),
        row("the_default_port_of_a_target_says_nothing", "http://a:80/x", "a", "/x"),
        row("the_default_port_of_a_host_says_nothing", "http://a/x", "a:80", "/x"),
        row("the_default_port_of_https_is_443", "https://a:443/x", "a", "/x"),
        row("an_empty_port_says_nothing", "http://a:/x", "a", "/x"),
        row("another_port_must_be_named_twice", "http://a:8080/x", "a:8080", "/x"),
        row("an_address_in_brackets_may_be_a_target", "http://[::1]:9000/x", "[::1]:9000", "/x"),
        row("two_slashes_behind_the_authority_stay", "http://a//b//c", "a", "//b//c"),
        row("dots_in_an_absolute_target_stay", "http://a/../b/./c", "a", "/../b/./c"),
        row("a_url_within_an_absolute_target_stays", "http://a/http://b/", "a", "/http://b/"),
        row("an_at_sign_behind_the_authority_stays", "http://a/@b", "a", "/@b"),
        row("a_colon_behind_the_authority_stays", "http://a/b:80", "a", "/b:80"),
        becomes(
            "an_absolute_target_of_a_post_becomes_its_path",
            "RFC 9112 §3.2.2",
            "POST http://a/p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: x\r\nX: y\r\n\r\nhello",
            "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        ),
        case("an_absolute_target_in_pieces_becomes_its_path", "RFC 9112 §3.2.2")
            .sends_pieces(get("http://example.com/x", "example.com"), 5)
            .worker_gets(get("/x", "example.com"))
            .answers(),
        case("a_pipelined_absolute_target_becomes_its_path", "RFC 9112 §3.2.2")
            .sends([get("/1", "a"), get("http://a/2", "a")].concat())
            .worker_gets(get("/1", "a"))
            .answers()
            .worker_gets(get("/2", "a"))
            .answers(),
    ]
}

fn disagreeing() -> Vec<Case> {
    let row = |name: &str, target: &str, host: &str| {
        refused(name, "RFC 9112 §3.2.2, Host of Troubles", get(target, host), 400)
    };
    vec![
        row("a_target_and_a_host_that_differ_are_refused", "http://a/", "b"),
        row("a_target_within_the_host_is_refused", "http://a/", "a.b"),
        row("a_host_within_the_target_is_refused", "http://a.b/", "a"),
        row("ports_that_differ_are_refused", "http://a:81/", "a:82"),
        row("a_port_in_the_target_alone_is_refused", "http://a:81/", "a"),
        row("a_port_in_the_host_alone_is_refused", "http://a/", "a:81"),
        row("the_port_of_the_other_scheme_is_another_port", "http://a/", "a:443"),
        row("an_empty_host_beside_a_target_is_refused", "http://a/", ""),
        row("a_final_dot_makes_another_host", "http://a./", "a"),
        row("an_escaped_host_is_another_host", "http://%61/", "a"),
        row("another_way_to_write_an_address_is_another_host", "http://127.0.0.1/", "127.1"),
        refused(
            "an_absolute_target_does_not_replace_the_host",
            "RFC 9112 §3.2",
            "GET http://a/ HTTP/1.1\r\n\r\n",
            400,
        ),
        refused(
            "an_absolute_target_does_not_settle_two_hosts",
            "RFC 9112 §3.2",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            400,
        ),
    ]
}

fn malformed() -> Vec<Case> {
    let row = |name: &str, target: &str| refused(name, "RFC 9110 §4.2.1", get(target, "a"), 400);
    vec![
        row("a_target_without_authority_is_refused", "http:///x"),
        row("a_target_with_one_slash_is_refused", "http:/a/x"),
        row("a_target_without_slashes_is_refused", "http:a/x"),
        row("a_target_with_a_port_alone_is_refused", "http://:80/x"),
        row("a_target_with_two_ports_is_refused", "http://a:80:80/x"),
        row("a_target_with_a_port_in_letters_is_refused", "http://a:x/"),
        row("a_target_with_a_port_of_six_digits_is_refused", "http://a:000080/"),
        row("a_target_with_a_backslash_in_its_authority_is_refused", "http://a\\b/"),
        row("a_target_with_an_open_bracket_is_refused", "http://[::1/"),
        row("a_target_with_a_bare_address_is_refused", "http://::1/"),
        row("a_target_with_a_comma_in_its_authority_is_refused", "http://a,b/"),
        row("a_target_beyond_ascii_in_its_authority_is_refused", "http://ä/"),
        row("a_target_with_an_authority_without_end_is_refused", &format!("http://{}/", "a".repeat(300))),
        refused("a_user_in_a_target_is_refused", "RFC 9110 §4.2.4", get("http://user@a/", "a"), 400),
        refused("a_user_with_a_password_is_refused", "RFC 9110 §4.2.4", get("http://u:p@a/", "a"), 400),
        refused("an_empty_user_is_refused", "RFC 9110 §4.2.4", get("http://@a/", "a"), 400),
        refused("a_host_as_a_user_is_refused", "RFC 9110 §4.2.4", get("http://a@b/", "a"), 400),
    ]
}

fn asterisks() -> Vec<Case> {
    let ask = |method: &str, target: &str| format!("{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let bad =
        |name: &str, method: &str, target: &str| refused(name, "RFC 9112 §3.2.4", ask(method, target), 400);
    vec![
        becomes(
            "options_of_an_authority_asks_for_the_server",
            "RFC 9112 §3.2.4",
            ask("OPTIONS", "http://a"),
            ask("OPTIONS", "*"),
        ),
        becomes(
            "options_of_an_authority_and_port_asks_for_the_server",
            "RFC 9112 §3.2.4",
            ask("OPTIONS", "http://a:80"),
            ask("OPTIONS", "*"),
        ),
        becomes(
            "options_of_a_root_asks_for_the_root",
            "RFC 9112 §3.2.4",
            ask("OPTIONS", "http://a/"),
            ask("OPTIONS", "/"),
        ),
        becomes(
            "options_of_a_query_asks_for_the_root",
            "RFC 9112 §3.2.4",
            ask("OPTIONS", "http://a?x"),
            ask("OPTIONS", "/?x"),
        ),
        bad("get_asterisk_is_refused", "GET", "*"),
        bad("post_asterisk_is_refused", "POST", "*"),
        bad("head_asterisk_is_refused", "HEAD", "*"),
        bad("options_in_small_letters_has_no_asterisk", "options", "*"),
        bad("two_asterisks_are_refused", "OPTIONS", "**"),
        bad("an_asterisk_before_a_path_is_refused", "OPTIONS", "*/x"),
        bad("an_asterisk_with_a_query_is_refused", "OPTIONS", "*?x"),
    ]
}

fn other_forms() -> Vec<Case> {
    let row = |name: &str, reference, target: &str| refused(name, reference, get(target, "a"), 400);
    vec![
        row("a_word_is_no_target", "RFC 9112 §3.2", "x"),
        row("a_path_without_slash_is_no_target", "RFC 9112 §3.2.1", "x/y"),
        row("a_dot_is_no_target", "RFC 9112 §3.2.1", "."),
        row("a_query_alone_is_no_target", "RFC 9112 §3.2.1", "?x"),
        row("a_backslash_is_no_path", "RFC 9112 §3.2.1", "\\x"),
        row("an_escaped_slash_is_no_path", "RFC 9112 §3.2.1", "%2fx"),
        row("an_authority_is_no_target_of_get", "RFC 9112 §3.2.3", "a:80"),
        row("an_at_sign_is_no_path", "RFC 9112 §3.2.1, CVE-2021-40438", "@b/x"),
        row("ftp_is_another_scheme", "RFC 9110 §4.2", "ftp://a/x"),
        row("file_is_another_scheme", "RFC 9110 §4.2", "file:///etc/passwd"),
        row("gopher_is_another_scheme", "RFC 9110 §4.2", "gopher://a/x"),
        row("unix_is_another_scheme", "CVE-2021-40438", "unix:/tmp/s|http://a/"),
        row("ws_is_another_scheme", "RFC 6455 §3", "ws://a/x"),
        row("javascript_is_another_scheme", "RFC 9110 §4.2", "javascript:alert(1)"),
        row("a_longer_scheme_is_another", "RFC 9110 §4.2", "httpx://a/x"),
        row("a_scheme_relative_word_is_no_target", "RFC 3986 §4.2", "a//b"),
    ]
}

fn fragments() -> Vec<Case> {
    let row = |name: &str, target: &str| refused(name, "RFC 9110 §4.2.5", get(target, "a"), 400);
    vec![
        row("a_fragment_is_refused", "/x#y"),
        row("an_empty_fragment_is_refused", "/x#"),
        row("a_fragment_behind_a_query_is_refused", "/?x#y"),
        row("a_fragment_alone_is_refused", "#x"),
        row("a_fragment_of_an_absolute_target_is_refused", "http://a/#x"),
        row("a_fragment_that_hides_an_authority_is_refused", "http://a#@b/"),
        row("a_fragment_that_hides_a_path_is_refused", "/a#/../admin"),
    ]
}

/// Values of `Host` that are no `uri-host [ ":" port ]`.
fn hosts() -> Vec<Case> {
    let bad = |name: &str, reference, host: &str| refused(name, reference, get("/", host), 400);
    let host = "RFC 9110 §7.2";
    vec![
        bad("a_list_of_hosts_is_refused", "RFC 9110 §7.2, Host of Troubles", "a, b"),
        bad("a_comma_in_a_host_is_refused", "RFC 9110 §7.2, Host of Troubles", "a,b"),
        bad("a_space_in_a_host_is_refused", host, "a b"),
        bad("a_tab_in_a_host_is_refused", host, "a\tb"),
        bad("a_slash_in_a_host_is_refused", host, "a/b"),
        bad("a_backslash_in_a_host_is_refused", host, "a\\b"),
        bad("a_user_in_a_host_is_refused", host, "user@a"),
        bad("a_query_in_a_host_is_refused", host, "a?b"),
        bad("a_fragment_in_a_host_is_refused", host, "a#b"),
        bad("a_url_as_a_host_is_refused", host, "http://a"),
        bad("a_quoted_host_is_refused", host, "\"a\""),
        bad("a_host_in_angle_brackets_is_refused", "RFC 9110 §7.2, cross-site scripting", "<script>"),
        bad("a_host_in_braces_is_refused", host, "{a}"),
        bad("a_pipe_in_a_host_is_refused", host, "a|b"),
        bad("a_caret_in_a_host_is_refused", host, "a^b"),
        bad("a_backtick_in_a_host_is_refused", host, "`a`"),
        bad("a_host_beyond_ascii_is_refused", host, "bücher"),
        bad("a_port_in_letters_is_refused", host, "a:b"),
        bad("a_negative_port_is_refused", host, "a:-80"),
        bad("a_signed_port_is_refused", host, "a:+80"),
        bad("two_ports_are_refused", host, "a:80:81"),
        bad("a_port_of_six_digits_is_refused", host, "a:000080"),
        bad("a_port_with_a_path_is_refused", "RFC 9110 §7.2, password reset poisoning", "a:80/x"),
        bad("a_port_with_a_user_is_refused", "RFC 9110 §7.2, password reset poisoning", "a:80@b"),
        bad("a_bare_ipv6_address_is_refused", "RFC 3986 §3.2.2", "::1"),
        bad("an_open_bracket_is_refused", "RFC 3986 §3.2.2", "[::1"),
        bad("a_closing_bracket_alone_is_refused", "RFC 3986 §3.2.2", "::1]"),
        bad("bytes_behind_a_bracket_are_refused", "RFC 3986 §3.2.2", "[::1]x"),
        bad("empty_brackets_are_refused", "RFC 3986 §3.2.2", "[]"),
        bad("a_name_in_brackets_is_refused", "RFC 3986 §3.2.2", "[a]"),
        passes("a_host_with_sub_delimiters_passes", "RFC 3986 §3.2.2", get("/", "a!$&'()*+;=b")),
        passes("an_ipv6_address_with_a_zone_passes", "RFC 6874 §2", get("/", "[fe80::1%25eth0]:80")),
        passes("a_port_of_five_digits_passes", "RFC 9110 §7.2", get("/", "a:65535")),
        passes("an_ipv4_address_in_ipv6_passes", "RFC 3986 §3.2.2", get("/", "[::ffff:1.2.3.4]")),
    ]
}

fn old_versions() -> Vec<Case> {
    let row = |name: &str, request: &str, received: &str| {
        case(name, "RFC 9112 §3.2.2")
            .sends(request)
            .worker_gets(received)
            .worker_says(super::case::OK)
            .client_gets(OK_CLOSE)
            .client_ends()
    };
    vec![
        row(
            "an_absolute_target_of_http_1_0_becomes_host_and_path",
            "GET http://b:81/x HTTP/1.0\r\nA: b\r\n\r\n",
            "GET /x HTTP/1.1\r\nA: b\r\nx-fc-request-id: <id>\r\nHost: b:81\r\n\r\n",
        ),
        row(
            "an_absolute_target_of_http_1_0_without_path_becomes_the_root",
            "GET http://b HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nx-fc-request-id: <id>\r\nHost: b\r\n\r\n",
        ),
        row(
            "options_of_an_authority_in_http_1_0_asks_for_the_server",
            "OPTIONS http://b HTTP/1.0\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nx-fc-request-id: <id>\r\nHost: b\r\n\r\n",
        ),
        row(
            "an_absolute_target_of_http_1_0_with_its_host_becomes_its_path",
            "GET http://b/x HTTP/1.0\r\nHost: b\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: b\r\n\r\n",
        ),
        row(
            "the_longest_authority_of_http_1_0_becomes_a_host",
            &format!("GET http://{}/x HTTP/1.0\r\n\r\n", "h".repeat(253)),
            &format!("GET /x HTTP/1.1\r\nx-fc-request-id: <id>\r\nHost: {}\r\n\r\n", "h".repeat(253)),
        ),
        refused(
            "a_target_of_http_1_0_that_contradicts_its_host_is_refused",
            "RFC 9112 §3.2.2",
            "GET http://a/ HTTP/1.0\r\nHost: b\r\n\r\n",
            400,
        ),
        refused(
            "a_bad_host_of_http_1_0_is_refused",
            "RFC 9110 §7.2",
            "GET / HTTP/1.0\r\nHost: a b\r\n\r\n",
            400,
        ),
    ]
}
