//! Quality as the parties see it: RTCP reports pass through, and what they say is shown.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::Value;

use crate::lab::baresip::{Baresip, User};
use crate::lab::network::{Network, at};
use crate::lab::pair::Pair;
use crate::lab::relay::{Relay, Setup};
use crate::lab::turn::Turn;

const SSRC_OF_CALLEE: u32 = 0xca11ee;
/// The middle 32 bits of a sender report's NTP timestamp.
const NAME: u32 = 0x1234_5678;

fn sender_report() -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend(SSRC_OF_CALLEE.to_be_bytes());
    packet.extend([1, 2]);
    packet.extend(NAME.to_be_bytes());
    packet.extend([0; 14]);
    packet
}

/// One report block: a quarter lost of late, 1,000 packets in all, jitter of 160 units (20 ms of G.711), and the sender
/// report that came so long ago.
fn receiver_report(held: Duration) -> Vec<u8> {
    let mut packet = vec![0x81, 201, 0, 7, 0, 0, 0, 7];
    packet.extend(SSRC_OF_CALLEE.to_be_bytes());
    packet.extend([64, 0, 3, 0xe8, 0, 0, 0x10, 0, 0, 0, 0, 160]);
    packet.extend(NAME.to_be_bytes());
    let held = held.as_micros() * 65_536 / 1_000_000;
    packet.extend((held as u32).to_be_bytes());
    packet
}

/// The next port: RTCP's.
fn next(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 1)
}

/// Sends a packet through the relay, which must come out unchanged.
#[track_caller]
fn passes(from: &UdpSocket, towards: SocketAddr, to: &UdpSocket, packet: &[u8]) {
    from.send_to(packet, towards).expect("sent");
    to.set_read_timeout(Some(Duration::from_secs(5)))
        .expect("not zero");
    let mut buffer = [0; 2000];
    let (length, _) = to.recv_from(&mut buffer).expect("the report arrives");
    assert_eq!(&buffer[..length], packet);
}

#[test]
fn what_a_phone_reports_of_its_reception_is_shown() {
    let _turn = Turn::shared();
    // One worker: the round trip is taken where both ways meet.
    let mut pair = Pair::new(&Setup::default().set("cores", "[1]"));
    let (call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    let caller = pair.network.caller.udp(at("10.1.0.2", 30_001));
    let callee = pair.network.callee.udp(at("10.2.0.2", 30_001));
    let (to_caller_side, to_callee_side) = (next(call.caller_sends_to), next(call.callee_sends_to));
    let id = pair.relay.only_call();
    let reception = |pair: &Pair, local: SocketAddr| -> Value {
        let flows = pair.relay.json(&["flows", &id]);
        let mut all = flows["flows"]
            .as_array()
            .expect("flows")
            .clone()
            .into_iter();
        let flow = all.find(|flow| flow["local"] == local.to_string());
        flow.expect("the RTCP flow")["reception"].clone()
    };
    assert_eq!(reception(&pair, to_caller_side), Value::Null);

    passes(&callee, to_callee_side, &caller, &sender_report());
    let held = Duration::from_millis(300);
    std::thread::sleep(held + Duration::from_millis(25));
    passes(&caller, to_caller_side, &callee, &receiver_report(held));

    let shown = reception(&pair, to_caller_side);
    assert_eq!(
        (&shown["reports"], &shown["lost"]),
        (&1.into(), &1000.into()),
        "{shown}"
    );
    assert_eq!(shown["loss"], 0.25);
    assert_eq!(
        (&shown["jitter_units"], &shown["jitter_ms"]),
        (&160.into(), &20.0.into())
    );
    assert_eq!(
        reception(&pair, to_callee_side),
        Value::Null,
        "the callee said nothing"
    );
    let trip = shown["round_trip_ms"].as_f64().expect("a round trip");
    assert!((24.0..500.0).contains(&trip), "{shown}");
    let table = pair.relay.table(&["flows", &id]);
    assert!(
        table.contains("25.0 %") && table.contains("20.0 ms"),
        "{table}"
    );
    drop((caller, callee));
    pair.finish(call);
}

/// Each tenth packet is lost on the way to the callee, whose own RTCP says so.
#[test]
fn what_a_user_agent_reports_of_a_lossy_wire_is_in_the_record() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    network.callee.filter(
        "table inet lossy {
            chain input { type filter hook input priority 0;
                udp sport 20000-29999 @th,72,8 8 numgen inc mod 10 == 0 drop; }
        }",
    );
    let cdr = "[cdr]\nfile = \"DIRECTORY/calls.json\"\n";
    let relay = Relay::start(&network, &Setup::default().append(cdr));
    let user = |name, address, proxy, answers, tone| User {
        name,
        address,
        proxy,
        answers,
        tone,
        account: "",
        config: "",
    };
    let callee = user("4711", "10.2.0.2", "sip:10.2.0.1:5060", "auto", 1000);
    let mut callee = Baresip::start(&network.callee, &callee);
    let caller = user("4901", "10.1.0.2", "sip:10.1.0.1:5060", "manual", 440);
    let mut caller = Baresip::start(&network.caller, &caller);
    caller.does("dial", "sip:4711@10.1.0.1");
    callee.expect_event("CALL_ESTABLISHED");
    // libre reports each five seconds.
    std::thread::sleep(Duration::from_secs(8));
    caller.does("hangup", "");
    callee.expect_event("CALL_CLOSED");
    let record = relay.records(1).remove(0);
    let number = |field: &str| record[field].as_f64();
    let loss = number("caller_loss_percent").expect("a report");
    // What was lost by the last report, of all that was sent until the end.
    assert!((4.0..12.0).contains(&loss), "{record}");
    assert!(number("caller_lost") >= Some(15.0), "{record}");
    assert!(number("caller_jitter_ms").is_some(), "{record}");
    let (one, other) = (number("caller_mos"), number("callee_mos"));
    assert!(one.is_some_and(|mos| mos < 4.1), "{record}");
    assert!(other.is_some_and(|mos| mos > 4.3), "{record}");
    assert_eq!(number("callee_lost"), Some(0.0), "{record}");
    for field in ["caller_rtcp_packets", "callee_rtcp_packets"] {
        assert!(number(field) >= Some(1.0), "{field} of {record}");
    }
}
