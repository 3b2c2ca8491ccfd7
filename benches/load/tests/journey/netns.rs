//! Two namespaces and the veth pairs between them, of this process alone, removed when done, also on panic.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The namespaces, for as long as it lives.
pub(crate) struct Netns {
    name: String,
}

impl Netns {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let netns = Self {
            name: format!("tandemload-{}-{count}", std::process::id()),
        };
        for side in ["load", "relay"] {
            ip(&format!("netns add {}", netns.of(side)));
            ip(&format!("-n {} link set lo up", netns.of(side)));
        }
        for (net, load, relay) in [(1, "a0", "in0"), (2, "b0", "out0")] {
            let (load_side, relay_side) = (netns.of("load"), netns.of("relay"));
            ip(&format!(
                "link add {load} netns {load_side} type veth peer name {relay} netns {relay_side}"
            ));
            for (namespace, device, host) in [(&load_side, load, 2), (&relay_side, relay, 1)] {
                ip(&format!(
                    "-n {namespace} address add 10.{net}.0.{host}/24 dev {device}"
                ));
                ip(&format!("-n {namespace} link set {device} up"));
            }
        }
        netns
    }

    /// The full name of a side's namespace.
    pub(crate) fn of(&self, side: &str) -> String {
        format!("{}-{side}", self.name)
    }

    /// Moves the calling thread into a side's namespace.
    pub(crate) fn enter(&self, side: &str) {
        let file = File::open(format!("/run/netns/{}", self.of(side))).unwrap();
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        for side in ["load", "relay"] {
            let _ = Command::new("ip")
                .args(["netns", "delete", &self.of(side)])
                .status();
        }
    }
}

/// Runs `ip`, which must succeed.
fn ip(arguments: &str) {
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
