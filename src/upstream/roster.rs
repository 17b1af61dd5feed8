//! Who is in flight on one worker, told in places of what that worker writes.
//!
//! A line that a worker wrote shall carry the id of the request it was written for,
//! and nobody asks the worker. What can be known is who was in flight when the line
//! was written, however much later it is read: a byte's place in its pipe is what was
//! read before it plus what was still unread, and both can be asked for at the moment
//! when a request begins and when it ends. A request's *span* is what was written in
//! between; who can have written a line is who has a span that meets it.
//!
//! ```text
//!  pipe    ──read──│───────── unread ─────────│ still to be written ─▶
//!  spans             [A begins ····· A ends)[B begins ····
//! ```
//!
//! The reader takes bytes under the same lock, so both numbers belong to one moment.
//! What the worker writes when it has answered is written for nobody, or for whoever
//! came next: it says when, not why.

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError, Weak};

use crate::id::RequestId;
use crate::sync::{Mutex, MutexGuard};
use crate::sys;

/// Standard output and standard error of the worker.
pub const PIPES: usize = 2;

/// The end of a pipe that somebody else reads.
pub trait Pipe: AsFd + fmt::Debug + Send + Sync {}

impl<T: AsFd + fmt::Debug + Send + Sync> Pipe for T {}

/// The requests in flight on one worker, and those whose output was not read yet.
#[derive(Debug)]
pub struct Roster {
    /// Whoever reads them closes them: a process that outlives its worker must not write for nobody.
    pipes: [Weak<dyn Pipe>; PIPES],
    watch: sys::PipeWatch,
    ledger: Mutex<Ledger>,
}

impl Roster {
    /// Nobody is in flight. The pipes must be read in [`Roster::read`] only.
    ///
    /// # Errors
    /// The system refused to watch them.
    pub fn new(pipes: &[Arc<dyn Pipe>; PIPES]) -> io::Result<Arc<Self>> {
        let watch = sys::PipeWatch::new(pipes.each_ref().map(|pipe| pipe.as_fd()))?;
        let pipes = pipes.each_ref().map(Arc::downgrade);
        Ok(Arc::new(Self { pipes, watch, ledger: Mutex::new(Ledger::default()) }))
    }

    /// Notes that `id` is in flight until the ticket is dropped.
    pub fn begin(self: &Arc<Self>, id: RequestId) -> Ticket {
        let mut ledger = self.lock();
        let unread = self.unread();
        let place = ledger.begin(id, unread);
        Ticket { roster: Arc::clone(self), place }
    }

    /// Calls `take`, which reads once from that pipe and says how much, and adds to `seen` whose spans
    /// meet what came, in the order in which they began.
    ///
    /// # Errors
    /// What `take` says.
    pub fn read(
        &self,
        pipe: usize,
        seen: &mut Vec<Span>,
        take: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut ledger = self.lock();
        let got = take()?;
        ledger.on_read(pipe, got as u64, seen);
        Ok(got)
    }

    /// Usually nothing: then one system call tells for both pipes.
    fn unread(&self) -> [u64; PIPES] {
        if !self.watch.any_readable() {
            return [0; PIPES];
        }
        self.pipes.each_ref().map(|pipe| pipe.upgrade().map_or(0, |pipe| sys::unread(pipe.as_fd())))
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Being in flight on one worker. Ends by being dropped.
#[derive(Debug)]
pub struct Ticket {
    roster: Arc<Roster>,
    place: usize,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut ledger = self.roster.lock();
        let unread = self.roster.unread();
        ledger.end(self.place, unread);
    }
}

/// A request and the part of one pipe's output that was written while it was in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which request.
    pub id: RequestId,
    /// The first byte, counted from the worker's start.
    pub from: u64,
    /// One past the last byte; `u64::MAX` while it is in flight.
    pub until: u64,
}

impl Span {
    /// Whether any of the bytes from `from` to before `until` is its; none is no byte.
    pub fn meets(&self, from: u64, until: u64) -> bool {
        self.from.max(from) < self.until.min(until)
    }
}

/// One request in both pipes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: RequestId,
    nth: u64,
    from: [u64; PIPES],
    until: [u64; PIPES],
}

/// What is known of begins, ends and reads. Pure.
#[derive(Debug, Default)]
struct Ledger {
    /// Bytes read from each pipe so far.
    read: [u64; PIPES],
    /// In flight; a ticket's place is its index.
    active: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// Ended, and something that was written meanwhile is still to be read.
    ended: Vec<Entry>,
    begun: u64,
}

impl Ledger {
    fn begin(&mut self, id: RequestId, unread: [u64; PIPES]) -> usize {
        self.begun += 1;
        let entry = Entry { id, nth: self.begun, from: self.written(unread), until: [u64::MAX; PIPES] };
        if let Some(place) = self.free.pop() {
            self.active[place] = Some(entry);
            place
        } else {
            self.active.push(Some(entry));
            self.active.len() - 1
        }
    }

    fn end(&mut self, place: usize, unread: [u64; PIPES]) {
        let Some(mut entry) = self.active.get_mut(place).and_then(Option::take) else { return };
        self.free.push(place);
        entry.until = self.written(unread);
        if self.is_awaited(&entry) {
            self.ended.push(entry);
        }
    }

