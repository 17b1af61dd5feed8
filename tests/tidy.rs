//! The tidy test: what `ARCHITECTURE.md` draws and the documents promise, read from the source.
//!
//! It reads text, not syntax trees: comments and literals are blanked first, and
//! what is left of a formatted file is regular enough. Every complaint names a
//! file, a line and a way out. Where the picture itself should change, change it
//! here, in `src/lib.rs` and in `ARCHITECTURE.md` at once.
//!
//! `WARMFRONT_BLESS=1 cargo test --test tidy` rewrites `docs/config.md`, `docs/metrics.md`,
//! `configs/full.toml`, `configs/warmfront.schema.json` and `src/admin/page.policy`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use warmfront::admin::families;
use warmfront::config::keys::{KEYS, Key, Kind, Zero};
use warmfront::config::units::size_text;
use warmfront::exit::ExitCode;
use warmfront::fastcgi::fault::PhpFault;
use warmfront::http1::framing::FramingFault;
use warmfront::http1::request::Refused;
use warmfront::http1::target::TargetFault;
use warmfront::id::RequestId;
use warmfront::noslate::fault::{FaultKind, PlaneFault};
use warmfront::proxy::admission::Refusal;
use warmfront::proxy::exchange::Cause;
use warmfront::proxy::reply::LocalReply;

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
const PURE: [&str; 32] = [
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

/// A longer file usually hides a second noun.
const LINES_MAX: usize = 600;

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
        "left: [dependencies] in Cargo.toml, right: DOORS in tests/tidy.rs; make them agree"
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

// === habits ===

#[test]
fn every_file_says_why_it_exists() {
    let mut complaints = Complaints::default();
    for file in sources("src").into_iter().chain(sources("loadtest")).chain(sources("shim")) {
        if !file.text.starts_with("//! ") && !file.path.ends_with("/tests.rs") {
            complaints.add(&file, 1, "begin with `//!`: what this file is for, in one sentence");
        }
    }
    complaints.none();
}

#[test]
fn no_file_holds_two_nouns() {
    let mut complaints = Complaints::default();
    for file in sources("src").into_iter().chain(sources("shim")) {
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            complaints.add(
                &file,
                lines,
                &format!("{lines} lines, over {LINES_MAX}: two nouns? Give the second its own file"),
            );
        }
    }
    complaints.none();
}

#[test]
fn nothing_unwraps_outside_tests() {
    let mut complaints = Complaints::default();
    for file in sources("src").into_iter().chain(sources("loadtest")) {
        for line in file.mentions(".unwrap()") {
            complaints.add(
                &file,
                line,
                "answer the error, or `expect(\"invariant: …\")` with why it cannot happen",
            );
        }
    }
    complaints.none();
}

#[test]
fn every_ready_configuration_passes_check() {
    check_configurations_below("configs", &[]);
}

/// Their programs are not here, so each is checked with another in its place.
#[test]
fn every_example_passes_check() {
    check_configurations_below("examples", &["--", "/bin/true"]);
}

