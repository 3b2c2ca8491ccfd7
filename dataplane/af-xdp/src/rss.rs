//! Which queue a device gives a packet to: the header fields that it hashes, its key and its table (receive-side
//! scaling), read and set through `ioctl(SIOCETHTOOL)`.
//!
//! ```text
//!   fields of the headers ─► hash(key) ─► low bits ─► indirection table ─► RX queue
//! ```
//!
//! Nothing is assumed: a driver that does not know a command, or refuses a choice of fields, says so here.

use std::fmt;
use std::mem::{offset_of, size_of};

use crate::Error;
use crate::device::Query;

/// The UDP packets that fields are chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UdpOver {
    /// `UDP_V4_FLOW`.
    V4,
    /// `UDP_V6_FLOW`.
    V6,
}

impl UdpOver {
    const fn flow_type(self) -> u32 {
        match self {
            Self::V4 => 0x02,
            Self::V6 => 0x06,
        }
    }

    /// As ethtool names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "udp4",
            Self::V6 => "udp6",
        }
    }
}

/// A set of header fields (`RXH_…` of include/uapi/linux/ethtool.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashFields(u64);

impl HashFields {
    /// The source address.
    pub const SOURCE: Self = Self(1 << 4);
    /// The destination address.
    pub const DESTINATION: Self = Self(1 << 5);
    /// Bytes 0 and 1 of the UDP header: the source port.
    pub const SOURCE_PORT: Self = Self(1 << 6);
    /// Bytes 2 and 3 of the UDP header: the destination port.
    pub const DESTINATION_PORT: Self = Self(1 << 7);

    /// The fields of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of the other's fields are in it.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for HashFields {
    /// As `ethtool -N DEV rx-flow-hash` spells them; a dash for none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LETTERS: [(u64, char); 8] = [
            (1 << 1, 'm'),
            (1 << 2, 'v'),
            (1 << 3, 't'),
            (HashFields::SOURCE.0, 's'),
            (HashFields::DESTINATION.0, 'd'),
            (HashFields::SOURCE_PORT.0, 'f'),
            (HashFields::DESTINATION_PORT.0, 'n'),
            (1 << 31, 'r'),
        ];
        let has = |&&(bit, _): &&(u64, char)| self.0 & bit != 0;
        let letters: String = LETTERS
            .iter()
            .filter(has)
            .map(|(_, letter)| letter)
            .collect();
        let known = LETTERS.iter().fold(0, |known, (bit, _)| known | bit);
        match (letters.as_str(), self.0 & !known) {
            ("", 0) => f.write_str("-"),
            (letters, 0) => f.write_str(letters),
            // Such as a GTP tunnel's number or the IPv6 flow label.
            (letters, other) => write!(f, "{letters}+{other:#x}"),
        }
    }
}

/// How a device turns fields into queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rss {
    /// The hash function.
    pub function: HashFunction,
    /// Whether the fields are mixed before they are hashed, so that both directions of a flow meet
    /// (`input_xfrm`).
    pub symmetric: bool,
    /// The queue for each remainder of the hash by the table's length.
    pub indirection: Vec<u32>,
    /// The key.
    pub key: Vec<u8>,
}

/// A hash function of receive-side scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashFunction {
    /// Microsoft's, the usual one.
    Toeplitz,
    /// Exclusive or of the fields' bytes.
    Xor,
    /// CRC-32.
    Crc32,
    /// The device does not say, or something newer.
    Other,
}

impl HashFunction {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Toeplitz => "toeplitz",
            Self::Xor => "xor",
            Self::Crc32 => "crc32",
            Self::Other => "unknown",
        }
    }

    const fn from_bits(bits: u8) -> Self {
        match bits {
            1 => Self::Toeplitz,
            2 => Self::Xor,
            4 => Self::Crc32,
            _ => Self::Other,
        }
    }
}

