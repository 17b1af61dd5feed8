//! What a study says about crashes: one table, one sentence per subject.

use crate::report::table::{Field, Table, Tone};
use crate::stats::Spread;
use crate::study::figures::period;
use crate::study::{Crash, Study};

/// Crashes of each subject, in the order of the subjects.
fn by_subject(study: &Study) -> Vec<(&str, Vec<&Crash>)> {
    let all = study.subjects.iter().map(|subject| {
        let name = subject.name.as_str();
        (name, study.crashes.iter().filter(|crash| crash.subject == name).collect::<Vec<_>>())
    });
    all.filter(|(_, crashes)| !crashes.is_empty()).collect()
}

/// Median with quartiles of the time until answers were good again; `None` if one crash never got there.
fn back_us(crashes: &[&Crash]) -> Option<Spread> {
    let all: Option<Vec<f64>> = crashes.iter().map(|crash| crash.back_ms.map(|ms| ms * 1e3)).collect();
    Spread::of(all?)
}

fn failed(crashes: &[&Crash]) -> u32 {
    crashes.iter().map(|crash| crash.failed).sum()
}

/// Who restarts what has died.
fn restarted_by(crashes: &[&Crash]) -> &'static str {
    if crashes.iter().any(|crash| crash.is_started_again) {
        "the platform"
    } else if back_us(crashes).is_some() {
        "itself"
    } else {
        "nobody"
    }
}

/// The table, if there were crashes.
pub(crate) fn table(study: &Study) -> Option<Table> {
    let row = |(name, crashes): (&str, Vec<&Crash>)| {
        let bad = failed(&crashes);
        let tone = if bad > 0 { Tone::Bad } else { Tone::Good };
        let back = back_us(&crashes).map_or_else(
            || Field::new("not within 5 s").toned(Tone::Bad),
            |spread| {
                Field::with(period(spread.median), format!("{} to {}", period(spread.q1), period(spread.q3)))
            },
        );
        let longest = crashes.iter().map(|crash| crash.longest_us).reduce(f64::max).filter(|us| *us > 0.0);
        let first = crashes.iter().find_map(|crash| crash.first_failure.as_deref()).unwrap_or_default();
        vec![
            Field::new(name),
            Field::new(crashes.len().to_string()),
            Field::new(bad.to_string()).toned(tone),
            back,
            longest.map_or_else(Field::none, |us| Field::new(period(us))),
            Field::new(restarted_by(&crashes)),
            Field::new(first),
        ]
    };
    let rows: Vec<_> = by_subject(study).into_iter().map(row).collect();
    (!rows.is_empty()).then(|| Table {
        title: "Behind a crash".into(),
        note: "The app's process is killed while nothing is in flight, then it is asked every 5 ms until 20 answers in \
               a row are good. Failed: requests of all crashes. With nothing in front of the app the instance is over; \
               it is started again at once, as the platform would."
            .into(),
        header: ["subject", "crashes", "failed", "good again after", "slowest answer", "restarted by", "first failure"]
            .map(String::from)
            .into(),
        rows,
    })
}

/// One sentence for a subject, if it crashed.
pub(crate) fn headline(study: &Study, subject: &str) -> Option<String> {
    let (_, crashes) = by_subject(study).into_iter().find(|(name, _)| *name == subject)?;
    let bad = match failed(&crashes) {
        0 => "no request failed".to_owned(),
        count => format!("{count} requests FAILED"),
    };
    let back = back_us(&crashes).map_or("it did not come back".into(), |spread| {
        format!("good again after {}", period(spread.median))
    });
    Some(format!("behind {} crashes {bad}, {back}", crashes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::SubjectFacts;

    fn crash(subject: &str, failed: u32, back_ms: Option<f64>) -> Crash {
        Crash { subject: subject.into(), failed, back_ms, longest_us: 100.0, ..Crash::default() }
    }

    fn study(crashes: Vec<Crash>) -> Study {
        let subject = |name: &str| SubjectFacts {
            name: name.into(),
            version: String::new(),
            configuration: String::new(),
            is_ours: false,
        };
        Study { subjects: ["nginx", "socket"].map(subject).into(), crashes, ..Study::default() }
    }

    #[test]
    fn a_crash_that_nobody_mends_is_told_from_one_that_costs_nothing() {
        let study = study(vec![
            crash("socket", 0, Some(200.0)),
            crash("nginx", 930, None),
            crash("nginx", 0, Some(1.0)),
            crash("socket", 0, Some(300.0)),
        ]);
        let text = table(&study).unwrap().to_text();
        assert!(text.contains("not within 5 s") && text.contains("nobody"), "{text}");
        assert_eq!(
            headline(&study, "socket").unwrap(),
            "behind 2 crashes no request failed, good again after 250 ms"
        );
        assert_eq!(
            headline(&study, "nginx").unwrap(),
            "behind 2 crashes 930 requests FAILED, it did not come back"
        );
        assert_eq!(headline(&study, "direct"), None);
    }

    #[test]
    fn without_crashes_nothing_is_said() {
        assert_eq!(table(&study(Vec::new())), None);
    }
}
