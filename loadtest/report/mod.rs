//! Everything that a measurement found, as it is kept, merged and read back.
//!
//! The file is the truth: tables, plots and verdicts are made from it again, so that
//! runs of different cells can be one report and an old report can be compared with.

pub(crate) mod draw;
pub(crate) mod figures;
pub(crate) mod html;
mod plots;
pub(crate) mod sections;
pub(crate) mod shell;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::machine;

/// Written by one version of this program, readable by those that know the same number.
const FORMAT: u32 = 1;

/// Reads a file of this program that says which `format` it has.
///
/// # Errors
/// It cannot be read, or is of another format; the file is named.
pub(crate) fn read_format<T: DeserializeOwned>(path: &Path, format: u32) -> io::Result<T> {
    let wrong =
        |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| wrong(format!("no JSON ({error}); give a file that --json wrote")))?;
    // Before its fields: those of another format are others.
    match value["format"].as_u64() {
        Some(found) if found == u64::from(format) => {}
        Some(found) => return Err(wrong(format!("format {found}, not {format}; measure again"))),
        None => return Err(wrong("no file of this program: it names no format".into())),
    }
    serde_json::from_value(value).map_err(|error| wrong(error.to_string()))
}

/// A measurement, or several merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    format: u32,
    /// What figures depend on besides the programs; one entry per run.
    pub(crate) machines: Vec<Vec<(String, String)>>,
    pub(crate) subjects: Vec<SubjectFacts>,
    pub(crate) cells: Vec<CellResult>,
    pub(crate) footprints: Vec<Footprint>,
    pub(crate) not_measured: Vec<Missing>,
}

/// Who was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SubjectFacts {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Configuration file or command line.
    pub(crate) configuration: String,
    /// Whether it is a build of warmfront.
    pub(crate) is_ours: bool,
}

/// Who was not, where, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Missing {
    pub(crate) subject: String,
    /// Everywhere if `None`.
    pub(crate) cell: Option<String>,
    pub(crate) reason: String,
}

/// All runs of one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CellResult {
    pub(crate) name: String,
    pub(crate) what: String,
    /// Where it lies in the plot of scale: the curve, and the connections.
    pub(crate) curve: Option<(String, u32)>,
    /// By subject, one place per round; `None` where it was not measured.
    pub(crate) runs: BTreeMap<String, Vec<Option<Sample>>>,
}

/// One load run against one subject. Times in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Of the proxy, per request.
    pub(crate) cpu_us: f64,
    /// Of the workers, per request.
    pub(crate) workers_cpu_us: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
    pub(crate) max_us: f64,
    /// How late the median and the 99th request of an open loop were sent.
    pub(crate) delay_us: Option<(f64, f64)>,
    /// Requests of the connection that got fewest and of the one that got most.
    pub(crate) per_connection: Option<(u64, u64)>,
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    /// Kinds of failures with their first details, as `load` reports them; absent without any.
    pub(crate) errors: Option<Value>,
}

/// Memory and start of one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Footprint {
    pub(crate) subject: String,
    /// From starting the process to the first accepted connection, each time.
    pub(crate) start_ms: Vec<f64>,
    pub(crate) rss_start_kib: u64,
    /// Connections that were open and idle after one request each.
    pub(crate) idle: u32,
    pub(crate) rss_idle_kib: u64,
}

