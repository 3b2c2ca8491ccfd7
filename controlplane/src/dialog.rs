//! Dialogs (RFC 3261 §12): what both ends of one leg agree on, and the requests made from it.
//!
//! Sits between the transactions and the calls. Knows nothing of the other leg, of media, or of what
//! a method means beyond its place in the sequence.

use std::net::{IpAddr, SocketAddr};

use crate::settings::Transport;
use crate::sip::typed::{CSeq, Host, NameAddr, TypedError, Uri};
use crate::sip::{HeaderName, Message, Method};
use crate::transaction::Path;

/// Max-Forwards of requests that begin here (RFC 3261 §8.1.1.6).
pub const MAX_FORWARDS: u8 = 70;

/// One dialog, early or confirmed, seen from our end.
#[derive(Clone, Debug)]
pub struct Dialog {
    call_id: String,
    local: NameAddr,
    remote: NameAddr,
    remote_target: Uri,
    route_set: Vec<NameAddr>,
    /// The number of our last request; 0 before the first (§12.1.1 leaves it empty).
    local_cseq: u32,
    /// Our INVITE made it: the Call-ID is ours.
    ours: bool,
    /// The number of the peer's last request; `None` before the first.
    remote_cseq: Option<u32>,
    /// Where its first message came from: requests go there when the route or the target names no
    /// literal address, or one that only its own network knows.
    path: Path,
    /// The peer wrote another address into its Via than the one it sent from: it is behind NAT, and its
    /// Contact is as little use to us as its Via (RFC 3581 mends only the way of responses).
    translated: bool,
}

impl Dialog {
    /// The dialog that our response with `tag` to this INVITE makes (§12.1.1).
    ///
    /// # Errors
    /// From, To, Call-ID, CSeq, Contact or Record-Route is absent or malformed.
    pub fn of_server(invite: &Message, tag: &str, path: Path) -> Result<Self, TypedError> {
        Ok(Self {
            call_id: invite.call_id()?,
            local: invite.to()?.with_tag(tag),
            remote: invite.from()?,
            remote_target: target_of(invite)?,
            route_set: invite.routes(&HeaderName::RecordRoute)?,
            local_cseq: 0,
            ours: false,
            remote_cseq: Some(invite.cseq()?.number),
            path,
            translated: came_translated(invite, path.remote),
        })
    }

    /// The dialog that a response to our INVITE makes (§12.1.2). Without a Contact the Request-URI is
    /// the target: provisional responses may lack it, and a 2xx that does must still be acknowledged.
    ///
    /// # Errors
    /// A header of the two messages is malformed.
    pub fn of_client(invite: &Message, response: &Message, path: Path) -> Result<Self, TypedError> {
        let target = match response.contact() {
            Ok(contact) => contact.uri,
            Err(TypedError::Missing) => invite.uri().cloned().ok_or(TypedError::Missing)?,
            Err(error) => return Err(error),
        };
        let mut route_set = response.routes(&HeaderName::RecordRoute)?;
        route_set.reverse();
        Ok(Self {
            call_id: invite.call_id()?,
            local: invite.from()?,
            remote: response.to()?,
            remote_target: target,
            route_set,
            local_cseq: invite.cseq()?.number,
            ours: true,
            remote_cseq: None,
            path,
            translated: false,
        })
    }

    /// Takes the 2xx in: it may bring the Contact and the final route set (§13.2.2.4).
    pub fn confirm(&mut self, response: &Message) {
        self.refresh_target(response);
        if let Ok(mut routes) = response.routes(&HeaderName::RecordRoute) {
            routes.reverse();
            self.route_set = routes;
        }
    }

    /// Takes the Contact of a target refresh in: an INVITE or UPDATE, or a response to one.
    pub fn refresh_target(&mut self, message: &Message) {
        if let Ok(contact) = message.contact() {
            self.remote_target = contact.uri;
        }
    }

