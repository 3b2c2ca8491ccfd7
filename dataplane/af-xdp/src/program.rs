//! The XDP program that gives media to the sockets: loaded, configured, attached, observed.
//!
//! One instance serves one device, because the socket map is indexed by that device's queues. The source
//! is bpf/redirect.bpf.c; the object is part of this crate.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use aya::maps::{HashMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, TestRun, TestRunOptions, Xdp, XdpMode};
use aya::{Ebpf, EbpfError, EbpfLoader};
use aya_obj::programs::XdpAttachType;

use crate::Error;
use crate::device::Device;
use crate::socket::Socket;
use crate::verdict::{Verdict, VerdictCounts};

/// The committed object; the slice is aligned as ELF wants it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../bpf/redirect.bpf.o");

const PROGRAM: &str = "redirect";
const MAPS: [&str; 4] = ["xsks", "media_v4", "media_v6", "verdicts"];
const XSKS: usize = 0;
const MEDIA_V4: usize = 1;
const MEDIA_V6: usize = 2;
const VERDICTS: usize = 3;

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttachMode {
    /// In the driver, before a socket buffer is made.
    Native,
    /// In the network stack, for drivers that cannot. Frames are then copied at least twice.
    Generic,
}

/// What [`Program::test_run`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestVerdict {
    /// Why.
    pub verdict: Verdict,
    /// Whether the kernel was told to redirect (`XDP_REDIRECT`) or to go on (`XDP_PASS`).
    pub redirected: bool,
}

/// A loaded program and its maps.
pub struct Program {
    loaded: Loaded,
    maps: [Map; 4],
}

enum Loaded {
    /// By this process.
    Here(Box<Ebpf>),
    /// By another, found where that one had pinned it.
    Pinned(Box<Xdp>),
}

impl Program {
    /// Loads the program into the kernel. It sees no frame before it is attached, and redirects none before it
    /// has media ranges and sockets.
    pub fn load() -> Result<Self, Error> {
        let mut object = EbpfLoader::new().btf(None).load(OBJECT).map_err(refused)?;
        let mut map = |name: &str| {
            object.take_map(name).ok_or_else(|| Error::Program {
                call: "loading",
                reason: format!("the object has no map \"{name}\""),
            })
        };
        let [xsks, v4, v6, verdicts] = MAPS;
        let maps = [map(xsks)?, map(v4)?, map(v6)?, map(verdicts)?];
        let mut program = Self {
            loaded: Loaded::Here(Box::new(object)),
            maps,
        };
        let loaded = program.xdp()?.load();
        loaded.map_err(|error| failed("bpf(BPF_PROG_LOAD)", error))?;
        Ok(program)
    }

    /// Finds the program and the maps that another process has pinned in this directory of a bpffs.
    pub fn from_pins(directory: &Path) -> Result<Self, Error> {
        let xdp = Xdp::from_pin(directory.join(PROGRAM), XdpAttachType::Interface)
            .map_err(|error| failed("bpf(BPF_OBJ_GET)", error))?;
        let map = |name: &str| {
            MapData::from_pin(directory.join(name))
                .and_then(Map::from_map_data)
                .map_err(|error| map_failed("bpf(BPF_OBJ_GET)", error))
        };
        let [xsks, v4, v6, verdicts] = MAPS;
        Ok(Self {
            loaded: Loaded::Pinned(Box::new(xdp)),
            maps: [map(xsks)?, map(v4)?, map(v6)?, map(verdicts)?],
        })
    }

    /// Pins program and maps in a directory of a bpffs, so that they outlive the process and a successor finds
    /// them. They stay until their files are removed.
    pub fn pin(&mut self, directory: &Path) -> Result<(), Error> {
        let pinned = self.xdp()?.pin(directory.join(PROGRAM));
        pinned.map_err(|error| failed("bpf(BPF_OBJ_PIN)", error))?;
        for (map, name) in self.maps.iter().zip(MAPS) {
            map.pin(directory.join(name))
                .map_err(|error| failed("bpf(BPF_OBJ_PIN)", error))?;
        }
        Ok(())
    }

    /// Takes UDP to `address`, ports `first` to `last` inclusive, from the kernel; replaces an earlier range of
    /// the address.
    pub fn set_media_range(&mut self, address: IpAddr, first: u16, last: u16) -> Result<(), Error> {
        let range = [first, last];
        match address {
            IpAddr::V4(address) => self.media_v4()?.insert(address.octets(), range, 0),
            IpAddr::V6(address) => self.media_v6()?.insert(address.octets(), range, 0),
        }
        .map_err(|error| map_failed("bpf(BPF_MAP_UPDATE_ELEM)", error))
    }

