//! The calls that the control protocol has begun, and who is who in them.
//!
//! ```text
//!   call (Call-ID) ─► dialogue (a session of the engine; a branch of its own where one was named)
//!                       ├─► party A: the first offerer's tag
//!                       └─► party B: the answerer's, the last of several that answered
//! ```
//!
//! Knows no SDP and decides nothing about media.

use std::collections::{BTreeMap, HashMap};

use contract::Timestamp;

use super::quality::Heard;
use super::recording::Tapped;
use super::request::Parties;
use crate::records::FlowRecord;
use crate::session::{SessionId, Side};

/// A call's number; never used again within a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallNumber(pub u64);

/// Dialogues of one call: more than any proxy forks, and few enough to be looked through.
pub(super) const MOST_DIALOGUES: usize = 64;

/// Tags of those who have answered before, of one party.
const MOST_FORMER_TAGS: usize = 16;

/// Every call.
#[derive(Debug, Default)]
pub(super) struct Book {
    calls: BTreeMap<CallNumber, Call>,
    names: HashMap<Vec<u8>, CallNumber>,
    sessions: HashMap<SessionId, CallNumber>,
    last: u64,
}

/// One call.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) number: CallNumber,
    /// Its Call-ID.
    pub(super) id: Vec<u8>,
    pub(super) created: Timestamp,
    /// The last offer, answer or delete.
    pub(super) signalled: Timestamp,
    pub(super) dialogues: Vec<Dialogue>,
    /// It has been deleted, and stays for its delay.
    pub(super) deleted: bool,
    pub(super) metadata: Option<Vec<u8>>,
    /// Who gets copies of its media.
    pub(super) tapped: Tapped,
    pub(super) subscriptions: Vec<Subscription>,
    /// What its flows that are gone have carried.
    pub(super) ended: Vec<FlowRecord>,
}

/// Somebody who gets copies of what some parties send.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) session: SessionId,
    pub(super) tag: Vec<u8>,
    /// In the order of the subscription's streams.
    pub(super) sources: Vec<(SessionId, Side)>,
    pub(super) created: Timestamp,
}

/// Two parties, and the session that joins them.
#[derive(Debug)]
pub(super) struct Dialogue {
    pub(super) session: SessionId,
    pub(super) via_branch: Option<Vec<u8>>,
    /// Party A, then party B.
    pub(super) parties: [Party; 2],
    /// Who made the last offer.
    pub(super) offerer: Side,
    /// What RTCP has told of its streams.
    pub(super) heard: Heard,
}

/// One party of a dialogue.
#[derive(Clone, Debug)]
pub(super) struct Party {
    /// Not known before it has answered.
    pub(super) tag: Option<Vec<u8>>,
    /// Of those who have answered in its place.
    former: Vec<Vec<u8>>,
    pub(super) label: Option<Vec<u8>>,
    pub(super) created: Timestamp,
    /// The transport protocols of its last offer, by stream.
    pub(super) protocols: Vec<Vec<u8>>,
    /// The name in `o=` and the `s=` that it was shown first.
    pub(super) shown: Option<[Vec<u8>; 2]>,
    /// The body of its last offer or answer, as it came.
    pub(super) said: Box<[u8]>,
}

impl Party {
    pub(super) fn new(tag: Option<Vec<u8>>, now: Timestamp) -> Self {
        Self {
            tag,
            former: Vec::new(),
            label: None,
            created: now,
            protocols: Vec::new(),
            shown: None,
            said: Box::default(),
        }
    }

    /// Whether it is the one of this tag, or without one of this label.
    pub(super) fn is_named(&self, tag: Option<&[u8]>, label: Option<&[u8]>) -> bool {
        match (tag, label) {
            (Some(tag), _) => self.is(tag),
            (None, Some(label)) => self.label.as_deref() == Some(label),
            (None, None) => false,
        }
    }

    pub(super) fn is(&self, tag: &[u8]) -> bool {
        self.tag.as_deref() == Some(tag)
    }

