//! A php-fpm of ours: its configuration, the words it is started with, and how it is asked to end.
//!
//! One master that accepts nothing, and as many children as the worker has slots, each of which serves one request at
//! a time. So the worker's bound on connections is the number of children, and none waits for another.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::config::{PhpFpm, Spawn};
use crate::error::Problem;
use crate::sys;
use crate::upstream::pool::{Address, WorkerId};

use super::start::LaunchError;

/// Users that serve elsewhere, in the order in which they are looked for.
const USERS: [&str; 2] = ["www-data", "nobody"];

/// Where users are listed.
const PASSWD: &str = "/etc/passwd";

/// What asks `spawn`'s workers to end. TERM ends a php-fpm in the middle of its requests; QUIT lets it finish them.
pub(super) fn stop_signal(spawn: &Spawn) -> i32 {
    if spawn.php_fpm.is_some() { sys::QUIT } else { sys::TERM }
}

/// Tells what `spawn`'s workers write that is said elsewhere too: a php-fpm of ours sends PHP's messages beside the
/// answers, where they get the id of the very request, and its children write them to stderr as well.
pub(super) fn repetition(spawn: &Spawn) -> fn(&[u8]) -> bool {
    match &spawn.php_fpm {
        Some(fpm) if !fpm.is_configured => |text| {
            let text = text.strip_prefix(b"NOTICE: ").unwrap_or(text);
            text.starts_with(b"PHP message: ")
        },
        _ => |_| false,
    }
}

/// `argv` with what makes a php-fpm listen on `address`; as it is if `fpm` is none. In the foreground in any case.
///
/// # Errors
/// The configuration cannot be written, or there is no user for the children.
pub(super) fn completed(
    fpm: Option<&PhpFpm>,
    mut argv: Vec<OsString>,
    worker: WorkerId,
    address: &Address,
) -> Result<Vec<OsString>, LaunchError> {
    let Some(fpm) = fpm else { return Ok(argv) };
    argv.push("--nodaemonize".into());
    if fpm.is_configured {
        return Ok(argv);
    }
    let permanent = |problem| LaunchError { problem, is_permanent: true };
    let Address::Unix(socket) = address else {
        return Err(permanent(Problem::new(
            "php-fpm is not told to listen on a TCP port.",
            "Its configuration is written into the private directory of the workers' sockets.",
            "Remove `--transport tcp`, or give php-fpm a configuration of its own with -y.",
        )));
    };
    let user = user(fpm).map_err(permanent)?;
    if user.as_ref().is_some_and(|user| user.is_root) {
        argv.push("--allow-to-run-as-root".into());
    }
    let path = socket.with_file_name(format!("php-fpm-w{worker}.conf"));
    let text = configuration(fpm, socket, user.as_ref());
    fs::write(&path, text).map_err(|error| LaunchError {
        problem: Problem::new(
            format!("php-fpm's configuration `{}` cannot be written: {error}.", path.display()),
            "It stands beside the worker's socket.",
            "Make room there, or set `workers.socket_dir` to another directory.",
        ),
        is_permanent: false,
    })?;
    // What `repetition` relies on, whatever php.ini says.
    argv.extend(["-d", "fcgi.logging=1"].map(OsString::from));
    argv.extend(["--fpm-config".into(), path.into_os_string()]);
    Ok(argv)
}

/// Whose the children of a php-fpm are to be, in words for the start line; empty if it is configured elsewhere.
pub fn in_words(fpm: &PhpFpm) -> String {
    match user(fpm) {
        _ if fpm.is_configured => String::new(),
        Ok(Some(user)) => format!(", {} children as {}", fpm.children, user.name),
        Ok(None) | Err(_) => format!(", {} children", fpm.children),
    }
}

/// Whose the children are.
#[derive(Debug, PartialEq, Eq)]
struct User {
    name: String,
    group: String,
    is_root: bool,
}

