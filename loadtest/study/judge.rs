//! Whether anything got worse since an older study. Pure.
//!
//! Machines differ, and one machine differs from day to day. Where the subject
//! `direct` was measured the same way in both studies, figures are shares of its
//! median; else they are taken as they are, and the table says so. What is past the
//! threshold is worse only if the quartiles of then and now do not overlap: else it
//! may be chance.

use crate::report::table::{Field, Table, Tone};
use crate::stats::{Spread, median};
use crate::study::Study;
use crate::study::figures::{period, short};

/// Who is nobody's sidecar: the worker itself.
const UNIT: &str = "direct";

/// What became of each figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judgement {
    /// By how much a figure may get worse.
    threshold: f64,
    changes: Vec<Change>,
    lost: Vec<Lost>,
}

/// What a figure is about.
#[derive(Clone, Debug, PartialEq)]
struct About {
    subject: String,
    case: String,
    figure: &'static str,
}

/// One figure then and now.
#[derive(Clone, Debug, PartialEq)]
struct Change {
    about: About,
    unit: Unit,
    then: Spread,
    now: Spread,
    more_is_better: bool,
}

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// Shares of the median of `direct` in the same study.
    OfDirect,
    Microseconds,
    RequestsPerSecond,
}

/// A figure that could not be compared, and why.
#[derive(Clone, Debug, PartialEq)]
struct Lost {
    about: About,
    why: &'static str,
}

/// All values of one figure in one study.
struct Measured {
    about: About,
    values: Vec<f64>,
    unit: Unit,
    more_is_better: bool,
}

/// Compares what both studies measured.
///
/// # Errors
/// They are of different commands; what to do instead.
pub(crate) fn judge(then: &Study, now: &Study, threshold: f64) -> Result<Judgement, String> {
    if then.kind != now.kind {
        return Err(format!(
            "a study of `{}` says nothing about one of `{}`; compare with an older study of the same command",
            then.kind, now.kind
        ));
    }
    let (before, after) = (measured(then), measured(now));
    let (mut changes, mut lost) = (Vec::new(), Vec::new());
    for new in &after {
        match find(&before, &new.about) {
            Some(old) => match change(old, new, &before, &after) {
                Some(change) => changes.push(change),
                None => lost.push(Lost { about: new.about.clone(), why: "not over zero in one of them" }),
            },
            None => lost.push(Lost { about: new.about.clone(), why: "not in the older study" }),
        }
    }
    let gone = before.iter().filter(|old| find(&after, &old.about).is_none());
    lost.extend(gone.map(|old| Lost { about: old.about.clone(), why: "only in the older study" }));
    Ok(Judgement { threshold, changes, lost })
}

fn find<'a>(all: &'a [Measured], about: &About) -> Option<&'a Measured> {
    all.iter().find(|one| one.about == *about)
}

fn change(old: &Measured, new: &Measured, before: &[Measured], after: &[Measured]) -> Option<Change> {
    let about = About { subject: UNIT.into(), ..new.about.clone() };
    let unit_in = |all: &[Measured]| median(find(all, &about)?.values.clone()).filter(|unit| *unit > 0.0);
    let is_other = new.about.subject != UNIT;
    let shares = unit_in(before).zip(unit_in(after)).filter(|_| is_other);
    let of = |values: &[f64], unit: f64| Spread::of(values.iter().map(|value| value / unit).collect());
    let (old_unit, new_unit) = shares.unwrap_or((1.0, 1.0));
    let (then, now) = (of(&old.values, old_unit)?, of(&new.values, new_unit)?);
    (then.median > 0.0 && now.median > 0.0).then(|| Change {
        about: new.about.clone(),
        unit: if shares.is_some() { Unit::OfDirect } else { new.unit },
        then,
        now,
        more_is_better: new.more_is_better,
    })
}