fn check_configurations_below(directory: &str, command: &[&str]) {
    let mut checked = 0;
    for path in files_below(&root().join(directory)) {
        if path.extension().is_some_and(|extension| extension == "toml") {
            let output = Command::new(env!("CARGO_BIN_EXE_warmfront"))
                .args(["check", "--config"])
                .arg(&path)
                .args(command)
                .env_clear()
                .output()
                .expect("the binary starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            checked += 1;
        }
    }
    assert!(checked > 0, "no *.toml in {directory}");
}

// === documents ===

#[test]
fn the_configuration_page_is_generated_from_the_keys() {
    let (path, wanted) = (root().join("docs/config.md"), configuration_page());
    if std::env::var_os("WARMFRONT_BLESS").is_some() {
        fs::write(&path, &wanted).expect("docs/config.md is writable");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/config.md does not say what src/config/keys.rs says; run: WARMFRONT_BLESS=1 cargo test --test tidy"
    );
}

#[test]
fn the_full_file_and_the_schema_are_generated_from_the_keys() {
    for (name, wanted) in [
        ("configs/full.toml", warmfront::config::full::text()),
        ("configs/warmfront.schema.json", warmfront::config::schema::text()),
    ] {
        if std::env::var_os("WARMFRONT_BLESS").is_some() {
            fs::write(root().join(name), &wanted).expect("configs/ is writable");
        }
        let found = fs::read_to_string(root().join(name)).unwrap_or_default();
        assert!(
            found == wanted,
            "{name} does not say what src/config/keys.rs says; run: WARMFRONT_BLESS=1 cargo test --test tidy"
        );
    }
}

#[test]
fn every_answer_of_our_own_has_a_row_in_the_errors_page() {
    let page = read("docs/errors.md");
    let id = RequestId::sanitised(b"1");
    let second = Duration::from_secs(1);
    let refusals = [
        Refusal::QueueFull { depth: 1 },
        Refusal::QueueBytes { bytes: 1 },
        Refusal::Late { timeout: second },
        Refusal::NotStarted,
        Refusal::Stopping,
    ];
    let causes = [
        Cause::Connect(std::io::ErrorKind::ConnectionRefused.into()),
        Cause::Closed,
        Cause::Protocol(std::io::ErrorKind::InvalidData.into()),
        Cause::BadResponse(warmfront::http1::response::BadResponse::Malformed),
        Cause::BadBody(warmfront::http1::chunked::ChunkFault::Size),
        Cause::SlowBody(second),
        Cause::LargeBody(1),
    ];
    let faults = FaultKind::ALL.map(|kind| Cause::Plane(PlaneFault::new(kind)));
    let of_php = PhpFault::all().map(Cause::Php);
    let heads = [
        Refused::Malformed("request line"),
        Refused::Framing(FramingFault::BadLength),
        Refused::Framing(FramingFault::UnknownCoding),
        Refused::Host,
        Refused::HostValue,
        Refused::HostConflict,
        Refused::Target(TargetFault::Form),
        Refused::Version,
        Refused::TargetTooLong,
        Refused::HeadTooLong,
        Refused::TooManyFields,
        Refused::Connect,
    ];
    let replies = refusals
        .iter()
        .map(|refusal| LocalReply::refused(refusal, 1, id))
        .chain(causes.iter().chain(&faults).chain(&of_php).map(|cause| LocalReply::failed(cause, id)))
        .chain(heads.iter().map(|head| LocalReply::malformed(head, id)))
        .chain(std::iter::once(LocalReply::slow_head(second, id)))
        .chain(std::iter::once(LocalReply::last_hop(b"OPTIONS * HTTP/1.1\r\n\r\n", id)));
    for reply in replies {
        let reason = reply.reason.split('=').next().unwrap_or_default();
        let row = |line: &str| {
            line.starts_with(&format!("| {} |", reply.status)) && line.contains(&format!("`{reason}"))
        };
        assert!(page.lines().any(row), "docs/errors.md has no row `| {} | … `{reason}` …`", reply.status);
    }
    for exit in [
        ExitCode::Done,
        ExitCode::Bug,
        ExitCode::Usage,
        ExitCode::WorkersUnavailable,
        ExitCode::SystemRefused,
        ExitCode::CutOff,
        ExitCode::BadConfig,
    ] {
        let row = format!("| {} | ", exit.code());
        assert!(
            page.lines().any(|line| line.starts_with(&row)),
            "docs/errors.md has no exit code row `{row}`"
        );
    }
}

#[test]
fn every_limit_named_in_a_document_is_a_key() {
    let sections: BTreeSet<&str> =
        KEYS.iter().filter_map(|key| key.path.split_once('.')).map(|(section, _)| section).collect();
    for (place, code) in quoted_words() {
        let name = code.split(['=', ' ']).next().unwrap_or_default();
        let looks_like_a_key = name.split_once('.').is_some_and(|(section, key)| {
            sections.contains(section) && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        });
        assert!(
            !looks_like_a_key || Key::find(name).is_some() || name.ends_with(".rs"),
            "{place}: `{name}` is no configuration key"
        );
    }
}

#[test]
fn every_test_and_file_named_by_a_document_exists() {
    let folders = ["src", "tests", "loadtest"];
    let tests: BTreeSet<String> =
        folders.into_iter().flat_map(sources).flat_map(|file| file.functions()).collect();
    let mut named = 0;
    for (place, code) in quoted_words() {
        let (name, is_pending) = match code.strip_prefix("pending ") {
            Some(name) => (name, true),
            None => (code.as_str(), false),
        };
        let is_sentence = name.matches('_').count() >= 3
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if is_sentence && families::ALL.iter().all(|family| family.name != name) {
            named += 1;
            let exists = tests.contains(name);
            assert!(exists || is_pending, "{place}: there is no test `{name}`");
            assert!(!(exists && is_pending), "{place}: `{name}` exists now; drop the word pending");
        }
        let starts = ["src/", "tests/", "docs/", "configs/", "scripts/", "loadtest/", "benches/"];
        if starts.iter().any(|start| code.starts_with(start)) && !code.contains([' ', '*', '{']) {
            assert!(root().join(&code).exists(), "{place}: there is no file `{code}`");
        }
    }
    assert!(named > 20, "only {named} tests are named: promises need their tests");
}

#[test]
fn the_metrics_page_is_generated_from_the_table() {
    let (path, wanted) = (root().join("docs/metrics.md"), metrics_page());
    if std::env::var_os("WARMFRONT_BLESS").is_some() {
        fs::write(&path, &wanted).expect("docs/metrics.md is writable");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/metrics.md does not say what src/admin/families.rs says; run: WARMFRONT_BLESS=1 cargo test --test tidy"
    );
}

#[test]
fn the_pages_policy_lets_its_own_script_and_style_run_and_no_other() {
    let (page, path) = (read("src/admin/page.html"), root().join("src/admin/page.policy"));
    let hashes = ["script", "style"].map(|element| {
        let parts: Vec<&str> = page.split(&format!("<{element}>")).collect();
        let [_, rest] = parts[..] else { panic!("the page must have one <{element}>, without attributes") };
        sha256(rest.split(&format!("</{element}>")).next().unwrap_or_default())
    });
    let wanted = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'\n",
        hashes[0], hashes[1]
    );
    if std::env::var_os("WARMFRONT_BLESS").is_some() {
        fs::write(&path, &wanted).expect("src/admin/page.policy is writable");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "src/admin/page.policy does not know src/admin/page.html; run: WARMFRONT_BLESS=1 cargo test --test tidy"
    );
    for other in ["http://", "https://", "//cdn", " src=", "@import", "url(", "innerHTML", " style=\""] {
        let found = page.replace("http://www.w3.org/2000/svg", "").contains(other);
        assert!(
            !found,
            "src/admin/page.html: `{other}`; one file asks nobody, and its policy would forbid it"
        );
    }
}

