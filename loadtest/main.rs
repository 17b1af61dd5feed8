//! warmfront-bench: the ruler that warmfront is measured with.
//!
//! Everything a figure needs is in this one program, so that it can be repeated
//! anywhere: load, workers, the reference relay, the paired comparison. See
//! `README.md` beside this file for what the figures mean.

mod again;
mod body;
mod cold;
mod compare;
mod configurations;
mod cpu;
mod exchange;
mod fork;
mod freeze;
mod goals;
mod http;
mod idle;
mod launch;
mod load;
mod machine;
mod namespace;
mod noslate;
mod pace;
mod pages;
mod peer;
mod peers;
mod private_dir;
mod probe;
mod process;
mod progress;
mod relay;
mod report;
mod scratch;
mod serve;
mod soak;
mod splice;
mod stack;
mod stats;
mod stop;
mod study;
mod subjects;
mod tally;
mod target;
mod verdict;
mod warm;
mod websocket;

use std::future::Future;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Measures HTTP/1.1 proxies on this machine.
#[derive(Debug, Parser)]
#[command(name = "warmfront-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send requests in a closed loop and report latency; fails if any request failed.
    Load(load::LoadArgs),
    /// Answer requests; the path says how: `/b/<bytes>`, `/c/<chunked bytes>`, `/h/<fields>`, pages of scenarios.
    Serve(serve::ServeArgs),
    /// Copy bytes between TCP connections and Unix sockets without reading them.
    Relay(relay::RelayArgs),
    /// Measure CPU per request of warmfront and its peers, in interleaved rounds, and judge it.
    Peers(Box<peers::PeersArgs>),
    /// Measure what an invocation of a Noslate function costs warmfront and the documented front door.
    Noslate(Box<noslate::NoslateArgs>),
    /// Start an app from nothing again and again, and say what each phase of a start takes.
    Cold(Box<cold::ColdArgs>),
    /// Measure an app directly, behind warmfront and behind other proxies: cold, warm and after a crash.
    Compare(Box<compare::CompareArgs>),
    /// Freeze an app and let it go on, and say what the first requests behind that see.
    Freeze(Box<freeze::FreezeArgs>),
    /// Send scenarios by a schedule (open loop) to an app that is cold, warm or thawed, or search the rate it holds.
    Warm(Box<warm::WarmArgs>),
    /// Merge files of earlier measurements and show them again.
    Report(again::ReportArgs),
    /// Storm warmfront with requests in front of workers that fail in every way, and judge what came out.
    Soak(soak::SoakArgs),
    /// Be such a worker.
    #[command(hide = true)]
    Misbehave(soak::worker::MisbehaveArgs),
    /// Print the resident memory of processes.
    Rss(idle::RssArgs),
    /// Open idle connections and print what they cost in memory.
    Idle(idle::IdleArgs),
}

