//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760, and RFC 2069 for servers that still speak it),
//! both ways, sans-IO.
//!
//! [`Answers`] is the client's half: what a dialog, or a registration, has been challenged with, and the
//! credentials that it sends from then on. [`Guard`] is the server's: it makes nonces, and says of a request
//! whether its credentials are good. Between them lie the values that both exchange, [`Challenge`] and
//! [`Credentials`], and the arithmetic.
//!
//! Refuses to know transactions, calls, and whom a challenge is put to. Reads no clock; randomness is given.

mod algorithm;
mod answers;
mod calculation;
mod challenge;
mod credentials;
mod failures;
mod guard;
mod nonces;
mod parameters;
mod secret;

pub use algorithm::{Algorithm, Hash};
pub use answers::{Answers, Exchange, Login, Outcome, Place, strip, strip_realm};
pub use calculation::{Protection, Request};
pub use challenge::{Challenge, Offered};
pub use credentials::Credentials;
pub use guard::{Guard, Tally, User, Verdict};
pub use secret::{Secret, escaped};

/// A value of one of the digest headers that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// It does not follow the grammar.
    #[error("malformed digest value")]
    Malformed,
    /// Another scheme than Digest.
    #[error("no digest")]
    OtherScheme,
    /// An algorithm, or nothing but qualities of protection, that we do not know.
    #[error("unknown digest algorithm or protection")]
    Unknown,
}

/// Everything that bytes from the network reach in here, for fuzzing: reads the value as a challenge, as
/// credentials and as Authentication-Info, and holds that what is read and written again is read the same.
pub fn exercise(value: &[u8]) {
    if let Ok(challenges) = Challenge::parse(value) {
        for challenge in challenges.into_iter().flatten() {
            let again = Challenge::parse(challenge.to_string().as_bytes());
            assert_eq!(again, Ok(vec![Ok(challenge)]));
        }
    }
    if let Ok(credentials) = Credentials::parse(value) {
        let again = Credentials::parse(credentials.to_string().as_bytes());
        assert_eq!(again, Ok(credentials));
    }
    let _ = answers::next_nonce(value);
}

#[cfg(test)]
mod property_tests;
