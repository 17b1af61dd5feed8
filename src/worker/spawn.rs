//! From configuration to a running process that knows where to listen.
//!
//! Which way it is to listen, the ladder says ([`super::ladder`]); here the way becomes a socket, a descriptor or a
//! port, and words (`words`). Where it may be met then is its entrance (`entrance`).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::watch;

use super::entrance::Entrance;
use super::ladder::{Ladder, Means, Rung, Way};
use super::native::{self, Native};
use super::program::{self, Linkage, Reach};
use super::remap::{self, Remapped};
use super::shim::{self, Shim};
use super::socket_dir::SocketDir;
use super::start::{Started, start};
use super::words::Words;
use crate::config::{CommandChoice, Spawn, Transport};
use crate::error::Problem;
use crate::sys::{self, Inherited};
use crate::upstream::pool::{Address, WorkerId};

use super::php_fpm;
pub use super::start::LaunchError;

/// The first descriptor behind the standard ones, by which inherited listeners are known (sd_listen_fds(3)).
const FIRST_FD: i32 = 3;

/// Descriptors below are what scripts use for themselves.
const OUT_OF_THE_WAY: i32 = 199;

/// Connections that may wait for a worker to accept them.
pub(super) const BACKLOG: i32 = 4096;

/// A process that was just started.
#[derive(Debug)]
pub(super) struct Launched {
    /// Its pid, which is its process group too.
    pub(super) pid: i32,
    /// The way that it was told to go.
    pub(super) way: Way,
    /// Where it may be met.
    pub(super) entrance: Entrance,
    /// The reading ends of its stdout and stderr.
    pub(super) pipes: [OwnedFd; 2],
}

/// Starts workers; one per pool.
#[derive(Debug)]
pub struct Launcher {
    spawn: Spawn,
    dir: SocketDir,
    shim: Option<Shim>,
    native: Option<&'static Native>,
    /// The way that is gone now.
    pub(super) ladder: Ladder,
    node: Option<PathBuf>,
}

impl Launcher {
    /// Makes the socket directory and finds the best way in. `ours` is the port that is ours.
    ///
    /// # Errors
    /// No directory of sockets can be made; a way that was asked for and does not exist here.
    pub fn new(spawn: Spawn, ours: u16) -> Result<Self, Problem> {
        let dir = SocketDir::create(&spawn.socket_dir, spawn.count)?;
        let Reach { program, linkage } =
            program::reach(&spawn.argv, variable(&spawn, "PATH").as_deref(), spawn.cwd.as_deref());
        let native = native::of(&spawn.argv, Some(program.as_os_str()));
        let given = given_rung(&spawn);
        // A start that needs neither is not to wait for them.
        let wants_shim = given.is_none_or(|rung| rung == Rung::Shim);
        let shim = wants_shim.then(|| shim::install(dir.path()));
        let means = match &shim {
            None => Means::none(),
            Some(shim) => Means {
                shim: reached(linkage).and(shim.as_ref().map(drop).map_err(ToString::to_string)),
                remap: remap::is_possible().map_err(|error| error.to_string()),
            },
        };
        if let (Some(Rung::Shim), Err(why)) = (given, &means.shim) {
            let fix = match &shim {
                Some(Err(error)) => error.fix(),
                _ => "Choose another way with `--transport`; auto finds the best one.",
            };
            return Err(Problem::new("The bind shim cannot be used here.", format!("{why}."), fix));
        }
        let rung = match given {
            Some(rung) => rung,
            None if native_socket(&spawn, native).is_some() => Rung::Socket,
            None => Ladder::first(&means),
        };
        let ladder = Ladder::new(rung, spawn.port, ours, given.is_none(), means);
        let node = dir.path().join("patience.cjs");
        let is_wanted = native.is_some_and(|native| native.patience().iter().any(|tell| tell.needs_node()));
        let is_fit = !node.to_string_lossy().contains([' ', '"', '\\']);
        let node = (is_wanted && is_fit).then_some(node);
        if let Some(node) = &node {
            fs::write(node, native::NODE_PATIENCE).map_err(|error| no_file(node, &error))?;
        }
        Ok(Self { spawn, dir, shim: shim.and_then(Result::ok), native, ladder, node })
    }

