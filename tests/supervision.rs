//! Supervision with real processes: what happens to them, and to nobody else.
//!
//! The supervisor waits for *every* child of this process. Hence these tests live
//! in a binary of their own, take turns, and start processes only through it.

// The exemption for tests does not reach their helpers.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use warmfront::config::{CommandChoice, Recycle, Spawn, Transport};
use warmfront::sys;
use warmfront::upstream::pool::{Address, Pool, Publisher, Worker, WorkerId};
use warmfront::worker::Mandate;
use warmfront::worker::report::Report;
use warmfront::worker::supervisor::Supervisor;

/// Longer than anything here takes on a busy machine.
const BOUND: Duration = Duration::from_secs(30);

/// A worker that listens as told and serves until TERM.
const SERVER: &str = "
import os, signal, socket, sys, time
target = os.environ['PORT']
if target.isdigit():
    listener = socket.socket(); listener.bind(('127.0.0.1', int(target)))
else:
    listener = socket.socket(socket.AF_UNIX); listener.bind(target)
listener.listen()
";
const FOREVER: &str = "\nwhile True: time.sleep(600)\n";

/// Runs one test alone in this process, on a runtime and thread of its own.
fn alone(test: impl Future<Output = ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(BOUND, test).await.expect("the test took too long") });
    drop(runtime);
    // What a failed test left behind.
    sys::reap_all(|_| ());
}

/// A supervised pool and everything one can see of it.
struct Room {
    dir: tempfile::TempDir,
    pool: watch::Receiver<Arc<Pool>>,
    reports: UnboundedReceiver<Report>,
    stop: watch::Sender<Mandate>,
    running: JoinHandle<()>,
}

struct Plan {
    argv: Vec<String>,
    count: usize,
    transport: Transport,
    grace: Duration,
    deadline: Duration,
}

fn python(script: &str) -> Plan {
    plan(&["python3", "-c", script])
}

fn plan(argv: &[&str]) -> Plan {
    Plan {
        argv: argv.iter().map(|&word| word.to_owned()).collect(),
        count: 1,
        transport: Transport::Socket,
        grace: Duration::from_secs(20),
        deadline: Duration::from_secs(60),
    }
}

impl Plan {
    fn start(self) -> Room {
        let dir = tempfile::tempdir().unwrap();
        let spawn = Spawn {
            argv: self.argv.into_iter().map(Into::into).collect(),
            chosen: CommandChoice::Given,
            count: self.count,
            transport: self.transport,
            port: 9000,
            env: vec![("ROOM".to_owned(), dir.path().display().to_string())],
            cwd: None,
            socket_dir: dir.path().to_owned(),
            grace: self.grace,
            recycle: Recycle::default(),
            backoff: (Duration::from_millis(2), Duration::from_millis(20)),
            stamp: true,
            php_fpm: None,
        };
        let (publisher, pool) = Publisher::new();
        let (stop, stopped) = watch::channel(Mandate::Run);
        let (sender, reports) = unbounded_channel();
        let supervisor = Supervisor::new(spawn, 2, self.deadline, 9000, publisher).unwrap();
        let running = tokio::spawn(supervisor.run(stopped, sender));
        Room { dir, pool, reports, stop, running }
    }
}

impl Room {
    async fn report(&mut self) -> Report {
        self.reports.recv().await.expect("the supervisor runs")
    }

    /// The next report that `pick` takes; others are skipped.
    async fn find<T>(&mut self, pick: impl Fn(&Report) -> Option<T>) -> T {
        loop {
            let report = self.report().await;
            if let Some(found) = pick(&report) {
                return found;
            }
        }
    }

    /// The pid of the next worker that becomes ready.
    async fn ready(&mut self, id: u32) -> i32 {
        self.find(|report| match report {
            Report::Ready { worker: WorkerId(worker), pid, .. } if *worker == id => *pid,
            _ => None,
        })
        .await
    }

    async fn all_ready(&mut self) {
        self.find(|report| (*report == Report::AllReady).then_some(())).await;
    }

    fn workers(&self) -> Vec<Arc<Worker>> {
        self.pool.borrow().workers().to_vec()
    }

    /// The content of a file that a worker writes, once it is there.
    async fn file(&self, name: &str) -> String {
        let path = self.dir.path().join(name);
        until(|| fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))).await.trim().to_owned()
    }

    async fn stop(self) -> Vec<Report> {
        let Room { dir, mut reports, stop, running, pool } = self;
        stop.send(Mandate::Stop).unwrap();
        running.await.unwrap();
        assert_eq!(pool.borrow().workers().len(), 0);
        let sockets =
            fs::read_dir(dir.path()).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir());
        assert_eq!(sockets.count(), 0, "the socket directory is gone");
        assert_eq!(children(), Vec::<i32>::new(), "no child, no zombie is left");
        let mut rest = Vec::new();
        while let Some(report) = reports.recv().await {
            rest.push(report);
        }
        rest
    }
}

