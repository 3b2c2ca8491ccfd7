//! The file's shape: which sections and keys there are, of which kind, with which defaults. Every value
//! that a later check may complain about keeps its place. Nothing here depends on another section.

pub(crate) mod authentication;
mod dialog;
mod normalisation;
mod routes;
mod transport;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use contract::DscpMarking;
use controlplane::settings::{Normalisation, Overload, TransferPolicy};
use dataplane::settings::{Steering, XdpMode};
use toml::de::{DeTable, DeValue};

use super::diagnostic::Diagnostic;
use super::kind;
use super::section::{Located, Section};
use authentication::{Access, User};

mod dns;
mod ng;
mod seen;
mod service;
mod transfer;

pub(crate) use dialog::Dialog;
pub(crate) use dns::Dns;
pub(crate) use ng::{Ng, NgInterface, NgListener};
pub(crate) use routes::{Choice, Route, Schedule};
pub(crate) use service::{Limits, NamedPeer, Peer, Service};
pub(crate) use transport::{Files, Listener, TrunkTransport};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// The whole file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) appliance: Appliance,
    /// `None` when `[workers]` is missing, which has then been noted.
    pub(crate) workers: Option<Workers>,
    pub(crate) devices: Vec<Device>,
    pub(crate) media: Vec<Media>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) trunks: Vec<Trunk>,
    pub(crate) users: Vec<User>,
    pub(crate) routes: Vec<Route>,
    pub(crate) schedules: Vec<Schedule>,
    pub(crate) sip: Sip,
    pub(crate) calls: Calls,
    pub(crate) limits: Limits,
    pub(crate) overload: Overload,
    /// `[cdr]`, if there is one.
    pub(crate) cdr: Option<crate::cdr::Settings>,
    pub(crate) explain: controlplane::settings::Explain,
    /// `[hep]`, if there is one.
    pub(crate) hep: Option<crate::hep::Settings>,
    pub(crate) dns: Dns,
    pub(crate) ng: Ng,
    pub(crate) ng_listeners: Vec<NgListener>,
    pub(crate) ng_interfaces: Vec<NgInterface>,
}

/// `[appliance]`: the process as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Appliance {
    /// The product token in SIP (`Server`, `User-Agent`).
    pub(crate) name: String,
    /// Where the CLI finds the process.
    pub(crate) admin_socket: PathBuf,
    /// How long SIGTERM leaves to calls that are up.
    pub(crate) drain_timeout: Duration,
    /// Which log messages are written.
    pub(crate) log: String,
    /// Messages that one place in the code may write in a second; 0: any number.
    pub(crate) log_rate: u32,
}

impl Default for Appliance {
    fn default() -> Self {
        Self {
            name: "tandem".to_owned(),
            admin_socket: crate::cli::DEFAULT_ADMIN_SOCKET.into(),
            drain_timeout: 30 * SECOND,
            log: "info".to_owned(),
            log_rate: seen::LOG_RATE,
        }
    }
}

/// `[workers]`: the threads of the dataplane.
#[derive(Debug)]
pub(crate) struct Workers {
    /// One worker each, in this order. `None`: missing or not a list, already noted.
    pub(crate) cores: Option<Vec<Located<u64>>>,
    pub(crate) idle: Idle,
    pub(crate) idle_spin: Option<Located<Duration>>,
    pub(crate) busy_poll: Option<Duration>,
    pub(crate) flow_capacity: Option<u64>,
    pub(crate) mailbox: u64,
    pub(crate) frames: Option<Located<u32>>,
    pub(crate) ring_size: u32,
}

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Idle {
    Adaptive,
    Spin,
}

/// `[[device]]`: a network device that carries media.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) name: Option<Located<String>>,
    pub(crate) mode: XdpMode,
    pub(crate) queues: Queues,
    pub(crate) checksums: Checksums,
    pub(crate) steering: Steering,
}

/// Which queues of a device the workers take.
#[derive(Debug)]
pub(crate) enum Queues {
    /// All that it has.
    All,
    /// These.
    Listed(Vec<Located<u64>>),
}

/// What is known of the UDP checksums of received frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksums {
    /// By the device's driver.
    Auto,
    Finished,
    MayBeUnfinished,
}

/// `[[media]]`: addresses and ports that relay media.
#[derive(Debug)]
pub(crate) struct Media {
    pub(crate) name: Option<Located<String>>,
    pub(crate) device: Option<Located<String>>,
    pub(crate) addresses: Vec<Located<IpAddr>>,
    /// As many as there are addresses, or none.
    pub(crate) advertised: Vec<Located<IpAddr>>,
    pub(crate) ports: Option<Located<(u16, u16)>>,
    pub(crate) latch: Latch,
    pub(crate) latch_window: Option<Located<Duration>>,
    pub(crate) dscp: DscpMarking,
}

/// Whom the flows of a media group believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Latch {
    Learn,
    Sdp,
    Off,
}

