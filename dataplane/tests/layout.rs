//! Where in memory things lie: what a worker writes for a packet, that nothing of two workers shares a cache
//! line, and how many bytes a flow takes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod support;

use std::fs;
use std::ops::Range;

use contract::*;
use dataplane::port::{BATCH, Frames};
use dataplane::settings::{MediaAddress, ReceivedChecksums};
use dataplane::storage;
use dataplane::tally::{FlowTallies, WorkerTally};
use support::*;

const LINE: usize = 64;

fn media(flows: usize) -> Vec<MediaAddress> {
    (0..flows.div_ceil(10_000))
        .map(|index| MediaAddress {
            device: DeviceId((index % 2) as u16),
            address: [10, 0, (index >> 8) as u8, index as u8].into(),
            ports: (20_000, 29_999),
        })
        .collect()
}

/// All that a worker has of its own for its flows.
fn spans(flows: usize) -> (impl Sized, Vec<Range<usize>>) {
    let media = media(flows);
    let table = storage::flow_table(&media, flows).unwrap();
    let tallies = FlowTallies::new(&media, flows).unwrap();
    let mut spans: Vec<_> = storage::spans(&table).into();
    spans.extend(tallies.spans());
    ((table, tallies), spans)
}

#[test]
fn no_line_belongs_to_two_workers() {
    let workers: Vec<_> = (0..8).map(|_| (spans(1000), WorkerTally::new(3))).collect();
    let of_worker = |index: usize| -> Vec<Range<usize>> {
        let ((_tables, spans), _) = &workers[index];
        // Ports and the sweep's words are written with commands and by the sweep, in lines of their own too.
        spans.clone()
    };
    for one in 0..workers.len() {
        for other in 0..one {
            for a in of_worker(one) {
                for b in of_worker(other) {
                    let lines = |span: &Range<usize>| span.start / LINE..span.end.div_ceil(LINE);
                    let (a, b) = (lines(&a), lines(&b));
                    assert!(
                        a.end <= b.start || b.end <= a.start,
                        "workers {one} and {other}: {a:x?} and {b:x?}"
                    );
                }
            }
        }
    }
    // What each counts lies on whole lines, so that whatever is beside it is on others.
    assert_eq!(align_of::<WorkerTally>() % LINE, 0);
    assert_eq!(size_of::<WorkerTally>() % LINE, 0);
    for (_, tally) in &workers {
        for socket in &tally.sockets {
            assert_eq!(std::ptr::from_ref(socket).addr() % LINE, 0);
            assert_eq!(size_of_val(socket) % LINE, 0);
        }
    }
}

/// The process's memory at these addresses, as the kernel sees it.
fn memory(span: &Range<usize>) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let file = fs::File::open("/proc/self/mem").unwrap();
    let mut bytes = vec![0; span.len()];
    file.read_exact_at(&mut bytes, span.start as u64).unwrap();
    bytes
}

/// The lines that differ, by address.
fn changed(span: &Range<usize>, before: &[u8], after: &[u8]) -> Vec<usize> {
    let differ = before.iter().zip(after).enumerate();
    let differ = differ.filter(|(_, (before, after))| before != after);
    let mut lines: Vec<usize> = differ.map(|(at, _)| (span.start + at) / LINE).collect();
    lines.dedup();
    lines
}

