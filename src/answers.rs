//! Answers the admin socket's requests from the two planes: the only place where both are looked at.

use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use contract::Timestamp;
use controlplane::agent::{Agent, Input};
use controlplane::b2bua::CallId;
use controlplane::ng::OperatorRequest;
use controlplane::provisioning::RequestId;
use controlplane::server::Host;
use controlplane::session::{FlowView, SessionId};
use controlplane::story::Whose;
use serde::Serialize;
use serde_json::Value;

use crate::admin::protocol::{MOST_CALLS, Request};
use crate::admin::views::{
    Calls, Flow, Flows, HungUp, Keeping, SessionFlows, Sessions, Status, Story, Taken,
};
use crate::cdr::Moment;
use crate::planes::SharedDataplane;
use crate::witness::Witness;
use crate::{
    call_views, dns_views, ng_views, numa, registration_views, route_views, session_views, status,
    story_views, trunk_views,
};

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Awaited {
    /// What becomes of sessions without SIP.
    Sessions(RequestId),
    /// A reply of ng.
    Ng(OperatorRequest),
}

impl Awaited {
    /// The answer, once; `None` while the agent works it out.
    pub(crate) fn collect(self, agent: &mut Agent) -> Option<Result<Value, String>> {
        match self {
            Self::Sessions(request) => {
                let answer = agent.collect(request)?;
                Some(json(&session_views::outcome(&answer)))
            }
            Self::Ng(request) => {
                let reply = agent.collect_reply(request)?;
                let read = serde_json::from_slice(&reply);
                Some(read.map_err(|error| format!("the reply is no JSON: {error}")))
            }
        }
    }

    /// Nobody waits any more.
    pub(crate) fn forget(self, agent: &mut Agent) {
        match self {
            Self::Sessions(request) => agent.forget(request),
            Self::Ng(request) => agent.forget_reply(request),
        }
    }
}

/// What a request comes to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// The answer.
    Now(Value),
    /// The agent works it out.
    Later(Awaited),
    /// The configuration must be read first.
    Reload {
        /// To be compared only.
        dry_run: bool,
    },
}

/// What the answers are taken from.
#[derive(Debug)]
pub(crate) struct Answers {
    dataplane: SharedDataplane,
    /// The configuration file, for the operator's eyes.
    config: PathBuf,
    /// The dataplane's devices, by [`contract::DeviceId`].
    devices: Vec<String>,
    /// Pairs of media ports that the configuration gives.
    port_pairs: u64,
    /// When the process started, by both clocks.
    origin: Instant,
    started_unix_ms: u64,
    witness: Witness,
}

impl Answers {
    /// Answers about this dataplane, in a process that began at `origin`.
    pub(crate) fn new(
        dataplane: SharedDataplane,
        config: PathBuf,
        settings: &dataplane::settings::Settings,
        origin: Instant,
        witness: Witness,
    ) -> Self {
        let started = SystemTime::now().checked_sub(origin.elapsed());
        let started = started.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        let pairs = settings.media.iter().map(|media| {
            let (first, last) = media.ports;
            u64::from(last.saturating_sub(first)).div_ceil(2)
        });
        Self {
            dataplane,
            config,
            devices: settings.devices.iter().map(|d| d.name.clone()).collect(),
            port_pairs: pairs.sum(),
            origin,
            started_unix_ms: started.map_or(0, |since_1970| since_1970.as_millis() as u64),
            witness,
        }
    }

