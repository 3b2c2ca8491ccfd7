//! The answers of the admin socket, for which the field names are an interface: `--json` prints them,
//! scripts parse them, `docs/operations.md` lists them. Counters count since the start of the process.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

mod stories;

pub(crate) use stories::{Cdr, Collector, Keeping, Stories, Story, StoryLine, StoryMessage};

/// Counts by name.
pub(crate) type Counts = BTreeMap<String, u64>;

/// When an answer was taken, and of which process: rates are differences between two answers of one process
/// over the difference of their times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// When the process started, in milliseconds since 1970. Another number is another process, whose counters
    /// began at 0.
    pub(crate) started_unix_ms: u64,
    /// Nanoseconds from the start to this answer, by a clock that never goes back.
    pub(crate) at_ns: u64,
}

/// `tandem status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// When.
    #[serde(flatten)]
    pub(crate) taken: Taken,
    /// The program's version.
    pub(crate) version: String,
    /// The process.
    pub(crate) pid: u32,
    /// `running`, or `draining` when it takes no new calls because it is to end.
    pub(crate) state: String,
    /// Seconds since the start.
    pub(crate) uptime_seconds: f64,
    /// The configuration file.
    pub(crate) config: String,
    /// The calls.
    pub(crate) calls: CallCounts,
    /// The signalling.
    pub(crate) sip: SipCounts,
    /// What is done against too much signalling.
    pub(crate) overload: Overload,
    /// Names.
    #[serde(default)]
    pub(crate) dns: DnsCounts,
    /// Our registrations.
    #[serde(default)]
    pub(crate) registrations: RegistrationCounts,
    /// The SIP sockets.
    pub(crate) listeners: Vec<Listener>,
    /// The media.
    pub(crate) media: MediaCounts,
    /// The next hops of the media.
    pub(crate) next_hops: NextHops,
    /// The devices.
    pub(crate) devices: Vec<Device>,
    /// The workers in one.
    pub(crate) workers: WorkerTotals,
    /// The NUMA nodes.
    pub(crate) numa: Numa,
    /// The records of calls; null when none are written.
    #[serde(default)]
    pub(crate) cdr: Option<Cdr>,
    /// The stories of calls.
    #[serde(default)]
    pub(crate) stories: Stories,
    /// The copies of messages for a collector; null when there is none.
    #[serde(default)]
    pub(crate) collector: Option<Collector>,
}

/// Where devices, workers and their memory lie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numa {
    /// Each node that something of tandem's lies on; last, without a number, what nobody knows the node of.
    pub(crate) nodes: Vec<NumaNode>,
    /// What crosses between nodes, a sentence each.
    pub(crate) warnings: Vec<String>,
}

/// One NUMA node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NumaNode {
    /// Its number.
    pub(crate) node: Option<u32>,
    /// The devices on it.
    pub(crate) devices: Vec<String>,
    /// The workers whose cores are on it.
    pub(crate) cores_of: Vec<u16>,
    /// The workers that have frames on it.
    pub(crate) umem_of: Vec<u16>,
    /// The workers that have tables on it.
    pub(crate) tables_of: Vec<u16>,
}

/// What is known of names, now and since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DnsCounts {
    /// Name servers.
    pub(crate) servers: u64,
    /// Names of peers that are kept resolved.
    pub(crate) names: u64,
    /// Those of them that stand as they should.
    pub(crate) resolved: u64,
    /// Questions whose answers are kept.
    pub(crate) records: u64,
    /// Questions on their way to the name servers.
    pub(crate) asking: u64,
    /// What the resolver counted, by its name; what never happened is left out.
    pub(crate) events: Counts,
}

/// `tandem dns`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Dns {
    /// The name servers, in the order of asking.
    pub(crate) servers: Vec<SocketAddr>,
    /// The peers' names.
    pub(crate) names: Vec<DnsName>,
    /// Every question that is known, by name.
    pub(crate) records: Vec<DnsRecord>,
}

