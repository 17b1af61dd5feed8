//! The functions behind the data planes: what is known of each, and what became of its requests.
//!
//! Names come with requests, so strangers choose them: a name is remembered when it is in the profiles or when a
//! function of that name has answered, and a bounded number of them.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::sync::{ArcSwap, AtomicBool, AtomicU64, Mutex};

/// Functions that are told apart; more than any instance has.
const NAMES_MAX: usize = 1000;

/// The name under which all others are counted.
const OTHERS: &str = "(other)";

/// Where nobody has counted a function's workers yet.
const UNKNOWN: u64 = u64::MAX;

/// What became of a request for a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The function answered, below 500.
    Answered,
    /// It failed: 5xx, an error, no worker to be had for it.
    Failed,
    /// The plane did not take it, or knows no such function.
    Refused,
    /// It took too long to get a worker or a head.
    Late,
    /// The answer was cut.
    Cut,
    /// The client left.
    Left,
}

impl Fate {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Answered, Self::Failed, Self::Refused, Self::Late, Self::Cut, Self::Left];

    /// The word for people and metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Late => "late",
            Self::Cut => "cut",
            Self::Left => "left",
        }
    }
}

/// One function.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: Box<str>,
    is_profiled: AtomicBool,
    initiating: AtomicU64,
    active: AtomicU64,
    fates: [AtomicU64; Fate::ALL.len()],
    cold: AtomicU64,
    micros: AtomicU64,
}

impl Function {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            is_profiled: AtomicBool::new(false),
            initiating: AtomicU64::new(UNKNOWN),
            active: AtomicU64::new(UNKNOWN),
            fates: std::array::from_fn(|_| AtomicU64::new(0)),
            cold: AtomicU64::new(0),
            micros: AtomicU64::new(0),
        })
    }

    /// Whether it is in our profiles.
    pub fn is_profiled(&self) -> bool {
        self.is_profiled.load(Ordering::Relaxed)
    }

    /// Its workers that start, and those that run; `None` while nobody has counted them.
    pub fn workers(&self) -> Option<(u64, u64)> {
        let (initiating, active) =
            (self.initiating.load(Ordering::Relaxed), self.active.load(Ordering::Relaxed));
        (active != UNKNOWN).then_some((initiating, active))
    }

    /// Whether it certainly has no worker.
    pub fn is_cold(&self) -> bool {
        self.active.load(Ordering::Relaxed) == 0
    }

    /// Counts a request that took so long.
    pub fn count(&self, fate: Fate, took: Duration, is_cold: bool) {
        self.fates[fate as usize].fetch_add(1, Ordering::Relaxed);
        self.cold.fetch_add(u64::from(is_cold), Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Requests of this fate.
    pub fn counted(&self, fate: Fate) -> u64 {
        self.fates[fate as usize].load(Ordering::Relaxed)
    }

    /// Requests for which it had no worker.
    pub fn cold(&self) -> u64 {
        self.cold.load(Ordering::Relaxed)
    }

    /// How long all its requests have taken together.
    pub fn took(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}

type Table = HashMap<Box<str>, Arc<Function>>;

/// All of them.
#[derive(Debug)]
pub struct Functions {
    table: ArcSwap<Table>,
    /// Held by whoever replaces the table.
    adding: Mutex<()>,
    others: Arc<Function>,
}

impl Default for Functions {
    fn default() -> Self {
        Self {
            table: ArcSwap::from_pointee(Table::new()),
            adding: Mutex::new(()),
            others: Function::new(OTHERS),
        }
    }
}

impl Functions {
    /// The one of this name, if it is known.
    pub fn find(&self, name: &str) -> Option<Arc<Function>> {
        self.table.load().get(name).cloned()
    }

    /// The one of this name, known from now on; what stands for all others if there are too many.
    pub fn learn(&self, name: &str) -> Arc<Function> {
        self.find(name).unwrap_or_else(|| {
            let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
            let table = self.table.load();
            if let Some(known) = table.get(name) {
                return Arc::clone(known);
            }
            if table.len() >= NAMES_MAX {
                return Arc::clone(&self.others);
            }
            let function = Function::new(name);
            let mut more = Table::clone(&table);
            more.insert(name.into(), Arc::clone(&function));
            self.table.store(Arc::new(more));
            function
        })
    }

    /// What stands for those whose names are not known.
    pub fn others(&self) -> Arc<Function> {
        Arc::clone(&self.others)
    }

    /// Whether the one of this name is in our profiles.
    pub fn is_profiled(&self, name: &str) -> bool {
        self.table.load().get(name).is_some_and(|function| function.is_profiled())
    }

    /// Says which are in our profiles.
    pub fn set_profiled<'a>(&self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            self.learn(name).is_profiled.store(true, Ordering::Relaxed);
        }
    }

    /// Says how many workers each of `counted` has, starting and running; the others have none.
    pub fn set_workers<'a>(&self, counted: impl Iterator<Item = (&'a str, u64, u64)>) {
        let mut rest: HashMap<Box<str>, Arc<Function>> = Table::clone(&self.table.load());
        for (name, initiating, active) in counted {
            let function = rest.remove(name).unwrap_or_else(|| self.learn(name));
            function.initiating.store(initiating, Ordering::Relaxed);
            function.active.store(active, Ordering::Relaxed);
        }
        for function in rest.into_values() {
            function.initiating.store(0, Ordering::Relaxed);
            function.active.store(0, Ordering::Relaxed);
        }
    }

    /// Says that nobody counts their workers any more.
    pub fn forget_workers(&self) {
        for function in self.table.load().values() {
            function.initiating.store(UNKNOWN, Ordering::Relaxed);
            function.active.store(UNKNOWN, Ordering::Relaxed);
        }
    }

    /// All that are known, by name, and what stands for the others if anything was counted there.
    pub fn all(&self) -> Vec<Arc<Function>> {
        let mut all: Vec<_> = self.table.load().values().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        let has_others = Fate::ALL.iter().any(|&fate| self.others.counted(fate) > 0);
        all.extend(has_others.then(|| self.others()));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_the_rest_is_counted_together() {
        let functions = Functions::default();
        functions.set_profiled(["mine"].into_iter());
        (0..2 * NAMES_MAX).for_each(|number| {
            functions.learn(&number.to_string()).count(Fate::Answered, Duration::from_millis(1), false);
        });
        let all = functions.all();
        assert_eq!(all.len(), NAMES_MAX + 1);
        let others = all.last().unwrap();
        assert_eq!((&*others.name, others.counted(Fate::Answered)), (OTHERS, NAMES_MAX as u64 + 1));
        assert!(functions.is_profiled("mine") && !functions.is_profiled("1"));
        assert!(functions.find("never heard of").is_none());
    }

    #[test]
    fn a_function_is_cold_once_it_was_counted_and_has_no_worker() {
        let functions = Functions::default();
        let function = functions.learn("a");
        assert!(!function.is_cold() && function.workers().is_none());
        functions.set_workers([("a", 1, 0), ("b", 0, 2)].into_iter());
        assert!(function.is_cold() && function.workers() == Some((1, 0)));
        functions.set_workers([("a", 0, 1)].into_iter());
        assert!(!function.is_cold() && functions.learn("b").is_cold());
        functions.forget_workers();
        assert!(!functions.learn("b").is_cold());
    }
}
