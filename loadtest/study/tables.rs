//! Which tables a study consists of: the same for terminal, Markdown and HTML.

use crate::report::sections::{facts, missing, subjects};
use crate::report::table::{Field, Table, Tone};
use crate::stats::{Spread, median};
use crate::study::figures::{LoadCase, PERCENTILES, PHASES, StartCase, ThawCase, period, shape, short};
use crate::study::judge::Judgement;
use crate::study::spark;
use crate::study::{Study, crashes, generators};

/// Requests behind a thaw that have a column of their own.
const THAW_COLUMNS: usize = 3;

/// Everything that is said, in the order in which it is said: what is wrong, what changed, what was found, where.
pub(crate) fn tables(study: &Study, judgement: Option<&Judgement>) -> Vec<Table> {
    let mut tables = Vec::new();
    tables.extend(missing(&study.not_measured));
    tables.extend(failures(study));
    tables.extend(judgement.into_iter().flat_map(Judgement::tables));
    tables.extend(phases(study));
    tables.extend(distributions(study));
    tables.extend(cold_against_warm(study));
    tables.extend(loads(study));
    tables.extend(requests(study));
    tables.extend(courses(study));
    tables.extend(generators::table(study));
    tables.extend(searches(study));
    tables.extend(thaws(study));
    tables.extend(crashes::table(study));
    tables.push(facts(&[conditions(study)]));
    tables.push(subjects(&study.subjects));
    tables
}

/// A table, if there is anything in it.
fn table(title: &str, note: &str, header: &[&str], rows: Vec<Vec<Field>>) -> Option<Table> {
    let header = header.iter().map(|text| (*text).to_owned()).collect();
    (!rows.is_empty()).then(|| Table { title: title.into(), note: note.into(), header, rows })
}

/// Median, and quartiles beside it.
fn middle(values: Vec<f64>, say: impl Fn(f64) -> String) -> Field {
    Spread::of(values).map_or_else(Field::none, |spread| {
        let aside = format!("{} to {}", say(spread.q1), say(spread.q3));
        Field::with(say(spread.median), if spread.count > 1 { aside } else { String::new() })
    })
}

fn said_ms(ms: f64) -> String {
    period(ms * 1e3)
}

fn said(us: Option<f64>) -> Field {
    us.map_or_else(Field::none, |us| Field::new(period(us)))
}

fn ratio(value: f64) -> String {
    format!("{} ×", short(value))
}

/// How many, red if any.
fn failed(count: impl Into<u64>, of: impl Into<u64>) -> Field {
    let (count, of) = (count.into(), of.into());
    let tone = if count > 0 { Tone::Bad } else { Tone::Plain };
    Field::new(format!("{count} of {of}")).toned(tone)
}

/// The machine, and how much of what was asked for was done.
fn conditions(study: &Study) -> Vec<(String, String)> {
    let (asked, finished) = study.rounds;
    let mut all = vec![("rounds".to_owned(), format!("{finished} of {asked} finished"))];
    all.extend(study.ended_early.iter().map(|why| ("ended early".to_owned(), why.clone())));
    all.extend(study.facts.iter().cloned());
    all
}

/// Starts of the same way side by side: groups of cases that differ in who it was.
fn side_by_side<'a>(study: &'a Study) -> Vec<Vec<StartCase<'a>>> {
    let mut groups: Vec<Vec<StartCase<'a>>> = Vec::new();
    for case in study.start_cases() {
        match groups.last_mut().filter(|group| group[0].label() == case.label()) {
            Some(group) => group.push(case),
            None => groups.push(vec![case]),
        }
    }
    groups
}

