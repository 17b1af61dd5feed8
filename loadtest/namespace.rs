//! One congestion control for everybody: a loopback address of its own, whose route says so.
//!
//! Congestion control decides much of what a body costs, and most proxies have no
//! setting for it. The system's default may not be touched: others use this
//! machine, and only algorithms on the system's list may become it. A route may
//! name any algorithm, and every connection over it follows, whoever opened or
//! accepted it. So the measurement moves into a network namespace in which it is
//! alone, and gives 127.0.0.2 such a route. 127.0.0.1 stays as the system has it,
//! and all of it is gone with the last process.

use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use socket2::{Domain, Socket, Type};

/// Connections over it are as the system has them.
pub(crate) const AS_IT_COMES: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
/// Connections over it use [`CHOSEN`], inside the namespace.
pub(crate) const AS_CHOSEN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// The algorithm of the second address.
pub(crate) const CHOSEN: &str = "cubic";

/// Set for the process that is inside. Not with warmfront's prefix: it refuses settings that it does not know.
const INSIDE: &str = "MEASURED_INSIDE_A_NAMESPACE";
/// Ways in: as root, and as anybody where user namespaces are allowed.
const WAYS: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];

/// Becomes this very program inside a namespace of its own. Returns if that cannot be; the second address
/// then is like the first, which [`congestion_of`] tells.
pub(crate) fn enter() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let setup = format!(
        "ip link set lo up && ip route add local {AS_CHOSEN} dev lo table local src {AS_CHOSEN} congctl {CHOSEN}"
    );
    for way in WAYS {
        let mut attempt = Command::new("unshare");
        attempt.args(way).args(["sh", "-c", &setup]);
        attempt.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if attempt.status().is_ok_and(|status| status.success()) {
            let args: Vec<OsString> = std::env::args_os().skip(1).collect();
            let mut inside = Command::new("unshare");
            inside.args(way).args(["sh", "-c", &format!("{setup} && exec \"$0\" \"$@\"")]);
            // Only returns if it failed, although it has just worked: then we stay outside.
            let _ = inside.arg(&program).args(args).env(INSIDE, "1").exec();
        }
    }
}

/// What a connection accepted on `address` really uses.
///
/// # Errors
/// No connection could be made over the address.
pub(crate) fn congestion_of(address: Ipv4Addr) -> io::Result<String> {
    let listener = std::net::TcpListener::bind((IpAddr::V4(address), 0))?;
    let client = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    client.connect(&listener.local_addr()?.into())?;
    let (accepted, _) = listener.accept()?;
    let name = Socket::from(accepted).tcp_congestion()?;
    let text = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_is_as_the_system_has_it() {
        let system = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap();
        assert_eq!(congestion_of(AS_IT_COMES).unwrap(), system.trim());
    }
}
