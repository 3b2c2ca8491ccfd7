//! What the options of an exchange make of its body before the session engine gets it, and the terms that it gets
//! it on.

use contract::{DscpMarking, LatchPolicy};

use super::book::Party;
use super::request::{
    self, AddressFamily, Codecs, Learning, MuxAnswer, MuxOffer, Options, Protocol, RtcpAttribute,
    Whereabouts,
};
use crate::sdp::{Codec, Description, Direction, RtcpLine, RtpProfile, Verdict};
use crate::session::{self, Family, MuxTerms, OriginWriting, Terms, Version, Writing};

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Offer,
    Answer,
}

/// A transport protocol was asked for that only a translation of encryption could give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NeedsSrtp;

/// The address family that the receiver of a body is told, where the options say one.
pub(super) fn family(options: &Options) -> Option<Family> {
    options.family.map(|family| match family {
        AddressFamily::Ip4 => Family::V4,
        AddressFamily::Ip6 => Family::V6,
    })
}

/// Edits a body as the options say.
pub(super) fn edit(
    description: &mut Description,
    options: &Options,
    turn: Turn,
    receiver: &mut Party,
) {
    filter(description, &options.codecs);
    if turn == Turn::Answer && options.single_codec {
        description.keep_first_codecs();
    }
    description.name_static_codecs();
    if let Some(ptime) = options.ptime.filter(|_| turn == Turn::Offer) {
        description.set_ptime(std::time::Duration::from_millis(u64::from(ptime)));
    }
    if !options.original_sendrecv {
        let held: Vec<bool> = (0..description.stream_count())
            .map(|stream| description.has_no_address(stream))
            .collect();
        description.state_directions(|stream, said| match (said, held.get(stream)) {
            _ if options.inactive => Direction::Inactive,
            (Direction::SendRecv, Some(true)) => Direction::SendOnly,
            (Direction::RecvOnly, Some(true)) => Direction::Inactive,
            (said, _) => said,
        });
    }
    if options.generate_mid {
        description.name_streams();
    }
    if options.strip_extmap {
        description.remove_attribute("extmap");
        description.remove_attribute("extmap-allow-mixed");
    }
    keep_names(description, options, receiver);
}

/// The name in `o=` and the session's name stay those that the receiver was shown first.
fn keep_names(description: &mut Description, options: &Options, receiver: &mut Party) {
    let (session, user) = description.names();
    let now = [user, session].map(|name| name.unwrap_or_default().to_vec());
    let [user, session] = receiver.shown.get_or_insert(now);
    if options.replace.username {
        description.set_user(user);
    }
    if options.replace.session_name {
        description.set_session_name(session);
    }
}

/// The terms that the session engine gets a body on. `offered` are the protocols of the offer that it answers.
pub(super) fn terms(
    description: &Description,
    options: &Options,
    turn: Turn,
    offered: &[Vec<u8>],
    window: std::time::Duration,
) -> Result<Terms, NeedsSrtp> {
    let profiles = profiles(description, options, turn, offered)?;
    Ok(Terms {
        whereabouts: match options.whereabouts {
            Whereabouts::Body => None,
            Whereabouts::ReceivedFrom(address) => Some(address),
        },
        mux: mux(options.mux, turn),
        latch: match options.learning {
            Learning::AsConfigured => None,
            Learning::StrictSource => Some(LatchPolicy::Learn { window }),
            Learning::Asymmetric => Some(LatchPolicy::Off),
            Learning::MediaHandover => Some(LatchPolicy::Follow),
        },
        dscp: options.tos.flatten().map(|tos| DscpMarking::Set(tos >> 2)),
        writing: Writing {
            origin: match options.replace.origin {
                true => OriginWriting::Address,
                false => OriginWriting::Kept,
            },
            version: match (options.replace.version, options.replace.force_version) {
                (_, true) => Version::Raised,
                (true, false) => Version::Counted,
                (false, false) => Version::Kept,
            },
            rtcp_line: match options.rtcp_attribute {
                RtcpAttribute::Short => RtcpLine::Port,
                RtcpAttribute::Full => RtcpLine::Full,
                RtcpAttribute::No => RtcpLine::None,
            },
            zero_address: options.replace.zero_address,
            address: options.media_address,
            profiles,
        },
    })
}

