//! What a session has towards one party, whatever its streams are: addresses, and the name that our
//! session descriptions go by.

use std::net::IpAddr;

use contract::Timestamp;
use rand::RngExt;
use rand::rngs::StdRng;

use super::party::Party;
use super::{Family, LegSpec, OriginWriting, SessionError, Version, Writing};
use crate::relay_ports::{PortPair, RelayPorts};
use crate::sdp::{Description, Origin, OriginLine, Replacement, StreamReplacement};
use crate::settings::{MediaGroup, MediaGroupId};

/// One party's leg.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub(super) spec: LegSpec,
    /// The family that the party was told, once it was told anything.
    pub(super) family: Option<Family>,
    /// Our address in each family: one for all streams, so that a session's `c=` line can hold for all.
    addresses: [Option<IpAddr>; 2],
    origin: Origin,
    /// The body that the party was sent last.
    sent: Vec<u8>,
}

/// Takes ports for a leg, and remembers which, so that a failure can give them back.
pub(super) struct Taker<'a> {
    pub(super) now: Timestamp,
    pub(super) ports: &'a mut RelayPorts,
    pub(super) rng: &'a mut StdRng,
    pub(super) groups: &'a [MediaGroup],
    pub(super) taken: Vec<PortPair>,
}

impl Leg {
    pub(super) fn new(spec: LegSpec, rng: &mut StdRng) -> Self {
        // RFC 8866 §5.2 wants digits; peers read them into 64 bits, some of them signed.
        let session = rng.random_range(1..=i64::MAX.unsigned_abs());
        Self {
            spec,
            family: None,
            addresses: [None; 2],
            origin: Origin {
                session,
                version: 1,
            },
            sent: Vec::new(),
        }
    }

    /// Goes on with the name of another leg to the same party.
    pub(super) fn take_name(&mut self, former: &Self) {
        self.origin = former.origin;
        self.sent.clone_from(&former.sent);
    }

    /// What the party is told in the place of [`Self::address`].
    pub(super) fn announced(&self, groups: &[MediaGroup]) -> Option<IpAddr> {
        let group = groups.get(usize::from(self.spec.group.0))?;
        Some(group.announced(self.address(groups)?))
    }

    /// Our address towards the party, in the family that it was told. Without any stream in use, one of
    /// the group's: the `o=` and `c=` lines need one.
    pub(super) fn address(&self, groups: &[MediaGroup]) -> Option<IpAddr> {
        let group = groups.get(usize::from(self.spec.group.0))?;
        let family = self.family.unwrap_or(Family::V4);
        let of_family = |address: &&IpAddr| Family::of(**address) == family;
        self.addresses[family.index()]
            .or_else(|| group.addresses.iter().find(of_family).copied())
            .or_else(|| group.addresses.first().copied())
    }

    /// The body for the party: one version higher than the last when it differs from it.
    pub(super) fn write(
        &mut self,
        description: &Description,
        streams: &[StreamReplacement],
        address: IpAddr,
        writing: &Writing,
    ) -> Vec<u8> {
        let replacement = |origin| Replacement {
            origin,
            address: writing.address.unwrap_or(address),
            zero_address: writing.zero_address,
            rtcp_line: writing.rtcp_line,
            streams,
        };
        let counted = |version: u64, origin: Origin| match writing.origin {
            OriginWriting::Ours => OriginLine::Ours(Origin { version, ..origin }),
            OriginWriting::Kept | OriginWriting::Address => OriginLine::Kept {
                address: writing.origin == OriginWriting::Address,
                version: (writing.version != Version::Kept).then_some(version),
            },
        };
        if writing.origin != OriginWriting::Ours && writing.version == Version::Kept {
            return description.rewrite(&replacement(counted(0, self.origin)));
        }
        if writing.origin != OriginWriting::Ours && self.sent.is_empty() {
            self.origin.version = description.version().unwrap_or(self.origin.version);
        }
        let with =
            |origin: Origin| description.rewrite(&replacement(counted(origin.version, origin)));
        let body = with(self.origin);
        let raised = writing.version == Version::Raised;
        if !raised && (self.sent.is_empty() || self.sent == body) {
            self.sent.clone_from(&body);
            return body;
        }
        self.origin.version = self.origin.version.saturating_add(1);
        self.sent = with(self.origin);
        self.sent.clone()
    }
}

impl Taker<'_> {
    /// The family to tell a party: what it used itself, or what the leg prefers, or what the other side uses; in
    /// the end what the group has.
    pub(super) fn family_for(
        &self,
        leg: &Leg,
        other_side: Option<Family>,
    ) -> Result<Family, SessionError> {
        let group = self.group(leg.spec.group)?;
        let has = |family: &Family| {
            group
                .addresses
                .iter()
                .any(|address| Family::of(*address) == *family)
        };
        leg.family
            .or(leg.spec.family.filter(has))
            .or(other_side.filter(has))
            .or_else(|| group.addresses.first().map(|address| Family::of(*address)))
            .ok_or(SessionError::UnknownGroup)
    }

    /// Sees that the party has ports of ours in this family.
    pub(super) fn ensure(
        &mut self,
        leg: &mut Leg,
        party: &mut Party,
        family: Family,
    ) -> Result<(), SessionError> {
        if party.local(family).is_some() {
            return Ok(());
        }
        let pair = match leg.addresses[family.index()] {
            Some(address) => self.take(leg.spec.group, address)?,
            None => self.take_anywhere(leg.spec.group, family)?,
        };
        leg.addresses[family.index()] = Some(pair.address);
        party.add_local(pair);
        Ok(())
    }

    /// From a random address of the family: the first that has ports, from there on.
    pub(super) fn take_anywhere(
        &mut self,
        group: MediaGroupId,
        family: Family,
    ) -> Result<PortPair, SessionError> {
        let of_family = self
            .group(group)?
            .addresses
            .iter()
            .copied()
            .filter(|address| Family::of(*address) == family);
        let mut addresses: Vec<_> = of_family.collect();
        if addresses.is_empty() {
            return Err(SessionError::NoSuchFamily { group, family });
        }
        let first = self.rng.random_range(0..addresses.len());
        addresses.rotate_left(first);
        addresses
            .into_iter()
            .find_map(|address| self.take(group, address).ok())
            .ok_or(SessionError::PortsExhausted(group))
    }

    fn take(&mut self, group: MediaGroupId, address: IpAddr) -> Result<PortPair, SessionError> {
        // Beside the session's first port of this exchange: all that one call sends meets in one cache.
        let neighbour = self.taken.first().map(|pair| pair.rtp());
        let pair = self
            .ports
            .allocate_beside(self.now, self.rng, group, address, neighbour)
            .ok_or(SessionError::PortsExhausted(group))?;
        self.taken.push(pair);
        Ok(pair)
    }

    fn group(&self, group: MediaGroupId) -> Result<&MediaGroup, SessionError> {
        self.groups
            .get(usize::from(group.0))
            .ok_or(SessionError::UnknownGroup)
    }
}
