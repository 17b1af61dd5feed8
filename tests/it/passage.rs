//! Large bodies pass through the sidecar in the kernel, and fail like all others.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::support::{Client, Connection, End, Setup, Sidecar, Worker, get, noise, ok, settled};

const LARGE: usize = 700_001;

/// Ends of pipes that the sidecar holds: bodies that were copied leave none.
fn pipes(sidecar: &Sidecar) -> usize {
    let held = fs::read_dir(format!("/proc/{}/fd", sidecar.pid())).expect("alive");
    let targets = held.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.as_os_str().as_encoded_bytes().starts_with(b"pipe:")).count()
}

struct Scene {
    sidecar: Sidecar,
    worker: Worker,
    client: Client,
    pipes_before: usize,
}

impl Scene {
    fn new() -> Self {
        let worker = Worker::listen();
        let sidecar = Setup::forward(&[worker.path()]).start();
        let (client, pipes_before) = (sidecar.client(), pipes(&sidecar));
        Self { sidecar, worker, client, pipes_before }
    }

    /// The worker's side of a GET for which `head` is the first it says.
    fn answering(&mut self, head: &str) -> Connection {
        self.client.send(get("/"));
        let mut connection = self.worker.accept();
        connection.request();
        connection.send(head);
        connection
    }

    fn new_pipes(&self) -> usize {
        pipes(&self.sidecar) - self.pipes_before
    }
}

fn with_length(len: usize) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n")
}

/// Sends from a thread of its own: a body is larger than all buffers on its way.
fn sending<T>(connection: &mut Connection, bytes: &[u8], meanwhile: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        scope.spawn(|| connection.send(bytes));
        meanwhile()
    })
}

#[test]
fn a_large_answer_passes_through_a_pipe_that_is_used_again() {
    let (mut scene, body) = (Scene::new(), noise(LARGE));
    let mut connection = scene.answering(&with_length(LARGE));
    for _ in 0..3 {
        let answer = sending(&mut connection, &body, || scene.client.response());
        assert!(answer.body == body, "it arrived changed");
        assert_eq!(scene.new_pipes(), 2, "one pipe has two ends");
        scene.client.send(get("/again"));
        connection.request();
        connection.send(with_length(LARGE));
    }
}

#[test]
fn a_large_request_passes_through_a_pipe() {
    let (scene, body) = (Scene::new(), noise(LARGE));
    let mut sender = scene.sidecar.client();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n");
    thread::scope(|scope| {
        scope.spawn(|| {
            sender.send(head);
            sender.send(&body);
        });
        let mut connection = scene.worker.accept();
        assert!(connection.request().body == body, "it arrived changed");
        connection.send(ok("got it"));
    });
    assert_eq!(sender.response().text(), "got it");
    assert_eq!(scene.new_pipes(), 2);
    drop(scene.client);
}

