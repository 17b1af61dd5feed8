//! Why a program could not be executed.
//!
//! execve(2) answers "no such file" for five different mistakes and "permission
//! denied" for three; the file itself tells which one it was.

use std::env::consts::ARCH;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::Problem;
use crate::sys;
use crate::worker::executable::{self, Elf, LINE_BYTES, script_line, script_words};

/// Where programs are looked for if nobody says.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The file that `argv0` means: itself if it has a slash, else the first in `path` that may be executed.
///
/// # Errors
/// `NotFound`; `PermissionDenied` if `path` has only files that may not be executed.
pub fn find_program(argv0: &OsStr, cwd: Option<&Path>, path: Option<&OsStr>) -> io::Result<PathBuf> {
    if argv0.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(argv0));
    }
    if argv0.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut refused = false;
    for candidate in candidates(argv0, path) {
        let seen = seen_from(cwd, &candidate);
        if seen.is_file() {
            if sys::may_execute(&seen) {
                return Ok(candidate);
            }
            refused = true;
        }
    }
    Err(if refused { io::ErrorKind::PermissionDenied } else { io::ErrorKind::NotFound }.into())
}

fn candidates(argv0: &OsStr, path: Option<&OsStr>) -> impl Iterator<Item = PathBuf> {
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let dirs: Vec<_> = std::env::split_paths(path).collect();
    let name = PathBuf::from(argv0);
    // An empty entry means the working directory.
    dirs.into_iter()
        .map(move |dir| if dir.as_os_str().is_empty() { Path::new(".").join(&name) } else { dir.join(&name) })
}

/// `path` as the worker sees it, which is started in `cwd`.
fn seen_from(cwd: Option<&Path>, path: &Path) -> PathBuf {
    cwd.map_or_else(|| path.to_owned(), |cwd| cwd.join(path))
}

/// Whether the same start will fail again until somebody changes a file or the configuration.
pub fn is_permanent(error: &io::Error) -> bool {
    is_about_the_file(error)
        || error.kind() == io::ErrorKind::InvalidInput
        || error.raw_os_error() == Some(sys::E2BIG)
}

fn is_about_the_file(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | PermissionDenied | NotADirectory | IsADirectory)
        || matches!(error.raw_os_error(), Some(sys::ENOEXEC | sys::ELOOP))
}

/// What the kernel would answer to a start of `file` in `cwd`, as far as the file tells; `None` if nothing is wrong.
///
/// For whoever wants to know without a start. A program for another machine or a missing loader counts too.
pub fn foresee(file: &Path, cwd: Option<&Path>) -> Option<io::Error> {
    let file = seen_from(cwd, file);
    let Ok(about) = fs::metadata(&file) else { return Some(io::ErrorKind::NotFound.into()) };
    if about.is_dir() || !sys::may_execute(&file) {
        return Some(io::ErrorKind::PermissionDenied.into());
    }
    let file = File::open(&file).ok()?;
    let unknown = || Some(io::Error::from_raw_os_error(sys::ENOEXEC));
    if let Some(elf) = Elf::of(&file) {
        let theirs = elf.machine();
        // 32-bit programs run on the 64-bit machine of the same family.
        if theirs != ARCH && (&*theirs, ARCH) != ("x86", "x86_64") {
            return unknown();
        }
        return elf
            .loader()
            .filter(|loader| !Path::new(loader).exists())
            .map(|_| io::ErrorKind::NotFound.into());
    }
    match interpreter(&executable::read(&file, 0, LINE_BYTES)) {
        Some(program) if !Path::new(program).exists() => Some(io::ErrorKind::NotFound.into()),
        Some(program) if !sys::may_execute(Path::new(program)) => {
            Some(io::ErrorKind::PermissionDenied.into())
        }
        Some(_) => None,
        None => unknown(),
    }
}

