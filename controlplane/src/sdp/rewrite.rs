//! The edit: our addresses in place of the party's, everything else as it came.
//!
//! Rewritten: the values of `o=` and `c=`, the port of `m=`, the value of `a=rtcp`. Removed: what would lead
//! media around the relay (ICE, alternative addresses, source filters) and bundling, which puts all
//! streams on one port. Every other line stays byte for byte, its ending included.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::description::Section;
use super::line::{Ending, Line, fields, is_token};
use super::stream::network_address;
use super::{Description, Profile};

/// What the `o=` line says of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The session id: stable for as long as the dialog lives.
    pub session: u64,
    /// The version: one more whenever what we send differs.
    pub version: u64,
}

/// What becomes of the `o=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginLine {
    /// It says this of us, and nothing of the party.
    Ours(Origin),
    /// It stays as it came, but for what is said here.
    Kept {
        /// The address is ours.
        address: bool,
        /// The version is this.
        version: Option<u64>,
    },
}

/// What becomes of `a=rtcp` (RFC 3605) where RTP is relayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RtcpLine {
    /// Where there is one it names our port, with our address if it had one.
    #[default]
    AsItCame,
    /// It is there, with the port alone.
    Port,
    /// It is there, with port and address.
    Full,
    /// It is not there.
    None,
}

/// What to put in the place of a party's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replacement<'a> {
    /// For the `o=` line.
    pub origin: OriginLine,
    /// For `o=`, `c=` and `a=rtcp`.
    pub address: IpAddr,
    /// An unspecified address in `c=` (the hold of RFC 2543) is replaced like any other; else it stays unspecified.
    pub zero_address: bool,
    /// For `a=rtcp`.
    pub rtcp_line: RtcpLine,
    /// One for each `m=` line; a missing one rejects.
    pub streams: &'a [StreamReplacement],
}

/// What becomes of one `m=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamReplacement {
    /// Port 0, and no RTCP.
    Reject,
    /// Our ports.
    Relay {
        /// The port that receives RTP.
        rtp: u16,
        /// The port that an `a=rtcp` line, if there is one, is to name.
        rtcp: u16,
        /// What becomes of the `a=rtcp-mux` line.
        mux: MuxLine,
        /// The transport protocol; `None`: that which it names.
        profile: Option<RtpProfile>,
    },
}

/// The transport protocols of RTP, by their names in `m=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RtpProfile {
    /// `RTP/AVP` (RFC 3551).
    Avp,
    /// `RTP/AVPF` (RFC 4585).
    Avpf,
    /// `RTP/SAVP` (RFC 3711).
    Savp,
    /// `RTP/SAVPF` (RFC 5124).
    Savpf,
}

impl RtpProfile {
    const ALL: [Self; 4] = [Self::Avp, Self::Avpf, Self::Savp, Self::Savpf];

    /// The one of this name, whatever its case.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|profile| name.eq_ignore_ascii_case(profile.name().as_bytes()))
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avp => "RTP/AVP",
            Self::Avpf => "RTP/AVPF",
            Self::Savp => "RTP/SAVP",
            Self::Savpf => "RTP/SAVPF",
        }
    }

    /// Whether its packets are encrypted: one cannot stand for the other without keys.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Savp | Self::Savpf)
    }
}

/// What becomes of `a=rtcp-mux`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MuxLine {
    /// Stays as it is, there or not.
    Keep,
    /// Is there, added when it was not.
    Insert,
    /// Is not there.
    Remove,
}

/// Attributes that are removed at every level: ICE (RFC 8839; `alt` in its first drafts, which old soft
/// phones still speak), alternative addresses (RFC 6947) and source filters (RFC 4570).
const REMOVED: [&str; 12] = [
    "candidate",
    "end-of-candidates",
    "remote-candidates",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "ice-pacing",
    "ice-lite",
    "ice-mismatch",
    "alt",
    "altc",
    "source-filter",
];

