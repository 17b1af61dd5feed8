//! What can be shown without processes of our own; the rest is in `tests/it/processes_beside.rs`.
//!
//! Nothing here may run [`Processes`]: it reaps and, at its end, kills children of every test.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use super::*;
use crate::worker::sink::Stream;

#[tokio::test]
async fn only_a_socket_that_nobody_listens_on_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let [stale, alive, file, none] = ["stale", "alive", "file", "none"].map(|name| dir.path().join(name));
    drop(UnixListener::bind(&stale).unwrap());
    let _alive = UnixListener::bind(&alive).unwrap();
    std::fs::write(&file, "precious").unwrap();

    clear(&stale).await.unwrap();
    assert!(!stale.exists());
    let problem = clear(&alive).await.unwrap_err();
    assert!(alive.exists() && problem.what.contains("Somebody else accepts on"), "{problem}");
    clear(&file).await.unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    clear(&none).await.unwrap();
}

#[tokio::test]
async fn a_journal_appends_lines_for_owner_and_group_and_goes_on_in_a_new_file_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let [path, moved] = ["a.log", "a.log.1"].map(|name| dir.path().join(name));
    std::fs::write(&path, "before\n").unwrap();
    let reopener = Reopener::default();
    let journal = Journal::file(&path, &reopener).unwrap();
    let write = |line: &str| journal.sink.push(Stream::Out, line.as_bytes().to_vec(), 1);
    write("one\n");
    journal.flusher.flush().await;
    std::fs::rename(&path, &moved).unwrap();
    write("two\n");
    journal.flusher.flush().await;
    reopener.reopen();
    write("three\n");
    journal.close().await;
    assert_eq!(std::fs::read_to_string(&moved).unwrap(), "before\none\ntwo\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    // What the mask of this test takes away is none of our doing.
    assert_eq!(mode & 0o137, 0, "{mode:o}");
    assert_eq!(mode & 0o600, 0o600, "{mode:o}");
}

#[test]
fn a_journal_that_cannot_be_opened_says_which_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let problem = Journal::file(&dir.path().join("no/a.log"), &Reopener::default()).unwrap_err();
    assert!(problem.what.contains("no/a.log") && problem.fix.contains("writable"), "{problem}");
    std::fs::write(dir.path().join("file"), "").unwrap();
    let problem = journal::make_dir(&dir.path().join("file/logs")).unwrap_err();
    assert!(problem.what.contains("file/logs") && problem.fix.contains("log.process_dir"), "{problem}");
}

#[test]
fn what_is_told_names_the_process() {
    let ready = Told::Ready { name: "turf".into(), pid: 12, after: Duration::from_millis(130) };
    assert_eq!(ready.to_string(), "process turf (pid 12) is ready after 0.1 s");
    let ended = Told::Ended { name: "turf".into(), pid: 12, summary: "exited with code 1".into() };
    assert_eq!(
        ended.to_string(),
        "process turf (pid 12) exited with code 1; the instance ends with it (on_exit = \"stop\")"
    );
}
