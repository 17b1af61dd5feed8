//! Which question gets which answer.
//!
//! Reading changes nothing and may be done by whoever got through the door. No answer says that pages of other
//! origins may read it (CORS), so browsers keep it from them.

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use std::convert::Infallible;

use super::Admin;
use super::door::Caller;
use super::exposition;
use super::scrape;
use super::view::{VERSION, View};

/// A body that is here already, or one that comes.
pub(super) type Body = BoxBody<Bytes, Infallible>;

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Live,
    Ready,
    Metrics,
    Workers,
    Requests,
    Config,
}

/// Every path, for whoever asks for another.
const PATHS: [(&str, Place); 6] = [
    ("/live", Place::Live),
    ("/ready", Place::Ready),
    ("/metrics", Place::Metrics),
    ("/workers", Place::Workers),
    ("/requests", Place::Requests),
    ("/config", Place::Config),
];

impl Place {
    fn at(path: &str) -> Option<Self> {
        PATHS.iter().find(|(known, _)| *known == path).map(|(_, place)| *place)
    }

    /// Whether those may ask who come from elsewhere and bear no token: what probes and Prometheus need.
    fn is_for_all(self) -> bool {
        matches!(self, Self::Live | Self::Ready | Self::Metrics)
    }
}

/// The answer to `request` of `caller`.
pub(super) fn answer<B>(admin: &Admin, caller: Caller, request: &Request<B>) -> Response<Body> {
    let named = request.headers().get(HOST).map(|host| host.to_str().unwrap_or_default());
    let target = request.uri().authority().map(hyper::http::uri::Authority::as_str);
    if !caller.may_name(named) || target.is_some_and(|target| !caller.may_name(Some(target))) {
        return refuse(
            StatusCode::MISDIRECTED_REQUEST,
            "Host must be an IP address or localhost: a name can be made to point here by anybody.",
        );
    }
    let Some(place) = Place::at(request.uri().path()) else {
        let paths = PATHS.map(|(path, _)| path);
        let text = json!({ "version": VERSION, "error": "There is nothing here.", "paths": paths });
        return reply(StatusCode::NOT_FOUND, &text);
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, "This can only be read: GET or HEAD.");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    if caller == Caller::Remote && !place.is_for_all() && !bears_token(admin, request) {
        return unauthorized();
    }
    let view = &admin.view;
    match place {
        Place::Live => reply(StatusCode::OK, &view.live()),
        Place::Ready => {
            let obstacles = view.obstacles();
            let is_ready = obstacles.is_empty();
            let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            reply(status, &View::ready(&obstacles))
        }
        Place::Metrics => {
            let text = scrape::text(view, &mut admin.usages.borrow_mut());
            whole(StatusCode::OK, exposition::CONTENT_TYPE, text)
        }
        Place::Workers => reply(StatusCode::OK, &view.workers(&mut admin.usages.borrow_mut())),
        Place::Requests => reply(StatusCode::OK, &view.requests()),
        Place::Config => reply(StatusCode::OK, &view.config()),
    }
}

fn bears_token<B>(admin: &Admin, request: &Request<B>) -> bool {
    let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(|given| given.split_at_checked("Bearer ".len()));
    match (&admin.token, given) {
        (Some(token), Some((scheme, given))) => scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(given),
        _ => false,
    }
}

fn unauthorized() -> Response<Body> {
    let mut answer = refuse(
        StatusCode::UNAUTHORIZED,
        "From elsewhere this needs `Authorization: Bearer` with the value of admin.token.",
    );
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    answer
}

fn refuse(status: StatusCode, why: &str) -> Response<Body> {
    reply(status, &json!({ "version": VERSION, "error": why }))
}

fn reply(status: StatusCode, value: &Value) -> Response<Body> {
    whole(status, "application/json", format!("{value:#}\n"))
}

fn whole(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut answer = Response::new(Full::new(Bytes::from(text)).boxed());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock;
    use crate::config::Queue;
    use crate::proxy::Proxy;
    use crate::proxy::admission::Gate;
    use crate::worker::census::Census;

    fn admin(token: Option<&str>) -> Admin {
        let second = Duration::from_secs(1);
        let bounds = Queue { depth: 1, bytes: 1, timeout: second, newest_first_after: second };
        let proxy = Arc::new(Proxy::silent(Gate::new(bounds, clock::now())));
        let (_, census) = Census::new();
        let view = View { proxy, census, config: Vec::new(), began: clock::now(), began_unix_secs: 0 };
        let token = token.map(|word| crate::config::Token::from(word.to_owned()));
        Admin { view, token, usages: RefCell::default() }
    }

    fn status(admin: &Admin, caller: Caller, path: &str, authorization: Option<&str>) -> u16 {
        let mut request = Request::get(path).header(HOST, "10.0.0.1:9901");
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        answer(admin, caller, &request.body(()).unwrap()).status().as_u16()
    }

    #[test]
    fn from_elsewhere_only_probes_and_prometheus_need_no_token() {
        let (open, closed) = (admin(Some("0123456789abcdef")), admin(None));
        for path in ["/live", "/metrics"] {
            assert_eq!(status(&open, Caller::Remote, path, None), 200, "{path}");
            assert_eq!(status(&closed, Caller::Remote, path, None), 200, "{path}");
        }
        assert_eq!(status(&closed, Caller::Remote, "/ready", None), 503, "no worker is ready");
        for path in ["/workers", "/requests", "/config"] {
            assert_eq!(status(&open, Caller::SameMachine, path, None), 200, "{path}");
            let remote = |authorization| status(&open, Caller::Remote, path, authorization);
            assert_eq!(remote(None), 401, "{path}");
            assert_eq!(remote(Some("Bearer 0123456789abcdee")), 401, "{path}");
            assert_eq!(remote(Some("0123456789abcdef")), 401, "{path}");
            assert_eq!(remote(Some("bearer 0123456789abcdef")), 200, "{path}");
            assert_eq!(status(&closed, Caller::Remote, path, Some("Bearer ")), 401, "{path}");
        }
    }
}
