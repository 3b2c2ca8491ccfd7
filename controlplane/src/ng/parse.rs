//! Dictionaries to requests.
//!
//! Keys and flags are spelt with hyphens or with spaces, commands as rtpengine has them. An option comes as a key of its own, as an element
//! of `flags` (with its key as a prefix, `rtcp-mux-demux`, or as `KEY=VALUE`), or in the raw text `rtpp-flags`: all end
//! up in [`Options`] by one table of words ([`super::words`]). Of options that exclude each other the last counts.

use std::net::IpAddr;

use super::request::{
    All, Delete, Exchange, Options, Parties, PlayDtmf, PlayMedia, Record, Recording, Request,
    RequestError, Sound, Treat, Treatment,
};
use super::value::{Dictionary, Value};
use super::words;

/// Names of flags and keys that nobody here knows, [`MOST_UNKNOWN`] at the most.
#[derive(Debug, Default)]
pub struct Unknown {
    names: Vec<Vec<u8>>,
}

/// Unknown names that are told of one request.
pub const MOST_UNKNOWN: usize = 16;

/// Call-IDs in a list, if the client does not say how many.
const LISTED: usize = 32;

/// Key presses in one request.
pub const MOST_EVENTS: usize = 32;

impl Unknown {
    pub(super) fn note(&mut self, name: &[u8]) {
        if self.names.len() < MOST_UNKNOWN {
            self.names.push(name.iter().take(64).copied().collect());
        }
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().map(Vec::as_slice)
    }
}

/// What a dictionary says, word by word.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) parties: Parties,
    pub(super) options: Options,
    pub(super) sdp: Option<Vec<u8>>,
    pub(super) delay: Option<u32>,
    pub(super) fatal: bool,
    pub(super) limit: Option<usize>,
    pub(super) code: Option<Vec<u8>>,
    pub(super) duration: Option<u32>,
    pub(super) pause: Option<u32>,
    pub(super) volume: Option<u8>,
    pub(super) sound: Option<Sound>,
    pub(super) repeat: Option<u32>,
    pub(super) start_ms: u64,
    pub(super) repeat_ms: Option<u64>,
    pub(super) pauses: bool,
    /// How many flags the one that is read stands in.
    pub(super) within: u8,
    /// `received-from`, before it is known whether it counts.
    pub(super) received_from: Option<IpAddr>,
    pub(super) by_source: bool,
    /// Of `direction`, which may come one at a time.
    pub(super) directions: Vec<Vec<u8>>,
    pub(super) wrong: Option<&'static str>,
}

/// What rtpengine calls each command here.
pub(super) const COMMANDS: [&str; 25] = [
    "ping",
    "offer",
    "answer",
    "delete",
    "query",
    "list",
    "statistics",
    "block media",
    "unblock media",
    "silence media",
    "unsilence media",
    "block DTMF",
    "unblock DTMF",
    "start forwarding",
    "stop forwarding",
    "start recording",
    "pause recording",
    "stop recording",
    "play DTMF",
    "play media",
    "stop media",
    "subscribe request",
    "subscribe answer",
    "unsubscribe",
    "publish",
];

/// The words for hyphens or spaces.
pub(super) fn spelt(name: &[u8]) -> Vec<u8> {
    let hyphen = |byte: &u8| if *byte == b' ' { b'-' } else { *byte };
    name.iter().map(hyphen).collect()
}

/// The command that a dictionary names, by rtpengine's name of it.
pub fn command(dictionary: &Dictionary) -> Result<&'static str, RequestError> {
    let Some(Value::Bytes(name)) = dictionary.get(b"command") else {
        return Err(RequestError::NoCommand);
    };
    let mut known = COMMANDS.into_iter();
    let is = |known: &&str| known.as_bytes() == name.as_slice();
    known.find(is).ok_or(RequestError::UnknownCommand)
}