    /// What it was configured with.
    pub fn spawn(&self) -> &Spawn {
        &self.spawn
    }

    /// Starts life number `incarnation` of `worker`. `taken` are ports that other workers were told.
    ///
    /// The worker dies with the calling thread (see [`crate::sys::spawn`]).
    ///
    /// # Errors
    /// The program cannot be executed, or the system refuses another process, socket or port.
    pub(super) fn launch(
        &self,
        worker: WorkerId,
        incarnation: u32,
        taken: &[SocketAddr],
    ) -> Result<Launched, LaunchError> {
        let way = self.ladder.way();
        let place = self.place(way, worker, incarnation, taken).map_err(|error| LaunchError {
            problem: Problem::new(
                format!("Worker {worker} cannot be given a place to listen: {error}."),
                format!("It was to listen {way}."),
                "Raise the limits of this instance (file descriptors), or choose another way (`--transport`).",
            ),
            is_permanent: false,
        })?;
        let Place { words, mut entrance, inherits } = place;
        let argv = words.argv(&self.spawn.argv);
        let argv = php_fpm::completed(self.spawn.php_fpm.as_ref(), argv, worker, entrance.name())?;
        let mut env = words.environment(std::env::vars_os(), &self.spawn.env);
        if let (Rung::Shim, Some(shim), Some(inherited), Address::Unix(path)) =
            (way.rung, &self.shim, &inherits, entrance.name())
        {
            let preloaded = env.get(OsStr::new("LD_PRELOAD")).cloned();
            let fd = inherited.number.unsigned_abs();
            let told = shim.environment(fd, &[way.port], path, preloaded.as_deref());
            let told = told.expect("invariant: one port is not too many");
            env.extend(told.map(|(name, value)| (name.into(), value)));
        }
        let cwd = self.spawn.cwd.as_deref();
        let Started { pid, pipes } = if way.rung == Rung::Remap {
            let (bound, remapped) = watch::channel(Vec::new());
            entrance.remapped = Some(remapped);
            start(argv, env, cwd, inherits, |program| {
                let report = move |remapped: Remapped| bound.send_modify(|bound| bound.push(remapped.bound));
                remap::start(program, vec![way.port], report)
            })?
        } else {
            start(argv, env, cwd, inherits, sys::spawn)?
        };
        Ok(Launched { pid, way, entrance, pipes })
    }

    fn place(&self, way: Way, worker: WorkerId, incarnation: u32, taken: &[SocketAddr]) -> io::Result<Place> {
        let socket = self.dir.socket(worker, incarnation, "sock");
        let patience = self.native.map(Native::patience).unwrap_or_default();
        let mut words = Words {
            worker,
            socket: Some(socket.clone()),
            fd: None,
            port: Some(way.port),
            native: patience
                .iter()
                .filter(|tell| self.node.is_some() || !tell.needs_node())
                .copied()
                .collect(),
            node: self.node.clone(),
        };
        let mut entrance = Entrance::at(Address::Unix(socket.clone()));
        let mut inherits = None;
        match way.rung {
            Rung::Socket => match native_socket(&self.spawn, self.native) {
                Some(told) => words.native.extend(told),
                None => words.port = None,
            },
            Rung::Fd => {
                let listener = bound(&socket)?;
                // Room for one: see [`Entrance::met`].
                listener.listen(0)?;
                let fd = Arc::new(sys::reserve(listener.as_fd(), FIRST_FD)?);
                inherits = Some(Inherited { fd, number: FIRST_FD });
                entrance.held = Some(listener);
                (words.fd, words.socket) = (Some(FIRST_FD), None);
            }
            Rung::Shim => {
                let path = self.dir.socket(worker, incarnation, "shim");
                let fd = sys::reserve(bound(&path)?.as_fd(), OUT_OF_THE_WAY)?;
                let number = std::os::fd::AsRawFd::as_raw_fd(&fd);
                inherits = Some(Inherited { fd: Arc::new(fd), number });
                entrance.addresses.insert(0, Address::Unix(path));
            }
            Rung::Remap => {}
            Rung::Tcp => {
                let address = free_port(taken)?;
                (words.port, words.socket) = (Some(address.port()), None);
                entrance = Entrance { is_anybodys: true, ..Entrance::at(Address::Tcp(address)) };
            }
            Rung::Fixed => {
                let address = Address::Tcp((way.host, way.port).into());
                entrance = Entrance { is_anybodys: true, ..Entrance::at(address) };
            }
        }
        Ok(Place { words, entrance, inherits })
    }
}

