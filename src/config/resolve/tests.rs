//! What `resolve` promises, over tables and over chance.

use proptest::prelude::*;

use super::super::platform::{Events, HookMode, Markers, Replay};
use super::*;
use crate::config::SessionRule;
use crate::config::keys::KEYS;

pub(super) fn facts() -> Facts {
    Facts {
        cpus: 2,
        bootstrap_exists: false,
        is_worker: false,
        current_exe: "/bin/warmfront".into(),
        temp_dir: "/tmp".into(),
        program: Program::Found,
        cwd_missing: false,
        php_root: Some("/srv/app".into()),
        function: Vec::new(),
        can_trace: true,
        env: BTreeMap::new(),
    }
}

/// Layers as a file would give them, one line per key in the given order.
fn said(values: &[(&str, Value)]) -> Layers {
    let mut layers = Layers::default();
    for (index, (path, value)) in values.iter().enumerate() {
        let key = Key::find(path).expect(path);
        layers.set(key, value.clone(), Source::File { path: "a.toml".into(), line: index + 1 });
    }
    layers
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn list(words: &[&str]) -> Value {
    Value::List(words.iter().map(|word| text(word)).collect())
}

fn config(values: &[(&str, Value)]) -> Config {
    resolve(&said(values), &facts()).unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn problems(values: &[(&str, Value)]) -> Vec<String> {
    resolve(&said(values), &facts()).expect_err("problems").iter().map(ToString::to_string).collect()
}

fn spawn(config: &Config) -> &Spawn {
    match &config.workers.source {
        WorkerSource::Spawn(spawn) => spawn,
        _ => panic!("spawned workers"),
    }
}

/// A value that no key of this kind takes.
fn wrong(kind: Kind) -> Value {
    match kind {
        Kind::Address => text("localhost"),
        Kind::Number(_, max) | Kind::AutoOr(_, max) => Value::Integer(i64::try_from(max).unwrap() + 1),
        Kind::Switch => text("yes"),
        Kind::Choice(_) => text("maybe"),
        Kind::Period(_) => Value::Integer(30),
        Kind::Size(..) => Value::Other("1.5".into()),
        Kind::Path => text(""),
        Kind::Paths => Value::List(Vec::new()),
        Kind::Words => Value::List(vec![Value::Integer(1)]),
        Kind::Target => text("healthz"),
        Kind::Place => text("9901"),
        Kind::Collector => text("127.0.0.1:4318"),
        Kind::Text => Value::Integer(1),
        Kind::Secret => Value::Integer(1),
        Kind::Variables | Kind::Tables(_) => Value::Integer(1),
    }
}

#[test]
fn nothing_said_gives_the_documented_defaults() {
    let config = config(&[]);
    assert_eq!(config.listen.address.to_string(), "0.0.0.0");
    assert_eq!((config.listen.port, config.listen.backlog), (9000, 4096));
    assert_eq!(config.threads.get(), 1);
    assert_eq!(config.limits, Limits::default());
    assert_eq!((config.access_log, config.reported), (AccessLog::Text, Reported::ALL));
    assert_eq!(config.drain_deadline, Duration::from_secs(25));
    let platform = &config.platform;
    assert_eq!(platform.hooks.initialize.mode, HookMode::Answer);
    assert_eq!(platform.health_path.as_deref(), Some("/_warmfront/health"));
    assert_eq!((&platform.thaw_path, &platform.events), (&None, &Events::default()));
    assert_eq!((platform.markers, config.replay), (Markers::Auto, Replay::default()));
    assert_eq!(config.workers.start_deadline, Duration::from_secs(110));
    assert_eq!(config.workers.protocol, Protocol::Auto);
    assert_eq!(config.queue.depth, 1024);
    assert_eq!(config.queue.bytes, 64 << 20);
    assert_eq!(config.queue.timeout, Duration::from_secs(30));
    assert_eq!(config.queue.newest_first_after, Duration::from_secs(1));
    let spawn = spawn(&config);
    assert_eq!(spawn.count, 2);
    assert_eq!((spawn.transport, spawn.port), (Transport::Auto, 9000));
    assert_eq!(spawn.backoff, (Duration::from_millis(100), Duration::from_secs(10)));
    assert_eq!(spawn.socket_dir, Path::new("/tmp"));
}

#[test]
fn told_what_is_slow_only_the_slow_ones_are_reported_unless_told_of_others_too() {
    let slow = ("log.slow", Value::Text("250ms".into()));
    let reported = |said: &[(&str, Value)]| config(said).reported;
    let (period, sample) =
        (Some(Duration::from_millis(250)), |one_in| ("log.sample", Value::Integer(one_in)));
    assert_eq!(reported(std::slice::from_ref(&slow)), Reported { one_in: 0, slow: period });
    assert_eq!(reported(&[slow, sample(10)]), Reported { one_in: 10, slow: period });
    assert_eq!(reported(&[sample(10)]), Reported { one_in: 10, slow: None });
}

#[test]
fn what_failed_or_was_slow_is_reported_whatever_the_sample() {
    let (slow, long, short) =
        (Some(Duration::from_secs(1)), Duration::from_secs(1), Duration::from_millis(999));
    let never_asked = || -> u64 { panic!("needs no hash") };
    for one_in in [0, 7] {
        assert!(Reported { one_in, slow }.has(false, short, never_asked));
        assert!(Reported { one_in, slow }.has(true, long, never_asked));
    }
    assert!(Reported::ALL.has(true, short, never_asked));
    assert!(!Reported { one_in: 0, slow }.has(true, short, never_asked));
    let kept = (0..70).filter(|hash| Reported { one_in: 7, slow }.has(true, short, || *hash));
    assert_eq!(kept.count(), 10);
}

#[test]
fn without_a_command_the_demo_worker_answers_and_is_told_how_it_started() {
    let config = config(&[]);
    assert_eq!(spawn(&config).argv, ["/bin/warmfront", "demo-worker"]);
    assert_eq!(spawn(&config).chosen, CommandChoice::Demo);
    assert!(config.workers.tell_start);
    assert_eq!(config.workers.slots, Slots { count: 100, guessed: true });
    assert!(!self::config(&[("workers.tell_start", Value::Switch(false))]).workers.tell_start);
}

#[test]
fn the_bootstrap_is_started_when_it_exists_and_no_command_was_given() {
    let facts = Facts { bootstrap_exists: true, ..facts() };
    let config = resolve(&Layers::default(), &facts).unwrap();
    assert_eq!(spawn(&config).argv, [BOOTSTRAP]);
    assert_eq!(spawn(&config).chosen, CommandChoice::Bootstrap);
    assert_eq!(config.workers.slots, Slots { count: 1, guessed: true });
    assert!(!config.workers.tell_start);
}

#[test]
fn a_given_command_wins_and_sets_the_guess() {
    let node = [("workers.command", list(&["node", "x.js"]))];
    let config = resolve(&said(&node), &Facts { bootstrap_exists: true, ..facts() }).unwrap();
    assert_eq!(spawn(&config).chosen, CommandChoice::Given);
    assert_eq!(config.workers.slots, Slots { count: 100, guessed: true });
    let set = self::config(&[node[0].clone(), ("workers.concurrency", Value::Integer(7))]);
    assert_eq!(set.workers.slots, Slots { count: 7, guessed: false });
}

#[test]
fn threads_follow_the_cpus_up_to_four() {
    for (cpus, threads) in [(1, 1), (2, 1), (3, 3), (4, 4), (64, 4)] {
        let config = resolve(&Layers::default(), &Facts { cpus, ..facts() }).unwrap();
        assert_eq!(config.threads.get(), threads, "{cpus} CPUs");
    }
    assert_eq!(config(&[("threads", text("auto"))]).threads.get(), 1);
    assert_eq!(config(&[("threads", Value::Integer(9))]).threads.get(), 9);
}

#[test]
fn sockets_replace_the_command_and_hold_one_request_each() {
    let config = config(&[("workers.sockets", list(&["/run/a.sock", "/run/b.sock"]))]);
    assert_eq!(
        config.workers.source,
        WorkerSource::Sockets(vec!["/run/a.sock".into(), "/run/b.sock".into()])
    );
    assert_eq!(config.workers.slots, Slots { count: 1, guessed: true });
    assert!(!config.workers.tell_start);
}

#[test]
fn a_problem_reads_as_place_value_and_remedy() {
    assert_eq!(
        problems(&[
            ("listen.port", Value::Integer(70_000)),
            ("queue.timeout", Value::Integer(30)),
            ("workers.count", text("4")),
            ("log.access", text("xml")),
            ("queue.bytes", text("1.5")),
        ]),
        [
            "a.toml:1: `listen.port = 70000` is not within 0 to 65535.\n  Set 0 to 65535, or remove the line for the default (9000).",
            "a.toml:2: `queue.timeout = 30` has no unit.\n  Seconds and milliseconds are both likely.\n  Write \"30s\" for seconds, or remove the line for the default (30s).",
            "a.toml:3: `workers.count = \"4\"` is text, not a number.\n  Remove the quotes: `4`, or remove the line for the default (2).",
            "a.toml:4: `log.access = \"xml\"` is not a known choice.\n  Set \"text\" or \"json\" or \"off\", or remove the line for the default (text).",
            "a.toml:5: `queue.bytes = \"1.5\"` has no unit.\n  Only a whole number of bytes can do without.\n  Write \"1.5KiB\" or \"1.5MiB\", or remove the line for the default (64MiB).",
        ]
    );
}

#[test]
fn a_whole_number_is_a_size_in_bytes_but_never_a_period() {
    assert_eq!(config(&[("limits.discard_bytes", Value::Integer(5000))]).limits.discard_bytes, 5000);
    let mut layers = Layers::default();
    layers.set(
        Key::find("limits.discard_bytes").unwrap(),
        Value::Word("5000".into()),
        Source::Env("E".into()),
    );
    assert_eq!(resolve(&layers, &facts()).unwrap().limits.discard_bytes, 5000);
    layers.set(Key::find("drain.deadline").unwrap(), Value::Word("5".into()), Source::Env("E".into()));
    let problem = &resolve(&layers, &facts()).unwrap_err()[0];
    assert_eq!(problem.fix, "Write 5s for seconds, or unset it for the default (25s).");
}

#[test]
fn words_of_the_environment_are_split_by_whitespace_and_sockets_by_colons() {
    let word = |path: &str, word: &str| {
        let mut layers = Layers::default();
        layers.set(Key::find(path).unwrap(), Value::Word(word.into()), Source::Env("E".into()));
        resolve(&layers, &facts())
    };
    assert_eq!(spawn(&word("workers.command", " node  x.js\t").unwrap()).argv, ["node", "x.js"]);
    assert_eq!(
        word("workers.sockets", "/a:/b").unwrap().workers.source,
        WorkerSource::Sockets(vec!["/a".into(), "/b".into()])
    );
    for (path, bad) in [("workers.command", " "), ("workers.sockets", "/a:"), ("workers.sockets", "")] {
        assert_eq!(word(path, bad).unwrap_err().len(), 1, "{path} = {bad:?}");
    }
}

#[test]
fn every_contradiction_is_found_once_and_at_its_place() {
    let long = format!("/{}", "x".repeat(107));
    let both = ("workers.command", list(&["node", "{port}"]));
    let cases: Vec<(Vec<(&str, Value)>, &str)> = vec![
        (vec![both.clone(), ("workers.transport", text("socket"))], "`workers.command` uses `{port}`"),
        (
            vec![("workers.command", list(&["node", "{port}", "{socket}"]))],
            "uses `{port}`, and the command `{socket}`",
        ),
        (
            vec![
                ("workers.transport", text("tcp")),
                ("workers.command", list(&["node", "--listen={socket}"])),
            ],
            "`workers.command` uses `{socket}`",
        ),
        (vec![both.clone(), ("workers.sockets", list(&["/a"]))], "are both given"),
        (
            vec![("workers.sockets", list(&["/a"])), ("workers.count", Value::Integer(3))],
            "`workers.count` means nothing",
        ),
        (vec![("workers.sockets", list(&[&long]))], "is 108 bytes long"),
        (vec![("workers.sockets", list(&["/a", "/b", "/a"]))], "is listed twice"),
        (vec![("workers.socket_dir", text(&long))], "is 108 bytes long"),
        (
            vec![("limits.head_bytes", text("256KiB"))],
            "`limits.head_bytes` (256KiB) is more than `limits.buffer_bytes` (128KiB)",
        ),
        (
            vec![("limits.buffer_bytes", text("32KiB"))],
            "`limits.head_bytes` (80KiB) is more than `limits.buffer_bytes` (32KiB)",
        ),
        (
            vec![("limits.head_bytes", text("8KiB"))],
            "`limits.target_bytes` (16KiB) is more than `limits.head_bytes` (8KiB)",
        ),
        (
            vec![("workers.backoff_min", text("11s"))],
            "`workers.backoff_min` (11s) is more than `workers.backoff_max` (10s)",
        ),
        (vec![("workers.connect_timeout", text("0s"))], "leaves no time at all"),
        (vec![("start.deadline", text("25h"))], "is longer than a day"),
        (vec![("workers.command", list(&[""]))], "names no program"),
        (vec![("workers.concurrency", Value::Integer(0))], "is not within 1 to 10000"),
    ];
    for (values, expected) in cases {
        let found = problems(&values);
        assert_eq!(found.len(), 1, "{values:?}: {found:#?}");
        assert!(found[0].contains(expected) && found[0].starts_with("a.toml:"), "{expected}: {}", found[0]);
    }
}

#[test]
fn sessions_are_known_by_cookies_and_fields_and_anything_else_is_named() {
    assert_eq!(config(&[]).affinity, Affinity { by: Vec::new(), sessions: 10_000 });
    assert!(config(&[("affinity.by", list(&[]))]).affinity.by.is_empty());
    let by =
        config(&[("affinity.by", list(&["cookie:connect.sid", "header:x-session-id", "mcp"]))]).affinity.by;
    let header = |name: &str| SessionRule::Header(name.to_owned());
    assert_eq!(
        by,
        [SessionRule::Cookie("connect.sid".into()), header("x-session-id"), header("Mcp-Session-Id")]
    );
    for bad in ["", "sid", "cookie:", "header:a b", "Cookie:a", "mcp:a", "header:x:y", "cookie:\u{e9}"] {
        let found = problems(&[("affinity.by", list(&["mcp", bad]))]);
        assert_eq!(found.len(), 1, "{bad:?}");
        let [names, forms] =
            [format!("holds `{bad}`, which"), "\"cookie:NAME\" or \"header:NAME\" or \"mcp\"".into()];
        assert!(found[0].contains(&names) && found[0].contains(&forms), "{}", found[0]);
    }
    let mut layers = Layers::default();
    let word = Value::Word(" mcp\tcookie:a ".into());
    layers.set(Key::find("affinity.by").unwrap(), word, Source::Env("E".into()));
    assert_eq!(resolve(&layers, &facts()).unwrap().affinity.by.len(), 2);
}

#[test]
fn a_placeholder_in_a_variable_is_checked_like_one_in_the_command() {
    let entry = |name: &str, value: Value| crate::config::layers::Entry { name: name.into(), value, line: 7 };
    let table = Value::Table(vec![entry("PORT", text("{port}"))]);
    assert_eq!(problems(&[("workers.env", table.clone()), ("workers.transport", text("fd"))]).len(), 1);
    let config = config(&[("workers.env", table), ("workers.transport", text("tcp"))]);
    assert_eq!(spawn(&config).env, [("PORT".to_owned(), "{port}".to_owned())]);
}

#[test]
fn a_bad_variable_is_named_by_its_own_line_and_never_quoted() {
    let entry =
        |name: &str, value: Value, line| crate::config::layers::Entry { name: name.into(), value, line };
    let table = Value::Table(vec![
        entry("A=B", text("hush"), 4),
        entry("TOKEN", text("hu\0sh"), 9),
        entry("NUMBER", Value::Integer(5), 6),
    ]);
    let found = problems(&[("workers.env", table)]);
    let places: Vec<_> = found.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["a.toml:4", "a.toml:6", "a.toml:9"]);
    assert!(found.iter().all(|problem| !problem.contains("hu")));
}

#[test]
fn a_program_that_is_not_there_is_a_problem() {
    let missing = Program::Missing { searched: "it in PATH (/bin)".into() };
    let layers = said(&[("workers.command", list(&["nodee"]))]);
    let found = resolve(&layers, &Facts { program: missing, ..facts() }).unwrap_err();
    assert_eq!(
        found[0].to_string(),
        "a.toml:1: The worker's program `nodee` is not there.\n  Looked for it in PATH (/bin).\n  Install it, correct its name, or give its full path."
    );
    let denied = Program::NotExecutable { file: BOOTSTRAP.into() };
    let facts = Facts { program: denied, bootstrap_exists: true, ..facts() };
    let found = resolve(&Layers::default(), &facts).unwrap_err();
    assert_eq!(found[0].place, None);
    assert!(found[0].fix.starts_with("Run `chmod +x /code/bootstrap`"));
}

#[test]
fn a_working_directory_that_is_not_there_is_a_problem() {
    let layers = said(&[("workers.cwd", text("/nowhere"))]);
    let found = resolve(&layers, &Facts { cwd_missing: true, ..facts() }).unwrap_err();
    assert_eq!(found.len(), 1);
    assert!(found[0].what.contains("is no directory"));
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        any::<bool>().prop_map(Value::Switch),
        ".{0,12}".prop_map(Value::Text),
        "[0-9]{1,4}(ms|s|h|KiB|MB|)".prop_map(Value::Text),
        ".{0,12}".prop_map(|word| Value::Word(word.into())),
        "[0-9.]{1,4}".prop_map(Value::Other),
    ];
    let list = prop::collection::vec(leaf.clone(), 0..4).prop_map(Value::List);
    let entry = ("[A-Z=]{0,3}", leaf.clone(), 1_usize..99)
        .prop_map(|(name, value, line)| crate::config::layers::Entry { name, value, line });
    prop_oneof![4 => leaf, 1 => list, 1 => prop::collection::vec(entry, 0..3).prop_map(Value::Table)]
}

