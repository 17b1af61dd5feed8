//! How many instructions the steps of a request's way take: scripts/count
//!
//! Time on a shared machine says little below a factor; instructions say the
//! same every time. Each step runs under callgrind twice, and what the second
//! run takes more, by the runs it makes more, is the figure: so starting and
//! warming are not in it. Only user space is seen; where a system call waits or
//! copies, `warmfront-bench` measures.
//!
//! The figures are compared with `benches/counts.txt`: 3 % more is a regression
//! and ends the command with 1. They depend on the compiler and the processor's
//! features, so the file names both. `WARMFRONT_BLESS=1` writes it anew.
//!
//! A runner of its own, since the whole forward runs on another thread than the
//! one that starts it, between peers that must not be counted, and since the
//! figures to compare with are to be in the repository.

#![allow(clippy::print_stdout, reason = "a table for whoever has asked for it")]

mod shared;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;

/// More than this many percent is a regression.
const TOLERANCE_PERCENT: f64 = 3.0;
/// Runs of a step.
const RUNS: [u64; 2] = [100, 1100];
/// The steps that are all of them, and whether the request is counted and timed for the admin.
const FORWARDS: [(&str, bool); 2] = [("one whole forward", false), ("one whole forward, observed", true)];

fn main() -> ExitCode {
    // What cargo adds says only that this is no test.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", name, times] if FORWARDS.iter().any(|known| known.0 == name) => {
            forward(number(times), FORWARDS.contains(&(name, true)));
        }
        ["run", name, times] => {
            let (_, mut step) =
                shared::steps().into_iter().find(|step| step.0 == name).expect("a known step");
            step(number(times));
        }
        ["peers", socket, address, times] => peers(Path::new(socket), address, number(times)),
        // `cargo test --benches` shall not take minutes.
        ["--test", ..] => {}
        [] => return compare(),
        _ => {
            eprintln!("counts: takes no arguments");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// Counts every step, shows the figures beside the known ones, and says whether any has become worse.
fn compare() -> ExitCode {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/counts.txt");
    let known = fs::read_to_string(&path).unwrap_or_default();
    let blesses = std::env::var_os("WARMFRONT_BLESS").is_some();
    let here = format!("# {}", ground());
    if !blesses && known.lines().next() != Some(&here) {
        println!("counted on other ground than the figures to compare with: {here}");
    }
    let known: BTreeMap<&str, f64> = known
        .lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, count)| Some((name.trim_end(), count.parse().ok()?)))
        .collect();
    let names = shared::steps().into_iter().map(|step| step.0).chain(FORWARDS.map(|known| known.0));
    let (mut text, mut worse) = (here + "\n", 0);
    for name in names {
        let [few, many] = RUNS.map(|times| instructions(name, times));
        let count = many.saturating_sub(few) as f64 / (RUNS[1] - RUNS[0]) as f64;
        let _ = writeln!(text, "{name:<50} {count:.0}");
        let verdict = match known.get(name) {
            None => "new".to_owned(),
            Some(before) => {
                let percent = (count / before - 1.0) * 100.0;
                let is_worse = percent > TOLERANCE_PERCENT && count - before > 2.0;
                worse += u32::from(is_worse);
                format!("{percent:+.1} %{}", if is_worse { "  WORSE" } else { "" })
            }
        };
        println!("{name:<50} {count:>8.0}   {verdict}");
    }
    if blesses {
        fs::write(&path, text).expect("a file that can be written");
        return ExitCode::SUCCESS;
    }
    if worse > 0 {
        println!("{worse} steps take over {TOLERANCE_PERCENT} % more instructions than {}", path.display());
    }
    ExitCode::from(u8::from(worse > 0))
}

/// What the figures depend on beside our source.
fn ground() -> String {
    let rustc = Command::new("rustc").arg("--version").output().expect("rustc");
    // httparse looks for it, and so do the C library's copies.
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let vectors =
        if cpus.split_whitespace().any(|word| word == "avx2") { "with AVX2" } else { "without AVX2" };
    format!("{}, {} {vectors}", String::from_utf8_lossy(&rustc.stdout).trim(), std::env::consts::ARCH)
}

/// All instructions of a process that runs `name` so many times.
fn instructions(name: &str, times: u64) -> u64 {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("callgrind.out");
    let own = std::env::current_exe().expect("a program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(own)
        .args(["run", name, &times.to_string()])
        .stdout(Stdio::null())
        .output()
        .expect("valgrind, which scripts/count installs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let counted = fs::read_to_string(&out).expect("what callgrind has counted");
    let totals = counted.lines().find_map(|line| line.strip_prefix("totals: ")).expect("its totals");
    number(totals.trim())
}

/// The data plane alone in this process, client and worker in another that nobody counts.
fn forward(times: u64, is_observed: bool) {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("worker.sock");
    let (data, address) = shared::forward(&socket, is_observed);
    let mut peers = Peers::start(&socket, &address.to_string(), times);
    assert!(peers.0.wait().expect("a process").success());
    data.order(warmfront::engine::data_plane::Order::Leave);
    data.join();
}

struct Peers(Child);

impl Peers {
    fn start(socket: &Path, address: &str, times: u64) -> Self {
        let own = std::env::current_exe().expect("a program");
        let args = ["peers", &socket.display().to_string(), address, &times.to_string()].map(String::from);
        Self(Command::new(own).args(args).spawn().expect("a process"))
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // It has ended, but where an assertion failed.
        let _ = self.0.kill();
    }
}

/// The client and the worker of a forward: one connection, one request after the other.
fn peers(socket: &Path, address: &str, times: u64) {
    let listener = UnixListener::bind(socket).expect("a socket");
    thread::spawn(move || shared::answer(&listener));
    let mut client = shared::Client::new(address.parse().expect("an address"));
    (0..times).for_each(|_| client.ask());
}
