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

use serde::{Deserialize, Serialize};

/// The longest request, in bytes, its line end included.
pub(crate) const LONGEST_REQUEST: usize = 4096;

/// Calls in a list when the request does not say how many.
pub(crate) const DEFAULT_LIMIT: usize = 1000;

/// The most calls in a list: some 5 MB of JSON.
pub(crate) const MOST_CALLS: usize = 10_000;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Request {
    /// The state of everything: [`super::views::Status`].
    Status {},
    /// The calls that are up, oldest first: [`super::views::Calls`].
    Calls {
        /// At the most this many; [`MOST_CALLS`] at the very most.
        #[serde(default = "default_limit")]
        limit: usize,
    },
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
    /// The workers: [`super::views::Workers`].
    Workers {},
    /// The flows of a call: [`super::views::Flows`].
    Flows {
        /// The call's number.
        id: u64,
    },
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
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn responses_carry_an_answer_or_an_error() {
        let ok = serde_json::to_string(&Response::Ok(1)).expect("a number");
        assert_eq!(ok, r#"{"ok":1}"#);
        let error: Response<u8> = serde_json::from_str(r#"{"error":"no"}"#).expect("an error");
        assert_eq!(error, Response::Error("no".to_owned()));
    }
}
