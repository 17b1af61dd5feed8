//! Precedence, places and facts, over files and environments made for the test.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::config::{CommandChoice, WorkerSource};

/// A world of its own: an empty directory, no variables, no bootstrap, this test as binary.
struct Stage {
    dir: TempDir,
    world: World,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = World {
            env: BTreeMap::new(),
            dir: dir.path().to_owned(),
            bootstrap: dir.path().join("no-bootstrap"),
            current_exe: std::env::current_exe().unwrap(),
            temp_dir: "/tmp".into(),
            cpus: 2,
        };
        Self { dir, world }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.world.env.insert(name.into(), value.into());
        self
    }

    fn file(self, text: &str) -> Self {
        fs::write(self.dir.path().join(DEFAULT_FILE), text).unwrap();
        self
    }

    fn program(self, name: &str, mode: u32) -> Self {
        let path = self.dir.path().join(name);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn load(&self, flags: &Flags) -> Result<Loaded, Vec<String>> {
        let dir = format!("{}/", self.dir.path().display());
        load(flags, &self.world).map_err(|problems| {
            problems.iter().map(|problem| problem.to_string().replace(&dir, "")).collect()
        })
    }

    fn problems(&self, flags: &Flags) -> Vec<String> {
        self.load(flags).expect_err("problems")
    }
}

fn port(port: &str) -> Flags {
    Flags { port: Some(port.into()), ..Flags::default() }
}

#[test]
fn the_port_is_taken_from_flag_then_environment_then_platform_then_file_then_default() {
    let none = Flags::default();
    let mut stage = Stage::new();
    let expect = |stage: &Stage, flags: &Flags, port: u16| {
        assert_eq!(stage.load(flags).unwrap().config.listen.port, port);
    };
    expect(&stage, &none, 9000);
    stage = stage.file("listen.port = 1");
    expect(&stage, &none, 1);
    stage = stage.env("FC_SERVER_PORT", "2");
    expect(&stage, &none, 2);
    stage = stage.env("FC_CUSTOM_LISTEN_PORT", "3");
    expect(&stage, &none, 3);
    stage = stage.env("WARMFRONT_LISTEN_PORT", "4");
    expect(&stage, &none, 4);
    expect(&stage, &port("5"), 5);
}

#[test]
fn a_platform_port_that_is_no_number_names_its_variable() {
    let found = Stage::new().env("FC_SERVER_PORT", "http").problems(&Flags::default());
    assert_eq!(
        found,
        [
            "FC_SERVER_PORT: `listen.port = http` is not a whole number.\n  Set 0 to 65535, or unset it for the default (9000)."
        ]
    );
    // Something stronger said the port, so nobody asks the platform.
    assert!(Stage::new().env("FC_SERVER_PORT", "http").load(&port("1")).is_ok());
}

#[test]
fn every_key_is_taken_from_the_strongest_layer_that_sets_it() {
    for key in KEYS {
        let text = match key.kind {
            Kind::Words | Kind::Paths => format!("{} = [\"file\"]", key.path),
            Kind::Variables => format!("{}.A = \"file\"", key.path),
            Kind::Tables(_) => format!("[[{}]]\nname = \"file\"", key.path),
            _ => format!("{} = \"file\"", key.path),
        };
        let none = Flags::default();
        let mut stage = Stage::new();
        assert_eq!(layers(&none, &stage.world).source(key.path), &Source::Default);
        stage = stage.file(&text);
        let from_file = layers(&none, &stage.world);
        assert_eq!(
            from_file.source(key.path).place(),
            Some(format!("{}:1", stage.world.dir.join(DEFAULT_FILE).display()))
        );
        let Some(name) = key.env_name() else { continue };
        stage = stage.env(&name, "env");
        assert_eq!(layers(&none, &stage.world).source(key.path), &Source::Env(name));
        let Some(flag) = key.flag else { continue };
        let word = Some(OsString::from("flag"));
        let all = Flags {
            config: None,
            workers: word.clone(),
            port: word.clone(),
            concurrency: word.clone(),
            threads: word.clone(),
            engine: word.clone(),
            transport: word.clone(),
            app_port: word.clone(),
            upstream: word.clone(),
            access_log: word.clone(),
            admin: word,
            sockets: vec!["flag".into()],
            command: vec!["flag".into()],
        };
        assert_eq!(layers(&all, &stage.world).source(key.path), &Source::Flag(flag), "{}", key.path);
    }
}

