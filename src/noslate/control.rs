//! The messages of the planes' unary calls: what they are told, what they say about themselves.
//!
//! Field numbers and types are those of noslated v0.23 and later; fields that nobody here reads are left out, and
//! skipped when they come. None of them is on a request's way, so they are `prost`'s.
//!
//! What a person may leave out of a profile is an [`Option`]. Planes put their defaults where a field is absent, and
//! libraries leave zeros out unless told otherwise; a zero that somebody wrote has to arrive as a zero.

use prost::Message;

/// `noslated.control.ControlPlane`: replaces all function profiles. [`SetFunctionProfileRequest`] to
/// [`SetFunctionProfileResponse`].
pub const SET_FUNCTION_PROFILE: &str = "/noslated.control.ControlPlane/setFunctionProfile";
/// Those that it holds. [`Empty`] to [`GetFunctionProfileResponse`].
pub const GET_FUNCTION_PROFILE: &str = "/noslated.control.ControlPlane/getFunctionProfile";
/// Replaces the variables of all functions. [`SetPlatformEnvironmentVariablesRequest`] to
/// [`SetPlatformEnvironmentVariablesResponse`].
pub const SET_PLATFORM_ENVIRONMENT_VARIABLES: &str =
    "/noslated.control.ControlPlane/setPlatformEnvironmentVariables";
/// How each function's workers stand. [`Empty`] to [`WorkerStatsSnapshot`].
pub const GET_WORKER_STATS_SNAPSHOT: &str = "/noslated.control.ControlPlane/getWorkerStatsSnapshot";
/// How the control plane is. [`Empty`] to [`PlaneHealthyResponse`]; unknown before v0.24.5.
pub const CHECK_CONTROL_HEALTH: &str = "/noslated.control.ControlPlane/checkHealth";
/// `noslated.data.DataPlane`: replaces all service profiles. [`ServiceProfilesAccessor`] to [`Empty`].
pub const SET_SERVICE_PROFILES: &str = "/noslated.data.DataPlane/setServiceProfiles";
/// Those that it holds. [`Empty`] to [`ServiceProfilesAccessor`].
pub const GET_SERVICE_PROFILES: &str = "/noslated.data.DataPlane/getServiceProfiles";
/// Whether a function's workers start with an inspector. [`UseInspectorRequest`] to [`Empty`].
pub const USE_INSPECTOR: &str = "/noslated.data.DataPlane/useInspector";
/// How the data plane is. [`Empty`] to [`PlaneHealthyResponse`]; unknown before v0.24.5.
pub const CHECK_DATA_HEALTH: &str = "/noslated.data.DataPlane/checkHealth";

/// Nothing to say.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Empty {}

/// A variable, or one part of what selects a function.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct KeyValuePair {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// What it holds.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// The whole set of functions; those that are not in it go.
#[derive(Clone, PartialEq, Message)]
pub struct SetFunctionProfileRequest {
    /// Each function.
    #[prost(message, repeated, tag = "1")]
    pub profiles: Vec<FunctionProfile>,
    /// `IMMEDIATELY`, or `WAIT` until the workers of what was there before are gone.
    #[prost(string, tag = "2")]
    pub mode: String,
}

/// What the control plane answers to it.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SetFunctionProfileResponse {
    /// True, even where it failed: only [`GET_FUNCTION_PROFILE`] tells.
    #[prost(bool, tag = "1")]
    pub set: bool,
}

/// The functions that a control plane holds.
#[derive(Clone, PartialEq, Message)]
pub struct GetFunctionProfileResponse {
    /// Each function.
    #[prost(message, repeated, tag = "1")]
    pub profiles: Vec<FunctionProfile>,
}