    /// The answer to a request, or one sentence why there is none.
    pub(crate) fn answer(
        &self,
        request: Request,
        agent: &mut Agent,
        host: &Host,
        now: Timestamp,
    ) -> Result<Reply, String> {
        let taken = match request {
            Request::OpenSessions(open) => agent.open_sessions(session_views::request(open)?, now),
            Request::CloseSessions { ids } => {
                agent.close_sessions(ids.into_iter().map(SessionId).collect(), now)
            }
            Request::Route(query) => {
                let view = route_views::answer(agent, &query, jiff::Timestamp::now())?;
                return json(&view).map(Reply::Now);
            }
            Request::Ng { request } => {
                let dictionary = Value::Object(request).to_string();
                let taken = agent.ask_control(dictionary.as_bytes(), now);
                let request = taken.map_err(|error| error.to_string())?;
                return Ok(Reply::Later(Awaited::Ng(request)));
            }
            Request::Reload { dry_run } => return Ok(Reply::Reload { dry_run }),
            other => {
                return self
                    .answer_at_once(&other, agent, host, now)
                    .map(Reply::Now);
            }
        };
        taken
            .map(|request| Reply::Later(Awaited::Sessions(request)))
            .map_err(|overload| overload.to_string())
    }

    fn answer_at_once(
        &self,
        request: &Request,
        agent: &mut Agent,
        host: &Host,
        now: Timestamp,
    ) -> Result<Value, String> {
        match *request {
            Request::Status {} => json(&self.status(agent, host, now)),
            Request::Calls { limit } => json(&calls(agent, limit, now)),
            Request::Trunks {} => json(&trunk_views::trunks(&agent.trunks(), now)),
            Request::Call { id } => {
                let detail = agent.call(CallId(id)).ok_or_else(|| no_call(id))?;
                json(&call_views::call(&detail, now))
            }
            Request::Hangup { id } => {
                agent.call(CallId(id)).ok_or_else(|| no_call(id))?;
                tracing::info!(call = id, "an operator hangs up");
                agent.handle(Input::HangUp(CallId(id)), now);
                json(&HungUp { hanging_up: id })
            }
            Request::Story {
                id,
                ref call_id,
                messages,
            } => json(&self.story((id, call_id.as_deref()), messages, agent, now)?),
            Request::KeepMessages { keep } => {
                tracing::info!(keep, "whole messages of calls");
                agent.keep_messages(keep);
                json(&Keeping { keep })
            }
            Request::Dns {} => json(&dns_views::dns(agent, now)),
            Request::Registrations {} => json(&registration_views::registrations(
                &agent.registrations(),
                agent.settings(),
                now,
            )),
            Request::Workers {} => {
                let taken = self.taken();
                json(&status::workers(&self.dataplane.report(), taken))
            }
            Request::Flows { id } => json(&self.flows(id, agent, now)?),
            Request::SessionFlows { id } => json(&self.session_flows(id, agent, now)?),
            Request::Sessions { limit, after } => json(&sessions(agent, limit, after, now)),
            // Answered later.
            Request::OpenSessions(_)
            | Request::Route(_)
            | Request::CloseSessions { .. }
            | Request::Ng { .. }
            | Request::Reload { .. } => Err("this request takes time".to_owned()),
        }
    }

    /// The time of an answer whose counters are read next. Not the event loop's: that was read before the other
    /// work of its turn, and rates are as exact as this.
    fn taken(&self) -> Taken {
        Taken {
            started_unix_ms: self.started_unix_ms,
            at_ns: self.origin.elapsed().as_nanos() as u64,
        }
    }

    fn status(&self, agent: &Agent, host: &Host, now: Timestamp) -> Status {
        let taken = self.taken();
        let report = self.dataplane.report();
        let (gauges, counters) = (agent.gauges(), agent.counters());
        let settings = agent.settings();
        let state = if host.draining() {
            "draining"
        } else {
            "running"
        };
        Status {
            taken,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            state: state.to_owned(),
            uptime_seconds: now.since(Timestamp::ZERO).as_secs_f64(),
            config: self.config.display().to_string(),
            calls: status::call_counts(&gauges, &counters, settings.limits.calls),
            sip: status::sip_counts(&gauges, &counters),
            overload: trunk_views::overload(&agent.overload(now)),
            dns: dns_views::counts(agent.resolver(), now),
            registrations: registration_views::counts(&agent.registrations()),
            listeners: status::listeners(&settings.listeners, &host.listeners()),
            ng: ng_views::ng(
                &settings.ng.listeners,
                &host.controls(),
                agent.control_counters(),
                agent.control_gauges(),
            ),
            services: self.dataplane.services(),
            media: status::media_counts(&gauges, &counters, self.port_pairs),
            next_hops: status::next_hops(&host.neighbours()),
            devices: status::devices(&report),
            workers: status::worker_totals(&report),
            numa: numa::numa(&report),
            cdr: self.witness.cdr(),
            stories: story_views::counts(agent.story_counts(), agent.keeps_messages()),
            collector: self.witness.collector(),
        }
    }