/// A device's hashing, to ask and to change. Stays with the network namespace that it was made in.
#[derive(Debug)]
pub struct RxFlowHash {
    query: Query,
}

impl RxFlowHash {
    /// Of the device of this name.
    pub fn of(device: &str) -> Result<Self, Error> {
        let query = Query::new(device)?;
        Ok(Self { query })
    }

    /// The fields that the queue of such a packet depends on; `None` when the driver does not say.
    pub fn fields(&self, over: UdpOver) -> Result<Option<HashFields>, Error> {
        let mut request = FlowHashRequest::new(ETHTOOL_GRXFH, over, HashFields(0));
        let answered = self
            .query
            .ethtool_if_it_can(&mut request, "ioctl(ETHTOOL_GRXFH)")?;
        Ok(answered.then_some(HashFields(request.fields)))
    }

    /// Chooses the fields. `false`: the driver cannot do this choice, and all is as it was. Read them back: a
    /// driver may take a choice and do another.
    pub fn set_fields(&self, over: UdpOver, fields: HashFields) -> Result<bool, Error> {
        let mut request = FlowHashRequest::new(ETHTOOL_SRXFH, over, fields);
        self.query
            .ethtool_if_it_can(&mut request, "ioctl(ETHTOOL_SRXFH)")
    }

    /// The function, table and key; `None` when the driver does not say.
    pub fn rss(&self) -> Result<Option<Rss>, Error> {
        const CALL: &str = "ioctl(ETHTOOL_GRSSH)";
        let mut sizes = RssHeader::asking(0, 0);
        if !self.query.ethtool_if_it_can(&mut sizes, CALL)? {
            return Ok(None);
        }
        let (entries, key_bytes) = (sizes.entries, sizes.key_bytes);
        if entries > MOST_ENTRIES || key_bytes > MOST_KEY_BYTES {
            return Ok(None);
        }
        let mut answer = RssAnswer::asking(entries, key_bytes);
        if !self.query.ethtool_if_it_can(&mut *answer, CALL)? {
            return Ok(None);
        }
        Ok(answer.read())
    }
}

const ETHTOOL_GRXFH: u32 = 0x29;
const ETHTOOL_SRXFH: u32 = 0x2a;
const ETHTOOL_GRSSH: u32 = 0x46;

/// Entries of an indirection table that are read: mlx5 has the largest known, 4096 for 1024 queues.
const MOST_ENTRIES: u32 = 16_384;
/// Bytes of a key that are read: 52 is the largest known.
const MOST_KEY_BYTES: u32 = 1024;

/// `struct ethtool_rxnfc`; the flow specification in its middle is not used here.
#[repr(C)]
#[derive(Debug)]
struct FlowHashRequest {
    command: u32,
    flow_type: u32,
    fields: u64,
    specification: [u64; 21],
    context: u32,
    _pad: u32,
}

const _: () = assert!(size_of::<FlowHashRequest>() == 192);
const _: () = assert!(offset_of!(FlowHashRequest, fields) == 8);
const _: () = assert!(offset_of!(FlowHashRequest, context) == 184);

impl FlowHashRequest {
    const fn new(command: u32, over: UdpOver, fields: HashFields) -> Self {
        Self {
            command,
            flow_type: over.flow_type(),
            fields: fields.0,
            specification: [0; 21],
            context: 0,
            _pad: 0,
        }
    }
}

/// `struct ethtool_rxfh` without its table and key.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct RssHeader {
    command: u32,
    context: u32,
    entries: u32,
    key_bytes: u32,
    function: u8,
    transformation: u8,
    _reserved: [u8; 2],
    _reserved_too: u32,
}

const _: () = assert!(size_of::<RssHeader>() == 24);
const _: () = assert!(offset_of!(RssHeader, function) == 16);