/// Polls until there is an answer; [`alone`] bounds it.
async fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

/// Parent and state of a process; `None` if it does not exist.
fn parent_and_state(pid: i32) -> Option<(i32, char)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}

fn is_gone(pid: i32) -> bool {
    !Path::new("/proc").join(pid.to_string()).exists()
}

/// All children of this process, zombies included.
fn children() -> Vec<i32> {
    let me = i32::try_from(std::process::id()).unwrap();
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|&pid| parent_and_state(pid).is_some_and(|(parent, _)| parent == me)).collect()
}

fn socket(worker: &Worker) -> PathBuf {
    match &worker.address {
        Address::Unix(path) => path.clone(),
        Address::Tcp(address) => panic!("{address} is no socket"),
    }
}

#[test]
fn a_worker_becomes_ready_and_stops_on_term() {
    alone(async {
        let mut room = python(&(SERVER.to_owned() + FOREVER)).start();
        let pid = room.ready(1).await;
        assert_eq!(room.report().await, Report::AllReady);
        assert_eq!(room.pool.borrow().slots(), 2);
        let rest = room.stop().await;
        assert_eq!(rest, [Report::Stopped { worker: WorkerId(1), pid, killed: false }]);
    });
}

#[test]
fn a_killed_worker_comes_back_on_a_new_socket() {
    alone(async {
        let mut room = python(&(SERVER.to_owned() + FOREVER)).start();
        let first = room.ready(1).await;
        let before = room.workers().remove(0);
        sys::kill_group(first, sys::KILL).unwrap();
        let summary = room
            .find(|report| match report {
                Report::Exited { pid, summary, in_flight: 0, .. } if *pid == first => Some(summary.clone()),
                _ => None,
            })
            .await;
        assert!(summary.contains("signal 9 (KILL)"), "{summary}");
        let second = room.ready(1).await;
        let after = room.workers().remove(0);
        assert_ne!(first, second);
        assert!(socket(&before).ends_with("w1-1.sock") && socket(&after).ends_with("w1-2.sock"));
        assert!(!socket(&before).exists(), "the old socket is gone");
        assert!(is_gone(first));
        room.stop().await;
    });
}

#[test]
fn a_dead_worker_leaves_the_pool_at_once_and_the_other_stays() {
    alone(async {
        let mut room = Plan { count: 2, ..python(&(SERVER.to_owned() + FOREVER)) }.start();
        room.all_ready().await;
        let [first, second] = <[_; 2]>::try_from(room.workers()).unwrap();
        assert_eq!((first.id, second.id), (WorkerId(1), WorkerId(2)));
        let mut pool = room.pool.clone();
        pool.mark_unchanged();
        let pid = *children().iter().find(|&&pid| cmdline_env(pid, "WARMFRONT_WORKER_ID") == "1").unwrap();
        sys::kill_group(pid, sys::KILL).unwrap();
        pool.changed().await.unwrap();
        let left = pool.borrow().workers().to_vec();
        assert!(left.len() == 1 && Arc::ptr_eq(&left[0], &second), "the other worker is untouched");
        room.ready(1).await;
        let now = room.workers();
        assert!(!Arc::ptr_eq(&now[0], &first) && Arc::ptr_eq(&now[1], &second));
        room.stop().await;
    });
}

fn cmdline_env(pid: i32, name: &str) -> String {
    let env = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let prefix = format!("{name}=");
    let pairs = env.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    pairs.filter_map(|pair| pair.strip_prefix(&prefix).map(str::to_owned)).next().unwrap_or_default()
}

#[test]
fn a_crash_loop_is_named_with_its_cause_and_known_to_be_hopeless() {
    alone(async {
        let mut room = plan(&["sh", "-c", "echo first >&2; echo no module named app >&2; exit 3"]).start();
        for _ in 0..5 {
            let Report::Exited { summary, .. } = room.report().await else { panic!("five exits first") };
            assert_eq!(summary, "exited with code 3: first | no module named app");
        }
        let loops = room.report().await;
        assert!(matches!(loops, Report::CrashLoop { worker: WorkerId(1), exits: 5, .. }), "{loops:?}");
        let Report::NeverReady { problem } = room.report().await else { panic!("never ready") };
        assert!(problem.what.contains("no module named app"), "{problem}");
        let Report::Exited { .. } = room.report().await else { panic!("it is still tried") };
        room.stop().await;
    });
}

