//! How messages find their transactions.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use crate::sip::typed::{NameAddr, TypedError, Via};
use crate::sip::{Message, Method, Tokens};

/// What a request has in common with its retransmissions, its CANCEL and the ACK of its failure.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum MatchKey {
    /// RFC 3261 §17.2.3: branch, sent-by and method.
    Branch {
        branch: String,
        sent_by: String,
        method: Method,
    },
    /// A client of RFC 2543, whose branch says nothing: Request-URI, From tag, Call-ID, CSeq number, the
    /// top Via and the method. The To tag, which §17.2.3 adds, is left out: an ACK carries the
    /// response's, and no client repeats its CSeq number towards another To tag.
    Legacy {
        uri: String,
        from_tag: String,
        call_id: String,
        cseq: u32,
        via: String,
        method: Method,
    },
}

impl MatchKey {
    /// The key of a request, taken as one of `method`: an ACK or a CANCEL looks for its INVITE.
    /// `via` is the top Via as the client sent it.
    pub(super) fn of(request: &Message, via: &Via, method: Method) -> Result<Self, TypedError> {
        if let Some(key) = Self::of_branch(via, method.clone()) {
            return Ok(key);
        }
        Ok(Self::Legacy {
            uri: request
                .uri()
                .map(|uri| uri.as_str().to_owned())
                .unwrap_or_default(),
            from_tag: tag(request.from()?),
            call_id: request.call_id()?,
            cseq: request.cseq()?.number,
            via: via.to_string(),
            method,
        })
    }
}

impl MatchKey {
    /// The key of a request of an RFC 3261 client: its top Via says all.
    pub(super) fn of_branch(via: &Via, method: Method) -> Option<Self> {
        let branch = via.branch().filter(|_| via.has_unique_branch())?;
        let port = via.port.unwrap_or(5060);
        Some(Self::Branch {
            branch: branch.to_owned(),
            sent_by: format!("{}:{port}", via.host).to_ascii_lowercase(),
            method,
        })
    }
}

/// What a request has in common with itself when it comes by another way (RFC 3261 §8.2.2.2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct MergeKey {
    call_id: String,
    from_tag: String,
    cseq: u32,
    method: Method,
}

impl MergeKey {
    /// The key of a request outside a dialog; `None` within one.
    pub(super) fn of(request: &Message) -> Result<Option<Self>, TypedError> {
        if request.to()?.tag().is_some() {
            return Ok(None);
        }
        let cseq = request.cseq()?;
        Ok(Some(Self {
            call_id: request.call_id()?,
            from_tag: tag(request.from()?),
            cseq: cseq.number,
            method: cseq.method,
        }))
    }
}

/// What the ACK of a 2xx has in common with the 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AckKey {
    call_id: String,
    from_tag: String,
    to_tag: String,
    cseq: u32,
}

impl AckKey {
    /// The key of a 2xx or an ACK.
    pub(super) fn of(message: &Message) -> Result<Self, TypedError> {
        Ok(Self {
            call_id: message.call_id()?,
            from_tag: tag(message.from()?),
            to_tag: tag(message.to()?),
            cseq: message.cseq()?.number,
        })
    }
}

/// The tag, or nothing: RFC 2543 knew messages without.
pub(super) fn tag(value: NameAddr) -> String {
    value.tag().unwrap_or_default().to_owned()
}

/// A random number that the outside cannot know, and what is derived from it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Secret {
    number: u64,
    /// Marks our own branches.
    instance: u32,
}

impl Secret {
    pub(super) const fn new(number: u64) -> Self {
        // Half of the number is shown in every branch; the hashes need the other half too.
        Self {
            number,
            instance: (number >> 32) as u32,
        }
    }

    fn hash(self, what: impl Hash) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.number, what).hash(&mut hasher);
        hasher.finish()
    }

    /// A To tag for a response that nobody remembers: the same for the same request.
    pub(super) fn tag(self, request: &Message) -> String {
        let via = request.headers.value(&crate::sip::HeaderName::Via);
        format!("{:016x}", self.hash((via, request.call_id().ok())))
    }

    /// Where a request came from and whom it asks for, as 32 bits: what it would have in common with
    /// itself after a loop.
    pub(super) fn passage(self, request: &Message, source: IpAddr) -> u32 {
        let user = request.uri().and_then(|uri| uri.decoded_user());
        (self.hash((user, source)) >> 32) as u32
    }

    /// A branch that remembers the passage (RFC 3261 §16.6 step 8 does so for proxies):
    ///
    /// ```text
    ///   z9hG4bK iiiiiiii pppppppp rrrrrrrrrrrrrrrr      hexadecimal: instance, passage, random
    /// ```
    pub(super) fn branch(self, passage: u32, tokens: &mut Tokens) -> String {
        let (cookie, instance) = (Tokens::MAGIC_COOKIE, self.instance);
        format!("{cookie}{instance:08x}{passage:08x}{}", tokens.tag())
    }

    /// Whether the branch is ours and remembers this passage.
    pub(super) fn remembers(self, branch: &str, passage: u32) -> bool {
        let (cookie, instance) = (Tokens::MAGIC_COOKIE, self.instance);
        branch.starts_with(&format!("{cookie}{instance:08x}{passage:08x}"))
    }
}
