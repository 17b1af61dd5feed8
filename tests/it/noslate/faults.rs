//! What a plane or a function does wrong, and what the client sees of it.

use super::planes::{front, front_of};
use crate::support::{ID, get, post};

#[test]
fn every_error_before_a_head_has_its_status_and_tells_nothing_more() {
    let (planes, sidecar) = front(|setup| setup.set("noslate.timeout", "1s"));
    let mut client = sidecar.client();
    for (function, status, reason) in [
        ("unknown", 404, "noslate-unknown"),
        ("rate-limited", 429, "noslate-rate-limit"),
        ("queue-timeout", 504, "noslate-queue"),
        ("breaker", 503, "noslate-breaker"),
        ("no-worker", 503, "noslate-no-worker"),
        ("memory", 503, "noslate-memory"),
        ("replica-limit", 503, "noslate-replicas"),
        ("code-failed", 502, "noslate-start"),
        ("init-timeout", 502, "noslate-start"),
        ("handler-threw", 500, "noslate-function"),
        ("head-timeout", 504, "noslate-timeout"),
        ("worker-died", 502, "noslate-worker-died"),
        ("silent", 504, "noslate-silent"),
        ("grpc-error?after=nothing", 502, "noslate-grpc"),
    ] {
        let answer = client.ask(post(&format!("/invoke/{function}"), "x"));
        assert_eq!(
            (answer.status(), answer.field("x-warmfront-reason")),
            (status, Some(reason)),
            "{function}"
        );
        for secret in ["secret", "the handler said no", "    at "] {
            assert!(!answer.text().contains(secret), "{}", answer.text());
        }
        let comes_back = matches!(status, 429 | 503);
        assert_eq!(answer.field("retry-after").is_some(), comes_back, "{}", answer.head);
    }
    // The plane ends no call that failed; all of them are ended.
    planes.wait_idle();
}

#[test]
fn what_a_function_said_is_told_where_that_is_asked_for() {
    let (_planes, sidecar) = front(|setup| setup.set("noslate.show_errors", "true"));
    let answer = sidecar.client().ask(get("/invoke/handler-threw"));
    assert_eq!(answer.status(), 500);
    assert!(
        answer.text().contains("the handler said no") && answer.text().contains("    at "),
        "{}",
        answer.text()
    );
}

#[test]
fn an_error_is_answered_long_before_the_call_would_end() {
    let (planes, sidecar) = front(|setup| setup.set("noslate.timeout", "1h"));
    assert_eq!(sidecar.client().ask(get("/invoke/handler-threw")).status(), 500);
    planes.wait_idle();
}

#[test]
fn what_breaks_behind_the_head_is_a_cut_and_never_an_end() {
    let (planes, sidecar) = front(|setup| setup);
    for function in [
        "fail-after-head",
        "chunk-too-large",
        "deadline-mid-response",
        "grpc-error",
        "reset",
        "disconnect",
        "short-body",
        "long-body",
    ] {
        let mut client = sidecar.client();
        client.send(get(&format!("/invoke/{function}")));
        let head = client.head();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        let (rest, _) = client.rest();
        match head.contains("chunked") {
            true => assert!(!rest.ends_with(b"0\r\n\r\n"), "{function}: {rest:?}"),
            false => {
                let length: usize =
                    crate::support::wire::field(&head, "content-length").unwrap().parse().unwrap();
                assert!(rest.len() < length, "{function}: {} of {length}", rest.len());
            }
        }
        sidecar.stdout.wait_for(&format!("function=\"{function}\" start=warm replays=0 outcome=aborted"));
    }
    planes.wait_idle();
}

#[test]
fn what_is_no_answer_is_a_bad_gateway() {
    let (planes, sidecar) = front(|setup| setup.set("noslate.timeout", "1s"));
    let mut client = sidecar.client();
    for function in ["bad-status", "bad-header"] {
        let answer = client.ask(get(&format!("/invoke/{function}")));
        assert_eq!(
            (answer.status(), answer.field("x-warmfront-reason")),
            (502, Some("noslate-answer")),
            "{function}"
        );
    }
    for kind in ["compressed", "truncated", "huge", "junk", "neither", "headless", "nothing"] {
        let answer = client.ask(get(&format!("/invoke/wrong-frames?kind={kind}")));
        assert_eq!(
            (answer.status(), answer.field("x-warmfront-reason")),
            (502, Some("noslate-answer")),
            "{kind}"
        );
    }
    assert_eq!(client.ask(post("/invoke/echo", "still here")).text(), "still here");
    planes.wait_idle();
}

#[test]
fn what_no_worker_can_have_seen_is_sent_again_and_nothing_else() {
    let (planes, sidecar) = front(|setup| setup);
    let mut client = sidecar.client();
    for function in ["memory", "replica-limit", "no-worker"] {
        // The plane counts by their ids.
        let answer = client.ask(post(&format!("/invoke/{function}?times=2"), "once").replace(ID, function));
        assert_eq!((answer.status(), answer.text()), (200, "once"), "{function}");
        sidecar.stdout.wait_for(&format!("function=\"{function}\" start=warm replays=2 outcome=served"));
    }
    let before = planes.all("invoke").len();
    for function in ["worker-died", "handler-threw", "code-failed", "breaker", "unknown"] {
        assert!(
            client.ask(post(&format!("/invoke/{function}?times=1"), "once").replace(ID, function)).status()
                >= 400
        );
    }
    assert_eq!(planes.all("invoke").len(), before + 5);
}

#[test]
fn who_leaves_while_the_plane_has_it_wait_is_not_cancelled_there() {
    let (planes, sidecar) = front_of(&["--slots", "1"], |setup| setup);
    let (mut first, mut second) = (sidecar.client(), sidecar.client());
    first.send(get("/invoke/slow?ms=500"));
    planes.wait("dispatched", 1);
    second.send(post("/invoke/slow?ms=1", "body"));
    planes.wait("waiting", 1);
    drop(second);
    sidecar.stdout.wait_for("outcome=client_gone");
    // Dispatched as if nothing had happened; a cancelled one would have held its place for ever.
    let dispatched = planes.wait("dispatched", 2);
    assert_eq!(dispatched[1]["cancelled"], false, "{dispatched:?}");
    assert_eq!(first.response().status(), 200);
    assert_eq!(sidecar.client().ask(post("/invoke/slow?ms=1", "third")).text(), "third");
    assert!(planes.all("slot-leaked").is_empty());
    planes.wait_idle();
}

#[test]
fn who_leaves_an_answer_frees_the_worker_at_once() {
    let (planes, sidecar) = front_of(&["--slots", "1"], |setup| setup);
    let mut client = sidecar.client();
    client.send(get("/invoke/stall"));
    client.head();
    drop(client);
    let cancelled = planes.wait("cancelled", 1);
    assert_eq!(cancelled[0]["phase"], "head-sent", "{cancelled:?}");
    planes.wait_idle();
}

#[test]
fn an_upload_that_is_left_in_the_middle_is_never_taken_for_whole() {
    let (planes, sidecar) = front(|setup| setup.set("noslate.timeout", "1s"));
    let mut client = sidecar.client();
    client.send("POST /invoke/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    planes.wait("dispatched", 1);
    drop(client);
    sidecar.stdout.wait_for("outcome=client_gone");
    // On the same connection to the plane: whatever was sent before has come before.
    assert_eq!(sidecar.client().ask(post("/invoke/echo", "whole")).text(), "whole");
    let ends = planes.wait("body-end", 1);
    assert!(ends.iter().all(|end| end["name"] == "echo"), "{ends:?}");
    planes.wait("cancelled", 1);
    planes.wait_idle();
}
