//! Which requests a line may have been written for, and how that is said.

use std::fmt;

use crate::id::RequestId;

/// Ids that are written out; of more only their number. 200 of them would be most of the line.
const IDS_SHOWN: usize = 4;

/// Request ids without repetition, in the order in which their requests began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Candidates(Vec<RequestId>);

impl Candidates {
    pub(super) fn add(&mut self, id: RequestId) {
        if !self.0.contains(&id) {
            self.0.push(id);
        }
    }

    pub(super) fn merge(&mut self, others: &Self) {
        others.0.iter().for_each(|&id| self.add(id));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nobody can have written both.
    pub(super) fn exclude(&self, others: &Self) -> bool {
        !self.is_empty() && !others.is_empty() && !self.0.iter().any(|id| others.0.contains(id))
    }
}

/// `id`, `id|id`, `id|id|id|id|+3`; nothing if there is none.
impl fmt::Display for Candidates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, id) in self.0.iter().take(IDS_SHOWN).enumerate() {
            f.write_str(if index == 0 { "" } else { "|" })?;
            // A client may send an empty one; the line must keep its shape.
            f.write_str(if id.as_str().is_empty() { "-" } else { id.as_str() })?;
        }
        match self.0.len().saturating_sub(IDS_SHOWN) {
            0 => Ok(()),
            more => write!(f, "|+{more}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(ids: &[&str]) -> Candidates {
        let mut candidates = Candidates::default();
        ids.iter().for_each(|id| candidates.add(RequestId::sanitised(id.as_bytes())));
        candidates
    }

    #[test]
    fn four_ids_are_written_out_and_the_rest_is_counted() {
        assert_eq!(candidates(&[]).to_string(), "");
        assert_eq!(candidates(&["a", "a"]).to_string(), "a");
        assert_eq!(candidates(&["b", "a"]).to_string(), "b|a");
        assert_eq!(candidates(&["a", "", "c", "d"]).to_string(), "a|-|c|d");
        assert_eq!(candidates(&["a", "b", "c", "d", "e", "f"]).to_string(), "a|b|c|d|+2");
    }

    #[test]
    fn only_two_known_sides_exclude_each_other() {
        assert!(candidates(&["a"]).exclude(&candidates(&["b"])));
        assert!(!candidates(&["a", "b"]).exclude(&candidates(&["b", "c"])));
        assert!(
            !candidates(&[]).exclude(&candidates(&["b"])) && !candidates(&["a"]).exclude(&candidates(&[]))
        );
    }
}
