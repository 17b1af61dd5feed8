//! An instance starts as on the platform, and what does not start fails in the platform's words.

use super::{Plan, id_of, platform_error};

#[test]
fn an_instance_gets_the_documented_environment_and_nothing_of_the_laptop() {
    let emulation = Plan::node("serve((q, s) => s.end(JSON.stringify(process.env)));")
        .flags(&["--env", "GREETING=hello", "--function-name", "f1", "--memory", "1024"])
        .start();
    let env: serde_json::Value = serde_json::from_slice(&emulation.get("/").body).expect("JSON");
    let port = emulation.port.to_string();
    for (name, value) in [
        ("FC_FUNCTION_NAME", "f1"),
        ("FC_FUNCTION_MEMORY_SIZE", "1024"),
        ("FC_REGION", "cn-hangzhou"),
        ("FC_CUSTOM_LISTEN_PORT", &port),
        ("FC_SERVER_PORT", &port),
        ("TZ", "UTC"),
        ("GREETING", "hello"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "STS.emulated-key-id"),
    ] {
        assert_eq!(env[name], value, "{name}");
    }
    assert_eq!(env["FC_INSTANCE_ID"], emulation.instances()[0]);
    assert_eq!(env["SECRET_OF_THE_LAPTOP"], serde_json::Value::Null);
}

#[test]
fn the_code_may_be_elsewhere() {
    let plan = Plan::node("");
    let code = plan.dir.path().join("code");
    std::fs::create_dir(&code).expect("made");
    std::fs::write(
        code.join("there.js"),
        format!(
            "{}serve((q, s) => s.end(process.cwd() + ' ' + process.env.FC_FUNC_CODE_PATH));",
            super::SERVER
        ),
    )
    .expect("written");
    let mut plan = plan.flags(&["--code", "code"]);
    plan.command = vec!["node".to_owned(), "there.js".to_owned()];
    let emulation = plan.start();
    let code = code.display();
    assert_eq!(emulation.get("/").text(), format!("{code} {code}"));
}

#[test]
fn variables_that_the_platform_would_refuse_are_refused_before_anything_starts() {
    let mut emulation =
        Plan::new(&["node"]).flags(&["--env", "FC_REGION=x", "--concurrency", "201"]).launch();
    assert_eq!(emulation.wait_exit(), 78);
    let said = emulation.stderr.until_closed().join("\n");
    assert!(said.contains("--env: `FC_REGION` cannot be set.") && said.contains("--concurrency"), "{said}");
    assert!(said.ends_with("2 problems."), "{said}");
}

#[test]
fn who_listens_on_loopback_alone_is_not_reached_and_told_so() {
    let emulation = Plan::node("console.error('about to listen'); serve((q, s) => s.end(), '127.0.0.1');")
        .flags(&["--start-deadline", "1s"])
        .open();
    let port = emulation.port;
    emulation.log.wait_for(&format!("something listens on 127.0.0.1:{port} alone"));
    let answer = emulation.get("/");
    assert_eq!(answer.status(), 412);
    let text = answer.text();
    let start = format!("Function instance health check failed on port {port} in 1 seconds.\\nLogs:");
    assert!(text.contains(&start) && text.contains("about to listen"), "{text}");
    assert!(text.contains("\"Code\":\"FunctionNotStarted\""), "{text}");
    emulation.log.wait_for("fc:Instance:CreateFailed Function instance health check failed");
}

#[test]
fn a_command_that_cannot_be_executed_fails_in_the_platforms_words() {
    let missing = Plan::new(&["./bootstrap"]).open();
    let answer = missing.get("/");
    assert_eq!(answer.status(), 412);
    assert_eq!(
        answer.text(),
        platform_error(
            &answer,
            "CAFileNotFound",
            "Failed to start function instance. Error: the file ./bootstrap is not exist"
        )
    );
    let forbidden = Plan::new(&["./bootstrap"]).file("bootstrap", "#!/bin/sh\n").open();
    let answer = forbidden.get("/");
    assert_eq!(
        answer.text(),
        platform_error(
            &answer,
            "CAFilePermission",
            "The CA process cannot be started due to bootstrap file don't have execute permissions"
        )
    );
    let nonsense =
        Plan::new(&["./bootstrap"]).executable("bootstrap", "neither a script nor a program").open();
    let answer = nonsense.get("/");
    assert_eq!(
        answer.text(),
        platform_error(
            &answer,
            "CAExited",
            "Function instance exited unexpectedly(code 8, message:exec format error) with start command \
             './bootstrap '. Logs:"
        )
    );
}