impl Description {
    /// The body with our addresses.
    pub fn rewrite(&self, replacement: &Replacement<'_>) -> Vec<u8> {
        let mut lines: Vec<Line> = Vec::new();
        for line in &self.session {
            lines.extend(session_line(line, replacement));
        }
        for (index, section) in self.media.iter().enumerate() {
            let stream = replacement.streams.get(index).copied();
            let stream = stream.unwrap_or(StreamReplacement::Reject);
            section.rewrite(stream, replacement, &mut lines);
        }
        // A removed last line without an ending leaves the one before it with its own: a body may end so.
        let mut body = Vec::new();
        lines.iter().for_each(|line| line.write(&mut body));
        body
    }
}

impl Section {
    fn rewrite(
        &self,
        stream: StreamReplacement,
        replacement: &Replacement<'_>,
        to: &mut Vec<Line>,
    ) {
        let start = to.len();
        for (index, line) in self.lines.iter().enumerate() {
            if index == 0 {
                to.push(self.media_line(line, stream));
            } else {
                to.extend(media_level_line(line, stream, replacement));
            }
        }
        let mux = match stream {
            StreamReplacement::Relay { mux, .. } => mux,
            StreamReplacement::Reject => MuxLine::Keep,
        };
        let has_mux = to[start..].iter().any(is_mux);
        if mux == MuxLine::Insert && !has_mux {
            insert_attribute(to, start, b"a=rtcp-mux");
        }
        let has_rtcp = to[start..]
            .iter()
            .any(|line| line.attribute_named("rtcp").is_some());
        if let Some(line) = self.rtcp_line(stream, replacement).filter(|_| !has_rtcp) {
            insert_attribute(to, start, line.as_bytes());
        }
    }

    /// The `a=rtcp` line that has to be there.
    fn rtcp_line(
        &self,
        stream: StreamReplacement,
        replacement: &Replacement<'_>,
    ) -> Option<String> {
        let StreamReplacement::Relay { rtcp, .. } = stream else {
            return None;
        };
        if self.head.profile() == Some(Profile::Udptl) {
            return None;
        }
        match replacement.rtcp_line {
            RtcpLine::AsItCame | RtcpLine::None => None,
            RtcpLine::Port => Some(format!("a=rtcp:{rtcp}")),
            RtcpLine::Full => Some(format!("a=rtcp:{rtcp} {}", network(replacement.address))),
        }
    }

    fn media_line(&self, line: &Line, stream: StreamReplacement) -> Line {
        let (port, profile) = match stream {
            StreamReplacement::Reject => (0, None),
            StreamReplacement::Relay { rtp, profile, .. } => (rtp, profile),
        };
        let (port_at, protocol_at) = (&self.head.port_at, &self.head.protocol_at);
        let protocol = match profile {
            Some(profile) if RtpProfile::of_name(&self.head.protocol) != Some(profile) => {
                profile.name().as_bytes()
            }
            _ => &line.text[protocol_at.clone()],
        };
        let text = [
            &line.text[..port_at.start],
            port.to_string().as_bytes(),
            &line.text[port_at.end..protocol_at.start],
            protocol,
            &line.text[protocol_at.end..],
        ]
        .concat();
        Line {
            text,
            ending: line.ending,
        }
    }
}

fn session_line(line: &Line, replacement: &Replacement<'_>) -> Option<Line> {
    if let Some(value) = line.value(b'o') {
        return Some(match replacement.origin {
            OriginLine::Ours(Origin { session, version }) => {
                let network = network(replacement.address);
                with_text(line, format!("o=- {session} {version} {network}"))
            }
            OriginLine::Kept { address, version } => {
                let address = address.then_some(replacement.address);
                with_origin(line, value, address, version)
            }
        });
    }
    common_line(line, replacement)
}

