//! Processes beside which warmfront is the front door: order, readiness, restarts, the end, logs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::sidecar::{processes, signal};
use crate::support::{Setup, Sidecar, eventually, get, post};

const BINARY: &str = env!("CARGO_BIN_EXE_warmfront");

/// Listens on the socket that its first word names. The others must accept before it may start.
///
/// `GATE` names a file that must be there before it listens; `DEAF` ignores TERM; `CRASH` ends it
/// when that file is there.
const PLANE: &str = r#"
import os, select, signal, socket, sys, time
own, needs = sys.argv[1], sys.argv[2:]
for path in needs:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
    except OSError as error:
        sys.exit(f'{path}: {error}')
def on_term(*_):
    print('got TERM', flush=True)
    if not os.environ.get('DEAF'):
        sys.exit(0)
signal.signal(signal.SIGTERM, on_term)
gate = os.environ.get('GATE')
if gate:
    print('waits for its gate', flush=True)
    while not os.path.exists(gate):
        time.sleep(0.005)
listener = socket.socket(socket.AF_UNIX)
listener.bind(own)
listener.listen(16)
print('listens', flush=True)
crash = os.environ.get('CRASH')
while True:
    if crash and os.path.exists(crash):
        os.remove(crash)
        for number in range(1000):
            print('line', number)
        sys.stdout.flush()
        print('last words', file=sys.stderr, flush=True)
        os._exit(7)
    if select.select([listener], [], [], 0.005)[0]:
        listener.accept()[0].close()
"#;

/// A `[[process]]` that is a [`PLANE`] on `NAME.sock`, after those that it `needs`, with more lines.
fn plane(name: &str, needs: &[&str], more: &str) -> String {
    let needs: String = needs.iter().map(|need| format!(", \"{need}.sock\"")).collect();
    format!(
        "[[process]]\nname = \"{name}\"\ncommand = [\"python3\", \"plane.py\", \"{name}.sock\"{needs}]\n\
         ready = \"{name}.sock\"\n{more}\n"
    )
}

/// In front of `app.sock`, which a demo worker serves as the last of the processes.
fn front(processes: &[String]) -> Setup {
    let app = format!(
        "[[process]]\nname = \"app\"\ncommand = [\"{BINARY}\", \"demo-worker\"]\nready = \"app.sock\"\n\
         env = {{ WARMFRONT_SOCKET = \"app.sock\" }}\n"
    );
    only(&[processes, &[app]].concat())
}

/// The same without the demo worker: nobody serves.
fn only(processes: &[String]) -> Setup {
    let text = format!(
        "workers.sockets = [\"app.sock\"]\nworkers.backoff_min = \"20ms\"\nworkers.backoff_max = \"50ms\"\n{}",
        processes.concat()
    );
    Setup::new().file("plane.py", PLANE).file("warmfront.toml", &text).with_admin()
}

/// What the admin says of process `name`.
fn process(sidecar: &Sidecar, name: &str) -> Value {
    let all = sidecar.admin().json("/processes")["processes"].clone();
    let all = all.as_array().expect("a list").clone();
    all.into_iter().find(|process| process["name"] == name).unwrap_or_else(|| panic!("no process {name}"))
}

fn pid(sidecar: &Sidecar, name: &str) -> u32 {
    let pid = process(sidecar, name)["pid"].as_u64().expect("it runs");
    u32::try_from(pid).expect("a pid")
}

/// At which of the lines `part` was said first.
fn place(lines: &[String], part: &str) -> usize {
    let found = lines.iter().position(|line| line.contains(part));
    found.unwrap_or_else(|| panic!("{part:?} was not said:\n{}", lines.join("\n")))
}

