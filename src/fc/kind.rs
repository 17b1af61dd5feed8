//! What kind of request it is: a hook of the platform, an event, or the application's.
//!
//! `x-fc-control-path` says so, where it is sent and known: an application may
//! have a route `/invoke` of its own, which then comes under `/http-invoke`.
//! Emulators and older platforms do not send it; there method and path decide, for
//! requests that bear the platform's request id.

use std::fmt;

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The application's own HTTP.
    Http,
    /// An event: only the answer's body reaches the caller.
    Event,
    /// A callback of the instance's life.
    Hook(Hook),
}

/// A callback of the instance's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Once, before the first request.
    Initialize,
    /// Before each freeze (the platform's second version only).
    PreFreeze,
    /// Before the instance is destroyed.
    PreStop,
}

impl Hook {
    /// Every hook.
    pub const ALL: [Self; 3] = [Self::Initialize, Self::PreFreeze, Self::PreStop];

    /// The path under which the platform calls it; also its control path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Initialize => "/initialize",
            Self::PreFreeze => "/pre-freeze",
            Self::PreStop => "/pre-stop",
        }
    }

    fn method(self) -> &'static [u8] {
        match self {
            Self::Initialize => b"POST",
            Self::PreFreeze | Self::PreStop => b"GET",
        }
    }
}

impl fmt::Display for Hook {
    /// The word of configuration keys and log lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initialize => "initialize",
            Self::PreFreeze => "pre_freeze",
            Self::PreStop => "pre_stop",
        })
    }
}

/// What a request is, from its `method`, its raw `target`, the value of `x-fc-control-path` (present but
/// empty counts as absent), and whether it bears `x-fc-request-id`.
///
/// Source: FC contract §2.1, requirement 13.
pub fn classify(method: &[u8], target: &[u8], control_path: Option<&[u8]>, has_request_id: bool) -> Kind {
    if let Some(kind) = control_path.and_then(of_control_path) {
        return kind;
    }
    if !has_request_id {
        return Kind::Http;
    }
    let path = path_of(target);
    let hook = Hook::ALL.into_iter().find(|hook| path == hook.path().as_bytes() && method == hook.method());
    match hook {
        Some(hook) => Kind::Hook(hook),
        None if path == b"/invoke" && method == b"POST" => Kind::Event,
        None => Kind::Http,
    }
}

fn of_control_path(value: &[u8]) -> Option<Kind> {
    match value {
        b"/invoke" => Some(Kind::Event),
        b"/http-invoke" => Some(Kind::Http),
        _ => Hook::ALL.into_iter().find(|hook| hook.path().as_bytes() == value).map(Kind::Hook),
    }
}

/// A target without its query.
pub fn path_of(target: &[u8]) -> &[u8] {
    target.split(|&byte| byte == b'?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Hook::{Initialize, PreFreeze, PreStop};
    use super::*;

    #[test]
    fn fc13_the_control_path_decides_where_it_is_known_else_method_and_path_with_an_id() {
        for (method, target, control_path, has_id, expected) in [
            ("POST", "/initialize", Some("/initialize"), true, Kind::Hook(Initialize)),
            ("GET", "/pre-stop", Some("/pre-stop"), true, Kind::Hook(PreStop)),
            ("GET", "/pre-freeze", Some("/pre-freeze"), true, Kind::Hook(PreFreeze)),
            ("POST", "/invoke", Some("/invoke"), true, Kind::Event),
            // The header wins over the path, both ways.
            ("POST", "/invoke", Some("/http-invoke"), true, Kind::Http),
            ("POST", "/initialize", Some("/http-invoke"), true, Kind::Http),
            ("GET", "/pre-stop?x", Some("/http-invoke"), true, Kind::Http),
            ("GET", "/anything", Some("/initialize"), false, Kind::Hook(Initialize)),
            // Unknown or empty: as if it were not there.
            ("POST", "/initialize", Some(""), true, Kind::Hook(Initialize)),
            ("POST", "/initialize", Some("/new-thing"), true, Kind::Hook(Initialize)),
            ("GET", "/", Some("/new-thing"), true, Kind::Http),
            // Without the header.
            ("POST", "/initialize", None, true, Kind::Hook(Initialize)),
            ("POST", "/initialize?a=b", None, true, Kind::Hook(Initialize)),
            ("GET", "/pre-stop", None, true, Kind::Hook(PreStop)),
            ("GET", "/pre-freeze", None, true, Kind::Hook(PreFreeze)),
            ("POST", "/invoke", None, true, Kind::Event),
            ("GET", "/initialize", None, true, Kind::Http),
            ("POST", "/pre-stop", None, true, Kind::Http),
            ("GET", "/invoke", None, true, Kind::Http),
            ("POST", "/initialize/", None, true, Kind::Http),
            ("POST", "/initialize", None, false, Kind::Http),
            ("POST", "/invoke", None, false, Kind::Http),
        ] {
            let control = control_path.map(str::as_bytes);
            let kind = classify(method.as_bytes(), target.as_bytes(), control, has_id);
            assert_eq!(kind, expected, "{method} {target} {control_path:?} {has_id}");
        }
    }
}
