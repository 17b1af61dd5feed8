//! The private directory in which workers have their sockets.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::error::Problem;
use crate::upstream::pool::WorkerId;

/// Longest path of a Unix socket in bytes: `sun_path` holds 108 with its NUL.
pub(super) const SOCKET_PATH_BYTES: usize = 107;

/// The private directory of the workers' sockets; removed with everything in it on drop.
#[derive(Debug)]
pub(super) struct SocketDir(PathBuf);

impl SocketDir {
    /// Makes `warmfront-<pid>-<random>`, mode 0700, in `parent`.
    ///
    /// # Errors
    /// `parent` is missing or not writable, or its path so long that a socket of
    /// worker number `workers` would not fit.
    pub(super) fn create(parent: &Path, workers: usize) -> Result<Self, Problem> {
        let name = format!("warmfront-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = parent.join(name);
        let longest =
            path.join(socket_name(WorkerId(u32::try_from(workers).unwrap_or(u32::MAX)), u32::MAX, "sock"));
        let bytes = longest.as_os_str().len();
        if bytes > SOCKET_PATH_BYTES {
            return Err(Problem::new(
                format!("The socket directory `{}` has too long a path.", parent.display()),
                format!(
                    "A worker's socket in it would need {bytes} bytes; the system allows {SOCKET_PATH_BYTES}."
                ),
                "Set `workers.socket_dir` to a shorter path such as /tmp.",
            ));
        }
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Problem::new(
                format!("No socket directory can be made in `{}`: {error}.", parent.display()),
                "Workers listen on Unix sockets in a private directory there.",
                "Set `workers.socket_dir` to an existing directory that this user may write to.",
            )
        })?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl SocketDir {
    /// The path of a socket for one life of a worker; `kind` is what it is for, of four letters.
    pub(super) fn socket(&self, worker: WorkerId, incarnation: u32, kind: &str) -> PathBuf {
        self.0.join(socket_name(worker, incarnation, kind))
    }
}

impl Drop for SocketDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn socket_name(worker: WorkerId, incarnation: u32, kind: &str) -> String {
    format!("w{worker}-{incarnation}.{kind}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_private_and_leaves_nothing_behind() {
        let parent = tempfile::tempdir().unwrap();
        let dir = SocketDir::create(parent.path(), 2).unwrap();
        let mode = fs::metadata(dir.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(dir.socket(WorkerId(1), 3, "sock").ends_with("w1-3.sock"));
        drop(dir);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_explained() {
        let dir = tempfile::tempdir().unwrap();
        let missing = SocketDir::create(&dir.path().join("no"), 1).unwrap_err();
        assert!(missing.what.contains("No such file"), "{missing}");
        let long = SocketDir::create(&dir.path().join("x".repeat(80)), 1).unwrap_err();
        assert!(long.why.contains("107"), "{long}");
    }
}
