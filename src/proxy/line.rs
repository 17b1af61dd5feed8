//! The one waiting line: bounds, order and overload. Pure: `now` is an argument.
//!
//! Oldest first as a rule. Once the oldest has waited longer than
//! `newest_first_after` although workers are ready, the line is overloaded and
//! the newest is served first: those at the back still have patience left, and
//! serving only the oldest would make everybody late.
//!
//! Who belongs to a session waits for one worker, in a lane of its own; the bounds
//! are those of the whole line.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::admission::Refusal;
use crate::config::Queue;
use crate::upstream::pool::Worker;

/// The worker that a request waits for; `None` is any.
pub type Wish<'a> = Option<&'a Arc<Worker>>;

/// Names one waiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Waiters in order of arrival.
#[derive(Debug)]
pub struct Line<T> {
    bounds: Queue,
    /// Those who take any slot first, then those who wait for one worker. No lane but the first is empty.
    lanes: Vec<Lane<T>>,
    waiting: usize,
    bytes: usize,
    next_ticket: u64,
    /// Since when workers have been ready without a break.
    ready_since: Option<Instant>,
}

#[derive(Debug)]
struct Lane<T> {
    wish: Option<Arc<Worker>>,
    waiting: VecDeque<Waiter<T>>,
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
        let lanes = vec![Lane { wish: None, waiting: VecDeque::new() }];
        Self { bounds, lanes, waiting: 0, bytes: 0, next_ticket: 0, ready_since: None }
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.waiting
    }

    /// Bytes that those who wait hold.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Since when the one has waited who has waited longest.
    pub fn oldest(&self) -> Option<Instant> {
        // A lane is in order of arrival, but for those who came with their wait behind them.
        self.lanes.iter().flat_map(|lane| &lane.waiting).map(|waiter| waiter.since).min()
    }

    /// Whether nobody waits with this wish.
    pub fn is_clear(&self, wish: Wish<'_>) -> bool {
        self.lane(wish).is_none_or(|index| self.lanes[index].waiting.is_empty())
    }

    /// Notes whether any worker is ready. While none is, nobody can be overloading them.
    pub fn set_ready(&mut self, ready: bool, now: Instant) {
        self.ready_since = ready.then(|| self.ready_since.unwrap_or(now));
    }

    /// Whether any worker is ready.
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some()
    }

    /// Lets one more wait, who came at `since` and holds `bytes`.
    ///
    /// # Errors
    /// [`Refusal::QueueFull`] or [`Refusal::QueueBytes`]; the payload is dropped.
    pub fn push(
        &mut self,
        wish: Wish<'_>,
        payload: T,
        bytes: usize,
        since: Instant,
    ) -> Result<Ticket, Refusal> {
        if self.waiting >= self.bounds.depth {
            return Err(Refusal::QueueFull { depth: self.bounds.depth });
        }
        if self.bytes.saturating_add(bytes) > self.bounds.bytes {
            return Err(Refusal::QueueBytes { bytes: self.bounds.bytes });
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting += 1;
        self.bytes += bytes;
        let lane = self.lane(wish).unwrap_or_else(|| {
            self.lanes.push(Lane { wish: wish.cloned(), waiting: VecDeque::new() });
            self.lanes.len() - 1
        });
        self.lanes[lane].waiting.push_back(Waiter { ticket, since, bytes, payload });
        self.check_invariants();
        Ok(ticket)
    }

    /// Whose turn it is among those with this wish.
    pub fn pop(&mut self, wish: Wish<'_>, now: Instant) -> Option<T> {
        let lane = self.lane(wish)?;
        let overloaded = self.is_overloaded(lane, now);
        let waiting = &mut self.lanes[lane].waiting;
        let waiter = if overloaded { waiting.pop_back() } else { waiting.pop_front() }?;
        self.on_left(lane, &waiter);
        Some(waiter.payload)
    }

    /// Whether the newest of a lane goes first.
    fn is_overloaded(&self, lane: usize, now: Instant) -> bool {
        let (Some(ready_since), Some(oldest)) = (self.ready_since, self.lanes[lane].waiting.front()) else {
            return false;
        };
        let waited = now.saturating_duration_since(oldest.since.max(ready_since));
        waited > self.bounds.newest_first_after
    }

    /// Takes out one who no longer waits; `false` if the ticket is not in the line.
    pub fn remove(&mut self, ticket: Ticket) -> bool {
        for lane in 0..self.lanes.len() {
            let waiting = &mut self.lanes[lane].waiting;
            let found = waiting.binary_search_by_key(&ticket, |waiter| waiter.ticket);
            if let Some(waiter) = found.ok().and_then(|index| waiting.remove(index)) {
                self.on_left(lane, &waiter);
                return true;
            }
        }
        false
    }

    /// The workers that somebody waits for.
    pub fn wishes(&self) -> Vec<Arc<Worker>> {
        self.lanes.iter().filter_map(|lane| lane.wish.clone()).collect()
    }

    /// Lets those who wait for a worker that does not `serve` take any, in the order in which all came.
    pub fn give_up(&mut self, serves: impl Fn(&Arc<Worker>) -> bool) {
        let is_hopeless = |lane: &mut Lane<T>| lane.wish.as_ref().is_some_and(|worker| !serves(worker));
        let hopeless: Vec<_> = self.lanes.extract_if(.., is_hopeless).collect();
        if hopeless.is_empty() {
            return;
        }
        let any = &mut self.lanes[0].waiting;
        any.extend(hopeless.into_iter().flat_map(|lane| lane.waiting));
        any.make_contiguous().sort_by_key(|waiter| waiter.ticket);
        self.check_invariants();
    }

    /// Empties the line.
    pub fn drain(&mut self) -> Vec<T> {
        (self.waiting, self.bytes) = (0, 0);
        let waiting = self.lanes.iter_mut().flat_map(|lane| std::mem::take(&mut lane.waiting));
        let payloads = waiting.map(|waiter| waiter.payload).collect();
        self.lanes.truncate(1);
        payloads
    }

    fn lane(&self, wish: Wish<'_>) -> Option<usize> {
        let Some(worker) = wish else { return Some(0) };
        self.lanes.iter().position(|lane| lane.wish.as_ref().is_some_and(|it| Arc::ptr_eq(it, worker)))
    }

    fn on_left(&mut self, lane: usize, waiter: &Waiter<T>) {
        self.waiting -= 1;
        self.bytes -= waiter.bytes;
        if lane > 0 && self.lanes[lane].waiting.is_empty() {
            self.lanes.remove(lane);
        }
        self.check_invariants();
    }

    fn check_invariants(&self) {
        let all = || self.lanes.iter().flat_map(|lane| &lane.waiting);
        debug_assert_eq!(self.bytes, all().map(|waiter| waiter.bytes).sum::<usize>());
        debug_assert_eq!(self.waiting, all().count());
        debug_assert!(self.waiting <= self.bounds.depth && self.bytes <= self.bounds.bytes);
        debug_assert!(self.lanes.iter().skip(1).all(|lane| lane.wish.is_some() && !lane.waiting.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::pool::{Address, WorkerId};
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::sync::Notify;

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
        assert!(line.push(None, 'a', 60, now).is_ok());
        assert_eq!(line.push(None, 'b', 60, now), Err(Refusal::QueueBytes { bytes: 100 }));
        assert!(line.push(None, 'c', 20, now).is_ok() && line.push(None, 'd', 20, now).is_ok());
        assert_eq!(line.push(None, 'e', 0, now), Err(Refusal::QueueFull { depth: 3 }));
    }

    #[test]
    fn first_come_first_served_until_overloaded_then_newest_first() {
        let (mut line, now) = (Line::new(bounds()), Instant::now());
        line.set_ready(true, now);
        for name in ['a', 'b', 'c'] {
            line.push(None, name, 1, now).unwrap();
        }
        assert_eq!(line.pop(None, now + Duration::from_millis(900)), Some('a'));
        assert_eq!(line.pop(None, now + Duration::from_millis(1100)), Some('c'));
        assert_eq!(line.pop(None, now + Duration::from_millis(1100)), Some('b'));
    }

    #[test]
    fn requests_held_for_the_first_worker_are_served_in_order() {
        let (mut line, now) = (Line::new(bounds()), Instant::now());
        for name in ['a', 'b'] {
            line.push(None, name, 1, now).unwrap();
        }
        let later = now + Duration::from_secs(60);
        line.set_ready(true, later);
        assert_eq!((line.pop(None, later), line.pop(None, later)), (Some('a'), Some('b')));
    }

    fn worker(id: u32) -> Arc<Worker> {
        let address = Address::Tcp(([127, 0, 0, 1], 1).into());
        Worker::new(WorkerId(id), address, 1, Arc::new(Notify::new()))
    }

    #[test]
    fn who_waits_for_one_worker_counts_in_the_line_and_stands_in_nobodys_way() {
        let (mut line, now, one) = (Line::new(bounds()), Instant::now(), worker(1));
        line.push(Some(&one), 'a', 50, now).unwrap();
        assert!(line.is_clear(None) && !line.is_clear(Some(&one)) && line.is_clear(Some(&worker(1))));
        assert_eq!(line.push(None, 'b', 60, now), Err(Refusal::QueueBytes { bytes: 100 }));
        line.push(None, 'c', 1, now).unwrap();
        line.push(Some(&one), 'd', 1, now).unwrap();
        assert_eq!(line.push(None, 'e', 1, now), Err(Refusal::QueueFull { depth: 3 }));
        assert_eq!((line.pop(None, now), line.pop(None, now)), (Some('c'), None));
        assert_eq!((line.pop(Some(&one), now), line.pop(Some(&one), now)), (Some('a'), Some('d')));
        assert!(line.wishes().is_empty() && line.count() == 0);
    }

    #[test]
    fn who_waited_for_a_worker_that_is_gone_keeps_the_place_it_came_to() {
        let (mut line, now, one, two) = (Line::new(bounds()), Instant::now(), worker(1), worker(2));
        let first = line.push(Some(&one), 'a', 1, now).unwrap();
        line.push(None, 'b', 1, now).unwrap();
        line.push(Some(&two), 'c', 1, now).unwrap();
        line.give_up(|worker| worker.id == two.id);
        assert_eq!(line.wishes().iter().map(|worker| worker.id).collect::<Vec<_>>(), [two.id]);
        assert_eq!(
            (line.pop(None, now), line.pop(None, now), line.pop(None, now)),
            (Some('a'), Some('b'), None)
        );
        assert!(!line.remove(first));
        assert_eq!((line.drain(), line.count()), (vec!['c'], 0));
    }

    proptest! {
        #[test]
        fn pushes_pops_and_removals_never_lose_or_double_a_waiter(
            steps in proptest::collection::vec((0_u8..5, 0_u64..3000), 1..80),
        ) {
            let workers = [worker(1), worker(2)];
            let (mut line, start) = (Line::new(bounds()), Instant::now());
            let (mut present, mut now) = (Vec::new(), start);
            for (index, (action, wait)) in steps.into_iter().enumerate() {
                now += Duration::from_millis(wait);
                let wish = workers.get(wait as usize % 3);
                match action {
                    0 | 1 => if let Ok(ticket) = line.push(wish, index, 10, now) { present.push((ticket, index)) },
                    2 => match line.pop(wish, now) {
                        Some(payload) => {
                            let at = present.iter().position(|(_, held)| *held == payload);
                            prop_assert!(at.is_some());
                            present.remove(at.unwrap());
                        }
                        None => prop_assert!(line.is_clear(wish)),
                    },
                    3 => line.give_up(|worker| worker.id.0 == wait as u32 % 2),
                    _ => if !present.is_empty() {
                        let (ticket, _) = present.remove(wait as usize % present.len());
                        prop_assert!(line.remove(ticket));
                        prop_assert!(!line.remove(ticket));
                    },
                }
                line.set_ready(wait % 2 == 0, now);
                prop_assert_eq!(line.count(), present.len());
            }
        }
    }
}
