//! The keys about who proves to whom who they are: logins, challenges, users, registrations.

use std::path::PathBuf;
use std::time::Duration;

use controlplane::settings::{Scope, Secret};

use super::super::kind;
use super::super::section::{Located, Section};

/// What only two parties know, in one of its spellings.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    pub(crate) password: Option<Located<Secret>>,
    pub(crate) password_file: Option<Located<PathBuf>>,
    pub(crate) ha1: Option<Located<Secret>>,
}

/// Who we are to somebody: `[[trunk.login]]`, or keys of `[[trunk]]`.
#[derive(Debug)]
pub(crate) struct Login {
    /// Where the section begins.
    pub(crate) at: std::ops::Range<usize>,
    pub(crate) realm: Option<String>,
    pub(crate) user: Option<Located<String>>,
    pub(crate) secrets: Secrets,
}

/// `[[trunk.register]]`: an address of record that we bind to ourselves.
#[derive(Debug)]
pub(crate) struct Register {
    pub(crate) at: std::ops::Range<usize>,
    pub(crate) user: Option<Located<String>>,
    pub(crate) domain: Option<String>,
    pub(crate) registrar: Option<Located<kind::Peer>>,
    pub(crate) expires: Duration,
    pub(crate) secrets: Secrets,
}

/// The keys of `[[trunk]]`.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) domain: Option<String>,
    pub(crate) proxy: Option<Located<kind::Peer>>,
    /// The login for every realm that has none of its own.
    pub(crate) own: Login,
    pub(crate) logins: Vec<Login>,
    pub(crate) challenge: Option<Located<Option<Scope>>>,
    pub(crate) challenge_realm: Option<Located<String>>,
    pub(crate) registrations: Vec<Register>,
}

impl Access {
    /// The trunk's proxy and registrars.
    pub(crate) fn servers(&self) -> impl Iterator<Item = &Located<kind::Peer>> {
        let registrars = self.registrations.iter();
        let registrars = registrars.filter_map(|register| register.registrar.as_ref());
        self.proxy.iter().chain(registrars)
    }
}

/// `[[user]]`: somebody who may call.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) at: std::ops::Range<usize>,
    pub(crate) name: Option<Located<String>>,
    pub(crate) trunk: Option<Located<String>>,
    pub(crate) secrets: Secrets,
}

/// The keys of a trunk.
pub(super) fn access(section: &mut Section<'_>) -> Access {
    const CHALLENGES: &[(&str, Option<Scope>)] = &[
        ("off", None),
        ("calls", Some(Scope::Calls)),
        ("all", Some(Scope::All)),
    ];
    Access {
        domain: section
            .optional("domain", &kind::domain())
            .map(|domain| domain.value),
        proxy: section.optional("proxy", &kind::server()),
        own: Login {
            at: section.span(),
            realm: None,
            user: section.optional("user", &kind::digest_text()),
            secrets: secrets(section, false),
        },
        logins: section.optional_tables("login", "[[trunk.login]]", login),
        challenge: section.optional("challenge", &kind::word(CHALLENGES)),
        challenge_realm: section.optional("challenge_realm", &kind::digest_text()),
        registrations: section.optional_tables("register", "[[trunk.register]]", register),
    }
}

fn login(section: &mut Section<'_>) -> Login {
    Login {
        at: section.span(),
        realm: section
            .required("realm", &kind::digest_text())
            .map(|realm| realm.value),
        user: section.required("user", &kind::digest_text()),
        secrets: secrets(section, true),
    }
}

fn register(section: &mut Section<'_>) -> Register {
    let longest = Duration::from_secs(86_400);
    let shortest = Duration::from_secs(60);
    Register {
        at: section.span(),
        user: section.required("user", &kind::user_part()),
        domain: section
            .optional("domain", &kind::domain())
            .map(|domain| domain.value),
        registrar: section.optional("registrar", &kind::server()),
        expires: section.or_default(
            "expires",
            &kind::duration(shortest, longest),
            Duration::from_secs(3600),
        ),
        secrets: secrets(section, false),
    }
}

/// A `[[user]]`.
pub(super) fn user(section: &mut Section<'_>) -> User {
    User {
        at: section.span(),
        name: section.required("name", &kind::digest_text()),
        trunk: section.required("trunk", &kind::reference("[[trunk]]")),
        secrets: secrets(section, true),
    }
}

/// The digest is good for one realm: only where that is known.
fn secrets(section: &mut Section<'_>, realm_is_known: bool) -> Secrets {
    Secrets {
        password: section.optional("password", &kind::password()),
        password_file: section.optional("password_file", &kind::password_file()),
        ha1: match realm_is_known {
            true => section.optional("ha1", &kind::ha1()),
            false => None,
        },
    }
}