/// Where one life is to listen.
struct Place {
    words: Words,
    entrance: Entrance,
    inherits: Option<Inherited>,
}

/// A Unix socket with a name on which nobody listens yet.
fn bound(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// A free port of the loopback that is none of `taken`.
fn free_port(taken: &[SocketAddr]) -> io::Result<SocketAddr> {
    // A released port can be given out again at once; never tell two workers the same.
    let mut held = Vec::new();
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        if !taken.contains(&address) {
            return Ok(address);
        }
        held.push(listener);
    }
}

/// How the program is told of its socket, if it is one that can be and its user has not done so.
fn native_socket(spawn: &Spawn, native: Option<&Native>) -> Option<&'static [native::Tell]> {
    if uses(spawn, "{socket}") {
        return None;
    }
    native?.socket(&spawn.argv, |name| variable(spawn, name))
}

/// What a worker finds in this variable, but for what we put there.
fn variable(spawn: &Spawn, name: &str) -> Option<OsString> {
    let configured = spawn.env.iter().find(|(set, _)| set == name).map(|(_, value)| value.into());
    configured.or_else(|| std::env::var_os(name))
}

/// Whether a preloaded library means something to a program that is linked so.
fn reached(linkage: Linkage) -> Result<(), String> {
    let why = match linkage {
        // Starting it will say what is wrong with an unknown one.
        Linkage::Dynamic | Linkage::Unknown => return Ok(()),
        Linkage::Static => "It is linked statically: no library can be preloaded",
        Linkage::Go => "It is a Go program, which makes its system calls itself",
        Linkage::Privileged => "It gains privileges at its start, so that its loader preloads nothing",
        Linkage::Foreign => "It is for another kind of machine than this one",
    };
    Err(why.to_owned())
}

/// The way that somebody has said; `None` if the best is to be found.
fn given_rung(spawn: &Spawn) -> Option<Rung> {
    match spawn.transport {
        Transport::Socket | Transport::FastCgi => Some(Rung::Socket),
        Transport::Fd => Some(Rung::Fd),
        Transport::Shim => Some(Rung::Shim),
        Transport::Tcp => Some(Rung::Tcp),
        Transport::Auto if is_told_its_socket(spawn) => Some(Rung::Socket),
        Transport::Auto if uses(spawn, "{fd}") => Some(Rung::Fd),
        Transport::Auto => None,
    }
}

/// Whether the command takes a socket from us in any case: our demo, a php-fpm that we configure, or one that says so.
fn is_told_its_socket(spawn: &Spawn) -> bool {
    spawn.chosen == CommandChoice::Demo
        || spawn.php_fpm.as_ref().is_some_and(|fpm| !fpm.is_configured)
        || uses(spawn, "{socket}")
}

/// Whether the command or its variables have this placeholder.
fn uses(spawn: &Spawn, placeholder: &str) -> bool {
    let is_in = |text: &OsStr| {
        text.as_bytes().windows(placeholder.len()).any(|window| window == placeholder.as_bytes())
    };
    spawn.argv.iter().any(|word| is_in(word)) || spawn.env.iter().any(|(_, value)| is_in(OsStr::new(value)))
}

