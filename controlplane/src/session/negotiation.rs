//! Offer and answer (RFC 3264): what each does to the streams, and what is sent on.
//!
//! An offer for a stream that is in force changes nothing before its answer: until then both parties
//! keep to what was agreed (RFC 3264 §8), and a rejection has nothing to undo. An offer for a new stream
//! counts at once, for early media.

use super::leg::{Leg, Taker};
use super::media_stream::{MediaStream, Phase};
use super::party::{Component, Mux};
use super::state::{Offer, Session};
use super::{Family, MuxAnswer, MuxOffer, MuxTerms, SessionError, Side};
use crate::sdp::{MuxLine, Profile, Stream, StreamReplacement, Use};

/// Legs and streams as an offer or answer leaves them; nothing counts until the session takes them.
pub(super) struct Outcome {
    pub(super) legs: [Leg; 2],
    pub(super) streams: Vec<MediaStream>,
    /// For the body that is sent on.
    pub(super) replacements: Vec<StreamReplacement>,
}

/// The family that a party uses, if it uses any.
fn family_of(streams: &[Stream]) -> Option<Family> {
    streams
        .iter()
        .find(|stream| stream.usage == Use::Relay)
        .map(stream_family)
}

const fn stream_family(stream: &Stream) -> Family {
    if stream.is_ipv6 {
        Family::V6
    } else {
        Family::V4
    }
}

/// Whether an offer can be relayed at all, by itself.
pub(super) fn check_offer(
    session: &Session,
    offered: &[Stream],
    max_streams: usize,
) -> Result<(), SessionError> {
    let (count, agreed) = (offered.len(), session.agreed_streams());
    if count > max_streams {
        return Err(SessionError::TooManyStreams(count));
    }
    if count < agreed {
        return Err(SessionError::FewerStreams {
            offered: count,
            agreed,
        });
    }
    let none_relayed = offered.iter().all(|stream| stream.usage != Use::Relay);
    let some_used = offered
        .iter()
        .any(|stream| stream.usage == Use::Unsupported);
    if none_relayed && some_used {
        return Err(SessionError::NothingToRelay);
    }
    Ok(())
}

/// What an offer makes of the session.
pub(super) fn offer(
    session: &Session,
    offer: &Offer,
    taker: &mut Taker<'_>,
) -> Result<Outcome, SessionError> {
    let (near, far) = (offer.from, offer.from.other());
    let mut legs = session.legs.clone();
    tell_family(&mut legs, near, far, family_of(&offer.streams), taker)?;
    let mut streams = Vec::new();
    let mut replacements = Vec::new();
    for (index, offered) in offer.streams.iter().enumerate() {
        let mut stream = session.streams.get(index).cloned().unwrap_or_default();
        match (offered.usage, stream.phase) {
            (Use::Relay, Phase::Active) => {
                take_ports(&mut stream, near, offered, &mut legs, taker)?
            }
            (Use::Relay, _) => {
                take_ports(&mut stream, near, offered, &mut legs, taker)?;
                stream.begin(near, offered, offer.mux);
            }
            (_, Phase::Active) => {}
            _ => stream = MediaStream::unused(offered.media.clone()),
        }
        let (mux, muxed) = offered_mux(offered, offer.mux);
        replacements.push(relayed(&stream, offered, far, mux, muxed));
        streams.push(stream);
    }
    Ok(Outcome {
        legs,
        streams,
        replacements,
    })
}

/// What an answer makes of the session.
pub(super) fn answer(
    session: &Session,
    from: Side,
    answered: &[Stream],
    mux: Option<MuxAnswer>,
    taker: &mut Taker<'_>,
) -> Result<Outcome, SessionError> {
    let offer = session.offer_for(from)?;
    let policy = mux.or(offer.mux.answer).unwrap_or_default();
    check_answer(&offer.streams, answered)?;
    let mut legs = session.legs.clone();
    tell_family(&mut legs, from, offer.from, family_of(answered), taker)?;
    let mut streams = session.streams.clone();
    let mut replacements = Vec::new();
    for ((stream, offered), answered) in streams.iter_mut().zip(&offer.streams).zip(answered) {
        if offered.usage == Use::Relay && answered.usage == Use::Relay {
            take_ports(stream, offer.from, offered, &mut legs, taker)?;
            take_ports(stream, from, answered, &mut legs, taker)?;
            let muxed = [policy.settles(offered.mux, answered.mux), answered.mux];
            stream.agree(offer.from, offered, answered, muxed);
            let mux = mux_line(muxed[0], answered.mux);
            replacements.push(relayed(stream, answered, offer.from, mux, muxed[0]));
        } else {
            stream.refuse();
            replacements.push(StreamReplacement::Reject);
        }
    }
    Ok(Outcome {
        legs,
        streams,
        replacements,
    })
}

/// RFC 3264 §6: as many `m=` lines as in the offer, of the same media types and, where they are accepted, not fax in
/// answer to anything else.
fn check_answer(offered: &[Stream], answered: &[Stream]) -> Result<(), SessionError> {
    if offered.len() != answered.len() {
        return Err(SessionError::AnswerCount {
            offered: offered.len(),
            answered: answered.len(),
        });
    }
    let differs = |(offered, answered): (&Stream, &Stream)| {
        let is_fax = |stream: &Stream| stream.profile == Profile::Udptl;
        !offered.media.eq_ignore_ascii_case(&answered.media)
            || answered.usage == Use::Relay && is_fax(offered) != is_fax(answered)
    };
    match offered.iter().zip(answered).position(differs) {
        Some(index) => Err(SessionError::MediaMismatch { stream: index + 1 }),
        None => Ok(()),
    }
}

