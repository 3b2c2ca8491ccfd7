//! Debian's rtpengine, in tandem's place or beside it: what tandem's second door is measured by.

use std::fs::File;
use std::net::SocketAddr;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::network::{Network, at};
use super::ng::Asker;

/// First and last port of its media: others than tandem's.
pub(crate) const PORTS: (u16, u16) = (30_000, 39_999);

/// Those of another one beside it.
pub(crate) const OTHER_PORTS: (u16, u16) = (40_000, 49_999);

/// A running rtpengine on the relay's host; killed when dropped.
#[derive(Debug)]
pub(crate) struct RtpEngine {
    process: Child,
    directory: TempDir,
}

impl RtpEngine {
    /// Starts one with the interfaces `inside` and `outside`, as tandem's media groups are, and waits until it answers at this
    /// address.
    #[track_caller]
    pub(crate) fn start(network: &Network, control: SocketAddr, ports: (u16, u16)) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory can be written to");
        let log = File::create(directory.path().join("log")).expect("the directory is new");
        let mut command = network.relay.command("rtpengine");
        command.args([
            "--config-file=none",
            "--foreground",
            "--log-stderr",
            "--log-level=5",
            // In user space: the kernel's module is no part of Debian's kernel.
            "--table=-1",
            "--num-threads=2",
            "--interface=inside/10.1.0.1",
            "--interface=inside/fd01::1",
            "--interface=outside/10.2.0.1",
            "--interface=outside/fd02::1",
        ]);
        let errors = log.try_clone().expect("file descriptors are left");
        let process = command
            .arg(format!("--listen-ng={control}"))
            .arg(format!("--port-min={}", ports.0))
            .arg(format!("--port-max={}", ports.1))
            .arg(format!("--recording-dir={}", directory.path().display()))
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("ip netns exec starts");
        let engine = Self { process, directory };
        let mut asker = Asker::new(&network.relay, at("127.0.0.1", 0), control);
        let pong = asker.try_ask(&json!({"command": "ping"}), Duration::from_secs(10));
        assert_eq!(
            pong.and_then(|reply| reply["result"].as_str().map(str::to_owned)),
            Some("pong".to_owned()),
            "rtpengine (scripts/test installs it) does not answer:\n{}",
            engine.log()
        );
        engine
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for RtpEngine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- rtpengine's log ---\n{}", self.log());
        }
    }
}

/// No session, no port is left in whoever is asked, soon.
#[track_caller]
pub(crate) fn assert_no_session_and_no_port(asker: &mut Asker) {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let calls = asker.ask(&json!({"command": "list"}))["calls"].clone();
        let ports = ports_in_use(asker);
        if calls == json!([]) && ports == 0 {
            return;
        }
        assert!(Instant::now() < end, "left: {calls}, and {ports} ports");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[track_caller]
fn ports_in_use(asker: &mut Asker) -> u64 {
    let said = asker.ask(&json!({"command": "statistics"}));
    let interfaces = said["statistics"]["interfaces"].as_array();
    let interfaces = interfaces.unwrap_or_else(|| panic!("statistics without interfaces: {said}"));
    assert!(!interfaces.is_empty(), "{said}");
    let used = |interface: &Value| interface["ports"]["used"].as_u64();
    let used = interfaces
        .iter()
        .map(|interface| used(interface).expect("a number of ports"));
    used.sum()
}
