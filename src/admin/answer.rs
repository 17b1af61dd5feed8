//! Which question gets which answer.
//!
//! Reading changes nothing and may be done by whoever got through the door. No answer says that pages of other
//! origins may read it (CORS), so browsers keep it from them.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;

use super::Admin;
use super::door::Caller;
use super::events::{self, Feed};
use super::exposition;
use super::now;
use super::page;
use super::scrape;
use super::view::{VERSION, View};
use crate::telemetry::say;
use crate::upstream::pool::WorkerId;
use crate::worker::restart::Declined;

/// A body that is here already, or one that comes; it stays on the admin's thread.
pub(super) type Body = Pin<Box<dyn hyper::body::Body<Data = Bytes, Error = Infallible>>>;

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Page,
    Live,
    Ready,
    Metrics,
    Workers,
    Processes,
    Requests,
    Config,
    Now,
    Events,
    Restart(WorkerId),
    Drain,
    Pause,
    Resume,
}

/// Every path, for whoever asks for another.
const PATHS: [&str; 14] = [
    "/",
    "/live",
    "/ready",
    "/metrics",
    "/workers",
    "/processes",
    "/requests",
    "/config",
    "/now",
    "/events",
    "/workers/{id}/restart",
    "/drain",
    "/pause",
    "/resume",
];

impl Place {
    fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Page,
            "/live" => Self::Live,
            "/ready" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/workers" => Self::Workers,
            "/processes" => Self::Processes,
            "/requests" => Self::Requests,
            "/config" => Self::Config,
            "/now" => Self::Now,
            "/events" => Self::Events,
            "/drain" => Self::Drain,
            "/pause" => Self::Pause,
            "/resume" => Self::Resume,
            _ => {
                let worker = path.strip_prefix("/workers/")?.strip_suffix("/restart")?;
                Self::Restart(WorkerId(worker.parse().ok()?))
            }
        })
    }

    /// Whether those may ask who come from elsewhere and bear no token: what probes and Prometheus need, and the
    /// page, which has nothing to tell by itself and asks for the token.
    fn is_for_all(self) -> bool {
        matches!(self, Self::Page | Self::Live | Self::Ready | Self::Metrics)
    }

    /// Whether asking changes something.
    fn changes_something(self) -> bool {
        matches!(self, Self::Restart(_) | Self::Drain | Self::Pause | Self::Resume)
    }
}

/// The answer to `request` of `caller`.
pub(super) async fn answer<B>(admin: &Rc<Admin>, caller: Caller, request: &Request<B>) -> Response<Body> {
    let named = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    let target = request.uri().authority().map(hyper::http::uri::Authority::as_str);
    if !caller.may_name(named) || target.is_some_and(|target| !caller.may_name(Some(target))) {
        return refuse(
            StatusCode::MISDIRECTED_REQUEST,
            "Host must be an IP address or localhost: a name can be made to point here by anybody.",
        );
    }
    let Some(place) = Place::at(request.uri().path()) else {
        let text = json!({ "version": VERSION, "error": "There is nothing here.", "paths": PATHS });
        return reply(StatusCode::NOT_FOUND, &text);
    };
    let (allowed, word): (&[Method], _) = if place.changes_something() {
        (&[Method::POST], "POST")
    } else {
        (&[Method::GET, Method::HEAD], "GET, HEAD")
    };
    if !allowed.contains(request.method()) {
        let mut answer =
            refuse(StatusCode::METHOD_NOT_ALLOWED, &format!("Only {word} means something here."));
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static(word));
        return answer;
    }
    let is_trusted = match caller {
        Caller::Neighbour { is_owner } => is_owner || !place.changes_something(),
        Caller::SameMachine => !place.changes_something(),
        Caller::Remote => place.is_for_all(),
    };
    if !is_trusted && !bears_token(admin, request) {
        return unauthorized(admin);
    }
    if (place == Place::Events || place.changes_something()) && is_of_another_origin(request) {
        return refuse(
            StatusCode::FORBIDDEN,
            "Pages of other origins may neither watch nor change anything.",
        );
    }
    match place {
        Place::Events => feed(admin, request.uri().query()),
        _ if place.changes_something() => change(admin, place).await,
        _ => tell(admin, place),
    }
}

