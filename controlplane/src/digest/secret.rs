//! What only the two parties know.

use std::fmt;

use super::algorithm::Hash;

/// A password, or what a server needs of one. Never shown: neither by `Debug` nor otherwise.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Password(String),
    /// `H(user:realm:password)`, in lower-case hexadecimal: good for one user, realm and hash.
    Ha1 {
        /// What it was made with.
        hash: Hash,
        /// The digest.
        digest: String,
    },
}

impl Secret {
    /// A digest in hexadecimal, of MD5 or SHA-256 by its length; `None` if it is neither.
    pub fn ha1(digest: &str) -> Option<Self> {
        let hash = [Hash::Md5, Hash::Sha256]
            .into_iter()
            .find(|hash| hash.digits() == digest.len())?;
        let digest = digest.to_ascii_lowercase();
        digest
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then_some(Self::Ha1 { hash, digest })
    }

    /// Whether a digest of this hash can be made of it.
    pub fn serves(&self, hash: Hash) -> bool {
        match self {
            Self::Password(_) => true,
            Self::Ha1 { hash: known, .. } => *known == hash,
        }
    }

    /// `H(user:realm:password)`; `None` where only that of another hash is known.
    pub fn of(&self, hash: Hash, user: &str, realm: &str) -> Option<String> {
        match self {
            Self::Password(password) => {
                Some(hash.of(&[user.as_bytes(), realm.as_bytes(), password.as_bytes()]))
            }
            Self::Ha1 {
                hash: known,
                digest,
            } => (*known == hash).then(|| digest.clone()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A text as it stands between quotes: what would end them is escaped, control characters are left out.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if matches!(letter, '"' | '\\') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_and_a_digest_fits_its_hash_alone() {
        let md5 = Secret::ha1("939E7578ED9E3C518A452ACEE763BCE9").expect("32 digits");
        assert_eq!(
            format!("{md5:?} {:?}", Secret::Password("hush".into())),
            "Secret Secret"
        );
        let of = |hash| md5.of(hash, "Mufasa", "testrealm@host.com");
        assert_eq!(
            of(Hash::Md5).as_deref(),
            Some("939e7578ed9e3c518a452acee763bce9")
        );
        assert_eq!(of(Hash::Sha256), None);
        assert_eq!(Secret::ha1("939e"), None);
        assert_eq!(Secret::ha1(&"g".repeat(64)), None);
        assert_eq!(escaped("a\"b\\c\r\n"), "a\\\"b\\\\c");
    }
}
