//! What the control plane asks of the media services, the threads beside the workers that record, forward and play,
//! and what they say to it.
//!
//! ```text
//!   control plane ══ ServiceOrder ══► recorder, forwarder ◄── tap ◄── workers
//!                                     player ──► injected ──► workers
//!                 ◄══ ServiceEvent ══ all of them
//! ```
//!
//! A [`TapId`] names one side of a call whose packets are copied, [`TapId::call`] both of its sides: recordings are of
//! both, forwardings of one. Orders are carried out in order; one about a tap or a play that is not known does
//! nothing.

use std::time::Duration;

use crate::{FlowKey, TapId};

/// The control plane to the media services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceOrder {
    /// Record what is tapped, into a new file. Answered with [`ServiceEvent::Recording`] or
    /// [`ServiceEvent::NotRecording`].
    Record(Box<Recording>),
    /// Leave out of a recording what is tapped from now on. Like all about recordings, by [`TapId::call`].
    PauseRecording(TapId),
    /// Go on with a recording that was paused.
    ResumeRecording(TapId),
    /// Add a line, or several, to a recording's metadata: SDP, and whatever the proxy says of the call.
    Describe {
        /// Which recording.
        tap: TapId,
        /// The text, with any line ends.
        text: String,
    },
    /// The recording is complete.
    StopRecording(TapId),
    /// Decode what is tapped and send it on. Not answered; what cannot be sent is counted.
    Forward(Box<Forwarding>),
    /// Forward no more.
    StopForwarding(TapId),
    /// Play to a party. Answered with [`ServiceEvent::Playing`] or [`ServiceEvent::NotPlaying`].
    Play(Box<Playing>),
    /// Play no more. Answered with [`ServiceEvent::Played`] if it was playing.
    StopPlaying(PlayId),
}

impl ServiceOrder {
    /// Whether it begins something, and is answered: one that cannot be carried out now is refused then. Any other must
    /// be carried out, if later.
    pub const fn is_request(&self) -> bool {
        matches!(self, Self::Record(_) | Self::Play(_))
    }

    /// What is said of an order that cannot be carried out, if anything is.
    pub fn refused(self, reason: &str) -> Option<ServiceEvent> {
        let reason = reason.to_owned();
        match self {
            Self::Record(recording) => Some(ServiceEvent::NotRecording {
                tap: recording.tap,
                reason,
            }),
            Self::Play(playing) => Some(ServiceEvent::NotPlaying {
                play: playing.play,
                reason,
            }),
            Self::PauseRecording(_)
            | Self::ResumeRecording(_)
            | Self::Describe { .. }
            | Self::StopRecording(_)
            | Self::Forward(_)
            | Self::StopForwarding(_)
            | Self::StopPlaying(_) => None,
        }
    }
}

/// A recording that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Whose packets: those of both sides, by [`TapId::call`].
    pub tap: TapId,
    /// The call's name, any bytes: files are named after it.
    pub call_id: Vec<u8>,
    /// What the proxy says of the call, for the metadata file.
    pub metadata: String,
}

/// A forwarding that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// Whose packets: those of one side.
    pub tap: TapId,
    /// What each connection begins with: what the proxy says of the call, or the call's name.
    pub metadata: Vec<u8>,
}

/// Something that is played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Playing {
    /// Its name.
    pub play: PlayId,
    /// Where its packets are injected: as if they had arrived at these keys.
    pub keys: Vec<FlowKey>,
    /// What is played.
    pub source: PlaySource,
    /// What the party understands, the best first.
    pub formats: Vec<PlayFormat>,
    /// The media time of a packet: 20 ms, if the party has asked for nothing else.
    pub ptime: Duration,
    /// How many times it is played: 1 or more.
    pub times: u32,
    /// The most that is played, with all repetitions.
    pub longest: Option<Duration>,
    /// Where in the audio it begins, the first time.
    pub start: Duration,
}

/// Where audio comes from: a WAV file, G.711 or 16-bit PCM, 8 kHz, one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaySource {
    /// A file's name, as the proxy wrote it.
    File(String),
    /// The file itself.
    Blob(Vec<u8>),
}

/// A G.711 format of RTP, and the payload type that the receiver knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlayFormat {
    /// µ-law.
    Pcmu(u8),
    /// A-law.
    Pcma(u8),
}

/// Names something that is played; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlayId(pub u32);

/// The media services to the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceEvent {
    /// A recording has begun.
    Recording {
        /// Which.
        tap: TapId,
        /// The file with its packets.
        file: String,
    },
    /// A recording could not begin, or had to end: the disk is full.
    NotRecording {
        /// Which.
        tap: TapId,
        /// Why, for people.
        reason: String,
    },
    /// The first packet leaves now.
    Playing {
        /// What.
        play: PlayId,
        /// How long the audio is, once.
        duration: Duration,
    },
    /// Nothing is played: no such file, or not such a file.
    NotPlaying {
        /// What.
        play: PlayId,
        /// Why, for people.
        reason: String,
    },
    /// It is over, or was stopped.
    Played(PlayId),
}
