//! Sees that a device hands the packets of a flow to one worker, where it can: its queue is made to depend on our
//! own address and port alone, which signalling chose, and not on the sender's, which NAT changes.
//!
//! ```text
//!   before: hash(source, destination, ports) ─► a queue that nobody can foretell
//!   after:  hash(destination, port)          ─► table ─► queue ─► worker: the flow's home
//! ```
//!
//! Asked for, read back, and put back at the end. Which home a port has is worked out by [`foretelling`] and
//! believed only when [`arrivals`] has seen packets arrive there. Everything goes on without it: each worker has
//! every flow.

pub mod arrivals;
pub mod foretelling;

use std::fmt;

use af_xdp::{Error, HashFields, HashFunction, Rss, RxFlowHash, UdpOver};
use tracing::{info, warn};

use crate::settings::Steering;

/// The fields that a flow's home shall depend on.
pub const OURS: HashFields = HashFields::DESTINATION.and(HashFields::DESTINATION_PORT);

/// A device's hashing: [`RxFlowHash`], or a double in tests.
pub trait FlowHash {
    /// The fields in force; `None` when the driver does not say.
    fn fields(&self, over: UdpOver) -> Result<Option<HashFields>, Error>;

    /// Chooses fields; `false` when the driver cannot.
    fn set_fields(&self, over: UdpOver, fields: HashFields) -> Result<bool, Error>;

    /// Function, table and key; `None` when the driver does not say.
    fn rss(&self) -> Result<Option<Rss>, Error>;
}

impl FlowHash for RxFlowHash {
    fn fields(&self, over: UdpOver) -> Result<Option<HashFields>, Error> {
        self.fields(over)
    }

    fn set_fields(&self, over: UdpOver, fields: HashFields) -> Result<bool, Error> {
        self.set_fields(over, fields)
    }

    fn rss(&self) -> Result<Option<Rss>, Error> {
        self.rss()
    }
}

/// Why nobody can foretell where a port's packets arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// The driver does not say what it hashes (veth, virtio without RSS).
    DriverCannot,
    /// A call failed.
    Failed(String),
    /// The fields in force include the sender's, and the driver takes no other choice.
    DriverKeeps(HashFields),
    /// The fields in force include the sender's, and steering is off.
    Off(HashFields),
    /// The driver does not tell its table or key.
    NoTable,
    /// Its hash is not Toeplitz's.
    Function(HashFunction),
    /// It mixes the fields before it hashes them.
    Symmetric,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DriverCannot => f.write_str("the driver cannot say what it hashes"),
            Self::Failed(why) => f.write_str(why),
            Self::DriverKeeps(fields) => write!(
                f,
                "the queue depends on the sender too ({fields}), and the driver takes no other choice"
            ),
            Self::Off(fields) => write!(
                f,
                "the queue depends on the sender too ({fields}), and steering is off"
            ),
            Self::NoTable => f.write_str("the driver does not tell its key and table"),
            Self::Function(function) => write!(
                f,
                "the driver's hash function is {}, not toeplitz",
                function.name()
            ),
            Self::Symmetric => f.write_str("the driver mixes the fields before it hashes them"),
        }
    }
}

/// What a device does with UDP over one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Which.
    pub over: UdpOver,
    /// The fields in force, as the driver says.
    pub fields: Option<HashFields>,
    /// The fields that were in force before they were changed.
    pub before: Option<HashFields>,
    /// What queues follow from, or why that is not known.
    pub rss: Result<Rss, Unknown>,
}

/// A device's hashing under tandem. Dropping it puts back what was changed.
#[derive(Debug)]
pub struct Steered<H: FlowHash> {
    name: String,
    hash: H,
    families: Vec<Family>,
}

/// Steering was required, and this is in its way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{device} cannot be steered as required for {}: {why}", .over.name())]
pub struct NotSteered {
    /// The device.
    pub device: String,
    /// The packets.
    pub over: UdpOver,
    /// What is in the way.
    pub why: Unknown,
}

impl<H: FlowHash> Steered<H> {
    /// Steers the packets of these families as wanted. An error only when it is required.
    pub fn new(
        name: &str,
        hash: H,
        wanted: Steering,
        overs: impl IntoIterator<Item = UdpOver>,
    ) -> Result<Self, NotSteered> {
        let mut steered = Self {
            name: name.to_owned(),
            hash,
            families: Vec::new(),
        };
        for over in overs {
            // From here on a failure puts back what was changed.
            let family = steered.steer(over, wanted);
            let is_ours = family.fields == Some(OURS);
            steered.families.push(family);
            if wanted == Steering::Required && !is_ours {
                let why = steered.in_the_way(over);
                let device = name.to_owned();
                return Err(NotSteered { device, over, why });
            }
        }
        Ok(steered)
    }

    /// What the device does, by family.
    pub fn families(&self) -> &[Family] {
        &self.families
    }

