//! The picture of `ARCHITECTURE.md`: floors, doors, purity, clocks and unsafe code.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Complaints, read, sources, words};

/// The floors, lowest first. A room imports rooms of lower floors; within a floor, without cycles.
const FLOORS: [&[&str]; 7] = [
    &["config", "error", "id", "clock", "sync", "words"],
    &["http1", "fc", "fastcgi", "noslate", "listener", "sys"],
    &["worker", "upstream"],
    &["lifecycle"],
    &["proxy"],
    &["engine"],
    &[
        "main",
        "cli",
        "app",
        "newcomers",
        "exit",
        "demo",
        "admin",
        "otlp",
        "watch",
        "emulate",
        "doctor",
        "plan",
    ],
];

/// Importable from every floor; imports floor 0 only.
const SHAFT: &str = "telemetry";

/// Imports that the floors would allow and the picture forbids: the choice knows nothing of processes.
const FORBIDDEN: [(&str, &str); 1] = [("upstream", "worker")];

/// Where each package may be used: files, or folders with a final `/`. Tests may use any.
/// When a package disappoints, only its doors change.
const DOORS: [(&str, &[&str]); 43] = [
    ("arc-swap", &["src/sync.rs"]),
    ("async-trait", &["src/otlp/post.rs"]),
    (
        "bytes",
        &["src/demo.rs", "src/engine/h2/", "src/engine/noslate/", "src/noslate/", "src/worker/planes/rpc.rs"],
    ),
    ("bytesize", &["src/config/units.rs"]),
    ("clap", &["src/cli.rs", "src/cli/"]),
    ("clap_complete", &["src/cli/"]),
    ("clap_mangen", &["src/cli/papers.rs"]),
    // What judges gets randomness as an argument; these ask for it.
    (
        "fastrand",
        &[
            "src/id.rs",
            "src/worker/processes/",
            "src/worker/socket_dir.rs",
            "src/worker/supervisor/",
            "src/worker/supervisor.rs",
        ],
    ),
    ("h2", &["src/engine/h2/", "src/engine/noslate/", "src/worker/planes/rpc.rs"]),
    ("hdrhistogram", &[]),
    ("http", &["src/engine/h2/", "src/engine/noslate/", "src/worker/planes/rpc.rs"]),
    (
        "http-body-util",
        &["src/demo.rs", "src/admin/", "src/emulate/", "src/otlp/post.rs", "src/watch/ask.rs"],
    ),
    ("httparse", &["src/http1/"]),
    ("httpdate", &["src/engine/fastcgi/site.rs"]),
    // Periods have one door, dates another.
    ("humantime", &["src/config/units.rs", "src/telemetry/say.rs"]),
    ("hyper", &["src/demo.rs", "src/admin/", "src/emulate/", "src/otlp/post.rs", "src/watch/ask.rs"]),
    ("hyper-util", &["src/demo.rs", "src/admin/", "src/emulate/", "src/otlp/post.rs", "src/watch/ask.rs"]),
    ("indicatif", &[]),
    ("io-uring", &["src/engine/uring/ring.rs"]),
    ("libc", &UNSAFE),
    ("metrics", &["src/admin/exposition.rs"]),
    ("metrics-exporter-prometheus", &["src/admin/exposition.rs"]),
    ("mimalloc", &["src/main.rs"]),
    ("mime_guess", &["src/engine/fastcgi/site.rs"]),
    ("opentelemetry", &["src/otlp/"]),
    ("opentelemetry-http", &["src/otlp/post.rs"]),
    ("opentelemetry-otlp", &["src/otlp/post.rs"]),
    ("opentelemetry_sdk", &["src/otlp/"]),
    ("plotters", &[]),
    ("prost", &["src/noslate/", "src/worker/planes/rpc.rs"]),
    ("ratatui", &["src/watch/screen.rs", "src/watch/top.rs"]),
    ("rustix", &["src/engine/pipe.rs", "src/sys/file.rs"]),
    ("serde", &[]),
    (
        "serde_json",
        &[
            "src/admin/",
            "src/doctor/findings.rs",
            "src/emulate/",
            "src/config/show.rs",
            "src/config/show/",
            "src/config/schema.rs",
            "src/noslate/profiles.rs",
            "src/noslate/services.rs",
            "src/noslate/sheet.rs",
            "src/plan/",
            "src/telemetry/access.rs",
            "src/watch/moment.rs",
        ],
    ),
    ("sha1", &[]),
    // A dependency only where schedules are explored.
    ("shuttle", &["src/sync.rs"]),
    ("smallvec", &["src/http1/"]),
    ("socket2", &["src/engine/unix.rs", "src/listener.rs", "src/worker/entrance.rs", "src/worker/spawn.rs"]),
    ("strsim", &["src/config/nearest.rs"]),
    ("thiserror", &["src/"]),
    // The runtime: nothing of floors 0 and 1 waits, but for the clock that tests can turn.
    (
        "tokio",
        &[
            "src/admin/",
            "src/app.rs",
            "src/app/",
            "src/clock.rs",
            "src/demo.rs",
            "src/doctor/",
            "src/emulate/",
            "src/engine/",
            "src/lifecycle/",
            "src/newcomers.rs",
            "src/otlp/",
            "src/proxy/",
            "src/sync.rs",
            // It registers what tokio calls unsafe to.
            "src/sys.rs",
            "src/upstream/pool.rs",
            "src/watch/ask.rs",
            "src/worker/",
        ],
    ),
    ("toml_edit", &["src/config/"]),
    ("warmfront", &["src/main.rs"]),
];