#[test]
fn every_default_can_be_said_in_the_environment() {
    let mut stage = Stage::new();
    for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
        stage = stage.env(&key.env_name().unwrap(), key.default);
    }
    let said = stage.load(&Flags::default()).unwrap().config;
    let mut silent = Stage::new().load(&Flags::default()).unwrap().config;
    silent.workers.tell_start = false; // Said explicitly, it also holds for the demo worker.
    assert_eq!(said, silent);
}

#[test]
fn the_file_is_named_by_flag_then_variable_then_found() {
    let stage = Stage::new().file("threads = 3");
    let name = |stage: &Stage, flags: &Flags| {
        let file = stage.load(flags).unwrap().layers.file.unwrap();
        (file.path.file_name().unwrap().to_str().unwrap().to_owned(), file.chosen_by)
    };
    let other = |name: &str| {
        let path = stage.dir.path().join(name);
        fs::write(&path, "threads = 4").unwrap();
        path
    };
    let (by_env, by_flag) = (other("env.toml"), other("flag.toml"));
    let none = Flags::default();
    assert_eq!(name(&stage, &none), ("warmfront.toml".to_owned(), "found in the working directory"));
    let stage = stage.env(ENV_CONFIG, by_env.to_str().unwrap());
    assert_eq!(name(&stage, &none), ("env.toml".to_owned(), "named by WARMFRONT_CONFIG"));
    let flags = Flags { config: Some(by_flag), ..none };
    assert_eq!(name(&stage, &flags), ("flag.toml".to_owned(), "named by --config"));
}

#[test]
fn a_named_file_that_is_not_there_is_a_problem_and_an_unnamed_one_is_not() {
    assert_eq!(Stage::new().load(&Flags::default()).unwrap().name(), "no file");
    let flags = Flags { config: Some("/nowhere/a.toml".into()), ..Flags::default() };
    let found = Stage::new().problems(&flags);
    assert!(
        found[0].starts_with("--config: The configuration file `/nowhere/a.toml` cannot be read."),
        "{found:?}"
    );
    let found = Stage::new().env(ENV_CONFIG, "/nowhere/a.toml").problems(&Flags::default());
    assert!(found[0].starts_with("WARMFRONT_CONFIG: "), "{found:?}");
}

#[test]
fn all_problems_of_all_layers_come_at_once_and_in_order() {
    let stage = Stage::new()
        .file("thread = 1\n[queue]\ndepth = -1\nsize = 3\n[workers]\ncommand = [\"no-such-program\"]\n")
        .env("WARMFRONT_LISTEN_PROT", "1")
        .env("WARMFRONT_LIMITS_FIELDS", "x");
    let found = stage.problems(&port("x"));
    let places: Vec<_> = found.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "warmfront.toml:1",
            "warmfront.toml:3",
            "warmfront.toml:4",
            "warmfront.toml:6",
            "WARMFRONT_LIMITS_FIELDS",
            "WARMFRONT_LISTEN_PROT",
            "--port"
        ],
        "{found:#?}"
    );
}

#[test]
fn an_unknown_variable_names_the_nearest_one() {
    let found = Stage::new().env("WARMFRONT_WORKERS_COUTN", "1").problems(&Flags::default());
    assert!(found[0].ends_with("Did you mean `WARMFRONT_WORKERS_COUNT`?"), "{}", found[0]);
    let found = Stage::new().env("WARMFRONT_WORKERS_ENV", "A=1").problems(&Flags::default());
    assert!(found[0].contains("Write `[workers.env]` in the file"), "{}", found[0]);
    let found = Stage::new().env("WARMFRONT_WORKER_COUNT", "1").problems(&Flags::default());
    assert!(found[0].ends_with("Did you mean `WARMFRONT_WORKERS_COUNT`?"), "{}", found[0]);
}

#[test]
fn variables_that_we_set_for_workers_are_no_problem() {
    let stage = Stage::new().env("WARMFRONT_SOCKET", "/a").env("WARMFRONT_WORKER_ID", "3").env("PORT", "x");
    assert!(stage.load(&Flags::default()).is_ok());
}

