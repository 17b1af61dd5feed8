//! One plane, for as long as we live: connect, tell it what it must know, watch it; and again from the start.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

use super::control;
use super::rpc::{Failure, Rpc};
use crate::clock;
use crate::config::Noslate;
use crate::error::Problem;
use crate::noslate::control::{
    CHECK_CONTROL_HEALTH, CHECK_DATA_HEALTH, Empty, PlaneHealthyResponse, SET_SERVICE_PROFILES,
    USE_INSPECTOR, UseInspectorRequest,
};
use crate::noslate::profiles::Profiles;
use crate::upstream::functions::Functions;

/// First and longest pause between two connects: it is a socket of this machine.
const PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// Between two questions how it is.
const LOOK: Duration = Duration::from_secs(1);
/// How long a plane may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Before a plane is told again what it has not taken.
pub(super) const AGAIN: Duration = Duration::from_millis(500);
/// Between two looks at workers that are to be there before the first request.
const WORKERS_LOOK: Duration = Duration::from_millis(50);

/// Which plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plane {
    Data(usize),
    Control,
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(id) => write!(f, "data plane {id}"),
            Self::Control => f.write_str("control plane"),
        }
    }
}

/// What a session has seen.
#[derive(Debug)]
pub(super) struct News {
    pub(super) plane: Plane,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// It is there and knows everything; for the control plane: and its reserved workers run. And why it is not
    /// well, if it is not.
    There(Option<String>),
    /// It is not, or not any more.
    Away(String),
    /// It says that it is not well.
    Unwell(String),
    Well,
    /// The data planes know our functions.
    Known,
    /// Something to say.
    Trouble(Problem),
}

/// A session to be.
pub(super) struct Session {
    plane: Plane,
    socket: PathBuf,
    news: UnboundedSender<News>,
}

impl Session {
    pub(super) fn new(plane: Plane, socket: PathBuf, news: UnboundedSender<News>) -> Self {
        Self { plane, socket, news }
    }

    pub(super) fn tell(&self, what: What) {
        // Whoever listened may be stopping.
        let _ = self.news.send(News { plane: self.plane, what });
    }

    /// Keeps a data plane, and begins again when `again` says so.
    pub(super) async fn keep_data(self, profiles: Arc<Profiles>, noslate: Arc<Noslate>, again: Arc<Notify>) {
        let mut complaint = None;
        loop {
            let rpc = self.connect().await;
            // A connect shows that somebody listens; only an answer shows a plane.
            let told = match tell_data_plane(&rpc, &profiles, &noslate).await {
                Ok(()) => trouble(&rpc, CHECK_DATA_HEALTH)
                    .await
                    .map_err(|failure| format!("it does not say how it is: {failure}")),
                Err(failure) => Err(format!("it does not take what it is told: {failure}")),
            };
            match told {
                Ok(trouble) => self.tell(What::There(trouble)),
                Err(why) => {
                    self.complain(&mut complaint, &why);
                    self.tell(What::Away(why));
                    clock::sleep(AGAIN).await;
                    continue;
                }
            }
            complaint = None;
            tokio::select! {
                why = self.watch(&rpc) => self.tell(What::Away(why)),
                () = again.notified() => {}
            }
            // One that comes and goes is not dialled without a pause, either.
            clock::sleep(PAUSES.0).await;
        }
    }

    /// Keeps the control plane, and counts workers into `functions`.
    pub(super) async fn keep_control(
        self,
        profiles: Arc<Profiles>,
        noslate: Arc<Noslate>,
        functions: Arc<Functions>,
    ) {
        let mut complaint = None;
        loop {
            let rpc = self.connect().await;
            if let Err(why) = control::tell(&rpc, &profiles, &noslate).await {
                self.complain(&mut complaint, &why);
                self.tell(What::Away(why));
                clock::sleep(AGAIN).await;
                continue;
            }
            complaint = None;
            self.tell(What::Known);
            let why = tokio::select! {
                why = self.watch_control(&rpc, &profiles, &functions) => why,
                () = rpc.ended() => ENDED.to_owned(),
            };
            functions.forget_workers();
            self.tell(What::Away(why));
            clock::sleep(WORKERS_LOOK).await;
        }
    }

    async fn connect(&self) -> Rpc {
        let (mut pause, longest) = PAUSES;
        loop {
            match Rpc::connect(&self.socket).await {
                Ok(rpc) => return rpc,
                Err(error) => self.tell(What::Away(format!("nobody accepts there: {error}"))),
            }
            clock::sleep(pause).await;
            pause = pause.mul_f32(1.5).min(longest);
        }
    }

