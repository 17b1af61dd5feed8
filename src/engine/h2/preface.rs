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
}