    fn in_the_way(&self, over: UdpOver) -> Unknown {
        let family = self.families.iter().find(|family| family.over == over);
        match family.map(|family| (&family.rss, family.fields)) {
            Some((Err(why), _)) => why.clone(),
            // Known, but of other fields: an operator's choice that the driver insists on.
            Some((Ok(_), Some(fields))) => Unknown::DriverKeeps(fields),
            _ => Unknown::DriverCannot,
        }
    }

    fn steer(&self, over: UdpOver, wanted: Steering) -> Family {
        let mut family = Family {
            over,
            fields: None,
            before: None,
            rss: Err(Unknown::DriverCannot),
        };
        match self.try_steer(wanted, &mut family) {
            Ok(rss) => family.rss = rss,
            Err(error) => {
                warn!("{error}; packets of {} are not steered", self.name);
                family.rss = Err(Unknown::Failed(error.to_string()));
            }
        }
        family
    }

    fn try_steer(
        &self,
        wanted: Steering,
        family: &mut Family,
    ) -> Result<Result<Rss, Unknown>, Error> {
        let over = family.over;
        let Some(found) = self.hash.fields(over)? else {
            return Ok(Err(Unknown::DriverCannot));
        };
        family.fields = Some(found);
        if wanted != Steering::Off && found != OURS && self.hash.set_fields(over, OURS)? {
            family.before = Some(found);
            family.fields = self.hash.fields(over)?;
            if family.fields == Some(OURS) {
                info!(device = self.name, packets = over.name(), %found, now = %OURS, "fields of the flow hash changed");
            } else {
                // It took the choice and did another: nothing is gained.
                self.hash.set_fields(over, found)?;
                family.before = None;
                family.fields = self.hash.fields(over)?;
            }
        }
        let fields = family.fields.unwrap_or(found);
        if !OURS.has(fields) {
            return Ok(Err(match wanted {
                Steering::Off => Unknown::Off(fields),
                Steering::Best | Steering::Required => Unknown::DriverKeeps(fields),
            }));
        }
        Ok(match self.hash.rss()? {
            None => Err(Unknown::NoTable),
            Some(rss) if rss.indirection.is_empty() || rss.key.is_empty() => Err(Unknown::NoTable),
            Some(rss) if rss.function != HashFunction::Toeplitz => {
                Err(Unknown::Function(rss.function))
            }
            Some(rss) if rss.symmetric => Err(Unknown::Symmetric),
            Some(rss) => Ok(rss),
        })
    }
}

