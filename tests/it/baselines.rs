//! What the sidecar is for, as numbers: the same application, the same trial, without it and with it.
//!
//! `cargo test --test it baselines:: -- --nocapture` prints them. Names begin with the requirement
//! they check (18: a freeze, and idle connections that end; 25: a client that leaves; 26: a worker
//! that dies). What happens without the sidecar is asserted as well: a trial that everybody passes
//! says nothing.

#![expect(clippy::print_stdout, reason = "the numbers are what these tests are for")]

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::freeze::{Freezer, sit_out};
use crate::support::sidecar::signal;
use crate::support::{Bare, Client, End, Peer, Setup, Sidecar, app, eventually, get};

/// Kept-alive connections of one trial; each is one chance to lose a request.
const CONNECTIONS: usize = 100;

/// When the worker closes an idle connection; Node may add a second.
const KEEP_ALIVE_MS: &str = "1000";

/// Long enough that every idle timer of the worker is over when it wakes.
const FROZEN: Duration = Duration::from_secs(3);

fn node() -> [PathBuf; 2] {
    [PathBuf::from("node"), app("keepalive/server.js")]
}

fn bare() -> Bare {
    Bare::start(node(), &[("KEEP_ALIVE_MS", KEEP_ALIVE_MS)])
}

/// One worker with room for the whole trial and one who looks.
fn sidecar() -> Sidecar {
    let setup = Setup::run(node()).variable("KEEP_ALIVE_MS", KEEP_ALIVE_MS).flag("--workers", "1");
    setup.flag("--concurrency", &(CONNECTIONS + 1).to_string()).start()
}

/// The sidecar and its worker.
fn both(sidecar: &Sidecar) -> [u32; 2] {
    [sidecar.pid(), sidecar.children()[0].0]
}

fn request(method: &str, target: &str, id: &str) -> String {
    let body = if method == "POST" { "Content-Length: 4\r\n\r\nbody" } else { "\r\n" };
    format!("{method} {target} HTTP/1.1\r\nHost: a\r\nx-fc-request-id: {id}\r\n{body}")
}

/// How often each request was run, as the worker counted.
fn executions(port: u16) -> BTreeMap<String, u64> {
    let answer = Client::connect(port).ask(get("/executions"));
    serde_json::from_str(answer.text()).expect("JSON")
}

/// Connections that have all served one request and then send a POST each.
struct Trial {
    name: String,
    port: u16,
    clients: Vec<Client>,
}

/// What came of one trial.
#[derive(Debug, Default)]
struct Tally {
    answered: usize,
    refused: usize,
    closed: usize,
    reset: usize,
    /// Run by the worker, though nobody was told.
    in_vain: usize,
    /// Run more than once.
    repeated: usize,
}

impl Tally {
    fn failed(&self) -> usize {
        self.refused + self.closed + self.reset
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { answered, refused, closed, reset, in_vain, repeated } = self;
        write!(
            f,
            "{} of {} failed ({refused} refused, {closed} closed, {reset} reset; {in_vain} run in vain, {repeated} repeated)",
            self.failed(),
            answered + self.failed()
        )
    }
}

impl Trial {
    /// Opens the connections, and as many behind a sidecar: all are used at the same time.
    fn open(name: impl Into<String>, port: u16) -> Self {
        let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| Client::connect(port)).collect();
        for client in &mut clients {
            client.send(request("GET", "/slow?ms=200", "warm"));
        }
        for client in &mut clients {
            assert_eq!(client.response().status(), 200);
        }
        Self { name: name.into(), port, clients }
    }

    /// Sends a POST over each.
    fn post(&mut self) {
        use std::io::Write as _;
        for (number, client) in self.clients.iter_mut().enumerate() {
            let request = request("POST", "/", &format!("{}-{number}", self.name));
            // Whoever was closed before learns it from the answer that does not come.
            let _ = client.stream.write_all(request.as_bytes());
        }
    }

    /// What came of them.
    fn tally(mut self) -> Tally {
        let outcomes: Vec<Result<u16, End>> =
            self.clients.iter_mut().map(|client| client.outcome().map(|answer| answer.status())).collect();
        let ran = executions(self.port);
        let mut tally = Tally::default();
        for (number, outcome) in outcomes.into_iter().enumerate() {
            let times = ran.get(&format!("{}-{number}", self.name)).copied().unwrap_or_default();
            match outcome {
                Ok(200) => {
                    assert!(times > 0, "answered and never run");
                    tally.answered += 1;
                }
                Ok(_) => tally.refused += 1,
                Err(End::Clean) => tally.closed += 1,
                Err(End::Reset) => tally.reset += 1,
            }
            tally.in_vain += usize::from(outcome != Ok(200) && times > 0);
            tally.repeated += usize::from(times > 1);
        }
        tally
    }
}