/// What the reader of an offer is told of rtcp-mux, and whether RTCP is expected at the RTP port alone.
const fn offered_mux(offered: &Stream, terms: MuxTerms) -> (MuxLine, bool) {
    match terms.offer {
        MuxOffer::AsOffered => (MuxLine::Keep, false),
        MuxOffer::Offer if offered.mux => (MuxLine::Keep, false),
        MuxOffer::Offer => (MuxLine::Insert, false),
        MuxOffer::Require => (MuxLine::Insert, true),
        MuxOffer::Withhold => (MuxLine::Remove, false),
    }
}

/// Whether the answerer was told that it may mux.
const fn may_mux(offered: &Stream, terms: MuxTerms) -> bool {
    match terms.offer {
        MuxOffer::AsOffered => offered.mux,
        MuxOffer::Offer | MuxOffer::Require => true,
        MuxOffer::Withhold => false,
    }
}

/// The relay muxes with one side and not with the other if need be, and lets nobody be told
/// of a mux that it did not offer (RFC 5761 §5.1.1).
const fn mux_line(muxed: bool, answered: bool) -> MuxLine {
    match (muxed, answered) {
        (true, false) => MuxLine::Insert,
        (false, true) => MuxLine::Remove,
        _ => MuxLine::Keep,
    }
}

/// Decides the family of the speaker's leg by what it said, and that of the other leg if nothing has yet.
fn tell_family(
    legs: &mut [Leg; 2],
    speaker: Side,
    listener: Side,
    spoken: Option<Family>,
    taker: &Taker<'_>,
) -> Result<(), SessionError> {
    if spoken.is_some() {
        legs[speaker.index()].family = spoken;
    }
    for side in [speaker, listener] {
        let family = taker.family_for(&legs[side.index()], spoken)?;
        legs[side.index()].family = Some(family);
    }
    Ok(())
}

/// Sees that the stream has ports towards both parties: of the families that they are told, and of that
/// which the speaker receives in.
fn take_ports(
    stream: &mut MediaStream,
    speaker: Side,
    said: &Stream,
    legs: &mut [Leg; 2],
    taker: &mut Taker<'_>,
) -> Result<(), SessionError> {
    for side in [speaker, speaker.other()] {
        let leg = &mut legs[side.index()];
        let party = stream.party_mut(side);
        if let Some(family) = leg.family {
            taker.ensure(leg, party, family)?;
            party.announced = Some(family);
        }
    }
    let leg = &mut legs[speaker.index()];
    taker.ensure(leg, stream.party_mut(speaker), stream_family(said))
}

/// The `m=` line for the party on this side: our ports, if what was said is to be relayed.
fn relayed(
    stream: &MediaStream,
    said: &Stream,
    to: Side,
    mux: MuxLine,
    muxed: bool,
) -> StreamReplacement {
    let local = stream.party(to).announced_local();
    match local.filter(|_| said.usage == Use::Relay) {
        None => StreamReplacement::Reject,
        Some(local) => {
            let component = if muxed {
                Component::Rtp
            } else {
                Component::Rtcp
            };
            StreamReplacement::Relay {
                rtp: local.key(Component::Rtp).port,
                rtcp: local.key(component).port,
                mux,
                profile: None,
            }
        }
    }
}

impl MediaStream {
    /// A new stream is offered.
    fn begin(&mut self, offerer: Side, offered: &Stream, terms: MuxTerms) {
        self.media.clone_from(&offered.media);
        self.profile = offered.profile;
        self.phase = Phase::Offered;
        self.party_mut(offerer).hear(offered);
        let possible = |mux| if mux { Mux::Possible } else { Mux::Off };
        let may_be_told = terms.answer != Some(MuxAnswer::Reject);
        self.party_mut(offerer).mux = possible(offered.mux && may_be_told);
        self.party_mut(offerer.other()).mux = match terms.offer {
            MuxOffer::Require => Mux::On,
            _ => possible(may_mux(offered, terms)),
        };
    }

    /// Both sides have spoken. Latches that nobody has passed yet start anew when the stream does, or becomes another
    /// (audio turns to fax, and back): only now does the offerer learn where to send.
    /// `muxed`: whether the offerer and the answerer mux.
    fn agree(&mut self, offerer: Side, offered: &Stream, answered: &Stream, muxed: [bool; 2]) {
        let news = self.phase != Phase::Active || self.profile != answered.profile;
        self.media.clone_from(&offered.media);
        self.profile = answered.profile;
        self.phase = Phase::Active;
        let said = [(offerer, offered), (offerer.other(), answered)];
        for ((side, said), muxed) in said.into_iter().zip(muxed) {
            let party = self.party_mut(side);
            party.hear(said);
            party.mux = if muxed { Mux::On } else { Mux::Off };
            if news {
                party.arm_open_latches();
            }
        }
    }
}