impl RssHeader {
    const fn asking(entries: u32, key_bytes: u32) -> Self {
        Self {
            command: ETHTOOL_GRSSH,
            context: 0,
            entries,
            key_bytes,
            function: 0,
            transformation: 0,
            _reserved: [0; 2],
            _reserved_too: 0,
        }
    }
}

/// `struct ethtool_rxfh` with room for the longest table and key. They follow each other without a gap, the
/// table as u32.
#[repr(C)]
struct RssAnswer {
    header: RssHeader,
    config: [u32; MOST_ENTRIES as usize + MOST_KEY_BYTES as usize / 4],
}

impl RssAnswer {
    fn asking(entries: u32, key_bytes: u32) -> Box<Self> {
        Box::new(Self {
            header: RssHeader::asking(entries, key_bytes),
            config: [0; MOST_ENTRIES as usize + MOST_KEY_BYTES as usize / 4],
        })
    }

    /// `None` when it contradicts itself.
    fn read(&self) -> Option<Rss> {
        let (entries, key_bytes) = (self.header.entries, self.header.key_bytes);
        if entries > MOST_ENTRIES || key_bytes > MOST_KEY_BYTES {
            return None;
        }
        let (indirection, rest) = self.config.split_at_checked(entries as usize)?;
        let mut key: Vec<u8> = rest.iter().flat_map(|word| word.to_ne_bytes()).collect();
        key.truncate(key_bytes as usize);
        Some(Rss {
            function: HashFunction::from_bits(self.header.function),
            symmetric: self.header.transformation != 0,
            indirection: indirection.to_vec(),
            key,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_spelt_as_ethtool_does() {
        let ours = HashFields::DESTINATION.and(HashFields::DESTINATION_PORT);
        let all = ours.and(HashFields::SOURCE).and(HashFields::SOURCE_PORT);
        assert_eq!(
            (ours.to_string(), all.to_string()),
            ("dn".into(), "sdfn".into())
        );
        assert_eq!(HashFields(0).to_string(), "-");
        assert_eq!(HashFields(1 << 9 | 1 << 4).to_string(), "s+0x200");
        assert!(all.has(ours) && !ours.has(all));
    }

    #[test]
    fn an_answer_of_the_kernel_is_taken_apart() {
        let mut answer = RssAnswer::asking(4, 6);
        answer.header.function = 1;
        answer.config[..4].copy_from_slice(&[3, 2, 1, 0]);
        answer.config[4] = u32::from_ne_bytes([0x6d, 0x5a, 0x56, 0xda]);
        answer.config[5] = u32::from_ne_bytes([0x25, 0x5b, 0xff, 0xff]);
        let rss = answer.read().expect("whole");
        assert_eq!(
            (rss.function, rss.symmetric),
            (HashFunction::Toeplitz, false)
        );
        assert_eq!(rss.indirection, [3, 2, 1, 0]);
        assert_eq!(rss.key, [0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b]);
        answer.header.transformation = 1;
        answer.header.function = 2;
        let rss = answer.read().expect("whole");
        assert_eq!((rss.function, rss.symmetric), (HashFunction::Xor, true));
        answer.header.entries = MOST_ENTRIES + 1;
        assert_eq!(answer.read(), None);
    }

    #[test]
    fn a_device_without_hashing_says_so() {
        let hash = RxFlowHash::of("lo").expect("every namespace has a loopback device");
        let ours = HashFields::DESTINATION.and(HashFields::DESTINATION_PORT);
        for over in [UdpOver::V4, UdpOver::V6] {
            assert_eq!(hash.fields(over).expect("an answer"), None);
            assert!(!hash.set_fields(over, ours).expect("an answer"));
        }
        assert_eq!(hash.rss().expect("an answer"), None);
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let hash = RxFlowHash::of("no-such-device").expect("a possible name");
        let asked = hash.fields(UdpOver::V4);
        assert!(
            matches!(asked, Err(Error::NoSuchDevice { .. })),
            "{asked:?}"
        );
    }
}
