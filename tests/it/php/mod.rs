//! PHP without nginx: real php-fpm behind the sidecar, and something that answers as php-fpm never would.

mod answers;
mod fake;
mod files;
mod life;
mod wordpress;

use std::path::{Path, PathBuf};

use crate::support::{Setup, app};

/// php-fpm, which has a version in its name.
pub(crate) fn program() -> PathBuf {
    app("php/index.php");
    let places = ["/usr/local/sbin", "/usr/sbin", "/usr/local/bin", "/usr/bin"];
    let files = places.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten();
    let mut found = files.map(|file| file.expect("an entry").path());
    let is_fpm =
        |file: &PathBuf| file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm"));
    found.find(is_fpm).expect("php-fpm: scripts/setup-tests installs it")
}

/// php-fpm with the scripts of the tests and four children.
fn fpm() -> Setup {
    fpm_with(&[])
}

/// The same, with these words behind its name.
fn fpm_with(words: &[&str]) -> Setup {
    let program = program();
    let argv = std::iter::once(program.as_path()).chain(words.iter().map(Path::new));
    // The tests' own directories are for their owner.
    Setup::run(argv)
        .set("php.root", app("php").to_str().expect("UTF-8"))
        .set("php.user", "root")
        .set("workers.concurrency", "4")
}