#[test]
fn a_program_is_looked_for_as_exec_would() {
    let command =
        |words: &[&str]| Flags { command: words.iter().map(OsString::from).collect(), ..Flags::default() };
    let stage = Stage::new().program("app", 0o755).program("data", 0o644);
    let dir = stage.dir.path().to_str().unwrap().to_owned();
    let stage = stage.env("PATH", &dir);
    for found in ["app", "./app", &format!("{dir}/app"), "{worker}"] {
        assert!(stage.load(&command(&[found])).is_ok(), "{found}");
    }
    for (missing, says) in [
        ("nope", "`nope` is not there"),
        ("./nope", "`./nope` is not there"),
        ("data", "data` may not be executed"),
        ("/", "may not be executed"),
    ] {
        let found = stage.problems(&command(&[missing]));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("command line: ") && found[0].contains(says), "{}", found[0]);
    }
}

#[test]
fn the_workers_own_path_and_directory_decide() {
    let stage = Stage::new();
    fs::create_dir(stage.dir.path().join("bin")).unwrap();
    let stage = stage.program("bin/app", 0o755).env("PATH", "/nowhere");
    let file = |text: &str| {
        fs::write(stage.dir.path().join(DEFAULT_FILE), text).unwrap();
        stage.load(&Flags::default()).map(|_| ())
    };
    assert!(file("workers.command = [\"app\"]").is_err());
    let bin = stage.dir.path().join("bin");
    assert_eq!(file(&format!("workers.command = [\"app\"]\nworkers.env.PATH = {bin:?}")), Ok(()));
    assert_eq!(file("workers.command = [\"./app\"]\nworkers.cwd = \"bin\""), Ok(()));
    let found = file("workers.cwd = \"bim\"").unwrap_err();
    assert!(found[0].contains("is no directory"), "{found:?}");
}

#[test]
fn the_bootstrap_must_be_executable() {
    let mut stage = Stage::new().program("bootstrap", 0o755);
    stage.world.bootstrap = stage.dir.path().join("bootstrap");
    let WorkerSource::Spawn(spawn) = stage.load(&Flags::default()).unwrap().config.workers.source else {
        panic!("spawned workers")
    };
    assert_eq!(spawn.chosen, CommandChoice::Bootstrap);
    let stage = stage.program("bootstrap", 0o644);
    assert!(stage.problems(&Flags::default())[0].contains("may not be executed"));
}

#[test]
fn warmfront_as_the_bootstrap_does_not_start_itself_for_ever() {
    let mut stage = Stage::new().program("bootstrap", 0o755);
    stage.world.bootstrap = stage.dir.path().join("bootstrap");
    // A script that starts us: noticed one level down, by what we set for workers.
    let stage = stage.env("WARMFRONT_SOCKET", "/a");
    assert!(stage.problems(&Flags::default())[0].contains("starts warmfront"));
    let command = Flags { command: vec!["./bootstrap".into()], ..Flags::default() };
    assert!(stage.load(&command).is_ok());
    // The very same file: not taken for the worker at all.
    let mut stage = Stage::new().program("bootstrap", 0o755);
    stage.world.bootstrap = stage.dir.path().join("bootstrap");
    stage.world.current_exe = stage.dir.path().join("./bootstrap");
    let WorkerSource::Spawn(spawn) = stage.load(&Flags::default()).unwrap().config.workers.source else {
        panic!("spawned workers")
    };
    assert_eq!(spawn.chosen, CommandChoice::Demo);
}

#[test]
fn the_ready_configurations_are_valid() {
    for name in ["minimal.toml", "fc.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs").join(name);
        let flags = Flags { config: Some(path), ..Flags::default() };
        assert_eq!(Stage::new().load(&flags).map(|_| ()), Ok(()), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_file_and_no_variable_make_loading_panic(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..100),
            "(\\[?(listen|workers|queue|limits)\\]?[.= ]?(port|env|count|command)? ?= ?[0-9a-z\\[\\]{}\"]{0,5}\n){0,5}"
                .prop_map(String::into_bytes),
        ],
        value in ".{0,10}",
        index in 0..KEYS.len(),
    ) {
        let stage = Stage::new();
        fs::write(stage.dir.path().join(DEFAULT_FILE), bytes).unwrap();
        let stage = match KEYS[index].env_name() {
            Some(name) => stage.env(&name, &value),
            None => stage,
        };
        if let Err(problems) = stage.load(&Flags::default()) {
            prop_assert!(!problems.is_empty());
        }
    }
}
