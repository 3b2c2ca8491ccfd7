//! What a session description says of each media stream, as far as a relay must know.

use std::net::{IpAddr, SocketAddr};

use super::description::Section;
use super::line::{Line, fields, is_token, number};
use contract::PayloadTypes;

use super::{Description, SdpError, bandwidth, codecs};

/// One `m=` line's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The media type as it came: `audio`, `video` …
    pub media: Vec<u8>,
    /// What its packets are.
    pub profile: Profile,
    /// Whether media is to flow.
    pub usage: Use,
    /// Whether its `c=` line is IPv6; meaningful only when there is one.
    pub is_ipv6: bool,
    /// Where the party receives RTP, or UDPTL; `None` when its address is unspecified (the hold of RFC 2543) or
    /// the stream is not used.
    pub rtp: Option<SocketAddr>,
    /// Where the party receives RTCP when it is not muxed: `a=rtcp` (RFC 3605), or the next port. UDPTL has none.
    pub rtcp: Option<SocketAddr>,
    /// `a=rtcp-mux` (RFC 5761).
    pub mux: bool,
    /// The direction, as the party sees it.
    pub direction: Direction,
    /// The formats and their names, for people.
    pub codecs: String,
    /// What one direction takes on the wire at the most, in bits a second, headers of IP included; 0 when
    /// nothing is relayed.
    pub bitrate: u64,
    /// The RTP clock of the first format, in Hz.
    pub clock_rate: Option<u32>,
    /// The payload types of what the relay itself can say or hear.
    pub spoken: Spoken,
}

/// The payload types of the formats that the relay itself knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// µ-law (RFC 3551 §4.5.14), at 8 kHz.
    pub pcmu: Option<u8>,
    /// A-law, at 8 kHz.
    pub pcma: Option<u8>,
    /// Which of the two is named first.
    pub prefers_pcma: bool,
    /// Key presses (RFC 4733), of any clock rate.
    pub events: PayloadTypes,
    /// The first of them with the clock rate of the first format, or else the first, and its clock rate in Hz.
    pub event: Option<(u8, u32)>,
    /// The media time of a packet that the party asks for (`a=ptime`), in ms.
    pub ptime: Option<u8>,
}

/// What the packets of a stream are, by its transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// RTP: RFC 3551 and 4585. Also stands for what is not relayed.
    #[default]
    Rtp,
    /// SRTP: RFC 3711 and 5124.
    Srtp,
    /// UDPTL (ITU-T T.38, registered by RFC 3362): fax.
    Udptl,
}

impl Profile {
    /// Its name in lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtp => "rtp",
            Self::Srtp => "srtp",
            Self::Udptl => "udptl",
        }
    }
}

/// Whether a stream's media is to flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// Port 0: offered without use, rejected or removed (RFC 3264 §5.1, §6, §8.2).
    Zero,
    /// The relay cannot carry it: neither RTP nor UDPTL, or several ports under one `m=` line.
    Unsupported,
    /// To be relayed.
    Relay,
}

/// The direction of a stream, as the party that says so sees it (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both ways; what it is when nothing is said.
    #[default]
    SendRecv,
    /// It only sends.
    SendOnly,
    /// It only receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    const ALL: [Self; 4] = [
        Self::SendRecv,
        Self::SendOnly,
        Self::RecvOnly,
        Self::Inactive,
    ];

    /// The attribute's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the party sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the party receives.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    pub(super) fn in_lines(lines: &[Line]) -> Option<Self> {
        lines.iter().rev().find_map(|line| {
            let (name, _) = line.attribute()?;
            Self::ALL
                .into_iter()
                .find(|direction| is_token(name, direction.name()))
        })
    }
}

impl Description {
    /// The meaning of every `m=` line, in order.
    pub fn streams(&self) -> Result<Vec<Stream>, SdpError> {
        let session_address = connection(&self.session, 1)?;
        let session_direction = Direction::in_lines(&self.session).unwrap_or_default();
        self.media
            .iter()
            .map(|section| {
                let mut stream = section.stream(session_address, session_direction)?;
                if stream.usage == Use::Relay {
                    stream.bitrate = bandwidth::estimate(section, &self.session, stream.is_ipv6);
                }
                Ok(stream)
            })
            .collect()
    }
}