fn main() -> ExitCode {
    process::raise_open_files();
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "warmfront-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True if all went as asked.
fn run(command: Command) -> io::Result<bool> {
    match command {
        Command::Load(args) => {
            let report = load::run(&args)?;
            let text = if args.json { format!("{}\n", report.to_json()) } else { report.to_table() };
            print(&text)?;
            Ok(report.tally.failed() == 0 && report.tally.ok() > 0)
        }
        // These two only ever end by a signal: that is no failure.
        Command::Serve(args) => until_signal(serve::run(&args)).map(|_| true),
        Command::Relay(args) => until_signal(relay::run(&args)).map(|_| true),
        Command::Peers(args) => {
            if args.chooses_congestion() {
                namespace::enter();
            }
            until_signal(peers::run(&args))?.ok_or_else(interrupted)
        }
        Command::Noslate(args) => until_signal(noslate::run(&args))?.ok_or_else(interrupted),
        Command::Cold(args) => cold::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Freeze(args) => freeze::run(&args),
        Command::Warm(args) => warm::run(&args),
        Command::Report(args) => again::run(&args),
        Command::Soak(args) => until_signal(soak::run(&args))?.ok_or_else(interrupted),
        Command::Misbehave(args) => until_signal(soak::worker::run(&args)).map(|_| true),
        Command::Rss(args) => print(&idle::rss(&args)?).map(|()| true),
        Command::Idle(args) => {
            let text = until_signal(idle::run(&args))?.ok_or_else(interrupted)?;
            print(&text).map(|()| true)
        }
    }
}

fn interrupted() -> io::Error {
    io::Error::new(io::ErrorKind::Interrupted, "interrupted before there was anything to report")
}

fn print(text: &str) -> io::Result<()> {
    io::stdout().lock().write_all(text.as_bytes())
}

/// Runs `work` on one thread; INT and TERM drop it, and with it all it started. `None` if they did.
fn until_signal<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<Option<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        // Dropping any of the three half-way loses nothing that matters any more.
        tokio::select! {
            done = work => done.map(Some),
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use super::*;
    use crate::tally::LoadReport;

    fn load(args: &str) -> LoadReport {
        let Command::Load(args) = Cli::parse_from(args.split(' ')).command else {
            panic!("not a load: {args}")
        };
        load::run(&args).unwrap()
    }

    /// A worker, and the directory that holds its socket.
    fn worker() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("w");
        serve::tests::serve_in_background(socket.clone());
        (dir, socket)
    }

    #[test]
    fn every_shape_of_traffic_is_answered_in_full() {
        let (_dir, socket) = worker();
        for (flags, expected) in [
            ("--path /", 1024),
            ("--path /b/0", 0),
            ("--path /b/300000", 300_000),
            ("--path /c/1026", 1026),
            ("--path /c/100000/64", 100_000),
            ("--path /b/1000000 --idle-connections 9", 1_000_000),
            ("--rate 20000", 1024),
            ("--path /h/96 --header-count 96", 1024),
            ("--body-bytes 100000", 1024),
            ("--body-bytes 100000 --chunked-body --threads 2", 1024),
            ("--new-connection-per-request", 1024),
            ("--method HEAD --path /b/5000", 0),
        ] {
            let report = load(&format!(
                "bench load --target unix:{} --connections 4 --requests 50 --warmup-requests 10 \
                 --expect-body-bytes {expected} {flags}",
                socket.display()
            ));
            assert_eq!((report.tally.ok(), report.tally.failed()), (50, 0), "{flags}: {}", report.to_table());
        }
    }

    #[test]
    fn a_period_ends_the_run_without_counting_as_unsent() {
        let (_dir, socket) = worker();
        let report = load(&format!("bench load --target unix:{} --seconds 0.05", socket.display()));
        assert!(report.tally.ok() > 0 && report.tally.failed() == 0, "{}", report.to_table());
    }

    #[test]
    fn an_answer_of_another_length_is_an_error() {
        let (_dir, socket) = worker();
        let target = socket.display();
        let report = load(&format!("bench load --target unix:{target} --requests 3 --expect-body-bytes 9"));
        assert_eq!(report.to_json()["errors"]["body_length"]["count"], 3);
        let report = load(&format!("bench load --target unix:{target} --requests 3 --path /b/999999999"));
        assert_eq!(report.to_json()["errors"]["status_4xx"]["count"], 3);
    }

    #[test]
    fn nobody_there_is_a_connect_error_per_request() {
        let report = load("bench load --target unix:/nonexistent/socket --requests 5 --connections 2");
        assert_eq!(report.to_json()["errors"]["connect"]["count"], 5);
    }

    #[test]
    fn a_peer_that_breaks_off_is_counted_by_how_it_did() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let _ = io::Read::read(&mut stream, &mut request);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
            }
        });
        let report = load(&format!("bench load --target {address} --requests 3 --connections 1"));
        assert_eq!(report.to_json()["errors"]["eof"]["count"], 3, "{}", report.to_table());
    }

    #[test]
    fn silence_is_a_timeout() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let report =
            load(&format!("bench load --target {address} --requests 2 --connections 1 --timeout-ms 20"));
        assert_eq!(report.to_json()["errors"]["timeout"]["count"], 2, "{}", report.to_table());
    }

    #[tokio::test]
    async fn both_relays_pass_everything_on() {
        for splices in [false, true] {
            relay_passes_everything_on(splices).await;
        }
    }

    async fn relay_passes_everything_on(splices: bool) {
        let (_dir, socket) = worker();
        let address: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let args = relay::RelayArgs { listen: vec![address], unix: vec![socket], splice: splices };
        let relaying = tokio::spawn(async move { relay::run(&args).await });
        // Whether the relay listens already is seen by a first connection.
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
        for flags in ["--path /b/3000000", "--body-bytes 3000000", "--new-connection-per-request"] {
            let line = format!("bench load --target {address} --connections 3 --requests 20 {flags}");
            let report = tokio::task::spawn_blocking(move || load(&line)).await.unwrap();
            let counts = (report.tally.ok(), report.tally.failed());
            assert_eq!(counts, (20, 0), "splice {splices}, {flags}: {}", report.to_table());
        }
        relaying.abort();
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
        assert!(Cli::try_parse_from(["bench", "load", "--target", "8.8.8.8:80"]).is_err());
    }
}