impl Request {
    /// Reads a dictionary.
    ///
    /// # Errors
    /// With rtpengine's words where it has some.
    pub fn read(dictionary: &Dictionary, unknown: &mut Unknown) -> Result<Self, RequestError> {
        let command = command(dictionary)?;
        let mut said = Said::default();
        for (key, value) in dictionary.entries() {
            if key != b"command" {
                words::key(&spelt(key), value, &mut said, unknown);
            }
        }
        said.settle();
        if let Some(wrong) = said.wrong {
            return Err(RequestError::Bad(wrong));
        }
        build(command, said)
    }
}

impl Said {
    /// What could not be decided word by word.
    fn settle(&mut self) {
        if let [one, ..] = self.directions.as_slice() {
            let other = self.directions.get(1).unwrap_or(one).clone();
            self.options.direction = Some([one.clone(), other]);
        }
        self.options.whereabouts = match (self.by_source, self.received_from) {
            (true, Some(address)) => super::request::Whereabouts::ReceivedFrom(address),
            _ => super::request::Whereabouts::Body,
        };
    }

    fn exchange(self) -> Result<Request, RequestError> {
        let sdp = self
            .sdp
            .filter(|sdp| !sdp.is_empty())
            .ok_or(RequestError::NoSdp)?;
        Ok(Request::Offer(Box::new(Exchange {
            parties: self.parties,
            sdp,
            options: self.options,
        })))
    }

    fn named(self) -> Result<Self, RequestError> {
        match self.parties.call_id.is_empty() {
            true => Err(RequestError::NoCallId),
            false => Ok(self),
        }
    }

    fn with_from(self) -> Result<Self, RequestError> {
        match self.parties.from_tag.as_ref().is_none_or(Vec::is_empty) {
            true => Err(RequestError::NoFromTag),
            false => Ok(self),
        }
    }

    fn with_to(self) -> Result<Self, RequestError> {
        match self.parties.to_tag.as_ref().is_none_or(Vec::is_empty) {
            true => Err(RequestError::NoToTag),
            false => Ok(self),
        }
    }

    fn with_sdp(self) -> Result<Self, RequestError> {
        match self.sdp.as_ref().is_none_or(Vec::is_empty) {
            true => Err(RequestError::NoSdp),
            false => Ok(self),
        }
    }

    fn treat(self, what: Treatment, begin: bool) -> Result<Request, RequestError> {
        let said = self.named()?;
        Ok(Request::Treat(Treat {
            parties: said.parties,
            what,
            begin,
        }))
    }

    fn record(self, what: Recording) -> Result<Request, RequestError> {
        let said = self.named()?;
        let what = match (what, said.pauses) {
            (Recording::Stop, true) => Recording::Pause,
            (what, _) => what,
        };
        Ok(Request::Record(Record {
            parties: said.parties,
            what,
            metadata: said.options.metadata,
        }))
    }
}

/// The checks come in rtpengine's order: a dictionary that lacks two things gets the same word from both.
fn build(command: &'static str, said: Said) -> Result<Request, RequestError> {
    Ok(match command {
        "ping" => Request::Ping,
        "offer" => return said.with_sdp()?.named()?.with_from()?.exchange(),
        "answer" => {
            let offer = said
                .with_sdp()?
                .named()?
                .with_from()?
                .with_to()?
                .exchange()?;
            match offer {
                Request::Offer(exchange) => Request::Answer(exchange),
                other => other,
            }
        }
        "delete" => {
            let said = said.named()?;
            Request::Delete(Delete {
                parties: said.parties,
                delay: said.delay,
                fatal: said.fatal,
                metadata: said.options.metadata,
            })
        }
        "query" => Request::Query(said.named()?.parties),
        "list" => Request::List {
            limit: said.limit.unwrap_or(LISTED),
        },
        "statistics" => Request::Statistics,
        "block media" => return said.treat(Treatment::Block, true),
        "unblock media" => return said.treat(Treatment::Block, false),
        "silence media" => return said.treat(Treatment::Silence, true),
        "unsilence media" => return said.treat(Treatment::Silence, false),
        "block DTMF" => return said.treat(Treatment::BlockDtmf, true),
        "unblock DTMF" => return said.treat(Treatment::BlockDtmf, false),
        "start forwarding" => return said.treat(Treatment::Forward, true),
        "stop forwarding" => return said.treat(Treatment::Forward, false),
        "start recording" => return said.record(Recording::Start),
        "pause recording" => return said.record(Recording::Pause),
        "stop recording" => return said.record(Recording::Stop),
        "play DTMF" => play_dtmf(said.named()?)?,
        "play media" => play_media(said.named()?)?,
        "stop media" => Request::StopMedia(said.named()?.parties),
        "subscribe request" => {
            let said = said.named()?;
            Request::SubscribeRequest(Box::new(Exchange {
                parties: said.parties,
                sdp: Vec::new(),
                options: said.options,
            }))
        }
        "subscribe answer" => {
            let said = said.with_sdp()?.named()?.with_to()?;
            Request::SubscribeAnswer(Box::new(Exchange {
                parties: said.parties,
                sdp: said.sdp.unwrap_or_default(),
                options: said.options,
            }))
        }
        "unsubscribe" => Request::Unsubscribe(said.named()?.with_to()?.parties),
        "publish" => return Err(RequestError::Bad("Publishing is not supported")),
        _ => return Err(RequestError::UnknownCommand),
    })
}

