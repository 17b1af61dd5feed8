//! The library itself: what it needs, what it offers, and how its source is written.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Room;

/// Functions that compilers call on their own; every libc has them.
const OF_EVERY_LIBC: [&str; 6] = ["bcmp", "memcmp", "memcpy", "memmove", "memset", "strlen"];

const HOOKS: [&str; 12] = [
    "accept",
    "accept4",
    "bind",
    "close",
    "close_range",
    "closefrom",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "setsockopt",
];

fn said(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(file).output().expect("binutils");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_library_needs_no_other_and_only_what_every_libc_has() {
    let room = Room::new();
    let dynamic = said("readelf", &["-d"], room.shim.library());
    assert!(dynamic.contains("BIND_NOW") && !dynamic.contains("NEEDED"), "{dynamic}");
    assert!(
        dynamic.contains("(HASH)") && dynamic.contains("(GNU_HASH)"),
        "for loaders of any age: {dynamic}"
    );
    let symbols = said("nm", &["-D"], room.shim.library());
    let (mut offered, mut weak) = (Vec::new(), Vec::new());
    for line in symbols.lines() {
        match line.split_ascii_whitespace().collect::<Vec<_>>()[..] {
            [_, "T", name] => offered.push(name),
            ["w", name] => weak.push(name),
            ["U", name] => assert!(OF_EVERY_LIBC.contains(&name), "{name} is asked for"),
            _ => panic!("{line}"),
        }
    }
    assert_eq!(offered, HOOKS, "and nothing else, which would stand in front of the program's own");
    assert_eq!(weak, ["__errno_location", "environ"]);
}

#[test]
fn its_source_is_formatted_and_clippy_has_nothing_to_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = root.join("shim/lib.rs");
    let format = Command::new("rustfmt")
        .args(["--check", "--edition", "2024", "--config-path"])
        .args([root, &source])
        .output()
        .unwrap();
    assert!(format.status.success(), "{}", String::from_utf8_lossy(&format.stdout));
    let out = tempfile::tempdir().unwrap();
    let flags = fs::read_to_string(root.join("shim/flags")).unwrap();
    let lint = Command::new("clippy-driver")
        .args(flags.split_ascii_whitespace())
        .args(["--emit=metadata", "-Dwarnings", "-Dclippy::all", "-Dclippy::unwrap_used", "-o"])
        .arg(out.path().join("shim.rmeta"))
        .arg(&source)
        .output()
        .unwrap();
    assert!(lint.status.success(), "{}", String::from_utf8_lossy(&lint.stderr));
}
