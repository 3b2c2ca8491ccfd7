//! Every story that is kept, and to which of them a message belongs.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use contract::Timestamp;

use crate::b2bua::CallId;
use crate::settings::Explain;
use crate::transaction::Path;

use super::glance::{Glance, glance};
use super::line::{Line, Passed, Way, What};
use super::media;

/// Messages that are kept until a call claims them. An INVITE is claimed before the next datagram is looked at;
/// what stays longer (OPTIONS, scans) belongs to no call.
const UNCLAIMED: usize = 64;

/// Paths of one story: the legs of a call that is forked and moved about.
const MOST_PATHS: usize = 32;

/// Copies that wait to be sent to a collector. They leave before the loop sleeps.
const MOST_MIRRORED: usize = 4096;

/// A copy of a message for a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// When it passed.
    pub at: Timestamp,
    /// Which way.
    pub way: Way,
    /// Between which socket and whom.
    pub path: Path,
    /// The call that it belongs to, if any.
    pub call: Option<CallId>,
    /// The message.
    pub bytes: Vec<u8>,
}

/// Which story is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose<'a> {
    /// That of this call.
    Call(CallId),
    /// The latest with this Call-ID on either leg.
    CallId(&'a str),
}

/// What is held, and what was given up. The last three only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls that are up.
    pub live: usize,
    /// Calls that are over.
    pub finished: usize,
    /// Bytes that all of them take.
    pub bytes: usize,
    /// Finished calls that had to go.
    pub forgotten: u64,
    /// Lines left out of long stories.
    pub lines_omitted: u64,
    /// Whole messages that there was no room for, and copies that a collector did not get.
    pub messages_not_kept: u64,
}

/// One call's story.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) call: CallId,
    pub(super) started: Timestamp,
    pub(super) ended: bool,
    pub(super) call_ids: Vec<Box<str>>,
    pub(super) paths: Vec<Path>,
    pub(super) lines: Vec<Line>,
    pub(super) omitted: u32,
    /// The last session description that came, while none has left since.
    described: Option<Box<str>>,
    /// What it weighs, as far as [`Stories::bytes`] knows.
    weight: usize,
}

#[derive(Debug)]
struct Unclaimed {
    at: Timestamp,
    path: Path,
    call_id: u64,
    passed: Passed,
    described: Option<Box<str>>,
}

/// Every story that is kept.
#[derive(Debug)]
pub(crate) struct Stories {
    bounds: Explain,
    stories: HashMap<CallId, Box<Story>>,
    /// Those that are over, oldest first.
    finished: VecDeque<CallId>,
    by_call_id: HashMap<u64, CallId>,
    unclaimed: VecDeque<Unclaimed>,
    /// Copies for a collector, if there is one, with the hash of their Call-ID.
    mirrored: Option<VecDeque<(u64, Mirrored)>>,
    hasher: RandomState,
    /// What finished stories weigh.
    finished_bytes: usize,
    /// Bytes of whole messages, of live and finished stories and unclaimed ones.
    whole_bytes: usize,
    counts: Counts,
}

/// What a story lost for want of room.
#[derive(Clone, Copy, Debug, Default)]
struct Omitted {
    lines: u32,
    whole_bytes: usize,
}

impl std::ops::AddAssign for Omitted {
    fn add_assign(&mut self, more: Self) {
        self.lines += more.lines;
        self.whole_bytes += more.whole_bytes;
    }
}

impl Stories {
    /// Without any story. Messages are copied for a collector if `mirror` says so.
    pub(crate) fn new(bounds: Explain, mirror: bool) -> Self {
        Self {
            bounds,
            stories: HashMap::new(),
            finished: VecDeque::new(),
            by_call_id: HashMap::new(),
            unclaimed: VecDeque::new(),
            mirrored: mirror.then(VecDeque::new),
            hasher: RandomState::new(),
            finished_bytes: 0,
            whole_bytes: 0,
            counts: Counts::default(),
        }
    }

    /// Other bounds from now on. What is kept beyond them goes as the next call ends.
    pub(crate) fn reconfigure(&mut self, bounds: Explain, mirror: bool) {
        self.bounds = bounds;
        let mirrored = self.mirrored.take();
        self.mirrored = mirror.then(|| mirrored.unwrap_or_default());
    }

    /// Whether whole messages are kept from now on.
    pub(crate) fn keep_messages(&mut self, keep: bool) {
        self.bounds.messages = keep;
    }

    /// Whether whole messages are kept.
    pub(crate) fn keeps_messages(&self) -> bool {
        self.bounds.messages
    }

