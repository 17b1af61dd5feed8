//! What each peer is told: the settings that somebody who knows it would choose for this job.
//!
//! Kept connections are never closed for having served enough, timers run (an
//! hour), every request gets an id where the proxy can give one, nothing is
//! logged. Sizes of buffers are those that were measured best for bodies: with
//! nginx's defaults, which put bodies into files, 1 MiB costs it twice as much.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::target::Target;

/// What a configuration depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    /// Where the workers listen.
    pub(crate) workers: &'a [Target],
    /// Where to accept connections.
    pub(crate) listen: &'a [SocketAddr],
    /// Threads, or processes where the proxy has none.
    pub(crate) threads: u32,
    /// Requests that one worker may hold at once; as many as come if `None`.
    pub(crate) slots: Option<u32>,
    /// Whether we are root, whose workers could not open the sockets as anybody else.
    pub(crate) is_root: bool,
}

impl Terms<'_> {
    /// `unix` is what a path has in front in this proxy's language.
    fn each_worker(&self, unix: &str, line: impl Fn(usize, &str) -> String) -> String {
        let spelled = self.workers.iter().map(|worker| match worker {
            Target::Tcp(address) => address.to_string(),
            Target::Unix(path) => format!("{unix}{}", path.display()),
        });
        spelled.enumerate().map(|(i, worker)| line(i, &worker)).collect()
    }

    fn each_address(&self, line: impl Fn(&SocketAddr) -> String) -> String {
        self.listen.iter().map(line).collect()
    }
}

