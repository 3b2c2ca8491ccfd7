//! What is asked about a call, in its order, as proxies ask it.

use std::net::IpAddr;

use super::args::NgArgs;
use super::bencode::{self, Value};

/// A request of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Offer,
    Answer,
    Query,
    Delete,
}

impl Step {
    /// In their order.
    pub(super) const ALL: [Self; 4] = [Self::Offer, Self::Answer, Self::Query, Self::Delete];

    /// The command.
    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::Query => "query",
            Self::Delete => "delete",
        }
    }

    /// What comes after it.
    pub(super) const fn next(self) -> Option<Self> {
        match self {
            Self::Offer => Some(Self::Answer),
            Self::Answer => Some(Self::Query),
            Self::Query => Some(Self::Delete),
            Self::Delete => None,
        }
    }

    /// Whether a reply carries a session description.
    const fn has_sdp(self) -> bool {
        matches!(self, Self::Offer | Self::Answer)
    }
}

/// Between whom calls are.
#[derive(Clone, Debug)]
pub(super) struct Script {
    caller: IpAddr,
    callee: IpAddr,
    interfaces: Option<[String; 2]>,
}

impl Script {
    pub(super) fn new(args: &NgArgs) -> Self {
        Self {
            caller: args.caller,
            callee: args.callee,
            interfaces: args.interfaces.clone().map(|two| two.0),
        }
    }

    /// The message that asks this step of a call.
    pub(super) fn message(&self, cookie: &str, call_id: &str, number: u64, step: Step) -> Vec<u8> {
        let port = 20_000 + 2 * (number % 20_000) as u16;
        let sdp = match step {
            Step::Offer => sdp(self.caller, port, "8 0 101"),
            Step::Answer => sdp(self.callee, port, "8 101"),
            Step::Query | Step::Delete => String::new(),
        };
        let mut entries = vec![
            ("command", Value::Text(step.command())),
            ("call-id", Value::Text(call_id)),
            ("from-tag", Value::Text("caller")),
        ];
        let direction;
        if step.has_sdp() {
            entries.push(("sdp", Value::Text(&sdp)));
            entries.push(("ICE", Value::Text("remove")));
            entries.push(("flags", Value::List(&["trust-address"])));
            entries.push(("replace", Value::List(&["origin", "session-connection"])));
        }
        match (step, &self.interfaces) {
            (Step::Offer, Some([a, b])) => {
                direction = [a.as_str(), b.as_str()];
                entries.push(("direction", Value::List(&direction)));
            }
            (Step::Offer, None) | (Step::Query, _) => {}
            (Step::Answer, _) => entries.push(("to-tag", Value::Text("callee"))),
            (Step::Delete, _) => entries.push(("delete-delay", Value::Number(0))),
        }
        let mut message = Vec::with_capacity(768);
        message.extend_from_slice(cookie.as_bytes());
        message.push(b' ');
        bencode::write(&entries, &mut message);
        message
    }
}

/// What is wrong with a reply; `None`: it is what it has to be.
pub(super) fn fault(step: Step, reply: &[u8]) -> Option<String> {
    let found = |key: &[u8]| bencode::find(reply, key);
    if found(b"result") != Some(b"ok") {
        let reason = found(b"error-reason").or(found(b"result"));
        let reason = reason.unwrap_or(b"no dictionary with a result");
        let reason: String = String::from_utf8_lossy(reason).chars().take(80).collect();
        return Some(reason);
    }
    let complete = match step {
        Step::Offer | Step::Answer => found(b"sdp").is_some_and(has_audio),
        Step::Query => found(b"tags").is_some(),
        Step::Delete => true,
    };
    (!complete).then(|| "an ok without what belongs to it".to_owned())
}

/// Whether a session description has an audio stream with a port.
fn has_audio(sdp: &[u8]) -> bool {
    let lines = sdp.split(|byte| *byte == b'\n');
    let mut ports = lines.filter_map(|line| line.strip_prefix(b"m=audio "));
    ports.any(|rest| {
        rest.first()
            .is_some_and(|digit| matches!(digit, b'1'..=b'9'))
    })
}

fn sdp(address: IpAddr, port: u16, formats: &str) -> String {
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    format!(
        "v=0\r\no=- 3926350011 1 IN {family} {address}\r\ns=call\r\nc=IN {family} {address}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {formats}\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offer_says_whom_it_is_between() {
        let script = Script {
            caller: [10, 1, 0, 2].into(),
            callee: [10, 2, 0, 2].into(),
            interfaces: Some(["inside", "outside"].map(str::to_owned)),
        };
        let message = script.message("c1", "x", 20_001, Step::Offer);
        let dictionary = message.strip_prefix(b"c1 ").expect("a cookie");
        let found = |key: &[u8]| bencode::find(dictionary, key);
        assert_eq!(found(b"direction"), Some(&b"l6:inside7:outsidee"[..]));
        let sdp = String::from_utf8_lossy(found(b"sdp").expect("an offer"));
        assert!(sdp.contains("m=audio 20002 RTP/AVP 8 0 101\r\n"), "{sdp}");
        let message = script.message("c1", "x", 1, Step::Delete);
        let dictionary = message.strip_prefix(b"c1 ").expect("a cookie");
        assert_eq!(bencode::find(dictionary, b"sdp"), None);
        assert_eq!(
            bencode::find(dictionary, b"delete-delay"),
            Some(&b"i0e"[..])
        );
    }

    #[test]
    fn a_reply_is_complete_or_says_why_not() {
        let error = b"d12:error-reason15:Unknown call-id6:result5:errore";
        assert_eq!(
            fault(Step::Query, error).as_deref(),
            Some("Unknown call-id")
        );
        assert_eq!(fault(Step::Delete, b"d6:result2:oke"), None);
        assert_eq!(
            fault(Step::Offer, b"d6:result2:ok3:sdp15:m=audio 5000 RTe"),
            None
        );
        assert!(fault(Step::Offer, b"d6:result2:ok3:sdp12:m=audio 0 RTe").is_some());
        assert!(fault(Step::Offer, b"d6:result2:oke").is_some());
        assert!(fault(Step::Query, b"d6:result2:oke").is_some());
        assert!(fault(Step::Query, b"nonsense").is_some());
    }
}
