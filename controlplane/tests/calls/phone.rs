//! A scripted user agent: one end of one dialog, which does what the test says.

use std::net::SocketAddr;

use controlplane::sip::{HeaderName, Message, Method, StatusCode};

use crate::world::{CALLER, INSIDE, World, addr};

/// One end of one dialog.
#[derive(Clone, Debug)]
pub(crate) struct Phone {
    pub(crate) at: SocketAddr,
    /// The listener that it talks to.
    via: SocketAddr,
    pub(crate) call_id: String,
    /// Its own From or To, with its tag.
    pub(crate) own: String,
    /// The other end's, with its tag once known.
    pub(crate) peer: String,
    /// Where its requests are addressed to.
    pub(crate) target: String,
    pub(crate) cseq: u32,
    /// The INVITE that it sent last, and its branch.
    invite: Option<(u32, String)>,
}

/// A session description of one audio stream.
pub(crate) fn sdp(address: &str, port: u16) -> String {
    described(address, port, 1, "sendrecv")
}

/// The same in a later version, with a direction.
pub(crate) fn described(address: &str, port: u16, version: u32, direction: &str) -> String {
    let family = if address.contains(':') { "IP6" } else { "IP4" };
    format!(
        "v=0\r\no=ua 1 {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n\
        m=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na={direction}\r\n"
    )
}

/// The address and port that a session description announces for its first stream.
pub(crate) fn media_of(message: &Message) -> (String, u16) {
    let body = std::str::from_utf8(&message.body).expect("text");
    let line = |start: &str| {
        let found = body.lines().find_map(|line| line.strip_prefix(start));
        found.unwrap_or_else(|| panic!("no {start} in {body:?}"))
    };
    let address = line("c=").split(' ').nth(2).expect("an address");
    let port = line("m=audio ").split(' ').next().expect("a port");
    (address.to_owned(), port.parse().expect("a port"))
}

pub(crate) fn header(message: &Message, name: HeaderName) -> String {
    let value = message.headers.value(&name).unwrap_or_default();
    String::from_utf8(value).expect("text")
}

/// What the next message of an address must be: a method or a status code.
pub(crate) fn expect(world: &mut World, at: SocketAddr, what: &str) -> Message {
    let message = world
        .next(at)
        .unwrap_or_else(|| panic!("{at} waits for {what} and got nothing"));
    let is = match (message.method(), message.code()) {
        (Some(method), _) => method.as_str().to_owned(),
        (_, Some(code)) => code.to_string(),
        _ => String::new(),
    };
    assert_eq!(is, what, "{at}: {:?}", message.start);
    message
}

impl Phone {
    /// The caller of a new call.
    pub(crate) fn caller(call_id: &str) -> Self {
        Self::new(CALLER, INSIDE, call_id)
    }

    pub(crate) fn new(at: &str, via: &str, call_id: &str) -> Self {
        Self {
            at: addr(at),
            via: addr(via),
            call_id: call_id.into(),
            own: format!("\"Alice\" <sip:alice@{at}>;tag=from-{call_id}"),
            peer: String::new(),
            target: String::new(),
            cseq: 0,
            invite: None,
        }
    }

    /// The callee of an INVITE that arrived at `at`, with this tag.
    pub(crate) fn callee(at: &str, invite: &Message, tag: &str) -> Self {
        let via = invite.via().expect("a Via");
        Self {
            at: addr(at),
            via: SocketAddr::new(via.host.ip().expect("an address"), via.port.unwrap_or(5060)),
            call_id: header(invite, HeaderName::CallId),
            own: format!("{};tag={tag}", header(invite, HeaderName::To)),
            peer: header(invite, HeaderName::From),
            target: invite.contact().expect("a Contact").uri.to_string(),
            cseq: 100,
            invite: None,
        }
    }

    /// Sends INVITE to `sip:user@` our listener.
    pub(crate) fn invite(&mut self, world: &mut World, user: &str, body: &str) {
        self.invite_with(world, user, body, "");
    }

    /// The same with more headers.
    pub(crate) fn invite_with(&mut self, world: &mut World, user: &str, body: &str, more: &str) {
        self.target = format!("sip:{user}@{}", self.via);
        self.peer = format!("<{}>", self.target);
        self.request_with(world, "INVITE", body, more);
    }

    /// The next request in the dialog.
    pub(crate) fn request(&mut self, world: &mut World, method: &str, body: &str) {
        self.request_with(world, method, body, "");
    }

