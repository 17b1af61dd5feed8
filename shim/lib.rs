//! The shim: what a program's own libc calls meet first when warmfront preloads it (`docs/shim.md`).
//!
//! A program that binds the port of the platform gets a Unix listener that warmfront bound for it instead,
//! and sees a TCP socket. One file serves glibc and musl: it needs no library, makes its system calls itself
//! and asks the host's libc for two weak symbols. Top to bottom: [`hooks`] is what the program calls,
//! [`identity`] says which descriptor is ours, [`address`] and [`options`] are what the program is told of it,
//! [`settings`] is what warmfront told us, [`kernel`] the system calls, [`host`] the symbols of libc.
//!
//! It runs inside of somebody else's program: nothing here allocates, prints, panics or starts a thread.
#![no_std]

mod address;
mod hooks;
mod host;
mod identity;
mod kernel;
mod options;
mod settings;

/// Nothing here panics; a compiler that disagrees ends the program, not its honesty.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    kernel::exit(134)
}
