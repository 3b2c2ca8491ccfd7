//! A flow in as few bytes as it takes: what is kept for when something changes, so that memory holds many
//! flows. Made from the plain types and back again, a field after the other; packets never read it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use contract::{DeviceId, DscpMarking, Egress, FlowEntry, FlowId, FlowKey, Latch, LatchPolicy};
use contract::{Link, MacAddress, Payload, Timestamp, VlanTag, VlanTags};

use super::Flow;
use crate::classify::Family;
use crate::latch::{Believed, Judgement, Latching, Rule, Standing};
use crate::rewrite::{self, Window};

/// An optional socket address: 16 bytes of address, the port, and the family (0: none). What an address of IPv4
/// leaves of its bytes is 0, so that equal ones are the same bytes.
pub type Socket = [u8; 19];
/// An optional link: device, two MAC addresses, up to two tags, MTU, and how many tags (or [`NO_LINK`]).
type PackedLink = [u8; 25];
/// An optional egress: source, destination, link, DSCP (or [`PRESERVE`]).
pub(super) type PackedEgress = [u8; 64];

const NO_LINK: u8 = 0xff;
const PRESERVE: u8 = 0xff;
/// Families of a [`Socket`].
const NONE: u8 = 0;
const V4: u8 = 4;
const V6: u8 = 6;

/// Where a packet came from.
#[inline]
pub fn source(family: Family, window: &Window) -> Socket {
    let mut packed = [0; 19];
    match family {
        Family::V4 => {
            packed[..4].copy_from_slice(&rewrite::source_v4(window));
            packed[18] = V4;
        }
        Family::V6 => {
            packed[..16].copy_from_slice(&rewrite::source_v6(window));
            packed[18] = V6;
        }
    }
    packed[16..18].copy_from_slice(&rewrite::source_port(window));
    packed
}

/// A packed flow, or nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed {
    id: u64,
    until: u64,
    window: u64,
    armed: u32,
    key: Socket,
    signalled: Socket,
    believed: Socket,
    way_back: PackedLink,
    main: PackedEgress,
    rule: Rule,
    kinds: Kinds,
    payload: Payload,
}

/// Which egresses there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kinds {
    /// There is no flow.
    #[default]
    Vacant,
    /// None.
    Neither,
    /// RTP's.
    Rtp,
    /// RTCP's.
    Rtcp,
    /// One for both.
    Same,
    /// RTCP's is another, and kept elsewhere.
    Apart,
}

impl Default for Packed {
    fn default() -> Self {
        Self {
            id: 0,
            until: 0,
            window: 0,
            armed: 0,
            key: [0; 19],
            signalled: [0; 19],
            believed: [0; 19],
            way_back: [0; 25],
            main: [0; 64],
            rule: Rule::Sdp,
            kinds: Kinds::Vacant,
            payload: Payload::Rtp,
        }
    }
}

impl Packed {
    /// A flow packed, and its RTCP egress if that is kept elsewhere. Neither what the entry says of idleness
    /// nor what it says that is latched is kept: the one stands in [`super::Watch`], the other is the latch's.
    pub(super) fn new(flow: &Flow) -> (Self, Option<PackedEgress>) {
        let entry = &flow.entry;
        let rule = &flow.latching.rule;
        let (kinds, main, apart) = match (&entry.rtp, &entry.rtcp) {
            (None, None) => (Kinds::Neither, [0; 64], None),
            (Some(rtp), None) => (Kinds::Rtp, pack_egress(rtp), None),
            (None, Some(rtcp)) => (Kinds::Rtcp, pack_egress(rtcp), None),
            (Some(rtp), Some(rtcp)) if rtp == rtcp => (Kinds::Same, pack_egress(rtp), None),
            (Some(rtp), Some(rtcp)) => (Kinds::Apart, pack_egress(rtp), Some(pack_egress(rtcp))),
        };
        let window = match rule.policy {
            LatchPolicy::Learn { window } => window,
            LatchPolicy::Sdp | LatchPolicy::Off | LatchPolicy::Follow => Duration::ZERO,
        };
        let believed = flow.latching.believed;
        let packed = Self {
            id: entry.id.0,
            until: flow.latching.until.as_nanos(),
            window: u64::try_from(window.as_nanos()).unwrap_or(u64::MAX),
            armed: rule.armed,
            key: pack_socket(Some(entry.key.socket_addr())),
            signalled: pack_socket(rule.signalled),
            believed: pack_socket(believed.map(|believed| believed.remote)),
            way_back: pack_link(believed.and_then(|believed| believed.way_back)),
            main,
            rule: Rule::of(rule.policy),
            kinds,
            payload: entry.payload,
        };
        (packed, apart)
    }

