//! A story for people: every line with its kind and a sentence.

use std::net::SocketAddr;

use contract::Timestamp;

use crate::b2bua::CallId;
use crate::records::{FlowRecord, Release};
use crate::session::Side;
use crate::settings::ListenerId;
use crate::sip::StatusCode;

use super::book::{Stories, Story, Whose};
use super::line::{Passed, Way, What};

/// A call's story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoryView {
    /// The call.
    pub call: CallId,
    /// Whether it is over.
    pub ended: bool,
    /// The Call-IDs of its legs, the caller's first.
    pub call_ids: Vec<String>,
    /// When its INVITE came.
    pub started: Timestamp,
    /// What happened, in order.
    pub lines: Vec<StoryLine>,
    /// Lines left out in the middle.
    pub omitted: u32,
}

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoryLine {
    /// When.
    pub at: Timestamp,
    /// What sort of thing happened.
    pub kind: &'static str,
    /// What happened.
    pub text: String,
    /// The message, if it is one.
    pub message: Option<MessageView>,
}

/// A message of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageView {
    /// Which way it went.
    pub way: Way,
    /// Our socket.
    pub listener: ListenerId,
    /// Their address.
    pub remote: SocketAddr,
    /// `INVITE`, or `180 Ringing`.
    pub summary: String,
    /// Its CSeq, as in `1 INVITE`.
    pub cseq: String,
    /// Bytes.
    pub size: u16,
    /// It had passed before, byte for byte.
    pub repeated: bool,
    /// The message itself, where whole messages are kept.
    pub whole: Option<Vec<u8>>,
}

impl Stories {
    /// A story, spelled out.
    pub(crate) fn view(&self, whose: Whose<'_>) -> Option<StoryView> {
        let story = self.find(whose)?;
        Some(StoryView {
            call: story.call,
            ended: story.ended,
            call_ids: story.call_ids.iter().map(|id| id.to_string()).collect(),
            started: story.started,
            lines: story.lines().collect(),
            omitted: story.omitted,
        })
    }
}

impl Story {
    fn lines(&self) -> impl Iterator<Item = StoryLine> {
        self.lines.iter().enumerate().map(|(place, line)| {
            let (kind, text) = spell(&line.what);
            let message = match &line.what {
                What::Message(passed) => self.message(passed, place),
                _ => None,
            };
            let text = message.as_ref().map_or(text, MessageView::sentence);
            StoryLine {
                at: line.at,
                kind,
                text,
                message,
            }
        })
    }

    fn message(&self, passed: &Passed, place: usize) -> Option<MessageView> {
        let path = self.paths.get(usize::from(passed.path))?;
        let earlier = self.lines.get(..place).unwrap_or_default();
        let repeated = earlier.iter().any(|line| match &line.what {
            What::Message(earlier) => passed.repeats(earlier),
            _ => false,
        });
        Some(MessageView {
            way: passed.way,
            listener: path.listener,
            remote: path.remote,
            summary: summary(passed),
            cseq: format!("{} {}", passed.cseq, passed.method()),
            size: passed.size,
            repeated,
            whole: passed.whole.as_deref().map(<[u8]>::to_vec),
        })
    }
}

impl MessageView {
    fn sentence(&self) -> String {
        let (arrow, again) = match self.way {
            Way::Received => ("from", self.repeated),
            Way::Sent => ("to", self.repeated),
        };
        let again = if again { ", again" } else { "" };
        format!(
            "{} ({}) {arrow} {}{again}",
            self.summary, self.cseq, self.remote
        )
    }
}

fn summary(passed: &Passed) -> String {
    match StatusCode::new(passed.code) {
        None => passed.method().to_owned(),
        Some(code) => format!("{} {}", passed.code, code.reason())
            .trim_end()
            .to_owned(),
    }
}

/// The kind of a line, and the line.
fn spell(what: &What) -> (&'static str, String) {
    match what {
        What::Message(passed) => match passed.way {
            Way::Received => ("in", summary(passed)),
            Way::Sent => ("out", summary(passed)),
        },
        What::Described(text) => ("sdp", text.to_string()),
        What::Rewritten(both) => ("sdp", format!("{} -> {}", both.0, both.1)),
        What::Routed(text) => ("route", text.to_string()),
        What::Target(text) => ("target", text.to_string()),
        What::Step { trigger, next } => ("state", format!("{next} (by {trigger:?})")),
        What::FlowsReady(count) => ("flows", format!("{count} flows are installed")),
        What::FlowsFailed(why) => ("flows", format!("not installed: {why}")),
        What::Latched(both) => ("latch", format!("port {} believes {}", both.0, both.1)),
        What::FlowEnded(flow) => ("flow", flow_ended(flow)),
        What::Released(release) => ("release", released(release)),
        What::Timer(text) => ("timer", text.to_string()),
        What::Dropped(why) => ("drop", (*why).to_owned()),
        What::Note(text) => ("note", (*text).to_owned()),
    }
}

fn flow_ended(flow: &FlowRecord) -> String {
    let party = match flow.from {
        Side::A => "caller",
        Side::B => "callee",
    };
    let carried = if flow.rtp { "RTP" } else { "RTCP" };
    let measured = flow.measured;
    let mut text = format!(
        "{carried} of the {party} at {} ended: {} packets, {} bytes",
        flow.key, measured.packets, measured.bytes
    );
    if measured.wrong_source > 0 {
        text.push_str(&format!(
            ", {} dropped from another source (wrong_source)",
            measured.wrong_source
        ));
    }
    if let Some(quality) = measured.quality {
        text.push_str(&format!(", {} lost", quality.lost));
    }
    text
}

fn released(release: &Release) -> String {
    let mut text = format!("by {}: {}", release.by.name(), release.cause);
    if let Some(code) = release.code {
        text.push_str(&format!(", {code}"));
    }
    if let Some(cause) = release.q850 {
        text.push_str(&format!(", Q.850 {cause}"));
    }
    if let Some(reason) = &release.reason {
        text.push_str(&format!(", Reason: {reason}"));
    }
    text
}
