//! Requests for sessions without SIP: many sessions a request, opened and closed at the pace of the workers,
//! and answered when every worker has acknowledged every flow.
//!
//! ```text
//!   request ─► queue ─► Engine::provision ─► commands … acknowledgements ─► Engine says what became ─► answer
//!                 ▲          while fewer than FLOWS_UNDER_WAY commands wait at each worker
//!                 └─ until GIVE_UP_AFTER; what was not begun then is refused
//! ```
//!
//! A request is carried out in full whether or not somebody still waits for its answer. Sans-IO: knows neither
//! the admin socket nor its clients.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use contract::{LatchPolicy, Timestamp};

use crate::installer::ACKNOWLEDGE_WITHIN;
use crate::session::{Engine, Provision, Provisioning, Rtcp, SessionError, SessionId};
use crate::settings::{MediaGroup, MediaGroupId};

/// Commands that may wait at each worker before no further session is begun. Much less than a mailbox holds,
/// so that calls find room beside a load test; more than a worker carries out between two looks at its
/// rings, so that it never waits for more.
const COMMANDS_UNDER_WAY: usize = 256;

/// How long a request may wait to be begun. Behind others it takes milliseconds; a worker that holds up the
/// queue for this long is stuck.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5);

/// Requests at a time. Each costs some 50 KB at the most.
pub const MOST_REQUESTS: usize = 64;

/// Sessions in a request.
pub const MOST_SESSIONS: usize = 256;

/// Why a session was refused, where the engine was not even asked.
const DRAINING: &str = "draining";
const UNKNOWN_GROUP: &str = "unknown_group";
const TIMED_OUT: &str = "timed_out";

/// Every reason that a session may be refused for.
pub const REASONS: [&str; 11] = [
    "too_many_sessions",
    "ports_exhausted",
    UNKNOWN_GROUP,
    "no_such_family",
    "bad_party",
    "no_next_hop",
    "refused",
    "mailbox_full",
    TIMED_OUT,
    DRAINING,
    "closed",
];

/// Opens sessions between pairs of parties, all of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenSessions {
    /// The media group that faces the A parties, by its name in the configuration.
    pub a_media: String,
    /// The media group that faces the B parties.
    pub b_media: String,
    /// Where RTCP goes.
    pub rtcp: Rtcp,
    /// Whom the flows believe; `None`: as their media group says.
    pub latch: Option<LatchPolicy>,
    /// After how long a silence a session is closed; `None`: never.
    pub media_timeout: Option<Duration>,
    /// The parties A and B; at most [`MOST_SESSIONS`].
    pub parties: Vec<[SocketAddr; 2]>,
}

/// A request that was taken, for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u64);

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of one to open sessions.
    Opened {
        /// The sessions that are open, in the order of the request.
        sessions: Vec<Opened>,
        /// How many are not, by why.
        refused: BTreeMap<&'static str, u64>,
    },
    /// Of one to close sessions.
    Closed {
        /// How many there were to be closed.
        count: u64,
    },
}

/// A session that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Which of the request's, from 0.
    pub index: usize,
    /// Its name.
    pub id: SessionId,
    /// The relay's RTP ports that face party A and party B.
    pub relay: [SocketAddr; 2],
}

/// Too many requests wait already, or this one asks for too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overload {
    /// Of requests.
    #[error("{MOST_REQUESTS} requests are being carried out already: try again later")]
    Requests,
    /// Of sessions in one request.
    #[error("{0} sessions in one request: at most {MOST_SESSIONS}")]
    Sessions(usize),
}

/// The requests that are being carried out.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    requests: BTreeMap<RequestId, Request>,
    /// Those with something left to begin, the oldest first.
    to_begin: VecDeque<RequestId>,
    /// Whose the sessions are that are being opened, and which of the request's.
    opening: HashMap<SessionId, (RequestId, usize)>,
    /// Complete, and not collected yet.
    complete: usize,
    next: u64,
}