    /// Who is told what calls do.
    pub(crate) fn witness(&mut self) -> &mut Witness {
        &mut self.witness
    }

    fn story(
        &self,
        (id, call_id): (Option<u64>, Option<&str>),
        whole: bool,
        agent: &Agent,
        now: Timestamp,
    ) -> Result<Story, String> {
        let (whose, name) = match (id, call_id) {
            (Some(id), _) => (Whose::Call(CallId(id)), format!("call {id}")),
            (None, Some(text)) => (
                Whose::CallId(text),
                format!("call with the Call-ID {text:?}"),
            ),
            (None, None) => return Err("neither a number nor a Call-ID is given".to_owned()),
        };
        let view = agent.story(whose);
        let view = view.ok_or_else(|| format!("no {name} is up or remembered"))?;
        let listeners = &agent.settings().listeners;
        let mut story = story_views::story(&view, listeners, Moment::new(now), whole);
        for flow in agent
            .call(view.call)
            .map_or_else(Vec::new, |detail| detail.flows)
        {
            let tallies = self.dataplane.flow_tally(flow.key);
            let line = story_views::live_flow(&flow, &tallies, view.started, now);
            story.lines.push(line);
        }
        Ok(story)
    }

    fn flows(&self, id: u64, agent: &Agent, now: Timestamp) -> Result<Flows, String> {
        let detail = agent.call(CallId(id)).ok_or_else(|| no_call(id))?;
        Ok(Flows {
            call: id,
            flows: self.flow_views(&detail.flows, now),
        })
    }

    fn session_flows(
        &self,
        id: u64,
        agent: &Agent,
        now: Timestamp,
    ) -> Result<SessionFlows, String> {
        let flows = agent.session_flows(SessionId(id));
        let flows = flows.ok_or_else(|| {
            format!("there is no session {id} (`tandem sessions` lists those that are no call's)")
        })?;
        Ok(SessionFlows {
            session: id,
            flows: self.flow_views(&flows, now),
        })
    }

    fn flow_views(&self, flows: &[FlowView], now: Timestamp) -> Vec<Flow> {
        let view = |view: &FlowView| {
            let tallies = self.dataplane.flow_tally(view.key);
            call_views::flow(view, &tallies, &self.devices, now)
        };
        flows.iter().map(view).collect()
    }
}

fn calls(agent: &Agent, limit: usize, now: Timestamp) -> Calls {
    let calls = agent.calls();
    Calls {
        total: calls.len() as u64,
        calls: calls
            .iter()
            .take(limit.min(MOST_CALLS))
            .map(|call| call_views::call_line(call, now))
            .collect(),
    }
}

fn sessions(agent: &Agent, limit: usize, after: u64, now: Timestamp) -> Sessions {
    let sessions = agent.sessions(SessionId(after), limit.min(MOST_CALLS));
    Sessions {
        total: agent.gauges().provisioned as u64,
        sessions: sessions
            .map(|session| session_views::line(&session, now))
            .collect(),
    }
}

fn no_call(id: u64) -> String {
    format!("there is no call {id} (`tandem calls` lists those that are up)")
}

fn json<T: Serialize>(view: &T) -> Result<Value, String> {
    serde_json::to_value(view).map_err(|error| format!("the answer is no JSON: {error}"))
}
