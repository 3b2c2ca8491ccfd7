//! The usual cast: the relay, one caller and one callee on IPv4.

use std::net::SocketAddr;
use std::time::Duration;

use super::call::Call;
use super::network::{Network, at};
use super::phone::Phone;
use super::relay::{Relay, Setup};
use super::rtp::{Party, assert_both_heard_all, introduce, talk};

/// Network, relay and two phones. Fields drop in order: the relay ends before its namespaces.
pub(crate) struct Pair {
    /// tandem.
    pub(crate) relay: Relay,
    /// 10.1.0.2:5060.
    pub(crate) caller: Phone,
    /// 10.2.0.2:5060.
    pub(crate) callee: Phone,
    /// The hosts.
    pub(crate) network: Network,
}

impl Pair {
    /// Starts them.
    #[track_caller]
    pub(crate) fn new(setup: &Setup) -> Self {
        Self::on(Network::new(2), setup)
    }

    /// Starts them on a network that has been prepared.
    #[track_caller]
    pub(crate) fn on(network: Network, setup: &Setup) -> Self {
        let relay = Relay::start(&network, setup);
        let caller = Phone::new(&network.caller, at("10.1.0.2", 5060), at("10.1.0.1", 5060));
        let callee = Phone::new(&network.callee, at("10.2.0.2", 5060), at("10.2.0.1", 5060));
        Self {
            relay,
            caller,
            callee,
            network,
        }
    }

    /// The two ends of an audio stream, not told yet where to send.
    pub(crate) fn parties(&self, port: u16) -> [Party; 2] {
        let mut one = Party::g711(&self.network.caller, at("10.1.0.2", port));
        let mut other = Party::g711(&self.network.callee, at("10.2.0.2", port));
        introduce(&mut one, &mut other);
        [one, other]
    }

    /// An answered call whose parties can talk.
    #[track_caller]
    pub(crate) fn call(&mut self, port: u16) -> (Call, [Party; 2]) {
        let mut parties = self.parties(port);
        let (one, other) = (parties[0].address(), parties[1].address());
        let call = Call::establish(&mut self.caller, &mut self.callee, "4711", one, other);
        parties[0].towards = Some(call.caller_sends_to);
        parties[1].towards = Some(call.callee_sends_to);
        (call, parties)
    }

    /// A second of audio each way, of which nothing may be missing.
    #[track_caller]
    pub(crate) fn assert_audio(parties: &mut [Party; 2]) {
        for party in parties.iter_mut() {
            party.start_over();
        }
        talk(parties.iter_mut(), 50);
        assert_both_heard_all(&parties[0], &parties[1]);
    }

    /// The usual end: the caller hangs up, and nobody has been sent anything else.
    #[track_caller]
    pub(crate) fn finish(mut self, call: Call) {
        call.caller_hangs_up(&mut self.caller, &mut self.callee);
        self.assert_quiet();
    }

    /// Nobody has been sent what nobody asked for.
    #[track_caller]
    pub(crate) fn assert_quiet(&mut self) {
        self.caller
            .assert_nothing_unheard(Duration::from_millis(300));
        self.callee.assert_nothing_unheard(Duration::from_millis(1));
    }
}

/// The relay's address on the caller's side.
pub(crate) fn inside(port: u16) -> SocketAddr {
    at("10.1.0.1", port)
}

/// The relay's address on the callee's side.
pub(crate) fn outside(port: u16) -> SocketAddr {
    at("10.2.0.1", port)
}
