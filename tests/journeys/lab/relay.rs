//! tandem itself: the binary under test, in the relay's namespace, asked only through its own CLI.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value;
use tempfile::TempDir;

use super::network::{Host, Network};

/// The binary under test.
pub(crate) const TANDEM: &str = env!("CARGO_BIN_EXE_tandem");

/// `tandem run` without its log, so that stderr holds nothing but why it did not start.
pub(crate) const QUIET_RUN: [&str; 4] = ["run", "--log", "error", "-c"];

/// First and last media port of the default configuration.
pub(crate) const MEDIA_PORTS: (u16, u16) = (20_000, 29_999);

const DEFAULT: &str = r#"
[appliance]
name = "tandem"
admin_socket = "DIRECTORY/admin.sock"
drain_timeout = "5s"
log = "info"

[workers]
cores = [0, 1]
idle = "adaptive"

[[device]]
name = "in0"
mode = "best"

[[device]]
name = "out0"
mode = "best"

[[media]]
name = "inside"
device = "in0"
addresses = ["10.1.0.1", "fd01::1"]
ports = "20000-29999"
latch = "learn"
latch_window = "10s"

[[media]]
name = "outside"
device = "out0"
addresses = ["10.2.0.1", "fd02::1"]
ports = "20000-29999"
latch = "learn"
latch_window = "10s"

[[listener]]
name = "inside4"
address = "10.1.0.1:5060"

[[listener]]
name = "inside6"
address = "[fd01::1]:5060"

[[listener]]
name = "outside4"
address = "10.2.0.1:5060"

[[listener]]
name = "outside6"
address = "[fd02::1]:5060"

[[trunk]]
name = "callers"
peers = ["10.1.0.2", "fd01::2"]
listeners = ["inside4", "inside6"]
media = "inside"

[[trunk]]
name = "callees4"
peers = ["10.2.0.2:5060"]
listeners = ["outside4"]
media = "outside"

[[trunk]]
name = "callees6"
peers = ["[fd02::2]:5060"]
listeners = ["outside6"]
media = "outside"

[[trunk]]
name = "first"
peers = ["10.2.0.2:5070"]
listeners = ["outside4"]
media = "outside"

# 4... is answered over IPv4, 6... over IPv6; 7... tries one trunk, then another.
[[route]]
from = "callers"
user = "4[0-9]*"
to = ["callees4"]

[[route]]
from = "callers"
user = "6[0-9]*"
to = ["callees6"]

[[route]]
from = "callers"
user = "7[0-9]*"
to = ["first", "callees4"]

[sip]
t1 = "500ms"
t2 = "4s"
no_answer = "180s"
max_calls = 10000

[calls]
media_timeout = "60s"
port_rest = "30s"
"#;

/// A configuration, made from one that suits [`Network`].
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    toml: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            toml: DEFAULT.to_owned(),
        }
    }
}

impl Setup {
    /// One for clients of rtpengine's protocol alone, at 127.0.0.1:2223: no SIP.
    pub(crate) fn ng() -> Self {
        let (start, _) = DEFAULT.split_once("[[listener]]").expect("a listener");
        let toml = format!(
            "{start}[ng]\ndelete_delay = \"0s\"\n\n[[ng_listener]]\nname = \"ng\"\naddress = \"127.0.0.1:2223\"\n"
        );
        Self { toml }
    }

    /// One of `examples`, which suit [`Network`] as well, with an admin socket of its own.
    #[track_caller]
    pub(crate) fn of_example(text: &str) -> Self {
        assert!(!text.contains("admin_socket"), "it has one already");
        let own = "[appliance]\nadmin_socket = \"DIRECTORY/admin.sock\"";
        let toml = text.replacen("[appliance]", own, 1);
        Self { toml }
    }

    /// Gives a key another value wherever it stands; the value in TOML's own spelling.
    #[track_caller]
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        let start = format!("{key} = ");
        assert!(
            self.toml.lines().any(|line| line.starts_with(&start)),
            "no {key} in the configuration"
        );
        self.toml = self
            .toml
            .lines()
            .map(|line| match line.starts_with(&start) {
                true => format!("{start}{value}\n"),
                false => format!("{line}\n"),
            })
            .collect();
        self
    }

    /// Puts one piece of the text in another's place.
    #[track_caller]
    pub(crate) fn replace(mut self, piece: &str, other: &str) -> Self {
        assert!(
            self.toml.contains(piece),
            "no {piece:?} in the configuration"
        );
        self.toml = self.toml.replace(piece, other);
        self
    }

    /// Adds lines to a section.
    #[track_caller]
    pub(crate) fn under(self, section: &str, lines: &str) -> Self {
        let heading = format!("{section}\n");
        self.replace(&heading, &format!("{heading}{lines}\n"))
    }

    /// Adds sections.
    pub(crate) fn append(mut self, sections: &str) -> Self {
        self.toml.push('\n');
        self.toml
            .extend(sections.lines().flat_map(|line| [line.trim(), "\n"]));
        self
    }

    /// Writes it into a directory.
    pub(crate) fn write(&self, directory: &TempDir) -> PathBuf {
        self.write_into(directory.path())
    }

    /// Puts it in the place of what a running relay was started with.
    pub(crate) fn write_over(&self, relay: &Relay) {
        self.write_into(relay.directory.path());
    }

    fn write_into(&self, directory: &Path) -> PathBuf {
        let path = directory.join("tandem.toml");
        let place = directory.display().to_string();
        std::fs::write(&path, self.toml.replace("DIRECTORY", &place))
            .expect("the temporary directory can be written to");
        path
    }
}

