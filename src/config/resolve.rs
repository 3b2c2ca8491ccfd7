//! From the file to the settings of the two planes: names become indices, defaults that depend on other
//! values are worked out.

mod authentication;

use std::path::Path;
use std::time::Duration;

use contract::{DeviceId, LatchPolicy};
use controlplane::settings as control;
use dataplane::settings as data;

use crate::host::Host;

use super::assignment::assign;
use super::diagnostic::Diagnostic;
use super::file::{Checksums, Dns, File, Idle, Latch, Media, Sip, Trunk, Workers};
use super::kind::{self, spell_duration};
use super::names::Names;
use super::numbering::Numbering;
use super::routes;
use super::section::Located;
use super::transports;

/// How long an adaptive worker looks before it sleeps. Longer burns a core for nothing on a quiet
/// machine; shorter sleeps between the packets of a few calls and pays a wakeup (some 5 to 50 us) each.
const DEFAULT_IDLE_SPIN: Duration = Duration::from_micros(50);

/// How long a latch stays open by default: longer than a caller takes from the answer to the first packet.
const DEFAULT_LATCH_WINDOW: Duration = Duration::from_secs(10);

/// Frames that a socket can hold: its fill ring (twice the ring size), its RX ring and its TX ring.
const RINGS_OF_FRAMES: u64 = 4;

/// Flows for which a worker has room by default: four ports a stream for the calls of a large appliance.
const MOST_DEFAULT_FLOWS: u64 = 262_144;

/// Both planes' settings. Paths in the file start at `directory`. What cannot be resolved is noted and left out: the outcome means something only
/// when nothing was noted.
pub(crate) fn resolve(
    file: &File,
    directory: &Path,
    host: Option<&Host>,
    numbering: &Numbering,
    diagnostics: &mut Vec<Diagnostic>,
) -> (control::Settings, data::Settings) {
    let devices = Names::collect(
        "[[device]]",
        file.devices.iter().map(|device| device.name.as_ref()),
        diagnostics,
    );
    let media: Vec<_> = file
        .media
        .iter()
        .map(|group| {
            let device = devices.find_optional(group.device.as_ref(), diagnostics);
            media_group(group, DeviceId(device.unwrap_or(0)))
        })
        .collect();
    let data = dataplane_settings(file, &media, host, diagnostics);
    let control = controlplane_settings(file, directory, media, numbering, host, diagnostics);
    (control, data)
}

fn media_group(group: &Media, device: DeviceId) -> control::MediaGroup {
    let window = group.latch_window.as_ref().map(|window| window.value);
    control::MediaGroup {
        name: text(group.name.as_ref()),
        device,
        addresses: group.addresses.iter().map(|a| a.value).collect(),
        advertised: group.advertised.iter().map(|a| a.value).collect(),
        ports: group.ports.as_ref().map_or((0, 1), |ports| ports.value),
        latch: match group.latch {
            Latch::Learn => LatchPolicy::Learn {
                window: window.unwrap_or(DEFAULT_LATCH_WINDOW),
            },
            Latch::Sdp => LatchPolicy::Sdp,
            Latch::Off => LatchPolicy::Off,
        },
        dscp: group.dscp,
    }
}

fn controlplane_settings(
    file: &File,
    directory: &Path,
    media_groups: Vec<control::MediaGroup>,
    numbering: &Numbering,
    host: Option<&Host>,
    diagnostics: &mut Vec<Diagnostic>,
) -> control::Settings {
    let listeners: Vec<_> = file
        .listeners
        .iter()
        .filter_map(transports::listener)
        .collect();
    let trunk_names = || file.trunks.iter().map(|trunk| trunk.name.as_ref());
    let numbers = numbering.number(trunk_names());
    let numbered = numbers.iter().copied().zip(trunk_names());
    let trunk_names = Names::numbered("[[trunk]]", numbered, diagnostics);
    for user in &file.users {
        trunk_names.find_optional(user.trunk.as_ref(), diagnostics);
    }
    let trunks = numbering.arrange(&numbers, trunks(file, diagnostics));
    let routes = routes::resolve(file, directory, &trunk_names, diagnostics);
    control::Settings {
        server_name: file.appliance.name.clone(),
        listeners,
        media_groups,
        trunks,
        routes,
        timers: control::SipTimers {
            t1: file.sip.t1_or_default(),
            t2: file.sip.t2_or_default(),
            t4: file.sip.t4,
        },
        limits: limits(&file.sip),
        media_timeout: file.calls.media_timeout,
        port_rest: file.calls.port_rest,
        no_answer: file.sip.no_answer,
        capacity: file.limits.capacity,
        deny: file.limits.deny.clone(),
        overload: file.overload,
        drain_timeout: file.appliance.drain_timeout,
        explain: file.explain,
        mirror: file.hep.is_some(),
        dns: dns(&file.dns, host),
        ng: ng(file, diagnostics),
    }
}

