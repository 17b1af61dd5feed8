//! The one waiting line: bounds, order and overload. Pure: `now` is an argument.
//!
//! Oldest first as a rule. Once the oldest has waited longer than
//! `newest_first_after` although workers are ready, the line is overloaded and
//! the newest is served first: those at the back still have patience left, and
//! serving only the oldest would make everybody late.

use std::collections::VecDeque;
use std::time::Instant;

use super::admission::Refusal;
use crate::config::Queue;

/// Names one waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Waiters in order of arrival.
#[derive(Debug)]
pub struct Line<T> {
    bounds: Queue,
    waiting: VecDeque<Waiter<T>>,
    bytes: usize,
    next_ticket: u64,
    /// Since when workers have been ready without a break.
    ready_since: Option<Instant>,
}

#[derive(Debug)]
struct Waiter<T> {
    ticket: Ticket,
    since: Instant,
    bytes: usize,
    payload: T,
}

impl<T> Line<T> {
    /// An empty line; no worker is ready yet.
    pub fn new(bounds: Queue) -> Self {
        Self { bounds, waiting: VecDeque::new(), bytes: 0, next_ticket: 0, ready_since: None }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes whether any worker is ready. While none is, nobody can be overloading them.
    pub fn set_ready(&mut self, ready: bool, now: Instant) {
        self.ready_since = ready.then(|| self.ready_since.unwrap_or(now));
    }

    /// Whether any worker is ready.
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// Lets one more wait, holding `bytes`.
    ///
    /// # Errors
    /// [`Refusal::QueueFull`] or [`Refusal::QueueBytes`]; the payload is dropped.
    pub fn push(&mut self, payload: T, bytes: usize, now: Instant) -> Result<Ticket, Refusal> {
        if self.waiting.len() >= self.bounds.depth {
            return Err(Refusal::QueueFull { depth: self.bounds.depth });
        }
        if self.bytes.saturating_add(bytes) > self.bounds.bytes {
            return Err(Refusal::QueueBytes { bytes: self.bounds.bytes });
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.bytes += bytes;
        self.waiting.push_back(Waiter { ticket, since: now, bytes, payload });
        self.check_invariants();
        Ok(ticket)
    }

    /// Whose turn it is.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        let waiter =
            if self.is_overloaded(now) { self.waiting.pop_back() } else { self.waiting.pop_front() }?;
        self.bytes -= waiter.bytes;
        self.check_invariants();
        Some(waiter.payload)
    }

    /// Whether the newest goes first.
    pub fn is_overloaded(&self, now: Instant) -> bool {
        let (Some(ready_since), Some(oldest)) = (self.ready_since, self.waiting.front()) else {
            return false;
        };
        let waited = now.saturating_duration_since(oldest.since.max(ready_since));
        waited > self.bounds.newest_first_after
    }

    /// Takes out one who no longer waits; `false` if the ticket is not in the line.
    pub fn remove(&mut self, ticket: Ticket) -> bool {
        let Ok(index) = self.waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket) else {
            return false;
        };
        if let Some(waiter) = self.waiting.remove(index) {
            self.bytes -= waiter.bytes;
        }
        self.check_invariants();
        true
    }

    fn check_invariants(&self) {
        debug_assert_eq!(self.bytes, self.waiting.iter().map(|waiter| waiter.bytes).sum::<usize>());
        debug_assert!(self.waiting.len() <= self.bounds.depth && self.bytes <= self.bounds.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn bounds() -> Queue {
        Queue {
            depth: 3,
            bytes: 100,
            timeout: Duration::from_secs(30),
            newest_first_after: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_line_is_bounded_in_number_and_bytes() {
        let (mut line, now) = (Line::new(bounds()), Instant::now());
        assert!(line.push('a', 60, now).is_ok());
        assert_eq!(line.push('b', 60, now), Err(Refusal::QueueBytes { bytes: 100 }));
        assert!(line.push('c', 20, now).is_ok() && line.push('d', 20, now).is_ok());
        assert_eq!(line.push('e', 0, now), Err(Refusal::QueueFull { depth: 3 }));
    }

    #[test]
    fn first_come_first_served_until_overloaded_then_newest_first() {
        let (mut line, now) = (Line::new(bounds()), Instant::now());
        line.set_ready(true, now);
        for name in ['a', 'b', 'c'] {
            line.push(name, 1, now).unwrap();
        }
        assert_eq!(line.pop(now + Duration::from_millis(900)), Some('a'));
        assert_eq!(line.pop(now + Duration::from_millis(1100)), Some('c'));
        assert_eq!(line.pop(now + Duration::from_millis(1100)), Some('b'));
    }

    #[test]
    fn requests_held_for_the_first_worker_are_served_in_order() {
        let (mut line, now) = (Line::new(bounds()), Instant::now());
        for name in ['a', 'b'] {
            line.push(name, 1, now).unwrap();
        }
        let later = now + Duration::from_secs(60);
        line.set_ready(true, later);
        assert_eq!((line.pop(later), line.pop(later)), (Some('a'), Some('b')));
    }

    proptest! {
        #[test]
        fn pushes_pops_and_removals_never_lose_or_double_a_waiter(
            steps in proptest::collection::vec((0_u8..4, 0_u64..3000), 1..80),
        ) {
            let (mut line, start) = (Line::new(bounds()), Instant::now());
            let (mut present, mut now) = (Vec::new(), start);
            for (index, (action, wait)) in steps.into_iter().enumerate() {
                now += Duration::from_millis(wait);
                match action {
                    0 | 1 => if let Ok(ticket) = line.push(index, 10, now) { present.push((ticket, index)) },
                    2 => match line.pop(now) {
                        Some(payload) => {
                            let at = present.iter().position(|(_, held)| *held == payload);
                            prop_assert!(at.is_some());
                            present.remove(at.unwrap());
                        }
                        None => prop_assert!(present.is_empty()),
                    },
                    _ => if !present.is_empty() {
                        let (ticket, _) = present.remove(wait as usize % present.len());
                        prop_assert!(line.remove(ticket));
                        prop_assert!(!line.remove(ticket));
                    },
                }
                line.set_ready(wait % 2 == 0, now);
                prop_assert_eq!(line.len(), present.len());
            }
        }
    }
}
