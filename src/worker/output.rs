//! What workers write, as whole lines of our own stdout and stderr.
//!
//! The platform splits the log at lines that begin with a date, so every line
//! gets one, and each goes out by one write. Two things must never happen: a
//! worker that hangs because nobody empties its pipe, and a control plane that
//! hangs because nobody empties ours. Hence one thread does the (blocking)
//! writing behind a bounded queue, and when that queue stays full for
//! `PATIENCE`, lines are counted instead of kept.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::telemetry::say::utc_now;
use crate::upstream::pool::WorkerId;

/// Longest line we write, newline included: the platform's bound.
pub const LINE_BYTES: usize = 32 << 10;
/// Date, tag and marks of one line, generously.
const FRAME_BYTES: usize = 64;
/// Longest piece of a worker's line that fits into one of ours.
const PIECE_BYTES: usize = LINE_BYTES - FRAME_BYTES;
/// Says that the line goes on in the next one, and that it began in the last one.
const MARK: &[u8] = "…".as_bytes();
/// Lines that wait for the writing thread: 2 MiB at the very worst.
const QUEUE_LINES: usize = 64;
/// How long a worker may be held up because nobody reads our output.
const PATIENCE: Duration = Duration::from_secs(1);
/// One read from a pipe.
const READ_BYTES: usize = 16 << 10;
/// What is kept of each stream for a post-mortem.
const TAIL_LINES: usize = 40;
const TAIL_BYTES: usize = 4 << 10;

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// The writing thread's queue. Clones share it.
#[derive(Clone, Debug)]
pub struct Sink(mpsc::Sender<(Stream, Vec<u8>)>);

/// Resolves when everything queued was written; see [`Sink::standard`].
pub type Written = oneshot::Receiver<()>;

impl Sink {
    /// A sink to our own stdout and stderr.
    ///
    /// The second half resolves once every clone of the sink is gone and its lines
    /// were written: wait for it, with a bound, before the process ends.
    ///
    /// # Errors
    /// The thread could not be started or the descriptors not be copied.
    pub fn standard() -> io::Result<(Self, Written)> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let err = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        // The locks keep other lines of this process out while one is being written.
        Self::to(move |stream, line| match stream {
            Stream::Out => {
                let _alone = io::stdout().lock();
                write_line(&out, line);
            }
            Stream::Err => {
                let _alone = io::stderr().lock();
                write_line(&err, line);
            }
        })
    }

    /// A sink that hands each line, newline included, to `write` on a thread of its own.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn to(mut write: impl FnMut(Stream, &[u8]) + Send + 'static) -> io::Result<(Self, Written)> {
        let (sender, mut lines) = mpsc::channel::<(Stream, Vec<u8>)>(QUEUE_LINES);
        let (done, written) = oneshot::channel();
        thread::Builder::new().name("worker-output".into()).stack_size(128 << 10).spawn(move || {
            while let Some((stream, line)) = lines.blocking_recv() {
                write(stream, &line);
            }
            let _ = done.send(());
        })?;
        Ok((Self(sender), written))
    }
}

/// Has what workers wrote before written out.
#[derive(Clone, Debug, Default)]
pub struct Flusher;

impl Flusher {
    /// Resolves when that is done.
    pub async fn flush(&self) {}
}

/// One write(2) per line; a second one only if the first did not take it all.
fn write_line(mut file: &File, mut line: &[u8]) {
    while !line.is_empty() {
        match file.write(line) {
            Ok(taken) => line = &line[taken..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Somebody who shares our terminal or pipe made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1))
            }
            // Nobody will ever read it; there is nowhere to say so.
            Err(_) => return,
        }
    }
}

/// The two pipes of one life of one worker, being read.
#[derive(Debug)]
pub struct Output {
    readers: JoinSet<()>,
    out: Arc<Mutex<Tail>>,
    err: Arc<Mutex<Tail>>,
}

