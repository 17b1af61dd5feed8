//! Which path runs which script, and which one is a file.
//!
//! What configurations of nginx for WordPress and Laravel say in twenty lines, as one rule: a script that is there
//! runs, with what stands behind it as its path info; a file that is there and is no script is a file; a directory is
//! its index; everything else is the front controller's. Never a dotfile, never the source of a script, never
//! anything outside the root: those who look ([`Found`]) know nothing outside.

use crate::config::Php;

/// What stands at a path below the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing, nothing that may be read, or something outside the root.
    Nothing,
    /// A regular file.
    File,
    /// A directory.
    Directory,
}

/// What a target leads to. Paths are decoded, begin with a slash and have no `.` or `..` in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// A script, and the path info behind it.
    Script {
        /// `SCRIPT_NAME`.
        name: Vec<u8>,
        /// `PATH_INFO`; empty for none.
        info: Vec<u8>,
    },
    /// A file to be read.
    File(Vec<u8>),
    /// A directory whose path lacks its slash.
    Directory,
    /// Nothing, or nothing that may be seen.
    Missing,
    /// The target cannot be read as a path.
    Malformed,
}

/// Where `target`, as the client sent it, leads to. `look` is asked about few paths, however long the target is.
pub fn route(php: &Php, target: &[u8], mut look: impl FnMut(&[u8]) -> Found) -> Route {
    let Some(path) = decode(path_of(target)) else { return Route::Malformed };
    let Some(Segments { names, is_directory }) = Segments::of(&path) else { return Route::Malformed };
    if is_hidden(&names) {
        return Route::Missing;
    }
    // Only what exists can be followed by something: whoever finds nothing need not look further down.
    for end in 1..=names.len() {
        if !names[end - 1].ends_with(b".php") {
            continue;
        }
        let name = joined(&names[..end]);
        match look(&name) {
            Found::File => {
                let mut info = if end < names.len() { joined(&names[end..]) } else { Vec::new() };
                if is_directory {
                    info.push(b'/');
                }
                return Route::Script { name, info };
            }
            Found::Directory => {}
            Found::Nothing => return front(php, look),
        }
    }
    let path = joined(&names);
    match look(&path) {
        Found::File
            if !is_directory && php.serves_files && !is_source(names.last().copied().unwrap_or(b"")) =>
        {
            Route::File(path)
        }
        Found::Directory if !is_directory && !names.is_empty() => Route::Directory,
        Found::Directory => index(php, &path, &mut look).unwrap_or_else(|| front(php, look)),
        Found::File | Found::Nothing => front(php, look),
    }
}

/// The first index of a directory that is there.
fn index(php: &Php, path: &[u8], look: &mut impl FnMut(&[u8]) -> Found) -> Option<Route> {
    let below = if path == b"/" { b"" } else { path };
    php.index.iter().find_map(|index| {
        let name = [below, b"/", index.as_bytes()].concat();
        let is_script = name.ends_with(b".php");
        // Without files of ours an index is a script or nothing.
        if !(is_script || php.serves_files && !is_source(index.as_bytes())) || look(&name) != Found::File {
            return None;
        }
        Some(if is_script { Route::Script { name, info: Vec::new() } } else { Route::File(name) })
    })
}

fn front(php: &Php, mut look: impl FnMut(&[u8]) -> Found) -> Route {
    match php.front.as_deref().map(str::as_bytes) {
        Some(name) if look(name) == Found::File => Route::Script { name: name.to_vec(), info: Vec::new() },
        _ => Route::Missing,
    }
}

/// The path of a target, without its query.
#[must_use]
pub fn path_of(target: &[u8]) -> &[u8] {
    target.split(|&byte| byte == b'?').next().unwrap_or_default()
}

/// The query of a target; empty if it has none.
#[must_use]
pub fn query_of(target: &[u8]) -> &[u8] {
    target.iter().position(|&byte| byte == b'?').map_or(b"", |at| &target[at + 1..])
}

/// `path` with its escapes resolved, once. `None` if one is cut or no hexadecimal number, or a byte is zero.
fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let byte = match byte {
            b'%' => {
                let digit = |index: usize| char::from(*tail.get(index)?).to_digit(16);
                rest = tail.get(2..)?;
                u8::try_from(digit(0)? * 16 + digit(1)?).ok()?
            }
            byte => byte,
        };
        if byte == 0 {
            return None;
        }
        decoded.push(byte);
    }
    Some(decoded)
}

/// The names of a path.
struct Segments<'a> {
    names: Vec<&'a [u8]>,
    /// Whether it ends with a slash, or with a dot that means a directory.
    is_directory: bool,
}

impl<'a> Segments<'a> {
    /// `None` if `path`, which is decoded, does not begin with a slash or leads above it.
    fn of(path: &'a [u8]) -> Option<Self> {
        let mut names = Vec::new();
        let mut is_directory = false;
        for segment in path.strip_prefix(b"/")?.split(|&byte| byte == b'/') {
            is_directory = matches!(segment, b"" | b"." | b"..");
            match segment {
                b"" | b"." => {}
                b".." => drop(names.pop()?),
                name => names.push(name),
            }
        }
        Some(Self { names, is_directory })
    }
}

/// Whether the path leads through something hidden; `/.well-known/` is meant to be seen (RFC 8615).
fn is_hidden(names: &[&[u8]]) -> bool {
    names.iter().enumerate().any(|(at, name)| name.starts_with(b".") && !(at == 0 && *name == b".well-known"))
}