/// A function: its code, what runs it, within which bounds.
#[derive(Clone, PartialEq, Message)]
pub struct FunctionProfile {
    /// By which requests find it.
    #[prost(string, tag = "1")]
    pub name: String,
    /// `nodejs` or `aworker`.
    #[prost(string, tag = "2")]
    pub runtime: String,
    /// Where its code is: `file://DIR`, or an archive over HTTP.
    #[prost(string, tag = "3")]
    pub url: String,
    /// Changes whenever the code does.
    #[prost(string, tag = "4")]
    pub signature: String,
    /// `FILE.FUNCTION`, of `nodejs`.
    #[prost(string, optional, tag = "5")]
    pub handler: Option<String>,
    /// `FILE.FUNCTION`, run once before the first request.
    #[prost(string, optional, tag = "6")]
    pub initializer: Option<String>,
    /// The script, of `aworker`.
    #[prost(string, optional, tag = "7")]
    pub source_file: Option<String>,
    /// What each worker may use.
    #[prost(message, optional, tag = "8")]
    pub resource_limit: Option<ResourceLimit>,
    /// How its workers are kept.
    #[prost(message, optional, tag = "9")]
    pub worker: Option<FunctionProfileWorker>,
    /// Its variables.
    #[prost(message, repeated, tag = "10")]
    pub environments: Vec<KeyValuePair>,
    /// How many requests it may get.
    #[prost(message, optional, tag = "11")]
    pub rate_limit: Option<RateLimit>,
    /// What it shares storage with.
    #[prost(string, optional, tag = "12")]
    pub namespace: Option<String>,
}

/// What a worker may use.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ResourceLimit {
    /// Bytes.
    #[prost(int32, optional, tag = "1")]
    pub memory: Option<i32>,
    /// CPUs, from 0 to 1.
    #[prost(float, optional, tag = "2")]
    pub cpu: Option<f32>,
}

/// A token bucket.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct RateLimit {
    /// Requests that it holds.
    #[prost(int32, optional, tag = "1")]
    pub max_token_count: Option<i32>,
    /// Requests that come in with each filling.
    #[prost(int32, optional, tag = "2")]
    pub tokens_per_fill: Option<i32>,
    /// Milliseconds between fillings.
    #[prost(int32, optional, tag = "3")]
    pub fill_interval: Option<i32>,
}

/// How a function's workers are kept.
#[derive(Clone, PartialEq, Message)]
pub struct FunctionProfileWorker {
    /// Milliseconds that a worker's start may take.
    #[prost(int32, optional, tag = "1")]
    pub initialization_timeout: Option<i32>,
    /// Requests that one worker holds at once.
    #[prost(int32, optional, tag = "2")]
    pub max_activate_requests: Option<i32>,
    /// Workers that are kept without any request.
    #[prost(int32, optional, tag = "3")]
    pub reservation_count: Option<i32>,
    /// Whether waiting requests fail with the start they wait for.
    #[prost(bool, optional, tag = "4")]
    pub fast_fail_requests_on_starting: Option<bool>,
    /// Workers at most.
    #[prost(int32, optional, tag = "5")]
    pub replica_count_limit: Option<i32>,
    /// Flags of V8.
    #[prost(string, repeated, tag = "6")]
    pub v8_options: Vec<String>,
    /// Which worker goes first: `LCC`, `FIFO` or `FILO`.
    #[prost(string, optional, tag = "7")]
    pub shrink_strategy: Option<String>,
    /// Flags of the runtime.
    #[prost(string, repeated, tag = "8")]
    pub exec_argv: Vec<String>,
    /// Whether each request gets a worker of its own.
    #[prost(bool, optional, tag = "9")]
    pub disposable: Option<bool>,
    /// Whether workers are not forked from a warm one.
    #[prost(bool, optional, tag = "10")]
    pub disable_seed: Option<bool>,
    /// Whether requests do not wait for a worker.
    #[prost(bool, optional, tag = "11")]
    pub disable_request_queue: Option<bool>,
    /// Which worker is next: `least-request-count` or `round-robin`.
    #[prost(string, optional, tag = "12")]
    pub dispatch_mode: Option<String>,
    /// Milliseconds that concurrency is averaged over.
    #[prost(int32, optional, tag = "13")]
    pub concurrency_sliding_window_size: Option<i32>,
    /// In how many parts.
    #[prost(int32, optional, tag = "14")]
    pub concurrency_sliding_bucket_count: Option<i32>,
    /// Weight of the newest measurement, up to 1.
    #[prost(float, optional, tag = "15")]
    pub ema_concurrency_alpha: Option<f32>,
    /// Load from which workers are added.
    #[prost(float, optional, tag = "16")]
    pub concurrency_expand_threshold: Option<f32>,
    /// Load below which workers go.
    #[prost(float, optional, tag = "17")]
    pub concurrency_shrink_threshold: Option<f32>,
    /// Milliseconds from one growth to the next.
    #[prost(int32, optional, tag = "18")]
    pub expand_cooldown: Option<i32>,
    /// Milliseconds from one shrinking to the next.
    #[prost(int32, optional, tag = "19")]
    pub shrink_cooldown: Option<i32>,
    /// Load that is aimed at when workers are added or go.
    #[prost(float, optional, tag = "20")]
    pub scale_factor: Option<f32>,
    /// Concurrency that counts as none.
    #[prost(float, optional, tag = "21")]
    pub precision_zero_threshold: Option<f32>,
    /// How concurrency is measured: `instant`, `periodic_max` or `periodic_avg`.
    #[prost(string, optional, tag = "22")]
    pub concurrency_stats_mode: Option<String>,
    /// Whether a new worker is safe from shrinking for one cooldown.
    #[prost(bool, optional, tag = "23")]
    pub shrink_cooldown_on_startup: Option<bool>,
}

