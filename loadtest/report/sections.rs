//! Which tables a report consists of: the same for terminal, Markdown and HTML.

use crate::goals::{Goals, Outcome};
use crate::noslate::fronts::DOCUMENTED;
use crate::report::figures::mean_over_cells;
use crate::report::table::{Field, Table, Tone};
use crate::report::{CellResult, Missing, Report, Sample, SubjectFacts};
use crate::stats::{Spread, median};
use crate::verdict::Change;

/// Against whom ratios are shown, if they were measured.
pub(crate) const REFERENCES: [&str; 6] =
    ["nginx", "haproxy", "haproxy-splice", "relay", "relay-splice", DOCUMENTED];

/// A comparison with an older report.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    /// The peer whose CPU is the unit.
    pub(crate) against: String,
    pub(crate) threshold: f64,
    pub(crate) changes: Vec<Change>,
}

/// Everything that is said, in the order in which it is said.
pub(crate) fn tables(report: &Report, goals: &Goals, comparison: Option<&Comparison>) -> Vec<Table> {
    let mut tables = vec![facts(&report.machines), subjects(&report.subjects)];
    tables.extend(missing(&report.not_measured));
    tables.extend(goal_table(&goals.judge(report)));
    tables.extend(comparison.map(changes));
    let present: Vec<&str> = report.names();
    tables.extend(
        REFERENCES.iter().filter(|peer| present.contains(peer)).filter_map(|peer| ratios(report, peer)),
    );
    if !report.cells.is_empty() {
        tables.push(cpu(report));
        tables.push(latency(report));
        tables.push(throughput(report));
        tables.push(spread(report));
    }
    tables.extend(fairness(report));
    tables.extend(delays(report));
    tables.extend(footprints(report));
    tables.extend(failures(report));
    tables
}

/// What figures depend on besides the programs; one entry of `runs` per run.
pub(crate) fn facts(runs: &[Vec<(String, String)>]) -> Table {
    let first = runs.first().map_or(&[][..], Vec::as_slice);
    let rows = runs.iter().enumerate().flat_map(|(run, facts)| {
        // Of a merged run only what is not like the first.
        facts.iter().filter(move |fact| run == 0 || !first.contains(fact)).map(move |(name, value)| {
            vec![Field::new((run + 1).to_string()), Field::new(name), Field::new(value)]
        })
    });
    Table {
        title: "Machine".into(),
        note: String::new(),
        header: ["run", "fact", "value"].map(String::from).into(),
        rows: rows.collect(),
    }
}

/// Who was measured.
pub(crate) fn subjects(subjects: &[SubjectFacts]) -> Table {
    let rows = subjects
        .iter()
        .map(|subject| vec![Field::new(&subject.name), Field::new(&subject.version)])
        .collect();
    Table {
        title: "Subjects".into(),
        note: String::new(),
        header: ["name", "version"].map(String::from).into(),
        rows,
    }
}

/// Who was not, where, and why; `None` if nothing is missing.
pub(crate) fn missing(not_measured: &[Missing]) -> Option<Table> {
    let rows: Vec<_> = not_measured
        .iter()
        .map(|missing| {
            let place = missing.cell.clone().unwrap_or_else(|| "everything".into());
            vec![
                Field::new(&missing.subject).toned(Tone::Bad),
                Field::new(place),
                Field::new(&missing.reason),
            ]
        })
        .collect();
    (!rows.is_empty()).then(|| Table {
        title: "NOT MEASURED".into(),
        note: String::new(),
        header: ["subject", "where", "why"].map(String::from).into(),
        rows,
    })
}

fn goal_table(outcomes: &[Outcome]) -> Option<Table> {
    let rows: Vec<_> = outcomes.iter().map(goal_row).collect();
    let count = |verdict| outcomes.iter().filter(|outcome| outcome.is_met() == verdict).count();
    (!rows.is_empty()).then(|| Table {
        title: "Goals".into(),
        note: format!(
            "{} met, {} missed, {} not measured. Medians of the ratios within each round, quartiles behind them.",
            count(Some(true)),
            count(Some(false)),
            count(None)
        ),
        header: ["build", "cell", "figure", "at most", "measured", "verdict"].map(String::from).into(),
        rows,
    })
}

