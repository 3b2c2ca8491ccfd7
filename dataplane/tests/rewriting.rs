//! What leaves is exactly what arrived, re-addressed: for every combination of families, tags, markings
//! and checksums, against an oracle that builds the packet anew.

mod support;

use contract::*;
use dataplane::settings::ReceivedChecksums;
use proptest::prelude::*;
use support::*;

const LOCAL: [[&str; 2]; 2] = [
    ["10.0.0.1:20000", "[fd00::1]:20000"],
    ["10.1.0.1:20010", "[fd01::1]:20010"],
];
const PARTY: [[&str; 2]; 2] = [
    ["10.0.0.9:4000", "[fd00::9]:4000"],
    ["10.1.0.9:5000", "[fd01::9]:5000"],
];

fn tags() -> impl Strategy<Value = Vec<(u16, u16)>> {
    let tag = (prop_oneof![Just(0x8100_u16), Just(0x88a8)], any::<u16>());
    prop::collection::vec(tag, 0..=2)
}

fn vlan(tags: &[(u16, u16)]) -> VlanTags {
    let tag = |&(tpid, tci): &(u16, u16)| VlanTag { tpid, tci };
    match tags {
        [] => VlanTags::None,
        [one] => VlanTags::Single(tag(one)),
        [outer, inner, ..] => VlanTags::Double(tag(outer), tag(inner)),
    }
}

fn entry(from: usize, to: usize, out_tags: &[(u16, u16)], dscp: Option<u8>) -> FlowEntry {
    let mut egress = egress(LOCAL[1][to], Some(PARTY[1][to]), 1);
    egress.dscp = dscp.map_or(DscpMarking::Preserve, DscpMarking::Set);
    egress.link = Some(Link {
        vlan: vlan(out_tags),
        ..link(1)
    });
    FlowEntry {
        id: FlowId(1),
        key: key(LOCAL[0][from]),
        payload: Payload::Rtp,
        latch: latch(LatchPolicy::Sdp, Some(PARTY[0][from])),
        rtp: Some(egress),
        rtcp: Some(egress),
        idle_after: None,
        handling: contract::Handling::default(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_packet_leaves_as_it_came_but_for_its_headers(
        from in 0..2_usize,
        to in 0..2_usize,
        in_tags in tags(),
        out_tags in tags(),
        traffic_class in any::<u8>(),
        dscp in prop::option::of(0..64_u8),
        payload in prop::collection::vec(any::<u8>(), 0..1300),
        as_rtcp in any::<bool>(),
        field in prop_oneof![Just(Field::Right), Just(Field::Unfinished), Just(Field::Zero)],
        finished in any::<bool>(),
        policy_off in any::<bool>(),
        padding in 0..30_usize,
    ) {
        prop_assume!(!(finished && field == Field::Unfinished));
        let checksums = if finished {
            ReceivedChecksums::Finished
        } else {
            ReceivedChecksums::MayBeUnfinished
        };
        let mut bench = Bench::new(checksums);
        let mut entry = entry(from, to, &out_tags, dscp);
        if policy_off {
            entry.latch.policy = LatchPolicy::Off;
        }
        bench.install(entry);
        let start = if as_rtcp { rtcp() } else { rtp(7, 0) };
        let mut arrives = Datagram::new(addr(PARTY[0][from]), addr(LOCAL[0][from]), &start);
        arrives.payload.extend(payload);
        arrives.tags = in_tags;
        arrives.traffic_class = traffic_class;
        let mut frame = arrives.bytes(field);
        frame.extend(vec![0xaa; padding]);
        if field == Field::Zero && from == 1 {
            prop_assert_eq!(bench.dropped(0, &frame), DropReason::BadUdpChecksum);
            return Ok(());
        }
        let left = bench.send(0, &frame);
        prop_assert_eq!(left.len(), 1);
        prop_assert_eq!(left[0].0, 1);
        let (leaves, has_checksum) = Datagram::parse(&left[0].1);
        let link = link(1);
        let expected = Datagram {
            mac_to: link.destination.0,
            mac_from: link.source.0,
            tags: out_tags,
            from: addr(LOCAL[1][to]),
            to: addr(PARTY[1][to]),
            traffic_class: dscp.map_or(traffic_class, |dscp| dscp << 2 | traffic_class & 3),
            hop_limit: 64,
            payload: arrives.payload,
        };
        prop_assert_eq!(leaves, expected);
        // Only IPv4 to IPv4 may stay without a checksum.
        prop_assert_eq!(has_checksum, !(field == Field::Zero && to == 0));
        bench.assert_conserved();
    }

    /// From a wire, a damaged payload must stay recognisable as damaged.
    #[test]
    fn a_wrong_checksum_is_dropped_or_stays_wrong(
        from in 0..2_usize, to in 0..2_usize, len in 0..200_usize,
    ) {
        let arrives = Datagram::new(addr(PARTY[0][from]), addr(LOCAL[0][from]), &rtp(1, len));
        let wrong = arrives.bytes(Field::Wrong);
        let mut veth = Bench::new(ReceivedChecksums::MayBeUnfinished);
        veth.install(entry(from, to, &[], None));
        prop_assert_eq!(veth.dropped(0, &wrong), DropReason::BadUdpChecksum);
        let mut wire = Bench::new(ReceivedChecksums::Finished);
        wire.install(entry(from, to, &[], None));
        let right = wire.send(0, &arrives.bytes(Field::Right)).remove(0).1;
        let left = wire.send(0, &wrong).remove(0).1;
        let udp = if to == 0 { 34 } else { 54 };
        prop_assert_ne!(&left[udp + 6..udp + 8], &right[udp + 6..udp + 8]);
        let others = |frame: &[u8]| [&frame[..udp + 6], &frame[udp + 8..]].concat();
        prop_assert_eq!(others(&left), others(&right));
    }
}

#[test]
fn a_checksum_that_comes_to_zero_is_sent_as_all_ones() {
    for to in 0..2 {
        let mut bench = Bench::new(ReceivedChecksums::Finished);
        bench.install(entry(0, to, &[], None));
        let mut seen = false;
        for word in 0..=u16::MAX {
            let mut payload = rtp(1, 2);
            payload[12..14].copy_from_slice(&word.to_be_bytes());
            let arrives = Datagram::new(addr(PARTY[0][0]), addr(LOCAL[0][0]), &payload);
            let left = bench.send(0, &arrives.bytes(Field::Right)).remove(0).1;
            let (_, has_checksum) = Datagram::parse(&left);
            assert!(has_checksum, "{word:#06x}");
            let udp = if to == 0 { 34 } else { 54 };
            seen |= left[udp + 6..udp + 8] == [0xff, 0xff];
        }
        assert!(seen, "one word in 65,536 makes the sum all ones");
    }
}