    /// Whether a request or response with this Call-ID and these tags belongs to the dialog.
    pub fn is(&self, call_id: &str, local_tag: &str, remote_tag: &str) -> bool {
        self.call_id == call_id && self.local_tag() == local_tag && self.remote_tag() == remote_tag
    }

    /// Takes the number of the peer's next request. False when it is lower than one before: the
    /// request is out of order and is answered with 500 (§12.2.2).
    pub fn admit(&mut self, number: u32) -> bool {
        if self.remote_cseq.is_some_and(|last| number < last) {
            return false;
        }
        self.remote_cseq = Some(number);
        true
    }

    /// The next request in the dialog (§12.2.1.1): Request-URI, Route, From, To, Call-ID, CSeq and
    /// Max-Forwards. Via is the transaction layer's, the rest its user's.
    pub fn request(&mut self, method: Method) -> Message {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.numbered(method, self.local_cseq)
    }

    /// A request of ours has gone out again with this number: the next one has a higher.
    pub fn advance_to(&mut self, number: u32) {
        self.local_cseq = self.local_cseq.max(number);
    }

    /// The ACK for a 2xx (§13.2.2.4). The transaction gives it the number of the INVITE that was answered.
    pub fn ack(&self) -> Message {
        self.numbered(Method::Ack, self.local_cseq)
    }

    fn numbered(&self, method: Method, number: u32) -> Message {
        let (uri, routes) = self.target_and_routes();
        let mut message = Message::request(method.clone(), uri);
        let headers = &mut message.headers;
        headers.push(HeaderName::MaxForwards, MAX_FORWARDS.to_string());
        for route in routes {
            headers.push(HeaderName::Route, route.to_bytes());
        }
        headers.push(HeaderName::From, self.local.to_bytes());
        headers.push(HeaderName::To, self.remote.to_bytes());
        headers.push(HeaderName::CallId, &self.call_id);
        headers.push(HeaderName::CSeq, CSeq { number, method }.to_string());
        message
    }

    /// A first route that routes loosely is sent through; one that does not takes the place of the
    /// target, which then comes last (§12.2.1.1).
    fn target_and_routes(&self) -> (Uri, Vec<NameAddr>) {
        let Some((first, rest)) = self.route_set.split_first() else {
            return (self.remote_target.clone(), Vec::new());
        };
        if first.uri.parameter("lr").is_some() {
            return (self.remote_target.clone(), self.route_set.clone());
        }
        let mut routes = rest.to_vec();
        routes.push(NameAddr::new(self.remote_target.clone()));
        (first.uri.clone(), routes)
    }

    /// The URI that leads the next request by a name, which has to be resolved (RFC 3263): the first route,
    /// or the target of a peer that is not behind NAT.
    pub fn next_name(&self) -> Option<&Uri> {
        let uri = match self.route_set.first() {
            Some(route) => &route.uri,
            None if self.translated => return None,
            None => &self.remote_target,
        };
        matches!(uri.host(), Some(Host::Name(_))).then_some(uri)
    }

    /// Whether a request may go to an address that a name has led to: not to a private one when the peer's own
    /// is public.
    pub fn believes(&self, resolved: IpAddr) -> bool {
        !is_private(resolved) || is_private(self.path.remote.ip())
    }

    /// Where the next request goes without asking anybody: the first route or the target where that is a
    /// literal address, else back to where the dialog came from. Also back there when a peer without
    /// a route is behind NAT: its Via says so, or its target is private and its own address is not.
    pub fn next_hop(&self) -> SocketAddr {
        let own = self.path.remote;
        let behind_nat = |target: &SocketAddr| {
            self.translated || is_private(target.ip()) && !is_private(own.ip())
        };
        let literal = match self.route_set.first() {
            Some(route) => route.uri.socket_addr(),
            None => self
                .remote_target
                .socket_addr()
                .filter(|target| !behind_nat(target)),
        };
        literal.unwrap_or(own)
    }

