//! Whether a preloaded library reaches the program that will really run.
//!
//! Follows what the kernel would: PATH, `#!` lines, `env` in them. What a script starts later is not foreseen: a
//! shell is dynamic, whatever it runs.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::diagnose::exec::find_program;
use super::executable::{Elf, LINE_BYTES, read, script_words};
use crate::sys;

/// What runs in the end, and whether LD_PRELOAD means something to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The program, behind all scripts.
    pub program: PathBuf,
    /// How it was linked.
    pub linkage: Linkage,
}

/// How a program was linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linkage {
    /// It asks for a loader, which preloads.
    Dynamic,
    /// It has no loader.
    Static,
    /// Go, which makes its system calls itself, with a loader or without.
    Go,
    /// It gains privileges (setuid, setgid, capabilities), so that its loader ignores the variable.
    Privileged,
    /// Of another kind of machine than ours, 32 bits among them.
    Foreign,
    /// It was not found, or could not be read, or is no program: starting it will say why.
    Unknown,
}

/// The kernel follows as many scripts.
const SCRIPTS_MAX: usize = 5;
/// Looks for what `argv` runs, with this PATH, started in `cwd` (ours if `None`).
pub fn reach(argv: &[OsString], path: Option<&OsStr>, cwd: Option<&Path>) -> Reach {
    let mut word = argv.first().cloned().unwrap_or_default();
    for _ in 0..=SCRIPTS_MAX {
        let Ok(found) = find_program(&word, cwd, path) else { break };
        let program = cwd.map_or_else(|| found.clone(), |cwd| cwd.join(&found));
        let Ok(file) = File::open(&program) else { break };
        match interpreter(&read(&file, 0, LINE_BYTES)) {
            Some(next) => word = next,
            None => {
                let linkage = linkage(&file, &program);
                return Reach { program, linkage };
            }
        }
    }
    Reach { program: PathBuf::from(word), linkage: Linkage::Unknown }
}

/// What a `#!` line runs: the program that it names, or the one that it has `env` find.
fn interpreter(head: &[u8]) -> Option<OsString> {
    let mut words = script_words(head)?;
    let first = words.next()?;
    let named = if first.ends_with(b"/env") {
        // Options (-S, -i) and assignments stand in front of the name.
        words.find(|word| !word.starts_with(b"-") && !word.contains(&b'='))?
    } else {
        first
    };
    Some(OsString::from_vec(named.to_vec()))
}

fn linkage(file: &File, program: &Path) -> Linkage {
    if sys::gains_privileges(program).unwrap_or(false) {
        return Linkage::Privileged;
    }
    match Elf::of(file) {
        None => Linkage::Unknown,
        Some(elf) if !elf.is_ours() => Linkage::Foreign,
        Some(elf) if elf.is_go() => Linkage::Go,
        Some(elf) if elf.loader().is_some() => Linkage::Dynamic,
        Some(_) => Linkage::Static,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn of(words: &[&str], cwd: Option<&Path>) -> Reach {
        let argv: Vec<_> = words.iter().map(OsString::from).collect();
        reach(&argv, std::env::var_os("PATH").as_deref(), cwd)
    }

    fn script(dir: &Path, name: &str, text: &str) {
        fs::write(dir.join(name), text).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_program_with_a_loader_is_reached() {
        let reach = of(&["sh", "-c", "exit"], None);
        assert_eq!(reach.linkage, Linkage::Dynamic);
        assert!(reach.program.ends_with("sh"), "{reach:?}");
    }

    #[test]
    fn a_script_is_what_interprets_it_however_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        script(dir.path(), "one", "#!/bin/sh -e\n");
        script(dir.path(), "two", "#!/usr/bin/env -S A=b sh -e\n");
        script(dir.path(), "three", &format!("#! {}/two\n", dir.path().display()));
        for name in ["./one", "./two", "./three"] {
            let reach = of(&[name], Some(dir.path()));
            assert!(reach.program.ends_with("sh"), "{name}: {reach:?}");
            assert_eq!(reach.linkage, Linkage::Dynamic, "{name}");
        }
    }

    #[test]
    fn what_does_not_exist_or_never_ends_is_unknown() {
        let dir = tempfile::tempdir().unwrap();
        script(dir.path(), "loop", &format!("#!{}/loop\n", dir.path().display()));
        script(dir.path(), "text", "echo\n");
        for name in ["./loop", "./text", "./none"] {
            assert_eq!(of(&[name], Some(dir.path())).linkage, Linkage::Unknown, "{name}");
        }
        assert_eq!(of(&[], None).linkage, Linkage::Unknown);
    }

    #[test]
    fn another_machine_is_foreign_and_no_loader_is_static() {
        let dir = tempfile::tempdir().unwrap();
        let mut head = fs::read("/proc/self/exe").unwrap()[..64].to_vec();
        // No tables at all: nothing asks for a loader.
        head[54..64].fill(0);
        fs::write(dir.path().join("bare"), &head).unwrap();
        head[18] ^= 1;
        fs::write(dir.path().join("other"), &head).unwrap();
        for (name, linkage) in [("bare", Linkage::Static), ("other", Linkage::Foreign)] {
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o755)).unwrap();
            let reach = of(&[&format!("./{name}")], Some(dir.path()));
            assert_eq!(reach.linkage, linkage, "{name}");
        }
    }
}
