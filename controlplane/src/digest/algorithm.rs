//! Which hash a digest is made with, and whether for one request or a session.

use std::fmt;

use md5::Md5;
use sha2::digest::Digest;
use sha2::{Sha256, Sha512_256};

/// A hash function, the stronger the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hash {
    /// RFC 3261: what everybody knows.
    Md5,
    /// RFC 8760.
    Sha256,
    /// RFC 8760: SHA-512 cut to 256 bits, with initial values of its own.
    Sha512_256,
}

impl Hash {
    /// Every one, the strongest first: the order in which they are offered (RFC 8760 §2.4).
    pub const ALL: [Self; 3] = [Self::Sha512_256, Self::Sha256, Self::Md5];

    /// The name in `algorithm`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// How many hexadecimal digits a digest of it has.
    pub const fn digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha256 | Self::Sha512_256 => 64,
        }
    }

    /// The digest of the parts, joined with colons, in lower-case hexadecimal.
    pub fn of(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Md5 => joined::<Md5>(parts),
            Self::Sha256 => joined::<Sha256>(parts),
            Self::Sha512_256 => joined::<Sha512_256>(parts),
        }
    }
}

fn joined<D: Digest>(parts: &[&[u8]]) -> String {
    let mut digest = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            digest.update(b":");
        }
        digest.update(part);
    }
    hexadecimal(&digest.finalize())
}

/// The bytes in lower-case hexadecimal.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What `algorithm` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithm {
    /// The hash.
    pub hash: Hash,
    /// The `-sess` form: the secret is hashed together with the first nonces, so that a third party can check
    /// a session's requests without knowing the password.
    pub session: bool,
}

impl Algorithm {
    /// RFC 2069 and RFC 7616 §3.3: what a value without `algorithm` means.
    pub const DEFAULT: Self = Self::plain(Hash::Md5);

    /// The form for single requests.
    pub const fn plain(hash: Hash) -> Self {
        Self {
            hash,
            session: false,
        }
    }

    /// The algorithm of this name, in any case; `None` if we know none.
    pub fn named(name: &str) -> Option<Self> {
        let (base, session) = match name
            .len()
            .checked_sub(5)
            .and_then(|at| name.split_at_checked(at))
        {
            Some((base, end)) if end.eq_ignore_ascii_case("-sess") => (base, true),
            _ => (name, false),
        };
        let hash = Hash::ALL
            .into_iter()
            .find(|hash| hash.name().eq_ignore_ascii_case(base))?;
        Some(Self { hash, session })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.name())?;
        f.write_str(if self.session { "-sess" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_written_as_registered() {
        for (read, written) in [
            ("MD5", Some("MD5")),
            ("md5-SESS", Some("MD5-sess")),
            ("sha-256", Some("SHA-256")),
            ("SHA-512-256-sess", Some("SHA-512-256-sess")),
            ("SHA-1", None),
            ("-sess", None),
            ("", None),
            ("äöü-sess", None),
        ] {
            let algorithm = Algorithm::named(read).map(|algorithm| algorithm.to_string());
            assert_eq!(algorithm.as_deref(), written, "{read}");
        }
    }

    #[test]
    fn the_strongest_is_first() {
        assert!(Hash::ALL.is_sorted_by(|a, b| a > b));
        for hash in Hash::ALL {
            assert_eq!(hash.of(&[b""]).len(), hash.digits());
        }
        assert_eq!(Hash::Md5.of(&[b""]), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(Hash::Md5.of(&[b"a", b"b"]), Hash::Md5.of(&[b"a:b"]));
    }
}
