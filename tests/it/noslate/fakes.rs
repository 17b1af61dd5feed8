//! The fakes of Noslate's planes, which stand in for the real ones: held to their habits before anything is held to them.

use std::process::Command;

use crate::support::app;

#[test]
fn the_fake_planes_have_the_habits_that_they_claim() {
    let output = Command::new("node")
        .args(["--test", "--test-reporter=tap"])
        .arg(app("noslate/planes.test.js"))
        .output()
        .expect("node is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains("# pass 0"), "nothing ran: {said}");
}