/// `nginx.conf`.
pub(crate) fn nginx(terms: &Terms<'_>) -> String {
    let user = if terms.is_root { "user root;\n" } else { "" };
    let servers = terms.each_worker("unix:", |_, worker| format!("    server {worker};\n"));
    // One listening socket per process, once there are several: else one of them takes most connections.
    let reuse = if terms.threads > 1 { " reuseport" } else { "" };
    let listen = terms.each_address(|address| format!("    listen {address} backlog=4096{reuse};\n"));
    let threads = terms.threads;
    format!(
        "{user}worker_processes {threads};
daemon off;
pid nginx.pid;
error_log stderr warn;
events {{ worker_connections 12288; }}
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
{listen}    location / {{
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

/// `haproxy.cfg`. 64 KiB buffers are its optimum for bodies, and pipes of 256 KiB where it splices (with 64 KiB
/// pipes 1 MiB cost it a third more, with large buffers beside them more again); 256 fields because 96 and its own pass the default
/// 101; limits that are not strict because it reserves two descriptors for each of the connections it might get.
pub(crate) fn haproxy(terms: &Terms<'_>, splices: bool) -> String {
    let slots = terms.slots.map_or(String::new(), |slots| format!(" maxconn {slots}"));
    let servers = terms.each_worker("unix@", |i, worker| format!("  server worker{i} {worker}{slots}\n"));
    let binds = terms.each_address(|address| format!("  bind {address} backlog 4096\n"));
    let (sizes, splice) = if splices {
        (
            "  tune.pipesize 262144\n",
            "  option splice-auto\n  option splice-request\n  option splice-response\n",
        )
    } else {
        ("  tune.bufsize 65536\n", "")
    };
    let threads = terms.threads;
    format!(
        "global
  nbthread {threads}
  maxconn 10200
  no strict-limits
{sizes}  tune.http.maxhdr 256

defaults
  mode http
  option http-keep-alive
{splice}  http-reuse always
  timeout connect 1h
  timeout client 1h
  timeout server 1h
  timeout http-request 1h
  timeout http-keep-alive 1h
  timeout queue 1h

frontend front
{binds}  unique-id-format %[uuid()]
  unique-id-header X-Request-ID
  default_backend workers

backend workers
  balance roundrobin
  default-server pool-purge-delay 1h pool-max-conn 1024
{servers}"
    )
}

/// `h2o.conf`. Its version in Debian knows one worker per route and has no cheap id: it gets the first socket.
pub(crate) fn h2o(terms: &Terms<'_>) -> String {
    let user = if terms.is_root { "user: root\n" } else { "" };
    let listen = terms
        .each_address(|address| format!("listen:\n  host: {}\n  port: {}\n", address.ip(), address.port()));
    let worker = match terms.workers.first() {
        Some(Target::Tcp(address)) => address.to_string(),
        Some(Target::Unix(path)) => format!("[unix:{}]", path.display()),
        None => String::new(),
    };
    let threads = terms.threads;
    format!(
        "{user}num-threads: {threads}
max-connections: 12288
{listen}http1-request-timeout: 3600
http1-upgrade-to-http2: OFF
limit-request-body: 1073741824
proxy.timeout.io: 3600000
proxy.timeout.keepalive: 3600000
proxy.preserve-host: ON
proxy.emit-x-forwarded-headers: OFF
proxy.emit-via-header: OFF
hosts:
  default:
    paths:
      \"/\":
        proxy.reverse.url: \"http://{worker}/\"
"
    )
}

/// `Caddyfile`. Its threads are bounded by GOMAXPROCS.
pub(crate) fn caddy(terms: &Terms<'_>) -> String {
    let mut hosts = String::new();
    let mut ports: Vec<u16> = Vec::new();
    for address in terms.listen {
        let _ = write!(hosts, " {}", address.ip());
        ports.push(address.port());
    }
    let port = ports.first().copied().unwrap_or_default();
    let workers = terms.each_worker("unix/", |_, worker| format!(" {worker}"));
    format!(
        "{{
\tadmin off
\tauto_https off
\tlog {{
\t\tlevel ERROR
\t}}
\tservers {{
\t\tprotocols h1
\t\ttimeouts {{
\t\t\tread_header 1h
\t\t\tread_body 1h
\t\t\twrite 1h
\t\t\tidle 1h
\t\t}}
\t}}
}}

http://:{port} {{
\tbind{hosts}
\treverse_proxy{workers} {{
\t\tlb_policy round_robin
\t\theader_up X-Request-ID {{http.request.uuid}}
\t\ttransport http {{
\t\t\tversions 1.1
\t\t\tcompression off
\t\t\tkeepalive 1h
\t\t\tkeepalive_idle_conns 1024
\t\t\tkeepalive_idle_conns_per_host 1024
\t\t\tread_buffer 64k
\t\t\twrite_buffer 64k
\t\t}}
\t}}
}}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_names_all_addresses_and_sockets() {
        let workers = ["/x/a", "/x/b"].map(|path| Target::Unix(path.into()));
        let listen = [SocketAddr::from(([127, 0, 0, 1], 8080)), SocketAddr::from(([127, 0, 0, 2], 8080))];
        let terms = Terms { workers: &workers, listen: &listen, threads: 2, slots: None, is_root: false };
        let text = nginx(&terms);
        assert!(
            text.contains("listen 127.0.0.2:8080 backlog=4096 reuseport;") && !text.contains("user root")
        );
        assert!(text.contains("server unix:/x/a;") && text.contains("worker_processes 2;"));
        let text = haproxy(&terms, false);
        assert!(text.contains("bind 127.0.0.1:8080 ") && text.contains("unix@/x/b\n"));
        assert!(text.contains("nbthread 2") && !text.contains("splice"));
        let text = haproxy(&Terms { slots: Some(1), ..terms }, true);
        assert!(text.contains("unix@/x/b maxconn 1\n") && text.contains("option splice-response\n"));
        assert!(text.contains("tune.pipesize") && !text.contains("tune.bufsize"));
        let text = h2o(&terms);
        assert!(text.contains("listen:\n  host: 127.0.0.2\n  port: 8080\n") && text.contains("[unix:/x/a]"));
        let text = caddy(&terms);
        assert!(text.contains("http://:8080 {\n\tbind 127.0.0.1 127.0.0.2\n"));
        assert!(text.contains("reverse_proxy unix//x/a unix//x/b {"));
    }

    #[test]
    fn root_says_so_to_those_who_would_become_somebody_else() {
        let terms = Terms { workers: &[], listen: &[], threads: 1, slots: None, is_root: true };
        assert!(nginx(&terms).starts_with("user root;\n"));
        assert!(h2o(&terms).starts_with("user: root\n"));
    }
}
