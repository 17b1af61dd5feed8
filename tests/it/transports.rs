//! Commands as people have them, each reached in the best way that it allows.

use serde_json::Value;

use crate::support::{Setup, Sidecar, app, get};

/// A server of Node that has its port in its source, as the platform's samples do.
fn hard_coded(port: u16) -> String {
    format!(
        "const server = require('http').createServer((request, response) => response.end(JSON.stringify({{\n\
           pid: process.pid, own: request.socket.address(), peer: request.socket.remoteAddress,\n\
           told: process.env.PORT, keepAlive: server.keepAliveTimeout,\n\
         }})));\n\
         server.listen({port}, '0.0.0.0', () => console.log('up'));\n"
    )
}

fn node(port: u16) -> Setup {
    Setup::run(["node", "server.js"]).file("server.js", &hard_coded(port)).with_admin()
}

fn workers(sidecar: &Sidecar) -> Vec<Value> {
    sidecar.admin().json("/workers")["workers"].as_array().expect("a list").clone()
}

fn ask(sidecar: &Sidecar) -> Value {
    serde_json::from_str(sidecar.client().ask(get("/")).text()).expect("JSON")
}

#[test]
fn two_servers_with_the_same_port_in_their_source_run_side_by_side() {
    let sidecar = node(9000).start();
    let mut pids = Vec::new();
    for _ in 0..8 {
        let seen = ask(&sidecar);
        assert_eq!((&seen["own"]["port"], &seen["peer"]), (&9000.into(), &"127.0.0.1".into()), "{seen}");
        assert_eq!(seen["told"], "9000");
        pids.push(seen["pid"].as_u64().unwrap());
    }
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 2);
    for worker in workers(&sidecar) {
        assert_eq!(worker["transport"], "shim");
        assert!(worker["address"].as_str().unwrap().starts_with("unix:"), "{worker}");
    }
    sidecar
        .stderr
        .wait_for("workers listen on Unix sockets, through the bind shim: they think it is port 9000");
}

#[test]
fn node_is_told_not_to_close_connections_that_rest() {
    assert_eq!(ask(&node(9000).start())["keepAlive"], 0);
}

#[test]
fn another_port_than_the_platforms_is_learned_and_the_line_that_saves_it_is_said() {
    let port = free_port();
    let sidecar = node(port).start();
    let line = sidecar.stderr.wait_for("from now on workers listen on Unix sockets");
    assert!(line.contains(&format!("(workers.app_port = {port} saves this start)")), "{line}");
    assert_eq!(ask(&sidecar)["own"]["port"], port);
    let workers = workers(&sidecar);
    assert_eq!(workers.len(), 2);
    for worker in workers {
        assert_eq!((&worker["transport"], &worker["state"]), (&"shim".into(), &"ready".into()), "{worker}");
    }
}

/// One that nobody listens on now.
fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0))
        .expect("a free port")
        .local_addr()
        .expect("an address")
        .port()
}

#[test]
fn a_told_port_needs_no_second_start() {
    let port = free_port();
    let sidecar = node(port).flag("--app-port", &port.to_string()).start();
    assert_eq!(ask(&sidecar)["told"], port.to_string());
    assert!(workers(&sidecar).iter().all(|worker| worker["restarts"] == 0));
}

#[test]
fn an_app_that_knows_of_its_socket_needs_no_shim() {
    let server = "require('http').createServer((request, response) => response.end('mine'))\n\
                  .listen(process.env.WARMFRONT_SOCKET);\n";
    let sidecar = Setup::run(["node", "server.js"]).file("server.js", server).with_admin().start();
    assert_eq!(sidecar.client().ask(get("/")).text(), "mine");
    assert!(workers(&sidecar).iter().all(|worker| worker["transport"] == "socket"));
}

