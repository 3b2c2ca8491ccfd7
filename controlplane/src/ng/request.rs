//! What a dictionary asks for: plain data, with every option that excludes another in one enum.
//!
//! Names and meanings are those of rtpengine's documentation of the protocol. Tags, labels and branches are bytes:
//! nobody promises that they are text.

use std::net::IpAddr;

/// A command with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Are you there?
    Ping,
    /// A session description from the party of `from-tag`, for the other.
    Offer(Box<Exchange>),
    /// The description of the party of `to-tag`, in answer to the offer of that of `from-tag`.
    Answer(Box<Exchange>),
    /// The end of a call, or of one of its branches.
    Delete(Delete),
    /// What is known of a call.
    Query(Parties),
    /// The Call-IDs that there are.
    List {
        /// At the most this many.
        limit: usize,
    },
    /// Figures of the whole relay.
    Statistics,
    /// Something done to the media that a party sends.
    Treat(Treat),
    /// Recording of a whole call.
    Record(Record),
    /// Key presses (RFC 4733) put into what a party sends.
    PlayDtmf(PlayDtmf),
    /// A sound played to a party.
    PlayMedia(PlayMedia),
    /// No more of it.
    StopMedia(Parties),
    /// An offer to a new party that gets copies of what others send.
    SubscribeRequest(Box<Exchange>),
    /// Its answer.
    SubscribeAnswer(Box<Exchange>),
    /// No more copies.
    Unsubscribe(Parties),
}

/// Which call, and whom in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parties {
    /// `call-id`.
    pub call_id: Vec<u8>,
    /// `from-tag`.
    pub from_tag: Option<Vec<u8>>,
    /// `to-tag`.
    pub to_tag: Option<Vec<u8>>,
    /// `via-branch`.
    pub via_branch: Option<Vec<u8>>,
    /// `label` or `from-label`: names a party where no tag does, or is the name that it gets.
    pub label: Option<Vec<u8>>,
    /// `to-label`.
    pub to_label: Option<Vec<u8>>,
    /// `set-label`: the name that the party gets.
    pub set_label: Option<Vec<u8>>,
    /// `address`: names a party by where its media comes from.
    pub address: Option<IpAddr>,
    /// `from-tags`: several parties (`subscribe request`).
    pub from_tags: Vec<Vec<u8>>,
    /// `all`.
    pub all: All,
}

/// `all`: whether every party of a call is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum All {
    /// Only whom the tags name.
    #[default]
    None,
    /// Everybody.
    All,
}

/// An offer or an answer, also of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The call and its parties.
    pub parties: Parties,
    /// The body. Empty in `subscribe request`.
    pub sdp: Vec<u8>,
    /// What is to be done to it and to the media.
    pub options: Options,
}

/// The options of an offer or answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `replace`.
    pub replace: Replace,
    /// Where the party is: `trust-address`, `SIP-source-address` with `received-from`, `media-address`.
    pub whereabouts: Whereabouts,
    /// `media-address` overrides what the *receiver* of the body is told.
    pub media_address: Option<IpAddr>,
    /// `direction`, or `interface` given once: the sender's interface, then the receiver's.
    pub direction: Option<[Vec<u8>; 2]>,
    /// `address-family`.
    pub family: Option<AddressFamily>,
    /// `ICE`.
    pub ice: Ice,
    /// `rtcp-mux`.
    pub mux: Mux,
    /// `symmetric`, `asymmetric`, `strict-source`, `media-handover`.
    pub learning: Learning,
    /// `port-latching`.
    pub port_latching: bool,
    /// `transport-protocol`.
    pub protocol: Option<Protocol>,
    /// `codec`.
    pub codecs: Codecs,
    /// `no-rtcp-attribute`, `full-rtcp-attribute`.
    pub rtcp_attribute: RtcpAttribute,
    /// `original-sendrecv`: the direction attributes stay as they came.
    pub original_sendrecv: bool,
    /// `inactive`.
    pub inactive: bool,
    /// `single-codec`: only the first codec of an answer stays.
    pub single_codec: bool,
    /// `generate-mid`.
    pub generate_mid: bool,
    /// `strip-extmap`.
    pub strip_extmap: bool,
    /// `loop-protect`.
    pub loop_protect: bool,
    /// `ptime`, in ms: of what the receiver of an offer is told.
    pub ptime: Option<u16>,
    /// `TOS`: 0 to 255. A negative one, `Some(None)`: as it was; none, or one too large: that of the configuration.
    pub tos: Option<Option<u8>>,
    /// `delete-delay` in an offer or answer is not a thing; `reset`: what was learnt is forgotten.
    pub reset: bool,
    /// `record-call`.
    pub record: Option<bool>,
    /// `metadata`.
    pub metadata: Option<Vec<u8>>,
    /// `inject-DTMF`.
    pub inject_dtmf: bool,
    /// `supports` has `load limit`.
    pub supports_load_limit: bool,
    /// `SDES`, `DTLS`, `OSRTP`: there is nothing to be done about them but pass what there is; `off` refuses.
    pub sdes_off: bool,
    /// `drop-traffic`: `start` (`Some(true)`), `stop`.
    pub drop_traffic: Option<bool>,
}