#[test]
fn each_process_starts_when_the_one_before_is_ready_and_the_workers_come_last() {
    let gate = "env = { GATE = \"open\" }";
    let setup = front(&[plane("a", &[], gate), plane("b", &["a"], ""), plane("c", &["a", "b"], "")]);
    let sidecar = setup.start_cold();
    sidecar.stdout.wait_for("[a] waits for its gate");
    let waits = process(&sidecar, "b");
    assert_eq!((&waits["state"], &waits["pid"]), (&"backoff".into(), &Value::Null));
    assert_eq!(process(&sidecar, "a")["state"], "starting");
    fs::write(sidecar.dir().join("open"), "").expect("written");
    sidecar.stderr.wait_for("all processes are ready");
    sidecar.stderr.wait_for("1 worker is warm after");
    let said = sidecar.stderr.all();
    let ready = ["a", "b", "c", "app"].map(|name| place(&said, &format!("process {name} (pid ")));
    assert!(ready.is_sorted() && ready[3] < place(&said, "worker 1 is ready"), "{said:#?}");
    let line = &said[ready[0]];
    assert!(line.contains(" is ready after ") && line.ends_with(" s"), "{line}");
    assert_eq!(sidecar.client().ask(get("/")).status(), 200);
}

#[test]
fn a_socket_that_a_killed_predecessor_left_is_neither_ready_nor_in_the_way() {
    let setup = front(&[plane("a", &[], "env = { GATE = \"open\" }")]);
    drop(UnixListener::bind(setup.dir().join("a.sock")).expect("bound"));
    let sidecar = setup.start_cold();
    sidecar.stdout.wait_for("[a] waits for its gate");
    assert_eq!(process(&sidecar, "a")["state"], "starting");
    fs::write(sidecar.dir().join("open"), "").expect("written");
    sidecar.stderr.wait_for("warm after");
    assert_eq!(process(&sidecar, "a")["exits"], 0);
}

#[test]
fn a_socket_on_which_somebody_else_listens_is_no_readiness() {
    let setup = front(&[plane("a", &[], "")]);
    let stranger = UnixListener::bind(setup.dir().join("a.sock")).expect("bound");
    let sidecar = setup.start_cold();
    sidecar.stderr.wait_for("Process a cannot be started. Somebody else accepts on a.sock already.");
    assert_eq!(process(&sidecar, "a")["pid"], Value::Null);
    drop(stranger);
    sidecar.stderr.wait_for("warm after");
}

#[test]
fn one_that_is_killed_is_started_again_and_the_others_go_on() {
    let setup = front(&[plane("a", &[], ""), plane("b", &["a"], ""), plane("c", &["b"], "")]);
    let sidecar = setup.start_ready();
    let before = ["a", "b", "c", "app"].map(|name| pid(&sidecar, name));
    signal(before[1], "KILL");
    let line =
        sidecar.stderr.wait_for(&format!("process b (pid {}) was ended by signal 9 (KILL)", before[1]));
    assert!(line.contains("WARN") || line.contains("warn"), "{line}");
    sidecar.stderr.wait_for_count("process b (pid ", 3);
    let after = ["a", "b", "c", "app"].map(|name| pid(&sidecar, name));
    assert_eq!([after[0], after[2], after[3]], [before[0], before[2], before[3]]);
    assert_ne!(after[1], before[1]);
    let b = process(&sidecar, "b");
    assert_eq!((&b["restarts"], &b["exits"], &b["state"]), (&1.into(), &1.into(), &"ready".into()));
    assert!(b["last_exit"]["summary"].as_str().expect("text").starts_with("was ended by signal 9"), "{b}");
}

#[test]
fn one_that_died_together_with_what_it_needs_waits_for_that_again() {
    let setup = front(&[plane("a", &[], "env = { GATE = \"open\" }"), plane("b", &["a"], "")]);
    let sidecar = setup.file("open", "").start_ready();
    let [a, b] = ["a", "b"].map(|name| pid(&sidecar, name));
    fs::remove_file(sidecar.dir().join("open")).expect("it is there");
    signal(a, "KILL");
    sidecar.stdout.wait_for_count("[a] waits for its gate", 2);
    signal(b, "KILL");
    sidecar.stderr.wait_for(&format!("process b (pid {b}) was ended by signal 9"));
    assert_eq!(process(&sidecar, "b")["pid"], Value::Null);
    fs::write(sidecar.dir().join("open"), "").expect("written");
    eventually("b again", || (process(&sidecar, "b")["state"] == "ready").then_some(()));
    // Had it been started earlier, it would have ended by itself: nobody accepts for it then.
    assert_eq!(process(&sidecar, "b")["exits"], 1);
}