/// The second door.
fn ng(file: &File, diagnostics: &mut Vec<Diagnostic>) -> control::Ng {
    let listeners = file.ng_listeners.iter();
    let names = listeners.clone().map(|listener| listener.name.as_ref());
    Names::collect("[[ng_listener]]", names, diagnostics);
    let names = file.ng_interfaces.iter().map(|named| named.name.as_ref());
    Names::collect("[[ng_interface]]", names, diagnostics);
    // What is wrong with these names is noted where the trunks look for theirs.
    let media = file.media.iter().map(|media| media.name.as_ref());
    let media = Names::collect("[[media]]", media, &mut Vec::new());
    let interfaces = file.ng_interfaces.iter().filter_map(|interface| {
        let found = media.find_optional(interface.media.as_ref(), diagnostics)?;
        Some(control::Interface {
            name: interface.name.as_ref()?.value.clone(),
            media: control::MediaGroupId(found),
        })
    });
    let interfaces = interfaces.collect();
    let by_default = file.ng.media.as_ref();
    control::Ng {
        listeners: listeners
            .filter_map(super::file::NgListener::settings)
            .collect(),
        media: media
            .find_optional(by_default, diagnostics)
            .map(control::MediaGroupId),
        interfaces,
        delete_delay: file.ng.delete_delay,
        media_timeout: file.ng.media_timeout,
        silent_timeout: file.ng.silent_timeout,
        offer_timeout: file.ng.offer_timeout,
        final_timeout: file.ng.final_timeout,
        recording: file.ng.recording_directory.is_some(),
        forwarding: file.ng.forward_to.is_some(),
        playing: file.ng.announcements.is_some(),
    }
}

/// Without name servers of its own, the file means the machine's.
fn dns(dns: &Dns, host: Option<&Host>) -> controlplane::resolver::Config {
    let of_file = || dns.servers.iter().map(|server| server.value).collect();
    let of_host = || host.map_or_else(Vec::new, |host| host.name_servers.clone());
    controlplane::resolver::Config {
        servers: match dns.servers.is_empty() {
            true => of_host(),
            false => of_file(),
        },
        timeout: dns.timeout,
        attempts: dns.attempts,
        max_stale: dns.max_stale,
    }
}

fn trunks(file: &File, diagnostics: &mut Vec<Diagnostic>) -> Vec<control::Trunk> {
    let listener_names = file.listeners.iter().map(|l| l.name.as_ref());
    let listener_names = Names::collect("[[listener]]", listener_names, diagnostics);
    let media_names = file.media.iter().map(|media| media.name.as_ref());
    let media_names = Names::collect("[[media]]", media_names, diagnostics);
    let mut trunks = Vec::with_capacity(file.trunks.len());
    for trunk in &file.trunks {
        let before = diagnostics.len();
        let listeners = listener_names.find_all(&trunk.listeners, diagnostics);
        let media = media_names.find_optional(trunk.media.as_ref(), diagnostics);
        if diagnostics.len() == before {
            check_reach(file, trunk, &listeners, diagnostics);
        }
        let mut settings = control::Trunk {
            name: text(trunk.name.as_ref()),
            peers: (1..)
                .zip(&trunk.peers)
                .map(|placed| peer(placed, transports::speaks(file, trunk)))
                .collect(),
            names: trunk.names.iter().map(named_peer).collect(),
            access: trunk.service.access.iter().map(|n| n.value).collect(),
            check: trunk.service.check.clone(),
            failover: trunk.service.failover.clone(),
            limits: trunk.service.limits.clone(),
            listeners: ids(listeners, control::ListenerId),
            media: control::MediaGroupId(media.unwrap_or(0)),
            tls: transports::trunk_tls(trunk),
            normalisation: trunk.normalisation.clone(),
            retired: false,
            dialog: trunk.dialog.resolve(diagnostics),
            transfer: trunk.transfer,
            ..control::Trunk::new("", [], [], control::MediaGroupId(0))
        };
        authentication::resolve(file, trunk, &mut settings, diagnostics);
        trunks.push(settings);
    }
    trunks
}

