//! The gateway: what clients talk to (FC contract §2, §3).
//!
//! A request is judged, gets a place and an instance, and its answer passes. Bodies of HTTP invocations stream both
//! ways; events and their results are whole, as on the platform.

use std::cell::Cell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::headers::{self, Facts};
use super::invocation::{Asked, Download, Lost, Outgoing, Permit, Running};
use super::life::Emulator;
use super::limits::{self, Excess};
use super::link::Upload;
use super::log::{Finished, UNSEEN};
use super::payload::{self, Loss, StartFailure};
use super::route::{self, Route};
use super::tunnel;
use crate::clock;
use crate::fc::event::STATUS_HEADER;
use crate::fc::{event, kind};
use crate::id::RequestId;

/// What the client says to have an answer behind its back.
const INVOCATION_TYPE: &str = "x-fc-invocation-type";
/// What says whose fault it was.
const ERROR_TYPE: &str = "x-fc-error-type";
/// Fields of a request. Far above what 8 KB can hold: the gateway judges by bytes.
const FIELDS_MAX: usize = 4096;

/// Serves one connection until it ends.
pub(super) async fn serve(emulator: Rc<Emulator>, stream: TcpStream, peer: SocketAddr) {
    let service = service_fn(move |request| {
        let emulator = Rc::clone(&emulator);
        async move { Ok::<_, Infallible>(answer(emulator, peer, request).await) }
    });
    let mut server = http1::Builder::new();
    server.title_case_headers(true).max_headers(FIELDS_MAX);
    // Whoever broke it knows.
    let _ = server.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

async fn answer(emulator: Rc<Emulator>, peer: SocketAddr, request: Request<Incoming>) -> Response<Download> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let asked = Asked {
        id: RequestId::generate().as_str().to_owned(),
        method: request.method().clone(),
        target,
        began: clock::now(),
    };
    let is_async = request
        .headers()
        .get(INVOCATION_TYPE)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"async"));
    let length = request.body().size_hint().exact();
    let judged =
        limits::of_request(asked.method.as_str(), &asked.target, request.headers(), length, is_async);
    if let Err(excess) = judged {
        return refuse(&emulator, &asked, excess);
    }
    let route = route::of(asked.method.as_str(), &asked.target);
    if is_async || route == Route::Event {
        return collected(emulator, peer, request, asked, route, is_async).await;
    }
    let Route::Http { base_path } = route else { unreachable!("invariant: events were taken above") };
    let (parts, body) = request.into_parts();
    let has_body = !body.is_end_stream();
    let max = usize::try_from(limits::body_max(false)).unwrap_or(usize::MAX);
    let upload = has_body.then(|| Limited::new(body, max).boxed_unsync());
    pass(emulator, peer, parts, upload, asked, &base_path).await
}

/// An invocation whose body has to be there first.
async fn collected(
    emulator: Rc<Emulator>,
    peer: SocketAddr,
    request: Request<Incoming>,
    asked: Asked,
    route: Route,
    is_async: bool,
) -> Response<Download> {
    let max = limits::body_max(is_async);
    let (parts, body) = request.into_parts();
    let limited = Limited::new(body, usize::try_from(max).unwrap_or(usize::MAX));
    let body = match limited.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return refuse(&emulator, &asked, Excess::Body(max));
        }
        // A client that leaves in the middle hears nothing anyway.
        Err(_) => return plain(StatusCode::BAD_REQUEST, String::new(), &asked.id),
    };
    let id = asked.id.clone();
    let invoking = async move {
        match route {
            Route::Event => invoke(emulator, body, asked, headers::tracing_of(&parts.headers)).await.0,
            Route::Http { base_path } => {
                pass(emulator, peer, parts, upload_of(body), asked, &base_path).await
            }
        }
    };
    if !is_async {
        return invoking.await;
    }
    tokio::task::spawn_local(async move {
        // Nobody reads it, but its end is the end of the invocation.
        let _ = invoking.await.into_body().collect().await;
    });
    plain(StatusCode::ACCEPTED, String::new(), &id)
}

