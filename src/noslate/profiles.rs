//! The file of function profiles: from its JSON to what the control plane is told.
//!
//! The schema is that of Noslate's SDK, and so are the rules (noslated v0.25: `function_profile_schema.json`), with
//! those of the protocol behind it: what the SDK lets pass and the wire would change is refused here. A control plane
//! that refuses a profile answers as if it had taken it, so nobody else will say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::control::{
    FunctionProfile, FunctionProfileWorker, KeyValuePair, RateLimit, ResourceLimit, ServiceProfilesAccessor,
};
use super::sheet::{Fields, Judged, Object, Sheet, shown};
use crate::config::noslate::Target;
use crate::error::Problem;
use crate::words::many;

/// What the planes are told. `None`: there is no such file, so what somebody else has told them stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profiles {
    /// For the control plane.
    pub functions: Option<Vec<FunctionProfile>>,
    /// For every data plane.
    pub services: Option<ServiceProfilesAccessor>,
}

impl Profiles {
    /// All functions, in the order of their file.
    #[must_use]
    pub fn functions(&self) -> Option<&[FunctionProfile]> {
        self.functions.as_deref()
    }

    /// All services, as a data plane takes them.
    #[must_use]
    pub fn services(&self) -> Option<&ServiceProfilesAccessor> {
        self.services.as_ref()
    }

    /// The functions' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.functions.iter().flatten().map(|function| function.name.as_str())
    }

    /// Functions that have workers before any request, and how many.
    pub fn reserved(&self) -> impl Iterator<Item = (&str, u64)> {
        self.functions.iter().flatten().filter_map(|function| {
            let count = u64::try_from(function.worker.as_ref()?.reservation_count?).ok()?;
            (count > 0).then_some((function.name.as_str(), count))
        })
    }

    /// What there is of both, in short; `None` if there is nothing to tell.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        let functions = self.functions.as_ref().map(|functions| many(functions.len() as u64, "function"));
        let services = self.services.as_ref().map(|services| many(services.profiles.len() as u64, "service"));
        let known: Vec<_> = functions.into_iter().chain(services).collect();
        (!known.is_empty()).then(|| known.join(", "))
    }
}

/// Bytes of a function's variables from which its workers may not start: a control message of turf has 4,096 in all,
/// paths and flags included. 3,000 were seen to work and 3,500 to fail.
const ENVIRONMENT_BYTES: usize = 3000;

/// Workers that a function may have where nobody says how many.
const REPLICAS_USUAL: i32 = 10;

/// Why two entries cannot share a name.
pub(super) const NAMES: &str = "Requests find it by its name; of two, the planes keep the last.";

const WORKER: &[&str] = &[
    "initializationTimeout",
    "maxActivateRequests",
    "reservationCount",
    "fastFailRequestsOnStarting",
    "replicaCountLimit",
    "v8Options",
    "shrinkStrategy",
    "execArgv",
    "disposable",
    "disableSeed",
    "disableRequestQueue",
    "dispatchMode",
    "concurrencySlidingWindowSize",
    "concurrencySlidingBucketCount",
    "emaConcurrencyAlpha",
    "concurrencyExpandThreshold",
    "concurrencyShrinkThreshold",
    "expandCooldown",
    "shrinkCooldown",
    "scaleFactor",
    "precisionZeroThreshold",
    "concurrencyStatsMode",
    "shrinkCooldownOnStartup",
];
const RESOURCES: &[&str] = &["memory", "cpu"];
const RATE: &[&str] = &["maxTokenCount", "tokensPerFill", "fillInterval"];
const PROFILE: Fields = Fields {
    own: &[
        "name",
        "runtime",
        "url",
        "signature",
        "handler",
        "initializer",
        "sourceFile",
        "resourceLimit",
        "worker",
        "environments",
        "rateLimit",
        "namespace",
    ],
    inside: &[("worker", WORKER), ("resourceLimit", RESOURCES), ("rateLimit", RATE)],
};

