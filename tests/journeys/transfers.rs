//! Attended transfers and INVITE with Replaces on the wire, between SIPp users that know their own dialogs alone.

use std::time::Duration;

use crate::lab::network::Network;
use crate::lab::relay::{MEDIA_PORTS, Relay, Setup};
use crate::lab::sipp::Sipp;
use crate::lab::turn::Turn;

const PATIENCE: Duration = Duration::from_secs(30);

/// The callers' REFER and the newcomers' Replaces are dealt with like this; newcomers call from where a trunk's other peer
/// is, and reach whom the callers reach over IPv6.
fn transferring(refer: &str, replaces: &str) -> Setup {
    let named = |name: &str, more: &str| {
        let trunk = format!("name = \"{name}\"\npeers");
        let with = format!("name = \"{name}\"\n{more}\npeers");
        (trunk, with)
    };
    let (callers, referring) = named("callers", &format!("refer = \"{refer}\""));
    let (first, replacing) = named("first", &format!("replaces = \"{replaces}\""));
    let route = "[[route]]\nfrom = \"first\"\nuser = \"6[0-9]*\"\nto = [\"callees6\"]\n\n[sip]";
    Setup::default()
        .replace(&callers, &referring)
        .replace(&first, &replacing)
        .replace("[sip]", route)
}

/// The dialog that a caller has with tandem, by what it has sent and received: as Replaces names it.
fn dialog_of(caller: &Sipp) -> String {
    caller.until(PATIENCE, |messages| {
        let answer = messages.split("SIP/2.0 200 OK").nth(1)?;
        let field = |name: &str| {
            let line = answer.lines().find(|line| line.starts_with(name))?;
            Some(line[name.len()..].trim().to_owned())
        };
        let tag = |name: &str| Some(field(name)?.split(";tag=").nth(1)?.to_owned());
        let (call_id, to, from) = (field("Call-ID:")?, tag("To:")?, tag("From:")?);
        Some(format!("{call_id};to-tag={to};from-tag={from}"))
    })
}

fn escaped(name: &str) -> String {
    let name = name.replace('%', "%25").replace('@', "%40");
    name.replace(';', "%3B").replace('=', "%3D")
}

fn unescaped(name: &str) -> String {
    let name = name.replace("%40", "@").replace("%3B", ";");
    name.replace("%3D", "=").replace("%25", "%")
}

/// The users of a transfer: one is called over IPv4, the other over IPv6, and the caller has asked the latter.
struct Desk {
    callee: Sipp,
    target: Sipp,
    consultation: Sipp,
    dialog: String,
}

impl Desk {
    fn new(network: &Network, callee: &str, target: (&str, &[&str])) -> Self {
        let callee = Sipp::callee(&network.callee, callee, 5060, &[]);
        let target = Sipp::start(&network.callee, target.0, "[fd02::2]", 5060, target.1);
        let calls = ["10.1.0.1:5060", "-s", "6711", "-m", "1"];
        let consultation = Sipp::start(
            &network.caller,
            "caller-waits.xml",
            "10.1.0.2",
            5061,
            &calls,
        );
        let dialog = dialog_of(&consultation);
        Self {
            callee,
            target,
            consultation,
            dialog,
        }
    }

    /// The caller, who asks for the transfer.
    fn caller(&self, network: &Network, scenario: &str) -> Sipp {
        let dialog = escaped(&self.dialog);
        let calls = [
            "10.1.0.1:5060",
            "-s",
            "4711",
            "-m",
            "1",
            "-key",
            "dialog",
            &dialog,
        ];
        Sipp::start(&network.caller, scenario, "10.1.0.2", 5060, &calls)
    }
}

#[test]
fn an_attended_transfer_that_tandem_carries_out() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    network.count_media(MEDIA_PORTS.0, MEDIA_PORTS.1);
    let relay = Relay::start(&network, &transferring("local", "off"));
    let target = ("callee-consulted.xml", &["-m", "1"][..]);
    let desk = Desk::new(&network, "callee-transferred.xml", target);
    let caller = desk.caller(&network, "caller-attends.xml");
    caller.succeeds(PATIENCE);
    desk.consultation.succeeds(PATIENCE);
    desk.target.succeeds(PATIENCE);
    desk.callee.succeeds(PATIENCE);
    relay.expect_gauge("calls", 0, PATIENCE);
    // The two talked to each other for a second: both are behind the callee's side.
    let (sent, received) = (
        network.callee.counted("sent"),
        network.callee.counted("received"),
    );
    assert!(received > 80, "{received} packets of {sent}");
}