/// A peer's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DnsName {
    /// The trunk.
    pub(crate) trunk: String,
    /// The name, as the configuration has it.
    pub(crate) name: String,
    /// `unknown`, `resolved`, `stale`, `nowhere` or `failed`.
    pub(crate) state: String,
    /// Seconds since all of its answers held; absent: never.
    pub(crate) age_seconds: Option<f64>,
    /// Where it leads, in no order: transport, address and port.
    pub(crate) places: Vec<String>,
}

/// What is kept of one question.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DnsRecord {
    /// The name.
    pub(crate) name: String,
    /// `A`, `AAAA`, `SRV` or `NAPTR`.
    pub(crate) kind: String,
    /// The records, as in a zone file; `no such name`, `no records`.
    pub(crate) values: Vec<String>,
    /// `fresh`, `stale`, `failed` or `expired`.
    pub(crate) state: String,
    /// The TTL, as far as it is believed; absent: there was no answer.
    pub(crate) ttl_seconds: Option<f64>,
    /// Seconds since the answer.
    pub(crate) age_seconds: Option<f64>,
    /// Failures since then.
    pub(crate) failures: u64,
    /// Why the last one failed.
    pub(crate) failure: Option<String>,
}

/// Calls, now and since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallCounts {
    /// Up now.
    pub(crate) active: u64,
    /// The most that may be up.
    pub(crate) limit: u64,
    /// Asked for.
    pub(crate) offered: u64,
    /// Answered by the callee.
    pub(crate) answered: u64,
    /// Ended without an answer, by the status code that the caller got.
    pub(crate) failed: Counts,
    /// Ended after an answer, by why.
    pub(crate) ended: Counts,
    /// How often a call went on to another target.
    pub(crate) failovers: u64,
    /// Dialogs that lost against another fork's answer and were ended.
    pub(crate) forks_ended: u64,
    /// How often a target was given up because it was silent for too long.
    pub(crate) silent_targets: u64,
    /// How often a target was passed by because its trunk had no room.
    pub(crate) full_targets: u64,
    /// How often a trunk's peer went from one state of health to another.
    pub(crate) peer_changes: u64,
    /// The media of the calls that are up, in bits a second and one direction, by their session descriptions.
    pub(crate) bandwidth_bps: u64,
}

/// What is done against too much signalling.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Overload {
    /// Whether new calls beyond a rate are being refused.
    pub(crate) shedding: bool,
    /// That rate.
    pub(crate) calls_per_second: Option<f64>,
    /// How long the datagram that was looked at last had waited.
    pub(crate) waited_ms: f64,
    /// INVITEs refused, each time that they came.
    pub(crate) refused: u64,
    /// How often shedding has begun.
    pub(crate) episodes: u64,
}

/// `tandem trunks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trunks {
    /// Each, in the order of the configuration.
    pub(crate) trunks: Vec<Trunk>,
}

/// One trunk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trunk {
    /// Its name.
    pub(crate) name: String,
    /// Calls from it that are up.
    pub(crate) calls_in: u64,
    /// Calls to it that are up, or being tried.
    pub(crate) calls_out: u64,
    /// Calls from it that began in the last whole second.
    pub(crate) calls_per_second_in: u64,
    /// Calls to it that began in the last whole second.
    pub(crate) calls_per_second_out: u64,
    /// The media of its calls, in bits a second and one direction.
    pub(crate) bandwidth_bps: u64,
    /// Its limits.
    pub(crate) limits: TrunkBounds,
    /// Calls that met a limit, by which.
    pub(crate) refused: Counts,
    /// Its peers, by priority.
    pub(crate) peers: Vec<TrunkPeer>,
}

