//! Proof 1 under other configurations: modes, idling, workers, addresses, markings, rtcp-mux.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::lab::call::Call;
use crate::lab::network::{Network, at};
use crate::lab::pair::Pair;
use crate::lab::phone::Phone;
use crate::lab::relay::Setup;
use crate::lab::rtp::{Media, Party, assert_both_heard_all, introduce, talk};
use crate::lab::sip::{SENDRECV, audio, stream};
use crate::lab::turn::Turn;

fn one_call(setup: &Setup) -> Pair {
    let mut pair = Pair::new(setup);
    let (call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    call.caller_hangs_up(&mut pair.caller, &mut pair.callee);
    pair
}

fn modes(pair: &Pair) -> Vec<String> {
    let status = pair.relay.json(&["status"]);
    let devices = status.get("devices").and_then(Value::as_array);
    let mode = |device: &Value| Some(device.get("xdp_mode")?.as_str()?.to_owned());
    devices.into_iter().flatten().filter_map(mode).collect()
}

#[test]
fn each_mode_is_taken_at_its_word() {
    let _turn = Turn::shared();
    let pair = one_call(&Setup::default().set("mode", "\"copy\""));
    assert_eq!(modes(&pair), ["copy", "copy"]);
    drop(pair);
    let pair = one_call(&Setup::default().set("mode", "\"generic\""));
    assert_eq!(modes(&pair), ["generic", "generic"]);
}

#[test]
fn the_best_mode_of_a_veth_is_copy() {
    let _turn = Turn::shared();
    let pair = one_call(&Setup::default());
    assert_eq!(modes(&pair), ["copy", "copy"]);
}

/// 2 MB pages that the kernel keeps for programs that ask; as many as before when dropped.
struct HugePages {
    before: String,
}

impl HugePages {
    const FILE: &str = "/proc/sys/vm/nr_hugepages";

    fn reserve(count: u32) -> Self {
        let before = std::fs::read_to_string(Self::FILE).expect("the kernel has huge pages");
        std::fs::write(Self::FILE, count.to_string()).expect("journeys run as root");
        let kept = std::fs::read_to_string(Self::FILE).unwrap_or_default();
        assert_eq!(kept.trim(), count.to_string(), "not enough free memory");
        Self { before }
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = std::fs::write(Self::FILE, &self.before);
    }
}

#[test]
fn frames_lie_in_huge_pages_where_there_are_some() {
    let _turn = Turn::alone();
    let _pages = HugePages::reserve(64);
    let pair = one_call(&Setup::default().under("[workers]", "ring_size = 256"));
    let workers = pair.relay.json(&["workers"]);
    for worker in 0..2 {
        let size = workers.pointer(&format!("/workers/{worker}/page_size"));
        assert_eq!(size.and_then(Value::as_u64), Some(2 << 20), "{workers}");
    }
    let status = pair.relay.table(&["status"]);
    assert!(status.contains("2 of 2 run, 2 MB pages"), "{status}");
}

#[test]
fn workers_may_spin() {
    let _turn = Turn::alone();
    one_call(&Setup::default().set("idle", "\"spin\"").set("cores", "[1]"));
}

#[test]
fn a_quiet_worker_sleeps() {
    let _turn = Turn::alone();
    let pair = one_call(&Setup::default());
    let busy = pair.relay.cpu_time();
    std::thread::sleep(Duration::from_secs(2));
    let took = pair.relay.cpu_time() - busy;
    assert!(
        took < Duration::from_millis(100),
        "{took:?} in 2 s of silence"
    );
}

#[test]
fn one_worker_serves_all_queues() {
    let _turn = Turn::shared();
    one_call(&Setup::default().set("cores", "[1]"));
}

#[test]
fn a_group_may_have_several_addresses_of_a_family() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    network.relay.ip("address add 10.2.0.4/24 dev out0");
    let setup = Setup::default().replace("\"10.2.0.1\", ", "\"10.2.0.1\", \"10.2.0.4\", ");
    let mut pair = Pair::on(network, &setup);
    let mut used = BTreeSet::new();
    let mut all = Vec::new();
    for number in 0..16 {
        let (call, parties) = pair.call(30_000 + 4 * number);
        used.insert(call.callee_sends_to.ip());
        all.extend(parties);
    }
    talk(&mut all, 25);
    for pair in all.chunks(2) {
        assert_both_heard_all(&pair[0], &pair[1]);
    }
    assert_eq!(used.len(), 2, "both addresses are used: {used:?}");
}