/// Numbers that planes take as zero, and what becomes of the function.
const ZEROS: [(&str, &str, &str); 7] = [
    ("worker", "initializationTimeout", "Every start of a worker is then too late."),
    ("worker", "maxActivateRequests", "No worker is then ever free for a request."),
    ("worker", "replicaCountLimit", "The function may then have no worker."),
    ("resourceLimit", "memory", "A worker then has no memory."),
    ("rateLimit", "maxTokenCount", "Every request is then refused."),
    ("rateLimit", "tokensPerFill", "The function then gets no request once the first are through."),
    ("rateLimit", "fillInterval", "It is the time between two fillings, in milliseconds."),
];

/// The functions that `bytes` hold, which stand in `file`. `platform_bytes`: what every function gets of variables
/// beside its own.
///
/// # Errors
/// Every problem at once, down the file, each with its line; warnings among them.
pub fn functions(
    bytes: &[u8],
    file: &str,
    platform_bytes: usize,
) -> Result<Judged<FunctionProfile>, Vec<Problem>> {
    let (mut sheet, items) = Sheet::open(bytes, file, "function profiles")?;
    let mut names = BTreeMap::new();
    let mut profiles = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        if let Some(profile) = function(&mut sheet, item, &format!("/{index}"), platform_bytes) {
            note_name(&mut sheet, &mut names, &profile.name, index);
            profiles.push(profile);
        }
    }
    sheet.finish(profiles)
}

/// Complains of a name that an entry before this one has, or that no request can say.
pub(super) fn note_name(
    sheet: &mut Sheet<'_>,
    names: &mut BTreeMap<String, usize>,
    name: &str,
    index: usize,
) {
    let pointer = format!("/{index}/name");
    if name.is_empty() {
        return; // It is missing, which was said.
    }
    if name.len() > Target::NAME_BYTES_MAX {
        let what = format!("`{pointer}` has {} bytes.", name.len());
        sheet.error(
            &pointer,
            what,
            "No request can name it.",
            format!("{} at most.", Target::NAME_BYTES_MAX),
        );
    }
    match names.get(name) {
        None => drop(names.insert(name.to_owned(), index)),
        Some(first) => {
            let what = format!("`{pointer} = {}` is the name of `/{first}` too.", shown(name));
            sheet.error(&pointer, what, NAMES, "Rename one, or remove it.");
        }
    }
}

fn function(
    sheet: &mut Sheet<'_>,
    value: &Value,
    pointer: &str,
    platform_bytes: usize,
) -> Option<FunctionProfile> {
    let object = sheet.object(value, pointer, &PROFILE)?;
    let name = sheet.required(&object, "name", "Give the function a name.");
    let has_runtime = sheet.required(&object, "runtime", "Set nodejs or aworker.").is_some();
    let runtime = has_runtime.then(|| sheet.choice(&object, "runtime", &["nodejs", "aworker"])).flatten();
    let url = sheet.required(&object, "url", URL);
    check_url(sheet, &object, url.as_deref());
    let signature = "Set what changes whenever the code does, such as its hash: workers are then replaced.";
    let signature = sheet.required(&object, "signature", signature);
    let (handler, initializer, source_file) = entry_points(sheet, &object, runtime.as_deref());
    let resource_limit = part(sheet, &object, "resourceLimit", RESOURCES, |sheet, part| ResourceLimit {
        memory: sheet.whole(part, "memory"),
        cpu: sheet.share(part, "cpu", 1.0),
    });
    let rate_limit = part(sheet, &object, "rateLimit", RATE, |sheet, part| RateLimit {
        max_token_count: sheet.whole(part, "maxTokenCount"),
        tokens_per_fill: sheet.whole(part, "tokensPerFill"),
        fill_interval: sheet.whole(part, "fillInterval"),
    });
    let worker = part(sheet, &object, "worker", WORKER, worker);
    for (part, field, why) in ZEROS {
        let at = format!("{}/{field}", object.at(part));
        if object.get(part).and_then(|part| part.get(field)).and_then(Value::as_f64) == Some(0.0) {
            sheet.warn(
                &at,
                format!("`{at} = 0` means zero, not a default."),
                why,
                "Remove it for the default.",
            );
        }
    }
    Some(FunctionProfile {
        name: name.unwrap_or_default(),
        runtime: runtime.unwrap_or_default(),
        url: url.unwrap_or_default(),
        signature: signature.unwrap_or_default(),
        handler,
        initializer,
        source_file,
        resource_limit,
        worker,
        environments: environments(sheet, &object, platform_bytes),
        rate_limit,
        namespace: sheet.text(&object, "namespace"),
    })
}

