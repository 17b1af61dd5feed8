//! The calls of libc that the program makes and we answer, each with the kernel's answer where it is not ours.
//!
//! A call that has nothing to do with the listener goes to the kernel as it came. None of them is a
//! cancellation point (`pthread_cancel`), unlike libc's.

use core::ffi::{c_int, c_uint};

use crate::address::{self, Kind, Told, UNIX};
use crate::identity::{self, End, Origin};
use crate::kernel::{self, raw};
use crate::settings::Settings;
use crate::{host, options};

/// A Unix socket refuses at once what finds its backlog full, where TCP would ask again.
const BACKLOG: c_int = 4096;

const SOCK_STREAM: u64 = 1;
const IPPROTO_TCP: u64 = 6;
const IPPROTO_MPTCP: u64 = 262;
const SO_TYPE: c_int = 3;
const CLOSE_RANGE_CLOEXEC: c_int = 4;

// WHY: what the program sets in its environment later is not meant for us, and what it overwrites there
// (`setproctitle`) must not be read; so it is read as early as may be. musl gives a constructor no arguments.
// SAFETY: the loader calls what stands in this section as a function without a result.
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;

extern "C" fn at_start() {
    identity::settings();
}

/// The kernel's answer as libc gives it.
fn answer(result: isize) -> c_int {
    if result < 0 {
        host::set_errno(-result as i32);
        return -1;
    }
    result as c_int
}

/// The program's own bytes; none for a null pointer.
///
/// # Safety
/// What is not null must be valid for `len` bytes, as the call it came with demands.
unsafe fn theirs<'a>(address: *const u8, len: u32) -> &'a [u8] {
    if address.is_null() || len as usize > kernel::ADDRESS_BYTES {
        return &[];
    }
    // WHY: the kernel reads it the same way.
    // SAFETY: the caller's promise.
    unsafe { core::slice::from_raw_parts(address, len as usize) }
}

/// Writes `bytes` where the program wants an address: as much as fits, with the full length, like the kernel.
///
/// # Safety
/// What is not null must be valid, as the call it came with demands.
unsafe fn give(bytes: &[u8], address: *mut u8, len: *mut u32) {
    if address.is_null() || len.is_null() {
        return;
    }
    // WHY: the length goes both ways.
    // SAFETY: not null; the caller's promise.
    let room = unsafe { len.read() } as usize;
    // WHY: the kernel writes it the same way.
    // SAFETY: the caller's promise covers `room` bytes; ours do not overlap the program's.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), address, bytes.len().min(room)) };
    // WHY: see above.
    // SAFETY: see above.
    unsafe { len.write(bytes.len() as u32) };
}

/// Whether the place for an address is one that the kernel would fill.
///
/// # Safety
/// A length that is not null must be valid.
unsafe fn is_place(address: *mut u8, len: *mut u32) -> bool {
    // WHY: a negative length is an error, which the kernel shall tell.
    // SAFETY: not null; the caller's promise.
    !address.is_null() && !len.is_null() && unsafe { len.read() } <= i32::MAX as u32
}

/// Whether `fd` is a TCP socket.
fn is_tcp(fd: c_int) -> bool {
    let family = kernel::socket_option(fd, options::SO_DOMAIN);
    let protocol = kernel::socket_option(fd, options::SO_PROTOCOL);
    kernel::socket_option(fd, SO_TYPE) == Some(SOCK_STREAM)
        && (family == Some(address::INET.into()) || family == Some(address::INET6.into()))
        && (protocol == Some(IPPROTO_TCP) || protocol == Some(IPPROTO_MPTCP))
}

/// bind(2): a told port means the inherited listener.
///
/// # Safety
/// See bind(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bind(fd: c_int, address: *const u8, len: u32) -> c_int {
    // WHY: the program's pointer.
    // SAFETY: the caller's promise.
    let theirs = unsafe { theirs(address, len) };
    if let Some(settings) = identity::settings()
        && let Some(wanted) = address::wanted(theirs)
        && let Some(place) = settings.place_of(wanted.port)
        && is_tcp(fd)
        && identity::is_inherited(settings, settings.listener)
    {
        let result = kernel::replace(fd, settings.listener);
        let origin = Origin { kind: wanted.kind, place };
        identity::remember(fd, origin);
        identity::guess(origin);
        return answer(result);
    }
    // WHY: none of ours.
    // SAFETY: the program's arguments.
    answer(unsafe { raw::bind(fd, [address as usize, len as usize, 0, 0]) })
}

/// listen(2): room for everybody who comes at once.
#[unsafe(no_mangle)]
pub extern "C" fn listen(fd: c_int, backlog: c_int) -> c_int {
    let is_ours = identity::settings().is_some_and(|settings| identity::has_our_name(settings, fd));
    answer(kernel::listen(fd, if is_ours { backlog.max(BACKLOG) } else { backlog }))
}

/// accept(2).
///
/// # Safety
/// See accept(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept(fd: c_int, address: *mut u8, len: *mut u32) -> c_int {
    // WHY: it is the same call without flags.
    // SAFETY: the caller's promise.
    unsafe { accept4(fd, address, len, 0) }
}

