//! How many requests a worker can hold, judged by the name of its program.
//!
//! A single-threaded server behind several slots does harm: a request waits
//! behind a busy worker while another worker idles, or starves behind an idle
//! keep-alive connection that the server still reads from. So unknown means 1,
//! which is slow at worst and never wrong.
//!
//! Runtimes whose HTTP servers are built on an event loop or a thread pool hold
//! many. They get 100: FC's highest instance concurrency (200) over the default
//! two workers.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Slots for a worker known to serve many requests at once.
pub(super) const MANY: u32 = 100;

/// The argument that makes our own binary a worker.
pub(super) const DEMO_WORKER: &str = "demo-worker";

/// Programs whose HTTP servers serve many requests at once.
const SERVES_MANY: &[&str] = &[
    "node",
    "nodejs",
    "bun",
    "deno",
    "npm",
    "npx",
    "yarn",
    "pnpm",
    "tsx",
    "ts-node",
    "java",
    "dotnet",
    "uvicorn",
    "hypercorn",
    "granian",
    "daphne",
];

/// Concurrent requests one worker started by `argv` can hold: 100 or 1.
///
/// Looks at the file name of the program, through `env` and `python -m`. Never
/// looks at the file system.
#[must_use]
pub fn guess_slots(argv: &[OsString]) -> u32 {
    let serves_many =
        is_demo(argv) || program(argv).is_some_and(|name| SERVES_MANY.iter().any(|many| name == *many));
    if serves_many { MANY } else { 1 }
}

/// Whether `argv` starts our own demo worker.
#[must_use]
pub(super) fn is_demo(argv: &[OsString]) -> bool {
    argv.get(1).is_some_and(|argument| argument == DEMO_WORKER)
}

/// Whether `argv` starts a php-fpm, which has as many names as there are versions of it.
#[must_use]
pub(super) fn is_php_fpm(argv: &[OsString]) -> bool {
    program(argv).is_some_and(|name| name.as_bytes().starts_with(b"php-fpm"))
}

/// Whether the words of a php-fpm name a configuration of its own.
#[must_use]
pub(super) fn names_fpm_config(argv: &[OsString]) -> bool {
    let names = |word: &[u8]| word.starts_with(b"-y") || word.starts_with(b"--fpm-config");
    argv.iter().skip(1).any(|word| names(word.as_bytes()))
}

/// Which word names the program that decides, and the name: the first one's, or that of what it merely starts (`env`,
/// `python -m`).
#[must_use]
pub fn decisive(argv: &[OsString]) -> Option<(usize, &OsStr)> {
    let mut at = 0;
    loop {
        let name = Path::new(argv.get(at)?).file_name()?;
        if name == "env" {
            at += 1 + argv[at + 1..].iter().take_while(|word| word.as_bytes().contains(&b'=')).count();
            continue;
        }
        if name.as_bytes().starts_with(b"python") && argv.get(at + 1).is_some_and(|flag| flag == "-m") {
            return Some((at + 2, argv.get(at + 2)?));
        }
        return Some((at, name));
    }
}

fn program(argv: &[OsString]) -> Option<&OsStr> {
    decisive(argv).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(line: &str) -> u32 {
        guess_slots(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn runtimes_with_event_loops_or_threads_get_a_hundred_slots() {
        for name in SERVES_MANY {
            assert_eq!(guess(&format!("{name} server")), 100, "{name}");
            assert_eq!(guess(&format!("/usr/local/bin/{name} server")), 100, "{name}");
        }
        for line in
            ["env NODE_ENV=production node x.js", "python3.12 -m uvicorn app:app", "./front demo-worker"]
        {
            assert_eq!(guess(line), 100, "{line}");
        }
    }

    #[test]
    fn php_fpm_is_known_by_any_of_its_names() {
        let argv = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        for line in ["php-fpm", "/usr/sbin/php-fpm8.2 -F", "php-fpm83", "env A=b php-fpm -d x=y"] {
            assert!(is_php_fpm(&argv(line)) && !names_fpm_config(&argv(line)), "{line}");
        }
        for line in ["php-fpm -y /etc/f.conf", "php-fpm --fpm-config=/f", "php-fpm -y/f"] {
            assert!(is_php_fpm(&argv(line)) && names_fpm_config(&argv(line)), "{line}");
        }
        assert!(!is_php_fpm(&argv("php -S x")) && !is_php_fpm(&argv("sh -c php-fpm")));
    }

    #[test]
    fn an_unknown_program_gets_one_slot() {
        for line in [
            "python3 app.py",
            "python3 -m http.server",
            "php -S x",
            "/code/bootstrap",
            "sh -c node",
            "nodemon",
            "env",
            "",
            "/",
        ] {
            assert_eq!(guess(line), 1, "{line}");
        }
    }
}