    /// A message passed.
    pub(crate) fn witness(&mut self, at: Timestamp, path: Path, way: Way, bytes: &[u8]) {
        let Some(seen) = glance(bytes) else {
            return;
        };
        let call_id = self.hasher.hash_one(seen.call_id);
        self.mirror(at, path, way, bytes, call_id);
        // Truncated: it only tells repetitions apart from the rest.
        let hash = self.hasher.hash_one(bytes) as u32;
        let mut passed = Passed::new(way, &seen, bytes.len(), hash);
        if self.bounds.messages {
            passed.whole = self.keep(bytes);
        }
        let described = described(&seen);
        match self.by_call_id.get(&call_id) {
            Some(&call) => self.change(call, |story, lines| {
                story.pass(at, path, passed, described, lines)
            }),
            None => {
                if self.unclaimed.len() == UNCLAIMED
                    && let Some(oldest) = self.unclaimed.pop_front()
                {
                    let whole = oldest.passed.whole.map_or(0, |whole| whole.len());
                    self.whole_bytes = self.whole_bytes.saturating_sub(whole);
                }
                self.unclaimed.push_back(Unclaimed {
                    at,
                    path,
                    call_id,
                    passed,
                    described,
                });
            }
        }
    }

    /// A call begins, with the messages of this Call-ID that have passed already.
    pub(crate) fn begin(&mut self, now: Timestamp, call: CallId, call_id: &str) {
        self.stories.insert(call, Box::new(Story::new(now, call)));
        self.counts.live += 1;
        self.claim(call, call_id);
    }

    /// The call has a leg of this Call-ID, too, with the messages of it that have passed already.
    pub(crate) fn claim(&mut self, call: CallId, call_id: &str) {
        self.add_call_id(call, call_id);
        let hash = self.hasher.hash_one(call_id.as_bytes());
        let (claimed, rest) = self
            .unclaimed
            .drain(..)
            .partition::<VecDeque<_>, _>(|each| each.call_id == hash);
        self.unclaimed = rest;
        self.change(call, |story, lines| {
            let mut omitted = Omitted::default();
            for each in claimed {
                omitted += story.pass(each.at, each.path, each.passed, each.described, lines);
            }
            omitted
        });
    }

    /// The call has a leg of this Call-ID, too.
    pub(crate) fn add_call_id(&mut self, call: CallId, call_id: &str) {
        let hash = self.hasher.hash_one(call_id.as_bytes());
        self.by_call_id.insert(hash, call);
        self.change(call, |story, _| {
            story.call_ids.push(call_id.into());
            Omitted::default()
        });
    }

    /// Something happened to the call.
    pub(crate) fn tell(&mut self, at: Timestamp, call: CallId, what: What) {
        self.change(call, |story, lines| story.push(Line { at, what }, lines));
    }

    /// The call is over. Its story stays while there is room.
    pub(crate) fn finish(&mut self, call: CallId) {
        let Some(story) = self.stories.get_mut(&call).filter(|story| !story.ended) else {
            return;
        };
        story.ended = true;
        story.described = None;
        story.lines.shrink_to_fit();
        self.counts.live = self.counts.live.saturating_sub(1);
        self.finished.push_back(call);
        self.finished_bytes += story.weight;
        self.change(call, |_, _| Omitted::default());
        while self.finished.len() > self.bounds.calls || self.finished_bytes > self.bounds.bytes {
            self.forget_oldest();
        }
    }

    /// The story that is asked for.
    pub(super) fn find(&self, whose: Whose<'_>) -> Option<&Story> {
        let call = match whose {
            Whose::Call(call) => call,
            Whose::CallId(text) => *self
                .by_call_id
                .get(&self.hasher.hash_one(text.as_bytes()))?,
        };
        self.stories.get(&call).map(|story| &**story)
    }

    /// The next copy for the collector.
    pub(crate) fn next_mirrored(&mut self) -> Option<Mirrored> {
        let (call_id, mut mirrored) = self.mirrored.as_mut()?.pop_front()?;
        mirrored.call = self.by_call_id.get(&call_id).copied();
        Some(mirrored)
    }