#[test]
fn an_inherited_listener_is_accepted_from() {
    let server = "import os, socket, socketserver\n\
                  from http.server import BaseHTTPRequestHandler\n\
                  assert os.environ['LISTEN_PID'] == str(os.getpid()) and os.environ['LISTEN_FDS'] == '1'\n\
                  class Handler(BaseHTTPRequestHandler):\n\
                  \x20   protocol_version = 'HTTP/1.1'\n\
                  \x20   def address_string(self): return 'unix'\n\
                  \x20   def do_GET(self):\n\
                  \x20       self.send_response(200)\n\
                  \x20       self.send_header('Content-Length', '4')\n\
                  \x20       self.end_headers()\n\
                  \x20       self.wfile.write(b'fd 3')\n\
                  class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer): daemon_threads = True\n\
                  server = Server('', Handler, bind_and_activate=False)\n\
                  server.socket = socket.socket(fileno=3)\n\
                  server.serve_forever()\n";
    let sidecar = Setup::run(["python3", "server.py"])
        .file("server.py", server)
        .flag("--transport", "fd")
        .with_admin()
        .start();
    for _ in 0..20 {
        assert_eq!(sidecar.client().ask(get("/")).text(), "fd 3");
    }
    assert!(workers(&sidecar).iter().all(|worker| worker["transport"] == "fd"));
}

#[test]
fn a_way_that_was_chosen_stays_and_is_explained() {
    let sidecar = Setup::run(["node", "server.js"])
        .file("server.js", &hard_coded(free_port()))
        .flag("--transport", "tcp")
        .flag("--workers", "1")
        .start_cold();
    let line = sidecar.stderr.wait_for("is not ready after 5 s: it listens on 0.0.0.0:");
    assert!(line.contains("WARN"), "{line}");
}

#[test]
fn where_no_library_can_be_loaded_the_next_way_is_gone_without_a_word_from_the_loader() {
    // A directory of sockets on a mount that executes nothing, which nobody but this sidecar sees.
    let mount = "mount -t tmpfs -o noexec none /mnt && exec \"$@\"";
    let setup = Setup::wrapped(&["unshare", "--mount", "sh", "-c", mount, "sh"])
        .worker(["node", "server.js"])
        .file("server.js", &hard_coded(9000))
        .set("workers.socket_dir", "/mnt")
        .with_admin();
    let sidecar = setup.start();
    assert_eq!(ask(&sidecar)["told"], "9000");
    assert!(workers(&sidecar).iter().all(|worker| worker["transport"] == "remap"));
    let said = sidecar.stderr.all().join("\n");
    assert!(!said.contains("preloaded"), "the loader was never asked: {said}");
}

#[test]
fn who_has_no_privileges_is_reached_in_the_same_ways() {
    const NOBODY: u32 = 65534;
    let id = NOBODY.to_string();
    let app = app("go/app-static");
    for (command, way) in [(&["node", "server.js"][..], "shim"), (&[app.to_str().unwrap()], "remap")] {
        let setup = Setup::wrapped(&["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"])
            .worker(command)
            .file("server.js", &hard_coded(9000))
            .flag("--app-port", "9000")
            .with_admin();
        std::os::unix::fs::chown(setup.dir(), Some(NOBODY), Some(NOBODY)).unwrap();
        let sidecar = setup.start();
        assert_eq!(sidecar.client().ask(get("/")).status(), 200);
        let workers = workers(&sidecar);
        assert!(workers.iter().all(|worker| worker["transport"] == way), "{workers:?}");
        let status = std::fs::read_to_string(format!("/proc/{}/status", workers[0]["pid"])).unwrap();
        let is_nobodys = status.contains(&format!("Uid:\t{NOBODY}\t{NOBODY}"));
        assert!(is_nobodys && status.contains("CapEff:\t0000000000000000"), "{status}");
    }
}

#[test]
fn a_second_port_that_only_one_process_can_have_does_not_lead_the_pool_away_from_the_socket() {
    // Metrics, say: bound first, by both.
    let server =
        format!("require('http').createServer(() => {{}}).listen({});\n{}", free_port(), hard_coded(9000));
    let sidecar = Setup::run(["node", "server.js"]).file("server.js", &server).with_admin().start_cold();
    sidecar.stderr.wait_for("it binds an address that is taken");
    sidecar.stderr.wait_for("is in a crash loop");
    let ready =
        workers(&sidecar).into_iter().find(|worker| worker["state"] == "ready").expect("the first one");
    assert_eq!(ready["transport"], "shim");
    assert_eq!(ask(&sidecar)["own"]["port"], 9000);
    let said = sidecar.stderr.all().join("\n");
    assert!(!said.contains("from now on"), "{said}");
}
