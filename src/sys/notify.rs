//! A program that asks before it binds: user notification of seccomp(2).
//!
//! Between fork and exec the child installs a filter that lets every system call pass but bind(2), and sends
//! us the descriptor by which the kernel asks for those. What is answered is decided a floor above
//! (`worker::remap`).
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr;

use super::check;

/// The answer "not now", of a call whose kernel has no such thing.
pub const EINVAL: i32 = libc::EINVAL;

/// Bytes of the largest address that is looked at (`sockaddr_in6`).
pub const ADDRESS_BYTES: usize = 28;

/// The ABI whose numbers the filter knows (`AUDIT_ARCH_X86_64`, `AUDIT_ARCH_AARCH64` of linux/audit.h). Calls
/// by another pass.
#[cfg(target_arch = "x86_64")]
const ABI: Option<u32> = Some(0xC000_003E);
/// See above.
#[cfg(target_arch = "aarch64")]
const ABI: Option<u32> = Some(0xC000_00B7);
/// See above.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ABI: Option<u32> = None;

/// A bind(2) that waits for our answer.
#[derive(Clone, Copy, Debug)]
pub struct Bind {
    id: u64,
    /// The thread that calls.
    pub thread: i32,
    /// Its descriptor.
    pub fd: RawFd,
    address: u64,
    len: u64,
}

/// Installs the filter on the calling thread and sends its descriptor over `socket`. Made for the moment between
/// fork and exec: allocates nothing, takes no lock.
pub(super) fn install_and_send(socket: &UnixStream) -> io::Result<()> {
    let notify = install()?;
    send(socket, notify.as_fd())
}

fn install() -> io::Result<OwnedFd> {
    match install_with_newest_flags() {
        // Only who is privileged may do it without this promise, which setuid programs of a worker would feel.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            // WHY: the kernel demands it of who has no privileges.
            // SAFETY: prctl with this option reads integers and touches no memory of ours.
            check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) })?;
            install_with_newest_flags()
        }
        other => other,
    }
}

fn install_with_newest_flags() -> io::Result<OwnedFd> {
    let listener = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // Without it (before Linux 5.19) a signal can end a call that was answered already; Go sends many.
    match install_with(listener | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => install_with(listener),
        other => other,
    }
}

fn install_with(flags: libc::c_ulong) -> io::Result<OwnedFd> {
    let abi = ABI.ok_or(io::ErrorKind::Unsupported)?;
    let bind = u32::try_from(libc::SYS_bind).map_err(|_| io::ErrorKind::Unsupported)?;
    let instruction = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        // Codes of classic BPF are 16 bits wide.
        code: code as u16,
        jt,
        jf,
        k,
    };
    let (load, jump) =
        (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K);
    // Offsets in `struct seccomp_data`: 0 the number of the call, 4 the ABI.
    let mut code = [
        instruction(load, 4, 0, 0),
        instruction(jump, abi, 0, 3),
        instruction(load, 0, 0, 0),
        instruction(jump, bind, 0, 1),
        instruction(libc::BPF_RET, libc::SECCOMP_RET_USER_NOTIF, 0, 0),
        instruction(libc::BPF_RET, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: code.len() as u16, filter: code.as_mut_ptr() };
    // WHY: std knows nothing of seccomp.
    // SAFETY: the program and its code live through the call, which copies them.
    let fd =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    owned(fd)
}