fn play_dtmf(said: Said) -> Result<Request, RequestError> {
    let code = said.code.ok_or(RequestError::Bad("No valid DTMF code"))?;
    let event = |digit: &u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'*' => Some(10),
        b'#' => Some(11),
        b'A'..=b'D' => Some(digit - b'A' + 12),
        b'a'..=b'd' => Some(digit - b'a' + 12),
        _ => None,
    };
    let events: Option<Vec<u8>> = code.iter().map(event).collect();
    let events = events.filter(|events| (1..=MOST_EVENTS).contains(&events.len()));
    Ok(Request::PlayDtmf(PlayDtmf {
        parties: said.parties,
        events: events.ok_or(RequestError::Bad("Out of range 'code' specified"))?,
        duration: said.duration,
        pause: said.pause,
        volume: said.volume,
    }))
}

fn play_media(said: Said) -> Result<Request, RequestError> {
    Ok(Request::PlayMedia(PlayMedia {
        parties: said.parties,
        source: said
            .sound
            .ok_or(RequestError::Bad("No media file specified"))?,
        repeat: said.repeat.unwrap_or(1),
        start_ms: said.start_ms,
        repeat_ms: said.repeat_ms,
    }))
}

impl Request {
    /// rtpengine's name of the command.
    pub fn command(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Offer(_) => "offer",
            Self::Answer(_) => "answer",
            Self::Delete(_) => "delete",
            Self::Query(_) => "query",
            Self::List { .. } => "list",
            Self::Statistics => "statistics",
            Self::Treat(treat) => match (treat.what, treat.begin) {
                (Treatment::Block, true) => "block media",
                (Treatment::Block, false) => "unblock media",
                (Treatment::Silence, true) => "silence media",
                (Treatment::Silence, false) => "unsilence media",
                (Treatment::BlockDtmf, true) => "block DTMF",
                (Treatment::BlockDtmf, false) => "unblock DTMF",
                (Treatment::Forward, true) => "start forwarding",
                (Treatment::Forward, false) => "stop forwarding",
            },
            Self::Record(record) => match record.what {
                Recording::Start => "start recording",
                Recording::Pause => "pause recording",
                Recording::Stop => "stop recording",
            },
            Self::PlayDtmf(_) => "play DTMF",
            Self::PlayMedia(_) => "play media",
            Self::StopMedia(_) => "stop media",
            Self::SubscribeRequest(_) => "subscribe request",
            Self::SubscribeAnswer(_) => "subscribe answer",
            Self::Unsubscribe(_) => "unsubscribe",
        }
    }
}

impl All {
    /// What `all` says.
    pub(super) fn of(word: &[u8]) -> Option<Self> {
        match word {
            b"none" => Some(Self::None),
            b"all" | b"offer-answer" | b"flows" | b"except-offer-answer" => Some(Self::All),
            _ => None,
        }
    }
}
