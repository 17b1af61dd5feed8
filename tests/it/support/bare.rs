//! An application without a sidecar in front: what each promise is measured against.

use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};

use super::eventually;
use super::sidecar::Lines;

/// A running application on a TCP port of its own; killed on drop.
pub(crate) struct Bare {
    pub(crate) port: u16,
    child: Child,
}

impl Bare {
    /// Starts it and waits until it says on which port it listens.
    pub(crate) fn start<S: AsRef<OsStr>>(
        command: impl IntoIterator<Item = S>,
        variables: &[(&str, &str)],
    ) -> Self {
        let mut words = command.into_iter();
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).env("FC_SERVER_PORT", "0").envs(variables.iter().copied());
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the program starts");
        let stdout = Lines::read(child.stdout.take().expect("piped"));
        let line = stdout.wait_for("listening on ");
        let port = line.rsplit(' ').next().and_then(|word| word.parse().ok());
        Self { port: port.unwrap_or_else(|| panic!("no port in {line:?}")), child }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as the system does to whoever takes too much memory, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("our child");
        eventually("the end of the application", || self.child.try_wait().expect("our child"));
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
