//! Proof 7: what keeps tandem from starting is said in one clear sentence, with exit code 1.

use crate::lab::network::{Network, at};
use crate::lab::relay::{QUIET_RUN, Relay, Setup, TANDEM, failing_start, outcome};
use crate::lab::turn::Turn;

/// The exit code is 1 and stderr one line that names all of this.
#[track_caller]
fn assert_one_sentence((code, said): (Option<i32>, String), names: &[&str]) {
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    for name in names {
        assert!(said.contains(name), "no {name:?} in: {said}");
    }
}

/// The exit code is 1 and stderr points at a line of the file and names all of this.
#[track_caller]
fn assert_diagnosis((code, said): (Option<i32>, String), names: &[&str]) {
    assert_eq!(code, Some(1), "{said}");
    let place = said.lines().any(|line| {
        let mut parts = line
            .split("tandem.toml:")
            .nth(1)
            .unwrap_or_default()
            .split(':');
        parts.next().is_some_and(|line| line.parse::<u32>().is_ok())
            && parts
                .next()
                .is_some_and(|column| column.parse::<u32>().is_ok())
    });
    assert!(place, "no file:line:column in: {said}");
    for name in names {
        assert!(said.contains(name), "no {name:?} in: {said}");
    }
}

#[test]
fn a_missing_capability() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let directory = tempfile::tempdir().expect("the temporary directory can be written to");
    let config = Setup::default().write(&directory);
    let mut command = network.relay.command("setpriv");
    command
        .args(["--bounding-set=-all", "--inh-caps=-all", TANDEM])
        .args(QUIET_RUN)
        .arg(config);
    assert_one_sentence(outcome(command), &["CAP_"]);
}

#[test]
fn a_missing_device() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let setup = Setup::default().replace("\"out0\"", "\"out7\"");
    assert_diagnosis(failing_start(&network.relay, &setup), &["out7"]);
}

#[test]
fn a_queue_that_the_device_does_not_have() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let setup = Setup::default().under("name = \"in0\"", "queues = [0, 7]");
    assert_diagnosis(failing_start(&network.relay, &setup), &["7"]);
}

#[test]
fn an_address_that_the_host_does_not_have() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let setup = Setup::default().replace("\"10.2.0.1\", \"fd02::1\"", "\"10.2.0.77\"");
    assert_diagnosis(failing_start(&network.relay, &setup), &["10.2.0.77"]);
}

#[test]
fn a_port_in_use() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let _taken = network.relay.udp(at("10.1.0.1", 5060));
    let said = failing_start(&network.relay, &Setup::default());
    assert_one_sentence(said, &["10.1.0.1:5060", "in use"]);
}

#[test]
fn a_second_instance() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let relay = Relay::start(&network, &Setup::default());
    let mut command = network.relay.command(TANDEM);
    command.args(QUIET_RUN).arg(relay.config());
    assert_one_sentence(
        outcome(command),
        &["another tandem is running", "admin.sock"],
    );
    relay.json(&["status"]);
}

#[test]
fn another_xdp_program_on_the_device() {
    let _turn = Turn::shared();
    let network = Network::new(2);
    let _relay = Relay::start(&network, &Setup::default());
    // Another instance in another place, with other SIP ports and the same devices.
    let setup = Setup::default().replace(":5060\"", ":5062\"");
    let said = failing_start(&network.relay, &setup);
    assert_one_sentence(said, &["in0", "XDP program"]);
}

#[test]
fn the_binary_runs_where_there_is_nothing_else() {
    let root = tempfile::tempdir().expect("the temporary directory can be written to");
    std::fs::copy(TANDEM, root.path().join("tandem")).expect("the binary under test exists");
    let output = std::process::Command::new("chroot")
        .arg(root.path())
        .args(["/tandem", "--version"])
        .output()
        .expect("chroot is part of coreutils");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.starts_with("tandem "),
        "no library is there: {output:?}"
    );
}
