//! What warmfront is held to, and whether a report says that it holds. Pure.
//!
//! The numbers are in `goals.toml`; a goal is judged by the median, and shown with
//! its spread, so that one can see whether chance could have decided.

use toml_edit::{DocumentMut, Item};

use crate::noslate::fronts::DOCUMENTED;
use crate::report::figures::mean_over_cells;
use crate::report::{Footprint, Report, Sample};
use crate::stats::median;

/// One number that must not be exceeded.
#[derive(Clone, Debug, PartialEq)]
struct Goal {
    subject: Aim,
    limit: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Aim {
    /// CPU in a cell, against a peer.
    Cpu { cell: String, peer: String },
    /// Geometric mean of those.
    Mean { peer: String },
    /// Latency in a cell against the best peer.
    Latency { cell: String, quantile: Figure },
    /// In front of Noslate, against the documented front door.
    Front { cell: String, figure: Figure },
    /// A figure of memory or start.
    Footprint { figure: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Cpu,
    P50,
    P99,
}

impl Figure {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::P50 => "p50",
            Self::P99 => "p99",
        }
    }

    fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Cpu => sample.cpu_us,
            Self::P50 => sample.p50_us,
            Self::P99 => sample.p99_us,
        }
    }
}

/// Everything that warmfront is held to.
#[derive(Debug)]
pub(crate) struct Goals(Vec<Goal>);

/// A goal and what one build made of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// Name of the build.
    pub(crate) subject: String,
    /// The cell, `mean` or `footprint`.
    pub(crate) place: String,
    /// What is measured there, against whom.
    pub(crate) what: String,
    pub(crate) limit: f64,
    /// `None` if the report does not say.
    pub(crate) value: Option<f64>,
    /// Quartiles of the value, where there were rounds.
    pub(crate) quartiles: Option<(f64, f64)>,
}

impl Outcome {
    /// `None` if it was not measured.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.value.map(|value| value <= self.limit)
    }

    /// For tables.
    pub(crate) fn verdict(&self) -> &'static str {
        match self.is_met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "not measured",
        }
    }
}

impl Goals {
    /// The goals of this project.
    ///
    /// # Errors
    /// Why `goals.toml` makes no sense.
    pub(crate) fn ours() -> Result<Self, String> {
        Self::parse(include_str!("goals.toml"))
    }

    /// # Errors
    /// No TOML, an unknown table, or a limit that is no number.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let document: DocumentMut = text.parse().map_err(|error| format!("goals: {error}"))?;
        let mut goals = Vec::new();
        for (table, content) in document.iter() {
            for (key, item) in content.as_table_like().into_iter().flat_map(|table| table.iter()) {
                let aims = match table {
                    "cpu" => {
                        for (peer, item) in item.as_table_like().into_iter().flat_map(|table| table.iter()) {
                            let subject = Aim::Cpu { cell: key.into(), peer: peer.into() };
                            goals.push(Goal { subject, limit: number(peer, item)? });
                        }
                        continue;
                    }
                    "noslate" => {
                        for (name, item) in item.as_table_like().into_iter().flat_map(|table| table.iter()) {
                            let figure = match name {
                                "cpu" => Figure::Cpu,
                                "p99" => Figure::P99,
                                _ => return Err(format!("goals: noslate has no figure `{name}`")),
                            };
                            let subject = Aim::Front { cell: key.into(), figure };
                            goals.push(Goal { subject, limit: number(name, item)? });
                        }
                        continue;
                    }
                    "mean" => vec![Aim::Mean { peer: key.into() }],
                    "latency" => [Figure::P50, Figure::P99]
                        .map(|quantile| Aim::Latency { cell: key.into(), quantile })
                        .into(),
                    "footprint" => vec![Aim::Footprint { figure: key.into() }],
                    _ => return Err(format!("goals: there is no table `{table}`")),
                };
                for subject in aims {
                    goals.push(Goal { subject, limit: number(key, item)? });
                }
            }
        }
        Ok(Self(goals))
    }

    /// Every goal for every build in `report`, except those of cells that nobody asked for.
    pub(crate) fn judge(&self, report: &Report) -> Vec<Outcome> {
        let ours = report.ours();
        // A mean is over the cells of those shares; in a report of other things there is none to miss.
        let has_shares = self.0.iter().any(|goal| match &goal.subject {
            Aim::Cpu { cell, .. } => report.cell(cell).is_some(),
            _ => false,
        });
        let is_asked = |goal: &&Goal| has_shares || !matches!(goal.subject, Aim::Mean { .. });
        let pairs =
            ours.iter().flat_map(|name| self.0.iter().filter(is_asked).map(move |goal| (*name, goal)));
        pairs.filter_map(|(name, goal)| goal.judge(name, report)).collect()
    }
}