/// `[[trunk]]`: a neighbour in SIP.
#[derive(Debug)]
pub(crate) struct Trunk {
    pub(crate) name: Option<Located<String>>,
    /// The addresses among `peers`.
    pub(crate) peers: Vec<Peer>,
    /// The names among `peers`.
    pub(crate) names: Vec<NamedPeer>,
    pub(crate) listeners: Vec<Located<String>>,
    pub(crate) media: Option<Located<String>>,
    pub(crate) service: Service,
    pub(crate) dialog: Dialog,
    pub(crate) transport: TrunkTransport,
    pub(crate) normalisation: Normalisation,
    /// Who proves to whom who they are.
    pub(crate) access: Access,
    pub(crate) transfer: TransferPolicy,
}

/// `[sip]`: timers and bounds.
#[derive(Debug)]
pub(crate) struct Sip {
    pub(crate) t1: Option<Located<Duration>>,
    pub(crate) t2: Option<Located<Duration>>,
    pub(crate) t4: Duration,
    pub(crate) no_answer: Duration,
    pub(crate) max_calls: u64,
    pub(crate) max_transactions: Option<u64>,
    pub(crate) max_streams: u64,
    pub(crate) max_forks: u64,
}

/// `[calls]`: the media of calls.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) media_timeout: Option<Duration>,
    pub(crate) port_rest: Duration,
}

impl File {
    /// Reads every section, noting what is wrong.
    pub(crate) fn read(
        document: &toml::Spanned<DeTable<'_>>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut root = Section::new("", document, diagnostics);
        // Who has the second door alone speaks no SIP.
        let has_ng = root.place_of_key("ng_listener").is_some();
        let file = Self {
            appliance: root
                .table("appliance", "[appliance]", appliance)
                .unwrap_or_default(),
            workers: workers_of(&mut root),
            devices: root.tables("device", "[[device]]", device),
            media: root.tables("media", "[[media]]", media),
            listeners: root.tables_unless(has_ng, "listener", "[[listener]]", Listener::read),
            trunks: root.tables_unless(has_ng, "trunk", "[[trunk]]", trunk),
            routes: root.tables_unless(has_ng, "route", "[[route]]", routes::route),
            schedules: root.optional_tables("schedule", "[[schedule]]", routes::schedule),
            users: root.optional_tables("user", "[[user]]", authentication::user),
            sip: root.table_or_empty("sip", "[sip]", sip),
            calls: root.table_or_empty("calls", "[calls]", calls),
            limits: root.table_or_empty("limits", "[limits]", service::limits),
            overload: root.table_or_empty("overload", "[overload]", service::overload),
            cdr: root.table("cdr", "[cdr]", seen::cdr).flatten(),
            explain: root.table_or_empty("explain", "[explain]", seen::explain),
            hep: root.table("hep", "[hep]", seen::hep).flatten(),
            dns: root.table_or_empty("dns", "[dns]", dns::dns),
            ng: root.table_or_empty("ng", "[ng]", ng::ng),
            ng_listeners: root.optional_tables("ng_listener", "[[ng_listener]]", ng::listener),
            ng_interfaces: root.optional_tables("ng_interface", "[[ng_interface]]", ng::interface),
        };
        root.finish();
        file
    }
}

fn appliance(section: &mut Section<'_>) -> Appliance {
    let default = Appliance::default();
    Appliance {
        name: section.or_default("name", &kind::name(), default.name),
        admin_socket: section.or_default(
            "admin_socket",
            &kind::socket_path(),
            default.admin_socket,
        ),
        drain_timeout: section.or_default(
            "drain_timeout",
            &kind::duration(Duration::ZERO, DAY),
            default.drain_timeout,
        ),
        log: section.or_default("log", &kind::log_filter(), default.log),
        log_rate: section
            .optional("log_rate", &kind::number(0, 1_000_000))
            .and_then(|rate| u32::try_from(rate.value).ok())
            .unwrap_or(default.log_rate),
    }
}

fn workers_of(root: &mut Section<'_>) -> Option<Workers> {
    if root.place_of_key("workers").is_none() {
        let end = root.span().end;
        root.note(Diagnostic::error(
            end..end,
            "there is no [workers]",
            "[workers] with the cores of the workers, such as cores = [1, 2]",
        ));
    }
    root.table("workers", "[workers]", workers)
}

fn workers(section: &mut Section<'_>) -> Workers {
    const IDLE: &[(&str, Idle)] = &[("adaptive", Idle::Adaptive), ("spin", Idle::Spin)];
    let spin = kind::duration(Duration::ZERO, SECOND);
    let busy_poll = kind::duration_or_off(Duration::from_micros(1), Duration::from_millis(10));
    Workers {
        cores: section.list("cores", &kind::number(0, 8191)),
        idle: section.or_default("idle", &kind::word(IDLE), Idle::Adaptive),
        idle_spin: section.optional("idle_spin", &spin),
        busy_poll: section.or_default("busy_poll", &busy_poll, None),
        flow_capacity: section
            .optional("flow_capacity", &kind::number(4, 4_194_304))
            .map(|located| located.value),
        mailbox: section.or_default("mailbox", &kind::number(64, 1_048_576), 8192),
        frames: section.optional("frames", &kind::power_of_two(256, 1 << 22)),
        ring_size: section.or_default("ring_size", &kind::power_of_two(64, 16_384), 2048),
    }
}

