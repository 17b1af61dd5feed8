//! Where spans of requests go, and what they say about who sent them.

use std::fmt;
use std::net::Ipv6Addr;

/// Spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Where they go; nowhere if `None`.
    pub otlp: Option<Collector>,
    /// Of so many requests without a trace of their caller one gets one; none of zero.
    pub sample: u64,
    /// Under which name they appear.
    pub service: String,
    /// What the platform says about the function, each under OpenTelemetry's name for it.
    pub function: Vec<(&'static str, String)>,
}

/// OpenTelemetry's name for a function's name.
pub(super) const FUNCTION_NAME: &str = "faas.name";

/// What OpenTelemetry calls what the platform's variables say (FC contract §7).
pub(super) const FUNCTION: [(&str, &str); 4] = [
    (FUNCTION_NAME, "FC_FUNCTION_NAME"),
    ("faas.version", "FC_QUALIFIER"),
    ("faas.instance", "FC_INSTANCE_ID"),
    ("cloud.region", "FC_REGION"),
];

/// What stands behind the collector's own path (OTLP 1.x, OTLP/HTTP request).
const TRACES: &str = "/v1/traces";

/// A collector that takes OTLP over HTTP. Shown as the URL to which spans are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// A name or an address; one of IPv6 without its brackets.
    pub host: String,
    /// Never zero.
    pub port: u16,
    /// The path of its traces.
    pub path: String,
}

impl Collector {
    /// From what stands behind `http://`.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub(super) fn parse(rest: &str) -> Result<Self, &'static str> {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(0)),
            _ => (authority, 0),
        };
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(address) => address.filter(|address| address.parse::<Ipv6Addr>().is_ok()),
            None => Some(host).filter(|host| !host.is_empty() && host.bytes().all(is_of_name)),
        };
        let host = host.ok_or("It names a host, without a user.")?;
        if port == 0 {
            return Err("It names its port; collectors listen on 4318.");
        }
        if !path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')) {
            return Err("Its path has no blanks and no query.");
        }
        let own = path.strip_suffix(TRACES).unwrap_or(path).trim_end_matches('/');
        Ok(Self { host: host.to_owned(), port, path: format!("{own}{TRACES}") })
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, path } = self;
        if host.contains(':') {
            write!(f, "http://[{host}]:{port}{path}")
        } else {
            write!(f, "http://{host}:{port}{path}")
        }
    }
}