#[derive(Debug)]
struct Request {
    work: Work,
    /// Sessions being opened.
    under_way: usize,
    give_up: Timestamp,
    opened: Vec<Opened>,
    refused: BTreeMap<&'static str, u64>,
    closed: u64,
    /// Somebody waits for the answer.
    awaited: bool,
}

#[derive(Debug)]
enum Work {
    Open {
        groups: [Option<MediaGroupId>; 2],
        request: OpenSessions,
        begun: usize,
    },
    Close {
        ids: Vec<SessionId>,
        begun: usize,
    },
}

impl Work {
    fn is_begun(&self) -> bool {
        match self {
            Self::Open { request, begun, .. } => *begun >= request.parties.len(),
            Self::Close { ids, begun } => *begun >= ids.len(),
        }
    }
}

impl Request {
    fn is_complete(&self) -> bool {
        self.work.is_begun() && self.under_way == 0
    }

    fn answer(self) -> Answer {
        match self.work {
            Work::Open { .. } => Answer::Opened {
                sessions: self.opened,
                refused: self.refused,
            },
            Work::Close { .. } => Answer::Closed { count: self.closed },
        }
    }

    fn refuse(&mut self, why: &'static str) {
        *self.refused.entry(why).or_default() += 1;
    }
}

impl Requests {
    /// Takes a request to open sessions; [`Self::advance`] begins it.
    pub(crate) fn open(
        &mut self,
        now: Timestamp,
        groups: &[MediaGroup],
        request: OpenSessions,
    ) -> Result<RequestId, Overload> {
        check_size(request.parties.len())?;
        let of_name = |name: &str| {
            let place = groups.iter().position(|group| group.name == name)?;
            u16::try_from(place).ok().map(MediaGroupId)
        };
        let groups = [of_name(&request.a_media), of_name(&request.b_media)];
        self.take(
            now,
            Work::Open {
                groups,
                request,
                begun: 0,
            },
        )
    }

    /// Takes a request to close sessions.
    pub(crate) fn close(
        &mut self,
        now: Timestamp,
        ids: Vec<SessionId>,
    ) -> Result<RequestId, Overload> {
        check_size(ids.len())?;
        self.take(now, Work::Close { ids, begun: 0 })
    }

    /// The answer to a request, once it is complete. Given once.
    pub(crate) fn collect(&mut self, id: RequestId) -> Option<Answer> {
        self.requests
            .get(&id)
            .filter(|request| request.is_complete())?;
        self.complete -= 1;
        self.requests.remove(&id).map(Request::answer)
    }

    /// Nobody waits for the answer any more. The request is carried out all the same.
    pub(crate) fn forget(&mut self, id: RequestId) {
        if self.collect(id).is_none()
            && let Some(request) = self.requests.get_mut(&id)
        {
            request.awaited = false;
        }
    }

    /// Whether an answer waits to be collected.
    pub(crate) fn has_answers(&self) -> bool {
        self.complete > 0
    }

    /// Whether no request is being carried out.
    pub(crate) fn is_idle(&self) -> bool {
        self.to_begin.is_empty() && self.opening.is_empty()
    }

