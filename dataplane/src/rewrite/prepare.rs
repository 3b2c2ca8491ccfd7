//! Prepares an egress: its headers, with all that does not differ from packet to packet.

use contract::{DscpMarking, Egress, Link, VlanTag, VlanTags};

use super::Window;
use super::{FRONT, Front, HOP_LIMIT, Headers, IPV4, IPV6, NO_NEXT_HOP, TAIL, TEMPLATE_LEN, UDP};
use crate::classify::Family;
use crate::wire::{checksum, ethernet, ipv4, ipv6};

/// Prepares an egress. An entry's receiver and source are of one family.
pub fn prepare(egress: &Egress) -> (Headers, Front) {
    let mut headers = Headers::default();
    let mut front = [0; FRONT];
    let Some(destination) = egress.destination else {
        return (headers, front);
    };
    let Some(link) = egress.link else {
        headers.skip = NO_NEXT_HOP;
        return (headers, front);
    };
    let (family, source) = Family::number(egress.source.address);
    let (_, receiver) = Family::number(destination.ip());
    let mut template = [0; TEMPLATE_LEN];
    template[UDP..UDP + 2].copy_from_slice(&egress.source.port.to_be_bytes());
    template[UDP + 2..UDP + 4].copy_from_slice(&destination.port().to_be_bytes());
    let (network, header_len) = match family {
        Family::V4 => {
            ipv4_header(&mut template, source, receiver);
            (IPV4, ipv4::HEADER_LEN)
        }
        Family::V6 => {
            ipv6_header(&mut template, source, receiver);
            (IPV6, ipv6::HEADER_LEN)
        }
    };
    let start = link_header(&mut template, network, family, &link);
    headers.device = link.device;
    headers.room = link.mtu.saturating_sub(header_len as u16);
    headers.skip = start as u8;
    let (keep, set) = match egress.dscp {
        DscpMarking::Preserve => (0xff, 0),
        DscpMarking::Set(code_point) => (0b11, code_point << 2),
    };
    headers.keep = [0, keep, 0xff, 0xff];
    match family {
        Family::V4 => template[IPV4 + 1] = set,
        Family::V6 => put_class(&mut template, set),
    }
    front.copy_from_slice(&template[..FRONT]);
    headers.tail.copy_from_slice(&template[FRONT..FRONT + TAIL]);
    (headers, front)
}

/// Writes the IPv4 header, and the sum of its constant part where the checksum will be.
fn ipv4_header(template: &mut Window, source: u128, receiver: u128) {
    let header = &mut template[IPV4..UDP];
    header[0] = ipv4::VERSION_AND_LENGTH;
    header[6..8].copy_from_slice(&ipv4::DONT_FRAGMENT.to_be_bytes());
    header[8] = HOP_LIMIT;
    header[9] = ipv4::UDP;
    header[12..16].copy_from_slice(&(source as u32).to_be_bytes());
    header[16..20].copy_from_slice(&(receiver as u32).to_be_bytes());
    // Without the first word, which is the packet's own.
    let sum = checksum::raw(&header[4..]);
    header[10..12].copy_from_slice(&sum.to_ne_bytes());
}

fn ipv6_header(template: &mut Window, source: u128, receiver: u128) {
    let header = &mut template[IPV6..UDP];
    header[0] = 0x60;
    header[6] = ipv4::UDP;
    header[7] = HOP_LIMIT;
    header[8..24].copy_from_slice(&source.to_be_bytes());
    header[24..40].copy_from_slice(&receiver.to_be_bytes());
}

/// Writes the Ethernet header before `network` and gives its start.
fn link_header(template: &mut Window, network: usize, family: Family, link: &Link) -> usize {
    let (outer, inner) = match link.vlan {
        VlanTags::None => (None, None),
        VlanTags::Single(tag) => (Some(tag), None),
        VlanTags::Double(outer, inner) => (Some(outer), Some(inner)),
    };
    let tags = [outer, inner].into_iter().flatten();
    let start = network - ethernet::HEADER_LEN - ethernet::TAG_LEN * tags.clone().count();
    template[start..start + 6].copy_from_slice(&link.destination.0);
    template[start + 6..start + 12].copy_from_slice(&link.source.0);
    let mut at = start + 12;
    for VlanTag { tpid, tci } in tags {
        template[at..at + 2].copy_from_slice(&tpid.to_be_bytes());
        template[at + 2..at + 4].copy_from_slice(&tci.to_be_bytes());
        at += ethernet::TAG_LEN;
    }
    let ethertype = match family {
        Family::V4 => ethernet::IPV4,
        Family::V6 => ethernet::IPV6,
    };
    template[at..at + 2].copy_from_slice(&ethertype.to_be_bytes());
    start
}

/// Writes version, traffic class and no flow label of an IPv6 header.
#[inline(always)]
fn put_class(window: &mut Window, class: u8) {
    let word = [0x60 | class >> 4, class << 4, 0, 0];
    window[IPV6..IPV6 + 4].copy_from_slice(&word);
}
