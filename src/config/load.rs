//! The one place that reads the configuration file, the environment and the machine.
//!
//! Layers, weakest first: defaults, file, environment, flags. For the port the
//! environment has an order of its own: `WARMFRONT_LISTEN_PORT`, then
//! `FC_CUSTOM_LISTEN_PORT`, then `FC_SERVER_PORT`, each stronger than the file:
//! the platform knows better than a file in the image which port it dials.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::file;
use super::keys::{ENV_CONFIG, ENV_PREFIX, KEYS, Key, Kind};
use super::layers::{ConfigFile, Finding, Layers, Source, Value};
use super::nearest::nearest_variable;
use super::noslate::Duties;
use super::read;
use super::resolve::{self, BOOTSTRAP, Facts, Program};
use super::trace;
use super::{Admin, Config};
use crate::error::Problem;

/// The file that is read when nobody names one and it exists: in the working directory, or beside this
/// binary if that is named like the platform's bootstrap.
pub const DEFAULT_FILE: &str = "warmfront.toml";

/// Where programs are looked for when `PATH` is not set, as libc does.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// Variables beside the keys that are ours: the file, and what we set for our workers.
const OWN_VARIABLES: &[&str] = &[ENV_CONFIG, WORKER_SOCKET];
const WORKER_SOCKET: &str = "WARMFRONT_SOCKET";
const WORKER_PREFIX: &str = "WARMFRONT_WORKER_";

/// What the command line said; nothing is judged yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--workers`.
    pub workers: Option<OsString>,
    /// `--port`.
    pub port: Option<OsString>,
    /// `--concurrency`.
    pub concurrency: Option<OsString>,
    /// `--threads`.
    pub threads: Option<OsString>,
    /// `--engine`.
    pub engine: Option<OsString>,
    /// `--transport`.
    pub transport: Option<OsString>,
    /// `--app-port`.
    pub app_port: Option<OsString>,
    /// `--upstream`.
    pub upstream: Option<OsString>,
    /// `--access-log`.
    pub access_log: Option<OsString>,
    /// `--admin`.
    pub admin: Option<OsString>,
    /// Every `--socket`, in order.
    pub sockets: Vec<OsString>,
    /// The words after `--`.
    pub command: Vec<OsString>,
}

impl Flags {
    /// The value for `flag`, if it was given.
    fn value(&self, flag: &str) -> Option<Value> {
        let word = |word: &Option<OsString>| word.clone().map(Value::Word);
        let list = |words: &[OsString]| {
            (!words.is_empty()).then(|| Value::List(words.iter().cloned().map(Value::Word).collect()))
        };
        match flag {
            "--workers" => word(&self.workers),
            "--port" => word(&self.port),
            "--concurrency" => word(&self.concurrency),
            "--threads" => word(&self.threads),
            "--engine" => word(&self.engine),
            "--transport" => word(&self.transport),
            "--app-port" => word(&self.app_port),
            "--upstream" => word(&self.upstream),
            "--access-log" => word(&self.access_log),
            "--admin" => word(&self.admin),
            "--socket" => list(&self.sockets),
            "--" => list(&self.command),
            _ => None,
        }
    }
}

/// Everything outside that decides, so that tests can bring their own.
#[derive(Clone, Debug)]
pub struct World {
    /// The environment.
    pub env: BTreeMap<OsString, OsString>,
    /// Where [`DEFAULT_FILE`] and relative programs are looked for; empty for the working directory.
    pub dir: PathBuf,
    /// The platform's default worker.
    pub bootstrap: PathBuf,
    /// This binary.
    pub current_exe: PathBuf,
    /// The system's temporary directory.
    pub temp_dir: PathBuf,
    /// CPUs this process may use.
    pub cpus: usize,
}

