//! What the planes are told, when, and what becomes of it when one of them forgets everything.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::planes::{Planes, with_control};
use crate::support::{Setup, Sidecar, eventually, get, post};

const INITIALIZE: &str = "POST /initialize HTTP/1.1\r\nHost: a\r\nx-fc-request-id: 1-i\r\nx-fc-control-path: /initialize\r\nContent-Length: 0\r\n\r\n";

/// Profiles of functions with these names, of which `reserved` workers run before the first request.
fn profiles(names: &[&str], reserved: u32) -> String {
    let profile = |name: &&str| {
        json!({
            "name": name,
            "runtime": "nodejs",
            "url": "file:///code",
            "signature": "sha256:0",
            "handler": format!("{name}.main"),
            "worker": { "reservationCount": reserved },
        })
    };
    Value::from(names.iter().map(profile).collect::<Vec<_>>()).to_string()
}

/// A sidecar to be that tells the planes of the functions `echo` and `slow`.
fn setup(reserved: u32) -> Setup {
    with_control()
        .file("functions.json", &profiles(&["echo", "slow"], reserved))
        .set("noslate.profiles", "functions.json")
}

/// Both planes, then the sidecar, until it is warm.
fn front(setup: Setup) -> (Planes, Planes, Sidecar) {
    let dir = setup.dir().to_owned();
    let (data, control) = (Planes::strict(&dir), Planes::control(&dir, &[]));
    (data, control, setup.start_ready())
}

#[test]
fn functions_are_told_and_looked_for_before_the_first_request() {
    let (data, control, sidecar) = front(setup(0));
    let answer = sidecar.client().ask(post("/invoke/echo", "hi"));
    assert_eq!((answer.status(), answer.text()), (200, "hi"));
    let told = &control.calls("setFunctionProfile", 1)[0]["request"];
    assert_eq!((&told["profiles"][0]["name"], &told["mode"]), (&json!("echo"), &json!("IMMEDIATELY")));
    control.calls("getFunctionProfile", 1);
    assert_eq!(data.wait("invoke", 1).len(), 1);
    let answer = sidecar.client().ask(get("/invoke/nobody"));
    assert_eq!((answer.status(), answer.field("x-warmfront-reason")), (404, Some("noslate-unknown")));
}

#[test]
fn requests_that_come_before_the_planes_wait_and_are_served() {
    let setup = setup(0);
    let dir = setup.dir().to_owned();
    let sidecar = setup.start_cold();
    let mut client = sidecar.client();
    client.send(post("/invoke/echo", "early"));
    let _data = Planes::strict(&dir);
    sidecar.stderr.wait_for("worker 1 is ready");
    let _control = Planes::control(&dir, &[]);
    assert_eq!(client.response().text(), "early");
    sidecar.stdout.wait_for("start=cold");
}

