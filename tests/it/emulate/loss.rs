//! Invocations without an answer: exits, cancels, timeouts.

use super::{INVOKE, Plan, id_of, post};

const PROGRAM: &str = "
serve((q, s) => {
  if (q.url === '/die') process.exit(3);
  if (q.url === '/hang' || q.url === '/invoke') { console.log('hangs'); q.socket.on('close', () => console.log('closed')); return; }
  if (q.url === '/half') { s.writeHead(200, { 'Content-Length': 100 }); s.write('half'); setTimeout(() => process.exit(4), 50); return; }
  s.end('pid ' + process.pid);
});";

#[test]
fn an_exit_costs_those_in_flight_their_answer_and_the_next_one_starts_cold() {
    let emulation = Plan::node(PROGRAM).start();
    let mut held = emulation.client();
    held.send(post("/hang", "x"));
    emulation.log.wait_for("out| hangs");
    let dead = emulation.post("/die", "x");
    for answer in [held.response(), dead] {
        assert_eq!(
            (answer.status(), answer.field("X-Fc-Error-Type")),
            (502, Some("UnhandledInvocationError"))
        );
        let text = answer.text();
        let start = "{\"errorMessage\":\"Process exited unexpectedly before completing request (duration: ";
        assert!(text.starts_with(start) && text.ends_with("MB)\"}"), "{text}");
        emulation.log.wait_for(&format!(
            "FC Invoke End RequestId: {}, Error: Process exited unexpectedly before completing request (duration: ",
            id_of(&answer)
        ));
    }
    emulation.log.wait_for("(it ended: exit status 3)");
    assert!(emulation.get("/next").text().starts_with("pid "));
    emulation.log.wait_for(" GET /next 200 cold ");
    assert_eq!(emulation.instances().len(), 2);
}

#[test]
fn an_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let emulation = Plan::node(PROGRAM).start();
    let mut client = emulation.client();
    client.send("GET /half HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head();
    assert!(head.contains("Content-Length: 100"), "{head}");
    client.take_until("half");
    assert!(client.rest().0.is_empty());
    emulation.log.wait_for("Error: Process exited unexpectedly");
}

#[test]
fn a_client_that_leaves_is_seen_by_the_instance_which_is_replaced_if_it_holds_one_at_a_time() {
    for (flags, is_replaced) in [
        (&["--concurrency", "1"][..], true),
        (&["--concurrency", "2"][..], false),
        (&["--concurrency", "1", "--health-check", "/health"][..], false),
    ] {
        let emulation = Plan::node(PROGRAM).flags(flags).start();
        let mut client = emulation.client();
        client.send("GET /hang HTTP/1.1\r\nHost: a\r\n\r\n");
        emulation.log.wait_for("out| hangs");
        drop(client);
        let line = emulation.log.wait_for("FC Invoke End RequestId: ");
        assert!(line.contains(", Error: Invocation canceled by client (duration: "), "{line}");
        emulation.log.wait_for(" GET /hang 499 ");
        emulation.get("/next");
        assert_eq!(emulation.instances().len(), if is_replaced { 2 } else { 1 }, "{flags:?}");
        if !is_replaced {
            emulation.log.wait_for("out| closed");
        }
    }
}

#[test]
fn a_client_that_leaves_during_the_start_leaves_a_whole_instance_behind() {
    let emulation = Plan::node("setTimeout(() => serve((q, s) => s.end('ok')), 700);").open();
    emulation.log.wait_for("fc:Instance:Creating");
    let mut client = emulation.client();
    client.send("GET /early HTTP/1.1\r\nHost: a\r\n\r\n");
    // Answered behind it on the same thread, so the first one has been read.
    assert_eq!(emulation.ask("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n").status(), 403);
    drop(client);
    let line = emulation.log.wait_for(" GET /early 499 none ");
    assert!(line.contains("Invocation canceled by client (duration: "), "{line}");
    emulation.log.wait_for("emulate: ready");
    emulation.log.wait_for("emulate: instance frozen");
    assert_eq!(emulation.get("/late").text(), "ok");
    emulation.log.wait_for(" GET /late 200 thawed ");
    assert_eq!(emulation.instances().len(), 1);
}

#[test]
fn a_function_that_takes_longer_than_it_may_is_cut() {
    let emulation = Plan::node(PROGRAM).flags(&["--timeout", "1s"]).start();
    let answer = emulation.get("/hang");
    assert_eq!((answer.status(), answer.field("X-Fc-Error-Type")), (502, Some("UnhandledInvocationError")));
    let start = "{\"errorMessage\":\"Function timed out after 1 seconds (maxMemoryUsage: ";
    assert!(answer.text().starts_with(start), "{}", answer.text());
    assert_eq!(emulation.get("/next").status(), 200);
    assert_eq!(emulation.instances().len(), 1, "others may be in flight");
    let answer = emulation.post(INVOKE, "x");
    assert_eq!((answer.status(), answer.field("X-Fc-Error-Type")), (200, Some("UnhandledInvocationError")));
    assert!(answer.text().starts_with(start), "{}", answer.text());
    let one = Plan::node(PROGRAM).flags(&["--timeout", "1s", "--concurrency", "1"]).start();
    assert_eq!(one.get("/hang").status(), 502);
    assert_eq!(one.get("/next").status(), 200);
    assert_eq!(one.instances().len(), 2, "what it still does is nobody's any more");
}
