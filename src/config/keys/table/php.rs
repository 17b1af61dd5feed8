//! What may be said of PHP behind FastCGI.

use crate::config::keys::Key;
use crate::config::keys::Kind::{Path, Size, Switch, Target, Text, Words};

/// Its keys, in the order of the documents.
pub(super) const KEYS: &[Key] = &[
    Key::new(
        "php.root",
        Path,
        "",
        "The directory of scripts and files, nginx's `root`: `public/` of Laravel, WordPress's own. Without it: \
         workers.cwd, else ours.",
    ),
    Key::new(
        "php.index",
        Words,
        "index.php index.html",
        "What stands for a directory; the first that is there. Separated by whitespace in the environment.",
    ),
    Key::new(
        "php.front",
        Target,
        "/index.php",
        "The front controller: the script for every path at which nothing else is. Empty: none, and such a path is \
         answered with 404.",
    ),
    Key::new(
        "php.files",
        Switch,
        "true",
        "Whether files that are no scripts are read and sent by us. If not, their paths are the front controller's.",
    ),
    Key::new(
        "php.follow_links",
        Switch,
        "false",
        "Whether a symbolic link may lead out of php.root, as Laravel's `public/storage` does.",
    ),
    Key::new(
        "php.chunked_bytes",
        Size(0, 64 << 20),
        "1MiB",
        "PHP must know the length of a request's body before its first byte. One that comes in chunks is held, up to \
         so many bytes, until it is known; a longer one is answered with 411.",
    ),
    Key::new(
        "php.keep_connections",
        Switch,
        "true",
        "Whether connections to php-fpm are kept between requests. Switch it off for scripts that work on behind \
         fastcgi_finish_request(): on a kept connection the next request would wait for them.",
    ),
    Key::new(
        "php.user",
        Text,
        "",
        "Whose the children of a php-fpm are that we start as root. Empty: www-data if there is such a user, else nobody.",
    ),
];