const URL: &str = "Set file:///DIRECTORY, or the http:// or https:// address of an archive.";

/// The address itself is not repeated: such addresses hold keys.
fn check_url(sheet: &mut Sheet<'_>, object: &Object<'_>, url: Option<&str>) {
    let is_fine = |url: &str| {
        ["file://", "http://", "https://"]
            .iter()
            .any(|scheme| url.len() > scheme.len() && url.starts_with(scheme))
    };
    if url.is_some_and(|url| !is_fine(url)) {
        let pointer = object.at("url");
        let what = format!("`{pointer}` begins with none of file://, http:// and https://, or ends there.");
        sheet.error(&pointer, what, "Planes get code from nowhere else.", URL);
    }
}

/// Handler, initializer and script, each where the runtime has it.
fn entry_points(
    sheet: &mut Sheet<'_>,
    object: &Object<'_>,
    runtime: Option<&str>,
) -> (Option<String>, Option<String>, Option<String>) {
    let needed = match runtime {
        Some("aworker") => Some(("sourceFile", "Set the script's name, such as index.js.")),
        Some(_) => Some(("handler", FILE_FUNCTION)),
        None => None,
    };
    let mut take = |name: &str, of: &str| {
        let text = match needed {
            Some((needed, fix)) if needed == name => sheet.required(object, name, fix),
            _ => sheet.text(object, name),
        }?;
        let pointer = object.at(name);
        if let Some(runtime) = runtime.filter(|runtime| *runtime != of) {
            let what = format!("`{pointer}` is of {of}, and the function's runtime is {runtime}.");
            sheet.error(
                &pointer,
                what,
                "The control plane refuses such a profile without a word.",
                "Remove it.",
            );
        } else if name != "sourceFile" && !is_file_and_function(&text) {
            let what = format!("`{pointer} = {}` is not FILE.FUNCTION.", shown(&text));
            sheet.error(&pointer, what, "", FILE_FUNCTION);
        }
        Some(text)
    };
    (take("handler", "nodejs"), take("initializer", "nodejs"), take("sourceFile", "aworker"))
}

const FILE_FUNCTION: &str = "Write the file without its suffix, one dot, and the function: index.handler.";

/// `^[^.]+\.[^.]+$`.
fn is_file_and_function(text: &str) -> bool {
    text.split_once('.')
        .is_some_and(|(file, function)| !file.is_empty() && !function.is_empty() && !function.contains('.'))
}

/// The object at `name`, read by `read`.
fn part<T>(
    sheet: &mut Sheet<'_>,
    object: &Object<'_>,
    name: &str,
    own: &'static [&'static str],
    read: impl FnOnce(&mut Sheet<'_>, &Object<'_>) -> T,
) -> Option<T> {
    let part = sheet.object(object.get(name)?, &object.at(name), &Fields { own, inside: &[] })?;
    Some(read(sheet, &part))
}

