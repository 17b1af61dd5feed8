//! What users see when the app's process dies: the next requests, until answers are good again.
//!
//! The process is killed while nothing is in flight, and then asked for something every
//! few milliseconds. Where nothing is in front of the app, the instance is over, and what
//! the platform does is done here: the whole is started again at once.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cpu;
use crate::fork::Moment;
use crate::probe::{Connection, Received};
use crate::stack::{Plan, Stack, Way};
use crate::stop;
use crate::study::Crash;

/// Between two requests.
const EVERY: Duration = Duration::from_millis(5);
/// Good answers in a row, at this pace, that mean it is over.
const IN_A_ROW: u32 = 20;
/// What is not back by then does not come back.
const GIVE_UP: Duration = Duration::from_secs(5);
/// Longest wait for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Kills the app of a stack that runs and is warm, and watches. The stack that runs afterwards is the second part.
///
/// # Errors
/// There is no process to kill.
pub(crate) fn crash(plan: &Plan, mut stack: Stack, request: &[u8]) -> Result<(Crash, Stack), String> {
    let victim = victim(plan.way, &stack).ok_or("no process of the app was found")?;
    let mut client = Client { plan, request, kept: None };
    client.ask().map_err(|why| format!("before the crash: {why}"))?;
    let mut crash = Crash { subject: plan.way.name().into(), ..Crash::default() };
    let began = Moment::now();
    kill(victim)?;
    let (deadline, mut good) = (Instant::now() + GIVE_UP, 0);
    while good < IN_A_ROW && Instant::now() < deadline && !stop::is_requested() {
        let sent = Moment::now();
        crash.requests += 1;
        match client.ask() {
            Ok(_) => {
                let done = Moment::now();
                crash.back_ms.get_or_insert(done.ms_since(began));
                crash.longest_us = crash.longest_us.max(done.us_since(sent));
                good += 1;
            }
            Err(why) => {
                crash.failed += 1;
                crash.first_failure.get_or_insert(why);
                // Back means back for good.
                crash.back_ms = None;
                good = 0;
                if plan.way == Way::Direct && stack.failure().is_some() {
                    crash.is_started_again = true;
                    // What is left of it would hold the port.
                    drop(stack);
                    stack = plan.start().map_err(|error| error.to_string())?;
                }
            }
        }
        stop::pause(EVERY);
    }
    Ok((crash, stack))
}

/// The app's process; one of them, where there are several.
fn victim(way: Way, stack: &Stack) -> Option<u32> {
    let front = stack.front()?.pid();
    match way {
        Way::Direct => Some(front),
        Way::Nginx | Way::Haproxy => stack.first().map(|app| app.pid()),
        Way::Socket | Way::Spare | Way::Tcp | Way::Config => cpu::children(front).ok()?.into_iter().min(),
    }
}

fn kill(pid: u32) -> Result<(), String> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or("no such process")?;
    kill_process(pid, Signal::KILL).map_err(|error| error.to_string())
}

/// Asks on a kept connection, as the platform does, and connects again when that is gone.
struct Client<'a> {
    plan: &'a Plan,
    request: &'a [u8],
    kept: Option<Connection>,
}

impl Client<'_> {
    fn ask(&mut self) -> Result<Received, String> {
        let mut connection = match self.kept.take() {
            Some(connection) => connection,
            None => Connection::open(self.plan.target).map_err(|error| error.to_string())?,
        };
        let (received, _) = connection.ask(self.request, ANSWER_TIMEOUT)?;
        if received.answer.keeps_alive {
            self.kept = Some(connection);
        }
        if received.is_good() { Ok(received) } else { Err(format!("status {}", received.answer.status)) }
    }
}
