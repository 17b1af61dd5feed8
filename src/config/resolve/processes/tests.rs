//! What is promised of `[[process]]`, from the text of a file to what holds.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::load::{self, Flags, World};
use crate::config::processes::{OnExit, Process};
use crate::config::{Config, show};

/// A world with this file, these variables, and nothing else.
fn load(text: &str, env: &[(&str, &str)]) -> Result<(Config, String), Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.toml"), text).unwrap();
    let world = World {
        env: env.iter().map(|(name, value)| (name.into(), value.into())).collect::<BTreeMap<_, _>>(),
        dir: dir.path().to_owned(),
        bootstrap: dir.path().join("none"),
        current_exe: std::env::current_exe().unwrap(),
        temp_dir: "/tmp".into(),
        cpus: 2,
    };
    let flags = Flags { config: Some(dir.path().join("a.toml")), ..Flags::default() };
    let short = |text: String| text.replace(&dir.path().display().to_string(), "");
    match load::load(&flags, &world) {
        Ok(loaded) => {
            let listing = short(show::listing(&loaded.config, &loaded.layers));
            Ok((loaded.config, listing))
        }
        Err(problems) => Err(problems.iter().map(|problem| short(problem.to_string())).collect()),
    }
}

fn each(text: &str, env: &[(&str, &str)]) -> Vec<Process> {
    load(text, env).unwrap_or_else(|problems| panic!("{problems:?}")).0.processes.each
}

fn problems(text: &str) -> Vec<String> {
    load(text, &[]).expect_err("problems")
}

const BESIDE: &str = "upstream = \"noslate\"\n";

#[test]
fn a_process_needs_a_name_and_a_command_and_the_rest_has_defaults() {
    let found = each(&format!("{BESIDE}[[process]]\nname = \"a\"\ncommand = [\"x\", \"y\"]\n"), &[]);
    assert_eq!(
        found,
        [Process {
            name: "a".into(),
            argv: vec!["x".into(), "y".into()],
            env: Vec::new(),
            cwd: None,
            ready: None,
            log: None,
            on_exit: OnExit::Restart,
            grace: Duration::from_secs(10),
            start_deadline: Duration::from_secs(60),
        }]
    );
}

#[test]
fn references_are_replaced_from_the_environment_and_the_log_directory_names_files() {
    let text = format!(
        "{BESIDE}[[process]]\nname = \"a\"\ncommand = [\"${{BIN}}/x\", \"$${{BIN}}\"]\nready = \"${{RUN:-/run}}/a.sock\"\n\
         cwd = \"${{BIN}}\"\non_exit = \"stop\"\ngrace = \"2s\"\nenv.SOCK = \"${{RUN:-/run}}\"\n\
         [[process]]\nname = \"b\"\ncommand = [\"y\"]\nlog = \"${{BIN}}/b\"\n"
    );
    let found = each(&text, &[("BIN", "/opt"), ("NOSLATE_LOGDIR", "/logs")]);
    let [a, b] = found.as_slice() else { panic!("two: {found:?}") };
    assert_eq!(a.argv, ["/opt/x", "${BIN}"]);
    assert_eq!(a.ready.as_deref(), Some("/run/a.sock".as_ref()));
    assert_eq!(a.cwd.as_deref(), Some("/opt".as_ref()));
    assert_eq!(a.env, [("SOCK".to_owned(), "/run".to_owned())]);
    assert_eq!((a.on_exit, a.grace), (OnExit::Stop, Duration::from_secs(2)));
    assert_eq!(a.log.as_deref(), Some("/logs/a.log".as_ref()));
    assert_eq!(b.log.as_deref(), Some("/opt/b".as_ref()));
}

#[test]
fn every_problem_is_told_at_once_with_its_line() {
    let text = format!(
        "{BESIDE}[[process]]\nname = \"a/b\"\ncomand = [\"x\"]\ngrace = 3\n\n\
         [[process]]\nname = \"c\"\ncommand = [\"${{GONE}}/x\"]\nenv = {{ A = 1, B = \"${{GONE}}\" }}\non_exit = \"never\"\n"
    );
    assert_eq!(
        problems(&text),
        [
            "/a.toml:2: There is no `command` in the table of process `a/b`.\n  \
             Add it, such as `command = [\"turf\", \"-D\", \"-f\"]`.",
            "/a.toml:3: `name = \"a/b\"` of process `a/b` is no name for a process.\n  \
             It names a file: letters, digits, `.`, `_` and `-`, and the first is neither `.` nor `-`.\n  \
             Set a name such as turf.",
            "/a.toml:4: `[[process]]` has no field `comand`.\n  Did you mean `command`?",
            "/a.toml:5: `grace = 3` of process `a/b` has no unit.\n  Seconds and milliseconds are both likely.\n  \
             Write \"3s\" for seconds, or remove the line for the default (10s).",
            "/a.toml:9: `command = [\"${GONE}/x\"]` of process `c` refers to GONE, which is not set.\n  \
             References are replaced from our own environment when the file is read.\n  \
             Set GONE, write ${GONE:-default}, or $${GONE} if it is not for us.",
            "/a.toml:10: `env.A` of process `c` is not text.\n  A variable is always text.\n  Put its value in quotes.",
            "/a.toml:10: `env.B` of process `c` refers to GONE, which is not set.\n  \
             References are replaced from our own environment when the file is read.\n  \
             Set GONE, write ${GONE:-default}, or $${GONE} if it is not for us.",
            "/a.toml:11: `on_exit = \"never\"` of process `c` is not a known choice.\n  \
             Set \"restart\" or \"stop\", or remove the line for the default (restart).",
        ]
    );
}

