//! Which worker is started again though nothing is wrong with it: because it has served or grown enough. Pure.

use std::fmt;

use super::census::{Member, Standing};
use crate::config::Recycle;
use crate::upstream::pool::WorkerId;
use crate::words::{bytes, count};

/// A worker that is to be started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub worker: WorkerId,
    /// Its process group.
    pub pid: i32,
    /// Why.
    pub why: Why,
}

/// What it has reached, and the limit of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Requests of this life.
    Requests(u64, u64),
    /// Bytes of memory.
    Memory(u64, u64),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(served, limit) => {
                write!(f, "it has served {} requests (workers.max_requests = {limit})", count(*served))
            }
            Self::Memory(taken, limit) => {
                write!(f, "it takes {} (workers.max_memory = {})", bytes(*taken), bytes(*limit))
            }
        }
    }
}

/// The first of `members` that is due; `memory` tells the bytes that a process group takes.
///
/// One at a time: while another is on its way, nobody is.
pub fn due(recycle: Recycle, members: &[Member], memory: impl Fn(i32) -> Option<u64>) -> Option<Due> {
    let is_on_its_way = |member: &Member| {
        matches!(member.standing, Standing::Starting | Standing::Retiring | Standing::Stopping)
    };
    if members.iter().any(is_on_its_way) {
        return None;
    }
    members.iter().filter(|member| member.standing == Standing::Ready).find_map(|member| {
        let (pid, worker) = (member.pid?, member.worker.as_ref()?);
        let served = worker.served();
        let by_requests = recycle.requests.filter(|&limit| served >= limit);
        let why = by_requests.map(|limit| Why::Requests(served, limit)).or_else(|| {
            let limit = recycle.memory?;
            Some(Why::Memory(memory(pid).filter(|&taken| taken > limit)?, limit))
        })?;
        Some(Due { worker: member.id, pid, why })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::upstream::pool::{Address, Worker};

    /// Ready, with its number as its process group.
    fn member(number: u32) -> Member {
        let address = Address::Unix("/a".into());
        let worker = Worker::new(WorkerId(number), address, 1, Arc::default());
        let pid = i32::try_from(number).ok();
        Member { standing: Standing::Ready, pid, worker: Some(worker), ..Member::new(WorkerId(number)) }
    }

    const BY_MEMORY: Recycle = Recycle { requests: None, memory: Some(100) };

    fn chosen(members: &[Member]) -> Option<u32> {
        due(BY_MEMORY, members, |pid| Some(if pid == 1 { 100 } else { 101 })).map(|due| due.worker.0)
    }

    #[test]
    fn the_first_above_its_limit_is_due_and_says_why() {
        let members = [1, 2, 3].map(member);
        assert_eq!(chosen(&members), Some(2));
        assert_eq!(chosen(&members[..1]), None, "at the limit is within it");
        let due = due(BY_MEMORY, &members, |pid| (pid == 3).then_some(4096)).unwrap();
        assert_eq!(due.why.to_string(), "it takes 4 KiB (workers.max_memory = 100 B)");
        assert_eq!(super::due(Recycle::default(), &members, |_| Some(u64::MAX)), None);
        let why = Why::Requests(1000, 1000).to_string();
        assert_eq!(why, "it has served 1,000 requests (workers.max_requests = 1000)");
    }

    #[test]
    fn while_one_is_on_its_way_nobody_is_due_and_one_that_keeps_failing_holds_nobody_up() {
        for standing in Standing::ALL {
            let members = [Member { standing, ..member(1) }, member(2)];
            let is_on_its_way =
                matches!(standing, Standing::Starting | Standing::Retiring | Standing::Stopping);
            assert_eq!(chosen(&members), (!is_on_its_way).then_some(2), "{standing:?}");
            // Only one that gets requests is worth it.
            let alone = [Member { standing, ..member(2) }];
            assert_eq!(chosen(&alone).is_some(), standing == Standing::Ready, "{standing:?}");
        }
    }
}
