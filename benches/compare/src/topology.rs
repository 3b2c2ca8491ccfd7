//! The network of the comparison: two namespaces, two veth pairs, made anew for every relay and removed when
//! dropped.
//!
//! ```text
//!   tandembench-PID-load                              tandembench-PID-relay
//!   a0  10.1.0.2  02:00:00:00:01:02 ───────────── in0  10.1.0.1  02:00:00:00:01:01
//!   b0  10.2.0.2  02:00:00:00:02:02 ───────────── out0 10.2.0.1  02:00:00:00:02:01
//! ```
//!
//! - One queue each. Neighbours are permanent, so that nobody waits for ARP in the middle of a trial.
//! - No transmit checksum offload, so that every frame has the checksum that a wire would show.
//! - Received through the backlog, where nothing needs NAPI ([`Receive`]): GRO, with which veth has one, costs every packet
//!   a poll of its own.
//! - IPv4 only; the kernel's router solicitations would be foreign frames at the sink.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tandem_load::cli::Mac;

use crate::error::Error;
use crate::limits::pin;
use crate::process::run;
use crate::streams::{A, B, RELAY_A, RELAY_B};

/// What the namespaces' names begin with; the maker's process id follows.
const PREFIX: &str = "tandembench-";
/// The devices of the load tool, and those of the relay.
pub(crate) const LOAD_DEVICES: [&str; 2] = ["a0", "b0"];
/// See there.
pub(crate) const RELAY_DEVICES: [&str; 2] = ["in0", "out0"];

/// Who receives on veth: NAPI runs where the sender sent from, or in a thread of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Napi {
    /// In the sender's softirq, so on the sender's core.
    Softirq,
    /// In kernel threads, each pinned to the core of who owns the device.
    Threaded,
}

/// How devices receive what runs no native XDP program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receive {
    /// Through the core's backlog, with or without a generic XDP program: the cheapest that veth has.
    Backlog,
    /// By a NAPI of their own (GRO on): what threads need, and devices to which frames are redirected.
    Napi,
}

impl Receive {
    /// The XDP mode of a sink on such a device, as the load tool's `--xdp-mode` has it.
    pub(crate) const fn xdp_mode(self) -> &'static str {
        match self {
            Self::Backlog => "generic",
            Self::Napi => "copy",
        }
    }
}

/// How the network is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Who receives.
    pub(crate) napi: Napi,
    /// How devices receive.
    pub(crate) receive: Receive,
    /// The load tool's core.
    pub(crate) load_core: usize,
    /// The relay's core.
    pub(crate) relay_core: usize,
    /// How many more addresses the relay has on each side: 10.x.0.11 and so on.
    pub(crate) more_addresses: u8,
}

/// The network; removed when dropped.
#[derive(Debug)]
pub(crate) struct Topology {
    name: String,
    /// How its devices receive.
    pub(crate) receive: Receive,
}

impl Topology {
    /// Makes the namespaces, devices, addresses and neighbours.
    pub(crate) fn new(plan: &Plan) -> Result<Self, Error> {
        let topology = Self {
            name: format!("{PREFIX}{}", std::process::id()),
            receive: plan.receive,
        };
        for side in [topology.load(), topology.relay()] {
            ip(&["netns", "add", &side])?;
            ip(&["-n", &side, "link", "set", "lo", "up"])?;
            let settings = [
                "net.ipv6.conf.all.disable_ipv6=1",
                "net.ipv6.conf.default.disable_ipv6=1",
                "net.ipv4.conf.all.rp_filter=0",
                "net.ipv4.conf.default.rp_filter=0",
                "net.ipv4.ip_forward=1",
            ];
            run(topology.within(&side, "sysctl").arg("-qw").args(settings))?;
        }
        for side in 0..2 {
            topology.join(side)?;
        }
        for more in 0..plan.more_addresses {
            for (side, device) in RELAY_DEVICES.iter().enumerate() {
                let address = format!("{}/24", more_address(side, more));
                ip(&[
                    "-n",
                    &topology.relay(),
                    "address",
                    "add",
                    &address,
                    "dev",
                    device,
                ])?;
            }
        }
        if plan.napi == Napi::Threaded {
            topology.receive_in_threads(plan)?;
        }
        Ok(topology)
    }

    /// The namespace of the load tool.
    pub(crate) fn load(&self) -> String {
        format!("{}-load", self.name)
    }

    /// The namespace of the relay.
    pub(crate) fn relay(&self) -> String {
        format!("{}-relay", self.name)
    }

