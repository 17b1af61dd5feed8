//! The preloaded library: from the bytes we carry to a file that a worker's loader finds.
//!
//! What it does inside of a worker is `docs/shim.md`; its source is `shim/`, built by `build.rs`.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::sys;

/// The variable in which the loader of dynamic programs looks.
pub const PRELOAD: &str = "LD_PRELOAD";
/// The variable in which the shim looks: `<fd>:<port>[,<port>…]:<path>`.
pub const TOLD: &str = "WARMFRONT_SHIM";
/// How many ports can lead to the one listener; the same in `shim/settings.rs`.
pub const PORTS_MAX: usize = 8;

/// The library, if it exists for this target.
#[cfg(warmfront_shim)]
const LIBRARY: Option<&[u8]> = Some(include_bytes!(concat!(env!("OUT_DIR"), "/warmfront-shim.so")));
/// See above.
#[cfg(not(warmfront_shim))]
const LIBRARY: Option<&[u8]> = None;

const NAME: &str = "warmfront-shim.so";

/// Why workers cannot have the shim. Shown as one clause, to be followed by [`NoShim::fix`].
#[derive(Debug, thiserror::Error)]
pub enum NoShim {
    /// Only Linux on x86_64 and aarch64 has it; or it was left out when warmfront was built.
    #[error(
        "this build has no shim: it exists for Linux on x86_64 and aarch64, unless built with WARMFRONT_NO_SHIM"
    )]
    NotBuilt,
    /// The loader splits its variable at spaces and colons.
    #[error("the socket directory `{0}` has a space or a colon in its path, where the loader would cut it")]
    Separator(PathBuf),
    /// A library from there cannot be mapped as code.
    #[error("the socket directory `{0}` is on a mount that executes nothing (noexec)")]
    NoExec(PathBuf),
    /// It could not be written, or its mount not be asked.
    #[error("the shim could not be written to `{0}`: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// More ports than the shim has places for.
    #[error("{0} ports are more than the shim can take over, which are {PORTS_MAX}")]
    Ports(usize),
}

impl NoShim {
    /// What a person can do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::NotBuilt => "Choose another `workers.transport`.",
            Self::Separator(_) => "Set `workers.socket_dir` to a path without either, such as /tmp.",
            Self::NoExec(_) => "Set `workers.socket_dir` to a directory on another mount.",
            Self::Io(..) => "Set `workers.socket_dir` to a directory with room that this user may write to.",
            Self::Ports(_) => "Name fewer of them.",
        }
    }
}

/// A library that workers can preload; the file goes with its directory.
#[derive(Debug)]
pub struct Shim {
    library: PathBuf,
}

/// Writes the library into `dir`, which is private and absolute.
///
/// # Errors
/// See [`NoShim`]: everything that would make the loader of a worker go on without it. It prints a line then
/// and the worker binds the real port, so that nothing is left to chance here.
pub fn install(dir: &Path) -> Result<Shim, NoShim> {
    let bytes = LIBRARY.ok_or(NoShim::NotBuilt)?;
    if dir.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b' ' | b':')) {
        return Err(NoShim::Separator(dir.to_owned()));
    }
    let failed = |error| NoShim::Io(dir.to_owned(), error);
    if sys::is_noexec(dir).map_err(failed)? {
        return Err(NoShim::NoExec(dir.to_owned()));
    }
    let library = dir.join(NAME);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o500).open(&library).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    Ok(Shim { library })
}

impl Shim {
    /// Where the library is.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The variables of a worker that inherits as `fd` a Unix socket that is bound to `listener` and stands
    /// for `ports`; `preload` is what the worker's LD_PRELOAD would be without us, and stays in front.
    ///
    /// # Errors
    /// [`NoShim::Ports`].
    pub fn environment(
        &self,
        fd: u32,
        ports: &[u16],
        listener: &Path,
        preload: Option<&OsStr>,
    ) -> Result<[(&'static str, OsString); 2], NoShim> {
        if ports.len() > PORTS_MAX {
            return Err(NoShim::Ports(ports.len()));
        }
        let mut preloaded = OsString::new();
        if let Some(theirs) = preload.filter(|theirs| !theirs.is_empty()) {
            preloaded.push(theirs);
            preloaded.push(":");
        }
        preloaded.push(&self.library);
        let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
        let mut told = OsString::from(format!("{fd}:{}:", ports.join(",")));
        told.push(listener);
        Ok([(PRELOAD, preloaded), (TOLD, told)])
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn shim() -> Shim {
        Shim { library: "/s/warmfront-shim.so".into() }
    }

    #[test]
    fn a_preload_that_is_there_stays_in_front() {
        let ours = |preload: Option<&str>| {
            let preload = preload.map(OsStr::new);
            let [(name, value), _] =
                shim().environment(3, &[9000], Path::new("/s/w1-1.sock"), preload).unwrap();
            assert_eq!(name, "LD_PRELOAD");
            value.into_string().unwrap()
        };
        assert_eq!(ours(None), "/s/warmfront-shim.so");
        assert_eq!(ours(Some("")), "/s/warmfront-shim.so");
        assert_eq!(ours(Some("/lib/jemalloc.so")), "/lib/jemalloc.so:/s/warmfront-shim.so");
    }

    #[test]
    fn the_shim_is_told_descriptor_ports_and_path_and_no_more_ports_than_it_can_take() {
        let [_, (name, value)] =
            shim().environment(3, &[9000, 8080], Path::new("/s/w:1.sock"), None).unwrap();
        assert_eq!((name, value.to_str().unwrap()), ("WARMFRONT_SHIM", "3:9000,8080:/s/w:1.sock"));
        let error = shim().environment(3, &[1; PORTS_MAX + 1], Path::new("/s"), None).unwrap_err();
        assert!(error.to_string().contains("9 ports") && error.to_string().contains("are 8"), "{error}");
    }

    #[cfg(warmfront_shim)]
    #[test]
    fn the_library_is_written_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let shim = install(dir.path()).unwrap();
        assert_eq!(fs::metadata(shim.library()).unwrap().permissions().mode() & 0o777, 0o500);
        assert!(fs::read(shim.library()).unwrap().starts_with(b"\x7fELF"));
        let twice = install(dir.path()).unwrap_err();
        assert!(matches!(twice, NoShim::Io(..)), "nobody's file is written over: {twice}");
    }

    #[cfg(warmfront_shim)]
    #[test]
    fn a_directory_that_the_loader_could_not_use_is_refused_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a b", "a:b"] {
            let odd = dir.path().join(name);
            fs::create_dir(&odd).unwrap();
            let error = install(&odd).unwrap_err();
            assert!(matches!(error, NoShim::Separator(_)) && error.to_string().contains(name), "{error}");
        }
        let error = install(&dir.path().join("no")).unwrap_err();
        assert!(matches!(error, NoShim::Io(..)) && error.to_string().contains("No such file"), "{error}");
    }
}
