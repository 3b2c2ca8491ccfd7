//! Where a datagram goes: to the transaction that it belongs to, into a new one, or away.

use contract::Timestamp;

use super::key::{AckKey, MatchKey, MergeKey};
use super::server::Arrival;
use super::table::{Event, State};
use super::{Occurrence, Path, ServerKey, Transactions};
use crate::settings::Transport;
use crate::sip::typed::{TypedError, Via};
use crate::sip::{HeaderName, Message, Method, ParseError, StatusCode};

impl Transactions {
    pub(super) fn receive_datagram(&mut self, now: Timestamp, path: Path, bytes: &[u8]) {
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(error) => return self.answer_broken(path, error),
        };
        if let Err(what) = message.check() {
            let is_request = message.method().is_some();
            let error = ParseError {
                at: bytes.len(),
                what,
                request: is_request.then(|| Box::new(message)),
            };
            return self.answer_broken(path, error);
        }
        let Some(method) = message.method().cloned() else {
            return self.receive_response(now, message, path);
        };
        // The check has read every value that is read again here.
        let outcome = match method {
            Method::Ack => self.receive_ack(now, message, path),
            method => self.receive_request(now, message, method, path),
        };
        debug_assert!(outcome.is_ok(), "checked headers are readable");
    }

    fn receive_request(
        &mut self,
        now: Timestamp,
        mut request: Message,
        method: Method,
        path: Path,
    ) -> Result<(), TypedError> {
        let mut via = request.via()?;
        let match_key = MatchKey::of(&request, &via, method.clone())?;
        if let Some(id) = self.by_match.get(&match_key).copied() {
            self.counters.absorbed += 1;
            self.server_event(now, id, Event::Request, None);
            return Ok(());
        }
        let passage = self.secret.passage(&request, path.remote.ip());
        let invite = match method {
            Method::Cancel => Some(MatchKey::of(&request, &via, Method::Invite)?),
            _ => None,
        };
        if via.params.contains("alias") && self.transport_of(path.listener) == Transport::Tls {
            self.say(Occurrence::Alias {
                path,
                sent_by: via.host.clone(),
                port: via.port.unwrap_or(Transport::Tls.default_port()),
            });
        }
        via.note_source(path.remote);
        request
            .headers
            .replace_first(&HeaderName::Via, via.to_string());
        let merge_key = match method {
            Method::Cancel => None,
            _ => MergeKey::of(&request)?,
        };
        if let Some(refusal) = self.refusal(&request, merge_key.as_ref(), passage) {
            self.answer_statelessly(path, &request, refusal, None);
            return Ok(());
        }
        let (back, otherwise) = self.way_back(path, &via);
        let arrival = Arrival {
            path,
            back,
            otherwise,
            request,
            match_key,
            merge_key,
            passage,
        };
        match invite {
            Some(invite) => self.receive_cancel(now, arrival, &invite),
            None => {
                self.start_server(now, arrival);
            }
        }
        Ok(())
    }

    /// Why a request gets no transaction: no room, or it is here already (RFC 3261 §8.2.2.2), or it
    /// was here before (§16.3). Requests within a dialog, and CANCEL, may use the room that is kept for
    /// our own requests: they end calls.
    fn refusal(
        &mut self,
        request: &Message,
        merge_key: Option<&MergeKey>,
        passage: u32,
    ) -> Option<StatusCode> {
        if merge_key.is_some_and(|key| self.by_merge.contains_key(key)) {
            self.counters.merged += 1;
            return Some(StatusCode::LOOP_DETECTED);
        }
        if merge_key.is_some() && self.has_passed(request, passage) {
            self.counters.looped += 1;
            return Some(StatusCode::LOOP_DETECTED);
        }
        let room = match merge_key {
            Some(_) => self.config.capacity,
            None => self.config.capacity.saturating_mul(2),
        };
        if self.clients.len() + self.servers.len() >= room {
            self.counters.refused_full += 1;
            return Some(StatusCode::SERVICE_UNAVAILABLE);
        }
        None
    }

    /// Whether one of the request's Vias is ours and remembers the same passage.
    fn has_passed(&self, request: &Message, passage: u32) -> bool {
        let vias = request.headers.values(&HeaderName::Via);
        vias.iter()
            .filter_map(|value| Via::parse(value).ok())
            .any(|via| {
                via.branch()
                    .is_some_and(|branch| self.secret.remembers(branch, passage))
            })
    }

    /// RFC 3261 §9.2: 200 and word to the user, or 481.
    fn receive_cancel(&mut self, now: Timestamp, arrival: Arrival, invite: &MatchKey) {
        let cancel = arrival.request.clone();
        let found = self.by_match.get(invite).copied();
        let id = self.start_server(now, arrival);
        let server = found.and_then(|id| Some((id, self.servers.get_mut(&id)?)));
        let (code, tag) = match server {
            None => {
                self.counters.stray_cancels += 1;
                (StatusCode::NO_SUCH_CALL, None)
            }
            Some((invite, server)) => {
                let tag = server.to_tag.clone();
                let pending = server.state == State::Proceeding && !server.cancelled;
                server.cancelled = true;
                if pending {
                    self.say(Occurrence::Cancel {
                        invite: ServerKey(invite),
                        message: cancel.clone(),
                    });
                }
                (StatusCode::OK, tag)
            }
        };
        let tag = tag.unwrap_or_else(|| self.tokens.tag());
        let response = cancel.response(code, Some(&tag));
        // A transaction that has just begun takes its first final response.
        let answered = self.respond_server(now, id, response);
        debug_assert!(answered.is_ok(), "a new transaction can be answered");
    }

    /// An ACK: of a failure, within the INVITE's transaction; of a 2xx, by its dialog.
    fn receive_ack(&mut self, now: Timestamp, ack: Message, path: Path) -> Result<(), TypedError> {
        let via = ack.via()?;
        let of_invite = MatchKey::of(&ack, &via, Method::Invite)?;
        let by_dialog = self.by_ack.get(&AckKey::of(&ack)?).copied();
        // The ACK of a 2xx must name the dialog; a branch alone acknowledges failures only.
        let by_branch = self.by_match.get(&of_invite).copied().filter(|id| {
            let server = self.servers.get(id);
            server.is_some_and(|server| server.state != State::Accepted)
        });
        let found = by_dialog.or(by_branch);
        match found {
            Some(id) => {
                if !self.server_event(now, id, Event::Ack, Some((ack, path))) {
                    self.counters.absorbed += 1;
                }
            }
            None => self.say(Occurrence::Ack {
                invite: None,
                message: ack,
                path,
            }),
        }
        Ok(())
    }
}