/// The limits of a trunk; `null`: there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrunkBounds {
    /// Calls, both ways together.
    pub(crate) calls: Option<u64>,
    /// Calls from it.
    pub(crate) calls_in: Option<u64>,
    /// Calls to it.
    pub(crate) calls_out: Option<u64>,
    /// New calls from it.
    pub(crate) rate_in: Option<RateLimit>,
    /// New calls to it.
    pub(crate) rate_out: Option<RateLimit>,
    /// Media, in bits a second.
    pub(crate) bandwidth_bps: Option<u64>,
}

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RateLimit {
    /// In the long run.
    pub(crate) per_second: u32,
    /// After a quiet time.
    pub(crate) burst: u32,
}

/// One peer of a trunk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrunkPeer {
    /// Where it is called.
    pub(crate) address: String,
    /// Lower ones are called first.
    pub(crate) priority: u16,
    /// Its share among those of its priority.
    pub(crate) weight: u16,
    /// `unknown`, `up`, `failing`, `down`, `recovering` or `resting`.
    pub(crate) state: String,
    /// How long it has been in that state.
    pub(crate) since_seconds: f64,
    /// The status code of the last answer to OPTIONS; `null` when there was none.
    pub(crate) last_code: Option<u16>,
    /// How long that answer took.
    pub(crate) last_rtt_ms: Option<f64>,
    /// How often it was asked with OPTIONS.
    pub(crate) checks: u64,
    /// How often it has failed, at OPTIONS or at calls.
    pub(crate) failures: u64,
}

/// The signalling, now and since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SipCounts {
    /// Dialogs now, early ones included.
    pub(crate) dialogs: u64,
    /// Transactions now.
    pub(crate) transactions: u64,
    /// Requests that tandem itself refused, by status code.
    pub(crate) requests_refused: Counts,
    /// Messages dropped without an answer, by why.
    pub(crate) messages_dropped: Counts,
    /// Datagrams that are no SIP message, by why.
    pub(crate) parse_errors: Counts,
    /// What the transaction layer counted, by its name; what never happened is left out.
    pub(crate) events: Counts,
}

/// Our registrations at trunks, now and since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegistrationCounts {
    /// Those that there are to be.
    pub(crate) configured: u64,
    /// Those that a registrar has.
    pub(crate) registered: u64,
    /// REGISTERs that were sent.
    pub(crate) sent: u64,
    /// Rounds that no registrar accepted.
    pub(crate) failed: u64,
}

/// `tandem registrations`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Registrations {
    /// In the configuration's order.
    pub(crate) registrations: Vec<Registration>,
}

/// One registration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Registration {
    /// The trunk.
    pub(crate) trunk: String,
    /// The address of record.
    pub(crate) aor: String,
    /// Where REGISTERs go now.
    pub(crate) registrar: Option<String>,
    /// How far it has come.
    pub(crate) state: String,
    /// Until the registrar forgets the binding; nothing without one.
    pub(crate) expires_seconds: Option<f64>,
    /// Until something happens by itself: a refresh, the next attempt.
    pub(crate) next_seconds: Option<f64>,
    /// The last failure's status code since the last success; 408 is silence.
    pub(crate) last_failure: Option<u16>,
    /// REGISTERs sent.
    pub(crate) sent: u64,
    /// Accepted.
    pub(crate) accepted: u64,
    /// Rounds that no registrar accepted.
    pub(crate) failed: u64,
    /// Challenges that were answered.
    pub(crate) challenged: u64,
}

/// One SIP listener; messages since the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listener {
    /// Its name in the configuration.
    pub(crate) name: String,
    /// Where it is bound.
    pub(crate) address: String,
    /// Received.
    pub(crate) received: u64,
    /// Sent.
    pub(crate) sent: u64,
    /// Not sent: too many waited, too large, refused by the kernel, or unreachable by ICMP.
    pub(crate) send_failures: u64,
    /// Errors while receiving, or accepting.
    pub(crate) receive_errors: u64,
    /// `udp`, `tcp` or `tls`.
    #[serde(default)]
    pub(crate) transport: String,
    /// The address that others know it by, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) advertised: Option<String>,
    /// Its connections; nothing for UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<Connections>,
}

