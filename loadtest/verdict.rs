//! Whether a build got worse since an older report. Pure.
//!
//! Absolute figures of different days compare machines; what is compared is the
//! ratio to a peer (the relay, unless told otherwise) that ran beside the build
//! each time.

use crate::report::Report;

/// One ratio then and now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    pub(crate) cell: String,
    pub(crate) subject: String,
    /// CPU of the subject as a share of the peer's, in the old report.
    pub(crate) old: f64,
    /// The same in the new one.
    pub(crate) new: f64,
}

impl Change {
    /// 0.1: a tenth more than before.
    pub(crate) fn growth(&self) -> f64 {
        self.new / self.old - 1.0
    }

    /// Whether it grew past the threshold.
    pub(crate) fn is_worse(&self, threshold: f64) -> bool {
        self.growth() > threshold
    }
}

/// Every cell and build that both reports measured beside `peer`.
pub(crate) fn changes(old: &Report, new: &Report, peer: &str) -> Vec<Change> {
    let mut changes = Vec::new();
    for cell in &new.cells {
        let Some(before) = old.cell(&cell.name) else { continue };
        for subject in new.ours() {
            let (old, new) = (before.cpu_ratio(subject, peer), cell.cpu_ratio(subject, peer));
            if let Some((old, new)) = old.zip(new) {
                let (cell, subject) = (cell.name.clone(), subject.to_owned());
                changes.push(Change { cell, subject, old: old.median, new: new.median });
            }
        }
    }
    changes
}

/// `8%` or `0.08`.
///
/// # Errors
/// Neither.
pub(crate) fn parse_threshold(text: &str) -> Result<f64, String> {
    let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    match number.trim().parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value / unit),
        _ => Err(format!("`{text}` is no share; try 8%")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn only_a_ratio_that_grew_past_the_threshold_is_worse() {
        let old = report(&[("1k", &[("wf", &[10.0]), ("relay", &[10.0])])]);
        // Everything takes twice as long today; the ratio grew by 5 %.
        let new = report(&[("1k", &[("wf", &[21.0]), ("relay", &[20.0])])]);
        let changes = changes(&old, &new, "relay");
        assert_eq!(changes.len(), 1);
        assert!((changes[0].growth() - 0.05).abs() < 1e-12);
        assert!(!changes[0].is_worse(0.08) && changes[0].is_worse(0.04));
    }

    #[test]
    fn what_one_report_lacks_is_not_compared() {
        let old = report(&[("1k", &[("wf", &[1.0]), ("relay", &[1.0])]), ("1m", &[("wf", &[1.0])])]);
        let new = report(&[("1m", &[("wf", &[1.0]), ("relay", &[1.0])]), ("64k", &[("wf", &[1.0])])]);
        assert_eq!(changes(&old, &new, "relay"), []);
    }

    #[test]
    fn a_threshold_is_a_percentage_or_a_share() {
        assert_eq!((parse_threshold("8%"), parse_threshold("0.08")), (Ok(0.08), Ok(0.08)));
        assert!(parse_threshold("much").is_err() && parse_threshold("-1%").is_err());
    }
}