/// An event invocation: the body in, the body of the answer out. Whether the function succeeded stands beside it.
pub(super) async fn invoke(
    emulator: Rc<Emulator>,
    event: Bytes,
    asked: Asked,
    tracing: Option<HeaderValue>,
) -> (Response<Download>, bool) {
    let mut running = match begin(&emulator, &asked).await {
        Ok(running) => running,
        Err(answer) => return (answer, false),
    };
    running.status = 200;
    let facts = Facts { id: &asked.id, control_path: "/invoke", client: None, base_path: "", tracing };
    let host = running.instance().link.address().to_string();
    let outgoing = Outgoing {
        method: Method::POST,
        uri: Uri::from_static("/invoke"),
        fields: headers::of_call(&emulator.options, &facts, &host),
        body: upload_of(event),
    };
    let (answer, kept) = match running.send(outgoing).await {
        Ok(sent) => sent,
        Err(lost) => return (lost_event(running, lost, &asked.id), false),
    };
    let (parts, body) = answer.into_parts();
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    let has_failed = event::reported(fields).unwrap_or(parts.status == StatusCode::NOT_FOUND);
    let collecting = async {
        tokio::select! {
            body = body.collect() => Some(body),
            () = running.timer() => None,
        }
    };
    let body = match collecting.await {
        Some(Ok(body)) => body.to_bytes(),
        Some(Err(_)) => return (lost_event(running, Lost::Loss(Loss::Exited), &asked.id), false),
        None => {
            let loss = running.time_out();
            return (lost_event(running, Lost::Loss(loss), &asked.id), false);
        }
    };
    running.instance().link.keep(kept);
    running.has_failed = has_failed;
    running.finish();
    let mut answer = whole(StatusCode::OK, body, &asked.id);
    if has_failed {
        headers::put(answer.headers_mut(), ERROR_TYPE, payload::INVOCATION);
    }
    (answer, !has_failed)
}

/// A body that is here already; `None` if it is empty.
fn upload_of(body: Bytes) -> Option<Upload> {
    (!body.is_empty()).then(|| Full::new(body).map_err(|never| match never {}).boxed_unsync())
}

/// An event without a result: the call itself is a success, and the body says what was none.
fn lost_event(mut running: Running, lost: Lost, id: &str) -> Response<Download> {
    let sentence = match lost {
        Lost::Loss(loss) => running.lose(loss),
        Lost::TooLong => unreachable!("invariant: an event is complete before it is sent"),
        Lost::Malformed(why) => {
            let why = format!("bad response: {why}");
            running.refuse(&why);
            why
        }
    };
    let mut answer = plain(StatusCode::OK, payload::of_function(&sentence), id);
    headers::put(answer.headers_mut(), ERROR_TYPE, payload::UNHANDLED);
    answer
}

/// An HTTP invocation: everything passes.
async fn pass(
    emulator: Rc<Emulator>,
    peer: SocketAddr,
    mut parts: hyper::http::request::Parts,
    body: Option<Upload>,
    asked: Asked,
    base_path: &str,
) -> Response<Download> {
    let mut running = match begin(&emulator, &asked).await {
        Ok(running) => running,
        Err(answer) => return answer,
    };
    let facts = Facts {
        id: &asked.id,
        control_path: "/http-invoke",
        client: Some(peer.ip()),
        base_path,
        tracing: headers::tracing_of(&parts.headers),
    };
    let is_upgrade = headers::is_upgrade(&parts.headers);
    let outgoing = Outgoing {
        method: parts.method.clone(),
        uri: asked.target.parse().unwrap_or_default(),
        fields: headers::of_http(&parts.headers, &emulator.options, &facts, is_upgrade),
        body,
    };
    let (mut answer, kept) = match running.send(outgoing).await {
        Ok(sent) => sent,
        Err(lost) => return lost_http(running, lost, &asked.id),
    };
    if let Err(why) = limits::of_answer(answer.headers()) {
        return bad_response(running, &why, &asked.id);
    }
    running.status = answer.status().as_u16();
    let origin = parts.headers.get(header::ORIGIN);
    let is_custom = emulator.options.custom_domain;
    let mut fields = headers::of_answer(answer.headers(), &asked.id, origin, is_custom);
    let mut to_client = Response::new(Download::Whole(None));
    *to_client.status_mut() = answer.status();
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let client = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
        let (Some(client), true) = (client, is_upgrade) else {
            return bad_response(running, "another protocol than was asked for", &asked.id);
        };
        // The client's own connection changes too.
        for name in [header::CONNECTION, header::UPGRADE] {
            if let Some(value) = answer.headers().get(&name) {
                fields.insert(name, value.clone());
            }
        }
        fields.remove(header::CONTENT_DISPOSITION);
        let instance = hyper::upgrade::on(&mut answer);
        tokio::task::spawn_local(tunnel::run(client, instance, running, kept));
    } else {
        let status =
            answer.headers().get(STATUS_HEADER).map(|value| (STATUS_HEADER.as_bytes(), value.as_bytes()));
        running.has_failed = event::reported(status.into_iter()).unwrap_or(false);
        *to_client.body_mut() = Download::relayed(answer.into_body(), running, kept);
    }
    *to_client.headers_mut() = fields;
    to_client
}

