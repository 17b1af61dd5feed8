//! How a worker ended, in one line: the platform shows only the end of the log.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Longest line from the last lines a worker wrote.
const LAST_WORDS_BYTES: usize = 1 << 10;

/// How it ended, without the worker's name: `exited with code 3` or `was ended by signal 9 (KILL)`.
pub fn status_text(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => {
            let core = if status.core_dumped() { ", core dumped" } else { "" };
            format!("was ended by signal {signal}{}{core}", signal_name(signal))
        }
        (None, None) => status.to_string(),
    }
}

/// How it ended, what that probably means, and the last lines it wrote; one line.
///
/// `fc_port` is the port that is ours, not the worker's.
pub fn summary(status: ExitStatus, last_lines: &[String], fc_port: u16) -> String {
    let words = last_words(last_lines);
    let hint = hint(status, &words, fc_port);
    told(status, hint.as_deref(), &words)
}

/// The same of a process that serves nothing by our knowledge.
pub fn process_summary(status: ExitStatus, last_lines: &[String]) -> String {
    let hint = match (status.code(), status.signal()) {
        (Some(0), _) => Some("it should keep running; does it go into the background?"),
        (_, Some(9)) => Some("not by us; the system does this when memory runs out"),
        _ => None,
    };
    told(status, hint, &last_words(last_lines))
}

fn told(status: ExitStatus, hint: Option<&str>, words: &str) -> String {
    let mut text = status_text(status);
    if let Some(hint) = hint {
        text.push_str(&format!(" ({hint})"));
    }
    if !words.is_empty() {
        text.push_str(": ");
        text.push_str(words);
    }
    text
}

/// Whether it says that it could not bind an address because somebody has it.
pub fn is_about_a_taken_address(last_lines: &[String]) -> bool {
    last_lines.iter().any(|line| says_taken(&line.to_ascii_lowercase()))
}

/// As the C library, Node and the JVM put it.
fn says_taken(lower: &str) -> bool {
    ["eaddrinuse", "address already in use", "address in use"].iter().any(|words| lower.contains(words))
}

fn hint(status: ExitStatus, words: &str, fc_port: u16) -> Option<String> {
    let lower = words.to_ascii_lowercase();
    if says_taken(&lower) {
        // Node names the port, Python does not.
        let whose = match lower.contains("eaddrinuse") && !lower.contains(&fc_port.to_string()) {
            true => "perhaps by another worker of the pool: each needs its own".to_owned(),
            false => format!("most likely port {fc_port}, which is ours"),
        };
        return Some(format!("it binds an address that is taken, {whose}; let it read PORT"));
    }
    if status.signal() == Some(9) {
        return Some("not by us; the system does this when memory runs out".to_owned());
    }
    match status.code()? {
        0 => Some("a worker should keep serving; does it run in the background?".to_owned()),
        126 => Some("its script names a command that may not be executed".to_owned()),
        127 if lower.contains("\\r") || words.contains('\r') => {
            Some("its first line ends in CR LF, Windows line ends".to_owned())
        }
        127 => Some("its script names a command that was not found".to_owned()),
        code @ 129..=192 => Some(format!("a child of it was ended by signal {}", code - 128)),
        _ => None,
    }
}

/// The lines joined, the newest kept if they are too long; control characters become spaces.
fn last_words(lines: &[String]) -> String {
    let said: Vec<_> = lines.iter().map(|line| line.trim()).filter(|line| says_something(line)).collect();
    let joined = said.join(" | ");
    let mut text: String = joined.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.len() > LAST_WORDS_BYTES {
        let mut cut = text.len() - LAST_WORDS_BYTES;
        while !text.is_char_boundary(cut) {
            cut += 1;
        }
        text.replace_range(..cut, "…");
    }
    text
}

/// Whether a line helps a reader who has only one: frames of a stack and lone brackets do not.
fn says_something(line: &str) -> bool {
    !line.starts_with("at ") && line.chars().any(char::is_alphanumeric)
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (HUP)",
        2 => " (INT)",
        3 => " (QUIT)",
        4 => " (ILL)",
        6 => " (ABRT)",
        7 => " (BUS)",
        8 => " (FPE)",
        9 => " (KILL)",
        11 => " (SEGV)",
        13 => " (PIPE)",
        14 => " (ALRM)",
        15 => " (TERM)",
        31 => " (SYS)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn an_exit_names_its_code_and_the_last_lines() {
        let text = summary(code(3), &lines(&["Traceback:", "  ValueError: x\u{1b}[0m"]), 9000);
        assert_eq!(text, "exited with code 3: Traceback: | ValueError: x [0m");
        assert!(!text.contains('\n'));
    }

    #[test]
    fn a_signal_is_named() {
        assert_eq!(status_text(ExitStatus::from_raw(11)), "was ended by signal 11 (SEGV)");
        assert!(summary(ExitStatus::from_raw(9), &[], 9000).contains("memory"));
    }

    #[test]
    fn a_taken_address_points_at_our_port() {
        for text in ["Error: listen EADDRINUSE :::9000", "OSError: [Errno 98] Address already in use"] {
            let text = summary(code(1), &lines(&[text]), 9000);
            assert!(text.contains("port 9000, which is ours; let it read PORT"), "{text}");
        }
        let text = summary(code(1), &lines(&["Error: listen EADDRINUSE :::3000"]), 9000);
        assert!(text.contains("another worker"), "{text}");
    }

    #[test]
    fn stack_frames_do_not_bury_the_message() {
        let said = ["^", "Error: no config", "    at Module._compile (node:internal)", "}", "Node.js v20"];
        assert_eq!(summary(code(1), &lines(&said), 1), "exited with code 1: Error: no config | Node.js v20");
    }

    #[test]
    fn codes_of_shells_and_env_are_translated() {
        assert!(summary(code(127), &lines(&["sh: nod: not found"]), 1).contains("was not found"));
        assert!(summary(code(127), &lines(&["env: 'python3\\r': No such file"]), 1).contains("CR LF"));
        assert!(summary(code(137), &[], 1).contains("signal 9"));
        assert!(summary(code(0), &[], 1).contains("background"));
    }

    #[test]
    fn endless_last_words_keep_their_end() {
        let text = summary(code(1), &lines(&[&"ä".repeat(4000), "the cause"]), 1);
        assert!(text.len() < LAST_WORDS_BYTES + 100 && text.ends_with("the cause"));
    }
}
