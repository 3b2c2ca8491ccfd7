//! Requests of this machine's operators: they come by no socket of the door, and their replies are collected.

use std::collections::BTreeMap;

use super::door::{Hands, Ng};
use super::path::{ControlId, ControlPath, Way};

/// Requests at a time, those among them whose replies nobody has collected. More than there are clients of the admin
/// socket.
pub const MOST_OF_OPERATORS: usize = 64;

/// A request that was taken, for its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperatorRequest(pub(super) u64);

/// Too many requests of operators are unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST_OF_OPERATORS} requests of operators are being carried out already: try again later")]
pub struct TooManyOfOperators;

/// What operators wait for.
#[derive(Debug, Default)]
pub(super) struct Operators {
    /// The dictionaries of replies, as they are there.
    replies: BTreeMap<u64, Option<Vec<u8>>>,
    /// Those that are there.
    ready: usize,
    last: u64,
}

impl Operators {
    fn begin(&mut self) -> Result<u64, TooManyOfOperators> {
        if self.replies.len() >= MOST_OF_OPERATORS {
            return Err(TooManyOfOperators);
        }
        self.last += 1;
        self.replies.insert(self.last, None);
        Ok(self.last)
    }

    /// A reply is there; that of a request that was forgotten is nobody's.
    pub(super) fn answer(&mut self, number: u64, message: &[u8]) {
        let Some(reply) = self.replies.get_mut(&number) else {
            return;
        };
        let begin = message.iter().position(|byte| *byte == b' ');
        let dictionary = begin.and_then(|space| message.get(space + 1..));
        *reply = Some(dictionary.unwrap_or_default().to_vec());
        self.ready += 1;
    }

    fn collect(&mut self, number: u64) -> Option<Vec<u8>> {
        let reply = self.replies.get_mut(&number)?.take()?;
        self.forget(number);
        self.ready -= 1;
        Some(reply)
    }

    fn forget(&mut self, number: u64) {
        if let Some(Some(_)) = self.replies.remove(&number) {
            self.ready -= 1;
        }
    }
}

impl Ng {
    /// Takes a dictionary in JSON or bencode from an operator.
    pub(crate) fn ask(
        &mut self,
        hands: Hands<'_>,
        dictionary: &[u8],
    ) -> Result<OperatorRequest, TooManyOfOperators> {
        let number = self.operators.begin()?;
        let path = ControlPath {
            listener: ControlId(u16::MAX),
            remote: ([0, 0, 0, 0], 0).into(),
            way: Way::Operator { number },
        };
        // No request of an operator is another's again.
        let mut message = format!("{number} ").into_bytes();
        message.extend_from_slice(dictionary);
        self.handle(hands, path, &message);
        Ok(OperatorRequest(number))
    }

    /// The dictionary of a reply, once; `None` while there is none.
    pub(crate) fn collect(&mut self, request: OperatorRequest) -> Option<Vec<u8>> {
        self.operators.collect(request.0)
    }

    /// Nobody waits for the reply any more; the request is carried out all the same.
    pub(crate) fn forget(&mut self, request: OperatorRequest) {
        self.operators.forget(request.0);
    }

    /// Whether a reply waits to be collected.
    pub(crate) fn has_replies(&self) -> bool {
        self.operators.ready > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_collected_once_and_what_is_forgotten_leaves_nothing() {
        let mut operators = Operators::default();
        let first = operators.begin().expect("room");
        let second = operators.begin().expect("room");
        assert_eq!(operators.collect(first), None);
        operators.answer(first, br#"1 {"result":"pong"}"#);
        operators.answer(second, b"2 {}");
        assert_eq!(operators.ready, 2);
        let reply = operators.collect(first);
        assert_eq!(reply.as_deref(), Some(&br#"{"result":"pong"}"#[..]));
        assert_eq!(operators.collect(first), None);
        operators.forget(second);
        operators.answer(second, b"2 {}");
        assert_eq!((operators.ready, operators.replies.len()), (0, 0));
    }

    #[test]
    fn there_is_a_bound() {
        let mut operators = Operators::default();
        for _ in 0..MOST_OF_OPERATORS {
            operators.begin().expect("room");
        }
        assert_eq!(operators.begin(), Err(TooManyOfOperators));
        operators.forget(1);
        operators.begin().expect("room again");
    }
}