proptest! {
    #[test]
    fn any_set_of_wrong_values_is_reported_exactly(chosen in prop::collection::vec(any::<bool>(), KEYS.len())) {
        let wrongs: Vec<_> = KEYS
            .iter()
            .zip(&chosen)
            .filter(|(_, chosen)| **chosen)
            .map(|(key, _)| (key.path, wrong(key.kind)))
            .collect();
        match resolve(&said(&wrongs), &facts()) {
            Ok(_) => prop_assert!(wrongs.is_empty()),
            Err(problems) => {
                let places: Vec<_> = problems.iter().map(|problem| problem.place.clone().unwrap()).collect();
                let expected: Vec<_> = (1..=wrongs.len()).map(|line| format!("a.toml:{line}")).collect();
                prop_assert_eq!(places, expected);
                for (problem, (path, _)) in problems.iter().zip(&wrongs) {
                    prop_assert!(problem.what.contains(path), "{}: {}", path, problem);
                    prop_assert!(!problem.fix.is_empty());
                }
            }
        }
    }

    #[test]
    fn no_values_make_resolve_panic(values in prop::collection::vec((0..KEYS.len(), any_value()), 0..8)) {
        let values: Vec<_> = values.into_iter().map(|(index, value)| (KEYS[index].path, value)).collect();
        if let Err(problems) = resolve(&said(&values), &facts()) {
            prop_assert!(!problems.is_empty());
        }
    }
}

