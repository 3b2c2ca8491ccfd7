//! A flow entry as it is kept: less than half of the contract's, which is made for workers to read and not for
//! four hundred thousand to lie about.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use contract::{
    DscpMarking, Egress, FlowEntry, FlowId, FlowKey, Handling, Latch, LatchPolicy, Link, Payload,
};

/// An address and port. Media addresses have neither a scope nor a flow label.
type Endpoint = (IpAddr, u16);

/// A flow entry without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) id: FlowId,
    payload: Payload,
    policy: LatchPolicy,
    signalled: Option<Endpoint>,
    latched: Option<Endpoint>,
    armed: u32,
    egresses: Egresses,
    idle_after: Option<Duration>,
    /// Most flows have none.
    handling: Option<Box<Handling>>,
}

/// Most flows carry one of RTP and RTCP; the muxed ones pay for the other.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Egresses {
    Neither,
    Rtp(PackedEgress),
    Rtcp(PackedEgress),
    Both(Box<[PackedEgress; 2]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct PackedEgress {
    source: FlowKey,
    destination: Option<Endpoint>,
    link: Option<Link>,
    dscp: DscpMarking,
}

impl Packed {
    pub(super) fn new(entry: &FlowEntry) -> Self {
        Self {
            id: entry.id,
            payload: entry.payload,
            policy: entry.latch.policy,
            signalled: entry.latch.signalled.map(endpoint),
            latched: entry.latch.latched.map(endpoint),
            armed: entry.latch.armed,
            egresses: match (entry.rtp, entry.rtcp) {
                (None, None) => Egresses::Neither,
                (Some(rtp), None) => Egresses::Rtp(PackedEgress::new(&rtp)),
                (None, Some(rtcp)) => Egresses::Rtcp(PackedEgress::new(&rtcp)),
                (Some(rtp), Some(rtcp)) => Egresses::Both(Box::new(
                    [rtp, rtcp].map(|egress| PackedEgress::new(&egress)),
                )),
            },
            idle_after: entry.idle_after,
            handling: (entry.handling != Handling::default()).then(|| Box::new(entry.handling)),
        }
    }

    /// The entry at its key.
    pub(super) fn unpack(&self, key: FlowKey) -> FlowEntry {
        let (rtp, rtcp) = match &self.egresses {
            Egresses::Neither => (None, None),
            Egresses::Rtp(rtp) => (Some(rtp), None),
            Egresses::Rtcp(rtcp) => (None, Some(rtcp)),
            Egresses::Both(both) => (Some(&both[0]), Some(&both[1])),
        };
        FlowEntry {
            id: self.id,
            key,
            payload: self.payload,
            latch: Latch {
                policy: self.policy,
                signalled: self.signalled.map(SocketAddr::from),
                latched: self.latched.map(SocketAddr::from),
                armed: self.armed,
            },
            rtp: rtp.map(PackedEgress::unpack),
            rtcp: rtcp.map(PackedEgress::unpack),
            idle_after: self.idle_after,
            handling: self.handling.as_deref().copied().unwrap_or_default(),
        }
    }

    pub(super) const fn idle_after(&self) -> Option<Duration> {
        self.idle_after
    }
}

impl PackedEgress {
    fn new(egress: &Egress) -> Self {
        Self {
            source: egress.source,
            destination: egress.destination.map(endpoint),
            link: egress.link,
            dscp: egress.dscp,
        }
    }

    fn unpack(&self) -> Egress {
        Egress {
            source: self.source,
            destination: self.destination.map(SocketAddr::from),
            link: self.link,
            dscp: self.dscp,
        }
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    (address.ip(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{DeviceId, MacAddress, VlanTags};

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    fn key(text: &str) -> FlowKey {
        let at = at(text);
        FlowKey {
            address: at.ip(),
            port: at.port(),
        }
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let link = Link {
            device: DeviceId(3),
            source: MacAddress([2; 6]),
            destination: MacAddress([4; 6]),
            vlan: VlanTags::None,
            mtu: 1500,
        };
        let egress = |destination: &str, link| Egress {
            source: key("10.1.0.1:20000"),
            destination: Some(at(destination)),
            link,
            dscp: DscpMarking::Set(46),
        };
        let rtp = egress("10.2.0.2:30000", Some(link));
        let rtcp = egress("[fd02::2]:30001", None);
        for (rtp, rtcp) in [
            (Some(rtp), None),
            (None, Some(rtcp)),
            (Some(rtp), Some(rtcp)),
            (None, None),
        ] {
            let entry = FlowEntry {
                id: FlowId(u64::MAX),
                key: key("[fd01::1]:40000"),
                payload: Payload::Srtp,
                latch: Latch {
                    policy: LatchPolicy::Learn {
                        window: Duration::from_millis(10_001),
                    },
                    signalled: Some(at("[fd01::2]:5000")),
                    latched: rtp.map(|_| at("192.0.2.1:5")),
                    armed: 7,
                },
                rtp,
                rtcp,
                idle_after: rtcp.map(|_| Duration::from_secs(60)),
                handling: Handling {
                    tap: rtcp.map(|_| contract::TapId(7)),
                    ..Handling::default()
                },
            };
            assert_eq!(Packed::new(&entry).unpack(entry.key), entry);
        }
        assert!(size_of::<Packed>() <= 200, "{}", size_of::<Packed>());
    }
}
