//! The admin: what those who run an instance can see of it, and do to it.
//!
//! Off unless `admin.listen` says where, and never on the platform's port. It has a thread of its own, so that
//! neither supervision nor the data plane waits for it, and works while every slot is taken and during a drain.
//! It reads what others publish: the gate, the phase, the census of workers, counters, the board of requests.

mod answer;
mod door;
mod events;
mod exposition;
pub mod families;
mod groups;
mod now;
mod page;
mod readiness;
mod scrape;
mod view;

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::door::{Bound, Caller, Door, Stream};
use self::scrape::Usages;
pub use self::view::View;
use crate::clock;
use crate::config::{self, Token};
use crate::error::Problem;

/// Connections at a time; further ones wait in the kernel. Some dashboards, a scraper, a person.
const CONNECTIONS_MAX: usize = 64;
/// How long a request's head may take, and a connection may rest.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest head of a request; questions are short.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Pause after an accept that failed, for want of descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A place at which the admin will be asked. Nobody is answered yet.
#[derive(Debug)]
pub struct Listener {
    bound: Bound,
    token: Option<Token>,
}

/// A running admin. Ends, with its socket, when it is dropped.
#[derive(Debug)]
pub struct Handle {
    /// As the log names it.
    pub name: String,
    end: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What questions are answered from; lives on the admin's thread.
struct Admin {
    view: View,
    token: Option<Token>,
    usages: RefCell<Usages>,
    watched: events::Watched,
}

impl Admin {
    fn new(view: View, token: Option<Token>) -> Self {
        Self { view, token, usages: RefCell::default(), watched: events::Watched::default() }
    }

    /// Of an instance in which nothing runs.
    #[cfg(test)]
    fn of_nothing(token: Option<&str>) -> Rc<Self> {
        let second = Duration::from_secs(1);
        let bounds = config::Queue { depth: 1, bytes: 1, timeout: second, newest_first_after: second };
        let gate = crate::proxy::admission::Gate::new(bounds, clock::now());
        let view = View {
            proxy: std::sync::Arc::new(crate::proxy::Proxy::silent(gate)),
            census: crate::worker::census::Census::new().1,
            planes: None,
            processes: tokio::sync::watch::channel(std::sync::Arc::from([])).1,
            config: Vec::new(),
            restarts: crate::worker::restart::Restarts::none(),
            drain: std::sync::Arc::default(),
            began: clock::now(),
            began_unix_secs: 0,
        };
        Rc::new(Self::new(view, token.map(|word| Token::from(word.to_owned()))))
    }
}

impl Listener {
    /// Binds what `config` asks for; `None` if it asks for nothing.
    ///
    /// # Errors
    /// It cannot be bound.
    pub fn bind(config: config::Admin) -> Result<Option<Self>, Problem> {
        let Some(place) = &config.listen else { return Ok(None) };
        Ok(Some(Self { bound: Bound::new(place)?, token: config.token }))
    }

    /// Answers from `view`, on a thread of its own.
    ///
    /// # Errors
    /// The system refused the thread.
    pub fn serve(self, view: View) -> io::Result<Handle> {
        let (end, ended) = watch::channel(false);
        let name = self.bound.name();
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            let admin = Rc::new(Admin::new(view, self.token));
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            let served = runtime.and_then(|runtime| {
                runtime.block_on(async { run(Door::open(self.bound)?, admin, ended).await })
            });
            if let Err(error) = served {
                crate::telemetry::say::error(format_args!("the admin could not start: {error}"));
            }
        })?;
        Ok(Handle { name, end, thread: Some(thread) })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

async fn run(door: Door, admin: Rc<Admin>, mut ended: watch::Receiver<bool>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        // All branches are cancel safe.
        tokio::select! {
            accepted = door.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, caller)) => {
                    connections.spawn_local(serve_connection(stream, caller, Rc::clone(&admin)));
                }
                Err(_) => clock::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
            _ = ended.wait_for(|&ended| ended) => return Ok(()),
        }
    }
}

async fn serve_connection(stream: Stream, caller: Caller, admin: Rc<Admin>) {
    let service = service_fn(move |request| {
        let admin = Rc::clone(&admin);
        async move { Ok::<_, Infallible>(answer::answer(&admin, caller, &request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(HEAD_BYTES_MAX);
    // Whoever broke it knows.
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}
