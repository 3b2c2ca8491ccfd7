//! What is told of a call's flows when they end: whose they were, and where it was reported how they were received.

use controlplane::session::{EndedFlow, Side};

use crate::rig::{Rig, at, media_ports, sdp};

/// The flows of a call with this media on either side, after its end, and the relay's ports towards A and B.
fn ended(a: &str, b: &str) -> (Vec<EndedFlow>, u16, u16) {
    let mut rig = Rig::new(1);
    let id = rig.open();
    let towards_b = rig.offer(id, Side::A, &sdp("192.0.2.1", a));
    let towards_a = rig.answer(id, Side::B, &sdp("198.51.100.1", b));
    rig.confirm(id);
    rig.engine.close(rig.now, id);
    let flows = std::iter::from_fn(|| rig.engine.next_ended()).collect();
    rig.assert_clean();
    (
        flows,
        media_ports(&towards_a)[0],
        media_ports(&towards_b)[0],
    )
}

/// Where it was reported how the RTP that arrived here was received.
fn reports(flows: &[EndedFlow], local: &str) -> Option<(String, Option<u32>)> {
    let mut flows = flows.iter();
    let flow = flows.find(|flow| flow.key.socket_addr() == at(local));
    let reports = flow.expect("a flow that ended").reports?;
    Some((reports.at.to_string(), reports.clock_rate))
}

#[test]
fn how_a_s_rtp_was_received_is_told_where_b_s_rtcp_arrives() {
    let (flows, a, b) = ended("m=audio 5000 RTP/AVP 8", "m=audio 6000 RTP/AVP 8");
    assert_eq!(flows.len(), 4);
    let found = reports(&flows, &format!("10.1.0.1:{a}"));
    assert_eq!(found, Some((format!("10.2.0.1:{}", b + 1), Some(8_000))));
    let found = reports(&flows, &format!("10.2.0.1:{b}"));
    assert_eq!(found, Some((format!("10.1.0.1:{}", a + 1), Some(8_000))));
    assert_eq!(
        reports(&flows, &format!("10.1.0.1:{}", a + 1)),
        None,
        "RTCP"
    );
}

#[test]
fn the_clock_is_that_of_what_the_receiver_takes_and_its_port_that_of_its_rtcp() {
    let opus = "m=audio 5000 RTP/AVP 96\na=rtpmap:96 opus/48000/2\na=rtcp-mux";
    let (flows, a, b) = ended(opus, "m=audio 6000 RTP/AVP 8");
    let found = reports(&flows, &format!("10.2.0.1:{b}"));
    assert_eq!(found, Some((format!("10.1.0.1:{a}"), Some(48_000))));
    let found = reports(&flows, &format!("10.1.0.1:{a}"));
    assert_eq!(found, Some((format!("10.2.0.1:{}", b + 1), Some(8_000))));
}

#[test]
fn nothing_is_reported_of_fax_and_nothing_readable_of_srtp() {
    for media in ["m=image 5000 udptl t38", "m=audio 5000 RTP/SAVP 8"] {
        let (flows, a, _) = ended(media, media);
        assert_eq!(reports(&flows, &format!("10.1.0.1:{a}")), None, "{media}");
    }
}