    fn on_read(&mut self, pipe: usize, bytes: u64, seen: &mut Vec<Span>) {
        let (from, until) = (self.read[pipe], self.read[pipe] + bytes);
        let entries = self.active.iter().flatten().chain(&self.ended);
        let mut met: Vec<&Entry> = entries
            .filter(|entry| {
                Span { id: entry.id, from: entry.from[pipe], until: entry.until[pipe] }.meets(from, until)
            })
            .collect();
        met.sort_by_key(|entry| entry.nth);
        seen.extend(met.iter().map(|entry| Span {
            id: entry.id,
            from: entry.from[pipe],
            until: entry.until[pipe],
        }));
        self.read[pipe] = until;
        let mut ended = std::mem::take(&mut self.ended);
        ended.retain(|entry| self.is_awaited(entry));
        self.ended = ended;
    }

    /// Bytes written into each pipe so far.
    fn written(&self, unread: [u64; PIPES]) -> [u64; PIPES] {
        std::array::from_fn(|pipe| self.read[pipe] + unread[pipe])
    }

    /// Whether anything written during an ended request is still to be read.
    fn is_awaited(&self, entry: &Entry) -> bool {
        (0..PIPES).any(|pipe| entry.until[pipe] > self.read[pipe].max(entry.from[pipe]))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use proptest::prelude::*;

    use super::*;

    fn id(number: usize) -> RequestId {
        RequestId::sanitised(number.to_string().as_bytes())
    }

    #[test]
    fn a_span_is_what_was_written_between_begin_and_end() {
        let ((out, mut to_out), (err, _to_err)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let pipes: [Arc<dyn Pipe>; PIPES] = [Arc::new(out.try_clone().unwrap()), Arc::new(err)];
        let roster = Roster::new(&pipes).unwrap();
        let read = |seen: &mut Vec<Span>| {
            let got = roster.read(0, seen, || (&out).read(&mut [0; 10]));
            assert_eq!(got.unwrap(), 10);
        };
        to_out.write_all(b"before ").unwrap();
        let ticket = roster.begin(id(1));
        to_out.write_all(b"during ").unwrap();
        drop(ticket);
        to_out.write_all(b"behind ").unwrap();
        let open = roster.begin(id(2));
        let mut seen = Vec::new();
        read(&mut seen);
        assert_eq!(seen, [Span { id: id(1), from: 7, until: 14 }]);
        assert_eq!(roster.lock().ended.len(), 1, "a part of its output is still unread");
        seen.clear();
        read(&mut seen);
        assert_eq!(seen, [Span { id: id(1), from: 7, until: 14 }]);
        assert_eq!(roster.lock().ended.len(), 0);
        drop(open);
        assert_eq!(roster.lock().ended.len(), 0, "nothing was written meanwhile");
        assert!(seen[0].meets(13, 15) && !seen[0].meets(10, 10) && !seen[0].meets(14, 20));
        assert_eq!(roster.lock().active.len(), 1, "places are used again");
    }

    /// What happens to a worker: a request begins, the one at this place ends, bytes are
    /// written, bytes are read.
    #[derive(Clone, Debug)]
    enum Event {
        Begin,
        End(usize),
        Write(usize, u64),
        Read(usize, u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Begin),
            (0_usize..4).prop_map(Event::End),
            (0..PIPES, 1_u64..4).prop_map(|(pipe, bytes)| Event::Write(pipe, bytes)),
            (0..PIPES, 1_u64..6).prop_map(|(pipe, bytes)| Event::Read(pipe, bytes)),
        ]
    }

    proptest! {
        #[test]
        fn every_byte_names_exactly_who_was_in_flight_when_it_was_written(
            events in proptest::collection::vec(event(), 0..200),
        ) {
            let mut ledger = Ledger::default();
            let mut in_flight: Vec<(usize, usize)> = Vec::new();
            let mut pipes: [std::collections::VecDeque<Vec<RequestId>>; PIPES] = Default::default();
            let mut begun = 0;
            for event in events {
                let unread = pipes.each_ref().map(|pipe| pipe.len() as u64);
                match event {
                    Event::Begin => {
                        begun += 1;
                        in_flight.push((begun, ledger.begin(id(begun), unread)));
                    }
                    Event::End(index) if index < in_flight.len() => ledger.end(in_flight.remove(index).1, unread),
                    Event::End(_) => {}
                    Event::Write(pipe, bytes) => {
                        let who: Vec<_> = in_flight.iter().map(|(number, _)| id(*number)).collect();
                        pipes[pipe].extend((0..bytes).map(|_| who.clone()));
                    }
                    Event::Read(pipe, bytes) => {
                        let (from, bytes) = (ledger.read[pipe], bytes.min(unread[pipe]));
                        let mut seen = Vec::new();
                        ledger.on_read(pipe, bytes, &mut seen);
                        for (at, who) in (from..).zip(pipes[pipe].drain(..bytes as usize)) {
                            let named = seen.iter().filter(|span| span.meets(at, at + 1)).map(|span| span.id);
                            prop_assert_eq!(named.collect::<Vec<_>>(), who);
                        }
                    }
                }
                prop_assert!(ledger.active.len() <= begun && ledger.ended.len() as u64 <= unread[0] + unread[1] + 4 * 50);
            }
            let unread = pipes.each_ref().map(|pipe| pipe.len() as u64);
            in_flight.iter().for_each(|&(_, place)| ledger.end(place, unread));
            for (pipe, &bytes) in unread.iter().enumerate() {
                ledger.on_read(pipe, bytes, &mut Vec::new());
            }
            prop_assert!(ledger.ended.is_empty() && ledger.active.iter().all(Option::is_none));
        }
    }
}
