//! What the first bytes of a connection say about its protocol.

/// What a client that speaks HTTP/2 says first (RFC 9113 §3.4).
pub(in crate::engine) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the bytes received so far are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum FirstBytes {
    /// HTTP/2.
    Http2,
    /// Perhaps HTTP/2: read more.
    Open,
    /// Something else; HTTP/1 if anything.
    Other,
}

/// Judges the first bytes of a client connection.
pub(in crate::engine) fn look(bytes: &[u8]) -> FirstBytes {
    let common = bytes.len().min(PREFACE.len());
    match bytes[..common] == PREFACE[..common] {
        false => FirstBytes::Other,
        true if common < PREFACE.len() => FirstBytes::Open,
        true => FirstBytes::Http2,
    }
}

/// Judges the first bytes that a worker answers: an HTTP/2 server begins with SETTINGS, whatever it was
/// told (RFC 9113 §3.4), and an HTTP/1 answer never begins with a zero.
pub(in crate::engine) fn look_at_answer(bytes: &[u8]) -> FirstBytes {
    /// Most bytes of a first SETTINGS frame: a handful of settings of six bytes. Larger is something else.
    const SETTINGS_MAX: u8 = 240;
    let fits = |(index, byte): (usize, &u8)| match index {
        2 => *byte <= SETTINGS_MAX && byte % 6 == 0,
        3 => *byte == 4,
        // The length's upper bytes, flags (this is no acknowledgement), stream 0.
        _ => *byte == 0,
    };
    match bytes.iter().take(9).enumerate().all(fits) {
        false => FirstBytes::Other,
        true if bytes.len() < 9 => FirstBytes::Open,
        true => FirstBytes::Http2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_preface_is_http2_and_any_part_of_it_is_open() {
        for cut in 0..PREFACE.len() {
            assert_eq!(look(&PREFACE[..cut]), FirstBytes::Open, "{cut}");
            let mut other = PREFACE[..=cut].to_vec();
            other[cut] ^= 1;
            assert_eq!(look(&other), FirstBytes::Other, "{cut}");
        }
        assert_eq!(look(&[PREFACE, b"more"].concat()), FirstBytes::Http2);
        assert_eq!(look(b"POST / HTTP/1.1\r\n"), FirstBytes::Other);
    }

    #[test]
    fn an_answer_in_http2_begins_with_settings() {
        let settings = [0, 0, 12, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
        for cut in 0..9 {
            assert_eq!(look_at_answer(&settings[..cut]), FirstBytes::Open, "{cut}");
            let mut other = settings;
            other[cut] ^= 1;
            assert_eq!(look_at_answer(&other), FirstBytes::Other, "{cut}");
        }
        assert_eq!(look_at_answer(&settings), FirstBytes::Http2);
        assert_eq!(look_at_answer(b"HTTP/1.1 200 OK\r\n"), FirstBytes::Other);
        assert_eq!(look_at_answer(&[0, 0, 0, 4, 1, 0, 0, 0, 0]), FirstBytes::Other, "an acknowledgement");
    }
}
