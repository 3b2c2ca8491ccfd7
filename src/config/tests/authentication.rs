//! Who proves what to whom.

use super::*;

/// The example with keys added to its second trunk, and sections at its end.
fn with_access(keys: &str, sections: &str) -> String {
    changed(
        "# --- Where calls go",
        &format!("{keys}\n# --- Where calls go"),
    ) + sections
}

#[test]
fn who_proves_what_to_whom() {
    use controlplane::settings::{Scope, Secret};
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("secret");
    std::fs::write(&file, "from a file\nand more\n").expect("the directory is ours");
    let keys = format!(
        "domain = \"carrier.example\"\nproxy = \"10.2.0.5\"\nuser = \"tandem\"\npassword_file = {file:?}\n\
         challenge = \"all\"\n\
         [[trunk.login]]\nrealm = \"transit\"\nuser = \"t\"\npassword = \"x\"\n\
         [[trunk.register]]\nuser = \"+4930\"\nexpires = \"10m\"\n\
         [[trunk.register]]\nuser = \"+4931\"\npassword = \"y\"\nregistrar = \"10.2.0.9:5070\"\ndomain = \"r.example\"\n"
    );
    let users = "[[user]]\nname = \"alice\"\ntrunk = \"callees\"\nha1 = \"939e7578ed9e3c518a452acee763bce9\"\n";
    let checked = check_text(&with_access(&keys, users), Some(&host()));
    let config = checked
        .config
        .unwrap_or_else(|| panic!("{}", checked.report));
    let trunk = &config.control.trunks[1];
    assert_eq!(trunk.domain.as_deref(), Some("carrier.example"));
    let proxy = "10.2.0.5:0"
        .parse::<std::net::SocketAddr>()
        .expect("an address");
    assert_eq!(trunk.proxy, Some(proxy.into()));
    let logins: Vec<_> = trunk
        .logins
        .iter()
        .map(|login| (login.realm.as_deref(), login.user.as_str()))
        .collect();
    assert_eq!(logins, [(Some("transit"), "t"), (None, "tandem")]);
    assert_eq!(
        trunk.logins[1].secret,
        Secret::Password("from a file".into())
    );
    let challenge = trunk.challenge.as_ref().expect("it challenges");
    assert_eq!(
        (challenge.realm.as_str(), challenge.scope),
        ("tandem", Scope::All)
    );
    assert_eq!(challenge.users.len(), 1);
    let [first, second] = &trunk.registrations[..] else {
        panic!("two registrations");
    };
    assert_eq!(
        (first.domain.as_str(), first.expires),
        ("carrier.example", Duration::from_secs(600))
    );
    assert_eq!(
        (second.domain.as_str(), second.expires),
        ("r.example", Duration::from_secs(3600))
    );
    assert!(first.login.is_none() && second.login.is_some());
    assert!(!format!("{config:?}").contains("from a file"));
}

#[test]
fn proxies_and_registrars_may_be_names_and_speak_what_the_trunk_does() {
    use controlplane::settings::{Server, Transport};
    let keys = "proxy = \"proxy.example;transport=tcp\"\n\
                [[trunk.register]]\nuser = \"+4930\"\npassword = \"y\"\nregistrar = \"sip.carrier.example\"\n\
                [[trunk.register]]\nuser = \"+4931\"\npassword = \"y\"\nregistrar = \"10.2.0.9\"\n";
    let text = with_access(keys, "");
    let checked = check_text(&text, Some(&host()));
    let config = checked
        .config
        .unwrap_or_else(|| panic!("{}", checked.report));
    let trunk = &config.control.trunks[1];
    let Some(Server::Name(proxy)) = &trunk.proxy else {
        panic!("{:?}", trunk.proxy);
    };
    assert_eq!(proxy.to_string(), "proxy.example;transport=tcp");
    let [first, second] = &trunk.registrations[..] else {
        panic!("two registrations");
    };
    assert_eq!(first.domain, "sip.carrier.example");
    assert!(
        matches!(&first.registrar, Some(Server::Name(name)) if name.to_string() == first.domain)
    );
    assert!(
        matches!(&second.registrar, Some(Server::Address(peer)) if peer.transport == Transport::Udp)
    );
    let nobody = Host {
        name_servers: Vec::new(),
        ..host()
    };
    let report = check_text(&text, Some(&nobody)).report.to_string();
    assert!(
        report.contains("nobody is there to resolve proxy.example"),
        "{report}"
    );
}

#[test]
fn a_slip_in_the_key_of_a_secret_does_not_show_it() {
    let text = with_access("user = \"tandem\"\npasword = \"hush\"", "");
    let report = check_text(&text, Some(&host())).report.to_string();
    assert!(
        report.contains("unknown key in [[trunk]]: `pasword`"),
        "{report}"
    );
    assert!(report.contains("did you mean `password`?"), "{report}");
    assert!(report.contains("pasword * ******"), "{report}");
    assert!(!report.contains("hush"), "{report}");
}

#[test]
fn what_is_wrong_with_authentication() {
    let user = |more: &str| format!("[[user]]\nname = \"alice\"\ntrunk = \"callees\"\n{more}\n");
    for (keys, sections, message) in [
        ("user = \"t\"", String::new(), "user \"t\" has no password"),
        (
            "password = \"t\"",
            String::new(),
            "[[trunk]] has a password and no user",
        ),
        (
            "user = \"t\"\npassword = \"a\"\npassword_file = \"/b\"",
            String::new(),
            "two secrets for one user",
        ),
        (
            "user = \"t\"\npassword_file = \"/nonexistent\"",
            String::new(),
            "cannot take a password from /nonexistent: No such file or directory (os error 2)",
        ),
        (
            "",
            user("password = \"x\""),
            "the trunk of this [[user]] asks nobody for credentials",
        ),
        ("challenge = \"calls\"", user(""), "[[user]] has no secret"),
        (
            "challenge = \"calls\"",
            user("password = \"x\"").repeat(2),
            "two users of the trunk are named \"alice\"",
        ),
        (
            "challenge_realm = \"r\"",
            String::new(),
            "`challenge_realm` means nothing to a trunk that asks nobody",
        ),
        (
            "challenge = \"calls\"",
            String::new(),
            "the trunk asks for credentials, and nobody has any",
        ),
        (
            "challenge = \"calls\"",
            user("password = \"x\"") + &user("password = \"x\"").replace("callees", "nobody"),
            "there is no [[trunk]] named \"nobody\"",
        ),
    ] {
        let checked = check_text(&with_access(keys, &sections), Some(&host()));
        let found: Vec<_> = checked
            .report
            .diagnostics()
            .iter()
            .map(|one| one.message.as_str())
            .collect();
        assert!(found.contains(&message), "{message} in {found:?}");
    }
}
