//! What a connection and its exchanges promise, one situation at a time.

use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use super::network::{Listener, Network};
use super::wire::{Broken, Checker, Head, Size, Wire, content};
use super::world::{Sidecar, in_virtual_time, roomy};
use crate::config::{Limits, Queue};
use crate::upstream::pool::WorkerId;

mod replay;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn sidecar_with(queue: Queue) -> Rc<Sidecar> {
    let limits = Limits { buffer_bytes: 4096, head_bytes: 2048, ..Limits::default() };
    Sidecar::new(queue, limits, Network::default(), Duration::from_secs(110))
}

/// A sidecar and the sockets of `slots.len()` ready workers, from worker 1 on.
fn sidecar(slots: &[u32]) -> (Rc<Sidecar>, Vec<Rc<Listener>>) {
    let sidecar = sidecar_with(roomy());
    let listeners = listeners(&sidecar, slots);
    (sidecar, listeners)
}

fn listeners(sidecar: &Sidecar, slots: &[u32]) -> Vec<Rc<Listener>> {
    let ids = || (1..).zip(slots);
    let listeners = ids().map(|(id, _)| sidecar.network.listen(WorkerId(id), 10_000)).collect();
    sidecar.publish(ids().map(|(id, &slots)| sidecar.worker(id, slots)).collect());
    listeners
}

async fn request(sidecar: &Sidecar, bytes: &[u8]) -> Wire {
    let mut client = Wire::new(sidecar.connect(10_000));
    client.send(bytes).await.unwrap();
    client
}

/// The worker's end of the next connection, its first request read.
async fn asked(listener: &Listener) -> (Wire, Head) {
    let mut worker = Wire::new(listener.accept().await);
    let head = worker.head().await.unwrap();
    (worker, head)
}

/// The status of the next final answer and its body.
async fn answer(client: &mut Wire) -> (u16, String) {
    let (head, body) = whole_answer(client).await;
    (head.status().unwrap(), body)
}

async fn whole_answer(client: &mut Wire) -> (Head, String) {
    let mut head = client.head().await.unwrap();
    while head.status().unwrap() < 200 {
        head = client.head().await.unwrap();
    }
    let mut body = Vec::new();
    client
        .body(head.size(Size::UntilClose).unwrap(), &mut |bytes| body.extend_from_slice(bytes))
        .await
        .unwrap();
    (head, String::from_utf8(body).unwrap())
}

#[test]
fn a_client_that_does_not_read_stops_the_worker() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        let mut client = request(&sidecar, GET).await;
        let (mut worker, _) = asked(&listeners[0]).await;
        worker.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await.unwrap();
        let body = content(7, 0, 1_000_000);
        let sending = timeout(Duration::from_secs(60), worker.send(&body));
        assert!(sending.await.is_err(), "nobody reads");
        let carried = worker.end.carried();
        assert!(carried <= 2 * 10_000 + 4096 + 50, "two streams and one buffer, not {carried}");
        assert_eq!(sidecar.buffers_held(), 2);
        spawn_local(async move { worker.send(&body[carried as usize - 44..]).await.unwrap() });
        let head = client.head().await.unwrap();
        let mut checker = Checker::new(7);
        client.body(head.size(Size::UntilClose).unwrap(), &mut |bytes| checker.take(bytes)).await.unwrap();
        assert!(checker.is_sound);
    });
}

#[test]
fn a_worker_that_does_not_read_stops_the_client() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        let mut client =
            request(&sidecar, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
        let _worker = listeners[0].accept().await;
        let sending = timeout(Duration::from_secs(60), client.send(&[0; 1_000_000]));
        assert!(sending.await.is_err());
        assert!(client.end.carried() <= 2 * 10_000 + 4096 + 100, "{}", client.end.carried());
        assert!(sidecar.buffers_held() <= 2);
    });
}

#[test]
fn a_drain_ends_idle_connections_lets_running_ones_finish_and_serves_what_is_there() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[2]);
        let mut idle = Wire::new(sidecar.connect(1000));
        let mut running = request(&sidecar, GET).await;
        let (mut first, _) = asked(&listeners[0]).await;
        let mut late = request(&sidecar, GET).await;
        sidecar.plane.drain();
        assert_eq!(idle.head().await.unwrap_err(), Broken::End);
        let (mut second, _) = asked(&listeners[0]).await;
        for worker in [&mut first, &mut second] {
            worker.send(OK).await.unwrap();
        }
        for client in [&mut running, &mut late] {
            let (head, body) = whole_answer(client).await;
            assert_eq!((head.says_close(), body.as_str()), (true, "ok"));
            assert_eq!(client.head().await.unwrap_err(), Broken::End);
        }
        drop((idle, running, late));
        sidecar.ended().await;
        assert_eq!(sidecar.buffers_held(), 0);
    });
}