/// The doors to the system, and the only places of `unsafe` in what is warmfront. The shim, which runs inside of
/// workers and makes its system calls itself, is the other one: `shim/`, a crate of its own.
const UNSAFE: [&str; 4] = ["src/sys.rs", "src/sys/", "src/engine/uring/ring.rs", "loadtest/fork.rs"];

/// What judges: bytes, facts, `now` and chance come in as arguments.
const PURE: [&str; 33] = [
    "src/http1/",
    "src/fc/",
    "src/fastcgi/",
    "src/config/resolve/php.rs",
    "src/noslate/",
    "src/admin/readiness.rs",
    "src/config/resolve.rs",
    "src/config/guess.rs",
    "src/config/references.rs",
    "src/config/resolve/processes.rs",
    "src/doctor/findings.rs",
    "src/emulate/function_env.rs",
    "src/emulate/headers.rs",
    "src/emulate/limits.rs",
    "src/emulate/options.rs",
    "src/emulate/payload.rs",
    "src/emulate/retry.rs",
    "src/emulate/route.rs",
    "src/emulate/tail.rs",
    "src/plan/",
    "src/proxy/budget.rs",
    "src/proxy/line.rs",
    "src/upstream/balance.rs",
    "src/worker/ladder.rs",
    "src/worker/lines.rs",
    "src/worker/native/",
    "src/worker/records.rs",
    "src/worker/recycle.rs",
    "src/worker/respawn.rs",
    "src/worker/stamp.rs",
    "src/worker/state.rs",
    "src/words.rs",
    "src/worker/words.rs",
];

/// What a pure file must not mention.
const IMPURE: [&str; 12] = [
    "Instant::now",
    "SystemTime",
    "clock::",
    "tokio::",
    "fastrand::",
    "std::fs",
    "fs::",
    "std::env",
    "env::var",
    "std::net",
    "std::process",
    "std::thread",
];

/// Where time may be read: one monotonic clock, one date, one id with its second of birth.
const CLOCKS: [&str; 3] = ["src/clock.rs", "src/telemetry/say.rs", "src/id.rs"];

// === floors ===

#[test]
fn nothing_imports_upwards() {
    let mut complaints = Complaints::default();
    for file in sources("src") {
        for (line, room) in file.imports() {
            if let Err(why) = may_import(&file.room, &room) {
                complaints.add(&file, line, &why);
            }
        }
    }
    complaints.none();
}

#[test]
fn rooms_have_no_cycles() {
    let mut imports: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in sources("src") {
        let rooms = file.imports().into_iter().map(|(_, room)| room).filter(|room| *room != file.room);
        imports.entry(file.room.clone()).or_default().extend(rooms);
    }
    // A room that imports none of the others, or that none of them imports, is in no circle.
    loop {
        let is_free = |room: &String, to: &BTreeSet<String>| {
            to.iter().all(|to| !imports.contains_key(to)) || !imports.values().any(|to| to.contains(room))
        };
        let free: BTreeSet<String> =
            imports.iter().filter(|(room, to)| is_free(room, to)).map(|(room, _)| room.clone()).collect();
        if free.is_empty() {
            break;
        }
        imports.retain(|room, _| !free.contains(room));
    }
    assert!(
        imports.is_empty(),
        "these rooms import each other in a circle: {imports:?}. Move what both need a floor down."
    );
}

