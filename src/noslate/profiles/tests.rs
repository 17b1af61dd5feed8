//! Each rule of the file of functions, once kept and once broken.

use serde_json::{Value, json};

use super::*;

const READY: &str = include_str!("../../../tests/it/noslate/files/functions.json");

/// One that nothing can be said against.
fn good() -> Value {
    json!({ "name": "a", "runtime": "nodejs", "url": "file:///code", "signature": "1", "handler": "index.handler" })
}

/// The same with these fields; one that is `null` is taken out.
fn with(fields: Value) -> Value {
    let mut profile = good();
    let all = profile.as_object_mut().expect("an object");
    for (name, value) in fields.as_object().expect("an object") {
        match value {
            Value::Null => drop(all.remove(name)),
            value => drop(all.insert(name.clone(), value.clone())),
        }
    }
    profile
}

fn judge(profiles: &[Value]) -> Result<Judged<FunctionProfile>, Vec<Problem>> {
    functions(Value::from(profiles).to_string().as_bytes(), "f.json", 0)
}

/// What is said of one with these fields, error or not.
fn said(fields: Value) -> (bool, Vec<String>) {
    match judge(&[with(fields)]) {
        Ok(judged) => (true, judged.warnings.iter().map(ToString::to_string).collect()),
        Err(problems) => (false, problems.iter().map(ToString::to_string).collect()),
    }
}

/// Asserts that one with these fields is refused, with `words` and nothing else.
#[track_caller]
fn refused(fields: Value, words: &str) {
    let (is_fine, said) = said(fields);
    assert!(!is_fine && said.len() == 1 && said[0].contains(words), "{words}: {is_fine} {said:?}");
}

/// Asserts that one with these fields passes, with a warning that holds `words`.
#[track_caller]
fn warned(fields: Value, words: &str) {
    let (is_fine, said) = said(fields);
    assert!(is_fine && said.len() == 1 && said[0].contains(words), "{words}: {is_fine} {said:?}");
}

#[test]
fn a_good_file_becomes_the_messages_it_describes() {
    let judged = functions(READY.as_bytes(), "f.json", 0).expect("a good file");
    assert_eq!(judged.warnings, []);
    let [web, thumbnail] = judged.items.as_slice() else { panic!("two functions") };
    assert_eq!((web.name.as_str(), web.handler.as_deref()), ("web", Some("index.handler")));
    assert_eq!(web.resource_limit, Some(ResourceLimit { memory: Some(134_217_728), cpu: Some(0.5) }));
    let worker = web.worker.clone().expect("a worker");
    assert_eq!((worker.reservation_count, worker.replica_count_limit), (Some(1), Some(4)));
    assert_eq!((worker.shrink_strategy.as_deref(), worker.disposable), (Some("LCC"), None));
    assert_eq!(web.environments.len(), 2);
    assert_eq!(web.rate_limit.map(|limit| limit.fill_interval), Some(Some(1000)));
    assert_eq!(
        (thumbnail.source_file.as_deref(), thumbnail.namespace.as_deref()),
        (Some("index.js"), Some("images"))
    );
    // What was said to be false stays said.
    assert_eq!(thumbnail.worker.as_ref().and_then(|worker| worker.disable_seed), Some(false));
}

#[test]
fn an_empty_list_is_no_function_at_all() {
    assert_eq!(judge(&[]).map(|judged| judged.items), Ok(vec![]));
}

#[test]
fn every_problem_is_told_at_once_down_the_file() {
    let text = "[\n  {\n    \"name\": \"a\",\n    \"runtime\": \"nodejs\",\n    \"url\": \"oss://x\",\n    \
                \"handlr\": \"index.handler\"\n  },\n  7,\n  { \"name\": \"a\", \"runtime\": \"java\",\n    \
                \"url\": \"file:///x\", \"signature\": \"\" }\n]\n";
    let problems = functions(text.as_bytes(), "f.json", 0).expect_err("bad");
    let told: Vec<_> = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.place.as_deref().unwrap_or(""), problem.what))
        .collect();
    assert_eq!(
        told,
        [
            "f.json:2: `/0/signature` is missing.",
            "f.json:2: `/0/handler` is missing.",
            "f.json:5: `/0/url` begins with none of file://, http:// and https://, or ends there.",
            "f.json:6: `/0/handlr` is no field that Noslate has.",
            "f.json:8: `/1` is a number where an object belongs.",
            "f.json:9: `/2/runtime = \"java\"` is no choice.",
            "f.json:9: `/2/name = \"a\"` is the name of `/0` too.",
            "f.json:10: `/2/signature` is empty.",
        ]
    );
    assert_eq!(problems[3].fix, "Did you mean `handler`?");
}

#[test]
fn name_runtime_url_and_signature_are_needed() {
    for field in ["name", "runtime", "url", "signature"] {
        refused(json!({ field: null }), &format!("`/0/{field}` is missing."));
        refused(json!({ field: "" }), &format!("`/0/{field}` is empty."));
        refused(json!({ field: 5 }), &format!("`/0/{field}` is a number where a text belongs."));
    }
}