    pub(crate) fn request_with(&mut self, world: &mut World, method: &str, body: &str, more: &str) {
        self.cseq += 1;
        let branch = format!("z9hG4bK-{}-{}-{method}", self.call_id, self.cseq);
        if method == "INVITE" {
            self.invite = Some((self.cseq, branch.clone()));
        }
        self.transmit(world, method, self.cseq, &branch, body, more);
    }

    /// Acknowledges a reliable provisional response.
    pub(crate) fn prack(&mut self, world: &mut World, response: &Message, body: &str) {
        let rseq = header(response, HeaderName::RSeq);
        let number = header(response, HeaderName::CSeq);
        let rack = format!("RAck: {rseq} {number}\r\n");
        self.request_with(world, "PRACK", body, &rack);
    }

    /// ACK for a response to its last INVITE: within the INVITE's transaction for a failure, a
    /// transaction of its own for a 2xx.
    pub(crate) fn ack(&mut self, world: &mut World, response: &Message, body: &str) {
        // It may have sent another since.
        let cseq = response.cseq().expect("a number").number;
        let branch = format!("z9hG4bK-{}-{cseq}-INVITE", self.call_id);
        let failed = response.code().is_some_and(|code| code.is_failure());
        let branch = if failed {
            branch
        } else {
            format!("{branch}-ack")
        };
        let peer = self.peer.clone();
        self.peer = header(response, HeaderName::To);
        if !failed {
            self.learn(response);
        }
        self.transmit(world, "ACK", cseq, &branch, body, "");
        if failed && !peer.contains("tag=") {
            self.peer = peer;
        }
    }

    /// Takes the other end's tag and Contact from a response.
    pub(crate) fn learn(&mut self, response: &Message) {
        self.peer = header(response, HeaderName::To);
        if let Ok(contact) = response.contact() {
            self.target = contact.uri.to_string();
        }
    }

    pub(crate) fn cancel(&mut self, world: &mut World) {
        let (cseq, branch) = self.invite.clone().expect("it sent an INVITE");
        self.transmit(world, "CANCEL", cseq, &branch, "", "");
    }

    fn transmit(
        &self,
        world: &mut World,
        method: &str,
        cseq: u32,
        branch: &str,
        body: &str,
        more: &str,
    ) {
        let Self {
            at,
            own,
            peer,
            target,
            call_id,
            ..
        } = self;
        let kind = match (body.is_empty(), more.contains("Content-Type")) {
            (false, false) => "Content-Type: application/sdp\r\n",
            _ => "",
        };
        let hops = match more.contains("Max-Forwards") {
            true => "",
            false => "Max-Forwards: 70\r\n",
        };
        let text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch={branch}\r\n{hops}\
            From: {own}\r\nTo: {peer}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
            Contact: <sip:ua@{at}>\r\n{more}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        world.send(*at, self.via, text.into_bytes());
    }

    /// Answers a request with its tag.
    pub(crate) fn respond(&self, world: &mut World, request: &Message, code: u16, body: &str) {
        self.respond_with(world, request, code, body, "");
    }

    pub(crate) fn respond_with(
        &self,
        world: &mut World,
        request: &Message,
        code: u16,
        body: &str,
        more: &str,
    ) {
        let code = StatusCode::new(code).expect("a code");
        let tag = self.own.split("tag=").nth(1);
        let mut response = request.response(code, tag);
        response
            .headers
            .push(HeaderName::Contact, format!("<sip:ua@{}>", self.at));
        for line in more.lines() {
            let (name, value) = line.split_once(": ").expect("a header");
            response.headers.push(HeaderName::from(name), value);
        }
        if !body.is_empty() {
            if !more.contains("Content-Type") {
                response
                    .headers
                    .push(HeaderName::ContentType, "application/sdp");
            }
            response.body = body.into();
        }
        world.send(self.at, self.via, response.to_bytes());
    }

    pub(crate) fn expect(&self, world: &mut World, what: &str) -> Message {
        expect(world, self.at, what)
    }

    /// Nothing waits for it.
    pub(crate) fn expect_nothing(&self, world: &mut World) {
        let message = world.next(self.at);
        assert!(message.is_none(), "{} also got {message:?}", self.at);
    }

    /// Its next request must be a BYE; it answers with 200.
    pub(crate) fn take_bye(&self, world: &mut World) -> Message {
        let bye = self.expect(world, Method::Bye.as_str());
        self.respond(world, &bye, 200, "");
        bye
    }
}
