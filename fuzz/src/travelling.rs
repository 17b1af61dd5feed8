//! What of a head a proxy passes on, and what it adds: from the RFCs and from the rules of the house,
//! in terms of the reference's reading.

use super::reasons::{is_protected, meant_upgrade};
use super::reference::{self, Field, Form, Head, Line};

/// The request that a worker should get for this one, `Max-Forwards: 0` aside.
pub fn travelling(head: &Head) -> (Line, Vec<Field>) {
    let Line::Request { method, target } = &head.line else { panic!("a response") };
    let mut fields = end_to_end(head, true);
    let has_id = reference::values(&fields, "x-fc-request-id").any(|id| !id.is_empty());
    if !has_id {
        fields.retain(|(name, _)| !name.eq_ignore_ascii_case(b"x-fc-request-id"));
    }
    // An expectation in HTTP/1.0 means nothing, and the worker gets HTTP/1.1 (RFC 9110 §10.1.1).
    if head.minor == 0 {
        fields.retain(|(name, _)| !name.eq_ignore_ascii_case(b"expect"));
    }
    // Only the two methods that ask about the way count the hops on it (RFC 9110 §7.6.2).
    let counts = method == b"OPTIONS" || method == b"TRACE";
    if let Some((_, hops)) =
        fields.iter_mut().filter(|_| counts).find(|(name, _)| name.eq_ignore_ascii_case(b"max-forwards"))
        && let Some(number) = std::str::from_utf8(hops).ok().filter(|text| !text.starts_with('+'))
        && let Some(fewer) = number.parse::<u128>().ok().and_then(|number| number.checked_sub(1))
    {
        *hops = format!("{fewer:0width$}", width = hops.len()).into();
    }
    let mut add = |name: &str, value: &[u8]| fields.push((name.into(), value.into()));
    if !has_id {
        add("x-fc-request-id", b"1-fuzz");
    }
    if reference::values(&head.fields, "host").next().is_none() {
        let named = match reference::form(method, target) {
            Some(Form::Absolute { authority, .. }) => authority,
            _ => b"localhost",
        };
        add("Host", named);
    }
    if reference::list(&head.fields, "te").iter().any(|option| option.eq_ignore_ascii_case(b"trailers")) {
        add("TE", b"trailers");
        add("Connection", b"TE");
    }
    if meant_upgrade(head).is_some() {
        add("Connection", b"Upgrade");
    }
    add("x-warmfront-start", b"warm");
    let target = reference::origin_form(method, target);
    (Line::Request { method: method.clone(), target }, fields)
}

/// The fields that travel on. `may_switch`: the message may offer protocols, or choose one.
pub fn end_to_end(head: &Head, may_switch: bool) -> Vec<Field> {
    let mut fields = reference::end_to_end(&head.fields, |name| {
        !is_protected(name) && !name.eq_ignore_ascii_case(b"upgrade")
    });
    if !may_switch || meant_upgrade(head).is_none() {
        fields.retain(|(name, _)| !name.eq_ignore_ascii_case(b"upgrade"));
    }
    // Neither may be sent with these (RFC 9110 §8.6, RFC 9112 §6.1).
    if matches!(head.line, Line::Response { status: 100..200 | 204 }) {
        let frames = |name: &[u8]| {
            name.eq_ignore_ascii_case(b"content-length") || name.eq_ignore_ascii_case(b"transfer-encoding")
        };
        fields.retain(|(name, _)| !frames(name));
    }
    fields
}
