//! The files of function and service profiles, read once, before anything starts.
//!
//! They are judged with the configuration that names them, so that a person sees everything that is wrong at once.

use std::fs;
use std::path::Path;

use crate::config::load::{self, Flags, Loaded, World};
use crate::config::noslate::Duties;
use crate::config::{Noslate, WorkerSource};
use crate::error::Problem;
use crate::noslate::control::ServiceProfilesAccessor;
use crate::noslate::profiles::{Profiles, functions};
use crate::noslate::{Judged, services};

/// A valid configuration, and what the files say that it names.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The configuration.
    pub loaded: Loaded,
    /// For Noslate's planes.
    pub profiles: Profiles,
    /// What a person should know and nothing stops for.
    pub warnings: Vec<Problem>,
}

/// Reads the configuration and the files that it names.
///
/// # Errors
/// Every problem at once: those of the configuration, then those of the files as far as it is known which they are.
pub fn prepare(flags: &Flags, world: &World) -> Result<Prepared, Vec<Problem>> {
    match load::load(flags, world) {
        Ok(loaded) => {
            let (profiles, warnings) = match &loaded.config.workers.source {
                WorkerSource::Noslate(noslate) => self::load(noslate)?,
                WorkerSource::Spawn(_) | WorkerSource::Sockets(_) => Default::default(),
            };
            Ok(Prepared { loaded, profiles, warnings })
        }
        Err(mut problems) => {
            problems.extend(read(&load::noslate_files(flags, world)).err().unwrap_or_default());
            Err(problems)
        }
    }
}

/// What the planes of `noslate` are told, and what is to be said about it.
///
/// # Errors
/// Every problem of both files at once, and warnings among them.
pub fn load(noslate: &Noslate) -> Result<(Profiles, Vec<Problem>), Vec<Problem>> {
    read(&noslate.duties)
}

fn read(duties: &Duties) -> Result<(Profiles, Vec<Problem>), Vec<Problem>> {
    let platform_bytes = duties.env.iter().map(|(name, value)| name.len() + value.len()).sum();
    let (mut profiles, mut warnings, mut problems) = (Profiles::default(), Vec::new(), Vec::new());
    if let Some(path) = &duties.profiles {
        let judged = bytes(path, "noslate.profiles")
            .and_then(|bytes| functions(&bytes, &path.display().to_string(), platform_bytes));
        profiles.functions = keep(judged, &mut warnings, &mut problems);
    }
    if let Some(path) = &duties.services {
        let judged = bytes(path, "noslate.services")
            .and_then(|bytes| services(&bytes, &path.display().to_string(), profiles.functions.as_deref()));
        let items = keep(judged, &mut warnings, &mut problems);
        profiles.services = items.map(|profiles| ServiceProfilesAccessor { profiles });
    }
    if problems.is_empty() { Ok((profiles, warnings)) } else { Err([problems, warnings].concat()) }
}

fn keep<T>(
    judged: Result<Judged<T>, Vec<Problem>>,
    warnings: &mut Vec<Problem>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<T>> {
    match judged {
        Ok(judged) => {
            warnings.extend(judged.warnings);
            Some(judged.items)
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

fn bytes(path: &Path, key: &str) -> Result<Vec<u8>, Vec<Problem>> {
    fs::read(path).map_err(|error| {
        let what = format!("The file `{}`, which `{key}` names, cannot be read.", path.display());
        let fix = format!(
            "Correct `{key}` or the file's permissions; a relative path begins where warmfront starts."
        );
        vec![Problem::new(what, format!("{error}."), fix)]
    })
}
