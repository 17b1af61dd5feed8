//! Node closes a connection that resets too many streams; good calls must not be on it then.

use super::planes::front;
use crate::support::{get, post};

const STORM: usize = 5000;

#[test]
fn five_thousand_errors_and_as_many_who_leave_break_no_good_request() {
    let (planes, sidecar) = front(|setup| setup.set("log.access", "off"));
    let mut good = sidecar.client();
    good.send(get("/invoke/trickle?n=2000000&ms=1"));
    good.head();
    let mut client = sidecar.client();
    for _ in 0..STORM {
        assert_eq!(client.ask(get("/invoke/handler-threw")).status(), 500);
    }
    for _ in 0..STORM {
        let mut leaving = sidecar.client();
        leaving.send(get("/invoke/stall"));
        leaving.head();
    }
    assert_eq!(client.ask(post("/invoke/echo", "good")).text(), "good");
    // The one that was there before all of them still gets its bytes.
    let part = |chunk: Vec<u8>| {
        String::from_utf8(chunk).unwrap().trim().lines().last().unwrap().parse::<u64>().unwrap()
    };
    let here = part(good.chunk());
    while part(good.chunk()) < here + 5000 {}
    drop(good);
    planes.wait_idle();
}