    fn was(&self, tag: &[u8]) -> bool {
        self.former.iter().any(|former| former == tag)
    }

    /// It goes by this tag from now on.
    pub(super) fn take_tag(&mut self, tag: &[u8]) {
        if self.is(tag) {
            return;
        }
        self.former.retain(|former| former != tag);
        if let Some(former) = self.tag.replace(tag.to_vec()) {
            if self.former.len() == MOST_FORMER_TAGS {
                self.former.remove(0);
            }
            self.former.push(former);
        }
    }
}

impl Dialogue {
    pub(super) const fn party(&self, side: Side) -> &Party {
        match side {
            Side::A => &self.parties[0],
            Side::B => &self.parties[1],
        }
    }

    pub(super) const fn party_mut(&mut self, side: Side) -> &mut Party {
        match side {
            Side::A => &mut self.parties[0],
            Side::B => &mut self.parties[1],
        }
    }

    /// Whether these are the tags of its parties, either way.
    fn is_between(&self, one: &[u8], other: &[u8]) -> bool {
        let [a, b] = &self.parties;
        (a.is(one) && b.is(other)) || (a.is(other) && b.is(one))
    }

    /// The side that this tag names.
    pub(super) fn side_of(&self, tag: &[u8]) -> Option<Side> {
        let is = |side: &Side| self.party(*side).is(tag);
        let was = |side: &Side| self.party(*side).was(tag);
        let both = [Side::A, Side::B];
        both.into_iter().find(is).or(both.into_iter().find(was))
    }

    fn has_branch(&self, branch: Option<&[u8]>) -> bool {
        branch.is_some() && self.via_branch.as_deref() == branch
    }
}

impl Call {
    /// Which dialogue an offer belongs to, and which of its sides makes it; `None`: a new one.
    pub(super) fn of_offer(&self, parties: &Parties) -> Option<(usize, Side)> {
        let from = parties.from_tag.as_deref()?;
        let branch = parties.via_branch.as_deref();
        let found = |fits: &dyn Fn(&Dialogue, Side) -> bool| {
            let dialogues = self.dialogues.iter().enumerate().rev();
            dialogues
                .filter_map(|(index, dialogue)| Some((index, dialogue, dialogue.side_of(from)?)))
                .find(|(_, dialogue, side)| fits(dialogue, *side))
                .map(|(index, _, side)| (index, side))
        };
        match parties.to_tag.as_deref().filter(|tag| !tag.is_empty()) {
            Some(to) => {
                let other = |dialogue: &Dialogue, side: Side| dialogue.party(side.other()).is(to);
                let former = |dialogue: &Dialogue, side: Side| dialogue.party(side.other()).was(to);
                let unknown =
                    |dialogue: &Dialogue, side: Side| dialogue.party(side.other()).tag.is_none();
                found(&other)
                    .or_else(|| found(&former))
                    .or_else(|| found(&unknown))
            }
            // Of a new call or one of its branches: only who began the dialogue may do so without a to-tag.
            None if branch.is_some() => found(&|dialogue, side| {
                side == Side::A && (dialogue.has_branch(branch) || dialogue.via_branch.is_none())
            }),
            None => found(&|_, side| side == Side::A),
        }
    }

    /// Which dialogue an answer belongs to; the side that answers is the one that has not offered.
    pub(super) fn of_answer(&self, parties: &Parties) -> Option<usize> {
        let from = parties.from_tag.as_deref()?;
        let to = parties.to_tag.as_deref()?;
        let branch = parties.via_branch.as_deref();
        let found = |fits: &dyn Fn(&Dialogue) -> bool| {
            let mut dialogues = self.dialogues.iter().enumerate().rev();
            dialogues.find_map(|(index, dialogue)| {
                let offerer = dialogue.party(dialogue.offerer);
                (offerer.is(from) && fits(dialogue)).then_some(index)
            })
        };
        let answerer = |dialogue: &Dialogue| dialogue.party(dialogue.offerer.other()).clone();
        found(&|dialogue| dialogue.has_branch(branch))
            .or_else(|| found(&|dialogue| answerer(dialogue).is(to)))
            .or_else(|| found(&|dialogue| answerer(dialogue).was(to)))
            .or_else(|| found(&|dialogue| answerer(dialogue).tag.is_none()))
            .or_else(|| found(&|_| true))
    }