fn phases(study: &Study) -> Vec<Table> {
    let one = |group: &Vec<StartCase<'_>>| {
        let mut rows = Vec::new();
        for (place, phase) in PHASES.iter().enumerate() {
            let fields: Vec<Field> = group.iter().map(|case| middle(case.took(place), said_ms)).collect();
            if fields.iter().any(|field| field.tone != Tone::Faint) {
                rows.push(std::iter::once(Field::new(phase.name)).chain(fields).collect());
            }
        }
        let mut row = |name: &str, field: &dyn Fn(&StartCase<'_>) -> Field| {
            rows.push(std::iter::once(Field::new(name)).chain(group.iter().map(field)).collect());
        };
        row("first byte after", &|case| middle(case.first_bytes(), said_ms));
        row("warm after", &|case| middle(case.moments(|phases| phases.warm), said_ms));
        row("latency when warm", &|case| middle(case.warm_us(), period));
        row("no answers before", &|case| {
            let sum: u64 = case.starts.iter().map(|start| u64::from(start.bad_answers)).sum();
            Field::new(sum.to_string()).toned(if sum > 0 { Tone::Bad } else { Tone::Plain })
        });
        row("failed", &|case| failed(case.failed() as u64, case.starts.len() as u64));
        let header: Vec<&str> =
            std::iter::once("phase").chain(group.iter().map(|case| case.subject)).collect();
        table(
            &format!("Phases of a start: {}", group[0].label()),
            "How long each took since the one seen before it; then from the start itself. Medians, quartiles behind \
             them.",
            &header,
            rows,
        )
    };
    side_by_side(study).iter().filter_map(one).collect()
}

/// Subject, case and figure with the shape of their values.
fn shape_row(
    subject: &str,
    case: &str,
    figure: &str,
    values: &[f64],
    say: fn(f64) -> String,
) -> Option<Vec<Field>> {
    let places = shape(values.to_vec())?;
    let head =
        [Field::new(subject), Field::new(case), Field::new(figure), Field::new(values.len().to_string())];
    let tail = Field::new(spark::distribution(values)).toned(Tone::Drawing);
    Some(head.into_iter().chain(places.map(|value| Field::new(say(value)))).chain([tail]).collect())
}

fn distributions(study: &Study) -> Option<Table> {
    let mut rows = Vec::new();
    for case in study.start_cases() {
        let (who, label) = (case.subject, case.label());
        rows.extend(shape_row(who, &label, "first byte", &case.first_bytes(), said_ms));
        rows.extend(shape_row(who, &label, "warm after", &case.moments(|phases| phases.warm), said_ms));
        rows.extend(shape_row(who, &label, "warm latency", &case.warm_us(), period));
    }
    for case in study.thaw_cases() {
        let (who, label) = (case.subject, case.label());
        rows.extend(shape_row(who, &label, "before", &case.before(), period));
        rows.extend(shape_row(who, &label, "first request", &case.latency(0), period));
    }
    table(
        "Distributions",
        "Of single observations. The drawing goes from the smallest to the largest, logarithmic if they are ten times \
         apart.",
        &["subject", "case", "figure", "n", "p5", "p25", "p50", "p75", "p95", "max", "shape"],
        rows,
    )
}

fn cold_against_warm(study: &Study) -> Option<Table> {
    let mut rows = Vec::new();
    for case in study.start_cases() {
        let ratios: Vec<f64> = (case.starts.iter())
            .filter_map(|start| Some(start.phases.first_byte? * 1e3 / start.warm_us.filter(|us| *us > 0.0)?))
            .collect();
        let fields = [
            Field::new(case.subject),
            Field::new(case.label()),
            middle(case.first_bytes(), said_ms),
            middle(case.warm_us(), period),
            middle(ratios.clone(), ratio),
        ];
        if !ratios.is_empty() {
            rows.push(fields.into());
        }
    }
    // Where load was sent to a cold and to a warm one, at the same rate.
    let cases = study.load_cases();
    let is_warm = |case: &&LoadCase<'_>| case.class == crate::study::StartClass::Warm;
    for warm in cases.iter().filter(is_warm) {
        let same = |case: &&LoadCase<'_>| {
            case.class != warm.class
                && (case.subject, case.scenario) == (warm.subject, warm.scenario)
                && case.rate.total_cmp(&warm.rate).is_eq()
        };
        for other in cases.iter().filter(same) {
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                let (theirs, ours) = (median(other.of_each_run(share)), median(warm.of_each_run(share)));
                if let Some((theirs, ours)) = theirs.zip(ours).filter(|(_, warm)| *warm > 0.0) {
                    rows.push(vec![
                        Field::new(warm.subject),
                        Field::new(format!("{}, {name}", other.label())),
                        Field::new(period(theirs)),
                        Field::new(period(ours)),
                        Field::new(ratio(theirs / ours)),
                    ]);
                }
            }
        }
    }
    table(
        "Cold against warm",
        "What the first request of a start, or a percentile of the same load, costs as a multiple of what it costs \
         when the program is warm.",
        &["subject", "case", "cold", "warm", "ratio"],
        rows,
    )
}

