//! What is done to what the parties of a call send: it is blocked or silenced, keys seem to be pressed, sounds are
//! played.

use std::time::Duration;

use contract::{Digits, FlowKey, PlayFormat, PlayId, PlaySource, Playing, ServiceOrder, Timestamp};

use super::book::CallNumber;
use super::door::{Asker, Done, Due, Hands, Ng};
use super::reply;
use super::request::{All, Parties, PlayDtmf, PlayMedia, Sound, Treat, Treatment};
use super::value::Dictionary;
use crate::agent::Output;
use crate::sdp::Spoken;
use crate::session::{KeyPresses, Receiver, SessionId, Side};

/// What key presses are without further words, and within which bounds, in ms (as in rtpengine).
const PRESSED: u16 = 250;
const PAUSED: u16 = 100;
const PRESS_BOUNDS: (u32, u32) = (100, 5000);
/// −8 dBm0.
const VOLUME: u8 = 8;
/// The media time of a packet, where the receiver asks for none.
const PTIME: u8 = 20;
/// How long whoever asks for a sound waits for it to begin.
const PATIENCE: Duration = Duration::from_secs(10);
/// Parties that one request plays to.
const MOST_PLAYS: usize = 16;

/// One party in one dialogue.
pub(super) type Target = (SessionId, Side);

/// Whom a command means that names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unnamed {
    Everybody,
    Nobody,
}

/// A sound that plays.
#[derive(Clone, Debug)]
pub(super) struct Play {
    target: Target,
    keys: Vec<FlowKey>,
    formats: Vec<PlayFormat>,
}

/// Sounds of which one request has asked for, until it is known whether they play.
#[derive(Debug)]
pub(super) struct PlaysAsked {
    asker: Asker,
    left: usize,
    duration: Duration,
    failed: Option<String>,
}

