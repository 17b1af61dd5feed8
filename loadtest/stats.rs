//! From many figures to few: the middle, the spread around it, the mean of ratios.
//!
//! Pure. Medians and quartiles, because a machine that others use too makes
//! outliers, and an outlier says nothing about a proxy.

/// Where figures lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    /// A quarter of the figures lies under it.
    pub(crate) q1: f64,
    pub(crate) median: f64,
    /// A quarter of the figures lies over it.
    pub(crate) q3: f64,
    pub(crate) max: f64,
    /// How many figures there were.
    pub(crate) count: usize,
}

impl Spread {
    /// `None` if there are no figures.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let at = |share: f64| quantile(&values, share);
        Some(Self { min, q1: at(0.25), median: at(0.5), q3: at(0.75), max, count: values.len() })
    }
}

/// What so many of the figures lie under, for each of `shares`. `None` without figures.
pub(crate) fn quantiles<const N: usize>(mut values: Vec<f64>, shares: [f64; N]) -> Option<[f64; N]> {
    values.sort_by(f64::total_cmp);
    (!values.is_empty()).then(|| shares.map(|share| quantile(&values, share)))
}

/// Between the two neighbours of the place, in proportion. `sorted` must not be empty.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = place.floor();
    let (low, high) = (sorted[below as usize], sorted[place.ceil() as usize]);
    low + (high - low) * (place - below)
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: Vec<f64>) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

/// The mean of ratios: half and double cancel out. `None` without figures or with one that is no ratio.
pub(crate) fn geometric_mean(values: &[f64]) -> Option<f64> {
    let is_fine = !values.is_empty() && values.iter().all(|value| *value > 0.0);
    is_fine.then(|| (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_middles() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn quartiles_lie_in_proportion_between_their_neighbours() {
        let spread = Spread::of(vec![5.0, 1.0, 2.0, 4.0, 3.0]).unwrap();
        assert_eq!((spread.min, spread.q1, spread.q3, spread.max, spread.count), (1.0, 2.0, 4.0, 5.0, 5));
        let spread = Spread::of(vec![1.0, 2.0]).unwrap();
        assert_eq!((spread.q1, spread.median, spread.q3), (1.25, 1.5, 1.75));
        let spread = Spread::of(vec![7.0]).unwrap();
        assert_eq!((spread.min, spread.q1, spread.median, spread.max), (7.0, 7.0, 7.0, 7.0));
    }

    #[test]
    fn quantiles_need_no_order_but_figures() {
        assert_eq!(quantiles(vec![3.0, 1.0, 2.0], [0.0, 0.75, 1.0]), Some([1.0, 2.5, 3.0]));
        assert_eq!(quantiles(vec![], [0.5]), None);
    }

    #[test]
    fn half_and_double_cancel_out() {
        assert!((geometric_mean(&[0.5, 2.0]).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(geometric_mean(&[]), None);
        assert_eq!(geometric_mean(&[1.0, 0.0]), None);
    }
}