/// What of the `o=`, `s=` and `c=` lines is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replace {
    /// `origin`: the address in `o=`.
    pub origin: bool,
    /// `session-connection`.
    pub session_connection: bool,
    /// `username`.
    pub username: bool,
    /// `session-name`.
    pub session_name: bool,
    /// `SDP-version`.
    pub version: bool,
    /// `force-increment-sdp-ver`.
    pub force_version: bool,
    /// `zero-address`.
    pub zero_address: bool,
}

/// Whose word counts for where a party is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whereabouts {
    /// That of its body (`trust-address`).
    #[default]
    Body,
    /// That of whoever got its message (`SIP-source-address` with `received-from`).
    ReceivedFrom(IpAddr),
}

/// `address-family`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressFamily {
    /// `IP4`.
    Ip4,
    /// `IP6`.
    Ip6,
}

/// `ICE`. tandem speaks none, so that all but `ForceRelay` come to the same: candidates are removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ice {
    /// `default`, or nothing.
    #[default]
    Default,
    /// `remove`.
    Remove,
    /// `force`.
    Force,
    /// `force-relay`: later.
    ForceRelay,
    /// `optional`.
    Optional,
}

/// `rtcp-mux`: each side for itself, since they go together (`offer` and `reject`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mux {
    /// Towards the receiver of the body.
    pub towards_receiver: MuxOffer,
    /// Towards its sender, if that offers it.
    pub towards_sender: MuxAnswer,
}

/// What the receiver of an offer is told of rtcp-mux.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MuxOffer {
    /// What the offerer said.
    #[default]
    AsOffered,
    /// `offer`: that it is offered.
    Offer,
    /// `require`: that it is settled.
    Require,
    /// `demux`, or `reject` alone: nothing.
    Demux,
}

/// What the offerer is told of the rtcp-mux that it offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MuxAnswer {
    /// What the answerer said.
    #[default]
    AsAnswered,
    /// `accept`, `demux`: yes, whatever the answerer says.
    Accept,
    /// `reject`: no.
    Reject,
}

/// How the addresses that media comes from are learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Learning {
    /// From the first packets, then locked (`symmetric`, `strict-source`, or nothing): as the media group says.
    #[default]
    AsConfigured,
    /// `strict-source`: learnt, then locked, whatever the media group says.
    StrictSource,
    /// `asymmetric`: not at all; any source may send.
    Asymmetric,
    /// `media-handover`: whoever sends is believed, again and again.
    MediaHandover,
}

/// `transport-protocol`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// This one: `RTP/AVP`, `RTP/AVPF`, `RTP/SAVP`, `RTP/SAVPF`.
    Is(Vec<u8>),
    /// `accept`: in an answer, whatever it says.
    Accept,
}

