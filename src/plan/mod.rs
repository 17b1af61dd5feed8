//! `warmfront plan`: workers × concurrency × instances for a load, and why so many. Pure: facts in, paper out.
//!
//! What is not said is measured, where an instance was asked, or assumed; the paper tells which is which.

mod paper;
pub mod queue;
pub mod size;

use std::time::Duration;

use crate::error::Problem;
use crate::words;
use size::{FRONT_BYTES, Impossible, Limit, Load};

/// What the command line says. Nothing of it is needed where an instance is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// Requests in a second.
    pub rate: Option<f64>,
    /// How long one holds its slot.
    pub service: Option<Duration>,
    /// The coefficient of variation of that.
    pub variation: Option<f64>,
    /// Requests that one worker serves at once.
    pub concurrency: Option<u64>,
    /// What 95 % of the requests wait at most.
    pub wait: Option<Duration>,
    /// CPU time of one request.
    pub cpu: Option<Duration>,
    /// CPUs of one instance.
    pub cpus: Option<f64>,
    /// Memory of one worker.
    pub worker_memory: Option<u64>,
    /// Memory of one instance.
    pub memory: Option<u64>,
    /// What the platform sends one instance at most.
    pub instance_concurrency: Option<u64>,
}

/// What a running instance tells of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Where it was asked.
    pub name: String,
    /// Requests that it is all from.
    pub requests: u64,
    /// In which time they ended.
    pub period: Duration,
    /// How long one held its slot: the mean.
    pub service: Duration,
    /// The coefficient of variation, from buckets and with waits in it.
    pub variation: f64,
    /// Slots of one worker.
    pub concurrency: u64,
    /// The largest worker.
    pub worker_bytes: Option<u64>,
    /// warmfront itself.
    pub front_bytes: u64,
    /// CPU time of one request: that of workers since their start, and of warmfront.
    pub cpu: Option<Duration>,
}

/// Where a fact comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Given,
    Measured,
    Assumed,
}

impl Origin {
    fn word(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Measured => "measured",
            Self::Assumed => "assumed",
        }
    }
}

/// A fact and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fact<T> {
    value: T,
    origin: Origin,
}

impl<T> Fact<T> {
    fn maybe(given: Option<T>, measured: Option<T>) -> Option<Self> {
        let given = given.map(|value| Self { value, origin: Origin::Given });
        given.or_else(|| measured.map(|value| Self { value, origin: Origin::Measured }))
    }

    fn new(given: Option<T>, measured: Option<T>, assumed: T) -> Self {
        Self::maybe(given, measured).unwrap_or(Self { value: assumed, origin: Origin::Assumed })
    }
}

/// Everything that the plan is made from.
#[derive(Clone, Debug, PartialEq)]
struct Facts {
    rate: Fact<f64>,
    service: Fact<Duration>,
    variation: Fact<f64>,
    concurrency: Fact<u64>,
    wait: Fact<Duration>,
    cpu: Option<Fact<Duration>>,
    cpus: Fact<f64>,
    worker_memory: Option<Fact<u64>>,
    front_memory: Fact<u64>,
    memory: Option<Fact<u64>>,
    instance_concurrency: Fact<u64>,
    measured: Option<Measured>,
}

impl Facts {
    fn new(given: &Given, measured: Option<Measured>) -> Result<Self, Problem> {
        let told = measured.as_ref();
        let rate = told.map(|told| told.requests as f64 / told.period.as_secs_f64().max(1e-3));
        let rate =
            Fact::maybe(given.rate, rate).ok_or_else(|| unknown("how many requests come", "--rate 40"))?;
        let service = Fact::maybe(given.service, told.map(|told| told.service));
        let service = service.ok_or_else(|| unknown("how long one takes", "--service 120ms"))?;
        Ok(Self {
            rate,
            service,
            variation: Fact::new(given.variation, told.map(|told| told.variation), 1.0),
            concurrency: Fact::new(given.concurrency, told.map(|told| told.concurrency), 1),
            wait: Fact::new(given.wait, None, service.value),
            cpu: Fact::maybe(given.cpu, told.and_then(|told| told.cpu)),
            cpus: Fact::new(given.cpus, None, 1.0),
            worker_memory: Fact::maybe(given.worker_memory, told.and_then(|told| told.worker_bytes)),
            // Less was measured at a moment; there must be room for what requests in flight hold.
            front_memory: Fact::new(
                None,
                told.map(|told| told.front_bytes).filter(|bytes| *bytes > FRONT_BYTES),
                FRONT_BYTES,
            ),
            memory: Fact::maybe(given.memory, None),
            instance_concurrency: Fact::new(given.instance_concurrency, None, INSTANCE_CONCURRENCY_MAX),
            measured,
        })
    }

    fn load(&self) -> Load {
        Load {
            rate: self.rate.value,
            service: self.service.value,
            variation: self.variation.value,
            concurrency: self.concurrency.value,
            wait: self.wait.value,
            cpu: self.cpu.map(|cpu| cpu.value),
            cpus: self.cpus.value,
            worker_bytes: self.worker_memory.map(|memory| memory.value),
            front_bytes: self.front_memory.value,
            instance_bytes: self.memory.map(|memory| memory.value),
            instance_concurrency: self.instance_concurrency.value,
        }
    }
}