/// The hash of `text` as policies of pages write it.
fn sha256(text: &str) -> String {
    const HASH: &str = "import base64, hashlib, sys\n\
        print(base64.b64encode(hashlib.sha256(sys.stdin.buffer.read()).digest()).decode(), end='')";
    let mut python = Command::new("python3")
        .args(["-c", HASH])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there: scripts/setup-tests installs it");
    python.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    String::from_utf8(python.wait_with_output().expect("it ends").stdout).expect("text")
}

/// `docs/metrics.md`, whole.
fn metrics_page() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         <!-- Generated from src/admin/families.rs: WARMFRONT_BLESS=1 cargo test --test tidy -->\n\n\
         What `GET /metrics` of the [admin](admin.md) tells, in the text format of Prometheus. Durations are in\n\
         buckets from 100 µs to 30 s. Labels have the values named here and no others: nothing that a request says\n\
         becomes one. Counters start at zero with the process.\n\n\
         | metric | kind | labels | what it tells |\n|---|---|---|---|\n",
    );
    for family in families::ALL {
        let labels: Vec<String> =
            family.labels.iter().map(|(name, values)| format!("`{name}`: {values}")).collect();
        let labels = if labels.is_empty() { "–".to_owned() } else { labels.join("; ") };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "| `{}` | {} | {labels} | {} |", family.name, family.kind.word(), family.help);
    }
    page.push_str(
        "\nSome questions, and what answers them:\n\n\
         | question | PromQL |\n|---|---|\n\
         | how slow are the slowest of a hundred, warm | `histogram_quantile(0.99, rate(warmfront_request_duration_seconds_bucket{start=\"warm\"}[5m]))` |\n\
         | how much of a request is waiting for a slot | `rate(warmfront_queue_wait_seconds_sum[5m]) / sum(rate(warmfront_requests_total[5m]))` |\n\
         | how many connections to workers are reused | `rate(warmfront_worker_connections_reused_total[5m]) / (rate(warmfront_worker_connections_reused_total[5m]) + ignoring(side) rate(warmfront_connections_opened_total{side=\"worker\"}[5m]))` |\n\
         | how many requests does a client send on one connection | `sum(rate(warmfront_requests_total[5m])) / ignoring(side) rate(warmfront_connections_opened_total{side=\"client\"}[5m])` |\n\
         | is anybody refused | `sum by (reason) (rate(warmfront_shed_requests_total[5m])) > 0` |\n",
    );
    page
}