/// Every figure of a study, by what it is about.
fn measured(study: &Study) -> Vec<Measured> {
    let mut all = Vec::new();
    let mut note = |subject: &str, case: String, figure, values: Vec<f64>, unit: Unit| {
        if !values.is_empty() {
            let about = About { subject: subject.to_owned(), case, figure };
            all.push(Measured { about, values, unit, more_is_better: unit == Unit::RequestsPerSecond });
        }
    };
    let in_us = |ms: Vec<f64>| ms.into_iter().map(|ms| ms * 1e3).collect();
    for case in study.start_cases() {
        let (who, label) = (case.subject, case.label());
        note(who, label.clone(), "first byte", in_us(case.first_bytes()), Unit::Microseconds);
        note(who, label.clone(), "warm after", in_us(case.moments(|phases| phases.warm)), Unit::Microseconds);
        note(who, label, "warm latency", case.warm_us(), Unit::Microseconds);
    }
    for case in study.load_cases() {
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            note(case.subject, case.label(), name, case.of_each_run(share), Unit::Microseconds);
        }
    }
    for search in &study.searches {
        let label = format!("{}, {}", search.scenario, search.condition);
        note(
            &search.subject,
            label,
            "highest rate",
            search.knee.into_iter().collect(),
            Unit::RequestsPerSecond,
        );
    }
    for case in study.thaw_cases() {
        note(case.subject, case.label(), "first request", case.latency(0), Unit::Microseconds);
        note(case.subject, case.label(), "second request", case.latency(1), Unit::Microseconds);
    }
    all
}

impl Change {
    /// 0.1: a tenth worse than before, whichever way is worse.
    fn loss(&self) -> f64 {
        if self.more_is_better {
            self.then.median / self.now.median - 1.0
        } else {
            self.now.median / self.then.median - 1.0
        }
    }

    /// Whether the middle halves of then and now have nothing in common.
    fn is_apart(&self) -> bool {
        self.now.q1 > self.then.q3 || self.now.q3 < self.then.q1
    }

    /// `direct` is what others are counted in; itself it shows the machine.
    fn is_judged(&self) -> bool {
        self.about.subject != UNIT
    }

    fn is_worse(&self, threshold: f64) -> bool {
        self.is_judged() && self.loss() > threshold && self.is_apart()
    }

    fn verdict(&self, threshold: f64) -> Field {
        let (text, tone) = match () {
            () if !self.is_judged() => ("the machine", Tone::Faint),
            () if self.is_worse(threshold) => ("WORSE", Tone::Bad),
            () if self.loss() > threshold => ("within the noise", Tone::Plain),
            () if self.loss() < -threshold && self.is_apart() => ("better", Tone::Good),
            () => ("fine", Tone::Good),
        };
        Field::new(text).toned(tone)
    }

    fn said(&self, spread: &Spread) -> Field {
        let say = |value: f64| match self.unit {
            Unit::OfDirect => short(value),
            Unit::Microseconds => period(value),
            Unit::RequestsPerSecond => format!("{}/s", short(value)),
        };
        let unit = if self.unit == Unit::OfDirect { " × direct" } else { "" };
        let aside = format!("{} to {}", say(spread.q1), say(spread.q3));
        let aside = if spread.count > 1 { aside } else { String::new() };
        Field::with(format!("{}{unit}", say(spread.median)), aside)
    }
}

impl Judgement {
    /// Nothing got worse, and there was something to compare.
    pub(crate) fn is_fine(&self) -> bool {
        let mut judged = self.changes.iter().filter(|change| change.is_judged()).peekable();
        judged.peek().is_some() && !judged.any(|change| change.is_worse(self.threshold))
    }