    /// The transport that the first route or the target asks for; `None` if it says nothing of it.
    pub fn transport(&self) -> Option<Transport> {
        let first = self.route_set.first().map(|route| &route.uri);
        let uri = first.unwrap_or(&self.remote_target);
        match uri.is_over_tls() {
            true => Some(Transport::Tls),
            false => uri.parameter("transport").and_then(Transport::named),
        }
    }

    /// Whether its Call-ID is ours.
    pub fn is_ours(&self) -> bool {
        self.ours
    }

    /// Where its first message came from.
    pub fn path(&self) -> Path {
        self.path
    }

    /// Its Call-ID.
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// Our tag.
    pub fn local_tag(&self) -> &str {
        self.local.tag().unwrap_or_default()
    }

    /// The peer's tag; empty for a peer of RFC 2543 that gives none.
    pub fn remote_tag(&self) -> &str {
        self.remote.tag().unwrap_or_default()
    }

    /// Where requests in the dialog are addressed to.
    pub fn remote_target(&self) -> &Uri {
        &self.remote_target
    }

    /// The number of our last request; 0 before the first.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }
}

/// Where requests in a dialog with the sender of this INVITE are addressed to: its Contact. A client of RFC 2543, whose
/// branch is not of RFC 3261's kind, may have none: then From is (RFC 2543 §6.21).
///
/// # Errors
/// There is none, or it is malformed.
pub fn target_of(invite: &Message) -> Result<Uri, TypedError> {
    match invite.contact() {
        Err(TypedError::Missing) if !invite.via()?.has_unique_branch() => Ok(invite.from()?.uri),
        contact => Ok(contact?.uri),
    }
}

/// Whether the request came from another address than its sender wrote into the Via. A name tells nothing.
fn came_translated(request: &Message, from: SocketAddr) -> bool {
    let said = request.via().ok().and_then(|via| via.host.ip());
    said.is_some_and(|said| said != from.ip())
}