#[test]
fn one_that_ends_although_the_instance_hangs_on_it_ends_the_instance_with_69() {
    let setup = front(&[plane("a", &[], "on_exit = \"stop\""), plane("b", &["a"], "")]);
    let mut sidecar = setup.start_ready();
    let [a, b] = ["a", "b"].map(|name| pid(&sidecar, name));
    signal(a, "KILL");
    assert_eq!(sidecar.wait_exit(), 69);
    let said = sidecar.stderr.until_closed();
    let ended = place(&said, &format!("process a (pid {a}) was ended by signal 9 (KILL)"));
    assert!(said[ended].ends_with("the instance ends with it (on_exit = \"stop\")"), "{}", said[ended]);
    assert!(ended < place(&said, &format!("process b (pid {b}) stopped")));
}

#[test]
fn the_last_is_stopped_first_the_deaf_one_is_killed_and_nobody_is_left() {
    // `setsid` leaves the group, and its parent leaves it behind.
    let left = "[[process]]\nname = \"parent\"\ncommand = [\"sh\", \"-c\", \
                \"setsid sh -c 'echo $$ >left; exec sleep 600' >/dev/null 2>&1 & exec python3 plane.py parent.sock\"]\n\
                ready = \"parent.sock\"\n";
    let deaf = plane("a", &[], "grace = \"200ms\"\nenv = { DEAF = \"1\" }");
    let mut sidecar = front(&[deaf, plane("b", &["a"], ""), left.to_owned()]).start_ready();
    let left = eventually("the one to be left", || {
        fs::read_to_string(sidecar.dir().join("left")).ok()?.trim().parse::<u32>().ok()
    });
    let mut pids = ["a", "b", "parent", "app"].map(|name| pid(&sidecar, name)).to_vec();
    pids.push(left);
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    let said = sidecar.stderr.until_closed();
    let ends = [
        format!("process app (pid {}) stopped", pids[3]),
        format!("process parent (pid {}) stopped", pids[2]),
        format!("process b (pid {}) stopped", pids[1]),
        format!("process a (pid {}) did not stop within its grace and was killed", pids[0]),
        "1 process that had been left behind was killed".to_owned(),
    ];
    let places: Vec<_> = ends.iter().map(|end| place(&said, end)).collect();
    assert!(places.is_sorted(), "{said:#?}");
    let written = sidecar.stdout.until_closed();
    assert!(place(&written, "[b] got TERM") < place(&written, "[a] got TERM"), "{written:#?}");
    let alive: Vec<_> =
        processes().into_iter().filter(|it| pids.contains(&it.pid) || pids.contains(&it.group)).collect();
    assert!(alive.iter().all(|it| it.state == 'Z' && it.pid == left), "somebody is left");
}

#[test]
fn output_is_in_its_file_to_the_last_line_before_a_crash_and_the_file_may_be_moved() {
    let own = "env = { CRASH = \"crash\" }\nlog = \"own.log\"";
    let text =
        format!("log.process_dir = \"logs/of/all\"\n{}{}", plane("a", &[], own), plane("b", &["a"], ""));
    let sidecar = only(&[text]).start_cold();
    sidecar.stderr.wait_for("all processes are ready");
    let [own, other] = ["own.log", "logs/of/all/b.log"].map(|name| sidecar.dir().join(name));
    eventually("what the other writes", || {
        fs::read_to_string(&other).ok().filter(|text| text == "listens\n")
    });
    let crash = || fs::write(sidecar.dir().join("crash"), "").expect("written");
    crash();
    let line = sidecar.stderr.wait_for("exited with code 7");
    assert!(line.contains("process a (pid ") && line.ends_with(": last words"), "{line}");
    let lines = |path: &Path| -> Vec<String> {
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    };
    eventually("its next life", || {
        (lines(&own).iter().filter(|line| *line == "listens").count() == 2).then_some(())
    });
    let written = lines(&own);
    assert_eq!(
        (written[0].as_str(), written[1002].as_str()),
        ("listens", "listens"),
        "the next life is behind"
    );
    let numbered: Vec<_> = written.iter().filter(|line| line.starts_with("line ")).cloned().collect();
    assert_eq!(numbered, (0..1000).map(|number| format!("line {number}")).collect::<Vec<_>>());
    assert_eq!(written.iter().filter(|line| *line == "last words").count(), 1);
    assert_eq!(fs::metadata(&own).expect("there").permissions().mode() & 0o137, 0);
    assert!(sidecar.stdout.all().iter().all(|line| !line.contains("listens")), "it is in the file only");

    let moved = sidecar.dir().join("own.log.1");
    fs::rename(&own, &moved).expect("moved");
    sidecar.signal("HUP");
    sidecar.stderr.wait_for("log files of processes are opened again");
    crash();
    eventually("the new file", || lines(&own).contains(&"last words".to_owned()).then_some(()));
    assert_eq!(lines(&moved).len(), written.len());
}

