//! Kamailio in front of a relay that speaks rtpengine's protocol: the same calls with rtpengine itself, which proves the lab, and
//! with tandem.

use std::time::Duration;

use crate::lab::kamailio::Kamailio;
use crate::lab::network::{Network, at};
use crate::lab::ng::Asker;
use crate::lab::relay::{MEDIA_PORTS, Relay, Setup};
use crate::lab::rtpengine::{PORTS, RtpEngine, assert_no_session_and_no_port};
use crate::lab::sipp::Sipp;
use crate::lab::turn::Turn;

const PATIENCE: Duration = Duration::from_secs(30);
const CALLS: [&str; 4] = ["-m", "3", "-r", "10"];

/// What relays the media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    RtpEngine,
    Tandem,
}

const KINDS: [Kind; 2] = [Kind::RtpEngine, Kind::Tandem];

/// Kamailio and the relay are on one host, with the callers on one side and the callees on the other. Dropped in this order.
struct Front {
    proxy: Kamailio,
    asker: Asker,
    _engine: Option<RtpEngine>,
    _relay: Option<Relay>,
    network: Network,
}

impl Front {
    #[track_caller]
    fn new(kind: Kind, definitions: &[(&str, &str)]) -> Self {
        let network = Network::new(2);
        let control = at("127.0.0.1", 2223);
        let (engine, relay) = match kind {
            Kind::RtpEngine => {
                network.count_media(PORTS.0, PORTS.1);
                (Some(RtpEngine::start(&network, control, PORTS)), None)
            }
            Kind::Tandem => {
                network.count_media(MEDIA_PORTS.0, MEDIA_PORTS.1);
                (None, Some(Relay::start(&network, &Setup::ng())))
            }
        };
        let asker = Asker::new(&network.relay, at("127.0.0.1", 0), control);
        let next = [("NEXT", "\"sip:10.2.0.2:5060\"")];
        let proxy = Kamailio::configured(
            &network.relay,
            "rtpengine.cfg",
            &["udp:10.1.0.1:5060", "udp:10.2.0.1:5060"],
            &[&next[..], definitions].concat(),
        );
        Self {
            proxy,
            asker,
            _engine: engine,
            _relay: relay,
            network,
        }
    }

    /// Two scenarios against each other, with Kamailio between them.
    #[track_caller]
    fn run(&self, caller: &str, callee: &str, more: &[&str]) {
        let callee = Sipp::start(&self.network.callee, callee, "10.2.0.2", 5060, more);
        let arguments = [&["10.1.0.1:5060", "-s", "4711"], more].concat();
        let caller = Sipp::start(&self.network.caller, caller, "10.1.0.2", 5060, &arguments);
        caller.succeeds(PATIENCE);
        callee.succeeds(PATIENCE);
    }

    /// No session, no port is left.
    #[track_caller]
    fn assert_nothing_left(&mut self) {
        assert_eq!(self.proxy.said("failed "), 0, "{}", self.proxy.log());
        assert_no_session_and_no_port(&mut self.asker);
    }
}

#[test]
fn calls_through_kamailio_talk_both_ways() {
    let _turn = Turn::shared();
    for kind in KINDS {
        let mut front = Front::new(kind, &[]);
        let calls = [&CALLS[..], &["-d", "1000"]].concat();
        front.run("caller.xml", "callee.xml", &calls);
        let (caller, callee) = (&front.network.caller, &front.network.callee);
        // Three calls of a second each are some 150 packets each way; SIPp keeps time only roughly.
        for (from, to) in [(caller, callee), (callee, caller)] {
            let sent = from.counted("sent");
            assert!(sent > 120, "{kind:?}: {sent}");
            assert_eq!(to.counted("received"), sent, "{kind:?}");
        }
        assert_eq!(front.proxy.said("answered 200"), 3);
        front.assert_nothing_left();
    }
}

#[test]
fn a_call_through_kamailio_is_held_and_resumed() {
    let _turn = Turn::shared();
    for kind in KINDS {
        let mut front = Front::new(kind, &[]);
        front.run("caller-holds.xml", "callee-held.xml", &CALLS);
        assert_eq!(front.proxy.said("answered 200"), 9);
        let (caller, callee) = (&front.network.caller, &front.network.callee);
        for (from, to) in [(caller, callee), (callee, caller)] {
            let (sent, received) = (from.counted("sent"), to.counted("received"));
            assert!(sent > 200, "{kind:?}: {sent}");
            // What a hold overtakes may be lost.
            assert!(received * 10 > sent * 9, "{kind:?}: {received} of {sent}");
        }
        front.assert_nothing_left();
    }
}

#[test]
fn calls_through_kamailio_that_come_to_nothing_leave_nothing() {
    let _turn = Turn::shared();
    for kind in KINDS {
        for branch in [&[][..], &[("BRANCH", "1")]] {
            let mut front = Front::new(kind, branch);
            front.run(
                "caller-cancels.xml",
                "callee-cancelled-through-proxy.xml",
                &CALLS,
            );
            assert_eq!(front.proxy.said("offered INVITE"), 3);
            assert_eq!(front.proxy.said("deleted 487"), 3);
            front.assert_nothing_left();
            front.run("caller-hears-busy.xml", "callee-busy.xml", &CALLS);
            assert_eq!(front.proxy.said("offered INVITE"), 6);
            assert_eq!(front.proxy.said("deleted 486"), 3);
            front.assert_nothing_left();
        }
    }
}

/// Each branch has media of its own; the one that is answered is talked in, and renewed.
#[test]
fn calls_through_kamailio_with_media_for_each_branch() {
    let _turn = Turn::shared();
    for kind in KINDS {
        let mut front = Front::new(kind, &[("BRANCH", "1")]);
        let calls = [&CALLS[..], &["-d", "500"]].concat();
        front.run("caller.xml", "callee.xml", &calls);
        let (caller, callee) = (&front.network.caller, &front.network.callee);
        for (from, to) in [(caller, callee), (callee, caller)] {
            let sent = from.counted("sent");
            assert!(sent > 50, "{kind:?}: {sent}");
            assert_eq!(to.counted("received"), sent, "{kind:?}");
        }
        front.assert_nothing_left();
    }
}
