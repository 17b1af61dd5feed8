//! Whose child a request is: the span of the caller, from the fields in which callers name it.
//!
//! W3C Trace Context (`traceparent`) where it is sent, else Jaeger's span context: the platform's second version
//! bears it in a field of its own, Jaeger's clients in theirs (FC contract §8). What cannot be read is as if it
//! were not there (W3C Trace Context §3.2.2): the fields travel on to the worker whatever stands in them.

use crate::id::{SpanId, TraceId};

/// The span of which a request is a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its trace.
    pub trace: TraceId,
    /// Itself.
    pub span: SpanId,
    /// Whether its caller records the trace, and so asks us to.
    pub is_sampled: bool,
}

/// How much each field counts, strongest first.
const FIELDS: [(&str, Read); 3] = [
    ("traceparent", of_traceparent),
    ("x-fc-tracing-opentracing-span-context", of_jaeger),
    ("uber-trace-id", of_jaeger),
];

type Read = fn(&[u8]) -> Option<Parent>;

/// The parent that the strongest readable field among `fields` names.
pub fn parent<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<Parent> {
    let mut found = [None; FIELDS.len()];
    let mut seen = [0; FIELDS.len()];
    for (name, value) in fields {
        for (place, (known, read)) in FIELDS.iter().enumerate() {
            if name.eq_ignore_ascii_case(known.as_bytes()) {
                found[place] = read(value);
                seen[place] += 1;
            }
        }
    }
    // Of two that disagree neither can be trusted (W3C Trace Context §3.2.1 speaks of one).
    found.into_iter().zip(seen).find_map(|(parent, seen)| parent.filter(|_| seen == 1))
}

/// `VERSION-TRACE-SPAN-FLAGS`, lower-case hexadecimal (W3C Trace Context §3.2.2). Of later versions as much is read
/// as the first one says, as §4.3 asks.
fn of_traceparent(value: &[u8]) -> Option<Parent> {
    const LEN: usize = 55;
    let (known, rest) = value.split_at_checked(LEN)?;
    let is_lower = known.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-'));
    let [version] = bytes(&known[..2])?;
    let fits = match version {
        0xff => false,
        0 => rest.is_empty(),
        _ => rest.first().is_none_or(|&byte| byte == b'-'),
    };
    let dashes = [2, 35, 52].iter().all(|&at| known[at] == b'-');
    if !(is_lower && fits && dashes) {
        return None;
    }
    let [flags] = bytes(&known[53..])?;
    Some(Parent {
        trace: TraceId::of(bytes(&known[3..35])?)?,
        span: SpanId::of(bytes(&known[36..52])?)?,
        is_sampled: flags & 1 == 1,
    })
}

/// `TRACE:SPAN:PARENT:FLAGS`, hexadecimal, leading zeros left out or not; clients may write the colons as `%3A`
/// (Jaeger's propagation format).
fn of_jaeger(value: &[u8]) -> Option<Parent> {
    let mut parts = [&value[..0]; 4];
    let mut rest = Some(value);
    for part in &mut parts {
        let text = rest?;
        let (end, next) = match text.iter().position(|&byte| byte == b':' || byte == b'%') {
            Some(end) if text[end] == b':' => (end, Some(&text[end + 1..])),
            Some(end) if text[end..].len() >= 3 && text[end..][..3].eq_ignore_ascii_case(b"%3a") => {
                (end, Some(&text[end + 3..]))
            }
            Some(_) => return None,
            None => (text.len(), None),
        };
        (*part, rest) = (&text[..end], next);
    }
    let [trace, span, _, flags] = parts;
    if rest.is_some() {
        return None;
    }
    let [flags] = padded(flags)?;
    // Debug, the second bit, means: whatever the samplers say.
    Some(Parent {
        trace: TraceId::of(padded(trace)?)?,
        span: SpanId::of(padded(span)?)?,
        is_sampled: flags & 0b11 != 0,
    })
}

/// `digits`, twice `N` of them, as bytes.
fn bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    padded(digits)
}

