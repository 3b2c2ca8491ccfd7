//! One side of one media stream: our ports towards a party, and what is known of it.

use std::net::{IpAddr, SocketAddr};

use contract::{DscpMarking, Egress, FlowKey, Latch, LatchPolicy};

use super::Family;
use crate::relay_ports::PortPair;
use crate::sdp::{Direction, Spoken, Stream};

/// RTP or its control protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    Rtp,
    Rtcp,
}

/// Whether a party sends RTCP to the RTP port (RFC 5761).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mux {
    #[default]
    Off,
    /// Offered, not answered: RTCP may arrive at either port.
    Possible,
    On,
}

/// One side of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Party {
    /// Our ports, by family. Both are there when the party receives in another family than it was told to
    /// send to.
    locals: [Option<Local>; 2],
    /// The family that the party was told.
    pub(super) announced: Option<Family>,
    pub(super) remote: Option<Remote>,
    pub(super) mux: Mux,
}

/// What a party said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) rtp: Option<SocketAddr>,
    pub(super) rtcp: Option<SocketAddr>,
    pub(super) direction: Direction,
    pub(super) codecs: String,
    /// What it may send at the most, in bits a second.
    pub(super) bitrate: u64,
    /// The RTP clock of the first of them, in Hz.
    pub(super) clock_rate: Option<u32>,
    pub(super) spoken: Spoken,
}

/// Two ports of ours, and whom each believes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local {
    pub(super) pair: PortPair,
    rtp: LatchState,
    rtcp: LatchState,
}

/// How often a latch was armed, and whom it chose since.
#[derive(Clone, Copy, Debug, Default)]
struct LatchState {
    armed: u32,
    latched: Option<SocketAddr>,
}

impl Local {
    pub(super) const fn key(&self, component: Component) -> FlowKey {
        match component {
            Component::Rtp => self.pair.rtp(),
            Component::Rtcp => self.pair.rtcp(),
        }
    }

    pub(super) const fn latched(&self, component: Component) -> Option<SocketAddr> {
        self.latch(component).latched
    }

    const fn latch(&self, component: Component) -> &LatchState {
        match component {
            Component::Rtp => &self.rtp,
            Component::Rtcp => &self.rtcp,
        }
    }

    const fn latch_mut(&mut self, component: Component) -> &mut LatchState {
        match component {
            Component::Rtp => &mut self.rtp,
            Component::Rtcp => &mut self.rtcp,
        }
    }
}

impl LatchState {
    fn arm(&mut self) {
        self.armed = self.armed.wrapping_add(1);
        self.latched = None;
    }
}

impl Remote {
    pub(super) const fn address(&self, component: Component) -> Option<SocketAddr> {
        match component {
            Component::Rtp => self.rtp,
            Component::Rtcp => self.rtcp,
        }
    }
}

const COMPONENTS: [Component; 2] = [Component::Rtp, Component::Rtcp];

impl Party {
    /// A party that is known without having said anything: it sends and receives at these addresses, and
    /// is told this pair.
    pub(super) fn known(
        pair: PortPair,
        rtp: SocketAddr,
        rtcp: Option<SocketAddr>,
        mux: Mux,
    ) -> Self {
        let mut party = Self {
            announced: Some(Family::of(pair.address)),
            remote: Some(Remote {
                rtp: Some(rtp),
                rtcp,
                direction: Direction::SendRecv,
                codecs: String::new(),
                bitrate: 0,
                clock_rate: None,
                spoken: Spoken::default(),
            }),
            mux,
            ..Self::default()
        };
        party.add_local(pair);
        party
    }

    /// Its ports were latched to this source before.
    pub(super) fn restore(&mut self, component: Component, source: Option<SocketAddr>) {
        for local in self.locals.iter_mut().flatten() {
            local.latch_mut(component).latched = source;
        }
    }

    pub(super) fn local(&self, family: Family) -> Option<&Local> {
        self.locals[family.index()].as_ref()
    }

    pub(super) fn locals(&self) -> impl Iterator<Item = &Local> {
        self.locals.iter().flatten()
    }

    /// The ports that the party was told.
    pub(super) fn announced_local(&self) -> Option<&Local> {
        self.local(self.announced?)
    }

    pub(super) fn add_local(&mut self, pair: PortPair) {
        let family = Family::of(pair.address);
        self.locals[family.index()] = Some(Local {
            pair,
            rtp: LatchState::default(),
            rtcp: LatchState::default(),
        });
    }