/// `o=name session version IN IP4 address` with another version or address; what has no such shape stays.
fn with_origin(line: &Line, value: &[u8], address: Option<IpAddr>, version: Option<u64>) -> Line {
    let parts: Vec<_> = fields(value).collect();
    let [_, session, former, net, _, _] = parts.as_slice() else {
        return line.clone();
    };
    let mut text = [b"o=", &value[..session.end], b" "].concat();
    match version {
        Some(version) => text.extend_from_slice(version.to_string().as_bytes()),
        None => text.extend_from_slice(&value[former.clone()]),
    }
    text.push(b' ');
    match address {
        Some(address) => text.extend_from_slice(network(address).as_bytes()),
        None => text.extend_from_slice(&value[net.start..]),
    }
    Line {
        text,
        ending: line.ending,
    }
}

fn media_level_line(
    line: &Line,
    stream: StreamReplacement,
    replacement: &Replacement<'_>,
) -> Option<Line> {
    let address = replacement.address;
    if let Some(value) = line.attribute_named("rtcp") {
        let StreamReplacement::Relay { rtcp, .. } = stream else {
            return None;
        };
        let with_address = match replacement.rtcp_line {
            RtcpLine::None => return None,
            RtcpLine::AsItCame => fields(value).count() > 1,
            RtcpLine::Port => false,
            RtcpLine::Full => true,
        };
        let suffix = if with_address {
            format!(" {}", network(address))
        } else {
            String::new()
        };
        return Some(with_text(line, format!("a=rtcp:{rtcp}{suffix}")));
    }
    if is_mux(line)
        && matches!(
            stream,
            StreamReplacement::Relay {
                mux: MuxLine::Remove,
                ..
            }
        )
    {
        return None;
    }
    common_line(line, replacement)
}

/// The lines that are treated alike at both levels.
fn common_line(line: &Line, replacement: &Replacement<'_>) -> Option<Line> {
    let address = replacement.address;
    if let Some(value) = line.value(b'c') {
        let parts: Vec<_> = fields(value).map(|range| &value[range]).collect();
        let held = network_address(&parts).is_some_and(|address| address.is_unspecified());
        let address = if held && !replacement.zero_address {
            unspecified_like(address)
        } else {
            address
        };
        return Some(with_text(line, format!("c={}", network(address))));
    }
    let Some((name, value)) = line.attribute() else {
        return Some(line.clone());
    };
    let bundle = is_token(name, "group") && value.is_some_and(is_bundle);
    let removed = REMOVED.iter().any(|removed| is_token(name, removed));
    (!bundle && !removed).then(|| line.clone())
}

fn is_bundle(value: &[u8]) -> bool {
    fields(value)
        .next()
        .is_some_and(|range| is_token(&value[range], "BUNDLE"))
}

fn is_mux(line: &Line) -> bool {
    line.attribute_named("rtcp-mux").is_some()
}

/// Adds an attribute to the section that begins at `start`: after its last line of the form `x=…`, so that
/// blank lines at the end of the body stay at its end.
pub(super) fn insert_attribute(lines: &mut Vec<Line>, start: usize, text: &[u8]) {
    let is_typed = |line: &Line| matches!(line.text.as_slice(), [_, b'=', ..]);
    let last = lines[start..]
        .iter()
        .rposition(is_typed)
        .map_or(start, |offset| start + offset);
    let usual = match lines[0].ending {
        Ending::None => Ending::CrLf,
        ending => ending,
    };
    let ending = lines[last].ending;
    if ending == Ending::None {
        lines[last].ending = usual;
    }
    lines.insert(
        last + 1,
        Line {
            text: text.to_vec(),
            ending,
        },
    );
}

fn with_text(line: &Line, text: String) -> Line {
    Line {
        text: text.into_bytes(),
        ending: line.ending,
    }
}

fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("IN IP4 {address}"),
        IpAddr::V6(address) => format!("IN IP6 {address}"),
    }
}

