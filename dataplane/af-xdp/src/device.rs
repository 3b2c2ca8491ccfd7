//! Facts about a network device, read from the calling thread's network namespace.
//!
//! Everything comes from `ioctl`, not from /sys: a sysfs mount shows the namespace that it was mounted in,
//! which need not be the thread's.

use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use crate::Error;

/// A network device at the time when it was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    name: String,
    ifindex: u32,
    driver: String,
    mac: [u8; 6],
    mtu: u32,
    is_up: bool,
    rx_queues: u32,
    tx_queues: u32,
    numa_node: Option<u32>,
}

impl Device {
    /// Looks a device up.
    pub fn by_name(name: &str) -> Result<Self, Error> {
        let query = Query::new(name)?;
        // SAFETY: for these requests the kernel fills the union's field that is read.
        let (ifindex, mtu, flags, hardware) = unsafe {
            (
                query
                    .ask(libc::SIOCGIFINDEX, "ioctl(SIOCGIFINDEX)")?
                    .ifru_ifindex,
                query.ask(libc::SIOCGIFMTU, "ioctl(SIOCGIFMTU)")?.ifru_mtu,
                query
                    .ask(libc::SIOCGIFFLAGS, "ioctl(SIOCGIFFLAGS)")?
                    .ifru_flags,
                query
                    .ask(libc::SIOCGIFHWADDR, "ioctl(SIOCGIFHWADDR)")?
                    .ifru_hwaddr,
            )
        };
        let ifindex = ifindex.unsigned_abs();
        let (rx_queues, tx_queues) = query.queues(ifindex)?;
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(hardware.sa_data) {
            *to = from as u8;
        }
        Ok(Self {
            name: name.to_owned(),
            ifindex,
            driver: query.driver()?,
            mac,
            mtu: mtu.unsigned_abs(),
            is_up: libc::c_int::from(flags) & libc::IFF_UP != 0,
            rx_queues,
            tx_queues,
            numa_node: numa_node(Path::new("/sys/class/net"), name, ifindex),
        })
    }

    /// The kernel's name of it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The kernel's number of it, in its network namespace.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The driver's name, as `ethtool -i` shows it; empty when the device has none.
    pub fn driver(&self) -> &str {
        &self.driver
    }

    /// Its MAC address, in transmission order.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The largest IP packet that it sends, in bytes.
    pub fn mtu(&self) -> u32 {
        self.mtu
    }

    /// Whether it is administratively up: otherwise nothing can be sent, and zero-copy not be bound.
    pub fn is_up(&self) -> bool {
        self.is_up
    }

    /// RX queues in use.
    pub fn rx_queues(&self) -> u32 {
        self.rx_queues
    }

    /// TX queues in use.
    pub fn tx_queues(&self) -> u32 {
        self.tx_queues
    }

    /// The NUMA node that its hardware hangs at; `None` for a device without hardware, or when the firmware does
    /// not say.
    pub fn numa_node(&self) -> Option<u32> {
        self.numa_node
    }
}

/// What sysfs shows, if its device of that name is this one: -1 for "not known".
fn numa_node(class: &Path, name: &str, ifindex: u32) -> Option<u32> {
    let device = class.join(name);
    let read = |file: &str| fs::read_to_string(device.join(file)).ok();
    let is_it = read("ifindex")?.trim().parse() == Ok(ifindex);
    let node: i64 = read("device/numa_node")?.trim().parse().ok()?;
    u32::try_from(node).ok().filter(|_| is_it)
}

/// `struct ethtool_drvinfo` (include/uapi/linux/ethtool.h).
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    expansion_rom: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

const ETHTOOL_GDRVINFO: u32 = 0x0000_0003;
const ETHTOOL_GCHANNELS: u32 = 0x0000_003c;
const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// A socket to ask through, and the device to ask about.
#[derive(Debug)]
pub(crate) struct Query {
    name: String,
    socket: OwnedFd,
}

