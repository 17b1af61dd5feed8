//! Where people and programs that run the instance ask about it, and what they must show to change it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::secret::Token;

/// The admin listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; nowhere if `None`.
    pub listen: Option<AdminPlace>,
    /// Whether an address may be one that others can reach.
    pub remote: bool,
    /// What a call must bear that changes something, or that comes from elsewhere.
    pub token: Option<Token>,
}

/// Where the admin listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminPlace {
    /// An address and a port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// A Unix socket that is made there.
    Unix(PathBuf),
}

impl fmt::Display for AdminPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}