/// `docs/config.md`, whole.
fn configuration_page() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         <!-- Generated from src/config/keys.rs: WARMFRONT_BLESS=1 cargo test --test tidy -->\n\n\
         Strongest first: flag, environment, file, default. The file is `--config FILE`, else\n\
         `$WARMFRONT_CONFIG`, else `./warmfront.toml` if it exists. Every key but `workers.env` has a\n\
         variable: `WARMFRONT_` and its path in capitals, `queue.depth` is `WARMFRONT_QUEUE_DEPTH`.\n\n\
         `warmfront check` prints every problem with its place and starts nothing; `warmfront config`\n\
         prints every value and where it came from. An unknown key or variable is an error that names\n\
         the nearest valid one. Ready files: [minimal](../configs/minimal.toml), [fc](../configs/fc.toml),\n\
         [grpc](../configs/grpc.toml), [edge](../configs/edge.toml), [noslate](../configs/noslate.toml), [php-fpm](../configs/php-fpm.toml);\n\
         [full](../configs/full.toml) has every key at its default. Editors that know JSON Schema for TOML complete and mark\n\
         a file whose first line is `#:schema PATH`, with [the schema](../configs/warmfront.schema.json) or what\n\
         `warmfront config --schema` prints.\n\n\
         Periods have a unit (`1500ms`, `30s`, `2m`) and are at most 24 hours. Sizes are whole bytes or\n\
         have a unit (`64KiB` is 1024-based, `64kB` 1000-based).\n",
    );
    let mut section = None;
    for key in KEYS {
        if let Kind::Tables(fields) = key.kind {
            let _ = write!(page, "\n## `[[{}]]`\n\n{}", key.path, tables_page(key, fields));
            continue;
        }
        let own = key.path.split_once('.').map(|(section, _)| section);
        if section != Some(own) {
            section = Some(own);
            let title = own.map_or_else(|| "Top level".to_owned(), |name| format!("`[{name}]`"));
            // Writing to a String cannot fail.
            let _ = write!(
                page,
                "\n## {title}\n\n| key | values | default | flag | what it does |\n|---|---|---|---|---|\n"
            );
        }
        let default = if key.default.is_empty() { "–".to_owned() } else { format!("`{}`", key.default) };
        let flag = key.flag.map_or_else(
            || "–".to_owned(),
            |flag| if flag == "--" { "after `--`".to_owned() } else { format!("`{flag}`") },
        );
        let _ =
            writeln!(page, "| `{}` | {} | {default} | {flag} | {} |", key.path, values(key.kind), key.help);
    }
    page
}

