//! The ports that media arrives at: handed out in pairs, unpredictably, in constant time.
//!
//! A pair is an even port for RTP and the odd one after it for RTCP; a muxed stream uses the even one alone.
//! A pair that is released rests before it is handed out again, so that a new call cannot inherit
//! packets that were meant for an old one. It knows nothing of what the ports are used for.
//!
//! Where the homes of ports are known, a pair can be drawn beside another: at random among those whose packets
//! arrive at the same worker, so that the legs of a call meet in one core's cache.
//!
//! ```text
//!             allocate (any one, at random)
//!     free ───────────────────────────────► in use
//!      ▲ ◄───────── give_back (never announced) │ release
//!      └───── after the rest ──── resting ◄─────┘
//! ```

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use contract::{FlowKey, Homes, Timestamp};
use rand::{Rng, RngExt};

use crate::settings::{MediaGroup, MediaGroupId};

/// Pairs that are looked at for one whose home is right. With 16 workers one in 16 is: 64 tries miss it 1.6 % of
/// the time; more would cost a busy pool more than a stray leg does.
const DRAWS: usize = 64;

/// Two ports of one media address: the even one for RTP, the next for RTCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortPair {
    /// The group that the address belongs to.
    pub group: MediaGroupId,
    /// The local media address.
    pub address: IpAddr,
    even: u16,
}

impl PortPair {
    /// Where RTP arrives.
    pub const fn rtp(self) -> FlowKey {
        FlowKey {
            address: self.address,
            port: self.even,
        }
    }

    /// Where RTCP arrives, unless it is muxed.
    pub const fn rtcp(self) -> FlowKey {
        FlowKey {
            address: self.address,
            port: self.even | 1,
        }
    }
}

/// Every relay port of every media group.
#[derive(Debug)]
pub struct RelayPorts {
    /// One for each address of each group.
    pools: Vec<Pool>,
    rest: Duration,
    homes: Homes,
}

/// The pairs of one address.
#[derive(Debug)]
struct Pool {
    group: MediaGroupId,
    address: IpAddr,
    first: u16,
    /// The pairs that are ready, in no order: one is drawn by swapping it with the last.
    free: Vec<u16>,
    /// The pairs that rest, the first to wake at the front.
    resting: VecDeque<(Timestamp, u16)>,
    /// Indexed by pair: whether somebody has it.
    in_use: Vec<bool>,
    used: usize,
}

impl RelayPorts {
    /// The ports of these groups; a [`MediaGroupId`] is an index here.
    pub fn new(groups: &[MediaGroup], rest: Duration) -> Self {
        let mut pools = Vec::new();
        for (group, index) in groups.iter().zip(0..) {
            for address in &group.addresses {
                pools.push(Pool::new(MediaGroupId(index), *address, group.ports));
            }
        }
        Self {
            pools,
            rest,
            homes: Homes::default(),
        }
    }

    /// Where packets arrive is known now, or (when empty) is not any more.
    pub fn set_homes(&mut self, homes: Homes) {
        self.homes = homes;
    }

    /// How long pairs rest that are released from now on. What rests already wakes when it was to: with a shorter rest
    /// later pairs may wait for earlier ones, never the other way round.
    pub fn set_rest(&mut self, rest: Duration) {
        self.rest = rest;
    }

    /// A random pair of this address of the group; `None` when all are in use or resting.
    pub fn allocate(
        &mut self,
        now: Timestamp,
        rng: &mut impl Rng,
        group: MediaGroupId,
        address: IpAddr,
    ) -> Option<PortPair> {
        self.allocate_beside(now, rng, group, address, None)
    }

    /// As [`RelayPorts::allocate`], and if it can be one whose RTP arrives at the worker that this port's packets
    /// arrive at. Never refuses a pair for that.
    pub fn allocate_beside(
        &mut self,
        now: Timestamp,
        rng: &mut impl Rng,
        group: MediaGroupId,
        address: IpAddr,
        neighbour: Option<FlowKey>,
    ) -> Option<PortPair> {
        let of = |pool: &&mut Pool| pool.group == group && pool.address == address;
        let pool = self.pools.iter_mut().find(of)?;
        pool.wake(now);
        if pool.free.is_empty() {
            return None;
        }
        let home = neighbour.and_then(|neighbour| self.homes.home(&neighbour));
        let mut drawn = rng.random_range(0..pool.free.len());
        if home.is_some() {
            let is_near = |index: usize| {
                let port = pool.free[index];
                self.homes.home(&FlowKey { address, port }) == home
            };
            let mut draws = DRAWS;
            while draws > 1 && !is_near(drawn) {
                drawn = rng.random_range(0..pool.free.len());
                draws -= 1;
            }
        }
        let even = pool.free.swap_remove(drawn);
        pool.take(even);
        Some(PortPair {
            group,
            address,
            even,
        })
    }