impl Query {
    pub(crate) fn new(name: &str) -> Result<Self, Error> {
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
            return Err(Error::NoSuchDevice {
                device: name.to_owned(),
            });
        }
        // SAFETY: a plain call.
        let socket =
            unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(Error::last("socket(AF_UNIX)"));
        }
        // SAFETY: just made, and nobody else has it.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        Ok(Self {
            name: name.to_owned(),
            socket,
        })
    }

    fn request(&self) -> libc::ifreq {
        // SAFETY: all zeros is an `ifreq` of no name.
        let mut request: libc::ifreq = unsafe { mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(self.name.bytes()) {
            *to = from as libc::c_char;
        }
        request
    }

    fn call(&self, number: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
        // SAFETY: the request is a whole `ifreq`; what its union points to, if anything, is upheld by the callers.
        if unsafe { libc::ioctl(self.socket.as_raw_fd(), number, &raw mut *request) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn ask(
        &self,
        number: libc::c_ulong,
        call: &'static str,
    ) -> Result<libc::__c_anonymous_ifr_ifru, Error> {
        let mut request = self.request();
        match self.call(number, &mut request) {
            Ok(()) => Ok(request.ifr_ifru),
            Err(source) => Err(self.failed(call, source)),
        }
    }

    /// `None` when the device does not know the command.
    fn ethtool<T>(&self, argument: &mut T, call: &'static str) -> Result<Option<()>, Error> {
        let mut request = self.request();
        request.ifr_ifru.ifru_data = (&raw mut *argument).cast();
        match self.call(SIOCETHTOOL, &mut request) {
            Ok(()) => Ok(Some(())),
            Err(source) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(None),
            Err(source) => Err(self.failed(call, source)),
        }
    }

    /// Whether the driver knows the command and takes what is asked of it.
    pub(crate) fn ethtool_if_it_can<T>(
        &self,
        argument: &mut T,
        call: &'static str,
    ) -> Result<bool, Error> {
        match self.ethtool(argument, call) {
            Ok(known) => Ok(known.is_some()),
            Err(Error::System { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
                Ok(false)
            }
            Err(Error::System { source, .. }) if source.raw_os_error() == Some(libc::EPERM) => {
                Err(Error::Privilege {
                    call,
                    capability: "CAP_NET_ADMIN",
                })
            }
            Err(error) => Err(error),
        }
    }

    fn failed(&self, call: &'static str, source: io::Error) -> Error {
        let device = self.name.clone();
        if source.raw_os_error() == Some(libc::ENODEV) {
            return Error::NoSuchDevice { device };
        }
        Error::System {
            call,
            device: Some(device),
            queue: None,
            source,
        }
    }

    fn driver(&self) -> Result<String, Error> {
        let mut info = DriverInfo {
            command: ETHTOOL_GDRVINFO,
            driver: [0; 32],
            version: [0; 32],
            firmware: [0; 32],
            bus: [0; 32],
            expansion_rom: [0; 32],
            reserved: [0; 12],
            counts: [0; 5],
        };
        self.ethtool(&mut info, "ioctl(ETHTOOL_GDRVINFO)")?;
        let end = info.driver.iter().position(|&byte| byte == 0);
        let name = &info.driver[..end.unwrap_or(info.driver.len())];
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    /// RX and TX queues in use.
    fn queues(&self, ifindex: u32) -> Result<(u32, u32), Error> {
        let mut channels = Channels {
            command: ETHTOOL_GCHANNELS,
            ..Channels::default()
        };
        if self
            .ethtool(&mut channels, "ioctl(ETHTOOL_GCHANNELS)")?
            .is_some()
        {
            let Channels {
                rx, tx, combined, ..
            } = channels;
            return Ok(((rx + combined).max(1), (tx + combined).max(1)));
        }
        Ok(self.queues_in_sysfs(ifindex).unwrap_or((1, 1)))
    }

    /// For drivers without channels: what sysfs shows, if its device of that name is this one.
    fn queues_in_sysfs(&self, ifindex: u32) -> Option<(u32, u32)> {
        let directory = format!("/sys/class/net/{}", self.name);
        let shown = fs::read_to_string(format!("{directory}/ifindex")).ok()?;
        if shown.trim().parse() != Ok(ifindex) {
            return None;
        }
        let (mut rx, mut tx) = (0, 0);
        for entry in fs::read_dir(format!("{directory}/queues")).ok()? {
            let name = entry.ok()?.file_name();
            rx += u32::from(name.to_string_lossy().starts_with("rx-"));
            tx += u32::from(name.to_string_lossy().starts_with("tx-"));
        }
        Some((rx.max(1), tx.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_described() {
        let device = Device::by_name("lo").expect("every namespace has a loopback device");
        assert_eq!(
            (device.name(), device.ifindex(), device.mac()),
            ("lo", 1, [0; 6])
        );
        assert_eq!((device.rx_queues(), device.tx_queues()), (1, 1));
    }

    #[test]
    fn the_numa_node_is_what_sysfs_says_of_this_device() {
        let class = tempfile::tempdir().expect("a directory");
        let describe = |name: &str, ifindex: &str, node: Option<&str>| {
            let device = class.path().join(name);
            fs::create_dir_all(device.join("device")).expect("a directory");
            fs::write(device.join("ifindex"), ifindex).expect("a file");
            if let Some(node) = node {
                fs::write(device.join("device/numa_node"), node).expect("a file");
            }
        };
        describe("far", "7\n", Some("1\n"));
        describe("unsaid", "8\n", Some("-1\n"));
        describe("virtual", "9\n", None);
        let node = |name, ifindex| numa_node(class.path(), name, ifindex);
        assert_eq!(node("far", 7), Some(1));
        assert_eq!(node("far", 8), None, "another namespace's device");
        assert_eq!(node("unsaid", 8), None);
        assert_eq!((node("virtual", 9), node("absent", 1)), (None, None));
    }

    #[test]
    fn an_unknown_or_impossible_name_is_no_device() {
        for name in [
            "",
            "no-such-device",
            "a-name-that-is-longer-than-any",
            "lo\0",
        ] {
            let result = Device::by_name(name);
            assert!(
                matches!(&result, Err(Error::NoSuchDevice { device }) if device == name),
                "{result:?}"
            );
        }
    }
}
