//! Who is in flight now, for whoever asks: a board that the data plane writes on without a lock.
//!
//! Each thread has boards of its own and is the only one to write on them. A reader of another thread looks
//! at a place's stamp before and behind the rest of it: if they differ, or somebody was just writing, the
//! place has changed hands, and whoever sat there is no longer, or not yet, to be told of.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::id::RequestId;

/// Places of one board. A thread with more requests at once gets a further board.
const PLACES: usize = 32;
/// Words of the longest id.
const WORDS: usize = RequestId::MAX / 8;

static BOARDS: Mutex<Vec<Arc<Board>>> = Mutex::new(Vec::new());

thread_local! {
    static MINE: RefCell<Mine> = const { RefCell::new(Mine { boards: Vec::new(), free: Vec::new() }) };
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Stage {
    /// Its head is here. It has no slot yet, and does not wait for one.
    Begun = 1,
    /// In the line.
    Queued,
    /// With a worker, which has not answered.
    Sent,
    /// The answer is on its way.
    Answering,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Begun, Self::Queued, Self::Sent, Self::Answering];

    /// The word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Answering => "answering",
        }
    }
}

/// A request as the board shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// Which.
    pub id: RequestId,
    /// When it began.
    pub began: Instant,
    /// How far it has come.
    pub stage: Stage,
    /// Who has it, if somebody does.
    pub worker: Option<u32>,
}

/// One request's place on the board of its thread; dropped there too.
#[derive(Debug)]
pub struct Place {
    index: usize,
    stays_here: PhantomData<*const ()>,
}

impl Place {
    /// Puts `id`, which began at `began`, on the board.
    pub fn take(id: &RequestId, began: Instant) -> Self {
        let index = MINE.with_borrow_mut(|mine| {
            let index = mine.free.pop().unwrap_or_else(|| mine.grow());
            mine.slot(index).write(id, began);
            index
        });
        Self { index, stays_here: PhantomData }
    }

    /// Notes how far it has come, and with whom.
    pub fn set(&self, stage: Stage, worker: Option<u32>) {
        MINE.with_borrow(|mine| mine.slot(self.index).set(stage, worker));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Where the thread is ending, so are its boards.
        let _ = MINE.try_with(|mine| {
            let mut mine = mine.borrow_mut();
            mine.slot(self.index).state.store(0, Ordering::Release);
            mine.free.push(self.index);
        });
    }
}

/// Everybody who is in flight, oldest first.
pub fn everybody() -> Vec<Posted> {
    let boards = lock().clone();
    let mut all: Vec<_> = boards.iter().flat_map(|board| board.0.iter().filter_map(Slot::read)).collect();
    all.sort_by_key(|posted| posted.began);
    all
}

struct Mine {
    boards: Vec<Arc<Board>>,
    free: Vec<usize>,
}

impl Mine {
    fn slot(&self, index: usize) -> &Slot {
        &self.boards[index / PLACES].0[index % PLACES]
    }

    /// Makes room, and takes the first of it.
    fn grow(&mut self) -> usize {
        let board = Arc::new(Board(std::array::from_fn(|_| Slot::default())));
        lock().push(Arc::clone(&board));
        let first = self.boards.len() * PLACES;
        self.boards.push(board);
        self.free.extend((first + 1..first + PLACES).rev());
        first
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        lock().retain(|board| !self.boards.iter().any(|own| Arc::ptr_eq(board, own)));
    }
}

struct Board([Slot; PLACES]);

/// One place.
#[derive(Default)]
struct Slot {
    /// Odd while it is being written, and greater each time.
    stamp: AtomicU64,
    /// Nanoseconds since [`base`].
    began: AtomicU64,
    /// Stage, worker and length of the id, a byte, five and a byte; zero where nobody is.
    state: AtomicU64,
    id: [AtomicU64; WORDS],
}

const STAGE_BITS: u32 = 8;
const LEN_BITS: u32 = 8;

impl Slot {
    fn write(&self, id: &RequestId, began: Instant) {
        let stamp = self.stamp.load(Ordering::Relaxed);
        self.stamp.store(stamp.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let bytes = id.as_bytes();
        for (word, part) in self.id.iter().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..part.len()].copy_from_slice(part);
            word.store(u64::from_ne_bytes(whole), Ordering::Relaxed);
        }
        let began = began.saturating_duration_since(base()).as_nanos();
        self.began.store(u64::try_from(began).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.state.store(Stage::Begun as u64 | (bytes.len() as u64) << STAGE_BITS, Ordering::Relaxed);
        self.stamp.store(stamp.wrapping_add(2), Ordering::Release);
    }