/// Explains why starting `argv0` in `cwd` (ours if `None`) with this `PATH` ended in `error`.
pub fn explain(error: &io::Error, argv0: &OsStr, cwd: Option<&Path>, path: Option<&OsStr>) -> Problem {
    if let Some(cwd) = cwd.filter(|cwd| !cwd.is_dir()) {
        return Problem::new(
            format!("The working directory `{}` does not exist.", cwd.display()),
            "Workers are started in it.",
            "Set `workers.cwd` to a directory, or remove it for ours.",
        );
    }
    let name = argv0.display();
    if !is_about_the_file(error) {
        return Problem::new(
            format!("The system could not start the command `{name}`: {error}."),
            "The file itself is not the reason.",
            match error.raw_os_error() {
                Some(sys::E2BIG) => "Shorten its arguments or the environment.",
                _ => {
                    "Check the limits of this instance (processes, memory, file descriptors) against `workers.count`."
                }
            },
        );
    }
    let has_slash = argv0.as_bytes().contains(&b'/');
    let file = if has_slash {
        seen_from(cwd, Path::new(argv0))
    } else {
        let found = candidates(argv0, path).map(|file| seen_from(cwd, &file)).find(|file| file.exists());
        match found {
            Some(file) => file,
            None => return not_in_path(argv0, cwd, path),
        }
    };
    let what = |text: &str| format!("The command `{name}` cannot be executed: {text}.");
    let shown = file.display();
    if file.is_dir() {
        return Problem::new(
            what("it is a directory"),
            if has_slash { String::new() } else { format!("It was found at `{shown}`.") },
            "Name the program inside it.",
        );
    }
    if !file.exists() {
        return missing(argv0, &file, cwd);
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return no_permission(&what, &file);
    }
    match File::open(&file) {
        Ok(content) => by_content(&what, &file, &content, error),
        Err(_) => Problem::new(what(&error.to_string()), "", format!("Check `{shown}`.")),
    }
}

fn not_in_path(argv0: &OsStr, cwd: Option<&Path>, path: Option<&OsStr>) -> Problem {
    let name = argv0.display();
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH)).display();
    let here = seen_from(cwd, Path::new(argv0));
    let fix = if argv0.as_bytes().contains(&b' ') {
        "Give program and arguments as separate words; no shell splits them.".to_owned()
    } else if here.is_file() {
        format!("It is in the working directory: write `./{name}`.")
    } else {
        "Install it, correct the name, or give the path with a slash.".to_owned()
    };
    Problem::new(
        format!("The command `{name}` was not found."),
        format!("No directory in PATH has it: {path}."),
        fix,
    )
}

fn missing(argv0: &OsStr, file: &Path, cwd: Option<&Path>) -> Problem {
    let name = argv0.display();
    let why = if fs::symlink_metadata(file).is_ok() {
        format!("`{}` is a symbolic link to nothing.", file.display())
    } else if Path::new(argv0).is_relative() {
        let cwd = cwd.map(Path::to_owned).or_else(|| std::env::current_dir().ok()).unwrap_or_default();
        format!("A relative path starts at the working directory, which is `{}`.", cwd.display())
    } else {
        match file.ancestors().skip(1).find(|dir| dir.is_dir()) {
            Some(dir) if Some(dir) != file.parent() => {
                format!("The path ends to exist at `{}`.", dir.display())
            }
            _ => "Its directory exists; the file does not.".to_owned(),
        }
    };
    let fix = "Correct the path, or put the file there (is it in the code package or image?).";
    Problem::new(format!("The command `{name}` does not exist."), why, fix)
}

fn no_permission(what: &dyn Fn(&str) -> String, file: &Path) -> Problem {
    let shown = file.display();
    let mode = fs::metadata(file).map(|data| data.permissions().mode() & 0o7777).unwrap_or_default();
    if mode & 0o111 == 0 {
        return Problem::new(
            what("it has no execute bit"),
            format!("The mode of `{shown}` is {mode:04o}."),
            format!(
                "Run `chmod 755 {shown}` before packing; a zip file keeps the bit only if packed on Unix."
            ),
        );
    }
    let first_line = File::open(file).map(|content| executable::read(&content, 0, LINE_BYTES));
    match first_line.ok().as_deref().and_then(interpreter) {
        Some(program) if !sys::may_execute(Path::new(program)) && Path::new(program).exists() => {
            Problem::new(
                what(&format!("its interpreter `{program}` may not be executed")),
                format!("The first line of `{shown}` names it."),
                format!("Correct that line, or run `chmod 755 {program}`."),
            )
        }
        _ => Problem::new(
            what("permission denied"),
            format!(
                "The mode of `{shown}` is {mode:04o}; its directories or its mount (noexec) may forbid it to this user."
            ),
            "Move it where this user may execute files, such as /code.",
        ),
    }
}