#[test]
fn a_path_for_requests_is_checked_as_one_and_an_empty_one_means_none() {
    assert_eq!(config(&[("health.path", text(""))]).platform.health_path, None);
    for (bad, why) in [
        ("health", "begins with a slash"),
        ("/a b", "no spaces"),
        ("/a?b", "no query"),
        ("/\u{e9}", "visible ASCII"),
        (&format!("/{}", "a".repeat(200)), "At most 200 bytes fit"),
    ] {
        let problems = problems(&[("events.path", text(bad))]);
        assert!(problems.len() == 1 && problems[0].contains(why), "{problems:?}");
    }
}

#[test]
fn a_word_that_is_no_failure_is_named() {
    let failed = |words: &str| Value::Word(words.into());
    assert_eq!(
        config(&[("events.failed", failed("5xx 429"))]).platform.events.failed.words(),
        ["5xx", "429"]
    );
    let problems = problems(&[("events.failed", failed("5xx 200"))]);
    assert!(problems[0].contains("names `200`, which is no failure"), "{problems:?}");
}

#[test]
fn spans_go_to_a_collector_beside_this_process() {
    let trace = config(&[]).trace;
    assert_eq!((trace.otlp, trace.sample, trace.service.as_str()), (None, 1, "warmfront"));
    for (url, shown) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("HTTP://Collector.example:80/", "http://Collector.example:80/v1/traces"),
        ("http://[::1]:4318/otlp/", "http://[::1]:4318/otlp/v1/traces"),
        ("http://a:4318/v1/traces", "http://a:4318/v1/traces"),
    ] {
        let otlp = config(&[("trace.otlp", text(url))]).trace.otlp.unwrap();
        assert_eq!(otlp.to_string(), shown);
        assert_eq!(config(&[("trace.otlp", text(shown))]).trace.otlp, Some(otlp), "{url}");
    }
    for (url, why) in [
        ("127.0.0.1:4318", "begins with http://"),
        ("grpc://127.0.0.1:4317", "begins with http://"),
        ("https://127.0.0.1:4318", "asks for TLS, which this program does not speak"),
        ("http://127.0.0.1", "names its port"),
        ("http://127.0.0.1:", "names its port"),
        ("http://a:0", "names its port"),
        ("http://a:65536/", "names its port"),
        ("http://:4318", "names a host"),
        ("http://me:secret@a:4318", "names a host"),
        ("http://[::g]:4318", "names a host"),
        ("http://a b:4318", "names a host"),
        ("http://a:4318/x?y", "no query"),
        ("http://a:4318/x y", "no query"),
    ] {
        let problems = problems(&[("trace.otlp", text(url))]);
        assert!(problems.len() == 1 && problems[0].contains(why), "{url}: {problems:?}");
    }
}

