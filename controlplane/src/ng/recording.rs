//! Calls that are recorded, and parties whose audio is forwarded: which taps there are, and what the media services are
//! told of them.

use std::collections::VecDeque;
use std::time::Duration;

use contract::{Forwarding, Recording as Begun, ServiceOrder, TapId, Timestamp};

use super::book::CallNumber;
use super::door::{Asker, Done, Due, Hands, Ng};
use super::media::Target;
use super::reply;
use super::request::{Record, Recording};
use super::value::Dictionary;
use crate::agent::Output;
use crate::session::Side;

/// How long whoever asks for a recording waits for its file.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who gets copies of what a call's parties send.
#[derive(Debug, Default)]
pub(super) struct Tapped {
    /// The call's number among those that are tapped; 0: it never was.
    number: u32,
    recording: State,
    /// Of whom audio is forwarded.
    forwarded: [bool; 2],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Off,
    On,
    Paused,
}

impl Tapped {
    const fn tap(&self, side: Side) -> TapId {
        TapId::of(self.number, matches!(side, Side::B))
    }

    /// The tap of what a side sends, if anybody wants it.
    fn wanted(&self, side: Side) -> Option<TapId> {
        let is_forwarded = self.forwarded[usize::from(side == Side::B)];
        (self.recording != State::Off || is_forwarded).then(|| self.tap(side))
    }
}

impl Ng {
    /// `start recording` and its like.
    pub(super) fn record(&mut self, hands: &mut Hands<'_>, asker: &Asker, record: &Record) -> Done {
        let Some(number) = self.call_of(&record.parties) else {
            return Done::Reply(reply::error(reply::UNKNOWN_CALL));
        };
        if let Some(call) = self.book.get_mut(number) {
            call.metadata = record.metadata.clone().or(call.metadata.take());
        }
        match record.what {
            Recording::Start => self.start_recording(hands, number, Some(asker)),
            Recording::Pause => Done::Reply(self.pause_recording(number)),
            Recording::Stop => {
                self.stop_recording(hands, number);
                Done::Reply(reply::ok())
            }
        }
    }

    /// Begins to record a call, or goes on; who has asked is told when the file is there.
    pub(super) fn start_recording(
        &mut self,
        hands: &mut Hands<'_>,
        number: CallNumber,
        asker: Option<&Asker>,
    ) -> Done {
        if !self.policy.recording {
            return Done::Reply(reply::error("Call recording not configured"));
        }
        self.number_tap(number);
        let Some(call) = self.book.get_mut(number) else {
            return Done::Reply(reply::error(reply::UNKNOWN_CALL));
        };
        let tap = call.tapped.tap(Side::A);
        match std::mem::replace(&mut call.tapped.recording, State::On) {
            State::On => {
                let pending = self
                    .recordings_asked
                    .get_mut(&tap)
                    .and_then(VecDeque::back_mut);
                match (pending, asker) {
                    (Some(askers), Some(asker)) => {
                        askers.push(asker.clone());
                        Done::Later
                    }
                    _ => Done::Reply(reply::ok()),
                }
            }
            State::Paused => {
                let order = ServiceOrder::ResumeRecording(tap);
                self.outbox.push_back(Output::Service(order));
                Done::Reply(reply::ok())
            }
            State::Off => {
                let metadata = call.metadata.clone().unwrap_or_default();
                let order = ServiceOrder::Record(Box::new(Begun {
                    tap,
                    call_id: call.id.clone(),
                    metadata: String::from_utf8_lossy(&metadata).into_owned(),
                }));
                self.outbox.push_back(Output::Service(order));
                let pending = self.recordings_asked.entry(tap).or_default();
                pending.push_back(asker.into_iter().cloned().collect());
                self.due.set(Due::Recording(tap), hands.now + PATIENCE);
                self.recorded.insert(tap, number);
                self.describe_so_far(number);
                self.set_taps(hands, number);
                Done::Later
            }
        }
    }

    fn pause_recording(&mut self, number: CallNumber) -> Dictionary {
        let call = self.book.get_mut(number);
        let Some(call) = call.filter(|call| call.tapped.recording == State::On) else {
            return reply::error("Not currently recording");
        };
        call.tapped.recording = State::Paused;
        let order = ServiceOrder::PauseRecording(call.tapped.tap(Side::A));
        self.outbox.push_back(Output::Service(order));
        reply::ok()
    }

    pub(super) fn stop_recording(&mut self, hands: &mut Hands<'_>, number: CallNumber) {
        let call = self.book.get_mut(number);
        let Some(call) = call.filter(|call| call.tapped.recording != State::Off) else {
            return;
        };
        call.tapped.recording = State::Off;
        let tap = call.tapped.tap(Side::A);
        self.recorded.remove(&tap);
        self.outbox
            .push_back(Output::Service(ServiceOrder::StopRecording(tap)));
        self.set_taps(hands, number);
    }