// === 18: frozen longer than the worker keeps idle connections ===

/// POSTs sent the moment after the thaw, and POSTs sent while nobody could hear them.
fn freeze(freezer: &Freezer, mut after: Trial, mut during: Trial) -> [(&'static str, Tally); 2] {
    freezer.freeze();
    during.post();
    sit_out(FROZEN);
    freezer.thaw();
    after.post();
    [("sent after the thaw", after.tally()), ("sent while frozen", during.tally())]
}

fn without(way: &str, freezer: &Freezer, bare: &Bare) {
    // Node's expired timers and what was just sent are a race, which Node rarely wins; only on a busy machine
    // does it find the bytes first.
    for round in 1..=ROUNDS {
        let open = |name: &str| Trial::open(format!("{name}{round}"), bare.port);
        let trials = freeze(freezer, open("after"), open("during"));
        for (when, tally) in &trials {
            println!("freeze by {way}, no sidecar, {when}: {tally}");
        }
        if trials.iter().all(|(_, tally)| tally.failed() * 10 >= CONNECTIONS * 9) {
            return;
        }
    }
    panic!("in none of {ROUNDS} freezes by {way} did nearly every POST fail without a sidecar");
}

/// Freezes without a sidecar, one of which must cost nearly every POST.
const ROUNDS: usize = 3;

/// Two sidecars, lest what one trial does helps the other.
fn with(way: &str, freezer: &Freezer, after: &Sidecar, during: &Sidecar) {
    let trials = freeze(freezer, Trial::open("after", after.port), Trial::open("during", during.port));
    for (when, tally) in &trials {
        println!("freeze by {way}, sidecar, {when}: {tally}");
    }
    for (when, tally) in trials {
        assert_eq!((tally.failed(), tally.repeated), (0, 0), "{when}: {tally}");
    }
}

#[test]
fn fc18_without_a_sidecar_a_freeze_by_signals_costs_every_post() {
    let bare = bare();
    without("signals", &Freezer::signals(&[bare.pid()]), &bare);
}

#[test]
fn fc18_a_freeze_by_signals_costs_no_post_whose_sidecar_wakes_first() {
    let (after, during) = (sidecar(), sidecar());
    let order = [both(&after), both(&during)].concat();
    with("signals, sidecar first", &Freezer::signals(&order), &after, &during);
}

#[test]
fn fc18_a_freeze_by_signals_costs_no_post_whose_worker_wakes_first() {
    let (after, during) = (sidecar(), sidecar());
    let mut order = [both(&after), both(&during)].concat();
    order.reverse();
    with("signals, worker first", &Freezer::signals(&order), &after, &during);
}

#[test]
fn fc18_a_freeze_by_the_kernels_freezer_costs_no_post_but_without_a_sidecar_every_one() {
    let (bare, after, during) = (bare(), sidecar(), sidecar());
    let Some(freezer) = Freezer::cgroup(&[bare.pid()]) else {
        println!("freeze by control group: not run, no freezer hierarchy can be written here");
        return;
    };
    let together = Freezer::cgroup(&[both(&after), both(&during)].concat()).expect("as before");
    thread::scope(|scope| {
        scope.spawn(|| without("control group", &freezer, &bare));
        with("control group", &together, &after, &during);
    });
}

// === 18: nobody is frozen, the worker just closes ===

/// Sockets that a process holds.
fn sockets(pid: u32) -> usize {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("alive").flatten();
    let targets = entries.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// A POST over each connection once the worker has closed all that rested.
fn idle(port: u16, worker: u32) -> Tally {
    let before = sockets(worker);
    let mut trial = Trial::open("idle", port);
    eventually("the worker closes what rests", || (sockets(worker) <= before).then_some(()));
    trial.post();
    trial.tally()
}

#[test]
fn fc18_a_worker_that_closes_idle_connections_costs_no_post_but_without_a_sidecar_every_one() {
    let bare = bare();
    let without = idle(bare.port, bare.pid());
    println!("worker closes idle connections, no sidecar: {without}");
    assert!(without.failed() * 10 >= CONNECTIONS * 9, "{without}");
    let sidecar = sidecar();
    let with = idle(sidecar.port, sidecar.children()[0].0);
    println!("worker closes idle connections, sidecar: {with}");
    assert_eq!((with.failed(), with.repeated), (0, 0), "{with}");
}

// === 18 and 38: the platform's kind of client, across a freeze ===

/// Go's POSTs over kept connections, sent while frozen: what it says of them afterwards.
fn go_across(freezer: &Freezer, mut go: Peer) -> Value {
    assert_eq!(go.hear()["statuses"]["200"], CONNECTIONS);
    freezer.freeze();
    go.tell("");
    assert_eq!(go.hear()["event"], "sent");
    sit_out(FROZEN);
    freezer.thaw();
    go.hear()
}

fn go(port: u16) -> Peer {
    Peer::go(port, &["-mode", "idle-post", "-c", &CONNECTIONS.to_string()])
}

#[test]
fn fc38_go_loses_its_posts_across_a_freeze_without_a_sidecar() {
    let bare = bare();
    let loses = |_| {
        let seen = go_across(&Freezer::signals(&[bare.pid()]), go(bare.port));
        println!("Go across a freeze, no sidecar: {seen}");
        seen["statuses"]["200"].as_u64().unwrap_or_default() <= CONNECTIONS as u64 / 10
    };
    assert!((0..ROUNDS).any(loses), "in none of {ROUNDS} freezes did Go lose nearly every POST");
}

#[test]
fn fc38_go_loses_no_post_across_a_freeze_through_the_sidecar() {
    let sidecar = sidecar();
    let seen = go_across(&Freezer::signals(&both(&sidecar)), go(sidecar.port));
    println!("Go across a freeze, sidecar: {seen}");
    assert_eq!(seen["statuses"]["200"], CONNECTIONS, "{seen}");
    assert_eq!(seen["dials"], CONNECTIONS, "on the connections that it had: {seen}");
}

/// fun's event, sent while frozen, on the connection of the one before.
fn fun_across(freezer: &Freezer, port: u16) -> Value {
    let mut fun = Peer::fun(port, 5);
    assert_eq!(fun.ask(r#"{"do":"invoke","event":"before"}"#)["body"], "before");
    freezer.freeze();
    fun.tell(r#"{"do":"invoke","event":"during"}"#);
    sit_out(FROZEN + Duration::from_millis(500));
    freezer.thaw();
    let seen = fun.hear();
    assert_eq!(seen["body"], "during", "{seen}");
    seen
}

#[test]
fn fc38_fun_has_nothing_to_retry_across_a_freeze_through_the_sidecar() {
    // fun's client keeps no connection that the server says it keeps for only a second.
    let keep = [("KEEP_ALIVE_MS", "2000")];
    let bare = Bare::start(node(), &keep);
    let sidecar = Setup::run(node()).variable(keep[0].0, keep[0].1).flag("--workers", "1").start();
    let (without, with) = thread::scope(|scope| {
        // The same race as above.
        let fails = |seen: &Value| seen["failures"].as_array().is_some_and(|failures| failures.len() == 1);
        let trial = || fun_across(&Freezer::signals(&[bare.pid()]), bare.port);
        let without = scope.spawn(move || std::iter::repeat_with(trial).take(ROUNDS).find(fails));
        let with = fun_across(&Freezer::signals(&both(&sidecar)), sidecar.port);
        (without.join().expect("no panic"), with)
    });
    let without = without.expect("in one of the freezes fun had to retry");
    println!("fun across a freeze, no sidecar: {without}");
    println!("fun across a freeze, sidecar: {with}");
    assert_eq!([&with["written"], &with["dials"]], [&Value::from(2), &Value::from(1)], "{with}");
    assert_eq!(with["failures"].as_array().map(Vec::len), Some(0), "{with}");
}

// === 26: killed under load ===

const CLIENTS: usize = 16;

/// POSTs from many clients, `kill` in the middle, and some more from each afterwards. How many
/// failed, of how many that were sent after the death.
fn killed(port: u16, kill: impl FnOnce()) -> (usize, usize) {
    let (answered, failed, dead) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let later = 20;
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = None;
                let mut after = 0;
                while after < later {
                    after += usize::from(dead.load(Ordering::SeqCst));
                    // As a client does that lost its connection.
                    if !try_ask(port, &mut client) {
                        failed.fetch_add(1, Ordering::SeqCst);
                        // Nobody there, nothing to hurry for.
                        thread::yield_now();
                    } else {
                        answered.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        eventually("some load", || (answered.load(Ordering::SeqCst) >= 200).then_some(()));
        kill();
        dead.store(true, Ordering::SeqCst);
    });
    (failed.load(Ordering::SeqCst), CLIENTS * later)
}

/// Whether a POST was answered with 200; a connection that ended is forgotten.
fn try_ask(port: u16, client: &mut Option<Client>) -> bool {
    use std::io::Write as _;
    if client.is_none() {
        *client = Client::try_connect(port);
    }
    let Some(open) = client else { return false };
    let _ = open.stream.write_all(request("POST", "/", "load").as_bytes());
    match open.outcome() {
        Ok(answer) => answer.status() == 200,
        Err(_) => {
            *client = None;
            false
        }
    }
}

#[test]
fn fc26_a_worker_killed_under_load_costs_what_it_held_but_without_a_sidecar_everything() {
    let mut bare = bare();
    let port = bare.port;
    let (failed, later) = killed(port, || bare.kill());
    println!("kill -9 under load, no sidecar: {failed} failed, of {later} sent after it");
    assert!(failed >= later, "{failed}");

    let sidecar = Setup::run(node()).flag("--workers", "2").flag("--concurrency", "8").start();
    sidecar.stderr.wait_for("2 workers are warm");
    let victim = sidecar.children()[0].0;
    let (failed, later) = killed(sidecar.port, || {
        signal(victim, "KILL");
        sidecar.stderr.wait_for(&format!("(pid {victim}) was ended by signal 9"));
    });
    println!("kill -9 under load, sidecar: {failed} failed, with {later} sent after it");
    // The worker held 8 when it was killed. While the system takes it apart, its socket still takes
    // connections that nobody will accept; who got one of those is lost as well. Nobody is twice.
    assert!(failed <= CLIENTS, "{failed}: {:#?}", sidecar.stdout.all());
}

// === 25: a client that leaves ===

/// How long after a client left its request did the worker see it, for each of some rounds,
/// shortest first. The worker's clock counts milliseconds.
fn leave(port: u16) -> Vec<Duration> {
    let mut times: Vec<Duration> = (0..10)
        .map(|round| {
            let id = format!("leave-{round}");
            let mut client = Client::connect(port);
            client.send(request("POST", "/hang", &id));
            eventually("the request at the worker", || executions(port).get(&id).copied());
            drop(client);
            let left = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
            let seen = eventually("the worker's notice", || {
                let aborted: Value =
                    serde_json::from_str(Client::connect(port).ask(get("/aborted")).text()).ok()?;
                aborted.get(&id)?.as_u64()
            });
            Duration::from_millis(seen).saturating_sub(left)
        })
        .collect();
    times.sort();
    times
}

#[test]
fn fc25_a_worker_sees_a_client_leave_as_soon_as_without_a_sidecar() {
    let bare = bare();
    let without = leave(bare.port);
    // Each round needs the slot of the round before.
    let sidecar = Setup::run(node()).flag("--workers", "1").flag("--concurrency", "2").start();
    let with = leave(sidecar.port);
    println!("a client leaves, the worker sees it after: {without:?} without, {with:?} with a sidecar");
    assert!(with[5] < Duration::from_millis(100), "{with:?}");
}
