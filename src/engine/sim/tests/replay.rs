//! Who is asked again, and who never: a function must not run twice by accident.

use super::*;

/// A kept-alive connection that worker 1 has closed without the sidecar's knowledge.
async fn with_closed_connection(slots: &[u32]) -> (Rc<Sidecar>, Vec<Rc<Listener>>) {
    let (sidecar, listeners) = sidecar(slots);
    sidecar.network.is_blind.set(true);
    let mut client = request(&sidecar, GET).await;
    let (mut worker, _) = asked(&listeners[0]).await;
    worker.send(OK).await.unwrap();
    assert_eq!(answer(&mut client).await.0, 200);
    (sidecar, listeners)
}

#[test]
fn a_post_whose_first_write_fails_is_sent_again_and_executed_once() {
    in_virtual_time(async {
        let (sidecar, listeners) = with_closed_connection(&[1]).await;
        let mut client = request(&sidecar, POST).await;
        let (mut worker, head) = asked(&listeners[0]).await;
        assert_eq!(head.first, "POST / HTTP/1.1");
        worker.body(Size::Length(2), &mut |bytes| assert!(b"hi".ends_with(bytes))).await.unwrap();
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut client).await.0, 200);
        assert_eq!(listeners[0].dials.get(), 2);
    });
}

#[test]
fn a_post_that_was_read_gets_502_and_is_never_executed_again() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        let mut client = request(&sidecar, GET).await;
        let (mut worker, _) = asked(&listeners[0]).await;
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut client).await.0, 200);
        client.send(POST).await.unwrap();
        worker.head().await.unwrap();
        worker.body(Size::Length(2), &mut |_| {}).await.unwrap();
        drop(worker);
        assert_eq!(answer(&mut client).await.0, 502);
        assert_eq!(listeners[0].dials.get(), 1);
    });
}

#[test]
fn a_post_of_which_no_byte_left_is_sent_to_another_worker() {
    in_virtual_time(async {
        let sidecar = sidecar_with(roomy());
        // Its kernel takes nothing, so that the close is seen before the first write succeeds or fails.
        let first = sidecar.network.listen(WorkerId(1), 0);
        let second = sidecar.network.listen(WorkerId(2), 10_000);
        sidecar.publish(vec![sidecar.worker(1, 1), sidecar.worker(2, 1)]);
        let mut client = request(&sidecar, POST).await;
        drop(first.accept().await);
        let (mut worker, _) = asked(&second).await;
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut client).await.0, 200);
    });
}

/// Keeps `count` connections alive, reads one request on each, and hangs up. Returns the status the
/// client saw and how often the request was read, `first_words` being said each time.
async fn poison(count: usize, first_words: &[u8]) -> (u16, usize) {
    let (sidecar, listeners) = sidecar(&[8]);
    let (mut clients, mut workers) = (Vec::new(), Vec::new());
    for _ in 0..count {
        clients.push(request(&sidecar, GET).await);
        workers.push(asked(&listeners[0]).await.0);
    }
    for (client, worker) in clients.iter_mut().zip(&mut workers) {
        worker.send(OK).await.unwrap();
        assert_eq!(answer(client).await.0, 200);
    }
    let mut client = request(&sidecar, GET).await;
    let mut reads = Vec::new();
    for mut worker in workers {
        let words = first_words.to_vec();
        reads.push(spawn_local(async move {
            let was_read = worker.head().await.is_ok();
            let _ = worker.send(&words).await;
            was_read
        }));
    }
    let fresh = spawn_local(async move { asked(&listeners[0]).await.1 });
    let status = answer(&mut client).await.0;
    let mut executed = usize::from(fresh.is_finished());
    for read in &mut reads {
        executed += usize::from(read.is_finished() && read.await.unwrap());
    }
    (status, executed)
}

#[test]
fn a_get_that_ends_its_workers_is_repeated_once() {
    assert_eq!(in_virtual_time(poison(4, b"")), (502, 2));
}

#[test]
fn a_get_is_not_repeated_behind_an_interim_answer() {
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert_eq!(in_virtual_time(poison(4, hints)), (502, 1));
}

#[test]
fn a_worker_that_does_not_accept_is_passed_over() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1, 1]);
        listeners[0].is_up.set(false);
        for _ in 0..2 {
            let mut client = request(&sidecar, POST).await;
            let (mut worker, _) = asked(&listeners[1]).await;
            worker.send(OK).await.unwrap();
            assert_eq!(answer(&mut client).await.0, 200);
        }
        assert!(listeners[0].dials.get() <= 1);
    });
}

#[test]
fn a_full_backlog_is_waited_for() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        listeners[0].backlog.set(0);
        let mut client = request(&sidecar, POST).await;
        sleep(Duration::from_secs(1)).await;
        listeners[0].backlog.set(1);
        let (mut worker, _) = asked(&listeners[0]).await;
        worker.send(OK).await.unwrap();
        assert_eq!(answer(&mut client).await.0, 200);
    });
}

#[test]
fn a_worker_that_hangs_up_on_every_new_connection_is_given_up() {
    in_virtual_time(async {
        let (sidecar, listeners) = sidecar(&[1]);
        listeners[0].hangs_up.set(true);
        let mut client = request(&sidecar, POST).await;
        assert_eq!(timeout(DAY, answer(&mut client)).await.unwrap().0, 502);
        assert_eq!(listeners[0].dials.get(), 5);
    });
}

#[test]
fn a_full_buffer_whose_head_was_edited_can_wait_for_the_next_try() {
    in_virtual_time(async {
        let (sidecar, listeners) = with_closed_connection(&[1, 1]).await;
        // Worker 2 is busy; worker 1's idle connection is dead and it does not accept.
        let mut busy = request(&sidecar, GET).await;
        let (mut second, _) = asked(&listeners[1]).await;
        listeners[0].is_up.set(false);
        let body = content(1, 0, 6000);
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6000\r\n\r\n";
        let mut client = request(&sidecar, &[head, body.as_slice()].concat()).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(sidecar.gate().waiting(), 1);
        second.send(OK).await.unwrap();
        assert_eq!(answer(&mut busy).await.0, 200);
        second.head().await.unwrap();
        let mut checker = Checker::new(1);
        second.body(Size::Length(6000), &mut |bytes| checker.take(bytes)).await.unwrap();
        assert!(checker.is_sound);
        second.send(OK).await.unwrap();
        assert_eq!(answer(&mut client).await.0, 200);
    });
}