    /// Which dialogues a `delete` is about; `None`: its tags are nobody's.
    pub(super) fn of_delete(&self, parties: &Parties) -> Option<Vec<usize>> {
        let all = || (0..self.dialogues.len()).collect::<Vec<_>>();
        let Some(from) = parties.from_tag.as_deref().filter(|tag| !tag.is_empty()) else {
            return Some(all());
        };
        let which = |fits: &dyn Fn(&Dialogue) -> bool| {
            let dialogues = self.dialogues.iter().enumerate();
            dialogues
                .filter(|(_, dialogue)| fits(dialogue))
                .map(|(index, _)| index)
                .collect::<Vec<_>>()
        };
        let to = parties.to_tag.as_deref().filter(|tag| !tag.is_empty());
        let branch = parties
            .via_branch
            .as_deref()
            .filter(|branch| !branch.is_empty());
        if let (None, Some(branch)) = (to, branch) {
            let of_branch = which(&|dialogue| dialogue.has_branch(Some(branch)));
            if !of_branch.is_empty() {
                return Some(of_branch);
            }
        }
        let of_from = which(&|dialogue| dialogue.side_of(from).is_some());
        let Some(to) = to else {
            return (!of_from.is_empty()).then_some(of_from);
        };
        let of_both = which(&|dialogue| dialogue.is_between(from, to));
        if !of_both.is_empty() {
            return Some(of_both);
        }
        let was_between = |dialogue: &Dialogue| {
            dialogue.side_of(from).is_some() && dialogue.side_of(to).is_some()
        };
        if self.dialogues.iter().any(was_between) {
            // A fork in whose place another one has answered: its end is not that of the call.
            return Some(Vec::new());
        }
        // Whoever refuses an offer has a tag that never came by here; where somebody has answered, it is another fork.
        let unanswered = which(&|dialogue| {
            let other = dialogue
                .side_of(from)
                .map(|side| dialogue.party(side.other()));
            other.is_some_and(|other| other.tag.is_none())
        });
        (!unanswered.is_empty()).then_some(unanswered)
    }

    /// The parties that a command about media names by tag, or without one by label.
    pub(super) fn named(&self, parties: &Parties) -> Vec<(SessionId, Side)> {
        let (tag, label) = (parties.from_tag.as_deref(), parties.label.as_deref());
        self.targets(|party, _| party.is_named(tag, label))
    }

    /// The parties that fit.
    pub(super) fn targets(&self, fits: impl Fn(&Party, Side) -> bool) -> Vec<(SessionId, Side)> {
        let both = |dialogue: &Dialogue| [Side::A, Side::B].map(|side| (dialogue.session, side));
        let dialogues = self.dialogues.iter();
        let everybody = dialogues.flat_map(|dialogue| both(dialogue).map(|each| (dialogue, each)));
        everybody
            .filter(|(dialogue, (_, side))| fits(dialogue.party(*side), *side))
            .map(|(_, target)| target)
            .collect()
    }

    fn dialogue(&self, session: SessionId) -> Option<&Dialogue> {
        let mut dialogues = self.dialogues.iter();
        dialogues.find(|dialogue| dialogue.session == session)
    }

    /// What a party has said last, and what the other has, if it has said anything.
    pub(super) fn said_by(
        &self,
        (session, side): (SessionId, Side),
    ) -> Option<(&[u8], Option<&[u8]>)> {
        let dialogue = self.dialogue(session)?;
        let said = |side: Side| Some(&*dialogue.party(side).said).filter(|said| !said.is_empty());
        Some((said(side)?, said(side.other())))
    }