fn number(key: &str, item: &Item) -> Result<f64, String> {
    item.as_float()
        .or_else(|| item.as_integer().map(|whole| whole as f64))
        .ok_or_else(|| format!("goals: the limit of `{key}` is no number"))
}

impl Goal {
    fn judge(&self, subject: &str, report: &Report) -> Option<Outcome> {
        let (place, what, value, quartiles) = match &self.subject {
            Aim::Cpu { cell, peer } => {
                let ratio = report.cell(cell)?.cpu_ratio(subject, peer);
                let quartiles = ratio.map(|ratio| (ratio.q1, ratio.q3));
                (cell.as_str(), format!("CPU / {peer}"), ratio.map(|ratio| ratio.median), quartiles)
            }
            Aim::Mean { peer } => {
                let mean = mean_over_cells(report, subject, peer);
                let count = mean.map_or(0, |(_, count)| count);
                // Of one cell there is no mean.
                let value = mean.filter(|_| count > 1).map(|(mean, _)| mean);
                ("mean", format!("CPU / {peer}, {count} cells"), value, None)
            }
            Aim::Latency { cell, quantile } => {
                let (name, figure) = (quantile.name(), |sample: &Sample| quantile.of(sample));
                let result = report.cell(cell)?;
                let is_peer = |peer: &&str| !report.ours().contains(peer) && !peer.starts_with("relay");
                let peers = report.names().into_iter().filter(is_peer);
                let best = peers
                    .filter_map(|peer| Some((peer, result.spread(peer, figure)?.median)))
                    .min_by(|a, b| a.1.total_cmp(&b.1))
                    .map_or("best peer", |(peer, _)| peer);
                let ratio = result.ratio(subject, best, figure);
                let quartiles = ratio.map(|ratio| (ratio.q1, ratio.q3));
                (cell.as_str(), format!("{name} / {best}"), ratio.map(|ratio| ratio.median), quartiles)
            }
            Aim::Front { cell, figure } => {
                let ratio = report.cell(cell)?.ratio(subject, DOCUMENTED, |sample| figure.of(sample));
                let quartiles = ratio.map(|ratio| (ratio.q1, ratio.q3));
                let what = format!("{} / {DOCUMENTED}", figure.name());
                (cell.as_str(), what, ratio.map(|ratio| ratio.median), quartiles)
            }
            Aim::Footprint { figure } => {
                if report.footprints.is_empty() {
                    return None;
                }
                let footprint = report.footprints.iter().find(|footprint| footprint.subject == subject);
                let value = footprint.and_then(|footprint| footprint_figure(footprint, figure));
                ("footprint", figure.clone(), value, None)
            }
        };
        let (subject, place) = (subject.to_owned(), place.to_owned());
        Some(Outcome { subject, place, what, limit: self.limit, value, quartiles })
    }
}

