//! What the XDP program says of frames, asked through `BPF_PROG_TEST_RUN`, exhaustively where that is
//! possible.

mod namespace;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use af_xdp::{AttachMode, Program, Socket, SocketConfig, Umem, UmemConfig, Verdict};
use namespace::{isolated, veth};

const MEDIA_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const MEDIA_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const PORTS: (u16, u16) = (20_000, 29_999);
const BOTH: [IpAddr; 2] = [IpAddr::V4(MEDIA_V4), IpAddr::V6(MEDIA_V6)];

/// A UDP packet over Ethernet, with tags, ready to be bent.
#[derive(Clone)]
struct Packet {
    tags: Vec<u16>,
    destination: IpAddr,
    port: u16,
}

impl Packet {
    fn to(destination: IpAddr, port: u16) -> Self {
        Self {
            tags: Vec::new(),
            destination,
            port,
        }
    }

    /// Where the IP header starts.
    fn ip_offset(&self) -> usize {
        14 + 4 * self.tags.len()
    }

    /// Where the UDP header ends.
    fn headers_end(&self) -> usize {
        self.ip_offset() + if self.destination.is_ipv4() { 28 } else { 48 }
    }

    fn frame(&self) -> Vec<u8> {
        let mut frame = vec![0x02; 12];
        for (depth, tpid) in self.tags.iter().enumerate() {
            frame.extend(tpid.to_be_bytes());
            frame.extend((100 + depth as u16).to_be_bytes());
        }
        match self.destination {
            IpAddr::V4(destination) => {
                frame.extend([0x08, 0x00, 0x45, 0, 0, 48, 0, 0, 0x40, 0, 64, 17, 0, 0]);
                frame.extend([198, 51, 100, 7]);
                frame.extend(destination.octets());
            }
            IpAddr::V6(destination) => {
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 28, 17, 64]);
                frame.extend([0x20; 16]);
                frame.extend(destination.octets());
            }
        }
        frame.extend(40_000u16.to_be_bytes());
        frame.extend(self.port.to_be_bytes());
        frame.extend([0, 28, 0, 0]);
        frame.extend([0x80; 20]);
        frame
    }
}

/// Runs a test against a program with both media ranges; slot 0 of its socket map is empty.
fn with_program(test: impl FnOnce(&mut Asked) + Send) {
    isolated(|| {
        let mut program = Program::load().expect("loading needs root");
        for address in BOTH {
            program
                .set_media_range(address, PORTS.0, PORTS.1)
                .expect("room in the map");
        }
        test(&mut Asked { program });
    });
}

struct Asked {
    program: Program,
}

impl Asked {
    fn about(&mut self, frame: &[u8]) -> Verdict {
        let answer = self.program.test_run(frame).expect("a test run");
        assert!(
            !answer.redirected,
            "nothing can be redirected: there is no socket"
        );
        answer.verdict
    }
}

#[test]
fn every_port_is_media_or_not_in_both_families() {
    with_program(|asked| {
        for address in BOTH {
            let mut packet = Packet::to(address, 0);
            for port in 0..=u16::MAX {
                packet.port = port;
                let expected = match (PORTS.0..=PORTS.1).contains(&port) {
                    true => Verdict::NoSocket,
                    false => Verdict::NotMediaPort,
                };
                assert_eq!(
                    asked.about(&packet.frame()),
                    expected,
                    "{address} port {port}"
                );
            }
        }
    });
}

#[test]
fn a_range_of_one_port_and_of_all_ports_are_ranges() {
    with_program(|asked| {
        for (first, last) in [(0, 0), (65_535, 65_535), (0, 65_535)] {
            for address in BOTH {
                let set = asked.program.set_media_range(address, first, last);
                set.expect("a range is replaced");
                for port in [0, 1, 32_768, 65_534, 65_535] {
                    let expected = match (first..=last).contains(&port) {
                        true => Verdict::NoSocket,
                        false => Verdict::NotMediaPort,
                    };
                    let frame = Packet::to(address, port).frame();
                    assert_eq!(asked.about(&frame), expected, "{first}-{last}: {port}");
                }
            }
        }
    });
}

