//! The story of a call as the admin socket's view. Pure: what the control plane says goes in.

use std::time::{SystemTime, UNIX_EPOCH};

use contract::Timestamp;
use controlplane::session::FlowView;
use controlplane::settings::Listener;
use controlplane::story::{Counts, MessageView, StoryView, Way};
use dataplane::report::FlowTally;

use crate::admin::views::{Stories, Story, StoryLine, StoryMessage};
use crate::cdr::{Moment, spell_time};

/// What is held of stories.
pub(crate) fn counts(counts: Counts, keeps_messages: bool) -> Stories {
    Stories {
        live: counts.live as u64,
        finished: counts.finished as u64,
        bytes: counts.bytes as u64,
        forgotten: counts.forgotten,
        lines_omitted: counts.lines_omitted,
        messages_not_kept: counts.messages_not_kept,
        keeps_messages,
    }
}

/// A story, with whole messages if `whole`.
pub(crate) fn story(view: &StoryView, listeners: &[Listener], now: Moment, whole: bool) -> Story {
    let started = now.wall(view.started);
    Story {
        call: view.call.0,
        ended: view.ended,
        call_ids: view.call_ids.clone(),
        started: spell_time(started),
        started_unix_us: microseconds(started),
        lines: view
            .lines
            .iter()
            .map(|line| StoryLine {
                at_seconds: line.at.since(view.started).as_secs_f64(),
                kind: line.kind.to_owned(),
                text: line.text.clone(),
                message: line
                    .message
                    .as_ref()
                    .map(|view| message(view, listeners, whole)),
            })
            .collect(),
        omitted: u64::from(view.omitted),
    }
}

/// What a flow of a call that is up has carried and dropped so far.
pub(crate) fn live_flow(
    view: &FlowView,
    tallies: &[FlowTally],
    started: Timestamp,
    now: Timestamp,
) -> StoryLine {
    let sum = |of: fn(&FlowTally) -> u64| tallies.iter().map(of).sum::<u64>();
    let mut text = format!(
        "port {} so far: {} packets",
        view.key,
        sum(|tally| tally.packets)
    );
    let dropped = sum(|tally| tally.wrong_source);
    if dropped > 0 {
        text.push_str(&format!(
            ", {dropped} dropped from another source (wrong_source)"
        ));
    }
    StoryLine {
        at_seconds: now.since(started).as_secs_f64(),
        kind: "flow".to_owned(),
        text,
        message: None,
    }
}

fn message(view: &MessageView, listeners: &[Listener], whole: bool) -> StoryMessage {
    let listener = listeners.get(usize::from(view.listener.0));
    StoryMessage {
        sent: view.way == Way::Sent,
        local: listener.map_or_else(String::new, |listener| listener.address.to_string()),
        remote: view.remote.to_string(),
        transport: listener
            .map_or("", |listener| listener.transport.name())
            .to_owned(),
        summary: view.summary.clone(),
        cseq: view.cseq.clone(),
        size: u64::from(view.size),
        repeated: view.repeated,
        bytes: view.whole.as_ref().filter(|_| whole).map(hex::encode),
    }
}

fn microseconds(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