fn owned(answer: libc::c_long) -> io::Result<OwnedFd> {
    match RawFd::try_from(answer) {
        Ok(fd) if fd >= 0 => {
            // WHY: the kernel gives numbers.
            // SAFETY: the call that gave it succeeded, so it is open and nobody else's.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Place for one descriptor in a control message, aligned as the kernel wants it.
#[repr(C)]
union Control {
    header: libc::cmsghdr,
    bytes: [u8; 64],
}

/// A message of one byte with room for one descriptor.
fn with_message<T>(byte: &mut u8, control: &mut Control, use_it: impl FnOnce(&mut libc::msghdr) -> T) -> T {
    let mut part = libc::iovec { iov_base: ptr::from_mut(byte).cast(), iov_len: 1 };
    // WHY: the structure has padding on musl, which nobody can name.
    // SAFETY: all zeroes is a valid message: no name, no parts, no control.
    let mut message = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = ptr::from_mut(control).cast();
    // WHY: a macro of C.
    // SAFETY: arithmetic only.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as _;
    use_it(&mut message)
}

fn send(socket: &UnixStream, fd: BorrowedFd<'_>) -> io::Result<()> {
    let (mut byte, mut control) = (0, Control { bytes: [0; 64] });
    let sent = with_message(&mut byte, &mut control, |message| {
        // WHY: std passes no descriptors.
        // SAFETY: the message has room for one control message of this size, which is written in whole.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd.as_raw_fd());
        }
        // WHY: see above.
        // SAFETY: everything the message points to lives through the call.
        unsafe { libc::sendmsg(socket.as_raw_fd(), message, libc::MSG_NOSIGNAL) }
    });
    if sent == 1 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The descriptor that the child has sent.
pub(super) fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    let (mut byte, mut control) = (0, Control { bytes: [0; 64] });
    with_message(&mut byte, &mut control, |message| {
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // WHY: std receives no descriptors.
        // SAFETY: everything the message points to lives through the call.
        if unsafe { libc::recvmsg(socket.as_raw_fd(), message, flags) } != 1 {
            return Err(io::Error::last_os_error());
        }
        // WHY: a macro of C.
        // SAFETY: the kernel filled the message; the macro checks that a header is there.
        let header = unsafe { libc::CMSG_FIRSTHDR(message) };
        if header.is_null() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // WHY: see above.
        // SAFETY: not null, so within our buffer; only our own child writes here, one descriptor.
        let fd = unsafe { libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned() };
        owned(fd.into())
    })
}

/// Waits for the next bind; `None` when nobody is left who could call it.
///
/// # Errors
/// What poll(2) says.
pub fn next(notify: BorrowedFd<'_>) -> io::Result<Option<Bind>> {
    loop {
        let mut asked = libc::pollfd { fd: notify.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // WHY: the call below does not end when the last process has.
        // SAFETY: one valid pollfd is passed with the count 1.
        let count = unsafe { libc::poll(&raw mut asked, 1, -1) };
        match check(count.min(0)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        }
        if asked.revents & libc::POLLIN == 0 {
            return Ok(None);
        }
        // WHY: the kernel wants it zeroed.
        // SAFETY: integers only; all zeroes is a valid value.
        let mut call = unsafe { MaybeUninit::<libc::seccomp_notif>::zeroed().assume_init() };
        // WHY: this is how the kernel asks.
        // SAFETY: `call` is a valid place for one question.
        let answer =
            unsafe { libc::ioctl(notify.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut call) };
        // Otherwise a signal took the question back.
        if answer == 0 {
            let [fd, address, len, ..] = call.data.args;
            // A descriptor is the lower half of its register, a thread's number is positive.
            return Ok(Some(Bind { id: call.id, thread: call.pid as i32, fd: fd as RawFd, address, len }));
        }
    }
}

/// Whether the thread still waits: what was read of its memory and descriptors before is its own.
pub fn still_waits(notify: BorrowedFd<'_>, bind: &Bind) -> bool {
    let id = bind.id;
    // WHY: numbers of processes are used again.
    // SAFETY: `id` is a valid place for the one number that is read.
    unsafe { libc::ioctl(notify.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, &raw const id) == 0 }
}

/// Lets the kernel do what was asked for.
pub fn pass(notify: BorrowedFd<'_>, bind: &Bind) {
    answer(notify, bind, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32);
}

/// Makes the call return: 0, or this `errno`.
pub fn finish(notify: BorrowedFd<'_>, bind: &Bind, errno: i32) {
    answer(notify, bind, errno, 0);
}

fn answer(notify: BorrowedFd<'_>, bind: &Bind, errno: i32, flags: u32) {
    let mut answer = libc::seccomp_notif_resp { id: bind.id, val: 0, error: -errno, flags };
    // WHY: this is how the kernel is told. Who has died meanwhile needs no answer.
    // SAFETY: `answer` is a valid answer, which the kernel reads.
    unsafe { libc::ioctl(notify.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw mut answer) };
}

/// The address that the thread wants to bind, up to [`ADDRESS_BYTES`] of it.
///
/// # Errors
/// What process_vm_readv(2) says.
pub fn address(bind: &Bind) -> io::Result<Vec<u8>> {
    read_memory(bind.thread, bind.address, usize::try_from(bind.len).unwrap_or(usize::MAX).min(ADDRESS_BYTES))
}

fn read_memory(thread: i32, address: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; len];
    let ours = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: len };
    let theirs = libc::iovec { iov_base: address as usize as *mut libc::c_void, iov_len: len };
    // WHY: the address is in the memory of another process.
    // SAFETY: `ours` is a place of that many bytes; the kernel checks the other side.
    let read = unsafe { libc::process_vm_readv(thread, &raw const ours, 1, &raw const theirs, 1, 0) };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    bytes.truncate(read);
    Ok(bytes)
}

/// The descriptor `fd` of `process` (not of a thread of it), as one of ours.
///
/// # Errors
/// What pidfd_open(2) and pidfd_getfd(2) say.
pub fn take(process: i32, fd: RawFd) -> io::Result<OwnedFd> {
    // WHY: std opens no process.
    // SAFETY: integers only.
    let pidfd = owned(unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) })?;
    // WHY: see above.
    // SAFETY: integers only; the descriptor is open.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), fd, 0) })
}

