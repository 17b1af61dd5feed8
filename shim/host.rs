//! What is asked of the host's libc: where `errno` is, and where the environment is.
//!
//! Both symbols are weak and read through the global offset table, where the loader has left an address or
//! null. Written in assembly, because the language takes a function's address for never null.

use core::arch::asm;
use core::ffi::c_char;

macro_rules! address_of {
    ($symbol:literal) => {{
        let address: usize;
        // WHY: the language has no weak imports.
        // SAFETY: reads one word of our own table, which the loader filled before any code of ours ran.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            asm!(
                concat!(".weak ", $symbol),
                concat!("mov {}, qword ptr [rip + ", $symbol, "@GOTPCREL]"),
                out(reg) address,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        // WHY: see above.
        // SAFETY: see above.
        #[cfg(target_arch = "aarch64")]
        unsafe {
            asm!(
                concat!(".weak ", $symbol),
                concat!("adrp {0}, :got:", $symbol),
                concat!("ldr {0}, [{0}, :got_lo12:", $symbol, "]"),
                out(reg) address,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        address
    }};
}

/// The strings of the environment, ended by null; null before libc has begun.
pub fn environment() -> *const *const c_char {
    let variable = address_of!("environ") as *const *const *const c_char;
    if variable.is_null() {
        return core::ptr::null();
    }
    // WHY: `environ` is a variable of libc.
    // SAFETY: not null, so it is where libc keeps that one pointer.
    unsafe { variable.read_volatile() }
}

/// Sets `errno` of the calling thread.
pub fn set_errno(errno: i32) {
    let function = address_of!("__errno_location");
    if function == 0 {
        return;
    }
    // WHY: `errno` is a variable of each thread, and only libc knows where.
    // SAFETY: glibc and musl both define this function so; it is not null.
    let location = unsafe { core::mem::transmute::<usize, extern "C" fn() -> *mut i32>(function) };
    // WHY: see above.
    // SAFETY: the function returns a valid place for the life of the thread.
    unsafe { location().write(errno) };
}