/// The variables that all functions get, all of them.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SetPlatformEnvironmentVariablesRequest {
    /// Each variable.
    #[prost(message, repeated, tag = "1")]
    pub envs: Vec<KeyValuePair>,
}

/// What the control plane answers to it.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct SetPlatformEnvironmentVariablesResponse {
    /// Whether they hold.
    #[prost(bool, tag = "1")]
    pub set: bool,
}

/// How all workers stand.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerStatsSnapshot {
    /// One for each function, and one for its inspected workers.
    #[prost(message, repeated, tag = "1")]
    pub brokers: Vec<BrokerStats>,
}

/// How a function's workers stand (`noslated.control.BrokerStats`).
#[derive(Clone, PartialEq, Message)]
pub struct BrokerStats {
    /// The function.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Whether these are its inspected workers.
    #[prost(bool, tag = "2")]
    pub inspector: bool,
    /// How often in a row its load was too low for its workers.
    #[prost(int32, tag = "3")]
    pub redundant_times: i32,
    /// Workers that start.
    #[prost(int32, tag = "4")]
    pub initiating_worker_count: i32,
    /// Workers that answer.
    #[prost(int32, tag = "5")]
    pub active_worker_count: i32,
    /// The profile that they were started by.
    #[prost(message, optional, tag = "6")]
    pub profile: Option<FunctionProfile>,
    /// Each of them.
    #[prost(message, repeated, tag = "7")]
    pub workers: Vec<WorkerStats>,
}

/// One worker (`noslated.control.WorkerStats`). Its status is never filled by the planes, so it is not here.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerStats {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Since when it is known, in milliseconds since 1970.
    #[prost(double, tag = "4")]
    pub register_time: f64,
    /// Its process.
    #[prost(int32, tag = "5")]
    pub pid: i32,
    /// What the data plane knows of it, if it is connected there.
    #[prost(message, optional, tag = "10")]
    pub data: Option<WorkerData>,
}

/// What a data plane knows of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct WorkerData {
    /// Requests that it holds.
    #[prost(int32, tag = "2")]
    pub active_request_count: i32,
    /// Whether it gets no more.
    #[prost(bool, tag = "3")]
    pub traffic_off: bool,
}

/// How a plane is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PlaneHealthyResponse {
    /// Which plane.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Whether it takes requests.
    #[prost(bool, tag = "2")]
    pub health: bool,
    /// If not, why not.
    #[prost(string, tag = "3")]
    pub reason: String,
}