    /// The tag of a party.
    pub(super) fn tag_of(&self, (session, side): (SessionId, Side)) -> Option<Vec<u8>> {
        self.dialogue(session)?.party(side).tag.clone()
    }
}

impl Book {
    /// The call of this Call-ID.
    pub(super) fn number_of(&self, id: &[u8]) -> Option<CallNumber> {
        self.names.get(id).copied()
    }

    /// The call that has a session.
    pub(super) fn of_session(&self, session: SessionId) -> Option<CallNumber> {
        self.sessions.get(&session).copied()
    }

    pub(super) fn get(&self, number: CallNumber) -> Option<&Call> {
        self.calls.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: CallNumber) -> Option<&mut Call> {
        self.calls.get_mut(&number)
    }

    /// Every call, oldest first.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.values()
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// How many dialogues there are, in all calls.
    pub(super) fn dialogues(&self) -> usize {
        self.sessions.len()
    }

    /// Adds a dialogue to the call of this Call-ID, which begins with it if need be.
    pub(super) fn add(&mut self, id: &[u8], dialogue: Dialogue, now: Timestamp) -> CallNumber {
        let number = match self.number_of(id) {
            Some(number) => number,
            None => {
                self.last += 1;
                let number = CallNumber(self.last);
                self.names.insert(id.to_vec(), number);
                self.calls.insert(number, Call::new(number, id, now));
                number
            }
        };
        self.sessions.insert(dialogue.session, number);
        if let Some(call) = self.calls.get_mut(&number) {
            call.dialogues.push(dialogue);
        }
        number
    }

    /// Adds a subscription to a call.
    pub(super) fn subscribe(&mut self, number: CallNumber, subscription: Subscription) {
        if let Some(call) = self.calls.get_mut(&number) {
            self.sessions.insert(subscription.session, number);
            call.subscriptions.push(subscription);
        }
    }

    /// Takes a subscription out.
    pub(super) fn unsubscribe(&mut self, number: CallNumber, tag: &[u8]) -> Option<Subscription> {
        let call = self.calls.get_mut(&number)?;
        let place = call
            .subscriptions
            .iter()
            .position(|known| known.tag == tag)?;
        let subscription = call.subscriptions.remove(place);
        self.sessions.remove(&subscription.session);
        Some(subscription)
    }

    /// Takes dialogues out, by their places in ascending order; the call goes with its last. Gives their sessions.
    pub(super) fn remove(&mut self, number: CallNumber, places: &[usize]) -> Vec<SessionId> {
        let Some(call) = self.calls.get_mut(&number) else {
            return Vec::new();
        };
        let mut sessions = Vec::new();
        for place in places.iter().rev() {
            if *place < call.dialogues.len() {
                sessions.push(call.dialogues.remove(*place).session);
            }
        }
        for session in &sessions {
            self.sessions.remove(session);
        }
        if call.dialogues.is_empty() {
            let id = std::mem::take(&mut call.id);
            self.names.remove(&id);
            self.calls.remove(&number);
        }
        sessions
    }
}

