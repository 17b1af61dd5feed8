//! What the gate promises to those who come one by one, and to many threads at once.

use super::*;
use crate::upstream::pool::{Address, WorkerId};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

fn pool(slots: &[u32]) -> Arc<Pool> {
    let suspicion = Arc::new(Notify::new());
    let address = Address::Tcp(([127, 0, 0, 1], 1).into());
    let worker = |(index, &slots): (usize, &u32)| {
        Worker::new(WorkerId(index as u32 + 1), address.clone(), slots, Arc::clone(&suspicion))
    };
    Arc::new(Pool::new(slots.iter().enumerate().map(worker).collect()))
}

fn gate(depth: usize) -> Gate {
    let bounds = Queue {
        depth,
        bytes: 1 << 20,
        timeout: Duration::from_secs(30),
        newest_first_after: Duration::from_secs(1),
    };
    Gate::new(bounds, clock::now() + Duration::from_secs(110))
}

#[tokio::test(start_paused = true)]
async fn requests_before_the_first_worker_are_held_and_then_served() {
    let gate = gate(10);
    assert!(gate.try_enter().is_none());
    let mut waiting = pin!(gate.enter(1));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending());
    gate.install(pool(&[1]));
    assert!(matches!(waiting.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn without_any_worker_the_start_deadline_refuses() {
    let (gate, before) = (gate(10), clock::now());
    assert_eq!(gate.enter(1).await.err(), Some(Refusal::NotStarted));
    assert_eq!((clock::now() - before).as_secs(), 110);
}

#[tokio::test(start_paused = true)]
async fn once_a_worker_is_ready_those_held_before_wait_no_longer_than_others() {
    let (gate, before) = (gate(10), clock::now());
    let mut waiting = pin!(gate.enter(1));
    let mut other = pin!(gate.enter(1));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(&mut cx).is_pending() && other.as_mut().poll(&mut cx).is_pending());
    tokio::time::advance(Duration::from_secs(5)).await;
    gate.install(pool(&[1]));
    let _held = waiting.await.unwrap();
    assert_eq!(other.await.err(), Some(Refusal::Late { timeout: Duration::from_secs(30) }));
    assert_eq!((clock::now() - before).as_secs(), 35);
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_refuses_after_the_queue_timeout_and_a_full_line_at_once() {
    let gate = gate(1);
    gate.install(pool(&[1]));
    let held = gate.try_enter().unwrap();
    let mut waiting = pin!(gate.enter(1));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(gate.enter(1).await.err(), Some(Refusal::QueueFull { depth: 1 }));
    assert_eq!(waiting.await.err(), Some(Refusal::Late { timeout: Duration::from_secs(30) }));
    assert_eq!(gate.waiting(), 0);
    drop(held);
    assert!(gate.try_enter().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_slot_handed_to_one_who_left_goes_to_the_next() {
    let gate = gate(10);
    gate.install(pool(&[1]));
    let held = gate.try_enter().unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    let mut first = Box::pin(gate.enter(1));
    let mut second = Box::pin(gate.enter(1));
    assert!(first.as_mut().poll(&mut cx).is_pending() && second.as_mut().poll(&mut cx).is_pending());
    drop(held);
    drop(first);
    assert!(matches!(second.as_mut().poll(&mut cx), Poll::Ready(Ok(_))));
    drop(second);
    assert_eq!((gate.waiting(), gate.pool().workers()[0].in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_closed_gate_answers_everybody() {
    let gate = gate(10);
    let mut waiting = pin!(gate.enter(1));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    gate.close(&Refusal::Stopping);
    assert_eq!(waiting.await.err(), Some(Refusal::Stopping));
    assert_eq!(gate.enter(1).await.err(), Some(Refusal::Stopping));
}

/// A waiter for `worker`, as the walk has it.
fn wish<'a>(
    gate: &'a Gate,
    worker: &'a Arc<Worker>,
) -> Pin<Box<dyn Future<Output = Result<Permit<'a>, Refusal>> + 'a>> {
    Box::pin(gate.enter_for(Some(worker), 1, clock::now()))
}

fn is_pending<F: Future + ?Sized>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// The id of the worker whose slot `future` has got.
fn got<'g>(
    future: Pin<&mut (impl Future<Output = Result<Permit<'g>, Refusal>> + ?Sized)>,
) -> (u32, Permit<'g>) {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(permit)) => (permit.worker().id.0, permit),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_for_its_own_worker_and_nobody_without_one_waits_behind_it() {
    let (gate, pool) = (gate(10), pool(&[1, 1]));
    gate.install(Arc::clone(&pool));
    let [one, _] = pool.workers() else { panic!() };
    let held = gate.try_enter_for(Some(one)).unwrap();
    let mut waiting = wish(&gate, one);
    assert!(is_pending(waiting.as_mut()));
    assert!(gate.try_enter().is_none(), "somebody waits");
    let mut other = pin!(gate.enter(1));
    let (worker, other) = got(other.as_mut());
    assert_eq!((worker, gate.waiting()), (2, 1));
    drop(other);
    assert!(is_pending(waiting.as_mut()), "the other worker's slot is not what it waits for");
    drop(held);
    assert_eq!(got(waiting.as_mut()).0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_slot_goes_to_those_who_wait_for_just_it_and_then_to_those_who_take_any() {
    let (gate, pool) = (gate(10), pool(&[1]));
    gate.install(Arc::clone(&pool));
    let worker = &pool.workers()[0];
    let held = gate.try_enter().unwrap();
    let mut any = pin!(gate.enter(1));
    let (mut first, mut second) = (wish(&gate, worker), wish(&gate, worker));
    assert!(is_pending(any.as_mut()) && is_pending(first.as_mut()) && is_pending(second.as_mut()));
    drop(held);
    assert!(is_pending(any.as_mut()) && is_pending(second.as_mut()));
    let (_, permit) = got(first.as_mut());
    // The slot is handed over before its new owner looks; should that one leave, the next has it.
    drop(permit);
    drop(second);
    drop(got(any.as_mut()));
    assert_eq!((gate.waiting(), worker.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_worker_that_leaves_or_is_suspect_is_admitted_like_anybody() {
    let (gate, before) = (gate(10), pool(&[1, 1]));
    gate.install(Arc::clone(&before));
    let [one, two] = before.workers() else { panic!() };
    let (held_one, held_two) =
        (gate.try_enter_for(Some(one)).unwrap(), gate.try_enter_for(Some(two)).unwrap());
    let (mut first, mut second) = (wish(&gate, one), wish(&gate, two));
    assert!(is_pending(first.as_mut()) && is_pending(second.as_mut()));
    // A connect to the first failed; its request gives the slot back.
    one.suspect();
    drop(held_one);
    assert!(is_pending(first.as_mut()), "both slots are out of reach");
    // The second leaves the pool, another life takes its place.
    let after = pool(&[1, 1]);
    gate.install(Arc::clone(&after));
    let (worker, permit) = got(first.as_mut());
    assert!(Arc::ptr_eq(permit.worker(), &after.workers()[worker as usize - 1]));
    got(second.as_mut());
    // Whoever comes now with a wish for one that is gone does not wait either.
    assert!(gate.try_enter_for(Some(two)).is_some());
    drop(held_two);
}

#[tokio::test(start_paused = true)]
async fn the_bounds_of_the_line_hold_for_those_who_wait_for_one_worker() {
    let (gate, pool, before) = (gate(1), pool(&[1]), clock::now());
    gate.install(Arc::clone(&pool));
    let worker = &pool.workers()[0];
    let held = gate.try_enter().unwrap();
    let mut waiting = wish(&gate, worker);
    assert!(is_pending(waiting.as_mut()));
    assert_eq!(gate.enter(1).await.err(), Some(Refusal::QueueFull { depth: 1 }));
    assert_eq!(wish(&gate, worker).await.err(), Some(Refusal::QueueFull { depth: 1 }));
    assert_eq!(waiting.await.err(), Some(Refusal::Late { timeout: Duration::from_secs(30) }));
    assert_eq!((clock::now() - before).as_secs(), 30);
    // One who has waited before waits no longer than others.
    let late = gate.enter_for(Some(worker), 1, before).await.err();
    assert_eq!((late, gate.waiting()), (Some(Refusal::Late { timeout: Duration::from_secs(30) }), 0));
    assert_eq!((clock::now() - before).as_secs(), 30);
    let mut waiting = wish(&gate, worker);
    assert!(is_pending(waiting.as_mut()));
    gate.close(&Refusal::Stopping);
    assert_eq!(waiting.await.err(), Some(Refusal::Stopping));
    drop(held);
}

#[test]
fn many_threads_never_exceed_the_slots_and_nobody_is_forgotten() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 2_000;
    let (gate, pool) = (gate(1000), pool(&[1, 2]));
    gate.install(Arc::clone(&pool));
    let in_use = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (gate, in_use) = (&gate, &in_use);
            // Two of them belong to sessions, each to one worker.
            let wish = pool.workers().get(thread);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
                runtime.block_on(async {
                    for _ in 0..ROUNDS {
                        let permit = match gate.try_enter_for(wish) {
                            Some(permit) => permit,
                            None => gate.enter_for(wish, 1, clock::now()).await.unwrap(),
                        };
                        assert!(wish.is_none_or(|worker| Arc::ptr_eq(permit.worker(), worker)));
                        assert!(in_use.fetch_add(1, Ordering::SeqCst) < 3);
                        tokio::task::yield_now().await;
                        in_use.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            });
        }
    });
    assert_eq!(gate.waiting(), 0);
    let served: u64 = pool.workers().iter().map(|worker| worker.served()).sum();
    assert_eq!(served, (THREADS * ROUNDS) as u64);
}

#[test]
fn retry_after_follows_the_rate_at_which_requests_leave() {
    let (mut rate, now) = (DrainRate::default(), Instant::now());
    assert_eq!(rate.seconds_for(9, 0, now), 10, "nothing known yet: one a second");
    assert_eq!(rate.seconds_for(9, 50, now + Duration::from_secs(10)), 2);
    assert_eq!(rate.seconds_for(100_000, 50, now + Duration::from_secs(11)), 60);
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_worker_that_has_left_the_pool_are_still_in_flight() {
    let (gate, first) = (gate(2), pool(&[2]));
    gate.install(Arc::clone(&first));
    let (held, other) = (gate.try_enter().unwrap(), gate.try_enter().unwrap());
    gate.install(pool(&[1]));
    let third = gate.try_enter().unwrap();
    assert_eq!(gate.in_flight(), 3);
    drop((other, third));
    let mut emptied = pin!(gate.emptied());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(emptied.as_mut().poll(&mut cx).is_pending());
    // One that is trusted again is counted once.
    gate.install(Arc::clone(&first));
    assert_eq!(gate.in_flight(), 1);
    gate.install(Arc::default());
    assert_eq!(gate.in_flight(), 1);
    drop(held);
    emptied.await;
    drop(first);
    gate.install(Arc::default());
    assert!(gate.lock().departed.is_empty(), "nobody has that worker any more");
}

#[tokio::test(start_paused = true)]
async fn a_paused_gate_lets_nobody_in_keeps_the_bounds_and_serves_all_when_it_goes_on() {
    let gate = gate(2);
    gate.install(pool(&[2]));
    let worker = Arc::clone(&gate.pool().workers()[0]);
    let held = gate.try_enter().unwrap();
    gate.pause();
    assert!(gate.is_paused() && gate.try_enter().is_none() && gate.try_enter_for(Some(&worker)).is_none());
    assert_eq!(gate.waiting(), 0, "the pause itself is nobody who waits");
    let mut cx = Context::from_waker(Waker::noop());
    let (mut first, mut second) = (pin!(gate.enter(1)), pin!(gate.enter(1)));
    assert!(first.as_mut().poll(&mut cx).is_pending() && second.as_mut().poll(&mut cx).is_pending());
    assert_eq!(gate.enter(1).await.err(), Some(Refusal::QueueFull { depth: 2 }));
    drop(held);
    gate.install(gate.pool());
    assert!(
        first.as_mut().poll(&mut cx).is_pending(),
        "neither a slot given back nor a new pool ends a pause"
    );
    gate.resume();
    let both = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((gate.waiting(), gate.is_paused(), worker.in_flight()), (0, false, 2));
    drop(both);
    gate.pause();
    assert_eq!(gate.enter(1).await.err(), Some(Refusal::Late { timeout: Duration::from_secs(30) }));
    gate.resume();
    assert!(gate.try_enter().is_some());
}
