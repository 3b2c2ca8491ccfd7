//! A scripted SIP peer: a journey writes its lines one after the other.
//!
//! A retransmission (the same bytes again) is swallowed and counted. What comes before it is asked for waits;
//! [`Phone::assert_nothing_unheard`] then finds what nobody asked for.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::network::Host;
use super::sip::Message;

/// How long an expected message may take: generous, for a loaded machine.
pub(crate) const SOON: Duration = Duration::from_secs(8);

static SERIAL: AtomicU32 = AtomicU32::new(1);

/// A peer with one UDP socket.
#[derive(Debug)]
pub(crate) struct Phone {
    socket: UdpSocket,
    /// Where it is bound, and what it calls itself in Via and Contact unless told otherwise.
    pub(crate) address: SocketAddr,
    /// What it says in Via and Contact.
    pub(crate) says: SocketAddr,
    /// Where its requests go.
    pub(crate) proxy: SocketAddr,
    waiting: VecDeque<Message>,
    seen: HashMap<Vec<u8>, u32>,
}

/// One side's view of a dialog.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    /// Call-ID.
    pub(crate) call_id: String,
    /// From in requests of this side, with the tag.
    pub(crate) local: String,
    /// To in requests of this side, with the tag once there is one.
    pub(crate) remote: String,
    /// The Request-URI of requests in the dialog.
    pub(crate) target: String,
    /// CSeq of this side's last request.
    pub(crate) cseq: u32,
}