/// What the page says of an array of tables.
fn tables_page(key: &Key, fields: &[Key]) -> String {
    let mut text = format!(
        "{} Only in the file, as often as there are any.\n\n\
         In `command`, `env`, `cwd`, `ready` and `log` the forms `${{NAME}}` and `${{NAME:-default}}` stand for a variable \
         of our own\nenvironment; `$${{` is a plain `${{`. More: [processes](processes.md).\n\n\
         | field | values | default | what it does |\n|---|---|---|---|\n",
        key.help
    );
    for field in fields {
        let default =
            if field.default.is_empty() { "–".to_owned() } else { format!("`{}`", field.default) };
        let _ = writeln!(text, "| `{}` | {} | {default} | {} |", field.path, values(field.kind), field.help);
    }
    text
}

fn values(kind: Kind) -> String {
    match kind {
        Kind::Address => "IP address".to_owned(),
        Kind::Number(min, max) => format!("{min} to {max}"),
        Kind::AutoOr(min, max) => format!("`auto`, or {min} to {max}"),
        Kind::Switch => "`true`, `false`".to_owned(),
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::Period(Zero::Allowed) => "period, from 0s".to_owned(),
        Kind::Period(Zero::Refused) => "period, over 0s".to_owned(),
        Kind::Size(min, max) => format!("{} to {}", size_text(min), size_text(max)),
        Kind::Path => "path".to_owned(),
        Kind::Target => "path of a request, or nothing".to_owned(),
        Kind::Place => "address:port or absolute path, or nothing".to_owned(),
        Kind::Collector => "URL, or nothing".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Secret => "text, shown nowhere".to_owned(),
        Kind::Words => "list of words".to_owned(),
        Kind::Paths => "list of paths".to_owned(),
        Kind::Variables => "table of texts".to_owned(),
        Kind::Tables(_) => "array of tables".to_owned(),
    }
}

/// What stands in backticks in the documents, with its place; fenced blocks are examples and left out.
fn quoted_words() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for document in documents() {
        let mut is_fenced = false;
        for (index, line) in read(&document).lines().enumerate() {
            is_fenced ^= line.trim_start().starts_with("```");
            if !is_fenced {
                let codes = line.split('`').skip(1).step_by(2);
                found.extend(codes.map(|code| (format!("{document}:{}", index + 1), code.to_owned())));
            }
        }
    }
    found
}

/// Everything written for people in this repository, as paths from its root.
fn documents() -> Vec<String> {
    let top = fs::read_dir(root()).expect("the root").filter_map(Result::ok).map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        top.filter(|path| path.is_file()).chain(files_below(&root().join("docs"))).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found.sort();
    found.iter().map(|path| relative(path)).collect()
}

// === reading source ===

#[derive(Default)]
struct Complaints(Vec<String>);

impl Complaints {
    fn add(&mut self, file: &Source, line: usize, why: &str) {
        self.0.push(format!("{}:{line}: {why}", file.path));
    }

    fn none(self) {
        assert!(self.0.is_empty(), "{} complaints:\n{}", self.0.len(), self.0.join("\n"));
    }
}

