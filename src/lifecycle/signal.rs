//! What signals mean: the first asks to drain, the second to leave at once.
//!
//! PIPE is ignored already (std does that at start); CHLD belongs to the supervisor.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Finish what is in flight, then end (TERM or INT, the first time).
    Shutdown {
        /// The signal's number.
        signal: i32,
    },
    /// End now, with 128 + n (TERM or INT, any further time).
    LeaveNow {
        /// The signal's number.
        signal: i32,
    },
    /// USR1: say what has been counted.
    Tally,
    /// HUP: reserved for reading the configuration again; say one line and go on.
    Reload,
}

/// The signals of this process, from now on.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
    usr1: Signal,
    judge: Judge,
}

impl Signals {
    /// Takes the signals over from their default actions. Must be called inside a runtime.
    ///
    /// # Errors
    /// The system refused a handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
            usr1: signal(SignalKind::user_defined1())?,
            judge: Judge::default(),
        })
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    /// No signal is lost, but equal ones that come together count as one.
    pub async fn next(&mut self) -> Request {
        let kind = tokio::select! {
            _ = self.term.recv() => SignalKind::terminate(),
            _ = self.int.recv() => SignalKind::interrupt(),
            _ = self.hup.recv() => SignalKind::hangup(),
            _ = self.usr1.recv() => SignalKind::user_defined1(),
        };
        self.judge.on_signal(kind)
    }
}

/// Whether a shutdown was asked for before.
#[derive(Debug, Default)]
struct Judge {
    is_shutdown: bool,
}

impl Judge {
    fn on_signal(&mut self, kind: SignalKind) -> Request {
        let signal = kind.as_raw_value();
        if kind == SignalKind::user_defined1() {
            Request::Tally
        } else if kind == SignalKind::hangup() {
            Request::Reload
        } else if std::mem::replace(&mut self.is_shutdown, true) {
            Request::LeaveNow { signal }
        } else {
            Request::Shutdown { signal }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_request_to_end_is_obeyed_at_once() {
        let mut judge = Judge::default();
        assert_eq!(judge.on_signal(SignalKind::hangup()), Request::Reload);
        assert_eq!(judge.on_signal(SignalKind::user_defined1()), Request::Tally);
        assert_eq!(judge.on_signal(SignalKind::terminate()), Request::Shutdown { signal: 15 });
        assert_eq!(judge.on_signal(SignalKind::hangup()), Request::Reload);
        assert_eq!(judge.on_signal(SignalKind::interrupt()), Request::LeaveNow { signal: 2 });
    }

    #[tokio::test]
    async fn a_real_signal_is_heard_and_does_not_end_us() {
        let mut signals = Signals::listen().unwrap();
        let kill = |name: &str| {
            let me = std::process::id().to_string();
            assert!(std::process::Command::new("kill").args([name, &me]).status().unwrap().success());
        };
        kill("-HUP");
        assert_eq!(signals.next().await, Request::Reload);
        kill("-TERM");
        assert_eq!(signals.next().await, Request::Shutdown { signal: 15 });
        kill("-TERM");
        assert_eq!(signals.next().await, Request::LeaveNow { signal: 15 });
    }
}