/// Whether a function's workers start with an inspector.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct UseInspectorRequest {
    /// The function.
    #[prost(string, tag = "1")]
    pub func_name: String,
    /// Whether they do.
    #[prost(bool, tag = "2")]
    pub r#use: bool,
}

/// All services, as a data plane takes and tells them.
#[derive(Clone, PartialEq, Message)]
pub struct ServiceProfilesAccessor {
    /// Each service.
    #[prost(message, repeated, tag = "1")]
    pub profiles: Vec<FunctionService>,
}

/// A service: a name that stands for one function, or for several by share.
#[derive(Clone, PartialEq, Message)]
pub struct FunctionService {
    /// By which requests find it.
    #[prost(string, tag = "1")]
    pub name: String,
    /// `default` or `proportional-load-balance`.
    #[prost(string, tag = "2")]
    pub r#type: String,
    /// The functions with their shares, of `proportional-load-balance`.
    #[prost(message, repeated, tag = "3")]
    pub selectors: Vec<Selector>,
    /// The function, of `default`.
    #[prost(message, repeated, tag = "4")]
    pub selector: Vec<KeyValuePair>,
}

/// One function of several, with its share.
#[derive(Clone, PartialEq, Message)]
pub struct Selector {
    /// The function.
    #[prost(message, repeated, tag = "1")]
    pub selector: Vec<KeyValuePair>,
    /// Its share of the requests, from 0 to 1.
    #[prost(float, tag = "2")]
    pub proportion: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_that_was_said_is_sent_and_one_that_was_not_is_not() {
        let said = FunctionProfileWorker { reservation_count: Some(0), ..FunctionProfileWorker::default() };
        assert_eq!(said.encode_to_vec(), [3 << 3, 0]);
        assert_eq!(FunctionProfileWorker::default().encode_to_vec(), [0_u8; 0]);
    }

    #[test]
    fn a_profile_has_the_numbers_of_the_planes() {
        let profile = FunctionProfile {
            name: "a".into(),
            source_file: Some("b".into()),
            resource_limit: Some(ResourceLimit { memory: Some(1), cpu: Some(0.5) }),
            environments: vec![KeyValuePair { key: "k".into(), value: "v".into() }],
            rate_limit: Some(RateLimit { fill_interval: Some(2), ..RateLimit::default() }),
            namespace: Some("n".into()),
            ..FunctionProfile::default()
        };
        let wanted = b"\x0a\x01a\x3a\x01b\x42\x07\x08\x01\x15\0\0\0\x3f\x52\x06\x0a\x01k\x12\x01v\x5a\x02\x18\x02\x62\x01n";
        assert_eq!(profile.encode_to_vec(), wanted);
        assert_eq!(FunctionProfile::decode(wanted.as_slice()), Ok(profile));
    }

    #[test]
    fn what_a_plane_says_beyond_what_is_read_is_skipped() {
        // A worker's credential (2), its container's states (7) and the collector's time (9).
        let said = b"\x0a\x01w\x12\x03abc\x28\x05\x3a\x01x\x48\x07\x52\x02\x10\x04";
        let worker = WorkerStats::decode(said.as_slice()).expect("a worker");
        assert_eq!((worker.name.as_str(), worker.pid), ("w", 5));
        assert_eq!(worker.data, Some(WorkerData { active_request_count: 4, traffic_off: false }));
    }

    #[test]
    fn a_services_shares_are_behind_its_type() {
        let service = FunctionService {
            name: "s".into(),
            r#type: "t".into(),
            selectors: vec![Selector { selector: vec![], proportion: 1.0 }],
            selector: vec![KeyValuePair { key: "f".into(), value: String::new() }],
        };
        let wanted = b"\x0a\x01s\x12\x01t\x1a\x05\x15\0\0\x80\x3f\x22\x03\x0a\x01f";
        assert_eq!(service.encode_to_vec(), wanted);
    }
}