fn no_file(path: &Path, error: &io::Error) -> Problem {
    Problem::new(
        format!("`{}` cannot be written: {error}.", path.display()),
        "What workers are given is in the private directory of their sockets.",
        "Set `workers.socket_dir` to a directory with some room.",
    )
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::time::Duration;

    use super::*;
    use crate::config::Recycle;

    fn config(transport: Transport, argv: &[&str], dir: &Path) -> Spawn {
        Spawn {
            argv: argv.iter().map(OsString::from).collect(),
            chosen: CommandChoice::Given,
            count: 2,
            transport,
            port: 9000,
            env: Vec::new(),
            cwd: None,
            socket_dir: dir.to_owned(),
            grace: Duration::from_secs(1),
            recycle: Recycle::default(),
            backoff: (Duration::from_millis(1), Duration::from_millis(10)),
            stamp: true,
            php_fpm: None,
        }
    }

    fn launcher(transport: Transport, argv: &[&str], dir: &Path) -> Launcher {
        Launcher::new(config(transport, argv, dir), 9000).unwrap()
    }

    fn stdout(launched: Launched) -> String {
        let [stdout, _] = launched.pipes;
        let mut text = String::new();
        fs::File::from(stdout).read_to_string(&mut text).unwrap();
        text.trim().to_owned()
    }

    #[test]
    fn a_socket_worker_is_told_its_path_in_every_way() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo $0 $PORT $FC_SERVER_PORT $FC_CUSTOM_LISTEN_PORT $WARMFRONT_SOCKET $1 \
                      $WARMFRONT_WORKER_ID $PATH";
        let argv = ["sh", "-c", script, "{socket}", "n{worker}{x}"];
        let launcher = launcher(Transport::Socket, &argv, dir.path());
        let launched = launcher.launch(WorkerId(1), 3, &[]).unwrap();
        let Address::Unix(path) = launched.entrance.name().clone() else { panic!("a socket") };
        assert!(path.ends_with("w1-3.sock"));
        let path = path.display().to_string();
        let inherited = std::env::var("PATH").unwrap();
        assert_eq!(stdout(launched), format!("{path} {path} {path} {path} {path} n1{{x}} 1 {inherited}"));
        drop(launcher);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the directory is gone");
    }

    #[test]
    fn a_tcp_worker_is_told_a_free_port_and_no_socket() {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["sh", "-c", "echo $0 $PORT ${WARMFRONT_SOCKET-none}", "{port}"];
        let launched = launcher(Transport::Tcp, &argv, dir.path()).launch(WorkerId(2), 1, &[]).unwrap();
        let &Address::Tcp(address) = launched.entrance.name() else { panic!("a port") };
        TcpListener::bind(address).unwrap();
        let port = address.port();
        assert_eq!(stdout(launched), format!("{port} {port} none"));
    }

    #[test]
    fn an_inherited_listener_is_descriptor_3_of_who_it_is_for() {
        let dir = tempfile::tempdir().unwrap();
        let argv =
            ["sh", "-c", "echo $0 $LISTEN_FDS $((LISTEN_PID == $$)) $(readlink /proc/$$/fd/3)", "{fd}"];
        let launched = launcher(Transport::Auto, &argv, dir.path()).launch(WorkerId(1), 1, &[]).unwrap();
        let text = stdout(launched);
        assert!(text.starts_with("3 1 1 socket:["), "{text}");
    }

    #[test]
    fn a_known_program_is_told_in_its_own_words_unless_its_user_was_faster() {
        let dir = tempfile::tempdir().unwrap();
        let begins = |argv: &[&str]| {
            let ladder = launcher(Transport::Auto, argv, dir.path()).ladder;
            (ladder.way().rung == Rung::Socket, ladder.is_open())
        };
        assert_eq!(begins(&["gunicorn", "app:app"]), (true, true));
        assert_eq!(begins(&["python3", "-m", "uvicorn", "--port", "9000", "app:app"]), (true, true));
        assert_eq!(begins(&["gunicorn", "-b0.0.0.0:9000", "app:app"]), (false, true));
        assert_eq!(begins(&["node", "server.js"]), (false, true));
        assert_eq!(begins(&["server", "--listen", "{socket}"]), (true, false));
    }

    #[test]
    fn a_program_that_does_not_exist_is_a_permanent_problem() {
        let dir = tempfile::tempdir().unwrap();
        let launcher = launcher(Transport::Socket, &["no-such-program-here"], dir.path());
        let error = launcher.launch(WorkerId(1), 1, &[]).unwrap_err();
        assert!(error.is_permanent && error.problem.what.contains("no-such-program-here"), "{error:?}");
    }
}
