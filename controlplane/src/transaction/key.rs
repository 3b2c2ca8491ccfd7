//! How messages find their transactions.

use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;

use crate::sip::typed::{NameAddr, TypedError, Uri, Via};
use crate::sip::{Message, Method, Tokens};

/// What was hashed, in 128 bits: transactions outlive their messages by half a minute, and texts would be most of
/// what they hold. The keys are drawn at random in each process, so nobody can make two that are the same.
fn hashed(what: impl Hash) -> u128 {
    static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
    let [high, low] = KEYS.each_ref().map(|key| u128::from(key.hash_one(&what)));
    high << 64 | low
}

/// What a request has in common with its retransmissions, its CANCEL and the ACK of its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MatchKey(u128);

impl MatchKey {
    /// The key of a request, taken as one of `method`: an ACK or a CANCEL looks for its INVITE.
    /// `via` is the top Via as the client sent it.
    ///
    /// A client of RFC 2543 has a branch that says nothing. Its requests are known by Request-URI, From tag, Call-ID,
    /// CSeq number, the top Via and the method. The To tag, which §17.2.3 adds, is left out: an ACK carries the
    /// response's, and no client repeats its CSeq number towards another To tag.
    pub(super) fn of(request: &Message, via: &Via, method: Method) -> Result<Self, TypedError> {
        if let Some(key) = Self::of_branch(via, &method) {
            return Ok(key);
        }
        let legacy = (
            request.uri().map(Uri::as_str),
            tag(request.from()?),
            request.call_id()?,
            request.cseq()?.number,
            via.to_string(),
            method,
        );
        Ok(Self(hashed(legacy)))
    }

    /// The key of a request of an RFC 3261 client: branch, sent-by and method (§17.2.3).
    pub(super) fn of_branch(via: &Via, method: &Method) -> Option<Self> {
        let branch = via.branch().filter(|_| via.has_unique_branch())?;
        let port = via.port.unwrap_or(5060);
        let host = via.host.to_string().to_ascii_lowercase();
        Some(Self(hashed((branch, host, port, method))))
    }
}

/// What our request has in common with its responses: the branch, and the method of CSeq (RFC 3261 §17.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BranchKey(u128);

impl BranchKey {
    pub(super) fn of(branch: &str, method: &Method) -> Self {
        Self(hashed((branch, method)))
    }
}

/// What a request has in common with itself when it comes by another way (RFC 3261 §8.2.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MergeKey(u128);

impl MergeKey {
    /// The key of a request outside a dialog; `None` within one.
    pub(super) fn of(request: &Message) -> Result<Option<Self>, TypedError> {
        if request.to()?.tag().is_some() {
            return Ok(None);
        }
        let cseq = request.cseq()?;
        let what = (
            request.call_id()?,
            tag(request.from()?),
            cseq.number,
            cseq.method,
        );
        Ok(Some(Self(hashed(what))))
    }
}

/// What the ACK of a 2xx has in common with the 2xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AckKey(u128);

impl AckKey {
    /// The key of a 2xx or an ACK.
    pub(super) fn of(message: &Message) -> Result<Self, TypedError> {
        let (from, to) = (tag(message.from()?), tag(message.to()?));
        Ok(Self(hashed((
            message.call_id()?,
            from,
            to,
            message.cseq()?.number,
        ))))
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
