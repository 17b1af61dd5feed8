//! A directory of our own for sockets, logs and journals, gone when the measurement is over.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// A private directory, removed with all that is in it.
#[derive(Debug)]
pub(crate) struct PrivateDir(PathBuf);

impl PrivateDir {
    /// Makes one in the temporary directory.
    ///
    /// # Errors
    /// It exists already, or nothing can be written there.
    pub(crate) fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("warmfront-bench-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        // A directory that stays is litter in the temporary directory, no more.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_directory_leaves_nothing_behind() {
        let dir = PrivateDir::new().unwrap();
        let path = dir.path().to_owned();
        fs::write(path.join("file"), "x").unwrap();
        drop(dir);
        assert!(!path.exists());
    }
}