impl Ng {
    /// The call that a command is about, and the parties.
    pub(super) fn whom(
        &self,
        hands: &Hands<'_>,
        parties: &Parties,
        unnamed: Unnamed,
    ) -> Result<(CallNumber, Vec<Target>), &'static str> {
        let call = self
            .call_of(parties)
            .and_then(|number| self.book.get(number));
        let call = call.ok_or(reply::UNKNOWN_CALL_OF_MEDIA)?;
        let everybody = || call.targets(|_, _| true);
        let is_named = parties.from_tag.is_some() || parties.label.is_some();
        let mut found = match (parties.all, is_named, parties.address) {
            (All::All, _, _) => everybody(),
            (All::None, true, _) => call.named(parties),
            (All::None, false, Some(address)) => {
                let mut found = everybody();
                found.retain(|&(session, side)| {
                    let view = hands.engine.describe(session);
                    let streams = view.into_iter().flat_map(|view| view.streams);
                    let mut said = streams
                        .map(|stream| stream.parties[usize::from(side == Side::B)].remote_rtp);
                    said.any(|said| said.is_some_and(|said| said.ip() == address))
                });
                found
            }
            (All::None, false, None) if unnamed == Unnamed::Everybody => everybody(),
            (All::None, false, None) => return Err("No participant party specified"),
        };
        if parties.to_tag.is_some() || parties.to_label.is_some() {
            let towards = call.targets(|other, _| {
                other.is_named(parties.to_tag.as_deref(), parties.to_label.as_deref())
            });
            found.retain(|(session, side)| towards.contains(&(*session, side.other())));
        }
        match (found.is_empty(), &parties.from_tag, &parties.label) {
            (false, _, _) => Ok((call.number, found)),
            (true, Some(_), _) => Err("From-tag given, but no such tag exists"),
            (true, None, Some(_)) => Err("No monologue matching the given label"),
            (true, None, None) => Err("No monologues matched"),
        }
    }

    /// `block media` and its like.
    pub(super) fn treat(&mut self, hands: &mut Hands<'_>, asker: &Asker, treat: &Treat) -> Done {
        let (number, targets) = match self.whom(hands, &treat.parties, Unnamed::Everybody) {
            Ok(found) => found,
            Err(reason) => return Done::Reply(reply::error(reason)),
        };
        let begin = treat.begin;
        if treat.what == Treatment::Forward {
            return Done::Reply(self.forward(hands, number, &targets, begin));
        }
        for &(session, side) in &targets {
            hands
                .engine
                .handle_media(hands.now, session, side, |handling| {
                    let asked = match treat.what {
                        Treatment::Block => &mut handling.blocked,
                        Treatment::Silence => &mut handling.silenced,
                        Treatment::BlockDtmf | Treatment::Forward => &mut handling.dtmf_blocked,
                    };
                    *asked = begin;
                });
        }
        self.ok_when_ready(
            hands,
            asker,
            targets.iter().map(|(session, _)| *session).collect(),
        )
    }

    /// `play DTMF`: whoever hears the party hears it press keys.
    pub(super) fn play_dtmf(
        &mut self,
        hands: &mut Hands<'_>,
        asker: &Asker,
        play: &PlayDtmf,
    ) -> Done {
        let (_, targets) = match self.whom(hands, &play.parties, Unnamed::Nobody) {
            Ok(found) => found,
            Err(reason) => return Done::Reply(reply::error(reason)),
        };
        let Some(digits) = Digits::new(&play.events) else {
            return Done::Reply(reply::error("Out of range 'code' specified"));
        };
        let bounded = |said: Option<u32>, default: u16| match said {
            Some(said) => said.clamp(PRESS_BOUNDS.0, PRESS_BOUNDS.1) as u16,
            None => default,
        };
        let mut heard = Vec::new();
        for (session, side) in targets {
            let receivers = hands.engine.receivers(session, side.other());
            if !receivers
                .iter()
                .any(|receiver| receiver.spoken.event.is_some())
            {
                continue;
            }
            heard.push(session);
            hands
                .engine
                .handle_media(hands.now, session, side, |handling| {
                    let before = handling.press.map_or(0, |press| press.count);
                    handling.press = Some(KeyPresses {
                        count: before.wrapping_add(1),
                        digits,
                        volume: play.volume.unwrap_or(VOLUME),
                        duration: bounded(play.duration, PRESSED),
                        pause: bounded(play.pause, PAUSED),
                    });
                });
        }
        match heard.is_empty() {
            true => Done::Reply(reply::error(
                "Monologue has no media capable of DTMF injection",
            )),
            false => self.ok_when_ready(hands, asker, heard),
        }
    }

    /// `play media`: a party hears a sound, beside or in the place of what others send.
    pub(super) fn play_media(
        &mut self,
        hands: &mut Hands<'_>,
        asker: &Asker,
        play: PlayMedia,
    ) -> Done {
        let (_, targets) = match self.whom(hands, &play.parties, Unnamed::Nobody) {
            Ok(found) => found,
            Err(reason) => return Done::Reply(reply::error(reason)),
        };
        let source = match play.source {
            Sound::File(name) if self.policy.playing => match String::from_utf8(name) {
                Ok(name) => PlaySource::File(name),
                Err(_) => return Done::Reply(reply::error(NOT_PLAYED)),
            },
            Sound::File(_) => return Done::Reply(reply::error("No directory of files to play")),
            Sound::Blob(bytes) => PlaySource::Blob(bytes),
            Sound::Database(_) => {
                return Done::Reply(reply::error("Failed to start media playback from database"));
            }
        };
        let mut orders = Vec::new();
        for (session, side) in targets.into_iter().take(MOST_PLAYS) {
            let receivers = hands.engine.receivers(session, side);
            let understood = receivers.first().map(|receiver| receiver.spoken);
            let Some(spoken) = understood.filter(|spoken| !formats(*spoken).is_empty()) else {
                continue;
            };
            self.last_play = self.last_play.wrapping_add(1);
            let playing = Playing {
                play: PlayId(self.last_play),
                keys: keys(&receivers, spoken),
                source: source.clone(),
                formats: formats(spoken),
                ptime: Duration::from_millis(u64::from(
                    spoken.ptime.unwrap_or(PTIME).clamp(10, 60),
                )),
                times: play.repeat.max(1),
                longest: play.repeat_ms.map(Duration::from_millis),
                start: Duration::from_millis(play.start_ms),
            };
            orders.push(((session, side), playing));
        }
        if orders.is_empty() {
            return Done::Reply(reply::error("No media that a sound can be played to"));
        }
        self.last_survey += 1;
        let request = self.last_survey;
        let asked = PlaysAsked {
            asker: asker.clone(),
            left: orders.len(),
            duration: Duration::ZERO,
            failed: None,
        };
        self.plays_asked.insert(request, asked);
        self.due.set(Due::Plays(request), hands.now + PATIENCE);
        for (target, playing) in orders {
            self.stop_playing(|other| other == target);
            let play = Play {
                target,
                keys: playing.keys.clone(),
                formats: playing.formats.clone(),
            };
            self.plays.insert(playing.play, play);
            self.plays_begun.insert(playing.play, request);
            let order = ServiceOrder::Play(Box::new(playing));
            self.outbox.push_back(Output::Service(order));
        }
        Done::Later
    }

    /// `stop media`.
    pub(super) fn stop_media(&mut self, hands: &Hands<'_>, parties: &Parties) -> Done {
        let (_, targets) = match self.whom(hands, parties, Unnamed::Nobody) {
            Ok(found) => found,
            Err(reason) => return Done::Reply(reply::error(reason)),
        };
        Done::Reply(
            match self.stop_playing(|target| targets.contains(&target)) {
                0 => reply::error("Not currently playing media"),
                _ => reply::ok(),
            },
        )
    }

    /// Stops what is played to some; how many sounds that were.
    pub(super) fn stop_playing(&mut self, to: impl Fn(Target) -> bool) -> usize {
        let playing = self.plays.iter().filter(|(_, play)| to(play.target));
        let stopped: Vec<_> = playing.map(|(play, _)| *play).collect();
        for play in &stopped {
            self.plays.remove(play);
            let order = ServiceOrder::StopPlaying(*play);
            self.outbox.push_back(Output::Service(order));
        }
        stopped.len()
    }

    /// What a call's parties understand, or where they are, has changed: sounds that would go astray end.
    pub(super) fn check_plays(&mut self, hands: &Hands<'_>, number: CallNumber) {
        if self.plays.is_empty() {
            return;
        }
        let sessions = self.sessions_of(number);
        let astray = |play: &Play| {
            let (session, side) = play.target;
            let receivers = hands.engine.receivers(session, side);
            let fits = |key: &FlowKey| {
                let mut receivers = receivers.iter();
                receivers.any(|one| one.key == *key && formats(one.spoken) == play.formats)
            };
            sessions.contains(&session) && !play.keys.iter().all(fits)
        };
        let playing = self.plays.values().filter(|play| astray(play));
        let targets: Vec<_> = playing.map(|play| play.target).collect();
        self.stop_playing(|target| targets.contains(&target));
    }

    /// Nothing was heard of sounds that were asked for.
    pub(super) fn give_up_plays(&mut self, now: Timestamp, request: u64) {
        if let Some(asked) = self.plays_asked.remove(&request) {
            self.plays_begun.retain(|_, of| *of != request);
            self.reply(now, asked.asker, reply::error(NOT_PLAYED));
        }
    }

    /// A sound plays, for so long, or does not.
    pub(super) fn on_playing(
        &mut self,
        now: Timestamp,
        play: PlayId,
        outcome: Result<Duration, String>,
    ) {
        let Some(request) = self.plays_begun.remove(&play) else {
            return;
        };
        if outcome.is_err() {
            self.plays.remove(&play);
            self.counters.not_played += 1;
        }
        let Some(asked) = self.plays_asked.get_mut(&request) else {
            return;
        };
        asked.left = asked.left.saturating_sub(1);
        match outcome {
            Ok(duration) => asked.duration = asked.duration.max(duration),
            Err(reason) => asked.failed = Some(reason),
        }
        if asked.left > 0 {
            return;
        }
        let Some(asked) = self.plays_asked.remove(&request) else {
            return;
        };
        let told = match asked.failed {
            Some(reason) => {
                tracing::info!(%reason, "a sound is not to be played");
                reply::error(NOT_PLAYED)
            }
            None => Dictionary::new()
                .with("duration", asked.duration.as_millis() as u64)
                .with("result", "ok"),
        };
        self.reply(now, asked.asker, told);
    }

    /// A sound is over.
    pub(super) fn on_played(&mut self, play: PlayId) {
        self.plays.remove(&play);
    }
}

/// The formats that a party understands and sounds come in, the one that it prefers first.
fn formats(spoken: Spoken) -> Vec<PlayFormat> {
    let pcmu = spoken.pcmu.map(PlayFormat::Pcmu);
    let pcma = spoken.pcma.map(PlayFormat::Pcma);
    let both = match spoken.prefers_pcma {
        true => [pcma, pcmu],
        false => [pcmu, pcma],
    };
    both.into_iter().flatten().collect()
}

/// Where the streams begin that understand the same.
fn keys(receivers: &[Receiver], spoken: Spoken) -> Vec<FlowKey> {
    let alike = |receiver: &&Receiver| formats(receiver.spoken) == formats(spoken);
    let alike = receivers.iter().filter(alike);
    alike.map(|receiver| receiver.key).collect()
}

const NOT_PLAYED: &str = "Failed to start media playback from file";
