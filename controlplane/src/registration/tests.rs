//! The machine walked row by row, and its journeys on virtual time.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::settings::{Listener, ListenerId, MediaGroupId, Registration, Secret, Trunk};
use crate::sip::{HeaderName, StatusCode};

const FIRST: &str = "192.0.2.1:5060";
const SECOND: &str = "192.0.2.2:5060";

struct Registrar {
    registrations: Registrations,
    now: Timestamp,
    /// The rows that were walked.
    walked: BTreeSet<(State, Trigger)>,
    before: State,
}

fn settings() -> Settings {
    let peers = [FIRST, SECOND].map(|peer| peer.parse().expect("an address"));
    let registration = Registration {
        user: "+4930".into(),
        domain: "carrier.example".into(),
        registrar: None,
        expires: Duration::from_secs(3600),
        login: None,
    };
    let login = crate::settings::Login {
        realm: None,
        user: "tandem".into(),
        secret: Secret::Password("hush".into()),
    };
    Settings {
        listeners: vec![Listener::new(
            "outside",
            "198.51.100.1:5060".parse().expect("an address"),
        )],
        trunks: vec![Trunk {
            registrations: vec![registration],
            logins: vec![login],
            ..Trunk::new("carrier", peers, [ListenerId(0)], MediaGroupId(0))
        }],
        ..Settings::default()
    }
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

impl Registrar {
    fn new() -> Self {
        Self::of(&settings())
    }

    fn of(settings: &Settings) -> Self {
        let tokens = Tokens::new(StdRng::seed_from_u64(1));
        Self {
            registrations: Registrations::new(settings, &Routing::new(settings), tokens),
            now: Timestamp::from_nanos(1),
            walked: BTreeSet::new(),
            before: State::Idle,
        }
    }

    fn view(&self) -> RegistrationView {
        self.registrations.list[0].view(self.registrations.due.of(RegistrationId(0)))
    }

    /// Does something that must lead along this row.
    fn walk(&mut self, trigger: Trigger, next: State, act: impl FnOnce(&mut Self)) {
        self.before = self.view().state;
        act(self);
        assert_eq!(self.view().state, next, "{:?} at {trigger:?}", self.before);
        assert_eq!(
            self.before.after(trigger),
            Some(next),
            "{:?} at {trigger:?}",
            self.before
        );
        self.walked.insert((self.before, trigger));
    }

    /// Waits until something is due.
    fn due(&mut self) -> Duration {
        let at = self.registrations.deadline().expect("something is due");
        let waited = at.since(self.now);
        self.now = self.now.max(at);
        self.registrations.on_time(self.now);
        waited
    }

    fn order(&mut self) -> Order {
        self.registrations.next_order().expect("a REGISTER")
    }

    fn nothing(&mut self) {
        let order = self.registrations.next_order();
        assert!(order.is_none(), "{order:?}");
    }

    fn reply(&mut self, order: &Order, code: u16, headers: &str) {
        let code = StatusCode::new(code).expect("a code");
        let mut response = order.request.response(code, Some("to"));
        for line in headers.lines() {
            let (name, value) = line.split_once(": ").expect("a header");
            response.headers.push(HeaderName::from(name), value);
        }
        let reply = Reply::Response(&response);
        self.registrations
            .on_reply(self.now, order.id, order.attempt, reply);
    }

    fn lose(&mut self, order: &Order) {
        self.registrations
            .on_reply(self.now, order.id, order.attempt, Reply::Lost);
    }

    fn stop(&mut self) {
        self.registrations.stop(self.now);
    }

    /// Registered, for an hour.
    fn registered(&mut self) {
        self.walk(Trigger::Due, State::Registering, |it| {
            it.due();
        });
        let order = self.order();
        self.walk(Trigger::Accepted, State::Registered, |it| {
            it.reply(&order, 200, "Expires: 3600")
        });
    }

    /// Asked again for what it has.
    fn refreshing(&mut self) -> Order {
        self.registered();
        self.walk(Trigger::Due, State::Refreshing, |it| {
            it.due();
        });
        self.order()
    }
}

fn text(request: &Message) -> String {
    String::from_utf8(request.to_bytes()).expect("text")
}

fn expires(order: &Order) -> String {
    let value = order
        .request
        .headers
        .value(&HeaderName::Expires)
        .expect("Expires");
    String::from_utf8(value).expect("text")
}

#[test]
fn the_documentation_has_the_same_table() {
    let document = include_str!("../../../docs/authentication.md");
    let rows: Vec<String> = document
        .lines()
        .filter(|line| {
            line.starts_with("| `") && line.matches('|').count() == 5 && !line.contains("| `[")
        })
        .map(str::to_owned)
        .collect();
    let written: Vec<String> = TABLE
        .iter()
        .map(|row| {
            format!(
                "| `{:?}` | `{:?}` | `{:?}` | {} |",
                row.state, row.trigger, row.next, row.action
            )
        })
        .collect();
    assert_eq!(rows, written);
}

#[test]
fn every_row_is_walked() {
    use State::{Backoff, Idle, Refreshing, Registered, Registering, Unregistering, Withdrawing};
    let mut walked = BTreeSet::new();
    let mut journey = |act: &dyn Fn(&mut Registrar)| {
        let mut registrar = Registrar::new();
        act(&mut registrar);
        walked.append(&mut registrar.walked);
    };
    journey(&|it| it.walk(Trigger::Stop, Idle, Registrar::stop));
    // The first registration in all its outcomes.
    journey(&|it| {
        it.walk(Trigger::Due, Registering, |it| {
            it.due();
        });
        let order = it.order();
        it.walk(Trigger::TooBrief, Registering, |it| {
            it.reply(&order, 423, "Min-Expires: 7200")
        });
        let order = it.order();
        it.walk(Trigger::NextRegistrar, Registering, |it| it.lose(&order));
        let order = it.order();
        it.walk(Trigger::Failed, Backoff, |it| it.lose(&order));
        it.walk(Trigger::Due, Registering, |it| {
            it.due();
        });
        let order = it.order();
        it.walk(Trigger::Failed, Backoff, |it| it.reply(&order, 403, ""));
        it.walk(Trigger::Stop, Idle, Registrar::stop);
        it.nothing();
    });
    // The refresh in all its outcomes.
    journey(&|it| {
        let order = it.refreshing();
        it.walk(Trigger::TooBrief, Refreshing, |it| {
            it.reply(&order, 423, "Min-Expires: 7200")
        });
        let order = it.order();
        it.walk(Trigger::NextRegistrar, Refreshing, |it| {
            it.reply(&order, 503, "")
        });
        let order = it.order();
        it.walk(Trigger::Accepted, Registered, |it| {
            it.reply(&order, 200, "")
        });
        it.walk(Trigger::Due, Refreshing, |it| {
            it.due();
        });
        let order = it.order();
        it.walk(Trigger::Failed, Backoff, |it| it.reply(&order, 404, ""));
    });
    // The end from everywhere.
    let ended = |it: &mut Registrar, outcome: u16| {
        let order = it.order();
        assert_eq!(expires(&order), "0");
        match outcome {
            0 => it.walk(Trigger::Due, Idle, |it| {
                it.due();
            }),
            200 => it.walk(Trigger::Accepted, Idle, |it| it.reply(&order, 200, "")),
            code => it.walk(Trigger::Failed, Idle, |it| it.reply(&order, code, "")),
        }
        assert_eq!(it.registrations.deadline(), None);
        assert!(it.registrations.is_idle());
        it.nothing();
    };
    for outcome in [0, 200, 500] {
        journey(&|it| {
            it.registered();
            it.walk(Trigger::Stop, Unregistering, Registrar::stop);
            ended(it, outcome);
        });
    }
    journey(&|it| {
        it.walk(Trigger::Due, Registering, |it| {
            it.due();
        });
        let order = it.order();
        it.walk(Trigger::Stop, Withdrawing, Registrar::stop);
        it.nothing();
        it.walk(Trigger::Accepted, Unregistering, |it| {
            it.reply(&order, 200, "")
        });
        ended(it, 200);
    });
    for silent in [false, true] {
        journey(&|it| {
            let order = it.refreshing();
            it.walk(Trigger::Stop, Withdrawing, Registrar::stop);
            match silent {
                true => it.walk(Trigger::Due, Idle, |it| {
                    assert_eq!(it.due(), seconds(4));
                }),
                false => it.walk(Trigger::Failed, Idle, |it| it.reply(&order, 500, "")),
            }
            it.nothing();
        });
    }
    let rows: BTreeSet<_> = TABLE.iter().map(|row| (row.state, row.trigger)).collect();
    assert_eq!(rows.len(), TABLE.len(), "a row is there twice");
    assert_eq!(walked, rows);
}

#[test]
fn a_register_says_who_and_where_we_are() {
    let mut registrar = Registrar::new();
    registrar.due();
    let order = registrar.order();
    assert_eq!(order.path.remote, FIRST.parse().expect("an address"));
    let sent = text(&order.request);
    assert!(
        sent.starts_with("REGISTER sip:carrier.example SIP/2.0\r\n"),
        "{sent}"
    );
    for line in [
        "From: <sip:+4930@carrier.example>;tag=",
        "To: <sip:+4930@carrier.example>\r\n",
        "Contact: <sip:+4930@198.51.100.1:5060>\r\n",
        "Expires: 3600\r\n",
        "CSeq: 1 REGISTER\r\n",
    ] {
        assert!(sent.contains(line), "{line} in {sent}");
    }
}

#[test]
fn a_refresh_comes_before_the_end_and_has_the_same_call_id_and_a_higher_number() {
    let mut registrar = Registrar::new();
    registrar.due();
    let first = registrar.order();
    let contact = "Contact: <sip:+4930@198.51.100.1:5060>;expires=600";
    registrar.reply(&first, 200, contact);
    let bound = registrar.view();
    assert_eq!(bound.expires, Some(registrar.now + seconds(600)));
    let waited = registrar.due();
    assert!(
        (seconds(450)..=seconds(510)).contains(&waited),
        "{waited:?}"
    );
    let second = registrar.order();
    let call_id = |order: &Order| order.request.call_id().expect("a Call-ID");
    assert_eq!(call_id(&first), call_id(&second));
    assert_eq!(second.request.cseq().expect("a number").number, 2);
    // Late answers to the first are of no interest.
    registrar.reply(&first, 500, "");
    assert_eq!(registrar.view().state, State::Refreshing);
    registrar.reply(&second, 200, contact);
    assert_eq!(
        registrar.view().counts,
        Counts {
            sent: 2,
            accepted: 2,
            failed: 0,
            challenged: 0
        }
    );
}

#[test]
fn challenges_are_answered_and_the_next_refresh_has_credentials_at_once() {
    let mut registrar = Registrar::new();
    registrar.due();
    let order = registrar.order();
    let challenge =
        "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n\", qop=\"auth\", algorithm=SHA-256";
    registrar.reply(&order, 401, challenge);
    let order = registrar.order();
    assert_eq!(order.request.cseq().expect("a number").number, 2);
    assert!(
        text(&order.request).contains("nc=00000001"),
        "{}",
        text(&order.request)
    );
    registrar.reply(&order, 200, "Expires: 600");
    registrar.due();
    let order = registrar.order();
    assert!(
        text(&order.request).contains("nc=00000002"),
        "{}",
        text(&order.request)
    );
    // A nonce that has grown old is replaced; credentials that are refused are not repeated.
    registrar.reply(
        &order,
        401,
        &format!("{}, stale=true", challenge.replace("\"n\"", "\"m\"")),
    );
    let order = registrar.order();
    assert!(text(&order.request).contains("nonce=\"m\""));
    registrar.reply(&order, 401, challenge);
    registrar.nothing();
    let view = registrar.view();
    assert_eq!((view.state, view.last_failure), (State::Backoff, Some(401)));
}

#[test]
fn failures_wait_longer_each_time_and_as_long_as_they_ask_for() {
    let mut registrar = Registrar::new();
    registrar.due();
    for least in [30, 60, 120, 240, 480, 900, 900] {
        let order = registrar.order();
        registrar.reply(&order, 503, "");
        let order = registrar.order();
        assert_eq!(order.path.remote, SECOND.parse().expect("an address"));
        registrar.lose(&order);
        let waited = registrar.due();
        assert!(
            (seconds(least)..=seconds(least * 2)).contains(&waited),
            "{least}: {waited:?}"
        );
        assert_eq!(registrar.view().last_failure, Some(408));
    }
    let order = registrar.order();
    assert_eq!(order.path.remote, FIRST.parse().expect("an address"));
    registrar.reply(&order, 480, "Retry-After: 7000");
    assert_eq!(registrar.due(), seconds(7000));
    // A success forgets them.
    let order = registrar.order();
    registrar.reply(&order, 200, "");
    registrar.due();
    let order = registrar.order();
    registrar.reply(&order, 403, "");
    assert!(registrar.due() <= seconds(60));
}

#[test]
fn a_registrar_that_asks_for_ever_longer_bindings_is_a_failure() {
    let mut registrar = Registrar::new();
    registrar.due();
    let order = registrar.order();
    registrar.reply(&order, 423, "Min-Expires: 7200");
    let order = registrar.order();
    assert_eq!(expires(&order), "7200");
    registrar.reply(&order, 423, "Min-Expires: 7201");
    let order = registrar.order();
    registrar.reply(&order, 423, "Min-Expires: 7202");
    registrar.nothing();
    assert_eq!(registrar.view().state, State::Backoff);
    registrar.due();
    let order = registrar.order();
    registrar.reply(&order, 423, "");
    assert_eq!(registrar.view().last_failure, Some(423));
}

#[test]
fn a_success_that_does_not_list_us_is_a_failure() {
    let mut registrar = Registrar::new();
    registrar.due();
    let order = registrar.order();
    registrar.reply(
        &order,
        200,
        "Contact: <sip:somebody@192.0.2.99>;expires=3600",
    );
    let view = registrar.view();
    assert_eq!(
        (view.state, view.last_failure),
        (State::Registering, Some(502))
    );
}

#[test]
fn a_short_binding_is_refreshed_before_it_ends() {
    let mut registrar = Registrar::new();
    registrar.due();
    for (granted, least, most) in [(8, 6000, 6800), (2, 1500, 1700), (1, 1000, 1000)] {
        let order = registrar.order();
        registrar.reply(&order, 200, &format!("Expires: {granted}"));
        let view = registrar.view();
        assert_eq!(view.state, State::Registered);
        assert_eq!(view.expires, Some(registrar.now + seconds(granted)));
        let waited = registrar.due().as_millis();
        assert!((least..=most).contains(&waited), "{granted} s: {waited} ms");
    }
}

#[test]
fn a_success_that_grants_nothing_is_a_failure() {
    for grant in [
        "Contact: <sip:+4930@198.51.100.1:5060>;expires=0",
        "Expires: 0",
    ] {
        let mut registrar = Registrar::new();
        registrar.due();
        let order = registrar.order();
        registrar.reply(
            &order,
            200,
            "Expires: 600\nService-Route: <sip:192.0.2.9;lr>",
        );
        registrar.due();
        let order = registrar.order();
        registrar.reply(&order, 200, grant);
        let view = registrar.view();
        assert_eq!((view.expires, view.counts.accepted), (None, 1), "{grant}");
        assert_eq!(registrar.registrations.service_route(TrunkId(0)).len(), 0);
        // The other registrar may do better.
        let order = registrar.order();
        assert_eq!(order.path.remote, SECOND.parse().expect("an address"));
        registrar.reply(&order, 200, grant);
        let view = registrar.view();
        assert_eq!((view.state, view.last_failure), (State::Backoff, Some(502)));
        assert_eq!((view.counts.accepted, view.counts.failed), (1, 1));
        assert!(registrar.due() >= seconds(30));
    }
}

#[test]
fn the_service_route_is_kept_while_the_binding_lives() {
    let mut registrar = Registrar::new();
    registrar.due();
    let order = registrar.order();
    registrar.reply(&order, 200, "Service-Route: <sip:192.0.2.9;lr>");
    assert_eq!(registrar.registrations.service_route(TrunkId(0)).len(), 1);
    assert_eq!(registrar.registrations.service_route(TrunkId(1)).len(), 0);
    registrar.stop();
    let order = registrar.order();
    registrar.reply(&order, 200, "");
    assert_eq!(registrar.registrations.service_route(TrunkId(0)).len(), 0);
}

#[test]
fn a_new_configuration_keeps_what_stays_and_takes_back_what_goes() {
    let old = settings();
    let mut registrar = Registrar::of(&old);
    registrar.registered();
    let now = registrar.now;
    let mut new = old.clone();
    let mut other = new.trunks[0].registrations[0].clone();
    other.user = "+4931".into();
    new.trunks[0].registrations.push(other);
    registrar
        .registrations
        .reconfigure(now, &new, &Routing::new(&new));
    registrar.nothing();
    registrar.registrations.on_time(now);
    let order = registrar.order();
    assert!(text(&order.request).contains("sip:+4931@carrier.example"));
    registrar.nothing();
    new.trunks[0].registrations.remove(0);
    registrar
        .registrations
        .reconfigure(now, &new, &Routing::new(&new));
    let order = registrar.order();
    assert_eq!((order.id, expires(&order)), (RegistrationId(0), "0".into()));
    registrar.reply(&order, 200, "");
    assert_eq!(registrar.registrations.views().len(), 1);
}

#[test]
fn a_new_configuration_while_all_is_taken_back_begins_nothing() {
    let mut registrar = Registrar::of(&settings());
    registrar.registered();
    registrar.stop();
    registrar.order();
    let now = registrar.now;
    let mut new = settings();
    new.trunks[0].registrations[0].user = "+4931".into();
    registrar
        .registrations
        .reconfigure(now, &new, &Routing::new(&new));
    registrar.registrations.on_time(now + seconds(1));
    registrar.nothing();
    assert_eq!(registrar.registrations.list.len(), 1);
}

#[test]
fn configurations_that_come_and_go_leave_no_places_behind() {
    let mut registrar = Registrar::of(&settings());
    registrar.registered();
    let mut new = settings();
    for round in 0..20 {
        new.trunks[0].registrations[0].user = format!("+49{round}");
        let now = registrar.now;
        registrar
            .registrations
            .reconfigure(now, &new, &Routing::new(&new));
        let taken_back = registrar.order();
        registrar.reply(&taken_back, 200, "");
        registrar.registrations.on_time(now);
        let begun = registrar.order();
        assert_ne!(taken_back.id, begun.id);
        assert!(
            round < 2 || begun.attempt > 2,
            "a late answer to its predecessor is none to it"
        );
        let contact = text(&begun.request);
        let contact = contact
            .lines()
            .find_map(|line| line.strip_prefix("Contact: "));
        let contact = format!("Contact: {};expires=3600", contact.expect("a Contact"));
        registrar.reply(&begun, 200, &contact);
    }
    assert!(registrar.registrations.list.len() <= 2);
    assert_eq!(registrar.registrations.views().len(), 1);
}