/// One source file.
struct Source {
    /// From the root, e.g. `src/engine/epoll.rs`.
    path: String,
    /// The part of the crate it belongs to: `engine`.
    room: String,
    /// As written.
    text: String,
    /// Without comments and literals, line for line.
    code: String,
    /// Without tests either.
    product: String,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("source is UTF-8");
        let path = relative(path);
        let room = path.split('/').nth(1).unwrap_or_default().trim_end_matches(".rs").to_owned();
        let code = blank_comments_and_literals(&text);
        // `engine/sim` as a whole is compiled for tests only (see `engine/mod.rs`).
        let is_test =
            path.ends_with("/tests.rs") || path.starts_with("tests/") || path.starts_with("src/engine/sim/");
        let product = if is_test { String::new() } else { blank_tests(&code) };
        Self { path, room, text, code, product }
    }

    fn is_at(&self, place: &str) -> bool {
        self.path == place || (place.ends_with('/') && self.path.starts_with(place))
    }

    /// Lines of the product that contain `part`, not as the tail of a longer name.
    fn mentions(&self, part: &str) -> Vec<usize> {
        let starts_word = part.starts_with(|c: char| c.is_alphanumeric());
        let here = |line: &str| {
            line.match_indices(part).any(|(at, _)| {
                !starts_word || !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        };
        self.product.lines().enumerate().filter(|(_, line)| here(line)).map(|(index, _)| index + 1).collect()
    }

    /// Lines of the product that use the package whose crate is `name`.
    fn uses(&self, name: &str) -> Vec<usize> {
        let here = |line: &str| {
            line.match_indices(name).any(|(at, _)| {
                let (before, after) = (&line[..at], &line[at + name.len()..]);
                let whole = !before.ends_with(|c: char| c.is_alphanumeric() || "_:.".contains(c));
                let imported = before.trim_end().ends_with("use") && after.starts_with([';', ' ']);
                whole && (after.starts_with("::") || imported)
            })
        };
        self.product.lines().enumerate().filter(|(_, line)| here(line)).map(|(index, _)| index + 1).collect()
    }

    /// The rooms it imports, with lines: `crate::room`, `crate::{a, b}`, and `super` chains that leave the room.
    fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for (at, root) in self.code.match_indices("crate::") {
            if self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let line = self.code[..at].lines().count().max(1);
            found.extend(first_names(&self.code[at + root.len()..]).into_iter().map(|room| (line, room)));
        }
        let depth = self.path.split('/').count() - 1 - usize::from(self.path.ends_with("/mod.rs"));
        for (index, line) in self.code.lines().enumerate() {
            // A line inside `mod tests { … }` is one module deeper.
            let own = depth + usize::from(line.starts_with(' ') && self.is_inside_inline_module(index));
            for (at, _) in line.match_indices("super::").filter(|(at, _)| !line[..*at].ends_with("super::")) {
                let climbed = line[at..].split("::").take_while(|part| *part == "super").count();
                if climbed >= own {
                    let rest = &line[at + climbed * "super::".len()..];
                    found.extend(first_names(rest).into_iter().map(|room| (index + 1, room)));
                }
            }
        }
        found
    }

    fn is_inside_inline_module(&self, index: usize) -> bool {
        let before: Vec<&str> = self.code.lines().take(index).collect();
        before
            .iter()
            .rev()
            .find(|line| !line.starts_with(' ') && !line.is_empty())
            .is_some_and(|line| line.ends_with('{') && words(line).any(|word| word == "mod"))
    }

    fn functions(&self) -> Vec<String> {
        let after_fn = |line: &str| {
            let mut words = words(line).skip_while(|word| *word != "fn");
            words.nth(1).map(str::to_owned)
        };
        self.code.lines().filter_map(after_fn).collect()
    }
}