/// Whether it is a stream socket of TCP.
pub fn is_tcp(socket: BorrowedFd<'_>) -> bool {
    /// Multipath TCP, which newer Go asks for; without a second path it is TCP.
    const IPPROTO_MPTCP: i32 = 262;
    option(socket, libc::SOL_SOCKET, libc::SO_TYPE) == Some(libc::SOCK_STREAM)
        && matches!(option(socket, libc::SOL_SOCKET, libc::SO_DOMAIN), Some(libc::AF_INET | libc::AF_INET6))
        && matches!(
            option(socket, libc::SOL_SOCKET, libc::SO_PROTOCOL),
            Some(libc::IPPROTO_TCP | IPPROTO_MPTCP)
        )
}

fn option(socket: BorrowedFd<'_>, level: i32, name: i32) -> Option<i32> {
    let (mut value, mut len) = (0_i32, size_of::<i32>() as libc::socklen_t);
    // WHY: std does not tell a socket's kind.
    // SAFETY: both pointers are to places of ours, the second says how large the first is.
    let answer =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut len) };
    (answer == 0).then_some(value)
}

/// Binds a TCP socket to a free port of the loopback, in its own family: `::1` for one that speaks IPv6 alone,
/// the mapped `127.0.0.1` for one that speaks both. Says where, also if it was bound there before.
///
/// # Errors
/// What bind(2) says.
pub fn bind_to_loopback(socket: OwnedFd) -> io::Result<SocketAddr> {
    let is_v6 = option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_DOMAIN) == Some(libc::AF_INET6);
    let is_v6_alone = is_v6 && option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) == Some(1);
    let mut bytes = [0_u8; ADDRESS_BYTES];
    let (family, at, host): (i32, usize, &[u8]) = match (is_v6, is_v6_alone) {
        (false, _) => (libc::AF_INET, 4, &[127, 0, 0, 1]),
        (true, false) => (libc::AF_INET6, 18, &[0xff, 0xff, 127, 0, 0, 1]),
        (true, true) => (libc::AF_INET6, 23, &[1]),
    };
    bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    bytes[at..at + host.len()].copy_from_slice(host);
    let len = if is_v6 { ADDRESS_BYTES } else { 16 };
    // WHY: std binds only sockets that it made.
    // SAFETY: the pointer is to an address of at least `len` bytes.
    let bound =
        check(unsafe { libc::bind(socket.as_raw_fd(), bytes.as_ptr().cast(), len as libc::socklen_t) });
    let address = TcpListener::from(socket).local_addr();
    match bound {
        // A signal had the thread ask twice for the same.
        Err(error) if error.raw_os_error() == Some(EINVAL) => {
            address.ok().filter(|at| at.ip().to_canonical().is_loopback() && at.port() != 0).ok_or(error)
        }
        Err(error) => Err(error),
        Ok(()) => address,
    }
}

/// Does all of it once to ourselves: a filter on a thread that ends at once, a descriptor and memory of our own.
///
/// # Errors
/// The first call that is not there (`ENOSYS`) or forbidden, by a kernel before 5.9 or a sandbox.
pub fn probe() -> io::Result<()> {
    let ourselves = std::process::id() as i32;
    let (socket, _other) = UnixStream::pair()?;
    take(ourselves, socket.as_raw_fd())?;
    let known = 42_u8;
    read_memory(ourselves, &raw const known as u64, 1)?;
    // A filter holds for the thread that installs it, and this one does nothing else any more.
    let thread = std::thread::Builder::new().name("probe".to_owned()).spawn(|| install().map(drop))?;
    thread.join().map_err(|_| io::Error::from(io::ErrorKind::Other))?
}
