//! The environment that an instance starts with (FC contract §7). Pure.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::options::Options;

/// Fake on purpose, and readable as such wherever they turn up: nobody can be let in with them.
pub(super) const KEY_ID: &str = "STS.emulated-key-id";
/// See [`KEY_ID`].
pub(super) const KEY_SECRET: &str = "emulated-key-secret";
/// See [`KEY_ID`].
pub(super) const SECURITY_TOKEN: &str = "emulated-security-token";
/// No account: sixteen digits as real ones have.
pub(super) const ACCOUNT_ID: &str = "1000000000000000";
/// A string without a meaning for custom runtimes.
pub(super) const HANDLER: &str = "index.handler";
/// What a function without aliases is called by.
pub(super) const QUALIFIER: &str = "LATEST";

/// Where programs are looked for if we have no `PATH` to give.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What the instance `id` gets, whose code is in `code`.
///
/// `path` and `home` are the only variables of ours that pass: a laptop's tools are where its own say, and
/// everything else would hide what is missing on the platform.
pub(super) fn environment(
    options: &Options,
    id: &str,
    code: OsString,
    path: Option<OsString>,
    home: Option<OsString>,
) -> BTreeMap<OsString, OsString> {
    let function = &options.function;
    let port = options.port.to_string();
    let (memory, limit) = (function.memory_mb.to_string(), options.concurrency.to_string());
    let timeout = options.timeout.as_secs().to_string();
    // Documented, then seen in real instances, then what Alibaba's own emulators set.
    let ours = [
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY_ID),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", KEY_SECRET),
        ("ALIBABA_CLOUD_SECURITY_TOKEN", SECURITY_TOKEN),
        ("FC_ACCOUNT_ID", ACCOUNT_ID),
        ("FC_FUNCTION_HANDLER", HANDLER),
        ("FC_FUNCTION_MEMORY_SIZE", &memory),
        ("FC_FUNCTION_NAME", &function.name),
        ("FC_REGION", &function.region),
        ("FC_CUSTOM_LISTEN_PORT", &port),
        ("FC_INSTANCE_ID", id),
        ("FC_VER_ID", QUALIFIER),
        ("FC_FUNCTION_VERSION", QUALIFIER),
        ("TZ", "UTC"),
        ("FC_SERVER_PORT", &port),
        ("FC_SERVICE_NAME", ""),
        ("FC_QUALIFIER", QUALIFIER),
        ("FC_CONCURRENT_LIMIT", &limit),
        ("FC_CONTAINER_ID", id),
        ("HOSTNAME", id),
        ("FC_TIMEOUT", &timeout),
    ];
    let mut env: BTreeMap<OsString, OsString> =
        ours.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    env.insert("FC_FUNC_CODE_PATH".into(), code);
    env.insert("PATH".into(), path.unwrap_or_else(|| DEFAULT_PATH.into()));
    if let Some(home) = home {
        env.insert("HOME".into(), home);
    }
    env.extend(options.env.iter().map(|(name, value)| (name.into(), value.into())));
    env
}

#[cfg(test)]
mod tests {
    use super::super::options::{judge, tests::wish};
    use super::*;

    #[test]
    fn every_documented_variable_is_there_and_the_users_come_on_top() {
        let mut options = judge(wish()).unwrap();
        options.env = vec![("TZ".into(), "Asia/Shanghai".into())];
        let env = environment(&options, "c-1", "/code".into(), None, None);
        for name in [
            "FC_FUNC_CODE_PATH",
            "ALIBABA_CLOUD_ACCESS_KEY_ID",
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
            "ALIBABA_CLOUD_SECURITY_TOKEN",
            "FC_ACCOUNT_ID",
            "FC_FUNCTION_HANDLER",
            "FC_FUNCTION_MEMORY_SIZE",
            "FC_FUNCTION_NAME",
            "FC_REGION",
            "FC_CUSTOM_LISTEN_PORT",
            "FC_INSTANCE_ID",
            "FC_VER_ID",
            "FC_FUNCTION_VERSION",
            "TZ",
        ] {
            assert!(env.contains_key(std::ffi::OsStr::new(name)), "{name}");
        }
        let value = |name: &str| env[std::ffi::OsStr::new(name)].to_str().unwrap();
        assert_eq!((value("TZ"), value("FC_CUSTOM_LISTEN_PORT")), ("Asia/Shanghai", "9000"));
        assert_eq!((value("FC_INSTANCE_ID"), value("PATH")), ("c-1", DEFAULT_PATH));
        assert!(!env.contains_key(std::ffi::OsStr::new("HOME")));
    }
}