    fn set(&self, stage: Stage, worker: Option<u32>) {
        let len = self.state.load(Ordering::Relaxed) & (0xff << STAGE_BITS);
        // Workers count from one.
        let worker = u64::from(worker.unwrap_or(0)) << (STAGE_BITS + LEN_BITS);
        self.state.store(stage as u64 | len | worker, Ordering::Relaxed);
    }

    fn read(&self) -> Option<Posted> {
        let stamp = self.stamp.load(Ordering::Acquire);
        let state = self.state.load(Ordering::Relaxed);
        if stamp % 2 == 1 || state == 0 {
            return None;
        }
        let mut bytes = [0; RequestId::MAX];
        for (word, part) in self.id.iter().zip(bytes.chunks_exact_mut(8)) {
            part.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        let began = self.began.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if self.stamp.load(Ordering::Relaxed) != stamp {
            return None;
        }
        let len = (state >> STAGE_BITS & 0xff) as usize;
        let worker = u32::try_from(state >> (STAGE_BITS + LEN_BITS)).unwrap_or(0);
        Some(Posted {
            id: RequestId::sanitised(&bytes[..len.min(RequestId::MAX)]),
            began: base() + Duration::from_nanos(began),
            stage: *Stage::ALL.get((state & 0xff) as usize - 1)?,
            worker: Some(worker).filter(|&worker| worker > 0),
        })
    }
}

/// Some moment before all that is noted.
fn base() -> Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    *BASE.get_or_init(|| clock::now().checked_sub(Duration::from_secs(1)).unwrap_or_else(clock::now))
}

fn lock() -> MutexGuard<'static, Vec<Arc<Board>>> {
    BOARDS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn posted(name: &str) -> Vec<Posted> {
        everybody().into_iter().filter(|posted| posted.id.as_str().starts_with(name)).collect()
    }

    #[test]
    fn who_is_in_flight_is_on_the_board_until_it_ends() {
        let began = clock::now();
        let places: Vec<Place> = (0..PLACES + 5)
            .map(|number| {
                let id = RequestId::sanitised(format!("board-{number}-{}", "x".repeat(number)).as_bytes());
                Place::take(&id, began + Duration::from_millis(number as u64))
            })
            .collect();
        places[PLACES + 1].set(Stage::Answering, Some(7));
        let all = posted("board-");
        assert_eq!(all.len(), PLACES + 5);
        assert_eq!(all[3].id.as_str(), "board-3-xxx");
        assert_eq!((all[3].stage, all[3].worker), (Stage::Begun, None));
        let last = &all[PLACES + 1];
        assert_eq!((last.stage, last.worker), (Stage::Answering, Some(7)));
        assert_eq!(last.began, began + Duration::from_millis(PLACES as u64 + 1));
        drop(places);
        assert!(posted("board-").is_empty());
        let again = Place::take(&RequestId::sanitised(b"board-again"), began);
        assert_eq!(posted("board-").len(), 1);
        assert_eq!(MINE.with_borrow(|mine| mine.boards.len()), 2, "places are used again");
        drop(again);
    }

    #[test]
    fn a_reader_never_sees_half_of_one_and_half_of_another() {
        static OVER: AtomicBool = AtomicBool::new(false);
        let writer = std::thread::spawn(|| {
            let ids: Vec<_> = (b'a'..=b'z')
                .map(|letter| RequestId::sanitised(&[b"torn-", [letter; 90].as_slice()].concat()))
                .collect();
            while !OVER.load(Ordering::Relaxed) {
                for id in &ids {
                    drop(Place::take(id, clock::now()));
                }
            }
        });
        let (mut seen, began) = (0, Instant::now());
        while seen < 1000 && began.elapsed() < Duration::from_secs(20) {
            for found in posted("torn-") {
                let letters = &found.id.as_bytes()[5..];
                let is_whole = letters.len() == 90 && letters.iter().all(|letter| *letter == letters[0]);
                assert!(is_whole, "{}", found.id);
                seen += 1;
            }
        }
        OVER.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        assert!(seen > 0, "nothing was seen at all");
        assert!(posted("torn-").is_empty(), "a thread's boards end with it");
    }
}
