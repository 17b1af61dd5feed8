//! What a script is told of its request: the variables of CGI (RFC 3875 §4.1), as nginx's `fastcgi_params` has them.
//!
//! Where nginx tells what it sees of the connection, we tell what the platform's gateway says of the client's: the
//! scheme is `X-Forwarded-Proto`'s, the address the last of `X-Forwarded-For`, name and port those of `Host`.

use std::borrow::Cow;

use super::fault::PhpFault;
use super::path::query_of;
use super::record::{Params, TooLarge};
use crate::http1::lines::{Line, kept_lines};
use crate::http1::request::Request;

/// What is run, and where it lies.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// `DOCUMENT_ROOT`: an absolute path without a slash at its end.
    pub root: &'a [u8],
    /// `SCRIPT_NAME`.
    pub name: &'a [u8],
    /// `PATH_INFO`; empty for none.
    pub info: &'a [u8],
}

/// Who we say that serves, and to whom a client belongs of which nothing is known.
const SOFTWARE: &str = concat!("warmfront/", env!("CARGO_PKG_VERSION"));
const LOOPBACK: &[u8] = b"127.0.0.1";

/// Fields that do not become `HTTP_*`: those that have a variable of their own, what speaks about one connection, and
/// `Proxy`, which would become the variable from which HTTP clients take their proxy (httpoxy, CVE-2016-5385).
const LEFT_OUT: [&[u8]; 7] =
    [b"content-length", b"content-type", b"transfer-encoding", b"connection", b"te", b"expect", b"proxy"];

/// Writes what `script` is told of the request whose judged head stands at the start of `bytes`; `length` is that of
/// its body, if it has one.
///
/// # Errors
/// [`PhpFault::Field`] if one of them is too long.
pub fn write(
    params: &mut Params<'_>,
    bytes: &[u8],
    judged: &Request,
    script: Script<'_>,
    length: Option<u64>,
) -> Result<(), PhpFault> {
    let head = &bytes[..judged.head_len];
    let lines: Vec<Line<'_>> = kept_lines(head, judged.target.end as usize, judged.dropped()).collect();
    let field =
        |name: &[u8]| lines.iter().find(|line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value);
    let target = judged.target.of_head(head);
    let length = length.map(|length| length.to_string()).unwrap_or_default();
    let is_https = field(b"x-forwarded-proto")
        .and_then(first)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"https"));
    let (name, port) = field(b"host").map_or((&b""[..], None), host);
    let port = port.unwrap_or(if is_https { b"443" } else { b"80" });
    let address = field(b"x-forwarded-for").and_then(last_address);
    let mut push = |name: &str, value: &[&[u8]]| params.push(name.as_bytes(), value);
    let mut told = || -> Result<(), TooLarge> {
        push("QUERY_STRING", &[query_of(target)])?;
        push("REQUEST_METHOD", &[judged.method.of_head(head)])?;
        push("CONTENT_TYPE", &[field(b"content-type").unwrap_or_default()])?;
        push("CONTENT_LENGTH", &[length.as_bytes()])?;
        push("SCRIPT_NAME", &[script.name])?;
        push("SCRIPT_FILENAME", &[script.root, script.name])?;
        if !script.info.is_empty() {
            push("PATH_INFO", &[script.info])?;
            push("PATH_TRANSLATED", &[script.root, script.info])?;
        }
        push("REQUEST_URI", &[target])?;
        push("DOCUMENT_URI", &[script.name, script.info])?;
        push("DOCUMENT_ROOT", &[script.root])?;
        push("SERVER_PROTOCOL", &[b"HTTP/1.1"])?;
        push("GATEWAY_INTERFACE", &[b"CGI/1.1"])?;
        push("SERVER_SOFTWARE", &[SOFTWARE.as_bytes()])?;
        push("REMOTE_ADDR", &[address.unwrap_or(LOOPBACK)])?;
        push("REMOTE_PORT", &[b"0"])?;
        push("SERVER_ADDR", &[LOOPBACK])?;
        push("SERVER_PORT", &[port])?;
        push("SERVER_NAME", &[name])?;
        push("REQUEST_SCHEME", &[if is_https { b"https" } else { b"http" }])?;
        if is_https {
            push("HTTPS", &[b"on"])?;
        }
        // PHP may be built to refuse requests that no server has redirected to it.
        push("REDIRECT_STATUS", &[b"200"])
    };
    told().map_err(too_long)?;
    fields(params, &lines).map_err(too_long)
}

fn too_long(pair: TooLarge) -> PhpFault {
    PhpFault::Field(String::from_utf8_lossy(&pair.0).into_owned())
}

/// The fields as `HTTP_*`, one for each name. Repeated ones are joined, as RFC 9110 §5.3 allows: PHP would only see
/// the last.
fn fields(params: &mut Params<'_>, lines: &[Line<'_>]) -> Result<(), TooLarge> {
    for (at, line) in lines.iter().enumerate() {
        let is_same = |other: &&Line<'_>| other.name.eq_ignore_ascii_case(line.name);
        if !becomes_variable(line.name) || lines[..at].iter().any(|before| is_same(&before)) {
            continue;
        }
        let between: &[u8] = if line.name.eq_ignore_ascii_case(b"cookie") { b"; " } else { b", " };
        let mut value = vec![line.value];
        for other in lines[at + 1..].iter().filter(is_same) {
            value.extend([between, other.value]);
        }
        params.push(&variable(line.name), &value)?;
    }
    Ok(())
}

/// Whether a field becomes a variable. One with an underscore could be taken for another that has a hyphen there, and
/// which the platform or a proxy may vouch for; nginx and Apache leave those out as well.
fn becomes_variable(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && !LEFT_OUT.iter().any(|left_out| name.eq_ignore_ascii_case(left_out))
}