/// `digits`, at least one and at most twice `N`, as bytes with zeros in front.
fn padded<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.is_empty() || digits.len() > 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (place, &digit) in digits.iter().rev().enumerate() {
        let value = char::from(digit).to_digit(16)? as u8;
        bytes[N - 1 - place / 2] |= value << (4 * (place % 2));
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn named(fields: &[(&str, &str)]) -> Option<(String, [u8; 8], bool)> {
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        parent(fields).map(|found| (found.trace.to_string(), found.span.bytes(), found.is_sampled))
    }

    fn example(is_sampled: bool) -> Option<(String, [u8; 8], bool)> {
        Some((TRACE.to_owned(), [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7], is_sampled))
    }

    #[test]
    fn traceparent_is_read_as_w3c_writes_it() {
        for (value, expected) in [
            (format!("00-{TRACE}-{SPAN}-01"), example(true)),
            (format!("00-{TRACE}-{SPAN}-00"), example(false)),
            (format!("00-{TRACE}-{SPAN}-02"), example(false)),
            (format!("00-{TRACE}-{SPAN}-ff"), example(true)),
            // A later version may go on, behind a dash.
            (format!("cc-{TRACE}-{SPAN}-01"), example(true)),
            (format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings"), example(true)),
            (format!("cc-{TRACE}-{SPAN}-01.what"), None),
            (format!("00-{TRACE}-{SPAN}-01-what"), None),
            (format!("ff-{TRACE}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{SPAN}-1"), None),
            (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
            (format!("00-{}-{SPAN}-01", "0".repeat(32)), None),
            (format!("00-{TRACE}-{}-01", "0".repeat(16)), None),
            (format!("00_{TRACE}-{SPAN}-01"), None),
            (format!("00-{TRACE}-{SPAN}-0x"), None),
            (String::new(), None),
        ] {
            assert_eq!(named(&[("TraceParent", &value)]), expected, "{value}");
        }
    }

    #[test]
    fn jaegers_context_is_read_with_short_ids_and_escaped_colons() {
        for name in ["x-fc-tracing-opentracing-span-context", "Uber-Trace-Id"] {
            for (value, expected) in [
                (format!("{TRACE}:{SPAN}:0:1"), example(true)),
                (format!("{TRACE}%3A{SPAN}%3a0%3A1"), example(true)),
                (format!("{}:f067aa0ba902b7:{SPAN}:0", TRACE.to_uppercase()), example(false)),
                (format!("{TRACE}:{SPAN}:0:03"), example(true)),
                (format!("{TRACE}:{SPAN}:0:2"), example(true)),
                (format!("{TRACE}:{SPAN}:0:"), None),
                (format!("{TRACE}:{SPAN}:1"), None),
                (format!("{TRACE}:{SPAN}:0:1:1"), None),
                (format!("{TRACE}:{SPAN}:0:100"), None),
                (format!("{TRACE}:0:0:1"), None),
                (format!("{TRACE}0:{SPAN}:0:1"), None),
                (format!("{TRACE}%{SPAN}:0:1"), None),
                (String::new(), None),
            ] {
                assert_eq!(named(&[(name, &value)]), expected, "{value}");
            }
        }
        // The platform's own example.
        let (trace, span, _) = named(&[(FIELDS[1].0, "124ed43254b54966:124ed43254b54966:0:1")]).unwrap();
        assert_eq!(trace, "0000000000000000124ed43254b54966");
        assert_eq!(span, 0x124e_d432_54b5_4966_u64.to_be_bytes());
    }

    #[test]
    fn the_strongest_field_that_can_be_read_counts_and_of_two_equal_ones_none() {
        let (w3c, other) = (format!("00-{TRACE}-{SPAN}-01"), format!("00-{TRACE}-{SPAN}-00"));
        let (fc, uber) = ("a:b:0:1", "c:d:0:1");
        let of =
            |fields: &[(&str, &str)]| named(fields).map(|found| found.0.trim_start_matches('0').to_owned());
        let three = [("uber-trace-id", uber), (FIELDS[1].0, fc), ("traceparent", &w3c)];
        assert_eq!(of(&three).as_deref(), Some(TRACE));
        assert_eq!(of(&three[..2]).as_deref(), Some("a"));
        assert_eq!(of(&three[..1]).as_deref(), Some("c"));
        assert_eq!(of(&[three[0], (FIELDS[1].0, ""), ("traceparent", "00-x")]).as_deref(), Some("c"));
        assert_eq!(of(&[("traceparent", &w3c), ("traceparent", &other)]), None);
        assert_eq!(of(&[("a", "b")]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_what_is_read_is_what_stands_there(
            value in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80),
                "[0-9a-f]{2}-[0-9a-f]{30,33}-[0-9a-f]{15,17}-[0-9a-f]{2}[-0-9a-f]{0,3}".prop_map(String::into_bytes),
                "([0-9a-fA-F]{0,33}(:|%3A|%)){0,5}[0-9]{0,3}".prop_map(String::into_bytes),
            ],
        ) {
            for (name, _) in FIELDS {
                if let Some(found) = parent(std::iter::once((name.as_bytes(), &value[..]))) {
                    let text = String::from_utf8_lossy(&value).to_lowercase();
                    let digits = found.trace.to_string();
                    prop_assert!(text.contains(digits.trim_start_matches('0')), "{}", text);
                }
            }
        }

        #[test]
        fn every_pair_of_ids_is_read_back(trace in 1_u128.., span in 1_u64.., flags: u8) {
            let expected = Some((format!("{trace:032x}"), span.to_be_bytes(), flags & 1 == 1));
            prop_assert_eq!(named(&[("traceparent", &format!("00-{trace:032x}-{span:016x}-{flags:02x}"))]), expected);
            let expected = Some((format!("{trace:032x}"), span.to_be_bytes(), flags & 3 != 0));
            prop_assert_eq!(named(&[("uber-trace-id", &format!("{trace:x}:{span:x}:0:{flags:x}"))]), expected);
        }
    }
}