/// accept4(2): the peer of a connection of ours is at 127.0.0.1 (or in IPv6) on a port that is its own.
///
/// # Safety
/// See accept4(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept4(fd: c_int, address: *mut u8, len: *mut u32, flags: c_int) -> c_int {
    // WHY: what the program got wrong is the kernel's to say; without settings nothing is ours.
    // SAFETY: the caller's promise.
    let is_odd = !address.is_null() && !unsafe { is_place(address, len) };
    let settings = match identity::settings() {
        Some(settings) if !is_odd => settings,
        _ => {
            // WHY: none of ours.
            // SAFETY: the program's arguments.
            return answer(unsafe { raw::accept4(fd, [address as usize, len as usize, flags as usize, 0]) });
        }
    };
    let (new, name) = match kernel::accept(fd, flags) {
        Ok(accepted) => accepted,
        Err(error) => return answer(error),
    };
    let is_unix = address::family(name.bytes()) == Some(UNIX);
    if is_unix && identity::has_our_name(settings, new) {
        let origin = identity::origin(fd);
        identity::remember(new, origin);
        if !address.is_null() {
            let told = Told::connection(origin.kind, peer_port(new));
            // WHY: the program's place.
            // SAFETY: the caller's promise.
            unsafe { give(told.bytes(), address, len) };
        }
    } else {
        // WHY: the program's place.
        // SAFETY: the caller's promise.
        unsafe { give(name.bytes(), address, len) };
    }
    new
}

/// The port that stands for the peer of `fd`: the same for every copy of the descriptor, another for the next
/// connection. Without cookies of sockets (a kernel before 4.12) the number of the descriptor must do.
fn peer_port(fd: c_int) -> u16 {
    const SO_COOKIE: c_int = 57;
    let cookie = kernel::socket_option(fd, SO_COOKIE);
    address::pseudo_port(cookie.unwrap_or(u64::from(fd.unsigned_abs())))
}

/// getsockname(2).
///
/// # Safety
/// See getsockname(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockname(fd: c_int, address: *mut u8, len: *mut u32) -> c_int {
    // WHY: see `is_place`.
    // SAFETY: the caller's promise.
    let settings = identity::settings().filter(|_| unsafe { is_place(address, len) });
    let Some(settings) = settings else {
        // WHY: none of ours.
        // SAFETY: the program's arguments.
        return answer(unsafe { raw::getsockname(fd, [address as usize, len as usize, 0, 0]) });
    };
    let name = match kernel::local_name(fd) {
        Ok(name) => name,
        Err(error) => return answer(error),
    };
    let Some(end) = identity::end_of(settings, fd, name.bytes()) else {
        // WHY: the program's place.
        // SAFETY: the caller's promise.
        unsafe { give(name.bytes(), address, len) };
        return 0;
    };
    let (kind, port) = own_address(settings, fd);
    let told = match end {
        End::Listener => Told::listener(kind, port),
        End::Server => Told::connection(kind, port),
        End::Client => Told::connection(kind, peer_port(fd)),
    };
    // WHY: the program's place.
    // SAFETY: the caller's promise.
    unsafe { give(told.bytes(), address, len) };
    0
}

/// getpeername(2).
///
/// # Safety
/// See getpeername(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getpeername(fd: c_int, address: *mut u8, len: *mut u32) -> c_int {
    // WHY: see `is_place`.
    // SAFETY: the caller's promise.
    let settings = identity::settings().filter(|_| unsafe { is_place(address, len) });
    let Some(settings) = settings else {
        // WHY: none of ours.
        // SAFETY: the program's arguments.
        return answer(unsafe { raw::getpeername(fd, [address as usize, len as usize, 0, 0]) });
    };
    let name = match kernel::peer_name(fd) {
        Ok(name) => name,
        Err(error) => return answer(error),
    };
    let is_unix = address::family(name.bytes()) == Some(UNIX);
    let Some(end) = is_unix.then(|| identity::end(settings, fd)).flatten() else {
        // WHY: the program's place.
        // SAFETY: the caller's promise.
        unsafe { give(name.bytes(), address, len) };
        return 0;
    };
    let (kind, port) = own_address(settings, fd);
    let told = Told::connection(kind, if end == End::Client { port } else { peer_port(fd) });
    // WHY: the program's place.
    // SAFETY: the caller's promise.
    unsafe { give(told.bytes(), address, len) };
    0
}

fn own_address(settings: &Settings, fd: c_int) -> (Kind, u16) {
    let origin = identity::origin(fd);
    (origin.kind, settings.port_at(origin.place))
}

/// setsockopt(2): what the kernel refuses to a Unix socket of ours and nobody misses is done.
///
/// # Safety
/// See setsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn setsockopt(
    fd: c_int,
    level: c_int,
    option: c_int,
    value: *const u8,
    len: u32,
) -> c_int {
    let arguments = [level as usize, option as usize, value as usize, len as usize];
    // WHY: the kernel knows best.
    // SAFETY: the program's arguments.
    let result = unsafe { raw::setsockopt(fd, arguments) };
    let may_be_faked = result < 0 && options::may_be_set(level, option);
    if may_be_faked && identity::settings().is_some_and(|settings| identity::end(settings, fd).is_some()) {
        return 0;
    }
    answer(result)
}

