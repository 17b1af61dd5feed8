//! The front: where the platform connects, and how bytes move.

use super::MIB;
use crate::config::keys::Key;
use crate::config::keys::Kind::{Address, AutoOr, Choice, Number, Size};

/// Those keys, in the order of the documents.
pub(super) const KEYS: &[Key] = &[
    Key::new(
        "listen.address",
        Address,
        "0.0.0.0",
        "Address to bind. The platform dials the instance address, so loopback would never be reached.",
    ),
    Key {
        platform_env: &["FC_CUSTOM_LISTEN_PORT", "FC_SERVER_PORT"],
        ..Key::new(
            "listen.port",
            Number(0, 65_535),
            "9000",
            "TCP port to bind; 0 lets the system choose. Order: flag, WARMFRONT_LISTEN_PORT, \
             FC_CUSTOM_LISTEN_PORT, FC_SERVER_PORT, file, default.",
        )
        .flag("--port")
    },
    Key::new(
        "listen.backlog",
        Number(1, 65_535),
        "4096",
        "Connections the kernel holds before they are accepted. The system may lower it (net.core.somaxconn).",
    ),
    Key::new(
        "listen.send_buffer",
        Size(0, 64 * MIB),
        "0",
        "Kernel buffer for what a client has not read yet, in bytes; an answer that fits frees its worker at \
         once. 0: the system's choice, which follows the client's speed. It may be capped (net.core.wmem_max).",
    ),
    Key::new(
        "listen.congestion",
        Choice(&["auto", "system", "cubic", "reno", "bbr"]),
        "auto",
        "TCP congestion control towards clients. BBR, some systems' choice, spaces out what is sent: that costs much of \
         a large download, and wins nothing on loopback. auto: cubic for clients on loopback and private networks, \
         as the platform's gateway is, the system's for others.",
    ),
    Key::new(
        "threads",
        AutoOr(1, 256),
        "auto",
        "Data-plane threads. auto: 1 for up to 2 CPUs, then one per CPU up to 4.",
    )
    .flag("--threads"),
    Key::new(
        "engine",
        Choice(&["epoll", "uring", "auto"]),
        "epoll",
        "How bytes move. uring: small messages of busy threads go through an io_uring, the rest as with epoll. It \
         needs a build with the feature `uring` and a kernel that allows it, else epoll serves and a line says so. \
         auto: uring where it can be had.",
    )
    .flag("--engine"),
    Key::new(
        "upstream",
        Choice(&["http", "noslate"]),
        "http",
        "Who answers. http: the workers of [workers]. noslate: the functions of a Noslate, through its data planes' \
         Unix sockets; [noslate] says the rest.",
    )
    .flag("--upstream"),
];
