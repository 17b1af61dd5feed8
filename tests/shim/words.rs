//! The pure files of the shim: what it was told, what it tells, what it lets pass.
// Their other readers are in the library.
#![allow(dead_code, unreachable_pub)]

#[path = "../../shim/address.rs"]
mod address;
#[path = "../../shim/options.rs"]
mod options;
#[path = "../../shim/settings.rs"]
mod settings;

use address::{Kind, Told, pseudo_port, unix_path, wanted};
use options::{may_be_set, value};
use settings::Settings;

#[test]
fn what_tunes_a_network_is_done_and_what_changes_bytes_is_refused() {
    // Names in comments: the numbers are Linux's, from linux/tcp.h, linux/in.h, linux/in6.h.
    for (level, option) in [
        (6, 1),   // TCP_NODELAY
        (6, 3),   // TCP_CORK
        (6, 4),   // TCP_KEEPIDLE
        (6, 9),   // TCP_DEFER_ACCEPT
        (6, 18),  // TCP_USER_TIMEOUT
        (6, 23),  // TCP_FASTOPEN
        (0, 1),   // IP_TOS
        (41, 26), // IPV6_V6ONLY
        (41, 67), // IPV6_TCLASS
        (1, 15),  // SO_REUSEPORT
        (1, 49),  // SO_INCOMING_CPU
    ] {
        assert!(may_be_set(level, option), "{level}, {option}");
    }
    for (level, option) in [
        (6, 13),  // TCP_CONGESTION
        (6, 14),  // TCP_MD5SIG
        (6, 19),  // TCP_REPAIR
        (6, 31),  // TCP_ULP: kTLS
        (6, 35),  // TCP_ZEROCOPY_RECEIVE
        (1, 60),  // SO_ZEROCOPY
        (1, 50),  // SO_ATTACH_BPF
        (1, 51),  // SO_ATTACH_REUSEPORT_CBPF
        (0, 35),  // IP_ADD_MEMBERSHIP
        (41, 20), // IPV6_JOIN_GROUP
        (17, 1),  // UDP_CORK
    ] {
        assert!(!may_be_set(level, option), "{level}, {option}");
        assert_eq!(value(level, option), None, "{level}, {option}");
    }
    assert_eq!(value(6, 1), Some(1), "TCP_NODELAY: nothing is delayed");
    assert_eq!(value(6, 4), Some(0), "TCP_KEEPIDLE: nothing is remembered");
    assert_eq!(value(6, 11), None, "TCP_INFO is a structure that nobody can invent");
}

#[test]
fn settings_are_a_descriptor_ports_and_a_path() {
    let settings = Settings::parse(b"3:9000,8080:/tmp/w:1.sock").unwrap();
    assert_eq!((settings.listener, settings.path()), (3, &b"/tmp/w:1.sock"[..]));
    assert_eq!([9000, 8080, 80, 0].map(|port| settings.place_of(port)), [Some(0), Some(1), None, None]);
    assert_eq!([0, 1, 7].map(|place| settings.port_at(place)), [9000, 8080, 9000]);
    let longest = [b"3:1:/".to_vec(), vec![b'x'; 106]].concat();
    assert_eq!(Settings::parse(&longest).unwrap().path().len(), 107);
    let too_long = [longest, vec![b'x']].concat();
    let nine = b"3:1,2,3,4,5,6,7,8,9:/s";
    let bad: [&[u8]; 9] =
        [b"", b":", b"3:9000", b"3::/s", b"-1:9000:/s", b"3:70000:/s", b"3:9000:", nine, &too_long];
    for bad in bad {
        assert!(Settings::parse(bad).is_none(), "{}", String::from_utf8_lossy(bad));
    }
}

/// A `sockaddr_in6` or, of a host of four bytes, a `sockaddr_in`.
fn socket_address(host: &[u8], port: u16) -> Vec<u8> {
    let (family, gap, rest) = if host.len() == 4 { (2_u16, 0, 8) } else { (10, 4, 4) };
    let parts = [&family.to_ne_bytes()[..], &port.to_be_bytes(), &vec![0; gap], host, &vec![0; rest]];
    parts.concat()
}

#[test]
fn an_address_says_its_family_and_whether_it_is_here() {
    let v6 = |last: [u8; 6]| [vec![0; 10], last.to_vec()].concat();
    for (host, kind, is_here) in [
        (vec![0; 4], 0, true),
        (vec![127, 0, 0, 1], 1, true),
        (vec![10, 0, 0, 1], 0, false),
        (vec![0; 16], 2, true),
        (v6([0, 0, 0, 0, 0, 1]), 3, true),
        (v6([0xff, 0xff, 127, 0, 0, 1]), 2, true),
        (v6([0xff, 0xff, 10, 0, 0, 1]), 2, false),
    ] {
        let wanted = wanted(&socket_address(&host, 9000)).unwrap();
        assert_eq!((wanted.kind as u8, wanted.port, wanted.is_here), (kind, 9000, is_here), "{host:?}");
    }
    assert!(wanted(&socket_address(&[0; 4], 0)).is_none(), "any port");
    assert!(wanted(&socket_address(&[0; 16], 9000)[..20]).is_none(), "cut off");
    assert!(wanted(&[1, 0, b'/', b's']).is_none(), "a path");
}

#[test]
fn what_is_told_is_the_family_and_the_port_that_the_program_bound() {
    let mapped = [&[0; 10][..], &[0xff, 0xff, 127, 0, 0, 1]].concat();
    let one = [&[0; 15][..], &[1]].concat();
    for (kind, listener, connection) in [
        (Kind::V4, vec![0; 4], vec![127, 0, 0, 1]),
        (Kind::V4Loopback, vec![127, 0, 0, 1], vec![127, 0, 0, 1]),
        (Kind::V6, vec![0; 16], mapped),
        (Kind::V6Loopback, one.clone(), one),
    ] {
        assert_eq!(Told::listener(kind, 9000).bytes(), socket_address(&listener, 9000));
        assert_eq!(Told::connection(kind, 9000).bytes(), socket_address(&connection, 9000));
        assert!(Kind::from_number(kind as u8) == kind);
    }
}

#[test]
fn a_peer_has_a_port_of_the_usual_range_and_a_path_ends_where_it_ends() {
    assert!([0, 1, 28231, 28232, u64::MAX].map(pseudo_port).iter().all(|port| (32768..61000).contains(port)));
    assert_ne!(pseudo_port(1), pseudo_port(2));
    assert_eq!(unix_path(b"\x01\x00/s\0"), b"/s");
    assert_eq!(unix_path(b"\x01\x00"), b"");
}