#[test]
fn only_media_addresses_are_taken_and_only_while_they_are_set() {
    with_program(|asked| {
        let others = ["192.0.2.2", "1.2.0.192", "2001:db8::2", "::1"];
        for other in others.map(|text| text.parse().expect("an address")) {
            let frame = Packet::to(other, 20_000).frame();
            assert_eq!(asked.about(&frame), Verdict::NotMediaAddress, "{other}");
        }
        for address in BOTH {
            let frame = Packet::to(address, 20_000).frame();
            assert_eq!(asked.about(&frame), Verdict::NoSocket);
            assert!(asked.program.remove_media_range(address).expect("removed"));
            assert!(
                !asked
                    .program
                    .remove_media_range(address)
                    .expect("nothing left")
            );
            assert_eq!(asked.about(&frame), Verdict::NotMediaAddress);
        }
    });
}

#[test]
fn tags_up_to_two_are_looked_behind() {
    with_program(|asked| {
        const TPIDS: [u16; 2] = [0x8100, 0x88a8];
        for address in BOTH {
            for outer in TPIDS {
                for inner in TPIDS {
                    for (tags, expected) in [
                        (vec![], Verdict::NoSocket),
                        (vec![outer], Verdict::NoSocket),
                        (vec![outer, inner], Verdict::NoSocket),
                        (vec![outer, inner, outer], Verdict::NotIp),
                    ] {
                        let mut packet = Packet::to(address, 20_000);
                        packet.tags = tags;
                        let said = asked.about(&packet.frame());
                        assert_eq!(said, expected, "{address} {:x?}", packet.tags);
                    }
                }
            }
            let mut packet = Packet::to(address, 20_000);
            packet.tags = vec![0x9100];
            assert_eq!(asked.about(&packet.frame()), Verdict::NotIp);
        }
    });
}

#[test]
fn a_frame_cut_anywhere_in_its_headers_is_truncated() {
    with_program(|asked| {
        for address in BOTH {
            for tags in [vec![], vec![0x8100], vec![0x88a8, 0x8100]] {
                let mut packet = Packet::to(address, 20_000);
                packet.tags = tags;
                let frame = packet.frame();
                for length in 14..=frame.len() {
                    let expected = match length < packet.headers_end() {
                        true => Verdict::Truncated,
                        false => Verdict::NoSocket,
                    };
                    let said = asked.about(&frame[..length]);
                    assert_eq!(said, expected, "{address} {:x?} {length}", packet.tags);
                }
            }
        }
    });
}

#[test]
fn every_ethertype_but_four_is_not_ip() {
    with_program(|asked| {
        for ethertype in 0..=u16::MAX {
            let mut frame = Packet::to(BOTH[0], 20_000).frame();
            frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
            let said = asked.about(&frame);
            match ethertype {
                0x0800 => assert_eq!(said, Verdict::NoSocket),
                // The version is 4, and behind a tag comes no ethertype of IP.
                _ => assert_eq!(said, Verdict::NotIp, "{ethertype:04x}"),
            }
        }
    });
}

#[test]
fn ipv4_with_options_is_the_kernels() {
    with_program(|asked| {
        let packet = Packet::to(BOTH[0], 20_000);
        for first in 0..=u8::MAX {
            let mut frame = packet.frame();
            frame[packet.ip_offset()] = first;
            let expected = match (first >> 4, first & 15) {
                (4, 5) => Verdict::NoSocket,
                (4, _) => Verdict::Ipv4Options,
                _ => Verdict::NotIp,
            };
            assert_eq!(asked.about(&frame), expected, "{first:02x}");
        }
    });
}

#[test]
fn fragments_of_ipv4_are_the_kernels() {
    with_program(|asked| {
        let packet = Packet::to(BOTH[0], 20_000);
        for field in 0..=u16::MAX {
            let mut frame = packet.frame();
            let at = packet.ip_offset() + 6;
            frame[at..at + 2].copy_from_slice(&field.to_be_bytes());
            // Reserved bit and "don't fragment" are no fragmentation.
            let expected = match field & 0x3fff {
                0 => Verdict::NoSocket,
                _ => Verdict::Ipv4Fragment,
            };
            assert_eq!(asked.about(&frame), expected, "{field:04x}");
        }
    });
}

