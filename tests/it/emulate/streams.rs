//! What has no end yet: streams and other protocols.

use super::Plan;

#[test]
fn each_event_of_a_stream_passes_as_it_comes() {
    let emulation = Plan::node(
        "let stream;
serve((q, s) => {
  if (q.url === '/stream') {
    s.writeHead(200, { 'Content-Type': 'text/event-stream' });
    stream = s;
    return s.write('data: 1\\n\\n');
  }
  stream.write('data: 2\\n\\n');
  stream.end();
  s.end();
});",
    )
    .start();
    let mut client = emulation.client();
    client.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.head();
    assert!(head.to_lowercase().contains("transfer-encoding: chunked"), "{head}");
    client.take_until("data: 1\n\n");
    // The stream is open, so the instance runs and has a place for the next one.
    assert_eq!(emulation.get("/next").status(), 200);
    client.take_until("data: 2\n\n");
    client.take_until("0\r\n\r\n");
    emulation.log.wait_for(" GET /stream 200 thawed ");
}

#[test]
fn a_change_of_protocol_is_a_tunnel_that_keeps_the_instance_running() {
    let emulation = Plan::node(
        "serve((q, s) => s.end()).on('upgrade', (q, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: ' + q.headers.upgrade + '\\r\\n\\r\\n');
  socket.on('data', (d) => socket.write('<' + d + '>'));
  socket.on('end', () => socket.end());
});",
    )
    .start();
    let mut client = emulation.client();
    client
        .send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let head = client.head();
    assert!(
        head.starts_with("HTTP/1.1 101 ") && head.to_lowercase().contains("upgrade: websocket"),
        "{head}"
    );
    client.send("one");
    client.take_until("<one>");
    client.send("two");
    client.take_until("<two>");
    assert!(!emulation.log.all().iter().any(|line| line.contains("GET /ws 101")), "it is still in flight");
    drop(client);
    emulation.log.wait_for(" GET /ws 101 thawed ");
    emulation.log.wait_for_count("emulate: instance frozen", 2);
}

#[test]
fn a_tunnel_ends_with_the_time_of_the_function() {
    let emulation = Plan::node(
        "serve((q, s) => s.end()).on('upgrade', (q, socket) => {
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n');
});",
    )
    .flags(&["--timeout", "1s"])
    .start();
    let mut client = emulation.client();
    client.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 101 "));
    client.end();
    emulation.log.wait_for(", Error: Function timed out after 1 seconds (maxMemoryUsage: ");
}