/// The connections of one SIP listener; what is not "now" is since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connections {
    /// Now, in both directions.
    pub(crate) open: u64,
    /// Of others, within their TLS handshake now.
    pub(crate) handshaking: u64,
    /// Accepted.
    pub(crate) accepted: u64,
    /// That tandem opened, or began to.
    pub(crate) opened: u64,
    /// Closed at once: too many.
    pub(crate) turned_away: u64,
    /// That tandem opened and that did not come up.
    pub(crate) failed: u64,
    /// Whose TLS handshake failed or was not over in time, or whose TLS broke.
    pub(crate) tls_failed: u64,
    /// Ended because what came was no SIP.
    pub(crate) framing_errors: u64,
    /// Ended because the other side did not read, or did not end what it wrote.
    pub(crate) stalled: u64,
    /// Ended because nobody had anything to say.
    pub(crate) idle: u64,
    /// Closed by the other side.
    pub(crate) closed: u64,
    /// Broken without a word.
    pub(crate) broken: u64,
}

/// The next hops of the media.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NextHops {
    /// Watched now.
    pub(crate) watched: u64,
    /// Not watched, because too many were.
    pub(crate) refused: u64,
    /// Solicitations sent (ARP, neighbour discovery).
    pub(crate) solicitations: u64,
    /// Answers that changed after they had been given.
    pub(crate) changes: u64,
}

/// The media, now and since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MediaCounts {
    /// Sessions now.
    pub(crate) sessions: u64,
    /// Those of them that are no call's: opened by the admin socket.
    pub(crate) provisioned: u64,
    /// Flows now, those on their way out included.
    pub(crate) flows: u64,
    /// Pairs of ports (RTP and RTCP) that carry flows.
    pub(crate) ports_in_use: u64,
    /// Pairs of ports that rest before they are used again.
    pub(crate) ports_resting: u64,
    /// Pairs of ports that a new call may get.
    pub(crate) ports_free: u64,
    /// Refusals of the session engine, by why.
    pub(crate) refused: Counts,
    /// Flows that could not be installed in time, by why.
    pub(crate) installs_failed: Counts,
    /// What the session engine counted, by its name; what never happened is left out.
    pub(crate) events: Counts,
}

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Device {
    /// The kernel's name of it.
    pub(crate) name: String,
    /// Its driver.
    pub(crate) driver: String,
    /// The XDP mode in force: `zero-copy`, `copy` or `generic`.
    pub(crate) xdp_mode: String,
    /// RX queues that it has.
    pub(crate) queues: u32,
    /// Frames by the XDP program's verdict.
    pub(crate) verdicts: Counts,
}

/// What all workers did together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkerTotals {
    /// How many there are.
    pub(crate) count: u64,
    /// How many of them run; fewer than `count` means that one has died.
    pub(crate) running: u64,
    /// Whether every worker's memory is in huge pages.
    pub(crate) huge_pages: bool,
    /// Frames received.
    pub(crate) rx_packets: u64,
    /// Frames sent.
    pub(crate) tx_packets: u64,
    /// Frames dropped.
    pub(crate) dropped: u64,
    /// The same by reason; reasons that never applied are left out.
    pub(crate) drops: Counts,
    /// How long frames stayed.
    pub(crate) residence_ns: Residence,
}

/// How long frames stayed, from the read of the RX ring to the return of the TX kick, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Residence {
    /// Frames measured.
    pub(crate) count: u64,
    /// The median.
    pub(crate) p50: u64,
    /// The 99th percentile.
    pub(crate) p99: u64,
    /// The longest.
    pub(crate) max: u64,
}

