//! The page for people, one file without a build step: what a browser is given, and what it may do with it.
//!
//! There is no news in it: those come from `/events`, for whoever may have them. So everybody gets the page. Its
//! policy lets it run the script and the style that stand in it, known by their hashes, and ask this admin, nobody
//! else; text can become markup in no way (Trusted Types), so an id or a worker's last words stay words.

use hyper::HeaderMap;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_FRAME_OPTIONS};

/// As it is sent.
pub(super) const TEXT: &str = include_str!("page.html");

/// Written from the page: `WARMFRONT_BLESS=1 cargo test --test tidy`.
const POLICY: &str = include_str!("page.policy").trim_ascii_end();

/// Says what the browser may do with it.
pub(super) fn protect(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert("cross-origin-resource-policy", HeaderValue::from_static("same-origin"));
}