fn footprint_figure(footprint: &Footprint, figure: &str) -> Option<f64> {
    match figure {
        "start_ms" => median(footprint.start_ms.clone()),
        "rss_start_kib" => Some(footprint.rss_start_kib as f64),
        "rss_idle_kib" => Some(footprint.rss_idle_kib as f64),
        "idle_connection_kib" => Some(footprint.per_connection_kib()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn our_goals_name_cells_and_peers_that_exist() {
        use crate::peers::cells::Cells;
        use crate::subjects::Kind;
        let goals = Goals::ours().unwrap().0;
        assert!(goals.len() > 40, "{}", goals.len());
        let footprint = Footprint {
            subject: "a".into(),
            start_ms: vec![1.0],
            rss_start_kib: 1,
            idle: 1,
            rss_idle_kib: 2,
        };
        for goal in goals {
            match goal.subject {
                Aim::Cpu { cell, peer } => {
                    let kind: Kind = peer.parse().unwrap();
                    assert!(cell.parse::<Cells>().unwrap().0[0].includes(&kind), "{cell} {peer}");
                }
                Aim::Mean { peer } => assert!(peer.parse::<Kind>().is_ok()),
                Aim::Latency { cell, .. } => assert!(cell.parse::<Cells>().is_ok()),
                Aim::Front { cell, .. } => {
                    assert!(crate::noslate::CELLS.iter().any(|known| known.name == cell))
                }
                Aim::Footprint { figure } => assert!(footprint_figure(&footprint, &figure).is_some()),
            }
        }
    }

    #[test]
    fn a_goal_is_met_missed_or_not_measured() {
        let goals =
            Goals::parse("[cpu.1k]\nnginx = 0.6\nhaproxy = 0.4\nrelay = 1\n[cpu.1m]\nnginx = 1").unwrap();
        let report =
            report(&[("1k", &[("wf", &[5.0, 6.0, 7.0]), ("nginx", &[10.0; 3]), ("haproxy", &[10.0; 3])])]);
        let outcomes = goals.judge(&report);
        let verdicts: Vec<_> =
            outcomes.iter().map(|outcome| (&outcome.what[..], outcome.verdict())).collect();
        assert_eq!(
            verdicts,
            [("CPU / nginx", "met"), ("CPU / haproxy", "MISSED"), ("CPU / relay", "not measured")]
        );
        let (q1, q3) = outcomes[0].quartiles.unwrap();
        assert!((q1 - 0.55).abs() < 1e-9 && (q3 - 0.65).abs() < 1e-9, "{q1} {q3}");
    }

    #[test]
    fn latency_is_held_against_the_best_peer_and_never_against_a_relay() {
        let goals = Goals::parse("[latency]\n1k = 1.0").unwrap();
        let report =
            report(&[("1k", &[("wf", &[5.0]), ("nginx", &[10.0]), ("haproxy", &[4.0]), ("relay", &[1.0])])]);
        let outcomes = goals.judge(&report);
        assert_eq!((outcomes[0].what.as_str(), outcomes[0].value), ("p50 / haproxy", Some(1.25)));
        assert_eq!((outcomes[1].what.as_str(), outcomes[1].verdict()), ("p99 / haproxy", "MISSED"));
    }

    #[test]
    fn a_front_of_noslate_is_held_against_the_documented_one() {
        let goals = Goals::parse("[noslate.invoke100]\ncpu = 0.35\np99 = 0.6\n[mean]\nnginx = 1").unwrap();
        let report = report(&[("invoke100", &[("wf", &[3.0, 4.0, 5.0]), (DOCUMENTED, &[10.0; 3])])]);
        let outcomes = goals.judge(&report);
        let seen: Vec<_> = outcomes.iter().map(|outcome| (&outcome.what[..], outcome.verdict())).collect();
        assert_eq!(seen, [("CPU / server.js", "MISSED"), ("p99 / server.js", "met")]);
        assert!(Goals::parse("[noslate.invoke100]\np90 = 1").unwrap_err().contains("p90"));
    }

    #[test]
    fn a_table_that_means_nothing_is_refused() {
        assert!(Goals::parse("[cpus]\na = 1").unwrap_err().contains("cpus"));
        assert!(Goals::parse("[mean]\nnginx = \"x\"").unwrap_err().contains("nginx"));
        assert!(Goals::parse("[").is_err());
    }
}
