//! System calls, made by ourselves: libc's would be the hooks again. Answers are the kernel's: below zero
//! is an error number.

use core::arch::asm;

use crate::address::UNIX;

/// Numbers of system calls.
#[cfg(target_arch = "x86_64")]
mod number {
    pub const CLOSE: usize = 3;
    pub const SOCKET: usize = 41;
    pub const CONNECT: usize = 42;
    pub const BIND: usize = 49;
    pub const LISTEN: usize = 50;
    pub const GETSOCKNAME: usize = 51;
    pub const GETPEERNAME: usize = 52;
    pub const SETSOCKOPT: usize = 54;
    pub const GETSOCKOPT: usize = 55;
    pub const FCNTL: usize = 72;
    pub const EXIT_GROUP: usize = 231;
    pub const ACCEPT4: usize = 288;
    pub const DUP3: usize = 292;
    pub const PRLIMIT64: usize = 302;
    pub const CLOSE_RANGE: usize = 436;
}

/// Numbers of system calls.
#[cfg(target_arch = "aarch64")]
mod number {
    pub const DUP3: usize = 24;
    pub const FCNTL: usize = 25;
    pub const CLOSE: usize = 57;
    pub const EXIT_GROUP: usize = 94;
    pub const SOCKET: usize = 198;
    pub const BIND: usize = 200;
    pub const LISTEN: usize = 201;
    pub const CONNECT: usize = 203;
    pub const GETSOCKNAME: usize = 204;
    pub const GETPEERNAME: usize = 205;
    pub const SETSOCKOPT: usize = 208;
    pub const GETSOCKOPT: usize = 209;
    pub const ACCEPT4: usize = 242;
    pub const PRLIMIT64: usize = 261;
    pub const CLOSE_RANGE: usize = 436;
}

pub const EINVAL: isize = 22;
pub const ENOENT: isize = 2;
pub const ENOSYS: isize = 38;
pub const ECONNREFUSED: isize = 111;

const SOCK_STREAM: usize = 1;
const F_GETFD: usize = 1;
const F_GETFL: usize = 3;
const F_SETFL: usize = 4;
const FD_CLOEXEC: isize = 1;
/// The same on both architectures.
const O_NONBLOCK: isize = 0o4000;
const O_CLOEXEC: usize = 0o200_0000;
const RLIMIT_NOFILE: usize = 7;

/// The largest address of any family (`sockaddr_storage`).
pub const ADDRESS_BYTES: usize = 128;

/// Any system call of up to five arguments.
///
/// # Safety
/// The arguments must be what the call wants; pointers among them valid for it.
unsafe fn call(number: usize, arguments: [usize; 5]) -> isize {
    let [one, two, three, four, five] = arguments;
    let answer: isize;
    // WHY: this is how the kernel is asked without libc.
    // SAFETY: the registers are those of the kernel's convention; the caller vouches for what they mean.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") one, in("rsi") two, in("rdx") three, in("r10") four, in("r8") five,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    // WHY: see above.
    // SAFETY: see above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") one => answer,
            in("x1") two, in("x2") three, in("x3") four, in("x4") five,
            options(nostack),
        );
    }
    answer
}

/// A descriptor or a flag as an argument: sign and all.
fn word(number: i32) -> usize {
    number as usize
}

/// An address that the kernel wrote.
pub struct Name {
    bytes: [u8; ADDRESS_BYTES],
    len: u32,
}

impl Name {
    /// Its bytes; the kernel may have more than fit.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..(self.len as usize).min(ADDRESS_BYTES)).unwrap_or_default()
    }

    /// Place for one.
    fn new() -> Self {
        Self { bytes: [0; ADDRESS_BYTES], len: ADDRESS_BYTES as u32 }
    }
}

/// getsockname(2).
pub fn local_name(fd: i32) -> Result<Name, isize> {
    name(number::GETSOCKNAME, fd)
}

/// getpeername(2).
pub fn peer_name(fd: i32) -> Result<Name, isize> {
    name(number::GETPEERNAME, fd)
}

fn name(which: usize, fd: i32) -> Result<Name, isize> {
    let mut name = Name::new();
    let (bytes, len) = (name.bytes.as_mut_ptr() as usize, &raw mut name.len as usize);
    // WHY: see `call`.
    // SAFETY: both pointers are to places of ours, the second says how large the first is.
    let answer = unsafe { call(which, [word(fd), bytes, len, 0, 0]) };
    if answer < 0 { Err(answer) } else { Ok(name) }
}

/// accept4(2), the peer's name into a place of ours.
pub fn accept(fd: i32, flags: i32) -> Result<(i32, Name), isize> {
    let mut name = Name::new();
    let (bytes, len) = (name.bytes.as_mut_ptr() as usize, &raw mut name.len as usize);
    // WHY: see `call`.
    // SAFETY: both pointers are to places of ours, the second says how large the first is.
    let answer = unsafe { call(number::ACCEPT4, [word(fd), bytes, len, word(flags), 0]) };
    if answer < 0 { Err(answer) } else { Ok((answer as i32, name)) }
}

/// Calls of the program that go to the kernel as they came.
///
/// # Safety
/// Pointers are the program's own; the kernel checks them.
pub mod raw {
    use super::{call, number, word};

