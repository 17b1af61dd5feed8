//! Reads what a worker receives as the most suspicious server would, and counts requests.
//!
//! Written from the RFCs alone, on purpose independent of `src/http1`: what both accept has one
//! reading. A byte that is no part of a well-formed request is a violation, whatever the case expects.

/// The reader of one worker connection.
#[derive(Default)]
pub(super) struct Strict {
    /// Bytes of the request that is not complete yet.
    open: Vec<u8>,
    /// Where each whole request ended, counted from the first byte of the connection.
    ends: Vec<usize>,
}

impl Strict {
    /// Takes what was received.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.open.extend_from_slice(bytes);
        while !self.open.is_empty() {
            match request(&self.open)? {
                Some(len) => {
                    self.open.drain(..len);
                    self.ends.push(self.ends.last().unwrap_or(&0) + len);
                }
                None => break,
            }
        }
        Ok(())
    }

    /// Where each whole request ended, counted from the first byte of the connection.
    pub(super) fn ends(&self) -> &[usize] {
        &self.ends
    }

    /// Whether no request is half received.
    pub(super) fn is_between_requests(&self) -> bool {
        self.open.is_empty()
    }
}

/// The length of the request at the start of `bytes`; `None` while it is incomplete.
fn request(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(head_len) = section(bytes)? else { return Ok(None) };
    let head = &bytes[..head_len];
    let mut lines = split_lines(head);
    request_line(lines.next().unwrap_or_default())?;
    let (mut hosts, mut ids, mut length, mut chunked) = (0, 0, None, false);
    for line in lines {
        let (name, value) = field(line)?;
        match name.as_str() {
            "host" => hosts += 1,
            "x-fc-request-id" => ids += 1,
            "content-length" => {
                let digits = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
                let text = String::from_utf8_lossy(value);
                if !digits || length.replace(text.parse::<u64>().unwrap_or(u64::MAX)).is_some() {
                    return Err(format!("Content-Length {text:?}, bad or twice"));
                }
            }
            "transfer-encoding" => {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err("Transfer-Encoding other than one chunked".to_owned());
                }
                chunked = true;
            }
            "connection" if !value.eq_ignore_ascii_case(b"te") && !value.eq_ignore_ascii_case(b"upgrade") => {
                return Err(format!("Connection: {} reached the worker", value.escape_ascii()));
            }
            "keep-alive" | "proxy-connection" => return Err(format!("{name} reached the worker")),
            _ => {}
        }
    }
    if hosts != 1 || ids == 0 {
        return Err(format!("{hosts} Host fields, {ids} request ids"));
    }
    match (length, chunked) {
        (Some(_), true) => Err("Content-Length beside Transfer-Encoding".to_owned()),
        (Some(length), false) => {
            let end = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(head_len);
            Ok((bytes.len() >= end).then_some(end))
        }
        (None, true) => Ok(chunks(&bytes[head_len..])?.map(|len| head_len + len)),
        (None, false) => Ok(Some(head_len)),
    }
}

/// The length of a section of lines that an empty line ends. RFC 9112 §2.2: CR and LF occur as CRLF only.
fn section(bytes: &[u8]) -> Result<Option<usize>, String> {
    for (at, byte) in bytes.iter().enumerate() {
        let (before, after) = (at.checked_sub(1).map(|at| bytes[at]), bytes.get(at + 1));
        match byte {
            b'\n' if before != Some(b'\r') => return Err("a bare LF".to_owned()),
            b'\r' if after.is_some_and(|&byte| byte != b'\n') => return Err("a bare CR".to_owned()),
            b'\n' if at == 1 || bytes[..=at].ends_with(b"\r\n\r\n") => return Ok(Some(at + 1)),
            b'\t' | b'\r' | b'\n' => {}
            0..b' ' | 0x7f => return Err(format!("control character {byte:#04x}")),
            _ => {}
        }
    }
    Ok(None)
}

/// The lines of a section without their ends and without the empty one.
fn split_lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = section;
    std::iter::from_fn(move || {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &rest[..end];
        rest = &rest[end + 2..];
        (!line.is_empty()).then_some(line)
    })
}

/// RFC 9112 §3.
fn request_line(line: &[u8]) -> Result<(), String> {
    let parts: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
    let sound =
        |method: &[u8], target: &[u8]| is_token(method) && !target.is_empty() && !target.contains(&b'\t');
    match parts[..] {
        [method, target, b"HTTP/1.1"] if sound(method, target) => Ok(()),
        _ => Err(format!("request line {:?}", line.escape_ascii().to_string())),
    }
}