#[test]
fn a_log_directory_that_cannot_be_written_ends_the_start_with_71() {
    let setup = only(&[format!("log.process_dir = \"file/logs\"\n{}", plane("a", &[], ""))]);
    let mut sidecar = setup.file("file", "").launch();
    assert_eq!(sidecar.wait_exit(), 71);
    let said = sidecar.stderr.until_closed();
    let line = &said[place(&said, "The log directory `file/logs` cannot be made")];
    assert!(line.contains("Not a directory"), "{line}");
    place(&said, "Set log.process_dir to a directory that this user may write to.");
    assert!(!sidecar.dir().join("a.sock").exists(), "nothing was started");
}

#[test]
fn a_reference_to_a_variable_that_is_not_set_names_its_line() {
    let setup = only(&["[[process]]\nname = \"a\"\ncommand = [\"${NO_BIN}/a\"]\n".to_owned()]);
    let mut sidecar = setup.launch();
    assert_eq!(sidecar.wait_exit(), 78);
    let said = sidecar.stderr.until_closed();
    let line = &said[place(&said, "NO_BIN")];
    assert!(
        line.contains("warmfront.toml:6: `command = [\"${NO_BIN}/a\"]` of process `a` refers to NO_BIN, which is not set."),
        "{line}"
    );
}

#[test]
fn initialize_names_the_process_that_never_becomes_ready_and_the_instance_ends_with_69() {
    let broken = "[[process]]\nname = \"broken\"\ncommand = [\"sh\", \"-c\", \"echo no license >&2; exit 3\"]\n\
                  ready = \"broken.sock\"\n";
    let mut sidecar = front(&[plane("a", &[], ""), broken.to_owned()]).start_cold();
    let answer = sidecar.client().ask(post("/initialize", ""));
    assert_eq!(answer.status(), 404);
    let text = "Process broken never became ready: it exited with code 3: no license";
    assert!(answer.text().contains(text), "{}", answer.text());
    assert_eq!(sidecar.wait_exit(), 69);
    sidecar.stderr.until_closed();
    sidecar.stderr.wait_for("in a row");
}

#[test]
fn a_program_that_is_not_there_ends_the_instance_and_says_which() {
    let gone = "[[process]]\nname = \"gone\"\ncommand = [\"no-such-program\"]\n";
    let mut sidecar = front(&[gone.to_owned()]).start_cold();
    assert_eq!(sidecar.wait_exit(), 69);
    let said = sidecar.stderr.until_closed();
    let line = &said[place(&said, "Process gone cannot be started.")];
    assert!(line.contains("no-such-program"), "{line}");
}

#[test]
fn one_that_is_late_is_named_by_initialize_and_may_still_become_ready() {
    let late = "start_deadline = \"100ms\"\nenv = { GATE = \"open\" }";
    let sidecar = front(&[plane("late", &[], late)]).start_cold();
    let answer = sidecar.client().ask(post("/initialize", ""));
    assert_eq!(answer.status(), 404);
    assert!(answer.text().contains("Process late is not ready after 0 s"), "{}", answer.text());
    fs::write(sidecar.dir().join("open"), "").expect("written");
    sidecar.stderr.wait_for("warm after");
    assert_eq!(sidecar.client().ask(post("/initialize", "")).status(), 200);
}