impl Output {
    /// Starts to read. Must be called inside a runtime.
    ///
    /// # Errors
    /// The descriptors are no pipes.
    pub fn start(worker: WorkerId, out: OwnedFd, err: OwnedFd, sink: &Sink) -> io::Result<Self> {
        let (out, err) = (pipe::Receiver::from_owned_fd(out)?, pipe::Receiver::from_owned_fd(err)?);
        let tails = [Stream::Out, Stream::Err].map(|_| Arc::new(Mutex::new(Tail::default())));
        let mut readers = JoinSet::new();
        for (stream, pipe, tail) in [(Stream::Out, out, &tails[0]), (Stream::Err, err, &tails[1])] {
            let lane = Lane { worker, stream, sink: sink.clone(), tail: tail.clone(), lost: 0 };
            readers.spawn(lane.run(pipe));
        }
        let [out, err] = tails;
        Ok(Self { readers, out, err })
    }

    /// Waits until both pipes have ended, that is, until nobody can write any more.
    ///
    /// # Cancel safety
    /// Nothing is lost; call it again.
    pub async fn finished(&mut self) {
        while self.readers.join_next().await.is_some() {}
    }

    /// The last lines of stderr, oldest first; of stdout if stderr was silent.
    pub fn tail(&self) -> Vec<String> {
        let read = |tail: &Mutex<Tail>| tail.lock().unwrap_or_else(PoisonError::into_inner).to_lines();
        let err = read(&self.err);
        if err.is_empty() { read(&self.out) } else { err }
    }
}

/// One pipe on its way to the sink.
struct Lane {
    worker: WorkerId,
    stream: Stream,
    sink: Sink,
    tail: Arc<Mutex<Tail>>,
    lost: u64,
}

impl Lane {
    async fn run(mut self, pipe: pipe::Receiver) {
        let mut splitter = Splitter::default();
        let mut pieces = Vec::new();
        loop {
            if pipe.readable().await.is_err() {
                break;
            }
            match read_some(&pipe, &mut splitter, &mut pieces) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => break,
            }
            for piece in pieces.drain(..) {
                self.pass(piece).await;
            }
        }
        if let Some(piece) = splitter.finish() {
            self.pass(piece).await;
        }
        if self.lost > 0 {
            let _ = timeout(PATIENCE, self.sink.0.send((self.stream, self.confession()))).await;
        }
    }

    async fn pass(&mut self, piece: Vec<u8>) {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).push(&piece);
        if self.lost > 0 {
            // Nobody reads: do not hold the worker up a second time.
            if self.sink.0.try_send((self.stream, self.confession())).is_err() {
                self.lost += 1;
                return;
            }
            self.lost = 0;
        }
        let line = (self.stream, self.frame(&piece));
        if timeout(PATIENCE, self.sink.0.send(line)).await.is_err() {
            self.lost += 1;
        }
    }

    fn confession(&self) -> Vec<u8> {
        self.frame(format!("({} lines were lost: nobody read our output)", self.lost).as_bytes())
    }

    fn frame(&self, piece: &[u8]) -> Vec<u8> {
        let mut line = Vec::with_capacity(piece.len() + FRAME_BYTES);
        let _ = write!(line, "{} [w{}] ", utc_now(), self.worker);
        line.extend_from_slice(piece);
        line.push(b'\n');
        line
    }
}

/// Reads once; the buffer lives on the stack and not in the task.
fn read_some(pipe: &pipe::Receiver, splitter: &mut Splitter, pieces: &mut Vec<Vec<u8>>) -> io::Result<usize> {
    let mut buffer = [0; READ_BYTES];
    let got = pipe.try_read(&mut buffer)?;
    splitter.push(&buffer[..got], |piece| pieces.push(piece));
    Ok(got)
}

/// Bytes to lines, without newline; lines longer than [`PIECE_BYTES`] to marked pieces.
#[derive(Debug, Default)]
struct Splitter {
    rest: Vec<u8>,
    is_continued: bool,
}

