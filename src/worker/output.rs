//! What workers write, on its way to our own stdout and stderr.
//!
//! The platform splits the log at lines that begin with a date, so every record
//! gets one, and each goes out by one write. A lane reads one pipe; what it read
//! becomes lines (`lines`), lines become records (`records`), and
//! those go into a ring that never makes anybody wait ([`super::sink`]). For which
//! request a line was written is known by where it stands in the pipe
//! ([`crate::upstream::roster`]).

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::unix::pipe;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinSet, yield_now};

use super::flush::Flusher;
use super::lines::{LINE_BYTES, Splitter};
use super::records::{Joiner, Record};
use super::sink::{Fence, Sink, Stream};
use super::stamp::Candidates;
use crate::clock;
use crate::sys;
use crate::telemetry::say::utc_now;
use crate::upstream::pool::WorkerId;
use crate::upstream::roster::{Pipe, Roster, Span};

/// One read from a pipe: what may be taken while requests wait for the roster.
const READ_BYTES: usize = 16 << 10;
/// How long a record is held back for lines that belong to it: they may come in several writes.
const HELD: Duration = Duration::from_millis(10);
/// The same inside of a trace: Python writes line by line and may lose its CPU in between.
const HELD_IN_TRACE: Duration = Duration::from_millis(200);
/// The same in all, while such lines keep coming.
const HELD_MAX: Duration = Duration::from_secs(1);
/// What is kept of each stream for a post-mortem.
const TAIL_LINES: usize = 40;
const TAIL_BYTES: usize = 4 << 10;

/// What becomes of lines.
#[derive(Clone, Copy, Debug)]
pub enum Manner<'a> {
    /// Records with a date and the worker's number.
    Worker {
        /// Which.
        id: WorkerId,
        /// Whether they get the ids of requests in flight; a roster is kept for that.
        stamped: bool,
        /// Whether this text of a record is said elsewhere as well, and not to be said twice.
        is_repeated: fn(&[u8]) -> bool,
    },
    /// Records with a date and this name.
    Named(&'a str),
    /// Lines as they were written, at once: the file is the writer's own.
    Plain,
}

impl Manner<'_> {
    fn tag(self) -> Option<String> {
        match self {
            Self::Worker { id, .. } => Some(format!("[w{id}]")),
            Self::Named(name) => Some(format!("[{name}]")),
            Self::Plain => None,
        }
    }
}

/// The two pipes of one life of one worker or process, being read.
#[derive(Debug)]
pub struct Output {
    readers: JoinSet<()>,
    tails: [Arc<Mutex<Tail>>; 2],
    roster: Option<Arc<Roster>>,
    first: FirstOutput,
}

/// When a worker first wrote anything, from then on.
pub type FirstOutput = Arc<OnceLock<Instant>>;

impl Output {
    /// Starts to read. Must be called inside a runtime.
    ///
    /// # Errors
    /// The descriptors are no pipes, or the system refused to watch them.
    pub fn start(
        manner: Manner<'_>,
        [out, err]: [OwnedFd; 2],
        sink: &Sink,
        flusher: &Flusher,
    ) -> io::Result<Self> {
        let pipes =
            [Arc::new(pipe::Receiver::from_owned_fd(out)?), Arc::new(pipe::Receiver::from_owned_fd(err)?)];
        let look = |pipe: &Arc<pipe::Receiver>| -> Arc<dyn Pipe> { Arc::<pipe::Receiver>::clone(pipe) };
        let is_stamped = matches!(manner, Manner::Worker { stamped: true, .. });
        let roster = is_stamped.then(|| Roster::new(&pipes.each_ref().map(look))).transpose()?;
        let tails = Stream::ALL.map(|_| Arc::new(Mutex::new(Tail::default())));
        let first = FirstOutput::default();
        let mut readers = JoinSet::new();
        for ((stream, pipe), tail) in Stream::ALL.into_iter().zip(pipes).zip(&tails) {
            let lane = Lane {
                tag: manner.tag(),
                is_repeated: match manner {
                    Manner::Worker { is_repeated, .. } => is_repeated,
                    Manner::Named(_) | Manner::Plain => |_| false,
                },
                stream,
                roster: roster.clone(),
                sink: sink.clone(),
                tail: Arc::clone(tail),
                first: Arc::clone(&first),
                fences: flusher.add_lane(),
                splitter: Splitter::default(),
                joiner: Joiner::default(),
                unfinished: Candidates::default(),
                read: 0,
                held: None,
            };
            readers.spawn(lane.run(pipe));
        }
        Ok(Self { readers, tails, roster, first })
    }

    /// Who is in flight, for whoever sends the worker requests; `None` if nobody need tell.
    pub fn roster(&self) -> Option<Arc<Roster>> {
        self.roster.clone()
    }

    /// When it first writes anything, for whoever wonders.
    pub fn first(&self) -> FirstOutput {
        Arc::clone(&self.first)
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
        let [out, err] = &self.tails;
        let read = |tail: &Mutex<Tail>| tail.lock().unwrap_or_else(PoisonError::into_inner).to_lines();
        let err = read(err);
        if err.is_empty() { read(out) } else { err }
    }
}

