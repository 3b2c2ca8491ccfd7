//! tandem's second door, and figures of it: for those who knock in ways that no proxy would.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::network::{Network, at};
use super::ng::Asker;
use super::relay::{Relay, Setup};

/// Connections that the TCP listener takes at a time.
pub(crate) const CONNECTIONS: usize = 8;

/// Who may ask is on the callers' host. Who may not is on the callees'.
pub(crate) const MAY: &str = "10.1.0.2";
pub(crate) const MAY_NOT: &str = "10.2.0.2";

/// tandem with nothing but the second door: UDP on 2223, TCP on 2224 with room for [`CONNECTIONS`], HTTP on 2225.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) relay: Relay,
    pub(crate) network: Network,
}

impl Door {
    #[track_caller]
    pub(crate) fn new() -> Self {
        let network = Network::new(2);
        network.callee.ip("route add 10.1.0.1 via 10.2.0.1");
        let listeners: String = [("udp", 2223), ("tcp", 2224), ("http", 2225)]
            .map(|(transport, port)| {
                format!(
                    "[[ng_listener]]\nname = \"{transport}\"\naddress = \"10.1.0.1:{port}\"\n\
                     transport = \"{transport}\"\n{}allow = [\"{MAY}\"]\n",
                    room(transport)
                )
            })
            .concat();
        let setup = Setup::ng().append(&listeners);
        let relay = Relay::start(&network, &setup);
        Self { relay, network }
    }

    /// Whoever may ask, over UDP.
    pub(crate) fn asker(&self) -> Asker {
        Asker::new(&self.network.caller, at(MAY, 0), at("10.1.0.1", 2223))
    }

    #[track_caller]
    pub(crate) fn assert_answers(&self) {
        let pong = self.asker().ask(&json!({"command": "ping"}));
        assert_eq!(pong, json!({"result": "pong"}));
    }

    /// A figure of the second door.
    pub(crate) fn count(&self, path: &str) -> u64 {
        let status = self.relay.json(&["status"]);
        let count = status["ng"].pointer(path).and_then(Value::as_u64);
        count.unwrap_or(0)
    }

    /// A figure of the listener of this transport.
    pub(crate) fn of_listener(&self, transport: &str, figure: &str) -> u64 {
        let status = self.relay.json(&["status"]);
        let listeners = status["ng"]["listeners"].as_array();
        let listener = listeners
            .into_iter()
            .flatten()
            .find(|listener| listener["name"] == transport);
        let listener = listener.unwrap_or_else(|| panic!("no listener {transport}: {status}"));
        listener
            .pointer(&format!("/{figure}"))
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("no {figure}: {listener}"))
    }

    /// Until a figure of a listener is this.
    #[track_caller]
    pub(crate) fn await_of_listener(&self, transport: &str, figure: &str, expected: u64) {
        let until = Instant::now() + Duration::from_secs(5);
        loop {
            let found = self.of_listener(transport, figure);
            if found == expected {
                return;
            }
            assert!(Instant::now() < until, "{transport} {figure}: {found}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A connection of whoever may ask.
    pub(crate) fn connect(&self, port: u16) -> TcpStream {
        let to: SocketAddr = at("10.1.0.1", port);
        let stream = self.network.caller.within(|| TcpStream::connect(to));
        let stream = stream.expect("it listens");
        let patience = Some(Duration::from_secs(5));
        stream.set_read_timeout(patience).expect("a socket of ours");
        stream
    }
}

/// Only TCP's room is small: UDP has no connections.
fn room(transport: &str) -> String {
    match transport {
        "tcp" => format!("max_connections = {CONNECTIONS}\n"),
        _ => String::new(),
    }
}