/// Somebody, if we are root and they could be anybody's.
fn user(fpm: &PhpFpm) -> Result<Option<User>, Problem> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !is_root {
        return Ok(None);
    }
    let users = fs::read_to_string(PASSWD).unwrap_or_default();
    let named = fpm.user.as_deref();
    let found =
        named.map_or_else(|| USERS.iter().find_map(|name| find(&users, name)), |name| find(&users, name));
    found.map(Some).ok_or_else(|| {
        let name = named.map_or_else(|| USERS.join(" or "), str::to_owned);
        Problem::new(
            format!("There is no user {name} for php-fpm's children."),
            "We are root, and scripts are not to be.",
            "Set `php.user` to a user of this system; root, if scripts need it.",
        )
    })
}

fn find(users: &str, name: &str) -> Option<User> {
    let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
    let group = line.split(':').nth(3)?.to_owned();
    let is_root = line.split(':').nth(2) == Some("0");
    Some(User { name: name.to_owned(), group, is_root })
}

/// What php-fpm is told. Its own messages and what scripts write to stdout and stderr come out at our end of its
/// pipe; PHP's messages come back beside the answers, and get their request's id there. They would come by the pipe
/// as well, and [`repetition`] takes those out.
fn configuration(fpm: &PhpFpm, socket: &Path, user: Option<&User>) -> String {
    let socket = OsStr::to_string_lossy(socket.as_os_str());
    let children = fpm.children;
    let whose =
        user.map(|User { name, group, .. }| format!("user = {name}\ngroup = {group}\n")).unwrap_or_default();
    format!(
        "[global]\n\
         daemonize = no\n\
         error_log = /proc/self/fd/2\n\
         log_level = warning\n\
         log_limit = 16384\n\
         [warmfront]\n\
         {whose}\
         listen = \"{socket}\"\n\
         listen.mode = 0600\n\
         listen.backlog = 4096\n\
         pm = static\n\
         pm.max_children = {children}\n\
         clear_env = no\n\
         catch_workers_output = yes\n\
         decorate_workers_output = no\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: PhpFpm = PhpFpm { children: 3, user: None, is_configured: false };

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_php_fpm_is_told_its_socket_and_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("w7-1.sock");
        let address = Address::Unix(socket.clone());
        let argv = completed(Some(&PLAIN), words("php-fpm -d x=y"), WorkerId(7), &address).unwrap();
        let path = dir.path().join("php-fpm-w7.conf");
        assert_eq!(argv[..4], words("php-fpm -d x=y --nodaemonize"));
        assert_eq!(argv.last(), Some(&path.clone().into_os_string()));
        let text = fs::read_to_string(path).unwrap();
        for line in [&format!("listen = \"{}\"", socket.display()), "pm = static", "pm.max_children = 3"] {
            assert!(text.lines().any(|there| there == line), "{text}");
        }
    }

    #[test]
    fn one_with_a_configuration_is_only_kept_in_the_foreground() {
        let fpm = PhpFpm { is_configured: true, ..PLAIN };
        let address = Address::Tcp(([127, 0, 0, 1], 1).into());
        let argv = completed(Some(&fpm), words("php-fpm -y /f"), WorkerId(1), &address).unwrap();
        assert_eq!(argv, words("php-fpm -y /f --nodaemonize"));
        assert_eq!(completed(None, words("node x"), WorkerId(1), &address).unwrap(), words("node x"));
        assert!(completed(Some(&PLAIN), words("php-fpm"), WorkerId(1), &address).unwrap_err().is_permanent);
    }

    #[test]
    fn children_belong_to_a_user_of_the_system() {
        let users = "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:34:www:/var/www:/bin/sh\n";
        let user = find(users, "www-data").unwrap();
        assert_eq!((user.name.as_str(), user.group.as_str(), user.is_root), ("www-data", "34", false));
        assert!(find(users, "root").unwrap().is_root);
        assert_eq!(find(users, "www"), None);
        let text = configuration(&PLAIN, Path::new("/s"), Some(&user));
        assert!(text.contains("[warmfront]\nuser = www-data\ngroup = 34\nlisten = \"/s\"\n"), "{text}");
    }
}
