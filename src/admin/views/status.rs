//! `tandem status`: the state of everything, in figures.

use serde::{Deserialize, Serialize};

use super::{Cdr, Collector, Counts, DnsCounts, MediaServices, Ng, Stories};

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
    /// The second door; null when there is none.
    #[serde(default)]
    pub(crate) ng: Option<Ng>,
    /// The media services; null when there are none.
    #[serde(default)]
    pub(crate) services: Option<MediaServices>,
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
    /// 3xx that calls followed.
    pub(crate) redirections: u64,
    /// REFERs that went on to the other party.
    pub(crate) referrals_passed: u64,
    /// Transfers that tandem began to carry out.
    pub(crate) transfers_begun: u64,
    /// Those whose target got its place in the call.
    pub(crate) transfers_made: u64,
    /// Those that nothing came of.
    pub(crate) transfers_failed: u64,
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
    /// What was done to packets beside forwarding them, in packets; what never was is left out.
    #[serde(default)]
    pub(crate) handled: Counts,
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