    /// `start forwarding` and `stop forwarding`.
    pub(super) fn forward(
        &mut self,
        hands: &mut Hands<'_>,
        number: CallNumber,
        targets: &[Target],
        begin: bool,
    ) -> Dictionary {
        if !self.policy.forwarding {
            return reply::error("Forwarding is not configured");
        }
        self.number_tap(number);
        let Some(call) = self.book.get_mut(number) else {
            return reply::error(reply::UNKNOWN_CALL_OF_MEDIA);
        };
        for side in [Side::A, Side::B] {
            let is_meant = targets.iter().any(|(_, target)| *target == side);
            let forwarded = &mut call.tapped.forwarded[usize::from(side == Side::B)];
            if !is_meant || std::mem::replace(forwarded, begin) == begin {
                continue;
            }
            let tap = call.tapped.tap(side);
            let order = match begin {
                true => ServiceOrder::Forward(Box::new(Forwarding {
                    tap,
                    metadata: call.metadata.clone().unwrap_or_else(|| call.id.clone()),
                })),
                false => ServiceOrder::StopForwarding(tap),
            };
            self.outbox.push_back(Output::Service(order));
        }
        self.set_taps(hands, number);
        reply::ok()
    }

    /// What a recording that began has to say, or one that could not go on.
    pub(super) fn on_recording(
        &mut self,
        hands: &mut Hands<'_>,
        tap: TapId,
        outcome: Result<String, String>,
    ) {
        let (askers, is_latest) = match self.recordings_asked.get_mut(&tap) {
            Some(pending) => (pending.pop_front().unwrap_or_default(), pending.is_empty()),
            None => (Vec::new(), true),
        };
        if is_latest {
            self.recordings_asked.remove(&tap);
        }
        if let Err(reason) = &outcome {
            tracing::warn!(%reason, "a call is not recorded");
            self.counters.not_recorded += 1;
            let number = self.recorded.get(&tap).copied().filter(|_| is_latest);
            if number.is_some() {
                self.recorded.remove(&tap);
            }
            if let Some(call) = number.and_then(|number| self.book.get_mut(number)) {
                call.tapped.recording = State::Off;
            }
            if let Some(number) = number {
                self.set_taps(hands, number);
            }
        }
        for asker in askers {
            let told = match &outcome {
                Ok(_) => reply::ok(),
                Err(reason) => reply::error(reason.as_str()),
            };
            self.reply(hands.now, asker, told);
        }
    }

    /// Nothing was heard of a recording that was asked for.
    pub(super) fn give_up_recording(&mut self, now: Timestamp, tap: TapId) {
        let pending = self.recordings_asked.remove(&tap);
        for asker in pending.into_iter().flatten().flatten() {
            self.reply(now, asker, reply::error("The recorder does not answer"));
        }
    }

    /// What both have said before the recording.
    fn describe_so_far(&mut self, number: CallNumber) {
        let Some(call) = self.book.get(number) else {
            return;
        };
        let dialogues = call.dialogues.iter();
        let parties = dialogues.flat_map(|dialogue| &dialogue.parties);
        let said: Vec<_> = parties.map(|party| party.said.clone()).collect();
        for said in said.iter().filter(|said| !said.is_empty()) {
            self.describe_recording(number, "SDP", said);
        }
    }

    /// What a party or the proxy has said of a call that is recorded goes into the recording's metadata.
    pub(super) fn describe_recording(&mut self, number: CallNumber, what: &str, text: &[u8]) {
        let call = self.book.get(number);
        let Some(call) = call.filter(|call| call.tapped.recording != State::Off) else {
            return;
        };
        let order = ServiceOrder::Describe {
            tap: call.tapped.tap(Side::A),
            text: format!("{what}:\n{}\n", String::from_utf8_lossy(text)),
        };
        self.outbox.push_back(Output::Service(order));
    }

    /// A call is about to go: nobody taps it any more.
    pub(super) fn end_taps(&mut self, hands: &mut Hands<'_>, number: CallNumber) {
        self.stop_recording(hands, number);
        let Some(call) = self.book.get_mut(number) else {
            return;
        };
        for side in [Side::A, Side::B] {
            if std::mem::take(&mut call.tapped.forwarded[usize::from(side == Side::B)]) {
                let order = ServiceOrder::StopForwarding(call.tapped.tap(side));
                self.outbox.push_back(Output::Service(order));
            }
        }
    }

    /// The flows of a call's dialogues, new ones among them, are tapped as somebody wants.
    pub(super) fn set_taps(&self, hands: &mut Hands<'_>, number: CallNumber) {
        let Some(call) = self.book.get(number).filter(|call| call.tapped.number != 0) else {
            return;
        };
        for (session, side) in call.targets(|_, _| true) {
            let tap = call.tapped.wanted(side);
            hands
                .engine
                .handle_media(hands.now, session, side, |handling| handling.tap = tap);
        }
    }

    fn number_tap(&mut self, number: CallNumber) {
        let call = self.book.get_mut(number);
        if let Some(call) = call.filter(|call| call.tapped.number == 0) {
            self.last_tap = self.last_tap % (u32::MAX >> 1) + 1;
            call.tapped.number = self.last_tap;
        }
    }
}