const fn mux(mux: request::Mux, turn: Turn) -> MuxTerms {
    let answer = match (mux.towards_sender, turn) {
        (MuxAnswer::Accept, _) => Some(session::MuxAnswer::Accept),
        (MuxAnswer::Reject, _) => Some(session::MuxAnswer::Reject),
        // What was said with the offer counts.
        (MuxAnswer::AsAnswered, Turn::Answer) => None,
        (MuxAnswer::AsAnswered, Turn::Offer) => Some(session::MuxAnswer::AsAnswered),
    };
    let offer = match mux.towards_receiver {
        MuxOffer::AsOffered => session::MuxOffer::AsOffered,
        MuxOffer::Offer => session::MuxOffer::Offer,
        MuxOffer::Require => session::MuxOffer::Require,
        MuxOffer::Demux => session::MuxOffer::Withhold,
    };
    MuxTerms { offer, answer }
}

/// What each `m=` line shall name: what the options say, in an answer else what was offered.
fn profiles(
    description: &Description,
    options: &Options,
    turn: Turn,
    offered: &[Vec<u8>],
) -> Result<Vec<Option<RtpProfile>>, NeedsSrtp> {
    let named = description.protocols();
    let wanted = |index: usize| match (&options.protocol, turn) {
        (Some(Protocol::Is(name)), _) => RtpProfile::of_name(name),
        (Some(Protocol::Accept), Turn::Answer) => None,
        (_, Turn::Answer) => offered
            .get(index)
            .and_then(|name| RtpProfile::of_name(name)),
        (_, Turn::Offer) => None,
    };
    let each = named.iter().enumerate().map(|(index, name)| {
        let Some(is) = RtpProfile::of_name(name) else {
            return Ok(None);
        };
        match wanted(index) {
            Some(wanted) if wanted.is_secure() != is.is_secure() => Err(NeedsSrtp),
            wanted => Ok(wanted),
        }
    });
    each.collect()
}

/// Leaves the codecs that the options leave. A stream that would lose all keeps all.
///
/// As rtpengine has it: `except` is an exception from `all` alone, `offer` one from anything, and nothing by itself. First what
/// was left in peace, then what is offered again, in the order of the list, then what goes along with any codec.
fn filter(description: &mut Description, codecs: &Codecs) {
    const AGAIN: usize = 1;
    const ALONG: usize = usize::MAX / 2;
    if codecs.strip.is_empty() && codecs.mask.is_empty() {
        return;
    }
    let every = |list: &[Vec<u8>]| {
        list.iter()
            .any(|name| matches!(&name[..], b"all" | b"full"))
    };
    let all = every(&codecs.strip) || every(&codecs.mask);
    let listed = |list: &[Vec<u8>], codec: &Codec<'_>| list.iter().any(|name| is(name, codec));
    description.select_codecs(|codec| {
        let named = listed(&codecs.strip, codec) || listed(&codecs.mask, codec);
        let is_left = !named && (!all || listed(&codecs.except, codec));
        let again = codecs.offer.iter().position(|name| is(name, codec));
        let place = match (is_left, again) {
            (true, _) => 0,
            (false, Some(place)) => AGAIN + place,
            (false, None) => return Verdict::Drop,
        };
        match goes_along(codec) && !codecs.offer.is_empty() {
            true => Verdict::Place(ALONG + place),
            false => Verdict::Place(place),
        }
    });
}

/// Key presses (RFC 4733) and comfort noise (RFC 3389) are nothing by themselves.
fn goes_along(codec: &Codec<'_>) -> bool {
    codec.is_telephone_event() || codec.name.eq_ignore_ascii_case(b"CN")
}

/// Whether `NAME[/RATE[/CHANNELS]]`, or a payload type's number, names the codec.
fn is(name: &[u8], codec: &Codec<'_>) -> bool {
    if name == codec.format {
        return true;
    }
    let mut parts = name.split(|byte| *byte == b'/');
    let named = parts.next().unwrap_or_default();
    if !named.eq_ignore_ascii_case(codec.name) {
        return false;
    }
    let number = |part: Option<&[u8]>| {
        let text = std::str::from_utf8(part?).ok()?;
        text.parse::<u32>().ok()
    };
    let (rate, channels) = (number(parts.next()), number(parts.next()));
    rate.is_none_or(|rate| codec.rate == Some(rate))
        && channels.is_none_or(|channels| codec.channels.unwrap_or(1) == channels)
}
