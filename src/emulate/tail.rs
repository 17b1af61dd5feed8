//! The last of what an instance wrote: what stands behind `Logs:` when it does not start. Pure.

use std::collections::VecDeque;

/// Bytes kept. The platform cuts the log tail of an invocation at 4 KB too.
const BYTES_MAX: usize = 4096;

/// Whole lines, the oldest of which go first.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    /// One more line, without its line break.
    pub(super) fn push(&mut self, line: &str) {
        let mut end = line.len().min(BYTES_MAX);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        self.lines.push_back(line[..end].to_owned());
        self.bytes += end + 1;
        while self.bytes > BYTES_MAX + 1 {
            self.bytes -= self.lines.pop_front().map_or(self.bytes, |gone| gone.len() + 1);
        }
    }

    /// The lines that are left, oldest first.
    pub(super) fn text(&self) -> String {
        self.lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_stay() {
        let mut tail = Tail::default();
        assert_eq!(tail.text(), "");
        tail.push("a");
        tail.push("");
        tail.push("b");
        assert_eq!(tail.text(), "a\n\nb");
        for number in 0..2000 {
            tail.push(&number.to_string());
        }
        let text = tail.text();
        assert!(text.ends_with("\n1998\n1999") && !text.contains("a\n"));
        assert!((BYTES_MAX - 5..=BYTES_MAX).contains(&text.len()), "{}", text.len());
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_two_characters() {
        let mut tail = Tail::default();
        tail.push("before");
        tail.push(&"ü".repeat(5000));
        assert_eq!(tail.text(), "ü".repeat(2048));
    }
}
