//! The fields in which callers name their traces reach the worker as they came.

use crate::support::{ID, Setup, Sidecar, Worker, ok};

/// W3C's, Jaeger's, the platform's (FC contract §8), in cases and with blanks that nobody may touch.
const FIELDS: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\
    TraceState:rojo=00f067aa0ba902b7,congo=t61rcWkgMzE \r\n\
    tracestate: vendor=2\r\n\
    baggage: userId=alice,serverNode=DF%2028,isProduction=false\r\n\
    uber-trace-id: 124ed43254b54966:124ed43254b54966:0:1\r\n\
    uberctx-a: b\r\n\
    X-Fc-Tracing-Opentracing-Span-Context: 124ed43254b54966:124ed43254b54966:0:1\r\n\
    X-Fc-Tracing-Opentracing-Span-Context-Baggage-K: v\r\n\
    X-Fc-Tracing-Opentracing-Span-Baggages:eyJrIjoidiJ9\r\n\
    X-Fc-Tracing-Jaeger-Endpoint: http://tracing-analysis-dc-hz.aliyuncs.com/adapt_x/api/traces\r\n\
    X-Fc-Eagleeye-Traceid: 0bc1\r\n\
    X-Fc-Eagleeye-Rpcid: 0.1\r\n\
    X-Fc-Eagleeye-Userdata:\r\n";

/// As the platform sends them while tracing is off.
const EMPTY: &str = "X-Fc-Tracing-Opentracing-Span-Context:\r\nX-Fc-Tracing-Opentracing-Span-Baggages: \r\n\
    X-Fc-Tracing-Jaeger-Endpoint:\r\ntraceparent: nonsense\r\n";

/// Asserts that they reach a worker behind what `setup` makes, however many requests a connection has.
fn assert_pass(setup: impl FnOnce(Setup) -> Setup) -> Sidecar {
    let worker = Worker::listen();
    let sidecar = setup(Setup::forward(&[worker.path()])).start();
    let (mut client, mut connection) = (sidecar.client(), None);
    for fields in [FIELDS, EMPTY, FIELDS] {
        let head = format!("GET /a?b HTTP/1.1\r\nHost: a\r\n{fields}x-fc-request-id: {ID}\r\n\r\n");
        client.send(&head);
        let connection = connection.get_or_insert_with(|| worker.accept());
        assert_eq!(connection.request().head, head);
        connection.send(ok("fine"));
        assert_eq!(client.response().text(), "fine");
    }
    sidecar
}

#[test]
fn fc31_the_fields_of_traces_pass_byte_for_byte() {
    assert_pass(|setup| setup);
}

#[cfg(feature = "otlp")]
#[test]
fn fc31_the_fields_of_traces_pass_byte_for_byte_while_there_are_spans() {
    let collector = crate::support::collector::Collector::listen();
    let _sidecar = assert_pass(|setup| setup.with_spans(&collector));
    // What the first and the last one name counts, what the second one names nobody could read.
    let traces: Vec<_> =
        collector.spans(7).iter().filter(|it| it.name() == "GET").map(|it| it.trace()).collect();
    let named = traces.iter().filter(|trace| trace.starts_with("4bf92f35")).count();
    assert_eq!((traces.len(), named), (3, 2), "{traces:?}");
}