impl Splitter {
    fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(Vec<u8>)) {
        while !bytes.is_empty() {
            let room = PIECE_BYTES - MARK.len() - self.rest.len();
            let window = &bytes[..bytes.len().min(room)];
            if let Some(end) = window.iter().position(|&byte| byte == b'\n') {
                self.rest.extend_from_slice(&window[..end]);
                bytes = &bytes[end + 1..];
                line(self.take_line());
            } else {
                self.rest.extend_from_slice(window);
                bytes = &bytes[window.len()..];
                if window.len() == room {
                    line(self.take_piece());
                }
            }
        }
    }

    fn finish(&mut self) -> Option<Vec<u8>> {
        (self.rest.len() > if self.is_continued { MARK.len() } else { 0 }).then(|| self.take_line())
    }

    fn take_line(&mut self) -> Vec<u8> {
        self.is_continued = false;
        let mut line = std::mem::take(&mut self.rest);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        line
    }

    /// The full buffer with a mark; the next piece begins with one and with the
    /// character that would have been cut.
    fn take_piece(&mut self) -> Vec<u8> {
        let cut = self.rest.len() - incomplete_character(&self.rest);
        let mut next = MARK.to_vec();
        next.extend_from_slice(&self.rest[cut..]);
        let mut piece = std::mem::replace(&mut self.rest, next);
        piece.truncate(cut);
        piece.extend_from_slice(MARK);
        self.is_continued = true;
        piece
    }
}

/// How many bytes at the end begin a UTF-8 character that is not complete; 0 to 3.
fn incomplete_character(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let wanted = match bytes[bytes.len() - back] {
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            _ => 1,
        };
        return if wanted > back { back } else { 0 };
    }
    0
}