impl Section {
    fn stream(
        &self,
        session_address: Option<IpAddr>,
        session_direction: Direction,
    ) -> Result<Stream, SdpError> {
        let mut stream = Stream {
            media: self.head.media.clone(),
            profile: self.head.profile().unwrap_or_default(),
            usage: self.usage(),
            is_ipv6: false,
            rtp: None,
            rtcp: None,
            mux: false,
            direction: Direction::in_lines(&self.lines).unwrap_or(session_direction),
            codecs: codecs::summary(self),
            bitrate: 0,
            clock_rate: codecs::clock_rate(self),
            spoken: codecs::spoken(self),
        };
        if stream.usage != Use::Relay {
            return Ok(stream);
        }
        let address = connection(&self.lines, self.first_line)?
            .or(session_address)
            .ok_or(SdpError::NoConnection {
                line: self.first_line,
            })?;
        stream.is_ipv6 = address.is_ipv6();
        stream.rtp = receiver(address, self.head.port);
        if stream.profile == Profile::Udptl {
            return Ok(stream);
        }
        stream.rtcp = self.rtcp(address)?;
        stream.mux = self
            .lines
            .iter()
            .any(|line| line.attribute_named("rtcp-mux").is_some());
        Ok(stream)
    }

    fn usage(&self) -> Use {
        match (self.head.port, self.head.profile(), self.head.port_count) {
            (0, _, _) => Use::Zero,
            (_, Some(_), 1) => Use::Relay,
            _ => Use::Unsupported,
        }
    }

    /// `a=rtcp:port [IN IP4|IP6 address]` (RFC 3605 §2.1), or the port after RTP's, whether that is odd or
    /// even. A port that is not there (after 65535, or 0) means that the party takes no RTCP.
    fn rtcp(&self, address: IpAddr) -> Result<Option<SocketAddr>, SdpError> {
        for (offset, line) in self.lines.iter().enumerate() {
            let Some(value) = line.attribute_named("rtcp") else {
                continue;
            };
            let at = self.first_line + offset;
            let mut parts = fields(value).map(|range| &value[range]);
            let port = parts
                .next()
                .map(<[u8]>::trim_ascii_end)
                .and_then(number::<u16>);
            let port = port.ok_or(SdpError::BadRtcp { line: at })?;
            let rest: Vec<_> = parts.collect();
            let address = match rest.as_slice() {
                [] => address,
                _ => network_address(&rest).ok_or(SdpError::BadAddress { line: at })?,
            };
            return Ok(receiver(address, port));
        }
        Ok(self
            .head
            .port
            .checked_add(1)
            .and_then(|port| receiver(address, port)))
    }
}

/// Somebody to send to; nobody at an unspecified address or port 0.
fn receiver(address: IpAddr, port: u16) -> Option<SocketAddr> {
    (!address.is_unspecified() && port != 0).then(|| SocketAddr::new(address, port))
}

/// The address of the first `c=` line among these; every other must be valid too.
pub(super) fn connection(lines: &[Line], first_line: usize) -> Result<Option<IpAddr>, SdpError> {
    let mut found = None;
    for (offset, line) in lines.iter().enumerate() {
        let Some(value) = line.value(b'c') else {
            continue;
        };
        let parts: Vec<_> = fields(value).map(|range| &value[range]).collect();
        let line = first_line + offset;
        let address = network_address(&parts).ok_or(SdpError::BadAddress { line })?;
        found.get_or_insert(address);
    }
    Ok(found)
}

