//! Fax on the wire: a call goes over from audio to T.38 and back, and every UDPTL packet arrives once, unchanged.

use std::net::SocketAddr;

use serde_json::Value;

use crate::dialogs::renegotiate;
use crate::lab::call::Call;
use crate::lab::network::at;
use crate::lab::pair::Pair;
use crate::lab::relay::Setup;
use crate::lab::rtp::{Media, Party, assert_both_heard_all, go_over, introduce, talk};
use crate::lab::sip::{SENDRECV, audio, family, streams};
use crate::lab::turn::Turn;

const G711: Media = Media::Rtp(160);
const T38: &str = "a=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=T38FaxRateManagement:transferredTCF\r\n\
    a=T38FaxMaxDatagram:400\r\na=T38FaxUdpEC:t38UDPRedundancy\r\n";

/// A description with this media.
fn body(address: SocketAddr, version: u32, media: &str) -> String {
    let (family, host) = (family(address.ip()), address.ip());
    format!(
        "v=0\r\no=peer 4711 {version} IN {family} {host}\r\ns=-\r\nc=IN {family} {host}\r\nt=0 0\r\n{media}"
    )
}

fn image(address: SocketAddr) -> String {
    format!("m=image {} udptl t38\r\n{T38}", address.port())
}

/// The flows of the only call.
fn flows(pair: &Pair) -> Vec<Value> {
    let call = pair.relay.only_call();
    let flows = pair.relay.json(&["flows", &call]);
    flows["flows"].as_array().expect("its flows").clone()
}

fn packets(flow: &Value) -> u64 {
    flow["packets"].as_u64().expect("a count")
}

/// The callee asks, the caller agrees; what the caller was offered and what the callee was answered.
fn ask(pair: &mut Pair, call: &mut Call, offer: &str, answer: &str) -> (String, String) {
    let ends = (&mut pair.callee, &mut pair.caller);
    renegotiate(ends, &mut call.callee, offer, answer)
}

#[test]
fn audio_becomes_fax_at_its_ports_and_audio_again() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (mut call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    let [one, other] = [&parties[0], &parties[1]].map(Party::address);

    let (offered, answered) = ask(
        &mut pair,
        &mut call,
        &body(other, 2, &image(other)),
        &body(one, 2, &image(one)),
    );
    assert!(offered.contains(T38) && answered.contains(T38), "{offered}");
    assert_eq!(streams(&offered), [call.caller_sends_to]);
    assert_eq!(streams(&answered), [call.callee_sends_to]);
    let before: u64 = flows(&pair).iter().map(packets).sum();
    let [a, b] = &mut parties;
    go_over(a, b, Media::Udptl(40));
    parties.iter_mut().for_each(Party::start_over);
    talk(parties.iter_mut(), 50);
    assert_both_heard_all(&parties[0], &parties[1]);

    // One flow each way, each packet counted, nothing dropped, and no stream of RTCP.
    let after = flows(&pair);
    assert_eq!(after.len(), 2, "{after:?}");
    assert!(
        after.iter().all(|flow| flow["carries"] == "udptl"),
        "{after:?}"
    );
    let sum: u64 = after.iter().map(packets).sum();
    assert_eq!(sum - before, parties[0].sent() + parties[1].sent());
    assert_eq!(pair.relay.workers().dropped_for("not_rtp"), 0);
    let id = pair.relay.only_call();
    let shown = pair.relay.json(&["calls", "show", &id]);
    let stream = &shown["streams"][0];
    assert_eq!(
        (&stream["media"], &stream["transport"]),
        (&"image".into(), &"udptl".into())
    );
    assert_eq!(stream["caller"]["local_rtcp"], Value::Null);
    let table = pair.relay.table(&["calls", "show", &id]);
    assert!(
        table.contains("stream 0: image over udptl, active"),
        "{table}"
    );

    let (offered, _) = ask(
        &mut pair,
        &mut call,
        &audio(other, 3, SENDRECV),
        &audio(one, 3, SENDRECV),
    );
    assert_eq!(streams(&offered), [call.caller_sends_to]);
    let [a, b] = &mut parties;
    go_over(a, b, G711);
    Pair::assert_audio(&mut parties);
    assert_eq!(flows(&pair).len(), 4);
    pair.finish(call);
}

#[test]
fn fax_in_a_line_of_its_own_has_ports_of_its_own() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (mut call, mut parties) = pair.call(30_000);
    Pair::assert_audio(&mut parties);
    let [one, other] = [&parties[0], &parties[1]].map(Party::address);
    let mut a = Party::new(
        &pair.network.caller,
        at("10.1.0.2", 32_000),
        Media::Udptl(127),
    );
    let mut b = Party::new(
        &pair.network.callee,
        at("10.2.0.2", 32_000),
        Media::Udptl(127),
    );
    introduce(&mut a, &mut b);

    let silent = "m=audio 0 RTP/AVP 8\r\n";
    let with_fax = |party: &Party| {
        body(
            party.address(),
            2,
            &format!("{silent}{}", image(party.address())),
        )
    };
    let (offered, answered) = ask(&mut pair, &mut call, &with_fax(&b), &with_fax(&a));
    let (to_a, to_b) = (streams(&offered), streams(&answered));
    assert_eq!((to_a[0].port(), to_b[0].port()), (0, 0), "{offered}");
    (a.towards, b.towards) = (Some(to_a[1]), Some(to_b[1]));
    let mut fax = [a, b];
    talk(fax.iter_mut(), 50);
    assert_both_heard_all(&fax[0], &fax[1]);
    let now = flows(&pair);
    assert!(now.iter().all(|flow| packets(flow) == 50), "{now:?}");

    let talks = |address, version| audio(address, version, SENDRECV) + "m=image 0 udptl t38\r\n";
    let (offered, answered) = ask(&mut pair, &mut call, &talks(other, 3), &talks(one, 3));
    parties[0].towards = Some(streams(&offered)[0]);
    parties[1].towards = Some(streams(&answered)[0]);
    Pair::assert_audio(&mut parties);
    pair.finish(call);
}

#[test]
fn a_refused_fax_leaves_the_audio_as_it_was() {
    let _turn = Turn::shared();
    let mut pair = Pair::new(&Setup::default());
    let (mut call, mut parties) = pair.call(30_000);
    let other = parties[1].address();
    let offer = body(other, 2, &image(at("10.2.0.2", 32_000)));
    let request = pair
        .callee
        .request(&mut call.callee, "INVITE")
        .with_sdp(&offer);
    pair.callee.send(&request);
    let invite = pair.caller.expect_request("INVITE");
    Pair::assert_audio(&mut parties);
    pair.caller.respond(&invite, 488, "Not Acceptable Here", "");
    pair.caller.expect_request("ACK");
    let refused = pair.callee.expect_response(488, "INVITE");
    pair.callee
        .send(&pair.callee.ack_refusal(&request, &refused));
    Pair::assert_audio(&mut parties);
    assert_eq!(flows(&pair).len(), 4);
    pair.finish(call);
}
