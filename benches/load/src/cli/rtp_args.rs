//! The arguments of `tandem-load rtp`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::kinds::{DeviceQueues, Expect, Mac, Percentage};
use crate::admin_client::{Latch, Rtcp};

pub(super) const EXAMPLES: &str = "\
Examples:
  tandem-load rtp --a-device a0 --b-device b0 --streams streams.json --g711 --seconds 60
  tandem-load rtp --a-device a0 --b-device b0 --streams streams.json --rate 200000 --json
  tandem-load rtp --a-device eth1:0,1 --b-device eth2:0,1 --core 2,3 --flows flows.json --flat-out
  tandem-load rtp --a-device a0 --b-device b0 --install /run/tandem/admin.sock --count 1000 \\
      --find-ndr --high 2000000 --resolution 1% --trial 5

A rate counts the packets of both directions together. Latency counts from the time at which a packet
was due, not from when it left, so that a packet that had to wait for its turn is not measured as fast
(coordinated omission). A trial in which the generator could not keep the rate does not pass.
Needs CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF and CAP_PERFMON, or root; and `ip` (iproute2).";

/// What to send, through which devices, how fast, and what is expected of the relay.
#[derive(Clone, Debug, Args)]
pub struct RtpArgs {
    /// A's device and its queues
    #[arg(long, value_name = "DEVICE[:QUEUES]")]
    pub a_device: DeviceQueues,
    /// B's device and its queues; may be A's
    #[arg(long, value_name = "DEVICE[:QUEUES]")]
    pub b_device: DeviceQueues,
    /// Where the streams come from.
    #[command(flatten)]
    pub source: Source,
    /// How fast they are sent.
    #[command(flatten)]
    pub pace: Pace,
    /// Bytes of UDP payload, 60 to 1400; of RTCP a multiple of 4
    #[arg(long, value_name = "BYTES", default_value_t = 172,
        value_parser = clap::value_parser!(u16).range(60..=1400))]
    pub payload: u16,
    /// How long to send
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
    /// How long to send before that, without counting, once a run and at a low rate in a search
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = seconds_or_none)]
    pub warmup: f64,
    /// The cores to run on, one thread each; each thread takes the queues in turn
    #[arg(long, value_name = "CORES", value_delimiter = ',', default_value = "0")]
    pub core: Vec<usize>,
    /// Find the highest rate without loss (RFC 2544 §26.1) by binary search
    #[arg(long, conflicts_with_all = ["rate", "g711", "flat_out", "churn"])]
    pub find_ndr: bool,
    /// Where the search begins: a rate that is believed to pass
    #[arg(long, value_name = "PPS", requires = "find_ndr", default_value_t = 1000,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub low: u64,
    /// The highest rate to try; without it a flat-out trial is made first to know
    #[arg(long, value_name = "PPS", requires = "find_ndr",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub high: Option<u64>,
    /// How exact the search is
    #[arg(
        long,
        value_name = "PERCENT",
        requires = "find_ndr",
        default_value = "2%"
    )]
    pub resolution: Percentage,
    /// How long each trial of the search sends
    #[arg(long, value_name = "SECONDS", requires = "find_ndr", default_value_t = 2.0, value_parser = seconds)]
    pub trial: f64,
    /// For noisy machines: try a rate again up to this often before it counts as failed. Every attempt is
    /// in the list of trials. With 0 the search is that of RFC 2544
    #[arg(long, value_name = "N", requires = "find_ndr", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=10))]
    pub retries: u32,
    /// Open and close this many sessions a second over the admin socket while sending, each for a second. The
    /// relay needs ports for them: closed ones rest (`port_rest`)
    #[arg(long, value_name = "PER_SECOND", requires = "install", value_parser = churn_rate)]
    pub churn: Option<f64>,
    /// A's next hop; otherwise the kernel is asked
    #[arg(long, value_name = "MAC")]
    pub next_hop_a: Option<Mac>,
    /// B's next hop; otherwise the kernel is asked
    #[arg(long, value_name = "MAC")]
    pub next_hop_b: Option<Mac>,
    /// The TTL or hop limit with which packets must arrive, or `any`
    #[arg(long, value_name = "TTL", default_value = "64")]
    pub expect_ttl: Expect,
    /// The DSCP with which packets must arrive, or `any`
    #[arg(long, value_name = "DSCP", default_value = "any", value_parser = expected_dscp)]
    pub expect_dscp: Expect,
    /// The DSCP with which packets are sent
    #[arg(long, value_name = "DSCP", default_value_t = 46,
        value_parser = clap::value_parser!(u8).range(0..=63))]
    pub dscp: u8,
    /// Do not insist that packets come from the next hop's MAC address (VRRP, routers apart)
    #[arg(long)]
    pub any_source_mac: bool,
    /// Accept UDP checksums that a kernel on the same machine left to hardware that veth has not
    #[arg(long)]
    pub accept_unfinished_checksums: bool,
    /// Packets handed to the kernel at a time
    #[arg(long, value_name = "PACKETS", default_value_t = 32,
        value_parser = clap::value_parser!(u32).range(1..=256))]
    pub batch: u32,
    /// The depth of the rings; a power of two
    #[arg(long, value_name = "PACKETS", default_value_t = 2048, value_parser = ring)]
    pub ring: u32,
    /// How frames reach the tool; `best` is the first of zero-copy, copy and generic that the device can
    #[arg(long, value_name = "MODE", default_value = "best")]
    pub xdp_mode: XdpMode,
    /// Write a plot to this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print one JSON object on one line
    #[arg(long)]
    pub json: bool,
}