    /// What is held, and what was given up.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            finished: self.finished.len(),
            ..self.counts
        }
    }

    fn mirror(&mut self, at: Timestamp, path: Path, way: Way, bytes: &[u8], call_id: u64) {
        let Some(mirrored) = &mut self.mirrored else {
            return;
        };
        if mirrored.len() == MOST_MIRRORED {
            self.counts.messages_not_kept += 1;
            return;
        }
        let copy = Mirrored {
            at,
            way,
            path,
            call: None,
            bytes: bytes.to_vec(),
        };
        mirrored.push_back((call_id, copy));
    }

    /// Changes a story, and keeps the books: the change says how many lines it left out.
    fn change(&mut self, call: CallId, with: impl FnOnce(&mut Story, usize) -> Omitted) {
        let Some(story) = self.stories.get_mut(&call) else {
            return;
        };
        let omitted = with(story, self.bounds.lines);
        self.counts.lines_omitted += u64::from(omitted.lines);
        self.whole_bytes = self.whole_bytes.saturating_sub(omitted.whole_bytes);
        let weight = story.weigh();
        let before = std::mem::replace(&mut story.weight, weight);
        self.counts.bytes = self.counts.bytes.saturating_sub(before) + weight;
        if story.ended {
            self.finished_bytes = self.finished_bytes.saturating_sub(before) + weight;
        }
    }

    /// A copy of a whole message, for which the oldest finished stories make room.
    fn keep(&mut self, bytes: &[u8]) -> Option<Box<[u8]>> {
        while self.whole_bytes + bytes.len() > self.bounds.bytes && !self.finished.is_empty() {
            self.forget_oldest();
        }
        if self.whole_bytes + bytes.len() > self.bounds.bytes {
            self.counts.messages_not_kept += 1;
            return None;
        }
        self.whole_bytes += bytes.len();
        Some(bytes.into())
    }

    fn forget_oldest(&mut self) {
        let Some(call) = self.finished.pop_front() else {
            return;
        };
        let Some(story) = self.stories.remove(&call) else {
            return;
        };
        self.counts.bytes = self.counts.bytes.saturating_sub(story.weight);
        self.finished_bytes = self.finished_bytes.saturating_sub(story.weight);
        let whole: usize = story.lines.iter().map(Line::whole_bytes).sum();
        self.whole_bytes = self.whole_bytes.saturating_sub(whole);
        self.counts.forgotten += 1;
        for call_id in &story.call_ids {
            let hash = self.hasher.hash_one(call_id.as_bytes());
            if self.by_call_id.get(&hash) == Some(&call) {
                self.by_call_id.remove(&hash);
            }
        }
    }
}

fn described(seen: &Glance<'_>) -> Option<Box<str>> {
    let text = media::digest(seen.sdp?);
    (!text.is_empty()).then(|| text.into_boxed_str())
}

impl Story {
    fn new(now: Timestamp, call: CallId) -> Self {
        Self {
            call,
            started: now,
            ended: false,
            call_ids: Vec::with_capacity(2),
            paths: Vec::with_capacity(2),
            lines: Vec::new(),
            omitted: 0,
            described: None,
            weight: 0,
        }
    }

    /// Adds a message, and what its session description says. A repeated one has said it before.
    fn pass(
        &mut self,
        at: Timestamp,
        path: Path,
        mut passed: Passed,
        described: Option<Box<str>>,
        most: usize,
    ) -> Omitted {
        passed.path = self.place_of(path);
        let repeated = self.repeats(&passed);
        let way = passed.way;
        let mut omitted = self.push(
            Line {
                at,
                what: What::Message(passed),
            },
            most,
        );
        let Some(described) = described.filter(|_| !repeated) else {
            return omitted;
        };
        let what = match way {
            Way::Received => {
                self.described = Some(described.clone());
                What::Described(described)
            }
            Way::Sent => match self.described.take() {
                Some(came) => What::Rewritten(Box::new((came, described))),
                None => What::Described(described),
            },
        };
        omitted += self.push(Line { at, what }, most);
        omitted
    }

    pub(super) fn repeats(&self, passed: &Passed) -> bool {
        self.lines.iter().any(|line| match &line.what {
            What::Message(earlier) => passed.repeats(earlier),
            _ => false,
        })
    }

    fn place_of(&mut self, path: Path) -> u8 {
        let known = self.paths.iter().position(|known| *known == path);
        let place = known.unwrap_or_else(|| {
            if self.paths.len() < MOST_PATHS {
                self.paths.push(path);
            }
            self.paths.len().saturating_sub(1)
        });
        u8::try_from(place).unwrap_or_default()
    }

    /// Adds a line; when there are too many, the one in the middle goes. What went.
    fn push(&mut self, line: Line, most: usize) -> Omitted {
        let mut omitted = Omitted::default();
        if self.lines.len() >= most.max(2) {
            let line = self.lines.remove(most.max(2) / 2);
            omitted.lines = 1;
            omitted.whole_bytes = line.whole_bytes();
        }
        self.omitted = self.omitted.saturating_add(omitted.lines);
        if self.lines.len() == self.lines.capacity() {
            // By the quarter: a story is as long as it is for as long as the call lives.
            self.lines.reserve_exact(8.max(self.lines.len() / 4));
        }
        self.lines.push(line);
        omitted
    }

    /// Bytes that it takes, as well as we know.
    fn weigh(&self) -> usize {
        let texts: usize = self.lines.iter().map(|line| line.what.weight()).sum();
        let ids: usize = self
            .call_ids
            .iter()
            .map(|id| id.len() + size_of::<Box<str>>())
            .sum();
        size_of::<Self>()
            + self.lines.capacity() * size_of::<Line>()
            + self.paths.capacity() * size_of::<Path>()
            + self.described.as_ref().map_or(0, |text| text.len())
            + texts
            + ids
    }
}
