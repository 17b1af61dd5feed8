//! How many workers and instances a load needs, and which limit decides. Pure.

use std::time::Duration;

use super::queue::Queue;

/// Busier than this, and what a request may take of the CPU varies too much for its wait to be foreseen.
pub const CPU_SHARE: f64 = 0.8;
/// The wait that is promised holds for this share of the requests.
pub const PROMISED: f64 = 0.95;
/// What warmfront itself holds, where nobody measured it: about 6 MiB idle, and buffers of requests in flight.
pub const FRONT_BYTES: u64 = 32 << 20;
/// `workers.count` takes no more.
const WORKERS_MAX: u64 = 512;
/// More is a slip of a unit, and nobody's quota.
const INSTANCES_MAX: u64 = 100_000;

/// What is known and what is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Requests in a second, all of them.
    pub rate: f64,
    /// How long one holds its slot: the mean.
    pub service: Duration,
    /// Its coefficient of variation.
    pub variation: f64,
    /// Requests that one worker serves at once.
    pub concurrency: u64,
    /// What 95 % of the requests wait for a slot at most.
    pub wait: Duration,
    /// CPU time of one request, if it is known.
    pub cpu: Option<Duration>,
    /// CPUs of one instance.
    pub cpus: f64,
    /// Memory of one worker, if it is known.
    pub worker_bytes: Option<u64>,
    /// What warmfront holds.
    pub front_bytes: u64,
    /// Memory of one instance, if it is known.
    pub instance_bytes: Option<u64>,
    /// Requests that the platform sends one instance at most.
    pub instance_concurrency: u64,
}

/// What sets a bound to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Memory of the instance.
    Memory,
    /// CPU of the instance.
    Cpu,
    /// What the platform sends one instance at most.
    InstanceConcurrency,
    /// What `workers.count` takes.
    WorkersCount,
    /// The wait that is wanted.
    Wait,
}

impl Limit {
    /// The word for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::InstanceConcurrency => "instance_concurrency",
            Self::WorkersCount => "workers_count",
            Self::Wait => "wait",
        }
    }
}

/// What the load needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Workers of each instance.
    pub workers: u64,
    /// Instances.
    pub instances: u64,
    /// The line of one of them.
    pub queue: Queue,
    /// Workers that fit into an instance at most, and what says so.
    pub room: (u64, Limit),
    /// What one instance fewer would lack; `None` if there is one.
    pub instances_because: Option<Limit>,
    /// What one worker fewer would lack; `None` if there is one.
    pub workers_because: Option<Limit>,
    /// The share of an instance's CPUs that is used, if it is known.
    pub cpu: Option<f64>,
    /// Memory that is used in an instance, if it is known.
    pub bytes: Option<u64>,
}

/// Why no number of instances is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impossible {
    /// An instance does not hold one worker.
    NoRoom(Limit),
    /// More than anybody has.
    TooMany,
}

/// The fewest instances, and within them the fewest workers, that keep the promise.
///
/// # Errors
/// There are none.
pub fn plan(load: &Load) -> Result<Plan, Impossible> {
    let room = room(load);
    if room.0 == 0 {
        return Err(Impossible::NoRoom(room.1));
    }
    // More instances never make it worse, so the first that is enough is found by halving.
    let is_enough = |instances| lack(load, instances, room.0).is_none();
    if !is_enough(INSTANCES_MAX) {
        return Err(Impossible::TooMany);
    }
    let instances = least(1, INSTANCES_MAX, is_enough);
    let workers = least(1, room.0, |workers| lack(load, instances, workers).is_none());
    let queue = queue(load, instances, workers);
    let instances_because = match instances {
        1 => None,
        _ => lack(load, instances - 1, room.0).map(|lack| if lack == Limit::Wait { room.1 } else { lack }),
    };
    Ok(Plan {
        workers,
        instances,
        queue,
        room,
        instances_because,
        workers_because: if workers == 1 { None } else { lack(load, instances, workers - 1) },
        cpu: load.cpu.map(|cpu| queue.rate * cpu.as_secs_f64() / load.cpus),
        bytes: load.worker_bytes.map(|bytes| load.front_bytes + workers * bytes),
    })
}

/// The line of one of so many instances with so many workers each, among which requests are spread evenly.
#[must_use]
pub fn queue(load: &Load, instances: u64, workers: u64) -> Queue {
    Queue {
        rate: load.rate / instances as f64,
        service: load.service.as_secs_f64(),
        variation: load.variation,
        slots: workers * load.concurrency,
    }
}

/// Workers that fit into an instance at most, and what says so.
fn room(load: &Load) -> (u64, Limit) {
    let by_memory = match (load.instance_bytes, load.worker_bytes) {
        (Some(all), Some(each)) => all.saturating_sub(load.front_bytes) / each.max(1),
        _ => u64::MAX,
    };
    let by_platform = load.instance_concurrency / load.concurrency;
    let bounds = [
        (by_memory, Limit::Memory),
        (by_platform, Limit::InstanceConcurrency),
        (WORKERS_MAX, Limit::WorkersCount),
    ];
    bounds.into_iter().min_by_key(|(workers, _)| *workers).unwrap_or((WORKERS_MAX, Limit::WorkersCount))
}

