//! Noslate: how its planes are found, which function a request is for, what the planes are told.
//!
//! Names and defaults are those of Noslate's images and its SDK (noslated v0.25).

use std::path::PathBuf;
use std::time::Duration;

/// The planes of one Noslate, behind whose Unix sockets the functions are.
#[derive(Clone, Debug, PartialEq)]
pub struct Noslate {
    /// `NOSLATED_WORKDIR`; the sockets are in `socks/` below it.
    pub workdir: PathBuf,
    /// How many data planes there are, from number 0: at least 1.
    pub data_planes: usize,
    /// Whether there is a control plane of ours to look after.
    pub has_control: bool,
    /// Where a request may name its function; the first that does decides.
    pub dispatch: Vec<DispatchRule>,
    /// Of requests that name none.
    pub target: Option<Target>,
    /// What functions get as the URL.
    pub url: UrlForm,
    /// How long a request may wait for a worker and for the head of its answer, together.
    pub timeout: Duration,
    /// Fields whose values functions get as baggage, in lower case.
    pub baggage: Vec<String>,
    /// Whether answers tell what functions and planes say about their errors.
    pub shows_errors: bool,
    /// What the control plane is told, and the data planes.
    pub duties: Duties,
}

/// What we tell the planes, and again whenever one of them has come back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Duties {
    /// The file of function profiles, JSON as Noslate's SDK takes it; those of somebody else stay if `None`.
    pub profiles: Option<PathBuf>,
    /// The file of service profiles.
    pub services: Option<PathBuf>,
    /// Variables that all functions get.
    pub env: Vec<(String, String)>,
    /// Functions that start with an inspector.
    pub inspect: Vec<String>,
    /// Whether the functions are taken back before the instance ends.
    pub clears_on_stop: bool,
}

/// Where a request may name its function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DispatchRule {
    /// In the field of this name, in lower case: `[function:|service:]NAME`.
    Header(String),
    /// In the path, behind this prefix, which ends with a slash; what follows the name is the URL.
    Path(String),
}

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The function of this name.
    Function(String),
    /// The service of this name, which chooses a function.
    Service(String),
}

/// What functions get as the URL of their request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlForm {
    /// Path and query, as Noslate's own gateways send it.
    Relative,
    /// With scheme and host, as `aworker` needs it: it takes a path for a file.
    Absolute,
}

impl Noslate {
    /// Data planes that one Noslate may have.
    pub const DATA_PLANES_MAX: u64 = 64;
    /// Most requests that a data plane may hold for us: its breaker opens behind 1,000 that wait.
    pub const CALLS_MAX: u32 = 900;

    /// The gRPC socket of data plane `id`.
    #[must_use]
    pub fn data_socket(&self, id: usize) -> PathBuf {
        self.workdir.join(format!("socks/dp-{id}.sock"))
    }

    /// The gRPC socket of the control plane.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.workdir.join("socks/cp-0.sock")
    }
}

impl Target {
    /// `function:NAME`, `service:NAME`, or a function's name alone; nothing else is empty or longer than 255 bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let target = match text.split_once(':') {
            Some(("function", name)) => Self::Function(name.to_owned()),
            Some(("service", name)) => Self::Service(name.to_owned()),
            _ => Self::Function(text.to_owned()),
        };
        Some(target).filter(|target| (1..=Self::NAME_BYTES_MAX).contains(&target.name().len()))
    }

    /// Bytes of a name.
    pub const NAME_BYTES_MAX: usize = 255;

    /// Its name, without what it is.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Function(name) | Self::Service(name) => name,
        }
    }
}