    /// The party says where it is. What it was latched to before no longer holds when it moved, or when it
    /// begins to send again: behind a NAT it may come back from another port.
    pub(super) fn hear(&mut self, stream: &Stream) {
        let remote = Remote {
            rtp: stream.rtp,
            rtcp: stream.rtcp,
            direction: stream.direction,
            codecs: stream.codecs.clone(),
            bitrate: stream.bitrate,
            clock_rate: stream.clock_rate,
            spoken: stream.spoken,
        };
        let former = self.remote.replace(remote);
        let resumed = former
            .as_ref()
            .is_some_and(|former| !former.direction.sends() && stream.direction.sends());
        for component in COMPONENTS {
            let address = |remote: &Remote| remote.address(component);
            let moved = former.as_ref().map(address) != self.remote.as_ref().map(address);
            if moved || resumed {
                self.locals
                    .iter_mut()
                    .flatten()
                    .for_each(|local| local.latch_mut(component).arm());
            }
        }
    }

    /// Arms the latches that have chosen nobody yet: their window starts anew.
    pub(super) fn arm_open_latches(&mut self) {
        for local in self.locals.iter_mut().flatten() {
            for component in COMPONENTS {
                let latch = local.latch_mut(component);
                if latch.latched.is_none() {
                    latch.arm();
                }
            }
        }
    }

    /// A worker latched a source at this port of ours. Whether that is news: the signalled address wins over
    /// what was latched before, otherwise the first report does; or, where the port `follows` whoever sends, each
    /// does.
    pub(super) fn latched(
        &mut self,
        key: FlowKey,
        armed: u32,
        source: SocketAddr,
        follows: bool,
    ) -> bool {
        for component in COMPONENTS {
            let signalled = self
                .remote
                .as_ref()
                .and_then(|remote| remote.address(component));
            let mut locals = self.locals.iter_mut().flatten();
            let Some(local) = locals.find(|local| local.key(component) == key) else {
                continue;
            };
            let latch = local.latch_mut(component);
            let wins = follows || latch.latched.is_none() || signalled == Some(source);
            if latch.armed != armed || latch.latched == Some(source) || !wins {
                return false;
            }
            latch.latched = Some(source);
            return true;
        }
        false
    }

    /// Takes over what was latched in `newer`, the same party's later state, where nothing was armed since.
    /// Where something was, arms beyond both.
    pub(super) fn keep_latches_of(&mut self, newer: &Self) {
        for (local, newer) in self.locals.iter_mut().zip(&newer.locals) {
            let (Some(local), Some(newer)) = (local, newer) else {
                continue;
            };
            for component in COMPONENTS {
                let (mine, newer) = (local.latch_mut(component), newer.latch(component));
                if mine.armed == newer.armed {
                    mine.latched = newer.latched;
                } else {
                    mine.armed = newer.armed;
                    mine.arm();
                }
            }
        }
    }

    /// Whom our port believes.
    pub(super) fn believes(
        &self,
        local: &Local,
        component: Component,
        policy: LatchPolicy,
    ) -> Latch {
        let family = Family::of(local.pair.address);
        let signalled = self
            .remote
            .as_ref()
            .and_then(|remote| remote.address(component));
        let latch = local.latch(component);
        Latch {
            policy,
            signalled: signalled.filter(|address| Family::of(address.ip()) == family),
            latched: latch.latched,
            armed: latch.armed,
        }
    }

    /// How packets of a component reach the party: from our port of its family, to whom was latched there or
    /// else to the address it gave.
    pub(super) fn egress(&self, component: Component, dscp: DscpMarking) -> Option<Egress> {
        let component = match self.mux {
            Mux::On => Component::Rtp,
            Mux::Off | Mux::Possible => component,
        };
        let signalled = self
            .remote
            .as_ref()
            .and_then(|remote| remote.address(component));
        let reachable = signalled.and_then(|address| self.local(Family::of(address.ip())));
        let local = reachable.or_else(|| self.announced_local())?;
        let destination = local
            .latched(component)
            .or_else(|| reachable.and(signalled));
        Some(Egress {
            source: local.key(component),
            destination,
            link: None,
            dscp,
        })
    }

    /// Whether the party is to send, as far as it decides: a party that gave an unspecified address, the
    /// hold of RFC 2543, is not relied on.
    pub(super) fn sends(&self) -> bool {
        let active = |remote: &Remote| remote.direction.sends() && remote.rtp.is_some();
        self.remote.as_ref().is_some_and(active)
    }

    /// Whether the party takes media.
    pub(super) fn receives(&self) -> bool {
        let active = |remote: &Remote| remote.direction.receives() && remote.rtp.is_some();
        self.remote.as_ref().is_some_and(active)
    }
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::V4 => 0,
            Self::V6 => 1,
        }
    }
}
