//! The binary as `/code/bootstrap`, which is how a custom runtime starts it.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::node;
use crate::support::{ID, Setup, Sidecar, get};

/// Runs `/code/bootstrap` as the platform does, in a mount namespace whose `/code` is the folder `code` of the
/// sidecar's directory; what stands behind it on the command line is not passed on.
fn bootstrapped(fill: impl FnOnce(&Path, Setup) -> Setup) -> Sidecar {
    const SCRIPT: &str = "mount --bind \"$TMPDIR/code\" /code && cd / && exec /code/bootstrap";
    if let Err(error) = fs::create_dir("/code") {
        let made = error.kind() == ErrorKind::AlreadyExists
            || Command::new("sudo")
                .args(["-n", "mkdir", "/code"])
                .status()
                .is_ok_and(|status| status.success());
        assert!(made, "the platform's folder /code cannot be made: run the tests as root");
    }
    let setup = Setup::wrapped(&["unshare", "--map-root-user", "--mount", "sh", "-c", SCRIPT]);
    let code = setup.dir().join("code");
    fs::create_dir(&code).expect("a directory");
    let binary = code.join("bootstrap");
    fs::copy(env!("CARGO_BIN_EXE_warmfront"), &binary).expect("copied");
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("executable");
    fill(&code, setup).variable("FC_CUSTOM_LISTEN_PORT", "0").start_cold()
}

const HELLO: &str = "const server = http.createServer((q, s) => s.end('hello from ' + process.env.WHO));";

#[test]
fn fc05_the_binary_is_the_bootstrap_with_a_file_beside_it() {
    let sidecar = bootstrapped(|code, setup| {
        let command = node(code, HELLO);
        let file = format!(
            "workers.command = [{:?}, \"/code/worker.js\"]\nworkers.count = 1\nworkers.env.WHO = \"a file\"\n",
            command[0]
        );
        fs::write(code.join("warmfront.toml"), file).expect("written");
        setup
    });
    assert_eq!(sidecar.client().ask(get("/")).text(), "hello from a file");
    sidecar.stdout.wait_for(ID);
}

#[test]
fn fc05_the_binary_is_the_bootstrap_with_variables() {
    let sidecar = bootstrapped(|code, setup| {
        node(code, HELLO);
        setup.set("workers.command", "node /code/worker.js").variable("WHO", "variables")
    });
    assert_eq!(sidecar.client().ask(get("/")).text(), "hello from variables");
}

#[test]
fn fc05_a_bootstrap_that_was_told_nothing_answers_with_the_demo() {
    let sidecar = bootstrapped(|_, setup| setup);
    assert!(sidecar.client().ask(get("/")).text().starts_with("Hello from warm worker"));
}