#[test]
fn a_name_that_no_request_can_say_is_refused() {
    refused(json!({ "name": "n".repeat(256) }), "`/0/name` has 256 bytes");
    assert!(judge(&[with(json!({ "name": "n".repeat(255) }))]).is_ok());
}

#[test]
fn a_runtime_is_one_that_noslate_has() {
    refused(json!({ "runtime": "nodejs-v16" }), "Did you mean \"nodejs\"?");
}

#[test]
fn code_comes_from_a_directory_or_over_http() {
    for url in ["http://a/b.zip", "https://a/b.zip", "file:///code"] {
        assert!(judge(&[with(json!({ "url": url }))]).is_ok(), "{url}");
    }
    for url in ["/code", "file:", "file://", "ftp://a/b", "https://"] {
        refused(json!({ "url": url }), "`/0/url` begins with none of file://");
    }
}

#[test]
fn an_address_is_never_repeated_for_it_may_hold_a_key() {
    let (_, said) = said(json!({ "url": "oss://bucket/a.zip?Signature=hush" }));
    assert!(!said.concat().contains("hush"), "{said:?}");
}

#[test]
fn a_handler_and_an_initializer_are_a_file_and_a_function() {
    for text in ["index", "index.", ".handler", "a.b.c", "index.js.handler"] {
        refused(json!({ "handler": text }), "is not FILE.FUNCTION");
        refused(json!({ "initializer": text }), "is not FILE.FUNCTION");
    }
    assert!(judge(&[with(json!({ "handler": "lib/index.handler", "initializer": "a.b" }))]).is_ok());
}

#[test]
fn each_runtime_has_its_own_entry_point() {
    refused(json!({ "handler": null }), "`/0/handler` is missing.");
    refused(json!({ "sourceFile": "index.js" }), "`/0/sourceFile` is of aworker");
    let aworker = json!({ "runtime": "aworker", "handler": null });
    refused(aworker, "`/0/sourceFile` is missing.");
    refused(json!({ "runtime": "aworker", "sourceFile": "a.js" }), "`/0/handler` is of nodejs");
    refused(
        json!({ "runtime": "aworker", "handler": null, "initializer": "a.b", "sourceFile": "a.js" }),
        "`/0/initializer` is of nodejs",
    );
}

#[test]
fn two_functions_do_not_share_a_name() {
    let problems = judge(&[good(), good()]).expect_err("twice");
    assert!(problems[0].what.contains("`/1/name = \"a\"` is the name of `/0` too"), "{problems:?}");
}

#[test]
fn whole_numbers_are_those_of_the_protocol() {
    for (part, field) in [
        ("resourceLimit", "memory"),
        ("rateLimit", "maxTokenCount"),
        ("rateLimit", "tokensPerFill"),
        ("rateLimit", "fillInterval"),
        ("worker", "initializationTimeout"),
        ("worker", "maxActivateRequests"),
        ("worker", "replicaCountLimit"),
        ("worker", "concurrencySlidingWindowSize"),
        ("worker", "concurrencySlidingBucketCount"),
        ("worker", "expandCooldown"),
        ("worker", "shrinkCooldown"),
    ] {
        let one = |value: Value| json!({ part: { field: value } });
        for value in [json!(-1), json!(0.5), json!(2_147_483_648_u64)] {
            refused(one(value), &format!("`/0/{part}/{field} = "));
        }
        refused(one(json!("5")), "is a text where a number belongs");
        assert_eq!(said(one(json!(2_147_483_647))), (true, vec![]), "{field}");
        // Whole for whoever wrote Noslate.
        assert_eq!(said(one(json!(5e3))), (true, vec![]), "{field}");
    }
}

#[test]
fn shares_are_from_0_to_1_and_thresholds_from_0() {
    for (part, field) in [("resourceLimit", "cpu"), ("worker", "emaConcurrencyAlpha")] {
        refused(json!({ part: { field: 1.5 } }), "Set 0 to 1.");
        assert_eq!(said(json!({ part: { field: 1 } })), (true, vec![]));
    }
    for field in
        ["concurrencyExpandThreshold", "concurrencyShrinkThreshold", "scaleFactor", "precisionZeroThreshold"]
    {
        refused(json!({ "worker": { field: -0.1 } }), "Set 0 or more.");
        assert_eq!(said(json!({ "worker": { field: 1.5 } })), (true, vec![]));
    }
}

#[test]
fn switches_are_true_or_false() {
    for field in [
        "fastFailRequestsOnStarting",
        "disposable",
        "disableSeed",
        "disableRequestQueue",
        "shrinkCooldownOnStartup",
    ] {
        refused(json!({ "worker": { field: "true" } }), "a text where true or false belongs");
        assert_eq!(said(json!({ "worker": { field: false } })), (true, vec![]));
    }
}

#[test]
fn choices_are_those_that_noslate_has() {
    for (field, good, near) in [
        ("shrinkStrategy", "FILO", "FILOO"),
        ("dispatchMode", "round-robin", "roundrobin"),
        ("concurrencyStatsMode", "periodic_avg", "periodic_avgs"),
    ] {
        refused(json!({ "worker": { field: near } }), &format!("Did you mean \"{good}\"?"));
        assert_eq!(said(json!({ "worker": { field: good } })), (true, vec![]));
    }
}

