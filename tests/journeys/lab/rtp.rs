//! The ends of the audio: every packet says whose it is and which, so that each can be demanded once,
//! unchanged, from the right address.
//!
//! One thread drives all parties, a twentieth of them each millisecond, as real phones are spread: a
//! veth holds 256 packets, and a hundred phones that speak in the same instant would test the wire.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::network::Host;

/// G.711 at 20 ms: the payload's size and how often it comes.
const G711_PAYLOAD: usize = 160;
const SLOTS: usize = 20;
const SLOT: Duration = Duration::from_millis(1);

/// How long packets may take from end to end before they count as lost.
const PATIENCE: Duration = Duration::from_millis(600);

/// What a party sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// RTP, payload type 8, with so many bytes of payload, at least 16.
    Rtp(usize),
    /// RTCP: a sender report and an APP packet.
    Rtcp,
    /// UDPTL (T.38), with a primary packet of so many bytes, 16 to 127, and the one before as a secondary one.
    Udptl(u8),
}

/// A stream that can be told from every other: the same name and number always give the same bytes.
#[derive(Clone, Copy, Debug)]
struct Voice {
    name: u64,
    media: Media,
}

impl Voice {
    fn packet(self, number: u64) -> Vec<u8> {
        let mut packet = match self.media {
            Media::Rtp(_) => {
                let sequence = (self.name.wrapping_mul(7919).wrapping_add(number)) as u16;
                let timestamp = (number as u32).wrapping_mul(160);
                let mut header = vec![0x80, 8];
                header.extend(sequence.to_be_bytes());
                header.extend(timestamp.to_be_bytes());
                header.extend((self.name as u32).to_be_bytes());
                header
            }
            Media::Rtcp => {
                // RFC 3550 §6.4.1, no report blocks (7 words), then §6.7 with 16 bytes of data.
                let mut header = vec![0x80, 200, 0, 6];
                header.extend((self.name as u32).to_be_bytes());
                header.extend([0; 20]);
                header.extend([0x80, 204, 0, 6]);
                header.extend((self.name as u32).to_be_bytes());
                header.extend(b"TEST");
                header
            }
            Media::Udptl(_) => Vec::new(),
        };
        let body = packet.len();
        if let Media::Udptl(size) = self.media {
            return self.udptl(number, size);
        }
        packet.extend(self.name.to_be_bytes());
        packet.extend(number.to_be_bytes());
        if let Media::Rtp(size) = self.media {
            let mut noise = Noise(self.name ^ number.rotate_left(32));
            while packet.len() < body + size {
                packet.push(noise.next() as u8);
            }
        }
        packet
    }

    /// A UDPTL packet: sequence number from 0, primary packet, one secondary packet (redundancy).
    fn udptl(self, number: u64, size: u8) -> Vec<u8> {
        let mut packet = (number as u16).to_be_bytes().to_vec();
        packet.push(size);
        packet.extend(self.primary(number, size));
        packet.extend([0, u8::from(number > 0)]);
        if let Some(before) = number.checked_sub(1) {
            packet.push(size);
            packet.extend(self.primary(before, size));
        }
        packet
    }

    fn primary(self, number: u64, size: u8) -> Vec<u8> {
        let mut primary = self.name.to_be_bytes().to_vec();
        primary.extend(number.to_be_bytes());
        let mut noise = Noise(self.name ^ number.rotate_left(32));
        while primary.len() < usize::from(size) {
            primary.push(noise.next() as u8);
        }
        primary
    }

    /// The number that a packet says it has; `None` when it is not this voice's.
    fn number(self, packet: &[u8]) -> Option<u64> {
        let body = match self.media {
            Media::Rtp(_) => 12,
            Media::Rtcp => 40,
            Media::Udptl(_) => 3,
        };
        let word = |at: usize| -> Option<u64> {
            let bytes = packet.get(at..at + 8)?;
            Some(u64::from_be_bytes(bytes.try_into().ok()?))
        };
        (word(body)? == self.name).then(|| word(body + 8))?
    }
}

/// One end of a stream: a socket, what it says, and what it must hear.
#[derive(Debug)]
pub(crate) struct Party {
    socket: UdpSocket,
    /// Where it sends: the relay's port on its side.
    pub(crate) towards: Option<SocketAddr>,
    voice: Voice,
    hears: Option<Voice>,
    sent: u64,
    /// How often each number was heard.
    heard: BTreeMap<u64, u32>,
    altered: u64,
    strange: Vec<(SocketAddr, usize)>,
}

impl Party {
    /// A silent party whose socket is bound at a host.
    pub(crate) fn new(host: &Host, address: SocketAddr, media: Media) -> Self {
        let socket = host.udp(address);
        socket
            .set_nonblocking(true)
            .expect("a UDP socket can be non-blocking");
        Self {
            voice: Voice {
                name: name(address),
                media,
            },
            socket,
            towards: None,
            hears: None,
            sent: 0,
            heard: BTreeMap::new(),
            altered: 0,
            strange: Vec::new(),
        }
    }