#[test]
fn an_attended_transfer_that_passes_with_the_name_that_the_target_knows() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &transferring("pass", "pass"));
    let target = ("callee-leaves.xml", &["-m", "2"][..]);
    let desk = Desk::new(&network, "callee-referred-asked.xml", target);
    let caller = desk.caller(&network, "caller-refers-asked.xml");
    let name = named_to(&desk.callee);
    caller.succeeds(PATIENCE);
    desk.callee.succeeds(PATIENCE);
    let newcomer = newcomer(&network, &name, &["-s", "6711", "-d", "1000"]);
    // The target gets the name of the dialog that it has with tandem, and decides what to do with it.
    desk.target.until(PATIENCE, |messages| {
        let invite = messages.split("INVITE sip:").last()?;
        let replaces = format!("Replaces: {name}\r");
        let own = unescaped(&name);
        let call_id = own.split(';').next()?.to_owned();
        (messages.contains(&format!("Call-ID: {call_id}")) && invite.contains(&replaces))
            .then_some(())
    });
    newcomer.succeeds(PATIENCE);
    desk.target.succeeds(PATIENCE);
    desk.consultation.succeeds(PATIENCE);
    relay.expect_gauge("calls", 0, PATIENCE);
}

#[test]
fn a_referral_that_passes_and_a_replacement_that_tandem_carries_out() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &transferring("pass", "local"));
    let target = ("callee-transferred.xml", &["-m", "1"][..]);
    let desk = Desk::new(&network, "callee-referred-asked.xml", target);
    let caller = desk.caller(&network, "caller-refers-asked.xml");
    let name = named_to(&desk.callee);
    caller.succeeds(PATIENCE);
    desk.callee.succeeds(PATIENCE);
    let newcomer = newcomer(&network, &name, &["-s", "6711", "-d", "1000"]);
    newcomer.succeeds(PATIENCE);
    desk.target.succeeds(PATIENCE);
    desk.consultation.succeeds(PATIENCE);
    relay.expect_gauge("calls", 0, PATIENCE);
}

#[test]
fn an_invite_with_replaces_takes_the_callers_place() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    network.count_media(MEDIA_PORTS.0, MEDIA_PORTS.1);
    let relay = Relay::start(&network, &transferring("off", "local"));
    let callee = Sipp::callee(&network.callee, "callee-transferred.xml", 5060, &[]);
    let calls = ["10.1.0.1:5060", "-s", "4711", "-m", "1"];
    let caller = Sipp::start(
        &network.caller,
        "caller-waits.xml",
        "10.1.0.2",
        5060,
        &calls,
    );
    let name = dialog_of(&caller);
    let newcomer = newcomer(&network, &name, &["-s", "6711", "-d", "1000"]);
    newcomer.succeeds(PATIENCE);
    caller.succeeds(PATIENCE);
    callee.succeeds(PATIENCE);
    relay.expect_gauge("calls", 0, PATIENCE);
    let received = network.callee.counted("received");
    assert!(received > 80, "{received} packets");
}

/// What Replaces in the REFER that a party got names.
fn named_to(party: &Sipp) -> String {
    let name = party.until(PATIENCE, |messages| {
        let refer_to = messages.split("?Replaces=").nth(1)?;
        Some(refer_to.split('>').next()?.to_owned())
    });
    unescaped(&name)
}

/// Who calls with a name.
fn newcomer(network: &Network, name: &str, more: &[&str]) -> Sipp {
    let calls = [&["10.2.0.1:5060", "-m", "1", "-key", "dialog", name], more].concat();
    Sipp::start(
        &network.callee,
        "caller-replaces.xml",
        "10.2.0.2",
        5070,
        &calls,
    )
}
