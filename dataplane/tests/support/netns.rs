//! Three network namespaces and the veth pairs between them, of this process alone, removed when done.
//!
//! ```text
//!   NAME-a  up0 ─────── in0  NAME-r  out0 ─────── up0  NAME-b
//!   10.0.0.2/24     10.0.0.1/24    10.1.0.1/24     10.1.0.2/24
//!   fd00::2/64       fd00::1/64    fd01::1/64       fd01::2/64
//! ```
//!
//! Two queues each way. Checksums are left unfinished by the kernel's senders, as veth does by default.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use contract::MacAddress;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The namespaces, for as long as it lives.
pub struct Netns {
    name: String,
}

impl Netns {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let netns = Self {
            name: format!("tandemdp-{}-{count}", std::process::id()),
        };
        for side in ["a", "r", "b"] {
            ip(&format!("netns add {}", netns.of(side)));
            ip(&format!("-n {} link set lo up", netns.of(side)));
        }
        netns.join("in0", "a", 0);
        netns.join("out0", "b", 1);
        netns
    }

    /// The full name of a side's namespace.
    pub fn of(&self, side: &str) -> String {
        format!("{}-{side}", self.name)
    }

    /// Runs something in a side's namespace, on a thread of its own; threads and sockets that it makes stay there.
    pub fn run<T: Send>(&self, side: &str, body: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.of(side))).unwrap();
        let inside = move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            body()
        };
        match std::thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// A device's MAC address.
    pub fn mac(&self, side: &str, device: &str) -> MacAddress {
        let device = self.run(side, || af_xdp::Device::by_name(device).unwrap());
        MacAddress(device.mac())
    }

    fn join(&self, device: &str, peer: &str, net: u8) {
        let (relay, peer) = (self.of("r"), self.of(peer));
        let queues = "numrxqueues 2 numtxqueues 2";
        ip(&format!(
            "link add {device} netns {relay} {queues} type veth peer name up0 netns {peer} {queues}"
        ));
        for (namespace, device, host) in [(&relay, device, 1), (&peer, "up0", 2)] {
            ip(&format!(
                "-n {namespace} address add 10.{net}.0.{host}/24 dev {device}"
            ));
            ip(&format!(
                "-n {namespace} address add fd0{net}::{host}/64 dev {device} nodad"
            ));
            ip(&format!("-n {namespace} link set {device} up"));
        }
        // The relay's side answers neither ARP nor NDP for what only the dataplane knows: say it by hand.
        for (family, host) in [
            ("-4", format!("10.{net}.0.1")),
            ("-6", format!("fd0{net}::1")),
        ] {
            let mac = self.mac("r", device);
            ip(&format!(
                "-n {peer} {family} neigh replace {host} lladdr {mac} dev up0 nud permanent"
            ));
        }
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        for side in ["a", "r", "b"] {
            let _ = Command::new("ip")
                .args(["netns", "delete", &self.of(side)])
                .status();
        }
    }
}

/// Runs `ip`, which must succeed.
pub fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "`ip {arguments}` failed (these tests need root, and are of no use without): {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
