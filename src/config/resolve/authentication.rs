//! Logins, challenges, users and registrations: from their keys to what the control plane is told.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use controlplane::settings as control;
use controlplane::settings::Secret;

use super::super::diagnostic::Diagnostic;
use super::super::file::authentication::{Access, Login, Register, Secrets, User};
use super::super::file::{File, Trunk};
use super::super::kind;
use super::transports;

/// No password file is longer, in bytes.
const LONGEST_FILE: u64 = 4096;

const A_SECRET: &str = "`password` or `password_file`";

/// What the trunk's keys say, in the trunk's settings.
pub(super) fn resolve(
    file: &File,
    trunk: &Trunk,
    into: &mut control::Trunk,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let access = &trunk.access;
    into.domain.clone_from(&access.domain);
    let transport = transports::speaks(file, trunk);
    into.proxy = access
        .proxy
        .as_ref()
        .map(|proxy| server(&proxy.value, transport));
    into.logins = logins(access, diagnostics);
    into.challenge = challenge(file, trunk, diagnostics);
    let registrations = access.registrations.iter();
    into.registrations = registrations
        .filter_map(|register| registration((register, transport), into, diagnostics))
        .collect();
}

fn logins(access: &Access, diagnostics: &mut Vec<Diagnostic>) -> Vec<control::Login> {
    let mut logins: Vec<_> = access
        .logins
        .iter()
        .filter_map(|login| {
            let secret = required(&login.secrets, &login.at, "[[trunk.login]]", diagnostics)?;
            Some(named(login, secret))
        })
        .collect();
    let own = &access.own;
    let secret = optional(&own.secrets, diagnostics);
    match (&own.user, secret) {
        (Some(_), Some(secret)) => logins.push(named(own, secret)),
        (Some(user), None) => {
            let message = format!("user \"{}\" has no password", user.value);
            diagnostics.push(Diagnostic::error(user.span.clone(), message, A_SECRET));
        }
        (None, Some(_)) if access.registrations.is_empty() => {
            let message = "[[trunk]] has a password and no user";
            diagnostics.push(Diagnostic::error(own.at.clone(), message, "`user`"));
        }
        // Registrations that name no password of their own use it with their own user.
        (None, _) => {}
    }
    logins
}

fn named(login: &Login, secret: Secret) -> control::Login {
    control::Login {
        realm: login.realm.clone(),
        user: login
            .user
            .as_ref()
            .map(|user| user.value.clone())
            .unwrap_or_default(),
        secret,
    }
}