#[test]
fn every_protocol_but_udp_is_the_kernels() {
    with_program(|asked| {
        // IANA "IPv6 Extension Header Types", without ESP and the experimental ones, which hide what follows.
        const EXTENSIONS: [u8; 8] = [0, 43, 44, 51, 60, 135, 139, 140];
        for protocol in 0..=u8::MAX {
            let v4 = Packet::to(BOTH[0], 20_000);
            let mut frame = v4.frame();
            frame[v4.ip_offset() + 9] = protocol;
            let expected = match protocol {
                17 => Verdict::NoSocket,
                _ => Verdict::NotUdp,
            };
            assert_eq!(asked.about(&frame), expected, "IPv4 {protocol}");
            let v6 = Packet::to(BOTH[1], 20_000);
            let mut frame = v6.frame();
            frame[v6.ip_offset() + 6] = protocol;
            let expected = match protocol {
                17 => Verdict::NoSocket,
                _ if EXTENSIONS.contains(&protocol) => Verdict::Ipv6Extension,
                _ => Verdict::NotUdp,
            };
            assert_eq!(asked.about(&frame), expected, "IPv6 {protocol}");
        }
    });
}

#[test]
fn an_ip_header_of_the_wrong_version_is_not_ip() {
    with_program(|asked| {
        let packet = Packet::to(BOTH[1], 20_000);
        for version in 0..16u8 {
            let mut frame = packet.frame();
            frame[packet.ip_offset()] = version << 4;
            let expected = match version {
                6 => Verdict::NoSocket,
                _ => Verdict::NotIp,
            };
            assert_eq!(asked.about(&frame), expected, "version {version}");
        }
    });
}

#[test]
fn media_is_redirected_once_its_queue_has_a_socket_and_not_after() {
    with_program(|asked| {
        let (_peer, device) = veth("far", "near", 1);
        let mut umem = Umem::create(&UmemConfig::default()).expect("a UMEM");
        let config = SocketConfig::default();
        let socket = Socket::open(&device, 0, &mut umem, &config).expect("a socket");
        let frame = Packet::to(BOTH[0], 20_000).frame();
        assert_eq!(asked.about(&frame), Verdict::NoSocket);
        asked.program.register(&socket).expect("a free slot");
        let said = asked.program.test_run(&frame).expect("a test run");
        assert_eq!((said.verdict, said.redirected), (Verdict::Redirected, true));
        asked.program.unregister(0).expect("a slot");
        asked
            .program
            .unregister(0)
            .expect("an empty slot is no error");
        assert_eq!(asked.about(&frame), Verdict::NoSocket);
        asked.program.register(&socket).expect("a free slot");
        drop(socket);
        assert_eq!(asked.about(&frame), Verdict::NoSocket);
    });
}

#[test]
fn the_counters_count_what_was_asked() {
    with_program(|asked| {
        let media = Packet::to(BOTH[0], 20_000).frame();
        let other = Packet::to(BOTH[0], 19_999).frame();
        for _ in 0..3 {
            asked.about(&media);
        }
        asked.about(&other);
        let counts = asked.program.verdicts().expect("counters");
        assert_eq!(counts.of(Verdict::NoSocket), 3);
        assert_eq!(counts.of(Verdict::NotMediaPort), 1);
        assert_eq!(counts.total(), 4);
    });
}

#[test]
fn a_frame_too_short_for_ethernet_is_refused_by_the_kernel_not_by_a_panic() {
    with_program(|asked| {
        assert!(asked.program.test_run(&[0; 13]).is_err());
        assert_eq!(asked.program.verdicts().expect("counters").total(), 0);
        let (_peer, device) = veth("far", "near", 1);
        let attached = asked.program.attach(&device, AttachMode::Native);
        attached.expect("veth has native XDP").detach();
    });
}