#[test]
fn a_build_that_cannot_trace_says_which_feature_it_lacks() {
    let layers = said(&[("trace.otlp", text("http://127.0.0.1:4318"))]);
    let problems = resolve(&layers, &Facts { can_trace: false, ..facts() }).unwrap_err();
    let text = problems[0].to_string();
    assert!(problems.len() == 1 && text.starts_with("a.toml:1: "), "{text}");
    assert!(text.contains("without the feature `otlp`") && text.contains("--features otlp"), "{text}");
    let layers = said(&[("trace.sample", Value::Integer(7)), ("trace.otlp", self::text(""))]);
    assert!(resolve(&layers, &Facts { can_trace: false, ..facts() }).is_ok(), "nothing is asked for");
}

#[test]
fn spans_appear_under_the_functions_name_unless_they_get_another() {
    let function = vec![("faas.name", "thumbs".to_owned()), ("cloud.region", "cn-x".to_owned())];
    let facts = Facts { function: function.clone(), ..facts() };
    let of = |values: &[(&str, Value)]| resolve(&said(values), &facts).unwrap().trace;
    assert_eq!((of(&[]).service.as_str(), of(&[]).function), ("thumbs", function));
    assert_eq!(of(&[("trace.service", text("mine"))]).service, "mine");
    for bad in ["a\nb", " a", &"a".repeat(256)] {
        assert_eq!(problems(&[("trace.service", text(bad))]).len(), 1, "{bad:?}");
    }
}

