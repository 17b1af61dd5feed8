//! Whether a preloaded library reaches the program that will really run.
//!
//! Follows what the kernel would: PATH, `#!` lines, `env` in them. What a script starts later is not foreseen: a
//! shell is dynamic, whatever it runs.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::diagnose::exec::find_program;
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
/// The kernel reads as much of a `#!` line.
const LINE_BYTES: usize = 256;
/// Far more than any linker writes.
const TABLE_BYTES_MAX: usize = 1 << 20;

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
    let line = head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
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
    let head = read(file, 0, 64);
    if !head.starts_with(b"\x7fELF") {
        return Linkage::Unknown;
    }
    match Elf::new(file, &head) {
        None => Linkage::Foreign,
        Some(elf) if elf.is_go() => Linkage::Go,
        Some(elf) if elf.has_loader() => Linkage::Dynamic,
        Some(_) => Linkage::Static,
    }
}

/// A 64-bit ELF file of our machine and its tables (System V ABI, chapters 4 and 5).
struct Elf<'a> {
    file: &'a File,
    programs: Vec<u8>,
    sections: Vec<u8>,
    /// Which section has the names of all.
    names: usize,
}

const PROGRAM_BYTES: usize = 56;
const SECTION_BYTES: usize = 64;

impl<'a> Elf<'a> {
    /// `None` for another class, byte order or machine, and for tables of a size that nobody writes.
    fn new(file: &'a File, head: &[u8]) -> Option<Self> {
        // e_machine of its registry.
        let ours = match std::env::consts::ARCH {
            "x86_64" => 62,
            "aarch64" => 183,
            _ => return None,
        };
        if head.get(4..6) != Some(&[2, 1]) || number(head, 18, 2) != ours {
            return None;
        }
        let table = |offset_at, size_at, size: usize| {
            let (offset, count) = (number(head, offset_at, 8), number(head, size_at + 2, 2));
            let is_usual = number(head, size_at, 2) == size as u64;
            if is_usual { read(file, offset, size * usize::try_from(count).unwrap_or(0)) } else { Vec::new() }
        };
        let names = usize::try_from(number(head, 62, 2)).ok()?;
        Some(Self {
            file,
            programs: table(32, 54, PROGRAM_BYTES),
            sections: table(40, 58, SECTION_BYTES),
            names,
        })
    }

    /// Whether it has a segment PT_INTERP.
    fn has_loader(&self) -> bool {
        self.programs.chunks_exact(PROGRAM_BYTES).any(|segment| number(segment, 0, 4) == 3)
    }

    /// Whether Go's linker made it: by a note of its own, or by a section that a stripped file keeps too.
    fn is_go(&self) -> bool {
        let has_note = self.programs.chunks_exact(PROGRAM_BYTES).any(|segment| {
            let is_note = number(segment, 0, 4) == 4;
            // Behind three numbers comes the owner's name.
            is_note && read(self.file, number(segment, 8, 8) + 12, 4) == b"Go\0\0"
        });
        let section = self.sections.chunks_exact(SECTION_BYTES).nth(self.names);
        let names = section.map(|section| self.bytes(number(section, 24, 8), number(section, 32, 8)));
        has_note
            || names.is_some_and(|names| names.split(|&byte| byte == 0).any(|name| name == b".go.buildinfo"))
    }

    fn bytes(&self, offset: u64, len: u64) -> Vec<u8> {
        read(self.file, offset, usize::try_from(len).unwrap_or(usize::MAX))
    }
}

/// A little-endian number of up to eight bytes; 0 where there is none.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.get(at..at + len).unwrap_or_default();
    bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// What the file has there, at most `len` bytes.
fn read(file: &File, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len.min(TABLE_BYTES_MAX)];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) | Err(_) => break,
            Ok(count) => filled += count,
        }
    }
    bytes.truncate(filled);
    bytes
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
