//! The relays: how each is started, so that it relays the same streams, and what it was given to be at its best.
//!
//! | peer | is told the streams by | is |
//! | --- | --- | --- |
//! | tandem | its admin socket: sessions without SIP | a process with a worker on the relay's core |
//! | rtpengine | its ng port: offer and answer | a process on the relay's core |
//! | socket | a stream file | a process on the relay's core: `tandem-compare socket-relay` |
//! | kernel | an nftables ruleset | none: it works in the softirq of whoever receives |
//! | xdp | a stream file | none that works: `tandem-compare xdp-relay` only holds the program |

mod rtpengine;
mod tandem;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::error::Error;
use crate::process::{Process, run};
use crate::topology::{End, RELAY_DEVICES, Topology, mac};
use crate::{kernel_rules, streams};

pub(crate) use rtpengine::OpenCalls;
pub(crate) use tandem::{MORE_ADDRESSES, MOST_FLOWS};

/// How long a relay may take until it relays all streams.
const PATIENCE: Duration = Duration::from_secs(30);

/// A relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// This project.
    Tandem,
    /// The same, with many more flows installed than have traffic.
    #[value(skip)]
    TandemManyFlows,
    /// Debian's rtpengine, in user space.
    Rtpengine,
    /// UDP sockets, epoll, recvmmsg, sendmmsg.
    Socket,
    /// nftables DNAT and SNAT.
    Kernel,
    /// A bare XDP program: the ceiling.
    Xdp,
}

impl Peer {
    /// As it is printed, and given on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tandem => "tandem",
            Self::TandemManyFlows => "tandem-many-flows",
            Self::Rtpengine => "rtpengine",
            Self::Socket => "socket",
            Self::Kernel => "kernel",
            Self::Xdp => "xdp",
        }
    }

    /// The TTL with which its packets arrive, of a packet that was sent with 64.
    pub(crate) fn ttl(self) -> u8 {
        match self {
            // A router's duty (RFC 1812 §5.3.1).
            Self::Kernel => 63,
            // Packets of their own; and the bare program leaves it alone.
            _ => 64,
        }
    }
}

/// What every relay is started with.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Streams with traffic.
    pub(crate) streams: u16,
    /// Flows that tandem has installed when it has many.
    pub(crate) many_flows: u32,
    /// The relay's core.
    pub(crate) relay_core: usize,
    /// Packets that may wait at the relay on each side before it takes them.
    pub(crate) room: u32,
    /// `idle` of tandem's configuration.
    pub(crate) idle: String,
    /// `mode` of tandem's devices.
    pub(crate) mode: String,
    /// Further arguments of rtpengine.
    pub(crate) rtpengine_arguments: Vec<String>,
    /// The tandem binary.
    pub(crate) tandem: PathBuf,
}

impl Terms {
    /// A socket's receive buffer, as the kernel counts it, so that all of a side's hold `room` packets together:
    /// what a ring of AF_XDP holds. A packet of 214 bytes takes 1,280 (its buffer of 1 KB and its
    /// descriptor); a socket has room for 8 at least. Much larger ones would pass off as relayed what only waits
    /// when a trial ends.
    pub(crate) fn receive_buffer(&self) -> u32 {
        const PACKET: u32 = 1280;
        (self.room / u32::from(self.streams.max(1))).max(8) * PACKET
    }
}

/// A relay that relays; ended when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Its process, where it is one that spends processor time on packets.
    process: Option<Process>,
    /// A process that only holds something.
    holder: Option<Process>,
    /// What the load tool is to send.
    pub(crate) streams: PathBuf,
}

