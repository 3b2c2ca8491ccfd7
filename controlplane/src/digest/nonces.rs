//! The server's nonces: made without remembering them, and counted once they are used.
//!
//! ```text
//!   tttttttttttttttt rrrrrrrrrrrrrrrr mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm      hexadecimal
//!   when it was made  random           HMAC-SHA-256 of both and the realm, the first 128 bits
//! ```
//!
//! Whoever answers a challenge brings back all that there is to know of it. Only a nonce whose credentials were
//! good is remembered, for its count: which numbers have been used.

use std::collections::BTreeMap;
use std::time::Duration;

use contract::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::algorithm::hexadecimal;

/// How long a nonce is good. Longer lets a dialog go on without being asked anew; shorter bounds what a stolen
/// answer is worth. RFC 3261 leaves it open; five minutes are usual.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);

/// How many used nonces are remembered. At 1,500 calls a second that is more than 40 s of them, far longer than a
/// caller takes to answer. Beyond it the oldest are forgotten, and what is as old or older is stale.
const MAX_USED: usize = 65_536;

/// How far a count may lie behind the highest: requests overtake each other.
const WINDOW: u32 = 64;

/// As long as a block of SHA-256: HMAC would hash a longer one and pad a shorter.
type Key = [u8; 64];

/// Makes and knows nonces.
pub(super) struct Nonces {
    key: Key,
    /// By when they were made and their random part.
    used: BTreeMap<(Timestamp, u64), Window>,
    /// What was made no later than this is stale.
    floor: Option<Timestamp>,
    capacity: usize,
}

/// What is known of a nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Made by us, and not long ago.
    Good(Timestamp, u64),
    /// Made by us, too long ago.
    Stale,
    /// Not made by us, or for another realm.
    Foreign,
}

/// The counts of one nonce: bit n of `seen` is `highest - n`.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    highest: u32,
    seen: u64,
}

impl Nonces {
    pub(super) const fn new(key: Key) -> Self {
        Self {
            key,
            used: BTreeMap::new(),
            floor: None,
            capacity: MAX_USED,
        }
    }

    pub(super) fn make(&self, now: Timestamp, realm: &str, random: u64) -> String {
        let mac = self.mac(now.as_nanos(), random, realm);
        format!("{:016x}{random:016x}{mac}", now.as_nanos())
    }

    pub(super) fn standing(&self, now: Timestamp, realm: &str, nonce: &str) -> Standing {
        let Some((made, random, mac)) = parts(nonce) else {
            return Standing::Foreign;
        };
        let ours = self.mac(made, random, realm);
        if !bool::from(ours.as_bytes().ct_eq(mac.as_bytes())) {
            return Standing::Foreign;
        }
        let made = Timestamp::from_nanos(made);
        let forgotten = self.floor.is_some_and(|floor| made <= floor);
        match forgotten || now.since(made) > LIFETIME {
            true => Standing::Stale,
            false => Standing::Good(made, random),
        }
    }

    /// Notes that a good nonce was used with this count; false when it was before, or may have been.
    pub(super) fn admit(
        &mut self,
        now: Timestamp,
        made: Timestamp,
        random: u64,
        count: u32,
    ) -> bool {
        self.forget(now);
        let window = self.used.entry((made, random)).or_default();
        let admitted = window.admit(count);
        while self.used.len() > self.capacity {
            if let Some(((oldest, _), _)) = self.used.pop_first() {
                self.floor = self.floor.max(Some(oldest));
            }
        }
        admitted
    }

    /// How many nonces are remembered.
    pub(super) fn held(&self) -> usize {
        self.used.len()
    }

    /// Forgets what is stale by its age.
    pub(super) fn forget(&mut self, now: Timestamp) {
        while let Some(first) = self.used.first_entry() {
            if now.since(first.key().0) <= LIFETIME {
                break;
            }
            first.remove();
        }
    }

