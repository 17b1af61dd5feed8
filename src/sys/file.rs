//! Files as std cannot ask for them: without a link on the way, whether their mount executes them, whether they gain
//! privileges.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

use super::{c_string, check};

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Only to ask what it is: that needs no right to read it.
    ToLook,
    /// To be read.
    ToRead,
}

impl Opened {
    fn flags(self) -> OFlags {
        match self {
            Self::ToLook => OFlags::PATH,
            Self::ToRead => OFlags::RDONLY,
        }
    }
}

/// Opens `path` if no part of it is a symbolic link.
///
/// # Errors
/// What openat2(2) says: `ELOOP` for a link, `ENOSYS` from a kernel before 5.6.
pub fn open_directly(path: &Path, how: Opened) -> io::Result<File> {
    let flags = how.flags() | OFlags::CLOEXEC;
    Ok(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?.into())
}

/// Opens `path`, wherever it leads.
///
/// # Errors
/// What open(2) says.
pub fn open(path: &Path, how: Opened) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(how.flags().bits().cast_signed()).open(path)
}

/// Whether nothing on the mount of `path` may be executed, or loaded by a program as code.
///
/// # Errors
/// What statvfs(2) says; a NUL byte in the path is `InvalidInput`.
pub fn is_noexec(path: &Path) -> io::Result<bool> {
    let path = c_string(path.as_os_str())?;
    let mut facts = MaybeUninit::<libc::statvfs>::zeroed();
    // WHY: std tells nothing of a mount.
    // SAFETY: `path` ends in NUL; `facts` is a valid place for one structure, which the kernel fills.
    check(unsafe { libc::statvfs(path.as_ptr(), facts.as_mut_ptr()) })?;
    // WHY: see above.
    // SAFETY: all zeroes is a valid value, and the call succeeded.
    let facts = unsafe { facts.assume_init() };
    Ok(facts.f_flag & libc::ST_NOEXEC != 0)
}

/// Whether executing `path` gives other rights than ours (setuid, setgid, capabilities of the file): then the
/// loader ignores LD_PRELOAD.
///
/// # Errors
/// What stat(2) says; a NUL byte in the path is `InvalidInput`.
pub fn gains_privileges(path: &Path) -> io::Result<bool> {
    let facts = std::fs::metadata(path)?;
    // WHY: std does not tell who we are.
    // SAFETY: neither call has arguments or can fail.
    let (user, group) = (unsafe { libc::geteuid() }, unsafe { libc::getegid() });
    if facts.mode() & libc::S_ISUID != 0 && facts.uid() != user
        || facts.mode() & libc::S_ISGID != 0 && facts.gid() != group
    {
        return Ok(true);
    }
    let path = c_string(path.as_os_str())?;
    let name = c"security.capability".as_ptr();
    // WHY: std reads no extended attributes.
    // SAFETY: both strings end in NUL; with no room asked for, nothing is written.
    let bytes = unsafe { libc::getxattr(path.as_ptr(), name, std::ptr::null_mut(), 0) };
    // The superuser has them anyway.
    Ok(bytes > 0 && user != 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_mount_is_judged_as_the_system_lists_it_and_a_missing_path_is_an_error() {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        // The last line of a place is what is seen there.
        let listed: std::collections::HashMap<_, _> = mounts
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ').skip(1);
                let (place, options) = (words.next()?, words.nth(1)?);
                Some((place, options.split(',').any(|option| option == "noexec")))
            })
            .collect();
        assert!(!listed.is_empty());
        for (place, is_listed) in listed {
            // What is mounted over from above is out of sight.
            let Ok(is) = is_noexec(Path::new(place)) else { continue };
            assert_eq!(is, is_listed, "{place}");
        }
        let own = std::env::current_exe().unwrap();
        assert!(!is_noexec(&own).unwrap(), "this test runs from there");
        assert_eq!(is_noexec(Path::new("/no/such/path")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_a_path_without_a_link_is_opened_directly() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir(dir.join("real")).unwrap();
        std::fs::write(dir.join("real/file"), "content").unwrap();
        std::os::unix::fs::symlink("real", dir.join("link")).unwrap();
        let read = |file: File| io::read_to_string(file);
        for how in [Opened::ToLook, Opened::ToRead] {
            assert!(open_directly(&dir.join("real/file"), how).unwrap().metadata().unwrap().is_file());
            let refused = open_directly(&dir.join("link/file"), how).unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::ELOOP));
            assert!(open(&dir.join("link/file"), how).unwrap().metadata().unwrap().is_file());
            let missing = open_directly(&dir.join("real/none"), how).unwrap_err();
            assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        }
        assert_eq!(read(open_directly(&dir.join("real/file"), Opened::ToRead).unwrap()).unwrap(), "content");
        assert!(read(open(&dir.join("real/file"), Opened::ToLook).unwrap()).is_err(), "only looked at");
    }

    #[test]
    fn a_program_of_ours_gains_nothing_by_its_own_owner() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("program");
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o4755)).unwrap();
        assert!(!gains_privileges(&file).unwrap(), "setuid to ourselves");
        let missing = gains_privileges(Path::new("/no/such/path")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }
}