#[test]
fn two_that_could_not_be_told_apart_are_refused() {
    let one = "[[process]]\nname = \"a\"\ncommand = [\"x\"]\nready = \"/run/a\"\n";
    let found = problems(&format!("{BESIDE}{one}{one}"));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("/a.toml:7: There are two processes `a`."), "{found:?}");
    assert!(found[1].starts_with("/a.toml:9: Process `a` waits for `/run/a`, as `a` does."), "{found:?}");
}

#[test]
fn workers_that_we_start_have_one_owner() {
    let found = problems("[[process]]\nname = \"a\"\ncommand = [\"x\"]\n");
    assert!(
        found[0].contains("`[[process]]` means nothing beside workers that we start ourselves.")
            && found[0].contains("Two owners would wait for the same children"),
        "{found:?}"
    );
    assert!(load("workers.sockets = [\"/a\"]\n[[process]]\nname = \"a\"\ncommand = [\"x\"]\n", &[]).is_ok());
}

#[test]
fn other_forms_than_an_array_of_tables_say_how_to_write_it() {
    for text in ["process = 1\n", "[process]\nname = \"a\"\n", "process = [1]\n"] {
        let found = problems(&format!("{BESIDE}{text}"));
        assert!(
            found.len() == 1
                && found[0].contains("is not a list of tables")
                && found[0].contains("[[process]]"),
            "{text}: {found:?}"
        );
    }
}

#[test]
fn pauses_of_workers_mean_something_with_processes_and_a_log_directory_only_with_them() {
    let pauses = "workers.backoff_min = \"5ms\"\nworkers.backoff_max = \"7ms\"\n";
    let process = "[[process]]\nname = \"a\"\ncommand = [\"x\"]\n";
    let (config, _) = load(&format!("{BESIDE}{pauses}{process}"), &[]).unwrap();
    assert_eq!(config.processes.backoff, (Duration::from_millis(5), Duration::from_millis(7)));
    assert_eq!(problems(&format!("{BESIDE}{pauses}")).len(), 2);
    let found = problems(&format!("{BESIDE}log.process_dir = \"/l\"\n"));
    assert!(found[0].contains("means nothing without `[[process]]`"), "{found:?}");
    assert!(load(BESIDE, &[("NOSLATE_LOGDIR", "/l")]).is_ok(), "an image may say where logs would be");
}

#[test]
fn the_listing_has_their_fields_and_places_keeps_secrets_and_means_the_same() {
    let text = "workers.sockets = [\"/s\"]\n[[process]]\nname = \"a\"\ncommand = [\"x\"]\nready = \"/r\"\n\
                env = { API_TOKEN = \"hush\", B = \"1\" }\n[[process]]\nname = \"b\"\ncommand = [\"y\"]\n\
                on_exit = \"stop\"\n";
    let (config, listing) = load(text, &[]).unwrap();
    assert!(!listing.contains("hush") && !format!("{config:?}").contains("hush"), "{listing}");
    let line = |start: &str| listing.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("ready = \"/r\"").ends_with("/a.toml:5"), "{listing}");
    assert!(line("grace = \"10s\"").ends_with("# default"), "{listing}");
    assert!(line("env.API_TOKEN = \"***\"").ends_with("/a.toml:6"), "{listing}");
    let (again, _) = load(&listing.replace("***", "hush"), &[]).unwrap();
    assert_eq!(again.processes, config.processes);
}

#[test]
fn a_slip_in_the_head_or_a_variable_for_it_leads_to_the_table() {
    for head in ["[[proces]]", "[[processes]]", "[processes]"] {
        let found = problems(&format!("{BESIDE}{head}\nname = \"a\"\n"));
        assert!(found[0].ends_with("Did you mean `[[process]]`?"), "{head}: {found:?}");
    }
    let found = load(BESIDE, &[("WARMFRONT_PROCESS", "a")]).unwrap_err();
    assert!(found[0].contains("Write `[[process]]` in the file"), "{found:?}");
}