/// What so many are short of; `None` if they are enough.
fn lack(load: &Load, instances: u64, workers: u64) -> Option<Limit> {
    let queue = queue(load, instances, workers);
    if let Some(cpu) = load.cpu {
        // A worker runs on one CPU at a time, as the usual runtimes do.
        let cpus = load.cpus.min(workers as f64);
        if queue.rate * cpu.as_secs_f64() > CPU_SHARE * cpus {
            return Some(Limit::Cpu);
        }
    }
    let is_kept = queue.wait_of(PROMISED).is_some_and(|wait| wait <= load.wait);
    (!is_kept).then_some(Limit::Wait)
}

/// The least number from `low` to `high` that is enough; `high` is.
fn least(mut low: u64, mut high: u64, is_enough: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low + (high - low) / 2;
        if is_enough(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn load() -> Load {
        Load {
            rate: 40.0,
            service: Duration::from_millis(120),
            variation: 1.0,
            concurrency: 1,
            wait: Duration::from_millis(100),
            cpu: None,
            cpus: 1.0,
            worker_bytes: None,
            front_bytes: FRONT_BYTES,
            instance_bytes: None,
            instance_concurrency: 200,
        }
    }

    #[test]
    fn without_other_limits_the_wait_decides_and_one_worker_fewer_breaks_it() {
        let plan = plan(&load()).unwrap();
        assert_eq!((plan.instances, plan.workers_because), (1, Some(Limit::Wait)));
        let wait = |workers| queue(&load(), 1, workers).wait_of(PROMISED);
        assert!(wait(plan.workers).unwrap() <= load().wait);
        assert!(wait(plan.workers - 1).is_none_or(|wait| wait > load().wait));
    }

    #[test]
    fn memory_bounds_the_workers_and_so_makes_more_instances() {
        let load = Load { worker_bytes: Some(180 << 20), instance_bytes: Some(512 << 20), ..load() };
        let plan = plan(&load).unwrap();
        assert_eq!(plan.room, (2, Limit::Memory));
        assert!(plan.instances > 1 && plan.instances_because == Some(Limit::Memory), "{plan:?}");
        assert_eq!(plan.bytes, Some((32 << 20) + plan.workers * (180 << 20)));
    }

    #[test]
    fn cpu_bounds_what_an_instance_serves_however_many_slots_it_has() {
        let load = Load { cpu: Some(Duration::from_millis(100)), concurrency: 10, ..load() };
        // 40 a second × 100 ms are 4 CPUs; at 80 % of one each that makes 5.
        let plan = plan(&load).unwrap();
        assert_eq!((plan.instances, plan.instances_because), (5, Some(Limit::Cpu)));
        assert!((plan.cpu.unwrap() - 0.8).abs() < 1e-9);
        // One instance of 8 CPUs needs 5 processes: each runs on one at a time.
        let one = super::plan(&Load { cpus: 8.0, ..load }).unwrap();
        assert_eq!((one.instances, one.workers, one.workers_because), (1, 5, Some(Limit::Cpu)));
    }

    #[test]
    fn the_platforms_concurrency_bounds_the_slots() {
        let plan = plan(&Load { instance_concurrency: 4, rate: 100.0, ..load() }).unwrap();
        assert_eq!(
            (plan.room, plan.instances_because),
            ((4, Limit::InstanceConcurrency), Some(Limit::InstanceConcurrency))
        );
    }

    #[test]
    fn what_no_instance_can_hold_is_said() {
        let large = Load { worker_bytes: Some(1 << 30), instance_bytes: Some(512 << 20), ..load() };
        assert_eq!(plan(&large), Err(Impossible::NoRoom(Limit::Memory)));
        let many = Load { concurrency: 300, ..load() };
        assert_eq!(plan(&many), Err(Impossible::NoRoom(Limit::InstanceConcurrency)));
        let flood = Load { rate: 1e12, ..load() };
        assert_eq!(plan(&flood), Err(Impossible::TooMany));
    }

    proptest! {
        #[test]
        fn a_plan_keeps_every_limit_and_none_is_smaller(
            rate in 0.1_f64..5000.0, service_ms in 1_u64..3000, cpu_part in 1_u64..10, cpus in 1_u64..8,
            wait_ms in 0_u64..500, each in 1_u64..40, variation in 0.0_f64..3.0,
        ) {
            let service = Duration::from_millis(service_ms);
            let load = Load {
                rate, service, variation, cpu: Some(service / cpu_part as u32), cpus: cpus as f64,
                wait: Duration::from_millis(wait_ms), worker_bytes: Some(100 << 20), instance_bytes: Some(1 << 30),
                concurrency: each, ..load()
            };
            // What 80 % of a CPU cannot start on is impossible for one worker; more instances always help.
            let plan = plan(&load).unwrap();
            prop_assert_eq!(lack(&load, plan.instances, plan.workers), None);
            prop_assert!(plan.workers <= plan.room.0 && plan.queue.slots <= 200);
            prop_assert!(plan.bytes.unwrap() <= 1 << 30);
            if plan.instances > 1 {
                prop_assert!(lack(&load, plan.instances - 1, plan.room.0).is_some());
            }
        }
    }
}
