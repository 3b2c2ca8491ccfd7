//! Values that are right alone and wrong together. Nothing here depends on the machine.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use super::diagnostic::Diagnostic;
use super::file::{Device, File, Idle, Latch, Listener, Media, Queues, Sip, Workers};
use super::kind::spell_duration;
use super::section::Located;

/// Notes everything that clashes with something else in the file.
pub(crate) fn check(file: &File, diagnostics: &mut Vec<Diagnostic>) {
    if let Some(workers) = &file.workers {
        check_workers(workers, diagnostics);
    }
    for device in &file.devices {
        check_queues(device, diagnostics);
    }
    for media in &file.media {
        check_latch_window(media, diagnostics);
    }
    check_media_addresses(&file.media, diagnostics);
    check_listeners(file, diagnostics);
    check_trunk_peers(file, diagnostics);
    check_networks(file, diagnostics);
    check_trunk_names(file, diagnostics);
    check_timers(&file.sip, diagnostics);
}

/// Notes each value that was there before.
fn check_unique<'f, T: Eq + std::hash::Hash + 'f>(
    values: impl Iterator<Item = &'f Located<T>>,
    describe: impl Fn(&T) -> String,
    expected: &str,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut seen: HashMap<&T, &Range<usize>> = HashMap::new();
    for value in values {
        if let Some(&first) = seen.get(&value.value) {
            let message = describe(&value.value);
            let twice = Diagnostic::error(value.span.clone(), message, expected);
            diagnostics.push(twice.clashing_with(first.clone(), "the first is here"));
        } else {
            seen.insert(&value.value, &value.span);
        }
    }
}

fn check_workers(workers: &Workers, diagnostics: &mut Vec<Diagnostic>) {
    check_unique(
        workers.cores.iter().flatten(),
        |core| format!("core {core} has two workers"),
        "a core of its own for each worker",
        diagnostics,
    );
    if let (Idle::Spin, Some(spin)) = (workers.idle, &workers.idle_spin) {
        diagnostics.push(Diagnostic::error(
            spin.span.clone(),
            "`idle_spin` means nothing to workers that always spin",
            "idle = \"adaptive\", or no `idle_spin`",
        ));
    }
}

fn check_queues(device: &Device, diagnostics: &mut Vec<Diagnostic>) {
    let Queues::Listed(queues) = &device.queues else {
        return;
    };
    check_unique(
        queues.iter(),
        |queue| format!("queue {queue} comes twice in the list"),
        "each queue once",
        diagnostics,
    );
}

fn check_latch_window(media: &Media, diagnostics: &mut Vec<Diagnostic>) {
    if let (Latch::Sdp | Latch::Off, Some(window)) = (media.latch, &media.latch_window) {
        diagnostics.push(Diagnostic::error(
            window.span.clone(),
            "`latch_window` means nothing to flows that do not learn",
            "latch = \"learn\", or no `latch_window`",
        ));
    }
}

/// One use of a media address.
struct AddressUse<'f> {
    address: &'f Located<IpAddr>,
    ports: &'f Located<(u16, u16)>,
}

/// Each address belongs to one group: the XDP program knows one range of ports for it.
fn check_media_addresses(groups: &[Media], diagnostics: &mut Vec<Diagnostic>) {
    let mut uses: HashMap<IpAddr, AddressUse<'_>> = HashMap::new();
    for group in groups {
        check_unique(
            group.addresses.iter(),
            |address| format!("{address} comes twice in the list"),
            "each address once",
            diagnostics,
        );
        let Some(ports) = &group.ports else { continue };
        let of_this_group = |this: &AddressUse<'_>| std::ptr::eq(this.ports, ports);
        for address in &group.addresses {
            match uses.get(&address.value) {
                None => {
                    uses.insert(address.value, AddressUse { address, ports });
                }
                Some(first) if of_this_group(first) => {}
                Some(first) => diagnostics.push(shared_address(first, address, ports)),
            }
        }
    }
}

fn shared_address(
    first: &AddressUse<'_>,
    address: &Located<IpAddr>,
    ports: &Located<(u16, u16)>,
) -> Diagnostic {
    let ((a, b), (c, d)) = (first.ports.value, ports.value);
    let ip = address.value;
    if a <= d && c <= b {
        let message = format!("ports {c}-{d} of {ip} overlap with {a}-{b} of the same address");
        let expected = "ranges that share no port, at addresses of their own";
        let overlap = Diagnostic::error(ports.span.clone(), message, expected);
        overlap.clashing_with(first.ports.span.clone(), "the other range is here")
    } else {
        let message = format!("{ip} belongs to another [[media]] already");
        let expected = "each address in one [[media]] only";
        let shared = Diagnostic::error(address.span.clone(), message, expected);
        shared.clashing_with(first.address.span.clone(), "the other is here")
    }
}

fn check_listeners(file: &File, diagnostics: &mut Vec<Diagnostic>) {
    let addresses = |streams: bool| {
        let alike = move |l: &&Listener| l.transport.is_reliable() == streams;
        let listeners = file.listeners.iter().filter(alike);
        listeners.filter_map(|l| l.address.as_ref())
    };
    // UDP and TCP have ports of their own.
    for streams in [false, true] {
        check_unique(
            addresses(streams),
            |address| format!("two [[listener]] have the address {address}"),
            "an address and port of its own",
            diagnostics,
        );
    }
    for address in addresses(false) {
        let port = address.value.port();
        let takes = |media: &&Media| {
            let here = |located: &Located<IpAddr>| located.value == address.value.ip();
            let range = media.ports.as_ref().map(|ports| ports.value);
            media.addresses.iter().any(here)
                && range.is_some_and(|(first, last)| (first..=last).contains(&port))
        };
        let Some(ports) = file.media.iter().find(takes).and_then(|m| m.ports.as_ref()) else {
            continue;
        };
        let message = format!("port {port} lies within the media ports of the same address");
        let expected = "a port that no [[media]] of this address takes";
        let taken = Diagnostic::error(address.span.clone(), message, expected);
        diagnostics.push(taken.clashing_with(ports.span.clone(), "the media ports are here"));
    }
}