fn tell(admin: &Admin, place: Place) -> Response<Body> {
    let view = &admin.view;
    let value = match place {
        Place::Page => {
            let mut answer = whole(StatusCode::OK, "text/html; charset=utf-8", page::TEXT);
            page::protect(answer.headers_mut());
            return answer;
        }
        Place::Ready => {
            let obstacles = view.obstacles();
            let is_ready = obstacles.is_empty();
            let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            return reply(status, &View::ready(&obstacles));
        }
        Place::Metrics => {
            let text = scrape::text(view, &mut admin.usages.borrow_mut());
            return whole(StatusCode::OK, exposition::CONTENT_TYPE, text);
        }
        Place::Workers => view.workers(&mut admin.usages.borrow_mut()),
        Place::Processes => view.processes(),
        Place::Requests => View::requests(),
        Place::Config => view.config(),
        Place::Now => {
            let text = format!("{}\n", now::object(view, &mut admin.usages.borrow_mut()));
            return whole(StatusCode::OK, "application/json", text);
        }
        _ => view.live(),
    };
    reply(StatusCode::OK, &value)
}

/// Moments, until whoever asked leaves or the admin ends.
fn feed(admin: &Rc<Admin>, query: Option<&str>) -> Response<Body> {
    let period = match events::period_of(query) {
        Ok(period) => period,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
    };
    match Feed::new(admin, period) {
        Some(feed) => respond(StatusCode::OK, "text/event-stream", Box::pin(feed)),
        None => refuse(StatusCode::SERVICE_UNAVAILABLE, &events::full()),
    }
}

/// Each of these is said in the log, too: whoever reads that later wonders who did it.
async fn change(admin: &Admin, place: Place) -> Response<Body> {
    let view = &admin.view;
    let gate = &view.proxy.gate;
    let done = match place {
        Place::Restart(worker) => {
            let patience = view.proxy.desk.drain_deadline;
            if let Err(declined) = view.restarts.ask(worker, patience).await {
                let is_unknown = declined == Declined::Unknown;
                let status = if is_unknown { StatusCode::NOT_FOUND } else { StatusCode::CONFLICT };
                return refuse(status, &declined.to_string());
            }
            say::info(format_args!(
                "admin: worker {worker} is to be started again, when its requests have ended"
            ));
            "restart"
        }
        Place::Drain => {
            say::info("admin: the instance is to drain and end");
            view.drain.notify_one();
            "drain"
        }
        Place::Pause => {
            gate.pause();
            // Looked at behind it: a drain says that it has begun and ends the pause then, so one of us does.
            if view.proxy.desk.is_stopping() {
                gate.resume();
                let why = "The instance is ending: what waits shall still be served.";
                return refuse(StatusCode::CONFLICT, why);
            }
            say::info("admin: paused; requests wait within the bounds of the queue");
            "pause"
        }
        _ => {
            gate.resume();
            say::info("admin: requests go on");
            "resume"
        }
    };
    reply(StatusCode::ACCEPTED, &json!({ "version": VERSION, "accepted": done }))
}

/// Whether a browser says that a page asks that is not ours. Such a page could not read the answer, but it could
/// keep everybody else from watching; and where a socket is forwarded (`ssh -L`), it would ask as its owner.
fn is_of_another_origin<B>(request: &Request<B>) -> bool {
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    site.is_some_and(|site| !matches!(site, b"same-origin" | b"none"))
}

fn bears_token<B>(admin: &Admin, request: &Request<B>) -> bool {
    let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(|given| given.split_at_checked("Bearer ".len()));
    match (&admin.token, given) {
        (Some(token), Some((scheme, given))) => scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(given),
        _ => false,
    }
}

