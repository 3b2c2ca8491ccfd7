//! A network namespace of its own for a test, with two veth devices that fit `examples/tandem.toml`:
//! in0 and out0, two queues each. Removed when dropped, also when the test fails.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A namespace.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one. Needs root: a test that cannot make one fails and says so.
    pub(crate) fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("tandem-cli-{}-{number}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let namespace = Self { name };
        namespace.ip("link set lo up");
        for (device, v4, v6) in [
            ("in0", "10.1.0.1/24", "fd01::1/64"),
            ("out0", "10.2.0.1/24", "fd02::1/64"),
        ] {
            namespace.ip(&format!(
                "link add {device} numrxqueues 2 numtxqueues 2 type veth \
                 peer name {device}-peer numrxqueues 2 numtxqueues 2"
            ));
            namespace.ip(&format!("addr add {v4} dev {device}"));
            namespace.ip(&format!("addr add {v6} dev {device} nodad"));
            namespace.ip(&format!("link set {device}-peer up"));
            namespace.ip(&format!("link set {device} up"));
        }
        namespace
    }

    /// A command that will run inside.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// `ip ARGUMENTS` inside.
    pub(crate) fn ip(&self, arguments: &str) {
        run(self.command("ip").args(arguments.split_whitespace()));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A panic here would hide the test's own.
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .output();
    }
}

/// Runs a command that must succeed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the program can be started");
    assert!(
        output.status.success(),
        "{command:?} failed (these tests need root and iproute2): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