/// `codec`: by name as in `a=rtpmap`, `NAME[/RATE[/CHANNELS]]`; `all` and `full` are names of every codec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codecs {
    /// Are as if they had never been there.
    pub strip: Vec<Vec<u8>>,
    /// Are not offered; without transcoding the same as `strip`.
    pub mask: Vec<Vec<u8>>,
    /// Stay though `strip` or `mask` says `all`.
    pub except: Vec<Vec<u8>>,
    /// The same, and stand first, in this order.
    pub offer: Vec<Vec<u8>>,
    /// Accepted towards the offerer whatever the answerer says: means nothing without transcoding.
    pub accept: Vec<Vec<u8>>,
    /// Asks for transcoding, which there is not.
    pub transcode: Vec<Vec<u8>>,
}

/// What becomes of `a=rtcp`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RtcpAttribute {
    /// `a=rtcp:PORT`.
    #[default]
    Short,
    /// `a=rtcp:PORT IN IP4 ADDRESS`.
    Full,
    /// None.
    No,
}

/// The end of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Whose.
    pub parties: Parties,
    /// `delete-delay`, in seconds.
    pub delay: Option<u32>,
    /// `fatal`: a call that there is not is an error.
    pub fatal: bool,
    /// `metadata`.
    pub metadata: Option<Vec<u8>>,
}

/// Something done, or no longer done, to what a party sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Treat {
    /// Whose media; with a `to-tag` or `to-label` only what goes to that party.
    pub parties: Parties,
    /// What.
    pub what: Treatment,
    /// Whether it begins; if not, it ends.
    pub begin: bool,
}

/// What is done to media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// `block media`: it is not forwarded.
    Block,
    /// `silence media`: audio is forwarded as silence.
    Silence,
    /// `block DTMF`: key presses are not forwarded.
    BlockDtmf,
    /// `start forwarding`: its audio goes to a consumer, too.
    Forward,
}

/// Recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which call.
    pub parties: Parties,
    /// What happens.
    pub what: Recording,
    /// `metadata`.
    pub metadata: Option<Vec<u8>>,
}

/// What happens to a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// `start recording`.
    Start,
    /// `pause recording`, or `stop recording` with `pause`.
    Pause,
    /// `stop recording`.
    Stop,
}

/// Key presses to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayDtmf {
    /// As if this party had pressed them.
    pub parties: Parties,
    /// RFC 4733 events, 0 to 15, in order.
    pub events: Vec<u8>,
    /// Of each, in ms.
    pub duration: Option<u32>,
    /// Between two, in ms.
    pub pause: Option<u32>,
    /// In dBm0 below 0: 0 to 63.
    pub volume: Option<u8>,
}

/// A sound to be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayMedia {
    /// To whom.
    pub parties: Parties,
    /// What.
    pub source: Sound,
    /// `repeat-times`; 1 if nothing is said.
    pub repeat: u32,
    /// `start-pos`, in ms.
    pub start_ms: u64,
    /// `repeat-duration`, in ms.
    pub repeat_ms: Option<u64>,
}

/// Where a sound comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sound {
    /// `file`: a path on this host.
    File(Vec<u8>),
    /// `blob`: the file itself.
    Blob(Vec<u8>),
    /// `db-id`: a database that there is not.
    Database(i64),
}

/// Why a dictionary is no request: the text is `error-reason`, the same as rtpengine's where that has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no `command`.
    #[error("Dictionary contains no key \"command\"")]
    NoCommand,
    /// It is none that is known.
    #[error("Unrecognized command")]
    UnknownCommand,
    /// `call-id` is missing.
    #[error("No call-id in message")]
    NoCallId,
    /// `from-tag` is missing.
    #[error("No from-tag in message")]
    NoFromTag,
    /// `to-tag` is missing.
    #[error("No to-tag in message")]
    NoToTag,
    /// `sdp` is missing.
    #[error("No SDP body in message")]
    NoSdp,
    /// Something else is wrong: this.
    #[error("{0}")]
    Bad(&'static str),
}