fn loads(study: &Study) -> Option<Table> {
    let row = |case: &LoadCase<'_>| {
        let (latency, service, (ok, bad)) = (case.latency(), case.service(), case.counts());
        let mut fields = vec![Field::new(case.subject), Field::new(case.label()), failed(bad, ok + bad)];
        fields.extend(PERCENTILES.iter().map(|(_, share)| {
            let beside = service.at(*share).map(period).unwrap_or_default();
            latency.at(*share).map_or_else(Field::none, |us| Field::with(period(us), beside))
        }));
        fields.push(said(latency.at(1.0)));
        fields
    };
    let header = ["subject", "load", "failed"].into_iter().chain(PERCENTILES.iter().map(|(name, _)| *name));
    table(
        "Load at a fixed rate",
        "Latency from the moment each request was due; beside it from the moment it was sent, which leaves out the \
         wait behind a stall. All rounds together.",
        &header.chain(["max"]).collect::<Vec<_>>(),
        study.load_cases().iter().map(row).collect(),
    )
}

/// Loads that send several kinds of requests, by kind.
fn requests(study: &Study) -> Option<Table> {
    let mut rows = Vec::new();
    for case in study.load_cases() {
        let mut names: Vec<&String> = case.loads.iter().flat_map(|load| load.latency.keys()).collect();
        names.sort();
        names.dedup();
        for name in names.iter().filter(|_| names.len() > 1) {
            let curves = case.loads.iter().filter_map(|load| load.latency.get(*name));
            let curve = crate::study::Curve::mixed(curves);
            let mut fields = vec![Field::new(case.subject), Field::new(case.label()), Field::new(*name)];
            fields.push(Field::new(curve.count.to_string()));
            fields.extend(PERCENTILES.iter().map(|(_, share)| said(curve.at(*share))));
            rows.push(fields);
        }
    }
    let header =
        ["subject", "load", "request", "n"].into_iter().chain(PERCENTILES.iter().map(|(name, _)| *name));
    table("Kinds of requests", "Latency as above.", &header.collect::<Vec<_>>(), rows)
}

fn courses(study: &Study) -> Option<Table> {
    let mut rows = Vec::new();
    for case in study.load_cases() {
        // Of several rounds one: their moments are not each other's.
        let Some(load) = case.loads.iter().find(|load| load.over_time.len() > 1) else { continue };
        let p50: Vec<f64> = load.over_time.iter().map(|slice| slice.p50_us).collect();
        let p99: Vec<f64> = load.over_time.iter().map(|slice| slice.p99_us).collect();
        let worst = load.over_time.iter().max_by(|one, other| one.max_us.total_cmp(&other.max_us));
        rows.push(vec![
            Field::new(case.subject),
            Field::new(case.label()),
            Field::new(spark::course(&p50)).toned(Tone::Drawing),
            said(p50.iter().copied().reduce(f64::max)),
            Field::new(spark::course(&p99)).toned(Tone::Drawing),
            said(p99.iter().copied().reduce(f64::max)),
            worst.map_or_else(Field::none, |slice| Field::with(period(slice.max_us), said_ms(slice.at_ms))),
        ]);
    }
    table(
        "Latency over time",
        "The first round, from left to right, up from zero; the highest slice beside it. Worst: the slowest request, \
         and when.",
        &["subject", "load", "p50", "highest", "p99", "highest", "worst (at)"],
        rows,
    )
}