#[test]
fn one_worker_that_crashes_is_no_reason_to_give_up_the_other() {
    alone(async {
        let script = "import os, sys\nif os.environ['WARMFRONT_WORKER_ID'] == '2': sys.exit(1)\n";
        let mut room = Plan { count: 2, ..python(&(script.to_owned() + SERVER + FOREVER)) }.start();
        room.find(|report| matches!(report, Report::CrashLoop { worker: WorkerId(2), .. }).then_some(()))
            .await;
        until(|| (room.workers().len() == 1).then_some(())).await;
        let rest = room.stop().await;
        assert!(!rest.iter().any(|report| matches!(report, Report::NeverReady { .. })), "{rest:?}");
    });
}

#[test]
fn a_command_that_cannot_be_executed_is_said_once_for_all_workers() {
    alone(async {
        let mut room = Plan { count: 3, ..plan(&["/no/such/server"]) }.start();
        let Report::NeverReady { problem } = room.report().await else { panic!("never ready, at once") };
        assert!(problem.what.contains("`/no/such/server` does not exist"), "{problem}");
        assert_eq!(room.stop().await, [], "nothing is repeated");
    });
}

#[test]
fn a_suspect_leaves_the_pool_until_a_connect_succeeds() {
    alone(async {
        let script = SERVER.to_owned()
            + "
import glob
while not glob.glob(os.environ['ROOM'] + '/close'): time.sleep(0.002)
listener.close(); os.unlink(target)
while not glob.glob(os.environ['ROOM'] + '/open'): time.sleep(0.002)
listener = socket.socket(socket.AF_UNIX); listener.bind(target); listener.listen()
" + FOREVER;
        let mut room = python(&script).start();
        room.all_ready().await;
        let worker = room.workers().remove(0);
        fs::write(room.dir.path().join("close"), "").unwrap();
        until(|| (!socket(&worker).exists()).then_some(())).await;
        worker.suspect();
        assert!(matches!(room.report().await, Report::Gone { worker: WorkerId(1), .. }));
        assert_eq!(room.workers().len(), 0);
        fs::write(room.dir.path().join("open"), "").unwrap();
        assert!(matches!(room.report().await, Report::Back { worker: WorkerId(1), .. }));
        assert!(Arc::ptr_eq(&room.workers()[0], &worker), "the same life goes on");
        assert!(!worker.is_suspect());
        room.stop().await;
    });
}

#[test]
fn a_tcp_worker_is_reached_on_the_port_it_was_told() {
    alone(async {
        let script = SERVER.to_owned() + FOREVER;
        let mut room = Plan { count: 2, transport: Transport::Tcp, ..python(&script) }.start();
        room.all_ready().await;
        let addresses: Vec<_> = room.workers().iter().map(|worker| worker.address.clone()).collect();
        assert!(addresses[0] != addresses[1] && matches!(addresses[0], Address::Tcp(_)));
        room.stop().await;
    });
}

#[test]
fn a_worker_that_ignores_term_is_killed_after_its_grace() {
    alone(async {
        // Ready only once TERM is ignored for sure.
        let script = SERVER.replace("listener.listen()", "")
            + "\nsignal.signal(signal.SIGTERM, signal.SIG_IGN); listener.listen()"
            + FOREVER;
        let grace = Duration::from_millis(100);
        let mut room = Plan { grace, ..python(&script) }.start();
        let pid = room.ready(1).await;
        room.all_ready().await;
        let asked = Instant::now();
        let rest = room.stop().await;
        assert_eq!(rest, [Report::Stopped { worker: WorkerId(1), pid, killed: true }]);
        assert!(asked.elapsed() >= grace);
    });
}

#[test]
fn a_server_behind_a_script_gets_its_grace_when_the_script_dies_first() {
    alone(async {
        // The shell dies of TERM at once; the server needs a moment and says when it is done.
        let begin =
            "import os, signal\nshell = os.getppid()\nsignal.pthread_sigmask(signal.SIG_BLOCK, [15])\n";
        let end = "
signal.sigwait([15])
while os.getppid() == shell: time.sleep(0.002)
open(os.environ['ROOM'] + '/finished', 'w').write('yes\\n')
";
        let slow_end = [begin, SERVER, end].concat();
        let mut room = plan(&["sh", "-c", "python3 -c \"$0\"; exit", &slow_end]).start();
        let pid = room.ready(1).await;
        room.all_ready().await;
        let finished = room.dir.path().join("finished");
        let Room { dir, mut reports, stop, running, .. } = room;
        stop.send(Mandate::Stop).unwrap();
        running.await.unwrap();
        assert!(finished.exists(), "the server finished its work");
        assert_eq!(reports.recv().await, Some(Report::Stopped { worker: WorkerId(1), pid, killed: false }));
        assert_eq!(children(), Vec::<i32>::new());
        drop(dir);
    });
}

