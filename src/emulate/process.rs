//! The first process of an instance: started as the platform does, and what it writes, line by line.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use std::os::unix::process::ExitStatusExt;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::function_env;
use super::options::Options;
use super::payload::StartFailure;
use crate::sys;
use crate::worker::diagnose::exec;

/// Longest line of a log; the platform cuts too (FC contract §2.4).
const LINE_BYTES_MAX: usize = 32 * 1024;

/// A process that was just started.
pub(super) struct Started {
    /// Its number.
    pub(super) pid: i32,
    /// What it writes.
    pub(super) pipes: [pipe::Receiver; 2],
}

/// Starts the command as the instance `id`.
///
/// # Errors
/// In the platform's words.
pub(super) fn start(options: &Options, id: &str) -> Result<Started, StartFailure> {
    let code = code_of(options).map_err(|error| StartFailure::Local(error.to_string()))?;
    let env = function_env::environment(
        options,
        id,
        code.clone().into_os_string(),
        std::env::var_os("PATH"),
        std::env::var_os("HOME"),
    );
    let name = &options.command[0];
    let path = env.get(OsStr::new("PATH")).map(std::ffi::OsString::as_os_str);
    let refused = |error: std::io::Error| refused(&error, options);
    let program = sys::Program {
        path: exec::find_program(name, Some(&code), path).map_err(refused)?,
        argv: options.command.clone(),
        env: env.into_iter().collect(),
        cwd: Some(code),
        inherits: None,
    };
    let mut child = sys::spawn(&program).map_err(refused)?;
    let pid = i32::try_from(child.id()).expect("invariant: Linux pids fit in 22 bits");
    let out: OwnedFd = child.stdout.take().expect("invariant: sys::spawn pipes stdout").into();
    let err: OwnedFd = child.stderr.take().expect("invariant: sys::spawn pipes stderr").into();
    let receiver =
        |pipe| pipe::Receiver::from_owned_fd(pipe).map_err(|error| StartFailure::Local(error.to_string()));
    Ok(Started { pid, pipes: [receiver(out)?, receiver(err)?] })
}

/// The directory of the code, absolute.
fn code_of(options: &Options) -> std::io::Result<PathBuf> {
    std::path::absolute(options.code.as_deref().unwrap_or(Path::new(".")))
}

/// The start command as the platform shows it.
pub(super) fn command_line(options: &Options) -> String {
    let words: Vec<_> = options.command.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

fn refused(error: &std::io::Error, options: &Options) -> StartFailure {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    match error.kind() {
        NotFound => StartFailure::NotFound { file: options.command[0].to_string_lossy().into_owned() },
        PermissionDenied => StartFailure::NoPermission,
        _ => {
            let words = error.to_string();
            // Without Rust's own number behind it, and as the platform writes it.
            let message = words.split(" (os error").next().unwrap_or_default().to_lowercase();
            StartFailure::Exited {
                code: error.raw_os_error().unwrap_or(1),
                message,
                command: command_line(options),
                logs: String::new(),
            }
        }
    }
}

/// How a process ended, as a number and in words.
pub(super) fn ending(status: ExitStatus) -> (i32, String) {
    match (status.code(), status.signal()) {
        (Some(code), _) => (code, format!("exit status {code}")),
        (None, Some(9)) => (137, "signal: killed".to_owned()),
        (None, signal) => {
            let number = signal.unwrap_or_default();
            (128 + number, format!("signal {number}"))
        }
    }
}

/// Gives every line of the pipe to `each`, until its end.
pub(super) async fn read_lines(mut pipe: pipe::Receiver, mut each: impl FnMut(&str)) {
    let mut line = Vec::new();
    let mut is_cut = false;
    let mut buffer = vec![0; 8192];
    loop {
        let count = match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        for piece in buffer[..count].split_inclusive(|&byte| byte == b'\n') {
            let is_whole = piece.ends_with(b"\n");
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = LINE_BYTES_MAX - line.len();
            is_cut |= text.len() > room;
            line.extend_from_slice(&text[..text.len().min(room)]);
            if is_whole {
                each(&String::from_utf8_lossy(&line));
                line.clear();
                is_cut = false;
            }
        }
    }
    if !line.is_empty() || is_cut {
        each(&String::from_utf8_lossy(&line));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::options::{judge, tests::wish};
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_and_are_cut_where_the_platform_cuts() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let written = std::thread::spawn(move || {
            writer.write_all(b"one\n\ntw").unwrap();
            writer.write_all(b"o\n").unwrap();
            writer.write_all(&[b'x'; 40_000]).unwrap();
            writer.write_all(b"\nno end").unwrap();
        });
        let mut lines = Vec::new();
        let pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).unwrap();
        read_lines(pipe, |line| lines.push(line.to_owned())).await;
        written.join().unwrap();
        assert_eq!(lines, ["one", "", "two", &"x".repeat(32_768), "no end"]);
    }

    #[test]
    fn a_refusal_of_the_kernel_becomes_the_platforms_word() {
        let options = judge(wish()).unwrap();
        let says = |number| refused(&std::io::Error::from_raw_os_error(number), &options).body("1");
        assert!(
            says(2).contains(r#""Code":"CAFileNotFound""#) && says(2).contains("./bootstrap is not exist")
        );
        assert!(says(13).contains(r#""Code":"CAFilePermission""#));
        assert!(
            says(8).contains(
                "exited unexpectedly(code 8, message:exec format error) with start command './bootstrap '"
            ),
            "{}",
            says(8)
        );
    }

    #[test]
    fn an_ending_is_a_number_and_words() {
        assert_eq!(ending(ExitStatus::from_raw(3 << 8)), (3, "exit status 3".to_owned()));
        assert_eq!(ending(ExitStatus::from_raw(9)), (137, "signal: killed".to_owned()));
        assert_eq!(ending(ExitStatus::from_raw(15)), (143, "signal 15".to_owned()));
    }
}
