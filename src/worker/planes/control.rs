//! What the control plane is told and asked.

use std::path::Path;
use std::time::Duration;

use super::rpc::{Failure, Rpc};
use super::session::PATIENCE;
use crate::config::Noslate;
use crate::noslate::control::{
    Empty, FunctionProfile, GET_FUNCTION_PROFILE, GET_WORKER_STATS_SNAPSHOT, GetFunctionProfileResponse,
    KeyValuePair, SET_FUNCTION_PROFILE, SET_PLATFORM_ENVIRONMENT_VARIABLES, SetFunctionProfileRequest,
    SetFunctionProfileResponse, SetPlatformEnvironmentVariablesRequest,
    SetPlatformEnvironmentVariablesResponse, WorkerStatsSnapshot,
};
use crate::noslate::profiles::Profiles;
use crate::upstream::functions::Functions;

/// How long the control plane may take with profiles: it fetches code and stops workers.
const PROFILES: Duration = Duration::from_secs(60);

/// As the SDK's default says it.
const AT_ONCE: &str = "IMMEDIATELY";

/// Tells it variables and functions, and looks whether it has taken them: it says "set" in any case.
pub(super) async fn tell(rpc: &Rpc, profiles: &Profiles, noslate: &Noslate) -> Result<(), String> {
    if !noslate.duties.env.is_empty() {
        let pair = |(key, value): &(String, String)| KeyValuePair { key: key.clone(), value: value.clone() };
        let request =
            SetPlatformEnvironmentVariablesRequest { envs: noslate.duties.env.iter().map(pair).collect() };
        let told = rpc
            .call::<SetPlatformEnvironmentVariablesResponse>(
                SET_PLATFORM_ENVIRONMENT_VARIABLES,
                &request,
                PATIENCE,
            )
            .await;
        told.map_err(|failure| format!("it does not take the variables of noslate.env: {failure}"))?;
    }
    let Some(wanted) = profiles.functions() else { return Ok(()) };
    set(rpc, wanted).await.map_err(|failure| format!("it does not take the profiles: {failure}"))?;
    let has = rpc.call::<GetFunctionProfileResponse>(GET_FUNCTION_PROFILE, &Empty {}, PATIENCE).await;
    let has = has.map_err(|failure| format!("it does not tell its profiles: {failure}"))?.profiles;
    let is_there = |profile: &&FunctionProfile| has.iter().any(|other| of_code(other) == of_code(profile));
    let missing: Vec<_> =
        wanted.iter().filter(|profile| !is_there(profile)).map(|it| it.name.as_str()).collect();
    match missing.as_slice() {
        [] => Ok(()),
        names => Err(format!(
            "it has said that it took the profiles, and has not taken {} of {}: {}",
            names.len(),
            wanted.len(),
            names.join(", ")
        )),
    }
}

/// What says which code a function is. The rest may have defaults of the plane in it.
fn of_code(profile: &FunctionProfile) -> impl PartialEq + '_ {
    let FunctionProfile { name, runtime, url, signature, handler, initializer, source_file, .. } = profile;
    let given = [handler, initializer, source_file].map(|text| text.as_deref().unwrap_or_default());
    (name, runtime, url, signature, given)
}

async fn set(rpc: &Rpc, profiles: &[FunctionProfile]) -> Result<(), Failure> {
    let request = SetFunctionProfileRequest { profiles: profiles.to_vec(), mode: AT_ONCE.to_owned() };
    rpc.call::<SetFunctionProfileResponse>(SET_FUNCTION_PROFILE, &request, PROFILES).await.map(drop)
}

/// Takes all functions back, within `limit`.
pub(super) async fn clear(socket: &Path, limit: Duration) -> Result<(), String> {
    let rpc = Rpc::connect(socket)
        .await
        .map_err(|error| format!("nobody accepts at {}: {error}", socket.display()))?;
    let request = SetFunctionProfileRequest { profiles: Vec::new(), mode: AT_ONCE.to_owned() };
    let cleared = rpc.call::<SetFunctionProfileResponse>(SET_FUNCTION_PROFILE, &request, limit).await;
    cleared.map(drop).map_err(|failure| failure.to_string())
}

/// How many workers each function has, of both kinds: those with an inspector are some too.
pub(super) async fn count_workers(rpc: &Rpc, functions: &Functions) -> Result<(), Failure> {
    let answer = rpc.call::<WorkerStatsSnapshot>(GET_WORKER_STATS_SNAPSHOT, &Empty {}, PATIENCE).await?;
    let mut counted: Vec<(&str, u64, u64)> = Vec::new();
    for broker in &answer.brokers {
        let count = |number: i32| u64::try_from(number).unwrap_or(0);
        let (initiating, active) = (count(broker.initiating_worker_count), count(broker.active_worker_count));
        match counted.iter_mut().find(|(name, ..)| *name == broker.name) {
            Some(known) => *known = (known.0, known.1 + initiating, known.2 + active),
            None => counted.push((&broker.name, initiating, active)),
        }
    }
    functions.set_workers(counted.into_iter());
    Ok(())
}