impl Phone {
    /// A peer at a host's address that talks to the relay at another.
    pub(crate) fn new(host: &Host, address: SocketAddr, proxy: SocketAddr) -> Self {
        let socket = host.udp(address);
        Self {
            socket,
            address,
            says: address,
            proxy,
            waiting: VecDeque::new(),
            seen: HashMap::new(),
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn send_raw(&self, bytes: &[u8]) {
        self.socket
            .send_to(bytes, self.proxy)
            .unwrap_or_else(|error| panic!("send to {}: {error}", self.proxy));
    }

    /// Sends a message.
    pub(crate) fn send(&self, message: &Message) {
        self.send_raw(message.to_text().as_bytes());
    }

    /// A Contact header value of this peer.
    pub(crate) fn contact(&self) -> String {
        format!("<sip:peer@{}>", self.says)
    }

    /// A fresh Via header value.
    pub(crate) fn via(&self) -> String {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        format!(
            "SIP/2.0/UDP {};branch=z9hG4bK{:x}x{serial};rport",
            self.says,
            std::process::id()
        )
    }

    /// A dialog that this peer is about to open with a user behind the relay.
    pub(crate) fn dialog(&self, user: &str) -> Dialog {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        Dialog {
            call_id: format!("{process}-{serial}@{}", self.says.ip()),
            local: format!("\"Peer\" <sip:peer@{}>;tag=f{serial}", self.says),
            remote: format!("<sip:{user}@{}>", self.proxy),
            target: format!("sip:{user}@{}", self.proxy),
            cseq: 0,
        }
    }

    /// A request of a dialog, not sent yet. ACK and CANCEL keep the number; others take the next.
    pub(crate) fn request(&self, dialog: &mut Dialog, method: &str) -> Message {
        if !matches!(method, "ACK" | "CANCEL") {
            dialog.cseq += 1;
        }
        Message::new(format!("{method} {} SIP/2.0", dialog.target))
            .with("Via", self.via())
            .with("Max-Forwards", "70")
            .with("From", dialog.local.clone())
            .with("To", dialog.remote.clone())
            .with("Call-ID", dialog.call_id.clone())
            .with("CSeq", format!("{} {method}", dialog.cseq))
            .with("Contact", self.contact())
    }

    /// A CANCEL for a request of this peer.
    pub(crate) fn cancel(&self, request: &Message) -> Message {
        let uri = request.start.split(' ').nth(1).unwrap_or_default();
        Message::new(format!("CANCEL {uri} SIP/2.0"))
            .copy(request, &["Via", "From", "To", "Call-ID", "Max-Forwards"])
            .with("CSeq", format!("{} CANCEL", request.cseq_number()))
    }

    /// The ACK for a final answer other than 2xx (RFC 3261 §17.1.1.3).
    pub(crate) fn ack_refusal(&self, request: &Message, answer: &Message) -> Message {
        let uri = request.start.split(' ').nth(1).unwrap_or_default();
        Message::new(format!("ACK {uri} SIP/2.0"))
            .copy(request, &["Via", "From", "Call-ID", "Max-Forwards"])
            .copy(answer, &["To"])
            .with("CSeq", format!("{} ACK", request.cseq_number()))
    }

    /// A response to a request, with a To tag unless the request has one.
    pub(crate) fn response(
        &self,
        request: &Message,
        code: u16,
        reason: &str,
        tag: &str,
    ) -> Message {
        let mut response = Message::new(format!("SIP/2.0 {code} {reason}")).copy(
            request,
            &["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"],
        );
        if request.tag("To").is_none() && code > 100 {
            for (name, value) in &mut response.headers {
                if name.eq_ignore_ascii_case("To") {
                    value.push_str(&format!(";tag={tag}"));
                }
            }
        }
        response.with("Contact", self.contact())
    }

    /// Answers a request and goes on.
    pub(crate) fn respond(&self, request: &Message, code: u16, reason: &str, tag: &str) {
        self.send(&self.response(request, code, reason, tag));
    }

    /// The next message that fulfils the condition; the others wait for their turn.
    #[track_caller]
    pub(crate) fn expect(&mut self, what: &str, fits: impl Fn(&Message) -> bool) -> Message {
        self.expect_within(SOON, what, fits)
    }

    /// The same with another patience.
    #[track_caller]
    pub(crate) fn expect_within(
        &mut self,
        patience: Duration,
        what: &str,
        fits: impl Fn(&Message) -> bool,
    ) -> Message {
        let end = Instant::now() + patience;
        loop {
            if let Some(place) = self.waiting.iter().position(&fits) {
                return self.waiting.remove(place).expect("position found it");
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{}: no {what} within {patience:?}; what came instead: {:#?}",
                self.address,
                self.waiting
            );
            self.receive(left);
        }
    }

    /// The next request of a method.
    #[track_caller]
    pub(crate) fn expect_request(&mut self, method: &str) -> Message {
        self.expect(method, |message| message.method() == Some(method))
    }

    /// The next response of a code to a method.
    #[track_caller]
    pub(crate) fn expect_response(&mut self, code: u16, method: &str) -> Message {
        self.expect(&format!("{code} to {method}"), |message| {
            message.status() == Some(code) && message.cseq_method() == method
        })
    }

    /// A message that has come already and fulfils the condition.
    pub(crate) fn heard(&mut self, fits: impl Fn(&Message) -> bool) -> Option<Message> {
        self.receive(Duration::from_micros(50));
        let place = self.waiting.iter().position(fits)?;
        self.waiting.remove(place)
    }

    /// Nothing but 100 Trying has come that nobody asked for, now or within the given time.
    #[track_caller]
    pub(crate) fn assert_nothing_unheard(&mut self, for_time: Duration) {
        let end = Instant::now() + for_time;
        loop {
            self.waiting.retain(|message| message.status() != Some(100));
            assert!(
                self.waiting.is_empty(),
                "{} was sent what nobody asked for: {:#?}",
                self.address,
                self.waiting
            );
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.receive(left);
        }
    }

    /// How many times the same bytes as this message came after the first.
    pub(crate) fn repeats(&mut self, of: impl Fn(&Message) -> bool) -> u32 {
        self.receive(Duration::from_millis(1));
        self.seen
            .iter()
            .filter(|(bytes, _)| of(&Message::parse(bytes)))
            .map(|(_, times)| times - 1)
            .sum()
    }

    /// Waits for one datagram, then takes what else is there: without a timeout, the shortest of which is some
    /// milliseconds long in the kernel.
    fn receive(&mut self, patience: Duration) {
        let patience = patience.max(Duration::from_millis(1));
        self.socket
            .set_read_timeout(Some(patience))
            .expect("the patience is not zero");
        if self.take_one() {
            self.set_nonblocking(true);
            while self.take_one() {}
            self.set_nonblocking(false);
        }
    }

    fn set_nonblocking(&self, nonblocking: bool) {
        self.socket
            .set_nonblocking(nonblocking)
            .expect("a socket of our own");
    }

    /// Takes a datagram; whether there was one.
    fn take_one(&mut self) -> bool {
        let mut buffer = [0; 65536];
        let Ok((length, _)) = self.socket.recv_from(&mut buffer) else {
            return false;
        };
        let bytes = &buffer[..length];
        let times = self.seen.entry(bytes.to_vec()).or_default();
        *times += 1;
        if *times == 1 {
            self.waiting.push_back(Message::parse(bytes));
        }
        true
    }
}

impl Dialog {
    /// The caller's side learns the other's tag and target from an answer.
    pub(crate) fn learn(&mut self, answer: &Message) {
        self.remote = answer.expect_header("To").to_owned();
        self.target = answer.contact_uri().to_owned();
    }

    /// The callee's side of a dialog: from the INVITE that it got and the tag that it answers with.
    pub(crate) fn callee(invite: &Message, tag: &str) -> Self {
        Self {
            call_id: invite.expect_header("Call-ID").to_owned(),
            local: format!("{};tag={tag}", invite.expect_header("To")),
            remote: invite.expect_header("From").to_owned(),
            target: invite.contact_uri().to_owned(),
            cseq: 100,
        }
    }
}
