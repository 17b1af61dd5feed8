//! Which engine serves is the user's choice, is said, and changes nothing that anybody can see.

use crate::support::{Setup, Worker, engine, get};

/// What this build can do; the kernel has to allow it as well, or these tests fail.
const HAS_URING: bool = cfg!(all(target_os = "linux", feature = "uring"));

#[test]
fn this_run_uses_the_engine_it_is_meant_to_use() {
    let Some(engine) = engine() else { return };
    let sidecar = Setup::new().start_cold();
    let said = sidecar.stderr.all().join("\n");
    assert!(said.contains(&format!("engine {engine}:")), "{said}");
}

#[test]
fn a_ring_that_was_asked_for_serves_or_its_absence_is_said_and_epoll_serves() {
    for choice in ["uring", "auto"] {
        let worker = Worker::listen().echo_targets();
        let sidecar = Setup::forward(&[worker.path()]).flag("--engine", choice).start();
        assert_eq!(sidecar.client().ask(get("/x")).text(), "/x");
        let said = sidecar.stderr.all().join("\n");
        let expected = match (HAS_URING, choice) {
            (true, _) => "engine uring: ",
            (false, "uring") => {
                "engine = \"uring\", but epoll serves: this build is without the feature `uring`"
            }
            (false, _) => "engine epoll: this build is without the feature `uring`",
        };
        assert!(said.contains(expected), "{said}");
    }
}

/// Runs the words behind it where io_uring_setup(2) is not permitted, as container runtimes have it.
const FORBID: &str = r#"
import ctypes, os, struct, sys
load, setup, refuse, allow = (0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)
code = ctypes.create_string_buffer(struct.pack("HBBI" * 4, *load, *setup, *refuse, *allow))
class Program(ctypes.Structure):
    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
program = Program(4, ctypes.addressof(code))
prctl = ctypes.CDLL(None).prctl
prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, ctypes.addressof(program), 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn where_a_container_forbids_io_uring_epoll_serves_and_the_reason_is_said() {
    if !HAS_URING {
        return;
    }
    for (choice, expected) in [
        (
            "uring",
            "engine = \"uring\", but epoll serves: this kernel, or what contains us, refuses io_uring: ",
        ),
        ("auto", "engine epoll: this kernel, or what contains us, refuses io_uring: "),
    ] {
        let worker = Worker::listen().echo_targets();
        let setup = Setup::wrapped(&["python3", "-c", FORBID]);
        let sidecar =
            setup.flag("--socket", worker.path().to_str().unwrap()).flag("--engine", choice).start_ready();
        assert_eq!(sidecar.client().ask(get("/x")).text(), "/x");
        let said = sidecar.stderr.all().join("\n");
        assert!(said.contains(expected) && said.contains("Operation not permitted"), "{said}");
    }
}

#[test]
fn epoll_serves_without_a_word_where_nobody_chose() {
    let worker = Worker::listen().echo_targets();
    let sidecar = Setup::forward(&[worker.path()]).set("engine", "epoll").start();
    assert_eq!(sidecar.client().ask(get("/x")).text(), "/x");
    let said = sidecar.stderr.all().join("\n");
    assert!(!said.contains("engine"), "{said}");
}