impl Call {
    fn new(number: CallNumber, id: &[u8], now: Timestamp) -> Self {
        Self {
            number,
            id: id.to_vec(),
            created: now,
            signalled: now,
            dialogues: Vec::new(),
            deleted: false,
            metadata: None,
            tapped: Tapped::default(),
            subscriptions: Vec::new(),
            ended: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(tag: &str) -> Party {
        let tag = (!tag.is_empty()).then(|| tag.as_bytes().to_vec());
        Party::new(tag, Timestamp::ZERO)
    }

    fn dialogue(session: u64, tags: [&str; 2], branch: &str) -> Dialogue {
        Dialogue {
            session: SessionId(session),
            via_branch: (!branch.is_empty()).then(|| branch.as_bytes().to_vec()),
            parties: tags.map(party),
            offerer: Side::A,
            heard: Heard::default(),
        }
    }

    fn parties(from: &str, to: &str, branch: &str) -> Parties {
        let some = |text: &str| (!text.is_empty()).then(|| text.as_bytes().to_vec());
        Parties {
            call_id: b"call".to_vec(),
            from_tag: some(from),
            to_tag: some(to),
            via_branch: some(branch),
            ..Parties::default()
        }
    }

    fn book(dialogues: Vec<Dialogue>) -> (Book, CallNumber) {
        let mut book = Book::default();
        let numbers: Vec<_> = dialogues
            .into_iter()
            .map(|dialogue| book.add(b"call", dialogue, Timestamp::ZERO))
            .collect();
        (book, numbers[0])
    }

    #[test]
    fn an_offer_belongs_to_the_dialogue_of_both_tags_from_either_side() {
        let (book, number) = book(vec![
            dialogue(1, ["a", "b"], ""),
            dialogue(2, ["a", "c"], ""),
        ]);
        let call = book.get(number).expect("there");
        assert_eq!(call.of_offer(&parties("a", "b", "")), Some((0, Side::A)));
        assert_eq!(call.of_offer(&parties("c", "a", "")), Some((1, Side::B)));
        assert_eq!(call.of_offer(&parties("a", "", "")), Some((1, Side::A)));
        assert_eq!(
            call.of_offer(&parties("b", "", "")),
            None,
            "a call of its own"
        );
        assert_eq!(call.of_offer(&parties("x", "b", "")), None);
    }

    #[test]
    fn branches_are_dialogues_of_their_own() {
        let (book, number) = book(vec![
            dialogue(1, ["a", ""], "z1"),
            dialogue(2, ["a", ""], "z2"),
        ]);
        let call = book.get(number).expect("there");
        assert_eq!(call.of_offer(&parties("a", "", "z1")), Some((0, Side::A)));
        assert_eq!(call.of_offer(&parties("a", "", "z3")), None);
        assert_eq!(call.of_answer(&parties("a", "b", "z1")), Some(0));
        assert_eq!(call.of_answer(&parties("a", "b", "z2")), Some(1));
        assert_eq!(call.of_answer(&parties("x", "b", "z2")), None);
        assert_eq!(call.of_delete(&parties("a", "", "z2")), Some(vec![1]));
        assert_eq!(call.of_delete(&parties("a", "", "")), Some(vec![0, 1]));
        assert_eq!(call.of_delete(&parties("x", "", "")), None);
    }

    #[test]
    fn who_answers_last_is_the_party_and_the_others_are_remembered() {
        let (mut book, number) = book(vec![dialogue(1, ["a", "b1"], "")]);
        let call = book.get_mut(number).expect("there");
        assert_eq!(call.of_answer(&parties("a", "b2", "")), Some(0));
        call.dialogues[0].party_mut(Side::B).take_tag(b"b2");
        assert_eq!(call.of_offer(&parties("b1", "a", "")), Some((0, Side::B)));
        let of_a_former = call.of_delete(&parties("a", "b1", ""));
        assert_eq!(of_a_former, Some(vec![]), "the call goes on with b2");
        assert_eq!(call.of_delete(&parties("a", "b2", "")), Some(vec![0]));
        for tag in 0..100_u8 {
            call.dialogues[0].party_mut(Side::B).take_tag(&[tag]);
        }
        assert_eq!(
            call.dialogues[0].party(Side::B).former.len(),
            MOST_FORMER_TAGS
        );
    }

    #[test]
    fn a_call_goes_with_its_last_dialogue() {
        let (mut book, number) = book(vec![
            dialogue(1, ["a", "b"], ""),
            dialogue(2, ["a", "c"], ""),
        ]);
        assert_eq!(book.remove(number, &[0]), [SessionId(1)]);
        assert_eq!((book.len(), book.dialogues()), (1, 1));
        assert_eq!(book.of_session(SessionId(1)), None);
        assert_eq!(book.remove(number, &[0, 5]), [SessionId(2)]);
        assert_eq!((book.len(), book.number_of(b"call")), (0, None));
        assert_eq!(book.calls().count(), 0);
    }
}