    /// Says once what is wrong. Its kind stands before the colon; how a connection breaks is chance.
    fn complain(&self, said: &mut Option<String>, why: &str) {
        let kind = why.split(": ").next().unwrap_or_default();
        if said.as_deref() != Some(kind) {
            *said = Some(kind.to_owned());
            let what = format!("The {} is there, but not ready: {why}.", self.plane);
            self.tell(What::Trouble(Problem::new(what, "", "Its log says more; it is tried again.")));
        }
    }

    /// Watches a plane until its connection has ended; why that was.
    async fn watch(&self, rpc: &Rpc) -> String {
        loop {
            tokio::select! {
                () = rpc.ended() => return ENDED.to_owned(),
                () = clock::sleep(LOOK) => {}
            }
            if let Err(why) = self.look(rpc, CHECK_DATA_HEALTH).await {
                return why;
            }
        }
    }

    async fn watch_control(&self, rpc: &Rpc, profiles: &Profiles, functions: &Functions) -> String {
        let mut are_reserved = false;
        loop {
            let counted = control::count_workers(rpc, functions).await;
            if let Err(failure @ (Failure::Broken(_) | Failure::Late(_))) = counted {
                return failure.to_string();
            }
            // One that cannot count them has none to wait for, as far as anybody can know.
            let missing = counted.is_ok().then(|| missing(profiles, functions)).flatten();
            if let (Some(missing), false) = (missing, are_reserved) {
                self.tell(What::Away(missing));
                clock::sleep(WORKERS_LOOK).await;
                continue;
            }
            if !are_reserved {
                are_reserved = true;
                match trouble(rpc, CHECK_CONTROL_HEALTH).await {
                    Ok(trouble) => self.tell(What::There(trouble)),
                    Err(failure) => return failure.to_string(),
                }
            }
            clock::sleep(LOOK).await;
            if let Err(why) = self.look(rpc, CHECK_CONTROL_HEALTH).await {
                return why;
            }
        }
    }

    /// Asks how it is. One that takes too long is there and not well: requests may still be lucky.
    ///
    /// # Errors
    /// What says that it is not there any more.
    async fn look(&self, rpc: &Rpc, path: &'static str) -> Result<(), String> {
        match trouble(rpc, path).await {
            Ok(None) => self.tell(What::Well),
            Ok(Some(why)) => self.tell(What::Unwell(why)),
            Err(failure @ Failure::Late(_)) => self.tell(What::Unwell(failure.to_string())),
            Err(failure) => return Err(failure.to_string()),
        }
        Ok(())
    }
}

/// Why a plane is not well; nothing if it is, or is too old to be asked (before v0.24.5): unknown is no complaint.
async fn trouble(rpc: &Rpc, path: &'static str) -> Result<Option<String>, Failure> {
    match rpc.call::<PlaneHealthyResponse>(path, &Empty {}, PATIENCE).await {
        Ok(answer) if answer.health => Ok(None),
        Ok(answer) if answer.reason.is_empty() => Ok(Some("it says so, and not why".to_owned())),
        Ok(answer) => Ok(Some(answer.reason)),
        Err(failure) if failure.is_unimplemented() => Ok(None),
        Err(failure @ Failure::Status(..)) => Ok(Some(failure.to_string())),
        Err(failure) => Err(failure),
    }
}

/// Why most planes are gone.
const ENDED: &str = "its connection has ended";

/// Which reserved workers are still to come.
fn missing(profiles: &Profiles, functions: &Functions) -> Option<String> {
    let missing = |(name, count): (&str, u64)| {
        let active =
            functions.find(name).and_then(|function| function.workers()).map_or(0, |(_, active)| active);
        (active < count).then(|| format!("{active} of {count} reserved workers of {name} are active"))
    };
    profiles.reserved().find_map(missing)
}

/// What a data plane forgets when it ends: the control plane tells it the functions, and nothing else.
async fn tell_data_plane(rpc: &Rpc, profiles: &Profiles, noslate: &Noslate) -> Result<(), Failure> {
    if let Some(services) = profiles.services() {
        rpc.call::<Empty>(SET_SERVICE_PROFILES, services, PATIENCE).await?;
    }
    for name in &noslate.duties.inspect {
        let request = UseInspectorRequest { func_name: name.clone(), r#use: true };
        rpc.call::<Empty>(USE_INSPECTOR, &request, PATIENCE).await?;
    }
    Ok(())
}
