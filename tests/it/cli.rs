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

/// What `command` prints on stdout; it must end with 0 and complain about nothing.
fn quietly(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} starts: {error}"));
    assert!(output.status.success() && output.stderr.is_empty(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn every_page_of_the_manual_renders_without_a_warning() {
    let dir = tempfile::tempdir().expect("a directory");
    let into = dir.path().to_str().expect("UTF-8");
    assert_eq!(warmfront(dir.path(), &["man", "--into", into], &[]).status.code(), Some(0));
    let mut pages: Vec<_> = std::fs::read_dir(dir.path())
        .expect("the pages")
        .map(|entry| entry.expect("a page").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "1"))
        .collect();
    pages.sort();
    let names: Vec<_> = pages.iter().filter_map(|page| page.file_stem()?.to_str()).collect();
    for wanted in ["warmfront", "warmfront-run", "warmfront-config", "warmfront-emulate", "warmfront-man"] {
        assert!(names.contains(&wanted), "{names:?}");
    }
    assert!(!names.contains(&"warmfront-demo-worker"), "{names:?}");
    for page in &pages {
        let said = quietly(Command::new("groff").args(["-man", "-ww", "-Tutf8", "-P-cbou"]).arg(page));
        assert!(said.contains("EXAMPLES") && said.contains("warmfront"), "{page:?}: {said}");
    }
    let words = |said: &str| said.split_whitespace().collect::<Vec<_>>().join(" ");
    let printed = warmfront(dir.path(), &["man", "config"], &[]).stdout;
    assert_eq!(printed, std::fs::read(dir.path().join("warmfront-config.1")).expect("the page"));
    let main = quietly(
        Command::new("groff").args(["-man", "-Tascii", "-P-cbou"]).arg(dir.path().join("warmfront.1")),
    );
    assert!(words(&main).contains("75 The drain deadline passed with requests cut off."), "{main}");
}

#[test]
fn a_page_that_cannot_be_written_is_named_and_ends_with_71() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = warmfront(dir.path(), &["man", "--into", "nowhere"], &[]);
    assert_eq!(output.status.code(), Some(71));
    assert!(text(&output.stderr).starts_with("warmfront: nowhere/warmfront.1 cannot be written.\n"));
}

#[test]
fn a_real_bash_completes_commands_flags_and_shells() {
    let dir = tempfile::tempdir().expect("a directory");
    let script = dir.path().join("completions");
    std::fs::write(&script, warmfront(dir.path(), &["completions", "bash"], &[]).stdout).expect("written");
    // What bash does on Tab: it calls the function that was registered, with the words typed so far.
    let complete = |words: &[&str]| {
        let typed = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let lines = format!(
            "source '{}'; function=$(complete -p warmfront | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
             COMP_WORDS=({typed}); COMP_CWORD={}; \
             $function warmfront \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            script.display(),
            words.len() - 1
        );
        let said = quietly(Command::new("bash").args(["--norc", "-c", &lines]));
        said.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["warmfront", "do"]), ["doctor"]);
    assert_eq!(complete(&["warmfront", "run", "--wor"]), ["--workers"]);
    assert_eq!(complete(&["warmfront", "completions", "ba"]), ["bash"]);
    assert!(!complete(&["warmfront", ""]).contains(&"demo-worker".to_owned()));
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    let dir = tempfile::tempdir().expect("a directory");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = warmfront(dir.path(), &["completions", shell], &[]);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(["doctor", "emulate", "workers"].iter().all(|word| said.contains(word)), "{shell}");
    }
    assert_eq!(warmfront(dir.path(), &["completions", "csh"], &[]).status.code(), Some(64));
}
