//! What an idle connection costs in memory.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use crate::cpu;
use crate::http::{Reader, parse_answer};
use crate::target::{Stream, Target};

/// Bound on opening one connection and on its one request.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// Flags of `rss`.
#[derive(Args, Clone, Debug)]
pub(crate) struct RssArgs {
    /// Process to look at; repeat or separate by commas for several.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) pid: Vec<u32>,
}

/// Flags of `idle`.
#[derive(Args, Clone, Debug)]
pub(crate) struct IdleArgs {
    /// Loopback ADDRESS:PORT or unix:PATH.
    #[arg(long)]
    pub(crate) target: Target,
    /// Connections to open and leave alone.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) connections: u32,
    /// Process whose memory is read.
    #[arg(long)]
    pub(crate) pid: u32,
    /// Send one request on each connection first.
    #[arg(long)]
    pub(crate) after_request: bool,
    /// Rest between the last connection and the reading, in milliseconds.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub(crate) settle_ms: u64,
}

/// Resident memory, one line per process.
///
/// # Errors
/// A process does not exist.
pub(crate) fn rss(args: &RssArgs) -> io::Result<String> {
    let mut out = String::new();
    for &pid in &args.pid {
        let _ = writeln!(out, "pid {pid:<10} RSS {:>10} KiB", cpu::rss_kib(pid)?);
    }
    Ok(out)
}

/// Opens the connections, reads memory before and after, closes them.
///
/// # Errors
/// A connection or its request failed, or the process does not exist.
pub(crate) async fn run(args: &IdleArgs) -> io::Result<String> {
    let before = cpu::rss_kib(args.pid)?;
    let open = open_all(&args.target, args.connections, args.after_request).await?;
    sleep(Duration::from_millis(args.settle_ms)).await;
    let after = cpu::rss_kib(args.pid)?;
    drop(open);
    let per_connection = (after as f64 - before as f64) / f64::from(args.connections);
    Ok(format!(
        "connections      {:>10}\nRSS before       {before:>10} KiB\nRSS after        {after:>10} KiB\n\
         per connection   {per_connection:>10.2} KiB\n",
        args.connections
    ))
}

/// Opens that many connections, after one request on each if asked to.
///
/// # Errors
/// A connection or its request failed; the error says which.
pub(crate) async fn open_all(target: &Target, count: u32, after_request: bool) -> io::Result<Vec<Stream>> {
    let mut open = Vec::new();
    for number in 1..=count {
        let stream = timeout(STEP_TIMEOUT, open_one(target, after_request)).await;
        open.push(stream.unwrap_or_else(|late| Err(late.into())).map_err(|error| {
            let hint = "is `ulimit -n` large enough on both sides?";
            io::Error::new(error.kind(), format!("connection {number} of {count}: {error}; {hint}"))
        })?);
    }
    Ok(open)
}

async fn open_one(target: &Target, after_request: bool) -> io::Result<Stream> {
    let mut stream = target.connect().await?;
    if after_request {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
        let mut reader = Reader::new(parse_answer);
        let mut bytes = [0; 4096];
        loop {
            let n = stream.read(&mut bytes).await?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (_, message) = reader.feed(&bytes[..n]).map_err(|why| io::Error::other(why.0))?;
            match message {
                Some(message) if message.head.status >= 400 => {
                    return Err(io::Error::other(format!("status {}", message.head.status)));
                }
                Some(_) => break,
                None => {}
            }
        }
    }
    Ok(stream)
}