fn unauthorized(admin: &Admin) -> Response<Body> {
    if admin.token.is_none() {
        let why = "Set admin.token and bear it, or ask through a Unix socket (admin.listen), as its owner.";
        return refuse(StatusCode::FORBIDDEN, why);
    }
    let why = "This needs `Authorization: Bearer` with the value of admin.token.";
    let mut answer = refuse(StatusCode::UNAUTHORIZED, why);
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

fn refuse(status: StatusCode, why: &str) -> Response<Body> {
    reply(status, &json!({ "version": VERSION, "error": why }))
}

fn reply(status: StatusCode, value: &Value) -> Response<Body> {
    whole(status, "application/json", format!("{value:#}\n"))
}

fn whole(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    respond(status, kind, Box::pin(Full::new(text.into())))
}

fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";
    const OWNER: Caller = Caller::Neighbour { is_owner: true };
    const STRANGER: Caller = Caller::Neighbour { is_owner: false };

    async fn status(admin: &Rc<Admin>, caller: Caller, question: &str, authorization: Option<&str>) -> u16 {
        let (method, path) = question.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path).header(HOST, "10.0.0.1:9901");
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        answer(admin, caller, &request.body(()).unwrap()).await.status().as_u16()
    }

    #[tokio::test]
    async fn from_elsewhere_only_probes_and_prometheus_need_no_token() {
        let (open, closed) = (Admin::of_nothing(Some(TOKEN)), Admin::of_nothing(None));
        for (question, expected) in
            [("GET /", 200), ("GET /live", 200), ("GET /metrics", 200), ("GET /ready", 503)]
        {
            assert_eq!(status(&open, Caller::Remote, question, None).await, expected, "{question}");
            assert_eq!(status(&closed, Caller::Remote, question, None).await, expected, "{question}");
        }
        for question in ["GET /workers", "GET /requests", "GET /config", "GET /now", "GET /events"] {
            for caller in [Caller::SameMachine, OWNER, STRANGER] {
                assert_eq!(status(&open, caller, question, None).await, 200, "{question}");
            }
            for (authorization, expected) in [
                (None, 401),
                (Some("Bearer 0123456789abcdee"), 401),
                (Some(TOKEN), 401),
                (Some("Basic 0123456789abcdef"), 401),
                (Some("bearer 0123456789abcdef"), 200),
            ] {
                assert_eq!(
                    status(&open, Caller::Remote, question, authorization).await,
                    expected,
                    "{question}"
                );
            }
            assert_eq!(status(&closed, Caller::Remote, question, Some("Bearer ")).await, 403, "{question}");
        }
    }

    #[tokio::test]
    async fn who_changes_something_owns_the_socket_or_bears_the_token() {
        let (open, closed) = (Admin::of_nothing(Some(TOKEN)), Admin::of_nothing(None));
        for question in ["POST /pause", "POST /resume", "POST /drain"] {
            for admin in [&open, &closed] {
                assert_eq!(status(admin, OWNER, question, None).await, 202, "{question}");
            }
            for caller in [STRANGER, Caller::SameMachine, Caller::Remote] {
                assert_eq!(status(&closed, caller, question, Some("Bearer x")).await, 403, "{question}");
                assert_eq!(status(&open, caller, question, None).await, 401, "{question}");
                assert_eq!(
                    status(&open, caller, question, Some("Bearer 0123456789abcdef")).await,
                    202,
                    "{question}"
                );
            }
            // Nothing changes because somebody was curious.
            let get = question.replace("POST", "GET");
            assert_eq!(status(&open, OWNER, &get, None).await, 405, "{get}");
        }
        assert_eq!(
            status(&open, OWNER, "POST /workers/1/restart", None).await,
            409,
            "somebody else runs them"
        );
        for path in ["/workers/x/restart", "/workers/1/", "/workers//restart", "/workers/1/restart/now"] {
            assert_eq!(status(&open, OWNER, &format!("POST {path}"), None).await, 404, "{path}");
        }
    }
}
