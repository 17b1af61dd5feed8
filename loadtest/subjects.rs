//! How each proxy is configured and started.
//!
//! Every peer gets what an expert would give it for this job: one thread, kept
//! connections on both sides, no access log, buffers at their measured optimum,
//! an id per request, its timer work on (timeouts of an hour).

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::cpu;
use crate::process::{Cpu, Process, command, find_program, version_line};

/// How long a subject may take to accept its first connection.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// What is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A build of warmfront: what to call it and where it is.
    Warmfront {
        name: String,
        program: PathBuf,
    },
    Nginx,
    Haproxy,
    /// `relay` of this program.
    Relay,
}

impl Kind {
    /// What it is called in tables.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Warmfront { name, .. } => name,
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Relay => "relay",
        }
    }

    /// `BIN` or `NAME=BIN`.
    pub(crate) fn warmfront(text: &str) -> Self {
        let (name, program) = text.split_once('=').unwrap_or(("warmfront", text));
        Self::Warmfront { name: name.to_owned(), program: program.into() }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nginx" => Ok(Self::Nginx),
            "haproxy" => Ok(Self::Haproxy),
            "relay" => Ok(Self::Relay),
            _ => Err(format!("`{text}` is no known peer; there are nginx, haproxy, relay")),
        }
    }
}

/// What all subjects are given.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Private directory for configurations, logs and sockets.
    pub(crate) dir: PathBuf,
    /// The worker sockets.
    pub(crate) sockets: Vec<PathBuf>,
    /// Where the proxy runs.
    pub(crate) cpu: Cpu,
    /// This program.
    pub(crate) own_program: PathBuf,
    /// Further arguments of every warmfront.
    pub(crate) warmfront_args: Vec<String>,
}

/// A proxy that accepts connections.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) address: SocketAddr,
    /// Processes that carry traffic.
    pub(crate) cpu_of: Vec<u32>,
    /// Configuration file or arguments, for the record.
    pub(crate) configuration: String,
    process: Process,
}

impl Subject {
    /// Starts a subject and waits until it accepts connections.
    ///
    /// # Errors
    /// Not installed, not startable, or silent: the reason why it is not measured.
    pub(crate) fn start(kind: &Kind, stage: &Stage) -> Result<Self, String> {
        let name = kind.name().to_owned();
        let address = free_address().map_err(|error| format!("no free port: {error}"))?;
        let dir = stage.dir.join(&name);
        fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let Launch { program, args, configuration, version_flag, stop_args } =
            launch(kind, stage, address, &dir)?;
        let mut start = command(&program, stage.cpu);
        start.args(&args);
        let stop = (!stop_args.is_empty()).then(|| {
            let mut stop = command(&program, None);
            stop.args(&stop_args);
            stop
        });
        let mut process = Process::start(start, dir.join("log"), stop).map_err(|error| error.to_string())?;
        await_accept(&mut process, address)?;
        let cpu_of = match kind {
            Kind::Nginx => await_children(process.pid())?,
            Kind::Warmfront { .. } | Kind::Haproxy | Kind::Relay => vec![process.pid()],
        };
        let version = version_line(&program, version_flag);
        Ok(Self { name, version, address, cpu_of, configuration, process })
    }

    /// Why it can no longer be measured, if so.
    pub(crate) fn failure(&mut self) -> Option<String> {
        let status = self.process.ended()?;
        Some(format!("ended with {status}: {}", self.process.last_words()))
    }
}

struct Launch {
    program: PathBuf,
    args: Vec<String>,
    configuration: String,
    version_flag: &'static str,
    /// Arguments that make the program stop its running self; empty if it may simply be ended.
    stop_args: Vec<String>,
}

fn launch(kind: &Kind, stage: &Stage, address: SocketAddr, dir: &Path) -> Result<Launch, String> {
    let installed = |name: &str| find_program(name).ok_or_else(|| format!("{name} is not installed"));
    let write = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<_, String>(path.display().to_string())
    };
    Ok(match kind {
        Kind::Warmfront { program, .. } => {
            if !program.is_file() {
                return Err(format!("{} does not exist", program.display()));
            }
            let args = warmfront_args(stage, address.port());
            Launch {
                program: program.clone(),
                configuration: args.join(" "),
                args,
                version_flag: "--version",
                stop_args: Vec::new(),
            }
        }
        Kind::Nginx => {
            let program = installed("nginx")?;
            let configuration = nginx_conf(&stage.sockets, address, is_root());
            let file = write("nginx.conf", &configuration)?;
            // `-e`: before the configuration is read, errors would go to a system file.
            let args: Vec<String> =
                ["-p", &dir.display().to_string(), "-e", "stderr", "-c", &file].map(String::from).into();
            let stop_args = [&args[..], &["-s".into(), "stop".into()]].concat();
            Launch { program, args, configuration, version_flag: "-v", stop_args }
        }
        Kind::Haproxy => {
            let program = installed("haproxy")?;
            let configuration = haproxy_cfg(&stage.sockets, address);
            let file = write("haproxy.cfg", &configuration)?;
            let args = vec!["-db".into(), "-f".into(), file];
            Launch { program, args, configuration, version_flag: "-v", stop_args: Vec::new() }
        }
        Kind::Relay => {
            let mut args = vec!["relay".into(), "--listen".into(), address.to_string()];
            args.extend(stage.sockets.iter().flat_map(|path| ["--unix".into(), path.display().to_string()]));
            Launch {
                program: stage.own_program.clone(),
                configuration: args.join(" "),
                args,
                version_flag: "--version",
                stop_args: Vec::new(),
            }
        }
    })
}

