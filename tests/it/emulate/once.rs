//! One event and its answer: what scripts and CI call.

use super::Plan;

const PROGRAM: &str = "
serve(async (q, s) => {
  if (q.url === '/pre-stop') { console.log('told'); return s.end(); }
  const event = await text(q);
  if (event === 'fail') s.setHeader('x-fc-status', '404');
  if (event === 'die') process.exit(1);
  s.end('result of ' + event);
});";

fn run(plan: Plan) -> (i32, String, String) {
    let mut emulation = plan.launch();
    let code = emulation.wait_exit();
    (code, emulation.log.until_closed().join("\n"), emulation.stderr.until_closed().join("\n"))
}

#[test]
fn the_answer_is_all_that_stdout_gets_and_the_exit_code_tells_success() {
    let plan = |event: &str| Plan::node(PROGRAM).flags(&["--event", event, "--pre-stop"]);
    let (code, stdout, stderr) = run(plan("{\"a\": 1}"));
    assert_eq!((code, stdout.as_str()), (0, "result of {\"a\": 1}"));
    assert!(stderr.contains("FC Invoke End RequestId: ") && stderr.contains("out| told"), "{stderr}");
    let (code, stdout, _) = run(plan("fail"));
    assert_eq!((code, stdout.as_str()), (1, "result of fail"));
    let (code, stdout, _) = run(plan("die"));
    assert!(code == 1 && stdout.contains("Process exited unexpectedly"), "{code} {stdout}");
}

#[test]
fn an_event_comes_from_a_file_or_from_stdin_as_well() {
    let (code, stdout, _) =
        run(Plan::node(PROGRAM).file("event.json", "[1]").flags(&["--event", "event.json"]));
    assert_eq!((code, stdout.as_str()), (0, "result of [1]"));
    let (code, stdout, _) = run(Plan::node(PROGRAM).stdin(b"[2]").flags(&["--event", "-"]));
    assert_eq!((code, stdout.as_str()), (0, "result of [2]"));
}

#[test]
fn a_function_that_does_not_start_has_failed() {
    let (code, stdout, stderr) = run(Plan::new(&["./bootstrap"]).flags(&["--event", "x"]));
    assert_eq!(code, 1);
    assert!(stdout.contains("CAFileNotFound") && stderr.contains("is not exist"), "{stdout} {stderr}");
}

#[test]
fn lines_are_objects_if_asked_for() {
    let (code, _, stderr) = run(Plan::node(PROGRAM).flags(&["--event", "x", "--json"]));
    assert_eq!(code, 0);
    let lines = stderr.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let lines: Vec<_> = lines.collect();
    let request = lines.iter().find(|line| line["kind"] == "request").expect("one request");
    assert_eq!((&request["status"], &request["start"]), (&200.into(), &"cold".into()));
    assert!(request["durationMs"].is_u64() && request["memoryKb"].as_u64() > Some(0), "{request}");
    assert!(lines.iter().any(|line| line["kind"] == "stdout" && line["text"] == "listening"));
}