    fn mac(&self, made: u64, random: u64, realm: &str) -> String {
        let mut mac = <Hmac<Sha256> as KeyInit>::new(&self.key.into());
        mac.update(&made.to_be_bytes());
        mac.update(&random.to_be_bytes());
        mac.update(realm.as_bytes());
        let bytes = mac.finalize().into_bytes();
        hexadecimal(bytes.get(..16).unwrap_or_default())
    }
}

fn parts(nonce: &str) -> Option<(u64, u64, &str)> {
    let (made, rest) = nonce.split_at_checked(16)?;
    let (random, mac) = rest.split_at_checked(16)?;
    let number = |text: &str| {
        let digits = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(text, 16).ok().filter(|_| digits)
    };
    Some((number(made)?, number(random)?, mac))
}

impl Window {
    fn admit(&mut self, count: u32) -> bool {
        if count == 0 {
            return false;
        }
        if count > self.highest {
            let ahead = count - self.highest;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let bit = 1_u64.checked_shl(behind).unwrap_or(0);
        if behind >= WINDOW || self.seen & bit != 0 {
            return false;
        }
        self.seen |= bit;
        true
    }
}

impl std::fmt::Debug for Nonces {
    /// Tells nothing of the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nonces")
            .field("held", &self.used.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(1) + Duration::from_secs(seconds)
    }

    #[test]
    fn a_nonce_is_known_until_it_is_old_and_by_its_own_realm() {
        let nonces = Nonces::new([7; 64]);
        let nonce = nonces.make(at(10), "r", 5);
        assert_eq!(
            nonces.standing(at(10), "r", &nonce),
            Standing::Good(at(10), 5)
        );
        assert_eq!(
            nonces.standing(at(310), "r", &nonce),
            Standing::Good(at(10), 5)
        );
        assert_eq!(nonces.standing(at(311), "r", &nonce), Standing::Stale);
        assert_eq!(nonces.standing(at(10), "other", &nonce), Standing::Foreign);
        assert_eq!(
            Nonces::new([8; 64]).standing(at(10), "r", &nonce),
            Standing::Foreign
        );
        let later = nonce.replacen('0', "1", 1);
        for forged in [
            "",
            "short",
            &later,
            &nonce[..63],
            &format!("{nonce}0"),
            &nonce.to_uppercase(),
            "ä",
        ] {
            assert_eq!(
                nonces.standing(at(10), "r", forged),
                Standing::Foreign,
                "{forged}"
            );
        }
    }

    #[test]
    fn a_count_is_good_once_and_may_be_overtaken() {
        let mut window = Window::default();
        let admitted = |window: &mut Window, counts: &[u32]| -> Vec<bool> {
            counts.iter().map(|count| window.admit(*count)).collect()
        };
        assert_eq!(
            admitted(&mut window, &[0, 1, 1, 3, 2, 2, 3]),
            [false, true, false, true, true, false, false]
        );
        assert_eq!(
            admitted(&mut window, &[100, 37, 36, 100]),
            [true, true, false, false]
        );
        assert_eq!(
            admitted(&mut window, &[u32::MAX, u32::MAX - 63, u32::MAX - 64]),
            [true, true, false]
        );
    }

    #[test]
    fn what_is_forgotten_for_want_of_room_is_stale() {
        let mut nonces = Nonces::new([7; 64]);
        nonces.capacity = 2;
        let made: Vec<_> = (0..3)
            .map(|second| nonces.make(at(second), "r", second))
            .collect();
        for (second, nonce) in (0..3).zip(&made) {
            let Standing::Good(when, random) = nonces.standing(at(3), "r", nonce) else {
                panic!("{nonce} is good");
            };
            assert_eq!((when, random), (at(second), second));
            assert!(nonces.admit(at(3), when, random, 1));
        }
        assert_eq!(nonces.held(), 2);
        assert_eq!(nonces.standing(at(3), "r", &made[0]), Standing::Stale);
        assert_eq!(
            nonces.standing(at(3), "r", &made[1]),
            Standing::Good(at(1), 1)
        );
        nonces.forget(at(302));
        assert_eq!(nonces.held(), 1);
        nonces.forget(at(303));
        assert_eq!(nonces.held(), 0);
    }
}