    /// Nobody uses the pair any more: it rests, then it is free. A pair that is not in use is left alone.
    pub fn release(&mut self, now: Timestamp, pair: PortPair) {
        let wakes = now + self.rest;
        if let Some(pool) = self.pool(pair.group, pair.address)
            && pool.put_down(pair.even)
        {
            pool.resting.push_back((wakes, pair.even));
        }
    }

    /// The pair was never announced nor installed: it is free at once.
    pub fn give_back(&mut self, pair: PortPair) {
        if let Some(pool) = self.pool(pair.group, pair.address)
            && pool.put_down(pair.even)
        {
            pool.free.push(pair.even);
        }
    }

    /// When the next pair has rested.
    pub fn deadline(&self) -> Option<Timestamp> {
        let wakes = |pool: &Pool| pool.resting.front().map(|(wakes, _)| *wakes);
        self.pools.iter().filter_map(wakes).min()
    }

    /// Frees the pairs that have rested.
    pub fn on_time(&mut self, now: Timestamp) {
        self.pools.iter_mut().for_each(|pool| pool.wake(now));
    }

    /// How many pairs of a group are free, in use and resting.
    pub fn count(&self, group: MediaGroupId) -> PortCount {
        let mut count = PortCount::default();
        for pool in self.pools.iter().filter(|pool| pool.group == group) {
            count.free += pool.free.len();
            count.in_use += pool.used;
            count.resting += pool.resting.len();
        }
        count
    }

    fn pool(&mut self, group: MediaGroupId, address: IpAddr) -> Option<&mut Pool> {
        self.pools
            .iter_mut()
            .find(|pool| pool.group == group && pool.address == address)
    }
}

/// Pairs of a group by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortCount {
    /// Ready.
    pub free: usize,
    /// Handed out.
    pub in_use: usize,
    /// Released, not yet ready.
    pub resting: usize,
}

impl Pool {
    /// Only whole pairs within the range are used: an odd first or an even last port is left out.
    fn new(group: MediaGroupId, address: IpAddr, (first, last): (u16, u16)) -> Self {
        let first = first.saturating_add(first & 1);
        let free: Vec<u16> = (first..=last)
            .step_by(2)
            .filter(|even| even | 1 <= last)
            .collect();
        Self {
            group,
            address,
            first,
            resting: VecDeque::new(),
            in_use: vec![false; free.len()],
            used: 0,
            free,
        }
    }

    fn wake(&mut self, now: Timestamp) {
        while let Some((wakes, even)) = self.resting.front()
            && *wakes <= now
        {
            self.free.push(*even);
            self.resting.pop_front();
        }
    }

    fn take(&mut self, even: u16) {
        if let Some(slot) = self.slot(even) {
            *slot = true;
            self.used += 1;
        }
    }

    /// Whether somebody had it.
    fn put_down(&mut self, even: u16) -> bool {
        let had = self
            .slot(even)
            .is_some_and(|slot| std::mem::replace(slot, false));
        self.used -= usize::from(had);
        had
    }