fn lost_http(mut running: Running, lost: Lost, id: &str) -> Response<Download> {
    match lost {
        Lost::Loss(loss) => {
            running.status = 502;
            let sentence = running.lose(loss);
            let mut answer = plain(StatusCode::BAD_GATEWAY, payload::of_function(&sentence), id);
            headers::put(answer.headers_mut(), ERROR_TYPE, payload::UNHANDLED);
            answer
        }
        Lost::TooLong => {
            let excess = Excess::Body(limits::BODY_BYTES_MAX);
            running.status = excess.code().0;
            running.refuse(&excess.to_string());
            of_excess(excess, id)
        }
        Lost::Malformed(why) => bad_response(running, &why, id),
    }
}

fn bad_response(mut running: Running, why: &str, id: &str) -> Response<Download> {
    running.status = 502;
    running.refuse(&format!("bad response: {why}"));
    let mut answer = plain(StatusCode::BAD_GATEWAY, payload::of_platform(id, "BadResponse", why), id);
    headers::put(answer.headers_mut(), ERROR_TYPE, payload::UNHANDLED);
    answer
}

/// A place and an instance, or what the caller gets instead.
async fn begin(emulator: &Rc<Emulator>, asked: &Asked) -> Result<Running, Response<Download>> {
    let Some(permit) = Permit::take(emulator) else {
        let message = format!(
            "the instance holds {} requests, its concurrency; the platform would start another instance, \
             the emulator has one",
            emulator.options.concurrency
        );
        let body = payload::of_platform(&asked.id, "ResourceExhausted", &message);
        unseen(emulator, asked, 429, &message);
        let mut answer = plain(StatusCode::TOO_MANY_REQUESTS, body, &asked.id);
        headers::put(answer.headers_mut(), ERROR_TYPE, payload::COMMON);
        return Err(answer);
    };
    // A task of its own: what it makes is there for the next one, should this client leave.
    let entering = tokio::task::spawn_local(Rc::clone(emulator).enter());
    let waiting = Waiting { emulator, asked, is_over: Cell::new(false) };
    let entered = entering.await.unwrap_or_else(|error| Err(StartFailure::Local(error.to_string())));
    waiting.is_over.set(true);
    match entered {
        Ok(entry) => Ok(Running::new(emulator, entry, asked.clone(), permit)),
        Err(failure) => {
            let status = failure.status();
            unseen(emulator, asked, status, &failure.to_string());
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut answer = plain(status, failure.body(&asked.id), &asked.id);
            headers::put(answer.headers_mut(), ERROR_TYPE, failure.error_type());
            Err(answer)
        }
    }
}

/// A request that waits for an instance. Whoever is dropped meanwhile was canceled by its client.
struct Waiting<'a> {
    emulator: &'a Emulator,
    asked: &'a Asked,
    is_over: Cell<bool>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_over.get() {
            let ms = clock::now().saturating_duration_since(self.asked.began).as_millis();
            unseen(self.emulator, self.asked, 499, &Loss::Canceled.sentence(ms, 0));
        }
    }
}

/// Says that a request was answered without an instance.
fn unseen(emulator: &Emulator, asked: &Asked, status: u16, error: &str) {
    emulator.log.request(&Finished {
        id: &asked.id,
        method: asked.method.as_str(),
        target: String::from_utf8_lossy(kind::path_of(asked.target.as_bytes())).as_ref(),
        status,
        warmth: UNSEEN,
        ms: clock::now().saturating_duration_since(asked.began).as_millis(),
        memory_kb: 0,
        error: Some(error),
    });
}

fn refuse(emulator: &Emulator, asked: &Asked, excess: Excess) -> Response<Download> {
    unseen(emulator, asked, excess.code().0, &excess.to_string());
    of_excess(excess, &asked.id)
}

fn of_excess(excess: Excess, id: &str) -> Response<Download> {
    let (status, code) = excess.code();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = plain(status, payload::of_platform(id, code, &excess.to_string()), id);
    headers::put(answer.headers_mut(), ERROR_TYPE, payload::COMMON);
    answer
}

/// An answer of the gateway's own.
fn plain(status: StatusCode, body: String, id: &str) -> Response<Download> {
    let is_json = !body.is_empty();
    let mut answer = whole(status, Bytes::from(body), id);
    if is_json {
        headers::put(answer.headers_mut(), "content-type", "application/json");
    }
    answer
}

fn whole(status: StatusCode, body: Bytes, id: &str) -> Response<Download> {
    let mut answer = Response::new(Download::Whole((!body.is_empty()).then_some(body)));
    *answer.status_mut() = status;
    headers::put(answer.headers_mut(), "x-fc-request-id", id);
    answer
}
