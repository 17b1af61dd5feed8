//! Values of the keys about PHP.

use std::ffi::OsStr;

use super::super::php::Php;
use super::super::units::size_text;
use super::{list, text};

/// As TOML; `None` if there is none.
pub(super) fn value(path: &str, php: &Php) -> Option<String> {
    let quoted = |plain: &str| text(OsStr::new(plain));
    Some(match path {
        "php.root" => text(php.root.as_os_str()),
        "php.index" => list(php.index.iter().map(OsStr::new)),
        "php.front" => quoted(php.front.as_deref().unwrap_or_default()),
        "php.files" => php.serves_files.to_string(),
        "php.follow_links" => php.follows_links.to_string(),
        "php.chunked_bytes" => quoted(&size_text(php.chunked_bytes)),
        "php.keep_connections" => php.keeps_connections.to_string(),
        "php.user" => quoted(php.user.as_deref()?),
        _ => return None,
    })
}