impl Sample {
    /// Reads what `load --json` printed; `None` if it is something else or measured no CPU.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let raw: Value = serde_json::from_str(text).ok()?;
        let latency = |name: &str| raw["latency_us"][name].as_f64();
        let delay = &raw["delay_us"];
        let per_connection = &raw["per_connection"];
        Some(Self {
            cpu_us: raw["cpu_us_per_request"].as_f64()?,
            workers_cpu_us: raw["beside_cpu_us_per_request"].as_f64().unwrap_or(0.0),
            requests_per_second: raw["requests_per_second"].as_f64()?,
            p50_us: latency("p50")?,
            p90_us: latency("p90")?,
            p99_us: latency("p99")?,
            p99_9_us: latency("p99_9")?,
            max_us: latency("max")?,
            delay_us: delay["p50"].as_f64().zip(delay["p99"].as_f64()),
            per_connection: per_connection[0].as_u64().zip(per_connection[1].as_u64()),
            ok: raw["ok"].as_u64()?,
            failed: raw["failed"].as_u64()?,
            errors: Some(raw["errors"].clone())
                .filter(|errors| errors.as_object().is_some_and(|all| !all.is_empty())),
        })
    }

    /// Whether the run says anything: a failed request costs something else than a good one.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed == 0 && self.ok > 0
    }

    /// Share of one CPU that the proxy was busy. Well under 1 in a closed loop, client or workers were slower.
    pub(crate) fn busy(&self) -> f64 {
        self.cpu_us * self.requests_per_second / 1e6
    }
}

impl Footprint {
    /// Memory that one more idle connection takes, in KiB.
    pub(crate) fn per_connection_kib(&self) -> f64 {
        (self.rss_idle_kib as f64 - self.rss_start_kib as f64) / f64::from(self.idle.max(1))
    }
}

impl Report {
    /// A report of a run on this machine; facts that cannot be read are said to be unknown.
    pub(crate) fn here(more: Vec<(String, String)>) -> Self {
        let facts = machine::facts(more);
        Self { format: FORMAT, machines: vec![facts], ..Self::default() }
    }

    /// Reads a file that [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// It cannot be read, or is of another format.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        read_format(path, FORMAT)
    }

    /// Everything, with a summary in front for those who want figures only.
    pub(crate) fn to_json(&self) -> Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        value["summary"] = figures::summary(self);
        value
    }

    /// Adds what `other` measured: further cells, and further rounds of the same.
    pub(crate) fn merge(&mut self, other: Self) {
        self.machines.extend(other.machines);
        for subject in other.subjects {
            if !self.subjects.iter().any(|mine| mine.name == subject.name) {
                self.subjects.push(subject);
            }
        }
        for cell in other.cells {
            match self.cells.iter_mut().find(|mine| mine.name == cell.name) {
                Some(mine) => mine.add_rounds(cell),
                None => self.cells.push(cell),
            }
        }
        self.footprints.retain(|mine| !other.footprints.iter().any(|new| new.subject == mine.subject));
        self.footprints.extend(other.footprints);
        for missing in other.not_measured {
            if !self.not_measured.contains(&missing) {
                self.not_measured.push(missing);
            }
        }
    }

    /// Names of the subjects that have a figure in some cell or a footprint, ours first.
    pub(crate) fn names(&self) -> Vec<&str> {
        let (ours, peers): (Vec<_>, Vec<_>) = self.subjects.iter().partition(|subject| subject.is_ours);
        ours.into_iter().chain(peers).map(|subject| subject.name.as_str()).collect()
    }

    /// Names of the builds of warmfront.
    pub(crate) fn ours(&self) -> Vec<&str> {
        self.subjects.iter().filter(|subject| subject.is_ours).map(|subject| subject.name.as_str()).collect()
    }

    /// The cell of that name.
    pub(crate) fn cell(&self, name: &str) -> Option<&CellResult> {
        self.cells.iter().find(|cell| cell.name == name)
    }

    /// Whether everything that was asked for was measured without a failed request.
    pub(crate) fn is_complete(&self) -> bool {
        let samples = || self.cells.iter().flat_map(|cell| cell.runs.values()).flatten();
        self.not_measured.is_empty() && samples().all(|run| run.as_ref().is_some_and(Sample::is_clean))
    }
}

impl CellResult {
    /// Rounds stay rounds: places are filled up, so that runs of the same round stay side by side.
    fn add_rounds(&mut self, other: Self) {
        let mine = self.runs.values().map(Vec::len).max().unwrap_or(0);
        for (subject, runs) in other.runs {
            let all = self.runs.entry(subject).or_default();
            all.resize(mine, None);
            all.extend(runs);
        }
        let most = self.runs.values().map(Vec::len).max().unwrap_or(0);
        self.runs.values_mut().for_each(|runs| runs.resize(most, None));
    }