#[test]
fn flags_are_lists_of_texts() {
    for field in ["v8Options", "execArgv"] {
        refused(json!({ "worker": { field: "--a" } }), "is a text where a list belongs");
        refused(json!({ "worker": { field: ["--a", 5] } }), &format!("`/0/worker/{field}/1` is a number"));
    }
    let judged = judge(&[with(json!({ "worker": { "execArgv": ["--a", "--b"] } }))]).expect("good");
    assert_eq!(judged.items[0].worker.as_ref().map(|worker| worker.exec_argv.len()), Some(2));
}

#[test]
fn parts_are_objects() {
    for part in ["worker", "resourceLimit", "rateLimit"] {
        refused(json!({ part: [] }), &format!("`/0/{part}` is a list where an object belongs"));
    }
    refused(json!({ "environments": {} }), "`/0/environments` is an object where a list belongs");
}

#[test]
fn a_variable_has_a_name_and_a_text() {
    refused(json!({ "environments": [{ "value": "1" }] }), "`/0/environments/0/key` is missing.");
    refused(json!({ "environments": [{ "key": "A" }] }), "`/0/environments/0/value` is missing.");
    refused(json!({ "environments": [{ "key": "A", "value": 1 }] }), "is a number where a text belongs");
    assert_eq!(said(json!({ "environments": [{ "key": "A", "value": "" }] })), (true, vec![]));
}

#[test]
fn a_variable_that_noslate_sets_or_that_is_there_twice_is_a_warning() {
    for name in ["NOSLATE_A", "NOSLATED_A"] {
        warned(json!({ "environments": [{ "key": name, "value": "" }] }), "is Noslate's own");
    }
    let twice = json!([{ "key": "A", "value": "1" }, { "key": "A", "value": "2" }]);
    warned(json!({ "environments": twice }), "`/0/environments/1/key = \"A\"` is there before.");
}

#[test]
fn more_variables_than_a_start_can_carry_are_a_warning_with_those_of_every_function() {
    let variables = |bytes: usize| json!([{ "key": "A", "value": "v".repeat(bytes - 1) }]);
    assert_eq!(said(json!({ "environments": variables(3000) })), (true, vec![]));
    warned(json!({ "environments": variables(3001) }), "has 3001 bytes: over 3000");
    let text = Value::from(vec![with(json!({ "environments": variables(1000) }))]).to_string();
    let judged = functions(text.as_bytes(), "f.json", 2001).expect("good");
    assert!(
        judged.warnings[0].what.contains("1000 bytes, and noslate.env 2001 more"),
        "{:?}",
        judged.warnings
    );
}

#[test]
fn a_variables_value_is_never_repeated() {
    let long = json!([{ "key": "A", "value": "hush".repeat(1000) }, { "key": "NOSLATE_A", "value": "hush" }]);
    let (_, told) = said(json!({ "environments": long }));
    assert!(told.len() == 2 && !told.concat().contains("hush"), "{told:?}");
}

#[test]
fn a_zero_that_leaves_a_function_without_answers_is_a_warning() {
    for (part, field, _) in ZEROS {
        warned(json!({ part: { field: 0 } }), &format!("`/0/{part}/{field} = 0` means zero"));
    }
    assert_eq!(said(json!({ "worker": { "reservationCount": 0, "expandCooldown": 0 } })), (true, vec![]));
}

#[test]
fn more_reserved_workers_than_allowed_are_a_warning() {
    let worker = |limit: Value| json!({ "worker": { "reservationCount": 3, "replicaCountLimit": limit } });
    warned(worker(json!(2)), "`/0/worker/reservationCount = 3` is more than the 2 workers");
    assert_eq!(said(worker(json!(3))), (true, vec![]));
    warned(json!({ "worker": { "reservationCount": 11 } }), "more than the 10 workers");
}

#[test]
fn a_field_in_the_wrong_place_or_misspelt_is_a_warning() {
    warned(json!({ "reservationCount": 1 }), "Did you mean `worker`? Write `reservationCount` inside it.");
    warned(json!({ "worker": { "reservationCont": 1 } }), "Did you mean `reservationCount`?");
    warned(json!({ "namespaces": "a" }), "Did you mean `namespace`?");
}

#[test]
fn reserved_workers_are_those_that_are_asked_for() {
    let named = |name: &str, worker: Value| with(json!({ "name": name, "worker": worker }));
    let profiles = [
        named("a", json!({ "reservationCount": 2 })),
        named("b", json!({ "reservationCount": 0 })),
        named("c", json!({ "disposable": true })),
        with(json!({ "name": "d" })),
    ];
    let functions = judge(&profiles).expect("good").items;
    let profiles = Profiles { functions: Some(functions), services: None };
    assert_eq!(profiles.reserved().collect::<Vec<_>>(), [("a", 2)]);
    assert_eq!(profiles.names().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!(profiles.summary().as_deref(), Some("4 functions"));
    assert_eq!(Profiles::default().summary(), None);
}