#[test]
fn a_drains_last_answer_survives_a_request_that_came_behind_its_own() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        let mut client = request(&sidecar, GET).await;
        let (mut worker, _) = asked(&listeners[0]).await;
        client.send(GET).await.unwrap();
        sidecar.plane.drain();
        worker.send(OK).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(answer(&mut client).await, (200, "ok".to_owned()));
    });
}

#[test]
fn a_closing_answer_survives_megabytes_that_its_client_still_sends() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 8000000\r\n\r\n";
        let mut client = request(&sidecar, head).await;
        let (mut worker, _) = asked(&listeners[0]).await;
        worker.send(OK).await.unwrap();
        // It sends all of its body before it looks for an answer, as many clients do.
        client.send(&content(1, 0, 8_000_000)).await.unwrap();
        assert_eq!(answer(&mut client).await, (200, "ok".to_owned()));
    });
}

#[test]
fn a_cut_answer_does_not_destroy_the_one_before_it() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        let mut client = request(&sidecar, &[GET, GET].concat()).await;
        let (mut worker, _) = asked(&listeners[0]).await;
        worker.send(OK).await.unwrap();
        worker.head().await.unwrap();
        client.send(GET).await.unwrap();
        worker.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await.unwrap();
        drop(worker);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(answer(&mut client).await, (200, "ok".to_owned()));
        let head = client.head().await.unwrap();
        assert_eq!(client.body(head.size(Size::UntilClose).unwrap(), &mut |_| {}).await, Err(Broken::Cut));
    });
}

#[test]
fn a_waiter_whose_client_left_is_dropped() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        let mut first = request(&sidecar, GET).await;
        let (mut worker, _) = asked(&listeners[0]).await;
        let second = request(&sidecar, POST).await;
        sleep(Duration::from_millis(1)).await;
        assert_eq!(sidecar.gate().waiting(), 1);
        drop(second);
        sleep(Duration::from_millis(100)).await;
        assert_eq!(sidecar.gate().waiting(), 0);
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut first).await.0, 200);
        assert!(timeout(Duration::from_secs(1), worker.head()).await.is_err(), "the second came through");
    });
}

#[test]
fn a_worker_learns_within_100_ms_that_the_client_left() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        let client = request(&sidecar, POST).await;
        let (worker, _) = asked(&listeners[0]).await;
        drop(client);
        timeout(Duration::from_millis(100), worker.end.peer_gone()).await.unwrap();
        sidecar.ended().await;
        assert_eq!(sidecar.gate().pool().workers()[0].in_flight(), 0);
    });
}

#[test]
fn a_half_closed_client_gets_its_answer_waiting_or_running() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        let mut running = request(&sidecar, POST).await;
        running.end.shutdown().await.unwrap();
        let (mut worker, _) = asked(&listeners[0]).await;
        let mut waiting = request(&sidecar, GET).await;
        waiting.end.shutdown().await.unwrap();
        sleep(Duration::from_secs(30)).await;
        assert_eq!(sidecar.gate().waiting(), 1);
        worker.body(Size::Length(2), &mut |_| {}).await.unwrap();
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut running).await.0, 200);
        worker.head().await.unwrap();
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut waiting).await.0, 200);
    });
}

#[test]
fn a_cut_that_only_a_close_would_show_is_a_reset_even_if_the_client_seems_gone() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        let mut client = request(&sidecar, b"GET / HTTP/1.0\r\n\r\n").await;
        let (mut worker, _) = asked(&listeners[0]).await;
        worker.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n").await.unwrap();
        client.head().await.unwrap();
        client.end.shutdown().await.unwrap();
        let mut body = Vec::new();
        let ended = client.body(Size::UntilClose, &mut |bytes| body.extend_from_slice(bytes)).await;
        assert_eq!(ended, Err(Broken::Reset));
    });
}

#[test]
fn a_half_sent_question_does_not_spoil_the_answer_behind_it() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        let mut first = request(&sidecar, GET).await;
        let (mut worker, _) = asked(&listeners[0]).await;
        let mut second = Wire::new(sidecar.connect(10));
        second.send(GET).await.unwrap();
        second.end.shutdown().await.unwrap();
        // Ten bytes of `100 Continue` fit; the rest waits for a reader.
        sleep(Duration::from_secs(1)).await;
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut first).await.0, 200);
        worker.head().await.unwrap();
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut second).await, (200, "ok".to_owned()));
    });
}

