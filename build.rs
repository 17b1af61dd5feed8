//! Builds the shim (`shim/`, `docs/shim.md`), which the program carries inside of itself.
//!
//! The compiler is called directly: a package of its own would be left out of `cargo package`, and a dependency
//! on a cdylib cannot be had on stable. It takes the linker that Rust needs for warmfront anyway and no C
//! compiler of its own. The flags do not follow the profile: without optimisation the library would want a
//! symbol of unwinding that no host has.
//!
//! Where the shim does not exist (not Linux, another processor, Miri, or `WARMFRONT_NO_SHIM=1`), `cfg(warmfront_shim)`
//! is not set and warmfront says so when somebody asks for it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::{env, fmt};

/// Flags of the compiler; `tests/it/shim.rs` holds Clippy to the same.
const FLAGS: &str = include_str!("shim/flags");

fn main() -> ExitCode {
    say(format_args!("rerun-if-changed=build.rs"));
    say(format_args!("rerun-if-changed=shim"));
    say(format_args!("rerun-if-env-changed=WARMFRONT_NO_SHIM"));
    say(format_args!("rustc-check-cfg=cfg(warmfront_shim)"));
    if !is_wanted() {
        return ExitCode::SUCCESS;
    }
    match build() {
        Ok(()) => {
            say(format_args!("rustc-cfg=warmfront_shim"));
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!(
                "The shim (shim/) was not built: {why}.\n\
                 Programs that bind a fixed port are adopted with it (docs/shim.md).\n\
                 Correct what is said above, or build warmfront without it: WARMFRONT_NO_SHIM=1."
            );
            ExitCode::FAILURE
        }
    }
}

/// Tells cargo.
#[allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
fn say(what: fmt::Arguments<'_>) {
    println!("cargo:{what}");
}

fn is_wanted() -> bool {
    let is = |name: &str, values: &[&str]| env::var(name).is_ok_and(|value| values.contains(&value.as_str()));
    if is("WARMFRONT_NO_SHIM", &["1"]) {
        say(format_args!("warning=built without the shim: WARMFRONT_NO_SHIM=1"));
        return false;
    }
    is("CARGO_CFG_TARGET_OS", &["linux"])
        && is("CARGO_CFG_TARGET_ARCH", &["x86_64", "aarch64"])
        // Of x86_64 there is one with pointers of 32 bits.
        && is("CARGO_CFG_TARGET_POINTER_WIDTH", &["64"])
        && env::var_os("CARGO_CFG_MIRI").is_none()
}

fn build() -> Result<(), String> {
    let variable = |name: &str| env::var_os(name).ok_or_else(|| format!("cargo did not set {name}"));
    let source = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("shim");
    let target = variable("TARGET")?;
    let mut compiler = Command::new(variable("RUSTC")?);
    compiler.args(FLAGS.split_ascii_whitespace()).arg("--target").arg(&target);
    if let Some(linker) = linker(&target.to_string_lossy()) {
        let mut flag = OsString::from("linker=");
        flag.push(linker);
        compiler.arg("-C").arg(flag);
    }
    if env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl") {
        // A library that is loaded by others is no static program.
        compiler.args(["-C", "target-feature=-crt-static"]);
    }
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "aarch64") {
        // Atomics in place, not by a function of a runtime that is not there.
        compiler.args(["-C", "target-feature=-outline-atomics"]);
    }
    // The same bytes wherever it is built.
    let mut prefix = source.clone().into_os_string();
    prefix.push("=shim");
    compiler.arg("--remap-path-prefix").arg(prefix);
    compiler.arg("-o").arg(PathBuf::from(variable("OUT_DIR")?).join("warmfront-shim.so"));
    compiler.arg(source.join("lib.rs"));
    // What somebody set for the whole build is about warmfront.
    compiler.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    match compiler.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the compiler ended with {status}")),
        Err(error) => Err(format!("the compiler could not be started: {error}")),
    }
}

/// The linker that cargo was told for this target: `RUSTC_LINKER` of its configuration and of
/// `CARGO_TARGET_<T>_LINKER`, or `-C linker=` of the flags.
fn linker(target: &str) -> Option<OsString> {
    let name = format!("CARGO_TARGET_{}_LINKER", target.replace(['-', '.'], "_").to_uppercase());
    say(format_args!("rerun-if-env-changed={name}"));
    if let Some(linker) = env::var_os("RUSTC_LINKER").or_else(|| env::var_os(name)) {
        return Some(linker);
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").ok()?;
    let words = flags.split('\x1f').map(|word| word.strip_prefix("-C").unwrap_or(word));
    words.filter_map(|word| word.strip_prefix("linker=")).next_back().map(OsString::from)
}
