//! What is said over the admin socket: one JSON object a line, each request answered by one response, in
//! order.
//!
//! ```text
//!   {"verb":"call","id":17}     ──►
//!                               ◄──  {"ok":{…}}  or  {"error":"there is no call 17"}
//! ```
//!
//! The fields of the answers are in [`super::views`]. They are what `--json` prints, and stay: new ones
//! may come, none changes its meaning.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The longest request, in bytes, its line end included: [`MOST_SESSIONS`] sessions between IPv6 addresses, with
/// room to spare.
pub(crate) const LONGEST_REQUEST: usize = 65_536;

/// Calls in a list when the request does not say how many.
pub(crate) const DEFAULT_LIMIT: usize = 1000;

/// The most calls in a list: some 5 MB of JSON.
pub(crate) const MOST_CALLS: usize = 10_000;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// The state of everything: [`super::views::Status`].
    Status {},
    /// The calls that are up, oldest first: [`super::views::Calls`].
    Calls {
        /// At the most this many; [`MOST_CALLS`] at the very most.
        #[serde(default = "default_limit")]
        limit: usize,
    },
    /// The trunks: [`super::views::Trunks`].
    Trunks {},
    /// One call: [`super::views::Call`].
    Call {
        /// Its number.
        id: u64,
    },
    /// End a call: [`super::views::HungUp`].
    Hangup {
        /// Its number.
        id: u64,
    },
    /// What a call did, by its number or a Call-ID: [`super::views::Story`].
    Story {
        /// Its number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<u64>,
        /// The Call-ID of either leg, where no number is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call_id: Option<String>,
        /// With whole messages, where they are kept.
        #[serde(default)]
        messages: bool,
    },
    /// Keep whole messages of calls from now on, or not: [`super::views::Keeping`].
    KeepMessages {
        /// Whether.
        keep: bool,
    },
    /// What is known of names: [`super::views::Dns`].
    Dns {},
    /// Our registrations at trunks: [`super::views::Registrations`].
    Registrations {},
    /// The workers: [`super::views::Workers`].
    Workers {},
    /// The flows of a call: [`super::views::Flows`].
    Flows {
        /// The call's number.
        id: u64,
    },
    /// The flows of a session without SIP: [`super::views::SessionFlows`].
    SessionFlows {
        /// The session's number.
        id: u64,
    },
    /// Open sessions without SIP: [`super::views::OpenedSessions`].
    OpenSessions(OpenSessions),
    /// Close sessions without SIP: [`super::views::ClosedSessions`].
    CloseSessions {
        /// Their numbers; at most 256.
        ids: Vec<u64>,
    },
    /// What would become of a call: [`super::views::Route`].
    Route(RouteQuery),
    /// A request of rtpengine's control protocol, answered with its reply.
    Ng {
        /// The dictionary.
        request: serde_json::Map<String, serde_json::Value>,
    },
    /// Read the configuration again: [`super::views::Reloaded`].
    Reload {
        /// Only say what would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// The sessions without SIP, oldest first: [`super::views::Sessions`].
    Sessions {
        /// At the most this many; [`MOST_CALLS`] at the very most.
        #[serde(default = "default_limit")]
        limit: usize,
        /// Only those with a higher number than this.
        #[serde(default)]
        after: u64,
    },
}

/// A call to decide on without making it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteQuery {
    /// The name of the trunk that it comes from.
    pub(crate) from: String,
    /// The Request-URI, or only its user part.
    pub(crate) uri: String,
    /// Headers of the INVITE, `Name: value`; at most 64.
    #[serde(default)]
    pub(crate) headers: Vec<String>,
    /// When; nothing: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<String>,
}

/// Sessions to be opened, all of one kind; at most 256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenSessions {
    /// The `[[media]]` that faces the A parties.
    pub(crate) a_media: String,
    /// The `[[media]]` that faces the B parties.
    pub(crate) b_media: String,
    /// Where RTCP goes.
    #[serde(default)]
    pub(crate) rtcp: Rtcp,
    /// Whom the flows believe; nothing: as their `[[media]]` says.
    #[serde(default)]
    pub(crate) latch: Option<Latch>,
    /// After how long a silence a session is closed, as in the configuration; nothing: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_timeout: Option<String>,
    /// The parties of each.
    pub(crate) sessions: Vec<Parties>,
}