    /// Which egresses there are, and whether there is a flow at all.
    pub(super) const fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// The flow. `apart` is RTCP's egress if it is kept elsewhere.
    pub(super) fn flow(&self, apart: &PackedEgress, idle_after: u64) -> Option<Flow> {
        let key = unpack_socket(&self.key)?;
        let main = unpack_egress(&self.main);
        let (rtp, rtcp) = match self.kinds {
            Kinds::Vacant => return None,
            Kinds::Neither => (None, None),
            Kinds::Rtp => (main, None),
            Kinds::Rtcp => (None, main),
            Kinds::Same => (main, main),
            Kinds::Apart => (main, unpack_egress(apart)),
        };
        let latch = Latch {
            policy: match self.rule {
                Rule::Sdp => LatchPolicy::Sdp,
                Rule::Learn => LatchPolicy::Learn {
                    window: Duration::from_nanos(self.window),
                },
                Rule::Off => LatchPolicy::Off,
                Rule::Follow => LatchPolicy::Follow,
            },
            signalled: unpack_socket(&self.signalled),
            latched: None,
            armed: self.armed,
        };
        Some(Flow {
            entry: FlowEntry {
                id: FlowId(self.id),
                key: FlowKey {
                    address: key.ip(),
                    port: key.port(),
                },
                payload: self.payload,
                latch,
                rtp,
                rtcp,
                idle_after: (idle_after > 0).then(|| Duration::from_nanos(idle_after)),
                handling: contract::Handling::default(),
            },
            latching: Latching {
                rule: latch,
                until: Timestamp::from_nanos(self.until),
                believed: unpack_socket(&self.believed).map(|remote| Believed {
                    remote,
                    way_back: unpack_link(&self.way_back),
                }),
            },
        })
    }

    /// Judges a packet by what is packed, if there is a flow.
    pub(super) fn judge(
        &self,
        source: &Socket,
        may_latch: bool,
        now: Timestamp,
    ) -> Option<Judgement> {
        fn there(socket: &Socket) -> Option<&Socket> {
            (socket[18] != NONE).then_some(socket)
        }
        let standing = Standing {
            rule: self.rule,
            until: Timestamp::from_nanos(self.until),
            believed: there(&self.believed),
            signalled: there(&self.signalled),
        };
        (self.kinds != Kinds::Vacant).then(|| standing.judge(source, may_latch, now))
    }

    /// [`Latching::own`] of the flow, if there is one.
    pub(super) fn own_latch(&self) -> Option<(SocketAddr, Link)> {
        // What is vacant believes nobody.
        Some((unpack_socket(&self.believed)?, unpack_link(&self.way_back)?))
    }

    /// Where its RTCP leaves from, if there is a flow and it has RTCP. `apart` is as for [`Packed::flow`].
    pub(super) fn rtcp_source(&self, apart: &PackedEgress) -> Option<FlowKey> {
        let egress = match self.kinds {
            Kinds::Vacant | Kinds::Neither | Kinds::Rtp => return None,
            Kinds::Rtcp | Kinds::Same => &self.main,
            Kinds::Apart => apart,
        };
        let source = unpack_socket(egress.first_chunk()?)?;
        Some(FlowKey {
            address: source.ip(),
            port: source.port(),
        })
    }

