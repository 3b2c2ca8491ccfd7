//! What authentication is configured with. What is wrong with a secret is said without saying it.

use std::path::PathBuf;

use controlplane::settings::Secret;

use super::Kind;

/// The keys whose values are never shown.
pub(crate) const SECRET_KEYS: [&str; 2] = ["password", "ha1"];

/// The longest text in a digest header, in bytes.
const LONGEST: usize = 128;

/// A user or realm as digest headers hold it.
pub(crate) fn digest_text() -> Kind<String> {
    let expected = format!("1 to {LONGEST} bytes of text without control characters");
    Kind::of_text(expected, |text| match text {
        "" => Err("is empty".to_owned()),
        _ if text.len() > LONGEST => Err("is too long".to_owned()),
        _ if text.contains(char::is_control) => Err("holds a control character".to_owned()),
        _ => Ok(text.to_owned()),
    })
}

/// The user part of an address of record.
pub(crate) fn user_part() -> Kind<String> {
    let expected = "the user part of a SIP address, such as \"+4930123456\"";
    Kind::of_text(expected, |text| {
        let allowed =
            |letter: char| letter.is_ascii_alphanumeric() || "-_.!~*'()&=+$,;?/%".contains(letter);
        match text {
            "" => Err("is empty".to_owned()),
            _ if text.len() > LONGEST => Err("is too long".to_owned()),
            _ => match text.chars().find(|&letter| !allowed(letter)) {
                Some(letter) => Err(format!("contains {letter:?}")),
                None => Ok(text.to_owned()),
            },
        }
    })
}

/// A host as it stands in a SIP address, without port.
pub(crate) fn domain() -> Kind<String> {
    let expected = "a domain name or address without port, such as \"carrier.example\"";
    Kind::of_text(expected, |text| {
        let name = !text.is_empty()
            && text.len() <= 253
            && text.split('.').all(|label| {
                let inner = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
                !label.is_empty()
                    && label.len() <= 63
                    && label.chars().all(inner)
                    && !label.starts_with('-')
            });
        let six = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let six = six.is_some_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok());
        match name || six {
            true => Ok(text.to_owned()),
            false => Err(format!("is {text:?}, which is no host")),
        }
    })
}

/// A password.
pub(crate) fn password() -> Kind<Secret> {
    let text = digest_text();
    Kind::new(format!("a password: {}", text.expected()), move |value| {
        text.parse(value).map(Secret::Password)
    })
}

/// Where a password is: its first line.
pub(crate) fn password_file() -> Kind<PathBuf> {
    Kind::of_text(
        "the absolute path of a file whose first line is the password",
        |text| {
            let path = PathBuf::from(text);
            match path.is_absolute() {
                true => Ok(path),
                false => Err("is not absolute".to_owned()),
            }
        },
    )
}

/// The digest of user, realm and password.
pub(crate) fn ha1() -> Kind<Secret> {
    let expected = "the MD5 (32 hexadecimal digits) or SHA-256 (64) of user:realm:password";
    Kind::of_text(expected, |text| {
        Secret::ha1(text).ok_or_else(|| "is neither".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::super::read_for_tests as read;
    use super::*;

    #[test]
    fn what_is_wrong_with_a_secret_does_not_say_it() {
        for wrong in ["''", "\"hush\\u0007\"", "5"] {
            let problem = read(&password(), wrong).expect_err("it is wrong");
            assert!(!problem.contains("hush"), "{problem}");
        }
        assert!(read(&password(), "'hush'").is_ok());
        assert!(read(&ha1(), "'939e7578ed9e3c518a452acee763bce9'").is_ok());
        assert_eq!(read(&ha1(), "'939e'"), Err("is neither".to_owned()));
        assert!(read(&password_file(), "'/etc/tandem/secret'").is_ok());
        assert!(read(&password_file(), "'secret'").is_err());
    }

    #[test]
    fn hosts_and_users() {
        for right in ["'carrier.example'", "'192.0.2.1'", "'[2001:db8::1]'", "'a'"] {
            assert!(read(&domain(), right).is_ok(), "{right}");
        }
        for wrong in [
            "''",
            "'a..b'",
            "'a:5060'",
            "'sip:a'",
            "'-a'",
            "'2001:db8::1'",
            "'[x]'",
            "'a b'",
        ] {
            assert!(read(&domain(), wrong).is_err(), "{wrong}");
        }
        assert!(read(&user_part(), "'+4930'").is_ok());
        assert_eq!(read(&user_part(), "'a@b'"), Err("contains '@'".to_owned()));
    }
}
