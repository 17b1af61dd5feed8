use std::io::PipeWriter;
use std::process::{Command, Stdio};
use std::sync::mpsc as std_mpsc;

use super::*;
use crate::id::RequestId;

fn pipes(script: &str) -> (std::process::Child, [OwnedFd; 2]) {
    let mut child = Command::new("sh")
        .args(["-c", script])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pipes = [child.stdout.take().unwrap().into(), child.stderr.take().unwrap().into()];
    (child, pipes)
}

fn worker(number: u32) -> Manner<'static> {
    Manner::Worker { id: WorkerId(number), stamped: true, is_repeated: |_| false }
}

/// What scripts write becomes these records; their last lines.
async fn run(scripts: &[&str]) -> (Vec<(Stream, String)>, Vec<Vec<String>>) {
    let (writes, records) = std_mpsc::channel();
    let (sink, written) =
        Sink::saying("full", move |stream, record| writes.send((stream, record.to_vec())).unwrap()).unwrap();
    let flusher = Flusher::of(&sink);
    let mut outputs = Vec::new();
    for (number, script) in (1..).zip(scripts) {
        let (child, pipes) = pipes(script);
        outputs.push((child, Output::start(worker(number), pipes, &sink, &flusher).unwrap()));
    }
    drop(sink);
    let mut tails = Vec::new();
    for (mut child, mut output) in outputs {
        output.finished().await;
        tails.push(output.tail());
        child.wait().unwrap();
    }
    written.await.unwrap();
    let text = |(stream, record)| (stream, String::from_utf8(record).unwrap());
    (records.into_iter().map(text).collect(), tails)
}

/// A worker that is this test itself, and everything of it that was written so far.
struct Room {
    out: PipeWriter,
    _err: PipeWriter,
    _output: Output,
    roster: Arc<Roster>,
    flusher: Flusher,
    records: std_mpsc::Receiver<Vec<u8>>,
    _sink: Sink,
}

impl Room {
    fn new() -> Self {
        let (writes, records) = std_mpsc::channel();
        let (sink, _) = Sink::saying("full", move |_, record| drop(writes.send(record.to_vec()))).unwrap();
        let flusher = Flusher::of(&sink);
        let ((out, to_out), (err, to_err)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let output = Output::start(worker(1), [out.into(), err.into()], &sink, &flusher).unwrap();
        let roster = output.roster().unwrap();
        Self { out: to_out, _err: to_err, _output: output, roster, flusher, records, _sink: sink }
    }

    /// Everything that was written before, without dates.
    async fn said(&self) -> Vec<String> {
        self.flusher.flush().await;
        let text = |record| String::from_utf8(record).unwrap().split_once(' ').unwrap().1.to_owned();
        self.records.try_iter().map(text).collect()
    }
}

fn id(text: &str) -> RequestId {
    RequestId::sanitised(text.as_bytes())
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

#[tokio::test]
async fn a_line_names_who_was_in_flight_when_it_was_written_however_late_it_is_read() {
    let mut room = Room::new();
    // Nobody reads in between: this test never yields, and lanes run on its thread.
    writeln!(room.out, "nobody's").unwrap();
    let first = room.roster.begin(id("first"));
    writeln!(room.out, "first's").unwrap();
    drop(first);
    let second = room.roster.begin(id("second"));
    writeln!(room.out, "second's").unwrap();
    let third = room.roster.begin(id("third"));
    writeln!(room.out, "either's").unwrap();
    drop(second);
    writeln!(room.out, "third's").unwrap();
    drop(third);
    writeln!(room.out, "nobody's").unwrap();
    assert_eq!(
        room.said().await,
        [
            "[w1] nobody's\n",
            "first [w1] first's\n",
            "second [w1] second's\n",
            "second|third [w1] either's\n",
            "third [w1] third's\n",
            "[w1] nobody's\n",
        ]
    );
}

#[tokio::test]
async fn a_line_that_came_in_parts_names_everybody_who_may_have_written_one() {
    let mut room = Room::new();
    let first = room.roster.begin(id("first"));
    write!(room.out, "begun ").unwrap();
    assert_eq!(room.said().await, [""; 0]);
    drop(first);
    let _second = room.roster.begin(id("second"));
    write!(room.out, "and ended\nnew\n").unwrap();
    assert_eq!(room.said().await, ["first|second [w1] begun and ended\n", "second [w1] new\n"]);
}

#[tokio::test]
async fn a_line_that_was_read_at_once_names_nobody_before_it() {
    let mut room = Room::new();
    for number in 0..3 {
        let ticket = room.roster.begin(id(&format!("{number}")));
        writeln!(room.out, "of {number}").unwrap();
        // Read while its request is still in flight, with nothing behind it.
        assert_eq!(room.said().await, [format!("{number} [w1] of {number}\n")]);
        drop(ticket);
    }
}

#[tokio::test]
async fn a_flush_writes_what_was_held_back_and_asks_nobody_who_is_gone() {
    let mut room = Room::new();
    writeln!(room.out, "one\n  and more").unwrap();
    assert_eq!(room.said().await, ["[w1] one\n  and more\n"]);
    writeln!(room.out, "  not of the same record").unwrap();
    assert_eq!(room.said().await, ["[w1]   not of the same record\n"]);
    let Room { out, _err, mut _output, flusher, .. } = room;
    drop((out, _err));
    _output.finished().await;
    flusher.flush().await;
    Flusher::default().flush().await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_gives_up_after_a_second_when_nobody_reads_our_output() {
    let (release, held) = std_mpsc::channel::<()>();
    let (sink, written) = Sink::saying("full", move |_, _| held.recv().unwrap_or_default()).unwrap();
    sink.push(Stream::Out, b"unread\n".to_vec(), 1);
    let began = clock::now();
    Flusher::of(&sink).flush().await;
    assert_eq!(clock::now() - began, Duration::from_secs(1));
    drop((release, sink));
    written.await.unwrap();
}

#[tokio::test]
async fn a_record_is_held_back_only_for_a_moment() {
    let mut room = Room::new();
    writeln!(room.out, "one").unwrap();
    // No flush: the timer.
    let began = Instant::now();
    let record = loop {
        match room.records.try_recv() {
            Ok(record) => break record,
            Err(_) => tokio::task::yield_now().await,
        }
        assert!(began.elapsed() < Duration::from_secs(10));
    };
    assert!(record.ends_with(b"[w1] one\n") && began.elapsed() >= HELD);
}

#[tokio::test]
async fn stdout_is_the_tail_of_a_worker_that_wrote_nothing_to_stderr() {
    let (_, tails) = run(&["seq 1 100"]).await;
    assert_eq!(tails[0].len(), TAIL_LINES);
    assert_eq!(tails[0].last().unwrap(), "100");
}

#[tokio::test]
async fn a_post_mortem_sees_every_line_of_a_trace() {
    let (records, tails) = run(&["printf 'Error: x\\n    at f\\n    at g\\n' >&2"]).await;
    assert_eq!(records.len(), 1);
    assert_eq!(tails[0], ["Error: x", "    at f", "    at g"]);
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
