//! Planes that do not behave: they hang up, are something else, do not answer, are well and then not.

mod fake;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::{Duration, Instant};

use warmfront::noslate::control::UseInspectorRequest;

use self::fake::{Call, Fakes, Health, Plane};
use super::planes::{setup as without_control, with_control};
use crate::support::{Setup, Sidecar, eventually, get};

/// The platform's hook, at which it waits until the instance is ready.
const INITIALIZE: &str = "POST /initialize HTTP/1.1\r\nHost: a\r\nx-fc-request-id: 1-init\r\n\
                          x-fc-control-path: /initialize\r\nContent-Length: 0\r\n\r\n";

/// A sidecar to be, in front of both planes of one Noslate, which are not there yet.
fn setup() -> (Setup, Fakes) {
    let setup = with_control().with_admin();
    let fakes = Fakes::of(&setup);
    (setup, fakes)
}

/// Waits until `/ready` says yes, or no for a reason that holds `part`.
fn until_ready(sidecar: &Sidecar, part: Option<&str>) {
    let admin = sidecar.admin();
    eventually(&format!("/ready, {part:?}"), || {
        let answer = admin.ask("GET", "/ready");
        let fits = match part {
            None => answer.status() == 200,
            Some(part) => answer.status() == 503 && answer.text().contains(part),
        };
        fits.then_some(())
    });
}

/// Lines of the log so far that hold `part`.
fn lines(sidecar: &Sidecar, part: &str) -> usize {
    sidecar.stderr.all().iter().filter(|line| line.contains(part)).count()
}

#[test]
fn a_plane_that_hangs_up_at_once_is_no_plane_and_fills_no_log() {
    let setup = without_control().with_admin();
    let listener = UnixListener::bind(setup.dir().join("socks/dp-0.sock")).expect("the socket is free");
    let sidecar = setup.start_cold();
    let connects: Vec<_> = (0..8)
        .map(|_| {
            drop(listener.accept().expect("a connect"));
            Instant::now()
        })
        .collect();
    // One that is gone before the first byte is as one that does not listen: the pauses grow from 10 ms.
    let took = connects[7] - connects[0];
    assert!(took > Duration::from_millis(200), "eight connects within {took:?}");
    until_ready(&sidecar, Some("data plane 0: "));
    assert_eq!(lines(&sidecar, "worker 1 is ready"), 0);
    assert!(lines(&sidecar, "The data plane 0 is there, but not ready") <= 1);
}

#[test]
fn somebody_else_at_the_socket_is_not_taken_for_a_plane() {
    let setup = without_control().with_admin();
    let listener = UnixListener::bind(setup.dir().join("socks/dp-0.sock")).expect("the socket is free");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connect");
            // Whoever asked may have left.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let sidecar = setup.start_cold();
    sidecar.stderr.wait_for("The data plane 0 is there, but not ready: it does not say how it is");
    until_ready(&sidecar, Some("no worker is ready"));
    assert_eq!(lines(&sidecar, "worker 1 is ready"), 0);
}

#[test]
fn a_data_plane_that_is_not_well_makes_the_instance_unready_and_stops_no_request() {
    let (setup, mut fakes) = setup();
    fakes.know("hello");
    fakes.start(Plane::Data(0));
    fakes.start(Plane::Control);
    let sidecar = setup.start_ready();
    until_ready(&sidecar, None);
    for (round, reason) in [(1, "System circuit breaker opened"), (2, "System circuit breaker opened")] {
        fakes.change(|habits| habits.data = Health::Unwell(reason));
        until_ready(&sidecar, Some("data plane 0: System circuit breaker opened"));
        assert_eq!(sidecar.client().ask(get("/invoke/hello")).text(), "hello");
        // As planes do that are older than the question.
        fakes.change(|habits| habits.data = if round == 1 { Health::Well } else { Health::Unknown });
        until_ready(&sidecar, None);
        assert_eq!(lines(&sidecar, "The data plane 0 is not well: System circuit breaker opened"), round);
        sidecar.stderr.wait_for_count("the data plane 0 is well again", round);
    }
}

#[test]
fn a_plane_that_comes_unwell_is_there_and_not_ready() {
    let (setup, mut fakes) = setup();
    fakes.change(|habits| habits.data = Health::Unwell("low on memory"));
    fakes.start(Plane::Data(0));
    fakes.start(Plane::Control);
    let sidecar = setup.set("start.deadline", "500ms").start_cold();
    let answer = sidecar.client().ask(INITIALIZE);
    assert_eq!(answer.status(), 404);
    assert!(answer.text().contains("ata plane 0: low on memory"), "{}", answer.text());
    assert_eq!(lines(&sidecar, "1 worker is warm"), 0);
    fakes.change(|habits| habits.data = Health::Well);
    sidecar.stderr.wait_for("1 worker is warm");
}

#[test]
fn initialize_says_which_plane_it_has_waited_for_in_vain() {
    let (setup, mut fakes) = setup();
    fakes.start(Plane::Data(0));
    let sidecar = setup.set("start.deadline", "500ms").start_cold();
    let answer = sidecar.client().ask(INITIALIZE);
    assert_eq!(answer.status(), 404);
    let text = answer.text();
    assert!(text.contains("ontrol plane: nobody accepts there"), "{text}");
    assert!(text.contains("start.deadline is over") && !text.contains("ata plane"), "{text}");
}

#[test]
fn every_data_plane_is_told_and_only_one_that_is_back_is_told_again() {
    let (setup, mut fakes) = setup();
    let all = [Plane::Data(0), Plane::Data(1), Plane::Control];
    all.into_iter().for_each(|plane| fakes.start(plane));
    let sidecar = setup.set("noslate.inspect", "hello other").set("noslate.data_planes", "2").start_ready();
    until_ready(&sidecar, None);
    fakes.kill(Plane::Data(1));
    sidecar.stderr.wait_for("is gone");
    fakes.start(Plane::Data(1));
    sidecar.stderr.wait_for("is back after");
    let asked = |plane: Plane| -> Vec<_> {
        let calls = fakes.calls("useInspector").into_iter().filter(|call| call.plane == plane);
        let requests = calls.map(|call: Call| call.read::<UseInspectorRequest>());
        requests.map(|request| (request.func_name, request.r#use)).collect()
    };
    let once = [("hello".to_owned(), true), ("other".to_owned(), true)];
    assert_eq!(asked(Plane::Data(0)), once);
    assert_eq!(asked(Plane::Data(1)), [once.clone(), once].concat());
}

#[test]
fn a_control_plane_that_does_not_answer_holds_the_end_up_for_five_seconds_at_most() {
    let (setup, mut fakes) = setup();
    fakes.start(Plane::Data(0));
    fakes.start(Plane::Control);
    let mut sidecar = setup.set("noslate.clear_on_stop", "true").start_ready();
    until_ready(&sidecar, None);
    fakes.change(|habits| habits.is_mute = true);
    let began = Instant::now();
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    assert!(began.elapsed() < Duration::from_secs(8), "after {:?}", began.elapsed());
    sidecar.stderr.wait_for("The functions were not taken back.");
    assert_eq!(fakes.calls("setFunctionProfile").len(), 1);
}