fn unspecified_like(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=alice 1 7 IN IP4 192.0.2.1\r\ns=call\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        a=group:BUNDLE 0 1\r\na=group:LS 0 1\r\na=ice-lite\r\nx=what is this\r\n\
        m=audio 5000  RTP/AVP 8  101 \r\na=rtcp:5003 IN IP4 192.0.2.1\r\na=rtcp-mux\r\n\
        a=candidate:1 1 UDP 1 192.0.2.1 5000 typ host\r\n\
        a=alt:1 1 : a b 192.0.2.1 5000\r\na=ice-ufrag:x\r\na=source-filter: incl IN IP4 * 192.0.2.1\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n\
        m=video 5004 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\na=altc:1 IP6 2001:db8::1 5004\r\na=rtcp:5005\r\n";

    fn rewrite(body: &str, address: &str, streams: &[StreamReplacement]) -> String {
        let description = Description::parse(body.as_bytes()).expect("valid");
        let rewritten = description.rewrite(&Replacement {
            origin: OriginLine::Ours(Origin {
                session: 42,
                version: 3,
            }),
            address: address.parse().expect("an address"),
            zero_address: false,
            rtcp_line: RtcpLine::AsItCame,
            streams,
        });
        String::from_utf8(rewritten).expect("as it came")
    }

    const fn relay(rtp: u16, rtcp: u16, mux: MuxLine) -> StreamReplacement {
        StreamReplacement::Relay {
            rtp,
            rtcp,
            mux,
            profile: None,
        }
    }

    #[test]
    fn our_addresses_take_the_place_of_theirs_and_the_rest_stays() {
        let streams = [
            relay(20_000, 20_001, MuxLine::Keep),
            relay(20_002, 20_003, MuxLine::Keep),
        ];
        assert_eq!(
            rewrite(OFFER, "198.51.100.1", &streams),
            "v=0\r\no=- 42 3 IN IP4 198.51.100.1\r\ns=call\r\nc=IN IP4 198.51.100.1\r\nt=0 0\r\n\
             a=group:LS 0 1\r\nx=what is this\r\n\
             m=audio 20000  RTP/AVP 8  101 \r\na=rtcp:20001 IN IP4 198.51.100.1\r\na=rtcp-mux\r\n\
             a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n\
             m=video 20002 RTP/AVP 96\r\nc=IN IP4 0.0.0.0\r\na=rtcp:20003\r\n"
        );
    }

    #[test]
    fn a_hold_address_takes_the_family_of_the_other_side() {
        let body = rewrite(OFFER, "2001:db8::9", &[]);
        assert!(
            body.contains("c=IN IP6 2001:db8::9\r\n") && body.contains("c=IN IP6 ::\r\n"),
            "{body}"
        );
    }

    #[test]
    fn a_rejected_stream_has_port_0_and_no_rtcp() {
        let body = rewrite(
            OFFER,
            "198.51.100.1",
            &[relay(20_000, 20_001, MuxLine::Keep)],
        );
        assert!(body.contains("m=video 0 RTP/AVP 96\r\n"), "{body}");
        assert!(!body.contains("5005"), "{body}");
    }

    #[test]
    fn mux_is_added_and_removed_as_told() {
        let with = rewrite(
            "v=0\no=-\nm=audio 1 RTP/AVP 0\na=x\n\n\n",
            "192.0.2.9",
            &[relay(8, 8, MuxLine::Insert)],
        );
        assert!(
            with.ends_with("m=audio 8 RTP/AVP 0\na=x\na=rtcp-mux\n\n\n"),
            "{with}"
        );
        let unended = rewrite(
            "v=0\r\no=-\r\nm=audio 1 RTP/AVP 0",
            "192.0.2.9",
            &[relay(8, 8, MuxLine::Insert)],
        );
        assert!(
            unended.ends_with("m=audio 8 RTP/AVP 0\r\na=rtcp-mux"),
            "{unended}"
        );
        let there = rewrite(OFFER, "192.0.2.9", &[relay(8, 8, MuxLine::Insert)]);
        assert_eq!(there.matches("a=rtcp-mux").count(), 1);
        let without = rewrite(OFFER, "192.0.2.9", &[relay(8, 9, MuxLine::Remove)]);
        assert_eq!(without.matches("a=rtcp-mux").count(), 0);
    }
}