fn warmfront_args(stage: &Stage, port: u16) -> Vec<String> {
    let mut args = vec!["run".to_owned()];
    args.extend(stage.sockets.iter().flat_map(|path| ["--socket".into(), path.display().to_string()]));
    let port = port.to_string();
    args.extend(
        ["--port", &port, "--access-log", "off", "--concurrency", "100", "--threads", "1"].map(String::from),
    );
    args.extend(stage.warmfront_args.iter().cloned());
    args
}

/// Kept connections are never closed for having served enough. Bodies stream
/// through large buffers instead of waiting in files, like everybody else's: with
/// the defaults a body of 1 MiB costs it about twice as much either way. `user`
/// matters only to root, whose worker could not open the sockets as anybody else.
fn nginx_conf(sockets: &[PathBuf], address: SocketAddr, is_root: bool) -> String {
    let user = if is_root { "user root;\n" } else { "" };
    let servers: String =
        sockets.iter().map(|path| format!("    server unix:{};\n", path.display())).collect();
    format!(
        "{user}worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_header_timeout 1h;
  client_body_timeout 1h;
  send_timeout 1h;
  client_max_body_size 0;
  client_body_buffer_size 256k;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  upstream workers {{
{servers}    keepalive 1024;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
  }}
  server {{
    listen {address} backlog=1024;
    location / {{
      proxy_pass http://workers;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      proxy_buffer_size 16k;
      proxy_buffers 8 64k;
      proxy_busy_buffers_size 256k;
      proxy_set_header X-Request-ID $request_id;
      proxy_connect_timeout 1h;
      proxy_send_timeout 1h;
      proxy_read_timeout 1h;
    }}
  }}
}}
"
    )
}

/// 64 KiB buffers are its optimum for bodies; 256 fields because 96 and its own pass the default 101.
fn haproxy_cfg(sockets: &[PathBuf], address: SocketAddr) -> String {
    let servers: String = sockets
        .iter()
        .enumerate()
        .map(|(i, path)| format!("  server worker{i} unix@{}\n", path.display()))
        .collect();
    format!(
        "global
  nbthread 1
  maxconn 8000
  tune.bufsize 65536
  tune.http.maxhdr 256

defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 1h
  timeout client 1h
  timeout server 1h
  timeout http-request 1h
  timeout http-keep-alive 1h
  timeout queue 1h

frontend front
  bind {address} backlog 1024
  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
  default_backend workers

backend workers
  balance roundrobin
  default-server pool-purge-delay 1h pool-max-conn 1024
{servers}"
    )
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// A port that was free a moment ago; the subject fails visibly if it no longer is.
/// A loopback address whose port nobody uses just now.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Waits until `process` accepts connections at `address`.
pub(crate) fn await_accept(process: &mut Process, address: SocketAddr) -> Result<(), String> {
    await_some(|| {
        if let Some(status) = process.ended() {
            return Some(Err(format!("ended with {status}: {}", process.last_words())));
        }
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok().map(|_| Ok(()))
    })
    .unwrap_or_else(|| Err(format!("does not accept connections: {}", process.last_words())))
}

fn await_children(pid: u32) -> Result<Vec<u32>, String> {
    await_some(|| cpu::children(pid).ok().filter(|pids| !pids.is_empty()))
        .ok_or_else(|| "has no worker process".to_owned())
}

fn await_some<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_can_be_given_a_name() {
        let named = Kind::warmfront("before=/a/warmfront");
        assert_eq!(named, Kind::Warmfront { name: "before".into(), program: "/a/warmfront".into() });
        assert_eq!(Kind::warmfront("/a/warmfront").name(), "warmfront");
        assert!("caddy".parse::<Kind>().is_err());
    }

    #[test]
    fn every_configuration_names_the_address_and_all_sockets() {
        let address = SocketAddr::from(([127, 0, 0, 1], 8080));
        let stage = Stage {
            dir: "/x".into(),
            sockets: vec!["/x/a".into(), "/x/b".into()],
            cpu: None,
            own_program: "/x/bench".into(),
            warmfront_args: vec!["--extra".into()],
        };
        let nginx = nginx_conf(&stage.sockets, address, false);
        let haproxy = haproxy_cfg(&stage.sockets, address);
        assert!(nginx.contains("listen 127.0.0.1:8080 ") && !nginx.contains("user root"));
        assert!(nginx.contains("server unix:/x/a;") && nginx.contains("server unix:/x/b;"));
        assert!(haproxy.contains("bind 127.0.0.1:8080 ") && haproxy.contains("unix@/x/b"));
        let args = warmfront_args(&stage, 8080).join(" ");
        assert_eq!(
            args,
            "run --socket /x/a --socket /x/b --port 8080 --access-log off --concurrency 100 --threads 1 --extra"
        );
    }

    #[test]
    fn a_missing_build_is_a_reason_and_not_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let stage = Stage {
            dir: dir.path().into(),
            sockets: Vec::new(),
            cpu: None,
            own_program: "/nowhere".into(),
            warmfront_args: Vec::new(),
        };
        let reason = Subject::start(&Kind::warmfront("/nowhere/warmfront"), &stage).unwrap_err();
        assert!(reason.contains("does not exist"), "{reason}");
    }
}