/// A peer, and its place in the list from 1: its priority, when it does not say.
fn peer((place, peer): (u16, &super::file::Peer), transport: control::Transport) -> control::Peer {
    let (priority, weight) = peer.rank.unwrap_or((place, 1));
    control::Peer {
        transport,
        priority,
        weight,
        ..control::Peer::from(peer.address.value)
    }
}

fn named_peer(peer: &super::file::NamedPeer) -> control::NamedPeer {
    let (priority, weight) = peer.rank;
    control::NamedPeer {
        destination: peer.name.value.clone(),
        priority,
        weight,
    }
}

/// Each peer needs a listener of its address family that speaks what the trunk does.
fn check_reach(file: &File, trunk: &Trunk, listeners: &[u16], diagnostics: &mut Vec<Diagnostic>) {
    let transport = transports::speaks(file, trunk);
    let servers = trunk
        .access
        .servers()
        .filter_map(|server| match server.value {
            kind::Peer::Address(value) => Some(Located {
                value,
                span: server.span.clone(),
            }),
            kind::Peer::Name(_) => None,
        });
    let peers = trunk.peers.iter().map(|peer| peer.address.clone());
    for peer in peers.chain(servers) {
        let talks_to = |&index: &u16| {
            let listener = file.listeners.get(usize::from(index));
            listener.is_some_and(|listener| transports::reaches(listener, peer.value, transport))
        };
        if listeners.is_empty() || listeners.iter().any(talks_to) {
            continue;
        }
        let family = if peer.value.is_ipv4() { "IPv4" } else { "IPv6" };
        let family = match transport {
            control::Transport::Udp => family.to_owned(),
            other => format!("{} over {family}", other.name().to_ascii_uppercase()),
        };
        let message = format!(
            "no listener of the trunk speaks {family}, as {} does",
            peer.value
        );
        let expected = format!("an {family} [[listener]] among the trunk's `listeners`");
        diagnostics.push(Diagnostic::error(peer.span.clone(), message, expected));
    }
}

fn limits(sip: &Sip) -> control::Limits {
    // A call that is being set up has a server and a client transaction for each of INVITE, PRACK and
    // CANCEL at the most at once, and finished ones linger for 64*T1.
    let transactions = sip.max_transactions.unwrap_or(sip.max_calls * 8);
    control::Limits {
        calls: count(sip.max_calls),
        transactions: count(transactions),
        streams: count(sip.max_streams),
        forks: count(sip.max_forks),
    }
}

fn dataplane_settings(
    file: &File,
    media: &[control::MediaGroup],
    host: Option<&Host>,
    diagnostics: &mut Vec<Diagnostic>,
) -> data::Settings {
    let addresses: Vec<_> = media
        .iter()
        .flat_map(|group| {
            group.addresses.iter().map(|&address| data::MediaAddress {
                device: group.device,
                address,
                ports: group.ports,
            })
        })
        .collect();
    let ports: u64 = addresses
        .iter()
        .map(|media| u64::from(media.ports.1.saturating_sub(media.ports.0)) + 1)
        .sum();
    let mut settings = data::Settings {
        devices: devices(file, host),
        media: addresses,
        workers: Vec::new(),
        idle: data::IdlePolicy::Spin,
        busy_poll: None,
        flow_capacity: count(ports.min(MOST_DEFAULT_FLOWS)),
        mailbox_capacity: 0,
        frames: 0,
        ring_size: 0,
    };
    if let Some(workers) = &file.workers {
        settings.workers = assign(workers, &file.devices, host, diagnostics);
        settings.idle = idle_policy(workers);
        settings.busy_poll = workers.busy_poll;
        if let Some(flows) = workers.flow_capacity {
            settings.flow_capacity = count(flows);
        }
        settings.mailbox_capacity = count(workers.mailbox);
        settings.ring_size = workers.ring_size;
        settings.frames = frames(workers, &settings.workers, diagnostics);
    }
    settings
}

