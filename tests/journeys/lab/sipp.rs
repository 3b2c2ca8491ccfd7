//! SIPp as a peer: a process with its own SIP stack and its own idea of a call.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::network::Host;

/// A running SIPp; killed when dropped. It works in a directory of its own, with a copy of the scenarios
/// and the audio: SIPp names audio relative to it and leaves its logs there.
pub(crate) struct Sipp {
    process: Child,
    directory: TempDir,
    scenario: String,
}

impl Sipp {
    /// Answers one call at 10.2.0.2 and ends.
    pub(crate) fn callee(host: &Host, scenario: &str, port: u16, more: &[&str]) -> Self {
        Self::start(
            host,
            scenario,
            "10.2.0.2",
            port,
            &[&["-m", "1"], more].concat(),
        )
    }

    /// A scenario of `tests/sipp` at an address (IPv6 in brackets), waited for until its port is bound.
    #[track_caller]
    pub(crate) fn start(
        host: &Host,
        scenario: &str,
        address: &str,
        port: u16,
        more: &[&str],
    ) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory can be written to");
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sipp");
        for name in [scenario, "tone.alaw"] {
            std::fs::copy(scenarios.join(name), directory.path().join(name))
                .unwrap_or_else(|error| panic!("tests/sipp/{name}: {error}"));
        }
        let out = File::create(directory.path().join("out")).expect("the directory is new");
        let errors = out.try_clone().expect("file descriptors are left");
        let process = host
            .command("sipp")
            .args(["-sf", scenario, "-i", address, "-mi", address])
            .args([
                "-p",
                &port.to_string(),
                "-nostdin",
                "-trace_err",
                "-trace_msg",
            ])
            .args(more)
            .current_dir(directory.path())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .expect("ip netns exec starts");
        let mut sipp = Self {
            process,
            directory,
            scenario: scenario.to_owned(),
        };
        sipp.wait_until_bound(host, port);
        sipp
    }

    #[track_caller]
    fn wait_until_bound(&mut self, host: &Host, port: u16) {
        let end = Instant::now() + Duration::from_secs(10);
        let wanted = format!(":{port}");
        while !host
            .run("ss -Hatun")
            .split_whitespace()
            .any(|word| word.ends_with(&wanted))
        {
            if let Ok(Some(status)) = self.process.try_wait() {
                // Short calls may be over before we looked.
                assert!(status.success(), "{}", self.report());
                return;
            }
            assert!(Instant::now() < end, "SIPp is not ready: {}", self.report());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).expect("SIPp runs");
    }

    /// Waits for its end: every call must have gone as the scenario says. What it sent and received, with the times.
    #[track_caller]
    pub(crate) fn succeeds(mut self, patience: Duration) -> String {
        let end = Instant::now() + patience;
        let status = loop {
            match self.process.try_wait() {
                Ok(Some(status)) => break status,
                _ => assert!(Instant::now() < end, "SIPp still runs: {}", self.report()),
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(
            status.success(),
            "SIPp ended with {status}: {}",
            self.report()
        );
        self.messages()
    }

    /// What it has sent and received, as soon as `enough` of that has come.
    #[track_caller]
    pub(crate) fn until<T>(&self, patience: Duration, enough: impl Fn(&str) -> Option<T>) -> T {
        let end = Instant::now() + patience;
        loop {
            if let Some(found) = enough(&self.messages()) {
                return found;
            }
            assert!(Instant::now() < end, "it never came: {}", self.report());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn messages(&self) -> String {
        let files = std::fs::read_dir(self.directory.path()).expect("a directory of ours");
        files
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().ends_with("_messages.log"))
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .collect()
    }

    /// What it wrote: errors and messages.
    fn report(&self) -> String {
        let mut text = format!("{}\n", self.scenario);
        let output = Command::new("sh")
            .args([
                "-c",
                "tail -n 30 out; cat *_errors.log; tail -c 6000 *_messages.log",
            ])
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output();
        if let Ok(output) = output {
            text.push_str(&String::from_utf8_lossy(&output.stdout));
        }
        text
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        // What the other end has to say of a failure.
        if std::thread::panicking() {
            eprintln!("--- SIPp ---\n{}", self.report());
        }
    }
}
