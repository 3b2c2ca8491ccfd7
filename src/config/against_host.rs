//! What the file says of the machine, held against the machine: devices, queues, cores, addresses.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::host::Host;

use super::diagnostic::Diagnostic;
use super::file::{Device, File, Media, Queues};
use super::kind::Peer;
use super::nearest::did_you_mean;
use super::section::Located;

/// Notes everything that this machine does not have.
pub(crate) fn check(file: &File, host: &Host, diagnostics: &mut Vec<Diagnostic>) {
    check_cores(file, host, diagnostics);
    check_name_servers(file, host, diagnostics);
    check_nodes(file, host, diagnostics);
    check_directories(file, diagnostics);
    for device in &file.devices {
        check_device(device, host, diagnostics);
    }
    for media in &file.media {
        for address in &media.addresses {
            check_address(address, address.value, host, diagnostics);
            check_holder(media, address, file, host, diagnostics);
        }
        if let Some(ports) = &media.ports {
            check_ephemeral(ports, host, diagnostics);
        }
    }
    for address in file.listeners.iter().filter_map(|l| l.address.as_ref()) {
        check_address(address, address.value.ip(), host, diagnostics);
    }
}

/// Names among the peers, proxies and registrars need somebody who knows them.
fn check_name_servers(file: &File, host: &Host, diagnostics: &mut Vec<Diagnostic>) {
    let names = file.trunks.iter().flat_map(|trunk| {
        let peers = trunk.names.iter();
        let peers = peers.map(|peer| (&peer.name.value, &peer.name.span));
        let servers = trunk.access.servers();
        peers.chain(servers.filter_map(|server| match &server.value {
            Peer::Name(name) => Some((name, &server.span)),
            Peer::Address(_) => None,
        }))
    });
    let (Some((name, span)), true) = (
        names.into_iter().next(),
        file.dns.servers.is_empty() && host.name_servers.is_empty(),
    ) else {
        return;
    };
    let message = format!("nobody is there to resolve {name}: /etc/resolv.conf names no server");
    let expected = "name servers in /etc/resolv.conf, or `servers` in [dns]";
    diagnostics.push(Diagnostic::error(span.clone(), message, expected));
}

/// The directories of the media services are there before anything is recorded or played.
fn check_directories(file: &File, diagnostics: &mut Vec<Diagnostic>) {
    let directories = [&file.ng.recording_directory, &file.ng.announcements];
    for directory in directories.into_iter().flatten() {
        let path = directory.value.display();
        let message = match std::fs::read_dir(&directory.value) {
            Ok(_) => continue,
            Err(error) => format!("cannot open {path}: {error}"),
        };
        let expected = "a directory that tandem can read";
        diagnostics.push(Diagnostic::error(directory.span.clone(), message, expected));
    }
}

fn check_cores(file: &File, host: &Host, diagnostics: &mut Vec<Diagnostic>) {
    let cores = file.workers.iter().flat_map(|w| w.cores.iter().flatten());
    for core in cores {
        let here = usize::try_from(core.value).is_ok_and(|core| host.cores.contains(&core));
        if !here {
            let message = format!("core {} is not one that tandem may run on", core.value);
            let expected = format!("one of {}", spell_ranges(&host.cores));
            diagnostics.push(Diagnostic::error(core.span.clone(), message, expected));
        }
    }
}

/// Every worker serves every device, so that all of them belong on one NUMA node.
fn check_nodes(file: &File, host: &Host, diagnostics: &mut Vec<Diagnostic>) {
    let devices: Vec<_> = file
        .devices
        .iter()
        .filter_map(|device| device.name.as_ref())
        .filter_map(|name| Some((name, host.devices.get(&name.value)?.numa_node?)))
        .collect();
    let Some(&(first, node)) = devices.first() else {
        return;
    };
    if let Some((other, its)) = devices.iter().find(|(_, its)| *its != node) {
        let message = format!(
            "{} is on NUMA node {its} and {} on node {node}: every worker serves both, so that packets cross between \
             the nodes",
            other.value, first.value
        );
        let expected = "devices of one node, or a tandem for each node";
        diagnostics.push(Diagnostic::warning(other.span.clone(), message, expected));
        return;
    }
    let cores = file.workers.iter().flat_map(|w| w.cores.iter().flatten());
    let far = cores.filter_map(|core| {
        let number = usize::try_from(core.value).ok()?;
        let its = *host.core_nodes.get(&number)?;
        (its != node).then_some((core, number, its))
    });
    let far: Vec<_> = far.collect();
    let Some((at, _, its)) = far.first() else {
        return;
    };
    let numbers: BTreeSet<usize> = far.iter().map(|(_, number, _)| *number).collect();
    let names: Vec<_> = devices
        .iter()
        .map(|(name, _)| name.value.as_str())
        .collect();
    let plural = if numbers.len() == 1 { "" } else { "s" };
    let message = format!(
        "core{plural} {} of NUMA node {its}, and {} on node {node}: packets cross between the nodes",
        spell_ranges(&numbers),
        names.join(", ")
    );
    let near: BTreeSet<usize> = host
        .cores
        .iter()
        .copied()
        .filter(|core| host.core_nodes.get(core) == Some(&node))
        .collect();
    let expected = match near.is_empty() {
        true => format!("a core of node {node}, of which tandem may use none"),
        false => format!("cores of node {node}: {}", spell_ranges(&near)),
    };
    diagnostics.push(Diagnostic::warning(at.span.clone(), message, expected));
}

