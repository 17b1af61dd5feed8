//! What of a request workers do not get, if the configuration says so (`[headers]`).
//!
//! Three facts of the platform that applications stumble over (FC contract §2.2):
//! temporary credentials of the function's role in every request, a list of
//! protocols where frameworks expect one, and a prefix that only the legacy URL
//! puts in front of the path. A policy names spans that are left out; nothing is
//! written anew, and `http1::rewrite` closes the gaps.

use crate::config::HeaderPolicy;
use crate::http1::Span;
use crate::http1::lines::{Line, kept_lines};
use crate::http1::request::Request;

/// The role's temporary credentials.
const CREDENTIALS: [&[u8]; 3] = [b"x-fc-access-key-id", b"x-fc-access-key-secret", b"x-fc-security-token"];

/// What a target of the legacy URL begins with; a service and a function follow.
const PROXY_PREFIX: &[u8] = b"/2016-08-15/proxy/";

/// Lets `request`, which stands at the start of `bytes`, lose what `policy` names.
pub fn apply(policy: &HeaderPolicy, bytes: &[u8], request: &mut Request) {
    if policy.is_on() {
        for span in judge(policy, &bytes[..request.head_len], request) {
            request.drop_also(span);
        }
    }
}

/// The spans of `head` that `policy` names and that would travel.
fn judge(policy: &HeaderPolicy, head: &[u8], request: &Request) -> Vec<Span> {
    let mut spans = Vec::new();
    if policy.strip_proxy_prefix {
        spans.extend(proxy_prefix(head, request));
    }
    for line in kept_lines(head, request.target.end as usize, request.dropped()) {
        if policy.strip_credentials && CREDENTIALS.iter().any(|name| line.name.eq_ignore_ascii_case(name)) {
            spans.push(line.span);
        }
        if policy.first_forwarded_proto && line.name.eq_ignore_ascii_case(b"x-forwarded-proto") {
            spans.extend(beside_first_item(&line));
        }
    }
    spans
}

/// The prefix, but for one slash, with which the rest of the path begins.
fn proxy_prefix(head: &[u8], request: &Request) -> Option<Span> {
    let target = request.target;
    // Of an absolute target scheme and authority go already.
    let start =
        request.dropped().first().filter(|gap| gap.start == target.start).map_or(target.start, |gap| gap.end);
    let path = Span { start, end: target.end }.of_head(head);
    let path = &path[..path.iter().position(|&byte| byte == b'?').unwrap_or(path.len())];
    let mut parts = path.strip_prefix(PROXY_PREFIX)?.split(|&byte| byte == b'/');
    let [service, function] = [parts.next()?, parts.next()?];
    if service.is_empty() || function.is_empty() {
        return None;
    }
    let prefix = PROXY_PREFIX.len() + service.len() + 1 + function.len();
    // One of the two slashes stays where a path follows, the first one where nothing does.
    let end = if parts.next().is_some() { prefix + 1 } else { prefix };
    Some(Span { start: start + 1, end: start + end as u32 })
}

