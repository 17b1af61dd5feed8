//! The whitelist: options of TCP that a Unix socket lacks and nobody misses.
//!
//! Asked only after the kernel refused an option of a socket that is ours. What is on the list tunes a network
//! that is not there, so that "done" is true enough. What changes the bytes (kTLS, MD5), attaches programs or
//! promises zero-copy is not: there the program must hear the kernel's own answer.

/// `SOL_SOCKET`.
pub const SOL_SOCKET: i32 = 1;
/// `SO_PROTOCOL` and `SO_DOMAIN`, which a program may ask.
pub const SO_PROTOCOL: i32 = 38;
/// See [`SO_PROTOCOL`].
pub const SO_DOMAIN: i32 = 39;

const IPPROTO_IP: i32 = 0;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_IPV6: i32 = 41;

const SO_REUSEPORT: i32 = 15;
const SO_INCOMING_CPU: i32 = 49;

const TCP_NODELAY: i32 = 1;
const TCP_INFO: i32 = 11;
const TCP_CONGESTION: i32 = 13;
const TCP_MD5SIG: i32 = 14;
const TCP_REPAIR: i32 = 19;
const TCP_ULP: i32 = 31;
const TCP_ZEROCOPY_RECEIVE: i32 = 35;

const IP_TOS: i32 = 1;
const IP_TTL: i32 = 2;
const IP_MTU_DISCOVER: i32 = 10;
const IP_FREEBIND: i32 = 15;
const IP_BIND_ADDRESS_NO_PORT: i32 = 24;

const IPV6_UNICAST_HOPS: i32 = 16;
const IPV6_V6ONLY: i32 = 26;
const IPV6_TCLASS: i32 = 67;
const IPV6_AUTOFLOWLABEL: i32 = 70;

/// Whether setting it may be answered by "done".
pub fn may_be_set(level: i32, option: i32) -> bool {
    match level {
        SOL_SOCKET => matches!(option, SO_REUSEPORT | SO_INCOMING_CPU),
        IPPROTO_TCP => {
            !matches!(option, TCP_ULP | TCP_MD5SIG | TCP_REPAIR | TCP_ZEROCOPY_RECEIVE | TCP_CONGESTION)
        }
        IPPROTO_IP => {
            matches!(option, IP_TOS | IP_TTL | IP_MTU_DISCOVER | IP_FREEBIND | IP_BIND_ADDRESS_NO_PORT)
        }
        IPPROTO_IPV6 => {
            matches!(option, IPV6_UNICAST_HOPS | IPV6_V6ONLY | IPV6_TCLASS | IPV6_AUTOFLOWLABEL)
        }
        _ => false,
    }
}

/// The value that a program is told of an option: what was set is not remembered. `None` leaves the kernel's
/// refusal: it holds for `TCP_INFO`, which is a structure that nobody can invent.
pub fn value(level: i32, option: i32) -> Option<i32> {
    if !may_be_set(level, option) || (level, option) == (IPPROTO_TCP, TCP_INFO) {
        return None;
    }
    // A Unix socket never waits for more bytes.
    Some(i32::from((level, option) == (IPPROTO_TCP, TCP_NODELAY)))
}