#[test]
fn an_orphan_that_left_its_worker_is_reaped() {
    alone(async {
        // Forks twice and leaves the session: nobody of the worker waits for it.
        let script = SERVER.to_owned()
            + "
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(os.environ['ROOM'] + '/orphan', 'w').write(f'{os.getpid()}\\n')
        while not os.path.exists(os.environ['ROOM'] + '/end'): time.sleep(0.002)
    os._exit(0)
os.wait()
" + FOREVER;
        let mut room = python(&script).start();
        room.all_ready().await;
        let orphan: i32 = room.file("orphan").await.parse().unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        until(|| parent_and_state(orphan).filter(|(parent, _)| *parent == me)).await;
        fs::write(room.dir.path().join("end"), "").unwrap();
        until(|| is_gone(orphan).then_some(())).await;
        assert_eq!(room.workers().len(), 1, "its worker is untouched");
        room.stop().await;
    });
}

#[test]
fn the_rest_of_a_group_dies_with_its_leader() {
    alone(async {
        let script = SERVER.to_owned()
            + "
if os.fork() == 0:
    open(os.environ['ROOM'] + '/child', 'w').write(f'{os.getpid()}\\n')
    time.sleep(600)
" + FOREVER;
        let mut room = python(&script).start();
        let leader = room.ready(1).await;
        let child: i32 = room.file("child").await.parse().unwrap();
        // Only the leader; the group is not meant.
        kill_one(leader);
        until(|| is_gone(child).then_some(())).await;
        room.ready(1).await;
        room.stop().await;
    });
}

/// Sends KILL to one process, by a helper whose exit the supervisor reaps.
fn kill_one(pid: i32) {
    drop(Command::new("kill").args(["-KILL", &pid.to_string()]).stdin(Stdio::null()).spawn().unwrap());
}

#[test]
fn a_silent_worker_is_explained_at_its_deadline_and_still_welcome_later() {
    alone(async {
        let script = "
import os, socket, time
while not os.path.exists(os.environ['ROOM'] + '/go'): time.sleep(0.002)
"
        .to_owned()
            + SERVER
            + FOREVER;
        let mut room = Plan { deadline: Duration::from_millis(50), ..python(&script) }.start();
        let problem = room
            .find(|report| match report {
                Report::NotReadyYet { worker: WorkerId(1), problem } => Some(problem.clone()),
                _ => None,
            })
            .await;
        assert!(problem.what.contains("bound nothing yet"), "{problem}");
        fs::write(room.dir.path().join("go"), "").unwrap();
        room.ready(1).await;
        room.stop().await;
    });
}

#[test]
fn a_dropped_supervisor_leaves_no_process() {
    alone(async {
        let mut room = python(&(SERVER.to_owned() + FOREVER)).start();
        let pid = room.ready(1).await;
        room.running.abort();
        assert!(room.running.await.unwrap_err().is_cancelled());
        let reaped = until(|| {
            let reaped = sys::reap_all(|_| ());
            (!reaped.is_empty()).then_some(reaped)
        })
        .await;
        assert_eq!(reaped[0].0, pid);
        assert_eq!(reaped[0].1.signal(), Some(sys::KILL));
        assert_eq!(fs::read_dir(room.dir.path()).unwrap().count(), 0);
    });
}

#[test]
fn reaping_shows_each_process_while_its_number_is_still_taken() {
    #[expect(clippy::zombie_processes, reason = "reaping is what is tested")]
    alone(async {
        let mut pids: Vec<_> = ["exit 0", "exit 7", "kill -TERM $$"]
            .iter()
            .map(|script| {
                let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
                i32::try_from(child.id()).unwrap()
            })
            .collect();
        let mut reaped = Vec::new();
        while reaped.len() < 3 {
            reaped.extend(sys::reap_all(|pid| assert_eq!(parent_and_state(pid).unwrap().1, 'Z')));
            sleep(Duration::from_millis(1)).await;
        }
        reaped.sort_by_key(|(pid, _)| *pid);
        pids.sort_unstable();
        assert_eq!(reaped.iter().map(|(pid, _)| *pid).collect::<Vec<_>>(), pids);
        let ends: Vec<_> = reaped.iter().map(|(_, status)| (status.code(), status.signal())).collect();
        for end in [(Some(0), None), (Some(7), None), (None, Some(15))] {
            assert!(ends.contains(&end), "{ends:?}");
        }
        assert!(pids.into_iter().all(is_gone));
    });
}