#[test]
fn the_data_of_large_chunks_passes_and_small_ones_and_trailers_keep_their_place() {
    let (mut scene, data) = (Scene::new(), noise(300_000));
    let mut connection = scene.answering("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut framed = Vec::new();
    for len in [300_000, 1, 200_000, 17] {
        framed.extend_from_slice(format!("{len:x}\r\n").as_bytes());
        framed.extend_from_slice(&data[..len]);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\nx-sum: 1\r\n\r\n");
    let head = scene.client.head();
    let (body, trailers) = sending(&mut connection, &framed, || scene.client.body_of(&head));
    assert!(body == [&data[..], &data[..1], &data[..200_000], &data[..17]].concat(), "it arrived changed");
    assert_eq!(trailers, "x-sum: 1\r\n");
    assert_eq!(scene.new_pipes(), 2);
}

#[test]
fn an_answer_until_close_passes_to_an_old_client_up_to_its_end() {
    let (mut scene, body) = (Scene::new(), noise(LARGE));
    scene.client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let mut connection = scene.worker.accept();
    connection.request();
    connection.send("HTTP/1.0 200 OK\r\n\r\n");
    scene.client.head();
    let (received, end) = thread::scope(|scope| {
        scope.spawn(|| {
            let mut connection = connection;
            connection.send(&body);
        });
        scene.client.rest()
    });
    assert!(received == body, "it arrived changed");
    assert_eq!((end, scene.new_pipes()), (End::Clean, 2));
}

#[test]
fn answers_below_the_threshold_take_no_pipe() {
    let mut scene = Scene::new();
    let mut connection = scene.answering(&ok("small"));
    assert_eq!(scene.client.response().text(), "small");
    for len in [1, 16_384, 20_000, 32_767] {
        scene.client.send(get("/"));
        connection.request();
        let body = noise(len);
        connection.send([with_length(len).as_bytes(), &body].concat());
        assert!(scene.client.response().body == body, "{len} bytes arrived changed");
    }
    assert_eq!(scene.new_pipes(), 0);
}

#[test]
fn a_body_that_comes_in_pieces_does_not_wait_for_the_rest() {
    let mut scene = Scene::new();
    let body = noise(LARGE);
    let mut connection = scene.answering(&with_length(LARGE));
    scene.client.head();
    let mut at = 0;
    for len in [1, 40_000, 3, 1_000, 100_000] {
        connection.send(&body[at..at + len]);
        assert!(scene.client.take(len) == body[at..at + len], "{len} bytes at {at} arrived changed");
        at += len;
    }
    let rest = sending(&mut connection, &body[at..], || scene.client.take(LARGE - at));
    assert!(rest == body[at..], "the rest arrived changed");
}

#[test]
fn what_a_cut_answer_left_in_its_pipe_is_shown_to_nobody() {
    let (mut scene, body) = (Scene::new(), noise(2 << 20));
    let connection = scene.answering(&with_length(1 << 30));
    let mut flood = connection.stream.try_clone().expect("a second handle");
    let flooded = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&flooded);
    let flooding = thread::spawn(move || {
        while flood.write_all(&[b'!'; 4096]).is_ok() {
            count.fetch_add(4096, Ordering::Relaxed);
        }
    });
    // Nobody reads, so that everything on the way is full, the pipe too, when the client leaves.
    let on_the_way = settled("a flood that stands", || flooded.load(Ordering::Relaxed));
    assert!(on_the_way > 0 && scene.new_pipes() == 2);
    drop(scene.client);
    flooding.join().expect("the worker is told that nobody reads");
    scene.client = scene.sidecar.client();
    let mut connection = scene.answering(&with_length(2 << 20));
    let answer = sending(&mut connection, &body, || scene.client.response());
    assert!(answer.body == body, "it arrived changed");
}

#[test]
fn a_worker_that_dies_in_the_middle_of_a_passing_answer_leaves_a_cut_one() {
    let mut scene = Scene::new();
    let mut connection = scene.answering(&with_length(LARGE));
    connection.send(noise(200_000));
    scene.client.head();
    scene.client.take(200_000);
    connection.close();
    let (rest, end) = scene.client.rest();
    assert_eq!((rest.len(), end), (0, End::Clean), "before the announced length");
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_passing_request_is_not_taken_for_its_end() {
    let scene = Scene::new();
    let mut sender = scene.sidecar.client();
    sender.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {LARGE}\r\n\r\n"));
    let half = noise(300_000);
    let mut connection = thread::scope(|scope| {
        scope.spawn(|| sender.send(&half));
        let mut connection = scene.worker.accept();
        connection.head();
        assert!(connection.take(300_000) == half, "it arrived changed");
        connection
    });
    drop(sender);
    let (rest, _) = connection.rest();
    assert_eq!(rest.len(), 0);
}

#[test]
fn bytes_behind_an_answer_that_passed_are_nobodys() {
    let (mut scene, body) = (Scene::new(), noise(LARGE));
    let mut connection = scene.answering(&with_length(LARGE));
    let answer =
        sending(&mut connection, &[&body[..], ok("stolen").as_bytes()].concat(), || scene.client.response());
    assert!(answer.body == body, "it arrived changed");
    scene.client.send(get("/next"));
    let mut fresh = scene.worker.accept();
    fresh.request();
    fresh.send(ok("its own"));
    assert_eq!(scene.client.response().text(), "its own");
}