/// `tandem workers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Workers {
    /// When.
    #[serde(flatten)]
    pub(crate) taken: Taken,
    /// Every worker.
    pub(crate) workers: Vec<Worker>,
    /// All of them together.
    pub(crate) totals: WorkerTotals,
    /// How each device chooses the queue of a packet, and so its worker.
    pub(crate) steering: Vec<Steering>,
}

/// How a device chooses queues.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Steering {
    /// The device's name.
    pub(crate) device: String,
    /// What the configuration asks for: `off`, `best`, `required`.
    pub(crate) wanted: String,
    /// By address family, those that it has media addresses of.
    pub(crate) families: Vec<SteeringFamily>,
}

/// The same for UDP of one family.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SteeringFamily {
    /// `udp4` or `udp6`.
    pub(crate) family: String,
    /// The header fields that the queue depends on, in ethtool's letters; null: the driver does not say.
    pub(crate) hash_fields: Option<String>,
    /// The fields before they were changed; null: they were not.
    pub(crate) hash_fields_before: Option<String>,
    /// Whether it is known which worker a port's packets arrive at.
    pub(crate) mapping: String,
    /// Why it cannot be known.
    pub(crate) why: Option<String>,
    /// Flows with packets that were looked at last.
    pub(crate) flows_seen: u64,
    /// Those of them that came to more than one worker.
    pub(crate) flows_split: u64,
    /// The share of their packets that came to the flow's home.
    pub(crate) home_share: Option<f64>,
}

/// One worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Worker {
    /// Its number, from 0.
    pub(crate) worker: u16,
    /// The core it is pinned to.
    pub(crate) core: u64,
    /// Whether its thread runs.
    pub(crate) running: bool,
    /// Frames received on all its sockets.
    pub(crate) rx_packets: u64,
    /// Bytes in them.
    pub(crate) rx_bytes: u64,
    /// Frames sent on all its sockets.
    pub(crate) tx_packets: u64,
    /// Bytes in them.
    pub(crate) tx_bytes: u64,
    /// Frames dropped.
    pub(crate) dropped: u64,
    /// The same by reason; reasons that never applied are left out.
    pub(crate) drops: Counts,
    /// Batches received.
    pub(crate) batches: u64,
    /// How often it slept for want of work.
    pub(crate) sleeps: u64,
    /// Nanoseconds in polls that found work.
    pub(crate) busy_ns: u64,
    /// Nanoseconds in polls that found none.
    pub(crate) idle_ns: u64,
    /// Nanoseconds asleep.
    pub(crate) asleep_ns: u64,
    /// How long frames stayed.
    pub(crate) residence_ns: Residence,
    /// The same as (nanoseconds, frames), rising: the middle of each bucket that counted any, a bucket being at
    /// the most a sixteenth as wide as its value. Two answers' difference is the residence of the time between.
    pub(crate) residence_buckets: Vec<(u64, u64)>,
    /// Flows installed.
    pub(crate) flows: u64,
    /// Frames of its memory.
    pub(crate) frames: u32,
    /// Frames that are in no ring.
    pub(crate) free_frames: u32,
    /// Bytes in a page of its memory.
    pub(crate) page_size: u64,
    /// Commands that its mailbox had no room for.
    pub(crate) commands_refused: u64,
    /// Events that had to wait because the control plane's mailbox was full.
    pub(crate) events_delayed: u64,
    /// Its AF_XDP sockets.
    pub(crate) sockets: Vec<Socket>,
}

