//! Requests that were challenged, and go out again with credentials (RFC 3261 §22.2).
//!
//! Each is a transaction of its own, with a branch and a CSeq number of its own. To the user it is still the one that
//! it began: the key stays, and what is asked of the key (CANCEL, ACK) is asked of the last transaction.

use contract::Timestamp;

use super::client::Onset;
use super::{ClientKey, Id, Path, TransactionError, Transactions};
use crate::sip::{HeaderName, Message};

/// A request as it was sent, without our Via, and what is needed to send its like again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The request.
    pub request: Message,
    /// The way that it took.
    pub path: Path,
    /// What its branch remembers.
    pub(super) passage: u32,
}

impl Transactions {
    /// Sends another request in the place of the challenged one. Everything that comes of it is told under the
    /// same key. The layer adds the Via.
    ///
    /// # Errors
    /// [`TransactionError::Full`] or [`TransactionError::Unfit`]; then the challenge was the request's end.
    pub fn retry(
        &mut self,
        now: Timestamp,
        key: ClientKey,
        sent: &Sent,
        request: Message,
    ) -> Result<(), TransactionError> {
        let before = self.current(key);
        let onset = Onset {
            key: Some(key),
            passage: sent.passage,
        };
        let id = self.start_client(now, request, sent.path, onset)?;
        // What is left of the challenged transaction acknowledges repeated responses, and is of interest to nobody.
        if let Some(client) = self.clients.get_mut(&before) {
            client.silent = true;
        }
        self.retried.insert(key.0, id.0);
        Ok(())
    }

    /// The number of the request that the key stands for now.
    pub fn number(&self, key: ClientKey) -> Option<u32> {
        let client = self.clients.get(&self.current(key))?;
        client.request.cseq().ok().map(|cseq| cseq.number)
    }

    /// The transaction that a key of the user's stands for now.
    pub(super) fn current(&self, key: ClientKey) -> Id {
        self.retried.get(&key.0).copied().unwrap_or(key.0)
    }

    /// Whether a transaction still lives that is told under the key.
    pub(super) fn lives(&self, key: ClientKey) -> bool {
        self.clients.contains_key(&self.current(key))
    }

    /// The request of a client transaction, to be sent again.
    pub(super) fn sent(&self, id: Id) -> Option<Sent> {
        let client = self.clients.get(&id)?;
        let mut request = client.request.clone();
        request.headers.remove_first(&HeaderName::Via);
        Some(Sent {
            request,
            path: client.fallback.unwrap_or(client.path),
            passage: client.passage,
        })
    }
}