/// One pipe on its way to the sink.
struct Lane {
    /// Who writes, in front of each record; lines go out as they are if `None`.
    tag: Option<String>,
    is_repeated: fn(&[u8]) -> bool,
    stream: Stream,
    roster: Option<Arc<Roster>>,
    sink: Sink,
    tail: Arc<Mutex<Tail>>,
    first: FirstOutput,
    fences: UnboundedReceiver<Fence>,
    splitter: Splitter,
    joiner: Joiner,
    /// Who can have written the part of a line that is here.
    unfinished: Candidates,
    /// Bytes read so far.
    read: u64,
    /// When the record that is held back began, and when it last grew.
    held: Option<(Instant, Instant)>,
}

impl Lane {
    async fn run(mut self, pipe: Arc<pipe::Receiver>) {
        loop {
            let patience = if self.joiner.is_in_trace() { HELD_IN_TRACE } else { HELD };
            let due = self.held.map(|(began, grew)| (grew + patience).min(began + HELD_MAX));
            // All branches are cancel safe: nothing is taken out of the pipe before one is chosen.
            tokio::select! {
                biased;
                Some(fence) = self.fences.recv() => {
                    self.drain(&pipe).await;
                    drop(fence);
                }
                ready = pipe.readable() => {
                    if ready.is_err() {
                        break;
                    }
                    match self.read(&pipe) {
                        Ok(0) => break,
                        // More may be there at once: others have their turn first.
                        Ok(_) => yield_now().await,
                        Err(error) if is_passing(&error) => {}
                        Err(_) => break,
                    }
                }
                () = clock::sleep_until(due.unwrap_or_else(clock::now)), if due.is_some() => self.let_go(),
            }
        }
        if let Some(rest) = self.splitter.finish() {
            let who = std::mem::take(&mut self.unfinished);
            self.pass(&rest, who);
        }
        self.let_go();
    }

    /// Takes what is in the pipe now, and holds nothing back.
    async fn drain(&mut self, pipe: &pipe::Receiver) {
        let until = self.read + sys::unread(pipe.as_fd());
        while self.read < until && pipe.readable().await.is_ok() {
            match self.read(pipe) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                Err(_) => break,
            }
        }
        self.let_go();
    }

    /// Reads once; the buffer lives on the stack and not in the task.
    fn read(&mut self, pipe: &pipe::Receiver) -> io::Result<usize> {
        let (mut buffer, mut seen) = ([0; READ_BYTES], Vec::new());
        let mut take = || pipe.try_read(&mut buffer);
        let got = match &self.roster {
            Some(roster) => roster.read(self.stream as usize, &mut seen, take)?,
            None => take()?,
        };
        if got > 0 {
            self.first.get_or_init(clock::now);
        }
        let mut lines = Vec::new();
        self.splitter.push(&buffer[..got], |line| lines.push(line));
        let (began, mut at) = (self.read, 0);
        self.read += got as u64;
        for line in lines {
            self.unfinished.merge(&among(&seen, began + at as u64, began + line.end as u64));
            at = line.end;
            // Pieces of one line: what was true of the first is true of all.
            let who =
                if line.is_cut { self.unfinished.clone() } else { std::mem::take(&mut self.unfinished) };
            self.pass(&line.text, who);
        }
        self.unfinished.merge(&among(&seen, began + at as u64, self.read));
        Ok(got)
    }

    fn pass(&mut self, line: &[u8], who: Candidates) {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        if self.tag.is_none() {
            self.sink.push(self.stream, [line, b"\n"].concat(), 1);
            return;
        }
        let now = clock::now();
        let began = match self.joiner.push(line, who, &utc_now()) {
            None => self.held.map_or(now, |(began, _)| began),
            Some(record) => {
                self.send(&record);
                now
            }
        };
        self.held = Some((began, now));
    }

    fn let_go(&mut self) {
        self.held = None;
        if let Some(record) = self.joiner.end() {
            self.send(&record);
        }
    }

    fn send(&self, record: &Record) {
        if (self.is_repeated)(&record.text) {
            return;
        }
        let mut text = Vec::with_capacity(LINE_BYTES.min(record.text.len() + 256));
        // Writing to a Vec cannot fail.
        let _ = write!(text, "{} ", record.date);
        if !record.who.is_empty() {
            let _ = write!(text, "{} ", record.who);
        }
        if let Some(tag) = &self.tag {
            let _ = write!(text, "{tag} ");
        }
        text.extend_from_slice(&record.text);
        text.push(b'\n');
        self.sink.push(self.stream, text, record.lines);
    }
}

/// Whether reading may be tried again: nothing was there after all.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Who can have written any of these bytes.
fn among(spans: &[Span], from: u64, until: u64) -> Candidates {
    let mut who = Candidates::default();
    spans.iter().filter(|span| span.meets(from, until)).for_each(|span| who.add(span.id));
    who
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
mod tests;