/// One AF_XDP socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Socket {
    /// The device's name.
    pub(crate) device: String,
    /// The queue.
    pub(crate) queue: u32,
    /// Whether the kernel says that it is in zero-copy mode.
    pub(crate) zero_copy: bool,
    /// Whether the kernel says when it wants to be called.
    pub(crate) need_wakeup: bool,
    /// Whether the worker polls the driver instead of waiting for interrupts.
    pub(crate) busy_poll: bool,
    /// Packets that one call sends at the most in copy mode; absent where the kernel does not let it be chosen.
    pub(crate) tx_budget: Option<u32>,
    /// Frames received.
    pub(crate) rx_packets: u64,
    /// Bytes in them.
    pub(crate) rx_bytes: u64,
    /// Frames sent.
    pub(crate) tx_packets: u64,
    /// Bytes in them.
    pub(crate) tx_bytes: u64,
    /// Packets that waited in the RX ring at the last poll.
    pub(crate) rx_ring: Ring,
    /// The most that ever waited there.
    pub(crate) rx_ring_max: u32,
    /// Packets left in the TX ring by the last poll.
    pub(crate) tx_ring: Ring,
    /// Frames left in the fill ring by the last poll.
    pub(crate) fill_ring: Ring,
    /// The kernel's own counters.
    pub(crate) xdp_statistics: XdpStatistics,
}

/// How full a ring is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ring {
    /// Entries in it.
    pub(crate) level: u32,
    /// Entries that it has room for.
    pub(crate) size: u32,
}

/// `struct xdp_statistics` of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct XdpStatistics {
    /// Dropped for other reasons than those below.
    pub(crate) rx_dropped: u64,
    /// Dropped because the RX ring was full.
    pub(crate) rx_ring_full: u64,
    /// Times that the fill ring was found empty.
    pub(crate) rx_fill_ring_empty_descs: u64,
    /// Invalid descriptors in the fill ring.
    pub(crate) rx_invalid_descs: u64,
    /// Invalid descriptors in the TX ring.
    pub(crate) tx_invalid_descs: u64,
    /// Times that the TX ring was found empty.
    pub(crate) tx_ring_empty_descs: u64,
}

/// `tandem calls list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Calls {
    /// How many are up: more than `calls` has when there are more than the limit.
    pub(crate) total: u64,
    /// The oldest of them.
    pub(crate) calls: Vec<CallLine>,
}

/// One call in the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CallLine {
    /// Its number, never used again.
    pub(crate) id: u64,
    /// How far it has come.
    pub(crate) state: String,
    /// The caller's URI.
    pub(crate) from: String,
    /// The URI that was called.
    pub(crate) to: String,
    /// The trunk that it came from.
    pub(crate) from_trunk: String,
    /// The trunk that it was last sent to.
    pub(crate) to_trunk: Option<String>,
    /// Seconds since its INVITE.
    pub(crate) age_seconds: f64,
    /// Seconds since the answer.
    pub(crate) talk_seconds: Option<f64>,
}

/// `tandem calls show`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Call {
    /// Its line in the list.
    #[serde(flatten)]
    pub(crate) line: CallLine,
    /// The caller's dialog.
    pub(crate) caller: Leg,
    /// The callee's dialogs: several while it forks.
    pub(crate) callees: Vec<Leg>,
    /// The media streams, in the order of the SDP.
    pub(crate) streams: Vec<Stream>,
}

/// One dialog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leg {
    /// The trunk.
    pub(crate) trunk: String,
    /// Where its messages come from.
    pub(crate) remote: String,
    /// Its Call-ID.
    pub(crate) call_id: String,
    /// Our tag.
    pub(crate) local_tag: String,
    /// The peer's tag.
    pub(crate) remote_tag: String,
    /// Where requests in the dialog go.
    pub(crate) remote_target: String,
}

/// One media stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stream {
    /// `audio`, `video` …
    pub(crate) media: String,
    /// What its packets are: `rtp`, `srtp` or `udptl` (fax).
    pub(crate) transport: String,
    /// `offered`, `active`, `held` or `rejected`.
    pub(crate) state: String,
    /// Towards the caller.
    pub(crate) caller: StreamParty,
    /// Towards the callee.
    pub(crate) callee: StreamParty,
}

