//! Every configuration key, once.
//!
//! Reading, checking, listing and the documents all walk [`KEYS`]; a key that is
//! not there does not exist, and a default is written nowhere else. The environment
//! name is derived, so it can never drift from the path.

pub use self::table::KEYS;

/// One configuration key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Dotted path in the file, e.g. `listen.port`.
    pub path: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The default as one would write it in the environment; empty if the value is derived or unset.
    pub default: &'static str,
    /// One or two sentences for a person, with the unit.
    pub help: &'static str,
    /// The command-line flag, `--` for the words that follow it.
    pub flag: Option<&'static str>,
    /// Variables the platform sets for the same purpose, strongest first, all weaker than our own.
    pub platform_env: &'static [&'static str],
}

/// What values a key takes. Bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An IP address.
    Address,
    /// A whole number.
    Number(u64, u64),
    /// `auto` or a whole number.
    AutoOr(u64, u64),
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A time with its unit, at most [`Kind::PERIOD_MAX_SECS`].
    Period(Zero),
    /// Bytes: a whole number, or a number with its unit.
    Size(u64, u64),
    /// A path.
    Path,
    /// The path of a request, at most [`Kind::TARGET_MAX_BYTES`]; empty for none.
    Target,
    /// An address with its port, or the path of a Unix socket; empty for none.
    Place,
    /// The URL of a collector; empty for none.
    Collector,
    /// A text of at most [`Kind::TEXT_MAX_BYTES`]; empty for the default.
    Text,
    /// A text that is shown to nobody.
    Secret,
    /// A list of words; separated by whitespace in the environment.
    Words,
    /// A list of paths; separated by `:` in the environment.
    Paths,
    /// A table of texts; only in the file.
    Variables,
    /// An array of tables with these fields; only in the file.
    Tables(&'static [Key]),
}

/// Whether a period of zero means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// Zero is a choice: not at all, or at once.
    Allowed,
    /// Zero would break what the period is for.
    Refused,
}

impl Kind {
    /// One day: FC's longest invocation. Longer is a slip of the unit.
    pub const PERIOD_MAX_SECS: u64 = 24 * 60 * 60;
    /// Bytes of a path that a request may be given instead of its own: they stand in front of its head.
    pub const TARGET_MAX_BYTES: usize = 200;
    /// Bytes of a text: it is a name.
    pub const TEXT_MAX_BYTES: usize = 255;
}

impl Key {
    const fn new(path: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Self {
        Self { path, kind, default, help, flag: None, platform_env: &[] }
    }

    const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    /// The key at this dotted path.
    #[must_use]
    pub fn find(path: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.path == path)
    }

    /// Our environment variable for it, e.g. `WARMFRONT_LISTEN_PORT`; tables have none.
    #[must_use]
    pub fn env_name(&self) -> Option<String> {
        (!matches!(self.kind, Kind::Variables | Kind::Tables(_)))
            .then(|| format!("{ENV_PREFIX}{}", self.path.to_ascii_uppercase().replace('.', "_")))
    }

    /// Every variable that can set it, strongest first.
    #[must_use]
    pub fn env_names(&self) -> Vec<String> {
        self.env_name().into_iter().chain(self.platform_env.iter().map(|name| (*name).to_owned())).collect()
    }
}

/// What our own environment variables begin with.
pub const ENV_PREFIX: &str = "WARMFRONT_";

/// The variable that names the configuration file.
pub const ENV_CONFIG: &str = "WARMFRONT_CONFIG";

mod process;
mod table;
#[cfg(test)]
mod tests;