fn variable(name: &[u8]) -> Cow<'_, [u8]> {
    let upper = name.iter().map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() });
    b"HTTP_".iter().copied().chain(upper).collect()
}

/// The first of a list.
fn first(list: &[u8]) -> Option<&[u8]> {
    list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).next()
}

/// The last of a list if it is an address: whoever is next to us has put it there.
fn last_address(list: &[u8]) -> Option<&[u8]> {
    let last = list.rsplit(|&byte| byte == b',').map(<[u8]>::trim_ascii).next()?;
    std::str::from_utf8(last).ok()?.parse::<core::net::IpAddr>().ok().map(|_| last)
}

/// Name and port of an authority that was judged.
fn host(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    match authority.iter().rposition(|&byte| byte == b':') {
        Some(at) if !authority[at..].contains(&b']') => {
            (&authority[..at], Some(&authority[at + 1..]).filter(|port| !port.is_empty()))
        }
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::http1::Parsed;
    use std::collections::BTreeMap;

    /// What a script is told of a request with these lines. No value is longer than 127 bytes.
    fn told(head: &str, script: Script<'_>, length: Option<u64>) -> BTreeMap<String, String> {
        let Ok(Parsed::Complete(judged)) = Request::parse(head.as_bytes(), &Limits::default()) else {
            panic!("{head:?} is a request")
        };
        let mut bytes = Vec::new();
        let mut params = Params::new(&mut bytes);
        write(&mut params, head.as_bytes(), &judged, script, length).unwrap();
        params.end();
        let mut rest = &bytes[8..bytes.len() - 8];
        let mut told = BTreeMap::new();
        while let [name, value, more @ ..] = rest {
            let (name, value) = (usize::from(*name), usize::from(*value));
            let text = |part: &[u8]| String::from_utf8(part.to_vec()).unwrap();
            let before = told.insert(text(&more[..name]), text(&more[name..name + value]));
            assert_eq!(before, None, "said twice");
            rest = &more[name + value..];
        }
        told
    }

    const FRONT: Script<'static> = Script { root: b"/srv/app", name: b"/index.php", info: b"" };

    #[test]
    fn a_script_is_told_what_nginx_tells() {
        let head = "POST /a%20b?c=d HTTP/1.1\r\nHost: shop.example:8443\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
                    X-Forwarded-Proto: https, http\r\nX-Forwarded-For: 9.9.9.9, 203.0.113.7\r\nX-Fc-Request-Id: 1-a\r\n\
                    Cookie: a=1\r\nCookie: b=2\r\nAccept: x\r\nAccept: y\r\n\r\n";
        let told = told(head, FRONT, Some(3));
        for (name, value) in [
            ("QUERY_STRING", "c=d"),
            ("REQUEST_METHOD", "POST"),
            ("CONTENT_TYPE", "text/plain"),
            ("CONTENT_LENGTH", "3"),
            ("SCRIPT_NAME", "/index.php"),
            ("SCRIPT_FILENAME", "/srv/app/index.php"),
            ("REQUEST_URI", "/a%20b?c=d"),
            ("DOCUMENT_URI", "/index.php"),
            ("DOCUMENT_ROOT", "/srv/app"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("REMOTE_ADDR", "203.0.113.7"),
            ("SERVER_NAME", "shop.example"),
            ("SERVER_PORT", "8443"),
            ("REQUEST_SCHEME", "https"),
            ("HTTPS", "on"),
            ("REDIRECT_STATUS", "200"),
            ("HTTP_HOST", "shop.example:8443"),
            ("HTTP_X_FC_REQUEST_ID", "1-a"),
            ("HTTP_COOKIE", "a=1; b=2"),
            ("HTTP_ACCEPT", "x, y"),
        ] {
            assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}");
        }
        for name in ["PATH_INFO", "HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"] {
            assert_eq!(told.get(name), None, "{name}");
        }
    }

    #[test]
    fn no_field_takes_the_place_of_another_or_of_a_variable_that_programs_trust() {
        let head = "GET / HTTP/1.1\r\nHost: [::1]\r\nProxy: http://evil\r\nX_Forwarded_Proto: https\r\nX_Fc_Account_Id: 1\r\n\
                    X-Forwarded-For: evil\r\nX.Y: z\r\n\r\n";
        let told = told(head, Script { info: b"/x/y", ..FRONT }, None);
        for name in ["HTTP_PROXY", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FC_ACCOUNT_ID", "HTTP_X.Y", "HTTPS"] {
            assert_eq!(told.get(name), None, "{name}");
        }
        for (name, value) in [
            ("REMOTE_ADDR", "127.0.0.1"),
            ("SERVER_NAME", "[::1]"),
            ("SERVER_PORT", "80"),
            ("PATH_INFO", "/x/y"),
            ("PATH_TRANSLATED", "/srv/app/x/y"),
            ("DOCUMENT_URI", "/index.php/x/y"),
            ("CONTENT_LENGTH", ""),
        ] {
            assert_eq!(told.get(name).map(String::as_str), Some(value), "{name}");
        }
    }

    #[test]
    fn a_field_that_no_record_has_room_for_is_named() {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", "x".repeat(70_000));
        let Ok(Parsed::Complete(judged)) = Request::parse(head.as_bytes(), &Limits::default()) else {
            panic!("a request")
        };
        let mut bytes = Vec::new();
        let written = write(&mut Params::new(&mut bytes), head.as_bytes(), &judged, FRONT, None);
        assert_eq!(written, Err(PhpFault::Field("HTTP_COOKIE".to_owned())));
    }
}
