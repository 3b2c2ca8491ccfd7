//! How a trunk is served: which peer is called, how it is known to be well, when a call goes on to the
//! next, and how much may go through it.

use std::time::Duration;

use ipnet::IpNet;

/// A network whose hosts may send to a trunk, or may not send at all.
pub type Network = IpNet;

/// How a trunk's peers are known to be up or down (docs/trunks.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// How often each peer is asked with OPTIONS; `None`: never, and only what calls meet is evidence.
    pub every: Option<Duration>,
    /// How long the answer to OPTIONS may take.
    pub timeout: Duration,
    /// Failures in a row that make a peer down.
    pub down_after: u32,
    /// Successes in a row that make a peer up again.
    pub up_after: u32,
    /// Answers to OPTIONS that are failures; every other final response says that the peer is there.
    pub down_codes: Vec<u16>,
    /// How long a peer that is down is left alone when nobody asks it; then it is tried again.
    pub rest: Duration,
    /// The longest Retry-After of a 503 that is kept to.
    pub longest_retry_after: Duration,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            every: None,
            timeout: Duration::from_secs(4),
            down_after: 3,
            up_after: 2,
            down_codes: vec![408, 503],
            rest: Duration::from_secs(30),
            longest_retry_after: Duration::from_secs(300),
        }
    }
}

/// When a call goes on to the next target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// How long a target may be silent while there is another.
    pub after: Duration,
    /// How long after the caller's INVITE a target may still be silent, and a next one may still be tried.
    pub total: Duration,
    /// Final responses that lead to the next target.
    pub codes: Vec<u16>,
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            after: Duration::from_secs(4),
            total: Duration::from_secs(10),
            codes: vec![500, 502, 503, 504],
        }
    }
}

/// So many a second, and so many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run, a second.
    pub per_second: u32,
    /// At once, after a quiet time; at least 1.
    pub burst: u32,
}

/// What may go through one trunk. `None`: as much as the appliance carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkLimits {
    /// Calls at a time, from it and to it together.
    pub calls: Option<usize>,
    /// Calls at a time from it.
    pub calls_in: Option<usize>,
    /// Calls at a time to it.
    pub calls_out: Option<usize>,
    /// New calls from it.
    pub rate_in: Option<Rate>,
    /// INVITEs that begin calls to it.
    pub rate_out: Option<Rate>,
    /// The media of its calls in one direction, in bits a second.
    pub bandwidth: Option<u64>,
    /// What a call from it beyond a limit is answered with.
    pub code: u16,
}

impl Default for TrunkLimits {
    fn default() -> Self {
        Self {
            calls: None,
            calls_in: None,
            calls_out: None,
            rate_in: None,
            rate_out: None,
            bandwidth: None,
            code: 503,
        }
    }
}

/// What may go through the appliance in all, besides [`super::Limits`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// New calls.
    pub rate: Option<Rate>,
    /// The media of all calls in one direction, in bits a second.
    pub bandwidth: Option<u64>,
}

/// What is done against more signalling than can be handled (docs/overload.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overload {
    /// How long a datagram may wait in the socket while all is well; `None`: nothing is shed.
    pub target: Option<Duration>,
    /// The fewest new calls a second that are let in, whatever is measured; at least 1.
    pub floor: u32,
    /// What Retry-After says to those that are not, in seconds.
    pub retry_after: u32,
}

impl Default for Overload {
    fn default() -> Self {
        Self {
            target: Some(Duration::from_millis(50)),
            floor: 10,
            retry_after: 5,
        }
    }
}