    fn slot(&mut self, even: u16) -> Option<&mut bool> {
        let index = usize::from(even.checked_sub(self.first)?) / 2;
        self.in_use.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{DeviceId, DscpMarking, LatchPolicy, WorkerId};
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::collections::{HashMap, HashSet};

    const REST: Duration = Duration::from_secs(30);
    const GROUP: MediaGroupId = MediaGroupId(0);

    fn address() -> IpAddr {
        IpAddr::from([192, 0, 2, 1])
    }

    fn ports(first: u16, last: u16) -> RelayPorts {
        let group = MediaGroup {
            name: "inside".into(),
            device: DeviceId(0),
            addresses: vec![address()],
            advertised: Vec::new(),
            ports: (first, last),
            latch: LatchPolicy::Off,
            dscp: DscpMarking::Preserve,
        };
        RelayPorts::new(&[group], REST)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn every_pair_is_given_once_and_exhaustion_is_none() {
        let (mut ports, mut rng) = (ports(65_530, 65_535), StdRng::seed_from_u64(1));
        let mut given = HashSet::new();
        for _ in 0..3 {
            let pair = ports
                .allocate(at(0), &mut rng, GROUP, address())
                .expect("free");
            assert_eq!(
                (pair.rtp().port % 2, pair.rtcp().port),
                (0, pair.rtp().port + 1)
            );
            assert!(given.insert(pair));
        }
        assert_eq!(ports.allocate(at(0), &mut rng, GROUP, address()), None);
        assert_eq!(
            ports.allocate(at(0), &mut rng, MediaGroupId(1), address()),
            None
        );
    }

    #[test]
    fn a_released_pair_rests() {
        let (mut ports, mut rng) = (ports(20_000, 20_001), StdRng::seed_from_u64(1));
        let pair = ports
            .allocate(at(0), &mut rng, GROUP, address())
            .expect("free");
        ports.release(at(5), pair);
        ports.release(at(6), pair);
        assert_eq!(ports.allocate(at(34), &mut rng, GROUP, address()), None);
        assert_eq!(
            ports.count(GROUP),
            PortCount {
                resting: 1,
                ..PortCount::default()
            }
        );
        assert_eq!(ports.deadline(), Some(at(35)));
        ports.on_time(at(35));
        assert_eq!(
            ports.count(GROUP),
            PortCount {
                free: 1,
                ..PortCount::default()
            }
        );
        assert_eq!(
            ports.allocate(at(35), &mut rng, GROUP, address()),
            Some(pair)
        );
        ports.give_back(pair);
        assert_eq!(
            ports.allocate(at(35), &mut rng, GROUP, address()),
            Some(pair)
        );
    }

    #[test]
    fn the_next_port_cannot_be_told_from_the_last() {
        let (mut ports, mut rng) = (ports(20_000, 29_999), StdRng::seed_from_u64(7));
        let mut next = || {
            ports
                .allocate(at(0), &mut rng, GROUP, address())
                .expect("free")
                .rtp()
                .port
        };
        let drawn: Vec<u16> = (0..1_000).map(|_| next()).collect();
        let steps: HashSet<_> = drawn
            .windows(2)
            .map(|pair| pair[1].wrapping_sub(pair[0]))
            .collect();
        assert!(steps.len() > 800, "{} different steps", steps.len());
        assert!(drawn.iter().any(|port| *port < 22_000) && drawn.iter().any(|port| *port > 28_000));
    }

    #[test]
    fn a_pair_beside_another_is_random_among_those_of_its_home() {
        let (mut ports, mut rng) = (ports(20_000, 29_999), StdRng::seed_from_u64(7));
        let workers = 16_u16;
        let mut homes = Homes::default();
        // Both ports of a pair, and pairs of no pattern, have one home.
        let home = |port: u16| WorkerId((port >> 1).wrapping_mul(40_503) >> 8 & (workers - 1));
        homes.set(address(), 20_000, (20_000..30_000).map(home));
        let mut near = |ports: &mut RelayPorts| {
            let mut draw = |neighbour| {
                let pair = ports.allocate_beside(at(0), &mut rng, GROUP, address(), neighbour);
                pair.expect("free").rtp()
            };
            let calls: Vec<_> = (0..500)
                .map(|_| {
                    let first = draw(None);
                    (first, draw(Some(first)))
                })
                .collect();
            let of_one_home = calls.iter().filter(|(a, b)| home(a.port) == home(b.port));
            of_one_home.map(|(_, b)| b.port).collect::<Vec<_>>()
        };
        let before = near(&mut ports);
        assert!(before.len() < 80, "{} by chance", before.len());
        ports.set_homes(homes);
        let after = near(&mut ports);
        assert!(after.len() > 450, "{} of 500", after.len());
        let steps: HashSet<_> = after
            .windows(2)
            .map(|pair| pair[1].wrapping_sub(pair[0]))
            .collect();
        assert!(steps.len() > 400, "{} different steps", steps.len());
    }

    #[test]
    fn the_last_pair_is_given_wherever_its_home_is() {
        let (mut ports, mut rng) = (ports(20_000, 20_003), StdRng::seed_from_u64(1));
        let mut homes = Homes::default();
        homes.set(address(), 20_000, [0, 0, 1, 1].map(WorkerId));
        ports.set_homes(homes);
        let first = ports.allocate(at(0), &mut rng, GROUP, address());
        let first = first.expect("free").rtp();
        let second = ports.allocate_beside(at(0), &mut rng, GROUP, address(), Some(first));
        assert_ne!(second.expect("the other one").rtp(), first);
    }

    proptest! {
        /// Against the plainest oracle: a list of when each pair may be given again.
        #[test]
        fn no_pair_is_given_while_in_use_or_resting(
            seed: u64, steps in prop::collection::vec((0_u8..3, 0_u64..20, any::<prop::sample::Index>()), 1..200)
        ) {
            let (mut ports, mut rng) = (ports(20_000, 20_019), StdRng::seed_from_u64(seed));
            let mut now = at(0);
            let mut mine: Vec<PortPair> = Vec::new();
            let mut rests: HashMap<PortPair, Timestamp> = HashMap::new();
            for (step, seconds, which) in steps {
                now = now + Duration::from_secs(seconds);
                let resting = rests.values().filter(|wakes| **wakes > now).count();
                match step {
                    0 if mine.is_empty() => {}
                    0 => {
                        let pair = mine.swap_remove(which.index(mine.len()));
                        ports.release(now, pair);
                        rests.insert(pair, now + REST);
                    }
                    _ => match ports.allocate(now, &mut rng, GROUP, address()) {
                        None => prop_assert_eq!(mine.len() + resting, 10),
                        Some(pair) => {
                            prop_assert!(!mine.contains(&pair));
                            prop_assert!(rests.get(&pair).is_none_or(|wakes| *wakes <= now));
                            mine.push(pair);
                        }
                    },
                }
                let count = ports.count(GROUP);
                prop_assert_eq!(count.in_use, mine.len());
                prop_assert_eq!(count.free + count.in_use + count.resting, 10);
            }
        }
    }
}
