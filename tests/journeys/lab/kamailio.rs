//! Kamailio as the far proxy: Debian's own, with the configuration of `tests/kamailio`.

use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::network::Host;

const PATIENCE: Duration = Duration::from_secs(10);

/// A running Kamailio; ended when dropped.
#[derive(Debug)]
pub(crate) struct Kamailio {
    process: Child,
    directory: TempDir,
}

impl Kamailio {
    /// Starts one that listens at these sockets (`udp:10.2.0.2:5060`), with these definitions for
    /// `tests/kamailio/proxy.cfg`, whose first lines say what there is to define. Waits until all are bound.
    #[track_caller]
    pub(crate) fn start(host: &Host, sockets: &[&str], definitions: &[(&str, &str)]) -> Self {
        Self::configured(host, "proxy.cfg", sockets, definitions)
    }

    /// The same with another configuration of `tests/kamailio`.
    #[track_caller]
    pub(crate) fn configured(
        host: &Host,
        file: &str,
        sockets: &[&str],
        definitions: &[(&str, &str)],
    ) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory can be written to");
        let config = directory.path().join("kamailio.cfg");
        std::fs::write(&config, configuration(file, sockets, definitions)).expect("it is new");
        let log = File::create(directory.path().join("log")).expect("the directory is new");
        let errors = log.try_clone().expect("file descriptors are left");
        let process = host
            .command("kamailio")
            // In the foreground, its own processes included; some MB of memory are enough.
            .args(["-DD", "-E", "-m", "32", "-M", "4", "-f"])
            .arg(config)
            .arg("-Y")
            .arg(directory.path())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("ip netns exec starts");
        let mut kamailio = Self { process, directory };
        kamailio.wait_until_bound(host, sockets);
        kamailio
    }

    #[track_caller]
    fn wait_until_bound(&mut self, host: &Host, sockets: &[&str]) {
        let end = Instant::now() + PATIENCE;
        let wanted = sockets
            .iter()
            .filter_map(|socket| Some(socket.split_once(':')?.1));
        for address in wanted {
            while !host.run("ss -Hatun").contains(&format!(" {address} ")) {
                if let Ok(Some(status)) = self.process.try_wait() {
                    panic!(
                        "Kamailio (scripts/test installs it) ended with {status}:\n{}",
                        self.log()
                    );
                }
                assert!(Instant::now() < end, "Kamailio waits:\n{}", self.log());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// How many lines of its log hold this text: the configuration says what it writes.
    pub(crate) fn said(&self, text: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(text))
            .count()
    }

    /// What it wrote.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        // It ends its own processes only when it is asked to end.
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let end = Instant::now() + Duration::from_secs(2);
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- Kamailio's log ---\n{}", self.log());
        }
    }
}

fn configuration(file: &str, sockets: &[&str], definitions: &[(&str, &str)]) -> String {
    let mut text = String::from("#!KAMAILIO\n");
    for (name, value) in definitions {
        text.push_str(&format!("#!define {name} {value}\n"));
    }
    for socket in sockets {
        text.push_str(&format!("listen={socket}\n"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/kamailio")
        .join(file);
    text.push_str(&format!("include_file \"{}\"\n", path.display()));
    text
}
