//! PHP behind FastCGI: where its scripts lie, which path runs which, and how php-fpm is started.

use std::path::PathBuf;

/// What is served, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Php {
    /// Below here everything lies that is run or read; absolute, without symbolic links.
    pub root: PathBuf,
    /// What stands for a directory, in this order.
    pub index: Vec<String>,
    /// What runs where nothing else is there, as a path below the root.
    pub front: Option<String>,
    /// Whether files that are no scripts are read by us.
    pub serves_files: bool,
    /// Whether what a symbolic link finds outside the root counts as inside.
    pub follows_links: bool,
    /// Bytes of a request in chunks that are held until its length is known.
    pub chunked_bytes: u64,
    /// Whether connections to php-fpm are kept between requests.
    pub keeps_connections: bool,
    /// Whose the children of a php-fpm of ours are.
    pub user: Option<String>,
}

impl Default for Php {
    fn default() -> Self {
        Self {
            root: "/".into(),
            index: vec!["index.php".to_owned(), "index.html".to_owned()],
            front: Some("/index.php".to_owned()),
            serves_files: true,
            follows_links: false,
            chunked_bytes: 1 << 20,
            keeps_connections: true,
            user: None,
        }
    }
}

/// How a php-fpm of ours is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhpFpm {
    /// Processes that serve, one request each: as many as it has slots.
    pub children: u32,
    /// Whose they are, where we are root; whoever we find if `None`.
    pub user: Option<String>,
    /// Whether the command names a configuration of its own: then nothing is written.
    pub is_configured: bool,
}