#[test]
fn an_exit_during_the_start_is_told_with_its_code_and_the_last_lines() {
    let emulation = Plan::new(&["./bootstrap", "x"])
        .executable("bootstrap", "#!/bin/sh\necho no module >&2\nsleep 60 &\nexit 3\n")
        .open();
    let answer = emulation.get("/");
    assert_eq!((answer.status(), answer.field("X-Fc-Error-Type")), (412, Some("FcCommonError")));
    assert_eq!(
        answer.text(),
        platform_error(
            &answer,
            "CAExited",
            "Function instance exited unexpectedly(code 3, message:exit status 3) with start command \
             './bootstrap x '. Logs:no module"
        )
    );
    assert!(emulation.processes().is_empty(), "what it left behind is gone as well");
}

#[test]
fn a_port_that_somebody_else_has_is_no_fast_start() {
    let plan = Plan::node("serve((q, s) => s.end());");
    let _other = std::net::TcpListener::bind(("0.0.0.0", plan.port)).expect("free until now");
    let emulation = plan.open();
    let answer = emulation.get("/");
    assert_eq!(answer.status(), 500);
    assert!(answer.text().contains("is not free"), "{}", answer.text());
}

#[test]
fn an_initializer_runs_before_the_first_request_and_its_failure_is_the_callers_answer() {
    let program = "
let fails = process.env.FAILS;
serve((q, s) => {
  if (q.headers['x-fc-control-path'] === '/initialize') {
    console.log('initialize', q.method, q.url, q.headers['content-length']);
    s.statusCode = fails ? +fails : 200;
  }
  s.end('ok');
});";
    let emulation = Plan::node(program).flags(&["--initializer"]).start();
    assert_eq!(emulation.get("/").text(), "ok");
    let lines = emulation.log.all();
    let at = |part: &str| lines.iter().position(|line| line.contains(part)).expect(part);
    assert!(at("FC Initialize Start RequestId: ") < at("FC Initialize End RequestId: "));
    assert!(at("FC Initialize End RequestId: ") < at("fc:Instance:CreateSuccess"));
    assert!(at("fc:Instance:CreateSuccess") < at("FC Invoke Start RequestId: "));
    assert!(lines.iter().any(|line| line.ends_with("out| initialize POST /initialize 0")), "{lines:?}");

    for status in ["404", "500"] {
        let emulation =
            Plan::node(program).flags(&["--initializer=5s", "--env", &format!("FAILS={status}")]).open();
        let answer = emulation.get("/");
        assert_eq!((answer.status(), answer.field("X-Fc-Error-Type")), (200, Some("InitializationError")));
        assert_eq!(
            answer.text(),
            format!(
                "{{\"errorMessage\":\"The initializer of the function failed with status code: {status}\"}}"
            )
        );
        emulation.get("/");
        assert!(emulation.instances().len() >= 2, "the next caller's instance is a new one");
    }
}

#[test]
fn an_initializer_that_takes_too_long_has_failed() {
    let emulation = Plan::node("serve((q, s) => {});").flags(&["--initializer=200ms"]).open();
    let answer = emulation.get("/");
    assert_eq!(answer.field("X-Fc-Error-Type"), Some("InitializationError"));
    assert!(answer.text().contains("no answer within 0.2 seconds"), "{}", answer.text());
}

#[test]
fn a_first_health_check_that_fails_is_a_failed_start() {
    let program =
        "serve((q, s) => { s.statusCode = q.url === '/health' ? +process.env.HEALTH : 200; s.end(); });";
    let with = |status: &str| {
        Plan::node(program).flags(&["--health-check", "/health", "--env", &format!("HEALTH={status}")])
    };
    let emulation = with("500").open();
    let answer = emulation.get("/");
    assert_eq!(answer.status(), 412);
    assert_eq!(
        answer.text(),
        format!(
            "{{\"RequestId\":\"{}\",\"Code\":\"FunctionNotStarted\",\"Message\":\"The function http server cannot \
             be started. check function health failed with status code: 500 \"}}",
            id_of(&answer)
        )
    );
    assert_eq!(with("399").start().get("/").status(), 200);
}

#[test]
fn an_instance_that_falls_ill_gets_no_requests_until_it_is_well_again() {
    let emulation = Plan::node(
        "let ill = false;
serve((q, s) => {
  if (q.url === '/health') { s.statusCode = ill ? 503 : 200; return s.end(); }
  if (q.url === '/fall-ill') { ill = true; setTimeout(() => { ill = false; s.end('well again'); }, 14000); return; }
  s.end('ok');
});",
    )
    .flags(&["--health-check", "/health"])
    .start();
    let mut client = emulation.client();
    client.send("GET /fall-ill HTTP/1.1\r\nHost: a\r\n\r\n");
    emulation.log.wait_longer_for_count("instance unhealthy: ", 1, std::time::Duration::from_secs(30));
    let answer = emulation.get("/");
    assert_eq!(answer.status(), 412);
    assert!(
        answer.text().contains("check function health failed with status code: 503 "),
        "{}",
        answer.text()
    );
    assert_eq!(client.response().text(), "well again");
    assert_eq!(emulation.get("/").text(), "ok");
    assert_eq!(emulation.instances().len(), 1);
}
