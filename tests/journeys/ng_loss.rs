//! Datagrams between a proxy and the second door are lost, doubled and reordered: still one session for one call, and in the end
//! none.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::lossy::LossyWire;
use crate::lab::network::{Network, at};
use crate::lab::ng::{Asker, Writing, read, written};
use crate::lab::relay::{Relay, Setup};
use crate::lab::rtpengine::{PORTS, RtpEngine, assert_no_session_and_no_port};
use crate::lab::turn::Turn;

/// So many calls at a time.
const AT_A_TIME: usize = 150;
/// A request without a reply is sent again after this.
const RETRANSMIT: Duration = Duration::from_millis(100);
/// A bound for all of it.
const PATIENCE: Duration = Duration::from_secs(40);

const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 10.1.0.2\r\ns=-\r\nc=IN IP4 10.1.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
const ANSWER: &str = "v=0\r\no=- 2 1 IN IP4 10.2.0.2\r\ns=-\r\nc=IN IP4 10.2.0.2\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\n";

/// A request that waits for its reply.
struct Asked {
    call: usize,
    step: usize,
    message: Vec<u8>,
    sent: Instant,
}

/// A proxy with many calls, each of which is offered, answered and deleted.
struct Proxy {
    wire: LossyWire,
    waiting: BTreeMap<String, Asked>,
    /// What was said to each cookie: a double gets the same.
    said: HashMap<String, Vec<u8>>,
    started: usize,
    ended: usize,
    repeated: usize,
}

impl Proxy {
    fn ask(&mut self, call: usize, step: usize) {
        let cookie = format!("{call}_{step}");
        let message = written(&cookie, &request(call, step), Writing::Bencode);
        self.wire.send(&message);
        let asked = Asked {
            call,
            step,
            message,
            sent: Instant::now(),
        };
        self.waiting.insert(cookie, asked);
    }

    #[track_caller]
    fn hear(&mut self, message: Vec<u8>) {
        let (cookie, reply) = read(&message).expect("a reply");
        if let Some(before) = self.said.get(&cookie) {
            assert_eq!(before, &message, "two replies to one cookie");
            self.repeated += 1;
            return;
        }
        self.said.insert(cookie.clone(), message);
        let asked = self.waiting.remove(&cookie);
        let asked = asked.unwrap_or_else(|| panic!("nobody has asked {cookie}"));
        assert_eq!(reply["result"], "ok", "{cookie}: {reply}");
        assert_eq!(
            reply["sdp"].is_string(),
            asked.step < 2,
            "{cookie}: {reply}"
        );
        match asked.step {
            2 => self.ended += 1,
            step => self.ask(asked.call, step + 1),
        }
    }

    /// All calls, from the first to the last.
    #[track_caller]
    fn run(&mut self, calls: usize) {
        let end = Instant::now() + PATIENCE;
        while self.ended < calls {
            while self.started < calls && self.started - self.ended < AT_A_TIME {
                self.started += 1;
                self.ask(self.started, 0);
            }
            let mut heard = false;
            while let Some(message) = self.wire.receive() {
                heard = true;
                self.hear(message);
            }
            let now = Instant::now();
            for asked in self.waiting.values_mut() {
                if now.duration_since(asked.sent) > RETRANSMIT {
                    asked.sent = now;
                    self.wire.send(&asked.message);
                }
            }
            assert!(now < end, "{} of {calls} calls in {PATIENCE:?}", self.ended);
            if !heard {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // Doubles of what is over arrive yet, and are no new calls.
        self.wire.flush();
        std::thread::sleep(Duration::from_millis(200));
        while let Some(message) = self.wire.receive() {
            self.hear(message);
        }
    }
}

fn request(call: usize, step: usize) -> Value {
    let call = format!("call-{call}");
    match step {
        0 => json!({"command": "offer", "call-id": call, "from-tag": "a", "sdp": OFFER,
            "direction": ["inside", "outside"], "replace": ["origin", "session-connection"]}),
        1 => {
            json!({"command": "answer", "call-id": call, "from-tag": "a", "to-tag": "b", "sdp": ANSWER})
        }
        _ => json!({"command": "delete", "call-id": call, "from-tag": "a", "delete-delay": 0}),
    }
}

/// So many calls over a lossy network; how many replies came more than once.
#[track_caller]
fn calls(network: &Network, count: usize) -> usize {
    let socket = network.relay.udp(at("127.0.0.1", 0));
    socket
        .connect(at("127.0.0.1", 2223))
        .expect("it is in reach");
    let mut proxy = Proxy {
        wire: LossyWire::new(socket, 0x7a9d),
        waiting: BTreeMap::new(),
        said: HashMap::new(),
        started: 0,
        ended: 0,
        repeated: 0,
    };
    proxy.run(count);
    let mut asker = Asker::new(&network.relay, at("127.0.0.1", 0), at("127.0.0.1", 2223));
    assert_no_session_and_no_port(&mut asker);
    proxy.repeated
}

/// The lab's own proof.
#[test]
fn rtpengine_has_one_session_for_one_call_over_a_lossy_network() {
    let _turn = Turn::shared();
    let network = Network::new(1);
    let _engine = RtpEngine::start(&network, at("127.0.0.1", 2223), PORTS);
    let repeated = calls(&network, 500);
    // Of 1,500 replies a tenth or so is repeated, since one of twenty datagrams is lost and another doubled, each way.
    assert!(repeated > 50, "{repeated}");
}

#[test]
fn ten_thousand_calls_over_a_lossy_network_are_one_session_each_and_leave_nothing() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    // Some 500 ports a second rest.
    let setup = Setup::ng().append("[calls]\nport_rest = \"1s\"");
    let relay = Relay::start(&network, &setup);
    let repeated = calls(&network, 10_000);
    assert!(repeated > 1_000, "{repeated}");
    assert_eq!(relay.json(&["status"])["media"]["sessions"], 0);
    for gauge in ["flows", "ports_in_use", "ports_resting"] {
        relay.expect_gauge(gauge, 0, Duration::from_secs(5));
    }
}
