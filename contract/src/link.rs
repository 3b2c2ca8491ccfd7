//! The link layer of an entry: everything a worker needs to put a frame on the wire.

use std::fmt;

use crate::DeviceId;

/// An IEEE 802 MAC address, in transmission order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// One VLAN tag (IEEE 802.1Q): the ethertype that announces it and its tag control information, both
/// in host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VlanTag {
    /// 0x8100 (customer tag) or 0x88a8 (service tag).
    pub tpid: u16,
    /// Priority (3 bits), drop eligibility (1 bit), VLAN id (12 bits).
    pub tci: u16,
}

/// Up to two VLAN tags, the outer one first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum VlanTags {
    /// An untagged frame.
    #[default]
    None,
    /// One tag.
    Single(VlanTag),
    /// Two tags: the outer, then the inner.
    Double(VlanTag, VlanTag),
}

/// A resolved next hop: the device to leave by and the link-layer header to leave with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The device whose socket transmits.
    pub device: DeviceId,
    /// Our MAC address on that device.
    pub source: MacAddress,
    /// The next hop's MAC address.
    pub destination: MacAddress,
    /// The tags that the frame leaves with.
    pub vlan: VlanTags,
    /// The largest IP packet that the link takes, in bytes.
    pub mtu: u16,
}