    /// When [`Self::advance`] must be called at the latest.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let first = self.to_begin.front()?;
        self.requests.get(first).map(|request| request.give_up)
    }

    /// Begins what the workers have room for, and says whether that was anything. `open`: whether new sessions
    /// are taken.
    pub(crate) fn advance(&mut self, now: Timestamp, engine: &mut Engine, open: bool) -> bool {
        let mut advanced = false;
        while let Some(id) = self.to_begin.front().copied() {
            let Some(request) = self.requests.get_mut(&id) else {
                self.to_begin.pop_front();
                continue;
            };
            let late = now >= request.give_up;
            while !request.work.is_begun() {
                if engine.commands_under_way() >= COMMANDS_UNDER_WAY * engine.workers() && !late {
                    return advanced;
                }
                begin_one(request, id, now, engine, open && !late, &mut self.opening);
                advanced = true;
            }
            self.to_begin.pop_front();
            self.look_whether_complete(id);
        }
        advanced
    }

    /// What became of a session that was being opened.
    pub(crate) fn settled(&mut self, session: SessionId, what: Provisioning, engine: &Engine) {
        let Some((id, index)) = self.opening.remove(&session) else {
            return;
        };
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        request.under_way -= 1;
        let relay = engine.provisioned(session).map(|view| view.relay);
        match (what, relay) {
            (Provisioning::Open, Some(relay)) => request.opened.push(Opened {
                index,
                id: session,
                relay,
            }),
            (what, _) => request.refuse(name(what)),
        }
        self.look_whether_complete(id);
    }

    fn take(&mut self, now: Timestamp, work: Work) -> Result<RequestId, Overload> {
        if self.requests.len() >= MOST_REQUESTS {
            return Err(Overload::Requests);
        }
        self.next += 1;
        let id = RequestId(self.next);
        let request = Request {
            work,
            under_way: 0,
            give_up: now + GIVE_UP_AFTER,
            opened: Vec::new(),
            refused: BTreeMap::new(),
            closed: 0,
            awaited: true,
        };
        self.requests.insert(id, request);
        self.to_begin.push_back(id);
        Ok(id)
    }

    fn look_whether_complete(&mut self, id: RequestId) {
        let request = self.requests.get_mut(&id);
        let Some(request) = request.filter(|request| request.is_complete()) else {
            return;
        };
        request.opened.sort_by_key(|opened| opened.index);
        if request.awaited {
            self.complete += 1;
        } else {
            self.requests.remove(&id);
        }
    }
}

/// How long after it was taken a request is answered at the very latest.
pub const ANSWERED_WITHIN: Duration = GIVE_UP_AFTER.saturating_add(ACKNOWLEDGE_WITHIN);

fn begin_one(
    request: &mut Request,
    id: RequestId,
    now: Timestamp,
    engine: &mut Engine,
    open: bool,
    opening: &mut HashMap<SessionId, (RequestId, usize)>,
) {
    let late = now >= request.give_up;
    let outcome = match &mut request.work {
        Work::Close { ids, begun } => {
            let closed = ids.get(*begun).copied();
            *begun += 1;
            let closed = closed.is_some_and(|id| engine.close_provisioned(now, id));
            request.closed += u64::from(closed);
            return;
        }
        Work::Open { begun, .. } if !open => {
            *begun += 1;
            Err(if late { TIMED_OUT } else { DRAINING })
        }
        Work::Open {
            groups: [Some(a), Some(b)],
            request,
            begun,
        } => {
            let index = *begun;
            *begun += 1;
            let Some(parties) = request.parties.get(index) else {
                return;
            };
            let provision = Provision {
                groups: [*a, *b],
                parties: *parties,
                rtcp: request.rtcp,
                latch: request.latch,
                media_timeout: request.media_timeout,
            };
            let begun = engine.provision(now, &provision);
            begun
                .map(|session| (session, index))
                .map_err(|error| SessionError::name(&error))
        }
        Work::Open { begun, .. } => {
            *begun += 1;
            Err(UNKNOWN_GROUP)
        }
    };
    match outcome {
        Ok((session, index)) => {
            request.under_way += 1;
            opening.insert(session, (id, index));
        }
        Err(why) => request.refuse(why),
    }
}

fn check_size(sessions: usize) -> Result<(), Overload> {
    match sessions <= MOST_SESSIONS {
        true => Ok(()),
        false => Err(Overload::Sessions(sessions)),
    }
}

const fn name(what: Provisioning) -> &'static str {
    match what {
        Provisioning::Open | Provisioning::Closed => "closed",
        Provisioning::NoNextHop => "no_next_hop",
        Provisioning::Failed(failure) => failure.name(),
    }
}
