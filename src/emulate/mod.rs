//! `warmfront emulate`: the platform on a laptop.
//!
//! It starts a command as Function Compute starts an instance, is the gateway in front of it, freezes it between
//! requests, thaws it, asks its callbacks and destroys it. Whatever runs on the platform can be the command: this
//! program or any other. What is emulated, what is not and where it is known from: `docs/emulate.md`.
//!
//! Everything runs on one thread, so nothing here is locked: the instance is the child of that thread and dies
//! with it.

mod callback;
mod freezer;
mod function_env;
mod gateway;
mod headers;
mod instance;
mod invocation;
mod life;
mod limits;
mod link;
mod log;
pub mod options;
mod payload;
mod process;
mod retry;
mod route;
mod tail;
mod tree;
mod tunnel;

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Bytes;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use self::invocation::Asked;
use self::life::{Emulator, Order};
use self::log::Log;
use self::options::Options;
use crate::clock;
use crate::error::Problem;
use crate::exit;
use crate::id::RequestId;
use crate::lifecycle::signal::{Request, Signals};
use crate::sys;

/// A function that failed where one event was asked for.
const FUNCTION_FAILED: u8 = 1;
/// Pause after an accept that failed, for want of descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Runs until it is told to end, or has had its one event.
///
/// # Errors
/// The system refused something without which nothing can be emulated here.
pub fn run(options: Options) -> Result<ExitCode, Problem> {
    // Before anything is started, and dropped behind everything that could.
    let _reaper = tree::Reaper;
    sys::become_subreaper().map_err(|error| {
        refused(
            &error,
            "Orphans of the instance would get away.",
            "Use a kernel from 3.4 on that allows prctl.",
        )
    })?;
    let event = options.event.as_deref().map(read_event).transpose()?;
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = runtime
        .map_err(|error| refused(&error, "It needs a few descriptors.", "Raise the limit of open files."))?;
    runtime.block_on(async {
        let log = Log::new(event.is_some(), options.json);
        let (emulator, orders) = Emulator::new(options, log)?;
        let watch = Watch::new(orders).map_err(|error| {
            refused(&error, "It has to hear of signals.", "Run it where handlers may be set.")
        })?;
        match event {
            Some(event) => Ok(once(emulator, watch, event).await),
            None => serve(emulator, watch).await,
        }
    })
}

fn refused(error: &io::Error, why: &str, fix: &str) -> Problem {
    Problem::new(format!("The system refused: {error}."), why, fix)
}

/// The event that was named: stdin, a file, or the words themselves.
fn read_event(named: &str) -> Result<Bytes, Problem> {
    let mut event = Vec::new();
    let read = if named == "-" {
        io::stdin().lock().read_to_end(&mut event).map(|_| ())
    } else if Path::new(named).is_file() {
        fs::read(named).map(|bytes| event = bytes)
    } else {
        event = named.as_bytes().to_vec();
        Ok(())
    };
    read.map_err(|error| {
        Problem::new(
            format!("The event `{named}` cannot be read: {error}."),
            "It is sent whole.",
            "Name a file that can be read, `-` for stdin, or write the event itself.",
        )
        .at("--event")
    })?;
    Ok(Bytes::from(event))
}

/// What happens beside requests.
struct Watch {
    signals: Signals,
    children: Signal,
    orders: mpsc::UnboundedReceiver<Order>,
}

impl Watch {
    fn new(orders: mpsc::UnboundedReceiver<Order>) -> io::Result<Self> {
        Ok(Self { signals: Signals::listen()?, children: signal(SignalKind::child())?, orders })
    }

    /// Sees to orders and children until a signal asks to end.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    async fn next(&mut self, emulator: &Rc<Emulator>) -> Request {
        loop {
            tokio::select! {
                biased;
                asked = self.signals.next() => match asked {
                    Request::Tally => {}
                    // The terminal is gone, and nobody could end us from it any more.
                    Request::Reload => return Request::Shutdown { signal: SignalKind::hangup().as_raw_value() },
                    Request::Shutdown { .. } | Request::LeaveNow { .. } => return asked,
                },
                _ = self.children.recv() => {
                    for (pid, status) in sys::reap_all(|_| ()) {
                        emulator.on_exit(pid, status);
                    }
                }
                Some(order) = self.orders.recv() => match order {
                    Order::Rest(instance) => {
                        tokio::task::spawn_local(Rc::clone(emulator).rest(instance));
                    }
                    Order::Destroy(instance, why) => {
                        tokio::task::spawn_local(Rc::clone(emulator).destroy(instance, why));
                    }
                },
            }
        }
    }

    /// Destroys what there is; a second signal cuts that short.
    async fn end(&mut self, emulator: &Rc<Emulator>, why: &'static str, code: ExitCode) -> ExitCode {
        let ending = tokio::task::spawn_local(Rc::clone(emulator).shut_down(why));
        tokio::pin!(ending);
        loop {
            tokio::select! {
                _ = &mut ending => return code,
                asked = self.next(emulator) => if let Request::LeaveNow { signal } = asked {
                    return exit::ExitCode::Signal(u8::try_from(signal).unwrap_or(u8::MAX)).into();
                }
            }
        }
    }
}

/// The gateway, until a signal.
async fn serve(emulator: Rc<Emulator>, mut watch: Watch) -> Result<ExitCode, Problem> {
    let wanted = emulator.options.listen;
    let listener = TcpListener::bind(wanted).await.map_err(|error| {
        Problem::new(
            format!("The gateway cannot listen on {wanted}: {error}."),
            "Clients would not find it.",
            "End who listens there, or say --listen with another address; port 0 lets the system choose.",
        )
        .at("--listen")
    })?;
    let address = listener.local_addr().unwrap_or(wanted);
    emulator.log.note(format_args!(
        "the gateway listens on http://{address}; events go to POST /2023-03-30/functions/{}/invocations",
        emulator.options.function.name
    ));
    tokio::task::spawn_local(Rc::clone(&emulator).watch_health());
    tokio::task::spawn_local(Rc::clone(&emulator).warm_up());
    loop {
        tokio::select! {
            _ = watch.next(&emulator) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    tokio::task::spawn_local(gateway::serve(Rc::clone(&emulator), stream, peer));
                }
                Err(_) => clock::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    Ok(watch.end(&emulator, "asked to end", ExitCode::SUCCESS).await)
}

/// One event, its answer on stdout.
async fn once(emulator: Rc<Emulator>, mut watch: Watch, event: Bytes) -> ExitCode {
    let asked = Asked {
        id: RequestId::generate().as_str().to_owned(),
        method: Method::POST,
        target: "/invoke".to_owned(),
        began: clock::now(),
    };
    let invoking = tokio::task::spawn_local(gateway::invoke(Rc::clone(&emulator), event, asked, None));
    let code = tokio::select! {
        invoked = invoking => {
            let is_success = match invoked {
                Ok((answer, is_success)) => {
                    let body = answer.into_body().collect().await.map(|body| body.to_bytes());
                    body.is_ok_and(|body| print(&body)) && is_success
                }
                Err(_) => false,
            };
            if is_success { ExitCode::SUCCESS } else { ExitCode::from(FUNCTION_FAILED) }
        }
        _ = watch.next(&emulator) => ExitCode::from(FUNCTION_FAILED),
    };
    watch.end(&emulator, "the event is done", code).await
}

/// Whether stdout took it.
fn print(body: &[u8]) -> bool {
    let mut stdout = io::stdout().lock();
    stdout.write_all(body).and_then(|()| stdout.flush()).is_ok()
}