#[test]
fn noslates_planes_are_found_where_its_images_have_them() {
    let config = config(&[("upstream", text("noslate"))]);
    let WorkerSource::Noslate(noslate) = &config.workers.source else { panic!("planes") };
    assert_eq!(noslate.data_socket(0), Path::new("/.noslate/noslated/socks/dp-0.sock"));
    assert_eq!(noslate.control_socket(), Path::new("/.noslate/noslated/socks/cp-0.sock"));
    assert_eq!(
        (noslate.timeout, noslate.data_planes, noslate.has_control),
        (Duration::from_secs(10), 1, true)
    );
    assert_eq!((config.workers.slots.count, config.workers.protocol), (200, Protocol::Noslate));
}

#[test]
fn what_is_about_other_workers_means_nothing_in_front_of_noslate_and_the_other_way_round() {
    let found = problems(&[
        ("upstream", text("noslate")),
        ("workers.count", Value::Integer(2)),
        ("workers.concurrency", Value::Integer(901)),
        ("hooks.initialize", text("fanout")),
        ("noslate.control", Value::Switch(false)),
        ("noslate.profiles", text("p.json")),
    ]);
    for part in
        ["`workers.count`", "901", "`hooks.initialize`", "`noslate.profiles` is for the control plane"]
    {
        assert!(found.iter().any(|problem| problem.contains(part)), "{part}: {found:?}");
    }
    assert_eq!(found.len(), 4, "{found:?}");
    let found = problems(&[("noslate.target", text("a")), ("noslate.url", text("absolute"))]);
    assert!(
        found.len() == 2 && found.iter().all(|problem| problem.contains("means nothing without `upstream"))
    );
}

#[test]
fn a_place_where_no_function_can_be_named_is_refused() {
    for (key, value) in [
        ("noslate.dispatch", Value::List(vec![text("cookie:a")])),
        ("noslate.dispatch", Value::List(vec![text("path:/a")])),
        ("noslate.dispatch", Value::List(vec![text("header:a b")])),
        ("noslate.target", text("service:")),
        ("noslate.baggage", Value::List(vec![text("a:b")])),
    ] {
        let found = problems(&[("upstream", text("noslate")), (key, value)]);
        assert!(found.len() == 1 && found[0].contains(key), "{key}: {found:?}");
    }
}