fn goal_row(outcome: &Outcome) -> Vec<Field> {
    let digits =
        |value: f64| if outcome.limit > 100.0 { format!("{value:.0}") } else { format!("{value:.2}") };
    let measured = outcome.value.map_or_else(Field::none, |value| {
        let aside = outcome.quartiles.map(|(q1, q3)| format!("{q1:.2} to {q3:.2}"));
        Field::with(digits(value), aside.unwrap_or_default())
    });
    let tone = match outcome.is_met() {
        Some(true) => Tone::Good,
        Some(false) => Tone::Bad,
        None => Tone::Faint,
    };
    vec![
        Field::new(&outcome.subject),
        Field::new(&outcome.place),
        Field::new(&outcome.what),
        Field::new(digits(outcome.limit)),
        measured,
        Field::new(outcome.verdict()).toned(tone),
    ]
}

fn changes(comparison: &Comparison) -> Table {
    let rows = comparison
        .changes
        .iter()
        .map(|change| {
            let is_worse = change.is_worse(comparison.threshold);
            vec![
                Field::new(&change.subject),
                Field::new(&change.cell),
                Field::new(format!("{:.3}", change.old)),
                Field::new(format!("{:.3}", change.new)),
                Field::new(format!("{:+.1} %", change.growth() * 100.0)),
                if is_worse {
                    Field::new("WORSE").toned(Tone::Bad)
                } else {
                    Field::new("fine").toned(Tone::Good)
                },
            ]
        })
        .collect();
    Table {
        title: "Since the older report".into(),
        note: format!(
            "CPU per request as a share of {}'s; worse if it grew by more than {:.1} %.",
            comparison.against,
            comparison.threshold * 100.0
        ),
        header: ["build", "cell", "then", "now", "change", "verdict"].map(String::from).into(),
        rows,
    }
}

/// A row per cell, a column per subject that has a figure anywhere.
fn by_cell(
    report: &Report,
    title: String,
    note: String,
    field: impl Fn(&CellResult, &str) -> Option<Field>,
) -> Table {
    let has_some = |name: &&str| report.cells.iter().any(|cell| field(cell, name).is_some());
    let names: Vec<&str> = report.names().into_iter().filter(has_some).collect();
    let row = |cell: &CellResult| {
        let fields = names.iter().map(|name| field(cell, name).unwrap_or_else(Field::none));
        std::iter::once(Field::new(&cell.name)).chain(fields).collect::<Vec<_>>()
    };
    let rows = report
        .cells
        .iter()
        .filter(|cell| names.iter().any(|name| field(cell, name).is_some()))
        .map(row)
        .collect();
    let header = std::iter::once("cell").chain(names.iter().copied()).map(String::from).collect();
    Table { title, note, header, rows }
}

fn ratios(report: &Report, peer: &str) -> Option<Table> {
    let mut table = by_cell(
        report,
        format!("CPU per request against {peer}"),
        "Median of the ratios within each round; quartiles in brackets. Less is better.".into(),
        |cell, name| {
            let ratio = cell.cpu_ratio(name, peer).filter(|_| name != peer)?;
            Some(Field::with(format!("{:.2}", ratio.median), format!("{:.2} to {:.2}", ratio.q1, ratio.q3)))
        },
    );
    let means: Vec<Field> = table.header[1..]
        .iter()
        .map(|name| match mean_over_cells(report, name, peer) {
            Some((mean, count)) if count > 1 => Field::with(format!("{mean:.2}"), format!("{count} cells")),
            _ => Field::none(),
        })
        .collect();
    if means.iter().any(|field| field.tone != Tone::Faint) {
        table.rows.push(std::iter::once(Field::new("geometric mean")).chain(means).collect());
    }
    (!table.rows.is_empty()).then_some(table)
}