    /// Runs of a subject, none if it took no part.
    pub(crate) fn of(&self, subject: &str) -> &[Option<Sample>] {
        self.runs.get(subject).map_or(&[], Vec::as_slice)
    }

    /// Requests of a subject that failed.
    pub(crate) fn failed(&self, subject: &str) -> u64 {
        self.of(subject).iter().flatten().map(|sample| sample.failed).sum()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run that cost so much and in which so many requests failed.
    pub(crate) fn sample(cpu_us: f64, failed: u64) -> Option<Sample> {
        let figures = Sample { cpu_us, failed, ok: 100, requests_per_second: 1000.0, ..Sample::default() };
        Some(Sample { p50_us: cpu_us * 2.0, p99_us: cpu_us * 4.0, ..figures })
    }

    /// CPU of each round, by subject.
    type Runs<'a> = &'a [(&'a str, &'a [f64])];

    /// A report with one cell per entry: name, and rounds by subject; `wf` is ours.
    pub(crate) fn report(cells: &[(&str, Runs<'_>)]) -> Report {
        let mut report = Report::here(Vec::new());
        for (name, runs) in cells {
            let runs = runs.iter().map(|(subject, cpu)| {
                let samples = cpu.iter().map(|cpu| sample(*cpu, 0)).collect();
                ((*subject).to_owned(), samples)
            });
            let (name, what) = ((*name).to_owned(), "GET".to_owned());
            report.cells.push(CellResult { name, what, curve: None, runs: runs.collect() });
        }
        for cell in &report.cells {
            for name in cell.runs.keys() {
                if !report.subjects.iter().any(|subject| subject.name == *name) {
                    report.subjects.push(SubjectFacts {
                        name: name.clone(),
                        version: format!("{name} 1.0"),
                        configuration: "<as it is>".into(),
                        is_ours: name.starts_with("wf"),
                    });
                }
            }
        }
        report
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        let mut report = report(&[("1k", &[("wf", &[5.0, 6.0]), ("nginx", &[10.0, 11.5])])]);
        report.not_measured.push(Missing { subject: "h2o".into(), cell: None, reason: "absent".into() });
        fs::write(&path, report.to_json().to_string()).unwrap();
        assert_eq!(Report::read(&path).unwrap(), report);
        assert!(!report.is_complete());
        fs::write(&path, r#"{"cells":{}}"#).unwrap();
        assert!(Report::read(&path).unwrap_err().to_string().contains("report.json"));
    }

    #[test]
    fn a_merge_adds_cells_and_rounds_without_mixing_rounds() {
        let mut all = report(&[("1k", &[("wf", &[5.0]), ("nginx", &[10.0])])]);
        all.merge(report(&[("1k", &[("wf", &[6.0]), ("relay", &[4.0])]), ("1m", &[("wf", &[90.0])])]));
        let cell = all.cell("1k").unwrap();
        let cpu = |name: &str| {
            cell.of(name).iter().map(|run| run.as_ref().map(|run| run.cpu_us)).collect::<Vec<_>>()
        };
        assert_eq!(cpu("wf"), [Some(5.0), Some(6.0)]);
        assert_eq!(cpu("nginx"), [Some(10.0), None]);
        assert_eq!(cpu("relay"), [None, Some(4.0)]);
        assert_eq!((all.cells.len(), all.subjects.len(), all.machines.len()), (2, 3, 2));
    }

    #[test]
    fn a_run_with_failures_or_a_gap_is_not_complete() {
        let mut report = report(&[("1k", &[("wf", &[5.0])])]);
        assert!(report.is_complete());
        report.cells[0].runs.insert("wf".into(), vec![sample(5.0, 1)]);
        assert!(!report.is_complete());
        report.cells[0].runs.insert("wf".into(), vec![None]);
        assert!(!report.is_complete());
    }

    #[test]
    fn text_without_cpu_is_no_sample() {
        assert_eq!(Sample::parse("{}"), None);
        assert_eq!(Sample::parse("error"), None);
    }
}
