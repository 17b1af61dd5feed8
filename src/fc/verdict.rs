//! What several workers' answers to one hook mean for the platform.
//!
//! The platform restarts the instance on a 500, takes any 2xx for success and
//! everything else for a failure that it reports and survives (FC contract §3.3).
//! A restart ends every request in flight, so nobody gets one by accident.

use std::time::Duration;

/// What one worker made of a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answered with this status.
    Status(u16),
    /// It did not within this time.
    TooLate(Duration),
    /// It could not be asked, or what it said was no answer.
    None,
}

impl Answer {
    fn is_success(self) -> bool {
        matches!(self, Self::Status(200..=299))
    }

    /// Of two failures the worse one is told.
    fn weight(self) -> u16 {
        match self {
            Self::Status(status @ 500..) => status,
            Self::None => 3,
            Self::TooLate(_) => 2,
            Self::Status(_) => 1,
        }
    }
}

/// One answer for all: `Ok` if every worker agreed, else the worst of them.
///
/// # Errors
/// The worst answer, and the place of whoever gave it. Nobody asked is [`Answer::None`] of nobody.
pub fn merged(answers: &[Answer]) -> Result<(), (Answer, Option<usize>)> {
    let failed = answers.iter().enumerate().filter(|(_, answer)| !answer.is_success());
    match failed.max_by_key(|(place, answer)| (answer.weight(), usize::MAX - place)) {
        Some((place, &answer)) => Err((answer, Some(place))),
        None if answers.is_empty() => Err((Answer::None, None)),
        None => Ok(()),
    }
}

/// The status that reports a failed hook: 500 if the worker said so and `may_restart` the instance, else 404.
pub fn failure_status(answer: Answer, may_restart: bool) -> u16 {
    match answer {
        Answer::Status(500..) if may_restart => 500,
        _ => 404,
    }
}

#[cfg(test)]
mod tests {
    use super::Answer::{None as Nothing, Status, TooLate};
    use super::*;

    #[test]
    fn fc14_one_failure_fails_a_hook_and_the_worst_one_is_told() {
        let late = TooLate(Duration::from_secs(1));
        for (answers, expected) in [
            (vec![Status(200), Status(204)], Ok(())),
            (vec![Status(200), Status(404)], Err((Status(404), Some(1)))),
            (vec![Status(404), late, Status(200)], Err((late, Some(1)))),
            (vec![late, Nothing], Err((Nothing, Some(1)))),
            (vec![Status(503), Nothing, Status(500)], Err((Status(503), Some(0)))),
            (vec![Status(302)], Err((Status(302), Some(0)))),
            (vec![], Err((Nothing, None))),
        ] {
            assert_eq!(merged(&answers), expected, "{answers:?}");
        }
    }

    #[test]
    fn fc14_nobody_gets_a_restart_by_accident() {
        for answer in [Status(500), Status(503), Status(404), Nothing, TooLate(Duration::ZERO)] {
            assert_eq!(failure_status(answer, false), 404);
        }
        assert_eq!(failure_status(Status(500), true), 500);
        assert_eq!(failure_status(Status(503), true), 500);
        for answer in [Status(404), Nothing, TooLate(Duration::ZERO)] {
            assert_eq!(failure_status(answer, true), 404, "only a worker can ask for it");
        }
    }
}
