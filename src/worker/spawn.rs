//! From configuration to a running process: its words, its environment, its address.
//!
//! A worker is told where to listen in every way that programs ask for it: in
//! its arguments (`{socket}`, `{port}`), as `WARMFRONT_SOCKET`, and in the
//! variables that the platform's own runtimes read (`PORT` and two more), which
//! otherwise would lead it to the port that is ours.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::config::{Spawn, Transport};
use crate::error::Problem;
use crate::upstream::pool::{Address, WorkerId};

pub use super::start::LaunchError;
use super::start::{self, Started, start};

/// Longest path of a Unix socket in bytes: `sun_path` holds 108 with its NUL.
pub const SOCKET_PATH_BYTES: usize = 107;

/// Variables that tell a program where to listen, on the platform and elsewhere.
const LISTEN_VARIABLES: [&str; 3] = ["PORT", "FC_SERVER_PORT", "FC_CUSTOM_LISTEN_PORT"];

/// The private directory of the workers' sockets; removed with everything in it on drop.
#[derive(Debug)]
pub struct SocketDir(PathBuf);

impl SocketDir {
    /// Makes `warmfront-<pid>-<random>`, mode 0700, in `parent`.
    ///
    /// # Errors
    /// `parent` is missing or not writable, or its path so long that a socket of
    /// worker number `workers` would not fit.
    pub fn create(parent: &Path, workers: usize) -> Result<Self, Problem> {
        let name = format!("warmfront-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = parent.join(name);
        let longest = path.join(socket_name(WorkerId(u32::try_from(workers).unwrap_or(u32::MAX)), u32::MAX));
        let bytes = longest.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES {
            return Err(Problem::new(
                format!("The socket directory `{}` has too long a path.", parent.display()),
                format!(
                    "A worker's socket in it would need {bytes} bytes; the system allows {SOCKET_PATH_BYTES}."
                ),
                "Set `workers.socket_dir` to a shorter path such as /tmp.",
            ));
        }
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Problem::new(
                format!("No socket directory can be made in `{}`: {error}.", parent.display()),
                "Workers listen on Unix sockets in a private directory there.",
                "Set `workers.socket_dir` to an existing directory that this user may write to.",
            )
        })?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn socket_name(worker: WorkerId, incarnation: u32) -> String {
    format!("w{worker}-{incarnation}.sock")
}

/// A process that was just started.
#[derive(Debug)]
pub struct Launched {
    /// Its pid, which is its process group too.
    pub pid: i32,
    /// Where it was told to listen.
    pub address: Address,
    /// The reading ends of its stdout and stderr.
    pub pipes: [OwnedFd; 2],
}

/// Starts workers; one per pool.
#[derive(Debug)]
pub struct Launcher {
    spawn: Spawn,
    dir: Option<SocketDir>,
}

impl Launcher {
    /// Makes the socket directory, if workers listen on sockets.
    ///
    /// # Errors
    /// See [`SocketDir::create`]; a placeholder that has no value with this transport.
    pub fn new(spawn: Spawn) -> Result<Self, Problem> {
        refuse_useless_placeholder(&spawn)?;
        let dir = match spawn.transport {
            Transport::Socket => Some(SocketDir::create(&spawn.socket_dir, spawn.count)?),
            Transport::Tcp => None,
        };
        Ok(Self { spawn, dir })
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
    /// The program cannot be executed, or the system refuses another process or port.
    pub fn launch(
        &self,
        worker: WorkerId,
        incarnation: u32,
        taken: &[SocketAddr],
    ) -> Result<Launched, LaunchError> {
        let address = self.address(worker, incarnation, taken).map_err(|error| LaunchError {
            problem: Problem::new(
                format!("No free port was found for worker {worker}: {error}."),
                "Each worker listens on a loopback port of its own.",
                "Let workers listen on sockets instead (`--transport socket`).",
            ),
            is_permanent: false,
        })?;
        let words = Words::new(worker, &address);
        let argv: Vec<_> = self.spawn.argv.iter().map(|word| words.fill(word)).collect();
        let env = environment(std::env::vars_os(), &self.spawn.env, &words);
        let Started { pid, pipes } = start(argv, env, self.spawn.cwd.as_deref())?;
        Ok(Launched { pid, address, pipes })
    }

    fn address(&self, worker: WorkerId, incarnation: u32, taken: &[SocketAddr]) -> io::Result<Address> {
        if let Some(dir) = &self.dir {
            return Ok(Address::Unix(dir.path().join(socket_name(worker, incarnation))));
        }
        // A released port can be given out again at once; never tell two workers the same.
        let mut held = Vec::new();
        loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            let address = listener.local_addr()?;
            if !taken.contains(&address) {
                return Ok(Address::Tcp(address));
            }
            held.push(listener);
        }
    }
}

fn refuse_useless_placeholder(spawn: &Spawn) -> Result<(), Problem> {
    let (useless, why, fix) = match spawn.transport {
        Transport::Socket => (
            "{port}",
            "Workers listen on Unix sockets, so there is no port.",
            "Use `{socket}`, or give each worker a loopback port with `--transport tcp`.",
        ),
        Transport::Tcp => (
            "{socket}",
            "Workers listen on loopback ports, so there is no socket.",
            "Use `{port}`, or remove `--transport tcp`.",
        ),
    };
    let is_in = |text: &OsStr| find(text.as_bytes(), useless.as_bytes()).is_some();
    let in_env = spawn.env.iter().find(|(_, value)| is_in(OsStr::new(value))).map(|(name, _)| name.clone());
    let in_argv = spawn.argv.iter().find(|word| is_in(word)).map(|word| word.display().to_string());
    match in_argv.or(in_env) {
        None => Ok(()),
        Some(place) => Err(Problem::new(format!("`{useless}` in `{place}` has no value."), why, fix)),
    }
}

/// The values of the placeholders for one life of one worker.
struct Words {
    worker: WorkerId,
    /// Socket path or port number.
    listen: OsString,
    is_socket: bool,
}

impl Words {
    fn new(worker: WorkerId, address: &Address) -> Self {
        let (listen, is_socket) = match address {
            Address::Unix(path) => (path.clone().into_os_string(), true),
            Address::Tcp(address) => (address.port().to_string().into(), false),
        };
        Self { worker, listen, is_socket }
    }