    /// What its packets carry, if there is a flow.
    pub(super) fn payload(&self) -> Option<Payload> {
        (self.kinds != Kinds::Vacant).then_some(self.payload)
    }

    /// The flow's id, if there is a flow.
    pub(super) fn id(&self) -> Option<FlowId> {
        (self.kinds != Kinds::Vacant).then_some(FlowId(self.id))
    }
}

fn pack_socket(socket: Option<SocketAddr>) -> Socket {
    let mut packed = [0; 19];
    let Some(socket) = socket else {
        return packed;
    };
    match socket.ip() {
        IpAddr::V4(v4) => {
            packed[..4].copy_from_slice(&v4.octets());
            packed[18] = V4;
        }
        IpAddr::V6(v6) => {
            packed[..16].copy_from_slice(&v6.octets());
            packed[18] = V6;
        }
    }
    packed[16..18].copy_from_slice(&socket.port().to_be_bytes());
    packed
}

fn unpack_socket(packed: &Socket) -> Option<SocketAddr> {
    let address: [u8; 16] = *packed.first_chunk()?;
    let [a, b, c, d, ..] = address;
    let address = match packed[18] {
        V4 => IpAddr::from([a, b, c, d]),
        V6 => IpAddr::from(address),
        _ => return None,
    };
    let port = u16::from_be_bytes([packed[16], packed[17]]);
    Some(SocketAddr::new(address, port))
}

fn pack_link(link: Option<Link>) -> PackedLink {
    let mut packed = [0; 25];
    packed[24] = NO_LINK;
    let Some(link) = link else {
        return packed;
    };
    packed[..2].copy_from_slice(&link.device.0.to_be_bytes());
    packed[2..8].copy_from_slice(&link.source.0);
    packed[8..14].copy_from_slice(&link.destination.0);
    let (tags, outer, inner) = match link.vlan {
        VlanTags::None => (0, None, None),
        VlanTags::Single(tag) => (1, Some(tag), None),
        VlanTags::Double(outer, inner) => (2, Some(outer), Some(inner)),
    };
    for (place, tag) in packed[14..22].chunks_exact_mut(4).zip([outer, inner]) {
        if let Some(VlanTag { tpid, tci }) = tag {
            place[..2].copy_from_slice(&tpid.to_be_bytes());
            place[2..].copy_from_slice(&tci.to_be_bytes());
        }
    }
    packed[22..24].copy_from_slice(&link.mtu.to_be_bytes());
    packed[24] = tags;
    packed
}

fn unpack_link(packed: &PackedLink) -> Option<Link> {
    let word = |at: usize| u16::from_be_bytes([packed[at], packed[at + 1]]);
    let tag = |at: usize| VlanTag {
        tpid: word(at),
        tci: word(at + 2),
    };
    Some(Link {
        device: DeviceId(word(0)),
        source: MacAddress(*packed[2..].first_chunk()?),
        destination: MacAddress(*packed[8..].first_chunk()?),
        vlan: match packed[24] {
            0 => VlanTags::None,
            1 => VlanTags::Single(tag(14)),
            2 => VlanTags::Double(tag(14), tag(18)),
            _ => return None,
        },
        mtu: word(22),
    })
}

fn pack_egress(egress: &Egress) -> PackedEgress {
    let mut packed = [0; 64];
    packed[..19].copy_from_slice(&pack_socket(Some(egress.source.socket_addr())));
    packed[19..38].copy_from_slice(&pack_socket(egress.destination));
    packed[38..63].copy_from_slice(&pack_link(egress.link));
    packed[63] = match egress.dscp {
        DscpMarking::Preserve => PRESERVE,
        DscpMarking::Set(code_point) => code_point,
    };
    packed
}