fn device(section: &mut Section<'_>) -> Device {
    const MODES: &[(&str, XdpMode)] = &[
        ("best", XdpMode::Best),
        ("zero-copy", XdpMode::ZeroCopy),
        ("copy", XdpMode::Copy),
        ("generic", XdpMode::Generic),
    ];
    const CHECKSUMS: &[(&str, Checksums)] = &[
        ("auto", Checksums::Auto),
        ("finished", Checksums::Finished),
        ("unfinished", Checksums::MayBeUnfinished),
    ];
    const STEERING: &[(&str, Steering)] = &[
        ("best", Steering::Best),
        ("off", Steering::Off),
        ("required", Steering::Required),
    ];
    Device {
        name: section.required("name", &kind::device_name()),
        mode: section.or_default("mode", &kind::word(MODES), XdpMode::Best),
        queues: queues(section),
        checksums: section.or_default("checksums", &kind::word(CHECKSUMS), Checksums::Auto),
        steering: section.or_default("steering", &kind::word(STEERING), Steering::Best),
    }
}

fn queues(section: &mut Section<'_>) -> Queues {
    const EXPECTED: &str = "\"all\", or a list of queue numbers such as [0, 1]";
    let Some(value) = section.find("queues") else {
        return Queues::All;
    };
    match value.get_ref() {
        DeValue::Array(elements) if !elements.is_empty() => {
            let numbers = kind::number(0, 4095);
            Queues::Listed(section.elements("queues", &numbers, elements))
        }
        other if kind::is_all(other) => Queues::All,
        _ => {
            let message = "`queues` is neither \"all\" nor a list with a queue in it";
            section.note(Diagnostic::error(value.span(), message, EXPECTED));
            Queues::All
        }
    }
}

fn media(section: &mut Section<'_>) -> Media {
    const LATCH: &[(&str, Latch)] = &[
        ("learn", Latch::Learn),
        ("sdp", Latch::Sdp),
        ("off", Latch::Off),
    ];
    let window = kind::duration(Duration::from_millis(100), 600 * SECOND);
    Media {
        name: section.required("name", &kind::name()),
        device: section.required("device", &kind::reference("[[device]]")),
        addresses: section
            .list("addresses", &kind::ip_address())
            .unwrap_or_default(),
        advertised: section.optional_list("advertised", &kind::ip_address()),
        ports: section.required("ports", &kind::port_range()),
        latch: section.or_default("latch", &kind::word(LATCH), Latch::Learn),
        latch_window: section.optional("latch_window", &window),
        dscp: section.or_default("dscp", &kind::dscp(), DscpMarking::Set(46)),
    }
}

fn trunk(section: &mut Section<'_>) -> Trunk {
    let name = section.required("name", &kind::name());
    let (peers, names) = service::peers(section);
    Trunk {
        name,
        peers,
        names,
        listeners: section
            .list("listeners", &kind::reference("[[listener]]"))
            .unwrap_or_default(),
        media: section.required("media", &kind::reference("[[media]]")),
        service: service::service(section),
        dialog: dialog::read(section),
        transport: TrunkTransport::read(section),
        normalisation: normalisation::normalisation(section),
        access: authentication::access(section),
        transfer: transfer::read(section),
    }
}

fn sip(section: &mut Section<'_>) -> Sip {
    let timer = kind::duration(Duration::from_millis(10), 60 * SECOND);
    Sip {
        t1: section.optional("t1", &timer),
        t2: section.optional("t2", &timer),
        t4: section.or_default("t4", &timer, 5 * SECOND),
        no_answer: section.or_default("no_answer", &kind::duration(SECOND, DAY), 180 * SECOND),
        max_calls: section.or_default("max_calls", &kind::number(1, 1_000_000), 10_000),
        max_transactions: section
            .optional("max_transactions", &kind::number(16, 10_000_000))
            .map(|located| located.value),
        max_streams: section.or_default("max_streams", &kind::number(1, 64), 8),
        max_forks: section.or_default("max_forks", &kind::number(1, 64), 8),
    }
}

fn calls(section: &mut Section<'_>) -> Calls {
    let timeout = kind::duration_or_off(SECOND, DAY);
    let rest = kind::duration(Duration::ZERO, 3600 * SECOND);
    Calls {
        media_timeout: section.or_default("media_timeout", &timeout, Some(60 * SECOND)),
        port_rest: section.or_default("port_rest", &rest, 30 * SECOND),
    }
}