/// A running tandem; killed when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    process: Child,
    directory: TempDir,
}

impl Relay {
    /// Starts it and waits until it answers its CLI.
    #[track_caller]
    pub(crate) fn start(network: &Network, setup: &Setup) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory can be written to");
        let config = setup.write(&directory);
        let mut relay = Self {
            process: spawn(network, &config, &directory),
            directory,
        };
        relay.wait_until_ready();
        relay
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Another one with the same configuration, after this one has ended.
    #[track_caller]
    pub(crate) fn start_again(&mut self, network: &Network) {
        self.process = spawn(network, &self.config(), &self.directory);
        self.wait_until_ready();
    }

    #[track_caller]
    fn wait_until_ready(&mut self) {
        let end = Instant::now() + Duration::from_secs(15);
        while !self.ask(&["status"]).status.success() {
            if let Ok(Some(status)) = self.process.try_wait() {
                panic!("tandem ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < end, "tandem is not ready:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Its configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("tandem.toml")
    }

    /// Its admin socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("tandem runs");
    }

    /// SIGSTOP, and none of its threads runs any more when this returns.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
        let stopped = waitpid(Some(self.pid()), WaitOptions::UNTRACED);
        let (_, status) = stopped
            .expect("tandem is our child")
            .expect("we waited for it");
        assert!(status.stopped(), "{status:?}");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self, patience: Duration) -> ExitStatus {
        wait(&mut self.process, patience)
            .unwrap_or_else(|| panic!("tandem still runs after {patience:?}:\n{}", self.log()))
    }

    /// SIGTERM; it must end by itself and with success.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait(Duration::from_secs(20));
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    /// The records of calls in `DIRECTORY/calls.json`, when there are as many.
    #[track_caller]
    pub(crate) fn records(&self, count: usize) -> Vec<Value> {
        let file = self.directory.path().join("calls.json");
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<Value> = text
                .lines()
                .map(|line| serde_json::from_str(line).expect("a whole line of JSON"))
                .collect();
            if lines.len() >= count || Instant::now() > until {
                assert_eq!(lines.len(), count, "{text}\n{}", self.log());
                return lines;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What it wrote to its log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// A CLI verb's output as JSON.
    #[track_caller]
    pub(crate) fn json(&self, verb: &[&str]) -> Value {
        let text = self.answer(&[verb, &["--json"]].concat());
        serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("tandem {verb:?} --json said no JSON ({error}): {text}"))
    }

    /// A CLI verb's output as an operator reads it.
    #[track_caller]
    pub(crate) fn table(&self, verb: &[&str]) -> String {
        self.answer(verb)
    }

    #[track_caller]
    fn answer(&self, verb: &[&str]) -> String {
        let output = self.ask(verb);
        assert!(
            output.status.success(),
            "tandem {verb:?}: {}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A CLI verb's whole outcome.
    pub(crate) fn ask(&self, verb: &[&str]) -> Output {
        Command::new(TANDEM)
            .args(verb)
            .arg("--socket")
            .arg(self.socket())
            .stdin(Stdio::null())
            .output()
            .expect("the binary under test exists")
    }

    /// Processor time of all its threads so far (`/proc/PID/stat`, in ticks of 10 ms).
    pub(crate) fn cpu_time(&self) -> Duration {
        let pid = self.process.id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Duration::from_millis(ticks * 10)
    }

    /// Resident memory in bytes (`/proc/PID/statm`).
    pub(crate) fn resident_memory(&self) -> u64 {
        let pid = self.process.id();
        let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let pages: Option<u64> = statm
            .split(' ')
            .nth(1)
            .and_then(|number| number.parse().ok());
        pages.unwrap_or_else(|| panic!("statm {statm:?}")) * 4096
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- tandem's log ---\n{}", self.log());
        }
    }
}

fn spawn(network: &Network, config: &Path, directory: &TempDir) -> Child {
    let log = File::create(directory.path().join("log"));
    let log = log.expect("the temporary directory can be written to");
    let errors = log.try_clone().expect("file descriptors are left");
    network
        .relay
        .command(TANDEM)
        .args(["run", "-c"])
        .arg(config)
        .stdout(log)
        .stderr(errors)
        .spawn()
        .expect("ip netns exec starts")
}

/// A run that is meant to fail at its start: its exit code and what it wrote to stderr.
pub(crate) fn failing_start(host: &Host, setup: &Setup) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().expect("the temporary directory can be written to");
    let config = setup.write(&directory);
    let mut command = host.command(TANDEM);
    command.args(QUIET_RUN).arg(config);
    outcome(command)
}

/// What becomes of a command that ends soon: its exit code and what it wrote to stderr.
pub(crate) fn outcome(mut command: Command) -> (Option<i32>, String) {
    let mut process = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command exists");
    let status = wait(&mut process, Duration::from_secs(15));
    if status.is_none() {
        let _ = process.kill();
    }
    let output = process
        .wait_with_output()
        .expect("the process was started here");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (status.and_then(|status| status.code()), said)
}

fn wait(process: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + patience;
    loop {
        if let Ok(Some(status)) = process.try_wait() {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
