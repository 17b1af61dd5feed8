//! What an executable file says of how it is started: its `#!` line, or the headers of ELF (System V ABI, chapters 4
//! and 5).

use std::fs::File;
use std::os::unix::fs::FileExt;

/// The kernel reads as much of a `#!` line.
pub(super) const LINE_BYTES: usize = 256;
/// Far more than any linker writes.
const TABLE_BYTES_MAX: usize = 1 << 20;
const HEAD_BYTES: usize = 64;
const SEGMENT_BYTES: usize = 56;
const SECTION_BYTES: usize = 64;
/// Kinds of segments (`p_type`).
const PT_INTERP: u64 = 3;
const PT_NOTE: u64 = 4;

/// What stands behind `#!` in a file that begins with `head`, without the end of the line; `None` if nothing does.
pub(super) fn script_line(head: &[u8]) -> Option<&[u8]> {
    head.strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()
}

/// The words of such a line.
pub(super) fn script_words(head: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    Some(script_line(head)?.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()))
}

/// An ELF file. What it lacks, or has of another class than 64 bits, little-endian, is empty here.
pub(super) struct Elf<'a> {
    file: &'a File,
    head: Vec<u8>,
    segments: Vec<u8>,
    sections: Vec<u8>,
}

impl<'a> Elf<'a> {
    /// `None` if `file` is none.
    pub(super) fn of(file: &'a File) -> Option<Self> {
        let head = read(file, 0, HEAD_BYTES);
        if !head.starts_with(b"\x7fELF") {
            return None;
        }
        let is_known = head.get(4..6) == Some(&[2, 1]);
        let table = |offset_at, size_at, size: usize| {
            let (offset, count) = (number(&head, offset_at, 8), number(&head, size_at + 2, 2));
            let is_usual = is_known && number(&head, size_at, 2) == size as u64;
            if is_usual { read(file, offset, size * usize::try_from(count).unwrap_or(0)) } else { Vec::new() }
        };
        let (segments, sections) = (table(32, 54, SEGMENT_BYTES), table(40, 58, SECTION_BYTES));
        Some(Self { file, head, segments, sections })
    }

    /// Whether it is of our machine, all of 64 bits.
    pub(super) fn is_ours(&self) -> bool {
        self.head.get(4) == Some(&2) && self.machine() == std::env::consts::ARCH
    }

    /// The machine that it is for, in the words of [`std::env::consts::ARCH`].
    pub(super) fn machine(&self) -> String {
        if self.head.get(5) != Some(&1) {
            return "a big-endian machine".to_owned();
        }
        // e_machine of its registry.
        match number(&self.head, 18, 2) {
            62 => "x86_64".to_owned(),
            183 => "aarch64".to_owned(),
            3 => "x86".to_owned(),
            40 => "arm".to_owned(),
            243 => "riscv64".to_owned(),
            258 => "loongarch64".to_owned(),
            other => format!("machine number {other}"),
        }
    }

    /// The dynamic loader that it asks for.
    pub(super) fn loader(&self) -> Option<String> {
        let name = self.segments_of(PT_INTERP).next()?;
        Some(String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned())
    }

    /// Whether Go's linker made it: by a note of its own, or by a section that a stripped file keeps too.
    pub(super) fn is_go(&self) -> bool {
        // Behind three numbers comes the owner's name.
        let has_note = self.segments_of(PT_NOTE).any(|note| note.get(12..16) == Some(b"Go\0\0"));
        let names_at = usize::try_from(number(&self.head, 62, 2)).ok();
        let names = names_at.and_then(|index| self.sections.chunks_exact(SECTION_BYTES).nth(index));
        let names = names.map(|section| self.part(number(section, 24, 8), number(section, 32, 8)));
        has_note
            || names.is_some_and(|names| names.split(|&byte| byte == 0).any(|name| name == b".go.buildinfo"))
    }

    fn segments_of(&self, kind: u64) -> impl Iterator<Item = Vec<u8>> {
        let segments = self.segments.chunks_exact(SEGMENT_BYTES);
        segments
            .filter(move |segment| number(segment, 0, 4) == kind)
            .map(|segment| self.part(number(segment, 8, 8), number(segment, 32, 8)))
    }

    fn part(&self, offset: u64, len: u64) -> Vec<u8> {
        read(self.file, offset, usize::try_from(len).unwrap_or(usize::MAX))
    }
}

/// A little-endian number of up to eight bytes; 0 where there is none.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    let bytes = bytes.get(at..at + len).unwrap_or_default();
    bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// What the file has there, at most `len` bytes.
pub(super) fn read(file: &File, offset: u64, len: usize) -> Vec<u8> {
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