/// getsockopt(2): family and protocol as the program knows them, and the values of what it may set.
///
/// # Safety
/// See getsockopt(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    option: c_int,
    value: *mut u8,
    len: *mut u32,
) -> c_int {
    let arguments = [level as usize, option as usize, value as usize, len as usize];
    // WHY: the kernel knows best.
    // SAFETY: the program's arguments.
    let result = unsafe { raw::getsockopt(fd, arguments) };
    let is_about_tcp =
        level == options::SOL_SOCKET && matches!(option, options::SO_DOMAIN | options::SO_PROTOCOL);
    // WHY: see `is_place`.
    // SAFETY: the caller's promise.
    let may_be_faked = (is_about_tcp && result >= 0 || result < 0 && options::value(level, option).is_some())
        && unsafe { is_place(value, len) };
    let is_ours =
        may_be_faked && identity::settings().is_some_and(|settings| identity::end(settings, fd).is_some());
    if !is_ours {
        return answer(result);
    }
    let told = match option {
        options::SO_DOMAIN if is_about_tcp => i32::from(identity::origin(fd).kind.family()),
        options::SO_PROTOCOL if is_about_tcp => IPPROTO_TCP as i32,
        _ => options::value(level, option).unwrap_or_default(),
    };
    let bytes = told.to_ne_bytes();
    // WHY: unlike an address, a value is told with the length that was written.
    // SAFETY: `is_place` saw that it is not null; the caller's promise.
    let room = unsafe { len.read() } as usize;
    let bytes = bytes.get(..room).unwrap_or(&bytes);
    // WHY: the program's place.
    // SAFETY: the caller's promise.
    unsafe { give(bytes, value, len) };
    0
}

/// connect(2): the program that calls itself finds its own listener, where the port would lead to warmfront.
///
/// # Safety
/// See connect(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn connect(fd: c_int, address: *const u8, len: u32) -> c_int {
    // WHY: the program's pointer.
    // SAFETY: the caller's promise.
    let theirs = unsafe { theirs(address, len) };
    if let Some(settings) = identity::settings()
        && let Some(wanted) = address::wanted(theirs).filter(|wanted| wanted.is_here)
        && let Some(place) = settings.place_of(wanted.port)
        && is_tcp(fd)
    {
        let socket = match kernel::connected(fd, settings.path()) {
            Ok(socket) => socket,
            // Nobody listens: TCP has one word for it.
            Err(error) if error == -kernel::ENOENT => return answer(-kernel::ECONNREFUSED),
            Err(error) => return answer(error),
        };
        let result = kernel::replace(fd, socket);
        kernel::close(socket);
        identity::remember(fd, Origin { kind: wanted.kind, place });
        return answer(result);
    }
    // WHY: none of ours.
    // SAFETY: the program's arguments.
    answer(unsafe { raw::connect(fd, [address as usize, len as usize, 0, 0]) })
}

/// close(2): the inherited listener stays, for the program that binds later or in a child.
#[unsafe(no_mangle)]
pub extern "C" fn close(fd: c_int) -> c_int {
    if kept(fd).is_some() { 0 } else { answer(kernel::close(fd)) }
}

/// The inherited listener, if `fd` is it and it is still there.
fn kept(fd: c_int) -> Option<c_int> {
    let settings = identity::settings()?;
    identity::is_inherited(settings, fd).then_some(fd)
}

/// The inherited listener, if it is open and one of these.
fn kept_in(first: c_uint, last: c_uint) -> Option<c_uint> {
    let listener = kept(identity::settings()?.listener)?;
    u32::try_from(listener).ok().filter(|listener| (first..=last).contains(listener))
}

/// close_range(2): around the inherited listener.
#[unsafe(no_mangle)]
pub extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    answer(around(first, last, flags))
}

fn around(first: c_uint, last: c_uint, flags: c_int) -> isize {
    let Some(kept) = kept_in(first, last) else {
        return kernel::close_range(first, last, flags);
    };
    if flags & !(CLOSE_RANGE_CLOEXEC | 2) != 0 {
        return -kernel::EINVAL;
    }
    let below = if kept > first { kernel::close_range(first, kept - 1, flags) } else { 0 };
    let above = if kept < last { kernel::close_range(kept + 1, last, flags) } else { 0 };
    below.min(above)
}

/// closefrom(3): around the inherited listener.
#[unsafe(no_mangle)]
pub extern "C" fn closefrom(first: c_int) {
    let first = first.max(0).unsigned_abs();
    if around(first, c_uint::MAX, 0) != -kernel::ENOSYS {
        return;
    }
    // A kernel before 5.9: one by one, as libc would.
    let limit = u32::try_from(kernel::fd_limit()).unwrap_or(c_uint::MAX).min(1 << 20);
    for fd in first..limit {
        let fd = fd as c_int;
        if kept(fd).is_none() {
            kernel::close(fd);
        }
    }
}
