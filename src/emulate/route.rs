//! What a request to the gateway is: an event for the function, or HTTP that passes through. Pure.

use crate::fc::kind::path_of;

/// The path behind which legacy URLs of HTTP functions begin; the instance gets it whole (FC contract §2.2).
const LEGACY_PROXY: &str = "/2016-08-15/proxy/";

/// What the gateway does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The body is an event; the answer is its result.
    Event,
    /// Method, path, headers and body pass.
    Http {
        /// What `X-Fc-Base-Path` says.
        base_path: String,
    },
}

/// Which of the two, by what the client asks for.
pub(super) fn of(method: &str, target: &str) -> Route {
    let path = String::from_utf8_lossy(path_of(target.as_bytes())).into_owned();
    let parts: Vec<&str> = path.split('/').collect();
    let is_event = match parts[..] {
        ["", "2023-03-30", "functions", function, "invocations"] => !function.is_empty(),
        ["", "2016-08-15" | "2021-04-06", "services", service, "functions", function, "invocations"] => {
            !service.is_empty() && !function.is_empty()
        }
        _ => false,
    };
    if is_event && method == "POST" {
        return Route::Event;
    }
    // On the domains of today the whole path stands there, on legacy URLs the prefix.
    let base_path = match path.strip_prefix(LEGACY_PROXY) {
        Some(rest) => {
            let names: Vec<&str> = rest.splitn(3, '/').take(2).collect();
            format!("{LEGACY_PROXY}{}", names.join("/"))
        }
        None => path,
    };
    Route::Http { base_path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_apis_invoke_and_everything_else_passes() {
        for (method, target, base) in [
            ("POST", "/2023-03-30/functions/f/invocations", None),
            ("POST", "/2023-03-30/functions/f/invocations?qualifier=LATEST", None),
            ("POST", "/2016-08-15/services/s/functions/f/invocations", None),
            ("POST", "/2021-04-06/services/s.LATEST/functions/f/invocations", None),
            ("GET", "/2023-03-30/functions/f/invocations", Some("/2023-03-30/functions/f/invocations")),
            ("POST", "/2023-03-30/functions//invocations", Some("/2023-03-30/functions//invocations")),
            ("POST", "/invoke", Some("/invoke")),
            ("GET", "/a/b?c=/d", Some("/a/b")),
            ("GET", "/2016-08-15/proxy/svc/fn/rest/of/it?x", Some("/2016-08-15/proxy/svc/fn")),
            ("GET", "/2016-08-15/proxy/svc/fn", Some("/2016-08-15/proxy/svc/fn")),
        ] {
            let expected = base.map_or(Route::Event, |base: &str| Route::Http { base_path: base.to_owned() });
            assert_eq!(of(method, target), expected, "{method} {target}");
        }
    }
}