#[test]
fn packets_leave_with_the_configured_marking_and_a_fresh_ttl() {
    let _turn = Turn::shared();
    let setup = Setup::default()
        .under("name = \"inside\"", "dscp = 34")
        .under("name = \"outside\"", "dscp = \"preserve\"");
    let mut pair = Pair::new(&setup);
    let count = |dscp: &str| {
        format!(
            "table inet media {{ counter marked {{}}; chain input {{ type filter hook input priority 0; \
             udp sport 20000-29999 ip dscp {dscp} ip ttl 64 counter name marked; }}; }}"
        )
    };
    pair.network.caller.filter(&count("af41"));
    pair.network.callee.filter(&count("cs1"));
    // The caller marks its audio itself, on its way out.
    pair.network.caller.filter(
        "table inet marker { chain output { type filter hook output priority 0; \
         udp dport 20000-29999 ip dscp set cs1; ip ttl set 5; }; }",
    );
    let (call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    assert_eq!(pair.network.caller.counted("marked"), 50);
    assert_eq!(pair.network.callee.counted("marked"), 50);
    pair.finish(call);
}

#[test]
fn the_marking_survives_the_change_to_ipv6_and_the_hop_limit_is_fresh() {
    let _turn = Turn::shared();
    let setup = Setup::default().under("name = \"outside\"", "dscp = \"preserve\"");
    let mut pair = Pair::new(&setup);
    pair.network.caller.filter(
        "table inet marker { chain output { type filter hook output priority 0; \
         udp dport 20000-29999 ip dscp set cs1; ip ttl set 5; }; }",
    );
    pair.network.callee.filter(
        "table inet media { counter marked {}; chain input { type filter hook input priority 0; \
         udp sport 20000-29999 ip6 dscp cs1 ip6 hoplimit 64 counter name marked; }; }",
    );
    let mut callee = Phone::new(
        &pair.network.callee,
        at("fd02::2", 5060),
        at("fd02::1", 5060),
    );
    let mut one = Party::g711(&pair.network.caller, at("10.1.0.2", 30_000));
    let mut other = Party::g711(&pair.network.callee, at("fd02::2", 30_000));
    introduce(&mut one, &mut other);
    let (one_at, other_at) = (one.address(), other.address());
    let call = Call::establish(&mut pair.caller, &mut callee, "6711", one_at, other_at);
    one.towards = Some(call.caller_sends_to);
    other.towards = Some(call.callee_sends_to);
    let mut parties = [one, other];
    Pair::assert_audio(&mut parties);
    assert_eq!(pair.network.callee.counted("marked"), 50);
    call.caller_hangs_up(&mut pair.caller, &mut callee);
}

#[test]
fn rtcp_is_muxed_with_the_side_that_wants_it_and_apart_with_the_other() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut parties = pair.parties(30_000);
    let mut dialog = pair.caller.dialog("4711");
    let offer = audio(parties[0].address(), 1, SENDRECV) + "a=rtcp-mux\r\n";
    let request = pair.caller.request(&mut dialog, "INVITE").with_sdp(&offer);
    pair.caller.send(&request);
    let invite = pair.callee.expect_request("INVITE");
    let ok = pair.callee.response(&invite, 200, "OK", "t");
    let answer = audio(parties[1].address(), 1, SENDRECV);
    pair.callee.send(&ok.with_sdp(&answer));
    let ok = pair.caller.expect_response(200, "INVITE");
    assert!(ok.body.contains("a=rtcp-mux\r\n"), "{}", ok.body);
    dialog.learn(&ok);
    let ack = pair.caller.request(&mut dialog, "ACK");
    pair.caller.send(&ack);
    pair.callee.expect_request("ACK");
    parties[0].towards = Some(stream(&ok));
    parties[1].towards = Some(stream(&invite));
    Pair::assert_audio(&mut parties);

    // The caller's RTCP comes and goes by the port of its audio, the callee's by the next.
    drop(parties);
    let mut one = Party::new(&pair.network.caller, at("10.1.0.2", 30_000), Media::Rtcp);
    let mut other = Party::new(&pair.network.callee, at("10.2.0.2", 30_001), Media::Rtcp);
    introduce(&mut one, &mut other);
    one.towards = Some(stream(&ok));
    let rtp = stream(&invite);
    other.towards = Some(SocketAddr::new(rtp.ip(), rtp.port() + 1));
    let mut parties = [one, other];
    talk(&mut parties, 5);
    assert_both_heard_all(&parties[0], &parties[1]);
}

#[test]
fn rtp_and_rtcp_share_a_port_when_both_sides_want_it() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let mut parties = pair.parties(30_000);
    let mux = |address, version| audio(address, version, SENDRECV) + "a=rtcp-mux\r\n";
    let mut dialog = pair.caller.dialog("4711");
    let request = pair
        .caller
        .request(&mut dialog, "INVITE")
        .with_sdp(&mux(parties[0].address(), 1));
    pair.caller.send(&request);
    let invite = pair.callee.expect_request("INVITE");
    assert!(invite.body.contains("a=rtcp-mux\r\n"), "{}", invite.body);
    let ok = pair.callee.response(&invite, 200, "OK", "t");
    pair.callee
        .send(&ok.with_sdp(&mux(parties[1].address(), 1)));
    let ok = pair.caller.expect_response(200, "INVITE");
    assert!(ok.body.contains("a=rtcp-mux\r\n"), "{}", ok.body);
    dialog.learn(&ok);
    let ack = pair.caller.request(&mut dialog, "ACK");
    pair.caller.send(&ack);
    pair.callee.expect_request("ACK");
    parties[0].towards = Some(stream(&ok));
    parties[1].towards = Some(stream(&invite));
    Pair::assert_audio(&mut parties);

    // The same ports now carry RTCP.
    drop(parties);
    let mut one = Party::new(&pair.network.caller, at("10.1.0.2", 30_000), Media::Rtcp);
    let mut other = Party::new(&pair.network.callee, at("10.2.0.2", 30_000), Media::Rtcp);
    introduce(&mut one, &mut other);
    one.towards = Some(stream(&ok));
    other.towards = Some(stream(&invite));
    let mut parties = [one, other];
    talk(&mut parties, 5);
    assert_both_heard_all(&parties[0], &parties[1]);
}