/// The platform sends one instance no more (`instanceConcurrency`).
const INSTANCE_CONCURRENCY_MAX: u64 = 200;

/// The plan on paper, for people or as JSON.
///
/// # Errors
/// A fact is missing that nobody can assume; or no number of instances is enough.
pub fn paper(given: &Given, measured: Option<Measured>, as_json: bool) -> Result<String, Problem> {
    let facts = Facts::new(given, measured)?;
    let load = facts.load();
    let plan = size::plan(&load).map_err(|why| explain(why, &load))?;
    Ok(if as_json { paper::json(&facts, &load, &plan) } else { paper::text(&facts, &load, &plan) })
}

fn unknown(what: &str, example: &str) -> Problem {
    Problem::new(
        format!("Nothing says {what}."),
        "Nobody can assume it for you.",
        format!(
            "Say it, such as `{example}`, or ask an instance that has served requests: `--from 127.0.0.1:9901`."
        ),
    )
}

fn explain(why: Impossible, load: &Load) -> Problem {
    match why {
        Impossible::NoRoom(Limit::Memory) => Problem::new(
            "One instance does not hold one worker.",
            format!(
                "A worker takes {}, warmfront {}, and the instance has {}.",
                words::bytes(load.worker_bytes.unwrap_or_default()),
                words::bytes(load.front_bytes),
                words::bytes(load.instance_bytes.unwrap_or_default())
            ),
            "Give the instance more (--memory).",
        ),
        Impossible::NoRoom(_) => Problem::new(
            "One worker serves more at once than the platform sends an instance.",
            format!("{} against {}.", load.concurrency, load.instance_concurrency),
            "Set --concurrency to at most --instance-concurrency.",
        ),
        Impossible::TooMany => Problem::new(
            "A hundred thousand instances are not enough.",
            "Each request may need more CPU than 80 % of one worker gives, or a number has a slip of its unit.",
            "Look at --rate, --service and --cpu again.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Given {
        Given { rate: Some(40.0), service: Some(Duration::from_millis(120)), ..Given::default() }
    }

    fn measured() -> Measured {
        Measured {
            name: "/run/a.sock".to_owned(),
            requests: 12_000,
            period: Duration::from_secs(300),
            service: Duration::from_millis(50),
            variation: 1.7,
            concurrency: 10,
            worker_bytes: Some(90 << 20),
            front_bytes: 9 << 20,
            cpu: Some(Duration::from_millis(6)),
        }
    }

    #[test]
    fn what_is_given_is_stronger_than_what_is_measured_and_that_than_what_is_assumed() {
        let facts = Facts::new(&given(), Some(measured())).unwrap();
        assert_eq!((facts.service.value.as_millis(), facts.service.origin), (120, Origin::Given));
        assert_eq!((facts.variation.value, facts.variation.origin), (1.7, Origin::Measured));
        assert_eq!((facts.cpus.value, facts.cpus.origin), (1.0, Origin::Assumed));
        let front = facts.front_memory;
        assert_eq!(
            (front.value, front.origin),
            (FRONT_BYTES, Origin::Assumed),
            "9 MiB leave no room for buffers"
        );
        let facts = Facts::new(&Given::default(), Some(measured())).unwrap();
        assert_eq!((facts.rate.value, facts.rate.origin), (40.0, Origin::Measured));
        assert_eq!(facts.wait.value, facts.service.value, "as long again as it takes");
    }

    #[test]
    fn without_a_rate_or_a_time_there_is_no_plan_and_it_says_what_to_add() {
        for (given, word) in
            [(Given { rate: None, ..given() }, "--rate"), (Given { service: None, ..given() }, "--service")]
        {
            let problem = paper(&given, None, false).unwrap_err().to_string();
            assert!(problem.contains(word) && problem.contains("--from"), "{problem}");
        }
    }

    #[test]
    fn the_text_fits_a_screen_and_says_what_is_assumed() {
        let text = paper(&given(), None, false).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        for words in
            ["1 instance × 7 workers × 1 request", "instanceConcurrency 7", "assumed", "Poisson", "p95"]
        {
            assert!(text.contains(words), "{words:?} in\n{text}");
        }
    }

    #[test]
    fn the_json_has_the_plan_the_wait_and_the_origin_of_every_fact() {
        let given = Given { memory: Some(512 << 20), cpus: Some(2.0), ..given() };
        let text = paper(&given, Some(measured()), true).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["version"], &value["plan"]["concurrency"]), (&1.into(), &10.into()));
        assert_eq!(value["facts"]["service_ms"], serde_json::json!({ "value": 120.0, "origin": "given" }));
        assert_eq!(value["facts"]["worker_bytes"]["origin"], "measured");
        assert_eq!(value["limits"]["workers_max"], 5);
        assert_eq!(value["limits"]["workers_max_by"], "memory");
        assert!(value["each"]["wait_p95_ms"].as_f64().unwrap() <= 120.0);
    }
}