/// `a` of `a::b`; `a` and `c` of `{a::b, c}`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| {
        text.trim().split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' | ',' if depth == 0 => {
                names.push(name(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The same lines with spaces in place of comments, strings and characters.
fn blank_comments_and_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// One past the comment or literal that starts at `at`; `at` if none does.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    let after = |from: usize, stop: &dyn Fn(usize) -> bool| {
        (from..chars.len()).find(|&i| stop(i)).unwrap_or(chars.len())
    };
    match (chars[at], next) {
        ('/', Some('/')) => after(at, &|i| chars[i] == '\n'),
        ('/', Some('*')) => after(at + 2, &|i| chars[i - 1] == '*' && chars[i] == '/') + 1,
        ('r', Some('"' | '#')) => {
            let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
            if chars.get(at + 1 + hashes) != Some(&'"') {
                return at; // A raw identifier.
            }
            let first = at + 2 + hashes;
            let closes = |i: usize| {
                chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
            };
            after(first, &closes) + 1 + hashes
        }
        ('"', _) => {
            let mut i = at + 1;
            while i < chars.len() && chars[i] != '"' {
                i += if chars[i] == '\\' { 2 } else { 1 };
            }
            (i + 1).min(chars.len())
        }
        ('\'', Some('\\')) => after(at + 3, &|i| chars[i] == '\'') + 1,
        ('\'', Some(_)) if chars.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

/// The same lines without the items under `#[cfg(test)]`.
fn blank_tests(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut hidden: Option<String> = None;
    for line in code.lines() {
        if hidden.is_none() && line.trim_start().starts_with("#[cfg(test)]") {
            hidden = Some(line[..line.len() - line.trim_start().len()].to_owned());
        } else if let Some(indent) = &hidden {
            let is_end = line == format!("{indent}}}")
                || (line.ends_with(';')
                    && line.strip_prefix(indent.as_str()).is_some_and(|rest| !rest.starts_with(' ')));
            if is_end {
                hidden = None;
            }
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}

fn sources(folder: &str) -> Vec<Source> {
    let mut paths = files_below(&root().join(folder));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    paths.sort();
    paths.iter().map(|path| Source::read(path)).collect()
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            if !path.ends_with("node_modules") {
                found.extend(files_below(&path));
            }
        } else {
            found.push(path);
        }
    }
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

// === the reader reads ===

#[test]
fn comments_literals_and_tests_are_no_code() {
    let text = "a(\"crate::x // y\"); // crate::b\nlet c: &'static str = r#\"crate::c\"#; let d = '\"';\n/* crate::e */ crate::f\n";
    assert_eq!(blank_comments_and_literals(text).matches("crate::").count(), 1);
    let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n    x.unwrap()\n}\nfn b() {}\n#[cfg(test)]\nmod tests;\nfn c() {}\n";
    assert_eq!(blank_tests(code).split_whitespace().collect::<String>(), "fna(){}fnb(){}fnc(){}");
}

#[test]
fn imports_are_found_however_they_are_written() {
    assert_eq!(first_names("config::{a, b};"), ["config"]);
    assert_eq!(first_names("{config::{a, b}, id, sys::x};"), ["config", "id", "sys"]);
    let source = |path: &str, text: &str| {
        let code = blank_comments_and_literals(text);
        Source { path: path.into(), room: "x".into(), text: text.into(), product: code.clone(), code }
    };
    let rooms = |path: &str, text: &str| {
        source(path, text).imports().into_iter().map(|(_, room)| room).collect::<Vec<_>>()
    };
    assert_eq!(rooms("src/proxy/line.rs", "use super::super::config;\nuse super::gate;\n"), ["config"]);
    assert_eq!(rooms("src/proxy/mod.rs", "use super::config;\n"), ["config"]);
    assert_eq!(rooms("src/app.rs", "mod tests {\n    use super::x;\n}\n"), [""; 0]);
    assert!(may_import("http1", "proxy").is_err() && may_import("upstream", "worker").is_err());
    assert!(may_import("telemetry", "sys").is_err() && may_import("http1", "telemetry").is_ok());
    assert_eq!(source("src/a.rs", "use tokio::net;\nself.tokio::x();\n").uses("tokio"), [1]);
}