#[test]
fn secrets_of_a_process_are_shown_nowhere_and_ours_are_not_inherited() {
    let tell = "[[process]]\nname = \"tell\"\ncommand = [\"sh\", \"-c\", \
                \"echo token=[$WARMFRONT_ADMIN_TOKEN] key=[$APP_KEY]; exec sleep 600\"]\n\
                env = { APP_KEY = \"hush-hush\" }\n";
    let sidecar = front(&[tell.to_owned()]).set("admin.token", "0123456789abcdef").start_ready();
    sidecar.stdout.wait_for("[tell] token=[] key=[hush-hush]");
    let config = sidecar.admin().json("/config").to_string();
    assert!(config.contains("process.tell.env.APP_KEY") && !config.contains("hush"), "{config}");
    assert!(sidecar.stderr.all().iter().all(|line| !line.contains("hush")));
}

#[test]
fn the_ready_configuration_starts_noslates_own_programs_in_noslates_own_places() {
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/noslate.toml");
    let setup = Setup::new().file("plane.py", PLANE).with_admin().flag("--config", config);
    let root = setup.dir().to_owned();
    let at = |path: &str| root.join(path).display().to_string();
    for dir in ["noslate/bin", "noslated/socks", "turf"] {
        fs::create_dir_all(root.join(dir)).expect("made");
    }
    let (turf, dp, cp) =
        (at("turf/turf.sock"), at("noslated/socks/dp-0.sock"), at("noslated/socks/cp-0.sock"));
    let fake = |name: &str, env: &str, words: &str| {
        let path = root.join("noslate/bin").join(name);
        let script = format!(
            "#!/bin/sh\necho \"{name} $* {env}\"\n{words}exec python3 {} \"$@\"\n",
            root.join("plane.py").display()
        );
        fs::write(&path, script).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
    };
    // Each listens where the real one does, and ends at once if what it needs does not accept.
    fake("turf", "$TURF_WORKDIR $LIBTURF_PATH", &format!("DEAF=1; export DEAF\nset -- {turf}\n"));
    fake("data_plane", "$NOSLATED_WORKDIR", &format!("set -- {dp} {turf}\n"));
    fake("control_plane", "$NOSLATED_WORKDIR $TURF_WORKDIR", &format!("set -- {cp} {turf} {dp}\n"));
    let mut sidecar = setup
        .variable("NOSLATE_PATH", &at("noslate"))
        .variable("NOSLATE_BIN", &at("noslate/bin"))
        .variable("NOSLATED_WORKDIR", &at("noslated"))
        .variable("TURF_WORKDIR", &at("turf"))
        .variable("NOSLATE_LOGDIR", &at("logs"))
        .variable("LIBTURF_PATH", "/lib/turf.so")
        .start_cold();
    sidecar.stderr.wait_for("all processes are ready");
    let first = |name: &str| {
        let path = root.join("logs").join(format!("{name}.log"));
        eventually(name, || Some(fs::read_to_string(&path).ok()?.lines().next()?.to_owned()))
    };
    assert_eq!(first("turf"), format!("turf -D -f {} /lib/turf.so", at("turf")));
    assert_eq!(first("data_plane"), format!("data_plane  {}", at("noslated")));
    assert_eq!(first("control_plane"), format!("control_plane  {} {}", at("noslated"), at("turf")));
    let names = ["turf", "data_plane", "control_plane"];
    let pids = names.map(|name| pid(&sidecar, name));
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    let said = sidecar.stderr.until_closed();
    place(&said, &format!("process turf (pid {}) did not stop within its grace and was killed", pids[0]));
    assert!(processes().iter().all(|it| !pids.contains(&it.group)), "somebody is left");
}

#[test]
fn a_listing_of_the_ready_configuration_names_every_process() {
    let output = Command::new(BINARY)
        .args(["config", "--config", concat!(env!("CARGO_MANIFEST_DIR"), "/configs/noslate.toml")])
        .env_clear()
        .output()
        .expect("the binary starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for line in [
        "command = [\"/usr/local/noslate/bin/turf\", \"-D\", \"-f\"]",
        "ready = \"/.noslate/turf/turf.sock\"",
        "log = \"/.noslate/logs/turf.log\"",
        "command = [\"/usr/local/noslate/bin/data_plane\"]",
        "ready = \"/.noslate/noslated/socks/dp-0.sock\"",
        "command = [\"/usr/local/noslate/bin/control_plane\"]",
        "ready = \"/.noslate/noslated/socks/cp-0.sock\"",
    ] {
        assert!(text.lines().any(|it| it.starts_with(line)), "{line}:\n{text}");
    }
}