#[test]
fn an_early_answer_while_the_body_pauses_leaves_the_connection_usable() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        let mut client =
            request(&sidecar, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc").await;
        let (mut worker, _) = asked(&listeners[0]).await;
        // The three bytes have left and the sidecar waits for more.
        sleep(Duration::from_millis(1)).await;
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut client).await, (200, "ok".to_owned()));
        client.send(&[b"def", GET].concat()).await.unwrap();
        let (mut worker, _) = asked(&listeners[0]).await;
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut client).await.0, 200);
    });
}

#[test]
fn fc07_fc08_nothing_happens_on_an_idle_connection_or_a_silent_stream_for_a_day() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[2]);
        let mut idle = request(&sidecar, GET).await;
        let (mut worker, _) = asked(&listeners[0]).await;
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut idle).await.0, 200);
        let mut silent = request(&sidecar, GET).await;
        worker.head().await.unwrap();
        worker.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        silent.head().await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let before = sidecar.polls();
        sleep(DAY).await;
        assert_eq!(sidecar.polls(), before, "a timer fired");
        worker.send(b"2\r\nok\r\n0\r\n\r\n").await.unwrap();
        let mut body = Vec::new();
        silent.body(Size::Chunked, &mut |bytes| body.extend_from_slice(bytes)).await.unwrap();
        assert_eq!(body, b"ok");
        idle.send(GET).await.unwrap();
        worker.head().await.unwrap();
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut idle).await.0, 200);
        assert_eq!(sidecar.buffers_held(), 0, "connections at rest hold nothing");
    });
}

/// Overload and start: who is refused, when, and who goes first.
mod line {
    use super::*;

    #[test]
    fn a_full_pool_refuses_after_the_queue_timeout_and_keeps_the_connection() {
        in_virtual_time(async {
            let sidecar = sidecar_with(Queue { timeout: Duration::from_secs(2), ..roomy() });
            let listeners = listeners(&sidecar, &[1]);
            let mut first = request(&sidecar, GET).await;
            let (mut worker, _) = asked(&listeners[0]).await;
            let (since, mut second) = (Instant::now(), request(&sidecar, GET).await);
            let (head, _) = whole_answer(&mut second).await;
            assert_eq!(since.elapsed().as_secs(), 2);
            assert_eq!(
                (head.status(), head.field("x-warmfront-reason")),
                (Ok(503), Some("queue.timeout=2s"))
            );
            worker.send(OK).await.unwrap();
            assert_eq!(answer(&mut first).await.0, 200);
            second.send(GET).await.unwrap();
            worker.head().await.unwrap();
            worker.send(OK).await.unwrap();
            assert_eq!(answer(&mut second).await.0, 200);
        });
    }

    #[test]
    fn the_newest_goes_first_once_the_oldest_has_waited_too_long() {
        for (wait_ms, order) in [(500, ["/b", "/c"]), (1500, ["/c", "/b"])] {
            in_virtual_time(async {
                let sidecar = sidecar_with(Queue { newest_first_after: Duration::from_secs(1), ..roomy() });
                let listeners = listeners(&sidecar, &[1]);
                let _first = request(&sidecar, GET).await;
                let (mut worker, _) = asked(&listeners[0]).await;
                let _b = request(&sidecar, b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n").await;
                sleep(Duration::from_millis(1)).await;
                let _c = request(&sidecar, b"GET /c HTTP/1.1\r\nHost: a\r\n\r\n").await;
                sleep(Duration::from_millis(wait_ms)).await;
                for path in order {
                    worker.send(OK).await.unwrap();
                    assert_eq!(
                        worker.head().await.unwrap().first,
                        format!("GET {path} HTTP/1.1"),
                        "{wait_ms} ms"
                    );
                }
            });
        }
    }

    #[test]
    fn requests_are_held_for_110_s_for_the_first_worker() {
        in_virtual_time(async {
            let sidecar = sidecar_with(roomy());
            let (since, mut client) = (Instant::now(), request(&sidecar, GET).await);
            let (head, _) = whole_answer(&mut client).await;
            assert_eq!(since.elapsed().as_secs(), 110);
            assert_eq!(
                (head.status(), head.field("x-warmfront-reason")),
                (Ok(503), Some("workers-not-started"))
            );
            assert_eq!(sidecar.buffers_held(), 0);
        });
        in_virtual_time(async {
            let sidecar = sidecar_with(roomy());
            let mut client = request(&sidecar, GET).await;
            sleep(Duration::from_secs(109)).await;
            let listeners = listeners(&sidecar, &[1]);
            let (mut worker, head) = asked(&listeners[0]).await;
            assert_eq!(head.field("x-warmfront-start"), Some("cold"));
            worker.send(OK).await.unwrap();
            assert_eq!(answer(&mut client).await.0, 200);
        });
    }
}
