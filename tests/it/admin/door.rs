//! Who gets in: where the admin listens, and whom it answers.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::support::{Setup, Worker, get, ok};

fn check(variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_warmfront"));
    command.arg("check").env_clear().current_dir("/").envs(variables.iter().copied());
    command.output().expect("the binary starts")
}

#[test]
fn without_being_asked_for_there_is_no_admin() {
    let sidecar = Setup::new().start_ready();
    let said = sidecar.stderr.all();
    assert!(!said.iter().any(|line| line.contains("the admin listens")), "{said:?}");
    let sockets = fs::read_to_string(format!("/proc/{}/net/tcp", sidecar.pid())).expect("alive");
    let own: Vec<String> = fs::read_dir(format!("/proc/{}/fd", sidecar.pid()))
        .expect("alive")
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.trim_end_matches(']').to_owned()))
        .collect();
    let listening = sockets.lines().skip(1).filter(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(3) == Some(&"0A") && fields.get(9).is_some_and(|inode| own.iter().any(|own| own == inode))
    });
    assert_eq!(listening.count(), 1, "the platform's port and no other");
}

#[test]
fn the_platforms_port_never_answers_for_the_admin() {
    let worker = Worker::listen();
    let sidecar = Setup::forward(&[worker.path()]).with_admin_port().start();
    let mut client = sidecar.client();
    client.send(get("/metrics"));
    let mut connection = worker.accept();
    assert_eq!(connection.request().target(), "/metrics");
    connection.send(ok("the worker's own"));
    assert_eq!(client.response().text(), "the worker's own");
    let output = check(&[("WARMFRONT_ADMIN_LISTEN", "127.0.0.1:9000")]);
    assert_eq!(output.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&output.stderr).contains("takes the platform's port"));
}

#[test]
fn a_page_of_anybody_cannot_read_it_through_a_name_that_points_here() {
    let sidecar = Setup::new().with_admin_port().start_ready();
    let admin = sidecar.admin();
    for host in ["localhost", "127.0.0.1:9901", "[::1]:9901", "LOCALHOST:1"] {
        assert_eq!(
            admin.raw(&format!("GET /config HTTP/1.1\r\nHost: {host}\r\n\r\n")).status(),
            200,
            "{host}"
        );
    }
    for lines in [
        "Host: evil.example\r\n",
        "Host: evil.example:9901\r\n",
        "Host: 127.0.0.1.evil.example\r\n",
        "Host: localhost.evil.example\r\n",
        "",
    ] {
        let answer = admin.raw(&format!("GET /config HTTP/1.1\r\n{lines}\r\n"));
        assert_eq!(answer.status(), 421, "{lines}");
        assert!(!answer.text().contains("keys"), "{}", answer.text());
    }
    let absolute = admin.raw("GET http://evil.example/config HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(absolute.status(), 421);
    let answer = admin.ask_with("GET", "/config", "Origin: http://evil.example\r\n");
    assert_eq!(answer.field("access-control-allow-origin"), None, "no page of another origin may read it");
}

#[test]
fn the_socket_is_for_its_user_alone_and_goes_with_the_process() {
    let setup = Setup::new().with_admin();
    let path: PathBuf = setup.dir().join("admin.sock");
    // One that a killed process has left behind.
    drop(UnixListener::bind(&path).unwrap());
    let mut sidecar = setup.start_ready();
    assert_eq!(sidecar.admin().ask("GET", "/live").status(), 200);
    let facts = fs::metadata(&path).unwrap();
    assert!(facts.file_type().is_socket() && facts.permissions().mode() & 0o777 == 0o600, "{facts:?}");
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    assert!(!path.exists());
}

#[test]
fn a_place_that_is_taken_is_explained_and_nothing_starts() {
    let setup = Setup::new().with_admin();
    let path: PathBuf = setup.dir().join("admin.sock");
    let _other = UnixListener::bind(&path).unwrap();
    let mut sidecar = setup.launch();
    assert_eq!(sidecar.wait_exit(), 71);
    sidecar.stderr.wait_for("The admin cannot listen on");
}

#[test]
fn an_address_that_others_can_reach_must_be_meant() {
    let output = check(&[("WARMFRONT_ADMIN_LISTEN", "0.0.0.0:9901")]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("can be reached by others") && said.contains("admin.remote"), "{said}");
    let meant = [("WARMFRONT_ADMIN_LISTEN", "0.0.0.0:9901"), ("WARMFRONT_ADMIN_REMOTE", "true")];
    assert!(check(&meant).status.success());
    let short = check(&[("WARMFRONT_ADMIN_TOKEN", "hush")]);
    assert_eq!(short.status.code(), Some(78));
    let said = String::from_utf8_lossy(&short.stderr).into_owned();
    assert!(said.contains("too short") && !said.contains("hush"), "{said}");
}