fn by_content(what: &dyn Fn(&str) -> String, file: &Path, content: &File, error: &io::Error) -> Problem {
    let shown = file.display();
    if let Some(elf) = Elf::of(content) {
        return binary(what, file, &elf, error);
    }
    let head = executable::read(content, 0, LINE_BYTES);
    if let Some(line) = script_line(&head) {
        if line.ends_with(b"\r") {
            return Problem::new(
                what("its first line ends in CR LF (Windows line ends)"),
                "The system takes the CR for a part of the interpreter's name.",
                format!("Convert it: `sed -i 's/\\r$//' {shown}`."),
            );
        }
        if let Some(program) = interpreter(&head)
            && !Path::new(program).exists()
        {
            return Problem::new(
                what(&format!("its interpreter `{program}` does not exist")),
                format!("The first line of `{shown}` is `#!{}`.", String::from_utf8_lossy(line).trim_end()),
                format!("Install {program} or correct that line; `#!/usr/bin/env name` searches PATH."),
            );
        }
        return Problem::new(what(&error.to_string()), "", format!("Check the first line of `{shown}`."));
    }
    if error.raw_os_error() == Some(sys::ENOEXEC) {
        let (text, why) = if head.is_empty() {
            ("the file is empty", String::new())
        } else if head.starts_with(b"\xef\xbb\xbf#!") {
            (
                "a byte order mark stands before its `#!`",
                format!("`{shown}` was saved as \"UTF-8 with BOM\"."),
            )
        } else {
            (
                "it has no `#!` line and is no binary",
                format!("Nothing says who interprets `{shown}`; no shell is guessed."),
            )
        };
        return Problem::new(
            what(text),
            why,
            "Begin it with a line such as `#!/bin/sh`, or name the interpreter as the first word of the command.",
        );
    }
    Problem::new(what(&error.to_string()), "", format!("Check `{shown}`."))
}

fn binary(what: &dyn Fn(&str) -> String, file: &Path, elf: &Elf<'_>, error: &io::Error) -> Problem {
    let shown = file.display();
    let theirs = elf.machine();
    if theirs != ARCH {
        return Problem::new(
            what(&format!("it is a program for {theirs} and this machine is {ARCH}")),
            String::new(),
            format!("Build or download `{shown}` for {ARCH}."),
        );
    }
    if error.kind() == io::ErrorKind::NotFound
        && let Some(loader) = elf.loader()
    {
        return Problem::new(
            what(&format!("its loader `{loader}` does not exist")),
            "It was linked for another C library than this system has (glibc or musl).",
            "Link it statically, or use an image with that C library.",
        );
    }
    Problem::new(what(&error.to_string()), "", format!("Check `{shown}`: it may be cut off or damaged."))
}