    /// What changed, and what could not be compared.
    pub(crate) fn tables(&self) -> Vec<Table> {
        let header = ["subject", "case", "figure", "then", "now", "change", "verdict"].map(String::from);
        let rows = self.changes.iter().map(|change| {
            vec![
                Field::new(&change.about.subject),
                Field::new(&change.about.case),
                Field::new(change.about.figure),
                change.said(&change.then),
                change.said(&change.now),
                Field::new(format!("{:+.1} %", (change.now.median / change.then.median - 1.0) * 100.0)),
                change.verdict(self.threshold),
            ]
        });
        let absolute = self
            .changes
            .iter()
            .filter(|change| change.is_judged() && change.unit == Unit::Microseconds)
            .count();
        let unit = match absolute {
            0 => "Figures are shares of those of `direct` in the same study.".to_owned(),
            some => format!(
                "Figures are shares of those of `direct` where both studies have it; {some} in absolute time, which \
                 compares machines as well."
            ),
        };
        let note = format!(
            "{unit} Worse: by more than {:.1} %, and the quartiles do not overlap.",
            self.threshold * 100.0
        );
        let title = "Since the older study".to_owned();
        let mut tables = vec![Table { title, note, header: header.into(), rows: rows.collect() }];
        let lost: Vec<Vec<Field>> = self
            .lost
            .iter()
            .map(|lost| {
                let About { subject, case, figure } = &lost.about;
                vec![Field::new(subject), Field::new(case), Field::new(*figure), Field::new(lost.why)]
            })
            .collect();
        if !lost.is_empty() {
            tables.push(Table {
                title: "Could not be compared".into(),
                note: String::new(),
                header: ["subject", "case", "figure", "why"].map(String::from).into(),
                rows: lost,
            });
        }
        tables
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::{PageCache, Phases, Start};

    /// A study of starts: first bytes in milliseconds, by subject.
    fn cold(subjects: &[(&str, &[f64])]) -> Study {
        let start = |subject: &str, ms: f64| Start {
            subject: subject.to_owned(),
            round: 0,
            page_cache: PageCache::Kept,
            at_once: 1,
            place: 0,
            phases: Phases { first_byte: Some(ms), ..Phases::default() },
            early: Vec::new(),
            warm_us: None,
            bad_answers: 0,
            failure: None,
        };
        let starts = subjects.iter().flat_map(|(name, all)| all.iter().map(move |ms| start(name, *ms)));
        Study { kind: "cold".into(), starts: starts.collect(), ..Study::default() }
    }

    fn text(judgement: &Judgement) -> String {
        judgement.tables().iter().map(Table::to_text).collect()
    }

    #[test]
    fn beside_direct_only_the_share_counts() {
        let old = cold(&[("direct", &[100.0, 100.0, 100.0]), ("wf", &[110.0, 110.0, 110.0])]);
        // Everything takes twice as long today, and the share grew by 5 %.
        let new = cold(&[("direct", &[200.0, 200.0, 200.0]), ("wf", &[231.0, 231.0, 231.0])]);
        let judgement = judge(&old, &new, 0.1).unwrap();
        assert!(judgement.is_fine(), "{}", text(&judgement));
        assert!(text(&judgement).contains("1.1 × direct"), "{}", text(&judgement));
        assert!(!judge(&old, &new, 0.04).unwrap().is_fine());
    }

    #[test]
    fn without_direct_time_counts_and_the_table_says_so() {
        let (old, new) = (cold(&[("wf", &[100.0])]), cold(&[("wf", &[120.0])]));
        let judgement = judge(&old, &new, 0.1).unwrap();
        assert!(!judgement.is_fine());
        let text = text(&judgement);
        assert!(
            text.contains("1 in absolute time") && text.contains("WORSE") && text.contains("+20.0 %"),
            "{text}"
        );
    }

    #[test]
    fn what_the_spread_explains_is_not_worse() {
        let old = cold(&[("wf", &[80.0, 100.0, 140.0, 150.0])]);
        let new = cold(&[("wf", &[100.0, 135.0, 140.0, 160.0])]);
        let judgement = judge(&old, &new, 0.1).unwrap();
        assert!(judgement.is_fine() && text(&judgement).contains("within the noise"), "{}", text(&judgement));
    }

    #[test]
    fn less_is_worse_where_more_is_better() {
        let at = |knee: f64| {
            let mut study = crate::study::made::made("warm");
            study.loads.clear();
            study.searches.retain(|search| search.subject == "direct");
            study.searches[0].subject = "wf".into();
            study.searches[0].knee = Some(knee);
            study
        };
        assert!(judge(&at(1000.0), &at(1200.0), 0.1).unwrap().is_fine());
        assert!(!judge(&at(1200.0), &at(1000.0), 0.1).unwrap().is_fine());
    }

    #[test]
    fn what_only_one_has_is_named_and_nothing_in_common_is_not_well() {
        let judgement = judge(&cold(&[("old", &[1.0])]), &cold(&[("new", &[1.0])]), 0.1).unwrap();
        let text = text(&judgement);
        assert!(
            text.contains("only in the older study") && text.contains("not in the older study"),
            "{text}"
        );
        assert!(!judgement.is_fine());
        let other = Study { kind: "freeze".into(), ..Study::default() };
        assert!(judge(&other, &cold(&[]), 0.1).unwrap_err().contains("same command"));
    }

    #[test]
    fn direct_itself_is_shown_and_not_judged() {
        let (old, new) =
            (cold(&[("direct", &[1.0]), ("wf", &[1.0])]), cold(&[("direct", &[3.0]), ("wf", &[3.0])]));
        let judgement = judge(&old, &new, 0.1).unwrap();
        assert!(judgement.is_fine() && text(&judgement).contains("the machine"), "{}", text(&judgement));
    }
}