fn devices(file: &File, host: Option<&Host>) -> Vec<data::Device> {
    let device = |device: &super::file::Device| {
        let name = text(device.name.as_ref());
        let unfinished = match device.checksums {
            Checksums::Finished => false,
            Checksums::MayBeUnfinished => true,
            Checksums::Auto => host
                .and_then(|host| host.devices.get(&name))
                .is_none_or(|device| device.unfinished_checksums),
        };
        data::Device {
            name,
            mode: device.mode,
            checksums: if unfinished {
                data::ReceivedChecksums::MayBeUnfinished
            } else {
                data::ReceivedChecksums::Finished
            },
            steering: device.steering,
        }
    };
    file.devices.iter().map(device).collect()
}

fn idle_policy(workers: &Workers) -> data::IdlePolicy {
    let spin = workers.idle_spin.as_ref().map(|spin| spin.value);
    match workers.idle {
        Idle::Spin => data::IdlePolicy::Spin,
        Idle::Adaptive => data::IdlePolicy::Adaptive {
            spin: spin.unwrap_or(DEFAULT_IDLE_SPIN),
        },
    }
}

/// The frames of one worker's UMEM: what its sockets' rings can hold, or what the file says if that is
/// enough to fill the fill rings.
fn frames(workers: &Workers, assigned: &[data::Worker], diagnostics: &mut Vec<Diagnostic>) -> u32 {
    let sockets = assigned.iter().map(|worker| worker.queues.len()).max();
    let sockets = sockets.unwrap_or(0).max(1) as u64;
    let ring = u64::from(workers.ring_size);
    let wanted = (sockets * ring * RINGS_OF_FRAMES).next_power_of_two();
    let Some(frames) = &workers.frames else {
        return u32::try_from(wanted).unwrap_or(1 << 31);
    };
    let least = sockets * ring * 2;
    if u64::from(frames.value) < least {
        let message = format!(
            "{} frames do not fill the fill rings of {sockets} sockets with a ring size of {ring}",
            frames.value
        );
        let expected = format!(
            "a power of two from {} up, or a smaller `ring_size`",
            least.next_power_of_two()
        );
        diagnostics.push(Diagnostic::error(frames.span.clone(), message, expected));
    }
    frames.value
}

fn ids<T>(indices: Vec<u16>, id: impl Fn(u16) -> T) -> Vec<T> {
    indices.into_iter().map(id).collect()
}

fn text(name: Option<&super::section::Located<String>>) -> String {
    name.map(|name| name.value.clone()).unwrap_or_default()
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

impl Sip {
    /// T1, or 500 ms.
    pub(crate) fn t1_or_default(&self) -> Duration {
        let default = control::SipTimers::default().t1;
        self.t1.as_ref().map_or(default, |t1| t1.value)
    }

    /// T2, or 4 s.
    pub(crate) fn t2_or_default(&self) -> Duration {
        let default = control::SipTimers::default().t2;
        self.t2.as_ref().map_or(default, |t2| t2.value)
    }
}

/// One line for the operator: what the file amounts to.
pub(crate) fn summary(control: &control::Settings, data: &data::Settings) -> String {
    let ports: usize = data
        .media
        .iter()
        .map(|media| usize::from(media.ports.1 - media.ports.0) + 1)
        .sum();
    format!(
        "{} workers on {} devices, {ports} media ports at {} addresses, {} listeners, {} trunks, \
         {} routes{}, media timeout {}",
        data.workers.len(),
        data.devices.len(),
        data.media.len(),
        control.listeners.len(),
        control.trunks.len(),
        control.routes.len(),
        routes::spell_tables(control),
        control
            .media_timeout
            .map_or_else(|| "off".to_owned(), spell_duration),
    )
}
