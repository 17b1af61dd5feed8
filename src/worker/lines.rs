//! Bytes of a pipe to lines, without newline; what is longer than a log line may be, to marked pieces.
//!
//! Pure: where reads end makes no difference to what comes out.

/// Longest line we write, newline included: the platform's bound (FC contract §6).
pub(super) const LINE_BYTES: usize = 32 << 10;
/// Date, request ids and tag in front of a line, generously: four ids of 128 bytes and 100 more.
const FRAME_BYTES: usize = 640;
/// Longest text that fits behind them.
pub(super) const PIECE_BYTES: usize = LINE_BYTES - FRAME_BYTES;
/// Says that the line goes on in the next one, and that it began in the last one.
pub(super) const MARK: &[u8] = "…".as_bytes();

/// A line, or a piece of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: Vec<u8>,
    /// How many of the bytes pushed last had been used when it was whole.
    pub(super) end: usize,
    /// Whether it goes on in the next one.
    pub(super) is_cut: bool,
}

/// The line that is not whole yet.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    rest: Vec<u8>,
    is_continued: bool,
}

impl Splitter {
    pub(super) fn push(&mut self, bytes: &[u8], mut line: impl FnMut(Line)) {
        let mut at = 0;
        while at < bytes.len() {
            let room = PIECE_BYTES - MARK.len() - self.rest.len();
            // Full is not too long: only a byte that is no line end shows that it goes on.
            if room == 0 && bytes[at] != b'\n' {
                line(Line { text: self.take_piece(), end: at, is_cut: true });
                continue;
            }
            let window = &bytes[at..bytes.len().min(at + room.max(1))];
            if let Some(end) = window.iter().position(|&byte| byte == b'\n') {
                self.rest.extend_from_slice(&window[..end]);
                at += end + 1;
                line(Line { text: self.take_line(), end: at, is_cut: false });
            } else {
                self.rest.extend_from_slice(window);
                at += window.len();
            }
        }
    }

    /// What was not ended by a newline.
    pub(super) fn finish(&mut self) -> Option<Vec<u8>> {
        (self.rest.len() > if self.is_continued { MARK.len() } else { 0 }).then(|| self.take_line())
    }

    fn take_line(&mut self) -> Vec<u8> {
        self.is_continued = false;
        let mut line = std::mem::take(&mut self.rest);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        line
    }

    /// The full buffer with a mark; the next piece begins with one and with the
    /// character that would have been cut.
    fn take_piece(&mut self) -> Vec<u8> {
        let cut = self.rest.len() - incomplete_character(&self.rest);
        let mut next = MARK.to_vec();
        next.extend_from_slice(&self.rest[cut..]);
        let mut piece = std::mem::replace(&mut self.rest, next);
        piece.truncate(cut);
        piece.extend_from_slice(MARK);
        self.is_continued = true;
        piece
    }
}

/// How many bytes at the end begin a UTF-8 character that is not complete; 0 to 3.
fn incomplete_character(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let wanted = match bytes[bytes.len() - back] {
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            _ => 1,
        };
        return if wanted > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_that_just_fills_a_piece_is_one_line() {
        for (len, pieces) in [(PIECE_BYTES - MARK.len(), 1), (PIECE_BYTES - MARK.len() + 1, 2)] {
            let text = ["a".repeat(len), "b\n".to_owned()].join("\n");
            for step in [1, 1000, text.len()] {
                let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
                for chunk in text.as_bytes().chunks(step) {
                    splitter.push(chunk, |line| lines.push(line.text));
                }
                assert_eq!(lines.len(), pieces + 1, "{len} bytes in steps of {step}");
                assert_eq!(lines.last().map(Vec::as_slice), Some(&b"b"[..]));
            }
        }
    }

    #[test]
    fn windows_line_ends_are_line_ends_and_empty_lines_are_lines() {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for part in [&b"one\r"[..], b"\n\ntwo\rthree\r\n"] {
            splitter.push(part, |line| lines.push((line.text, line.end)));
        }
        assert_eq!(lines, [(b"one".to_vec(), 1), (b"".to_vec(), 2), (b"two\rthree".to_vec(), 13)]);
        assert_eq!(splitter.finish(), None);
    }

    proptest! {
        #[test]
        fn splitting_loses_no_byte_wherever_reads_end(
            words in proptest::collection::vec("[a-zä€😀]{0,200}", 0..12), repeat in 1_usize..400, step in 1_usize..9_000,
        ) {
            let text = words.iter().map(|word| word.repeat(repeat)).collect::<Vec<_>>().join("\n");
            let mut splitter = Splitter::default();
            let mut pieces = Vec::new();
            for chunk in text.as_bytes().chunks(step) {
                splitter.push(chunk, |line| pieces.push(line.text));
            }
            pieces.extend(splitter.finish());
            let mut whole = String::new();
            for piece in pieces {
                prop_assert!(piece.len() <= PIECE_BYTES);
                let piece = String::from_utf8(piece).unwrap();
                match piece.strip_suffix('…') {
                    Some(begin) => whole.push_str(begin.strip_prefix('…').unwrap_or(begin)),
                    None => { whole.push_str(piece.strip_prefix('…').unwrap_or(&piece)); whole.push('\n'); }
                }
            }
            prop_assert_eq!(whole.trim_end_matches('\n'), text.trim_end_matches('\n'));
        }
    }
}