    /// Leaves UDP to `address` to the kernel again. Says whether it was ours.
    pub fn remove_media_range(&mut self, address: IpAddr) -> Result<bool, Error> {
        let removed = match address {
            IpAddr::V4(address) => self.media_v4()?.remove(&address.octets()),
            IpAddr::V6(address) => self.media_v6()?.remove(&address.octets()),
        };
        match removed {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(map_failed("bpf(BPF_MAP_DELETE_ELEM)", error)),
        }
    }

    /// Gives media that arrives on the socket's queue to the socket. The slot empties itself when the socket is
    /// closed by its last holder.
    pub fn register(&mut self, socket: &Socket) -> Result<(), Error> {
        use std::os::fd::AsRawFd;
        let queue = socket.queue();
        self.xsks()?
            .set(queue, socket.as_fd().as_raw_fd(), 0)
            .map_err(|error| match error {
                MapError::OutOfBounds { max_entries, .. } => Error::QueueOutOfRange {
                    device: socket.device().to_owned(),
                    queue,
                    last: max_entries.saturating_sub(1),
                },
                error => map_failed("bpf(BPF_MAP_UPDATE_ELEM)", error),
            })
    }

    /// Leaves media that arrives on a queue to the kernel.
    pub fn unregister(&mut self, queue: u32) -> Result<(), Error> {
        match self.xsks()?.unset(queue) {
            Ok(()) => Ok(()),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) => Err(map_failed("bpf(BPF_MAP_DELETE_ELEM)", error)),
        }
    }

    /// Attaches the program to a device. It stays for as long as the link, or a pin of it, lives.
    pub fn attach(&mut self, device: &Device, mode: AttachMode) -> Result<Link, Error> {
        let flags = match mode {
            AttachMode::Native => XdpMode::Driver,
            AttachMode::Generic => XdpMode::Skb,
        };
        let xdp = self.xdp()?;
        let link = xdp
            .attach_to_if_index(device.ifindex(), flags)
            .and_then(|id| xdp.take_link(id))
            .map_err(|error| attach_failed(device, mode, error))?;
        Link::new(link)
    }

    /// Puts this program in the place of the one that the link runs, between two packets.
    pub fn replace(&mut self, link: Link) -> Result<Link, Error> {
        let xdp = self.xdp()?;
        let replaced = xdp
            .attach_to_link(XdpLink::try_from(link.fd).map_err(|error| Error::Program {
                call: "adopting the link",
                reason: error.to_string(),
            })?)
            .and_then(|id| xdp.take_link(id))
            .map_err(|error| failed("bpf(BPF_LINK_UPDATE)", error))?;
        Link::new(replaced)
    }

    /// Frames by verdict since the program was loaded: one system call.
    pub fn verdicts(&self) -> Result<VerdictCounts, Error> {
        let call = "bpf(BPF_MAP_LOOKUP_ELEM)";
        let map = PerCpuArray::<_, [u64; Verdict::COUNT]>::try_from(&self.maps[VERDICTS])
            .map_err(|error| map_failed(call, error))?;
        let cpus = map.get(&0, 0).map_err(|error| map_failed(call, error))?;
        let mut sum = [0u64; Verdict::COUNT];
        for counts in cpus.iter() {
            for (sum, count) in sum.iter_mut().zip(counts) {
                *sum += count;
            }
        }
        Ok(VerdictCounts(sum))
    }

    /// Asks the program about a frame of at least 14 bytes without any device: `BPF_PROG_TEST_RUN`, which counts
    /// as if the frame had arrived on queue 0. For tests: the verdict is read off the counters, so nobody else
    /// may use the instance meanwhile.
    pub fn test_run(&mut self, frame: &[u8]) -> Result<TestVerdict, Error> {
        let before = self.verdicts()?;
        let options = TestRunOptions {
            data_in: Some(frame),
            ..TestRunOptions::new()
        };
        let run = self.xdp()?.test_run(options);
        let action = run
            .map_err(|error| failed("bpf(BPF_PROG_TEST_RUN)", error))?
            .return_value;
        let after = self.verdicts()?;
        let verdict = after
            .iter()
            .find_map(|(verdict, count)| (count != before.of(verdict)).then_some(verdict));
        match (verdict, action) {
            (Some(verdict), XDP_PASS | XDP_REDIRECT) if after.total() == before.total() + 1 => {
                Ok(TestVerdict {
                    verdict,
                    redirected: action == XDP_REDIRECT,
                })
            }
            _ => Err(Error::Program {
                call: "bpf(BPF_PROG_TEST_RUN)",
                reason: format!("action {action}, counters from {before:?} to {after:?}"),
            }),
        }
    }

    fn xdp(&mut self) -> Result<&mut Xdp, Error> {
        match &mut self.loaded {
            Loaded::Pinned(xdp) => Ok(xdp),
            Loaded::Here(object) => object
                .program_mut(PROGRAM)
                .and_then(|program| <&mut Xdp>::try_from(program).ok())
                .ok_or_else(|| Error::Program {
                    call: "loading",
                    reason: format!("the object has no XDP program \"{PROGRAM}\""),
                }),
        }
    }

    fn xsks(&mut self) -> Result<XskMap<&mut MapData>, Error> {
        XskMap::try_from(&mut self.maps[XSKS]).map_err(|error| map_failed("opening xsks", error))
    }

    fn media_v4(&mut self) -> Result<HashMap<&mut MapData, [u8; 4], [u16; 2]>, Error> {
        HashMap::try_from(&mut self.maps[MEDIA_V4])
            .map_err(|error| map_failed("opening media_v4", error))
    }

    fn media_v6(&mut self) -> Result<HashMap<&mut MapData, [u8; 16], [u16; 2]>, Error> {
        HashMap::try_from(&mut self.maps[MEDIA_V6])
            .map_err(|error| map_failed("opening media_v6", error))
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pinned = matches!(self.loaded, Loaded::Pinned(_));
        f.debug_struct("Program")
            .field("pinned", &pinned)
            .finish_non_exhaustive()
    }
}