#[test]
fn every_room_has_a_floor() {
    let mut complaints = Complaints::default();
    for file in sources("src") {
        if file.room != "lib" && file.room != SHAFT && floor(&file.room).is_none() {
            complaints.add(
                &file,
                1,
                &format!("room `{}` is on no floor; give it one in FLOORS and in src/lib.rs", file.room),
            );
        }
    }
    complaints.none();
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn may_import(from: &str, to: &str) -> Result<(), String> {
    if from == to || from == "lib" || to == SHAFT {
        return Ok(());
    }
    if FORBIDDEN.contains(&(from, to)) {
        return Err(format!(
            "`{from}` must not know `{to}`; publish what it needs through a type of `{from}`"
        ));
    }
    let Some(target) = floor(to) else {
        return Err(format!("`crate::{to}` is no room; name the room and the item in it"));
    };
    let own = if from == SHAFT { Some(0) } else { floor(from) };
    match own {
        Some(own) if target <= own => Ok(()),
        Some(own) => Err(format!(
            "`{from}` (floor {own}) imports `{to}` (floor {target}); pass the thing in as an argument, or move it down"
        )),
        None => Ok(()), // `every_room_has_a_floor` complains.
    }
}

#[test]
fn only_downwards_and_into_the_shaft_is_allowed() {
    assert!(may_import("http1", "proxy").is_err() && may_import("upstream", "worker").is_err());
    assert!(may_import("telemetry", "sys").is_err() && may_import("http1", "telemetry").is_ok());
}

// === doors and purity ===

#[test]
fn every_package_is_used_behind_its_door() {
    let mut complaints = Complaints::default();
    for file in sources("src") {
        for (package, doors) in DOORS {
            if doors.iter().any(|door| file.is_at(door)) {
                continue;
            }
            for line in file.uses(&package.replace('-', "_")) {
                let doors = if doors.is_empty() { "not used in src/".to_owned() } else { doors.join(", ") };
                complaints.add(
                    &file,
                    line,
                    &format!("`{package}` is used outside its door ({doors}); call what stands there"),
                );
            }
        }
    }
    complaints.none();
}

#[test]
fn every_dependency_has_a_door() {
    let manifest: toml_edit::DocumentMut = read("Cargo.toml").parse().expect("Cargo.toml is TOML");
    let doors: BTreeSet<&str> = DOORS.iter().map(|(package, _)| *package).collect();
    let declared: BTreeSet<&str> = manifest["dependencies"]
        .as_table()
        .expect("a table")
        .iter()
        .map(|(name, _)| name)
        .chain(["io-uring", "shuttle", "warmfront"])
        .collect();
    assert_eq!(
        declared, doors,
        "left: [dependencies] in Cargo.toml, right: DOORS in tests/tidy/picture.rs; make them agree"
    );
}

#[test]
fn what_judges_does_no_io_and_reads_no_clock() {
    let mut complaints = Complaints::default();
    for file in sources("src").iter().filter(|file| PURE.iter().any(|place| file.is_at(place))) {
        for word in IMPURE {
            for line in file.mentions(word) {
                complaints.add(
                    file,
                    line,
                    &format!("`{word}` in a file that only judges; take the fact as an argument"),
                );
            }
        }
    }
    complaints.none();
}

#[test]
fn time_is_read_in_three_places() {
    let mut complaints = Complaints::default();
    for file in sources("src").iter().filter(|file| !CLOCKS.iter().any(|place| file.is_at(place))) {
        for word in ["Instant::now", "SystemTime::now"] {
            for line in file.mentions(word) {
                complaints.add(
                    file,
                    line,
                    "use clock::now() (virtual in tests) or telemetry::say::utc_now()",
                );
            }
        }
    }
    complaints.none();
}

#[test]
fn time_is_waited_for_by_the_clock_that_leaves_frozen_time_out() {
    // The control plane's own tick, and the demo, which is a worker.
    const OTHERS: [&str; 4] = ["src/clock.rs", "src/app.rs", "src/demo.rs", "src/engine/sim/"];
    let mut complaints = Complaints::default();
    for file in sources("src").iter().filter(|file| !OTHERS.iter().any(|place| file.is_at(place))) {
        for line in file.mentions("tokio::time") {
            complaints.add(
                file,
                line,
                "a deadline of tokio's counts frozen time; use sleep, timeout, timer of `clock`",
            );
        }
    }
    complaints.none();
}

#[test]
fn unsafe_lives_in_sys_and_in_the_ring() {
    let mut complaints = Complaints::default();
    let others = sources("src").into_iter().chain(sources("loadtest"));
    for file in others.filter(|file| !UNSAFE.iter().any(|place| file.is_at(place))) {
        for (index, line) in file.code.lines().enumerate() {
            if words(line).any(|word| word == "unsafe") {
                complaints.add(
                    &file,
                    index + 1,
                    "`unsafe` outside src/sys.rs; make it a small function there, with WHY and SAFETY",
                );
            }
        }
    }
    complaints.none();
}
