//! Ethernet II with up to two VLAN tags (IEEE 802.3, 802.1Q).
//!
//! ```text
//!   0            6            12        14          18
//!   | destination | source    | ethertype | payload …                 untagged
//!   | destination | source    | tpid | tci | ethertype | payload …    each tag moves the rest by 4
//! ```

use contract::{MacAddress, VlanTag, VlanTags};

/// The untagged header's length in bytes.
pub const HEADER_LEN: usize = 14;
/// A VLAN tag's length in bytes.
pub const TAG_LEN: usize = 4;
/// The longest header: with two tags.
pub const MAX_HEADER_LEN: usize = HEADER_LEN + 2 * TAG_LEN;

/// Ethertype of IPv4.
pub const IPV4: u16 = 0x0800;
/// Ethertype of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Tag protocol id of a customer tag.
pub const CUSTOMER_TAG: u16 = 0x8100;
/// Tag protocol id of a service tag.
pub const SERVICE_TAG: u16 = 0x88a8;

/// The ethertype after at most two tags, and the header's length. `None`: the frame is shorter than that.
#[inline]
pub fn payload(frame: &[u8]) -> Option<(u16, usize)> {
    let mut at = HEADER_LEN;
    let mut ethertype = ethertype_before(frame, at)?;
    for _ in 0..2 {
        if !is_tag(ethertype) {
            break;
        }
        at += TAG_LEN;
        ethertype = ethertype_before(frame, at)?;
    }
    Some((ethertype, at))
}

/// The link-layer header whole: destination, source, tags. `None`: the frame is too short.
pub fn link(frame: &[u8]) -> Option<(MacAddress, MacAddress, VlanTags)> {
    let destination = MacAddress(*frame.first_chunk()?);
    let source = MacAddress(*frame.get(6..)?.first_chunk()?);
    let (_, len) = payload(frame)?;
    let tag = |at: usize| -> Option<VlanTag> {
        Some(VlanTag {
            tpid: word(frame, at)?,
            tci: word(frame, at + 2)?,
        })
    };
    let tags = match (len - HEADER_LEN) / TAG_LEN {
        0 => VlanTags::None,
        1 => VlanTags::Single(tag(12)?),
        _ => VlanTags::Double(tag(12)?, tag(16)?),
    };
    Some((destination, source, tags))
}

/// Whether an ethertype announces a VLAN tag.
#[inline]
pub const fn is_tag(ethertype: u16) -> bool {
    ethertype == CUSTOMER_TAG || ethertype == SERVICE_TAG
}

#[inline]
fn ethertype_before(frame: &[u8], end: usize) -> Option<u16> {
    word(frame, end - 2)
}

#[inline]
fn word(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*frame.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

    fn frame(rest: &[u8]) -> Vec<u8> {
        [&MACS[..], rest].concat()
    }

    #[test]
    fn tags_are_passed_over_and_read() {
        let untagged = frame(&[8, 0]);
        assert_eq!(payload(&untagged), Some((IPV4, 14)));
        let double = frame(&[0x88, 0xa8, 0x20, 5, 0x81, 0, 0, 7, 0x86, 0xdd]);
        assert_eq!(payload(&double), Some((IPV6, 22)));
        let (destination, source, tags) = link(&double).expect("whole");
        assert_eq!(destination, MacAddress([2, 0, 0, 0, 0, 1]));
        assert_eq!(source, MacAddress([2, 0, 0, 0, 0, 2]));
        let outer = VlanTag {
            tpid: SERVICE_TAG,
            tci: 0x2005,
        };
        let inner = VlanTag {
            tpid: CUSTOMER_TAG,
            tci: 7,
        };
        assert_eq!(tags, VlanTags::Double(outer, inner));
    }

    #[test]
    fn a_third_tag_is_the_payloads_business() {
        let triple = frame(&[0x81, 0, 0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 8, 0]);
        assert_eq!(payload(&triple), Some((CUSTOMER_TAG, 22)));
    }

    #[test]
    fn every_truncation_is_seen() {
        let double = frame(&[0x88, 0xa8, 0, 5, 0x81, 0, 0, 7, 8, 0]);
        for len in 0..double.len() {
            assert_eq!(payload(&double[..len]), None, "{len} bytes");
        }
    }
}