    /// `text` with every placeholder replaced; what was put in is not looked at again.
    fn fill(&self, text: &OsStr) -> OsString {
        let number = self.worker.to_string();
        let listen_name: &[u8] = if self.is_socket { b"{socket}" } else { b"{port}" };
        let names = [(listen_name, self.listen.as_bytes()), (b"{worker}", number.as_bytes())];
        let (mut rest, mut filled) = (text.as_bytes(), Vec::new());
        while let Some((&first, tail)) = rest.split_first() {
            if let Some((name, value)) = names.iter().find(|(name, _)| rest.starts_with(name)) {
                filled.extend_from_slice(value);
                rest = &rest[name.len()..];
            } else {
                filled.push(first);
                rest = tail;
            }
        }
        OsString::from_vec(filled)
    }
}

/// Inherited, then ours, then the user's: the later wins.
fn environment(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    configured: &[(String, String)],
    words: &Words,
) -> BTreeMap<OsString, OsString> {
    let mut env = start::inherited(inherited);
    for name in LISTEN_VARIABLES {
        env.insert(name.into(), words.listen.clone());
    }
    env.insert("WARMFRONT_WORKER_ID".into(), words.worker.to_string().into());
    // One that we inherited (a sidecar under a sidecar) would name somebody else's socket.
    env.remove(OsStr::new("WARMFRONT_SOCKET"));
    if words.is_socket {
        env.insert("WARMFRONT_SOCKET".into(), words.listen.clone());
    }
    env.extend(configured.iter().map(|(name, value)| (name.into(), words.fill(OsStr::new(value)))));
    env
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;
    use crate::config::CommandChoice;

    fn config(transport: Transport, argv: &[&str], dir: &Path) -> Spawn {
        Spawn {
            argv: argv.iter().map(OsString::from).collect(),
            chosen: CommandChoice::Given,
            count: 2,
            transport,
            env: Vec::new(),
            cwd: None,
            socket_dir: dir.to_owned(),
            grace: Duration::from_secs(1),
            backoff: (Duration::from_millis(1), Duration::from_millis(10)),
            stamp: true,
        }
    }

    fn stdout(launched: Launched) -> String {
        let [stdout, _] = launched.pipes;
        let mut text = String::new();
        fs::File::from(stdout).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_socket_worker_is_told_its_path_in_every_way() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo $0 $PORT $FC_SERVER_PORT $FC_CUSTOM_LISTEN_PORT $WARMFRONT_SOCKET $1 \
                      $WARMFRONT_WORKER_ID $PATH";
        let spawn = config(Transport::Socket, &["sh", "-c", script, "{socket}", "n{worker}{x}"], dir.path());
        let launcher = Launcher::new(spawn).unwrap();
        let launched = launcher.launch(WorkerId(1), 3, &[]).unwrap();
        let Address::Unix(path) = launched.address.clone() else { panic!("a socket") };
        let mode = fs::metadata(path.parent().unwrap()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(path.ends_with("w1-3.sock"));
        let path = path.display().to_string();
        let inherited = std::env::var("PATH").unwrap();
        assert_eq!(
            stdout(launched).trim(),
            format!("{path} {path} {path} {path} {path} n1{{x}} 1 {inherited}")
        );
        drop(launcher);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the directory is gone");
    }

    #[test]
    fn a_tcp_worker_is_told_a_free_port_and_no_socket() {
        let dir = tempfile::tempdir().unwrap();
        let spawn = config(
            Transport::Tcp,
            &["sh", "-c", "echo $0 $PORT ${WARMFRONT_SOCKET-none}", "{port}"],
            dir.path(),
        );
        let launched = Launcher::new(spawn).unwrap().launch(WorkerId(2), 1, &[]).unwrap();
        let Address::Tcp(address) = launched.address else { panic!("a port") };
        TcpListener::bind(address).unwrap();
        let port = address.port();
        assert_eq!(stdout(launched).trim(), format!("{port} {port} none"));
    }

    #[test]
    fn the_users_own_variable_wins_over_ours() {
        let words = Words::new(WorkerId(7), &Address::Unix("/s/w7-1.sock".into()));
        let configured = [("PORT".to_owned(), "unix:{socket}?{worker}".to_owned())];
        let inherited = [("PORT", "9000"), ("FC_SERVER_PORT", "9000"), ("HOME", "/h")]
            .map(|(name, value)| (name.into(), value.into()));
        let env = environment(inherited.into_iter(), &configured, &words);
        let get = |name: &str| env[OsStr::new(name)].to_str().unwrap();
        assert_eq!(get("PORT"), "unix:/s/w7-1.sock?7");
        assert_eq!(get("FC_SERVER_PORT"), "/s/w7-1.sock");
        assert_eq!(get("HOME"), "/h");
    }

    #[test]
    fn what_was_put_in_is_not_replaced_again() {
        let words = Words::new(WorkerId(1), &Address::Unix("/{worker}/s".into()));
        assert_eq!(words.fill(OsStr::new("{socket}{port}{worker}{")), OsStr::new("/{worker}/s{port}1{"));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let missing = SocketDir::create(&dir.path().join("no"), 1).unwrap_err();
        assert!(missing.what.contains("No such file"), "{missing}");
        let long = SocketDir::create(&dir.path().join("x".repeat(80)), 1).unwrap_err();
        assert!(long.why.contains("107"), "{long}");
    }

    #[test]
    fn a_placeholder_without_a_value_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let problem = Launcher::new(config(Transport::Socket, &["serve", "--port={port}"], dir.path()));
        assert_eq!(problem.unwrap_err().what, "`{port}` in `--port={port}` has no value.");
        let problem = Launcher::new(config(Transport::Tcp, &["serve", "{socket}"], dir.path()));
        assert!(problem.unwrap_err().fix.contains("{port}"));
    }

    #[test]
    fn a_program_that_does_not_exist_is_a_permanent_problem() {
        let dir = tempfile::tempdir().unwrap();
        let launcher =
            Launcher::new(config(Transport::Socket, &["no-such-program-here"], dir.path())).unwrap();
        let error = launcher.launch(WorkerId(1), 1, &[]).unwrap_err();
        assert!(error.is_permanent && error.problem.what.contains("no-such-program-here"), "{error:?}");
    }
}
