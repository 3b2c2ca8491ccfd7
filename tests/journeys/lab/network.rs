//! Hosts and wires: network namespaces and veth pairs, removed when dropped, also on panic.
//!
//! Names hold the process id, so that runs do not meet and `scripts/netns sweep` knows whose they were.
//! Needs root and says so.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static LABS: AtomicU32 = AtomicU32::new(0);

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Host {
    name: String,
}

impl Host {
    fn new(lab: u32, role: &str) -> Self {
        let name = format!("tandemtest-{}-{lab}-{role}", std::process::id());
        ip(&["netns", "add", &name]);
        let host = Self { name };
        host.ip("link set lo up");
        // Addresses are usable at once, without waiting for duplicate address detection.
        host.run("sysctl -qw net.ipv6.conf.default.accept_dad=0");
        host
    }

    /// Its name, as `ip netns` knows it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// `ip ARGUMENTS` inside; panics with what it said when it fails.
    pub(crate) fn ip(&self, arguments: &str) {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split_whitespace());
        ip(&all);
    }

    /// A command inside, by words; its output. Panics with what it said when it fails.
    pub(crate) fn run(&self, command: &str) -> String {
        let mut words = command.split_whitespace();
        let program = words.next().expect("a command has a first word");
        let mut command = self.command(program);
        command.args(words);
        checked(command)
    }

    /// A line of shell inside; its output. Panics with what it said when it fails.
    pub(crate) fn shell(&self, line: &str) -> String {
        let mut command = self.command("sh");
        command.args(["-c", line]);
        checked(command)
    }

    /// A program to be started inside. The process replaces `ip netns exec`, so its id is the program's.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, program])
            .stdin(Stdio::null());
        command
    }

    /// Runs a closure on a thread that lives in the namespace: sockets that it opens stay there.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/run/netns/{}", self.name))
            .expect("the namespace lives as long as the host");
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("journeys run as root");
                work()
            });
            match inside.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A UDP socket bound inside.
    ///
    /// A port that was just closed may still be taken for a moment: a journey beside this one that starts
    /// a command has copies of all our descriptors until the command is running.
    pub(crate) fn udp(&self, address: SocketAddr) -> UdpSocket {
        let give_up = Instant::now() + Duration::from_secs(2);
        loop {
            match self.within(|| UdpSocket::bind(address)) {
                Ok(socket) => return socket,
                Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < give_up => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => panic!("bind {address} in {}: {error}", self.name),
            }
        }
    }

    /// Rules for the namespace's packet filter, in `nft` syntax.
    pub(crate) fn filter(&self, rules: &str) {
        let file =
            tempfile::NamedTempFile::new().expect("the temporary directory can be written to");
        std::fs::write(file.path(), rules).expect("the rules fit the disk");
        self.run(&format!("nft -f {}", file.path().display()));
    }

    /// The packets that a named counter of table `inet media` has seen.
    pub(crate) fn counted(&self, counter: &str) -> u64 {
        let text = self.run(&format!("nft list counter inet media {counter}"));
        text.split_whitespace()
            .skip_while(|word| *word != "packets")
            .nth(1)
            .and_then(|number| number.parse().ok())
            .unwrap_or_else(|| panic!("nft lists a counter as `packets N bytes N`, not: {text}"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Whatever still runs inside was started by this journey.
        let pids = Command::new("ip")
            .args(["netns", "pids", &self.name])
            .output();
        for pid in pids
            .iter()
            .flat_map(|out| out.stdout.split(|b| *b == b'\n'))
        {
            if let Some(pid) = std::str::from_utf8(pid)
                .ok()
                .and_then(|pid| pid.parse().ok())
                .and_then(rustix::process::Pid::from_raw)
            {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .output();
    }
}

/// Three hosts in a row, as `scripts/netns` draws them; more can be hung on.
#[derive(Debug)]
pub(crate) struct Network {
    /// Calls. `up0`: 10.1.0.2, fd01::2.
    pub(crate) caller: Host,
    /// Runs tandem. `in0`: 10.1.0.1, fd01::1; `out0`: 10.2.0.1, fd02::1.
    pub(crate) relay: Host,
    /// Is called. `up0`: 10.2.0.2, fd02::2.
    pub(crate) callee: Host,
    lab: u32,
}

impl Network {
    /// Caller, relay, callee, joined by veth pairs of so many queues.
    pub(crate) fn new(queues: u32) -> Self {
        let lab = LABS.fetch_add(1, Ordering::Relaxed);
        let network = Self {
            caller: Host::new(lab, "caller"),
            relay: Host::new(lab, "relay"),
            callee: Host::new(lab, "callee"),
            lab,
        };
        join(&network.relay, "in0", &network.caller, "up0", queues);
        join(&network.relay, "out0", &network.callee, "up0", queues);
        for (host, device, net, number) in [
            (&network.relay, "in0", 1, 1),
            (&network.caller, "up0", 1, 2),
            (&network.relay, "out0", 2, 1),
            (&network.callee, "up0", 2, 2),
        ] {
            host.ip(&format!("address add 10.{net}.0.{number}/24 dev {device}"));
            host.ip(&format!(
                "address add fd0{net}::{number}/64 dev {device} nodad"
            ));
        }
        network
    }

    /// One more host with a wire of one queue to another: `up0` there, `device` at the other.
    pub(crate) fn hang(&self, role: &str, on: &Host, device: &str) -> Host {
        let host = Host::new(self.lab, role);
        join(on, device, &host, "up0", 1);
        host
    }

    /// Counts UDP of the relay's media ports, apart from anything that the programs inside say: at the
    /// callers' and callees' IP layer (`sent`, `received`), and at the first hook after XDP in the relay's
    /// own kernel (`received`) and where it sends (`sent`).
    pub(crate) fn count_media(&self, first: u16, last: u16) {
        for end in [&self.caller, &self.callee] {
            end.filter(&format!(
                "table inet media {{
                    counter sent {{}}
                    counter received {{}}
                    chain output {{ type filter hook output priority 0; udp dport {first}-{last} counter name sent; }}
                    chain input {{ type filter hook input priority 0; udp sport {first}-{last} counter name received; }}
                }}"
            ));
        }
        self.relay.filter(&format!(
            "table inet media {{
                counter sent {{}}
                counter received {{}}
                chain prerouting {{ type filter hook prerouting priority -300; udp dport {first}-{last} counter name received; }}
                chain output {{ type filter hook output priority 0; udp sport {first}-{last} counter name sent; }}
            }}"
        ));
    }
}

/// A veth pair between two hosts, both ends up.
fn join(left: &Host, left_device: &str, right: &Host, right_device: &str, queues: u32) {
    let queues = format!("numrxqueues {queues} numtxqueues {queues}");
    let (left_name, right_name) = (left.name(), right.name());
    let arguments = format!(
        "link add {left_device} netns {left_name} {queues} type veth \
         peer name {right_device} netns {right_name} {queues}"
    );
    ip(&arguments.split_whitespace().collect::<Vec<_>>());
    left.ip(&format!("link set {left_device} up"));
    right.ip(&format!("link set {right_device} up"));
}

/// `address:port` for either family.
pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    let address: IpAddr = address
        .parse()
        .expect("an address of the test's own making");
    SocketAddr::new(address, port)
}

fn ip(arguments: &[&str]) {
    let mut command = Command::new("ip");
    command.args(arguments);
    checked(command);
}

fn checked(mut command: Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error: io::Error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed (journeys need root, iproute2 and nftables): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