fn searches(study: &Study) -> Vec<Table> {
    let one = |search: &crate::study::Search| {
        let rows = search.steps.iter().map(|step| {
            let verdict = if step.holds { ("holds", Tone::Good) } else { ("does not", Tone::Bad) };
            vec![
                Field::new(format!("{}/s", short(step.rate))),
                Field::new(format!("{}/s", short(step.achieved))),
                Field::new(period(step.p50_us)),
                Field::new(period(step.p99_us)),
                Field::new(step.failed.to_string()).toned(if step.failed > 0 {
                    Tone::Bad
                } else {
                    Tone::Plain
                }),
                Field::new(verdict.0).toned(verdict.1),
            ]
        });
        // Where all held the search ended at a bound of its own.
        let is_open = search.steps.iter().all(|step| step.holds);
        let open = if is_open { ", and no higher one was tried (--max-rate, --steps)" } else { "" };
        let knee = search.knee.map_or("not even the lowest rate held".into(), |rate| {
            format!("the highest rate that held is {}/s{open}", short(rate))
        });
        table(
            &format!("Search: {}, {}", search.subject, search.scenario),
            &format!("Wanted: {}; {knee}. Rates in the order in which they were tried.", search.condition),
            &["rate", "answered", "p50", "p99", "failed", "verdict"],
            rows.collect(),
        )
    };
    study.searches.iter().filter_map(one).collect()
}

fn thaws(study: &Study) -> Option<Table> {
    let row = |case: &ThawCase<'_>| {
        let count = |place: usize| {
            let (bad, all) = case.failed(place);
            failed(bad as u64, all as u64)
        };
        let later = (1..case.depth()).map(|place| case.failed(place));
        let (bad, all) = later.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let mut fields = vec![
            Field::new(case.subject),
            Field::new(case.label()),
            count(0),
            failed(bad as u64, all as u64),
            middle(case.before(), period),
        ];
        fields.extend((0..THAW_COLUMNS).map(|place| middle(case.latency(place), period)));
        fields
    };
    table(
        "Behind a freeze",
        "The first requests behind each thaw, on a connection kept across it where there is one. A request that was \
         sent while the program was frozen counts from the thaw. Medians, quartiles behind them.",
        &["subject", "freeze", "1st failed", "later failed", "before", "1st", "2nd", "3rd"],
        study.thaw_cases().iter().map(row).collect(),
    )
}

fn failures(study: &Study) -> Option<Table> {
    let mut all: Vec<(&str, String, &str, u64)> = Vec::new();
    let mut note = |subject, case: String, why, count: u64| match all
        .iter_mut()
        .find(|known| (known.0, &known.1, known.2) == (subject, &case, why))
    {
        Some(known) => known.3 += count,
        None => all.push((subject, case, why, count)),
    };
    for case in study.start_cases() {
        for why in case.starts.iter().filter_map(|start| start.failure.as_deref()) {
            note(case.subject, format!("start, {}", case.label()), why, 1);
        }
    }
    for case in study.load_cases() {
        for (count, first) in case.loads.iter().flat_map(|load| load.errors.values()) {
            note(case.subject, case.label(), first.as_str(), *count);
        }
    }
    for case in study.thaw_cases() {
        let requests = case.thaws.iter().flat_map(|thaw| &thaw.requests);
        for why in requests.filter_map(|request| request.failure.as_deref()) {
            note(case.subject, case.label(), why, 1);
        }
    }
    let row = |(subject, case, why, count): (&str, String, &str, u64)| {
        let count = Field::new(count.to_string()).toned(Tone::Bad);
        vec![Field::new(subject), Field::new(case), count, Field::new(why)]
    };
    table(
        "Failures",
        "What failed is counted here and is in no figure of latency.",
        &["subject", "case", "failed", "how"],
        all.into_iter().map(row).collect(),
    )
}