fn short(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn range(spread: &Spread) -> Field {
    Field::with(short(spread.median), format!("{} to {}", short(spread.min), short(spread.max)))
}

fn cpu(report: &Report) -> Table {
    by_cell(
        report,
        "CPU per request".into(),
        "Microseconds of all threads of the proxy: median, smallest and largest. They carry the drift of the \
         machine; the ratios do not."
            .into(),
        |cell, name| cell.spread(name, |sample| sample.cpu_us).as_ref().map(range),
    )
}

fn latency(report: &Report) -> Table {
    by_cell(
        report,
        "Latency".into(),
        "Microseconds, p50 / p99, medians of the rounds. At a fixed rate counted from when a request was due.".into(),
        |cell, name| {
            let p50 = cell.spread(name, |sample| sample.p50_us)?;
            let p99 = cell.spread(name, |sample| sample.p99_us)?;
            Some(Field::new(format!("{:.0} / {:.0}", p50.median, p99.median)))
        },
    )
}

fn throughput(report: &Report) -> Table {
    by_cell(
        report,
        "Requests per second".into(),
        "Median; in brackets how much of one CPU the proxy used, and the CPU that the workers spent per \
         request as a share of its own. A proxy far under 100 % in a closed loop waited for client and workers."
            .into(),
        |cell, name| {
            let rate = cell.spread(name, |sample| sample.requests_per_second)?;
            let busy = cell.spread(name, Sample::busy)?;
            let workers = cell.spread(name, |sample| sample.workers_cpu_us / sample.cpu_us.max(1e-9))?;
            let aside = format!("{:.0} %; {:.2}", busy.median * 100.0, workers.median);
            Some(Field::with(short(rate.median), aside))
        },
    )
}

fn spread(report: &Report) -> Table {
    by_cell(
        report,
        "Rounds and their spread".into(),
        "Rounds without failures, and half the distance between the quartiles of CPU per request, as a share of \
         its median."
            .into(),
        |cell, name| {
            let cpu = cell.spread(name, |sample| sample.cpu_us)?;
            let half = (cpu.q3 - cpu.q1) / 2.0 / cpu.median.max(1e-9);
            Some(Field::with(cpu.count.to_string(), format!("± {:.0} %", half * 100.0)))
        },
    )
}

fn fairness(report: &Report) -> Option<Table> {
    let mut fair = report.clone();
    fair.cells.retain(CellResult::is_scale);
    let table = by_cell(
        &fair,
        "Fairness".into(),
        "Requests of the connection that got most, as a multiple of the one that got fewest: medians of the \
         rounds."
            .into(),
        |cell, name| {
            let multiples =
                cell.of(name).iter().flatten().filter(|sample| sample.is_clean()).filter_map(|sample| {
                    let (least, most) = sample.per_connection.filter(|(_, most)| *most > 1)?;
                    Some(most as f64 / least.max(1) as f64)
                });
            median(multiples.collect()).map(|multiple| Field::new(format!("{multiple:.2}")))
        },
    );
    (!table.rows.is_empty()).then_some(table)
}

fn delays(report: &Report) -> Option<Table> {
    let mut open = report.clone();
    open.cells.retain(|cell| cell.runs.values().flatten().flatten().any(|sample| sample.delay_us.is_some()));
    let table = by_cell(
        &open,
        "Lateness of the load".into(),
        "Microseconds from when a request was due to when it was sent, p50 / p99: part of each latency at a \
         fixed rate."
            .into(),
        |cell, name| {
            let p50 = cell.spread(name, |sample| sample.delay_us.unwrap_or_default().0)?;
            let p99 = cell.spread(name, |sample| sample.delay_us.unwrap_or_default().1)?;
            Some(Field::new(format!("{:.0} / {:.0}", p50.median, p99.median)))
        },
    );
    (!table.rows.is_empty()).then_some(table)
}

fn footprints(report: &Report) -> Option<Table> {
    let rows: Vec<_> = report
        .footprints
        .iter()
        .map(|footprint| {
            let start = Spread::of(footprint.start_ms.clone());
            vec![
                Field::new(&footprint.subject),
                start.as_ref().map_or_else(Field::none, range),
                Field::new(footprint.rss_start_kib.to_string()),
                Field::with(footprint.rss_idle_kib.to_string(), format!("{} connections", footprint.idle)),
                Field::new(format!("{:.2}", footprint.per_connection_kib())),
            ]
        })
        .collect();
    (!rows.is_empty()).then(|| Table {
        title: "Memory and start".into(),
        note: "From starting the process to the first accepted connection, in milliseconds; resident memory of \
               the processes that carry traffic, in KiB, at start and with connections that are idle after one \
               request each."
            .into(),
        header: ["subject", "start", "at start", "idle", "per connection"].map(String::from).into(),
        rows,
    })
}

fn failures(report: &Report) -> Option<Table> {
    let mut rows = Vec::new();
    for cell in &report.cells {
        for (name, runs) in cell.runs.iter().filter(|(name, _)| cell.failed(name) > 0) {
            let first = runs.iter().flatten().find_map(|sample| sample.errors.as_ref());
            let first = first.map(ToString::to_string).unwrap_or_default();
            let failed = Field::new(cell.failed(name).to_string()).toned(Tone::Bad);
            rows.push(vec![Field::new(name), Field::new(&cell.name), failed, Field::new(first)]);
        }
    }
    (!rows.is_empty()).then(|| Table {
        title: "Failed requests".into(),
        note: "Rounds with a failed request are in no figure above.".into(),
        header: ["subject", "cell", "failed", "how, first"].map(String::from).into(),
        rows,
    })
}

/// For a terminal.
pub(crate) fn to_text(tables: &[Table]) -> String {
    tables.iter().map(Table::to_text).collect()
}

/// For a note or a commit.
pub(crate) fn to_markdown(tables: &[Table]) -> String {
    tables.iter().fold("# warmfront and its peers\n".to_owned(), |out, table| out + &table.to_markdown())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Footprint;
    use crate::report::tests::{report, sample};

    fn full() -> Report {
        let mut all = report(&[
            ("1k", &[("wf", &[5.0, 6.0]), ("nginx", &[10.0, 10.0]), ("relay", &[5.0, 5.0])]),
            ("64k", &[("wf", &[20.0]), ("nginx", &[40.0])]),
        ]);
        all.cells[1].runs.insert("h2o".into(), vec![sample(3.0, 2)]);
        all.not_measured.push(Missing { subject: "caddy".into(), cell: None, reason: "absent".into() });
        all.footprints.push(Footprint {
            subject: "wf".into(),
            start_ms: vec![5.0, 4.0, 6.0],
            rss_start_kib: 9000,
            idle: 10_000,
            rss_idle_kib: 25_000,
        });
        all
    }

    #[test]
    fn a_report_says_what_was_measured_and_what_was_not() {
        let comparison = Comparison {
            against: "relay".into(),
            threshold: 0.08,
            changes: vec![Change { cell: "1k".into(), subject: "wf".into(), old: 1.0, new: 1.1 }],
        };
        let tables = tables(&full(), &Goals::ours().unwrap(), Some(&comparison));
        let text = to_text(&tables);
        for part in [
            "caddy    everything  absent",
            "CPU / nginx ",
            "met",
            "WORSE",
            "+10.0 %",
            "0.55 (0.53 to 0.57)",
            "geometric mean",
            "± 5 %",
            "Failed requests",
            "start_ms",
            "25000 (10000 connections)",
        ] {
            assert!(text.contains(part), "`{part}` is missing in {text}");
        }
        let markdown = to_markdown(&tables);
        assert!(markdown.contains("## CPU per request against nginx\n"), "{markdown}");
        assert!(markdown.contains("**MISSED**"), "{markdown}");
    }

    #[test]
    fn an_empty_report_is_short_and_no_crash() {
        let tables = tables(&report(&[]), &Goals::ours().unwrap(), None);
        assert_eq!(tables.len(), 2, "{}", to_text(&tables));
    }
}