fn worker(sheet: &mut Sheet<'_>, part: &Object<'_>) -> FunctionProfileWorker {
    let worker = FunctionProfileWorker {
        initialization_timeout: sheet.whole(part, "initializationTimeout"),
        max_activate_requests: sheet.whole(part, "maxActivateRequests"),
        reservation_count: sheet.whole(part, "reservationCount"),
        fast_fail_requests_on_starting: sheet.switch(part, "fastFailRequestsOnStarting"),
        replica_count_limit: sheet.whole(part, "replicaCountLimit"),
        v8_options: sheet.texts(part, "v8Options"),
        shrink_strategy: sheet.choice(part, "shrinkStrategy", &["LCC", "FIFO", "FILO"]),
        exec_argv: sheet.texts(part, "execArgv"),
        disposable: sheet.switch(part, "disposable"),
        disable_seed: sheet.switch(part, "disableSeed"),
        disable_request_queue: sheet.switch(part, "disableRequestQueue"),
        dispatch_mode: sheet.choice(part, "dispatchMode", &["least-request-count", "round-robin"]),
        concurrency_sliding_window_size: sheet.whole(part, "concurrencySlidingWindowSize"),
        concurrency_sliding_bucket_count: sheet.whole(part, "concurrencySlidingBucketCount"),
        ema_concurrency_alpha: sheet.share(part, "emaConcurrencyAlpha", 1.0),
        concurrency_expand_threshold: sheet.share(part, "concurrencyExpandThreshold", f32::MAX),
        concurrency_shrink_threshold: sheet.share(part, "concurrencyShrinkThreshold", f32::MAX),
        expand_cooldown: sheet.whole(part, "expandCooldown"),
        shrink_cooldown: sheet.whole(part, "shrinkCooldown"),
        scale_factor: sheet.share(part, "scaleFactor", f32::MAX),
        precision_zero_threshold: sheet.share(part, "precisionZeroThreshold", f32::MAX),
        concurrency_stats_mode: sheet.choice(
            part,
            "concurrencyStatsMode",
            &["instant", "periodic_max", "periodic_avg"],
        ),
        shrink_cooldown_on_startup: sheet.switch(part, "shrinkCooldownOnStartup"),
    };
    let (reserved, limit) = (worker.reservation_count, worker.replica_count_limit.unwrap_or(REPLICAS_USUAL));
    if let Some(reserved) = reserved.filter(|reserved| *reserved > limit) {
        let at = part.at("reservationCount");
        sheet.warn(
            &at,
            format!("`{at} = {reserved}` is more than the {limit} workers that the function may have."),
            "This instance is ready when all reserved workers are.",
            "Lower it, or raise replicaCountLimit.",
        );
    }
    worker
}

/// The function's variables. Their values are never repeated.
fn environments(sheet: &mut Sheet<'_>, object: &Object<'_>, platform_bytes: usize) -> Vec<KeyValuePair> {
    let mut variables: Vec<KeyValuePair> = Vec::new();
    for (pointer, item) in sheet.list(object, "environments") {
        let fields = Fields { own: &["key", "value"], inside: &[] };
        let Some(pair) = sheet.object(item, &pointer, &fields) else { continue };
        let key = sheet.required(&pair, "key", "Set the variable's name.").unwrap_or_default();
        if pair.get("value").is_none() {
            let at = pair.at("value");
            sheet.error(
                &at,
                format!("`{at}` is missing."),
                "",
                "Set the variable's value, \"\" for an empty one.",
            );
        }
        let value = sheet.text(&pair, "value").unwrap_or_default();
        let at = pair.at("key");
        if key.starts_with("NOSLATE_") || key.starts_with("NOSLATED_") {
            let what = format!("`{at} = {}` has a name that is Noslate's own.", shown(&key));
            sheet.warn(
                &at,
                what,
                "It may replace what workers need of their planes, or be replaced.",
                "Rename it.",
            );
        }
        if !key.is_empty() && variables.iter().any(|before| before.key == key) {
            let what = format!("`{at} = {}` is there before.", shown(&key));
            sheet.warn(&at, what, "One of the two is lost.", "Remove one.");
        }
        variables.push(KeyValuePair { key, value });
    }
    let own: usize = variables.iter().map(|pair| pair.key.len() + pair.value.len()).sum();
    // Where there are no variables of its own, the configuration is at fault, not this line.
    if own > 0 && own + platform_bytes > ENVIRONMENT_BYTES {
        let at = object.at("environments");
        let beside = match platform_bytes {
            0 => String::new(),
            bytes => format!(", and noslate.env {bytes} more"),
        };
        sheet.warn(
            &at,
            format!("`{at}` has {own} bytes{beside}: over {ENVIRONMENT_BYTES}."),
            "Noslate starts workers by a message of 4,096 bytes; above that every start fails (read ECONNRESET).",
            "Put what is long into a file of the function's code.",
        );
    }
    variables
}

#[cfg(test)]
mod tests;