fn challenge(
    file: &File,
    trunk: &Trunk,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<control::Challenge> {
    let access = &trunk.access;
    let name = trunk.name.as_ref().map(|name| name.value.as_str());
    let of_trunk = |user: &&User| user.trunk.as_ref().map(|trunk| trunk.value.as_str()) == name;
    let users: Vec<&User> = file.users.iter().filter(of_trunk).collect();
    let Some(scope) = access
        .challenge
        .as_ref()
        .and_then(|challenge| challenge.value)
    else {
        for user in users {
            let message = "the trunk of this [[user]] asks nobody for credentials";
            let expected = "challenge = \"calls\" or \"all\" in the [[trunk]]";
            diagnostics.push(Diagnostic::error(user.at.clone(), message, expected));
        }
        if let Some(realm) = &access.challenge_realm {
            let message = "`challenge_realm` means nothing to a trunk that asks nobody";
            let expected = "challenge = \"calls\" or \"all\", or no `challenge_realm`";
            diagnostics.push(Diagnostic::error(realm.span.clone(), message, expected));
        }
        return None;
    };
    if let (true, Some(challenge)) = (users.is_empty(), &access.challenge) {
        let message = "the trunk asks for credentials, and nobody has any";
        let expected = "a [[user]] of the trunk";
        diagnostics.push(Diagnostic::warning(
            challenge.span.clone(),
            message,
            expected,
        ));
    }
    let realm = access
        .challenge_realm
        .as_ref()
        .map(|realm| realm.value.clone());
    Some(control::Challenge {
        realm: realm.unwrap_or_else(|| file.appliance.name.clone()),
        users: known_users(&users, diagnostics),
        scope,
    })
}

fn known_users(users: &[&User], diagnostics: &mut Vec<Diagnostic>) -> Vec<control::User> {
    let mut known: Vec<control::User> = Vec::new();
    for user in users {
        let secret = required(&user.secrets, &user.at, "[[user]]", diagnostics);
        let (Some(name), Some(secret)) = (&user.name, secret) else {
            continue;
        };
        if known.iter().any(|other| other.name == name.value) {
            let message = format!("two users of the trunk are named \"{}\"", name.value);
            diagnostics.push(Diagnostic::error(
                name.span.clone(),
                message,
                "a name of its own",
            ));
        }
        if known.iter().any(|other| clashes(&other.secret, &secret)) {
            let message = "the digests of this trunk's users are of different hashes: no challenge serves all";
            let expected = "the same for all, or passwords";
            diagnostics.push(Diagnostic::error(user.at.clone(), message, expected));
        }
        known.push(control::User {
            name: name.value.clone(),
            secret,
        });
    }
    known
}

fn clashes(one: &Secret, other: &Secret) -> bool {
    match (one, other) {
        (Secret::Ha1 { hash: one, .. }, Secret::Ha1 { hash: other, .. }) => one != other,
        _ => false,
    }
}

fn server(peer: &kind::Peer, transport: control::Transport) -> control::Server {
    match peer {
        kind::Peer::Address(address) => control::Server::Address(control::Peer {
            transport,
            ..control::Peer::from(*address)
        }),
        kind::Peer::Name(destination) => control::Server::Name(destination.clone()),
    }
}

/// The host part of a server's own URI.
fn host_of(server: &control::Server) -> String {
    match server {
        control::Server::Name(destination) => destination.host.to_string(),
        control::Server::Address(peer) => match peer.address.ip() {
            std::net::IpAddr::V4(v4) => v4.to_string(),
            std::net::IpAddr::V6(v6) => format!("[{v6}]"),
        },
    }
}

fn registration(
    (register, transport): (&Register, control::Transport),
    trunk: &control::Trunk,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<control::Registration> {
    let user = register.user.as_ref()?.value.clone();
    let secret = optional(&register.secrets, diagnostics);
    let registrar = register.registrar.as_ref();
    let registrar = registrar.map(|registrar| server(&registrar.value, transport));
    let domain = register
        .domain
        .clone()
        .or_else(|| trunk.domain.clone())
        .or_else(|| {
            let peer = trunk.peers.first().copied().map(control::Server::Address);
            let name = trunk.names.first().map(|name| name.destination.clone());
            let first = || peer.or(name.map(control::Server::Name));
            registrar.clone().or_else(first).as_ref().map(host_of)
        });
    let Some(domain) = domain else {
        let message = "it is not known where to register";
        let expected = "`domain` or `registrar`";
        diagnostics.push(Diagnostic::error(register.at.clone(), message, expected));
        return None;
    };
    Some(control::Registration {
        login: secret.map(|secret| control::Login {
            realm: None,
            user: user.clone(),
            secret,
        }),
        user,
        domain,
        registrar,
        expires: register.expires,
    })
}

fn required(
    secrets: &Secrets,
    at: &Range<usize>,
    section: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Secret> {
    let before = diagnostics.len();
    let secret = optional(secrets, diagnostics);
    if secret.is_none() && diagnostics.len() == before {
        let message = format!("{section} has no secret");
        let expected = "`password`, `password_file` or `ha1`";
        diagnostics.push(Diagnostic::error(at.clone(), message, expected));
    }
    secret
}

/// The secret, if there is one; two are one too many.
fn optional(secrets: &Secrets, diagnostics: &mut Vec<Diagnostic>) -> Option<Secret> {
    let spans = [
        secrets.password.as_ref().map(|one| &one.span),
        secrets.password_file.as_ref().map(|one| &one.span),
        secrets.ha1.as_ref().map(|one| &one.span),
    ];
    let mut spans = spans.into_iter().flatten();
    if let (Some(first), Some(second)) = (spans.next(), spans.next()) {
        let message = "two secrets for one user";
        let expected = "one of `password`, `password_file` and `ha1`";
        let twice = Diagnostic::error(second.clone(), message, expected);
        diagnostics.push(twice.clashing_with(first.clone(), "the first is here"));
        return None;
    }
    if let Some(file) = &secrets.password_file {
        return match first_line(&file.value) {
            Ok(password) => Some(Secret::Password(password)),
            Err(problem) => {
                let message = format!(
                    "cannot take a password from {}: {problem}",
                    file.value.display()
                );
                let expected = "a readable file whose first line is the password";
                diagnostics.push(Diagnostic::error(file.span.clone(), message, expected));
                None
            }
        };
    }
    let written = secrets.password.as_ref().or(secrets.ha1.as_ref());
    written.map(|secret| secret.value.clone())
}

fn first_line(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let read = file.take(LONGEST_FILE).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    let line = text.lines().next().unwrap_or_default();
    match line {
        "" => Err("its first line is empty".to_owned()),
        _ if line.len() > 128 || line.contains(char::is_control) => {
            Err("its first line is no password".to_owned())
        }
        _ => Ok(line.to_owned()),
    }
}