/// Where RTCP goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Rtcp {
    /// It is not relayed
    #[default]
    None,
    /// To the port after that of RTP
    Separate,
    /// To the port of RTP (RFC 5761)
    Mux,
}

/// Whom flows believe, whatever their media group says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Latch {
    /// Only the addresses that are given
    Sdp,
}

/// The two parties of a session: where each sends RTP from and receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parties {
    /// Party A.
    pub(crate) a: SocketAddr,
    /// Party B.
    pub(crate) b: SocketAddr,
}

fn default_limit() -> usize {
    DEFAULT_LIMIT
}

/// A response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Response<T> {
    /// What was asked for.
    Ok(T),
    /// Why not: one sentence.
    Error(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Request, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn requests_are_told_by_their_verb() {
        assert_eq!(parse(r#"{"verb":"status"}"#).ok(), Some(Request::Status {}));
        assert_eq!(
            parse(r#"{"verb":"calls"}"#).ok(),
            Some(Request::Calls {
                limit: DEFAULT_LIMIT
            })
        );
        assert_eq!(
            parse(r#"{"id":17,"verb":"hangup"}"#).ok(),
            Some(Request::Hangup { id: 17 })
        );
        for wrong in [
            "",
            "[]",
            r#"{"verb":"reboot"}"#,
            r#"{"verb":"call"}"#,
            r#"{"verb":"call","id":-1}"#,
            r#"{"verb":"status","id":1}"#,
            r#"{"verb":"close_sessions","ids":[-1]}"#,
            r#"{"verb":"open_sessions","a_media":"i","b_media":"o","sessions":[{"a":"x","b":"1.2.3.4:5"}]}"#,
            r#"{"verb":"open_sessions","a_media":"i","b_media":"o","sessions":[],"colour":"red"}"#,
            r#"{"verb":"open_sessions","a_media":"i","b_media":"o","sessions":[],"rtcp":"both"}"#,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sessions_are_of_no_rtcp_and_latched_as_configured_unless_said() {
        let text = r#"{"verb":"open_sessions","a_media":"in","b_media":"out",
            "sessions":[{"a":"10.1.0.2:20000","b":"[fd02::2]:20000"}]}"#;
        let Ok(Request::OpenSessions(open)) = parse(text) else {
            panic!("{:?}", parse(text));
        };
        assert_eq!((open.rtcp, open.latch), (Rtcp::None, None));
        assert_eq!(open.media_timeout, None);
        assert!(open.sessions[0].b.is_ipv6());
        let text = r#"{"verb":"open_sessions","a_media":"in","b_media":"out","rtcp":"mux",
            "latch":"sdp","media_timeout":"60s","sessions":[]}"#;
        let Ok(Request::OpenSessions(open)) = parse(text) else {
            panic!("{:?}", parse(text));
        };
        assert_eq!((open.rtcp, open.latch), (Rtcp::Mux, Some(Latch::Sdp)));
    }

    /// The longest spelling of the longest request.
    #[test]
    fn the_most_sessions_fit_a_request() {
        let party = "[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535";
        let session = format!("{{\"a\":\"{party}\",\"b\":\"{party}\"}},");
        let most = controlplane::provisioning::MOST_SESSIONS;
        assert!(most * session.len() + 1024 < LONGEST_REQUEST);
    }

    #[test]
    fn responses_carry_an_answer_or_an_error() {
        let ok = serde_json::to_string(&Response::Ok(1)).expect("a number");
        assert_eq!(ok, r#"{"ok":1}"#);
        let error: Response<u8> = serde_json::from_str(r#"{"error":"no"}"#).expect("an error");
        assert_eq!(error, Response::Error("no".to_owned()));
    }
}
