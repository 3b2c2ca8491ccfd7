//! From the kernel's links to the dataplane's devices: which device and which VLAN tags stand for an
//! ifindex.

use std::collections::HashMap;

use contract::{DeviceId, MacAddress, VlanTag, VlanTags};

use super::Unreachable;
use super::kernel::{LinkState, Resolution};

/// How a packet that the kernel would hand to a link leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) device: DeviceId,
    pub(super) vlan: VlanTags,
    pub(super) mac: MacAddress,
    pub(super) mtu: u32,
    pub(super) resolution: Resolution,
}

/// The links of the host.
#[derive(Debug)]
pub(super) struct Links {
    /// The kernel's names of the devices, by [`DeviceId`].
    devices: Vec<String>,
    by_index: HashMap<u32, LinkState>,
}

impl Links {
    pub(super) fn new(devices: Vec<String>) -> Self {
        Self {
            devices,
            by_index: HashMap::new(),
        }
    }

    /// Remembers a link; says whether anything about it is news.
    pub(super) fn set(&mut self, link: LinkState) -> bool {
        let known = self.by_index.get(&link.index) == Some(&link);
        self.by_index.insert(link.index, link);
        !known
    }

    pub(super) fn remove(&mut self, index: u32) -> bool {
        self.by_index.remove(&index).is_some()
    }

    pub(super) fn clear(&mut self) {
        self.by_index.clear();
    }

    /// How a packet leaves by the link `index`: by the device of that name, or by the device below
    /// with the VLAN tags of the sub-interfaces on the way.
    ///
    /// ```text
    ///   route says eth0.7.12 ── vlan 12 ──► eth0.7 ── vlan 7 ──► eth0 = a device: tags (7, 12)
    /// ```
    pub(super) fn way(&self, index: u32) -> Result<Way, Unreachable> {
        let top = self.by_index.get(&index).ok_or(Unreachable::OtherDevice)?;
        let mut vlan = VlanTags::None;
        let mut link = top;
        let mut up = top.up;
        let device = loop {
            if let Some(device) = self.device(&link.name) {
                break device;
            }
            let below = link.vlan.ok_or(Unreachable::OtherDevice)?;
            let tag = VlanTag {
                tpid: below.tpid,
                tci: below.id,
            };
            vlan = match vlan {
                VlanTags::None => VlanTags::Single(tag),
                VlanTags::Single(inner) => VlanTags::Double(tag, inner),
                VlanTags::Double(..) => return Err(Unreachable::OtherDevice),
            };
            link = self
                .by_index
                .get(&below.parent)
                .ok_or(Unreachable::OtherDevice)?;
            up &= link.up;
        };
        if !up {
            return Err(Unreachable::LinkDown);
        }
        Ok(Way {
            device,
            vlan,
            mac: top.mac.ok_or(Unreachable::OtherDevice)?,
            mtu: top.mtu,
            resolution: top.resolution,
        })
    }

    fn device(&self, name: &str) -> Option<DeviceId> {
        let place = self.devices.iter().position(|device| device == name)?;
        u16::try_from(place).ok().map(DeviceId)
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::VlanOf;
    use super::*;

    fn link(index: u32, name: &str, below: Option<(u32, u16, u16)>) -> LinkState {
        LinkState {
            index,
            name: name.to_owned(),
            mac: Some(MacAddress([2, 0, 0, 0, 0, index as u8])),
            mtu: 1500,
            up: true,
            resolution: Resolution::Ask,
            vlan: below.map(|(parent, tpid, id)| VlanOf { parent, tpid, id }),
        }
    }

    fn links() -> Links {
        let mut links = Links::new(vec!["in0".to_owned(), "out0".to_owned()]);
        links.set(link(3, "out0", None));
        links.set(link(4, "out0.7", Some((3, 0x88a8, 7))));
        links.set(link(5, "inner", Some((4, 0x8100, 12))));
        links.set(link(6, "third", Some((5, 0x8100, 13))));
        links.set(link(9, "other", None));
        links
    }

    #[test]
    fn vlan_sub_interfaces_become_tags_of_the_device_below() {
        let links = links();
        let outer = VlanTag {
            tpid: 0x88a8,
            tci: 7,
        };
        let inner = VlanTag {
            tpid: 0x8100,
            tci: 12,
        };
        assert_eq!(links.way(3).map(|way| way.vlan), Ok(VlanTags::None));
        assert_eq!(
            links.way(4).map(|way| way.vlan),
            Ok(VlanTags::Single(outer))
        );
        let way = links.way(5).expect("two tags are served");
        assert_eq!(way.vlan, VlanTags::Double(outer, inner));
        assert_eq!(way.device, DeviceId(1));
        assert_eq!(way.mac, MacAddress([2, 0, 0, 0, 0, 5]));
        assert_eq!(links.way(6), Err(Unreachable::OtherDevice));
        assert_eq!(links.way(9), Err(Unreachable::OtherDevice));
        assert_eq!(links.way(77), Err(Unreachable::OtherDevice));
    }

    #[test]
    fn a_sub_interface_is_down_with_the_link_below() {
        let mut links = links();
        let mut parent = link(3, "out0", None);
        parent.up = false;
        assert!(links.set(parent.clone()));
        assert!(!links.set(parent), "the same again is no news");
        assert_eq!(links.way(5), Err(Unreachable::LinkDown));
    }

    #[test]
    fn a_ring_of_links_ends() {
        let mut links = Links::new(vec!["in0".to_owned()]);
        links.set(link(1, "a", Some((2, 0x8100, 1))));
        links.set(link(2, "b", Some((1, 0x8100, 2))));
        assert_eq!(links.way(1), Err(Unreachable::OtherDevice));
    }
}