/// One side of a media stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamParty {
    /// Where we receive its RTP.
    pub(crate) local_rtp: Option<String>,
    /// Where we receive its RTCP.
    pub(crate) local_rtcp: Option<String>,
    /// Where its SDP says that it receives RTP.
    pub(crate) remote_rtp: Option<String>,
    /// Where its SDP says that it receives RTCP.
    pub(crate) remote_rtcp: Option<String>,
    /// The source that its RTP was latched to.
    pub(crate) latched_rtp: Option<String>,
    /// Its direction as it put it.
    pub(crate) direction: String,
    /// Its formats.
    pub(crate) codecs: String,
    /// Whether every worker has found its RTP silent.
    pub(crate) silent: bool,
}

/// `tandem calls hangup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HungUp {
    /// The call that is being ended.
    pub(crate) hanging_up: u64,
}

/// `tandem flows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flows {
    /// The call.
    pub(crate) call: u64,
    /// Its flows.
    pub(crate) flows: Vec<Flow>,
}

/// `tandem sessions flows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionFlows {
    /// The session.
    pub(crate) session: u64,
    /// Its flows.
    pub(crate) flows: Vec<Flow>,
}

/// `tandem sessions open`: the answer to `open_sessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenedSessions {
    /// Those that are open, in the order of the request.
    pub(crate) sessions: Vec<OpenedSession>,
    /// How many are not, by why.
    pub(crate) refused: Counts,
}

/// A session that was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OpenedSession {
    /// Its number, never used again.
    pub(crate) id: u64,
    /// Which of the request's it is, from 0.
    pub(crate) index: u64,
    /// The relay's RTP port that faces party A.
    pub(crate) a: SocketAddr,
    /// The relay's RTP port that faces party B.
    pub(crate) b: SocketAddr,
}

/// `tandem sessions close`: the answer to `close_sessions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedSessions {
    /// How many there were to be closed.
    pub(crate) closed: u64,
}

/// `tandem sessions list`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sessions {
    /// How many there are: more than `sessions` has when there are more than the limit.
    pub(crate) total: u64,
    /// The oldest of them.
    pub(crate) sessions: Vec<SessionLine>,
}

/// One session in the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionLine {
    /// Its number, never used again.
    pub(crate) id: u64,
    /// `opening`, or `open` when every worker has its flows.
    pub(crate) state: String,
    /// Party A.
    pub(crate) a: SocketAddr,
    /// The relay's RTP port that faces party A.
    pub(crate) relay_a: SocketAddr,
    /// The relay's RTP port that faces party B.
    pub(crate) relay_b: SocketAddr,
    /// Party B.
    pub(crate) b: SocketAddr,
    /// Where RTCP goes: `none`, `separate` or `mux`.
    pub(crate) rtcp: String,
    /// `sdp` when its flows believe the given addresses alone; absent: as their media group says.
    pub(crate) latch: Option<String>,
    /// After how many seconds of silence it is closed; absent: never.
    pub(crate) media_timeout_seconds: Option<f64>,
    /// Seconds since it was asked for.
    pub(crate) age_seconds: f64,
}

/// One flow: what arrives at one local port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Flow {
    /// The port at which its packets arrive.
    pub(crate) local: String,
    /// `rtp`, `rtcp`, `rtp+rtcp` (muxed), `udptl` (fax), or `removing`.
    pub(crate) carries: String,
    /// The source that signalling gave.
    pub(crate) signalled: Option<String>,
    /// The source that it is locked to.
    pub(crate) latched: Option<String>,
    /// Where its packets leave from.
    pub(crate) leaves_from: Option<String>,
    /// Where its packets go to.
    pub(crate) destination: Option<String>,
    /// The MAC address they go to.
    pub(crate) next_hop: Option<String>,
    /// The device they leave by.
    pub(crate) egress_device: Option<String>,
    /// How many workers have acknowledged it.
    pub(crate) acknowledged: u64,
    /// Packets sent on by all workers.
    pub(crate) packets: u64,
    /// Bytes of UDP payload in them.
    pub(crate) bytes: u64,
    /// Packets dropped for their source.
    pub(crate) wrong_source: u64,
    /// Seconds since the last packet.
    pub(crate) last_seen_seconds: Option<f64>,
    /// What the party reported by RTCP of what is sent to it; absent where no report came, or none that can be read.
    pub(crate) reception: Option<Reception>,
    /// The same by worker.
    pub(crate) workers: Vec<FlowWorker>,
}

