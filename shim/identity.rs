//! Which descriptor is ours: the kernel says so.
//!
//! A socket is ours if its own name, or its peer's, is the path that warmfront bound. Accepted sockets inherit
//! the name of their listener, so this survives dup, fork, exec and a passage to another process
//! (`SCM_RIGHTS`) with nothing tracked. The table beside it remembers only how the program had bound: family,
//! loopback or not, which port. It is never cleared: a number whose owner changed is asked for only after
//! the kernel said "ours" again, and then bind or accept has written it; clearing it in close would let a
//! child of vfork (Python's subprocess), which shares our memory, clear its parent's.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicU8, Ordering};

use crate::address::{Kind, UNIX, family, unix_path};
use crate::settings::Settings;
use crate::{host, kernel};

const VARIABLE: &[u8] = b"WARMFRONT_SHIM=";

/// What became of the variable.
const UNREAD: u8 = 0;
const WRITING: u8 = 1;
const ON: u8 = 2;
const OFF: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(UNREAD);

struct Told(UnsafeCell<Settings>);

// WHY: a static must be shareable.
// SAFETY: written once, by the thread that moved STATE to WRITING, and read only after it moved on to ON.
unsafe impl Sync for Told {}

static TOLD: Told = Told(UnsafeCell::new(Settings::NONE));

/// What warmfront told us; `None` if it told nothing or nothing that can be read.
pub fn settings() -> Option<&'static Settings> {
    loop {
        match STATE.load(Ordering::Acquire) {
            ON => {
                // WHY: the one reader of the cell.
                // SAFETY: see `Told`.
                return Some(unsafe { &*TOLD.0.get() });
            }
            OFF => return None,
            UNREAD => read()?,
            // Another thread copies a few bytes this moment.
            _ => core::hint::spin_loop(),
        }
    }
}

/// Reads the variable; `None` if libc has no environment yet.
fn read() -> Option<()> {
    let environment = host::environment();
    if environment.is_null() {
        return None;
    }
    let found = variable(environment).and_then(Settings::parse);
    if STATE.compare_exchange(UNREAD, WRITING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
        if let Some(settings) = found {
            // WHY: the one writer of the cell.
            // SAFETY: see `Told`.
            unsafe { *TOLD.0.get() = settings };
        }
        STATE.store(if found.is_some() { ON } else { OFF }, Ordering::Release);
    }
    Some(())
}

/// The value of our variable in `environment`.
fn variable(mut environment: *const *const c_char) -> Option<&'static [u8]> {
    loop {
        // WHY: this is how C keeps an environment.
        // SAFETY: the list ends in null, where we leave it.
        let entry = unsafe { *environment };
        if entry.is_null() {
            return None;
        }
        // WHY: see above.
        // SAFETY: an entry that is not null is a string with its NUL.
        let text = unsafe { CStr::from_ptr(entry) };
        if let Some(value) = text.to_bytes().strip_prefix(VARIABLE) {
            return Some(value);
        }
        // WHY: see above.
        // SAFETY: the entry was not the last one.
        environment = unsafe { environment.add(1) };
    }
}

/// What a descriptor of ours is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Bound, maybe listening.
    Listener,
    /// Accepted from it.
    Server,
    /// Connected to it by the program itself.
    Client,
}

/// What `fd` is, if it is ours.
pub fn end(settings: &Settings, fd: i32) -> Option<End> {
    let name = kernel::local_name(fd).ok()?;
    end_of(settings, fd, name.bytes())
}

/// What `fd`, which the kernel calls `local`, is.
pub fn end_of(settings: &Settings, fd: i32, local: &[u8]) -> Option<End> {
    if family(local) != Some(UNIX) {
        return None;
    }
    let peer = kernel::peer_name(fd);
    if unix_path(local) == settings.path() {
        return Some(if peer.is_ok() { End::Server } else { End::Listener });
    }
    let is_client = peer.is_ok_and(|peer| is_ours(settings, peer.bytes()));
    is_client.then_some(End::Client)
}

/// Whether a name is the listener's.
fn is_ours(settings: &Settings, name: &[u8]) -> bool {
    family(name) == Some(UNIX) && unix_path(name) == settings.path()
}

/// Whether `fd` has the listener's name: it is the listener, or was accepted from it.
pub fn has_our_name(settings: &Settings, fd: i32) -> bool {
    kernel::local_name(fd).is_ok_and(|name| is_ours(settings, name.bytes()))
}

/// Whether `fd` is the inherited listener, and open.
pub fn is_inherited(settings: &Settings, fd: i32) -> bool {
    fd == settings.listener && has_our_name(settings, fd)
}

/// How many descriptors the table knows; above it, and for what came by exec or `SCM_RIGHTS`, the guess holds.
const TABLE: usize = 65536;
/// Marks a written entry.
const KNOWN: u8 = 0x80;

static MEMORY: [AtomicU8; TABLE] = [const { AtomicU8::new(0) }; TABLE];
/// How this process bound last; IPv4 and the first port until then.
static GUESS: AtomicU8 = AtomicU8::new(KNOWN);

/// How the program had bound what `fd` comes from: family and place, and which of the told ports.
#[derive(Clone, Copy)]
pub struct Origin {
    /// Family and place.
    pub kind: Kind,
    /// Which port, see [`Settings::port_at`].
    pub place: u8,
}

/// Remembers it for `fd`.
pub fn remember(fd: i32, origin: Origin) {
    if let Some(entry) = usize::try_from(fd).ok().and_then(|fd| MEMORY.get(fd)) {
        entry.store(packed(origin), Ordering::Relaxed);
    }
}

/// Remembers it for what this process does not know otherwise.
pub fn guess(origin: Origin) {
    GUESS.store(packed(origin), Ordering::Relaxed);
}

/// What is remembered of `fd`.
pub fn origin(fd: i32) -> Origin {
    let entry = usize::try_from(fd).ok().and_then(|fd| MEMORY.get(fd));
    let known = entry.map(|entry| entry.load(Ordering::Relaxed)).filter(|&entry| entry & KNOWN != 0);
    let entry = known.unwrap_or_else(|| GUESS.load(Ordering::Relaxed));
    Origin { kind: Kind::from_number(entry & 3), place: entry >> 2 & 7 }
}

fn packed(origin: Origin) -> u8 {
    KNOWN | origin.place << 2 | origin.kind as u8
}