    /// A party that speaks G.711.
    pub(crate) fn g711(host: &Host, address: SocketAddr) -> Self {
        Self::new(host, address, Media::Rtp(G711_PAYLOAD))
    }

    /// Where its socket is bound.
    pub(crate) fn address(&self) -> SocketAddr {
        self.socket
            .local_addr()
            .expect("a bound socket has an address")
    }

    /// Packets sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Different packets of the other party heard so far.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.len() as u64
    }

    /// Packets that it should not have heard.
    pub(crate) fn strange(&self) -> usize {
        self.strange.len()
    }

    /// Sends the next packet.
    pub(crate) fn speak(&mut self) {
        let Some(towards) = self.towards else { return };
        let packet = self.voice.packet(self.sent);
        self.socket
            .send_to(&packet, towards)
            .unwrap_or_else(|error| panic!("send to {towards}: {error}"));
        self.sent += 1;
    }

    /// Takes everything that has arrived.
    pub(crate) fn listen(&mut self) {
        let mut buffer = [0; 65536];
        // WouldBlock ends the turn; a late ICMP error of an earlier packet does no more.
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            let packet = &buffer[..length];
            let number = self.hears.and_then(|voice| voice.number(packet));
            match (self.hears, number) {
                (Some(voice), Some(number)) if Some(from) == self.towards => {
                    *self.heard.entry(number).or_default() += 1;
                    self.altered += u64::from(voice.packet(number) != packet);
                }
                _ => self.strange.push((from, length)),
            }
        }
    }

    /// Forgets what it heard and said, for another round of the same conversation.
    pub(crate) fn start_over(&mut self) {
        self.heard.clear();
        self.strange.clear();
        self.altered = 0;
        self.sent = 0;
    }
}

/// Two parties go over to other media at the same ports.
pub(crate) fn go_over(one: &mut Party, other: &mut Party, media: Media) {
    one.voice.media = media;
    other.voice.media = media;
    introduce(one, other);
}

/// Two parties of one stream hear each other.
pub(crate) fn introduce(one: &mut Party, other: &mut Party) {
    one.hears = Some(other.voice);
    other.hears = Some(one.voice);
}

/// All parties that have somewhere to send speak `packets` times, one packet every 20 ms, and listen until
/// everything has had time to arrive.
pub(crate) fn talk<'a>(parties: impl IntoIterator<Item = &'a mut Party>, packets: u64) {
    let mut parties: Vec<_> = parties.into_iter().collect();
    let start = Instant::now();
    for step in 0..packets.saturating_mul(SLOTS as u64) {
        let slot = (step % SLOTS as u64) as usize;
        for party in parties.iter_mut().skip(slot).step_by(SLOTS) {
            party.listen();
            party.speak();
        }
        let due = start + SLOT * u32::try_from(step + 1).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    hear_out(&mut parties);
}

/// Listens until nothing has come for a while.
fn hear_out(parties: &mut [&mut Party]) {
    let mut heard = 0;
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < PATIENCE {
        for party in parties.iter_mut() {
            party.listen();
        }
        let now = parties.iter().map(|party| party.heard()).sum();
        if now != heard {
            heard = now;
            quiet_since = Instant::now();
        }
        std::thread::sleep(SLOT * 5);
    }
}

/// Demands that `listener` heard everything that `speaker` said: once, unchanged, from where it sends
/// itself, and nothing else.
#[track_caller]
pub(crate) fn assert_heard_all(listener: &Party, speaker: &Party) {
    let lost: Vec<_> = (0..speaker.sent)
        .filter(|number| !listener.heard.contains_key(number))
        .collect();
    let doubled: Vec<_> = listener
        .heard
        .iter()
        .filter(|(_, times)| **times > 1)
        .collect();
    assert!(speaker.sent > 0, "{} said nothing", speaker.address());
    assert!(
        lost.is_empty()
            && doubled.is_empty()
            && listener.altered == 0
            && listener.strange.is_empty(),
        "{} -> {}: of {} packets lost {lost:?}, more than once {doubled:?}, altered {}, strange {:?}",
        speaker.address(),
        listener.address(),
        speaker.sent,
        listener.altered,
        listener.strange,
    );
}

/// Demands that both parties heard all of each other.
#[track_caller]
pub(crate) fn assert_both_heard_all(one: &Party, other: &Party) {
    assert_heard_all(one, other);
    assert_heard_all(other, one);
}

/// A stream's name: its first sender's address and port, spread over 64 bits.
fn name(address: SocketAddr) -> u64 {
    let text = address.to_string();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A repeatable sequence of numbers (splitmix64): the seed is the test's, so a failure can be run again.
#[derive(Clone, Debug)]
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
