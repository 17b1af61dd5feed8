//! The outgoing head, made inside the buffer in which the head arrived.
//!
//! Nothing is copied to another buffer: kept lines slide together so that the
//! new head ends exactly where the body (or the chunk size in front of it)
//! begins, and head and body leave in one write. Where no line is dropped and
//! none is added, not a byte moves.

use super::Span;

/// Free bytes that a buffer keeps in front of a head so that lines can be added and its target replaced.
pub const HEADROOM: usize = 704;

/// Closes the gaps `dropped` of the head `buffer[head_at..head_at + head_len]`,
/// puts `added` (whole lines, CRLF included) behind its last line, and moves the
/// result so that it ends at `end`. Returns where it starts.
///
/// `dropped` are spans of the head, ascending and disjoint, none of them the
/// start line or the blank line. `end` lies at most at the end of the old head.
///
/// # Panics
/// If the head has no room for `added` in front: a buffer starts its heads at
/// [`HEADROOM`] and no caller adds as much.
pub fn rewrite(
    buffer: &mut [u8],
    head_at: usize,
    head_len: usize,
    dropped: &[Span],
    added: &[u8],
    end: usize,
) -> usize {
    debug_assert!(end <= head_at + head_len);
    if dropped.is_empty() && added.is_empty() && end == head_at + head_len {
        return head_at;
    }
    let gaps: usize = dropped.iter().map(|span| (span.end - span.start) as usize).sum();
    let new_len = head_len - gaps + added.len();
    assert!(new_len <= end, "invariant: {HEADROOM} bytes stand free in front of every head");
    let start = end - new_len;

    if dropped.is_empty() {
        // The usual request: it gains lines and loses none.
        buffer.copy_within(head_at..head_at + head_len - 2, start);
    } else {
        close_gaps(buffer, head_at, head_len, dropped, start);
    }
    buffer[end - 2 - added.len()..end - 2].copy_from_slice(added);
    buffer[end - 2..end].copy_from_slice(b"\r\n");
    start
}

/// Moves the kept lines of a head to where the new head starts.
fn close_gaps(buffer: &mut [u8], head_at: usize, head_len: usize, dropped: &[Span], start: usize) {
    // Each kept run moves by (its place in the new head) - (its place in the old one). From run to run
    // that distance only shrinks, so the runs that move right are the first ones: they go last to first,
    // those that move left first to last, and none overwrites one that has yet to move.
    let runs = || {
        let lines_end = head_len - 2;
        let starts = std::iter::once(0).chain(dropped.iter().map(|span| span.end as usize));
        let ends = dropped.iter().map(|span| span.start as usize).chain(std::iter::once(lines_end));
        let mut to = start;
        starts.zip(ends).map(move |(from, until)| {
            let place = to;
            to += until - from;
            (head_at + from, head_at + until, place)
        })
    };
    let moving_right = runs().take_while(|&(from, _, to)| to > from).count();
    for index in (0..moving_right).rev() {
        if let Some((from, until, to)) = runs().nth(index) {
            buffer.copy_within(from..until, to);
        }
    }
    for (from, until, to) in runs().skip(moving_right) {
        buffer.copy_within(from..until, to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(lines: &[(&str, bool)], added: &str, pull: usize) -> String {
        let mut buffer = vec![b'.'; HEADROOM];
        let mut dropped = Vec::new();
        for (line, keep) in lines {
            let start = (buffer.len() - HEADROOM) as u32;
            buffer.extend_from_slice(line.as_bytes());
            if !keep {
                dropped.push(Span { start, end: (buffer.len() - HEADROOM) as u32 });
            }
        }
        buffer.extend_from_slice(b"\r\n");
        let head_len = buffer.len() - HEADROOM;
        buffer.extend_from_slice(b"BODY");
        let end = HEADROOM + head_len - pull;
        let start = rewrite(&mut buffer, HEADROOM, head_len, &dropped, added.as_bytes(), end);
        assert!(buffer.ends_with(b"BODY"), "the body never moves");
        String::from_utf8(buffer[start..end].to_vec()).unwrap()
    }

    #[test]
    fn an_unchanged_head_does_not_move() {
        assert_eq!(
            run(&[("GET / HTTP/1.1\r\n", true), ("A: b\r\n", true)], "", 0),
            "GET / HTTP/1.1\r\nA: b\r\n\r\n"
        );
    }

    #[test]
    fn dropped_lines_go_and_added_lines_come_last() {
        let lines =
            [("GET / HTTP/1.1\r\n", true), ("A: b\r\n", true), ("Drop: me\r\n", false), ("C: d\r\n", true)];
        assert_eq!(run(&lines, "New: 1\r\n", 0), "GET / HTTP/1.1\r\nA: b\r\nC: d\r\nNew: 1\r\n\r\n");
        assert_eq!(run(&lines, "", 6), "GET / HTTP/1.1\r\nA: b\r\nC: d\r\n\r\n");
    }

    proptest! {
        #[test]
        fn the_new_head_is_the_kept_lines_and_the_added_ones_in_order(
            lines in proptest::collection::vec(("[a-z]{1,12}: [a-z]{0,40}\r\n", any::<bool>()), 0..12),
            added in proptest::collection::vec("[A-Z]{1,8}: [a-z]{0,20}\r\n", 0..4),
            pull in 0_usize..20,
        ) {
            let mut all: Vec<(&str, bool)> = vec![("GET / HTTP/1.1\r\n", true)];
            all.extend(lines.iter().map(|(line, keep)| (line.as_str(), *keep)));
            let kept: String = all.iter().filter(|(_, keep)| *keep).map(|(line, _)| *line).collect();
            let added = added.concat();
            prop_assert_eq!(run(&all, &added, pull), format!("{kept}{added}\r\n"));
        }
    }
}