/// A whole batch of RTP, of RTCP, of IPv6: of all tables only the lines of the flows' counters change, one a flow.
#[test]
fn a_forwarded_packet_writes_one_line_of_the_tables() {
    for (local, remote) in [("10.0.0.1", "10.0.0.9:4000"), ("fd00::1", "[fd00::9]:4000")] {
        let flows = 1000;
        let address: std::net::IpAddr = local.parse().unwrap();
        let media = [
            MediaAddress {
                device: DeviceId(0),
                address,
                ports: (20_000, 20_999),
            },
            MediaAddress {
                device: DeviceId(1),
                address: [10, 9, 0, 1].into(),
                ports: (20_000, 20_999),
            },
        ];
        let table = storage::flow_table(&media, flows).unwrap();
        let tallies = FlowTallies::new(&media, flows).unwrap();
        let spans = storage::spans(&table);
        let [lines, ports] = tallies.spans();
        let devices = [DeviceId(0), DeviceId(1)].into();
        let mut pipeline = dataplane::pipeline::Pipeline::new(
            table,
            storage::news(flows),
            devices,
            dataplane::injection::Services::new(dataplane::tap::tap(1).0),
        );
        let now = Timestamp::from_nanos(1_000);
        for port in 0..flows as u16 {
            let entry = FlowEntry {
                id: FlowId(u64::from(port)),
                key: FlowKey {
                    address,
                    port: 20_000 + port,
                },
                payload: Payload::Rtp,
                latch: latch(LatchPolicy::Sdp, Some(remote)),
                rtp: Some(egress("10.9.0.1:20000", Some("10.9.0.9:5000"), 1)),
                rtcp: Some(egress("10.9.0.1:20000", Some("10.9.0.9:5000"), 1)),
                idle_after: None,
                handling: contract::Handling::default(),
            };
            let event = pipeline.command(&tallies, &Command::Install(entry), now);
            assert_eq!(event, Event::Installed(entry.id));
        }
        let mut packets: Vec<Packet> = (0..BATCH)
            .map(|index| {
                let to = std::net::SocketAddr::new(address, 20_000 + 7 * index as u16);
                let payload = if index % 2 == 0 { rtp(1, 160) } else { rtcp() };
                let bytes = Datagram::new(addr(remote), to, &payload).bytes(Field::Right);
                Packet::new(&bytes)
            })
            .collect();
        let watched: Vec<_> = spans.into_iter().chain([ports]).collect();
        let before: Vec<_> = watched.iter().map(memory).collect();
        let counted_before = memory(&lines);
        let mut verdicts = [dataplane::pipeline::Verdict::Drop(DropReason::Truncated); BATCH];
        pipeline.process(
            &mut Loose,
            &tallies,
            dataplane::pipeline::Origin {
                device: DeviceId(0),
                checksums: ReceivedChecksums::Finished,
            },
            &mut packets,
            &mut verdicts,
            Timestamp::from_nanos(2_000),
        );
        let forwarded = dataplane::pipeline::Verdict::Forward(DeviceId(1));
        assert!(verdicts.iter().all(|verdict| *verdict == forwarded));
        for (span, before) in watched.iter().zip(before) {
            let lines = changed(span, &before, &memory(span));
            assert_eq!(lines, [0; 0], "a packet writes what many packets read");
        }
        let counted = changed(&lines, &counted_before, &memory(&lines));
        assert_eq!(counted.len(), BATCH, "one line a flow");
        assert_eq!(lines.start % LINE, 0);
    }
}

/// Frames that are where they are.
struct Loose;

struct Packet {
    frame: Vec<u8>,
    start: usize,
    len: usize,
}

impl Packet {
    fn new(bytes: &[u8]) -> Self {
        let mut frame = vec![0; 2048];
        frame[256..256 + bytes.len()].copy_from_slice(bytes);
        Self {
            frame,
            start: 256,
            len: bytes.len(),
        }
    }
}

impl Frames for Loose {
    type Packet = Packet;

    fn frame_mut<'a>(&'a mut self, packet: &'a mut Packet) -> (&'a mut [u8], usize, usize) {
        (&mut packet.frame, packet.start, packet.len)
    }

    fn len_of(&self, packet: &Packet) -> usize {
        packet.len
    }

    fn set_extent(&mut self, packet: &mut Packet, start: usize, len: usize) {
        (packet.start, packet.len) = (start, len);
    }
}

/// Hot line, counters, the sweep's words, the rest, and 4 bytes in each of two indices of ports and in the
/// ring of news.
#[test]
fn a_flow_takes_no_more_than_350_bytes_of_a_worker() {
    let flows = 100_000;
    let (_tables, spans) = spans(flows);
    let bytes = spans.iter().map(Range::len).sum::<usize>() + 4 * flows;
    assert!(bytes <= 350 * flows, "{} bytes a flow", bytes / flows);
    println!("{} bytes a flow", bytes / flows);
}