/// What stands before and behind the first item of the list that `line` holds.
fn beside_first_item(line: &Line<'_>) -> impl Iterator<Item = Span> {
    let mut at = line.at.start;
    let first = line.value.split(|&byte| byte == b',').find_map(|part| {
        let blanks = part.len() - part.trim_ascii_start().len();
        let item = part.trim_ascii();
        let start = at + blanks as u32;
        at += part.len() as u32 + 1;
        (!item.is_empty()).then_some(Span { start, end: start + item.len() as u32 })
    });
    // A list of nothing is left alone: no item of it is the first.
    let Span { start, end } = first.unwrap_or(line.at);
    let sides = [Span { start: line.at.start, end: start }, Span { start: end, end: line.at.end }];
    sides.into_iter().filter(|span| span.start < span.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::http1::Parsed;
    use crate::http1::rewrite::{HEADROOM, rewrite};
    use proptest::prelude::*;

    const ALL: HeaderPolicy =
        HeaderPolicy { strip_credentials: true, first_forwarded_proto: true, strip_proxy_prefix: true };

    /// The head that a worker gets.
    fn edited(head: &str, policy: &HeaderPolicy) -> Option<String> {
        let Ok(Parsed::Complete(mut request)) = Request::parse(head.as_bytes(), &Limits::default()) else {
            return None;
        };
        apply(policy, head.as_bytes(), &mut request);
        let spans = request.dropped();
        assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start), "{spans:?}");
        let mut buffer = [vec![b'.'; HEADROOM], head.into()].concat();
        let end = HEADROOM + request.head_len;
        let start = rewrite(&mut buffer, HEADROOM, request.head_len, spans, b"", end);
        Some(String::from_utf8(buffer[start..end].to_vec()).unwrap())
    }

    fn target(target: &str) -> String {
        let head = edited(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"), &ALL).unwrap();
        head.split(' ').nth(1).unwrap().to_owned()
    }

    fn fields(fields: &str) -> String {
        let head = edited(&format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n"), &ALL).unwrap();
        let fields = head.strip_prefix("GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
        fields.strip_suffix("\r\n").unwrap().to_owned()
    }

    #[test]
    fn the_prefix_goes_and_a_path_stays() {
        for (before, after) in [
            ("/2016-08-15/proxy/svc/fn", "/"),
            ("/2016-08-15/proxy/svc/fn/", "/"),
            ("/2016-08-15/proxy/svc/fn?q=/a/b", "/?q=/a/b"),
            ("/2016-08-15/proxy/svc.LATEST/fn/rest/of%20it?q", "/rest/of%20it?q"),
            ("/2016-08-15/proxy/svc/fn//rest", "//rest"),
            ("http://x/2016-08-15/proxy/svc/fn/rest?q", "/rest?q"),
            ("http://x/2016-08-15/proxy/svc/fn", "/"),
        ] {
            assert_eq!(target(before), after, "{before}");
        }
    }

    #[test]
    fn what_only_resembles_the_prefix_stays() {
        for same in [
            "/",
            "/2016-08-15/proxy/",
            "/2016-08-15/proxy/svc",
            "/2016-08-15/proxy/svc/",
            "/2016-08-15/proxy//fn/rest",
            "/2016-08-15/proxy/svc//rest",
            "/2016-08-15/proxy/svc?/fn/rest",
            "/2016-08-15/proxy/svc/?fn",
            "/2016-08-15/Proxy/svc/fn/rest",
            "/a/2016-08-15/proxy/svc/fn/rest",
            "//2016-08-15/proxy/svc/fn/rest",
            "/?/2016-08-15/proxy/svc/fn/rest",
        ] {
            assert_eq!(target(same), same);
        }
        let other = "http://2016-08-15/proxy/svc/fn/rest";
        let head = format!("GET {other} HTTP/1.1\r\nHost: 2016-08-15\r\n\r\n");
        assert!(edited(&head, &ALL).unwrap().starts_with("GET /proxy/svc/fn/rest "));
    }

    #[test]
    fn of_a_list_of_protocols_the_first_stays() {
        for (before, after) in [
            ("http,http", "http"),
            ("https , http\t, x ", "https "),
            (", ,https,http", "https"),
            ("https", "https"),
            ("https,", "https"),
            (",", ","),
            ("", ""),
        ] {
            let line = |value: &str| format!("X-Forwarded-Proto: {value}\r\n");
            let two = line(before) + &line(before).to_lowercase();
            assert_eq!(fields(&two), line(after) + &line(after).to_lowercase(), "{before:?}");
        }
    }

    #[test]
    fn credentials_go_wherever_they_stand() {
        let before = "X-Fc-Access-Key-Id: a\r\nA: b\r\nConnection: close\r\nx-fc-SECURITY-token: b\r\n\
                      X-Fc-Access-Key-Secret:\r\nX-Fc-Access-Key-Id-2: c\r\nX-FC-ACCESS-KEY-ID: d\r\n";
        assert_eq!(fields(before), "A: b\r\nX-Fc-Access-Key-Id-2: c\r\n");
    }

    /// The head `before` minus what `policy` names, by strings.
    fn minus(before: &str, policy: &HeaderPolicy) -> String {
        let (start, rest) = before.split_once("\r\n").unwrap();
        let mut start: Vec<String> = start.split(' ').map(str::to_owned).collect();
        if policy.strip_proxy_prefix
            && let Some(rest) = start[1].strip_prefix("/2016-08-15/proxy/")
        {
            let path = rest.split('?').next().unwrap();
            let parts: Vec<&str> = path.split('/').collect();
            if parts.len() >= 2 && !parts[0].is_empty() && !parts[1].is_empty() {
                let rest = &rest[parts[0].len() + 1 + parts[1].len()..];
                start[1] = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
            }
        }
        let mut after = start.join(" ") + "\r\n";
        for line in rest.split_inclusive("\r\n") {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let lower = name.to_lowercase();
            let is_credential = ["x-fc-access-key-id", "x-fc-access-key-secret", "x-fc-security-token"];
            if policy.strip_credentials && is_credential.contains(&lower.as_str()) {
                continue;
            }
            let first = value.split(',').map(str::trim).find(|item| !item.is_empty());
            match first {
                Some(first) if policy.first_forwarded_proto && lower == "x-forwarded-proto" => {
                    let blanks = value.len() - value.trim_start().len();
                    let end = value.trim_end().len();
                    after += &format!("{name}:{}{first}{}", &value[..blanks], &value[end..]);
                }
                _ => after += line,
            }
        }
        after
    }

    fn any_line() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            "(?i)x-fc-access-key-(id|secret)",
            "(?i)x-fc-security-token",
            "(?i)x-forwarded-proto",
            "(?i)connection",
            "(?i)te",
            "(?i)keep-alive",
            "[a-c]",
        ];
        let value =
            prop_oneof!["[ \t]{0,2}((https?|x)?[ ]{0,2}(, ?)?){0,4}[ \t]{0,2}", " ?[a-c]", " ?close, a"];
        (name, value).prop_map(|(name, value)| format!("{name}:{value}\r\n"))
    }

    proptest! {
        #[test]
        fn a_head_loses_exactly_what_the_policy_names_and_is_still_one(
            scheme in "(http://x)?",
            path in "/(2016-08-15/(proxy/)?)?(a{0,2}/?){0,4}(\\?[a/]{0,3})?",
            lines in proptest::collection::vec(any_line(), 0..8),
            version in 0_u8..2,
            blank in "(\r\n)?",
            switches in any::<[bool; 3]>(),
        ) {
            let [strip_credentials, first_forwarded_proto, strip_proxy_prefix] = switches;
            let policy = HeaderPolicy { strip_credentials, first_forwarded_proto, strip_proxy_prefix };
            let head = format!("{blank}GET {scheme}{path} HTTP/1.{version}\r\nHost: x\r\n{}\r\n", lines.concat());
            let before = edited(&head, &HeaderPolicy::default());
            prop_assume!(before.is_some());
            let before = before.unwrap();
            let before = before.strip_prefix("\r\n").unwrap_or(&before);
            let after = edited(&head, &policy).unwrap();
            let after = after.strip_prefix("\r\n").unwrap_or(&after);
            prop_assert_eq!(after, &minus(before, &policy));
            prop_assert!(edited(after, &HeaderPolicy::default()).is_some(), "{}", after);
        }
    }
}