/// The program's attachment to a device; dropping it detaches, unless it is pinned.
#[derive(Debug)]
pub struct Link {
    fd: FdLink,
}

impl Link {
    fn new(link: XdpLink) -> Result<Self, Error> {
        // A link that is not a BPF link (aya attaches by netlink when the kernel knows no other way) is detached
        // when the conversion refuses it.
        let fd = FdLink::try_from(link).map_err(|_| Error::KernelTooOld {
            feature: "a BPF link to XDP",
            since: "5.9",
        })?;
        Ok(Self { fd })
    }

    /// Pins the link at a path in a bpffs: the program stays attached until the file is removed.
    pub fn pin(self, path: &Path) -> Result<PinnedTo, Error> {
        let link = self.fd.pin(path);
        let _link = link.map_err(|error| failed("bpf(BPF_OBJ_PIN)", error))?;
        Ok(PinnedTo(path.to_owned()))
    }

    /// Finds a pinned link. It stays pinned.
    pub fn from_pin(path: &Path) -> Result<Self, Error> {
        let link = PinnedLink::from_pin(path).map_err(|error| failed("bpf(BPF_OBJ_GET)", error))?;
        Ok(Self { fd: link.into() })
    }

    /// Detaches the program, if nobody else holds or has pinned the link.
    pub fn detach(self) {}
}

/// Where a link was pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedTo(PathBuf);

impl PinnedTo {
    /// The path in the bpffs.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// The first errno down an error's chain of sources.
fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return io.raw_os_error();
        }
        next = error.source();
    }
    None
}

/// All texts down an error's chain of sources.
fn reasons(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

fn failed<E: std::error::Error + 'static>(call: &'static str, error: E) -> Error {
    match os_error(&error) {
        Some(libc::EPERM) => Error::Privilege {
            call,
            capability: "CAP_BPF and CAP_NET_ADMIN",
        },
        _ => Error::Program {
            call,
            reason: reasons(&error),
        },
    }
}

fn refused(error: EbpfError) -> Error {
    failed("loading", error)
}

fn map_failed(call: &'static str, error: MapError) -> Error {
    failed(call, error)
}

/// Whether an element was not there to be removed.
fn is_absent(error: &MapError) -> bool {
    matches!(error, MapError::KeyNotFound) || os_error(error) == Some(libc::ENOENT)
}

fn attach_failed(device: &Device, mode: AttachMode, error: ProgramError) -> Error {
    let name = || device.name().to_owned();
    let refused = |code, remedy| Error::NativeRefused {
        device: name(),
        remedy,
        source: io::Error::from_raw_os_error(code),
    };
    match (os_error(&error), mode) {
        (Some(libc::EBUSY | libc::EEXIST), _) => Error::OtherProgram { device: name() },
        (Some(libc::ENODEV), _) => Error::NoSuchDevice { device: name() },
        (Some(libc::EOPNOTSUPP), AttachMode::Native) => Error::NoNativeXdp { device: name() },
        (Some(code @ libc::ERANGE), AttachMode::Native) => refused(
            code,
            "lower the MTU of the device and of its peer so that a frame fits in one page (`ip link set … mtu 1500`)",
        ),
        (Some(code @ (libc::ENOSPC | libc::ENOMEM)), AttachMode::Native) => refused(
            code,
            "give the device more queues: at least as many RX queues as its peer has TX queues, and a TX queue for each CPU (`ethtool -L`)",
        ),
        // i40e, ixgbe, ena, mlx5, virtio_net: an option of the device is in the way.
        (Some(code @ libc::EINVAL), AttachMode::Native) => refused(
            code,
            "the kernel's log may say why; the usual obstacles are an MTU above 1500 and receive offloads (`ethtool -K … lro off gro-hw off`)",
        ),
        _ => failed("bpf(BPF_LINK_CREATE)", error),
    }
}