/// RFC 9112 §5: the name in lower case, the value without the whitespace around it.
fn field(line: &[u8]) -> Result<(String, &[u8]), String> {
    let colon = line.iter().position(|&byte| byte == b':').unwrap_or(0);
    if !is_token(&line[..colon]) {
        return Err(format!("field line {:?}", line.escape_ascii().to_string()));
    }
    Ok((String::from_utf8_lossy(&line[..colon]).to_ascii_lowercase(), line[colon + 1..].trim_ascii()))
}

/// RFC 9112 §7.1: the length of a chunked body.
fn chunks(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(end) = line_end(&bytes[at..])? else { return Ok(None) };
        let line = &bytes[at..at + end];
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let size = std::str::from_utf8(&line[..digits]).ok().filter(|text| (1..=15).contains(&text.len()));
        let Some(size) = size.and_then(|text| usize::from_str_radix(text, 16).ok()) else {
            return Err(format!("chunk size {:?}", line.escape_ascii().to_string()));
        };
        if !is_extensions(&line[digits..]) {
            return Err(format!("chunk extension {:?}", line.escape_ascii().to_string()));
        }
        at += end + 2;
        if size == 0 {
            break;
        }
        let Some(behind) = bytes.get(at + size..).filter(|behind| behind.len() >= 2) else { return Ok(None) };
        if !behind.starts_with(b"\r\n") {
            return Err("a chunk without CRLF behind it".to_owned());
        }
        at += size + 2;
    }
    let Some(len) = section(&bytes[at..])? else { return Ok(None) };
    split_lines(&bytes[at..at + len]).try_for_each(|line| field(line).map(drop))?;
    Ok(Some(at + len))
}

/// Where the line at the start of `bytes` ends.
fn line_end(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(at) = bytes.iter().position(|&byte| byte == b'\r' || byte == b'\n') else { return Ok(None) };
    match (bytes[at], bytes.get(at + 1)) {
        (b'\r', Some(b'\n')) => Ok(Some(at)),
        (b'\r', None) => Ok(None),
        _ => Err("a bare CR or LF in a chunk's line".to_owned()),
    }
}

/// RFC 9112 §7.1.1: `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
fn is_extensions(text: &[u8]) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let Some(after) = blank(rest).strip_prefix(b";") else { return false };
        rest = blank(after);
        let name = token_len(rest);
        if name == 0 {
            return false;
        }
        rest = &rest[name..];
        if let Some(value) = blank(rest).strip_prefix(b"=") {
            let value = blank(value);
            let len = if value.starts_with(b"\"") { quoted_len(value) } else { token_len(value) };
            if len == 0 {
                return false;
            }
            rest = &value[len..];
        }
    }
    true
}

fn blank(text: &[u8]) -> &[u8] {
    let spaces = text.iter().take_while(|byte| b" \t".contains(byte)).count();
    &text[spaces..]
}

fn token_len(text: &[u8]) -> usize {
    text.iter().take_while(|&&byte| is_token(&[byte])).count()
}

/// RFC 9110 §5.6.4; zero where no quote closes it.
fn quoted_len(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    0
}

/// RFC 9110 §5.6.2.
fn is_token(text: &[u8]) -> bool {
    let tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(tchar)
}

#[test]
fn the_strict_reader_counts_what_is_sound_and_refuses_the_rest() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nx-fc-request-id: 1\r\n";
    let count = |text: &str| {
        let mut reader = Strict::default();
        // One by one, so that every prefix is looked at as well.
        let fed = text.bytes().try_for_each(|byte| reader.feed(&[byte]));
        fed.map(|()| (reader.ends().len(), reader.is_between_requests()))
    };
    for (rest, seen) in [
        ("\r\n", (1, true)),
        ("Content-Length: 3\r\n\r\nabc", (1, true)),
        ("Content-Length: 3\r\n\r\nab", (0, false)),
        ("Transfer-Encoding: chunked\r\n\r\n1 ;a=\"\\\"\" ; b\r\nx\r\n0\r\nA: b\r\n\r\n", (1, true)),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (1, true)),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n", (0, false)),
    ] {
        assert_eq!(count(&format!("{head}{rest}")), Ok(seen), "{rest:?}");
    }
    assert_eq!(count(&format!("{head}\r\n{head}\r\n")), Ok((2, true)));
    for rest in [
        "A: b\n\r\n",
        "A : b\r\n\r\n",
        "A: b\r\n c\r\n\r\n",
        "Host: b\r\n\r\n",
        "Connection: close\r\n\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "Transfer-Encoding: gzip\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1;\r\nx\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1;a=\"\r\nx\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
        "\r\n\r\n",
        "\r\nGET / HTTP/1.0\r\nHost: a\r\n\r\n",
    ] {
        assert!(count(&format!("{head}{rest}")).is_err(), "{rest:?}");
    }
}