impl Relay {
    /// Starts a relay in a topology; `work` is an empty directory. Returns when packets of every stream come through
    /// in both directions, with the addresses that they must have.
    pub(crate) fn start(
        peer: Peer,
        topology: &Topology,
        terms: &Terms,
        work: &Path,
        stop: &Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        let streams = work.join("streams.json");
        let told = || streams::write(&streams, streams::chosen(terms.streams));
        let (mut process, mut holder) = (None, None);
        match peer {
            Peer::Tandem => {
                process = Some(tandem::start(topology, terms, 0, work, &streams, stop)?);
            }
            Peer::TandemManyFlows => {
                let flows = terms.many_flows;
                process = Some(tandem::start(topology, terms, flows, work, &streams, stop)?);
            }
            Peer::Rtpengine => {
                process = Some(rtpengine::start(topology, terms, work, &streams, stop)?);
            }
            Peer::Socket => {
                told()?;
                process = Some(socket_relay(topology, terms, work, &streams)?);
            }
            Peer::Kernel => {
                told()?;
                kernel(topology, terms, work)?;
            }
            Peer::Xdp => {
                told()?;
                holder = Some(xdp_relay(topology, work, &streams)?);
            }
        }
        let mut relay = Self {
            process,
            holder,
            streams,
        };
        relay.prove(topology, work, stop)?;
        Ok(relay)
    }

    /// The process that spends processor time on packets.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Fails if it has ended.
    pub(crate) fn must_run(&mut self) -> Result<(), Error> {
        let processes = [&mut self.process, &mut self.holder];
        processes
            .into_iter()
            .flatten()
            .try_for_each(Process::must_run)
    }

    fn prove(
        &mut self,
        topology: &Topology,
        work: &Path,
        stop: &Arc<AtomicBool>,
    ) -> Result<(), Error> {
        let mut command = topology.within(&topology.load(), own_program()?);
        command.arg("probe").arg("--streams").arg(&self.streams);
        let mut probe = Process::start("probe", &mut command, work)?;
        let status = probe.finish(PATIENCE, stop)?;
        self.must_run()?;
        match status.success() {
            true => Ok(()),
            false => Err(probe.failed(status)),
        }
    }
}

fn socket_relay(
    topology: &Topology,
    terms: &Terms,
    work: &Path,
    streams: &Path,
) -> Result<Process, Error> {
    let mut command = topology.within(&topology.relay(), own_program()?);
    command.arg("socket-relay").arg("--streams").arg(streams);
    command.arg(format!("--core={}", terms.relay_core));
    command.arg(format!("--receive-buffer={}", terms.receive_buffer()));
    Process::start("socket-relay", &mut command, work)
}

fn kernel(topology: &Topology, terms: &Terms, work: &Path) -> Result<(), Error> {
    let rules = work.join("rules.nft");
    let text = kernel_rules::ruleset(&streams::chosen(terms.streams))?;
    std::fs::write(&rules, text).map_err(|error| Error::file(&rules, &error))?;
    let relay = topology.relay();
    run(topology.within(&relay, "nft").arg("-f").arg(&rules))?;
    // It would verify every packet's checksum, which none of the others does.
    let setting = "net.netfilter.nf_conntrack_checksum=0";
    run(topology.within(&relay, "sysctl").args(["-qw", setting])).map(|_| ())
}

fn xdp_relay(topology: &Topology, work: &Path, streams: &Path) -> Result<Process, Error> {
    let mut command = topology.within(&topology.relay(), own_program()?);
    command.arg("xdp-relay").arg("--streams").arg(streams);
    let [a, b] = RELAY_DEVICES;
    command.args(["--a-device", a, "--b-device", b]);
    command.arg(format!("--next-hop-a={}", mac(0, End::Load)));
    command.arg(format!("--next-hop-b={}", mac(1, End::Load)));
    Process::start("xdp-relay", &mut command, work)
}

/// This program.
pub(crate) fn own_program() -> Result<PathBuf, Error> {
    std::env::current_exe().map_err(|error| Error::system("the path of this program", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_hold_together_what_a_ring_holds() {
        let mut terms = Terms {
            streams: 1000,
            many_flows: 0,
            relay_core: 1,
            room: 16_384,
            idle: "adaptive".to_owned(),
            mode: "generic".to_owned(),
            rtpengine_arguments: Vec::new(),
            tandem: PathBuf::new(),
        };
        assert_eq!(terms.receive_buffer(), 16 * 1280);
        terms.streams = 10_000;
        assert_eq!(terms.receive_buffer(), 8 * 1280);
    }
}