/// How a party receives what is sent to it, by its own RTCP reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Reception {
    /// Reports so far.
    pub(crate) reports: u64,
    /// The share of packets lost between the last two reports, 0 to 1.
    pub(crate) loss: f64,
    /// Packets lost in all; duplicates make it negative.
    pub(crate) lost: i32,
    /// Jitter in units of the RTP clock.
    pub(crate) jitter_units: u32,
    /// The same in milliseconds, where the clock is known from the session description.
    pub(crate) jitter_ms: Option<f64>,
    /// From the relay to the party and back.
    pub(crate) round_trip_ms: Option<f64>,
    /// Seconds since the last report.
    pub(crate) last_report_seconds: f64,
}

/// What one worker counted for one flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FlowWorker {
    /// The worker.
    pub(crate) worker: u16,
    /// Packets sent on.
    pub(crate) packets: u64,
    /// Bytes of UDP payload in them.
    pub(crate) bytes: u64,
    /// Packets dropped for their source.
    pub(crate) wrong_source: u64,
    /// Seconds since the last packet.
    pub(crate) last_seen_seconds: Option<f64>,
    /// The source that it has latched.
    pub(crate) latched: Option<String>,
}

/// `tandem reload`: what has become of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// Whether the process runs by it now.
    pub(crate) applied: bool,
    /// Why not, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    /// What differs from what the process runs by, or ran by before.
    pub(crate) changes: Vec<crate::config::Change>,
    /// The findings of the check, as `tandem check` shows them.
    pub(crate) report: String,
}

impl Reloaded {
    /// It could not even be read.
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self {
            refused: Some(why.into()),
            ..Self::default()
        }
    }
}

/// `tandem route`: what would become of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    /// The trunk that it comes from.
    pub(crate) from: String,
    /// The Request-URI that was asked about.
    pub(crate) uri: String,
    /// The user part that it is routed by.
    pub(crate) user: String,
    /// When, in UTC.
    pub(crate) at: String,
    /// The route that decides; nothing: the call would be refused with 404.
    pub(crate) route: Option<String>,
    /// The routes before it.
    pub(crate) passed_over: Vec<PassedOverRoute>,
    /// How many more there are.
    pub(crate) passed_over_more: u64,
    /// The trunks, in the order of trying.
    pub(crate) candidates: Vec<RouteCandidate>,
    /// Trunks that are not tried.
    pub(crate) skipped: Vec<SkippedTrunk>,
}

/// A route that does not apply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PassedOverRoute {
    /// Its name.
    pub(crate) route: String,
    /// The condition that does not hold: `from`, `user`, `when`, `prefix`.
    pub(crate) condition: String,
    /// The same in words.
    pub(crate) why: String,
}

/// A trunk that is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteCandidate {
    /// Its name.
    pub(crate) trunk: String,
    /// The prefix that the table has for it; empty: any number.
    pub(crate) prefix: Option<String>,
    /// Its rate, a decimal number.
    pub(crate) cost: Option<String>,
    /// Its share among its neighbours.
    pub(crate) weight: Option<u16>,
    /// Its peers, in the order of trying.
    pub(crate) peers: Vec<String>,
    /// The request to the first of them, line by line, without Via and body.
    pub(crate) request: Option<Vec<String>>,
}

/// A trunk that is not tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SkippedTrunk {
    /// Its name.
    pub(crate) trunk: String,
    /// Why: `twice`, `too_many`.
    pub(crate) reason: String,
    /// The same in words.
    pub(crate) why: String,
}