/// The program named by a `#!` line.
fn interpreter(head: &[u8]) -> Option<&str> {
    std::str::from_utf8(script_words(head)?.next()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Room(tempfile::TempDir);

    impl Room {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn file(&self, name: &str, mode: u32, content: &[u8]) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        }
    }

    /// Starts it for real and explains what the kernel said.
    fn explained(argv0: &OsStr, cwd: Option<&Path>, path: Option<&OsStr>) -> Problem {
        let error = loop {
            let program = match find_program(argv0, cwd, path) {
                Ok(path) => sys::Program {
                    path,
                    argv: vec![argv0.into()],
                    env: vec![],
                    cwd: cwd.map(Into::into),
                    inherits: None,
                },
                Err(error) => break error,
            };
            match sys::spawn(&program).unwrap_err() {
                // Another test that forks right now holds our file open for writing for a moment.
                busy if busy.kind() == io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                error => break error,
            }
        };
        assert!(is_permanent(&error), "{error}");
        explain(&error, argv0, cwd, path)
    }

    #[test]
    fn a_missing_absolute_file_says_where_the_path_ends() {
        let room = Room::new();
        let problem = explained(room.0.path().join("a/b/serve").as_os_str(), None, None);
        assert!(problem.what.ends_with("serve` does not exist."), "{problem}");
        assert!(problem.why.contains(&format!("`{}`", room.0.path().display())), "{problem}");
        room.file("x", 0o644, b"");
        let problem = explained(room.0.path().join("serve").as_os_str(), None, None);
        assert_eq!(problem.why, "Its directory exists; the file does not.");
    }

    #[test]
    fn a_missing_relative_file_says_where_it_was_looked_for() {
        let room = Room::new();
        let problem = explained(OsStr::new("./serve"), Some(room.0.path()), None);
        assert!(problem.why.contains(room.0.path().to_str().unwrap()), "{problem}");
    }

    #[test]
    fn a_name_that_is_not_in_path_says_which_path() {
        let room = Room::new();
        let problem = explained(OsStr::new("serve"), Some(room.0.path()), Some(OsStr::new("/nowhere:/bin")));
        assert!(problem.why.contains("/nowhere:/bin"), "{problem}");
        room.file("serve", 0o755, b"");
        let problem = explained(OsStr::new("serve"), Some(room.0.path()), Some(OsStr::new("/nowhere")));
        assert!(problem.fix.contains("./serve"), "{problem}");
        let problem = explained(OsStr::new("node app.js"), None, None);
        assert!(problem.fix.contains("separate words"), "{problem}");
    }

    #[test]
    fn a_missing_directory_is_not_taken_for_a_missing_program() {
        let problem = explained(OsStr::new("/bin/sh"), Some(Path::new("/no/such/dir")), None);
        assert!(problem.what.contains("working directory"), "{problem}");
    }

    #[test]
    fn a_missing_execute_bit_says_chmod() {
        let room = Room::new();
        let path = room.file("serve", 0o644, b"#!/bin/sh\n");
        let problem = explained(path.as_os_str(), None, None);
        assert!(problem.what.contains("no execute bit") && problem.why.contains("0644"), "{problem}");
        let problem = explained(OsStr::new("serve"), None, Some(room.0.path().as_os_str()));
        assert!(problem.fix.contains("chmod 755"), "found through PATH as well: {problem}");
    }

    #[test]
    fn a_script_without_an_interpreter_line_is_not_guessed() {
        let room = Room::new();
        let problem = explained(room.file("serve", 0o755, b"echo hi\n").as_os_str(), None, None);
        assert!(problem.what.contains("no `#!` line"), "{problem}");
        let problem = explained(room.file("empty", 0o755, b"").as_os_str(), None, None);
        assert!(problem.what.contains("empty"), "{problem}");
        let problem = explained(room.file("bom", 0o755, b"\xef\xbb\xbf#!/bin/sh\n").as_os_str(), None, None);
        assert!(problem.what.contains("byte order mark"), "{problem}");
    }

    #[test]
    fn a_missing_interpreter_is_named() {
        let room = Room::new();
        let path = room.file("serve", 0o755, b"#!/opt/no/ruby -w\nputs 1\n");
        let problem = explained(path.as_os_str(), None, None);
        assert!(problem.what.contains("`/opt/no/ruby` does not exist"), "{problem}");
    }

    #[test]
    fn windows_line_ends_are_named() {
        let room = Room::new();
        let path = room.file("serve", 0o755, b"#!/bin/sh\r\necho hi\r\n");
        let problem = explained(path.as_os_str(), None, None);
        assert!(problem.what.contains("CR LF") && problem.fix.contains("sed -i"), "{problem}");
    }

    #[test]
    fn a_program_for_another_machine_names_both() {
        let room = Room::new();
        let mut binary = fs::read("/proc/self/exe").unwrap();
        binary.truncate(4096);
        let other = if cfg!(target_arch = "aarch64") { (62, "x86_64") } else { (183, "aarch64") };
        binary[18] = other.0;
        let problem = explained(room.file("serve", 0o755, &binary).as_os_str(), None, None);
        assert!(problem.what.contains(&format!("for {}", other.1)), "{problem}");
        assert!(problem.what.contains(std::env::consts::ARCH), "{problem}");
    }

    #[test]
    fn a_missing_loader_is_named() {
        let binary = fs::read("/bin/sh").unwrap();
        let loader = Elf::of(&File::open("/bin/sh").unwrap())
            .and_then(|elf| elf.loader())
            .expect("Debian's is dynamic");
        let room = Room::new();
        let gone = loader.replace("ld-", "no-");
        let at = binary.windows(loader.len()).position(|window| window == loader.as_bytes()).unwrap();
        let mut changed = binary.clone();
        changed[at..at + gone.len()].copy_from_slice(gone.as_bytes());
        let problem = explained(room.file("serve", 0o755, &changed).as_os_str(), None, None);
        assert!(problem.what.contains(&gone) && problem.why.contains("C library"), "{problem}");
    }

    /// As tools that change the loader of a finished program leave it.
    #[test]
    fn a_missing_loader_is_named_though_its_name_lies_at_the_end_of_the_file() {
        const GONE: &[u8] = b"/no/such/loader.so\0";
        let mut binary = fs::read("/bin/sh").unwrap();
        let end = binary.len() as u64;
        binary.extend_from_slice(GONE);
        // The first headers of segments are those of a file of 64 bits: 56 bytes each, behind the head.
        let entry = (64..).step_by(56).find(|&at| binary[at..at + 4] == [3, 0, 0, 0]).unwrap();
        binary[entry + 8..entry + 16].copy_from_slice(&end.to_le_bytes());
        binary[entry + 32..entry + 40].copy_from_slice(&(GONE.len() as u64).to_le_bytes());
        let room = Room::new();
        let problem = explained(room.file("serve", 0o755, &binary).as_os_str(), None, None);
        assert!(problem.what.contains("its loader `/no/such/loader.so` does not exist"), "{problem}");
    }

    #[test]
    fn a_full_system_is_not_blamed_on_the_file() {
        let error = io::Error::from_raw_os_error(11);
        assert!(!is_permanent(&error));
        let problem = explain(&error, OsStr::new("/bin/sh"), None, None);
        assert!(problem.why.contains("not the reason") && problem.fix.contains("workers.count"), "{problem}");
    }

    #[test]
    fn a_directory_is_no_program() {
        let room = Room::new();
        let problem = explained(room.0.path().as_os_str(), None, None);
        assert!(problem.what.contains("it is a directory"), "{problem}");
    }
}
