//! The directory that is served: what lies where, and the files that need no PHP.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::{Limits, Php};
use crate::engine::h2::relaxed;
use crate::fastcgi::file::{Asked, Facts, Verdict};
use crate::fastcgi::path::{Found, Route, path_of, query_of, route};
use crate::http1::lines::kept_lines;
use crate::http1::request::Request;
use crate::sys::{self, Opened};

/// What is served, and within which limits.
pub(in crate::engine) struct Site {
    pub(super) php: Php,
    pub(super) limits: Limits,
}

/// An answer that needs no PHP.
pub(super) struct Local {
    /// Head, and body if it is a text of ours.
    pub(super) bytes: Vec<u8>,
    /// The file that follows, and how many bytes of it.
    pub(super) file: Option<(File, u64)>,
}

impl Site {
    pub(in crate::engine) fn new(php: Php, limits: &Limits) -> Self {
        Self { php, limits: relaxed(limits) }
    }

    /// The root as scripts are told it.
    pub(super) fn root(&self) -> &[u8] {
        let root = self.php.root.as_os_str().as_bytes();
        if root == b"/" { b"" } else { root }
    }

    /// Where the request for `target` leads to.
    pub(super) fn route(&self, target: &[u8]) -> Route {
        route(&self.php, target, |path| self.look(path))
    }

    fn at(&self, path: &[u8]) -> PathBuf {
        Path::new(OsStr::from_bytes(&[self.root(), path].concat())).to_owned()
    }

    /// What is at `path`. Nothing outside the root, wherever symbolic links lead, unless they may.
    fn look(&self, path: &[u8]) -> Found {
        let kind = |facts: Metadata| match (facts.is_file(), facts.is_dir()) {
            (true, _) => Found::File,
            (_, true) => Found::Directory,
            _ => Found::Nothing,
        };
        let place = self.at(path);
        let facts = if self.php.follows_links {
            fs::metadata(place)
        } else {
            self.reach(&place, Opened::ToLook).and_then(|found| found.metadata())
        };
        facts.map_or(Found::Nothing, kind)
    }

    fn open(&self, path: &[u8]) -> io::Result<File> {
        let place = self.at(path);
        if self.php.follows_links { File::open(place) } else { self.reach(&place, Opened::ToRead) }
    }

    /// Opens `place`, unless it is outside the root by a symbolic link.
    fn reach(&self, place: &Path, how: Opened) -> io::Result<File> {
        match sys::open_directly(place, how) {
            // The root is canonical, and no path here has `..` in it: without a link on the way it leads inside.
            Ok(found) => Ok(found),
            Err(missing) if matches!(missing.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Err(missing)
            }
            // A link; or a kernel before 5.6, or a filter that knows no such call. The long way tells.
            Err(_) => {
                let real = fs::canonicalize(place)?;
                if !real.starts_with(&self.php.root) {
                    return Err(ErrorKind::NotFound.into());
                }
                sys::open(&real, how)
            }
        }
    }

    /// The answer to a request whose `route` runs no script. `head` is its head, which was judged.
    pub(super) fn answer(&self, route: &Route, head: &[u8], judged: &Request) -> Local {
        let target = judged.target.of_head(head);
        let may_read = matches!(judged.method.of_head(head), b"GET" | b"HEAD");
        match route {
            Route::File(_) if !may_read => text(
                judged,
                "405 Method Not Allowed",
                "php-method",
                "Allow: GET, HEAD\r\n",
                "A file can only be read.",
            ),
            Route::File(path) => self.file(path, head, judged).unwrap_or_else(|| missing(judged)),
            Route::Directory => text(
                judged,
                "301 Moved Permanently",
                "php-directory",
                &format!("Location: {}\r\n", with_slash(target)),
                "A directory's path ends with a slash.",
            ),
            Route::Malformed => {
                text(judged, "400 Bad Request", "php-path", "", "The path cannot be read as one.")
            }
            Route::Script { .. } | Route::Missing => missing(judged),
        }
    }

    fn file(&self, path: &[u8], head: &[u8], judged: &Request) -> Option<Local> {
        let mut file = self.open(path).ok()?;
        let found = file.metadata().ok().filter(Metadata::is_file)?;
        // One from before 1970 is as old as it gets.
        let changed = found.modified().ok().filter(|at| *at >= UNIX_EPOCH).unwrap_or(UNIX_EPOCH);
        let facts = Facts { size: found.len(), modified: unix(changed) };
        let field = |name: &[u8]| {
            let mut lines = kept_lines(head, judged.target.end as usize, judged.dropped());
            lines.find(|line| line.name.eq_ignore_ascii_case(name)).map(|line| line.value)
        };
        let if_range = field(b"if-range");
        let verdict = facts.judge(&Asked {
            none_match: field(b"if-none-match"),
            modified_since: field(b"if-modified-since").and_then(date),
            range: field(b"range"),
            if_range,
            if_range_date: if_range.and_then(date),
        });
        let (status, range, count) = match verdict {
            Verdict::Whole => ("200 OK", String::new(), facts.size),
            Verdict::NotModified => ("304 Not Modified", String::new(), 0),
            Verdict::Part(first, count) => {
                io::Seek::seek(&mut file, io::SeekFrom::Start(first)).ok()?;
                let range = format!("Content-Range: bytes {first}-{}/{}\r\n", first + count - 1, facts.size);
                ("206 Partial Content", range, count)
            }
            Verdict::Unsatisfiable => {
                let range = format!("Content-Range: bytes */{}\r\n", facts.size);
                let why = "The file has no such bytes.";
                return Some(text(judged, "416 Range Not Satisfiable", "php-range", &range, why));
            }
        };
        let mut lines = format!(
            "HTTP/1.1 {status}\r\nLast-Modified: {}\r\nETag: {}\r\n",
            httpdate::fmt_http_date(changed),
            facts.tag()
        );
        if verdict != Verdict::NotModified {
            let kind = mime_guess::from_path(OsStr::from_bytes(path)).first_or_octet_stream();
            lines += &format!(
                "Content-Type: {kind}\r\nContent-Length: {count}\r\nAccept-Ranges: bytes\r\n{range}"
            );
        }
        lines += "\r\n";
        let is_sent = !judged.is_head && count > 0;
        Some(Local { bytes: lines.into_bytes(), file: is_sent.then_some((file, count)) })
    }
}

impl Local {
    /// Reads the next bytes of the file into `room`; zero where it has become shorter.
    pub(super) fn read(file: &mut File, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match file.read(room) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

/// What clients are told where nothing is, and where nothing may be seen: the same.
fn missing(judged: &Request) -> Local {
    text(judged, "404 Not Found", "php-missing", "", "Nothing is at this path.")
}

fn text(judged: &Request, status: &str, reason: &str, lines: &str, sentence: &str) -> Local {
    let body = format!("{status}: {sentence}\n");
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nx-warmfront-reason: \
         {reason}\r\n{lines}\r\n",
        body.len()
    );
    if !judged.is_head {
        bytes += &body;
    }
    Local { bytes: bytes.into_bytes(), file: None }
}

/// The target with a slash behind its path, and only one before it: two would name a host.
fn with_slash(target: &[u8]) -> String {
    let path = String::from_utf8_lossy(path_of(target));
    let query = String::from_utf8_lossy(query_of(target));
    let mark = if query.is_empty() { "" } else { "?" };
    format!("/{}/{mark}{query}", path.trim_start_matches('/'))
}

fn date(value: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(value).ok()?).ok()?;
    Some(unix(date))
}

/// Seconds of Unix time.
fn unix(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
