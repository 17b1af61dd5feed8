//! `check`, `config` and the exit codes, on the built binary.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the binary in `dir` with no environment but `PATH`.
fn warmfront(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_warmfront"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(env.iter().copied())
        .output()
        .expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

#[test]
fn check_of_a_valid_file_says_so_in_one_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, line) in [
        ("configs/edge.toml", "configs/edge.toml: valid (2 workers × "),
        ("configs/fc.toml", "configs/fc.toml: valid (2 workers × "),
        ("configs/minimal.toml", "configs/minimal.toml: valid (2 workers × "),
    ] {
        let output = warmfront(root, &["check", "--config", name], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        assert!(said.starts_with(line) && said.ends_with("port 9000)\n"), "{said}");
        assert_eq!(said.lines().count(), 1);
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn check_reports_every_problem_at_once_and_exits_78() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("warmfront.toml"), "port = 1\n[workers]\ncount = 0\n").expect("written");
    for args in
        [["check", "--port", "x"].as_slice(), &["run", "--check", "--port", "x"], &["run", "--port", "x"]]
    {
        let output = warmfront(dir.path(), args, &[("WARMFRONT_THREADS", "many")]);
        assert_eq!(output.status.code(), Some(78));
        assert!(output.stdout.is_empty());
        assert_eq!(
            text(&output.stderr),
            "warmfront: warmfront.toml:1: There is no key `port`.\n  \
             Did you mean `listen.port`? Write `port` below `[listen]`.\n\
             warmfront: warmfront.toml:3: `workers.count = 0` is not within 1 to 512.\n  \
             Set 1 to 512, or remove the line for the default (2).\n\
             warmfront: WARMFRONT_THREADS: `threads = many` is not a whole number.\n  \
             Set auto or 1 to 256, or unset it for the default (auto).\n\
             warmfront: --port: `listen.port = x` is not a whole number.\n  \
             Set 0 to 65535, or leave it out for the default (9000).\n\
             4 problems.\n"
        );
    }
}

#[test]
fn check_without_a_file_says_that_there_is_none() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = warmfront(dir.path(), &["check", "--", "sh", "-c", "true"], &[]);
    assert_eq!(text(&output.stdout), "no file: valid (2 workers × 1 slot, port 9000)\n");
}

#[test]
fn config_prints_values_with_their_origin() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = "[queue]\ndepth = 7\n[workers.env]\nAPI_TOKEN = \"hush\"\n";
    std::fs::write(dir.path().join("warmfront.toml"), file).expect("written");
    let output = warmfront(dir.path(), &["config", "--threads", "2"], &[("FC_SERVER_PORT", "9100")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    for (value, origin) in [
        ("listen.port = 9100", "# environment FC_SERVER_PORT"),
        ("threads = 2", "# flag --threads"),
        ("queue.depth = 7", "# warmfront.toml:2"),
        ("workers.env.API_TOKEN = \"***\"", "# warmfront.toml:"),
        ("drain.deadline = \"25s\"", "# default"),
        ("# file: warmfront.toml", "(found in the working directory)"),
    ] {
        let line =
            said.lines().find(|line| line.starts_with(value)).unwrap_or_else(|| panic!("{value}: {said}"));
        assert!(line.contains(origin), "{line}");
    }
    assert!(!said.contains("hush"));
}

#[test]
fn wrong_usage_exits_64_and_help_exits_0() {
    let dir = tempfile::tempdir().expect("a directory");
    for (args, code) in [
        (["walk"].as_slice(), 64),
        (&["run", "--nope"], 64),
        (&["--help"], 0),
        (&["run", "--help"], 0),
        (&["--version"], 0),
    ] {
        assert_eq!(warmfront(dir.path(), args, &[]).status.code(), Some(code), "{args:?}");
    }
    let version = warmfront(dir.path(), &["-V"], &[]);
    assert_eq!(text(&version.stdout), format!("warmfront {}\n", env!("CARGO_PKG_VERSION")));
}
