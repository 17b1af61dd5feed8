//! Programs of many kinds, two copies of each.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Copy, PORT, Room, group_listens_on_tcp, sample};

/// Starts two copies, loads both, and looks at what they are told of their connections.
fn side_by_side(words: &[&str]) -> [Value; 2] {
    let room = Room::new();
    let mut copies = ["w1-1.sock", "w2-1.sock"].map(|name| room.start(name, words));
    copies.iter_mut().for_each(Copy::wait);
    let said = copies.each_ref().map(Copy::ask);
    copies.iter().for_each(Copy::load);
    for (copy, said) in copies.iter().zip(&said) {
        assert!(!group_listens_on_tcp(copy.child.id()), "no copy of {words:?} listens on TCP");
        for end in ["peer", "own"] {
            let host = said[end][0].as_str().expect("an address");
            assert!(["127.0.0.1", "::ffff:127.0.0.1", "0:0:0:0:0:ffff:7f00:1"].contains(&host), "{said}");
        }
        assert_eq!(said["own"][1], PORT, "{said}");
        assert!((32768..61000).contains(&said["peer"][1].as_u64().expect("a port")), "{said}");
    }
    assert_ne!(said[0]["pid"], said[1]["pid"], "each path leads to its own copy");
    said
}

/// Compiles a sample; the program is gone with the room.
fn built(room: &Room, compiler: &mut Command, source: &str) -> String {
    let program = room.path("program");
    let status =
        compiler.arg("-o").arg(&program).arg(source).current_dir(sample("")).status().expect("a C compiler");
    assert!(status.success(), "{compiler:?}");
    program.to_str().expect("UTF-8").to_owned()
}

#[test]
fn node_runs_twice_on_one_port_and_sees_it_in_ipv6() {
    let [said, _] = side_by_side(&["node", &sample("http.js")]);
    assert_eq!(said["peer"][0], "::ffff:127.0.0.1");
}

#[test]
fn a_cluster_of_node_passes_its_connections_between_processes() {
    side_by_side(&["node", &sample("cluster.js")]);
}

#[test]
fn a_cluster_of_node_passes_the_listener_itself_between_processes() {
    side_by_side(&["env", "NODE_CLUSTER_SCHED_POLICY=none", "node", &sample("cluster.js")]);
}

#[test]
fn a_program_that_calls_itself_reaches_itself() {
    for said in side_by_side(&["node", &sample("itself.js")]) {
        for (inner, host) in said["inner"].as_array().unwrap().iter().zip(["127.0.0.1", "::1"]) {
            assert_eq!(inner["pid"], said["pid"], "its own copy, not the other one: {said}");
            assert_eq!(
                (inner["peer"][0].as_str(), inner["peer"][1].as_u64()),
                (Some(host), Some(PORT.into()))
            );
        }
    }
}

#[test]
fn python_runs_twice_on_one_port() {
    let [said, _] = side_by_side(&["python3", &sample("server.py")]);
    assert_eq!(said["peer"][0], "127.0.0.1");
}

#[test]
fn a_child_that_got_every_other_descriptor_closed_binds_for_python() {
    side_by_side(&["python3", &sample("server.py"), "child"]);
}

#[test]
fn a_program_that_binds_both_families_shares_one_listener() {
    side_by_side(&["python3", &sample("twice.py")]);
}

#[test]
fn php_runs_twice_on_one_port() {
    side_by_side(&["php", "-q", "-S", "0.0.0.0:9000", &sample("router.php")]);
}

#[test]
fn java_runs_twice_on_one_port() {
    side_by_side(&["java", &sample("Server.java")]);
}

#[test]
fn c_runs_twice_on_one_port_with_glibc() {
    let room = Room::new();
    side_by_side(&[&built(&room, &mut Command::new("cc"), "server.c")]);
}

#[test]
fn c_runs_twice_on_one_port_with_musl() {
    let room = Room::new();
    side_by_side(&[&built(&room, &mut Command::new("musl-gcc"), "server.c")]);
}

#[test]
fn what_is_none_of_the_listeners_business_is_untouched() {
    let room = Room::new();
    // Nobody else's port while this runs; the program binds its datagrams there.
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut program =
        room.command("w1-1.sock", free, &["python3", &sample("untouched.py"), &free.to_string()]);
    let output = program.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), "untouched", "{}", String::from_utf8_lossy(&output.stderr));
}

/// What `words` say when they cannot bind a port that is taken.
fn refused(room: &Room, change: impl FnOnce(&mut Command), words: &[&str]) -> String {
    let taken = TcpListener::bind("[::]:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port();
    let port_word = port.to_string();
    let words: Vec<_> = words.iter().map(|word| if *word == "{port}" { &port_word } else { *word }).collect();
    let mut command = room.command("w1-1.sock", port, &words);
    change(&mut command);
    let output = command.stderr(Stdio::piped()).stdout(Stdio::piped()).output().expect("the program starts");
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Binds the port that comes as the last word.
const BIND: &str = "require('net').createServer().listen(+process.argv[1], function () { this.close() })";

#[test]
fn without_the_listener_the_kernel_binds_the_port() {
    let room = Room::new();
    // Something else takes its number; closing it is refused.
    let words = ["sh", "-c", r#"exec 3</dev/null; exec node -e "$0" "$1""#, BIND, "{port}"];
    let said = refused(&room, |_| {}, &words);
    assert!(said.contains("EADDRINUSE"), "{said}");
}

#[test]
fn without_its_variable_or_with_a_broken_one_every_call_passes() {
    for broken in ["", "3", "3:9000", "3:0:/s", "x:9000:/s", "3:9000:relative", "3:9000,:/s", "3:65536:/s"] {
        let room = Room::new();
        let said = refused(
            &room,
            |command| _ = command.env("WARMFRONT_SHIM", broken),
            &["node", "-e", BIND, "{port}"],
        );
        assert!(said.contains("EADDRINUSE"), "{broken}: {said}");
    }
    let room = Room::new();
    let said =
        refused(&room, |command| _ = command.env_remove("WARMFRONT_SHIM"), &["node", "-e", BIND, "{port}"]);
    assert!(said.contains("EADDRINUSE"), "{said}");
}

#[test]
fn with_it_the_same_program_binds_a_port_that_is_taken() {
    let room = Room::new();
    let taken = TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut command = room.command("w1-1.sock", port, &["node", "-e", BIND, &port.to_string()]);
    assert!(command.status().unwrap().success());
}

#[test]
fn go_is_not_reached_with_a_loader_or_without() {
    for cgo in ["0", "1"] {
        let room = Room::new();
        let mut go = Command::new("go");
        go.env("CGO_ENABLED", cgo).args(["build", "-buildvcs=false"]);
        let program = built(&room, &mut go, "server.go");
        assert!(Path::new(&program).is_file());
        let said = refused(&room, |_| {}, &[&program, "{port}"]);
        assert!(said.contains("address already in use"), "{said}");
    }
}