impl World {
    /// This process on this machine.
    #[must_use]
    pub fn real() -> Self {
        Self {
            env: std::env::vars_os().collect(),
            dir: PathBuf::new(),
            bootstrap: BOOTSTRAP.into(),
            // Only fails without /proc or after the binary was deleted; the link still starts it then.
            current_exe: std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into()),
            temp_dir: std::env::temp_dir(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// A valid configuration and where each part came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What holds.
    pub config: Config,
    /// Who said so.
    pub layers: Layers,
}

impl Loaded {
    /// The file that was read, or `no file`, for messages.
    #[must_use]
    pub fn name(&self) -> String {
        self.layers.file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.path.display().to_string())
    }
}

/// Reads all layers and resolves them. Opens the file and looks for the worker's
/// program; touches no port and starts nothing.
///
/// # Errors
/// Every problem at once, in the order of [`resolve::resolve`].
pub fn load(flags: &Flags, world: &World) -> Result<Loaded, Vec<Problem>> {
    let layers = layers(flags, world);
    let config = resolve::resolve(&layers, &facts(&layers, world))?;
    Ok(Loaded { config, layers })
}

/// Where the admin of the instance listens that is configured so; see [`resolve::admin`].
///
/// # Errors
/// Every problem with what says so, at once.
pub fn admin(flags: &Flags, world: &World) -> Result<Admin, Vec<Problem>> {
    resolve::admin(&layers(flags, world))
}

/// The files of Noslate's profiles that a configuration names, even if other parts of it are wrong, and nothing
/// else. So a person learns at once what is wrong with them too.
#[must_use]
pub fn noslate_files(flags: &Flags, world: &World) -> Duties {
    let layers = layers(flags, world);
    let said = |key| layers.setting(key).and_then(|setting| read::path(&setting.value).ok());
    let is_chosen = said("upstream").is_some_and(|who| who.as_os_str() == "noslate");
    let file = |key| said(key).filter(|_| is_chosen);
    Duties { profiles: file("noslate.profiles"), services: file("noslate.services"), ..Duties::default() }
}

/// What was said, by whom; problems of reading are kept in [`Layers::findings`].
#[must_use]
pub fn layers(flags: &Flags, world: &World) -> Layers {
    let mut layers = Layers::default();
    read_file(flags, world, &mut layers);
    read_env(&world.env, &mut layers);
    for key in KEYS {
        if let Some((flag, value)) = key.flag.and_then(|flag| Some((flag, flags.value(flag)?))) {
            layers.set(key, value, Source::Flag(flag));
        }
    }
    layers
}

fn read_file(flags: &Flags, world: &World, layers: &mut Layers) {
    let named = world.env.get(OsStr::new(ENV_CONFIG));
    let (path, source, chosen_by) = match (&flags.config, named) {
        (Some(path), _) => (path.clone(), Source::Flag("--config"), "named by --config"),
        (None, Some(path)) => (path.into(), Source::Env(ENV_CONFIG.to_owned()), "named by WARMFRONT_CONFIG"),
        (None, None) => match beside_bootstrap(world) {
            Some(path) => (path, Source::Default, "found beside the bootstrap"),
            None => (world.dir.join(DEFAULT_FILE), Source::Default, "found in the working directory"),
        },
    };
    match std::fs::read(&path) {
        Ok(bytes) => {
            file::read(&bytes, &path, layers);
            layers.file = Some(ConfigFile { path, chosen_by });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && source == Source::Default => {}
        Err(error) => {
            let what = format!("The configuration file `{}` cannot be read.", path.display());
            let fix = "Correct the name or the permissions, or leave it out to use defaults.";
            layers.findings.push(Finding::new(source, None, Problem::new(what, format!("{error}."), fix)));
        }
    }
}

/// The file beside this binary, if the binary is the platform's start command: nobody promises the working
/// directory in which that is run. One in the working directory is preferred.
fn beside_bootstrap(world: &World) -> Option<PathBuf> {
    let is_bootstrap = world.current_exe.file_name() == world.bootstrap.file_name();
    let beside = world.current_exe.with_file_name(DEFAULT_FILE);
    (is_bootstrap && !world.dir.join(DEFAULT_FILE).exists() && beside.exists()).then_some(beside)
}

fn read_env(env: &BTreeMap<OsString, OsString>, layers: &mut Layers) {
    for key in KEYS {
        let strongest = key.env_names().into_iter().find_map(|name| {
            let value = env.get(OsStr::new(&name))?;
            Some((name, value))
        });
        if let Some((name, value)) = strongest {
            layers.set(key, Value::Word(value.clone()), Source::Env(name));
        }
    }
    for name in env.keys().filter_map(|name| name.to_str()).filter(|name| is_unknown_variable(name)) {
        layers.findings.push(Finding::new(Source::Env(name.to_owned()), None, unknown_variable(name)));
    }
}

fn is_unknown_variable(name: &str) -> bool {
    let is_key = |name: &str| KEYS.iter().any(|key| key.env_name().as_deref() == Some(name));
    if let Some(rest) = name.strip_prefix(WORKER_PREFIX) {
        // Ours, set for workers, unless it is a key but for the plural.
        return is_key(&format!("WARMFRONT_WORKERS_{rest}"));
    }
    name.starts_with(ENV_PREFIX) && !OWN_VARIABLES.contains(&name) && !is_key(name)
}

fn is_set_for_workers(name: &str) -> bool {
    name == WORKER_SOCKET || (name.starts_with(WORKER_PREFIX) && !is_unknown_variable(name))
}

fn unknown_variable(name: &str) -> Problem {
    let table = KEYS
        .iter()
        .find(|key| key.env_name().is_none() && name == ENV_PREFIX.to_owned() + &shout(key))
        .map(|key| match key.kind {
            Kind::Tables(_) => format!("Write `[[{}]]` in the file; only there are its tables.", key.path),
            _ => format!("Write `[{}]` in the file; workers inherit our environment anyway.", key.path),
        });
    let fix = table.or_else(|| nearest_variable(name).map(|near| format!("Did you mean `{near}`?")));
    Problem::new(
        format!("There is no variable `{name}`."),
        "Every `WARMFRONT_` variable is a key, so that a slip is noticed.",
        fix.unwrap_or_else(|| "Unset it; `warmfront config --help` lists every key.".to_owned()),
    )
}

fn shout(key: &Key) -> String {
    key.path.to_ascii_uppercase().replace('.', "_")
}

/// What the machine says about what was said.
fn facts(layers: &Layers, world: &World) -> Facts {
    // We may be the bootstrap ourselves; starting it would then start us for ever.
    let bootstrap_exists = world.bootstrap.exists() && !is_same_file(&world.bootstrap, &world.current_exe);
    let cwd = layers.setting("workers.cwd").and_then(|setting| read::path(&setting.value).ok());
    let cwd = cwd.map(|cwd| world.dir.join(cwd));
    let program = match resolve::choose_command(layers, bootstrap_exists, &world.current_exe) {
        Ok((argv, _)) if !layers.is_set("workers.sockets") => {
            // The default is looked for where `World` says it is, so that tests can move it.
            let given = layers.is_set("workers.command") || !bootstrap_exists;
            let first = if given { argv.first().cloned() } else { Some(world.bootstrap.clone().into()) };
            let path = search_path(layers, world);
            let dir = cwd.as_deref().unwrap_or(&world.dir);
            first.map_or(Program::Found, |first| look_up(&first, dir, &path))
        }
        _ => Program::Found,
    };
    Facts {
        cpus: world.cpus,
        bootstrap_exists,
        is_worker: world.env.keys().filter_map(|name| name.to_str()).any(is_set_for_workers),
        current_exe: world.current_exe.clone(),
        temp_dir: world.temp_dir.clone(),
        program,
        php_root: php_root(layers, world, cwd.as_deref()),
        cwd_missing: cwd.is_some_and(|cwd| !cwd.is_dir()),
        function: function(world),
        can_trace: cfg!(feature = "otlp"),
        env: world.env.clone(),
    }
}

/// Where PHP's scripts would lie.
fn php_root(layers: &Layers, world: &World, cwd: Option<&Path>) -> Option<PathBuf> {
    let said = layers.setting("php.root").and_then(|setting| read::path(&setting.value).ok());
    let root = said.map(|root| world.dir.join(root)).or_else(|| cwd.map(Path::to_owned));
    let root = root.unwrap_or_else(|| world.dir.join("."));
    root.canonicalize().ok().filter(|root| root.is_dir())
}

/// What the platform says about the function.
fn function(world: &World) -> Vec<(&'static str, String)> {
    let said = |variable: &str| world.env.get(OsStr::new(variable))?.to_str().filter(|said| !said.is_empty());
    trace::FUNCTION.iter().filter_map(|&(name, variable)| Some((name, said(variable)?.to_owned()))).collect()
}

/// The `PATH` a worker will have, which is the one its program is looked for in.
fn search_path(layers: &Layers, world: &World) -> OsString {
    let entries = match layers.setting("workers.env").map(|setting| &setting.value) {
        Some(Value::Table(entries)) => entries.as_slice(),
        _ => &[],
    };
    let of_worker = entries.iter().find(|entry| entry.name == "PATH").and_then(|entry| match &entry.value {
        Value::Text(text) => Some(OsString::from(text)),
        _ => None,
    });
    of_worker.or_else(|| world.env.get(OsStr::new("PATH")).cloned()).unwrap_or_else(|| DEFAULT_PATH.into())
}

/// Looks for a program the way exec does: a word with a slash is a file relative
/// to `dir`, any other is looked for along `search`.
fn look_up(program: &OsStr, dir: &Path, search: &OsStr) -> Program {
    let plain = program.to_string_lossy();
    if plain.contains('{') {
        return Program::Found; // A placeholder; known when a worker is started.
    }
    let candidates: Vec<PathBuf> = if plain.contains('/') {
        vec![dir.join(program)]
    } else {
        std::env::split_paths(search).map(|part| dir.join(part).join(program)).collect()
    };
    if candidates.iter().any(|file| is_executable(file)) {
        return Program::Found;
    }
    match candidates.iter().find(|file| file.exists()) {
        Some(file) => Program::NotExecutable { file: file.clone() },
        None if plain.contains('/') => {
            Program::Missing { searched: format!("`{}`", candidates[0].display()) }
        }
        None => Program::Missing { searched: format!("it in PATH ({})", search.to_string_lossy()) },
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| path.metadata().map(|facts| (facts.dev(), facts.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests;