#[test]
fn a_control_plane_that_comes_back_empty_is_told_again_within_a_second() {
    let (_data, mut control, sidecar) = front(setup(0).set("noslate.timeout", "2s"));
    let dir = sidecar.dir().to_owned();
    let mut client = sidecar.client();
    for round in 1..=2 {
        control.kill();
        sidecar.stderr.wait_for_count("The control plane at ", round);
        // Warm functions need no control plane.
        assert_eq!(client.ask(post("/invoke/echo", "meanwhile")).text(), "meanwhile");
        control = Planes::control(&dir, &[]);
        let began = Instant::now();
        // The set that it hands on at first is empty: nobody is to see that.
        while control.seen("call").iter().all(|call| call["method"] != "getFunctionProfile") {
            assert_eq!(client.ask(post("/invoke/echo", "meanwhile")).status(), 200);
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        let told = &control.calls("setFunctionProfile", 1)[0]["request"]["profiles"];
        assert_eq!(told.as_array().unwrap().len(), 2);
        sidecar.stderr.wait_for_count("the control plane is back and has been told everything", round);
    }
}

#[test]
fn a_data_plane_that_comes_back_serves_again_without_a_restart_of_ours() {
    let (mut data, _control, sidecar) = front(setup(0));
    let dir = sidecar.dir().to_owned();
    data.kill();
    let mut client = sidecar.client();
    client.send(post("/invoke/echo", "later"));
    sidecar.stderr.wait_for("is gone, no requests until it is back");
    let _data = Planes::strict(&dir);
    assert_eq!(client.response().text(), "later");
}

#[test]
fn variables_services_and_inspectors_are_told_again_on_every_return() {
    let services = json!([{ "name": "shop", "type": "default", "selector": { "functionName": "echo" } }]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("w.toml");
    std::fs::write(&file, "[noslate.env]\nSHOP = \"a\"\n").unwrap();
    let setup = setup(0)
        .file("services.json", &services.to_string())
        .set("noslate.services", "services.json")
        .set("noslate.inspect", "echo slow")
        .flag("--config", file.to_str().unwrap());
    let (mut data, mut control, sidecar) = front(setup);
    let envs = json!([{ "key": "SHOP", "value": "a" }]);
    assert_eq!(control.calls("setPlatformEnvironmentVariables", 1)[0]["request"]["envs"], envs);
    assert_eq!(data.calls("setServiceProfiles", 1)[0]["request"]["profiles"][0]["name"], "shop");
    assert_eq!(data.calls("useInspector", 2).len(), 2);
    let home = sidecar.dir().to_owned();
    data.kill();
    control.kill();
    let (data, control) = (Planes::strict(&home), Planes::control(&home, &[]));
    assert_eq!(control.calls("setPlatformEnvironmentVariables", 1)[0]["request"]["envs"], envs);
    assert_eq!(data.calls("setServiceProfiles", 1).len(), 1);
    assert_eq!(data.calls("useInspector", 2).len(), 2);
}

#[test]
fn initialize_waits_for_both_planes_and_the_reserved_workers() {
    let setup = setup(2);
    let dir = setup.dir().to_owned();
    let sidecar = setup.start_cold();
    let mut client = sidecar.client();
    client.send(INITIALIZE);
    let _data = Planes::strict(&dir);
    let control = Planes::control(&dir, &["--warm-after", "5"]);
    let answer = client.response();
    assert_eq!((answer.status(), answer.text().contains("warm")), (200, true), "{}", answer.text());
    assert!(
        control.seen("call").iter().filter(|call| call["method"] == "getWorkerStatsSnapshot").count() > 5
    );
}

#[test]
fn initialize_fails_in_time_and_the_log_says_which_plane_is_missing() {
    let setup = setup(0).set("start.deadline", "1s");
    let dir = setup.dir().to_owned();
    let _data = Planes::strict(&dir);
    let sidecar = setup.start_cold();
    let answer = sidecar.client().ask(INITIALIZE);
    assert_eq!(answer.status(), 404, "{}", answer.text());
    sidecar.stderr.wait_for("The control plane is not ready after 1 s");
    assert!(sidecar.stderr.wait_for("No such file").contains("cp-0.sock"));
}

#[test]
fn a_socket_that_a_killed_plane_has_left_is_told_from_a_plane() {
    let setup = setup(0).set("start.deadline", "1s");
    let dir = setup.dir().to_owned();
    drop(std::os::unix::net::UnixListener::bind(dir.join("socks/cp-0.sock")).unwrap());
    let _data = Planes::strict(&dir);
    let sidecar = setup.start_cold();
    sidecar.stderr.wait_for("The control plane is not ready after 1 s");
    sidecar.stderr.wait_for("left by one that was killed");
}

#[test]
fn a_set_that_was_not_taken_is_noticed_and_sent_again() {
    let setup = setup(0);
    let dir = setup.dir().to_owned();
    let (_data, control) = (Planes::strict(&dir), Planes::control(&dir, &["--refuse-sets", "2"]));
    let sidecar = setup.start_ready();
    sidecar.stderr.wait_for("it has said that it took the profiles, and has not taken 2 of 2: echo, slow");
    assert_eq!(control.calls("setFunctionProfile", 3).len(), 3);
    assert_eq!(sidecar.client().ask(post("/invoke/echo", "hi")).text(), "hi");
}

#[test]
fn readiness_follows_the_health_of_both_planes() {
    let setup = setup(0).with_admin();
    let dir = setup.dir().to_owned();
    let (_data, mut control) = (Planes::strict(&dir), Planes::control(&dir, &["--health", "none"]));
    let sidecar = setup.start_ready();
    let admin = sidecar.admin();
    // One that cannot be asked is well as long as it is there.
    assert_eq!(admin.ask("GET", "/ready").status(), 200);
    control.kill();
    let unready = |part: &str| {
        eventually(part, || {
            let answer = admin.ask("GET", "/ready");
            (answer.status() == 503 && answer.text().contains(part)).then_some(())
        });
    };
    unready("control plane: ");
    let _control = Planes::control(&dir, &["--health", "too much to do"]);
    unready("control plane: too much to do");
    sidecar.stderr.wait_for("The control plane is not well: too much to do");
    assert_eq!(sidecar.client().ask(post("/invoke/echo", "still")).text(), "still");
}

#[test]
fn who_looks_sees_each_function_and_each_plane() {
    let (_data, _control, sidecar) = front(setup(1).with_admin());
    let admin = sidecar.admin();
    let mut client = sidecar.client();
    for request in [post("/invoke/echo", "a"), post("/invoke/echo", "b"), get("/invoke/nobody")] {
        client.ask(request);
    }
    let counted = |function: &str, fate: &str| {
        format!("warmfront_function_requests_total{{function=\"{function}\",fate=\"{fate}\"}}")
    };
    let scrape = admin.scrape_when(&counted("echo", "answered"), 2.0);
    assert_eq!(scrape.get(&counted("(other)", "refused")), 1.0);
    assert_eq!(scrape.get("warmfront_function_workers{function=\"echo\",state=\"active\"}"), 1.0);
    assert_eq!(scrape.get("warmfront_plane_ready{plane=\"control plane\"}"), 1.0);
    let seen = admin.json("/workers");
    let echo = &seen["functions"][0];
    assert_eq!(
        (&echo["name"], &echo["profiled"], &echo["requests"]["answered"]),
        (&json!("echo"), &json!(true), &json!(2))
    );
    assert_eq!(seen["planes"][1]["name"], "control plane");
    assert_eq!(seen["planes"][1]["ready"], true);
}

#[test]
fn a_function_that_has_no_worker_starts_cold() {
    // The fake starts workers only for what is reserved.
    let (_data, _control, sidecar) = front(setup(0).with_admin());
    eventually("its workers are counted", || {
        let seen = sidecar.admin().json("/workers");
        (seen["functions"][0]["workers"]["active"] == 0).then_some(())
    });
    sidecar.client().ask(post("/invoke/echo", "hi"));
    sidecar.stdout.wait_for("function=\"echo\" start=cold");
}

#[test]
fn functions_are_taken_back_at_the_end_where_that_is_asked_for() {
    let (_data, control, mut sidecar) = front(setup(0).set("noslate.clear_on_stop", "true"));
    sidecar.signal("TERM");
    assert_eq!(sidecar.wait_exit(), 0);
    let sets = control.calls("setFunctionProfile", 2);
    assert_eq!(sets[1]["request"]["profiles"], json!([]));
}