fn unpack_egress(packed: &PackedEgress) -> Option<Egress> {
    let source = unpack_socket(packed.first_chunk()?)?;
    Some(Egress {
        source: FlowKey {
            address: source.ip(),
            port: source.port(),
        },
        destination: unpack_socket(packed[19..].first_chunk()?),
        link: unpack_link(packed[38..].first_chunk()?),
        dscp: match packed[63] {
            PRESERVE => DscpMarking::Preserve,
            code_point => DscpMarking::Set(code_point),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn socket() -> impl Strategy<Value = SocketAddr> {
        (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    fn link() -> impl Strategy<Value = Link> {
        let tag = || (any::<u16>(), any::<u16>()).prop_map(|(tpid, tci)| VlanTag { tpid, tci });
        let vlan = prop_oneof![
            Just(VlanTags::None),
            tag().prop_map(VlanTags::Single),
            (tag(), tag()).prop_map(|(outer, inner)| VlanTags::Double(outer, inner)),
        ];
        let macs = (any::<[u8; 6]>(), any::<[u8; 6]>());
        (any::<u16>(), macs, vlan, any::<u16>()).prop_map(|(device, macs, vlan, mtu)| Link {
            device: DeviceId(device),
            source: MacAddress(macs.0),
            destination: MacAddress(macs.1),
            vlan,
            mtu,
        })
    }

    fn egress() -> impl Strategy<Value = Egress> {
        let dscp = prop::option::of(0..64_u8)
            .prop_map(|dscp| dscp.map_or(DscpMarking::Preserve, DscpMarking::Set));
        let ways = (prop::option::of(socket()), prop::option::of(link()), dscp);
        (socket(), ways).prop_map(|(source, (destination, link, dscp))| Egress {
            source: FlowKey {
                address: source.ip(),
                port: source.port(),
            },
            destination,
            link,
            dscp,
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again(
            id in any::<u64>(),
            key in socket(),
            egresses in (prop::option::of(egress()), prop::option::of(egress()), any::<bool>()),
            policy in prop_oneof![
                Just(LatchPolicy::Sdp),
                Just(LatchPolicy::Off),
                Just(LatchPolicy::Follow),
                any::<u32>().prop_map(|seconds| LatchPolicy::Learn {
                    window: Duration::from_secs(u64::from(seconds)),
                }),
            ],
            signalled in prop::option::of(socket()),
            believed in prop::option::of((socket(), prop::option::of(link()))),
            armed in any::<u32>(),
            until in any::<u64>(),
            idle_after in prop::option::of(1..u64::MAX),
            payload in prop::sample::select(vec![Payload::Rtp, Payload::Srtp, Payload::Datagrams]),
        ) {
            let (rtp, rtcp, same) = egresses;
            let latch = Latch { policy, signalled, latched: None, armed };
            let flow = Flow {
                entry: FlowEntry {
                    id: FlowId(id),
                    key: FlowKey { address: key.ip(), port: key.port() },
                    payload,
                    latch,
                    rtp,
                    rtcp: if same { rtp } else { rtcp },
                    idle_after: idle_after.map(Duration::from_nanos),
                    handling: contract::Handling::default(),
                },
                latching: Latching {
                    rule: latch,
                    until: Timestamp::from_nanos(until),
                    believed: believed.map(|(remote, way_back)| Believed { remote, way_back }),
                },
            };
            let (packed, apart) = Packed::new(&flow);
            let again = packed.flow(&apart.unwrap_or([0; 64]), idle_after.unwrap_or(0));
            let again = again.expect("a flow");
            prop_assert_eq!(again.entry, flow.entry);
            prop_assert_eq!(again.latching, flow.latching);
            prop_assert_eq!(packed.id(), Some(FlowId(id)));
            prop_assert_eq!(packed.payload(), Some(payload));
            let source = flow.entry.rtcp.map(|rtcp| rtcp.source);
            prop_assert_eq!(packed.rtcp_source(&apart.unwrap_or([0; 64])), source);
            prop_assert_eq!(packed.own_latch(), flow.latching.own());
        }
    }

    #[test]
    fn nothing_is_no_flow() {
        let nothing = Packed::default();
        assert!(nothing.flow(&[0; 64], 0).is_none());
        assert_eq!(nothing.id(), None);
    }
}