/// Whether a file of this name may be the source of a script, a copy of one included: `wp-config.php~`.
fn is_source(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    name.windows(4).any(|four| four == b".php")
        || [&b".phtml"[..], b".phar"].iter().any(|end| name.ends_with(end))
}

fn joined(names: &[&[u8]]) -> Vec<u8> {
    if names.is_empty() {
        return b"/".to_vec();
    }
    names.iter().flat_map(|name| [b"/", *name].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILES: [&str; 15] = [
        "/index.php",
        "/info.php",
        "/style.css",
        "/a b.txt",
        "/.env",
        "/.git/config",
        "/.well-known/security.txt",
        "/.well-known/.secret",
        "/wp-config.php~",
        "/Old.PHP",
        "/admin/index.php",
        "/docs/index.html",
        "/api.php/nested.php",
        "/up/evil.jpg",
        "/x.phtml",
    ];

    fn look(path: &[u8]) -> Found {
        // None of them has such a name.
        let Ok(path) = std::str::from_utf8(path) else { return Found::Nothing };
        let below =
            |file: &str| file.strip_prefix(path).is_some_and(|rest| path == "/" || rest.starts_with('/'));
        if FILES.contains(&path) {
            Found::File
        } else if FILES.iter().any(|file| below(file)) || path == "/empty" {
            Found::Directory
        } else {
            Found::Nothing
        }
    }

    fn routed(target: &str) -> String {
        shown(route(&Php::default(), target.as_bytes(), look))
    }

    fn shown(route: Route) -> String {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        match route {
            Route::Script { name, info } => format!("run {} [{}]", text(name), text(info)),
            Route::File(path) => format!("file {}", text(path)),
            Route::Directory => "slash".to_owned(),
            Route::Missing => "missing".to_owned(),
            Route::Malformed => "malformed".to_owned(),
        }
    }

    #[test]
    fn a_target_leads_where_the_usual_configurations_lead_it() {
        for (target, leads_to) in [
            ("/", "run /index.php []"),
            ("/?p=1", "run /index.php []"),
            ("/info.php?a=/../b", "run /info.php []"),
            ("/info.php/a/b", "run /info.php [/a/b]"),
            ("/info.php/", "run /info.php [/]"),
            ("/style.css?v=1", "file /style.css"),
            ("/a%20b.txt", "file /a b.txt"),
            ("//style.css", "file /style.css"),
            ("/./admin/../style.css", "file /style.css"),
            ("/admin", "slash"),
            ("/admin/", "run /admin/index.php []"),
            ("/docs/", "file /docs/index.html"),
            ("/empty/", "run /index.php []"),
            ("/blog/2026/hello", "run /index.php []"),
            ("/style.css/", "run /index.php []"),
            ("/no.php", "run /index.php []"),
            ("/no.php/x.php/y", "run /index.php []"),
            ("/api.php/nested.php/i", "run /api.php/nested.php [/i]"),
            ("/.well-known/security.txt", "file /.well-known/security.txt"),
        ] {
            assert_eq!(routed(target), leads_to, "{target}");
        }
    }

    #[test]
    fn what_must_not_be_seen_is_not_there() {
        for target in [
            "/.env",
            "/.git/config",
            "/%2eenv",
            "/.well-known/.secret",
            "/admin/.htaccess",
            "/.php",
            "/.git/../.env",
        ] {
            assert_eq!(routed(target), "missing", "{target}");
        }
        // The source of a script is no file, and what is no script is not run because it is told to be one.
        for target in ["/wp-config.php~", "/Old.PHP", "/x.phtml", "/up/evil.jpg/x.php"] {
            assert_eq!(routed(target), "run /index.php []", "{target}");
        }
        for target in [
            "/../etc/passwd",
            "/%2e%2e/etc/passwd",
            "/a/..%2f..%2fb",
            "/%00",
            "/index.php%00.css",
            "/%",
            "/%g0",
            "*",
        ] {
            assert_eq!(routed(target), "malformed", "{target}");
        }
    }

    #[test]
    fn without_a_front_controller_and_without_files_less_is_there() {
        let bare = Php { front: None, serves_files: false, ..Php::default() };
        let routed = |target: &str| shown(route(&bare, target.as_bytes(), look));
        assert_eq!(routed("/blog"), "missing");
        assert_eq!(routed("/style.css"), "missing");
        assert_eq!(routed("/docs/"), "missing");
        assert_eq!(routed("/"), "run /index.php []");
    }

    proptest! {
        #[test]
        fn no_target_leads_above_the_root_or_to_what_is_hidden(
            target in "/([a./%]|%2e|%2f|\\.php|\\.\\./|index\\.php|\\.well-known){0,12}",
        ) {
            let mut looks = 0;
            let route = route(&Php::default(), target.as_bytes(), |path| {
                looks += 1;
                assert!(path.starts_with(b"/") && !path.windows(2).any(|two| two == b"//"), "{path:?}");
                for name in path[1..].split(|&byte| byte == b'/') {
                    assert!(!name.starts_with(b".") || name == b".well-known", "{path:?}");
                }
                look(path)
            });
            prop_assert!(looks <= 8, "{looks} looks");
            if let Route::File(path) = route {
                prop_assert!(!is_source(&path));
            }
        }
    }
}
