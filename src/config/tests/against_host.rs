//! What only the machine itself can tell: devices, queues, cores, addresses.

use super::*;

#[test]
fn what_this_host_does_not_have() {
    findings(
        "name = \"out0\"",
        "name = \"eth7\"",
        &[
            "this host has no device eth7 / one of in0, out0",
            "there is no [[device]] named \"out0\"",
        ],
    );
    findings(
        "addresses = [\"10.1.0.1\", \"fd01::1\"]",
        "addresses = [\"10.1.0.9\", \"fd01::9\"]",
        &[
            "10.1.0.9 is not an address of this host / one of 10.1.0.1, 10.2.0.1",
            "fd01::9 is not an address of this host / one of fd01::1, fd02::1",
        ],
    );
    findings(
        "cores = [0, 1]",
        "cores = [0, 7]",
        &["core 7 is not one that tandem may run on / one of 0-2"],
    );
    findings(
        "cores = [0, 1]",
        "cores = [0, 1, 2]",
        &["3 workers cannot share 2 queues of device in0"],
    );
    findings(
        "cores = [0, 1]",
        "cores = [1, 1]",
        &["core 1 has two workers"],
    );
    findings(
        "queues = \"all\"",
        "queues = [1, 2]",
        &[
            "no worker serves queue 0 of in0",
            "device in0 has no queue 2 / a queue from 0 to 1",
        ],
    );
}

fn numa_warnings(cores: [u32; 2], devices: [Option<u32>; 2]) -> Vec<String> {
    let mut host = host();
    host.core_nodes = [(0, cores[0]), (1, cores[1]), (2, 0), (3, 1)].into();
    for (name, node) in ["in0", "out0"].into_iter().zip(devices) {
        host.devices.get_mut(name).expect("described").numa_node = node;
    }
    let report = check_text(EXAMPLE, Some(&host)).report;
    assert_eq!(report.count(Severity::Error), 0);
    let diagnostics = report.diagnostics().iter();
    diagnostics
        .map(|diagnostic| format!("{} / {}", diagnostic.message, diagnostic.expected))
        .collect()
}

#[test]
fn cores_and_devices_of_different_numa_nodes_are_warned_of() {
    assert_eq!(numa_warnings([0, 0], [Some(0), Some(0)]), [""; 0]);
    assert_eq!(numa_warnings([0, 1], [None, None]), [""; 0]);
    let far = numa_warnings([0, 1], [Some(0), None]);
    assert_eq!(
        far,
        [
            "core 1 of NUMA node 1, and in0 on node 0: packets cross between the nodes / cores of node 0: 0, 2"
        ]
    );
    let far = numa_warnings([0, 0], [Some(1), Some(1)]);
    assert!(
        far[0].starts_with("cores 0-1 of NUMA node 0, and in0, out0 on node 1: "),
        "{far:?}"
    );
    let torn = numa_warnings([0, 1], [Some(0), Some(1)]);
    assert_eq!(torn.len(), 1);
    assert!(
        torn[0].starts_with("out0 is on NUMA node 1 and in0 on node 0: "),
        "{torn:?}"
    );
}

#[test]
fn a_media_address_that_another_of_the_devices_holds() {
    findings(
        "device = \"out0\"",
        "device = \"in0\"",
        &[
            "10.2.0.1 is reached through out0: media for it that arrives there is not relayed / \
           an address of in0, or device = \"out0\"",
        ],
    );
}

#[test]
fn without_a_host_only_the_file_is_checked() {
    let checked = check_text(EXAMPLE, None);
    assert_eq!(checked.report.to_string(), "");
    let config = checked.config.expect("it has no error");
    assert_eq!(config.data.workers[1].queues.len(), 2);
}
