//! What of a file is sent: conditions (RFC 9110 §13) and one range (§14), judged from size and date.

/// What is known about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Bytes.
    pub size: u64,
    /// When it was changed last, in seconds of Unix time.
    pub modified: u64,
}

/// What a request says about it; dates in seconds of Unix time, those that are none left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked<'a> {
    /// `If-None-Match`.
    pub none_match: Option<&'a [u8]>,
    /// `If-Modified-Since`.
    pub modified_since: Option<u64>,
    /// `Range`.
    pub range: Option<&'a [u8]>,
    /// `If-Range`, as it came.
    pub if_range: Option<&'a [u8]>,
    /// The same, if it is a date.
    pub if_range_date: Option<u64>,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it: 200.
    Whole,
    /// This many bytes from this one on: 206.
    Part(u64, u64),
    /// Nothing: the client has it: 304.
    NotModified,
    /// Nothing: no such bytes: 416.
    Unsatisfiable,
}

impl Facts {
    /// Its entity tag: changes with date and size. Made as nginx makes it, so that caches outlive a move.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("\"{:x}-{:x}\"", self.modified, self.size)
    }

    /// What is sent to a request that says `asked`. Several ranges are as none (RFC 9110 §14.2 allows that).
    #[must_use]
    pub fn judge(&self, asked: &Asked<'_>) -> Verdict {
        let tag = self.tag();
        let has_it = match asked.none_match {
            Some(tags) => matches(tags, tag.as_bytes()),
            None => asked.modified_since.is_some_and(|since| self.modified <= since),
        };
        if has_it {
            return Verdict::NotModified;
        }
        let may_part = asked.if_range.is_none_or(|validator| match asked.if_range_date {
            Some(date) => date == self.modified,
            None => validator == tag.as_bytes(),
        });
        asked.range.filter(|_| may_part).and_then(|range| self.part(range)).unwrap_or(Verdict::Whole)
    }

    /// `None` if `range` is none, or more than one.
    fn part(&self, range: &[u8]) -> Option<Verdict> {
        let range = std::str::from_utf8(range).ok()?.strip_prefix("bytes=")?;
        let (first, last) = range.split_once('-')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = |text: &str| text.parse().unwrap_or(u64::MAX);
        let (first, count) = match (first.trim(), last.trim()) {
            ("", last) if digits(last) => {
                let count = number(last).min(self.size);
                (self.size - count, count)
            }
            (first, "") if digits(first) => (number(first), u64::MAX),
            (first, last) if digits(first) && digits(last) && number(first) <= number(last) => {
                (number(first), (number(last) - number(first)).saturating_add(1))
            }
            _ => return None,
        };
        if first >= self.size || count == 0 {
            return Some(Verdict::Unsatisfiable);
        }
        Some(Verdict::Part(first, count.min(self.size - first)))
    }
}

/// Whether a list of entity tags names `tag`; weak ones may (RFC 9110 §13.1.2).
fn matches(tags: &[u8], tag: &[u8]) -> bool {
    let mut tags = tags.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    tags.any(|one| one == b"*" || one.strip_prefix(b"W/").unwrap_or(one) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: Facts = Facts { size: 100, modified: 0x5000 };

    fn ranged(range: &str) -> Verdict {
        FILE.judge(&Asked { range: Some(range.as_bytes()), ..Asked::default() })
    }

    #[test]
    fn one_range_is_a_part_and_anything_else_the_whole() {
        for (range, verdict) in [
            ("bytes=0-0", Verdict::Part(0, 1)),
            ("bytes=10-19", Verdict::Part(10, 10)),
            ("bytes=90-", Verdict::Part(90, 10)),
            ("bytes=90-1000", Verdict::Part(90, 10)),
            ("bytes=-30", Verdict::Part(70, 30)),
            ("bytes=-1000", Verdict::Part(0, 100)),
            ("bytes=100-", Verdict::Unsatisfiable),
            ("bytes=-0", Verdict::Unsatisfiable),
            ("bytes=99999999999999999999999-", Verdict::Unsatisfiable),
            ("bytes=5-4", Verdict::Whole),
            ("bytes=0-0,5-6", Verdict::Whole),
            ("bytes=-", Verdict::Whole),
            ("bytes=+1-2", Verdict::Whole),
            ("lines=1-2", Verdict::Whole),
        ] {
            assert_eq!(ranged(range), verdict, "{range}");
        }
    }

    #[test]
    fn who_has_the_file_is_not_sent_it_again() {
        let tag = |tags| {
            FILE.judge(&Asked { none_match: Some(tags), modified_since: Some(0x5000), ..Asked::default() })
        };
        for tags in [&b"\"5000-64\""[..], b"W/\"5000-64\"", b"\"a\", \"5000-64\"", b"*"] {
            assert_eq!(tag(tags), Verdict::NotModified);
        }
        assert_eq!(tag(b"\"5000-65\""), Verdict::Whole, "the tag is asked first");
        let since = |since| FILE.judge(&Asked { modified_since: Some(since), ..Asked::default() });
        assert_eq!((since(0x4fff), since(0x5000)), (Verdict::Whole, Verdict::NotModified));
    }

    #[test]
    fn a_part_of_another_version_is_not_sent() {
        let ask = |if_range: &'static [u8], if_range_date| {
            FILE.judge(&Asked {
                range: Some(b"bytes=0-0"),
                if_range: Some(if_range),
                if_range_date,
                ..Asked::default()
            })
        };
        assert_eq!(ask(b"\"5000-64\"", None), Verdict::Part(0, 1));
        assert_eq!(ask(b"W/\"5000-64\"", None), Verdict::Whole, "a weak one proves too little");
        assert_eq!(ask(b"date", Some(0x5000)), Verdict::Part(0, 1));
        assert_eq!(ask(b"date", Some(0x5001)), Verdict::Whole);
    }

    proptest! {
        #[test]
        fn a_part_is_never_outside_the_file(range in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in 0_u64..200) {
            let verdict = Facts { size, modified: 1 }.judge(&Asked { range: Some(range.as_bytes()), ..Asked::default() });
            if let Verdict::Part(first, count) = verdict {
                prop_assert!(count > 0 && first + count <= size);
            }
        }
    }
}