fn check_device(device: &Device, host: &Host, diagnostics: &mut Vec<Diagnostic>) {
    let Some(name) = &device.name else { return };
    let Some(found) = host.devices.get(&name.value) else {
        let message = format!("this host has no device {}", name.value);
        let names = || host.devices.keys().map(String::as_str);
        let near = did_you_mean(&name.value, names());
        let expected = format!("one of {}{near}", names().collect::<Vec<_>>().join(", "));
        diagnostics.push(Diagnostic::error(name.span.clone(), message, expected));
        return;
    };
    let Queues::Listed(queues) = &device.queues else {
        return;
    };
    let last = found.queues.saturating_sub(1);
    for queue in queues {
        if queue.value >= u64::from(found.queues) {
            let message = format!("device {} has no queue {}", name.value, queue.value);
            let expected = format!("a queue from 0 to {last} (`ethtool -l {}`)", name.value);
            diagnostics.push(Diagnostic::error(queue.span.clone(), message, expected));
        }
    }
    let served: BTreeSet<u64> = queues.iter().map(|queue| queue.value).collect();
    let unserved: BTreeSet<usize> = (0..found.queues)
        .filter(|&queue| !served.contains(&u64::from(queue)))
        .filter_map(|queue| usize::try_from(queue).ok())
        .collect();
    if !unserved.is_empty() {
        let message = format!(
            "no worker serves queue {} of {}: media that arrives there is not relayed",
            spell_ranges(&unserved),
            name.value
        );
        let expected = "\"all\", or that the device sends no media to the others (`ethtool -X`)";
        let span = queues.first().map_or(0..0, |queue| queue.span.clone());
        diagnostics.push(Diagnostic::warning(span, message, expected));
    }
}

fn check_address<T>(
    place: &Located<T>,
    address: IpAddr,
    host: &Host,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if host.addresses.contains(&address) {
        return;
    }
    let message = format!("{address} is not an address of this host");
    let family: Vec<_> = host
        .addresses
        .iter()
        .filter(|known| known.is_ipv4() == address.is_ipv4() && !is_link_local(known))
        .map(ToString::to_string)
        .collect();
    let expected = match family.as_slice() {
        [] if address.is_ipv4() => "an address of this host, which has no IPv4 address".to_owned(),
        [] => "an address of this host, which has no IPv6 address".to_owned(),
        known => format!("one of {} (`ip address`)", known.join(", ")),
    };
    diagnostics.push(Diagnostic::error(place.span.clone(), message, expected));
}

/// An address that is reached through another of the file's devices: what arrives there for it goes to the
/// kernel. One that is at no device of the file (a VLAN's, lo's) says nothing about where its media arrives.
fn check_holder(
    media: &Media,
    address: &Located<IpAddr>,
    file: &File,
    host: &Host,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let (Some(device), Some(holders)) = (&media.device, host.holders.get(&address.value)) else {
        return;
    };
    if holders.contains(&device.value) {
        return;
    }
    let devices = file.devices.iter().filter_map(|d| d.name.as_ref());
    let Some(holder) = devices
        .map(|n| &n.value)
        .find(|name| holders.contains(*name))
    else {
        return;
    };
    let message = format!(
        "{} is reached through {holder}: media for it that arrives there is not relayed",
        address.value
    );
    let expected = format!("an address of {}, or device = {holder:?}", device.value);
    diagnostics.push(Diagnostic::warning(address.span.clone(), message, expected));
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn check_ephemeral(ports: &Located<(u16, u16)>, host: &Host, diagnostics: &mut Vec<Diagnostic>) {
    let Some(port) = host.ephemeral.first_in(ports.value) else {
        return;
    };
    let (first, last) = ports.value;
    let message = format!(
        "the kernel may give port {port} to another program, whose replies would be taken for media"
    );
    let expected = format!(
        "ports outside of net.ipv4.ip_local_port_range, or {first}-{last} in \
         net.ipv4.ip_local_reserved_ports"
    );
    diagnostics.push(Diagnostic::warning(ports.span.clone(), message, expected));
}

/// `0-3, 8`.
pub(crate) fn spell_ranges(numbers: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let spell = |(first, last)| match first == last {
        true => format!("{first}"),
        false => format!("{first}-{last}"),
    };
    ranges.into_iter().map(spell).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_joined() {
        let spell = |numbers: &[usize]| spell_ranges(&numbers.iter().copied().collect());
        assert_eq!(spell(&[]), "");
        assert_eq!(spell(&[4]), "4");
        assert_eq!(spell(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
    }
}