/// Where the streams come from: one of the three.
#[derive(Clone, Debug, Args)]
pub struct Source {
    /// A stream file
    #[arg(long, value_name = "FILE", required_unless_present_any = ["flows", "install"],
        conflicts_with_all = ["flows", "install"])]
    pub streams: Option<PathBuf>,
    /// What `tandem flows ID --json` printed, for one call or several
    #[arg(long, value_name = "FILE", conflicts_with = "install")]
    pub flows: Option<PathBuf>,
    /// The admin socket of a running tandem, in which sessions are opened and at the end closed
    #[arg(long, value_name = "SOCKET", requires = "count")]
    pub install: Option<PathBuf>,
    /// Sessions to open
    #[arg(long, value_name = "N", requires = "install",
        value_parser = clap::value_parser!(u32).range(1..=500_000))]
    pub count: Option<u32>,
    /// The relay's media group that faces A
    #[arg(
        long,
        value_name = "NAME",
        requires = "install",
        default_value = "inside"
    )]
    pub a_media: String,
    /// The relay's media group that faces B
    #[arg(
        long,
        value_name = "NAME",
        requires = "install",
        default_value = "outside"
    )]
    pub b_media: String,
    /// A's addresses; otherwise the first one of its device
    #[arg(
        long,
        value_name = "ADDRESSES",
        requires = "install",
        value_delimiter = ','
    )]
    pub a_address: Vec<IpAddr>,
    /// B's addresses; otherwise the first one of its device
    #[arg(
        long,
        value_name = "ADDRESSES",
        requires = "install",
        value_delimiter = ','
    )]
    pub b_address: Vec<IpAddr>,
    /// Take the devices' IPv6 addresses
    #[arg(long, requires = "install")]
    pub ipv6: bool,
    /// What becomes of RTCP; `separate` and `mux` make a stream of it beside each of RTP
    #[arg(long, value_name = "HOW", requires = "install", default_value = "none")]
    pub rtcp: Rtcp,
    /// Which source the sessions believe; otherwise as the relay is configured
    #[arg(long, value_name = "POLICY", requires = "install")]
    pub latch: Option<Latch>,
}

/// How fast packets are sent: one of the three, or a search.
#[derive(Clone, Copy, Debug, Args)]
pub struct Pace {
    /// Packets a second, both directions together
    #[arg(long, value_name = "PPS", conflicts_with_all = ["g711", "flat_out"],
        required_unless_present_any = ["g711", "flat_out", "find_ndr"],
        value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub rate: Option<u64>,
    /// As calls do: each stream one packet every 20 ms in each direction
    #[arg(long, conflicts_with = "flat_out")]
    pub g711: bool,
    /// As fast as they go
    #[arg(long)]
    pub flat_out: bool,
}

/// How frames reach the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum XdpMode {
    /// The first of the others that the device can; the report says which.
    Best,
    /// The driver's DMA reads and writes the tool's memory.
    ZeroCopy,
    /// The driver runs the XDP program, the kernel copies.
    Copy,
    /// The network stack runs the XDP program, the kernel copies.
    Generic,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.05..=86_400.0).contains(&number) => Ok(number),
        _ => Err("not from 0.05 to 86400".to_owned()),
    }
}

fn seconds_or_none(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=3600.0).contains(&number) => Ok(number),
        _ => Err("not from 0 to 3600".to_owned()),
    }
}

fn ring(text: &str) -> Result<u32, String> {
    match text.parse::<u32>() {
        Ok(number) if (256..=65_536).contains(&number) && number.is_power_of_two() => Ok(number),
        _ => Err("not a power of two from 256 to 65536".to_owned()),
    }
}

fn churn_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number <= 100_000.0 => Ok(number),
        _ => Err("not above 0 and up to 100000".to_owned()),
    }
}

fn expected_dscp(text: &str) -> Result<Expect, String> {
    match text.parse()? {
        Expect::Exactly(64..) => Err("a DSCP is from 0 to 63".to_owned()),
        expect => Ok(expect),
    }
}