    macro_rules! pass {
        ($($name:ident = $number:ident;)*) => { $(
            /// The system call of this name.
            ///
            /// # Safety
            /// See the module.
            pub unsafe fn $name(fd: i32, arguments: [usize; 4]) -> isize {
                let [two, three, four, five] = arguments;
                // WHY: see `call`.
                // SAFETY: the kernel checks what the program gave; so it would without us.
                unsafe { call(number::$number, [word(fd), two, three, four, five]) }
            }
        )* };
    }

    pass! {
        bind = BIND;
        connect = CONNECT;
        accept4 = ACCEPT4;
        getsockname = GETSOCKNAME;
        getpeername = GETPEERNAME;
        setsockopt = SETSOCKOPT;
        getsockopt = GETSOCKOPT;
    }
}

/// listen(2).
pub fn listen(fd: i32, backlog: i32) -> isize {
    // WHY: see `call`.
    // SAFETY: integers only.
    unsafe { call(number::LISTEN, [word(fd), word(backlog), 0, 0, 0]) }
}

/// close(2).
pub fn close(fd: i32) -> isize {
    // WHY: see `call`.
    // SAFETY: integers only; the number is the program's to close, or a socket of ours.
    unsafe { call(number::CLOSE, [word(fd), 0, 0, 0, 0]) }
}

/// close_range(2).
pub fn close_range(first: u32, last: u32, flags: i32) -> isize {
    // WHY: see `call`.
    // SAFETY: integers only; the numbers are the program's to close.
    unsafe { call(number::CLOSE_RANGE, [first as usize, last as usize, word(flags), 0, 0]) }
}

/// The highest number a descriptor may have now, and one more.
pub fn fd_limit() -> u64 {
    let mut limits = [0_u64; 2];
    // WHY: see `call`.
    // SAFETY: the pointer is to two words of ours, which is a `struct rlimit64`; nothing is set.
    let answer = unsafe { call(number::PRLIMIT64, [0, RLIMIT_NOFILE, 0, limits.as_mut_ptr() as usize, 0]) };
    // The usual default, if even this is forbidden.
    if answer < 0 { 1024 } else { limits[0] }
}

/// An option of level `SOL_SOCKET` that is an integer of four or eight bytes.
pub fn socket_option(fd: i32, option: i32) -> Option<u64> {
    let (mut value, mut len) = (0_u64, 8_u32);
    let (bytes, size) = (&raw mut value as usize, &raw mut len as usize);
    // WHY: see `call`.
    // SAFETY: both pointers are to places of ours, the second says how large the first is. Both
    // architectures are little-endian, so that four bytes of eight are the same number.
    let answer = unsafe { call(number::GETSOCKOPT, [word(fd), 1, word(option), bytes, size]) };
    (answer >= 0).then_some(value)
}

/// Puts `from` in the place of `fd`, which keeps its flags: waiting or not, lost in an exec or not.
pub fn replace(fd: i32, from: i32) -> isize {
    let (status, flags) = (control(fd, F_GETFL, 0), control(fd, F_GETFD, 0));
    if status < 0 || flags < 0 {
        return status.min(flags);
    }
    let cloexec = if flags & FD_CLOEXEC == 0 { 0 } else { O_CLOEXEC };
    // WHY: see `call`.
    // SAFETY: integers only; the program asked for its descriptor to become another thing.
    let answer = unsafe { call(number::DUP3, [word(from), word(fd), cloexec, 0, 0]) };
    if answer < 0 {
        return answer;
    }
    let now = control(fd, F_GETFL, 0);
    let wanted = (now & !O_NONBLOCK) | (status & O_NONBLOCK);
    if wanted == now { 0 } else { control(fd, F_SETFL, wanted as usize).min(0) }
}

fn control(fd: i32, what: usize, argument: usize) -> isize {
    // WHY: see `call`.
    // SAFETY: integers only: the three requests of this file take no pointer.
    unsafe { call(number::FCNTL, [word(fd), what, argument, 0, 0]) }
}

/// A new Unix socket that is connected to `path`, like `fd` waiting or not.
pub fn connected(fd: i32, path: &[u8]) -> Result<i32, isize> {
    let status = control(fd, F_GETFL, 0);
    if status < 0 {
        return Err(status);
    }
    let kind = SOCK_STREAM | O_CLOEXEC | (status & O_NONBLOCK) as usize;
    // WHY: see `call`.
    // SAFETY: integers only.
    let socket = unsafe { call(number::SOCKET, [usize::from(UNIX), kind, 0, 0, 0]) };
    if socket < 0 {
        return Err(socket);
    }
    let mut address = [0_u8; ADDRESS_BYTES];
    let family = UNIX.to_ne_bytes();
    for (to, from) in address.iter_mut().zip(family.iter().chain(path)) {
        *to = *from;
    }
    // Two bytes of family, one of NUL.
    let len = path.len() + 3;
    let bytes = address.as_ptr() as usize;
    // WHY: see `call`.
    // SAFETY: the pointer is to bytes of ours, of which `len` are read: a path has at most 107.
    let answer = unsafe { call(number::CONNECT, [socket as usize, bytes, len, 0, 0]) };
    if answer < 0 {
        close(socket as i32);
        return Err(answer);
    }
    Ok(socket as i32)
}

/// Ends the process.
pub fn exit(code: i32) -> ! {
    loop {
        // WHY: see `call`.
        // SAFETY: integers only; it does not return.
        unsafe { call(number::EXIT_GROUP, [word(code), 0, 0, 0, 0]) };
    }
}