/// The same for peers that are known by name. Two names may lead to one address all the same: then the first trunk
/// has it.
fn check_trunk_names(file: &File, diagnostics: &mut Vec<Diagnostic>) {
    for (index, trunk) in file.trunks.iter().enumerate() {
        check_unique(
            trunk.names.iter().map(|peer| &peer.name),
            |name| format!("{name} comes twice in the list"),
            "each peer once",
            diagnostics,
        );
        for name in trunk.names.iter().map(|peer| &peer.name) {
            let shares_listener = |other: &&super::file::Trunk| {
                let used = |listener: &Located<String>| {
                    trunk.listeners.iter().any(|l| l.value == listener.value)
                };
                other.listeners.iter().any(used)
            };
            let others = file.trunks[..index].iter().filter(shares_listener);
            let mut names = others.flat_map(|other| other.names.iter().map(|peer| &peer.name));
            if let Some(other) = names.find(|other| other.value == name.value) {
                let message = "another [[trunk]] has this peer at the same listener";
                let expected = "a listener or a peer that tells the trunks apart";
                let same = Diagnostic::error(name.span.clone(), message, expected);
                diagnostics.push(same.clashing_with(other.span.clone(), "the other is here"));
            }
        }
    }
}

/// A request must tell its trunk by the peer that sends it and the listener that receives it.
fn check_trunk_peers(file: &File, diagnostics: &mut Vec<Diagnostic>) {
    let own: Vec<_> = file
        .listeners
        .iter()
        .filter_map(|listener| listener.address.as_ref())
        .collect();
    for (index, trunk) in file.trunks.iter().enumerate() {
        check_unique(
            trunk.peers.iter().map(|peer| &peer.address),
            |peer| format!("{peer} comes twice in the list"),
            "each peer once",
            diagnostics,
        );
        for peer in trunk.peers.iter().map(|peer| &peer.address) {
            if let Some(listener) = own.iter().find(|own| own.value == peer.value) {
                let message = format!("{} is a [[listener]] of this file", peer.value);
                let loops = Diagnostic::error(peer.span.clone(), message, "another host's address");
                let note = "calls would come back here";
                diagnostics.push(loops.clashing_with(listener.span.clone(), note));
            }
            let shares_listener = |other: &&super::file::Trunk| {
                let used = |listener: &Located<String>| {
                    trunk.listeners.iter().any(|l| l.value == listener.value)
                };
                // Names tell trunks apart that addresses do not.
                let named = |trunk: &super::file::Trunk| !trunk.transport.tls_names.is_empty();
                other.listeners.iter().any(used) && !(named(trunk) && named(other))
            };
            let same = file.trunks[..index]
                .iter()
                .filter(shares_listener)
                .flat_map(|other| other.peers.iter().map(|peer| &peer.address))
                .find(|other| other.value == peer.value);
            if let Some(other) = same {
                let message = "another [[trunk]] has this peer at the same listener";
                let expected = "a listener or a peer that tells the trunks apart";
                let same = Diagnostic::error(peer.span.clone(), message, expected);
                diagnostics.push(same.clashing_with(other.span.clone(), "the other is here"));
            }
        }
    }
}

/// The same of the networks that may send to a trunk.
fn check_networks(file: &File, diagnostics: &mut Vec<Diagnostic>) {
    for (index, trunk) in file.trunks.iter().enumerate() {
        let networks = &trunk.service.access;
        check_unique(
            networks.iter(),
            |network| format!("{network} comes twice in the list"),
            "each network once",
            diagnostics,
        );
        let shares_listener = |other: &&super::file::Trunk| {
            let used = |listener: &Located<String>| {
                trunk.listeners.iter().any(|l| l.value == listener.value)
            };
            other.listeners.iter().any(used)
        };
        let earlier = file.trunks.get(..index).unwrap_or_default().iter();
        let others: Vec<_> = earlier
            .filter(shares_listener)
            .flat_map(|other| &other.service.access)
            .collect();
        for network in networks {
            if let Some(other) = others.iter().find(|other| other.value == network.value) {
                let message = "another [[trunk]] has this network at the same listener";
                let expected = "a listener or a network that tells the trunks apart";
                let same = Diagnostic::error(network.span.clone(), message, expected);
                diagnostics.push(same.clashing_with(other.span.clone(), "the other is here"));
            }
        }
    }
}

fn check_timers(sip: &Sip, diagnostics: &mut Vec<Diagnostic>) {
    let t1 = sip.t1_or_default();
    let t2 = sip.t2_or_default();
    if t1 <= t2 {
        return;
    }
    let at = sip.t1.as_ref().or(sip.t2.as_ref());
    if let Some(span) = at.map(|located| located.span.clone()) {
        let message = format!(
            "timer T1 ({}) is longer than T2 ({})",
            spell_duration(t1),
            spell_duration(t2)
        );
        let expected = "t1 no longer than t2 (RFC 3261 §17.1.2.2)";
        diagnostics.push(Diagnostic::error(span, message, expected));
    }
}