/// `IN IP4 192.0.2.1` or `IN IP6 2001:db8::1`: a numeric address that is unicast or unspecified. Names are
/// refused: nothing here resolves them. So are suffixes (`/127`): they are multicast's. An IPv4 address mapped into IPv6 is
/// that IPv4 address.
pub(super) fn network_address(parts: &[&[u8]]) -> Option<IpAddr> {
    let [net, family, address] = parts else {
        return None;
    };
    let address: IpAddr = std::str::from_utf8(address.trim_ascii_end())
        .ok()?
        .parse()
        .ok()?;
    let family_name = if address.is_ipv6() { "IP6" } else { "IP4" };
    let broadcast = IpAddr::from([255, 255, 255, 255]);
    let unicast = !address.is_multicast() && address != broadcast;
    // A host with one socket for both families writes its IPv4 address as an IPv6 one (RFC 5118 §4.9). No packet of
    // IPv6 would get there.
    let real = address.to_canonical();
    (is_token(net, "IN") && is_token(family, family_name) && unicast).then_some(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn streams(media: &str) -> Result<Vec<Stream>, SdpError> {
        let body = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n{media}");
        Description::parse(body.as_bytes())?.streams()
    }

    fn one(media: &str) -> Stream {
        streams(media).expect("valid").remove(0)
    }

    fn at(text: &str) -> Option<SocketAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn the_media_s_own_connection_wins_over_the_session_s() {
        let both = streams(
            "c=IN IP4 192.0.2.1\r\nm=audio 5000 RTP/AVP 0\r\nm=video 5003 RTP/AVPF 96\r\nc=IN IP6 2001:db8::1\r\n",
        )
        .expect("valid");
        assert_eq!(
            (both[0].rtp, both[0].rtcp),
            (at("192.0.2.1:5000"), at("192.0.2.1:5001"))
        );
        assert_eq!(
            (both[1].rtp, both[1].rtcp),
            (at("[2001:db8::1]:5003"), at("[2001:db8::1]:5004"))
        );
        assert!(!both[0].is_ipv6 && both[1].is_ipv6);
    }

    #[test]
    fn rtcp_may_have_a_port_and_an_address_of_its_own() {
        let stream = one("c=IN IP4 192.0.2.1\nm=audio 5000 RTP/AVP 0\na=rtcp:6001\n");
        assert_eq!(stream.rtcp, at("192.0.2.1:6001"));
        let stream =
            one("c=IN IP4 192.0.2.1\nm=audio 5000 RTP/AVP 0\na=rtcp:6001 IN IP4 192.0.2.9\n");
        assert_eq!(stream.rtcp, at("192.0.2.9:6001"));
        let stream = one("c=IN IP4 192.0.2.1\nm=audio 65535 RTP/AVP 0\n");
        assert_eq!((stream.rtp, stream.rtcp), (at("192.0.2.1:65535"), None));
        assert!(one("c=IN IP4 192.0.2.1\nm=audio 5000 RTP/AVP 0\na=rtcp-mux\n").mux);
    }

    #[test]
    fn an_unspecified_address_is_a_hold() {
        let stream = one("c=IN IP4 0.0.0.0\r\nm=audio 5000 RTP/AVP 0\r\n");
        assert_eq!(
            (stream.usage, stream.rtp, stream.rtcp),
            (Use::Relay, None, None)
        );
        assert!(one("c=IN IP6 ::\r\nm=audio 5000 RTP/AVP 0\r\n").is_ipv6);
    }

    #[test]
    fn what_the_relay_cannot_carry_is_told_from_what_is_not_used() {
        let usage = |m: &str| one(&format!("c=IN IP4 192.0.2.1\r\nm={m}\r\n")).usage;
        assert_eq!(usage("audio 0 RTP/AVP 0"), Use::Zero);
        assert_eq!(usage("image 5000 udptl t38"), Use::Relay);
        assert_eq!(usage("image 5000 tcptl t38"), Use::Unsupported);
        assert_eq!(usage("image 0 udptl t38"), Use::Zero);
        assert_eq!(usage("audio 5000 UDP/TLS/RTP/SAVPF 0"), Use::Unsupported);
        assert_eq!(usage("audio 5000/2 RTP/AVP 0"), Use::Unsupported);
        assert_eq!(usage("audio 5000 rtp/savp 0"), Use::Relay);
    }

    #[test]
    fn fax_over_udptl_has_one_port_and_no_rtcp() {
        let fax =
            "c=IN IP4 192.0.2.1\r\nm=image 5000 UDPTL t38\r\na=T38FaxVersion:0\r\na=rtcp-mux\r\n";
        let stream = one(fax);
        assert_eq!((stream.usage, stream.profile), (Use::Relay, Profile::Udptl));
        assert_eq!((stream.rtp, stream.rtcp), (at("192.0.2.1:5000"), None));
        assert!(!stream.mux);
        assert_eq!((&*stream.codecs, stream.clock_rate), ("t38", None));
        assert_eq!(
            one("c=IN IP4 0.0.0.0\r\nm=image 5000 udptl t38\r\n").rtp,
            None
        );
    }

    #[test]
    fn the_transport_tells_what_the_packets_are() {
        let of = |m: &str| one(&format!("c=IN IP4 192.0.2.1\r\nm={m}\r\n")).profile;
        assert_eq!(of("audio 5000 RTP/AVPF 0"), Profile::Rtp);
        assert_eq!(of("audio 5000 RTP/SAVP 0"), Profile::Srtp);
        assert_eq!(of("audio 5000 rtp/savpf 0"), Profile::Srtp);
        assert_eq!(of("image 5000 udptl t38"), Profile::Udptl);
    }

    #[test]
    fn the_clock_is_the_first_format_s() {
        let of = |m: &str| one(&format!("c=IN IP4 192.0.2.1\r\nm=audio 5 RTP/AVP {m}\r\n"));
        assert_eq!(of("8 0").clock_rate, Some(8_000));
        let opus = "96 8\r\na=rtpmap:96 opus/48000/2";
        assert_eq!(of(opus).clock_rate, Some(48_000));
        assert_eq!(of("97\r\na=rtpmap:97 odd/0").clock_rate, None);
        assert_eq!(of("97").clock_rate, None);
    }

    #[test]
    fn a_direction_of_the_session_holds_until_the_media_says_otherwise() {
        let both = streams(
            "c=IN IP4 192.0.2.1\r\na=sendonly\r\nm=audio 5000 RTP/AVP 0\r\nm=audio 5002 RTP/AVP 0\r\na=inactive\r\n",
        )
        .expect("valid");
        assert_eq!(both[0].direction, Direction::SendOnly);
        assert_eq!(both[1].direction, Direction::Inactive);
        assert_eq!(
            one("c=IN IP4 192.0.2.1\r\nm=audio 5000 RTP/AVP 0\r\n").direction,
            Direction::SendRecv
        );
    }

    #[test]
    fn wrong_addresses_are_refused_with_their_line() {
        for wrong in [
            "IN IP4 host.example",
            "IN IP4 224.2.1.1/127",
            "IN IP4 239.1.1.1",
            "IN IP4 255.255.255.255",
            "IN IP6 ff02::1",
            "IN IP6 192.0.2.1",
            "IN IP4 2001:db8::1",
            "IN IP6 fe80::1%eth0",
            "IP4 192.0.2.1",
            "IN IP4 192.0.2.1 more",
            "",
        ] {
            let found = streams(&format!("c={wrong}\r\nm=audio 5000 RTP/AVP 0\r\n"));
            assert_eq!(found, Err(SdpError::BadAddress { line: 4 }), "{wrong}");
        }
        let media = "c=IN IP4 192.0.2.1\r\nm=audio 5000 RTP/AVP 0\r\n";
        assert_eq!(
            streams(&format!("{media}a=rtcp:x\r\n")),
            Err(SdpError::BadRtcp { line: 6 })
        );
        assert_eq!(
            streams(&format!("{media}a=rtcp:5 IN IP4 x\r\n")),
            Err(SdpError::BadAddress { line: 6 })
        );
        assert_eq!(
            streams("m=audio 5000 RTP/AVP 0\r\n"),
            Err(SdpError::NoConnection { line: 4 })
        );
        assert!(
            streams("m=audio 0 RTP/AVP 0\r\n").is_ok(),
            "an unused stream needs no address"
        );
    }
}