    /// A command that will run in a namespace. The program takes the place of `ip`, so its process id is known.
    pub(crate) fn within(&self, namespace: &str, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace])
            .arg(program.as_ref());
        command
    }

    fn join(&self, side: usize) -> Result<(), Error> {
        let (load, relay) = (self.load(), self.relay());
        let (near, far) = (RELAY_DEVICES[side], LOAD_DEVICES[side]);
        let addresses = [[RELAY_A, A], [RELAY_B, B]][side].map(|address| address.to_string());
        let macs = [mac(side, End::Relay), mac(side, End::Load)].map(|mac| mac.to_string());
        #[rustfmt::skip]
        ip(&[
            "link", "add", near, "address", &macs[0], "netns", &relay, "numrxqueues", "1", "numtxqueues", "1",
            "type", "veth", "peer",
            "name", far, "address", &macs[1], "netns", &load, "numrxqueues", "1", "numtxqueues", "1",
        ])?;
        let ends = [(&relay, near), (&load, far)];
        for (end, (namespace, device)) in ends.into_iter().enumerate() {
            let other = 1 - end;
            let address = format!("{}/24", addresses[end]);
            ip(&["-n", namespace, "address", "add", &address, "dev", device])?;
            run(self
                .within(namespace, "ethtool")
                .args(["-K", device, "tx", "off"]))?;
            ip(&["-n", namespace, "link", "set", device, "up"])?;
            #[rustfmt::skip]
            ip(&[
                "-n", namespace, "neighbour", "replace", &addresses[other], "lladdr", &macs[other],
                "dev", device, "nud", "permanent",
            ])?;
        }
        if self.receive == Receive::Backlog {
            return Ok(());
        }
        // Only of a device that is up does the other end learn that frames may be redirected to it.
        for (namespace, device) in ends {
            run(self
                .within(namespace, "ethtool")
                .args(["-K", device, "gro", "on"]))?;
        }
        Ok(())
    }

    /// Each device's NAPI in a kernel thread, on the core of who owns the device.
    fn receive_in_threads(&self, plan: &Plan) -> Result<(), Error> {
        let ends = [
            (self.load(), LOAD_DEVICES, plan.load_core),
            (self.relay(), RELAY_DEVICES, plan.relay_core),
        ];
        for (namespace, devices, core) in ends {
            for device in devices {
                let before = napi_threads(device);
                let switch = format!("echo 1 > /sys/class/net/{device}/threaded");
                run(self.within(&namespace, "sh").args(["-c", &switch]))?;
                let made: Vec<_> = napi_threads(device).difference(&before).copied().collect();
                if made.is_empty() {
                    return Err(Error::System(format!(
                        "{device}: this kernel made no NAPI thread for it"
                    )));
                }
                for thread in made {
                    pin(Pid::from_raw(thread), core)?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        for namespace in [self.load(), self.relay()] {
            remove(&namespace);
        }
    }
}

/// Which end of a veth pair.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// The relay's.
    Relay,
    /// The load tool's.
    Load,
}

/// The MAC address of a device: side 0 is A's.
pub(crate) fn mac(side: usize, end: End) -> Mac {
    let end = match end {
        End::Relay => 1,
        End::Load => 2,
    };
    // Two sides.
    Mac([2, 0, 0, 0, side as u8 + 1, end])
}

/// One of the relay's further addresses: side 0 is A's.
pub(crate) fn more_address(side: usize, more: u8) -> String {
    format!("10.{}.0.{}", side + 1, 11 + u16::from(more))
}

/// Removes the namespaces of runs that were killed, and ends what still runs in them.
pub(crate) fn sweep() -> Result<(), Error> {
    for line in ip(&["netns", "list"])?.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        if maker(name).is_some_and(|id| !Path::new(&format!("/proc/{id}/exe")).exists()) {
            remove(name);
        }
    }
    Ok(())
}

/// The process that made a namespace of the comparison.
fn maker(namespace: &str) -> Option<u32> {
    let (id, side) = namespace.strip_prefix(PREFIX)?.split_once('-')?;
    matches!(side, "load" | "relay").then(|| id.parse().ok())?
}

/// Failures are not told: it is the end of the run, or another run has been quicker.
fn remove(namespace: &str) {
    if !Path::new("/run/netns").join(namespace).exists() {
        return;
    }
    let inside = ip(&["netns", "pids", namespace]).unwrap_or_default();
    for id in inside.lines().filter_map(|id| id.trim().parse().ok()) {
        let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
    }
    let _ = ip(&["netns", "delete", namespace]);
}

/// The kernel threads that receive for a device of this name, in whatever namespace.
fn napi_threads(device: &str) -> HashSet<i32> {
    let named = format!("napi/{device}-");
    let Ok(processes) = fs::read_dir("/proc") else {
        return HashSet::new();
    };
    let ids = processes.flatten().filter_map(|entry| {
        let id = entry.file_name().to_string_lossy().parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        name.starts_with(&named).then_some(id)
    });
    ids.collect()
}

fn ip(arguments: &[&str]) -> Result<String, Error> {
    run(Command::new("ip").args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_known_by_its_maker() {
        assert_eq!(maker("tandembench-4711-load"), Some(4711));
        assert_eq!(maker("tandembench-4711-relay"), Some(4711));
        for other in [
            "tandembench-x-load",
            "tandembench-4711-up",
            "tandemdemo-4711-relay",
        ] {
            assert_eq!(maker(other), None, "{other}");
        }
    }

    #[test]
    fn every_device_has_an_address_of_its_own() {
        let macs = [
            (0, End::Relay),
            (0, End::Load),
            (1, End::Relay),
            (1, End::Load),
        ];
        let macs: HashSet<_> = macs.map(|(side, end)| mac(side, end).0).into();
        assert_eq!(macs.len(), 4);
        assert_eq!(more_address(1, 3), "10.2.0.14");
    }
}
