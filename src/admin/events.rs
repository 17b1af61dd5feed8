//! Moments for whoever watches, as server-sent events (the HTML standard, "Server-sent events").
//!
//! An event is made when it is due and there is room for it: a client that does not read holds what its connection
//! holds, misses the rest, and makes nobody wait. Everybody's events are due at the same moments, so that clients
//! share what one of them had made. Nothing is made for nobody.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::body::{Body, Bytes, Frame};

use super::Admin;
use super::now;
use crate::clock;
use crate::config::units::{self, period_text};

/// Clients at a time. They stay, and the other connections are for those who ask and go.
const CLIENTS_MAX: usize = 16;
/// Between two events, unless the client asks for something else.
const PERIOD: Duration = Duration::from_secs(1);
/// What clients may ask for. Below, the looking would show in what is looked at; beyond, a proxy in between
/// might take the connection for dead.
const PERIODS: std::ops::RangeInclusive<Duration> = Duration::from_millis(250)..=Duration::from_secs(60);
/// How long an event is new: events due at one moment are asked for within this.
const SHARED_FOR: Duration = Duration::from_millis(50);

/// Who watches, and what they were last told.
#[derive(Default)]
pub(super) struct Watched {
    clients: Cell<usize>,
    last: RefCell<Option<(Instant, Bytes)>>,
}

/// The body of an answer that goes on.
pub(super) struct Feed {
    seat: Seat,
    period: Duration,
    until_due: Pin<Box<dyn Future<Output = ()>>>,
}

/// The period that a query asks for.
///
/// # Errors
/// It asks for another, or for something else: why not, for the client.
pub(super) fn period_of(query: Option<&str>) -> Result<Duration, String> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Ok(PERIOD) };
    let asked = query.strip_prefix("period=").and_then(|text| units::period(text).ok());
    asked.filter(|period| PERIODS.contains(period)).ok_or_else(|| {
        let [least, most] = [PERIODS.start(), PERIODS.end()].map(|period| period_text(*period));
        format!("Only a period means something here, from {least} to {most}: /events?period=500ms")
    })
}

/// Why another client cannot watch.
pub(super) fn full() -> String {
    format!("{CLIENTS_MAX} clients watch already, which is all that may. /now answers everybody, once.")
}

impl Feed {
    /// One for another client; `None` if there are enough.
    pub(super) fn new(admin: &Rc<Admin>, period: Duration) -> Option<Self> {
        Some(Self { seat: Seat::take(admin)?, period, until_due: Box::pin(clock::sleep_until(clock::now())) })
    }
}

impl Body for Feed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let feed = self.get_mut();
        ready!(feed.until_due.as_mut().poll(cx));
        let admin = &feed.seat.0;
        let (event, now) = (event(admin), clock::now());
        let since_began = now.saturating_duration_since(admin.view.began);
        // A moment, not a period: that would begin only when there is room again.
        feed.until_due = Box::pin(clock::sleep_until(now + until_due(since_began, feed.period)));
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}

/// How long it is to the next moment that is due, of those that lie `period` apart: not the very next one if that
/// is near, for a rate over a few milliseconds means nothing.
fn until_due(since_began: Duration, period: Duration) -> Duration {
    let since_due = since_began.as_nanos() % period.as_nanos();
    // Less than a period, which fits.
    let since_due = Duration::from_nanos(u64::try_from(since_due).unwrap_or(0));
    let left = period - since_due;
    if left < period / 2 { left + period } else { left }
}

/// This moment as an event.
fn event(admin: &Admin) -> Bytes {
    let now = clock::now();
    let mut last = admin.watched.last.borrow_mut();
    if let Some((at, event)) = &*last
        && now.saturating_duration_since(*at) < SHARED_FOR
    {
        return event.clone();
    }
    let object = now::object(&admin.view, &mut admin.usages.borrow_mut());
    let event = Bytes::from(format!("id: {}\ndata: {object}\n\n", object["at_ms"]));
    *last = Some((now, event.clone()));
    event
}

/// A client's place among those who watch.
struct Seat(Rc<Admin>);

impl Seat {
    fn take(admin: &Rc<Admin>) -> Option<Self> {
        let clients = &admin.watched.clients;
        (clients.get() < CLIENTS_MAX).then(|| {
            clients.set(clients.get() + 1);
            Self(Rc::clone(admin))
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Watched { clients, last } = &self.0.watched;
        clients.set(clients.get() - 1);
        if clients.get() == 0 {
            last.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// The event that there is room for now, if one is due.
    fn poll(feed: &mut Feed) -> Option<Bytes> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match Pin::new(feed).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().ok(),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_room_misses_events_and_gets_no_more_for_it() {
        let admin = Admin::of_nothing(None);
        let mut feed = Feed::new(&admin, MS(250)).unwrap();
        let first = poll(&mut feed).expect("one at once");
        assert!(first.starts_with(b"id: ") && first.ends_with(b"}\n\n"), "{first:?}");
        assert_eq!(poll(&mut feed), None);
        // An hour without room, in which fourteen thousand were due.
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(poll(&mut feed).is_some());
        assert_eq!(poll(&mut feed), None, "those that were missed are not made up for");
        tokio::time::sleep(MS(251)).await;
        assert!(poll(&mut feed).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn clients_share_what_one_of_them_had_made_and_nothing_is_kept_for_nobody() {
        let admin = Admin::of_nothing(None);
        let mut feeds: Vec<Feed> = (0..CLIENTS_MAX).map(|_| Feed::new(&admin, MS(250)).unwrap()).collect();
        assert!(Feed::new(&admin, MS(250)).is_none());
        let shared = |feeds: &mut [Feed]| {
            let events: Vec<Bytes> = feeds.iter_mut().filter_map(poll).collect();
            assert!(events.iter().all(|event| event.as_ptr() == events[0].as_ptr()));
            events.len()
        };
        assert_eq!(shared(&mut feeds), CLIENTS_MAX);
        tokio::time::sleep(MS(251)).await;
        assert_eq!(shared(&mut feeds), CLIENTS_MAX);
        feeds.pop();
        assert!(Feed::new(&admin, MS(250)).is_some());
        assert!(admin.watched.last.borrow().is_some());
        feeds.clear();
        assert!(admin.watched.last.borrow().is_none());
    }

    #[test]
    fn events_of_everybody_are_due_at_the_same_moments() {
        assert_eq!(until_due(MS(0), MS(1000)), MS(1000));
        assert_eq!(until_due(MS(7_002), MS(1000)), MS(998), "a moment late, and on time again");
        assert_eq!(until_due(MS(7_400), MS(1000)), MS(600));
        assert_eq!(until_due(MS(7_900), MS(1000)), MS(1100), "100 ms behind the first would tell nothing");
    }

    #[test]
    fn a_period_is_bounded_and_nothing_else_may_be_asked_for() {
        for (query, expected) in [
            (None, MS(1000)),
            (Some(""), MS(1000)),
            (Some("period=250ms"), MS(250)),
            (Some("period=60s"), MS(60_000)),
        ] {
            assert_eq!(period_of(query), Ok(expected), "{query:?}");
        }
        for query in
            ["period=249ms", "period=61s", "period=1", "period=", "period", "every=1s", "period=1s&x=1"]
        {
            let why = period_of(Some(query)).unwrap_err();
            assert!(why.contains("from 250ms to 60s"), "{why}");
        }
    }
}