/// Whether the address means something only within some network: RFC 1918, RFC 6598 (carriers' NAT), RFC 4193,
/// link-local, loopback.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            v4.is_private() || v4.is_link_local() || v4.is_loopback() || shared
        }
        IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ListenerId;

    const INVITE: &str = "INVITE sip:+4930@10.0.0.1 SIP/2.0\r\n\
        Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK1\r\n\
        From: \"A\" <sip:a@10.0.0.2>;tag=ta\r\n\
        To: <sip:+4930@10.0.0.1>\r\n\
        Call-ID: one\r\n\
        CSeq: 7 INVITE\r\n\
        Contact: <sip:a@10.0.0.2:5070>\r\n";

    fn message(text: &str) -> Message {
        Message::parse(format!("{text}Content-Length: 0\r\n\r\n").as_bytes()).expect("a message")
    }

    fn path() -> Path {
        Path::to(ListenerId(0), "10.0.0.2:5060".parse().expect("an address"))
    }

    fn response(extra: &str) -> Message {
        message(&format!(
            "SIP/2.0 200 OK\r\n\
            Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK1\r\n\
            From: \"A\" <sip:a@10.0.0.2>;tag=ta\r\n\
            To: <sip:+4930@10.0.0.1>;tag=tb\r\n\
            Call-ID: one\r\n\
            CSeq: 7 INVITE\r\n{extra}"
        ))
    }

    fn text(message: &Message) -> String {
        String::from_utf8(message.to_bytes()).expect("text")
    }

    #[test]
    fn a_server_dialog_swaps_the_ends_and_keeps_the_route_order() {
        let invite = message(&format!(
            "{INVITE}Record-Route: <sip:10.0.0.8;lr>, <sip:10.0.0.9;lr>\r\n"
        ));
        let mut dialog = Dialog::of_server(&invite, "ours", path()).expect("a dialog");
        assert!(dialog.is("one", "ours", "ta"));
        assert_eq!(dialog.next_hop(), "10.0.0.8:5060".parse().expect("address"));
        let bye = text(&dialog.request(Method::Bye));
        assert!(
            bye.starts_with("BYE sip:a@10.0.0.2:5070 SIP/2.0\r\n"),
            "{bye}"
        );
        for line in [
            "Route: <sip:10.0.0.8;lr>\r\nRoute: <sip:10.0.0.9;lr>\r\n",
            "From: <sip:+4930@10.0.0.1>;tag=ours\r\n",
            "To: \"A\" <sip:a@10.0.0.2>;tag=ta\r\n",
            "CSeq: 1 BYE\r\n",
            "Max-Forwards: 70\r\n",
        ] {
            assert!(bye.contains(line), "{line} in {bye}");
        }
    }

    #[test]
    fn a_client_dialog_reverses_the_routes_and_counts_on_from_the_invite() {
        let answer = response(
            "Record-Route: <sip:10.0.0.8;lr>, <sip:10.0.0.9;lr>\r\nContact: <sip:b@10.0.0.3>\r\n",
        );
        let mut dialog = Dialog::of_client(&message(INVITE), &answer, path()).expect("a dialog");
        assert!(dialog.is("one", "ta", "tb"));
        assert_eq!(dialog.next_hop(), "10.0.0.9:5060".parse().expect("address"));
        assert!(text(&dialog.ack()).contains(" ACK\r\n"));
        assert!(text(&dialog.request(Method::Info)).contains("CSeq: 8 INFO\r\n"));
        assert_eq!(dialog.local_cseq(), 8);
    }

    #[test]
    fn a_strict_router_takes_the_place_of_the_target() {
        let answer = response("Record-Route: <sip:10.0.0.9>\r\nContact: <sip:b@10.0.0.3>\r\n");
        let mut dialog = Dialog::of_client(&message(INVITE), &answer, path()).expect("a dialog");
        let bye = text(&dialog.request(Method::Bye));
        assert!(bye.starts_with("BYE sip:10.0.0.9 SIP/2.0\r\n"), "{bye}");
        assert!(bye.contains("Route: <sip:b@10.0.0.3>\r\n"), "{bye}");
    }

    #[test]
    fn a_target_without_literal_address_leads_back_to_the_sender() {
        let mut dialog = Dialog::of_server(&message(INVITE), "ours", path()).expect("a dialog");
        assert_eq!(dialog.next_hop(), "10.0.0.2:5070".parse().expect("address"));
        dialog.refresh_target(&response("Contact: <sip:b@gateway.example>\r\n"));
        assert_eq!(dialog.next_hop(), path().remote);
        assert_eq!(dialog.remote_target().as_str(), "sip:b@gateway.example");
        let name = dialog.next_name().expect("a name");
        assert_eq!(name.as_str(), "sip:b@gateway.example");
        assert!(dialog.believes("192.168.0.1".parse().expect("an address")));
    }

    #[test]
    fn a_route_by_name_is_to_be_resolved() {
        let routed = format!("{INVITE}Record-Route: <sip:proxy.example:5070;lr>\r\n");
        let dialog = Dialog::of_server(&message(&routed), "ours", path()).expect("a dialog");
        let name = dialog.next_name().expect("a name");
        assert_eq!(name.as_str(), "sip:proxy.example:5070;lr");
        assert_eq!(dialog.next_hop(), path().remote, "the last resort");
        let plain = Dialog::of_server(&message(INVITE), "ours", path()).expect("a dialog");
        assert_eq!(plain.next_name(), None);
    }

    #[test]
    fn a_caller_behind_nat_is_reached_where_it_came_from() {
        let translated = Path {
            remote: "192.0.2.77:40001".parse().expect("an address"),
            ..path()
        };
        let invite = message(INVITE);
        let dialog = Dialog::of_server(&invite, "ours", translated).expect("a dialog");
        assert_eq!(dialog.next_hop(), translated.remote);
        let named = message(&INVITE.replace("a@10.0.0.2:5070", "a@phone.example"));
        let dialog = Dialog::of_server(&named, "ours", translated).expect("a dialog");
        assert_eq!(
            dialog.next_name(),
            None,
            "its name is as little use as its address"
        );
        assert!(!dialog.believes("192.168.0.1".parse().expect("an address")));
        assert!(dialog.believes("198.51.100.1".parse().expect("an address")));
        let routed = message(&format!("{INVITE}Record-Route: <sip:192.0.2.9;lr>\r\n"));
        let dialog = Dialog::of_server(&routed, "ours", translated).expect("a dialog");
        assert_eq!(
            dialog.next_hop(),
            "192.0.2.9:5060".parse().expect("address")
        );
    }

    #[test]
    fn a_callee_behind_nat_is_reached_where_it_answered_from() {
        for (contact, from, next_hop) in [
            ("192.168.0.9:5070", "203.0.113.7:40001", "203.0.113.7:40001"),
            ("100.64.0.9", "203.0.113.7:40001", "203.0.113.7:40001"),
            ("192.168.0.9:5070", "10.0.0.9:5060", "192.168.0.9:5070"),
            ("203.0.113.9", "203.0.113.7:5060", "203.0.113.9:5060"),
            ("[fd00::9]", "[2001:db8::7]:5060", "[2001:db8::7]:5060"),
        ] {
            let answer = response(&format!("Contact: <sip:b@{contact}>\r\n"));
            let path = Path {
                remote: from.parse().expect("an address"),
                ..path()
            };
            let dialog = Dialog::of_client(&message(INVITE), &answer, path).expect("a dialog");
            let expected = next_hop.parse().expect("an address");
            assert_eq!(dialog.next_hop(), expected, "{contact}");
        }
    }

    #[test]
    fn the_target_or_the_first_route_says_what_it_speaks() {
        for (extra, transport) in [
            ("Contact: <sip:b@10.0.0.3>\r\n", None),
            (
                "Contact: <sip:b@10.0.0.3;transport=TCP>\r\n",
                Some(Transport::Tcp),
            ),
            ("Contact: <sips:b@10.0.0.3>\r\n", Some(Transport::Tls)),
            (
                "Contact: <sip:b@10.0.0.3>\r\nRecord-Route: <sip:10.0.0.9;transport=tls;lr>\r\n",
                Some(Transport::Tls),
            ),
        ] {
            let answer = response(extra);
            let dialog = Dialog::of_client(&message(INVITE), &answer, path()).expect("a dialog");
            assert_eq!(dialog.transport(), transport, "{extra}");
        }
        let answer = response("Contact: <sip:b@10.0.0.3;transport=tls>\r\n");
        let dialog = Dialog::of_client(&message(INVITE), &answer, path()).expect("a dialog");
        assert_eq!(dialog.next_hop(), "10.0.0.3:5061".parse().expect("address"));
    }

    #[test]
    fn numbers_of_the_peer_only_grow() {
        let mut dialog = Dialog::of_server(&message(INVITE), "ours", path()).expect("a dialog");
        assert!(!dialog.admit(6));
        assert!(dialog.admit(7));
        assert!(dialog.admit(9));
        assert!(!dialog.admit(8));
    }

    #[test]
    fn a_response_without_contact_leaves_the_request_uri_as_the_target() {
        let invite = message(INVITE);
        let mut dialog = Dialog::of_client(&invite, &response(""), path()).expect("a dialog");
        assert_eq!(dialog.remote_target().as_str(), "sip:+4930@10.0.0.1");
        dialog.confirm(&response("Contact: <sip:b@10.0.0.3:5090>\r\n"));
        assert_eq!(dialog.next_hop(), "10.0.0.3:5090".parse().expect("address"));
    }
}