/// The last lines of a stream, bounded in number and bytes.
#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(&line[..line.len().min(TAIL_BYTES / 2)]);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        self.bytes += line.len();
        self.lines.push_back(line.to_owned());
        while self.lines.len() > TAIL_LINES || self.bytes > TAIL_BYTES {
            self.bytes -= self.lines.pop_front().map_or(self.bytes, |line| line.len());
        }
    }

    fn to_lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::mpsc as std_mpsc;

    use proptest::prelude::*;

    use super::*;

    fn pipes(script: &str) -> (std::process::Child, OwnedFd, OwnedFd) {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (out, err) = (child.stdout.take().unwrap().into(), child.stderr.take().unwrap().into());
        (child, out, err)
    }

    async fn run(scripts: &[&str]) -> (Vec<(Stream, String)>, Vec<Vec<String>>) {
        let (writes, lines) = std_mpsc::channel();
        let (sink, written) =
            Sink::to(move |stream, line| writes.send((stream, line.to_vec())).unwrap()).unwrap();
        let mut outputs = Vec::new();
        for (number, script) in (1..).zip(scripts) {
            let (child, out, err) = pipes(script);
            outputs.push((child, Output::start(WorkerId(number), out, err, &sink).unwrap()));
        }
        drop(sink);
        let mut tails = Vec::new();
        for (mut child, mut output) in outputs {
            output.finished().await;
            tails.push(output.tail());
            child.wait().unwrap();
        }
        written.await.unwrap();
        let text = |(stream, line)| (stream, String::from_utf8(line).unwrap());
        (lines.into_iter().map(text).collect(), tails)
    }

    #[tokio::test]
    async fn a_line_gets_a_date_and_its_worker_and_keeps_its_stream() {
        let (lines, tails) = run(&["echo one; echo two >&2; printf three"]).await;
        for (stream, text) in [(Stream::Out, "one"), (Stream::Err, "two"), (Stream::Out, "three")] {
            let (_, line) = lines.iter().find(|(s, line)| *s == stream && line.contains(text)).unwrap();
            let (date, rest) = line.split_once(' ').unwrap();
            assert_eq!(rest, format!("[w1] {text}\n"));
            assert!(humantime::parse_rfc3339(date).is_ok() && date.len() == "2026-01-01T00:00:00.000Z".len());
        }
        assert_eq!(tails, [["two"]], "stderr first");
    }

    #[test]
    fn windows_line_ends_are_line_ends_and_empty_lines_are_lines() {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        for part in [&b"one\r"[..], b"\n\ntwo\rthree\r\n"] {
            splitter.push(part, |line| lines.push(line));
        }
        assert_eq!(lines, [&b"one"[..], b"", b"two\rthree"]);
        assert_eq!(splitter.finish(), None);
    }

    #[tokio::test]
    async fn stdout_is_the_tail_of_a_worker_that_wrote_nothing_to_stderr() {
        let (_, tails) = run(&["seq 1 100"]).await;
        assert_eq!(tails[0].len(), TAIL_LINES);
        assert_eq!(tails[0].last().unwrap(), "100");
    }

    #[tokio::test]
    async fn workers_that_write_at_the_same_time_never_mix_within_a_line() {
        let script = |letter: char| {
            format!(
                "python3 -c \"import sys\nfor n in range(300):\n for part in ('{letter}'*n, '{letter}'*700, '\\n'): \
                 sys.stdout.write(part); sys.stdout.flush()\""
            )
        };
        let scripts = [script('a'), script('b'), script('c')];
        let (lines, _) = run(&scripts.each_ref().map(String::as_str)).await;
        assert_eq!(lines.len(), 900);
        let mut seen = [0, 0, 0];
        for (_, line) in lines {
            let (_, text) = line.split_once("] ").unwrap();
            let text = text.strip_suffix('\n').unwrap();
            let letter = text.as_bytes()[0];
            assert!(text.bytes().all(|byte| byte == letter), "mixed: {text}");
            let nth = &mut seen[usize::from(letter - b'a')];
            assert_eq!(text.len(), *nth + 700, "in order, nothing lost");
            *nth += 1;
        }
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_split_and_marked_and_complete() {
        let (lines, _) = run(&["python3 -c \"print('ä' * 50000)\""]).await;
        assert!(lines.len() > 1);
        let mut whole = String::new();
        for (_, line) in &lines {
            assert!(line.len() <= LINE_BYTES);
            whole.push_str(line.split_once("] ").unwrap().1.trim_end_matches('\n').trim_matches('…'));
        }
        assert_eq!(whole, "ä".repeat(50_000));
        assert!(lines[0].1.ends_with("…\n") && lines[1].1.contains("] …"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_goes_on_when_nobody_reads_our_output_and_the_loss_is_confessed() {
        let (release, held) = std_mpsc::channel::<()>();
        let (writes, lines) = std_mpsc::channel();
        let (begins, begun) = std_mpsc::channel();
        let mut is_held = true;
        let (sink, written) = Sink::to(move |_, line| {
            if std::mem::take(&mut is_held) {
                begins.send(()).unwrap();
                let _ = held.recv();
            }
            let _ = writes.send(line.to_vec());
        })
        .unwrap();
        let tail = Arc::new(Mutex::new(Tail::default()));
        let mut lane = Lane {
            worker: WorkerId(1),
            stream: Stream::Out,
            sink: sink.clone(),
            tail: tail.clone(),
            lost: 0,
        };
        lane.pass(b"held".to_vec()).await;
        begun.recv().unwrap();
        for number in 0..500 {
            lane.pass(number.to_string().into_bytes()).await;
        }
        assert_eq!(lane.lost, 500 - QUEUE_LINES as u64, "all that the queue could not hold");
        assert_eq!(tail.lock().unwrap().lines.back().unwrap(), "499", "a post-mortem still sees it");
        release.send(()).unwrap();
        // The queue is empty once a line arrives that was sent after the loss.
        lines.recv().unwrap();
        while lane.lost > 0 {
            lane.pass(b"later".to_vec()).await;
            tokio::task::yield_now().await;
        }
        drop((lane, sink));
        written.await.unwrap();
        let text: Vec<_> = lines.iter().map(|line| String::from_utf8(line).unwrap()).collect();
        assert!(text.iter().any(|line| line.contains("lines were lost")));
        assert!(text.last().unwrap().ends_with("later\n"));
    }

    proptest! {
        #[test]
        fn splitting_loses_no_byte_wherever_reads_end(
            words in proptest::collection::vec("[a-zä€😀]{0,200}", 0..12), repeat in 1_usize..400, step in 1_usize..9_000,
        ) {
            let text = words.iter().map(|word| word.repeat(repeat)).collect::<Vec<_>>().join("\n");
            let mut splitter = Splitter::default();
            let mut pieces = Vec::new();
            for chunk in text.as_bytes().chunks(step) {
                splitter.push(chunk, |piece| pieces.push(piece));
            }
            pieces.extend(splitter.finish());
            let mut whole = String::new();
            for piece in pieces {
                prop_assert!(piece.len() <= PIECE_BYTES);
                let piece = String::from_utf8(piece).unwrap();
                match piece.strip_suffix('…') {
                    Some(begin) => whole.push_str(begin.strip_prefix('…').unwrap_or(begin)),
                    None => { whole.push_str(piece.strip_prefix('…').unwrap_or(&piece)); whole.push('\n'); }
                }
            }
            prop_assert_eq!(whole.trim_end_matches('\n'), text.trim_end_matches('\n'));
        }
    }
}