impl<H: FlowHash> Drop for Steered<H> {
    fn drop(&mut self) {
        for family in &self.families {
            let (over, Some(before)) = (family.over, family.before) else {
                continue;
            };
            // Whoever has chosen otherwise since then meant it.
            let restored = match self.hash.fields(over) {
                Ok(Some(OURS)) => self.hash.set_fields(over, before),
                Ok(_) => Ok(true),
                Err(error) => Err(error),
            };
            match restored {
                Ok(true) => {}
                Ok(false) => warn!(
                    "the driver of {} does not take {} fields {before} back",
                    self.name,
                    over.name()
                ),
                Err(error) => warn!("{error}; {} fields were {before}", over.name()),
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    pub(crate) const SDFN: HashFields = OURS.and(HashFields::SOURCE).and(HashFields::SOURCE_PORT);

    /// A driver in memory, shared with the test.
    #[derive(Clone, Debug)]
    pub(crate) struct Driver(pub(crate) Rc<RefCell<State>>);

    #[derive(Debug)]
    pub(crate) struct State {
        pub(crate) fields: BTreeMap<UdpOver, HashFields>,
        /// Choices that it takes.
        pub(crate) takes: Vec<HashFields>,
        /// It says yes, and does this.
        pub(crate) does: Option<HashFields>,
        pub(crate) rss: Option<Rss>,
        pub(crate) fails: bool,
    }

    impl Driver {
        pub(crate) fn new(takes: &[HashFields]) -> Self {
            Self(Rc::new(RefCell::new(State {
                fields: [(UdpOver::V4, SDFN), (UdpOver::V6, SDFN)].into(),
                takes: takes.into(),
                does: None,
                rss: Some(Rss {
                    function: HashFunction::Toeplitz,
                    symmetric: false,
                    indirection: vec![0, 1],
                    key: vec![1; 40],
                }),
                fails: false,
            })))
        }

        fn now(&self, over: UdpOver) -> HashFields {
            self.0.borrow().fields[&over]
        }
    }

    impl FlowHash for Driver {
        fn fields(&self, over: UdpOver) -> Result<Option<HashFields>, Error> {
            let state = self.0.borrow();
            if state.fails {
                return Err(Error::NoSuchDevice {
                    device: "gone".into(),
                });
            }
            Ok(state.fields.get(&over).copied())
        }

        fn set_fields(&self, over: UdpOver, fields: HashFields) -> Result<bool, Error> {
            let mut state = self.0.borrow_mut();
            let takes = state.takes.contains(&fields);
            if takes {
                let does = if fields == OURS { state.does } else { None };
                state.fields.insert(over, does.unwrap_or(fields));
            }
            Ok(takes)
        }

        fn rss(&self) -> Result<Option<Rss>, Error> {
            Ok(self.0.borrow().rss.clone())
        }
    }

    fn steer(driver: &Driver, wanted: Steering) -> Result<Steered<Driver>, NotSteered> {
        Steered::new("eth7", driver.clone(), wanted, [UdpOver::V4, UdpOver::V6])
    }

    fn why(steered: &Steered<Driver>) -> String {
        let family = &steered.families()[0];
        family.rss.as_ref().expect_err("not known").to_string()
    }

    #[test]
    fn fields_are_changed_and_put_back() {
        let driver = Driver::new(&[OURS, SDFN]);
        let steered = steer(&driver, Steering::Required).expect("it can");
        for family in steered.families() {
            assert_eq!((family.fields, family.before), (Some(OURS), Some(SDFN)));
            assert!(family.rss.is_ok());
            assert_eq!(driver.now(family.over), OURS);
        }
        drop(steered);
        assert_eq!(
            (driver.now(UdpOver::V4), driver.now(UdpOver::V6)),
            (SDFN, SDFN)
        );
    }

    #[test]
    fn what_somebody_else_chose_since_then_is_left() {
        let driver = Driver::new(&[OURS, SDFN]);
        let steered = steer(&driver, Steering::Best).expect("it can");
        let source = HashFields::SOURCE;
        driver.0.borrow_mut().fields.insert(UdpOver::V4, source);
        drop(steered);
        assert_eq!(
            (driver.now(UdpOver::V4), driver.now(UdpOver::V6)),
            (source, SDFN)
        );
        driver.0.borrow_mut().fields = [(UdpOver::V4, OURS), (UdpOver::V6, OURS)].into();
        drop(steer(&driver, Steering::Best).expect("it does already"));
        assert_eq!(driver.now(UdpOver::V4), OURS, "it was the operator's");
    }

    #[test]
    fn off_changes_nothing_and_says_what_that_means() {
        let driver = Driver::new(&[OURS, SDFN]);
        let steered = steer(&driver, Steering::Off).expect("nothing is asked");
        assert_eq!(driver.now(UdpOver::V4), SDFN);
        assert_eq!(
            why(&steered),
            "the queue depends on the sender too (sdfn), and steering is off"
        );
        driver.0.borrow_mut().fields.insert(UdpOver::V4, OURS);
        let steered = steer(&driver, Steering::Off).expect("nothing is asked");
        assert!(
            steered.families()[0].rss.is_ok(),
            "the operator has done it"
        );
    }

    #[test]
    fn a_driver_that_refuses_is_left_as_it_was_unless_it_is_required() {
        let driver = Driver::new(&[SDFN]);
        let steered = steer(&driver, Steering::Best).expect("not required");
        assert!(why(&steered).ends_with("(sdfn), and the driver takes no other choice"));
        let refused = steer(&driver, Steering::Required).expect_err("required");
        assert!(
            refused
                .to_string()
                .starts_with("eth7 cannot be steered as required for udp4: the queue depends")
        );
    }

    #[test]
    fn a_driver_that_takes_a_choice_and_does_another_is_put_back_at_once() {
        let driver = Driver::new(&[OURS, SDFN]);
        driver.0.borrow_mut().does = Some(HashFields::SOURCE);
        let steered = steer(&driver, Steering::Best).expect("not required");
        assert_eq!(
            (driver.now(UdpOver::V4), steered.families()[0].before),
            (SDFN, None)
        );
        assert!(why(&steered).contains("(sdfn)"));
    }

    #[test]
    fn what_cannot_be_foretold_says_why() {
        let driver = Driver::new(&[OURS, SDFN]);
        let with = |change: &dyn Fn(&mut Rss)| {
            let mut rss = Driver::new(&[]).0.borrow().rss.clone().expect("known");
            change(&mut rss);
            driver.0.borrow_mut().rss = Some(rss);
            why(&steer(&driver, Steering::Best).expect("not required"))
        };
        assert!(with(&|rss| rss.function = HashFunction::Xor).contains("xor, not toeplitz"));
        assert!(with(&|rss| rss.symmetric = true).contains("mixes"));
        assert!(with(&|rss| rss.key.clear()).contains("key and table"));
        driver.0.borrow_mut().rss = None;
        let steered = steer(&driver, Steering::Required).expect("the fields are as required");
        assert!(why(&steered).contains("key and table"));
        drop(steered);
        driver.0.borrow_mut().fields.clear();
        let steered = steer(&driver, Steering::Best).expect("not required");
        assert_eq!(why(&steered), "the driver cannot say what it hashes");
        assert!(steer(&driver, Steering::Required).is_err());
        driver.0.borrow_mut().fails = true;
        let steered = steer(&driver, Steering::Best).expect("not required");
        assert!(why(&steered).contains("no network device"));
    }

    #[test]
    fn a_requirement_that_fails_late_puts_back_what_was_done_early() {
        let driver = Driver::new(&[OURS, SDFN]);
        driver.0.borrow_mut().fields.remove(&UdpOver::V6);
        assert!(steer(&driver, Steering::Required).is_err());
        assert_eq!(driver.now(UdpOver::V4), SDFN);
    }
}
