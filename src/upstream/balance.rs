//! The choice: least in flight, ties by rotation. Pure.

/// Picks among workers, given as (slots, in flight) in pool order, the one with
/// the fewest requests in flight that still has a free slot; among equals, the
/// first at or after `rotation`. `None` when every slot is taken.
pub fn choose(workers: impl ExactSizeIterator<Item = (u32, u32)>, rotation: usize) -> Option<usize> {
    let count = workers.len();
    if count == 0 {
        return None;
    }
    let first = rotation % count;
    workers
        .enumerate()
        .filter(|(_, (slots, in_flight))| in_flight < slots)
        // Behind `first` in turn; a comparison, since a division costs as much as the rest.
        .min_by_key(|&(index, (_, in_flight))| (in_flight, index < first, index))
        .map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::choose;
    use proptest::prelude::*;

    #[test]
    fn ties_rotate() {
        let workers = [(1, 0), (1, 0), (1, 0)];
        let picks: Vec<_> = (0..4).map(|rotation| choose(workers.into_iter(), rotation)).collect();
        assert_eq!(picks, [Some(0), Some(1), Some(2), Some(0)]);
    }

    #[test]
    fn nobody_is_chosen_from_nobody() {
        assert_eq!(choose([].into_iter(), 7), None);
        assert_eq!(choose([(1, 1), (2, 2)].into_iter(), 7), None);
    }

    proptest! {
        #[test]
        fn the_choice_has_a_free_slot_and_nobody_free_has_less_in_flight(
            workers in proptest::collection::vec((0_u32..4, 0_u32..4), 0..9),
            rotation in any::<usize>(),
        ) {
            let free: Vec<u32> = workers.iter().filter(|(slots, held)| held < slots).map(|(_, held)| *held).collect();
            match choose(workers.iter().copied(), rotation) {
                None => prop_assert!(free.is_empty()),
                Some(index) => {
                    prop_assert!(workers[index].1 < workers[index].0);
                    prop_assert_eq!(Some(workers[index].1), free.iter().copied().min());
                }
            }
        }
    }
}
